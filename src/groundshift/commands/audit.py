"""``groundshift audit DATA …``: which structure shifted in a table, by which mechanism, and what to do."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from groundshift.commands.verbs import single, verb
from groundshift.errors import InputError

if TYPE_CHECKING:
    from groundshift.workflows.audit import Audit

app = single("audit")

FailOn = Annotated[
    list[str] | None,
    typer.Option(
        help="Exit with 1 if this kind of shift is found, at this size or more; can be repeated.",
        metavar="KIND[:SIZE]",
    ),
]
OnUnknown = Annotated[
    Literal["fail", "warn", "ignore"],
    typer.Option(
        help="What --fail-on does about a kind that cannot be told: fail (exit 3), warn, or ignore."
    ),
]
Embeddings = Annotated[
    str | None,
    typer.Option(help="Embeddings in place of a table: an npz file with a label per row (--domain)."),
]


def _proba(words: Sequence[str]) -> Any:
    from groundshift.workflows.audit.own_model import parse_proba

    return parse_proba(words)


def _check(values: dict[str, Any], *, fail_on: FailOn = None, embeddings: Embeddings = None) -> None:
    from groundshift.workflows.audit import parse_limit

    for limit in fail_on or ():
        parse_limit(limit)
    if embeddings is not None:
        if "data" in values:
            both = f"{values['data']} and --embeddings {embeddings}"
            raise InputError(f"{both} were given; give one of the two.")
        values["data"] = embeddings


def _status(result: Audit, *, fail_on: FailOn = None, on_unknown: OnUnknown = "fail") -> int:
    """1 if a limit is exceeded, 3 if one cannot be told; alerts of a history are told once."""
    if result.history is not None:
        for row in result.history.fresh.itertuples():
            print(f"groundshift: new in {row.period}: {row.kind} shift. {row.sentence}", file=sys.stderr)
        result.history.tell()
    exceeded = result.fails(fail_on or ())
    unknown = [] if on_unknown == "ignore" else result.unknown(fail_on or ())
    for words in (*exceeded, *unknown):
        print(f"groundshift: --fail-on {words}", file=sys.stderr)
    return 1 if exceeded else 3 if unknown and on_unknown == "fail" else 0


verb(
    app, "audit", "groundshift.workflows.audit:audit", parse={"proba": _proba}, prepare=_check, finish=_status
)
