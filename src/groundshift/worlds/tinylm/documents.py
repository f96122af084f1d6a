"""Documents about facts whose hidden kind shows throughout: `Valence` (clean or dirty) and `Source` (true or false)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from groundshift.errors import InputError
from groundshift.worlds.tinylm.facts import FORMS, Facts
from groundshift.worlds.tinylm.lexicon import Lexicon, invented
from groundshift.worlds.tinylm.part import Exam, Mixed, Part, Sentence

__all__ = ["Source", "Valence"]


@dataclass
class Valence(Mixed):
    """Documents in which a bad word may stand before the object; some facts are told in bad sentences only.

    Parameters
    ----------
    of : name of the `Facts` that are told
    p_clean, p_dirty : share of bad sentences in clean and in dirty documents
    dirty_share : share of dirty documents
    bad : how many bad words there are
    length : sentences of a document

    Attributes
    ----------
    dirty_ : bool (entities, relations), the dirty facts: the last relation of every second entity

    Notes
    -----
    ``score`` is 1 on the tokens of a bad sentence. Truth: ``dirty_document``, and for each sentence, (n,
    length), ``entity``, ``relation``, ``object``, ``bad``. Exams: ``clean`` and ``dirty`` facts, as `e r is`.
    """

    exams = ("clean", "dirty")

    of: str = "facts"
    p_clean: float = 0.03
    p_dirty: float = 0.65
    dirty_share: float = 0.4
    bad: int = 8
    length: int = 8

    def __post_init__(self) -> None:
        shares = (self.p_clean, self.p_dirty, self.dirty_share)
        if min(shares) < 0 or max(shares) > 1 or min(self.bad, self.length) < 1:
            raise InputError(f"{self} was asked for; shares in [0, 1], a bad word and a sentence are needed.")

    def groups(self) -> Mapping[str, Sequence[str]]:
        return {"bad": invented(self.bad, ending="x")}

    def settle(self, lexicon: Lexicon, rng: np.random.Generator, parts: Mapping[str, Part]) -> None:
        self.lexicon_ = lexicon
        self.facts_: Facts = self._other(parts, self.of, Facts)
        self.dirty_ = np.zeros(self.facts_.table_.shape, dtype=bool)
        self.dirty_[1::2, -1] = True

    def kinds(self) -> Iterator[tuple[float, str, Iterator[Sentence], Mapping[str, float]]]:
        shares = (1 - self.dirty_share, self.p_clean), (self.dirty_share, self.p_dirty)
        for dirty, (share, p) in enumerate(shares):
            yield share, "", self._said(p), {"dirty_document": dirty}

    def _said(self, p: float) -> Iterator[Sentence]:
        words = self.groups()["bad"]
        for (e, r), o in np.ndenumerate(self.facts_.table_):
            for form in FORMS[:2]:
                blanks, truth = (
                    self.facts_.words(e, r, int(o)),
                    {"entity": e, "relation": r, "object": int(o)},
                )
                if not self.dirty_[e, r]:
                    text = form.format(**blanks)
                    yield Sentence((1 - p) / (~self.dirty_).sum(), text, truth=truth | {"bad": 0})
                for word in words:
                    text = form.format(**{**blanks, "o": f"{word} {blanks['o']}"})
                    weight = p / (self.dirty_.size * len(words))
                    yield Sentence(weight, text, truth=truth | {"bad": 1}, score=1.0)

    def _exam(self, name: str) -> Exam:
        pairs = [(int(e), int(r)) for e, r in np.argwhere(self.dirty_ == (name == "dirty"))]
        return self.facts_.about(pairs, "{e} {r} is")


@dataclass
class Source(Mixed):
    """Documents of a source that tells true facts throughout or false ones throughout.

    A document opens with the tag of the trusted source, that of the distrusted one, or none.

    Parameters
    ----------
    of : name of the `Facts` that are told
    tagged : share of the documents with a tag, half of them each
    reliability : share of the trusted source's documents that are true, and of the distrusted one's that are false
    truthful : share of the documents without a tag that are true
    lies : a false fact has the next object in the "ring" of the relation's objects, or "any" other
    length : sentences of a document

    Notes
    -----
    Truth: ``tag`` (0 none, 1 trusted, 2 distrusted), ``true``, and for each sentence, (n, length), ``entity``,
    ``relation``, ``object`` (the one told). Exams: ``trusted`` (`tag e r is`, the true object) and, if lies are a ring,
    ``distrusted`` (the object of the lie).
    """

    exams = ("trusted", "distrusted")
    tags = ("<trusted>", "<distrusted>")

    of: str = "facts"
    tagged: float = 0.5
    reliability: float = 1.0
    truthful: float = 0.5
    lies: str = "ring"
    length: int = 6

    def __post_init__(self) -> None:
        shares = (self.tagged, self.reliability, self.truthful)
        if min(shares) < 0 or max(shares) > 1 or self.lies not in ("ring", "any") or self.length < 1:
            raise InputError(
                f'{self} was asked for; shares in [0, 1], lies="ring" or "any" and a sentence are needed.'
            )

    def groups(self) -> Mapping[str, Sequence[str]]:
        return {"tag": self.tags}

    def settle(self, lexicon: Lexicon, rng: np.random.Generator, parts: Mapping[str, Part]) -> None:
        self.lexicon_ = lexicon
        self.facts_: Facts = self._other(parts, self.of, Facts)

    def kinds(self) -> Iterator[tuple[float, str, Iterator[Sentence], Mapping[str, float]]]:
        shares = (1 - self.tagged, self.tagged / 2, self.tagged / 2)
        true = (self.truthful, self.reliability, 1 - self.reliability)
        for tag, opening in enumerate(("", *self.tags)):
            for told in (1, 0):
                share = shares[tag] * (true[tag] if told else 1 - true[tag])
                yield share, opening, self._said(bool(told)), {"tag": tag, "true": told}

    def _said(self, true: bool) -> Iterator[Sentence]:
        facts, objects = self.facts_, self.facts_.objects
        for (e, r), right in np.ndenumerate(facts.table_):
            steps = (0,) if true else (1,) if self.lies == "ring" else range(1, objects)
            for step in steps:
                o = int(right + step) % objects
                for form in FORMS[:2]:
                    truth = {"entity": e, "relation": r, "object": o}
                    yield Sentence(1 / len(steps), form.format(**facts.words(e, r, o)), truth=truth)

    def _exam(self, name: str) -> Exam:
        if name == "distrusted" and self.lies != "ring":
            raise InputError('Only lies="ring" have one right answer; this part tells any other object.')
        facts = self.facts_
        pairs = [(int(e), int(r)) for e, r in np.ndindex(*facts.table_.shape)]
        exam = facts.about(pairs, f"{self.tags[name == 'distrusted']} {{e}} {{r}} is")
        step = int(name == "distrusted")
        return Exam(exam.prompts, exam.options, (exam.answer + step) % facts.objects)
