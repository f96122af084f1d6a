"""The figures of the displacement study, drawn from its long table of results."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from groundshift.studies.drawing import BLUE, GREEN, GREY, RUST, bar, panels, values

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure as Drawing

ARMS = (
    ("base", "base"),
    ("all", "all\npairs"),
    ("highest", "highest\nln-CHES"),
    ("uninformative", "two\nrefusals"),
    ("random", "random\nthird"),
    ("least_edit", "least\nedit sim."),
    ("sft", "all +\nSFT"),
    ("lowest", "lowest\nln-CHES"),
    ("informative", "refusal vs\ncompliance"),
)
KINDS = (("refused", BLUE), ("complied", RUST), ("other", GREY))
PREDICTORS = (
    ("ln_ches", "ln-CHES"),
    ("ches", "CHES"),
    ("edit", "edit"),
    ("last_inner", "last inner\nproduct"),
)


def tokens(table: pd.DataFrame) -> Drawing:
    """Agreement with the formula, and the difference between attitudes with its null."""
    drawing, (left, right) = panels("Who falls is written in the unembedding", 2)
    planted = table[table["refuse"] == 0.9]
    bars = (
        ("agreement", "h-part", BLUE),
        ("agreement_permuted", "rows of W\npermuted", GREY),
        ("agreement_all", "all weights,\nwhole formula", GREEN),
    )
    for k, (measure, _, shade) in enumerate(bars):
        bar(left, k, values(planted, measure=measure), shade)
    left.axhline(0, color="black", lw=1)
    left.set_xticks(range(len(bars)), [label for _, label, _ in bars], fontsize=8)
    left.set_ylabel("Spearman with measured Δ log π(w)")
    for k, (refuse, shade) in enumerate(((0.9, BLUE), (0.6, GREY))):
        bar(right, k, values(table, measure="clusters", refuse=refuse), shade)
    right.axhline(0, color="black", lw=1)
    right.set_xticks(range(2), ["attitudes\nplanted", "none"], fontsize=8)
    right.set_ylabel("Δ log π(w), within − across (nats)")
    return drawing


def arms(table: pd.DataFrame) -> Drawing:
    """Stacked shares of refusals, compliances and the rest, by arm; a dot is a seed's refusal rate."""
    drawing, (ax,) = panels("What is trained on decides whether refusals survive", 1)
    for k, (arm, _) in enumerate(ARMS):
        low = 0.0
        for kind, shade in KINDS:
            share = values(table, measure=f"{kind}_{arm}").mean()
            ax.bar(k, share, 0.65, bottom=low, color=shade, label=kind if k == 0 else None)
            low += share
        refused = values(table, measure=f"refused_{arm}")
        ax.plot(np.full(len(refused), k), refused, ".", color="black", ms=3, alpha=0.6)
    ax.axhline(values(table, measure="refused_base").mean(), color="black", lw=1, ls=":")
    ax.set_xticks(range(len(ARMS)), [label for _, label in ARMS], fontsize=8)
    ax.set_ylabel("share of sampled answers")
    ax.legend(frameon=False, loc="lower left", bbox_to_anchor=(1, 0))
    return drawing


def predictors(table: pd.DataFrame) -> Drawing:
    """Spearman of each predictor with the change, and the change by arm."""
    drawing, (left, right) = panels("Which pairs displace", 2)
    for k, (name, _) in enumerate(PREDICTORS):
        bar(left, k, values(table, measure=f"rho_{name}"), BLUE if "ches" in name else GREY)
    left.axhline(0, color="black", lw=1)
    left.set_xticks(range(len(PREDICTORS)), [label for _, label in PREDICTORS], fontsize=8)
    left.set_ylabel("Spearman with Δ log π(y+)")
    shown = [(arm, label) for arm, label in ARMS if arm != "base"]
    for k, (arm, _) in enumerate(shown):
        bar(right, k, values(table, measure=f"chosen_{arm}"), BLUE)
    right.axhline(0, color="black", lw=1)
    right.set_xticks(range(len(shown)), [label for _, label in shown], fontsize=6)
    right.set_ylabel("mean Δ log π(y+) of the trained pairs")
    return drawing


def share(table: pd.DataFrame) -> Drawing:
    """Refusal rates against the share of pairs that are two refusals."""
    drawing, (ax,) = panels("How many pairs say nothing about safety decides", 1, width=5.6)
    pairs = table[table["measure"] == "uninformative_share"].groupby("refuse")["value"].mean()
    for measure, label, shade in (
        ("refused_base", "base", GREY),
        ("refused_all", "all pairs", BLUE),
        ("refused_lowest", "lowest third by ln-CHES", GREEN),
        ("refused_highest", "highest third", RUST),
    ):
        line = table[table["measure"] == measure].groupby("refuse")["value"].agg(["mean", "sem"])
        ax.errorbar(
            pairs[line.index], line["mean"], line["sem"], marker="o", color=shade, label=label, capsize=3
        )
    ax.set_xlabel("share of pairs with two refusals")
    ax.set_ylabel("refusal rate")
    ax.legend(frameon=False, fontsize=8)
    return drawing
