"""Engines run cells somewhere; the driver only watches.

An engine is anything with ``slots``, ``submit(task) -> concurrent.futures.Future`` and ``close()``. A future
gives the worker's word (see `groundshift.lab.execute`) or raises `WorkerLost` when the worker died under it.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing import forkserver, resource_tracker
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from groundshift.errors import InputError
from groundshift.lab.execute import BUSY, execute
from groundshift.lab.provenance import gpu_count
from groundshift.lab.study import Cell, Study

__all__ = ["DaskEngine", "Engine", "Inline", "SlotPool", "Task", "WorkerLost", "make_engine"]

WORKER_VARIABLES = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "NUMEXPR_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",  # its pool sets the number of threads of OpenMP, and so those of torch
    "PYTHONHASHSEED": "0",
    "NVIDIA_TF32_OVERRIDE": "0",
    "HF_HUB_OFFLINE": "1",
}


HANGING = 0.05
"""A worker that is on the processor for less than this share of its time waits for something that does not come."""
STARTS = 6
"""How often a worker that is killed while it starts is started again."""
_STARTING = threading.Lock()


class WorkerLost(Exception):
    """A worker died while it ran a cell; the argument is crash, timeout, memory or server (no fault of the cell)."""


@dataclass(frozen=True)
class Task:
    """A cell to run, as the strings that travel to a worker."""

    ref: str
    folder: str
    definition: str
    cell: Cell

    @property
    def timeout_s(self) -> float:
        """Limit: five times the expected seconds, and three minutes at least: a cell may train its base first."""
        return max(180.0, 5 * self.cell.cost_s)


class Engine(Protocol):
    """What the driver needs of an engine."""

    name: str
    blames_innocent: bool
    """Whether a lost worker may be reported for cells that did nothing wrong."""

    @property
    def slots(self) -> int:
        """Cells that can run at once."""

    def submit(self, task: Task) -> Future[str]:
        """Start a cell; called only while fewer than ``slots`` run."""

    def tend(self) -> None:
        """Called a few times a second: enforce limits."""

    def close(self, kill: bool = False) -> None:
        """End all workers; with ``kill`` at once, else after their running cells."""


def make_engine(spec: str, study: Study, needs_gpu: bool = False, memory_gb: float | None = None) -> Engine:
    """``local``, ``local:4``, ``inline``, ``dask://host:8786`` or ``dask-slurm:profile.toml``."""
    kind, _, rest = spec.partition(":")
    if spec == "inline":
        _slot_count("1", needs_gpu, memory_gb)  # refuses a machine without the GPU or the memory
        return Inline()
    if kind == "local":
        return SlotPool(_slot_count(rest, needs_gpu, memory_gb), preload=study.preload, gpu=needs_gpu)
    if kind == "dask" and rest.startswith("//"):
        return DaskEngine(f"tcp:{rest}")
    if kind == "dask-slurm" and rest:
        return DaskEngine(slurm_cluster(Path(rest)))
    raise InputError(
        f"{spec!r} is no engine; write local, local:4 (slots), inline, dask://host:8786 or "
        "dask-slurm:profile.toml."
    )


