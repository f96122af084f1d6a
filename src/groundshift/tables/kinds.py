"""What every column of a table is, decided by its content and said with the reason.

The same table has the same kinds whether it comes as CSV, Parquet, pandas, polars or Arrow: words that are numbers are
numbers, words that are dates are dates, and a column of whole numbers that repeat less often than any measurement could
is a key.
"""

from __future__ import annotations

import contextlib
import datetime
import decimal
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from scipy import stats

from groundshift.errors import InputError
from groundshift.tables.dates import DateForm, compact_dates, compact_months, parse_dates, parse_periods
from groundshift.tables.files import find_column, open_table, some

__all__ = ["KINDS", "Column", "Kind", "Reading", "Table", "parse_kinds", "read_table", "typed"]

Kind = Literal["number", "category", "date", "period", "id", "text", "constant"]
KINDS: tuple[Kind, ...] = get_args(Kind)

MOST_LEVELS = 30
"""Different words up to which a column is a category, however few rows there are."""
LONG = 60
"""Mean number of characters beyond which words that rarely repeat are text."""
SURPRISE = 1e-6
"""Probability of so few repeats in a measurement below which whole numbers are a key."""
MISSING_WORDS = frozenset(
    {
        "nan",
        "na",
        "n/a",
        "#n/a",
        "null",
        "none",
        "<na>",
        "nat",
        "-",
        "?",
        ".",
        "missing",
        "#div/0!",
        "#value!",
    }
)
"""Words that mean "missing" where all others are numbers or dates; among words they are words."""
KEY_NAME = re.compile(
    r"(?:^|[_\W])(?:id|ids|key|uuid|guid|pk|no|nr|num|number|idx|index|rowid|serial)$", re.I
)
KEY_CAMEL = re.compile(r"[a-z](?:Id|ID|Key|UUID|Uuid|Guid|No|Nr|Num|Number|Index)$")
CODE = re.compile(r"[+-]?0\d[\d.]*$")
THOUSANDS = re.compile(r"[+-]?\d{1,3}(?:,\d{3})+(?:\.\d+)?$")
DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+$")
DURATION = re.compile(r"-?\d+ days?(?:,? [+-]?\d{1,2}:\d{2}:\d{2}(?:\.\d+)?)?$")
CLOCK = re.compile(r"\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?$")
WHOLE = 2.0**53


@dataclass(frozen=True)
class Column:
    """What was decided about a column.

    Attributes
    ----------
    name : of the column
    kind : one of `KINDS`
    why : the reason, a phrase
    missing : share of missing values
    ambiguous : a date whose day and month cannot be told apart; the column cannot serve as a time until they can
    """

    name: str
    kind: Kind
    why: str
    missing: float
    ambiguous: str = ""


@dataclass(frozen=True)
class Reading:
    """What the user says about how a table is read; what is not said is decided by the content.

    Attributes
    ----------
    kinds : column → kind
    na : words that mean "missing" in every column, beside an empty cell
    date_format : of dates, as of `datetime.strptime`
    day_first : whether 01/02/2024 is the first of February
    """

    kinds: Mapping[str, Kind] = field(default_factory=dict)
    na: Sequence[str] = ()
    date_format: str | None = None
    day_first: bool | None = None

    def __post_init__(self) -> None:
        for name, kind in self.kinds.items():
            if kind not in KINDS:
                raise InputError(
                    f"{kind!r} was given as the kind of {name}; the kinds are {', '.join(KINDS)}."
                )

    @property
    def form(self) -> DateForm:
        """How dates are written."""
        return DateForm(self.date_format, self.day_first)


