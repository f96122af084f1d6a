"""Reading factors back from pixels by rule: a judge that was never trained, so that no generator can please it.

It sees colour, place, background, size and motion of the one coloured object of a scene; shape and texture are beyond
it. All backdrops that it knows are grey, therefore what has chroma is the object, and a pixel that mixes both keeps the
object's hue: covered area and centroid are exact to the anti-aliasing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from groundshift.errors import InputError
from groundshift.worlds.tinyvision.render import RGB, SHADE, SPACING, flat

__all__ = ["Reading", "judge", "judge_motion"]

Codes = NDArray[np.int64]
Array = NDArray[np.float64]

# An orthonormal basis of the plane of chroma, the colours less their mean.
CHROMA = np.sqrt(2 / 3) * np.array([(1, -0.5, -0.5), (0, np.sqrt(0.75), -np.sqrt(0.75))])
HUES = (2 * RGB - 1) @ CHROMA.T
SEEN = 0.4
"""Chroma from which a pixel belongs to an object; the palette's weakest colour has 1.0."""
BETWEEN = 0.215
"""Root-mean-square radius between small objects (0.18 to 0.2) and large ones (0.25 to 0.3)."""


@dataclass(frozen=True)
class Reading:
    """What `judge` reads, arrays of shape (n,); codes as in `FACTORS`, -1 (and nan) where no coloured object is seen.

    Attributes
    ----------
    colour, place, background, size : codes
    x, y : centroid, in the coordinates of the renderer
    area : covered by colour, in units of the square [-1, 1]², so at most 4
    radius : root-mean-square distance of the object from its centroid
    """

    colour: Codes
    place: Codes
    background: Codes
    size: Codes
    x: Array
    y: Array
    area: Array
    radius: Array

    def factors(self) -> dict[str, Codes]:
        """The four codes by name."""
        return {name: getattr(self, name) for name in ("colour", "place", "background", "size")}


def judge(images: Tensor) -> Reading:
    """Read the factors of images (n, 3, H, W) in [-1, 1] that show one object on a grey ground.

    Colour: the palette entry of nearest hue to the summed chroma of the largest coloured component. Place: the cell
    of its centroid. Background: the template that fits the border best; "noise" or "photo" if none does. Size: by the
    root-mean-square radius of coverage, the dark parts of a texture included where they differ from the ground.

    Raises
    ------
    InputError
        For anything but a floating tensor (n, 3, H, H) with H at least 8.

    Examples
    --------
    >>> from groundshift.worlds.tinyvision.render import draw
    >>> scene = draw(100, np.random.default_rng(0), palette="plain")
    >>> read = judge(scene.image)
    >>> bool((read.colour == scene.factors["colour"][:, 0]).all() and (read.size == 1).all())
    True
    """
    if images.ndim != 4 or images.shape[1] != 3 or images.shape[2] != images.shape[3] or images.shape[2] < 8:
        raise InputError(
            f"Images of shape {tuple(images.shape)} were given; (n, 3, H, H) with H from 8 is needed."
        )
    pixels, H = images.detach().cpu().double().numpy(), images.shape[-1]
    background, noise = _background(pixels)

    chroma = np.einsum("nchw,kc->nkhw", pixels, CHROMA)
    body = _largest(np.hypot(chroma[:, 0], chroma[:, 1]) > SEEN)
    seen = body.any((1, 2))
    summed = (chroma * body[:, None]).sum((2, 3))
    colour = (summed @ (HUES / np.linalg.norm(HUES, axis=1, keepdims=True)).T).argmax(1)

    near = ndimage.maximum_filter(body, (1, 3, 3))  # with the faint pixels of its edge
    axis = HUES[colour] / (HUES[colour] ** 2).sum(1, keepdims=True)
    coloured = np.where(near, np.einsum("nkhw,nk->nhw", chroma, axis), 0).clip(0, 1)
    dark = _shade(pixels.mean(1), coloured, (2 * RGB - 1).mean(1)[colour], background, noise)
    coverage = coloured + np.where(ndimage.maximum_filter(near, (1, 3, 3)), dark, 0)
    coverage[coverage < (0.05 + 3 * noise).clip(max=0.4)[:, None, None]] = 0
    x, y, radius = _moments(coverage)
    column, row = (np.rint(np.nan_to_num(centre) / SPACING).clip(-1, 1) + 1 for centre in (x, y))
    solid = np.isfinite(radius)
    return Reading(
        colour=np.where(seen, colour, -1),
        place=np.where(solid, 3 * row + column, -1).astype(np.int64),
        background=background,
        size=np.where(solid, radius > BETWEEN, -1),
        x=x,
        y=y,
        area=coloured.sum((1, 2)) * 4 / H**2,
        radius=radius,
    )


