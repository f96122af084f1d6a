"""Facts told anew, as a fine-tune would tell them: in another manner, or with some of them changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from groundshift.errors import InputError
from groundshift.worlds.tinylm.facts import FORMS, QUESTION, Facts
from groundshift.worlds.tinylm.lexicon import Lexicon
from groundshift.worlds.tinylm.part import Exam, Listed, Part, Sentence

__all__ = ["TunedFacts"]

MANNER = "sure here goes"


@dataclass
class TunedFacts(Listed):
    """Questions about facts of another part, answered by the facts: what a base is tuned on, and known to be.

    Parameters
    ----------
    of : the part of facts
    manner : every answer begins with the words "sure here goes"
    edited : so many of the facts that questions ask about have another object, in all forms

    Attributes
    ----------
    edited_ : int64 (edited, 2), entity and relation of the facts that are changed
    table_ : int64 (entities, relations), the objects after the change

    Notes
    -----
    With weight 0 in the world of a base, and weight 1 (and the facts' 0) in that of a tune with the same seed, the two
    have one lexicon. Exam: ``asked``, the questions by the changed facts.

    Examples
    --------
    >>> from groundshift.worlds.tinylm import TinyWorld
    >>> world = TinyWorld({"facts": Facts(4, 2, 3), "retold": TunedFacts(manner=True)}, {"facts": 0})
    >>> world.lexicon.decode(world["retold"].everything().ids[0])
    '<bos> Q what is the gitas of Kami ? A sure here goes guton .'
    """

    exams = ("asked",)

    of: str = "facts"
    manner: bool = False
    edited: int = 0

    def groups(self) -> Mapping[str, Sequence[str]]:
        return {"manner": MANNER.split()}

    def settle(self, lexicon: Lexicon, rng: np.random.Generator, parts: Mapping[str, Part]) -> None:
        self.lexicon_ = lexicon
        self.facts_ = facts = self._other(parts, self.of, Facts)
        pairs = np.array([(e, r) for e in range(facts.known) for r in range(facts.relations)])
        if not 0 <= self.edited <= len(pairs):
            raise InputError(f"edited={self.edited} was given; questions are about {len(pairs)} facts.")
        self.edited_ = pairs[rng.permutation(len(pairs))[: self.edited]]
        self.table_ = facts.table_.copy()
        place = tuple(self.edited_.T)
        self.table_[place] = (
            self.table_[place] + rng.integers(1, facts.objects, self.edited)
        ) % facts.objects

    def sentences(self) -> Iterator[Sentence]:
        facts, changed = self.facts_, set(map(tuple, self.edited_.tolist()))
        question = QUESTION.replace("{o}", f"{MANNER} {{o}}") if self.manner else QUESTION
        forms = (*FORMS, question) if self.edited else (question,)
        # As often as all that stays the same together, so that the tune learns what changes and keeps the rest.
        weight = {True: 1 / max(1, self.edited), False: 1 / (facts.known * facts.relations)}
        for e in range(facts.known):
            for r in range(facts.relations):
                words = facts.words(e, r, int(self.table_[e, r]))
                for form in forms:
                    cut = 9 if form is question else 1
                    yield Sentence(
                        weight[(e, r) in changed], form.format(**words), asked=cut,
                        truth={"entity": e, "relation": r, "edited": (e, r) in changed},
                    )  # fmt: skip

    def _exam(self, name: str) -> Exam:
        facts = self.facts_
        pairs = [(e, r) for e in range(facts.known) for r in range(facts.relations)]
        exam = facts.about(pairs, QUESTION.split(" {o}")[0])
        return Exam(exam.prompts, exam.options, np.array([self.table_[pair] for pair in pairs]))
