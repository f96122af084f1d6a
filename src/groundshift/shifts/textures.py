"""Synthesis of textures by Gram matrices: with the network that a user has, or with random filters and no network."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from groundshift.errors import InputError, MissingPart
from groundshift.models.files import first_line
from groundshift.shifts.rearranging import Pixels

__all__ = [
    "RandomFilters", "Synthesis", "VGGFeatures", "gram", "gram_distance", "grey_for_portilla", "load_vgg", "portilla",
    "synthesise", "texture_loss",
]  # fmt: skip

SIZES = (3, 5, 7, 11, 15, 23)
SCALES = 4
"""Of the steerable pyramid."""
MEAN, SD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet, which VGG networks expect their pixels to be standardised by."""


def gram(features: Tensor) -> Tensor:
    """Gram matrices F Fᵀ over the number of positions: (..., channels, positions) → (..., channels, channels).

    >>> gram(torch.tensor([[1.0, 2.0], [0.0, 1.0]])).tolist()
    [[2.5, 1.0], [1.0, 0.5]]
    """
    return features @ features.transpose(-1, -2) / features.shape[-1]


def gram_distance(a: Sequence[Tensor], b: Sequence[Tensor]) -> Tensor:
    """Mean over layers of ‖A − B‖² / (‖A‖² + ‖B‖²), of Gram matrices (..., channels, channels): between 0 and 1."""
    terms = [
        (x - y).square().sum((-1, -2)) / (x.square() + y.square()).sum((-1, -2)).clamp_min(1e-12)
        for x, y in zip(a, b, strict=True)
    ]
    return torch.stack(terms).mean(0)


