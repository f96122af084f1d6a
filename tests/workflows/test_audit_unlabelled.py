"""Tables whose labels are not in yet: shares of the classes, and what a model will turn out to lose."""

import json
from functools import partial

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy.special import expit
from sklearn.metrics import roc_auc_score

from groundshift.errors import InputError
from groundshift.studies.audit_unlabelled import encoded, tables
from groundshift.workflows.audit import performance as P
from groundshift.workflows.audit.calibration import temperature
from groundshift.workflows.audit.models import design
from groundshift.workflows.audit.shares import (
    adapted,
    estimate_shares,
    label_shares,
    maximum_likelihood_shares,
)
from groundshift.workflows.audit.transfer import overlap
from groundshift.worlds.shifted_tables import shifted_table


def overconfident(rng, y, sure=4.0):
    """Probabilities of a classifier that sees y + noise; well calibrated where ``sure`` is 2."""
    p = expit(sure * (2 * y + rng.standard_normal(len(y)) - 1))
    return np.column_stack([1 - p, p])


def columns(*arrays):
    """A design of numbers."""
    X = np.column_stack(arrays)
    return design(X, np.zeros(X.shape[1], dtype=bool), [f"x{j}" for j in range(X.shape[1])])


# Calibration and shares ----------------------------------------------------------------------------------


def test_two_classes_are_calibrated_as_by_logistic_regression():
    rng = np.random.default_rng(0)
    y = (rng.random(500) < 0.3).astype(int)
    p = overconfident(rng, y)
    scaling = temperature(p, y)
    ratio = np.log(np.clip(p[:, 1], 1e-6, 1) / np.clip(p[:, 0], 1e-6, 1))
    reference = sm.Logit(y, sm.add_constant(ratio)).fit(disp=0)
    assert [scaling.bias[1], scaling.slope] == pytest.approx(reference.params, rel=1e-3, abs=1e-4)
    assert scaling.slope == pytest.approx(0.5, abs=0.1)  # twice as sure as it should be
    assert scaling(p).mean(0) == pytest.approx(np.bincount(y) / 500, abs=1e-3)


def test_a_redrawn_calibration_is_that_of_the_redrawn_rows():
    rng = np.random.default_rng(1)
    y = rng.integers(3, size=400)
    p = rng.dirichlet([1, 1, 1], 400) + 0.7 * np.eye(3)[y]
    p /= p.sum(1, keepdims=True)
    counts = rng.multinomial(400, np.full(400, 1 / 400))
    (again,) = temperature(p, y).redrawn(p, y, counts[None].astype(float))
    rows = np.repeat(np.arange(400), counts)
    whole = temperature(p[rows], y[rows])
    assert np.r_[again.slope, again.bias] == pytest.approx(np.r_[whole.slope, whole.bias], rel=0.03, abs=0.03)


def test_shares_in_closed_form():
    """A column of two values, seen in a share a of class 1 and b of class 0, and in a share r of the new rows."""
    a, b, r = 0.8, 0.3, 0.4
    old = np.array([0.5, 0.5])
    given = np.array([[1 - b, 1 - a], [b, a]])  # a row for each value
    probabilities = given / given.sum(1, keepdims=True)
    rows = probabilities[np.repeat([0, 1], [600, 400])]
    assert maximum_likelihood_shares(rows, old)[1] == pytest.approx((r - b) / (a - b), abs=1e-6)


@pytest.mark.parametrize("classes", [2, 3, 6])
def test_shares_are_those_of_plain_em(classes):
    rng = np.random.default_rng(classes)
    p = rng.dirichlet(np.ones(classes), 300)
    old, count = rng.dirichlet(np.full(classes, 5.0)), rng.integers(4, size=300)
    shares = old
    for _ in range(20_000):
        weighted = p * shares / old
        shares = count @ (weighted / weighted.sum(1, keepdims=True)) / count.sum()
    assert maximum_likelihood_shares(p, old, counts=count, tolerance=1e-9) == pytest.approx(shares, abs=1e-5)


