"""Training with two views: one forward over both, features by a hook, weights in the checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from groundshift.adaptation.adawac.augment import Moves
from groundshift.adaptation.adawac.loss import CONSISTENT, AdaWACLoss
from groundshift.errors import InputError, MissingPart
from groundshift.models.training import Recipe, minibatches, train

__all__ = ["encoder_of", "segmenter", "tensor_of", "train_views"]

Features = str | Callable[[Tensor], Tensor]
NEAR = 10
"""Names of layers that a message tells."""


def tensor_of(output: Any, place: int = 0) -> Tensor:
    """The tensor of what a network returns: itself, its field sample, logits or out, or one of a list."""
    while not isinstance(output, Tensor):
        if isinstance(output, list | tuple):
            output = output[place]
            continue
        fields = [name for name in ("sample", "logits", "out") if name in output]
        if not fields:
            raise InputError(
                f"The network returns a {type(output).__name__} without sample, logits or out; wrap it."
            )
        output = output[fields[0]]
    return output


def encoder_of(net: nn.Module, encoder: Features | None) -> Features:
    """The name of the layer whose output are the features, or the function that was given for it.

    Raises
    ------
    InputError
        No such layer, or a network whose encoder is not known; the nearest names of layers are listed.
    """
    if callable(encoder):
        return encoder
    names = [name for name, _ in net.named_modules() if name]
    # What segmentation_models_pytorch calls its encoder, and diffusers its bottleneck.
    own = [encoder] if encoder is not None else ["encoder", "mid_block", "net.mid_block"]
    for name in own:
        if name in names:
            return name
    near = get_close_matches(own[0], names, NEAR, 0.0)
    raise InputError(
        f"The network {type(net).__name__} has no layer {own[0]!r}. Name the one whose output are the features as "
        f"encoder; layers are {', '.join(near)}."
    )


def train_views(
    net: nn.Module,
    x: Tensor,
    y: Tensor,
    loss: AdaWACLoss,
    *,
    features: Features,
    augment: Callable[..., Any],
    align: bool = True,
    steps: int,
    batch: int,
    lr: float,
    weight_decay: float = 1e-4,
    seed: int = 0,
    checkpoints: str | Path | None = None,
) -> list[float]:
    """Train a network in place with AdamW on two views of every sample of a batch; returns the loss of every step.

    Views are drawn by the number of the step, so that a training that was stopped ends in the same bits.

    Parameters
    ----------
    x, y : inputs (n, ...) and targets (n, ...)
    features : layer, or function of inputs; see `encoder_of`
    augment : (x, y, generator) → (x, y), or (x, y, `Moves`)
    align : whether maps of features are turned back before they are compared
    checkpoints : folder from which a stopped training goes on
    """
    consistent = loss.mode in CONSISTENT
    kept: list[Tensor] = []
    handle = None
    if consistent and isinstance(features, str):
        layer = dict(net.named_modules())[features]
        handle = layer.register_forward_hook(lambda *given: kept.append(tensor_of(given[-1], -1)))

    def step(net: nn.Module, rows: tuple[Tensor, ...], generator: torch.Generator) -> Tensor:
        x, y, index = rows
        views = [augment(x, y, generator) for _ in range(1 if loss.mode == "erm" else 2)]
        both = torch.cat([view[0] for view in views])
        kept.clear()
        outputs = tensor_of(net(both)).chunk(len(views))
        if len(views) == 1:
            return loss(outputs[0], None, views[0][1], None, None, None, index)
        z: list[Any] = [None, None]
        where = None
        if consistent:
            maps = kept[-1] if isinstance(features, str) else features(both)
            if len(maps) != 2 * len(x):
                raise InputError(
                    f"The features have the shape {tuple(maps.shape)} for {2 * len(x)} images; name a layer whose "
                    "output has a row for each image (encoder)."
                )
            z = list(maps.chunk(2))
            if align and len(views[0]) == 3:
                z, where = _aligned(z, [view[2] for view in views])
        return loss(outputs[0], outputs[1], views[0][1], views[1][1], z[0], z[1], index, where)

    step.state_dict = loss.state_dict  # type: ignore[attr-defined]
    step.load_state_dict = loss.load_state_dict  # type: ignore[attr-defined]
    size = min(batch, len(x))
    recipe = Recipe(steps, lr, "constant", 0.0, weight_decay=weight_decay, clip=None, seed=seed)
    try:
        done = train(
            net, minibatches(x, y, torch.arange(len(x)), size=size), step, recipe, out=checkpoints, resume=True,
            describe=loss.mode,
        )  # fmt: skip
    finally:
        if handle is not None:
            handle.remove()
    return done.history


def _aligned(maps: list[Tensor], moves: list[Moves]) -> tuple[list[Tensor], Tensor]:
    """The maps of both views in the position of the image, and where both show it."""
    if maps[0].dim() != 4:
        raise InputError(
            f"The features have the shape {tuple(maps[0].shape)} and cannot be turned back; name a layer with maps "
            "(B, C, h, w), or compare them as they are, as published (align=False, --no-align)."
        )
    ones = torch.ones_like(maps[0][:, :1])
    seen = [move.undo(move.apply(ones)) > 0.99 for move in moves]
    return [move.undo(z) for z, move in zip(maps, moves, strict=True)], seen[0] & seen[1]


class _UNet(nn.Module):
    """diffusers' UNet at one time, for images whose sides need not be multiples of 4."""

    def __init__(self, channels: int, classes: int, width: int) -> None:
        super().__init__()
        try:
            from diffusers import UNet2DModel
        except ModuleNotFoundError as error:
            raise MissingPart(error, "The model unet") from error
        build: Any = UNet2DModel
        self.net = build(
            in_channels=channels, out_channels=classes, block_out_channels=(width, 2 * width, 4 * width),
            layers_per_block=1, down_block_types=("DownBlock2D",) * 3, up_block_types=("UpBlock2D",) * 3,
            norm_num_groups=4, add_attention=False,
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, classes, H, W) of images (B, C, H, W)."""
        height, width = x.shape[-2:]
        padded = F.pad(x, (0, -width % 4, 0, -height % 4), mode="replicate")
        return self.net(padded, 0).sample[..., :height, :width]


def segmenter(model: str, channels: int, classes: int, width: int = 16, seed: int = 0) -> nn.Module:
    """An untrained network for images of so many channels: "unet", or "unet-ENCODER" of segmentation_models_pytorch."""
    kind, _, encoder = model.partition("-")
    if kind != "unet":
        raise InputError(
            f"model={model!r} was given; choose unet, unet-ENCODER (unet-resnet34), or give a network in Python."
        )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        if not encoder:
            return _UNet(channels, classes, width)
        try:
            import segmentation_models_pytorch as smp
        except ModuleNotFoundError as error:
            raise InputError(
                f"The model {model} needs segmentation_models_pytorch, which is not installed: "
                "pip install segmentation-models-pytorch."
            ) from error
        net: nn.Module = smp.Unet(encoder, in_channels=channels, classes=classes)
        return net
