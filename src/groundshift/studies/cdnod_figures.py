"""The figures of the CD-NOD study, drawn from its long table of results."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure as Drawing

SHADES = {
    "cdnod": "#2f6f8f",
    "cdnod_without_phase_3": "#7fb0c4",
    "pooled_pc": "#c4622d",
    "cdnod_shuffled": "#999999",
}


def _panels(count: int, width: float = 6.8) -> tuple[Drawing, Any]:
    from matplotlib.figure import Figure as Drawing

    drawing = Drawing(figsize=(width, 3.4), layout="constrained")
    axes = np.atleast_1d(drawing.subplots(1, count))
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)
        ax.grid(axis="y", alpha=0.25)
    return drawing, axes


def structure(table: pd.DataFrame) -> Drawing:
    """F1 of changes and skeleton, share directed and wrong arrows, by world and method."""
    drawing, axes = _panels(2, 9)
    names = {"changing_f1": "changes\n(F1)", "skeleton_f1": "skeleton\n(F1)", "directed": "directed\nright"}
    worlds = (("chain", "A chain that drifts in time"), ("graph", "Random graphs, 20 domains"))
    for ax, (world, title) in zip(axes, worlds, strict=True):
        rows = table[(table["world"] == world) & ~(table["changing"] == False)]  # noqa: E712 - NaN for graphs
        methods = [m for m in SHADES if m in set(rows["method"])]
        for k, method in enumerate(methods):
            for at, name in enumerate(names):
                values = rows[(rows["method"] == method) & (rows["measure"] == name)]["value"].to_numpy()
                x = at + (k - (len(methods) - 1) / 2) * 0.2
                ax.bar(
                    x,
                    values.mean(),
                    0.18,
                    color=SHADES[method],
                    label=method.replace("_", " ") if at == 0 else None,
                )
                ax.plot(np.full(len(values), x), values, ".", color="black", ms=3, alpha=0.5)
        ax.set_xticks(range(len(names)), names.values())
        ax.set_title(title, loc="left", fontsize=10)
        ax.set_ylim(0, 1.05)
    axes[1].legend(frameon=False, fontsize=7, loc="lower left", bbox_to_anchor=(1.0, 0.3))
    return drawing


def domains(table: pd.DataFrame) -> Drawing:
    """Accuracy and decisions against the number of domains."""
    drawing, (ax,) = _panels(1)
    rows = table[table["method"] == "changes"]
    for name, shade in (("accuracy", "#2f6f8f"), ("decided", "#5b8c5a"), ("decided_wrong", "#c4622d")):
        found = rows[rows["measure"] == name].groupby("domains")["value"].agg(["mean", "sem"])
        label = {
            "accuracy": "right (smaller Δ)",
            "decided": "decided",
            "decided_wrong": "decided, and wrong",
        }[name]
        ax.errorbar(
            found.index, found["mean"], 1.96 * found["sem"], marker="o", capsize=3, color=shade, label=label
        )
    ax.axhline(0.5, color="black", lw=0.6, ls=":")
    ax.set_xlabel("domains")
    ax.set_ylabel("share of pairs")
    ax.set_ylim(-0.03, 1.05)
    ax.set_title("Few domains cannot tell, and are not made to", loc="left", fontsize=11)
    ax.legend(frameon=False, fontsize=8)
    return drawing


def kinds(table: pd.DataFrame) -> Drawing:
    """Right, decided, and decided wrongly for each kind of pair."""
    drawing, (ax,) = _panels(1)
    rows = table[table["method"] == "changes"]
    order = ["independent", "overlapping", "far apart", "dependent"]
    for k, (name, shade) in enumerate(
        (("accuracy", "#2f6f8f"), ("decided", "#5b8c5a"), ("decided_wrong", "#c4622d"))
    ):
        means = rows[rows["measure"] == name].groupby("kind")["value"].mean().reindex(order)
        label = {
            "accuracy": "right (smaller Δ)",
            "decided": "decided",
            "decided_wrong": "decided, and wrong",
        }[name]
        ax.bar(np.arange(4) + (k - 1) * 0.27, means, 0.25, color=shade, label=label)
    ax.axhline(0.5, color="black", lw=0.6, ls=":")
    ax.set_xticks(range(4), order)
    ax.set_ylabel("share of pairs")
    ax.set_title("Dependent changes and missing overlap mislead; the rule abstains", loc="left", fontsize=11)
    ax.legend(frameon=False, fontsize=8)
    return drawing
