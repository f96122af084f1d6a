"""Conditional data synthesis augmentation."""

import itertools
import warnings

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.mixture import GaussianMixture
from sklearn.tree import DecisionTreeClassifier

from groundshift.adaptation.codsa import (
    CoDSA,
    FlowGenerator,
    Oversample,
    Setting,
    Smote,
    allocation,
    apportion,
    compare,
    diagnose,
    quality,
    sample_rows,
)
from groundshift.adaptation.codsa.regions import read_rows
from groundshift.errors import InputError
from groundshift.models.learners import load_learner
from groundshift.worlds.starved_regions import CENTRES, draw_layout, draw_rows

QUICK = {"ratios": (1,), "tilts": (1.0,), "cv": 2, "steps": 60, "tuning_steps": 30, "random_state": 0}


@pytest.fixture(scope="module")
def table():
    """Customers of three stores, one of which has few."""
    rng = np.random.default_rng(0)
    rows = pd.DataFrame(
        {
            "age": rng.integers(18, 80, 160),
            "spend": rng.lognormal(3, 1, 160),
            "plan": rng.choice(["free", "paid", "team"], 160),
            "since": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 400, 160), "D"),
            "store": np.repeat(["big", "mid", "small"], [90, 50, 20]),
        }
    )
    flip = rows.store == "small"
    return rows.assign(churn=np.where((rows.age > 45) ^ flip, "yes", "no"))


@pytest.fixture(scope="module")
def fitted(table):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return CoDSA("trees", calibrate=True, **QUICK).fit(table, "churn", domain="store")


# The parts of the algorithm ---------------------------------------------------------------------------------


@pytest.mark.parametrize("shares", list(itertools.product([0.0, 0.3, 1.0], [0.1, 0.25], [0.5])))
def test_apportioned_numbers_have_the_sum_and_are_nearest(shares):
    shares = np.array(shares) / sum(shares)
    numbers = apportion(shares, 17)
    assert numbers.sum() == 17
    assert (np.abs(numbers - 17 * shares) < 1).all()


def test_allocation_goes_from_the_shares_of_the_data_to_those_of_starved_regions():
    counts, weights = np.array([900, 90, 10]), np.array([0.2, 0.3, 0.5])
    np.testing.assert_allclose(allocation(counts, weights, 0), counts / 1000)
    starved = weights / np.sqrt(counts)
    np.testing.assert_allclose(allocation(counts, weights, 1), starved / starved.sum())
    np.testing.assert_allclose(allocation(counts, weights, 0.5).sum(), 1)


def test_of_settings_within_one_standard_error_the_smallest_is_taken():
    rows = read_rows(np.random.default_rng(1).random((40, 1)), np.tile([0, 1], 20), np.repeat(["a", "b"], 20))
    model, rng = CoDSA(), np.random.default_rng(0)
    model.weights_ = np.array([0.5, 0.5])
    base, noise = rng.random(40), rng.standard_normal(40)
    model._losses = {
        Setting(): base + 1.0,  # clearly worse
        Setting(1, 0.5): base + 0.05 * (noise - noise.mean()),
        Setting(4, 1.0): base - 0.001,  # the best, by less than a standard error
    }
    model._choose(rows)
    assert model.choice_ == Setting(1, 0.5)
    assert model.surface_.difference.round(1).tolist() == [0.0, -1.0, -1.0]


def test_the_weighted_loss_is_the_mean_of_the_regions_losses():
    rows = read_rows(
        np.random.default_rng(1).random((20, 1)), np.tile([0, 1], 10), np.repeat(["a", "b"], [15, 5])
    )
    model = CoDSA()
    model.weights_ = np.array([0.2, 0.8])
    losses = np.random.default_rng(0).random(20)
    model._losses = {Setting(): losses}
    model._choose(rows)
    by_hand = 0.2 * losses[:15].mean() + 0.8 * losses[15:].mean()
    np.testing.assert_allclose(model.surface_.loss[0], by_hand)


