"""A user's picture, whatever holds it: files and PIL images of any mode, made upright and 8 bits deep.

The door of every system that reads pictures. Pillow's own conversion cuts 16 bits off at 255, drops transparency and
leaves cameras' pictures lying on their side; palettes are only looked up if one asks.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from groundshift.errors import InputError

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["class_numbers", "open_picture", "read_picture"]

GREY = ("1", "L", "LA", "La", "I", "F")
"""Modes of grey pictures, beside those that begin with I;16."""


def read_picture(
    source: Any, mode: Literal["L", "RGB", "auto"] = "RGB", *, background: int = 255
) -> Image.Image:
    """A picture in 8 bits, upright as its EXIF data say.

    Parameters
    ----------
    source : path, or PIL image, of any mode: 1, L, LA, P, RGB, RGBA, CMYK, I;16, I, F, ...; of several frames the first
    mode : "L" (grey), "RGB", or "auto" for the one of these that loses nothing
    background : grey value under transparent parts

    Raises
    ------
    InputError
        A file that is no picture, values beyond 16 bits or the float range 0 to 1 (or 255), a mode without conversion.

    Examples
    --------
    >>> from PIL import Image
    >>> deep = Image.fromarray(np.array([[0, 257, 65535]], dtype=np.uint16))
    >>> np.asarray(read_picture(deep, "L")).tolist()
    [[0, 1, 255]]
    """
    from PIL import Image

    image = open_picture(source)
    name = source if isinstance(source, str | Path) else f"A picture of mode {image.mode}"
    grey = image.mode in GREY or image.mode.startswith("I;16")
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        image = Image.fromarray(_eight_bits(np.asarray(image), image, name))
    try:
        if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, (background,) * 3 + (255,)), image)
        return image.convert("L" if mode == "L" or (mode == "auto" and grey) else "RGB")
    except ValueError as error:
        raise InputError(
            f"{name}: there is no conversion of mode {image.mode} to 8 bits; save it as PNG."
        ) from error


def open_picture(source: Any) -> Image.Image:
    """A picture with its own values, upright; see `read_picture`."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    if isinstance(source, Image.Image):
        return ImageOps.exif_transpose(source)
    try:
        with Image.open(source) as image:
            image.load()
            upright = ImageOps.exif_transpose(image)
            upright.format = image.format  # says how deep a PNG file is
            return upright
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError, UnidentifiedImageError) as error:
        raise InputError(f"{source} is no image that can be read ({error}).") from error


def class_numbers(source: Any) -> NDArray[np.int64]:
    """The values of a picture (H, W) as numbers of classes: entries of its palette, or grey values as stored."""
    image = open_picture(source)
    if image.mode in ("LA", "La", "PA"):
        image = image.getchannel(0)
    if image.mode not in (*GREY, "P") and not image.mode.startswith("I;16"):
        image = image.convert("L")
    return np.asarray(image).astype(np.int64)


def _eight_bits(values: NDArray[Any], image: Image.Image, name: Any) -> NDArray[np.uint8]:
    """Values of 16 or 32 bits from 0 to 255: whole numbers by the depth that they need, float ones up to 1 or 255."""
    values = values.astype(float)
    low, high = float(values.min()), float(values.max())
    whole = image.mode != "F"
    # 16-bit PNG files come as I or I;16 and are 16 bits deep however dark they are.
    depths = (65535.0,) if image.mode.startswith("I;16") or image.format == "PNG" else (255.0, 65535.0)
    depth = next((d for d in (depths if whole else (1.0, 255.0)) if high <= d), None)
    if depth is None or not low >= 0:
        needed = "0 to 65535" if whole else "0 to 1, or 0 to 255,"
        raise InputError(f"{name} holds values from {low:g} to {high:g}; {needed} is needed. Rescale them.")
    return np.round(values * (255 / depth)).astype(np.uint8)
