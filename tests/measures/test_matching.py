"""Matching: against every permutation, and a loop."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groundshift.errors import InputError
from groundshift.measures.matching import (
    could_match,
    could_match_greedily,
    match,
    match_greedily,
    match_labels,
    matched_accuracy,
    matched_l1,
)


def test_the_best_of_all_permutations():
    rng = np.random.default_rng(0)
    for _ in range(20):
        true, codes = rng.integers(0, 4, (2, 60))
        best = max(np.mean(np.array(p)[codes] == true) for p in itertools.permutations(range(4)))
        assert matched_accuracy(true, codes, 4) == pytest.approx(best)
        Q, R = rng.dirichlet(np.ones(4), (2, 5)).transpose(0, 2, 1)
        least = min(np.abs(R[list(p)] - Q).sum() / 5 for p in itertools.permutations(range(4)))
        assert matched_l1(Q, R) == pytest.approx(least)


def test_a_class_that_is_never_found_still_matches():
    assert match_labels([0, 1, 2], [1, 1, 1], 3).shape == (3,)
    with pytest.raises(InputError, match="2 labels were given for 3"):
        match_labels([0, 1, 2], [0, 1], 3)


@given(st.integers(1, 4), st.integers(1, 4), st.integers(0, 10_000))
@settings(max_examples=60, deadline=None)
def test_pairs_are_the_best_of_all_and_greedy_ones_those_of_a_loop(g, e, seed):
    w = np.random.default_rng(seed).random((g, e))
    small, large = sorted((g, e))
    turned = w if g <= e else w.T
    best = max(
        sum(turned[i, p[i]] for i in range(small)) for p in itertools.permutations(range(large), small)
    )
    assert sum(w[pair] for pair in match(w)) == pytest.approx(best)
    used, published = set(), []
    for i in range(g):
        free = [j for j in range(e) if j not in used]
        if free:
            published.append((i, max(free, key=lambda j: w[i, j])))
            used.add(published[-1][1])
    assert match_greedily(w) == published


@given(st.integers(1, 4), st.integers(1, 4), st.integers(0, 10_000))
@settings(max_examples=60, deadline=None)
def test_pairs_of_weights_between_two_tables_are_among_those_that_could_be(g, e, seed):
    rng = np.random.default_rng(seed)
    low = rng.random((g, e))
    high = low + 0.3 * rng.integers(0, 2, (g, e))
    between = low + rng.random((g, e)) * (high - low)
    assert all(could_match(low, high)[pair] for pair in match(between))
    assert could_match_greedily(low, high)[0, match_greedily(between)[0][1]]
