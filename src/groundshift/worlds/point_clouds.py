"""Clouds of points for transport: two-dimensional laws with known modes, and the 64 pixels of handwritten digits.

The plane's clouds are those that the literature on flow matching draws; their parameters are stated here because two
published generators differ from what their arguments say (see ``variant``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from groundshift.errors import InputError

__all__ = ["CLOUDS", "Cloud", "digits8", "eight_gaussians", "far_mass", "gauss", "moons", "near_far"]

Array = NDArray[np.float64]
Variant = Literal["clean", "torchcfm"]


@dataclass(frozen=True)
class Cloud:
    """Points and what is true of their law.

    Attributes
    ----------
    points : shape (n, d)
    modes : which component each point comes from, shape (n,)
    centres : of the components, shape (components, d)
    masses : probability of each component, shape (components,)
    """

    points: Array
    modes: NDArray[np.int64]
    centres: Array
    masses: Array


def gauss(rng: np.random.Generator, n: int) -> Cloud:
    """Standard normal in the plane, one mode.

    >>> gauss(np.random.default_rng(0), 5).points.shape
    (5, 2)
    """
    return Cloud(rng.standard_normal((n, 2)), np.zeros(n, dtype=np.int64), np.zeros((1, 2)), np.ones(1))


def eight_gaussians(rng: np.random.Generator, n: int) -> Cloud:
    """Eight normals with standard deviation 0.562 on a circle of radius 5, equally likely.

    The spread is the one of torchcfm's cloud, which takes √0.1 as a variance.

    >>> cloud = eight_gaussians(np.random.default_rng(0), 4000)
    >>> bool(abs(np.linalg.norm(cloud.points, axis=1).mean() - 5) < 0.1)
    True
    """
    angle = 2 * np.pi * np.arange(8) / 8
    return _mixture(rng, n, 5 * np.column_stack([np.cos(angle), np.sin(angle)]), 0.1**0.25)


def moons(rng: np.random.Generator, n: int, variant: Variant = "clean") -> Cloud:
    """Two interleaving half circles, each point with noise, stretched by 3 and moved by -1.

    Parameters
    ----------
    variant : "clean" adds normal noise of standard deviation 0.1 to each coordinate; "torchcfm" adds one number from
        U(0, 0.2) to both, as the generator behind published figures does

    >>> moons(np.random.default_rng(0), 5).modes.tolist()
    [1, 1, 1, 0, 0]
    """
    if variant not in ("clean", "torchcfm"):
        raise InputError(f"variant={variant!r} was given; it may be clean or torchcfm.")
    which, angle = rng.integers(0, 2, n), rng.uniform(0, np.pi, n)
    upper = np.column_stack([np.cos(angle), np.sin(angle)])
    lower = np.column_stack([1 - np.cos(angle), 0.5 - np.sin(angle)])
    arc = np.where(which[:, None] == 0, upper, lower)
    noise = rng.normal(0, 0.1, (n, 2)) if variant == "clean" else rng.uniform(0, 0.2, (n, 1))
    # Means of the arcs: a half circle's mean lies 2/π from its base.
    centres = np.array([[0, 2 / np.pi], [1, 0.5 - 2 / np.pi]])
    return Cloud(3 * (arc + noise) - 1, which, 3 * centres - 1, np.full(2, 0.5))


def near_far(rng: np.random.Generator, n: int) -> Cloud:
    """Two equally likely normals with standard deviation 0.3, one at (-2, 0) and one at (6, 0).

    >>> near_far(np.random.default_rng(0), 5).centres.tolist()
    [[-2.0, 0.0], [6.0, 0.0]]
    """
    return _mixture(rng, n, np.array([[-2.0, 0.0], [6.0, 0.0]]), 0.3)


def far_mass(eps: float) -> float:
    """Mass of `near_far`'s far mode after weighting pairs with `gauss` by exp(-‖x - y‖/ε), by quadrature.

    >>> round(far_mass(1e6), 4), round(far_mass(1.0), 4)
    (0.5, 0.0249)
    """
    from scipy.integrate import quad
    from scipy.stats import rice

    spread = np.sqrt(1 + 0.3**2)  # of x - y around the mode, per axis
    laws = [rice(b=mode / spread, scale=spread) for mode in (2.0, 6.0)]
    near, far = (quad(lambda r, law=law: np.exp(-r / eps) * law.pdf(r), 0, 30)[0] for law in laws)
    return far / (near + far)


def digits8(rng: np.random.Generator, n: int) -> Cloud:
    """Handwritten digits of 8 × 8 pixels from -1 to 1 (scikit-learn's), drawn with replacement; a mode is a digit.

    >>> digits8(np.random.default_rng(0), 5).points.shape
    (5, 64)
    """
    from sklearn.datasets import load_digits

    pixels, digit = load_digits(return_X_y=True)
    pixels = pixels / 8.0 - 1.0
    centres = np.stack([pixels[digit == k].mean(0) for k in range(10)])
    chosen = rng.integers(0, len(pixels), n)
    return Cloud(pixels[chosen], digit[chosen].astype(np.int64), centres, np.bincount(digit) / len(digit))


def _mixture(rng: np.random.Generator, n: int, centres: Array, spread: float) -> Cloud:
    """Isotropic normals at equally likely centres."""
    modes = rng.integers(0, len(centres), n)
    points = centres[modes] + spread * rng.standard_normal((n, centres.shape[1]))
    return Cloud(points, modes, centres, np.full(len(centres), 1 / len(centres)))


CLOUDS: dict[str, Callable[[np.random.Generator, int], Cloud]] = {
    "8gaussians": eight_gaussians,
    "moons": moons,
    "gauss": gauss,
    "near_far": near_far,
    "digits8": digits8,
}
"""Clouds by the names that studies use."""