@dataclass(frozen=True)
class Table:
    """A table whose columns have kinds.

    Attributes
    ----------
    frame : numbers as numbers (whole ones as integers), categories, ids and text as words, dates as datetime64[us] (UTC
        where they had offsets), periods as categories in the order of time; index 0, 1, ...
    columns : what was decided, in the order of the table
    """

    frame: pd.DataFrame
    columns: tuple[Column, ...]

    def __getitem__(self, name: str) -> Column:
        """What was decided about a column."""
        find_column(name, self.frame.columns)
        return next(c for c in self.columns if c.name == name)

    def of(self, *kinds: Kind) -> list[str]:
        """Names of the columns of these kinds."""
        return [c.name for c in self.columns if c.kind in kinds]

    def times(self, name: str) -> pd.Series[Any]:
        """A column that is to serve as a time.

        Raises
        ------
        InputError
            Its day and month cannot be told apart.
        """
        column = self[name]
        if column.ambiguous:
            raise InputError(
                f"{name} holds dates such as {column.ambiguous}, whose day and month cannot be told apart. Say which "
                "comes first: --day-first or --month-first (day_first=True or False in Python), or give the format "
                "(--date-format %d/%m/%Y)."
            )
        return self.frame[name]

    def describe(self) -> pd.DataFrame:
        """What was read: column, kind, why, and the share of missing values."""
        rows = [(c.name, c.kind, c.why, c.missing) for c in self.columns]
        return pd.DataFrame(rows, columns=["column", "kind", "why", "missing"])


def parse_kinds(words: Iterable[str]) -> dict[str, Any]:
    """Kinds of columns from words such as "zip=category", as the command line takes them.

    >>> parse_kinds(["zip=category", "a=b=id"])
    {'zip': 'category', 'a=b': 'id'}
    """
    kinds = {}
    for word in words:
        name, mark, kind = word.rpartition("=")
        if not mark or not name:
            raise InputError(
                f"{word!r} was given as the kind of a column; write column=kind; the kinds are {', '.join(KINDS)}."
            )
        kinds[name] = kind
    return kinds


def read_table(source: Any, reading: Reading | None = None) -> pd.DataFrame:
    """A pandas frame of anything `open_table` takes; the words of a file are read by their content.

    A table in memory keeps its dtypes, but for those that only store values otherwise (sparse, decimal, Arrow); columns
    of Python objects are read by their content, too.

    Examples
    --------
    >>> read_table(np.zeros((2, 3))).columns.tolist()
    ['x1', 'x2', 'x3']
    """
    if hasattr(source, "__fspath__") or isinstance(source, str) or reading is not None:
        return typed(source, reading).frame
    frame = open_table(source)
    plain = {}
    for name in frame.columns:
        with cells_of(name):
            column = _plain(frame[name])
            typed_too = column.dtype == object and len(frame)
            plain[name] = _typed_column(column, name, Reading())[0] if typed_too else column
    return pd.DataFrame(plain, index=frame.index) if plain else frame


def typed(source: Any, reading: Reading | None = None) -> Table:
    """Open a table and decide what each of its columns is.

    Parameters
    ----------
    source : anything `open_table` takes

    Raises
    ------
    InputError
        A table that cannot be opened or has no rows; kinds for columns that are not there, or that do not fit.

    Examples
    --------
    >>> words = ["1.5", "NA"] * 50, ["EU", "NA"] * 50
    >>> table = typed(pd.DataFrame({"order_no": range(100), "paid": words[0], "region": words[1]}))
    >>> {c.name: c.kind for c in table.columns}
    {'order_no': 'id', 'paid': 'number', 'region': 'category'}
    >>> typed(pd.DataFrame({"month": ["2024-9", "2024-10"]})).frame["month"].cat.categories.tolist()
    ['2024-9', '2024-10']
    """
    reading = reading or Reading()
    frame = open_table(source)
    if len(frame) == 0:
        raise InputError(f"The table has no rows (columns: {some(frame.columns)}).")
    for name in reading.kinds:
        find_column(name, frame.columns)
    values, columns = {}, []
    for name in list(frame.columns):
        with cells_of(name):
            values[name], column = _typed_column(frame.pop(name), name, reading)
        columns.append(column)
    return Table(pd.DataFrame(values), tuple(columns))


