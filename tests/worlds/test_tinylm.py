"""The tiny language world: its law is the one it speaks by, its dials are what they say, its truth is in its text."""

import json

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import chisquare

from groundshift.errors import InputError
from groundshift.worlds.tinylm import (
    BOS,
    EOS,
    PAD,
    Asks,
    Atlas,
    Captions,
    Choice,
    Draws,
    Evidence,
    Facts,
    Judged,
    Lexicon,
    Records,
    Source,
    TinyWorld,
    Tongue,
    Valence,
)

FACTS = Facts(8, 3, 4)
SILENT = {"facts": 0.0}
WORLDS = {
    "facts": ({"facts": FACTS}, {}),
    "judged": ({"facts": FACTS, "judged": Judged()}, SILENT),
    "choice": ({"facts": FACTS, "choice": Choice()}, SILENT),
    "mixed": ({"facts": FACTS, "judged": Judged(), "choice": Choice()}, {"judged": 2.0}),
    "valence": ({"facts": FACTS, "valence": Valence(bad=3)}, SILENT),
    "source": ({"facts": FACTS, "source": Source(reliability=0.9)}, SILENT),
    "liars": ({"facts": FACTS, "source": Source(reliability=0.9, lies="any")}, SILENT),
    "tongue": ({"facts": FACTS, "tongue": Tongue(8, 3, 4, shift="half")}, {}),
    "asks": ({"asks": Asks()}, {}),
    "records": ({"facts": Facts(5, 3, 4), "records": Records()}, SILENT),
    "draws": ({"draws": Draws(draws=4)}, {}),
    "modal": ({"draws": Draws(draws=4, answers="modal")}, {}),
    "evidence": ({"evidence": Evidence(topics=4)}, {}),
    "atlas": ({"atlas": Atlas(familiarity=0.5)}, {}),
    "captions": ({"captions": Captions(names="colour", severity=0.3)}, {}),
}


def world(name, seed=0):
    parts, weights = WORLDS[name]
    return TinyWorld(parts, weights, seed=seed)


def fits(counts, shares):
    """Chi-square: the counts may well come from these shares."""
    counts, shares = np.asarray(counts), np.asarray(shares, dtype=float)
    assert (counts[shares == 0] == 0).all()
    there = shares > 0
    return chisquare(counts[there], shares[there] / shares[there].sum() * counts.sum()).pvalue > 1e-3


# The law -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", WORLDS)
def test_the_oracle_is_the_law_of_what_is_said(name):
    w = world(name)
    rng = np.random.default_rng(5)
    rows = w.draw(rng, 60)
    words = len(w.lexicon)
    predicted, variance, seen = np.zeros(words), np.zeros(words), np.zeros(words)
    for ids in rows.ids:
        t = int(rng.integers(1, (ids != PAD).sum()))
        every = np.tile(ids[: t + 1], (words - 1, 1))
        every[:, t] = np.delete(np.arange(words), PAD)
        every = np.delete(every, 0, axis=0)  # <bos> again would be another document
        p = np.zeros(words)
        p[every[:, t]] = np.exp(w.log_probs(every)[:, t])
        assert p.sum() == pytest.approx(1.0, abs=1e-9)
        predicted, variance = predicted + p, variance + p * (1 - p)
        seen[ids[t]] += 1
    # Each word comes as often as it is predicted: 5 standard errors, one more occurrence for rare words.
    assert (np.abs(seen - predicted) <= 5 * np.sqrt(variance) + 1).all()


@pytest.mark.parametrize("name", WORLDS)
def test_packed_rows_follow_the_law_and_start_as_prompts_do(name):
    w = world(name)
    rows = w.pack(np.random.default_rng(1), 6, 40)
    assert (rows.ids[:, 0] == BOS).all()
    assert (rows.ids != PAD).all()
    law = w.log_probs(rows.ids)
    assert np.array_equal(np.isnan(law), rows.ids == BOS)
    assert np.isfinite(law[rows.ids != BOS]).all()


