"""The store: one atomic record per cell, its arrays beside it, and what is derived from them.

::

    runs/<study>/v<version>/<scale and overrides>/
      study.json                    the frozen definition, checked on resume
      cells/ab/<key>.json           the record, the only proof that a cell is done
      cells/ab/<key>.npz            its arrays, written and synced before the record
      failed/<key>.<attempt>.json   what went wrong, and how
      stale/                        records that were asked to be run again
      damaged/                      files that could not be read, as after a fault of the disk
      env/<hash>.json               machine and versions, once each
      lock, lock.<shard>            held by the one driver of this shard
      events.jsonl                  append-only, one line per transition
      index.parquet                 compaction of the records; never the truth
      replications/<root>/          the same at another root seed

Finished work is never lost, never repeated and never overwritten. A record appears by an atomic rename, so a
reader sees all of it or nothing.
"""

from __future__ import annotations

import fcntl
import io
import itertools
import json
import logging
import math
import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from groundshift.errors import InputError
from groundshift.lab.identity import canonical_json

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Store", "StoreError", "number_name"]

logger = logging.getLogger(__name__)


class StoreError(InputError):
    """The store cannot be written or does not fit the study; says why and what to do."""


class Store:
    """One run's folder: a study at one version, scale and set of overrides."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)

    def __repr__(self) -> str:
        return f"Store({str(self.folder)!r})"

    # Definition ------------------------------------------------------------------------------------------

    def definition(self) -> dict[str, Any] | None:
        """The frozen definition, or None before the first run; rebuilt from the events where it is damaged."""
        path = self.folder / "study.json"
        definition = self._read(path, "scale")
        if definition is None:
            frozen = [event["definition"] for event in self.events() if event["event"] == "frozen"]
            if frozen:
                definition = frozen[-1]
                logger.warning("%s was rebuilt from events.jsonl.", path)
                with suppress(StoreError):  # a reader may have no right to write here
                    self._write(path, _dump(definition, indent=1))
        return definition

    def freeze(self, definition: Mapping[str, Any]) -> None:
        """Write the definition; the caller has checked that it may."""
        self._write(self.folder / "study.json", _dump(definition, indent=1))
        self.event("frozen", definition=definition)

    # Records ---------------------------------------------------------------------------------------------

    def record_path(self, key: str) -> Path:
        """Where the record of a cell lies once the cell is done."""
        return self.folder / "cells" / key[:2] / f"{key}.json"

    def has(self, key: str) -> bool:
        """Whether the cell is done."""
        return self.record_path(key).exists()

    def done(self) -> set[str]:
        """Keys of all finished cells."""
        return {path.stem for path in self.folder.glob("cells/??/*.json")}

    def record(self, key: str) -> dict[str, Any]:
        """A finished cell's record.

        Raises
        ------
        StoreError
            The record is damaged; it was set aside, so that the cell runs again.
        """
        record = self._read(self.record_path(key), "key")
        if record is None:
            raise StoreError(
                f"The record of cell {key} in {self.folder} is missing or damaged; run the study again."
            )
        return record

    def records(self) -> Iterator[dict[str, Any]]:
        """Every record, in the order of their keys; damaged ones are set aside."""
        for path in sorted(self.folder.glob("cells/??/*.json")):
            if (record := self._read(path, "key")) is not None:
                yield record

    def arrays(self, key: str) -> dict[str, np.ndarray]:
        """The arrays of a finished cell, empty where it made none."""
        path = self.record_path(key).with_suffix(".npz")
        if not path.exists():
            return {}
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}

    def write(self, record: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        """Store a finished cell: arrays first, then the record that proves them."""
        path = self.record_path(record["key"])
        if path.exists():
            return
        if arrays:
            buffer = io.BytesIO()
            np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
            self._write(path.with_suffix(".npz"), buffer.getvalue())
        self._write(path, _dump(record))

    def set_aside(self, key: str) -> None:
        """Move a record and its arrays to ``stale/``, so that the cell runs again and nothing is lost."""
        folder = self.folder / "stale"
        folder.mkdir(exist_ok=True)
        number = len(list(folder.glob(f"{key}.*.json")))
        path = self.record_path(key)
        for source in (path, path.with_suffix(".npz")):
            if source.exists():
                source.rename(folder / f"{key}.{number}{source.suffix}")
        (self.folder / "index.parquet").unlink(missing_ok=True)

    def keep_environment(self, name: str, environment: Mapping[str, Any]) -> None:
        """Store an environment once, under its hash."""
        path = self.folder / "env" / f"{name}.json"
        if not path.exists():
            self._write(path, _dump(environment, indent=1))

    def environments(self) -> dict[str, dict[str, Any]]:
        """Every environment that made records here, by hash."""
        read = {path.stem: self._read(path, "python") for path in sorted(self.folder.glob("env/*.json"))}
        return {name: environment for name, environment in read.items() if environment is not None}

    # Failures --------------------------------------------------------------------------------------------

    def fail(self, key: str, kind: str, message: str, **details: Any) -> None:
        """Note a failed attempt: ``kind`` is error, crash, timeout or memory."""
        attempt = self.attempts(key) + 1
        failure = {
            "key": key,
            "attempt": attempt,
            "kind": kind,
            "message": message,
            "time": time.time(),
            **details,
        }
        self._write(self.folder / "failed" / f"{key}.{attempt}.json", _dump(failure, indent=1))
        self.event("failed", key, kind=kind)

    def attempts(self, key: str) -> int:
        """How many attempts at the cell have failed; what others did is not looked at, however much it is."""
        numbers = itertools.takewhile(lambda number: self._has_failed(key, number), itertools.count(1))
        return sum(1 for _ in numbers)

    def _has_failed(self, key: str, attempt: int) -> bool:
        name = f"{key}.{attempt}.json"
        return (self.folder / "failed" / name).exists() or (self.folder / "damaged" / name).exists()

    def failure(self, key: str) -> dict[str, Any] | None:
        """The last failure of a cell; None where there is none, or it is damaged."""
        return self._read(self.folder / "failed" / f"{key}.{self.attempts(key)}.json", "key")

    def failures(self) -> dict[str, dict[str, Any]]:
        """The last failure of every cell that is not done."""
        keys = {path.name.partition(".")[0] for path in self.folder.glob("failed/*.json")}
        last = {key: self.failure(key) for key in sorted(keys) if not self.has(key)}
        return {key: failure for key, failure in last.items() if failure is not None}

    # Events, progress, lock ------------------------------------------------------------------------------

    def event(self, what: str, key: str = "", **details: Any) -> None:
        """Append one line to ``events.jsonl``; small O_APPEND writes do not interleave."""
        line = _dump({"time": time.time(), "event": what, "key": key, "pid": os.getpid(), **details}) + b"\n"
        with _explained(self.folder):
            handle = os.open(self.folder / "events.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            try:
                os.write(handle, line)
            finally:
                os.close(handle)

    def events(self) -> list[dict[str, Any]]:
        """All transitions so far; a line cut short by a kill is left out."""
        events = []
        path = self.folder / "events.jsonl"
        for line in path.read_text().splitlines() if path.exists() else ():
            try:
                events.append(json.loads(line))
            except ValueError:
                continue
        return events

    def scratch(self, key: str) -> Path:
        """Folder of a running cell: its progress, and checkpoints that outlive a kill."""
        return self.folder / "scratch" / key

    @contextmanager
    def lock(self, shard: tuple[int, int] = (1, 1)) -> Iterator[None]:
        """Hold the lock of shard (i, n); a live driver that has cells in common refuses it by name.

        The lock is the kernel's, so a driver that died, however it died, has let go of it.
        """
        index, shards = shard
        with ExitStack() as held:
            with _explained(self.folder):
                self.folder.mkdir(parents=True, exist_ok=True)
                turn = held.enter_context(open(self.folder / "lock", "a"))
                own = held.enter_context(open(self.folder / f"lock.{index}of{shards}", "a+"))
                fcntl.flock(turn, fcntl.LOCK_EX)  # one driver at a time looks at the locks of the others
            for path in self.folder.glob("lock.*of*"):
                if _overlap(shard, path.suffix) and (holder := _holder(path)):
                    raise StoreError(
                        f"{self.folder} is being run by {holder}, which has cells in common with shard "
                        f"{index}/{shards}; wait for it, stop it, or give this run another --store or --shard."
                    )
            fcntl.flock(own, fcntl.LOCK_EX | fcntl.LOCK_NB)
            fcntl.flock(turn, fcntl.LOCK_UN)
            own.truncate(0)
            own.write(
                f"process {os.getpid()} on {socket.gethostname()} since {time.strftime('%F %T')} "
                f"(shard {index}/{shards})"
            )
            own.flush()
            yield

    # Index -----------------------------------------------------------------------------------------------

    def table(self) -> pd.DataFrame:
        """The long table: one row per (cell, number), parameters as columns.

        Kept in ``index.parquet`` and rebuilt whenever records came or went since.
        """
        import pandas as pd

        index = self.folder / "index.parquet"
        keys = self.done()
        if index.exists():
            try:
                table = pd.read_parquet(index)
                if set(table["key"].unique()) == keys:
                    return table
            except (OSError, ValueError, KeyError):
                logger.warning("%s is damaged and is built anew from the records.", index)
        table = pd.DataFrame([row for record in self.records() for row in _rows(record)])
        if len(table):
            buffer = io.BytesIO()
            table.to_parquet(buffer, index=False)
            with suppress(StoreError):  # a reader of someone else's store may have no right to write there
                self._write(index, buffer.getvalue())
        return table

    # Reading and writing ---------------------------------------------------------------------------------

    def _read(self, path: Path, field: str) -> dict[str, Any] | None:
        """The JSON object in a file, which has this field; None where it is missing, or damaged and set aside."""
        try:
            content = json.loads(path.read_bytes())
            if isinstance(content, dict) and field in content:
                return content
        except (FileNotFoundError, NotADirectoryError):
            return None
        except ValueError:
            pass
        aside = self.folder / "damaged" / path.name
        for number in itertools.count(1):
            if not aside.exists():
                break
            aside = aside.with_name(f"{path.name}.{number}")
        try:
            aside.parent.mkdir(exist_ok=True)
            path.rename(aside)
            (self.folder / "index.parquet").unlink(missing_ok=True)
        except OSError as error:
            logger.warning("%s is damaged, and cannot be moved away: %s.", path, error.strerror)
        else:
            logger.warning(
                "%s was damaged and is now %s; run the study again to make up for it.", path, aside
            )
        return None

    def _write(self, path: Path, content: bytes) -> None:
        """Replace a file at once or not at all, and see it on disk before returning."""
        with _explained(self.folder):
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = path.with_name(f"{path.name}.tmp.{socket.gethostname()}.{os.getpid()}")
            try:
                with open(temporary, "wb") as handle:
                    handle.write(content)
                    handle.flush()
                    os.fsync(handle.fileno())
                os.replace(temporary, path)
            except OSError:
                temporary.unlink(missing_ok=True)
                raise
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    """Turn the operating system's refusals into a reason and a way out."""
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"The store {folder} cannot be written: {error.strerror or error}. Nothing was overwritten and every "
            "finished cell is kept; free some space, mend the permissions or name another --store, and run again."
        ) from error


