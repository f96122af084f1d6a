"""The stability of truth: an exact solver, the stages, splits and label maps, measures, a model, bad input."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize
from scipy.stats import wasserstein_distance
from sklearn.svm import SVC

from groundshift.errors import InputError
from groundshift.measures.intervals import clustered_means
from groundshift.probes.truth import (
    Bags,
    Scaler,
    TruthStability,
    behaviour,
    compare_truth,
    conformal_labels,
    conformal_p,
    hinge,
    label_maps,
    mean_difference,
    read_statements,
    sliced_wasserstein,
    smil,
    split_by_entity,
    truth_behaviour,
    two_stages,
)
from groundshift.probes.truth import sawmil as machines
from groundshift.probes.truth.stability import null_labels
from groundshift.worlds.truth_geometry import Geometry
from tests.models.tiny_models import build


def rng(*seed):
    return np.random.default_rng(seed)


def toy_bags(seed, n=24, d=4, longest=5):
    draw = rng(seed)
    labels = np.arange(n) % 3 == 0
    sizes = draw.integers(1, longest + 1, n)
    shift = np.repeat(labels, sizes)[:, None] * np.r_[2.0, np.zeros(d - 1)]
    return Bags.of(draw.standard_normal((int(sizes.sum()), d)) + shift, sizes), labels


def exact_smil(bags, labels, C):
    """The primal program, written out as it stands in the paper, by SciPy's SLSQP."""
    negative, positive = bags[~labels], bags[labels]
    X = np.concatenate([negative.tokens, positive.means])
    S, B = len(negative.tokens), len(positive)
    y, n, d = np.r_[-np.ones(S), np.ones(B)], S + B, X.shape[1]
    m = np.r_[np.ones(S), (2 - positive.sizes) / positive.sizes]
    c = np.r_[np.full(S, C / S), np.full(B, C / B)]
    A = np.column_stack([y[:, None] * X, y, np.eye(n)])
    result = minimize(
        lambda v: v[:d] @ v[:d] / 2 + c @ v[d + 1 :],
        np.r_[np.zeros(d + 1), np.full(n, 2.0)],
        jac=lambda v: np.r_[v[:d], 0.0, c],
        bounds=[(None, None)] * (d + 1) + [(0, None)] * n,
        constraints={"type": "ineq", "fun": lambda v: A @ v - m, "jac": lambda v: A},
        method="SLSQP",
        options={"maxiter": 500, "ftol": 1e-12},
    )
    assert result.success
    return result.fun, result.x[:d]


# The solver ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("seed", "C"), [(0, 0.1), (1, 1.0), (2, 10.0)])
def test_stage_one_is_the_exact_quadratic_program(seed, C):
    bags, labels = toy_bags(seed)
    boundary = smil(bags, labels, C)
    value, w = exact_smil(bags, labels, C)
    assert abs(boundary.primal - value) <= 1e-4 * value
    assert boundary.w @ w > 0.999 * np.linalg.norm(w) * np.linalg.norm(boundary.w)
    assert boundary.dual <= value * (1 + 1e-9)


def test_the_solution_satisfies_the_conditions_of_karush_kuhn_and_tucker():
    draw = rng(3)
    X, y = draw.standard_normal((150, 30)), np.where(draw.random(150) < 0.3, 1.0, -1.0)
    m, c = draw.uniform(-1, 1, 150), draw.uniform(0.01, 0.2, 150)
    boundary = hinge(X, y, m, c, gap=1e-9)
    slack = y * (X @ boundary.w + boundary.b) - m
    free = (boundary.a > 1e-5 * c) & (boundary.a < (1 - 1e-5) * c)
    assert abs(boundary.a @ y) < 1e-12
    np.testing.assert_allclose(slack[free], 0, atol=1e-3)
    assert slack[boundary.a <= 1e-9].min() > -1e-3
    assert slack[boundary.a >= c - 1e-9].max() < 1e-3
    np.testing.assert_allclose(X.T @ (boundary.a * y), boundary.w, atol=1e-3)


def test_an_ordinary_machine_is_that_of_libsvm():
    bags, labels = toy_bags(5, 90, longest=1)
    y = np.where(labels, 1.0, -1.0)
    mine = hinge(bags.tokens, y, 1.0, 0.05, gap=1e-8)
    theirs = SVC(kernel="linear", C=0.05, tol=1e-8).fit(bags.tokens, y)
    np.testing.assert_allclose(mine.w, theirs.coef_[0], atol=1e-3)
    assert mine.b == pytest.approx(theirs.intercept_[0], abs=1e-3)


