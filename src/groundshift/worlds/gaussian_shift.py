"""States before and after a change whose consistency is known exactly: a world of the study *reprshift*."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from groundshift.errors import InputError

__all__ = ["GaussianShift", "gaussian_shift"]


@dataclass(frozen=True)
class GaussianShift:
    """Paired states with their truth.

    Attributes
    ----------
    before, after : states, (n, D)
    cluster, moved_to : of each sample before and after, int (n,); the same but for those that were repartitioned
    shifts : δ of each cluster, (K, D); zero where the change is a rotation
    consistency : about E cos(d, d') of two samples of a cluster, ‖δ‖² / (‖δ‖² + D σ²); NaN where samples change cluster
        or all are rotated
    """

    before: NDArray[np.float64]
    after: NDArray[np.float64]
    cluster: NDArray[np.int64]
    moved_to: NDArray[np.int64]
    shifts: NDArray[np.float64]
    consistency: float


def gaussian_shift(
    rng: np.random.Generator,
    n: int,
    *,
    clusters: int = 8,
    width: int = 32,
    apart: float = 6.0,
    spread: float = 0.5,
    shift: float = 4.0,
    noise: float = 0.3,
    rotate: bool = False,
    repartition: float = 0.0,
) -> GaussianShift:
    """Gaussian clusters a = μ_c + spread ε, and after the change b = a + δ_c + noise ε'.

    Parameters
    ----------
    clusters, width : K, and the dimension D
    apart, spread : ‖μ‖, and the standard deviation of a coordinate within a cluster
    shift, noise : ‖δ‖, and σ
    rotate : b = R a instead, with R orthogonal at random: nothing is added to anything
    repartition : share of the samples that first go over to another cluster, a − μ_c + μ_c'; (K − 1)/K is no memory at
        all

    Raises
    ------
    InputError
        A share outside [0, 1], fewer than two clusters.

    Examples
    --------
    >>> world = gaussian_shift(np.random.default_rng(0), 5)
    >>> world.before.shape, round(world.consistency, 3)
    ((5, 32), 0.847)
    """
    if not 0 <= repartition <= 1 or clusters < 2:
        raise InputError(
            f"repartition={repartition} and clusters={clusters} were given; a share in [0, 1] and at least 2."
        )
    means, deltas = (
        length * v / np.linalg.norm(v, axis=1, keepdims=True)
        for length, v in ((s, rng.standard_normal((clusters, width))) for s in (apart, shift))
    )
    cluster = rng.integers(clusters, size=n)
    before = means[cluster] + spread * rng.standard_normal((n, width))
    if rotate:
        q, r = np.linalg.qr(rng.standard_normal((width, width)))
        return GaussianShift(
            before, before @ (q * np.sign(np.diag(r))), cluster, cluster, np.zeros_like(deltas), float("nan")
        )
    leaves = rng.random(n) < repartition
    moved_to = np.where(leaves, (cluster + rng.integers(1, clusters, size=n)) % clusters, cluster)
    after = before - means[cluster] + means[moved_to] + deltas[moved_to]
    after = after + noise * rng.standard_normal((n, width))
    known = shift**2 / (shift**2 + width * noise**2) if repartition == 0 else float("nan")
    return GaussianShift(before, after, cluster, moved_to, deltas, known)
