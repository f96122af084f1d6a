"""TICC, step by step against independent references."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.covariance import graphical_lasso
from sklearn.metrics import adjusted_rand_score

from groundshift.discovery import ticc
from groundshift.discovery.ticc import TICC, best_path, stack, toeplitz_graphical_lasso
from groundshift.errors import InputError


@pytest.fixture(scope="module")
def planted():
    """Three dependence structures, each twice."""
    rng = np.random.default_rng(0)
    mixes = [
        np.eye(3),
        np.array([[1, 0.9, 0], [0, 0.44, 0], [0, 0, 1]]),
        np.array([[1, 0, -0.9], [0, 1, 0], [0, 0, 0.44]]),
    ]
    order = [0, 1, 2, 1, 0, 2]
    X = np.concatenate([rng.standard_normal((200, 3)) @ mixes[k] for k in order])
    return X, np.repeat(order, 200)


# The path ------------------------------------------------------------------------------------------------


def total(costs, path, beta):
    return costs[np.arange(len(path)), path].sum() + beta * np.count_nonzero(np.diff(path))


@settings(max_examples=50, deadline=None)
@given(rows=st.integers(1, 6), clusters=st.integers(1, 3), beta=st.floats(0, 3), seed=st.integers(0, 10**6))
def test_the_path_is_the_best_of_all_paths(rows, clusters, beta, seed):
    costs = np.random.default_rng(seed).standard_normal((rows, clusters))
    best = min(total(costs, np.array(path), beta) for path in itertools.product(range(clusters), repeat=rows))
    for path in (best_path(costs, beta), ticc._path_by_rows(costs, beta)):
        assert total(costs, path, beta) == pytest.approx(best)


def test_compiled_and_plain_paths_are_the_same():
    costs = np.random.default_rng(0).standard_normal((3000, 7))
    for beta in (0.0, 0.5, 3.0, 50.0):
        np.testing.assert_array_equal(best_path(costs, beta), ticc._path_by_rows(costs, beta))


# The Toeplitz graphical lasso ----------------------------------------------------------------------------


def covariance(size, seed, rows=200):
    X = np.random.default_rng(seed).standard_normal((rows, size)) @ np.random.default_rng(
        seed + 1
    ).standard_normal((size, size))
    return np.cov(X.T, bias=True)


def test_one_block_is_scikit_learns_graphical_lasso():
    """Theirs leaves the diagonal of Θ free, ours penalises it, which adds λ to the diagonal of S."""
    S, lam = covariance(4, 3) / 4, 0.2
    _, reference = graphical_lasso(S + lam * np.eye(4), alpha=lam, tol=1e-9, max_iter=2000)
    precision = toeplitz_graphical_lasso(S[None], lam, 1, tol=1e-10)[0]
    np.testing.assert_allclose(precision, reference, atol=5e-3)


@pytest.mark.parametrize(("n", "w"), [(3, 1), (2, 3), (3, 4)])
def test_the_optimality_conditions_hold_in_the_toeplitz_subspace(n, w):
    """Averaged over the places of an entry, S - Θ⁻¹ is -λ·sign(Θ) where Θ is not zero, and within ±λ where it is."""
    S, lam = covariance(n * w, 7) / n / w, 0.15
    theta = toeplitz_graphical_lasso(S[None], lam, w, tol=1e-9, max_iter=20_000)[0]
    _, average = ticc._toeplitz_groups(n * w, w)
    gradient = (S - np.linalg.inv(theta)).ravel() @ average
    values = theta.ravel() @ average
    zero = np.abs(values) < 1e-3
    np.testing.assert_allclose(gradient[~zero], -lam * np.sign(values[~zero]), atol=0.02)
    assert np.abs(gradient[zero]).max(initial=0) <= lam + 0.02


def test_blocks_are_toeplitz_and_the_matrix_is_positive_definite():
    n, w = 2, 4
    theta = toeplitz_graphical_lasso(covariance(n * w, 1)[None], 0.1, w)[0]
    blocks = theta.reshape(w, n, w, n).transpose(0, 2, 1, 3)
    for lag in range(w):
        for i in range(w - lag):
            np.testing.assert_allclose(blocks[i, i + lag], blocks[0, lag], atol=2e-3)
    np.testing.assert_allclose(theta, theta.T, atol=1e-10)
    assert np.linalg.eigvalsh(theta)[0] > 0


def test_clusters_solved_together_are_the_clusters_solved_alone():
    S = np.stack([covariance(6, seed) * scale for seed, scale in ((1, 1.0), (2, 0.1), (3, 30.0))])
    together = toeplitz_graphical_lasso(S, 0.1, 2)
    for one, precision in zip(S, together, strict=True):
        np.testing.assert_allclose(
            toeplitz_graphical_lasso(one[None], 0.1, 2)[0], precision, rtol=1e-8, atol=1e-10
        )


def test_badly_scaled_columns_converge():
    scale = np.array([1e-2, 1.0, 1e2])
    S = covariance(3, 5) * np.outer(scale, scale)
    theta = toeplitz_graphical_lasso(S[None], 0.11, 1)[0]
    objective = lambda t: np.trace(S @ t) - np.linalg.slogdet(t)[1] + 0.11 * np.abs(t).sum()  # noqa: E731
    longer = toeplitz_graphical_lasso(S[None], 0.11, 1, tol=1e-10, max_iter=50_000)[0]
    assert np.isfinite(theta).all()
    assert objective(theta) == pytest.approx(objective(longer), abs=0.05)


# The algorithm -------------------------------------------------------------------------------------------


def test_stacking_pads_with_zeros():
    np.testing.assert_array_equal(
        stack(np.arange(6.0).reshape(3, 2), 2), [[0, 1, 2, 3], [2, 3, 4, 5], [4, 5, 0, 0]]
    )


def test_planted_structure_is_found(planted):
    X, truth = planted
    model = TICC(3, window=3, beta=50, random_state=0).fit(X)
    assert adjusted_rand_score(truth, model.labels_) > 0.9
    assert model.converged_
    np.testing.assert_array_equal(model.predict(X), model.labels_)


def test_both_steps_lower_the_objective(planted):
    X, _ = planted
    values = [TICC(3, window=3, beta=50, max_iter=i, random_state=0).fit(X).objective_ for i in (1, 2, 4, 8)]
    assert all(later <= earlier * 1.001 for earlier, later in itertools.pairwise(values))


def test_the_same_seed_gives_the_same_labels_and_blocks_change_nothing(planted, monkeypatch):
    X, _ = planted
    model = TICC(3, window=2, beta=30, random_state=4)
    first = model.fit(X).labels_.copy()
    monkeypatch.setattr(ticc, "BLOCK", 137)
    np.testing.assert_array_equal(clone(model).fit(X).labels_, first)


def test_long_series_start_from_a_sample(planted, monkeypatch):
    X, truth = planted
    monkeypatch.setattr(ticc, "START_ROWS", 500)
    assert adjusted_rand_score(truth, TICC(3, window=3, beta=50, random_state=1).fit_predict(X)) > 0.8


def test_more_clusters_than_structure_refill_without_trouble(planted):
    X, _ = planted
    labels = TICC(12, window=2, beta=200, max_iter=5, random_state=0).fit_predict(X)
    assert labels.shape == (1200,)


def test_a_large_switching_cost_gives_one_segment(planted):
    X, _ = planted
    assert len(np.unique(TICC(3, window=2, beta=1e7, random_state=0).fit_predict(X))) == 1


def test_our_objective_is_no_worse_than_fast_ticcs(planted):
    from groundshift.discovery.clusterers import FastTICC

    pytest.importorskip("fast_ticc", reason="the extra `peers` is not installed")
    X, _ = planted
    ours = TICC(3, window=2, beta=50, random_state=0).fit(X)
    theirs = TICC(3, window=2, beta=50, max_iter=1, random_state=0)
    labels = FastTICC(3, window=2, beta=50).fit_predict(X)
    theirs._start = lambda W, rng: labels
    theirs.fit(X)  # one M step on their labels
    assert ours.objective_ <= theirs._objective(stack(X, 2), labels) * 1.02


@pytest.mark.parametrize(
    ("options", "data", "message"),
    [
        ({"n_clusters": 0}, None, "n_clusters=0"),
        ({"window": 0}, None, "window=0"),
        ({"beta": -1.0}, None, "beta=-1"),
        ({"lam": 0.0}, None, "lam=0.0"),
        ({"n_clusters": 50, "window": 5}, np.random.default_rng(0).normal(size=(100, 2)), "at least 250"),
        ({}, np.ones((50, 2)), "constant"),
        ({}, np.arange(50.0), r"\(rows, variates\)"),
        ({}, np.array([[1.0, 2.0], [np.nan, 1.0]] * 30), "30 rows hold NaN"),
    ],
)
def test_bad_input(options, data, message):
    data = np.random.default_rng(0).normal(size=(200, 2)) if data is None else data
    with pytest.raises(InputError, match=message):
        TICC(**{"n_clusters": 2, **options}).fit(data)


def test_predicting_other_variates_is_refused(planted):
    X, _ = planted
    model = TICC(2, window=2, max_iter=1, random_state=0).fit(X)
    with pytest.raises(InputError, match="fitted on 3 variates"):
        model.predict(X[:, :2])