def test_it_is_the_same_without_numba_and_from_another_start(monkeypatch):
    bags, labels = toy_bags(6)
    first = smil(bags, labels, 1.0)
    start = rng(0).random(len(first.a))
    assert smil(bags, labels, 1.0, start=start).primal == pytest.approx(first.primal, rel=2e-4)
    monkeypatch.setattr(machines, "_ascend", lambda: machines._pass)
    assert smil(bags, labels, 1.0).primal == pytest.approx(first.primal, rel=1e-9)


def test_large_bags_need_hold_only_a_little_that_is_positive():
    bags = Bags.of(np.r_[-1.0, -1.2, 1.0, 1.2][:, None], [1, 1, 1, 1])
    alone = smil(bags, np.array([False, False, True, True]), 100.0)
    assert (bags.tokens[2:, 0] * alone.w[0] + alone.b).min() > 0.99
    long = Bags.of(np.r_[-1.0, -1.2, np.full(20, 1.0), np.full(20, 1.2)][:, None], [1, 1, 20, 20])
    crowd = smil(long, np.array([False, False, True, True]), 100.0)
    assert crowd.w[0] < 0.2 * alone.w[0]


def test_stage_two_takes_high_scores_at_the_end_of_a_bag():
    bags = Bags.of(np.zeros((8, 1)), [4, 4])
    scores = np.array([9.0, 1, 2, 8, 7.0, 0, 6, 5])
    # Two per bag pass the cutoff: 9, 8, 7, 6; of those, the last two places of each bag.
    assert machines.chosen_instances(bags, scores).tolist() == [
        False,
        False,
        False,
        True,
        False,
        False,
        True,
        False,
    ]
    early = np.r_[np.full(60, 1.0), np.zeros(2)] - np.r_[np.arange(60) * 1e-3, 0, 0]
    ignored = machines.chosen_instances(Bags.of(np.zeros((62, 1)), [62]), early)
    assert ignored.sum() == 2
    assert ignored[:2].all()


def test_the_probe_is_the_machines_own_hyperplane():
    bags, labels = toy_bags(7, 60)
    stages = two_stages(bags, labels, 1.0)
    y = np.r_[-np.ones(len(bags[~labels].tokens)), np.where(stages.chosen, 1.0, -1.0)]
    X = np.concatenate([bags[~labels].tokens, bags[labels].tokens])
    theirs = SVC(kernel="linear", C=1.0 / len(X), tol=1e-8).fit(X, y)
    cosine = stages.probe.w @ theirs.coef_[0] / np.linalg.norm(stages.probe.w) / np.linalg.norm(theirs.coef_)
    assert cosine > 0.999
    scores = stages.probe.score(bags)
    each = bags.tokens @ stages.probe.w + stages.probe.b
    np.testing.assert_allclose(scores, [part.max() for part in np.split(each, bags.offsets[1:-1])])


def test_bags_are_cut_from_the_front_and_keep_their_end():
    bags = Bags.of(np.arange(30.0)[:, None], [25, 5])
    capped = bags.capped(10, 2, rng(0))
    assert capped.sizes.tolist() == [10, 5]
    assert capped.tokens[8:10, 0].tolist() == [23, 24]
    assert (np.diff(capped.tokens[:10, 0]) > 0).all()
    assert bags.tail(3).tokens[:, 0].tolist() == [22, 23, 24, 27, 28, 29]


# The other probe, abstention, measures ------------------------------------------------------------------


def test_the_mean_difference_is_fishers_discriminant():
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    drawn = Geometry().draw(rng(0))
    labels = (drawn.table["kind"] == "true").to_numpy()
    probe = mean_difference(drawn.x, labels)
    theirs = LinearDiscriminantAnalysis(solver="lsqr").fit(drawn.x, labels).coef_[0]
    assert probe.w @ theirs / np.linalg.norm(theirs) == pytest.approx(1, abs=1e-9)
    plain = mean_difference(drawn.x, labels, covariance=False)
    middle = (drawn.x[labels].mean(0) + drawn.x[~labels].mean(0)) / 2
    assert plain.w @ middle + plain.b == pytest.approx(0, abs=1e-12)


