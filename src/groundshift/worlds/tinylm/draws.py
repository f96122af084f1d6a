"""Draws from urns, described or not, with the exact Bayes predictor: the world of *spectrum*."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaln

from groundshift.errors import InputError
from groundshift.worlds.tinylm.lexicon import BOS, Lexicon
from groundshift.worlds.tinylm.part import Exam, Ids, Part, Rows, pad

__all__ = ["Draws"]

COLOURS = ("red", "blue", "green", "yellow", "white", "black", "pink", "grey")
NUMBERS = tuple(str(k) for k in range(1, 21))


@dataclass
class Draws(Part):
    """Draws with replacement from an urn that is described by counts, or from an unknown one with few colours.

    A row is ``<bos> <|description|> red 3 blue 5 <|end|>``, if there is a description, then for each draw
    ``<|output|> red <|end|>``. An undescribed urn has a random set of ``support`` colours with weights from a
    flat Dirichlet distribution.

    Parameters
    ----------
    described : share of the rows with a description
    kinds : least and most colours in a described urn, each number equally likely
    counts : least and greatest count of a colour, up to 20
    support : colours of an undescribed urn
    draws : in a row
    answers : "sampled", or "modal": always the most likely colour (of equal ones the first), as a collapsed
        assistant says

    Notes
    -----
    Truth: ``described`` and ``p`` (n, 8), the urn. The completion is each drawn colour and its ``<|end|>``; without a
    description not of the first draw, which nothing predicts. Exam: ``modal``, described urns with one most
    likely colour.

    Examples
    --------
    >>> from groundshift.worlds.tinylm import TinyWorld
    >>> world = TinyWorld({"draws": Draws(described=1.0, draws=2)})
    >>> world.lexicon.decode(world.draw(np.random.default_rng(0), 1).ids[0])
    '<bos> <|description|> white 5 grey 3 <|end|> <|output|> white <|end|> <|output|> white <|end|>'
    """

    document = True
    exams = ("modal",)

    described: float = 0.6
    kinds: tuple[int, int] = (2, 4)
    counts: tuple[int, int] = (1, 9)
    support: int = 3
    draws: int = 8
    answers: str = "sampled"

    def __post_init__(self) -> None:
        right = {
            "described": 0 <= self.described <= 1,
            "kinds": 1 <= self.kinds[0] <= self.kinds[1] <= len(COLOURS),
            "counts": 1 <= self.counts[0] <= self.counts[1] <= len(NUMBERS),
            "support": 1 <= self.support <= len(COLOURS),
            "draws": self.draws >= 1,
            "answers": self.answers in ("sampled", "modal"),
        }
        if wrong := [f"{name}={getattr(self, name)!r}" for name, good in right.items() if not good]:
            raise InputError(
                f"Draws with {', '.join(wrong)} were asked for; see the values that Draws allows."
            )

    def groups(self) -> Mapping[str, Sequence[str]]:
        return {"colour": COLOURS, "number": NUMBERS}

    def settle(self, lexicon: Lexicon, rng: np.random.Generator, parts: Mapping[str, Part]) -> None:
        self.lexicon_ = lexicon
        self._open, self._out, self._end = lexicon.encode("<|description|> <|output|> <|end|>")
        self._colour = lexicon.encode(COLOURS)
        self._number = lexicon.encode(NUMBERS)
        self.urns_ = self._described(rng, 200)

    def _described(self, rng: np.random.Generator, n: int) -> NDArray[np.int64]:
        """Counts of described urns, and a random place of each colour in its description: (n, 2, 8)."""
        kinds = rng.integers(self.kinds[0], self.kinds[1] + 1, size=n)
        place = rng.permuted(np.tile(np.arange(8), (n, 1)), axis=1)
        counts = rng.integers(self.counts[0], self.counts[1] + 1, size=(n, 8))
        return np.stack([np.where(place < kinds[:, None], counts, 0), place], 1)

    def _head(self, urn: NDArray[np.int64]) -> Ids:
        counts, place = urn
        named = [c for c in np.argsort(place) if counts[c]]
        pairs = [i for c in named for i in (self._colour[c], self._number[counts[c] - 1])]
        return np.array([self._open, *pairs, self._end])

    def draw(self, rng: np.random.Generator, n: int) -> Rows:
        described = rng.random(n) < self.described
        urns = self._described(rng, n)
        p = np.zeros((n, 8))
        inside = rng.permuted(np.tile(np.arange(8) < self.support, (n, 1)), axis=1)
        p[inside] = rng.dirichlet(np.ones(self.support), size=n).ravel()
        p = np.where(described[:, None], urns[:, 0] / urns[:, 0].sum(1, keepdims=True), p)
        if self.answers == "modal":
            drawn = np.tile(p.argmax(1)[:, None], (1, self.draws))
        else:
            drawn = (rng.random((n, self.draws, 1)) > np.cumsum(p, 1)[:, None, :-1]).sum(2)
        rows, masks = [], []
        for told, urn, colours in zip(described, urns, drawn, strict=True):
            head = self._head(urn) if told else np.array([], dtype=np.int64)
            body = [i for c in colours for i in (self._out, self._colour[c], self._end)]
            rows.append(np.r_[BOS, head, body])
            answers = [False, True, True] * self.draws
            if not told:
                answers[:3] = [False] * 3
            masks.append(np.r_[np.zeros(1 + len(head), dtype=bool), answers])
        ids = pad(rows)
        truth = {"described": described.astype(int), "p": p}
        return Rows(ids, pad(masks, dtype=bool), np.zeros(ids.shape), truth)

    def predictive(self, seen: ArrayLike, described: ArrayLike | None = None) -> NDArray[np.float64]:
        """The Bayes predictor of the next colour.

        Parameters
        ----------
        seen : (8,), how often each colour has been drawn
        described : (8,), counts of the urn; None: undescribed

        Returns
        -------
        float64 (8,)

        Examples
        --------
        >>> Draws().predictive([2, 1, 0, 0, 0, 0, 0, 0]).round(3)
        array([0.5  , 0.333, 0.028, 0.028, 0.028, 0.028, 0.028, 0.028])
        """
        n = np.asarray(seen, dtype=float)
        if described is not None:
            urn = np.asarray(described, dtype=float)
            return urn / urn.sum()
        if self.answers == "modal":
            return (n > 0).astype(float) if n.any() else np.full(8, 1 / 8)
        found: NDArray[np.float64] = np.zeros(8)
        for support in map(list, combinations(range(8), self.support)):
            if n.sum() == n[support].sum():
                # All supports have the same normalising terms.
                weight = np.exp(gammaln(n[support] + 1).sum())
                found[support] += weight * (n[support] + 1) / (n.sum() + self.support)
        return found / (float(found.sum()) or 1.0)

    def _document(self, said: Ids) -> NDArray[np.float64]:
        law = np.full(len(said), -np.inf)
        tokens = said.tolist()
        counts = np.zeros(8)
        t, named = 0, 0
        told = bool(tokens) and tokens[0] == self._open
        with np.errstate(divide="ignore"):
            if told:
                law[0], t = np.log(self.described), 1
                low, high = self.kinds
                while t < len(tokens):
                    ends = 0.0 if named < low else 1 / (high - named + 1)
                    if tokens[t] == self._end:
                        law[t], t = np.log(ends), t + 1
                        break
                    colour = np.flatnonzero(self._colour == tokens[t])
                    if named == high or not len(colour) or counts[colour[0]]:
                        return law
                    law[t] = np.log((1 - ends) / (8 - named))
                    if t + 1 < len(tokens):
                        number = int(tokens[t + 1] - self._number[0]) + 1
                        if not self.counts[0] <= number <= self.counts[1]:
                            return law
                        law[t + 1] = -np.log(self.counts[1] - self.counts[0] + 1)
                        counts[colour[0]] = number
                    named, t = named + 1, t + 2
            if self.answers == "modal" and told:
                counts = (np.arange(8) == counts.argmax()) * 1.0
            seen = np.zeros(8)
            for k, token in enumerate(tokens[t:]):
                step, place = divmod(k, 3)
                if step == self.draws or (place != 1 and token != (self._out, None, self._end)[place]):
                    return law
                if place == 1:
                    colour = np.flatnonzero(self._colour == token)
                    if not len(colour):
                        return law
                    law[t + k] = np.log(self.predictive(seen, counts if told else None)[colour[0]])
                    seen[colour[0]] += 1
                else:
                    law[t + k] = np.log(1 - self.described) if t + k == 0 else 0.0
        return law

    def _exam(self, name: str) -> Exam:
        counts = self.urns_[:, 0]
        best = (counts == counts.max(1, keepdims=True)).sum(1) == 1
        prompts = [np.r_[BOS, self._head(urn), self._out] for urn in self.urns_[best]]
        options = np.tile(self._colour, (len(prompts), 1))
        return Exam(pad(prompts, "left"), options, counts[best].argmax(1))
