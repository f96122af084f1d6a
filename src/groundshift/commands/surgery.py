"""``groundshift surgery …``: what happens to C if S is set, from observed data and a causal graph."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from groundshift.commands.reading import DateFormat, DayFirst, Kinds, Na, reading_of, table_of
from groundshift.errors import InputError
from groundshift.lab.console import Json, show

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="A causal graph, perhaps with hidden causes, and observed data: what happens to C if S is set?",
)

Graph = Annotated[
    str,
    typer.Option(
        help="Edges as 'S->T; T->C; S<->C' (<-> is a hidden common cause), or a .dot, .gml or .bif file."
    ),
]
Hidden = Annotated[str, typer.Option(help="Variables of the graph without data, as U,V.")]
Target = Annotated[str, typer.Option(help="What is asked for, as C or C,D.")]
Complete = Annotated[
    bool, typer.Option("--complete", help="Where no comb exists, go on to the complete algorithm.")
]


@app.command("do")
def do_(
    data: Annotated[Path, typer.Argument(help="Table, csv or parquet: a row per unit.", metavar="DATA")],
    graph: Graph,
    do: Annotated[
        list[str],
        typer.Option(help="What is set: S for every value, S=1 for one; repeat it to set several at once."),
    ],
    target: Target,
    versus: Annotated[
        list[str] | None, typer.Option(help="With --do S=1: the setting to compare with, S=0.")
    ] = None,
    hidden: Hidden = "",
    bins: Annotated[
        list[str] | None, typer.Option(help="For a continuous column: age=5, or edges age=0,30,60,99.")
    ] = None,
    kind: Kinds = None,
    na: Na = None,
    date_format: DateFormat = None,
    day_first: DayFirst = None,
    alpha: Annotated[float, typer.Option(help="Pseudo-count in every cell; biases the effect.")] = 0.0,
    support: Annotated[
        str, typer.Option(help="Where cells have no rows: error, or bounds between which the answer lies.")
    ] = "error",
    complete: Complete = False,
    ci: Annotated[str, typer.Option(help="How intervals are made: posterior or bootstrap.")] = "posterior",
    draws: Annotated[int, typer.Option(help="Draws behind the intervals; 0 for no intervals.")] = 1000,
    level: Annotated[float, typer.Option(help="Confidence level of the intervals.")] = 0.95,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Write the result to this json file; refused if it exists."),
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Plot effect and naive conditional to this file (.png, .svg, .pdf).")
    ] = None,
    diagram: Annotated[
        Path | None, typer.Option(help="Draw the network before and after surgery to this file.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Random seed.")] = 0,
    as_json: Json = False,
) -> None:
    """Compute P(target | do) from observed data, with every step."""
    from groundshift.discovery import surgery
    from groundshift.tables import refuse_overwriting

    if out is not None:
        refuse_overwriting(out)
    options: dict[str, Any] = {
        "alpha": alpha,
        "support": support,
        "complete": complete,
        "ci": ci if draws else None,
        "draws": draws,
        "level": level,
        "bins": _bins(bins or []),
        "random_state": seed,
    }
    model = surgery.Model(graph, _names(hidden))
    table = table_of(data, reading_of(kind, na, date_format, day_first))
    settings = _settings(do)
    found: surgery.Effect | surgery.Interventional
    if isinstance(settings, dict):
        other = _settings(versus) if versus else None
        if isinstance(other, list):
            raise InputError(f"--versus {' '.join(other)} names no value; write it as S=0.")
        found = surgery.effect(model, table, settings, _names(target), versus=other, **options)
        inside = found.interventional
    else:
        if versus:
            raise InputError("--versus compares with a setting, so --do needs a value too, as S=1.")
        found = inside = surgery.interventional(model, table, settings, _names(target), **options)
    if out is not None:
        out.write_text(
            json.dumps(found.to_dict(), indent=1, default=str, ensure_ascii=False) + "\n", encoding="utf-8"
        )
    if plot is not None:
        inside.plot().figure.savefig(plot, dpi=150)
    if diagram is not None:
        inside.draw(diagram)
    show(found.to_dict(), str(found), as_json=as_json)


@app.command()
def identify(
    graph: Graph,
    do: Annotated[list[str], typer.Option(help="What is set; repeat it to set several at once.")],
    target: Target,
    hidden: Hidden = "",
    complete: Complete = False,
    as_json: Json = False,
) -> None:
    """Say whether P(target | do) can be computed from the observed variables, and by which formula."""
    from groundshift.discovery import surgery

    names = [part.partition("=")[0].strip() for part in do]
    found = surgery.identify(surgery.Model(graph, _names(hidden)), names, _names(target), complete=complete)
    show(found.to_dict(), str(found), as_json=as_json)


@app.command()
def draw(
    graph: Graph,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="A .png, .svg or .pdf file; refused if it exists.")
    ],
    cut: Annotated[
        list[str] | None, typer.Option(help="Variable whose box is cut; S=1 puts that value in its place.")
    ] = None,
    target: Annotated[str, typer.Option(help="Also draw what is left for these, as C,D.")] = "",
    hidden: Hidden = "",
    as_json: Json = False,
) -> None:
    """Draw a causal model as a string diagram, before and after surgery."""
    from groundshift.discovery import surgery
    from groundshift.tables import refuse_overwriting

    refuse_overwriting(out)
    model = surgery.Model(graph, _names(hidden))
    made = model.draw(out, cut=_settings(cut or []), target=_names(target) or None)
    show({"out": str(made)}, f"drawn to {made}", as_json=as_json)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _settings(parts: list[str]) -> dict[str, Any] | list[str]:
    """``S=1`` parts as a dictionary, ``S`` parts as names; never mixed."""
    pairs = [part.partition("=") for part in parts]
    valued = [bool(sign) for _, sign, _ in pairs]
    if any(valued) and not all(valued):
        raise InputError(f"{' '.join(parts)} mixes names and values; give a value to each (S=1), or to none.")
    if pairs and all(valued):
        return {name.strip(): value.strip() for name, _, value in pairs}
    return [name.strip() for name, _, _ in pairs]


def _bins(parts: list[str]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for part in parts:
        name, _, text = part.partition("=")
        try:
            edges = [float(edge) for edge in text.split(",")]
        except ValueError as error:
            raise InputError(
                f"--bins {part} cannot be read; write age=5, or edges as age=0,30,60,99."
            ) from error
        made[name.strip()] = int(edges[0]) if len(edges) == 1 else edges
    return made
