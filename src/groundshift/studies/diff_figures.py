"""The figures of the study of diff, drawn from its long table of results."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from groundshift.studies.drawing import BLUE, GREEN, GREY, RUST, panels, values

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure as Drawing

ORDER = ("style", "edit", "one", "both", "sham", "same")
LABELS = {"edit": "8 facts", "one": "1 fact", "same": "base itself"}
CALLED = (("style", BLUE), ("content", RUST), ("unchanged", GREEN))


def _kinds(table: pd.DataFrame) -> list[str]:
    return [kind for kind in ORDER if kind in set(table["kind"])]


def called(table: pd.DataFrame) -> Drawing:
    """For each tune, the share of seeds that it is called by each word."""
    drawing, (ax,) = panels("What each tune is called", 1)
    kinds = _kinds(table)
    for k, (word, shade) in enumerate(CALLED):
        shares = [values(table, measure=word, kind=kind).mean() for kind in kinds]
        ax.bar(np.arange(len(kinds)) + 0.26 * (k - 1), shares, 0.24, color=shade, label=word)
    ax.set_xticks(range(len(kinds)), [LABELS.get(kind, kind) for kind in kinds])
    ax.set_ylabel("share of seeds")
    ax.legend(frameon=False, ncols=3, loc="upper center", bbox_to_anchor=(0.5, 1.16))
    return drawing


def nulls(table: pd.DataFrame) -> Drawing:
    """A panel for each number."""
    names = ("overruled", "words_lost", "firmest_new_word", "divergence", "states_moved")
    drawing, axes = panels("Numbers and their nulls", len(names), width=12)
    kinds = _kinds(table)
    for ax, name in zip(axes, names, strict=True):
        for x, kind in enumerate(kinds):
            own, null = (values(table, measure=m, kind=kind) for m in (name, f"null_{name}"))
            ax.plot(np.full(len(own), x), own, "o", color=BLUE, ms=4, alpha=0.7)
            ax.plot(np.full(len(null), x) + 0.2, null, "x", color=GREY, ms=5)
        ax.set_xticks(range(len(kinds)), [LABELS.get(kind, kind) for kind in kinds], rotation=40, fontsize=7)
        ax.set_title(name.replace("_", " "), fontsize=9)
    return drawing
