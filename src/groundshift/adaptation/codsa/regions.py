"""Rows with the region that each belongs to, and how many synthetic rows each region is given."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.cluster import KMeans

from groundshift.errors import InputError
from groundshift.models.table_code import Missing, TableCode
from groundshift.tables import find_column, refuse_unlabelled, some, split_domain, typed

__all__ = ["Rows", "allocation", "apportion", "read_rows", "read_source"]

Array = NDArray[np.float64]
Codes = NDArray[np.int64]
Task = Literal["auto", "classification", "regression"]
RULE = re.compile(r"\s*(.+?)\s*(<=|>=|==|!=|<|>)\s*(.+?)\s*$")
CLUSTERS = re.compile(r"clusters:(\d+)$")
MOST_REGIONS = 50
NUMBER_CLASSES = 10
"""Most values of a column of numbers that is read as classes."""


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows of a table, split into regions.

    Attributes
    ----------
    frame : the features as they were typed, and a target that is a number under its name
    code : of the features
    target : codes of the classes (n,), numbers (n,), or None
    domain : code of each row's region, (n,)
    domains : the regions
    classes : labels of the classes; empty where the target is a number or there is none
    target_name, domain_name : of the columns
    array : whether a learner is given an array
    feature : whether the region is a column of the table, which a learner is then given, too
    """

    frame: pd.DataFrame
    code: TableCode
    target: NDArray[Any] | None
    domain: Codes
    domains: tuple[Any, ...]
    classes: tuple[Any, ...]
    target_name: str
    domain_name: str
    array: bool = False
    feature: bool = False

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def cells(self) -> Codes:
        """Code of each row's region and class, which a generator is conditioned on."""
        if not self.classes or self.target is None:
            return self.domain
        return np.asarray(self.domain * len(self.classes) + self.target)

    @property
    def n_cells(self) -> int:
        return len(self.domains) * max(1, len(self.classes))

    @property
    def counts(self) -> Codes:
        """Rows of each region."""
        return np.bincount(self.domain, minlength=len(self.domains))

    def take(self, at: NDArray[Any]) -> Rows:
        """Some of the rows."""
        target = None if self.target is None else self.target[at]
        frame = self.frame.iloc[at].reset_index(drop=True)
        return Rows(**{**vars(self), "frame": frame, "target": target, "domain": self.domain[at]})

    def with_rows(self, frame: pd.DataFrame, cells: Codes) -> Rows:
        """These rows, followed by generated ones of given cells."""
        both = pd.concat([self.frame, frame[self.frame.columns]], ignore_index=True)
        domain, target = self.of_cells(cells)
        if target is None and self.target is not None:
            target = frame[self.target_name].to_numpy(dtype=float)
        target = None if target is None or self.target is None else np.concatenate([self.target, target])
        domain = np.concatenate([self.domain, domain])
        return Rows(**{**vars(self), "frame": both, "target": target, "domain": domain})

    def of_cells(self, cells: Codes) -> tuple[Codes, Codes | None]:
        """Region and class of cells."""
        return (cells // len(self.classes), cells % len(self.classes)) if self.classes else (cells, None)

    def inputs(self) -> pd.DataFrame | Array:
        """What a learner is given; see `learnable`."""
        region = pd.Categorical.from_codes(self.domain, dtype=pd.CategoricalDtype(list(self.domains)))
        return learnable(
            self.frame, self.code, self.array, {self.domain_name: region} if self.feature else {}
        )


def learnable(
    frame: pd.DataFrame, code: TableCode, array: bool, region: Mapping[str, Any]
) -> pd.DataFrame | Array:
    """Features as a learner takes them: categories with pandas' type, dates in days, without constant columns.

    With ``array`` these are numbers (n, d), of all columns. ``region`` is a column more.
    """
    columns: dict[str, Any] = {}
    for column in code.columns:
        values = frame[column.name]
        if column.kind == "category" and not array:
            levels = [level for level in column.levels if level is not None]
            columns[column.name] = pd.Categorical(values, categories=levels)
        elif column.kind == "date":
            columns[column.name] = (values - pd.Timestamp(column.origin)) / pd.Timedelta(days=1)
        elif column.kind != "constant" or array:
            columns[column.name] = values.to_numpy(dtype=float, na_value=np.nan)
    inputs = pd.DataFrame(columns)
    return inputs.to_numpy(dtype=float) if array else inputs.assign(**region)


def as_table(X: Any) -> Any:
    """The columns x1, x2, ... of an array; a table as it is."""
    if not isinstance(X, np.ndarray):
        return X
    if X.ndim != 2:
        raise InputError(f"Features of shape {X.shape} were given; rows (n, d) or a table are needed.")
    return pd.DataFrame(X, columns=[f"x{k + 1}" for k in range(X.shape[1])])


def read_rows(
    X: Any,
    y: Any,
    domain: Any,
    *,
    task: Task = "auto",
    missing: Missing = "refuse",
    min_rows: int = 5,
    learner: Any = "trees",
    seed: int = 0,
) -> Rows:
    """Features, target and regions of a table; see `groundshift.adaptation.CoDSA` for what each may be.

    Raises
    ------
    InputError
        No such column, missing targets or regions, a region of too few rows, one region only, too many regions.
    """
    frame = typed(as_table(X)).frame
    frame, y, domain = _with_target(frame, y, domain)
    target, classes, target_name = (None, (), "") if y is None else _target(frame, y, task)
    labels, domain_name = _regions(frame, domain, target, classes, target_name, missing, seed)
    feature = isinstance(domain, str) and domain == domain_name and not isinstance(X, np.ndarray)
    feature = feature and domain_name != target_name and not (RULE.match(domain) or CLUSTERS.match(domain))
    domains = tuple(labels.cat.categories)
    _check_regions(labels, domain_name, min_rows)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="Ids and free text")
        try:
            code = TableCode.of(frame, missing)
        except UserWarning:
            frame = frame.drop(columns=_left_out(frame))
            code = TableCode.of(frame, missing)
    frame = frame[[column.name for column in code.columns]]
    if target is not None and not classes:
        frame = frame.assign(**{target_name: target})
    return Rows(
        frame, code, target, labels.cat.codes.to_numpy().astype(np.int64), domains, classes, target_name,
        domain_name, isinstance(X, np.ndarray) and not isinstance(learner, str), feature,
    )  # fmt: skip


