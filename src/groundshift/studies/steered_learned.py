"""The learned part of the study of Steered Diffusion: a small network beside the exact one, by the public class."""

from __future__ import annotations

import dataclasses
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from groundshift.generation.steered import ClassOf, Condition, Steered
from groundshift.lab.study import Grid, Measure, Method, Sample, World
from groundshift.models.backbones import trained
from groundshift.models.tinyvision_recipes import RECIPES
from groundshift.studies.steered_worlds import ONE, digits, measured, phi, torch_generator, wanted

TIMES = (100, 300, 500, 800)
"""Timesteps of 1,000 at which the learned denoiser is held against the exact one."""
ONE_LEARNED = 0.06
"""Seconds of one sample of 100 steps without gradients, by the learned network."""


@World.define()
def noised(rng: np.random.Generator, severity: float, *, targets: int) -> Sample:
    """Images under noise, and the clean images that the exact denoiser expects."""
    net, exactly = digits()
    generator = torch_generator(rng)
    images, _ = net.sample(targets, generator)
    seen, expected = [], []
    for t in TIMES:
        abar = float(exactly.alphas_cumprod[t])
        a, b = abar**0.5, (1 - abar) ** 0.5
        noise = torch.randn(images.shape, generator=generator, dtype=images.dtype)
        seen.append(a * images + b * noise)
        expected.append(net.x0(seen[-1], a, b))
    return Sample({"images": seen}, {"expected": torch.stack(expected)})


@lru_cache(maxsize=8)
def _pipeline(generator: str, steps: int, method: str = "steered", training: int = 0) -> Steered:
    """The exact denoiser, or a network trained on draws of its mixture and steered from an ordinary folder."""
    from diffusers import DDPMPipeline, FlowMatchEulerDiscreteScheduler

    options: Any = {"steps": steps, "method": method}
    if generator == "exact":
        return Steered("exact:colour_digits", **options)
    name = "colour-digits-flow"
    recipe = RECIPES[name]
    usual = recipe.settings["train"]
    if training != usual["steps"]:
        settings = {**recipe.settings, "train": {**usual, "steps": training}}
        # What a shorter training reaches is not known.
        reaches = recipe.reaches if training > usual["steps"] else 1e9
        recipe = dataclasses.replace(recipe, settings=settings, reaches=reaches)
    with tempfile.TemporaryDirectory() as folder:
        flow: Any = DDPMPipeline(trained(name, recipe).net, FlowMatchEulerDiscreteScheduler())
        flow.save_pretrained(Path(folder) / "model")
        return Steered(Path(folder) / "model", **options)


def _drawn(
    generator: Steered, conditions: list[Condition], n: int, rng: np.random.Generator
) -> dict[str, Any]:
    seed = int(rng.integers(2**31))
    samples = generator.sample(n, conditions=conditions, seed=seed, batch_size=n, progress=False)
    return {"images": samples.images.double().numpy()}


@Method.define(version=2)
def pipeline(data: Any, rng: np.random.Generator, *, how: str, **options: Any) -> dict[str, Any]:
    """Steered Diffusion under a linear condition, with the noise that the public class takes by default."""
    return _drawn(_pipeline(**options, method=how), [data["condition"]], data["n"], rng)


@Method.define(role="control", of=pipeline)
def pipeline_unconditional(
    data: Any, rng: np.random.Generator, *, generator: str, steps: int, training: int = 0, **options: Any
) -> dict[str, Any]:
    """The same generator without a condition."""
    return _drawn(_pipeline(generator, steps, training=training), [], data["n"], rng)


@Method.define()
def pipeline_by_class(
    data: Any, rng: np.random.Generator, *, weight: float, **options: Any
) -> dict[str, Any]:
    """Steered Diffusion by the classifier."""
    return _drawn(_pipeline(**options), [ClassOf(phi(data), data["labels"], weight)], data["n"], rng)


@Method.define(role="baseline")
def pipeline_explicit(
    data: Any, rng: np.random.Generator, *, weight: float, **options: Any
) -> dict[str, Any]:
    """The classifier is shown the noisy image."""
    guided = _pipeline(**options, method="explicit")
    return _drawn(guided, [ClassOf(phi(data), data["labels"], weight)], data["n"], rng)


@Method.define()
def learned_denoiser(data: Any, rng: np.random.Generator, *, training: int) -> dict[str, Any]:
    """The clean images that the learned network expects."""
    net = _pipeline("learned", 1, training=training).denoiser
    expected = []
    for t, x in zip(TIMES, data["images"], strict=True):
        abar = float(net.alphas_cumprod[t])
        with torch.no_grad():
            e = net.eps(x.float(), t).double()
        expected.append((x - (1 - abar) ** 0.5 * e) / abar**0.5)
    return {"expected": torch.stack(expected).numpy()}


@Measure.define(better="lower", gives=tuple(f"x0_gap_{t}" for t in TIMES))
def x0_gap(output: Any, sample: Sample) -> dict[str, float]:
    """Root mean square between the clean images that the learned and the exact denoiser expect, by timestep."""
    gap = (torch.as_tensor(output["expected"]) - sample.truth["expected"]).square().flatten(1).mean(1).sqrt()
    return {f"x0_gap_{t}": float(value) for t, value in zip(TIMES, gap, strict=True)}


def grids(seeds: int, *, targets: int, steps: int, training: int) -> list[Grid]:
    """Cells of the learned generator, and of the exact one in the same number of steps.

    The network is one for all seeds; the first cell, the longest, trains it.
    """
    exactly: dict[str, Any] = {"generator": "exact", "steps": steps}
    by_net = {**exactly, "generator": "learned", "training": training}

    def linear(options: dict[str, Any], one: float, method: str = "pipeline", **params: Any) -> Grid:
        params = {"targets": targets, "draws": 1, **params}
        cost = one * targets * steps / 100
        return measured(seeds, (method,), ("likely", "obeys", "modes"), params, options, cost)

    def by_class(
        methods: tuple[str, ...], options: dict[str, Any], one: float, n: int, classifier: str = "clean"
    ) -> Grid:
        cost = 1.5 * one * n * steps / 100
        return wanted(seeds, methods, n, {**options, "weight": 3.0}, cost, classifier=classifier)

    both = ("pipeline_by_class", "pipeline_explicit")
    return [
        Grid(
            "noised", ("learned_denoiser",), ("x0_gap",), 1, world_params={"targets": 8 * targets},
            method_params={"learned_denoiser": {"training": training}}, cost_s=training / 15,
        ),
        linear({**exactly, "how": "steered"}, ONE),
        linear({**by_net, "how": "steered"}, ONE_LEARNED),
        linear({**by_net, "how": "final"}, ONE_LEARNED),
        linear({**by_net, "how": "steered"}, ONE_LEARNED, task="bicubic"),
        linear(by_net, ONE_LEARNED, "pipeline_unconditional", task="small"),
        by_class(both, exactly, ONE, 2 * targets),
        by_class(both, by_net, ONE_LEARNED, 2 * targets),
        by_class(("pipeline_by_class",), by_net, ONE_LEARNED, targets, "permuted"),
    ]  # fmt: skip
