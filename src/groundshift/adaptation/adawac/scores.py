"""Dice and the 95th percentile of the surface distance, by file and class, with organs that were missed counted."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion, distance_transform_edt

from groundshift.errors import InputError

__all__ = ["segmentation_scores"]


def segmentation_scores(
    predicted: NDArray[np.integer], truth: NDArray[np.integer], classes: int, ignore: int = -1
) -> pd.DataFrame:
    """Scores of each foreground class in one image or volume.

    Where a class is in one of the two alone its Dice is 0 and its distance the diagonal of the image: a miss is no
    good result. Where it is in neither both are NaN, to be left out of means. The released code of the paper (and of
    TransUNet before it) has a distance of 0 for a miss, and Dice 1 where there is nothing; the columns ``published_``
    hold that.

    Parameters
    ----------
    predicted, truth : classes, (H, W) or (slices, H, W)

    Returns
    -------
    DataFrame
        "class", "dice", "hd95" (pixels), "missed" (in the truth, not predicted), "invented" (the other way round),
        "published_dice", "published_hd95".

    Examples
    --------
    >>> truth = np.array([[0, 1, 1], [0, 0, 2], [0, 0, 0]])
    >>> segmentation_scores(np.where(truth == 2, 0, truth), truth, 3)[["dice", "hd95", "published_hd95"]].round(2)
       dice  hd95  published_hd95
    0   1.0  0.00             0.0
    1   0.0  4.24             0.0
    """
    if predicted.shape != truth.shape:
        raise InputError(
            f"A prediction of shape {predicted.shape} and a mask of shape {truth.shape} were given."
        )
    kept, diagonal, rows = truth != ignore, float(np.linalg.norm(truth.shape)), []
    for c in range(1, classes):
        p, t = (predicted == c) & kept, (truth == c) & kept
        neither, one = not (p.any() or t.any()), p.any() != t.any()
        dice = np.nan if neither else 2 * float((p & t).sum()) / float(p.sum() + t.sum())
        distance = np.nan if neither else diagonal if one else _hd95(p, t)
        rows.append(
            {
                "class": c, "dice": dice, "hd95": distance, "missed": bool(one and t.any()),
                "invented": bool(one and p.any()), "published_dice": 1.0 if neither else dice,
                "published_hd95": 0.0 if neither or one else distance,
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def _hd95(p: NDArray[np.bool_], t: NDArray[np.bool_]) -> float:
    """95th percentile of the distances of both surfaces' pixels from the other surface."""
    surfaces = [mask & ~binary_erosion(mask) for mask in (p, t)]
    distances = [distance_transform_edt(~surface) for surface in surfaces]
    both = np.concatenate([distances[1][surfaces[0]], distances[0][surfaces[1]]])
    return float(np.percentile(both, 95))
