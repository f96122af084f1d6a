"""``groundshift cdcd …``: codes generated under a condition, trained to correspond to it."""

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
    baselines: Annotated[
        bool,
        typer.Option(help="Also fit the plain diffusion and sample it, cooled as well, beside the contrast."),
    ] = True,
    seed: Seed = 0,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Fit a diffusion of codes; write it, and say how held-out rows and samples correspond to their conditions."""
    import json

    import numpy as np
    from rich.console import Group
    from sklearn.base import clone

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
    train, kept = slice(0, len(codes) - held_out), slice(len(codes) - held_out, None)
    if len({row if isinstance(row, str) else np.asarray(row).tobytes() for row in given[kept]}) < 2:
        raise InputError(
            f"The last {held_out} rows, kept for the report, have one condition only; shuffle the rows."
        )
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
    asked = given[kept]
    made = {"held out": codes[kept], "samples": model.sample(asked)}
    temperature, judge = None, model
    if baselines and model.contrast is not None:
        judge = clone(model).set_params(contrast=None).fit(codes[train], given[train])
        entropy = model.predictive_entropy(codes[kept], asked)
        temperature = judge.matching_temperature(codes[kept], asked, entropy)
        made["plain"] = judge.sample(asked)
        made["cooled"] = judge.sample(asked, temperature=temperature)
    labelled = labels if labels is not None else given if model.classes_ is not None else None
    found: dict[str, dict[str, float]] = {
        name: judge.correspondence(rows, asked, candidates=held_out) for name, rows in made.items()
    }
    if labelled is not None:
        for name, share in _asked_class(codes[train], labelled[train], made, labelled[kept]).items():
            found[name]["asked_class"] = share
    report = {
        "found": found,
        "judge": "the plain diffusion" if judge is not model else "the model itself",
        "temperature": temperature,
        "strength": float(model.strength_.max()),
        "used_codes": model.used_codes_,
        "steps": steps,
        "truncate": 1.0,
        "rows": held_out,
    }
    model.save(out)
    (out / "report.json").write_text(json.dumps(report, indent=1) + "\n")
    real = found["held out"]
    columns = {
        "rank": f"own rank of {real['conditions']}",
        "information": f"nats shared of {number(real['most_information'])}",
        "code_entropy": "code entropy",
        **({"asked_class": "asked class"} if labelled is not None else {}),
    }
    names = {"plain": "plain diffusion"} | (
        {"cooled": f"plain at T = {number(temperature)}"} if temperature else {}
    )
    lines: list[Any] = [
        f"{len(codes) - held_out:,} sequences of {codes.shape[1]}, {model.used_codes_} codes in use",
        table(
            ["", *columns.values()],
            [[names.get(row, row), *(number(value[c]) for c in columns)] for row, value in found.items()],
        ),
        f"({held_out} rows, {steps} steps, no truncation; ranks and nats by {report['judge']})",
    ]
    show(report, Group(*lines, str(out)), as_json=as_json, quiet=quiet)


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


def _asked_class(codes: Any, labels: Any, made: dict[str, Any], asked: Any) -> dict[str, float]:
    """Share of rows in which a logistic regression from codes to classes, fitted to training rows, finds the class."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    classifier = make_pipeline(OneHotEncoder(handle_unknown="ignore"), LogisticRegression(max_iter=1000))
    classifier.fit(codes, labels)
    return {name: float(classifier.score(rows, asked)) for name, rows in made.items()}


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
