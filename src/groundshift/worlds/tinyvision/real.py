"""Real images without a download: scikit-learn's handwritten digits and its two photographs.

The photographs (china.jpg and flower.jpg, both CC BY 2.0) are credited in docs/worlds-tinyvision.md.
"""

from __future__ import annotations

import hashlib
from functools import cache
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from groundshift.errors import InputError

__all__ = ["blur", "digits", "random_crops"]

Split = Literal["train", "test"]
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


def random_crops(n: int, size: int, rng: np.random.Generator, split: Split = "train") -> Tensor:
    """n crops at random places, float32 (n, 3, size, size)."""
    pictures = _halves(_split(split))
    which = rng.integers(0, len(pictures), n)
    top = rng.integers(0, pictures[0].shape[1] - size + 1, n)
    left = rng.integers(0, pictures[0].shape[2] - size + 1, n)
    return torch.stack(
        [pictures[w][:, t : t + size, s : s + size] for w, t, s in zip(which, top, left, strict=True)]
    )


def blur(images: Tensor, sd: float) -> Tensor:
    """Gaussian blur of the last two axes; ``sd`` in pixels, edges repeated, 0 changes nothing."""
    if sd == 0:
        return images
    from scipy.ndimage import gaussian_filter

    smooth = gaussian_filter(images.numpy(), sd, axes=(-2, -1), mode="nearest")
    return torch.as_tensor(smooth, dtype=images.dtype)


@cache
def _halves(split: Split) -> tuple[Tensor, ...]:
    """The part of each photograph that belongs to the split, (3, 427, …) in [-1, 1]."""
    from sklearn.datasets import load_sample_images

    pictures = []
    for picture in load_sample_images().images:
        whole = torch.as_tensor(picture / 127.5 - 1, dtype=torch.float32).permute(2, 0, 1)
        cut = round(TRAIN_SHARE * whole.shape[2])
        pictures.append(whole[:, :, :cut] if split == "train" else whole[:, :, cut:])
    return tuple(pictures)


def _split(split: str) -> Split:
    if split not in ("train", "test"):
        raise InputError(f"split={split!r} was given; it is train or test.")
    return split  # type: ignore[return-value]
