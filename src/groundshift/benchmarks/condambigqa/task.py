"""The benchmark as an Inspect task: ``inspect eval groundshift/condambigqa``."""

from __future__ import annotations

from inspect_ai import Task, task

from groundshift.benchmarks.condambigqa.data import load
from groundshift.benchmarks.condambigqa.evaluate import grader
from groundshift.benchmarks.condambigqa.protocols import VERSION, make_items, read_pairs
from groundshift.models.answers import inspect_task

__all__ = ["condambigqa"]


@task
def condambigqa(
    data: str | None = None,
    protocols: str = "direct,condition_first,given",
    judge: str = "f1",
    threshold: float = 0.5,
    n: int | None = None,
) -> Task:
    """Ambiguous questions, asked directly, with the conditions first, and with the conditions given.

    Parameters
    ----------
    data : file of questions, see `load`; by default the library's own
    protocols : with commas between them
    judge, threshold, n : see `groundshift.benchmarks.condambigqa.ask`
    """
    items = make_items(load(data)[:n], protocols.split(","))
    return inspect_task(items, read_pairs, grader(judge, threshold), name="condambigqa", version=VERSION)