def test_shares_are_those_of_quapy():
    pytest.importorskip("quapy", reason="the extra `peers` is not installed")
    from abstention.calibration import TempScaling
    from quapy.method.aggregative import EMQ

    rng = np.random.default_rng(3)
    y = rng.integers(2, size=800)
    p = overconfident(rng, y)
    new = overconfident(rng, (rng.random(800) < 0.2).astype(int))
    theirs = TempScaling(bias_positions="all")(p, np.eye(2)[y], posterior_supplied=True)
    scaling = temperature(p, y)
    assert scaling(new) == pytest.approx(theirs(new), abs=5e-3)
    old = scaling(p).mean(0)
    shares, _ = EMQ.EM(old, scaling(new), epsilon=1e-7)
    assert maximum_likelihood_shares(scaling(new), old) == pytest.approx(shares, abs=1e-3)


def test_probabilities_under_other_shares_are_those_of_bayes():
    assert adapted(np.array([[0.9, 0.1]]), np.array([0.5, 0.5]), np.array([0.1, 0.9]))[0, 0] == pytest.approx(
        0.5
    )


def test_intervals_of_shares_hold_them_and_calibration_is_needed():
    """Of 60 tables; probabilities that are too sure and not calibrated miss the shares by more."""
    held, calibrated, raw = [], [], []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        y = (rng.random(300) < 0.5).astype(int)
        new = (rng.random(300) < 0.15).astype(int)
        p, q = overconfident(rng, y, 10.0), overconfident(rng, new, 10.0)
        estimates = label_shares(p, y, q, rng=rng, draws=100)
        held.append(estimates.low[1] <= new.mean() <= estimates.high[1])
        calibrated.append(abs(estimates.share[1] - new.mean()))
        raw.append(abs(maximum_likelihood_shares(q, p.mean(0))[1] - new.mean()))
        assert estimates.probabilities.sum(1) == pytest.approx(1)
    assert 0.85 <= np.mean(held) <= 1
    assert np.mean(calibrated) < 0.6 * np.mean(raw)


def shifted(shifts, seed, rows=500, target="classes"):
    X, y = encoded([shifted_table(np.random.default_rng(seed), shifts, rows, target=target)])
    known = np.arange(len(y)) < rows
    return X, y, known


def test_shares_of_three_classes_and_what_the_columns_say():
    """A label shift is told and the columns agree; where the columns moved by themselves they do not."""
    near, stay, p_label, p_covariate = [], [], [], []
    for seed in range(4):
        X, y, known = shifted({"label": 1.0}, seed)
        shares = estimate_shares(y[known], X.take(known), X.take(~known), 3, np.random.default_rng(seed))
        true = np.bincount(y[~known].astype(int)) / 500
        near.append(np.abs(shares.share - true).sum())
        stay.append(np.abs(shares.before - true).sum())
        p_label.append(shares.p)
        X, y, known = shifted({"covariate": 1.0}, seed)
        p_covariate.append(
            estimate_shares(y[known], X.take(known), X.take(~known), 3, np.random.default_rng(seed)).p
        )
    assert np.mean(near) < 0.5 * np.mean(stay)
    assert np.mean(np.array(p_label) > 0.05) >= 0.75
    assert max(p_covariate) <= 0.05
    assert list(shares.to_frame().columns) == ["before", "share", "low", "high"]


@pytest.mark.parametrize(
    ("reference", "y", "current", "message"),
    [
        (np.full((20, 2), 0.5), np.zeros(19), np.full((5, 2), 0.5), "19 labels were given for 20 rows"),
        (np.full((20, 2), 0.5), np.zeros(20), np.full((5, 3), 1 / 3), "a column for each"),
        (np.full((20, 2), 0.5), np.zeros(20), np.full((5, 2), 0.9), "sum to 1.8"),
        (np.full((20, 2), 0.5), np.zeros(20), np.full((5, 2), np.nan), "not finite"),
        (np.full((20, 2), 0.5), np.zeros(20), np.full((5, 2), 0.5), "Class 1 has 0 labels"),
        (np.full((20, 2), 0.5), np.full(20, "a"), np.full((5, 2), 0.5), "class codes 0 … 1"),
    ],
)
def test_what_says_nothing_of_shares_is_refused(reference, y, current, message):
    with pytest.raises(InputError, match=message):
        label_shares(reference, y, current, rng=np.random.default_rng(0))


