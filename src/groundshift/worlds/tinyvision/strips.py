"""Strips: a video of a line is a picture, (T, W) pixels, so that 2-D convolutions are models of video.

One soft bar moves on a ring of W pixels. Nothing in the first frame tells its velocity: the future is multi-modal.
Every strip can be read back: velocity and position by the phase of the first harmonic, mass and colour by projection
on the line between the two colours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from groundshift.errors import InputError

__all__ = ["Strip", "StripReading", "read_strip", "strip"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Strip:
    """Attributes
    ----------
    image : float32 (n, 3, T, W)
    start : position of the bar in the first frame, pixels (n,)
    velocity : pixels per frame (n,)
    width : half-width in pixels (n,)
    hue : (n,)
    bar, ground : the two colours (n, 3)
    """

    image: Tensor
    start: Array
    velocity: Array
    width: Array
    hue: Array
    bar: Array
    ground: Array


@dataclass(frozen=True)
class StripReading:
    """What `read_strip` finds, arrays of shape (n,): position in the first frame and velocity in pixels, mass as a
    multiple of the true width, root-mean-square colour off the line between bar and ground."""

    position: Array
    velocity: Array
    mass: Array
    colour_error: Array


def strip(
    n: int,
    rng: np.random.Generator,
    *,
    T: int = 8,
    W: int = 16,
    severity: float = 0.0,
    velocities: Sequence[float] = (-1.0, -0.5, 0.5, 1.0),
) -> Strip:
    """Draw n strips.

    Hue h is uniform on [s/2, 1/2 + s/2]; the bar is 0.9 cos 2π(h - c/3) in channel c; the ground is -0.5 times the same
    of a hue N(h, 0.1²), less 0.3, plus 0.6 s. The half-width is uniform on [1.2, 2]; profile sigmoid(4 (width - |d|)).

    Parameters
    ----------
    severity : s in [0, 1]; at 1 the hues and the ground's level are those that were never seen at 0
    velocities : to choose from, pixels per frame

    Examples
    --------
    >>> made = strip(3, np.random.default_rng(0))
    >>> made.image.shape, bool(np.allclose(read_strip(made.image, made).velocity, made.velocity, atol=0.02))
    (torch.Size([3, 3, 8, 16]), True)
    """
    if not 0 <= severity <= 1:
        raise InputError(f"severity={severity} was given; it lies in [0, 1].")
    hue = 0.5 * severity + 0.5 * rng.random(n)
    bar = 0.9 * _wheel(hue)
    ground = -0.5 * _wheel(hue + 0.1 * rng.standard_normal(n)) - 0.3 + 0.6 * severity
    start, width = rng.uniform(0, W, n), rng.uniform(1.2, 2.0, n)
    velocity = rng.choice(np.asarray(velocities, dtype=float), n)
    centre = start[:, None] + velocity[:, None] * np.arange(T)
    distance = np.abs((np.arange(W) - centre[:, :, None] + W / 2) % W - W / 2)
    alpha = 1 / (1 + np.exp(-4 * (width[:, None, None] - distance)))
    image = ground[:, :, None, None] + (bar - ground)[:, :, None, None] * alpha[:, None]
    return Strip(torch.as_tensor(image, dtype=torch.float32), start, velocity, width, hue, bar, ground)


def read_strip(image: Tensor, truth: Strip) -> StripReading:
    """Read strips (n, 3, T, W), real or generated for the colours and widths of ``truth``."""
    pixels, W = image.double().numpy(), image.shape[-1]
    line = truth.bar - truth.ground
    away = pixels - truth.ground[:, :, None, None]
    alpha = np.einsum("nctw,nc->ntw", away, line) / (line**2).sum(1)[:, None, None]
    off = away - alpha[:, None] * line[:, :, None, None]
    alpha = alpha.clip(0)
    phase = alpha @ np.exp(2j * np.pi * np.arange(W) / W)
    turn = np.angle(phase[:, 1:] * phase[:, :-1].conj()).mean(1)
    return StripReading(
        position=np.angle(phase[:, 0]) * W / (2 * np.pi) % W,
        velocity=turn * W / (2 * np.pi),
        mass=alpha.sum(2).mean(1) / (2 * truth.width),
        colour_error=np.sqrt((off**2).mean((1, 2, 3))),
    )


def _wheel(hue: Array) -> Array:
    return np.cos(2 * np.pi * (hue[:, None] - np.arange(3) / 3))
