"""Labels of a segmented series: which correlations a segment has, and how far they are from the pattern.

Correlations are Spearman's, truncated toward zero at three decimals as in the benchmark: rounding 0.9996 to 1
can make a matrix that is no correlation matrix.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

from groundshift.benchmarks.csts.input import read_times
from groundshift.errors import InputError
from groundshift.tables import read_table, typed
from groundshift.worlds.correlation_patterns import Pattern, n_variates_of
from groundshift.worlds.correlation_patterns import patterns as all_patterns
from groundshift.worlds.segments import Segments

__all__ = [
    "as_segments",
    "as_the_truth",
    "cluster_correlations",
    "correlations",
    "label_table",
    "mae",
    "models",
    "read_clusterings",
    "read_labels",
    "refuse_undefined",
    "relaxed_mae",
    "segment_correlations",
    "within_tolerance",
]

End = Literal["inclusive", "exclusive", "length"]
Patterns = Mapping[int, Pattern]

STRONG, WEAK = 0.7, 0.2  # the benchmark's tolerance


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
    rows = np.array(
        [correlations(data[a:b], method) for a, b in zip(segments.start, segments.end, strict=True)]
    )
    undefined = np.flatnonzero(np.isnan(rows).any(axis=1))
    if len(undefined):
        if on_undefined == "raise":
            raise InputError(_why_undefined(data, segments, int(undefined[0])))
        warnings.warn(
            f"{len(undefined)} of {len(segments)} segments have no correlation and are NaN.", stacklevel=2
        )
        rows[undefined] = np.nan
    return truncate(rows, decimals)


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
    return ids, truncate(np.array(centroids), decimals)


def correlations(
    rows: NDArray[np.float64], method: Literal["spearman", "pearson"] = "spearman"
) -> NDArray[np.float64]:
    """Exact correlation vector of rows (L, n), shape (n(n-1)/2,); NaN where a column is constant."""
    i, j = np.triu_indices(rows.shape[1], 1)
    x = rankdata(rows, axis=0) if method == "spearman" else rows
    x = x - x.mean(axis=0)
    product = x.T @ x
    scale = np.where(np.ptp(rows, axis=0) == 0, np.nan, np.sqrt(np.diag(product)))
    return np.clip((product / np.outer(scale, scale))[i, j], -1, 1)


def models(
    cluster: ArrayLike, n_variates: int = 3, patterns: Patterns | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Canonical and relaxed pattern of each cluster id, both of shape (len(cluster), n(n-1)/2).

    >>> models([4])
    (array([[0., 1., 1.]]), array([[0.  , 0.71, 0.7 ]]))
    """
    known = all_patterns(n_variates) if patterns is None else patterns
    ids = np.asarray(cluster).tolist()
    unknown = sorted(set(ids) - set(known))
    if unknown:
        raise InputError(
            f"Cluster id {unknown[0]} was given; this pattern is not a valid correlation matrix. The patterns of "
            f"{n_variates} variates are {', '.join(map(str, known))}; for clusters of your own use describe()."
        )
    return (
        np.array([known[k].canonical for k in ids], dtype=float),
        np.array([known[k].relaxed for k in ids], dtype=float),
    )


def mae(achieved: ArrayLike, cluster: ArrayLike, patterns: Patterns | None = None) -> NDArray[np.float64]:
    """Mean absolute error of achieved correlations (S, q) to the canonical pattern of each segment's cluster.

    Rounded to 3 decimals, shape (S,).
    """
    achieved = np.asarray(achieved, dtype=float)
    canonical, _ = models(cluster, n_variates_of(achieved.shape[1]), patterns)
    return np.abs(achieved - canonical).mean(axis=1).round(3)


def relaxed_mae(
    achieved: ArrayLike, cluster: ArrayLike, patterns: Patterns | None = None
) -> NDArray[np.float64]:
    """Mean absolute error to the relaxed pattern, which data can reach; rounded to 3 decimals, shape (S,).

    >>> relaxed_mae([[0.09, 0.72, 0.72]], [4])
    array([0.04])
    """
    achieved = np.asarray(achieved, dtype=float)
    _, relaxed = models(cluster, n_variates_of(achieved.shape[1]), patterns)
    return np.abs(achieved - relaxed).mean(axis=1).round(3)


