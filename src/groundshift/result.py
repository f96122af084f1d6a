"""The contract of everything that a system hands back.

A result says what it holds in three ways, `Result.report`, `Result.to_dict` and (where it has rows) `Result.to_frame`;
how that is shown, drawn and written follows from them.
"""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

from groundshift.errors import InputError
from groundshift.writing import json_ready, json_text, new_file, new_folder

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from groundshift.report import Report

__all__ = ["Result", "new_axes"]


class Result:
    """A result that can be read, drawn, written and handed on.

    Subclasses define `report` and `_content`, and `to_frame` where they have rows; `_write_more` adds files of their
    own to a saved folder, `plot` may be defined anew where the report's first figure is not the right one. A dataclass
    says ``repr=False``, so that it keeps the short words of this class.
    """

    def report(self) -> Report:
        """What the result says, for page, notebook and terminal."""
        raise NotImplementedError

    def _content(self) -> dict[str, Any]:
        """Everything the result holds, in any types that `groundshift.writing.json_ready` knows."""
        raise NotImplementedError

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain values for JSON: no NaN, no numpy types, text as keys."""
        content: dict[str, Any] = json_ready(self._content())
        return content

    def to_frame(self) -> pd.DataFrame:
        """The rows of the result as a table.

        Raises
        ------
        InputError
            A result without rows.
        """
        raise InputError(f"A {type(self).__name__} has no rows; to_dict() gives what it holds.")

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the plot that shows the finding.

        Parameters
        ----------
        ax : matplotlib axes to draw on; by default new ones
        """
        report = self.report()
        figures = [
            draw for section in (*report.advice, *report.sections) for draw in section.figures.values()
        ]
        if report.figure is not None:
            figures.insert(0, report.figure[1])
        if not figures:
            raise InputError(f"A {type(self).__name__} has nothing to draw; to_dict() gives what it holds.")
        ax = new_axes() if ax is None else ax
        figures[0](ax)
        if not ax.get_title(loc="left") and not ax.get_title():
            ax.set_title(textwrap.shorten(report.headline, 90, placeholder=" …"), loc="left", fontsize=10)
        return ax

    def save(self, out: str | Path) -> Path:
        """Write the result to a new folder, or to one new file.

        Parameters
        ----------
        out : a folder for ``index.html``, ``<command>.json`` and whatever else belongs to the result; or a file ending
            in .html (the page), .json (`to_dict`), .csv or .parquet (`to_frame`)

        Returns
        -------
        path
            Of the page, or of the file.

        Raises
        ------
        InputError
            Something is there already, or it cannot be written to.
        """
        out = Path(out)
        report = self.report()
        if out.suffix == ".html":
            return report.write(out)
        if out.suffix == ".json":
            with new_file(out) as draft:
                draft.write_text(json_text(self._content()), encoding="utf-8")
            return out
        if out.suffix in (".csv", ".parquet"):
            from groundshift.tables import write_table

            write_table(self.to_frame(), out)
            return out
        with new_folder(out) as folder:
            (folder / f"{report.command}.json").write_text(json_text(self._content()), encoding="utf-8")
            (folder / "index.html").write_text(report.html(), encoding="utf-8")
            self._write_more(folder)
        return out / "index.html"

    def _write_more(self, folder: Path) -> None:
        """Files of the result beside its page and its JSON."""

    def __repr__(self) -> str:
        report = self.report()
        return f"<{type(self).__name__} of {report.subject}: {report.headline}>"

    def _repr_html_(self) -> str:
        return self.report().fragment()

    def __str__(self) -> str:
        return self.report().text()


def new_axes(width: float = 7.0, height: float = 3.6) -> Axes:
    """Axes of a figure of their own, which no window and no global state of matplotlib knows of."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained").subplots()
