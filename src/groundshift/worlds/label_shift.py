"""Worlds of latent label shift: domains mix the same classes in different proportions, and nobody sees the classes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from groundshift.errors import InputError

__all__ = ["ShiftedLabels", "digits", "draw_priors", "styled_blobs", "words"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class ShiftedLabels:
    """Rows of several domains with their hidden classes.

    Attributes
    ----------
    X : shape (rows, n); for `words` one column of word numbers
    domain : shape (rows,), codes
    label : the hidden class of each row, shape (rows,), codes
    prior : class proportions that were drawn from, shape (classes, domains), columns sum to one
    """

    X: Array
    domain: NDArray[np.int64]
    label: NDArray[np.int64]
    prior: Array


def draw_priors(
    rng: np.random.Generator, classes: int, domains: int, alpha: float = 3.0, max_condition: float = 4.0
) -> Array:
    """Class proportions, a Dirichlet(α/k) draw per domain, drawn again until their condition number is small enough.

    Returns
    -------
    array (classes, domains)
        Columns sum to one.

    Examples
    --------
    >>> Q = draw_priors(np.random.default_rng(0), 3, 6)
    >>> Q.shape, bool(np.linalg.cond(Q) <= 4)
    ((3, 6), True)
    """
    for _ in range(10_000):
        Q = rng.dirichlet(np.full(classes, alpha / classes), size=domains).T
        Q = np.where(Q < 1e-7, 0, Q)
        if np.linalg.cond(Q) <= max_condition:
            return Q
    raise InputError(
        f"No mix of {classes} classes in {domains} domains with α = {alpha:g} has a condition number below "
        f"{max_condition:g} in 10,000 draws; allow a larger one, or more domains."
    )


def _labels(rng: np.random.Generator, Q: Array, rows: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    domain = np.repeat(np.arange(Q.shape[1]), rows)
    return domain, np.concatenate([rng.choice(len(Q), rows, p=q / q.sum()) for q in Q.T])


def styled_blobs(
    rng: np.random.Generator,
    Q: Array,
    rows: int = 400,
    *,
    style: bool = True,
    style_follows_domain: float = 0.0,
    blobs: int = 9,
) -> ShiftedLabels:
    """Classes that look unlike themselves: each owns blobs at random places, and a style dominates all distances.

    Content: unit Gaussian blobs spread on a circle of circumference 4 · blobs in the plane; each class owns as many of
    them, at random. Style: one of six centres N(0, 12²) in three dimensions plus N(0, 1), independent of class and
    domain, unless ``style_follows_domain`` is positive: with this probability a row takes the style of its domain, so
    that p(x | class) shifts as well.
    """
    k = len(Q)
    if blobs % k:
        raise InputError(f"{blobs} blobs cannot be shared by {k} classes; give a multiple of {k}.")
    domain, label = _labels(rng, Q, rows)
    owner = rng.permutation(np.repeat(np.arange(k), blobs // k))
    own = np.array([np.flatnonzero(owner == c) for c in range(k)])
    blob = own[label, rng.integers(0, blobs // k, len(label))]
    radius = 4 * blobs / (2 * np.pi)
    angle = 2 * np.pi * blob / blobs
    content = radius * np.column_stack([np.cos(angle), np.sin(angle)]) + rng.standard_normal((len(label), 2))
    if not style:
        return ShiftedLabels(content, domain, label, Q)
    centres = rng.normal(0, 12, (6, 3))
    chosen = rng.integers(0, 6, len(label))
    follows = rng.random(len(label)) < style_follows_domain
    chosen = np.where(follows, domain % 6, chosen)
    styled = centres[chosen] + rng.standard_normal((len(label), 3))
    return ShiftedLabels(np.column_stack([content, styled]), domain, label, Q)


def words(
    rng: np.random.Generator, Q: Array, rows: int = 5000, *, vocabulary: int = 60, mixed: float = 0.0
) -> ShiftedLabels:
    """A finite vocabulary: three words of probability 0.08 each belong to one class only, the rest is shared.

    ``mixed`` replaces that share of every class's distribution by the average class, which removes the anchors.
    """
    k = len(Q)
    own = 3 * k
    p = np.zeros((vocabulary, k))
    for c in range(k):
        p[3 * c : 3 * c + 3, c] = 0.08
        p[own:, c] = 0.76 * rng.dirichlet(np.ones(vocabulary - own))
    p = (1 - mixed) * p + mixed * p.mean(1, keepdims=True)
    domain, label = _labels(rng, Q, rows)
    word = np.empty(len(label))
    for c in range(k):
        word[label == c] = rng.choice(vocabulary, (label == c).sum(), p=p[:, c])
    return ShiftedLabels(word[:, None], domain, label, Q)


def digits(rng: np.random.Generator, Q: Array, rows: int = 100) -> ShiftedLabels:
    """scikit-learn's handwritten digits (8 × 8, real) in the proportions of each domain; no image comes twice.

    An image in two domains would let a discriminator learn images instead of classes.
    """
    from sklearn.datasets import load_digits

    X, y = load_digits(return_X_y=True)
    if len(Q) > 10:
        raise InputError(f"{len(Q)} classes were asked of ten digits.")
    held = np.bincount(y)[: len(Q)]
    for _ in range(1000):
        domain, label = _labels(rng, Q, rows)
        if (np.bincount(label, minlength=len(Q)) <= held).all():
            break
    else:
        raise InputError(
            f"{rows} rows in {Q.shape[1]} domains need more images of a digit than there are (about 178)."
        )
    drawn_rows = np.empty(len(label), dtype=np.int64)
    for c in range(len(Q)):
        at = label == c
        drawn_rows[at] = rng.choice(np.flatnonzero(y == c), at.sum(), replace=False)
    return ShiftedLabels(X[drawn_rows], domain, label, Q)
