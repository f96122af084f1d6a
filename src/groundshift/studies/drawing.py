"""What the figures of several studies are drawn with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure as Drawing

__all__ = ["BLUE", "GREEN", "GREY", "RUST", "bar", "panels", "values"]

BLUE, RUST, GREY, GREEN = "#2f6f8f", "#c4622d", "#9a9a9a", "#5b8c5a"


def panels(title: str, count: int, width: float = 8.6) -> tuple[Drawing, list[Any]]:
    """A drawing with axes side by side under one title."""
    from matplotlib.figure import Figure as Drawing

    drawing = Drawing(figsize=(width, 3.6), layout="constrained")
    drawing.suptitle(title, x=0.01, ha="left", fontsize=11)
    axes = drawing.subplots(1, count, squeeze=False)[0]
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)
    return drawing, list(axes)


def values(table: pd.DataFrame, **where: Any) -> np.ndarray:
    """The values of the rows whose columns hold what is named."""
    for column, value in where.items():
        table = table[table[column] == value]
    return table["value"].to_numpy()


def bar(ax: Any, x: float, seeds: np.ndarray, shade: str, width: float = 0.6, **style: Any) -> None:
    """The mean as a bar, and a dot for each seed."""
    ax.bar(x, seeds.mean(), width, color=shade, **style)
    ax.plot(np.full(len(seeds), x), seeds, ".", color="black", ms=3, alpha=0.5)
