"""Graded changes of a picture: noise by its variance, and styles from 1 (slight) to 5 (strong); 0 changes nothing."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from groundshift.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["STYLES", "check_shift", "perturb"]

QUALITY = (95, 50, 30, 15, 8, 4)
"""Of JPEG, by severity."""
BAYER = np.array([[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]]) * 16 + 8
"""Thresholds of an ordered dither, in grey values."""


def noise(image: Image, variance: float, rng: np.random.Generator) -> Image:
    """x' = clip(x + e, 0, 1) with e ~ N(0, variance) for each pixel and channel on [0, 1], as 8 bits."""
    from PIL import Image as Pil

    pixels = np.asarray(image, np.float32) / 255
    noisy = pixels + rng.normal(0, variance**0.5, pixels.shape)
    return Pil.fromarray(np.round(noisy.clip(0, 1) * 255).astype(np.uint8))


def _edge(image: Image, severity: float) -> Image:
    from PIL import Image as Pil
    from PIL import ImageFilter, ImageOps

    edges = ImageOps.invert(image.convert("L").filter(ImageFilter.FIND_EDGES)).convert("RGB")
    return Pil.blend(image, edges, severity / 5)


def _halftone(image: Image, severity: float) -> Image:
    from PIL import Image as Pil

    grey = np.asarray(image.convert("L"))
    dots = (
        grey
        > np.tile(BAYER, (-(-grey.shape[0] // 4), -(-grey.shape[1] // 4)))[: grey.shape[0], : grey.shape[1]]
    )
    return Pil.blend(image, Pil.fromarray(dots.astype(np.uint8) * 255).convert("RGB"), severity / 5)


def _posterise(image: Image, severity: float) -> Image:
    from PIL import ImageOps

    return ImageOps.posterize(image, 6 - round(severity))


def _invert(image: Image, severity: float) -> Image:
    """Inverts what is brighter than a threshold, which falls with the severity; at 5 everything."""
    from PIL import ImageOps

    return ImageOps.solarize(image, round(256 * (1 - severity / 5)))


def _blur(image: Image, severity: float) -> Image:
    from PIL import ImageFilter

    return image.filter(ImageFilter.GaussianBlur(severity * min(image.size) / 120))


def _jpeg(image: Image, severity: float) -> Image:
    from PIL import Image as Pil

    file = io.BytesIO()
    image.save(file, "JPEG", quality=QUALITY[round(severity)])
    return Pil.open(file).convert("RGB")


STYLES: dict[str, Callable[[Image, float], Image]] = {
    "edge": _edge, "posterise": _posterise, "invert": _invert, "halftone": _halftone, "blur": _blur, "jpeg": _jpeg,
}  # fmt: skip
"""Styles that need no model. Severity 1 to 5."""


def check_shift(shift: str, severity: float) -> None:
    """Refuse a change that is not known, and a severity that is none.

    >>> check_shift("blurr", 1)
    Traceback (most recent call last):
    groundshift.errors.InputError: The style 'blurr' is not known; did you mean 'blur'?
    """
    if shift not in (*STYLES, "noise"):
        raise InputError(f"The style {shift!r} is not known{did_you_mean(shift, STYLES)}")
    if shift == "noise" and not 0 <= severity <= 1:
        raise InputError(
            f"A noise of variance {severity} was given; 0 to 1 is needed, on pixels from 0 to 1."
        )
    if shift != "noise" and severity not in range(6):
        raise InputError(f"The style {shift} was given the severity {severity}; 0 to 5 is needed.")


def perturb(image: Image, shift: str, severity: float, seed: int | list[int] = 0) -> Image:
    """An RGB image under noise of a variance or in a style of a severity; at severity 0 the image as it was given.

    Parameters
    ----------
    shift : "noise", or one of `STYLES`
    severity : of noise its variance on pixels from 0 to 1; of a style 0 to 5
    seed : of the noise

    Raises
    ------
    InputError
        An unknown style, a severity out of its range.

    Examples
    --------
    >>> from PIL import Image
    >>> grey = Image.new("RGB", (32, 32), (128, 128, 128))
    >>> perturb(grey, "blur", 0) is grey, round(float(np.std(perturb(grey, "noise", 0.01))) / 255, 1)
    (True, 0.1)
    """
    check_shift(shift, severity)
    if severity == 0:
        return image
    return (
        noise(image, severity, np.random.default_rng(seed))
        if shift == "noise"
        else STYLES[shift](image, severity)
    )
