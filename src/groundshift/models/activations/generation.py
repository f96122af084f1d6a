"""Completions written by the model, as rows that can be read again."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import GenerationConfig, StoppingCriteria

from groundshift.errors import InputError
from groundshift.models.activations.abilities import generates_from_cache, pads_left, shares_cache
from groundshift.models.activations.loading import ProbeModel
from groundshift.models.activations.rows import Batch, Row, collate, encode, in_batches, listed
from groundshift.models.decoding import decoding, ends_of

__all__ = ["Prefix", "generate"]


class Prefix:
    """Tokens that many prompts begin with: read once, and their cache serves every prompt (`generate`,
    `option_logprobs`).

    Parameters
    ----------
    model : whose cache it is
    ids : the tokens, at least one

    Attributes
    ----------
    shared : whether the architecture's cache can be repeated and continued; without, `generate` reads whole prompts

    Raises
    ------
    InputError
        More tokens than the model reads.
    """

    def __init__(self, model: ProbeModel, ids: Sequence[int]) -> None:
        self.ids = [int(i) for i in ids]
        limit = model.context
        if limit is not None and len(self.ids) >= limit:
            raise InputError(
                f"The prompts begin with the same {len(self.ids):,} tokens, and {model.source} reads {limit:,}."
            )
        self.shared = shares_cache(model) and model.stretched is None
        self._cache: Any = None
        if self.shared:
            batch = collate(model, [Row(0, np.array(self.ids, np.int32), len(self.ids))])
            with torch.inference_mode(), model.reading(batch):
                read = model.net(**batch.inputs, use_cache=True)
            self._cache = read["cache"] if "cache" in read else read["past_key_values"]

    def begins(self, row: Row) -> bool:
        """Whether a prompt begins with these tokens and goes on, and the cache can be used."""
        n = len(self.ids)
        return self.shared and len(row) > n and row.ids[:n].tolist() == self.ids

    def inputs(self, model: ProbeModel, rows: Sequence[Row]) -> tuple[Batch, dict[str, Any]]:
        """Batch and inputs of transformers' ``generate``: padding stands behind the common tokens."""
        n = len(self.ids)
        rest = [replace(row, ids=row.ids[n:], prompt=len(row) - n) for row in rows]
        batch = collate(model, rest, "left")
        common = torch.tensor([self.ids] * len(rows), device=model.device)
        cache = copy.deepcopy(self._cache)
        cache.batch_repeat_interleave(len(rows))
        return batch, {
            "input_ids": torch.cat([common, batch.inputs["input_ids"]], 1),
            "attention_mask": torch.cat([torch.ones_like(common), batch.inputs["attention_mask"]], 1),
            "cache" if "cache" in model.arguments else "past_key_values": cache,
        }

    def continued(self, model: ProbeModel, rows: Sequence[Row]) -> tuple[Batch, dict[str, Any]]:
        """Batch and inputs of a forward pass over what follows the common tokens; the batch's mask is of all tokens."""
        batch, inputs = self.inputs(model, rows)
        n, mask = len(self.ids), inputs["attention_mask"]
        inputs["input_ids"] = inputs["input_ids"][:, n:]
        if "position_ids" in model.arguments:
            inputs["position_ids"] = (mask.cumsum(1) - 1)[:, n:]
        return replace(batch, inputs={**batch.inputs, "attention_mask": mask}), inputs


