"""Intervals of graded answers: coverage, groups, paired comparisons, judges."""

import numpy as np
import pandas as pd
import pytest

from groundshift.errors import InputError
from groundshift.measures.answers import calibrate, clustered_interval, paired, summarise


def test_the_clustered_interval_covers_the_mean_of_grouped_answers_and_the_naive_one_does_not():
    rng = np.random.default_rng(0)
    covered, naive = 0, 0
    for _ in range(400):
        p = rng.beta(2, 2, size=60)
        groups = np.repeat(np.arange(60), rng.integers(3, 12, size=60))
        answers = rng.random(len(groups)) < p[groups]
        low, high = clustered_interval(answers, groups)
        covered += low <= 0.5 <= high
        low, high = clustered_interval(answers)
        naive += low <= 0.5 <= high
    assert 0.93 <= covered / 400 <= 0.97
    assert naive / 400 < 0.85


def records(seed, shift=0.0, n=300):
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"id": [f"q{i}" for i in range(n)], "group": [f"g{i // 3}" for i in range(n)]})
    frame["domain"] = np.where(np.arange(n) < n // 2, "a", "b")
    frame["correct"] = (rng.random(n) < 0.5 + shift * (frame["domain"] == "b")).astype(float)
    frame["parsed"] = (rng.random(n) < 0.9).astype(float)
    frame["chance"], frame["target"] = 0.25, rng.choice(["x", "y"], n, p=[0.7, 0.3])
    return frame


def test_a_table_counts_items_groups_the_unparsed_chance_and_majority():
    whole = summarise(records(0)).iloc[0]
    assert (whole["n"], whole["groups"], whole["chance"]) == (300, 100, 0.25)
    assert whole["low"] < whole["mean"] < whole["high"]
    assert whole["unparsed"] == pytest.approx(0.1, abs=0.05)
    assert whole["majority"] == pytest.approx(0.7, abs=0.07)
    split = summarise(records(0), "domain")
    assert split["n"].tolist() == [150, 150]
    few = summarise(records(0).head(5))
    assert np.isnan(few["mean"][0])
    with pytest.raises(InputError, match="no \\['level'\\]"):
        summarise(records(0), "level")


def test_paired_differences_find_the_stratum_that_moved():
    before = records(1)
    after = before.copy()
    rng = np.random.default_rng(2)
    worse = (after["domain"] == "b") & (rng.random(len(after)) < 0.5)
    after.loc[worse, "correct"] = 0.0
    table = paired(before, after.sample(frac=1, random_state=0), "domain").set_index("domain")
    assert table.loc["a", "difference"] == 0
    assert table.loc["a", "p_holm"] == 1
    assert table.loc["b", "high"] < 0
    assert table.loc["b", "p_holm"] < 0.01
    assert (table["p_holm"] >= table["p"]).all()


def test_paired_refuses_what_cannot_be_paired():
    with pytest.raises(InputError, match="no item in common"):
        paired(records(0), records(0).assign(id="other" + records(0)["id"]))
    with pytest.raises(InputError, match="more than one record"):
        paired(pd.concat([records(0), records(0)]), records(0))


def test_a_wavering_judge_does_not_resolve_a_small_margin():
    rng = np.random.default_rng(0)
    truth = np.arange(100) % 2 == 0
    steady = calibrate(lambda i: bool(truth[i]), range(100), truth)
    wavering = calibrate(lambda i: bool(truth[i] ^ (rng.random() < 0.3)), range(100), truth, repeats=5)
    assert (steady.agreement, steady.kappa, steady.retest) == (1, 1, 0)
    assert steady.resolves(0.01)
    assert 0.55 < wavering.agreement < 0.85
    assert not wavering.resolves(0.01)
    assert wavering.resolves(0.5)
    assert wavering.confusion.to_numpy().sum() == 100
