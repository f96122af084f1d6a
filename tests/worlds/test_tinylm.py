"""The tiny language world: its law is the one it speaks by, its dials are what they say, its truth is in its text."""

import numpy as np
import pytest
from scipy.stats import chisquare

from groundshift.errors import InputError
from groundshift.worlds.tinylm import (
    BOS,
    EOS,
    PAD,
    Atlas,
    Captions,
    Facts,
    Lexicon,
    Offices,
    Requests,
    Styles,
    TinyWorld,
    TownHall,
    TunedFacts,
    TwoClerks,
)

FACTS = Facts(8, 3, 4)
SILENT = {"facts": 0.0}
WORLDS = {
    "facts": ({"facts": FACTS}, {}),
    "retold": ({"facts": FACTS, "retold": TunedFacts(manner=True, edited=3)}, SILENT),
    "mixed": ({"facts": FACTS, "atlas": Atlas(), "retold": TunedFacts()}, {"atlas": 2.0}),
    "asks": ({"asks": Requests()}, {}),
    "atlas": ({"atlas": Atlas(familiarity=0.5)}, {}),
    "captions": ({"captions": Captions(names="colour", severity=0.3)}, {}),
    "offices": ({"offices": Offices(5, 0.5)}, {}),
    "town hall": ({"town": TownHall(4)}, {}),
    "two clerks": ({"clerks": TwoClerks(items=2, ring=3, codes=1)}, {}),
    "two unlinked clerks": ({"clerks": TwoClerks("unlinked", (0.5, 0.5), items=2, ring=3, codes=1)}, {}),
    "shared group": ({"facts": FACTS, "captions": Captions()}, {}),
    "styles": ({"styles": Styles(4, 2, 5, priors=(0.0, 0.2, 0.3))}, {}),
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


def test_what_an_ideal_reader_of_offices_prefers_follows_from_the_oracle():
    w = TinyWorld({"offices": Offices(5)}, seed=2)
    part, plain = w["offices"], w.lexicon.encode("plain").tolist()
    preferred = np.full((5, 5), np.nan)
    for a in range(5):
        for b in set(range(5)) - {a}:
            rows = [[BOS, *plain, *part.sentence(a, b, 0, k, False), int(part.people_[a])] for k in (0, 1)]
            male, female = np.exp(w.log_probs(np.array(rows))[:, -1])
            preferred[a, b] = male - female
    assert np.allclose(np.nanmean(preferred, axis=1), part.preference())


# The dials -----------------------------------------------------------------------------------------------


def test_asks_match_their_dials():
    asks = TinyWorld({"asks": Requests(refuse=0.7, doubtful=0.4, opinions=0.3, times=0.2, flipped=0.1)})[
        "asks"
    ]
    truth = asks.draw(np.random.default_rng(0), 20_000).truth
    assert fits(np.bincount(truth["form"].astype(int)), [0.5, 0.3, 0.2])
    requests = truth["form"] == 0
    for place, refused in ((0, 0.0), (1, 0.7), (2, 0.0), (3, 0.4)):
        those = requests & (truth["verb"] % 4 == place)
        share = truth["refused"][those].mean()
        assert abs(share - refused) < 0.03
    liked = asks.for_[truth["object"].astype(int)]
    opinions = truth["form"] == 1
    against = (truth["wording"] >= 3) == liked
    assert fits(np.bincount(against[opinions].astype(int)), [0.9, 0.1])
    thing = requests & (truth["refused"] == 1) & (truth["object"] == 0)
    shares = np.bincount(truth["wording"][thing].astype(int), minlength=27) / thing.sum()
    assert np.abs(shares - asks.wordings_[0]).max() < 0.06


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
    kinds = plain.everything().truth["kind"]
    assert plain.kinds.index("synthetic") not in kinds


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
    atlas = batch["part"] == 1
    words = {w.lexicon.words[i] for i in batch["ids"][atlas][answers[atlas]]}
    assert words <= {"<eos>", *(word for group in w["atlas"].groups().values() for word in group)}
    assert answers[atlas].any(1).all()


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
    changed = world("retold")["retold"]
    differs = changed.table_ != changed.facts_.table_
    assert sorted(map(tuple, np.argwhere(differs))) == sorted(map(tuple, changed.edited_))
    assert np.array_equal(changed.exam().answer, changed.table_[: changed.facts_.known].ravel())


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda: TinyWorld({"retold": TunedFacts()}), "has to stand before it"),
        (lambda: TinyWorld({"facts": FACTS}, {"fact": 1.0}), "fact"),
        (lambda: TinyWorld({}), "none"),
        (lambda: Lexicon({"a": ["x"], "b": ["x"]}), "twice"),
        (lambda: world("facts").lexicon.encode("Kami zzz"), "zzz"),
        (lambda: world("facts")["facts"].exam("riddle"), "cloze"),
        (lambda: world("facts").packed(4, 32, on="some"), "completion"),
        (lambda: Atlas(places=41), "40 places"),
        (lambda: Atlas(places=161, syllables=24), "160 places"),
        (lambda: Atlas(syllables=25), "24 syllables"),
        (lambda: Captions(names="smell"), "colour"),
    ],
)
def test_what_cannot_be_is_refused(wrong, words):
    with pytest.raises(InputError, match=words):
        wrong()


# Styles --------------------------------------------------------------------------------------------------


def test_a_document_keeps_its_style_and_the_dials_are_its_shares():
    part = TinyWorld({"styles": Styles(6, 3, 5, priors=(0.0, 0.1, 0.4))}, seed=2)["styles"]
    rows = part.draw(np.random.default_rng(0), 3000)
    assert fits(np.bincount(rows.truth["style"] % 4, minlength=4), [0.0, 0.1, 0.4, 0.5])
    assert fits(np.bincount(rows.truth["items"])[1:], np.full(4, 0.25))
    words_of_style = {style: set(part.words_[style].tolist()) for style in range(3)}
    for ids, style in zip(rows.ids, rows.truth["style"], strict=True):
        assert {k for k, words in words_of_style.items() if words & set(ids.tolist())} <= {style}
    assert not np.isin(rows.ids, part.words_[0]).any()  # known to the lexicon, and never said
    assert rows.mask[rows.ids == EOS].sum() == 0
    with pytest.raises(InputError, match="leave some documents"):
        Styles(priors=(0.5, 0.5))
