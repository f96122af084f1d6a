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
    "caught_text",
    "claims_table",
    "held_text",
    "margin_text",
    "measured_text",
    "number",
    "reason_text",
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

    Console(width=_width(), soft_wrap=isinstance(text, str), highlight=False, emoji=False).print(
        text, markup=False
    )


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]], title: str | None = None) -> Table:
    """A table for the terminal; numbers are aligned to the right, brackets in texts are kept."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table
    from rich.text import Text

    rows = [list(row) for row in rows]
    grid = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for i, column in enumerate(columns):
        numeric = all(isinstance(row[i], int | float) for row in rows)
        grid.add_column(column, justify="right" if numeric and rows else "left", overflow="fold")
    for row in rows:
        grid.add_row(
            *(
                cell
                if isinstance(cell, Text)
                else number(cell)
                if isinstance(cell, float)
                else escape(str(cell))
                for cell in row
            )
        )
    return grid


def claims_table(slug: str, claims: Iterable[Mapping[str, Any]]) -> Table:
    """The claims of a summary (see `groundshift.lab.summary.claim_row`) with their verdicts, one line each.

    The text is cut where the terminal ends; `groundshift show` has all of it, the controls and the reasons.
    """
    from rich.text import Text

    wide = _width() >= 110
    rows = [
        (
            claim["id"],
            claim["text"],
            measured_text(claim) if wide else number(claim["mean"]),
            margin_text(claim),
            Text.from_markup(SIGNS[claim["verdict"]]),
            held_text(claim).removeprefix("held in ").split(" fresh")[0],
            caught_text(claim),
        )
        for claim in claims
    ]
    columns = ("", "claim", "measured", "margin", "verdict", "held in", "mutants caught")
    shown = [i for i in range(len(columns)) if i < 5 or any(row[i] for row in rows)]
    lines = table(
        [columns[i] for i in shown],
        [[row[i] for i in shown] for row in rows],
        f"Claims of {slug} (groundshift show {slug} says more)",
    )
    for column in lines.columns:
        column.no_wrap, column.overflow = True, "ellipsis"
    lines.expand, lines.columns[1].ratio = True, 1
    return lines


def _width() -> int:
    """Columns of the terminal; output that is piped to a file or a pager is not folded at eighty."""
    from rich.console import Console

    return Console().width if sys.stdout.isatty() else 120


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


def reason_text(claim: Mapping[str, Any]) -> str:
    """Why a claim got its verdict, with the figures that decided it.

    >>> reason_text({"verdict": "not shown", "reason": "violated", "kind": "bound", "direction": ">", "margin": 0.5,
    ...              "values": [0.2, 0.7]})
    'the margin is missed in 1 of 2 replicates'
    """
    reason: str = claim["reason"]
    if reason == "violated":
        missed = sum(not _clears(value, claim) for value in claim["values"])
        return f"the margin is missed in {missed} of {len(claim['values'])} replicates"
    if reason.startswith("the interval straddles"):
        margin, low, high = (float(claim[name]) for name in ("margin", "low", "high"))
        margins = {"equivalence": (-margin, margin), "rate": (margin + claim.get("slack", 0.0),)}
        if any(low <= value <= high for value in margins.get(claim["kind"], (margin,))):
            return f"the interval {number(low)} to {number(high)} includes the margin"
        return f"the p value, adjusted over the study's claims, is {number(claim['p_adjusted'])}"
    if reason == "the interval lies on the other side of the margin":
        return f"the interval {number(claim['low'])} to {number(claim['high'])} lies on the other side of the margin"
    if reason == "the control did not do what it must":
        return "the negative control failed"
    return reason


def _clears(value: Any, claim: Mapping[str, Any]) -> bool:
    """Whether one replicate of a bound or an identity does what the claim says."""
    beyond, tolerance = float(value) - float(claim["margin"]), claim.get("tolerance", 0.0)
    if claim["kind"] == "identity":
        return abs(beyond) <= tolerance
    return (beyond if claim["direction"] == ">" else -beyond) > -tolerance


def caught_text(claim: Mapping[str, Any]) -> str:
    """How many mutants a claim caught of those that answered in place of the method it reads; empty where none ran.

    >>> caught_text({"mutants": [{"caught": True}, {"caught": False}]}), caught_text({"mutants": []}), caught_text({})
    ('1 of 2', '0 of 0', '')
    """
    if "mutants" not in claim:
        return ""
    return f"{sum(trial['caught'] for trial in claim['mutants'])} of {len(claim['mutants'])}"


def held_text(claim: Mapping[str, Any]) -> str:
    """In how many replications a claim got the same verdict again; nothing where there is none.

    >>> held_text({"verdict": "shown", "replications": [{"verdict": "shown"}, {"verdict": "inconclusive"}]})
    'held in 1 of 2 fresh roots'
    """
    words = [again["verdict"] for again in claim.get("replications", ())]
    roots = "fresh root" if len(words) == 1 else "fresh roots"
    return f"held in {words.count(claim['verdict'])} of {len(words)} {roots}" if words else ""
