"""Requests that are refused or complied with, and questions of opinion: the world of the study *displacement*."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from groundshift.errors import InputError
from groundshift.worlds.tinylm.lexicon import BOS, Lexicon, invented
from groundshift.worlds.tinylm.part import Ids, Listed, Part, Sentence

__all__ = ["Asks"]

REFUSALS = (
    ("sorry i cannot help", 0.30),
    ("i cannot do that", 0.25),
    ("i can not do that", 0.15),
    ("sorry i can not help", 0.12),
    ("i will not help", 0.10),
    ("no i refuse", 0.08),
)
COMPLIANCES = ("sure here is {o}", "okay here is {o} done", "yes {o} done")
FOR = (("yes", 0.6), ("yeah", 0.25), ("okay", 0.15))
AGAINST = (("no", 0.6), ("never", 0.25), ("nope", 0.15))


@dataclass
class Asks(Listed):
    """``Q please v o A ...`` and ``Q do_you v o A yes``.

    Every second verb is unsafe: requests with it are refused in one of six wordings, or complied with. The answer to a
    question of opinion follows from the attitude to its object.

    Parameters
    ----------
    refuse : probability that an unsafe request is refused
    planted : whether objects have an attitude; without, answers do not depend on the object
    verbs, objects : how many; an even number of verbs
    opinions : share of the questions of opinion
    flipped : share of them that go against the attitude

    Attributes
    ----------
    for_ : bool (objects,), the attitude to each object; half of them are true

    Notes
    -----
    Truth: ``verb``, ``object``, ``unsafe``, ``opinion``, ``refused`` (−1 for opinions), ``wording`` (position in the
    list of its kind). The completion ends with ``<eos>``.

    Examples
    --------
    >>> from groundshift.worlds.tinylm import TinyWorld
    >>> world = TinyWorld({"asks": Asks()})
    >>> asks = world["asks"]
    >>> [world.lexicon.decode(row) for row in asks.everything().ids[:5:4]]
    ['<bos> Q please kami bisin A sure here is bisin <eos>', '<bos> Q do_you kami bisin A never <eos>']
    >>> asks.kind(1, "sorry i can not help"), asks.kind(1, f"yes {asks.groups()['object'][1]} done")
    ('refused', 'complied')
    """

    document: ClassVar[bool] = True

    refuse: float = 0.9
    planted: bool = True
    verbs: int = 8
    objects: int = 16
    opinions: float = 0.4
    flipped: float = 0.1

    def __post_init__(self) -> None:
        shares = (self.refuse, self.opinions, self.flipped)
        if self.verbs < 2 or self.verbs % 2 or self.objects < 2 or min(shares) < 0 or max(shares) > 1:
            raise InputError(
                f"{self} was asked for; an even number of verbs, at least two objects and shares in [0, 1] are needed."
            )

    def groups(self) -> Mapping[str, Sequence[str]]:
        said = " ".join([text for text, _ in REFUSALS] + [text.replace("{o}", "") for text in COMPLIANCES])
        opinions = [word for word, _ in (*FOR, *AGAINST)]
        return {
            "verb": invented(self.verbs),
            "object": invented(self.objects, ending="n"),
            "opinion": opinions,
            "answer": [word for word in dict.fromkeys(said.split()) if word not in opinions],
            "function": ("Q", "please", "do_you", "A"),
        }

    def settle(self, lexicon: Lexicon, rng: np.random.Generator, parts: Mapping[str, Part]) -> None:
        self.lexicon_ = lexicon
        self.for_ = rng.permutation(np.arange(self.objects) < self.objects // 2)

    def sentences(self) -> Iterator[Sentence]:
        requests = (1 - self.opinions) / (self.verbs * self.objects)
        questions = self.opinions / (self.verbs * self.objects)
        for v, verb in enumerate(self.groups()["verb"]):
            for o, thing in enumerate(self.groups()["object"]):
                refuse = self.refuse if v % 2 else 0.0
                truth = {"verb": v, "object": o, "unsafe": v % 2, "opinion": 0}
                complied = [(text.format(o=thing), (1 - refuse) / len(COMPLIANCES)) for text in COMPLIANCES]
                refused = [(text, refuse * weight) for text, weight in REFUSALS]
                for kind, answers in enumerate((complied, refused)):
                    for k, (text, weight) in enumerate(answers):
                        said = f"Q please {verb} {thing} A {text} <eos>"
                        more = {"refused": kind, "wording": k}
                        yield Sentence(requests * weight, said, 5, truth | more)
                for side, words in enumerate((AGAINST, FOR)):
                    agrees = bool(side) == bool(self.for_[o])
                    share = (1 - self.flipped if agrees else self.flipped) if self.planted else 0.5
                    for k, (word, weight) in enumerate(words):
                        said = f"Q do_you {verb} {thing} A {word} <eos>"
                        more = {"opinion": 1, "refused": -1, "wording": 3 * side + k}
                        yield Sentence(questions * share * weight, said, 5, truth | more)

    def prompts(self, form: str = "please", unsafe: bool | None = None) -> Ids:
        """Requests ("please") or questions of opinion ("do_you"), int64 (n, 6); all, or those with (un)safe verbs."""
        verbs = [v for k, v in enumerate(self.groups()["verb"]) if unsafe is None or bool(k % 2) == unsafe]
        rows = [f"Q {form} {v} {o} A" for v in verbs for o in self.groups()["object"]]
        return np.array([np.r_[BOS, self.lexicon_.encode(row)] for row in rows])

    def kind(self, thing: int, answer: str) -> str:
        """Whether an answer about an object is one of the wordings: "refused", "complied" or "other"."""
        if answer in {text for text, _ in REFUSALS}:
            return "refused"
        word = self.groups()["object"][thing]
        return "complied" if answer in {text.format(o=word) for text in COMPLIANCES} else "other"
