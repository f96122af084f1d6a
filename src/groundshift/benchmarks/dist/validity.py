"""Whether twins keep the texture and lose the arrangement, and whether anything else tells which is the original."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from groundshift.benchmarks.dist.oddity import interval, odd_one_out
from groundshift.shifts.rearranging import Pixels, cut_lines
from groundshift.shifts.textures import RandomFilters, gram, gram_distance

__all__ = ["LIMITS", "check_triplets", "give_aways"]

LIMITS = {"texture": 0.25, "texture_gap": 0.25, "structure": 0.5, "gradients": 0.5, "seams": 1.5}
"""Check → largest value of a triplet that is kept."""
REASONS = {"texture": "texture lost", "texture_gap": "textures of the twins differ", "structure": "arrangement kept",
           "gradients": "gradients kept", "seams": "seams"}  # fmt: skip
FLAGGED = 0.4
"""A number tells the original if the lower end of its accuracy's interval lies above this."""
SIDE, PATCH, PATCHES, OTHERS = 64, 8, 500, 20
Array = NDArray[np.float64]


def check_triplets(
    pictures: Sequence[Pixels], names: Sequence[str], labels: Sequence[str], cells: int | None
) -> pd.DataFrame:
    """Checks of each triplet (3, H, W, 3), the larger value of both twins.

    Parameters
    ----------
    cells : of a row, where the twins are made of blocks

    Returns
    -------
    DataFrame
        triplet, name, label; ``texture``: Gram distance of twin and original over the median distance of the original
        from originals of other classes; ``texture_gap``: difference of both twins' distances on that scale;
        ``texture_matched``: whether both distances are below 1.25 times the twins' own; ``detail``: mean distance of
        patches of a twin from the nearest of the original, over that of another original's patches; ``structure``:
        correlation of versions of 8 × 8 pixels; ``gradients``: the same of histograms of orientations; ``seams``:
        how many times the gradient on the cuts over that elsewhere differs between original and twin; ``reason``:
        which limits are exceeded, "" if none.
    """
    rng, small = np.random.default_rng(0), [_small(three) for three in pictures]
    pixels = torch.cat([s[0].flatten(1) for s in small], 1)  # pictures may differ in size
    mean, sd = (x[None, :, None, None] for x in (pixels.mean(1), pixels.std(1).clamp_min(1e-3)))
    with torch.no_grad():
        grams = [[gram(f) for f in _filters()((s - mean) / sd)] for s in small]
    originals = [torch.stack([g[k][0] for g in grams]) for k in range(len(grams[0]))]
    rows, numbers, kinds = [], np.arange(len(pictures)), np.array(labels)
    for k, (three, s, g) in enumerate(zip(pictures, small, grams, strict=True)):
        other = numbers[(kinds != kinds[k]) if len(set(labels)) > 1 else (numbers != k)]
        other = rng.permutation(other)[:OTHERS]
        to_twins = [float(gram_distance([x[0] for x in g], [x[j] for x in g])) for j in (1, 2)]
        between = float(gram_distance([x[1] for x in g], [x[2] for x in g]))
        distances = gram_distance([x[k] for x in originals], [x[other] for x in originals])
        far = max(float(distances.median()), 1e-9) if len(other) else np.nan
        grey = s.mean(1).numpy()
        details = [_detail(grey[j], grey[0], rng) for j in (1, 2)]
        of_other = _detail(small[other[0]].mean(1).numpy()[0], grey[0], rng) if len(other) else np.nan
        row: dict[str, Any] = {
            "triplet": k, "name": names[k], "label": labels[k], "texture": max(to_twins) / far,
            "texture_gap": abs(to_twins[0] - to_twins[1]) / far,
            "texture_matched": max(to_twins) < 1.25 * between, "detail": max(details) / of_other,
            "structure": max(_correlation(_coarse(grey[0]), _coarse(grey[j])) for j in (1, 2)),
            "gradients": max(_correlation(_orientations(grey[0]), _orientations(grey[j])) for j in (1, 2)),
            "seams": _seams(three, cells) if cells else np.nan,
        }  # fmt: skip
        row["reason"] = "; ".join(word for name, word in REASONS.items() if row[name] > LIMITS[name])
        rows.append(row)
    return pd.DataFrame(rows)


