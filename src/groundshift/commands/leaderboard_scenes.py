"""``groundshift leaderboard-scenes …``: look at what the generators of the board draw."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from groundshift.errors import InputError
from groundshift.lab.console import Json, show

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="The leaderboard of the generators; `groundshift run leaderboard-scenes` runs it.",
)


@app.callback()
def _verbs() -> None:
    """Keep the verb's name although it is the only one."""


@app.command("draw")
def draw_(
    out: Annotated[Path, typer.Option("--out", "-o", help="Picture to write (.png); refused if it exists.")],
    entrants: Annotated[
        list[str] | None, typer.Argument(help="Entrants by name; all if left out.", metavar="[NAME...]")
    ] = None,
    n: Annotated[int, typer.Option("--n", help="Pictures of each entrant.")] = 16,
    iterations: Annotated[int, typer.Option(help="Of training; the study's own if left out.")] = 0,
    seed: Annotated[int, typer.Option(help="Random seed.")] = 0,
    as_json: Json = False,
) -> None:
    """Train entrants and draw a sheet with a row of pictures for each; the last quarter of a row are unseen pairs."""
    from groundshift.studies.leaderboard_scenes import sheet
    from groundshift.tables import refuse_overwriting

    refuse_overwriting(out)
    if out.suffix != ".png":
        raise InputError(f"{out} was given; write a .png.")
    picture, read = sheet(entrants or None, n=n, iterations=iterations or None, seed=seed)
    picture.save(out)
    lines = (
        f"row {i + 1}: {name}, {right} of {n} as asked for" for i, (name, right) in enumerate(read.items())
    )
    show({"out": str(out), "right": read, "of": n}, "\n".join((*lines, str(out))), as_json=as_json)
