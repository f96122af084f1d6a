"""Matching of labels: against every permutation."""

import itertools

import numpy as np
import pytest

from groundshift.errors import InputError
from groundshift.measures.matching import match_labels, matched_accuracy, matched_l1


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
