"""Questions about true papers: the rows of QASPER (Dasigi and others, 2021), in either of the forms it comes in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["questions_of"]

LEVELS = " ::: "
"""Between the names of a section and of the one that holds it."""


def questions_of(row: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """The paper with its sections marked, question and answer, for every question that is answered in the paper.

    Parameters
    ----------
    row : "full_text" and "qas" of a paper, as lists of objects (the authors' files) or as columns (of ``datasets``)

    Examples
    --------
    >>> answer = {"unanswerable": False, "yes_no": None, "extractive_spans": ["two"], "free_form_answer": ""}
    >>> text = {"section_name": ["Data", "Data ::: Size"], "paragraphs": [[], ["Two sets."]]}
    >>> questions = {"question": ["How many sets?"], "answers": [{"answer": [answer]}]}
    >>> list(questions_of({"full_text": text, "qas": questions}))
    [('<<<Data>>>\\n<<<Size>>>\\nTwo sets.\\n<<</Size>>>\\n<<</Data>>>', 'How many sets?', 'two')]
    """
    text = _marked([(str(one["section_name"] or ""), one["paragraphs"]) for one in _rows(row["full_text"])])
    for asked in _rows(row["qas"]):
        answers = [_answer(one["answer"]) for one in _rows(asked["answers"])]
        if given := [answer for answer in answers if answer]:
            yield text, str(asked["question"]), min(given, key=len)


def _rows(value: Any) -> list[Mapping[str, Any]]:
    """Columns as rows; rows as they are."""
    if not isinstance(value, Mapping):
        return list(value)
    return [dict(zip(value, cells, strict=True)) for cells in zip(*value.values(), strict=True)]


def _answer(answer: Mapping[str, Any]) -> str:
    """What an annotator answered; "" where the paper does not say."""
    if answer.get("unanswerable"):
        return ""
    if answer.get("yes_no") is not None:
        return "yes" if answer["yes_no"] else "no"
    return ", ".join(answer.get("extractive_spans") or []) or str(answer.get("free_form_answer") or "")


def _marked(sections: list[tuple[str, Any]]) -> str:
    lines: list[str] = []
    path: list[str] = []
    for name, paragraphs in [*sections, ("", [])]:
        names = [part for part in name.split(LEVELS) if part]
        shared = next(
            (k for k, pair in enumerate(zip(path, names, strict=False)) if pair[0] != pair[1]),
            min(len(path), len(names)),
        )
        lines += [f"<<</{closed}>>>" for closed in reversed(path[shared:])]
        lines += [f"<<<{opened}>>>" for opened in names[shared:]]
        lines += [str(paragraph) for paragraph in paragraphs]
        path = names
    return "\n".join(lines)
