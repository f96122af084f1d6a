"""``groundshift answers …``: tables of what Inspect or lm-evaluation-harness logged."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from groundshift.commands.verbs import group, verb
from groundshift.lab.console import Json, show, table
from groundshift.writing import check_new_file

if TYPE_CHECKING:
    import pandas as pd

# Tables are by hand: they are printed as JSON lists of rows, which scripts read; a result would be an object.
app = group(
    "answers",
    "Graded answers: tables, comparisons and cards of models, from logs of Inspect, of lm-evaluation-harness, and from "
    "the benchmarks of the library.",
)

By = Annotated[list[str] | None, typer.Option("--by", help="Column to split by; may be given again.")]
Value = Annotated[str, typer.Option(help="Score: correct, partial, or another of the scorer's.")]
Scorer = Annotated[
    str | None,
    typer.Option(help="Whose scores (of lm-evaluation-harness: which filter); the first if left out."),
]
Group = Annotated[str | None, typer.Option("--group", help="Column with the group that an item belongs to.")]
Out = Annotated[Path | None, typer.Option("--out", "-o", help="Also write the table (.csv or .parquet).")]


@app.command("table")
def table_(
    logs: Annotated[list[Path], typer.Argument(help="Log files, or folders of them.")],
    by: By = None,
    value: Value = "correct",
    scorer: Scorer = None,
    group_: Group = None,
    min_n: Annotated[int, typer.Option(help="Fewer items than this give a dash.")] = 10,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Mean score with a 95 % interval, share of unparsed answers, chance and majority baseline."""
    from groundshift.measures.answers import summarise
    from groundshift.models.answers import records

    _check(out)
    items = records(logs, scorer, group_)
    _print_notes(items)
    _show(summarise(items, by or (), value, min_n=min_n), out, as_json)


@app.command()
def compare(
    before: Annotated[Path, typer.Argument(help="Log or folder.")],
    after: Annotated[Path, typer.Argument(help="Log or folder of a run of the same items.")],
    by: By = None,
    value: Value = "correct",
    scorer: Scorer = None,
    group_: Group = None,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Difference on the items that both runs have, with a 95 % interval and Holm's adjustment over the rows."""
    from groundshift.measures.answers import paired
    from groundshift.models.answers import records

    _check(out)
    first, second = (records(logs, scorer, group_) for logs in (before, after))
    _print_notes(first, second)
    _show(paired(first, second, by or (), value), out, as_json)


@app.command("records")
def records_(
    logs: Annotated[list[Path], typer.Argument(help="Log files, or folders of them.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Table to write (.csv or .parquet).")],
    scorer: Scorer = None,
    group_: Group = None,
) -> None:
    """All items of the logs as one table, a row each."""
    from groundshift.models.answers import records
    from groundshift.tables import write_table

    _check(out)
    items = records(logs, scorer, group_)
    _print_notes(items)
    write_table(items, out)
    typer.echo(out)


verb(app, "card", "groundshift.graded:model_card")


def _check(out: Path | None) -> None:
    if out is not None:
        check_new_file(out)


def _print_notes(*tables: pd.DataFrame) -> None:
    for note in dict.fromkeys(note for items in tables for note in items.attrs["notes"]):
        typer.echo(note, err=True)


def _show(frame: pd.DataFrame, out: Path | None, as_json: bool) -> None:
    from groundshift.pages import number
    from groundshift.tables import write_table

    if out is not None:
        write_table(frame, out)
    rows = [
        [number(v) if isinstance(v, float) else str(v) for v in row] for row in frame.itertuples(index=False)
    ]
    clean = frame.astype(object).where(frame.notna(), None)  # JSON has no NaN
    show(clean.to_dict("records"), table(list(frame.columns), rows), as_json=as_json)
