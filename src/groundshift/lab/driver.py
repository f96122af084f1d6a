"""The driver: plan, run or resume, verify a study.

Any kill at any moment costs at most the cells that were running: a cell is done exactly when its record
exists, and a run starts by looking at the records.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import signal
import statistics
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from threadpoolctl import threadpool_limits

from groundshift.errors import InputError
from groundshift.lab.claims import Verdict, judge_all
from groundshift.lab.engines import Engine, Task, WorkerLost, make_engine
from groundshift.lab.execute import compute, load_study, sources
from groundshift.lab.identity import canonical_json, stream
from groundshift.lab.registry import study_ref
from groundshift.lab.reporters import Reporter, RunState, make_reporter
from groundshift.lab.settings import settings_for
from groundshift.lab.store import Store, StoreError
from groundshift.lab.study import Cell, Study

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Plan", "Run", "open_run", "plan", "run", "verify"]

Retry = Literal["failed", "crashed"]


# A run: a study at a scale with overrides, and its folder ------------------------------------------------


@dataclass(frozen=True)
class Run:
    """A study at one scale and set of overrides, and the store that holds its results."""

    study: Study
    scale: str
    settings: Any
    store: Store
    looks: tuple[int, ...] = ()
    """Seeds at each look at the data: one look, or two after ``more_seeds``."""

    @property
    def cells(self) -> list[Cell]:
        """Every planned cell."""
        return list(self.study.cells(self.scale, self.settings))

    @property
    def alpha(self) -> float:
        """Level of each look: both looks share 5 %."""
        return 0.05 if len(self.looks) < 2 else 0.025

    def table(self) -> pd.DataFrame:
        """The long table of results of the planned cells: one row per (cell, number)."""
        table = self.store.table()
        return table[table["key"].isin([cell.key for cell in self.cells])] if len(table) else table

    def planned_table(self) -> pd.DataFrame:
        """The long table of everything planned, with NaN for what has failed or not run."""
        import pandas as pd

        planned = pd.DataFrame(
            {
                "key": cell.key,
                "seed": cell.seed,
                "world": cell.world,
                "severity": cell.severity,
                "method": cell.method,
                **cell.world_params,
                **cell.method_params,
                "measure": name,
            }
            for cell in self.cells
            for measure in cell.measures
            for name in self.study.measure(measure).gives
        )
        measured = self.store.table()
        if not len(measured):
            return planned.assign(value=float("nan"))
        return planned.merge(measured[["key", "measure", "value"]], on=["key", "measure"], how="left")

    def verdicts(self) -> list[Verdict]:
        """Every claim judged on what has been measured."""
        return judge_all(self.study.claims, self.planned_table(), alpha=self.alpha, scale=self.scale)

    def failures(self) -> dict[str, dict[str, Any]]:
        """The last failure of every planned cell that is not done."""
        planned = {cell.key for cell in self.cells}
        return {key: failure for key, failure in self.store.failures().items() if key in planned}

    def stale(self) -> list[Cell]:
        """Finished cells whose world, method or measures have another source today."""
        done = self.store.done()
        return [
            cell
            for cell in self.cells
            if cell.key in done and self.store.record(cell.key)["sources"] != sources(self.study, cell)
        ]


def open_run(
    study: str | Study,
    *,
    scale: str = "cpu",
    store: str | os.PathLike[str] = "runs",
    overrides: Mapping[str, Any] | None = None,
) -> Run:
    """The run of a study in a store, whether or not anything has been computed.

    ``study`` is a slug of the house, ``module:name``, or a `Study` that workers can import.
    """
    if not isinstance(study, Study):
        study = load_study(study_ref(study))
    overrides = dict(overrides or {})
    settings = settings_for(study, scale, overrides)
    name = ",".join([scale, *(f"{key}={canonical_json(overrides[key])}" for key in sorted(overrides))])
    if len(name) > 80 or "/" in name:
        name = f"{scale},{hashlib.blake2b(name.encode(), digest_size=6).hexdigest()}"
    folder = Store(Path(store) / study.slug / f"v{study.version}" / name)
    frozen = folder.definition()
    looks = tuple(frozen["looks"]) if frozen else ()
    if looks and hasattr(settings, "seeds"):
        settings = replace(settings, seeds=looks[-1])
    return Run(study, scale, settings, folder, looks)


# Freezing: what was declared before the run --------------------------------------------------------------


def _definition(run: Run) -> dict[str, Any]:
    """What must not change between two runs into one folder."""
    cells = sorted(cell.key for cell in run.cells)
    return json.loads(
        canonical_json(
            {
                "study": run.study.slug,
                "version": run.study.version,
                "scale": run.scale,
                "settings": asdict(run.settings),
                "claims": [_plain_claim(claim) for claim in run.study.claims],
                "cells": hashlib.blake2b("".join(cells).encode(), digest_size=16).hexdigest(),
                "planned": len(cells),
            }
        )
    )


def _plain_claim(claim: Any) -> dict[str, Any]:
    plain = asdict(claim)
    if plain["control"]:
        plain["control"].update({side: repr(plain["control"][side]) for side in ("low", "high")})
    return plain


def _freeze(run: Run, more_seeds: int | None) -> Run:
    """Check the study against its frozen definition, or freeze it; refuse a change that was not declared."""
    frozen = run.store.definition()
    if frozen is None:
        run = replace(run, looks=(run.settings.seeds,))
    if more_seeds is not None:
        run = _look_again(run, more_seeds)
    today = _definition(run)
    history: list[Any] = []
    if frozen is not None:
        history = frozen["history"]
        before = frozen if more_seeds is None else {**frozen, **_pick(today, "settings", "cells", "planned")}
        history = history + _changed_claims(before, today)
        old = _pick({**before, "claims": today["claims"]}, *today)
        if old != today:
            raise StoreError(_describe_change(run, old, today))
    definition = {**today, "ref": run.study.ref, "looks": list(run.looks), "history": history}
    if definition != frozen:
        run.store.freeze(definition)
    return run


def _look_again(run: Run, seeds: int) -> Run:
    if len(run.looks) > 1 and seeds != run.looks[-1]:
        raise InputError(
            f"--more-seeds was used already (looks at {list(run.looks)} seeds); one more look is allowed."
        )
    if seeds <= run.looks[0]:
        raise InputError(
            f"--more-seeds {seeds} was given; this run has {run.looks[0]} seeds, so name a larger number."
        )
    return replace(run, settings=replace(run.settings, seeds=seeds), looks=(run.looks[0], seeds))


def _changed_claims(frozen: Mapping[str, Any], today: Mapping[str, Any]) -> list[Any]:
    """Old forms of claims that were changed openly, by a new version; a silent change is refused."""
    now = {claim["id"]: claim for claim in today["claims"]}
    changed = []
    for old in frozen["claims"]:
        new = now.get(old["id"])
        if new == old:
            continue
        if new is None or new["version"] <= old["version"]:
            raise StoreError(
                f"Claim {old['id']} of study {frozen['study']!r} differs from the one this run was started with:\n"
                f"{_difference(old, new or {})}\nA claim is fixed before it is run. Raise its version (the report "
                "shows the history), or start afresh in another --store."
            )
        changed.append(old)
    return changed


def _describe_change(run: Run, old: Mapping[str, Any], today: Mapping[str, Any]) -> str:
    return (
        f"Study {run.study.slug!r} has changed since this run was started in {run.store.folder}:\n"
        f"{_difference(old, today)}\nNothing was overwritten. Raise the study's version to start a new run beside "
        "the old one, or name another --store."
    )


def _difference(old: Any, new: Any) -> str:
    then, now = (json.dumps(value, indent=1, sort_keys=True).splitlines() for value in (old, new))
    return "\n".join(
        line for line in difflib.unified_diff(then, now, "then", "now", lineterm="", n=0) if line[0] in "+-"
    )


def _pick(values: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: values[name] for name in names}


# Planning ------------------------------------------------------------------------------------------------


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
    costs = _costs(this, cells)
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


def _costs(this: Run, cells: Iterable[Cell]) -> dict[str, float]:
    """Expected seconds of each cell: the median of finished ones like it, else the study's hint."""
    measured = defaultdict(list)
    for record in this.store.records():
        measured[record["world"], record["method"]].append(record["timings"]["wall_s"])
    medians = {group: statistics.median(seconds) for group, seconds in measured.items()}
    return {cell.key: medians.get(cell.group, cell.cost_s) for cell in cells}


