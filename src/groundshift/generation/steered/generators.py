"""Generators: any unconditional diffusion model as an eps-network over its own noise schedule."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from groundshift.errors import InputError

__all__ = ["Denoiser", "denoiser"]

EXACT = "exact:"


class Denoiser:
    """eps(x, t) of a frozen network, for x = √ᾱ_t x0 + √(1 − ᾱ_t) e.

    Parameters
    ----------
    network : (x, t) → prediction, or an object that has it as ``.sample``
        x is (B, C, H, W), t a scalar tensor: a timestep of the schedule, or 1000 σ for a flow.
    alphas_cumprod : ᾱ of the schedule, (T,)
    shape : (C, H, W) of what the chain works on
    prediction_type : "epsilon", "v_prediction", "sample" or "flow_prediction"
        A flow predicts e − x0 at (1 − σ) x0 + σ e; the chain's x is scaled to it.
    decode : latent images → images, if the chain works on latent ones
    clip : the expected clean image is clipped to ± this; None for a generator that was not sampled so

    Examples
    --------
    >>> from diffusers import DDPMScheduler
    >>> abar = DDPMScheduler().alphas_cumprod
    >>> white = Denoiser(lambda x, t: (1 - abar[t.long()]).sqrt() * x, abar, (3, 8, 8))
    >>> white.eps(torch.ones(1, 3, 8, 8), 999).mean().round(decimals=3)
    tensor(1.)
    """

    def __init__(
        self,
        network: Callable[..., Any],
        alphas_cumprod: Tensor,
        shape: tuple[int, int, int],
        *,
        prediction_type: str = "epsilon",
        decode: Callable[[Tensor], Tensor] | None = None,
        clip: float | None = None,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        if prediction_type not in ("epsilon", "v_prediction", "sample", "flow_prediction"):
            raise InputError(
                f"prediction_type={prediction_type!r} was given; epsilon, v_prediction, sample and flow_prediction "
                "are known. Set it in the scheduler's config."
            )
        abar = alphas_cumprod.double().cpu()
        if abar.ndim != 1 or not bool(((abar > 0) & (abar < 1)).all() and (abar.diff() < 0).all()):
            raise InputError(
                "alphas_cumprod must fall from below 1 to above 0, one value for each timestep (a schedule rescaled "
                "to zero terminal SNR has a 0 at its end: leave that step out)."
            )
        self.network, self.alphas_cumprod, self.shape = network, abar, tuple(shape)
        self.prediction_type, self.latent = prediction_type, decode is not None
        self.decode = decode or (lambda images: images)
        self.clip, self.device, self.dtype = clip, torch.device(device), dtype

    def chain(self, steps: int) -> tuple[list[int], list[float]]:
        """Timesteps of a chain of so many steps, evenly spread, and their ᾱ; the cleanest first."""
        T = len(self.alphas_cumprod)
        if not 1 <= steps <= T:
            raise InputError(f"steps={steps} was given; this generator's schedule has 1 to {T}.")
        times = [T - 1] if steps == 1 else np.linspace(0, T - 1, steps).round().astype(int).tolist()
        return times, self.alphas_cumprod[times].tolist()

    def eps(self, x: Tensor, t: float) -> Tensor:
        """The noise in x (B, C, H, W) at a timestep."""
        abar = float(self.alphas_cumprod[int(t)])
        a, b = abar**0.5, (1 - abar) ** 0.5
        if self.prediction_type == "flow_prediction":
            sigma = b / (a + b)
            scaled = x / (a + b)
            return scaled + (1 - sigma) * self._predict(scaled, 1000 * sigma)
        output = self._predict(x, t)
        if self.prediction_type == "v_prediction":
            return a * output + b * x
        return output if self.prediction_type == "epsilon" else (x - a * output) / b

    def _predict(self, x: Tensor, t: float) -> Tensor:
        output = self.network(x, torch.as_tensor(t, device=x.device))
        output = getattr(output, "sample", output)
        # Networks with a learnt variance give it in a second half of channels.
        return output[:, : x.shape[1]] if output.shape[1] == 2 * x.shape[1] else output


def denoiser(
    source: Any,
    *,
    class_label: int | None = None,
    device: str | torch.device | None = None,
    checkpoint: bool = False,
) -> Denoiser:
    """Any generator as a `Denoiser`; its parameters are frozen.

    Parameters
    ----------
    source : one of
        - the directory or hub id of an unconditional diffusers pipeline (DDPM, DDIM, LDM, …), or the pipeline
        - a pair (network, scheduler) of diffusers classes
        - "exact:colour_digits" or "exact:shapes_exact", mixtures in closed form to try things on
        - a `Denoiser`
    class_label : for class-conditional networks
    device : moved there; where it is by default
    checkpoint : recompute activations in the backward pass, for large networks and little memory

    Raises
    ------
    InputError
        A network without its scheduler, one that needs a text or a class, an unknown prediction type.
    """
    if isinstance(source, Denoiser):
        return source
    decoder, folder = None, source
    if isinstance(source, str | Path):
        source = _exact(str(source)) if str(source).startswith(EXACT) else _loaded(source)
    if isinstance(source, tuple):
        network, scheduler = source
    elif hasattr(source, "unet") and hasattr(source, "scheduler"):
        network, scheduler = source.unet, source.scheduler
        decoder = getattr(source, "vqvae", None) or getattr(source, "vae", None)
    else:
        raise InputError(
            f"{folder if isinstance(folder, str | Path) else type(source).__name__} is a network without its noise "
            "schedule; give the pipeline's directory, or a pair (network, scheduler)."
        )
    config = network.config
    if getattr(config, "cross_attention_dim", None) or getattr(config, "encoder_hid_dim", None):
        raise InputError(
            f"{type(network).__name__} is conditional on a text; give Denoiser(lambda x, t: network(x, t, "
            "encoder_hidden_states=...), ...) with the embedding that it is to be used with."
        )
    classes = getattr(config, "num_class_embeds", None)
    if classes and class_label is None:
        raise InputError(f"This generator is conditional on a class; give class_label, 0 to {classes - 1}.")
    for part in (network, decoder):
        if isinstance(part, nn.Module):
            part.requires_grad_(False).eval()
            if device is not None:
                part.to(device)
    if checkpoint:
        network.enable_gradient_checkpointing()
    alphas_cumprod, kind = _schedule(scheduler, config)
    side = config.sample_size
    height, width = (side, side) if isinstance(side, int) else side
    extra = {}
    if class_label is not None:
        extra["class_labels"] = torch.tensor([class_label], device=network.device)

    def predict(x: Tensor, t: Tensor) -> Any:
        return network(x, t, **{name: value.expand(len(x)) for name, value in extra.items()})

    def decode(latent: Tensor) -> Tensor:
        assert decoder is not None
        return decoder.decode(latent / decoder.config.scaling_factor).sample

    return Denoiser(
        predict,
        alphas_cumprod,
        (config.in_channels, height, width),
        prediction_type=kind,
        decode=decode if decoder is not None else None,
        clip=_clip(scheduler),
        device=network.device,
        dtype=network.dtype,
    )


def _schedule(scheduler: Any, config: Any) -> tuple[Tensor, str]:
    """ᾱ and the prediction type; a flow is run through the linear schedule of DDPM."""
    from diffusers import DDPMScheduler

    if "FlowMatch" in type(scheduler).__name__:
        linear: Any = DDPMScheduler()
        return linear.alphas_cumprod, "flow_prediction"
    if hasattr(scheduler, "alphas_cumprod"):
        of_network = getattr(config, "prediction_type", None)
        return scheduler.alphas_cumprod, str(of_network or scheduler.config.prediction_type)
    raise InputError(
        f"{type(scheduler).__name__} has no alphas_cumprod; give a scheduler of the DDPM family (DDPMScheduler, "
        "DDIMScheduler, …) with the betas and the prediction_type that the network was trained with."
    )


def _clip(scheduler: Any) -> float | None:
    """Where the scheduler clips the expected clean image."""
    config = scheduler.config
    if getattr(config, "thresholding", False):
        raise InputError(
            f"{type(scheduler).__name__} thresholds dynamically, which is not done here; set thresholding=False in its "
            "config (and clip_sample=True for much the same)."
        )
    return float(config.clip_sample_range) if getattr(config, "clip_sample", False) else None


def _exact(name: str) -> Any:
    from diffusers import DDPMScheduler

    from groundshift.models.mixture import MixtureModel
    from groundshift.models.tinyvision_exact import exact

    scheduler = DDPMScheduler(clip_sample=False)  # the mixture's pixels lie a little outside, too
    return MixtureModel(exact(name.removeprefix(EXACT)), scheduler), scheduler


def _loaded(source: str | Path) -> Any:
    """A pipeline, or a backbone of ours with the schedule of its recipe."""
    from diffusers import FlowMatchEulerDiscreteScheduler

    from groundshift.models.backbones import backbone

    loaded = backbone(source)
    if str(source).endswith("-flow") and loaded.came_from != "directory":
        return loaded.net, FlowMatchEulerDiscreteScheduler()
    return loaded.net
