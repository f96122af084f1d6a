"""A clustering came out badly: is it the data, the algorithm, or the validity index?

The benchmark exists for this question (arXiv:2505.14596). The truth's own score says what the data allow. Where it
is high and the algorithm's agreement with the truth is low, the algorithm failed. Where they agree and the index
still says "bad", or the other way round, the index is not to be trusted there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from groundshift.benchmarks.csts.evaluate import Evaluation, evaluate
from groundshift.benchmarks.csts.generate import LENGTHS, generate
from groundshift.benchmarks.csts.labels import End
from groundshift.errors import InputError
from groundshift.report import Report, Section
from groundshift.result import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Diagnosis", "Verdict", "blame", "blame_of", "diagnose", "verdict"]

Blame = Literal["none", "data", "algorithm", "index"]

ENOUGH_STRUCTURE = 0.6
"""SWC of the truth from which a clustering can be judged at all. The truth's SWC is about 0.48 at 15 rows per
segment and 0.66 at 30, the fewest at which the paper finds the structure kept."""
GOOD_JACCARD = 0.8
"""Share of rows from which a clustering counts as found: the paper's case study reaches 0.83 at its best."""
CLOSE_SWC = 0.25
"""A result whose SWC comes this close to the truth's is called good by the index."""


def blame(algorithm_or_labels: Any, data: Any, truth: Any, **options: Any) -> Blame:
    """Who is to blame on one series: "data", "algorithm", "index" or "none"; options as in `evaluate`."""
    return blame_of(evaluate(algorithm_or_labels, data, truth, **options))


def blame_of(found: Evaluation) -> Blame:
    """Who is to blame, from an evaluation with a truth."""
    if not _at_least(found.truth_swc, ENOUGH_STRUCTURE):
        return "data"
    agrees = _at_least(found.jaccard, GOOD_JACCARD)
    looks_good = _at_least(found.swc, (found.truth_swc or 0.0) - CLOSE_SWC)
    if agrees != looks_good:
        return "index"
    return "none" if agrees else "algorithm"


@dataclass(frozen=True, repr=False)
class Verdict(Result):
    """Who is to blame for a clustering of one series.

    Attributes
    ----------
    blames : "none", "data", "algorithm" or "index"
    evaluation : the figures behind it
    """

    blames: Blame
    evaluation: Evaluation

    def _content(self) -> dict[str, Any]:
        return {"blames": self.blames}

    def to_frame(self) -> pd.DataFrame:
        """The scores of result and truth."""
        return self.evaluation.to_frame()

    def report(self) -> Report:
        """Who is to blame and why, for page, notebook and terminal."""
        who = {
            "none": "Nothing is",
            "data": "The data are",
            "algorithm": "The algorithm is",
            "index": "The index is",
        }
        inside = self.evaluation.report()
        return replace(inside, headline=f"{who[self.blames]} to blame.", lead=inside.headline)


def verdict(
    data: Any, *, labels: Any, truth: Any, end: End = "inclusive", drop_columns: Sequence[str] = ()
) -> Verdict:
    """One series, one clustering, the truth: is it the data, the algorithm or the index?

    Parameters
    ----------
    data : array (rows, n), table, or path of a csv or parquet file
        Series: a column per variate.
    labels : labels of the clustering: a row per segment (start, end, cluster), or a label per row
    truth : the true labels, in either form
    end : "inclusive", "exclusive" or "length"
        Whether the end row of a label belongs to its segment, or its length is given.
    drop_columns : columns of the data to leave out, as dose,note
    """
    evaluation = evaluate(labels, data, truth, end=end, drop_columns=drop_columns)
    return Verdict(blame_of(evaluation), evaluation)


def _at_least(value: float | None, limit: float) -> bool:
    return value is not None and bool(value >= limit)


@dataclass(frozen=True, repr=False)
class Diagnosis(Result):
    """Under which condition an algorithm first goes wrong, and who is to blame.

    Attributes
    ----------
    verdict : one sentence.
    blames : "none", "data", "algorithm" or "index": who is to blame where it first goes wrong.
    first_failure : the condition where it first goes wrong, None if it never does.
    conditions : DataFrame
        One row per condition: stage, keep, rows per segment, truth SWC, Jaccard, SWC, who is to blame.
    """

    verdict: str
    blames: Blame
    first_failure: str | None
    conditions: pd.DataFrame

    def to_frame(self) -> pd.DataFrame:
        """One row per condition."""
        return self.conditions

    def _content(self) -> dict[str, Any]:
        return {
            "verdict": self.verdict, "blames": self.blames, "first_failure": self.first_failure,
            "conditions": self.conditions,
        }  # fmt: skip

    def report(self) -> Report:
        """The verdict and the conditions, for page, notebook and terminal."""
        headline, _, why = self.verdict.partition(": ")
        tried = Section("conditions", "What was tried?", tables={"Conditions": self.conditions})
        return Report(
            "csts", f"{len(self.conditions)} conditions", f"{headline.rstrip('.')}.",
            lead=why[:1].upper() + why[1:], tone="good" if self.blames == "none" else "bad",
            figure=("Structure in the data, structure found, and what the index says", self._draw), sections=(tried,),
        )  # fmt: skip

    def _draw(self, ax: Axes) -> None:
        shown = self.conditions.iloc[::-1]
        for name in ("truth SWC", "Jaccard", "SWC"):
            ax.plot(shown[name], range(len(shown)), "o", label=name)
        rows = zip(shown["stage"], shown["keep"], strict=True)
        ax.set_yticks(range(len(shown)), [f"{stage}, {keep:.0%} of rows" for stage, keep in rows])
        ax.set_xlabel("score")
        ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3)


