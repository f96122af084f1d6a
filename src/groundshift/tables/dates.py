"""Dates and periods written as words. An order of day and month that the words leave open is never guessed."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

__all__ = ["DateForm", "Dates", "parse_dates", "parse_periods"]

SAMPLE = 200
"""Words that are tried first; most columns are no dates, which these already show."""
TIME = (
    r"(?:[T ]+(?P<time>\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?)\s*(?P<half>[AaPp]\.?[Mm]\.?)?"
    r"\s*(?P<zone>Z|UTC|[+-]\d{2}:?\d{2})?)?"
)
ISO = re.compile(
    r"\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?\s*(?:Z|UTC|[+-]\d{2}:?\d{2})?)?$"
)
YEAR_FIRST = re.compile(
    rf"(?P<year>\d{{4}})(?P<mark>[-/.])(?P<month>\d{{1,2}})(?P=mark)(?P<day>\d{{1,2}}){TIME}$"
)
YEAR_LAST = re.compile(
    rf"(?P<a>\d{{1,2}})(?P<mark>[-/.])(?P<b>\d{{1,2}})(?P=mark)(?P<year>\d{{4}}|\d{{2}}){TIME}$"
)
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
MONTH = r"(?P<name>(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*)\.?"
WEEKDAY = r"(?:(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*\.?,?\s+)?"
DAY = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?"
NAMED = (
    re.compile(rf"{WEEKDAY}{DAY}[-\s/.]+{MONTH},?[-\s/.]+(?P<year>\d{{4}}|\d{{2}}){TIME}$", re.I),
    re.compile(rf"{WEEKDAY}{MONTH}[-\s/.]+{DAY},?[-\s/.]+(?P<year>\d{{4}}){TIME}$", re.I),
)


@dataclass(frozen=True)
class DateForm:
    """What the user says of how dates are written.

    Attributes
    ----------
    format : as of `datetime.strptime`, e.g. "%d.%m.%Y"
    day_first : whether 01/02/2024 is the first of February; None where nothing was said
    """

    format: str | None = None
    day_first: bool | None = None


@dataclass(frozen=True)
class Dates:
    """Words read as dates.

    Attributes
    ----------
    values : datetime64[us], in UTC where the words have offsets; NaT for all where ``ambiguous``
    why : how they were read
    ambiguous : an example whose day and month cannot be told apart, or ""
    """

    values: pd.DatetimeIndex
    why: str
    ambiguous: str = ""


def parse_dates(words: Sequence[str], form: DateForm) -> Dates | None:
    """Read words as dates; None if they are none.

    Examples
    --------
    >>> parse_dates(["31/01/2024", "01/02/2024"], DateForm()).values.strftime("%Y-%m-%d").tolist()
    ['2024-01-31', '2024-02-01']
    >>> parse_dates(["03/01/2024", "01/02/2024"], DateForm()).ambiguous
    '03/01/2024'
    >>> parse_dates(["Jan 5, 2024"], DateForm()).values.strftime("%Y-%m-%d").tolist()
    ['2024-01-05']
    """
    some = [w.strip() for w in words[:SAMPLE]]
    if not some:
        return None
    if form.format is not None and _by_format(some, form.format) is not None:
        values = _by_format(words, form.format)
        return None if values is None else Dates(values, f"dates of the format {form.format}")
    if all(ISO.match(w) for w in some):
        values = _iso(words)
        if values is not None:
            offsets = any(re.search(r"\d[+-]\d{2}:?\d{2}$|Z$|UTC$", w) for w in some)
            return Dates(values, "dates with offsets, read as UTC" if offsets else "dates")
    if all(YEAR_FIRST.match(w) for w in some):
        return _assembled(words, YEAR_FIRST, lambda m: (m["year"], m["month"], m["day"]), "dates")
    for pattern in NAMED:
        if all(pattern.match(w) for w in some):
            return _assembled(
                words, pattern, lambda m: (m["year"], str(_month(m)), m["day"]), "dates with named months"
            )
    if all(YEAR_LAST.match(w) for w in some):
        return _year_last(words, form)
    return None


def _month(match: re.Match[str]) -> int:
    return MONTHS.index(match["name"][:3].lower()) + 1


def _by_format(words: Sequence[str], form: str) -> pd.DatetimeIndex | None:
    try:
        return _naive(pd.to_datetime(pd.Index(words), format=form, utc=True))
    except (ValueError, TypeError, OverflowError):
        return None


def _iso(words: Sequence[str]) -> pd.DatetimeIndex | None:
    cleaned = pd.Index(words).str.strip().str.replace("UTC", "Z").str.replace(",", ".")
    try:
        return _naive(pd.to_datetime(cleaned, format="ISO8601", utc=True))
    except (ValueError, OverflowError):
        return None


def _naive(values: pd.DatetimeIndex) -> pd.DatetimeIndex:
    return values.tz_convert(None).as_unit("us") if values.tz is not None else values.as_unit("us")


def _year_last(words: Sequence[str], form: DateForm) -> Dates | None:
    """1/2/2024: the order of day and month is what the user says, or what a number above 12 shows."""
    matches = [YEAR_LAST.match(w.strip()) for w in words]
    if not all(matches):
        return None
    first = max(int(m["a"]) for m in matches if m)
    second = max(int(m["b"]) for m in matches if m)
    if first > 12 and second > 12:
        return None
    day_first = form.day_first
    if first > 12 or second > 12:
        day_first = first > 12  # what is written stands above what is said
    if day_first is None:
        example = next((m for m in matches if m and m["a"] != m["b"]), matches[0])
        return Dates(
            pd.DatetimeIndex([pd.NaT] * len(words)), "dates whose day and month cannot be told apart",
            example.string.strip() if example else words[0],
        )  # fmt: skip
    day, month = ("a", "b") if day_first else ("b", "a")
    return _assembled(
        words, YEAR_LAST, lambda m: (m["year"], m[month], m[day]),
        f"dates, the {'day' if day_first else 'month'} first",
    )  # fmt: skip


def _assembled(
    words: Sequence[str],
    pattern: re.Pattern[str],
    parts: Callable[[re.Match[str]], tuple[str, str, str]],
    why: str,
) -> Dates | None:
    """Dates put together from the parts of a pattern; None if a word does not match or is no date."""
    texts = []
    for word in words:
        match = pattern.match(word.strip())
        if match is None:
            return None
        year, month, day = parts(match)
        if len(year) == 2:  # as POSIX has it: 69 to 99 are of the last century
            year = f"19{year}" if int(year) > 68 else f"20{year}"
        texts.append(f"{year}-{int(month):02d}-{int(day):02d}{_clock(match)}")
    values = _iso(texts)
    return None if values is None else Dates(values, why)


def _clock(match: re.Match[str]) -> str:
    time = match["time"]
    if not time:
        return ""
    hour, _, rest = time.partition(":")
    if match["half"]:
        hour = str(int(hour) % 12 + (12 if match["half"][0] in "pP" else 0))
    return f"T{int(hour):02d}:{rest.replace(',', '.')}{(match['zone'] or '').replace('UTC', 'Z')}"


# Periods -------------------------------------------------------------------------------------------------


def _part(match: re.Match[str]) -> int:
    return int(match["part"])


PERIODS: tuple[tuple[re.Pattern[str], int, Callable[[re.Match[str]], int]], ...] = (
    (re.compile(r"(?P<year>\d{4})\s*[-/ .M]\s*(?P<part>\d{1,2})$"), 12, _part),
    (re.compile(r"(?P<part>\d{1,2})[-/.](?P<year>\d{4})$"), 12, _part),
    (re.compile(r"(?P<year>\d{4})\s*[-/ ]?\s*Q(?P<part>\d)$", re.I), 4, _part),
    (re.compile(r"Q(?P<part>\d)\s*[-/ ']?\s*(?P<year>\d{4}|\d{2})$", re.I), 4, _part),
    (re.compile(r"(?P<year>\d{4})\s*[-/ ]?\s*[HS](?P<part>\d)$", re.I), 2, _part),
    (re.compile(r"[HS](?P<part>\d)\s*[-/ ]?\s*(?P<year>\d{4})$", re.I), 2, _part),
    (re.compile(r"(?P<year>\d{4})\s*[-/ ]?\s*(?:W|KW|week\s*)(?P<part>\d{1,2})$", re.I), 53, _part),
    (re.compile(r"(?:W|KW|week)\s*(?P<part>\d{1,2})\s*[-/ ,]?\s*(?P<year>\d{4})$", re.I), 53, _part),
    (re.compile(rf"{MONTH}[-\s/']*(?P<year>\d{{4}}|\d{{2}})$", re.I), 12, _month),
    (re.compile(rf"(?P<year>\d{{4}})[-\s/]*{MONTH}$", re.I), 12, _month),
)  # fmt: skip
WEEK_OF_DAYS = re.compile(r"(?P<start>\d{4}-\d{2}-\d{2})/\d{4}-\d{2}-\d{2}$")
NAMES = {12: "months", 4: "quarters", 2: "half-years", 53: "weeks"}


def parse_periods(words: Sequence[str]) -> tuple[list[Any], str] | None:
    """A key of each word that sorts in the order of time, and what the periods are; None if the words are none.

    Examples
    --------
    >>> keys, what = parse_periods(["2024-10", "2024-9"])
    >>> keys[1] < keys[0], what
    (True, 'months')
    """
    stripped = [w.strip() for w in words]
    if stripped and all(WEEK_OF_DAYS.match(w) for w in stripped[:SAMPLE]):
        matches = [WEEK_OF_DAYS.match(w) for w in stripped]
        return ([m["start"] for m in matches if m], "weeks") if all(matches) else None
    for pattern, most, part in PERIODS:
        if not stripped or pattern.match(stripped[0]) is None:
            continue
        keys = []
        for word in stripped:
            match = pattern.match(word)
            if match is None or not 1 <= part(match) <= most:
                break
            year = int(match["year"])
            keys.append((year if year > 99 else 1900 + year if year > 68 else 2000 + year, part(match)))
        else:
            return keys, NAMES[most]
    return None


def compact_dates(values: np.ndarray) -> pd.DatetimeIndex | None:
    """Whole numbers such as 20240131 as dates, if every one of them is one between 1900 and 2100."""
    if values.size == 0 or values.min() < 19000101 or values.max() > 21001231:
        return None
    days, months = values % 100, values // 100 % 100
    if months.min() < 1 or months.max() > 12 or days.min() < 1 or days.max() > 31:
        return None
    try:
        return _naive(pd.to_datetime(pd.Index(values).astype(str), format="%Y%m%d", utc=True))
    except ValueError:
        return None


def compact_months(values: np.ndarray) -> bool:
    """Whether whole numbers such as 202401 are all months between 1900 and 2100, and more than one year's first."""
    if values.size == 0 or values.min() < 190001 or values.max() > 210012:
        return False
    months = values % 100
    return bool(months.min() >= 1 and months.max() <= 12)
