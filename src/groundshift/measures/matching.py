"""One-to-one pairs (Hungarian method), and scores of labels whose names mean nothing, matched to the true ones."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linear_sum_assignment

from groundshift.errors import InputError

__all__ = [
    "could_match",
    "could_match_greedily",
    "match",
    "match_greedily",
    "match_labels",
    "matched_accuracy",
    "matched_l1",
]


def match(weights: ArrayLike) -> list[tuple[int, int]]:
    """The one-to-one pairs (row, column) of the largest total weight.

    >>> match([[0.6, 0.5], [0.6, 0.1]]), match_greedily([[0.6, 0.5], [0.6, 0.1]])
    ([(0, 1), (1, 0)], [(0, 0), (1, 1)])
    """
    table = np.asarray(weights, dtype=float)
    pairs = zip(*linear_sum_assignment(table, maximize=True), strict=True) if table.size else ()
    return [(int(i), int(j)) for i, j in pairs]


def match_greedily(weights: ArrayLike) -> list[tuple[int, int]]:
    """Each row in its turn takes the unused column of the largest weight, as long as there is one."""
    table, pairs = np.array(weights, dtype=float), []
    for i in range(min(table.shape) if table.size else 0):
        pairs.append((i, int(table[i].argmax())))
        table[:, pairs[-1][1]] = -np.inf
    return pairs


def could_match(low: ArrayLike, high: ArrayLike) -> NDArray[np.bool_]:
    """Which pairs can be in the best matching (`match`) of weights that lie between two tables.

    A pair cannot if the largest total with it of the high weights is below the largest total of the low ones.

    >>> could_match([[0.9, 0.1], [0.1, 0.8]], [[1.0, 0.2], [0.2, 0.8]]).tolist()
    [[True, False], [False, True]]
    """
    low, high = np.asarray(low, dtype=float), np.asarray(high, dtype=float)
    least, could = sum(low[pair] for pair in match(low)) - 1e-7, np.zeros(low.shape, dtype=bool)
    for place in np.ndindex(low.shape):
        forced = high.copy()
        forced[place] += np.abs(high).sum() + 1
        could[place] = sum(high[pair] for pair in match(forced)) >= least
    return could


def could_match_greedily(low: ArrayLike, high: ArrayLike) -> NDArray[np.bool_]:
    """The same of `match_greedily`, up to the first row whose choice is open: the rows after it depend on it."""
    low, high = np.asarray(low, dtype=float), np.asarray(high, dtype=float)
    could, free = np.zeros(low.shape, dtype=bool), np.ones(low.shape[1], dtype=bool)
    for i in range(min(low.shape) if low.size else 0):
        could[i] = free & (high[i] >= low[i, free].max())
        if could[i].sum() > 1 and (low[i] < high[i])[could[i]].any():
            break
        free[np.where(could[i], low[i], -np.inf).argmax()] = False
    return could


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
