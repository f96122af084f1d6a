"""Does a network notice that the global arrangement is gone? Odd-one-out accuracy of its layers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from groundshift.benchmarks.dist.oddity import CHANCE, d_prime, interval, margins, odd_one_out, similarities
from groundshift.shifts.rearranging import How, Pixels
from groundshift.benchmarks.dist.triplets import Triplets, open_triplets
from groundshift.errors import InputError
from groundshift.models.vision import ImageModel, load_image_model
from groundshift.report import Report, Sample, Section
from groundshift.result import Result

__all__ = ["Score", "layer_features", "layer_shapes", "score"]

FEWEST = 100
"""Triplets that allow a verdict."""
WORDS = {
    0: "the original (right)",
    1: "the first twin (wrong)",
    2: "the second twin (wrong)",
    -1: "none (a tie)",
}
BLUE, RUST = (47, 111, 143), (196, 98, 45)
HOW = (
    "A trial is an original and two twins without its global arrangement. The model answers the picture whose features "
    "have the lowest mean cosine with those of the other two; chance is 1 in 3, ties count 1 in 3. A view is the whole "
    "output of a layer, in which it matters where something is, or its mean over all places (pooled). Intervals are "
    "over originals. The margin is the cosine of the twins less the mean cosine of the original with them; d' is its "
    "mean over its standard deviation. Texture-matched triplets are those whose twins are about as far from the "
    "original's texture as from each other's. The nuisance ratio says how many times further from the original, in "
    "cosine, its twins are than it is with 5 % more or less contrast."
)
FRAMED = "The picture that the model chose is framed: blue where that is right, rust where it is wrong."


@dataclass(frozen=True, repr=False)
class Score(Result):
    """Answers of a model's layers to triplets.

    Attributes
    ----------
    records : layer, view ("pooled" or "whole"), triplet, name, label, cosines of original and first twin, original and
        second twin, and both twins, answer (0: the original, 1, 2: a twin, -1: a tie), right, margin, texture_matched
    nuisance : for each layer and view how many times further from the original, in cosine, the twins are than pictures
        with 5 % more or less contrast
    triplets : that were answered
    model : its name
    """

    records: pd.DataFrame
    nuisance: pd.DataFrame
    triplets: Triplets
    model: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    def by_layer(self) -> pd.DataFrame:
        """Accuracy with low and high, margin, d' and texture-matched accuracy of each layer and view."""
        rows = []
        for (layer, view), own in self.records.groupby(["layer", "view"], sort=False):
            matched = own[own["texture_matched"]]
            low, high = interval(own["right"], own["name"])
            rows.append({
                "layer": layer, "view": view, "n": len(own), "accuracy": own["right"].mean(), "low": low, "high": high,
                "margin": own["margin"].mean(), "d_prime": d_prime(own["margin"]),
                "matched_n": len(matched), "matched_accuracy": matched["right"].mean(),
            })  # fmt: skip
        table = pd.DataFrame(rows)
        return table.merge(self.nuisance, on=["layer", "view"]) if len(self.nuisance) else table

    def by_class(self) -> pd.DataFrame:
        """Accuracy of each class by the last layer, pooled where it can be."""
        own = self._last()
        rows = []
        for label, part in own.groupby("label", sort=True):
            low, high = interval(part["right"], part["name"])
            rows.append(
                {"class": label, "n": len(part), "accuracy": part["right"].mean(), "low": low, "high": high}
            )
        return pd.DataFrame(rows)

    def _last(self) -> pd.DataFrame:
        own = self.records[self.records["layer"] == self.records["layer"].iloc[-1]]
        return own[own["view"] == own["view"].iloc[0]]

    @property
    def verdict(self) -> str:
        """Whether the last layer notices: "notices", "is blind to", "is misled without", or "withheld"."""
        own = self._last()
        low, high = interval(own["right"], own["name"])
        if len(own) < FEWEST:
            return "withheld"
        return "notices" if low > CHANCE else "is misled without" if high < CHANCE else "is blind to"

    def to_frame(self) -> pd.DataFrame:
        return self.records

    def report(self) -> Report:
        table, own = self.by_layer(), self._last()
        layer, view = own[["layer", "view"]].iloc[0]
        row = table[(table["layer"] == layer) & (table["view"] == view)].iloc[0]
        figures = f"{row['accuracy']:.0%} right ({row['low']:.0%} to {row['high']:.0%}, chance 33 %) at {layer}, {view}"
        words = {"withheld": f"With {len(own)} triplets no verdict is given (at least {FEWEST} are needed)",
                 "is misled without": f"{self.model} is misled where the global arrangement is lost"}  # fmt: skip
        headline = (
            f"{words.get(self.verdict, f'{self.model} {self.verdict} the global arrangement')}: {figures}."
        )
        best = table.sort_values("accuracy", ascending=False, kind="stable").iloc[0]
        lead = (
            f"Best: {best['accuracy']:.0%} right at {best['layer']}, {best['view']}."
            if len(table) > 1
            else ""
        )
        tone: Any = {"notices": "good", "withheld": "open"}.get(self.verdict, "bad")
        sections = [Section("layers", "Which layers notice?", notes=(HOW,), tables={"": table})]
        if self.records["label"].nunique() > 1:
            sections.append(Section("classes", "Which classes?", tables={"": self.by_class()}))
        sections += [
            Section("triplets", "What does the model choose?", notes=(FRAMED,), samples=self._samples(own)),
            Section("giveaways", "Could anything else tell the original?", tables={"": self.triplets.give_aways()}),
        ]  # fmt: skip
        return Report("dist", self.model, headline, lead=lead, tone=tone, warnings=self.triplets.warnings(),
                      figure=("Accuracy of each layer, with intervals; dashed: chance", self._draw), sections=sections,
                      settings=self.settings)  # fmt: skip

    def _draw(self, ax: Any) -> None:
        table = self.by_layer()
        layers = list(dict.fromkeys(table["layer"]))
        for view, colour in (("pooled", "#2f6f8f"), ("whole", "#c4622d")):
            own = table[table["view"] == view]
            if len(own):
                at = [layers.index(layer) for layer in own["layer"]]
                ends = np.abs(own[["low", "high"]].to_numpy().T - own["accuracy"].to_numpy())
                ax.errorbar(at, own["accuracy"], ends, marker="o", capsize=3, color=colour, label=view)
        ax.axhline(CHANCE, color="#9a9a9a", ls="--")
        names = [layer if len(layer) < 24 else "…" + layer[-23:] for layer in layers]
        step = max(1, len(layers) // 16)
        ax.set_xticks(range(0, len(layers), step), names[::step], rotation=30, ha="right", fontsize=7)
        ax.set_ylim(0, 1.02)
        ax.set_ylabel("odd-one-out accuracy")
        ax.legend(frameon=False)

    def _samples(self, own: pd.DataFrame, n: int = 8) -> list[Sample]:
        """Half of them wrong, where there are as many; those with the clearest margins."""
        order = own.assign(size=own["margin"].abs()).sort_values("size", ascending=False)
        right, wrong = order[order["right"] == 1], order[order["right"] < 1]
        chosen = pd.concat([wrong.head(max(n // 2, n - len(right))), right]).head(n)
        samples = []
        for row in chosen.to_dict("records"):
            three = list(self.triplets.pictures[row["triplet"]])
            if row["answer"] >= 0:
                three[row["answer"]] = _framed(three[row["answer"]], BLUE if row["answer"] == 0 else RUST)
            facts = {"chosen": WORDS[row["answer"]], "margin": row["margin"]}
            samples.append(
                Sample(f"{row['name']}: original, first and second twin", tuple(three), facts=facts)
            )
        return samples

    def _content(self) -> dict[str, Any]:
        return {"model": self.model, "verdict": self.verdict, "by_layer": self.by_layer(), "by_class": self.by_class(),
                "validity": self.triplets.validity, "dropped": self.triplets.dropped,
                "give_aways": self.triplets.give_aways(), "settings": self.settings}  # fmt: skip

    def _write_more(self, folder: Path) -> None:
        self.records.to_csv(folder / "records.csv", index=False)
        self.triplets.write_pictures(folder / "triplets")


def _framed(pixels: Pixels, colour: tuple[int, int, int]) -> Pixels:
    framed, width = pixels.copy(), max(2, min(pixels.shape[:2]) // 25)
    inner = framed[width:-width, width:-width].copy()
    framed[:] = colour
    framed[width:-width, width:-width] = inner
    return framed


def score(
    model: Any, images: Any, *, layers: Any = "last", how: How = "blocks", strength: float | None = None,
    n: int | None = None, size: int = 224, check: bool = True, weights: str | Path | None = None, batch_size: int = 64,
    seed: int = 0, device: str = "auto",
) -> Score:  # fmt: skip
    """How often a model finds the picture whose global arrangement is whole among two twins that have lost theirs.

    Parameters
    ----------
    model : directory or id of a transformers image model; in Python also a `groundshift.models.vision.ImageModel`
    images : folder of pictures, perhaps with a folder for each class; or of saved triplets; in Python also `Triplets`
    layers : "last" (before the head), "all", or names of layers, separated by commas
    how, strength, n, size, check, weights : of the twins, where pictures are given; see
        `groundshift.benchmarks.dist.make_triplets`
    batch_size : pictures at once
    seed : of the twins
    device : of the model

    Raises
    ------
    InputError
        A layer that the model does not have, features that are not finite, what `make_triplets` raises.
    """
    triplets = open_triplets(images, how, strength, n, size, seed, check=check, weights=weights, device=device)
    loaded = model if isinstance(model, ImageModel) else load_image_model(model, device=device)
    names = _layers(loaded, layers, min(triplets.pictures[0].shape[1:3]))
    blocks: dict[tuple[str, str], list[NDArray[np.float64]]] = {}
    changed: dict[tuple[str, str], list[NDArray[np.float64]]] = {}
    each = max(1, batch_size // 3)
    for at in range(0, len(triplets), each):  # no layer's features are kept longer than a batch
        part = triplets.pictures[at : at + each]
        for key, x in layer_features(loaded, [p for three in part for p in three], names, batch_size).items():
            blocks.setdefault(key, []).append(similarities(x.reshape(len(part), 3, -1)))
        mild = [p for three in part for p in (three[0], _contrast(three[0], 0.95), _contrast(three[0], 1.05))]
        for key, x in layer_features(loaded, mild, names, batch_size).items():
            changed.setdefault(key, []).append(similarities(x.reshape(len(part), 3, -1)))
    records, nuisance = [], []
    matched = (
        triplets.validity.get("texture_matched", pd.Series(False, range(len(triplets))))
        .astype(bool)
        .to_numpy()
    )
    for (layer, view), parts in blocks.items():
        cosines, trivial = np.concatenate(parts), np.concatenate(changed[layer, view])
        answers, right = odd_one_out(cosines)
        records.append(pd.DataFrame({
            "layer": layer, "view": view, "triplet": np.arange(len(triplets)), "name": triplets.names,
            "label": triplets.labels, "original_first": cosines[:, 0], "original_second": cosines[:, 1],
            "twins": cosines[:, 2], "answer": answers, "right": right, "margin": margins(cosines),
            "texture_matched": matched,
        }))  # fmt: skip
        distance = max(1 - float(trivial[:, :2].mean()), 1e-12)
        ratio = (1 - float(cosines[:, :2].mean())) / distance
        nuisance.append({"layer": layer, "view": view, "nuisance_ratio": ratio})
    settings = {**triplets.settings, "layers": ", ".join(names) if len(names) < 9 else f"{len(names)} layers"}
    return Score(
        pd.concat(records, ignore_index=True), pd.DataFrame(nuisance), triplets, loaded.name, settings
    )


def _contrast(pixels: Pixels, factor: float) -> Pixels:
    mean = pixels.mean()
    return np.round(np.clip(mean + factor * (pixels - mean), 0, 255)).astype(np.uint8)


def _layers(model: ImageModel, layers: Any, size: int) -> list[str]:
    if layers not in ("last", "all"):
        names = [name.strip() for name in layers.split(",")] if isinstance(layers, str) else list(layers)
        if not names:
            raise InputError('No layers were named; say "last", "all", or names of layers.')
        return names
    usable = model.layers(size=size)
    linear = [k for k, name in enumerate(usable) if isinstance(model.network.get_submodule(name), nn.Linear)]
    if linear and linear[-1] and all(usable[linear[-1]].startswith(name) for name in usable[linear[-1] :]):
        usable = usable[: linear[-1]]  # the head and what it is the end of: logits are no representation
    return usable if layers == "all" else usable[-1:]


def layer_features(
    model: ImageModel, pictures: Sequence[Pixels], layers: Sequence[str], batch_size: int = 64
) -> dict[tuple[str, str], NDArray[np.float32]]:
    """Features (n, D) of each layer: "pooled", the mean over places or tokens, where it has any, and "whole"."""
    with layer_shapes(model, layers) as shapes:
        whole = model.features([Image.fromarray(p) for p in pictures], layers, batch=batch_size)
    views: dict[tuple[str, str], NDArray[np.float32]] = {}
    for layer, x in whole.items():
        shape = shapes[layer]
        if sum(side > 1 for side in shape) > 1:
            axes = (2, 3) if len(shape) == 3 else (1,)  # maps (C, H, W), or tokens (T, D)
            views[layer, "pooled"] = x.reshape(len(x), *shape).mean(axes)
        views[layer, "whole"] = x
    return views


@contextmanager
def layer_shapes(model: ImageModel, layers: Sequence[str]) -> Iterator[dict[str, tuple[int, ...]]]:
    """While it is open, the shapes of the layers' outputs for one picture are collected."""
    shapes: dict[str, tuple[int, ...]] = {}
    modules = dict(model.network.named_modules())

    def see(name: str) -> Any:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            while isinstance(output, tuple | dict) and output:
                output = next(iter(output.values())) if isinstance(output, dict) else output[0]
            if isinstance(output, torch.Tensor):
                shapes[name] = tuple(output.shape[1:])

        return hook

    handles = [modules[layer].register_forward_hook(see(layer)) for layer in layers if layer in modules]
    try:
        yield shapes
    finally:
        for handle in handles:
            handle.remove()
