"""The figures of the study of unlabelled rows, drawn from its long table of results."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from groundshift.studies.drawing import BLUE, GREEN, GREY, RUST, bar, panels

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure as Drawing

SHADES = {"method": BLUE, "baseline": GREEN, "control": RUST}
PERFORMANCE = ("estimated", "confidence_alone", "reference_loss", "uncalibrated", "constant")
SHARES = ("calibrated_em", "confusion", "uncalibrated_em", "shares_stay")


def _bars(ax: Any, table: pd.DataFrame, bars: list[tuple[str, dict[str, Any], str]]) -> None:
    """A bar with its seeds for each selection that has rows; seeds are means over targets."""
    shown: list[str] = []
    for label, where, shade in bars:
        rows = table[(table[list(where)] == list(where.values())).all(axis=1)]
        if len(rows):
            seeds = rows.groupby("seed")["value"].mean()
            bar(ax, len(shown), seeds.to_numpy(), shade)
            shown.append(label)
    ax.set_xticks(range(len(shown)), shown, rotation=35, ha="right", fontsize=7)


def coverage(table: pd.DataFrame) -> Drawing:
    """Two panels: intervals of the performance, and of the shares."""
    drawing, axes = panels("Intervals that hold what the labels show", 2)
    roles = table.groupby("method")["role"].first()
    kinds = [
        ("no shift", "covariate", 0.0),
        ("covariate 1", "covariate", 1.0),
        ("covariate 2", "covariate", 2.0),
    ]
    ours: list[tuple[str, dict[str, Any], str]] = [
        (label, {"measure": "covered", "method": "estimated", "shift": shift, "severity": severity}, BLUE)
        for label, shift, severity in (*kinds, ("concept", "concept", 1.0))
    ]
    others: list[tuple[str, dict[str, Any], str]] = [
        (name.replace("_", " "), {"measure": "covered", "method": name, "severity": 2.0}, SHADES[roles[name]])
        for name in PERFORMANCE[1:]
        if name in roles
    ]
    _bars(axes[0], table, ours + others)
    _bars(
        axes[1],
        table,
        [
            (
                f"{name.replace('_', ' ')}, {shift}",
                {"measure": "shares_covered", "method": name, "shift": shift},
                shade,
            )
            for name, shift, shade in (
                ("calibrated_em", "label", BLUE),
                ("calibrated_em", "offset", BLUE),
                ("shares_stay", "label", RUST),
            )
        ],
    )
    for ax, title in zip(axes, ("of the performance", "of the shares of the classes"), strict=True):
        ax.axhline(0.95, color=GREY, lw=0.8, ls="--")
        ax.set_title(title, fontsize=9, loc="left")
        ax.set_ylim(0, 1.05)
    return drawing


def errors(table: pd.DataFrame) -> Drawing:
    """Two panels: relative error of the performance under the strongest covariate shift, and L1 of the shares."""
    drawing, axes = panels("Errors", 2)
    roles = table.groupby("method")["role"].first()
    strong = {"shift": "covariate", "severity": 2.0}
    shown: list[tuple[str, dict[str, Any], str]] = [
        (name.replace("_", " "), {"measure": "error", "method": name, **strong}, SHADES[roles[name]])
        for name in PERFORMANCE
        if name in roles
    ]
    shown.append(
        ("importance weights", {"measure": "weighted_error", "method": "estimated", **strong}, GREEN)
    )
    _bars(axes[0], table, shown)
    _bars(
        axes[1],
        table,
        [
            (name.replace("_", " "), {"measure": "l1", "method": name, "shift": "label"}, SHADES[roles[name]])
            for name in SHARES
            if name in roles
        ],
    )
    for ax, title in zip(
        axes, ("of the loss, over the loss", "of the shares, summed over classes"), strict=True
    ):
        ax.set_title(title, fontsize=9, loc="left")
    return drawing
