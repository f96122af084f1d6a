"""What follows a training: the ranking of its samples, and the comparison with rivals on the same splits."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from groundshift.adaptation.adawac.data import Samples, read_samples
from groundshift.adaptation.adawac.fit import FOOTNOTE, WEIGHTS, Run, draw_weights, fit
from groundshift.adaptation.adawac.loss import MODES, Mode, check_settings
from groundshift.errors import InputError
from groundshift.measures.intervals import mean_interval
from groundshift.report import Report, Section, value_text
from groundshift.result import Result
from groundshift.tables import read_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Compared", "Ranking", "compare", "rank"]


@dataclass(frozen=True, repr=False)
class Ranking(Result):
    """Training samples by their weight.

    Attributes
    ----------
    rows : of the weights, the first of the order
    samples : number of all samples
    """

    rows: pd.DataFrame
    samples: int
    order: str
    source: str

    def report(self) -> Report:
        """The samples."""
        return Report(
            "adawac", self.source,
            f"The {len(self.rows)} {self.order}est of {self.samples} training samples have weights from "
            f"{value_text(float(self.rows['beta'].min()))} to {value_text(float(self.rows['beta'].max()))}.",
            figure=("Their weights and labels", lambda ax: draw_weights(ax, self.rows, "labelled share")),
            sections=(Section("samples", "Samples", tables={"": self.rows}),),
        )  # fmt: skip

    def to_frame(self) -> pd.DataFrame:
        """The rows."""
        return self.rows

    def _content(self) -> dict[str, Any]:
        return {"samples": self.samples, "order": self.order, "rows": self.rows}


def rank(run: str | Path | Run, *, top: int = 50, order: Literal["poor", "rich"] = "poor") -> Ranking:
    """The training samples that say least, or most, by the weights of a training.

    Parameters
    ----------
    run : folder that fit or classify wrote
    top : number of rows
    order : whether the lowest or the highest weights come first

    Raises
    ------
    InputError
        No weights in the folder, top below 1.
    """
    if top < 1 or order not in ("poor", "rich"):
        raise InputError(f"top={top} and order={order!r} were given; at least 1 row, and poor or rich.")
    if isinstance(run, Run):
        return _ranked(run.weights, run.source, top, order)
    file = Path(run) / WEIGHTS
    if not file.is_file():
        raise InputError(f"{run} holds no {WEIGHTS}; give the folder that adawac fit or classify wrote.")
    return _ranked(read_table(file), str(run), top, order)


def _ranked(weights: pd.DataFrame, source: str, top: int, order: str) -> Ranking:
    rows = weights.sort_values("log_odds", ascending=order == "poor", kind="stable", ignore_index=True)
    return Ranking(rows.head(top), len(weights), order, source)


@dataclass(frozen=True, repr=False)
class Compared(Result):
    """Modes of one training on the same splits.

    Attributes
    ----------
    table : a row per mode: scores, difference of Dice from ``against`` with its interval over repeats, seconds
    runs : a row per mode and repeat
    against : the mode that others are compared with
    """

    table: pd.DataFrame
    runs: pd.DataFrame
    against: str
    source: str

    def report(self) -> Report:
        """Which mode is better than two-view training, if any."""
        better = self.table["mode"][self.table["low"] > 0].tolist()
        words = f"{', '.join(better)} is better than" if better else "No mode is shown to be better than"
        return Report(
            "adawac", self.source,
            f"{words} {self.against} on files held out (Dice, {self.runs['repeat'].nunique()} repeats with another "
            "split and initial network each).",
            figure=("Dice on files held out", self._draw), footnote=FOOTNOTE,
            sections=(Section("modes", "Modes", tables={"": self.table}),),
        )  # fmt: skip

    def to_frame(self) -> pd.DataFrame:
        """A row per mode and repeat."""
        return self.runs

    def _content(self) -> dict[str, Any]:
        return {"table": self.table, "runs": self.runs, "against": self.against}

    def _draw(self, ax: Axes) -> None:
        for k, (_, rows) in enumerate(self.runs.groupby("mode", sort=False)):
            ax.plot(np.full(len(rows), k), rows["dice"], "o", color="#2f6f8f", alpha=0.6)
        ax.set_xticks(range(len(self.table)), self.table["mode"].tolist())
        ax.set_ylabel("Dice")


def compare(
    images: Any,
    masks: Any = None,
    *,
    modes: Sequence[Mode] = ("erm", "pair", "adawac", "trim_train"),
    repeats: int = 5,
    model: str = "unet",
    steps: int = 1000,
    batch: int = 24,
    size: int | None = None,
    values: Sequence[int] | None = None,
    ignore: int | None = None,
    random_state: Any = 0,
    **settings: Any,
) -> Compared:
    """Train with several modes on the same splits, since only that says whether the weighting helps on your data.

    Parameters
    ----------
    images : folder, see fit
    masks : folder, see fit
    modes : of the loss; pair, plain training on two views, is what the others are compared with if it is among them
    repeats : trainings of each mode, with another split and initial network each; at least 2
    model : network by its name, see fit
    steps : number of training steps
    batch : samples in a step
    size : make every image so many pixels wide and high
    values : values of the masks' pixels in the order of the classes, such as 0,255
    ignore : value of pixels that count nowhere
    random_state : int
    settings : of `fit`

    Raises
    ------
    InputError
        An unknown mode, fewer than two modes or repeats; what `fit` raises.
    """
    for mode in modes:
        check_settings(mode, 1.0, 1.0, 0.5, 1)
    if len(set(modes)) < 2 or repeats < 2 or not isinstance(model, str):
        raise InputError(
            f"modes={list(modes)} and repeats={repeats} were given; at least two of each are needed, and a model by "
            f"its name, since every training begins anew. Modes are {', '.join(MODES)}."
        )
    samples = images if isinstance(images, Samples) else read_samples(
        images, masks, size=size, values=values, ignore=ignore
    )  # fmt: skip
    rows = []
    for repeat, seed in enumerate(np.random.default_rng(random_state).integers(2**31, size=repeats).tolist()):
        for mode in modes:
            began = time.monotonic()
            scores = fit(
                samples, model=model, mode=mode, steps=steps, batch=batch, random_state=seed, **settings
            ).scores
            numbers = scores[["dice", "hd95", "published_dice", "published_hd95"]].mean().to_dict()
            rows.append({"mode": mode, "repeat": repeat, **numbers, "missed": int(scores["missed"].sum()),
                         "seconds": time.monotonic() - began})  # fmt: skip
    runs = pd.DataFrame(rows)
    against = "pair" if "pair" in modes else modes[0]
    base = runs[runs["mode"] == against].set_index("repeat")["dice"]
    table = []
    for mode in modes:
        own = runs[runs["mode"] == mode]
        means = own.drop(columns=["mode", "repeat"]).mean().to_dict()
        apart = (own.set_index("repeat")["dice"] - base).dropna()
        low, high = mean_interval(apart) if mode != against and len(apart) > 1 else (np.nan, np.nan)
        difference = apart.mean() if mode != against else np.nan
        table.append({"mode": mode, **means, f"Dice − {against}": difference, "low": low, "high": high})
    order = [c for c in table[0] if c != "seconds"]
    source = str(images) if isinstance(images, str | Path) else f"{len(samples)} samples"
    return Compared(pd.DataFrame(table)[[*order, "seconds"]], runs, against, source)
