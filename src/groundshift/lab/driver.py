"""The driver: run a study, or resume it.

Any kill at any moment costs at most the cells that were running: a cell is done exactly when its record
exists, and a run starts by looking at the records.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from groundshift.errors import InputError
from groundshift.lab.engines import Engine, Task, WorkerLost, make_engine
from groundshift.lab.identity import canonical_json
from groundshift.lab.planning import expected_seconds
from groundshift.lab.reporters import Reporter, RunState, make_reporter
from groundshift.lab.runs import Run, freeze, open_run
from groundshift.lab.study import Cell, Study

__all__ = ["run"]

Retry = Literal["failed", "crashed"]


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
    root: int | None = None,
    mutants: bool = False,
    progress: str = "auto",
) -> Run:
    """Run a study, or resume it: cells that are done are never run again.

    Parameters
    ----------
    study : a slug of the library, ``module:name``, or an importable `Study`.
    scale : ``quick`` (seconds, no verdicts), ``cpu`` or ``paper``.
    engine : ``local``, ``local:4``, ``inline``, ``dask://host:8786`` or ``dask-slurm:profile.toml``.
    overrides : changes to the scale's settings by dotted name; they get a folder of their own.
    shard : (i, n) runs the i-th of n parts, each of which may run anywhere on a shared store.
    retry : also run cells that ``failed`` (error, timeout, memory) or ``crashed`` before.
    rerun_stale : set aside records whose code has changed, and run their cells again.
    more_seeds : look once more, with this many seeds; both looks are then judged at .025.
    root : replicate the run at this root seed, in a folder inside the run's.
    mutants : run the study's mutants in the place of its methods, in a folder inside the run's.
    progress : ``auto``, ``json`` or ``none``.

    Raises
    ------
    InputError
        Unknown names or settings, a study that changed since the run began, a store that cannot be written.
    """
    this = open_run(study, scale=scale, store=store, overrides=overrides, root=root, mutants=mutants)
    index, shards = shard
    if not 1 <= index <= shards:
        raise InputError(f"--shard {index}/{shards} was given; write i/n with 1 ≤ i ≤ n.")
    with this.store.lock(shard):
        this = freeze(this, more_seeds)
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
    artefacts: set[tuple[Any, ...]] = field(default_factory=set)
    """Shared artefacts that a cell has made by now."""
    failed: int = 0
    reported: float = 0.0
    stopping: bool = False

    def run(self, spec: str) -> None:
        self.costs = expected_seconds(self.this, self.cells)  # reads every record: damaged ones are set aside
        done, failures = self.this.store.done(), self.this.store.failures()
        todo = [cell for cell in self.cells if cell.key not in done and self._may_run(failures.get(cell.key))]
        self.failed = len(self.cells) - len(todo) - sum(cell.key in done for cell in self.cells)
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
        self.ahead = sum(self.costs[cell.key] for cell in todo)
        while (todo or self.suspects or self.running) and not (self.stopping and not self.running):
            while len(self.running) < engine.slots and not self.stopping:
                if (cell := self._next(todo)) is None:
                    break
                self.ahead -= self.costs[cell.key]
                task = Task(self.this.study.ref, folder, definition, cell)
                self._submit(engine, task)
            if self.suspects and not todo and not self.running and not self.stopping:
                self._submit(engine, self.suspects.pop())  # alone, so that blame falls where it belongs
            finished, _ = wait(self.running, timeout=0.25, return_when=FIRST_COMPLETED)
            for future in finished:
                self._settle(engine, *self.running.pop(future), future)
            engine.tend()
            self._report(engine)

    def _next(self, todo: list[Cell]) -> Cell | None:
        """Take the last cell that may begin: one whose artefact another cell is making now has to wait."""
        making = {task.cell.artefact for task, _ in self.running.values()} - self.artefacts
        for i in reversed(range(len(todo))):
            if not todo[i].shares or todo[i].artefact not in making:
                return todo.pop(i)
        return None

    def _submit(self, engine: Engine, task: Task) -> None:
        self.running[engine.submit(task)] = (task, time.monotonic())

    def _settle(self, engine: Engine, task: Task, began: float, future: Future[str]) -> None:
        key, store = task.cell.key, self.this.store
        self.artefacts.add(task.cell.artefact)
        try:
            word = future.result()
        except WorkerLost as lost:
            word = self._lost(engine, task, str(lost), time.monotonic() - began)
        if word in ("done", "skip"):
            self.state.done += 1
        elif word == "failed":
            self.failed += 1
        kind = (store.failure(key) or {}).get("kind") if word == "failed" else None
        self.reporter.event(
            "cell", key=key, cell=str(task.cell), word=word, **({"kind": kind} if kind else {})
        )

    def _lost(self, engine: Engine, task: Task, kind: str, seconds: float) -> str:
        """A worker died under a cell: it may have finished, be innocent, or be to blame."""
        store, key = self.this.store, task.cell.key
        if store.has(key):
            return "done"
        if kind == "crash" and (store.failure(key) or {}).get("kind") == "timeout":
            return "failed"  # the worker's own watchdog ended it, and said so
        if (engine.blames_innocent or kind == "server") and task not in self.tried_alone:
            self.tried_alone.append(task)
            self.suspects.append(task)
            return "again"
        reason = {
            "crash": "its worker was killed",
            "server": "the process that had started its worker was killed, twice",
            "timeout": f"it ran longer than {task.timeout_s:g} s",
            "memory": f"it used more than {task.cell.needs.memory_gb} GB",
        }[kind]
        store.fail(key, kind, reason, cell=str(task.cell), wall_s=seconds)
        return "failed"

    def _report(self, engine: Engine) -> None:
        now = time.monotonic()
        if now - self.reported < 0.1 and self.running:
            return
        self.reported = now
        ahead = max(0.0, self.ahead) + sum(
            max(0.0, self.costs[t.cell.key] - (now - began)) for t, began in self.running.values()
        )
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
