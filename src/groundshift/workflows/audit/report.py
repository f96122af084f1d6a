"""The audit as one page to forward: no script, no request, figures as SVG.

The verdict comes first, then every kind of shift with its interval, what to do, and the six steps as they were taken.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import pandas as pd
from markupsafe import Markup

from groundshift import __version__
from groundshift.pages import drawn, number, stylesheet, templates
from groundshift.workflows.audit.result import SCHEMA, Audit, Kind, Section

__all__ = ["advice", "p_text", "page", "value_text"]

MEANING = {
    "concept": "the target given the other columns",
    "label": "how common each value of the target is",
    "mechanism": "how a column comes about from others",
    "correlation": "which columns move together",
    "covariate": "the values that columns take",
    "missingness": "which values are missing",
}
SIGNS = {"found": "●", "not found": "○", "explained": "◌", "cannot tell": "?"}
LONG = 14
"""Rows beyond which a table scrolls in a window of its own."""
MOST_PLACES = 6


def page(audit: Audit) -> str:
    """A self-contained HTML page; equal audits give equal bytes."""
    env = templates("groundshift.workflows.audit")
    env.filters.update(value=value_text, p=p_text, slug=lambda word: word.replace(" ", "-"))
    reach = _reach([0.0, *(v for kind in audit.kinds for v in (kind.low, kind.size, kind.high))])
    kinds = sorted(audit.kinds, key=lambda kind: kind.found is not True)  # as they are, but found ones first
    first, _, rest = audit.headline.partition(". ")
    return env.get_template("report.html.j2").render(
        audit=audit,
        headline=first.removesuffix(".") + ".",
        subline=rest,
        css=Markup(stylesheet() + (files(__package__) / "report.css").read_text(encoding="utf-8")),
        kinds=[
            _Row(
                kind,
                "explained" if kind.explained_by else kind.status,
                _interval(kind.low, kind.size, kind.high, reach),
            )
            for kind in kinds
        ],
        reach=reach,
        sections=[_shown(section) for section in audit.sections],
        main_caption=_main_caption(audit),
        main_figure=drawn(lambda ax: draw_main(ax, audit), "main", _main_caption(audit)),
        advice=advice(audit),
        MEANING=MEANING,
        MOST_PLACES=MOST_PLACES,
        SCHEMA=SCHEMA,
        SIGNS=SIGNS,
        version=__version__,
    )


def _main_caption(audit: Audit) -> str:
    windows = any(section.name == "timeline" for section in audit.sections)
    return "Size of each kind of shift" + (" by window" if windows else "") + ", with 95 % intervals"


def advice(audit: Audit) -> str:
    """What to do, in a sentence."""
    return audit["remedies"].answer


@dataclass(frozen=True)
class _Row:
    """A kind, its verdict in words, and its interval drawn."""

    kind: Kind
    word: str
    interval: Markup


def draw_main(ax: Any, audit: Audit) -> None:
    """The one plot that shows the verdict: kinds over time where there are windows, else each kind's size."""
    series = next((s for s in audit.sections if s.name == "timeline"), None)
    if series is not None:
        next(iter(series.figures.values()))(ax)
        return
    kinds = [k for k in audit.kinds if k.size == k.size][::-1]
    y = range(len(kinds))
    colours = ["#c4622d" if k.found else "#9aa5ad" for k in kinds]
    ax.hlines(y, [k.low for k in kinds], [k.high for k in kinds], color=colours, linewidth=2.5)
    ax.scatter([k.size for k in kinds], y, color=colours, s=30, zorder=3)
    ax.set_yticks(list(y), [f"{k.name} ({k.status.partition(' (')[0]})" for k in kinds])
    ax.set_xlim(0, max(0.1, *(1.05 * k.high for k in kinds)) if kinds else 1)
    ax.set_xlabel("size of the shift, with 95 % interval (0 alike, 1 nothing in common)")


# Words for values ----------------------------------------------------------------------------------------


def value_text(value: Any) -> str:
    """A value of a table or a setting, for people.

    >>> [value_text(v) for v in (0.12345, 12345, True, None, ("a", 2), {"rows": 3})]
    ['0.123', '12,345', 'yes', '–', 'a, 2', 'rows 3']
    """
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {value_text(v)}" for name, v in value.items()) or "–"
    if isinstance(value, list | tuple):
        return ", ".join(map(value_text, value)) or "–"
    if hasattr(value, "tolist"):
        return value_text(value.tolist())
    if value is None or value is pd.NA or value is pd.NaT:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}".replace("-", "−")
    if isinstance(value, float):
        return number(value).replace("inf", "∞").replace("-", "−")
    return str(value)


