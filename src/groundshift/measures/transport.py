"""How well and how directly points were transported: Wasserstein distance, path energy, straightness, mode masses.

The optimal transport itself is POT's.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from groundshift.errors import InputError

__all__ = ["energy_excess", "mode_masses", "path_energy", "straightness", "wasserstein2"]


def wasserstein2(x: ArrayLike, y: ArrayLike, most: int | None = None) -> float:
    """2-Wasserstein distance between two clouds of equally weighted points, by exact optimal transport.

    Finite samples of one law are a distance apart: print the distance of two fresh samples (the floor) beside it.

    Parameters
    ----------
    x, y : shapes (n, d) and (m, d)
    most : take the first so many rows of each; the exact plan of 2,000 rows takes a second, time grows as their cube

    Raises
    ------
    InputError
        Clouds of different dimension.

    Examples
    --------
    >>> wasserstein2([[0.0, 0.0], [1.0, 0.0]], [[0.0, 3.0], [1.0, 3.0]])
    3.0
    """
    import ot

    x, y = (np.asarray(v, dtype=float)[:most] for v in (x, y))
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1]:
        raise InputError(f"Clouds of shapes {x.shape} and {y.shape} were given; both must be (points, d).")
    squared = ot.emd2([], [], ot.dist(x, y), numItermax=1_000_000)
    return float(np.sqrt(max(squared, 0.0)))


def path_energy(trajectories: ArrayLike) -> float:
    """∫ E‖v‖² dt along Euler paths at equally spaced times from 0 to 1.

    No path between two laws has less than their squared 2-Wasserstein distance.

    Parameters
    ----------
    trajectories : shape (steps + 1, n, d)

    Examples
    --------
    >>> path_energy([[[0.0]], [[1.0]], [[2.0]]])
    4.0
    """
    moves = _moves(trajectories)
    return float((moves**2).sum(2).mean(1).sum() * len(moves))


def energy_excess(trajectories: ArrayLike, squared_w2: float) -> float:
    """Path energy relative to that of optimal transport, less one, with its sign.

    Negative is no success: the paths lead somewhere nearer than the target.

    >>> energy_excess([[[0.0]], [[1.0]], [[2.0]]], 3.2)
    0.25
    """
    if not squared_w2 > 0:
        raise InputError(f"A squared distance of {squared_w2} was given; it must be positive.")
    return path_energy(trajectories) / squared_w2 - 1


def straightness(trajectories: ArrayLike) -> float:
    """∫ E‖(x₁ - x₀) - v‖² dt along Euler paths; 0 for straight lines at constant speed.

    Parameters
    ----------
    trajectories : shape (steps + 1, n, d)

    Examples
    --------
    >>> straightness([[[0.0]], [[1.0]], [[2.0]]]), straightness([[[0.0]], [[2.0]], [[2.0]]])
    (0.0, 4.0)
    """
    moves = _moves(trajectories) * (len(np.asarray(trajectories)) - 1)
    return float(((moves.mean(0) - moves) ** 2).sum(2).mean())


def mode_masses(points: ArrayLike, centres: ArrayLike) -> NDArray[np.float64]:
    """Share of points whose nearest centre is each of them.

    Parameters
    ----------
    points, centres : shapes (n, d) and (k, d)

    Examples
    --------
    >>> mode_masses([[0.1], [0.2], [0.9], [5.0]], [[0.0], [1.0]]).tolist()
    [0.5, 0.5]
    """
    from scipy.spatial.distance import cdist

    nearest = cdist(np.asarray(points, dtype=float), np.asarray(centres, dtype=float)).argmin(1)
    return np.bincount(nearest, minlength=len(np.asarray(centres))) / len(nearest)


def _moves(trajectories: ArrayLike) -> NDArray[np.float64]:
    """Steps of the paths, shape (steps, n, d)."""
    paths = np.asarray(trajectories, dtype=float)
    if paths.ndim != 3 or len(paths) < 2:
        raise InputError(f"Trajectories of shape {paths.shape} were given; (steps + 1, n, d) is needed.")
    return np.diff(paths, axis=0)
