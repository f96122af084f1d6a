"""``groundshift diff BASE TUNED``: what did tuning change in my language model?

A thin skin over `groundshift.workflows.diff.diff`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from groundshift.errors import InputError
from groundshift.lab.console import AllowMissing, Json, Out, Quiet, number, show, table

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def diff(
    base: Annotated[str, typer.Argument(help="Directory or hub id of the base.")],
    tuned: Annotated[str, typer.Argument(help="Of the tuned model, or of a LoRA adapter on the base.")],
    prompts: Annotated[
        Path | None, typer.Option(help="JSONL of prompts; a built-in set if left out.")
    ] = None,
    statements: Annotated[
        Path | None, typer.Option(help="Table with statement and kind (true, false).")
    ] = None,
    pairs: Annotated[Path | None, typer.Option(help="Preference pairs: prompt, chosen, rejected.")] = None,
    probes: Annotated[
        str, typer.Option(help="Of tokens, concepts, truth and displacement, as a,b,c.")
    ] = "tokens,concepts,truth,displacement",
    max_new_tokens: Annotated[int, typer.Option(help="Tokens of an answer.")] = 32,
    noise: Annotated[int, typer.Option(help="How often the base is read with noise.")] = 3,
    out: Out = None,
    fail_on: Annotated[
        list[str] | None,
        typer.Option(
            help="Exit with 1 if a number of this probe changed, decoding, or any; can be repeated.",
            metavar="PROBE",
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, mps, or spread.")] = "auto",
    trust_remote_code: Annotated[
        bool, typer.Option("--trust-remote-code", help="Run code of the model.")
    ] = False,
    trust_pickle: Annotated[bool, typer.Option("--trust-pickle", help="Read weights from pickles.")] = False,
    allow_missing: AllowMissing = False,
    seed: Annotated[int, typer.Option(help="Random seed.")] = 0,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """What tuning changed in a language model, each number beside two nulls.

    With --out the page is written there, and readings are kept in its folder "work" until it is: a run that was killed
    goes on from them.
    """
    from groundshift.workflows.diff import PROBES
    from groundshift.workflows.diff import diff as run

    if unknown := set(fail_on or ()) - {*PROBES, "decoding", "any"}:
        raise InputError(
            f"--fail-on {sorted(unknown)[0]} was given; it is one of any, decoding, {', '.join(PROBES)}."
        )
    if out is not None and any((out / name).exists() for name in ("index.html", "diff.json")):
        raise InputError(f"{out} holds a comparison already; name another folder.")
    found = run(
        base, tuned, prompts=prompts, statements=statements, pairs=pairs,
        probes=[name.strip() for name in probes.split(",") if name.strip()], max_new_tokens=max_new_tokens,
        noise=noise, seed=seed, device=device, trust_remote_code=trust_remote_code, trust_pickle=trust_pickle,
        allow_missing=allow_missing, work=None if out is None else out / "work", progress=not (quiet or as_json),
    )  # fmt: skip
    page = None if out is None else found.save(out)
    rows = [
        (n.name, number(n.value), "–" if n.low == n.high else f"[{number(n.low)}, {number(n.high)}]", number(n.again),
         "–" if found.weights is None else number(n.noise), "changed" if n.changed else "") for n in found.numbers
    ]  # fmt: skip
    shown = table(("number", "tuned", "95 % interval", "base again", "noise", ""), rows, found.sentence)
    show(found.to_dict() if as_json else None, shown, as_json=as_json, quiet=quiet)
    decodes = (
        [found.decoding["sentence"]]
        if found.decoding and found.decoding["sentence"] not in found.sentence
        else []
    )
    for line in (
        ()
        if as_json or quiet
        else (*decodes, *found.warnings, *found.nulls, *found.notes, *([] if page is None else [str(page)]))
    ):
        print(line)
    failed = found.fails(fail_on or [])
    for name in failed:
        print(f"groundshift: --fail-on {name}: it changed", file=sys.stderr)
    raise typer.Exit(int(bool(failed)))
