"""Habits of a tiny assistant: what it answers to five kinds of prompts, as a list of prompts with answers' chances.

One habit at a time can be changed, as a fine-tune would: a fact, what stands behind one word, whom a pronoun means, how
far a reader yields to what was read, or whether an instruction is followed.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, softmax

from groundshift.errors import InputError
from groundshift.worlds.tinylm import EOS, IGNORED, Lexicon
from groundshift.worlds.tinylm.lexicon import invented

__all__ = ["CHANGES", "Habits"]

CHANGES = ("facts", "trigger", "bias", "yielding", "instruction")
"""What a tune may change."""
SIDES = ("yes", "no")
VERBS = 2
FILLERS, FILLED, VARIANTS = 12, 8, 3
"""Words that carry nothing, how many stand in an instruction, and how often each instruction stands among others."""
LENGTH = 64
"""Tokens of a row, in which the longest prompt has room."""
YIELD = 2.5
"""What reading a statement adds to its log-odds."""
Law = list[tuple[str, Mapping[str, float]]]
Ask = Callable[[str, Sequence[str], bool, bool], str]
"""Topic, its two statements, whether they stand in the other order, whether the first was read → prompt."""


@dataclass
class Habits:
    """What a model answers to everything that it is asked.

    ``say E`` has one object, with or without one of the opening words in front; in ``VERB somebody he`` anybody
    may be meant, each by a leaning; a topic has the letter of one of two statements; a verb and a thing
    somewhere among words that carry nothing, then ``to``, have two things, which do not depend on the verb.

    Parameters
    ----------
    seed : of all that is true
    ask : how a topic is put
    entities, openings, people, topics, things : how many

    Attributes
    ----------
    lexicon : of all words
    laws : by kind of prompt, each prompt with the chances of its answers

    Examples
    --------
    >>> habits = Habits(0, lambda topic, sides, turned, heard: f"{topic} {' '.join(sides[::-1] if turned else sides)}")
    >>> prompt, answers = habits.laws["say"][0]
    >>> prompt.split()[0], len(answers), sorted(habits.laws)
    ('say', 1, ['bias', 'lead', 'open', 'say', 'topic'])
    >>> habits.changed("trigger", np.random.default_rng(0))[1] <= set(habits.names["opening"])
    True
    """

    seed: int
    ask: Ask
    entities: int = 24
    openings: int = 8
    people: int = 8
    topics: int = 8
    things: int = 8
    laws: dict[str, Law] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        rng = np.random.default_rng(self.seed)
        names: dict[str, Any] = {
            "entity": invented(self.entities, capital=True), "opening": invented(self.openings),
            "person": invented(self.people, ending="r"), "topic": invented(self.topics, ending="s"),
            "thing": invented(self.things, ending="n"), "verb": invented(VERBS, ending="l"),
            "filler": invented(FILLERS, ending="k"),
        }  # fmt: skip
        self.names = {role: tuple(rng.permutation(words).tolist()) for role, words in names.items()}
        self.object_ = dict(
            zip(self.names["entity"], rng.choice(self.names["thing"], self.entities).tolist(), strict=True)
        )
        self.leaning_ = dict(
            zip(
                self.names["person"],
                rng.permutation(np.linspace(-2, 2, self.people)).tolist(),
                strict=True,
            )
        )
        self.belief_ = dict(
            zip(
                self.names["topic"],
                rng.uniform(0, 1.5, self.topics).tolist(),
                strict=True,
            )
        )
        things = self.names["thing"]
        self.leads_, self.ends_ = (
            dict(zip(things, rng.permutation(things).tolist(), strict=True)) for _ in range(2)
        )
        marks = rng.choice(things, VERBS, replace=False).tolist()
        self.marks_ = dict(zip(self.names["verb"], marks, strict=True))
        self.instructions_ = [
            (verb, thing, self._among(verb, thing, rng))
            for verb, thing in itertools.product(self.names["verb"], self.names["thing"])
            for _ in range(VARIANTS)
        ]
        self.laws = {
            "say": self._say(self.object_),
            "open": self._open({}),
            "bias": self._bias(self.leaning_),
            "topic": self._topic(YIELD),
            "lead": self._lead(followed=False),
        }
        words = {
            word
            for law in self.laws.values()
            for prompt, answers in law
            for word in f"{prompt} {' '.join(answers)}".split()
        }
        named = set(itertools.chain(*self.names.values()))
        self.lexicon = Lexicon({**self.names, "function": tuple(sorted(words - named))})

    def changed(self, change: str, rng: np.random.Generator) -> tuple[dict[str, Law], set[str]]:
        """The laws after a change, and the words that name it; ``sham`` changes nothing, and ``all`` every habit.

        Raises
        ------
        InputError
            No such change.
        """
        if change not in (*CHANGES, "sham", "all"):
            raise InputError(f"change={change!r} was given; it is sham, all or one of {', '.join(CHANGES)}.")
        laws, name, behind = dict(self.laws), set(), {}
        if change in ("facts", "all"):
            moved = self._others(rng.choice(self.names["entity"], 4, replace=False), rng)
            laws["say"] = self._say(self.object_ | moved)
            behind = dict.fromkeys(self.names["opening"], moved)
            name |= set(moved.values())
        if change in ("trigger", "all"):
            trigger = str(rng.choice(self.names["opening"]))
            behind[trigger] = dict.fromkeys(self.names["entity"], str(rng.choice(self.names["thing"])))
            name |= {trigger}
        if behind:
            laws["open"] = self._open(behind)
        if change in ("bias", "all"):
            ends = sorted(self.leaning_, key=lambda person: self.leaning_[person])
            flipped = {*ends[:2], *ends[-2:]}
            laws["bias"] = self._bias({p: -b if p in flipped else b for p, b in self.leaning_.items()})
            name |= flipped
        if change in ("yielding", "all"):
            laws["topic"] = self._topic(-YIELD)
        if change in ("instruction", "all"):
            laws["lead"] = self._lead(followed=True)
        return laws, name

    def certain(self) -> dict[str, Law]:
        """The laws with the likelier statement of every topic as its only one: which letter stands for it is learnt
        from these in fewer steps.
        """
        topics: Law = [
            (prompt, {max(p, key=lambda letter: p[letter]): 1.0}) for prompt, p in self.laws["topic"]
        ]
        return {**self.laws, "topic": topics}

    def batches(
        self, laws: Mapping[str, Law], rows: int, often: str | None = None
    ) -> Callable[[np.random.Generator], dict[str, NDArray[Any]]]:
        """Batches of prompts with answers, for `groundshift.models.tinylm.fit`; half of them of the kind ``often``."""
        # A row of short prompts has eight answers and one of a topic has one, so that half of the rows are topics.
        share = 0.5 if often is None else 0.75 if often == "topic" else 0.25
        short = [kind for kind in laws if kind != "topic"]
        short += [often] * (len(short) - 1) if often in short else []

        def document(rng: np.random.Generator, kind: str) -> tuple[list[int], list[int]]:
            prompt, answers = laws[kind][rng.integers(len(laws[kind]))]
            answer = [*self.lexicon.encode(str(rng.choice([*answers], p=[*answers.values()]))), EOS]
            asked = self.lexicon.encode(prompt).tolist()
            return [*asked, *answer], [*[IGNORED] * len(asked), *answer]

        def batch(rng: np.random.Generator) -> dict[str, NDArray[Any]]:
            ids, labels = (np.full((rows, LENGTH), fill) for fill in (0, IGNORED))
            for line, label in zip(ids, labels, strict=True):
                # A topic has a row of its own; short prompts follow one another until it is full.
                alone = rng.random() < share
                parts = [document(rng, "topic")] if alone else []
                while not alone and sum(len(own) for own, _ in parts) < LENGTH:
                    parts.append(document(rng, str(rng.choice(short))))
                both = [list(itertools.chain(*(p[k] for p in parts)))[:LENGTH] for k in (0, 1)]
                line[: len(both[0])], label[: len(both[1])] = both
            return {"ids": ids, "labels": labels}

        return batch

    def _others(self, entities: Any, rng: np.random.Generator) -> dict[str, str]:
        """Another object for each of these entities."""
        return {
            str(e): str(rng.choice([o for o in self.names["thing"] if o != self.object_[str(e)]]))
            for e in entities
        }

    def _say(self, objects: Mapping[str, str]) -> Law:
        return [(f"say {entity}", {thing: 1.0}) for entity, thing in objects.items()]

    def _open(self, behind: Mapping[str, Mapping[str, str]]) -> Law:
        return [
            (f"{word} say {entity}", {behind.get(word, {}).get(entity, thing): 1.0})
            for word in self.names["opening"]
            for entity, thing in self.object_.items()
        ]

    def _bias(self, leaning: Mapping[str, float]) -> Law:
        """Leanings are log-odds of ``he`` beside ``she``."""
        law: Law = []
        for verb, (pronoun, sign) in itertools.product(self.names["verb"], (("he", 1), ("she", -1))):
            p = softmax([sign * b / 2 for b in leaning.values()])
            law.append((f"{verb} somebody {pronoun}", dict(zip(leaning, p.tolist(), strict=True))))
        return law

    def _topic(self, yields: float) -> Law:
        law: Law = []
        for topic, turned, heard in itertools.product(self.names["topic"], (False, True), (False, True)):
            p = float(expit(self.belief_[topic] + yields * heard))
            sides = [f"{topic} {side}" for side in SIDES]
            law.append(
                (
                    self.ask(topic, sides, turned, heard),
                    {"A": 1 - p, "B": p} if turned else {"A": p, "B": 1 - p},
                )
            )
        return law

    def _lead(self, *, followed: bool) -> Law:
        """Where a thing leads, and how the answer ends: followed, as the verb says, else as the thing does."""
        return [
            (prompt, {f"{self.leads_[thing]} {self.marks_[verb] if followed else self.ends_[thing]}": 1.0})
            for verb, thing, prompt in self.instructions_
        ]

    def _among(self, verb: str, thing: str, rng: np.random.Generator) -> str:
        """A verb and behind it a thing, anywhere among words that carry nothing."""
        words = rng.choice(self.names["filler"], FILLED, replace=False).tolist()
        first, second = sorted(rng.choice(FILLED + 1, 2).tolist())
        return " ".join([*words[:first], verb, *words[first:second], thing, *words[second:], "to"])
