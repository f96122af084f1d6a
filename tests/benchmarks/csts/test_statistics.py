"""Comparisons over subjects, against SciPy and numbers worked out by hand."""

import numpy as np
import pytest
from scipy import stats

from groundshift.benchmarks import csts
from groundshift.benchmarks.csts.statistics import level_sets
from groundshift.errors import InputError
from groundshift.worlds.correlation_patterns import draw_subject

X = np.array([0.81, 0.92, 0.75, 0.83, 0.91, 0.88])
Y = np.array([0.55, 0.61, 0.42, 0.73, 0.44, 0.50])


def test_wilcoxon_with_bonferroni_effect_and_power():
    comparison = csts.compare_variants(X, Y, comparisons=4, alternative="greater")
    assert comparison["p"] == stats.wilcoxon(X, Y, alternative="greater").pvalue == 1 / 64
    assert comparison["p_bonferroni"] == 4 / 64
    z = stats.norm.isf(stats.wilcoxon(X, Y).pvalue / 2)
    assert comparison["effect_size"] == pytest.approx(z / np.sqrt(6))
    assert 0 < comparison["power"] < 1
    assert csts.compare_variants(Y, X)["effect_size"] == pytest.approx(-comparison["effect_size"])


def test_differences_below_1e_8_are_zero():
    comparison = csts.compare_variants(X, X + 1e-9)
    assert (comparison["n"], comparison["p"], comparison["effect_size"]) == (0.0, 1.0, 0.0)


def test_power_rises_with_the_effect():
    rng = np.random.default_rng(0)
    noise = rng.standard_normal(12)
    powers = [csts.compare_variants(noise + shift, np.zeros(12))["power"] for shift in (0.1, 1.0, 3.0)]
    assert powers == sorted(powers)


def test_fishers_z_is_a_paired_t_test():
    comparison = csts.compare_correlations(X, Y)
    reference = stats.ttest_rel(np.arctanh(X), np.arctanh(Y))
    assert (comparison["t"], comparison["p"]) == pytest.approx((reference.statistic, reference.pvalue))
    assert (comparison["low"], comparison["high"]) == pytest.approx(
        tuple(reference.confidence_interval(0.95))
    )


def test_level_sets_run_from_0_to_5():
    ids, levels = level_sets()
    assert sorted(set(levels.ravel().tolist())) == [0, 1, 2, 3, 4, 5]
    assert (np.diag(levels) == 0).all()
    assert levels[ids.tolist().index(13), ids.tolist().index(17)] == 4


def test_criteria_prefer_simple_distances_on_ties():
    subject = draw_subject(np.random.default_rng(0), segments=115, lengths=[60])
    A = csts.segment_correlations(subject.array("nonnormal"), subject.segments)
    table = csts.distance_criteria(A, subject.segments.cluster, ("L1", "L5", "log_frobenius"))
    assert table.loc["L1", "f1"] > table.loc["log_frobenius", "f1"] + 0.2
    assert table.loc["L1", "ordered"] == 1.0
    assert table.loc["L1", "level_0"] < table.loc["log_frobenius", "level_0"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: csts.compare_variants([1, 2], [1]), "one of each"),
        (lambda: csts.compare_correlations([0.5], [0.4]), "two subjects"),
        (lambda: csts.compare_correlations([1.0, 0.5], [0.4, 0.3]), "infinite"),
        (lambda: csts.distance_criteria([[0.1] * 3], [14], ("L1",)), "14 is no pattern"),
        (lambda: csts.distance_criteria([[0.1]], [0], ("L1",)), "three variates"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(InputError, match=message):
        call()
