"""Rows of a table with numbers, dates, categories and missing values as points of a space of real numbers, and back.

What generators of tables share: a network learns a density of such points, and what it draws becomes rows again, with
the columns, types and categories of the table.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from groundshift.errors import InputError
from groundshift.tables import find_column, open_table, typed

__all__ = ["ColumnCode", "TableCode"]

Array = NDArray[np.float64]
Missing = Literal["refuse", "indicator"]
Marginal = Literal["standard", "normal"]
NOISE = 0.1
"""Standard deviation of the noise on ones and zeros, so that a density over them exists."""
QUANTILES = 1000
"""Most points of a column's distribution that are kept."""
LEVELS = 200
"""Most categories of a column."""


@dataclass(frozen=True, eq=False)
class ColumnCode:
    """How a column is coded.

    Attributes
    ----------
    kind : "number", "date" or "category"; "constant", which takes no dimension
    levels : categories, of a constant its value; None is a missing value
    mean, scale : of a number, or of a date in days since the first
    whole : whether its numbers are integers (its dates without a time of day)
    origin : the first date, as text
    quantiles : of a number that is coded by normal scores; empty otherwise
    missing : whether a dimension of its own says that a number is missing
    truth : whether the levels 0 and 1 stand for False and True
    """

    name: str
    kind: Literal["number", "date", "category", "constant"]
    levels: tuple[Any, ...] = ()
    mean: float = 0.0
    scale: float = 1.0
    whole: bool = False
    origin: str = ""
    quantiles: tuple[float, ...] = ()
    missing: bool = False
    truth: bool = False

    @property
    def names(self) -> list[str]:
        """Of its dimensions."""
        if self.kind == "category":
            return [f"{self.name}={'missing' if level is None else level}" for level in self.levels]
        own = [] if self.kind == "constant" else [self.name]
        return own + [f"{self.name} is missing"] * self.missing


@dataclass(frozen=True, eq=False)
class TableCode:
    """A code of a table's columns.

    Attributes
    ----------
    columns : of the table, in its order
    left_out : columns that are ids or free text, which no density describes

    Examples
    --------
    >>> table = pd.DataFrame({"age": [20, 30, 40, 30], "pet": ["cat", "dog", "cat", "cat"]})
    >>> code = TableCode.of(table)
    >>> code.names
    ['age', 'pet=cat', 'pet=dog']
    >>> code.decode(code.encode(table)).equals(table)
    True
    """

    columns: tuple[ColumnCode, ...]
    left_out: tuple[str, ...] = ()

    @classmethod
    def of(cls, table: Any, missing: Missing = "refuse", marginal: Marginal = "standard") -> TableCode:
        """The code of a table.

        Parameters
        ----------
        table : anything that `groundshift.tables.read_table` takes
        missing : "indicator" codes that a value is missing, as a level of a category or a dimension beside a number
        marginal : "standard" gives numbers mean 0 and standard deviation 1, "normal" makes their distribution normal

        Raises
        ------
        InputError
            Missing values that are not to be coded, a column of more than 200 categories, no column that can be coded.

        Warns
        -----
        UserWarning
            Ids and free text, which are left out.
        """
        raw = open_table(table)
        truths = {name for name in raw if pd.api.types.is_bool_dtype(raw[name])}
        read = typed(raw)
        left_out = tuple(read.of("id", "text"))
        if left_out:
            warnings.warn(
                f"Ids and free text are not generated: {', '.join(left_out)}. Give a column another kind if it is "
                "none.",
                stacklevel=2,
            )
        columns = []
        for column in read.columns:
            if column.name in left_out:
                continue
            values = read.frame[column.name]
            if missing == "refuse" and values.isna().any():
                raise InputError(
                    f"{int(values.isna().sum())} of {len(values)} values of {column.name} are missing; fill them, or "
                    "have them generated, too (missing='indicator', --missing indicator)."
                )
            code = _coded(column.name, column.kind, values, marginal)
            columns.append(replace(code, truth=column.name in truths))
        if all(column.kind == "constant" for column in columns):
            raise InputError(
                "The table has no column that varies and is neither id nor text; there is nothing to code."
            )
        return cls(tuple(columns), left_out)

    def with_levels(self, table: Any) -> TableCode:
        """The same code with room for the categories of further rows, behind its own."""
        frame, columns = typed(table).frame, []
        for column in self.columns:
            if column.kind == "category":
                known = [level for level in column.levels if level is not None]
                values = map(_plain, frame[find_column(column.name, frame)].dropna().unique())
                fresh = sorted(value for value in values if value not in known)
                column = replace(column, levels=(*known, *fresh, *[None] * (None in column.levels)))
            columns.append(column)
        return replace(self, columns=tuple(columns))

    @property
    def names(self) -> list[str]:
        """Of the dimensions."""
        return [name for column in self.columns for name in column.names]

    @property
    def numbers(self) -> list[int]:
        """Dimensions of the columns that are numbers or dates."""
        kinds = {column.name: column.kind for column in self.columns}
        return [k for k, name in enumerate(self.names) if kinds.get(name) in ("number", "date")]

    def encode(self, table: Any, rng: np.random.Generator | np.random.RandomState | None = None) -> Array:
        """Rows as points, (n, d).

        Parameters
        ----------
        table : with the columns that were coded; others are passed over
        rng : of the noise on ones and zeros; none if left out

        Raises
        ------
        InputError
            A column or a category that was not there when the code was made, a missing value that has no code.
        """
        frame = typed(table).frame
        blocks = [_block(column, frame[find_column(column.name, frame)], rng) for column in self.columns]
        return np.concatenate([np.empty((len(frame), 0)), *blocks], axis=1)

    def decode(self, points: NDArray[Any]) -> pd.DataFrame:
        """Points (n, d) as rows of the table: the category of the largest of its dimensions, whole numbers rounded."""
        values = iter(np.asarray(points, dtype=float).T)
        rows = len(points)
        return pd.DataFrame({column.name: _column(column, values, rows) for column in self.columns})


