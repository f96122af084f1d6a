"""Step 1: the user's table, made ready. What is left out, merged or changed is said, never done silently."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from groundshift.errors import InputError, did_you_mean
from groundshift.report import Section
from groundshift.tables import (
    KEY_NAME,
    Column,
    Reading,
    Table,
    find_column,
    open_arrays,
    open_table,
    refuse_unlabelled,
    row_labels,
    some,
    typed,
)
from groundshift.workflows.audit.windows import LEAST_ROWS, NO_WINDOWS, cut_windows

__all__ = ["AuditTable", "Task", "ingest", "read"]

Array = NDArray[np.float64]
Codes = NDArray[np.int64]
Task = Literal["auto", "classification", "regression"]

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
    levels : words behind the codes of each nominal feature
    unseen : columns that a shift could be in though they are not compared, with their kinds
    axis : what the domains are called
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
    levels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    unseen: tuple[str, ...] = ()
    axis: str = "the domain"

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

    def within(self, domains: NDArray[Any]) -> AuditTable:
        """The rows of these domains."""
        return self.take(np.flatnonzero(np.isin(self.domain, domains)))

    def renumbered(self) -> AuditTable:
        """The same rows with the domains that they have, from 0."""
        codes, domain = np.unique(self.domain, return_inverse=True)
        names = [self.domains[c] for c in codes]
        was = None if self.reference is None else self.domains[self.reference]
        reference = names.index(was) if was in names else None
        return replace(self, domain=domain.astype(np.int64), domains=names, reference=reference)

    def permuted(self, rng: np.random.Generator) -> AuditTable:
        """The same rows with their domains dealt out anew: nothing moves between these."""
        return replace(self, domain=rng.permutation(self.domain))


# Reading -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rows:
    """The user's rows as they were read.

    Attributes
    ----------
    table : features and target, typed
    labels : the domain of each row, an ordered category where domains are in order of time
    ordered : whether they are
    reference : name of the domain that others are compared with, or None
    windows : name, start and end of each window of time; empty where domains are no windows
    notes : what was left out, merged or changed
    """

    table: Table
    labels: pd.Series[Any]
    ordered: bool
    reference: Any
    windows: pd.DataFrame
    notes: tuple[str, ...] = ()


def read(
    data: Any,
    *,
    domain: Any,
    time: str | None,
    window: str | None,
    reference: Any,
    current: Any,
    target: str | None,
    reading: Reading,
) -> Rows:
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
        return _two_tables(reference, current, target, reading)
    if data is None:
        raise InputError(
            "No data were given: a table with a domain or a time column, or reference and current."
        )
    if (domain is None) == (time is None):
        raise InputError(
            "Name the column whose values are compared: domain (labels, such as a shop or a month), or time (dates or "
            "numbers, cut into windows); exactly one of the two."
        )
    if time is None and window is not None:
        raise InputError("window goes with time; name the column of dates with time.")
    table, labels = _with_labels(data, domain if time is None else time, reading, target)
    if time is not None:
        windows = cut_windows(labels, window)
        return Rows(
            table, windows.labels, True, _known(reference, windows.labels), windows.table, windows.notes
        )
    distinct = labels.nunique()
    if distinct > max(MOST_DOMAINS, len(labels) / LEAST_ROWS) and (
        pd.api.types.is_numeric_dtype(labels) or pd.api.types.is_datetime64_any_dtype(labels)
    ):
        what = "numbers" if pd.api.types.is_numeric_dtype(labels) else "dates"
        raise InputError(
            f"The domain {labels.name!r} holds {distinct:,} different {what}; if it is a time, name it with time "
            "instead of domain, and it is cut into windows."
        )
    ordered = _is_ordered(labels)
    return Rows(table, labels, ordered, _known(reference, labels), NO_WINDOWS)


def _with_labels(data: Any, named: Any, reading: Reading, target: str | None) -> tuple[Table, pd.Series[Any]]:
    """The typed table without the column that says the domain, and that column; of an npz file its array."""
    source, labels = open_arrays(data, named, target=target)
    table = typed(source, reading)
    if not isinstance(labels, str):
        column = row_labels(labels, len(table.frame))
        labels = str(column.name)
        read_labels = typed(column.to_frame()).times(labels)
    else:
        find_column(labels, table.frame.columns)
        read_labels = table.times(labels)
        table = replace(
            table,
            frame=table.frame.drop(columns=labels),
            columns=tuple(c for c in table.columns if c.name != labels),
        )
    refuse_unlabelled(read_labels, labels)
    return table, read_labels


def _known(reference: Any, labels: pd.Series[Any]) -> Any:
    if reference is None:
        return None
    names = domain_names(labels)
    if str(reference) not in names:
        raise InputError(
            f"There is no domain {reference!r} to be the reference{did_you_mean(reference, names)} There are "
            f"{some(names, 8)}."
        )
    return str(reference)


def domain_names(labels: pd.Series[Any]) -> list[str]:
    """The different labels in words, in their order: of time, of a category, of the numbers within words."""
    if isinstance(labels.dtype, pd.CategoricalDtype):
        there = set(labels.dropna())
        return [str(c) for c in labels.cat.categories if c in there]
    values = labels.dropna().unique()
    if pd.api.types.is_numeric_dtype(labels) or pd.api.types.is_datetime64_any_dtype(labels):
        return [_day(v) for v in sorted(values)]
    return sorted(map(str, values), key=_natural)


def _day(value: Any) -> str:
    return (
        f"{value:%Y-%m-%d %H:%M:%S}".removesuffix(" 00:00:00")
        if isinstance(value, pd.Timestamp)
        else str(value)
    )


def _natural(word: str) -> list[tuple[int, int, str]]:
    """So that week 10 comes after week 9."""
    return [
        (0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"(\d+)", word) if part
    ]


def _two_tables(reference: Any, current: Any, target: str | None, reading: Reading) -> Rows:
    before, after = (open_table(open_arrays(t, None, target=target)[0]) for t in (reference, current))
    for frame, which in ((before, "reference"), (after, "current table")):
        if len(frame) == 0:
            raise InputError(f"The {which} has no rows.")
    if target is not None and target not in before.columns:
        find_column(target, before.columns, "the reference")
    notes = []
    if target is not None and target not in after.columns:
        after = after.assign(**{target: None})
        notes.append(f"The current table has no column {target}: its labels are not in yet.")
    shared = [name for name in before.columns if name in set(after.columns)]
    if not shared or shared == [target]:
        raise InputError(
            f"The two tables share no column: the reference has {some(before.columns, 6)}, the current one "
            f"{some(after.columns, 6)}."
        )
    for frame, where, other in (
        (before, "the reference", "the current table"),
        (after, "the current table", "the reference"),
    ):
        alone = [name for name in frame.columns if name not in shared]
        if alone:
            notes.append(f"Left out, since {other} lacks them: {some(alone)} (of {where}).")
    pieces, apart = {}, []
    for name in shared:
        one, two = before[name], after[name]
        if one.dtype != two.dtype and not _both_numbers(one, two) and one.notna().any() and two.notna().any():
            apart.append(name)
            one, two = one.astype(object), two.astype(object)
        pieces[name] = pd.concat([one, two], ignore_index=True)
    table = typed(pd.DataFrame(pieces), _for_columns(reading, shared, before, after))
    notes += [
        f"{name} is stored differently in the two tables ({before[name].dtype} and {after[name].dtype}); both were "
        f"read as {table[name].kind}."
        for name in apart
        if str(before[name].dtype) not in ("object", "str") or table[name].kind == "number"
    ]  # fmt: skip
    labels = pd.Series(["reference"] * len(before) + ["current"] * len(after), name="table")
    return Rows(table, labels, False, "reference", NO_WINDOWS, tuple(notes))


def _both_numbers(one: pd.Series[Any], two: pd.Series[Any]) -> bool:
    return pd.api.types.is_numeric_dtype(one) and pd.api.types.is_numeric_dtype(two)


def _for_columns(
    reading: Reading, shared: Sequence[str], before: pd.DataFrame, after: pd.DataFrame
) -> Reading:
    """Kinds given for a column of one table only are of no use, but no mistake."""
    either = {*before.columns, *after.columns}
    kinds = {name: kind for name, kind in reading.kinds.items() if name in shared or name not in either}
    return replace(reading, kinds=kinds)


def _is_ordered(labels: pd.Series[Any]) -> bool:
    """Dates, periods and an ordered category are in order; other labels are not."""
    if isinstance(labels.dtype, pd.CategoricalDtype):
        return bool(labels.cat.ordered)
    return pd.api.types.is_datetime64_any_dtype(labels)


# Making ready --------------------------------------------------------------------------------------------


def ingest(
    rows: Rows,
    *,
    target: str | None,
    task: Task,
    columns: Sequence[str] | None,
    drop: Sequence[str],
) -> tuple[AuditTable, Section]:
    """Features as numbers and codes, domains that are large enough, the target; and the section about them."""
    table, notes = rows.table, list(rows.notes)
    names = [c.name for c in table.columns]
    for name in (*(columns or ()), *drop, *((target,) if target else ())):
        find_column(name, names)
    goal = table.frame[target] if target else None
    used = [n for n in (columns if columns is not None else names) if n != target and n not in drop]

    codes, domains, kept, more = _domains(rows.labels, rows.ordered, rows.reference)
    notes += more
    frame, codes = table.frame.loc[kept, used].reset_index(drop=True), codes[kept]
    if goal is not None:
        goal = goal[kept].reset_index(drop=True)

    message = _duplicates(frame[[n for n in used if table[n].kind != "text"]], codes)
    notes += [message] if message else []
    notes += _units(frame[[n for n in used if table[n].kind in ("id", "category")]], table, codes)
    typed_columns, report = [], []
    for name in used:
        column = _feature(frame[name], table[name], codes, len(domains))
        report.append(
            (name, table[name].kind, table[name].why, table[name].missing, column.note or "compared")
        )
        if column.values is not None:
            typed_columns.append((name, column))
    if not typed_columns and goal is None:
        left = "; ".join(f"{name}: {note}" for name, _, _, _, note in report)
        raise InputError(
            f"No column can be compared ({left}). Name others with columns, or say what a column is with --kind "
            "column=kind (kinds={...} in Python)."
        )
    values = (
        np.column_stack([np.asarray(c.values) for _, c in typed_columns])
        if typed_columns
        else np.empty((len(codes), 0))
    )
    classes, y, message = _target(goal, task)
    notes += [message] if message else []
    ready = AuditTable(
        values=values,
        names=[name for name, _ in typed_columns],
        discrete=np.array([c.nominal or c.few for _, c in typed_columns], dtype=bool),
        nominal=np.array([c.nominal for _, c in typed_columns], dtype=bool),
        domain=codes,
        domains=domains,
        ordered=rows.ordered,
        reference=domains.index(rows.reference) if rows.reference in domains else None,
        target=y,
        target_name=target or "",
        classes=classes,
        row=np.flatnonzero(kept),
        axis="the table" if rows.reference == "reference" else str(rows.labels.name),
        levels={name: c.levels for name, c in typed_columns if c.nominal},
        unseen=tuple(
            f"{name} ({kind})" for name, kind, _, _, note in report if note != "compared" and kind in UNSEEN
            and note != SAME_DOMAIN
        ),
    )  # fmt: skip
    return ready, _section(ready, rows.windows, report, notes, missing_by_domain(ready))


UNSEEN = ("text", "id", "date", "period")
"""Kinds that are not compared though a shift could be in them; the headline says so."""
SAME_DOMAIN = "left out: the same within every domain (another name for it)"
NOT_COMPARED = {
    "text": "left out: free text is not compared",
    "id": "left out: a name of rows, not a measurement",
    "date": "left out: a date moves with time (name it with time to compare windows)",
    "period": "left out: a period moves with time (name it with domain to compare periods)",
    "constant": "left out: a constant says nothing",
}


@dataclass(frozen=True)
class _Feature:
    """A column made ready, or why it is left out; ``levels`` are the words behind its codes."""

    note: str = ""
    values: Array | None = None
    nominal: bool = False
    few: bool = False
    levels: tuple[str, ...] = ()


def _feature(column: pd.Series[Any], typed: Column, domain: Codes, domains: int) -> _Feature:
    if typed.kind in NOT_COMPARED:
        return _Feature(NOT_COMPARED[typed.kind])
    there = column.notna()
    per_domain = column[there].groupby(domain[there]).nunique()
    if len(per_domain) == domains and (per_domain == 1).all() and column.nunique() > 1:
        return _Feature(SAME_DOMAIN)
    if not there.any():
        return _Feature("left out: empty in the domains that are compared")
    if typed.kind == "number":
        numbers = column.to_numpy(dtype=float, na_value=np.nan)
        infinite = np.isinf(numbers)
        note = f"compared; {int(infinite.sum())} infinite values count as missing" if infinite.any() else ""
        return _Feature(note, np.where(infinite, np.nan, numbers), few=column.nunique() <= FEW_VALUES)
    words = column.astype(str).where(there)
    common = words.value_counts()
    note = ""
    if len(common) > MOST_LEVELS:
        rare = set(common.index[MOST_LEVELS - 1 :])
        words = words.where(~words.isin(rare), "(others)")
        note = f"compared; its {len(rare):,} rarest words are pooled"
    codes, levels = pd.factorize(words, sort=True)
    return _Feature(
        note, np.where(codes < 0, np.nan, codes).astype(float), nominal=True, levels=tuple(map(str, levels))
    )


def _units(frame: pd.DataFrame, table: Table, codes: Codes) -> list[str]:
    """Whether the same person or shop has rows in several domains: such rows are no independent draws."""
    notes = []
    for name in frame.columns:
        if table[name].kind == "category" and not KEY_NAME.search(name):
            continue
        units = pd.Series(codes).groupby(frame[name].to_numpy())
        sizes = units.size().to_numpy()
        if len(sizes) < 2 or sizes.max() < 2 or len(sizes) < 0.01 * len(codes):
            continue
        several = int((units.nunique() > 1).sum())
        if several < 0.02 * len(sizes):
            continue
        effective = sizes.sum() ** 2 / (sizes.astype(float) ** 2).sum()
        notes.append(
            f"{several:,} of {len(sizes):,} different {name} have rows in more than one domain. Rows of one {name} "
            f"are alike, so that {int(sizes.sum()):,} rows may tell as little as {effective:,.0f} independent ones; "
            "p-values and intervals take them as independent."
        )
    return notes


def _domains(
    labels: pd.Series[Any], ordered: bool, reference: Any
) -> tuple[Codes, list[str], NDArray[np.bool_], list[str]]:
    """Codes and names of the domains; small ones are merged with their neighbour in time, or left out."""
    notes = []
    words = domain_names(labels)
    if reference == "reference" and set(words) == {"reference", "current"}:
        words = ["reference", "current"]  # sorted, the current table would come first
    place_of = {word: k for k, word in enumerate(words)}
    codes = labels.map(_day).map(place_of).to_numpy().astype(np.int64)
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
    named = [_joined(words[g[0]], words[g[-1]]) for g in groups]
    return (
        place[codes],
        named,
        [f"{len(words)} windows were merged into {len(groups)} with enough rows each."],
    )


def _joined(first: str, last: str) -> str:
    """The name of neighbours in time: 2024-01-01 to 2024-02-29, or 2024-1 … 2024-2."""
    if first == last:
        return first
    if " to " in first and " to " in last:
        return f"{first.split(' to ')[0]} to {last.split(' to ')[1]}"
    return f"{first} … {last}"


def _duplicates(frame: pd.DataFrame, codes: Codes) -> str:
    """Whether rows stand again in another domain; tables of a few labels repeat themselves without harm."""
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
    if pd.api.types.is_datetime64_any_dtype(goal):
        raise InputError(
            f"The target {goal.name!r} holds dates; a target holds classes or numbers. Say what it is with --kind "
            f"{goal.name}=category or {goal.name}=number."
        )
    numeric = pd.api.types.is_numeric_dtype(goal) and not pd.api.types.is_bool_dtype(goal)
    if task == "regression" and not numeric:
        raise InputError(f"The target {goal.name!r} holds words; task='regression' needs numbers.")
    whole = numeric and bool((there == there.round()).all())
    if task == "regression" or (task == "auto" and numeric and not (whole and there.nunique() <= FEW_VALUES)):
        numbers = goal.to_numpy(dtype=float, na_value=np.nan)
        return None, np.where(np.isinf(numbers), np.nan, numbers), ""
    if there.nunique() > MOST_CLASSES:
        raise InputError(
            f"The target {goal.name!r} holds {there.nunique()} classes; at most {MOST_CLASSES} are compared. Pool the "
            "rare ones, or give task='regression' for numbers."
        )
    codes, names = pd.factorize(goal, sort=True)
    words = [str(int(n)) if isinstance(n, float) and n == int(n) else str(n) for n in names]
    missing = int((codes < 0).sum())
    note = f"{missing:,} rows have no label of {goal.name}." if missing else ""
    return words, np.where(codes < 0, np.nan, codes).astype(float), note


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
    table: AuditTable,
    windows: pd.DataFrame,
    report: Sequence[tuple[str, str, str, float, str]],
    notes: list[str],
    missing: pd.DataFrame,
) -> Section:
    sizes = np.bincount(table.domain, minlength=len(table.domains))
    columns = pd.DataFrame(report, columns=["column", "kind", "why", "missing", "note"])
    domains = pd.DataFrame({"domain": table.domains, "rows": sizes})
    if len(windows):
        domains = domains.merge(windows, how="left", on="domain")
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
        "What was read?",
        answer,
        tuple(notes),
        tables,
        data={
            "rows": len(table),
            "domains": dict(zip(table.domains, sizes.tolist(), strict=True)),
            "columns": table.names,
            "windows": domains[["domain", "start", "end"]].to_dict("records") if len(windows) else [],
        },
    )


def path_of(data: Any) -> str:
    """What to call the data in the report."""
    return Path(data).name if isinstance(data, str | Path) else type(data).__name__