def _left_out(frame: pd.DataFrame) -> list[str]:
    names = typed(frame).of("id", "text")
    warnings.warn(
        f"Ids and free text are neither learnt from nor generated: {', '.join(names)}. Give a column another kind if "
        "it is none, or vectors of its texts (groundshift.models.sentences.encode_texts).",
        stacklevel=4,
    )
    return names


def _with_target(frame: pd.DataFrame, y: Any, domain: Any) -> tuple[pd.DataFrame, Any, Any]:
    """Rows that have a target, with a word on those that have none."""
    if y is None:
        return frame, y, domain
    target = (
        frame[find_column(y, frame.columns)] if isinstance(y, str) else pd.Series(np.asarray(y).reshape(-1))
    )
    known = target.notna().to_numpy()
    if known.all() or len(known) != len(frame):
        return frame, y, domain
    warnings.warn(
        f"{int((~known).sum())} of {len(known)} rows have no target, and were left out.", stacklevel=4
    )
    y, domain = (v if v is None or isinstance(v, str) else np.asarray(v)[known] for v in (y, domain))
    return frame[known].reset_index(drop=True), y, domain


def _target(frame: pd.DataFrame, y: Any, task: Task) -> tuple[NDArray[Any], tuple[Any, ...], str]:
    """Codes with their classes, or numbers without, and their name; a column of the frame is taken out of it."""
    if isinstance(y, str):
        target = frame.pop(find_column(y, frame.columns))
    else:
        name = str(getattr(y, "name", None) or "target")
        target = pd.Series(np.asarray(y).reshape(-1), name="target" if name in frame.columns else name)
    if len(target) != len(frame):
        raise InputError(f"{len(target)} targets were given for {len(frame)} rows; give one per row.")
    name = str(target.name)
    numeric = pd.api.types.is_numeric_dtype(target) and not pd.api.types.is_bool_dtype(target)
    if task == "regression" or (task == "auto" and numeric and target.nunique() > NUMBER_CLASSES):
        if not numeric:
            raise InputError(f"The target {target.name} is no number; take task='classification'.")
        return target.to_numpy(dtype=float), (), name
    codes, classes = pd.factorize(target, sort=True)
    if len(classes) < 2:
        raise InputError(f"All rows have the target {classes[0]!r}; two classes or more are needed.")
    return codes.astype(np.int64), tuple(np.asarray(classes).tolist()), name


