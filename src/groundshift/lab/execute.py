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
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from groundshift.errors import InputError, MissingPart
from groundshift.lab import context
from groundshift.lab.identity import digest, source_hash, stream
from groundshift.lab.provenance import environment, environment_id
from groundshift.lab.settings import settings_from
from groundshift.lab.store import Store, StoreError
from groundshift.lab.study import Cell, Study

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
        began = time.time()
        try:
            record, arrays = compute(study, cell)
        except Exception as error:
            kind = "memory" if isinstance(error, MemoryError) else "error"
            store.fail(
                key,
                kind,
                f"{type(error).__name__}: {error}",
                traceback=traceback.format_exc(),
                log=list(tail),
                cell=str(cell),
                wall_s=time.time() - began,
            )
            return "failed"
        record["finished"] = time.time()
        record["attempt"] = store.attempts(key) + 1
        store.keep_environment(record["env"], environment())
        store.write(record, arrays)
        store.event("done", key)
    shutil.rmtree(store.scratch(key), ignore_errors=True)
    return "done"


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
    output = dict(
        method.run(
            sample if method.sees_truth else sample.data,
            stream(study.root_seed, f"{cell.key}/method"),
            **cell.method_params,
        )
    )
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
    scored = measure.score(output, sample)
    values = scored if isinstance(scored, Mapping) else {measure.gives[0]: scored}
    if set(values) != set(measure.gives):
        raise InputError(f"Measure {name!r} gave {sorted(values)}; it declares {sorted(measure.gives)}.")
    return ((str(key), float(value)) for key, value in values.items())


def sources(study: Study, cell: Cell) -> dict[str, str]:
    """Today's source hashes of everything that made a cell; a record with others is stale."""
    functions = {
        f"world {cell.world}": study.world(cell.world).sample,
        f"method {cell.method}": study.method(cell.method).run,
        **{f"measure {name}": study.measure(name).score for name in cell.measures},
    }
    return {name: _hash(function) for name, function in functions.items()}


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

    def end() -> None:
        try:
            store.fail(cell.key, "timeout", f"the cell ran longer than {seconds:g} s", cell=str(cell))
        except StoreError as error:
            print(error, file=sys.__stderr__)
        os._exit(75)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
