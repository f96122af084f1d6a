"""What a report holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from groundshift.writing import new_file

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

__all__ = ["Badge", "Code", "Lines", "Marked", "Report", "Sample", "Section"]

Tone = Literal["good", "bad", "open"]


class Code(str):
    """A cell that is set as code: the name of a tensor, a token."""


@dataclass(frozen=True)
class Badge:
    """A word in a coloured frame, such as a verdict."""

    text: str
    tone: Tone = "open"

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Lines:
    """A cell of a line and smaller ones beneath; the first may be a `Badge`, ``code`` is set as code."""

    first: str | Badge
    below: tuple[str, ...] = ()
    code: tuple[str, ...] = ()

    def __str__(self) -> str:
        return str(self.first) if str(self.first) else ", ".join(self.code)


@dataclass(frozen=True)
class Sample:
    """A generated or compared example: pictures side by side, text, or both.

    Attributes
    ----------
    name : what it is
    images : 8-bit pixels, each of shape (height, width) or (height, width, 3)
    text : lines of text
    facts : numbers of this sample
    """

    name: str
    images: tuple[NDArray[np.uint8], ...] = ()
    text: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Marked:
    """A text whose pieces are marked: by colour and underline, with a remark that shows when one points at the piece.

    Attributes
    ----------
    name : what it is, such as the question that it answers
    pieces : text, mark ("" for none, else a tone) and remark of each
    """

    name: str
    pieces: tuple[tuple[str, Tone | Literal[""], str], ...]


@dataclass(frozen=True)
class Section:
    """A part of a report.

    Attributes
    ----------
    name : in lower case, unique in its report; the anchor in the page and the key in JSON
    title : a heading or a question
    answer : its answer, a plain sentence
    notes : further sentences
    tables : caption ("" where the title says it) → rows; numbers are numbers, intervals two columns "low" and "high"
        after their value
    figures : caption → function that draws on a matplotlib axes
    data : the same numbers as plain values, for JSON
    facts : name → value
    samples : pictures and texts
    texts : texts with marked pieces; the terminal has those that are bad in brackets
    folded : whether the page shows title and answer only until it is opened, and the terminal leaves it out
    """

    name: str
    title: str
    answer: str = ""
    notes: tuple[str, ...] = ()
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    figures: Mapping[str, Callable[[Axes], object]] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    samples: Sequence[Sample] = ()
    texts: Sequence[Marked] = ()
    folded: bool = False


@dataclass(frozen=True)
class Report:
    """What a result says, in the order in which it should be read.

    Attributes
    ----------
    command : whose it is: "audit", "diff", or a system's slug
    subject : what was looked at, such as a file's name
    headline : the finding, in a sentence
    lead : what else belongs beside it
    tone : whether the headline is good news, bad news or neither
    badges : words beneath the headline
    warnings : why the finding may not be what it seems, and what to do about it
    figure : caption and drawing of the one plot that shows the finding, on the first screen
    advice : sections that stand beside that plot
    sections : everything else; a page of more than three has a table of contents
    settings : of the call
    footnote : how to read the words
    """

    command: str
    subject: str
    headline: str
    lead: str = ""
    tone: Tone = "open"
    badges: Sequence[Badge] = ()
    warnings: Sequence[str] = ()
    figure: tuple[str, Callable[[Axes], object]] | None = None
    advice: Sequence[Section] = ()
    sections: Sequence[Section] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    footnote: str = ""

    def html(self) -> str:
        """A self-contained page: no script, no request, figures as SVG; equal reports give equal bytes."""
        from groundshift.report.page import page

        return page(self)

    def fragment(self) -> str:
        """The first screen as an element for notebooks."""
        from groundshift.report.page import fragment

        return fragment(self)

    def text(self, width: int = 120) -> str:
        """The open sections as plain text of at most ``width`` columns."""
        from groundshift.report.terminal import text

        return text(self, width)

    def write(self, path: str | Path) -> Path:
        """Write the page to a file that is not there yet.

        Raises
        ------
        InputError
            Something is at ``path`` already, or it cannot be written to.
        """
        html = self.html()
        with new_file(path) as draft:
            draft.write_text(html, encoding="utf-8")
        return Path(path)
