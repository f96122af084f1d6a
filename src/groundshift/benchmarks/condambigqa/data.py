"""Ambiguous questions with their fragments and gold pairs: read, written, filled by retrieval, or the library's own."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from groundshift.errors import InputError
from groundshift.models.records import read_records, read_text
from groundshift.models.sentences import Encoder, encode_texts
from groundshift.worlds.ambiguous_kb import english_questions

__all__ = ["Fragment", "Gold", "Question", "load", "retrieve", "rows"]

HUB = "hub:"
OWN = 24
"""Questions of the library's own world, where no data are given."""


@dataclass(frozen=True)
class Fragment:
    """A piece of text that an answer may rest on.

    Attributes
    ----------
    title, text : of the page, and the piece of it
    score : of the retrieval
    """

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
class Question:
    """An ambiguous question.

    Attributes
    ----------
    id, text : unique, and what is asked
    fragments : numbered from 1 in this order
    gold : every interpretation that has an answer
    asker : which of ``gold`` the asker had in mind (from 0), or the probability of each; None: unknown
    """

    id: str
    text: str
    fragments: tuple[Fragment, ...] = ()
    gold: tuple[Gold, ...] = ()
    asker: int | tuple[float, ...] | None = None

    @property
    def prior(self) -> tuple[float, ...] | None:
        """Probability of each interpretation, where something is known of the asker."""
        if isinstance(self.asker, int):
            return tuple(float(j == self.asker) for j in range(len(self.gold)))
        return self.asker


def load(data: Any = None) -> list[Question]:
    """Questions of a file, of the published data, or of the library's own world.

    Parameters
    ----------
    data : JSONL, JSON or Parquet file, or rows: "question", "ctxs" (with "title" and "text") and "properties" (with
        "condition", "groundtruth" or "answer", and "citations", or "condition_citations" and "answer_citations");
        "id" and "asker" (position of the pair that the asker had in mind, or a probability of each) may be there. A
        citation is a number from 1, or has the title of a fragment, behind its number or without.
        ``hub:owner/name`` downloads a data set; None draws 24 questions with invented names

    Raises
    ------
    InputError
        No question; an id that stands twice; a pair without condition or answer; a citation of no fragment; an asker
        who wants none of the pairs.

    Warns
    -----
    Of conditions that are lists, which are joined, and of drafts that nobody has confirmed, which are left out.

    Examples
    --------
    >>> pair = {"condition": "in 2020", "groundtruth": "Ann", "citations": [{"title": "1. Mayors"}]}
    >>> row = {"id": "a", "question": "Who is mayor?", "ctxs": [{"title": "Mayors", "text": "…"}], "properties": [pair]}
    >>> load([row])[0].gold
    (Gold(condition='in 2020', answer='Ann', citations=frozenset({1})),)
    """
    if data is None:
        data = english_questions(np.random.default_rng(0), OWN)
    if isinstance(data, str) and data.startswith(HUB):
        data = _from_hub(data.removeprefix(HUB))
    given = read_records(data) if not _are_questions(data) else list(data)
    joined, drafts = 0, 0
    questions: list[Question] = []
    for number, row in enumerate(given, 1):
        if isinstance(row, Question):
            questions.append(row)
            continue
        if not isinstance(row, Mapping) or not isinstance(row.get("question"), str):
            raise InputError(f'Row {number} has no "question"; each row needs question, ctxs and properties.')
        name = str(row.get("id", number))
        fragments = tuple(_fragment(one, name) for one in _listed(row, "ctxs", name))
        pairs = [one for one in _listed(row, "properties", name) if isinstance(one, Mapping)]
        drafts += sum(one.get("confirmed") is False for one in pairs)
        pairs = [one for one in pairs if one.get("confirmed") is not False]
        joined += sum(_is_list(one.get("condition")) for one in pairs)
        gold = tuple(_gold(one, fragments, name) for one in pairs)
        questions.append(Question(name, row["question"].strip(), fragments, gold, _asker(row, len(gold), name)))
    ids = [question.id for question in questions]
    if twice := next((one for k, one in enumerate(ids) if one in ids[:k]), None):
        raise InputError(f"The id {twice!r} stands twice; every question needs an id of its own.")
    if joined:
        warnings.warn(f'{joined} conditions are lists; their parts are joined by "; ".', stacklevel=2)
    if drafts:
        warnings.warn(
            f"{drafts} drafted pairs are left out, since nobody has confirmed them (confirmed: true).", stacklevel=2
        )
    return questions


def _are_questions(data: Any) -> bool:
    return isinstance(data, list | tuple) and bool(data) and isinstance(data[0], Question)


def _from_hub(name: str) -> list[Any]:
    try:
        from datasets import load_dataset

        parts = load_dataset(name)
        return [dict(row) for split in parts.values() for row in split]
    except Exception as error:  # no network, no such set, a script instead of data: many ways to fail
        what = " ".join(str(error).split())[:200]
        raise InputError(f"{name} cannot be loaded from the hub ({what}); save it as JSONL and give the file.") from error


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple | np.ndarray)


