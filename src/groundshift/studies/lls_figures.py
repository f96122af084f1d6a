"""The figures of the latent-label-shift study, drawn from its long table of results."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure as Drawing

SHADES = {
    "lls": "#2f6f8f",
    "lls_anchors": "#7fb0c4",
    "lls_decay": "#a9cbd8",
    "naive": "#5b8c5a",
    "kmeans": "#c4622d",
    "majority": "#999999",
    "random_labels": "#cccccc",
}


def methods(table: pd.DataFrame) -> Drawing:
    """Accuracy of each method on blobs and digits."""
    from matplotlib.figure import Figure as Drawing

    drawing = Drawing(figsize=(8.4, 3.6), layout="constrained")
    axes = drawing.subplots(1, 2, sharey=True)
    worlds = (("blobs", "Classes that look unlike themselves"), ("digits", "Real digits"))
    for ax, (world, title) in zip(axes, worlds, strict=True):
        rows = table[table["world"] == world]
        shown = [m for m in SHADES if m in set(rows["method"])]
        for at, method in enumerate(shown):
            values = rows[rows["method"] == method]["value"].to_numpy()
            ax.bar(at, values.mean(), 0.7, color=SHADES[method])
            ax.plot(np.full(len(values), at), values, ".", color="black", ms=3, alpha=0.4)
        ax.set_xticks(range(len(shown)), [m.replace("_", "\n") for m in shown], fontsize=8)
        ax.set_title(title, loc="left", fontsize=10)
        ax.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("accuracy after matching")
    return drawing


def style(table: pd.DataFrame) -> Drawing:
    """Accuracy and warnings against how often the style follows the domain."""
    from matplotlib.figure import Figure as Drawing

    drawing = Drawing(figsize=(6.4, 3.6), layout="constrained")
    ax = drawing.subplots()
    for method, measure, shade, label in (
        ("lls", "accuracy", "#2f6f8f", "DDFA, accuracy"),
        ("naive", "accuracy", "#5b8c5a", "naive, accuracy"),
        ("lls", "fires", "#c4622d", "DDFA, share warned"),
    ):
        rows = table[(table["method"] == method) & (table["measure"] == measure)]
        found = rows.groupby("severity")["value"].agg(["mean", "sem"])
        ax.errorbar(
            found.index, found["mean"], 1.96 * found["sem"], marker="o", capsize=3, color=shade, label=label
        )
    ax.set_xlabel("share of rows whose style follows the domain")
    ax.set_ylim(-0.03, 1.05)
    ax.legend(frameon=False)
    ax.spines[["top", "right"]].set_visible(False)
    ax.set_title("Where looks shift with the domain it fails, and says so", loc="left", fontsize=11)
    return drawing
