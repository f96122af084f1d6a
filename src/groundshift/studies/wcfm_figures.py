"""The figures of the weighted conditional flow matching study, drawn from its long table of results."""

from __future__ import annotations

from typing import TYPE_CHECKING

from groundshift.studies.drawing import BLUE, GREEN, GREY, RUST, bar, panels, values

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure as Drawing

LOOK = {
    "icfm": ("plain", GREY),
    "wcfm": ("weighted", BLUE),
    "permuted": ("permuted\nweights", RUST),
    "sharp": ("ε too\nsmall", RUST),
    "pooled": ("pool\n(repair)", GREEN),
}


def quality(table: pd.DataFrame) -> Drawing:
    """W2 at few and many steps by method, a panel per pair of laws."""
    pairs = sorted(table["pair"].dropna().unique(), key=lambda pair: ("near_far" in pair, pair))
    drawing, axes = panels("Fewer steps are enough; a far mode is not reached", len(pairs))
    for ax, pair in zip(axes, pairs, strict=True):
        rows = table[table["pair"] == pair]
        methods = [m for m in LOOK if m in set(rows["method"])]
        for k, method in enumerate(methods):
            bar(ax, k - 0.18, values(rows, measure="w2_few", method=method), LOOK[method][1], 0.34)
            bar(
                ax,
                k + 0.18,
                values(rows, measure="w2_many", method=method),
                LOOK[method][1],
                0.34,
                alpha=0.55,
            )
        ax.axhline(values(rows, measure="floor", method=methods[0]).mean(), color="black", lw=1, ls=":")
        ax.set_xticks(range(len(methods)), [LOOK[m][0] for m in methods], fontsize=8)
        ax.set_title(pair.replace(" to ", " → "), fontsize=9)
    axes[0].set_ylabel("W2 (dark: 4 steps, light: 100)")
    return drawing


def coupling(table: pd.DataFrame) -> Drawing:
    """W2 and path energy of the exact flows: plain, weighted, and minibatch transport by its batch."""
    drawing, axes = panels("Weighting beside transport of minibatches, without a network", 2)
    batches = sorted(table["batch"].dropna().unique())
    bars = [(*LOOK[m], {"method": m}) for m in ("icfm", "permuted", "wcfm")]
    bars += [(f"transport\nof {b:.0f}", GREEN, {"method": "minibatch_ot", "batch": b}) for b in batches]
    for k, (_, shade, where) in enumerate(bars):
        bar(axes[0], k - 0.18, values(table, measure="w2_few", **where), shade, 0.34)
        bar(axes[0], k + 0.18, values(table, measure="w2_many", **where), shade, 0.34, alpha=0.55)
        bar(axes[1], k, values(table, measure="excess", **where), shade, 0.6)
    axes[0].axhline(values(table, measure="floor", method="wcfm").mean(), color="black", lw=1, ls=":")
    axes[0].set_ylabel("W2 (dark: 4 steps, light: 25)")
    axes[1].set_ylabel("path energy over transport's, less 1")
    axes[1].axhline(0, color="black", lw=0.8)
    for ax in axes:
        ax.set_xticks(range(len(bars)), [label for label, _, _ in bars], fontsize=7)
    return drawing


def far(table: pd.DataFrame) -> Drawing:
    """Far mass by method, and what the closed form says."""
    drawing, (ax,) = panels("What the weighting sacrifices: the half that is far from the source", 1)
    for k, method in enumerate(("icfm", "wcfm", "pooled")):
        bar(ax, k, values(table, measure="far", method=method), LOOK[method][1], 0.5)
        said = values(table, measure="far_predicted", method=method).mean()
        ax.hlines(
            said, k - 0.32, k + 0.32, color="black", ls="--", lw=1.2, label="closed form" if k == 0 else None
        )
    ax.set_xticks(range(3), [LOOK[m][0] for m in ("icfm", "wcfm", "pooled")])
    ax.set_ylabel("share of samples in the far mode")
    ax.legend(frameon=False)
    return drawing


def dimension(table: pd.DataFrame) -> Drawing:
    """Tilt with the squared distance and with the inner product."""
    drawing, axes = panels("In 64 dimensions a squared distance weighs norms", 2)
    for k, (name, shade) in enumerate((("tilt_sq", RUST), ("tilt_gauge", BLUE))):
        bar(axes[0], k, values(table, measure=name), shade, 0.5)
    axes[0].set_xticks(range(2), ["squared distance", "inner product\n(repair)"])
    axes[0].set_ylabel("tilt of the target, nats")
    for k, name in enumerate(("inner_share", "norm_correlation")):
        bar(axes[1], k, values(table, measure=name), GREY, 0.5)
    axes[1].set_xticks(
        range(2), ["share of the cost's\nvariance from ⟨x, y⟩", "correlation of weight\nand norms"]
    )
    axes[1].axhline(0, color="black", lw=0.8)
    return drawing
