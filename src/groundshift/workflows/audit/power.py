"""Step 6: can these data answer at all? What the audit says where nothing moved, and what it would have seen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from groundshift.measures.two_sample import categories_p, numbers_differ
from groundshift.report import Section
from groundshift.workflows.audit.table import AuditTable

__all__ = ["planted", "section"]

Array = NDArray[np.float64]
REPEATS = 40
SEEN = 0.9
SHIFTS = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0)
SHARES = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3)


def planted(table: AuditTable, level: float, rng: np.random.Generator) -> pd.DataFrame:
    """How often shifts of known size, planted into rows whose domains were dealt out anew, pass the audit's tests.

    A shift is planted into the smallest domain, the hardest case; a test must pass its adjusted level: a third for the
    three questions about the columns, a quarter for the four about everything, the number of columns.

    Returns shift, severity, probability of being seen.
    """
    domain = table.domain
    sizes = np.bincount(domain, minlength=len(table.domains))
    code = int(np.where(sizes > 0, sizes, sizes.max() + 1).argmin())
    rows = []
    numbers = np.flatnonzero(~table.discrete)
    if len(numbers):
        strict = level / 12 / max(len(table.names), 1)
        seen = lambda s: _column_seen(table, rng.choice(numbers), code, s, strict, rng)  # noqa: E731
        rows += _curve("a column moves by … standard deviations", SHIFTS, seen)
    if table.classes is not None:
        y = np.asarray(table.target)
        at = ~np.isnan(y)
        common = float(stats.mode(y[at]).mode)
        seen = lambda s: _label_seen(y[at], domain[at], code, common, s, level / 4, rng)  # noqa: E731
        rows += _curve(f"the share of a class of {table.target_name} moves by …", SHARES, seen)
    ordered = int((~table.nominal).sum())
    if ordered > 1:
        pairs = ordered * (ordered - 1) / 2
        n, m = sizes[code], sizes.sum() - sizes[code]
        z = stats.norm.isf(level / 24 / pairs)
        error = np.sqrt(1 / max(n - 3, 1) + 1 / max(m - 3, 1))
        for s in SHIFTS[:7]:
            rows.append(
                ("a correlation moves from 0 to …", s, float(stats.norm.sf(z - np.arctanh(s) / error)))
            )
    return pd.DataFrame(rows, columns=["shift", "severity", "seen"])


def _curve(
    name: str, severities: tuple[float, ...], seen: Callable[[float], bool]
) -> list[tuple[str, float, float]]:
    points: list[tuple[str, float, float]] = []
    for s in severities:
        sure = len(points) > 1 and points[-1][2] == points[-2][2] == 1  # then larger ones are seen too
        points.append((name, s, 1.0 if sure else float(np.mean([seen(s) for _ in range(REPEATS)]))))
    return points


def _column_seen(
    table: AuditTable, j: int, code: int, severity: float, strict: float, rng: np.random.Generator
) -> bool:
    rows = np.arange(len(table)) if len(table) <= 20_000 else rng.choice(len(table), 20_000, replace=False)
    values, domain = table.values[rows, j], rng.permutation(table.domain[rows])
    values = values + severity * np.nanstd(values) * (domain == code)
    return numbers_differ(values, domain).p <= strict


def _label_seen(
    y: Array,
    domain: NDArray[np.int64],
    code: int,
    common: float,
    severity: float,
    strict: float,
    rng: np.random.Generator,
) -> bool:
    """Rows of other classes in the smallest domain become the commonest class of all until its share moved."""
    shuffled = rng.permutation(y)
    here = np.flatnonzero((domain == code) & (shuffled != common))
    count = min(round(severity * (domain == code).sum()), len(here))
    shuffled[rng.choice(here, count, replace=False)] = common
    return categories_p(shuffled, domain) <= strict


def section(curves: pd.DataFrame, alarms: tuple[int, int], rows: int, sizes: tuple[int, int]) -> Section:
    """The section of the report; ``alarms`` are those of how many permuted copies, of so many rows each."""
    count, runs = alarms
    parts, tables, data = [], {}, {}
    if runs:
        low, high = proportion_confint(count, runs, method="wilson")
        parts.append(
            f"with the domains dealt out at random, {count} of {runs} copies ({rows:,} rows each) raised an alarm"
        )
        data = {"null": {"alarms": count, "runs": runs, "low": low, "high": high, "rows": rows}}
    least = []
    for name, curve in curves.groupby("shift", sort=False):
        enough = curve.loc[curve["seen"] >= SEEN, "severity"]
        least.append((name, float(enough.min()) if len(enough) else np.nan, SEEN))
        if len(enough):
            parts.append(f"{str(name).replace('…', f'{enough.min():g}')}: seen with probability {SEEN}")
    smallest = pd.DataFrame(least, columns=["shift", "smallest seen", "with probability"])
    tables["Smallest shift of one domain that would have been seen"] = smallest
    notes = [
        f"The smallest domain has {sizes[0]:,} rows, all together {sizes[1]:,}.",
        "No audit of this kind sees causes that were not recorded, nor wrong labels, nor what is alike in all domains.",
    ]
    answer = "; ".join(parts)
    return Section(
        "power",
        "Could these data have shown a shift?",
        f"{answer[:1].upper()}{answer[1:]}." if answer else "There are no columns to plant a shift into.",
        tuple(notes),
        tables,
        {"Probability that a planted shift of one domain is seen": lambda ax: _draw(ax, curves)}
        if len(curves)
        else {},
        {**data, "curves": curves.to_dict("records")},
    )


def _draw(ax: Any, curves: pd.DataFrame) -> None:
    for (name, curve), colour in zip(
        curves.groupby("shift", sort=False), ("#2f6f8f", "#c4622d", "#5b8c5a"), strict=False
    ):
        ax.plot(curve["severity"], curve["seen"], color=colour, marker="o", markersize=4, label=str(name))
    ax.axhline(SEEN, color="#9aa5ad", linewidth=1)
    ax.set_xscale("log")
    ax.set_ylim(-0.02, 1.02)
    ax.set_xlabel("severity")
    ax.set_ylabel("probability of being seen")
    ax.legend(frameon=False, fontsize=8)