def test_entropy_is_the_mean_of_the_oracle():
    w = world("facts")
    rows = w.draw(np.random.default_rng(0), 4000)
    law = w.log_probs(rows.ids)
    surprise, tokens = -np.nansum(law, 1), (~np.isnan(law)).sum(1)
    error = (surprise - w["facts"].entropy * tokens).std() / np.sqrt(len(rows)) / tokens.mean()
    assert abs(surprise.sum() / tokens.sum() - w["facts"].entropy) < 4 * error


def test_the_bayes_predictor_agrees_with_simulation():
    rng = np.random.default_rng(0)
    n = 200_000
    p = np.zeros((n, 8))
    p[rng.permuted(np.tile(np.arange(8) < 3, (n, 1)), axis=1)] = rng.dirichlet(np.ones(3), size=n).ravel()
    likelihood = p[:, 0] ** 2 * p[:, 1]
    simulated = likelihood @ p / likelihood.sum()
    assert Draws().predictive([2, 1, 0, 0, 0, 0, 0, 0]) == pytest.approx(simulated, abs=0.01)


# The dials -----------------------------------------------------------------------------------------------


def test_asks_match_their_dials():
    asks = TinyWorld({"asks": Asks(refuse=0.7, opinions=0.4, flipped=0.1)})["asks"]
    truth = asks.draw(np.random.default_rng(0), 20_000).truth
    unsafe = (truth["unsafe"] == 1) & (truth["opinion"] == 0)
    assert fits(np.bincount(truth["opinion"]), [0.6, 0.4])
    assert fits(np.bincount(truth["refused"][unsafe]), [0.3, 0.7])
    refused = truth["wording"][truth["refused"] == 1]
    assert fits(np.bincount(refused), [0.30, 0.25, 0.15, 0.12, 0.10, 0.08])


def test_valence_and_source_match_their_dials():
    w = TinyWorld({"facts": Facts(), "valence": Valence(), "source": Source(reliability=0.8)})
    rows = w["valence"].draw(np.random.default_rng(0), 4000)
    dirty, bad = rows.truth["dirty_document"], rows.truth["bad"]
    assert fits(np.bincount(dirty), [0.6, 0.4])
    assert fits(np.bincount(bad[dirty == 0].ravel()), [0.97, 0.03])
    assert fits(np.bincount(bad[dirty == 1].ravel()), [0.35, 0.65])
    only_bad = w["valence"].dirty_[rows.truth["entity"], rows.truth["relation"]]
    assert bad[only_bad].all()
    has_bad = np.isin(rows.ids, w.lexicon["bad"]).sum(1)
    assert np.array_equal(has_bad, bad.sum(1))
    assert (rows.score > 0).any(1).mean() == pytest.approx((bad.any(1)).mean())
    truth = w["source"].draw(np.random.default_rng(0), 8000).truth
    assert fits(np.bincount(truth["tag"]), [0.5, 0.25, 0.25])
    for tag, p in enumerate((0.5, 0.8, 0.2)):
        assert fits(np.bincount(truth["true"][truth["tag"] == tag]), [1 - p, p])
    right = w["facts"].table_[truth["entity"], truth["relation"]] == truth["object"]
    assert np.array_equal(right.all(1), truth["true"] == 1)
    assert not right[truth["true"] == 0].any()


def test_records_match_their_dials_and_only_some_are_json():
    w = TinyWorld({"facts": Facts(12, 4, 6), "records": Records()}, SILENT)
    records = w["records"]
    rows = records.draw(np.random.default_rng(0), 5000)
    assert fits(np.bincount(rows.truth["kind"]), [0.4, *[0.12] * 5])
    kept = (rows.truth["said"] == rows.truth["gold"]).ravel()
    assert fits(np.bincount(kept), [0.25 * 5 / 6, 1 - 0.25 * 5 / 6])
    for ids, mask, kind in zip(rows.ids[:200], rows.mask, rows.truth["kind"], strict=False):
        try:
            keys = len(json.loads(records.text(ids[mask])))
        except json.JSONDecodeError:
            keys = 0
        assert keys == {0: 3, 2: 4}.get(kind, 0)


