"""A report as one page to forward: no script, no request, figures as SVG, light or dark as the reader's system is."""

from __future__ import annotations

import base64
import io
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from groundshift import __version__
from groundshift.pages import drawn, stylesheet, templates
from groundshift.report.content import Badge, Code, Lines, Report, Sample, Section
from groundshift.report.tables import Interval, Reach, columns_of
from groundshift.report.values import value_text

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["fragment", "page"]

LONG = 14
"""Rows beyond which a table scrolls in a window of its own."""
ENLARGED = 128
"""Small pictures are enlarged to about this many pixels, every pixel a square."""
SIGNS = {"good": "○", "bad": "●", "open": "?"}
WIDTH, HEIGHT, PAD = 112, 18, 6


def page(report: Report) -> str:
    """A self-contained HTML page."""
    return _render("page.html.j2", report)


def fragment(report: Report) -> str:
    """Headline, first plot and advice, with the styles they need, inside one element."""
    return _render("fragment.html.j2", report)


def _render(template: str, report: Report) -> str:
    styles = stylesheet() + (files(__package__) / "page.css").read_text(encoding="utf-8")
    return (
        _environment()
        .get_template(template)
        .render(
            report=report,
            css=Markup(styles),
            main=None if report.figure is None else _figure(*report.figure, "main"),
            advice=[_set(section) for section in report.advice],
            sections=[_set(section) for section in report.sections],
            version=__version__,
        )
    )


def _environment() -> Environment:
    env = templates("groundshift.report")
    env.filters.update(value=value_text, cell=_cell)
    env.globals["SIGNS"] = SIGNS
    return env


def _set(section: Section) -> dict[str, Any]:
    """A section with its figures drawn, its tables set and its pictures embedded."""
    return {
        "content": section,
        "figures": [
            _figure(caption, draw, f"{section.name}-{k}")
            for k, (caption, draw) in enumerate(section.figures.items(), 1)
        ],
        "tables": [
            {
                # A table without a caption is named by its section.
                "id": f"{section.name}-table-{k}" if caption else section.name,
                "caption": caption,
                "columns": columns_of(frame) if len(frame) else [],
                "rows": len(frame),
                "long": len(frame) > LONG,
            }
            for k, (caption, frame) in enumerate(section.tables.items(), 1)
        ],
        "samples": [_embedded(sample) for sample in section.samples],
    }


def _figure(caption: str, draw: Any, salt: str) -> dict[str, Any]:
    return {"caption": caption, "svg": drawn(draw, salt, caption)}


def _embedded(sample: Sample) -> dict[str, Any]:
    return {"content": sample, "images": [_data_uri(pixels) for pixels in sample.images]}


def _data_uri(pixels: Any) -> str:
    from PIL import Image

    zoom = max(1, ENLARGED // pixels.shape[1])
    block = np.ones((zoom, zoom, 1)[: pixels.ndim], np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(np.kron(pixels, block)).save(buffer, "png")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _cell(cell: Any, reach: Reach | None) -> Markup:
    if isinstance(cell, Interval) and reach is not None:
        return _bar(cell, reach)
    if isinstance(cell, Badge):
        return Markup('<span class="verdict {}">{} {}</span>').format(cell.tone, SIGNS[cell.tone], cell.text)
    if isinstance(cell, Code):
        return Markup("<code>{}</code>").format(str(cell))
    if isinstance(cell, Lines):
        first = _cell(cell.first, None) if isinstance(cell.first, Badge) else Markup.escape(cell.first)
        code = Markup(" ").join(Markup("<code>{}</code>").format(name) for name in cell.code)
        below = Markup("").join(Markup('<span class="same">{}</span>').format(line) for line in cell.below)
        return Markup("{}{}{}").format(
            Markup('<span class="where">{}</span>').format(code) if code else "", first, below
        )
    return Markup.escape(cell)


def _bar(interval: Interval, reach: Reach) -> Markup:
    """An interval as a bar and its value as a dot; the words are beside it, so it is not read out."""

    def x(place: Any) -> str:
        return f"{PAD + (WIDTH - 2 * PAD) * (float(place) - reach[0]) / (reach[1] - reach[0]):.1f}"

    middle = HEIGHT / 2
    parts = [
        f'<svg class="interval" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" aria-hidden="true">',
        f'<line class="track" x1="{PAD}" x2="{WIDTH - PAD}" y1="{middle}" y2="{middle}"/>',
    ]
    if reach[0] <= 0 <= reach[1]:
        parts.append(f'<line class="zero" x1="{x(0)}" x2="{x(0)}" y1="2" y2="{HEIGHT - 2}"/>')
    if value_text(interval.low) != "–" and value_text(interval.high) != "–":
        parts.append(
            f'<line class="bar" x1="{x(interval.low)}" x2="{x(interval.high)}" y1="{middle}" y2="{middle}"/>'
        )
    return Markup("".join([*parts, f'<circle cx="{x(interval.value)}" cy="{middle}" r="3.5"/></svg>']))
