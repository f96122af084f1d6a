"""Shifts of how a segmented series is sampled: rows dropped at random, segments dropped, windows averaged.

Completeness levels, reduced splits and downsampling of the CSTS benchmark (arXiv:2505.14596).
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from groundshift.errors import InputError
from groundshift.worlds.segments import Segments

__all__ = ["Aggregate", "downsample", "keep_segments", "select_rows", "thin"]

Aggregate = Literal["mean", "median", "decimate"]


def thin(
    segments: Segments, keep: float, rng: np.random.Generator, min_rows: int = 3
) -> tuple[NDArray[np.int64], Segments]:
    """Keep a share of all rows, drawn uniformly without replacement.

    Parameters
    ----------
    segments : Segments
    keep : float in (0, 1]
        Share of rows kept: 0.7 is the benchmark's "partial", 0.1 its "sparse" level.
    rng : numpy Generator
    min_rows : int
        A segment left with fewer rows goes, with its rows. The benchmark asks for 3.

    Returns
    -------
    rows : int64 array, rising
        Rows kept; ``data[rows]`` is the thinned series, for every stage of one subject alike.
    segments : Segments
        What is left, in the new row numbers.

    Examples
    --------
    >>> rows, left = thin(Segments.from_lengths([10, 10], [4, 7]), 0.5, np.random.default_rng(0))
    >>> len(rows), left.rows
    (10, 10)
    """
    if not 0 < keep <= 1:
        raise InputError(f"keep={keep} was given; it is the share of rows kept, above 0 and at most 1.")
    rows = np.sort(rng.choice(segments.rows, round(keep * segments.rows), replace=False))
    return select_rows(segments, rows, min_rows)


def select_rows(segments: Segments, rows: ArrayLike, min_rows: int = 1) -> tuple[NDArray[np.int64], Segments]:
    """Segments of the rows chosen (rising), without those left with fewer than ``min_rows``.

    >>> select_rows(Segments.from_lengths([3, 3], [4, 7]), [1, 2, 5], min_rows=2)
    (array([1, 2]), Segments(start=array([0]), end=array([2]), cluster=array([4])))
    """
    rows = np.asarray(rows, dtype=np.int64)
    first, last = np.searchsorted(rows, segments.start), np.searchsorted(rows, segments.end)
    stay = last - first >= min_rows
    if not stay.any():
        raise InputError(
            f"No segment keeps {min_rows} of its rows ({len(rows)} of {segments.rows} rows are left). Keep more."
        )
    kept = _ranges(first[stay], last[stay])
    return rows[kept], Segments.from_lengths((last - first)[stay], segments.cluster[stay], segments.names)


def keep_segments(segments: Segments, which: ArrayLike) -> tuple[NDArray[np.int64], Segments]:
    """Rows and segments that stay when only ``which`` segments do (indices or a mask); gaps are closed.

    >>> keep_segments(Segments.from_lengths([2, 1, 2], [4, 7, 5]), [0, 2])[0]
    array([0, 1, 3, 4])
    """
    chosen = np.sort(np.arange(len(segments))[np.asarray(which)])
    return (
        _ranges(segments.start[chosen], segments.end[chosen]),
        Segments.from_lengths(segments.lengths[chosen], segments.cluster[chosen], segments.names),
    )


def downsample(
    data: ArrayLike,
    segments: Segments,
    factor: int,
    aggregate: Aggregate = "mean",
    row_ids: ArrayLike | None = None,
) -> tuple[NDArray[np.float64], Segments]:
    """Replace windows of ``factor`` rows by one row.

    Parameters
    ----------
    data : array of shape (rows, n)
    segments : Segments
    factor : int
        Rows per window, 60 in the benchmark.
    aggregate : "mean", "median" or "decimate"
        "decimate" takes the first row of a window. A mean has the Pearson correlation of the rows, whose
        skewed marginals cannot reach -1; the first row has their rank correlation.
    row_ids : int array of shape (rows,), optional
        Place of each row on the regular grid, for a series with rows dropped.

    Returns
    -------
    data : array of shape (windows, n)
    segments : Segments
        Without ``row_ids`` every segment has windows of its own and floor(length / factor) rows. With them
        windows lie on the grid, empty ones vanish, and a window belongs to the segment that holds most of
        its rows.

    Examples
    --------
    >>> data, segments = downsample([[0.0], [2.0], [4.0], [6.0]], Segments.from_lengths([2, 2], [4, 7]), 2)
    >>> data.ravel(), segments.lengths
    (array([1., 5.]), array([1, 1]))
    """
    data = np.asarray(data, dtype=float)
    if aggregate not in get_args(Aggregate):
        raise InputError(f"aggregate={aggregate!r} was given; it is one of {', '.join(get_args(Aggregate))}.")
    if factor < 1:
        raise InputError(f"factor={factor} was given; a window holds at least one row.")
    if row_ids is None:
        lengths = segments.lengths // factor
        if lengths.min() < 1:
            i = int(lengths.argmin())
            raise InputError(
                f"factor={factor} is larger than segment {i} ({segments.lengths[i]} rows), which would vanish. "
                "Use a factor of at most the shortest segment, or drop that segment."
            )
        rows = _ranges(segments.start, segments.start + lengths * factor)
        window = np.arange(len(rows)) // factor
        left = Segments.from_lengths(lengths, segments.cluster, segments.names)
    else:
        rows = _ranges(segments.start, segments.end)
        _, window = np.unique(np.asarray(row_ids)[rows] // factor, return_inverse=True)
        left = _majority(np.repeat(np.arange(len(segments)), segments.lengths), window, segments)
    if aggregate == "decimate":
        return data[rows[np.diff(window, prepend=-1) > 0]], left
    return pd.DataFrame(data[rows]).groupby(window).agg(aggregate).to_numpy(), left


def _majority(owner: NDArray[np.int64], window: NDArray[np.int64], segments: Segments) -> Segments:
    """Segments of windows, each owned by the segment (0, 1, ...) with most of its rows; ties go to the first."""
    pairs, counts = np.unique(np.column_stack([window, owner]), axis=0, return_counts=True)
    best = pairs[np.lexsort((pairs[:, 1], -counts, pairs[:, 0]))]
    _, first = np.unique(best[:, 0], return_index=True)
    segment, lengths = np.unique(best[first, 1], return_counts=True)
    return Segments.from_lengths(lengths, segments.cluster[segment], segments.names)


def _ranges(start: NDArray[np.int64], end: NDArray[np.int64]) -> NDArray[np.int64]:
    """Row numbers of start[0]:end[0], start[1]:end[1], ... end to end."""
    lengths = end - start
    shift = np.repeat(end - np.cumsum(lengths), lengths)
    return np.arange(lengths.sum()) + shift
