"""Shape bias on pictures with the shape of one class and the texture of another (Geirhos et al. 2019)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.special import softmax

from groundshift.benchmarks.dist.oddity import interval
from groundshift.errors import InputError
from groundshift.models.images import read_image_folder
from groundshift.models.records import read_json
from groundshift.models.vision import ImageModel, load_image_model
from groundshift.report import Report, Section
from groundshift.result import Result

__all__ = ["ShapeBias", "count_decisions", "decide", "shape_bias"]

NAME = re.compile(r"([A-Za-z_ ]+?)\d*-([A-Za-z_ ]+?)\d*")
Classes = Mapping[str, Sequence[int]]


def decide(probabilities: ArrayLike, classes: Classes) -> NDArray[np.str_]:
    """The class whose members have the highest mean probability, for each row of (n, heads).

    Means, not sums, as classes have different numbers of members.

    >>> decide([[0.2, 0.2, 0.35, 0.25]], {"cat": [0, 1, 3], "car": [2]}).tolist()
    ['car']
    """
    p, names = np.asarray(probabilities, dtype=float), list(classes)
    means = np.stack([p[:, list(classes[name])].mean(1) for name in names], 1)
    return np.array(names)[means.argmax(1)]


def count_decisions(shape: ArrayLike, texture: ArrayLike, decision: ArrayLike) -> dict[str, float]:
    """Shape bias, its exact 95 % interval, coverage, and the numbers behind them; pictures of one class are left out.

    >>> counts = count_decisions(["a"] * 50, ["b"] * 50, ["a"] * 12 + ["b"] * 8 + ["c"] * 30)
    >>> counts["shape_bias"], counts["coverage"]
    (0.6, 0.4)
    """
    s, t, d = (np.asarray(x) for x in (shape, texture, decision))
    s, t, d = (x[s != t] for x in (s, t, d))
    by_shape, by_texture = int((d == s).sum()), int((d == t).sum())
    decided = by_shape + by_texture
    low, high = interval(np.repeat([1, 0], [by_shape, by_texture]))
    bias = by_shape / decided if decided else float("nan")
    return {"shape_bias": bias, "low": low, "high": high, "coverage": decided / len(s) if len(s) else float("nan"),
            "shape": by_shape, "texture": by_texture, "other": len(s) - decided}  # fmt: skip


@dataclass(frozen=True, repr=False)
class ShapeBias(Result):
    """Decisions between shape and texture.

    Attributes
    ----------
    records : file, shape, texture, decision of each picture
    model : its name
    settings : of the call, and how many pictures of one class were left out
    """

    records: pd.DataFrame
    model: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def overall(self) -> dict[str, float]:
        """See `count_decisions`."""
        return count_decisions(*(self.records[c] for c in ("shape", "texture", "decision")))

    def by_class(self) -> pd.DataFrame:
        """The same for each class of shape."""
        groups = self.records.groupby("shape", sort=True)
        rows = [
            {"class": name, **count_decisions(own["shape"], own["texture"], own["decision"])}
            for name, own in groups
        ]
        return pd.DataFrame(rows)

    def to_frame(self) -> pd.DataFrame:
        return self.records

    def report(self) -> Report:
        all_, table = self.overall, self.by_class()
        headline = (
            f"{self.model} decides by shape in {all_['shape_bias']:.0%} ({all_['low']:.0%} to {all_['high']:.0%}) of "
            f"the pictures that it takes for one of both classes, which are {all_['coverage']:.0%} of all."
        )
        note = (
            "Shape bias: decisions for the shape over those for the shape or the texture. Coverage: the share of "
            "pictures with either decision. Pictures whose shape and texture are of one class are left out."
        )

        def draw(ax: Any) -> None:
            ax.barh(table["class"], table["shape_bias"].fillna(0), color="#2f6f8f")
            ax.axvline(all_["shape_bias"], color="#c4622d", ls="--")
            ax.set_xlim(0, 1)
            ax.set_xlabel("shape bias; dashed: of all classes")

        section = Section("classes", "Which classes?", notes=(note,), tables={"": table})
        return Report("dist", self.model, headline, figure=("Shape bias of each class", draw), sections=(section,),
                      settings=self.settings)  # fmt: skip

    def _content(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "overall": self.overall,
            "by_class": self.by_class(),
            "settings": self.settings,
        }


def shape_bias(
    model: Any, images: str | Path, mapping: Any = None, *, batch_size: int = 64, device: str = "auto"
) -> ShapeBias:
    """How often a classifier decides by shape where texture says another class.

    Parameters
    ----------
    model : directory or id of a transformers image classifier, in Python also an `ImageModel`
    images : folder of pictures named by shape and texture, such as ``cat/cat3-elephant1.png``
    mapping : JSON file, or dictionary: class → positions among the model's outputs; by default the model's own labels
    batch_size : pictures at once
    device : of torch

    Raises
    ------
    InputError
        Pictures whose names say no two classes, classes that the mapping or the model does not have.
    """
    classes = read_json(Path(mapping)) if isinstance(mapping, str | Path) else mapping
    files = read_image_folder(images, "flat").paths()
    pairs = [NAME.fullmatch(file.stem) for file in files]
    if wrong := [file for file, pair in zip(files, pairs, strict=True) if pair is None]:
        raise InputError(
            f"{len(wrong)} files, such as {wrong[0]}, are not named SHAPE-TEXTURE, as cat3-elephant1.png is."
        )
    shape, texture = ([pair[k] for pair in pairs if pair] for k in (1, 2))
    loaded = model if isinstance(model, ImageModel) else load_image_model(model, device=device)
    if classes is None:
        classes = {name: [k] for k, name in enumerate(loaded.classes)}
    if missing := sorted({*shape, *texture} - set(classes)):
        raise InputError(
            f"The pictures have the classes {', '.join(missing)}, which are not among {', '.join(list(classes)[:20])}; "
            "give mapping=: a JSON file of class → positions among the model's outputs."
        )
    chosen = {
        name: classes[name] for name in sorted({*shape, *texture} | (set(classes) if mapping else set()))
    }
    logits = loaded.logits(files, batch=batch_size)
    if too_large := sorted(
        {int(k) for one in chosen.values() for k in one if not 0 <= int(k) < logits.shape[1]}
    ):
        raise InputError(
            f"The mapping names the outputs {too_large[:5]}; the model has 0 to {logits.shape[1] - 1}."
        )
    decision = decide(softmax(logits, axis=1), chosen)
    records = pd.DataFrame(
        {"file": [file.name for file in files], "shape": shape, "texture": texture, "decision": decision}
    )
    same = int((records["shape"] == records["texture"]).sum())
    return ShapeBias(
        records, loaded.name, {"images": str(images), "pictures": len(files), "of one class, left out": same}
    )
