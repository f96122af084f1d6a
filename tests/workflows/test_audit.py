"""The audit names what was planted, says what it cannot know, and refuses what it cannot read."""

import json

import numpy as np
import pandas as pd
import pytest

from groundshift.errors import InputError
from groundshift.workflows.audit import KINDS, audit
from groundshift.worlds.shifted_tables import shifted_table

FAST = {"null_runs": 0, "remedies": False}


def table(shifts, seed=0, rows=1500, **options):
    return shifted_table(np.random.default_rng(seed), shifts, rows=rows, **options).frame


@pytest.mark.parametrize(
    ("planted", "kind"),
    [
        ({}, None),
        ({"concept": 1.0}, "concept"),
        ({"label": 1.0}, "label"),
        ({"correlation": 1.0}, "correlation"),
        ({"covariate": 1.0}, "covariate"),
        ({"mechanism": 1.0}, "mechanism"),
        ({"missingness": 1.0}, "missingness"),
    ],
)
def test_each_kind_is_named(planted, kind):
    result = audit(table(planted), domain="domain", target="y", **FAST).found
    assert result[:1] == ((kind,) if kind else ())


def test_where_it_shows():
    mechanism = audit(table({"mechanism": 1.0}), domain="domain", target="y", **FAST).kind("mechanism")
    assert mechanism.where == ("spend",)
    correlation = audit(table({"correlation": 1.0}), domain="domain", target="y", **FAST).kind("correlation")
    assert set(correlation.where[0].split(" – ")) == {"usage", "tickets"}
    assert correlation.low < 0.35 < correlation.high  # it falls from 0.7 to 0


@pytest.fixture(scope="module")
def concept():
    return audit(table({"concept": 1.0}), domain="domain", target="y", reference="d1", null_runs=2)


def test_labels_of_the_new_domain_mend_a_concept_shift_and_weights_do_not(concept):
    assert concept.recommended == "labels from the new domain"
    tried = concept["remedies"].tables["Remedies tried"].set_index("remedy")
    assert not tried.loc["importance weights", "better"]
    assert tried.loc["labels from the new domain", "high"] < 0


def test_the_loss_goes_with_the_relation_not_with_the_columns(concept):
    loss = next(t for c, t in concept["kind"].tables.items() if "loses" in c).iloc[0]
    assert loss["relation low"] > 0
    assert abs(loss["by columns"]) < 0.2 * loss["by relation"]
    assert loss["before"] + loss["by columns"] + loss["by relation"] == pytest.approx(loss["after"])


def test_label_shift_correction_is_recommended_for_a_label_shift():
    result = audit(table({"label": 1.5}, rows=3000), domain="domain", target="y", null_runs=0)
    tried = result["remedies"].tables["Remedies tried"].set_index("remedy")
    assert tried.loc["label-shift correction", "better"]


def test_weights_are_written_where_they_beat_doing_nothing():
    """Two regimes of which the current rows have one: a model of both spends its rounds on the other."""
    rng = np.random.default_rng(0)
    x = np.r_[rng.normal(0, 1, 600), rng.normal(1.2, 0.4, 600)]
    frame = pd.DataFrame(rng.normal(size=(1200, 6)), columns=[f"z{j}" for j in range(6)])
    other = -3 * np.sin(6 * x) * frame["z0"]
    frame["y"] = np.where(x > 0.6, 2 * np.sin(6 * x), other) + 0.3 * rng.normal(size=1200)
    frame = frame.assign(x=x, when=np.repeat(["a", "b"], 600))
    result = audit(frame, domain="when", target="y", reference="a", null_runs=0)
    assert result["remedies"].tables["Remedies tried"].set_index("remedy").loc["importance weights", "better"]
    assert result.weights[:600].mean() == pytest.approx(1)
    assert result.weights[600:].isna().all()


def test_the_json_is_whole(concept, tmp_path):
    page = concept.save(tmp_path / "out")
    assert page.stat().st_size > 10_000
    read = json.loads((tmp_path / "out" / "audit.json").read_text())
    assert read["schema"] == 1
    assert [k["name"] for k in read["kinds"]] == list(KINDS)
    assert read["sections"]["power"]["data"]["null"]["runs"] == 2
    assert not (tmp_path / "out" / "weights.csv").exists()  # they do not help against a concept shift
    with pytest.raises(InputError, match="kept"):
        concept.save(tmp_path / "out")


