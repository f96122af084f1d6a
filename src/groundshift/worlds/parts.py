"""Small grey pictures whose class is told by their texture, their parts, and the global arrangement of these parts.

A picture of 30 × 30 pixels is a grid of 3 × 3 cells. A class has four parts, four cells for them, and a grating as
texture, which is the easiest of the three cues. Pictures can be drawn with the arrangement destroyed, with the texture
of another class, or with a texture of no class; the truth of each is known.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from groundshift.errors import InputError

__all__ = ["PARTS", "Parts", "Style"]

Pictures = NDArray[np.uint8]
GRID, CELL, SIDE, OWN = 3, 10, 8, 4
"""Cells of a row, pixels of a cell, pixels of a part, parts of a class."""
FREQUENCIES = (0.9, 1.4)
"""Of the gratings of the classes, in radians a pixel."""
FREE = (0.6, 1.8)
"""Range of the frequencies of a texture that belongs to no class."""


def _masks() -> dict[str, NDArray[np.float64]]:
    y, x = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    r, d = np.hypot(x, y), np.abs(x) + np.abs(y)
    shapes = {
        "ring": (r > 1.9) & (r < 4),
        "plus": np.minimum(np.abs(x), np.abs(y)) < 1,
        "triangle": np.abs(x) <= (y + 3.5) / 2 + 0.5,
        "L": (x < -1.5) | (y > 1.5),
        "T": (np.abs(x) < 1) | (y < -1.5),
        "diagonal": np.abs(x - y) < 1.5,
        "diamond": d <= 4,
        "bar": np.abs(y) < 1.5,
    }
    return {name: mask.astype(float) for name, mask in shapes.items()}


PARTS = _masks()
"""Name → mask of a part, 8 × 8."""


@dataclass(frozen=True)
class Style:
    """The texture of each picture: angle and frequency of its grating, (n,) each."""

    angle: NDArray[np.float64]
    frequency: NDArray[np.float64]


class Parts:
    """The classes of one world, drawn from its seed.

    Parameters
    ----------
    seed : of the parts, cells and textures of the classes
    classes : their number, at most 12

    Raises
    ------
    InputError
        Fewer than 2 or more than 12 classes.

    Examples
    --------
    >>> world, rng = Parts(seed=0), np.random.default_rng(0)
    >>> pictures, codes = world.draw(rng, [0, 1, 1])
    >>> pictures.shape, pictures.dtype, codes.shape
    ((3, 30, 30), dtype('uint8'), (3, 72))
    >>> broken, moved = world.draw(rng, [0, 1, 1], disrupted=True)
    >>> int((moved * codes).sum())  # no part is in its place
    0
    """

    def __init__(self, seed: int = 7, classes: int = 6) -> None:
        if not 2 <= classes <= 12:
            raise InputError(f"{classes} classes were asked for; 2 to 12 can be told apart by their texture.")
        rng = np.random.default_rng(seed)
        self.classes = classes
        self.parts = np.stack([rng.choice(len(PARTS), OWN, replace=False) for _ in range(classes)])
        self.cells = np.stack([rng.choice(GRID**2, OWN, replace=False) for _ in range(classes)])
        order = rng.permutation(classes)
        self.style = Style(np.pi * order / classes, np.array(FREQUENCIES)[order % 2])

    def draw(
        self,
        rng: np.random.Generator,
        labels: ArrayLike,
        *,
        disrupted: bool = False,
        style: Style | ArrayLike | None = None,
        noise: float = 0.1,
    ) -> tuple[Pictures, NDArray[np.int64]]:
        """Pictures of the classes ``labels``.

        Parameters
        ----------
        rng : generator
        labels : (n,) class of each picture
        disrupted : put the parts into four cells of which none is that part's own
        style : texture of each picture: a `Style`, or the labels of the classes whose textures are taken; by default
            that of its own class
        noise : standard deviation of the noise of a pixel, of a range of 1

        Returns
        -------
        pictures, codes
            (n, 30, 30), and the arrangement as it was drawn: (n, 72), 1 where a part is in a cell.
        """
        labels = np.asarray(labels, dtype=int)
        n = len(labels)
        cells = self.cells[labels]
        if disrupted:
            cells = _displaced(rng, cells)
        parts = self.parts[labels]
        codes = np.zeros((n, len(PARTS), GRID**2), dtype=np.int64)
        codes[np.arange(n)[:, None], parts, cells] = 1
        figure = np.zeros((n, GRID * CELL, GRID * CELL))
        masks, rows = np.stack(list(PARTS.values())), np.arange(n)[:, None, None]
        for k in range(OWN):
            corner = np.stack(np.divmod(cells[:, k], GRID)) * CELL + rng.integers(0, CELL - SIDE + 1, (2, n))
            y, x = (corner[axis][:, None] + np.arange(SIDE) for axis in (0, 1))
            figure[rows, y[:, :, None], x[:, None, :]] = masks[parts[:, k]]
        grating = self._gratings(rng, self._style_of(labels, style))
        pictures = figure * (0.3 + 0.7 * grating) + (1 - figure) * 0.35 * grating
        pictures += noise * rng.standard_normal(pictures.shape)
        return np.round(255 * pictures.clip(0, 1)).astype(np.uint8), codes.reshape(n, -1)

    def free_style(self, rng: np.random.Generator, n: int) -> Style:
        """Textures that belong to no class: any angle, any frequency between 0.6 and 1.8 radians a pixel."""
        return Style(rng.uniform(0, np.pi, n), rng.uniform(*FREE, n))

    def conflict(
        self, rng: np.random.Generator, n: int
    ) -> tuple[Pictures, NDArray[np.int64], NDArray[np.int64]]:
        """Pictures with the parts and arrangement of one class and the texture of another: with both labels.

        >>> _, shape, texture = Parts().conflict(np.random.default_rng(0), 50)
        >>> bool((shape == texture).any())
        False
        """
        shape = rng.integers(0, self.classes, n)
        texture = (shape + rng.integers(1, self.classes, n)) % self.classes
        return self.draw(rng, shape, style=texture)[0], shape, texture

    def triplets(
        self, rng: np.random.Generator, n: int
    ) -> tuple[Pictures, NDArray[np.int64], NDArray[np.int64]]:
        """Pictures with two disrupted ones each: (n, 3, 30, 30), arrangements (n, 3, 72), labels (n,).

        The three have the same parts and the same texture up to its phase, so that only the arrangement tells which is
        the odd one.
        """
        labels = rng.integers(0, self.classes, n)
        three = [self.draw(rng, labels, disrupted=k > 0) for k in range(3)]
        return np.stack([t[0] for t in three], 1), np.stack([t[1] for t in three], 1), labels

    def _style_of(self, labels: NDArray[np.int64], style: Style | ArrayLike | None) -> Style:
        if isinstance(style, Style):
            return style
        index = labels if style is None else np.asarray(style, dtype=int)
        return Style(self.style.angle[index], self.style.frequency[index])

    @staticmethod
    def _gratings(rng: np.random.Generator, style: Style) -> NDArray[np.float64]:
        """(n, 30, 30) between 0 and 1, with a random phase each."""
        y, x = np.mgrid[: GRID * CELL, : GRID * CELL]
        angle, frequency = style.angle[:, None, None], style.frequency[:, None, None]
        phase = rng.uniform(0, 2 * np.pi, angle.shape)
        along = np.cos(angle) * x + np.sin(angle) * y
        return np.asarray(0.5 + 0.5 * np.sin(frequency * along + phase))


def _displaced(rng: np.random.Generator, cells: NDArray[np.int64]) -> NDArray[np.int64]:
    """Four cells of the nine for each row, none of them that part's own; drawn again until this holds."""
    moved, open_ = np.empty_like(cells), np.arange(len(cells))
    while len(open_):
        drawn = rng.permuted(np.tile(np.arange(GRID**2), (len(open_), 1)), axis=1)[:, :OWN]
        moved[open_] = drawn
        open_ = open_[(drawn == cells[open_]).any(1)]
    return moved
