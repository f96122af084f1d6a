"""The columns of a frame as they are set: which are numbers, which three are a value with its interval."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from groundshift.report.content import Badge, Code, Lines
from groundshift.report.values import interval_text, is_finite, p_text, value_text

__all__ = ["Column", "Interval", "Reach", "columns_of"]

Reach = tuple[float, float]


@dataclass(frozen=True)
class Interval:
    """A cell whose interval is drawn as a bar and its value as a dot."""

    low: Any
    value: Any
    high: Any


@dataclass(frozen=True)
class Column:
    """A column of a table as it is set.

    Attributes
    ----------
    head, cells : its name, and text, `Badge`, `Code`, `Lines` or `Interval` for each row
    numeric : whether it is aligned to the right
    reach : from where to where its intervals are drawn, where it holds such
    """

    head: str
    cells: Sequence[Any]
    numeric: bool = False
    reach: Reach | None = None

    @property
    def style(self) -> str:
        """Numbers stand to the right; sentences are not folded to a word a line."""
        return "n" if self.numeric else "sentence" if max(len(str(c)) for c in self.cells) > 24 else ""


def columns_of(frame: pd.DataFrame) -> list[Column]:
    """The columns of a table; ``size, low, high`` become one, in words and drawn. Empty columns are left out."""
    names, columns, j = [str(name) for name in frame.columns], list[Column](), 0
    while j < len(names):
        if [name.split(" ")[-1] for name in names[j + 1 : j + 3]] == ["low", "high"]:
            value, low, high = (frame.iloc[:, k].tolist() for k in (j, j + 1, j + 2))
            rows = list(zip(low, value, high, strict=True))
            words = [interval_text(*row) for row in rows]
            columns.append(Column(f"{names[j]} [low, high]", words, numeric=True))
            intervals = [Interval(*row) if is_finite(row[1]) else "" for row in rows]
            columns.append(Column("", intervals, reach=reach_of([*value, *low, *high])))
            j += 3
            continue
        columns.append(_column(names[j], frame.iloc[:, j]))
        j += 1
    return [column for column in columns if any(str(cell) for cell in column.cells)]


def _column(name: str, values: pd.Series[Any]) -> Column:
    text = p_text if name in ("p", "q", "p_value") else value_text
    numeric = pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)
    cells = [v if isinstance(v, Badge | Code | Lines) else text(v) for v in values.tolist()]
    return Column(name.replace("_", " "), cells, numeric)


def reach_of(values: Iterable[Any]) -> Reach:
    """From where to where intervals are drawn, in round numbers; with zero, unless all are far from it."""
    finite = [float(v) for v in values if is_finite(v)] or [1.0]
    low, high = min(finite), max(finite)
    if not 1e-9 * abs(high) < high - low < high / 2:  # no difference but that of rounding is none
        low, high = min(low, 0.0), max(high, 0.0)
    step = 10.0 ** math.floor(math.log10(high - low or 1.0)) / 2
    # The rounding takes away what floats leave behind: 3 * 0.1 is more than 0.3.
    first, last = math.floor(round(low / step, 6)), math.ceil(round(high / step, 6))
    return float(f"{first * step:.12g}"), float(f"{max(last, first + 1) * step:.12g}")
