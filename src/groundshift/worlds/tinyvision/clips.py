"""Short clips of the drawn scenes under known motion, with exact optical flow and occlusion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from groundshift.errors import InputError
from groundshift.worlds.tinyvision.render import Scene, draw, render

__all__ = ["Clip", "clip", "film"]

Array = NDArray[np.float64]
DIRECTIONS = np.array([(x, y) for x in (-1, 0, 1) for y in (-1, 0, 1) if x or y])


@dataclass(frozen=True)
class Clip:
    """n clips of T frames and what moves in them; all motion is in pixels, (x, y), y down.

    Attributes
    ----------
    frames : float32 (n, T, 3, H, W) in [-1, 1]
    instance : int64 (n, T, H, W), as in `Scene`
    flow : float32 (n, T - 1, 2, H, W): what is at (x, y) in frame t is at (x, y) + flow in frame t + 1
    visible : bool (n, T - 1, H, W): the pixel shows one thing only, which is still seen at its target (to the nearest
        pixel) in frame t + 1
    occluded : bool (n, T - 1, H, W): it shows one thing only, whose target is behind something else or out of the frame
    velocity : float (n, k, 2), of each object apart from the camera, per frame
    camera : float (n, T, 2), what a layer at depth 1 has moved by; a layer at depth z moves by camera / z
    scene : the scenes at the middle of the clips, with factors, geometry and captions
    """

    frames: Tensor
    instance: Tensor
    flow: Tensor
    visible: Tensor
    occluded: Tensor
    velocity: Array
    camera: Array
    scene: Scene


def clip(
    n: int,
    rng: np.random.Generator,
    *,
    T: int = 6,
    motion: Literal["linear", "poke", "camera", "still"] = "linear",
    speeds: Sequence[float] = (1.0,),
    **scene: Any,
) -> Clip:
    """Draw n clips.

    Parameters
    ----------
    T : frames, at least 2
    motion : "linear" (every object moves), "poke" (one of them does), "camera" (nothing but the camera moves, along x
        or y), "still"
    speeds : pixels per frame to choose from, along each moving axis; whole pixels keep edges and textures exact
    scene : what `draw` takes (H, k, palette, factors, …)

    Examples
    --------
    >>> clips = clip(2, np.random.default_rng(0), motion="camera", k=2, speeds=(2,))
    >>> clips.frames.shape, np.abs(clips.camera[:, -1]).max(1).tolist()
    (torch.Size([2, 6, 3, 16, 16]), [10.0, 10.0])
    """
    if motion not in ("linear", "poke", "camera", "still"):
        raise InputError(f"motion={motion!r} was given; it is linear, poke, camera or still.")
    middle = draw(n, rng, **scene)
    k = middle.factors["shape"].shape[1]
    velocity = rng.choice(DIRECTIONS, (n, k)) * rng.choice(np.asarray(speeds, dtype=float), (n, k, 1))
    pan = np.zeros((n, 2))
    if motion == "poke":
        velocity *= (np.arange(k) == rng.integers(0, middle.factors["count"])[:, None])[:, :, None]
    elif motion == "camera":
        straight = DIRECTIONS[np.abs(DIRECTIONS).sum(1) == 1]
        pan, velocity = rng.choice(straight, n) * np.abs(velocity[:, 0]).max(1, keepdims=True), 0 * velocity
    elif motion == "still":
        velocity = 0 * velocity
    return film(middle, velocity, pan, T)


def film(scene: Scene, velocity: Array, pan: Array, T: int = 6) -> Clip:
    """Film scenes: they are the middle of clips of T frames.

    Parameters
    ----------
    velocity : pixels per frame of each object, (n, k, 2)
    pan : pixels per frame of a layer at depth 1, (n, 2)
    """
    if T < 2:
        raise InputError(f"T={T} was given; a clip has at least 2 frames.")
    n, H = len(scene), scene.image.shape[-1]
    time = np.arange(T) - (T - 1) / 2
    unit = 2 / H
    long = {name: np.repeat(values, T, axis=0) for name, values in scene.geometry.items()}
    moved = (time[None, :, None, None] * velocity[:, None] * unit).reshape(n * T, -1, 2)
    panned = time[:, None] * pan[:, None]
    long["x"], long["y"] = long["x"] + moved[..., 0], long["y"] + moved[..., 1]
    long["camera"] = long["camera"] + panned.reshape(-1, 2) * unit
    factors = {name: np.repeat(values, T, axis=0) for name, values in scene.factors.items()}
    shot = render(factors, long, scene.backdrop.repeat_interleave(T, 0))
    instance, edge = (field.reshape(n, T, H, H) for field in (shot.instance, shot.edge))

    step = velocity + pan[:, None] / scene.geometry["depth"][:, :, None]
    layers = torch.as_tensor(
        np.concatenate([np.zeros((n, 1, 2)), step], 1), dtype=torch.float32
    )  # backdrop first
    flow = layers[torch.arange(n)[:, None, None, None], instance[:, :-1]].permute(0, 1, 4, 2, 3)
    axis = torch.arange(H)
    x = (axis + flow[:, :, 0]).round().long()
    y = (axis[:, None] + flow[:, :, 1]).round().long()
    inside = (x >= 0) & (x < H) & (y >= 0) & (y < H)
    clip_, frame = torch.arange(n)[:, None, None, None], torch.arange(1, T)[:, None, None]
    target = (clip_, frame, y.clamp(0, H - 1), x.clamp(0, H - 1))
    same, sharp = instance[target] == instance[:, :-1], ~edge[target]
    visible = ~edge[:, :-1] & inside & same & sharp
    occluded = ~edge[:, :-1] & (~inside | (~same & sharp))
    frames = shot.image.reshape(n, T, 3, H, H)
    return Clip(frames, instance, flow, visible, occluded, velocity, panned - panned[:, :1], scene)
