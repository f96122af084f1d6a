"""Worlds of exchangeable groups: what they say about themselves is true."""

import numpy as np
import pytest

from groundshift.errors import InputError
from groundshift.worlds.exchangeable_groups import binary_graph, binary_pair, continuous_pair


def within(v):
    return np.corrcoef(v[:, 0], v[:, 1])[0, 1]


@pytest.mark.parametrize(
    ("vary", "cause", "mechanism"),
    [("both", True, True), ("cause", True, False), ("mechanism", False, True), ("neither", False, False)],
)
def test_what_varies_is_shared_by_the_records_of_a_group(vary, cause, mechanism):
    world = binary_pair(np.random.default_rng(0), 20000, vary=vary)
    flip = world.x ^ world.y
    assert (within(world.x) > 0.05) == cause
    assert (within(flip) > 0.05) == mechanism
    assert world.x.mean() == pytest.approx(0.25, abs=0.02)


def test_shared_parameters_make_cause_and_flip_dependent():
    for vary, dependent in (("both", False), ("shared", True)):
        world = binary_pair(np.random.default_rng(0), 20000, vary=vary)
        flip = world.x ^ world.y
        assert (abs(np.corrcoef(world.x[:, 0], flip[:, 1])[0, 1]) > 0.05) == dependent
    with pytest.raises(InputError, match="neither"):
        binary_pair(np.random.default_rng(0), 10, vary="x")


def test_the_three_continuous_structures_are_equally_likely():
    rng = np.random.default_rng(0)
    drawn = [continuous_pair(rng, 10).direction for _ in range(600)]
    assert all(150 < drawn.count(kind) < 250 for kind in ("x → y", "y → x", "none"))


def test_no_variable_of_a_graph_is_alone():
    for seed in range(20):
        samples, edges = binary_graph(np.random.default_rng(seed), 50)
        assert samples.shape == (3, 2, 50)
        assert {v for edge in edges for v in edge} == {0, 1, 2}
