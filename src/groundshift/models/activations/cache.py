"""Arrays with a part per row, in memory or as a folder of memory maps that a killed run can go on with."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from groundshift.errors import InputError
from groundshift.models.records import read_json
from groundshift.tables.arrays import load_arrays

__all__ = ["Acts", "BySite", "Layout", "Store", "merge", "open_acts"]

META, PROGRESS, WHOLE = "meta.json", "progress.json", "whole"
TOGETHER = 1024  # rows of a shard that are merged at once


@dataclass(frozen=True)
class Layout:
    """How an array is laid out.

    Attributes
    ----------
    counts : entries of every row, int64 (N,)
    tail : shape of an entry; (D,) for states
    dtype : as numpy names it
    one : every row has one entry by nature, so the array is (N, *tail)
    group : "states" or "tokens": arrays of one group share their offsets
    """

    counts: NDArray[np.int64]
    tail: tuple[int, ...]
    dtype: str
    one: bool
    group: str

    @property
    def offsets(self) -> NDArray[np.int64]:
        return np.concatenate([[0], np.cumsum(self.counts)]).astype(np.int64)

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, *tail), (N, P, *tail) where every row has P entries, else (sum of entries, *tail)."""
        n = len(self.counts)
        if self.one:
            return (n, *self.tail)
        if n and (self.counts == self.counts[0]).all():
            return (n, int(self.counts[0]), *self.tail)
        return (int(self.counts.sum()), *self.tail)


T = TypeVar("T")


class BySite(dict[str, T]):
    """What is kept by the name of a site, in which a block may be counted from the end.

    >>> BySite({"resid_post.0": "first", "resid_post.11": "last"}, blocks=12)["resid_post.-1"]
    'last'
    """

    def __init__(self, items: Mapping[str, T], blocks: int | None) -> None:
        super().__init__(items)
        self.blocks = blocks

    def __missing__(self, site: str) -> T:
        kind, _, number = site.rpartition(".")
        if self.blocks and re.fullmatch(r"-\d+", number):
            counted = f"{kind}.{self.blocks + int(number)}"
            if counted in self:
                return self[counted]
        raise KeyError(site)


