"""Completions written by the model, as rows that can be read again."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from transformers import GenerationConfig

from groundshift.errors import InputError
from groundshift.models.activations.abilities import generates_from_cache, pads_left
from groundshift.models.activations.loading import ProbeModel
from groundshift.models.activations.rows import collate, encode, in_batches, listed
from groundshift.models.decoding import decoding, ends_of

__all__ = ["generate"]


def generate(
    model: ProbeModel,
    rows: Sequence[str | Mapping[str, Any]],
    *,
    max_new_tokens: int,
    seed: int | None = None,
    config: GenerationConfig | None = None,
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
    asked = [_asked(row) for row in rows]
    encoded = encode(model, asked)
    limit = model.context
    for row in encoded:
        if row.completed or not len(row):
            raise InputError(f"Row {row.index} has a completion already, or no tokens; give prompts.")
        if limit is not None and len(row) + max_new_tokens > limit:
            raise InputError(
                f"Row {row.index} has {len(row)} tokens, which leaves no room for {max_new_tokens} more: the model "
                f"reads {limit}."
            )
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
        if settings.stop_strings:
            options["tokenizer"] = model.tokenizer
    else:
        ours = {"do_sample": True, "temperature": 1.0, "top_k": 0, "top_p": 1.0} if seed is not None else {}
        known = {k: options.pop(k) for k in list(options) if hasattr(GenerationConfig(), k)}
        settings = GenerationConfig(**{**common, "eos_token_id": ends or None, **ours, **known})
    written: list[list[int]] = [[] for _ in encoded]

    if model.recording and not common["use_cache"]:
        raise InputError(
            f"{type(model.net).__name__} ({model.source}) writes without a cache, and so reads every token many times: "
            "record nothing while it writes, and capture what it wrote (positions='predicts')."
        )

    def do(numbers: list[int]) -> None:
        lengths = {0 if padded else len(encoded[i]) for i in numbers}
        for length in lengths:  # rows of one length are not padded
            do_padded([i for i in numbers if padded or len(encoded[i]) == length])

    def do_padded(numbers: list[int]) -> None:
        batch = collate(model, [encoded[i] for i in numbers], "left")
        inputs = {k: v for k, v in batch.inputs.items() if k != "position_ids"}
        with torch.inference_mode(), model.reading(batch), decoding(model.net, settings):
            found = model.net.generate(**inputs, generation_config=settings, **options)
        for i, ids in zip(numbers, found[:, inputs["input_ids"].shape[1] :].tolist(), strict=True):
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


def _asked(row: str | Mapping[str, Any]) -> str | Mapping[str, Any]:
    """A row whose chat, if it ends with the assistant's words, is to be continued."""
    if isinstance(row, str) or row.get("messages") is None or row.get("prompt") is not None:
        return row
    return {**row, "prompt": row["messages"], "messages": None}
