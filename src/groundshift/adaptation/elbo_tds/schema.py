"""What the columns of a table of impressions are, and which of them move over time."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from groundshift.adaptation.elbo_tds.evaluate import FEW
from groundshift.errors import InputError, did_you_mean
from groundshift.measures.drift import bin_numbers, stability_index, stability_noise
from groundshift.measures.ranking import group_auc
from groundshift.pages import number
from groundshift.report import Report, Section
from groundshift.result import Result
from groundshift.tables import (
    KEY_NAME,
    Reading,
    find_column,
    open_table,
    refuse_unlabelled,
    row_labels,
    some,
    typed,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Feature", "Rows", "Schema", "nested", "periods_of", "read_rows", "shift"]

Kind = Literal["id", "categorical", "dense", "list", "vector"]
Unit = Literal["hour", "day", "week", "month", "quarter", "year"]
UNITS: Mapping[str, str] = {"hour": "h", "day": "D", "week": "W", "month": "M", "quarter": "Q", "year": "Y"}
PERIODS = 40
"""Most periods that a time is cut into by itself, and most different numbers that are periods as they stand."""
BINS, MOVES = 10, 0.1
"""Bins of a feature, and the population stability index from which it is said to move."""
LEAK = 0.99
"""AUC of one feature alone from which it is suspected to know the label."""
VECTOR = 8
"""Fewest numbers of a vector; shorter cells are lists of elements."""
LISTED = re.compile(r"\s*\[.*\]\s*$", re.S)
TOKEN = re.compile(r"""[^\s,\[\]'"]+""")
SCALAR = re.compile(r"np\.\w+\(([^()]*)\)")
"""A number of numpy as ``str`` writes it in a list."""


@dataclass(frozen=True)
class Feature:
    """A feature: its name, its kind, why it is that, and whether it is resampled in training."""

    name: str
    kind: Kind
    why: str
    time_varying: bool = False


class Rows(NamedTuple):
    """Rows of a table.

    ``frame`` holds the columns as the table door types them, with cells that are lists in ``nested``; ``y``, ``times``
    and ``user`` are what was named, or None.
    """

    frame: pd.DataFrame
    nested: dict[str, list[list[str]]]
    kinds: dict[str, tuple[str, str]]
    y: pd.Series[Any] | None
    times: pd.Series[Any] | None
    user: pd.Series[Any] | None


# Reading -------------------------------------------------------------------------------------------------


def read_rows(
    X: Any, y: Any, domain: Any, user: Any, drop: Sequence[str] = (), kinds: Mapping[str, Any] | None = None
) -> Rows:
    """Read a table.

    Parameters
    ----------
    X : anything `groundshift.tables.open_table` takes
    y, domain, user : name of a column, or one value per row; None where there is none
    kinds : column → kind of the table door, or None for lists, of the table that a model was fitted to; other columns
        are passed over
    """
    frame = open_table(X)
    if kinds:
        named = [name for name in (y, domain, user) if isinstance(name, str)]
        frame = frame[list(dict.fromkeys(find_column(name, frame.columns) for name in [*kinds, *named]))]
    lists = {str(name): cells for name in frame if (cells := nested(frame[name])) is not None}
    frame = frame.drop(columns=list(lists))
    wanted = {name: kind for name, kind in (kinds or {}).items() if name in frame and kind is not None}
    table = typed(frame, Reading(wanted)) if len(frame.columns) else None
    every = pd.DataFrame(index=range(len(next(iter(lists.values()))))) if table is None else table.frame
    columns: dict[str, tuple[str, str]] = {c.name: (c.kind, c.why) for c in (table.columns if table else ())}
    taken: list[pd.Series[Any] | None] = []
    for what, given in (("label", y), ("domain", domain), ("user", user)):
        values = None
        if isinstance(given, str):
            name = find_column(given, every)
            values = table.times(name) if what == "domain" and table is not None else every[name]
            columns.pop(name, None)
        elif given is not None:
            values = row_labels(given, len(every))
        if values is not None:
            refuse_unlabelled(values, what)
        taken.append(values)
    gone = [v for v in (y, domain) if isinstance(v, str)] + [find_column(n, [*every, *lists]) for n in drop]
    for name in gone:
        columns.pop(name, None)
    if isinstance(user, str):  # the user is a feature as well
        columns[user] = ("id", "the user")
    frame = every.drop(columns=[name for name in gone if name in every])
    lists = {name: values for name, values in lists.items() if name not in gone}
    return Rows(frame, lists, columns, *taken)


def nested(column: pd.Series[Any]) -> list[list[str]] | None:
    """The cells of a column as lists of words, also where they are written as ``[1, 2]``; None if it holds no lists.

    >>> nested(pd.Series(["[3, 5]", None, "[]"]))
    [['3', '5'], [], []]
    """
    present = column.dropna()
    head = present.iloc[:50]
    if pd.api.types.is_numeric_dtype(column) or not len(head):
        return None
    if all(isinstance(v, list | tuple | np.ndarray) for v in head):
        return [[str(w) for w in v] if np.ndim(v) == 1 else [] for v in column]
    if not all(isinstance(v, str) and LISTED.match(v) for v in head):
        return None
    return [TOKEN.findall(SCALAR.sub(r"\1", v)) if isinstance(v, str) else [] for v in column]


def periods_of(
    times: pd.Series[Any], unit: Unit | None = None
) -> tuple[NDArray[np.int64], list[str], Unit | None]:
    """The period of each row as a code in the order of time, the names of the periods, and the unit of dates.

    Parameters
    ----------
    times : dates, periods, seconds or milliseconds since 1970, or numbers of few different values
    unit : of dates; by default the finest that gives at most 40 periods

    Raises
    ------
    InputError
        Text that has no order in time, or too many different numbers.

    Examples
    --------
    >>> codes, names, unit = periods_of(pd.Series(pd.to_datetime(["2024-03-01", "2024-01-09"])))
    >>> codes.tolist(), names, unit
    ([1, 0], ['2024-W02', '2024-W09'], 'week')
    """
    if isinstance(times.dtype, pd.CategoricalDtype):
        present = times.cat.remove_unused_categories()
        return np.asarray(present.cat.codes, dtype=np.int64), [str(c) for c in present.cat.categories], None
    if pd.api.types.is_numeric_dtype(times) and times.nunique() > PERIODS:
        middle = float(times.median())
        if not 1e8 < middle < 1e14:
            raise InputError(
                f"{times.name} holds {times.nunique():,} different numbers, which are no periods; give dates, seconds "
                f"or milliseconds since 1970, or a column of at most {PERIODS} periods."
            )
        times = pd.to_datetime(times, unit="s" if middle < 1e11 else "ms")
    if pd.api.types.is_datetime64_any_dtype(times):
        naive = times.dt.tz_localize(None) if times.dt.tz is not None else times
        if unit is None:
            ends = {u: pd.Series([naive.min(), naive.max()]).dt.to_period(code) for u, code in UNITS.items()}
            unit = next((u for u in get_args(Unit) if (ends[u][1] - ends[u][0]).n < PERIODS), "year")
        period = naive.dt.to_period(UNITS[str(unit)])
        codes, values = pd.factorize(period, sort=True)
        form = {"week": "%G-W%V", "hour": "%Y-%m-%d %H:00"}.get(str(unit))
        return codes.astype(np.int64), [v.end_time.strftime(form) if form else str(v) for v in values], unit
    if not pd.api.types.is_numeric_dtype(times):
        raise InputError(
            f"{times.name} holds texts such as {str(times.iloc[0])!r}, which have no order in time; give dates, "
            "periods or numbers. --kind and --date-format say how a column is read."
        )
    codes, values = pd.factorize(times, sort=True)
    return codes.astype(np.int64), [number(v) if v % 1 else str(int(v)) for v in values], None


# Schema --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, repr=False)
class Schema(Result):
    """The features of a table, and how each moved.

    Attributes
    ----------
    features : what is learnt from
    drift : a row per feature: ``psi``, the largest stability index between two consecutive periods; ``psi_rest``, the
        largest of one period against all others, which sees a drift that is slow; ``noise``, what both stay below by
        chance; ``auc_low`` and ``auc_high``, of the feature alone over the periods; ``moves``
    steps : the index of each feature (rows) between consecutive periods (columns)
    notes : columns that were left out, and suspicions
    subject : what was read
    settings : of the call
    """

    features: tuple[Feature, ...]
    drift: pd.DataFrame = field(default_factory=pd.DataFrame)
    steps: pd.DataFrame = field(default_factory=pd.DataFrame)
    notes: tuple[str, ...] = ()
    subject: str = "the table"
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def time_varying(self) -> list[str]:
        """Names of the features that are resampled in training."""
        return [f.name for f in self.features if f.time_varying]

    def of(self, kind: Kind) -> list[Feature]:
        """Features of a kind."""
        return [f for f in self.features if f.kind == kind]

    @classmethod
    def infer(
        cls, X: Any, *, domain: Any, label: Any = None, user: Any = None, ids: Sequence[str] = (),
        drop: Sequence[str] = (), period: Unit | None = None,
    ) -> Schema:  # fmt: skip
        """Type the columns of a table and propose which move over time; see `shift`."""
        rows = read_rows(X, label, domain, user, drop)
        codes, names, unit = periods_of(rows.times, period)  # type: ignore[arg-type]
        return cls.of_rows(rows, ids, (codes, names), {"period": unit})

    @classmethod
    def of_rows(
        cls, rows: Rows, ids: Sequence[str] = (), periods: tuple[NDArray[np.int64], list[str]] | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> Schema:  # fmt: skip
        """The schema of rows that were read; without periods nothing is said of drift."""
        features, notes = _features(rows, [find_column(name, rows.kinds) for name in ids])
        if not features:
            raise InputError(f"No column can be learnt from: {' '.join(notes)}")
        if periods is None:
            return cls(tuple(features), notes=tuple(notes), settings=settings or {})
        if len(periods[1]) < 2:
            raise InputError(f"All rows are of one period, {periods[1][0]}; drift needs two or more.")
        drift, steps = _drift(features, rows, *periods)
        moves = set(drift.loc[drift["moves"], "feature"])
        notes += [
            f"{name} alone has an AUC of {high:.3f}; look whether it is known before the label is."
            for name, high in zip(drift["feature"], drift["auc_high"], strict=True) if high > LEAK
        ]  # fmt: skip
        features = [Feature(f.name, f.kind, f.why, f.name in moves) for f in features]
        return cls(tuple(features), drift, steps, tuple(notes), f"{len(rows.frame):,} rows", settings or {})

    def with_time_varying(self, names: Sequence[str]) -> Schema:
        """The same schema with other features resampled."""
        known = [f.name for f in self.features]
        for name in names:
            if name not in known:
                raise InputError(
                    f"There is no feature {name!r}{did_you_mean(name, known)} The features are {some(known)}."
                )
        features = tuple(Feature(f.name, f.kind, f.why, f.name in names) for f in self.features)
        return Schema(features, self.drift, self.steps, self.notes, self.subject, self.settings)

    def report(self) -> Report:
        """Which features move, and by how much."""
        moving = self.time_varying
        shown = some(moving, 6) if moving else "No feature"
        return Report(
            "elbo_tds", self.subject,
            f"{len(moving)} of {len(self.features)} features move over time: {shown}." if moving
            else f"None of {len(self.features)} features moves over time beyond chance.",
            tone="open", warnings=self.notes,
            figure=("Stability index of each feature between consecutive periods", self._draw),
            sections=(
                Section("features", "Features", tables={"The largest movement first": self.to_frame()}, notes=(
                    f"psi is the largest population stability index between consecutive periods, psi_rest that of one "
                    f"period against all others; a feature moves where either is above {MOVES} and above what chance "
                    "gives (noise). auc_low and auc_high are of the feature alone, over periods.",)),
            ), settings=self.settings,
        )  # fmt: skip

    def _content(self) -> dict[str, Any]:
        return {
            "features": list(self.features),
            "drift": self.drift,
            "notes": self.notes,
            "settings": self.settings,
        }

    def to_frame(self) -> pd.DataFrame:
        """A row per feature, the largest movement first."""
        return self.drift

    def _draw(self, ax: Axes) -> None:
        top = self.steps.loc[self.drift["feature"][:15]]
        mesh = ax.imshow(
            top.to_numpy(), aspect="auto", cmap="Blues", vmin=0, vmax=max(0.25, float(top.max().max()))
        )
        ax.set_yticks(range(len(top)), top.index)
        every = max(1, len(top.columns) // 6)
        ax.set_xticks(range(0, len(top.columns), every), top.columns[::every])
        ax.figure.colorbar(mesh, ax=ax, label="stability index")


def shift(
    X: Any, *, domain: Any, label: Any = None, user: Any = None, ids: Sequence[str] = (), drop: Sequence[str] = (),
    period: Unit | None = None,
) -> Schema:  # fmt: skip
    """Which features of a table move over time, by the population stability index of consecutive periods.

    Parameters
    ----------
    X : array, table or path
        Table: a CSV or Parquet file.
    domain : name or one per row
        Time of each row: dates, periods, seconds or milliseconds since 1970, or numbers.
    label : name or one per row
        Label of each row, with two values; with it the AUC of each feature alone is measured in every period.
    user : name
        Column of the user.
    ids : names
        Columns that are ids although they hold numbers; those named like a key are found.
    drop : names
        Columns to leave out.
    period : "hour", "day", "week", "month", "quarter" or "year", optional
        Length of a period; by default the finest that gives at most 40.

    Raises
    ------
    InputError
        A time that cannot be read or has one period only, no such column, no column that can be learnt from.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> day = np.repeat([0, 1], 500)
    >>> table = pd.DataFrame({"price": rng.normal(day), "age": rng.normal(size=1000), "day": day})
    >>> shift(table, domain="day").time_varying
    ['price']
    """
    return Schema.infer(X, domain=domain, label=label, user=user, ids=ids, drop=drop, period=period)


def _features(rows: Rows, ids: Sequence[str]) -> tuple[list[Feature], list[str]]:
    """The features among the columns, and sentences on those that are left out."""
    features, out = [], []
    for name, values in rows.nested.items():
        sizes = {len(v) for v in values if v}
        if not sizes:
            out.append(f"{name} (empty)")
            continue
        dense = len(sizes) == 1 and min(sizes) >= VECTOR and all(_number(w) for v in values[:20] for w in v)
        features.append(
            Feature(name, "vector" if dense else "list", "lists of " + ("numbers" if dense else "elements"))
        )
    for name, (kind, why) in rows.kinds.items():
        column = rows.frame[name]
        key = kind == "number" and bool(KEY_NAME.search(name)) and bool((column.dropna() % 1 == 0).all())
        if kind in ("date", "text", "constant") or column.nunique() < 2:
            out.append(f"{name} ({why if kind in ('date', 'text') else 'one value only'})")
        elif kind == "id" or key or name in ids:
            if column.nunique() > 0.5 * len(column):
                out.append(f"{name} (an id that hardly ever repeats)")
            else:
                features.append(Feature(name, "id", "named as an id" if name in ids else why))
        else:
            features.append(Feature(name, "dense" if kind == "number" else "categorical", why))
    return features, [f"Left out: {'; '.join(out)}."] if out else []


def _number(word: str) -> bool:
    return bool(re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", word))


def _drift(
    features: Sequence[Feature], rows: Rows, codes: NDArray[np.int64], names: list[str]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The table of movements, and the index between consecutive periods."""
    sizes = np.bincount(codes, minlength=len(names))
    y = None if rows.y is None else pd.factorize(rows.y, sort=True)[0]
    table, steps = [], {}
    for f in features:
        values = _as_numbers(f, rows)
        bins = (
            bin_numbers(values, values, BINS)
            if f.kind in ("dense", "list", "vector")
            else _levels(rows.frame[f.name])
        )
        size = int(bins.max()) + 1
        counts = np.bincount(codes * size + bins, minlength=len(names) * size).reshape(len(names), size)
        steps[f.name] = [stability_index(a, b) for a, b in itertools.pairwise(counts)]
        rest = [stability_index(counts.sum(0) - c, c) for c in counts]
        tries = max(2 * len(names) - 1, 1)
        noise = max(stability_noise(a, b, size, 1 - 0.05 / tries) for a, b in itertools.pairwise(sizes))
        auc = [np.nan, np.nan] if y is None or y.max() > 1 else _alone(f, rows, y, codes, values)
        row: dict[str, Any] = {
            "feature": f.name,
            "kind": f.kind,
            "psi": max(steps[f.name]),
            "psi_rest": max(rest),
            "noise": noise,
        }
        moves = max(row["psi"], row["psi_rest"]) > max(MOVES, noise)
        table.append({**row, "auc_low": auc[0], "auc_high": auc[1], "moves": moves})
    drift = pd.DataFrame(table)
    largest = drift[["psi", "psi_rest"]].max(axis=1).sort_values(ascending=False, kind="stable").index
    return drift.loc[largest].reset_index(drop=True), pd.DataFrame(steps, index=names[1:]).T


def _as_numbers(f: Feature, rows: Rows) -> NDArray[np.float64]:
    """Numbers of a feature: of a list its length, of a vector its norm, of categories none."""
    if f.kind == "list":
        return np.array([len(v) for v in rows.nested[f.name]], dtype=float)
    if f.kind == "vector":
        return np.array([np.linalg.norm(np.array(v, dtype=float)) for v in rows.nested[f.name]])
    if f.kind == "dense":
        return rows.frame[f.name].to_numpy(dtype=float, na_value=np.nan)
    return np.full(len(rows.frame), np.nan)


def _levels(column: pd.Series[Any]) -> NDArray[np.int64]:
    """The most frequent nine values, all others, and missing ones, as bins."""
    top = {value: k for k, value in enumerate(column.value_counts().index[: BINS - 1])}
    other = column.astype(object).map(top).astype(float).fillna(len(top))
    return np.asarray(other.mask(column.isna().to_numpy(), len(top) + 1), dtype=np.int64)


def _alone(
    f: Feature, rows: Rows, y: NDArray[np.int64], codes: NDArray[np.int64], values: NDArray[np.float64]
) -> list[float]:
    """Lowest and highest AUC of a feature alone over the periods; of a category by its rate in the other periods."""
    if f.kind in ("id", "categorical"):
        level = pd.factorize(rows.frame[f.name])[0]
        both = pd.DataFrame({"level": level, "period": codes, "y": y})
        every, own = both.groupby("level")["y"], both.groupby(["level", "period"])["y"]
        clicks = every.transform("sum") - own.transform("sum")
        values = ((clicks + y.mean()) / (every.transform("size") - own.transform("size") + 1)).to_numpy(
            dtype=float
        )
    known = np.isfinite(values)
    if not known.any():
        return [np.nan, np.nan]
    auc = group_auc(y[known], values[known], codes[known], least=FEW)["auc"].dropna()
    auc = auc if not len(auc) or auc.mean() >= 0.5 else 1 - auc
    return [float(auc.min()), float(auc.max())] if len(auc) else [np.nan, np.nan]
