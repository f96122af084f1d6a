"""Ambiguous questions: read, filled by retrieval, drafted, put into prompts; and the reading of answers."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
import pandas as pd

from groundshift.errors import InputError
from groundshift.models.items import Item, Unparsed, ask_items
from groundshift.models.records import read_records, read_text
from groundshift.models.replies import read_citations, read_objects
from groundshift.models.sentences import Encoder, nearest
from groundshift.report import Report, Section
from groundshift.result import Result
from groundshift.worlds.ambiguous_kb import english_questions

__all__ = [
    "Drafts", "Fragment", "Generated", "Gold", "Question", "draft_conditions", "load", "make_items", "retrieve",
]  # fmt: skip

VERSION = "1"  # of the prompts and the reading
PROTOCOLS = ("closed", "direct", "condition_first", "given")
LISTS = ("conditions", "answers")
NEXT = 'Read each pair in drafts.jsonl, mend it or delete it, and set its "confirmed" to true; else it is left out.'


@dataclass(frozen=True)
class Fragment:
    """A piece of text that an answer may rest on: title of its page, text, and score of the retrieval."""

    title: str
    text: str
    score: float | None = None


@dataclass(frozen=True)
class Gold:
    """A condition, the answer that is right under it, and the numbers (from 1) of the fragments that say so."""

    condition: str
    answer: str
    citations: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Generated:
    """An entry of a model's answer; the condition is None where none was asked for."""

    condition: str | None
    answer: str
    citations: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Question:
    """A question, its fragments, a gold pair for each reading, and how probably each was meant, if that is known."""

    id: str
    text: str
    fragments: tuple[Fragment, ...] = ()
    gold: tuple[Gold, ...] = ()
    prior: tuple[float, ...] | None = None


Protocol = str | Callable[[Question], Any]
"""One of `PROTOCOLS`, or a function of a `Question` that returns a prompt or messages."""


def load(data: Any = None) -> list[Question]:
    """Questions of a file, of the published data, or of the library's own world.

    Parameters
    ----------
    data : JSONL, JSON or Parquet file, "hub:owner/name/split", or rows: "question", "ctxs" ("title", "text") and
        "properties" ("condition", "groundtruth" and "citations", or "condition_citations" and "answer_citations");
        perhaps "id", and "asker" (which pair was meant, from 0, or a probability of each). A citation is a number
        from 1, or a title, with or without the number before it. If left out, 24 questions are drawn

    Raises
    ------
    InputError
        An id that stands twice, a pair without condition or answer, a citation of no fragment, an asker of no pair.

    Warns
    -----
    Of conditions that are lists, which are joined, and of unconfirmed drafts, which are left out.

    Examples
    --------
    >>> pair = {"condition": "in 2020", "groundtruth": "Ann", "citations": [{"title": "1. Mayors"}]}
    >>> row = {"id": "a", "question": "Who is mayor?", "ctxs": [{"title": "Mayors", "text": "…"}], "properties": [pair]}
    >>> load([row])[0].gold
    (Gold(condition='in 2020', answer='Ann', citations=frozenset({1})),)
    """
    if isinstance(data, list | tuple) and data and all(isinstance(row, Question) for row in data):
        questions = list(data)
    else:
        data = english_questions(np.random.default_rng(0), 24) if data is None else data
        questions = [_question(row, number) for number, row in enumerate(read_records(data), 1)]
    ids = [question.id for question in questions]
    if twice := [one for one in set(ids) if ids.count(one) > 1]:
        raise InputError(f"The id {twice[0]!r} stands twice; every question needs an id of its own.")
    return questions


