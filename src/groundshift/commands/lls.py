"""``groundshift lls …``: hidden classes from how items shift together between domains."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from groundshift.commands.reading import DateFormat, DayFirst, Kinds, Na, reading_of, table_of
from groundshift.lab.console import Json, show

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="Unlabelled items of several domains: find the hidden classes and their share in each.",
)

Data = Annotated[
    Path,
    typer.Argument(
        help="Table (csv, parquet), or a folder of images with one sub-folder per domain.", metavar="DATA"
    ),
]
Domain = Annotated[str | None, typer.Option(help="Column with the domain of each row; not for a folder.")]
Seed = Annotated[int, typer.Option(help="Random seed.")]


@app.command()
def fit(
    data: Data,
    classes: Annotated[int, typer.Option(help="Number of hidden classes; see `choose`.")],
    domain: Domain = None,
    discriminator: Annotated[
        str, typer.Option(help="mlp, logistic, or precomputed (columns are p(d|x)).")
    ] = "mlp",
    factoriser: Annotated[str, typer.Option(help="nmf or anchors.")] = "nmf",
    cells: Annotated[int, typer.Option(help="Cells of the discriminator's outputs; 0: three per class.")] = 0,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Write class shares to this csv file; refused if it exists."),
    ] = None,
    labels: Annotated[Path | None, typer.Option(help="Write the class of each row to this csv file.")] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Draw the shares to this file (.png, .svg or .pdf).")
    ] = None,
    kind: Kinds = None,
    na: Na = None,
    date_format: DateFormat = None,
    day_first: DayFirst = None,
    allow_unidentified: Annotated[
        bool, typer.Option(help="Go on where classes cannot be identified.")
    ] = False,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Find the classes, and their share in each domain."""
    import pandas as pd

    from groundshift.discovery.lls import LatentLabelShift
    from groundshift.tables import refuse_overwriting

    for file in (out, labels):
        if file is not None:
            refuse_overwriting(file)
    model = LatentLabelShift(
        classes,
        discriminator=discriminator,
        factoriser=factoriser,  # type: ignore[arg-type]
        cells=cells or "auto",
        allow_unidentified=allow_unidentified,
        random_state=seed,
    )
    model.fit(table_of(data, reading_of(kind, na, date_format, day_first)), domain=domain)
    if out is not None:
        model.class_prior_.to_csv(out)
    if labels is not None:
        found = pd.DataFrame(model.probabilities_.round(6)).add_prefix("p_")
        found.insert(0, "class", model.labels_)
        found.to_csv(labels, index=False)
    if plot is not None:
        model.plot().figure.savefig(plot, dpi=150)
    d = model.diagnostics_
    notes = [
        f"The discriminator beats chance by {d['gain']:.2f} nats; mixing {classes} classes explains "
        f"{d['explained']:.0%} of it{' (they smooth its noise)' if d['explained'] > 1 else ''}. Random starts that "
        f"predict held-out cells as well differ by {d['spread']:.2f} in L1.",
        *(
            f"Class {k}: rows {', '.join(map(str, rows))} show it best."
            for k, rows in enumerate(model.anchors_.tolist())
        ),
    ]
    shares = model.class_prior_.to_string(float_format="{:.2f}".format)
    show(model.to_dict(), "\n".join([shares, "", *notes]), as_json=as_json)


@app.command()
def choose(
    data: Data,
    domain: Domain = None,
    at_most: Annotated[int, typer.Option(help="Most classes to consider.")] = 10,
    kind: Kinds = None,
    na: Na = None,
    date_format: DateFormat = None,
    day_first: DayFirst = None,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """How many classes do the domains mix?"""
    from groundshift.discovery.lls import choose_n_classes

    n, table = choose_n_classes(
        table_of(data, reading_of(kind, na, date_format, day_first)),
        domain=domain,
        at_most=at_most,
        random_state=seed,
    )
    text = f"{n} classes\n\n{table.to_string(index=False, float_format='{:.3f}'.format)}"
    show({"classes": n, "singular_values": table.to_dict("list")}, text, as_json=as_json)
