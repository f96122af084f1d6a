"""The result of a benchmark: graded answers of one model, as a table, a page and records; and several as one page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from groundshift.errors import InputError
from groundshift.measures.answers import paired, summarise
from groundshift.models.records import parse_json, read_lines
from groundshift.report import Report, Sample, Section
from groundshift.result import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["RECORDS", "Card", "Graded", "model_card", "read_graded", "write_records"]

RECORDS = "records.jsonl"
"""The file of a saved result that holds its items."""
COLUMNS = {"mean": "right", "low": "low", "high": "high", "n": "items", "groups": "groups", "errors": "not asked",
           "unparsed": "unparsed", "chance": "by chance", "majority": "commonest"}  # fmt: skip
HOW = (
    "The interval resamples groups of items that belong together. By chance is what random answers get right, "
    "commonest what the most frequent right answer would get. An unparsed answer counts as wrong."
)


@dataclass(frozen=True, repr=False)
class Graded(Result):
    """Graded answers of one model.

    Attributes
    ----------
    records : a row for each item, see `groundshift.models.items.grade_items`
    benchmark : slug
    strata : columns of the records that the page has a table for; the first is drawn
    settings : of the call
    """

    records: pd.DataFrame
    benchmark: str = ""
    strata: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def model(self) -> str:
        """Whose answers these are."""
        return str(self.records["model"].iloc[0])

    def table(self, by: str | Sequence[str] = (), value: str = "correct", *, min_n: int = 10) -> pd.DataFrame:
        """Means with intervals beside chance, see `groundshift.measures.answers.summarise`."""
        return summarise(self.records, by, value, min_n=min_n)

    def compare(self, other: Graded, by: str | Sequence[str] = (), value: str = "correct") -> pd.DataFrame:
        """From this run to another of the same items, see `groundshift.measures.answers.paired`."""
        return paired(self.records, other.records, by, value)

    def to_frame(self) -> pd.DataFrame:
        """A row for each item."""
        return self.records

    def report(self) -> Report:
        """How much was right, by every stratum, with the first items that were wrong."""
        first = self.strata[0] if self.strata else None
        return Report(
            self.benchmark, self.model, self._headline(), lead=self._lead(), warnings=self._warnings(),
            figure=None if first is None else (f"Share that is right by {_word(first)}", self._draw),
            sections=(*self._tables(), *self._sections(), *self._examples()),
            settings=self.settings, footnote=HOW,
        )  # fmt: skip

    def _sections(self) -> Sequence[Section]:
        """Sections of a benchmark of its own, between tables and examples."""
        return ()

    def _headline(self) -> str:
        row = self.table(min_n=1).iloc[0]
        if not row["n"]:
            return f"{self.model} could be asked none of {len(self.records):,} items."
        spread = "" if np.isnan(row["low"]) else f" (95 % interval {row['low']:.0%} to {row['high']:.0%})"
        chance = "" if np.isnan(row["chance"]) else f"; random answers get {row['chance']:.0%}"
        return f"{self.model} answers {row['mean']:.0%} of {int(row['n']):,} items right{spread}{chance}."

    def _lead(self) -> str:
        unparsed = 1 - self.records["parsed"].mean()
        return (
            ""
            if not unparsed > 0
            else f"{unparsed:.0%} of its answers could not be parsed and count as wrong."
        )

    def _warnings(self) -> tuple[str, ...]:
        left_out = self.records["correct"].isna()
        if not left_out.any():
            return ()
        return (
            f"{left_out.sum():,} of {len(left_out):,} items were not asked, since they leave no room in what the model "
            "reads; the shares are of the others.",
        )

    def _tables(self) -> list[Section]:
        whole = Section("all", "How much was right?", tables={"": shown(self.table(min_n=1))})
        split = [
            Section(
                f"by-{name}", f"By {_word(name)}", notes=_few(table), tables={"": shown(table)}, folded=k > 0
            )
            for k, name in enumerate(self.strata)
            if len(table := self.table(name))
        ]
        return [whole, *split]

    def _examples(self, n: int = 5) -> list[Section]:
        wrong = self.records[self.records["correct"] == 0].head(n)
        if not len(wrong):
            return []
        samples = [
            Sample(
                " · ".join(str(row[name]) for name in self.strata) or row["id"],
                text=f"{self._asked(row)}right: {row['target']}\nanswer: {row['answer']}",
                facts={"why it is wrong": row["reason"]} if row["reason"] else {},
            )
            for _, row in wrong.iterrows()
        ]
        return [
            Section(
                "wrong",
                "What was wrong?",
                "The first answers that are not right.",
                samples=samples,
                folded=True,
            )
        ]

    @staticmethod
    def _asked(row: pd.Series) -> str:
        return f"{row['asked']}\n" if "asked" in row and isinstance(row["asked"], str) else ""

    def _draw(self, ax: Axes) -> None:
        draw_shares(self.table(self.strata[0]), self.strata[0], ax)

    def _content(self) -> dict[str, Any]:
        return {
            "benchmark": self.benchmark,
            "model": self.model,
            "strata": list(self.strata),
            "settings": self.settings,
            "all": self.table(min_n=1),
            "by": {name: self.table(name) for name in self.strata},
        }

    def _write_more(self, folder: Path) -> None:
        """The records, for `groundshift answers` and for a page of several benchmarks."""
        write_records(self.records, folder)


def shown(table: pd.DataFrame) -> pd.DataFrame:
    """A table of `summarise` in words, without columns that say nothing."""
    names = [str(name) for name in table if name not in COLUMNS]
    kept = [name for name in COLUMNS if name in table and not table[name].isna().all()]
    kept = [name for name in kept if not (name == "errors" and not table[name].any())]
    kept = [name for name in kept if not (name == "groups" and (table["groups"] == table["n"]).all())]
    return table[[*names, *kept]].rename(columns={**COLUMNS, **{name: _word(name) for name in names}})


def draw_shares(table: pd.DataFrame, name: str, ax: Axes) -> None:
    """Shares with intervals, a line each; a stroke marks chance."""
    rows = table[::-1].reset_index(drop=True)
    places = np.arange(len(rows))
    spread = np.array([rows["mean"] - rows["low"], rows["high"] - rows["mean"]]).clip(0)
    ax.errorbar(rows["mean"], places, xerr=np.nan_to_num(spread), fmt="o", ms=5, color="#2f7fa8")
    if not rows["chance"].isna().all():
        ax.plot(rows["chance"], places, "|", ms=12, mew=2, color="#7a8791")
    ax.set_yticks(places, [str(value) for value in rows[name]])
    ax.set_ylim(-0.6, len(rows) - 0.4)
    ax.set_xlim(-0.02, 1.02)
    chance = "" if rows["chance"].isna().all() else " (a stroke: by chance)"
    ax.set_xlabel(f"share that is right{chance}")
    ax.figure.set_figheight(max(2.0, 0.28 * len(rows) + 0.9))  # type: ignore[union-attr]


def draw_radar(table: pd.DataFrame, name: str, ax: Axes) -> None:
    """Shares as the corners of a polygon, with the band of their intervals and, dashed, what chance gives."""
    rows = table.dropna(subset=["mean"])
    angles = np.pi / 2 - 2 * np.pi * np.arange(len(rows) + 1) / len(rows)
    spokes = np.column_stack([np.cos(angles), np.sin(angles)])

    def polygon(values: pd.Series) -> np.ndarray:
        return spokes * np.append(values, values.iloc[0])[:, None]

    for level in (0.25, 0.5, 0.75, 1.0):
        ax.plot(*(level * spokes).T, color="#7a8791", lw=0.6, alpha=0.5)
        ax.text(0.02, level + 0.02, f"{level:g}", color="#7a8791", fontsize=7)
    for label, spoke in zip(rows[name], spokes, strict=False):
        ax.plot([0, spoke[0]], [0, spoke[1]], color="#7a8791", lw=0.6, alpha=0.5)
        side = "center" if abs(spoke[0]) < 0.2 else "left" if spoke[0] > 0 else "right"
        x, y = spoke * (1.16 if side == "center" else 1.06)
        ax.text(x, y, str(label).replace(" ", "\n", 1), ha=side, va="center", fontsize=8)
    low, high = polygon(rows["low"].fillna(rows["mean"])), polygon(rows["high"].fillna(rows["mean"]))
    ax.fill(*np.vstack([high, low[::-1]]).T, color="#2f7fa8", alpha=0.2, lw=0)
    ax.plot(*polygon(rows["mean"]).T, "o-", color="#2f7fa8", ms=4)
    if not rows["chance"].isna().any():
        ax.plot(*polygon(rows["chance"]).T, "--", color="#7a8791", lw=1)
    ax.set(xlim=(-1.6, 1.6), ylim=(-1.3, 1.35), aspect="equal")
    ax.axis("off")
    ax.figure.set_figheight(4.5)  # type: ignore[union-attr]


def _few(table: pd.DataFrame) -> tuple[str, ...]:
    return ("Fewer than ten items have no mean.",) if table["mean"].isna().any() else ()


def _word(name: str) -> str:
    return name.replace("_", " ")


# Saved results ---------------------------------------------------------------------------------------------


def write_records(records: pd.DataFrame, folder: Path) -> None:
    """Records as `read_graded` reads them."""
    records.to_json(folder / RECORDS, orient="records", lines=True, force_ascii=False)


def read_graded(folder: str | Path) -> pd.DataFrame:
    """The records of a saved result.

    Parameters
    ----------
    folder : of the result, or its ``records.jsonl``

    Raises
    ------
    InputError
        No records of graded answers there.
    """
    path = Path(folder)
    file = path / RECORDS if path.is_dir() else path
    if not file.is_file():
        raise InputError(f"{folder} holds no {RECORDS}; give the folder that a benchmark wrote (--out).")
    rows = [row for _, row in read_lines(file)]
    if not rows or not all(
        isinstance(row, dict) and {"id", "model", "task", "correct"} <= set(row) for row in rows
    ):
        raise InputError(f"{file} holds no graded answers (id, model, task, correct).")
    return pd.DataFrame(rows).astype({"correct": float})


@dataclass(frozen=True, repr=False)
class Card(Result):
    """Several benchmarks of one model on one page.

    Attributes
    ----------
    model : whose card it is
    table : a row for each benchmark, see `groundshift.measures.answers.summarise`
    by : benchmark → its first stratum's table
    """

    model: str
    table: pd.DataFrame
    by: Mapping[str, pd.DataFrame]

    def report(self) -> Report:
        """What the model can do, beside chance."""
        better = self.table["low"] > self.table["chance"].fillna(0)
        least = self.table.sort_values("mean").iloc[0]
        return Report(
            "card", self.model,
            f"{self.model} is better than chance on {better.sum()} of {len(better)} benchmarks; it is right least "
            f"often on {least['task']} ({least['mean']:.0%}).",
            figure=("Share that is right by benchmark", lambda ax: draw_shares(self.table, "task", ax)),
            sections=[
                Section("benchmarks", "All benchmarks", tables={"": shown(self.table)}),
                *(
                    Section(f"task-{k}", task, tables={"": shown(table)},
                            figures={f"{task} by {_word(table.columns[0])}":
                                     partial(draw_shares, table, table.columns[0])})
                    for k, (task, table) in enumerate(self.by.items())
                ),
            ],
            footnote=HOW,
        )  # fmt: skip

    def to_frame(self) -> pd.DataFrame:
        """A row for each benchmark."""
        return self.table

    def _content(self) -> dict[str, Any]:
        return {"model": self.model, "benchmarks": self.table, "by": dict(self.by)}


def model_card(folders: Sequence[str | Path]) -> Card:
    """Several benchmarks of one model as one page.

    Parameters
    ----------
    folders : what the benchmarks wrote (``--out``)

    Raises
    ------
    InputError
        No folder, one without records, records of several models, a benchmark that stands twice.
    """
    if not folders:
        raise InputError("No folder was given; give what the benchmarks wrote (--out).")
    tables: dict[str, pd.DataFrame] = {}
    by: dict[str, pd.DataFrame] = {}
    models: dict[str, str | Path] = {}
    for folder in folders:
        records = read_graded(folder)
        task = str(records["task"].iloc[0])
        if task in tables:
            raise InputError(f"Two folders hold {task}, the second is {folder}; give each benchmark once.")
        models[str(records["model"].iloc[0])] = folder
        tables[task] = summarise(records, min_n=1)
        if strata := _strata(Path(folder)):
            by[task] = summarise(records, strata[0])
    if len(models) > 1:
        both = ", ".join(f"{model} ({folder})" for model, folder in models.items())
        raise InputError(f"A card is of one model, and these are of {len(models)}: {both}.")
    table = pd.concat(tables, names=["task"]).reset_index("task").reset_index(drop=True)
    return Card(next(iter(models)), table, by)


def _strata(folder: Path) -> list[str]:
    for file in sorted(folder.glob("*.json")) if folder.is_dir() else ():
        content = parse_json(file.read_text(encoding="utf-8"), str(file))
        if isinstance(content, dict) and content.get("strata"):
            return [str(name) for name in content["strata"]]
    return []
