"""The figures of the study of the stability of truth, drawn from its long table of results."""

from __future__ import annotations

from typing import TYPE_CHECKING

from groundshift.studies.drawing import BLUE, GREEN, GREY, RUST, bar, panels, values

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure as Drawing

KINDS = ("synthetic", "fictional", "canonical", "noise")


def kinds(table: pd.DataFrame) -> Drawing:
    """Retractions, expansions and the null by kind, for both probes."""
    drawing, axes = panels("The answer depends on the probe", 2)
    for ax, probe in zip(axes, ("sawmil", "mean_difference"), strict=True):
        for at, kind in enumerate(KINDS):
            for k, (name, shade) in enumerate((("retraction", BLUE), ("expansion", GREEN), ("null", GREY))):
                seeds = values(table, measure=f"{probe}_{name}_{kind}")
                bar(ax, at + (k - 1) * 0.27, seeds, shade, 0.24, label=name if at == 0 else None)
        ax.set_xticks(
            range(len(KINDS)), ["synthetic", "fictional", "fictional,\ncanonical", "noise"], fontsize=8
        )
        ax.set_title({"sawmil": "sAwMIL"}.get(probe, "mean difference"), fontsize=10)
    axes[0].set_ylabel("share of true statements")
    axes[0].legend(frameon=False, fontsize=8)
    return drawing


def dials(table: pd.DataFrame) -> Drawing:
    """Flips by both kinds against familiarity, with its control, and against form."""
    drawing, axes = panels("Familiarity and form", 2)
    for ax, dial in zip(axes, ("familiarity", "form"), strict=True):
        other = "form" if dial == "familiarity" else "familiarity"
        rows = table[(table[other] == 0.0) & (table["familiar"] == "synthetic")]
        for kind, shade in (("synthetic", BLUE), ("fictional", RUST)):
            one = rows[rows["measure"] == f"sawmil_flip_{kind}"]
            found = one.groupby(dial)["value"].agg(["mean", "sem"])
            ax.errorbar(
                found.index,
                found["mean"],
                1.96 * found["sem"],
                marker="o",
                capsize=3,
                color=shade,
                label=kind,
            )
        ax.set_xlabel(dial)
        ax.set_ylim(0)
    extra = table[(table["familiar"] == "extra") & (table["measure"] == "sawmil_flip_synthetic")]
    at = extra["familiarity"].max()
    axes[0].plot([at] * len(extra), extra["value"], "x", color=GREY, label="synthetic, others known")
    axes[0].set_ylabel("flips under sAwMIL")
    axes[0].legend(frameon=False, fontsize=8)
    return drawing


def geometry(table: pd.DataFrame) -> Drawing:
    """Measured against known flips, a dot for each cell."""
    drawing, axes = panels("Measured flips are the known ones", 2)
    for ax, kind in zip(axes, ("synthetic", "fictional"), strict=True):
        wide = table.pivot_table(
            index=["overlap", "share", "seed"], columns="measure", values="value"
        ).reset_index()
        known, found = wide[f"known_{kind}"], wide[f"flip_{kind}"]
        dots = ax.scatter(known, found, c=wide["overlap"], cmap="viridis", s=14)
        end = 1.1 * max(known.max(), found.max())
        ax.plot([0, end], [0, end], color=GREY, lw=1)
        ax.set_title(f"{kind} promoted", fontsize=10)
        ax.set_xlabel("flips, closed form")
    axes[0].set_ylabel("flips, measured")
    drawing.colorbar(dots, ax=axes[1], label="overlap")
    return drawing
