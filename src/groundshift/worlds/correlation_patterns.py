"""Segmented series whose correlation structure is known: the world of the CSTS benchmark.

Which ways can n variates move together? Each pair gets 0, 1 or -1: a canonical pattern. Some are no
correlation matrix; where entries of 0.7 mend that, the relaxed pattern is what data can reach. A subject is
a series of segments, each drawn from one pattern, in three stages: raw noise, correlated, nonnormal.
(Degen et al., arXiv:2505.14596, canonical patterns and data generation.)

A correlation vector r holds the entries above the diagonal, row by row: (r12, r13, r23) for 3 variates.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.sparse.csgraph import connected_components

from groundshift.errors import InputError
from groundshift.worlds.correlation_marginals import MARGINALS, benchmark_marginals, to_marginals
from groundshift.worlds.segments import Segments

__all__ = [
    "MARGINALS",
    "Pattern",
    "Subject",
    "benchmark_marginals",
    "check_correlation",
    "choose_patterns",
    "correlate",
    "draw_lengths",
    "draw_order",
    "draw_subject",
    "loadings",
    "n_variates_of",
    "nearest",
    "patterns",
    "relax",
    "to_marginals",
    "to_matrix",
]

# A correlation counts as strong from here on (the benchmark's own tolerance).
STRONG = 0.7
MOST_VARIATES = 5  # 3^10 = 59,049 canonical patterns; one variate more makes 14 million
DIGIT = {0: 0, 1: 1, -1: 2}
SMALLEST_EIGENVALUE = -1e-10

START = pd.Timestamp("2017-06-23", tz="UTC")
SECOND = pd.Timedelta(seconds=1)
SHORT_LENGTHS = np.array([15, 20, 30, 60, 120, 180, 240, 300]) * 60
LONG_LENGTHS = np.array([360, 480, 600]) * 60


@dataclass(frozen=True)
class Pattern:
    """One way in which variates move together.

    Attributes
    ----------
    id : int
        Position of the canonical pattern in base 3, first entry leading, with digits 0, 1, 2 for 0, 1, -1.
    canonical : tuple of q = n(n-1)/2 numbers
        What the pattern means; entries 0, 1 and -1.
    relaxed : tuple of q floats
        The correlations that data of this pattern can reach.
    """

    id: int
    canonical: tuple[float, ...]
    relaxed: tuple[float, ...]

    def __str__(self) -> str:
        return "".join("0+-"[DIGIT.get(round(entry), 0)] for entry in self.canonical)


def to_matrix(r: ArrayLike) -> NDArray[np.float64]:
    """Correlation matrices (..., n, n) from correlation vectors (..., q), q = n(n-1)/2.

    >>> to_matrix([0.7, 0.0, -0.7])
    array([[ 1. ,  0.7,  0. ],
           [ 0.7,  1. , -0.7],
           [ 0. , -0.7,  1. ]])
    """
    r = np.asarray(r, dtype=float)
    n = n_variates_of(r.shape[-1] if r.ndim else 0)
    i, j = np.triu_indices(n, 1)
    matrix = np.broadcast_to(np.eye(n), (*r.shape[:-1], n, n)).copy()
    matrix[..., i, j] = matrix[..., j, i] = r
    return matrix


def n_variates_of(entries: int) -> int:
    """How many variates a correlation vector of this length speaks of."""
    n = round((1 + np.sqrt(1 + 8 * entries)) / 2)
    if entries < 1 or n * (n - 1) // 2 != entries:
        raise InputError(
            f"A correlation vector of {entries} entries was given; n variates have n(n-1)/2 of them "
            "(1, 3, 6, 10, ...). Give the entries above the diagonal, row by row."
        )
    return n


@cache
def patterns(n_variates: int = 3) -> dict[int, Pattern]:
    """Every pattern of n variates that data can have: 23 for n = 3, 121 for n = 4, 737 for n = 5.

    A pattern is dropped when no strong entries of 0.7 or more make it a correlation matrix.

    Raises
    ------
    InputError
        For one variate, and for more than five: the 3^(n(n-1)/2) canonical patterns get too many to list.

    Examples
    --------
    >>> len(patterns()), patterns()[5]
    (23, Pattern(id=5, canonical=(0, 1, -1), relaxed=(0.0, 0.71, -0.7)))
    """
    if n_variates < 2:
        raise InputError(f"{n_variates} variate was given; a correlation needs at least 2.")
    if n_variates > MOST_VARIATES:
        raise InputError(
            f"{n_variates} variates have 3^{n_variates * (n_variates - 1) // 2} canonical patterns, too many to "
            f"list (at most {MOST_VARIATES} variates). Give your own: patterns=[correlation vectors]."
        )
    entries = n_variates * (n_variates - 1) // 2
    canonical = np.array(list(itertools.product((0, 1, -1), repeat=entries)))
    lowest = np.linalg.eigvalsh(to_matrix(canonical))[:, 0]
    # Strong entries scaled by s leave the lowest eigenvalue at 1 - s(1 - lowest).
    reachable = np.flatnonzero(1 - STRONG * (1 - lowest) > SMALLEST_EIGENVALUE)
    # itertools.product counts in base 3 with the digits 0, 1, -1, so the position is the id.
    return {
        int(i): Pattern(int(i), tuple(canonical[i].tolist()), tuple(relax(canonical[i]).tolist()))
        for i in reachable
    }


def relax(canonical: ArrayLike) -> NDArray[np.float64]:
    """Shrink the strong entries of a canonical pattern, shape (q,), until it is a correlation matrix.

    Variates linked by strong entries form groups, each relaxed by itself: a group that is consistent stays
    as it is; two strong entries of one group become 0.71 and 0.70 (the benchmark's rule); anything else is
    scaled down by one factor, to two decimals.

    >>> relax([-1, 0, 1])
    array([-0.71,  0.  ,  0.7 ])
    >>> relax([1, 1, 1])
    array([1., 1., 1.])
    """
    canonical = np.asarray(canonical, dtype=float)
    i, _ = np.triu_indices(n_variates_of(len(canonical)), 1)
    _, group = connected_components(to_matrix(canonical) != 0, directed=False)
    relaxed = canonical.copy()
    for members in range(group.max() + 1):
        inside = (group[i] == members) & (canonical != 0)
        lowest = np.linalg.eigvalsh(to_matrix(canonical * inside))[0]
        if lowest > SMALLEST_EIGENVALUE:
            continue
        relaxed[inside] *= (0.71, 0.70) if inside.sum() == 2 else np.floor(100 / (1 - lowest)) / 100
    return relaxed


def nearest(r: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Canonical and relaxed pattern nearest to each correlation vector, both of shape (rows, q).

    Up to five variates the nearest of all relaxed patterns in L1. Beyond, each entry is rounded to 0, 1 or -1
    by itself and the result is relaxed, which lists nothing and may shrink strong entries below 0.7.

    >>> canonical, relaxed = nearest([[0.1, 0.6, 0.8]])
    >>> canonical, relaxed
    (array([[0, 1, 1]]), array([[0.  , 0.71, 0.7 ]]))
    """
    r = np.atleast_2d(np.asarray(r, dtype=float))
    n = n_variates_of(r.shape[1])
    if n <= MOST_VARIATES:
        known = list(patterns(n).values())
        relaxed = np.array([pattern.relaxed for pattern in known])
        which = np.array([np.abs(relaxed - row).sum(axis=1).argmin() for row in r], dtype=int)
        return np.array([pattern.canonical for pattern in known])[which], relaxed[which]
    canonical = np.rint(r).astype(np.int64)
    shapes, inverse = np.unique(canonical, axis=0, return_inverse=True)
    return canonical, np.array([relax(shape) for shape in shapes])[inverse.ravel()]


def check_correlation(r: ArrayLike) -> None:
    """Refuse a vector that is no correlation vector: wrong length, beyond [-1, 1], or not PSD.

    >>> check_correlation([1, 1, -1])
    Traceback (most recent call last):
    groundshift.errors.InputError: (1.0, 1.0, -1.0) is not a valid correlation matrix: its lowest eigenvalue is \
-1.000, it must not be negative. A relaxed pattern that data can have is (0.5, 0.5, -0.5).
    """
    r = np.asarray(r, dtype=float)
    shown = f"({', '.join(str(value) for value in r.tolist())})"
    if r.ndim != 1 or not np.all(np.isfinite(r)) or np.any(np.abs(r) > 1):
        raise InputError(f"{shown} is not a correlation vector; its entries must lie in [-1, 1].")
    lowest = np.linalg.eigvalsh(to_matrix(r))[0]
    if lowest <= SMALLEST_EIGENVALUE:
        raise InputError(
            f"{shown} is not a valid correlation matrix: its lowest eigenvalue is {lowest:.3f}, it must not be "
            f"negative. A relaxed pattern that data can have is {tuple(relax(np.rint(r)).tolist())}."
        )


def choose_patterns(
    given: Sequence[int] | Sequence[ArrayLike] | Mapping[int, ArrayLike] | None, n_variates: int = 3
) -> dict[int, Pattern]:
    """The patterns a world draws from: all of them, those with the ids given, or correlation vectors.

    Vectors in a sequence are numbered from 0; a mapping names its ids.

    Raises
    ------
    InputError
        For an id that is no valid correlation matrix (14, 16, 22 and 26 of three variates) and for a vector
        that is none; the message proposes the relaxed pattern.
    """
    if given is None:
        return patterns(n_variates)
    items = given.items() if isinstance(given, Mapping) else enumerate(given)
    named = {int(key): np.asarray(item) for key, item in items}
    if named and all(item.ndim == 0 and item.dtype.kind == "i" for item in named.values()):
        known = patterns(n_variates)
        for item in named.values():
            if int(item) not in known:
                raise InputError(
                    f"Pattern {item} was given; this pattern is not a valid correlation matrix. The patterns of "
                    f"{n_variates} variates are {', '.join(map(str, known))}."
                )
        return {int(item): known[int(item)] for item in named.values()}
    chosen = {}
    for key, r in named.items():
        check_correlation(r)
        vector = tuple(r.astype(float).tolist())
        chosen[key] = Pattern(key, vector, vector)
    if not chosen or len({len(pattern.canonical) for pattern in chosen.values()}) > 1:
        raise InputError(f"{len(chosen)} patterns were given; give at least one, all of the same length.")
    return chosen


def draw_lengths(rng: np.random.Generator, segments: int) -> NDArray[np.int64]:
    """The benchmark's segment lengths in rows (seconds): three quarters short, one quarter long, shuffled.

    >>> lengths = draw_lengths(np.random.default_rng(0), 100)
    >>> lengths.min(), lengths.max(), (lengths >= 21600).sum()
    (np.int64(900), np.int64(36000), np.int64(25))
    """
    short = round(3 * segments / 4)
    return rng.permutation(
        np.concatenate([_balanced(rng, SHORT_LENGTHS, short), _balanced(rng, LONG_LENGTHS, segments - short)])
    )


def draw_order(rng: np.random.Generator, segments: int, ids: ArrayLike) -> NDArray[np.int64]:
    """Pattern id of each segment: all equally often (as nearly as can be), never the same twice in a row.

    >>> draw_order(np.random.default_rng(0), 6, [4, 9])
    array([4, 9, 4, 9, 4, 9])
    """
    ids = np.asarray(ids, dtype=np.int64)
    if segments > 1 and len(ids) < 2:
        raise InputError(
            f"{segments} segments of {len(ids)} pattern would repeat it in a row; give at least two patterns."
        )
    for _ in range(100):
        order: list[int] = []
        clashes: list[int] = []
        for pattern in rng.permutation(_balanced(rng, ids, segments)).tolist():
            (clashes if order and order[-1] == pattern else order).append(pattern)
        while clashes:
            waiting = [pattern for pattern in clashes if not _insert(order, pattern)]
            if len(waiting) == len(clashes):
                break
            clashes = waiting
        if not clashes:
            return np.array(order, dtype=np.int64)
    raise InputError(
        f"{segments} segments of {len(ids)} patterns found no order without repetition in 100 draws; give more "
        "patterns."
    )


def _insert(order: list[int], pattern: int) -> bool:
    """Put a pattern in the first place where it repeats no neighbour, if there is one."""
    for i in range(len(order) + 1):
        if pattern not in order[max(i - 1, 0) : i + 1]:
            order.insert(i, pattern)
            return True
    return False


def _balanced(rng: np.random.Generator, values: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Every value equally often, the remainder drawn without replacement."""
    each, rest = divmod(size, len(values))
    return np.concatenate([np.repeat(values, each), rng.choice(values, rest, replace=False)])


def loadings(r: ArrayLike, unit_variance: bool = False) -> NDArray[np.float64]:
    """A = V diag(√max(w, 0)) of the matrix V diag(w) Vᵀ of r, shape (n, n).

    A Aᵀ is the projection Σ₊ of the matrix on the positive semidefinite cone. Where r is no correlation
    matrix its variances exceed 1; ``unit_variance`` scales them back.

    >>> A = loadings([0, 1, 1])
    >>> (A @ A.T).round(4)
    array([[1.1036, 0.1036, 0.8536],
           [0.1036, 1.1036, 0.8536],
           [0.8536, 0.8536, 1.2071]])
    """
    w, V = np.linalg.eigh(to_matrix(r))
    # An eigenvector is unique up to its sign: make its first entry that is not zero positive.
    first = (np.abs(V) > 1e-8).argmax(axis=0)
    A = V * np.sign(V[first, np.arange(len(w))]) * np.sqrt(np.maximum(w, 0))
    return A / np.linalg.norm(A, axis=1, keepdims=True) if unit_variance else A


def correlate(
    Z: ArrayLike,
    r: ArrayLike,
    method: Literal["loadings", "cholesky"] = "loadings",
    unit_variance: bool = False,
) -> NDArray[np.float64]:
    """Give independent standard normal rows Z, shape (L, n), the correlation vector r.

    "loadings" (the benchmark's default; r a canonical pattern) is X = Z Aᵀ. "cholesky" (r a relaxed pattern)
    scales by the sample standard deviations and adds 1e-4 to the diagonal of a singular matrix.
    """
    Z = np.asarray(Z, dtype=float)
    if method == "loadings":
        return Z @ loadings(r, unit_variance).T
    if method != "cholesky":
        raise InputError(f"method={method!r} was given; it is 'loadings' or 'cholesky'.")
    std = Z.std(axis=0)
    covariance = to_matrix(r) * np.outer(std, std)
    if np.linalg.eigvalsh(covariance)[0] <= 1e-14:
        covariance += 1e-4 * np.eye(len(std))
    return Z @ np.linalg.cholesky(covariance).T


@dataclass(frozen=True, eq=False, repr=False)
class Subject:
    """One series of segments with its truth.

    Attributes
    ----------
    name : str
    stages : dict of float arrays of shape (rows, n)
        "raw", "correlated" and "nonnormal", or fewer.
    segments : Segments
        The true segments; ``cluster`` holds pattern ids.
    patterns : dict of Pattern
        What the ids mean.
    variates : tuple of n str
    start : Timestamp of row id 0, in UTC
    interval : Timedelta between row ids
    row_ids : int64 array of shape (rows,)
        Place of each row on the regular grid: 0, 1, 2, ... unless rows were dropped.
    original_index : float array of shape (rows,) or None
        For an incomplete series that was downsampled: mean position of a row's sources.
    """

    name: str
    stages: dict[str, NDArray[np.float64]]
    segments: Segments
    patterns: Mapping[int, Pattern]
    variates: tuple[str, ...]
    row_ids: NDArray[np.int64]
    start: pd.Timestamp = START
    interval: pd.Timedelta = SECOND
    original_index: NDArray[np.float64] | None = None

    def __repr__(self) -> str:
        stages = ", ".join(self.stages)
        return f"<Subject {self.name}: {len(self.row_ids):,} rows, {len(self.segments)} segments, {stages}>"

    @property
    def times(self) -> pd.DatetimeIndex:
        """Timestamp of each row."""
        return self.start + pd.TimedeltaIndex(self.row_ids * self.interval.to_timedelta64())

    def array(self, stage: str) -> NDArray[np.float64]:
        """Observations of one stage, shape (rows, n)."""
        if stage not in self.stages:
            raise InputError(f"Stage {stage!r} was asked for; {self.name} has {', '.join(self.stages)}.")
        return self.stages[stage]

    def data(self, stage: str) -> pd.DataFrame:
        """Observations of one stage with their time: columns datetime and the variates."""
        frame = pd.DataFrame(self.array(stage), columns=list(self.variates))
        frame.insert(0, "datetime", self.times)
        return frame


def draw_subject(
    rng: np.random.Generator,
    *,
    segments: int = 100,
    lengths: Literal["benchmark"] | ArrayLike = "benchmark",
    patterns: Sequence[int] | Sequence[ArrayLike] | Mapping[int, ArrayLike] | None = None,
    n_variates: int = 3,
    marginals: int | Sequence[Any] = 0,
    method: Literal["loadings", "cholesky"] = "loadings",
    unit_variance: bool = False,
    decimals: int = 3,
    name: str = "subject-0",
) -> Subject:
    """Draw one subject: segments glued end to end, one row per second.

    Parameters
    ----------
    rng : numpy Generator
    segments : int
    lengths : "benchmark" or array of int
        "benchmark" draws 900 to 36,000 rows per segment; an array is drawn from uniformly.
    patterns : ids, correlation vectors, or None for all patterns of ``n_variates``
    n_variates : int
        Ignored when vectors are given.
    marginals : row of the benchmark's 30, or n frozen SciPy distributions
    method : "loadings" or "cholesky"
        How rows get their correlation, see `correlate`.
    unit_variance : bool
        The loadings of a pattern that is no correlation matrix inflate the variances (1.10 and 1.21), which
        leaks the pattern to an algorithm that sees variances. True takes that away.
    decimals : int
        Each stage is rounded, as in the benchmark.

    Examples
    --------
    >>> subject = draw_subject(np.random.default_rng(0), segments=4, lengths=[50, 100], patterns=[2, 13])
    >>> subject, subject.segments.cluster
    (<Subject subject-0: 200 rows, 4 segments, raw, correlated, nonnormal>, array([ 2, 13,  2, 13]))
    """
    chosen = choose_patterns(patterns, n_variates)
    n = n_variates_of(len(next(iter(chosen.values())).canonical))
    if segments < 1:
        raise InputError(f"segments={segments} was given; at least one is needed.")
    distributions = (
        benchmark_marginals(marginals, n) if isinstance(marginals, int | np.integer) else list(marginals)
    )
    order = draw_order(rng, segments, list(chosen))
    if isinstance(lengths, str):
        lengths_drawn = draw_lengths(rng, segments)
    else:
        lengths_drawn = rng.choice(np.atleast_1d(np.asarray(lengths, dtype=np.int64)), segments)
    if lengths_drawn.min() < 3:
        raise InputError(
            f"A segment of {lengths_drawn.min()} rows was asked for; a segment needs at least 3."
        )
    truth = Segments.from_lengths(lengths_drawn, order)

    raw = rng.standard_normal((truth.rows, n)).round(decimals)
    correlated = np.empty_like(raw)
    for start, end, k in zip(truth.start, truth.end, truth.cluster.tolist(), strict=True):
        r = chosen[k].canonical if method == "loadings" else chosen[k].relaxed
        correlated[start:end] = correlate(raw[start:end], r, method, unit_variance)
    correlated = correlated.round(decimals)
    nonnormal = to_marginals(correlated, distributions).round(decimals)
    return Subject(
        name=name,
        stages={"raw": raw, "correlated": correlated, "nonnormal": nonnormal},
        segments=truth,
        patterns=chosen,
        variates=("iob", "cob", "ig") if n == 3 else tuple(f"x{j + 1}" for j in range(n)),
        row_ids=np.arange(truth.rows),
    )
