"""The page of one question: its fragments, and gold and generated entries side by side."""

from __future__ import annotations

from typing import Any

import pandas as pd

from groundshift.benchmarks.condambigqa.data import Question
from groundshift.report import Badge, Marked, Report, Section

__all__ = ["compared", "question_page"]


def compared(question: Question, pairs: pd.DataFrame) -> Section:
    """Gold and generated entries of each protocol, in their default pairs."""
    own = pairs[(pairs["question"] == question.id) & (pairs["pairing"] == "default") & (pairs["epoch"] == 1)]
    tables = {str(name): _table(part) for name, part in own.groupby("protocol", sort=False)}
    note = "A row without a gold entry is an answer too many; one without an answer is missing."
    return Section(f"question-{question.id}", question.text, notes=(note,), tables=tables, folded=True)


def _table(part: pd.DataFrame) -> pd.DataFrame:
    columns: dict[str, Any] = {}
    if part[["gold_condition", "generated_condition"]].notna().all().any():
        columns = {"gold condition": part["gold_condition"], "condition": part["generated_condition"],
                   "right ": part["condition_score"]}  # fmt: skip
    columns |= {"gold answer": part["gold_answer"], "answer": part["generated_answer"], "right": part["answer_score"]}
    columns["should cite"] = part["gold_citations"]
    columns["cites"] = [_cited(row) for _, row in part.iterrows()]
    return pd.DataFrame(columns).dropna(axis=1, how="all").fillna({n: "" for n in columns if "right" not in n})


def _cited(row: pd.Series) -> Any:
    wanted, given = (set(row[f"{side}_citations"].split(", ")) - {""} for side in ("gold", "generated"))
    if not given:
        return ""
    tone: Any = "good" if given <= wanted else "open" if given & wanted else "bad"
    return Badge(row["generated_citations"], tone)


def question_page(question: Question, records: pd.DataFrame, pairs: pd.DataFrame) -> Report:
    """The page of one question; a fragment is marked by who cites it."""
    own = pairs[(pairs["question"] == question.id) & (pairs["pairing"] == "default")]
    cited: dict[int, set[str]] = {}
    for _, row in own[own["entry"].notna()].iterrows():
        for number in filter(None, row["generated_citations"].split(", ")):
            cited.setdefault(int(number), set()).add(row["protocol"])
    wanted = {number for gold in question.gold for number in gold.citations}
    texts = []
    for number, fragment in enumerate(question.fragments, 1):
        by = ", ".join(sorted(cited.get(number, set())))
        tone: Any = ("good" if number in wanted else "bad") if by else "open" if number in wanted else ""
        remark = f"{'supports a gold entry' if number in wanted else 'supports none'}; cited by {by or 'no answer'}"
        texts.append(Marked(f"Fragment {number} - {fragment.title}", ((fragment.text, tone, remark if tone else ""),)))
    rows = records[records["question"] == question.id]
    means = rows.groupby("protocol", sort=False)["partial"].mean()
    note = "Green: rightly cited. Amber: supports a gold entry, and no answer cites it. Red: cited, and supports none."
    return Report(
        "condambigqa", question.id, question.text,
        lead="Answer F1: " + ", ".join(f"{name} {mean:.2f}" for name, mean in means.items()) + ".",
        sections=(
            Section(**{**vars(compared(question, pairs)), "title": "Gold and generated entries", "folded": False}),
            Section("fragments", "Fragments", notes=(note,), texts=texts),
            Section("answers", "The answers as they were written", folded=True,
                    facts={f"{row['protocol']} {row['epoch']}": row["answer"] for _, row in rows.iterrows()}),
        ),
    )  # fmt: skip