def within_tolerance(achieved: ArrayLike, model: ArrayLike, *, signed: bool = False) -> NDArray[np.bool_]:
    """Does a strong entry (0.7 or more) stay strong and a weak one (0.2 or less) weak? Same shape as given.

    The benchmark compares magnitudes, so a flipped sign passes; ``signed`` refuses it.

    >>> within_tolerance([0.1, -0.8, 0.5], [0, 1, 1]), within_tolerance([0.1, -0.8, 0.5], [0, 1, 1], signed=True)
    (array([ True,  True, False]), array([ True, False, False]))
    """
    achieved, model = np.asarray(achieved, dtype=float), np.asarray(model, dtype=float)
    strong = (np.abs(model) >= STRONG) & (np.abs(achieved) >= STRONG)
    if signed:
        strong &= np.sign(model) == np.sign(achieved)
    return strong | ((np.abs(model) <= WEAK) & (np.abs(achieved) <= WEAK))


def label_table(
    data: ArrayLike, segments: Segments, *, subject: str = "", patterns: Patterns | None = None
) -> pd.DataFrame:
    """Labels in the benchmark's columns, one row per segment; end rows are counted in.

    >>> segments = Segments.from_lengths([4, 4], [1, 0])
    >>> data = np.random.default_rng(0).normal(size=(8, 3))
    >>> label_table(data, segments)[["start idx", "end idx", "cluster_id"]].to_numpy().tolist()
    [[0, 3, 1], [4, 7, 0]]
    """
    if segments.names:
        raise InputError(
            f"Clusters are called {', '.join(segments.names[:5])}; these are no pattern ids, so there is no model to "
            "compare with. Use describe(), which looks for the nearest pattern."
        )
    achieved = segment_correlations(data, segments)
    canonical, _ = models(segments.cluster, n_variates_of(achieved.shape[1]), patterns)
    return pd.DataFrame(
        {
            "subject_id": subject,
            "id": np.arange(len(segments)),
            "start idx": segments.start,
            "end idx": segments.end - 1,
            "length": segments.lengths,
            "cluster_id": segments.cluster,
            "correlation to model": canonical.tolist(),
            "correlation achieved": achieved.tolist(),
            "correlation achieved with tolerance": within_tolerance(achieved, canonical).tolist(),
            "MAE": mae(achieved, segments.cluster, patterns),
            "relaxed MAE": relaxed_mae(achieved, segments.cluster, patterns),
        }
    )


def read_labels(
    source: Any,
    *,
    end: End = "inclusive",
    rows: int | None = None,
    names: Sequence[str] = (),
    data: Any = None,
) -> Segments:
    """Segments of a label table: columns "start idx", "end idx", "cluster_id" (or start, end, cluster).

    Text labels are numbered in sorted order and keep their names, see `Segments`.

    Parameters
    ----------
    source : table (pandas, polars, Arrow) or path of a csv or parquet file
    end : "inclusive", "exclusive" or "length"
        Whether the end row belongs to the segment, as it does in the benchmark's files. "length" goes by the column
        of that name alone: segments lie end to end.
    rows : int, optional
        Rows of the data that the labels speak of.
    names : sequence of str
        Text labels that have a number already: the first is 0.
    data : table or path of the series, whose column of times is looked up where segments start and end at times

    Raises
    ------
    InputError
        For gaps, overlaps, lengths that do not fit, labels of other data, and times that the data do not have.

    Examples
    --------
    >>> read_labels(pd.DataFrame({"start": [0, 2], "end": [1, 4], "cluster": [13, 2]})).lengths
    array([2, 3])
    """
    table = read_table(source)
    for name in ("subject_id", "clustering_desc"):
        if name in table and table[name].nunique() > 1:
            raise InputError(
                f"The labels hold {table[name].nunique()} values of {name}; read one at a time, or a stack of "
                "clusterings with read_clusterings()."
            )
    columns = _label_columns(table)
    if columns is None:
        raise InputError(
            f"Labels need the columns 'start idx', 'end idx' and 'cluster_id' (or start, end, cluster); the "
            f"columns given are {', '.join(map(str, table.columns))}."
        )
    cluster = table[columns[2]].to_numpy()
    if end != "length":
        if _are_times(table[columns[0]]):
            start, last = _rows_of_times(table[list(columns[:2])], data, end)
        else:
            start, last = (_whole(table[name]) for name in columns[:2])
    if end == "length":
        if "length" not in table:
            raise InputError("end='length' was asked for; the labels have no column 'length'.")
        return _of_length(Segments.from_lengths(_whole(table["length"]), *_as_ids(cluster, names)), rows)
    stop = last + 1 if end == "inclusive" else last
    _check_cover(start, stop, end)
    if "length" in table and (wrong := np.flatnonzero(_whole(table["length"]) != stop - start)).size:
        i = int(wrong[0])
        raise InputError(
            f"Segment {i} has length {table['length'].iloc[i]}, but rows {start[i]} to {last[i]} ({end}) are "
            f"{stop[i] - start[i]}. If the lengths are right, read the labels with end='length'; if end "
            "rows are exclusive, read them with end='exclusive'."
        )
    return _of_length(Segments(start, stop, *_as_ids(cluster, names)), rows)


