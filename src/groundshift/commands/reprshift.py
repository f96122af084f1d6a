"""``groundshift reprshift …``: what tuning changed inside a model, and answers changed without tuning."""

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
    help="Which concepts of a model did tuning move; and vectors that change its answers without training.",
)

Rows = "JSONL with text, messages, or image and text."


@app.command()
def fit(
    base: Annotated[str, typer.Argument(help="Directory or id of the model before tuning.", metavar="BASE")],
    tuned: Annotated[str, typer.Argument(help="After: a model, or a LoRA adapter on BASE.", metavar="TUNED")],
    data: Annotated[Path, typer.Argument(help=Rows, metavar="DATA")],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder to write to; nothing in it is overwritten.")
    ],
    token: Annotated[str, typer.Option(help="Word whose predicting states are compared.")] = "",
    positions: Annotated[str, typer.Option(help="Position rule, where no token is given.")] = "last",
    site: Annotated[str, typer.Option(help="final_norm, or resid_post.L.")] = "final_norm",
    method: Annotated[str, typer.Option(help="kmeans, snmf, pca, svd or simple.")] = "kmeans",
    concepts: Annotated[int, typer.Option("--concepts", "-k", help="How many.")] = 20,
    average: Annotated[str, typer.Option(help="Of shifts: mean, median or trimmed.")] = "mean",
    max_new_tokens: Annotated[
        int, typer.Option(help="Let each model continue the rows first, by so many tokens.")
    ] = 0,
    plot: Annotated[
        Path | None, typer.Option(help="Draw held-out gains to this file (.png, .svg or .pdf).")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, mps, or spread over accelerators.")] = "auto",
    seed: Annotated[int, typer.Option(help="Random seed.")] = 0,
    allow_missing: AllowMissing = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Compare a model's concepts before and after tuning."""
    from groundshift.models.activations import load_model, read_rows
    from groundshift.probes import reprshift
    from groundshift.tables import refuse_filled, refuse_overwriting

    refuse_filled(out)
    if plot is not None:
        refuse_overwriting(plot)
    rows = read_rows(data)
    adapter = (Path(tuned) / "adapter_config.json").is_file()

    def read(name: str, under: str | None = None) -> tuple[Any, Any]:
        """One model is in memory at a time: what is kept of it are its states and its unembedding."""
        model = load_model(name, base=under, device=device, allow_missing=allow_missing)
        acts = reprshift.token_states(
            model, rows, site, token=token or None, positions=positions, max_new_tokens=max_new_tokens,
            progress=not quiet,
        )  # fmt: skip
        return acts, reprshift.Unembedding.of(model, next(iter(acts)))

    before, _ = read(base)
    after, unembedding = read(tuned, base if adapter else None)
    found = reprshift.representation_shift(
        before, after, unembedding=unembedding, method=method, n_concepts=concepts, average=average,
        random_state=seed,
    )  # fmt: skip
    shift = found.shift
    shift.save(out)
    if plot is not None:
        shift.plot().savefig(plot, dpi=150)
    data_out = {**found.to_dict(), "out": str(out)}
    if as_json or quiet:
        show(data_out, "", as_json=as_json, quiet=quiet)
        return
    arms = shift.held_out_
    show(
        data_out,
        f"{len(shift.ids_):,} of {len(rows):,} rows in both at {found.site}; linear CKA "
        f"{number(found.cka[found.site])}\n"
        "held-out gain in cosine: "
        + ", ".join(f"{arm} {number(arms.loc[arm, 'gain'])}" for arm in arms.index)
        + "\nheld-out distance: "
        + ", ".join(f"{arm} {number(arms.loc[arm, 'distance'])}" for arm in arms.index),
    )
    columns = ("consistency", "norm", "held_out", "held_out_global", "held_out_random")
    rows_of_table = []
    for k, row in shift.table_.iterrows():
        words = shift.words(k)
        numbers = [number(float(row[c])) for c in columns]
        rows_of_table.append(
            [k, int(row["size"]), *numbers, *(" ".join(words[w][:3]) for w in ("before", "after"))]
        )
    head = ["concept", "size", "consistency", "norm", "gain", "global", "random", "words before", "after"]
    show(data_out, table(head, rows_of_table))
    show(data_out, str(out))


@app.command("steer")
def steer_model(
    model: Annotated[str, typer.Argument(help="Directory or id of a model.", metavar="MODEL")],
    prompt: Annotated[list[str], typer.Option(help="What to answer; may be given several times.")],
    source: Annotated[
        Path | None, typer.Option("--from", help=f"Rows of the answer to leave. {Rows}")
    ] = None,
    target: Annotated[Path | None, typer.Option("--to", help="Rows of the answer to reach.")] = None,
    vector: Annotated[Path | None, typer.Option(help="A saved vector instead of --from and --to.")] = None,
    layer: Annotated[int, typer.Option(help="Block whose output is changed; -1 is the last.")] = -1,
    positions: Annotated[str, typer.Option(help="Where the states of rows are read.")] = "last",
    alpha: Annotated[float, typer.Option(help="Strength.")] = 1.0,
    where: Annotated[str, typer.Option(help="all, generated, last+generated, from:<position>.")] = "all",
    max_new_tokens: Annotated[int, typer.Option(help="Of an answer.")] = 32,
    save: Annotated[
        Path | None, typer.Option(help="Keep the vector in this .safetensors file; must be new.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, mps, or spread over accelerators.")] = "auto",
    allow_missing: AllowMissing = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Answer with and without a steering vector."""
    from groundshift.models.activations import load_model, read_rows
    from groundshift.probes import reprshift
    from groundshift.tables import refuse_overwriting

    if (vector is None) != (source is not None and target is not None):
        raise InputError("Give --from and --to, or --vector with a file that was saved before.")
    if save is not None:
        refuse_overwriting(save)
    read = None if vector is not None else (read_rows(source), read_rows(target))  # type: ignore[arg-type]
    opened = load_model(model, device=device, allow_missing=allow_missing)
    if read is None:
        v = reprshift.SteeringVector.load(vector)  # type: ignore[arg-type]
    else:
        v = reprshift.vector_from_rows(opened, *read, f"resid_post.{layer}", positions, progress=not quiet)
    if save is not None:
        v.save(save)
    answers = reprshift.steered_answers(
        opened, v, prompt, alpha=alpha, where=where, max_new_tokens=max_new_tokens, progress=not quiet
    )
    data = {
        "site": v.site, "provenance": dict(v.provenance), "answers": answers.assign(prompt=prompt).to_dict("records")
    }  # fmt: skip
    lines = [f"{v.site}, length {number(float(v.provenance['norm']))}, alpha {number(alpha)}"]
    for asked, row in zip(prompt, answers.itertuples(), strict=True):
        lines += [asked, f"  plain:   {row.plain}", f"  steered: {row.steered}"]
    show(data, "\n".join(lines), as_json=as_json, quiet=quiet)
