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
from groundshift.lab.console import AllowMissing, Json, Quiet, show, table

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
    str,
    typer.Option(
        "--train",
        help="Lists that the model was trained on, between commas, where its directory does not say.",
    ),
]
Letters = Annotated[
    str,
    typer.Option(
        help="Letters that elements were trained with, as ABCDEFGH; or those of each place between commas, as ABC,BCD."
    ),
]

PLACE = {"cell": "cell", "distance": ""}
SCORED = {**PLACE, "n": "n", "em_full": "chain", "between": "95 %", "em_reasoning": "reasoning",
          "em_answer": "answer", "ed_full": "edit", "bleu_full": "BLEU", "valid": "valid", "follows_other": "other",
          "verdict": ""}  # fmt: skip
GAPS = {**PLACE, "pairs": "pairs", "places": "rules", "atoms": "letters", "grams": "3-grams",
        "length_gap": "length", "steps_gap": "steps", "tv": "TV"}  # fmt: skip
SCORES = """\
chain, reasoning, answer: share exactly right. edit: edit distance, 0 is right. BLEU: 1 is right.
valid: share of steps that follow from the one written before. other: share of chains that follow
a trained list that was not asked."""
FAR = """\
How far that is from training. Seen in training: pairs of rules, rules and letters in their places,
3-grams of the right text. length, steps: away from the nearest trained. TV: total variation distance
of what is trained and what is asked."""
DISTANCES = {
    "ID": "as trained",
    "CMP": "its parts were trained, not together",
    "POOD": "some of its parts were trained",
    "OOD": "none was",
}


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
    letters: Letters = "",
    apart: Annotated[
        bool,
        typer.Option(
            "--apart", help="Keep every letter out of one place, so that the element axis can ask it there."
        ),
    ] = False,
    block: Annotated[str, typer.Option(help="none, padding or group.")] = "none",
    steps: Annotated[int, typer.Option(help="Optimiser steps.")] = 300,
    batch: Annotated[int, typer.Option(help="Records in a step.")] = 64,
    lr: Annotated[float, typer.Option(help="Peak learning rate.")] = 1e-2,
    cot: Annotated[bool, typer.Option("--cot/--no-cot", help="With chains of thought.")] = True,
    official: Annotated[bool, typer.Option(help="The choices of the published code.")] = False,
    seed: Seed = 0,
    allow_missing: AllowMissing = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train a model on lists of rules; write it as a Hugging Face directory."""
    from groundshift.benchmarks import dataalchemy as da

    pools = _split(letters)
    if apart:
        pools = list(da.apart(da.World(), letters or None))
    made = da.train(
        _lists(rules), size, model=model or None, arch=arch, lengths=_numbers("--lengths", lengths), letters=pools,  # type: ignore[arg-type]
        block=block, steps=steps, batch=batch, lr=lr, cot=cot, compat="official" if official else None, seed=seed,  # type: ignore[arg-type]
        allow_missing=allow_missing, out=out,
    )  # fmt: skip
    weights = made.net.num_parameters()
    facts = {"out": str(out), "weights": weights, "steps": len(made.history), "loss": made.history[-1]}
    said = (
        f"{weights:,} weights, trained on {', '.join(_split(rules))} for {facts['steps']} steps to a loss of "
        f"{facts['loss']:.4f}, are in {out}. Ask them: groundshift dataalchemy evaluate {out}"
    )
    show(facts, said, as_json=as_json, quiet=quiet)


@app.command()
def evaluate(
    models: Annotated[
        list[str],
        typer.Argument(
            help="Model directory or id; several, as NAME=DIR, for size and coverage.", metavar="MODEL"
        ),
    ],
    axis: Annotated[
        str, typer.Option(help="task, element, length, format, temperature, size or coverage.")
    ] = "task",
    known: Known = "",
    letters: Letters = "",
    test: Annotated[
        str, typer.Option(help="Lists to ask beside the trained ones; all others if left out.")
    ] = "",
    n: Annotated[int, typer.Option("--n", help="Records of each list of rules in a cell.")] = 100,
    unknown: Annotated[str, typer.Option(help="<unk> of the format axis: untrained or mean.")] = "untrained",
    seed: Seed = 0,
    out: MaybeFolder = None,
    plot: Plot = None,
    allow_missing: AllowMissing = False,
    as_json: Json = False,
) -> None:
    """Ask a model along an axis of shift, and score whole chains, reasoning and answers."""
    from groundshift.benchmarks import dataalchemy as da

    _writable(out, plot)
    trained = _lists(known) if known else []
    opened: Any = [_opened(da, model, trained, allow_missing) for model in models]
    if axis in ("size", "coverage"):
        opened = dict(opened)
    elif len(opened) > 1:
        raise InputError(f"--axis {axis} asks one model; {len(opened)} were given.")
    else:
        opened = opened[0][1]
    options: dict[str, Any] = {"test": _lists(test)} if test else {}
    if letters:
        options["letters"] = _split(letters)
    found = da.evaluate(opened, axis, n=n, unknown=unknown, seed=seed, **options)  # type: ignore[arg-type]
    _report(found, out, plot, as_json)


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
    allow_missing: AllowMissing = False,
    as_json: Json = False,
) -> None:
    """How few records of a new list of rules heal it, and what is forgotten?"""
    from groundshift.benchmarks import dataalchemy as da
    from groundshift.tables import refuse_filled

    if out is not None:
        refuse_filled(out)
    _, start = _opened(da, model, _lists(known) if known else [], allow_missing)
    if da.rule_list(rules) in start.train:
        raise InputError(f"{rules} was trained already, so there is nothing to heal; name another list.")
    rows = []
    for records in [0, *_numbers("--n", n)]:
        made = start if records == 0 else da.heal(start, rules, records, steps=steps, lr=lr, seed=seed)
        items = da.evaluate(made, train=start.train, test=[rules], seed=seed).items
        by = items["em_full"].groupby(items["distance"] == "ID").mean()
        rows.append({"records": records, "healed": float(by[False]), "trained": float(by[True])})
        if out is not None and records:
            made.save(out / str(records))
    text = table(("records", rules, "trained lists"), [tuple(r.values()) for r in rows])
    show(rows, text, as_json=as_json)


def _opened(da: Any, text: str, trained: list[str], allow_missing: bool) -> tuple[str | float, Any]:
    name, equals, source = text.partition("=")
    key: str | float = name
    with contextlib.suppress(ValueError):
        key = float(name)
    return key, da.open_model(source if equals else text, train=trained, allow_missing=allow_missing)


def _report(result: Any, out: Path | None, plot: Path | None, as_json: bool) -> None:
    if out is not None:
        result.save(out)
    if plot is not None:
        result.plot().savefig(plot, dpi=150, bbox_inches="tight")
    cells: pd.DataFrame = result.cells()
    if as_json:
        show({"note": result.note, "cells": json.loads(cells.to_json(orient="records"))}, "", as_json=True)
        return
    cells["between"] = [
        f"{low:.2f}–{high:.2f}" for low, high in zip(cells["em_full_low"], cells["em_full_high"], strict=True)
    ]
    show(None, _columns(cells, SCORED))
    show(None, SCORES)
    if _filled(cells, "tv"):
        show(None, _columns(cells, GAPS))
        show(None, FAR)
    show(None, "\n".join(["", *_ending(cells, result)]))


def _columns(cells: pd.DataFrame, titles: dict[str, str]) -> Any:
    """A table of those columns that say anything, under their titles."""
    kept = [name for name in titles if _filled(cells, name)]
    rows = [
        ["" if x != x else f"{x:.2f}" if isinstance(x, float) else x for x in row]
        for row in cells[kept].values.tolist()
    ]
    return table([titles[name] for name in kept], rows)


def _filled(cells: pd.DataFrame, name: str) -> bool:
    return name in cells and not (cells[name] == "").all()


def _ending(cells: pd.DataFrame, result: Any) -> list[str]:
    """What the distances mean, a failure, and what a reader must know."""
    near = [f"{name}: {said}" for name, said in DISTANCES.items() if name in set(cells["distance"])]
    lines = [". ".join(near) + "."] if near else []
    wrong = result.failures(1)
    if len(wrong):
        far = wrong[wrong["distance"] != "ID"]
        one = (far if len(far) else wrong).iloc[0]
        lines += [
            f"For instance, {one['cell']}:",
            f"  asked    {one['input']}",
            f"  wrote    {one['predict'] or 'nothing'}"
            + (f"  (follows {one['follows']})" if one["follows"] else ""),
            f"  right is {one['label']}",
        ]
    return [*lines, result.note] if result.note else lines


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _lists(text: str) -> list[str]:
    if not (lists := _split(text)):
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
