"""Each kind of shift over time: every window against the reference, or against the first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from groundshift.report import Section
from groundshift.workflows.audit import kind as kind_step
from groundshift.workflows.audit.findings import Findings
from groundshift.workflows.audit.result import KINDS
from groundshift.workflows.audit.table import AuditTable

__all__ = ["section", "timeline"]

MOST_ROWS = 4000
"""Of a window and the reference together that models see."""
COLOURS = dict(zip(KINDS, ("#c4622d", "#2f6f8f", "#7a5195", "#5b8c5a", "#3b3b98", "#b08d2f"), strict=True))


def timeline(
    table: AuditTable, level: float, rng: np.random.Generator, step: Callable[[str], None]
) -> pd.DataFrame:
    """Compare each window of time with the reference, or with the first window.

    The level is shared among the windows (Bonferroni), so that with nothing moved no window raises an alarm with
    probability 1 - ``level``.

    Returns
    -------
    A row per window and kind: domain, kind, status, size, low, high, p, found. Empty for fewer than three windows.
    """
    base = table.reference if table.reference is not None else 0
    others = [d for d in range(len(table.domains)) if d != base]
    if not table.ordered or len(others) < 2:
        return pd.DataFrame(columns=["domain", "kind", "status", "size", "low", "high", "p", "found"])
    rows: list[dict[str, Any]] = []
    for code in others:
        step(f"timeline: {table.domains[code]}")
        pair = replace(table.within(np.array([base, code])).renumbered(), ordered=False)
        findings = Findings.of(pair, level / len(others), MOST_ROWS, rng, sized=True)
        for kind in kind_step.verdict(findings, level / len(others)):
            rows.append(
                {
                    "domain": table.domains[code], "kind": kind.name, "status": kind.status, "size": kind.size,
                    "low": kind.low, "high": kind.high, "p": kind.p, "found": bool(kind.found),
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


def section(series: pd.DataFrame, table: AuditTable, alert: float) -> Section:
    """The section of the report; ``alert`` is the size from which a kind counts as crossed."""
    base = table.domains[table.reference if table.reference is not None else 0]
    crossed = first_crossings(series, alert)
    if crossed:
        listed = "; ".join(f"{kind} since {domain}" for kind, domain in crossed.items())
        answer = f"Against {base}: {listed}."
    else:
        answer = f"No window differs from {base} in any kind."
    notes = (
        f"Each window is compared with {base} by itself; the level is shared among the windows."
        + (f" A kind counts from a size of {alert:g}." if alert > 0 else ""),
    )
    wide = series.pivot(index="domain", columns="kind", values="status").reindex(series["domain"].unique())
    wide = wide[[kind for kind in KINDS if kind in wide]].rename_axis(columns=None).reset_index()
    return Section(
        "timeline",
        "When did it start?",
        answer,
        notes,
        {"Verdict of each window": wide, "Size of each kind by window": series.drop(columns="found")},
        {
            "Size of each kind by window, with 95 % intervals; filled where it was found":
                lambda ax: draw(ax, series, alert)
        },
        {"series": series.to_dict("records"), "first": crossed, "alert": alert},
    )  # fmt: skip


def first_crossings(series: pd.DataFrame, alert: float) -> dict[str, str]:
    """Kind → the first window in which it was found with at least the size of alert."""
    over = series[series["found"] & (series["size"] >= alert)]
    return {
        kind: str(over.loc[over["kind"] == kind, "domain"].iloc[0])
        for kind in KINDS
        if kind in set(over["kind"])
    }


def draw(ax: Any, series: pd.DataFrame, alert: float) -> None:
    """The kinds that were found in some window; all of them if none was."""
    domains = list(series["domain"].unique())
    seen = [k for k in KINDS if series.loc[series["kind"] == k, "found"].any()] or list(KINDS)
    x = np.arange(len(domains))
    for n, kind in enumerate(seen):
        rows = series[series["kind"] == kind].set_index("domain").reindex(domains)
        at = x + (n - (len(seen) - 1) / 2) * 0.08
        ax.vlines(at, rows["low"], rows["high"], color=COLOURS[kind], linewidth=1.5)
        ax.plot(at, rows["size"], color=COLOURS[kind], linewidth=1, alpha=0.6)
        is_found = rows["found"].fillna(False).to_numpy(dtype=bool)
        ax.scatter(at, rows["size"], s=26, facecolors=np.where(is_found, COLOURS[kind], "white"),
                   edgecolors=COLOURS[kind], zorder=3)  # fmt: skip
        ax.plot([], [], color=COLOURS[kind], marker="o", markersize=5, label=kind)
    if alert > 0:
        ax.axhline(alert, color="#333333", linewidth=1, linestyle="--", label="alert")
    ax.set_xticks(x, [d.split(" to ")[0][:16] for d in domains], rotation=40, ha="right")
    ax.set_ylim(bottom=0)
    ax.set_ylabel("size (0 alike, 1 nothing in common)")
    ax.legend(frameon=False, fontsize=8)
