"""Rows observed under conditions, as arrays: the observed condition of each row, numbers, embeddings, images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from groundshift.errors import InputError
from groundshift.tables.files import find_column, some
from groundshift.tables.kinds import Reading, read_table, typed

__all__ = [
    "numeric",
    "open_arrays",
    "read_images",
    "refuse_filled",
    "refuse_overwriting",
    "refuse_unlabelled",
    "row_labels",
    "split_domain",
    "write_table",
]


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
    labels = read_table(pd.DataFrame({name: pd.Series(np.asarray(domain).reshape(-1))}))[name]
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
    said = None if reading is None else replace(reading, kinds={})
    table = typed(pd.DataFrame({name: labels}), said)
    return table.times(name) if table[name].kind in ("date", "period") else labels


def open_arrays(X: Any, domain: Any, *, target: str | None = None) -> tuple[Any, Any]:
    """The arrays behind a .npy or .npz file of embeddings; anything else as it is.

    Parameters
    ----------
    X : path of a .npy file with one array (rows, columns), or of a .npz file with exactly one such array
    domain : one label per row, or the name of the .npz file's array of labels
    target : name of the .npz file's array of targets, which becomes a column beside x1, x2, ...

    Raises
    ------
    InputError
        No plain arrays, several tables, no array of that name.
    """
    if not isinstance(X, str | Path) or Path(X).suffix not in (".npy", ".npz") or not Path(X).is_file():
        return X, domain
    try:
        loaded = np.load(X, allow_pickle=False)
        arrays = {} if isinstance(loaded, np.ndarray) else {name: loaded[name] for name in loaded.files}
    except (ValueError, OSError, EOFError, BadZipFile) as error:
        raise InputError(f"{X} holds no plain arrays that can be read ({error}); save numbers.") from error
    if isinstance(loaded, np.ndarray):
        named = next((name for name in (domain, target) if isinstance(name, str)), None)
        if named is not None:
            raise InputError(
                f"{X} holds one array and no column {named!r}; give one label per row, or a .npz file."
            )
        return loaded, domain
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


def refuse_overwriting(path: Path) -> None:
    """Raise `InputError` if something is at ``path`` already."""
    if path.exists():
        raise InputError(f"{path} exists and is kept; name another.")


def write_table(frame: pd.DataFrame, path: str | Path) -> None:
    """Write a table as .csv or .parquet to a file that is not there yet.

    Raises
    ------
    InputError
        Another ending, or a file that would be overwritten.
    """
    path = Path(path)
    if path.suffix not in (".csv", ".parquet"):
        raise InputError(f"{path} was given; tables are written as .csv or .parquet.")
    refuse_overwriting(path)
    frame.to_csv(path, index=False) if path.suffix == ".csv" else frame.to_parquet(path, index=False)


def refuse_filled(folder: Path) -> None:
    """Raise `InputError` unless ``folder`` can be made, or is there and empty."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} exists and is kept: it is not an empty folder. Name another.")


def read_images(folder: str | Path, size: int = 16) -> tuple[NDArray[np.float64], pd.Series[Any]]:
    """Images of a folder with one sub-folder per domain, as rows of grey values from 0 to 1.

    Parameters
    ----------
    folder : png, jpeg, bmp, gif, tiff and webp files are read, in the order of their names
    size : every image is made size × size; row-major

    Returns
    -------
    values, domain
        Shapes (images, size²) and (images,); the domain is the name of the sub-folder.

    Raises
    ------
    InputError
        No sub-folders with images in them; a file that is no image.
    """
    from groundshift.pictures import read_picture

    kinds = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp"}
    files = [
        file
        for part in sorted(p for p in Path(folder).iterdir() if p.is_dir())
        for file in sorted(part.iterdir())
        if file.suffix.lower() in kinds
    ]
    if not files:
        raise InputError(f"{folder} has no sub-folders with images; one sub-folder per domain is needed.")
    rows = [
        np.asarray(read_picture(file, "L").resize((size, size)), dtype=float).ravel() / 255 for file in files
    ]
    return np.array(rows), pd.Series([file.parent.name for file in files], name="domain")
