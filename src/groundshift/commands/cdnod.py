"""``groundshift cdnod …``: which mechanisms changed, what causes what, and how each mechanism moved."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from groundshift.errors import InputError
from groundshift.lab.console import Json, show

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="Rows from several sites or a long time: which mechanisms changed, and what causes what?",
)

Data = Annotated[Path, typer.Argument(help="Table, a csv or parquet file.", metavar="DATA")]
Domain = Annotated[str, typer.Option(help="Column with the domain or time of each row.")]
Kind = Annotated[str, typer.Option(help="What that column is: time, domain or auto.")]
Drop = Annotated[str, typer.Option(help="Columns to leave out, as id,name.")]
Plot = Annotated[Path | None, typer.Option(help="Also draw to this file (.png, .svg or .pdf).")]
Seed = Annotated[int, typer.Option(help="Random seed.")]


@app.command()
def fit(
    data: Data,
    domain: Domain,
    kind: Kind = "auto",
    test: Annotated[
        str, typer.Option(help="Independence test: auto, kci, kci-lowrank, rcit, fisherz, gtest.")
    ] = "auto",
    alpha: Annotated[float, typer.Option(help="Edges stay while p is at most this.")] = 0.05,
    max_cond: Annotated[int, typer.Option(help="Most variables in a conditioning set.")] = 2,
    drop: Drop = "",
    dropna: Annotated[bool, typer.Option("--dropna", help="Leave out rows with missing values.")] = False,
    bootstrap: Annotated[
        int, typer.Option(help="Draw rows anew so many times, and count how often edges come back.")
    ] = 0,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Write the result to this json file; refused if it exists."),
    ] = None,
    dot: Annotated[
        Path | None, typer.Option(help="Write the graph for Graphviz; refused if it exists.")
    ] = None,
    plot: Plot = None,
    plot_forces: Annotated[
        Path | None, typer.Option(help="Draw how each changing mechanism moved to this file.")
    ] = None,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Find the graph of a table whose rows come from several domains or times."""
    from groundshift.discovery.cdnod import CDNOD
    from groundshift.tables import refuse_overwriting

    for file in (out, dot):
        if file is not None:
            refuse_overwriting(file)
    table = _table(data, drop, dropna)
    model = CDNOD(test=test, alpha=alpha, max_cond=max_cond, kind=kind, random_state=seed)  # type: ignore[arg-type]
    model.fit(table, domain=domain)
    text, result = str(model), model.to_dict()
    if bootstrap:
        again = model.bootstrap(table, domain=domain, draws=bootstrap)
        result["bootstrap"] = again.to_dict("records")
        text += f"\n\nin {bootstrap} draws:\n{again.to_string(index=False, float_format='{:.2f}'.format)}"
    if out is not None:
        out.write_text(json.dumps(result, indent=1, default=str) + "\n")
    if dot is not None:
        dot.write_text(model.to_dot() + "\n")
    if plot is not None:
        model.plot().figure.savefig(plot, dpi=150)
    if plot_forces is not None:
        model.plot_driving_forces().savefig(plot_forces, dpi=150)
    show(result, text, as_json=as_json)


@app.command()
def direction(
    data: Data,
    domain: Domain,
    x: Annotated[str, typer.Option(help="One of two adjacent variables whose mechanisms change.")],
    y: Annotated[str, typer.Option(help="The other.")],
    kind: Kind = "auto",
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Which of two variables is the effect? Mechanisms change independently in the causal direction only."""
    from groundshift.discovery.cdnod import independent_change_score

    table = _columns(data, [x, y, domain])
    score = independent_change_score(
        table[x],
        table[y],
        table[domain],
        kind=kind,  # type: ignore[arg-type]
        random_state=seed,
    )
    cause, effect = (x, y) if score.effect == "y" else (y, x)
    text = f"{cause} → {effect}" if score.decided else f"undecided between {x} → {y} and {y} → {x}"
    show({**score._asdict(), "effect": effect}, f"{text}: {score.reason}", as_json=as_json)


@app.command()
def force(
    data: Data,
    domain: Domain,
    of: Annotated[str, typer.Option("--of", help="Variable whose mechanism changes.")],
    given: Annotated[str, typer.Option(help="Its causes, as a,b; none if left out.")] = "",
    kind: Kind = "auto",
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Write the curve to this csv file; refused if it exists."),
    ] = None,
    as_json: Json = False,
) -> None:
    """The curve along which a mechanism moved over domains or time."""
    from groundshift.discovery.cdnod import driving_force
    from groundshift.tables import refuse_overwriting

    if out is not None:
        refuse_overwriting(out)
    causes = [name for name in given.split(",") if name]
    table = _columns(data, [of, *causes, domain])
    found = driving_force(
        table[of],
        table[causes] if causes else None,
        table[domain],
        kind=kind,  # type: ignore[arg-type]
    )
    if out is not None:
        found.components.to_csv(out)
    share = (
        f"component 1 holds {found.eigenvalues[0]:.0%} of the change, component 2 {found.eigenvalues[1]:.0%}"
    )
    records = found.components.reset_index().to_dict("records")
    text = f"{found.components.to_string(float_format='{:.3f}'.format)}\n{share}"
    show({"components": records, "shares": found.eigenvalues[:6].tolist()}, text, as_json=as_json)


def _table(data: Path, drop: str, dropna: bool):  # type: ignore[no-untyped-def]
    from groundshift.tables import read_table

    table = read_table(data)
    names = [name for name in drop.split(",") if name]
    unknown = [name for name in names if name not in table.columns]
    if unknown:
        raise InputError(
            f"There is no column {unknown[0]!r} to drop; the columns are {', '.join(table.columns)}."
        )
    table = table.drop(columns=names)
    return table.dropna() if dropna else table


def _columns(data: Path, names: list[str]):  # type: ignore[no-untyped-def]
    from groundshift.tables import numeric, read_table

    table = read_table(data)
    unknown = [name for name in names if name not in table.columns]
    if unknown:
        raise InputError(f"There is no column {unknown[0]!r}; the columns are {', '.join(table.columns)}.")
    numeric(table[names[:-1]])
    if table[names[-1]].isna().any():
        raise InputError(f"Rows without a domain ({names[-1]}); leave them out.")
    return table
