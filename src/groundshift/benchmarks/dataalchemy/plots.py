"""The drawing of the cells of an axis."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw_cells"]

SHADES = {"em_full": "#2f7fa8", "em_reasoning": "#9a9a9a", "em_answer": "#c4622d"}
WORDS = {"em_full": "whole chain", "em_reasoning": "reasoning", "em_answer": "answer"}


def draw_cells(cells: pd.DataFrame, axis: str, ax: Axes) -> None:
    """Exact match of whole, reasoning and answer: over the level on a graded axis, as bars on others."""
    graded = axis in ("temperature", "coverage") and cells["level"].notna().all()
    for place, (name, shade) in enumerate(SHADES.items()):
        if graded:
            for distance, rows in cells.groupby("distance"):
                dash = "-" if distance == "ID" else "--"
                rows, label = rows.sort_values("level"), f"{WORDS[name]}, {distance}"
                ax.plot(rows["level"], rows[name], dash, marker="o", ms=4, color=shade, label=label)
        else:
            at = [len(cells) - 1 - i + (1 - place) * 0.27 for i in range(len(cells))]
            ax.barh(at, cells[name], 0.25, color=shade, label=WORDS[name])
    if graded:
        ax.set_xscale("log" if axis == "temperature" else "linear")
        ax.set_xlabel(axis)
        ax.set_ylim(-0.02, 1.05)
        ax.set_ylabel("exact match")
    else:
        pairs = zip(cells["cell"], cells["distance"], strict=True)
        labels = [f"{c} {d}" if d and d not in c else c for c, d in pairs]
        ax.set_yticks(range(len(cells)), labels[::-1])
        ax.set_xlim(0, 1.02)
        ax.set_xlabel("exact match")
    ax.legend(fontsize=8)
