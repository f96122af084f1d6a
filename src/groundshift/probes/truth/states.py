"""Where the states of statements come from: a language model, a folder of saved activations, or arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.metrics import roc_auc_score

from groundshift.errors import InputError
from groundshift.probes.truth.bags import Bags
from groundshift.probes.truth.sawmil import grouped_folds

if TYPE_CHECKING:
    from groundshift.models.activations import ProbeModel

__all__ = ["Source", "layer_curve", "open_source"]

Rows = NDArray[np.int64]


class Source(Protocol):
    """States of the statements of one table.

    Attributes
    ----------
    layers : names, in the order of the network
    truncated : statements that were cut off at the longest length
    """

    layers: list[str]
    truncated: int

    def last(self, layers: Sequence[str], rows: Rows) -> dict[str, NDArray[Any]]:
        """State of the last token of each row, (n, D), by layer."""

    def bags(self, layer: str, rows: Rows) -> Bags:
        """States of all tokens of each row."""


def open_source(
    model: Any,
    statements: Sequence[str],
    longest: int = 100,
    device: str = "auto",
    allow_missing: bool = False,
) -> Source:
    """The states of statements.

    Parameters
    ----------
    model : path or id of a language model, or one in memory (`groundshift.models.activations.ProbeModel`); a folder of
        `groundshift.models.activations.capture` or what it gave, of the same statements in the same order; arrays
        (N, D) or `Bags`, alone or by the name of their layer
    statements : N texts
    longest : tokens of a statement that the model reads
    device, allow_missing : see `groundshift.models.activations.load_model`

    Raises
    ------
    InputError
        States of another number of statements.
    """
    if isinstance(model, str | Path):
        if (Path(model) / "meta.json").is_file():
            from groundshift.models.activations import open_acts

            return Saved(open_acts(model), len(statements))
        from groundshift.models.activations import load_model

        return Model(load_model(str(model), device=device, allow_missing=allow_missing), statements, longest)
    if isinstance(model, np.ndarray | Bags):
        return Saved({"states": model}, len(statements))
    if isinstance(model, Mapping):
        return Saved(model, len(statements))
    return Model(model, statements, longest)


class Saved:
    """States that are there already."""

    truncated = 0

    def __init__(self, states: Any, n: int) -> None:
        self.states = states
        # Activations of other places than block outputs are used where there are no others.
        self.layers = [name for name in states if name.startswith("resid_post")] or list(states)
        dropped = getattr(states, "dropped", {})
        if dropped:
            raise InputError(
                f"The activations lack {len(dropped)} of {n} statements (first: {next(iter(dropped.items()))}); leave "
                "those out of the table, too, and capture again."
            )
        for name in self.layers:
            if len(self._all(name)) != n:
                raise InputError(
                    f"The states of {name} are of {len(self._all(name))} statements, and the table has {n}; they must "
                    "be the same, in the same order."
                )

    def _all(self, layer: str) -> Bags:
        states = self.states[layer]
        if isinstance(states, Bags):
            return states
        if hasattr(self.states, "offsets"):
            return Bags(self.states.flat(layer), self.states.offsets[layer])
        return Bags.of(np.asarray(states))

    def last(self, layers: Sequence[str], rows: Rows) -> dict[str, NDArray[Any]]:
        return {layer: self._all(layer).last[rows] for layer in layers}

    def bags(self, layer: str, rows: Rows) -> Bags:
        return self._all(layer)[rows]


class Model:
    """States that a language model is run for; special tokens (a beginning, an end) are no part of a statement."""

    def __init__(self, model: ProbeModel, statements: Sequence[str], longest: int) -> None:
        from groundshift.models.activations import encode

        self.model = model
        self.layers = [f"resid_post.{k}" for k in range(len(model.layers))]
        special = np.array(sorted(set(model.tokenizer.all_special_ids)), dtype=np.int64)
        longest = min(longest, model.context or longest)
        self.ids, self.own, self.truncated = [], [], 0
        for row, text in zip(encode(model, list(statements)), statements, strict=True):
            own = ~np.isin(row.ids, special)
            if not own.any():
                raise InputError(f"The tokenizer knows no word of {text!r}; it becomes special tokens alone.")
            end = int(np.flatnonzero(own)[-1]) + 1
            self.truncated += end > longest
            own = own[: min(end, longest)]
            self.ids.append(row.ids[: len(own)].tolist())
            self.own.append(own)

    def _read(self, layers: Sequence[str], rows: Rows, positions: str) -> Any:
        from groundshift.models.activations import capture

        return capture(self.model, [{"input_ids": self.ids[k]} for k in rows], list(layers), positions)

    def last(self, layers: Sequence[str], rows: Rows) -> dict[str, NDArray[Any]]:
        acts = self._read(layers, rows, "last")
        return {layer: acts[layer] for layer in layers}

    def bags(self, layer: str, rows: Rows) -> Bags:
        acts = self._read([layer], rows, "all")
        own = [self.own[k] for k in rows]
        return Bags.of(acts.flat(layer)[np.concatenate(own)], [int(o.sum()) for o in own])


def layer_curve(
    source: Source, rows: Rows, kind: NDArray[Any], groups: NDArray[np.int64], rng: np.random.Generator
) -> dict[str, float]:
    """How well each layer tells true from not true: area under the ROC curve, mean over the kinds that are not true.

    A linear discriminant with Ledoit and Wolf's shrinkage, on last tokens, in three folds by entity.

    Parameters
    ----------
    rows : of the training statements; no other is looked at
    kind, groups : of the same rows
    """
    labels = kind == "true"
    folds = grouped_folds(labels, groups, 3, rng)
    others = [k for k in np.unique(kind) if k != "true"]
    curve = {}
    for layer, x in source.last(source.layers, rows).items():
        score = np.full(len(rows), np.nan)
        for train, test in folds:
            machine = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto").fit(
                x[train].astype(float), labels[train]
            )
            score[test] = machine.decision_function(x[test].astype(float))
        seen = ~np.isnan(score)
        areas = []
        for other in others:
            pair = seen & (labels | (kind == other))
            areas.append(roc_auc_score(labels[pair], score[pair]))
        curve[layer] = float(np.mean(areas))
    return curve
