"""Verdicts that were wrong on tables that nobody here made: one test for each kind of fault."""

import json
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from groundshift.errors import InputError
from groundshift.workflows.audit import audit
from groundshift.worlds.shifted_tables import shifted_table

FAST = {"null_runs": 0, "remedies": False}


def cascade(rng, rows, weights=(0.9, -0.6), noise=1.0, product=0.0):
    """a → b → c → y and a → d → y."""
    a, e = rng.normal(size=rows), rng.normal(size=(3, rows))
    b = 0.8 * a + 0.6 * e[0]
    c, d = 0.8 * b + 0.6 * e[1], 0.7 * a + 0.7 * e[2]
    y = weights[0] * c + weights[1] * d + product * c * d + noise * rng.normal(size=rows)
    return pd.DataFrame({"a": a, "b": b, "c": c, "d": d, "y": y})


def changed(seed, classes=0, **change):
    rng = np.random.default_rng(seed)
    frame = pd.concat(
        [cascade(rng, 1000).assign(when="1"), cascade(rng, 1000, **change).assign(when="2")],
        ignore_index=True,
    )
    if classes:
        frame["y"] = pd.qcut(frame["y"], classes, labels=False).map(lambda k: f"level {k}")
    return frame


@pytest.mark.parametrize(
    ("change", "classes"),
    [
        ({"weights": (0.1, -0.6)}, 0), ({"weights": (-0.9, -0.6)}, 0), ({"noise": 1.6}, 0), ({"product": 0.5}, 0),
        ({"weights": (0.1, -0.6)}, 7), ({"weights": (-0.9, -0.6)}, 7), ({"weights": (0.1, -0.6)}, 2),
    ],
)  # fmt: skip
def test_a_changed_slope_sign_spread_or_product_is_a_concept_shift(change, classes):
    for seed in (0, 1):
        result = audit(changed(seed, classes, **change), domain="when", target="y", **FAST)
        assert result.found[0] == "concept"
        assert "label" not in result.found


def test_a_column_that_separates_the_domains_hides_no_concept_shift(tmp_path):
    rng = np.random.default_rng(0)
    frame = shifted_table(rng, {"concept": 0.6}, rows=1500).frame
    alone = audit(frame, domain="domain", target="y", **FAST)
    assert alone.kind("concept").found
    frame["price"] = rng.normal(np.where(frame["domain"] == "d1", 10, 12), 0.5)
    result = audit(frame, domain="domain", target="y", null_runs=0)
    kind = result.kind("concept")
    assert kind.found is None
    assert kind.status == "cannot tell"
    assert kind.sentence.startswith("With price in the table the domains do not overlap")
    assert "Without it the relation of the other columns to y changed" in kind.sentence
    assert kind.sentence in " ".join(result.untold)
    assert "overlap too little to say" in " ".join(result["kind"].notes)
    same = shifted_table(np.random.default_rng(1), {}, rows=1500).frame
    same["price"] = rng.normal(np.where(same["domain"] == "d1", 10, 12), 0.5)
    quiet = audit(same, domain="domain", target="y", **FAST).kind("concept")
    assert quiet.found is None
    assert "the other columns say the same" in quiet.sentence

    from groundshift.commands.audit import app

    frame.groupby("domain").head(400).to_csv(tmp_path / "t.csv", index=False)
    options = "--domain domain --target y --null-runs 0 --no-remedies --quiet"
    base = [str(tmp_path / "t.csv"), *options.split()]
    codes = {}
    for mode in ("fail", "warn", "ignore"):
        done = CliRunner().invoke(app, [*base, "--fail-on", "concept:0.05", "--on-unknown", mode])
        codes[mode] = (done.exit_code, "cannot tell" in done.output)
    assert codes == {"fail": (3, True), "warn": (0, True), "ignore": (0, False)}
    assert CliRunner().invoke(app, [*base, "--fail-on", "concept", "--fail-on", "covariate"]).exit_code == 1


def test_columns_that_hardly_vary_carry_no_correlation():
    for seed in range(4):
        rng = np.random.default_rng(seed)
        frame = pd.DataFrame(rng.normal(size=(4000, 3)), columns=list("abc")).assign(
            half=np.repeat([0, 1], 2000)
        )
        frame["once"] = 0.0
        frame.loc[17, "once"] = 3.0
        frame["border"] = np.where(
            rng.random(4000) < np.where(frame["half"] == 0, 0.002, 0.004), rng.random(4000), 0
        )
        frame["mostly"] = np.where(
            rng.random(4000) < np.where(frame["half"] == 0, 0.05, 0.12), -frame["a"].abs(), 0.0
        )
        result = audit(frame, domain="half", **FAST)
        assert "correlation" not in result.found
        named = {name for pair in result.kind("correlation").where for name in pair.split(" – ")}
        assert not named & {"once", "border"}


def test_no_small_p_value_stands_beside_not_found():
    for planted in ({"label": 1.0}, {"covariate": 1.0}, {"concept": 1.0}, {"mechanism": 1.0}, {}):
        frame = shifted_table(np.random.default_rng(3), planted, rows=1000).frame
        result = audit(frame, domain="domain", target="y", **FAST)
        for kind in result.kinds:
            if kind.status == "not found":
                assert not kind.p <= 0.05, kind
            if kind.status.startswith("not separately"):
                assert set(kind.explained_by.split(" and ")) <= set(result.found)
                assert kind.p <= 0.05