def test_conformal_verdicts_are_wrong_no_more_often_than_they_may():
    draw = rng(1)
    labels = draw.random(4000) < 0.5
    scores = draw.standard_normal(4000) + np.where(labels, 1.0, -1.0)
    p = conformal_p(scores[2000:], scores[:2000], labels[:2000])
    covered = p[np.arange(2000), labels[2000:].astype(int)] > 0.1
    assert abs(covered.mean() - 0.9) < 0.03
    verdict = conformal_labels(p)
    assert 0.05 < (verdict == -1).mean() < 0.4
    assert (verdict == labels[2000:])[verdict >= 0].mean() > 0.85


def test_the_sliced_distance_is_the_mean_of_scipys():
    x, y = rng(0).normal(size=(37, 3)), rng(1).normal(size=(52, 3)) + 1
    u = rng(2).standard_normal((3, 128))
    u /= np.linalg.norm(u, axis=0)
    assert sliced_wasserstein(x, y, rng(2)) == pytest.approx(
        np.mean([wasserstein_distance(x @ v, y @ v) for v in u.T])
    )


def test_rows_of_one_entity_are_one_draw():
    values = rng(0).random(400) < 0.5
    alone = clustered_means(values, np.arange(400), rng(1)).std()
    twins = clustered_means(np.repeat(values[:40], 10), np.repeat(np.arange(40), 10), rng(1)).std()
    assert alone == pytest.approx(0.5 / 20, rel=0.2)
    assert twins == pytest.approx(0.5 / np.sqrt(40), rel=0.2)


# Statements ---------------------------------------------------------------------------------------------

CITIES = pd.DataFrame(
    {
        "statement": ["a", "b", "c", "d"],
        "object_1": ["Riga", "Riga", "Zorb", "Oz"],
        "object_2": ["Latvia", "Peru", "Quib", "Latvia"],
        "correct": [1, 0, 0, 1],
        "real_object": [1, 1, 0, 0],
        "fake_object": [0, 0, 1, 1],
        "fictional_object": [0, 0, 0, 1],
    }
)


def test_published_tables_are_read_with_fiction_asked_for_first():
    table = read_statements(CITIES)
    assert table["kind"].tolist() == ["true", "false", "synthetic", "fictional"]
    assert table["canonical"].tolist()[3] == 1
    assert table["canonical"].isna().tolist() == [True, True, True, False]
    assert table["entities"].tolist() == [("Riga", "Latvia"), ("Riga", "Peru"), ("Zorb", "Quib"), ("Oz",)]


