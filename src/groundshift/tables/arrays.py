"""Rows observed under conditions, as arrays: the observed condition of each row, numbers, embeddings, images."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from groundshift.errors import InputError
from groundshift.tables.files import find_column, some
from groundshift.tables.kinds import Reading, cells_of, read_table, typed
from groundshift.writing import new_file

__all__ = [
    "load_arrays",
    "numeric",
    "open_arrays",
    "refuse_unlabelled",
    "row_labels",
    "split_domain",
    "write_csv",
    "write_table",
]


FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a cell begins with that a spreadsheet reads as a formula."""
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s?%?|[+-]?inf")
PLAIN = "biufcmMU"
"""Kinds of numpy's dtypes whose values are numbers, dates and texts."""


def split_domain(
    source: Any, domain: Any, reading: Reading | None = None
) -> tuple[pd.DataFrame, pd.Series[Any]]:
    """Split a table into its features and the observed condition of each row.

    Parameters
    ----------
    source : anything `groundshift.tables.open_table` takes
    domain : name of a column, or of a pandas frame's index, or one label per row, shape (rows,)
    reading : what the user says of how the table is read

    Returns
    -------
    features, domain
        Both with a fresh index 0, 1, ...; words that are dates or periods become dates, or categories in order of time.

    Raises
    ------
    InputError
        No such column, another number of labels than rows, missing labels, dates whose day and month cannot be told
        apart.

    Examples
    --------
    >>> table = pd.DataFrame({"a": [1, 2], "b": [3, 4], "site": ["u", "v"]})
    >>> features, site = split_domain(table, "site")
    >>> features.columns.tolist(), site.tolist()
    (['a', 'b'], ['u', 'v'])
    """
    if domain is None:
        raise InputError("No domain was given; name the column that holds it, or give one label per row.")
    if isinstance(source, pd.DataFrame):  # an index is no feature, but may be the domain
        if isinstance(domain, str) and domain not in source.columns and domain in source.index.names:
            source = source.reset_index(domain)
        source = source.reset_index(drop=True)
    frame = read_table(source, reading)
    if len(frame) == 0:
        raise InputError(f"The table has no rows (columns: {some(frame.columns)}).")
    if isinstance(domain, str):
        labels = frame.pop(find_column(domain, frame.columns))
    else:
        labels = row_labels(domain, len(frame))
    refuse_unlabelled(labels, "domain")
    return frame, _in_time(labels, reading)


def row_labels(domain: Any, rows: int) -> pd.Series[Any]:
    """One label per row as a column, under the name that it brings or "domain".

    Raises
    ------
    InputError
        Another number of labels than rows.
    """
    name = str(getattr(domain, "name", None) or "domain")
    with cells_of(name):
        given = pd.Series(np.asarray(domain).reshape(-1))
        given.isna()  # fails of what is no value
    labels = read_table(pd.DataFrame({name: given}))[name]
    if len(labels) != rows:
        raise InputError(f"{len(labels)} domain labels were given for {rows} rows; give one per row.")
    return labels


def refuse_unlabelled(labels: pd.Series[Any], what: str) -> None:
    """Raise `InputError` if rows have no label."""
    if labels.isna().any():
        raise InputError(
            f"{int(labels.isna().sum())} of {len(labels)} rows have no {what} (first: row "
            f"{int(np.flatnonzero(labels.isna())[0])}). Leave those rows out."
        )


def _in_time(labels: pd.Series[Any], reading: Reading | None) -> pd.Series[Any]:
    """Words that are dates or periods, so that they have their order; all other labels as they are."""
    if (
        not len(labels)
        or pd.api.types.is_numeric_dtype(labels)
        or isinstance(labels.dtype, pd.CategoricalDtype)
    ):
        return labels
    name = str(labels.name)
    reading_of_values = None if reading is None else replace(reading, kinds={})
    table = typed(pd.DataFrame({name: labels}), reading_of_values)
    return table.times(name) if table[name].kind in ("date", "period") else labels


