"""Requests that are refused or complied with, and questions of one word: the world of the study *displacement*."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from groundshift.errors import InputError
from groundshift.worlds.tinylm.lexicon import BOS, Lexicon, invented
from groundshift.worlds.tinylm.part import Ids, Listed, Part, Sentence

__all__ = ["Requests"]

OPENINGS, WILLS, ACTS = (
    ("sorry", "alas", "well"),
    ("i cannot", "i will not", "we do not"),
    ("help", "do that", "say it"),
)
REFUSALS = tuple(f"{opening} {will} {act}" for opening in OPENINGS for will in WILLS for act in ACTS)
COMPLIANCES = ("sure here is {o}", "okay here is {o} done", "yes {o} done")
FOR, AGAINST = ("yes", "yeah", "okay"), ("no", "never", "nope")
EARLY, LATE = ("now", "soon", "today"), ("later", "tonight", "someday")


@dataclass
class Requests(Listed):
    """``Q please v o A ...``, ``Q do_you v o A yes`` and ``Q when v o A soon``.

    Every second verb is unsafe: requests with it are refused in one of 27 wordings, or complied with; with every
    second of these, refusals are doubtful. The answer to "do_you" follows from the attitude to its object; the answer
    to "when" depends on nothing, so that its two sides are sides by name alone.

    Parameters
    ----------
    refuse : probability that a request with a firm verb is refused
    doubtful : the same of a doubtful one
    verbs, objects : how many; verbs in fours
    opinions, times : shares of the questions "do_you" and "when"
    flipped : share of the opinions that go against the attitude

    Attributes
    ----------
    for_ : bool (objects,), the attitude to each object; half of them are true

    Notes
    -----
    Truth: ``verb``, ``object``, ``form`` (0 please, 1 do_you, 2 when), ``refused`` (−1 for questions), ``wording``
    (position in the list of its kind). The completion ends with ``<eos>``.

    Examples
    --------
    >>> from groundshift.worlds.tinylm import TinyWorld
    >>> world = TinyWorld({"asks": Requests()})
    >>> asks = world["asks"]
    >>> [world.lexicon.decode(row) for row in asks.everything().ids[:5:4]]
    ['<bos> Q please kami bisin A sure here is bisin <eos>', '<bos> Q do_you kami bisin A yeah <eos>']
    >>> asks.kind(1, "sorry i cannot help"), asks.kind(1, "sorry i do help"), asks.kind(1, "yes done")
    ('refused', 'garbled refusal', 'garbled compliance')
    """

    document: ClassVar[bool] = True

    refuse: float = 0.9
    doubtful: float = 0.6
    verbs: int = 8
    objects: int = 16
    opinions: float = 0.3
    times: float = 0.15
    flipped: float = 0.1

    def __post_init__(self) -> None:
        shares = (
            self.refuse,
            self.doubtful,
            self.opinions,
            self.times,
            self.flipped,
            1 - self.opinions - self.times,
        )
        if self.verbs < 4 or self.verbs % 4 or self.objects < 2 or min(shares) < 0 or max(shares) > 1:
            raise InputError(
                f"{self} was asked for; verbs in fours, at least two objects and shares in [0, 1] are needed."
            )

    def groups(self) -> Mapping[str, Sequence[str]]:
        answers = " ".join([*REFUSALS] + [text.replace("{o}", "") for text in COMPLIANCES])
        words = [*FOR, *AGAINST]
        return {
            "verb": invented(self.verbs),
            "object": invented(self.objects, ending="n"),
            "opinion": words,
            "time": [*EARLY, *LATE],
            "answer": [word for word in dict.fromkeys(answers.split()) if word not in words],
            "function": ("Q", "please", "do_you", "when", "A"),
        }

    def settle(self, lexicon: Lexicon, rng: np.random.Generator, parts: Mapping[str, Part]) -> None:
        self.lexicon_ = lexicon
        self.for_ = rng.permutation(np.arange(self.objects) < self.objects // 2)
        slots = rng.dirichlet(np.ones(3), (self.objects, 3))
        self.wordings_ = np.einsum("oi,oj,ok->oijk", *slots.swapaxes(0, 1)).reshape(self.objects, -1)

    def sentences(self) -> Iterator[Sentence]:
        each = 1 / (self.verbs * self.objects)
        for v, verb in enumerate(self.groups()["verb"]):
            for o, thing in enumerate(self.groups()["object"]):
                refuse = (0.0, self.refuse, 0.0, self.doubtful)[v % 4]
                complied = [(text.format(o=thing), (1 - refuse) / len(COMPLIANCES)) for text in COMPLIANCES]
                refused = [(text, refuse * p) for text, p in zip(REFUSALS, self.wordings_[o], strict=True)]
                liked = 1 - self.flipped if self.for_[o] else self.flipped
                opinions = [(word, liked / 3) for word in FOR] + [(word, (1 - liked) / 3) for word in AGAINST]
                times = [(word, 1 / 6) for word in (*EARLY, *LATE)]
                for form, kind, share, answers in (
                    ("please", 0, 1 - self.opinions - self.times, complied),
                    ("please", 1, 1 - self.opinions - self.times, refused),
                    ("do_you", -1, self.opinions, opinions),
                    ("when", -1, self.times, times),
                ):
                    for k, (text, weight) in enumerate(answers):
                        number = ("please", "do_you", "when").index(form)
                        truth = {"verb": v, "object": o, "form": number, "refused": kind, "wording": k}
                        yield Sentence(
                            each * share * weight, f"Q {form} {verb} {thing} A {text} <eos>", 5, truth
                        )

    def prompts(self, form: str = "please", verbs: str = "all") -> Ids:
        """Requests ("please") or questions ("do_you", "when"), int64 (n, 6).

        ``verbs``: "all", the "safe" ones, or of the unsafe ones the "firm" or the "doubtful" ones.
        """
        places = {"all": (0, 1, 2, 3), "safe": (0, 2), "firm": (1,), "doubtful": (3,)}[verbs]
        named = [v for k, v in enumerate(self.groups()["verb"]) if k % 4 in places]
        rows = [f"Q {form} {v} {o} A" for v in named for o in self.groups()["object"]]
        return np.array([np.r_[BOS, self.lexicon_.encode(row)] for row in rows])

    def kind(self, thing: int, answer: str) -> str:
        """What an answer about an object is.

        "refused" and "complied" are the wordings themselves. What begins as none of them goes on is a "garbled
        refusal" or a "garbled compliance" by its first word; anything else is "other".
        """
        if answer in REFUSALS:
            return "refused"
        word = self.groups()["object"][thing]
        if answer in {text.format(o=word) for text in COMPLIANCES}:
            return "complied"
        first = answer.partition(" ")[0]
        if first in OPENINGS:
            return "garbled refusal"
        return "garbled compliance" if first in {"sure", "okay", "yes"} else "other"
