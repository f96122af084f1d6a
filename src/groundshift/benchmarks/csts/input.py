"""A user's table as an array: numpy, pandas, polars, Arrow, csv or parquet.

Time, id and row-number columns are recognised and left out: what is not a variate is never correlated.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from groundshift.errors import InputError
from groundshift.tables import read_table, typed

__all__ = ["Series", "read_series", "read_times"]

ID_NAMES = {"subject_id", "old id", "original_index", "id"}
TIME_NAMES = {"datetime", "date", "time", "timestamp", "ts", "epoch"}


class Series(NamedTuple):
    """A multivariate series: values (rows, n), the n variate names, and notes on how it was read."""

    values: NDArray[np.float64]
    variates: tuple[str, ...]
    notes: list[str]


def read_series(
    source: Any, *, missing: Literal["refuse", "keep"] = "refuse", drop_columns: Sequence[str] = ()
) -> Series:
    """Read a multivariate series.

    Parameters
    ----------
    source : array of shape (rows, n), table (pandas, polars, Arrow), or path of a csv or parquet file
    missing : "refuse" or "keep"
        What to do with values that are NaN or infinite.
    drop_columns : columns to leave out, by name

    Returns
    -------
    Series
        ``values`` (float64), ``variates``, ``notes``; unpacks in this order.

    Raises
    ------
    InputError
        Text columns, several subjects in one table, one variate only, missing values.

    Examples
    --------
    >>> frame = pd.DataFrame({"datetime": pd.date_range("2024-01-01", periods=3, freq="s"),
    ...                       "a": [1, 2, 3.5], "b": [2, 5, 1]})
    >>> read_series(frame).variates
    ('a', 'b')
    """
    if isinstance(source, np.ndarray):
        if source.ndim != 2:
            raise InputError(
                f"An array of shape {source.shape} was given; a series of n variates has shape (rows, n)."
            )
        source = pd.DataFrame(source, columns=[f"x{j + 1}" for j in range(source.shape[1])])
    frame = read_table(source)
    if len(frame) == 0:
        raise InputError("The series has no rows.")
    if unknown := [name for name in drop_columns if name not in frame.columns]:
        raise InputError(
            f"There is no column {unknown[0]!r} to leave out; the columns are {', '.join(map(str, frame.columns))}."
        )
    frame = frame.drop(columns=list(drop_columns))
    notes: list[str] = []
    roles = {name: _role(frame[name], str(name)) for name in frame.columns}
    text = [name for name, role in roles.items() if role == "text"]
    variates = [name for name, role in roles.items() if role == "variate"]
    if text:
        raise InputError(
            f"Columns that hold no numbers: {', '.join(map(str, text))} (for example "
            f"{frame[text[0]].dropna().iloc[0]!r}). Leave them out, or give the numeric ones: {variates}."
        )
    if len(variates) < 2:
        raise InputError(
            f"{len(variates)} variate was found ({', '.join(map(str, variates)) or 'none'}; columns: "
            f"{', '.join(map(str, frame.columns))}); a correlation needs at least two numeric columns."
        )
    others = {name: role for name, role in roles.items() if role != "variate"}
    if others:
        notes.append("Not variates: " + ", ".join(f"{name} ({role})" for name, role in others.items()) + ".")
    for name, role in others.items():
        if role == "time":
            notes += _time_notes(frame[name])
    values = np.column_stack([pd.to_numeric(frame[name]).to_numpy(dtype=float) for name in variates])
    if missing == "refuse":
        _refuse_missing(values, [str(name) for name in variates])
    return Series(values, tuple(str(name) for name in variates), notes)


def read_times(source: Any) -> pd.Series[Any] | None:
    """The times of a series' rows as datetime64, or None if no column (nor the index) holds them.

    Raises
    ------
    InputError
        Dates whose day and month cannot be told apart.
    """
    if isinstance(source, np.ndarray):
        return None
    table = typed(source)
    dated = table.of("date")
    return table.times(dated[0]) if dated else None


def _role(column: pd.Series[Any], name: str) -> str:
    """What a column is: "variate", "time", "id", "row number" or "text"."""
    if name.lower() in ID_NAMES:
        if name == "subject_id" and column.nunique() > 1:
            raise InputError(
                f"The table holds {column.nunique()} subjects ({', '.join(map(str, column.unique()[:3]))}, ...); "
                "take one at a time: table[table['subject_id'] == name]."
            )
        return "id"
    if pd.api.types.is_datetime64_any_dtype(column):
        return "time"
    if not pd.api.types.is_numeric_dtype(column):
        if pd.to_numeric(column, errors="coerce").notna().equals(column.notna()):
            return "variate"
        return "time" if _is_time(column) else "text"
    values = column.to_numpy(dtype=float, na_value=np.nan)
    steps = np.diff(values)
    if pd.api.types.is_integer_dtype(column) and len(steps) > 1 and (steps == 1).all():
        return "row number"
    if name.lower() in TIME_NAMES and (steps > 0).all():
        return "time"
    return "variate"


def _is_time(column: pd.Series[Any]) -> bool:
    """Is this text column made of dates or times of day?"""
    some = column.dropna().astype(str).head(100)
    return bool(some.str.contains(r"\d[-/:.]\d").all() and _as_time(some).notna().all())


def _as_time(column: pd.Series[Any]) -> pd.Series[Any]:
    """Timestamps of a column of dates in text; NaT where there is none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # pandas tells that it found no common format
        return pd.to_datetime(column, errors="coerce", utc=True)


def _time_notes(times: pd.Series[Any]) -> list[str]:
    """Does time run evenly? Numbers are taken in their own unit, timestamps in seconds."""
    if pd.api.types.is_numeric_dtype(times.dtype):
        steps, unit = np.diff(times.to_numpy(dtype=float)), "units"
    else:
        stamps = pd.DatetimeIndex(_as_time(times))
        steps, unit = np.diff(stamps.as_unit("us").asi8) / 1e6, "s"
    if not len(steps):
        return []
    if (steps < 0).any():
        return [f"Times go back {int((steps < 0).sum())} times: sort the rows first if they are one series."]
    usual = float(np.median(steps))
    gaps = steps > 1.5 * usual
    if not gaps.any():
        return []
    return [
        f"Time is irregular: {gaps.sum():,} of {len(steps):,} steps exceed the usual {usual:g} {unit}, the largest "
        f"is {steps.max():,.6g} {unit}. Rows are taken as they come."
    ]


def _refuse_missing(values: NDArray[np.float64], variates: list[str]) -> None:
    bad = ~np.isfinite(values)
    if bad.any():
        columns = [variates[j] for j in np.flatnonzero(bad.any(axis=0))]
        rows = np.flatnonzero(bad.any(axis=1))
        raise InputError(
            f"{len(rows)} of {len(values)} rows hold NaN or infinite values (columns {', '.join(columns)}; first "
            f"at row {rows[0]}). Fill them, or leave those rows out with dropna=True."
        )
