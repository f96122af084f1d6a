"""Opening a table: files are read by Arrow, and every cell of a CSV file stays the text it is.

What the text means is decided in `groundshift.tables.kinds`, by the same rules for every format.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from groundshift.errors import InputError, did_you_mean

__all__ = ["find_column", "open_table", "read_parquet", "some"]

CSV_ENDINGS = (".csv", ".tsv", ".txt")
PARQUET_ENDINGS = (".parquet", ".pq")
COMPRESSED = (".gz", ".bz2", ".zst")
DELIMITERS = ",;\t|"
UNNAMED_INDEX = "__index_level_"


def open_table(source: Any) -> pd.DataFrame:
    """The columns of a table as they are stored, under names that are text and differ from each other.

    Parameters
    ----------
    source : array (rows, n), whose columns are named x1, x2, ...; table (pandas, polars, Arrow, anything with the Arrow
        interface); or path of a CSV (.csv, .tsv, .txt, also compressed) or Parquet file. A saved index is a column.

    Raises
    ------
    InputError
        No such file, a file that cannot be read, two columns of one name, an array that is not two-dimensional.

    Examples
    --------
    >>> open_table(np.zeros((2, 3))).columns.tolist()
    ['x1', 'x2', 'x3']
    """
    if isinstance(source, np.ndarray):
        if source.ndim != 2:
            raise InputError(
                f"An array of shape {source.shape} was given; a table has shape (rows, columns)."
            )
        return pd.DataFrame(source, columns=[f"x{j + 1}" for j in range(source.shape[1])])
    if isinstance(source, str | Path):
        return _named(_open_file(Path(source)), str(source))
    if isinstance(source, pd.DataFrame):
        return _named(_with_index(source), "The table")
    if hasattr(source, "collect") and hasattr(source, "lazy"):  # a lazy frame of polars
        source = source.collect()
    if hasattr(source, "__arrow_c_stream__"):
        return _named(_of_arrow(pa.table(source), "The table"), "The table")
    if hasattr(source, "to_pandas"):
        return _named(_with_index(source.to_pandas()), "The table")
    raise InputError(
        f"A {type(source).__name__} was given; give an array, a table (pandas, polars, Arrow) or the path of a CSV or "
        "Parquet file."
    )


def find_column(name: str, columns: Iterable[Any], where: str = "the table") -> str:
    """``name`` if it is one of the columns.

    Raises
    ------
    InputError
        There is no such column; the nearest name is offered.

    Examples
    --------
    >>> find_column("prcie", ["price"])
    Traceback (most recent call last):
    groundshift.errors.InputError: There is no column 'prcie' in the table; did you mean 'price'? The columns are price.
    """
    names = [str(c) for c in columns]
    if name in names:
        return name
    raise InputError(
        f"There is no column {name!r} in {where}{did_you_mean(name, names)} The columns are {some(names)}."
    )


def some(names: Sequence[Any] | pd.Index[Any], at_most: int = 12) -> str:
    """The first names, and how many there are.

    >>> some(["a", "b", "c"], 2)
    'a, b, ... (3 in all)'
    """
    shown = ", ".join(map(str, names[:at_most]))
    return shown if len(names) <= at_most else f"{shown}, ... ({len(names)} in all)"


# Frames --------------------------------------------------------------------------------------------------


def _with_index(frame: pd.DataFrame) -> pd.DataFrame:
    """A named index becomes columns, as it does in a Parquet file; row numbers are no data."""
    if isinstance(frame.index, pd.RangeIndex) and frame.index.name is None:
        return frame
    kept = [
        level.name if level.name is not None else "index"
        for level in (frame.index.get_level_values(k) for k in range(frame.index.nlevels))
        if level.name is not None or not pd.api.types.is_integer_dtype(level)
    ]
    levels = {
        name: frame.index.get_level_values(k)
        for k, name in enumerate(n if n is not None else "index" for n in frame.index.names)
    }
    plain = frame.reset_index(drop=True)
    for name in reversed(kept):
        if name not in plain.columns:
            plain.insert(0, name, pd.Series(levels[name]).array, allow_duplicates=True)
    return plain


def _named(frame: pd.DataFrame, what: str) -> pd.DataFrame:
    """Names as text; two columns of one name are refused, and so is a table without columns."""
    if frame.shape[1] == 0:
        raise InputError(f"{what} has no columns.")
    names = [
        " / ".join(map(str, name)) if isinstance(name, tuple) else str(name).strip() for name in frame.columns
    ]
    names = [name or f"column {k + 1}" for k, name in enumerate(names)]
    twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if twice:
        raise InputError(
            f"{what} has more than one column called {some([repr(n) for n in twice])}; rename one of them (a join adds "
            "suffixes when asked to)."
        )
    frame = frame.set_axis(names, axis=1)
    return frame.reset_index(drop=True)


def _of_arrow(table: pa.Table, what: str) -> pd.DataFrame:
    """A pandas frame of an Arrow table; decimals become floating-point numbers, an index is a column."""
    kept = [
        k for k, field in enumerate(table.schema)
        if not (field.name.startswith(UNNAMED_INDEX) and pa.types.is_integer(field.type))
    ]  # fmt: skip
    columns = [table.column(k) for k in kept]
    columns = [c.cast(pa.float64()) if pa.types.is_decimal(c.type) else c for c in columns]
    names = [table.column_names[k] for k in kept]
    names = ["index" if name.startswith(UNNAMED_INDEX) else name for name in names]
    # Two columns of one name are refused later; until then they need names of their own.
    inner = pa.table(columns, names=[str(k) for k in range(len(names))])
    del table, columns
    try:
        frame = inner.to_pandas(ignore_metadata=True, split_blocks=True, self_destruct=True)
    except (pa.ArrowException, ValueError, TypeError) as error:
        raise InputError(f"{what} holds values that cannot be read ({_one_line(error)}).") from error
    return frame.set_axis(names, axis=1)


# Files ---------------------------------------------------------------------------------------------------


def _open_file(path: Path) -> pd.DataFrame:
    if not path.is_file():
        beside = [file.name for file in path.parent.glob("*")] if path.parent.is_dir() else []
        raise InputError(
            f"There is no file {path}{did_you_mean(path.name, beside)} Give the path of a CSV or Parquet file."
        )
    name = path.name.lower()
    for ending in COMPRESSED:
        name = name.removesuffix(ending)
    if name.endswith(PARQUET_ENDINGS):
        return _of_arrow(read_parquet(path), str(path))
    if name.endswith(CSV_ENDINGS):
        return _open_csv(path)
    raise InputError(f"{path} is neither CSV nor Parquet; save the table as one of the two.")


def read_parquet(path: Path) -> pa.Table:
    """The table of a Parquet file, whose texts are texts.

    Raises
    ------
    InputError
        A file that is cut, damaged or no Parquet.
    """
    try:
        with pq.ParquetFile(path) as file:
            table = file.read()
        table.validate(full=True)
    except (pa.ArrowException, OSError, ValueError, MemoryError) as error:
        raise InputError(f"{path} cannot be read as Parquet ({_one_line(error)}). Save it again.") from error
    return table


def _open_csv(path: Path) -> pd.DataFrame:
    """Every cell as text; an empty cell is missing."""
    delimiter, names = _header(path)
    try:
        table = pa_csv.read_csv(
            path,
            parse_options=pa_csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
            convert_options=pa_csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()),
                null_values=[""],
                strings_can_be_null=True,
            ),
        )
    except (pa.ArrowException, OSError, ValueError, EOFError) as error:
        raise InputError(
            f"{path} cannot be read as CSV: {_one_line(error)}. {_csv_advice(path, error)}"
        ) from error
    frame = _of_arrow(table, str(path))
    _refuse_open_quote(path, frame)
    return frame


def _refuse_open_quote(path: Path, frame: pd.DataFrame) -> None:
    """A quotation mark that is never closed takes the rest of the file into one cell."""
    last = frame.iloc[-1, -1] if len(frame) else None
    if not isinstance(last, str) or "\n" not in last:
        return
    with pa.input_stream(str(path)) as stream:
        if stream.read().decode("utf-8").endswith(last):
            start = last.partition("\n")[0][:40]
            raise InputError(
                f"{path} has a quotation mark that is never closed, before {start!r} in its last row."
            )


def _header(path: Path) -> tuple[str, list[str]]:
    """The delimiter and the names of the columns, from the first lines."""
    try:
        with pa.input_stream(str(path)) as stream:
            start = stream.read(1 << 16)
    except (pa.ArrowException, OSError, EOFError) as error:
        raise InputError(f"{path} cannot be opened ({_one_line(error)}).") from error
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise InputError(f"{path} is encoded as UTF-16; save it as UTF-8.")
    if b"\0" in start:
        raise InputError(f"{path} holds binary data and is no CSV file; save the table as text.")
    if not start.strip():
        raise InputError(f"{path} is empty; a header and rows are needed.")
    try:
        # A mark of the byte order is no line, and no other separator ends one than those of csv.
        lines = start.removeprefix(b"\xef\xbb\xbf").replace(b"\r", b"\n").split(b"\n")
        first = next((line for line in lines if line.strip()), b"").decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not encoded as UTF-8 (its header is not); save it as UTF-8.") from error
    if not first:
        raise InputError(f"{path} is empty; a header and rows are needed.")
    counts = {d: _outside_quotes(first, d) for d in DELIMITERS}
    delimiter = max(DELIMITERS, key=lambda d: counts[d]) if any(counts.values()) else ","
    try:
        return delimiter, next(csv.reader(io.StringIO(first), delimiter=delimiter))
    except csv.Error as error:
        raise InputError(f"The header of {path} cannot be read ({error}).") from error


def _outside_quotes(line: str, delimiter: str) -> int:
    return sum(part.count(delimiter) for part in line.split('"')[::2])


def _csv_advice(path: Path, error: Exception) -> str:
    if "UTF8" in str(error) or "utf-8" in str(error).lower():
        return f"It is not encoded as UTF-8{_first_bad_line(path)}; save it as UTF-8."
    return "Every row needs as many cells as the header has names."


def _first_bad_line(path: Path) -> str:
    try:
        with pa.input_stream(str(path)) as stream:
            for number, line in enumerate(stream.read().split(b"\n"), 1):
                try:
                    line.decode("utf-8")
                except UnicodeDecodeError:
                    return f" (first at line {number})"
    except (pa.ArrowException, OSError):
        pass
    return ""


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")[:200]