def test_a_label_shift_whose_labels_are_not_in_yet_is_named():
    """Two tables, the second without its target: the new shares with an interval, and what mends it."""
    named = Counter()
    inside = 0
    for seed in range(4):
        frame = shifted_table(np.random.default_rng(seed), {"label": 1.0}, rows=1200).frame.rename(
            columns={"y": "late"}
        )
        june, july = (part.drop(columns="domain") for _, part in frame.groupby("domain"))
        result = audit(
            reference=june, current=july.drop(columns="late"), target="late", null_runs=0, random_state=seed
        )
        named[result.found] += 1
        kind = result.kind("label")
        if kind.found:
            truth = abs(july["late"].mean() - june["late"].mean())
            inside += kind.low - 0.02 <= truth <= kind.high + 0.02
            assert "labels are not in yet" in kind.sentence
            assert "label-shift correction" in result["remedies"].answer.lower()
    assert named[("label",)] >= 3
    assert inside >= 3


def test_rare_classes_are_counted_on_every_row():
    rng = np.random.default_rng(0)
    n = 40_000
    frame = pd.DataFrame({"x": rng.normal(size=2 * n), "half": np.repeat(["a", "b"], n)})
    frame["fraud"] = rng.random(2 * n) < np.where(frame["half"] == "a", 0.0005, 0.0016)
    result = audit(frame, domain="half", target="fraud", max_rows=2000, **FAST)
    assert result.kind("label").p < 0.01
    shares = result["structure"].tables["fraud by domain"].set_index("class")
    assert shares.loc["True", "b"] == frame.loc[n:, "fraud"].mean()


def test_a_timeline_says_when_it_began(tmp_path):
    rng = np.random.default_rng(0)
    parts = []
    for month in range(1, 7):
        part = shifted_table(rng, {"concept": 1.0} if month >= 5 else {}, rows=500).frame
        part = part[part["domain"] == "d2"].drop(columns="domain")
        parts.append(part.assign(day=pd.date_range(f"2024-{month:02d}-01", periods=500, freq="80min")))
    frame = pd.concat(parts, ignore_index=True)
    result = audit(frame, time="day", window="month", target="y", alert=0.03, **FAST)
    assert result["timeline"].answer.endswith("concept since 2024-05-01 to 2024-05-31.")
    result.save(tmp_path / "out")
    read = json.loads((tmp_path / "out" / "audit.json").read_text())["sections"]["timeline"]["data"]
    assert read["first"] == {"concept": "2024-05-01 to 2024-05-31"}
    assert read["alert"] == 0.03
    assert len(read["series"]) == 5 * 6
    assert result.plot().get_title() == ""
    assert len(result.to_frame()) == 6
    with pytest.raises(InputError, match="alert is 2"):
        audit(frame, time="day", window="month", alert=2.0, **FAST)


def test_windows_show_their_ends_and_a_stub_joins_its_neighbour():
    rng = np.random.default_rng(0)
    days = pd.date_range("2024-01-01", "2024-04-03")
    frame = pd.DataFrame({"day": np.repeat(days, 8), "x": rng.normal(size=8 * len(days))})
    result = audit(frame, time="day", window="month", **FAST)
    assert result.settings["domains"] == [
        "2024-01-01 to 2024-01-31", "2024-02-01 to 2024-02-29", "2024-03-01 to 2024-04-03"
    ]  # fmt: skip
    assert "joined to its neighbour" in " ".join(result["ingest"].notes)
    partial = audit(frame.iloc[: 8 * 82], time="day", window="month", **FAST)
    assert partial.settings["domains"][-1] == "2024-03-01 to 2024-03-22 (partial)"


def test_the_same_person_in_both_domains_is_warned_of():
    rng = np.random.default_rng(0)
    person = np.tile(np.arange(300), 4)
    level = rng.normal(size=300)[person]
    frame = pd.DataFrame(
        {"person_id": person, "x": level + 0.1 * rng.normal(size=1200), "wave": np.repeat([1, 2], 600)}
    )
    notes = " ".join(audit(frame, domain="wave", **FAST)["ingest"].notes)
    assert "300 of 300 different person_id have rows in more than one domain" in notes
    assert "as little as 300 independent ones" in notes


def test_a_category_of_one_domain_only_has_a_sentence():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {"plan": rng.choice(["basic", "pro"], 800), "x": rng.normal(size=800), "q": np.repeat([1, 2], 400)}
    )
    frame.loc[frame.index[400:480], "plan"] = "gold"
    assert "gold of plan occurs in 2 only (20.0% of its rows)" in " ".join(
        audit(frame, domain="q", **FAST)["moved"].notes
    )


@pytest.mark.parametrize(
    ("copy", "note"),
    [
        (lambda a, b: 1.8 * a + 32, "in other units"),
        (lambda a, b: a.copy(), "in other units"),
        (lambda a, b: -a / 60, "in other units"),
        (lambda a, b: a + b, "function"),
    ],
)
def test_a_column_that_repeats_others_stops_no_audit(copy, note):
    """The same temperature in two units, or a sum beside its parts: the mechanism that changed is still looked for."""
    rng = np.random.default_rng(0)
    parts = []
    for when, slope, level in (("may", 0.9, 0.0), ("june", -0.2, 1.0)):
        a = rng.normal(size=600)
        b = level + slope * a + 0.5 * rng.normal(size=600)
        parts.append(
            pd.DataFrame({"a": a, "b": b, "again": copy(a, b), "c": rng.normal(size=600), "when": when})
        )
    result = audit(pd.concat(parts, ignore_index=True), domain="when", reference="may", null_runs=0)
    assert result.found
    assert any(note in text for text in result["structure"].notes), result["structure"].notes
