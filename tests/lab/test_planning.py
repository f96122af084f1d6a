"""Whether a control can pass and can fail, and what replicates that are outcomes can show, before anything is run."""

import json
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import tests.lab.dummy as dummy
from groundshift.errors import InputError
from groundshift.lab import open_run, planning, publish
from groundshift.lab.claims import Claim, Control, control_evidence, judge_all
from groundshift.lab.cli import app
from groundshift.lab.driver import run
from groundshift.lab.planning import plan, simulate_control
from groundshift.measures.intervals import mean_intervals
from groundshift.measures.rates import detectable_rate

REF = "tests.lab.dummy:study"


def call(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    run(REF, store=folder, engine="local:2", progress="none")
    return folder


def claim(**changes):
    control = changes.pop("control", None) or Control("c", "mean(x|b)", high=0.2)
    return Claim(
        **{"id": "1", "text": "t", "estimand": "mean(x|a)", "margin": 0.5, "control": control, **changes}
    )


def spread(mean, sd, n=10):
    """Values of exactly this mean and standard deviation."""
    x = np.arange(n) - (n - 1) / 2
    return mean + sd * x / x.std(ddof=1)


def simulated(values, control_values, n=10, **changes):
    return simulate_control(
        claim(**changes), np.asarray(values, float), np.asarray(control_values, float), n, 1
    )


def test_a_control_that_is_far_from_its_bound_passes_and_fails_as_it_should():
    power = simulated(spread(0.9, 0.05), spread(0.05, 0.05))
    assert power.right > 0.98
    assert power.wrong == 0.0
    assert power.warnings == ()


@pytest.mark.parametrize("rule", ["mean", "every", "interval"])
def test_the_pass_rate_is_that_of_the_rule(rule):
    """Of normal replicates the rates are known in closed form, or from as many intervals drawn here."""
    from scipy import stats

    control = Control("c", "mean(x|b)", high=0.2, rule=rule)
    power = simulated(spread(0.9, 0.05), spread(0.15, 0.05), control=control)
    if rule == "mean":
        expected = stats.norm.cdf((0.2 - 0.15) / (0.05 / math.sqrt(10)))
    elif rule == "every":
        expected = stats.norm.cdf(1) ** 10
    else:
        runs = np.random.default_rng(5).normal(0.15, 0.05, (20_000, 10))
        expected = float(np.mean(mean_intervals(runs)[1] <= 0.2))
    assert power.right == pytest.approx(expected, abs=3 * math.sqrt(expected * (1 - expected) / 4000) + 1e-9)
    assert any("runs like the pilot" in text for text in power.warnings) == (expected < 0.95)


@pytest.mark.parametrize("rule", ["mean", "every", "interval"])
@pytest.mark.parametrize("estimand", ["mean(x|b)", "mean(x|b) - mean(x|a)"])
@pytest.mark.parametrize("low", [-math.inf, 0.1])
def test_thousands_of_runs_at_once_are_judged_as_each_alone(rule, estimand, low):
    rng = np.random.default_rng(4)
    control = Control("c", estimand, low=low, high=0.6, rule=rule)
    for runs in (rng.normal(0.4, 0.3, (150, 8)), rng.binomial(1, 0.2, (150, 8)) * 1.0, np.zeros((3, 8))):
        if estimand != "mean(x|b)":  # of a difference no row without any spread is drawn, unless all are
            runs = runs[np.ptp(runs, axis=1) > 0] if np.ptp(runs) else runs
        alone = np.mean([control_evidence(control, x).ok for x in runs])
        assert planning._pass_rate(control, runs) == pytest.approx(alone)


def test_a_control_that_cannot_fail_is_exposed():
    power = simulated(spread(0.9, 0.05), spread(0.05, 0.05), control=Control("c", "mean(x|b)", high=2.0))
    assert (power.right, power.wrong) == (1.0, 1.0)
    assert (
        "passes in 100 % of runs where it shows what the claim shows, so that it can hardly"
        in power.warnings[0]
    )


def test_a_control_of_another_form_is_named_as_such():
    gain = {"estimand": "mean(x|a) - mean(x|c)", "control": Control("c", "mean(x|b)", high=0.2)}
    power = simulated(spread(0.03, 0.01), spread(0.05, 0.05), **gain)
    assert power.wrong == 1.0
    assert "compares mean(x) with the claim's mean(x) - mean(x)" in power.warnings[0]


def test_a_control_that_failed_in_the_pilot_is_told_from_one_that_is_too_wide():
    (failed,) = simulated(spread(0.9, 0.01), spread(0.5, 0.05)).warnings
    assert "the control itself failed there" in failed


def test_an_interval_in_a_narrow_band_fails_by_its_width():
    control = Control("c", "mean(x|b)", low=-0.02, high=0.02)
    power = simulated(spread(0.9, 0.05), spread(0.0, 0.05, 5), n=5, control=control)
    assert power.right < 0.2
    wide = simulated(spread(0.9, 0.05), spread(0.0, 0.05, 5), n=100, control=control)
    assert wide.right > 0.9


def test_zeros_and_ones_are_drawn_as_such_and_take_the_exact_interval():
    few = simulated([1, 1, 1, 1, 1], [0, 0, 0, 0, 0], n=5)
    assert (few.right, few.wrong) == (0.0, 0.0)  # none of five: at most .52
    many = simulated([1, 1, 1, 1, 1], [0, 0, 0, 0, 0], n=40)
    assert (many.right, many.wrong) == (1.0, 0.0)
    some = simulated(
        [1] * 10, [0] * 18 + [1] * 2, n=40, control=Control("c", "mean(x|b)", high=0.15, rule="mean")
    )
    from scipy.stats import binom

    assert some.right == pytest.approx(binom.cdf(6, 40, 0.1), abs=0.02)


def test_what_the_control_of_a_rate_does_is_drawn_from_its_trials():
    shares = np.repeat([0.0, 0.1], 10)
    alarmed = Control("sees a planted shift", "mean(x|b)", low=0.8)
    power = simulated(
        shares, [1.0] * 20, n=20, control=alarmed, kind="rate", margin=0.05, slack=0.05, trials=10
    )
    assert (power.right, power.wrong) == (1.0, 0.0)


def test_a_control_that_never_varied_is_said():
    power = simulated(spread(0.9, 0.1), [0.15] * 5, control=Control("c", "mean(x|b)", high=0.2))
    assert any("in every replicate of the pilot" in text for text in power.warnings)


@pytest.mark.parametrize(
    ("estimand", "fault"),
    [
        ("mean(level|shuffled)", "measures level and none of what the claim measures"),
        ("mean(closeness|careful)", "the claim's own estimand"),
        ("mean(closeness|careless)", "scores careless, no version of careful"),
        ("mean(closeness|shuffled)", None),
        ("mean(closeness|careful, severity=2.0)", None),
    ],
)
def test_a_control_that_says_nothing_of_its_claim_is_refused(tmp_path, monkeypatch, estimand, fault):
    claim = Claim("1", "t", "mean(closeness|careful)", -0.2, Control("c", estimand, high=-1.0))
    monkeypatch.setattr(dummy, "study", replace(dummy.study, claims=(claim,)))
    if fault is None:
        assert plan(REF, store=tmp_path, results=tmp_path).cells == 60
    else:
        with pytest.raises(InputError, match=fault):
            plan(REF, store=tmp_path, results=tmp_path)


def test_without_the_claims_measure_nothing_is_said_of_the_wrong_case():
    power = simulated(spread(0.9, 0.1), spread(0, 0.01), control=Control("c", "mean(y|b)", high=0.2))
    assert power.wrong is None
    assert power.right > 0.99


def test_a_simulation_is_the_same_each_time():
    once = simulated(spread(0.9, 0.05), spread(0.15, 0.05))
    assert once == simulated(spread(0.9, 0.05), spread(0.15, 0.05))


# The whole plan -----------------------------------------------------------------------------------------


def test_the_plan_names_its_pilot_and_has_both_rates(store, tmp_path):
    planned = plan(REF, store=store)
    assert planned.pilot == "the run at scale cpu in the store (60 cells)"
    assert set(planned.controls) == {"1"}
    power = planned.controls["1"]
    assert (power.right, power.wrong, power.replicates, power.pilot) == (1.0, 0.0, 5, 5)
    empty = plan(REF, store=tmp_path, results=tmp_path)
    assert (empty.pilot, empty.controls) == ("", {})


def test_published_results_are_a_pilot_too(store, tmp_path):
    publish(open_run(REF, store=store), tmp_path / "results")
    planned = plan(REF, store=tmp_path / "runs", results=tmp_path / "results")
    assert planned.pilot == "the published results at scale cpu (60 cells)"
    assert planned.controls == plan(REF, store=store).controls
    assert planned.detectable == plan(REF, store=store).detectable
    run(REF, scale="quick", store=tmp_path / "runs", engine="local:2", progress="none")
    assert "published" in plan(REF, store=tmp_path / "runs", results=tmp_path / "results").pilot
    quick = plan(REF, store=tmp_path / "runs", results=tmp_path / "none")
    assert quick.pilot == "the run at scale quick in the store (24 cells)"
    assert (quick.controls["1"].pilot, quick.controls["1"].replicates) == (2, 5)


def test_a_pilot_of_fewer_seeds_than_are_planned_serves(store, tmp_path, monkeypatch):
    publish(open_run(REF, store=store), tmp_path / "results")
    scales = {**dummy.study.scales, "cpu": dummy.Settings(seeds=12)}
    monkeypatch.setattr(dummy, "study", replace(dummy.study, scales=scales))
    planned = plan(REF, store=tmp_path / "runs", results=tmp_path / "results")
    assert planned.pilot == "the published results at scale cpu (60 cells)"
    assert (planned.controls["1"].replicates, planned.controls["1"].pilot) == (12, 5)


def test_results_of_another_version_are_no_pilot(store, tmp_path, monkeypatch):
    publish(open_run(REF, store=store), tmp_path / "results")
    monkeypatch.setattr(dummy, "study", replace(dummy.study, version=2))
    assert plan(REF, store=tmp_path / "runs", results=tmp_path / "results").pilot == ""


def test_the_command_prints_the_rates_and_warns_in_words(store, tmp_path, monkeypatch):
    loose = replace(
        dummy.study.claims[0], control=Control("anything goes", "mean(closeness|shuffled)", high=50.0)
    )
    monkeypatch.setattr(dummy, "study", replace(dummy.study, claims=(loose, *dummy.study.claims[1:])))
    out = " ".join(call("plan", REF, "--store", store).stdout.split())
    for text in (
        "passes when right", "passes when wrong", "100 %", "the run at scale cpu in the store (60 cells)",
        "dummy 1: the control passes in 100 % of runs where it shows what the claim shows", "detectable beyond margin",
    ):  # fmt: skip
        assert text in out, text
    (data,) = json.loads(call("plan", REF, "--store", store, "--json").stdout)
    assert data["controls"]["1"]["wrong"] == 1.0
    assert data["pilot"]


def test_what_outcomes_can_show_is_planned_with_exact_tests(store, tmp_path, monkeypatch):
    """Five replicates that are all 1 have no spread, and still cannot show a share above .8."""
    seen = Claim("1", "t", "1 - min(far|careful)", 0.8, None)
    false = Claim("2", "t", "max(far|careful)", 0.05, None, kind="rate", slack=0.05, n=3)
    far = replace(dummy.closeness, name="far", gives=("far",), score=lambda output, sample: 0.0)
    grids = lambda s: [replace(g, measures=("far",)) for g in dummy.grids(s)]  # noqa: E731
    study = replace(dummy.study, claims=(seen, false), measures=(far,), grids=grids)
    monkeypatch.setattr(dummy, "study", study)
    this = open_run(REF, store=tmp_path)
    for cell in this.cells:
        same = ("key", "world", "severity", "world_params", "method", "method_params", "seed")
        record = {name: getattr(cell, name) for name in same}
        record |= {
            "study": "dummy",
            "version": 1,
            "scale": "cpu",
            "role": "method",
            "timings": {"wall_s": 1.0},
        }
        this.store.write({**record, "values": {"far": 0.0}}, {})
    planned = plan(REF, store=tmp_path)
    assert planned.detectable["1"] == (0.0, math.inf)
    assert planned.detectable["2"][1] == math.inf  # none of five shows no rate below .1
    assert set(planned.too_small) == {"1", "2"}
    many = plan(REF, store=tmp_path, overrides={"seeds": 200})
    assert many.detectable["1"][1] == pytest.approx(detectable_rate(200, 0.8, ">", 0.025))
    assert many.detectable["2"][1] == pytest.approx(detectable_rate(200, 0.1, "<"))
    assert many.too_small == ()
    few = {
        seeds: plan(REF, store=tmp_path, overrides={"seeds": seeds}).detectable["1"][1] for seeds in (16, 17)
    }
    assert (few[16], few[17] < 0.2) == (math.inf, True)
    for seeds, word in ((16, "inconclusive"), (17, "shown")):  # and so it is judged
        rows = {"seed": range(seeds), "method": "careful", "measure": "far", "value": 0.0, "severity": 0.0}
        assert judge_all([seen], pd.DataFrame(rows))[0].word == word