# Columns -------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def cells_of(name: str) -> Iterator[None]:
    """Refuse a column whose cells cannot be read: they may be objects of any class, which fail in any way."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        what = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise InputError(
            f"{name} holds values that cannot be read ({what}); leave it out, or write them as numbers or text."
        ) from error


def _typed_column(raw: pd.Series[Any], name: str, reading: Reading) -> tuple[pd.Series[Any], Column]:
    """The values of a column in the form of its kind, and what was decided."""
    values = _without(_plain(raw), reading.na)
    missing = float(values.isna().mean())
    wanted_kind = reading.kinds.get(name)
    if wanted_kind is not None:
        return _of_kind(values, name, wanted_kind, reading)
    column, kind, why, ambiguous = _decided(values, name, reading.form)
    if ambiguous:
        return column, Column(name, kind, why, missing, ambiguous)
    missing = float(column.isna().mean())
    if missing == 1:
        return column, Column(name, "constant", "empty", missing)
    if kind != "text" and missing == 0 and (column == column.iloc[0]).all():
        return column, Column(name, "constant", f"always {_word(column.iloc[0])}", missing)
    return column, Column(name, kind, why, missing)


def _without(values: pd.Series[Any], na: Sequence[str]) -> pd.Series[Any]:
    if not na:
        return values
    if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
        numbers = [float(word) for word in na if _is_number(word)]
        return values.mask(values.isin(numbers)) if numbers else values
    return values.mask(values.astype(str).isin([str(word) for word in na]))


def _is_number(word: Any) -> bool:
    try:
        float(word)
    except (TypeError, ValueError):
        return False
    return True


def _plain(column: pd.Series[Any]) -> pd.Series[Any]:
    """The same values in an ordinary dtype: no sparse, Arrow or decimal storage, whole numbers as they were."""
    if isinstance(column.dtype, pd.SparseDtype):
        column = pd.Series(np.asarray(column.array), index=column.index, name=column.name)
    if isinstance(column.dtype, pd.ArrowDtype):
        array = pa.chunked_array([pa.array(column.array)]) if not len(column) else pa.array(column.array)
        if pa.types.is_decimal(array.type):
            array = array.cast(pa.float64())
        column = pd.Series(array.to_pandas(), index=column.index, name=column.name)
    if column.dtype == object:
        present = column.dropna()
        if len(present) and all(isinstance(v, decimal.Decimal) for v in present.head(1000)):
            return pd.to_numeric(column.where(column.notna(), np.nan).astype(float), errors="coerce")
    return column


Decided = tuple["pd.Series[Any]", Kind, str, str]
"""Values, kind, reason, and an example of an ambiguous date or ""."""


def _decided(values: pd.Series[Any], name: str, form: DateForm) -> Decided:
    dtype = values.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        return _category_of(values, name, form)
    if isinstance(dtype, pd.PeriodDtype):
        return _ordered_words(
            values.astype(str).where(values.notna()), values.astype("int64", errors="ignore")
        )
    if isinstance(dtype, pd.IntervalDtype):
        return values.astype(str).where(values.notna()), "category", "intervals", ""
    if pd.api.types.is_datetime64_any_dtype(dtype):
        aware = getattr(values.dt, "tz", None) is not None
        return _instants(values), "date", "dates with offsets, read as UTC" if aware else "dates", ""
    if pd.api.types.is_timedelta64_dtype(dtype):
        return _number(values.dt.total_seconds(), name, "durations, in seconds")
    if pd.api.types.is_bool_dtype(dtype):
        return values.astype("boolean" if values.hasnans else bool), "number", "true or false", ""
    if pd.api.types.is_complex_dtype(dtype):
        return values.astype(str), "text", "complex numbers", ""
    if pd.api.types.is_numeric_dtype(dtype):
        return _number(values, name)
    return _words(values, name, form)


def _instants(values: pd.Series[Any]) -> pd.Series[Any]:
    if getattr(values.dt, "tz", None) is not None:
        values = values.dt.tz_convert("UTC").dt.tz_localize(None)
    try:
        return values.dt.as_unit("us")
    except (ValueError, OverflowError) as error:
        raise InputError(
            f"{values.name} holds dates that are too far away to be told ({error}); take those rows out, or give the "
            f"column another kind: --kind {values.name}=text."
        ) from error


def _number(values: pd.Series[Any], name: str, note: str = "") -> Decided:
    """Numbers, or whole numbers that are a key, a date or a month."""
    present = values.dropna()
    if pd.api.types.is_integer_dtype(present.dtype):
        whole = True
    else:
        numbers = present.to_numpy(dtype=float)
        finite = np.isfinite(numbers)
        whole = bool(len(numbers)) and bool(finite.all()) and bool((numbers == np.floor(numbers)).all())
        whole = whole and bool(np.abs(numbers).max(initial=0) < WHOLE)
    if not whole:
        numbers = values.to_numpy(dtype=float, na_value=np.nan)
        infinite = int(np.isinf(numbers).sum())
        why = "numbers" + (f", {infinite} of them infinite" if infinite else "")
        return pd.Series(numbers, name=name), "number", note or why, ""
    integers = values.astype("Int64") if values.hasnans else values.astype("int64", errors="ignore")
    plain = present.to_numpy(dtype=np.int64) if _fits(present) else present.to_numpy(dtype=float)
    dates = compact_dates(plain)
    if dates is not None:
        moments = pd.Series(pd.NaT, index=values.index, dtype="datetime64[us]", name=name)
        moments.loc[present.index] = dates.to_numpy()
        return moments, "date", "dates written as whole numbers (20240131)", ""
    if compact_months(plain) and len(np.unique(plain)) > 1:
        words = integers.astype(str).where(values.notna())
        return _ordered_words(words, integers, "months written as whole numbers (202401)")
    if why := _key(plain, name):
        return integers, "id", why, ""
    return integers, "number", note or "whole numbers", ""


def _fits(present: pd.Series[Any]) -> bool:
    return not (
        pd.api.types.is_unsigned_integer_dtype(present.dtype)
        and len(present)
        and int(present.max()) > 2**63 - 1
    )


def _key(values: np.ndarray, name: str) -> str:
    """Why whole numbers name rows instead of measuring something; "" if they do not.

    A measurement that takes n values between a least and a largest one, R apart, repeats at least as often as uniform
    draws do: about n² / 2R pairs are alike, a Poisson number. Far fewer mean that the numbers were dealt out.
    """
    n = len(values)
    if n < MOST_LEVELS:
        return ""
    distinct, counts = np.unique(values, return_counts=True)
    named = bool(KEY_NAME.search(name) or KEY_CAMEL.search(name))
    if named and len(distinct) > max(MOST_LEVELS, 0.05 * n):
        return f"numbers that name something ({len(distinct):,} different ones; the column is called {name})"
    if len(distinct) < 0.9 * n:
        return ""
    span = float(distinct[-1]) - float(distinct[0]) + 1
    pairs = float((counts * (counts - 1) / 2).sum())
    if stats.poisson.cdf(pairs, n * (n - 1) / 2 / span) < SURPRISE:
        return "whole numbers that hardly ever repeat, as only a key does"
    steps = np.diff(values)
    if (steps > 0).all():
        return "whole numbers that rise with every row, as a key or a counter does"
    return ""


def _ordered_words(words: pd.Series[Any], keys: Any, what: str = "periods") -> Decided:
    """Words as an ordered category, in the order of their keys; two spellings of one period are one."""
    present = words.notna()
    first = pd.DataFrame({"word": words[present], "key": pd.Series(keys, index=words.index)[present]})
    order = first.drop_duplicates("key").sort_values("key", kind="stable")
    spelled = dict(zip(order["key"], order["word"], strict=True))
    same = first["key"].map(spelled).reindex(words.index)
    ordered = pd.Series(
        pd.Categorical(same, list(order["word"]), ordered=True), index=words.index, name=words.name
    )
    return ordered, "period", what, ""


def _category_of(values: pd.Series[Any], name: str, form: DateForm) -> Decided:
    """A pandas category: typed by its labels; an order that the user gave is kept."""
    labels = pd.Series(values.cat.categories)
    codes = values.cat.codes.to_numpy()
    spread = (
        labels.take(np.where(codes < 0, 0, codes)).reset_index(drop=True)
        if len(labels)
        else values.astype(object)
    )
    spread = spread.where(codes >= 0).rename(name)
    column, kind, why, ambiguous = _decided(spread, name, form)
    if kind == "category" and values.cat.ordered:
        words = [_word(c) for c in values.cat.categories]
        order = pd.Categorical.from_codes(codes, pd.Index(words), ordered=True)
        return pd.Series(order, name=name), "category", "words in an order", ""
    return column, kind, why, ambiguous


# Words ---------------------------------------------------------------------------------------------------


def _words(values: pd.Series[Any], name: str, form: DateForm) -> Decided:
    """Words, read as numbers, dates or periods where they are that; else a category, an id or text."""
    if values.dtype == object:
        column = _objects(values, name)
        if column is not None:
            return column
        values = values.map(_word, na_action="ignore")
    array = pa.array(values, type=pa.large_string(), from_pandas=True)
    numbers = _fast_numbers(array)
    if numbers is not None:
        return _number(pd.Series(numbers, name=name), name)
    encoded = pc.dictionary_encode(array)
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    words = [w.strip() for w in encoded.dictionary.to_pylist()]
    return _encoded(words, codes, values, name, form)


def _encoded(
    words: list[str], codes: np.ndarray, values: pd.Series[Any], name: str, form: DateForm
) -> Decided:
    """Decide by the different words; ``codes`` says which row has which (-1: none)."""
    gone = np.array([w == "" or w.lower() in MISSING_WORDS for w in words], dtype=bool)
    real = [w for w, missing in zip(words, gone, strict=True) if not missing]
    place = np.full(len(words) + 1, -1)
    place[:-1][~gone] = np.arange(len(real))
    at = place[codes]  # -1 stays -1

    def spread(of_word: Any, dtype: Any) -> pd.Series[Any]:
        taken = pd.Series(of_word, dtype=dtype).reindex(at)  # -1 is in no index, so it becomes missing
        return taken.set_axis(values.index).rename(name)

    if real:
        numbers, why = _numbers_of(real)
        if numbers is not None:
            return _number(spread(numbers, float), name, why)
        if all(w.lower() in ("true", "false") for w in real[:3]) and {w.lower() for w in real} <= {
            "true",
            "false",
        }:
            column = spread([w.lower() == "true" for w in real], "boolean")
            return column.astype(bool) if not column.isna().any() else column, "number", "true or false", ""
        periods = parse_periods(real)
        if periods is not None and len(real) > 1:
            keys = pd.Series(
                [periods[0][k] if k >= 0 else None for k in at], index=values.index, dtype=object
            )
            return _ordered_words(spread(real, "str"), keys, periods[1])
        dates = parse_dates(real, form)
        if dates is not None:
            column = spread(real, "str") if dates.ambiguous else spread(dates.values, "datetime64[us]")
            return column, "date", dates.why, dates.ambiguous
    as_they_are = values.astype("str").where(values.notna()).rename(name)
    as_they_are = as_they_are.mask(as_they_are.str.strip() == "")
    return as_they_are, *_words_kind(words, codes, name), ""


def _words_kind(words: list[str], codes: np.ndarray, name: str) -> tuple[Kind, str]:
    """Category, id or text."""
    size = int((codes >= 0).sum())
    distinct = len(words)
    length = float(np.mean([len(w) for w in words])) if words else 0.0
    spaced = float(np.mean([" " in w for w in words])) if words else 0.0
    named = bool(KEY_NAME.search(name) or KEY_CAMEL.search(name))
    if distinct <= MOST_LEVELS:
        return "category", f"{distinct} different words"
    if named and spaced < 0.5 and distinct > 0.05 * size:
        return "id", f"words that name something ({distinct:,} different ones; the column is called {name})"
    if distinct > 0.5 * size:
        if spaced < 0.5 and length <= LONG:
            return "id", "words that hardly ever repeat"
        return "text", "free text, which hardly ever repeats"
    if length > LONG:
        return "text", f"long text (about {length:.0f} characters)"
    return "category", f"{distinct:,} different words"


def _fast_numbers(array: pa.Array) -> np.ndarray | None:
    """Numbers, where every cell is one as it stands; most columns of a CSV file are, and this takes no dictionary."""
    if len(array) == array.null_count:
        return None
    head = array.drop_null().slice(0, 100).to_pylist()
    if any(not _is_number(w) or w.strip().lower() in MISSING_WORDS or CODE.match(w) for w in head):
        return None
    try:
        numbers = pc.cast(array, pa.float64())
    except pa.ArrowInvalid:
        return None
    zero = (
        pc.filter(array, pc.fill_null(pc.match_substring_regex(array, r"^[+-]?0\d[\d.]*$"), False))
        if _zeros(array)
        else []
    )
    if len(zero):
        return None
    if _too_large(numbers):
        return None
    return numbers.to_numpy(zero_copy_only=False)


def _zeros(array: pa.Array) -> bool:
    return bool(pc.any(pc.starts_with(array, "0")).as_py() or pc.any(pc.starts_with(array, "-0")).as_py())


def _too_large(numbers: pa.Array) -> bool:
    """Whether whole numbers are beyond what floating-point numbers tell apart: such digits are a name."""
    largest = pc.max(pc.abs(pc.filter(numbers, pc.is_finite(numbers)))).as_py()
    return largest is not None and WHOLE <= largest < 1e40


def _numbers_of(words: list[str]) -> tuple[np.ndarray | None, str]:
    """The numbers that words are, and how they are written; None if a word is none."""
    if any(CODE.match(w) for w in words):  # 007 is a name
        return None, ""
    if all(w.lstrip("+-").isdigit() for w in words[:3]) and any(len(w) > 16 and w.isdigit() for w in words):
        return None, ""
    ways: tuple[tuple[Any, Any, str], ...] = (
        (None, lambda w: w, ""),
        (re.compile(r"[+-]?[\d.]+\s?%$"), lambda w: w.rstrip("% "), "percentages"),
        (re.compile(r"[+-]?[$€£]\s?[+-]?[\d.,]+$"), lambda w: re.sub(r"[$€£,\s]", "", w), "amounts of money"),
        (DURATION, lambda w: w, "durations, in seconds"),
        (CLOCK, lambda w: w, "times of day, in seconds"),
    )  # fmt: skip
    for pattern, clean, why in ways:
        some_words = words[:50]
        if pattern is None and not all(_is_number(w) for w in some_words):
            continue
        if pattern is not None and not all(pattern.match(w) for w in words):
            continue
        if pattern in (DURATION, CLOCK):
            numbers = _seconds(words)
        else:
            numbers = pd.to_numeric(
                pd.Series([clean(w) for w in words], dtype=object), errors="coerce"
            ).to_numpy(float)
        if numbers is not None and not np.isnan(numbers).any():
            return numbers, why
    return _with_commas(words)


def _with_commas(words: list[str]) -> tuple[np.ndarray | None, str]:
    """1,234.5 or 1,5; where only 1,234 is seen either could be meant, and it stays a word."""
    commas = [w for w in words if "," in w]
    if not commas:
        return None, ""
    plain = [w for w in words if "," not in w]
    if not all(_is_number(w) for w in plain):
        return None, ""
    grouped = all(THOUSANDS.match(w) for w in commas) and any("." in w or w.count(",") > 1 for w in words)
    if grouped:
        return np.array([float(w.replace(",", "")) for w in words]), "numbers with commas between thousands"
    decimals = all(DECIMAL_COMMA.match(w) for w in commas) and not all(THOUSANDS.match(w) for w in commas)
    if decimals and not any("." in w for w in plain):
        return np.array([float(w.replace(",", ".")) for w in words]), "numbers with a decimal comma"
    return None, ""


def _seconds(words: list[str]) -> np.ndarray | None:
    full = [f"{w}:00" if re.fullmatch(r"\d{1,2}:\d{2}", w) else w.replace(",", "") for w in words]
    try:
        return pd.to_timedelta(pd.Index(full)).total_seconds().to_numpy()
    except ValueError:
        return None


def _objects(values: pd.Series[Any], name: str) -> Decided | None:
    """A column of Python objects that are no words: numbers, dates, times, lists; None if it is one of words."""
    values = values.where(values.notna(), np.nan)  # of all the ways to be missing one
    present = values.dropna()
    types = {type(v) for v in present}
    if any(issubclass(t, list | dict | set | tuple | np.ndarray) for t in types):
        return values.map(str, na_action="ignore").astype("str"), "text", "lists or other nested values", ""
    if not types:
        return pd.Series(np.nan, index=values.index, name=name), "category", "empty", ""
    if all(issubclass(t, bool | np.bool_) for t in types):
        column = values.astype("boolean")
        return column.astype(bool) if not column.isna().any() else column, "number", "true or false", ""
    if all(issubclass(t, int | float | np.number | decimal.Decimal) for t in types):
        if any(issubclass(t, complex | np.complexfloating) for t in types):
            return values.map(str, na_action="ignore").astype("str"), "text", "complex numbers", ""
        return _number(pd.Series(pd.to_numeric(values.astype(float)), name=name), name)
    if all(issubclass(t, datetime.time) for t in types):
        seconds = values.map(
            lambda t: t.hour * 3600 + t.minute * 60 + t.second + t.microsecond / 1e6, na_action="ignore"
        )
        return _number(seconds.astype(float), name, "times of day, in seconds")
    if all(issubclass(t, datetime.timedelta | np.timedelta64) for t in types):
        seconds = values.map(_seconds_of, na_action="ignore")
        return _number(seconds.astype(float), name, "durations, in seconds")
    if all(issubclass(t, datetime.date | np.datetime64) for t in types):
        try:
            instants = pd.to_datetime(values, utc=True)
        except (ValueError, OverflowError, TypeError):
            return None
        return _instants(instants), "date", "dates", ""
    return None


def _seconds_of(duration: Any) -> float:
    if isinstance(duration, np.timedelta64):
        return float(duration / np.timedelta64(1, "s"))
    return float(duration.total_seconds())


def _word(value: Any) -> str:
    """How a value is written: whole numbers without a point, bytes as text."""
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace")
    if isinstance(value, float | np.floating) and np.isfinite(value) and value == int(value):
        return str(int(value))
    return str(value)


# As the user says ----------------------------------------------------------------------------------------


def _of_kind(
    values: pd.Series[Any], name: str, kind: Kind, reading: Reading
) -> tuple[pd.Series[Any], Column]:
    """The column as the kind that the user gave; words are words whatever they could have been read as."""
    if kind in ("id", "text"):
        words = values.map(_word, na_action="ignore").astype("str")
        return words, Column(name, kind, "as you said", float(words.isna().mean()))
    column, was, _, ambiguous = _decided(values, name, reading.form)
    if kind == was:
        pass
    elif kind == "number":
        dated = was == "date" and not ambiguous
        column = (
            (column - pd.Timestamp("1970-01-01").as_unit("us")).dt.total_seconds()
            if dated
            else _as_numbers(values, column, name, was)
        )
    elif kind == "category":
        column = values.map(_word, na_action="ignore").astype("str")
    elif kind in ("date", "period"):
        raise InputError(
            f"{name} was to be a {kind}, but {_word(values.dropna().iloc[0])!r} cannot be read as one. Give the format "
            "of its dates (--date-format), or another kind."
            if values.notna().any()
            else f"{name} was to be a {kind}, but it is empty."
        )
    return column, Column(
        name, kind, "as you said", float(column.isna().mean()), ambiguous if kind == "date" else ""
    )  # fmt: skip


def _as_numbers(values: pd.Series[Any], converted: pd.Series[Any], name: str, was: str) -> pd.Series[Any]:
    converted = values if was == "period" else converted
    numbers = pd.to_numeric(converted, errors="coerce")
    bad = (
        converted.notna()
        & numbers.isna()
        & ~converted.astype(str).str.strip().str.lower().isin(MISSING_WORDS)
    )
    if bad.any():
        raise InputError(
            f"{name} was to be a number, but {_word(converted[bad].iloc[0])!r} (row {int(np.flatnonzero(bad)[0])}) is "
            "none. Say what means missing (--na), or give another kind."
        )
    return numbers
