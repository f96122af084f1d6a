"""Steered Diffusion: conditional samples of an unconditional diffusion model.

Nair, Cherian, Lohit, Wang, Koike-Akino, Patel, Marks: "Steered Diffusion: A Generalized Framework for Plug-and-Play
Conditional Image Synthesis", ICCV 2023, arXiv:2310.00224. The condition acts on the clean image that the network
expects at each step, not on the noisy one, and the step goes on from the steered estimate. Baselines run through the
same loop.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from accelerate.utils import tqdm
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor

from groundshift.errors import InputError
from groundshift.generation.steered.conditions import Condition, Loss, Measurement
from groundshift.generation.steered.generators import Denoiser

__all__ = ["Sampler", "SteeringWarning"]

Method = Literal["steered", "explicit", "stopgrad", "replace", "final", "dps"]
Generators = torch.Generator | list[torch.Generator] | None
LARGE_STEP = 10.0


class SteeringWarning(UserWarning):
    """Gradient steps so long that the images may no longer be images."""


@dataclass(frozen=True)
class Sampler:
    """The sampler and its rivals.

    Parameters
    ----------
    steps : of the chain, evenly spread over the generator's own
    method :
        - "steered": projections and gradients act on the clean estimate, gradients through the network
        - "stopgrad": the same, but gradients stop at the estimate
        - "explicit": the inverse model is shown the noisy image, as in classifier guidance
        - "replace": the measured part of the noisy image is replaced by a noised measurement (ILVR, RePaint)
        - "final": one projection at the end
        - "dps": gradients of the distance ‖A x0 − y‖, through the network (diffusion posterior sampling)
    eps : the noise that the step goes on with: "recompute" from the steered estimate (the published sampler), or the
        "network"'s own
    eta : 1 for ancestral noise, 0 for none
    rounds : times each step is taken, with new noise between
    renoise : "kernel", the forward kernel of the step, or "published", which scales that noise by β in place of √β
    every : take the gradient at every so many steps only
    zeta : step length of "dps" along the gradient

    Examples
    --------
    >>> from groundshift.generation.steered import Luma, denoiser
    >>> from groundshift.models.tinyvision_exact import colour_digits
    >>> grey = torch.linspace(-1, 0, 64).reshape(1, 1, 8, 8)
    >>> draw = torch.Generator().manual_seed(0)
    >>> images, _ = Sampler(steps=20)(denoiser("exact:colour_digits"), 2, [Luma(grey)], draw)
    >>> images.shape, bool(Luma(grey.double()).error(images).max() < 1e-6)
    (torch.Size([2, 3, 8, 8]), True)
    """

    steps: int = 100
    method: Method = "steered"
    eps: Literal["recompute", "network"] = "recompute"
    eta: float = 1.0
    rounds: int = 1
    renoise: Literal["kernel", "published"] = "kernel"
    every: int = 1
    zeta: float = 1.0

    def __post_init__(self) -> None:
        for name, given, known in (
            ("method", self.method, get_args(Method)),
            ("eps", self.eps, ("recompute", "network")),
            ("renoise", self.renoise, ("kernel", "published")),
        ):
            if given not in known:
                raise InputError(f"{name}={given!r} was given; it is one of {', '.join(known)}.")
        if min(self.steps, self.rounds, self.every) < 1 or not 0 <= self.eta <= 1:
            raise InputError(
                f"steps={self.steps}, rounds={self.rounds}, every={self.every} and eta={self.eta} were given; the "
                "first three are at least 1, eta lies in [0, 1]."
            )

    def __call__(
        self,
        denoiser: Denoiser,
        n: int,
        conditions: Sequence[Condition] = (),
        generator: Generators = None,
        *,
        keep: int = 0,
        progress: bool = False,
    ) -> tuple[Tensor, list[Tensor]]:
        """Draw n samples.

        Parameters
        ----------
        denoiser : the frozen generator
        conditions : measurements are met in their order, after the gradient step, so the last one wins
        generator : of all noise, or a list of one for each sample, which makes a sample independent of its batch
        keep : also give the steered estimate at every so many steps; 0 for none
        progress : show a bar

        Returns
        -------
        x : (n, *shape) of the denoiser, latent images if it has a decoder
        kept : estimates, the noisiest first

        Raises
        ------
        InputError
            Conditions that do not fit the generator, a loss without a gradient or one that is not finite.
        """
        times, abar = denoiser.chain(self.steps)

        def noise() -> Tensor:
            return randn_tensor((n, *denoiser.shape), generator, denoiser.device, denoiser.dtype)

        x = noise()
        measurements, losses = self._checked(conditions, denoiser, x)
        kept: list[Tensor] = []
        longest = 0.0
        bar = tqdm(
            reversed(range(self.steps)), "steps", self.steps, main_process_only=False,
            disable=None if progress else True,
        )  # fmt: skip
        for t in bar:
            a, b = math.sqrt(abar[t]), math.sqrt(1 - abar[t])
            before = abar[t - 1] if t else 1.0
            k = math.sqrt(1 - abar[t + 1]) if t + 1 < self.steps else 1.0
            s = self.eta * math.sqrt((1 - before) / (1 - abar[t]) * (1 - abar[t] / before))
            active = [loss for loss in losses if loss.active(t, self.steps) and t % self.every == 0]
            for r in range(self.rounds):
                # 1. The clean image that the network expects, and the gradient of what the conditions say of it.
                x0, e, gradient = self._estimate(denoiser, x, times[t], (a, b), active, measurements)

                # 2. Steer it: down the gradient, then onto the measurements.
                if self.method != "dps" and active:
                    step = k * gradient
                    longest = max(longest, float((_lengths(step) / _lengths(x0)).max()))
                    x0 = x0 - step
                if self.method in ("steered", "stopgrad", "explicit") or (self.method == "final" and t == 0):
                    for m in measurements:
                        x0 = m.project(x0, ridge=m.sigma**2 * a**2 / b**2)

                # 3. The reverse step from the steered estimate.
                e = self._noise_of(x, x0, e, (a, b))
                direction = math.sqrt(max(0.0, 1 - before - s**2))
                x_next = math.sqrt(before) * x0 + direction * e
                if t:
                    x_next = x_next + s * noise()
                if self.method == "dps":
                    x_next = x_next - gradient
                if self.method == "replace":
                    for m in measurements:
                        y_noised = math.sqrt(before) * m.y + math.sqrt(1 - before) * m.A(noise())
                        x_next = x_next - m.pinv(m.A(x_next) - y_noised)

                # 4. Another round starts from a noisier image.
                if r < self.rounds - 1:
                    beta = 1 - abar[t] / before
                    scale = math.sqrt(beta) if self.renoise == "kernel" else beta
                    x_next = math.sqrt(1 - beta) * x_next + scale * noise()
                x = x_next
            if keep and t % keep == 0:
                kept.append(x0)
        if longest > LARGE_STEP:
            weights = ", ".join(f"{loss.name} {loss.weight:g}" for loss in losses)
            warnings.warn(
                f"The longest gradient step was {longest:.0f} times as long as the image it moved (weights: "
                f"{weights}). Weights {math.ceil(longest / LARGE_STEP)} times smaller, or a condition that the others "
                "allow, may give better images.",
                SteeringWarning,
                stacklevel=2,
            )
        return x, kept

    def _noise_of(self, x: Tensor, x0: Tensor, e: Tensor, level: tuple[float, float]) -> Tensor:
        """The noise that the step goes on with."""
        a, b = level
        return (x - a * x0) / b if self.eps == "recompute" else e

    def _estimate(
        self,
        denoiser: Denoiser,
        x: Tensor,
        time: float,
        level: tuple[float, float],
        active: list[Loss],
        measurements: list[Measurement],
    ) -> tuple[Tensor, Tensor, Tensor]:
        """x0 and the noise as the network expects them, and the gradient of the energy, which is 0 without one."""
        a, b = level
        distances = measurements if self.method == "dps" else []
        wanted = bool(active or distances)
        through = wanted and self.method in ("steered", "dps")
        x = x.detach().requires_grad_(wanted)
        with torch.set_grad_enabled(through):
            e = denoiser.eps(x, time)
            x0 = (x - b * e) / a
            if denoiser.clip is not None:
                x0 = x0.clamp(-denoiser.clip, denoiser.clip)
        if not wanted:
            return x0, e, torch.zeros_like(x)
        if self.method == "stopgrad":
            x0 = x0.detach().requires_grad_()
        # What the conditions see, and what they may move.
        seen = x if self.method == "explicit" else x0
        moved = x0 if self.method == "stopgrad" else x
        with torch.enable_grad():
            energy = x.new_zeros(len(x))
            images = denoiser.decode(seen) if active else seen
            for loss in active:
                value = loss(images)
                if not value.requires_grad:
                    raise InputError(
                        f"The {loss.name} has no gradient with respect to the image: is the inverse model in no_grad, "
                        "or does it round or quantise?"
                    )
                if not bool(torch.isfinite(value).all()):
                    raise InputError(
                        f"The {loss.name} is not finite at timestep {time:g} (weight {loss.weight:g}). Lower the "
                        "weight, or leave noisy steps out, as in window=(0, 60)."
                    )
                energy = energy + loss.weight * value
            for m in distances:
                energy = energy + self.zeta * (m.A(seen) - m.y).flatten(1).norm(dim=1)
            (gradient,) = torch.autograd.grad(energy.sum(), moved)
        return x0.detach(), e.detach(), gradient

    def _checked(
        self, conditions: Sequence[Condition], denoiser: Denoiser, x: Tensor
    ) -> tuple[list[Measurement], list[Loss]]:
        measurements = [c.to(x) for c in conditions if isinstance(c, Measurement)]
        losses = [c.to(x) for c in conditions if isinstance(c, Loss)]
        if measurements and denoiser.latent:
            raise InputError(
                f"The {measurements[0].name} condition is one on pixels, but this generator makes latent images. Give "
                "it as a loss: Loss(lambda image: condition.error(image), weight)."
            )
        if losses and self.method in ("replace", "final"):
            raise InputError(
                f"method={self.method!r} takes linear conditions only, and {losses[0].name} is none; use "
                "steered, stopgrad, explicit or dps."
            )
        for m in measurements:
            m.check(denoiser.shape)
            if len(m.y) not in (1, len(x)):
                raise InputError(
                    f"The {m.name} condition has {len(m.y)} rows for {len(x)} samples; give 1 or {len(x)}."
                )
        return measurements, losses


def _lengths(images: Tensor) -> Tensor:
    return images.flatten(1).norm(dim=1)
