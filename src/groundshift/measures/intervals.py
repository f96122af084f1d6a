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
    "mean_interval",
    "mean_intervals",
    "mean_p",
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


def mean_interval(values: ArrayLike, level: float = 0.95) -> tuple[float, float]:
    """Two-sided interval of the mean that allows for skewness: each end is the outer one of Student's t interval and
    of Hall's, in which the t statistic is freed of its skewness by a cubic transformation (Hall 1992).

    Where a distribution has its long tail on one side, few replicates rarely show it, and Student's interval lies too
    often wholly on the other side of the mean. Without skewness both intervals agree; no end lies further from the mean
    than twice Student's, as the skewness of a few values is hardly known.

    >>> low, high = mean_interval([0.0, 0.1, 0.1, 0.2, 1.6])
    >>> round(low, 2), round(high, 2), [round(end, 2) for end in t_interval([0.0, 0.1, 0.1, 0.2, 1.6])]
    (-0.44, 2.08, [-0.44, 1.24])
    """
    low, high = mean_intervals(np.asarray(values, dtype=float)[None], level)
    return float(low[0]), float(high[0])


def mean_intervals(
    samples: NDArray[np.float64], level: float = 0.95
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """`mean_interval` of every row of an array (m, n): low and high, each (m,)."""
    n, mean, spread = samples.shape[1], samples.mean(axis=1), samples.std(axis=1, ddof=1)
    t = stats.t.ppf((1 + level) / 2, n - 1) / np.sqrt(n)
    g = _skewness(samples)
    g = np.where(g == 0, 1e-9, g)
    # Hall's transformation inverted: 1 + g (t - g/6n) = (1 + g w / 3)³, w the deviation in standard deviations.
    low, high = (3 / g * (np.cbrt(1 + g * (side - g / (6 * n))) - 1) for side in (t, -t))
    ends = np.clip(low, t, MOST * t), np.clip(high, -MOST * t, -t)
    return mean - spread * ends[0], mean - spread * ends[1]


MOST = 2.0
"""How many times further from the mean an end of `mean_interval` may lie than Student's."""


def mean_p(values: ArrayLike, margin: float, direction: str = ">") -> float:
    """P value that goes with `mean_interval`: the larger of the t test's and of that of Hall's transformed statistic.

    >>> values = [0.0, 0.1, 0.1, 0.2, 1.6]
    >>> round(one_sided_p(values, 1.2, "<"), 3), round(mean_p(values, 1.2, "<"), 3)
    (0.028, 0.128)
    """
    sign = 1 if direction == ">" else -1
    excess = (np.asarray(values, dtype=float) - margin) * sign
    p, n, g = one_sided_p(values, margin, direction), len(excess), float(_skewness(excess[None])[0])
    if g == 0:
        return p
    w = excess.mean() / excess.std(ddof=1)
    t = np.sqrt(n) * (w + g * w**2 / 3 + g**2 * w**3 / 27 + g / (6 * n))
    return max(p, float(stats.t.sf(max(t, np.sqrt(n) * w / MOST), n - 1)))


def _skewness(samples: NDArray[np.float64]) -> NDArray[np.float64]:
    """Third moment over the cube of the standard deviation of every row; 0 where there is no spread beyond rounding."""
    n, spread = samples.shape[1], samples.std(axis=1, ddof=1)
    if n < 3:
        return np.zeros(len(samples))
    flat = (np.ptp(samples, axis=1) <= 1e-12 * np.abs(samples).max(axis=1)) | (spread == 0)
    z = (samples - samples.mean(axis=1, keepdims=True)) / np.where(flat, 1.0, spread)[:, None]
    g = (z**3).sum(axis=1) * n / ((n - 1) * (n - 2))
    return np.where(flat | (np.abs(g) < 1e-9), 0.0, g)


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
    """P value of two one-sided tests (TOST, `mean_p`) whose null is "the mean lies outside ±margin"."""
    return max(mean_p(values, -margin, ">"), mean_p(values, margin, "<"))


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
        batch=_batch(len(excess)),
        rng=np.random.default_rng(0),
    )
    return float(test.pvalue)


def _batch(n: int) -> int:
    """Resamples of n values at a time, so that thousands of values need no gigabytes; the result is the same."""
    return max(1, 2**21 // max(n, 1))


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

    >>> means = clustered_means([1.0, 1.0, 0.0], ["a", "a", "b"], np.random.default_rng(0), 200)
    >>> sorted(set(means.round(3).tolist()))
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
        batch=_batch(len(values)),
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
