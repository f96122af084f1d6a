"""Sample logs of lm-evaluation-harness: ``samples_<task>_<date>.jsonl``, as ``--log_samples`` writes them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from groundshift.errors import InputError
from groundshift.models.records import read_json, read_records

__all__ = ["samples"]

NAME = re.compile(r"(?:samples_)?(?P<task>.+?)(?:_(?P<date>\d{4}-\d\d-\d\dT[\d.:-]+))?")
OWN = {
    *("doc_id", "doc", "target", "arguments", "resps", "filtered_resps", "filter", "metrics"),
    *("doc_hash", "prompt_hash", "target_hash", "native_id", "schema_version"),
}
"""Fields that are no scores."""
FIRST = ("exact_match", "acc")
"""Scores that are read as "correct", in this order; else the first one."""
INVALID = "[invalid]"
"""What the harness's filters answer where they find none."""


def samples(files: Sequence[Path], chosen: str | None, notes: list[str]) -> list[dict[str, Any]]:
    """Records of sample logs, each item once.

    Parameters
    ----------
    files : of several runs of one task in one folder the latest counts
    chosen : filter whose answers are read; the first of each file if left out
    notes : gets what was left out

    Raises
    ------
    InputError
        A file of another form, an unknown filter.
    """
    latest: dict[tuple[Path, str], tuple[str, Path]] = {}
    for file in files:
        match = NAME.fullmatch(file.stem)
        assert match is not None
        place, date = (file.parent, _task(file, match["task"])), match["date"] or ""
        if place in latest:
            older = min((date, file), latest[place])[1]
            notes.append(f"{older.name} is an earlier run of {place[1]}: left out.")
        latest[place] = max((date, file), latest.get(place, ("", file)))
    rows = []
    for (folder, task), (_, file) in sorted(latest.items()):
        records = [row for row in read_records(file) if isinstance(row, dict)]
        for number, row in enumerate(records):
            if not {"doc_id", "target"} <= set(row):
                raise InputError(
                    f"{file}, row {number} has no doc_id and target; a sample log of lm-evaluation-harness is needed "
                    "(--log_samples)."
                )
        if not records:
            raise InputError(f"{file} holds texts and no samples; give a log of lm-evaluation-harness.")
        filters = list(dict.fromkeys(map(_filter, records)))
        if chosen is not None and chosen not in filters:
            raise InputError(f"There is no filter {chosen!r} in {file.name}; there are {', '.join(filters)}.")
        if chosen is None and len(filters) > 1:
            notes.append(
                f"{file.name} has the filters {', '.join(filters)}: {filters[0]} is read (--scorer)."
            )
        kept = chosen or filters[0]
        rows += [_record(row, task, folder.name, kept) for row in records if _filter(row) == kept]
    return rows


def _filter(row: Mapping[str, Any]) -> str:
    return str(row.get("filter", "none"))


def _task(file: Path, name: str) -> str:
    """The task of a log: early versions put the model's arguments in front, and list the tasks in results.json."""
    results = file.with_name("results.json")
    if file.stem.startswith("samples_") or not results.is_file():
        return name
    tasks = read_json(results).get("configs", {})
    if not isinstance(tasks, Mapping):
        raise InputError(
            f"{results} has no tasks: its configs are no object; copy the results of the run again."
        )
    return max((task for task in tasks if name.endswith(f"_{task}")), key=len, default=name)


def _record(row: Mapping[str, Any], task: str, model: str, kept: str) -> dict[str, Any]:
    named = row.get("metrics")
    if isinstance(named, Mapping):
        held: Mapping[str, Any] = named
    else:
        listed = [k for k in named if isinstance(k, str)] if isinstance(named, list) else []
        held = {k: row.get(k) for k in listed or set(row) - OWN}
    scores = {str(k): _score(v) for k, v in held.items() if isinstance(v, int | float)}
    name = next((k for k in FIRST if k in scores), next(iter(sorted(scores)), None))
    credit = float("nan") if name is None else scores[name]
    doc = row.get("doc")
    doc = dict(doc) if isinstance(doc, Mapping) else {}
    answer = _answer(row.get("filtered_resps"))
    record: dict[str, Any] = {
        "id": str(row["doc_id"]),
        "epoch": 1,
        "group": str(doc.pop("group", row["doc_id"])),
        "target": str(row["target"]),
        "answer": answer,
        "parsed_value": answer,
        "reason": None,
        "correct": credit if name is None else float(credit == 1),
        "partial": credit,
        "parsed": float(answer != INVALID),
        "seconds": None,
        "error": None,
        "prompt": row.get("prompt_hash"),
        "model": model,
        "task": task,
        "task_version": None,
        "scorer": kept,
        "groundshift": None,
        "doc_hash": row.get("doc_hash"),
    }  # fmt: skip
    more = {**scores, **{k: v for k, v in doc.items() if isinstance(v, str | int | float | None)}}
    return record | {f"item_{key}" if key in record else key: value for key, value in more.items()}


def _score(value: float) -> float:
    try:
        return float(value)
    except OverflowError:  # a whole number of hundreds of digits
        return float("nan")


def _answer(given: Any) -> str | None:
    """The text that was graded, or the number of the likeliest choice."""
    while isinstance(given, list) and len(given) == 1 and not _choice(given[0]):
        given = given[0]
    if isinstance(given, list) and given and all(map(_choice, given)):
        likely = [float(choice[0]) for choice in given]
        return str(likely.index(max(likely)))
    return None if given is None or given == [] else str(given)


def _choice(value: Any) -> bool:
    """Whether this is a log-likelihood and whether it was greedy, as numbers or as texts."""
    if not isinstance(value, list) or len(value) != 2 or str(value[1]) not in ("True", "False"):
        return False
    try:
        float(value[0])
    except (TypeError, ValueError, OverflowError):
        return False
    return True
