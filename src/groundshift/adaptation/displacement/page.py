"""The report of `watch` as one page: what fell, who gained, what is written now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from groundshift import __version__
from groundshift.pages import drawn, number, stylesheet, templates

if TYPE_CHECKING:
    from groundshift.adaptation.displacement.watching import Watched

__all__ = ["page", "sentence"]

GREY, BLUE, RUST = "#9a9a9a", "#2f7fa8", "#c4622d"
SHOWN = 12
"""Pairs and sampled answers that are listed."""
VISIBLE = 1e-3
"""The least change of a token's probability that is shown."""


def page(report: Watched, title: str) -> str:
    """A self-contained HTML page about what training on preferences moved."""
    moved = report.moved
    table = moved.table.sort_values("chosen_per_token")
    figures = [
        (
            "Every pair: above the dotted line the margin rose, below 0 the chosen answer fell",
            lambda ax: _pairs(ax, table),
        )
    ]
    for place, caption in (
        ("1", "The answers' first token"),
        ("2", "and the second, after the chosen first"),
    ):
        if (moved.gaining["gain"][moved.gaining["place"] == place] >= VISIBLE).any():
            figures.append(
                (f"{caption}: who gained probability, who lost it", lambda ax, p=place: _tokens(ax, moved, p))  # type: ignore[misc]
            )
    if report.classes is not None:
        figures.append(("Sampled answers by class", lambda ax: _classes(ax, report.classes)))
    said = moved.summary()
    measured = [
        ("pairs", str(said["pairs"])),
        ("displacement rate: chosen fell while the margin rose", f"{said['rate']:.0%}"),
        (
            "mean change of log π(chosen)",
            f"{number(said['chosen'])} ({number(said['chosen_per_token'])} per token)",
        ),
        (
            "mean change of log π(rejected)",
            f"{number(said['rejected'])} ({number(said['rejected_per_token'])} per token)",
        ),
        ("mean change of the margin", number(said["margin"])),
    ]
    return (
        templates("groundshift.adaptation.displacement")
        .get_template("report.html.j2")
        .render(
            title=title,
            sentence=sentence(report),
            measured=measured,
            notes=report.notes,
            worst=table.head(SHOWN).to_dict("records"),
            gaining=moved.gaining[moved.gaining["gain"] >= VISIBLE].to_dict("records"),
            classes=[]
            if report.classes is None
            else report.classes.reset_index(names="class").to_dict("records"),
            examples=[] if report.examples is None else report.examples.head(SHOWN).to_dict("records"),
            figures=[
                (caption, drawn(draw, f"figure-{k}", caption)) for k, (caption, draw) in enumerate(figures, 1)
            ],
            css=Markup(stylesheet()),
            version=__version__,
        )
    )


def sentence(report: Watched) -> str:
    """The outcome in words."""
    said = report.moved.summary()
    verb = "lost" if said["chosen"] < 0 else "gained"
    start = f"The chosen answers {verb} {number(abs(said['chosen']))} nats on average"
    if said["chosen"] >= 0:
        return f"{start}; {said['rate']:.0%} of the pairs displaced."
    classes = report.classes
    if classes is None or not (classes["change"] > 0).any():
        margin = number(said["margin"])
        return f"{start} while the margin changed by {margin}; {said['rate']:.0%} of the pairs displaced."
    most = classes["change"].idxmax()
    gain = 100 * classes["change"].max()
    return f"{start}; of sampled answers, “{most}” gained most: {gain:+.0f} points."


def _pairs(ax: Any, table: Any) -> None:
    low, high = table["rejected"].min(), table["rejected"].max()
    for mask, shade, name in (
        (~table["displaced"], BLUE, "not displaced"),
        (table["displaced"], RUST, "displaced"),
    ):
        part = table[mask]
        ax.scatter(
            part["rejected"],
            part["chosen"],
            s=10,
            color=shade,
            alpha=0.6,
            linewidths=0,
            label=f"{name} ({len(part)})",
        )
    ax.axhline(0, lw=1, color="#55606e")
    ax.plot([low, high], [low, high], ":", lw=1, color="#55606e")
    ax.set_xlabel("change of log π(rejected), nats")
    ax.set_ylabel("change of log π(chosen)")
    ax.legend(fontsize=8)


def _tokens(ax: Any, moved: Any, place: str) -> None:
    rows = [
        part[(part["place"] == place) & (part["gain"].abs() >= VISIBLE)].head(6)
        for part in (moved.gaining, moved.losing)
    ]
    names = [*rows[0]["token"], *rows[1]["token"][::-1]]
    gains = [*rows[0]["gain"], *rows[1]["gain"][::-1]]
    places = np.arange(len(names))[::-1]
    ax.barh(places, gains, 0.75, color=[BLUE if g > 0 else RUST for g in gains])
    ax.axvline(0, lw=1, color="#55606e")
    ax.set_yticks(places, names, fontsize=8)
    ax.set_xlabel("change of mean probability")


def _classes(ax: Any, classes: Any) -> None:
    places = np.arange(len(classes))[::-1]
    ax.barh(places + 0.2, classes["base"], 0.38, color=GREY, label="base")
    ax.barh(places - 0.2, classes["tuned"], 0.38, color=BLUE, label="tuned")
    ax.set_yticks(places, [str(c) for c in classes.index])
    ax.set_xlabel("share of sampled answers")
    ax.legend(fontsize=8)
