"""The report of a fit as one page: what the weighting did to the target, and how good the samples are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from groundshift import __version__
from groundshift.pages import drawn, number, stylesheet, templates

if TYPE_CHECKING:
    from groundshift.generation.wcfm.estimator import WCFM

__all__ = ["page", "sentence"]

POINTS = 1500
"""Most points of a scatter plot."""
GREY, BLUE = "#9a9a9a", "#2f7fa8"


def page(flow: WCFM, rows: Any, samples: Any, title: str) -> str:
    """A self-contained HTML page about a fitted flow.

    Parameters
    ----------
    flow : fitted
    rows : the target's rows, shape (n, d) or (n, ...)
    samples : of the flow, the same columns
    title : what was fitted
    """
    rows, samples = (np.asarray(v, dtype=float).reshape(len(v), -1) for v in (rows, samples))
    names = flow.names_ or [f"x{k + 1}" for k in range(rows.shape[1])]
    figures = [
        ("Rows (grey) and samples (blue)", lambda ax: _scatter(ax, rows, samples, names)),
        (
            f"Mass of {len(flow.regions_)} cells of the data, the largest loss on top",
            lambda ax: _cells(ax, flow.regions_),
        ),
        ("Loss while training", lambda ax: _loss(ax, flow.history_)),
    ]
    said = flow.evaluation_
    measured = [
        ("distance of 8-step samples from half of the held-out rows (W2)", said.get("w2_at_8")),
        ("the same, 100 steps", said.get("w2_at_100")),
        ("the same, another half of the held-out rows: the floor", said.get("w2_floor")),
        ("the same, the source", said.get("w2_source")),
        (
            "path energy over that of optimal transport between the same ends, less 1",
            said.get("energy_excess"),
        ),
        ("straightness: 0 for straight paths", said.get("straightness")),
    ]
    found = flow.diagnosis_
    weighting = [
        ("coupling", flow.coupling + (f", repair {flow.repair} (not the paper's)" if flow.repair else "")),
        ("temperature ε", f"{number(found.eps)} (cost {flow.cost})"),
        ("effective sample size", f"{found.ess:.2f}"),
        ("tilt of the target", f"{number(found.tilt_target)} nats"),
        ("tilt of the source", f"{number(found.tilt_source)} nats"),
        ("mean cost of a pair", f"{number(found.mean_cost)} (optimal transport {number(found.ot_cost)})"),
    ]
    return (
        templates("groundshift.generation.wcfm")
        .get_template("report.html.j2")
        .render(
            title=title,
            sentence=sentence(flow),
            weighting=weighting,
            note=found.note,
            measured=[(what, number(value)) for what, value in measured],
            regions=flow.regions_.to_dict("records"),
            figures=[
                (caption, drawn(draw, f"figure-{k}", caption)) for k, (caption, draw) in enumerate(figures, 1)
            ],
            css=Markup(stylesheet()),
            version=__version__,
        )
    )


def sentence(flow: WCFM) -> str:
    """The outcome in words: what is lost, or that little is."""
    if flow.coupling != "weighted" or flow.repair == "pool":
        return "Pairs are not weighted, so no part of the target is sacrificed by weights."
    worst = flow.regions_.iloc[0]
    lost = float(np.clip(flow.regions_["before"] - flow.regions_["after"], 0, None).sum())
    start = f"The weighting moves {lost:.0%} of the target's mass"
    if flow.diagnosis_.tilt_target < 0.02:
        return f"{start}: next to nothing is sacrificed."
    more = "" if flow.repair else ' repair="pool" would keep it.'
    return (
        f"{start}; most is lost where {worst['where']}, which keeps {worst['ratio']:.0%} of its share.{more}"
    )


def _scatter(ax: Any, rows: Any, samples: Any, names: list[str]) -> None:
    """The two columns that vary most together, or one column as a histogram."""
    if rows.shape[1] == 1:
        bins = np.histogram_bin_edges(rows[:, 0], 40)
        ax.hist([rows[:, 0], samples[:, 0]], bins, density=True, color=[GREY, BLUE])
        ax.set_xlabel(names[0])
        return
    spread = rows.std(0)
    standard = (rows - rows.mean(0)) / np.where(spread > 0, spread, 1)
    together = np.abs(standard.T @ standard)
    np.fill_diagonal(together, -1)
    a, b = sorted(np.unravel_index(together.argmax(), together.shape)) if rows.shape[1] > 2 else (0, 1)
    for values, shade in ((rows, GREY), (samples, BLUE)):
        ax.scatter(*values[:POINTS, [a, b]].T, s=3, color=shade, alpha=0.5, linewidths=0, rasterized=True)
    low, high = np.quantile(rows[:, [a, b]], [0.001, 0.999], axis=0)
    pad = 0.15 * (high - low) + 1e-12
    ax.set_xlim(low[0] - pad[0], high[0] + pad[0])
    ax.set_ylim(low[1] - pad[1], high[1] + pad[1])
    ax.set_xlabel(names[a])
    ax.set_ylabel(names[b])


def _cells(ax: Any, regions: Any) -> None:
    places = np.arange(len(regions))[::-1]
    ax.barh(places, regions["before"], 0.75, color=GREY, label="data", alpha=0.7)
    ax.plot(regions["after"], places, "d", color="#c4622d", label="after weighting", ms=5)
    if "generated" in regions:
        ax.plot(regions["generated"], places, "o", color=BLUE, label="generated", ms=4)
    ax.set_yticks(places, [", ".join(where.split(", ")[:2]) for where in regions["where"]], fontsize=7)
    ax.set_xlabel("share")
    ax.legend(fontsize=8)


def _loss(ax: Any, history: list[dict[str, float]]) -> None:
    ax.plot([row["step"] for row in history], [row["loss"] for row in history], "o-", ms=3)
    ax.set_xlabel("step")
    ax.set_ylabel("loss of a batch")
    ax.set_ylim(0)