def diagnose(
    algorithm: Any,
    *,
    subjects: int = 2,
    segments: int = 46,
    lengths: Sequence[int] = LENGTHS,
    stages: Sequence[str] = ("correlated", "nonnormal"),
    keeps: Sequence[float] = (1.0, 0.7, 0.1),
    patterns: Any = None,
    seed: int = 0,
    **options: Any,
) -> Diagnosis:
    """Run an algorithm under harder and harder conditions and name the first factor that breaks it.

    Parameters
    ----------
    algorithm : callable array -> labels, or object with fit_predict or fit and predict
        Labels of one's own series are judged by `blame`.
    subjects, segments, lengths, patterns, seed
        The worlds, see `generate`. Numbers are means over subjects.
    stages : from the easiest on
    keeps : shares of rows kept, from the easiest on
    options : of `evaluate`

    Examples
    --------
    >>> from groundshift.discovery.clusterers import RollingCorrelation
    >>> diagnosis = diagnose(RollingCorrelation(6, random_state=0), subjects=1, segments=12, lengths=[200],
    ...                  patterns=[0, 2, 5, 13, 17, 25], keeps=[1.0])
    >>> bool(diagnosis.conditions["Jaccard"].min() > 0.9)
    True
    """
    if not callable(algorithm) and not hasattr(algorithm, "fit_predict") and not hasattr(algorithm, "fit"):
        raise InputError(
            f"A {type(algorithm).__name__} was given; diagnose() runs an algorithm on worlds of its own. Give a "
            "function of an array or an object with fit_predict; for labels of one series use blame()."
        )
    world = generate(subjects, segments, "raw", patterns=patterns, seed=seed, lengths=list(lengths))
    rows = []
    for stage in stages:
        for keep in keeps:
            shifted = world.shift(stage=stage, keep=keep if keep < 1 else None, seed=seed)
            evaluations = [evaluate(algorithm, s.array(stage), s.segments, **options) for s in shifted]
            rows.append({
                "stage": stage,
                "keep": keep,
                "rows per segment": float(np.median(np.concatenate([s.segments.lengths for s in shifted]))),
                "truth SWC": float(np.mean([f.truth_swc for f in evaluations])),
                "Jaccard": float(np.mean([f.jaccard for f in evaluations])),
                "SWC": float(np.mean([f.swc for f in evaluations])),
                "to blame": blame_of(_mean(evaluations)),
            })  # fmt: skip
    conditions = pd.DataFrame(rows)
    return Diagnosis(*_conclude(conditions), conditions)


def _mean(evaluations: list[Evaluation]) -> Evaluation:
    """One evaluation with the mean of what blame depends on."""

    def mean(name: str) -> float:
        return float(np.mean([getattr(one, name) for one in evaluations]))

    return replace(evaluations[0], swc=mean("swc"), truth_swc=mean("truth_swc"), jaccard=mean("jaccard"))


def _conclude(conditions: pd.DataFrame) -> tuple[str, Blame, str | None]:
    """The first condition that goes wrong, in words; a failure of the algorithm weighs more than one of the data."""
    failed = conditions[conditions["to blame"] != "none"]
    if failed.empty:
        return "The algorithm found the structure under every condition tried.", "none", None
    own = failed[failed["to blame"] != "data"]
    first = (own if len(own) else failed).iloc[0]
    where = f"{first['stage']} data with {first['keep']:.0%} of the rows"
    numbers = f"truth's SWC {first['truth SWC']:.2f}, Jaccard {first['Jaccard']:.2f}, SWC {first['SWC']:.2f}"
    who: Blame = first["to blame"]
    if who == "data":
        return (
            f"The data are to blame, from {where} on: not even the truth makes a good clustering there ({numbers}).",
            who,
            where,
        )
    if who == "index":
        return (
            f"The index is to blame, on {where}: it contradicts the agreement with the truth ({numbers}).",
            who,
            where,
        )
    factor = _factor(conditions, first)
    return f"The algorithm is to blame, on {where}: {factor} ({numbers}).", who, where


def _factor(conditions: pd.DataFrame, first: pd.Series[Any]) -> str:
    """What changed between the last condition that went well and the first that did not."""
    fine = conditions.loc[: first.name]
    fine = fine[fine["to blame"] == "none"]
    if fine.empty:
        return "it fails under the easiest condition, although the structure is there"
    same_stage = fine[fine["stage"] == first["stage"]]
    if len(same_stage):
        return "dropping rows breaks it, although the structure is still there"
    return f"the change to {first['stage']} data breaks it, although the structure is still there"