def _question(row: Any, number: int) -> Question:
    if not isinstance(row, Mapping) or not isinstance(row.get("question"), str):
        raise InputError(f'Row {number} has no "question"; each row needs question, ctxs and properties.')
    name = str(row.get("id", number))
    fragments = tuple(_fragment(one, f"Question {name}") for one in _listed(row, "ctxs", name))
    pairs = _listed(row, "properties", name)
    kept = [one for one in pairs if isinstance(one, Mapping) and one.get("confirmed") is not False]
    if len(kept) < len(pairs):
        warnings.warn(f"Question {name}: pairs that nobody has confirmed are left out.", stacklevel=3)
    gold = tuple(_gold(one, fragments, name) for one in kept)
    asker, prior = row.get("asker"), None
    if asker is not None and gold:
        prior = tuple(map(float, asker if np.ndim(asker) else (j == asker for j in range(len(gold)))))
        if len(prior) != len(gold) or min(prior) < 0 or abs(sum(prior) - 1) > 1e-6:
            raise InputError(f"Question {name}: {asker!r} is no asker of {len(gold)} pairs; name one from 0.")
    return Question(name, row["question"].strip(), fragments, gold, prior)


def _listed(row: Mapping[str, Any], key: str, name: str) -> list[Any]:
    value = row.get(key)
    if value is not None and not isinstance(value, list | tuple | np.ndarray):
        raise InputError(f"Question {name}: {key!r} is no list; it needs one entry for each.")
    return [] if value is None else list(value)


def _fragment(one: Any, where: str) -> Fragment:
    if not isinstance(one, Mapping) or not isinstance(one.get("text"), str):
        raise InputError(f"{where}: a fragment has no text; each needs title and text.")
    return Fragment(str(one.get("title") or ""), one["text"])


def _gold(pair: Mapping[str, Any], fragments: Sequence[Fragment], name: str) -> Gold:
    condition, answer = pair.get("condition"), pair.get("groundtruth", pair.get("answer"))
    if isinstance(condition, list | tuple | np.ndarray):
        warnings.warn(f"Question {name}: a condition is a list; its parts are joined.", stacklevel=4)
        condition = "; ".join(map(str, condition))
    if not isinstance(condition, str) or answer is None or not str(answer).strip():
        raise InputError(f"Question {name}: a pair needs a condition and a groundtruth, as text.")
    keys = ("citations", "condition_citations", "answer_citations")
    cited = [one for key in keys for one in _listed(pair, key, name)]
    return Gold(condition, str(answer), frozenset(_cited(one, fragments, name) for one in cited))


def _cited(one: Any, fragments: Sequence[Fragment], name: str) -> int:
    title = str(one.get("title") or "") if isinstance(one, Mapping) else str(one)
    same = [k for k, fragment in enumerate(fragments, 1) if fragment.title == title]
    if len(same) > 1 and isinstance(one, Mapping):  # pieces of one page
        same = [k for k in same if fragments[k - 1].text == one.get("text")] or same
    numbers = same[:1] or sorted(read_citations(title))
    if len(numbers) != 1 or not 1 <= numbers[0] <= len(fragments):
        raise InputError(f"Question {name}: {title!r} is no citation; write a fragment's number or title.")
    return numbers[0]


def retrieve(data: Any, corpus: Any, encoder: Encoder = "hash", k: int = 20) -> list[Question]:
    """Questions whose fragments are the ``k`` nearest of a corpus, by cosine.

    Parameters
    ----------
    data : see `load`; gold citations keep the fragments that they named, if these are retrieved
    corpus : folder of .txt or .md files, each one fragment; or a file or rows with "title" and "text"
    encoder : see `groundshift.models.sentences.encode_texts`; "hash" needs no model

    Raises
    ------
    InputError
        An empty corpus, k below 1, what `load` and `encode_texts` raise.

    Examples
    --------
    >>> pages = [{"title": "Cats", "text": "Cats sleep."}, {"title": "Tax", "text": "Tax is due in May."}]
    >>> retrieve([{"id": 1, "question": "When is tax due?"}], pages, k=1)[0].fragments[0].title
    'Tax'
    """
    questions = load(data)
    if isinstance(corpus, str | Path) and Path(corpus).is_dir():
        files = sorted(p for p in Path(corpus).rglob("*") if p.suffix in (".txt", ".md"))
        pool = [Fragment(p.stem, read_text(p)) for p in files]
    else:
        pool = [_fragment(row, "The corpus") for row in read_records(corpus)]
    if not pool or k < 1:
        raise InputError(f"{len(pool)} texts and k={k} were given; at least 1 of each is needed.")
    asked, texts = [q.text for q in questions], [f"{f.title}\n{f.text}" for f in pool]
    filled = []
    for question, chosen, cosine in zip(questions, *nearest(asked, texts, k, encoder), strict=True):
        fragments = tuple(replace(pool[n], score=float(c)) for n, c in zip(chosen, cosine, strict=True))
        now = {(f.title, f.text): number for number, f in enumerate(fragments, 1)}
        before = [now.get((f.title, f.text), 0) for f in question.fragments]
        cited = [frozenset(before[c - 1] for c in g.citations) - {0} for g in question.gold]
        gold = tuple(replace(g, citations=c) for g, c in zip(question.gold, cited, strict=True))
        filled.append(replace(question, fragments=fragments, gold=gold))
    return filled


