"""Graded answers on Inspect: parse first and score then, answers that were recorded elsewhere, and records of the logs.

Tasks, model providers, cache, retries and logs are Inspect's. What is added: an answer that cannot be parsed is told
apart from a wrong one, a scorer carries its table of spellings, and a log becomes one table of records. See
`groundshift.measures.answers` for intervals and comparisons.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from inspect_ai import Task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.log import EvalLog, EvalSample, read_eval_log
from inspect_ai.model import GenerateConfig, ModelOutput
from inspect_ai.scorer import (
    NOANSWER,
    Score,
    Scorer,
    Target,
    accuracy,
    mean,
    scorer,
    stderr,
    value_to_float,
)
from inspect_ai.solver import Generate, Solver, TaskState, generate, solver

from groundshift.errors import InputError
from groundshift.graded import RECORDS, read_graded
from groundshift.models import harness
from groundshift.models.chats import inspect_message, reasoning_of
from groundshift.models.items import (
    Grade,
    Item,
    Parser,
    Unparsed,
    Verdict,
    check_spellings,
    item_id,
    judged,
    read_answers,
)

__all__ = [
    "Unparsed",
    "Verdict",
    "check_spellings",
    "inspect_task",
    "item_id",
    "parse_then_score",
    "recorded",
    "records",
]


@scorer(metrics={"correct": [accuracy(), stderr(cluster="group")], "partial": [mean()], "parsed": [mean()]})
def parse_then_score(parser: Parser, grade: Grade) -> Scorer:
    """An Inspect scorer: parse the completion, then grade what was parsed; the unparsed is wrong and counted apart.

    Items carry the unit that is resampled as "group" in their metadata, or stand for themselves.

    Parameters
    ----------
    parser : completion → value or `Unparsed`
    grade : (value, target, metadata) → `Verdict`

    Examples
    --------
    >>> def number(text):
    ...     return int(text) if text.strip().isdigit() else Unparsed("no number")
    >>> exact = parse_then_score(number, lambda value, target, _: Verdict(value == int(target)))
    """

    async def score(state: TaskState, target: Target) -> Score:
        return graded(parser, grade, state.output.completion, target.text, state.metadata)

    return score


def graded(parser: Parser, grade: Grade, completion: str, target: str, metadata: Mapping[str, Any]) -> Score:
    """The `Score` of one completion: correct, partial and parsed as numbers, parts in the metadata."""
    value, verdict = judged(parser, grade, completion, target, metadata)
    if isinstance(verdict, Unparsed):
        none = {"correct": 0, "partial": 0.0, "parsed": 0}
        return Score(value=none, answer=None, explanation=verdict.reason)
    partial = float(verdict.correct) if verdict.partial is None else float(verdict.partial)
    return Score(
        value={"correct": int(verdict.correct), "partial": partial, "parsed": 1},
        answer=str(value),
        explanation=verdict.reason,
        metadata={"parts": dict(verdict.parts or {})},
    )


def inspect_task(items: Sequence[Item], parser: Parser, grade: Grade, *, name: str, version: str) -> Task:
    """Items as an Inspect task, with the ids that a local run gives them: their records can be compared."""
    samples = [
        Sample(
            input=list(map(inspect_message, item.shown())),
            target=item.target,
            id=item.id,
            metadata=dict(item.facts),
        )
        for item in items
    ]  # fmt: skip
    return Task(
        dataset=MemoryDataset(samples, name=name),
        solver=generate(),
        scorer=parse_then_score(parser, grade),
        config=GenerateConfig(max_tokens=max(item.max_new_tokens for item in items), temperature=0.0),
        version=version,
        name=name,
    )


@solver
def recorded(file: str) -> Solver:
    """An Inspect solver that answers from a file, not by a model: ``--solver groundshift/recorded -S file=…``.

    Parameters
    ----------
    file : JSONL with "id" and "answer" (or "completion") on every line; ids as text

    Raises
    ------
    InputError
        No such file, a line without them, an item without an answer.
    """
    answers = read_answers(file)

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        if str(state.sample_id) not in answers:
            raise InputError(f"{file} has no answer for the item {state.sample_id!r}.")
        state.output = ModelOutput.from_content("recorded", answers[str(state.sample_id)])
        state.completed = True
        return state

    return solve


# Records -------------------------------------------------------------------------------------------------


def records(
    logs: str | Path | EvalLog | Sequence[str | Path | EvalLog],
    scorer: str | None = None,
    group: str | None = None,
) -> pd.DataFrame:
    """Logs of Inspect or lm-evaluation-harness, and saved benchmarks, as one table: a row for each item and epoch.

    A log and its retries (``inspect eval-retry``) hold one run: of each item and epoch the latest record with a score
    counts, once. So does the latest of several runs of a task that lm-evaluation-harness wrote to one folder.

    Parameters
    ----------
    logs : log files, folders of logs, or logs; of lm-evaluation-harness those are ``samples_….jsonl``, as
        ``--log_samples`` writes them; of the library's own benchmarks the folder that ``--out`` wrote
    scorer : whose scores are read (of lm-evaluation-harness: which filter's); the first one's if left out
    group : column with the group that an item belongs to; if left out "group" of its metadata, else the item itself

    Returns
    -------
    DataFrame with id, epoch, group, target, answer (raw), reasoning (that stands apart from it), parsed_value, correct,
    partial, parsed, reason, seconds, error, prompt (hash of all messages before the answer), model, task, task_version,
    scorer, groundshift, and the items' metadata and parts in columns of their own name (a name that is taken gets
    "item_" in front). An item that
    ended in an error is a row without scores. ``attrs["notes"]`` says what was left out or put together.

    Raises
    ------
    InputError
        No log, a log that cannot be read, a log without samples, an unknown scorer, an unknown column.
    """
    sources = [logs] if isinstance(logs, str | Path | EvalLog) else list(logs)
    notes: list[str] = []
    rows: list[dict[str, Any]] = []
    eval_logs: list[EvalLog] = []
    for one in sources:
        if isinstance(one, EvalLog):
            eval_logs.append(one)
            continue
        files = _files(Path(one))
        eval_logs += [
            log for file in files if file.suffix != ".jsonl" and (log := _log(file, Path(one), notes))
        ]
        own = [file for file in files if file.name == RECORDS]
        rows += [
            {str(k): v for k, v in row.items()} for f in own for row in read_graded(f).to_dict("records")
        ]
        others = [file for file in files if file.suffix == ".jsonl" and file not in own]
        rows += harness.samples(others, scorer, notes)
    rows += _inspected(eval_logs, scorer, notes)
    if not rows:
        raise InputError("The logs hold no samples; give logs that were written with their samples.")
    table = pd.DataFrame(rows)
    if group is not None:
        if group not in table:
            raise InputError(f"The records have no {group!r}; they have {', '.join(map(str, table))}.")
        table["group"] = table[group].where(table[group].notna(), table["id"]).astype(str)
    table.attrs["notes"] = notes
    return table


def _files(path: Path) -> list[Path]:
    kinds = (".eval", ".json", ".jsonl")
    files = sorted(p for p in path.rglob("*") if p.suffix in kinds) if path.is_dir() else [path]
    if not files or not all(file.is_file() for file in files):
        raise InputError(
            f"{path} is no log of Inspect or lm-evaluation-harness (samples_….jsonl), nor a folder of logs."
        )
    return files


def _log(file: Path, given: Path, notes: list[str]) -> EvalLog | None:
    """A log of Inspect; None for another file of the folder that was given."""
    try:
        return read_eval_log(str(file))
    except Exception as error:  # a damaged archive or another JSON file fails in many ways
        what = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        if file == given:
            raise InputError(f"{file} cannot be read as a log of Inspect: {what}.") from error
        if file.suffix == ".eval":
            notes.append(f"{file.name} cannot be read ({what}): left out.")
        return None


def _inspected(logs: Sequence[EvalLog], scorer: str | None, notes: list[str]) -> list[dict[str, Any]]:
    """The samples of Inspect's logs, each once."""
    latest: dict[tuple[Any, ...], dict[str, Any]] = {}
    many = 0
    # A retry has the task's id of the log that it goes on from.
    for log in sorted(logs, key=lambda log: str(log.eval.created)):
        for sample in log.samples or ():
            many += 1
            row = _record(log, sample, scorer)
            place = log.eval.task_id, log.eval.model, row["id"], sample.epoch
            if place not in latest or pd.isna(latest[place]["correct"]) or not pd.isna(row["correct"]):
                latest[place] = row
        if log.status != "success":
            notes.append(
                f"The log of {log.eval.task} from {log.eval.created} ended with the status {log.status}."
            )
    if many > len(latest):
        notes.append(f"{many} records of retried logs are {len(latest)} samples: the latest of each counts.")
    return list(latest.values())


