"""P-values of several tests that are judged together."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["benjamini_hochberg", "holm"]

Array = NDArray[np.float64]


def holm(p: ArrayLike) -> Array:
    """Adjusted by Holm's step-down method, which keeps the chance of any false rejection at the level.

    Those of statsmodels are the same; its `multipletests` also collects the garbage of the whole process at each call,
    which takes seconds where a large model is in memory.

    Parameters
    ----------
    p : float (tests,)

    Examples
    --------
    >>> holm([0.01, 0.04, 0.03]).round(2).tolist()
    [0.03, 0.06, 0.06]
    """
    p = np.asarray(p, dtype=float)
    order = p.argsort()
    adjusted = np.empty_like(p)
    adjusted[order] = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)).clip(max=1)
    return adjusted


def benjamini_hochberg(p: ArrayLike) -> Array:
    """Adjusted by Benjamini and Hochberg's method, which keeps the expected share of false ones among the rejections.

    Parameters
    ----------
    p : float (tests,)

    Examples
    --------
    >>> benjamini_hochberg([0.01, 0.04, 0.03]).round(2).tolist()
    [0.03, 0.04, 0.04]
    """
    from scipy.stats import false_discovery_control

    p = np.asarray(p, dtype=float)
    return np.asarray(false_discovery_control(p)) if len(p) else p
