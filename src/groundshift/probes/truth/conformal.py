"""Conformal abstention: a verdict only where exactly one label is plausible."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["conformal_labels", "conformal_p"]


def conformal_p(scores: ArrayLike, calibration: ArrayLike, labels: ArrayLike) -> NDArray[np.float64]:
    """P-values of "not true" and "true" for each score, (N, 2).

    The nonconformity of label y is exp(−(2y − 1) s); the p-value is (1 + number of calibration statements at least as
    strange) / (n + 1).

    Parameters
    ----------
    scores : of the statements asked about, (N,)
    calibration, labels : scores and labels of n statements that no probe was trained on

    Examples
    --------
    >>> conformal_p([2.0], [-1.0, 1.0, 3.0], [0, 1, 1]).tolist()
    [[0.25, 0.75]]
    """
    s = np.asarray(scores, dtype=float)
    # exp is increasing: what it would be taken of has the same order, and cannot overflow.
    strange = np.sort(-(2.0 * np.asarray(labels, dtype=float) - 1) * np.asarray(calibration, dtype=float))
    n = len(strange)
    return np.stack(
        [(1 + n - np.searchsorted(strange, -sign * s, side="left")) / (n + 1) for sign in (-1, 1)], 1
    )


def conformal_labels(p: NDArray[np.float64], alpha: float = 0.1) -> NDArray[np.int64]:
    """1 or 0 where that label alone has a p-value above alpha; −1, abstain, where none or both have.

    >>> conformal_labels(np.array([[0.05, 0.6], [0.4, 0.3], [0.01, 0.02], [0.9, 0.1]])).tolist()
    [1, -1, -1, 0]
    """
    plausible = p > alpha
    return np.where(plausible.sum(1) == 1, plausible[:, 1].astype(int), -1)
