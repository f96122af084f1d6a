"""Why the preferred token can lose: one prompt and two tokens, to first order (Theorems 1 and 2, one token).

With the state h that predicts the token and the unembedding W both free, and c = β σ(−β margin) > 0, gradient flow on
the loss of DPO moves the preferred token w against the other one l by

    d/dt log p_w = c { (1 − p_w + p_l) ‖h‖²  +  <W_w − Σ_z p_z W_z, W_w − W_l> }.

The first term, through W, is always positive. The second, through h, is what can be negative; the logit of any token z
moves through h by c <W_z, W_w − W_l>.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from groundshift.errors import InputError
from groundshift.models.activations import ProbeModel, encode, find_sites
from groundshift.models.activations.pairs import open_model
from groundshift.models.activations.rows import behind, collate
from groundshift.report import Report, Section, value_text
from groundshift.result import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["FirstOrder", "first_order", "rates"]


@dataclass(frozen=True, repr=False)
class FirstOrder(Result):
    """The two terms for a pair of tokens, and who gains.

    Attributes
    ----------
    w_part, h_part : the terms of d/dt log p_w with their factor c; their sum is ``total``
    chosen, rejected : probabilities of the two tokens now
    tokens : who gains and loses most probability through h and W, first the winners: ``token``, ``id``, ``prob``,
        ``logit_h`` (change of its logit through h), ``logprob`` and ``mass`` (change of its log-probability and
        probability)
    pair : the chosen and the rejected token
    """

    w_part: float
    h_part: float
    chosen: float
    rejected: float
    tokens: pd.DataFrame
    pair: tuple[str, str]

    @property
    def total(self) -> float:
        """d/dt log p_w; displacement where it is negative."""
        return self.w_part + self.h_part

    def report(self) -> Report:
        """Whether the chosen token rises or falls, and who gains."""
        verb = "falls" if self.total < 0 else "rises"
        columns = ["token", "prob", "logprob", "mass"]
        return Report(
            "displacement", " over ".join(word.strip() for word in self.pair),
            f"log p({self.pair[0].strip()}) {verb}: {value_text(self.total)} per unit of learning rate, of which "
            f"{value_text(self.w_part)} through the unembedding and {value_text(self.h_part)} through the hidden "
            "state.",
            tone="bad" if self.total < 0 else "good",
            figure=("Change of each token's probability", self._draw),
            sections=(
                Section(
                    "tokens", "Which tokens gain and lose?", tables={"": self.tokens[columns]},
                    notes=("Columns logprob and mass are changes, per unit of learning rate.",),
                ),
            ),
        )  # fmt: skip

    def to_frame(self) -> pd.DataFrame:
        """A row per token that gains or loses."""
        return self.tokens

    def _content(self) -> dict[str, Any]:
        return {"w_part": self.w_part, "h_part": self.h_part, "total": self.total, "tokens": self.tokens}

    def _draw(self, ax: Axes) -> None:
        rows = self.tokens.iloc[::-1]
        ax.barh(range(len(rows)), rows["mass"], color=np.where(rows["mass"] > 0, "#2f7fa8", "#c4622d"))
        ax.axvline(0, color="#333333", lw=0.6)
        ax.set_yticks(range(len(rows)), [repr(str(token)) for token in rows["token"]])
        ax.set_xlabel("change of probability per unit of learning rate")


def first_order(
    model: str | Path | ProbeModel,
    prompt: Any,
    chosen: Any,
    rejected: Any,
    *,
    beta: float = 0.1,
    margin: float = 0.0,
    top: int = 10,
    allow_missing: bool = False,
) -> FirstOrder:
    """What a first step of DPO on one pair of single tokens does to the preferred one, and to all others.

    Parameters
    ----------
    model : directory or id of a causal language model
    prompt : the prompt as the model reads it; in Python also messages or anything else that `encode` takes
    chosen : the preferred token, with its leading blank if it has one; in Python also its id
    rejected : the other token, likewise
    beta : strength of DPO
    margin : margin of the log-ratios now; 0 at the reference
    top : number of gaining and of losing tokens that are told
    allow_missing : load a model whose files lack tensors, or an adapter on another base than its own

    Raises
    ------
    InputError
        Texts that are not one token, equal tokens, a model that changes its logits in a way that is not known here.

    Examples
    --------
    >>> first_order("model", "Is the sky green?", " No", " Never").h_part  # doctest: +SKIP
    -0.031
    """
    model = open_model(model, allow_missing=allow_missing)
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
    pair = (model.tokenizer.decode([w]), model.tokenizer.decode([l]))
    return FirstOrder(w_part, h_part, float(p[w]), float(p[l]), tokens, pair)


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
    [tokens] = behind(model, [_row(prompt)], [token])
    ids = tokens.answer
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
