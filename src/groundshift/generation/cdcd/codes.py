"""Codes and conditions, whatever holds them: arrays, files of arrays, tables and texts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from groundshift.errors import InputError
from groundshift.generation.cdcd.negatives import Codes
from groundshift.tables import open_arrays, plain_array, read_table

__all__ = ["read_condition", "read_tokens"]


def read_tokens(tokens: ArrayLike | Sequence[Any] | str | Path) -> Codes:
    """Codes (n, L) as int64, of an array or a .npy file.

    Raises
    ------
    InputError
        Other types than integers, another shape, negative codes, a file without an array.

    Examples
    --------
    >>> read_tokens([[0.5]])
    Traceback (most recent call last):
    groundshift.errors.InputError: Tokens of type float64 and shape (1, 1) were given; integers (n, L) are needed.
    """
    values = plain_array(_array(Path(tokens)) if isinstance(tokens, str | Path) else tokens)
    if values.ndim != 2 or values.dtype.kind not in "iu" or 0 in values.shape:
        raise InputError(
            f"Tokens of type {values.dtype} and shape {values.shape} were given; integers (n, L) are needed."
        )
    if values.min() < 0:
        raise InputError(f"A code of {values.min()} was given; codes are 0, 1, 2, ….")
    return values.astype(np.int64)


def read_condition(condition: Any) -> Any:
    """Rows of a .npy file, texts of a .txt file, labels of a table with one column; anything else as it is.

    Raises
    ------
    InputError
        A file that is none of these.
    """
    if not isinstance(condition, str | Path):
        return condition
    path = Path(condition)
    if path.suffix == ".npy":
        return _array(path)
    if path.suffix == ".txt":
        if not path.is_file():
            raise InputError(f"{path} is no file; give a text per line.")
        return path.read_text(encoding="utf-8").splitlines()
    frame = read_table(path)
    if frame.shape[1] != 1:
        raise InputError(
            f"{path} has the columns {', '.join(map(str, frame.columns))}; one column is needed."
        )
    return frame.iloc[:, 0].to_numpy()


def _array(path: Path) -> Any:
    if path.suffix != ".npy" or not path.is_file():
        raise InputError(f"{path} is no .npy file; save the array with numpy.save.")
    return open_arrays(path, None, ndim=None)[0]
