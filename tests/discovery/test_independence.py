"""Independence tests: agreement with causal-learn and brute force, calibration, low rank against exact."""

import numpy as np
import pytest
from causallearn.utils.cit import CIT
from scipy.stats import chi2_contingency

from groundshift.discovery.independence import TESTS, factor, g_test, independence_test, is_function
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
        test = chi2_contingency(table, correction=False, lambda_="log-likelihood")
        g, freedom = g + test.statistic, freedom + test.dof
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
    assert list(ask.p_values) == [(0, 2, (1, 3))]


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


# Functions ----------------------------------------------------------------------------------------------


def columns_of(rows, seed):
    rng = np.random.default_rng([rows, seed])
    a, b, noise = rng.standard_normal((3, rows))
    label = rng.integers(0, 6, rows)
    return rng, a, b, noise, label, np.array([3, 0, 5, 1, 4, 2])[label]


@pytest.mark.parametrize("rows", [200, 1500])
@pytest.mark.parametrize("seed", range(3))
def test_functions_are_seen_whatever_their_form(rows, seed):
    _, a, b, _, label, code = columns_of(rows, seed)
    for values, given in (
        (a**2, [a]), (a**3, [a]), (np.exp(2 * a), [a]), (np.sin(3 * a), [a]), (a + b, [a, b]), (a, [b, a + b]),
        (np.digitize(a, [-1, 0, 1]).astype(float), [a]), (np.column_stack([a**2, a + b]), [a, b]),
    ):  # fmt: skip
        assert is_function(values, given)
    assert is_function(code, [label], discrete=True, given_discrete=[True])
    assert is_function(code, [label], discrete=True, given_discrete=[False])
    assert is_function(np.array([3.0, 9, 1, 4, 2, 7])[label], [label], given_discrete=[True])
    assert is_function(a * (1 + label), [a, label], given_discrete=[False, True])


@pytest.mark.parametrize("rows", [200, 1500])
@pytest.mark.parametrize("seed", range(3))
def test_what_has_noise_or_loses_something_is_no_function(rows, seed):
    rng, a, b, noise, label, _ = columns_of(rows, seed)
    for values, given in (
        (a, [b]), (a + 0.1 * noise, [a]), (a + b, [a]), (a, [a**2]), (a + b + 0.15 * noise, [a, b]),
        ((a > 0) ^ (rng.random(rows) < 0.1), [a]), (np.column_stack([a, b]), [a]),
        (rng.poisson(3, rows).astype(float), [a]),
    ):  # fmt: skip
        assert not is_function(np.asarray(values, dtype=float), given)
    assert not is_function(a + 3 * label, [label], given_discrete=[True])
    assert not is_function(label, [label // 2], discrete=True, given_discrete=[True])


def test_a_test_knows_which_columns_are_functions_of_others():
    _, a, b, noise, label, code = columns_of(300, 0)
    ask = independence_test("kci-lowrank", [a, b, a + b, label, code, a + noise], discrete=[3, 4])
    assert ask.determined(2, [1, 0])
    assert ask.determined(0, [1, 2])
    assert ask.determined(3, [4])
    assert not ask.determined(5, [0])
    assert not ask.determined(0, [1])
