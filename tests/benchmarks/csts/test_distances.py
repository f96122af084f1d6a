"""Distances between correlation vectors, against SciPy and loops written out."""

import numpy as np
import pytest
from scipy.linalg import eigvals, logm
from scipy.spatial.distance import cdist

from groundshift.benchmarks.csts.distances import DISTANCES, distance
from groundshift.errors import InputError
from groundshift.worlds.correlation_patterns import patterns, to_matrix

RNG = np.random.default_rng(0)
RELAXED = np.array([pattern.relaxed for pattern in patterns().values()])
U = np.clip(RELAXED[RNG.integers(23, size=15)] * 0.9 + 0.03 * RNG.standard_normal((15, 3)), -1, 1).round(3)
EPS = 1e-10 * np.eye(3)


@pytest.mark.parametrize(
    ("name", "p"), [("L1", 1), ("L2", 2), ("L3", 3), ("L5", 5), ("L10", 10), ("L50", 50)]
)
def test_lp_is_scipys_minkowski(name, p):
    np.testing.assert_allclose(
        distance(name)(U, RELAXED), cdist(U, RELAXED, "minkowski", p=p), rtol=1e-9, atol=1e-12
    )


def test_the_largest_orders_do_not_underflow():
    np.testing.assert_allclose(distance("Linf")(U, RELAXED), cdist(U, RELAXED, "chebyshev"))
    distances = distance("L100")([[0.0, 0.0, 0.0]], [[1e-5, 1e-5, 0.0]])
    np.testing.assert_allclose(distances, [[1e-5 * 2**0.01]])


def test_reference_and_dot_forms_written_out():
    e = np.ones(3) / np.sqrt(3)
    for u, row, dot in zip(
        U, distance("L2_with_reference")(U, RELAXED), distance("dot_L1")(U, RELAXED), strict=True
    ):
        for v, value, other in zip(RELAXED, row, dot, strict=True):
            norm = np.linalg.norm
            assert value == pytest.approx(norm(u - v) * (norm(u - e) + norm(v - e)))
            assert other == pytest.approx(np.abs(u - v).sum() + abs((e @ u + 1) / 2 - (e @ v + 1) / 2))


def test_log_frobenius_is_scipys_logm():
    logs = [logm(to_matrix(u) + EPS) for u in U], [logm(to_matrix(v) + EPS) for v in RELAXED]
    reference = np.array([[np.linalg.norm(a - b) for b in logs[1]] for a in logs[0]])
    np.testing.assert_allclose(distance("log_frobenius")(U, RELAXED), reference, atol=1e-4)


@pytest.mark.parametrize(("name", "log"), [("foerstner", np.log), ("foerstner_log1p", np.log1p)])
def test_foerstner_is_scipys_generalised_eigenvalues(name, log):
    some = U[np.linalg.eigvalsh(to_matrix(U))[:, 0] > 0.01]
    reference = np.array([
        [np.sqrt((log(eigvals(to_matrix(a) + EPS, to_matrix(b) + EPS).real) ** 2).sum()) for b in some] for a in some
    ])  # fmt: skip
    np.testing.assert_allclose(distance(name)(some, some), reference, atol=1e-6)


def test_a_vector_is_at_zero_from_itself_but_not_in_the_published_form_of_foerstner():
    inner = np.array([[0.1, 0.2, 0.3]])
    zero = {name: float(distance(name)(inner, inner)[0, 0]) for name in DISTANCES}
    assert zero.pop("foerstner_log1p") == pytest.approx(np.sqrt(3) * np.log(2))
    assert max(zero.values()) < 1e-7


def test_cosine_is_a_distance_here_and_one_from_nothing():
    assert distance("cosine")([[1, 0, 0]], [[2, 0, 0], [-1, 0, 0], [0, 0, 0]]).ravel().tolist() == [
        0.0,
        2.0,
        1.0,
    ]


@pytest.mark.parametrize("name", DISTANCES)
def test_every_distance_is_symmetric_finite_and_works_for_two_variates(name):
    d = distance(name)
    if name != "foerstner_log1p":  # ln(1 + λ) and ln(1 + 1/λ) differ
        np.testing.assert_allclose(d(U, U), d(U, U).T, atol=1e-4)
    assert np.isfinite(d(RELAXED, RELAXED)).all()
    assert d([[0.3]], [[0.5], [-0.2]]).shape == (1, 2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: distance("L4"), "did you mean 'L"),
        (lambda: distance("euclid"), "The distances are"),
        (lambda: distance("L1")([[0.1, 0.2, 0.3]], [[0.1]]), "3 and of 1 entries"),
        (lambda: distance("log_frobenius")([[0.1, 0.2]], [[0.1, 0.2]]), r"n\(n-1\)/2"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(InputError, match=message):
        call()
