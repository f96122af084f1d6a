"""Engines run cells somewhere; the driver only watches.

An engine is anything with ``slots``, ``submit(task) -> concurrent.futures.Future`` and ``close()``. A future
gives the worker's word (see `groundshift.lab.execute`) or raises `WorkerLost` when the worker died under it.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import forkserver
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from groundshift.errors import InputError
from groundshift.lab.execute import BUSY, execute
from groundshift.lab.provenance import gpu_count
from groundshift.lab.study import Cell, Study

__all__ = ["DaskEngine", "Engine", "SlotPool", "Task", "WorkerLost", "make_engine"]

WORKER_VARIABLES = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "NUMEXPR_NUM_THREADS": "1",
    "PYTHONHASHSEED": "0",
    "NVIDIA_TF32_OVERRIDE": "0",
    "HF_HUB_OFFLINE": "1",
}


HANGING = 0.05
"""A worker that is on the processor for less than this share of its time waits for something that does not come."""
_STARTING = threading.Lock()


class WorkerLost(Exception):
    """A worker died while it ran a cell; the argument is crash, timeout or memory."""


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
    """``local``, ``local:4``, ``dask://host:8786`` or ``dask-slurm:profile.toml``."""
    kind, _, rest = spec.partition(":")
    if kind == "local":
        return SlotPool(_slot_count(rest, needs_gpu, memory_gb), preload=study.preload, gpu=needs_gpu)
    if kind == "dask" and rest.startswith("//"):
        return DaskEngine(f"tcp:{rest}")
    if kind == "dask-slurm" and rest:
        return DaskEngine(slurm_cluster(Path(rest)))
    raise InputError(
        f"{spec!r} is no engine; write local, local:4 (slots), dask://host:8786 or dask-slurm:profile.toml."
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


# Local slots ---------------------------------------------------------------------------------------------


@dataclass
class _Slot:
    """One worker process behind an executor of its own, so that its death costs its own cell only."""

    number: int
    pool: ProcessPoolExecutor
    task: Task | None = None
    began: float = 0.0
    computed: float = 0.0
    """Processor seconds of the worker when the task began."""
    lost: str = ""
    """Why the worker of the task is dead, from the moment it is killed."""
    promise: Future[str] = field(default_factory=Future)

    @property
    def pid(self) -> int:
        """The worker's process, 0 before it has started; the executor tells it nowhere else."""
        return next(iter(self.pool._processes or {}), 0)


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
        self._slots = [_Slot(number, self._new_pool(number)) for number in range(slots)]
        # Limits count from here on: imports are over once every worker has answered.
        for answer in [slot.pool.submit(os.getpid) for slot in self._slots]:
            answer.result()

    def _new_pool(self, number: int) -> ProcessPoolExecutor:
        import psutil

        driver = psutil.Process()
        pool = ProcessPoolExecutor(
            1, self._context, _start_slot, (number, driver.pid, driver.create_time(), self._gpu)
        )
        # Slots are replaced in threads of their own, and the two below change what all threads see.
        with _STARTING, _environment(WORKER_VARIABLES), _hidden_main():
            forkserver.ensure_running()
            pool.submit(os.getpid)  # starts the process
        return pool

    def submit(self, task: Task) -> Future[str]:
        slot = next(slot for slot in self._slots if slot.task is None)
        slot.task, slot.began, slot.lost, slot.promise = task, time.monotonic(), "", Future()
        slot.promise.set_running_or_notify_cancel()
        words = (task.ref, task.folder, task.definition, task.cell.key)
        try:
            inner = slot.pool.submit(execute, *words)
        except BrokenProcessPool:  # the worker died while it was idle
            slot.pool = self._new_pool(slot.number)
            inner = slot.pool.submit(execute, *words)
        slot.computed = _processor_s(slot.pid)
        inner.add_done_callback(lambda done: self._settle(slot, done))
        return slot.promise

    def _settle(self, slot: _Slot, done: Future[str]) -> None:
        """Pass the worker's word on, with the slot free, and its worker new, before the driver hears it.

        Until then the slot is not to be had: this runs in a thread of the executor, beside the driver's.
        """
        promise, error = slot.promise, done.exception()
        if isinstance(error, BrokenProcessPool):
            slot.lost = slot.lost or "crash"
            error = WorkerLost(slot.lost)
        if slot.lost:  # also where it was killed just as its answer came
            slot.pool.shutdown(wait=False)
            slot.pool = self._new_pool(slot.number)
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
        _signal(slot.pid, signal.SIGKILL)

    def close(self, kill: bool = False) -> None:
        if kill:
            for slot in self._slots:
                _signal(slot.pid, signal.SIGKILL)
        for slot in self._slots:
            slot.pool.shutdown(wait=True, cancel_futures=True)


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


def _start_slot(number: int, driver_pid: int, driver_started: float, gpu: bool) -> None:
    """Prepare a worker: quiet on Ctrl-C (the driver decides), own caches, and no life after its driver."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ.update(WORKER_VARIABLES)
    # Matplotlib's cache is written without a lock.
    os.environ["MPLCONFIGDIR"] = os.path.join(
        tempfile.gettempdir(), f"groundshift-{os.getuid()}-slot{number}"
    )
    if gpu:
        os.environ["CUDA_VISIBLE_DEVICES"] = str(number)
    threading.Thread(target=_end_with, args=(driver_pid, driver_started), daemon=True).start()


def _end_with(pid: int, started: float) -> None:
    import psutil

    while True:
        time.sleep(0.5)
        try:
            alive = psutil.Process(pid).create_time() == started
        except psutil.NoSuchProcess:
            alive = False
        if not alive:
            with BUSY:  # the running cell may finish and write its record
                os._exit(0)


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


def _signal(pid: int, number: int) -> None:
    if not pid:
        return
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


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
        self._client.run_on_scheduler(_fail_at_once)
        if any(worker["nthreads"] > 1 for worker in self._workers().values()):
            self.close()
            raise InputError(
                "A Dask worker runs several threads; start workers with --nthreads 1, one per core."
            )
        self._number = 0

    def _workers(self) -> dict[str, Any]:
        return dict(self._client.scheduler_info(n_workers=-1)["workers"])

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
        remote.add_done_callback(lambda done: _settle_remote(promise, done))
        return promise

    def tend(self) -> None:
        """Limits are kept by a watchdog inside each worker."""

    def close(self, kill: bool = False) -> None:
        self._client.close()


def _knock(address: str) -> None:
    """Fail at once where nobody listens; Dask itself keeps trying."""
    target = urlsplit(address)
    socket.create_connection((target.hostname or "", target.port or 8786), timeout=10).close()


def _settle_remote(promise: Future[str], remote: Any) -> None:
    from distributed.scheduler import KilledWorker

    error = remote.exception() if remote.status == "error" else None
    if isinstance(error, KilledWorker) or remote.status in ("lost", "cancelled"):
        promise.set_exception(WorkerLost("crash"))
    elif error is not None:
        promise.set_exception(error)
    else:
        promise.set_result(remote.result())


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
