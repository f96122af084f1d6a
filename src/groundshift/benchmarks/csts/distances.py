"""Distances between correlation vectors (arXiv:2505.14596, and its companion arXiv:2507.16497).

Every distance takes vectors U (a, q) and V (b, q) and gives the matrix of distances (a, b). ``L1`` is the
validated choice for mapping segments to patterns, ``L5`` for validity indices.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from groundshift.errors import InputError, did_you_mean
from groundshift.worlds.correlation_patterns import to_matrix

__all__ = ["DISTANCES", "distance"]

Matrix = NDArray[np.float64]
EPS = 1e-10
"""Added to the diagonal of correlation matrices, which are often singular."""


def distance(name: str) -> Callable[[ArrayLike, ArrayLike], Matrix]:
    """The distance called ``name``: (a, q) and (b, q) correlation vectors to (a, b) distances.

    Examples
    --------
    >>> distance("L1")([[0.0, 0.0, 0.0]], [[1.0, 0.0, -1.0], [0.0, 0.5, 0.0]])
    array([[2. , 0.5]])
    """
    if name not in DISTANCES:
        raise InputError(
            f"There is no distance {name!r}{did_you_mean(name, DISTANCES)} The distances are {', '.join(DISTANCES)}."
        )
    return partial(_checked, DISTANCES[name])


def _checked(function: Callable[[Matrix, Matrix], Matrix], U: ArrayLike, V: ArrayLike) -> Matrix:
    U, V = np.atleast_2d(np.asarray(U, dtype=float)), np.atleast_2d(np.asarray(V, dtype=float))
    if U.shape[1] != V.shape[1]:
        raise InputError(
            f"Correlation vectors of {U.shape[1]} and of {V.shape[1]} entries were given; both need n(n-1)/2."
        )
    return function(U, V)


def lp(p: float, U: NDArray[Any], V: NDArray[Any]) -> Matrix:
    """(Σ |u - v|^p)^(1/p); the largest entry for p = ∞."""
    difference = np.abs(U[:, None] - V[None])
    largest = difference.max(axis=2)
    if np.isinf(p):
        return largest
    # Scaled by the largest entry, or 0.1^100 would vanish.
    scale = np.where(largest == 0, 1.0, largest)
    return scale * _power(difference / scale[..., None], p).sum(axis=2) ** (1 / p) * (largest > 0)


def _power(x: Matrix, p: float) -> Matrix:
    """x ** p; whole powers by squaring, which is several times quicker than the general power."""
    if p != int(p):
        return x**p
    result, p = np.ones_like(x), int(p)
    while p:
        if p & 1:
            result = result * x
        x, p = x * x, p >> 1
    return result


def lp_with_reference(p: float, U: Matrix, V: Matrix) -> Matrix:
    """Lp(u, v) · (Lp(u, e) + Lp(v, e)) with e = (1, …, 1)/√q."""
    e = np.full((1, U.shape[1]), 1 / np.sqrt(U.shape[1]))
    return lp(p, U, V) * (lp(p, U, e) + lp(p, V, e).T)


def dot_transform(p: float, U: Matrix, V: Matrix) -> Matrix:
    """Lp after (e·u + 1)/2 is appended to each vector."""
    e = np.full(U.shape[1], 1 / np.sqrt(U.shape[1]))
    return lp(p, np.column_stack([U, (U @ e + 1) / 2]), np.column_stack([V, (V @ e + 1) / 2]))


def log_frobenius(U: Matrix, V: Matrix) -> Matrix:
    """‖log(M_u + εI) - log(M_v + εI)‖_F; every matrix goes to log space once."""
    return lp(2, _log(U).reshape(len(U), -1), _log(V).reshape(len(V), -1))


def _log(U: Matrix) -> NDArray[np.complex128]:
    """Matrix logarithms of regularised correlation matrices, shape (a, n, n).

    Correlations cut to three decimals may be indefinite by a hair; the logarithm is complex there.
    """
    w, Q = np.linalg.eigh(_regularised(U))
    return (Q * np.log(w.astype(complex))[:, None, :]) @ Q.transpose(0, 2, 1)


def _regularised(U: Matrix) -> Matrix:
    M = to_matrix(U)
    return M + EPS * np.eye(M.shape[-1])


def _generalised_eigenvalues(U: Matrix, V: Matrix) -> NDArray[np.complex128]:
    """Real parts of λ in (M_u + εI) x = λ (M_v + εI) x for every pair, shape (a, b, n), as complex numbers."""
    ratio = np.linalg.inv(_regularised(V))[None] @ _regularised(U)[:, None]
    eigenvalues = np.linalg.eigvals(ratio).real
    # A singular matrix may leave an exact zero, whose logarithm would swallow all others.
    return np.where(eigenvalues == 0, EPS**2, eigenvalues).astype(complex)


def foerstner(U: Matrix, V: Matrix) -> Matrix:
    """√Σ |ln λ_i|², λ the generalised eigenvalues; the logarithm is complex where a matrix is indefinite."""
    return np.sqrt((np.abs(np.log(_generalised_eigenvalues(U, V))) ** 2).sum(axis=2))


def foerstner_log1p(U: Matrix, V: Matrix) -> Matrix:
    """√Σ |ln(1 + λ_i)|², as the benchmark's code has it; the distance of a vector to itself is √n·ln 2."""
    return np.sqrt((np.abs(np.log1p(_generalised_eigenvalues(U, V))) ** 2).sum(axis=2))


def cosine(U: Matrix, V: Matrix) -> Matrix:
    """1 - u·v/(‖u‖‖v‖); 1 where a vector is zero. (The benchmark's code has the similarity.)"""
    norms = np.linalg.norm(U, axis=1)[:, None] * np.linalg.norm(V, axis=1)[None]
    return 1 - np.divide(U @ V.T, norms, out=np.zeros_like(norms), where=norms > 0)


ORDERS = {"1": 1, "2": 2, "3": 3, "5": 5, "10": 10, "50": 50, "100": 100, "inf": np.inf}

DISTANCES: dict[str, Callable[[Matrix, Matrix], Matrix]] = {
    **{f"L{name}": partial(lp, p) for name, p in ORDERS.items()},
    **{f"L{name}_with_reference": partial(lp_with_reference, p) for name, p in ORDERS.items()},
    **{f"dot_L{name}": partial(dot_transform, ORDERS[name]) for name in ("1", "2", "inf")},
    "log_frobenius": log_frobenius,
    "foerstner": foerstner,
    "foerstner_log1p": foerstner_log1p,
    "cosine": cosine,
}
"""Every distance by name: functions of (a, q) and (b, q) vectors."""
