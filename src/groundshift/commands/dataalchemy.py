"""``groundshift dataalchemy …``: does a model reason or replay, in a world of letters whose every step is known?

Each verb is a thin skin over one call of `groundshift.benchmarks.dataalchemy`.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from groundshift.errors import InputError
from groundshift.lab.console import Json, Quiet, show, table

if TYPE_CHECKING:
    import pandas as pd

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="Letters, rules, and chains of thought whose every step is known: does a model reason, or replay?",
)

Lists = Annotated[str, typer.Argument(help="Lists of rules between commas, as F1F1,F1F2.", metavar="RULES")]
Seed = Annotated[int, typer.Option(help="Random seed.")]
Folder = Annotated[Path, typer.Option("--out", "-o", help="Folder to write; must be empty or new.")]
MaybeFolder = Annotated[
    Path | None, typer.Option("--out", "-o", help="Folder for items and cells; must be empty or new.")
]
Plot = Annotated[Path | None, typer.Option(help="Also draw to this file (.png, .svg or .pdf).")]
Source = Annotated[
    str, typer.Argument(help="Directory or id of a Hugging Face language model.", metavar="MODEL")
]
Known = Annotated[
    str, typer.Option("--train", help="What the model was trained on, where its directory does not say.")
]


@app.command()
def generate(
    rules: Lists,
    out: Annotated[Path, typer.Option("--out", "-o", help="JSONL file to write; must be new.")],
    n: Annotated[
        int, typer.Option("--n", help="Records of each list; all there are, where there are no more.")
    ] = 1000,
    length: Annotated[int, typer.Option(help="Letters of an element.")] = 4,
    cot: Annotated[bool, typer.Option("--cot/--no-cot", help="With chains of thought.")] = True,
    rot_n: Annotated[int, typer.Option(help="Places that F1 moves a letter on.")] = 13,
    noise: Annotated[float, typer.Option(help="Probability that a token of the prompt is hit.")] = 0.0,
    mode: Annotated[str, typer.Option(help="insert, delete, modify or hybrid.")] = "hybrid",
    domain: Annotated[str, typer.Option(help="element, transformation, instruction or all.")] = "all",
    seed: Seed = 0,
) -> None:
    """Write records: prompt, chain of thought and answer."""
    import numpy as np

    from groundshift.benchmarks import dataalchemy as da

    world, rng = da.World(length=length, rot_n=rot_n), np.random.default_rng(seed)
    rows = [r for rules_ in _lists(rules) for r in world.sample(rng, n, rules_, cot=cot)]
    rows = da.noise(rows, mode=mode, domain=domain, p=noise, rng=rng)
    da.write_records(rows, out)
    show(None, f"{len(rows):,} records in {out}, the first: {rows[0]['input']} {rows[0]['output']}")


@app.command()
def train(
    rules: Lists,
    out: Folder,
    size: Annotated[str, typer.Option(help="Size of a model from scratch: 29k, 62k, 107k, ... 3b.")] = "29k",
    model: Annotated[str, typer.Option(help="Directory or id of a model to tune instead.")] = "",
    arch: Annotated[str, typer.Option(help="gpt2 or llama.")] = "llama",
    lengths: Annotated[str, typer.Option(help="Trained lengths of elements, between commas.")] = "4",
    block: Annotated[str, typer.Option(help="none, padding or group.")] = "none",
    steps: Annotated[int, typer.Option(help="Optimiser steps.")] = 300,
    batch: Annotated[int, typer.Option(help="Records in a step.")] = 64,
    lr: Annotated[float, typer.Option(help="Peak learning rate.")] = 1e-2,
    cot: Annotated[bool, typer.Option("--cot/--no-cot", help="With chains of thought.")] = True,
    official: Annotated[bool, typer.Option(help="The choices of the published code.")] = False,
    seed: Seed = 0,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train a model on lists of rules; write it as a Hugging Face directory."""
    from groundshift.benchmarks import dataalchemy as da

    made = da.train(
        _lists(rules), size, model=model or None, arch=arch, lengths=_numbers("--lengths", lengths), block=block,  # type: ignore[arg-type]
        steps=steps, batch=batch, lr=lr, cot=cot, compat="official" if official else None, seed=seed, out=out,
    )  # fmt: skip
    facts = {"out": str(out), "steps": len(made.history), "loss": made.history[-1]}
    show(
        facts,
        f"trained for {facts['steps']} steps to a loss of {facts['loss']:.4f}; {out}",
        as_json=as_json,
        quiet=quiet,
    )


