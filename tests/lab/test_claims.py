"""Verdicts are a pure function of the evidence."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groundshift.errors import InputError
from groundshift.lab.claims import Claim, Control, ControlEvidence, Evidence, judge, judge_all
from groundshift.measures import intervals, rates

FINITE = st.floats(-10, 10, allow_nan=False)


def claim(**changes):
    return Claim(
        **{"id": "1", "text": "t", "estimand": "mean(x|a)", "margin": 0.5, "control": None, **changes}
    )


def table(values, method="a", measure="x"):
    return pd.DataFrame(
        {"seed": range(len(values)), "method": method, "measure": measure, "value": values, "severity": 0.0}
    )


def evidence(low, high, *, n=6, planned=6, control=None):
    return Evidence((0.0,) * n + (math.nan,) * (planned - n), (low + high) / 2, low, high, 0.0, control)


@pytest.mark.parametrize(
    ("kind", "direction", "low", "high", "word"),
    [
        ("effect", ">", 0.6, 0.9, "shown"),
        ("effect", ">", 0.4, 0.9, "inconclusive"),
        ("effect", ">", 0.1, 0.4, "not shown"),
        ("effect", "<", 0.1, 0.4, "shown"),
        ("effect", "<", 0.6, 0.9, "not shown"),
        ("trend", ">", 0.6, 0.9, "shown"),
        ("boundary", "<", 0.1, 0.4, "shown"),
        ("equivalence", ">", -0.4, 0.4, "shown"),
        ("equivalence", ">", -0.6, 0.4, "inconclusive"),
        ("equivalence", ">", 0.6, 0.9, "not shown"),
        ("equivalence", ">", -0.9, -0.6, "not shown"),
        ("bound", ">", 0.51, 0.9, "shown"),
        ("bound", ">", 0.4, 0.9, "not shown"),
        ("bound", "<", 0.1, 0.49, "shown"),
        ("bound", "<", 0.1, 0.51, "not shown"),
        ("identity", ">", 0.5, 0.5, "shown"),
        ("identity", ">", 0.5, 0.6, "not shown"),
    ],
)
def test_verdicts_by_table(kind, direction, low, high, word):
    assert judge(claim(kind=kind, direction=direction), evidence(low, high), 0.001)[0] == word


@given(
    low=FINITE,
    width=st.floats(0, 5),
    margin=st.floats(0.01, 5),
    p=st.floats(0, 1),
    n=st.integers(0, 12),
    planned=st.integers(1, 12),
    ok=st.booleans(),
    kind=st.sampled_from(["effect", "equivalence", "bound", "trend"]),
    direction=st.sampled_from("<>"),
    scale=st.sampled_from(["quick", "cpu"]),
)
def test_what_can_never_be_shown(low, width, margin, p, n, planned, ok, kind, direction, scale):
    control = ControlEvidence(0.0, 0.0, 0.0, ok)
    seen = evidence(low, low + width, n=n, planned=planned, control=control)
    word, reason = judge(claim(kind=kind, margin=margin, direction=direction), seen, p, scale=scale)
    assert word in ("shown", "not shown", "inconclusive")
    assert reason
    if not ok or scale == "quick" or n < planned or n < 5 or (kind != "bound" and p >= 0.05):
        assert word != "shown"


@settings(max_examples=40, deadline=None)  # a busy machine is no fault
@given(values=st.lists(FINITE, min_size=6, max_size=6), shift=st.floats(0.1, 50))
def test_a_larger_effect_never_turns_shown_into_not_shown(values, shift):
    order = ("not shown", "inconclusive", "shown")
    less, more = (judge_all([claim()], table(np.array(values) + by))[0].word for by in (0.0, shift))
    assert order.index(more) >= order.index(less)


def test_missing_and_non_finite_seeds_are_inconclusive_and_said():
    for bad in (math.nan, math.inf):
        (verdict,) = judge_all([claim()], table([9.0] * 5 + [bad]))
        assert (verdict.word, verdict.reason) == ("inconclusive", "5 valid replicates of 6 planned")


def test_a_claim_whose_cells_are_not_planned_is_not_measured():
    unplanned = claim(paired_by="part")
    (verdict,) = judge_all([unplanned], table([9.0] * 6))
    assert verdict.word == "inconclusive"
    assert verdict.reason == "not measured: this run has none of the cells that it reads"


def test_fewer_seeds_than_the_claim_needs_are_inconclusive():
    (verdict,) = judge_all([claim()], table([9.0, 9.1, 9.2]))
    assert verdict.word == "inconclusive"
    assert "needs 5" in verdict.reason


@pytest.mark.parametrize(("rule", "ok"), [("mean", True), ("interval", False), ("every", False)])
def test_control_rules(rule, ok):
    control = Control("c", "mean(x|b)", high=1.0, rule=rule)
    data = pd.concat([table([9.0] * 6), table([0.5, 0.6, 0.9, 1.2, 0.8, 1.4], method="b")])
    (verdict,) = judge_all([claim(control=control)], data)
    assert verdict.evidence.control.ok is ok
    assert verdict.word == ("shown" if ok else "inconclusive")


def test_holm_over_the_study_is_statsmodels_and_the_verdict_uses_it():
    values = 0.6 + 0.08 * np.array([-1.2, -0.8, -0.3, 0.3, 0.8, 1.2])
    alone = judge_all([claim()], table(values))[0]
    many = judge_all([claim(id=str(i)) for i in range(20)], table(values))
    assert alone.word == "shown"
    assert many[0].p_adjusted == pytest.approx(20 * alone.p_adjusted)
    assert {verdict.word for verdict in many} == {"inconclusive"}


def test_holm_is_that_of_statsmodels():
    from statsmodels.stats.multitest import multipletests

    from groundshift.lab.claims import _holm

    rng = np.random.default_rng(3)
    for n in (1, 2, 7, 30):
        p = rng.uniform(0, 0.2, n).round(2)  # with ties
        assert _holm([*p, None]) == [*multipletests(p, method="holm")[1], None]
    assert _holm([None]) == [None]


def test_values_without_spread_are_judged():
    (verdict,) = judge_all([claim()], table([0.7] * 6))
    assert verdict.word == "shown"
    (verdict,) = judge_all([claim()], table([0.5] * 6))
    assert verdict.word == "inconclusive"


def test_groups_get_a_bootstrap_interval():
    rng = np.random.default_rng(1)
    values = rng.normal(1, 0.3, 40)
    seen = judge_all([claim(unit="group")], table(values))[0]
    assert seen.word == "shown"
    assert (seen.evidence.low, seen.evidence.high) == intervals.bootstrap_interval(values)


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"margin": math.nan}, "finite"), ({"kind": "equivalence", "margin": 0.0}, "> 0")],
)
def test_bad_claims_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        claim(**changes)


# The rates that the docs promise, by simulation ----------------------------------------------------------


def test_t_intervals_cover_and_null_claims_are_rarely_shown():
    """Coverage of 95 %, and false "shown" in 5 % of null studies of six claims, within the noise of the draws."""
    rng = np.random.default_rng(7)
    covered = np.mean(
        [low < 0 < high for low, high in map(intervals.t_interval, rng.standard_normal((4000, 6)))]
    )
    assert 0.93 < covered < 0.97
    claims = [claim(id=str(i), margin=0.0, estimand=f"mean(x{i}|a)") for i in range(6)]
    plan = pd.concat([table([1.0] * 6, measure=f"x{i}") for i in range(6)])
    studies = 80
    false = sum(
        any(v.word == "shown" for v in judge_all(claims, plan.assign(value=rng.standard_normal(36))))
        for _ in range(studies)
    )
    assert false / studies < 0.05 + 2.5 * math.sqrt(0.05 * 0.95 / studies)


def test_intervals_agree_with_scipy():
    from scipy import stats

    x = np.random.default_rng(3).normal(1, 2, 9)
    reference = stats.ttest_1samp(x, 0.3)
    assert intervals.t_interval(x) == pytest.approx(tuple(reference.confidence_interval(0.95)))
    assert intervals.one_sided_p(x, 0.3, ">") + intervals.one_sided_p(x, 0.3, "<") == pytest.approx(1)
    even = np.concatenate([x, 2 * x.mean() - x])  # without skewness
    assert intervals.mean_interval(even) == pytest.approx(intervals.t_interval(even))
    assert intervals.equivalence_p(even, 5) == pytest.approx(
        max(
            stats.ttest_1samp(even, -5, alternative="greater").pvalue,
            stats.ttest_1samp(even, 5, alternative="less").pvalue,
        )
    )
    assert intervals.sign_flip_p([1.0] * 5, 0.0) == pytest.approx(1 / 32)


@pytest.mark.parametrize("n", [5, 10, 40])
def test_skewed_replicates_are_less_often_on_the_wrong_side(n):
    """Of exponential replicates with mean 1, Student's interval lies below 1 in 6 to 11 % of runs, not in 2.5 %."""
    runs = np.random.default_rng(1).exponential(size=(2000, n))
    low, high = intervals.mean_intervals(runs)
    students = np.array([intervals.t_interval(x) for x in runs])
    assert (low <= students[:, 0] + 1e-12).all()
    assert (high >= students[:, 1] - 1e-12).all()
    assert np.mean(high < 1) < 0.65 * np.mean(students[:, 1] < 1)
    for x, ends in zip(runs[:20], np.column_stack([low, high])[:20], strict=True):
        assert intervals.mean_interval(x) == pytest.approx(tuple(ends))
        for margin, direction in ((ends[0], ">"), (ends[1], "<")):  # the p value at an end of the interval
            p = intervals.mean_p(x, margin, direction)
            assert p == pytest.approx(0.025, abs=1e-6)


