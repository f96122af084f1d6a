"""The command line: the lab's own commands, and each system's verbs, loaded when they are asked for.

Exit status: 0 done; 1 some cells failed, or a check did; 2 bad input; 4 a required claim is not shown;
130 interrupted.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer

from groundshift.errors import InputError, MissingPart
from groundshift.lab.command_tree import CommandTree
from groundshift.lab.console import (
    Json,
    Published,
    Quiet,
    Store,
    caught_text,
    claims_table,
    held_text,
    margin_text,
    measured_text,
    number,
    reason_text,
    show,
    table,
)
from groundshift.lab.registry import command_name, system_of, systems

__all__ = ["app", "main"]


app = typer.Typer(
    cls=CommandTree,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Structure under shift, tested against ground truth.",
)

Slugs = Annotated[
    list[str],
    typer.Argument(help="Systems by slug, studies of your own as module:study, or 'all'.", metavar="SLUG..."),
]
Slug = Annotated[
    str, typer.Argument(help="A system by its slug, or a study of your own as module:study.", metavar="SLUG")
]
Scale = Annotated[
    str, typer.Option(help="Scale of the study: quick (seconds, without verdicts), cpu or paper.")
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", help="Change a setting of the study, as in --set seeds=10.", metavar="K=V"),
]
EngineOption = Annotated[
    str,
    typer.Option(
        help="Where cells are computed: local, local:4, inline, dask://host:8786 or dask-slurm:profile.toml."
    ),
]
Retry = Annotated[list[str] | None, typer.Option(help="Run the cells that have 'failed' or 'crashed' again.")]
Root = Annotated[
    int | None, typer.Option(help="Root seed of a replication; without it, the run itself is meant.")
]
Shard = Annotated[str, typer.Option(help="Run part i of n, as in --shard 3/16, for batch schedulers.")]


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
) -> None:
    if version:
        from groundshift import __version__

        print(__version__)
        raise typer.Exit
    if debug:
        os.environ["GROUNDSHIFT_DEBUG"] = "1"


@app.command("list")
def list_(
    category: Annotated[
        str | None, typer.Option(help="Only the systems of this category: discovery, probes, ...")
    ] = None,
    as_json: Json = False,
) -> None:
    """List the systems, each with what it does for you."""
    listed = [item for item in systems().values() if category in (None, item.category)]
    if not listed:
        known = dict.fromkeys(item.category for item in systems().values())
        raise InputError(f"No system has the category {category!r}; the categories are {', '.join(known)}.")
    show(
        [vars(item) for item in listed],
        table(
            ("slug", "category", "what it does", "paper"),
            [(s.slug, s.category, s.promise, s.paper) for s in listed],
        ),
        as_json=as_json,
    )


@app.command("show")
def show_(
    slug: Slug, store: Store = Path("runs"), results: Published = Path("results"), as_json: Json = False
) -> None:
    """Show a system: its paper, claims, verdicts and cost, and how to apply it to your own data."""
    from dataclasses import asdict

    from rich.text import Text

    from groundshift.lab.runs import open_run
    from groundshift.lab.summary import known_summary

    run = open_run(slug, store=store)
    study, about = run.study, system_of(run.study)
    cells = {scale: len(open_run(study, scale=scale).cells) for scale in ("quick", "cpu")}
    known = known_summary(run, results)
    measured = {claim["id"]: claim for claim in known.data["claims"]} if known else {}
    text = [
        f"[bold]{about.title}[/]",
        (f"{about.url} ({about.venue}), " if about.arxiv else "") + f"category: {about.category}",
        f"\n{about.promise}\n",
        f"On your own data:  {about.use}",
        f"Its study:         groundshift run {command_name(study)}   "
        f"({cells['cpu']} cells, at most {study.budget_s:.0f} s on two cores)\n",
        "[bold]Claims[/]",
        *(
            f"  {c.id:3} {c.text}\n      paper: {c.paper}\n      margin {margin_text(asdict(c))}, "
            f"negative control: {c.control.text if c.control else 'none'}"
            + (f"\n      {_verdict_text(measured[c.id])}" if c.id in measured else "")
            for c in study.claims
        ),
    ]
    data = {
        "system": vars(about),
        "claims": [asdict(c) for c in study.claims],
        "measured": list(measured.values()),
        "cells": cells,
        "budget_s": study.budget_s,
    }
    show(data, Text.from_markup("\n".join(text)), as_json=as_json)


@app.command("plan")
def plan_(
    slugs: Slugs,
    scale: Scale = "cpu",
    store: Store = Path("runs"),
    results: Published = Path("results"),
    overrides: Overrides = None,
    as_json: Json = False,
) -> None:
    """Tell what a study costs, the smallest effects it can show, and how often each control would pass."""
    from dataclasses import asdict

    from groundshift.lab.planning import plan
    from groundshift.lab.settings import parse_overrides

    changes = parse_overrides(overrides or ())
    plans = [
        plan(slug, scale=scale, store=store, results=results, overrides=changes) for slug in _named(slugs)
    ]
    rows = [(p.study, p.cells, p.done, p.failed, float(p.seconds)) for p in plans]
    show(
        [asdict(p) for p in plans],
        table(("study", "cells", "done", "failed", "seconds of work left"), rows),
        as_json=as_json,
    )
    power = [
        (p.study, claim, spread, least, _power_note(claim in p.too_small, least))
        for p in plans
        for claim, (spread, least) in p.detectable.items()
    ]
    if power:
        show(None, table(("study", "claim", "spread", "detectable beyond margin", ""), power), quiet=as_json)
    controls = [
        (p.study, claim, c.replicates, _percent(c.right), _percent(c.wrong))
        for p in plans
        for claim, c in p.controls.items()
    ]
    if controls:
        columns = ("study", "claim of the control", "replicates", "passes when right", "passes when wrong")
        show(None, table(columns, controls), quiet=as_json)
    for p in plans:
        show(None, _pilot_text(p), quiet=as_json or not p.pilot)


def _pilot_text(plan: Any) -> str:
    """What a plan was reckoned from, and what is wrong with the study's controls."""
    claims: dict[str, list[str]] = {}
    for claim, control in plan.controls.items():
        for warning in control.warnings:
            claims.setdefault(warning, []).append(claim)
    lines = [f"{plan.study}: what can be detected, and how the controls fare, is reckoned from {plan.pilot}."]
    lines += [f"{plan.study} {', '.join(names)}: {warning}." for warning, names in claims.items()]
    return "\n".join(lines)


