"""``groundshift definetti …``: the causal direction from many small groups of records."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from groundshift.commands.reading import DateFormat, DayFirst, Kinds, Na, reading_of, table_of
from groundshift.lab.console import Json, show

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="Many small groups with two or more records each: which variable is the cause?",
)


@app.callback()
def _verbs() -> None:
    """Keep ``fit`` a verb although it is the only one."""


@app.command()
def fit(
    data: Annotated[
        Path, typer.Argument(help="Long table, csv or parquet: a row per record.", metavar="DATA")
    ],
    domain: Annotated[str, typer.Option(help="Column with the group of each record (patient, shop).")],
    x: Annotated[str, typer.Option(help="A variable; with --y, only these two.")] = "",
    y: Annotated[str, typer.Option(help="The other variable.")] = "",
    variables: Annotated[str, typer.Option(help="Variables to use, as a,b,c; all columns if left out.")] = "",
    alpha: Annotated[float, typer.Option(help="Level of every test.")] = 0.05,
    test: Annotated[str, typer.Option(help="auto, gtest, kci, kci-lowrank, rcit or fisherz.")] = "auto",
    rule: Annotated[str, typer.Option(help="abstain, or argmax to answer always.")] = "abstain",
    kind: Kinds = None,
    na: Na = None,
    date_format: DateFormat = None,
    day_first: DayFirst = None,
    every: Annotated[
        bool, typer.Option("--all-records", help="Use all records of a group (two discrete variables).")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Write the result to this json file; refused if it exists."),
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Draw the tests to this file (.png, .svg or .pdf).")
    ] = None,
    seed: Annotated[int, typer.Option(help="Random seed.")] = 0,
    as_json: Json = False,
) -> None:
    """Find the causal structure of the variables of a long table."""
    from groundshift.discovery.definetti import CausalDeFinetti
    from groundshift.tables import refuse_overwriting

    if out is not None:
        refuse_overwriting(out)
    named = [name for name in (x, y, *variables.split(",")) if name]
    model = CausalDeFinetti(
        alpha=alpha,
        test=test,
        rule=rule,  # type: ignore[arg-type]
        records="all" if every else 2,
        variables=named or None,
        random_state=seed,
    ).fit(table_of(data, reading_of(kind, na, date_format, day_first)), domain=domain)
    result = model.to_dict()
    if out is not None:
        out.write_text(json.dumps(result, indent=1, default=str) + "\n")
    if plot is not None:
        model.plot().figure.savefig(plot, dpi=150)
    tests = model.tests_.to_string(index=False, float_format="{:.3g}".format)
    varies = ", ".join(model.variation_.index[model.variation_["varies"]]) or "nothing"
    text = f"{model.decision_}\n({model.groups_:,} groups; varies between groups: {varies})\n\n{tests}"
    show(result, f"{text}\n\n{model.power_note_}", as_json=as_json)
