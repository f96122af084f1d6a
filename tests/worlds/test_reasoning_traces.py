"""Worlds of reasoning traces: what they say about themselves is true."""

import itertools

import networkx as nx
import numpy as np

from groundshift.worlds.reasoning_traces import LINKS, STRATEGIES, maze_of_facts, shape_of


def betti(facts):
    """Betti numbers 0 and 1 of the clique complex of the line graph, from the ranks of its boundary matrices."""
    line = nx.line_graph(nx.Graph(facts))
    nodes = {v: k for k, v in enumerate(line)}
    cliques = [sorted(nodes[v] for v in c) for c in nx.enumerate_all_cliques(line) if len(c) <= 3]
    by_size = [[c for c in cliques if len(c) == k] for k in (1, 2, 3)]
    ranks = []
    for small, large in itertools.pairwise(by_size):
        place = {tuple(c): k for k, c in enumerate(small)}
        matrix = np.zeros((len(small), len(large)))
        for column, c in enumerate(large):
            for k in range(len(c)):
                matrix[place[tuple(c[:k] + c[k + 1 :])], column] = (-1) ** k
        ranks.append(int(np.linalg.matrix_rank(matrix)) if large else 0)
    return len(by_size[0]) - ranks[0], len(by_size[1]) - ranks[0] - ranks[1]


def test_gaps_and_loops_are_the_betti_numbers_of_the_complex_of_facts():
    rng = np.random.default_rng(0)
    loops = 0
    for _ in range(40):
        facts = [tuple(int(v) for v in rng.choice(9, 2, replace=False)) for _ in range(rng.integers(2, 14))]
        gaps, starts, n_loops = shape_of(facts)
        assert (gaps + 1, n_loops) == betti(facts)
        assert len(starts) == gaps
        loops += n_loops
    assert loops > 10


def test_strategies_keep_their_budgets_and_slips_make_gaps():
    world = maze_of_facts(np.random.default_rng(1), graphs=2, slip=0.0)
    assert not any(world.gaps)
    for record in world.records:
        assert 1 <= len(record["trace"]) <= STRATEGIES[record["strategy"]].budget
    equal = maze_of_facts(np.random.default_rng(1), graphs=2, equal_budgets=True)
    assert max(len(r["trace"]) for r in equal.records) <= STRATEGIES["CoT"].budget
    assert sum(maze_of_facts(np.random.default_rng(1), graphs=2, slip=0.3).gaps) > 100


def test_broken_answers_are_those_after_a_slip():
    kept, broken = (
        maze_of_facts(np.random.default_rng(2), graphs=2, gap_breaks=share) for share in (0.0, 1.0)
    )
    lost = [a["correct"] and not b["correct"] for a, b in zip(kept.records, broken.records, strict=True)]
    assert sum(lost) > 5
    assert not any(b["correct"] and g for b, g in zip(broken.records, broken.gaps, strict=True))


def test_names_links_and_orders_are_drawn():
    one, other = (maze_of_facts(np.random.default_rng(s), graphs=1, problems=1).records for s in (3, 4))
    words = [{word for fact in r[0]["trace"] for word in fact.split()} for r in (one, other)]
    assert words[0] & words[1] <= set(" ".join(LINKS).split())