class RandomFilters(nn.Module):
    """Fixed Gaussian filters of several sizes with ReLU, which suffice for textures (Ustyuzhaninov et al. 2017).

    Parameters
    ----------
    each : filters of each size, with mean 0 and norm 1
    seed : of the filters
    """

    def __init__(self, each: int = 64, seed: int = 0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        for size in SIZES:
            drawn = torch.randn(each, 3, size, size, generator=generator)
            drawn = drawn - drawn.mean((1, 2, 3), keepdim=True)
            self.register_buffer(f"size_{size}", drawn / drawn.flatten(1).norm(dim=1)[:, None, None, None])

    def forward(self, x: Tensor) -> list[Tensor]:
        """Feature maps (B, each, H·W) of each size, of standardised pixels (B, 3, H, W)."""
        maps = []
        for size in SIZES:
            half = min(size // 2, min(x.shape[-2:]) - 1)
            padded, filters = functional.pad(x, (half,) * 4, mode="reflect"), getattr(self, f"size_{size}")
            maps.append(
                (_by_fft(padded, filters) if size > 7 else functional.conv2d(padded, filters))
                .relu()
                .flatten(2)
            )
        return maps


def _by_fft(x: Tensor, filters: Tensor) -> Tensor:
    """What ``conv2d`` gives, in a fraction of the time where the filters are large."""
    size = tuple(x.shape[-2:])
    spectra = torch.fft.rfft2(filters, size).conj()  # a correlation
    product = torch.einsum("bcyx,fcyx->bfyx", torch.fft.rfft2(x), spectra)
    kept = [n - k + 1 for n, k in zip(size, filters.shape[-2:], strict=True)]
    return torch.fft.irfft2(product, size)[:, :, : kept[0], : kept[1]]


class VGGFeatures(nn.Module):
    """Convolutions of a VGG network with average pooling, scaled to a mean activation of 1 (Gatys et al. 2015).

    Its maps are those of the first convolution and of each pooling but the fifth.

    Parameters
    ----------
    convolutions : (weight, bias, whether a pooling follows) of each
    """

    def __init__(self, convolutions: Sequence[tuple[Tensor, Tensor, bool]]) -> None:
        super().__init__()
        self.convolutions = [(w.float(), b.float(), pool) for w, b, pool in convolutions]

    def forward(self, x: Tensor) -> list[Tensor]:
        """Feature maps (B, channels, positions), of standardised pixels (B, 3, H, W)."""
        maps = []
        for k, (weight, bias, pool) in enumerate(self.convolutions):
            x = functional.conv2d(x, weight, bias, padding=1).relu()
            if k == 0:
                maps.append(x.flatten(2))
            if pool:
                if min(x.shape[-2:]) < 2:
                    break
                x = functional.avg_pool2d(x, 2)
                maps.append(x.flatten(2))
            if len(maps) == 5:
                break
        return maps

    @torch.no_grad()
    def scaled(self, x: Tensor) -> VGGFeatures:
        """The same function of the pixels, up to a factor for each channel: its mean activation on ``x`` is 1."""
        scaled, before = [], torch.ones(x.shape[1], device=x.device)
        for weight, bias, pool in self.convolutions:
            weight, bias = weight.to(x.device), bias.to(x.device)
            weight = weight * before[None, :, None, None]
            x = functional.conv2d(x, weight, bias, padding=1).relu()
            mean = x.mean((0, 2, 3))
            mean = torch.where(mean > 0, mean, 1.0)  # a channel that is never active stays as it is
            scaled.append((weight / mean[:, None, None, None], bias / mean, pool))
            x = x / mean[None, :, None, None]
            x = functional.avg_pool2d(x, 2) if pool and min(x.shape[-2:]) > 1 else x
            before = torch.ones_like(mean)
        return VGGFeatures(scaled)


def load_vgg(directory: str | Path) -> VGGFeatures:
    """The convolutions of a VGG network from the weights in a directory, or in one file.

    Parameters
    ----------
    directory : with ``*.safetensors``, ``*.pth`` or ``*.pt``, whose names are torchvision's and timm's
        (``features.0.weight``, …); where a number is left out between two convolutions, pooling stands there

    Raises
    ------
    InputError
        No such file, no such names, kernels other than 3 × 3, batch norm, channels that do not fit.
    """
    path = Path(directory)
    files = (
        [path]
        if path.is_file()
        else sorted(p for e in ("safetensors", "pth", "pt") for p in path.glob(f"*.{e}"))
    )
    if not files:
        raise InputError(
            f"{directory} holds no weights; a *.safetensors or *.pth file of a VGG network is needed."
        )
    state = _state(files[0])
    pattern = re.compile(r"(?:.*\.)?features\.(\d+)\.weight")
    found = {int(m[1]): name for name in state if (m := pattern.fullmatch(name))}
    layers: list[tuple[Tensor, Tensor, bool]] = []
    numbers, channels = sorted(found), 3
    for number, after in zip(numbers, [*numbers[1:], numbers[-1] + 3] if numbers else [], strict=True):
        weight, bias = state[found[number]], state.get(found[number][: -len("weight")] + "bias")
        if bias is None or weight.ndim != 4 or tuple(weight.shape[1:]) != (channels, 3, 3):
            raise InputError(
                f"{files[0]} has {found[number]} of shape {tuple(weight.shape)}; a convolution of {channels} channels "
                "and 3 × 3 pixels with a bias is needed, as in VGG-19 without batch norm."
            )
        channels = len(weight)
        layers.append((weight, bias, after - number > 2))
    if not any(pool for *_, pool in layers):
        raise InputError(
            f"{files[0]} holds no names like features.0.weight; the weights of a VGG network are needed."
        )
    return VGGFeatures(layers)


def _state(file: Path) -> Mapping[str, Tensor]:
    try:
        if file.suffix == ".safetensors":
            return load_file(file)
        loaded = torch.load(file, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, SafetensorError, UnpicklingError) as error:
        raise InputError(f"{file} cannot be read as weights ({first_line(error)}).") from error
    return loaded.get("state_dict", loaded) if isinstance(loaded, dict) else {}


@dataclass(frozen=True)
class Synthesis:
    """A synthesised texture (H, W, 3), and the lowest loss up to every evaluation at full size."""

    image: Pixels
    history: NDArray[np.float64]


def synthesise(
    image: Pixels, seed: int, *, features: nn.Module | None = None, steps: int = 300, halves: bool = True,
    device: Any = "cpu",
) -> Synthesis:  # fmt: skip
    """A texture whose Gram matrices are those of an image, from noise, by L-BFGS.

    Parameters
    ----------
    image : (H, W, 3)
    seed : of the noise
    features : `RandomFilters` (default) or `VGGFeatures`
    steps : of L-BFGS
    halves : half the size first, then half as many steps at full size
    device : of torch

    Examples
    --------
    >>> image = np.random.default_rng(0).integers(0, 256, (16, 16, 3)).astype(np.uint8)
    >>> done = synthesise(image, 1, features=RandomFilters(4), steps=5, halves=False)
    >>> done.image.shape, bool(done.history[-1] < done.history[0])
    ((16, 16, 3), True)
    """
    features = RandomFilters() if features is None else features
    x = torch.as_tensor(np.ascontiguousarray(image), device=device).permute(2, 0, 1)[None].float() / 255
    if isinstance(features, VGGFeatures):
        mean, sd = (torch.tensor(v, device=x.device)[None, :, None, None] for v in (MEAN, SD))
        features = features.scaled((x - mean) / sd)
    else:
        features = features.to(x.device)
        mean, sd = x.mean((2, 3), keepdim=True), x.std((2, 3), keepdim=True).clamp_min(1e-3)
    target = (x - mean) / sd
    centre, spread = target.mean((2, 3), keepdim=True), target.std((2, 3), keepdim=True)
    size = image.shape[:2]
    half = (size[0] // 2, size[1] // 2) if halves and min(size) >= 32 else size
    noise = np.random.default_rng(seed).standard_normal((1, 3, *half))
    start = centre + spread * torch.as_tensor(noise, device=x.device).float()
    if half != size:
        rough = _descend(start, functional.interpolate(target, half, mode="area"), features, steps)[0]
        start = functional.interpolate(rough, size, mode="bilinear", align_corners=False)
        steps = max(steps // 2, 1)
    final, history = _descend(start, target, features, steps)
    return Synthesis(_same_histogram((final * sd + mean)[0].permute(1, 2, 0).cpu().numpy(), image), history)


def texture_loss(features: Sequence[Tensor], wanted: Sequence[Tensor], relative: bool = True) -> Tensor:
    """Squared differences of Gram matrices, of each layer over those of the target's own.

    Not relative: over 4 times the square of the layer's channels, as Gatys et al. have it.
    """
    terms = []
    for f, g in zip(features, wanted, strict=True):
        scale = g.square().sum().clamp_min(1e-12) if relative else 4 * f.shape[1] ** 2
        terms.append((gram(f) - g).square().sum() / scale)
    return torch.stack(terms).sum()


def _descend(
    start: Tensor, target: Tensor, features: nn.Module, steps: int
) -> tuple[Tensor, NDArray[np.float64]]:
    with torch.no_grad():
        wanted = [gram(f) for f in features(target)]
    x, curve = start.clone().requires_grad_(True), []
    lbfgs = torch.optim.LBFGS([x], max_iter=steps, max_eval=2 * steps, tolerance_change=0, history_size=20,
                              line_search_fn="strong_wolfe")  # fmt: skip

    def closure() -> Tensor:
        lbfgs.zero_grad()
        loss = texture_loss(features(x), wanted, isinstance(features, RandomFilters))
        loss.backward()
        curve.append(float(loss.detach()))
        return loss

    lbfgs.step(closure)
    return x.detach(), np.minimum.accumulate(np.array(curve))


def _same_histogram(image: NDArray[np.float32], like: Pixels) -> Pixels:
    """Each channel's values exchanged for those of the same rank in ``like``."""
    matched = np.empty_like(like)
    for channel in range(3):
        order = image[:, :, channel].ravel().argsort(kind="stable")
        values = np.empty(order.size, dtype=np.uint8)
        values[order] = np.sort(like[:, :, channel].ravel())
        matched[:, :, channel] = values.reshape(image.shape[:2])
    return matched


def grey_for_portilla(image: Pixels) -> Pixels:
    """An image as its twins by `portilla` are: grey, and cropped to sides that four scales divide."""
    height, width = (side // 2**SCALES * 2**SCALES for side in image.shape[:2])
    grey = np.round(image[:height, :width] @ np.array([0.299, 0.587, 0.114])).astype(np.uint8)
    return np.repeat(grey[:, :, None], 3, 2)


def portilla(image: Pixels, seed: int, *, steps: int = 200, device: Any = "cpu") -> Pixels:
    """A grey texture, from noise, with the joint statistics of an image's steerable pyramid (Portilla and
    Simoncelli 2000).

    The statistics (4 scales, 4 orientations, correlations over 7 pixels) and the descent, coarse scales first, are
    plenoptic's.

    Parameters
    ----------
    image : (H, W, 3), see `grey_for_portilla`
    seed : of the noise
    steps : of the descent
    device : of torch

    Raises
    ------
    MissingPart
        The package plenoptic is not installed.
    """
    try:
        import plenoptic
    except ModuleNotFoundError as error:
        raise MissingPart(error, "Twins by portilla") from error
    x = torch.as_tensor(grey_for_portilla(image)[:, :, 0], device=device)[None, None].float() / 255
    model = plenoptic.models.PortillaSimoncelli(tuple(x.shape[-2:]), SCALES, 4, 7).to(device).eval()
    plenoptic.remove_grad(model)
    metamer = plenoptic.MetamerCTF(x, model, loss_function=plenoptic.loss.l2_norm)
    noise = np.random.default_rng(seed).uniform(-0.05, 0.05, x.shape)
    metamer.setup((x.mean() + torch.as_tensor(noise, device=device).float()).clamp(0, 1))
    with contextlib.redirect_stderr(io.StringIO()):  # a bar for every picture
        metamer.synthesize(max_iter=steps, change_scale_criterion=None, ctf_iters_to_check=7)
    grey = metamer.metamer[0, 0].detach().clamp(0, 1).mul(255).round().to(torch.uint8).cpu().numpy()
    return np.repeat(grey[:, :, None], 3, 2)
