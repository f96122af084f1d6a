"""Grey images of five shapes whose rendering moves away from photographs by a known severity.

Shapes are signed distance functions d(p) on [-1, 1]², y down; coverage is clamp(0.5 - d / pixel, 0, 1).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from groundshift.errors import InputError

__all__ = ["CLASSES", "RENDERINGS", "Glyphs", "MatchedFilter", "glyphs"]

Array = NDArray[np.float64]
CLASSES = ("disc", "square", "triangle", "plus", "ring")
RENDERINGS = ("photo", "cartoon", "sketch", "painting")
SIZE = 24
FIGURE, GROUND = 0.9, 0.15
"""Grey of a cartoon."""
PAPER, INK = 0.95, 0.1
NOISE = 0.03
TURN, SMALLEST, LARGEST, MOVE = 0.3, 0.8, 1.2, 0.15


def _box(x: Array, y: Array, width: float, height: float) -> Array:
    dx, dy = np.abs(x) - width, np.abs(y) - height
    return np.hypot(np.maximum(dx, 0), np.maximum(dy, 0)) + np.minimum(np.maximum(dx, dy), 0)


DISTANCES: dict[str, Callable[[Array, Array], Array]] = {
    "disc": lambda x, y: np.hypot(x, y) - 0.6,
    "square": lambda x, y: _box(x, y, 0.55, 0.55),
    "triangle": lambda x, y: np.maximum(y - 0.45, np.abs(x) * 0.866 - 0.5 * y - 0.3),
    "plus": lambda x, y: np.minimum(_box(x, y, 0.2, 0.65), _box(x, y, 0.65, 0.2)),
    "ring": lambda x, y: np.abs(np.hypot(x, y) - 0.515) - 0.135,
}


@dataclass(frozen=True)
class Glyphs:
    """Images with what they show.

    Attributes
    ----------
    images : grey values from 0 to 1, float32 (n, 24, 24)
    label : numbers of `CLASSES`, (n,)
    """

    images: NDArray[np.float32]
    label: NDArray[np.int64]

    def pixels(self) -> NDArray[np.uint8]:
        """The images in 8 bits, (n, 24, 24)."""
        return np.round(self.images * 255).astype(np.uint8)


def glyphs(
    rng: np.random.Generator, n: int, rendering: str, severity: float = 1.0, *, noise: float = NOISE
) -> Glyphs:
    """Images of as many of each class as there can be, in a random order.

    Parameters
    ----------
    n : images
    rendering : "photo" (textured on a faint texture), "cartoon" (flat), "sketch" (dark contour on paper) or "painting"
        (blocks of noise and inverted contrast)
    severity : of sketch and painting, 0 (a cartoon) to 1
    noise : standard deviation of every pixel

    Raises
    ------
    InputError
        An unknown rendering, a severity outside of [0, 1].

    Examples
    --------
    >>> drawn = glyphs(np.random.default_rng(0), 10, "sketch", 0.3)
    >>> drawn.images.shape, np.bincount(drawn.label).tolist()
    ((10, 24, 24), [2, 2, 2, 2, 2])
    """
    if rendering not in RENDERINGS or not 0 <= severity <= 1:
        raise InputError(
            f"{rendering!r} at {severity} was given; there are {', '.join(RENDERINGS)}, at 0 to 1."
        )
    label = rng.permutation(np.arange(n) % len(CLASSES))
    images = np.empty((n, SIZE, SIZE), np.float32)
    for k, name in enumerate(CLASSES):
        own = np.flatnonzero(label == k)
        turn, scale = rng.uniform(-TURN, TURN, len(own)), rng.uniform(SMALLEST, LARGEST, len(own))
        distance = _placed(name, turn, scale, rng.uniform(-MOVE, MOVE, (2, len(own))))
        images[own] = _rendered(distance, rendering, severity, rng)
    images += rng.normal(0, noise, images.shape).astype(np.float32)
    return Glyphs(images.clip(0, 1), label)


def _placed(name: str, turn: Array, scale: Array, move: Array) -> Array:
    """Distances to shapes that are turned, scaled and moved, (n, 24, 24)."""
    axis = (np.arange(SIZE) + 0.5) / SIZE * 2 - 1
    y, x = np.meshgrid(axis, axis, indexing="ij")
    c, s = np.cos(turn)[:, None, None], np.sin(turn)[:, None, None]
    dx, dy = (x[None] - move[0][:, None, None]), (y[None] - move[1][:, None, None])
    size = scale[:, None, None]
    return DISTANCES[name]((c * dx + s * dy) / size, (-s * dx + c * dy) / size) * size


def _rendered(distance: Array, rendering: str, severity: float, rng: np.random.Generator) -> Array:
    """Grey values without pixel noise."""
    inside = np.clip(0.5 - distance * SIZE / 2, 0, 1)
    n = len(distance)
    if rendering == "photo":
        axis = np.arange(SIZE)
        wave = rng.uniform(0.4, 1.0, (2, n, 1, 1)) * np.sign(rng.uniform(-1, 1, (2, n, 1, 1)))
        stripes = np.sin(wave[0] * axis[None, :, None] + wave[1] * axis + rng.uniform(0, 6.28, (n, 1, 1)))
        faint = rng.uniform(-0.08, 0.08, (n, SIZE, SIZE))
        return (0.75 + 0.15 * stripes) * inside + (0.25 + faint) * (1 - inside)
    cartoon = FIGURE * inside + GROUND * (1 - inside)
    if rendering == "cartoon":
        return cartoon
    return (1 - severity) * cartoon + severity * _moved(distance, inside, rendering, rng)


def _moved(distance: Array, inside: Array, rendering: str, rng: np.random.Generator) -> Array:
    """What a sketch or a painting is at severity 1."""
    if rendering == "sketch":
        return PAPER - (PAPER - INK) * np.exp(-((10 * distance) ** 2))
    blocks = rng.uniform(-0.2, 0.2, (len(distance), SIZE // 4, SIZE // 4)).repeat(4, 1).repeat(4, 2)
    return GROUND * inside + FIGURE * (1 - inside) + blocks


class MatchedFilter:
    """A reference that knows the rendering: the class of the most similar clean image over turns, sizes and places.

    Parameters
    ----------
    renderings : each with its severity; of several the most similar image of any counts

    Examples
    --------
    >>> drawn = glyphs(np.random.default_rng(0), 50, "painting", 1.0)
    >>> bool((MatchedFilter(("painting", 1.0)).predict(drawn.images) == drawn.label).mean() > 0.9)
    True
    """

    def __init__(self, *renderings: tuple[str, float]) -> None:
        grid = np.meshgrid(
            [-0.3, -0.15, 0, 0.15, 0.3], [0.8, 0.93, 1.07, 1.2], [-0.1, 0, 0.1], [-0.1, 0, 0.1]
        )
        turn, scale, x, y = (values.ravel() for values in grid)
        still: Any = _Still()
        placed = [_placed(name, turn, scale, np.stack([x, y])) for name in CLASSES]
        self.bank = _normal(
            np.concatenate([_rendered(one, *how, still) for how in renderings for one in placed])
        )
        self.label = np.tile(np.repeat(np.arange(len(CLASSES)), len(turn)), len(renderings))

    def predict(self, images: NDArray[np.float32]) -> NDArray[np.int64]:
        """The number of the class of each image, (n,)."""
        return self.label[(_normal(images) @ self.bank.T).argmax(1)]


class _Still:
    """A generator without randomness: the middle of every range."""

    def uniform(self, low: float, high: float, size: tuple[int, ...]) -> Array:
        return np.full(size, (low + high) / 2)


def _normal(images: NDArray[np.floating]) -> Array:
    """Rows of mean 0 and length 1."""
    rows = images.reshape(len(images), -1).astype(float)
    rows = rows - rows.mean(1, keepdims=True)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)