def test_a_flow_draws_the_normal_distribution_of_its_cell():
    rng = np.random.default_rng(0)
    cells = np.repeat([0, 1], 400)
    rows = pd.DataFrame({"x": rng.standard_normal(800) + 2 * cells, "y": 2 * rng.standard_normal(800)})
    flow = FlowGenerator(2, steps=500).fit(rows, cells, seed=0)
    drawn = flow.sample(np.repeat([0, 1], 1000), seed=1)
    for cell in (0, 1):
        own = drawn.x[cell * 1000 : (cell + 1) * 1000]
        at = np.quantile(own, [0.1, 0.5, 0.9])
        np.testing.assert_allclose(at, 2 * cell + norm.ppf([0.1, 0.5, 0.9]), atol=0.35)


def test_the_bayes_error_of_the_world_is_that_of_the_specification():
    rng = np.random.default_rng(0)
    layout = draw_layout(rng)
    world = draw_rows(rng, 20_000, 0.5, layout)
    best = np.minimum(world.p, 1 - world.p)
    np.testing.assert_allclose(
        [best[~world.starved].mean(), best[world.starved].mean()], [0.155, 0.115], atol=0.006
    )
    assert world.regret(world.p > 0.5).max() == 0
    centre = world.table.loc[world.starved, [f"x{k + 1}" for k in range(6)]].mean().to_numpy()
    np.testing.assert_allclose(centre[[layout.order.index(k) for k in (0, 1)]], CENTRES[1], atol=0.05)


@pytest.mark.parametrize("share", [0.3, 0.5])
def test_a_split_gives_generator_and_learner_other_rows(share, table):
    rows = read_rows(table, "churn", "store")
    given, raw = CoDSA()._divided(rows, share, 0)
    assert len(given) == round(share * len(rows))
    assert len(given) + len(raw) == len(rows)
    assert set(np.unique(given.domain)) == set(np.unique(raw.domain)) == {0, 1, 2}
    both = pd.concat([given.frame, raw.frame])
    assert both.sort_values("spend").spend.tolist() == rows.frame.sort_values("spend").spend.tolist()


def test_copies_are_seen(table):
    rows = read_rows(table.drop(columns=["plan", "since"]), "churn", "store")
    half = np.arange(len(rows)) % 2 == 0
    trained, unseen = rows.take(np.flatnonzero(half)), rows.take(np.flatnonzero(~half))
    cells = np.repeat(np.unique(trained.cells), 60)
    copied = quality(
        unseen, trained, Oversample().fit(trained.frame, trained.cells, 0).sample(cells, 0), cells
    )
    assert copied.set_index("region").copies["big"] > 0.9
    fresh = quality(unseen, trained, unseen.frame, unseen.cells)
    assert fresh.set_index("region").copies["big"] < 0.1
    assert copied.set_index("region").auc.isna()["small"]


# As a user meets it -----------------------------------------------------------------------------------------


def test_a_fit_says_what_was_tried_and_draws_rows_like_the_table(fitted, table):
    assert fitted.surface_.ratio.tolist() == [0, 1]
    assert fitted.regions_.region.tolist() == ["big", "mid", "small"]
    drawn = fitted.sample(40, domain="small", label="yes")
    assert drawn.columns.tolist() == ["age", "spend", "plan", "since", "churn", "store"]
    assert set(drawn.store) == {"small"}
    assert set(drawn.churn) == {"yes"}
    assert drawn.dtypes.age == table.dtypes.age
    assert set(drawn.plan) <= set(table.plan)
    assert fitted.predict_proba(table).sum(1) == pytest.approx(1)
    assert fitted.score(table, table.churn) > 0.7


def test_a_saved_fit_predicts_and_draws_the_same(fitted, table, tmp_path):
    fitted.save(tmp_path / "run")
    loaded = CoDSA.load(tmp_path / "run")
    np.testing.assert_array_equal(loaded.predict_proba(table), fitted.predict_proba(table))
    drawn = sample_rows(tmp_path / "run", samples=9, domain="mid", random_state=3)
    pd.testing.assert_frame_equal(drawn.rows, fitted.sample(9, domain="mid", random_state=3))
    with pytest.raises(InputError, match=r"no region 'mdi'.*did you mean 'mid'"):
        sample_rows(tmp_path / "run", domain="mdi")


