"""``groundshift activations …``: the hidden states of a user's own language model, kept in a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from groundshift.commands.verbs import group
from groundshift.lab.console import AllowMissing, Json, Quiet, show

app = group("activations", "Hidden states of a language model at chosen sites and positions.")

SITE_HELP = (
    "embed, final_norm, or resid_pre.L, resid_post.L, attn_out.L, mlp_out.L; L: 12, -1, 4:12 or all. Repeat."
)
POSITIONS_HELP = (
    "last, all, mean, an integer, span:LABEL, token:WORD, predicts:WORD, predicts, generated, image or text."
)


# By hand: a capture that was killed goes on in its folder, while the builder's --out must be new.
@app.command()
def capture(
    model: Annotated[
        str, typer.Argument(help="Directory of a model or adapter, or a hub id.", metavar="MODEL")
    ],
    data: Annotated[
        Path, typer.Argument(help="JSONL: text, or prompt and completion, image, spans.", metavar="DATA")
    ],
    site: Annotated[list[str], typer.Option(help=SITE_HELP)],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder to write to; a run that was killed goes on there.")
    ],
    positions: Annotated[str, typer.Option(help=POSITIONS_HELP)] = "last",
    top_k: Annotated[
        int, typer.Option(help="Also score the tokens, and keep so many of the likeliest.")
    ] = -1,
    dtype: Annotated[str, typer.Option(help="Precision of what is kept: float32 or float16.")] = "float32",
    max_tokens: Annotated[
        int, typer.Option(help="Largest number of tokens of a batch, with its padding.")
    ] = 8192,
    base: Annotated[str, typer.Option(help="Model under an adapter, if not the one it names.")] = "",
    device: Annotated[
        str, typer.Option(help="Where the model runs: auto, cpu, cuda, mps, or spread over accelerators.")
    ] = "auto",
    model_dtype: Annotated[
        str, typer.Option(help="Precision of the model: auto, float32, bfloat16 or float16.")
    ] = "auto",
    trust_remote_code: Annotated[bool, typer.Option(help="Run code that comes with the model.")] = False,
    trust_pickle: Annotated[
        bool, typer.Option(help="Read weights from .bin files, which can run code.")
    ] = False,
    allow_missing: AllowMissing = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Run rows through a model once, and keep its hidden states."""
    from groundshift.models import activations

    rows = activations.read_rows(data)
    loaded = activations.load_model(
        model,
        base=base or None,
        device=device,
        dtype=model_dtype,
        trust_remote_code=trust_remote_code,
        trust_pickle=trust_pickle,
        allow_missing=allow_missing,
    )
    acts = activations.capture(
        loaded,
        rows,
        site,
        positions,
        top_k=None if top_k < 0 else top_k,
        out=out,
        dtype=dtype,  # type: ignore[arg-type]
        max_tokens=max_tokens,
        progress=not quiet,
    )
    report = {
        "arrays": {name: list(array.shape) for name, array in acts.items()},
        "rows": len(acts.rows),
        "dropped": acts.dropped,
    }
    lines = [f"{name}: {' × '.join(map(str, array.shape))} {array.dtype}" for name, array in acts.items()]
    if acts.dropped:
        first, why = next(iter(acts.dropped.items()))
        lines.append(f"{len(acts.dropped)} of {len(rows)} rows dropped (row {first}: {why})")
    show(report, "\n".join([*lines, str(out)]), as_json=as_json, quiet=quiet)
