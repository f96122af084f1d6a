"""The audit sees the user's own model, and the graph that they know: sizes by closed forms, and what is refused."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from scipy.integrate import quad
from scipy.special import expit
from scipy.stats import norm
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from typer.testing import CliRunner

from groundshift.errors import InputError
from groundshift.tables import Reading
from groundshift.workflows.audit import audit
from groundshift.workflows.audit.decay import (
    AFTER,
    BEFORE,
    COLUMNS,
    GIVEN,
    by_column,
    propensity,
    segments,
    terms,
)
from groundshift.workflows.audit.graph import CHANGE, REST, Node, attribution
from groundshift.workflows.audit.models import design
from groundshift.workflows.audit.own_model import OwnModel, parse_proba
from groundshift.workflows.audit.table import ingest, read

FAST = {"domain": "when", "target": "y", "null_runs": 0, "remedies": False}
PLANS = np.array(["basic", "pro", "team"])


def customers(rng, rows, usage=0.0, flip=0.0):
    """y follows |usage| and age; ``flip`` turns it round in that share of the rows with plan pro and usage above 0."""
    frame = pd.DataFrame({"usage": rng.normal(usage, 1, rows), "age": rng.normal(40, 10, rows)})
    frame["plan"] = PLANS[rng.integers(0, 3, rows)]
    y = rng.random(rows) < expit(2.5 * np.abs(frame["usage"]) - 2 + (frame["age"] - 40) / 10)
    turned = (frame["plan"] == "pro") & (frame["usage"] > 0) & (rng.random(rows) < flip)
    return frame.assign(y=(y ^ turned).astype(int))


def two_months(seed, rows=700, **change):
    rng = np.random.default_rng(seed)
    before, after = customers(rng, rows), customers(rng, rows, **change)
    return pd.concat([before.assign(when="may"), after.assign(when="june")], ignore_index=True)


@pytest.fixture(scope="module")
def pipeline():
    """A logistic pipeline that takes y to be linear in usage, and so is wrong where usage is low."""
    columns = make_column_transformer((StandardScaler(), ["usage", "age"]), (OneHotEncoder(), ["plan"]))
    train = customers(np.random.default_rng(99), 3000, usage=1.0)
    return make_pipeline(columns, LogisticRegression()).fit(train.drop(columns="y"), train["y"])


def numbers(values):
    return design(values, np.zeros(values.shape[1], bool), list("abcdefgh"[: values.shape[1]]))


# By kind, column and segment ---------------------------------------------------------------------------------


def quadratic(seed, shift=0.0, slope=0.0, rows=1000):
    """Squared errors (0.8 a + (0.5 + slope) b)² + noise, with a moved by ``shift``; c hangs together with a."""
    rng = np.random.default_rng(seed)
    after = np.repeat([False, True], rows)
    x = rng.normal(size=(2 * rows, 3)) + np.outer(after, [shift, 0, 0])
    x[:, 2] = 0.8 * x[:, 0] + 0.6 * x[:, 2]
    return (
        rng,
        numbers(x),
        (x @ [0.8, 0.5, 0] + after * slope * x[:, 1] + rng.normal(size=2 * rows)) ** 2,
        after,
    )


def shared_square(shift):
    """E_s[a²] for s ∝ p q / (p + q), with p and q normal, ``shift`` apart."""
    p, q = norm(0, 1).pdf, norm(shift, 1).pdf
    mass, square = (quad(lambda a, k=k: a**k * p(a) * q(a) / (p(a) + q(a)), -8, 9)[0] for k in (0, 2))
    return square / mass


@pytest.mark.parametrize(("shift", "slope"), [(0.0, 0.0), (1.0, 0.0), (0.0, 0.8), (1.0, 0.8)])
def test_the_terms_are_those_of_disde(shift, slope):
    s = 0.64 * shared_square(shift)
    truth = {BEFORE: s - 0.64, GIVEN: slope**2 + slope, AFTER: 0.64 * (1 + shift**2) - s}
    truth |= {COLUMNS: truth[BEFORE] + truth[AFTER], "change": sum(truth.values())}
    away = []
    for seed in range(3):
        rng, X, loss, after = quadratic(seed, shift, slope)
        table = terms(loss, X, after, propensity(X, after, rng), rng).set_index("term")
        assert table["change"][[BEFORE, GIVEN, AFTER]].sum() == pytest.approx(table["change"]["change"])
        assert table["change"]["change"] == pytest.approx(loss[after].mean() - loss[~after].mean())
        away.append((table["change"] - pd.Series(truth)) / (table["high"] - table["low"]) * 2 * 1.96)
    z = pd.concat(away, axis=1).mean(axis=1) * np.sqrt(3)
    assert z.abs().max() < 3.5
    assert (np.abs(away) > 4).sum() == 0


def test_the_columns_part_goes_to_the_column_that_the_loss_depends_on():
    rng, X, loss, after = quadratic(0, shift=1.0)
    shares = by_column(loss, X, ["a", "b", "c"], after, rng).set_index("column")
    assert shares["low"]["a"] < 0.64 < shares["high"]["a"]
    assert shares["low"]["a"] > 0.1
    for name in ("b", "c"):
        assert shares["low"][name] < 0 < shares["high"][name]
    part = terms(loss, X, after, propensity(X, after, rng), rng).set_index("term")["change"][COLUMNS]
    assert shares["change"].sum() == pytest.approx(part, abs=0.15)
    rng, X, loss, after = quadratic(1)
    calm = by_column(loss, X, ["a", "b", "c"], after, rng)
    assert ((calm["low"] < 0) & (calm["high"] > 0)).all()


def compared(frame, target="y"):
    rows = read(frame, domain="when", time=None, window=None, reference="may", current=None, target=target,
                reading=Reading())  # fmt: skip
    return rows, ingest(rows, target=target, task="auto", columns=None, drop=())[0]


def test_a_weak_segment_is_named_and_where_nothing_moved_none_is(pipeline):
    alarms = 0
    for seed in range(60):
        frame = two_months(seed, usage=0.0)
        table = compared(frame)[1]
        loss = (pipeline.predict(frame) != frame["y"]).to_numpy().astype(float)
        alarms += (
            len(segments(loss, table, table.domain == 1 - table.reference, np.random.default_rng(seed))) > 0
        )
    assert alarms <= 6  # at most 2.5 % of tables: 7 of 60 have a probability below 0.001
    hits = 0
    for seed in range(5):
        frame = two_months(seed, flip=0.9)
        table = compared(frame)[1]
        loss = (pipeline.predict(frame) != frame["y"]).to_numpy().astype(float)
        weak = segments(loss, table, table.domain == 1 - table.reference, np.random.default_rng(seed))
        hits += len(weak) > 0 and "plan = pro" in weak["segment"][0] and "usage > " in weak["segment"][0]
        assert (weak["low"] > 0).all()
    assert hits >= 4


def test_words_of_a_segment():
    """The last condition of a column counts, a category is named by its word, and missing values are told."""
    rng = np.random.default_rng(0)
    frame = pd.concat([customers(rng, 1500).assign(when=w) for w in ("may", "june")], ignore_index=True)
    frame["calls"] = rng.integers(0, 9, 3000)
    frame.loc[rng.random(3000) < 0.1, "usage"] = np.nan
    planted = {
        "calls > 3 and plan = team": (frame["calls"] > 3) & (frame["plan"] == "team"),
        "usage > 0.5 (or missing) and calls ≤ 4": ~(frame["usage"] <= 0.5) & (frame["calls"] <= 4),
    }
    table = compared(frame)[1]
    for words, inside in planted.items():
        weak = (inside & (frame["when"] == "june")).to_numpy()
        loss = np.where(weak, 1.0, 0.1) + 0.1 * rng.normal(size=3000)
        rows_of_segments = segments(loss, table, table.domain == 1 - table.reference, rng)
        assert len(rows_of_segments) == 1
        rounded = re.sub(
            r"> 0\.(4[5-9]|5[0-4])\d*", "> 0.5", rows_of_segments["segment"][0]
        )  # cuts lie between rows
        assert set(rounded.split(" and ")) == set(words.split(" and "))
        assert rows_of_segments["low"][0] < 0.9 * weak.sum() / 1500 < rows_of_segments["high"][0]


# The user's model through every door ---------------------------------------------------------------------------


def test_columns_callables_estimators_and_files_are_one_model(pipeline, tmp_path):
    skops = pytest.importorskip("skops.io")
    frame = two_months(3)
    rows, table = compared(frame)
    features = frame.drop(columns="y")
    names = ["usage", "age", "plan"]
    chances = pipeline.predict_proba(frame)
    with_probabilities = rows.table.frame.assign(p=chances[:, 1], q=chances[:, 0])
    skops.dump(pipeline, tmp_path / "model.skops")
    loaded = OwnModel.given(None, None, tmp_path / "model.skops", [], "y")
    given = [
        OwnModel(model=pipeline), OwnModel(model=pipeline.predict_proba), OwnModel(proba="p"), loaded,
        OwnModel(model=lambda f: pipeline.predict_proba(f)[:, 1]), OwnModel(proba={"0": "q", 1: "p"}),
        OwnModel(model=lambda f: pd.DataFrame(pipeline.predict_proba(f)[:, ::-1], columns=[1, 0])),
        OwnModel(proba=["q", "p"]), OwnModel(proba={0: "q"}),
    ]  # fmt: skip
    seen = [own.losses(with_probabilities, table, features, names) for own in given]
    expected = -np.log(chances[np.arange(len(frame)), frame["y"]])
    for loss in seen:
        assert loss.name == "log loss"
        np.testing.assert_allclose(loss.values, expected, atol=1e-9)
    assert "y = 1 in column p" in seen[2].how
    wrong = OwnModel(model=pipeline.predict).losses(with_probabilities, table, features, names)
    assert wrong.name == "share of wrong predictions"
    assert set(wrong.values) == {0.0, 1.0}
    with_probabilities["label"] = pipeline.predict(frame).astype(bool)
    same = OwnModel(prediction="label").losses(with_probabilities, table, features, names)
    np.testing.assert_array_equal(same.values, wrong.values)


def test_a_covariate_decay_is_put_down_to_the_column(pipeline, tmp_path):
    result = audit(two_months(0, usage=-1.2), reference="may", model=pipeline.predict_proba, **FAST)
    assert result.found == ("covariate",)
    loss = result["decay"].tables["Loss of your model (log loss), and what its change goes with"].iloc[0]
    assert loss["by columns low"] > 0
    assert loss["by relation low"] < 0 < loss["by relation high"]
    assert loss["by columns"] + loss["by relation"] == pytest.approx(loss["change"])
    columns = result["decay"].tables["The columns' part in june, by column"]
    assert columns["column"][0] == "usage"
    assert columns["low"][0] > 0
    assert columns["share of the change"][0] == pytest.approx(1, abs=0.35)
    assert "left over" not in result["decay"].answer
    page = result.save(tmp_path / "out")
    assert "What did your model lose, and where?" in page.read_text()
    read_back = json.loads((tmp_path / "out" / "audit.json").read_text())
    assert read_back["sections"]["decay"]["data"]["loss"] == "log loss"
    assert read_back["settings"]["your model"] == "the model"
    assert not any("of the domains before loses" in caption for caption in result["kind"].tables)


def test_a_concept_decay_is_put_down_to_the_relation_from_the_command_line(pipeline, tmp_path):
    from groundshift.commands.audit import app

    skops = pytest.importorskip("skops.io")
    two_months(1, flip=0.9).to_csv(tmp_path / "t.csv", index=False)
    skops.dump(pipeline, tmp_path / "m.skops")
    (tmp_path / "g.dot").write_text("digraph { usage -> y; age -> y; plan -> y }")
    words = ["t.csv", "--domain", "when", "--reference", "may", "--target", "y", "--null-runs", "0", "--no-remedies",
             "--model", "m.skops", "--graph", "g.dot", "--json"]  # fmt: skip
    words = [str(tmp_path / w) if w.endswith(("csv", "skops", "dot")) else w for w in words]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    read_back = json.loads(result.stdout)
    assert read_back["found"] == ["concept"]
    tables = read_back["sections"]["decay"]["tables"]
    (loss,) = tables["Loss of your model (log loss), and what its change goes with"]
    assert loss["by relation low"] > 0
    assert loss["by columns low"] < 0 < loss["by columns high"]
    nodes = {
        t["node"]: t["changed"] for t in read_back["sections"]["graph"]["tables"]["Mechanisms of your graph"]
    }
    assert nodes == {"usage": "stayed", "age": "stayed", "plan": "stayed", "y": "changed"}


def test_a_model_that_changed_is_not_called_a_changed_relation(pipeline):
    """The predictions of june were made by a broken copy: y given the columns stayed, and so says the verdict."""
    frame = two_months(2)
    chances = pipeline.predict_proba(frame)[:, 1]
    frame["score"] = np.where(frame["when"] == "june", 1 - chances, chances)
    result = audit(frame, reference="may", proba="score", **FAST)
    assert not result.kind("concept").found
    assert "left over, which is not put down to a changed relation" in result["decay"].answer
    assert "score" not in set(result["ingest"].tables["Columns"]["column"])


def test_without_overlap_or_labels_the_split_stays_open(pipeline):
    frame = two_months(4, flip=0.9)
    apart = frame.assign(price=np.where(frame["when"] == "june", 12.0, 10.0) + 0.1 * frame["age"] / 40)
    result = audit(apart, reference="may", model=lambda f: pipeline.predict(f), **FAST)
    assert result.kind("concept").found is None
    assert "overlap too little" in result["decay"].answer
    assert np.isnan(
        result["decay"].tables["The change in june, part by part (share of wrong predictions)"]["change"][1:]
    ).all()
    before, after = (frame[frame["when"] == w].drop(columns="when") for w in ("may", "june"))
    late = audit(reference=before, current=after.drop(columns="y"), target="y", model=pipeline, null_runs=0)
    assert "takes labels of y in at least two domains" in late["decay"].answer


def test_numbers_are_judged_by_their_squared_error():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.normal(size=1000), "when": np.repeat(["may", "june"], 500)})
    frame["y"] = frame["x"] * np.where(frame["when"] == "june", 2, 1) + rng.normal(size=1000)
    frame["guess"] = frame["x"]
    result = audit(frame, reference="may", prediction="guess", **FAST)
    loss = result["decay"].tables["Loss of your model (squared error), and what its change goes with"].iloc[0]
    assert loss["low"] < 1 < loss["high"]  # E[(2x - x)²]
    assert loss["by relation low"] < 1 < loss["by relation high"]


# The user's graph ------------------------------------------------------------------------------------------------

GRAPH = {"a": (), "c": (), "b": ("a",), "y": ("a", "b", "c")}


def scm(rng, rows, a=0.0, slope=0.8, by_b=1.0, level=0.0):
    """Linear and Gaussian: a → b, and y = 0.5 a + by_b b - 0.7 c."""
    frame = pd.DataFrame({"a": rng.normal(a, 1, rows), "c": rng.normal(0, 1, rows)})
    frame["b"] = 0.5 + slope * frame["a"] + 0.6 * rng.normal(size=rows)
    return frame.assign(
        y=level + 0.5 * frame["a"] + by_b * frame["b"] - 0.7 * frame["c"] + rng.normal(size=rows)
    )


def test_parts_of_the_targets_change_are_those_of_the_closed_form():
    """Shapley values of m = level + 0.5 a + by_b (0.5 + slope a), by hand: each averaged over the six orders."""
    change = {"a": (0.0, 1.0), "b": (0.8, 0.3), "y": ((1.0, 0.0), (0.4, 0.2))}

    def mean(a, b, y):
        (by_b, level), slope = change["y"][y], change["b"][b]
        return level + 0.5 * change["a"][a] + by_b * (0.5 + slope * change["a"][a])

    def part(name):
        rest = [n for n in "aby" if n != name]
        pairs = [({}, 1 / 3), ({rest[0]: 1}, 1 / 6), ({rest[1]: 1}, 1 / 6), (dict.fromkeys(rest, 1), 1 / 3)]
        zero = dict.fromkeys("aby", 0)
        return sum(w * (mean(**{**zero, **on, name: 1}) - mean(**{**zero, **on})) for on, w in pairs)

    truth = {"a": part("a"), "b": part("b"), "c": 0.0, "y": part("y"), REST: 0.0}
    truth[CHANGE] = mean(1, 1, 1) - mean(0, 0, 0)
    assert truth[CHANGE] == pytest.approx(sum(v for k, v in truth.items() if k != CHANGE))
    away = []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        frame = pd.concat([scm(rng, 800), scm(rng, 800, 1.0, 0.3, 0.4, 0.2)])
        nodes = {name: Node(frame[name].to_numpy()) for name in GRAPH}
        parts = attribution(GRAPH, nodes, np.repeat([False, True], 800), "y", 0, rng).set_index("node")
        assert parts["change"].drop(CHANGE).sum() == pytest.approx(parts["change"][CHANGE])
        away.append((parts["change"] - pd.Series(truth)) / (parts["high"] - parts["low"]) * 2 * 1.96)
    away = pd.concat(away, axis=1).drop(index=REST)
    assert (away.mean(axis=1).abs() * 2).max() < 3.5
    assert (away.abs() < 4).all(axis=None)


def test_parts_of_a_classes_share_with_words_on_the_way():
    rng = np.random.default_rng(0)

    def draw(rows, pro, effect):
        plan = (rng.random(rows) < pro).astype(float)
        x = plan + rng.normal(size=rows)
        return np.column_stack([plan, x, rng.random(rows) < expit(effect * x - 1)])

    rows, worlds = 1500, {(a, b): draw(400_000, *(pair)) [:, 2].mean() for a, b, pair in (
        (0, 0, (0.2, 1.0)), (1, 0, (0.7, 1.0)), (0, 1, (0.2, 0.3)), (1, 1, (0.7, 0.3)))}  # fmt: skip
    data = np.vstack([draw(rows, 0.2, 1.0), draw(rows, 0.7, 0.3)])
    nodes = {"plan": Node(data[:, 0], 2, True), "x": Node(data[:, 1]), "y": Node(data[:, 2], 2, True)}
    graph = {"plan": (), "x": ("plan",), "y": ("x",)}
    parts = attribution(graph, nodes, np.repeat([False, True], rows), "y", 1, rng).set_index("node")
    by_plan = (worlds[1, 0] - worlds[0, 0] + worlds[1, 1] - worlds[0, 1]) / 2
    by_y = (worlds[0, 1] - worlds[0, 0] + worlds[1, 1] - worlds[1, 0]) / 2
    for name, truth in (("plan", by_plan), ("x", 0.0), ("y", by_y)):
        half = (parts["high"][name] - parts["low"][name]) / 2
        assert parts["change"][name] == pytest.approx(truth, abs=2 * half)
    assert abs(parts["change"][REST]) < 0.01


@pytest.mark.parametrize("change", [{}, {"slope": 0.2}, {"a": 1.0}, {"by_b": 0.2}])
def test_the_mechanism_that_changed_is_named_by_the_graph(change):
    rng = np.random.default_rng(5)
    frame = pd.concat(
        [scm(rng, 700).assign(when="may"), scm(rng, 700, **change).assign(when="june")], ignore_index=True
    )
    result = audit(frame, reference="may", graph="a -> b; a -> y; b -> y; c -> y", **FAST)
    tests = result["graph"].tables["Mechanisms of your graph"].set_index("node")["changed"]
    planted = {"slope": "b", "a": "a", "by_b": "y"}.get(next(iter(change), ""))
    assert list(tests[tests == "changed"].index) == ([planted] if planted else [])
    kinds = {"b": ("mechanism",), "a": ("covariate",), "y": ("concept",), None: ()}[planted]
    assert result.found == kinds
    if planted == "b":
        assert result.kind("mechanism").where == ("b",)
        assert result.kind("mechanism").low > 0
        assert "by your graph" in result.headline


# Bad input -------------------------------------------------------------------------------------------------------


def broken(frame):
    raise KeyError("no such tariff")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"prediction": "gues"}, "did you mean 'guess'"),
        ({"prediction": "guess", "proba": "p"}, "give one of"),
        ({"prediction": "guess", "target": None}, "without a target"),
        ({"prediction": "y"}, "its own prediction"),
        ({"prediction": "plan"}, "is no class of the target"),
        ({"prediction": "p"}, "named with proba"),
        ({"proba": "logit"}, "go from 0 to 1"),
        ({"proba": "hole"}, "1 of 300 rows with a label have no finite prediction"),
        ({"proba": "plan"}, "no finite prediction"),
        ({"proba": {"yes": "p"}}, "no class 'yes'"),
        ({"proba": ["p", "p", "p"]}, "3 columns of probabilities were given, but y has 2 classes"),
        ({"proba": ["p", "p"]}, "do not add up to one"),
        ({"proba": "p", "target": "usage"}, "is a number"),
        ({"model": 3}, "A int was given"),
        ({"model": "model.pkl"}, "pickles are not read"),
        ({"model": "none.skops"}, "There is no file"),
        ({"model": LogisticRegression()}, "not fitted"),
        ({"model": broken}, "KeyError: 'no such tariff'"),
        ({"model": lambda f: np.zeros(3)}, "3 predictions for 300 rows"),
        ({"model": lambda f: np.full((len(f), 3), 1 / 3)}, "3 probabilities a row"),
        ({"model": lambda f: np.full(len(f), 1.5)}, "go from 0 to 1"),
        ({"model": lambda f: np.full(len(f), "maybe")}, "'maybe'"),
        ({"graph": "usage -> age; age -> usage; age -> y"}, "cycle"),
        ({"graph": "usag -> y"}, "did you mean 'usage'"),
        ({"graph": "usage -> age"}, "The target y is no node"),
        ({"graph": "usage -> y; usage <-> y"}, "hidden"),
        ({"graph": "note -> y"}, "not compared"),
        ({"graph": "digraph {"}, "cannot be read"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_reason(options, words):
    rng = np.random.default_rng(0)
    frame = pd.concat([customers(rng, 150).assign(when=w) for w in ("may", "june")], ignore_index=True)
    frame["p"] = rng.random(300)
    frame["guess"] = (frame["p"] > 0.5).astype(int)
    frame["logit"] = 4 * frame["p"] - 2
    frame["hole"] = frame["p"].where(frame.index != 7)
    frame["note"] = [
        f"order {k} was late by a few days, said the customer in a letter to us" for k in range(300)
    ]
    with pytest.raises(InputError, match=words):
        audit(frame, **{**FAST, **options})


def test_types_that_skops_does_not_know_are_refused_by_name(tmp_path):
    skops = pytest.importorskip("skops.io")
    model = make_pipeline(FunctionTransformer(shouted), LogisticRegression())
    skops.dump(model, tmp_path / "m.skops")
    name = f"{shouted.__module__}.shouted"
    with pytest.raises(InputError, match=f"--trust {name}"):
        OwnModel.given(None, None, tmp_path / "m.skops", [], "y")
    assert OwnModel.given(None, None, tmp_path / "m.skops", [name], "y").model.steps
    (tmp_path / "n.skops").write_bytes(b"no zip")
    with pytest.raises(InputError, match="cannot be read by skops"):
        OwnModel.given(None, None, tmp_path / "n.skops", [], "y")


def shouted(frame):
    return frame


def test_classes_by_column_on_the_command_line():
    assert parse_proba(["0=q", "1=p"]) == {"0": "q", "1": "p"}
    with pytest.raises(InputError, match="given twice"):
        parse_proba(["0=q", "0=p"])
    with pytest.raises(InputError, match="class=column"):
        parse_proba(["q", "p"])
