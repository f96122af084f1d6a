"""Observed data as counts of cells, and the conditional tables that formulas read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import opt_einsum
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from groundshift.discovery.surgery.combs import Term, column, indices_of
from groundshift.errors import InputError
from groundshift.tables import read_table

__all__ = ["Counts", "Tables", "read_counts"]

Array = NDArray[np.float64]
MOST_VALUES = 20
LARGEST_TABLE = 2**24


@dataclass(frozen=True)
class Counts:
    """Cells that occur, with their weights.

    Attributes
    ----------
    names : variables
    labels : variable -> its values
    codes : shape (cells, variables)
    weights : rows in each cell, or its probability
    rows : their number; None for a probability table, which has no sampling error
    """

    names: tuple[str, ...]
    labels: Mapping[str, Sequence[Any]]
    codes: NDArray[np.int64]
    weights: Array
    rows: int | None

    def shape(self, names: Sequence[str]) -> tuple[int, ...]:
        """Numbers of values."""
        return tuple(len(self.labels[name]) for name in names)

    def cells_of(self, names: Sequence[str]) -> NDArray[np.int64]:
        """The place of each cell in the flat table over ``names``."""
        shape = self.shape(names)
        if np.prod(shape, dtype=float) > LARGEST_TABLE:
            raise InputError(
                f"The formula needs a table over {', '.join(names)} with {np.prod(shape, dtype=float):,.0f} "
                f"cells; at most {LARGEST_TABLE:,} are held. Use fewer values (bins), or leave variables that do "
                "not matter out of the graph."
            )
        if not names:
            return np.zeros(len(self.codes), dtype=np.int64)
        places = [self.names.index(name) for name in names]
        return np.ravel_multi_index(tuple(self.codes[:, places].T), shape).astype(np.int64)

    def marginal(self, names: Sequence[str], weights: Array | None = None) -> Array:
        """Weights summed over all other variables, shape (*names), or (draws, *names) for weights (draws, cells)."""
        flat, shape = self.cells_of(names), self.shape(names)
        size = int(np.prod(shape, dtype=np.int64))
        if weights is None:
            return np.bincount(flat, self.weights, size).astype(float).reshape(shape)
        occur, place = np.unique(flat, return_inverse=True)
        summing = sparse.csr_array((np.ones(len(flat)), (place, np.arange(len(flat)))))
        sums = np.zeros((len(weights), size))
        sums[:, occur] = (summing @ weights.T).T
        return sums.reshape(len(weights), *shape)


def read_counts(
    data: Any, names: Sequence[str], observed: Sequence[str], bins: Mapping[str, Any] | None = None
) -> Counts:
    """Counts of the variables that a query needs.

    Parameters
    ----------
    data : frame (pandas, polars, Arrow) or path with one row per unit; a Series whose index levels are the
        variables; a dictionary of counts, keys in the order of ``observed``; or an array with one axis per
        observed variable, of counts or of probabilities
    names : the variables that are needed
    observed : all observed variables of the model, in causal order
    bins : column -> number of bins of equal share, or their edges

    Raises
    ------
    InputError
        A column that is missing, has one value, missing values, or is continuous and without bins; an array of
        a wrong shape; probabilities that do not sum to one.
    """
    if isinstance(data, pd.Series):
        return _from_series(data, names)
    if isinstance(data, Mapping):
        return _from_series(_series_of(data, observed), names)
    if isinstance(data, np.ndarray):
        return _from_array(data, names, observed)
    frame = read_table(data)
    if missing := [v for v in names if v not in frame.columns]:
        raise InputError(
            f"There is no column {missing[0]!r}; the columns are {', '.join(map(str, frame.columns[:12]))}. "
            f"Rename it, or say that {missing[0]} is hidden."
        )
    if len(frame) == 0:
        raise InputError("The table has no rows.")
    if unknown := [v for v in bins or {} if v not in frame.columns]:
        raise InputError(f"Bins are given for {unknown[0]!r}, which is no column.")
    labels: dict[str, Sequence[Any]] = {}
    codes = np.empty((len(names), len(frame)), dtype=np.int64)
    for k, v in enumerate(names):
        values = frame[v]
        if empty := int(values.isna().sum()):
            raise InputError(
                f"{empty} of {len(frame)} rows have no value of {v}. Leave them out, or give them a label of their own "
                "if being missing means something."
            )
        codes[k], labels[v] = _coded(v, values, (bins or {}).get(v))
    shape = tuple(len(labels[v]) for v in names)
    if np.prod(shape, dtype=float) <= 4 * len(frame) + 1024:
        flat = np.bincount(np.ravel_multi_index(tuple(codes), shape), minlength=int(np.prod(shape)))
        occur = np.flatnonzero(flat)
        cells, weights = np.column_stack(np.unravel_index(occur, shape)), flat[occur]
    else:
        cells, weights = np.unique(codes.T, axis=0, return_counts=True)
    return Counts(tuple(names), labels, cells.astype(np.int64), weights.astype(float), len(frame))


def _coded(name: str, values: pd.Series[Any], bins: Any) -> tuple[NDArray[np.int64], list[Any]]:
    if bins is not None:
        values = _binned(name, values, bins)
        known = [str(c) for c in values.cat.categories if (values == c).any()]
        values = values.astype(str)
        codes = pd.Index(known).get_indexer(pd.Index(values))
    else:
        codes, levels = pd.factorize(values, sort=True)
        known = list(levels.tolist())
        numbers = pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)
        if len(known) > MOST_VALUES:
            if numbers:
                raise InputError(
                    f"{name} has {len(known)} different numbers and is taken for continuous. Say how to bin it, as "
                    f"bins={{{name!r}: 5}} (--bins {name}=5) for five bins of equal share."
                )
            raise InputError(
                f"{name} has {len(known)} different values; at most {MOST_VALUES} are taken. Merge rare ones."
            )
    if len(known) < 2:
        raise InputError(
            f"{name} has one value only ({known[0]}); nothing can be learnt about it. Leave it out of the graph."
        )
    return np.asarray(codes, dtype=np.int64), known


def _binned(name: str, values: pd.Series[Any], bins: Any) -> pd.Series[Any]:
    if not pd.api.types.is_numeric_dtype(values):
        raise InputError(f"{name} holds no numbers, so it cannot be binned; leave {name} out of bins.")
    if isinstance(bins, int):
        if bins < 2:
            raise InputError(f"{bins} bins were asked for {name}; at least 2 are needed.")
        return pd.qcut(values, bins, duplicates="drop")
    intervals = pd.cut(values, list(bins), include_lowest=True)
    if outside := int(intervals.isna().sum()):
        raise InputError(
            f"{outside} values of {name} lie outside its bins {list(bins)}; widen the outer edges to "
            f"{values.min():g} and {values.max():g}."
        )
    return intervals


def _series_of(counts: Mapping[Any, Any], observed: Sequence[str]) -> pd.Series[Any]:
    keys = [key if isinstance(key, tuple) else (key,) for key in counts]
    if bad := [key for key in keys if len(key) != len(observed)]:
        raise InputError(
            f"The key {bad[0]} has {len(bad[0])} values; {len(observed)} are needed, in the order "
            f"{', '.join(observed)}."
        )
    index = pd.MultiIndex.from_tuples(keys, names=list(observed))
    return pd.Series(list(counts.values()), index=index, dtype=float)


def _from_series(series: pd.Series[Any], names: Sequence[str]) -> Counts:
    if missing := [v for v in names if v not in series.index.names]:
        raise InputError(
            f"The counts have no index level {missing[0]!r}; they have {', '.join(map(str, series.index.names))}."
        )
    labels, codes = {}, []
    for v in names:
        code, labels[v] = _coded(v, pd.Series(series.index.get_level_values(v)), None)
        codes.append(code)
    weights, rows = _weights(series.to_numpy(dtype=float))
    return Counts(tuple(names), labels, np.column_stack(codes), weights, rows)


def _from_array(array: NDArray[Any], names: Sequence[str], observed: Sequence[str]) -> Counts:
    if array.ndim != len(observed):
        raise InputError(
            f"An array of shape {array.shape} was given; one axis per observed variable is needed, in the order "
            f"{', '.join(observed)}."
        )
    if 1 in array.shape:
        raise InputError(
            f"An array of shape {array.shape} was given; the axis of {observed[array.shape.index(1)]} has "
            f"one value only."
        )
    weights, rows = _weights(array.astype(float).ravel())
    codes = np.indices(array.shape).reshape(array.ndim, -1).T
    labels = {v: list(range(size)) for v, size in zip(observed, array.shape, strict=True)}
    whole = Counts(tuple(observed), labels, codes, weights, rows)
    places = [observed.index(v) for v in names]
    occur = weights > 0
    return Counts(
        tuple(names), {v: whole.labels[v] for v in names}, codes[occur][:, places], weights[occur], rows
    )


def _weights(values: Array) -> tuple[Array, int | None]:
    """Counts with their number, or probabilities with None."""
    if not np.isfinite(values).all() or (values < 0).any():
        raise InputError("Counts or probabilities must be finite and at least 0.")
    total = float(values.sum())
    if total == 0:
        raise InputError("All counts are 0.")
    if (values == np.round(values)).all() and total > 1:
        return values, int(total)
    if abs(total - 1) > 1e-6:
        raise InputError(
            f"The joint table sums to {total:.6g}; probabilities sum to 1, and counts are whole numbers. "
            f"Divide by the sum."
        )
    return values, None


# Tables that formulas read -------------------------------------------------------------------------------


class Tables:
    """Conditional tables of counts, and products of them.

    Parameters
    ----------
    alpha : pseudo-count of every cell of every conditional table
    weights : shape (draws, cells): the weight of each cell in each draw; arrays then have a first axis of draws
    instead : tables whose rows are used where a draw has none
    prior : pseudo-counts are drawn too, Gamma(alpha) each; without ``alpha``, one row per condition that has rows is
        spread evenly over the values of the variable
    """

    def __init__(
        self,
        counts: Counts,
        alpha: float = 0.0,
        weights: Array | None = None,
        instead: Tables | None = None,
        prior: np.random.Generator | None = None,
    ) -> None:
        self.counts, self.alpha, self.weights = counts, alpha, weights
        self.instead, self.prior = instead, prior
        self._known: dict[tuple[tuple[str, ...], str], Array] = {}

    def conditional(self, term: Term) -> Array:
        """The table of a term, shape ([draws,] *given, variable); rows without support are zero."""
        if term.of:
            return _normalised(self.product(term.of, term.indices))
        condition, variable = tuple(map(column, term.given)), column(term.variable)
        if (condition, variable) not in self._known:
            table = self.counts.marginal((*condition, variable), self.weights)
            table = _normalised(table + self._pseudo_counts((*condition, variable)))
            if self.instead is not None:
                # Rows without support are zero, so adding fills them.
                table += (table.sum(-1, keepdims=True) == 0) * self.instead.conditional(term)
            self._known[condition, variable] = table
        return self._known[condition, variable]

    def _pseudo_counts(self, names: tuple[str, ...]) -> Array:
        """Of the cells of a table: ``alpha``, or draws of the prior, shape (draws, *names)."""
        if self.prior is None:
            return np.array(self.alpha)
        assert self.weights is not None
        seen = (
            self.counts.marginal(names).sum(-1) > 0
            if self.alpha == 0
            else np.ones(self.counts.shape(names[:-1]), bool)
        )
        values = self.counts.shape(names)[-1]
        prior_counts = np.zeros((len(self.weights), *seen.shape, values))
        prior_counts[:, seen] = self.prior.standard_gamma(
            self.alpha or 1 / values, size=(len(self.weights), int(seen.sum()), values)
        )
        return prior_counts

    def product(self, terms: Sequence[Term], out: Sequence[str]) -> Array:
        """The product of terms, summed over all indices but ``out``, shape ([draws,] *out).

        An index of ``out`` that no term reads is an axis along which nothing changes.
        """
        batch = self.weights is not None
        arrays = [self.conditional(term) for term in terms]
        known = indices_of(terms)
        symbol = {name: opt_einsum.get_symbol(k + 1) for k, name in enumerate(known)}
        draw = opt_einsum.get_symbol(0) if batch else ""
        inputs = ",".join(draw + "".join(symbol[n] for n in term.indices) for term in terms)
        output = draw + "".join(symbol[n] for n in out if n in symbol)
        product = _expression(f"{inputs}->{output}", tuple(a.shape for a in arrays))(*arrays)
        for axis, name in enumerate(out):
            if name not in symbol:
                size = len(self.counts.labels[column(name)])
                product = np.repeat(np.expand_dims(product, axis + batch), size, axis + batch)
        return np.asarray(product)


@lru_cache(maxsize=256)
def _expression(subscripts: str, shapes: tuple[tuple[int, ...], ...]) -> Any:
    return opt_einsum.contract_expression(subscripts, *shapes)


def _normalised(table: Array) -> Array:
    total = table.sum(-1, keepdims=True)
    return np.divide(table, total, out=np.zeros_like(table, dtype=float), where=total > 0)
