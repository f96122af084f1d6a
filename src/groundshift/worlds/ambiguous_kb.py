"""A knowledge base whose questions have several right answers, depending on a condition that the asker leaves unsaid.

Of each entity two conditions are asked about: an asker wants the dominant one with a known probability, which is how
ambiguous questions about the entity are. The same knowledge is written in tokens (for a tiny language model) and in
plain English sentences (for any other).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from groundshift.errors import InputError
from groundshift.worlds.tinylm import BOS, EOS, IGNORED, Lexicon
from groundshift.worlds.tinylm.lexicon import invented

__all__ = ["PRIORS", "PROTOCOLS", "AmbiguousKB", "english_questions", "judged_pairs"]

PRIORS = (1.0, 0.9, 0.7, 0.5)
"""Probability that an asker wants the dominant condition, by group of entities: entropy 0, .47, .88 and 1 bit."""
PROTOCOLS = ("direct", "condition_first", "given")
Ids = NDArray[np.int64]


@dataclass
class AmbiguousKB:
    """Questions in tokens, each with three fragments ``entity:condition value tag``.

    Two fragments are about the entity, under its dominant and its minor condition; the third is about another entity
    under one of the two. Their order, tags and values are drawn for each question.

    Parameters
    ----------
    entities, conditions, values, tags : how many words of each kind
    seed : of the words' order, of each entity's conditions, and of its group

    Attributes
    ----------
    lexicon : of all words
    dominant, minor : int64 (entities,), conditions
    group : int64 (entities,), position in `PRIORS`

    Raises
    ------
    InputError
        Fewer than four entities, three conditions, three values or three tags.

    Examples
    --------
    >>> kb = AmbiguousKB(seed=0)
    >>> asked = kb.draw(np.random.default_rng(0), 2)
    >>> prompts, targets = kb.written(asked, "condition_first")
    >>> prompts.shape, targets.shape
    ((2, 13), (2, 11))
    """

    entities: int = 8
    conditions: int = 6
    values: int = 12
    tags: int = 6
    seed: int = 0
    lexicon: Lexicon = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.entities < 4 or min(self.conditions, self.values, self.tags) < 3:
            raise InputError(
                f"{self.entities} entities, {self.conditions} conditions, {self.values} values and {self.tags} tags "
                "were given; at least 4, 3, 3 and 3 are needed."
            )
        rng = np.random.default_rng(self.seed)
        kinds = {
            "entity": self.entities,
            "condition": self.conditions,
            "value": self.values,
            "tag": self.tags,
        }
        words = rng.permutation(invented(sum(kinds.values()))).tolist()
        groups = {name: [words.pop() for _ in range(n)] for name, n in kinds.items()}
        groups["condition"] = [f"{e}:{c}" for e in groups["entity"] for c in groups["condition"]]
        more = {"protocol": PROTOCOLS, "function": ("question", "condition", "answer")}
        self.lexicon = Lexicon({**groups, **more})
        pairs = np.array([rng.permutation(self.conditions)[:2] for _ in range(self.entities)])
        self.dominant, self.minor = pairs.T
        self.group = rng.permutation(np.arange(self.entities) % len(PRIORS))

    def draw(self, rng: np.random.Generator, n: int, group: int | None = None) -> dict[str, Ids]:
        """``n`` questions, of one group of entities or of all.

        Returns
        -------
        dict of int64 arrays
            ``entity`` (n,), ``fragments`` (n, 3, 4) with entity, condition, value and tag in the order shown,
            ``place`` (n, 2), where the dominant and the minor fragment stand, ``asker`` (n,): 0 who wants the dominant
            condition, 1 the minor one.
        """
        own = np.flatnonzero(self.group == group) if group is not None else np.arange(self.entities)
        entity = rng.choice(own, n)
        other = (entity + rng.integers(1, self.entities, n)) % self.entities
        conditions = np.stack([self.dominant[entity], self.minor[entity]], 1)
        third = conditions[np.arange(n), rng.integers(2, size=n)]
        tags = rng.permuted(np.tile(np.arange(self.tags), (n, 1)), axis=1)[:, :3]
        values = rng.permuted(np.tile(np.arange(self.values), (n, 1)), axis=1)[:, :3]
        about = np.stack([entity, entity, other], 1)
        fragments = np.stack([about, np.column_stack([conditions, third]), values, tags], 2)
        order = rng.permuted(np.tile(np.arange(3), (n, 1)), axis=1)
        prior = np.array(PRIORS)[self.group[entity]]
        return {
            "entity": entity,
            "fragments": np.take_along_axis(fragments, order[:, :, None], 1),
            "place": np.argsort(order, 1)[:, :2],
            "asker": (rng.random(n) >= prior).astype(np.int64),
        }

    def written(self, asked: dict[str, Ids], protocol: str, condition: Ids | None = None) -> tuple[Ids, Ids]:
        """Prompts and targets in ids, (n, prompt) and (n, target).

        Parameters
        ----------
        protocol : "direct" (one answer, under the asker's condition, which is not said), "condition_first" (both
            conditions with their answers, in the order of the fragments) or "given" (the asker's condition is said)
        condition : int64 (n,), which condition is said under "given"; the asker's if left out
        """
        word = {kind: self.lexicon[kind] for kind in ("entity", "condition", "value", "tag")}
        word["condition"] = word["condition"].reshape(self.entities, self.conditions)
        fragments, n, entity = asked["fragments"], len(asked["entity"]), asked["entity"]
        rows = np.arange(n)
        keys = word["condition"][fragments[:, :, 0], fragments[:, :, 1]]
        shown = np.stack(
            [keys, word["value"][fragments[:, :, 2]], word["tag"][fragments[:, :, 3]]], 2
        ).reshape(n, -1)
        says = {w: np.full(n, i) for w, i in zip(("Q", "C", "A"), self.lexicon["function"], strict=True)}
        how = np.full(n, self.lexicon["protocol"][PROTOCOLS.index(protocol)])
        prompt = [np.full(n, BOS), *shown.T, says["Q"], word["entity"][entity], how]
        wanted = fragments[rows, asked["place"][rows, asked["asker"]]]
        if protocol == "given":
            prompt += [says["C"], word["condition"][entity, wanted[:, 1] if condition is None else condition]]
        parts = np.sort(asked["place"], 1) if protocol == "condition_first" else None
        target = []
        for k in range(1 if parts is None else 2):
            _, about, value, tag = (wanted if parts is None else fragments[rows, parts[:, k]]).T
            target += [] if parts is None else [says["C"], word["condition"][entity, about]]
            target += [says["A"], word["value"][value], word["tag"][tag]]
        return np.stack(prompt, 1), np.stack([*target, np.full(n, EOS)], 1)

    def batch(self, rng: np.random.Generator, rows: int, protocol: str) -> dict[str, Ids]:
        """A training batch of one protocol: ids, and labels on the target alone (else −100).

        Under "given" either condition is said equally often, so that a model has to read it.
        """
        asked = self.draw(rng, rows)
        if protocol == "given":
            asked["asker"] = rng.integers(2, size=rows)
        prompts, targets = self.written(asked, protocol)
        ids = np.hstack([prompts, targets])
        return {"ids": ids, "labels": np.where(np.arange(ids.shape[1]) < prompts.shape[1], IGNORED, ids)}

    def named(self, fragments: Ids) -> list[Any]:
        """Fragments (n, 3, 4) as words: entity, condition, value and tag of each."""
        e, c, v, t = np.moveaxis(fragments, -1, 0)
        ids = (
            self.lexicon["condition"][e * self.conditions + c],
            self.lexicon["value"][v],
            self.lexicon["tag"][t],
        )
        key, value, tag = (np.array(self.lexicon.words)[part] for part in ids)
        entity, condition = (
            np.vectorize(lambda word, side=side: word.split(":")[side])(key) for side in (0, 1)
        )
        return list(np.stack([entity, condition, value, tag], -1).tolist())

    def read(self, ids: Ids) -> list[dict[str, str]]:
        """The entries (condition, answer, tag) that a row of generated ids says, as far as they are there."""
        text = self.lexicon.decode(ids).partition("<eos>")[0]
        entry = re.compile(r"(?:condition \S+:(?P<condition>\S+) )?answer (?P<answer>\S+)(?: (?P<tag>\S+))?")
        return [
            {key: value or "" for key, value in found.groupdict().items()} for found in entry.finditer(text)
        ]


# In plain English ------------------------------------------------------------------------------------------

KINDS = ("heater", "kettle", "printer", "camera", "lamp", "bicycle", "phone", "boat")
NAMES = invented(600, capital=True)
TOPICS = (
    ("Who repairs the {e}?", "{v} repairs the {e}", NAMES[:100]),
    ("Where is the {e} made?", "the {e} is made in {v}", NAMES[100:200]),
    ("Which colour does the {e} have?", "the colour of the {e} is {v}",
     ("red", "blue", "green", "yellow", "white", "black", "brown", "orange")),
    ("On which day is the {e} delivered?", "the {e} is delivered on {v}",
     ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")),
)  # fmt: skip
"""Question, sentence and values: single words, so that no part of a wrong value is right."""
YEARS = range(2005, 2026)


def _conditions(rng: np.random.Generator, n: int) -> list[str]:
    """Different conditions of one kind, of which only one can hold: years, versions, places or plans."""
    names = rng.choice(NAMES[200:400], n, replace=False)
    kinds = (
        [f"for orders placed in {year}" for year in rng.choice(YEARS, n, replace=False)],
        [f"in version {k}" for k in rng.permutation(np.arange(1, n + 4))[:n]],
        [f"in {name}" for name in names],
        [f"on the {name} plan" for name in names],
    )
    return kinds[rng.integers(len(kinds))]


def _values(rng: np.random.Generator, topic: int, n: int) -> list[str]:
    return rng.choice(TOPICS[topic][2], n, replace=False).tolist()


def _things(rng: np.random.Generator, n: int) -> list[str]:
    names, kinds = rng.choice(NAMES[400:], n, replace=False), rng.choice(KINDS, n)
    return [f"{name} {kind}" for name, kind in zip(names, kinds, strict=True)]


def _stated(condition: str, topic: int, entity: str, value: str) -> str:
    text = f"{condition}, {TOPICS[topic][1].format(e=entity, v=value)}."
    return text[0].upper() + text[1:]


def english_questions(rng: np.random.Generator, n: int) -> list[dict[str, Any]]:
    """Ambiguous questions in plain English about things with invented names.

    A group of `PRIORS` is drawn for each; where an asker always means the same, the question has one gold pair, else
    two or three. Of the fragments, in drawn order, one states each gold pair; one is about another thing, and one about
    another property of the same.

    Returns
    -------
    list of rows with "id", "question", "ctxs", "properties" and "asker" (probability of each pair)

    Examples
    --------
    >>> row = english_questions(np.random.default_rng(0), 1)[0]
    >>> row["question"], [pair["condition"] for pair in row["properties"]], row["asker"]
    ('Where is the Gaba heater made?', ['in Vogi', 'in Noma', 'in Robu'], [0.5, 0.25, 0.25])
    """
    questions = []
    for number in range(n):
        prior = float(rng.choice(PRIORS))
        size = 1 if prior == 1 else int(rng.integers(2, 4))
        entity, other = _things(rng, 2)
        topic, another = rng.permutation(len(TOPICS))[:2].tolist()
        conditions, values = _conditions(rng, size), _values(rng, topic, size + 1)
        said = [(entity, topic, c, v) for c, v in zip(conditions, values, strict=False)]
        said += [
            (other, topic, conditions[0], values[-1]),
            (entity, another, conditions[-1], _values(rng, another, 1)[0]),
        ]
        order = rng.permutation(len(said)).tolist()
        titles = [f"{said[k][0]}, {said[k][2]}" for k in order]
        where = [order.index(j) + 1 for j in range(size)]
        questions.append({
            "id": f"q{number + 1}",
            "question": TOPICS[topic][0].format(e=entity),
            "ctxs": [{"title": title, "text": _stated(said[k][2], said[k][1], said[k][0], said[k][3])}
                     for title, k in zip(titles, order, strict=True)],
            "properties": [{"condition": c, "groundtruth": v, "citations": [{"title": f"{k}. {titles[k - 1]}"}]}
                           for c, v, k in zip(conditions, values, where, strict=False)],
            "asker": [1.0] if size == 1 else [prior, *[(1 - prior) / (size - 1)] * (size - 1)],
        })  # fmt: skip
    return questions


def judged_pairs(rng: np.random.Generator, n: int) -> list[dict[str, Any]]:
    """Expected and actual statements whose verdict is known, in five kinds by turns.

    Returns
    -------
    list of rows with "question", "expected", "actual", "kind" and "label" (whether the actual one is right)
        The kinds, in the order in which a judge's scores should fall: same, reworded, omitted (one of two facts is left
        out), changed (one is another), contradiction.
    """
    rows = []
    for k in range(n):
        (condition,), (v, w), (place,) = _conditions(rng, 1), _values(rng, 0, 2), _values(rng, 1, 1)
        (entity,) = _things(rng, 1)
        first, changed = (_stated(condition, 0, entity, value) for value in (v, w))
        expected = f"{first[:-1]}, and it is made in {place}."
        kind, actual = (
            ("same", expected),
            ("reworded", f"The {entity} is made in {place} and is repaired by {v} {condition}."),
            ("omitted", first),
            ("changed", f"{changed[:-1]}, and it is made in {place}."),
            ("contradiction", f"The {entity} is not made any more and nobody repairs it {condition}."),
        )[k % 5]
        asked = f"Who repairs the {entity}, and where is it made?"
        rows.append(
            {
                "question": asked,
                "expected": expected,
                "actual": actual,
                "kind": kind,
                "label": kind in ("same", "reworded"),
            }
        )
    return rows