@dataclass
class Acts(Mapping[str, NDArray[Any]]):
    """What `capture` found: ``acts[site]``, read as a memory map where it lies in a folder. A block of a site is
    counted from 0, or from the end if negative.

    Attributes
    ----------
    arrays : by site: (N, D) with one position per row by nature, (N, P, D) where every row has P, else flat (M, D)
    offsets : by site: row k has the entries offsets[k] to offsets[k + 1], int64 (N + 1,)
    rows : numbers of the rows that are there, int64 (N,)
    dropped : number of a row that is not → why
    meta : what was run
    """

    arrays: dict[str, NDArray[Any]]
    offsets: dict[str, NDArray[np.int64]]
    rows: NDArray[np.int64]
    dropped: dict[int, str]
    meta: dict[str, Any] = field(repr=False)

    def __post_init__(self) -> None:
        blocks = self.meta.get("blocks")
        self.arrays, self.offsets = BySite(self.arrays, blocks), BySite(self.offsets, blocks)
        self._tail: BySite[int] = BySite(self.meta.get("tail", {}), blocks)

    def __getitem__(self, site: str) -> NDArray[Any]:
        try:
            return self.arrays[site]
        except KeyError:
            raise InputError(
                f"There are no states of {site!r}; there are {', '.join(self.arrays)}."
            ) from None

    def __contains__(self, site: object) -> bool:
        try:
            return self.arrays[str(site)] is not None
        except KeyError:
            return False

    def __iter__(self) -> Iterator[str]:
        return iter(self.arrays)

    def __len__(self) -> int:
        return len(self.arrays)

    def flat(self, site: str) -> NDArray[Any]:
        """All entries, one after the other, (M, D); a view."""
        array = self[site]
        return array.reshape(-1, *array.shape[array.ndim - self._tail[site] :])

    def row(self, site: str, k: int) -> NDArray[Any]:
        """Entries of the k-th row that is there, (n, D)."""
        low, high = self.offsets[site][k : k + 2]
        return self.flat(site)[low:high]

    def totals(self, site: str) -> NDArray[np.float64]:
        """Sum of every row's entries, (N, *tail): of ``logprob``, the log-probability of each completion."""
        return np.array([self.row(site, k).sum(0, dtype=np.float64) for k in range(len(self.rows))])

    def chunks(self, site: str, size: int = 4096) -> Iterator[NDArray[np.float64]]:
        """All entries as float64, at most ``size`` at a time."""
        flat = self.flat(site)
        for low in range(0, len(flat), size):
            yield np.asarray(flat[low : low + size], np.float64)

    def top(
        self, site: str, direction: NDArray[Any], k: int
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """The k largest products with a direction, largest first, and which entries of `flat` they are."""
        best, where, low = np.empty(0), np.empty(0, np.int64), 0
        for x in self.chunks(site):
            best = np.concatenate([best, x @ direction])
            where = np.concatenate([where, np.arange(low, low + len(x))])
            low += len(x)
            largest = np.argsort(-best, kind="stable")[:k]
            best, where = best[largest], where[largest]
        return best, where


class Store:
    """Arrays that are filled batch by batch; with ``out``, in a folder that says how far it is.

    Raises
    ------
    InputError
        A folder with something else in it, or with the arrays of another run: what differs is named.
    """

    def __init__(
        self,
        layouts: Mapping[str, Layout],
        rows: NDArray[np.int64],
        dropped: Mapping[int, str],
        meta: Mapping[str, Any],
        out: str | Path | None = None,
    ) -> None:
        self.layouts, self.rows, self.dropped = dict(layouts), rows, dict(dropped)
        self.meta, self.out, self.done = dict(meta), None if out is None else Path(out), 0
        if self.out is None:
            self.arrays = {name: np.empty(lay.shape, lay.dtype) for name, lay in self.layouts.items()}
        else:
            self.arrays = self._open(self.out)
        self._flat = {
            name: array.reshape(-1, *self.layouts[name].tail) for name, array in self.arrays.items()
        }

    def _open(self, out: Path) -> dict[str, NDArray[Any]]:
        if (out / META).is_file():
            _refuse_other(out, self.meta)
            if (out / PROGRESS).is_file():
                self.done = _rows_done(out)
                mode: Literal["r", "r+"] = "r" if self.done == len(self.rows) else "r+"
                return {name: load_arrays(out / f"{name}.npy", mode) for name in self.layouts}
        elif out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise InputError(f"{out} exists and is kept: it is no folder of activations. Name another.")
        out.mkdir(parents=True, exist_ok=True)
        _write(out / META, {**self.meta, "dropped": {str(k): v for k, v in self.dropped.items()}})
        np.save(out / "rows.npy", self.rows)
        arrays: dict[str, NDArray[Any]] = {}
        for name, lay in self.layouts.items():
            np.save(out / _offsets_file(lay.group), lay.offsets)
            file = out / f"{name}.npy"
            if 0 in lay.shape:
                np.save(file, np.empty(lay.shape, lay.dtype))
                arrays[name] = np.load(file)
            else:
                arrays[name] = np.lib.format.open_memmap(file, "w+", np.dtype(lay.dtype), lay.shape)
        _write(out / PROGRESS, {"rows_done": 0})
        return arrays

    def put(self, batch: list[int], arrays: Mapping[str, NDArray[Any]]) -> None:
        """The entries of the rows in ``batch`` (places in ``rows``), one after the other; then note the progress."""
        for name, values in arrays.items():
            lay, start = self.layouts[name], self.layouts[name].offsets
            where = np.concatenate([np.arange(start[k], start[k] + lay.counts[k]) for k in batch])
            self._flat[name][where] = values
        self.done += len(batch)
        if self.out is not None:
            for array in self.arrays.values():
                if isinstance(array, np.memmap):
                    array.flush()
            _write(self.out / PROGRESS, {"rows_done": self.done})

    def acts(self) -> Acts:
        if self.out is not None:
            return open_acts(self.out)
        offsets = {name: lay.offsets for name, lay in self.layouts.items()}
        return Acts(self.arrays, offsets, self.rows, self.dropped, self.meta)


def open_acts(folder: str | Path) -> Acts:
    """Read what `capture` wrote to a folder; the arrays are memory maps.

    Raises
    ------
    InputError
        No such folder, one that is not finished, or whose files are damaged or do not fit each other.
    """
    out = Path(folder)
    if (out / WHOLE / META).is_file():
        out = out / WHOLE
    if not (out / META).is_file() or not (out / PROGRESS).is_file():
        raise InputError(
            f"{out} is no folder of activations; give one written by `groundshift activations capture`."
        )
    meta = _meta(out / META)
    rows, done = _numbers(out / "rows.npy"), _rows_done(out)
    if done < len(rows):
        raise InputError(f"{out} holds {done} of {len(rows)} rows; run the same capture again to go on.")
    arrays, offsets = {}, {}
    for name, group in meta["arrays"].items():
        file = out / f"{name}.npy"
        if not file.is_file():
            raise InputError(f"There is no file {file}, which {META} names; run the capture again.")
        arrays[name] = load_arrays(file, "r" if file.stat().st_size > 256 else None)
        offsets[name] = _numbers(out / _offsets_file(group))
        _check_fit(file, arrays[name], offsets[name], len(rows), meta["tail"][name])
    dropped = {int(k): v for k, v in meta.pop("dropped").items()}
    return Acts(arrays, offsets, rows, dropped, meta)


def _rows_done(out: Path) -> int:
    done = read_json(out / PROGRESS).get("rows_done")
    if not isinstance(done, int):
        raise InputError(f"{out / PROGRESS} does not say how many rows are done; run the capture again.")
    return done


def _meta(file: Path) -> dict[str, Any]:
    """What was captured; the names of the arrays are names of files in the folder."""
    meta = read_json(file)
    arrays, tail, dropped = (meta.get(name) for name in ("arrays", "tail", "dropped"))
    if not (
        isinstance(arrays, dict)
        and all(
            re.fullmatch(r"[\w.-]+", name) and group in ("states", "tokens") for name, group in arrays.items()
        )
        and isinstance(tail, dict)
        and all(isinstance(tail.get(name), int) for name in arrays)
        and isinstance(dropped, dict)
        and all(number.isdecimal() for number in dropped)
        and isinstance(meta.get("blocks"), int | None)
    ):
        raise InputError(
            f"{file} does not say what was captured as `groundshift activations capture` writes it."
        )
    return meta


def _numbers(file: Path) -> NDArray[np.int64]:
    held = load_arrays(file)
    if held.ndim != 1 or held.dtype.kind not in "iu":
        raise InputError(
            f"{file} holds {held.dtype} of shape {held.shape}; a list of whole numbers is needed."
        )
    return held.astype(np.int64)


def _check_fit(file: Path, array: NDArray[Any], offsets: NDArray[np.int64], rows: int, tail: int) -> None:
    entries = int(np.prod(array.shape[: array.ndim - tail])) if 0 <= tail < array.ndim else -1
    fit = (
        len(offsets) == rows + 1
        and offsets[0] == 0
        and offsets[-1] == entries
        and (np.diff(offsets) >= 0).all()
    )
    if not fit or array.dtype.kind not in "iuf":
        raise InputError(
            f"{file} holds {array.dtype} of shape {array.shape}, which does not fit the folder's {rows} rows and their "
            "offsets; run the capture again."
        )


def merge(out: str | Path, shards: int) -> Acts:
    """Put the folders ``shard-0``, ``shard-1``, ... in ``out`` together, in the order of the rows, in ``out/whole``.

    Raises
    ------
    InputError
        A shard that is missing or not finished.
    """
    folder = Path(out)
    parts = [open_acts(folder / f"shard-{r}") for r in range(shards)]
    rows = np.concatenate([part.rows for part in parts])
    order = np.argsort(rows)
    dropped = {k: v for part in parts for k, v in part.dropped.items()}
    layouts = {}
    for name, group in parts[0].meta["arrays"].items():
        counts = np.concatenate([np.diff(part.offsets[name]) for part in parts])[order]
        array = parts[0].flat(name)
        layouts[name] = Layout(counts, array.shape[1:], array.dtype.name, name in parts[0].meta["one"], group)
    meta = {k: v for k, v in parts[0].meta.items() if k != "shard"}
    place = np.empty(len(rows), np.int64)
    place[order] = np.arange(len(rows))
    # The folder holds the shards already, so the whole is made beside them and not refused.
    whole = Store(layouts, rows[order], dropped, meta, folder / WHOLE)
    first = 0
    for part in parts:
        for low in range(0, len(part.rows), TOGETHER):
            high = min(low + TOGETHER, len(part.rows))
            if whole.done < first + high:  # else merged before
                entries = {n: part.flat(n)[part.offsets[n][low] : part.offsets[n][high]] for n in layouts}
                whole.put([int(k) for k in place[first + low : first + high]], entries)
        first += len(part.rows)
    return whole.acts()


def _offsets_file(group: str) -> str:
    return "offsets.npy" if group == "states" else f"{group}.offsets.npy"


def _refuse_other(out: Path, meta: Mapping[str, Any]) -> None:
    there = read_json(out / META)
    there.pop("dropped", None)
    now = json.loads(json.dumps(meta))
    differ = sorted(k for k in there.keys() | now.keys() if there.get(k) != now.get(k))
    if differ:
        raise InputError(
            f"{out} holds activations of another run (other: {', '.join(differ)}). Name another folder."
        )


def _write(file: Path, data: Any) -> None:
    """Write JSON so that a kill leaves the old file or the new one."""
    fresh = file.with_name(f"{file.name}.tmp")
    fresh.write_text(json.dumps(data, indent=1) + "\n")
    os.replace(fresh, file)
