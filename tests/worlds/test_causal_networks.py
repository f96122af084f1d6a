"""Causal networks: what they say about themselves is true."""

import itertools

import networkx as nx
import numpy as np
import pytest

from groundshift.worlds.causal_networks import (
    confounded_network,
    front_door,
    random_network,
    smoking_table,
    with_tables,
)


def rng(*seed):
    return np.random.default_rng(seed)


def test_the_smoking_table_is_the_papers():
    table = smoking_table()
    assert table.sum() == pytest.approx(1)
    given = {
        "111": 0.5,
        "110": 0.1,
        "101": 0.01,
        "100": 0.02,
        "011": 0.1,
        "010": 0.05,
        "001": 0.02,
        "000": 0.2,
    }
    for cell, p in given.items():
        assert table[tuple(map(int, cell))] == p


@pytest.mark.parametrize("seed", range(3))
def test_joint_and_truncated_factorisation_by_adding_up_assignments(seed):
    network = random_network(rng(seed), 4, 1)
    do, sizes = network.observed[0], {v: network.tables[v].shape[-1] for v in network.parents}
    joint = np.zeros([sizes[v] for v in network.observed])
    cut = np.zeros_like(joint)
    for values in itertools.product(*(range(n) for n in sizes.values())):
        at = dict(zip(sizes, values, strict=True))
        factors = {v: network.tables[v][tuple(at[u] for u in (*of, v))] for v, of in network.parents.items()}
        cell = tuple(at[v] for v in network.observed)
        joint[cell] += np.prod(list(factors.values()))
        cut[cell] += np.prod([p for v, p in factors.items() if v != do])
    np.testing.assert_allclose(network.joint(), joint)
    np.testing.assert_allclose(network.intervened(do), cut)


def test_random_networks_are_acyclic_with_stochastic_rows():
    for seed in range(10):
        network = random_network(rng(seed))
        assert nx.is_directed_acyclic_graph(nx.DiGraph(network.edges))
        assert len(network.hidden) == 2
        for table in network.tables.values():
            assert 2 <= table.shape[-1] <= 4
            np.testing.assert_allclose(table.sum(-1), 1)


@pytest.mark.parametrize("computable", [True, False])
def test_confounded_networks_are_what_was_asked_for(computable):
    for seed in range(10):
        network, variable = confounded_network(rng(seed), computable=computable)
        assert (network.confounded_child(variable) is None) == computable
        assert len(network.observed) == 4
        for hidden in network.hidden:
            assert sum(hidden in of for of in network.parents.values()) == 2


def test_confounded_child_goes_along_chains_of_hidden_causes():
    parents = {"U": "", "V": "", "A": "U", "B": "UV", "C": "VA"}
    assert with_tables(rng(0), parents, dict.fromkeys("UVABC", 2), "UV").confounded_child("A") == "C"
    assert with_tables(rng(0), parents, dict.fromkeys("UVABC", 2), "U").confounded_child("A") is None


def test_a_zero_of_the_front_door_is_a_zero_of_its_joint():
    network = front_door(rng(0), zero=(1, 2))
    joint = network.joint()
    assert (joint[1, 2] == 0).all()
    assert joint.sum() == pytest.approx(1)
