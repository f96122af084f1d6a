"""Do the domains overlap? Where a column tells them apart, no test can say what the same row would have meant before.

The overlap of domains given the columns is the share of the domain's variance that the columns leave open: 1 where they
say nothing of the domain, 0 where they say all. Near 0 the residual of the domain, on which every test of "y given x"
rests, is nothing but the error of a model.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from groundshift.workflows.audit.models import Design, cross_fitted, design, recalibrated
from groundshift.workflows.audit.table import AuditTable

__all__ = ["LEAST_OVERLAP", "Overlapping", "column_overlap", "overlap", "overlapping"]

Array = NDArray[np.float64]
LEAST_OVERLAP = 0.15
BINS = 20
ROUNDS = 4


@dataclass(frozen=True)
class Overlapping:
    """The columns in which the domains overlap.

    Attributes
    ----------
    before, after : overlap with all columns, and with those that are left
    without : columns that were left out, the most separating first; empty where there is overlap
    X, scores : features and probabilities of the domains of the columns that are left
    """

    before: float
    after: float
    without: tuple[str, ...]
    X: Design
    scores: Array

    @property
    def enough(self) -> bool:
        """Whether all columns together leave the domain open."""
        return not self.without

    @property
    def usable(self) -> bool:
        """Whether some columns do."""
        return self.after >= LEAST_OVERLAP and self.X.trees.shape[1] > 0


def overlap(scores: Array, domain: NDArray[np.int64]) -> float:
    """Share of the domain's variance that calibrated probabilities leave open.

    Parameters
    ----------
    scores : shape (rows, domains)
    domain : codes, shape (rows,)

    Examples
    --------
    >>> overlap(np.full((4, 2), 0.5), np.array([0, 0, 1, 1])), overlap(np.eye(2)[[0, 1]], np.array([0, 1]))
    (1.0, 0.0)
    """
    share = np.bincount(domain, minlength=scores.shape[1]) / max(len(domain), 1)
    whole = float((share * (1 - share)).sum())
    return float((scores * (1 - scores)).sum(1).mean()) / whole if whole > 0 else 1.0


def column_overlap(values: Array, domain: NDArray[np.int64], domains: int, nominal: bool) -> float:
    """The same for one column by itself: its labels, or `BINS` bins of its values; missing values are a bin."""
    codes = np.full(len(values), -1)
    there = ~np.isnan(values)
    if nominal or len(np.unique(values[there])) <= BINS:
        codes[there] = np.unique(values[there], return_inverse=True)[1]
    else:
        edges = np.unique(np.quantile(values[there], np.linspace(0, 1, BINS + 1)[1:-1]))
        codes[there] = np.searchsorted(edges, values[there], side="right")
    counts = np.zeros((codes.max() + 2, domains))
    np.add.at(counts, (codes + 1, domain), 1)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    return overlap(shares[codes + 1], domain)


def overlapping(
    table: AuditTable, X: Design, scores: Array, first: NDArray[np.bool_], rng: np.random.Generator
) -> Overlapping:
    """Leave out the columns that tell the domains apart, the most separating first, until the rest overlap.

    Parameters
    ----------
    scores : probabilities of the domains given all columns, cross-fitted and recalibrated
    """
    k = len(table.domains)
    before = after = overlap(scores, table.domain)
    if before >= LEAST_OVERLAP:
        return Overlapping(before, before, (), X, scores)
    own = np.array(
        [
            column_overlap(v, table.domain, k, bool(n))
            for v, n in zip(table.values.T, table.nominal, strict=True)
        ]
    )
    order = np.argsort(own, kind="stable")
    count = max(int((own < LEAST_OVERLAP).sum()), 1)
    for _ in range(ROUNDS):
        kept = np.sort(order[count:])
        if not len(kept):
            break
        rest = design(table.values[:, kept], table.nominal[kept], [table.names[j] for j in kept])
        scores = cross_fitted(rest, table.domain.astype(float), k, first, rng)
        scores = recalibrated(scores, table.domain, k)
        after = overlap(scores, table.domain)
        if after >= LEAST_OVERLAP:
            return Overlapping(before, after, tuple(table.names[j] for j in order[:count]), rest, scores)
        count = min(2 * count, len(order))
    empty = design(table.values[:, :0], table.nominal[:0], [])
    return Overlapping(before, 0.0, tuple(table.names[j] for j in order), empty, np.full_like(scores, 1 / k))
