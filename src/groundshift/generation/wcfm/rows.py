"""Rows to fit a flow to, whatever holds them: arrays, tables, files, data sets of images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import Tensor

from groundshift.errors import InputError
from groundshift.models.table_code import Missing, TableCode
from groundshift.pictures import read_picture
from groundshift.tables import numeric, open_arrays, plain_array, read_table

__all__ = [
    "Integers",
    "as_rows",
    "drop_columns",
    "pop_labels",
    "read_labels",
    "read_rows",
    "read_source",
    "read_target",
    "rounded",
]

Array = NDArray[np.float64]
Integers = dict[str, str] | str | None
"""The type of each column of integers of a table, or of a whole array."""


def read_target(
    values: Any, missing: Missing, rng: np.random.RandomState
) -> tuple[Array, list[str] | None, Integers, TableCode | None]:
    """As `read_rows`; a table with categories, dates or missing values as points of its code, and that code."""
    code = _table_code(values, missing)
    return (
        (*read_rows(values, "target"), None)
        if code is None
        else (code.encode(values, rng), code.names, None, code)
    )


def read_source(values: Any, code: TableCode | None, rng: np.random.RandomState) -> Array:
    """Rows to start from, in the code of the target."""
    return read_rows(values, "source")[0] if code is None else code.encode(values, rng)


def _table_code(values: Any, missing: Missing) -> TableCode | None:
    """None of a table of numbers alone, and of arrays."""
    array = isinstance(values, np.ndarray | Tensor | Sequence) and not isinstance(values, str)
    if array or hasattr(values, "features") or Path(str(values)).suffix in (".npy", ".npz"):
        return None
    frame = read_table(values)
    numbers = all(pd.api.types.is_numeric_dtype(frame[name]) for name in frame)
    return None if numbers and not frame.isna().any(axis=None) else TableCode.of(frame, missing)


def read_rows(values: Any, name: str) -> tuple[Array, list[str] | None, Integers]:
    """An array (n, ...) of finite numbers, the names of its columns if it was a table, and what of it are integers."""
    if isinstance(values, str | Path):
        values, _ = open_arrays(values, None, ndim=None)
    if hasattr(values, "features") and any(type(f).__name__ == "Image" for f in values.features.values()):
        return _images(values), None, None
    if isinstance(values, np.ndarray | Tensor | Sequence) and not isinstance(values, str):
        array = plain_array(values)
        return as_rows(array, name), None, str(array.dtype) if array.dtype.kind in "iu" else None
    frame = read_table(values)
    rows = as_rows(numeric(frame), name)
    # By content, not by how they are stored: a file may hold counts as 3.0.
    whole = [(str(c), frame[c].dtype) for c, v in zip(frame, rows.T, strict=True) if (v == np.round(v)).all()]
    return (
        rows,
        [str(c) for c in frame],
        {c: str(t).lower() if t.kind in "iub" else "int64" for c, t in whole},
    )


def as_rows(values: Any, name: str) -> Array:
    """An array (n, ...) of finite float64, from numpy or torch."""
    array = plain_array(values)
    if array.ndim < 2 or len(array) < 2 or array.dtype.kind not in "biuf":
        raise InputError(
            f"The {name} is of type {array.dtype} and shape {array.shape}; numbers (rows, ...) are needed, 2 rows or "
            "more."
        )
    array = array.astype(float)
    bad = np.flatnonzero(~np.isfinite(array.reshape(len(array), -1)).all(1))
    if len(bad):
        shown = ", ".join(map(str, bad[:8])) + (", ..." if len(bad) > 8 else "")
        raise InputError(
            f"{len(bad)} of {len(array)} rows of the {name} hold missing or infinite values: {shown}. Fill them, or "
            "leave those rows out."
        )
    return array


def read_labels(labels: Any, n: int) -> NDArray[Any]:
    """A class for each of n rows, none of them missing."""
    if len(labels) != n:
        raise InputError(f"{len(labels)} labels were given for {n} rows; give one per row.")
    if pd.isna(pd.Series(plain_array(labels))).any():
        raise InputError("Some labels are missing; leave those rows out.")
    return plain_array(labels)


def _images(dataset: Any) -> Array:
    """The image column of a `datasets.Dataset`, (n, channels, height, width) from -1 to 1."""
    (column,) = (k for k, f in dataset.features.items() if type(f).__name__ == "Image")
    pictures = [np.asarray(read_picture(picture, "auto"), dtype=float) for picture in dataset[column]]
    if len({p.shape for p in pictures}) > 1:
        raise InputError(f"Images of column {column!r} differ in size or channels; make them alike first.")
    stacked = np.stack(pictures) / 127.5 - 1
    return stacked[:, None] if stacked.ndim == 3 else stacked.transpose(0, 3, 1, 2)


def drop_columns(values: Any, names: Sequence[str]) -> Any:
    """A table without columns of these names; anything else, where there are none, as it is."""
    if not names:
        return values
    frame = read_table(values)
    unknown = [name for name in names if name not in frame.columns]
    if unknown:
        raise InputError(
            f"There is no column {unknown[0]!r} to drop; the columns are {', '.join(map(str, frame.columns))}."
        )
    return frame.drop(columns=list(names))


def pop_labels(values: Any, name: str) -> tuple[Any, Any]:
    """A table without its column of labels, and that column."""
    if isinstance(values, str | Path) and Path(values).suffix in (".npy", ".npz"):
        return open_arrays(values, name, ndim=None)
    if hasattr(values, "features"):
        return values.remove_columns(name), np.asarray(values[name])
    frame = read_table(values)
    if name not in frame.columns:
        raise InputError(
            f"There is no column {name!r}; the columns are {', '.join(map(str, frame.columns[:20]))}."
        )
    return frame.drop(columns=name), frame[name].to_numpy()


def rounded(values: Array, kind: str) -> Any:
    """Numbers as the nearest ones of a type of integers (or of bool), within its limits.

    >>> rounded(np.array([0.4, 300.0]), "uint8").tolist()
    [0, 255]
    """
    if kind.startswith("bool"):
        return values > 0.5
    limits = np.iinfo(kind)
    # Integers up to 2^53 are exact in float64, and its largest one would overflow int64.
    low, high = max(limits.min, -(2**53)), min(limits.max, 2**53)
    return np.clip(np.round(values), low, high).astype(kind)