# Outcomes: replicates that are 0 or 1 ---------------------------------------------------------------------


def two(values, other=0.0):
    return pd.concat([table(values), table([other] * len(values), method="b")])


def test_five_of_five_do_not_show_a_share_above_four_fifths():
    (verdict,) = judge_all([claim(margin=0.8)], table([1.0] * 5))
    assert verdict.evidence.p == pytest.approx(0.8**5)
    assert (verdict.evidence.low, verdict.evidence.high) == (pytest.approx(0.025**0.2), 1.0)
    assert verdict.word == "inconclusive"


@pytest.mark.parametrize("kind", ["effect", "boundary"])
@pytest.mark.parametrize("unit", ["seed", "group"])
@pytest.mark.parametrize(("hits", "direction", "margin"), [(19, ">", 0.7), (1, "<", 0.3), (12, ">", 0.5)])
def test_zeros_and_ones_take_the_exact_binomial_interval_and_p_value(kind, unit, hits, direction, margin):
    from scipy.stats import binomtest

    values = np.arange(20) < hits
    (verdict,) = judge_all(
        [claim(kind=kind, unit=unit, direction=direction, margin=margin)], table(values.astype(float))
    )
    reference = binomtest(hits, 20, margin, {">": "greater", "<": "less"}[direction])
    exact = binomtest(hits, 20).proportion_ci(0.95, "exact")
    assert (verdict.evidence.low, verdict.evidence.high) == pytest.approx((exact.low, exact.high))
    assert verdict.evidence.p == pytest.approx(reference.pvalue)


