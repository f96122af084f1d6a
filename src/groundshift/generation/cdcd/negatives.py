"""Where negatives come from: other orders of the same sequence, or sequences of other groups (arXiv:2206.07771)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from groundshift.errors import InputError

__all__ = ["Negatives", "inter", "intra"]

Codes = NDArray[np.int64]
Negatives = Callable[[np.random.Generator, Codes], Codes]
"""(rng, rows (B,)) → codes (B, m, L): negatives of rows of the training data."""


def intra(tokens: Codes, m: int = 10, chunks: int = 8) -> Negatives:
    """The positive cut into equal chunks, permuted; one permutation for the whole batch. A tail too short to cut stays.

    >>> draw = intra(np.arange(9)[None], m=2, chunks=4)
    >>> codes = draw(np.random.default_rng(0), np.array([0]))
    >>> codes.shape, codes[0, :, 8].tolist(), sorted(codes[0, 0].tolist()) == list(range(9))
    ((1, 2, 9), [8, 8], True)
    """
    length = tokens.shape[1] // chunks
    if chunks < 2 or length == 0:
        raise InputError(
            f"Sequences of length {tokens.shape[1]} were given with chunks={chunks}; chunks must be at least 2 and at "
            "most the length."
        )

    def draw(rng: np.random.Generator, rows: Codes) -> Codes:
        order = np.tile(np.arange(tokens.shape[1]), (m, 1))
        pieces = order[0, : chunks * length].reshape(chunks, length)
        for j in range(m):
            order[j, : chunks * length] = pieces[rng.permutation(chunks)].ravel()
        return tokens[rows][:, order]

    return draw


def inter(tokens: Codes, groups: ArrayLike, m: int = 10) -> Negatives:
    """Sequences of other groups (genre, class, caption), each equally likely, drawn anew for every batch.

    Raises
    ------
    InputError
        One group only, or another number of groups than of rows.

    Examples
    --------
    >>> draw = inter(np.array([[0], [1], [1], [2]]), ["a", "b", "b", "c"], m=50)
    >>> sorted(set(draw(np.random.default_rng(0), np.array([1])).ravel().tolist()))
    [0, 2]
    """
    labels: Any = np.asarray(groups)
    if labels.shape != (len(tokens),):
        raise InputError(
            f"Groups of shape {labels.shape} were given for {len(tokens)} rows; give one per row."
        )
    values, group = np.unique(labels, return_inverse=True)
    if len(values) < 2:
        raise InputError(
            f"All rows belong to the group {values[0]!r}; negatives='inter' needs two or more. Take 'intra'."
        )
    order = np.argsort(group, kind="stable")
    size = np.bincount(group)
    first = np.cumsum(size) - size

    def draw(rng: np.random.Generator, rows: Codes) -> Codes:
        g = group[rows][:, None]
        # A place in the sorted rows once the block of the own group is taken out.
        place = np.floor(rng.random((len(rows), m)) * (len(tokens) - size[g])).astype(np.int64)
        return tokens[order[place + size[g] * (place >= first[g])]]

    return draw
