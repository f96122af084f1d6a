"""Rows to fit a flow to, whatever holds them: arrays, tables, files, data sets of images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from groundshift.errors import InputError
from groundshift.generation.wcfm.diagnosis import as_rows
from groundshift.pictures import read_picture
from groundshift.tables import numeric, open_arrays, plain_array, read_table

__all__ = ["Integers", "pop_labels", "read_rows", "rounded"]

Array = NDArray[np.float64]
Integers = dict[str, str] | str | None
"""The type of each column of integers of a table, or of a whole array."""


def read_rows(values: Any, name: str) -> tuple[Array, list[str] | None, Integers]:
    """An array (n, ...) of finite numbers, the names of its columns if it was a table, and what of it are integers."""
    if isinstance(values, str | Path):
        values, _ = open_arrays(values, None)
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


def _images(dataset: Any) -> Array:
    """The image column of a `datasets.Dataset`, (n, channels, height, width) from -1 to 1."""
    (column,) = (k for k, f in dataset.features.items() if type(f).__name__ == "Image")
    pictures = [np.asarray(read_picture(picture, "auto"), dtype=float) for picture in dataset[column]]
    if len({p.shape for p in pictures}) > 1:
        raise InputError(f"Images of column {column!r} differ in size or channels; make them alike first.")
    stacked = np.stack(pictures) / 127.5 - 1
    return stacked[:, None] if stacked.ndim == 3 else stacked.transpose(0, 3, 1, 2)


def pop_labels(values: Any, name: str) -> tuple[Any, Any]:
    """A table without its column of labels, and that column."""
    if isinstance(values, str | Path) and Path(values).suffix in (".npy", ".npz"):
        return open_arrays(values, name)
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
