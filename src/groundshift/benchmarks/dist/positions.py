"""Where a vision transformer loses where things are: without its positions, and read from the tokens of each layer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from PIL import Image
from sklearn.linear_model import RidgeClassifier

from groundshift.benchmarks.dist.scoring import layer_shapes, score
from groundshift.benchmarks.dist.triplets import Triplets, load_triplets
from groundshift.errors import InputError
from groundshift.models.vision import ImageModel, load_image_model
from groundshift.report import Report, Section
from groundshift.result import Result

__all__ = ["PositionProbes", "edited_positions", "position_probes", "position_table"]

Edit = Literal["intact", "zeroed", "permuted"]
EDITS: tuple[Edit, ...] = ("intact", "zeroed", "permuted")
NAMES = ("position_embeddings", "position_embedding.weight", "pos_embed", "pos_embedding")


def position_table(network: torch.nn.Module) -> tuple[str, torch.Tensor]:
    """The table of learned or fixed positions of the part that sees, and its name.

    Raises
    ------
    InputError
        A network without one, such as a convolutional one, or one with rotary positions.
    """
    named = [(name, p) for name, p in network.named_parameters() if name.endswith(NAMES) and "text" not in name
             and "decoder" not in name]  # fmt: skip
    if not named:
        raise InputError(
            "The network has no table of positions (a parameter whose name ends in position_embeddings or pos_embed); "
            "networks without one, or with rotary positions, cannot be probed this way."
        )
    return named[0]


@contextmanager
def edited_positions(network: torch.nn.Module, edit: Edit, seed: int = 0) -> Iterator[None]:
    """While it is open, the rows of the table of positions are zero, or permuted; that of a class token stays."""
    table = position_table(network)[1]
    before = table.detach().clone()
    rows = table.data.view(-1, table.shape[-1])
    first = len(rows) - int(len(rows) ** 0.5) ** 2  # tokens that are no patches
    try:
        if edit == "zeroed":
            rows[first:] = 0
        elif edit == "permuted":
            order = torch.as_tensor(
                np.random.default_rng(seed).permutation(len(rows) - first), device=rows.device
            )
            rows[first:] = rows[first:][order]
        yield
    finally:
        table.data.copy_(before)


@dataclass(frozen=True, repr=False)
class PositionProbes(Result):
    """What becomes of positions.

    Attributes
    ----------
    accuracy : edit, layer, view, accuracy with low and high
    probe : layer, accuracy of a linear read-out of a patch's row and of its column, on pictures it was not fitted on
    side : patches of a row; chance is 1 / side
    model : its name
    """

    accuracy: pd.DataFrame
    probe: pd.DataFrame
    side: int
    model: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    def to_frame(self) -> pd.DataFrame:
        return self.probe

    def report(self) -> Report:
        last = self.accuracy.groupby("edit", sort=False).last()["accuracy"]
        headline = (
            f"{self.model}: odd-one-out accuracy {last['intact']:.0%} with its positions, {last['zeroed']:.0%} "
            f"without, {last['permuted']:.0%} where they are permuted (chance 33 %)."
        )
        note = f"A linear read-out from single tokens; chance is {1 / self.side:.2f}."

        def draw(ax: Any) -> None:
            for name, colour in (("row", "#2f6f8f"), ("column", "#c4622d")):
                ax.plot(self.probe["layer"], self.probe[name], "o-", color=colour, label=name)
            ax.axhline(1 / self.side, color="#9a9a9a", ls="--")
            ax.tick_params("x", rotation=30, labelsize=7)
            ax.set_ylim(0, 1.02)
            ax.set_ylabel("accuracy of the read-out")
            ax.legend(frameon=False)

        sections = (
            Section("positions", "Does it need its positions?", tables={"": self.accuracy}),
            Section("readout", "Which layers know where a patch is?", notes=(note,), tables={"": self.probe},
                    figures={"Read-out of a patch's row and column; dashed: chance": draw}),
        )  # fmt: skip
        return Report("dist", self.model, headline, sections=sections, settings=self.settings)

    def _content(self) -> dict[str, Any]:
        return {"model": self.model, "accuracy": self.accuracy, "probe": self.probe, "side": self.side,
                "settings": self.settings}  # fmt: skip


def position_probes(
    model: Any,
    triplets: Any,
    *,
    layers: Any = "all",
    batch_size: int = 64,
    seed: int = 0,
    device: str = "auto",
) -> PositionProbes:
    """Where a vision transformer loses where things are.

    Parameters
    ----------
    model : directory or id of a transformers vision transformer; in Python also an `ImageModel`
    triplets : folder of saved triplets; in Python also `Triplets`
    layers : "all", or names of layers, separated by commas; those that give a square of tokens are read out
    batch_size : pictures at once
    seed : of the permutation of positions, and of the pictures that the read-out is fitted on
    device : of the model

    Raises
    ------
    InputError
        A network without a table of positions, fewer than 4 triplets.
    """
    loaded = model if isinstance(model, ImageModel) else load_image_model(model, device=device)
    held = triplets if isinstance(triplets, Triplets) else load_triplets(triplets)
    name, _ = position_table(loaded.network)
    if len(held) < 4:
        raise InputError(f"{len(held)} triplets were given; the read-out needs the originals of 4 or more.")
    rows = []
    for edit in EDITS:
        with edited_positions(loaded.network, edit, seed):
            result = score(loaded, held, layers=layers, batch_size=batch_size)
        rows.append(result.by_layer()[["layer", "view", "accuracy", "low", "high"]].assign(edit=edit))
    accuracy = pd.concat(rows, ignore_index=True)
    accuracy = accuracy[["edit", *accuracy.columns.drop("edit")]]
    names = list(dict.fromkeys(accuracy["layer"]))
    probe, side = _read_out(loaded, held, names, batch_size, seed)
    return PositionProbes(accuracy, probe, side, loaded.name, {**held.settings, "table": name})


def _read_out(
    model: ImageModel, triplets: Triplets, layers: Sequence[str], batch_size: int, seed: int
) -> tuple[pd.DataFrame, int]:
    originals = [Image.fromarray(three[0]) for three in triplets.pictures[:200]]
    order = np.random.default_rng(seed).permutation(len(originals))
    fitted, tested = np.split(order, [len(order) // 2])
    rows, side = [], 0
    for layer in layers:
        with layer_shapes(model, [layer]) as shapes:
            x = model.features(originals, [layer], batch=batch_size)[layer]
        shape = shapes.get(layer, ())
        side_here = int(shape[0] ** 0.5) if len(shape) == 2 else 0
        if side_here < 2 or shape[0] - side_here**2 > 5:
            continue
        side = side_here
        tokens = x.reshape(len(x), *shape)[:, shape[0] - side**2 :]
        row, column = np.divmod(np.arange(side**2), side)
        scores = {}
        for name, place in (("row", row), ("column", column)):
            a, b = (tokens[k].reshape(-1, shape[1]) for k in (fitted, tested))
            probe = RidgeClassifier().fit(a, np.tile(place, len(fitted)))
            scores[name] = float(probe.score(b, np.tile(place, len(tested))))
        rows.append({"layer": layer, **scores})
    if not rows:
        raise InputError(
            "No layer gives a square of tokens for each picture; name the blocks of a vision transformer."
        )
    return pd.DataFrame(rows), side
