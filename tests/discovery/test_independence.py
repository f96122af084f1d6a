"""Independence tests: agreement with causal-learn and brute force, calibration, low rank against exact."""

import numpy as np
import pytest
from causallearn.utils.cit import CIT
from scipy.stats import chi2_contingency

from groundshift.discovery.independence import TESTS, factor, g_test, independence_test
from groundshift.errors import InputError

QUESTIONS = [(0, 1, ()), (0, 2, ()), (0, 2, (1,)), (0, 3, (1,)), (1, 3, (0, 2)), (0, 2, (1, 3))]


def mediated(rows, seed=0):
    """x0 → x1 → x2, curved, and x3 alone."""
    rng = np.random.default_rng(seed)
    a = rng.standard_normal(rows)
    b = np.tanh(a) + 0.5 * rng.standard_normal(rows)
    c = b + 0.3 * b**2 + 0.5 * rng.standard_normal(rows)
    return np.column_stack([a, b, c, rng.standard_normal(rows)])


def test_kci_equals_causal_learns_where_the_widths_are_the_same():
    X = mediated(150)
    ours, theirs = independence_test("kci", X), CIT(X, "kci")
    for i, j, given in QUESTIONS:
        assert ours(i, j, given) == pytest.approx(theirs(i, j, list(given)), abs=2e-4)


@pytest.mark.parametrize("rows", [300, 1500])
def test_low_rank_agrees_with_exact(rows):
    X = mediated(rows)
    exact, fast = independence_test("kci", X), independence_test("kci-lowrank", X)
    for i, j, given in QUESTIONS:
        assert fast(i, j, given) == pytest.approx(exact(i, j, given), abs=0.03)


@pytest.mark.parametrize("name", ["kci", "kci-lowrank", "fisherz"])
def test_the_level_holds_and_mediation_is_seen(name):
    p = np.array([independence_test(name, mediated(200, seed))(0, 2, [1]) for seed in range(60)])
    alone = np.array([independence_test(name, mediated(200, seed))(0, 3) for seed in range(60)])
    assert (alone < 0.05).mean() <= 0.15
    assert (p < 0.05).mean() <= 0.15
    assert independence_test(name, mediated(200))(0, 2) < 1e-6


def test_a_label_has_no_order():
    rng = np.random.default_rng(0)
    label = rng.integers(0, 6, 600)
    x = np.array([0.0, 2.0, -1.0, -1.0, 2.0, 0.0])[label] + rng.standard_normal(600)  # no trend in the number
    renamed = np.array([3, 0, 5, 1, 4, 2])[label]
    for name in ("kci", "kci-lowrank"):
        p = [independence_test(name, [x, codes], discrete=[1])(0, 1) for codes in (label, renamed)]
        assert p[0] < 1e-6
        assert p[0] == pytest.approx(p[1], rel=1e-6)
    with pytest.raises(InputError, match="linear trend"):
        independence_test("fisherz", [x, label], discrete=[1])


def test_the_delta_kernel_of_a_domain_is_exact_in_low_rank():
    rng = np.random.default_rng(1)
    label = rng.integers(0, 8, 400)
    x = rng.standard_normal(400) * (1 + label)
    y = x + rng.standard_normal(400)
    columns = [x, y, label]
    exact = independence_test("kci", columns, discrete=[2])
    fast = independence_test("kci-lowrank", columns, discrete=[2])
    for question in [(0, 2, ()), (1, 2, (0,)), (0, 1, (2,))]:
        assert fast(*question) == pytest.approx(exact(*question), abs=0.02)


def test_g_test_equals_scipy_and_adds_over_strata():
    rng = np.random.default_rng(0)
    x, y, z = rng.integers(0, 3, (3, 500))
    g = p = freedom = 0
    for level in range(3):
        table = np.zeros((3, 3))
        np.add.at(table, (x[z == level], y[z == level]), 1)
        found = chi2_contingency(table, correction=False, lambda_="log-likelihood")
        g, freedom = g + found.statistic, freedom + found.dof
    ours = g_test(x, y, z)
    assert ours[0] == pytest.approx(g)
    assert ours[2] == freedom
    assert independence_test("gtest", np.column_stack([x, y, z]))(0, 1, [2]) == pytest.approx(ours[1])
    assert g_test(np.zeros(10, int), y[:10])[1] == 1.0 > p


def test_fisherz_equals_causal_learns_and_takes_vectors():
    X = mediated(300)
    ours, theirs = independence_test("fisherz", X), CIT(X, "fisherz")
    for i, j, given in QUESTIONS:
        assert ours(i, j, given) == pytest.approx(theirs(i, j, list(given)), abs=1e-9)
    grouped = independence_test("fisherz", [X[:, :2], X[:, 2], X[:, 3]])
    assert grouped(0, 1) < 1e-6 < 0.01 < grouped(0, 2)


def test_a_vector_valued_variable():
    X = mediated(300)
    for name in ("kci", "kci-lowrank"):
        ask = independence_test(name, [X[:, :2], X[:, 2], X[:, 3]])
        assert ask(0, 1) < 1e-6
        assert ask(0, 2, [1]) > 0.01


def test_questions_do_not_depend_on_order_and_are_kept():
    ask = independence_test("kci", mediated(100))
    assert ask(2, 0, (3, 1)) == ask(0, 2, [1, 3])
    assert list(ask.asked) == [(0, 2, (1, 3))]


def test_a_factor_of_a_kernel_stops_when_it_is_good_enough():
    x = np.random.default_rng(0).standard_normal(200)
    K = np.exp(-0.5 * (x[:, None] - x) ** 2)
    left = factor(lambda rows: K[:, rows], 200, 200, 1e-8)
    assert left.shape[1] < 30
    assert abs(left @ left.T - K).max() < 1e-5


def test_a_function_of_ones_own_and_an_unknown_name():
    ask = independence_test(lambda x, y, z: 0.5 if z is None else 0.25, mediated(50))
    assert (ask(0, 1), ask(0, 1, [2])) == (0.5, 0.25)
    with pytest.raises(InputError, match="kci-lowrank"):
        independence_test("hsic", mediated(50))
    with pytest.raises(InputError, match="rows were given"):
        independence_test("kci", [np.zeros(4), np.zeros(5)])
    assert "rcit" in TESTS
