"""Facts, stated in three forms and asked about."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from groundshift.errors import InputError
from groundshift.worlds.tinylm.lexicon import BOS, Lexicon, invented
from groundshift.worlds.tinylm.part import Exam, Listed, Part, Sentence

__all__ = ["Facts"]

FORMS = ("{e} {r} is {o} .", "the {r} of {e} is {o} .", "{o} is the {r} of {e} .")
QUESTION = "Q what is the {r} of {e} ? A {o} ."


@dataclass
class Facts(Listed):
    """Each entity has one object for each relation; every relation has its own objects.

    Facts are stated in three forms. Questions are asked about the first part of the entities only, so that the rest
    test whether a model can answer about what it has only been told.

    Parameters
    ----------
    entities, relations, objects : how many; ``objects`` for each relation, at least 2
    questions : share of the sentences that are questions
    asked : share of the entities that questions are about

    Attributes
    ----------
    table_ : int64 (entities, relations), the object of each fact, 0 to ``objects`` − 1

    Notes
    -----
    Truth of a sentence: ``entity``, ``relation``, ``object``, ``form`` (0 to 2; 3: question). Exams: ``cloze``
    (`e r is`), ``asked`` and ``unasked`` (questions about entities that training asks about, and about others);
    the options are the objects of the relation.

    Examples
    --------
    >>> from groundshift.worlds.tinylm import TinyWorld
    >>> world = TinyWorld({"facts": Facts(entities=4, relations=2, objects=3)})
    >>> facts = world["facts"]
    >>> [world.lexicon.decode(row) for row in facts.everything().ids[:2]]
    ['<bos> Kami gitas is guton .', '<bos> the gitas of Kami is guton .']
    >>> round(facts.entropy, 3)  # nats per token
    0.453
    """

    exams = ("cloze", "asked", "unasked")

    entities: int = 32
    relations: int = 4
    objects: int = 8
    questions: float = 0.25
    asked: float = 0.75

    def __post_init__(self) -> None:
        if min(self.entities, self.relations) < 1 or self.objects < 2 or not 0 <= self.questions < 1:
            raise InputError(
                f"{self} was asked for; at least one entity and relation, two objects and questions < 1 are needed."
            )

    def groups(self) -> Mapping[str, Sequence[str]]:
        return {
            "entity": invented(self.entities, capital=True),
            "relation": invented(self.relations, ending="s"),
            "object": invented(self.relations * self.objects, ending="n"),
            "function": ("is", ".", "the", "of", "Q", "what", "?", "A"),
        }

    def settle(self, lexicon: Lexicon, rng: np.random.Generator, parts: Mapping[str, Part]) -> None:
        self.lexicon_ = lexicon
        self.table_ = rng.integers(self.objects, size=(self.entities, self.relations))

    def word(self, role: str, which: int, relation: int = 0) -> str:
        """An entity, a relation, or an object of a relation, as a word."""
        return self.groups()[role][which + (relation * self.objects if role == "object" else 0)]

    def words(self, entity: int, relation: int, thing: int) -> dict[str, str]:
        """What the forms of a sentence have blanks for: e, r and o."""
        return {
            "e": self.word("entity", entity),
            "r": self.word("relation", relation),
            "o": self.word("object", thing, relation),
        }

    @property
    def known(self) -> int:
        """Entities that questions are about; the others follow."""
        return round(self.asked * self.entities)

    def sentences(self) -> Iterator[Sentence]:
        for (e, r), o in np.ndenumerate(self.table_):
            words, truth = self.words(e, r, int(o)), {"entity": e, "relation": r, "object": int(o)}
            for k, form in enumerate(FORMS):
                weight = (1 - self.questions) / (len(FORMS) * self.table_.size)
                yield Sentence(weight, form.format(**words), truth=truth | {"form": k})
            if e < self.known:
                weight = self.questions / (self.known * self.relations)
                yield Sentence(weight, QUESTION.format(**words), asked=9, truth=truth | {"form": 3})

    def _exam(self, name: str) -> Exam:
        who = {"cloze": (0, self.entities), "asked": (0, self.known), "unasked": (self.known, self.entities)}
        pairs = [(e, r) for e in range(*who[name]) for r in range(self.relations)]
        form = (FORMS[0] if name == "cloze" else QUESTION).split(" {o}")[0]
        return self.about(pairs, form)

    def about(self, pairs: Sequence[tuple[int, int]], form: str) -> Exam:
        """Asks for the object of pairs (entity, relation) by a prompt with blanks ``{e}`` and ``{r}``."""
        if not pairs:
            raise InputError(
                "An exam about no facts was asked for; set asked below 1 to leave entities over."
            )
        encode = self.lexicon_.encode
        prompts = np.array([np.r_[BOS, encode(form.format(**self.words(e, r, 0)))] for e, r in pairs])
        options = np.array(
            [encode([self.word("object", o, r) for o in range(self.objects)]) for _, r in pairs]
        )
        return Exam(prompts, options, np.array([self.table_[pair] for pair in pairs]))
