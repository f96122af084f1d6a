"""``groundshift audit DATA …``: which structure shifted in a table, by which mechanism, and what to do.

A thin skin over `groundshift.workflows.audit.audit`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from groundshift.commands.reading import DateFormat, DayFirst, Kinds, Na
from groundshift.errors import InputError
from groundshift.lab.console import Json, Out, Quiet, number, show, table
from groundshift.tables import parse_kinds, refuse_filled

if TYPE_CHECKING:
    from groundshift.workflows.audit import Audit, Kind


class OnUnknown(StrEnum):
    """What a limit on a kind that cannot be told does."""

    fail = "fail"
    warn = "warn"
    ignore = "ignore"


app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def audit(
    data: Annotated[
        str | None,
        typer.Argument(
            help="Table, csv or parquet; left out with --current or --embeddings.", metavar="DATA"
        ),
    ] = None,
    domain: Annotated[
        str | None, typer.Option(help="Column whose values are compared: a shop, a month, train and test.")
    ] = None,
    time: Annotated[
        str | None, typer.Option(help="Column of dates or numbers, cut into windows that are compared.")
    ] = None,
    window: Annotated[str | None, typer.Option(help="Length of a window: 30d, 12h, or a number.")] = None,
    target: Annotated[str | None, typer.Option(help="Column that is to be predicted.")] = None,
    task: Annotated[str, typer.Option(help="auto, classification or regression.")] = "auto",
    reference: Annotated[
        str | None,
        typer.Option(
            help="The domain that others are compared with; with --current, a table: the rows before."
        ),
    ] = None,
    current: Annotated[
        str | None, typer.Option(help="Table of the rows since, to compare with --reference.")
    ] = None,
    embeddings: Annotated[
        str | None, typer.Option(help="Embeddings in place of a table: npz with a label per row (--domain).")
    ] = None,
    columns: Annotated[str, typer.Option(help="Columns to compare, as a,b,c; all if left out.")] = "",
    drop: Annotated[str, typer.Option(help="Columns to leave out, as a,b,c.")] = "",
    kind: Kinds = None,
    na: Na = None,
    date_format: DateFormat = None,
    day_first: DayFirst = None,
    classes: Annotated[
        int | None,
        typer.Option(help="Hidden classes whose shares are estimated where there is no target.", metavar="K"),
    ] = None,
    prediction: Annotated[
        str | None, typer.Option(help="Column of what your model predicted: classes, or numbers.")
    ] = None,
    proba: Annotated[
        list[str] | None,
        typer.Option(
            help="Column of your model's probabilities: of the last of two classes, or CLASS=COLUMN for each class.",
            metavar="[CLASS=]COLUMN",
        ),
    ] = None,
    model: Annotated[
        Path | None, typer.Option(help="Your model, saved by skops.", metavar="FILE.skops")
    ] = None,
    trust: Annotated[
        list[str] | None,
        typer.Option(help="A type that the .skops file may hold; can be repeated.", metavar="TYPE"),
    ] = None,
    graph: Annotated[
        Path | None, typer.Option(help="Causal graph that you know, in DOT.", metavar="FILE.dot")
    ] = None,
    level: Annotated[float, typer.Option(help="Level of the whole verdict.")] = 0.05,
    alert: Annotated[
        float, typer.Option(help="Size from which a kind counts as crossed in the timeline of windows.")
    ] = 0.0,
    max_rows: Annotated[int, typer.Option(help="Rows that models see at most.")] = 20_000,
    null_runs: Annotated[
        int, typer.Option(help="Copies with permuted domains, to measure false alarms.")
    ] = 10,
    no_remedies: Annotated[
        bool, typer.Option("--no-remedies", help="Do not try what could be done.")
    ] = False,
    out: Out = None,
    open_: Annotated[bool, typer.Option("--open", help="Open the page in a browser; needs --out.")] = False,
    fail_on: Annotated[
        list[str] | None,
        typer.Option(
            help="Exit with 1 if this kind of shift is found, at this size or more; can be repeated.",
            metavar="KIND[:SIZE]",
        ),
    ] = None,
    on_unknown: Annotated[
        OnUnknown,
        typer.Option(
            help="What --fail-on does about a kind that cannot be told: fail (exit 3), warn, or ignore."
        ),
    ] = OnUnknown.fail,
    seed: Annotated[int, typer.Option(help="Random seed.")] = 0,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Which structure shifted in my data, by which mechanism, and what to do."""
    from groundshift.workflows.audit import audit as run
    from groundshift.workflows.audit import parse_limit
    from groundshift.workflows.audit.own_model import parse_proba

    limits = fail_on or []
    for limit in limits:
        parse_limit(limit)
    _check_out(out, open_)
    if data is not None and embeddings is not None:
        raise InputError(f"{data} and --embeddings {embeddings} were given; give one of the two.")
    with _bar(shown=not (quiet or as_json)) as progress:
        found = run(
            data if embeddings is None else embeddings,
            domain=domain,
            time=time,
            window=window,
            target=target,
            task=task,  # type: ignore[arg-type]
            reference=reference,
            current=current,
            columns=_names(columns) or None,
            drop=_names(drop),
            kinds=parse_kinds(kind or ()),
            na=na or (),
            date_format=date_format,
            day_first=day_first,
            classes=classes,
            prediction=prediction,
            proba=parse_proba(proba or ()),
            model=model,
            trust=trust or (),
            graph=None if graph is None else str(graph),
            level=level,
            alert=alert,
            max_rows=max_rows,
            null_runs=null_runs,
            remedies=not no_remedies,
            random_state=seed,
            progress=progress,
        )
    page = None if out is None else found.save(out)
    show(found.to_dict() if as_json else None, _said(found, page), as_json=as_json, quiet=quiet)
    if page is not None and open_:
        typer.launch(page.resolve().as_uri())
    exceeded = found.fails(limits)
    for words in exceeded:
        print(f"groundshift: --fail-on {words}", file=sys.stderr)
    unknown = [] if on_unknown == OnUnknown.ignore else found.unknown(limits)
    for words in unknown:
        print(f"groundshift: --fail-on {words}", file=sys.stderr)
    raise typer.Exit(1 if exceeded else 3 if unknown and on_unknown == OnUnknown.fail else 0)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _check_out(out: Path | None, open_: bool) -> None:
    """Refuse before the work what could not be written after it."""
    if out is None and open_:
        raise InputError("--open was given without --out; name a folder for the page.")
    if out is not None:
        refuse_filled(out)