def give_aways(pictures: Sequence[Pixels], cells: int | None, names: Sequence[str]) -> pd.DataFrame:
    """How often one number of each picture makes the original the odd one out, where no arrangement is seen.

    Returns
    -------
    DataFrame
        number (brightness, contrast, sharpness, and of blocks seams), accuracy with low and high, and whether the
        number is ``flagged``: the lower end lies above 0.4.
    """
    numbers: dict[str, Any] = {
        "brightness": lambda x: x.mean(), "contrast": lambda x: x.astype(float).std(),
        "sharpness": lambda x: np.mean([g.mean() for g in _steps(x)]),
    }  # fmt: skip
    if cells:
        numbers["seams"] = lambda x: seam_energy(x, cells)
    rows = []
    for name, number in numbers.items():
        o, a, b = np.array([[number(x) for x in three] for three in pictures], dtype=float).T
        right = odd_one_out(np.stack([-abs(o - a), -abs(o - b), -abs(a - b)], 1))[1]
        low, high = interval(right, names)
        rows.append(
            {"number": name, "accuracy": right.mean(), "low": low, "high": high, "flagged": low > FLAGGED}
        )
    return pd.DataFrame(rows)


def seam_energy(image: Pixels, cells: int) -> float:
    """Mean gradient across the cuts between blocks over the mean gradient elsewhere.

    >>> ramp = np.repeat(np.arange(0, 64, 2, dtype=np.uint8)[None], 32, 0)
    >>> seam_energy(np.repeat(ramp[:, :, None], 3, 2), 4)
    1.0
    """
    on, off = [], []
    for axis, gradient in enumerate(_steps(image)):
        at = np.zeros(gradient.shape[axis], dtype=bool)
        at[cut_lines(image.shape[axis], cells) - 1] = True  # the step from the last pixel before a cut
        along = np.moveaxis(gradient, axis, 0)
        on.append(along[at].ravel())
        off.append(along[~at].ravel())
    elsewhere = np.concatenate(off).mean()
    return float(np.concatenate(on).mean() / elsewhere) if elsewhere > 0 else float("inf")


def _seams(three: Pixels, cells: int) -> float:
    original, *twins = (max(seam_energy(x, cells), 1e-3) for x in three)
    return max(max(twin / original, original / twin) for twin in twins)


def _steps(image: Pixels) -> tuple[Array, Array]:
    """Absolute differences of neighbours down and across."""
    x = image.astype(float)
    return np.abs(np.diff(x, axis=0)), np.abs(np.diff(x, axis=1))


@cache
def _filters() -> RandomFilters:
    return RandomFilters(16)


def _small(three: Pixels) -> Tensor:
    """A triplet reduced to 64 × 64 pixels at most, (3, 3, h, w) between 0 and 1."""
    x = torch.as_tensor(np.ascontiguousarray(three)).permute(0, 3, 1, 2).float() / 255
    if min(x.shape[-2:]) > SIDE or x.shape[-1] != x.shape[-2]:
        side = min(SIDE, *x.shape[-2:])
        x = torch.nn.functional.interpolate(x, (side, side), mode="area")
    return x


def _coarse(grey: Array) -> Array:
    x = torch.as_tensor(np.ascontiguousarray(grey))[None, None]
    return np.asarray(torch.nn.functional.adaptive_avg_pool2d(x, 8).numpy().ravel())


def _orientations(grey: Array, cells: int = 4, bins: int = 9) -> Array:
    """Histograms of the orientation of gradients in 4 × 4 cells, less their mean over the cells."""
    dy, dx = np.gradient(grey)
    size, angle = np.hypot(dy, dx), (np.arctan2(dy, dx) % np.pi) / np.pi * bins
    y, x = (np.arange(n) * cells // n for n in grey.shape)
    index = (y[:, None] * cells + x) * bins + np.minimum(angle.astype(int), bins - 1)
    table = np.bincount(index.ravel(), size.ravel(), cells**2 * bins).reshape(-1, bins)
    table = table / np.maximum(table.sum(1, keepdims=True), 1e-12)
    return np.asarray((table - table.mean(0)).ravel())


def _correlation(a: Array, b: Array) -> float:
    """0 where one of them does not vary."""
    return float(np.corrcoef(a, b)[0, 1]) if np.ptp(a) > 1e-9 and np.ptp(b) > 1e-9 else 0.0


def _detail(grey: Array, like: Array, rng: np.random.Generator) -> float:
    """Mean distance of up to 500 patches of 8 × 8 pixels from the nearest patch of another picture."""
    patches, pool = (
        np.lib.stride_tricks.sliding_window_view(x, (PATCH, PATCH)).reshape(-1, PATCH**2)
        for x in (grey, like)
    )
    chosen = patches[rng.permutation(len(patches))[:PATCHES]]
    return float(NearestNeighbors(n_neighbors=1, algorithm="brute").fit(pool).kneighbors(chosen)[0].mean())
