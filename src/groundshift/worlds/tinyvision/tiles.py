"""Tiles: scenes of codes instead of pixels, for models of tokens, with exact motion and occlusion.

The lower half of the codes belongs to the background, the upper half to objects. Background that is uncovered is
drawn afresh: it cannot be predicted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from groundshift.errors import InputError

__all__ = ["Tiles", "tiles"]

Codes = NDArray[np.int64]


@dataclass(frozen=True)
class Tiles:
    """n clips of T grids of codes.

    Attributes
    ----------
    codes : int64 (n, T, grid, grid)
    segment : int64 (n, T, grid, grid): 0 background, 1 the nearest object, 2 the one behind it
    flow : int64 (n, T - 1, grid, grid, 2), (row, column) steps of what a cell of frame t shows
    occluded : bool (n, T - 1, grid, grid): in frame t + 1 it is behind a nearer object
    motion : int64 (n, objects, 2), (row, column) steps per frame of each object
    camera : int64 (n,), columns per frame that a far object moves by; a near one moves twice as far, the background not
    """

    codes: Codes
    segment: Codes
    flow: Codes
    occluded: NDArray[np.bool_]
    motion: Codes
    camera: Codes


def tiles(
    n: int,
    rng: np.random.Generator,
    *,
    grid: int = 6,
    codes: int = 8,
    world: Literal["moving", "layers"] = "moving",
) -> Tiles:
    """Draw n scenes.

    "moving": 2 frames, one rectangle (sides uniform on {2, 3}, its top left uniform on {1 … grid - 1 - side}) that
    moves by a step uniform on {-1, 0, 1}² and never leaves the grid. "layers": 3 frames, a near rectangle (object 1)
    before a far one; in half of the scenes the objects move by such steps, in the others only the camera does, by -1, 0
    or 1, which carries the far object by as many columns and the near one by twice as many. What leaves the grid is
    gone.

    Examples
    --------
    >>> made = tiles(2, np.random.default_rng(0))
    >>> made.codes.shape, made.flow.shape, bool((made.codes[made.segment == 0] < 4).all())
    ((2, 2, 6, 6), (2, 1, 6, 6, 2), True)
    """
    if grid < 5 or codes < 2 or codes % 2 or world not in ("moving", "layers"):
        raise InputError(
            f"grid={grid}, codes={codes}, world={world!r} were given; a grid of 5 or more, an even number of codes and "
            "the world moving or layers are needed."
        )
    T, objects = (2, 1) if world == "moving" else (3, 2)
    side = rng.integers(2, 4, (n, objects, 2))
    corner = rng.integers(1, grid - side)
    motion = rng.integers(-1, 2, (n, objects, 2))
    camera = np.zeros(n, dtype=np.int64)
    if world == "layers":
        panned = rng.random(n) < 0.5
        camera = np.where(panned, rng.integers(-1, 2, n), 0)
        motion[panned] = 0
        motion[panned, :, 1] = camera[panned, None] * np.array([2, 1])
    texture = rng.integers(codes // 2, codes, (n, objects, grid, grid))
    ground = rng.integers(0, codes // 2, (n, grid, grid))
    shown, segment = (
        np.empty((n, T, grid, grid), dtype=np.int64),
        np.zeros((n, T, grid, grid), dtype=np.int64),
    )
    cell = np.stack(np.meshgrid(np.arange(grid), np.arange(grid), indexing="ij"), -1)
    every = np.arange(n)[:, None, None]
    for t in range(T):
        if t:  # what was covered and is not any more
            fresh = rng.integers(0, codes // 2, ground.shape)
            covered = segment[:, t - 1] > 0
            ground = np.where(covered, fresh, ground)
        shown[:, t] = ground
        for j in reversed(range(objects)):  # far to near
            own = cell - (corner[:, j] + t * motion[:, j])[:, None, None]
            inside = ((own >= 0) & (own < side[:, j, None, None])).all(-1)
            look = own.clip(0, grid - 1)
            segment[:, t] = np.where(inside, j + 1, segment[:, t])
            shown[:, t] = np.where(inside, texture[every, j, look[..., 0], look[..., 1]], shown[:, t])
    step = np.concatenate([np.zeros((n, 1, 2), dtype=np.int64), motion], 1)
    flow = step[every[:, None], segment[:, :-1]]
    target = cell + flow
    inside = ((target >= 0) & (target < grid)).all(-1)
    there = segment[np.arange(n)[:, None, None, None], np.arange(1, T)[:, None, None],
                    target[..., 0].clip(0, grid - 1), target[..., 1].clip(0, grid - 1)]  # fmt: skip
    return Tiles(shown, segment, flow, inside & (there != segment[:, :-1]), motion, camera)
