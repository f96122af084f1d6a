"""How far rows with labels speak for others: whether they overlap, and weights that make them look like the others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from groundshift.workflows.audit.calibration import LEAST_PROBABILITY, folds, held_out
from groundshift.workflows.audit.models import Design

__all__ = ["Overlap", "balancing_weights", "overlap"]

Array = NDArray[np.float64]

LEAST_EFFECTIVE = 10
"""Rows that the reference must be worth once it is weighted to look like the current rows."""
SPARSE = 20
"""A current row lies outside where current rows are so many times as dense as those of the reference."""
MOST_OUTSIDE = 0.2
"""Share of such rows beyond which nothing can be told."""
PENALTY = 0.03
"""Ridge of the balancing weights, less than cross-validation would choose: the interval holds their spread, not their
bias."""


@dataclass(frozen=True)
class Overlap:
    """How far the reference reaches where the current rows are.

    Attributes
    ----------
    odds : how many times as dense the current rows are at each row, of the reference and of the current table
    outside : share of the current rows where these are `SPARSE` times as dense as the reference
    separating : columns with values that the reference does not have, the most separating first
    """

    odds: tuple[Array, Array]
    outside: float
    separating: tuple[str, ...]

    @property
    def weights(self) -> Array:
        """Importance weights of the reference, of sum 1."""
        return self.odds[0] / self.odds[0].sum()

    @property
    def effective_rows(self) -> float:
        """How many rows the reference is worth with these weights (Kish)."""
        return float(1 / (self.weights**2).sum())

    @property
    def reason(self) -> str:
        """Why nothing can be told, or nothing."""
        if self.outside <= MOST_OUTSIDE and self.effective_rows >= LEAST_EFFECTIVE:
            return ""
        where = f" It shows in {', '.join(self.separating[:5])}." if self.separating else ""
        return (
            f"The tables do not overlap: {self.outside:.0%} of the current rows lie where the reference has next to "
            f"none, and weighted to look like them it is worth {self.effective_rows:.0f} rows.{where} What the model "
            "loses there no labelled row can say: label some of these rows, or leave out columns that cannot matter."
        )

    def features(self, side: int) -> Array:
        """The odds in three forms, for weights that balance them."""
        odds = self.odds[side]
        return np.column_stack(
            [np.log(np.clip(odds, 1e-3, 1e3)), np.minimum(odds, 5), np.minimum(odds, SPARSE)]
        )


def overlap(reference: Design, current: Design, rng: np.random.Generator) -> Overlap:
    """Tell the two tables apart by a cross-fitted, calibrated classifier."""
    both = Design(
        np.vstack([reference.trees, current.trees]),
        np.vstack([reference.linear, current.linear]),
        reference.nominal,
        reference.source,
    )
    n, m = len(reference.linear), len(current.linear)
    side = np.repeat([0, 1], [n, m])
    predicted = held_out(both, side, None, 2, folds(side, 2, rng), rng).reference
    odds = predicted[:, 1] / np.maximum(predicted[:, 0], LEAST_PROBABILITY) * n / m
    return Overlap((odds[:n], odds[n:]), float((odds[n:] > SPARSE).mean()), _separating(reference, current))


def _separating(reference: Design, current: Design) -> tuple[str, ...]:
    """Columns of which a tenth of the current values is new: beyond the reference's range, or a label it has not."""
    names = list(dict.fromkeys(reference.source))
    if len(names) != reference.trees.shape[1]:
        names = [f"column {j + 1}" for j in range(reference.trees.shape[1])]
    columns = []
    for name, nominal, before, after in zip(
        names, reference.nominal, reference.trees.T, current.trees.T, strict=True
    ):
        there = before[~np.isnan(before)]
        if nominal or not len(there):
            new = ~np.isin(after, there) & ~np.isnan(after)
        else:
            new = (after < there.min()) | (after > there.max())
        if len(there) == len(before):
            new |= np.isnan(after)
        columns.append((float(new.mean()), name))
    return tuple(name for share, name in sorted(columns, reverse=True) if share > 0.1)


def balancing_weights(reference: Array, current: Array) -> Array:
    """Weights of the reference, of sum 1, whose weighted means of all columns are nearly those of the current rows.

    They are linear in the columns and minimise E[α² over the reference] / 2 - E[α over the current rows] with a ridge
    penalty.
    """
    mean, spread = reference.mean(0), reference.std(0)
    kept = spread > 1e-9
    A, B = (
        np.column_stack([np.ones(len(rows)), (rows[:, kept] - mean[kept]) / spread[kept]])
        for rows in (reference, current)
    )
    ridge = np.diag(np.r_[0.0, np.full(kept.sum(), PENALTY)])
    return A @ np.linalg.solve(A.T @ A / len(A) + ridge, B.mean(0)) / len(A)