def _regions(
    frame: pd.DataFrame, domain: Any, target: Any, classes: tuple[Any, ...], target_name: str, missing: Missing,
    seed: int,
) -> tuple[pd.Series[Any], str]:  # fmt: skip
    """The region of each row as a category, and what it is called."""
    if domain is None or (isinstance(domain, str) and domain in ("target", target_name)):
        if not classes:
            raise InputError(
                "No domain was given, and the target has no classes to be regions; name a column (domain=), give a "
                "rule such as 'age<30', or 'clusters:8'."
            )
        return pd.Series(np.array(classes, dtype=object)[target], dtype="category"), target_name
    if isinstance(domain, str) and domain not in frame.columns:
        if rule := RULE.match(domain):
            return _by_rule(frame, *rule.groups()), domain
        if clusters := CLUSTERS.match(domain):
            points = TableCode.of(frame, missing).encode(frame)
            codes = KMeans(int(clusters[1]), n_init=4, random_state=seed).fit_predict(points)
            return pd.Series(pd.Categorical([f"cluster {k + 1}" for k in codes])), domain
    if isinstance(domain, str):
        _, labels = split_domain(frame, domain)
        name = find_column(domain, frame.columns)
        del frame[name]  # a generator has it as the condition
        labels = labels.rename(name)
    else:
        _, labels = split_domain(frame, domain)
    return labels.astype("category").cat.remove_unused_categories(), str(labels.name)


def _by_rule(frame: pd.DataFrame, column: str, sign: str, value: str) -> pd.Series[Any]:
    values = frame[find_column(column, frame.columns)]
    refuse_unlabelled(values, f"value of {column}, which the rule needs")
    try:
        bound: Any = float(value) if pd.api.types.is_numeric_dtype(values) else value.strip("'\"")
        holds = {
            "<": values.lt,
            "<=": values.le,
            ">": values.gt,
            ">=": values.ge,
            "==": values.eq,
            "!=": values.ne,
        }[sign](bound)
    except (TypeError, ValueError) as error:
        raise InputError(f"The rule {column} {sign} {value} cannot be asked of {column}: {error}.") from error
    name = f"{column} {sign} {value}"
    return pd.Series(pd.Categorical(np.where(holds, name, f"not {name}")))


def _check_regions(labels: pd.Series[Any], name: str, min_rows: int) -> None:
    counts = labels.value_counts()
    if len(counts) < 2:
        raise InputError(
            f"All rows are of one region ({name} is {counts.index[0]!r}); two or more are needed."
        )
    if len(counts) > MOST_REGIONS:
        raise InputError(
            f"{name} has {len(counts)} regions, and at most {MOST_REGIONS} are compared; merge the rare ones, or take "
            "domain='clusters:8'."
        )
    if (few := counts[counts < min_rows]).size:
        raise InputError(
            f"Regions of fewer than {min_rows} rows: {some([f'{k} ({v})' for k, v in few.items()])}. Merge them, lower "
            "min_rows, or give a source table that has such rows."
        )


