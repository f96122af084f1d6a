"""Validity indices of a clustering of segments by their correlation (arXiv:2505.14596, validity indices).

The points are segments, each a correlation vector A_i (N, q); ``cluster`` (N,) names their cluster. Two kinds
of centroids must not be confused: the indices use the correlation of *all rows* of a cluster put end to end
(`labels.cluster_correlations`), the mapping of an evaluation uses the mean of its segments' correlations.

A good correlation clustering has SWC above 0.9 and DBI below 0.15. SWC and DBI are valid for this kind of
structure; VRC and PBM are not (arXiv:2507.16497).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import silhouette_score

from groundshift.benchmarks.csts.degrade import degradations
from groundshift.benchmarks.csts.distances import distance as distance_called
from groundshift.benchmarks.csts.input import read_series
from groundshift.benchmarks.csts.labels import End, as_segments, as_the_truth, refuse_undefined, truncate
from groundshift.errors import InputError
from groundshift.report import Report, Section
from groundshift.result import Result
from groundshift.worlds.segments import Segments

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "GOOD_DBI",
    "GOOD_SWC",
    "IndexScores",
    "dbi",
    "index_scores",
    "jaccard",
    "pbm",
    "score_clusterings",
    "swc",
    "vrc",
]

GOOD_SWC, GOOD_DBI = 0.9, 0.15
Array = NDArray[np.float64]


def swc(A: ArrayLike, cluster: ArrayLike, distance: str = "L5") -> float:
    """Silhouette width criterion of segments, in [-1, 1]; higher is better.

    Parameters
    ----------
    A : correlations of the segments, shape (N, q)
    cluster : cluster id of each, shape (N,); 2 to N - 1 different ones
    distance : see `groundshift.benchmarks.csts.distances`

    Examples
    --------
    >>> round(swc([[1.0], [0.9], [-1.0], [-0.9]], [0, 0, 1, 1], "L1"), 3)
    0.947
    """
    A, _, place = _checked(A, cluster)
    D = distance_called(distance)(A, A)
    np.fill_diagonal(D, 0.0)  # the log1p form of Förstner's distance is not zero there
    return float(silhouette_score(D, place, metric="precomputed"))


def dbi(A: ArrayLike, cluster: ArrayLike, centroids: ArrayLike, distance: str = "L5") -> float:
    """Davies-Bouldin index: (1/K) Σ_k max_l (σ_k + σ_l)/d(C_k, C_l); lower is better.

    σ_k is the mean distance of a cluster's segments to its centroid. ``centroids`` (K, q) stand in the order
    of ``np.unique(cluster)``.
    """
    A, ids, place = _checked(A, cluster)
    C = _centroids(centroids, ids)
    d = distance_called(distance)
    sigma = np.bincount(place, d(A, C)[np.arange(len(A)), place]) / np.bincount(place)
    ratio = (sigma[:, None] + sigma[None]) / np.maximum(d(C, C), 1e-15)
    np.fill_diagonal(ratio, -np.inf)
    return float(ratio.max(axis=1).mean())


def vrc(
    A: ArrayLike, cluster: ArrayLike, centroids: ArrayLike, center: ArrayLike, distance: str = "L5"
) -> float:
    """Variance ratio criterion: [Σ n_k d(C_k, C_0)²/(K-1)] / [Σ d(A_i, C_k)²/(N-K)]; higher is better.

    ``center`` C_0 (q,) is the correlation of all rows.
    """
    A, ids, place = _checked(A, cluster)
    C = _centroids(centroids, ids)
    d = distance_called(distance)
    between = (np.bincount(place) * d(C, np.atleast_2d(center))[:, 0] ** 2).sum() / (len(C) - 1)
    within = (d(A, C)[np.arange(len(A)), place] ** 2).sum() / (len(A) - len(C))
    return float(between / within) if within > 0 else float("inf")


def pbm(
    A: ArrayLike, cluster: ArrayLike, centroids: ArrayLike, center: ArrayLike, distance: str = "L5"
) -> float:
    """Pakhira-Bandyopadhyay-Maulik index: (max d(C_k, C_l) · Σ d(A_i, C_0) / (K Σ d(A_i, C_k)))²."""
    A, ids, place = _checked(A, cluster)
    C = _centroids(centroids, ids)
    d = distance_called(distance)
    within = d(A, C)[np.arange(len(A)), place].sum()
    spread = d(C, C).max() * d(A, np.atleast_2d(center)).sum()
    return float((spread / (len(C) * within)) ** 2) if within > 0 else float("inf")


def jaccard(labels: ArrayLike, truth: ArrayLike) -> float:
    """Share of rows whose cluster is the true one, over the rows that both label (ids of -1 label nothing).

    The benchmark's authors call this Jaccard; it is an accuracy, so ids must be mapped first.

    >>> jaccard([1, 1, 2, -1], [1, 2, 2, 2])
    0.6666666666666666
    """
    labels, truth = np.asarray(labels), np.asarray(truth)
    if labels.shape != truth.shape:
        raise InputError(
            f"{len(labels)} labels and {len(truth)} true labels were given; give one of each per row."
        )
    both = (labels != -1) & (truth != -1)
    if not both.any():
        raise InputError("No row is labelled in both; there is nothing to compare.")
    return float((labels[both] == truth[both]).mean())


@dataclass(frozen=True, repr=False)
class IndexScores(Result):
    """Indices of clusterings of known quality.

    Attributes
    ----------
    scores : one row per clustering, the truth first; columns swc, dbi, vrc, pbm, jaccard
    """

    scores: pd.DataFrame

    @property
    def correlation(self) -> pd.Series[Any]:
        """Pearson correlation of each index with Jaccard."""
        return self.scores.corr()["jaccard"].drop("jaccard")

    def _content(self) -> dict[str, Any]:
        return {"correlation with jaccard": self.correlation.to_dict(), "scores": self.to_frame()}

    def to_frame(self) -> pd.DataFrame:
        """One row per clustering."""
        return self.scores.reset_index(names="clustering")

    def report(self) -> Report:
        """How each index follows quality, for page, notebook and terminal."""
        r = self.correlation
        table = pd.DataFrame({"index": r.index.str.upper(), "Pearson correlation with Jaccard": r.to_numpy()})
        return Report(
            "csts", f"{len(self.scores)} clusterings",
            f"SWC follows the quality of {len(self.scores)} clusterings with a correlation of {r['swc']:.2f}.",
            figure=("SWC against the share of rows in the right cluster", self._draw),
            sections=(
                Section("correlation", "Which index follows quality?", tables={"Indices": table}),
                Section("scores", "Clustering by clustering", tables={"Scores": self.to_frame()}, folded=True),
            ),
        )  # fmt: skip

    def _draw(self, ax: Axes) -> None:
        kinds = self.scores.index.str.replace(r"-\d+$", "", regex=True)
        for kind in dict.fromkeys(kinds):
            some = self.scores[kinds == kind]
            ax.plot(some["jaccard"], some["swc"], "o", ms=4, label=kind)
        ax.set_xlabel("Jaccard (share of rows in the right cluster)")
        ax.set_ylabel("SWC")
        ax.legend()


def index_scores(
    data: Any,
    *,
    truth: Any,
    per_kind: int = 15,
    seed: int = 0,
    end: End = "inclusive",
    drop_columns: Sequence[str] = (),
) -> IndexScores:
    """Do validity indices follow quality on my data? Scores degraded clusterings of known truth.

    Parameters
    ----------
    data : array (rows, n), table, or path of a csv or parquet file
        Series: a column per variate.
    truth : the true labels: a row per segment (start, end, cluster), or a label per row
    per_kind : number of degraded clusterings of each of the three kinds
    seed : random seed
    end : "inclusive", "exclusive" or "length"
        Whether the end row of a label belongs to its segment, or its length is given.
    drop_columns : columns of the data to leave out, as dose,note
    """
    values, variates, _ = read_series(data, drop_columns=drop_columns)
    true = as_segments(truth, rows=len(values), end=end, data=data)
    refuse_undefined(values, true, variates)
    worse = degradations(true, per_kind=per_kind, seed=seed, nested=False)
    return IndexScores(score_clusterings(values, true, worse))


def score_clusterings(
    data: ArrayLike, truth: Any, clusterings: Mapping[str, Any], distance: str = "L5"
) -> pd.DataFrame:
    """SWC, DBI, VRC, PBM and Jaccard of many clusterings of one series, the truth first.

    Each column is sorted once for all of them, and what clusterings share is computed once.

    Parameters
    ----------
    data : array of shape (rows, n)
    truth : Segments, label table or file, or one label per row
    clusterings : by description, each as ``truth``; ids, or names, are the true ones

    Returns
    -------
    DataFrame indexed by description, columns swc, dbi, vrc, pbm, jaccard
    """
    data = np.asarray(data, dtype=float)
    if not np.isfinite(data).all():
        raise InputError(
            f"{(~np.isfinite(data)).any(axis=1).sum()} rows hold NaN or infinite values; fill them or leave them out."
        )
    truth = as_segments(truth)
    refuse_undefined(data, truth, [f"x{k + 1}" for k in range(data.shape[1])])
    named = {"truth": truth, **{name: as_the_truth(item, truth) for name, item in clusterings.items()}}
    ranked = _Ranked(data)
    true_rows = truth.row_labels(len(data))
    scores = {}
    for name, segments in named.items():
        A = ranked.correlations(Segments(segments.start, segments.end, np.arange(len(segments))))
        _, place = np.unique(segments.cluster, return_inverse=True)
        C = ranked.correlations(Segments(segments.start, segments.end, place))
        center = ranked.correlations(Segments(segments.start, segments.end, np.zeros_like(place)))[0]
        scores[name] = {
            "swc": swc(A, place, distance),
            "dbi": dbi(A, place, C, distance),
            "vrc": vrc(A, place, C, center, distance),
            "pbm": pbm(A, place, C, center, distance),
            "jaccard": jaccard(segments.row_labels(len(data)), true_rows),
        }
    return pd.DataFrame.from_dict(scores, orient="index")


class _Ranked:
    """Spearman correlations of any groups of a series' rows; each column is sorted once for all of them.

    Rows in the order of a column's values, sorted stably by group, stand in the order of their ranks within the
    group. Groups are small integers, which NumPy sorts in linear time.
    """

    def __init__(self, data: Array) -> None:
        self.rows = len(data)
        self.order = [np.argsort(column, kind="stable").astype(np.int32) for column in data.T]
        # Ties are runs of equal values; numbered before the rows are regrouped.
        self.run = [
            np.cumsum(np.diff(column[order], prepend=np.nan) != 0, dtype=np.int32)
            for column, order in zip(data.T, self.order, strict=True)
        ]
        self._known: dict[bytes, Array] = {}

    def correlations(self, groups: Segments, decimals: int = 3) -> Array:
        """Correlation of each group's rows, shape (groups, q), cut like `segment_correlations`; ids from 0 up."""
        count = int(groups.cluster.max()) + 1
        group = groups.row_labels(self.rows).astype(np.int16 if count < 2**15 else np.int32)
        key = group.tobytes()
        if key not in self._known:
            self._known[key] = truncate(self._exact(group, count), decimals)
        return self._known[key]

    def _exact(self, group: NDArray[Any], count: int) -> Array:
        covered = group >= 0
        sizes = np.bincount(group[covered], minlength=count)
        middle = np.cumsum(sizes) - (sizes + 1) / 2  # mean place of a group's rows; tied ranks keep it
        grouped = np.repeat(np.arange(count), sizes)
        x = np.zeros((len(self.order), self.rows))
        for column, order, run in zip(x, self.order, self.run, strict=True):
            if not covered.all():
                order, run = order[covered[order]], run[covered[order]]
            by_group = np.argsort(group[order], kind="stable")
            order, run = order[by_group], run[by_group]
            fresh = np.empty(len(order), dtype=bool)
            fresh[:1] = True
            np.not_equal(run[1:], run[:-1], out=fresh[1:])
            fresh[(np.cumsum(sizes) - sizes)[sizes > 0]] = True
            first = np.flatnonzero(fresh)
            length = np.diff(first, append=len(order))
            column[order] = np.repeat(first + (length - 1) / 2, length) - middle[grouped]
        x, inside = x[:, covered], group[covered]

        def product(a: int, b: int) -> Array:
            return np.bincount(inside, weights=x[a] * x[b], minlength=count).astype(float)

        left, right = np.triu_indices(len(x), 1)
        power = np.array([product(a, a) for a in range(len(x))])
        cross = np.array([product(a, b) for a, b in zip(left.tolist(), right.tolist(), strict=True)])
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.clip(cross / np.sqrt(power[left] * power[right]), -1, 1).T