def test_same_seed_same_audit():
    frame = table({"concept": 1.0}, rows=300)
    first, again = (audit(frame, domain="domain", target="y", **FAST) for _ in range(2))
    assert first.to_dict() == again.to_dict()


def test_limits():
    frame = table({"concept": 1.0})
    result = audit(frame, domain="domain", target="y", **FAST)
    assert result.fails(["concept"])
    assert result.fails(["any:0.01"])
    assert not result.fails(["concept:0.99"])
    assert not result.fails(["label"])
    with pytest.raises(InputError, match="kinds are"):
        result.fails(["drift"])


# Shapes of the user's data -------------------------------------------------------------------------------


def test_two_files_time_windows_and_embeddings(tmp_path):
    frame = table({"covariate": 1.0}, rows=300)
    before, after = (frame[frame["domain"] == d].drop(columns="domain") for d in ("d1", "d2"))
    before.to_csv(tmp_path / "before.csv", index=False)
    after.assign(new=1).to_parquet(tmp_path / "after.parquet")
    files = audit(reference=tmp_path / "before.csv", current=tmp_path / "after.parquet", target="y", **FAST)
    assert files.settings["reference"] == "reference"
    assert files.found == ("covariate",)
    assert "new" in " ".join(files["ingest"].notes)
    dated = frame.drop(columns="domain").assign(day=pd.date_range("2024-01-01", periods=600, freq="6h"))
    windows = audit(dated, time="day", window="54d", target="y", **FAST)
    assert windows.settings["domains"][0] == "2024-01-01 to 2024-02-23"
    assert len(windows.settings["domains"]) == 3
    ends = windows["ingest"].data["windows"]
    assert [w["start"] for w in ends] == ["2024-01-01", "2024-02-24", "2024-04-18"]
    rng = np.random.default_rng(0)
    X = rng.standard_normal((400, 6))
    X[200:] += 0.6
    np.savez(tmp_path / "e.npz", embedding=X, split=np.repeat(["train", "live"], 200), y=X[:, 0] > 0)
    drawn = audit(tmp_path / "e.npz", domain="split", **FAST)
    assert audit(tmp_path / "e.npz", domain="split", target="y", **FAST).kind("concept").found is False
    assert drawn.found == ("covariate",)
    assert drawn["moved"].data["mmd_p"] < 0.05
    assert drawn.kind("concept").found is None


def test_labels_that_are_not_in_yet_leave_concept_open():
    frame = table({"covariate": 1.0}, rows=400)
    frame["y"] = frame["y"].astype(float).where(frame["domain"] == "d1")
    result = audit(frame, domain="domain", target="y", **FAST)
    assert result.kind("concept").found is None
    assert result.kind("label").found is None
    assert "covariate" in result.found
    assert "more than the shares moved" in " ".join(result["structure"].notes)


def test_shares_of_labels_that_are_not_in_yet():
    """The labels that were taken away lie in the interval, and a label shift explains the columns."""
    agreed = 0
    for seed in range(3):
        frame = table({"label": 1.0}, seed, rows=500)
        truth = frame.loc[frame["domain"] == "d2", "y"].mean()
        frame["y"] = frame["y"].astype(float).where(frame["domain"] == "d1")
        result = audit(frame, domain="domain", target="y", **FAST)["structure"]
        shares = next(t for name, t in result.tables.items() if "not in yet" in name)
        row = shares[shares["class"].astype(float) == 1].iloc[0]
        assert row["low"] - 0.03 < truth < row["high"] + 0.03
        assert abs(truth - row["before"]) > 2 * abs(truth - row["share"])
        agreed += result.tables["Does a label shift explain the columns?"]["p"].iloc[0] > 0.05
    assert agreed >= 2


def test_hidden_classes_are_estimated_without_a_target():
    from groundshift.worlds.label_shift import draw_priors, styled_blobs

    rng = np.random.default_rng(0)
    world = styled_blobs(rng, draw_priors(rng, 3, 5, 3.0, 6.0), rows=200)
    result = audit(world.X, domain=[f"s{d}" for d in world.domain], classes=3, **FAST)
    shares = result["structure"].tables["Shares of hidden classes by domain (LLS)"]
    assert shares.drop(columns="class").sum().round(6).eq(1).all()


