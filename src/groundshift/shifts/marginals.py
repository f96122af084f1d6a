"""Shifts of the marginal distributions that leave the order of the rows, and so the rank structure."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri
from scipy.stats import rankdata

from groundshift.errors import InputError

__all__ = ["gaussianise"]


def gaussianise(X: ArrayLike) -> NDArray[np.float64]:
    """Give every column standard normal marginals by rank: Φ⁻¹((rank - ½)/N).

    Ties share their average rank. The transform is fitted on the rows given, without labels: fit it on each
    series by itself when marginals differ between series.

    Parameters
    ----------
    X : array of shape (rows,) or (rows, n)

    Examples
    --------
    >>> gaussianise([10.0, 1000.0, 100.0]).round(3)
    array([-0.967,  0.967,  0.   ])
    """
    X = np.asarray(X, dtype=float)
    if X.ndim not in (1, 2) or len(X) == 0:
        raise InputError(f"Data of shape {X.shape} were given; (rows,) or (rows, variates) is needed.")
    if np.isnan(X).any():
        raise InputError(f"{np.isnan(X).sum()} values are NaN and have no rank; drop their rows first.")
    return ndtri((rankdata(X, axis=0) - 0.5) / len(X))
