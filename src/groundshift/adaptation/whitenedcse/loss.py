"""The contrastive loss of several views of a batch, and the head that is dropped after training."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from groundshift.errors import InputError

__all__ = ["Head", "multiview_loss"]


def multiview_loss(z: Tensor, temperature: float = 0.05) -> Tensor:
    """Cross-entropy of each further view against the first, with the other sentences of the batch as negatives.

    L = Σ_{v ≥ 2} mean_i CE_i(cos(z_i^{(1)}, z_j^{(v)}) / τ over j; target i): a plain sum over the further views, whose
    negatives are of the same view. With two views it is the loss of SimCSE.

    Parameters
    ----------
    z : vectors of the views (V, B, D), not normalised
    temperature : τ, above 0; the best one depends on the width, since the cosines of unrelated whitened vectors
        spread over about 1/√D

    Raises
    ------
    InputError
        Another shape, fewer than two views or sentences, or a temperature that is not above 0.

    Examples
    --------
    >>> views = torch.eye(4).expand(3, 4, 4)
    >>> multiview_loss(views, 0.1)  # two further views, each −log softmax of 10 against three zeros
    tensor(0.0003)
    """
    if z.ndim != 3 or z.shape[0] < 2 or z.shape[1] < 2:
        raise InputError(
            f"Vectors of shape {tuple(z.shape)} were given; (views, sentences, width) with two views and two sentences "
            "or more are needed."
        )
    if not temperature > 0:
        raise InputError(f"temperature={temperature} was given; a temperature above 0 is needed.")
    with torch.autocast(z.device.type, enabled=False):
        unit = nn.functional.normalize(z if z.dtype == torch.float64 else z.float(), dim=-1)
        views, rows, _ = unit.shape
        logits = unit[0] @ unit[1:].transpose(1, 2) / temperature  # (V - 1, B, B)
        target = torch.arange(rows, device=z.device).repeat(views - 1)
        return nn.functional.cross_entropy(logits.flatten(0, 1), target) * (views - 1)


class Head(nn.Module):
    """tanh(W x + b) of the width of its input, which follows the whitening while training and is dropped after it.

    >>> Head(8)(torch.zeros(2, 3, 8)).shape
    torch.Size([2, 3, 8])
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dense = nn.Linear(width, width)
        nn.init.normal_(self.dense.weight, std=0.02)  # as in BERT
        nn.init.zeros_(self.dense.bias)

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(self.dense(x))
