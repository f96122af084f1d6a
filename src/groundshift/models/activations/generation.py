"""Completions written by the model, as rows that can be read again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from groundshift.errors import InputError
from groundshift.models.activations.abilities import generates_from_cache, pads_left
from groundshift.models.activations.loading import ProbeModel
from groundshift.models.activations.rows import collate, encode, in_batches

__all__ = ["generate"]


def generate(
    model: ProbeModel,
    rows: Sequence[str | Mapping[str, Any]],
    *,
    max_new_tokens: int,
    seed: int | None = None,
    max_tokens: int = 8192,
    progress: bool = True,
    **options: Any,
) -> list[dict[str, Any]]:
    """Let the model complete rows, in batches; greedily, unless there is a ``seed`` to sample with.

    Batches are padded on the left, with a cache, unless the architecture reads padding as text or its cache is wrong.

    Parameters
    ----------
    rows : without completions, see `encode`
    seed : of sampling; which rows share a batch also matters, and that depends on ``max_tokens``
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
    encoded = encode(model, rows)
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
    ends = model.net.generation_config.eos_token_id
    stop = set(ends) if isinstance(ends, list) else set() if ends is None else {ends}
    written: list[list[int]] = [[] for _ in encoded]

    cached, padded = generates_from_cache(model), pads_left(model)
    if model.recording and not cached:
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
        with torch.inference_mode(), model.reading(batch):
            found = model.net.generate(
                **inputs,
                max_new_tokens=max_new_tokens,
                do_sample=seed is not None,
                use_cache=cached,
                pad_token_id=model.tokenizer.pad_token_id if model.tokenizer.pad_token_id is not None else 0,
                **options,
            )
        for i, ids in zip(numbers, found[:, inputs["input_ids"].shape[1] :].tolist(), strict=True):
            end = next((k + 1 for k, token in enumerate(ids) if token in stop), len(ids))
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
