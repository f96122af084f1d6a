"""Is a generated set like the true one? Measures on *known* features: factors read from the samples, never a network's.

A distance of finite sets is never zero. Every score therefore carries its floor, the same measure between two true
sets: as biased by their size as the value, so that the two may be compared. Intervals are bootstrapped about the value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import linalg, stats
from scipy.spatial.distance import cdist
from sklearn.neighbors import NearestNeighbors

from groundshift.errors import InputError

__all__ = [
    "SetScore",
    "adherence",
    "compare_sets",
    "covered",
    "effective_number",
    "energy_distance",
    "factor_distance",
    "frechet_distance",
    "known_features",
]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class SetScore:
    """A measure of a generated set, its 95 % interval, and its floor: what the truth itself scores."""

    value: float
    low: float
    high: float
    floor: float


def known_features(
    codes: Mapping[str, ArrayLike],
    levels: Mapping[str, int],
    numbers: Mapping[str, ArrayLike] | None = None,
) -> Array:
    """A row of features for each sample: every code one-hot (two levels are at distance 1), then the numbers.

    A code of -1, "not seen", is a point apart; a missing number is 0.

    >>> known_features({"colour": [0, 1]}, {"colour": 2}, {"x": [0.5, -0.5]}).round(2).tolist()
    [[0.71, 0.0, 0.5], [0.0, 0.71, -0.5]]
    """
    blocks = [
        np.eye(levels[name] + 1)[np.asarray(values)][:, :-1] / np.sqrt(2) for name, values in codes.items()
    ]
    columns = [np.nan_to_num(np.asarray(values, dtype=float))[:, None] for values in (numbers or {}).values()]
    return np.hstack([*blocks, *columns])


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


def energy_distance(x: ArrayLike, y: ArrayLike) -> float:
    """2 E|X - Y| - E|X - X'| - E|Y - Y'| (Székely and Rizzo, 2013), unbiased, so that it may be slightly negative.

    It is zero only if the laws are the same, where the Fréchet distance sees means and covariances alone.

    >>> energy_distance([[0.0], [0.0]], [[1.0], [1.0]])
    2.0
    """
    x, y = _pair(x, y)
    n, m = len(x), len(y)
    within = cdist(x, x).sum() / (n * (n - 1)) + cdist(y, y).sum() / (m * (m - 1))
    return float(2 * cdist(x, y).mean() - within)


def factor_distance(x: ArrayLike, y: ArrayLike) -> float:
    """1-Wasserstein distance of one factor: of numbers on the line, of codes under "equal or not" (total variation).

    Missing numbers are left out; "not seen" (-1) is a code like any other.

    >>> factor_distance([0, 0, 1, 1], [0, 0, 0, 1]), factor_distance([0.0, 1.0], [2.0, 3.0])
    (0.25, 2.0)
    """
    x, y = np.asarray(x), np.asarray(y)
    if x.dtype.kind in "iub":
        low = min(x.min(), y.min())
        p, q = np.bincount(x - low), np.bincount(y - low)
        size = max(len(p), len(q))
        difference = np.pad(p / len(x), (0, size - len(p))) - np.pad(q / len(y), (0, size - len(q)))
        return float(np.abs(difference).sum() / 2)
    return float(stats.wasserstein_distance(x[np.isfinite(x)], y[np.isfinite(y)]))


def covered(points: ArrayLike, by: ArrayLike, k: int = 5) -> NDArray[np.bool_]:
    """Which points lie in the support of ``by``: within the distance of some of its rows to their k-th neighbour.

    Kynkäänniemi et al. (2019): the mean over generated points, covered by true ones, is precision (fidelity), the mean
    over true points, covered by generated ones, recall (diversity).

    >>> covered([[0.1], [9.0]], by=[[0.0], [1.0], [2.0]], k=1).tolist()
    [True, False]
    """
    points, by = _pair(points, by)
    if not 1 <= k < len(by):
        raise InputError(
            f"k={k} neighbours were asked of {len(by)} rows; k must be below the number of rows."
        )
    radius = NearestNeighbors(n_neighbors=k).fit(by).kneighbors()[0][:, -1]  # a row is not its own neighbour
    return (cdist(points, by) <= radius + 1e-12).any(1)


def effective_number(codes: Mapping[str, ArrayLike]) -> float:
    """How many combinations of levels a set shows, frequent ones counted fully: the exponential of their entropy.

    >>> effective_number({"colour": [0, 0, 1, 1], "size": [0, 1, 0, 1]})
    4.0
    """
    table = np.column_stack([np.asarray(values) for values in codes.values()])
    counts = np.unique(table, axis=0, return_counts=True)[1]
    return float(np.exp(stats.entropy(counts)).round(12))


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
        found = np.unique(np.concatenate([a, b]))
        chance = sum((a == level).mean() * (b == level).mean() for level in found)
        scores[name] = _share(a == b, float(chance))
    return scores


def compare_sets(
    generated: ArrayLike,
    true: ArrayLike,
    fresh: ArrayLike,
    rng: np.random.Generator,
    *,
    factors: tuple[Mapping[str, ArrayLike], Mapping[str, ArrayLike], Mapping[str, ArrayLike]] | None = None,
    k: int = 5,
    resamples: int = 200,
) -> dict[str, SetScore]:
    """The generated set beside a true one, with a fresh true set for the floors.

    Parameters
    ----------
    generated, true, fresh : features, shapes (n, d), (m, d), (l, d); give ``fresh`` the size of ``generated``
    factors : the same three sets as factors by name, for one distance per factor and the number of combinations
    resamples : bootstrap samples of each interval

    Returns
    -------
    "frechet", "energy" (lower is better), "precision", "recall" (higher is better), with ``factors`` also
    "distance of NAME" for each and "combinations"

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> good, bad = rng.normal(size=(2, 200, 2)) * [[[1.0]], [[0.2]]]
    >>> true, fresh = rng.normal(size=(2, 200, 2))
    >>> score = compare_sets(bad, true, fresh, rng)
    >>> score["frechet"].low > score["frechet"].floor, score["recall"].value < score["recall"].floor
    (True, True)
    """
    generated, true = _pair(generated, true)
    fresh, _ = _pair(fresh, true)
    scores = {
        "frechet": _bootstrapped(frechet_distance, generated, true, fresh, rng, resamples),
        "energy": _bootstrapped(energy_distance, generated, true, fresh, rng, resamples),
        "precision": _share(covered(generated, true, k), covered(fresh, true, k).mean()),
        "recall": _share(covered(true, generated, k), covered(true, fresh, k).mean()),
    }
    if factors is not None:
        drawn, real, other = ({n: np.asarray(v) for n, v in one.items()} for one in factors)
        for name in real:
            scores[f"distance of {name}"] = _bootstrapped(
                factor_distance, drawn[name], real[name], other[name], rng, resamples
            )
        rows = {name: values for name, values in real.items() if values.dtype.kind in "iub"}
        tables = (np.column_stack([one[name] for name in rows]) for one in (drawn, real, other))
        drawn_codes, real_codes, other_codes = tables
        scores["combinations"] = _bootstrapped(
            lambda x, _: effective_number(dict(zip(rows, x.T, strict=True))),
            drawn_codes,
            real_codes,
            other_codes,
            rng,
            resamples,
        )
    return scores


def _bootstrapped(
    measure: Callable[..., float],
    generated: NDArray[Any],
    true: NDArray[Any],
    fresh: NDArray[Any],
    rng: np.random.Generator,
    resamples: int,
) -> SetScore:
    """The measure with an interval from SciPy's bootstrap, which resamples the rows of both sets.

    Resampled sets hold rows twice and are farther apart than the sets they come from; their deviations from their own
    mean are free of that bias and are laid, reversed as in the basic bootstrap, about the value.
    """
    drawn = stats.bootstrap(
        (np.arange(len(generated)), np.arange(len(true))),
        lambda i, j: measure(generated[i], true[j]),
        vectorized=False,
        method="basic",
        n_resamples=resamples,
        rng=rng,
    ).bootstrap_distribution
    value = measure(generated, true)
    high, low = np.quantile(drawn, [0.025, 0.975]) - drawn.mean()
    return SetScore(value, float(value - low), float(value - high), measure(fresh, true))


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
        raise InputError(
            "A set holds missing or infinite features; leave those rows out or use known_features."
        )
    return x, y
