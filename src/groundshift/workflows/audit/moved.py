"""Step 2: did anything move? A classifier that tells the domains apart, and every column by itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from groundshift.measures.multiple import benjamini_hochberg
from groundshift.measures.two_sample import (
    auc_interval,
    categories_differ,
    mmd,
    numbers_differ,
    permuted_auc_p,
    simes,
)
from groundshift.report import Section
from groundshift.workflows.audit.models import Design, cross_fitted
from groundshift.workflows.audit.result import p_words
from groundshift.workflows.audit.table import AuditTable

__all__ = ["Moved", "compare_columns", "compare_missing", "moved", "tell_apart"]

Array = NDArray[np.float64]
NEARLY = 0.95


@dataclass(frozen=True)
class Moved:
    """What the domains differ in, before asking why.

    Attributes
    ----------
    scores : probability of each domain given the features, from a model of the other half; shape (rows, domains)
    auc, low, high, p : of the classifier, mean over domains
    by_domain : domain, auc, low, high
    columns : column, effect, low, high, shift (in standard deviations), p, q, domain
    missing : column, effect, low, high, p, q, domain
    mmd, mmd_p : maximum mean discrepancy; NaN unless the table is all numbers
    """

    scores: Array
    auc: float
    low: float
    high: float
    p: float
    by_domain: pd.DataFrame
    columns: pd.DataFrame
    missing: pd.DataFrame
    mmd: float
    mmd_p: float

    @property
    def columns_p(self) -> float:
        """Of "no column's distribution moved"."""
        return simes(self.columns["p"])

    @property
    def missing_p(self) -> float:
        """Of "no column's missingness moved"."""
        return simes(self.missing["p"])


def permutations(level: float) -> int:
    """How many it takes for the smallest p-value to pass.

    It is doubled (two statistics), and adjusted for the three questions about columns and the four of the verdict.

    >>> permutations(0.05)
    959
    """
    return int(np.ceil(48 / level)) - 1


def moved(
    whole: AuditTable,
    some: AuditTable,
    X: Design,
    first: NDArray[np.bool_],
    level: float,
    rng: np.random.Generator,
) -> Moved:
    """Compare columns on all rows, and the rows of ``some`` (a sample of equal missingness) by a classifier."""
    scores, auc, low, high, p, by_domain = tell_apart(some, X, first, level, rng)
    numbers = not some.nominal.any() and some.values.shape[1] > 1
    distance, distance_p = mmd(X.linear, some.domain, rng) if numbers else (np.nan, np.nan)
    return Moved(
        scores, auc, low, high, p, by_domain, compare_columns(whole, level), compare_missing(whole, level), distance,
        distance_p,
    )  # fmt: skip


def tell_apart(
    table: AuditTable, X: Design, first: NDArray[np.bool_], level: float, rng: np.random.Generator
) -> tuple[Array, float, float, float, float, pd.DataFrame]:
    """Classifier two-sample test (Lopez-Paz and Oquab 2017): each half is scored by a model of the other.

    Within a half the scores do not depend on its labels if nothing moved, so permuting them there is exact; twice the
    smaller of the two p-values holds whatever the dependence between halves.
    """
    k = len(table.domains)
    if X.trees.shape[1] == 0:
        flat = np.full((len(table), k), 1 / k)
        return flat, 0.5, 0.5, 0.5, 1.0, pd.DataFrame(columns=["domain", "auc", "low", "high"])
    scores = cross_fitted(X, table.domain.astype(float), k, first, rng)
    areas, p_values = zip(
        *(
            permuted_auc_p(scores[half], table.domain[half], rng, permutations(level))
            for half in (first, ~first)
        ),
        strict=True,
    )
    rows = []
    for code, name in enumerate(table.domains):
        both = [auc_interval(scores[half, code], table.domain[half] == code) for half in (first, ~first)]
        area = float(np.mean([b[0] for b in both]))
        half_width = float(np.hypot(both[0][2] - both[0][1], both[1][2] - both[1][1]) / 4)
        rows.append((name, area, max(area - half_width, 0.0), min(area + half_width, 1.0)))
    by_domain = pd.DataFrame(rows, columns=["domain", "auc", "low", "high"])
    width = float((by_domain["high"] - by_domain["low"]).mean() / 2)
    auc = float(np.mean(areas))
    return scores, auc, max(auc - width, 0.0), min(auc + width, 1.0), min(1.0, 2 * min(p_values)), by_domain


def compare_columns(table: AuditTable, level: float) -> pd.DataFrame:
    """Every column by itself: how far the domain that differs most is from the others."""
    rows = []
    for j, name in enumerate(table.names):
        values = table.values[:, j]
        if _nearly_constant(values):  # a distribution function says nothing of a handful of rows
            usual = stats.mode(values, nan_policy="omit").mode
            test = categories_differ(np.where(np.isnan(values), np.nan, values != usual), table.domain)
        else:
            test = (categories_differ if table.discrete[j] else numbers_differ)(values, table.domain)
        shift = np.nan if table.nominal[j] else _shift(table.values[:, j], table.domain == test.domain)
        rows.append((name, test.effect, test.low, test.high, shift, test.p, table.domains[test.domain]))
    return _adjusted(rows, ["column", "effect", "low", "high", "shift", "p", "domain"], level)


def _nearly_constant(values: Array) -> bool:
    """Whether nearly all rows have one value; what moves then is the share of the others."""
    there = values[~np.isnan(values)]
    return bool(len(there)) and np.unique(there, return_counts=True)[1].max() > NEARLY * len(there)


def compare_missing(table: AuditTable, level: float) -> pd.DataFrame:
    """Every column with missing values: how much the share of them differs."""
    missing = np.isnan(table.values)
    rows = []
    for j in np.flatnonzero(missing.any(0)):
        test = categories_differ(missing[:, j].astype(float), table.domain)
        rows.append((table.names[j], test.effect, test.low, test.high, test.p, table.domains[test.domain]))
    return _adjusted(rows, ["column", "effect", "low", "high", "p", "domain"], level)


def _shift(values: Array, inside: NDArray[np.bool_]) -> float:
    spread = np.nanstd(values)
    return float((np.nanmean(values[inside]) - np.nanmean(values[~inside])) / spread) if spread > 0 else 0.0


def _adjusted(rows: list[tuple[Any, ...]], columns: list[str], level: float) -> pd.DataFrame:
    """With q-values (Benjamini-Hochberg); what moved comes first, by effect."""
    frame = pd.DataFrame(rows, columns=columns)
    frame["q"] = benjamini_hochberg(frame["p"]) if len(frame) else []
    frame["moved"] = frame["q"].astype(float) <= level
    return frame.sort_values(["moved", "effect"], ascending=False, kind="stable").reset_index(drop=True)


def only_in_one(table: AuditTable) -> list[str]:
    """Words of a category that occur in one domain only, where chance would have put some into the others.

    With so many rows of the word in all, none of them outside one domain has a probability below a thousandth had the
    word been dealt out like the rows.
    """
    sentences = []
    for name, words in table.levels.items():
        codes = table.values[:, table.names.index(name)]
        there = ~np.isnan(codes)
        counts = np.zeros((len(words), len(table.domains)))
        np.add.at(counts, (codes[there].astype(int), table.domain[there]), 1)
        sizes = np.maximum(counts.sum(0), 1)
        for k in np.flatnonzero((counts > 0).sum(1) == 1):
            at = int(counts[k].argmax())
            if counts[k, at] * np.log(sizes[at] / sizes.sum()) < np.log(1e-3):
                share = counts[k, at] / sizes[at]
                sentences.append(
                    f"{words[k]} of {name} occurs in {table.domains[at]} only ({share:.1%} of its rows)."
                )
    return sentences


def section(moved: Moved, table: AuditTable, level: float) -> Section:
    """The section of the report."""
    columns = moved.columns
    count = int(columns["moved"].sum())
    p_values = [v for v in (moved.p, moved.columns_p, moved.missing_p) if v == v]
    any_moved = min(1.0, len(p_values) * min(p_values)) <= level
    auc = f"AUC {moved.auc:.2f} (0.5 is chance)"
    sentence = f"a classifier that has not seen the rows tells the domains apart with {auc}"
    by_columns = f"{count} of {len(columns)} columns moved by themselves"
    gaps = int(moved.missing["moved"].astype(bool).sum())
    if gaps:
        by_columns += f"; what is missing of {gaps} moved"
    answer = (
        f"Yes: {sentence}; {by_columns}."
        if any_moved
        else f"Nothing that could be told from chance: {sentence}; {by_columns}."
    )
    notes = []
    if count:
        top = columns[columns["moved"]].head(3)
        notes.append("Most: " + "; ".join(_in_words(row) for row in top.itertuples()) + ".")
    notes += only_in_one(table)
    if moved.mmd == moved.mmd:
        notes.append(
            f"The maximum mean discrepancy of the features is {moved.mmd:.3f} ({p_words(moved.mmd_p)})."
        )
    tables = {"Columns, by how far the domain that differs most is from the others": columns}
    if len(moved.missing):
        tables["Missing values"] = moved.missing
    if len(moved.by_domain):
        tables["How well each domain is told from the others"] = moved.by_domain

    return Section(
        "moved",
        "Did anything move?",
        answer,
        tuple(notes),
        tables,
        {
            "How far each column moved: distance of the distributions, with 95 % intervals": lambda ax: _draw(
                ax, columns
            )
        },
        {
            "auc": moved.auc,
            "low": moved.low,
            "high": moved.high,
            "p": moved.p,
            "mmd": moved.mmd,
            "mmd_p": moved.mmd_p,
        },
    )


def _in_words(row: Any) -> str:
    by = "" if row.shift != row.shift else f", {row.shift:+.2f} standard deviations"
    return f"{row.column} (distance {row.effect:.2f} in {row.domain}{by})"


def _draw(ax: Any, columns: pd.DataFrame) -> None:
    top = columns.head(20)[::-1]
    y = np.arange(len(top))
    colours = np.where(top["moved"], "#c4622d", "#9aa5ad")
    ax.hlines(y, top["low"], top["high"], color=colours, linewidth=2)
    ax.scatter(top["effect"], y, color=colours, s=24, zorder=3)
    ax.set_yticks(y, [str(name)[:28] for name in top["column"]])
    ax.set_xlim(0, max(0.2, float(top["high"].max()) * 1.05 if len(top) else 0.2))
    ax.set_xlabel("distance (0 alike, 1 nothing in common)")
