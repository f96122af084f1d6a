"""The study of image models under a shift of distribution (arXiv:2312.07424).

Two tiny CLIPs and a tiny reader of examples know photographs and cartoons of five shapes, and are asked about sketches
and paintings of known severity through `vlmshift.ask`, as a user's model would be. Answers of known accuracy, spelt in
many ways or malformed, test what reads them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from groundshift.benchmarks import vlmshift as vs
from groundshift.benchmarks.vlmshift.models import answer_text
from groundshift.lab.claims import Claim, Control
from groundshift.lab.study import Figure, Grid, Measure, Method, Sample, Study, World
from groundshift.models.items import Item, Unparsed, grade_items
from groundshift.studies.drawing import Panel, chart
from groundshift.studies.keeping import kept
from groundshift.worlds import glyphs as world
from groundshift.worlds.glyphs import CLASSES, MatchedFilter, glyphs

SOURCE, FAMILIES = ("photo", "cartoon"), ("sketch", "painting", "still")
SEVERITIES, NOISE = (0.3, 0.6, 1.0), (0.01, 0.04, 0.16)
DOMAINS = tuple(f"{family} {s}" for family in FAMILIES for s in SEVERITIES)  # still: cartoons, at every severity
SHIFTED = ("sketch 0.3", "painting 0.3", "painting 1.0")
FAR = ("sketch 1.0", "painting 1.0")
POOLS, MODELS = ("target", "source"), ("clip", "twin")


@dataclass(frozen=True)
class Settings:
    """What the dial sets."""

    seeds: int = 8
    steps: int = 400  # of the CLIPs
    episodes: int = 500  # of the reader
    per_cell: int = 30
    queries: int = 20  # of each domain and class, for the reader
    many: int = 40  # seeds of the texts
    texts: int = 400


# Part 1: models that see ---------------------------------------------------------------------------------------


@World.define()
def seeing(
    rng: np.random.Generator, severity: float, *, steps: int, episodes: int, per_cell: int, queries: int
) -> Sample:
    """Images of every domain, and the answers of tiny models to all that is asked about them."""
    recipe = int(rng.integers(2**31)), steps, episodes, per_cell, queries
    folder = kept("vlmshift", recipe, lambda out: _make(*recipe, out), world)
    return Sample({"part": "seeing", "folder": str(folder), "per_cell": per_cell, "queries": queries}, None)


def _make(seed: int, steps: int, episodes: int, per_cell: int, queries: int, out: Path) -> None:
    from groundshift.models import tinysight

    rng = np.random.default_rng(seed)
    for domain in (*SOURCE, *DOMAINS):
        _write(rng, domain, per_cell * (2 if domain.endswith("0.3") else 1) + 5, out / "images" / domain)
    known = [(drawn.images, drawn.label) for drawn in (glyphs(rng, 1500, name) for name in SOURCE)]
    clips = [tinysight.train_clip(known, classes=5, steps=steps, seed=seed + k) for k in range(2)]
    reader = tinysight.train_reader(known, classes=5, steps=episodes, seed=seed)
    models = {name: _answering(net.shares) for name, net in zip(MODELS, clips, strict=True)}
    models |= {"reader": _answering(reader.shares, examples=True)}
    models |= {"filter": _answering(lambda images: np.eye(5)[_filtered(images)])}
    for run, (name, how) in _runs(per_cell, queries).items():
        vs.ask(models[name], out / "images", **how, answers=out / f"{run}.jsonl", progress=False)


def _write(rng: np.random.Generator, domain: str, each: int, folder: Path) -> None:
    from PIL import Image

    rendering, _, s = domain.partition(" ")
    drawn = glyphs(rng, 5 * each, "cartoon" if rendering == "still" else rendering, float(s or 1))
    for k, (image, label) in enumerate(zip(drawn.pixels(), drawn.label, strict=True)):
        (folder / CLASSES[label]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / CLASSES[label] / f"{k:04}.png")


def _filtered(images: Any) -> Any:
    """The matched filter of the rendering: of paper with dark lines, or of a painting."""
    ink = np.median(images[:, 2:-2, 2:-2].reshape(len(images), -1), axis=1)[0] > 0.93
    return MatchedFilter("sketch" if ink else "painting", 1.0).predict(images)


def _answering(shares: Callable[..., Any], examples: bool = False) -> Callable[[Any], str]:
    """A model as a function of messages: probabilities of its classes as an answer in three lines."""

    def model(messages: Any) -> str:
        parts = messages[-1]["content"]
        seen = np.stack([np.asarray(p["image"].convert("L"), np.float32) / 255 for p in parts if "image" in p])
        shown = [re.findall(r"This image is (\w+)", p["text"]) for p in parts if "text" in p]
        labels = [CLASSES.index(names[0]) for names in shown if names]
        p = shares(seen, labels) if examples else shares(seen)[0]
        return answer_text(CLASSES[int(np.argmax(p))], round(float(np.max(p)), 4))

    return model


def _runs(per_cell: int, queries: int) -> dict[str, tuple[str, dict[str, Any]]]:
    """Name of a run → whose it is, and with what it is asked."""
    wide, near = {"per_cell": per_cell, "classes": CLASSES}, [d for d in DOMAINS if d.endswith("0.3")]
    runs: dict[str, tuple[str, dict[str, Any]]] = {}
    for name in MODELS:
        runs[name] = name, {**wide, "source": ("cartoon",)}
        runs[f"{name} near"] = name, {**wide, "per_cell": 2 * per_cell, "domains": near}
        runs[f"{name} noise"] = name, {**wide, "domains": ("photo",), "noise": NOISE}
    runs["flip"] = "clip", {**wide, "domains": FAR, "view": "flip"}
    runs["filter"] = "filter", {**wide, "domains": FAR}
    for pool in POOLS:
        more = {"domains": (*SOURCE, *SHIFTED), "source": SOURCE, "in_context": 1, "pool": pool}
        runs[f"reader {pool}"] = "reader", {"per_cell": queries, "classes": CLASSES, **more}
    return runs


# Part 2: answers of known accuracy -------------------------------------------------------------------------------

NAMES = ("car", "carrot", "teddy-bear", "Trash_Can", "bus", "bush", "sea lion", "house")
SPELLINGS: tuple[Callable[[str], str], ...] = (
    lambda n: f"Answer Choice: [{n}]\nConfidence Score: [0.8]\nReasoning: [It looks so.]",
    lambda n: f"answer choice: '{n.upper()}'\nConfidence Score: 80%",
    lambda n: f'Answer Choice: "{n}"\nConfidence Score: 0,8',
    lambda n: f"**Answer Choice:** **{n}**\n**Confidence Score:** 0.8",
    lambda n: f"Answer Choice: {n.replace('_', ' ').replace('-', ' ')}.\nConfidence Score: .8",
    lambda n: f"---BEGIN FORMAT TEMPLATE---\nAnswer Choice: {n}\nConfidence Score: 0.8\n---END FORMAT TEMPLATE---",
    lambda n: f"Answer Choice: {n.title()}, as far as I see\nConfidence Score: 0.80",
    lambda n: f"Answer Choice: [one of the choices]\nI see it.\nAnswer Choice: {n}\nConfidence Score: (0.8)",
    lambda n: f"Answer Choice:\t{n} \nConfidence Score: 8e-1".replace("8e-1", "0.8"),
)
PROSE = ("It looks like a {} to me.", "I am not sure, perhaps a {}?", "Answer Choice: none of them, though near {}")
SHARES = (0.0, 0.1)


@World.define()
def texts(rng: np.random.Generator, severity: float, *, texts: int) -> Sample:
    """Answers that are right with 0.8, in harmless spellings; and the same with a tenth as prose."""
    names = rng.permutation(NAMES).tolist()
    right = rng.integers(len(names), size=texts)
    said = np.where(rng.random(texts) < 0.8, right, (right + rng.integers(1, len(names), texts)) % len(names))
    lost, form = rng.random(texts) < 0.1, rng.integers(len(SPELLINGS), size=texts)
    spelt = [SPELLINGS[f](names[k]) for f, k in zip(form, said, strict=True)]
    prose = [PROSE[f % 3].format(names[k]) if bad else text
             for f, k, bad, text in zip(form, said, lost, spelt, strict=True)]  # fmt: skip
    hit = said == right
    known = float(hit[~lost].mean() - (hit & ~lost).mean())
    items = [Item(f"image {k}", names[r]) for k, r in enumerate(right)]
    answers = {0.0: spelt, 0.1: prose}
    said_names = [names[k] for k in said]
    return Sample({"part": "texts", "items": items, "names": names, "answers": answers, "said": said_names}, known)


# The method: what the benchmark says ------------------------------------------------------------------------------

Change = Callable[[pd.DataFrame, np.random.Generator], pd.DataFrame]


def _measured(data: Any, rng: np.random.Generator, parser: str, change: Change) -> dict[str, Any]:
    return (_texts if data["part"] == "texts" else _seen)(data, rng, parser, change)


def _texts(data: Any, rng: np.random.Generator, parser: str, change: Change) -> dict[str, Any]:
    rows, names = [], data["names"]
    for kind, reader in (("default", vs.parser_of(names, parser)), ("published", vs.parser_of(names, "published"))):
        for share, answers in data["answers"].items():
            how: dict[str, Any] = {"task": "vlmshift", "version": "1", "model": "texts"}
            records = grade_items(data["items"], answers, reader, vs.grade, **how)
            records = change(records, rng) if kind == "default" else records
            read = records["parsed"] == 1
            kept_ = records["correct"][read].mean() if read.any() else 0.0
            good = (records["parsed_value"] == data["said"]) & (records.get("confidence", 0) == 0.8)
            row = {"reader": kind, "malformed": share, "inflation": kept_ - records["correct"].mean()}
            rows.append({**row, "recovered": float((good & read).mean())})
    return {"texts": pd.DataFrame(rows)}


def _seen(data: Any, rng: np.random.Generator, parser: str, change: Change) -> dict[str, Any]:
    folder, results = Path(data["folder"]), {}
    for run, (_, how) in _runs(data["per_cell"], data["queries"]).items():
        asked = vs.ask(folder / f"{run}.jsonl", folder / "images", **how, parser=parser, progress=False)  # type: ignore[arg-type]
        every = change(pd.concat([asked.records, asked.other], ignore_index=True), rng)
        plain = (every["shift"] == "none") & (every["protocol"] == "zero-shot")
        results[run] = vs.VisionShift(every[plain], "vlmshift", (), asked.settings, every[~plain], asked.source)
    rows = []
    for model in MODELS:
        share = results[model].records.groupby("domain")["correct"].mean()
        for family in FAMILIES:
            curve = [(0.0, share["cartoon"]), *((s, share[f"{family} {s}"]) for s in SEVERITIES)]
            rows += [{"model": model, "family": family, "severity": s, "accuracy": a} for s, a in curve]
        curves = results[f"{model} noise"].severity()[0]
        rows += [{"model": model, "family": "noise", "severity": s, "accuracy": a}
                 for s, a in zip(curves["severity"], curves["mean"], strict=True)]  # fmt: skip
    return {"curves": pd.DataFrame(rows), "reader": _reader(results), "failures": _failures(results),
            "recorded": _recorded(results["clip"], rng)}  # fmt: skip


def _reader(results: dict[str, Any]) -> pd.DataFrame:
    rows = []
    for pool in POOLS:
        gains = results[f"reader {pool}"].gains("domain").set_index(["domain", "effect"])
        for domain in SHIFTED:
            for effect in ("examples", "permuted labels"):
                row = gains.loc[domain, effect]
                rows.append({"pool": pool, "domain": domain, "effect": effect, "gain": row["difference"],
                             "gain_low": row["low"], "after": row["after"], "before": row["before"]})  # fmt: skip
    return pd.DataFrame(rows)


def _failures(results: dict[str, Any]) -> list[dict[str, Any]]:
    """The twin's rate, both ways, where the shift is mild and where it is large; and rescues where it is large."""
    rows = []
    for level, suffix, domains in (("near", " near", [d for d in SHIFTED if d.endswith("0.3")]), ("far", "", FAR)):
        a, b = (results[m + suffix].records.query("domain in @domains").set_index("image")["correct"] for m in MODELS)
        both = [vs.failures(x, y.reindex(x.index)) for x, y in ((a, b), (b, a))]
        rate = np.average([one["rate"] for one in both], weights=[one["failures"] for one in both])
        rows.append({"measure": "twin_rate", "what": level, "value": rate})
    pairs = {"filter": ("filter", "twin"), "twin": ("twin", "flip")}
    for what, (other, twin) in pairs.items():
        table = vs.compare(results["clip"], results[other], twin=results[twin]).table.iloc[0]
        rows.append({"measure": "rescue", "what": what, "value": table["rescue"]})
    return rows


def _recorded(result: Any, rng: np.random.Generator) -> dict[str, float]:
    """Largest difference of a domain's accuracy between a run and its records in the published format."""
    import tempfile

    turned = dict(zip(CLASSES, np.roll(CLASSES, 1).tolist(), strict=True))
    means, differ = result.records.groupby("domain")["correct"].mean(), {}
    for kind in ("same", "turned"):
        named = result.records["parsed_value"]
        rows = result.records.assign(predicted_class=named.map(turned) if kind == "turned" else named)
        rows = rows.rename(columns={"target": "true_class"})[["image", "domain", "true_class", "predicted_class"]]
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "records.jsonl"
            file.write_text("\n".join(map(json.dumps, rows.to_dict("records"))))
            again = vs.ask(file).records.groupby("domain")["correct"].mean()
        differ[kind] = float((again - means).abs().max())
    return differ


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
