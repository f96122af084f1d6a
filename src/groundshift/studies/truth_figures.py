"""The figure of the study of the stability of truth that no chart draws: measured against known flips."""

from __future__ import annotations

from typing import TYPE_CHECKING

from groundshift.studies.drawing import GREY, panels

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure as Drawing


def geometry(table: pd.DataFrame) -> Drawing:
    """Measured against known flips, a dot for each cell."""
    drawing, axes = panels("Measured flips are the known ones", 2)
    for ax, kind in zip(axes, ("synthetic", "fictional"), strict=True):
        wide = table[table["kind"] == kind].pivot_table(
            index=["overlap", "share", "seed"], columns="measure", values="value"
        )
        dots = ax.scatter(
            wide["closed_form"], wide["flips"], c=wide.reset_index()["overlap"], cmap="viridis", s=14
        )
        end = 1.1 * float(wide.to_numpy().max())
        ax.plot([0, end], [0, end], color=GREY, lw=1)
        ax.set_title(f"{kind} promoted", fontsize=10)
        ax.set_xlabel("flips, closed form")
    axes[0].set_ylabel("flips, measured")
    drawing.colorbar(dots, ax=axes[1], label="overlap")
    return drawing
