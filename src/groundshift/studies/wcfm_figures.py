"""The figures of the weighted conditional flow matching study, drawn from its long table of results."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure as Drawing

BLUE, RUST, GREY, GREEN = "#2f6f8f", "#c4622d", "#9a9a9a", "#5b8c5a"
LOOK = {
    "icfm": ("plain", GREY),
    "wcfm": ("weighted", BLUE),
    "permuted": ("permuted\nweights", RUST),
    "sharp": ("ε too\nsmall", RUST),
    "pooled": ("pool\n(repair)", GREEN),
}


def _panels(title: str, count: int) -> tuple[Drawing, list[Any]]:
    from matplotlib.figure import Figure as Drawing

    drawing = Drawing(figsize=(8.6, 3.6), layout="constrained")
    drawing.suptitle(title, x=0.01, ha="left", fontsize=11)
    axes = drawing.subplots(1, count, squeeze=False)[0]
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)
    return drawing, list(axes)


def _values(table: pd.DataFrame, measure: str, **where: Any) -> np.ndarray:
    rows = table[table["measure"] == measure]
    for column, value in where.items():
        rows = rows[rows[column] == value]
    return rows["value"].to_numpy()


def _bar(ax: Any, x: float, values: np.ndarray, shade: str, width: float = 0.34, **style: Any) -> None:
    ax.bar(x, values.mean(), width, color=shade, **style)
    ax.plot(np.full(len(values), x), values, ".", color="black", ms=3, alpha=0.5)


def quality(table: pd.DataFrame) -> Drawing:
    """W2 at few and many steps by method, a panel per pair of laws."""
    pairs = sorted(table["pair"].dropna().unique(), key=lambda pair: ("near_far" in pair, pair))
    drawing, axes = _panels("Fewer steps are enough; a far mode is not reached", len(pairs))
    for ax, pair in zip(axes, pairs, strict=True):
        rows = table[table["pair"] == pair]
        methods = [m for m in LOOK if m in set(rows["method"])]
        for k, method in enumerate(methods):
            _bar(ax, k - 0.18, _values(rows, "w2_few", method=method), LOOK[method][1])
            _bar(ax, k + 0.18, _values(rows, "w2_many", method=method), LOOK[method][1], alpha=0.55)
        ax.axhline(_values(rows, "floor", method=methods[0]).mean(), color="black", lw=1, ls=":")
        ax.set_xticks(range(len(methods)), [LOOK[m][0] for m in methods], fontsize=8)
        ax.set_title(pair.replace(" to ", " → "), fontsize=9)
    axes[0].set_ylabel("W2 (dark: 4 steps, light: 100)")
    return drawing


def coupling(table: pd.DataFrame) -> Drawing:
    """W2 and path energy of the exact flows: plain, weighted, and minibatch transport by its batch."""
    drawing, axes = _panels("Weighting beside transport of minibatches, without a network", 2)
    batches = sorted(table["batch"].dropna().unique())
    bars = [(*LOOK[m], {"method": m}) for m in ("icfm", "permuted", "wcfm")]
    bars += [(f"transport\nof {b:.0f}", GREEN, {"method": "minibatch_ot", "batch": b}) for b in batches]
    for k, (_, shade, where) in enumerate(bars):
        _bar(axes[0], k - 0.18, _values(table, "w2_few", **where), shade)
        _bar(axes[0], k + 0.18, _values(table, "w2_many", **where), shade, alpha=0.55)
        _bar(axes[1], k, _values(table, "excess", **where), shade, 0.6)
    axes[0].axhline(_values(table, "floor", method="wcfm").mean(), color="black", lw=1, ls=":")
    axes[0].set_ylabel("W2 (dark: 4 steps, light: 25)")
    axes[1].set_ylabel("path energy over transport's, less 1")
    axes[1].axhline(0, color="black", lw=0.8)
    for ax in axes:
        ax.set_xticks(range(len(bars)), [label for label, _, _ in bars], fontsize=7)
    return drawing


def far(table: pd.DataFrame) -> Drawing:
    """Far mass by method, and what the closed form says."""
    drawing, (ax,) = _panels("What the weighting sacrifices: the half that is far from the source", 1)
    for k, method in enumerate(("icfm", "wcfm", "pooled")):
        _bar(ax, k, _values(table, "far", method=method), LOOK[method][1], 0.5)
        said = _values(table, "far_predicted", method=method).mean()
        ax.hlines(
            said, k - 0.32, k + 0.32, color="black", ls="--", lw=1.2, label="closed form" if k == 0 else None
        )
    ax.set_xticks(range(3), [LOOK[m][0] for m in ("icfm", "wcfm", "pooled")])
    ax.set_ylabel("share of samples in the far mode")
    ax.legend(frameon=False)
    return drawing


def dimension(table: pd.DataFrame) -> Drawing:
    """Tilt with the squared distance and with the inner product."""
    drawing, axes = _panels("In 64 dimensions a squared distance weighs norms", 2)
    for k, (name, shade) in enumerate((("tilt_sq", RUST), ("tilt_gauge", BLUE))):
        _bar(axes[0], k, _values(table, name), shade, 0.5)
    axes[0].set_xticks(range(2), ["squared distance", "inner product\n(repair)"])
    axes[0].set_ylabel("tilt of the target, nats")
    for k, name in enumerate(("inner_share", "norm_correlation")):
        _bar(axes[1], k, _values(table, name), GREY, 0.5)
    axes[1].set_xticks(
        range(2), ["share of the cost's\nvariance from ⟨x, y⟩", "correlation of weight\nand norms"]
    )
    axes[1].axhline(0, color="black", lw=0.8)
    return drawing
