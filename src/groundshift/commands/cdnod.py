"""``groundshift cdnod …``: which mechanisms changed, what causes what, and how each mechanism moved."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from groundshift.commands.reading import DateFormat, DayFirst, Na, reading_of, table_of
from groundshift.errors import InputError
from groundshift.lab.console import Json, show

if TYPE_CHECKING:
    import pandas as pd

    from groundshift.tables import Reading

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="Rows from several sites or a long time: which mechanisms changed, and what causes what?",
)

Data = Annotated[Path, typer.Argument(help="Table, a csv or parquet file.", metavar="DATA")]
Domain = Annotated[str, typer.Option(help="Column with the domain or time of each row.")]
Kind = Annotated[
    list[str] | None,
    typer.Option(
        help="How the domain is taken (time, domain or auto), or what a column is, as COLUMN=KIND; can be repeated.",
        metavar="KIND|COLUMN=KIND",
    ),
]
Drop = Annotated[str, typer.Option(help="Columns to leave out, as id,name.")]
DropNa = Annotated[bool, typer.Option("--dropna", help="Leave out rows with missing values.")]
Discrete = Annotated[
    str, typer.Option(help="Numeric columns that hold labels, as site,code; text does anyway.")
]
Groups = Annotated[
    list[str] | None,
    typer.Option(
        "--group", help="Columns of one vector-valued variable, as hip=hip_x,hip_y; may be repeated."
    ),
]
Plot = Annotated[Path | None, typer.Option(help="Also draw to this file (.png, .svg or .pdf).")]
Seed = Annotated[int, typer.Option(help="Random seed.")]


@app.command()
def fit(
    data: Data,
    domain: Domain,
    kind: Kind = None,
    na: Na = None,
    date_format: DateFormat = None,
    day_first: DayFirst = None,
    test: Annotated[
        str, typer.Option(help="Independence test: auto, kci, kci-lowrank, rcit, fisherz, gtest.")
    ] = "auto",
    alpha: Annotated[float, typer.Option(help="Edges stay while p is at most this.")] = 0.05,
    max_cond: Annotated[int, typer.Option(help="Most variables in a conditioning set.")] = 2,
    drop: Drop = "",
    dropna: DropNa = False,
    discrete: Discrete = "",
    group: Groups = None,
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
    how, reading = _reading(kind, na, date_format, day_first)
    table = _table(data, reading, drop, dropna)
    model = CDNOD(
        test=test,
        alpha=alpha,
        max_cond=max_cond,
        kind=how,  # type: ignore[arg-type]
        groups=_groups(group),
        discrete=_names(discrete),
        random_state=seed,
    )
    _, told = _with_warnings(lambda: model.fit(table, domain=domain))
    text = "\n".join([str(model), *(f"! {words}" for words in told if words not in model.warnings_)])
    result = model.to_dict() | {"warnings": told}
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
    kind: Kind = None,
    na: Na = None,
    date_format: DateFormat = None,
    day_first: DayFirst = None,
    dropna: DropNa = False,
    discrete: Discrete = "",
    group: Groups = None,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Which of two variables is the effect? Mechanisms change independently in the causal direction only."""
    from groundshift.discovery.cdnod import independent_change_score

    groups = _groups(group)
    how, reading = _reading(kind, na, date_format, day_first)
    table = _columns(data, reading, domain, {"--x": [x], "--y": [y]}, groups, dropna)
    score, told = _with_warnings(
        lambda: independent_change_score(
            table[groups.get(x, [x])],
            table[groups.get(y, [y])],
            table[domain],
            kind=how,  # type: ignore[arg-type]
            discrete=[name for name in _names(discrete) if name in table.columns],
            random_state=seed,
        )
    )
    cause, effect = (x, y) if score.effect == "y" else (y, x)
    delta = {name: score.delta[side] for name, side in ((x, "x"), (y, "y"))}
    text = f"{cause} → {effect}" if score.decided else f"undecided between {x} → {y} and {y} → {x}"
    text = "\n".join([f"{text}: {score.reason}", *(f"! {words}" for words in told)])
    show({**score._asdict(), "effect": effect, "delta": delta, "warnings": told}, text, as_json=as_json)


