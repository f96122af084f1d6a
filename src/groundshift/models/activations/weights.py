"""What the attention and the feed-forward part of a block compute, whatever its architecture calls them.

Modules are asked by running them, so that an adapter's changes are PEFT's own, and in float32 copies, one at a time.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from groundshift.errors import InputError
from groundshift.models.activations.loading import ProbeModel
from groundshift.models.activations.sites import find_sites

__all__ = ["queries_and_keys", "value_vectors"]

NORMS = (
    "input_layernorm", "ln_1", "self_attn_layer_norm", "ln_attn", "attention_norm", "pre_attention_layernorm", "norm1",
    "norm_1", "operator_norm",
)  # fmt: skip
SEPARATE = (("q_proj", "k_proj"), ("query", "key"), ("wq", "wk"))
DOWN = ("down_proj", "c_proj", "dense_4h_to_h", "fc2", "fc_out", "w2", "wo", "proj_2", "output_linear")
ROWS = 2048

Array = NDArray[np.float32]


def _through(module: nn.Module, x: Tensor) -> Tensor:
    """x W of a linear module, without its bias, in float32."""
    weight = getattr(getattr(module, "base_layer", module), "weight", None)
    if not isinstance(weight, Tensor) or not weight.is_floating_point() or weight.is_meta:
        raise InputError(
            f"The weights of a {type(module).__name__} are packed or not in memory; load a model that is not quantised."
        )
    own = copy.deepcopy(module).float().eval()
    with torch.inference_mode():
        x = x.to(weight.device)
        parts = [own(part) for part in x.split(ROWS)]
        zero: Tensor = own(torch.zeros_like(x[:1]))
        return torch.cat(parts) - zero


def _gain(norm: nn.Module, width: int) -> Tensor:
    """What a norm multiplies each column by: read from two inputs of mean 0 and variance 1 that differ in sign."""
    device = next((w.device for w in norm.parameters()), torch.device("cpu"))
    x = torch.ones(width, device=device)
    x[1::2] = -1
    own = copy.deepcopy(norm).float().eval()
    with torch.inference_mode():
        gain: Tensor = (own(x[None]) - own(-x[None]))[0] * x / 2
    return gain


def queries_and_keys(model: ProbeModel, embeddings: Array) -> Iterator[tuple[int, Array, Array]]:
    """Queries and keys that embeddings would have in each block, behind the gain of its norm and without positions.

    Parameters
    ----------
    embeddings : float32 (V, D)

    Yields
    ------
    block, queries, keys : float32 (V, heads, head width); keys of grouped queries are repeated for each of them

    Raises
    ------
    InputError
        No block with projections of a known kind; packed weights.
    """
    config = model.net.config.get_text_config()
    parts: list[str] = []
    read = False
    for number, block in enumerate(model.layers):
        try:
            attention = find_sites(model, f"attn_out.{number}")[0].module
        except InputError:  # a block of another kind in a hybrid model
            attention = block
        norm = next((m for n, m in block.named_children() if n in NORMS), None)
        x = torch.from_numpy(embeddings)
        if norm is not None:
            x = x * _gain(norm, x.shape[1]).cpu()
        named: dict[str, nn.Module] = {}
        for name, module in attention.named_modules():
            named.setdefault(name.rpartition(".")[2], module)
        both = _projected(named, x, config.num_attention_heads, config)
        if both is not None:
            q, k = (part.cpu() for part in both)
            read = True
            yield number, q.numpy(), k.repeat_interleave(q.shape[1] // k.shape[1], 1).numpy()
        parts = [name for name, _ in attention.named_children()]
    if not read:
        raise InputError(
            f"No attention of {model.source} has queries and keys in matrices that are known; its parts are "
            f"{', '.join(parts)}."
        )


def _projected(
    parts: dict[str, nn.Module], x: Tensor, heads: int, config: Any
) -> tuple[Tensor, Tensor] | None:
    """Queries (V, H, d) and keys (V, H / group, d), from projections that are apart or in one matrix."""
    V = len(x)
    for query, key in SEPARATE:
        if query in parts and key in parts:
            q, k = _through(parts[query], x), _through(parts[key], x)
            width = q.shape[1] // heads
            if (
                q.shape[1] % heads
                or k.shape[1] % width
                or width != (getattr(config, "head_dim", None) or width)
            ):
                return None  # such as queries with a gate in the same matrix
            return q.view(V, heads, width), k.view(V, -1, width)
    if "c_attn" in parts:
        q, k, _ = _through(parts["c_attn"], x).view(V, 3, heads, -1).unbind(1)
        return q, k
    if "query_key_value" in parts:
        both = _through(parts["query_key_value"], x)
        if both.shape[1] != 3 * x.shape[1]:
            return None
        q, k, _ = both.view(V, heads, 3, -1).unbind(2)
        return q, k
    if "qkv_proj" in parts and str(config.model_type).startswith("phi"):
        both = _through(parts["qkv_proj"], x)
        groups = config.num_key_value_heads
        width = both.shape[1] // (heads + 2 * groups)
        return both[:, : heads * width].view(V, heads, width), both[:, heads * width :][
            :, : groups * width
        ].view(V, groups, width)
    return None


def value_vectors(model: ProbeModel) -> Iterator[tuple[int, Array]]:
    """The vectors that the hidden units of each block's feed-forward part write, (units, D); of all experts together.

    Raises
    ------
    InputError
        A block whose feed-forward part is not known; packed weights.
    """
    for number, block in enumerate(model.layers):
        try:
            part: nn.Module = find_sites(model, f"mlp_out.{number}")[0].module
        except InputError:
            part = block  # such as OPT's, whose two matrices stand in the block itself
        vectors = []
        for name, module in part.named_modules():
            if type(module).__name__ == "ParamWrapper":
                raise InputError(
                    f"The adapter of {model.source} changes experts of block {number}; merge it (merge_and_unload)."
                )
            last = name.rpartition(".")[2]
            weight = getattr(module, "down_proj", None)
            if last in DOWN and not isinstance(module, nn.ModuleList):
                inner = getattr(module, "base_layer", module)
                units = getattr(inner, "in_features", None) or inner.weight.shape[0]  # GPT-2's Conv1D
                vectors.append(_through(module, torch.eye(units)))
            elif isinstance(weight, Tensor) and weight.ndim == 3:  # experts in one tensor
                each = weight.detach().float()
                vectors.append((each if getattr(module, "is_transposed", False) else each.mT).flatten(0, 1))
        if not vectors:
            names = ", ".join(name for name, _ in part.named_children())
            raise InputError(
                f"The feed-forward part of block {number} of {model.source} is not known; its parts are {names}."
            )
        yield number, torch.cat([v.cpu() for v in vectors]).numpy()
