"""What the pages of the library share: numbers in words, figures as inline SVG, templates, one style."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

__all__ = ["drawn", "number", "stylesheet", "svg", "templates", "themed"]

# Colours of a drawing that follow the page from light to dark; others are kept as they are drawn.
INK, SOFT, LINE = "#1c2430", "#55606e", "#d9dee5"
INKS = {
    INK: "currentColor",
    "#000000": "currentColor",
    "#333333": "currentColor",
    SOFT: "var(--soft)",
    LINE: "var(--line)",
}
THEME: dict[Any, Any] = {
    "axes.prop_cycle": "cycler('color', ['#2f7fa8', '#c4622d', '#5b8c5a', '#8a6fb0', '#b08a2e', '#7a8791'])",
    "font.size": 9,
    "text.color": INK,
    "text.parse_math": False,  # a column called a$b$c is no formula
    "axes.edgecolor": SOFT,
    "axes.labelcolor": INK,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "grid.color": LINE,
    "legend.frameon": False,
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
}


def number(value: Any) -> str:
    """A number with three significant digits, and a dash for none.

    >>> number(0.12345), number(12345.6), number(float("nan"))
    ('0.123', '12,346', '–')
    """
    try:
        value = float(value)
    except (TypeError, ValueError):
        return "–"
    return "–" if value != value else f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def svg(figure: Any, salt: str, caption: str) -> Markup:
    """A matplotlib figure as an element of a page: text stays text, and equal figures give equal bytes.

    Parameters
    ----------
    figure : the figure
    salt : goes in front of every id; one page has several figures, so it must be the figure's own
    caption : read out in place of the picture
    """
    import matplotlib
    from markupsafe import Markup, escape

    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": salt}), warnings.catch_warnings():
        # The reader's browser sets the text, in a font of its own.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.S)
    ids = re.compile(r'(\bid="|"#|url\(#)')
    text = _in_tags(text, lambda tag: ids.sub(lambda match: f"{match[1]}{salt}-", tag))
    return Markup(text.replace("<svg", f'<svg role="img" aria-label="{escape(caption)}"', 1))


def drawn(draw: Callable[[Any], None], salt: str, caption: str) -> Markup:
    """What ``draw`` does to axes, in the colours of the page; see `svg`."""

    def figure() -> Any:
        from matplotlib.figure import Figure

        whole = Figure(figsize=(6.2, 3.2), layout="constrained")
        axes = whole.subplots()
        draw(axes)
        _set_rows(whole, axes)
        _set_powers(axes)
        return whole

    return themed(figure, salt, caption)


def themed(figure: Callable[[], Any], salt: str, caption: str) -> Markup:
    """The matplotlib figure that a function draws, in the colours of the page; see `svg`."""
    import matplotlib
    from markupsafe import Markup

    with matplotlib.rc_context(THEME):
        picture = svg(figure(), salt, caption)
    colours = re.compile("|".join(INKS))
    return Markup(_in_tags(picture, lambda tag: colours.sub(lambda match: INKS[match[0]], tag)))


def _set_rows(figure: Any, axes: Any) -> None:
    """Rows 0, 1, … with a label each: as high as they need, and half a row of air above and below."""
    from matplotlib.ticker import ScalarFormatter

    places = sorted(axes.get_yticks())
    scale = isinstance(axes.yaxis.get_major_formatter(), ScalarFormatter)
    if scale or axes.images or not places or places != list(range(len(places))):
        return
    figure.set_figheight(max(2.2, 0.9 + 0.24 * len(places)))
    axes.set_ylim(-0.6, len(places) - 0.4)


def _set_powers(axes: Any) -> None:
    """Plain numbers on logarithmic axes: their own labels are formulas, and a page sets none."""
    from matplotlib.ticker import LogFormatterSciNotation, NullFormatter, StrMethodFormatter

    for axis in (axes.xaxis, axes.yaxis):
        if isinstance(axis.get_major_formatter(), LogFormatterSciNotation):
            axis.set_major_formatter(StrMethodFormatter("{x:g}"))
            whole_decade = len([t for t in axis.get_majorticklocs() if _inside(t, axis.get_view_interval())])
            axis.set_minor_formatter(StrMethodFormatter("{x:g}") if whole_decade < 2 else NullFormatter())


def _inside(place: float, interval: Any) -> bool:
    return bool(min(interval) <= place <= max(interval))


def _in_tags(markup: str, change: Callable[[str], str]) -> str:
    """Change the tags of a drawing and leave its text, which is the user's, as it is."""
    return re.sub(r"<[^>]*>", lambda tag: change(tag[0]), markup)


def templates(package: str, folder: str = "") -> Environment:
    """The Jinja templates in a folder of a package; whatever they are given is escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    env = Environment(
        loader=PackageLoader(package, folder), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    env.filters["number"] = number
    return env


def stylesheet() -> str:
    """The rules that every page of the library begins with."""
    return Path(__file__).with_suffix(".css").read_text(encoding="utf-8")