def _power_note(too_small: bool, least: float) -> str:
    return "" if not too_small else "too few replicates" if least == float("inf") else "margin too small"


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.0f} %"


@app.command("run")
def run_(
    slugs: Slugs,
    scale: Scale = "cpu",
    engine: EngineOption = "local",
    store: Store = Path("runs"),
    shard: Shard = "1/1",
    overrides: Overrides = None,
    retry: Retry = None,
    rerun: Annotated[
        str | None, typer.Option(help="Write 'stale' to run the cells whose code has changed again.")
    ] = None,
    more_seeds: Annotated[
        int | None, typer.Option(help="Look at the claims once more, with this many seeds.")
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Run studies, or resume them; finished cells are never run again."""
    from groundshift.lab.driver import run
    from groundshift.lab.summary import summarise

    options, status = _run_options(scale, engine, store, shard, overrides, retry, as_json, quiet), 0
    _one_of("--rerun", [rerun] if rerun else [], ("stale",))
    for slug in _named(slugs):
        try:
            this = run(slug, rerun_stale=rerun == "stale", more_seeds=more_seeds, **options)
        except KeyboardInterrupt:
            raise _interrupted() from None
        summary = summarise(this).data
        show(
            {"claims": summary["claims"]},
            claims_table(this.study.slug, summary["claims"]),
            as_json=as_json,
            quiet=quiet,
        )
        if summary["cells"]["failed"]:
            _say_failed(summary, slug)
            status = 1
        if status == 0 and any(c["required"] and c["verdict"] == "not shown" for c in summary["claims"]):
            status = 4
    raise typer.Exit(status)


@app.command()
def replicate(
    slugs: Slugs,
    root: Annotated[
        list[int] | None,
        typer.Option(
            help="Root seed of the replication; may be repeated. Without it, the study's own fresh root seed is taken."
        ),
    ] = None,
    scale: Scale = "cpu",
    engine: EngineOption = "local",
    store: Store = Path("runs"),
    shard: Shard = "1/1",
    overrides: Overrides = None,
    retry: Retry = None,
    results: Published = Path("results"),
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Run studies again at a fresh root seed, or resume that run, and say which verdicts held."""
    from groundshift.lab.driver import run
    from groundshift.lab.runs import fresh_root, open_run
    from groundshift.lab.summary import known_summary, summarise

    options, status = _run_options(scale, engine, store, shard, overrides, retry, as_json, quiet), 0
    for slug in _named(slugs):
        base = open_run(slug, scale=scale, store=store, overrides=options["overrides"])
        for seed in root or [fresh_root(base.study)]:
            try:
                this = run(slug, root=seed, **options)
            except KeyboardInterrupt:
                raise _interrupted() from None
            summary = summarise(this).data
            known = known_summary(base, results)
            _show_replication(this.study.slug, summary, known.data if known else None, as_json, quiet)
            if summary["cells"]["failed"]:
                _say_failed(summary, f"{slug} --root {seed}")
                status = 1
    raise typer.Exit(status)


@app.command()
def mutate(
    slugs: Slugs,
    scale: Scale = "cpu",
    engine: EngineOption = "local",
    store: Store = Path("runs"),
    shard: Shard = "1/1",
    overrides: Overrides = None,
    retry: Retry = None,
    results: Published = Path("results"),
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Run deliberately broken versions of a method in its place, and say which claims catch them.

    The study itself is run first, where it has neither been run nor published.
    """
    from groundshift.lab.driver import run
    from groundshift.lab.mutation import mutant_texts
    from groundshift.lab.runs import open_run
    from groundshift.lab.summary import known_summary, with_mutants

    options, status = _run_options(scale, engine, store, shard, overrides, retry, as_json, quiet), 0
    for slug in _named(slugs):
        base = open_run(slug, scale=scale, store=store, overrides=options["overrides"])
        if not base.study.mutants:
            raise InputError(
                f"Study {base.study.slug!r} declares no mutant; define a broken version of its method with "
                "Method.define(role='mutant', of=method)."
            )
        known = known_summary(base, results)
        try:
            measured = known.table if known else run(slug, **options).table()
            answers = run(slug, mutants=True, **options)
        except KeyboardInterrupt:
            raise _interrupted() from None
        claims = with_mutants(base, measured)
        _show_mutants(base.study.slug, claims, mutant_texts(base.study), as_json, quiet)
        if failed := answers.failures():
            print(
                f"{len(failed)} cells of mutants failed, the first: {next(iter(failed.values()))['message']}",
                file=sys.stderr,
            )
            status = 1
    raise typer.Exit(status)


def _show_mutants(
    slug: str, claims: list[dict[str, Any]], texts: Mapping[str, str], as_json: bool, quiet: bool
) -> None:
    """Claim by claim, which mutants are caught: by the claim's own measure, only by its control, or not."""
    rows = []
    for claim in claims:
        by = {
            kind: [t["mutant"] for t in claim.get("mutants", ()) if t["by"] == kind]
            for kind in ("claim", "control", "")
        }
        verdict = "empty" if claim.get("empty") else caught_text(claim) or "does not hold"
        rows.append((claim["id"], verdict, *(", ".join(names) for names in by.values())))
    columns = ("", "caught", "by the claim", "only by its control", "not caught")
    show(
        {"mutants": texts, "claims": claims},
        table(columns, rows, f"Mutants of {slug}"),
        as_json=as_json,
        quiet=quiet,
    )
    show(None, "\n".join(f"{name}: {text}." for name, text in texts.items()), quiet=quiet or as_json)


def _show_replication(slug: str, summary: Mapping[str, Any], base: Any, as_json: bool, quiet: bool) -> None:
    """The claims of a replication, each with the verdict at the study's own root seed where that is known."""
    root = summary["root"]
    before = {(c["id"], c["version"]): c["verdict"] for c in base["claims"]} if base else {}
    compared = [c for c in summary["claims"] if (c["id"], c["version"]) in before]
    held = sum(c["verdict"] == before[c["id"], c["version"]] for c in compared)
    if summary["scale"] == "quick":
        verdict = "Quick scale gives no verdicts, so that there is none to hold."
    elif not base:
        verdict = "There is no verdict to compare with: the study was neither run here nor published."
    elif base["digest"] == summary["digest"]:
        verdict = "Every output is that of the run itself: the root seed changes nothing, and this is no replication."
    else:
        verdict = f"At root seed {root}, {held} of {len(compared)} verdicts held."
    rows = [
        (
            c["id"],
            c["text"],
            measured_text(c),
            margin_text(c),
            before.get((c["id"], c["version"]), "–"),
            c["verdict"],
        )
        for c in summary["claims"]
    ]
    columns = ("", "claim", f"measured at root {root}", "margin", "verdict before", "verdict now")
    data = {"root": root, "held": held, "compared": len(compared), "claims": summary["claims"]}
    show(data, table(columns, rows, f"Claims of {slug}"), as_json=as_json, quiet=quiet)
    show(None, verdict, quiet=quiet or as_json)


@app.command()
def status(
    slug: Annotated[
        str | None, typer.Argument(help="A system by its slug; without it, all studies that were run.")
    ] = None,
    store: Store = Path("runs"),
    watch: Annotated[bool, typer.Option("--watch", help="Show the table again every two seconds.")] = False,
    as_json: Json = False,
) -> None:
    """Show how many cells of each study are done, failed, stale and running."""
    import time

    while True:
        rows = _status(store, slug)
        text = table(
            ("study", "scale", "planned", "done", "failed", "stale", "running"),
            [list(r.values()) for r in rows],
        )
        show(rows, text if rows else f"{store} holds no run.", as_json=as_json)
        if not watch:
            return
        time.sleep(2)


@app.command()
def verify(
    slug: Slug,
    cells: Annotated[int, typer.Option(help="How many cells to compute again.")] = 5,
    scale: Scale = "cpu",
    store: Store = Path("runs"),
    root: Root = None,
    as_json: Json = False,
) -> None:
    """Compute some finished cells again and compare them with their records."""
    from dataclasses import asdict

    from groundshift.lab.checking import verify as verify_run
    from groundshift.lab.runs import open_run

    checks = verify_run(open_run(slug, scale=scale, store=store, root=root), cells)
    show(
        [asdict(check) for check in checks],
        table(("cell", "level", "largest difference"), [(c.cell, c.level, c.largest) for c in checks]),
        as_json=as_json,
    )
    raise typer.Exit(int(any(check.level == "different" for check in checks)))


@app.command()
def failures(
    slug: Slug,
    last: Annotated[
        bool,
        typer.Option(
            "--last", help="Show only the newest failure, with its traceback and the last lines of its log."
        ),
    ] = False,
    scale: Scale = "cpu",
    store: Store = Path("runs"),
    root: Root = None,
    as_json: Json = False,
) -> None:
    """Show what went wrong, cell by cell."""
    from groundshift.lab.runs import open_run

    failed = open_run(slug, scale=scale, store=store, root=root).failures()
    records = sorted(failed.values(), key=lambda failure: failure["time"])
    if last and records:
        newest = records[-1]
        text = "\n".join(
            [f"{newest['kind']}: {newest['message']}", newest.get("traceback", ""), *newest.get("log", ())]
        )
        show(newest, text, as_json=as_json)
        return
    rows = [(f.get("cell", f["key"]), f["kind"], f["attempt"], f["message"]) for f in records]
    show(
        records,
        table(("cell", "kind", "attempt", "message"), rows) if rows else "No cell failed.",
        as_json=as_json,
    )


@app.command()
def clean(
    slug: Slug,
    stale: Annotated[bool, typer.Option("--stale", help="Set aside records whose code has changed.")] = False,
    scale: Scale = "cpu",
    store: Store = Path("runs"),
) -> None:
    """Move stale records into the folder stale/ of the run; nothing is deleted."""
    from groundshift.lab.runs import open_run

    if not stale:
        raise InputError(
            "clean does nothing by itself; write --stale to set aside records whose code has changed."
        )
    this = open_run(slug, scale=scale, store=store)
    cells = this.stale()
    with this.store.lock():
        for cell in cells:
            this.store.set_aside(cell.key)
    show(None, f"{len(cells)} stale records were moved to {this.store.folder / 'stale'}.")


@app.command()
def report(
    source: Annotated[Path, typer.Argument(help="A folder of runs, or of published results.")] = Path("runs"),
    out: Annotated[
        Path,
        typer.Option("--out", "-o", help="Folder of the site; an earlier site of ours in it is updated."),
    ] = Path("site"),
    scale: Scale = "cpu",
    docs: Annotated[
        str | None,
        typer.Option(help="Address or folder of the built documentation, to which the pages link."),
    ] = None,
    open_: Annotated[bool, typer.Option("--open", help="Open the site in a browser.")] = False,
    quiet: Quiet = False,
) -> None:
    """Make the static site: systems by question, all claims on one page, and a page for every study."""
    from groundshift.lab.site import report as make

    page = make(source, out, scale=scale, docs=docs)
    show(None, f"The report is at {page.resolve()}", quiet=quiet)
    if open_:
        typer.launch(page.resolve().as_uri())


@app.command()
def publish(
    slugs: Slugs,
    scale: Scale = "cpu",
    store: Store = Path("runs"),
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of published results.")] = Path("results"),
    again: Annotated[
        bool,
        typer.Option(
            "--judge-again", help="Run nothing; judge the published numbers by the rules of this version."
        ),
    ] = False,
) -> None:
    """Write the results of runs and their replications to results/, from which the site can be made anywhere."""
    from groundshift.lab.runs import open_run
    from groundshift.lab.summary import judge_again
    from groundshift.lab.summary import publish as publish_run

    for slug in _named(slugs):
        run = open_run(slug, scale=scale, store=store)
        if again:
            show(None, f"{slug}: {judge_again(run, out)}")
            continue
        folder = publish_run(run, out)
        show(None, f"{slug}: {folder}")
        for replication in run.replications():
            path = folder / "replications" / str(replication.root)
            show(
                None,
                f"  {path}" if replication.finished else f"  root {replication.root}: not finished, left out",
            )


@app.command()
def export(
    slug: Slug,
    csv: Annotated[Path | None, typer.Option(help="Write the long table to this file.")] = None,
    sql: Annotated[
        str | None, typer.Option(help="Answer this SQL query with DuckDB; the table is called results.")
    ] = None,
    scale: Scale = "cpu",
    store: Store = Path("runs"),
    as_json: Json = False,
) -> None:
    """Write the long table of results to a file, or answer a query about it."""
    from groundshift.lab.summary import Results, results

    rows = results(store, study=slug, scale=scale)
    if sql is not None:
        rows = Results(rows.sql(sql))
    if csv is not None:
        rows.to_csv(csv)
        show(None, f"{len(rows.df())} rows were written to {csv}.")
        return
    frame = rows.df()
    show(
        frame.to_dict("records"),
        table(list(map(str, frame.columns)), frame.itertuples(index=False)),
        as_json=as_json,
    )


@app.command()
def new(
    slug: Annotated[
        str, typer.Argument(help="Name of the system: letters, digits and dashes.", metavar="SLUG")
    ],
    category: Annotated[str, typer.Option(help="Category in which it belongs, such as discovery.")],
    title: Annotated[str, typer.Option(help="Title of the paper.")] = "",
    root: Annotated[Path, typer.Option(help="Checkout of the library.")] = Path(),
) -> None:
    """Add a working system to a checkout of the library, from which a new one is written."""
    from groundshift.lab.scaffolding import scaffold

    for path in scaffold(slug, category, title=title, root=root):
        show(None, str(path))
    show(None, "`make check test` passes as it is; whatever fails later is what was changed.")


@app.command()
def doctor(as_json: Json = False) -> None:
    """Show versions, memory, GPU, optional parts and the browser of this machine; nothing is written."""
    import shutil

    from groundshift.lab.provenance import environment

    here = environment()
    parts = {
        "fast (numba)": "numba",
        "cluster (dask)": "distributed",
        "hub (datasets)": "datasets",
        "peers (aeon)": "aeon",
        "torch": "torch",
        "lm (transformers)": "transformers",
        "vision (diffusers)": "diffusers",
    }
    extras = {name: find_spec(module) is not None for name, module in parts.items()}
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    rows = [
        *(
            (name, str(here[name]))
            for name in ("groundshift", "python", "system", "cpu", "cores", "memory_gb", "gpu")
        ),
        *((f"extra {name}", "installed" if there else "not installed") for name, there in extras.items()),
        ("browser (tests of the site)", browser or "none"),
    ]
    show({**here, "extras": extras, "browser": browser}, table(("what", "here"), rows), as_json=as_json)


# What the commands share ---------------------------------------------------------------------------------


def _named(slugs: list[str]) -> list[str]:
    return list(systems()) if slugs == ["all"] else slugs


def _verdict_text(claim: dict[str, Any]) -> str:
    """What came of a claim: all that the one line of `claims_table` has no room for."""
    control = claim["control_measured"]
    parts = [f"measured: {measured_text(claim)}", f"{claim['verdict']}: {reason_text(claim)}"]
    if control is not None:
        parts.append(f"control {number(control['mean'])}, {'passed' if control['ok'] else 'failed'}")
    caught = f"caught {caught_text(claim)} mutants" if "mutants" in claim else ""
    return "; ".join([*parts, *filter(None, [held_text(claim), caught])])


def _run_options(
    scale: str,
    engine: str,
    store: Path,
    shard: str,
    overrides: list[str] | None,
    retry: list[str] | None,
    as_json: bool,
    quiet: bool,
) -> dict[str, Any]:
    """What run, replicate and mutate hand to the driver."""
    from groundshift.lab.settings import parse_overrides

    _one_of("--retry", retry or [], ("failed", "crashed"))
    return {
        "scale": scale,
        "engine": engine,
        "store": store,
        "overrides": parse_overrides(overrides or ()),
        "shard": _shard(shard),
        "retry": retry or (),
        "progress": "none" if quiet else "json" if as_json else "auto",
    }


def _interrupted() -> typer.Exit:
    print("groundshift: interrupted; finished cells are kept, run again to go on.", file=sys.stderr)
    return typer.Exit(130)


def _say_failed(summary: Mapping[str, Any], name: str) -> None:
    print(f"{summary['cells']['failed']} cells failed: groundshift failures {name}", file=sys.stderr)


def _shard(text: str) -> tuple[int, int]:
    index, _, count = text.partition("/")
    if not (index.isdigit() and count.isdigit()):
        raise InputError(f"--shard {text!r} was given; write i/n, as in --shard 3/16.")
    return int(index), int(count)


def _one_of(option: str, given: list[str], known: tuple[str, ...]) -> None:
    for word in given:
        if word not in known:
            raise InputError(f"{option} {word!r} was given; it takes {' or '.join(known)}.")


def _status(store: Path, slug: str | None) -> list[dict[str, Any]]:
    """A row for each run in the store, whatever its scale."""
    from groundshift.lab.runs import open_run

    rows = []
    for path in sorted(store.glob(f"{slug or '*'}/v*/*/study.json")):
        frozen = json.loads(path.read_text())
        run = open_run(frozen["ref"], scale=frozen["scale"], store=store)
        if run.store.folder != path.parent:
            continue  # another version of the study, or a run with --set
        for this in (run, *run.replications()):
            rows.append(
                {
                    "study": path.parts[-4],
                    "scale": this.scale + ("" if this.root is None else f", root {this.root}"),
                    "planned": len(this.cells),
                    "done": sum(this.store.has(cell.key) for cell in this.cells),
                    "failed": len(this.failures()),
                    "stale": len(this.stale()),
                    "running": len(list(this.store.folder.glob("scratch/*/progress.json"))),
                }
            )
    return rows


def main() -> None:
    """Entry point of the command ``groundshift``."""
    if "" not in sys.path:  # a study of the user's own lies where they are; last, so that it hides nothing
        sys.path.append("")
    try:
        app()
    except ModuleNotFoundError as error:
        if os.environ.get("GROUNDSHIFT_DEBUG") or (error.name or "").startswith("groundshift"):
            raise
        print(f"groundshift: {MissingPart(error, 'This command')}", file=sys.stderr)
        sys.exit(2)
    except InputError as error:
        if os.environ.get("GROUNDSHIFT_DEBUG"):
            raise
        print(f"groundshift: {error}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:
        sys.exit(141)
