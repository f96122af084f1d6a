"""Sentences of known meaning: a small grammar with synonyms and frequent words that mean nothing.

A meaning is (subject, verb, object, adjective of the subject, adjective of the object). Nouns and verbs lie in
clusters, and which clusters go together is fixed in a world, so that a language model can learn from contexts which
words are alike. Every concept has three synonyms of unlike frequency. Filler words, which are drawn from Zipf's law and
say nothing, are what makes the cosines of an untrained encoder useless.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["WEIGHTS", "Grammar", "Pairs"]

Indices = NDArray[np.int64]
NOUNS, VERBS, ADJECTIVES = (24, 6), (12, 4), (10, 10)
"""Concepts, and the clusters that they lie in; of adjectives each is a cluster of its own."""
SYNONYMS = (0.6, 0.3, 0.1)
FILLERS = 30
OPENING = 0.4
"""Probability of a filler at the beginning, and of each of the two places within a sentence."""
WEIGHTS = np.array([0.3, 0.3, 0.25, 0.075, 0.075])
"""What subject, verb, object and the two adjectives weigh in the similarity of two meanings."""
SAME_CLUSTER = 0.5


@dataclass(frozen=True)
class Pairs:
    """Pairs of sentences with the similarity of their meanings, from 0 to 1."""

    first: list[str]
    second: list[str]
    score: NDArray[np.float64]


class Grammar:
    """One world of sentences: its words, and which clusters go together.

    Parameters
    ----------
    rng : draws words and affinities; another generator gives another grammar, with other words

    Attributes
    ----------
    words : all of them, each once

    Examples
    --------
    >>> grammar = Grammar(np.random.default_rng(0))
    >>> meanings = grammar.meanings(np.random.default_rng(1), 3)
    >>> meanings.shape, grammar.similarity(meanings, meanings).tolist()
    ((3, 5), [1.0, 1.0, 1.0])
    >>> max(len(s.split()) for s in grammar.sentences(np.random.default_rng(2), meanings)) <= 14
    True
    """

    def __init__(self, rng: np.random.Generator) -> None:
        concepts = NOUNS[0] + VERBS[0] + ADJECTIVES[0]
        letters = [c + v for c in "bdfgklmnprstvz" for v in "aeiou"]
        drawn = rng.choice(len(letters) ** 3, concepts * len(SYNONYMS) + FILLERS + 2, replace=False)
        self.words = ["".join(letters[i] for i in np.unravel_index(k, (len(letters),) * 3)) for k in drawn]
        self._fillers = self.words[concepts * len(SYNONYMS) : -2]
        self._determiners = self.words[-2:]
        zipf = 1.0 / np.arange(1, FILLERS + 1)
        self._zipf = zipf / zipf.sum()
        # Concepts of a kind are numbered cluster by cluster; kinds have numbers one after another.
        self._cluster_of_noun = np.arange(NOUNS[0]) * NOUNS[1] // NOUNS[0]
        self._cluster_of_verb = np.arange(VERBS[0]) * VERBS[1] // VERBS[0]
        # Given the subject's cluster: verb's cluster and adjective; given the verb's cluster: object's cluster.
        self._verb = rng.dirichlet(np.full(VERBS[1], 0.3), NOUNS[1])
        self._object = rng.dirichlet(np.full(NOUNS[1], 0.3), VERBS[1])
        self._adjective = rng.dirichlet(np.full(ADJECTIVES[0], 0.3), NOUNS[1])

    # Meanings -------------------------------------------------------------------------------------------

    def meanings(self, rng: np.random.Generator, n: int) -> Indices:
        """Subject, verb, object and two adjectives, numbered within their kinds, (n, 5)."""
        subject = rng.integers(NOUNS[0], size=n)
        of_subject = self._cluster_of_noun[subject]
        of_verb = _choices(rng, self._verb[of_subject])
        verb = of_verb * (VERBS[0] // VERBS[1]) + rng.integers(VERBS[0] // VERBS[1], size=n)
        of_object = _choices(rng, self._object[of_verb])
        thing = of_object * (NOUNS[0] // NOUNS[1]) + rng.integers(NOUNS[0] // NOUNS[1], size=n)
        adjectives = [_choices(rng, self._adjective[cluster]) for cluster in (of_subject, of_object)]
        return np.column_stack([subject, verb, thing, *adjectives])

    def similarity(self, a: Indices, b: Indices) -> NDArray[np.float64]:
        """True similarity of meanings: 1 for the same concept, 0.5 for the same cluster, weighed over the roles."""
        equal = (a == b).astype(float)
        for role, clusters in (
            (0, self._cluster_of_noun),
            (1, self._cluster_of_verb),
            (2, self._cluster_of_noun),
        ):
            near = clusters[a[:, role]] == clusters[b[:, role]]
            equal[:, role] = np.maximum(equal[:, role], SAME_CLUSTER * near)
        return np.asarray(equal @ WEIGHTS).round(12)

    # Sentences ------------------------------------------------------------------------------------------

    def sentences(self, rng: np.random.Generator, meanings: Indices) -> list[str]:
        """One sentence for each meaning; synonyms, determiners and fillers are drawn anew."""
        n = len(meanings)
        start = np.array([0, NOUNS[0], 0, NOUNS[0] + VERBS[0], NOUNS[0] + VERBS[0]])
        synonym = rng.choice(len(SYNONYMS), (n, 5), p=SYNONYMS)
        word = (meanings + start) * len(SYNONYMS) + synonym
        determiner = rng.integers(2, size=(n, 2))
        filler = rng.choice(FILLERS, (n, 3), p=self._zipf)
        filled = rng.random((n, 3)) < OPENING
        texts = []
        for k in range(n):
            subject, verb, thing, first, second = (self.words[i] for i in word[k])
            extra = [[self._fillers[i]] if on else [] for i, on in zip(filler[k], filled[k], strict=True)]
            determiners = [self._determiners[i] for i in determiner[k]]
            parts = [
                *extra[0],
                determiners[0],
                first,
                subject,
                *extra[1],
                verb,
                determiners[1],
                second,
                thing,
                *extra[2],
            ]
            texts.append(" ".join(parts))
        return texts

    def corpus(self, rng: np.random.Generator, n: int) -> list[str]:
        """Sentences of ``n`` meanings."""
        return self.sentences(rng, self.meanings(rng, n))

    def pairs(self, rng: np.random.Generator, n: int) -> Pairs:
        """Pairs of which the second has 0 to 5 of its roles drawn anew, and always other words and fillers."""
        first = self.meanings(rng, n)
        other = self.meanings(rng, n)
        changed = rng.random((n, 5)).argsort(axis=1) < rng.integers(6, size=n)[:, None]
        second = np.where(changed, other, first)
        return Pairs(self.sentences(rng, first), self.sentences(rng, second), self.similarity(first, second))

    def paraphrases(self, rng: np.random.Generator, n: int) -> Pairs:
        """Pairs of one meaning in other words."""
        meanings = self.meanings(rng, n)
        return Pairs(self.sentences(rng, meanings), self.sentences(rng, meanings), np.ones(n))


def _choices(rng: np.random.Generator, p: NDArray[np.float64]) -> Indices:
    """One draw from each row of probabilities."""
    return np.asarray((p.cumsum(axis=1) < rng.random((len(p), 1))).sum(axis=1)).clip(max=p.shape[1] - 1)
