"""Log-probabilities of given tokens, without ever keeping a (B, T, V) of logits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from groundshift.errors import InputError
from groundshift.models.activations.abilities import continuation, pads_left, shares_cache
from groundshift.models.activations.loading import ProbeModel
from groundshift.models.activations.rows import (
    Batch,
    Row,
    behind,
    collate,
    encode,
    in_batches,
    listed,
    pieces,
)

if TYPE_CHECKING:
    from groundshift.models.activations.generation import Prefix

__all__ = ["option_logprobs", "read_scores", "targets", "token_scores"]

LOGITS = 2**24  # entries of a block of logits that is in memory at once


def targets(model: ProbeModel, row: Row) -> list[int]:
    """Positions of the tokens that are scored."""
    first = max(row.prompt if row.completed else 1, 1)
    return [k for k in range(first, len(row)) if int(row.ids[k]) not in model.image_ids]


def head_is_plain(model: ProbeModel) -> bool:
    """Whether the unembedding of the body's states gives the model's own logits, with nothing after it."""
    some = [i for i in range(2, 40) if i not in model.image_ids][:6]
    batch = collate(model, [Row(0, np.array(some, np.int32), len(some))])
    with torch.inference_mode(), model.reading(batch):
        own = model.net(**batch.inputs, use_cache=False).logits
        ours = unembed(model, model.body(**batch.inputs, use_cache=False).last_hidden_state)
    return ours.shape == own.shape and torch.allclose(ours.float(), own.to(ours.device).float(), 1e-3, 1e-3)


def unembed(model: ProbeModel, states: Tensor) -> Tensor:
    head = model.net.get_output_embeddings()
    weight = head.weight
    # Mamba keeps its states in float32, whatever the weights are.
    return head(states.to(weight.device, weight.dtype if weight.is_floating_point() else states.dtype))


def read_scores(model: ProbeModel, batch: Batch, plain: bool, top_k: int) -> dict[str, NDArray[Any]]:
    """Scores of a batch in one pass; ``plain`` says what `head_is_plain` found."""
    source = read_source(model, batch, plain)
    hidden, logits = (source, None) if plain else (None, source)
    return token_scores(model, batch, hidden, logits, top_k)


def read_source(model: ProbeModel, batch: Batch, plain: bool) -> Tensor:
    """What the logits of a batch come from: its last hidden states, or where the head is not plain the logits."""
    if plain:
        states: Tensor = model.body(**batch.inputs, use_cache=False).last_hidden_state
        return states
    logits: Tensor = model.net(**batch.inputs, use_cache=False).logits
    return logits


def logits_at(model: ProbeModel, source: Tensor, plain: bool, line: Tensor, place: Tensor) -> Tensor:
    """Logits (n, V) in float32 at n places of a batch, from what `read_source` gave."""
    picked = source[line.to(source.device), place.to(source.device)]
    return (unembed(model, picked) if plain else picked).float()


def logit_blocks(
    model: ProbeModel, source: Tensor, plain: bool, line: Tensor, place: Tensor
) -> Iterator[tuple[slice, Tensor]]:
    """The same in blocks, so that the logits of all places are never in memory at once."""
    vocabulary = model.net.config.get_text_config().vocab_size
    for part in pieces(len(line), max(1, LOGITS // vocabulary)):
        yield part, logits_at(model, source, plain, line[part], place[part])


def token_scores(
    model: ProbeModel, batch: Batch, hidden: Tensor | None, logits: Tensor | None, top_k: int
) -> dict[str, NDArray[Any]]:
    """Scores of a batch from its last states, or from its logits where the head is not plain."""
    b, t, target = [], [], []
    for line, row in enumerate(batch.rows):
        scored = targets(model, row)
        b += [line] * len(scored)
        t += [int(batch.start[line]) + k - 1 for k in scored]
        target += [int(row.ids[k]) for k in scored]
    source = hidden if logits is None else logits
    assert source is not None
    places = torch.tensor(b, dtype=torch.long), torch.tensor(t, dtype=torch.long)
    parts: dict[str, list[Tensor]] = {}
    for part, z in logit_blocks(model, source, logits is None, *places):
        own = z.gather(1, torch.tensor(target[part], device=z.device)[:, None])
        total = z.logsumexp(1)
        scores = {
            "logprob": own[:, 0] - total,
            "rank": (z > own).sum(1).int() + 1,
            "logsumexp": total,
        }
        if top_k:
            best = z.topk(top_k, 1)
            scores |= {"top_logprob": best.values - total[:, None], "top_id": best.indices.int()}
        for name, values in scores.items():
            parts.setdefault(name, []).append(values.cpu())
    return {name: torch.cat(values).numpy() for name, values in parts.items()}


def option_logprobs(
    model: ProbeModel,
    prompts: Sequence[str | Mapping[str, Any]],
    options: Sequence[Any],
    normalise: Literal["sum", "mean", "first"] = "sum",
    *,
    prefix: Prefix | None = None,
    max_tokens: int = 8192,
    progress: bool = True,
) -> NDArray[np.float64]:
    """Log-probability of each option after each prompt. A prompt is read once, and its cache serves all its options;
    with architectures whose cache does not allow that, it is read with each option.

    Parameters
    ----------
    prompts : rows without completions, see `encode`
    options : texts, for all prompts, or a list of them for each; a leading space belongs to the option
    normalise : "sum" over an option's tokens, their "mean", or the "first" alone
    prefix : tokens that the prompts begin with, whose cache is used; a prompt that does not is read whole

    Returns
    -------
    float64 (prompts, options)
        NaN where a prompt has fewer options than another.

    Raises
    ------
    InputError
        An option without tokens; two options of a prompt with the same first token under "first"; prompts without
        tokens, or longer than the model's context.

    Examples
    --------
    >>> option_logprobs(model, ["2 + 2 ="], [" 4", " 5"]).argmax(1)  # doctest: +SKIP
    array([0])
    """
    if normalise not in ("sum", "mean", "first"):
        raise InputError(f"normalise={normalise!r} was given; choose sum, mean or first.")
    prompts = listed(prompts)
    rows = encode(model, prompts)
    same = len(options) > 0 and isinstance(options[0], str)
    each: list[list[str]] = [list(options)] * len(rows) if same else [list(those) for those in options]
    if len(each) != len(rows) or not all(each):
        raise InputError(
            f"{len(each)} lists of options for {len(rows)} prompts; one for each, not empty, is needed."
        )
    options_of_rows = [(i, str(option)) for i, those in enumerate(each) for option in those]
    read = behind(model, [prompts[i] for i, _ in options_of_rows], [option for _, option in options_of_rows])
    tails: list[list[list[int]]] = [[] for _ in rows]
    for (i, option), tokens in zip(options_of_rows, read, strict=True):
        tails[i].append(tokens.answer)
        if not tokens.answer:
            raise InputError(f"The option {option!r} has no tokens.")
    if normalise == "first":
        for i, those in enumerate(each):
            seen: dict[int, str] = {}
            for option, ids in zip(those, tails[i], strict=True):
                other = seen.setdefault(ids[0], option)
                if other != option:
                    raise InputError(
                        f"The options {other!r} and {option!r} of prompt {i} begin with the same token, so 'first' "
                        "cannot tell them apart; use sum or mean."
                    )
    limit = model.context
    for i, row in enumerate(rows):
        whole = len(row) + max(map(len, tails[i]))
        if not len(row) or row.completed or (limit and whole > limit):
            raise InputError(
                f"Prompt {i} has {len(row)} tokens{' and a completion' * row.completed}, {whole} with its longest "
                f"option; prompts need tokens, no completion, and at most {limit} in all."
            )
    logprobs = np.full((len(rows), max(map(len, each))), np.nan)
    batched = partial(
        in_batches,
        max_tokens=max_tokens,
        describe="scoring options",
        alone=model.stretched,
        progress=progress,
    )
    short = normalise == "first" or all(len(tail) == 1 for those in tails for tail in those)
    longest = max(len(row) + max(map(len, those)) for row, those in zip(rows, tails, strict=True))
    if not (short or (shares_cache(model) and longest <= (model.stretched or longest))):
        places = [(i, k) for i, those in enumerate(tails) for k in range(len(those))]
        apart = [replace(rows[i], ids=_joined(rows[i], tails[i][k]), completed=True) for i, k in places]
        logprobs[tuple(zip(*places, strict=True))] = _sums(model, apart, batched)
    else:

        def begins(row: Row) -> bool:
            # States that are recorded or steered are those of every token.
            return prefix is not None and not (model.recording or model.steers) and prefix.begins(row)

        def do(numbers: list[int]) -> None:
            begun = {i for i in numbers if begins(rows[i])}
            for start, own in ((prefix, sorted(begun)), (None, [i for i in numbers if i not in begun])):
                if own:
                    batch, lists = [rows[i] for i in own], [tails[i] for i in own]
                    with torch.inference_mode():
                        for i, values in zip(own, _options(model, batch, lists, short, start), strict=True):
                            logprobs[i, : len(values)] = values

        lengths = [
            (len(row) + max(map(len, those))) * len(those) for row, those in zip(rows, tails, strict=True)
        ]
        batched(lengths, do)
    if normalise == "mean":
        for i, own in enumerate(tails):
            logprobs[i, : len(own)] /= list(map(len, own))
    return logprobs


def _joined(row: Row, tail: Sequence[int]) -> NDArray[np.int32]:
    return np.array([*row.ids, *tail], np.int32)


def _sums(model: ProbeModel, rows: list[Row], batched: Callable[..., None]) -> NDArray[np.float64]:
    """Log-probability of each row's completion, in a pass of its own."""
    sums, plain = np.empty(len(rows)), head_is_plain(model)

    def do(numbers: list[int]) -> None:
        batch = collate(model, [rows[i] for i in numbers])
        with torch.inference_mode(), model.reading(batch):
            logprobs = read_scores(model, batch, plain, 0)["logprob"]
        ends = np.cumsum([len(targets(model, row)) for row in batch.rows])
        sums[numbers] = [part.sum(dtype=np.float64) for part in np.split(logprobs, ends[:-1])]

    batched([len(row) for row in rows], do)
    return sums