def p_text(p: Any) -> str:
    """A p-value; how small it is below a thousandth says nothing."""
    return "< 0.001" if _finite(p) and p < 0.001 else value_text(p)


def _finite(value: Any) -> bool:
    try:
        return math.isfinite(value)
    except TypeError:
        return False


# Intervals -----------------------------------------------------------------------------------------------

WIDTH, HEIGHT, PAD = 112, 18, 6
Reach = tuple[float, float]


def _reach(values: Iterable[Any]) -> Reach:
    """From where to where intervals are drawn, in round numbers; with zero, unless all are far from it."""
    finite = [float(v) for v in values if _finite(v)] or [1.0]
    low, high = min(finite), max(finite)
    if not 0 < high - low < high / 2:
        low, high = min(low, 0.0), max(high, 0.0)
    step = 10.0 ** math.floor(math.log10(high - low or 1.0)) / 2
    # The rounding takes away what floats leave behind: 3 * 0.1 is more than 0.3.
    first, last = math.floor(round(low / step, 6)), math.ceil(round(high / step, 6))
    return float(f"{first * step:.12g}"), float(f"{max(last, first + 1) * step:.12g}")


def _with_interval(low: Any, value: Any, high: Any) -> str:
    ends = value_text(low), value_text(high)
    return value_text(value) if ends == ("–", "–") else f"{value_text(value)} [{ends[0]}, {ends[1]}]"


def _interval(low: Any, value: Any, high: Any, reach: Reach) -> Markup:
    """An interval as a bar and its value as a dot; the words are beside it, so it is not read out."""
    if not _finite(value):
        return Markup("")

    def x(place: float) -> str:
        return f"{PAD + (WIDTH - 2 * PAD) * (place - reach[0]) / (reach[1] - reach[0]):.1f}"

    middle = HEIGHT / 2
    parts = [
        f'<svg class="interval" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" aria-hidden="true">',
        f'<line class="track" x1="{PAD}" x2="{WIDTH - PAD}" y1="{middle}" y2="{middle}"/>',
    ]
    if reach[0] <= 0:
        parts.append(f'<line class="zero" x1="{x(0)}" x2="{x(0)}" y1="2" y2="{HEIGHT - 2}"/>')
    if _finite(low) and _finite(high):
        parts.append(f'<line class="bar" x1="{x(low)}" x2="{x(high)}" y1="{middle}" y2="{middle}"/>')
    return Markup("".join([*parts, f'<circle cx="{x(value)}" cy="{middle}" r="3.5"/></svg>']))


# Sections ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Column:
    """A column as it is set; ``reach`` where it holds drawings."""

    head: str
    cells: Sequence[str]
    numeric: bool = False
    reach: Reach | None = None

    @property
    def style(self) -> str:
        """Numbers stand to the right; sentences are not folded to a word a line."""
        return "n" if self.numeric else "sentence" if max(map(len, self.cells)) > 24 else ""


def _shown(section: Section) -> dict[str, Any]:
    """A section with its figures drawn and its tables set."""
    tables = [
        {"id": f"{section.name}-table-{k}", "caption": caption, "columns": _columns(frame), "rows": len(frame),
         "long": len(frame) > LONG}
        for k, (caption, frame) in enumerate(section.tables.items(), 1)
    ]  # fmt: skip
    figures = [
        {"caption": caption, "svg": drawn(draw, f"{section.name}-{k}", caption)}
        for k, (caption, draw) in enumerate(section.figures.items(), 1)
    ]
    return {"said": section, "tables": tables, "figures": figures}


def _columns(frame: pd.DataFrame) -> list[_Column]:
    """The columns of a table; ``value, low, high`` become one, in words and drawn."""
    names, made, j = [str(name) for name in frame.columns], [], 0
    while j < len(names):
        if [name.split(" ")[-1] for name in names[j + 1 : j + 3]] == ["low", "high"]:
            value, low, high = (frame.iloc[:, k].tolist() for k in (j, j + 1, j + 2))
            reach = _reach([*value, *low, *high])
            rows = list(zip(low, value, high, strict=True))
            words = [_with_interval(*row) for row in rows]
            made.append(_Column(f"{names[j]} [low, high]", words, numeric=True))
            made.append(_Column("", [_interval(*row, reach) for row in rows], reach=reach))
            j += 3
            continue
        column = frame.iloc[:, j]
        text = p_text if names[j] in ("p", "q") else value_text
        numeric = pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
        made.append(_Column(names[j], [text(v) for v in column.tolist()], numeric))
        j += 1
    return [column for column in made if any(column.cells)]
