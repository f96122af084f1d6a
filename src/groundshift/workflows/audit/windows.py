"""A time cut into windows whose start and end are said; a stub at an end joins its neighbour or is marked partial."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from groundshift.errors import InputError

__all__ = ["LEAST_ROWS", "NO_WINDOWS", "Windows", "cut_windows"]

LEAST_ROWS = 50
"""Fewest rows of a domain."""
MOST_WINDOWS = 8
MOST_PIECES = 100_000
CALENDAR = {"day": "D", "week": "W", "month": "M", "quarter": "Q", "year": "Y"}
STUB = 0.5
"""Share of a window that has to be covered for it to stand by itself."""
WHOLE = 0.95
NO_WINDOWS = pd.DataFrame(columns=["domain", "start", "end"])


@dataclass(frozen=True)
class Windows:
    """The window of each row.

    Attributes
    ----------
    labels : an ordered category of the windows' names, shape (rows,)
    table : domain, start, end (the last moment that belongs to it)
    notes : what was joined, what is partial, where windows have no rows
    """

    labels: pd.Series[Any]
    table: pd.DataFrame
    notes: tuple[str, ...]


def cut_windows(times: pd.Series[Any], window: str | None) -> Windows:
    """Cut a time into windows of a given length, or into windows of equally many rows.

    Parameters
    ----------
    times : dates, numbers, or an ordered category of periods, each of which is a window
    window : a length ("30d", "12h", or a number), or day, week, month, quarter or year; None for equally many rows

    Raises
    ------
    InputError
        No times; a window that cannot be read, is not positive or cuts too finely.

    Examples
    --------
    >>> days = pd.Series(pd.date_range("2024-01-01", "2024-03-31"), name="day")
    >>> cut_windows(days, "month").table["domain"].tolist()
    ['2024-01-01 to 2024-01-31', '2024-02-01 to 2024-02-29', '2024-03-01 to 2024-03-31']
    """
    if isinstance(times.dtype, pd.CategoricalDtype) and times.cat.ordered:
        return _of_periods(times, window)
    dated = pd.api.types.is_datetime64_any_dtype(times)
    if not dated and (not pd.api.types.is_numeric_dtype(times) or pd.api.types.is_bool_dtype(times)):
        raise InputError(
            f"The time {times.name!r} holds words such as {str(times.iloc[0])!r} that are neither dates nor numbers. "
            "Name a column of times, give the format of its dates (--date-format), or name it as domain."
        )
    if not dated:
        times = times.astype(float)
        if not np.isfinite(times).all():
            raise InputError(f"The time {times.name!r} holds infinite values; leave those rows out.")
    if window is None:
        return _of_equal_rows(times, dated)
    if window in CALENDAR:
        if not dated:
            raise InputError(f"The window {window!r} needs dates; the time {times.name!r} holds numbers.")
        starts = times.dt.to_period(CALENDAR[window]).dt.start_time
        ends = {s: (s.to_period(CALENDAR[window]) + 1).start_time for s in starts.unique()}
    else:
        step = _step(window, dated)
        first, last = times.min(), times.max()
        if (last - first) / step > MOST_PIECES:
            raise InputError(
                f"The window {window!r} cuts {first} to {last} into too many pieces; choose a longer one."
            )
        numbers = ((times - first) // step).astype(int)
        starts = numbers.map({k: first + k * step for k in sorted(numbers.unique())})
        ends = {s: s + step for s in starts.unique()}
    return _named(times, starts, ends, dated)


def _step(window: str, dated: bool) -> Any:
    try:
        step = pd.Timedelta(re.sub(r"(?<=\d)\s*d\b", "D", window)) if dated else float(window)
    except ValueError as error:
        example = "30d or 12h, or one of " + ", ".join(CALENDAR) if dated else "a number, as 100"
        raise InputError(f"The window {window!r} cannot be read ({error}); write {example}.") from error
    if not (step.total_seconds() if isinstance(step, pd.Timedelta) else step) > 0:
        raise InputError(f"The window {window!r} is not positive.")
    return step


def _of_periods(times: pd.Series[Any], window: str | None) -> Windows:
    if window is not None:
        raise InputError(
            f"{times.name} holds periods, each of which is a window; leave window out, or name a column of dates."
        )
    labels = times.cat.remove_unused_categories()
    return Windows(labels, NO_WINDOWS, ())


def _of_equal_rows(times: pd.Series[Any], dated: bool) -> Windows:
    """Quantiles of the time; rows of one moment stay together."""
    if times.nunique() < 2:
        raise InputError(f"The time {times.name!r} holds one value only; there is nothing to compare.")
    count = int(np.clip(len(times) // (4 * LEAST_ROWS), 2, MOST_WINDOWS))
    codes = pd.factorize(pd.qcut(times, count, labels=False, duplicates="drop"), sort=True)[0]
    span = times.groupby(codes).agg(["min", "max"])
    notes = [f"Time was cut into {len(span)} windows with equally many rows."]
    return _labelled(times, codes, list(span["min"]), list(span["max"]), dated, notes, {})


def _named(times: pd.Series[Any], starts: pd.Series[Any], ends: dict[Any, Any], dated: bool) -> Windows:
    """Stubs joined or marked, and gaps said."""
    order = sorted(ends)
    grain = _grain(times) if dated else 0
    first, last = times.min(), times.max() + grain
    covered = [(min(ends[s], last) - max(s, first)) / (ends[s] - s) for s in order]
    groups, notes = [[s] for s in order], []
    for at, where in ((len(order) - 1, "last"), (0, "first")):
        if len(groups) > 2 and covered[at] < STUB:
            stub = groups.pop(at if at == 0 else -1)
            neighbour = 0 if at == 0 else -1
            groups[neighbour] = stub + groups[neighbour] if at == 0 else groups[neighbour] + stub
            notes.append(
                f"The {where} window would hold {covered[at]:.0%} of its time only; it was joined to its neighbour."
            )
    partial = {
        k for k, at in ((0, 0), (len(groups) - 1, -1))
        if len(groups[k]) == 1 and STUB <= covered[at] < WHOLE
    }  # fmt: skip
    place = {s: k for k, group in enumerate(groups) for s in group}
    begins = [max(g[0], first) for g in groups]
    stops = [min(ends[g[-1]], last) for g in groups]
    holes = [k for k in range(len(order) - 1) if ends[order[k]] < order[k + 1]]
    codes = starts.map(place).to_numpy()
    if holes:
        shown = ", ".join(f"after {_moment(ends[order[k]], dated)}" for k in holes[:5])
        notes.append(f"There are windows without rows {shown}.")
    return _labelled(
        times,
        codes,
        begins,
        [_last(s) if dated else s for s in stops],
        dated,
        notes,
        dict.fromkeys(partial, " (partial)"),
    )


def _grain(times: pd.Series[Any]) -> pd.Timedelta:
    """A day where every time is midnight, else nothing: what the last moment of a window is."""
    return pd.Timedelta(1, "D") if (times == times.dt.normalize()).all() else pd.Timedelta(0)


def _last(end: pd.Timestamp) -> pd.Timestamp:
    """The day before, where a window ends at midnight."""
    return end - pd.Timedelta(1, "D") if end == end.normalize() else end


def _labelled(
    times: pd.Series[Any],
    codes: Any,
    begins: Sequence[Any],
    stops: Sequence[Any],
    dated: bool,
    notes: list[str],
    marks: dict[int, str],
) -> Windows:
    words = [
        f"{_moment(a, dated)} to {_moment(b, dated)}{marks.get(k, '')}"
        for k, (a, b) in enumerate(zip(begins, stops, strict=True))
    ]
    if len(set(words)) < len(words):
        words = [f"{k + 1}: {word}" for k, word in enumerate(words)]
    labels = pd.Series(
        pd.Categorical.from_codes(np.asarray(codes, dtype=np.int64), pd.Index(words), ordered=True),
        index=times.index,
        name=str(times.name),
    )
    notes += [f"The window {words[k]} is not complete." for k in marks]
    table = pd.DataFrame(
        {
            "domain": words,
            "start": [_moment(a, dated) for a in begins],
            "end": [_moment(b, dated) for b in stops],
        }
    )
    return Windows(labels, table, tuple(notes))


def _moment(value: Any, dated: bool) -> str:
    if not dated:
        return f"{value:g}"
    return f"{pd.Timestamp(value):%Y-%m-%d %H:%M}".removesuffix(" 00:00")
