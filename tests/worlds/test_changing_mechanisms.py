"""Worlds with changing mechanisms: what they say about themselves is true."""

import networkx as nx
import numpy as np
import pytest

from groundshift.errors import InputError
from groundshift.measures.graphs import directed_share, edge_f1, wrong_arrows
from groundshift.worlds.changing_mechanisms import chain_in_time, changing_graph, changing_pair, driven_pair


def slope(x, y):
    return np.polyfit(x, y, 1)[0]


def test_the_chain_drifts_where_it_says():
    world = chain_in_time(np.random.default_rng(0), 3000)
    x = world.data
    rest = x[:, 1] - 0.8 * x[:, 0]
    drift = 1.5 * np.sin(world.domain / 50)
    assert np.corrcoef(rest, drift)[0, 1] > 0.85
    assert abs(np.corrcoef(x[:, 2] - 0.8 * x[:, 1], drift)[0, 1]) < 0.06
    still = chain_in_time(np.random.default_rng(0), 3000, changing=False)
    assert not still.changing
    assert (still.data[:, 0] == x[:, 0]).all()


@pytest.mark.parametrize("kind", ["independent", "dependent", "far apart", "overlapping"])
def test_pairs_change_with_the_forces_they_name(kind):
    world = changing_pair(np.random.default_rng(0), domains=30, rows=200, kind=kind)
    means = [world.data[world.domain == d, 0].mean() for d in range(30)]
    assert np.corrcoef(means, world.forces[0])[0, 1] > 0.9
    assert (world.forces[0] is world.forces[1]) == (kind == "dependent")
    with pytest.raises(InputError, match="independent"):
        changing_pair(np.random.default_rng(0), kind="other")


def test_the_force_of_a_driven_pair_is_its_slope():
    world = driven_pair(np.random.default_rng(0), domains=10, rows=300)
    slopes = [
        slope(np.tanh(world.data[world.domain == d, 0]), world.data[world.domain == d, 1]) for d in range(10)
    ]
    assert np.corrcoef(slopes, world.forces[1])[0, 1] > 0.95


def test_random_graphs_are_acyclic_and_as_dense_as_asked():
    drawn = [changing_graph(np.random.default_rng(s), 5, 4, 10) for s in range(100)]
    assert all(nx.is_directed_acyclic_graph(nx.DiGraph(list(w.edges))) for w in drawn)
    assert np.mean([2 * len(w.edges) / 5 for w in drawn]) == pytest.approx(2, abs=0.3)
    assert np.mean([len(w.changing) / 5 for w in drawn]) == pytest.approx(0.5, abs=0.08)
    assert set(drawn[0].forces) == set(drawn[0].changing)


def test_scores_of_graphs():
    assert edge_f1(set(), set()) == 1
    assert edge_f1({1}, set()) == 0
    assert directed_share({(1, 0)}, {(0, 1)}) == 0
    assert wrong_arrows({(1, 0), (0, 1)}, {(0, 1)}) == 1
