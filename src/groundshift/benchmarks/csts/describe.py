"""Describe a segmented series of one's own: which correlations its segments have, and do the labels follow them?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from groundshift.benchmarks.csts.indices import GOOD_DBI, GOOD_SWC, dbi, swc
from groundshift.benchmarks.csts.input import read_series
from groundshift.benchmarks.csts.labels import (
    End,
    as_segments,
    cluster_correlations,
    refuse_undefined,
    segment_correlations,
    within_tolerance,
)
from groundshift.benchmarks.csts.plots import draw_labellings
from groundshift.errors import InputError
from groundshift.report import Report, Section
from groundshift.result import Result
from groundshift.shifts.sampling import keep_segments, select_rows
from groundshift.worlds.correlation_patterns import nearest
from groundshift.worlds.segments import Segments

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Description", "describe"]

ENOUGH_ROWS = 30  # about so many a segment needs
FEWEST_ROWS = 3
MANY_TIES = 0.1


@dataclass(frozen=True, repr=False)
class Description(Result):
    """How the segments of a series correlate, and how well the labels follow it.

    Attributes
    ----------
    rows : int
    variates : tuple of str
    segments : DataFrame
        One row per segment: where it lies, its correlations, the pattern nearest to them, its error.
    clusters : DataFrame
        One row per cluster: segments, rows, pattern, mean relaxed MAE.
    swc, dbi : float
        Silhouette width and Davies-Bouldin index in L5; NaN where undefined, and ``warnings`` says why.
    warnings, notes : list of str
    values, labelling : the series, shape (rows, n), and its segments, as they were described
    """

    rows: int
    variates: tuple[str, ...]
    segments: pd.DataFrame
    clusters: pd.DataFrame
    swc: float
    dbi: float
    warnings: list[str]
    notes: list[str]
    values: NDArray[np.float64] = field(compare=False)
    labelling: Segments = field(compare=False)

    @property
    def relaxed_mae(self) -> float:
        """Mean over segments of the distance to the pattern of their cluster."""
        return float(self.segments["relaxed MAE"].mean())

    def to_frame(self) -> pd.DataFrame:
        """One row per segment."""
        return self.segments

    def _content(self) -> dict[str, Any]:
        return {
            "rows": self.rows,
            "variates": self.variates,
            "swc": round(self.swc, 6),
            "dbi": round(self.dbi, 6),
            "relaxed_mae": round(self.relaxed_mae, 6),
            "warnings": self.warnings,
            "notes": self.notes,
            "clusters": self.clusters,
            "segments": self.segments,
        }

    def report(self) -> Report:
        """Whether the labels follow the correlations, for page, notebook and terminal."""
        good = self.swc > GOOD_SWC and self.dbi < GOOD_DBI
        rows, outside = self.segments["rows"], int((~self.segments["within tolerance"]).sum())
        headline = (
            f"The labelling {'meets' if good else 'is below'} the bar of a good correlation clustering."
        )
        if not np.isfinite(self.swc):
            headline = "SWC and DBI are undefined for this labelling."
        measures = Section(
            "measures", "How well do the labels follow the correlations?",
            f"{outside} of {len(self.segments)} segments are out of tolerance of the pattern of their cluster.",
            notes=tuple(self.notes),
            facts={
                f"SWC (higher is better; good above {GOOD_SWC})": self.swc,
                f"DBI (lower is better; good below {GOOD_DBI})": self.dbi,
                "relaxed MAE (to the pattern of each cluster)": self.relaxed_mae,
                "rows per segment": f"{rows.median():,.0f} (median), {rows.min():,} to {rows.max():,}",
            },
        )  # fmt: skip
        shown = self.clusters.sort_values("relaxed MAE", ascending=False, kind="stable").drop(
            columns="pattern"
        )
        clusters = Section(
            "clusters", "Which correlations do they have?", "Clusters that fit their pattern least come first.",
            tables={"Clusters": shown.rename(columns={"strong pairs": "pattern"})},
        )  # fmt: skip
        segments = Section("segments", "Segment by segment", tables={"Segments": self.segments}, folded=True)
        return Report(
            "csts", f"{len(self.segments)} segments in {len(self.clusters)} clusters", headline,
            lead=f"{self.rows:,} rows, {len(self.variates)} variates ({_some(list(self.variates), 8)}), "
            f"{len(self.segments)} segments in {len(self.clusters)} clusters.", tone="good" if good else "bad",
            warnings=self.warnings, figure=("The cluster of each row, and the series", self._draw),
            sections=(measures, clusters, segments),
        )  # fmt: skip

    def _draw(self, ax: Axes) -> None:
        draw_labellings(ax, {"clusters": self.labelling}, self.values)


def describe(
    data: Any,
    labels: Any,
    *,
    end: End = "inclusive",
    dropna: bool = False,
    on_undefined: Literal["raise", "drop"] = "raise",
    drop_columns: Sequence[str] = (),
) -> Description:
    """Describe how the segments of a series correlate, and how well the labels follow it.

    Parameters
    ----------
    data : array (rows, n), table, or path of a csv or parquet file
        Series: a column per variate, two or more. Time and id columns are recognised and left out.
    labels : label table or its path, one label per row, or Segments
        Labels: a row per segment (start, end, cluster), or a label per row.
    end : "inclusive", "exclusive" or "length"
        Whether the end row of a label belongs to its segment, or its length is given.
    dropna : bool
        Leave out rows with missing values; otherwise they are refused.
    on_undefined : "raise" or "drop"
        What to do with a segment that has no correlation: fewer than 3 rows, or a constant column.
    drop_columns : names
        Columns of the data to leave out, as dose,note; one that is constant everywhere must go.

    Returns
    -------
    Description
        A result with ``segments`` and ``clusters``.

    Raises
    ------
    InputError
        See `read_series` and `as_segments`; and for segments without a correlation.

    Examples
    --------
    >>> from groundshift.benchmarks.csts.generate import generate
    >>> subject = generate(subjects=1, segments=6, patterns=[0, 13], lengths=[200])[0]
    >>> description = describe(subject.array("nonnormal"), subject.segments)
    >>> description.clusters["strong pairs"].tolist()
    ['none', 'x1~x2 +, x1~x3 +, x2~x3 +']
    """
    missing: Literal["keep", "refuse"] = "keep" if dropna else "refuse"
    values, variates, notes = read_series(data, missing=missing, drop_columns=drop_columns)
    segments = as_segments(labels, len(values), end=end, data=data)
    warnings: list[str] = []
    if dropna:
        values, segments = _drop_missing(values, segments, notes)
    values, segments = _drop_undefined(values, segments, variates, on_undefined, warnings)

    achieved = segment_correlations(values, segments)
    ids, place = np.unique(segments.cluster, return_inverse=True)
    means = np.array([achieved[place == k].mean(axis=0) for k in range(len(ids))])
    canonical, relaxed = nearest(means)
    own, _ = nearest(achieved)
    error = np.abs(achieved - relaxed[place]).mean(axis=1)
    i, j = np.triu_indices(len(variates), 1)
    pairs = [f"{variates[a]}~{variates[b]}" for a, b in zip(i, j, strict=True)]
    table = pd.DataFrame(
        {
            "start idx": segments.start,
            "end idx": segments.end - 1,
            "rows": segments.lengths,
            "cluster": segments.labels,
            **{pair: achieved[:, k] for k, pair in enumerate(pairs)},
            "pattern": _symbols(own),
            "cluster pattern": _symbols(canonical[place]),
            "relaxed MAE": error.round(3),
            "within tolerance": within_tolerance(achieved, canonical[place]).all(axis=1),
        }
    )
    clusters = pd.DataFrame(
        {
            "cluster": [segments.called(k) for k in ids.tolist()],
            "segments": np.bincount(place),
            "rows": np.bincount(place, segments.lengths).astype(int),
            "relaxed MAE": (np.bincount(place, error) / np.bincount(place)).round(3),
            "pattern": _symbols(canonical),
            "strong pairs": [_strong_pairs(row, pairs) for row in canonical],
        }
    )
    indices = _indices(values, segments, achieved, warnings)
    warnings += _doubts(values, segments, variates, table)
    return Description(len(values), variates, table, clusters, *indices, warnings, notes, values, segments)


def _drop_missing(
    values: NDArray[np.float64], segments: Segments, notes: list[str]
) -> tuple[NDArray[np.float64], Segments]:
    whole = np.flatnonzero(np.isfinite(values).all(axis=1))
    lost = len(values) - len(whole)
    if not lost:
        return values, segments
    rows, left = select_rows(segments, whole)
    notes.append(
        f"{lost:,} rows with missing values were left out"
        + (
            f", and with them {len(segments) - len(left)} whole segments."
            if len(left) < len(segments)
            else "."
        )
    )
    return values[rows], left


def _drop_undefined(
    values: NDArray[np.float64],
    segments: Segments,
    variates: tuple[str, ...],
    on_undefined: str,
    warnings: list[str],
) -> tuple[NDArray[np.float64], Segments]:
    """Without the segments that have no correlation; an error unless the user asked to drop them."""
    reasons: dict[int, str] = {}
    for s, (a, b) in enumerate(zip(segments.start, segments.end, strict=True)):
        constant = [variates[k] for k in np.flatnonzero(np.ptp(values[a:b], axis=0) == 0)]
        if b - a < FEWEST_ROWS:
            reasons[s] = f"has {b - a} rows, fewer than {FEWEST_ROWS}"
        elif constant:
            reasons[s] = f"is constant in {', '.join(constant)}"
    if not reasons:
        return values, segments
    refuse_undefined(values, segments, variates, FEWEST_ROWS)
    first, reason = next(iter(reasons.items()))
    where = f"Segment {first} (rows {segments.start[first]} to {segments.end[first] - 1}) {reason}"
    if on_undefined == "raise":
        raise InputError(
            f"{where}, so its correlation is undefined ({len(reasons)} of {len(segments)} segments). Merge it with "
            "its neighbour, or leave such segments out with on_undefined='drop' (--on-undefined drop)."
        )
    warnings.append(
        f"{len(reasons)} of {len(segments)} segments have no correlation and were left out: {where.lower()}."
    )
    rows, left = keep_segments(segments, [s for s in range(len(segments)) if s not in reasons])
    return values[rows], left


def _indices(
    values: NDArray[np.float64], segments: Segments, achieved: NDArray[np.float64], warnings: list[str]
) -> tuple[float, float]:
    """SWC and DBI, or NaN with a warning that says why they are undefined."""
    try:
        _, centroids = cluster_correlations(values, segments)
        return float(swc(achieved, segments.cluster)), float(dbi(achieved, segments.cluster, centroids))
    except InputError as error:
        warnings.append(str(error))
        return float("nan"), float("nan")


def _doubts(
    values: NDArray[np.float64], segments: Segments, variates: tuple[str, ...], table: pd.DataFrame
) -> list[str]:
    doubts = []
    short = int((segments.lengths < ENOUGH_ROWS).sum())
    if short:
        doubts.append(
            f"{short} of {len(segments)} segments have fewer than {ENOUGH_ROWS} rows; a correlation of so few is "
            "noise, and no clustering can score well on it."
        )
    for name, column in zip(variates, values.T, strict=True):
        _, counts = np.unique(column, return_counts=True)
        tied = (counts * (counts - 1.0)).sum() / (len(column) * (len(column) - 1.0))
        if tied > MANY_TIES:
            doubts.append(
                f"{name} has many ties ({tied:.0%} of all pairs of rows; {len(counts):,} different values), which "
                "weakens rank correlations."
            )
    nearer = int((table["pattern"] != table["cluster pattern"]).sum())
    if nearer:
        doubts.append(
            f"{nearer} of {len(table)} segments are nearer to another pattern than to that of their cluster (columns "
            "pattern, cluster pattern)."
        )
    return doubts


def _symbols(canonical: NDArray[np.int64]) -> list[str]:
    """Patterns in signs, one per pair of variates: "0+-"."""
    return ["".join("0+-"[value] for value in row) for row in canonical.tolist()]


def _strong_pairs(canonical: NDArray[np.int64], pairs: list[str]) -> str:
    strong = [
        f"{pair} {'+' if value > 0 else '-'}" for pair, value in zip(pairs, canonical, strict=True) if value
    ]
    return _some(strong, 6) or "none"


def _some(items: list[str], most: int) -> str:
    return ", ".join(items[:most]) + (f", and {len(items) - most} more" if len(items) > most else "")
