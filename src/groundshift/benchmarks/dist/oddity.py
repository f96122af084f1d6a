"""Which of three is the odd one out, how often that is right, and with what interval."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from groundshift.errors import InputError
from groundshift.measures.intervals import bootstrap_interval
from groundshift.measures.rates import are_outcomes, rate_interval

__all__ = ["CHANCE", "d_prime", "interval", "margins", "odd_one_out", "similarities"]

Array = NDArray[np.float64]
CHANCE, TIE = 1 / 3, 1e-7


def similarities(features: ArrayLike) -> Array:
    """Cosines (n, 3) of original and first twin, original and second twin, and both twins, from features (n, 3, D).

    Raises
    ------
    InputError
        Features of another shape, that are not finite, or that are zero.

    Examples
    --------
    >>> similarities([[[1, 0], [0.6, 0.8], [0.8, 0.6]]]).round(2).tolist()
    [[0.6, 0.8, 0.96]]
    """
    x = np.asarray(features, dtype=float)
    if x.ndim != 3 or x.shape[1] != 3:
        raise InputError(
            f"Features of shape {x.shape} were given; (n, 3, D) is needed: original and two twins."
        )
    size = np.linalg.norm(x, axis=2, keepdims=True)
    if not np.isfinite(size).all() or not size.all():
        raise InputError(
            "Features are infinite, not a number, or all zero; load the model in float32, or name another layer."
        )
    o, a, b = np.moveaxis(x / size, 1, 0)
    return np.stack([(p * q).sum(1) for p, q in ((o, a), (o, b), (a, b))], 1)


def odd_one_out(cosines: ArrayLike) -> tuple[NDArray[np.int64], Array]:
    """The answer to each triplet, and how right it is.

    Parameters
    ----------
    cosines : (n, 3), see `similarities`; any similarities will do

    Returns
    -------
    answers, right
        0: the original, 1 and 2: a twin, -1: a tie with the original; and 1, 0, or 1/3 of such a tie.

    Examples
    --------
    >>> odd_one_out([[0.6, 0.8, 0.96], [0.0, 0.8, 0.6], [0.5, 0.5, 0.5]])
    (array([ 0,  1, -1]), array([1.        , 0.        , 0.33333333]))
    """
    s1, s2, s12 = np.asarray(cosines, dtype=float).reshape(-1, 3).T
    mean = np.stack([s1 + s2, s1 + s12, s2 + s12], 1) / 2
    lowest = mean - mean.min(1, keepdims=True) < TIE
    tied = lowest[:, 0] & (lowest.sum(1) > 1)
    answers = np.where(tied, -1, mean.argmin(1))
    return answers, np.where(tied, CHANCE, answers == 0)


def margins(cosines: ArrayLike) -> Array:
    """How much more alike the twins are than the original is to them, (n,).

    >>> margins([[0.6, 0.8, 0.96]]).round(2).tolist()
    [0.26]
    """
    s1, s2, s12 = np.asarray(cosines, dtype=float).reshape(-1, 3).T
    return np.asarray(s12 - (s1 + s2) / 2)


def d_prime(values: ArrayLike) -> float:
    """Mean over standard deviation of margins; nan of fewer than two, or where they do not differ."""
    x = np.asarray(values, dtype=float)
    spread = x.std(ddof=1) if len(x) > 1 else 0.0
    return float(x.mean() / spread) if spread > 0 else float("nan")


def interval(
    right: ArrayLike, originals: ArrayLike | None = None, level: float = 0.95
) -> tuple[float, float]:
    """Interval of an accuracy over originals, each of which may stand in several triplets.

    Exact (Clopper and Pearson) where every original is all right or all wrong, bootstrapped where not.

    >>> low, high = interval([1, 1, 0, 1])
    >>> round(low, 2), round(high, 2)
    (0.19, 0.99)
    """
    means = np.asarray(right, dtype=float)
    if originals is not None:
        means = pd.Series(means).groupby(np.asarray(originals), sort=False).mean().to_numpy()
    if not len(means):
        return float("nan"), float("nan")
    if are_outcomes(means, (0, 1)):
        return rate_interval(int(means.sum()), len(means), level)
    low, high = bootstrap_interval(means, level)
    return low, high