@app.command()
def evaluate(
    models: Annotated[
        list[str],
        typer.Argument(
            help="Model directory or id; several, as NAME=DIR, for size and coverage.", metavar="MODEL"
        ),
    ],
    axis: Annotated[str, typer.Option(help="task, length, format, temperature, size or coverage.")] = "task",
    known: Known = "",
    test: Annotated[
        str, typer.Option(help="Lists to ask beside the trained ones; all others if left out.")
    ] = "",
    n: Annotated[int, typer.Option("--n", help="Records of each list of rules in a cell.")] = 100,
    unknown: Annotated[str, typer.Option(help="<unk> of the format axis: untrained or mean.")] = "untrained",
    seed: Seed = 0,
    out: MaybeFolder = None,
    plot: Plot = None,
    as_json: Json = False,
) -> None:
    """Ask a model along an axis of shift, and score whole chains, reasoning and answers."""
    from groundshift.benchmarks import dataalchemy as da

    _writable(out, plot)
    trained = _lists(known) if known else []
    opened: Any = [_opened(da, model, trained) for model in models]
    if axis in ("size", "coverage"):
        opened = dict(opened)
    elif len(opened) > 1:
        raise InputError(f"--axis {axis} asks one model; {len(opened)} were given.")
    else:
        opened = opened[0][1]
    options = {"test": _lists(test)} if test else {}
    _report(
        da.evaluate(opened, axis, n=n, unknown=unknown, seed=seed, **options),  # type: ignore[arg-type]
        out, plot, as_json,
    )  # fmt: skip


@app.command()
def score(
    recorded: Annotated[
        Path, typer.Argument(help="JSONL with prompt, predict and label in each line.", metavar="PREDICTIONS")
    ],
    known: Known = "",
    rot_n: Annotated[int, typer.Option(help="Places that F1 moves a letter on.")] = 13,
    out: MaybeFolder = None,
    plot: Plot = None,
    as_json: Json = False,
) -> None:
    """Score recorded predictions, those of the published pipeline among them."""
    from groundshift.benchmarks import dataalchemy as da

    _writable(out, plot)
    rows = da.read_records(recorded, ("prompt", "predict", "label"))
    world = da.World(rot_n=rot_n)
    _report(da.score_recorded(rows, world=world, train=_lists(known) if known else []), out, plot, as_json)


@app.command()
def heal(
    model: Source,
    rules: Annotated[str, typer.Option(help="The list of rules to heal, as F2F2.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder for the healed models, one for each n.")
    ] = None,
    n: Annotated[str, typer.Option("--n", help="Numbers of records, between commas.")] = "8,32,128",
    steps: Annotated[int, typer.Option(help="Optimiser steps.")] = 80,
    lr: Annotated[float, typer.Option(help="Peak learning rate.")] = 6e-3,
    known: Known = "",
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """How few records of a new list of rules heal it, and what is forgotten?"""
    from groundshift.benchmarks import dataalchemy as da
    from groundshift.tables import refuse_filled

    if out is not None:
        refuse_filled(out)
    _, start = _opened(da, model, _lists(known) if known else [])
    rows = []
    for records in [0, *_numbers("--n", n)]:
        made = start if records == 0 else da.heal(start, rules, records, steps=steps, lr=lr, seed=seed)
        items = da.evaluate(made, train=start.train, test=[rules], seed=seed).items
        by = items.groupby("distance")["em_full"].mean()
        new = float(
            items.loc[
                items["rules"] == "".join(da.rule_list(rules)).replace("[", "").replace("]", ""), "em_full"
            ].mean()
        )
        rows.append({"records": records, "healed": new, "trained": float(by["ID"])})
        if out is not None and records:
            made.save(out / str(records))
    text = table(("records", rules, "trained lists"), [tuple(r.values()) for r in rows])
    show(rows, text, as_json=as_json)


def _opened(da: Any, text: str, trained: list[str]) -> tuple[str | float, Any]:
    name, equals, source = text.partition("=")
    key: str | float = name
    with contextlib.suppress(ValueError):
        key = float(name)
    return key, da.open_model(source if equals else text, train=trained)


def _report(result: Any, out: Path | None, plot: Path | None, as_json: bool) -> None:
    if out is not None:
        result.save(out)
    if plot is not None:
        result.plot().savefig(plot, dpi=150, bbox_inches="tight")
    found: pd.DataFrame = result.table()
    data = {"note": result.note, "cells": json.loads(found.to_json(orient="records"))}
    if as_json:
        show(data, "", as_json=True)
        return
    # Many columns do not fit a terminal; all of them are in --json and --out.
    names = {"cell": "cell", "distance": "", "n": "n", "em_full": "chain", "em_reasoning": "reasoning",
             "em_answer": "answer",
             "ed_full": "edit", "bleu_full": "BLEU", "valid": "steps valid", "places": "places seen"}  # fmt: skip
    kept = [name for name in names if name in found]
    show(None, table([names[k] for k in kept], found[kept].values.tolist()))
    if result.note:
        show(None, result.note)


def _lists(text: str) -> list[str]:
    lists = [part.strip() for part in text.split(",") if part.strip()]
    if not lists:
        raise InputError(f"{text!r} was given; write lists of rules between commas, as F1F1,F1F2.")
    return lists


def _numbers(option: str, text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise InputError(f"{option} {text!r} was given; write whole numbers between commas.") from None


def _writable(out: Path | None, plot: Path | None) -> None:
    from groundshift.tables import refuse_filled, refuse_overwriting

    if out is not None:
        refuse_filled(out)
    if plot is not None:
        refuse_overwriting(plot)
        if plot.suffix not in (".png", ".svg", ".pdf"):
            raise InputError(f"--plot {plot} was given; a plot ends in .png, .svg or .pdf.")
