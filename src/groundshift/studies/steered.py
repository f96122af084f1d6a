"""The study of Steered Diffusion: does the clean estimate obey where the noisy image is fooled, and how far is it from
the posterior? (arXiv:2310.00224)

The generator is the exact denoiser of coloured digits, a mixture whose conditional law has a closed form, so every gap
is the sampler's. The same code then steers a small network trained on draws of this mixture, from the folder of an
ordinary pipeline; where it differs from the exact generator is what learning costs.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from groundshift.generation.steered import ClassOf, Condition, Sampler, Steered
from groundshift.lab.claims import Claim, Control
from groundshift.lab.study import Figure, Grid, Measure, Method, Sample, Study
from groundshift.studies import steered_figures as draw
from groundshift.studies import steered_learned as learned
from groundshift.studies.drawing import Panel, chart
from groundshift.studies.steered_worlds import (
    ONE,
    classes,
    digits,
    measured,
    phi,
    photo,
    targets,
    torch_generator,
    wanted,
)

ORACLE = 0.9999
"""ᾱ at which the oracle looks at samples."""


@dataclass(frozen=True)
class Settings:
    """What the dial sets."""

    seeds: int = 5
    steps: int = 100
    sharp: int = 96
    """Targets, one sample each, where the measurement leaves one component."""
    open: int = 14
    """Targets of luma, whose hue stays open in part."""
    draws: int = 14
    """Samples for each of them."""
    rounds: int = 80
    """Targets in the cells of three rounds."""
    steered: int = 100
    """Samples in the cells of class steering."""
    learned: int = 32
    """Samples in the cells of the learned generator, in half the steps; twice as many where a class steers."""
    training: int = 600
    """Steps of the learned generator's training."""


# Methods: linear conditions ------------------------------------------------------------------------------


def _sampled(
    sampler: Sampler, conditions: list[Condition], n: int, rng: np.random.Generator
) -> dict[str, Any]:
    images, _ = sampler(digits()[1], n, conditions, torch_generator(rng))
    return {"images": images.numpy()}


@Method.define()
def steered(
    data: Any, rng: np.random.Generator, *, steps: int, eps: str, rounds: int, renoise: str
) -> dict[str, Any]:
    """Steered Diffusion: projection of the clean estimate."""
    sampler = Sampler(steps, eps=eps, rounds=rounds, renoise=renoise)  # type: ignore[arg-type]
    return _sampled(sampler, [data["condition"]], data["n"], rng)


@Method.define(role="baseline")
def replace(data: Any, rng: np.random.Generator, *, steps: int) -> dict[str, Any]:
    """The measured part of the noisy image is replaced (ILVR, RePaint)."""
    return _sampled(Sampler(steps, method="replace"), [data["condition"]], data["n"], rng)


@Method.define(role="baseline")
def dps(data: Any, rng: np.random.Generator, *, steps: int) -> dict[str, Any]:
    """Diffusion posterior sampling, ζ = 1."""
    return _sampled(Sampler(steps, method="dps"), [data["condition"]], data["n"], rng)


@Method.define(role="control", of=steered)
def final(data: Any, rng: np.random.Generator, *, steps: int) -> dict[str, Any]:
    """One projection at the end."""
    return _sampled(Sampler(steps, method="final"), [data["condition"]], data["n"], rng)


@Method.define(role="control", of=steered, version=2)
def unconditional(data: Any, rng: np.random.Generator, *, steps: int, rounds: int) -> dict[str, Any]:
    """No condition."""
    return _sampled(Sampler(steps, rounds=rounds), [], data["n"], rng)


class _OfAnother(Sampler):
    """The step goes on with the network's noise of the next sample of the batch."""

    def _noise_of(self, x: Tensor, x0: Tensor, e: Tensor, level: tuple[float, float]) -> Tensor:
        return e.roll(1, 0)


