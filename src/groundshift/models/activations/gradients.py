"""Gradients of what a model says with respect to the embeddings of what it read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from groundshift.errors import InputError
from groundshift.models.activations.loading import ProbeModel
from groundshift.models.activations.rows import Batch, Row, collate, encode, in_batches
from groundshift.models.activations.scoring import targets
from groundshift.models.activations.sites import find_sites

__all__ = ["Differentiable", "differentiable", "token_gradients"]


@dataclass
class Differentiable:
    """A pass with its graph.

    Attributes
    ----------
    embeds : what the embedding module gave, (B, T, D); a leaf that requires a gradient
    logits : (B, T, V)
    states : site → (B, T, D), in the graph
    batch : the rows, padded on the right
    """

    embeds: Tensor
    logits: Tensor
    states: dict[str, Tensor]
    batch: Batch


def differentiable(
    model: ProbeModel, rows: Sequence[str | Mapping[str, Any]], sites: str | Sequence[str] = ()
) -> Differentiable:
    """Run rows as one batch and keep the graph from their embeddings on.

    The leaf is the output of the embedding module, so that images, position ids and scalings that follow it stay the
    model's own. The weights gather no gradients.

    Examples
    --------
    >>> run = differentiable(model, ["a b c"], "resid_post.0")  # doctest: +SKIP
    >>> (slope,) = torch.autograd.grad(run.states["resid_post.0"].sum(), run.embeds)  # doctest: +SKIP
    """
    return _run(model, encode(model, rows), sites)


def _run(model: ProbeModel, rows: Sequence[Row], sites: str | Sequence[str] = ()) -> Differentiable:
    batch = collate(model, rows)
    states: dict[str, Tensor] = {}
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
        for site in find_sites(model, sites):
            stack.callback(site.hook(partial(states.__setitem__, site.name)).remove)
        stack.enter_context(torch.enable_grad())
        stack.enter_context(model.reading(batch))
        logits = model.net(**batch.inputs, use_cache=False).logits
    return Differentiable(leaf[0], logits, states, batch)


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

    A row is repeated once per token of its completion, and one backward pass serves the whole batch: every copy asks
    for another token.

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
    asked = [(i, m, k) for i, row in enumerate(encoded) for m, k in enumerate(targets(model, row))]
    silent = [i for i, row in enumerate(encoded) if not targets(model, row)]
    long = [i for i, row in enumerate(encoded) if model.context and len(row) > model.context]
    if silent or long:
        raise InputError(
            f"Rows without a token to ask for: {silent[:5]}; too long for the model: {long[:5]}."
        )
    width = model.net.get_input_embeddings().weight.shape[1]
    made = [
        np.zeros((len(targets(model, row)), len(row), *((width,) if keep == "full" else ())), np.float32)
        for row in encoded
    ]

    def do(numbers: list[int]) -> None:
        copies = [asked[n] for n in numbers]
        run = _run(model, [encoded[i] for i, _, _ in copies])
        line = torch.arange(len(copies), device=run.logits.device)
        place = torch.tensor([k - 1 for _, _, k in copies], device=line.device)
        token = torch.tensor([int(encoded[i].ids[k]) for i, _, k in copies], device=line.device)
        z = run.logits[line, place].float()
        z = z if of == "logit" else z.softmax(-1) if of == "prob" else z.log_softmax(-1)
        (slope,) = torch.autograd.grad(z[line, token].sum(), run.embeds)
        if keep == "input":
            slope = (slope * run.embeds.detach()).sum(-1)
        for (i, m, _), values in zip(copies, slope.float().cpu().numpy(), strict=True):
            made[i][m] = values[: len(encoded[i])]

    in_batches(
        [len(encoded[i]) for i, _, _ in asked],
        do,
        max_tokens=max_tokens,
        describe="gradients",
        alone=model.stretched,
        progress=progress,
    )
    return made