def test_a_source_is_a_start_and_its_rows_of_the_table_are_left_out(table):
    source = pd.concat([table, table.assign(age=table.age + 1, store=table.store.replace("small", "far"))])
    with pytest.warns(UserWarning, match="160 rows of the source are rows of the table"):
        model = CoDSA("linear", **QUICK).fit(table, "churn", domain="store", source=source)
    assert model.n_cells_ == 8
    assert model.domains_ == ("big", "mid", "small")
    with pytest.raises(InputError, match="The source has no column plan"):
        CoDSA(**QUICK).fit(table, "churn", domain="store", source=source.drop(columns="plan"))


@pytest.mark.parametrize("domain", ["age<30", "clusters:3", None])
def test_regions_may_be_a_rule_clusters_or_the_classes(table, domain):
    model = CoDSA("linear", generator="smote", **QUICK).fit(table, "churn", domain=domain)
    assert len(model.domains_) == {"age<30": 2, "clusters:3": 3, None: 2}[domain]


def test_numbers_and_densities_and_own_learners(table):
    rng = np.random.default_rng(0)
    X, region = rng.standard_normal((120, 2)), np.repeat(["a", "b"], [100, 20])
    model = CoDSA("linear", generator="oversample", splits=(0.5, 1.0), **QUICK).fit(X, X[:, 0], domain=region)
    assert model.score(X, X[:, 0]) > 0.9
    density = CoDSA(GaussianMixture(2, random_state=0), generator="smote", **QUICK).fit(X, domain=region)
    assert density.surface_.loss.notna().all()
    tree = CoDSA(DecisionTreeClassifier(), generator="oversample", **QUICK).fit(X, X[:, 0] > 0, domain=region)
    assert tree.predict(X).dtype == bool


def test_samplers_of_imbalanced_learn_are_replaced_by_fit_resample():
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1], [90, 10])
    X = rng.standard_normal((100, 2)) + y[:, None]
    model = CoDSA("linear", generator="smote", **{**QUICK, "ratios": (3,)})
    more, labels = model.fit_resample(X, y)
    assert len(more) == len(labels) == 100 + round(100 * model.choice_.ratio)
    np.testing.assert_array_equal(more[:100], X)


def test_a_region_that_is_starved_is_named_and_ways_are_compared():
    rng = np.random.default_rng(1)
    region = np.repeat(["rich", "poor"], [300, 40])
    X = rng.standard_normal((340, 2))
    y = (X[:, 0] > 0) ^ (region == "poor")
    named = diagnose(X, y, domain=region, learner=DecisionTreeClassifier(random_state=0), random_state=0)
    assert (
        named.to_frame().set_index("region").half["poor"]
        >= named.to_frame().set_index("region").all_rows["poor"]
    )
    both = compare(X, y, domain=region, methods=("oversample",), ratios=(1,), folds=2, random_state=0)
    assert set(both.table.method) == {"plain", "oversample"}
    assert (both.table[both.table.method == "plain"].difference == 0).all()


# What users of the peers ran into ---------------------------------------------------------------------------


def test_a_rare_class_is_drawn_directly():
    """SDV 1419: conditional sampling by rejection finds no row of a rare value."""
    rng = np.random.default_rng(0)
    y = np.where(np.arange(1000) < 8, "fraud", "fine")
    table = pd.DataFrame({"amount": rng.lognormal(2 + 2 * (y == "fraud"), 0.5), "y": y})
    model = CoDSA("linear", **{**QUICK, "steps": 200}).fit(table, "y")
    drawn = model.sample(500, label="fraud")
    assert len(drawn) == 500
    assert drawn.amount.median() > 3 * table.amount.median()


def test_rare_categories_stay():
    """SDV 248: a category of one row in a hundred vanished from what was drawn."""
    rng = np.random.default_rng(0)
    rows = pd.DataFrame(
        {"kind": np.where(np.arange(2000) % 100 == 0, "rare", "common"), "x": rng.random(2000)}
    )
    flow = FlowGenerator(1, steps=1500).fit(rows, np.zeros(2000, dtype=np.int64), seed=0)
    assert 0.003 < (flow.sample(np.zeros(4000, dtype=np.int64), 0).kind == "rare").mean() < 0.03


