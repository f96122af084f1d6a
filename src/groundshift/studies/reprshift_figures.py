"""The figures of the study of representation shift, drawn from its long table of results."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from groundshift.studies.drawing import BLUE, GREEN, GREY, RUST, bar, panels, values

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure as Drawing

TUNINGS = {
    "colour": "colour\nnamed",
    "place": "place\nnamed",
    "same": "base\nagain",
    "weak": "colour,\n10 %",
    "mild": "colour,\n30 %",
}
ARMS = {"concept": BLUE, "global": RUST, "random": GREY}
FAMILIES = {"colour": BLUE, "place": RUST, "mood": GREEN, "count": GREY}


def arms(table: pd.DataFrame) -> Drawing:
    """Held-out gain in cosine of three arms for each tuning."""
    drawing, (ax,) = panels("A shift for each concept recovers more than one for all", 1)
    for x, name in enumerate(TUNINGS):
        for k, (arm, shade) in enumerate(ARMS.items()):
            seeds = values(table, measure=f"gain_{arm}_{name}")
            bar(ax, x + (k - 1) * 0.25, seeds, shade, 0.22, label=arm if x == 0 else None)
    ax.axhline(0.03, color="black", lw=0.6, ls=":")
    ax.set_xticks(range(len(TUNINGS)), list(TUNINGS.values()))
    ax.set_ylabel("held-out gain in cosine")
    ax.legend(frameon=False)
    return drawing


def concepts(table: pd.DataFrame) -> Drawing:
    """Mutual information of concepts with attributes, before and after each tuning."""
    drawing, (ax,) = panels("After tuning, concepts are values of the attribute that is named", 1)
    stages = {"before": "before", **TUNINGS}
    for x, name in enumerate(stages):
        for k, (family, shade) in enumerate(FAMILIES.items()):
            seeds = values(table, measure=f"ami_{family}_{name}")
            bar(ax, x + (k - 1.5) * 0.19, seeds, shade, 0.17, label=family if x == 0 else None)
    ax.set_xticks(range(len(stages)), list(stages.values()))
    ax.set_ylabel("adjusted mutual information")
    ax.legend(frameon=False, ncols=4)
    return drawing


def steering(table: pd.DataFrame) -> Drawing:
    """What vectors move and change."""
    drawing, (left, right) = panels("From one colour to another, in the base", 2)
    bars = {
        "moved": ("sources\nmoved", BLUE),
        "moved_random": ("random\nvector", GREY),
        "moved_shuffled": ("shuffled\nlabels", GREY),
        "within": ("other\ncolours", RUST),
        "others": ("other\nfamilies", RUST),
        "others_random10": ("random\nx 10", GREY),
    }
    for x, (measure, (_, shade)) in enumerate(bars.items()):
        bar(left, x, values(table, measure=measure), shade)
    left.set_xticks(range(len(bars)), [label for label, _ in bars.values()], fontsize=7)
    left.set_ylabel("share of answers moved or changed")
    for x, name in enumerate(("", "_drawn")):
        for k, (kind, shade) in enumerate((("fine", BLUE), ("coarse", RUST))):
            seeds = values(table, measure=kind + name)
            bar(right, x + (k - 0.5) * 0.35, seeds, shade, 0.3, label=kind if x == 0 else None)
    right.set_xticks([0, 1], ["sources of one place", "sources drawn at random"])
    right.set_ylabel("share moved at equal cost")
    right.legend(frameon=False)
    return drawing


def boundary(table: pd.DataFrame) -> Drawing:
    """Recovery against the share of samples that change cluster."""
    drawing, (ax,) = panels("Where samples change cluster, shifts recover nothing", 1)
    for measure, shade, label in (
        ("recovered", BLUE, "gain in cosine"),
        ("beyond_random", RUST, "beyond a random partition"),
    ):
        found = table[table["measure"] == measure].groupby("severity")["value"].agg(["mean", "sem"])
        half = 1.96 * np.nan_to_num(found["sem"])
        ax.errorbar(found.index, found["mean"], half, marker="o", capsize=3, color=shade, label=label)
    ax.axhline(0, color="black", lw=0.6)
    ax.set_xlabel("share of samples that change cluster")
    ax.set_ylabel("held out")
    ax.legend(frameon=False)
    return drawing
