"""One transformer block by numbers, whose heads pair known words and whose hidden units write known concepts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from groundshift.errors import InputError

__all__ = ["PlantedHeads", "planted_heads"]

Array = NDArray[np.float64]
NEURONS = 2
"""Columns of a head that make its pairs."""


@dataclass(frozen=True)
class PlantedHeads:
    """Weights of a block, and what is planted in them.

    Attributes
    ----------
    embedding, unembedding : (V, D)
    queries, keys : (D, heads * width)
    values : (units, D), what the hidden units write
    pairs : of each head the words of its queries and those of its keys, int (heads, 2, size)
    concepts : words of each concept, the strongest first, int (concepts, size)
    texts : (n, 2 size), half of them of the words of one head's pairs, half of other words
    """

    embedding: Array
    unembedding: Array
    queries: Array
    keys: Array
    values: Array
    pairs: NDArray[np.int64]
    concepts: NDArray[np.int64]
    texts: NDArray[np.int64]


def planted_heads(
    rng: np.random.Generator, *, words: int = 240, width: int = 256, heads: int = 4, size: int = 6, concepts: int = 4,
    units: int = 256, strength: float = 1.0,
) -> PlantedHeads:  # fmt: skip
    """Draw which words each head pairs and which each concept has, and weights that do so.

    Two columns of a head's queries are sums of the embeddings of its query words, two of its keys those of its key
    words; everything else is noise. The values are sums of the concepts' mean output embeddings, each half as strong
    as the one before, and noise.

    Parameters
    ----------
    size : words on each side of a head's pairs, and half those of a concept
    strength : of all that is planted; 0 leaves the noise

    Examples
    --------
    >>> block = planted_heads(np.random.default_rng(0))
    >>> block.queries.shape, block.pairs.shape, block.concepts.shape
    ((256, 256), (4, 2, 6), (4, 12))
    """
    if heads * 2 * size > words or concepts * 2 * size > words or width % heads:
        raise InputError(
            f"{heads} heads and {concepts} concepts of {size} words need more words than {words}."
        )
    embedding, unembedding = rng.standard_normal((2, words, width)) / np.sqrt(width)
    pairs = rng.permutation(words)[: heads * 2 * size].reshape(heads, 2, size)
    own = rng.permutation(words)[: concepts * 2 * size].reshape(concepts, 2 * size)
    sides = 0.1 * rng.standard_normal((2, width, heads, width // heads))
    for head in range(heads):
        columns = rng.permutation(width // heads)[:NEURONS]
        signs = rng.choice([-1.0, 1.0], NEURONS)  # of both sides alike, so that their product is positive
        for side in (0, 1):
            sides[side][:, head, columns] += strength * embedding[pairs[head, side]].sum(0)[:, None] * signs
    ideas = unembedding[own].mean(1)
    ideas /= np.linalg.norm(ideas, axis=1, keepdims=True)
    amounts = rng.standard_normal((units, concepts)) * 0.5 ** np.arange(concepts)
    values = strength * amounts @ ideas + 0.01 * rng.standard_normal((units, width))
    others = np.setdiff1d(np.arange(words), pairs)
    told = [rng.permutation(own.ravel()) for own in pairs for _ in range(40)]
    texts = np.stack([*told, *(rng.choice(others, 2 * size, replace=False) for _ in told)])
    queries, keys = sides.reshape(2, width, width)
    return PlantedHeads(embedding, unembedding, queries, keys, values, pairs, own, texts)
