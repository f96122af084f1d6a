import ast

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from groundshift.errors import InputError
from groundshift.worlds.correlation_patterns import (
    MARGINALS,
    benchmark_marginals,
    check_correlation,
    choose_patterns,
    correlate,
    draw_lengths,
    draw_order,
    draw_subject,
    loadings,
    nearest,
    patterns,
    relax,
    to_marginals,
    to_matrix,
)


def base_3(canonical) -> int:
    """The id of a pattern: its entries 0, +, - as digits to the base 3."""
    return int("".join("012"[int(entry)] for entry in canonical), base=3)


def above_diagonal(matrix) -> np.ndarray:
    i, j = np.triu_indices(matrix.shape[-1], 1)
    return matrix[..., i, j]


RELAXED_IDS = (4, 5, 7, 8, 10, 11, 12, 15, 19, 20, 21, 24)


def canonicals(n: int) -> st.SearchStrategy[list[int]]:
    return st.lists(st.sampled_from([0, 1, -1]), min_size=n * (n - 1) // 2, max_size=n * (n - 1) // 2)


def test_the_23_patterns_and_their_relaxed_forms() -> None:
    known = patterns()
    assert sorted(known) == [*range(14), 15, *range(17, 22), 23, 24, 25]
    for k, pattern in known.items():
        assert [base_3(pattern.canonical), pattern.id] == [k, k]
        strong = [i for i in range(3) if pattern.canonical[i]]
        if k in RELAXED_IDS:
            first, second = strong
            expected = [0.0, 0.0, 0.0]
            expected[first] = 0.71 * pattern.canonical[first]
            expected[second] = 0.70 * pattern.canonical[second]
            assert pattern.relaxed == pytest.approx(expected)
        else:
            assert pattern.relaxed == pattern.canonical


def test_patterns_and_marginals_are_the_authors(csts_data) -> None:
    table = pd.read_csv(csts_data / "config" / "correlation_patterns_to_model.csv")
    for row in table.itertuples():
        if isinstance(row[3], str):
            assert patterns()[row.Id].canonical == ast.literal_eval(row[2])
            assert patterns()[row.Id].relaxed == pytest.approx(ast.literal_eval(row[3]))
        else:
            assert row.Id not in patterns()
    published = pd.read_csv(csts_data / "config" / "n30_genextreme_nbinom_genextreme_params.csv", index_col=0)
    assert (published.pop("n_cob") == 1).all()
    assert np.array_equal(published.to_numpy(), MARGINALS)


@pytest.mark.parametrize(("n", "count"), [(2, 3), (3, 23), (4, 121), (5, 737)])
def test_every_pattern_is_a_correlation_matrix_with_its_canonical_shape(n: int, count: int) -> None:
    known = patterns(n)
    assert len(known) == count
    relaxed = np.array([pattern.relaxed for pattern in known.values()])
    canonical = np.array([pattern.canonical for pattern in known.values()])
    assert np.linalg.eigvalsh(to_matrix(relaxed)).min() > -1e-10
    assert np.array_equal(np.rint(relaxed), canonical)
    assert np.abs(relaxed)[canonical != 0].min() >= 0.7


@given(canonicals(6))
@settings(max_examples=60, deadline=None)
def test_relaxing_keeps_zeros_and_signs_and_ends_feasible(canonical: list[int]) -> None:
    relaxed = relax(canonical)
    assert np.linalg.eigvalsh(to_matrix(relaxed))[0] > -1e-10
    assert np.array_equal(np.sign(relaxed), np.sign(canonical))


@given(st.integers(2, 7), st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_vector_and_matrix_round_trip(n: int, seed: int) -> None:
    r = np.random.default_rng(seed).uniform(-1, 1, size=(4, n * (n - 1) // 2))
    matrix = to_matrix(r)
    assert np.array_equal(matrix, np.swapaxes(matrix, 1, 2))
    assert np.array_equal(np.diagonal(matrix, axis1=1, axis2=2), np.ones((4, n)))
    assert np.array_equal(above_diagonal(matrix), r)


def test_nearest_finds_each_relaxed_pattern_again() -> None:
    known = list(patterns().values())
    noise = np.random.default_rng(0).uniform(-0.1, 0.1, size=(len(known), 3))
    canonical, relaxed = nearest(np.array([pattern.relaxed for pattern in known]) + noise)
    assert [base_3(row) for row in canonical] == [pattern.id for pattern in known]
    assert np.allclose(relaxed, [pattern.relaxed for pattern in known])


def test_nearest_of_many_variates_is_rounded_and_relaxed() -> None:
    r = np.zeros((5000, 28))
    r[:, 0], r[:, 1] = 0.8, -0.65  # x1 with x2 and with x3
    canonical, relaxed = nearest(r)
    assert (canonical == [1, -1] + [0] * 26).all()
    assert np.allclose(relaxed, [0.71, -0.70] + [0] * 26)


def test_loadings_of_infeasible_patterns_inflate_variances_as_measured() -> None:
    for k in RELAXED_IDS:
        canonical = np.array(patterns()[k].canonical)
        A = loadings(canonical)
        covariance = A @ A.T
        variances = np.sort(np.diag(covariance))
        assert variances == pytest.approx([1.1036, 1.1036, 1.2071], abs=1e-4)
        std = np.sqrt(np.diag(covariance))
        pearson = above_diagonal(covariance / np.outer(std, std))
        strong = canonical != 0
        assert pearson[strong] == pytest.approx(0.740 * canonical[strong], abs=5e-4)
        assert pearson[~strong] == pytest.approx(0.094 * canonical[strong].prod(), abs=5e-4)
        spearman = 6 / np.pi * np.arcsin(pearson / 2)
        assert np.abs(spearman[strong]) == pytest.approx(0.723, abs=5e-4)
        assert np.abs(spearman[~strong]) == pytest.approx(0.090, abs=5e-4)
        floor = np.abs(spearman - patterns()[k].relaxed).mean()
        assert floor == pytest.approx(0.042, abs=1e-3)
        assert 0.021 < floor * 12 / 23 < 0.025
        scaled = loadings(canonical, unit_variance=True)
        assert np.diag(scaled @ scaled.T) == pytest.approx(np.ones(3))
        assert above_diagonal(scaled @ scaled.T) == pytest.approx(pearson)


def test_loadings_of_feasible_patterns_are_exact() -> None:
    for k in set(patterns()) - set(RELAXED_IDS):
        A = loadings(patterns()[k].canonical)
        assert pytest.approx(to_matrix(patterns()[k].canonical), abs=1e-12) == A @ A.T


def test_loadings_do_not_depend_on_the_sign_of_eigenvectors(monkeypatch) -> None:
    expected = [loadings(pattern.canonical) for pattern in patterns().values()]
    eigh = np.linalg.eigh

    def flipped(matrix):
        w, V = eigh(matrix)
        return w, -V

    monkeypatch.setattr(np.linalg, "eigh", flipped)
    for A, pattern in zip(expected, patterns().values(), strict=True):
        assert loadings(pattern.canonical) == pytest.approx(A, abs=1e-12)


def test_cholesky_reaches_the_relaxed_pattern() -> None:
    Z = np.random.default_rng(1).standard_normal((200_000, 3))
    for k in (4, 13, 18, 24):
        r = patterns()[k].relaxed
        X = correlate(Z, r, "cholesky")
        assert above_diagonal(np.corrcoef(X.T)) == pytest.approx(r, abs=0.01)


@given(st.integers(2, 23), st.integers(1, 120), st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_order_is_balanced_and_never_repeats(ids: int, segments: int, seed: int) -> None:
    order = draw_order(np.random.default_rng(seed), segments, np.arange(ids) * 3)
    counts = np.bincount(order // 3, minlength=ids)
    assert counts.sum() == segments
    assert counts.max() - counts.min() <= 1
    assert (order[1:] != order[:-1]).all()


def test_lengths_are_the_benchmarks() -> None:
    minutes, counts = np.unique(draw_lengths(np.random.default_rng(5), 100) // 60, return_counts=True)
    assert minutes.tolist() == [15, 20, 30, 60, 120, 180, 240, 300, 360, 480, 600]
    assert counts[:8].sum() == 75
    assert set(counts[:8]) == {9, 10}
    assert set(counts[8:]) == {8, 9}


def test_a_full_subject_has_the_benchmarks_size_and_stages() -> None:
    subject = draw_subject(np.random.default_rng(7))
    assert 1.1e6 < subject.segments.rows < 1.4e6
    assert set(np.bincount(subject.segments.cluster)[list(patterns())]) == {4, 5}
    for values in subject.stages.values():
        assert values.shape == (subject.segments.rows, 3)
        assert np.array_equal(values, values.round(3))
    assert str(subject.times[-1] - subject.times[0]).startswith(str(subject.segments.rows // 86400))
    assert subject.data("raw").columns.tolist() == ["datetime", "iob", "cob", "ig"]


def test_same_seed_same_subject_and_marginals_of_its_row() -> None:
    def draw(seed: int, row: int):
        return draw_subject(np.random.default_rng(seed), segments=46, lengths=[300], marginals=row)

    one, same, other = draw(3, 0), draw(3, 0), draw(3, 12)
    assert np.array_equal(one.array("nonnormal"), same.array("nonnormal"))
    assert np.array_equal(one.array("correlated"), other.array("correlated"))
    assert not np.array_equal(one.array("nonnormal"), other.array("nonnormal"))


def test_nonnormal_marginals_are_the_published_distributions() -> None:
    subject = draw_subject(np.random.default_rng(0), segments=1, lengths=[20_000], patterns=[0], marginals=4)
    c_iob, loc_iob, scale_iob, p_cob, c_ig, loc_ig, scale_ig = MARGINALS[4]
    iob, cob, ig = subject.array("nonnormal").T
    assert stats.kstest(iob, stats.genextreme(c_iob, loc_iob, scale_iob).cdf).pvalue > 0.01
    assert stats.kstest(ig, stats.genextreme(c_ig, loc_ig, scale_ig).cdf).pvalue > 0.01
    u = np.linspace(1e-6, 1 - 1e-6, 999)
    assert np.array_equal(benchmark_marginals(4)[1].ppf(u), stats.nbinom(1, p_cob).ppf(u))
    assert cob.mean() == pytest.approx((1 - p_cob) / p_cob, rel=0.03)


def test_spearman_survives_the_marginals_and_pearson_does_not() -> None:
    subject = draw_subject(np.random.default_rng(0), segments=1, lengths=[5000], patterns=[2], marginals=12)
    correlated, nonnormal = subject.array("correlated"), subject.array("nonnormal")
    assert stats.spearmanr(nonnormal[:, 1], nonnormal[:, 2])[0] == pytest.approx(
        stats.spearmanr(correlated[:, 1], correlated[:, 2])[0], abs=0.01
    )
    assert stats.pearsonr(nonnormal[:, 1], nonnormal[:, 2])[0] > -0.8


def test_own_patterns_variates_and_marginals() -> None:
    subject = draw_subject(
        np.random.default_rng(0),
        segments=4,
        lengths=4000,
        patterns={5: [0.9], 8: [-0.5]},
        marginals=[stats.expon(), stats.uniform(2, 1)],
    )
    assert subject.variates == ("x1", "x2")
    assert set(subject.segments.cluster) == {5, 8}
    assert subject.array("nonnormal")[:, 1].min() >= 2
    for start, end, k in zip(
        subject.segments.start, subject.segments.end, subject.segments.cluster, strict=True
    ):
        correlation = np.corrcoef(subject.array("correlated")[start:end].T)[0, 1]
        assert correlation == pytest.approx(0.9 if k == 5 else -0.5, abs=0.05)
    wide = draw_subject(np.random.default_rng(0), segments=30, lengths=[50], n_variates=5)
    assert wide.array("nonnormal").shape == (1500, 5)
    ids = draw_subject(np.random.default_rng(0), segments=6, lengths=[50], patterns=[4, 13])
    assert set(ids.segments.cluster) == {4, 13}


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        (lambda: choose_patterns([4, 14]), "not a valid correlation matrix"),
        (lambda: choose_patterns([(0, 1, 1)]), r"-0\.414.*\(0\.0, 0\.71, 0\.7\)"),
        (lambda: choose_patterns([(0.5, 0.2)]), r"n\(n-1\)/2"),
        (lambda: choose_patterns([]), "0 patterns"),
        (lambda: choose_patterns([(0.5,), (0.1, 0.1, 0.1)]), "same length"),
        (lambda: check_correlation([0.5, 1.2, 0]), r"\[-1, 1\]"),
        (lambda: check_correlation([0.5, float("nan"), 0]), r"\[-1, 1\]"),
        (lambda: patterns(1), "at least 2"),
        (lambda: patterns(6), "3\\^15"),
        (lambda: to_matrix(0.5), r"n\(n-1\)/2"),
        (lambda: to_marginals(np.zeros((2, 3)), [stats.norm()]), "1 marginals"),
        (lambda: benchmark_marginals(30), "0 to 29"),
        (lambda: draw_order(np.random.default_rng(0), 3, [1]), "two patterns"),
        (lambda: draw_subject(np.random.default_rng(0), lengths=[2]), "at least 3"),
        (lambda: draw_subject(np.random.default_rng(0), segments=0), "segments=0"),
        (lambda: correlate(np.zeros((2, 3)), [0, 0, 0], "svd"), "cholesky"),
        (lambda: draw_subject(np.random.default_rng(0), lengths=[9]).array("cooked"), "cooked"),
    ],
)
def test_bad_input_is_refused(mistake, message: str) -> None:
    with pytest.raises(InputError, match=message):
        mistake()
