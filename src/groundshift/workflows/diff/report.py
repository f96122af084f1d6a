"""The comparison as one page to forward: the kind of tune first, then every number beside its nulls."""

from __future__ import annotations

from functools import partial
from typing import Any

import pandas as pd
from markupsafe import Markup

from groundshift import __version__
from groundshift.pages import drawn, number, stylesheet, templates
from groundshift.workflows.diff.result import LEAST, SCHEMA, Diff

__all__ = ["page"]

BLUE, GREY, RUST = "#2f7fa8", "#9a9a9a", "#c4622d"
MOST_LABELS = 16
"""Blocks that are named under a figure; of more, every second, third, ..."""


def page(found: Diff) -> str:
    """A self-contained HTML page; equal comparisons give equal bytes."""
    nulls = "the base again (ring)" + ("" if found.weights is None else " and noise of the same size (cross)")
    figures = {"numbers": (f"Every number (dot) beside {nulls}", _numbers)}
    if found.weights is not None:
        caption = "Change of the weights by block, over their size; embeddings and heads apart"
        figures["weights"] = (caption, _weights)
    if found.layers is not None:
        figures["layers"] = ("Change of the hidden states by site", _layers)
    return (
        templates("groundshift.workflows.diff")
        .get_template("report.html.j2")
        .render(
            found=found,
            figures={
                name: (caption, drawn(partial(draw, found), f"figure-{name}", caption))
                for name, (caption, draw) in figures.items()
            },
            weights=_most_moved(found.weights),
            unit=found.settings.get("compared", "tokens").removesuffix("s"),
            css=Markup(stylesheet()),
            number=number,
            LEAST=LEAST,
            SCHEMA=SCHEMA,
            version=__version__,
        )
    )


def _most_moved(weights: pd.DataFrame | None) -> list[Any]:
    if weights is None:
        return []
    return weights[weights["change"] > 0].nlargest(8, "relative").to_dict("records")


def _numbers(found: Diff, ax: Any) -> None:
    numbers = found.numbers[::-1]
    for y, n in enumerate(numbers):
        shade = RUST if n.changed else BLUE
        floor = 1e-4
        ax.plot([max(n.low, floor), max(n.high, floor)], [y, y], color=shade, lw=2)
        ax.plot(max(n.value, floor), y, "o", color=shade, ms=6)
        ax.plot(max(n.again, floor), y, "o", mfc="none", mec=GREY, ms=7)
        if found.weights is not None:
            ax.plot(max(n.noise, floor), y, "x", color=GREY, ms=6)
    ax.set_xscale("log")
    ax.set_xlim(8e-5, None)
    ticks = [t for t in (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0) if t <= ax.get_xlim()[1]]
    ax.set_xticks(ticks, [f"{t:g}" for t in ticks])
    ax.minorticks_off()
    ax.set_yticks(range(len(numbers)), [n.name for n in numbers])
    ax.set_xlabel("0.0001 stands for less")


def _weights(found: Diff, ax: Any) -> None:
    assert found.weights is not None
    table = found.weights.assign(size=found.weights["change"] / found.weights["relative"].clip(lower=1e-30))
    norms = table[["change", "size"]].pow(2).groupby(table["layer"]).sum().pow(0.5)
    parts = norms["change"] / norms["size"].clip(lower=1e-30)
    ax.bar(range(len(parts)), parts, color=BLUE)
    some = range(0, len(parts), 1 + len(parts) // MOST_LABELS)
    ax.set_xticks(some, ["rest" if parts.index[k] < 0 else str(parts.index[k]) for k in some])
    ax.set_xlabel("block")


def _layers(found: Diff, ax: Any) -> None:
    assert found.layers is not None
    for column, shade, label in (("relative", BLUE, "relative change"), ("cka", RUST, "1 − CKA")):
        ax.plot(range(len(found.layers)), found.layers[column], "o-", color=shade, label=label)
    ax.set_xticks(range(len(found.layers)), found.layers["site"], rotation=20)
    ax.set_ylim(0, None)
    ax.legend()