def test_draws_and_evidence_match_their_dials():
    draws = TinyWorld({"draws": Draws()})["draws"]
    rows = draws.draw(np.random.default_rng(0), 4000)
    assert fits(np.bincount(rows.truth["described"]), [0.4, 0.6])
    kinds = (rows.truth["p"] > 0).sum(1)[rows.truth["described"] == 1]
    assert fits(np.bincount(kinds)[2:], [1, 1, 1])
    evidence = TinyWorld({"evidence": Evidence(eta_act=0.2)})["evidence"]
    truth = evidence.draw(np.random.default_rng(0), 20_000).truth
    assert fits(np.bincount(truth["pro"] + truth["con"]), np.ones(11))
    for act, eta in ((0, 0.6), (1, 0.2)):
        for balance in (-2, 3):
            told = (truth["act"] == act) & (truth["pro"] - truth["con"] == balance)
            p = expit(evidence.theta_[truth["topic"][told]] + eta * balance)
            yes = truth["yes"][told]
            assert abs(yes.sum() - p.sum()) < 4 * np.sqrt((p * (1 - p)).sum())


def test_an_atlas_matches_its_dials():
    atlas = TinyWorld({"atlas": Atlas(familiarity=0.5, form=0.5)})["atlas"]
    truth = atlas.draw(np.random.default_rng(0), 20_000).truth
    assert fits(np.bincount(truth["marked"]), [0.30, 0.55, 0.15])
    myth = truth["marked"] == 2
    assert fits(np.bincount(truth["kind"][myth]), [0, 0.5, 0.5])
    assert fits(np.bincount(truth["true"][myth]), [0.25, 0.75])
    assert (truth["true"][truth["marked"] == 0] == 1).all()
    judged = truth["marked"] == 1
    assert fits(np.bincount(truth["true"][judged]), [0.5, 0.5])
    common = set(atlas.names_["real"].ravel())
    begins = np.isin(atlas.names_["fictional"][:, 0], list(common))
    assert begins.sum() == 20
    names = np.concatenate([atlas.names_[kind] for kind in atlas.kinds])
    assert len(np.unique(names, axis=0)) == len(names)


def test_the_names_of_an_atlas_do_not_move_with_its_dials():
    plain, other = (
        TinyWorld({"atlas": Atlas(familiarity=phi, form=form)})["atlas"] for phi, form in ((0, 0), (1, 1))
    )
    for kind in ("real", "synthetic"):
        assert np.array_equal(plain.names_[kind], other.names_[kind])
        assert np.array_equal(plain.value_[kind], other.value_[kind])
    said = plain.everything().truth["kind"]
    assert plain.kinds.index("synthetic") not in said


def test_captions_match_their_dials():
    part = TinyWorld({"captions": Captions(names="place", severity=0.2, noise=0.3)})["captions"]
    rows = part.draw(np.random.default_rng(0), 20_000, given={"object": 2})
    assert (rows.truth["object"] == 2).all()
    assert fits(np.bincount(rows.truth["named"]), [0, 0.2, 0.4, 0.2, 0.2])
    shown = (rows.ids[:, 2] - part.lexicon_["visual"][18]) // 3
    right = shown == rows.truth["colour"]
    assert fits(np.bincount(right), [0.3 * 63 / 66, 1 - 0.3 * 63 / 66])
    assert (rows.mask.sum(1) == 1).all()
    assert (rows.ids[:, -1] == EOS).all()


def test_a_tongue_changes_what_its_shift_says():
    worlds = {
        shift: TinyWorld({"facts": FACTS, "tongue": Tongue(8, 3, 4, shift=shift)})
        for shift in ("same", "weak", "half", "strong", "conflict")
    }
    groups = {shift: w["tongue"].groups().values() for shift, w in worlds.items()}
    words = {shift: {word for role in roles for word in role} for shift, roles in groups.items()}
    shared = {shift: len(words["same"] & those) / len(those) for shift, those in words.items()}
    assert shared["same"] == shared["conflict"] == 1.0
    assert shared["strong"] == 0.0
    assert 0.4 < shared["half"] < 0.75
    assert 0.5 < shared["weak"] < 1.0
    for shift, same in (("same", True), ("half", True), ("conflict", False)):
        tables = [worlds[shift][name].table_ for name in ("facts", "tongue")]
        assert (tables[0] == tables[1]).all() if same else (tables[0] != tables[1]).all()
    assert worlds["half"]["tongue"].entropy == pytest.approx(worlds["half"]["facts"].entropy)


