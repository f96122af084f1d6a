"""Worlds of the study of Steered Diffusion: coloured digits measured, or wanted by class; and the cells over them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from groundshift.generation.steered import Denoiser, Down, Luma, Mask, Measurement, denoiser
from groundshift.lab.study import Grid, Sample, World
from groundshift.models.mixture import MixtureNet, Posterior
from groundshift.models.tinyvision_exact import exact

SIGMA = 1e-3
"""Noise of the measurement in the exact posterior."""
ONE = 0.0087
"""Seconds of one sample of 100 steps without gradients, by the exact network."""


@lru_cache(maxsize=1)
def digits() -> tuple[MixtureNet, Denoiser]:
    """The mixture of coloured digits, and its exact denoiser."""
    return exact("colour_digits"), denoiser("exact:colour_digits")


def torch_generator(rng: np.random.Generator) -> torch.Generator:
    """A generator of torch, seeded from one of NumPy."""
    return torch.Generator().manual_seed(int(rng.integers(2**63)))


def _measurement(task: str, images: Tensor) -> Measurement:
    if task == "luma":
        return Luma(images, mode="pinv")
    if task == "hole":
        mask = torch.zeros(8, 8)
        mask[2:6, 2:6] = 1
        return Mask(images, mask)
    kernel = {"small": "box", "bicubic": "bicubic"}[task]
    down = Down(torch.zeros(1, 3, 4, 4, dtype=images.dtype), 2, kernel=kernel)  # type: ignore[arg-type]
    return Down(down.A(images), 2, kernel=kernel)  # type: ignore[arg-type]


@World.define()
def targets(rng: np.random.Generator, severity: float, *, task: str, targets: int, draws: int) -> Sample:
    """Measurements of coloured digits, ``draws`` times each: luma, 2 × 2 means, all but the centre."""
    images, component = digits()[0].sample(targets, torch_generator(rng))
    condition = _measurement(task, images.repeat_interleave(draws, 0))
    return Sample(
        {"condition": condition, "n": targets * draws},
        {"component": component, "draws": draws, "posterior": lambda: _posterior(task, images)},
    )


@World.define(version=3)
def classes(
    rng: np.random.Generator, severity: float, *, targets: int, luma: str, factor: str, classifier: str
) -> Sample:
    """A class for each sample, the digit or the hue, and a classifier of it.

    Parameters
    ----------
    luma : "none"; "own" and "other": the samples shall also have the luma of a digit of this class or of another;
        "withheld": it is measured, and not asked for
    factor : "digit", the class of the one that is measured; or "hue", drawn at random, as the luma leaves it open
    classifier : "clean", trained on clean images; "permuted", its classes turned by a number that is drawn
    """
    net, seed = digits()[0], int(rng.integers(2**63))
    images, component = net.sample(targets, torch_generator(rng))
    labels = net.labels[factor][component]
    if luma == "other":
        labels = (labels + torch.as_tensor(rng.integers(1, 10, targets))) % 10
    if factor == "hue":
        labels = torch.as_tensor(rng.integers(0, 3, targets))
    weights, biases = _classifier(seed, factor, False)
    if classifier == "permuted":
        turn = int(rng.integers(1, len(biases)))
        weights, biases = weights.roll(turn, 0), biases.roll(turn, 0)
    measured = [] if luma == "none" else [_measurement("luma", images)]
    return Sample(
        {
            "phi": (weights, biases),
            "phi_noisy": lambda: _classifier(seed, factor, True),
            "labels": labels,
            "conditions": measured if luma in ("own", "other") else [],
            "n": targets,
        },
        {"labels": labels, "factor": factor, "measured": measured},
    )


@lru_cache(maxsize=8)
def _classifier(seed: int, factor: str, noisy: bool) -> tuple[Tensor, Tensor]:
    """Weights and biases of a logistic regression on 1,500 clean draws, or on each under the noise of three steps."""
    from sklearn.linear_model import LogisticRegression

    net, exactly = digits()
    draw = torch.Generator().manual_seed(seed)
    images, component = net.sample(1500, draw)
    labels = net.labels[factor][component]
    if noisy:
        images, labels = images.repeat(3, 1, 1, 1), labels.repeat(3)
        abar = exactly.alphas_cumprod.to(images)
        abar = abar[torch.randint(len(abar), (len(images), 1, 1, 1), generator=draw)]
        images = abar.sqrt() * images + (1 - abar).sqrt() * torch.randn(images.shape, generator=draw).to(
            images
        )
    fitted = LogisticRegression(max_iter=200).fit(images.flatten(1), labels)
    return torch.as_tensor(fitted.coef_), torch.as_tensor(fitted.intercept_)


@World.define()
def photo(rng: np.random.Generator, severity: float) -> Sample:
    """A digit with a hole, for a generator in a folder."""
    images, _ = digits()[0].sample(1, torch_generator(rng))
    return Sample({"image": images.float().clamp(-1, 1)}, None)


def phi(data: Any) -> Any:
    """The classifier of a sample of `classes`: images to logits."""
    weights, biases = data["phi"]
    return lambda images: images.flatten(1).to(weights) @ weights.T + biases


@lru_cache(maxsize=16)
def _cached_posterior(task: str, images: bytes) -> Posterior:
    x = torch.frombuffer(bytearray(images), dtype=torch.float64).reshape(-1, 3, 8, 8)
    everything = torch.eye(192, dtype=torch.float64).reshape(-1, 3, 8, 8)
    A = _measurement(task, everything).y.flatten(1).T
    A = A[A.abs().sum(1) > 0]
    return digits()[0].posterior(A, x.flatten(1) @ A.T, SIGMA)


def _posterior(task: str, images: Tensor) -> Posterior:
    return _cached_posterior(task, images.numpy().tobytes())


# Cells over them -----------------------------------------------------------------------------------------


def measured(
    seeds: int,
    methods: tuple[str, ...],
    measures: tuple[str, ...],
    params: dict[str, Any],
    options: dict[str, Any],
    cost_s: float | Mapping[str, float],
) -> Grid:
    """Methods with the same options on `targets`; the small pictures and those with a hole if no task is named."""
    vary = {} if "task" in params else {"task": ("small", "hole")}
    return Grid(
        "targets", methods, measures, seeds, vary=vary, world_params=params,
        method_params=dict.fromkeys(methods, options), cost_s=cost_s,
    )  # fmt: skip


def wanted(
    seeds: int,
    methods: tuple[str, ...],
    n: int,
    options: dict[str, Any],
    cost_s: float,
    luma: str = "none",
    factor: str = "digit",
    classifier: str = "clean",
) -> Grid:
    """Methods with the same options on ``n`` samples of `classes`."""
    measures = ("success", "likely") + (() if luma == "none" else ("obeys",))
    return Grid(
        "classes", methods, measures, seeds,
        world_params={"targets": n, "luma": luma, "factor": factor, "classifier": classifier},
        method_params=dict.fromkeys(methods, options), cost_s=cost_s,
    )  # fmt: skip