def test_the_share_may_be_written_the_other_way_round():
    (verdict,) = judge_all([claim(estimand="1 - mean(x|a)", direction="<", margin=0.2)], table([1.0] * 5))
    assert verdict.evidence.p == pytest.approx(0.8**5)
    assert verdict.evidence.low == 0.0


def test_one_win_and_no_loss_show_no_advantage():
    """A difference of two shares may be -1 as well, so that 0 and 1 are not its only outcomes."""
    (verdict,) = judge_all([claim(margin=0.0, estimand="mean(x|a) - mean(x|b)")], two([1, 0, 0, 0, 0.0]))
    assert verdict.evidence.p == pytest.approx(intervals.one_sided_p([1, 0, 0, 0, 0.0], 0.0))


@pytest.mark.parametrize(
    ("values", "kind", "direction", "margin", "p"),
    [
        (1.0, "effect", ">", 0.3, 0.65),  # +1 in 65 %, else -1: a mean of .3
        (0.0, "effect", "<", 0.1, 0.9),
        (0.0, "effect", ">", -0.1, 0.9),
        (0.0, "effect", ">", 0.1, 1.0),
        (0.0, "equivalence", ">", 0.02, 0.98),
    ],
)
def test_differences_that_are_alike_in_every_replicate_do_not_give_a_p_value_of_nothing(
    values, kind, direction, margin, p
):
    (verdict,) = judge_all(
        [claim(kind=kind, direction=direction, margin=margin, estimand="mean(x|a) - mean(x|b)")],
        two([values] * 5),
    )
    assert verdict.evidence.p == pytest.approx(p**5)
    assert verdict.word != "shown"


