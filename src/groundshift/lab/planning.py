"""What a run will do, how long it will take, whether it can answer, and whether its controls can pass and fail."""

from __future__ import annotations

import math
import os
import statistics
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from groundshift.errors import InputError
from groundshift.lab.claims import Claim, Control, control_evidence, p_value
from groundshift.lab.estimands import form_of, measures_of, per_replicate, support_of
from groundshift.lab.identity import stream
from groundshift.lab.runs import Run, open_run
from groundshift.lab.study import Cell, Study

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ControlPower", "Plan", "control_faults", "expected_seconds", "plan", "simulate_control"]


SIMULATED = 4000
"""Runs in which each control is tried."""


@dataclass(frozen=True)
class ControlPower:
    """How often a control passes, by simulation from a pilot."""

    right: float
    """Share of runs in which it passes when the system is right; 95 % or more for a control that is of use."""
    wrong: float | None
    """The same when it shows what the claim shows; 10 % or less. None where the two have no measure in common."""
    replicates: int
    """Of the planned run."""
    pilot: int
    """Replicates that the simulation is drawn from."""
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """What a run will do, and whether it can answer."""

    study: str
    scale: str
    cells: int
    done: int
    failed: int
    seconds: float
    """Seconds of work that remain, on one slot."""
    pilot: str
    """What the following is reckoned from; empty where there is nothing yet."""
    detectable: Mapping[str, tuple[float, float]]
    """By claim: the pilot's standard deviation over replicates and the smallest effect that the planned
    number of them would show beyond the margin, with power .8; infinite where they could show none."""
    too_small: tuple[str, ...]
    """Claims whose margin lies below what can be detected."""
    controls: Mapping[str, ControlPower]
    """By claim: how often its control passes."""


def plan(
    study: str | Study,
    *,
    scale: str = "cpu",
    store: str | os.PathLike[str] = "runs",
    results: str | os.PathLike[str] = "results",
    overrides: Mapping[str, Any] | None = None,
) -> Plan:
    """Cells, time, detectable effects and pass rates of the controls, before a run.

    The last two are reckoned from a pilot: of the study's runs in ``store``, at any scale, and of its published
    results, the one with the most finished cells.

    Raises
    ------
    InputError
        A control that says nothing of its claim (`control_faults`).
    """
    this = open_run(study, scale=scale, store=store, overrides=overrides)
    if faults := list(control_faults(this.study)):
        raise InputError(
            f"Study {this.study.slug!r} has controls that say nothing of their claims: {'; '.join(faults)}."
        )
    cells, done = this.cells, this.store.done()
    costs = expected_seconds(this, cells)
    pilot, measured = _pilot(this, store, results)
    power = _power(this, measured) if pilot else {}
    return Plan(
        study=this.study.slug,
        scale=scale,
        cells=len(cells),
        done=sum(cell.key in done for cell in cells),
        failed=len(this.failures()),
        seconds=sum(costs[cell.key] for cell in cells if cell.key not in done),
        pilot=pilot,
        detectable={name: (spread, detectable) for name, (spread, detectable, _) in power.items()},
        too_small=tuple(name for name, (*_, too_small) in power.items() if too_small),
        controls=_controls(this, measured) if pilot else {},
    )


def _pilot(this: Run, store: str | os.PathLike[str], results: str | os.PathLike[str]) -> tuple[str, Any]:
    """What the largest pilot is called, and its table; an empty name where there is none."""
    from groundshift.lab.summary import published_summary

    runs = [this] + [open_run(this.study, scale=scale, store=store) for scale in this.study.scales]
    pilots = [(f"the run at scale {run.store.folder.name} in the store", run.planned_table()) for run in runs]
    known = published_summary(results, this.study.slug)
    if known is not None and known.data["version"] == this.study.version:
        scale = known.data["scale"]
        planned = open_run(this.study, scale=scale, store=store).planned_table(known.table)
        pilots.append((f"the published results at scale {scale}", planned))
    cells = [table.loc[table["value"].notna(), "key"].nunique() for _, table in pilots]
    most = int(np.argmax(cells))
    name, table = pilots[most]
    return (f"{name} ({cells[most]} cells)" if cells[most] else ""), table


