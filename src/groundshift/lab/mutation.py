"""Mutants: deliberately broken versions of a method, and which claims lose to them.

A claim that a broken method passes says nothing of the method. Every mutant of a study answers in the place of the
methods that it is a version of, on the same data; a claim *catches* it when it is no longer shown, or when its control
fails. A claim that catches none is *empty*, and is never called shown.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from groundshift.lab.claims import Claim, Evidence, clears, gather, judge
from groundshift.lab.estimands import measures_of
from groundshift.lab.study import Grid, Method, Study

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["EMPTY", "Trial", "mutant_texts", "mutated", "trials", "with_trials"]

EMPTY = "no deliberately broken version of the method loses this claim"
"""Reason of a claim that would be shown and is empty."""


@dataclass(frozen=True)
class Trial:
    """What becomes of a claim when a mutant answers in the method's place."""

    mutant: str
    caught: bool
    by: Literal["claim", "control", ""]
    """What caught it: the claim's own measure, or only its control."""
    mean: float
    low: float
    high: float


def mutated(study: Study) -> Study:
    """The study in which every mutant answers in the place of the methods that it is a version of.

    It has no claims; its methods are called "silent as ticc". Controls that hand a method tampered data (`tampered`)
    hand it to the mutant.
    """
    stand_ins = [
        replace(mutant, name=f"{mutant.name} as {target.name}", of=(target.name,), prepare=target.prepare)
        for mutant in study.mutants
        for target in _replaced(study, mutant)
    ]

    def grids(settings: Any) -> Iterator[Grid]:
        for grid in study.grids(settings):
            methods = [method for method in stand_ins if method.of[0] in grid.methods]
            if methods:
                params = {method.name: grid.method_params.get(method.of[0], {}) for method in methods}
                names = tuple(method.name for method in methods)
                yield replace(grid, methods=names, method_params=params)

    return replace(study, methods=(*study.methods, *stand_ins), grids=grids, claims=(), figures=())


def _replaced(study: Study, mutant: Method) -> list[Method]:
    """The methods whose place a mutant takes: those that it is a version of, and these on tampered data."""
    return [
        method
        for method in study.methods
        if method.name in mutant.of or (method.prepare is not None and set(method.of) & set(mutant.of))
    ]


def mutant_texts(study: Study) -> dict[str, str]:
    """What is broken in each mutant, from the first line of its docstring."""
    return {
        mutant.name: (inspect.getdoc(mutant.run) or "").partition("\n")[0].rstrip(".")
        for mutant in study.mutants
    }


def trials(
    study: Study, base: pd.DataFrame, answers: pd.DataFrame, *, alpha: float = 0.05, scale: str = "cpu"
) -> dict[str, list[Trial]]:
    """By claim that holds: what each mutant comes to that answers in place of a method which the claim reads.

    A mutant is judged as the method is, except that its p value is not adjusted over the study's claims, so that it has
    the better chance. At quick scale, which has no verdicts, means are compared with the margin and with the control's
    bounds. A claim that the method itself does not hold tells nothing of its mutants and is left out.

    Parameters
    ----------
    base : planned table of the run
    answers : planned table of the run of `mutated`
    """
    import pandas as pd

    held = [claim for claim in study.claims if _holds(claim, gather(claim, base, alpha), alpha, scale)]
    trials_of: dict[str, list[Trial]] = {claim.id: [] for claim in held}
    for mutant in study.mutants:
        targets = [method.name for method in _replaced(study, mutant)]
        theirs = answers["method"].isin([f"{mutant.name} as {target}" for target in targets])
        named = answers[theirs].assign(
            method=answers.loc[theirs, "method"].str.removeprefix(f"{mutant.name} as ")
        )
        table = pd.concat([base[~base["method"].isin(targets)], named], ignore_index=True)
        touched = set(named["measure"])
        for claim in held:
            if _reads(claim, targets, touched):
                trials_of[claim.id].append(
                    _trial(claim, mutant.name, gather(claim, table, alpha), alpha, scale)
                )
    return trials_of


def _reads(claim: Claim, targets: Sequence[str], measures: set[Any]) -> bool:
    """Whether a claim is about a method that a mutant has replaced."""
    return any(
        measure in measures and (method is None or method in targets)
        for measure, method in measures_of(claim.estimand)
    )


def _trial(claim: Claim, mutant: str, evidence: Evidence, alpha: float, scale: str) -> Trial:
    if evidence.valid < evidence.planned:  # a mutant that fails to answer has not been caught
        return Trial(mutant, False, "", evidence.mean, evidence.low, evidence.high)
    by_claim = not _holds(replace(claim, control=None), evidence, alpha, scale)
    caught = by_claim or not _holds(claim, evidence, alpha, scale)
    by: Literal["claim", "control", ""] = "claim" if by_claim else "control" if caught else ""
    return Trial(mutant, caught, by, evidence.mean, evidence.low, evidence.high)


def _holds(claim: Claim, evidence: Evidence, alpha: float, scale: str) -> bool:
    control = None if claim.control is None else evidence.control
    if scale != "quick":
        word, _ = judge(claim, replace(evidence, control=control), evidence.p, alpha=alpha, scale=scale)
        return word == "shown"
    if not claim.deterministic:  # a few replicates: their mean stands for the interval
        evidence = replace(evidence, low=evidence.mean, high=evidence.mean)
    holds, _ = clears(claim, evidence)
    bounds = claim.control
    return holds and (control is None or bounds is None or bool(bounds.low <= control.mean <= bounds.high))


def with_trials(
    claims: Sequence[Mapping[str, Any]], trials_of: Mapping[str, Sequence[Trial]]
) -> list[dict[str, Any]]:
    """Claims of a summary, those that hold each with its trials; one that is empty is inconclusive."""
    rows = []
    for claim in claims:
        row = dict(claim)
        if claim["id"] in trials_of:
            tried = trials_of[claim["id"]]
            row |= {"mutants": [asdict(trial) for trial in tried], "empty": not any(t.caught for t in tried)}
            if row["empty"] and claim["verdict"] == "shown":
                row |= {"verdict": "inconclusive", "reason": EMPTY}
        rows.append(row)
    return rows
