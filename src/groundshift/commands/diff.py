"""``groundshift diff BASE TUNED``: what did tuning change in my language model?"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from groundshift.commands.verbs import single, verb

if TYPE_CHECKING:
    from groundshift.workflows.diff import Diff

app = single("diff")

FailOn = Annotated[
    list[str] | None,
    typer.Option(
        help="Exit with 1 if a number of this probe changed, decoding, or any, and is LEVEL at least; can be repeated.",
        metavar="PROBE[:LEVEL]",
    ),
]


def _prepare(values: dict[str, Any], *, fail_on: FailOn = None, out: Path | None = None) -> None:
    """Beside the page that is to come, readings are kept until it is written: a killed run goes on from them."""
    from groundshift.workflows.diff import levels_of

    levels_of(fail_on or ())
    if out is not None and "work" not in values:
        values["work"] = _work(out)


def _status(result: Diff, *, fail_on: FailOn = None, out: Path | None = None) -> int:
    if out is not None:
        shutil.rmtree(_work(out), ignore_errors=True)
    failed = result.fails(fail_on or [])
    for name in failed:
        print(f"groundshift: --fail-on {name}: it changed", file=sys.stderr)
    return int(bool(failed))


def _work(out: Path) -> Path:
    return out.with_name(f"{out.name}.work")


verb(app, "diff", "groundshift.workflows.diff:diff", prepare=_prepare, finish=_status)
