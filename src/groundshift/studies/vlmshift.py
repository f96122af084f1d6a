"""The study of image models under a shift of distribution (arXiv:2312.07424).

Two tiny CLIPs and a tiny reader of examples know photographs and cartoons of five shapes, and are asked about sketches
and paintings of known severity through `vlmshift.ask`, as a user's model would be. Answers of known accuracy, spelt in
many ways or malformed, test what reads them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from groundshift.benchmarks import vlmshift as vs
from groundshift.lab.claims import Claim, Control
from groundshift.lab.study import Figure, Grid, Measure, Method, Sample, Study, World
from groundshift.models.items import Item, grade_items
from groundshift.studies.drawing import Panel, chart
from groundshift.studies.keeping import kept
from groundshift.studies.vlmshift_models import (
    FAMILIES,
    MODELS,
    POOLS,
    SEVERITIES,
    SHIFTED,
    examples,
    failures,
    images_of,
    make,
    recorded_again,
    runs,
)  # fmt: skip
from groundshift.worlds import glyphs as world
from groundshift.worlds.spelt_answers import spelt_answers


@dataclass(frozen=True)
class Settings:
    """What the dial sets."""

    seeds: int = 8
    steps: int = 400  # of the CLIPs
    episodes: int = 500  # of the reader
    per_cell: int = 20  # twice as many where the shift is mild
    queries: int = 15  # of each domain and class, for the reader
    many: int = 40  # seeds of the texts
    texts: int = 400


# Part 1: models that see ---------------------------------------------------------------------------------------


@World.define()
def seeing(
    rng: np.random.Generator, severity: float, *, steps: int, episodes: int, per_cell: int, queries: int
) -> Sample:
    """Images of every domain, and the answers of tiny models to all that is asked about them."""
    recipe = int(rng.integers(2**31)), steps, episodes, per_cell, queries
    folder = kept("vlmshift", recipe, lambda out: make(*recipe, out), world)
    return Sample({"part": "seeing", "folder": str(folder), "per_cell": per_cell, "queries": queries}, None)


# Part 2: answers of known accuracy -------------------------------------------------------------------------------

SHARES, LEVELS = (0.0, 0.1), (0, 1, 2, 3)


@World.define()
def texts(rng: np.random.Generator, severity: float, *, texts: int) -> Sample:
    """Answers in harmless spellings, and the same with a tenth as prose; by how much dropping these inflates."""
    drawn = spelt_answers(rng, texts)
    hit, lost = np.array(drawn.right) == drawn.said, np.array(drawn.lost)
    return Sample({"part": "texts", "drawn": drawn}, float(hit[~lost].mean() - (hit & ~lost).mean()))


# The method: what the benchmark says ------------------------------------------------------------------------------

Change = Callable[[pd.DataFrame, np.random.Generator], pd.DataFrame]


def _measured(data: Any, rng: np.random.Generator, parser: str, change: Change) -> dict[str, Any]:
    return (_texts if data["part"] == "texts" else _seen)(data, rng, parser, change)


def _texts(data: Any, rng: np.random.Generator, parser: str, change: Change) -> dict[str, Any]:
    rows, drawn = [], data["drawn"]
    names = drawn.names
    items = [Item(f"image {k}", name) for k, name in enumerate(drawn.right)]
    for kind, reader in (
        ("default", vs.parser_of(names, parser)),
        ("published", vs.parser_of(names, "published")),
    ):
        for share, answers in zip(SHARES, (drawn.spelt, drawn.malformed), strict=True):
            how: dict[str, Any] = {"task": "vlmshift", "version": "1", "model": "texts"}
            records = grade_items(items, answers, reader, vs.grade, **how)
            records = change(records, rng) if kind == "default" else records
            read = records["parsed"] == 1
            kept_ = records["correct"][read].mean() if read.any() else 0.0
            good = (records["parsed_value"] == drawn.said) & (records.get("confidence", 0) == 0.8)
            row = {"reader": kind, "malformed": share, "inflation": kept_ - records["correct"].mean()}
            rows.append({**row, "recovered": float((good & read).mean())})
    return {"texts": pd.DataFrame(rows)}


def _seen(data: Any, rng: np.random.Generator, parser: str, change: Change) -> dict[str, Any]:
    folder, results = Path(data["folder"]), {}
    for run, (_, how) in runs(data["per_cell"], data["queries"]).items():
        asked = vs.ask(folder / f"{run}.jsonl", images_of(run, folder), **how, parser=parser, progress=False)  # type: ignore[arg-type]
        every = change(pd.concat([asked.records, asked.other], ignore_index=True), rng)
        plain = (every["shift"] == "none") & (every["protocol"] == "zero-shot")
        results[run] = vs.VisionShift(
            every[plain], "vlmshift", (), asked.settings, every[~plain], asked.source
        )
    rows = []
    for model in MODELS:
        share = results[model].records.groupby("domain")["correct"].mean()
        curves = {f: [share["cartoon"], *(share[f"{f} {s}"] for s in SEVERITIES)] for f in FAMILIES}
        curves["noise"] = results[f"{model} noise"].severity()[0]["mean"].tolist()
        rows += [{"model": model, "family": family, "level": level, "accuracy": value}
                 for family, curve in curves.items() for level, value in enumerate(curve)]  # fmt: skip
    return {"curves": pd.DataFrame(rows), "reader": examples(results), **failures(results),
            "recorded": recorded_again(results["clip"])}  # fmt: skip


@Method.define()
def vlmshift(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """What the benchmark says of the models, or of the texts."""
    return _measured(data, rng, "strict", lambda records, _: records)


@Method.define(role="mutant", of=vlmshift)
def as_published(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Reads answers as the paper's repository does."""
    return _measured(data, rng, "published", lambda records, _: records)