def open_arrays(X: Any, domain: Any, *, target: str | None = None, ndim: int | None = 2) -> tuple[Any, Any]:
    """The arrays behind a .npy or .npz file of embeddings; anything else as it is.

    Parameters
    ----------
    X : path of a .npy file with one array (rows, columns), or of a .npz file with exactly one such array
    domain : one label per row, or the name of the .npz file's array of labels
    target : name of the .npz file's array of targets, which becomes a column beside x1, x2, ...
    ndim : dimensions that the array of a .npy file must have; None for any, such as images

    Raises
    ------
    InputError
        No plain arrays, several tables, no array of that name.
    """
    if not isinstance(X, str | Path) or Path(X).suffix not in (".npy", ".npz"):
        return X, domain
    loaded = load_arrays(Path(X))
    if isinstance(loaded, np.ndarray):
        named = next((name for name in (domain, target) if isinstance(name, str)), None)
        if named is not None:
            raise InputError(
                f"{X} holds one array and no column {named!r}; give one label per row, or a .npz file."
            )
        if ndim is not None and loaded.ndim != ndim:
            raise InputError(f"{X} holds an array of shape {loaded.shape}; (rows, columns) is needed.")
        return loaded, domain
    arrays = loaded
    tables = [name for name, array in arrays.items() if array.ndim == 2]
    if len(tables) != 1:
        raise InputError(
            f"{X} holds {len(tables)} arrays of shape (rows, columns) (all: {', '.join(arrays)}); one is needed."
        )
    rows = arrays[tables[0]]
    if isinstance(domain, str):
        domain = pd.Series(_of_rows(arrays, domain, len(rows), X), name=domain)
    if target is None:
        return rows, domain
    frame = pd.DataFrame(rows, columns=[f"x{j + 1}" for j in range(rows.shape[1])])
    return frame.assign(**{target: _of_rows(arrays, target, len(rows), X)}), domain


def load_arrays(path: Path, mapped: Literal["r", "r+"] | None = None) -> Any:
    """The array of a .npy file, or the arrays of a .npz file by their names; nothing that is pickled.

    Parameters
    ----------
    mapped : the array of a .npy file stays on disk, to be read or also written there

    Raises
    ------
    InputError
        A file that is cut, damaged, or says that it holds more than it does; objects, records and arrays of bytes.
    """
    try:
        loaded = np.load(path, mmap_mode=mapped, allow_pickle=False)
        arrays = {"": loaded} if isinstance(loaded, np.ndarray) else {n: loaded[n] for n in loaded.files}
    except FileNotFoundError as error:
        raise InputError(f"There is no file {path}.") from error
    except (
        Exception
    ) as error:  # headers are literals of Python, archives have codecs of their own: many ways to fail
        what = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(f"{path} holds no plain arrays that can be read ({what}); save numbers.") from error
    odd = [name for name, array in arrays.items() if not _is_plain(array)]
    if odd:
        raise InputError(
            f"{path} holds what is no array of numbers, dates or texts{_called(odd)}; save numbers."
        )
    return arrays[""] if isinstance(loaded, np.ndarray) else arrays


def _is_plain(array: Any) -> bool:
    """Whether this is an array whose values are numbers, dates, or texts of characters that there are."""
    if not isinstance(array, np.ndarray) or array.dtype.kind not in PLAIN:
        return False
    if array.dtype.kind != "U":
        return True
    codes = np.frombuffer(array.tobytes(), np.dtype("u4").newbyteorder(array.dtype.byteorder))
    return bool(((codes < 0xD800) | ((codes > 0xDFFF) & (codes < 0x110000))).all())


def _called(names: list[str]) -> str:
    return f" ({some(names)})" if any(names) else ""


def _of_rows(arrays: dict[str, Any], name: str, rows: int, path: Any) -> Any:
    if name not in arrays:
        raise InputError(f"{path} holds no array {name!r}; it holds {', '.join(arrays)}.")
    if arrays[name].shape != (rows,):
        raise InputError(
            f"The array {name!r} of {path} has shape {arrays[name].shape}; ({rows},) is needed, one value per row."
        )
    return arrays[name]


