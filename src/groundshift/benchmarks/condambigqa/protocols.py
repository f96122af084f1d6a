"""The four protocols as prompts, and the reading of what a model writes in answer to them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from string import Template
from typing import Any

from groundshift.benchmarks.condambigqa.data import Gold, Question
from groundshift.errors import InputError
from groundshift.models.items import Item, Unparsed

__all__ = ["PROTOCOLS", "VERSION", "Generated", "Protocol", "gold_of", "make_items", "read_citations", "read_pairs"]

VERSION = "1"
"""Of the prompts and the reading."""
PROTOCOLS = ("closed", "direct", "condition_first", "given")
Protocol = str | Callable[[Question], Any]
"""One of `PROTOCOLS`, or a function of a `Question` that returns a prompt or messages."""


@dataclass(frozen=True)
class Generated:
    """An entry of a model's answer.

    Attributes
    ----------
    condition, answer : the condition is None where the protocol asks for none
    citations : numbers of fragments, from 1
    """

    condition: str | None
    answer: str
    citations: frozenset[int] = frozenset()


# Prompts ---------------------------------------------------------------------------------------------------


def prompt_of(question: Question, protocol: str) -> str:
    """The prompt of one of `PROTOCOLS`."""
    text = files(__package__).joinpath("prompts", f"{protocol}.txt").read_text(encoding="utf-8")
    shown = [f"Fragment {k} - {f.title}:\n{f.text}" for k, f in enumerate(question.fragments, 1)]
    conditions = [f"{k}. {gold.condition}" for k, gold in enumerate(question.gold, 1)]
    return Template(text).substitute(
        question=question.text, fragments="\n\n".join(shown), conditions="\n".join(conditions)
    ).strip()  # fmt: skip


def make_items(questions: Sequence[Question], protocols: Sequence[Protocol], max_new_tokens: int = 400) -> list[Item]:
    """One item for each question and protocol; its facts say which.

    Raises
    ------
    InputError
        No question with gold pairs, an unknown protocol, one that stands twice, a question without fragments.
    """
    kept = [question for question in questions if question.gold]
    if not kept:
        raise InputError(f"None of {len(questions)} questions has gold pairs (properties); at least one needs some.")
    names = [p if isinstance(p, str) else p.__name__ for p in protocols]
    if unknown := [p for p in protocols if isinstance(p, str) and p not in PROTOCOLS]:
        raise InputError(f"{unknown[0]!r} is no protocol; there are {', '.join(PROTOCOLS)}, or give a function.")
    if not names or len(set(names)) < len(names):
        raise InputError(f"The protocols {names} were given; name each once, and at least one.")
    bare = [q.id for q in kept if not q.fragments]
    if bare and set(names) != {"closed"}:
        raise InputError(
            f"{len(bare)} questions have no fragments (first: {bare[0]}); fill them with retrieve(questions, corpus), or "
            'ask with the protocol "closed" alone.'
        )
    return [
        Item(
            prompt_of(question, protocol) if isinstance(protocol, str) else protocol(question),
            json.dumps(
                [{"condition": g.condition, "answer": g.answer, "citations": sorted(g.citations)} for g in question.gold],
                ensure_ascii=False,
            ),
            {
                "protocol": name, "question": question.id, "group": question.id, "asked": question.text,
                "prior": question.prior, "fragments": len(question.fragments), "expected": len(question.gold),
            },
            max_new_tokens,
        )
        for question in kept for protocol, name in zip(protocols, names, strict=True)
    ]  # fmt: skip


def gold_of(target: str) -> tuple[Gold, ...]:
    """The gold pairs of an item's target."""
    return tuple(Gold(g["condition"], g["answer"], frozenset(g["citations"])) for g in json.loads(target))


# Reading ---------------------------------------------------------------------------------------------------

LISTS = ("conditions", "answers", "properties")
LABEL = r"(?:(?:fragments?|sources?|documents?|passages?)\s*#?|\bF|\[|^|[,;&]|\band\b)\s*\[?"
NUMBERS = re.compile(rf"{LABEL}(\d+)(?:\s*(?:-|–|to)\s*(?:fragment\s*|F)?(\d+))?(?![\w%])", re.IGNORECASE)
WIDEST = 50
"""A range of more fragments than this is no range."""


def read_citations(value: Any) -> frozenset[int]:
    """Fragment numbers of a citation in any of the ways that models write one.

    >>> sorted(read_citations(["Fragment 3 - The 1998 final", "[5]", "F7", 9, "1-2"]))
    [1, 2, 3, 5, 7, 9]
    """
    if isinstance(value, Mapping):
        value = value.get("fragment", value.get("number", value.get("title", "")))
    if isinstance(value, list | tuple | set | frozenset):
        return frozenset(number for one in value for number in read_citations(one))
    cited = set()
    for match in NUMBERS.finditer("" if value is None else str(value).strip()):
        first, last = int(match[1]), int(match[2] or match[1])
        cited |= set(range(first, last + 1)) if first <= last < first + WIDEST else {first}
    return frozenset(cited)


def read_pairs(text: str) -> list[Generated] | Unparsed:
    """The entries of an answer in JSON, in order; of several objects with entries the last counts.

    Reasoning in <think>…</think>, fences and words around the JSON, trailing commas and a cut-off end are forgiven; of an
    answer that is cut off the whole entries count.

    Examples
    --------
    >>> read_pairs('Sure! {"answers": [{"answer": "Riga", "citations": ["Fragment 1"]}, {"answer": "Ta')
    [Generated(condition=None, answer='Riga', citations=frozenset({1}))]
    >>> read_pairs("Riga")
    Unparsed(reason='no JSON with an answer')
    """
    text = re.sub(r",(\s*[}\]])", r"\1", text.rpartition("</think>")[2])
    decoder, start = json.JSONDecoder(strict=False), 0
    lists: list[list[Any]] = []
    loose: list[Any] = []
    while (start := text.find("{", start)) >= 0:
        try:
            value, start = decoder.raw_decode(text, start)
        except (json.JSONDecodeError, RecursionError):
            start += 1
            continue
        held = next((value[key] for key in LISTS if isinstance(value.get(key), list)), None)
        if held is not None:
            lists.append(held)
        elif "answer" in value:
            loose.append(value)
    if not lists and not loose:
        return Unparsed("no JSON with an answer")
    entries = lists[-1] if lists else loose
    return [
        Generated(_text(one.get("condition")), answer, read_citations(one.get("citations")))
        for one in (one if isinstance(one, Mapping) else {"answer": one} for one in entries)
        if (answer := _text(one.get("answer", one.get("groundtruth"))))
    ]


def _text(value: Any) -> str | None:
    if isinstance(value, list | tuple):
        value = "; ".join(map(str, value))
    return str(value).strip() or None if value is not None else None
