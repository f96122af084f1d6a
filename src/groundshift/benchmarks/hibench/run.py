"""A model's answers, graded: the profile by dimension, the difficulty curve, and a set to tune on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from groundshift.benchmarks.hibench.building import VERSION, build, questions_from, reply, shape_of
from groundshift.benchmarks.hibench.scoring import GRADES, extract
from groundshift.benchmarks.hibench.tasks import DIMENSIONS, SCENARIOS, TASKS
from groundshift.errors import InputError
from groundshift.graded import Graded, draw_radar, draw_shares, shown
from groundshift.models.items import ask_items, grade_items
from groundshift.report import Report, Section
from groundshift.result import Result
from groundshift.worlds.hierarchies import structures

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["HiBench", "TuningSet", "ask", "tuning_set"]


@dataclass(frozen=True, repr=False)
class HiBench(Graded):
    """Graded answers to questions about hierarchies, with their profile."""

    def table(self, by: str | Sequence[str] = (), value: str = "correct", *, min_n: int = 10) -> pd.DataFrame:
        """As of `Graded`; where more than 2 % of a cell did not fit what the model reads, it has no mean."""
        table = super().table(by, value, min_n=min_n)
        if len(by):
            short = table["errors"] > 0.02 * (table["n"] + table["errors"])
            table.loc[short, ["mean", "low", "high"]] = np.nan
        return table

    def profile(self, value: str = "correct") -> pd.DataFrame:
        """Each dimension as the mean of its tasks' means, and all as the mean of the scenarios' means.

        Returns
        -------
        DataFrame with dimension, n (items), mean, low, high (95 %, 1,000 times over structures drawn anew) and chance
        """
        records, rows = self.records[self.records[value].notna()], []
        parts = [(f"{k} {name}", records[records["dimension"] == k]) for k, name in DIMENSIONS.items()]
        for name, part in [*parts, ("all", records)]:
            if len(part):
                cell = "scenario" if name == "all" else "operation"
                tables = [
                    part.pivot_table(value, "group", cell, how, 0).to_numpy() for how in ("sum", "count")
                ]
                sums, sizes = tables
                rng, share = np.random.default_rng(0), np.full(len(sums), 1 / len(sums))
                times = np.vstack([np.ones(len(sums)), rng.multinomial(len(sums), share, 1000)])
                with np.errstate(invalid="ignore"):
                    means = np.nanmean((times @ sums) / (times @ sizes), 1)
                low, high = np.quantile(means[1:], [0.025, 0.975]) if len(sums) > 1 else (np.nan, np.nan)
                chance = part.groupby(cell)["chance"].mean().mean() if "chance" in part else np.nan
                rows.append((name, len(part), means[0], low, high, chance))
        return pd.DataFrame(rows, columns=["dimension", "n", "mean", "low", "high", "chance"])

    def report(self) -> Report:
        """The profile, the tables by task, form and difficulty, the difficulty curve, and the first wrong answers."""
        draw = partial(draw_shares, self.profile(), "dimension")
        return replace(super().report(), figure=("Share that is right by dimension", draw))

    def _draw_levels(self, ax: Axes) -> None:
        """The difficulty curve: the share that is right by the levels of the tree, a line for each dimension."""
        rows = self.table(["dimension", "levels"]).dropna(subset=["levels", "mean"])
        for name, part in rows.groupby("dimension"):
            ax.errorbar(part["levels"], part["mean"], [part["mean"] - part["low"], part["high"] - part["mean"]],
                        marker="o", capsize=3, label=f"{name} {DIMENSIONS[str(name)]}")  # fmt: skip
        ax.set(xlabel="levels of the tree", ylabel="share that is right", ylim=(-0.02, 1.02))
        ax.legend(fontsize=8)

    def _sections(self) -> Sequence[Section]:
        text = "A dimension is the mean of its tasks' means, all the mean of the scenarios' means."
        profile = self.profile()
        dimensions = profile[profile["dimension"] != "all"]
        figures = {
            "Profile, its intervals, and chance (dashed)": partial(draw_radar, dimensions, "dimension")
        }
        profiled = Section(
            "profile",
            "Profile",
            text,
            tables={"": shown(profile)},
            figures=figures if len(dimensions) > 2 else {},
        )
        if "levels" not in self.strata:
            return (profiled,)
        return profiled, Section(
            "curve", "How deep?", figures={"Share that is right by levels": self._draw_levels}
        )

    @staticmethod
    def _asked(row: pd.Series) -> str:
        return f"{str(row['structure'])[:600]}\n\n{row['question']}\n"


def ask(
    model: Any, *, source: str | Path | None = None, scenarios: Sequence[str] = (), tasks: Sequence[str] = (),
    difficulty: Literal["all", "easy", "medium", "hard"] = "all", forms: Sequence[str] = (), shots: int = 0,
    thinking: bool = False, per_task: int = 20, n: int = 3, unique: Literal["name", "path"] = "name",
    matcher: Literal["strict", "published"] = "strict", labels: Literal["true", "published"] = "true",
    answers: str | Path | None = None, seed: int = 0, device: str = "auto", allow_missing: bool = False,
    progress: bool = True,
) -> HiBench:  # fmt: skip
    """Put the thirty tasks, or questions about a hierarchy of one's own, to a model, and grade its answers by type.

    Parameters
    ----------
    model : directory or id of a model or an adapter, "inspect:provider/model", or JSONL with "id" and "answer" of
        answers made elsewhere. In Python also a model in memory or a function of messages
    source : a hierarchy or questions of one's own: JSON, JSONL, Markdown, a folder, a formula; see `questions_from`
    scenarios : of multi_tree, binary, json, formula, code, paper; all if left out
    tasks : names of tasks; all if left out
    difficulty : of the structures
    forms : in which trees are shown: edge, drawing, json, indent, nested, parent; by default the first two, and a
        source of one's own as it is written
    shots : solved questions about other structures in front of each
    thinking : ask for the working, too
    per_task : questions of each task, over structures of every difficulty; 0: one about every structure and form
    n : structures of each cell of the generator
    unique : what tells the records of a source apart: their names, or their paths where names stand several times
    matcher : "published" grades by the rules of the paper's repository, which accept many wrong answers
    labels : "published" labels depths and descendants as the published generator does
    answers : JSONL file that keeps every answer as it comes; a run that was stopped goes on from there

    Raises
    ------
    InputError
        A name that is not known, a source that cannot be read, a model that cannot be asked, answers to others.

    Examples
    --------
    >>> result = ask(lambda messages: '{"answer": "yes"}', tasks=["leaf", "balance"], progress=False)
    >>> result.profile()["dimension"].tolist()
    ['A local relationships', 'B global structure', 'all']
    """
    if matcher not in GRADES:
        raise InputError(f"matcher={matcher!r} was given; there are {', '.join(GRADES)}.")
    common: dict[str, Any] = {"tasks": tasks, "thinking": thinking, "per_task": per_task, "seed": seed}
    if source is None:
        common |= {"scenarios": scenarios, "difficulty": difficulty, "shots": shots, "n": n, "labels": labels}
        items = build(**common, forms=forms or ("edge", "drawing"))
    else:
        common |= {"unique": unique}
        items = [item for form in forms or ("own",) for item in questions_from(source, **common, form=form)]
    how: dict[str, Any] = {"seed": seed, "device": device, "allow_missing": allow_missing}
    name, texts = ask_items(items, model, answers=answers, progress=progress, **how)
    version, grade = f"{VERSION} {matcher}", GRADES[matcher]
    records = grade_items(items, texts, extract, grade, task="hibench", version=version, model=name)
    names = ("operation", "form", "difficulty", "levels", "answer_type")
    strata = tuple(one for one in names if one in records and records[one].nunique() > 1) or ("operation",)
    return HiBench(records, "hibench", strata, {"source": str(source or ""), "matcher": matcher, **common})


@dataclass(frozen=True, repr=False)
class TuningSet(Result):
    """Questions with their answers to tune a model on.

    Attributes
    ----------
    rows : "prompt" and "completion" as messages (the format of TRL's trainers), operation, shape
    left_out : structures that were drawn and are those of the test set, but for names
    """

    rows: Sequence[dict[str, Any]]
    left_out: int

    def report(self) -> Report:
        """How many questions of which tasks."""
        counts = self.to_frame().value_counts(["operation"], sort=False).reset_index(name="questions")
        return Report(
            "hibench", "tuning set", f"{len(self.rows):,} questions to tune on; {self.left_out:,} structures are left "
            "out, as the test set has some of the same shape.",
            figure=("Questions by task", lambda ax: ax.barh(counts["operation"], counts["questions"]) and None),
            sections=[Section("tasks", "Tasks", tables={"": counts})],
        )  # fmt: skip

    def to_frame(self) -> pd.DataFrame:
        """A row for each question."""
        return pd.DataFrame(self.rows)

    def _content(self) -> dict[str, Any]:
        return {"rows": self.rows, "left_out": self.left_out}

    def _write_more(self, folder: Path) -> None:
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in self.rows)
        (folder / "tuning.jsonl").write_text("".join(lines), encoding="utf-8")


def tuning_set(
    *, scenarios: Sequence[str] = (), tasks: Sequence[str] = (),
    difficulty: Literal["all", "easy", "medium", "hard"] = "all", forms: Sequence[str] = ("edge", "drawing"),
    per_task: int = 100, n: int = 10, test_n: int = 3, test_seed: int = 0, seed: int = 1,
) -> TuningSet:  # fmt: skip
    """Questions to tune a model on, about structures of which the test set has none of the same shape.

    Parameters
    ----------
    scenarios, tasks, difficulty, forms, per_task, n : see `ask`
    test_n, test_seed : with which the test set is made

    Examples
    --------
    >>> tuning_set(tasks=["root"], per_task=5, n=4).rows[0]["completion"][0]["role"]
    'assistant'
    """
    chosen: Any = {"scenarios": scenarios, "tasks": tasks, "difficulty": difficulty, "forms": forms}
    names = {task.scenario for task in TASKS.values() if task.name in (tasks or TASKS)} & set(
        scenarios or SCENARIOS
    )
    test, every = (
        [shape_of(structure) for name in names for _, structure in structures(name, *drawn)]
        for drawn in ((test_n, test_seed), (n, seed))
    )
    rows = [
        {"prompt": item.messages, "completion": [reply(item)]}
        | {k: item.facts[k] for k in ("operation", "shape")}
        for item in build(**chosen, per_task=per_task, n=n, seed=seed, without=set(test))
    ]
    if not rows:
        raise InputError("The test set has every shape that was drawn; raise n, or take harder structures.")
    return TuningSet(rows, sum(shape in set(test) for shape in every))
