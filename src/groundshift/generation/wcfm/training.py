"""Training of a velocity network on what a matcher draws."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from groundshift.generation.wcfm.matcher import WeightedConditionalFlowMatcher, weighted_loss
from groundshift.models.training import Recipe, train

__all__ = ["train_velocity"]

POOLS = 8
"""Most pools that are drawn during a fit whose data are more than one pool."""
RECORDED = 500
"""Steps between two entries of the history."""


def train_velocity(
    net: nn.Module,
    matcher: WeightedConditionalFlowMatcher,
    target: Tensor,
    source: Tensor | None = None,
    *,
    condition: Tensor | None = None,
    steps: int = 3000,
    batch_size: int = 256,
    lr: float = 1e-3,
    pool: int = 2000,
    seed: int = 0,
) -> list[dict[str, float]]:
    """Train v(t, x[, condition]) in place, with Adam at a constant rate, on what the matcher draws.

    Weights are averaged (0.999) for more than 64 numbers a row. A target larger than the pool of ``repair="pool"`` is
    visited in up to eight pools.

    Parameters
    ----------
    target, source : shape (n, ...), float32; the source is standard normal if left out
    condition : codes (n,) or numbers (n, k) of the target's rows

    Returns
    -------
    list of dict
        Step, loss, and effective sample size of the batch as a share, every 500 steps.
    """
    M = min(pool, len(target))
    each = math.ceil(steps / min(POOLS, math.ceil(len(target) / M)))
    shares: list[float] = []
    batches_drawn = 0

    def start(n: int, generator: torch.Generator) -> Tensor:
        if source is None:
            return torch.randn(n, *target.shape[1:], generator=generator)
        return source[torch.randint(len(source), (n,), generator=generator)]

    def batch(rng: np.random.Generator) -> tuple[Tensor, ...]:
        nonlocal batches_drawn
        matcher.generator = generator = torch.Generator().manual_seed(int(rng.integers(2**63)))
        if matcher.repair == "pool" and batches_drawn % each == 0:
            rows = torch.randperm(len(target), generator=generator)[:M]
            matcher.set_pool(
                start(M, generator), target[rows], None if condition is None else condition[rows]
            )
        rows = torch.randint(len(target), (batch_size,), generator=generator)
        t, xt, ut, _, c = matcher.guided_sample_location_and_conditional_flow(
            start(batch_size, generator), target[rows], y1=None if condition is None else condition[rows]
        )
        batches_drawn += 1
        w = matcher.weights
        if batches_drawn % RECORDED == 0 or batches_drawn == steps:
            shares.append(float(w.sum() ** 2 / (w**2).sum() / len(w)))
        return (t, xt, ut, w) if c is None else (t, xt, ut, w, c)

    def loss(net: nn.Module, batch: tuple[Tensor, ...], generator: torch.Generator) -> Tensor:
        t, xt, ut, w, *c = batch
        return weighted_loss(net(t, xt, *c), ut, w)

    ema = 0.999 if target[0].numel() > 64 else None
    recipe = Recipe(steps, lr, weight_decay=0.0, clip=None, ema=ema, seed=seed)
    losses = train(net, batch, loss, recipe).history
    recorded = [*range(RECORDED, steps + 1, RECORDED), *([steps] if steps % RECORDED else [])]
    return [{"step": k, "loss": losses[k - 1], "ess": ess} for k, ess in zip(recorded, shares, strict=True)]
