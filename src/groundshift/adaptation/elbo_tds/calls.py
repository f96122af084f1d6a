"""Calls on a model that was fitted and saved: scores of new rows, and incremental training day by day."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from groundshift.adaptation.elbo_tds.estimator import ELBOTDSClassifier
from groundshift.errors import InputError
from groundshift.pages import number
from groundshift.report import Report, Section
from groundshift.result import Result
from groundshift.tables import find_column, open_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Scores", "score", "update"]


@dataclass(frozen=True, repr=False)
class Scores(Result):
    """Scores of rows.

    Attributes
    ----------
    table : kept columns, and ``score``, the probability of the second label
    settings : of the call
    """

    table: pd.DataFrame
    settings: Mapping[str, Any] = field(default_factory=dict)

    def report(self) -> Report:
        """How the scores are spread."""
        scores = self.table["score"]
        low, middle, high = np.quantile(scores, (0.05, 0.5, 0.95))
        return Report(
            "elbo_tds", f"{len(scores):,} rows",
            f"{len(scores):,} rows were scored, with a mean of {number(float(scores.mean()))}.",
            figure=("Scores", self._draw),
            sections=(
                Section("scores", "Scores", facts={"5 % lie below": low, "median": middle, "5 % lie above": high}),
            ), settings=self.settings,
        )  # fmt: skip

    def _content(self) -> dict[str, Any]:
        return {"scores": self.table, "settings": self.settings}

    def to_frame(self) -> pd.DataFrame:
        """A row per row of the table."""
        return self.table

    def _draw(self, ax: Axes) -> None:
        ax.hist(self.table["score"], bins=40)
        ax.set_xlabel("score")
        ax.set_ylabel("rows")


def score(model: str | Path, X: Any, *, keep: Sequence[str] = ()) -> Scores:
    """Scores of new rows by a model that was fitted and saved.

    Parameters
    ----------
    model : folder
        Folder that fit or update wrote.
    X : array, table or path
        Rows: a CSV or Parquet file, or a table in memory.
    keep : names
        Columns to write beside the score, such as the row's key.
    """
    fitted = ELBOTDSClassifier.load(model)
    frame = open_table(X)
    kept = frame[[find_column(name, frame.columns) for name in keep]].reset_index(drop=True)
    proba = fitted.predict_proba(frame)[:, 1]
    return Scores(kept.assign(score=proba), {"score": f"probability of {fitted.classes_[1]}"})


def update(
    model: str | Path, X: Any, *, epochs: int = 1, checkpoints: str | Path | None = None
) -> ELBOTDSClassifier:
    """Train a saved model further on new days, each scored before it is trained on.

    Parameters
    ----------
    model : folder
        Folder that fit or update wrote; it is left as it is.
    X : table, path or folder
        A day's rows: a CSV or Parquet file, or a folder of Parquet files, which are read one by one in the order of
        their names.
    epochs : int
        Passes over each day.
    checkpoints : folder
        Folder that keeps the model after each file; a call that was killed goes on from the last of them.

    Raises
    ------
    InputError
        No files in the folder, checkpoints of another model, a column that is missing.
    """
    fitted = ELBOTDSClassifier.load(model)
    folder = Path(X) if isinstance(X, str | Path) and Path(X).is_dir() else None
    days: list[Any] = [X] if folder is None else sorted(folder.glob("*.parquet"))
    if not days:
        raise InputError(f"{folder} holds no file that ends in .parquet.")
    for k, day in enumerate(days):
        name = Path(day).name if isinstance(day, str | Path) else f"day-{k}"
        kept = None if checkpoints is None else Path(checkpoints) / Path(name).stem
        if kept is not None and kept.is_dir():
            later = ELBOTDSClassifier.load(kept)
            if later.seen_[: len(fitted.seen_)] != fitted.seen_:
                raise InputError(f"{kept} was not reached from {model}; name another folder for checkpoints.")
            fitted = later
            continue
        fitted.update(day, epochs=epochs)
        if kept is not None:
            fitted.save(kept)
    return fitted