def test_columns_that_say_nothing_are_left_out_with_a_reason():
    frame = table({}, rows=300)
    frame["row_id"] = np.arange(len(frame))
    frame["code"] = frame["domain"].map({"d1": 7, "d2": 9})
    frame["constant"], frame["empty"] = 1, np.nan
    frame["note"] = [f"text {k}" for k in range(len(frame))]
    frame["when"] = pd.Timestamp("2024-01-01")
    frame["list"] = [[1, 2]] * len(frame)
    frame.loc[3, "spend"] = np.inf
    result = audit(frame, domain="domain", target="y", **FAST)
    report = result["ingest"].tables["Columns"].set_index("column")
    for name, kind, words in (
        ("row_id", "id", "that name something"), ("code", "number", "another name for it"),
        ("constant", "constant", "always 1"), ("empty", "constant", "empty"), ("note", "text", "free text"),
        ("list", "text", "nested"), ("spend", "number", "infinite"),
    ):  # fmt: skip
        assert report.loc[name, "kind"] == kind
        assert words in f"{report.loc[name, 'why']}; {report.loc[name, 'note']}", name
    assert result.headline.endswith("Not compared: row_id (id), note (text), list (text).")


def test_the_same_rows_twice_are_told():
    frame = table({}, rows=200)
    twice = pd.concat([frame[frame["domain"] == "d1"]] * 2, ignore_index=True)
    twice["domain"] = np.repeat(["a", "b"], 200)
    result = audit(twice, domain="domain", target="y", **FAST)
    assert result.found == ()  # the same rows on both sides
    assert any("400 rows (100.0%)" in note for note in result["ingest"].notes)


def test_small_domains_are_left_out_and_many_pooled():
    frame = table({}, rows=800)
    frame["domain"] = [f"s{k % 16:02d}" for k in range(len(frame))]
    frame.loc[:9, "domain"] = "tiny"
    result = audit(frame, domain="domain", **FAST)
    assert len(result.settings["domains"]) == 12
    assert "tiny (10)" in " ".join(result["ingest"].notes)
    assert "pooled" in " ".join(result["ingest"].notes)


def test_a_numeric_target_and_three_classes():
    for target in ("continuous", "classes"):
        result = audit(table({"concept": 1.0}, rows=1000, target=target), domain="domain", target="y", **FAST)
        assert result.found[0] == "concept", target
        label = audit(table({"label": 1.2}, target=target), domain="domain", target="y", **FAST)
        assert label.found == ("label",), target


# Bad input -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "options", "words"),
    [
        (lambda t: t, {"domain": "shop"}, "no column 'shop'"),
        (lambda t: t, {}, "exactly one of the two"),
        (lambda t: t, {"domain": "domain", "time": "age"}, "exactly one of the two"),
        (lambda t: t, {"domain": "domain", "window": "3d"}, "window goes with time"),
        (lambda t: t, {"domain": "domain", "target": "churn"}, "no column 'churn'"),
        (lambda t: t, {"domain": "domain", "reference": "d9"}, "no domain 'd9'"),
        (lambda t: t.assign(domain="d1"), {"domain": "domain"}, "at least two"),
        (lambda t: t.head(60), {"domain": "domain"}, "at least two"),
        (lambda t: t.assign(y=1), {"domain": "domain", "target": "y"}, "holds 1 value"),
        (lambda t: t, {"domain": "domain", "target": "region", "task": "regression"}, "needs numbers"),
        (lambda t: t, {"domain": "domain", "target": "y", "task": "rank"}, "'auto'"),
        (lambda t: t, {"domain": "age"}, "if it is a time"),
        (lambda t: t, {"time": "region"}, "neither dates nor numbers"),
        (lambda t: t.assign(d=pd.Timestamp("2024")), {"time": "d"}, "one value only"),
        (lambda t: t, {"time": "age", "window": "2d"}, "a number, as 100"),
        (lambda t: t, {"domain": "domain", "alpha": 1.5}, "between 0 and 1"),
        (lambda t: t, {"domain": "domain", "max_rows": 10}, "at least 200"),
        (lambda t: t, {"domain": "domain", "target": "y", "classes": 3}, "no target"),
        (lambda t: t, {"domain": "domain", "current": "b.csv"}, "goes with reference"),
        (lambda t: t[["domain"]].assign(c=1), {"domain": "domain"}, "No column can be compared"),
        (
            lambda t: t.rename(columns={"age": "usage"}),
            {"domain": "domain"},
            "more than one column called 'usage'",
        ),
    ],
)
def test_bad_input_is_refused_with_the_reason(change, options, words):
    with pytest.raises(InputError, match=words):
        audit(change(table({}, rows=100)), **options)
