"""Measures of a ranking within groups of rows (users, slates, periods), over ragged groups at once.

Rows are sorted by group once, and everything else is sums over segments: no loop over groups, and no padding.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

from groundshift.errors import InputError

__all__ = ["auc_difference", "gauc", "group_auc", "mrr", "ndcg"]

Array = NDArray[np.float64]


def group_auc(y: ArrayLike, scores: ArrayLike, group: ArrayLike, *, least: int = 1) -> pd.DataFrame:
    """Area under the ROC curve within every group; ties count one half.

    Parameters
    ----------
    y : shape (n,)
        Labels 0 and 1.
    scores : shape (n,)
        Larger where 1 is likelier.
    group : shape (n,)
    least : rows of either label that a group needs

    Returns
    -------
    DataFrame
        Indexed by group: ``rows``, ``positives`` and ``auc``, which is NaN where a group has fewer rows of a label.

    Raises
    ------
    InputError
        Labels other than 0 and 1, scores that are not finite, arrays of different lengths.

    Examples
    --------
    >>> group_auc([0, 1, 1, 1], [0.1, 0.9, 0.5, 0.7], ["a", "a", "b", "b"])["auc"].tolist()
    [1.0, nan]
    """
    y, s, codes, names = _checked(y, scores, group)
    order = np.lexsort((s, codes))
    tie = _ties(codes[order], s[order])
    starts = np.flatnonzero(np.r_[True, np.diff(codes[order]) != 0])
    # The mean rank of a tie, counted from the beginning of its group.
    place = np.arange(len(s), dtype=float)
    mean_place = np.bincount(tie, place) / np.bincount(tie)
    rank = mean_place[tie] - starts[codes[order]] + 1
    rows, positives = np.bincount(codes), np.bincount(codes, y)
    above = np.bincount(codes[order], rank * y[order]) - positives * (positives + 1) / 2
    pairs = positives * (rows - positives)
    enough = np.minimum(positives, rows - positives) >= least
    auc = np.divide(above, pairs, out=np.full(len(rows), np.nan), where=enough)
    return pd.DataFrame({"rows": rows, "positives": positives.astype(int), "auc": auc}, index=names)


def auc_difference(
    y: ArrayLike, first: ArrayLike, second: ArrayLike, group: ArrayLike, *, least: int = 1
) -> tuple[float, float]:
    """Mean over groups of the difference of two scores' AUC on the same rows, and its standard error.

    DeLong, DeLong & Clarke-Pearson, Biometrics 1988, in each group; groups are independent and weigh alike. Groups with
    fewer than ``least`` rows of either label are left out.

    Examples
    --------
    >>> auc_difference([0, 1, 0, 1], [0.1, 0.9, 0.2, 0.3], [0.1, 0.9, 0.2, 0.3], [1, 1, 1, 1])
    (0.0, 0.0)
    """
    y, a, codes, _ = _checked(y, first, group)
    b, means, variances = np.asarray(second, dtype=float), [], []
    for code in range(codes.max() + 1):
        here = codes == code
        hit = y[here] == 1
        if min(hit.sum(), (~hit).sum()) < least:
            continue
        d = _placements(hit, a[here]) - _placements(hit, b[here])
        means.append(d[hit].mean())
        parts = [side.var(ddof=1) / len(side) for side in (d[hit], d[~hit]) if len(side) > 1]
        variances.append(float(np.sum(parts)))
    if not means:
        return float("nan"), float("nan")
    return float(np.mean(means)), float(np.sqrt(np.sum(variances)) / len(means))


def _placements(hit: NDArray[np.bool_], scores: Array) -> Array:
    """Share of the rows of the other label that each row is on the right side of; ties count one half."""
    whole, rank = rankdata(scores), np.empty(len(scores))
    for side in (hit, ~hit):
        rank[side] = (whole[side] - rankdata(scores[side])) / (~side).sum()
    return np.where(hit, rank, 1 - rank)


def gauc(y: ArrayLike, scores: ArrayLike, user: ArrayLike) -> float:
    """Mean AUC over users with both labels, weighted by their rows; NaN where there is no such user.

    Examples
    --------
    >>> gauc([0, 1, 1, 0, 1], [0.1, 0.9, 0.2, 0.8, 0.3], [1, 1, 2, 2, 3])
    0.5
    """
    table = group_auc(y, scores, user).dropna()
    return float(np.average(table["auc"], weights=table["rows"])) if len(table) else float("nan")


def ndcg(y: ArrayLike, scores: ArrayLike, user: ArrayLike, *, k: int = 5, compat: bool = False) -> float:
    """Mean normalised discounted cumulative gain of the first k rows of every user with a positive one.

    Rows of equal score share their gains, as in scikit-learn.

    Parameters
    ----------
    compat : count users without positives as 1, as the published code does, which inflates the mean

    Examples
    --------
    >>> ndcg([1, 0, 0, 0], [0.9, 0.1, 0.5, 0.4], [1, 1, 2, 2])
    1.0
    """
    y, s, codes, _ = _checked(y, scores, user)
    order = np.lexsort((-s, codes))
    sorted_codes, tie = codes[order], _ties(codes[order], s[order])
    place = _place(sorted_codes)
    discount = np.where(place < k, 1 / np.log2(place + 2), 0.0)
    shared = (np.bincount(tie, y[order]) / np.bincount(tie))[tie]
    gain = np.bincount(sorted_codes, shared * discount)
    ideal = np.bincount(sorted_codes, (place < np.bincount(codes, y)[sorted_codes]) * discount)
    return _mean(gain / np.where(ideal > 0, ideal, 1), np.bincount(codes, y) > 0, compat)


def mrr(y: ArrayLike, scores: ArrayLike, user: ArrayLike, *, compat: bool = False) -> float:
    """Mean over users of 1 / (rank of the first positive row).

    Where the first positive row is tied with others its expected place among them is taken, so that a constant score
    does not depend on the order of the rows.

    Parameters
    ----------
    compat : count users without positives as 1, as the published code does, which inflates the mean

    Examples
    --------
    >>> mrr([0, 1, 0, 0], [0.9, 0.1, 0.5, 0.4], [1, 1, 2, 2]), mrr([0, 0, 1], [0, 0, 0], [1, 1, 1])
    (0.5, 0.5)
    """
    y, s, codes, _ = _checked(y, scores, user)
    order = np.lexsort((-s, codes))
    sorted_codes, tie = codes[order], _ties(codes[order], s[order])
    size, hits = np.bincount(tie), np.bincount(tie, y[order])
    first = np.flatnonzero(np.r_[True, np.diff(tie) != 0])  # row at which a tie begins
    rank = _place(sorted_codes)[first] + (size + 1) / (hits + 1)
    best = np.full(codes.max() + 1, np.inf)
    np.minimum.at(best, sorted_codes[first][hits > 0], rank[hits > 0])
    return _mean(1 / best, np.isfinite(best), compat)


def _mean(values: Array, positive: NDArray[np.bool_], compat: bool) -> float:
    if compat:
        return float(np.where(positive, values, 1.0).mean())
    return float(values[positive].mean()) if positive.any() else float("nan")


def _checked(y: ArrayLike, scores: ArrayLike, group: ArrayLike) -> tuple[Array, Array, Any, Any]:
    y, s = np.asarray(y, dtype=float), np.asarray(scores, dtype=float)
    codes, names = pd.factorize(pd.Series(group), sort=True)
    if not (y.shape == s.shape == codes.shape) or y.ndim != 1 or not len(y):
        raise InputError(
            f"Labels of shape {y.shape}, scores of {s.shape} and groups of {codes.shape} were given; one of each per "
            "row is needed."
        )
    if not np.isin(y, (0, 1)).all() or not np.isfinite(s).all() or (codes < 0).any():
        raise InputError("Labels must be 0 or 1, scores finite, and no group may be missing.")
    return y, s, codes, names


def _ties(codes: NDArray[np.int64], scores: Array) -> NDArray[np.int64]:
    """The number of the run of equal scores within a group that each of the sorted rows belongs to."""
    return np.cumsum(np.r_[False, (np.diff(codes) != 0) | (np.diff(scores) != 0)])


def _place(codes: NDArray[np.int64]) -> NDArray[np.int64]:
    """0, 1, ... within each run of equal sorted codes."""
    starts = np.flatnonzero(np.r_[True, np.diff(codes) != 0])
    return np.arange(len(codes)) - starts[codes]