def generate(
    model: ProbeModel,
    rows: Sequence[str | Mapping[str, Any]],
    *,
    max_new_tokens: int,
    seed: int | None = None,
    config: GenerationConfig | None = None,
    prefix: Prefix | None = None,
    until: Callable[[str], bool] | None = None,
    max_tokens: int = 8192,
    progress: bool = True,
    **options: Any,
) -> list[dict[str, Any]]:
    """Let the model complete rows, in batches; greedily, unless there is a ``seed`` to sample with.

    Batches are padded on the left, with a cache, unless the architecture reads padding as text or its cache is wrong.

    Greedy is the likeliest token, and sampling is from the model's own distribution at temperature 1: nothing is taken
    from its ``generation_config.json`` but the tokens that end an answer (the tokenizer's, where it names none).

    Parameters
    ----------
    rows : without completions, see `encode`; the assistant's words at the end of a chat are continued
    seed : of sampling; which rows share a batch also matters, and that depends on ``max_tokens``
    config : decode by these settings in place of ours, one answer for each row; ``seed`` is of their sampling
    prefix : tokens that the prompts begin with, whose cache is used; a prompt that does not is read whole
    until : what was written so far -> whether that is enough; with ``config``, too
    options : of transformers' ``generate`` (``temperature``, ``top_p``, ...)

    Returns
    -------
    list of dict
        Each row with ``completion`` (text) and ``completion_ids`` (up to and with the end token), ready for `capture`
        and `score`, which read the same ids.

    Raises
    ------
    InputError
        Rows that have a completion or no tokens, or leave no room in the model's context; an architecture that
        transformers cannot generate from.

    Examples
    --------
    >>> generate(model, ["Once upon"], max_new_tokens=3)[0]["completion"]  # doctest: +SKIP
    ' a time,'
    """
    rows = listed(rows)
    prompts = [_as_prompt(row) for row in rows]
    encoded = encode(model, prompts)
    limit = model.context
    for row in encoded:
        if row.completed or not len(row):
            raise InputError(f"Row {row.index} has a completion already, or no tokens; give prompts.")
        if limit is not None and len(row) + max_new_tokens > limit:
            raise InputError(
                f"Row {row.index} has {len(row)} tokens, which leaves no room for {max_new_tokens} more: the model "
                f"reads {limit}."
            )
    if max_new_tokens < 1:
        raise InputError(f"max_new_tokens={max_new_tokens} was given; at least 1 is needed.")
    if {"num_return_sequences", "num_beams"} & options.keys():
        raise InputError("One answer for each row is written; repeat the rows for more.")
    ends = ends_of(model.net.generation_config, model.tokenizer)
    pad = model.tokenizer.pad_token_id if model.tokenizer.pad_token_id is not None else 0
    padded = pads_left(model)
    common = {
        "max_new_tokens": max_new_tokens, "pad_token_id": pad, "num_return_sequences": 1,
        "use_cache": generates_from_cache(model),
    }  # fmt: skip
    if config is not None:
        ends = ends_of(config) or ends
        settings = copy.deepcopy(config)
        settings.update(**common, max_length=None, eos_token_id=ends or None)
    else:
        ours = {"do_sample": True, "temperature": 1.0, "top_k": 0, "top_p": 1.0} if seed is not None else {}
        known = {k: options.pop(k) for k in list(options) if hasattr(GenerationConfig(), k)}
        settings = GenerationConfig(**{**common, "eos_token_id": ends or None, **ours, **known})
    if settings.stop_strings:
        options["tokenizer"] = model.tokenizer
    written: list[list[int]] = [[] for _ in encoded]

    if model.recording and not common["use_cache"]:
        raise InputError(
            f"{type(model.net).__name__} ({model.source}) writes without a cache, and so reads every token many times: "
            "record nothing while it writes, and capture what it wrote (positions='predicts')."
        )

    # States that are recorded or steered are those of every token.
    cached = common["use_cache"] and not (model.recording or model.steers)

    def do(numbers: list[int]) -> None:
        begun = [i for i in numbers if cached and prefix is not None and prefix.begins(encoded[i])]
        if prefix is not None and begun:
            write(begun, *prefix.inputs(model, [encoded[i] for i in begun]))
            numbers = [i for i in numbers if i not in set(begun)]
        lengths = {0 if padded else len(encoded[i]) for i in numbers}
        for length in lengths:  # rows of one length are not padded
            do_padded([i for i in numbers if padded or len(encoded[i]) == length])

    def do_padded(numbers: list[int]) -> None:
        batch = collate(model, [encoded[i] for i in numbers], "left")
        write(numbers, batch, {k: v for k, v in batch.inputs.items() if k != "position_ids"})

    def write(numbers: list[int], batch: Batch, inputs: dict[str, Any]) -> None:
        width = inputs["input_ids"].shape[1]
        more = {} if until is None else {"stopping_criteria": [_Ended(model.tokenizer, until, width)]}
        with torch.inference_mode(), model.reading(batch), decoding(model.net, settings):
            generated = model.net.generate(**inputs, generation_config=settings, **more, **options)
        for i, ids in zip(numbers, generated[:, width:].tolist(), strict=True):
            end = next((k + 1 for k, token in enumerate(ids) if token in ends), len(ids))
            written[i] = ids[:end]

    lengths = [len(row) + max_new_tokens for row in encoded]
    with torch.random.fork_rng():
        torch.manual_seed(seed or 0)
        in_batches(
            lengths, do, max_tokens=max_tokens, describe="writing", alone=model.stretched, progress=progress
        )
    texts = model.tokenizer.batch_decode(written, skip_special_tokens=True)
    return [
        {**({"text": row} if isinstance(row, str) else row), "completion": text, "completion_ids": ids}
        for row, text, ids in zip(rows, texts, written, strict=True)
    ]


def _as_prompt(row: str | Mapping[str, Any]) -> str | Mapping[str, Any]:
    """A row whose chat, if it ends with the assistant's words, is to be continued."""
    if isinstance(row, str) or row.get("messages") is None or row.get("prompt") is not None:
        return row
    return {**row, "prompt": row["messages"], "messages": None}


class _Ended(StoppingCriteria):
    """Rows of a batch that have said enough."""

    def __init__(self, tokenizer: Any, until: Callable[[str], bool], width: int) -> None:
        self.tokenizer, self.until, self.width = tokenizer, until, width

    def __call__(self, input_ids: Tensor, scores: Any, **_: Any) -> Tensor:
        texts = self.tokenizer.batch_decode(input_ids[:, self.width :], skip_special_tokens=True)
        return torch.tensor([self.until(text) for text in texts], device=input_ids.device)
