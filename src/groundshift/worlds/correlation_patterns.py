"""Correlation patterns: which ways can n variates move together?

Each pair of variates gets 0, 1 or -1 (the canonical pattern). Some canonical patterns are no correlation
matrix; where two strong entries of about 0.7 mend that, the relaxed pattern is what data can reach. The
world of the CSTS benchmark (Degen et al., arXiv:2505.14596, canonical correlation patterns).

A correlation vector r holds the entries above the diagonal, row by row: (r12, r13, r23) for 3 variates.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse.csgraph import connected_components

from groundshift.errors import InputError

__all__ = [
    "Pattern",
    "check_correlation",
    "nearest",
    "pattern_id",
    "patterns",
    "relax",
    "to_matrix",
    "to_vector",
]

# A correlation counts as strong from here on (the benchmark's own tolerance).
STRONG = 0.7
MOST_VARIATES = 5  # 3^10 = 59,049 canonical patterns; one variate more makes 14 million
DIGIT = {0: 0, 1: 1, -1: 2}
SMALLEST_EIGENVALUE = -1e-10


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


def to_vector(matrix: ArrayLike) -> NDArray[np.float64]:
    """Correlation vectors (..., q) from correlation matrices (..., n, n).

    >>> to_vector([[1.0, 0.7, 0.0], [0.7, 1.0, -0.7], [0.0, -0.7, 1.0]])
    array([ 0.7,  0. , -0.7])
    """
    matrix = np.asarray(matrix, dtype=float)
    if matrix.ndim < 2 or matrix.shape[-1] != matrix.shape[-2]:
        raise InputError(f"A correlation matrix has shape (n, n); the shape given is {matrix.shape}.")
    i, j = np.triu_indices(matrix.shape[-1], 1)
    return matrix[..., i, j]


def n_variates_of(entries: int) -> int:
    """How many variates a correlation vector of this length speaks of."""
    n = round((1 + np.sqrt(1 + 8 * entries)) / 2)
    if entries < 1 or n * (n - 1) // 2 != entries:
        raise InputError(
            f"A correlation vector of {entries} entries was given; n variates have n(n-1)/2 of them "
            "(1, 3, 6, 10, ...). Give the entries above the diagonal, row by row."
        )
    return n


def pattern_id(canonical: ArrayLike) -> int:
    """Base-3 position of a canonical pattern.

    >>> pattern_id([0, 1, -1])
    5
    """
    code = 0
    for entry in np.asarray(canonical).tolist():
        code = 3 * code + DIGIT[entry]
    return code


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
    i, j = np.triu_indices(n_variates_of(len(canonical)), 1)
    _, group = connected_components(to_matrix(canonical) != 0, directed=False)
    relaxed = canonical.copy()
    for members in range(group.max() + 1):
        inside = np.flatnonzero((group[i] == members) & (canonical != 0))
        alone = np.zeros_like(canonical)
        alone[inside] = canonical[inside]
        lowest = np.linalg.eigvalsh(to_matrix(alone))[0]
        if lowest > SMALLEST_EIGENVALUE:
            continue
        if len(inside) == 2:
            relaxed[inside] *= (0.71, 0.70)
        else:
            relaxed[inside] *= np.floor(100 / (1 - lowest)) / 100
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
-1.000, it must not be negative. The nearest pattern that data can have is (0.5, 0.5, -0.5).
    """
    r = np.asarray(r, dtype=float)
    shown = f"({', '.join(str(value) for value in r.tolist())})"
    if r.ndim != 1 or not np.all(np.isfinite(r)) or np.any(np.abs(r) > 1):
        raise InputError(f"{shown} is not a correlation vector; its entries must lie in [-1, 1].")
    lowest = np.linalg.eigvalsh(to_matrix(r))[0]
    if lowest <= SMALLEST_EIGENVALUE:
        raise InputError(
            f"{shown} is not a valid correlation matrix: its lowest eigenvalue is {lowest:.3f}, it must not be "
            f"negative. The nearest pattern that data can have is {tuple(relax(np.rint(r)).tolist())}."
        )
