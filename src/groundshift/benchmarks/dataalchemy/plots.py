"""Plots of the cells of an axis."""

from __future__ import annotations

from typing import Any

import pandas as pd

__all__ = ["plot_cells"]

SHADES = {"em_full": "#2f6f8f", "em_reasoning": "#9a9a9a", "em_answer": "#c4622d"}
WORDS = {"em_full": "whole chain", "em_reasoning": "reasoning", "em_answer": "answer"}


def plot_cells(cells: pd.DataFrame, axis: str) -> Any:
    """Exact match of whole, reasoning and answer by cell."""
    from matplotlib.figure import Figure

    graded = axis in ("temperature", "coverage") and cells["level"].notna().all()
    labels = [
        f"{c}\n{d}" if d and d not in c else c for c, d in zip(cells["cell"], cells["distance"], strict=True)
    ]
    # Inches that labels side by side take, at 8 points; many are turned.
    side_by_side = 0.08 * max(len(line) for label in labels for line in label.split("\n")) * len(cells)
    width = 7.0 if graded else min(max(5.0, 0.6 * len(cells) + 2, side_by_side + 2), 12.0)
    drawing = Figure(figsize=(width, 3.6), layout="constrained")
    ax = drawing.subplots()
    for place, (name, shade) in enumerate(SHADES.items()):
        if graded:
            for distance, rows in cells.groupby("distance"):
                dash = "-" if distance == "ID" else "--"
                rows = rows.sort_values("level")
                label = f"{WORDS[name]}, {distance}"
                ax.plot(rows["level"], rows[name], dash, marker="o", ms=4, color=shade, label=label)
        else:
            at = [i + (place - 1) * 0.27 for i in range(len(cells))]
            ax.bar(at, cells[name], 0.25, color=shade, label=WORDS[name])
    if graded and axis == "temperature":
        ax.set_xscale("log")
    if not graded:
        ax.set_xticks(range(len(cells)), labels, fontsize=8, rotation=60 if side_by_side > 10 else 0)
    else:
        ax.set_xlabel(axis)
    ax.set_ylim(-0.02, 1.05)
    ax.set_ylabel("exact match")
    ax.set_title(f"Exact match by {axis}", loc="left", fontsize=11)
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    return drawing
