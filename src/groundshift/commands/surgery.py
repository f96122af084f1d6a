"""``groundshift surgery …``: what happens to C if S is set, from observed data and a causal graph."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from groundshift.commands.verbs import group, verb
from groundshift.lab.console import Json, show
from groundshift.writing import check_new_file

app = group("surgery")
verb(app, "do", "groundshift.discovery.surgery:estimate", table="data")
verb(
    app,
    "identify",
    "groundshift.discovery.surgery:identify",
    options={"model": "--graph", "do": "--do", "target": "--target"},
)


# By hand, since a drawing is a file and no result.
@app.command()
def draw(
    graph: Annotated[str, typer.Option(help="Edges as 'S->T; T->C; S<->C', or a .dot, .gml or .bif file.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="A new .png, .svg or .pdf file.")],
    cut: Annotated[
        list[str] | None, typer.Option(help="Variable whose box is cut; S=1 puts that value in its place.")
    ] = None,
    target: Annotated[str, typer.Option(help="Also draw what is left for these, as C,D.")] = "",
    hidden: Annotated[str, typer.Option(help="Variables of the graph without data, as U,V.")] = "",
    as_json: Json = False,
) -> None:
    """Draw a causal model as a string diagram, before and after surgery."""
    from groundshift.discovery.surgery import Model
    from groundshift.discovery.surgery.model import settings_of

    check_new_file(out)
    model = Model(graph, _names(hidden))
    model.draw(out, cut=settings_of(cut or []), target=_names(target) or None)
    show({"out": str(out)}, f"The diagram is in {out}.", as_json=as_json)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]
