"""What a run will do, how long it will take, and whether it can answer."""

from __future__ import annotations

import os
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from groundshift.lab.runs import Run, open_run
from groundshift.lab.study import Cell, Study

__all__ = ["Plan", "expected_seconds", "plan"]


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
    detectable: Mapping[str, tuple[float, float]]
    """By claim: the pilot's standard deviation over replicates and the smallest effect that the planned
    number of them would show beyond the margin, with power .8."""
    too_small: tuple[str, ...]
    """Claims whose margin lies below what can be detected."""


def plan(
    study: str | Study,
    *,
    scale: str = "cpu",
    store: str | os.PathLike[str] = "runs",
    overrides: Mapping[str, Any] | None = None,
) -> Plan:
    """Cells, time and detectable effects of a run, from earlier runs of any scale where there are some."""
    this = open_run(study, scale=scale, store=store, overrides=overrides)
    cells, done = this.cells, this.store.done()
    costs = expected_seconds(this, cells)
    detectable = _detectable(this, store)
    return Plan(
        study=this.study.slug,
        scale=scale,
        cells=len(cells),
        done=sum(cell.key in done for cell in cells),
        failed=len(this.failures()),
        seconds=sum(costs[cell.key] for cell in cells if cell.key not in done),
        detectable=detectable,
        too_small=tuple(
            claim.id
            for claim in this.study.claims
            if claim.id in detectable and abs(claim.margin) < detectable[claim.id][1]
        ),
    )


def _detectable(this: Run, store: str | os.PathLike[str]) -> dict[str, tuple[float, float]]:
    """Power, from the spread over replicates in the largest run there is."""
    import numpy as np

    from groundshift.measures.intervals import smallest_detectable

    pilots = [this] + [open_run(this.study, scale=scale, store=store) for scale in this.study.scales]
    pilot = max(pilots, key=lambda run: len(run.store.done()))
    if not pilot.store.done():
        return {}
    planned = {item.claim.id: item.evidence.planned for item in this.verdicts()}
    found = {}
    for verdict in pilot.verdicts():
        values = np.asarray(verdict.evidence.values)
        if not verdict.claim.deterministic and len(values) > 1 and np.isfinite(values).all():
            spread = float(values.std(ddof=1))
            found[verdict.claim.id] = spread, smallest_detectable(spread, planned[verdict.claim.id])
    return found


def expected_seconds(this: Run, cells: Iterable[Cell]) -> dict[str, float]:
    """Expected seconds of each cell: the median of finished ones like it, else the study's hint."""
    measured = defaultdict(list)
    for record in this.store.records():
        measured[record["world"], record["method"]].append(record["timings"]["wall_s"])
    medians = {group: statistics.median(seconds) for group, seconds in measured.items()}
    return {cell.key: medians.get(cell.group, cell.cost_s) for cell in cells}