def numeric(frame: pd.DataFrame) -> NDArray[np.float64]:
    """The values of a frame as float64 (rows, n), where every column must hold finite numbers.

    Raises
    ------
    InputError
        Columns of text, missing or infinite values; columns and first rows are named.
    """
    numbers = frame.apply(_coerced)
    text = [str(name) for name in frame if (numbers[name].isna() & frame[name].notna()).any()]
    if text:
        raise InputError(f"Columns that hold no numbers: {some(text)}. Leave them out, or encode them.")
    values = numbers.to_numpy(dtype=float, na_value=np.nan)
    bad = ~np.isfinite(values)
    if bad.any():
        rows = np.flatnonzero(bad.any(axis=1))
        raise InputError(
            f"{len(rows)} of {len(values)} rows hold missing or infinite values (columns "
            f"{some([str(c) for c in frame.columns[bad.any(axis=0)]])}; first at row {rows[0]}). Fill them, or "
            "leave those rows out."
        )
    return values


def _coerced(column: pd.Series[Any]) -> pd.Series[Any]:
    """Numbers, missing where a value is none; dates and complex numbers are none."""
    kind = getattr(column.dtype, "kind", "O")
    if kind in "cmM" or isinstance(column.dtype, pd.CategoricalDtype):
        return pd.Series(np.nan, index=column.index)
    return pd.to_numeric(column, errors="coerce")


def plain_array(values: Any) -> NDArray[Any]:
    """An array of what may be a torch tensor of any device or dtype, or a list of them.

    numpy has no bfloat16, and floating-point tensors come as float64.

    >>> plain_array([1, 2]).tolist()
    [1, 2]
    """
    if isinstance(values, list | tuple) and any(hasattr(value, "detach") for value in values):
        return np.stack([plain_array(value) for value in values])
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        values = (values.double() if values.is_floating_point() else values).numpy()
    return np.asarray(values)


def write_table(frame: pd.DataFrame, path: str | Path, *, formulas: bool | None = None) -> None:
    """Write a table as .csv or .parquet to a file that is not there yet.

    Parameters
    ----------
    formulas : see `write_csv`

    Raises
    ------
    InputError
        Another ending, or a file that would be overwritten.
    """
    path = Path(path)
    if path.suffix not in (".csv", ".parquet"):
        raise InputError(f"{path} was given; tables are written as .csv or .parquet.")
    with new_file(path) as draft:
        if path.suffix == ".csv":
            write_csv(frame, draft, formulas=formulas)
        else:
            frame.to_parquet(draft, index=False)


def write_csv(
    frame: pd.DataFrame | pd.Series[Any],
    path: str | Path,
    *,
    index: bool = False,
    index_label: str | None = None,
    formulas: bool | None = None,
) -> None:
    """Write a CSV file whose texts no spreadsheet takes for formulas.

    A text, name of a column or label of a row that begins with = + - @, a tab or a carriage return gets an apostrophe
    in front; numbers stay numbers, also where they are kept as text.

    Parameters
    ----------
    index, index_label : as of pandas' ``to_csv``
    formulas : write every text as it is; if left out, that is done where the environment variable
        ``GROUNDSHIFT_CSV_FORMULAS`` is 1

    Examples
    --------
    >>> import io
    >>> write_csv(pd.DataFrame({"=a": ["=1+1", "-1.5", "plain"]}), out := io.StringIO())
    >>> out.getvalue().split()
    ["'=a", "'=1+1", '-1.5', 'plain']
    """
    table = frame.to_frame() if isinstance(frame, pd.Series) else frame
    if not (os.environ.get("GROUNDSHIFT_CSV_FORMULAS") == "1" if formulas is None else formulas):
        table = table.copy(deep=False)
        for k, (_, column) in enumerate(list(table.items())):
            if not pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_datetime64_any_dtype(column):
                table.isetitem(k, pd.Series([_inert(v) for v in column], dtype=object).array)
        table.columns = table.columns.map(_inert)
        if index:
            table.index = table.index.map(_inert).set_names([_inert(name) for name in table.index.names])
    table.to_csv(path, index=index, index_label=index_label)


def _inert(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(map(_inert, value))
    formula = isinstance(value, str) and value[:1] in FORMULA and not NUMBER.fullmatch(value)
    return f"'{value}" if formula else value
