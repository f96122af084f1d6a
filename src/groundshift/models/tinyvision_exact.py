"""The exact networks of the small-vision studies: mixtures whose every factor is known, with nothing to train.

`exact` makes them by name. Images are (channels, height, width) in [−1, 1]; all are float64 unless asked otherwise.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import torch
from sklearn.datasets import load_digits

from groundshift.errors import InputError
from groundshift.models.mixture import MixtureNet

__all__ = ["colour_digits", "exact", "ring", "shapes_exact"]

HUES = {"red": (1.0, 0.2, 0.2), "green": (0.2, 1.0, 0.2), "blue": (0.2, 0.4, 1.0)}
BRIGHT = {"yellow": (1, 1, 0), "magenta": (1, 0, 1), "cyan": (0, 1, 1), "white": (1, 1, 1)}
SHAPES = ("circle", "square", "cross")


def colour_digits(dtype: torch.dtype = torch.float64) -> MixtureNet:
    """Handwritten digits in three hues: 30 Gaussians of (3, 8, 8) images.

    Scikit-learn's digits g in [−1, 1] have for each class a mean and the covariance 0.9 S + 0.002 I; the image is
    −1 + (g + 1) h for a hue h, plus N(0, 0.05² I). Hence 64 directions kron(h / |h|, eigenvectors) per component.
    Factors: digit 0 to 9, hue red, green, blue.

    Examples
    --------
    >>> net = colour_digits()
    >>> x, k = net.sample(4, torch.Generator().manual_seed(0))
    >>> x.shape, bool((net.probabilities("digit", x).argmax(1) == net.labels["digit"][k]).all())
    (torch.Size([4, 3, 8, 8]), True)
    """
    data, digit = load_digits(return_X_y=True)
    g = data / 8 - 1
    means, bases, variances = [], [], []
    for c in range(10):
        of_class = g[digit == c]
        values, vectors = np.linalg.eigh(0.9 * np.cov(of_class, rowvar=False) + 0.002 * np.eye(64))
        for hue in HUES.values():
            h = np.array(hue)
            means.append(-1 + h[:, None] * (of_class.mean(0) + 1))
            bases.append(np.kron((h / np.linalg.norm(h))[:, None], vectors))
            variances.append(values * (h @ h) + 0.05**2)
    return MixtureNet(
        torch.tensor(np.array(means), dtype=dtype).reshape(30, 3, 8, 8),
        0.05**2,
        basis=torch.tensor(np.array(bases), dtype=dtype),
        variances=torch.tensor(np.array(variances), dtype=dtype),
        labels={"digit": torch.arange(10).repeat_interleave(3), "hue": torch.arange(3).repeat(10)},
    )


def shapes_exact(dtype: torch.dtype = torch.float64) -> MixtureNet:
    """Shapes on ramps: 648 isotropic Gaussians of (3, 16, 16) images with standard deviation 0.15.

    Circle, square or cross; yellow, magenta, cyan or white; nine places; six backgrounds, ramps between two dark
    colours. The nearest component of another colour is the one with the same place.

    Examples
    --------
    >>> net = shapes_exact()
    >>> {factor: len(v.unique()) for factor, v in net.labels.items()}
    {'shape': 3, 'colour': 4, 'place': 9, 'background': 6}
    """
    rng = np.random.default_rng(np.random.SeedSequence(648))
    pixels = np.arange(16) + 0.5
    share = pixels / 16
    ends = rng.uniform(-0.9, -0.3, (6, 2, 3, 1, 1))
    grounds = [np.broadcast_to(a + (b - a) * share, (3, 16, 16)) for a, b in ends]
    places = list(itertools.product((4.5, 8.0, 11.5), repeat=2))
    means, labels = [], []
    for factors in itertools.product(range(3), range(4), range(9), range(6)):
        shape, colour, place, ground = factors
        row, column = places[place]
        dy, dx = np.abs(pixels - row)[:, None], np.abs(pixels - column)[None]
        mask = 1 / (1 + np.exp(-3 * (3.2 - _distance(SHAPES[shape], dx, dy))))
        paint = np.array(list(BRIGHT.values())[colour], dtype=float)[:, None, None]
        means.append(mask * paint + (1 - mask) * grounds[ground])
        labels.append(factors)
    names = ("shape", "colour", "place", "background")
    columns = torch.tensor(labels).T
    return MixtureNet(
        torch.tensor(np.array(means), dtype=dtype),
        0.15**2,
        labels=dict(zip(names, columns, strict=True)),
    )


def _distance(shape: str, dx: np.ndarray, dy: np.ndarray) -> np.ndarray:
    """What a shape of radius 3.2 compares with 3.2; arms of the cross are a third of that wide on either side."""
    if shape == "circle":
        return np.hypot(dx, dy)
    if shape == "square":
        return np.maximum(dx, dy)
    return np.maximum(np.maximum(dx, dy), np.minimum(dx, dy) + 3.2 * 2 / 3)


def ring(dtype: torch.dtype = torch.float64) -> MixtureNet:
    """Eight radial needles around a ring in the plane: mean 1.5 (cos a, sin a), a = c π / 4.

    The standard deviation is 0.35 along the radius and 0.06 across. Factor: needle 0 to 7.

    Examples
    --------
    >>> ring().x0(torch.tensor([[0.0, 3.0]], dtype=torch.float64), 1.0, 1e-3).round(decimals=3).tolist()
    [[0.0, 3.0]]
    """
    angle = torch.arange(8, dtype=dtype) * math.pi / 4
    radial = torch.stack([angle.cos(), angle.sin()], 1)
    return MixtureNet(
        1.5 * radial,
        0.06**2,
        basis=radial[:, :, None],
        variances=torch.full((8, 1), 0.35**2, dtype=dtype),
        labels={"needle": torch.arange(8)},
    )


EXACT: dict[str, Callable[[torch.dtype], MixtureNet]] = {
    "colour_digits": colour_digits,
    "shapes_exact": shapes_exact,
    "ring": ring,
}


def exact(name: str, dtype: torch.dtype = torch.float64) -> MixtureNet:
    """An exact network by its name.

    Raises
    ------
    InputError
        A name that is not known.
    """
    if name not in EXACT:
        raise InputError(f"No exact network {name!r}; there are {', '.join(EXACT)}.")
    return EXACT[name](dtype)
