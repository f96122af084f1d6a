"""Real images without a download: scikit-learn's handwritten digits and its two photographs.

The photographs (china.jpg and flower.jpg, both CC BY 2.0) are credited in docs/worlds-tinyvision.md.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from groundshift.errors import InputError

__all__ = [
    "DEGRADATIONS",
    "Pairs",
    "blur",
    "coloured_digits",
    "degrade",
    "digits",
    "photo_pairs",
    "photos",
    "random_crops",
]

Split = Literal["train", "test"]
DEGRADATIONS = ("blur", "luma", "box", "jpeg", "mask")
TEST_DIGITS = 400
TRAIN_SHARE = 0.7
"""The left part of each photograph trains, the right part tests."""


def digits(split: Split = "train") -> tuple[Tensor, NDArray[np.int64]]:
    """Handwritten digits: images float32 (n, 1, 8, 8) in [-1, 1] and labels 0 … 9.

    The 400 images whose rows have the smallest SHA-256 are the test set, the other 1397 the training set: the split
    depends on no seed and on no order.

    >>> images, labels = digits("test")
    >>> tuple(images.shape), len(labels)
    ((400, 1, 8, 8), 400)
    """
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    hashes = [hashlib.sha256(row.astype(np.uint8).tobytes()).digest() for row in pixels]
    order = np.array(sorted(range(len(hashes)), key=hashes.__getitem__))
    rows = np.sort(order[:TEST_DIGITS] if _split(split) == "test" else order[TEST_DIGITS:])
    images = torch.as_tensor(pixels[rows] / 8 - 1, dtype=torch.float32).reshape(-1, 1, 8, 8)
    return images, labels[rows].astype(np.int64)


def coloured_digits(
    hues: ArrayLike, split: Split = "train", *, rng: np.random.Generator
) -> tuple[Tensor, NDArray[np.int64], NDArray[np.int64]]:
    """Digits g in colours drawn uniformly from ``hues`` (h, 3) in [0, 1]: pixels -1 + (g + 1) hue.

    Returns images float32 (n, 3, 8, 8), digits (n,) and indices of hues (n,).
    """
    colours = np.atleast_2d(np.asarray(hues, dtype=np.float32))
    if colours.shape[1] != 3 or colours.min() < 0 or colours.max() > 1:
        raise InputError(
            f"hues of shape {colours.shape} were given; give rows of red, green, blue in [0, 1]."
        )
    grey, labels = digits(split)
    chosen = rng.integers(0, len(colours), len(grey))
    return -1 + (grey + 1) * torch.as_tensor(colours[chosen])[:, :, None, None], labels, chosen


def photos(size: int, split: Split = "train", *, stride: int | None = None, box: int = 1) -> Tensor:
    """Crops of both photographs, float32 (n, 3, size, size) in [-1, 1], in reading order.

    Parameters
    ----------
    size : side of a crop in pixels
    stride : step between crops; ``size`` (no overlap) if left out
    box : average blocks of ``box`` × ``box`` pixels first, to see more of the scene in a crop

    Examples
    --------
    >>> photos(32, "train").shape, photos(32, "test").shape
    (torch.Size([364, 3, 32, 32]), torch.Size([156, 3, 32, 32]))
    """
    step, crops = stride or size, []
    for picture in _halves(_split(split), box):
        if size < 1 or step < 1 or size > min(picture.shape[1:]):
            raise InputError(
                f"size={size}, stride={step}: crops must fit into {tuple(picture.shape[1:])} pixels."
            )
        tiles = picture.unfold(1, size, step).unfold(2, size, step)  # (3, rows, columns, size, size)
        crops.append(tiles.permute(1, 2, 0, 3, 4).reshape(-1, 3, size, size))
    return torch.cat(crops)


def random_crops(n: int, size: int, rng: np.random.Generator, split: Split = "train") -> Tensor:
    """n crops at random places, float32 (n, 3, size, size)."""
    pictures = _halves(_split(split), 1)
    which = rng.integers(0, len(pictures), n)
    top = rng.integers(0, pictures[0].shape[1] - size + 1, n)
    left = rng.integers(0, pictures[0].shape[2] - size + 1, n)
    return torch.stack(
        [pictures[w][:, t : t + size, s : s + size] for w, t, s in zip(which, top, left, strict=True)]
    )


@dataclass(frozen=True)
class Pairs:
    """Two views of photographs and the exact motion between them.

    Attributes
    ----------
    first, second : float32 (n, 3, size, size)
    flow : float32 (n, 2, size, size): the pixel (x, y) of the first view is at (x + flow[0], y + flow[1]) in the second
    visible : bool (n, size, size), the target lies inside the second view
    """

    first: Tensor
    second: Tensor
    flow: Tensor
    visible: Tensor


def photo_pairs(
    n: int,
    rng: np.random.Generator,
    *,
    size: int = 32,
    pan: int = 3,
    zoom: float = 1.0,
    brightness: float = 0.0,
    split: Split = "test",
) -> Pairs:
    """Pairs of crops under a known camera: whole-pixel pans up to ±``pan``, a zoom in [1, ``zoom``] about the centre
    (bicubic) and a change of brightness up to ±``brightness``.

    >>> pairs = photo_pairs(2, np.random.default_rng(0), pan=0)
    >>> bool((pairs.flow == 0).all() and (pairs.first == pairs.second).all())
    True
    """
    if not (1.0 <= zoom <= 1.2 and pan >= 0 and size > 2 * pan):
        raise InputError(
            f"zoom={zoom}, pan={pan}, size={size}: zoom lies in [1, 1.2], pan below half the size."
        )
    wide = random_crops(n, size + 2 * pan, rng, split)
    shift = rng.integers(-pan, pan + 1, (n, 2))  # how far the content moves, (x, y)
    factor = rng.uniform(1.0, zoom, n) if zoom > 1 else np.ones(n)
    light = rng.uniform(-brightness, brightness, n) if brightness else np.zeros(n)
    first, second = wide[..., pan : pan + size, pan : pan + size], torch.empty(n, 3, size, size)
    for i, (x, y) in enumerate(shift):
        second[i] = wide[i, :, pan - y : pan - y + size, pan - x : pan - x + size]
    middle = (size - 1) / 2
    axis = torch.arange(size, dtype=torch.float32) - middle
    scale = torch.as_tensor(factor, dtype=torch.float32)[:, None, None]
    if zoom > 1:
        source = axis / scale  # where a pixel of the zoomed view looks, in pixels from the centre
        grid = torch.stack([source.expand(n, size, size), source.mT.expand(n, size, size)], -1) * 2 / size
        second = F.grid_sample(second, grid, mode="bicubic", padding_mode="border", align_corners=False)
    moved = torch.as_tensor(shift, dtype=torch.float32)
    here = torch.stack([axis.expand(size, size), axis[:, None].expand(size, size)])
    there = (here + moved[:, :, None, None]) * scale[:, None]
    second = (second + torch.as_tensor(light, dtype=torch.float32)[:, None, None, None]).clamp(-1, 1)
    return Pairs(first, second, there - here, (there.abs() <= middle).all(1))


def degrade(images: Tensor, kind: str, strength: float, rng: np.random.Generator | None = None) -> Tensor:
    """Degrade images (n, c, H, W) in [-1, 1] in one of the ways of `DEGRADATIONS`.

    Parameters
    ----------
    kind : "blur" (Gaussian, ``strength`` is its sd in pixels), "luma" (mix with grey, 0 … 1), "box" (mean of blocks of
        ``strength`` pixels: the result is smaller), "jpeg" (quality 100 - 95 ``strength``, Pillow), "mask" (share of
        pixels set to 0, drawn by ``rng``)

    Examples
    --------
    >>> degrade(photos(32), "box", 4).shape
    torch.Size([364, 3, 8, 8])
    """
    if kind not in DEGRADATIONS:
        raise InputError(f"{kind!r} was given; degradations are {', '.join(DEGRADATIONS)}.")
    if kind in ("luma", "jpeg", "mask") and not 0 <= strength <= 1:
        raise InputError(f"strength={strength} was given; {kind} takes 0 to 1.")
    if kind == "blur":
        return blur(images, strength)
    if kind == "luma":
        return torch.lerp(images, images.mean(1, keepdim=True).expand_as(images), strength)
    if kind == "box":
        block = int(strength)
        if block != strength or block < 1 or any(side % block for side in images.shape[-2:]):
            raise InputError(f"Blocks of {strength} do not tile {tuple(images.shape[-2:])} pixels.")
        return F.avg_pool2d(images, block)
    if kind == "jpeg":
        return (
            images
            if strength == 0
            else torch.stack([_jpeg(image, round(100 - 95 * strength)) for image in images])
        )
    if rng is None:
        raise InputError("A mask is drawn at random; give rng.")
    hidden = rng.random((len(images), 1, *images.shape[-2:])) < strength
    return images.masked_fill(torch.as_tensor(hidden), 0.0)


def blur(images: Tensor, sd: float) -> Tensor:
    """Gaussian blur of the last two axes; ``sd`` in pixels, edges repeated, 0 changes nothing."""
    if sd == 0:
        return images
    from scipy.ndimage import gaussian_filter

    smooth = gaussian_filter(images.numpy(), sd, axes=(-2, -1), mode="nearest")
    return torch.as_tensor(smooth, dtype=images.dtype)


@cache
def _halves(split: Split, box: int) -> tuple[Tensor, ...]:
    """The part of each photograph that belongs to the split, (3, 427 // box, …) in [-1, 1]."""
    from sklearn.datasets import load_sample_images

    pictures = []
    for picture in load_sample_images().images:
        whole = torch.as_tensor(picture / 127.5 - 1, dtype=torch.float32).permute(2, 0, 1)
        cut = round(TRAIN_SHARE * whole.shape[2])
        part = whole[:, :, :cut] if split == "train" else whole[:, :, cut:]
        pictures.append(F.avg_pool2d(part, box) if box > 1 else part)
    return tuple(pictures)


def _split(split: str) -> Split:
    if split not in ("train", "test"):
        raise InputError(f"split={split!r} was given; it is train or test.")
    return split  # type: ignore[return-value]


def _jpeg(image: Tensor, quality: int) -> Tensor:
    from PIL import Image

    pixels = ((image + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).numpy()
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "jpeg", quality=quality)
    return torch.as_tensor(np.array(Image.open(file)) / 127.5 - 1, dtype=image.dtype).permute(2, 0, 1)
