"""The figures of the surgery study, drawn from its long table of results."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure as Drawing

BLUE, ORANGE = "#2f6f8f", "#c4622d"


def _axes(title: str, label: str) -> tuple[Drawing, Any]:
    from matplotlib.figure import Figure as Drawing

    drawing = Drawing(figsize=(6.6, 3.6), layout="constrained")
    ax = drawing.subplots()
    ax.set_title(title, loc="left", fontsize=11)
    ax.set_ylabel(label)
    ax.spines[["top", "right"]].set_visible(False)
    return drawing, ax


def convergence(table: pd.DataFrame) -> Drawing:
    """Error of comb and naive conditional against rows, both on logarithmic axes."""
    drawing, ax = _axes("The comb converges to the intervention", "total variation from the truth")
    for method, shade, label in (("estimate", BLUE, "comb"), ("naive", ORANGE, "naive conditional")):
        found = table[table["method"] == method].groupby("log10_rows")["value"].mean()
        ax.plot(10**found.index, found, "o-", color=shade, label=label)
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlabel("rows")
    ax.legend(frameon=False)
    return drawing


def coverage(table: pd.DataFrame) -> Drawing:
    """Coverage by rows."""
    drawing, ax = _axes("Intervals hold the truth as often as they say", "coverage")
    jitter = 0.04 * (table["seed"] - table["seed"].mean()) / max(1, table["seed"].max())
    ax.plot(table["log10_rows"] + jitter, table["value"], ".", color="black", alpha=0.4)
    means = table.groupby("log10_rows")["value"].mean()
    ax.plot(means.index, means, "_", color=BLUE, ms=24, mew=2)
    ax.axhspan(0.9, 0.98, color=BLUE, alpha=0.1, lw=0)
    ax.axhline(0.95, color="grey", lw=0.8)
    ax.set_xticks(means.index, [f"{10**x:,.0f}" for x in means.index])
    ax.set_xlabel("rows")
    return drawing


def sparse_coverage(table: pd.DataFrame) -> Drawing:
    """Coverage by graph, number of values and rows, for both kinds of intervals."""
    drawing, ax = _axes("Coverage on sparse tables", "coverage of 95 % intervals")
    ax.axhspan(0.93, 0.97, color=BLUE, alpha=0.1, lw=0)
    ax.axhline(0.95, color="grey", lw=0.8)
    regimes = table.groupby(["graph", "values", "rows", "method"])["value"].mean().unstack("method")
    at = np.arange(len(regimes))
    ax.plot(at, regimes["posterior"], "o", color=BLUE, label="posterior")
    ax.plot(at, regimes["bootstrap"], "x", color=ORANGE, label="bootstrap of the rows")
    ax.set_xticks(at, [f"{rows:,.0f}" for _, _, rows in regimes.index], rotation=90, fontsize=7)
    for (graph, values), group in regimes.groupby(level=["graph", "values"]):
        middle = np.mean([regimes.index.get_loc(place) for place in group.index])
        ax.text(
            middle,
            1.0,
            f"{graph}\n{values:g} values",
            fontsize=7,
            ha="center",
            transform=ax.get_xaxis_transform(),
        )
    ax.set_title(ax.get_title(loc="left"), loc="left", fontsize=11, pad=22)
    ax.set_xlabel("rows")
    ax.legend(frameon=False, fontsize=8)
    return drawing


def exactness(table: pd.DataFrame) -> Drawing:
    """Largest errors by method, on a logarithmic axis."""
    drawing, ax = _axes("Exact where the condition holds", "largest error")
    methods = ("diagram_surgery", "comb", "general", "other_box", "naive", "forced")
    for k, method in enumerate(methods):
        values = table[(table["method"] == method) & (table["world"] != "tables")]["value"].to_numpy()
        ax.plot(np.full(len(values), k), np.maximum(values, 1e-17), ".", color=BLUE if k < 3 else ORANGE)
    ax.set_yscale("log")
    ax.set_xticks(range(len(methods)), [method.replace("_", "\n") for method in methods], fontsize=8)
    return drawing