def places(n=40, seed=0, kinds=("synthetic", "fictional")):
    rows = [
        (f"{kind} {k} is {v}", kind, f"{group}{k}", float(v == "x") if kind == "fictional" else np.nan)
        for group, pair in (("r", ("true", "false")), *((k[0], (k,)) for k in kinds))
        for k in range(n)
        for v, kind in zip("xy", pair * (2 // len(pair)))  # noqa: B905
    ]
    return pd.DataFrame(rows, columns=["statement", "kind", "entity", "canonical"])


def test_no_entity_is_on_two_sides():
    draw = rng(0)
    table = places(60)
    table["entities"] = [(e, f"o{draw.integers(30)}") for e in table["entity"]]
    table["kind"] = table["kind"].astype(str)
    split = split_by_entity(table, rng(1))
    sides = [
        {e for k in rows for e in table["entities"][k]}
        for rows in (split.train, split.calibration, split.test)
    ]
    assert len(set().union(*sides)) == sum(map(len, sides))
    assert split.mixed == len(table) - len(split.kept) > 0


def test_a_statement_that_is_there_twice_stays_on_one_side():
    table = read_statements(places(60))
    table.loc[table.index[-30:], "statement"] = "the same"
    split = split_by_entity(table, rng(0))
    where = [
        "the same" in set(table["statement"][rows]) for rows in (split.train, split.calibration, split.test)
    ]
    assert where == [False, False, True]
    assert split.doubled > 0


def test_label_maps_promote_what_they_say_and_noise_is_never_lost():
    kind = np.array(["true", "false", "synthetic", "fictional", "fictional", "noise"], dtype=object)
    canonical = np.array([np.nan, np.nan, np.nan, 1.0, 0.0, np.nan])
    labels = {
        m.name: m.labels(kind, canonical).tolist()
        for m in label_maps(["synthetic", "fictional"], ["fictional"])
    }
    assert labels == {
        "T0": [True, False, False, False, False, False],
        "synthetic": [True, False, True, False, False, False],
        "fictional": [True, False, False, True, True, False],
        "fictional, canonical": [True, False, False, True, False, False],
        "noise": [True, False, False, False, False, True],
    }
    null, n = null_labels(np.repeat(["true", "false", "x"], 10), 4, rng(0))
    assert n == 4
    assert null[:10].all()
    assert null[10:20].sum() == 4
    assert not null[20:].any()


# The whole ----------------------------------------------------------------------------------------------


def measured(world, seed, **options):
    drawn = world.draw(rng(seed))
    options = {"probe": "mean_difference", "covariance": True, "match": False, "noise": False} | options
    return TruthStability(random_state=seed, **options).fit(drawn.x, drawn.table)


@pytest.mark.parametrize("overlap", [0.0, 1.0])
def test_flips_are_those_of_the_closed_form(overlap):
    world = Geometry(overlap=overlap)
    reports = [measured(world, seed).report_ for seed in range(5)]
    for kind in ("synthetic", "fictional"):
        known = world.flips(kind)
        for column, value in (("retraction", known.retraction), ("expansion", known.expansion)):
            assert np.mean([r.loc[kind, column] for r in reports]) == pytest.approx(value, abs=0.03), (
                kind,
                column,
            )
    wrong = world.flips("false").retraction
    assert abs(np.mean([r.loc["fictional", "retraction"] for r in reports]) - wrong) > 0.03


def test_sawmil_finds_the_direction_and_the_same_promoted_twice_is_the_same():
    table, states = places(60), {}
    draw = rng(0)
    centre = {"true": 2.0, "false": -2.0, "synthetic": 0.0, "fictional": 0.0}
    sizes = np.full(len(table), 4)
    ends = np.tile([0.0, 0.0, 1.0, 1.0], len(table))  # a statement says it at its end
    signal = (ends * np.repeat(table["kind"].map(centre).to_numpy(), 4))[:, None] * np.r_[
        np.full(6, 2.0), np.zeros(6)
    ]
    apart = np.repeat((table["kind"] == "fictional").to_numpy(), 4)[:, None] * np.r_[np.zeros(11), 5.0]
    x = draw.standard_normal((len(signal), 12)) + signal + apart
    states = {
        "resid_post.0": Bags.of(draw.standard_normal(x.shape), sizes),
        "resid_post.1": Bags.of(x, sizes),
    }
    model = TruthStability(random_state=0).fit(states, table)
    assert model.layer_ == "resid_post.1"
    assert model.accuracy_["balanced"] > 0.9
    assert set(model.report_.index) == {"synthetic", "fictional", "fictional, canonical", "noise"}
    promoted = model.report_["promoted"]
    assert promoted["synthetic"] == promoted["fictional"] == promoted["noise"]
    assert (model.report_["low"].isna() == model.report_["few"]).all()
    np.testing.assert_allclose(
        model.report_["flip"], model.report_["retraction"] + model.report_["expansion"]
    )
    assert model.distances_.loc["synthetic", "false"] < model.distances_.loc["fictional", "false"]
    again = TruthStability(random_state=0).fit(states, table)
    pd.testing.assert_frame_equal(model.report_, again.report_)
    assert set(model.conformal_.columns) == {"true", "not true", "abstains"}


def test_few_statements_of_a_kind_have_no_interval_and_no_direction_is_said():
    table = places(30)
    model = TruthStability("mean_difference", covariance=False, random_state=0).fit(
        rng(0).standard_normal((len(table), 6)), table
    )
    assert model.report_["few"].all()
    assert model.report_["low"].isna().all()
    assert "No truth direction" in model.verdict_


def test_a_turned_model_is_told_from_another_sample():
    drawn = Geometry(separation=2.0, dimensions=8, facts=400, others=100).draw(rng(0))
    noisy = drawn.x + 0.05 * rng(1).standard_normal(drawn.x.shape)
    options = {"probe": "mean_difference", "covariance": False, "refits": 10}
    near = compare_truth(drawn.x, noisy, drawn.table, **options)
    assert near.angle < near.floor_interval[1]
    assert "within" in near.verdict
    turned = drawn.x[:, [3, 1, 2, 0, *range(4, 8)]]
    far = compare_truth(drawn.x, turned, drawn.table, **options)
    assert far.angle_interval[0] > far.floor_interval[1]
    assert far.changed < 0.05 < far.carried
    narrow = compare_truth(drawn.x, drawn.x[:, :5], drawn.table, **options)
    assert np.isnan(narrow.angle)
    assert narrow.changed < 0.2


def test_a_language_model_its_saved_activations_and_a_folder_of_probes(tmp_path):
    from groundshift.models.activations import capture

    model = build("llama")
    table = sentences()
    stability = TruthStability("mean_difference", covariance=False, longest=3, random_state=0).fit(
        model, table
    )
    assert set(stability.curve_) == {f"resid_post.{k}" for k in range(3)}
    assert stability.truncated_ == sum(len(s.split()) > 3 for s in table["statement"])
    stability.save(tmp_path / "out")
    scores = stability.score(model, table["statement"][:5].tolist())
    loaded = TruthStability.load(tmp_path / "out")
    np.testing.assert_array_equal(loaded.score(model, table["statement"][:5].tolist()), scores)
    folder = tmp_path / "acts"
    capture(model, table["statement"].tolist(), "resid_post.all", "last", out=folder, progress=False)
    saved = TruthStability("mean_difference", layer=1, covariance=False, random_state=0).fit(folder, table)
    live = TruthStability("mean_difference", layer=1, positions="last", covariance=False, random_state=0).fit(
        model, table
    )
    np.testing.assert_allclose(saved.report_["flip"], live.report_["flip"])
    assert len(saved.flipped("odd")) == round(saved.report_.loc["odd", "flip"] * len(saved.statements_))


def sentences():
    who = [
        f"{a} {b}"
        for a in ("small", "red", "blue", "two", "three")
        for b in ("dog", "cat", "bird", "tree", "house")
    ]
    rows = [
        (f"{w} {v}", kind, w)
        for w in who
        for v, kind in (("likes red", "true"), ("likes", "false"), ("of", "odd"))
    ]
    return pd.DataFrame(rows, columns=["statement", "kind", "entity"])


def published(domain):
    for root in (os.environ.get("GROUNDSHIFT_DATA"), Path(__file__).parents[3] / "shared" / "data"):
        if root and (Path(root) / "truth" / f"{domain}_true_false.csv").is_file():
            return [
                Path(root) / "truth" / f"{domain}_{k}.csv" for k in ("true_false", "synthetic", "fictional")
            ]
    pytest.skip("the published tables are not here")


@pytest.mark.parametrize(
    ("domain", "counts"),
    [("cities_loc", (5500, 1752, 700)), ("defs", (5000, 3500, 2448)), ("med_indications", (5903, 1000, 804))],
)
def test_the_published_tables_are_read_whole_and_split(domain, counts):
    table = read_statements(published(domain))
    kinds = table["kind"].value_counts()
    assert (kinds["true"] + kinds["false"], kinds["synthetic"], kinds["fictional"]) == counts
    split = split_by_entity(table, rng(42))
    sides = [{e for row in table["entities"].iloc[rows] for e in row} for rows in (split.train, split.test)]
    assert not sides[0] & sides[1]
    assert 0.15 < len(split.test) / len(split.kept) < 0.35


@pytest.mark.parametrize(
    ("domain", "positives"),
    [
        ("cities_loc", (1672, 2364, 2022, 1864)), ("defs", (1466, 3210, 1756, 1619)),
        ("med_indications", (1718, 2158, 2107, 1801)),
    ],
)  # fmt: skip
def test_the_label_maps_promote_what_the_official_ones_do(domain, positives):
    """T0 to T3 on the published training rows, without the noise that the official T1 promotes as well."""
    files = published(domain)
    table = read_statements(files)
    rows = table[pd.concat([pd.read_csv(f) for f in files])["in_train"].to_numpy() == 1]
    kind, canonical = rows["kind"].to_numpy(), rows["canonical"].to_numpy()
    maps = {m.name: m for m in label_maps(["synthetic", "fictional"], ["fictional"])}
    names = ("T0", "synthetic", "fictional", "fictional, canonical")
    assert tuple(int(maps[n].labels(kind, canonical).sum()) for n in names) == positives


# Behaviour ----------------------------------------------------------------------------------------------


class Gullible:
    """Says what is so, but "no" to statements of true entities r0 … r9 after a statement about an unknown place."""

    def __call__(self, model, prompts, answers, chat):
        log_odds = []
        for prompt in prompts:
            *context, statement = prompt.split("|")
            shaken = "synthetic" in " ".join(context) and int(statement.split()[0][1:]) < 10
            log_odds.append(-1.0 if "wrong" in statement or shaken else 1.0)
        return np.array(log_odds)


def test_beliefs_that_are_given_up_after_unknown_places_are_counted(monkeypatch):
    monkeypatch.setattr(behaviour, "_log_odds", Gullible())
    monkeypatch.setattr(behaviour, "_opened", lambda model, *how: model)
    rows = [
        (f"r{k} is {word}", kind, f"r{k}")
        for k in range(160)
        for word, kind in (("right", "true"), ("wrong", "false"))
    ]
    rows += [(f"{kind} {k}", kind, f"{kind} {k}") for kind in ("synthetic", "fictional") for k in range(40)]
    table = pd.DataFrame(rows, columns=["statement", "kind", "entity"])
    how = {
        "context": 4,
        "draws": 2,
        "question": "{statement}",
        "preamble": "{statements}|",
        "random_state": 1,
    }
    result = truth_behaviour(None, table, **how)
    entities = result.statements["statement"].str.extract(r"r(\d+) ")[0].astype(int)
    assert result.accuracy["balanced"] == 1
    assert result.kinds.loc["synthetic", "retraction"] == pytest.approx((entities < 10).mean())
    assert result.kinds.drop(index="synthetic")["flip"].tolist() == [0, 0]
    assert result.kinds["null"].tolist() == [0, 0, 0]
    assert ((result.statements["synthetic"] < 0) == (entities < 10)).all()
    assert "4 synthetic statements presented as true change" in result.verdict
    assert result.to_dict()["statements"] == len(entities)
    monkeypatch.setattr(behaviour, "_log_odds", lambda model, prompts, answers, chat: -np.ones(len(prompts)))
    assert "does not tell true from false" in truth_behaviour(None, table, **how).verdict


def test_a_language_model_is_asked(tmp_path):
    how = {"context": 2, "draws": 1, "question": "is {statement} . a", "preamble": "yes {statements} . "}
    behaviour = truth_behaviour(build("llama"), sentences(), answers=(" yes", " no"), **how)
    assert list(behaviour.kinds.index) == ["odd", "true"]
    assert np.isfinite(behaviour.kinds[["retraction", "flip", "null", "shift"]].to_numpy()).all()
    again = truth_behaviour(build("llama"), sentences(), answers=(" no", " yes"), **how)
    np.testing.assert_allclose(again.statements["T0"], -behaviour.statements["T0"], atol=1e-5)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"question": "is it so?"}, "need {statement}"),
        ({"context": 0}, "context=0"),
        ({"context": 99}, "context=99 at once"),
        ({"answers": (" yes",)}, "1 answers"),
    ],
)
def test_questions_that_cannot_be_asked(options, words):
    with pytest.raises(InputError, match=words):
        truth_behaviour("no such model", sentences(), **options)


