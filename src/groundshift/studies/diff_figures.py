"""The figure of the study of diff that no chart draws: numbers beside their nulls."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from groundshift.studies.drawing import BLUE, GREY, panels, values

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure as Drawing

LABELS = {
    "style": "style",
    "facts": "8 facts",
    "both": "both",
    "sham": "sham",
    "brief": "brief",
    "same": "base itself",
}


def nulls(table: pd.DataFrame) -> Drawing:
    """A panel for each number."""
    names = list(table["number"].unique())
    drawing, axes = panels("Numbers and their nulls", len(names), width=12)
    for ax, name in zip(axes, names, strict=True):
        for x, kind in enumerate(LABELS):
            own, null = (values(table, measure=m, number=name, kind=kind) for m in ("value", "null"))
            ax.plot(np.full(len(own), x), own, "o", color=BLUE, ms=4, alpha=0.7)
            ax.plot(np.full(len(null), x) + 0.2, null, "x", color=GREY, ms=5)
        ax.set_xticks(range(len(LABELS)), list(LABELS.values()), rotation=40, fontsize=7)
        ax.set_title(name, fontsize=9)
    return drawing