def _options(
    model: ProbeModel, rows: list[Row], lists: list[list[list[int]]], short: bool, prefix: Prefix | None
) -> list[list[float]]:
    """Sums over the tokens of each row's options, or with ``short`` their first tokens alone."""
    padded = prefix is not None or not short or pads_left(model)
    if prefix is None:
        batch = collate(model, rows, "left" if padded else "right")
    else:
        batch, inputs = prefix.continued(model, rows)
    with model.reading(batch):
        if prefix is not None:
            read = model.net(**inputs, use_cache=True, **_last_only(model))
            last = read.logits[:, -1]
        elif padded:
            read = model.net(**batch.inputs, use_cache=not short, **_last_only(model))
            last = read.logits[:, -1]
        else:
            logits = model.net(**batch.inputs, use_cache=False).logits
            last = torch.stack([z[len(row) - 1] for z, row in zip(logits, rows, strict=True)])
        first = last.float().log_softmax(-1)
        logprobs = [[float(first[b, o[0]]) for o in those] for b, those in enumerate(lists)]
        if short:
            return logprobs
        inputs, _ = continuation(model, batch, read, lists)
        logits = model.net(**inputs).logits
    most = max(map(len, lists))
    for b, those in enumerate(lists):
        for k, option in enumerate(those):
            if len(option) > 1:
                z = logits[b * most + k, : len(option) - 1].float().log_softmax(-1)
                rest = z.gather(1, torch.tensor(option[1:], device=z.device)[:, None])
                logprobs[b][k] += float(rest.sum())
    return logprobs


def _last_only(model: ProbeModel) -> dict[str, int]:
    import inspect

    return (
        {"logits_to_keep": 1} if "logits_to_keep" in inspect.signature(model.net.forward).parameters else {}
    )
