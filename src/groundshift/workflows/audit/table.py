"""Step 1: the user's table, made ready. What is left out, merged or changed is said, never done silently."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from groundshift.errors import InputError
from groundshift.tables import open_arrays, read_table, split_domain
from groundshift.workflows.audit.result import Section

__all__ = ["AuditTable", "Task", "ingest", "read"]

Array = NDArray[np.float64]
Codes = NDArray[np.int64]
Task = Literal["auto", "classification", "regression"]

LEAST_ROWS = 50
"""Fewest rows of a domain."""
MOST_DOMAINS = 12
MOST_LEVELS = 30
"""Labels of a text column beyond which the rare ones are pooled."""
FEW_VALUES = 10
"""Numbers with at most so many values are compared as labels."""
MOST_CLASSES = 20


@dataclass(frozen=True)
class AuditTable:
    """A table ready to be compared across domains.

    Attributes
    ----------
    values : features as numbers, labels as codes, NaN where missing; shape (rows, features)
    names : of the features
    discrete : which features are compared as labels
    nominal : which features are labels without an order
    domain : code of each row's domain, shape (rows,)
    domains : names of the domains, in order of time where there is one
    ordered : whether the domains are windows of time
    reference : code of the domain that the others are compared with, or None
    target : class codes or numbers, NaN where there is no label; None without a target
    target_name : its column
    classes : labels of the classes; None for a number
    row : position of each row in the user's table
    """

    values: Array
    names: list[str]
    discrete: NDArray[np.bool_]
    nominal: NDArray[np.bool_]
    domain: Codes
    domains: list[str]
    ordered: bool
    reference: int | None
    target: Array | None
    target_name: str
    classes: list[str] | None
    row: Codes

    def __len__(self) -> int:
        return len(self.domain)

    def take(self, rows: NDArray[Any]) -> AuditTable:
        """Some rows of it."""
        target = None if self.target is None else self.target[rows]
        return replace(
            self, values=self.values[rows], domain=self.domain[rows], target=target, row=self.row[rows]
        )

    def sample(self, most: int, rng: np.random.Generator) -> AuditTable:
        """At most so many rows, the same share of every domain but no domain left with fewer than `LEAST_ROWS`."""
        if len(self) <= most:
            return self
        kept = []
        for code, size in enumerate(np.bincount(self.domain, minlength=len(self.domains))):
            rows = np.flatnonzero(self.domain == code)
            count = min(size, max(LEAST_ROWS, round(most * size / len(self))))
            kept.append(rng.choice(rows, count, replace=False))
        return self.take(np.sort(np.concatenate(kept)))

    def labelled(self) -> AuditTable:
        """The rows that have a label of the target."""
        if self.target is None:
            raise InputError("There is no target.")
        return self.take(np.flatnonzero(~np.isnan(self.target)))

    @property
    def labelled_domains(self) -> NDArray[np.int64]:
        """Codes of the domains with at least `LEAST_ROWS` labels of the target."""
        if self.target is None:
            return np.empty(0, dtype=np.int64)
        counts = np.bincount(self.domain[~np.isnan(self.target)], minlength=len(self.domains))
        return np.flatnonzero(counts >= LEAST_ROWS)

    def permuted(self, rng: np.random.Generator) -> AuditTable:
        """The same rows with their domains dealt out anew: nothing moves between these."""
        return replace(self, domain=rng.permutation(self.domain))


# Reading -------------------------------------------------------------------------------------------------


def read(
    data: Any,
    *,
    domain: Any,
    time: str | None,
    window: str | None,
    reference: Any,
    current: Any,
) -> tuple[pd.DataFrame, pd.Series[Any], bool, Any, list[str]]:
    """The features, the domain of each row, whether domains are windows of time, the reference, and notes.

    Raises
    ------
    InputError
        Neither or more than one of ``domain``, ``time`` and ``reference`` with ``current`` were given, or they do
        not fit the table.
    """
    if current is not None:
        if data is not None or domain is not None or time is not None or reference is None:
            raise InputError(
                "current was given; it goes with reference, two tables with the same columns, and without other data, "
                "domain or time."
            )
        frame, labels, notes = _two_tables(reference, current)
        return frame, labels, False, "reference", notes
    if data is None:
        raise InputError(
            "No data were given: a table with a domain or a time column, or reference and current."
        )
    if (domain is None) == (time is None):
        raise InputError(
            "Name the column whose values are compared: domain (labels, such as a shop or a month), or time (dates or "
            "numbers, cut into windows); exactly one of the two."
        )
    if time is None:
        if window is not None:
            raise InputError("window goes with time; name the column of dates with time.")
        features, labels = split_domain(*open_arrays(data, domain))
        if pd.api.types.is_numeric_dtype(labels) and labels.nunique() > max(
            MOST_DOMAINS, len(labels) / LEAST_ROWS
        ):
            raise InputError(
                f"The domain {labels.name!r} holds {labels.nunique():,} different numbers; if it is a time, name it "
                "with time instead of domain."
            )
        ordered = _is_ordered(labels)
        return features, labels, ordered, _known(reference, labels), []
    features, times = split_domain(*open_arrays(data, time))
    labels, notes = _windows(times, window)
    return features, labels, True, _known(reference, labels), notes


def _known(reference: Any, labels: pd.Series[Any]) -> Any:
    if reference is None:
        return None
    names = labels.astype(str)
    if str(reference) not in set(names):
        shown = ", ".join(sorted(names.unique())[:8])
        raise InputError(f"There is no domain {reference!r} to be the reference; there are {shown}.")
    return str(reference)


def _two_tables(reference: Any, current: Any) -> tuple[pd.DataFrame, pd.Series[Any], list[str]]:
    before, after = read_table(open_arrays(reference, None)[0]), read_table(open_arrays(current, None)[0])
    shared = [name for name in before.columns if name in set(after.columns)]
    if not shared:
        raise InputError(
            f"The two tables share no column: the reference has {', '.join(map(str, before.columns[:6]))}, the "
            f"current one {', '.join(map(str, after.columns[:6]))}."
        )
    alone = [str(n) for n in (*before.columns, *after.columns) if n not in shared]
    notes = [f"Columns of one table only are left out: {', '.join(alone)}."] if alone else []
    frame = pd.concat([before[shared], after[shared]], ignore_index=True)
    labels = pd.Series(["reference"] * len(before) + ["current"] * len(after), name="table")
    return frame, labels, notes


def _is_ordered(labels: pd.Series[Any]) -> bool:
    """Dates, periods such as 2024-05, and an ordered categorical are in order; other labels are not."""
    if pd.api.types.is_datetime64_any_dtype(labels) or isinstance(labels.dtype, pd.PeriodDtype):
        return True
    if isinstance(labels.dtype, pd.CategoricalDtype):
        return bool(labels.dtype.ordered)
    return bool(labels.astype(str).str.fullmatch(r"\d{4}[-/ ]?(Q[1-4]|W?\d{1,2})([-/]\d{1,2})?").all())


def _windows(times: pd.Series[Any], window: str | None) -> tuple[pd.Series[Any], list[str]]:
    """Cut a time into windows: of a given length, or as many as there are rows for, with equally many rows."""
    if not (pd.api.types.is_numeric_dtype(times) or pd.api.types.is_datetime64_any_dtype(times)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of formats that differ from row to row
            parsed = pd.to_datetime(times, errors="coerce")
        if parsed.isna().any():
            first = times[parsed.isna()].iloc[0]
            raise InputError(f"The time {times.name!r} holds {first!r}, which is no date and no number.")
        times = parsed
    if times.nunique() < 2:
        raise InputError(f"The time {times.name!r} holds one value only; there is nothing to compare.")
    dated = pd.api.types.is_datetime64_any_dtype(times)
    if window is None:
        count = int(np.clip(len(times) // (4 * LEAST_ROWS), 2, 8))
        cut = pd.qcut(times, count, duplicates="drop")
        notes = [f"Time was cut into {cut.cat.categories.size} windows with equally many rows."]
    else:
        try:
            step = pd.Timedelta(re.sub(r"(?<=\d)d\b", "D", window)) if dated else float(window)
        except ValueError as error:
            example = "30d or 12h" if dated else "a number, as 100"
            raise InputError(f"The window {window!r} cannot be read ({error}); write {example}.") from error
        if step <= type(step)(0):  # type: ignore[operator]
            raise InputError(f"The window {window!r} is not positive.")
        start, stop = times.min(), times.max()
        if (stop - start) / step > 100_000:
            raise InputError(
                f"The window {window!r} cuts {start} to {stop} into too many pieces; choose a longer one."
            )
        if dated:
            cut = (times - start) // step
            names = {
                k: f"{start + k * step:%Y-%m-%d %H:%M}".removesuffix(" 00:00") for k in sorted(cut.unique())
            }
        else:
            cut = ((times - start) // step).astype(int)
            names = {k: f"{start + k * step:g}" for k in sorted(cut.unique())}
        notes = _gaps(sorted(names), [names[k] for k in sorted(names)])
        cut = pd.Series(
            pd.Categorical.from_codes(
                pd.factorize(cut, sort=True)[0], pd.Index(list(names.values())), ordered=True
            )
        )
        return cut.rename(str(times.name)), notes
    words = [
        f"{i.left:%Y-%m-%d} to {i.right:%Y-%m-%d}" if dated else f"{i.left:g} to {i.right:g}"
        for i in cut.cat.categories
    ]
    if len(set(words)) < len(words):
        words = [f"{k + 1}: {word}" for k, word in enumerate(words)]
    return cut.cat.rename_categories(words).rename(str(times.name)), notes


def _gaps(numbers: Sequence[int], names: Sequence[str]) -> list[str]:
    holes = [f"after {names[k]}" for k in range(len(numbers) - 1) if numbers[k + 1] - numbers[k] > 1]
    return [f"There are windows without rows {', '.join(holes[:5])}."] if holes else []


# Making ready --------------------------------------------------------------------------------------------


def ingest(
    frame: pd.DataFrame,
    labels: pd.Series[Any],
    ordered: bool,
    reference: Any,
    notes: Sequence[str],
    *,
    target: str | None,
    task: Task,
    columns: Sequence[str] | None,
    drop: Sequence[str],
) -> tuple[AuditTable, Section]:
    """Types, missing values, domains that are too small, columns that say nothing; and the section about them."""
    notes = list(notes)
    frame = frame.reset_index(drop=True)
    frame.columns = [str(name) for name in frame.columns]
    if frame.columns.duplicated().any():
        raise InputError(
            f"The table has the column {frame.columns[frame.columns.duplicated()][0]!r} twice; rename one."
        )
    for name in (*(columns or ()), *drop, *((target,) if target else ())):
        if name not in frame.columns:
            raise InputError(f"There is no column {name!r}; the columns are {', '.join(frame.columns[:12])}.")
    goal = frame.pop(target) if target else None
    if columns is not None:
        frame = frame[[name for name in columns if name != target]]
    frame = frame.drop(columns=[name for name in drop if name in frame.columns])

    codes, domains, kept, more = _domains(labels, ordered, reference)
    notes += more
    frame, codes = frame[kept].reset_index(drop=True), codes[kept]
    row = np.flatnonzero(kept)
    if goal is not None:
        goal = goal[kept].reset_index(drop=True)

    told = _duplicates(frame, codes)
    notes += [told] if told else []
    made, report = [], []
    for name in frame.columns:
        column = _column(frame[name], codes, len(domains))
        missing = float(frame[name].isna().mean())
        report.append((name, column.kind, missing, column.note))
        if column.values is not None:
            made.append((name, column))
    if not made and goal is None:
        left = "; ".join(f"{name}: {note}" for name, _, _, note in report)
        raise InputError(f"No column can be compared ({left}). Name others with columns.")
    values = np.column_stack([np.asarray(c.values) for _, c in made]) if made else np.empty((len(codes), 0))
    classes, y, told = _target(goal, task)
    notes += [told] if told else []
    table = AuditTable(
        values=values,
        names=[name for name, _ in made],
        discrete=np.array([c.kind == "labels" or c.few for _, c in made], dtype=bool),
        nominal=np.array([c.kind == "labels" for _, c in made], dtype=bool),
        domain=codes,
        domains=domains,
        ordered=ordered,
        reference=domains.index(reference) if reference in domains else None,
        target=y,
        target_name=target or "",
        classes=classes,
        row=row,
    )
    return table, _section(table, report, notes, missing_by_domain(table))


@dataclass(frozen=True)
class _Column:
    kind: str
    note: str = ""
    values: Array | None = None
    few: bool = False


def _column(column: pd.Series[Any], domain: Codes, domains: int) -> _Column:
    """A column as numbers, or the reason why it is left out."""
    there = column.dropna()
    distinct = (
        there.nunique() if not there.map(lambda v: isinstance(v, list | dict | np.ndarray)).any() else -1
    )
    if distinct < 0:
        return _Column("nested", "holds lists or arrays; left out")
    if distinct == 0:
        return _Column("empty", "empty; left out")
    if distinct == 1 and there.size == column.size:
        return _Column("constant", "always the same; left out")
    if pd.api.types.is_datetime64_any_dtype(column):
        return _Column("date", "a date; left out (name it with time to compare windows)")
    numeric = pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
    if not numeric and distinct > max(0.5 * there.size, MOST_LEVELS):
        return _Column("text", "nearly every value is different (an id, or free text); left out")
    if pd.api.types.is_integer_dtype(column) and distinct == column.size > 2 * LEAST_ROWS:
        return _Column("id", "every value is different (an id); left out")
    per_domain = there.groupby(domain[there.index]).nunique()
    if len(per_domain) == domains and (per_domain == 1).all() and distinct > 1:
        return _Column("domain", "the same within every domain (another name for it); left out")
    if numeric:
        numbers = pd.to_numeric(column).to_numpy(dtype=float, na_value=np.nan)
        note = ""
        infinite = np.isinf(numbers)
        if infinite.any():
            note, numbers = (
                f"{int(infinite.sum())} infinite values count as missing",
                np.where(infinite, np.nan, numbers),
            )
        return _Column("numbers", note, numbers, few=distinct <= FEW_VALUES)
    text = column.astype(str).where(column.notna())
    common = text.value_counts()
    note = ""
    if len(common) > MOST_LEVELS:
        rare = set(common.index[MOST_LEVELS - 1 :])
        text = text.where(~text.isin(rare), "(others)")
        note = f"{len(rare)} rare labels are pooled"
    codes, _ = pd.factorize(text, sort=True)
    return _Column("labels", note, np.where(codes < 0, np.nan, codes).astype(float))


def _nested(column: pd.Series[Any]) -> bool:
    return column.dtype == object and bool(
        column.map(lambda v: isinstance(v, list | dict | np.ndarray)).any()
    )


def _domains(
    labels: pd.Series[Any], ordered: bool, reference: Any
) -> tuple[Codes, list[str], NDArray[np.bool_], list[str]]:
    """Codes and names of the domains; small ones are merged with their neighbour in time, or left out."""
    notes = []
    codes, names = pd.factorize(labels, sort=True)
    words = [str(name) for name in names]
    if reference == "reference" and set(words) == {"reference", "current"}:
        words, codes = ["reference", "current"], 1 - codes  # sorted, the current table would come first
    codes = codes.astype(np.int64)
    if ordered:
        codes, words, merged = _merge(codes, words)
        notes += merged
        kept = np.ones(len(codes), dtype=bool)
    else:
        sizes = np.bincount(codes, minlength=len(words))
        small = [k for k in range(len(words)) if sizes[k] < LEAST_ROWS]
        if small:
            shown = ", ".join(f"{words[k]} ({sizes[k]})" for k in small[:8])
            notes.append(f"{len(small)} domains have fewer than {LEAST_ROWS} rows and are left out: {shown}.")
        large = [k for k in range(len(words)) if k not in set(small)]
        if len(large) > MOST_DOMAINS:
            first = {words.index(reference)} if reference in words else set()
            most = sorted(large, key=lambda k: (k not in first, -sizes[k]))[: MOST_DOMAINS - 1]
            place = {k: n for n, k in enumerate(sorted(most))} | {
                k: MOST_DOMAINS - 1 for k in large if k not in most
            }
            notes.append(
                f"The {len(large) - len(most)} smallest of {len(large)} domains are pooled as (others)."
            )
            words = [words[k] for k in sorted(most)] + ["(others)"]
        else:
            place = {k: n for n, k in enumerate(large)}
            words = [words[k] for k in large]
        kept = np.isin(codes, list(place))
        codes = np.array([place.get(int(c), -1) for c in codes], dtype=np.int64)
    if reference is not None and reference not in words:
        notes.append(
            f"The reference {reference} was merged or left out; domains are compared with all others."
        )
    if len(words) < 2:
        raise InputError(
            f"{len(words)} domain with at least {LEAST_ROWS} rows was found ({', '.join(words) or 'none'}); at least "
            f"two are needed to see a shift. {' '.join(notes)}"
        )
    return codes, words, kept, notes


def _merge(codes: Codes, words: list[str]) -> tuple[Codes, list[str], list[str]]:
    """Neighbouring windows of time are merged while one is too small or there are too many."""
    groups = [[k] for k in range(len(words))]
    sizes = np.bincount(codes, minlength=len(words)).tolist()
    while len(groups) > 1 and (min(sizes) < LEAST_ROWS or len(groups) > MOST_DOMAINS):
        k = int(np.argmin(sizes))
        other = k - 1 if k == len(groups) - 1 or (k and sizes[k - 1] < sizes[k + 1]) else k + 1
        first, second = sorted((k, other))
        groups[first] += groups.pop(second)
        sizes[first] += sizes.pop(second)
    if len(groups) == len(words):
        return codes, words, []
    place = np.empty(len(words), dtype=np.int64)
    for n, group in enumerate(groups):
        place[group] = n
    named = [words[g[0]] if len(g) == 1 else f"{words[g[0]]} … {words[g[-1]]}" for g in groups]
    return (
        place[codes],
        named,
        [f"{len(words)} windows were merged into {len(groups)} with enough rows each."],
    )


def _duplicates(frame: pd.DataFrame, codes: Codes) -> str:
    """Whether rows stand again in another domain; tables of a few labels repeat themselves without harm."""
    frame = frame.loc[:, [not _nested(frame[name]) for name in frame]]
    distinct = frame.nunique()
    if frame.shape[1] < 2 or distinct.astype(float).clip(lower=1).pipe(np.log).sum() < 2 * np.log(len(frame)):
        return ""
    hashed = pd.util.hash_pandas_object(frame, index=False)
    several = pd.Series(codes).groupby(hashed.to_numpy()).transform("nunique") > 1
    if not several.any():
        return ""
    return (
        f"{int(several.sum()):,} rows ({several.mean():.1%}) stand in more than one domain, value for value: a leak, "
        "or the same export twice?"
    )


def _target(goal: pd.Series[Any] | None, task: Task) -> tuple[list[str] | None, Array | None, str]:
    if task not in ("auto", "classification", "regression"):
        raise InputError(f"task may be 'auto', 'classification' or 'regression'; {task!r} was given.")
    if goal is None:
        return None, None, ""
    there = goal.dropna()
    if there.nunique() < 2:
        raise InputError(f"The target {goal.name!r} holds {there.nunique()} value; two or more are needed.")
    numeric = pd.api.types.is_numeric_dtype(goal) and not pd.api.types.is_bool_dtype(goal)
    if task == "regression" and not numeric:
        raise InputError(f"The target {goal.name!r} holds text; task='regression' needs numbers.")
    whole = numeric and bool((there == there.round()).all())
    if task == "regression" or (task == "auto" and numeric and not (whole and there.nunique() <= FEW_VALUES)):
        numbers = pd.to_numeric(goal).to_numpy(dtype=float, na_value=np.nan)
        return None, np.where(np.isinf(numbers), np.nan, numbers), ""
    if there.nunique() > MOST_CLASSES:
        raise InputError(
            f"The target {goal.name!r} holds {there.nunique()} classes; at most {MOST_CLASSES} are compared. Pool the "
            "rare ones, or give task='regression' for numbers."
        )
    codes, names = pd.factorize(goal, sort=True)
    words = [str(name) for name in names]
    missing = int((codes < 0).sum())
    told = f"{missing:,} rows have no label of {goal.name}." if missing else ""
    return words, np.where(codes < 0, np.nan, codes).astype(float), told


def missing_by_domain(table: AuditTable) -> pd.DataFrame:
    """Share of missing values of the columns that have some, by domain."""
    missing = np.isnan(table.values)
    some = np.flatnonzero(missing.any(0))
    rows = {
        table.names[j]: [float(missing[table.domain == d, j].mean()) for d in range(len(table.domains))]
        for j in some
    }
    return (
        pd.DataFrame.from_dict(rows, orient="index", columns=table.domains)
        .rename_axis("column")
        .reset_index()
    )


def _section(
    table: AuditTable, report: list[tuple[str, str, float, str]], notes: list[str], missing: pd.DataFrame
) -> Section:
    sizes = np.bincount(table.domain, minlength=len(table.domains))
    columns = pd.DataFrame(report, columns=["column", "kind", "missing", "note"])
    domains = pd.DataFrame({"domain": table.domains, "rows": sizes})
    if table.target is not None:
        labelled = np.bincount(table.domain[~np.isnan(table.target)], minlength=len(table.domains))
        domains["labelled"] = labelled
    left = len(columns) - len(table.names)
    goal = "" if table.target is None else f", target {table.target_name}"
    answer = (
        f"{len(table):,} rows in {len(table.domains)} domains, {len(table.names)} columns compared"
        f"{f', {left} left out' if left else ''}{goal}."
    )
    tables = {"Domains": domains, "Columns": columns}
    if len(missing):
        tables["Share of missing values by domain"] = missing
    return Section(
        "ingest",
        "What was looked at?",
        answer,
        tuple(notes),
        tables,
        data={
            "rows": len(table),
            "domains": dict(zip(table.domains, sizes.tolist(), strict=True)),
            "columns": table.names,
        },
    )


def path_of(data: Any) -> str:
    """What to call the data in the report."""
    return Path(data).name if isinstance(data, str | Path) else type(data).__name__