def _whole(column: pd.Series[Any]) -> NDArray[np.int64]:
    """Numbers of rows."""
    numbers = pd.to_numeric(column, errors="coerce").to_numpy(dtype=float, na_value=np.nan)
    bad = ~(np.abs(numbers) < 2.0**53) | (numbers != np.trunc(numbers))
    if bad.any():
        i = int(np.flatnonzero(bad)[0])
        raise InputError(
            f"{column.name} of segment {i} is {column.iloc[i]!r}; the number of a row is needed."
        )
    return numbers.astype(np.int64)


def _are_times(column: pd.Series[Any]) -> bool:
    return not pd.api.types.is_numeric_dtype(column) and typed(column.to_frame()).columns[0].kind in (
        "date",
        "constant",
    )


def _rows_of_times(moments: pd.DataFrame, data: Any, end: End) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First and last row of each segment that starts and ends at times (or, exclusive, the row after the last)."""
    table = typed(moments)
    start, last = (table.times(name).to_numpy() for name in moments.columns)
    times = None if data is None else read_times(data)
    if times is None:
        raise InputError(
            f"The segments start and end at times ({moments.iloc[0, 0]!s} …), and "
            + (
                "no series was given to look them up in."
                if data is None
                else "the series has no column of dates."
            )
            + " Give the series with its column of dates, or row numbers for start and end."
        )
    rows = times.to_numpy()
    if (np.diff(rows) < np.timedelta64(0)).any():
        raise InputError(
            f"The times of the series ({times.name}) go back; sort its rows before segments are looked up."
        )
    side: Literal["left", "right"] = "left" if end == "exclusive" else "right"
    first, after = np.searchsorted(rows, start), np.searchsorted(rows, last, side=side)
    if (empty := np.flatnonzero(after <= first)).size:
        i = int(empty[0])
        raise InputError(
            f"Segment {i} ({moments.iloc[i, 0]!s} to {moments.iloc[i, 1]!s}) holds no row of the series, which runs "
            f"from {times.min()} to {times.max()}."
        )
    return first.astype(np.int64), (after - (end == "inclusive")).astype(np.int64)


def read_clusterings(source: Any) -> dict[str, Segments]:
    """The clusterings stacked in one degraded label file, by their description, in order of kind and number."""
    table = read_table(source)
    if "clustering_desc" not in table:
        raise InputError(
            "A stack of clusterings has the column 'clustering_desc'; read one with read_labels()."
        )
    clusterings = {str(name): read_labels(rows) for name, rows in table.groupby("clustering_desc")}
    return dict(sorted(clusterings.items(), key=lambda item: _kind_and_number(item[0])))


def as_segments(
    labels: Any,
    rows: int | None = None,
    *,
    end: End = "inclusive",
    names: Sequence[str] = (),
    data: Any = None,
) -> Segments:
    """Segments of whatever says them: Segments, a label table or file, or one label per row.

    Text labels are numbered in sorted order and keep their names; those in ``names`` have a number already.

    >>> segments = as_segments(["wake", "wake", "rem"], rows=3)
    >>> segments, segments.labels
    (Segments(start=array([0, 2]), end=array([2, 3]), cluster=array([1, 0])), ['wake', 'rem'])
    """
    if isinstance(labels, Segments):
        if names and labels.names:
            ids, known = _as_ids(np.array(labels.labels, dtype=object), names)
            labels = replace(labels, cluster=ids, names=known)
        return _of_length(labels, rows)
    if isinstance(labels, str | Path) or hasattr(labels, "columns"):
        table = read_table(labels)
        if _label_columns(table) is not None:
            return read_labels(table, end=end, rows=rows, names=names, data=data)
        named = [name for name in CLUSTER_NAMES if name in table]
        if not named and table.shape[1] != 1:
            raise InputError(
                "Labels are either one row per segment (start, end, cluster) or one label per row in a column "
                f"called cluster; the columns given are {', '.join(map(str, table.columns))}."
            )
        labels = table[named[0]] if named else table.iloc[:, 0]
    values = np.asarray(labels)
    if values.ndim != 1:
        raise InputError(f"Row labels have shape {values.shape}; one label per row is needed, shape (rows,).")
    return _of_length(Segments.from_row_labels(*_as_ids(values, names)), rows)


def as_the_truth(labels: Any, truth: Segments, rows: int | None = None) -> Segments:
    """As `as_segments`, with the truth's ids, for labels that are compared with it row by row.

    Raises
    ------
    InputError
        One of the two has names and the other numbers.
    """
    segments = as_segments(labels, rows, names=truth.names)
    if bool(segments.names) != bool(truth.names):
        raise InputError(
            f"The truth's clusters are called {_few(truth)}, those of the clustering {_few(segments)}; to be compared "
            "row by row both need the same labels. `evaluate` maps any labels to the truth's."
        )
    return segments


def _few(segments: Segments) -> str:
    called = [str(segments.called(k)) for k in np.unique(segments.cluster).tolist()]
    return ", ".join(called[:4]) + (", ..." if len(called) > 4 else "")


CLUSTER_NAMES = ("cluster_id", "cluster", "label", "labels")


def _label_columns(table: pd.DataFrame) -> tuple[str, str, str] | None:
    """Names of the start, end and cluster columns, or None where the table has none of them."""
    choices = (("start idx", "start_idx", "start"), ("end idx", "end_idx", "end"), CLUSTER_NAMES)
    columns = [next((name for name in names if name in table), None) for names in choices]
    return None if None in columns else tuple(columns)  # type: ignore[return-value]


def _check_cover(start: NDArray[np.int64], stop: NDArray[np.int64], end: End) -> None:
    """Segments must follow each other without gap or overlap, from row 0."""
    jumps = start - np.concatenate([[0], stop[:-1]])
    wrong = np.flatnonzero(jumps)
    if not len(wrong):
        return
    i, jump = int(wrong[0]), int(jumps[wrong[0]])
    what = (
        f"leaves a gap of {jump} rows before it" if jump > 0 else f"overlaps the one before by {-jump} rows"
    )
    other = "exclusive" if end == "inclusive" else "inclusive"
    one_off = set(jumps[1:].tolist()) <= {-1 if end == "inclusive" else 1}
    hint = f"Read the labels with end='{other}'" if one_off else "Sort the segments and close the gap"
    raise InputError(
        f"Segment {i} (rows {start[i]} to {stop[i] - 1}) {what}, with end='{end}'. {hint}, so that every row "
        "belongs to one segment."
    )


def _of_length(segments: Segments, rows: int | None) -> Segments:
    if rows is not None and segments.rows != rows:
        raise InputError(
            f"The labels cover {segments.rows} rows, the data have {rows}. Give the labels of this very series; "
            "if their end rows are exclusive, read them with end='exclusive'."
        )
    return segments


def _as_ids(cluster: NDArray[Any], names: Sequence[str] = ()) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Cluster ids as integers, and the names of text labels: ``names``, then the others in sorted order."""
    if cluster.dtype.kind in "iub":
        return cluster.astype(np.int64), ()
    if cluster.dtype.kind == "f":
        if not (np.abs(cluster) < 2.0**53).all() or not np.array_equal(cluster, np.trunc(cluster)):
            raise InputError("Cluster labels hold NaN or fractions; give one whole number or name for each.")
        return cluster.astype(np.int64), ()
    text = pd.Series(cluster, dtype=object)
    if text.isna().any():
        raise InputError(
            f"{int(text.isna().sum())} of {len(text)} cluster labels are missing (first: {int(text.isna().argmax())}); "
            "give one whole number or name for each."
        )
    text = text.astype(str)
    known = (*names, *sorted(set(text) - set(names)))
    return pd.Index(known).get_indexer(pd.Index(text)).astype(np.int64), known


