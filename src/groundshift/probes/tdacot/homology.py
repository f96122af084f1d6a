"""The shape of one trace: distances of its steps, persistent homology, and what is read from it.

Li, Zhang, Lu, Chen, Wang and others: "Understanding Chain-of-Thought in Large Language Models via Topological Data
Analysis", arXiv:2512.19135. The steps of a trace are points of a semantic space. The Vietoris-Rips complex VR_ε joins
points within ε of each other; as ε grows, pieces merge (degree 0) and loops appear and fill (degree 1).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import networkx as nx
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import block_diag, csr_array
from scipy.sparse.csgraph import breadth_first_order, minimum_spanning_tree
from scipy.spatial.distance import pdist, squareform
from scipy.special import entr

from groundshift.errors import InputError

__all__ = [
    "Diagram",
    "Metric",
    "chain_statistics",
    "diagrams",
    "gap_steps",
    "landscape",
    "loop_steps",
    "statistic_names",
    "statistics",
    "step_distances",
    "thinned",
]

Array = NDArray[np.float64]
Metric = Literal["euclidean", "cosine", "precomputed"]
TOGETHER = 2000
"""Traces whose spanning trees are found at once."""


# Metric and filtration -----------------------------------------------------------------------------------


def step_distances(X: ArrayLike, metric: Metric = "euclidean", of: str = "a trace") -> Array:
    """Distances between the steps of a trace, (n, n).

    Parameters
    ----------
    X : vectors of the steps (n, p); distances (n, n) where they are precomputed
    metric : "euclidean", "cosine" or "precomputed"
    of : whose they are, for messages

    Raises
    ------
    InputError
        Precomputed distances that are not finite, negative, not symmetric, or not 0 from a step to itself.

    Examples
    --------
    >>> step_distances([[1.0, 0.0], [0.0, 1.0]]).round(3).tolist()
    [[0.0, 1.414], [1.414, 0.0]]
    """
    X = np.asarray(X, dtype=float)
    if metric != "precomputed":
        return np.asarray(squareform(pdist(X, metric))) if len(X) > 1 else np.zeros((len(X), len(X)))
    if X.ndim != 2 or X.shape[0] != X.shape[1]:
        raise InputError(
            f"A matrix of shape {X.shape} was given as distances of {of}; a square one is needed."
        )
    symmetric = np.isfinite(X).all() and np.allclose(X, X.T, rtol=1e-9, atol=1e-9)
    if not symmetric or (X < 0).any() or np.diag(X).any():
        raise InputError(
            f"Some distances of {of} are negative, not finite, not symmetric, or not 0 from a step to itself; give "
            "distances ≥ 0 with d(i, j) = d(j, i) and d(i, i) = 0."
        )
    return (X + X.T) / 2


def thinned(distances: Array, most: int) -> NDArray[np.int64]:
    """Steps that cover a trace, ascending: the first one, then always the one farthest from those chosen.

    >>> thinned(np.abs(np.subtract.outer([0.0, 0.1, 5.0, 9.0], [0.0, 0.1, 5.0, 9.0])), 3).tolist()
    [0, 2, 3]
    """
    if len(distances) <= most:
        return np.arange(len(distances))
    chosen, nearest = [0], distances[0].copy()
    while len(chosen) < most:
        chosen.append(int(nearest.argmax()))
        nearest = np.minimum(nearest, distances[chosen[-1]])
    return np.sort(np.array(chosen))


@dataclass(frozen=True)
class Diagram:
    """The persistence diagram of a trace, without the piece that never merges.

    Attributes
    ----------
    deaths : of the pieces, which are all born at 0; the lengths of the minimum spanning tree, ascending, (n - 1,)
    edges : the steps that each of these lengths joins, (n - 1, 2)
    bars : degree ≥ 1 → births and deaths, (m, 2)
    """

    deaths: Array
    edges: NDArray[np.int64]
    bars: Mapping[int, Array]


def diagrams(distances: Sequence[Array], max_dim: int = 1, *, jobs: int | None = None) -> list[Diagram]:
    """Persistence diagrams of many traces over Z/2.

    Degree 0 is read from the minimum spanning trees, which are found for thousands of traces at once; higher degrees
    are those of gudhi, up to the scale at which the complex is a cone.

    Parameters
    ----------
    distances : matrices (n, n), symmetric with zeros on the diagonal
    max_dim : highest degree
    jobs : threads; all cores if -1

    Examples
    --------
    >>> angle = np.arange(6) * np.pi / 3
    >>> hexagon = step_distances(np.column_stack([np.cos(angle), np.sin(angle)]))
    >>> diagram = diagrams([hexagon])[0]
    >>> diagram.deaths.round(3).tolist(), diagram.bars[1].round(3).tolist()
    ([1.0, 1.0, 1.0, 1.0, 1.0], [[1.0, 1.732]])
    """
    from gudhi.sklearn.rips_persistence import RipsPersistence

    degrees = list(range(1, max_dim + 1))
    large = [k for k, d in enumerate(distances) if len(d) > 3]  # the others have no loop
    bars: list[dict[int, Array]] = [{k: np.empty((0, 2)) for k in degrees} for _ in distances]
    if large:
        rips = RipsPersistence(
            degrees, input_type="full distance matrix", num_collapses=0 if max_dim == 1 else "auto",
            homology_coeff_field=2, n_jobs=jobs,
        )  # fmt: skip
        for k, by_degree in zip(large, rips.fit_transform([distances[k] for k in large]), strict=True):
            bars[k] = dict(zip(degrees, map(np.asarray, by_degree), strict=True))
    trees: list[tuple[Array, NDArray[np.int64]]] = []
    for low in range(0, len(distances), TOGETHER):
        trees += _spanning_trees(distances[low : low + TOGETHER])
    return [Diagram(*tree, by_degree) for tree, by_degree in zip(trees, bars, strict=True)]


def _spanning_trees(distances: Sequence[Array]) -> list[tuple[Array, NDArray[np.int64]]]:
    """Lengths, ascending, and edges of the minimum spanning tree of each: one forest of all of them."""
    # A length of 0 would be no edge of a sparse matrix; one more for all changes no tree.
    graph = block_diag([np.triu(d + 1, 1) for d in distances], format="csr")
    graph.eliminate_zeros()
    forest = minimum_spanning_tree(graph).tocoo()
    sizes = np.array([len(d) for d in distances])
    starts, ends = np.cumsum(sizes) - sizes, np.cumsum(np.maximum(sizes - 1, 0))
    trees = []
    edges_of = np.split(np.column_stack([forest.row, forest.col]).astype(np.int64), ends[:-1])
    for d, start, edges in zip(distances, starts, edges_of, strict=True):
        lengths = d[tuple((edges - start).T)]
        order = np.argsort(lengths, kind="stable")
        trees.append((lengths[order], (edges - start)[order]))
    return trees


# Statistics ----------------------------------------------------------------------------------------------


OF_DEGREE = ("count", "total", "max", "mean", "squares", "entropy", "entropy_share", "landscape")
OVERALL = ("entropy", "euler", "gap_score", "step_mean", "step_max", "chain_share")


def statistic_names(max_dim: int = 1) -> list[str]:
    """The statistics of a trace in their order: those of each degree, then those of all of it."""
    return [f"h{k}_{name}" for k in range(max_dim + 1) for name in OF_DEGREE] + list(OVERALL)


def statistics(diagram: Diagram, tau: float = 1e-9) -> dict[str, float]:
    """What is read from a diagram, of the bars that live longer than ``tau``.

    Of each degree k: ``count``, ``total`` T = Σ l (which is also the area under the Betti curve), ``max``, ``mean``,
    ``squares`` Σ l², ``entropy`` - Σ (l/T) ln(l/T), ``entropy_share`` (entropy over ln count) and ``landscape`` (L₁
    norm of the first landscape). Of all: ``entropy`` of all bars together, ``euler`` (area under the Euler curve, the
    piece that never dies left out) and ``gap_score`` (largest death of a piece minus the median, in median absolute
    deviations of at least a hundredth of the median).

    Examples
    --------
    >>> square = Diagram(np.ones(3), np.array([[0, 1], [1, 2], [2, 3]]), {1: np.array([[1.0, 1.5]])})
    >>> values = statistics(square)
    >>> values["h0_count"], values["h1_total"], round(values["h0_entropy"], 3), values["h1_landscape"]
    (3.0, 0.5, 1.099, 0.0625)
    """
    bars = {0: np.column_stack([np.zeros(len(diagram.deaths)), diagram.deaths]), **diagram.bars}
    bars = {k: bar[bar[:, 1] - bar[:, 0] > tau] for k, bar in bars.items()}
    lives = {k: bar[:, 1] - bar[:, 0] for k, bar in bars.items()}
    values: dict[str, float] = {}
    for k, life in lives.items():
        entropy = _entropy(life)
        of_degree = (
            len(life), life.sum(), life.max(initial=0.0), life.mean() if len(life) else 0.0, (life**2).sum(), entropy,
            entropy / np.log(len(life)) if len(life) > 1 else 0.0, _landscape_norm(bars[k]),
        )  # fmt: skip
        values |= {f"h{k}_{name}": float(v) for name, v in zip(OF_DEGREE, of_degree, strict=True)}
    values["entropy"] = _entropy(np.concatenate(list(lives.values())))
    values["euler"] = float(sum((-1) ** k * values[f"h{k}_total"] for k in bars))
    values["gap_score"] = 0.0
    if len(deaths := bars[0][:, 1]):
        middle = float(np.median(deaths))
        spread = max(float(np.median(np.abs(deaths - middle))), 0.01 * middle)
        values["gap_score"] = float((deaths.max() - middle) / spread)
    return values


def _entropy(lives: Array) -> float:
    """Entropy, in nats, of lifetimes as shares of their sum; 0 for one bar and for none."""
    return float(entr(lives / lives.sum()).sum()) if len(lives) > 1 else 0.0


def _landscape_norm(bars: Array) -> float:
    """L₁ norm of the first landscape, exactly: its pieces are linear between births, deaths, middles and crossings."""
    # Rising sides are parallel, and so are falling ones: the side of one bar meets the other side of another.
    places = np.unique(np.concatenate([bars.ravel(), np.add.outer(bars[:, 0], bars[:, 1]).ravel() / 2]))
    return float(np.trapezoid(landscape(bars, places), places))


def landscape(bars: Array, scales: Array) -> Array:
    """First persistence landscape of bars (m, 2) at the scales: the height of the highest tent over each."""
    heights = np.minimum(scales - bars[:, :1], bars[:, 1:] - scales)
    return np.asarray(heights.max(axis=0, initial=0.0))


def chain_statistics(
    distances: Array, edges: NDArray[np.int64], parents: Sequence[int | None]
) -> dict[str, float]:
    """What depends on the order: mean and largest distance of a step from the one before (of a tree or graph of
    thought, from its parent), and the share of edges of the spanning tree that join such steps.

    >>> d = step_distances([[0.0], [1.0], [3.0]])
    >>> chain_statistics(d, np.array([[0, 1], [1, 2]]), [None, 0, 1])
    {'step_mean': 1.5, 'step_max': 2.0, 'chain_share': 1.0}
    """
    links = np.array([(p, k) for k, p in enumerate(parents) if p is not None], dtype=np.int64).reshape(-1, 2)
    if not len(links):
        return {"step_mean": 0.0, "step_max": 0.0, "chain_share": 0.0}
    lengths = distances[links[:, 0], links[:, 1]]
    linked = {(min(a, b), max(a, b)) for a, b in links.tolist()}
    share = float(np.mean([tuple(edge) in linked for edge in edges.tolist()])) if len(edges) else 0.0
    return {"step_mean": float(lengths.mean()), "step_max": float(lengths.max()), "chain_share": share}


# Where -----------------------------------------------------------------------------------------------------


def gap_steps(edges: NDArray[np.int64], places: Sequence[int]) -> list[int]:
    """The step at which the trace enters the piece that each cut of a spanning tree sets free.

    The edges at ``places`` are cut one after the other; of the two parts into which a piece falls, the one that begins
    later is the new one, and its first step is given.

    >>> gap_steps(np.array([[0, 1], [2, 3], [1, 2]]), [2, 1])
    [2, 3]
    """
    tree = nx.Graph(edges.tolist())
    steps = []
    for place in places:
        a, b = edges[place].tolist()
        tree.remove_edge(a, b)
        steps.append(max(min(nx.node_connected_component(tree, v)) for v in (a, b)))
    return steps


def loop_steps(distances: Array, birth: float) -> list[int]:
    """A cycle of steps that is born at a scale: an edge of that length, and the fewest shorter ones between its ends.

    Where several edges have the length, the one whose ends need the most others; empty where none closes a cycle.
    """
    below = csr_array((distances < birth) & ~np.eye(len(distances), dtype=bool))
    cycles: list[list[int]] = []
    for i, j in np.argwhere(np.triu(np.isclose(distances, birth, rtol=0, atol=1e-12), 1)).tolist():
        previous = breadth_first_order(below, i, directed=False)[1]
        cycle = [j]
        while cycle[-1] != i and previous[cycle[-1]] >= 0:
            cycle.append(int(previous[cycle[-1]]))
        if cycle[-1] == i:
            cycles.append(cycle[::-1])
    return max(cycles, key=len, default=[])