@pytest.mark.parametrize("generator", ["smote", "flow"])
def test_categories_alone_are_enough(generator):
    """imbalanced-learn 562: SMOTENC refuses a table without numbers."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.choice(["a", "b", "c"], (60, 3)), columns=["p", "q", "r"])
    model = CoDSA("trees", generator=generator, **QUICK).fit(table, np.repeat(["x", "y"], [50, 10]))
    assert set(model.sample(20).p) <= {"a", "b", "c"}


# Wrong input --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "given", "message"),
    [
        ({}, {"y": "chrun"}, "no column 'chrun'.*did you mean 'churn'"),
        ({}, {"domain": "stroe"}, "did you mean 'store'"),
        ({}, {"domain": "spend"}, "160 regions, and at most 50"),
        ({"min_rows": 30}, {}, r"fewer than 30 rows: small \(20\)"),
        (
            {"target_weights": {"big": 1.0, "smal": 0.0}},
            {},
            "no region 'smal' to weigh; did you mean 'small'",
        ),
        ({"target_weights": {"big": 0.3}}, {}, "sum to 0.3; they must sum to 1"),
        ({"generator": "smoty"}, {}, "did you mean 'smote'"),
        ({"learner": "tress"}, {}, "did you mean 'trees'"),
        ({"learner": 3}, {}, "has no fit and predict"),
        ({"tilts": (2,)}, {}, "they lie in"),
        ({}, {"y": None}, "no classes to be regions|has no fit|score_samples"),
        ({}, {"domain": "age<ten"}, "cannot be asked of age"),
    ],
)
def test_bad_input_is_told(table, options, given, message):
    call = {"y": "churn", "domain": "store", **given}
    call = {**call, "domain": None} if call["y"] is None else call
    with pytest.raises(InputError, match=message):
        CoDSA(**{**QUICK, **options}).fit(table, call["y"], domain=call["domain"])


def test_missing_values_are_refused_or_generated(table):
    holes = table.assign(spend=table.spend.where(np.arange(160) % 9 > 0))
    with pytest.raises(InputError, match="18 of 160 values of spend are missing"):
        CoDSA(**QUICK).fit(holes, "churn", domain="store")
    with pytest.warns(UserWarning, match="1 of 160 rows have no target"):
        model = CoDSA(missing="indicator", **QUICK).fit(
            holes.assign(churn=holes.churn.where(np.arange(160) > 0)), "churn", domain="store"
        )
    assert 0 < model.sample(300).spend.isna().mean() < 0.5


def test_a_learner_of_an_unknown_type_is_not_loaded_untold(tmp_path):
    import skops.io

    skops.io.dump(HistGradientBoostingClassifier(), tmp_path / "trees.skops")
    load_learner(tmp_path / "trees.skops")
    skops.io.dump(Smote(), tmp_path / "odd.skops")
    with pytest.raises(InputError, match="types that are not trusted"):
        load_learner(tmp_path / "odd.skops")


def test_a_learner_is_told_the_region_where_it_is_a_column(fitted, table):
    """Shops whose customers leave for opposite reasons can only be told apart by the shop."""
    assert fitted.learner_.feature_names_in_.tolist() == ["age", "spend", "plan", "since", "store"]
    plain = CoDSA("trees", **{**QUICK, "ratios": ()}).fit(table, "churn", domain="store")
    assert plain.score(table, table.churn) > 0.95
    elsewhere = table.assign(store=table.store.replace("small", "big"))
    assert plain.score(elsewhere, table.churn) < 0.95
    more, labels = CoDSA("trees", **QUICK).fit_resample(table, "churn", domain="store")
    assert "store" in more.columns
    assert len(more) == len(labels)
    by_rule = CoDSA("linear", generator="smote", **QUICK).fit(table, "churn", domain="age<40")
    assert "age<40" not in by_rule.learner_.feature_names_in_


def test_no_synthetic_rows_are_always_tried(table):
    """Also where no split gives all rows to both."""
    model = CoDSA("linear", generator="oversample", **{**QUICK, "splits": (0.5,)}).fit(
        table, "churn", domain="store"
    )
    assert model.surface_.loss.notna().all()
    assert model.surface_.split.tolist() == [1.0, 0.5]
