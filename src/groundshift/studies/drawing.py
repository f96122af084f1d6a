"""What the figures of several studies are drawn with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure as Drawing

__all__ = ["BLUE", "GREEN", "GREY", "RUST", "Panel", "bar", "chart", "panels", "values"]

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


@dataclass(frozen=True)
class Panel:
    """One pair of axes of a `chart`.

    Attributes
    ----------
    x : the column on the horizontal axis
    colour : the column that tells bars or lines apart
    kind : ``bars``: the mean, with a dot for each replicate; ``lines``: the mean with its 95 % interval over a number
    rows : pandas query of the rows that are drawn; by default all of the figure
    names : what values of ``x`` and ``colour`` are called; those of ``colour`` that are named stand in this order
    level : a horizontal line to compare with, such as chance
    """

    title: str
    x: str
    colour: str = "method"
    kind: Literal["bars", "lines"] = "bars"
    rows: str = ""
    y_label: str = ""
    x_label: str = ""
    names: Mapping[Any, str] = field(default_factory=dict)
    level: float | None = None
    log: bool = False


def chart(title: str, *panels_: Panel, width: float = 8.6) -> Callable[[pd.DataFrame], Drawing]:
    """The drawing function of a figure from what each of its panels shows."""

    def draw(table: pd.DataFrame) -> Drawing:
        drawing, axes = panels(title, len(panels_), width)
        for ax, panel in zip(axes, panels_, strict=True):
            _fill(ax, panel, table.query(panel.rows) if panel.rows else table)
        return drawing

    return draw


SHADES = (BLUE, RUST, GREEN, GREY, "#8a6bb1", "#b9a03c", "#3f3f3f", "#7fb0c4")


def _fill(ax: Any, panel: Panel, rows: pd.DataFrame) -> None:
    present = list(rows[panel.colour].dropna().unique())
    colours = [v for v in panel.names if v in present] + [v for v in present if v not in panel.names]
    draw = _bars if panel.kind == "bars" else _lines
    draw(ax, panel, rows, colours)
    if panel.level is not None:
        ax.axhline(panel.level, color=GREY, lw=1, ls="--")
    if panel.log:
        ax.set_xscale("log")
    ax.set_title(panel.title, loc="left", fontsize=10)
    ax.set_ylabel(panel.y_label)
    ax.set_xlabel(panel.x_label)
    if panel.colour != panel.x:
        ax.legend(frameon=False, fontsize=8)


def _bars(ax: Any, panel: Panel, rows: pd.DataFrame, colours: list[Any]) -> None:
    places = colours if panel.x == panel.colour else sorted(rows[panel.x].dropna().unique())
    width = 0.8 if panel.x == panel.colour else 0.8 / len(colours)
    for k, colour in enumerate(colours):
        own = rows[rows[panel.colour] == colour]
        for at, place in enumerate(places):
            seeds = own[own[panel.x] == place].groupby("seed")["value"].mean().to_numpy()
            shift = 0.0 if panel.x == panel.colour else (k - (len(colours) - 1) / 2) * width
            if len(seeds):
                bar(ax, at + shift, seeds, SHADES[k % len(SHADES)], 0.9 * width)
        ax.plot([], [], color=SHADES[k % len(SHADES)], lw=6, label=panel.names.get(colour, str(colour)))
    labels = [panel.names.get(place, str(place)).replace("_", "\n") for place in places]
    ax.set_xticks(range(len(places)), labels, fontsize=8)


def _lines(ax: Any, panel: Panel, rows: pd.DataFrame, colours: list[Any]) -> None:
    for k, colour in enumerate(colours):
        seeds = rows[rows[panel.colour] == colour].groupby([panel.x, "seed"])["value"].mean()
        statistics = seeds.groupby(panel.x).agg(["mean", "sem"])
        label = panel.names.get(colour, str(colour))
        shade = SHADES[k % len(SHADES)]
        ax.errorbar(
            statistics.index,
            statistics["mean"],
            1.96 * statistics["sem"],
            marker="o",
            capsize=3,
            color=shade,
            label=label,
        )
