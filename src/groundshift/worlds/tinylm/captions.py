"""Scenes shown by visual tokens and captioned in words: the world of the study *reprshift*."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from groundshift.errors import InputError
from groundshift.worlds.tinylm.lexicon import BOS, EOS, PAD, Lexicon
from groundshift.worlds.tinylm.part import Exam, Ids, Part, Rows

__all__ = ["ATTRIBUTES", "Captions"]

ATTRIBUTES: Mapping[str, tuple[str, ...]] = {
    "object": ("dog", "cat", "car", "boat", "tree", "house"),
    "colour": ("red", "blue", "green", "yellow", "white", "black"),
    "place": ("street", "beach", "forest", "kitchen"),
    "mood": ("calm", "happy", "sad"),
    "count": ("one", "two", "many"),
}
NAMES = tuple(ATTRIBUTES)
SIZES = tuple(map(len, ATTRIBUTES.values()))
SYNONYMS = 3
VISUAL = SYNONYMS * sum(SIZES)
FIRST = np.cumsum([0, *SIZES[:-1]])  # of each attribute's values, among all


@dataclass
class Captions(Part):
    """Five visual tokens, one for each attribute, then ``a photo of a OBJECT in_the ATTRIBUTE``.

    Each visual token is one of three synonyms of the scene's value, or, with probability ``noise``, any visual
    token. The last word names one of the four other attributes: any, or the one that a tuned world names.

    Parameters
    ----------
    names : the attribute that tuned captions name: "colour", "place", "mood" or "count"; None: the base world
    severity : share of the captions that are tuned; the others are as in the base world
    noise : share of the visual tokens that say nothing

    Notes
    -----
    Truth: the value of each attribute by its name, and ``named`` (1 to 4, position in `ATTRIBUTES`). The
    completion is the last word alone, at position 12 of a row; the state that predicts it stands at position 11. Exams:
    ``colour``, ``place``, ``mood`` and ``count``, with the values of the attribute as options; scenes are drawn
    once for each world.

    Examples
    --------
    >>> from groundshift.worlds.tinylm import TinyWorld
    >>> world = TinyWorld({"captions": Captions(names="colour", severity=1.0)})
    >>> rows = world["captions"].draw(np.random.default_rng(0), 2, given={"object": 0})
    >>> world.lexicon.decode(rows.ids[0])
    '<bos> v:dog.1 v:dog.1 v:beach.1 v:car.2 v:one.2 a photo of a dog in_the yellow <eos>'
    """

    document = True
    exams = NAMES[1:]

    names: str | None = None
    severity: float = 1.0
    noise: float = 0.1

    def __post_init__(self) -> None:
        if self.names not in (None, *NAMES[1:]) or not 0 <= self.severity <= 1 or not 0 <= self.noise <= 1:
            raise InputError(
                f"{self} was asked for; names is None or among {', '.join(NAMES[1:])}, severity and noise are in "
                "[0, 1]."
            )

    def groups(self) -> Mapping[str, Sequence[str]]:
        visual = [f"v:{word}.{k}" for words in ATTRIBUTES.values() for word in words for k in range(SYNONYMS)]
        return {"visual": visual, **ATTRIBUTES, "function": ("a", "photo", "of", "in_the")}

    def settle(self, lexicon: Lexicon, rng: np.random.Generator, parts: Mapping[str, Part]) -> None:
        self.lexicon_ = lexicon
        # Another part may add words of its own to a group of the same name.
        self.words_ = {name: lexicon.encode(words) for name, words in ATTRIBUTES.items()}
        self.scenes_ = self.draw(rng, 400)

    @property
    def shares(self) -> NDArray[np.float64]:
        """How likely each attribute is to be named; never the object."""
        tuned = self.severity if self.names else 0.0
        shares = np.array([0.0, *[(1 - tuned) / 4] * 4])
        if self.names:
            shares[NAMES.index(self.names)] += tuned
        return shares

    def draw(self, rng: np.random.Generator, n: int, given: Mapping[str, int] | None = None) -> Rows:
        """``n`` captioned scenes; ``given`` fixes attributes, as positions in `ATTRIBUTES`."""
        visual = self.lexicon_["visual"]
        values = np.stack([rng.integers(size, size=n) for size in SIZES], 1)
        for name, value in (given or {}).items():
            values[:, NAMES.index(name)] = value
        shown = visual[(FIRST + values) * SYNONYMS + rng.integers(SYNONYMS, size=values.shape)]
        shown = np.where(rng.random(values.shape) < self.noise, rng.choice(visual, values.shape), shown)
        named = rng.choice(5, n, p=self.shares)
        words = [self.words_[name] for name in NAMES]
        ids = self._empty(n)
        ids[:, 1:6], ids[:, 10] = shown, words[0][values[:, 0]]
        ids[:, 12] = [words[k][values[row, k]] for row, k in enumerate(named)]
        mask = np.broadcast_to(np.arange(14) == 12, ids.shape)
        truth = {name: values[:, k] for k, name in enumerate(NAMES)} | {"named": named}
        return Rows(ids, mask, truth)

    def posterior(self, ids: Ids) -> dict[str, NDArray[np.float64]]:
        """What the visual tokens of rows tell of each attribute: (n, values), by name."""
        posteriors = {}
        for k, (name, size) in enumerate(zip(NAMES, SIZES, strict=True)):
            own = (ids[:, 1 + k, None] - self.lexicon_["visual"][0]) // SYNONYMS - FIRST[k] == np.arange(size)
            likelihood = self.noise / VISUAL + own * (1 - self.noise) / SYNONYMS
            posteriors[name] = likelihood / likelihood.sum(1, keepdims=True)
        return posteriors

    def _document(self, ids: Ids) -> NDArray[np.float64]:
        row = np.zeros((1, 14), dtype=np.int64)
        row[0, 1 : 1 + len(ids)] = ids[:13]
        fixed = self._empty(1)
        law = np.where((fixed == row) | (fixed == PAD), 0.0, -np.inf)[0]
        token = row[0, 1:6] - self.lexicon_["visual"][0]
        shown = token // SYNONYMS - FIRST
        own = (shown >= 0) & (shown < np.array(SIZES))
        posterior = self.posterior(row)
        with np.errstate(divide="ignore"):
            seen = self.noise / VISUAL + own * (1 - self.noise) / (np.array(SIZES) * SYNONYMS)
            law[1:6] = np.log(seen * ((token >= 0) & (token < VISUAL)))
            law[10] = np.log(posterior["object"][0] @ (self.words_["object"] == row[0, 10]))
            named = [posterior[name][0] @ (self.words_[name] == row[0, 12]) for name in NAMES]
            law[12] = np.log(self.shares @ named)
        return np.r_[law[1 : 1 + len(ids)], np.full(max(len(ids) - 13, 0), -np.inf)]

    def _empty(self, n: int) -> Ids:
        """Captions whose blanks are 0."""
        ids = np.zeros((n, 14), dtype=np.int64)
        ids[:, 0], ids[:, 13] = BOS, EOS
        ids[:, 6:10] = self.lexicon_.encode("a photo of a")
        ids[:, 11] = self.lexicon_.encode("in_the")
        return ids

    def _exam(self, name: str) -> Exam:
        options: Any = np.tile(self.words_[name], (len(self.scenes_), 1))
        return Exam(self.scenes_.ids[:, :12], options, self.scenes_.truth[name])