@Method.define(role="mutant", of=vlmshift)
def silent(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Takes no answer for right."""
    nothing: dict[str, Any] = {"correct": 0.0, "parsed": 0.0}
    return _measured(data, rng, "strict", lambda records, _: records.assign(**nothing))


@Method.define(role="mutant", of=vlmshift)
def mixed(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Hands each answer's verdict to another item."""

    def shuffled(records: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
        return records.assign(correct=rng.permutation(records["correct"]))

    return _measured(data, rng, "strict", shuffled)


@Measure.define(by={"model": MODELS, "family": (*FAMILIES, "noise"), "level": LEVELS}, gives=("accuracy",))
def curves(output: Any, sample: Sample) -> list[dict[str, Any]]:
    """Accuracy of each CLIP by family and level of severity; 0 is the cartoons, and of noise the photographs."""
    return list(output["curves"].to_dict("records"))


@Measure.define(
    by={"pool": POOLS, "domain": SHIFTED, "effect": ("examples", "permuted labels")},
    gives=("gain", "gain_low", "before", "after"),
)
def reader(output: Any, sample: Sample) -> list[dict[str, Any]]:
    """What examples add to the reader: difference, lower end of its interval, accuracies before and after."""
    return list(output["reader"].to_dict("records"))


@Measure.define(by={"distance": ("near", "far")})
def twin_rate(output: Any, sample: Sample) -> list[dict[str, Any]]:
    """What two models of one kind get right where the other fails, where the shift is mild and where it is large."""
    return [{"distance": distance, "twin_rate": rate} for distance, rate in output["twin_rate"].items()]


@Measure.define(by={"other": ("filter", "twin")})
def rescue(output: Any, sample: Sample) -> list[dict[str, Any]]:
    """What other models have beyond a twin where the shift is large."""
    return [{"other": other, "rescue": value} for other, value in output["rescue"].items()]


@Measure.define(by={"classes": ("same", "turned")}, gives=("differs",))
def recorded(output: Any, sample: Sample) -> list[dict[str, Any]]:
    """Largest difference of a domain's accuracy between a run and its records."""
    return [{"classes": kind, "differs": value} for kind, value in output["recorded"].items()]


@Measure.define(
    by={"reader": ("default", "published"), "malformed": SHARES}, gives=("inflation", "recovered", "off")
)
def reading(output: Any, sample: Sample) -> list[dict[str, Any]]:
    """By how much dropping what cannot be read inflates accuracy, how far that is from the truth, and what is read."""
    table = output["texts"]
    known = np.where(table["malformed"] > 0, sample.truth, 0.0)
    return list(table.assign(off=(table["inflation"] - known).abs()).to_dict("records"))


def _of(measure: str, **where: Any) -> str:
    return f"mean({measure}|vlmshift" + "".join(f", {k}={v!r}" for k, v in where.items()) + ")"


def _mean(text: str, estimand: str, low: float = -np.inf, high: float = np.inf) -> Control:
    return Control(text, estimand, low, high, "mean")


def _spearman(*families: str) -> str:
    each = [
        f"spearman(accuracy|vlmshift, over='level', model={m!r}, family={f!r})"
        for m in MODELS
        for f in families
    ]
    return f"({' + '.join(each)}) / {len(each)}"


def _drop(model: str, family: str) -> str:
    return (f"({_of('accuracy', model=model, family=family, level=1)}"
            f" - {_of('accuracy', model=model, family=family, level=3)})")  # fmt: skip


def _gain(domain: str, pool: str = "target", effect: str = "examples", measure: str = "gain") -> str:
    return _of(measure, pool=pool, domain=domain, effect=effect)


DROPS = [_drop(m, f) for m in MODELS for f in ("sketch", "painting")]
STILL = "(" + " + ".join(_drop(m, "still") for m in MODELS) + ") / 2"
PERMUTED = _gain("painting 1.0", effect="permuted labels", measure="after")
MILD = f"({_gain('sketch 0.3')} + {_gain('painting 0.3')}) / 2"
FROM_SOURCE = _mean("examples of source domains add at most 0.05", _gain("painting 1.0", "source"), high=0.05)
READ = {kind: _of("recovered", reader=kind, malformed=0.0) for kind in ("default", "published")}
EXAMPLES: dict[str, Any] = {"paper": "in-context examples help adaptation", "same": "same direction only"}
claims = (
    Claim("1a", "Accuracy follows the known severity (mean Spearman over models and families)",
          _spearman("sketch", "painting", "noise"), -0.9,
          _mean("not where a severity changes nothing (within ±0.5)", _spearman("still"), -0.5, 0.5), direction="<"),
    Claim("1b", "and falls from 0.3 to 1 for each model and family, in every seed (the smallest drop)",
          f"lowest({', '.join(DROPS)})", 0.4,
          _mean("not where a severity changes nothing (within ±0.05)", STILL, -0.05, 0.05), kind="bound"),
    Claim("2a", "Examples of the shifted domain bring accuracy back, painting at 1 (gain)", _gain("painting 1.0"), 0.15,
          FROM_SOURCE, **EXAMPLES),
    Claim("2b", "in every seed (lower end of the interval)", _gain("painting 1.0", measure="gain_low"), 0.0,
          _mean("not for examples of source domains (at most 0.02)",
                _gain("painting 1.0", "source", measure="gain_low"), high=0.02), kind="bound", **EXAMPLES),
    Claim("2c", "and more than with permuted labels (difference of accuracies)",
          f"{_gain('painting 1.0', measure='after')} - {PERMUTED}", 0.05,
          _mean("with these it is that of chance (0.1 to 0.3)", PERMUTED, 0.1, 0.3), **EXAMPLES),
    Claim("3", "Boundary: where the shift is mild they add nothing (mean gain at 0.3)", MILD, 0.06,
          _mean("painting at 1 gains more (at least 0.1)", _gain("painting 1.0"), low=0.1), kind="equivalence"),
    Claim("4a", "A twin that is no better is right on half of a model's failures where the shift is mild (both ways)",
          _of("twin_rate", distance="near"), 0.5,
          _mean("and on few where it is large (at most 0.25)", _of("twin_rate", distance="far"), high=0.25)),
    Claim("4b", "What a better model has beyond a twin is told (rescue by a matched filter where the shift is large)",
          _of("rescue", other="filter"), 0.3,
          _mean("the twin has nothing beyond the model in a mirrored view (within ±0.15)", _of("rescue", other="twin"),
                -0.15, 0.15)),
    Claim("5a", "Dropping what cannot be read inflates accuracy, with a tenth malformed (of those read, less of all)",
          _of("inflation", reader="default", malformed=0.1), 0.05,
          _mean("with none malformed it does not (within ±0.005)", _of("inflation", reader="default", malformed=0.0),
                -0.005, 0.005), paper="the published script drops them for one model"),
    Claim("5b", "by exactly as much as is known, in every seed (distance)",
          _of("off", reader="default", malformed=0.1), 0.01,
          _mean("the published parser is further off (at least 0.02)", _of("off", reader="published", malformed=0.1),
                low=0.02), kind="bound", direction="<"),
    Claim("5c", "Nine harmless spellings are all read, class and confidence, in every seed (share)",
          READ["default"], 0.999,
          _mean("not by the published parser (at most 0.6)", READ["published"], high=0.6), kind="bound",
          paper="reads 55 of 140 confidences"),
    Claim("6", "Records give the same tables again, in every seed (largest difference)", _of("differs", classes="same"),
          0.0, _mean("not with the classes turned (at least 0.1)", _of("differs", classes="turned"), low=0.1),
          kind="bound", direction="<", tolerance=1e-9),
)  # fmt: skip


def grids(s: Settings) -> list[Grid]:
    """The models, and the texts, which are cheap on many seeds."""
    own, measures = ("vlmshift",), ("curves", "reader", "twin_rate", "rescue", "recorded")
    sizes = {"steps": s.steps, "episodes": s.episodes, "per_cell": s.per_cell, "queries": s.queries}
    return [
        Grid("seeing", own, measures, s.seeds, world_params=sizes, cost_s=43.0),
        Grid("texts", own, ("reading",), s.many, world_params={"texts": s.texts}, cost_s=0.1),
    ]


TITLE = "Accuracy falls with the severity of a shift"
CAPTION = "Accuracy of two tiny CLIPs by the level of each shift, of which 0 is images that they know."
study = Study(
    slug="vlmshift", module=__name__, version=1, grids=grids, claims=claims,
    scales={
        "quick": Settings(2, steps=60, episodes=40, per_cell=5, queries=2, many=3, texts=120), "cpu": Settings(),
        "paper": Settings(seeds=20, per_cell=80, queries=40, many=200),
    },
    worlds=(seeing, texts),
    methods=(vlmshift, as_published, silent, mixed),
    measures=(curves, reader, twin_rate, rescue, recorded, reading),
    figures=(Figure("curves", CAPTION, chart(TITLE, *(
        Panel(name, "level", "family", "lines", f"model == {name!r}", "share that is right") for name in MODELS
    )), "measure == 'accuracy'"),),
    root_seed=20261211, preload=("numpy", "torch", "PIL"),
)  # fmt: skip
