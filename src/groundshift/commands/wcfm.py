"""``groundshift wcfm …``: a flow from noise to your data, and what its weighting sacrifices."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from groundshift.errors import InputError
from groundshift.lab.console import Json, Quiet, number, show, table

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="A flow from noise (or rows of yours) to your data with short paths, and what its weighting sacrifices.",
)

Data = Annotated[Path, typer.Argument(help="Target rows: csv, parquet, npy or npz.", metavar="DATA")]
Source = Annotated[Path | None, typer.Option(help="Rows to start from; normal noise if left out.")]
Cost = Annotated[str, typer.Option(help="l2 (distance) or sq (squared distance).")]
Eps = Annotated[str, typer.Option(help="Temperature: a number, or auto; several for diagnose, as 0.5,1,2.")]
Ess = Annotated[float, typer.Option(help="Share of pairs that eps=auto keeps.")]
Repair = Annotated[str, typer.Option(help="Not the paper's: pool, gibbs or gauge.")]
Label = Annotated[
    str, typer.Option(help="Column with a class: fit conditions on it, diagnose gives its shares.")
]
Drop = Annotated[str, typer.Option(help="Columns to leave out, as id,name.")]
Raw = Annotated[bool, typer.Option("--raw", help="Work on the columns as they are, not standardised.")]
Seed = Annotated[int, typer.Option(help="Random seed.")]


@app.command()
def fit(
    data: Data,
    out: Annotated[
        Path,
        typer.Option("--out", "-o", help="Folder for the flow, samples and report; must be new or empty."),
    ],
    source: Source = None,
    label: Label = "",
    drop: Drop = "",
    coupling: Annotated[
        str, typer.Option(help="weighted, independent, ot, sinkhorn or schrodinger.")
    ] = "weighted",
    cost: Cost = "l2",
    eps: Eps = "auto",
    ess: Ess = 0.7,
    repair: Repair = "",
    sigma: Annotated[float, typer.Option(help="Noise around the paths.")] = 0.0,
    steps: Annotated[int, typer.Option(help="Training steps.")] = 3000,
    batch_size: Annotated[int, typer.Option(help="Pairs in a step.")] = 256,
    raw: Raw = False,
    samples: Annotated[int, typer.Option(help="Rows to sample into samples.parquet.")] = 2000,
    seed: Seed = 0,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Fit a flow; write it with samples and a report."""
    import json

    from groundshift.generation.wcfm import WCFM
    from groundshift.generation.wcfm.page import page, sentence
    from groundshift.tables import refuse_filled

    refuse_filled(out)
    rows = _rows(data, drop)
    flow = WCFM(
        coupling,  # type: ignore[arg-type]
        cost=cost,  # type: ignore[arg-type]
        eps=_temperatures(eps)[0],  # type: ignore[arg-type]
        ess=ess,
        sigma=sigma,
        repair=repair or None,  # type: ignore[arg-type]
        steps=steps,
        batch_size=batch_size,
        standardise=not raw,
        random_state=seed,
    ).fit(rows, source=source, labels=label or None)
    drawn = flow.sample(samples)
    flow.save(out)
    _write(drawn, out / ("samples.parquet" if hasattr(drawn, "columns") else "samples.npy"))
    shown = rows.drop(columns=label) if label and hasattr(rows, "columns") else rows
    plain = drawn.drop(columns=label) if label and hasattr(drawn, "columns") else drawn
    (out / "report.html").write_text(page(flow, _array(shown), plain, data.name), encoding="utf-8")
    report = flow.report()
    (out / "report.json").write_text(json.dumps(report, indent=1, default=str) + "\n")
    found, said = flow.diagnosis_, flow.evaluation_
    lines = [
        sentence(flow),
        f"eps {number(found.eps)}, effective sample size {found.ess:.2f}, tilt {number(found.tilt_target)} nats",
    ]
    if "w2_floor" in said:
        lines.append(
            f"distance from held-out rows: {number(said['w2_at_8'])} in 8 steps, {number(said['w2_at_100'])} in 100 "
            f"(floor {number(said['w2_floor'])}, source {number(said['w2_source'])})"
        )
    show(report, "\n".join([*lines, f"{out}/report.html"]), as_json=as_json, quiet=quiet)


