"""Results in experiment tracking: what a run of MLflow keeps of an audit, a comparison or a fit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from groundshift.errors import InputError, MissingPart
from groundshift.result import Result

__all__ = ["log_to_mlflow"]

NAMES = ("name", "number", "column", "metric")
"""Keys that name a row of a list, the first that there is."""


def log_to_mlflow(result: Result, name: str | None = None) -> None:
    """Log a result to the active MLflow run, or to a new one.

    Every number becomes a metric under its path, such as ``audit.kinds.concept.size``; the page and its files become
    artifacts in a folder of that name.

    Parameters
    ----------
    result : of `groundshift.audit`, `groundshift.diff`, or any fitted estimator
    name : what metrics and artifacts are filed under; the command that makes such results by default

    Raises
    ------
    InputError
        MLflow is not installed; something else than a result was given.
    """
    if not isinstance(result, Result):
        raise InputError(f"A {type(result).__name__} was given; a result of this library is logged.")
    try:
        import mlflow
    except ModuleNotFoundError as error:
        raise MissingPart(error, "Logging to MLflow") from error
    name = name or result.report().command
    mlflow.log_metrics(dict(_numbers(result.to_dict(), name)))
    mlflow.set_tag(f"{name}.headline", result.report().headline)
    with TemporaryDirectory() as folder:
        result.save(Path(folder) / name)
        mlflow.log_artifacts(str(Path(folder) / name), artifact_path=name)


def _numbers(value: Any, path: str) -> Iterator[tuple[str, float]]:
    """The numbers of a nested value under their paths; rows of a list are named by one of `NAMES`."""
    if isinstance(value, bool | int | float):
        yield "".join(c if c.isalnum() or c in "_-./ :" else "_" for c in path), float(value)
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _numbers(inner, f"{path}.{key}")
    elif isinstance(value, list) and all(isinstance(row, Mapping) for row in value):
        for row in value:
            label = next((str(row[key]) for key in NAMES if key in row), None)
            if label is not None:
                yield from _numbers(row, f"{path}.{label}")