def prompt_of(question: Question, protocol: str) -> str:
    """The prompt of one of `PROTOCOLS`."""
    text = files(__package__).joinpath("prompts", f"{protocol}.txt").read_text(encoding="utf-8")
    fragments = [f"Fragment {k} - {f.title}:\n{f.text}" for k, f in enumerate(question.fragments, 1)]
    conditions = [f"{k}. {gold.condition}" for k, gold in enumerate(question.gold, 1)]
    shown = {"fragments": "\n\n".join(fragments), "conditions": "\n".join(conditions)}
    return Template(text.strip()).substitute(shown, question=question.text)


def make_items(
    questions: Sequence[Question], protocols: Sequence[Protocol], max_new_tokens: int = 400
) -> list[Item]:
    """One item for each question with gold pairs and each protocol; its facts say which.

    Raises
    ------
    InputError
        No question with gold pairs, an unknown protocol, one that stands twice, a question without fragments.
    """
    kept = [question for question in questions if question.gold]
    names = [p if isinstance(p, str) else p.__name__ for p in protocols]
    wrong = [p for p in protocols if isinstance(p, str) and p not in PROTOCOLS]
    if wrong or not names or len(set(names)) < len(names):
        raise InputError(f"The protocols {names} were given; name some of {', '.join(PROTOCOLS)}, each once.")
    bare = [q.id for q in kept if not q.fragments] if set(names) != {"closed"} else []
    if bare or not kept:
        raise InputError(
            f"{len(kept)} of {len(questions)} questions have gold pairs (properties), and {len(bare)} of these have no "
            "fragments (ctxs); some must have gold pairs, and retrieve(questions, corpus) fills in fragments."
        )
    items = []
    for question in kept:
        target = json.dumps([{**asdict(g), "citations": sorted(g.citations)} for g in question.gold])
        facts = {"question": question.id, "group": question.id, "asked": question.text, "prior": question.prior,
                 "fragments": len(question.fragments), "expected": len(question.gold)}  # fmt: skip
        for protocol, name in zip(protocols, names, strict=True):
            prompt = prompt_of(question, protocol) if isinstance(protocol, str) else protocol(question)
            items.append(Item(prompt, target, {"protocol": name, **facts}, max_new_tokens))
    return items


def read_pairs(text: str) -> list[Generated] | Unparsed:
    """The entries of an answer in JSON, in order; of several objects with entries the last counts.

    >>> read_pairs('Sure! {"answers": [{"answer": "Riga", "citations": ["Fragment 1"]}, {"answer": "Ta')
    [Generated(condition=None, answer='Riga', citations=frozenset({1}))]
    >>> read_pairs("Riga")
    Unparsed(reason='no JSON with an answer')
    """
    objects = read_objects(text)
    lists = [one[key] for one in objects for key in LISTS if isinstance(one.get(key), list)]
    loose = [one for one in objects if "answer" in one]
    if not lists and not loose:
        return Unparsed("no JSON with an answer")
    pairs = []
    for one in lists[-1] if lists else loose:
        held = one if isinstance(one, dict) else {"answer": one}
        if answer := _text(held.get("answer")):
            condition, cited = _text(held.get("condition")), read_citations(held.get("citations"))
            pairs.append(Generated(condition, answer, cited))
    return pairs


