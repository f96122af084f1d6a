"""Drafts of gold pairs where nobody has annotated conditions: a model proposes, people confirm."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from groundshift.benchmarks.condambigqa.data import Question, load, rows
from groundshift.benchmarks.condambigqa.protocols import prompt_of, read_pairs
from groundshift.errors import InputError
from groundshift.models.items import Item, Unparsed, ask_items
from groundshift.report import Report, Section
from groundshift.result import Result

__all__ = ["Drafts", "draft_conditions"]


@dataclass(frozen=True, repr=False)
class Drafts(Result):
    """Proposed conditions and answers, none of them confirmed.

    Attributes
    ----------
    questions : all of them, with the pairs that were already there
    table : a row for each proposed pair: question, asked, condition, answer, citations
    model : who proposed
    """

    questions: tuple[Question, ...]
    table: pd.DataFrame
    model: str

    def report(self) -> Report:
        """How many were proposed, and which."""
        count, some = len(self.table), self.table["question"].nunique()
        return Report(
            "condambigqa", self.model,
            f"{self.model} proposes {count} conditions for {some} of {len(self.questions)} questions; none is confirmed.",
            advice=(
                Section("next", "What is next?", "Read each pair in drafts.jsonl, mend it or delete it, and set its "
                        '"confirmed" to true; pairs that are not confirmed are never used as gold.'),
            ),
            sections=(Section("drafts", "Proposed conditions", tables={"": self.table}),),
        )  # fmt: skip

    def to_frame(self) -> pd.DataFrame:
        """A row for each proposed pair."""
        return self.table

    def _content(self) -> dict[str, Any]:
        return {"model": self.model, "drafts": self.table}

    def _write_more(self, folder: Path) -> None:
        written = rows(self.questions)
        for row in written:
            own = self.table[self.table["question"] == row["id"]]
            row["properties"] += [
                {"condition": d["condition"], "groundtruth": d["answer"], "citations": d["citations"], "confirmed": False}
                for d in own.to_dict("records")
            ]
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in written]
        (folder / "drafts.jsonl").write_text("".join(lines), encoding="utf-8")


def draft_conditions(
    model: Any,
    data: Any,
    *,
    max_new_tokens: int = 400,
    answers: str | Path | None = None,
    seed: int = 0,
    device: str = "auto",
    allow_missing: bool = False,
    progress: bool = True,
) -> Drafts:
    """Let a model propose conditions, answers and citations for questions without gold pairs, for people to confirm.

    Parameters
    ----------
    model, answers, max_new_tokens : see `ask`
    data : see `load`; questions that have gold pairs are left as they are

    Raises
    ------
    InputError
        What `load` and `ask_items` raise; no question without gold pairs, one without fragments.

    Examples
    --------
    >>> def model(messages):
    ...     return '{"conditions": [{"condition": "in 2020", "answer": "Ann", "citations": [1, 9]}]}'
    >>> page = {"title": "Mayors", "text": "In 2020 Ann was mayor."}
    >>> drafts = draft_conditions(model, [{"question": "Who is mayor?", "ctxs": [page]}], progress=False)
    >>> drafts.table.iloc[0].to_dict()
    {'question': '1', 'asked': 'Who is mayor?', 'condition': 'in 2020', 'answer': 'Ann', 'citations': [1]}
    """
    questions = load(data)
    left = [question for question in questions if not question.gold]
    if not left or not all(question.fragments for question in left):
        raise InputError(
            f"{len(left)} of {len(questions)} questions have no gold pairs; drafts are made for such questions, and each "
            "needs fragments (see retrieve)."
        )
    items = [Item(prompt_of(q, "condition_first"), q.id, {}, max_new_tokens) for q in left]
    name, texts = ask_items(
        items, model, answers=answers, seed=seed, device=device, allow_missing=allow_missing, progress=progress
    )
    proposed = []
    for question, text in zip(left, texts, strict=True):
        entries = read_pairs(text or "")
        for one in () if isinstance(entries, Unparsed) else entries:
            cited = sorted(n for n in one.citations if 1 <= n <= len(question.fragments))
            proposed.append((question.id, question.text, one.condition or "", one.answer, cited))
    table = pd.DataFrame(proposed, columns=["question", "asked", "condition", "answer", "citations"])
    return Drafts(tuple(questions), table, name)