def _listed(row: Mapping[str, Any], key: str, name: str) -> list[Any]:
    value = row.get(key)
    if value is not None and not _is_list(value):
        raise InputError(f"Question {name}: {key!r} is no list; it needs one entry for each.")
    return list(value) if value is not None else []


def _fragment(one: Any, name: str) -> Fragment:
    if not isinstance(one, Mapping) or not isinstance(one.get("text"), str):
        raise InputError(f'Question {name}: a fragment of "ctxs" has no text; it needs title and text.')
    score = one.get("score")
    return Fragment(str(one.get("title") or ""), one["text"], None if score is None else float(score))


def _gold(pair: Mapping[str, Any], fragments: Sequence[Fragment], name: str) -> Gold:
    condition, answer = pair.get("condition"), pair.get("groundtruth", pair.get("answer"))
    condition = "; ".join(map(str, condition)) if _is_list(condition) else condition
    if not isinstance(condition, str) or answer is None or not str(answer).strip():
        raise InputError(f'Question {name}: a pair of "properties" needs a condition and a groundtruth, as text.')
    cited = [c for key in ("citations", "condition_citations", "answer_citations") for c in _listed(pair, key, name)]
    return Gold(condition, str(answer), frozenset(_cited(one, fragments, name) for one in cited))


def _cited(one: Any, fragments: Sequence[Fragment], name: str) -> int:
    title = str(one.get("title") or "") if isinstance(one, Mapping) else str(one)
    same = [k for k, fragment in enumerate(fragments, 1) if fragment.title == title]
    if isinstance(one, Mapping) and len(same) > 1:  # pieces of one page
        same = [k for k in same if fragments[k - 1].text == one.get("text")] or same[:1]
    number = re.match(r"\s*(?:fragment\s*)?(\d+)\s*(?:[.):-]|$)", title, re.IGNORECASE)
    cited = same[0] if same else int(number[1]) if number else 0
    if not 1 <= cited <= len(fragments):
        raise InputError(
            f"Question {name}: the citation {title!r} is none of its {len(fragments)} fragments; write the fragment's "
            "number from 1, or its exact title."
        )
    return cited


def _asker(row: Mapping[str, Any], gold: int, name: str) -> int | tuple[float, ...] | None:
    value = row.get("asker")
    if value is None or not gold:
        return None
    if _is_list(value):
        prior = tuple(float(p) for p in value)
        if len(prior) == gold and min(prior) >= 0 and abs(sum(prior) - 1) < 1e-6:
            return prior
    elif float(value).is_integer() and 0 <= value < gold:
        return int(value)
    raise InputError(
        f"Question {name} has the asker {value!r} and {gold} pairs; give a position from 0, or a probability of each."
    )


def rows(questions: Sequence[Question]) -> list[dict[str, Any]]:
    """Questions as rows that `load` reads."""
    return [
        {
            "id": q.id,
            "question": q.text,
            "ctxs": [{"title": f.title, "text": f.text, "score": f.score} for f in q.fragments],
            "properties": [
                {"condition": g.condition, "groundtruth": g.answer, "citations": sorted(g.citations)} for g in q.gold
            ],
            **({} if q.asker is None else {"asker": q.asker}),
        }
        for q in questions
    ]


def retrieve(data: Any, corpus: Any, encoder: Encoder = "hash", k: int = 20, device: str = "auto") -> list[Question]:
    """Questions whose fragments are the nearest of a corpus, by cosine.

    Parameters
    ----------
    data : see `load`
    corpus : folder of .txt or .md files, each one fragment under its name; or rows with "title" and "text"
    encoder : see `groundshift.models.sentences.encode_texts`: "hash" needs no model
    k : fragments of each question

    Returns
    -------
    list of Question
        Gold citations keep the fragments that they named, under their new numbers; a cited fragment that is not
        retrieved is cited no more.

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
        pool = [_fragment(row, "of the corpus") for row in read_records(corpus)]
    if not pool or k < 1 or not questions:
        raise InputError(f"{len(pool)} texts, {len(questions)} questions and k={k} were given; at least 1 of each is needed.")
    texts = [f"{f.title}\n{f.text}" for f in pool] + [q.text for q in questions]
    different = list(dict.fromkeys(texts))
    vectors = encode_texts(different, encoder, device)
    vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    place = {text: n for n, text in enumerate(different)}
    near = vectors[[place[q.text] for q in questions]] @ vectors[[place[text] for text in texts[: len(pool)]]].T
    filled = []
    for question, cosine in zip(questions, near, strict=True):
        chosen = np.argsort(-cosine, kind="stable")[:k]
        fragments = tuple(replace(pool[n], score=float(cosine[n])) for n in chosen)
        now = {(f.title, f.text): number for number, f in reversed(list(enumerate(fragments, 1)))}
        before = [now.get((f.title, f.text)) for f in question.fragments]
        gold = tuple(
            replace(g, citations=frozenset(n for c in g.citations if (n := before[c - 1]) is not None))
            for g in question.gold
        )
        filled.append(replace(question, fragments=fragments, gold=gold))
    return filled
