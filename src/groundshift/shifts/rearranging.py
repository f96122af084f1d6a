"""Twins of a picture that keep its texture and its details and lose its global arrangement, without a network."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from groundshift.errors import InputError
from groundshift.pictures import read_picture

__all__ = ["HOWS", "Cuts", "How", "Pixels", "cut_lines", "least_side", "pixels_of", "quilt", "shuffle_blocks"]

Pixels = NDArray[np.uint8]
How = Literal["blocks", "quilt", "random", "gatys", "portilla"]
HOWS: dict[How, float] = {"blocks": 4, "quilt": 1 / 6, "random": 300, "gatys": 500, "portilla": 200}
"""Way of disrupting → default strength: cells of a row, side of a patch over the shorter side, or steps."""
Cuts = Literal["covered", "smooth", "bare"]
WIDTH = 2
"""Pixels on either side of a cut that are covered or smoothed."""
TOLERANCE = 1.1
"""Patches whose error is at most this many times the smallest are candidates (Efros and Freeman 2001)."""


def pixels_of(image: Any) -> Pixels:
    """A picture as (H, W, 3) in 8 bits, from a path, a PIL image of any mode, or an array (H, W) or (H, W, 3).

    >>> pixels_of(np.zeros((4, 5), dtype=np.uint8)).shape
    (4, 5, 3)
    """
    if not isinstance(image, np.ndarray):
        return np.asarray(read_picture(image, "RGB"))
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] != 3):
        raise InputError(
            f"An array of shape {image.shape} and type {image.dtype} was given; (H, W) or (H, W, 3) of uint8 is needed."
        )
    return np.repeat(image[:, :, None], 3, 2) if image.ndim == 2 else image


def least_side(how: How, strength: float) -> int:
    """The shortest side, in pixels, that a picture needs."""
    if how == "blocks":
        return int(strength) * (2 * WIDTH + 2)
    return int(np.ceil(6 / strength)) if how == "quilt" else 128 if how == "portilla" else 32


def cut_lines(side: int, cells: int) -> NDArray[np.int64]:
    """First pixel after each inner cut of a side that is a multiple of ``cells``."""
    return np.arange(1, cells) * (side // cells)


def shuffle_blocks(image: Pixels, cells: int, seed: int | None, cuts: Cuts = "covered") -> Pixels:
    """Cut a picture into ``cells`` × ``cells`` blocks and permute them so that none keeps its place.

    Parameters
    ----------
    image : (H, W, 3); its sides are cropped to multiples of ``cells``
    cells : of a row, at least 2
    seed : of the permutation; None leaves every block where it is, so that an original gets the same cuts as its twins
    cuts : "covered" by lines of the picture's mean colour, "smooth" (blurred along the cuts), or "bare". In photographs
        blurred cuts between blocks that do not belong together still show, and under lines all blocks look alike.

    Returns
    -------
    (H, W, 3), cropped

    Examples
    --------
    >>> quarters = np.kron([[0, 1], [2, 3]], np.ones((4, 4))).astype(np.uint8)
    >>> moved = shuffle_blocks(pixels_of(quarters), 2, seed=0, cuts="bare")[::4, ::4, 0]
    >>> sorted(moved.ravel().tolist()), bool((moved == [[0, 1], [2, 3]]).any())
    ([0, 1, 2, 3], False)
    """
    height, width = (side // cells * cells for side in image.shape[:2])
    top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    kept = image[top : top + height, left : left + width]
    h, w = height // cells, width // cells
    blocks = kept.reshape(cells, h, cells, w, -1).swapaxes(1, 2).reshape(cells**2, h, w, -1)
    order = np.arange(cells**2) if seed is None else _derangement(np.random.default_rng(seed), cells**2)
    moved = blocks[order].reshape(cells, cells, h, w, -1).swapaxes(1, 2).reshape(kept.shape)
    near = np.zeros(moved.shape[:2], dtype=bool)
    for axis in (0, 1):
        # Covered at the border as well, all blocks lose the same pixels.
        ends = [0, moved.shape[axis]] if cuts == "covered" else []
        for line in [*cut_lines(moved.shape[axis], cells), *ends]:
            np.moveaxis(near, axis, 0)[max(line - WIDTH, 0) : line + WIDTH] = True
    if cuts == "bare":
        return moved
    over = np.broadcast_to(kept.mean((0, 1)), moved.shape)
    if cuts == "smooth":
        over = ndimage.gaussian_filter(moved.astype(float), (WIDTH / 2, WIDTH / 2, 0), mode="nearest")
    return np.where(near[:, :, None], np.round(over).astype(np.uint8), moved)


def _derangement(rng: np.random.Generator, n: int) -> NDArray[np.int64]:
    while True:
        order = rng.permutation(n)
        if not (order == np.arange(n)).any():
            return order


def quilt(image: Pixels, strength: float, seed: int) -> Pixels:
    """A picture of the same size, sewn from patches of the image along cuts of least error (Efros and Freeman 2001).

    Errors of all source patches against what is already laid are computed at once by FFT. A patch that would come
    nearer than half its side to where it was taken from is left out, as it would rebuild the original.

    Parameters
    ----------
    image : (H, W, 3)
    strength : side of a patch over the shorter side of the image
    seed : of the first patch and of every choice among the candidates

    Returns
    -------
    (H, W, 3), of pixels of the image only
    """
    rng, source = np.random.default_rng(seed), image.astype(np.float64)
    height, width = image.shape[:2]
    side = max(round(strength * min(height, width)), 6)
    overlap = -(-side // 6)
    step = side - overlap
    rows, columns = (-(-max(n - overlap, 1) // step) for n in (height, width))
    laid = np.zeros((rows * step + overlap, columns * step + overlap, 3))
    errors = _Errors(source, side)
    corner_y, corner_x = np.mgrid[: height - side + 1, : width - side + 1]
    for row, column in np.ndindex(rows, columns):
        y, x = row * step, column * step
        place = laid[y : y + side, x : x + side]
        known = np.zeros((side, side), dtype=bool)
        known[:overlap, :] |= row > 0
        known[:, :overlap] |= column > 0
        error = errors(place, known)
        # Against rounding in the FFT, where many patches fit exactly.
        limit = TOLERANCE * max(error.min(), 0) + 1e-6 * max(float(error.max()), 1.0)
        far = np.maximum(np.abs(corner_y - y), np.abs(corner_x - x)) >= side / 2
        allowed = np.where(far, error, np.inf)
        if not np.isfinite(allowed).any():
            allowed = error
        ys, xs = np.nonzero(allowed <= max(limit, TOLERANCE * allowed.min()))
        k = int(rng.integers(len(ys)))
        patch = source[ys[k] : ys[k] + side, xs[k] : xs[k] + side]
        gap = np.square(patch - place).sum(2)
        keep = np.zeros((side, side), dtype=bool)  # of what is laid
        if row:
            keep[:overlap] |= _least_cut(gap[:overlap].T).T
        if column:
            keep[:, :overlap] |= _least_cut(gap[:, :overlap])
        place[:] = np.where(keep[:, :, None], place, patch)
    return np.round(laid[:height, :width]).astype(np.uint8)


class _Errors:
    """Sum of squared differences between a template and every patch of a source, where the template is known."""

    def __init__(self, source: NDArray[np.float64], side: int) -> None:
        self.side = side
        self.valid = tuple(n - side + 1 for n in source.shape[:2])
        self.size = tuple(fft.next_fast_len(n, real=True) for n in source.shape[:2])
        self.spectrum = fft.rfft2(source, self.size, axes=(0, 1))
        self.squares = fft.rfft2(np.square(source).sum(2), self.size)
        self.masses: dict[bytes, NDArray[np.float64]] = {}

    def __call__(self, template: NDArray[np.float64], known: NDArray[np.bool_]) -> NDArray[np.float64]:
        if not known.any():
            return np.zeros(self.valid)
        key = known.tobytes()
        if key not in self.masses:
            mask = np.conj(fft.rfft2(known.astype(float), self.size))
            self.masses[key] = self._valid(self.squares * mask)
        held = np.where(known[:, :, None], template, 0.0)
        cross = (self.spectrum * np.conj(fft.rfft2(held, self.size, axes=(0, 1)))).sum(2)
        return self.masses[key] - 2 * self._valid(cross) + np.square(held).sum()

    def _valid(self, spectrum: NDArray[np.complex128]) -> NDArray[np.float64]:
        return np.asarray(fft.irfft2(spectrum, self.size)[: self.valid[0], : self.valid[1]])


def _least_cut(gap: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which pixels of an overlap (length, width) stay as laid: those left of the path of least error."""
    total = gap.copy()
    for k in range(1, len(total)):
        before = np.pad(total[k - 1], 1, constant_values=np.inf)
        total[k] += np.minimum(np.minimum(before[:-2], before[1:-1]), before[2:])
    path = np.empty(len(total), dtype=int)
    path[-1] = int(total[-1].argmin())
    for k in range(len(total) - 2, -1, -1):
        low = max(path[k + 1] - 1, 0)
        path[k] = low + int(total[k, low : path[k + 1] + 2].argmin())
    return np.asarray(np.arange(gap.shape[1]) < path[:, None])
