"""``groundshift truth …``: does a model's direction of truth stay, and what moves it?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from groundshift.lab.console import AllowMissing, Json, number, show, table

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="A linear direction of truth in a language model: how stable is it, and what moves it?",
)

MODEL_HELP = "Model directory or id, or a folder of `groundshift activations capture`."
TABLE_HELP = "Tables (.csv, .parquet, .jsonl) with statement, kind and, if wanted, entity and canonical."
Probe = Annotated[str, typer.Option(help="sawmil or mean_difference.")]
Layer = Annotated[str, typer.Option(help="auto, the number of a block, or its name.")]
Positions = Annotated[str, typer.Option(help="all tokens of a statement, or its last.")]
Cost = Annotated[float | None, typer.Option("--cost", "-C", help="C of sAwMIL; chosen if left out.")]
Seed = Annotated[int, typer.Option(help="Random seed.")]


@app.command()
def fit(
    model: Annotated[str, typer.Argument(help=MODEL_HELP, metavar="MODEL")],
    statements: Annotated[list[Path], typer.Argument(help=TABLE_HELP, metavar="STATEMENTS...")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder for probes and tables; must be new or empty.")
    ] = None,
    probe: Probe = "sawmil",
    layer: Layer = "auto",
    positions: Positions = "all",
    match: Annotated[
        bool,
        typer.Option("--match/--all-rows", help="Promote as many statements of every kind, or all of them."),
    ] = True,
    noise: Annotated[bool, typer.Option("--noise/--no-noise", help="Promote random states, too.")] = True,
    cost: Cost = None,
    most: Annotated[int, typer.Option(help="Training statements that are used.")] = 1800,
    plot: Annotated[Path | None, typer.Option(help="Draw the flips to this file.")] = None,
    seed: Seed = 0,
    allow_missing: AllowMissing = False,
    as_json: Json = False,
) -> None:
    """Promote every kind of statements that are neither true nor false, and see how many true ones change side."""
    from groundshift.probes.truth import COSTS, TruthStability
    from groundshift.tables import refuse_filled, refuse_overwriting

    if out is not None:
        refuse_filled(out)
    if plot is not None:
        refuse_overwriting(plot)
    found = TruthStability(
        probe,  # type: ignore[arg-type]
        _layer(layer),
        positions=positions,  # type: ignore[arg-type]
        match=match,
        noise=noise,
        most=most,
        random_state=seed,
        C=COSTS if cost is None else cost,
    ).fit(model, list(statements), allow_missing=allow_missing)
    if out is not None:
        found.save(out)
    if plot is not None:
        found.plot().figure.savefig(plot, dpi=150)
    show(found.to_dict(), _said(found), as_json=as_json)


@app.command()
def compare(
    base: Annotated[str, typer.Argument(help=MODEL_HELP, metavar="BASE")],
    tuned: Annotated[str, typer.Argument(help=MODEL_HELP, metavar="TUNED")],
    statements: Annotated[list[Path], typer.Argument(help=TABLE_HELP, metavar="STATEMENTS...")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Write scores of the test statements (.csv).")
    ] = None,
    probe: Probe = "sawmil",
    layer: Layer = "auto",
    positions: Positions = "all",
    cost: Cost = None,
    most: Annotated[int, typer.Option(help="Training statements that are used.")] = 1800,
    refits: Annotated[int, typer.Option(help="For the interval of the angle.")] = 20,
    seed: Seed = 0,
    allow_missing: AllowMissing = False,
    as_json: Json = False,
) -> None:
    """Fit the direction of truth in two models: how far it turned, and which statements changed side."""
    from groundshift.probes.truth import COSTS, compare_truth
    from groundshift.tables import refuse_overwriting

    if out is not None:
        refuse_overwriting(out)
    found = compare_truth(
        base,
        tuned,
        list(statements),
        probe=probe,  # type: ignore[arg-type]
        layer=_layer(layer),
        positions=positions,  # type: ignore[arg-type]
        most=most,
        refits=refits,
        random_state=seed,
        allow_missing=allow_missing,
        C=COSTS if cost is None else cost,
    )
    if out is not None:
        found.statements.to_csv(out, index=False)
    kinds = found.by_kind.to_string(float_format="{:.3f}".format)
    accuracies = " and ".join(f"{a['balanced']:.2f}" for a in found.accuracy)
    text = (
        f"{found.verdict}\n(balanced accuracy {accuracies}; layers {' and '.join(found.layers)})\n\n{kinds}"
    )
    show(found.to_dict(), text, as_json=as_json)


@app.command()
def ask(
    model: Annotated[str, typer.Argument(help="Model directory or id.", metavar="MODEL")],
    statements: Annotated[list[Path], typer.Argument(help=TABLE_HELP, metavar="STATEMENTS...")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Write log odds of the test statements (.csv).")
    ] = None,
    context: Annotated[int, typer.Option(help="Statements presented as true before a question.")] = 8,
    draws: Annotated[int, typer.Option(help="Contexts of each kind for each question.")] = 3,
    question: Annotated[str, typer.Option(help="Text with {statement}; the default if left out.")] = "",
    preamble: Annotated[str, typer.Option(help="Text with {statements}; the default if left out.")] = "",
    answers: Annotated[
        tuple[str, str], typer.Option(help="What stands for true and for false, with leading spaces.")
    ] = (" true", " false"),
    chat: Annotated[bool, typer.Option("--chat", help="Ask in the chat template.")] = False,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Ask whether true statements are true, alone and after statements of each kind that are presented as true."""
    from groundshift.probes.truth import truth_behaviour
    from groundshift.probes.truth.behaviour import PREAMBLE, QUESTION
    from groundshift.tables import refuse_overwriting

    if out is not None:
        refuse_overwriting(out)
    found = truth_behaviour(
        model,
        list(statements),
        context=context,
        draws=draws,
        question=question or QUESTION,
        preamble=preamble or PREAMBLE,
        answers=answers,
        chat=chat,
        random_state=seed,
    )
    if out is not None:
        found.statements.to_csv(out, index=False)
    kinds = found.report.to_string(float_format="{:.3f}".format)
    true, false = (f"{found.accuracy[name]:.0%} of the {name}" for name in ("true", "false"))
    right = f"alone, it is right on {true} and {false} test statements"
    show(found.to_dict(), f"{found.verdict}\n({right})\n\n{kinds}", as_json=as_json)