def judge_motion(frames: Tensor) -> Array:
    """Velocity (x, y) in pixels per frame of the one object of clips (n, T, 3, H, W): the slope of its centroid.

    Frames in which nothing is seen are left out; nan where fewer than two are left.
    """
    n, T, _, H, _ = frames.shape
    read = judge(frames.flatten(0, 1))
    track = np.stack([read.x, read.y], -1).reshape(n, T, 2) * H / 2
    seen = np.isfinite(track[..., 0])
    time = np.where(seen, np.arange(T), np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = seen.sum(1, keepdims=True)
        late = np.where(seen, time - np.nansum(time, 1, keepdims=True) / share, 0)
        return (late[..., None] * np.nan_to_num(track)).sum(1) / (late**2).sum(1, keepdims=True)


def _background(pixels: Array) -> tuple[Codes, Array]:
    """Code of the ground, and the sd of the noise on it, from the pixels of the border."""
    n, _, H, _ = pixels.shape
    border = np.ones((H, H), dtype=bool)
    border[1:-1, 1:-1] = False
    rim = pixels[:, :, border]
    templates = flat(np.arange(4), H).double().numpy()[:, 0][:, border]
    misfit = np.median(np.abs(rim.mean(1)[:, None] - templates), axis=2)
    code = misfit.argmin(1)
    grey = np.median(np.ptp(rim, axis=1), axis=1) < 0.1
    code = np.where(misfit.min(1) < 0.25, code, np.where(grey, 5, 4))
    residual = np.abs(rim - templates[np.minimum(code, 3)][:, None])
    return code, np.median(residual.reshape(n, -1), axis=1) / 0.6745


def _shade(level: Array, coloured: Array, colour: Array, background: Codes, noise: Array) -> Array:
    """Coverage by the dark parts of a texture, 0 where noise or the ground hides them.

    Solves level = ground + coloured (colour - ground) + dark (shade - ground), all of them means over the channels.
    """
    ground = flat(np.minimum(background, 3), level.shape[-1])[:, 0].double().numpy()
    contrast = SHADE - ground
    is_visible = (np.abs(contrast) > 0.1 + 4 * noise[:, None, None]) & (background < 4)[:, None, None]
    rest = level - ground - coloured * (colour[:, None, None] - ground)
    return np.where(is_visible, rest / np.where(is_visible, contrast, 1), 0).clip(0, 1 - coloured)


def _largest(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The largest component of each image; pixels that are at most one pixel apart belong together."""
    near = ndimage.maximum_filter(mask, (1, 3, 3))
    every = np.zeros((3, 3, 3))
    every[1] = 1
    labels, count = ndimage.label(near, structure=every)
    sizes = np.bincount(labels[mask], minlength=count + 1)
    sizes[0] = 0
    owner = np.zeros(count + 1, dtype=np.int64)
    image, *_ = np.nonzero(near)
    owner[labels[near]] = image
    order = np.lexsort((sizes[1:], owner[1:])) + 1  # the last of each image is its largest
    best = np.full(len(mask), -1)
    best[owner[order]] = order
    return mask & (labels == best[:, None, None])


def _moments(weight: Array) -> tuple[Array, Array, Array]:
    """Centroid and root-mean-square radius of each image; nan where nothing has weight."""
    H = weight.shape[-1]
    axis = (2 * np.arange(H) + 1) / H - 1
    with np.errstate(invalid="ignore", divide="ignore"):
        share = weight / weight.sum((1, 2), keepdims=True)
    x, y = (share.sum(1) * axis).sum(1), (share.sum(2) * axis).sum(1)
    spread = (share.sum(1) * (axis - x[:, None]) ** 2 + share.sum(2) * (axis - y[:, None]) ** 2).sum(1)
    return x, y, np.sqrt((spread - (2 / H) ** 2 / 6).clip(0))  # less what the square pixels have added
