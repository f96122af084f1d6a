"""How well did an algorithm find the structure? The benchmark's protocol (arXiv:2505.14596, evaluation).

Labels per row become segments (runs of equal labels). Each result cluster is mapped to the true cluster whose
mean correlation is nearest; then rows are compared, patterns counted, and the indices taken.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from groundshift.benchmarks.csts.distances import distance as distance_called
from groundshift.benchmarks.csts.indices import dbi, jaccard, swc
from groundshift.benchmarks.csts.input import read_series
from groundshift.benchmarks.csts.labels import as_segments, cluster_correlations, correlations
from groundshift.errors import InputError
from groundshift.worlds.correlation_patterns import nearest, patterns
from groundshift.worlds.segments import Segments

__all__ = ["Evaluation", "evaluate", "evaluate_protocol"]

OFFICIAL_TOLERANCE = 1 + 0.1
"""The benchmark's code compares errors of correlations with 1 + 0.1 rather than 0.1, so that nearly every
pattern counts as discovered."""

Tolerance = float | Literal["official"]
Array = NDArray[np.float64]


@dataclass(frozen=True, repr=False)
class Evaluation:
    """What an algorithm found. Fields that need the truth are None without it.

    Attributes
    ----------
    segments, clusters : how many there are in the result.
    swc, dbi : validity indices of the result; NaN where undefined, and ``notes`` says why.
    truth_swc, truth_dbi : the same for the truth: what the data allow at best.
    jaccard : share of rows in the right cluster after mapping.
    pattern_discovery : share of true patterns that some result cluster reaches within tolerance.
    pattern_specificity : share of result clusters that map to one true pattern, alone and within tolerance.
    segmentation_ratio, length_ratio : result over truth: number of segments, median length.
    mapping : true clusters nearest to each result cluster; the first is used where several tie.
    undiscovered : true clusters that no result cluster reaches.
    relaxed_mae, truth_relaxed_mae : mean error of mapped clusters to the relaxed pattern, and the truth's own.
    """

    segments: int
    clusters: int
    swc: float
    dbi: float
    truth_swc: float | None = None
    truth_dbi: float | None = None
    jaccard: float | None = None
    pattern_discovery: float | None = None
    pattern_specificity: float | None = None
    segmentation_ratio: float | None = None
    length_ratio: float | None = None
    relaxed_mae: float | None = None
    truth_relaxed_mae: float | None = None
    mapping: dict[int, tuple[int, ...]] = field(default_factory=dict)
    undiscovered: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()

    def table(self) -> pd.DataFrame:
        """One row per number: what it is, the result's, the truth's."""
        rows = [
            ("segments", self.segments, None),
            ("clusters", self.clusters, None),
            ("SWC (higher is better)", self.swc, self.truth_swc),
            ("DBI (lower is better)", self.dbi, self.truth_dbi),
            ("Jaccard after mapping", self.jaccard, 1.0),
            ("pattern discovery", self.pattern_discovery, 1.0),
            ("pattern specificity", self.pattern_specificity, 1.0),
            ("segments, ratio to truth", self.segmentation_ratio, 1.0),
            ("median length, ratio to truth", self.length_ratio, 1.0),
            ("relaxed MAE", self.relaxed_mae, self.truth_relaxed_mae),
        ]
        known = rows if self.jaccard is not None else rows[:4]
        return pd.DataFrame(known, columns=["what", "result", "truth"])

    def to_json(self) -> str:
        """Everything, as one JSON object; undefined numbers are null."""
        content = {
            k: None if isinstance(v, float) and not np.isfinite(v) else v for k, v in asdict(self).items()
        }
        return json.dumps(content, indent=1)

    def __repr__(self) -> str:
        def shown(value: Any) -> str:
            if value is None or value != value:
                return "–"
            return (
                f"{value:.3f}" if isinstance(value, float) and not float(value).is_integer() else f"{value:g}"
            )

        table = self.table()
        lines = [f"{w:31} {shown(r):>8} {shown(t):>8}" for w, r, t in table.itertuples(index=False)]
        lines.insert(0, f"{'':31} {'result':>8} {'truth':>8}")
        if self.undiscovered:
            lines.append(f"undiscovered true clusters: {', '.join(map(str, self.undiscovered))}")
        return "\n".join([*lines, *(f"! {note}" for note in self.notes)])


def evaluate(
    algorithm_or_labels: Any,
    data: Any,
    truth: Any = None,
    *,
    distance: str = "L5",
    map_distance: str = "L1",
    tolerance: Tolerance = 0.1,
) -> Evaluation:
    """Evaluate a clustering of a multivariate series by the correlation structure it found.

    Parameters
    ----------
    algorithm_or_labels : callable array -> labels, object with fit_predict or fit and predict, or labels
        Labels are one integer per row, `Segments`, or a table or file of either form.
    data : array of shape (rows, n), table, or path of a csv or parquet file
    truth : Segments, label table or file, or one label per row, optional
        Without it only the indices are given.
    distance, map_distance : names of distances
        For the indices and for the mapping.
    tolerance : float or "official"
        A pattern is reached when no entry of the cluster's mean correlation differs from the true cluster's by
        more than this. "official" compares with 1.1, as the published figures do.

    Raises
    ------
    InputError
        Labels that do not fit the data, NaN, a constant column in all of a cluster's segments.

    Examples
    --------
    >>> from groundshift.benchmarks import csts
    >>> world = csts.generate(subjects=1, segments=6, patterns=[0, 13, 25], lengths=[200], stage="correlated")
    >>> subject = world[0]
    >>> evaluate(subject.segments, subject.array("correlated"), truth=subject.segments).jaccard
    1.0
    """
    values, _, _ = read_series(data)
    for name in (distance, map_distance):
        distance_called(name)  # a wrong name is refused before an algorithm runs
    result = _labels_of(algorithm_or_labels, values)
    found = _Side(values, result, distance)
    common: dict[str, Any] = {
        "segments": len(result), "clusters": len(found.ids), "swc": found.swc, "dbi": found.dbi
    }  # fmt: skip
    if truth is None:
        return Evaluation(**common, notes=tuple(found.notes))
    true = _Side(values, as_segments(truth, rows=len(values)), distance)
    allowed = OFFICIAL_TOLERANCE if tolerance == "official" else float(tolerance)

    D = distance_called(map_distance)(found.means, true.means)
    ties = [np.flatnonzero(np.isclose(row, row.min(), atol=1e-9)) for row in D]
    first = np.array([tie[0] for tie in ties])
    reaches = np.abs(found.means[:, None] - true.means[None]).max(axis=2) <= allowed
    discovered = reaches[np.arange(len(first)), first]
    reached = set(first[discovered].tolist())
    alone = np.bincount(first, minlength=len(true.ids))[first] == 1
    specific = discovered & alone & np.array([len(tie) == 1 for tie in ties])

    # Rows of clusters without any correlation keep an id that no true cluster has.
    to_true = {int(k): int(true.ids[i]) for k, i in zip(found.ids, first, strict=True)}
    mapped = np.array([to_true.get(int(k), -2) for k in result.cluster])
    rows = Segments(result.start, result.end, mapped).row_labels(len(values))
    relaxed = true.relaxed
    return Evaluation(
        **common,
        truth_swc=true.swc,
        truth_dbi=true.dbi,
        jaccard=jaccard(rows, true.segments.row_labels(len(values))),
        pattern_discovery=len(reached) / len(true.ids),
        pattern_specificity=float(specific.mean()),
        segmentation_ratio=len(result) / len(true.segments),
        length_ratio=float(np.median(result.lengths) / np.median(true.segments.lengths)),
        relaxed_mae=float(np.abs(found.means - relaxed[first]).mean()),
        truth_relaxed_mae=float(np.abs(true.means - relaxed).mean()),
        mapping={int(k): tuple(true.ids[tie].tolist()) for k, tie in zip(found.ids, ties, strict=True)},
        undiscovered=tuple(int(k) for i, k in enumerate(true.ids) if i not in reached),
        notes=tuple(dict.fromkeys([*found.notes, *(f"Truth: {note}" for note in true.notes)])),
    )


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
        scored = asdict(evaluate(np.asarray(algorithm.predict(data)), data, subject.segments, **options))
        numbers = {name: value for name, value in scored.items() if isinstance(value, int | float)}
        rows[subject.name] = {"fitted": place == fit_on, **numbers}
    return pd.DataFrame.from_dict(rows, orient="index")


class _Side:
    """One labelling of the series, result or truth: its clusters, their correlations, their indices."""

    def __init__(self, data: Array, segments: Segments, distance: str) -> None:
        self.segments = segments
        self.notes: list[str] = []
        A = np.array([_correlation(data[a:b]) for a, b in zip(segments.start, segments.end, strict=True)])
        defined = np.isfinite(A).all(axis=1)
        if not defined.any():
            raise InputError(
                "No segment has a correlation: each has fewer than 3 rows or a constant column. Label longer segments."
            )
        if not defined.all():
            lost = int(segments.lengths[~defined].sum())
            self.notes.append(
                f"{(~defined).sum()} of {len(segments)} segments ({lost:,} rows) have fewer than 3 rows or a "
                "constant column; they count as rows, not as correlations."
            )
        cluster = segments.cluster[defined]
        self.ids = np.unique(cluster)
        self.means = np.array([A[defined][cluster == k].mean(axis=0) for k in self.ids])
        self.swc, self.dbi = self._indices(data, A[defined], defined, distance)

    def _indices(
        self, data: Array, A: Array, defined: NDArray[np.bool_], distance: str
    ) -> tuple[float, float]:
        s = self.segments
        chosen = Segments(s.start[defined], s.end[defined], s.cluster[defined])
        try:
            _, centroids = cluster_correlations(data, chosen)
            return swc(A, chosen.cluster, distance), dbi(A, chosen.cluster, centroids, distance)
        except InputError as error:
            self.notes.append(f"SWC and DBI are undefined: {error}")
            return float("nan"), float("nan")

    @property
    def relaxed(self) -> Array:
        """What data can reach: the pattern that the id names, else the one nearest to the cluster's mean."""
        n_entries = self.means.shape[1]
        known = patterns() if n_entries == 3 else {}
        if all(int(k) in known for k in self.ids):
            return np.array([known[int(k)].relaxed for k in self.ids])
        return nearest(self.means)[1]


def _correlation(rows: Array) -> Array:
    """Exact Spearman correlations, NaN for fewer than 3 rows or a constant column."""
    if len(rows) < 3:
        n = rows.shape[1]
        return np.full(n * (n - 1) // 2, np.nan)
    return correlations(rows)


def _labels_of(given: Any, data: Array) -> Segments:
    """Run an algorithm, or read labels; either way segments that cover the data."""
    if isinstance(given, Segments | str | Path | pd.DataFrame | pd.Series) or hasattr(given, "to_pandas"):
        return as_segments(given, rows=len(data))
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