@app.command()
def score(
    fitted: Annotated[Path, typer.Argument(help="Folder written by fit.", metavar="FITTED")],
    model: Annotated[str, typer.Argument(help="The model that was fitted on.", metavar="MODEL")],
    texts: Annotated[list[str], typer.Argument(help="Statements.", metavar="TEXTS...")],
    under: Annotated[str, typer.Option(help="T0, or the kind that was promoted.")] = "T0",
    allow_missing: AllowMissing = False,
    as_json: Json = False,
) -> None:
    """Score statements by a fitted probe: above 0 is taken as true."""
    from groundshift.probes.truth import TruthStability

    scores = TruthStability.load(fitted).score(model, texts, under, allow_missing=allow_missing)
    rows = [
        {"statement": text, "score": float(s), "true": bool(s > 0)}
        for text, s in zip(texts, scores, strict=True)
    ]
    lines = [[number(r["score"]), "true" if r["true"] else "not true", r["statement"]] for r in rows]
    show(rows, table(("score", "taken as", "statement"), lines), as_json=as_json)


def _layer(given: str) -> Any:
    try:
        return int(given)
    except ValueError:
        return given


def _said(found: Any) -> str:
    columns = [
        "promoted",
        "retraction",
        "expansion",
        "flip",
        "low",
        "high",
        "null",
        "cosine",
        "delta_b",
        "turned",
    ]
    rows = found.table()[[*columns, *(c for c in ("sw_true", "sw_false") if c in found.report_)]]
    dropped = ", ".join(
        f"{n:,} {why}" for why, n in {**found.dropped_, "cut off": found.truncated_}.items() if n
    )
    split = found.split_
    sizes = (
        f"{len(split.train):,} to train, {len(split.calibration):,} to calibrate, {len(split.test):,} to test"
    )
    lines = [
        found.verdict_,
        f"({found.layer_}; T0 is right on {found.accuracy_['true']:.0%} of the true and "
        f"{found.accuracy_['false']:.0%} of the false test statements; {sizes}"
        f"{'; left out: ' + dropped if dropped else ''})",
        "",
        rows.to_string(float_format="{:.3f}".format),
    ]
    few = found.report_.index[found.report_["few"]]
    if len(few):
        lines.append(f"\nNo interval, too few test statements: {', '.join(few)}.")
    if found.curve_:
        curve = ", ".join(f"{layer.rpartition('.')[2]}: {area:.2f}" for layer, area in found.curve_.items())
        lines.append(f"\nTrue against not true by layer (area under the curve): {curve}.")
    lines += ["\nWith abstention:", found.conformal_.to_string(float_format="{:.2f}".format)]
    return "\n".join(lines)
