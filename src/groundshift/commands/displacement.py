"""``groundshift displacement …``: preference pairs scored, filtered, trained on, and what training moved."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from groundshift.errors import InputError
from groundshift.lab.console import AllowMissing, Json, Quiet, number, show, table

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="Which preference pairs will make their own chosen answers less likely, and where the probability goes.",
)

PAIRS_HELP = "JSONL, JSON, parquet or a folder of datasets: prompt, chosen, rejected (texts or messages)."
Model = Annotated[str, typer.Argument(help="Directory or id of a causal language model.", metavar="MODEL")]
PairsFile = Annotated[Path, typer.Argument(help=PAIRS_HELP, metavar="PAIRS")]
Template = Annotated[
    Any, typer.Option(help="Of plain texts: chat (through the model's template), none, or auto.")
]
MaxTokens = Annotated[int, typer.Option(help="Of a batch, with its padding.")]
Seed = Annotated[int, typer.Option(help="Random seed.")]


@app.command("score")
def score_pairs(
    model: Model,
    pairs: PairsFile,
    out: Annotated[Path, typer.Option("--out", "-o", help="File to write, .parquet or .csv; must be new.")],
    measures: Annotated[
        str, typer.Option(help="Of ches, ln_ches, edit, last_inner.")
    ] = "ches,ln_ches,edit,last_inner",
    template: Template = "auto",
    max_tokens: MaxTokens = 8192,
    allow_missing: AllowMissing = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Score pairs before training: the higher (ln-)CHES, the more they will displace."""
    import os

    from groundshift.adaptation import displacement as dp
    from groundshift.tables import refuse_overwriting

    refuse_overwriting(out)
    if out.suffix not in (".parquet", ".csv"):
        raise InputError(f"{out} is neither .parquet nor .csv; name one of the two.")
    found = dp.score(
        model,
        pairs,
        measures.split(","),
        template=template,
        max_tokens=max_tokens,
        allow_missing=allow_missing,
    )
    if int(os.environ.get("RANK", 0)):
        return  # under torchrun the first process writes the whole table
    notes = found.attrs.pop("notes")
    if out.suffix == ".parquet":
        found.to_parquet(out)
    else:
        found.to_csv(out, index=False)
    by = "ln_ches" if "ln_ches" in found else measures.split(",")[0]
    worst = found[~found["identical"]].nlargest(5, by)
    data = {"pairs": len(found), "identical": int(found["identical"].sum()), "notes": notes, "out": str(out)}
    lines = [f"{len(found):,} pairs in {out}", *notes]
    lines.append(
        f"most similar answers ({by}): "
        + ", ".join(f"row {r} ({number(v)})" for r, v in zip(worst["row"], worst[by], strict=True))
    )
    show(data, "\n".join(lines), as_json=as_json, quiet=quiet)


