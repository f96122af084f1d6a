"""Representations: kernel alignment against its definition by kernels, and how vectors lie against all pairs."""

import numpy as np
import pytest

from groundshift.errors import InputError
from groundshift.measures.representations import (
    alignment,
    anisotropy,
    effective_rank,
    layerwise_cka,
    linear_cka,
    uniformity,
)


@pytest.mark.parametrize("n", [5, 40])
def test_it_is_the_ratio_of_hsic(n):
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((n, 8)), rng.standard_normal((n, 6)) + 3
    H = np.eye(n) - 1 / n
    K, L = H @ X @ X.T @ H, H @ Y @ Y.T @ H
    assert linear_cka(X, Y) == pytest.approx(np.trace(K @ L) / np.sqrt(np.trace(K @ K) * np.trace(L @ L)))


def test_unrelated_representations_are_not_alike():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((2000, 5))
    assert linear_cka(X, rng.standard_normal((2000, 5))) < 0.02
    assert 0.3 < linear_cka(X, X + rng.standard_normal((2000, 5))) < 0.7


def test_bad_input_is_told():
    X = np.ones((4, 2))
    with pytest.raises(InputError, match="all alike"):
        linear_cka(X, X)
    with pytest.raises(InputError, match="same n"):
        linear_cka(np.eye(4), np.eye(3))
    with pytest.raises(InputError, match="No site in common"):
        layerwise_cka({"a": np.eye(4)}, {"b": np.eye(4)})


def test_how_vectors_lie_is_what_pairs_say():
    X, Y = np.random.default_rng(0).standard_normal((2, 30, 4)) + 1
    unit, other = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (X, Y))
    pairs = [(unit[i], unit[j]) for i in range(30) for j in range(i)]
    assert uniformity(X) == pytest.approx(
        np.log(np.mean([np.exp(-2 * ((a - b) ** 2).sum()) for a, b in pairs]))
    )
    assert anisotropy(X) == pytest.approx(np.mean([a @ b for a, b in pairs]))
    assert alignment(X, 3 * Y) == pytest.approx(((unit - other) ** 2).sum(1).mean())
    assert effective_rank(np.random.default_rng(0).standard_normal((5000, 4))) == pytest.approx(4, abs=0.01)
    for wrong in (
        lambda: uniformity(X[:1]),
        lambda: alignment(X, Y[:3]),
        lambda: effective_rank(np.ones((3, 2))),
    ):
        with pytest.raises(InputError):
            wrong()
