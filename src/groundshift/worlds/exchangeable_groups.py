"""Worlds of many small groups: records of a group share parameters that nobody sees.

Each environment (patient, shop, classroom) draws the parameters of its mechanisms once; its records are independent
given them. Arrays are (environments, records) for a pair and (variables, records, environments) for a graph.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from groundshift.errors import InputError

__all__ = ["GroupedPair", "binary_graph", "binary_pair", "continuous_pair"]

Vary = Literal["both", "cause", "mechanism", "neither", "shared"]
Direction = Literal["x → y", "y → x", "none"]


@dataclass(frozen=True)
class GroupedPair:
    """Two variables in many groups: x and y of shape (environments, records), and what is true of them."""

    x: NDArray[Any]
    y: NDArray[Any]
    direction: Direction


def binary_pair(
    rng: np.random.Generator,
    environments: int,
    records: int = 2,
    *,
    vary: Vary = "both",
    edge: bool = True,
    shared: float = 0.0,
) -> GroupedPair:
    """x ~ Bern(θ), y = x xor Bern(ψ), or y = Bern(ψ) without an edge; θ and ψ ~ Beta(1, 3) per environment.

    Parameters
    ----------
    vary
        Which parameters vary between environments, the others being 1/4; "shared" sets ψ = θ.
    shared
        Share of the environments in which ψ = θ: 0 keeps the mechanisms independent.

    Examples
    --------
    >>> binary_pair(np.random.default_rng(0), 100).x.shape
    (100, 2)
    """
    if vary not in ("both", "cause", "mechanism", "neither", "shared"):
        raise InputError(f"vary may be both, cause, mechanism, neither or shared; {vary!r} was given.")
    theta, psi = rng.beta(1, 3, (2, environments, 1))
    theta = np.where(vary in ("mechanism", "neither"), 0.25, theta)
    psi = np.where(vary in ("cause", "neither"), 0.25, psi)
    same = rng.random((environments, 1)) < (1.0 if vary == "shared" else shared)
    psi = np.where(same, theta, psi)
    x = rng.random((environments, records)) < theta
    flip = rng.random((environments, records)) < psi
    y = x ^ flip if edge else flip
    return GroupedPair(x.astype(np.int64), y.astype(np.int64), "x → y" if edge else "none")


def continuous_pair(rng: np.random.Generator, environments: int, records: int = 2) -> GroupedPair:
    """A linear pair with Laplace noise, in half of the environments bent by squares; the direction is drawn.

    Noise is Laplace of scale 1 around a location in U(-1, 1) per environment and variable. It is mixed by a triangular
    matrix A of integers 1 to 9, whose entry for the cause's own noise is 1; without an edge A is the identity. In half
    of the environments r (A - I) noise² is added, with one r from 1 to 9 for all of them.
    """
    direction: Direction = ("x → y", "y → x", "none")[int(rng.integers(3))]
    noise = rng.laplace(size=(2, environments, records)) + rng.uniform(-1, 1, (2, environments, 1))
    cause, effect = noise
    slope, own = (0, 1) if direction == "none" else rng.integers(1, 10, 2)
    bend = rng.integers(1, 10) * (rng.random((environments, 1)) < 0.5)
    effect_values = slope * cause + own * effect + bend * (slope * cause**2 + (own - 1) * effect**2)
    x, y = (effect_values, cause) if direction == "y → x" else (cause, effect_values)
    return GroupedPair(x, y, direction)


def binary_graph(
    rng: np.random.Generator, environments: int, nodes: int = 3, records: int = 2, *, shared: bool = False
) -> tuple[NDArray[np.int64], frozenset[tuple[int, int]]]:
    """Binary variables on a random graph in which none is alone: Bern(θ) xor the product of the parents.

    θ ~ Beta(1, 3) per environment and variable, or per environment only with ``shared``.

    Returns
    -------
    samples : shape (variables, records, environments)
    edges : (cause, effect) by number; columns are in random causal order
    """
    while True:
        edge = np.triu(rng.random((nodes, nodes)) < 0.5, 1)
        if (edge.any(0) | edge.any(1)).all():
            break
    order = rng.permutation(nodes)
    edges = frozenset((int(order[i]), int(order[j])) for i, j in zip(*np.nonzero(edge), strict=True))
    theta = rng.beta(1, 3, (nodes, 1, environments))
    theta = np.broadcast_to(theta[:1], theta.shape) if shared else theta
    samples = np.zeros((nodes, records, environments), dtype=np.int64)
    for v in map(int, order):
        own = (rng.random((records, environments)) < theta[v]).astype(np.int64)
        parents = [i for i, j in edges if j == v]
        samples[v] = own ^ samples[parents].prod(0) if parents else own
    return samples, edges
