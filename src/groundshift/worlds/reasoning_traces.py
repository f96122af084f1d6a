"""Reasoning traces whose shape is known: walks over a knowledge base of facts.

A trace cites facts about pairs of named entities while it looks for a goal. Two facts that share an entity belong
together, so that the components of the cited graph are the pieces into which the trace falls, and its unfilled cycles
are the ways back that it takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gudhi
import networkx as nx
import numpy as np

__all__ = ["STRATEGIES", "Strategy", "Traces", "maze_of_facts", "shape_of"]

Fact = tuple[int, int]
LINKS = ("links to", "leads to", "borders", "is next to", "connects with")


@dataclass(frozen=True)
class Strategy:
    """How a solver searches: branches at every place, places kept after a round, facts at most, links back."""

    branches: int
    keep: int
    budget: int
    back: bool = False


STRATEGIES = {"CoT": Strategy(1, 1, 12), "ToT": Strategy(2, 2, 24), "GoT": Strategy(2, 4, 40, back=True)}


@dataclass(frozen=True)
class Traces:
    """Traces with what is true of them, all lists of one entry per trace.

    Attributes
    ----------
    records : id, trace (texts), problem, strategy, correct
    gaps : pieces of the cited graph beyond the first
    starts : the steps at which those pieces begin
    loops : first Betti number of the cited graph with its triangles filled
    """

    records: list[dict[str, Any]]
    gaps: list[int]
    starts: list[list[int]]
    loops: list[int]


def maze_of_facts(
    rng: np.random.Generator,
    *,
    graphs: int = 6,
    problems: int = 25,
    entities: int = 40,
    slip: float = 0.05,
    gap_breaks: float = 0.0,
    equal_budgets: bool = False,
) -> Traces:
    """Three strategies at work on problems (start, goal) over graphs of three nearest neighbours in the unit square.

    Parameters
    ----------
    slip : probability that a step is replaced by a fact about two random entities, from where the search goes on
    gap_breaks : probability that an answer that is reached after a slip is wrong
    equal_budgets : give every strategy the smallest budget

    Examples
    --------
    >>> world = maze_of_facts(np.random.default_rng(0), graphs=1, problems=2)
    >>> len(world.records), world.records[0]["strategy"], len(world.gaps)
    (6, 'CoT', 6)
    """
    records, shapes = [], []
    names = _names(rng, graphs * entities)
    link = str(rng.choice(LINKS))
    least = min(s.budget for s in STRATEGIES.values())
    for g in range(graphs):
        neighbours = _knowledge(rng, entities)
        own = names[g * entities : (g + 1) * entities]
        for problem in (f"{g}.{p}" for p in range(problems)):
            start, goal = (int(v) for v in rng.choice(entities, 2, replace=False))
            for name, strategy in STRATEGIES.items():
                budget = least if equal_budgets else strategy.budget
                facts, reached, slipped = _search(rng, neighbours, start, goal, strategy, budget, slip)
                broken = slipped and rng.random() < gap_breaks
                texts = [f"{own[a]} {link} {own[b]}" for a, b in (rng.permutation(f) for f in facts)]
                about = {"problem": problem, "strategy": name, "correct": reached and not broken}
                records.append({"id": f"{problem}.{name}", "trace": texts, **about})
                shapes.append(shape_of(facts))
    gaps, starts, loops = (list(values) for values in zip(*shapes, strict=True))
    return Traces(records, gaps, starts, loops)


def shape_of(facts: Sequence[Fact]) -> tuple[int, list[int], int]:
    """Gaps, the steps at which the later pieces begin, and loops of a list of facts.

    The complex of facts in which facts with a common entity are joined, and cliques filled, has the homotopy type of
    the graph of entities with its triangles filled (nerve of the stars of entities).

    >>> shape_of([(0, 1), (1, 2), (2, 3), (3, 0), (7, 8)]), shape_of([(0, 1), (1, 2), (2, 0)])
    ((1, [4], 1), (0, [], 0))
    """
    filled = gudhi.SimplexTree()
    for fact in facts:
        filled.insert(fact)
    filled.expansion(2)
    filled.compute_persistence(homology_coeff_field=2, persistence_dim_max=True)
    pieces = nx.connected_components(nx.Graph(facts))
    starts = sorted(min(k for k, (a, _) in enumerate(facts) if a in piece) for piece in pieces)
    return len(starts) - 1, starts[1:], filled.betti_numbers()[1]


def _names(rng: np.random.Generator, count: int) -> list[str]:
    """Different names of three open syllables, in random order."""
    syllables = [c + v for c in "bdfgklmnprstvz" for v in "aeiou"]
    numbers = rng.choice(len(syllables) ** 3, count, replace=False)
    return ["".join(syllables[i] for i in np.unravel_index(k, (len(syllables),) * 3)) for k in numbers]


def _knowledge(rng: np.random.Generator, entities: int) -> list[list[int]]:
    points = rng.random((entities, 2))
    distance = np.linalg.norm(points[:, None] - points, axis=-1)
    nearest = np.argsort(distance, axis=1)[:, 1:4]
    graph = nx.Graph((v, int(u)) for v in range(entities) for u in nearest[v])
    return [sorted(graph[v]) for v in range(entities)]


def _search(
    rng: np.random.Generator, neighbours: list[list[int]], start: int, goal: int, how: Strategy, budget: int,
    slip: float,
) -> tuple[list[Fact], bool, bool]:  # fmt: skip
    """The facts cited, whether the goal was reached, and whether there was a slip before."""
    facts: list[Fact] = []
    seen, frontier, slipped = {start}, [start], False
    while frontier:
        reached: list[int] = []
        for v in frontier:
            fresh = [u for u in neighbours[v] if (v, u) not in facts and (u, v) not in facts]
            for u in rng.permutation(fresh)[: how.branches]:
                a, b = v, int(u)
                if rng.random() < slip:
                    slipped = True
                    a, b = (int(w) for w in rng.choice(len(neighbours), 2, replace=False))
                facts.append((a, b))
                seen |= {a, b}
                reached.append(b)
                if goal in (a, b) or len(facts) == budget:
                    return facts, goal in (a, b), slipped
            back = [u for u in fresh if u in seen and (v, u) not in facts]
            if how.back and back:
                facts.append((v, int(rng.choice(back))))
                if len(facts) == budget:
                    return facts, False, slipped
        frontier = [int(v) for v in rng.permutation(reached)[: how.keep]]
    return facts, False, slipped