def _slot_count(text: str, needs_gpu: bool, memory_gb: float | None) -> int:
    import psutil

    if text and not (text.isdigit() and int(text) > 0):
        raise InputError(f"local:{text} was given; write local:N with a whole number of slots, as local:2.")
    slots = int(text) if text else len(psutil.Process().cpu_affinity() or [0])
    if needs_gpu:
        if not gpu_count():
            raise InputError(
                "This study's cells need a GPU and this machine shows none; run it at another scale."
            )
        slots = min(slots, gpu_count())
    if memory_gb:
        room = psutil.virtual_memory().available / 2**30
        if room < memory_gb:
            raise InputError(f"A cell needs {memory_gb:g} GB of memory; {room:.1f} GB are free here.")
        slots = min(slots, int(room // memory_gb))
    return slots


class Inline:
    """Cells run in the driver's own process, one after another: a debugger stops in them, no process is started.

    There are no limits of time, and a cell that kills its process ends the run, whose other cells are kept.
    """

    name = "inline"
    blames_innocent = False
    slots = 1

    def submit(self, task: Task) -> Future[str]:
        """Run the cell now."""
        finished: Future[str] = Future()
        finished.set_result(execute(task.ref, task.folder, task.definition, task.cell.key))
        return finished

    def tend(self) -> None:
        """Nothing runs between two calls of `submit`."""

    def close(self, kill: bool = False) -> None:
        """Nothing was started."""


# Local slots ---------------------------------------------------------------------------------------------


@dataclass
class _Slot:
    """One worker process behind an executor of its own, so that its death costs its own cell only."""

    number: int
    pool: ProcessPoolExecutor = field(init=False)
    pid: int = 0
    """The worker, and the process group of everything that its cells start."""
    server: int = 0
    """The fork server, which started the worker."""
    task: Task | None = None
    began: float = 0.0
    computed: float = 0.0
    """Processor seconds of the worker when the task began."""
    lost: str = ""
    """Why the worker of the task is dead, from the moment it is killed."""
    promise: Future[str] = field(default_factory=Future)


class SlotPool:
    """Slots on this machine: one single-worker process pool each, from the standard library.

    A killed worker costs its own cell and is replaced. Workers end by themselves within a second or so of a
    killed driver, after the cell that they are running.
    """

    name = "local"
    blames_innocent = False

    def __init__(self, slots: int, preload: tuple[str, ...] = ("numpy",), gpu: bool = False) -> None:
        self.slots = slots
        self._gpu = gpu
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["groundshift.lab.execute", *preload])
        self._slots = [_Slot(number) for number in range(slots)]
        for slot in self._slots:
            self._start(slot)

    def _start(self, slot: _Slot) -> None:
        """Give a slot a worker that has answered: limits count from then on, when imports are over.

        A process that is killed before that is started again, a few times.
        """
        for attempt in range(STARTS):
            time.sleep(0.2 * attempt)  # a killed process takes a moment to be gone
            # Slots are replaced in threads of their own, and the three below change what all threads see.
            with suppress(BrokenProcessPool, EOFError, OSError):
                with _STARTING, _environment(WORKER_VARIABLES), _hidden_main():
                    forkserver.ensure_running()
                    slot.server = _server()
                    start = (slot.number, slot.server, self._gpu)
                    slot.pool = ProcessPoolExecutor(1, self._context, _start_slot, start)
                    answer = slot.pool.submit(os.getpid)
                slot.pid = answer.result()
                if (
                    slot.server == _server()
                ):  # else it was replaced in between, and the worker is about to end
                    return
        raise InputError(
            f"The worker of slot {slot.number + 1} ended {STARTS} times before it could take a cell. See whether "
            "something kills processes here (a limit on memory or processes), or whether importing the study ends "
            "Python. Every finished cell is kept; run again to go on."
        )

    def submit(self, task: Task) -> Future[str]:
        slot = next(slot for slot in self._slots if slot.task is None)
        slot.task, slot.began, slot.lost, slot.promise = task, time.monotonic(), "", Future()
        slot.promise.set_running_or_notify_cancel()
        words = (task.ref, task.folder, task.definition, task.cell.key)
        while True:
            try:
                inner = slot.pool.submit(execute, *words)
                break
            except BrokenProcessPool:  # the worker died while it was idle
                self._replace(slot)
        slot.computed = _processor_s(slot.pid)
        inner.add_done_callback(lambda done: self._settle(slot, done))
        return slot.promise

    def _replace(self, slot: _Slot) -> None:
        _end_group(slot.pid)
        slot.pool.shutdown(wait=False)
        self._start(slot)

    def _settle(self, slot: _Slot, done: Future[str]) -> None:
        """Pass the worker's word on, with the slot free, and its worker new, before the driver hears it.

        Until then the slot is not to be had: this runs in a thread of the executor, beside the driver's. What is
        raised here would be swallowed, and the driver would wait for ever.
        """
        promise, error = slot.promise, done.exception()
        if isinstance(error, BrokenProcessPool):
            # A killed fork server breaks the pools of workers that are alive.
            innocent = _is_running(slot.pid) or not _is_running(slot.server)
            slot.lost = slot.lost or ("server" if innocent else "crash")
            error = WorkerLost(slot.lost)
        if slot.lost:  # also where it was killed just as its answer came
            try:
                self._replace(slot)
            except Exception as failed:
                error = failed
        slot.task = None
        if error is not None:
            promise.set_exception(error)
        else:
            promise.set_result(done.result())

    def tend(self) -> None:
        for slot in self._slots:
            task = slot.task
            if task is None or slot.lost:
                continue
            if self._overdue(slot, task.timeout_s):
                self._kill(slot, "timeout")
            elif (limit := task.cell.needs.memory_gb) and _memory_gb(slot.pid) > limit:
                self._kill(slot, "memory")

    def _overdue(self, slot: _Slot, limit_s: float) -> bool:
        """Whether a cell has had its time: on a busy machine, its time on the processor, unless it hardly moves."""
        waited = time.monotonic() - slot.began
        if waited <= limit_s:
            return False
        computed = _processor_s(slot.pid) - slot.computed
        return computed > limit_s or computed < HANGING * waited

    def _kill(self, slot: _Slot, why: str) -> None:
        slot.lost = why
        _end_group(slot.pid)

    def close(self, kill: bool = False) -> None:
        if kill:
            for slot in self._slots:
                _end_group(slot.pid)
        for slot in self._slots:
            slot.pool.shutdown(wait=True, cancel_futures=True)
            _end_group(slot.pid)  # what the cells left running


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    """Set environment variables for the processes started inside."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def _hidden_main() -> Iterator[None]:
    """Keep workers from importing the driver's main script, which they do not need.

    So a script needs no ``if __name__ == "__main__"``, and a notebook or standard input can drive a run.
    """
    main = sys.modules["__main__"]
    hidden: dict[str, Any] = {
        name: vars(main).pop(name) for name in ("__file__", "__spec__") if name in vars(main)
    }
    main.__spec__ = None
    try:
        yield
    finally:
        vars(main).update(hidden)


def _start_slot(number: int, server: int, gpu: bool) -> None:
    """Prepare a worker: quiet on Ctrl-C (the driver decides), own caches, and no life after its driver."""
    os.setpgrp()  # so that what a cell starts can be ended with it
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ.update(WORKER_VARIABLES)
    # Matplotlib's cache is written without a lock; a folder of the user's own cannot be laid out by another user.
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    os.environ["MPLCONFIGDIR"] = os.path.join(cache, "groundshift", f"matplotlib-slot{number}")
    if gpu:
        os.environ["CUDA_VISIBLE_DEVICES"] = str(number)
    # The fork server ends when nobody holds this pipe: from here on, when the driver dies.
    inherited: Any = forkserver._forkserver
    os.close(inherited._forkserver_alive_fd)
    inherited._forkserver_alive_fd = inherited._forkserver_address = None
    threading.Thread(target=_end_with, args=(server,), daemon=True).start()


def _end_with(server: int) -> None:
    """End this worker and its children once the fork server is gone.

    That it is no longer the parent needs no clock, and is seen although nobody reaps the dead.
    """
    while os.getppid() == server:
        time.sleep(0.5)
    tracker: Any = resource_tracker._resource_tracker
    nowhere = os.open(os.devnull, os.O_RDWR)
    for handle in (1, 2, tracker._fd):  # whoever reads the driver's output waits until these are closed
        if handle is not None:
            os.dup2(nowhere, handle)
    with BUSY:  # the running cell may finish and write its record
        os.killpg(0, signal.SIGKILL)


def _server() -> int:
    """The fork server of this process, which the standard library names nowhere else."""
    server: Any = forkserver._forkserver
    return int(server._forkserver_pid)


def _is_running(pid: int) -> bool:
    import psutil

    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _memory_gb(pid: int) -> float:
    import psutil

    try:
        return psutil.Process(pid).memory_info().rss / 2**30
    except psutil.NoSuchProcess:
        return 0.0


def _processor_s(pid: int) -> float:
    import psutil

    try:
        used = psutil.Process(pid).cpu_times() if pid else None
    except psutil.NoSuchProcess:
        return 0.0
    return used.user + used.system if used else 0.0


def _end_group(worker: int) -> None:
    """End a worker and what its cells have started."""
    with suppress(ProcessLookupError):
        os.killpg(worker, signal.SIGKILL)


# Dask ----------------------------------------------------------------------------------------------------


class DaskEngine:
    """Workers of a Dask cluster, set up against its own defaults.

    Dask re-sends the cells of a dead worker to other workers, up to three times, and may blame cells that only
    waited there. Here a dead worker fails its cells at once and the driver tries each again, alone.
    """

    name = "dask"
    blames_innocent = True

    def __init__(self, cluster: Any) -> None:
        try:
            from distributed import Client
        except ImportError as error:
            raise InputError("Dask is not installed here: pip install 'groundshift[cluster]'.") from error
        try:
            if isinstance(cluster, str):
                _knock(cluster)
            self._client = Client(cluster, timeout="10s", set_as_default=False)
        except (OSError, TimeoutError, ValueError) as error:
            raise InputError(
                f"No Dask scheduler answers at {cluster}: {error}. Start one (dask scheduler) or check the address."
            ) from error
        # What becomes of the connection is reported here, in one sentence instead of the client's tracebacks.
        self._levels = {name: logging.getLogger(name).level for name in ("distributed", "distributed.client")}
        for name in self._levels:
            logging.getLogger(name).setLevel(logging.CRITICAL)
        self._address = self._client.scheduler_info()["address"]
        self._client.run_on_scheduler(_fail_at_once)
        if any(worker["nthreads"] > 1 for worker in self._workers().values()):
            self.close()
            raise InputError(
                "A Dask worker runs several threads; start workers with --nthreads 1, one per core."
            )
        self._number = 0

    def _workers(self) -> dict[str, Any]:
        try:
            return dict(self._client.scheduler_info(n_workers=-1)["workers"])
        except (OSError, KeyError) as error:
            raise self._gone() from error

    def _gone(self) -> InputError:
        return InputError(
            f"The Dask scheduler at {self._address} no longer answers; every finished cell is kept, so start a "
            "scheduler and run again."
        )

    @property
    def slots(self) -> int:
        return max(1, len(self._workers()))

    def submit(self, task: Task) -> Future[str]:
        self._number += 1
        promise: Future[str] = Future()
        promise.set_running_or_notify_cancel()
        remote = self._client.submit(
            execute,
            task.ref,
            task.folder,
            task.definition,
            task.cell.key,
            task.timeout_s,
            key=f"{task.cell.key}-{os.getpid()}-{self._number}",
            pure=False,
            retries=0,
        )
        remote.add_done_callback(lambda done: self._settle(promise, done))
        return promise

    def _settle(self, promise: Future[str], remote: Any) -> None:
        from distributed.scheduler import KilledWorker

        error = remote.exception() if remote.status == "error" else None
        if isinstance(error, KilledWorker) or remote.status in ("lost", "cancelled"):
            promise.set_exception(WorkerLost("crash") if self._client.status == "running" else self._gone())
        elif error is not None:
            promise.set_exception(error)
        else:
            try:
                promise.set_result(remote.result())
            except (OSError, CancelledError):  # the connection was lost after the status was read
                promise.set_exception(self._gone())

    def tend(self) -> None:
        """Limits are kept by a watchdog inside each worker."""
        if self._client.status != "running":
            raise self._gone()

    def close(self, kill: bool = False) -> None:
        connected = self._client.status == "running"
        with suppress(OSError, TimeoutError):  # of a scheduler that is gone already
            self._client.close(timeout=2)
        if connected:  # else its threads go on to report the loss
            for name, level in self._levels.items():
                logging.getLogger(name).setLevel(level)


def _knock(address: str) -> None:
    """Fail at once where nobody listens; Dask itself keeps trying."""
    target = urlsplit(address)
    socket.create_connection((target.hostname or "", target.port or 8786), timeout=10).close()


def _fail_at_once(dask_scheduler: Any) -> None:
    dask_scheduler.allowed_failures = 0


def slurm_cluster(profile: Path) -> Any:
    """A dask-jobqueue SLURM cluster from a TOML file of ``SLURMCluster`` arguments and ``jobs``."""
    import tomllib

    try:
        from dask_jobqueue import SLURMCluster
    except ImportError as error:
        raise InputError(
            "dask-jobqueue is not installed here: pip install 'groundshift[cluster]'."
        ) from error
    if not profile.exists():
        raise InputError(
            f"{profile} does not exist; write a TOML file with SLURMCluster's arguments and jobs = N."
        )
    options = tomllib.loads(profile.read_text())
    jobs = options.pop("jobs", 1)
    cluster = SLURMCluster(**{"cores": 1, "processes": 1, **options})
    cluster.scale(jobs=jobs)
    return cluster
