"""Two random views of a batch of images as tensor operations, with the way back on maps of features."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["Augment", "Moves", "rot_flip", "shaded"]

Augment = Callable[[Tensor, Tensor, torch.Generator], tuple[Tensor, Tensor]]
"""(x, y, generator) → a view (x, y) of a batch."""
LARGEST = 20
"""Degrees of a small rotation."""


@dataclass(frozen=True)
class Moves:
    """What was done to each image of a batch: turned by multiples of 90°, flipped, turned by an angle.

    Attributes
    ----------
    turns : multiples of 90°, (B,)
    flips : axis that was flipped, −2 or −1; 0: none, (B,)
    angles : degrees, (B,)

    Examples
    --------
    >>> moves = Moves(torch.tensor([1]), torch.tensor([-1]), torch.tensor([0.0]))
    >>> x = torch.arange(4.0).reshape(1, 1, 2, 2)
    >>> moves.apply(x).flatten().tolist(), moves.undo(moves.apply(x)).flatten().tolist()
    ([3.0, 1.0, 2.0, 0.0], [0.0, 1.0, 2.0, 3.0])
    """

    turns: Tensor
    flips: Tensor
    angles: Tensor

    @classmethod
    def draw(cls, n: int, generator: torch.Generator, square: bool = True) -> Moves:
        """The published distribution: half a multiple of 90° and a flip, half an angle in [−20°, 20°).

        Parameters
        ----------
        n : images
        square : images that are not cannot be turned by 90°
        """

        def integers(low: int, high: int) -> Tensor:
            return torch.randint(low, high, (n,), generator=generator)

        quarter = integers(0, 2).bool()
        turns = integers(0, 4) if square else 2 * integers(0, 2)
        flips, angles = integers(-2, 0), integers(-LARGEST, LARGEST).float()
        return cls(turns * quarter, flips * quarter, torch.where(quarter, 0.0, angles))

    def apply(self, x: Tensor) -> Tensor:
        """Images or masks (B, C, H, W), by the nearest pixel, with 0 where there is none."""
        x = self._each(x, self.turns, lambda part, k: part.rot90(k, (-2, -1)))
        x = self._each(x, self.flips, lambda part, axis: part.flip(axis))
        return _rotated(x, self.angles, "nearest")

    def undo(self, z: Tensor) -> Tensor:
        """Maps of features (B, C, h, w) turned back; angles by bilinear interpolation."""
        z = _rotated(z, -self.angles, "bilinear")
        z = self._each(z, self.flips, lambda part, axis: part.flip(axis))
        return self._each(z, -self.turns, lambda part, k: part.rot90(k, (-2, -1)))

    def _each(self, x: Tensor, how: Tensor, move: Callable[[Tensor, int], Tensor]) -> Tensor:
        """Move the images that are moved alike together."""
        parts = x.clone()
        for value in how.unique().tolist():
            if value:
                rows = (how == value).nonzero()[:, 0].to(x.device)
                parts[rows] = move(x[rows], value)
        return parts


def _rotated(x: Tensor, degrees: Tensor, mode: Literal["nearest", "bilinear"]) -> Tensor:
    rows = degrees.nonzero()[:, 0]
    if not len(rows):
        return x
    angle = degrees[rows] * (math.pi / 180)
    (height, width), zero = x.shape[-2:], torch.zeros(len(rows))
    # `affine_grid` counts both sides from −1 to 1, so that pixels that are not square in it are made so.
    across, along = angle.sin() * height / width, angle.sin() * width / height
    matrix = torch.stack([angle.cos(), -across, zero, along, angle.cos(), zero], 1).reshape(-1, 2, 3)
    rows = rows.to(x.device)
    grid = F.affine_grid(matrix.to(x), [len(rows), *x.shape[1:]], align_corners=False)
    turned = x.clone()
    turned[rows] = F.grid_sample(x[rows], grid, mode, align_corners=False)
    return turned


def rot_flip(x: Tensor, y: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Moves]:
    """A view of images (B, C, H, W) and masks (B, H, W), and how it was moved; see `Moves.draw`."""
    moves = Moves.draw(len(x), generator, square=x.shape[-1] == x.shape[-2])
    both = moves.apply(torch.cat([x, y[:, None].to(x.dtype)], 1))
    return both[:, :-1], both[:, -1].round().to(y.dtype), moves


def shaded(x: Tensor, y: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """A view with another contrast (0.8 to 1.2), brightness (±0.1) and noise (0.03); nothing moves."""
    n, shape = len(x), (-1, *[1] * (x.dim() - 1))
    gain = torch.empty(n).uniform_(0.8, 1.2, generator=generator).reshape(shape).to(x)
    bias = torch.empty(n).uniform_(-0.1, 0.1, generator=generator).reshape(shape).to(x)
    noise = torch.randn(x.shape, generator=generator).to(x)
    return gain * x + bias + 0.03 * noise, y
