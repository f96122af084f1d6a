"""Exact intervals and tests for counts of a known number of trials, and for replicates that are outcomes (0 or 1).

A t test of five replicates that are all 1 has no spread to go by, and calls any mean below 1 impossible; the
binomial distribution knows that a rate of .8 gives five of five in one run of three. All of it is SciPy's.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

__all__ = ["are_outcomes", "detectable_rate", "outcome_interval", "outcome_p", "rate_interval", "rate_p"]


@lru_cache(maxsize=4096)
def rate_interval(successes: int, trials: int, level: float = 0.95) -> tuple[float, float]:
    """Two-sided Clopper-Pearson interval of a rate; each end is a one-sided bound at (1 + level)/2.

    >>> low, high = rate_interval(5, 5)
    >>> round(low, 3), high
    (0.478, 1.0)
    """
    interval = stats.binomtest(successes, trials).proportion_ci(level, "exact")
    return float(interval.low), float(interval.high)


def rate_p(successes: int, trials: int, margin: float, direction: str = ">") -> float:
    """Exact binomial p value whose null is "the rate does not lie beyond the margin".

    >>> round(rate_p(5, 5, margin=0.8), 3)
    0.328
    """
    null = min(max(margin, 0.0), 1.0)
    alternative = "greater" if direction == ">" else "less"
    return float(stats.binomtest(successes, trials, null, alternative).pvalue)


def are_outcomes(values: ArrayLike, support: tuple[float, float] | None) -> bool:
    """Whether values of a mean that lies within ``support`` need an exact binomial test.

    So it is where all are 0 or 1 and nothing else can be reached on either side, and where all are 0, all 1 or all
    -1: the outcome that was seen every time, however often another would be.

    >>> are_outcomes([0, 1, 1], (0, 1)), are_outcomes([0, 1, 1], (-1, 1)), are_outcomes([0, 0, 0], (-1, 1))
    (True, False, True)
    """
    values = np.asarray(values, dtype=float)
    if support is None or not (support[0] <= values.min() and values.max() <= support[1]):
        return False
    if np.ptp(values) == 0:
        return bool(np.isin(values[0], (-1, 0, 1)))
    return support == (0, 1) and bool(np.isin(values, (0, 1)).all())


def outcome_interval(
    values: ArrayLike, support: tuple[float, float], level: float = 0.95
) -> tuple[float, float]:
    """Two-sided exact interval of the mean of `are_outcomes`.

    Where all are alike, v, the mean is furthest from v when every other outcome is an end of the support.

    >>> low, high = outcome_interval([0.0] * 40, (-1, 1), level=0.9)
    >>> round(low, 3), round(high, 3)
    (-0.072, 0.072)
    """
    values = np.asarray(values, dtype=float)
    n, v = len(values), float(values[0])
    if np.ptp(values) > 0:
        return rate_interval(int(values.sum()), n, level)
    seldom = 1 - rate_interval(n, n, level)[0]
    return v - seldom * (v - support[0]), v + seldom * (support[1] - v)


def outcome_p(
    values: ArrayLike, margin: float, direction: str = ">", support: tuple[float, float] = (0.0, 1.0)
) -> float:
    """Exact p value of `are_outcomes` whose null is "the mean does not lie beyond the margin".

    >>> round(outcome_p([1.0] * 5, 0.8), 3), round(outcome_p([1.0] * 5, 0.8, support=(-1.0, 1.0)), 3)
    (0.328, 0.59)
    """
    values = np.asarray(values, dtype=float)
    n, v = len(values), float(values[0])
    if np.ptp(values) > 0:
        return rate_p(int(values.sum()), n, margin, direction)
    if v <= margin if direction == ">" else v >= margin:
        return 1.0
    other = support[0] if direction == ">" else support[1]
    # The most often that v can come where the mean is the margin.
    often = (margin - other) / (v - other) if v != other else 0.0
    return rate_p(n, n, often)


def detectable_rate(
    n: int, margin: float, direction: str = ">", alpha: float = 0.05, power: float = 0.8
) -> float:
    """How far beyond the margin a rate must lie for n trials to show it; infinite where n of n would not do.

    >>> round(detectable_rate(40, 0.8), 3), detectable_rate(5, 0.8)
    (0.142, inf)
    """
    if direction == "<":
        return detectable_rate(n, 1 - margin, ">", alpha, power)
    hits = np.arange(n + 1)
    enough = hits[stats.binom.sf(hits - 1, n, margin) < alpha]
    if not len(enough):
        return float("inf")
    return float(stats.beta.ppf(power, enough[0], n - enough[0] + 1)) - margin