def test_forty_equal_replicates_show_an_equivalence_within_a_tenth():
    equal = claim(kind="equivalence", margin=0.1, estimand="mean(x|a) - mean(x|b)")
    (verdict,) = judge_all([equal], two([0.0] * 40))
    assert (verdict.evidence.low, verdict.evidence.high) == pytest.approx(
        (0.05 ** (1 / 40) - 1, 1 - 0.05 ** (1 / 40))
    )
    assert verdict.word == "shown"
    (verdict,) = judge_all([equal], two([0.0] * 20))
    assert verdict.word == "inconclusive"


def test_slopes_and_correlations_are_no_outcomes():
    data = pd.concat([table([float(k)] * 5).assign(severity=float(k)) for k in range(4)])
    (verdict,) = judge_all([claim(kind="trend", estimand="spearman(x|a)", margin=0.9)], data)
    assert verdict.word == "shown"


@pytest.mark.parametrize(("seeds", "ok"), [(5, False), (40, True)])
def test_a_control_of_zeros_and_ones_takes_the_exact_interval_too(seeds, ok):
    control = Control("never above a tenth", "mean(x|b)", high=0.1)
    rng = np.random.default_rng(0)
    data = pd.concat([table(9 + rng.random(seeds)), table([0.0] * seeds, method="b")])
    (verdict,) = judge_all([claim(control=control)], data)
    assert verdict.evidence.control.ok is ok


def test_exact_bounds_cover_where_t_intervals_do_not():
    """Of 20 replicates at a rate of .95, the exact interval holds the rate in 95 % of runs or more."""
    from scipy.stats import binom

    ends = {hits: (np.arange(20) < hits).astype(float) for hits in range(21)}
    exact = [rates.outcome_interval(x, (0, 1)) for x in ends.values()]
    student = [intervals.t_interval(x) for x in ends.values()]
    held = [
        sum(binom.pmf(hits, 20, 0.95) for hits, (low, high) in enumerate(interval) if low <= 0.95 <= high)
        for interval in (exact, student)
    ]
    assert held[0] >= 0.95
    assert held[1] < 0.75


# Rates that must stay below a level -----------------------------------------------------------------------


def rate(**changes):
    return claim(**{"kind": "rate", "margin": 0.05, "slack": 0.03, **changes})


def alarms(hits, n=200):
    return table((np.arange(n) < hits).astype(float))


@pytest.mark.parametrize(
    ("hits", "word"),
    [(0, "shown"), (9, "shown"), (10, "inconclusive"), (22, "inconclusive"), (24, "not shown")],
)
def test_a_rate_is_judged_by_its_one_sided_clopper_pearson_bounds(hits, word):
    from scipy.stats import binomtest

    (verdict,) = judge_all([rate()], alarms(hits))
    bounds = binomtest(hits, 200).proportion_ci(0.9, "exact")  # two one-sided bounds of 95 %
    assert (verdict.evidence.low, verdict.evidence.high) == pytest.approx((bounds.low, bounds.high))
    assert verdict.evidence.p == pytest.approx(binomtest(hits, 200, 0.08, "less").pvalue)
    assert (verdict.word, verdict.evidence.mean) == (word, hits / 200)
    assert (verdict.word == "shown") == (bounds.high < 0.08)
    assert (verdict.word == "not shown") == (bounds.low > 0.08)


