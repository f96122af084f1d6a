"""The figure of the Causal de Finetti study that stacks shares, drawn from its long table of results."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from groundshift.studies.drawing import BLUE, RUST, panels

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure as Drawing

SHADES = {"right": BLUE, "wrong": RUST, "open": "#bbbbbb"}


def conditions(table: pd.DataFrame) -> Drawing:
    """Stacked shares for what varies and what is shared."""
    drawing, (ax,) = panels("One varying mechanism is enough; a shared parameter is not", 1, 6.6)
    ax.set_ylabel("share of pairs")
    bars: list[tuple[str, dict[str, Any]]] = [
        ("both vary", {"vary": "both", "edge": True, "shared": 0.0, "rule": "abstain"}),
        ("cause", {"vary": "cause"}),
        ("mechanism", {"vary": "mechanism"}),
        ("neither", {"vary": "neither", "rule": "abstain"}),
        ("no edge", {"edge": False}),
        *((f"shared\n{s:.0%}", {"shared": s, "rule": "abstain"}) for s in (0.3, 0.6, 0.9, 1.0)),
        ("shared,\nargmax", {"shared": 1.0, "rule": "argmax"}),
    ]
    for k, (_, where) in enumerate(bars):
        rows = table
        for column, value in where.items():
            rows = rows[rows[column] == value]
        bottom = 0.0
        for name, shade in SHADES.items():
            share = rows[rows["measure"] == name]["value"].mean()
            ax.bar(k, share, 0.7, bottom, color=shade, label=name if k == 0 else None)
            bottom += share
    ax.set_xticks(range(len(bars)), [label for label, _ in bars], fontsize=8)
    ax.legend(frameon=False, ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.12))
    return drawing
