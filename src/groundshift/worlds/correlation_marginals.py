"""Marginal distributions of the CSTS benchmark, and the move of normal columns to any distribution."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from scipy.special import ndtr

from groundshift.errors import InputError

__all__ = ["MARGINALS", "benchmark_marginals", "to_marginals"]

# The benchmark's 30 subjects, one row each: GenExtreme(c, loc, scale) for iob, a geometric count with success
# probability p for cob, GenExtreme(c, loc, scale) for ig; the parameters are SciPy's.
# From the CSTS repository (Degen, Abdallah, Reeve, Robson Brown), CC BY 4.0.
# fmt: off
MARGINALS = np.array(
    [
        # c_iob, loc_iob, scale_iob, p_cob, c_ig, loc_ig, scale_ig
        [-0.2479, 0.6349, 1.4840, 0.0966, 0.0000, 102.1357, 26.0446],
        [-0.2356, 0.4468, 1.2468, 0.1090, 0.0007, 106.1820, 28.2259],
        [-0.3198, 0.5093, 0.7066, 0.0794, 0.0067, 121.2553, 32.4773],
        [-0.4394, 0.2859, 0.5602, 0.1107, 0.0000, 113.3452, 35.5533],
        [-0.3509, 0.5652, 0.9301, 0.0786, 0.0000, 111.8077, 30.1421],
        [-0.0936, 0.6418, 1.6414, 0.1433, 0.0000,  95.7793, 26.6887],
        [-0.2274, 0.4805, 0.8212, 0.0641, 0.0000, 120.3555, 38.8793],
        [-0.2599, 0.1165, 0.7685, 0.1535, 0.0000, 105.2632, 29.8555],
        [-0.0425, 0.1354, 0.3602, 0.2202, 0.0000, 117.1735, 43.3512],
        [-0.2362, 1.1480, 2.0335, 0.0615, 0.0782, 109.5085, 27.2984],
        [ 0.0410, 0.4335, 1.1122, 0.1074, 0.0030, 115.8130, 40.7024],
        [-0.3543, 0.2439, 0.8729, 0.0979, 0.0165,  88.7941, 22.0546],
        [-0.5206, 0.7909, 1.3817, 0.0464, 0.0000, 113.1839, 31.3848],
        [-0.3934, 1.1972, 1.9167, 0.0881, 0.0000, 129.2143, 46.3366],
        [-0.3043, 0.3637, 0.7208, 0.1293, 0.0104, 131.2902, 45.9503],
        [-0.1154, 1.4890, 2.1407, 0.1250, 0.0000, 112.6133, 30.9116],
        [-0.3154, 0.1375, 0.5302, 0.1215, 0.0138, 117.5193, 27.8409],
        [-0.2182, 0.4807, 0.7327, 0.0869, 0.0000, 123.6130, 37.0815],
        [-0.0011, 0.9971, 2.5405, 0.1907, 0.0000, 131.9869, 48.8511],
        [-0.1005, 1.2901, 3.2190, 0.1268, 0.0000, 116.1080, 27.9610],
        [ 0.0664, 1.4530, 1.5981, 0.0729, 0.0172, 115.4355, 39.6301],
        [-0.0171, 0.4337, 0.9131, 0.2087, 0.0000, 130.4074, 53.5276],
        [-0.0037, 0.2814, 0.5616, 0.2241, 0.0000, 124.1024, 38.6072],
        [ 0.0379, 0.0955, 1.5624, 0.4031, 0.0180,  93.5632, 17.8245],
        [-0.3514, 0.3469, 0.7812, 0.0708, 0.0030, 113.8260, 29.7388],
        [-0.1756, 0.6876, 1.6103, 0.0916, 0.0000, 120.8870, 46.8620],
        [-0.2817, 0.7914, 1.0380, 0.0509, 0.0000, 120.2883, 31.4553],
        [-0.0281, 0.3377, 0.7223, 0.2459, 0.0249, 123.4226, 34.7218],
        [-0.2186, 0.5000, 1.5185, 0.0548, 0.0396, 119.2749, 39.4013],
        [-0.2200, 0.5000, 1.5200, 0.0500, 0.0400, 119.2700, 39.4000],
    ]
)
# fmt: on


def benchmark_marginals(row: int, n_variates: int = 3) -> list[Any]:
    """Frozen SciPy distributions of one of the 30 rows of `MARGINALS`: (iob, cob, ig), repeated beyond three.

    >>> iob, cob, ig = benchmark_marginals(0)
    >>> round(float(ig.mean()), 1), float(cob.support()[0])
    (117.2, 0.0)
    """
    if not 0 <= row < len(MARGINALS):
        raise InputError(f"marginals={row} was given; the benchmark has rows 0 to {len(MARGINALS) - 1}.")
    c_iob, loc_iob, scale_iob, p_cob, c_ig, loc_ig, scale_ig = MARGINALS[row]
    kinds = [
        stats.genextreme(c_iob, loc=loc_iob, scale=scale_iob),
        stats.geom(p_cob, loc=-1),  # the negative binomial of n = 1, with a closed inverse
        stats.genextreme(c_ig, loc=loc_ig, scale=scale_ig),
    ]
    return [kinds[j % 3] for j in range(n_variates)]


def to_marginals(X: ArrayLike, marginals: Sequence[Any]) -> NDArray[np.float64]:
    """Move standard normal columns to other distributions: x → F⁻¹(Φ(x)), one frozen distribution per column.

    Monotone in each column, so Spearman's correlation stays (but for ties), Pearson's does not.

    >>> to_marginals([[0.0], [1.0]], [stats.uniform()]).round(3).ravel()
    array([0.5  , 0.841])
    """
    X = np.asarray(X, dtype=float)
    if len(marginals) != X.shape[1]:
        raise InputError(
            f"{len(marginals)} marginals were given for {X.shape[1]} variates; give one frozen SciPy "
            "distribution for each."
        )
    return np.column_stack(
        [distribution.ppf(ndtr(column)) for distribution, column in zip(marginals, X.T, strict=True)]
    )