def _record(log: EvalLog, sample: EvalSample, scorer: str | None) -> dict[str, Any]:
    scores = sample.scores or {}
    if scorer is not None and scores and scorer not in scores:
        raise InputError(f"There is no scorer {scorer!r} in the log; there are {', '.join(scores)}.")
    name = scorer or next(iter(scores), None)
    score = scores.get(name) if name and sample.invalidation is None else None
    metadata = dict(sample.metadata or {})
    error = sample.error.message if sample.error else None
    row: dict[str, Any] = {
        "id": str(sample.id),
        "epoch": sample.epoch,
        "group": str(metadata.pop("group", sample.id)),
        "target": sample.target if isinstance(sample.target, str) else json.dumps(sample.target),
        "answer": sample.output.completion if sample.output else None,
        "reasoning": reasoning_of(sample.output.message) if sample.output and sample.output.choices else "",
        "parsed_value": score.answer if score else None,
        "reason": score.explanation if score else None,
        **_numbers(score),
        "seconds": sample.total_time,
        "error": "invalidated" if sample.invalidation is not None else error,
        "prompt": _prompt(sample),
        "model": log.eval.model,
        "task": log.eval.task,
        "task_version": log.eval.task_version,
        "scorer": name,
        "groundshift": log.eval.packages.get("groundshift"),
    }  # fmt: skip
    parts = (score.metadata or {}).get("parts") if score else None
    more = {
        **metadata,
        **(parts if isinstance(parts, Mapping) else {}),
    }  # other scorers have parts of their own
    return row | {f"item_{key}" if key in row else key: value for key, value in more.items()}


def _prompt(sample: EvalSample) -> str:
    messages = [message for message in sample.messages if message.role != "assistant"]
    return item_id({"prompt": [(message.role, message.text) for message in messages] or str(sample.input)})


def _numbers(score: Score | None) -> dict[str, Any]:
    """Correct, partial and parsed of any Inspect score, with words and letters as Inspect counts them."""
    number = value_to_float()
    if score is None or isinstance(score.value, list):
        return {"correct": float("nan"), "partial": float("nan"), "parsed": float("nan")}
    if isinstance(score.value, Mapping):
        value = {key: number(one) for key, one in score.value.items() if one is not None}
        correct = value.pop("correct", next(iter(value.values()), float("nan")))
        return {
            "correct": correct,
            "partial": value.pop("partial", correct),
            "parsed": value.pop("parsed", 1.0),
        } | value
    credit = number(score.value)
    correct = credit if math.isnan(credit) else float(credit == 1)
    return {"correct": correct, "partial": credit, "parsed": float(score.value != NOANSWER)}
