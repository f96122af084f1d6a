"""Inline SVG: the strip of values beside a claim, and a study's figures with the numbers they show."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

from groundshift.pages import number, themed

if TYPE_CHECKING:
    import pandas as pd

    from groundshift.lab.study import Study

__all__ = ["figures", "strip"]

WIDTH, HEIGHT, PAD = 220, 34, 10


def strip(claim: dict[str, Any]) -> Markup:
    """The value of each replicate as a dot, their interval as a bar, the margin as a line; no dots for a rate."""
    values = [float(value) for value in claim["values"] if _finite(value)]
    if not values:
        return Markup("")
    count = len(values)
    low, high, mean = (float(claim[name]) for name in ("low", "high", "mean"))
    margins = [-claim["margin"], claim["margin"]] if claim["kind"] == "equivalence" else [claim["margin"]]
    if claim["kind"] == "rate":
        margins, values = [claim["margin"], claim["margin"] + claim["slack"]], []
    shown = [*values, *margins, *(v for v in (low, high) if _finite(v))]
    least, most = min(shown), max(shown)
    span = (most - least) or 1.0

    def x(value: float) -> str:
        return f"{PAD + (WIDTH - 2 * PAD) * (value - least) / span:.1f}"

    middle = HEIGHT / 2
    label = (
        f"{count} values, mean {number(mean)}, interval {number(low)} to {number(high)}; margin "
        + " and ".join(number(margin) for margin in margins)
    )
    parts = [
        f'<svg class="strip" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img" '
        f'aria-label="{escape(label)}">',
        *(f'<line class="margin" x1="{x(m)}" x2="{x(m)}" y1="3" y2="{HEIGHT - 3}"/>' for m in margins),
    ]
    if _finite(low) and _finite(high):
        parts.append(f'<line class="interval" x1="{x(low)}" x2="{x(high)}" y1="{middle}" y2="{middle}"/>')
    parts += [f'<circle class="value" cx="{x(v)}" cy="{middle}" r="3"/>' for v in values]
    if _finite(mean):
        parts.append(f'<circle class="mean" cx="{x(mean)}" cy="{middle}" r="4.5"/>')
    return Markup("".join([*parts, "</svg>"]))


def _finite(value: Any) -> bool:
    try:
        return abs(float(value)) < float("inf")
    except (TypeError, ValueError):
        return False


def figures(study: Study, table: pd.DataFrame) -> list[dict[str, Any]]:
    """The study's figures: name, caption, SVG, and the means they show as columns and rows; both of the same rows."""
    drawings = []
    for figure in study.figures:
        rows = table.query(figure.rows)
        picture = themed(partial(figure.draw, rows), f"{study.slug}-{figure.name}", figure.caption)
        drawings.append(
            {"name": figure.name, "caption": figure.caption, "svg": picture, "table": _means(rows)}
        )
    return drawings


def _means(rows: pd.DataFrame) -> dict[str, Any]:
    """Mean and standard deviation over seeds, by every column that varies."""
    ignored = {"key", "seed", "value", "study", "version", "scale", "role"}
    by = [name for name in rows.columns if name not in ignored and rows[name].nunique(dropna=False) > 1]
    grouped = rows.groupby(by or ["measure"], dropna=False)["value"].agg(["mean", "std", "count"])
    # Not reset_index: a factor of a study may itself be called count or mean.
    body = [
        ["–" if value != value else value for value in (*keys, *numbers)]
        for keys, numbers in zip(
            grouped.index.to_frame().itertuples(index=False), grouped.to_numpy(object), strict=True
        )
    ]
    return {"columns": [*(by or ["measure"]), "mean", "sd", "n"], "rows": body}