# Running -------------------------------------------------------------------------------------------------


def run(
    study: str | Study,
    *,
    scale: str = "cpu",
    engine: str = "local",
    store: str | os.PathLike[str] = "runs",
    overrides: Mapping[str, Any] | None = None,
    shard: tuple[int, int] = (1, 1),
    retry: Iterable[Retry] = (),
    rerun_stale: bool = False,
    more_seeds: int | None = None,
    progress: str = "auto",
) -> Run:
    """Run a study, or resume it: cells that are done are never run again.

    Parameters
    ----------
    study : a slug of the house, ``module:name``, or an importable `Study`.
    scale : ``quick`` (seconds, no verdicts), ``cpu`` or ``paper``.
    engine : ``local``, ``local:4``, ``dask://host:8786`` or ``dask-slurm:profile.toml``.
    overrides : changes to the scale's settings by dotted name; they get a folder of their own.
    shard : (i, n) runs the i-th of n parts, each of which may run anywhere on a shared store.
    retry : also run cells that ``failed`` (error, timeout, memory) or ``crashed`` before.
    rerun_stale : set aside records whose code has changed, and run their cells again.
    more_seeds : look once more, with this many seeds; both looks are then judged at .025.
    progress : ``auto``, ``json`` or ``none``.

    Raises
    ------
    InputError
        Unknown names or settings, a study that changed since the run began, a store that cannot be written.
    """
    this = open_run(study, scale=scale, store=store, overrides=overrides)
    index, shards = shard
    if not 1 <= index <= shards:
        raise InputError(f"--shard {index}/{shards} was given; write i/n with 1 ≤ i ≤ n.")
    with this.store.lock(f"{index}of{shards}"):
        this = _freeze(this, more_seeds)
        if rerun_stale:
            for cell in this.stale():
                this.store.set_aside(cell.key)
        cells = [cell for cell in this.cells if int(cell.key, 16) % shards == index - 1]
        _Driver(this, cells, set(retry), make_reporter(progress)).run(engine)
    return this


