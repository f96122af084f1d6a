"""How well did an algorithm find the structure? The benchmark's protocol (arXiv:2505.14596, evaluation).

Labels per row become segments (runs of equal labels). Each result cluster is mapped to the true cluster whose
mean correlation is nearest; then rows are compared, patterns counted, and the indices taken.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from groundshift.benchmarks.csts.distances import distance as distance_called
from groundshift.benchmarks.csts.indices import dbi, jaccard, swc
from groundshift.benchmarks.csts.input import read_series
from groundshift.benchmarks.csts.labels import (
    End,
    as_segments,
    cluster_correlations,
    correlations,
    refuse_undefined,
)
from groundshift.benchmarks.csts.plots import draw_labellings
from groundshift.errors import InputError
from groundshift.report import Report, Section
from groundshift.result import Result
from groundshift.shifts.sampling import select_rows
from groundshift.worlds.correlation_patterns import Pattern, nearest, patterns
from groundshift.worlds.segments import Segments

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Evaluation", "evaluate", "evaluate_protocol"]

FEWEST_ROWS = 3
"""Fewer rows have no correlation."""
OFFICIAL_TOLERANCE = 1 + 0.1
"""The benchmark's code compares errors of correlations with 1 + 0.1 rather than 0.1, so that nearly every
pattern counts as discovered."""

Tolerance = float | Literal["official"]
Array = NDArray[np.float64]


@dataclass(frozen=True, repr=False)
class Evaluation(Result):
    """How well a clustering finds the structure. Fields that need the truth are None without it.

    What begins with ``truth_`` is the truth, scored as if it were a result: the best that this measure gives on these
    data.

    Attributes
    ----------
    segments, clusters, truth_segments, truth_clusters : how many there are.
    swc, dbi, truth_swc, truth_dbi : validity indices; NaN where undefined, and ``notes`` says why. Each is over the
        segments that have a correlation.
    rows, truth_rows : share of the rows that lie in segments with a correlation.
    jaccard : share of rows in the right cluster after mapping.
    pattern_discovery : share of true patterns that some result cluster reaches within tolerance.
    pattern_specificity : share of result clusters that map to one true pattern, alone and within tolerance.
    segmentation_ratio, length_ratio : result over truth: number of segments, median length.
    relaxed_mae : mean over clusters of the error of their correlations to the relaxed pattern of the true cluster that
        they map to.
    same_rows : where some rows lie in no segment with a correlation, be it the result's or the truth's: SWC, DBI and
        relaxed MAE of both on the rows that both score (``rows``, ``swc``, ``truth_swc``, ...); `to_frame` shows these.
    mapping : true clusters nearest to each result cluster; the first is used where several tie.
    undiscovered : true clusters that no result cluster reaches.
    values, labellings : the series, shape (rows, n), and the segments of result and truth
    """

    segments: int
    clusters: int
    swc: float
    dbi: float
    rows: float = 1.0
    truth_segments: int | None = None
    truth_clusters: int | None = None
    truth_swc: float | None = None
    truth_dbi: float | None = None
    truth_rows: float | None = None
    jaccard: float | None = None
    truth_jaccard: float | None = None
    pattern_discovery: float | None = None
    truth_pattern_discovery: float | None = None
    pattern_specificity: float | None = None
    truth_pattern_specificity: float | None = None
    segmentation_ratio: float | None = None
    length_ratio: float | None = None
    relaxed_mae: float | None = None
    truth_relaxed_mae: float | None = None
    same_rows: dict[str, float] = field(default_factory=dict)
    mapping: dict[int | str, tuple[int | str, ...]] = field(default_factory=dict)
    undiscovered: tuple[int | str, ...] = ()
    notes: tuple[str, ...] = ()
    values: Array | None = field(default=None, compare=False)
    labellings: dict[str, Segments] = field(default_factory=dict, compare=False)

    def to_frame(self) -> pd.DataFrame:
        """One row per number: what it is, the result's, the truth's, measured alike and on the same rows."""
        same, on = self.same_rows, ""
        if same:
            on = f", {same['rows']:.0%} of rows"

        def both(name: str) -> tuple[float | None, float | None]:
            if same:
                return same[name], same[f"truth_{name}"]
            return getattr(self, name), getattr(self, f"truth_{name}")

        rows = [
            ("segments", self.segments, self.truth_segments),
            ("clusters", self.clusters, self.truth_clusters),
            (f"SWC (higher is better){on}", *both("swc")),
            (f"DBI (lower is better){on}", *both("dbi")),
            ("Jaccard after mapping", self.jaccard, self.truth_jaccard),
            ("pattern discovery", self.pattern_discovery, self.truth_pattern_discovery),
            ("pattern specificity", self.pattern_specificity, self.truth_pattern_specificity),
            ("segments, ratio to truth", self.segmentation_ratio, 1.0),
            ("median length, ratio to truth", self.length_ratio, 1.0),
            (f"relaxed MAE, cluster means{on}", *both("relaxed_mae")),
        ]
        if self.rows < 1 or (self.truth_rows or 1) < 1:
            rows.insert(2, ("rows that have a correlation", self.rows, self.truth_rows))
        known = rows if self.jaccard is not None else [row for row in rows if row[1] is not None]
        return pd.DataFrame(known, columns=["what", "result", "truth"])

    def numbers(self) -> dict[str, Any]:
        """Everything but the series and its labels, by the name of its field."""
        left_out = ("values", "labellings")
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name not in left_out}

    def _content(self) -> dict[str, Any]:
        return self.numbers()

    def report(self) -> Report:
        """How well the structure was found, for page, notebook and terminal."""
        headline = f"The clustering has an SWC of {self.swc:.3f} and a DBI of {self.dbi:.3f}."
        if self.jaccard is not None:
            headline = f"{self.jaccard:.1%} of the rows are in the right cluster."
        undiscovered = ", ".join(map(str, self.undiscovered))
        scores = Section(
            "scores", "How good is it?",
            "The truth, scored as if it were a result, is the best that a measure gives on these data."
            if self.jaccard is not None else "",
            facts={"undiscovered true clusters": undiscovered} if undiscovered else {},
            tables={"Scores": self.to_frame()},
        )  # fmt: skip
        return Report(
            "csts", f"{self.segments} segments in {self.clusters} clusters", headline, warnings=self.notes,
            figure=("The cluster of each row, and the series", self._draw), sections=(scores,),
        )  # fmt: skip

    def _draw(self, ax: Axes) -> None:
        if self.values is not None:
            draw_labellings(ax, self.labellings, self.values)


def evaluate(
    algorithm_or_labels: Any,
    data: Any,
    truth: Any = None,
    *,
    distance: str = "L5",
    map_distance: str = "L1",
    tolerance: Tolerance = 0.1,
    end: End = "inclusive",
    drop_columns: Sequence[str] = (),
) -> Evaluation:
    """How good is my clustering: indices, and, with the truth, how much of its correlation structure was found.

    Parameters
    ----------
    algorithm_or_labels : callable array -> labels, object with fit_predict or fit and predict, or labels
        Labels: a row per segment (start, end, cluster), or a label per row. In Python also an algorithm.
    data : array of shape (rows, n), table, or path of a csv or parquet file
        Series, a column per variate.
    truth : Segments, label table or file, or one label per row, optional
        The true labels, in either form; without them only the indices are given.
    distance : name
        Distance of the indices.
    map_distance : name
        Distance of the mapping to true clusters.
    tolerance : float or "official"
        A pattern is reached when no entry of the cluster's mean correlation differs from the true cluster's by more
        than this. "official" compares with 1.1, as the published figures do.
    end : "inclusive", "exclusive" or "length"
        Whether the end row of a label belongs to its segment, or its length is given.
    drop_columns : names
        Columns of the data to leave out, as dose,note.

    Raises
    ------
    InputError
        Labels that do not fit the data, NaN, no segment with a correlation (a column that is constant everywhere).

    Examples
    --------
    >>> from groundshift.benchmarks import csts
    >>> world = csts.generate(subjects=1, segments=6, patterns=[0, 13, 25], lengths=[200], stage="correlated")
    >>> subject = world[0]
    >>> evaluate(subject.segments, subject.array("correlated"), truth=subject.segments).jaccard
    1.0
    """
    values, variates, _ = read_series(data, drop_columns=drop_columns)
    for name in (distance, map_distance):
        distance_called(name)  # a wrong name is refused before an algorithm runs
    allowed = OFFICIAL_TOLERANCE if tolerance == "official" else _tolerance(tolerance)
    true = None if truth is None else as_segments(truth, rows=len(values), end=end, data=data)
    if true is not None:
        refuse_undefined(values, true, variates, FEWEST_ROWS)
    result = _labels_of(algorithm_or_labels, values, end, data)
    refuse_undefined(values, result, variates, FEWEST_ROWS)
    result_side = _Side(values, result, distance)
    common: dict[str, Any] = {
        "segments": len(result), "clusters": len(np.unique(result.cluster)), "swc": result_side.swc,
        "dbi": result_side.dbi, "rows": result_side.share, "values": values, "labellings": {"result": result},
    }  # fmt: skip
    if true is None:
        return Evaluation(**common, notes=tuple(result_side.notes))
    best = _Side(values, true, distance)
    common["labellings"] = {"truth": true, "result": result}
    mapped, ideal = (_mapped(side, best, map_distance, allowed) for side in (result_side, best))
    notes = [*result_side.notes, *(f"Truth: {note}" for note in best.notes), *best.doubts()]
    same: dict[str, float] = {}
    if result_side.share < 1 or best.share < 1:
        same = _on_the_same_rows(values, result, true, distance, map_distance, allowed, notes)
    return Evaluation(
        **common,
        truth_segments=len(true),
        truth_clusters=len(np.unique(true.cluster)),
        truth_swc=best.swc,
        truth_dbi=best.dbi,
        truth_rows=best.share,
        jaccard=mapped.jaccard,
        truth_jaccard=ideal.jaccard,
        pattern_discovery=mapped.discovery,
        truth_pattern_discovery=ideal.discovery,
        pattern_specificity=mapped.specificity,
        truth_pattern_specificity=ideal.specificity,
        segmentation_ratio=len(result) / len(true),
        length_ratio=float(np.median(result.lengths) / np.median(true.lengths)),
        relaxed_mae=mapped.relaxed_mae,
        truth_relaxed_mae=ideal.relaxed_mae,
        same_rows=same,
        mapping=mapped.mapping,
        undiscovered=mapped.undiscovered,
        notes=tuple(dict.fromkeys(notes)),
    )


class _Mapped(NamedTuple):
    """What a labelling has of the truth, once each of its clusters is mapped to the nearest true one."""

    jaccard: float
    discovery: float
    specificity: float
    relaxed_mae: float
    mapping: dict[int | str, tuple[int | str, ...]]
    undiscovered: tuple[int | str, ...]


def _mapped(side: _Side, true: _Side, map_distance: str, allowed: float) -> _Mapped:
    D = distance_called(map_distance)(side.means, true.means)
    ties = [np.flatnonzero(np.isclose(row, row.min(), atol=1e-9)) for row in D]
    first = np.array([tie[0] for tie in ties])
    reaches = np.abs(side.means[:, None] - true.means[None]).max(axis=2) <= allowed
    discovered = reaches[np.arange(len(first)), first]
    reached = set(first[discovered].tolist())
    alone = np.bincount(first, minlength=len(true.ids))[first] == 1
    specific = discovered & alone & np.array([len(tie) == 1 for tie in ties])

    # Rows of clusters without any correlation keep an id that no true cluster has.
    to_true = {int(k): int(true.ids[i]) for k, i in zip(side.ids, first, strict=True)}
    s, total = side.segments, true.segments.rows
    clusters = np.array([to_true.get(int(k), -2) for k in s.cluster])
    return _Mapped(
        jaccard=jaccard(
            Segments(s.start, s.end, clusters).row_labels(total), true.segments.row_labels(total)
        ),
        discovery=len(reached) / len(true.ids),
        specificity=float(specific.mean()),
        relaxed_mae=float(np.abs(side.means - true.relaxed[first]).mean()),
        mapping={
            s.called(k): tuple(true.segments.called(int(true.ids[i])) for i in tie)
            for k, tie in zip(side.ids.tolist(), ties, strict=True)
        },
        undiscovered=tuple(
            true.segments.called(k) for i, k in enumerate(true.ids.tolist()) if i not in reached
        ),
    )


def _on_the_same_rows(
    values: Array,
    result: Segments,
    true: Segments,
    distance: str,
    map_distance: str,
    allowed: float,
    notes: list[str],
) -> dict[str, float]:
    """SWC, DBI and relaxed MAE of both sides on the rows that both score; NaN where there are none such."""
    names = ("swc", "dbi", "relaxed_mae")
    part = values
    try:
        while not (scored := _scored_rows(part, result) & _scored_rows(part, true)).all():
            rows = np.flatnonzero(scored)
            part, result, true = part[rows], select_rows(result, rows)[1], select_rows(true, rows)[1]
        result_side, best = (_Side(part, side, distance) for side in (result, true))
    except InputError:
        notes.append("Result and truth score no rows in common: nothing compares them.")
        return {"rows": 0.0} | {f"{side}{name}": float("nan") for name in names for side in ("", "truth_")}
    both = {"": result_side, "truth_": best}
    numbers: dict[str, float] = {"rows": len(part) / len(values)}
    for prefix, side in both.items():
        numbers |= {f"{prefix}swc": side.swc, f"{prefix}dbi": side.dbi}
        numbers[f"{prefix}relaxed_mae"] = _mapped(side, best, map_distance, allowed).relaxed_mae
    return numbers


def evaluate_protocol(
    algorithm: Any, subjects: Sequence[Any], *, stage: str, fit_on: int = 0, **options: Any
) -> pd.DataFrame:
    """Fit on one subject, predict on the others: the benchmark's protocol; one row per subject.

    Parameters
    ----------
    algorithm : object with fit and predict
    subjects : subjects of a world, see `generate` and `load`
    stage : which of their stages
    fit_on : place of the subject to fit on
    options : of `evaluate`
    """
    if not hasattr(algorithm, "fit") or not hasattr(algorithm, "predict"):
        raise InputError(
            f"A {type(algorithm).__name__} was given; the protocol needs an object with fit and predict. For a "
            "function, call evaluate() on each subject."
        )
    subjects = list(subjects)
    if not 0 <= fit_on < len(subjects):
        raise InputError(f"fit_on={fit_on} was given for {len(subjects)} subjects; it is a place from 0.")
    algorithm.fit(subjects[fit_on].array(stage))
    rows = {}
    for place, subject in enumerate(subjects):
        data = subject.array(stage)
        scored = evaluate(np.asarray(algorithm.predict(data)), data, subject.segments, **options).numbers()
        numbers = {name: value for name, value in scored.items() if isinstance(value, int | float)}
        rows[subject.name] = {"fitted": place == fit_on, **numbers}
    return pd.DataFrame.from_dict(rows, orient="index")


class _Side:
    """One labelling of the series, result or truth: its clusters, their correlations, their indices."""

    def __init__(self, data: Array, segments: Segments, distance: str) -> None:
        self.segments = segments
        self.notes: list[str] = []
        A = _segment_correlations(data, segments)
        defined = np.asarray(np.isfinite(A).all(axis=1))
        lost = int(segments.lengths[~defined].sum())
        self.share = 1 - lost / len(data)
        if lost:
            self.notes.append(
                f"{(~defined).sum()} of {len(segments)} segments ({lost:,} rows) have fewer than {FEWEST_ROWS} rows or "
                "a constant column; they count as rows, not as correlations."
            )
        cluster = segments.cluster[defined]
        self.ids = np.unique(cluster)
        self.means = np.array([A[defined][cluster == k].mean(axis=0) for k in self.ids])
        self.swc, self.dbi = self._indices(data, A[defined], defined, distance)

    def _indices(
        self, data: Array, A: Array, defined: NDArray[np.bool_], distance: str
    ) -> tuple[float, float]:
        s = self.segments
        defined_segments = Segments(s.start[defined], s.end[defined], s.cluster[defined])
        try:
            _, centroids = cluster_correlations(data, defined_segments)
            return swc(A, defined_segments.cluster, distance), dbi(
                A, defined_segments.cluster, centroids, distance
            )
        except InputError as error:
            self.notes.append(f"SWC and DBI are undefined: {error}")
            return float("nan"), float("nan")

    @property
    def relaxed(self) -> Array:
        """What data can reach: the pattern that the id names, else the one nearest to the cluster's mean."""
        known = self._patterns()
        return np.array([known[k].relaxed for k in self.ids.tolist()]) if known else nearest(self.means)[1]

    def doubts(self) -> list[str]:
        """A word where ids name patterns that the data do not show."""
        if not self._patterns():
            return []
        far = (np.abs(self.relaxed - nearest(self.means)[1]).max(axis=1) > 0).sum()
        if far <= len(self.ids) / 2:
            return []
        return [
            f"Truth: ids are taken for the benchmark's patterns, and {far} of {len(self.ids)} clusters are nearer to "
            "another pattern; if the ids are numbers of your own, name the clusters (text labels), or relaxed MAE is "
            "against patterns that are not meant."
        ]

    def _patterns(self) -> dict[int, Pattern]:
        """The benchmark's patterns, if the ids can be theirs; names never are."""
        known = patterns() if self.means.shape[1] == 3 and not self.segments.names else {}
        return known if all(k in known for k in self.ids.tolist()) else {}


