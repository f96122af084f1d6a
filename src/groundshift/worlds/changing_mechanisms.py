"""Worlds in which some mechanisms of a causal graph change with time or with the domain.

Each function draws the rows of one table with the truth about it: the edges, which variables' mechanisms change, and
the forces that drive them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from groundshift.errors import InputError

__all__ = [
    "ChangingWorld",
    "Pair",
    "chain_in_time",
    "changing_graph",
    "changing_pair",
    "driven_pair",
]

Array = NDArray[np.float64]
Pair = Literal["independent", "dependent", "far apart", "overlapping"]


@dataclass(frozen=True)
class ChangingWorld:
    """A table whose changing mechanisms are known.

    Attributes
    ----------
    data : shape (rows, n)
    domain : time index or domain number of each row, shape (rows,)
    edges : (cause, effect) as column numbers
    changing : columns whose mechanism changes
    forces : what drives the mechanism of a column, one value per domain
    """

    data: Array
    domain: NDArray[np.int64]
    edges: frozenset[tuple[int, int]]
    changing: frozenset[int]
    forces: dict[int, Array] = field(default_factory=dict)

    @property
    def skeleton(self) -> set[frozenset[int]]:
        """The edges without direction."""
        return {frozenset(edge) for edge in self.edges}

    def with_columns_in_random_order(self, rng: np.random.Generator) -> ChangingWorld:
        """The same table and truth, so that the order of the columns says nothing of causes.

        Examples
        --------
        >>> world = changing_pair(np.random.default_rng(0)).with_columns_in_random_order(np.random.default_rng(3))
        >>> world.edges
        frozenset({(1, 0)})
        """
        order = rng.permutation(self.data.shape[1])
        place = {int(column): at for at, column in enumerate(order)}
        return ChangingWorld(
            self.data[:, order],
            self.domain,
            frozenset((place[i], place[j]) for i, j in self.edges),
            frozenset(place[v] for v in self.changing),
            {place[v]: force for v, force in self.forces.items()},
        )


def chain_in_time(rng: np.random.Generator, rows: int = 300, *, changing: bool = True) -> ChangingWorld:
    """A chain x1 → x2 → x3 → x4 in which x2 and x4 drift with time, or a stationary one.

    Examples
    --------
    >>> world = chain_in_time(np.random.default_rng(0))
    >>> world.data.shape, sorted(world.changing)
    ((300, 4), [1, 3])
    """
    t = np.arange(1, rows + 1)
    drift = float(changing)
    noise = rng.standard_normal((4, rows))
    x1 = noise[0]
    x2 = 0.8 * x1 + drift * 1.5 * np.sin(t / 50) + 0.5 * noise[1]
    x3 = 0.8 * x2 + 0.5 * noise[2]
    x4 = 0.8 * x3 + drift * (np.sin(t / 50) + np.sin(t / 20)) + 0.5 * noise[3]
    return ChangingWorld(
        np.column_stack([x1, x2, x3, x4]),
        t,
        frozenset({(0, 1), (1, 2), (2, 3)}),
        frozenset({1, 3} if changing else ()),
    )


def changing_pair(
    rng: np.random.Generator, domains: int = 20, rows: int = 30, kind: Pair = "independent"
) -> ChangingWorld:
    """Two variables, x → y, whose mechanisms both change between domains.

    Parameters
    ----------
    domains, rows : number of domains, and rows in each
    kind
        "independent": location and scale of x, and slope and noise of a curved mechanism, change independently.
        "dependent": the mean of x and the intercept of y are driven by the same force.
        "far apart": independent shifts of location, with x in places that hardly overlap between domains.
        "overlapping": the same with overlap.
    """
    a, b, c, d = rng.uniform(-1, 1, (4, domains))
    domain = np.repeat(np.arange(domains), rows)
    noise_x, noise_y = rng.standard_normal((2, domains * rows))
    A, B, C, D = (force[domain] for force in (a, b, c, d))
    if kind == "independent":
        x = A + noise_x * np.exp(0.7 * C)
        y = 1.5 * (1 + 0.9 * B) * np.tanh(x) + 0.4 * noise_y * np.exp(0.4 * D)
    elif kind == "dependent":
        x = 2 * A + 0.7 * noise_x
        y = 0.9 * x + 2 * A + 0.5 * noise_y
    elif kind == "far apart":
        x = 2 * A + 0.7 * noise_x
        y = 0.9 * x + 2 * B + 0.5 * noise_y
    elif kind == "overlapping":
        x = 0.7 * A + noise_x
        y = 0.9 * x + 1.2 * B + 0.5 * noise_y
    else:
        raise InputError(
            f"A pair may be independent, dependent, far apart or overlapping; {kind!r} was given."
        )
    force_y = a if kind == "dependent" else b
    data = np.column_stack([x, y])
    return ChangingWorld(data, domain, frozenset({(0, 1)}), frozenset({0, 1}), {0: a, 1: force_y})


def driven_pair(rng: np.random.Generator, domains: int = 12, rows: int = 20) -> ChangingWorld:
    """x → y where one force scales x and another the slope of the mechanism of y; a force per domain, in [-1, 1]."""
    u1, u2 = rng.uniform(-1, 1, (2, domains))
    domain = np.repeat(np.arange(domains), rows)
    noise_x, noise_y = rng.standard_normal((2, domains * rows))
    x = noise_x * np.exp(0.7 * u1[domain])
    y = 1.5 * (1 + 0.9 * u2[domain]) * np.tanh(x) + 0.4 * noise_y
    data = np.column_stack([x, y])
    return ChangingWorld(data, domain, frozenset({(0, 1)}), frozenset({0, 1}), {0: u1, 1: u2})


def changing_graph(
    rng: np.random.Generator,
    nodes: int = 5,
    domains: int = 20,
    rows: int = 30,
    *,
    degree: float = 2.0,
    share_changing: float = 0.5,
) -> ChangingWorld:
    """A random graph (Erdős–Rényi with an expected degree) in which each mechanism changes with some probability.

    Every variable is Σ 1.5 (1 + .9 b) tanh(parent) / √parents + a + noise of scale .4 exp(.4 d), or a + noise of scale
    exp(.7 c) without parents; a, b, c, d are drawn per domain for changing mechanisms and 0 for the others. Columns
    are in random causal order.
    """
    order = rng.permutation(nodes)
    edge = np.triu(rng.random((nodes, nodes)) < degree / (nodes - 1), 1)
    edges = frozenset((int(order[i]), int(order[j])) for i, j in zip(*np.nonzero(edge), strict=True))
    changing = frozenset(int(v) for v in np.flatnonzero(rng.random(nodes) < share_changing))
    domain = np.repeat(np.arange(domains), rows)
    data = np.zeros((domains * rows, nodes))
    forces = {}
    for v in map(int, order):
        a, b, c, d = rng.uniform(-1, 1, (4, domains)) * (v in changing)
        noise = rng.standard_normal(domains * rows)
        parents = [i for i, j in edges if j == v]
        if parents:
            slope = 1.5 * (1 + 0.9 * b[domain]) / np.sqrt(len(parents))
            data[:, v] = slope * np.tanh(data[:, parents]).sum(1) + 0.4 * noise * np.exp(0.4 * d[domain])
        else:
            data[:, v] = a[domain] + noise * np.exp(0.7 * c[domain])
        if v in changing:
            forces[v] = b if parents else a
    return ChangingWorld(data, domain, edges, changing, forces)