@app.command()
def force(
    data: Data,
    domain: Domain,
    of: Annotated[str, typer.Option("--of", help="Variable whose mechanism changes.")],
    given: Annotated[str, typer.Option(help="Its causes, as a,b; none if left out.")] = "",
    kind: Kind = None,
    na: Na = None,
    date_format: DateFormat = None,
    day_first: DayFirst = None,
    dropna: DropNa = False,
    discrete: Discrete = "",
    group: Groups = None,
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
    groups, causes = _groups(group), _names(given)
    how, reading = _reading(kind, na, date_format, day_first)
    table = _columns(data, reading, domain, {"--of": [of], "--given": causes}, groups, dropna)
    parents = [column for name in causes for column in groups.get(name, [name])]
    found, told = _with_warnings(
        lambda: driving_force(
            table[groups.get(of, [of])],
            table[parents] if parents else None,
            table[domain],
            kind=how,  # type: ignore[arg-type]
            discrete=[name for name in _names(discrete) if name in table.columns],
        )
    )
    if out is not None:
        found.components.to_csv(out)
    share = (
        f"component 1 holds {found.eigenvalues[0]:.0%} of the change, component 2 {found.eigenvalues[1]:.0%}"
    )
    records = found.components.reset_index().to_dict("records")
    text = f"{found.components.to_string(float_format='{:.3f}'.format)}\n{share}"
    text = "\n".join([text, *(f"! {words}" for words in told)])
    shares = found.eigenvalues[:6].tolist()
    show({"components": records, "shares": shares, "warnings": told}, text, as_json=as_json)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _groups(parts: list[str] | None) -> dict[str, list[str]]:
    """``hip=hip_x,hip_y`` parts as a dictionary."""
    made = {}
    for part in parts or []:
        name, sign, members = part.partition("=")
        if not sign or not _names(members):
            raise InputError(f"--group {part} names no columns; write it as hip=hip_x,hip_y.")
        made[name.strip()] = _names(members)
    return made


def _with_warnings(call: Callable[[], Any]) -> tuple[Any, list[str]]:
    """What a call returns, and the words of its warnings."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", UserWarning)
        result = call()
    return result, list(dict.fromkeys(str(w.message) for w in told if issubclass(w.category, UserWarning)))


def _reading(
    kind: list[str] | None, na: list[str] | None, date_format: str | None, day_first: bool | None
) -> tuple[str, Reading]:
    """How the domain is taken, and how the table is read: --kind says both."""
    of_domain = [word for word in kind or [] if "=" not in word]
    if len(of_domain) > 1:
        raise InputError(f"--kind says of the domain both {of_domain[0]} and {of_domain[1]}; give one.")
    of_columns = [word for word in kind or [] if "=" in word]
    return (of_domain or ["auto"])[0], reading_of(of_columns, na, date_format, day_first)


def _table(data: Path, reading: Reading, drop: str, dropna: bool) -> pd.DataFrame:
    from groundshift.tables import find_column

    table = table_of(data, reading)
    names = [find_column(name, table.columns) for name in _names(drop)]
    table = table.drop(columns=names)
    return table.dropna() if dropna else table


def _columns(
    data: Path,
    reading: Reading,
    domain: str,
    asked: dict[str, list[str]],
    groups: dict[str, list[str]],
    dropna: bool,
) -> pd.DataFrame:
    """The columns of some variables, groups among them, and the domain; each is in one variable only."""
    from groundshift.tables import find_column

    table = table_of(data, reading)
    chosen: dict[str, str] = {find_column(domain, table.columns): "--domain"}
    for option, names in asked.items():
        for name in names:
            for column in groups.get(name, [name]):
                find_column(column, table.columns)
                if column in chosen:
                    raise InputError(
                        f"{option} {name} takes {column}, which {chosen[column]} has; name another."
                    )
                chosen[column] = f"{option} {name}"
    table = table[list(chosen)]
    return table.dropna() if dropna else table
