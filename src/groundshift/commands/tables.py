"""The options of every command that reads a table, and the table as they say."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from groundshift.tables import Reading

__all__ = ["DateFormat", "DayFirst", "Kinds", "Na", "reading_of", "table_of"]

Kinds = Annotated[
    list[str] | None,
    typer.Option(
        "--kind",
        help="What a column is (number, category, date, period, id, text, constant); can be repeated.",
        metavar="COLUMN=KIND",
    ),
]
Na = Annotated[
    list[str] | None, typer.Option(help="A word that means missing; can be repeated.", metavar="WORD")
]
DateFormat = Annotated[
    str | None, typer.Option(help="How dates are written, such as %d.%m.%Y.", metavar="FORMAT")
]
DayFirst = Annotated[
    bool | None,
    typer.Option(
        "--day-first/--month-first", help="Whether 01/02/2024 is the first of February.", show_default=False
    ),
]


def reading_of(
    kinds: Sequence[str] | None,
    na: Sequence[str] | None,
    date_format: str | None,
    day_first: bool | None,
) -> Reading:
    """What the options say of how a table is read."""
    from groundshift.tables import Reading, parse_kinds

    return Reading(parse_kinds(kinds or ()), tuple(na or ()), date_format, day_first)


def table_of(data: Path, reading: Reading) -> Any:
    """The table of a file as the options say; a folder or a file of arrays stays the path it is."""
    from groundshift.tables import read_table

    if data.is_dir() or data.suffix in (".npy", ".npz"):
        return data
    return read_table(data, reading)
