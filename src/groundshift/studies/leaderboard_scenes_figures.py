"""The figures of the scenes leaderboard, drawn from its long table of results."""

from __future__ import annotations

from typing import TYPE_CHECKING

from groundshift.studies.drawing import BLUE, GREEN, GREY, RUST, panels

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure as Drawing

SHADES = {"method": BLUE, "baseline": GREEN, "control": RUST, "oracle": GREY}
COLUMNS = (
    ("followed", "asked for, all\nthree factors", False),
    ("unseen", "of pairs never\nseen together", False),
    ("frechet", "Fréchet distance,\ntruth = 1", True),
    ("grain", "distance from the nearest\ntrue picture, truth = 1", True),
    ("coverage", "coverage,\ntruth = 1", False),
    ("copied", "copies,\ntruth = 0.05", False),
)


def board(table: pd.DataFrame) -> Drawing:
    """A row for each entrant, a panel for each measure."""
    drawing, axes = panels("Generators of small scenes", len(COLUMNS), width=13)
    drawing.set_size_inches(13, 4.4)
    order = table[table["measure"] == "followed"].groupby("method")["value"].mean().sort_values().index
    roles = table.groupby("method")["role"].first()
    for ax, (measure, label, log) in zip(axes, COLUMNS, strict=True):
        rows = table[table["measure"] == measure]
        truth = rows[rows["method"] == "truth"]["value"].mean()
        for y, name in enumerate(order):
            seeds = rows[rows["method"] == name]["value"]
            ax.plot(seeds, [y] * len(seeds), ".", color=SHADES[roles[name]], ms=4, alpha=0.5)
            ax.plot(seeds.mean(), y, "o", color=SHADES[roles[name]], ms=7)
        ax.axvline(truth, color="black", lw=1, ls=":")
        ax.set_xlabel(label, fontsize=8)
        ax.set_yticks(range(len(order)), order if ax is axes[0] else [""] * len(order), fontsize=8)
        ax.tick_params(axis="x", labelsize=7)
        if log:
            ax.set_xscale("log")
        ax.grid(axis="y", color="#eeeeee")
    return drawing


def cost(table: pd.DataFrame) -> Drawing:
    """Two panels: what is followed against seconds of training and of drawing."""
    drawing, axes = panels("What it costs", 2)
    means = table.pivot_table(index=["method", "role"], columns="measure", values="value").reset_index()
    means = means[~means["method"].isin(["truth", "copier", "misheard"])]
    for ax, measure, label in zip(
        axes, ("train_s", "sample_s"), ("seconds of training", "seconds for 1,000 pictures"), strict=True
    ):
        for _, row in means.iterrows():
            ax.plot(row[measure], row["followed"], "o", color=SHADES[row["role"]])
            ax.annotate(
                row["method"],
                (row[measure], row["followed"]),
                xytext=(4, 4),
                textcoords="offset points",
                fontsize=8,
            )
        ax.set_xlabel(label)
    axes[0].set_ylabel("asked for, all three factors")
    return drawing