@contextmanager
def _bar(shown: bool) -> Iterator[Callable[[str, float], None] | None]:
    """A bar on stderr where somebody watches it."""
    if not shown or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    parts = (BarColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Progress(*parts, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=1.0)
        yield lambda step, done: bar.update(task, description=step, completed=done)


def _said(found: Audit, page: Path | None) -> Any:
    """The verdict for the terminal."""
    from rich.console import Group
    from rich.text import Text

    from groundshift.workflows.audit.report import advice, p_text

    rows = [
        (kind.name, Text(kind.status, "bold" if kind.found else ""), _size(kind), p_text(kind.p), _where(kind))
        for kind in found.kinds
    ]  # fmt: skip
    own = [
        f"{word}: {section.answer}"
        for name, word in (("decay", "Your model"), ("graph", "Your graph"))
        for section in found.sections
        if section.name == name
    ]
    untold = [f"Could not be told. {words}" for words in found.untold]
    lines = [
        *own,
        f"What to do: {advice(found)}",
        *untold,
        *([] if page is None else [f"The page is at {page.resolve()}"]),
    ]
    kinds = table(("kind", "verdict", "size [95 % interval]", "p", "where"), rows)
    kinds.columns[2].no_wrap = True
    return Group(Text(found.headline, "bold"), kinds, Text("\n".join(lines)))


def _size(kind: Kind) -> str:
    if kind.size != kind.size:
        return "–"
    return f"{number(kind.size)} [{number(kind.low)}, {number(kind.high)}]"


def _where(kind: Kind, most: int = 3) -> str:
    if not kind.found:
        return ""
    more = f" and {len(kind.where) - most} more" if len(kind.where) > most else ""
    return ", ".join(kind.where[:most]) + more
