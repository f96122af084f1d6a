"""The figures of the Causal de Finetti study, drawn from its long table of results."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure as Drawing

SHADES = {"right": "#2f6f8f", "wrong": "#c4622d", "open": "#bbbbbb"}


def _axes(title: str, label: str) -> tuple[Drawing, Any]:
    from matplotlib.figure import Figure as Drawing

    drawing = Drawing(figsize=(6.6, 3.6), layout="constrained")
    ax = drawing.subplots()
    ax.set_title(title, loc="left", fontsize=11)
    ax.set_ylabel(label)
    ax.spines[["top", "right"]].set_visible(False)
    return drawing, ax


def groups(table: pd.DataFrame) -> Drawing:
    """Right, wrong and open against the number of groups."""
    drawing, ax = _axes("More groups, more truth; without, it abstains", "share of pairs")
    rows = table[table["method"] == "definetti"]
    for name, shade in SHADES.items():
        found = rows[rows["measure"] == name].groupby("environments")["value"].agg(["mean", "sem"])
        ax.errorbar(
            found.index, found["mean"], 1.96 * found["sem"], marker="o", capsize=3, color=shade, label=name
        )
    ax.set_xscale("log")
    ax.set_xlabel("groups of two records")
    ax.legend(frameon=False)
    return drawing


def conditions(table: pd.DataFrame) -> Drawing:
    """Stacked shares for what varies and what is shared."""
    drawing, ax = _axes("One varying mechanism is enough; a shared parameter is not", "share of pairs")
    bars: list[tuple[str, dict[str, Any]]] = [
        ("both vary", {"vary": "both", "edge": True, "shared": 0.0, "rule": "abstain"}),
        ("cause", {"vary": "cause"}),
        ("mechanism", {"vary": "mechanism"}),
        ("neither", {"vary": "neither"}),
        ("no edge", {"edge": False}),
        *((f"shared\n{s:.0%}", {"shared": s, "rule": "abstain"}) for s in (0.3, 0.6, 0.9, 1.0)),
        ("shared,\nargmax", {"shared": 1.0, "rule": "argmax"}),
    ]
    for k, (_, where) in enumerate(bars):
        rows = table
        for column, value in where.items():
            rows = rows[rows[column] == value]
        bottom = 0.0
        for name, shade in SHADES.items():
            share = rows[rows["measure"] == name]["value"].mean()
            ax.bar(k, share, 0.7, bottom, color=shade, label=name if k == 0 else None)
            bottom += share
    ax.set_xticks(range(len(bars)), [label for label, _ in bars], fontsize=8)
    ax.legend(frameon=False, ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.12))
    return drawing


def graphs(table: pd.DataFrame) -> Drawing:
    """Structural Hamming distance by groups and method."""
    drawing, ax = _axes("Graphs over three binary variables", "normalised SHD (lower is better)")
    sizes = sorted(table["environments"].unique())
    for k, (method, shade) in enumerate((("definetti_graph", "#2f6f8f"), ("pooled_pc", "#c4622d"))):
        for at, size in enumerate(sizes):
            values = table[(table["method"] == method) & (table["environments"] == size)]["value"].to_numpy()
            x = at + (k - 0.5) * 0.3
            ax.bar(x, values.mean(), 0.26, color=shade, label=method.replace("_", " ") if at == 0 else None)
            ax.plot(np.full(len(values), x), values, ".", color="black", ms=3, alpha=0.4)
    ax.set_xticks(range(len(sizes)), [f"{size:,.0f} groups" for size in sizes])
    ax.legend(frameon=False)
    return drawing