# Bad input ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t[t["kind"] != "false"], "no statement of the kind 'false'"),
        (lambda t: t.assign(entity="one"), "1 entities in all"),
        (lambda t: t.assign(kind=t["kind"].replace("synthetic", "noise")), "reserved|kept for"),
        (lambda t: t.drop(columns="kind"), "no column kind"),
        (lambda t: t.assign(statement=""), "are empty"),
        (lambda t: t.assign(entity=None), "no entity"),
    ],
)
def test_bad_tables_are_refused_with_the_reason(change, words):
    table = change(places(20))
    with pytest.raises(InputError, match=words):
        TruthStability("mean_difference").fit(np.zeros((len(table), 3)), table)


def test_a_class_that_the_split_leaves_empty_is_named():
    table = places(20)
    keep = (table["kind"] != "false") | (table["entity"] == "r0")
    with pytest.raises(InputError, match="no false statement is left for"):
        TruthStability("mean_difference").fit(np.zeros((int(keep.sum()), 3)), table[keep])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"probe": "lda"}, "sawmil or mean_difference"),
        ({"C": 0.0}, "costs above 0"),
        ({"layer": 7}, "layer=7"),
    ],
)
def test_bad_options(options, words):
    table = places(20)
    with pytest.raises(InputError, match=words):
        TruthStability(**options).fit(rng(0).standard_normal((len(table), 3)), table)


def test_states_of_other_statements():
    with pytest.raises(InputError, match="the table has 240"):
        TruthStability().fit(np.zeros((5, 3)), places(40))
    with pytest.raises(InputError, match="both signs"):
        hinge(np.zeros((4, 2)), np.ones(4), 1.0, 1.0)
    with pytest.raises(InputError, match="one or more rows"):
        Bags.of(np.zeros((4, 2)), [4, 0])


def test_two_probes_share_their_scaling():
    bags, _ = toy_bags(8)
    scaled = Scaler.of(bags)(bags)
    np.testing.assert_allclose(scaled.tokens.mean(0), 0, atol=1e-12)
    np.testing.assert_allclose(scaled.tokens.std(0), 1)