def _overlap(shard: tuple[int, int], suffix: str) -> bool:
    """Whether two shards share cells, whose hashes modulo the number of shards say where they belong.

    >>> _overlap((1, 2), ".2of4"), _overlap((1, 2), ".3of4"), _overlap((1, 2), ".1of3")
    (False, True, True)
    """
    index, shards = map(int, suffix.removeprefix(".").split("of"))
    return (index - shard[0]) % math.gcd(shards, shard[1]) == 0


def _holder(path: Path) -> str:
    """Who holds a lock file; empty if nobody does."""
    with open(path) as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return handle.read().strip() or "another driver"
    return ""


def _dump(value: Any, indent: int | None = None) -> bytes:
    """Strict JSON; what is not finite is stored as a string."""
    return json.dumps(_finite(value), indent=indent, allow_nan=False, default=str).encode()


def _finite(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not np.isfinite(value):
        return repr(value)
    if isinstance(value, Mapping):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return value


def _rows(record: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    shared = {
        name: record[name]
        for name in ("study", "version", "scale", "key", "world", "severity", "method", "role", "seed")
    }
    params = {**record["world_params"], **record["method_params"]}
    # A column holds one type: lists and objects become their canonical text.
    columns = {k: canonical_json(v) if isinstance(v, list | dict) else v for k, v in params.items()}
    for number, value in record["values"].items():
        measure, _, factors = number.partition(" ")
        levels = json.loads(factors) if factors else {}
        yield {**shared, **columns, **levels, "measure": measure, "value": float(value)}


def number_name(measure: str, factors: Mapping[str, Any]) -> str:
    """What a record calls a number: the measure's name, and the levels of its factors where it has any."""
    return f"{measure} {canonical_json(dict(factors))}" if factors else measure