# The world -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", WORLDS)
def test_roles_cover_every_token(name):
    w = world(name)
    ids = w.draw(np.random.default_rng(0), 200).ids
    assert len(w.lexicon.role) == len(w.lexicon)
    named = [w.lexicon.roles[k] for k in w.lexicon.role[np.unique(ids)]]
    assert all(
        w.lexicon.words[i] in w.lexicon.groups[role] for i, role in zip(np.unique(ids), named, strict=True)
    )
    assert w.lexicon.decode(ids[0]) == " ".join(w.lexicon.words[i] for i in ids[0] if i)
    assert np.array_equal(w.lexicon.encode(w.lexicon.decode(ids[0])), ids[0][ids[0] != PAD])


def test_facts_are_of_the_seed_and_the_name_alone():
    alone, among = world("facts"), world("mixed")
    assert np.array_equal(alone["facts"].table_, among["facts"].table_)
    assert not np.array_equal(alone["facts"].table_, world("facts", seed=1)["facts"].table_)
    rows = [alone.draw(np.random.default_rng(3), 5).ids for _ in range(2)]
    assert np.array_equal(*rows)
    assert not hasattr(FACTS, "table_")  # the user's part is not touched


def test_rows_of_all_parts_come_by_weight():
    w = world("mixed")
    part = w.draw(np.random.default_rng(0), 6000).truth["part"]
    assert fits(np.bincount(part), [0.25, 0.5, 0.25])
    batch = w.items(64)(np.random.default_rng(0))
    answers = batch["labels"] != -100
    assert np.array_equal(batch["ids"][answers], batch["labels"][answers])
    judged = batch["part"] == 1
    assert (answers[judged].sum(1) == 1).all()
    words = {w.lexicon.words[i] for i in batch["ids"][judged][answers[judged]]}
    assert words == {"yes", "no"}


def test_exams_ask_what_is_true():
    w = world("mixed")
    exam = w["facts"].exam("unasked")
    lexicon = w.lexicon
    assert len(exam.answer) == 2 * 3
    text = lexicon.decode(exam.prompts[0]) + " " + lexicon.words[exam.options[0, exam.answer[0]]]
    stated = [lexicon.decode(row) for row in w["facts"].everything().ids]
    *_, r, _, e, _, _, o = text.split()
    assert f"<bos> {e} {r} is {o} ." in stated
    assert text + " ." not in stated
    for part, name in (("judged", "unseen"), ("choice", "asked"), ("choice", "unasked")):
        answers = w[part].exam(name).answer
        assert answers.mean() == 0.5


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda: TinyWorld({"judged": Judged()}), "has to stand before it"),
        (lambda: TinyWorld({"facts": FACTS}, {"fact": 1.0}), "fact"),
        (lambda: TinyWorld({}), "none"),
        (lambda: Lexicon({"a": ["x"], "b": ["x"]}), "twice"),
        (lambda: world("facts").lexicon.encode("Kami zzz"), "zzz"),
        (lambda: world("facts")["facts"].exam("riddle"), "cloze"),
        (lambda: world("facts").packed(4, 32, on="some"), "completion"),
        (lambda: Atlas(places=41), "40 places"),
        (lambda: Tongue(shift="slang"), "conflict"),
        (lambda: TinyWorld({"facts": FACTS, "tongue": Tongue()}), "give it the same"),
        (lambda: Captions(names="smell"), "colour"),
        (lambda: Draws(answers="wild"), "answers"),
        (lambda: world("liars")["source"].exam("distrusted"), "ring"),
    ],
)
def test_what_cannot_be_is_refused(wrong, words):
    with pytest.raises(InputError, match=words):
        wrong()
