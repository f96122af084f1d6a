"""Scores of labels whose names mean nothing: the best one-to-one matching to the true ones first (Hungarian method)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linear_sum_assignment

from groundshift.errors import InputError

__all__ = ["match_labels", "matched_accuracy", "matched_l1"]


def match_labels(true: ArrayLike, found: ArrayLike, n_labels: int) -> NDArray[np.int64]:
    """The permutation that makes found labels agree most with true ones: ``permutation[found]`` is comparable.

    Parameters
    ----------
    true, found : codes 0 to n_labels - 1, shape (rows,)

    Examples
    --------
    >>> match_labels([0, 0, 1, 2], [2, 2, 0, 1], 3).tolist()
    [1, 2, 0]
    """
    true, found = np.asarray(true, dtype=np.int64), np.asarray(found, dtype=np.int64)
    if true.shape != found.shape:
        raise InputError(f"{len(found)} labels were given for {len(true)} true ones.")
    counts = np.bincount(found * n_labels + true, minlength=n_labels**2).reshape(n_labels, n_labels)
    return linear_sum_assignment(counts, maximize=True)[1].astype(np.int64)


def matched_accuracy(true: ArrayLike, found: ArrayLike, n_labels: int) -> float:
    """Share of rows whose label is right after the best matching.

    >>> matched_accuracy([0, 0, 1, 2], [2, 2, 0, 0], 3)
    0.75
    """
    permutation = match_labels(true, found, n_labels)
    return float((permutation[np.asarray(found, dtype=np.int64)] == np.asarray(true)).mean())


def matched_l1(true: ArrayLike, found: ArrayLike) -> float:
    """Mean over columns (domains) of the L1 distance of class proportions, rows matched; from 0 to 2.

    Parameters
    ----------
    true, found : shape (classes, domains), columns sum to one

    Examples
    --------
    >>> round(matched_l1([[1.0, 0.2], [0.0, 0.8]], [[0.1, 0.8], [0.9, 0.2]]), 12)
    0.1
    """
    true, found = np.asarray(true, dtype=float), np.asarray(found, dtype=float)
    cost = np.abs(found[:, None, :] - true[None, :, :]).sum(2)
    rows, columns = linear_sum_assignment(cost)
    return float(cost[rows, columns].sum() / true.shape[1])
