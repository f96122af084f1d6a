"""States of a network at chosen sites and positions, for many rows, in memory or in a folder."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from torch import Tensor, distributed

from groundshift import __version__
from groundshift.errors import InputError
from groundshift.models.activations.abilities import pads_left
from groundshift.models.activations.cache import Acts, BySite, Layout, Store, merge, open_acts
from groundshift.models.activations.loading import ProbeModel
from groundshift.models.activations.positions import Follower, Where, check_where, chosen, rules, where_mask
from groundshift.models.activations.rows import Batch, Row, collate, encode, in_batches
from groundshift.models.activations.scoring import head_is_plain, read_scores, targets
from groundshift.models.activations.sites import Site, find_sites

__all__ = ["capture", "record", "score"]


class _Enough(Exception):
    """Everything that is wanted of a pass has been seen."""


def capture(
    model: ProbeModel,
    rows: Sequence[str | Mapping[str, Any]],
    sites: str | Sequence[str],
    positions: str | int | Sequence[str | int] = "last",
    *,
    reduce: Literal["mean", "sum"] | None = None,
    top_k: int | None = None,
    out: str | Path | None = None,
    dtype: Literal["float32", "float16"] = "float32",
    max_tokens: int = 8192,
    padding: Literal["left", "right"] = "right",
    shard: tuple[int, int] | None = None,
    progress: bool = True,
) -> Acts:
    """Run rows through a model, once, and keep its states at the sites and positions wanted.

    Rows are sorted by length and read in batches; only the wanted positions leave the device, and blocks after the
    deepest site are not run. What is kept does not
    depend on padding or on which rows are read together (to 1e-5 in float32).

    Parameters
    ----------
    rows : see `encode`
    sites : see `find_sites`; none for scores alone
    positions : see `rules`
    reduce : one state per row: the mean or the sum over its positions, in float32
    top_k : also score the tokens, from the same pass, and keep so many of the likeliest; see `score`
    out : folder for ``meta.json`` and a ``<site>.npy`` each; a killed run goes on there, a finished one is read
    dtype : of what is kept
    max_tokens : of a batch, with its padding; halved when memory runs out
    shard : (r, W): only the rows r, r + W, ... to ``out/shard-r``, see `merge`. Under torchrun that is done by itself.

    Returns
    -------
    Acts
        Rows without the position are left out, and listed with the reason in ``acts.dropped``.

    Raises
    ------
    InputError
        No row has the positions; states that are not finite, or too large for float16, with site and rows; a folder
        with something else in it. See also `encode`, `find_sites`, `rules`.

    Examples
    --------
    >>> acts = capture(model, ["Riga is in Latvia."], ["resid_post.-1"], "last")  # doctest: +SKIP
    >>> acts["resid_post.11"].shape  # doctest: +SKIP
    (1, 768)
    """
    if dtype not in ("float32", "float16"):
        raise InputError(f"dtype={dtype!r} was given; choose float32 or float16.")
    if shard is None and (world := int(os.environ.get("WORLD_SIZE", 1))) > 1:
        return _by_torchrun(
            model, rows, sites, positions, world, out,
            reduce=reduce, top_k=top_k, dtype=dtype, max_tokens=max_tokens, padding=padding, progress=progress,
        )  # fmt: skip
    if padding == "left" and not pads_left(model):
        raise InputError(
            f"{type(model.net).__name__} ({model.source}) reads padding in front of a row as text; leave padding=left "
            "out."
        )
    places = find_sites(model, sites)
    position_rules = rules(model, positions)
    if position_rules[0].name == "mean":
        reduce = "mean"
    one = reduce is not None or (len(position_rules) == 1 and position_rules[0].one)
    encoded = encode(model, rows)
    if shard is not None:
        encoded = encoded[shard[0] :: shard[1]]
    kept, at, dropped = _choose(model, encoded, position_rules if places else None, top_k is not None)

    widths = {s.name: model.width for s in places}
    if "embed" in widths:
        widths["embed"] = model.net.get_input_embeddings().weight.shape[1]
    counts = np.array([1 if reduce else len(p) for p in at], np.int64)
    layouts = {s.name: Layout(counts, (widths[s.name],), dtype, one, "states") for s in places}
    if top_k is not None:
        tokens = np.array([len(targets(model, row)) for row in kept], np.int64)
        for name, kind in (("logprob", "float32"), ("rank", "int32"), ("logsumexp", "float32")):
            layouts[name] = Layout(tokens, (), kind, False, "tokens")
        for name, kind in (("top_logprob", "float32"), ("top_id", "int32")) if top_k else ():
            layouts[name] = Layout(tokens, (top_k,), kind, False, "tokens")
    meta = {
        "versions": {"groundshift": __version__, "transformers": transformers.__version__},
        **model.fingerprint(),
        "blocks": len(model.layers) if places else None,
        "positions": [rule.name for rule in position_rules],
        "reduce": reduce,
        "top_k": top_k,
        "dtype": dtype,
        "arrays": {name: lay.group for name, lay in layouts.items()},
        "tail": {name: len(lay.tail) for name, lay in layouts.items()},
        "one": [name for name, lay in layouts.items() if lay.one],
        "rows": _fingerprint(encoded),
        "shard": shard,
    }
    folder = out if out is None or shard is None else Path(out) / f"shard-{shard[0]}"
    store = Store(layouts, np.array([row.index for row in kept], np.int64), dropped, meta, folder)
    if store.done == len(kept):
        return store.acts()
    plain = top_k is None or head_is_plain(model)

    def do(numbers: list[int]) -> None:
        batch = collate(model, [kept[i] for i in numbers], padding)
        with torch.inference_mode(), model.reading(batch), ExitStack() as hooks:
            states = _listen(hooks, places, batch, [at[i] for i in numbers], reduce, stop=top_k is None)
            arrays: dict[str, NDArray[Any]] = {}
            if top_k is None:
                with contextlib.suppress(_Enough):
                    model.body(**batch.inputs, use_cache=False)
            else:
                arrays = read_scores(model, batch, plain, top_k)
        for name, state in states.items():
            arrays[name] = _checked(state, name, dtype, batch, counts[numbers])
        store.put(numbers, arrays)

    in_batches(
        [len(row) for row in kept],
        do,
        max_tokens=max_tokens,
        describe="reading",
        done=store.done,
        alone=model.stretched,
        progress=progress,
    )
    return store.acts()


def score(
    model: ProbeModel,
    rows: Sequence[str | Mapping[str, Any]],
    *,
    top_k: int = 0,
    out: str | Path | None = None,
    max_tokens: int = 8192,
    progress: bool = True,
) -> Acts:
    """Teacher-forced log-probabilities, by token, of completions (without one: of the text after its first token).

    Parameters
    ----------
    rows : see `encode`
    top_k : the most likely tokens that are kept beside, for each token
    out, max_tokens : see `capture`

    Returns
    -------
    Acts
        Flat over tokens, natural logarithms, in float32: ``logprob``, ``rank`` (1 is the most likely; int32),
        ``logsumexp``, and with ``top_k`` ``top_logprob`` and ``top_id`` (M, k). ``row("logprob", k)`` is one row,
        ``totals("logprob")`` the sum of each. Image tokens are not scored.

    Raises
    ------
    InputError
        Rows without a token to score.

    Examples
    --------
    >>> scores = score(model, [{"prompt": "two and two", "completion": " is four"}])  # doctest: +SKIP
    >>> scores.totals("logprob")  # doctest: +SKIP
    array([-9.13])
    """
    return capture(model, rows, [], top_k=top_k, out=out, max_tokens=max_tokens, progress=progress)


def _choose(
    model: ProbeModel, encoded: list[Row], wanted: Any, scored: bool
) -> tuple[list[Row], list[list[int]], dict[int, str]]:
    """Rows that have the positions, the positions, and why the others were dropped."""
    kept: list[Row] = []
    at: list[list[int]] = []
    dropped: dict[int, str] = {}
    limit = model.context
    mute = [row.index for row in encoded if scored and not targets(model, row)]
    if mute:
        raise InputError(f"{len(mute)} rows have no token to score (first: {mute[:5]}); leave them out.")
    for row in encoded:
        positions = chosen(model, row, wanted) if wanted is not None else []
        if limit is not None and len(row) > limit:
            positions = f"{len(row)} tokens, and the model reads {limit}"
        if isinstance(positions, str):
            dropped[row.index] = positions
        else:
            kept.append(row)
            at.append(positions)
    if not kept:
        reasons = "; ".join(sorted(set(dropped.values()))[:3])
        words = [
            model.tokenizer.convert_ids_to_tokens(list(s)) for rule in wanted or () for s in rule.sequences
        ]
        looked = f" Looked for the tokens {' or '.join(map(str, words))}." if words else ""
        raise InputError(f"None of {len(encoded)} rows has the positions wanted ({reasons}).{looked}")
    return kept, at, dropped


def _listen(
    hooks: ExitStack,
    places: Sequence[Site],
    batch: Batch,
    at: Sequence[Sequence[int]],
    reduce: str | None,
    stop: bool,
) -> dict[str, Tensor]:
    """Hooks that copy the states at the positions ``at`` to the host, one after the other, (M, D), or (B, D).

    With ``stop``, the last of them ends the pass: the blocks after the deepest site are not run.
    """
    line = torch.tensor([b for b, row in enumerate(at) for _ in row], dtype=torch.long)
    column = torch.tensor([p for row in at for p in row], dtype=torch.long) + batch.start.cpu()[line]
    states: dict[str, Tensor] = {}

    def visit(name: str, state: Tensor) -> None:
        picked = state.detach()[line.to(state.device), column.to(state.device)]
        if reduce:
            each = torch.zeros(len(at), state.shape[-1], device=state.device)
            picked = each.index_add_(0, line.to(state.device), picked.float())
            if reduce == "mean":
                picked = picked / torch.tensor([[len(row)] for row in at], device=state.device)
        states[name] = picked.cpu()
        if stop and len(states) == len(places):
            raise _Enough

    for site in places:
        hooks.callback(site.hook(partial(visit, site.name)).remove)
    return states


def _checked(
    state: Tensor, name: str, dtype: str, batch: Batch, counts: NDArray[np.int64]
) -> NDArray[np.float32 | np.float16]:
    values = state.float().numpy()
    with np.errstate(over="ignore"):
        cast = values.astype(dtype)
    if np.isfinite(cast).all():
        return cast
    of = np.repeat([row.index for row in batch.rows], counts)
    bad = sorted(set(of[~np.isfinite(cast).all(1)].tolist()))
    if np.isfinite(values).all():
        raise InputError(
            f"States of {name} are too large for float16 (up to {np.abs(values).max():.3g}; rows {bad[:5]}); keep them "
            "as float32."
        )
    raise InputError(
        f"States of {name} are not finite (rows {bad[:5]}); load the model with dtype='float32' or 'bfloat16'."
    )


def _fingerprint(rows: Sequence[Row]) -> str:
    digest = hashlib.sha256()
    for row in rows:
        digest.update(f"{row.index} {len(row)} {row.prompt} {json.dumps(row.spans, sort_keys=True)}".encode())
        digest.update(row.ids.tobytes())
        for image in row.images:
            digest.update(
                Path(image).read_bytes() if isinstance(image, str | Path) else np.asarray(image).tobytes()
            )
    return digest.hexdigest()


def _by_torchrun(
    model: ProbeModel,
    rows: Any,
    sites: Any,
    positions: Any,
    world: int,
    out: str | Path | None,
    **options: Any,
) -> Acts:
    """Rank r reads the rows r, r + W, ...; rank 0 puts the shards together."""
    if out is None:
        raise InputError("Under torchrun several processes write one result; give out=, the folder for it.")
    if not distributed.is_initialized():
        distributed.init_process_group("gloo", timeout=timedelta(days=7))  # ranks may finish hours apart
    rank = distributed.get_rank()
    capture(model, rows, sites, positions, out=out, shard=(rank, world), **options)
    distributed.barrier()
    if rank == 0:
        merge(out, world)
    distributed.barrier()
    return open_acts(out)


@contextlib.contextmanager
def record(
    model: ProbeModel, sites: str | Sequence[str], where: Where = "last+generated"
) -> Iterator[dict[str, dict[int, NDArray[np.float32]]]]:
    """Keep the states of passes that you run yourself, a cached generation above all.

    Parameters
    ----------
    where : as for `steer`. "last+generated" keeps, of a generation of N tokens, the N states that predicted them: that
        of the prompt's last token and N − 1 of its own (the last token is never read).

    Yields
    ------
    dict
        Filled when the block ends: site (blocks may be counted from the end) → row → (n, D), float32. Rows are numbers
        in what `generate` was given, else lines of the pass.

    Examples
    --------
    >>> with record(model, "resid_post.-1") as states:  # doctest: +SKIP
    ...     rows = generate(model, ["a photo of"], max_new_tokens=5)
    >>> states["resid_post.11"][0].shape  # doctest: +SKIP
    (5, 768)
    """
    check_where(where)
    places = find_sites(model, sites)
    parts: dict[str, list[tuple[list[int], Tensor]]] = {site.name: [] for site in places}
    arrays: dict[str, dict[int, NDArray[np.float32]]] = BySite({}, len(model.layers))
    follower = Follower(model)

    def visit(name: str, state: Tensor) -> None:
        if model.trying:
            return
        mask = where_mask(where, follower).to(state.device)
        lines = mask.nonzero()[:, 0].tolist()
        known = {b: b if (row := follower.row(b)) is None else row.index for b in set(lines)}
        parts[name].append(([known[b] for b in lines], state.detach()[mask].float().cpu()))

    with ExitStack() as hooks:
        hooks.callback(follower.attach().remove)
        for site in places:
            hooks.callback(site.hook(partial(visit, site.name)).remove)
        hooks.callback(setattr, model, "recording", model.recording)
        model.recording = True
        yield arrays
    for name, passes in parts.items():
        numbers = np.array([n for those, _ in passes for n in those], np.int64)
        states = torch.cat([state for _, state in passes]).numpy() if passes else np.empty((0, 0), np.float32)
        arrays[name] = {int(n): states[numbers == n] for n in np.unique(numbers)}