def test_a_replicate_may_be_the_share_of_a_known_number_of_trials():
    shares = np.repeat([0.0, 0.1, 0.3], [15, 3, 2])  # 9 of 200
    (verdict,) = judge_all([rate(trials=10)], table(shares))
    (single,) = judge_all([rate()], alarms(9))
    assert (verdict.evidence.low, verdict.evidence.high, verdict.evidence.p) == pytest.approx(
        (single.evidence.low, single.evidence.high, single.evidence.p)
    )


def test_rates_join_holms_adjustment():
    both = judge_all(
        [rate(), rate(id="2", estimand="mean(y|a)")], pd.concat([alarms(9), alarms(0).assign(measure="y")])
    )
    assert both[0].p_adjusted == pytest.approx(both[0].evidence.p)
    assert both[1].p_adjusted == pytest.approx(2 * both[1].evidence.p)
    three = judge_all([rate(id=str(i)) for i in range(3)], alarms(9))
    assert {verdict.word for verdict in three} == {"inconclusive"}  # three times .03


def test_a_failed_control_a_missing_replicate_or_too_few_never_show_a_rate():
    control = Control("sees a planted shift", "mean(x|b)", low=0.8)
    seen = pd.concat([alarms(0), table([0.0] * 200, method="b")])
    assert judge_all([rate(control=control)], seen)[0].word == "inconclusive"
    assert (
        judge_all([rate()], table([0.0] * 199 + [math.nan]))[0].reason
        == "199 valid replicates of 200 planned"
    )
    assert judge_all([rate(n=201)], alarms(0))[0].word == "inconclusive"


@pytest.mark.parametrize(
    ("values", "trials", "message"),
    [
        ([0.0, 0.5, 1.0], 1, r"gave 0\.5.*must be 0 or 1.*trials="),
        ([0.0, 0.1, 0.25], 10, r"gave 0\.25.*0/10, 1/10"),
        ([0.0, 2.0], 1, "gave 2"),
        ([0.0, -1.0], 1, "gave -1"),
        ([0.0, 0.5, math.nan], 1, r"gave 0\.5"),
    ],
)
def test_values_that_are_no_outcomes_are_refused_in_words(values, trials, message):
    with pytest.raises(InputError, match=message):
        judge_all([rate(trials=trials)], table(values))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"slack": 0.0}, "slack above 0"),
        ({"slack": -0.1}, "slack above 0"),
        ({"slack": math.nan}, "slack above 0"),
        ({"margin": 0.99}, "below 1"),
        ({"margin": -0.1}, "at least 0"),
        ({"trials": 0}, "trials"),
        ({"trials": 2.5}, "trials"),
        ({"kind": "effect"}, "belongs to a rate"),
        ({"kind": "effect", "slack": 0.0, "trials": 3}, "belongs to a rate"),
    ],
)
def test_bad_rates_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        rate(**changes)


def test_a_rate_has_one_direction():
    assert rate().direction == "<"


def test_null_rates_are_rarely_shown():
    """A rate that lies exactly at level and slack is shown, or refused, in at most 5 % of runs (a sum)."""
    from scipy.stats import binom

    two_of_a_hundred = rate(trials=100, n=2)
    chance = dict.fromkeys(("shown", "not shown", "inconclusive"), 0.0)
    for hits in range(60):
        (verdict,) = judge_all([two_of_a_hundred], table([min(hits, 100) / 100, max(hits - 100, 0) / 100]))
        chance[verdict.word] += binom.pmf(hits, 200, 0.08)
    assert 0.02 < chance["shown"] <= 0.05
    assert 0.02 < chance["not shown"] <= 0.05


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "can never fail"),
        ({"low": 0.5, "high": 0.4}, "can never pass"),
        ({"low": math.nan}, "can never pass"),
        ({"estimand": "0.5", "high": 1.0}, "same number whatever"),
        ({"estimand": "mean(x|b) - mean(x|b)", "high": 0.1}, "same number whatever"),
        ({"estimand": "0 * mean(x|b)", "high": 0.1}, "same number whatever"),
    ],
)
def test_what_is_no_control_is_refused(changes, message):
    with pytest.raises(InputError, match=message):
        Control("c", **{"estimand": "mean(x|b)", **changes})
