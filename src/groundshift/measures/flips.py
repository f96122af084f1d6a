"""Labels that flip between two askings, against those that flip when one merely asks again."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from groundshift.measures.intervals import clustered_means
from groundshift.measures.rates import outcome_interval

__all__ = ["flip_rates", "half_effect", "words_and_deeds"]

FEW = 12
"""Items below which there is an interval and no test."""


def flip_rates(
    base: ArrayLike, noise: ArrayLike, after: ArrayLike, *, confidence: float = 0.95
) -> dict[str, float]:
    """How many labels flip after a context, against how many flip without one.

    Parameters
    ----------
    base, noise, after : float (items,), the probability of the support side when first asked, when asked again without
        the context, and after it; above 0.5 is one label, below the other, and items without a label are left out
    confidence : level of the interval

    Returns
    -------
    dict
        ``items``; ``F`` and ``F_0``, the shares that flip after the context and without it; ``excess`` = F − F_0 with
        ``low`` and ``high`` (bootstrap over items; exact where no item differs); ``p`` of McNemar's exact test, NaN
        below 12 items.

    Examples
    --------
    >>> rates = flip_rates([0.9] * 12, [0.9] * 11 + [0.1], [0.2] * 6 + [0.8] * 6)
    >>> rates["F"], round(rates["F_0"], 3), round(rates["p"], 3)
    (0.5, 0.083, 0.125)
    """
    labels = [np.sign(np.asarray(p, float) - 0.5) for p in (base, noise, after)]
    known = np.all([np.abs(label) == 1 for label in labels], axis=0)
    first, other, last = (label[known] for label in labels)
    flipped, wavered = first != last, first != other
    n = int(known.sum())
    low, high = _interval(flipped.astype(float) - wavered, confidence)
    only = int((flipped & ~wavered).sum()), int((wavered & ~flipped).sum())
    p = float(stats.binomtest(only[0], sum(only)).pvalue) if sum(only) else 1.0
    rate, floor = (float(x.mean()) if n else float("nan") for x in (flipped, wavered))
    return {
        "items": n, "F": rate, "F_0": floor, "excess": rate - floor, "low": low, "high": high,
        "p": p if n >= FEW else float("nan"),
    }  # fmt: skip


def half_effect(doses: ArrayLike, effects: ArrayLike) -> float:
    """The dose at which an effect that never falls reaches half of its largest value; NaN where there is none.

    Effects are fitted by isotonic regression from 0 at dose 0, and interpolated.

    >>> round(half_effect([1, 2, 4], [0.1, 0.5, 0.4]), 3), half_effect([1, 2], [0.0, 0.0])
    (1.357, nan)
    """
    from sklearn.isotonic import IsotonicRegression

    x, y = np.r_[0.0, np.asarray(doses, float)], np.r_[0.0, np.asarray(effects, float)]
    fit = IsotonicRegression().fit_transform(x, y)
    fit = np.maximum(fit, 0.0)
    if not np.isfinite(fit).all() or fit[-1] <= 0:
        return float("nan")
    k = int(np.argmax(fit >= fit[-1] / 2))
    return float(np.interp(fit[-1] / 2, fit[k - 1 : k + 1], x[k - 1 : k + 1]))


def _interval(values: NDArray[np.float64], confidence: float) -> tuple[float, float]:
    if len(values) > 1 and np.ptp(values) == 0 and values[0] in (-1, 0, 1):
        return outcome_interval(values, (-1.0, 1.0), confidence)
    if len(values) < 2:
        return float("nan"), float("nan")
    means = clustered_means(values, np.arange(len(values)), np.random.default_rng(0), draws=2000)
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def words_and_deeds(words: NDArray[np.float64], deeds: NDArray[np.float64]) -> dict[str, float]:
    """How two changes of the same items go together.

    Parameters
    ----------
    words, deeds : float (2, items), probabilities before and after; items with a NaN are left out

    Returns
    -------
    dict
        ``items``; ``kappa``, Cohen's, of "the label flipped" in both; ``r``, Pearson's, of the differences. NaN where
        one of both is the same for all items.

    Examples
    --------
    >>> before, after = np.array([0.2, 0.4, 0.6, 0.8]), np.array([0.3, 0.7, 0.7, 0.9])
    >>> words_and_deeds(np.array([before, after]), np.array([before, after]))["kappa"]
    1.0
    """
    from sklearn.metrics import cohen_kappa_score

    known = np.isfinite(words.sum(0) + deeds.sum(0))
    flips = [(before > 0.5) != (after > 0.5) for before, after in (words[:, known], deeds[:, known])]
    x, y = ((p[1] - p[0])[known] for p in (words, deeds))
    vary = known.sum() > 2 and min(np.ptp(x), np.ptp(y)) > 1e-9
    both = len(np.unique(flips)) > 1
    return {
        "items": int(known.sum()),
        "kappa": float(cohen_kappa_score(*flips)) if both else float("nan"),
        "r": float(np.corrcoef(x, y)[0, 1]) if vary else float("nan"),
    }
