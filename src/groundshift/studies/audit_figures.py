"""The figures of the audit's study, drawn from its long table of results."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from groundshift.workflows.audit import KINDS

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure as Drawing

PLANTED = (*KINDS, "offset", "none")
LABELS = {
    "audit": "audit",
    "evidently": "Evidently's rule",
    "alibi_tabular": "TabularDrift's rule",
    "alibi_classifier": "classifier",
}
SHADES = {"audit": "#2f6f8f", "evidently": "#c4622d", "alibi_tabular": "#8a8a8a"}


def _drawing(title: str, size: tuple[float, float], rows: int = 1, columns: int = 1) -> tuple[Drawing, Any]:
    from matplotlib.figure import Figure as Drawing

    drawing = Drawing(figsize=size, layout="constrained")
    axes = drawing.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    drawing.suptitle(title, x=0.01, ha="left", fontsize=11)
    return drawing, axes


def confusion(table: pd.DataFrame) -> Drawing:
    """Planted kind by main verdict, in per cent of the tables."""
    drawing, axes = _drawing("What was planted, and the main verdict (% of tables)", (6.6, 4.2))
    ax = axes[0, 0]
    verdicts = (*KINDS, "none")
    rows = table[(table["method"] == "audit") & (table["world"] == "planted")]
    rows = rows[rows["severity"].isin([0.0, 1.0])]
    names = [f"main_{name}" for name in verdicts]
    means = rows.pivot_table(index="kind", columns="measure", values="value", aggfunc="mean")
    shares = means.reindex(index=list(PLANTED), columns=names).to_numpy()
    ax.imshow(shares, cmap="Blues", vmin=0, vmax=1.3, aspect="auto")
    for (i, j), share in np.ndenumerate(shares):
        if share > 0:
            ax.text(j, i, f"{100 * share:.0f}", ha="center", va="center", fontsize=9)
    ax.set_xticks(range(len(verdicts)), verdicts, rotation=30, ha="right")
    ax.set_yticks(range(len(PLANTED)), ["offset (a concept)" if p == "offset" else p for p in PLANTED])
    ax.set_xlabel("main verdict")
    ax.set_ylabel("planted")
    return drawing


def severity(table: pd.DataFrame) -> Drawing:
    """One panel a kind: detected and named against severity."""
    drawing, axes = _drawing("Detected (dashed) and named (solid)", (6.6, 4.6), 2, 3)
    rows = table[(table["world"] == "graded") & table["measure"].isin(["named", "detected"])]
    for ax, kind in zip(axes.flat, KINDS, strict=True):
        of_kind = rows[(rows["kind"] == kind) | (rows["kind"] == "none")]
        for method, shade in SHADES.items():
            means = of_kind[of_kind["method"] == method].groupby(["measure", "severity"])["value"].mean()
            ax.plot(means["detected"].index, means["detected"], "--", color=shade, lw=1)
            ax.plot(means["named"].index, means["named"], "-o", ms=3, color=shade, label=LABELS[method])
        ax.set_title(kind, fontsize=9, loc="left")
        ax.set_ylim(-0.05, 1.05)
        ax.spines[["top", "right"]].set_visible(False)
    for ax in axes[-1]:
        ax.set_xlabel("severity")
    drawing.legend(
        *axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False
    )
    return drawing


def alarms(table: pd.DataFrame) -> Drawing:
    """False alarms by method, with the level as a line."""
    drawing, axes = _drawing("Where nothing moved: share of tables with any flag", (6.6, 3.0))
    ax = axes[0, 0]
    rows = table[table["measure"] == "detected"]
    null = rows[(rows["world"] == "unshifted") | ((rows["kind"] == "none") & (rows["method"] != "audit"))]
    means = null.groupby("method")["value"].agg(["mean", "sem"]).reindex(list(LABELS))
    ax.bar(
        [LABELS[m] for m in means.index],
        means["mean"],
        0.6,
        yerr=1.96 * means["sem"],
        color="#2f6f8f",
        capsize=3,
    )
    ax.axhline(0.05, color="black", lw=0.8, ls="--")
    ax.text(len(means) - 0.55, 0.055, "level", ha="right", va="bottom", fontsize=8)
    ax.spines[["top", "right"]].set_visible(False)
    return drawing