def _replicates(claim: Claim, estimand: str, table: pd.DataFrame) -> np.ndarray:
    return np.array(list(per_replicate(estimand, table, claim.paired_by).values()), dtype=float)


def _measured(claim: Claim, estimand: str, table: pd.DataFrame) -> np.ndarray:
    """The replicates that a pilot has, which may be fewer than are planned."""
    values = _replicates(claim, estimand, table)
    return values[np.isfinite(values)]


def _power(this: Run, measured: pd.DataFrame) -> dict[str, tuple[float, float, bool]]:
    """By claim: the pilot's spread, what could be detected, and whether the margin is too small for that."""
    planned, power = this.planned_table(), {}
    for claim in this.study.claims:
        values = _measured(claim, claim.estimand, measured)
        if not claim.deterministic and len(values) > 1:
            n = len(_replicates(claim, claim.estimand, planned))
            power[claim.id] = float(values.std(ddof=1)), *_detectable(claim, values, n)
    return power


def _detectable(claim: Claim, values: np.ndarray, n: int) -> tuple[float, bool]:
    """What n replicates would show beyond the margin, and whether that is too much to hope for."""
    from groundshift.measures.intervals import smallest_detectable
    from groundshift.measures.rates import are_outcomes, detectable_rate

    support = support_of(claim.estimand)
    if claim.kind == "rate":
        least = detectable_rate(n * claim.trials, claim.limit, "<")
    elif not are_outcomes(values, support):
        least = smallest_detectable(float(values.std(ddof=1)), n)
        return least, abs(claim.margin) < least
    else:
        alpha = (
            0.05 if claim.kind == "equivalence" else 0.025
        )  # as the verdict's interval, which is two-sided
        if support == (0, 1) and claim.kind != "equivalence":
            least = detectable_rate(n, claim.margin, claim.direction, alpha)
        else:  # differences that were all alike: would as many of them show it?
            least = 0.0 if p_value(claim, np.full(n, values[0])) < alpha else math.inf
    return least, least == math.inf


# Controls ------------------------------------------------------------------------------------------------


def control_faults(study: Study) -> Iterator[str]:
    """What is wrong with the controls of a study that can be said before anything is measured.

    A control reads a measure of its claim, and the method that the claim reads or a version of it: the method on
    tampered data, an ablation (a control ``of`` it), or the method itself where the claim's cause is absent.
    """
    for claim in study.claims:
        if claim.control is None:
            continue
        reads, control = measures_of(claim.estimand), measures_of(claim.control.estimand)
        where = f"{claim.id} ({claim.control.text})"
        if claim.control.estimand == claim.estimand:
            yield f"{where} is the claim's own estimand"
        if not {measure for measure, _ in reads} & {measure for measure, _ in control}:
            names = ", ".join(sorted({measure for measure, _ in control}))
            yield f"{where} measures {names} and none of what the claim measures"
        methods, theirs = ({method for _, method in both if method} for both in (reads, control))
        if methods and theirs and not _versions(study, methods) & _versions(study, theirs):
            yield f"{where} scores {', '.join(sorted(theirs))}, no version of {', '.join(sorted(methods))}"


def _versions(study: Study, names: set[str]) -> set[str]:
    """Methods, and those that they are versions of."""
    return names.union(*(study.method(name).of for name in names))


def _controls(this: Run, measured: pd.DataFrame) -> dict[str, ControlPower]:
    planned, controls = this.planned_table(), {}
    for claim in this.study.claims:
        if claim.control is None:
            continue
        values = _measured(claim, claim.estimand, measured)
        control_values = _measured(claim, claim.control.estimand, measured)
        if len(control_values) > 1 and len(values) > 0:
            n = len(_replicates(claim, claim.control.estimand, planned))
            rng = stream(this.study.root_seed, f"{this.study.slug}/plan/{claim.control.estimand}")
            controls[claim.id] = simulate_control(claim, values, control_values, n, rng)
    return controls