def _segment_correlations(data: Array, segments: Segments) -> Array:
    """Exact Spearman correlations (segments, q), NaN for fewer than 3 rows or a constant column."""
    n = data.shape[1]
    none = np.full(n * (n - 1) // 2, np.nan)
    pairs = zip(segments.start, segments.end, strict=True)
    return np.array([correlations(data[a:b]) if b - a >= FEWEST_ROWS else none for a, b in pairs])


def _scored_rows(data: Array, segments: Segments) -> NDArray[np.bool_]:
    """Which rows lie in segments that have a correlation, shape (rows,)."""
    return np.repeat(np.isfinite(_segment_correlations(data, segments)).all(axis=1), segments.lengths)


def _tolerance(tolerance: Any) -> float:
    try:
        return float(tolerance)
    except (TypeError, ValueError):
        raise InputError(f"tolerance {tolerance!r} was given; it is a number, or 'official'.") from None


def _labels_of(given: Any, data: Array, end: End, source: Any) -> Segments:
    """Run an algorithm, or read labels; either way segments that cover the data."""
    if isinstance(given, Segments | str | Path | pd.DataFrame | pd.Series) or hasattr(given, "to_pandas"):
        return as_segments(given, rows=len(data), end=end, data=source)
    if hasattr(given, "fit_predict"):
        labels = given.fit_predict(data)
    elif hasattr(given, "fit") and hasattr(given, "predict"):
        labels = given.fit(data).predict(data)
    elif callable(given):
        labels = given(data)
    elif isinstance(given, Iterable):
        labels = given
    else:
        raise InputError(
            f"A {type(given).__name__} was given; give a function of an array, an object with fit and predict, or "
            "labels (one per row, or a table of segments)."
        )
    return as_segments(np.asarray(labels), rows=len(data))
