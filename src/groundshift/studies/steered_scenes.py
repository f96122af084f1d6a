"""Steered diffusion on the scenes leaderboard: a generator that knows no condition, and an inverse model that reads."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import DDPMScheduler
from torch import Tensor, nn

from groundshift.generation.steered import Denoiser, Loss, Sampler
from groundshift.lab.study import Method
from groundshift.models.training import Recipe, minibatches, train
from groundshift.studies.scenes import LEVELS, SIDE, Board, euler, fit_velocity

WEIGHT = 1.0
"""Of the cross-entropies; chosen on pictures of another root seed."""


@Method.define()
def steered(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Gradients through the generator's clean estimate."""
    return _steered(data, rng, "steered")


@Method.define(role="baseline")
def explicit(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Classifier guidance: the inverse model is shown the noisy picture."""
    return _steered(data, rng, "explicit")


@Method.define(role="control")
def unconditional(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """The same generator, not steered."""
    board, net, seed = Board(data), fit_velocity(data, rng, _blind), int(rng.integers(2**31))
    return board.drawn(lambda codes, steps: euler(lambda t, x, _: net(t, x), codes, steps, seed), net)


def _steered(data: Any, rng: np.random.Generator, method: Literal["steered", "explicit"]) -> dict[str, Any]:
    board, net, reader, seed = (
        Board(data),
        fit_velocity(data, rng, _blind),
        _reader(data, rng),
        int(rng.integers(2**31)),
    )
    linear: Any = DDPMScheduler()
    generator = Denoiser(
        lambda x, t: -net(1 - t / 1000, x), linear.alphas_cumprod, (3, SIDE, SIDE),
        prediction_type="flow_prediction",
    )  # fmt: skip
    for part in (net, reader):
        part.requires_grad_(False)

    def sample(codes: Any, steps: int) -> Tensor:
        conditions = torch.as_tensor(codes)

        def misread(images: Tensor) -> Tensor:
            return _cross_entropy(reader(images), conditions)

        draw = torch.Generator().manual_seed(seed)
        return Sampler(steps=steps, method=method)(generator, len(codes), [Loss(misread, WEIGHT)], draw)[0]

    return board.drawn(sample, net, reader)


def _blind(net: nn.Module, images: Tensor, codes: Tensor, generator: torch.Generator) -> Tensor:
    """Flow matching without a condition."""
    t = torch.rand(len(images), generator=generator)
    noise, s = torch.randn(images.shape, generator=generator), t[:, None, None, None]
    return F.mse_loss(net(t, (1 - s) * noise + s * images), images - noise)


def _reader(data: Any, rng: np.random.Generator) -> nn.Module:
    """The inverse model: logits of all three factors, side by side."""
    seed = int(rng.integers(2**31))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = nn.Sequential(
            nn.Conv2d(3, 32, 3, padding=1), nn.SiLU(), nn.Conv2d(32, 32, 3, padding=1), nn.SiLU(),
            nn.Flatten(), nn.Linear(32 * SIDE**2, sum(LEVELS)),
        )  # fmt: skip

    def loss(net: nn.Module, batch: Any, generator: torch.Generator) -> Tensor:
        images, codes = batch
        return _cross_entropy(
            net(images + 0.2 * torch.randn(images.shape, generator=generator)), codes
        ).mean()

    rows = minibatches(data["images"], torch.as_tensor(data["codes"]), size=64)
    train(net, rows, loss, Recipe(steps=data["iterations"], lr=3e-3, seed=seed), describe="inverse model")
    return net


def _cross_entropy(logits: Tensor, codes: Tensor) -> Tensor:
    """Summed over the factors, one number for each picture."""
    parts = zip(logits.split(LEVELS, 1), codes.T, strict=True)
    return torch.stack([F.cross_entropy(part, code, reduction="none") for part, code in parts]).sum(0)


ENTRANTS = (steered, explicit, unconditional)