def simulate_control(
    claim: Claim, values: np.ndarray, control_values: np.ndarray, n: int, rng: int | np.random.Generator
) -> ControlPower:
    """How often a claim's control passes in runs of ``n`` replicates, and what is wrong with it.

    *Right*: the control's replicates are drawn around the mean that they had in the pilot, with the spread that they
    had (normal; binomial where they were all 0 or 1). *Wrong*: they are drawn as the claim's own replicates, which is
    what they are when the effect has another cause than the claim says and is still there without it.

    Parameters
    ----------
    values, control_values : what the pilot gave for the claim's estimand and for its control's
    """
    control, rng = claim.control, np.random.default_rng(rng)
    assert control is not None
    right = _pass_rate(control, _draws(control.estimand, control_values, n, rng))
    shared = {name for name, _ in measures_of(claim.estimand)} & {
        name for name, _ in measures_of(control.estimand)
    }
    wrong = _pass_rate(control, _draws(claim.estimand, values, n, rng, claim.trials)) if shared else None
    return ControlPower(
        right, wrong, n, len(control_values), tuple(_warnings(claim, control_values, right, wrong))
    )


def _draws(
    estimand: str, values: np.ndarray, n: int, rng: np.random.Generator, trials: int = 1
) -> np.ndarray:
    from groundshift.measures.rates import are_outcomes

    support, mean = support_of(estimand), values.mean()
    if trials > 1 or (support == (0, 1) and are_outcomes(values, support)):
        return rng.binomial(trials, mean, (SIMULATED, n)) / trials
    return rng.normal(mean, values.std(ddof=1) if len(values) > 1 else 0.0, (SIMULATED, n))


def _pass_rate(control: Control, runs: np.ndarray) -> float:
    if np.ptp(runs) == 0:
        return float(control_evidence(control, runs[0]).ok)
    lowest, highest = _compared(control, runs)
    return float(np.mean((control.low <= lowest) & (highest <= control.high)))


def _compared(control: Control, runs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What must lie within the control's bounds, of every row: `control_evidence` for thousands of runs at once."""
    from groundshift.measures.intervals import mean_intervals
    from groundshift.measures.rates import rate_interval

    n, mean = runs.shape[1], runs.mean(axis=1)
    if control.rule == "mean":
        return mean, mean
    if control.rule == "every":
        return runs.min(axis=1), runs.max(axis=1)
    low, high = mean_intervals(runs)
    exact = np.isin(runs, (0, 1)).all(axis=1) & (support_of(control.estimand) == (0, 1))
    ends = np.array([rate_interval(hits, n) for hits in range(n + 1)] if exact.any() else [(0.0, 0.0)])
    low[exact], high[exact] = ends[runs[exact].sum(axis=1).astype(int)].T
    return low, high


def _warnings(claim: Claim, control_values: np.ndarray, right: float, wrong: float | None) -> Iterator[str]:
    control = claim.control
    assert control is not None
    if wrong is not None and wrong > 0.1:
        yield f"the control passes in {100 * wrong:.0f} % of runs where it shows what the claim shows{_advice(claim)}"
    mean = float(control_values.mean())
    if right < 0.95:
        yield (
            f"the control passes in only {100 * right:.0f} % of runs like the pilot, where its mean is {mean:.3g}: "
            + (
                "judge it by its mean, widen its band or plan more replicates"
                if control.low <= mean <= control.high
                else "that lies outside of its band, so that the control itself failed there"
            )
        )
    if np.ptp(control_values) == 0:
        yield (
            f"the control was {mean:.3g} in every replicate of the pilot; see that it is not constant by construction"
        )


def _advice(claim: Claim) -> str:
    """What follows from a control that passes where it should fail."""
    control = claim.control
    assert control is not None
    mine, its = form_of(claim.estimand), form_of(control.estimand)
    if mine == its:
        return ", so that it can hardly fail: narrow its band"
    return (
        f"; but that compares {its} with the claim's {mine}: let the control measure what the claim measures"
    )


def expected_seconds(this: Run, cells: Iterable[Cell]) -> dict[str, float]:
    """Expected seconds of each cell: the median of finished ones like it, else the study's hint."""
    measured = defaultdict(list)
    for record in this.store.records():
        measured[record["world"], record["method"]].append(record["timings"]["wall_s"])
    medians = {group: statistics.median(seconds) for group, seconds in measured.items()}
    return {cell.key: medians.get(cell.group, cell.cost_s) for cell in cells}
