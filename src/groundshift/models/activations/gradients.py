"""Gradients of what a model says with respect to the embeddings of what it read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from groundshift.errors import InputError
from groundshift.models.activations.loading import ProbeModel
from groundshift.models.activations.rows import Row, collate, encode, in_batches, pieces
from groundshift.models.activations.scoring import LOGITS, head_is_plain, read_source, targets, unembed

__all__ = ["token_gradients"]


def _run(model: ProbeModel, rows: Sequence[Row], plain: bool) -> tuple[Tensor, Tensor]:
    """The embeddings (B, T, D), a leaf that requires a gradient, and with its graph what the logits come from: the last
    hidden states where the head is ``plain``, else the logits themselves.

    The leaf is the output of the embedding module, so that images, position ids and scalings that follow it stay the
    model's own. The weights gather no gradients.
    """
    batch = collate(model, rows)
    leaf: list[Tensor] = []

    def root(_module: Any, _args: Any, output: Tensor) -> Tensor:
        if leaf:  # some models embed again to find their images
            return output
        leaf.append(output.detach().requires_grad_(True))
        return leaf[0]

    with ExitStack() as stack:
        for weight in model.net.parameters():
            if weight.requires_grad:
                weight.requires_grad_(False)
                stack.callback(weight.requires_grad_, True)
        stack.callback(model.net.get_input_embeddings().register_forward_hook(root).remove)
        stack.enter_context(torch.enable_grad())
        stack.enter_context(model.reading(batch))
        source = read_source(model, batch, plain)
    return leaf[0], source


def _through(source: Tensor, embeds: Tensor, into: Tensor) -> Tensor:
    """Gradients of the embeddings, (C, B, T, D), for C gradients of ``source`` at once.

    A network with a part that cannot be batched so is gone through once for each.
    """
    try:
        (slopes,) = torch.autograd.grad(source, embeds, into, retain_graph=True, is_grads_batched=True)
    except RuntimeError as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise
        each = [torch.autograd.grad(source, embeds, one, retain_graph=True)[0] for one in into]
        return torch.stack(each)
    return slopes


def token_gradients(
    model: ProbeModel,
    rows: Sequence[str | Mapping[str, Any]],
    *,
    of: Literal["prob", "logprob", "logit"] = "prob",
    keep: Literal["input", "full"] = "input",
    max_tokens: int = 8192,
    progress: bool = True,
) -> list[NDArray[np.float32]]:
    """How each token of a completion depends on each token before it.

    One forward pass of a batch of rows serves all its tokens, and one batched backward pass many of them at once.

    Parameters
    ----------
    rows : with completions; see `encode`. Without one, every token after the first is asked for.
    of : the probability of the token, its logarithm, or its logit
    keep : "input", the product <∂ of / ∂E, E> with the embedding, or "full", the gradient

    Returns
    -------
    list of float32 (M, T) or (M, T, D)
        By row: M tokens asked for, T tokens of the row, from the first of the prompt; zero from the asked token on.

    Raises
    ------
    InputError
        Rows without a token to ask for, or beyond the model's context.

    Examples
    --------
    >>> token_gradients(model, [{"prompt": "a b", "completion": " c d"}])[0].shape  # doctest: +SKIP
    (2, 4)
    """
    if of not in ("prob", "logprob", "logit") or keep not in ("input", "full"):
        raise InputError(f"of={of!r}, keep={keep!r}; choose prob, logprob or logit, and input or full.")
    encoded = encode(model, rows)
    target_lists = [targets(model, row) for row in encoded]
    silent = [i for i, those in enumerate(target_lists) if not those]
    long = [i for i, row in enumerate(encoded) if model.context and len(row) > model.context]
    if silent or long:
        raise InputError(
            f"Rows without a token to ask for: {silent[:5]}; too long for the model: {long[:5]}."
        )
    width = model.net.get_input_embeddings().weight.shape[1]
    gradients = [
        np.zeros((len(those), len(row), *((width,) if keep == "full" else ())), np.float32)
        for row, those in zip(encoded, target_lists, strict=True)
    ]

    def do(numbers: list[int]) -> None:
        embeds, source = _run(model, [encoded[i] for i in numbers], plain)
        # The m-th token of every row is asked for in one gradient, since rows do not depend on each other.
        size = source.numel() if not plain else source.shape[0] * source.shape[1]
        most = max(len(target_lists[i]) for i in numbers)
        for part in pieces(most, max(1, (max_tokens if plain else LOGITS) // size)):
            entries = [
                (m, b, target_lists[i][m])
                for b, i in enumerate(numbers)
                for m in range(*part.indices(len(target_lists[i])))
            ]
            copy, line, position = torch.tensor(entries, device=source.device).T
            place = position - 1
            picked = source.detach()[line, place].requires_grad_(True)
            with torch.enable_grad():
                z = (unembed(model, picked) if plain else picked).float()
                z = z if of == "logit" else z.softmax(-1) if of == "prob" else z.log_softmax(-1)
                token = torch.tensor(
                    [int(encoded[numbers[b]].ids[k]) for _, b, k in entries], device=z.device
                )
                (slope,) = torch.autograd.grad(z.gather(1, token[:, None]).sum(), picked)
            into = source.new_zeros((int(copy.max()) + 1 - part.start, *source.shape))
            into[copy - part.start, line, place] = slope.to(into.dtype)
            slopes = _through(source, embeds, into)
            if keep == "input":
                slopes = (slopes * embeds.detach()).sum(-1)
            values = slopes.float().cpu().numpy()
            for m, b, _ in entries:
                gradients[numbers[b]][m] = values[m - part.start, b, : len(encoded[numbers[b]])]

    plain = head_is_plain(model)
    in_batches(
        list(map(len, encoded)),
        do,
        max_tokens=max_tokens,
        describe="gradients",
        alone=model.stretched,
        progress=progress,
    )
    return gradients
