"""What a worker does: find the cell by its key, run it, write its record.

Only strings travel to a worker, and only a word comes back: the worker imports the study by name and writes
its own result, so any engine that can call a function will do.
"""

from __future__ import annotations

import importlib
import io
import logging
import os
import resource
import shutil
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from groundshift.errors import InputError, MissingPart
from groundshift.lab import context
from groundshift.lab.identity import digest, source_hash, stream
from groundshift.lab.mutation import mutated
from groundshift.lab.provenance import environment, environment_id
from groundshift.lab.settings import settings_from
from groundshift.lab.store import Store, StoreError, number_name
from groundshift.lab.study import Cell, Measure, Method, Study

__all__ = ["BUSY", "compute", "execute", "load_study"]

BUSY = threading.Lock()
"""Held while a cell runs, so that a worker whose driver died ends between cells, not inside one."""


def load_study(ref: str) -> Study:
    """Import a study by ``module:name``."""
    module, _, name = ref.partition(":")
    try:
        study = getattr(importlib.import_module(module), name or "study")
    except ModuleNotFoundError as error:
        if (error.name or "").startswith(module.partition(".")[0]):
            raise InputError(f"No study can be imported as {ref!r}: {error}. Write module:name.") from error
        raise MissingPart(error, f"The study {ref}") from error
    except SystemExit as error:
        raise InputError(
            f"Importing {module} ends Python with SystemExit({error}); a study must be importable without running a "
            "script. Guard the script with if __name__ == '__main__'."
        ) from error
    except (ImportError, AttributeError) as error:
        raise InputError(
            f"No study can be imported as {ref!r}: {error}. Write module:name, importable here."
        ) from error
    if not isinstance(study, Study):
        raise InputError(f"{ref!r} is a {type(study).__name__}; a groundshift.lab.Study is needed.")
    return study


@lru_cache(maxsize=4)
def _cells(ref: str, folder: str, definition: str) -> tuple[Study, dict[str, Cell]]:
    """The run's cells by key, rebuilt from its frozen settings; ``definition`` names their version."""
    study = load_study(ref)
    threadpool_limits(1)  # the number of threads changes the last bits of a matrix product
    frozen = Store(folder).definition()
    if frozen is None:
        raise InputError(f"{folder} holds no study.json; workers must see the driver's --store folder.")
    settings = settings_from(study, frozen["scale"], frozen["settings"])
    study = replace(study, root_seed=frozen.get("root", study.root_seed))
    if frozen.get("mutants"):
        study = mutated(study)
    return study, {cell.key: cell for cell in study.cells(frozen["scale"], settings)}


def execute(ref: str, folder: str, definition: str, key: str, watchdog_s: float = 0.0) -> str:
    """Run one cell and store its record; returns ``done``, ``skip`` (it was done) or ``failed``.

    With ``watchdog_s`` the process ends itself with status 75 when the cell takes longer; engines that cannot
    kill a worker from outside ask for that.
    """
    store = Store(folder)
    if store.has(key):
        store.event("skip", key)
        return "skip"
    study, cells = _cells(ref, folder, definition)
    cell = cells[key]
    with BUSY, _watchdog(store, cell, watchdog_s), context.running(store.scratch(key)), _tail() as tail:
        store.event("start", key)
        began, process, attempts = time.monotonic(), os.getpid(), store.attempts(key)
        try:
            record, arrays = compute(study, cell)
            if os.getpid() != process:
                raise RuntimeError(
                    "the cell forked, and its child came back too; end such a child with os._exit"
                )
        except BaseException as error:  # whatever leaves a cell is its failure, SystemExit too
            if isinstance(error, SystemExit) and os.getpid() != process:
                os._exit(0)  # a forked child may end like this
            store.fail(
                key,
                "memory" if isinstance(error, MemoryError) else "error",
                _message(error),
                traceback=traceback.format_exc(),
                log=list(tail),
                cell=str(cell),
                wall_s=time.monotonic() - began,
            )
        if os.getpid() != process:
            os._exit(1)
        if store.attempts(key) > attempts:  # perhaps noted by a forked child
            return "failed"
        record["finished"] = time.time()
        record["attempt"] = attempts + 1
        store.keep_environment(record["env"], environment())
        store.write(record, arrays)
        store.event("done", key)
    shutil.rmtree(store.scratch(key), ignore_errors=True)
    return "done"


def _message(error: BaseException) -> str:
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:  # an error of the cell's own may not know how to be printed
        return type(error).__name__


