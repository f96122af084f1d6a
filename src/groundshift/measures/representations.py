"""How alike two sets of representations of the same samples are."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from groundshift.errors import InputError

__all__ = ["effective_rank", "layerwise_cka", "linear_cka"]


def effective_rank(X: ArrayLike) -> float:
    """Effective rank of centred representations (n, D): exp of the entropy of their normalised singular values.

    Roy & Vetterli, EUSIPCO 2007. It is 1 where all samples lie on a line, and at most min(n, D).

    Examples
    --------
    >>> round(effective_rank([[1, 0], [-1, 0], [0, 1], [0, -1]]), 6), round(effective_rank([[1, 1], [2, 2]]), 6)
    (2.0, 1.0)
    """
    points = np.asarray(X, dtype=float)
    spectrum = np.linalg.svd(points - points.mean(0), compute_uv=False)
    if points.ndim != 2 or not spectrum.sum() > 0:
        raise InputError(f"Representations of shape {points.shape} that are all alike have no rank.")
    share = spectrum / spectrum.sum()
    share = share[share > 0]
    return float(np.exp(-(share * np.log(share)).sum()))


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
