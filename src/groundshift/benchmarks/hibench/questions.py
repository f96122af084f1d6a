"""Questions that others wrote: rows of JSONL, and the tree files of the paper's repository."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Any

from groundshift.benchmarks.hibench.tasks import TASKS
from groundshift.errors import InputError
from groundshift.models.records import read_json, read_records

__all__ = ["read_questions"]


def read_questions(source: Any) -> list[tuple[str, str, str, str, str]]:
    """Task, form, structure, question and answer of every row; none where the source holds no questions.

    Rows of JSONL have "task", "question" and "answer" (and "structure" and "form"); those of the tree files of the
    paper's repository have "edge_presentation", "hierarchy_presentation", and <task>_Q and <task>_A.
    """
    path = Path(source) if isinstance(source, str | Path) else Path()
    if path.suffix not in (".json", ".jsonl") or not path.is_file():
        return []
    rows = read_json(path) if path.suffix == ".json" else read_records(path)
    published = isinstance(rows, list) and isinstance(rows[0], dict) and "edge_presentation" in rows[0]
    if path.suffix == ".json" and not published:
        return []
    questions = []
    for number, row in enumerate(rows):
        for task, (form, name) in product(
            TASKS if published else (), (("edge", "edge"), ("drawing", "hierarchy"))
        ):
            asked, right = (row.get(f"{task}_{p}", row.get(f"{task}_{p}_{name[0].upper()}")) for p in "QA")
            if asked is not None and right is not None:
                right = {"True": "yes", "False": "no"}.get(str(right), str(right))
                questions.append((task, form, row[f"{name}_presentation"], f"Now {asked}", right))
        if not published:
            if row.get("task") not in TASKS or "question" not in row or "answer" not in row:
                raise InputError(
                    f'{path}, row {number}: "task" (one of the thirty), "question" and "answer" are needed.'
                )
            right = row["answer"] if isinstance(row["answer"], str) else json.dumps(row["answer"])
            texts = (str(row.get(name, "")) for name in ("form", "structure", "question"))
            questions.append((row["task"], *texts, right))
    return questions
