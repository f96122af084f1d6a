"""Features as rows of one embedding table: buckets of numbers, levels of categories and ids, elements of lists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from groundshift.adaptation.elbo_tds.schema import Rows, Schema
from groundshift.errors import InputError

__all__ = ["Codebook", "Inputs"]

Inputs = tuple[Tensor, Tensor, Tensor]
"""Codes (n, columns), elements of lists (n, lists, longest) where 0 is none, and numbers of vectors (n, D)."""
SPARE = 0.1
"""Spare rows for ids that training has not seen, as a share of those it has; at least 8, at most 1,000."""


@dataclass(frozen=True, eq=False)
class Codebook:
    """How features are coded; it is fixed when a model is first fitted, as drift is what it must not absorb.

    Attributes
    ----------
    columns : features that take one row each: dense ones, categories, ids
    lists, vectors : features whose cells are lists
    edges : ascending edges of the buckets of a dense feature: b edges have b + 1 buckets; a missing number has its own
    levels : of a category, an id, or the elements of a list, as words
    spare : rows of each of these that its unseen levels share; a category has one
    first : the first row of each feature in the table; row 0 is no element
    longest : elements of a list that are kept, the last ones
    scale : mean and standard deviation of a vector's numbers
    """

    columns: tuple[str, ...]
    lists: tuple[str, ...]
    vectors: tuple[str, ...]
    edges: Mapping[str, tuple[float, ...]]
    levels: Mapping[str, tuple[str, ...]]
    spare: Mapping[str, int]
    first: Mapping[str, int]
    longest: int
    scale: Mapping[str, tuple[tuple[float, ...], float]]

    @classmethod
    def of(
        cls, schema: Schema, rows: Rows, buckets: int, edges: Mapping[str, Sequence[float]], max_list: int
    ) -> Codebook:
        """The code of the rows that a model is fitted to; ``edges`` of a feature, else quantiles of the rows.

        Raises
        ------
        InputError
            Edges that do not ascend, or of a feature that has none.
        """
        dense = [f.name for f in schema.of("dense")]
        for name, given in edges.items():
            if name not in dense:
                raise InputError(f"Edges were given for {name!r}; the dense features are {', '.join(dense)}.")
            if not len(given) or not (np.diff(np.asarray(given, dtype=float)) > 0).all():
                raise InputError(f"The edges of {name} do not ascend: {list(given)[:8]}.")
        all_edges, levels, spare, first, at = {}, {}, {}, {}, 1
        for f in schema.features:
            first[f.name] = at
            if f.kind == "dense":
                numbers = rows.frame[f.name].dropna().to_numpy(dtype=float)
                inner = np.unique(np.quantile(numbers, np.arange(1, buckets) / buckets, method="midpoint"))
                all_edges[f.name] = tuple(float(e) for e in edges.get(f.name, inner))
                at += len(all_edges[f.name]) + 2
            elif f.kind != "vector":
                words = _words(f.name, rows)
                levels[f.name] = tuple(sorted(set(words.dropna())))
                spare[f.name] = (
                    1 if f.kind == "categorical" else int(np.clip(SPARE * len(levels[f.name]), 8, 1000))
                )
                at += len(levels[f.name]) + spare[f.name] + 1
        scale = {f.name: _scale(rows.nested[f.name]) for f in schema.of("vector")}
        lists = tuple(f.name for f in schema.of("list"))
        longest = max((min(max_list, max(map(len, rows.nested[name]))) for name in lists), default=1)
        columns = tuple(f.name for f in schema.features if f.kind not in ("list", "vector"))
        return cls(columns, lists, tuple(scale), all_edges, levels, spare, {**first, "": at}, longest, scale)

    @property
    def size(self) -> int:
        """Rows of the embedding table."""
        return self.first[""]

    def buckets(self, name: str) -> int:
        """Buckets of a dense feature, without that of missing numbers; 0 of any other feature."""
        return len(self.edges[name]) + 1 if name in self.edges else 0

    def encode(self, rows: Rows) -> Inputs:
        """Rows as tensors."""
        n = len(rows.frame)
        codes = np.zeros((n, len(self.columns)), dtype=np.int64)
        for k, name in enumerate(self.columns):
            if name in self.edges:
                numbers = rows.frame[name].to_numpy(dtype=float, na_value=np.nan)
                place = np.searchsorted(self.edges[name], numbers, side="right")
                codes[:, k] = self.first[name] + np.where(np.isnan(numbers), self.buckets(name), place)
            else:
                codes[:, k] = self._rows_of(name, _words(name, rows))
        lists = np.zeros((n, len(self.lists), self.longest), dtype=np.int64)
        for k, name in enumerate(self.lists):
            kept = [cell[-self.longest :] for cell in rows.nested[name]]
            sizes = np.array([len(cell) for cell in kept])
            flat = pd.Series([w for cell in kept for w in cell], dtype=object)
            where = np.arange(self.longest) < sizes[:, None]
            lists[:, k][where] = self._rows_of(name, flat)
        blocks = [np.empty((n, 0))]
        for name in self.vectors:
            mean, spread = self.scale[name]
            cells = [cell if len(cell) == len(mean) else mean for cell in rows.nested[name]]
            blocks.append((np.array(cells, dtype=float) - mean) / spread)
        vectors = torch.as_tensor(np.concatenate(blocks, axis=1), dtype=torch.float32)
        return torch.as_tensor(codes), torch.as_tensor(lists), vectors

    def _rows_of(self, name: str, words: pd.Series[Any]) -> NDArray[np.int64]:
        """Row of each word: missing, then spare ones by a hash, then levels."""
        levels, spare, first = self.levels[name], self.spare[name], self.first[name]
        place = pd.Index(levels, dtype=object).get_indexer(pd.Index(words, dtype=object))
        hashed = pd.util.hash_array(words.fillna("").to_numpy(object)) % np.uint64(spare)
        unseen = first + 1 + hashed.astype(np.int64)
        return np.where(words.isna(), first, np.where(place < 0, unseen, first + 1 + spare + place))


def _words(name: str, rows: Rows) -> pd.Series[Any]:
    """Values of a column, or all elements of one of lists, as words; whole numbers without a point."""
    if name in rows.nested:
        return pd.Series([w for cell in rows.nested[name] for w in cell], dtype=object)
    column = rows.frame[name]
    if pd.api.types.is_float_dtype(column) and (column.dropna() % 1 == 0).all():
        column = column.astype("Int64")
    return column.astype(object).map(str, na_action="ignore")


def _scale(cells: Sequence[Sequence[str]]) -> tuple[tuple[float, ...], float]:
    numbers = np.array([cell for cell in cells if cell], dtype=float)
    return tuple(numbers.mean(0).tolist()), float(numbers.std()) or 1.0
