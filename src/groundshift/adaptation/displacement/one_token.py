"""Why the preferred token can lose: one prompt and two tokens, to first order (Theorems 1 and 2, one token).

With the state h that predicts the token and the unembedding W both free, and c = β σ(−β margin) > 0, gradient flow on
the loss of DPO moves the preferred token w against the other one l by

    d/dt log p_w = c { (1 − p_w + p_l) ‖h‖²  +  <W_w − Σ_z p_z W_z, W_w − W_l> }.

The first term, through W, is always positive. The second, through h, is what can be negative; the logit of any token z
moves through h by c <W_z, W_w − W_l>.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from groundshift.adaptation.displacement.ches import opened
from groundshift.errors import InputError
from groundshift.models.activations import ProbeModel, encode, find_sites
from groundshift.models.activations.rows import behind, collate

__all__ = ["FirstOrder", "first_order", "rates"]


@dataclass(frozen=True)
class FirstOrder:
    """The two terms for a pair of tokens, and who gains.

    Attributes
    ----------
    w_part, h_part : the terms of d/dt log p_w with their factor c; their sum is ``total``
    chosen, rejected : probabilities of the two tokens now
    tokens : who gains and loses most probability through h and W, first the winners: ``token``, ``id``, ``prob``,
        ``logit_h`` (change of its logit through h), ``logprob`` and ``mass`` (change of its log-probability and
        probability)
    """

    w_part: float
    h_part: float
    chosen: float
    rejected: float
    tokens: pd.DataFrame = field(repr=False)

    @property
    def total(self) -> float:
        """d/dt log p_w; displacement where it is negative."""
        return self.w_part + self.h_part


def first_order(
    model: str | Path | ProbeModel,
    prompt: Any,
    chosen: str | int,
    rejected: str | int,
    *,
    beta: float = 0.1,
    margin: float = 0.0,
    top: int = 10,
    allow_missing: bool = False,
) -> FirstOrder:
    """What a first step of DPO on one pair of single tokens does to the preferred one, and to all others.

    Parameters
    ----------
    prompt : text, messages or anything else that `encode` takes as a row
    chosen, rejected : tokens, as a text of one token (with its leading blank, if it has one) or an id
    margin : of the log-ratios now; 0 at the reference
    top : how many gaining and losing tokens are told
    allow_missing : see `groundshift.models.activations.load_model`

    Raises
    ------
    InputError
        Texts that are not one token, equal tokens, a model that changes its logits in a way that is not known here.

    Examples
    --------
    >>> first_order("model", "Is the sky green?", " No", " Never").h_part  # doctest: +SKIP
    -0.031
    """
    model = opened(model, allow_missing)
    w, l = (_one(model, prompt, token) for token in (chosen, rejected))  # noqa: E741 (the paper's symbol)
    if w == l:
        raise InputError(f"{chosen!r} and {rejected!r} are the same token; give two.")
    h, logits = last_state(model, prompt)
    head = model.net.get_output_embeddings()
    W = model.unembedding.float().cpu()
    bias = 0.0 if getattr(head, "bias", None) is None else head.bias.detach().float().cpu()
    slope = _slope(model, W @ h + bias, logits)
    c = float(beta * torch.sigmoid(torch.tensor(-beta * margin)))
    w_part, h_part, logit_h, logprob = rates(h, W, logits, w, l, c, slope)
    p = logits.softmax(-1)
    mass = p * logprob
    best = mass.topk(min(top, len(mass))).indices
    worst = (-mass).topk(min(top, len(mass))).indices.flip(0)
    picked = list(dict.fromkeys([*best.tolist(), *worst.tolist()]))
    tokens = pd.DataFrame(
        {
            "token": [model.tokenizer.decode([z]) for z in picked],
            "id": picked,
            **{
                name: values[picked].numpy()
                for name, values in (("prob", p), ("logit_h", logit_h), ("logprob", logprob), ("mass", mass))
            },
        }
    )
    return FirstOrder(w_part, h_part, float(p[w]), float(p[l]), tokens)


def rates(
    h: Tensor,
    W: Tensor,
    logits: Tensor,
    w: int,
    l: int,  # noqa: E741
    c: float = 1.0,
    slope: Tensor | float = 1.0,
) -> tuple[float, float, Tensor, Tensor]:
    """The formula above in plain tensors.

    Parameters
    ----------
    h : (D,)
    W : (V, D)
    logits : (V,), the model's
    slope : d logit / d (W h), by token, of a model that scales or caps its logits

    Returns
    -------
    w_part, h_part : of d/dt log p_w
    logit_h, logprob : (V,), change of every logit through h, and of every log-probability through h and W
    """
    p = logits.softmax(-1)
    pull = torch.zeros_like(logits)
    pull[w], pull[l] = 1.0, -1.0
    pull = pull * slope  # dL/dz at z = W h, without its factor −c
    through_h = c * slope * (W @ (W.T @ pull))
    through_w = c * slope * pull * (h @ h)
    both = through_h + through_w
    h_part, w_part = (float(part[w] - p @ part) for part in (through_h, through_w))
    return w_part, h_part, through_h, both - p @ both


def last_state(model: ProbeModel, prompt: Any) -> tuple[Tensor, Tensor]:
    """State (D,) after the final norm and logits (V,) at the last token of a prompt, in float32 on the CPU."""
    batch = collate(model, encode(model, [_row(prompt)]))
    seen: list[Tensor] = []
    hook = find_sites(model, "final_norm")[0].hook(lambda state: seen.append(state))
    try:
        with torch.inference_mode(), model.reading(batch):
            logits = model.net(**batch.inputs, use_cache=False).logits
    finally:
        hook.remove()
    return seen[0][0, -1].float().cpu(), logits[0, -1].float().cpu()


def _row(prompt: Any) -> Any:
    return {"prompt": prompt} if isinstance(prompt, list) else prompt


def _one(model: ProbeModel, prompt: Any, token: str | int) -> int:
    if isinstance(token, int):
        return token
    [found] = behind(model, [_row(prompt)], [token])
    ids = found.answer
    if len(ids) != 1:
        raise InputError(f"{token!r} is {len(ids)} tokens of {model.source}; one is needed.")
    return int(ids[0])


def _slope(model: ProbeModel, z: Tensor, logits: Tensor) -> Tensor:
    """d logit / d z for models that scale or cap z = W h; checked against the model's own logits."""
    config = model.net.config.get_text_config()
    scale = getattr(config, "logit_scale", None) or 1 / (getattr(config, "logits_scaling", None) or 1.0)
    cap = getattr(config, "final_logit_softcapping", None)
    known = scale * z if cap is None else cap * torch.tanh(scale * z / cap)
    if not torch.allclose(known, logits, rtol=1e-2, atol=1e-2 * float(logits.abs().max())):
        raise InputError(
            f"The logits of {type(model.net).__name__} are not W h, scaled or capped as its configuration says; the "
            "formula does not hold for it."
        )
    return torch.full_like(z, scale) if cap is None else scale * (1 - (known / cap) ** 2)