class _OfAThird(Sampler):
    """The same of the sample after that."""

    def _noise_of(self, x: Tensor, x0: Tensor, e: Tensor, level: tuple[float, float]) -> Tensor:
        return e.roll(2, 0)


@Method.define(role="control", of=steered)
def permuted(data: Any, rng: np.random.Generator, *, steps: int) -> dict[str, Any]:
    """The network's noise, but that of another sample."""
    return _sampled(_OfAnother(steps), [data["condition"]], data["n"], rng)


@Method.define(role="control", of=steered)
def permuted_again(data: Any, rng: np.random.Generator, *, steps: int) -> dict[str, Any]:
    """That of a third sample, which belongs no less to another image."""
    return _sampled(_OfAThird(steps), [data["condition"]], data["n"], rng)


@Method.define(role="oracle", sees_truth=True)
def posterior(sample: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Draws from the exact posterior."""
    images, _ = sample.truth["posterior"]().sample(sample.truth["draws"], torch_generator(rng))
    return {"images": images.flatten(0, 1).numpy()}


@Method.define()
def directory(data: Any, rng: np.random.Generator, *, steps: int) -> dict[str, Any]:
    """A pipeline with an untrained network, saved to a folder and steered from there as from a hub id."""
    from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel

    torch.manual_seed(int(rng.integers(2**31)))
    unet = UNet2DModel(
        sample_size=8, block_out_channels=(16, 32), layers_per_block=1, norm_num_groups=8,
        down_block_types=("DownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "UpBlock2D"),
    )  # fmt: skip
    mask = np.zeros((8, 8))
    mask[2:6, 2:6] = 1
    with tempfile.TemporaryDirectory() as folder:
        # An untrained network as an estimate of the clean image stays near grey; as a noise it would not.
        pipeline: Any = DDPMPipeline(unet, DDPMScheduler(prediction_type="sample"))
        pipeline.save_pretrained(Path(folder) / "model")
        samples = Steered(Path(folder) / "model", steps=steps).sample(
            2, inpaint=(data["image"], mask), seed=int(rng.integers(2**31)), progress=False
        )
    outside = (samples.images - data["image"])[:, :, torch.as_tensor(mask) == 0]
    return {"images": samples.images.numpy(), "largest": float(outside.abs().max())}


# Methods: a classifier steers ----------------------------------------------------------------------------


def _by_class(
    data: Any, rng: np.random.Generator, sampler: Sampler, weight: float, labels: Tensor
) -> dict[str, Any]:
    conditions = [ClassOf(phi(data), labels, weight), *data["conditions"]]
    return _sampled(sampler, conditions, data["n"], rng)


@Method.define()
def by_class(data: Any, rng: np.random.Generator, *, steps: int, weight: float) -> dict[str, Any]:
    """Steered Diffusion by the classifier (its own defaults: the network's noise beside a linear condition)."""
    sampler = Sampler(steps, eps="network" if data["conditions"] else "recompute")
    return _by_class(data, rng, sampler, weight, data["labels"])


@Method.define(role="baseline")
def explicit(data: Any, rng: np.random.Generator, *, steps: int, weight: float) -> dict[str, Any]:
    """The classifier is shown the noisy image."""
    return _by_class(data, rng, Sampler(steps, method="explicit"), weight, data["labels"])


@Method.define(role="baseline")
def noise_trained(data: Any, rng: np.random.Generator, *, steps: int, weight: float) -> dict[str, Any]:
    """The same with a classifier that was trained on noisy images of all steps."""
    noisy = {**data, "phi": data["phi_noisy"]()}
    return _by_class(noisy, rng, Sampler(steps, method="explicit"), weight, data["labels"])


# Mutants -------------------------------------------------------------------------------------------------


@Method.define(role="mutant", of=steered)
def no_condition(data: Any, rng: np.random.Generator, *, steps: int, **variant: Any) -> dict[str, Any]:
    """Leaves the projection out."""
    return _sampled(Sampler(steps), [], data["n"], rng)


@Method.define(role="mutant", of=steered)
def only_at_the_end(data: Any, rng: np.random.Generator, *, steps: int, **variant: Any) -> dict[str, Any]:
    """Projects once, at the end."""
    return dict(final.run(data, rng, steps=steps))


@Method.define(role="mutant", of=steered)
def copy_of_condition(data: Any, rng: np.random.Generator, **variant: Any) -> dict[str, Any]:
    """Hands back the smallest image that meets the condition."""
    grey = torch.zeros(data["n"], 3, 8, 8, dtype=torch.float64)
    return {"images": data["condition"].project(grey).numpy()}


@Method.define(role="mutant", of=by_class)
def no_guidance(data: Any, rng: np.random.Generator, *, steps: int, weight: float) -> dict[str, Any]:
    """Takes no step down the classifier's gradient."""
    return _sampled(Sampler(steps, eps="network"), data["conditions"], data["n"], rng)


@Method.define(role="mutant", of=by_class)
def uphill(data: Any, rng: np.random.Generator, *, steps: int, weight: float) -> dict[str, Any]:
    """Goes up the gradient, away from the class."""
    return dict(by_class.run(data, rng, steps=steps, weight=-weight))


@Method.define(role="mutant", of=by_class)
def any_class(data: Any, rng: np.random.Generator, *, steps: int, weight: float) -> dict[str, Any]:
    """Steers every sample to a class that is drawn at random."""
    return dict(by_class.run(_any_labels(data, rng), rng, steps=steps, weight=weight))


@Method.define(role="mutant", of=by_class)
def forgets_luma(data: Any, rng: np.random.Generator, *, steps: int, weight: float) -> dict[str, Any]:
    """Takes the classifier and leaves the other condition out."""
    return dict(by_class.run({**data, "conditions": []}, rng, steps=steps, weight=weight))


@Method.define(role="mutant", of=learned.pipeline)
def pipeline_at_the_end(data: Any, rng: np.random.Generator, **options: Any) -> dict[str, Any]:
    """Projects once, at the end, with the learned generator."""
    return dict(learned.pipeline.run(data, rng, **{**options, "how": "final"}))


@Method.define(role="mutant", of=learned.pipeline)
def pipeline_without(data: Any, rng: np.random.Generator, **options: Any) -> dict[str, Any]:
    """Leaves the projection out, with the learned generator."""
    return dict(learned.pipeline_unconditional.run(data, rng, **options))


@Method.define(role="mutant", of=learned.pipeline_by_class)
def pipeline_any_class(data: Any, rng: np.random.Generator, **options: Any) -> dict[str, Any]:
    """Steers the learned generator to classes that are drawn at random."""
    return dict(learned.pipeline_by_class.run(_any_labels(data, rng), rng, **options))


def _any_labels(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    classes = len(data["phi"][1])
    return {**data, "labels": torch.as_tensor(rng.integers(0, classes, data["n"]))}


# Measures ------------------------------------------------------------------------------------------------


def _images(output: Any) -> Tensor:
    return torch.as_tensor(output["images"])


def _probabilities(factor: str, images: Tensor) -> Tensor:
    return digits()[0].probabilities(factor, images, ORACLE**0.5, (1 - ORACLE) ** 0.5)


@Measure.define(better="none", version=2, gives=("log_p", "log_p_off"))
def likely(output: Any, sample: Sample) -> dict[str, float]:
    """Median log density of the samples in nats, and its distance from true draws', which have about 216: images that
    are too likely are off, too.
    """
    median = float(digits()[0].log_prob(_images(output)).median())
    return {"log_p": median, "log_p_off": abs(median - _log_p_of_truth())}


@lru_cache(maxsize=1)
def _log_p_of_truth() -> float:
    images, _ = digits()[0].sample(4000, torch.Generator().manual_seed(0))
    return float(digits()[0].log_prob(images).median())


@Measure.define(better="lower", gives=("largest", "rmse"))
def obeys(output: Any, sample: Sample) -> dict[str, float]:
    """Largest and root mean square of A x − y."""
    data = sample.data
    condition = data["condition"] if "condition" in data else sample.truth["measured"][0]
    gap = condition.A(_images(output)) - condition.y
    return {"largest": float(gap.abs().max()), "rmse": float(gap.square().mean().sqrt())}


@Measure.define(better="lower")
def largest_of_folder(output: Any, sample: Sample) -> float:
    """Largest |A x − y| of the samples of the saved pipeline."""
    return output["largest"]


@Measure.define(gives=("tv", "p_true"))
def modes(output: Any, sample: Sample) -> dict[str, float]:
    """Total variation between the components of a target's samples and the exact posterior's, and the share right."""
    truth = sample.truth
    net = digits()[0]
    r = net.responsibilities(_images(output), ORACLE**0.5, (1 - ORACLE) ** 0.5)
    r = r.reshape(-1, truth["draws"], r.shape[1]).mean(1)
    return {
        "tv": float((r - truth["posterior"]().weights).abs().sum(1).mean() / 2),
        "p_true": float(r[torch.arange(len(r)), truth["component"]].mean()),
    }


@Measure.define(better="none", gives=("variance_ratio", "mean_error", "hue_entropy"))
def spread(output: Any, sample: Sample) -> dict[str, float]:
    """Variance over the exact posterior's, error of the posterior mean, entropy of the hues drawn (at most 1.10)."""
    posterior = sample.truth["posterior"]()
    images = _images(output).reshape(-1, sample.truth["draws"], 3, 8, 8)
    hues = _probabilities("hue", images.flatten(0, 1)).mean(0)
    return {
        "variance_ratio": float(images.var(1).mean() / posterior.variance.mean()),
        "mean_error": float((images.mean(1) - posterior.mean).square().mean().sqrt()),
        "hue_entropy": float(-(hues * hues.clamp_min(1e-300).log()).sum()),
    }


@Measure.define(gives=("phi", "oracle", "gap"))
def success(output: Any, sample: Sample) -> dict[str, float]:
    """Share of samples of the wanted class, by the classifier that steers and by the exact oracle; the difference."""
    images, labels = _images(output), sample.truth["labels"]
    by_phi = float((phi(sample.data)(images).argmax(1) == labels).double().mean())
    by_oracle = float((_probabilities(sample.truth["factor"], images).argmax(1) == labels).double().mean())
    return {"phi": by_phi, "oracle": by_oracle, "gap": by_phi - by_oracle}


# The grid ------------------------------------------------------------------------------------------------

RECOMPUTE = {"eps": "recompute", "rounds": 1, "renoise": "kernel"}
NETWORK = {**RECOMPUTE, "eps": "network"}
RIVAL_WEIGHTS = (3.0, 10.0, 30.0, 100.0)


def grids(s: Settings) -> list[Grid]:
    """The cells of the claims, and the rivals that the figures show beside them."""
    steps = {"steps": s.steps}
    sharp = {"targets": s.sharp, "draws": 1}
    wide = {"task": "luma", "targets": s.open, "draws": s.draws}
    many = {"task": "luma", "targets": s.rounds, "draws": 1}
    one = ONE * s.steps / 100

    def linear(measures: tuple[str, ...], params: dict[str, Any], n: int, **variant: Any) -> Grid:
        cost = one * n * variant["rounds"]
        return measured(s.seeds, ("steered",), measures, params, {**steps, **variant}, cost)

    def rivals(methods: tuple[str, ...], measures: tuple[str, ...], params: dict[str, Any], n: int) -> Grid:
        costs = {name: one * n * (1.6 if name == "dps" else 1) for name in methods}
        return measured(s.seeds, methods, measures, params, steps, costs)

    def steering(
        methods: tuple[str, ...],
        weight: float,
        luma: str = "none",
        factor: str = "digit",
        classifier: str = "clean",
    ) -> Grid:
        options = {**steps, "weight": weight}
        return wanted(s.seeds, methods, s.steered, options, 1.6 * one * s.steered, luma, factor, classifier)

    everything, of_luma = ("likely", "obeys", "modes"), ("likely", "obeys", "modes", "spread")
    n = s.open * s.draws
    return [
        linear(everything, sharp, s.sharp, **RECOMPUTE),
        linear(everything, sharp, s.sharp, **NETWORK),
        rivals(("permuted", "permuted_again", "final"), everything, sharp, s.sharp),
        linear(of_luma, wide, n, **RECOMPUTE),
        linear(of_luma, wide, n, **NETWORK),
        linear(of_luma, wide, n, **{**NETWORK, "rounds": 3}),
        rivals(("replace", "dps"), of_luma, wide, n),
        measured(s.seeds, ("unconditional",), of_luma, wide, {**steps, "rounds": 1}, one * n),
        Grid("targets", ("posterior",), of_luma, s.seeds, world_params=wide, cost_s=1.0),
        linear(("likely",), many, s.rounds, **RECOMPUTE),
        linear(("likely",), many, s.rounds, **{**RECOMPUTE, "rounds": 3}),
        linear(("likely",), many, s.rounds, **{**RECOMPUTE, "rounds": 3, "renoise": "published"}),
        *(
            measured(s.seeds, ("unconditional",), ("likely",), many, {**steps, "rounds": r}, one * r * s.rounds)
            for r in (1, 3)
        ),
        linear(("obeys",), {"task": "bicubic", "targets": 16, "draws": 1}, 16, **RECOMPUTE),
        Grid(
            "photo", ("directory",), ("largest_of_folder",), s.seeds,
            method_params={"directory": {"steps": min(20, s.steps)}}, cost_s=1.0,
        ),
        steering(("by_class", "explicit", "noise_trained"), 3.0),
        *(steering(("noise_trained",), weight) for weight in RIVAL_WEIGHTS if weight != 3.0),
        steering(("by_class",), 3.0, classifier="permuted"),
        steering(("by_class",), 3.0, "own"),
        steering(("by_class",), 3.0, "other"),
        steering(("by_class",), 3.0, "withheld"),
        steering(("by_class",), 3.0, "own", "hue"),
        steering(("by_class",), 0.0, "own", "hue"),
        *learned.grids(s.seeds, targets=s.learned, steps=s.steps // 2, training=s.training),
    ]  # fmt: skip


# The claims ----------------------------------------------------------------------------------------------


def _of(name: str, method: str, **where: Any) -> str:
    return f"mean({name}|{method}, " + ", ".join(f"{k}={v!r}" for k, v in where.items()) + ")"


def _tv(task: str, method: str, **where: Any) -> str:
    return _of("tv", method, task=task, **where)


MANY: dict[str, Any] = {"task": "luma", "draws": 1}
CLASS: dict[str, Any] = {"luma": "none", "factor": "digit", "weight": 3.0, "classifier": "clean"}
PERMUTED = {**CLASS, "classifier": "permuted"}
PLAIN = _of("log_p_off", "unconditional", rounds=1, **MANY)
RIVAL = (
    "highest("
    + ", ".join(_of("oracle", "noise_trained", **{**CLASS, "weight": w}) for w in RIVAL_WEIGHTS)
    + ")"
)
LEARNED: dict[str, Any] = {"generator": "learned", "how": "steered", "draws": 1}
LEARNED_PLAIN = _of("log_p_off", "pipeline_unconditional", generator="learned")
PUBLISHED: dict[str, Any] = {"eps": "recompute", "rounds": 1, "draws": 1}
HUE: dict[str, Any] = {"luma": "own", "factor": "hue", "classifier": "clean"}
SHARP = ("small", "hole")


def _repaired(method: str, **where: Any) -> str:
    """How much nearer to true draws' log p three rounds are than one."""
    one, three = (_of("log_p_off", method, **where, rounds=r, **MANY) for r in (1, 3))
    return f"{one} - {three}"


def _worse(task: str) -> str:
    """Total variation with the noise of another sample minus that with its own."""
    return f"{_tv(task, 'permuted')} - {_tv(task, 'steered', eps='network', rounds=1)}"


def _over_published(method: str, **where: Any) -> str:
    """Total variation over that of the published step, of both tasks."""
    return ", ".join(
        f"{_tv(t, method, **where)} / {_tv(t, 'steered', eps='recompute', rounds=1)}" for t in SHARP
    )


VARIANTS = (
    _of("tv", "steered", eps="recompute", rounds=1, world="targets", task="luma"),
    _of("tv", "steered", eps="network", rounds=1, world="targets", task="luma"),
    _of("tv", "steered", eps="network", rounds=3, world="targets", task="luma"),
    "mean(tv|replace, task='luma')",
    "mean(tv|dps, task='luma')",
)
BICUBIC = "bicubic down and up, the published operator, is no projection: above 0.01"
PAPER = "improves on plug-and-play baselines (no figure)"


def _off(method: str, extreme: str = "highest", **where: Any) -> str:
    """Distance of the median log p from true draws', the larger or smaller of small and hole."""
    return f"{extreme}({', '.join(_of('log_p_off', method, task=task, **where) for task in SHARP)})"


claims = (
    Claim(
        "1a", "Steering the clean estimate gets the class more often than showing the noisy image to the same "
        "classifier (share right by the oracle, difference)",
        f"{_of('oracle', 'by_class', **CLASS)} - {_of('oracle', 'explicit', **CLASS)}", 0.15, Control(
            "with the classifier's classes permuted and the labels kept the class is wrong: right in at most 0.15",
            _of("oracle", "by_class", **PERMUTED), high=0.15, rule="mean",
        ), paper=PAPER, same="same direction only", version=2,
    ),
    Claim(
        "1b", "and hardly less often than a classifier that was trained on noisy images, at its best weight of four "
        "(share right by the oracle, difference)", f"{_of('oracle', 'by_class', **CLASS)} - {RIVAL}", -0.05, Control(
            "with the classifier's classes permuted it is right less often, by 0.5 or more",
            f"{_of('oracle', 'by_class', **PERMUTED)} - {RIVAL}", high=-0.5,
        ), paper=PAPER, same="same direction only", version=2,
    ),
    Claim(
        "2", "Samples steered to a class are plausible (distance of the median log p from true draws', minus that of "
        "samples without a condition, nats)", f"{_of('log_p_off', 'by_class', **CLASS)} - {PLAIN}", 10.0, Control(
            "steered to one digit with the luma of another they are not: 500 nats or more",
            f"{_of('log_p_off', 'by_class', luma='other')} - {PLAIN}", low=500.0,
        ), direction="<", paper=PAPER, same="same direction only", version=2,
    ),
    Claim(
        "3", "Linear conditions are met exactly, by a pipeline from a folder too (largest |A x − y|)",
        "highest(max(largest|steered, task=['luma', 'small', 'hole']), max(largest_of_folder|directory))", 1e-4,
        Control(BICUBIC, "max(largest|steered, task='bicubic')", low=1e-2, rule="every"), kind="bound",
        direction="<", paper="projection (bicubic for super-resolution)",
    ),
    Claim(
        "3b", "and by plausible images (published step; as 2, the larger of small and hole)",
        f"{_off('steered', **PUBLISHED)} - {PLAIN}", 10.0, Control(
            "one projection at the end meets them, too, by images that are none: 500 nats or more",
            f"{_off('final', 'lowest')} - {PLAIN}", low=500.0, rule="mean",
        ), direction="<", paper=PAPER, same="same direction only",
    ),
    Claim(
        "4", "Three rounds repair realism (luma, recomputed noise; distance of the median log p from true draws', one "
        "round minus three, nats)", _repaired("steered", eps="recompute", renoise="kernel"), 15.0, Control(
            "without a condition there is nothing to repair: 10 nats at most", _repaired("unconditional"), high=10.0
        ), paper="several steps of projected gradient descent (no figure)", same="same direction only", version=2,
    ),
    Claim(
        "5a", "Two conditions at once: the luma is met (root mean square)",
        _of("rmse", "by_class", luma="own", factor="digit"), 1e-4, Control(
            "steered by the class alone the samples have another luma: above 0.1",
            _of("rmse", "by_class", luma="withheld"), low=0.1,
        ), kind="bound", direction="<", version=2,
    ),
    Claim(
        "5b", "and so is a hue that was drawn at random (share right by the oracle, every seed)",
        _of("oracle", "by_class", weight=3.0, **HUE), 0.8, Control(
            "the luma alone gives the hue that was drawn to a third: below 0.5",
            _of("oracle", "by_class", weight=0.0, **HUE), high=0.5, rule="mean",
        ), kind="bound", paper="the published code takes one kind of condition at a time", version=3,
    ),
    Claim(
        "6a", "Not recomputing the noise halves the error of the posterior (total variation over that of the published "
        "step, the larger of small and hole)", f"highest({_over_published('steered', eps='network', rounds=1)})", 0.5,
        Control(
            "one projection at the end, which does not recompute it either, does not halve it",
            f"lowest({_over_published('final')})", low=0.5, rule="mean",
        ), direction="<", paper="ours, not the paper's", version=2,
    ),
    Claim(
        "6b", "and the noise had better be that of this image (total variation with another sample's, minus with its "
        "own, the smaller of small and hole)", f"lowest({_worse('small')}, {_worse('hole')})", 0.03, Control(
            "of two other samples neither is better: within ±0.04 (mean of small and hole)",
            "(" + " + ".join(f"{_tv(t, 'permuted_again')} - {_tv(t, 'permuted')}" for t in SHARP) + ") / 2",
            low=-0.04, high=0.04, rule="mean",
        ), paper="ours, not the paper's", version=2,
    ),
    Claim(
        "7", "It is no posterior sampler, and neither are its rivals (luma: total variation to the posterior, the "
        "smallest of five)",
        f"lowest({', '.join(VARIANTS)})", 0.2, Control(
            "exact draws have at most 0.1, draws without a condition 0.9 or more",
            "highest(mean(tv|posterior) - 0.1, 0.9 - mean(tv|unconditional, task='luma'))", high=0.0, rule="mean",
        ), kind="boundary", paper="not claimed to be one",
    ),
    Claim(
        "8", "The same way with a learned generator from a folder: the clean estimate gets the class more often than "
        "the noisy image (share right by the oracle, difference)",
        f"{_of('oracle', 'pipeline_by_class', generator='learned', classifier='clean')} - "
        f"{_of('oracle', 'pipeline_explicit', generator='learned')}", 0.0, Control(
            "with the classifier's classes permuted it gets it less often, by 0.3 or more",
            f"{_of('oracle', 'pipeline_by_class', generator='learned', classifier='permuted')} - "
            f"{_of('oracle', 'pipeline_explicit', generator='learned')}", high=-0.3, rule="mean",
        ), paper=PAPER, same="same direction only", version=2,
    ),
    Claim(
        "9", "and linear conditions are met exactly (small and hole, largest |A x − y|)",
        "max(largest|pipeline, generator='learned', how='steered', task=['small', 'hole'])", 1e-4, Control(
            BICUBIC, "max(largest|pipeline, task='bicubic')", low=1e-2, rule="every"
        ), kind="bound", direction="<", paper="projection (bicubic for super-resolution)", version=2,
    ),
    Claim(
        "9b", "by images that are as plausible as this generator's own (as 3b, against the learned generator without a "
        "condition)", f"{_off('pipeline', **LEARNED)} - {LEARNED_PLAIN}", 10.0, Control(
            "one projection at the end is not: 100 nats or more",
            f"{_off('pipeline', 'lowest', **{**LEARNED, 'how': 'final'})} - {LEARNED_PLAIN}", low=100.0, rule="mean",
        ), direction="<", paper=PAPER, same="same direction only",
    ),
)  # fmt: skip


LEARNED_NAMES = {
    "pipeline": "linear condition", "pipeline_by_class": "steered by a class", "pipeline_explicit": "noisy image",
}  # fmt: skip


study = Study(
    slug="steered",
    module=__name__,
    version=3,
    scales={
        "quick": Settings(seeds=1, steps=10, sharp=4, open=2, draws=3, rounds=2, steered=6, learned=2, training=1),
        "cpu": Settings(),
        "paper": Settings(
            seeds=20, steps=1000, sharp=300, open=50, draws=50, rounds=300, steered=300, learned=300, training=6000
        ),
    },
    grids=grids,
    worlds=(targets, classes, photo, learned.noised),
    methods=(
        steered, replace, dps, final, unconditional, permuted, permuted_again, posterior, directory, by_class,
        explicit, noise_trained, learned.pipeline, learned.pipeline_unconditional, learned.pipeline_by_class,
        learned.pipeline_explicit, learned.learned_denoiser, no_condition, only_at_the_end, copy_of_condition,
        no_guidance, uphill, any_class, forgets_luma, pipeline_at_the_end, pipeline_without, pipeline_any_class,
    ),
    measures=(likely, obeys, largest_of_folder, modes, spread, success, learned.x0_gap),
    claims=claims,
    figures=(
        Figure(
            "posterior", "Total variation between the components sampled and the exact posterior's; a dot is a seed.",
            draw.posterior, "measure == 'tv' and method != 'pipeline'",
        ),
        Figure(
            "classes", "Class steering at weight 3: what the classifier believes and what the oracle knows; a dot is a "
            "seed.",
            chart(
                "Seen clean, the classifier steers; seen noisy, it is fooled",
                Panel("", "method", "measure", y_label="share of the wanted class", names={
                    "phi": "classifier that steers", "oracle": "oracle", "by_class": "steered",
                    "explicit": "noisy image",
                }), width=6.0,
            ), "world == 'classes' and luma == 'none' and weight == 3 and classifier == 'clean' and "
            "measure in ['phi', 'oracle'] and method in ['by_class', 'explicit']",
        ),
        Figure(
            "realism", "Luma, recomputed noise: median log p by rounds, true draws dashed; a dot is a seed.",
            chart(
                "More rounds, more plausible (luma, recomputed noise)",
                Panel("", "rounds", y_label="median log p, nats", x_label="rounds", level=216), width=5.0,
            ), "measure == 'log_p' and task == 'luma' and draws == 1 and renoise != 'published'",
        ),
        Figure(
            "spread", "Luma: variance of a target's samples over the exact posterior's.", draw.spread,
            "measure in ['variance_ratio', 'mean_error', 'hue_entropy']",
        ),
        Figure(
            "learned", "The exact denoiser and a network trained on draws of the same mixture; a dot is a seed.",
            chart(
                "What learning costs",
                *(
                    Panel("", "generator", rows=f"measure == {name!r}", y_label=label, names=LEARNED_NAMES)
                    for name, label in (
                        ("oracle", "share of the wanted class"), ("tv", "total variation"), ("log_p", "median log p")
                    )
                ), width=11.0,
            ), "method in ['pipeline', 'pipeline_by_class', 'pipeline_explicit'] and "
            "measure in ['oracle', 'tv', 'log_p'] and how != 'final' and classifier != 'permuted' and "
            "task != 'bicubic'",
        ),
    ),
    root_seed=20261130,
    preload=("numpy", "torch", "sklearn.linear_model"),
)  # fmt: skip