def read_source(source: Any, rows: Rows, y: Any, domain: Any, task: Task) -> Rows:
    """Rows of another table for a generator to begin with, in the regions and classes of both.

    Rows that are in the user's own table too are left out: a generator that saw them could not be judged on them.

    Raises
    ------
    InputError
        Columns that the source lacks, other classes than the table's.
    """
    if isinstance(source, tuple) and len(source) == 3:
        source, y, domain = source
    frame = typed(as_table(source)).frame
    named = [
        name for name in (y, domain) if isinstance(name, str) and name in (rows.target_name, rows.domain_name)
    ]
    absent = [c.name for c in rows.code.columns if c.name not in frame.columns]
    absent += [name for name in named if name not in frame.columns and not RULE.match(name)]
    if absent:
        raise InputError(f"The source has no column {some(absent)}; it needs the columns of the table.")
    extra = [name for name in frame.columns if name not in {*rows.frame.columns, *named}]
    other = read_rows(frame.drop(columns=extra), y, domain, task=task, missing="indicator", min_rows=1)
    if bool(other.classes) != bool(rows.classes) or not set(other.classes) <= set(rows.classes):
        raise InputError(
            f"The source has the classes {some(other.classes) or 'none'}, the table {some(rows.classes) or 'none'}; "
            "leave rows of other classes out."
        )
    common = [column.name for column in rows.code.columns]
    own = set(pd.util.hash_pandas_object(rows.frame[common].astype(str), index=False))
    twice = pd.util.hash_pandas_object(other.frame[common].astype(str), index=False).isin(own).to_numpy()
    if twice.any():
        warnings.warn(
            f"{int(twice.sum())} rows of the source are rows of the table, and were left out of it.",
            stacklevel=4,
        )
    domains = (*rows.domains, *(d for d in other.domains if d not in rows.domains))
    place = np.array([domains.index(d) for d in other.domains])
    target = other.target
    if rows.classes and target is not None:
        target = np.array([rows.classes.index(c) for c in other.classes])[target]
    kept = ~twice
    return Rows(
        other.frame[kept][rows.frame.columns].reset_index(drop=True), rows.code,
        None if target is None else target[kept], place[other.domain][kept], domains, rows.classes, rows.target_name,
        rows.domain_name,
    )  # fmt: skip


# How many rows each region is given ----------------------------------------------------------------------


def allocation(counts: ArrayLike, weights: ArrayLike, tilt: float) -> Array:
    """Shares α of the synthetic rows: (1 - t) times the regions' shares of the data, plus t times w/√n, normalised.

    Parameters
    ----------
    counts : rows n of each region
    weights : w of each region in the loss that matters
    tilt : t, 0 (as frequent as in the data) to 1

    Examples
    --------
    >>> allocation([90, 10], [0.5, 0.5], 0.0).tolist(), allocation([90, 10], [0.5, 0.5], 1.0).tolist()
    ([0.9, 0.1], [0.25, 0.75])
    """
    counts, weights = np.asarray(counts, dtype=float), np.asarray(weights, dtype=float)
    starved = weights / np.sqrt(np.maximum(counts, 1))
    return np.asarray((1 - tilt) * counts / counts.sum() + tilt * starved / starved.sum())


def apportion(shares: ArrayLike, total: int) -> Codes:
    """Whole numbers with a given sum, in given shares, by largest remainders.

    >>> apportion([0.5, 0.26, 0.24], 10).tolist()
    [5, 3, 2]
    """
    exact = np.asarray(shares, dtype=float) * total
    whole = np.floor(exact + 1e-9).astype(np.int64)
    order = np.argsort(whole - exact, kind="stable")
    whole[order[: total - whole.sum()]] += 1
    return whole
