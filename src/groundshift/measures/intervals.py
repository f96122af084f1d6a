"""Intervals and tests for a handful of independent replicates (seeds, subjects, groups).

Every function takes ``values``, one finite float per replicate, shape (n,), n ≥ 2, and leans on SciPy.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

__all__ = [
    "bca_interval",
    "bootstrap_interval",
    "clustered_means",
    "equivalence_p",
    "one_sided_p",
    "sign_flip_p",
    "smallest_detectable",
    "t_interval",
]


def t_interval(values: ArrayLike, level: float = 0.95) -> tuple[float, float]:
    """Two-sided Student t interval of the mean.

    Values without any spread give an interval of width zero.

    >>> low, high = t_interval([1.0, 2.0, 3.0, 4.0, 5.0])
    >>> round(low, 3), round(high, 3)
    (1.037, 4.963)
    """
    values = np.asarray(values, dtype=float)
    half = stats.t.ppf((1 + level) / 2, len(values) - 1) * stats.sem(values)
    return float(values.mean() - half), float(values.mean() + half)


def one_sided_p(values: ArrayLike, margin: float, direction: str = ">") -> float:
    """P value of the t test whose null is "the mean does not lie beyond the margin".

    >>> round(one_sided_p([1.0, 2.0, 3.0, 4.0, 5.0], margin=1.0), 4)
    0.0237
    """
    excess = (np.asarray(values, dtype=float) - margin) * (1 if direction == ">" else -1)
    if np.ptp(excess) <= 1e-12 * np.abs(excess).max():  # no spread beyond rounding: no test, only a side
        return 0.0 if excess[0] > 0 else 1.0
    return float(stats.ttest_1samp(excess, 0.0, alternative="greater").pvalue)


def equivalence_p(values: ArrayLike, margin: float) -> float:
    """P value of two one-sided tests (TOST) whose null is "the mean lies outside ±margin"."""
    return max(one_sided_p(values, -margin, ">"), one_sided_p(values, margin, "<"))


def sign_flip_p(values: ArrayLike, margin: float, direction: str = ">") -> float:
    """Permutation p value under sign flips of ``values - margin``; never below 1/2ⁿ."""
    excess = (np.asarray(values, dtype=float) - margin) * (1 if direction == ">" else -1)
    test = stats.permutation_test(
        (excess,),
        np.mean,
        permutation_type="samples",
        alternative="greater",
        vectorized=True,
        n_resamples=9999,
        rng=np.random.default_rng(0),
    )
    return float(test.pvalue)


def bca_interval(values: ArrayLike, level: float = 0.95) -> tuple[float, float]:
    """Bias-corrected accelerated bootstrap interval of the mean (SciPy); wants ten values or more."""
    return _bootstrap(values, level, "BCa")


def bootstrap_interval(values: ArrayLike, level: float = 0.95) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean over groups, for one fixed model or data set."""
    return _bootstrap(values, level, "percentile")


def clustered_means(
    values: ArrayLike, groups: ArrayLike, rng: np.random.Generator, draws: int = 1000
) -> NDArray[np.float64]:
    """Means of values over groups drawn with replacement, (draws,); items of one group come and go together.

    >>> found = clustered_means([1.0, 1.0, 0.0], ["a", "a", "b"], np.random.default_rng(0), 200)
    >>> sorted(set(found.round(3).tolist()))
    [0.0, 0.667, 1.0]
    """
    import pandas as pd

    number = pd.factorize(np.asarray(groups))[0]
    total, size = np.bincount(number, np.asarray(values, dtype=float)), np.bincount(number)
    times = rng.multinomial(len(size), np.full(len(size), 1 / len(size)), size=draws)
    return (times @ total) / (times @ size)


def _bootstrap(values: ArrayLike, level: float, method: str) -> tuple[float, float]:
    values = np.asarray(values, dtype=float)
    if np.ptp(values) == 0:
        return float(values[0]), float(values[0])
    interval = stats.bootstrap(
        (values,),
        np.mean,
        confidence_level=level,
        method=method,
        n_resamples=4999,
        rng=np.random.default_rng(0),
    ).confidence_interval
    return float(interval.low), float(interval.high)


def smallest_detectable(spread: float, n: int, alpha: float = 0.05, power: float = 0.8) -> float:
    """Smallest mean beyond the margin that n replicates of this standard deviation would show.

    >>> round(smallest_detectable(spread=0.1, n=6), 3)
    0.119
    """
    from statsmodels.stats.power import TTestPower

    if n < 2:
        return float("inf")
    effect = TTestPower().solve_power(nobs=n, alpha=alpha, power=power, alternative="larger")
    return float(effect) * spread
