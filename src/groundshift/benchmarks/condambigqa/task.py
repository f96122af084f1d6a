"""The benchmark as an Inspect task: ``inspect eval groundshift/condambigqa``."""

from inspect_ai import Task, task

from groundshift.benchmarks.condambigqa.data import VERSION, load, make_items, read_pairs
from groundshift.benchmarks.condambigqa.evaluate import grader
from groundshift.models.answers import inspect_task


@task
def condambigqa(
    data: str | None = None,
    protocols: str = "direct,condition_first,given",
    judge: str = "f1",
    threshold: float = 0.5,
    n: int | None = None,
) -> Task:
    """Ambiguous questions of a file, or of the library's own; see `groundshift.benchmarks.condambigqa.ask`."""
    items = make_items(load(data)[:n], protocols.split(","))
    return inspect_task(items, read_pairs, grader(judge, threshold), name="condambigqa", version=VERSION)
