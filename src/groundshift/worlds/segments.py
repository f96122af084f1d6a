"""Segments of a series: which rows belong together, and to which cluster.

Rows are half-open, ``start <= row < end``, as everywhere in Python. Files of the CSTS benchmark count the
end row in; `groundshift.benchmarks.csts` converts at the door.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from groundshift.errors import InputError

__all__ = ["Segments"]


@dataclass(frozen=True)
class Segments:
    """A partition of rows into consecutive segments, each with a cluster id.

    Attributes
    ----------
    start, end : int64 arrays of shape (segments,)
        First row and one past the last row of each segment, in rising order, without overlap.
    cluster : int64 array of shape (segments,)
        Cluster id of each segment. Two segments of one cluster share their structure.
    names : tuple of str
        What clusters 0, 1, ... are called; empty where ids stand for themselves.

    Examples
    --------
    >>> segments = Segments.from_row_labels([7, 7, 2, 2, 2, 7])
    >>> segments.start, segments.end, segments.cluster
    (array([0, 2, 5]), array([2, 5, 6]), array([7, 2, 7]))
    >>> segments.row_labels()
    array([7, 7, 2, 2, 2, 7])
    """

    start: NDArray[np.int64]
    end: NDArray[np.int64]
    cluster: NDArray[np.int64]
    names: tuple[str, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", tuple(self.names))
        for name in ("start", "end", "cluster"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), dtype=np.int64))
        if not len(self.start) == len(self.end) == len(self.cluster):
            raise InputError(
                f"{len(self.start)} starts, {len(self.end)} ends and {len(self.cluster)} cluster ids were "
                "given; a segment needs one of each."
            )
        if len(self.start) == 0:
            raise InputError("No segment was given; at least one is needed.")
        if self.names and not 0 <= self.cluster.min() <= self.cluster.max() < len(self.names):
            raise InputError(
                f"Cluster ids run from {self.cluster.min()} to {self.cluster.max()}, and {len(self.names)} names were "
                "given; id k is called names[k]."
            )
        empty = np.flatnonzero(self.end <= self.start)
        if len(empty):
            i = int(empty[0])
            raise InputError(
                f"Segment {i} runs from row {self.start[i]} to row {self.end[i]} (exclusive) and holds no row. "
                "If your end rows are counted in, read the labels with end='inclusive'."
            )
        wrong = np.flatnonzero(self.start[1:] < self.end[:-1])
        if len(wrong):
            i = int(wrong[0])
            raise InputError(
                f"Segment {i + 1} starts at row {self.start[i + 1]}, before segment {i} has ended (row "
                f"{self.end[i]}, exclusive). Sort the segments; if your end rows are exclusive, read the "
                "labels with end='exclusive'."
            )

    @classmethod
    def from_lengths(cls, lengths: ArrayLike, cluster: ArrayLike, names: Sequence[str] = ()) -> Segments:
        """Segments glued end to end from row 0; ``lengths`` and ``cluster`` have shape (segments,)."""
        end = np.cumsum(np.asarray(lengths, dtype=np.int64))
        return cls(np.concatenate([[0], end[:-1]]), end, np.asarray(cluster), tuple(names))

    @classmethod
    def from_row_labels(cls, labels: ArrayLike, names: Sequence[str] = ()) -> Segments:
        """Runs of equal labels; ``labels`` holds one integer per row."""
        labels = np.asarray(labels)
        if labels.ndim != 1 or len(labels) == 0:
            raise InputError(
                f"Row labels have shape {labels.shape}; one label per row is needed, shape (rows,)."
            )
        cuts = np.flatnonzero(labels[1:] != labels[:-1]) + 1
        start = np.concatenate([[0], cuts])
        return cls(start, np.concatenate([cuts, [len(labels)]]), labels[start], tuple(names))

    def __len__(self) -> int:
        return len(self.start)

    def called(self, cluster: int) -> str | int:
        """What a cluster id is called: its name, or the id itself."""
        return self.names[cluster] if self.names else int(cluster)

    @property
    def labels(self) -> list[str | int]:
        """What the cluster of each segment is called."""
        return [self.called(k) for k in self.cluster.tolist()]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Rows per segment, shape (segments,)."""
        return self.end - self.start

    @property
    def rows(self) -> int:
        """One past the last row covered."""
        return int(self.end[-1])

    def row_labels(self, rows: int | None = None, fill: int = -1) -> NDArray[np.int64]:
        """Cluster id of each row, shape (rows,); rows in no segment get ``fill``."""
        labels = np.full(self.rows if rows is None else rows, fill, dtype=np.int64)
        for start, end, cluster in zip(self.start, self.end, self.cluster, strict=True):
            labels[start:end] = cluster
        return labels
