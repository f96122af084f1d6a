"""What a fitted flow says of itself: what the weighting did to the target, and how good the samples are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from groundshift.drawn import draw_rows, pictures
from groundshift.generation.wcfm.diagnosis import SMALL_TILT
from groundshift.pages import number
from groundshift.report import Report, Section

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from groundshift.generation.wcfm.estimator import WCFM

__all__ = ["flow_report"]

DRAWN_CELLS = 12
"""Cells in the figure, those with the largest losses."""
MEASURED = {
    "w2_at_8": "W₂ of 8-step samples from half of the held-out rows",
    "w2_at_100": "W₂ of 100-step samples",
    "w2_floor": "W₂ of the other half of the held-out rows, the floor",
    "w2_source": "W₂ of the source",
    "energy_excess": "path energy over that of optimal transport between the same ends, minus 1",
    "straightness": "straightness, 0 for straight paths",
}


def flow_report(flow: WCFM) -> Report:
    """The report of a fitted flow."""
    weighs = flow.coupling == "weighted" and flow.repair != "pool"
    names = flow.names_ or [f"x{k + 1}" for k in range(int(np.prod(flow.shape_)))]
    clouds = {"data": flow.rows_, "samples": flow.generated_}
    flat = {name: rows.reshape(len(rows), -1) for name, rows in clouds.items()}
    subject = f"rows of shape {flow.shape_}" if flow.names_ is None else ", ".join(names)
    if flow.code_ is not None:
        subject = ", ".join(column.name for column in flow.code_.columns)
        if numbers := flow.code_.numbers:
            names, flat = [names[k] for k in numbers], {name: rows[:, numbers] for name, rows in flat.items()}
    rows_figure = ("Rows of the data and samples in 8 steps", lambda ax: draw_rows(ax, flat, names))
    cells_figure = (
        "Share of the parts of the data that lose most",
        lambda ax: _draw_cells(ax, flow.regions_),
    )
    first, second = (cells_figure, rows_figure) if weighs else (rows_figure, cells_figure)
    return Report(
        "wcfm",
        subject,
        _headline(flow, weighs),
        lead=_distances(flow.evaluation_),
        tone="good" if not weighs or flow.diagnosis_.tilt_target < SMALL_TILT else "open",
        figure=first,
        advice=_advice(flow, weighs),
        sections=(
            _weighting(flow),
            Section(
                "samples", "How good are the samples?",
                notes=("W₂ is the 2-Wasserstein distance between equally many points, in the scale of the fit; two "
                       "samples of one distribution are the floor apart.",
                       "Energies and generated shares are of 2,000 samples, whatever the number of rows."),
                facts={text: flow.evaluation_.get(name) for name, text in MEASURED.items()},
                figures=dict([second]), samples=pictures(flow.generated_),
            ),
            Section(
                "cells", "Parts of the target", folded=True,
                notes=("Cells are found by k-means in a pilot; a share is of the data, of the weighted data, and of "
                       "the samples.",),
                tables={"Cells, the largest loss first": flow.regions_},
            ),
            Section(
                "training", "Training", folded=True,
                figures={"Loss of a batch": lambda ax: _draw_loss(ax, flow.history_)},
            ),
        ),
        settings={name: value for name, value in flow.get_params(deep=False).items() if name != "network"},
    )  # fmt: skip


def _headline(flow: WCFM, weighs: bool) -> str:
    if not weighs:
        return "Pairs are not weighted, so no part of the target is sacrificed by weights."
    worst = flow.regions_.iloc[0]
    lost = float(np.clip(flow.regions_["before"] - flow.regions_["after"], 0, None).sum())
    start = f"The weighting moves {lost:.0%} of the target's mass"
    if flow.diagnosis_.tilt_target < SMALL_TILT:
        return f"{start}: next to nothing is sacrificed."
    where = worst["where"].split(", ")[0]
    return f"{start}; most is lost at {where}, which keeps {worst['ratio']:.0%} of its share."


def _distances(measured: dict[str, float]) -> str:
    if "w2_floor" not in measured:
        return ""
    few, many, floor, source = (number(measured[name]) for name in list(MEASURED)[:4])
    return (
        f"Distance of samples from held-out rows: {few} in 8 steps, {many} in 100 steps (floor {floor}, source "
        f"{source})."
    )


def _advice(flow: WCFM, weighs: bool) -> tuple[Section, ...]:
    if not weighs or flow.diagnosis_.tilt_target < SMALL_TILT:
        return ()
    more = ["A larger ess or eps moves less mass and lengthens the paths."]
    if flow.repair is None:
        more.insert(0, 'repair="pool", which is not the paper\'s, keeps the whole target.')
    return (Section("advice", "What to do if those rows matter", more[0], notes=tuple(more[1:])),)


def _weighting(flow: WCFM) -> Section:
    diagnosis = flow.diagnosis_
    facts: dict[str, Any] = {
        "coupling": flow.coupling + (f", repair {flow.repair} (not the paper's)" if flow.repair else ""),
        "temperature ε": diagnosis.eps,
        "effective sample size": diagnosis.ess,
        "tilt of the target, nats": diagnosis.tilt_target,
        "tilt of the source, nats": diagnosis.tilt_source,
        "mean cost of a pair": diagnosis.mean_cost,
        "mean cost under optimal transport": diagnosis.ot_cost,
    }
    tables = {} if flow.classes_ is None else {"Share of each class": flow.class_share_.reset_index()}
    notes = (f"{diagnosis.note[:1].upper()}{diagnosis.note[1:]}.",) if diagnosis.note else ()
    return Section("weighting", "What does the weighting do?", notes=notes, facts=facts, tables=tables)


def _draw_cells(ax: Axes, regions: pd.DataFrame) -> None:
    worst = regions.head(DRAWN_CELLS)
    places = np.arange(len(worst))[::-1]
    ax.barh(places, worst["before"], 0.75, color="#9a9a9a", label="data", alpha=0.7)
    ax.plot(worst["after"], places, "d", color="#c4622d", label="weighted", ms=5)
    if "generated" in worst:
        ax.plot(worst["generated"], places, "o", color="#2f7fa8", label="samples", ms=4)
    ax.set_yticks(places, [where.split(", ")[0] for where in worst["where"]])
    ax.set_xlabel("share")
    ax.legend()


def _draw_loss(ax: Axes, history: list[dict[str, float]]) -> None:
    ax.plot([row["step"] for row in history], [row["loss"] for row in history], "o-", ms=3)
    ax.set_xlabel("step")
    ax.set_ylabel("loss of a batch")
    ax.set_ylim(0)