def _checked(A: ArrayLike, cluster: ArrayLike) -> tuple[Array, NDArray[Any], NDArray[np.int64]]:
    A, cluster = np.atleast_2d(np.asarray(A, dtype=float)), np.asarray(cluster)
    if len(A) != len(cluster):
        raise InputError(
            f"{len(A)} correlation vectors and {len(cluster)} cluster ids were given; give one id each."
        )
    if not np.isfinite(A).all():
        raise InputError(
            "A segment has no correlation (NaN); drop it, see segment_correlations(on_undefined='drop')."
        )
    ids, place = np.unique(cluster, return_inverse=True)
    if not 2 <= len(ids) < len(A):
        what = "one cluster" if len(ids) < 2 else "a cluster for every segment"
        raise InputError(
            f"{len(A)} segments in {len(ids)} clusters were given: {what}. The indices compare distances within "
            "and between clusters, so there must be at least two, and one must hold two segments."
        )
    return A, ids, place


def _centroids(centroids: ArrayLike, ids: NDArray[Any]) -> Array:
    C = np.atleast_2d(np.asarray(centroids, dtype=float))
    if len(C) != len(ids):
        raise InputError(
            f"{len(C)} centroids were given for {len(ids)} clusters; give one each, in rising order of id."
        )
    return C
