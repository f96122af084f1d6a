"""Finished cells computed again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from threadpoolctl import threadpool_limits

from groundshift.errors import InputError
from groundshift.lab.execute import compute
from groundshift.lab.identity import stream
from groundshift.lab.runs import Run

__all__ = ["Check", "verify"]


@dataclass(frozen=True)
class Check:
    """A cell computed again, beside its record."""

    cell: str
    key: str
    level: Literal["bit-exact", "close", "different"]
    largest: float
    """Largest relative difference of its numbers."""


def verify(run: Run, cells: int = 5, seed: int = 0) -> list[Check]:
    """Compute some finished cells again and say how closely they agree with their records.

    ``bit-exact``: the raw output has the same digest. ``close``: every number agrees to 1e-6, as on another
    processor. The records are not touched.
    """
    done = sorted((cell for cell in run.cells if run.store.has(cell.key)), key=lambda cell: cell.key)
    if not done:
        raise InputError(f"{run.store.folder} holds no finished cell of {run.study.slug!r}; run it first.")
    chosen = stream(seed, f"verify/{run.study.slug}").choice(len(done), min(cells, len(done)), replace=False)
    checks = []
    for index in sorted(chosen):
        cell, before = done[index], run.store.record(done[index].key)
        with threadpool_limits(1):
            again, _ = compute(run.study, cell)
        largest = max((_relative(before["values"][k], v) for k, v in again["values"].items()), default=0.0)
        exact = again["digest"] == before["digest"] and largest == 0.0
        level: Literal["bit-exact", "close", "different"] = "close" if largest <= 1e-6 else "different"
        checks.append(Check(str(cell), cell.key, "bit-exact" if exact else level, largest))
    return checks


def _relative(before: Any, now: float) -> float:
    before = float(before)
    if before == now or (before != before and now != now):
        return 0.0
    return abs(before - now) / max(abs(before), abs(now))
