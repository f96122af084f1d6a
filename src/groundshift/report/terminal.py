"""A report as text: headline, what to do, and the sections that the page shows unfolded."""

from __future__ import annotations

import io
from typing import Any

import pandas as pd

from groundshift.report.content import Report, Section
from groundshift.report.tables import Column, columns_of
from groundshift.report.values import value_text

__all__ = ["text"]

MOST_ROWS = 30


def text(report: Report, width: int) -> str:
    """The open sections of a report as lines of at most ``width`` columns."""
    parts = ["\n".join(part for part in (report.headline, report.lead) if part)]
    parts += [f"Warning: {warning}" for warning in report.warnings]
    for section in (*report.advice, *report.sections):
        if not section.folded:
            parts += _section(section, width)
    return "\n\n".join(parts)


def _section(section: Section, width: int) -> list[str]:
    head = f"{section.title}  {section.answer}".rstrip()
    lines = [head, *section.notes, *(f"{name}: {value_text(v)}" for name, v in section.facts.items())]
    lines += [f"{sample.name}: {sample.text}" for sample in section.samples if sample.text]
    lines += [f"{text.name}: {''.join(map(_bracketed, text.pieces))}" for text in section.texts]
    return ["\n".join(lines), *(_table(frame, width) for frame in section.tables.values() if len(frame))]


def _bracketed(piece: tuple[str, str, str]) -> str:
    """A piece of a marked text; what is marked as bad stands in brackets."""
    text, mark, _ = piece
    core = text.strip()
    return text.replace(core, f"[{core}]", 1) if core and mark == "bad" else text


def _table(frame: pd.DataFrame, width: int) -> str:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    columns = [column for column in columns_of(frame.head(MOST_ROWS)) if column.reach is None]
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_edge=False)
    for column in columns:
        table.add_column(
            Text(column.head), justify="right" if column.numeric else "left", no_wrap=_is_short(column)
        )
    for cells in zip(*(column.cells for column in columns), strict=True):
        table.add_row(*(Text(str(cell)) for cell in cells))
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(table)
    lines = [line.rstrip() for line in console.file.getvalue().rstrip("\n").split("\n")]  # type: ignore[attr-defined]
    if len(frame) > MOST_ROWS:
        lines.append(f"... and {len(frame) - MOST_ROWS:,} more rows")
    return "\n".join(lines)


def _is_short(column: Column) -> bool:
    cells: list[Any] = [column.head, *column.cells]
    return max(len(str(cell)) for cell in cells) <= 24