# Performance ---------------------------------------------------------------------------------------------


def test_the_estimate_is_the_loss_of_the_strata_weighted_by_the_new_rows():
    """With one column of two values nothing is left to model: the answer is post-stratification."""
    rng = np.random.default_rng(0)
    x = np.r_[rng.random(4000) < 0.3, rng.random(3000) < 0.6].astype(float)
    wrong = rng.random(7000) < np.where(x == 1, 0.4, 0.1)
    predicted = np.tile([0.7, 0.3], (7000, 1))
    X, a, b = columns(x), np.arange(4000), np.arange(4000, 7000)
    y = wrong.astype(int)
    performance = P.estimate_performance(y[a], predicted[a], predicted[b], X.take(a), X.take(b), 2, rng)
    of_stratum = [wrong[a][x[a] == k].mean() for k in (0, 1)]
    expected = (1 - x[b].mean()) * of_stratum[0] + x[b].mean() * of_stratum[1]
    assert performance["error"].estimate == pytest.approx(expected, abs=0.005)
    assert performance["error"].reference == pytest.approx(wrong[a].mean())
    assert performance["error"].low < wrong[b].mean() < performance["error"].high
    assert performance["error"].difference == pytest.approx(performance["error"].estimate - wrong[a].mean())
    assert performance["error"].weighted == pytest.approx(expected, abs=0.02)


def test_without_a_shift_the_estimate_is_the_reference():
    rng = np.random.default_rng(1)
    x = rng.standard_normal((3000, 2))
    y = x @ [1.0, -1.0] + rng.standard_normal(3000)
    X, a, b = columns(x), np.arange(1500), np.arange(1500, 3000)
    predicted = (x @ [0.8, -0.8])[:, None]
    performance = P.estimate_performance(y[a], predicted[a], predicted[b], X.take(a), X.take(b), 0, rng)
    for estimate in performance.estimates:
        assert estimate.estimate == pytest.approx(estimate.reference, rel=0.05)
        assert estimate.difference_low < 0 < estimate.difference_high
    assert [e.metric for e in performance.estimates] == ["squared error", "absolute error"]


def test_the_area_under_the_curve_and_its_influence():
    rng = np.random.default_rng(2)
    score, y = rng.integers(20, size=200) / 20, rng.integers(2, size=200)  # with ties
    value, influence = P._area(score, y.astype(float))
    assert value == pytest.approx(roc_auc_score(y, score))
    step, chances = 1e-6, y.astype(float)
    for row in (0, 7):  # a label that is a little more likely moves the area by its influence over the rows
        more = chances.copy()
        more[row] += step
        slope = (P._area(score, more)[0] - value) / step * len(y)
        assert slope == pytest.approx(np.diff(influence(score)[row])[0], rel=1e-3)


def coverage(shift, severity, target, seeds, least=250, most=350):
    """Share of metrics whose interval holds what the labels show, over tables of which something is told."""
    held = []
    for seed in range(seeds):
        rng = np.random.default_rng([seed, len(target)])
        sample = tables.sample(rng, severity, shift=shift, target=target, count=1, least=least, most=most)
        (rows,), (truth,) = sample.data, sample.truth
        performance = P.estimate_performance(
            rows.y, rows.predicted[0], rows.predicted[1], rows.X[0], rows.X[1], rows.classes, rng
        )
        if performance.can_tell:
            held += [e.low <= v <= e.high for e, v in zip(performance.estimates, truth.values, strict=True)]
    return np.mean(held)


@pytest.mark.parametrize("target", ["binary", "continuous"])
def test_intervals_hold_the_loss_under_covariate_shift_and_not_under_concept_shift(target):
    assert coverage("covariate", 1.0, target, 20) >= 0.85
    assert coverage("concept", 1.5, target, 8) <= 0.6


