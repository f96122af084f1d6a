"""Segmentation where most samples hold almost nothing to learn from: bags of pixels, and small volumes.

Which samples are rich in labels and which are poor is known, and so are all masks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

__all__ = ["Bags", "Volumes", "bags", "bags_domain", "volumes"]

Array = NDArray[np.float64]
PIXELS, WIDTH, CORE, CLASSES = 16, 24, 6, 3
SIDE, SLICES = 24, 16


@dataclass(frozen=True)
class Bags:
    """Bags of pixels.

    Attributes
    ----------
    x : core and nuisance features before they are mixed, (n, pixels, width)
    y : classes (n, pixels), 0 for the background
    dense : whether a bag is rich in foreground, (n,)
    erased : whether the labels of a bag were taken away although it has foreground, (n,)
    mix : matrix (width, width); a network sees tanh(x @ mix)
    core : features of the first numbers of x that the classes depend on
    """

    x: Array
    y: NDArray[np.int64]
    dense: NDArray[np.bool_]
    erased: NDArray[np.bool_]
    mix: Array
    core: int


def bags_domain(
    rng: np.random.Generator, pixels: int = PIXELS, width: int = WIDTH, core: int = CORE, mixed: bool = True
) -> Callable[..., Bags]:
    """Means of the classes and the mixing, drawn once: a function (dense, sparse, erased) that draws bags.

    Examples
    --------
    >>> draw = bags_domain(np.random.default_rng(0))
    >>> world = draw(20, 40)
    >>> world.x.shape, bool((world.y > 0).mean(1)[world.dense].mean() > 5 * (world.y > 0).mean(1)[~world.dense].mean())
    ((60, 16, 24), True)
    """
    means = rng.normal(0, 1.1, (CLASSES, core))
    mix = np.eye(width) + (rng.standard_normal((width, width)) / np.sqrt(width) if mixed else 0.0)

    def draw(dense: int, sparse: int, erased: float = 0.0) -> Bags:
        n = dense + sparse
        rich = np.arange(n) < dense
        foreground = rng.random((n, pixels)) < np.where(rich, 0.4, 0.02)[:, None]
        y = np.where(foreground, rng.integers(1, CLASSES, (n, pixels)), 0)
        style = rng.normal(0, 1.5, (n, 1, width - core)) + 0.5 * rng.standard_normal(
            (n, pixels, width - core)
        )
        x = np.concatenate([means[y] + 0.8 * rng.standard_normal((n, pixels, core)), style], 2)
        blank = np.zeros(n, bool)
        blank[rng.permutation(dense)[: round(erased * dense)]] = True
        return Bags(x, np.where(blank[:, None], 0, y), rich, blank, mix, core)

    return draw


def bags(rng: np.random.Generator, dense: int = 16, sparse: int = 48, erased: float = 0.0) -> Bags:
    """Bags of one domain; see `bags_domain`."""
    return bags_domain(rng)(dense, sparse, erased)


@dataclass(frozen=True)
class Volumes:
    """Slices of small volumes.

    Attributes
    ----------
    x : slices (n, 1, 24, 24)
    y : classes (n, 24, 24): 0 background, 1 a textured organ, 2 a small bright one
    volume : of each slice, (n,)
    """

    x: Array
    y: NDArray[np.int64]
    volume: NDArray[np.int64]

    @property
    def dense(self) -> NDArray[np.bool_]:
        """Whether a slice shows an organ."""
        return np.asarray((self.y > 0).any((1, 2)))


def volumes(rng: np.random.Generator, count: int) -> Volumes:
    """Volumes of 16 slices with two ellipsoid organs in the middle third, and distractors as bright as the first.

    Examples
    --------
    >>> world = volumes(np.random.default_rng(0), 6)
    >>> world.x.shape, bool(0.25 < world.dense.mean() < 0.5)
    ((96, 1, 24, 24), True)
    """
    at = np.stack(np.meshgrid(np.arange(SLICES), np.arange(SIDE), np.arange(SIDE), indexing="ij"), -1)
    xs, ys = [], []
    for _ in range(count):
        phase, slope = rng.uniform(0, 2 * np.pi), rng.uniform(0.2, 0.5, 2)
        image = 0.35 + 0.1 * np.sin(at[..., 1] * slope[0] + at[..., 2] * slope[1] + phase)
        y = np.zeros(at.shape[:3], np.int64)
        for k in range(SLICES):  # three blobs in every slice that are no organ
            for _ in range(3):
                centre, radius = rng.uniform(3, SIDE - 3, 2), rng.uniform(1.2, 2.2)
                image[k][((at[k, ..., 1:] - centre) ** 2).sum(-1) < radius**2] = 0.62
        for label, radii, level in ((1, (2.6, 5.0, 5.0), 0.62), (2, (2.2, 2.6, 2.6), 0.8)):
            centre = np.array([rng.uniform(6.5, 9.5), *rng.uniform(7, SIDE - 7, 2)])
            inside = (((at - centre) / (np.array(radii) * rng.uniform(0.85, 1.15, 3))) ** 2).sum(-1) < 1
            texture = 0.12 * gaussian_filter(rng.standard_normal(y.shape), 0.7) / 0.35 if label == 1 else 0.0
            image, y = np.where(inside, level + texture, image), np.where(inside, label, y)
        image = image * rng.uniform(0.8, 1.2) + rng.uniform(-0.1, 0.1)
        xs.append(image + 0.06 * rng.standard_normal(image.shape))
        ys.append(y)
    return Volumes(np.concatenate(xs)[:, None], np.concatenate(ys), np.repeat(np.arange(count), SLICES))
