"""The rows as CD-NOD sees them: the variables, and C, the domain or time of each row."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from groundshift.discovery.independence import ProductKernel, factor, standardise
from groundshift.errors import InputError

__all__ = ["Context", "DomainKind", "Variables", "context_width", "in_order", "kind_of", "learn_time_width"]

Array = NDArray[np.float64]
DomainKind = Literal["auto", "time", "domain"]

MIN_ROWS = 5
"""Fewest rows of a domain."""
GRID = 100
"""Points of time at which a drifting mechanism is compared."""
NOISES = np.array([0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.95, 0.999])


# The variables -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Variables:
    """The variables of a table: values (rows, d) each, labels as codes; ``labelled`` says which are labels."""

    names: list[str]
    values: list[Array]
    labelled: list[bool]

    @classmethod
    def make(
        cls,
        frame: pd.DataFrame,
        groups: Mapping[str, Sequence[str]],
        discrete: Sequence[str],
        domain: str,
        fewest: int = 2,
    ) -> Variables:
        known = [str(c) for c in frame.columns]
        frame = frame.set_axis(known, axis=1)
        for name in [*discrete, *itertools.chain.from_iterable(groups.values())]:
            if name not in known:
                raise InputError(f"There is no column {name!r}; the columns are {', '.join(known)}.")
        if domain in known:
            raise InputError(
                f"{domain!r} is among the variables and the domain as well; rename one of the two."
            )
        _refuse_holes(frame)
        grouped = set(itertools.chain.from_iterable(groups.values()))
        names, values, labelled = [], [], []
        for name in known:
            if name in grouped:
                continue
            is_label = name in discrete or not pd.api.types.is_numeric_dtype(frame[name])
            column = (
                pd.factorize(frame[name], sort=True)[0] if is_label else frame[name].to_numpy(dtype=float)
            )
            names.append(name)
            values.append(column[:, None].astype(float))
            labelled.append(is_label)
        for name, members in groups.items():
            names.append(name)
            values.append(frame[list(members)].to_numpy(dtype=float))
            labelled.append(False)
        if len(names) < fewest:
            raise InputError(f"{len(names)} variable was given; at least two are needed besides the domain.")
        return cls(names, values, labelled)

    def numbers(self, v: int) -> Array:
        """Standardised values; of labels, indicators so far apart that a Gaussian kernel is 1[a = b]."""
        if not self.labelled[v]:
            return standardise(self.values[v])
        codes = self.values[v][:, 0].astype(int)
        return np.eye(codes.max() + 1)[codes] * 10


def _refuse_holes(frame: pd.DataFrame) -> None:
    missing = frame.columns[frame.isna().any()]
    if len(missing):
        raise InputError(
            f"{int(frame.isna().any(axis=1).sum())} of {len(frame)} rows have missing values (columns "
            f"{', '.join(missing[:6])}). Fill them, or leave those rows out (table.dropna())."
        )
    constant = [str(c) for c in frame if frame[c].nunique() < 2]
    if constant:
        raise InputError(
            f"Constant columns: {', '.join(constant[:6])}. Leave them out; they can depend on nothing."
        )
    values = frame.apply(lambda c: pd.factorize(c)[0] if not pd.api.types.is_numeric_dtype(c) else c)
    infinite = [str(c) for c in values if not np.isfinite(values[c].to_numpy(dtype=float)).all()]
    if infinite:
        raise InputError(f"Infinite values in {', '.join(infinite[:6])}. Fill them, or leave those rows out.")
    rounded = values.apply(standardise).round(12).to_numpy().T + 0.0  # -0.0 is 0.0
    repeated = values.columns[pd.Index([column.tobytes() for column in rounded]).duplicated()]
    if len(repeated):
        raise InputError(
            f"{', '.join(repeated[:6])} repeats another column up to scale; given one, the other says nothing. "
            "Leave it out."
        )


def in_order(frame: pd.DataFrame, labels: pd.Series[Any], kind: str) -> tuple[pd.DataFrame, pd.Series[Any]]:
    """Rows by time; a domain has no order."""
    if kind == "domain" or labels.is_monotonic_increasing:
        return frame, labels
    warnings.warn(f"{labels.name} does not increase; rows are sorted by it.", stacklevel=3)
    order = labels.argsort(kind="stable")
    return frame.iloc[order].reset_index(drop=True), labels.iloc[order].reset_index(drop=True)


# C ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Context:
    """C: the domain or time of each row, and the points at which mechanisms are compared.

    ``between`` is k_C between these points and all rows, shape (points, rows).
    """

    kind: str
    codes: NDArray[np.int64]
    times: Array
    points: Array
    labels: pd.Index[Any]
    width: float

    @classmethod
    def make(cls, domain: pd.Series[Any], kind: str, width: float) -> Context:
        if kind == "domain":
            codes, labels = pd.factorize(domain, sort=True)
            points = np.arange(len(labels), dtype=float)
            return cls("domain", codes.astype(np.int64), codes.astype(float), points, pd.Index(labels), width)
        times = standardise(_as_numbers(domain)[:, None])[:, 0]
        chosen = np.unique(np.linspace(0, len(times) - 1, min(GRID, len(times))).round().astype(int))
        return cls(
            "time", np.arange(len(times)), times, times[chosen], pd.Index(domain.to_numpy()[chosen]), width
        )

    @property
    def between(self) -> Array:
        if self.kind == "domain":
            return (self.points[:, None] == self.times[None, :]).astype(float)
        return np.exp(-0.5 * ((self.points[:, None] - self.times[None, :]) / self.width) ** 2)

    def kernel(self, values: Array | None = None) -> ProductKernel:
        """k_C, or its product with a Gaussian kernel on values that are divided by their width."""
        values = np.zeros((len(self.times), 0)) if values is None else values
        if self.kind == "domain":
            return ProductKernel(values, self.codes)
        return ProductKernel(np.column_stack([values, self.times / self.width]), None)


def kind_of(domain: pd.Series[Any], kind: DomainKind) -> Literal["time", "domain"]:
    """Time or domain, after checking that the column can be either."""
    if kind not in ("auto", "time", "domain"):
        raise InputError(f"domain_kind may be 'auto', 'time' or 'domain'; {kind!r} was given.")
    counts = domain.value_counts()
    numeric = pd.api.types.is_numeric_dtype(domain) and not pd.api.types.is_bool_dtype(domain)
    ordered = numeric or pd.api.types.is_datetime64_any_dtype(domain)
    if len(counts) < 2:
        raise InputError(
            f"Every row has the domain {domain.iloc[0]!r}; rows from at least two domains, or a time for each row, are "
            "needed to see a change."
        )
    if kind == "auto":
        kind = "time" if ordered and len(counts) > len(domain) / MIN_ROWS else "domain"
    if kind == "time":
        if not ordered:
            raise InputError(
                f"A time of type {domain.dtype} was given (for example {domain.iloc[0]!r}); numbers or dates are "
                "needed. Use domain_kind='domain' (--domain-kind domain) for labels."
            )
        return "time"
    small = counts[counts < MIN_ROWS]
    if len(small) == len(counts) and len(counts) == len(domain):
        raise InputError(
            f"Each of the {len(domain)} rows has a domain of its own; give a column with repeated labels, or a "
            "numeric or date column with domain_kind='time' (--domain-kind time)."
        )
    if len(small):
        raise InputError(
            f"{len(small)} of {len(counts)} domains have fewer than {MIN_ROWS} rows: "
            f"{', '.join(f'{name} ({n})' for name, n in small.head(6).items())}. Merge them, or leave them out."
        )
    return "domain"


def _as_numbers(times: pd.Series[Any]) -> Array:
    if pd.api.types.is_datetime64_any_dtype(times):
        return np.asarray(times.astype("int64"), dtype=float)
    return np.asarray(times, dtype=float)


def context_width(
    table: Variables, labels: pd.Series[Any], kind: str, given: float | Literal["learned"]
) -> float:
    """Kernel width of C: given, or learnt from the columns that hold numbers."""
    if kind == "domain":
        return 1.0
    if given != "learned":
        return float(given)
    continuous = [v for v, is_label in zip(table.values, table.labelled, strict=True) if not is_label]
    return learn_time_width(np.column_stack(continuous), _as_numbers(labels)) if continuous else 0.4


def learn_time_width(X: Array, times: Array) -> float:
    """Kernel width of time, in its standard deviations, by the marginal likelihood of Gaussian processes.

    Level and spread of every column are regressed on time, all with one width from a grid, each with its own noise;
    at most 1,000 evenly spaced rows are used. One width for all questions is wrong: too small, and the regression on
    time overfits; too large, and fast swings are missed.

    Parameters
    ----------
    X : shape (rows, n)
    times : shape (rows,)

    Examples
    --------
    >>> t = np.arange(400.0)
    >>> slow, fast = np.sin(t / 100)[:, None], np.sin(t / 8)[:, None]
    >>> noise = 0.3 * np.random.default_rng(0).standard_normal((400, 1))
    >>> learn_time_width(slow + noise, t) > learn_time_width(fast + noise, t)
    True
    """
    some = np.unique(np.linspace(0, len(times) - 1, min(1000, len(times))).round().astype(int))
    t = standardise(np.asarray(times, dtype=float)[some][:, None])
    level = standardise(np.asarray(X, dtype=float)[some])
    targets = np.column_stack([level, standardise(level**2)])
    likelihood: dict[float, float] = {}
    for width in (0.05, 0.07, 0.1, 0.14, 0.2, 0.28, 0.4, 0.56, 0.8, 1.1, 1.6):
        kernel = ProductKernel(t / width, None)
        left = factor(kernel.against, len(t), 200, 1e-8)
        basis, singular, _ = np.linalg.svd(left, full_matrices=False)
        energy = (basis.T @ targets) ** 2
        rest = (targets**2).sum(0) - energy.sum(0)
        likelihood[width] = sum(
            max(_log_likelihood(singular**2, energy[:, k], rest[k], len(t), noise) for noise in NOISES)
            for k in range(targets.shape[1])
        )
    best = max(likelihood.values())
    return max(width for width, value in likelihood.items() if value > best - 2)  # the widest that is as good


def _log_likelihood(eigenvalues: Array, energy: Array, rest: float, rows: int, noise: float) -> float:
    """Of y ~ N(0, (1 - noise) K + noise I), from the energy of y along the eigenvectors of K and outside them."""
    variance = (1 - noise) * eigenvalues + noise
    outside = rows - len(eigenvalues)
    return float(
        -0.5 * ((energy / variance).sum() + rest / noise + np.log(variance).sum() + outside * np.log(noise))
    )