@dataclass
class _Driver:
    """The loop that keeps an engine's slots busy."""

    this: Run
    cells: list[Cell]
    retry: set[Retry]
    reporter: Reporter
    running: dict[Future[str], tuple[Task, float]] = field(default_factory=dict)
    suspects: list[Task] = field(default_factory=list)
    tried_alone: list[Task] = field(default_factory=list)
    failed: int = 0
    reported: float = 0.0
    stopping: bool = False

    def run(self, spec: str) -> None:
        done, failures = self.this.store.done(), self.this.store.failures()
        todo = [cell for cell in self.cells if cell.key not in done and self._may_run(failures.get(cell.key))]
        self.failed = len(self.cells) - len(todo) - sum(cell.key in done for cell in self.cells)
        self.costs = _costs(self.this, todo)
        self.state = RunState(
            self.this.study.slug, len(self.cells), sum(c.key in done for c in self.cells), self.failed
        )
        self.state.skipped = self.state.done
        self.reporter.start(self.state)
        if todo:
            memory = [cell.needs.memory_gb for cell in todo if cell.needs.memory_gb]
            engine = make_engine(
                spec, self.this.study, any(cell.needs.gpu for cell in todo), max(memory, default=None)
            )
            with self._interruptible(engine):
                # Longest first, so that the slots finish together.
                self._loop(engine, sorted(todo, key=lambda cell: (self.costs[cell.key], cell.key)))
        self.reporter.finish(self.state)
        if self.stopping:
            raise KeyboardInterrupt

    def _may_run(self, failure: Mapping[str, Any] | None) -> bool:
        if failure is None:
            return True
        return ("crashed" if failure["kind"] == "crash" else "failed") in self.retry

    def _loop(self, engine: Engine, todo: list[Cell]) -> None:
        folder = str(self.this.store.folder.resolve())
        frozen = canonical_json(self.this.store.definition())
        definition = hashlib.blake2b(frozen.encode(), digest_size=8).hexdigest()
        while (todo or self.suspects or self.running) and not (self.stopping and not self.running):
            while todo and len(self.running) < engine.slots and not self.stopping:
                cell = todo.pop()
                task = Task(self.this.study.ref, folder, definition, cell)
                self._submit(engine, task)
            if self.suspects and not todo and not self.running and not self.stopping:
                self._submit(engine, self.suspects.pop())  # alone, so that blame falls where it belongs
            finished, _ = wait(self.running, timeout=0.25, return_when=FIRST_COMPLETED)
            for future in finished:
                self._settle(engine, *self.running.pop(future), future)
            engine.tend()
            self._report(engine, todo)

    def _submit(self, engine: Engine, task: Task) -> None:
        self.running[engine.submit(task)] = (task, time.monotonic())

    def _settle(self, engine: Engine, task: Task, began: float, future: Future[str]) -> None:
        key, store = task.cell.key, self.this.store
        try:
            word = future.result()
        except WorkerLost as lost:
            word = self._lost(engine, task, str(lost), time.monotonic() - began)
        if word in ("done", "skip"):
            self.state.done += 1
        elif word == "failed":
            self.failed += 1
        kind = store.failures().get(key, {}).get("kind") if word == "failed" else None
        self.reporter.event(
            "cell", key=key, cell=str(task.cell), word=word, **({"kind": kind} if kind else {})
        )

    def _lost(self, engine: Engine, task: Task, kind: str, seconds: float) -> str:
        """A worker died under a cell: it may have finished, be innocent, or be to blame."""
        store, key = self.this.store, task.cell.key
        if store.has(key):
            return "done"
        if kind == "crash" and key in store.failures() and store.failures()[key]["kind"] == "timeout":
            return "failed"  # the worker's own watchdog ended it, and said so
        if engine.blames_innocent and task not in self.tried_alone:
            self.tried_alone.append(task)
            self.suspects.append(task)
            return "again"
        reason = {
            "crash": "its worker was killed",
            "timeout": f"it ran longer than {task.timeout_s:g} s",
            "memory": f"it used more than {task.cell.needs.memory_gb} GB",
        }[kind]
        store.fail(key, kind, reason, cell=str(task.cell), wall_s=seconds)
        return "failed"

    def _report(self, engine: Engine, todo: list[Cell]) -> None:
        now = time.monotonic()
        if now - self.reported < 0.1 and self.running:
            return
        self.reported = now
        ahead = sum(self.costs[cell.key] for cell in todo)
        ahead += sum(max(0.0, self.costs[t.cell.key] - (now - began)) for t, began in self.running.values())
        self.state.failed = self.failed
        self.state.remaining_s = ahead / engine.slots
        self.state.running = [
            (str(task.cell), self._fraction(task, now - began)) for task, began in self.running.values()
        ]
        self.reporter.update(self.state)

    def _fraction(self, task: Task, seconds: float) -> float:
        """How far a running cell is: what it says itself, else its time against the expected."""
        try:
            return float(
                json.loads((self.this.store.scratch(task.cell.key) / "progress.json").read_text())["fraction"]
            )
        except (OSError, ValueError, KeyError):
            return min(0.99, seconds / max(self.costs[task.cell.key], 1e-9))

    @contextmanager
    def _interruptible(self, engine: Engine) -> Iterator[None]:
        """Ctrl-C once: finish the running cells. Twice: stop now."""

        def interrupt(*_: Any) -> None:
            if self.stopping:
                raise KeyboardInterrupt
            self.stopping = True
            self.reporter.event("interrupted", running=len(self.running))

        main = threading.current_thread() is threading.main_thread()
        before = signal.signal(signal.SIGINT, interrupt) if main else None
        clean = False
        try:
            yield
            clean = True
        finally:
            if main:
                signal.signal(signal.SIGINT, before)
            engine.close(kill=not clean)


# Verifying -----------------------------------------------------------------------------------------------


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