def _coded(name: str, kind: str, values: pd.Series[Any], marginal: Marginal) -> ColumnCode:
    present = values.dropna()
    some_missing = len(present) < len(values)
    if present.nunique() + some_missing < 2:
        return ColumnCode(name, "constant", (None if present.empty else _plain(present.iloc[0]),))
    if kind in ("category", "period", "constant") or present.nunique() <= 2:
        levels = [_plain(value) for value in present.drop_duplicates().sort_values()]
        if len(levels) > LEVELS:
            raise InputError(
                f"The column {name} has {len(levels)} categories, and at most {LEVELS} are generated; merge the rare "
                "ones, or leave it out."
            )
        return ColumnCode(name, "category", (*levels, *[None] * some_missing))
    if kind == "date":
        first = present.min()
        days = (present - first) / pd.Timedelta(days=1)
        whole = bool((present == present.dt.normalize()).all())
        scaled = _scaled(days.to_numpy(dtype=float), marginal)
        return ColumnCode(name, "date", whole=whole, origin=first.isoformat(), missing=some_missing, **scaled)
    numbers = present.to_numpy(dtype=float)
    if not np.isfinite(numbers).all():
        raise InputError(f"The column {name} holds infinite values; leave those rows out.")
    whole = bool((numbers == np.round(numbers)).all())
    return ColumnCode(name, "number", whole=whole, missing=some_missing, **_scaled(numbers, marginal))


def _scaled(numbers: Array, marginal: Marginal) -> dict[str, Any]:
    scale: dict[str, Any] = {"mean": float(numbers.mean()), "scale": float(numbers.std())}
    if marginal == "normal":
        levels = np.linspace(0, 1, min(QUANTILES, len(numbers)))
        scale["quantiles"] = tuple(np.quantile(numbers, levels).tolist())
    return scale


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _block(column: ColumnCode, values: pd.Series[Any], rng: Any) -> Array:
    """The dimensions of a column."""
    absent = values.isna().to_numpy()
    if column.kind == "constant":
        return np.empty((len(values), 0))
    if absent.any() and not column.missing and None not in column.levels:
        raise InputError(
            f"{int(absent.sum())} values of {column.name} are missing, and none was in the rows that were coded; fill "
            "them."
        )
    if column.kind == "category":
        codes = pd.Index([level for level in column.levels if level is not None]).get_indexer(values)
        if (codes[~absent] < 0).any():
            unknown = values[(codes < 0) & ~absent].iloc[0]
            raise InputError(
                f"The category {unknown!r} of {column.name} was not in the rows that were coded."
            )
        codes[absent] = len(column.levels) - 1
        return _noisy(np.eye(len(column.levels))[codes], rng)
    if column.kind == "date":
        values = (values - pd.Timestamp(column.origin)) / pd.Timedelta(days=1)
    numbers = values.to_numpy(dtype=float, na_value=np.nan)
    points = np.where(absent, 0.0, _to_points(column, np.where(absent, column.mean, numbers)))[:, None]
    return np.hstack([points, _noisy(absent[:, None].astype(float), rng)]) if column.missing else points


def _noisy(values: Array, rng: Any) -> Array:
    return values if rng is None else values + NOISE * rng.standard_normal(values.shape)


def _to_points(column: ColumnCode, numbers: Array) -> Array:
    if not column.quantiles:
        return (numbers - column.mean) / column.scale
    quantiles, levels = np.array(column.quantiles), _levels(column)
    # Of numbers that are tied, the middle of their levels.
    low = levels[np.searchsorted(quantiles, numbers, "left").clip(0, len(levels) - 1)]
    high = levels[(np.searchsorted(quantiles, numbers, "right") - 1).clip(0)]
    between = np.interp(numbers, quantiles, levels)
    return np.asarray(ndtri(np.where(low < high, (low + high) / 2, between)))


def _levels(column: ColumnCode) -> Array:
    count = len(column.quantiles)
    return (np.arange(count) + 0.5) / count


def _column(column: ColumnCode, values: Iterator[Array], rows: int) -> Any:
    """A column of the table from its dimensions."""
    if column.kind == "constant":
        return [column.levels[0]] * rows
    if column.kind == "category":
        codes = np.argmax([next(values) for _ in column.levels], axis=0)
        levels = pd.Series([column.levels[code] for code in codes])
        return levels.astype("boolean" if None in column.levels else bool) if column.truth else levels
    points = next(values)
    if column.quantiles:
        numbers = np.interp(ndtr(points), _levels(column), column.quantiles)
    else:
        numbers = points * column.scale + column.mean
    absent = next(values) > 0.5 if column.missing else np.zeros(rows, dtype=bool)
    numbers = np.round(numbers) if column.whole else numbers
    if column.kind == "date":
        days = pd.Series(pd.to_timedelta(np.where(absent, np.nan, numbers), unit="D"))
        return pd.Timestamp(column.origin) + days
    if column.missing:
        numbers = np.where(absent, np.nan, numbers)
        return pd.Series(numbers).astype("Int64") if column.whole else numbers
    return numbers.astype(np.int64) if column.whole else numbers
