"""Is a generated set like the true one? Measured on factors that are read from the samples, never a network's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import linalg, stats

from groundshift.errors import InputError

__all__ = ["SetScore", "adherence", "frechet_distance"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class SetScore:
    """A measure of a generated set, its 95 % interval, and its floor: what chance scores."""

    value: float
    low: float
    high: float
    floor: float


def frechet_distance(x: ArrayLike, y: ArrayLike) -> float:
    """Squared 2-Wasserstein distance of the two Gaussians with the means and covariances of x and y.

    |m - m'|² + tr(C + C' - 2 (C C')^½), the measure of Heusel et al. (2017) on other features; shapes (n, d), (m, d).

    >>> round(frechet_distance([[0.0], [2.0]], [[3.0], [5.0]]), 6)
    9.0
    """
    x, y = _pair(x, y)
    C, D = np.atleast_2d(np.cov(x, rowvar=False)), np.atleast_2d(np.cov(y, rowvar=False))
    # C D has the real, non-negative eigenvalues of C^½ D C^½; rounding may leave them slightly outside.
    root = np.sqrt(linalg.eigvals(C @ D).real.clip(0)).sum()
    return float(((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(C) + np.trace(D) - 2 * root)


def adherence(read: Mapping[str, ArrayLike], asked: Mapping[str, ArrayLike]) -> dict[str, SetScore]:
    """Share of samples that show the level that was asked for, factor by factor, with Wilson's interval.

    The floor is what the same answers would score if they had nothing to do with the questions.

    >>> adherence({"size": [0, 1, 1, 1]}, {"size": [0, 1, 1, 0]})["size"].value
    0.75
    """
    scores = {}
    for name, levels in asked.items():
        if name not in read:
            raise InputError(f"{name!r} was asked for but not read; there are {', '.join(read)}.")
        a, b = np.asarray(read[name]), np.asarray(levels)
        if a.shape != b.shape or a.ndim != 1:
            raise InputError(
                f"{name} was read with shape {a.shape} and asked with {b.shape}; both must be (n,)."
            )
        levels_read = np.unique(np.concatenate([a, b]))
        chance = sum((a == level).mean() * (b == level).mean() for level in levels_read)
        scores[name] = _share(a == b, float(chance))
    return scores


def _share(hits: NDArray[np.bool_], floor: float) -> SetScore:
    interval = stats.binomtest(int(hits.sum()), len(hits)).proportion_ci(method="wilson")
    return SetScore(float(hits.mean()), float(interval.low), float(interval.high), float(floor))


def _pair(x: ArrayLike, y: ArrayLike) -> tuple[Array, Array]:
    x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1] or min(len(x), len(y)) < 2:
        raise InputError(
            f"Sets of shapes {x.shape} and {y.shape} were given; (rows, d) with the same d are needed."
        )
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise InputError("A set holds missing or infinite features; leave those rows out.")
    return x, y
