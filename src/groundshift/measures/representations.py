"""How alike two sets of representations of the same samples are, and how the vectors of one set lie."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from groundshift.errors import InputError

__all__ = ["alignment", "anisotropy", "effective_rank", "layerwise_cka", "linear_cka", "uniformity"]


def linear_cka(before: ArrayLike, after: ArrayLike) -> float:
    """Linear centred kernel alignment, from 0 to 1: 1 for the same representation up to rotation, shift and scale.

    Kornblith et al., ICML 2019, arXiv:1905.00414, equation 3 with linear kernels. It grows with the width over the
    number of samples: compare it with that of unrelated sets of the same shape.

    Parameters
    ----------
    before, after : shape (n, D) and (n, E); the same samples in the same order

    Raises
    ------
    InputError
        Other shapes, fewer than two samples, values that are not finite, or samples that are all alike.

    Examples
    --------
    >>> X = np.random.default_rng(0).standard_normal((200, 5))
    >>> rotation = np.linalg.qr(np.random.default_rng(1).standard_normal((5, 5)))[0]
    >>> round(linear_cka(X, 3 * X @ rotation + 1), 12)
    1.0
    """
    X, Y = np.asarray(before, dtype=float), np.asarray(after, dtype=float)
    if X.ndim != 2 or Y.ndim != 2 or len(X) != len(Y) or len(X) < 2:
        raise InputError(
            f"Representations of shapes {X.shape} and {Y.shape} were given; (n, D) and (n, E) of the same n >= 2 "
            "samples are needed."
        )
    X, Y = X - X.mean(0), Y - Y.mean(0)
    if len(X) < min(X.shape[1], Y.shape[1]):  # the smaller of two forms of the same numbers
        K, L = X @ X.T, Y @ Y.T
        shared, own = float((K * L).sum()), float(np.linalg.norm(K) * np.linalg.norm(L))
    else:
        shared = float(np.linalg.norm(X.T @ Y) ** 2)
        own = float(np.linalg.norm(X.T @ X) * np.linalg.norm(Y.T @ Y))
    if not np.isfinite(own) or own == 0:
        raise InputError(
            "The representations hold values that are not finite, or samples that are all alike."
        )
    return shared / own


def layerwise_cka(before: Mapping[str, ArrayLike], after: Mapping[str, ArrayLike]) -> dict[str, float]:
    """`linear_cka` at every site that both have; ``before`` gives the order.

    Raises
    ------
    InputError
        No site in common.

    Examples
    --------
    >>> X = np.random.default_rng(0).standard_normal((50, 4))
    >>> {site: round(v, 3) for site, v in layerwise_cka({"a": X, "b": X}, {"b": X[:, :2], "a": -X}).items()}["a"]
    1.0
    """
    sites = [site for site in before if site in after]
    if not sites:
        raise InputError(f"No site in common: {', '.join(before)} and {', '.join(after)}.")
    return {site: linear_cka(before[site], after[site]) for site in sites}


# How vectors lie on the sphere ---------------------------------------------------------------------------


def alignment(first: ArrayLike, second: ArrayLike) -> float:
    """Mean squared distance of the unit vectors of pairs that mean the same, from 0 to 4; lower is better.

    Wang and Isola, ICML 2020, arXiv:2005.10242, with α = 2.

    Parameters
    ----------
    first, second : shape (n, D); row i of both is a pair

    Examples
    --------
    >>> round(alignment([[1.0, 0.0]], [[0.0, 3.0]]), 12)
    2.0
    """
    a, b = _unit(first), _unit(second)
    if a.shape != b.shape:
        raise InputError(f"Vectors of shapes {a.shape} and {b.shape} were given; pairs need the same shape.")
    return float(((a - b) ** 2).sum(1).mean())


def uniformity(vectors: ArrayLike) -> float:
    """log mean exp(−2 d²) over all pairs of different rows, d the distance of unit vectors; lower is more uniform.

    Wang and Isola, ICML 2020, arXiv:2005.10242, with t = 2. 0 where all directions are alike; about −4 where they are
    spread over a sphere of many dimensions. It grows with the square of the rows: hand over a sample of some thousands.

    Examples
    --------
    >>> round(uniformity([[1.0, 0.0], [-1.0, 0.0]]), 12)
    -8.0
    """
    unit = _unit(vectors)
    _two(unit)
    total = 0.0
    for start in range(0, len(unit), 1024):
        squared = 2 - 2 * unit[start : start + 1024] @ unit.T
        total += float(np.exp(-2 * squared).sum())
    n = len(unit)
    return float(np.log((total - n) / (n * (n - 1))))


def anisotropy(vectors: ArrayLike) -> float:
    """Mean cosine of all pairs of different rows: near 1 where all vectors point one way, 0 where they are spread.

    Ethayarajh, EMNLP 2019, arXiv:1909.00512.

    Examples
    --------
    >>> round(anisotropy([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), 12)
    0.333333333333
    """
    unit = _unit(vectors)
    _two(unit)
    n = len(unit)
    return float(((unit.sum(0) ** 2).sum() - n) / (n * (n - 1)))


def effective_rank(vectors: ArrayLike) -> float:
    """exp of the entropy of the shares of variance along the principal directions: in how many of them rows vary.

    Roy and Vetterli, EUSIPCO 2007, on squared singular values of the centred rows.

    Examples
    --------
    >>> round(effective_rank([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]), 12)
    2.0
    """
    X = np.asarray(vectors, dtype=float)
    X = X - X.mean(0)
    variance = np.linalg.svd(X, compute_uv=False) ** 2
    if not np.isfinite(variance).all() or not variance.sum() > 0:
        raise InputError("The rows hold values that are not finite, or are all alike.")
    share = variance / variance.sum()
    return float(np.exp(-(share * np.log(np.where(share > 0, share, 1.0))).sum()))


def _unit(vectors: ArrayLike) -> NDArray[np.float64]:
    X = np.asarray(vectors, dtype=float)
    if X.ndim != 2 or not np.isfinite(X).all():
        raise InputError(f"Vectors of shape {X.shape} were given; finite ones (n, D) are needed.")
    return X / np.maximum(np.linalg.norm(X, axis=1, keepdims=True), 1e-12)


def _two(unit: NDArray[np.float64]) -> None:
    if len(unit) < 2:
        raise InputError(f"{len(unit)} rows were given; two or more are needed.")
