"""A clustering came out badly: is it the data, the algorithm, or the validity index?

The benchmark exists for this question (arXiv:2505.14596). The truth's own score says what the data allow. Where it
is high and the algorithm's agreement with the truth is low, the algorithm failed. Where they agree and the index
still says "bad", or the other way round, the index is not to be trusted there.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd

from groundshift.benchmarks.csts.evaluate import Evaluation, evaluate
from groundshift.benchmarks.csts.generate import LENGTHS, generate
from groundshift.errors import InputError

__all__ = ["Diagnosis", "blame", "blame_of", "diagnose"]

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


def _at_least(value: float | None, limit: float) -> bool:
    return value is not None and bool(value >= limit)


@dataclass(frozen=True, repr=False)
class Diagnosis:
    """What `diagnose` found.

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

    def table(self) -> pd.DataFrame:
        """One row per condition."""
        return self.conditions

    def to_json(self) -> str:
        """Everything, as one JSON object."""
        content = {
            "verdict": self.verdict, "blames": self.blames, "first_failure": self.first_failure,
            "conditions": json.loads(self.conditions.to_json(orient="records")),
        }  # fmt: skip
        return json.dumps(content, indent=1)

    def __repr__(self) -> str:
        return f"{self.verdict}\n\n{self.conditions.to_string(index=False, float_format='{:.3f}'.format)}"


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
    >>> found = diagnose(RollingCorrelation(6, random_state=0), subjects=1, segments=12, lengths=[200],
    ...                  patterns=[0, 2, 5, 13, 17, 25], keeps=[1.0])
    >>> bool(found.conditions["Jaccard"].min() > 0.9)
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
            found = [evaluate(algorithm, s.array(stage), s.segments, **options) for s in shifted]
            rows.append({
                "stage": stage,
                "keep": keep,
                "rows per segment": float(np.median(np.concatenate([s.segments.lengths for s in shifted]))),
                "truth SWC": float(np.mean([f.truth_swc for f in found])),
                "Jaccard": float(np.mean([f.jaccard for f in found])),
                "SWC": float(np.mean([f.swc for f in found])),
                "to blame": blame_of(_mean(found)),
            })  # fmt: skip
    conditions = pd.DataFrame(rows)
    return Diagnosis(*_conclude(conditions), conditions)


def _mean(found: list[Evaluation]) -> Evaluation:
    """One evaluation with the mean of what blame depends on."""

    def mean(name: str) -> float:
        return float(np.mean([getattr(one, name) for one in found]))

    return replace(found[0], swc=mean("swc"), truth_swc=mean("truth_swc"), jaccard=mean("jaccard"))


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