def test_tables_that_do_not_overlap_are_told_apart_and_named():
    rng = np.random.default_rng(4)
    n = 600
    after = np.repeat([False, True], n)
    x, price = rng.standard_normal(2 * n), rng.normal(10, 0.5, 2 * n) + 2.0 * after
    y, p = (rng.random(2 * n) < expit(x)).astype(int), expit(x)
    X = design(np.column_stack([x, price]), np.zeros(2, dtype=bool), ["visits", "price"])
    predicted = np.column_stack([1 - p, p])
    performance = P.estimate_performance(
        y[~after], predicted[~after], predicted[after], X.take(~after), X.take(after), 2, rng
    )
    assert not performance.can_tell
    assert performance.separating == ("price",)
    assert performance.outside > 0.5
    assert "price" in performance.reason
    assert "do not overlap" in str(performance)
    assert np.isnan(performance["log loss"].estimate)
    assert performance["log loss"].reference > 0
    assert performance.to_dict()["estimates"][0]["estimate"] is None
    without = design(x[:, None], np.zeros(1, dtype=bool), ["visits"])
    rest = P.estimate_performance(
        y[~after], predicted[~after], predicted[after], without.take(~after), without.take(after), 2, rng
    )
    assert rest.can_tell
    assert rest["log loss"].low < rest["log loss"].reference < rest["log loss"].high


def test_a_new_category_is_named():
    rng = np.random.default_rng(5)
    shop = np.r_[rng.integers(3, size=300), rng.integers(3, 5, size=300)].astype(float)
    X = design(np.column_stack([rng.standard_normal(600), shop]), np.array([False, True]), ["age", "shop"])
    domains_overlap = overlap(X.take(np.arange(300)), X.take(np.arange(300, 600)), rng)
    assert domains_overlap.separating == ("shop",)
    assert "shop" in domains_overlap.reason


def test_few_rows_and_rare_classes_are_said_not_guessed():
    rng = np.random.default_rng(6)
    X, predicted = columns(rng.standard_normal(260)), np.tile([0.9, 0.1], (260, 1))
    a, b = np.arange(200), np.arange(200, 260)
    ask = partial(P.estimate_performance, classes=2, rng=rng)
    rare = ask((np.arange(200) < 2).astype(int), predicted[a], predicted[b], X.take(a), X.take(b))
    assert not rare.can_tell
    assert "Class 1 has 2 labels" in rare.reason
    few = ask((np.arange(60) < 20).astype(int), predicted[b], predicted[a][:30], X.take(b), X.take(a[:30]))
    assert "too few" in few.reason


@pytest.fixture(scope="module")
def performance():
    rng = np.random.default_rng(7)
    x = np.r_[rng.standard_normal((400, 2)), rng.standard_normal((300, 2)) + 0.5]
    y = (rng.random(700) < expit(x[:, 0])).astype(int)
    X, a, b = columns(x), np.arange(400), np.arange(400, 700)
    predicted, new, learner = P.own_predictions(X.take(a), y[a], X.take(b), 2, rng)
    assert learner == "linear"
    return P.estimate_performance(y[a], predicted, new, X.take(a), X.take(b), 2, rng, confidence=0.9)


def test_the_result_says_what_it_rests_on(performance, tmp_path):
    assert "cannot be checked" in performance.assumption
    assert performance.assumption in str(performance)
    assert performance.to_dict()["assumption"] == performance.assumption
    assert list(performance.to_frame().index) == ["log loss", "error", "Brier score", "AUC"]
    assert json.loads(performance.save(tmp_path / "told.json").read_text())["confidence"] == 0.9
    with pytest.raises(InputError):
        performance.save(tmp_path / "told.json")
    assert len(performance.plot().get_yticklabels()) == 4
    assert "<table" in performance.report().html()
    with pytest.raises(InputError, match="there are log loss"):
        performance["accuracy"]


def test_numbers_have_a_model_of_their_own_too():
    rng = np.random.default_rng(8)
    x = rng.standard_normal((500, 2))
    y = np.sin(3 * x[:, 0]) * 3 + 0.1 * rng.standard_normal(500)
    X, a, b = columns(x), np.arange(300), np.arange(300, 500)
    held, new, learner = P.own_predictions(X.take(a), y[a], X.take(b), 0, rng)
    assert (held.shape, new.shape, learner) == ((300, 1), (200, 1), "boosting")
    assert np.mean((new[:, 0] - y[b]) ** 2) < 0.5 * y.var()


