"""What a network can do besides a plain pass: be padded on the left, share a cache, generate with one.

Architectures differ in this and do not say so: recurrent ones read padding as text, or have a cache that several tokens
at once cannot continue. So each of these is tried, once for a network, on a few tokens against plain passes of one row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor, nn
from transformers import GenerationConfig
from transformers.cache_utils import DynamicCache, DynamicLayer, DynamicSlidingWindowLayer

from groundshift.errors import InputError
from groundshift.models.activations.loading import ProbeModel
from groundshift.models.activations.rows import Batch, Row, collate
from groundshift.models.decoding import decoding

__all__ = ["continuation", "generates_from_cache", "pads_left", "shares_cache"]

SHORT, LONG, MORE = 4, 9, 3  # tokens of the two rows that are tried, and of what continues them
ATTENTION = (DynamicLayer, DynamicSlidingWindowLayer)  # caches of keys and values, which can be repeated
TRIED: WeakKeyDictionary[nn.Module, dict[str, bool]] = WeakKeyDictionary()
Trial = Callable[[ProbeModel], bool]


def _once(trial: Trial) -> Trial:
    """Try a network once; one that fails in the trial is not able."""

    @wraps(trial)
    def answer(model: ProbeModel) -> bool:
        known = TRIED.setdefault(model.net, {})
        if trial.__name__ not in known:
            model.trying = True
            try:
                with torch.inference_mode():
                    known[trial.__name__] = trial(model)
            except (AttributeError, KeyError, NotImplementedError, RuntimeError, TypeError, ValueError):
                known[trial.__name__] = False
            finally:
                model.trying = False
        return known[trial.__name__]

    return answer


@_once
def pads_left(model: ProbeModel) -> bool:
    """Whether padding in front of a row changes nothing; a network that reads it as text must not be padded there."""
    rows = _rows(model)
    batch = collate(model, rows, "left")
    with model.reading(batch):
        logits = model.net(**batch.inputs, use_cache=False).logits
    own = [z[int(start) :] for z, start in zip(logits, batch.start, strict=True)]
    return _alike(own, [_plain(model, row.ids) for row in rows])


@_once
def shares_cache(model: ProbeModel) -> bool:
    """Whether the cache of prompts, padded on the left, can be repeated and continued by several tokens at once."""
    rows = _rows(model)
    batch = collate(model, rows, "left")
    tails = [[row.ids[:MORE].tolist(), row.ids[-MORE:].tolist()] for row in rows]
    with model.reading(batch):
        read = model.net(**batch.inputs, use_cache=True)
        cache = read["cache"] if "cache" in read else read["past_key_values"]
        if type(cache) is not DynamicCache or any(type(layer) not in ATTENTION for layer in cache.layers):
            return False
        inputs, _ = continuation(model, batch, read, tails)
        logits = model.net(**inputs).logits
    whole = [
        _plain(model, [*row.ids, *tail])[len(row) : -1]
        for row, those in zip(rows, tails, strict=True)
        for tail in those
    ]
    return _alike(list(logits), whole)


def generates_from_cache(model: ProbeModel) -> bool:
    """Whether transformers' own generation may keep a cache.

    Raises
    ------
    InputError
        It is wrong, or fails, without a cache, too.
    """
    if _generates_cached(model):
        return True
    if _generates_plain(model):
        return False
    raise InputError(
        f"{type(model.net).__name__} ({model.source}) cannot be generated from: what transformers' generate writes is "
        "not what its forward pass predicts. Its probabilities and hidden states can be read."
    )


@_once
def _generates_cached(model: ProbeModel) -> bool:
    return _generates(model, True)


@_once
def _generates_plain(model: ProbeModel) -> bool:
    return _generates(model, False)


def _generates(model: ProbeModel, cached: bool) -> bool:
    row = _rows(model)[-1]
    batch = collate(model, [row])
    inputs = {k: v for k, v in batch.inputs.items() if k != "position_ids"}
    settings = GenerationConfig(
        max_new_tokens=MORE, min_new_tokens=MORE, use_cache=cached, output_logits=True, return_dict_in_generate=True,
        pad_token_id=0,
    )  # fmt: skip
    with model.reading(batch), decoding(model.net, settings):
        generated = model.net.generate(**inputs, generation_config=settings)
    whole = _plain(model, generated.sequences[0].tolist())[len(row) - 1 : -1]
    return _alike([torch.cat(generated.logits)], [whole], refuses=True)


def continuation(
    model: ProbeModel, batch: Batch, read: Any, tails: Sequence[Sequence[Sequence[int]]]
) -> tuple[dict[str, Any], Tensor]:
    """Inputs of a second pass, in which several tails continue each row of a batch from its cache.

    Parameters
    ----------
    batch : padded on the left
    read : what the network gave for it, with its cache, which is used up
    tails : for each row its tails, token ids; their last tokens are not fed, since nothing follows them

    Returns
    -------
    inputs : a line for each tail, as many for each row as the row with the most has
    real : which tokens are not padding, int64 (lines, longest tail − 1)
    """
    most = max(map(len, tails))
    longest = max(len(tail) for those in tails for tail in those) - 1
    cache = read["cache"] if "cache" in read else read["past_key_values"]
    cache.batch_repeat_interleave(most)
    fed = torch.zeros(len(tails) * most, longest, dtype=torch.long)
    real = torch.zeros_like(fed)
    for b, those in enumerate(tails):
        for k, tail in enumerate(those):
            fed[b * most + k, : len(tail) - 1] = torch.tensor(tail[:-1])
            real[b * most + k, : len(tail) - 1] = 1
    fed, real = fed.to(model.device), real.to(model.device)
    mask = torch.cat([batch.inputs["attention_mask"].repeat_interleave(most, 0), real], 1)
    inputs: dict[str, Any] = {"input_ids": fed, "attention_mask": mask, "use_cache": True}
    inputs["cache" if "cache" in model.arguments else "past_key_values"] = cache
    if "position_ids" in model.arguments:
        place = (mask.cumsum(1)[:, -longest:] - 1).clamp(min=0)
        delta = getattr(model.body, "rope_deltas", None)
        if (
            "image_grid_thw" in batch.inputs and delta is not None
        ):  # an image takes fewer positions than tokens
            place = (place + delta.repeat_interleave(most, 0)).expand(3, -1, -1)
        inputs["position_ids"] = place
    return inputs, real


def _rows(model: ProbeModel) -> list[Row]:
    # From the middle of the vocabulary: at its ends stand tokens that were hardly ever seen, and rounding rules them.
    size = model.net.get_input_embeddings().weight.shape[0]
    some = [i for i in np.linspace(size // 4, 3 * size // 4, 40).astype(int) if i not in model.image_ids]
    return [
        Row(k, np.resize(np.array(some[k:], np.int32), length), length)
        for k, length in enumerate((SHORT, LONG))
    ]


def _plain(model: ProbeModel, ids: Any) -> Tensor:
    """Logits of one row, without padding and cache, (T, V)."""
    batch = collate(model, [Row(0, np.array(ids, np.int32), len(ids))])
    with model.reading(batch):
        return model.net(**batch.inputs, use_cache=False).logits[0]


def _alike(logits: list[Tensor], plain: list[Tensor], refuses: bool = False) -> bool:
    """Whether log-probabilities are the same up to rounding, beside how much they differ between tokens.

    A trial that ``refuses`` a network asks for the mean in half precision, where the largest of so many differences is
    anything: rounding makes up to 0.03 of the spread, a token that is read at the wrong place 0.3 and more.
    """
    one, other = (torch.cat(parts).float().log_softmax(-1) for parts in (logits, plain))
    if one.shape != other.shape:
        return False
    half = plain[0].dtype != torch.float32
    apart = (one - other).abs()
    return bool((apart.mean() if half and refuses else apart.max()) <= (0.1 if half else 1e-3) * other.std())
