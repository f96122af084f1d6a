"""Discrete Bayesian networks with hidden variables, and what really happens when a variable is set.

The truth is the truncated factorisation: the product of all conditional tables except those of the variables that are
set, summed over everything else.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import networkx as nx
import numpy as np
from numpy.typing import NDArray

__all__ = [
    "CausalNetwork",
    "confounded_network",
    "front_door",
    "random_network",
    "smoking_table",
    "with_tables",
]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class CausalNetwork:
    """A network of tables.

    Attributes
    ----------
    parents : variable -> its parents, in causal order
    tables : variable -> P(variable | parents), shape (*parents, variable)
    hidden : variables that nobody sees
    """

    parents: Mapping[str, tuple[str, ...]]
    tables: Mapping[str, Array]
    hidden: tuple[str, ...] = ()

    @cached_property
    def observed(self) -> tuple[str, ...]:
        """The variables that are seen, in causal order."""
        return tuple(v for v in self.parents if v not in self.hidden)

    @property
    def edges(self) -> list[tuple[str, str]]:
        """(cause, effect), hidden causes included."""
        return [(p, v) for v, parents in self.parents.items() for p in parents]

    @property
    def text(self) -> str:
        """The variables in causal order, then the edges: ``H; S; T; H->S; S->T``."""
        return "; ".join([*self.parents, *(f"{p}->{v}" for p, v in self.edges)])

    def joint(self, names: Sequence[str] | None = None) -> Array:
        """P(names), by default of all observed variables: one axis each, in that order."""
        return self._sum(list(self.parents), self.observed if names is None else names)

    def intervened(self, do: str | Sequence[str], names: Sequence[str] | None = None) -> Array:
        """P(names | do), axes: the variables that are set, then ``names`` (by default all other observed ones)."""
        do = (do,) if isinstance(do, str) else tuple(do)
        names = [v for v in self.observed if v not in do] if names is None else names
        return self._sum([v for v in self.parents if v not in do], [*do, *names], ones=do)

    def _sum(self, factors: Sequence[str], out: Sequence[str], ones: Sequence[str] = ()) -> Array:
        number = {v: k for k, v in enumerate(self.parents)}
        operands: list[object] = []
        for v in factors:
            operands += [self.tables[v], [number[u] for u in (*self.parents[v], v)]]
        for v in ones:
            operands += [np.ones(self.tables[v].shape[-1]), [number[v]]]
        return np.einsum(*operands, [number[v] for v in out], optimize=True)  # type: ignore[call-overload]

    def confounded_child(self, variable: str) -> str | None:
        """A child of ``variable`` that hidden causes link to it, directly or through others; None if there is none.

        Hidden variables must be roots.
        """
        linked = nx.Graph()
        linked.add_nodes_from(self.observed)
        for h in self.hidden:
            children = [v for v, parents in self.parents.items() if h in parents]
            linked.add_edges_from(itertools.combinations(children, 2))
        component = nx.node_connected_component(linked, variable)
        return next((v for v in self.observed if v in component and variable in self.parents[v]), None)


def with_tables(
    rng: np.random.Generator,
    parents: Mapping[str, Sequence[str]],
    sizes: Mapping[str, int],
    hidden: Sequence[str] = (),
    concentration: float = 1.0,
) -> CausalNetwork:
    """A network whose rows are drawn from a symmetric Dirichlet distribution.

    Parameters
    ----------
    parents : variable -> parents, causes first
    sizes : number of values of each variable
    concentration : of the Dirichlet distribution; small ones make rows nearly deterministic
    """
    tables = {
        v: rng.dirichlet(np.full(sizes[v], concentration), size=tuple(sizes[p] for p in of))
        for v, of in parents.items()
    }
    return CausalNetwork({v: tuple(of) for v, of in parents.items()}, tables, tuple(hidden))


def smoking_table() -> Array:
    """P(S, T, C) of the smoking example of Jacobs, Kissinger and Zanasi, shape (2, 2, 2); S ← H → C, S → T → C.

    Examples
    --------
    >>> float(smoking_table()[1].sum().round(2))
    0.63
    """
    return np.array([[[0.2, 0.02], [0.05, 0.1]], [[0.02, 0.01], [0.1, 0.5]]])


def front_door(
    rng: np.random.Generator,
    sizes: tuple[int, int, int, int] = (5, 3, 4, 2),
    concentration: float = 0.7,
    *,
    zero: tuple[int, int] | None = None,
    tied: bool = False,
) -> CausalNetwork:
    """H → S, H → C, S → T → C with H hidden.

    Parameters
    ----------
    sizes : number of values of H, S, T, C
    zero : (s, t) with P(T=t | S=s) = 0
    tied : whether H → T as well, so that no comb gives P(C | do(S))

    Examples
    --------
    >>> front_door(np.random.default_rng(0)).joint().shape
    (3, 4, 2)
    """
    parents = {"H": (), "S": ("H",), "T": ("S", "H") if tied else ("S",), "C": ("H", "T")}
    network = with_tables(rng, parents, dict(zip("HSTC", sizes, strict=True)), ("H",), concentration)
    if zero is not None:
        row = network.tables["T"][zero[0]]
        row[zero[1]] = 0
        row /= row.sum()
    return network


def random_network(
    rng: np.random.Generator, variables: int = 6, hidden: int = 2, density: float = 0.5
) -> CausalNetwork:
    """A random acyclic graph over V1, V2, ... with 2 to 4 values each; any of them may be the hidden ones.

    Examples
    --------
    >>> len(random_network(np.random.default_rng(0)).observed)
    4
    """
    names = [f"V{k + 1}" for k in range(variables)]
    parents = {v: tuple(u for u in names[:k] if rng.random() < density) for k, v in enumerate(names)}
    unseen = rng.choice(variables, hidden, replace=False)
    sizes = {v: int(rng.integers(2, 5)) for v in names}
    return with_tables(rng, parents, sizes, [names[k] for k in sorted(unseen)])


def confounded_network(
    rng: np.random.Generator, *, computable: bool, observed: int = 4, hidden: int = 2
) -> tuple[CausalNetwork, str]:
    """A random network with hidden roots of two observed children each, and a variable with a child to be set.

    Parameters
    ----------
    computable
        Whether no child of that variable is linked to it by hidden causes.

    Returns
    -------
    network, variable
    """
    names = [f"V{k + 1}" for k in range(observed)]
    roots = [f"U{k + 1}" for k in range(hidden)]
    while True:
        seen = {v: [u for u in names[:k] if rng.random() < 0.5] for k, v in enumerate(names)}
        for root in roots:
            for k in rng.choice(observed, 2, replace=False):
                seen[names[k]].append(root)
        parents: dict[str, list[str]] = {root: [] for root in roots} | seen
        sizes = {v: int(rng.integers(2, 4)) for v in parents}
        network = with_tables(rng, parents, sizes, roots)
        variable = names[int(rng.integers(observed))]
        has_child = any(variable in of for of in parents.values())
        if has_child and (network.confounded_child(variable) is None) == computable:
            return network, variable
