"""How far the distribution of one column moved between two samples, by the population stability index."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from groundshift.errors import InputError

__all__ = ["bin_numbers", "stability_index", "stability_noise"]

SPREAD = 0.5
"""Rows added to every bin, so that an empty one leaves the index finite."""


def stability_index(reference: ArrayLike, current: ArrayLike) -> float:
    """Population stability index Σ (q − p) ln(q / p) of two samples over the same bins; 0 where they agree.

    Parameters
    ----------
    reference, current : shape (bins,)
        Rows in each bin. Half a row is added to each of them.

    Raises
    ------
    InputError
        Different numbers of bins, or a sample without rows.

    Examples
    --------
    >>> stability_index([50, 50], [500, 500]), round(stability_index([900, 100], [500, 500]), 2)
    (0.0, 0.88)
    """
    p, q = np.asarray(reference, dtype=float), np.asarray(current, dtype=float)
    if p.shape != q.shape or p.ndim != 1 or not p.sum() or not q.sum():
        raise InputError(
            f"Counts of shapes {p.shape} and {q.shape}, {p.sum():g} and {q.sum():g} rows, were given; two samples with "
            "rows over the same bins are needed."
        )
    p, q = (p + SPREAD) / (p + SPREAD).sum(), (q + SPREAD) / (q + SPREAD).sum()
    return float(((q - p) * np.log(q / p)).sum())


def stability_noise(reference: int, current: int, bins: int, level: float = 0.95) -> float:
    """What the index of two samples of one distribution stays below with probability ``level``.

    Without a shift the index is about (1/n + 1/m) times a χ² variable with bins − 1 degrees of freedom (Yurdakul,
    2018), so that a fixed threshold is met by chance where samples are small.

    Parameters
    ----------
    reference, current : rows of each sample

    Examples
    --------
    >>> round(stability_noise(100, 100, 10), 2), round(stability_noise(10_000, 10_000, 10), 4)
    (0.34, 0.0034)
    """
    return float(stats.chi2.ppf(level, max(bins - 1, 1)) * (1 / reference + 1 / current))


def bin_numbers(values: ArrayLike, reference: ArrayLike, bins: int = 10) -> NDArray[np.int64]:
    """The bin of every number, between quantiles of the reference; missing values have the bin ``bins``.

    Examples
    --------
    >>> bin_numbers([0, 5, 99, np.nan], range(10), bins=2).tolist()
    [0, 1, 1, 2]
    """
    numbers, known = np.asarray(values, dtype=float), np.asarray(reference, dtype=float)
    known = known[np.isfinite(known)]
    edges = np.unique(np.quantile(known, np.arange(1, bins) / bins)) if len(known) else np.empty(0)
    return np.where(np.isnan(numbers), bins, np.searchsorted(edges, numbers, side="right")).astype(np.int64)
