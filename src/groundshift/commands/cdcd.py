"""``groundshift cdcd …``: codes generated under a condition, trained to correspond to it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from groundshift.errors import InputError
from groundshift.lab.console import Json, Quiet, number, show

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="Codes (music, images, events) generated under a condition, trained so that they correspond to it.",
)

CONDITION_HELP = (
    ".npy with a row per sequence (numbers or labels), .csv with one column of labels, or .txt with texts."
)
Condition = Annotated[Path, typer.Option(help=CONDITION_HELP)]
Seed = Annotated[int, typer.Option(help="Random seed.")]


@app.command()
def fit(
    tokens: Annotated[Path, typer.Argument(help="Codes (n, L), integers from 0, .npy.", metavar="TOKENS")],
    condition: Condition,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the model; must be new or empty.")],
    contrast: Annotated[str, typer.Option(help="step, sample, or none for the plain diffusion.")] = "step",
    negatives: Annotated[str, typer.Option(help="intra (other orders) or inter (other groups).")] = "intra",
    groups: Annotated[
        Path | None, typer.Option(help="Group of each row, .csv with one column or .npy; for inter.")
    ] = None,
    weight: Annotated[float, typer.Option(help="Of the contrastive term.")] = 5e-5,
    aux: Annotated[float, typer.Option(help="Of the auxiliary term.")] = 5e-4,
    form: Annotated[str, typer.Option(help="published or bounded.")] = "published",
    images: Annotated[bool, typer.Option("--images", help="Weights over the steps as for images.")] = False,
    noise: Annotated[str, typer.Option(help="mask or uniform.")] = "mask",
    network: Annotated[str, typer.Option(help="conv or transformer.")] = "conv",
    width: Annotated[int, typer.Option(help="Of the network.")] = 64,
    layers: Annotated[int, typer.Option(help="Of the network.")] = 4,
    steps: Annotated[int, typer.Option(help="Diffusion steps.")] = 80,
    iterations: Annotated[int, typer.Option(help="Training steps.")] = 2000,
    batch_size: Annotated[int, typer.Option(help="Sequences in a training step.")] = 64,
    lr: Annotated[float, typer.Option(help="Peak learning rate.")] = 2e-3,
    drop: Annotated[float, typer.Option(help="Share of conditions left out, for sample --guidance.")] = 0.0,
    text_encoder: Annotated[str, typer.Option(help="Hugging Face text encoder, for a .txt condition.")] = "",
    held_out: Annotated[int, typer.Option(help="Last rows kept for the report.")] = 64,
    seed: Seed = 0,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Fit a diffusion of codes; write it, and say how held-out rows and samples correspond to their conditions."""
    import json

    import numpy as np

    from groundshift.generation.cdcd import CDCD
    from groundshift.generation.cdcd.estimator import read_tokens
    from groundshift.tables import refuse_filled

    refuse_filled(out)
    codes, given = read_tokens(_array(tokens)), _column(condition)
    labels = None if groups is None else np.asarray(_column(groups))
    for what, rows in (("conditions", given), ("groups", labels)):
        if rows is not None and len(rows) != len(codes):
            raise InputError(
                f"{len(rows)} {what} were given for {len(codes)} rows of tokens; give one per row."
            )
    if not 2 <= held_out < len(codes):
        raise InputError(
            f"--held-out {held_out} of {len(codes)} rows was asked for; at least 2, and not all."
        )
    train = slice(0, len(codes) - held_out)
    model = CDCD(
        steps=steps,
        contrast=None if contrast == "none" else contrast,  # type: ignore[arg-type]
        negatives=negatives,  # type: ignore[arg-type]
        weight=weight,
        aux=aux,
        form=form,  # type: ignore[arg-type]
        series=not images,
        noise=noise,  # type: ignore[arg-type]
        codes=int(codes.max()) + 1,
        network=network,  # type: ignore[arg-type]
        width=width,
        layers=layers,
        iterations=iterations,
        batch_size=batch_size,
        lr=lr,
        drop=drop,
        text_encoder=text_encoder or None,
        random_state=seed,
    ).fit(codes[train], given[train], groups=None if labels is None else labels[train])
    kept, asked = codes[train.stop :], given[train.stop :]
    report = {
        "held_out": model.correspondence(kept, asked, candidates=held_out),
        "samples": model.correspondence(model.sample(asked), asked, candidates=held_out),
        "strength": float(model.strength_.max()),
        "used_codes": model.used_codes_,
        "steps": steps,
        "truncate": 1.0,
        "rows": held_out,
    }
    model.save(out)
    (out / "report.json").write_text(json.dumps(report, indent=1) + "\n")
    lines = [f"{len(codes) - held_out:,} sequences of {codes.shape[1]}, {model.used_codes_} codes in use"]
    for name in ("held_out", "samples"):
        found: Any = report[name]
        lines.append(
            f"{name.replace('_', ' ')}: own condition ranks {found['rank']:.1f} of {held_out}, at least "
            f"{number(found['information'])} nats shared, code entropy {number(found['code_entropy'])}"
        )
    lines.append(f"({held_out} rows, {steps} steps, no truncation)")
    show(report, "\n".join([*lines, str(out)]), as_json=as_json, quiet=quiet)


@app.command()
def sample(
    model: Annotated[Path, typer.Argument(help="Folder written by fit.", metavar="MODEL")],
    condition: Condition,
    out: Annotated[Path, typer.Option("--out", "-o", help="File to write, .npy; must be new.")],
    steps: Annotated[int, typer.Option(help="Sampling steps; all of training's if 0.")] = 0,
    truncate: Annotated[float, typer.Option(help="Probability kept of every prediction.")] = 1.0,
    temperature: Annotated[float, typer.Option(help="Of every prediction; below 1 is sharper.")] = 1.0,
    guidance: Annotated[float, typer.Option(help="Weight of classifier-free guidance.")] = 0.0,
    seed: Seed = 0,
) -> None:
    """Sample a sequence of codes for each row of a condition."""
    import numpy as np

    from groundshift.generation.cdcd import CDCD
    from groundshift.tables import refuse_overwriting

    refuse_overwriting(out)
    if out.suffix != ".npy":
        raise InputError(f"{out} is no .npy file; name one.")
    made = CDCD.load(model).sample(
        _column(condition),
        steps=steps or None,
        truncate=truncate,
        temperature=temperature,
        guidance=guidance,
        random_state=seed,
    )
    np.save(out, made)
    show(None, f"{made.shape[0]:,} sequences of {made.shape[1]} codes in {out}")


def _array(path: Path) -> Any:
    from groundshift.tables import open_arrays

    if path.suffix != ".npy" or not path.is_file():
        raise InputError(f"{path} is no .npy file; save the array with numpy.save.")
    return open_arrays(path, None)[0]


def _column(path: Path) -> Any:
    """Rows of an array, texts of a file, or labels of a table with one column."""
    from groundshift.tables import read_table

    if path.suffix == ".npy":
        return _array(path)
    if path.suffix == ".txt":
        if not path.is_file():
            raise InputError(f"{path} is no file; give a text per line.")
        return path.read_text(encoding="utf-8").splitlines()
    frame = read_table(path)
    if frame.shape[1] != 1:
        raise InputError(
            f"{path} has the columns {', '.join(map(str, frame.columns))}; one column is needed."
        )
    return frame.iloc[:, 0].to_numpy()