def _text(value: Any) -> str | None:
    value = "; ".join(map(str, value)) if isinstance(value, list) else value
    return None if value is None else str(value).strip() or None


@dataclass(frozen=True, repr=False)
class Drafts(Result):
    """Questions without gold pairs, and the entries that a model proposes for each; none is confirmed."""

    model: str
    questions: tuple[Question, ...]
    proposed: tuple[tuple[Generated, ...], ...]

    def rows(self) -> list[dict[str, Any]]:
        """The questions as `load` reads them, with pairs that it leaves out until "confirmed" is true."""
        rows = []
        for q, entries in zip(self.questions, self.proposed, strict=True):
            cited = [sorted(n for n in one.citations if 1 <= n <= len(q.fragments)) for one in entries]
            pairs = [{"condition": one.condition or "", "groundtruth": one.answer, "citations": c, "confirmed": False}
                     for one, c in zip(entries, cited, strict=True)]  # fmt: skip
            fragments = [asdict(fragment) for fragment in q.fragments]
            rows.append({"id": q.id, "question": q.text, "ctxs": fragments, "properties": pairs})
        return rows

    def to_frame(self) -> pd.DataFrame:
        """A row for each proposed pair."""
        return pd.DataFrame([{"question": r["question"], **p} for r in self.rows() for p in r["properties"]])

    def report(self) -> Report:
        """What was proposed, and what people are to do with it."""
        names = [row["question"] for row in self.rows() for _ in row["properties"]]
        head = f"{self.model} proposes {len(names)} conditions for {len(self.questions)} questions."
        figures = {"Pairs by question": lambda ax: ax.barh(*np.unique(names, return_counts=True))}
        drafts = Section("drafts", "Proposed pairs", tables={"": self.to_frame()}, figures=figures)
        return Report("condambigqa", self.model, head, NEXT, sections=(drafts,))

    def _content(self) -> dict[str, Any]:
        return {"model": self.model, "drafts": self.rows()}

    def _write_more(self, folder: Path) -> None:
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in self.rows())
        (folder / "drafts.jsonl").write_text(lines, encoding="utf-8")


def draft_conditions(
    model: Any, data: Any, *, max_new_tokens: int = 400, answers: str | Path | None = None, seed: int = 0,
    device: str = "auto", allow_missing: bool = False, progress: bool = True,
) -> Drafts:  # fmt: skip
    """Let a model propose conditions, answers and citations where there are no gold pairs, for people to confirm.

    Parameters
    ----------
    model, answers, max_new_tokens : see `ask`
    data : see `load`; questions that have gold pairs are left out

    Raises
    ------
    InputError
        What `load` and `ask_items` raise; no question without gold pairs, one without fragments.

    Examples
    --------
    >>> answer = '{"conditions": [{"condition": "in 2020", "answer": "Ann", "citations": [1, 9]}]}'
    >>> row = {"question": "Who is mayor?", "ctxs": [{"title": "Mayors", "text": "In 2020 Ann was mayor."}]}
    >>> draft_conditions(lambda messages: answer, [row], progress=False).rows()[0]["properties"]
    [{'condition': 'in 2020', 'groundtruth': 'Ann', 'citations': [1], 'confirmed': False}]
    """
    questions = [question for question in load(data) if not question.gold]
    if not questions or not all(question.fragments for question in questions):
        raise InputError(f"{len(questions)} questions are without gold pairs; one must be, with fragments.")
    items = [Item(prompt_of(q, "condition_first"), q.id, {}, max_new_tokens) for q in questions]
    how: Any = {"answers": answers, "seed": seed, "device": device, "allow_missing": allow_missing}
    name, texts = ask_items(items, model, progress=progress, **how)
    entries = [read_pairs(text or "") for text in texts]
    return Drafts(name, tuple(questions), tuple(() if isinstance(e, Unparsed) else tuple(e) for e in entries))
