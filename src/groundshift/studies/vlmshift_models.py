"""The models of the study of vlmshift: trained on photographs and cartoons, asked about what they do not know."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from groundshift.benchmarks import vlmshift as vs
from groundshift.worlds.glyphs import CLASSES, MatchedFilter, glyphs

SOURCE, FAMILIES = ("photo", "cartoon"), ("sketch", "painting", "still")
SEVERITIES, NOISE = (0.3, 0.6, 1.0), (0.01, 0.04, 0.16)
DOMAINS = tuple(
    f"{family} {s}" for family in FAMILIES for s in SEVERITIES
)  # still: cartoons, at every severity
SHIFTED = ("sketch 0.3", "painting 0.3", "painting 1.0")
FAR, NEAR = ("sketch 1.0", "painting 1.0"), ("sketch 0.3", "painting 0.3")
POOLS, MODELS = ("target", "source"), ("clip", "twin")


def make(seed: int, steps: int, episodes: int, per_cell: int, queries: int, out: Path) -> None:
    """Write images of every domain and the answers of every run; train the models first."""
    from groundshift.models import tinysight

    rng = np.random.default_rng(seed)
    for domain in (*SOURCE, *DOMAINS):
        _write(rng, domain, per_cell * (2 if domain in NEAR else 1), out / "images" / domain)
    known = [(drawn.images, drawn.label) for drawn in (glyphs(rng, 1500, name) for name in SOURCE)]
    clips = [tinysight.train_clip(known, classes=len(CLASSES), steps=steps, seed=seed + k) for k in range(2)]
    reader = tinysight.train_reader(known, classes=len(CLASSES), steps=episodes, seed=seed)
    models = {name: _answering(net.shares) for name, net in zip(MODELS, clips, strict=True)}
    models |= {"reader": _answering(reader.shares, examples=True)}
    matched = MatchedFilter(*((family, 1.0) for family in FAMILIES[:2]))
    models |= {"filter": _answering(lambda images: np.eye(len(CLASSES))[matched.predict(images)])}
    for run, (name, how) in runs(per_cell, queries).items():
        vs.ask(models[name], images_of(run, out), **how, answers=out / f"{run}.jsonl", progress=False)


def images_of(run: str, folder: Path) -> Path:
    """The images of a run: noise is added to photographs alone."""
    return folder / "images" / "photo" if run.endswith("noise") else folder / "images"


def _write(rng: np.random.Generator, domain: str, each: int, folder: Path) -> None:
    from PIL import Image

    rendering, _, s = domain.partition(" ")
    drawn = glyphs(rng, len(CLASSES) * each, "cartoon" if rendering == "still" else rendering, float(s or 1))
    for k, (image, label) in enumerate(zip(drawn.pixels(), drawn.label, strict=True)):
        (folder / CLASSES[label]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / CLASSES[label] / f"{k:04}.png")


def _answering(shares: Callable[..., Any], examples: bool = False) -> Callable[[Any], str]:
    """A model as a function of messages: probabilities of its classes as an answer in three lines."""

    def model(messages: Any) -> str:
        parts = messages[-1]["content"]
        seen = np.stack(
            [np.asarray(p["image"].convert("L"), np.float32) / 255 for p in parts if "image" in p]
        )
        shown = [re.findall(r"This image is (\w+)", p["text"]) for p in parts if "text" in p]
        labels = [CLASSES.index(names[0]) for names in shown if names]
        p = shares(seen, labels) if examples else shares(seen)[0]
        return vs.answer_text(CLASSES[int(np.argmax(p))], round(float(np.max(p)), 4))

    return model


def runs(per_cell: int, queries: int) -> dict[str, tuple[str, dict[str, Any]]]:
    """Name of a run → whose it is, and with what it is asked."""
    wide = {"per_cell": 2 * per_cell, "classes": CLASSES}
    every: dict[str, tuple[str, dict[str, Any]]] = {}
    for name in MODELS:
        every[name] = name, {**wide, "source": ("cartoon",)}
        every[f"{name} noise"] = name, {**wide, "layout": "class", "noise": NOISE}
    every["flip"] = "clip", {**wide, "domains": FAR, "view": "flip"}
    every["filter"] = "filter", {**wide, "domains": FAR}
    for pool in POOLS:
        more = {"domains": (*SOURCE, *SHIFTED), "source": SOURCE, "in_context": 1, "pool": pool}
        every[f"reader {pool}"] = "reader", {"per_cell": queries, "classes": CLASSES, **more}
    return every


# What their answers say -----------------------------------------------------------------------------------------


def examples(results: dict[str, Any]) -> pd.DataFrame:
    """What examples add to the reader, and permuted labels."""
    rows = []
    for pool in POOLS:
        gains = results[f"reader {pool}"].gains("domain").set_index(["domain", "effect"])
        for domain in SHIFTED:
            for effect in ("examples", "permuted labels"):
                row = gains.loc[domain, effect]
                rows.append({"pool": pool, "domain": domain, "effect": effect, "gain": row["difference"],
                             "gain_low": row["low"], "after": row["after"], "before": row["before"]})  # fmt: skip
    return pd.DataFrame(rows)


def failures(results: dict[str, Any]) -> dict[str, dict[str, float]]:
    """The twin's rate, both ways, where the shift is mild and where it is large; and rescues where it is large."""
    rates: dict[str, dict[str, float]] = {"twin_rate": {}, "rescue": {}}
    tables = [results[model].records.set_index("image") for model in MODELS]
    for distance, domains in (("near", NEAR), ("far", FAR)):
        a, b = (table[table["domain"].isin(domains)]["correct"].sort_index() for table in tables)
        wrong = np.concatenate([b[a == 0], a[b == 0]])
        rates["twin_rate"][distance] = float(wrong.mean()) if len(wrong) else 1.0
    for other, twin in (("filter", "twin"), ("twin", "flip")):
        table = vs.compare(results["clip"], results[other], twin=results[twin]).table
        rates["rescue"][other] = float(table["rescue"].iloc[0])
    return rates


def recorded_again(result: Any) -> dict[str, float]:
    """Largest difference of a domain's accuracy between a run and its records in the published format."""
    turned = dict(zip(CLASSES, np.roll(CLASSES, 1).tolist(), strict=True))
    means, differ = result.records.groupby("domain")["correct"].mean(), {}
    for kind in ("same", "turned"):
        named = result.records["parsed_value"]
        rows = result.records.assign(predicted_class=named.map(turned) if kind == "turned" else named)
        rows = rows.rename(columns={"target": "true_class"})[
            ["image", "domain", "true_class", "predicted_class"]
        ]
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "records.jsonl"
            file.write_text("\n".join(map(json.dumps, rows.to_dict("records"))))
            again = vs.ask(file).records.groupby("domain")["correct"].mean()
        differ[kind] = float((again - means).abs().max())
    return differ