@app.command()
def sample(
    flow: Annotated[Path, typer.Argument(help="Folder written by fit.", metavar="FLOW")],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="File to write: .parquet, .csv or .npy; must be new.")
    ],
    n: Annotated[int, typer.Option("-n", help="Rows.")] = 1000,
    steps: Annotated[int, typer.Option(help="Steps of the solver.")] = 8,
    solver: Annotated[str, typer.Option(help="euler, midpoint, rk4 or dopri5.")] = "euler",
    label: Annotated[
        str, typer.Option(help="Class of all rows; as frequent as in the data if left out.")
    ] = "",
    seed: Seed = 0,
) -> None:
    """Sample from a fitted flow."""
    from groundshift.generation.wcfm import WCFM
    from groundshift.tables import refuse_overwriting

    refuse_overwriting(out)
    if out.suffix not in (".parquet", ".csv", ".npy"):
        raise InputError(f"{out} is no .parquet, .csv or .npy file; name one.")
    model = WCFM.load(flow)
    known = {} if model.classes_ is None else {str(c): c for c in model.classes_.tolist()}
    chosen = known.get(label, label) if label else None
    rows = model.sample(n, steps=steps, solver=solver, labels=chosen, random_state=seed)  # type: ignore[arg-type]
    _write(rows, out)
    show(None, f"{n:,} rows in {out}")


@app.command()
def diagnose(
    data: Data,
    source: Source = None,
    label: Label = "",
    drop: Drop = "",
    cost: Cost = "l2",
    eps: Eps = "auto",
    ess: Ess = 0.7,
    repair: Repair = "",
    raw: Raw = False,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """What weighting would do to the marginals, without training."""
    from groundshift.generation.wcfm import diagnose as run
    from groundshift.generation.wcfm.reading import pop_labels

    target, labels = _rows(data, drop), None
    if label:
        target, labels = pop_labels(target, label)
    rows = _array(target)
    start = None if source is None else _array(_rows(source, drop))
    if not raw:
        centre, scale = rows.mean(0), rows.std(0)
        scale[scale == 0] = 1.0
        rows, start = (rows - centre) / scale, None if start is None else (start - centre) / scale
    found = run(
        rows,
        start,
        cost=cost,
        eps=_temperatures(eps),
        ess=ess,
        repair=repair or None,  # type: ignore[arg-type]
        labels=labels,
        random_state=seed,
    )
    records = found.to_dict("records")
    columns = [str(c) for c in found if c not in ("log_mean_weight", "note")] + ["note"]
    show(records, table(columns, [[row[c] for c in columns] for row in records]), as_json=as_json)


def _temperatures(text: str) -> list[float | str]:
    try:
        return [part if part == "auto" else float(part) for part in text.split(",")]
    except ValueError as error:
        raise InputError(f"--eps {text} was given; give auto, or positive numbers as 0.5,1,2.") from error


def _rows(data: Path, drop: str) -> Any:
    """A table without the columns to drop; arrays as their path."""
    from groundshift.tables import read_table

    if data.suffix in (".npy", ".npz"):
        return data
    frame = read_table(data)
    names = [name for name in drop.split(",") if name]
    unknown = [name for name in names if name not in frame.columns]
    if unknown:
        raise InputError(
            f"There is no column {unknown[0]!r} to drop; the columns are {', '.join(frame.columns)}."
        )
    return frame.drop(columns=names)


def _array(rows: Any) -> Any:
    from groundshift.generation.wcfm.reading import read_rows

    return read_rows(rows, "target")[0]


def _write(rows: Any, file: Path) -> None:
    """A frame or an array to a .parquet, .csv or .npy file."""
    import numpy as np
    import pandas as pd

    if file.suffix == ".npy":
        array = np.asarray(rows)
        np.save(file, array.astype(np.float32) if array.dtype.kind == "f" else array)
        return
    frame = rows if isinstance(rows, pd.DataFrame) else pd.DataFrame(rows.reshape(len(rows), -1))
    frame.columns = [str(c) for c in frame.columns]
    if file.suffix == ".csv":
        frame.to_csv(file, index=False)
    else:
        frame.to_parquet(file, index=False)
