"""Labels of a segmented series: which correlations a segment has, and how far they are from the pattern.

Correlations are Spearman's, truncated toward zero at three decimals as in the benchmark: rounding 0.9996 to 1
can make a matrix that is no correlation matrix.
"""

from __future__ import annotations

import warnings
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

from groundshift.errors import InputError
from groundshift.worlds.segments import Segments

__all__ = ["cluster_correlations", "correlations", "data_correlation", "segment_correlations"]


def segment_correlations(
    data: ArrayLike,
    segments: Segments,
    *,
    method: Literal["spearman", "pearson"] = "spearman",
    on_undefined: Literal["raise", "drop"] = "raise",
    decimals: int | None = 3,
) -> NDArray[np.float64]:
    """Correlation of every segment's rows.

    Parameters
    ----------
    data : array of shape (rows, n)
    segments : Segments
    method : "spearman" or "pearson"
    on_undefined : "raise" or "drop"
        A segment of one row, or with a constant column, has no correlation. "drop" leaves its row NaN and
        warns with the count.
    decimals : int or None
        Truncate toward zero at this many decimals; None keeps the exact value.

    Returns
    -------
    array of shape (segments, n(n-1)/2)

    Examples
    --------
    >>> data = [[1, 5], [2, 6], [3, 9], [1, 3], [2, 2], [3, 1]]
    >>> segment_correlations(data, Segments.from_lengths([3, 3], [1, 2])).ravel()
    array([ 1., -1.])
    """
    data = np.asarray(data, dtype=float)
    if segments.rows > len(data):
        raise InputError(
            f"The labels reach row {segments.rows} (exclusive), but the data have {len(data)} rows. Give the "
            "labels of this very series; if their end rows are exclusive, read them with end='exclusive'."
        )
    found = np.array(
        [correlations(data[a:b], method) for a, b in zip(segments.start, segments.end, strict=True)]
    )
    undefined = np.flatnonzero(np.isnan(found).any(axis=1))
    if len(undefined):
        if on_undefined == "raise":
            raise InputError(_why_undefined(data, segments, int(undefined[0])))
        warnings.warn(
            f"{len(undefined)} of {len(segments)} segments have no correlation and are NaN.", stacklevel=2
        )
        found[undefined] = np.nan
    return _truncate(found, decimals)


def cluster_correlations(
    data: ArrayLike, segments: Segments, *, decimals: int | None = 3
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Spearman correlation of all rows of each cluster, its segments put end to end.

    Not the mean of the segments' correlations: these centroids belong to the validity indices.

    Returns
    -------
    ids : int64 array of shape (clusters,), rising
    centroids : array of shape (clusters, n(n-1)/2)
    """
    data = np.asarray(data, dtype=float)
    ids = np.unique(segments.cluster)
    centroids = []
    for k in ids:
        mine = segments.cluster == k
        rows = np.concatenate(
            [data[a:b] for a, b in zip(segments.start[mine], segments.end[mine], strict=True)]
        )
        centroids.append(correlations(rows))
        if np.isnan(centroids[-1]).any():
            raise InputError(
                f"Cluster {k} ({len(rows)} rows) has no correlation: it has one row, or a constant column. "
                "Merge it with another cluster or leave it out."
            )
    return ids, _truncate(np.array(centroids), decimals)


def data_correlation(data: ArrayLike, segments: Segments, *, decimals: int | None = 3) -> NDArray[np.float64]:
    """Spearman correlation of all rows that the segments cover, shape (n(n-1)/2,)."""
    data = np.asarray(data, dtype=float)
    return _truncate(correlations(data[segments.row_labels(len(data), fill=-1) != -1]), decimals)


def correlations(
    rows: NDArray[np.float64], method: Literal["spearman", "pearson"] = "spearman"
) -> NDArray[np.float64]:
    """Exact correlation vector of rows (L, n), shape (n(n-1)/2,); NaN where a column is constant."""
    i, j = np.triu_indices(rows.shape[1], 1)
    x = rankdata(rows, axis=0) if method == "spearman" else rows
    x = x - x.mean(axis=0)
    product = x.T @ x
    scale = np.sqrt(np.diag(product))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.clip((product / np.outer(scale, scale))[i, j], -1, 1)


def _truncate(r: NDArray[np.float64], decimals: int | None) -> NDArray[np.float64]:
    """Cut toward zero; a value within rounding error of the next step counts as that step."""
    if decimals is None:
        return r
    steps = r * 10**decimals
    return np.trunc(steps + np.sign(steps) * 1e-8) / 10**decimals + 0.0


def _why_undefined(data: NDArray[np.float64], segments: Segments, i: int) -> str:
    rows = data[segments.start[i] : segments.end[i]]
    where = f"Segment {i} (rows {segments.start[i]} to {segments.end[i] - 1})"
    mend = "Merge it with its neighbour, or leave it out with on_undefined='drop'."
    if len(rows) < 2:
        return f"{where} has one row; a correlation needs at least two. {mend}"
    if not np.isfinite(rows).all():
        return f"{where} holds NaN or infinite values; drop those rows first (dropna=True)."
    constant = np.flatnonzero(np.ptp(rows, axis=0) == 0)
    return f"{where} is constant in column {', '.join(map(str, constant))}, so its correlation is undefined. {mend}"