def _kind_and_number(name: str) -> tuple[str, int]:
    kind, _, number = name.rpartition("-")
    return (kind, int(number)) if number.isdigit() else (name, 0)


def truncate(r: NDArray[np.float64], decimals: int | None) -> NDArray[np.float64]:
    """Cut toward zero; a value within rounding error of the next step counts as that step."""
    if decimals is None:
        return r
    steps = r * 10**decimals
    return np.trunc(steps + np.sign(steps) * 1e-8) / 10**decimals + 0.0


def refuse_undefined(
    data: NDArray[np.float64], segments: Segments, variates: Sequence[str], fewest: int = 3
) -> None:
    """Raise `InputError` where no segment has a correlation, with what to do that gives some of them one."""
    long = segments.lengths >= fewest
    if not long.any():
        raise InputError(
            f"No segment has a correlation: the longest of {len(segments)} has {segments.lengths.max()} rows, and "
            f"{fewest} are needed. Label longer segments."
        )
    pairs = zip(segments.start[long], segments.end[long], strict=True)
    constant = [tuple(np.flatnonzero(np.ptp(data[a:b], axis=0) == 0).tolist()) for a, b in pairs]
    if not all(constant):
        return
    enough = Counter(columns for columns in constant if len(variates) - len(columns) >= 2)
    if not enough:
        raise InputError(
            "No segment has a correlation: each is constant in all columns but one, or in all. Give other columns, or "
            "label longer segments."
        )
    # Of the sets of columns that can go, the smallest; of these the one that the most segments need.
    out = [variates[k] for k in min(enough, key=lambda columns: (len(columns), -enough[columns]))]
    it = "it" if len(out) == 1 else "them"
    mend = (
        f"Leave {it} out with drop_columns={out!r} (--drop-columns {','.join(out)}), in describe, evaluate or "
        "read_series."
    )
    named = f"{' and '.join(out)} {'is' if len(out) == 1 else 'are'} constant"
    if all(np.ptp(data[:, list(variates).index(name)]) == 0 for name in out):
        raise InputError(f"{named} everywhere, and so without a correlation to anything. {mend}")
    concerned = sum({variates[k] for k in columns} >= set(out) for columns in constant)
    raise InputError(
        f"No segment has a correlation: {named} in {concerned} of {len(segments)} segments. {mend}"
    )


def _why_undefined(data: NDArray[np.float64], segments: Segments, i: int) -> str:
    rows = data[segments.start[i] : segments.end[i]]
    where = f"Segment {i} (rows {segments.start[i]} to {segments.end[i] - 1})"
    mend = "Merge it with its neighbour, or leave it out with on_undefined='drop'."
    if len(rows) < 2:
        return f"{where} has one row; a correlation needs at least two. {mend}"
    if not np.isfinite(rows).all():
        return f"{where} holds NaN or infinite values; drop those rows first (dropna=True)."
    constant = np.flatnonzero(np.ptp(rows, axis=0) == 0)
    everywhere = [int(k) for k in constant if np.ptp(data[:, k]) == 0]
    if everywhere:
        mend = (
            f"So is the whole series; leave such columns out: data = np.delete(data, {everywhere}, axis=1)."
        )
    return f"{where} is constant in column {', '.join(map(str, constant))}, so its correlation is undefined. {mend}"