GOOD = {"y": np.tile([0, 1], 50), "p": np.full((100, 2), 0.5), "q": np.full((80, 2), 0.5), "classes": 2}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"p": np.full(100, 0.5)}, r"predicted_reference has shape \(100,\)"),
        ({"q": np.full((79, 2), 0.5)}, r"predicted_current has shape \(79, 2\); \(80, 2\)"),
        ({"q": np.full((80, 2), 0.6)}, "do not sum to 1"),
        ({"p": np.full((100, 2), np.nan)}, "missing or infinite"),
        ({"y": np.tile([1, 2], 50)}, "class codes 0 … 1"),
        ({"y": np.full(100, np.nan)}, "not missing"),
        ({"y": np.tile(["no", "yes"], 50)}, "y_reference holds something other than numbers"),
        ({"classes": 1}, "classes=1"),
        ({"confidence": 95}, "confidence=95"),
    ],
)
def test_what_says_nothing_of_performance_is_refused(change, message):
    rng = np.random.default_rng(0)
    X = columns(rng.standard_normal(180))
    given = GOOD | {"confidence": 0.95} | change
    with pytest.raises(InputError, match=message):
        P.estimate_performance(
            given["y"], given["p"], given["q"], X.take(np.arange(100)), X.take(np.arange(100, 180)),
            given["classes"], rng, given["confidence"],
        )  # fmt: skip


def test_a_table_without_columns_is_refused():
    rng, empty = np.random.default_rng(0), design(np.empty((180, 0)), np.empty(0, dtype=bool), [])
    a, b = empty.take(np.arange(100)), empty.take(np.arange(100, 180))
    with pytest.raises(InputError, match="no column"):
        P.estimate_performance(GOOD["y"], GOOD["p"], GOOD["q"], a, b, 2, rng)
    with pytest.raises(InputError, match="the same columns"):
        estimate_shares(GOOD["y"], a, b, 2, rng)


def test_tables_made_ready_apart_are_refused():
    rng = np.random.default_rng(0)
    with pytest.raises(InputError, match="one call of design"):
        P.estimate_performance(
            GOOD["y"], GOOD["p"], GOOD["q"], columns(rng.standard_normal((100, 2))),
            columns(rng.standard_normal((80, 3))), 2, rng,
        )  # fmt: skip


@pytest.mark.parametrize("classes", [0, 2])
def test_a_model_that_is_always_right(classes):
    """No loss can be told from none, and nothing overflows."""
    rng = np.random.default_rng(9)
    X, a, b = columns(rng.standard_normal(300)), np.arange(200), np.arange(200, 300)
    y = rng.integers(2, size=300).astype(float)
    predicted = np.eye(2)[y.astype(int)] if classes else y[:, None]
    performance = P.estimate_performance(y[a], predicted[a], predicted[b], X.take(a), X.take(b), classes, rng)
    for estimate in performance.estimates:
        best = 1.0 if estimate.metric == "AUC" else 0.0
        assert estimate.low - 1e-6 <= best <= estimate.high + 1e-6
        assert estimate.high - estimate.low < 0.1


def test_an_audit_of_a_table_without_labels_still_tells_shares():
    from groundshift.workflows.audit import audit

    frame = shifted_table(np.random.default_rng(0), {"label": 1.0}, 400, domains=3).frame
    truth = frame.groupby("domain")["y"].mean()
    frame["y"] = frame["y"].astype(float).where(frame["domain"] == "d1")
    result = audit(frame, domain="domain", target="y", null_runs=0, remedies=False)["structure"]
    shares = next(t for name, t in result.tables.items() if "not in yet" in name)
    ones = shares[pd.to_numeric(shares["class"]) == 1].set_index("domain")
    assert list(ones.index) == ["d2", "d3"]
    assert ((ones["low"] - 0.05 < truth[ones.index]) & (truth[ones.index] < ones["high"] + 0.05)).all()