def compute(study: Study, cell: Cell) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Draw the sample, run the method, score the answer: the record of a cell, and its arrays.

    World streams do not name the method, the severity or the parameters, so everything that a seed meets
    grows from the same draws and comparisons are paired.
    """
    world, method = study.world(cell.world), study.method(cell.method)
    began, cpu = time.perf_counter(), time.process_time()
    sample = world.sample(
        stream(study.root_seed, f"{study.slug}/{world.name}/{cell.seed}"), cell.severity, **cell.world_params
    )
    drawn = time.perf_counter()
    data = sample if method.sees_truth else sample.data
    if method.prepare is not None:
        data = method.prepare(data, stream(study.root_seed, f"{cell.key}/prepare"))
    output = dict(method.run(data, stream(study.root_seed, f"{cell.key}/method"), **cell.method_params))
    answered = time.perf_counter()
    values = {
        name: value for measure in cell.measures for name, value in _score(study, measure, output, sample)
    }
    arrays = {name: value for name, value in output.items() if isinstance(value, np.ndarray)}
    record = {
        "key": cell.key,
        "study": cell.study,
        "version": cell.study_version,
        "scale": cell.scale,
        "world": cell.world,
        "world_params": dict(cell.world_params),
        "severity": cell.severity,
        "method": cell.method,
        "method_params": dict(cell.method_params),
        "role": method.role,
        "seed": cell.seed,
        "values": values,
        "finite": all(np.isfinite(value) for value in values.values()),
        "output": {name: value for name, value in output.items() if name not in arrays},
        "digest": digest(output),
        "timings": {
            "world_s": drawn - began,
            "method_s": answered - drawn,
            "wall_s": time.perf_counter() - began,
            "cpu_s": time.process_time() - cpu,
        },
        "max_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "sources": sources(study, cell),
        "env": environment_id(),
    }
    return record, arrays


def _score(study: Study, name: str, output: Mapping[str, Any], sample: Any) -> Iterator[tuple[str, float]]:
    measure = study.measure(name)
    scores: dict[str, float] = {}
    rows = _rows(measure, measure.score(output, sample))
    for row in rows:
        factors = {factor: row.pop(factor, None) for factor in measure.by}
        if set(row) != set(measure.gives):
            raise InputError(f"Measure {name!r} gave {sorted(row)}; it declares {sorted(measure.gives)}.")
        scores |= {number_name(key, factors): float(value) for key, value in row.items()}
    declared = {number_name(key, factors) for factors in measure.combinations for key in measure.gives}
    if set(scores) != declared or len(rows) != len(measure.combinations):
        raise InputError(
            f"Measure {name!r} gave {len(rows)} rows, first {sorted(scores)[:2]}; it declares one row for each of the "
            f"{len(measure.combinations)} combinations of {dict(measure.by)}."
        )
    return iter(scores.items())


def _rows(measure: Measure, scored: Any) -> list[dict[str, Any]]:
    """What a measure gave as rows; a single number or dictionary is one row without factors."""
    if measure.by:
        return [dict(row) for row in scored]
    return [dict(scored) if isinstance(scored, Mapping) else {measure.gives[0]: scored}]


def sources(study: Study, cell: Cell) -> dict[str, str]:
    """Today's source hashes of everything that made a cell; a record with others is stale."""
    functions = {
        f"world {cell.world}": study.world(cell.world).sample,
        **_method_sources(study.method(cell.method)),
        **{f"measure {name}": study.measure(name).score for name in cell.measures},
    }
    return {name: _hash(function) for name, function in functions.items()}


def _method_sources(method: Method) -> dict[str, Any]:
    parts = {f"method {method.name}": method.run}
    return parts if method.prepare is None else {**parts, f"prepare {method.name}": method.prepare}


_hash = lru_cache(maxsize=None)(source_hash)


@contextmanager
def _tail(lines: int = 50) -> Iterator[deque[str]]:
    """Keep the last lines that a cell prints or logs, and keep them off the driver's terminal."""
    tail: deque[str] = deque(maxlen=lines)

    class Lines(io.TextIOBase):
        def write(self, text: str) -> int:
            tail.extend(line for line in text.splitlines() if line.strip())
            return len(text)

    handler = logging.StreamHandler(Lines())
    logging.getLogger().addHandler(handler)
    try:
        with redirect_stdout(Lines()), redirect_stderr(Lines()):
            yield tail
    finally:
        logging.getLogger().removeHandler(handler)


@contextmanager
def _watchdog(store: Store, cell: Cell, seconds: float) -> Iterator[None]:
    if not seconds:
        yield
        return

    import psutil

    def end() -> None:
        try:
            store.fail(cell.key, "timeout", f"the cell ran longer than {seconds:g} s", cell=str(cell))
        except StoreError as error:
            print(error, file=sys.__stderr__)
        for child in psutil.Process().children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                child.kill()
        os._exit(75)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
