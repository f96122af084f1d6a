"""The one way to a disrupted twin, whatever it is made by."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from groundshift.shifts.rearranging import (
    HOWS,
    Cuts,
    How,
    Pixels,
    least_side,
    pixels_of,
    quilt,
    shuffle_blocks,
)  # fmt: skip
from groundshift.errors import InputError, did_you_mean

__all__ = ["check_size", "disrupt", "strength_of", "twins_of"]

NEEDED = {
    "blocks": "a whole number of cells of a row, 2 to 32",
    "quilt": "a share of the shorter side, at most 0.5",
}


def disrupt(
    image: Any, how: How = "blocks", strength: float | None = None, seed: int = 0, *,
    weights: str | Path | None = None, device: str = "auto",
) -> Pixels:  # fmt: skip
    """A picture with the texture and the details of another, and without its global arrangement.

    Parameters
    ----------
    image : path, PIL image, or array (H, W) or (H, W, 3) in 8 bits
    how : "blocks" (permuted, none in its place), "quilt" (sewn from patches), "random" (Gram matrices of random
        filters), "gatys" (Gram matrices of a VGG network), or "portilla" (statistics of a steerable pyramid; grey)
    strength : of blocks: cells of a row, 2 to 32 (4); of quilt: side of a patch over the shorter side (1/6); of the
        others: steps (300, 500, 200)
    seed : another seed, another twin
    weights : of "gatys": directory with the weights of a VGG network, see `groundshift.benchmarks.dist.load_vgg`
    device : of torch

    Returns
    -------
    (H, W, 3) in 8 bits; of blocks cropped to a multiple of the cells, of portilla to one of 16

    Raises
    ------
    InputError
        A picture that is too small, a strength that ``how`` does not have, "gatys" without weights.

    Examples
    --------
    >>> import numpy as np
    >>> image = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    >>> disrupt(image, "blocks", 2).shape, disrupt(image, "quilt", 1 / 4).shape
    ((64, 64, 3), (64, 64, 3))
    """
    strength, pixels = strength_of(how, strength), pixels_of(image)
    check_size(pixels, how, strength, "The picture")
    return twins_of([pixels], how, strength, [seed], weights, device)[0]


def strength_of(how: str, strength: float | None) -> float:
    """The strength, or the default of ``how``."""
    defaults = {str(name): value for name, value in HOWS.items()}
    if how not in defaults:
        raise InputError(f"how={how!r} was given{did_you_mean(how, defaults)}")
    value = defaults[how] if strength is None else float(strength)
    whole = value == int(value)
    right = {"blocks": whole and 2 <= value <= 32, "quilt": 0 < value <= 0.5}
    if not right.get(how, whole and value >= 1):
        raise InputError(f"strength={value:g} was given; {how} needs {NEEDED.get(how, 'a number of steps')}.")
    return value


def check_size(pixels: Pixels, how: How, strength: float, name: str) -> None:
    """Refuse a picture that is too small."""
    height, width = pixels.shape[:2]
    if min(height, width) < (least := least_side(how, strength)):
        raise InputError(
            f"{name} has {width} × {height} pixels; {how} at strength {strength:g} needs {least} on each side."
        )


def twins_of(
    pictures: Sequence[Pixels], how: How, strength: float, seeds: Sequence[int], weights: Any = None,
    device: str = "auto", cuts: Cuts = "covered",
) -> list[Pixels]:  # fmt: skip
    """A twin of each picture."""
    if how == "blocks":
        return [shuffle_blocks(p, int(strength), s, cuts) for p, s in zip(pictures, seeds, strict=True)]
    if how == "quilt":
        return [quilt(p, strength, s) for p, s in zip(pictures, seeds, strict=True)]
    from groundshift.models.devices import device_of
    from groundshift.shifts.textures import load_vgg, portilla, synthesise

    place = device_of(device)
    if how == "portilla":
        return [portilla(p, s, steps=int(strength), device=place) for p, s in zip(pictures, seeds, strict=True)]
    if how == "gatys" and weights is None:
        raise InputError(
            "how='gatys' needs weights=: a directory with a VGG network; how='random' needs none."
        )
    features = load_vgg(weights) if how == "gatys" else None
    return [synthesise(p, s, features=features, steps=int(strength), halves=features is None, device=place).image
            for p, s in zip(pictures, seeds, strict=True)]  # fmt: skip
