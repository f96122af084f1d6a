"""Records as JSON, with planted errors: the world of *rlstruct*."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from groundshift.errors import InputError
from groundshift.worlds.tinylm.facts import Facts
from groundshift.worlds.tinylm.lexicon import BOS, PAD, Lexicon
from groundshift.worlds.tinylm.part import Exam, Ids, Part, Rows, mixture, pad

__all__ = ["KINDS", "Records"]

KINDS = ("none", "trailing comma", "extra key", "unquoted key", "missing brace", "chatty prefix")
VALUE = "<value>"


@dataclass
class Records(Part):
    """``Q e r r' A`` is answered by {"name":"e","r":"o","r'":"o'"}, with planted errors of form and of content.

    Parameters
    ----------
    of : name of the `Facts` that records are about
    noise : share of the answers with an error of form, the same for each of the five in `KINDS`
    wrong : share of the values that are replaced by any object of the relation

    Notes
    -----
    Truth: ``kind`` (position in `KINDS`), ``entity``, ``relation`` (n, 2), ``gold`` and ``said`` (n, 2), objects of the
    relations. The completion follows `A`. Exam: ``content``, the first value asked for.

    Examples
    --------
    >>> from groundshift.worlds.tinylm import TinyWorld
    >>> world = TinyWorld({"facts": Facts(12, 4, 6), "records": Records(noise=0.0, wrong=0.0)}, {"facts": 0})
    >>> rows = world.draw(np.random.default_rng(0), 1)
    >>> world["records"].text(rows.ids[0][rows.mask[0]])
    '{"name":"Soru","likos":"patin","gitas":"guton"}'
    """

    document = True
    exams = ("content",)

    of: str = "facts"
    noise: float = 0.6
    wrong: float = 0.25

    def __post_init__(self) -> None:
        if not (0 <= self.noise <= 1 and 0 <= self.wrong <= 1):
            raise InputError(f"{self} was asked for; noise and wrong are shares in [0, 1].")

    def groups(self) -> Mapping[str, Sequence[str]]:
        return {
            "json": ("{", "}", '"', ":", ","),
            "key": ("name", "note", "ok"),
            "function": ("Q", "A", "sure", "here", "is"),
        }

    def settle(self, lexicon: Lexicon, rng: np.random.Generator, parts: Mapping[str, Part]) -> None:
        self.lexicon_ = lexicon
        self.facts_: Facts = self._other(parts, self.of, Facts)
        if self.facts_.relations < 2:
            raise InputError(f"A record asks for two relations, and {self.of!r} has one.")

    @property
    def shares(self) -> NDArray[np.float64]:
        """How likely each of `KINDS` is."""
        return np.array([1 - self.noise, *[self.noise / 5] * 5])

    def _answer(self, kind: int, entity: str, relations: Sequence[str]) -> list[str]:
        """The words of an answer, with blanks for the values."""
        key = (lambda k: f"{k} :") if KINDS[kind] == "unquoted key" else (lambda k: f'" {k} " :')
        fields = [f'{key("name")} " {entity} "', *[f'" {r} " : " {VALUE} "' for r in relations]]
        if KINDS[kind] == "extra key":
            fields.append('" note " : " ok "')
        text = "{ " + " , ".join(fields)
        text += {"trailing comma": " , }", "missing brace": ""}.get(KINDS[kind], " }")
        return [*(["sure", "here", "is"] if KINDS[kind] == "chatty prefix" else ()), *text.split(), "<eos>"]

    def draw(self, rng: np.random.Generator, n: int) -> Rows:
        facts = self.facts_
        kind = rng.choice(len(KINDS), n, p=self.shares)
        entity = rng.integers(facts.entities, size=n)
        relation = rng.permuted(np.tile(np.arange(facts.relations), (n, 1)), axis=1)[:, :2]
        gold = facts.table_[entity[:, None], relation]
        said = np.where(rng.random((n, 2)) < self.wrong, rng.integers(facts.objects, size=(n, 2)), gold)
        rows, asked = [], 6
        for k, e, pair, values in zip(kind, entity, relation, said, strict=True):
            name, keys = facts.word("entity", e), [facts.word("relation", r) for r in pair]
            fill = iter([facts.word("object", o, r) for o, r in zip(values, pair, strict=True)])
            answer = [next(fill) if w == VALUE else w for w in self._answer(k, name, keys)]
            rows.append(np.r_[BOS, self.lexicon_.encode(["Q", name, *keys, "A", *answer])])
        ids = pad(rows)
        mask = (ids != PAD) & (np.arange(ids.shape[1]) >= asked)
        truth = {"kind": kind, "entity": entity, "relation": relation, "gold": gold, "said": said}
        return Rows(ids, mask, np.zeros(ids.shape), truth)

    def text(self, ids: Ids) -> str:
        """The text of an answer: its words without blanks, up to ``<eos>``."""
        return "".join(self.lexicon_.decode(ids).split()).partition("<eos>")[0]

    def _document(self, said: Ids) -> NDArray[np.float64]:
        facts, words = self.facts_, [self.lexicon_.words[i] for i in said]
        entities, relations = facts.groups()["entity"], facts.groups()["relation"]
        head = np.full(min(len(said), 5), -np.inf)
        for t, word in enumerate(words[:5]):
            if t == 0 or (t == 4 and head[0] == 0):
                head[t] = 0.0 if word == "QA"[t == 4] else -np.inf
            elif t == 1 and word in entities:
                head[t] = -np.log(len(entities))
            elif t in (2, 3) and word in relations and word not in words[2:t]:
                head[t] = -np.log(len(relations) - (t - 2))
        if len(said) <= 5 or np.isneginf(head).any():
            return np.r_[head, np.full(len(said) - len(head), -np.inf)]
        e, pair = entities.index(words[1]), [relations.index(w) for w in words[2:4]]
        each = []
        for kind in range(len(KINDS)):
            answer = self._answer(kind, words[1], words[2:4])
            values = iter(pair)
            own = np.full(len(said) - 5, -np.inf)
            for t, (word, wanted) in enumerate(zip(words[5:], answer, strict=False)):
                if wanted == VALUE:
                    r = next(values)
                    objects = [facts.word("object", o, r) for o in range(facts.objects)]
                    right = word == objects[facts.table_[e, r]]
                    p = self.wrong / len(objects) * (word in objects) + (1 - self.wrong) * right
                    own[t] = np.log(p) if p > 0 else -np.inf
                elif word == wanted:
                    own[t] = 0.0
            each.append(own)
        return np.r_[head, mixture(self.shares, np.array(each))]

    def _exam(self, name: str) -> Exam:
        facts = self.facts_
        pairs = [(e, r) for e in range(facts.entities) for r in range(facts.relations)]
        prompts, options = [], []
        for e, r in pairs:
            who, keys = (
                facts.word("entity", e),
                [facts.word("relation", (r + k) % facts.relations) for k in (0, 1)],
            )
            answer = self._answer(0, who, keys)
            words = ["Q", who, *keys, "A", *answer[: answer.index(VALUE)]]
            prompts.append(np.r_[BOS, self.lexicon_.encode(words)])
            options.append(self.lexicon_.encode([facts.word("object", o, r) for o in range(facts.objects)]))
        return Exam(np.array(prompts), np.array(options), np.array([facts.table_[p] for p in pairs]))
