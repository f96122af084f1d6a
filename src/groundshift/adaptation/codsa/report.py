"""What an augmentation says of itself: whether synthetic rows help, how many, where, and how good they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from groundshift.pages import number
from groundshift.report import Report, Section

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from groundshift.adaptation.codsa.estimator import CoDSA

__all__ = ["augmentation_report"]

LOSSES = {"auto": "loss", "error": "error", "log": "log loss", "squared": "squared error"}
COPIES = 0.05
"""Share of copies above which a page warns."""


def augmentation_report(model: CoDSA) -> Report:
    """The report of a fitted augmentation."""
    choice, surface = model.choice_, model.surface_
    best = surface[
        (surface.ratio == choice.ratio) & (surface.tilt == choice.tilt) & (surface.split == choice.split)
    ]
    loss, gain, low, high = (float(best[name].iloc[0]) for name in ("loss", "difference", "low", "high"))
    word = LOSSES[model.loss]
    plain = float(surface.loss[surface.ratio == 0].iloc[0])
    target_name, domain_name = model.names_
    if choice.ratio == 0:
        headline = "No number of synthetic rows is clearly better than none."
        lead = f"The held-out {word} without them is {number(plain)}, the regions weighed as asked."
        tone = "open"
    else:
        regions = model.regions_.set_index("region").synthetic
        headline = (
            f"{len(model.synthetic_):,} synthetic rows, {regions.max():,} of them of {regions.idxmax()}, change the "
            f"held-out {word} from {number(plain)} to {number(loss)}."
        )
        lead = f"The difference is {number(gain)} (95 % interval {number(low)} to {number(high)})."
        tone = "good" if high < 0 else "open"
    return Report(
        "codsa",
        f"{target_name or 'rows'} by {domain_name}",
        headline,
        lead=lead,
        tone=tone,  # type: ignore[arg-type]
        warnings=_warnings(model),
        figure=("Held-out loss over the number of synthetic rows", lambda ax: _draw_surface(ax, surface, word)),
        sections=(
            Section(
                "regions", "Which regions gain, and which pay?",
                notes=("Losses are of held-out rows. The setting was chosen on the same rows, which flatters it; "
                       "rows of your own that were never given here are the last word.",),
                tables={"Regions": model.regions_},
            ),
            Section(
                "surface", "What was tried",
                notes=("ratio: synthetic rows over rows. tilt: 0 deals them out as the data are, 1 mostly to the "
                       "smallest regions. split: share of the rows that trains the generator. Chosen is the smallest "
                       "number within one standard error of the best.",),
                tables={"Settings": surface}, folded=len(surface) > 12,
            ),
            Section(
                "quality", "How good are the synthetic rows?",
                notes=("Against rows that the generator never saw. auc: how well they are told apart, 0.5 not "
                       "at all. copies: share nearer to a training row than one in a hundred unseen rows is.",),
                tables={"Quality": model.quality_} if hasattr(model, "quality_") else {},
            ),
        ),
        settings={name: value for name, value in model.get_params(deep=False).items()
                  if isinstance(value, str | int | float | tuple | dict | bool)},
        footnote="Probabilities are those of the augmented rows, in which rare regions are more frequent than in the "
        "data; calibrate (--calibrate) gives those of the data.",
    )  # fmt: skip


def _warnings(model: CoDSA) -> tuple[str, ...]:
    if not hasattr(model, "quality_"):
        return ()
    table = model.quality_
    copied = table[table.copies > COPIES]
    return tuple(
        f"The generator repeats training rows of {row.region}: {row.copies:.0%} of its rows there lie nearer to one "
        "than one in a hundred unseen rows does. Fewer steps, or a source table, help."
        for row in copied.itertuples()
    )


def _draw_surface(ax: Axes, surface: pd.DataFrame, word: str) -> None:
    plain = float(surface.loss[surface.ratio == 0].iloc[0])
    for (tilt, split), part in surface[surface.ratio > 0].groupby(["tilt", "split"]):
        label = f"tilt {tilt:g}" + (f", split {split:g}" if surface.split.nunique() > 1 else "")
        ax.plot([0, *part.ratio], [plain, *part.loss], marker="o", label=label)
    ax.axhline(plain, color="0.6", linewidth=1, linestyle=":")
    ax.set_xlabel("synthetic rows over rows")
    ax.set_ylabel(f"held-out {word}")
    ax.legend()