@app.command("filter")
def filter_scores(
    scores: Annotated[Path, typer.Argument(help="File written by score.", metavar="SCORES")],
    pairs: PairsFile,
    out: Annotated[Path, typer.Option("--out", "-o", help="JSONL file to write; must be new.")],
    by: Annotated[str, typer.Option(help="Column of the scores.")] = "ln_ches",
    keep: Annotated[float | None, typer.Option(help="Share of the pairs to keep, the lowest scores.")] = None,
    drop: Annotated[float | None, typer.Option(help="Share to drop instead, the highest.")] = None,
    groups: Annotated[
        str, typer.Option(help="Key of the pairs (topic, source) whose shares are told before and after.")
    ] = "",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Keep the pairs with the lowest scores; they are written as they were given."""
    import json

    from groundshift.adaptation import displacement as dp
    from groundshift.tables import read_table, refuse_overwriting

    refuse_overwriting(out)
    rows, found = dp.read_pairs(pairs), read_table(scores)
    if "row" not in found or "identical" not in found or found["row"].max() >= len(rows):
        raise InputError(
            f"{scores} was not written by `groundshift displacement score` for the pairs in {pairs}."
        )
    if groups and (missing := [i for i in found["row"] if groups not in rows[i]]):
        raise InputError(f"{len(missing)} pairs have no {groups!r} (first: row {missing[0]}).")
    labels = [str(rows[i][groups]) for i in found["row"]] if groups else None
    kept = dp.filter_pairs(found, by, keep=keep, drop=drop, groups=labels)
    out.write_text("".join(json.dumps(rows[i], default=_plain) + "\n" for i in kept.rows), encoding="utf-8")
    data: dict[str, Any] = {
        "kept": kept.rows.tolist(),
        "threshold": kept.threshold,
        "note": kept.note,
        "out": str(out),
    }
    if kept.groups is not None:
        data["groups"] = kept.groups.to_dict("index")
    show(data, f"{kept.note}\n{out}", as_json=as_json, quiet=quiet)


def _plain(value: Any) -> Any:
    """Values of parquet that JSON does not know."""
    return value.tolist() if hasattr(value, "tolist") else str(value)


@app.command()
def train(
    model: Model,
    pairs: PairsFile,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for the trained model; must be new or empty.")
    ],
    loss: Annotated[Any, typer.Option(help="dpo, ipo, hinge, dpop or sft.")] = "dpo",
    beta: Annotated[float, typer.Option(help="Of the loss.")] = 0.1,
    sft: Annotated[float, typer.Option(help="Weight of −log π(chosen) beside it.")] = 0.0,
    penalty: Annotated[float, typer.Option(help="λ of dpop.")] = 5.0,
    per_token: Annotated[bool, typer.Option("--per-token", help="Log-probabilities per token.")] = False,
    steps: Annotated[int, typer.Option(help="Optimiser steps; one epoch if 0.")] = 0,
    batch: Annotated[int, typer.Option(help="Pairs in a step.")] = 32,
    lr: Annotated[float, typer.Option(help="Learning rate.")] = 1e-6,
    optimiser: Annotated[str, typer.Option(help="rmsprop, adamw or sgd.")] = "rmsprop",
    lora: Annotated[int, typer.Option(help="Rank of an adapter that alone is trained; 0: all weights.")] = 0,
    every: Annotated[int, typer.Option(help="Look at the pairs every so many steps; 0: never.")] = 0,
    stop: Annotated[
        float, typer.Option(help="Stop when log π(chosen) per token has changed by less than this; 0: never.")
    ] = 0.0,
    template: Template = "auto",
    max_tokens: MaxTokens = 8192,
    seed: Seed = 0,
    allow_missing: AllowMissing = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train on pairs; say what became of the chosen answers on the way."""
    from groundshift.adaptation import displacement as dp

    if stop and not every:
        raise InputError("--stop needs --every, the steps between two looks.")
    monitor = (
        dp.Monitor(pairs, every=every, stop=stop or None, template=template, max_tokens=max_tokens)
        if every
        else None
    )
    tuned = dp.train(
        model, pairs, loss=loss, beta=beta, sft=sft, penalty=penalty, per_token=per_token, steps=steps or None,
        batch=batch, lr=lr, optimiser=optimiser, lora=lora, template=template, max_tokens=max_tokens, seed=seed,
        out=out, on_step=monitor, allow_missing=allow_missing,
    )  # fmt: skip
    last = tuned.history.iloc[-1]
    data = {"steps": len(tuned.history), "last": last.to_dict(), "notes": tuned.notes, "out": str(out)}
    lines = [
        *tuned.notes,
        f"{len(tuned.history)} steps; last batch: loss {number(last['loss'])}, margin {number(last['margin'])}, "
        f"log π(chosen) {last['chosen']:+.3g}, log π(rejected) {last['rejected']:+.3g}",
    ]
    if monitor is not None and monitor.history:
        seen = monitor.history[-1]
        data["watched"] = monitor.history
        lines.append(
            f"all pairs: log π(chosen) {seen['chosen']:+.3g} ({seen['chosen_per_token']:+.3g} per token), displacement "
            f"rate {seen['rate']:.0%}, largest fall on the way {number(monitor.max_decrease)}"
        )
    show(data, "\n".join([*lines, str(out)]), as_json=as_json, quiet=quiet)


@app.command()
def watch(
    base: Annotated[str, typer.Argument(help="Model before training.", metavar="BASE")],
    tuned: Annotated[str, typer.Argument(help="Model after training.", metavar="TUNED")],
    pairs: PairsFile,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder for report.html, report.json and pairs.csv.")
    ] = None,
    samples: Annotated[int, typer.Option(help="Answers that both models sample for every prompt.")] = 0,
    max_new_tokens: Annotated[int, typer.Option(help="Of a sampled answer.")] = 64,
    classes: Annotated[
        Path | None,
        typer.Option(
            help="JSON: class → list of texts; an answer is of the first class one of whose texts it holds."
        ),
    ] = None,
    template: Template = "auto",
    max_tokens: MaxTokens = 8192,
    seed: Seed = 0,
    allow_missing: AllowMissing = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Where did the mass go? Pairs, tokens, and what both models write."""
    from groundshift.adaptation import displacement as dp
    from groundshift.adaptation.displacement.page import sentence
    from groundshift.tables import refuse_filled

    if out is not None:
        refuse_filled(out)
    if classes is not None and not samples:
        raise InputError("--classes needs --samples, how many answers are sampled for every prompt.")
    report = dp.watch(
        base, tuned, pairs, samples=samples, classify=None if classes is None else _classifier(classes),
        max_new_tokens=max_new_tokens, template=template, max_tokens=max_tokens, seed=seed,
        allow_missing=allow_missing,
    )  # fmt: skip
    if out is not None:
        report.write(out, f"{tuned} against {base}")
    lines = [sentence(report), *report.notes]
    for place, part in report.moved.gaining.groupby("place", sort=False):
        gains = ", ".join(
            f"{row.token} {row.gain:+.3f}" for row in part[part["gain"] >= 1e-3].head(4).itertuples()
        )
        lines.append(f"token {place}: {gains or 'no token gained 0.001'}")
    if out is not None:
        lines.append(str(out / "report.html"))
    show(report.to_dict(), "\n".join(lines), as_json=as_json, quiet=quiet)


def _classifier(path: Path) -> Any:
    import json

    try:
        given = json.loads(path.read_text(encoding="utf-8"))
        texts = {str(name): [str(text).casefold() for text in those] for name, those in given.items()}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise InputError(
            f'{path} is no JSON of the form {{"refused": ["I cannot", ...], ...}} ({error}).'
        ) from error

    def classify(answer: str) -> str:
        said = answer.casefold()
        return next((name for name, those in texts.items() if any(text in said for text in those)), "other")

    return classify


@app.command()
def explain(
    model: Model,
    prompt: Annotated[str, typer.Argument(help="As the model reads it.", metavar="PROMPT")],
    chosen: Annotated[
        str, typer.Argument(help="One token, with its leading blank if it has one.", metavar="CHOSEN")
    ],
    rejected: Annotated[str, typer.Argument(help="One token.", metavar="REJECTED")],
    beta: Annotated[float, typer.Option(help="Of DPO.")] = 0.1,
    top: Annotated[int, typer.Option(help="Tokens that gain, and that lose.")] = 5,
    allow_missing: AllowMissing = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """What a first step on one pair of single tokens does to the chosen one, and who gains."""
    from groundshift.adaptation import displacement as dp

    found = dp.first_order(model, prompt, chosen, rejected, beta=beta, top=top, allow_missing=allow_missing)
    data = {
        "w_part": found.w_part, "h_part": found.h_part, "total": found.total, "tokens": found.tokens.to_dict("records")
    }  # fmt: skip
    from rich.console import Group

    word = "falls" if found.total < 0 else "rises"
    text = (
        f"log p({chosen.strip()}) {word}: {number(found.total)} a unit of learning rate = {number(found.w_part)} "
        f"through the unembedding, {number(found.h_part)} through the state"
    )
    columns = ("token", "prob", "logprob", "mass")
    show(
        data,
        Group(text, table(columns, found.tokens[list(columns)].values.tolist())),
        as_json=as_json,
        quiet=quiet,
    )
