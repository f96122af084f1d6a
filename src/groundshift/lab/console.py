"""What commands share: options that mean the same everywhere, and one way to show a result."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from groundshift.pages import number

if TYPE_CHECKING:
    from rich.table import Table

__all__ = [
    "AllowMissing",
    "Json",
    "Out",
    "Published",
    "Quiet",
    "Store",
    "claims_table",
    "held_text",
    "margin_text",
    "number",
    "show",
    "table",
]

Json = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")]
Out = Annotated[
    Path | None, typer.Option("--out", "-o", help="Folder to write to; nothing in it is overwritten.")
]
AllowMissing = Annotated[
    bool,
    typer.Option(
        "--allow-missing",
        help="Load a model whose files lack tensors, or an adapter on another base than its own.",
    ),
]
Published = Annotated[Path, typer.Option("--results", help="Folder of published results.")]
Store = Annotated[Path, typer.Option("--store", help="Folder of runs.")]

SIGNS = {
    "shown": "[green]✓ shown[/]",
    "not shown": "[red]✗ not shown[/]",
    "inconclusive": "[yellow]? inconclusive[/]",
}


def show(data: Any, text: Any, *, as_json: bool = False, quiet: bool = False) -> None:
    """Print ``data`` as JSON, or ``text`` (a string or a rich renderable) for people."""
    if quiet:
        return
    if as_json:
        print(json.dumps(data, indent=1, default=str))
        return
    from rich.console import Console

    # Output that is piped to a file or a pager is not folded at eighty columns.
    width = None if sys.stdout.isatty() else 120
    Console(width=width, soft_wrap=isinstance(text, str), highlight=False, emoji=False).print(
        text, markup=False
    )


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]], title: str | None = None) -> Table:
    """A table for the terminal; numbers are aligned to the right, brackets in texts are kept."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table
    from rich.text import Text

    rows = [list(row) for row in rows]
    made = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for i, column in enumerate(columns):
        numeric = all(isinstance(row[i], int | float) for row in rows)
        made.add_column(column, justify="right" if numeric and rows else "left", overflow="fold")
    for row in rows:
        made.add_row(
            *(
                cell
                if isinstance(cell, Text)
                else number(cell)
                if isinstance(cell, float)
                else escape(str(cell))
                for cell in row
            )
        )
    return made


def claims_table(slug: str, claims: Iterable[Mapping[str, Any]]) -> Table:
    """The claims of a summary (see `groundshift.lab.summary.claim_row`) with their verdicts."""
    from rich.text import Text

    rows = []
    for claim in claims:
        control, word = claim["control_measured"], claim["verdict"]
        rows.append(
            (
                claim["id"],
                claim["text"],
                measured_text(claim),
                margin_text(claim),
                "none"
                if control is None
                else f"{number(control['mean'])} {'ok' if control['ok'] else 'FAILED'}",
                Text.from_markup(SIGNS[word])
                + ("" if word == "shown" else f": {claim['reason']}")
                + (f"; {held}" if (held := held_text(claim)) else ""),
            )
        )
    made = table(("", "claim", "measured", "margin", "control", "verdict"), rows, f"Claims of {slug}")
    for place in (0, 2, 3, 4):
        made.columns[place].no_wrap = True
    return made


def measured_text(claim: Mapping[str, Any]) -> str:
    """Mean and interval of a measured claim."""
    return f"{number(claim['mean'])} [{number(claim['low'])}, {number(claim['high'])}]"


def margin_text(claim: Mapping[str, Any]) -> str:
    """What a claim must clear, by its kind."""
    if claim["kind"] == "equivalence":
        return f"within ±{number(claim['margin'])}"
    if claim["kind"] == "identity":
        return f"= {number(claim['margin'])}"
    if claim["kind"] == "rate":
        return f"< {number(claim['margin'])} + {number(claim['slack'])}"
    return f"{claim['direction']} {number(claim['margin'])}"


def held_text(claim: Mapping[str, Any]) -> str:
    """In how many replications a claim got the same verdict again; nothing where there is none.

    >>> held_text({"verdict": "shown", "replications": [{"verdict": "shown"}, {"verdict": "inconclusive"}]})
    'held in 1 of 2 fresh roots'
    """
    words = [again["verdict"] for again in claim.get("replications", ())]
    roots = "fresh root" if len(words) == 1 else "fresh roots"
    return f"held in {words.count(claim['verdict'])} of {len(words)} {roots}" if words else ""
