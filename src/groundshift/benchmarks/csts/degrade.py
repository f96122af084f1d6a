"""Degraded clusterings: a graded severity on labels whose truth is known.

The benchmark's 66 clusterings of one subject (arXiv:2505.14596, degraded clusterings): 22 with wrong clusters,
22 with shifted boundaries, 22 with both; a higher number is worse.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from groundshift.benchmarks.csts.labels import End, as_segments
from groundshift.errors import InputError
from groundshift.report import Report, Section
from groundshift.result import Result
from groundshift.worlds.segments import Segments

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "Degraded",
    "Kind",
    "assign_wrong",
    "degradations",
    "degrade",
    "degrade_labels",
    "largest_shift",
    "shift_ends",
]

Kind = Literal["wrong", "shift", "both"]
NAMES = {"wrong": "wrong-clusters", "shift": "shifted-end-idx", "both": "shifted-and-wrong-cluster"}


def degrade(labels: Any, kind: Kind = "wrong", *, severity: float = 0.5, seed: int = 0) -> Segments:
    """Make a clustering worse by a known amount.

    Parameters
    ----------
    labels : Segments, label table or file, or one label per row
    kind : "wrong", "shift" or "both"
        Give segments another cluster, move every boundary late, or both.
    severity : float in [0, 1]
        Share of segments with a wrong cluster; share of the largest shift, see `largest_shift`.
    seed : int

    Examples
    --------
    >>> truth = Segments.from_lengths([300, 400, 300], [4, 7, 4])
    >>> degrade(truth, "shift", severity=0.5).lengths
    array([400, 400, 200])
    """
    segments = as_segments(labels)
    if kind not in NAMES:
        raise InputError(f"kind={kind!r} was given; it is one of {', '.join(get_args(Kind))}.")
    if not 0 <= severity <= 1:
        raise InputError(f"severity={severity} was given; it runs from 0 (nothing) to 1 (the worst).")
    if kind in ("wrong", "both"):
        segments = assign_wrong(segments, round(severity * len(segments)), np.random.default_rng(seed))
    if kind in ("shift", "both"):
        segments = shift_ends(segments, round(severity * largest_shift(segments)))
    return segments


@dataclass(frozen=True, repr=False)
class Degraded(Result):
    """Labels made worse by a known amount.

    Attributes
    ----------
    segments, truth : the labels now and before
    """

    segments: Segments
    truth: Segments

    @property
    def kept(self) -> float:
        """Share of rows that keep their cluster."""
        return float((self.segments.row_labels(self.truth.rows) == self.truth.row_labels()).mean())

    def _content(self) -> dict[str, Any]:
        return {"kept": self.kept, "segments": self.to_frame()}

    def to_frame(self) -> pd.DataFrame:
        """One row per segment: its first row, its last row and its cluster."""
        s = self.segments
        return pd.DataFrame({"start": s.start, "end": s.end - 1, "cluster": s.labels})

    def report(self) -> Report:
        """How much was changed, for page, notebook and terminal."""
        table = Section("segments", "The labels now", tables={"Segments": self.to_frame()}, folded=True)
        return Report(
            "csts", f"{len(self.segments)} segments", f"{self.kept:.1%} of the rows keep their cluster.",
            figure=("Rows in the right cluster (1) and in a wrong one (0)", self._draw), sections=(table,),
        )  # fmt: skip

    def _draw(self, ax: Axes) -> None:
        right = self.segments.row_labels(self.truth.rows) == self.truth.row_labels()
        ax.fill_between(np.arange(len(right)), right.astype(float), step="mid")
        ax.set_yticks([0, 1], ["wrong", "right"])
        ax.set_xlabel("row")


def degrade_labels(
    labels: Any, *, kind: Kind = "wrong", severity: float = 0.5, seed: int = 0, end: End = "inclusive"
) -> Degraded:
    """Make labels worse by a known amount, to see what an index says of them.

    Parameters
    ----------
    labels : true labels, a csv or parquet file: a row per segment (start, end, cluster), or a label per row
    kind : give segments a wrong cluster, shift boundaries late, or both
    severity : from 0 (nothing) to 1 (the worst)
    seed : random seed
    end : "inclusive", "exclusive" or "length"
        Whether the end row of a label belongs to its segment, or its length is given.
    """
    truth = as_segments(labels, end=end)
    return Degraded(degrade(truth, kind, severity=severity, seed=seed), truth)


def degradations(
    labels: Any, *, per_kind: int = 22, seed: int = 666, nested: bool = True
) -> dict[str, Segments]:
    """The benchmark's set of degraded clusterings, from mild to severe within each kind.

    Parameters
    ----------
    labels : Segments, label table or file, or one label per row
        The truth.
    per_kind : int
        Clusterings of each of the three kinds; the worst one changes every segment and shifts the most.
    seed : int
        The benchmark uses 666 for exploratory and 2122 for confirmatory subjects.
    nested : bool
        True as (but for one break) in the benchmark: the segments changed in a mild clustering are changed in
        the worse ones too, so the clusterings are not independent. False draws the segments anew for each.

    Returns
    -------
    dict of Segments
        By description: "wrong-clusters-0", ..., "shifted-and-wrong-cluster-21".

    Examples
    --------
    >>> truth = Segments.from_lengths([300, 400, 300, 200], [4, 7, 4, 13])
    >>> [len(set(s.cluster - truth.cluster) - {0}) > 0 for s in degradations(truth, per_kind=2).values()]
    [True, True, False, False, True, True]
    """
    truth = as_segments(labels)
    if not 1 <= per_kind <= len(truth):
        raise InputError(
            f"per_kind={per_kind} was given for {len(truth)} segments; it is at least 1 and at most the number of "
            "segments, for each clustering changes another number of them."
        )
    # One stream each: which segments, how many, how far; the seed alone fixes the choice of segments.
    choice, counts, shifts = (np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(3))
    order = choice.permutation(len(truth))
    most = largest_shift(truth)

    def wrong(n: int) -> Segments:
        chosen = order[:n] if nested else counts.choice(len(truth), n, replace=False)
        return _with_clusters(truth, chosen, counts)

    clusterings: dict[str, Segments] = {}
    for i, n in enumerate(_rising(counts, len(truth), per_kind)):
        clusterings[f"{NAMES['wrong']}-{i}"] = wrong(n)
    for i, k in enumerate(_rising(shifts, most, per_kind)):
        clusterings[f"{NAMES['shift']}-{i}"] = shift_ends(truth, k)
    both = zip(_rising(counts, len(truth), per_kind), _rising(shifts, most, per_kind), strict=True)
    for i, (n, k) in enumerate(both):
        clusterings[f"{NAMES['both']}-{i}"] = shift_ends(wrong(n), k)
    return clusterings


def assign_wrong(segments: Segments, n: int, rng: np.random.Generator) -> Segments:
    """Give n segments another cluster, uniform over the other ids present."""
    return _with_clusters(segments, rng.choice(len(segments), n, replace=False), rng)


def shift_ends(segments: Segments, k: int, margin: int = 3) -> Segments:
    """Move every boundary between segments k rows late; the first grows, the last shrinks.

    The first segment that would end within the last ``margin`` rows of the data, or beyond, is stretched to
    their end; the ones after it are pushed out.

    >>> shift_ends(Segments.from_lengths([10, 10, 10], [1, 2, 3]), 12).lengths
    array([22,  8])
    """
    rows = segments.rows
    end = segments.end + k
    end[-1] = rows
    last = int(np.argmax(end >= rows - margin + 1))
    end = np.append(end[:last], rows)
    start = np.append(segments.start[0], end[:-1])
    return replace(segments, start=start, end=end, cluster=segments.cluster[: last + 1])


def largest_shift(segments: Segments, leave: int = 100) -> int:
    """Shift of the worst clustering: the shortest segment less 100 rows, and at least 100."""
    return max(int(segments.lengths.min()) - leave, leave)


def _with_clusters(segments: Segments, chosen: NDArray[np.int64], rng: np.random.Generator) -> Segments:
    ids = np.unique(segments.cluster)
    if len(ids) < 2:
        raise InputError("All segments belong to one cluster; a wrong cluster needs a second one.")
    place = np.searchsorted(ids, segments.cluster[chosen])
    cluster = segments.cluster.copy()
    cluster[chosen] = ids[(place + rng.integers(1, len(ids), len(chosen))) % len(ids)]
    return replace(segments, cluster=cluster)


def _rising(rng: np.random.Generator, most: int, count: int) -> list[int]:
    """``count`` different amounts in 1..most, rising, the largest of them ``most``."""
    if count > most:
        raise InputError(f"{count} clusterings need {count} different amounts, but only {most} are possible.")
    return [*np.sort(rng.choice(np.arange(1, most), count - 1, replace=False)).tolist(), most]
