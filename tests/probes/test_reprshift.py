"""Concepts, shifts and steering, against their definitions and exact worlds."""

import itertools

import numpy as np
import pytest
import torch
from sklearn.base import clone

from groundshift.errors import InputError
from groundshift.models.activations import Steer, capture, generate, steer
from groundshift.probes import reprshift
from groundshift.probes.reprshift import (
    ReprShift,
    SteeringVector,
    Unembedding,
    choose_vectors,
    consistency,
    decompose,
    fine_vectors,
    match,
    recovery,
    representation_shift,
    shift_vectors,
    steering_vector,
    token_states,
    words,
)
from groundshift.worlds.gaussian_shift import gaussian_shift
from tests.models.tiny_models import WORDS, build, fresh, rows, tokenizer


def drawn(seed=0, n=800, **how):
    return gaussian_shift(np.random.default_rng(seed), n, **{"clusters": 4, "width": 12, **how})


# Concepts ------------------------------------------------------------------------------------------------


def test_decompositions_are_what_they_are_called():
    Z = np.random.default_rng(0).standard_normal((60, 6)) * np.arange(1, 7) + 2
    right = np.linalg.svd(Z)[2][:3]
    assert np.abs(decompose(Z, "svd", 3).U @ right.T) == pytest.approx(np.eye(3), abs=1e-6)
    right = np.linalg.svd(Z - Z.mean(0))[2][:3]
    pca = decompose(Z, "pca", 3)
    assert np.abs(pca.U @ right.T) == pytest.approx(np.eye(3), abs=1e-6)
    # Under PCA, states are centred by their own mean, not by that of the states the axes are from.
    assert pca.activations(Z + 100) == pytest.approx(pca.activations(Z))
    longest = np.sort(np.linalg.norm(Z, axis=1))[-3:][::-1]
    assert np.linalg.norm(decompose(Z, "simple", 3).U, axis=1) == pytest.approx(longest)
    semi = decompose(Z, "snmf", 3)
    V = semi.activations(Z)
    assert V.min() >= 0 > semi.U.min()
    assert np.linalg.norm(Z - V @ semi.U) < 0.8 * np.linalg.norm(Z)
    centroids = decompose(Z, "kmeans", 3)
    nearest = np.linalg.norm(Z[:, None] - centroids.U, axis=2)
    assert centroids.activations(Z) == pytest.approx(1 / (1 + nearest))
    for k in range(3):
        assert Z[nearest.argmin(1) == k].mean(0) == pytest.approx(centroids.U[k])


def test_the_best_of_the_fits_is_kept():
    """A start that misses the optimum leaves two clusters in one centroid, and the first of the fits often does."""
    missed = 0
    for seed in range(12):
        world = drawn(seed, n=300, clusters=8, width=4)
        kept, first = (
            ReprShift(n_concepts=8, n_seeds=n, random_state=seed).fit(world.before, world.after)
            for n in (5, 1)
        )
        inertia = [
            sum(
                (np.linalg.norm(Z[:, None] - U, axis=2).min(1) ** 2).sum()
                for Z, U in ((world.before, fit.concepts_before_), (world.after, fit.concepts_after_))
            )
            for fit in (kept, first)
        ]
        assert inertia[0] <= inertia[1] * (1 + 1e-9)
        missed += inertia[1] > 1.001 * inertia[0]
    assert missed >= 2


def test_the_matching_is_the_best_of_all():
    rng = np.random.default_rng(0)
    for _ in range(5):
        U, W = rng.standard_normal((2, 4, 3))
        cosines = (U / np.linalg.norm(U, axis=1)[:, None]) @ (W / np.linalg.norm(W, axis=1)[:, None]).T
        totals = {order: cosines[range(4), order].sum() for order in itertools.permutations(range(4))}
        assert tuple(match(U, W)) == max(totals, key=totals.get)


@pytest.mark.parametrize(
    ("kind", "count", "message"), [("kmeans", 99, "1 to 60"), ("pca", 7, "1 to 6"), ("ica", 2, "snmf")]
)
def test_impossible_dictionaries_are_refused(kind, count, message):
    with pytest.raises(InputError, match=message):
        decompose(np.random.default_rng(0).standard_normal((60, 6)), kind, count)


# Shifts --------------------------------------------------------------------------------------------------


def test_consistency_is_the_mean_over_pairs():
    d = np.random.default_rng(0).standard_normal((40, 5)) + 0.5
    unit = d / np.linalg.norm(d, axis=1, keepdims=True)
    assert consistency(d) == pytest.approx((unit @ unit.T)[np.triu_indices(40, 1)].mean())
    assert consistency(np.vstack([d, np.zeros(5)])) == pytest.approx(consistency(d))
    # Orthogonal shifts count: entries of zero are no gaps.
    assert consistency(np.eye(4)) == pytest.approx(0)
    assert np.isnan(consistency(d[:1]))


def test_averages_resist_what_they_should():
    d = np.r_[np.ones((19, 2)), [[1000.0, 1000.0]]]
    group = np.zeros(20, int)
    assert shift_vectors(d, group, 1, "mean")[0, 0] > 50
    assert shift_vectors(d, group, 1, "median")[0].tolist() == [1, 1]
    assert shift_vectors(d, group, 1, "trimmed")[0].tolist() == [1, 1]


def test_in_sample_recovery_is_an_identity():
    """Shifted centroids are the means of the tuned states of the same samples, whatever the change was."""
    rng = np.random.default_rng(1)
    A = rng.standard_normal((300, 6))
    B = np.sin(3 * A) + rng.standard_normal((300, 6))
    model = ReprShift(n_concepts=5, n_seeds=1, random_state=0).fit(A, B)
    for k in range(5):
        assert model.concepts_shifted_[k] == pytest.approx(B[model.assignment_ == k].mean(0))


def test_recovery_has_its_definition():
    b, u, s = np.array([[1.0, 0.0]]), np.array([[1.0, 1.0]]), np.array([[2.0, 0.0]])
    table = recovery(b, u, s)
    assert table["cosine"][0] == pytest.approx(1 - np.sqrt(0.5))
    assert table["cosine_normalised"][0] == pytest.approx(np.sqrt(2) - 1)
    assert table["distance"][0] == pytest.approx(0)


def test_known_shifts_are_found():
    world = drawn()
    model = ReprShift(n_concepts=4, random_state=0).fit(world.before, world.after)
    for k in range(4):
        (cluster,) = np.unique(world.cluster[model.assignment_ == k])
        assert model.shifts_[k] == pytest.approx(world.shifts[cluster], abs=0.1)
    assert model.table_["consistency"].to_numpy() == pytest.approx(world.consistency, abs=0.03)
    arms = model.held_out_
    assert arms.loc["concept", "gain"] > arms.loc[["global", "random"], "gain"].max() + 0.03
    # What is left of the samples is the noise.
    assert arms.loc["concept", "distance"] == pytest.approx(0.3 * np.sqrt(12), rel=0.05)
    assert arms.loc["global", "distance"] > 3
    assert len(model.spread_) == 5


def test_without_structure_the_three_arms_are_alike():
    rng = np.random.default_rng(0)
    A = rng.standard_normal((600, 8))
    B = A + 1 + 0.3 * rng.standard_normal((600, 8))
    arms = ReprShift(n_concepts=4, random_state=0).fit(A, B).held_out_
    assert arms["distance"].max() - arms["distance"].min() < 0.03
    assert arms["distance"].idxmin() == "global"


def test_standardising_takes_the_scale_of_coordinates_away():
    world = drawn()
    stretched = np.array([1000.0] + [1.0] * 11)
    plain, huge = (
        ReprShift(n_concepts=4, standardise=True, n_seeds=1, random_state=0).fit(
            world.before * s, world.after * s
        )
        for s in (1.0, stretched)
    )
    assert huge.table_["held_out"].to_numpy() == pytest.approx(plain.table_["held_out"].to_numpy())
    assert huge.shifts_ == pytest.approx(plain.shifts_ * stretched)


@pytest.mark.parametrize("method", ["snmf", "pca", "svd", "simple"])
def test_every_method_fits(method):
    world = drawn(n=300)
    model = ReprShift(method, 3, n_seeds=1, n_samples=10, random_state=0).fit(world.before, world.after)
    assert model.concepts_after_.shape == model.shifts_.shape == (3, 12)
    assert model.table_["size"].sum() == 300
    assert model.samples_["shifted"].shape == (3, 10)
    assert model.to_dict()["samples"] == 300


def test_small_concepts_are_flagged_and_not_scored():
    world = drawn(n=400)
    far = world.before[:3] + 500
    A, B = np.vstack([world.before, far]), np.vstack([world.after, far])
    table = ReprShift(n_concepts=5, n_seeds=1, random_state=0).fit(A, B).table_
    (k,) = table.index[~table["scored"]]
    assert table.loc[k, "size"] == 3
    assert table.loc[k, ["consistency", "cosine", "held_out"]].isna().all()
    assert table.drop(k)["held_out"].notna().all()


def test_options_of_the_shifted_concepts():
    world = drawn(n=400)
    options = {"normalise_shifts": True, "unit_concepts": False, "alpha": 2.0}
    model = ReprShift(n_concepts=4, n_seeds=1, random_state=0, **options).fit(world.before, world.after)
    assert np.linalg.norm(model.concepts_shifted_ - model.concepts_before_) == pytest.approx(2)
    model = clone(model).set_params(unit_concepts=True).fit(world.before, world.after)
    assert np.linalg.norm(model.concepts_shifted_, axis=1) == pytest.approx(np.ones(4))


def test_samples_are_matched_by_ids():
    world = drawn(n=400)
    names = np.array([f"s{k}" for k in range(400)])
    order = np.random.default_rng(0).permutation(400)[:350]
    fit = ReprShift(n_concepts=4, n_seeds=1, random_state=0).fit
    model = fit(world.before, world.after[order], ids=(names, names[order]))
    kept = np.isin(names, names[order])
    assert sorted(model.ids_) == sorted(names[order])
    by_name = np.argsort(names[kept])
    straight = fit(world.before[kept][by_name], world.after[kept][by_name])
    assert model.table_.equals(straight.table_)
    with pytest.raises(InputError, match="pass ids to match"):
        fit(world.before, world.after[order])
    with pytest.raises(InputError, match="No id is in both"):
        fit(world.before, world.after, ids=(names, np.char.add(names, "x")))
    with pytest.raises(InputError, match="of its own"):
        fit(world.before, world.after, ids=(names, np.repeat(names[:200], 2)))


def test_bad_states_are_told():
    world = drawn(n=100)
    fit = ReprShift(n_concepts=4).fit
    broken = world.after.copy()
    broken[7, 3] = np.inf
    with pytest.raises(InputError, match=r"after tuning.*\[7\]"):
        fit(world.before, broken)
    with pytest.raises(InputError, match="one width"):
        fit(world.before, world.after[:, :5])
    with pytest.raises(InputError, match="at most 50 concepts"):
        ReprShift(n_concepts=60).fit(world.before, world.after)
    with pytest.raises(InputError, match="different states"):
        fit(np.repeat(world.before[:3], 20, axis=0), world.after[:60])
    with pytest.raises(InputError, match="average"):
        ReprShift(average="mode").fit(world.before, world.after)
    with pytest.raises(InputError, match="unembedding"):
        fit(world.before, world.after).words(0)


# Words ---------------------------------------------------------------------------------------------------


class Plain:
    """Tokens t0, t1, …: some of them words."""

    def __init__(self, texts):
        self.texts = texts

    def decode(self, ids):
        return self.texts[ids[0]]


def test_words_are_those_of_the_whole_sorting(monkeypatch):
    monkeypatch.setattr(words, "CHUNK", 70)
    rng = np.random.default_rng(0)
    texts = ["".join(rng.choice(list("abcdefg"), rng.integers(1, 6))) for _ in range(500)]
    texts[3], texts[4], texts[5] = "The", "  17", "don't"
    W, U = rng.standard_normal((500, 8)), rng.standard_normal((3, 8))
    named = Unembedding(W, Plain(texts)).words(U, n=10, top_tokens=60)
    for u, own in zip(U, named, strict=True):
        ranked = [texts[i].strip().lower() for i in np.argsort(-(W @ u))[:60]]
        expected = list(dict.fromkeys(t for t in ranked if words.is_word(t)))[:10]
        assert own == expected
    few = Unembedding(W, Plain(texts), known={"zebra"}).words(U, top_tokens=500)
    assert few == [["17"]] * 3  # numbers need no dictionary
    with pytest.raises(InputError, match="width 5"):
        Unembedding(W, Plain(texts)).words(np.ones((1, 5)))


def test_blocks_are_normed_before_they_are_read():
    model = build("llama")
    assert Unembedding.of(model, "final_norm").norm is None
    acts = capture(model, ["the dog sees a cat"], ["resid_post.-1", "final_norm"], progress=False)
    block, normed = (
        Unembedding.of(model, site).words(acts[site].astype(float), top_tokens=len(WORDS))
        for site in ("resid_post.2", "final_norm")
    )
    assert block == normed
    assert "the" not in block[0]
    assert {"dog", "riga"} <= set(Unembedding.of(model, "final_norm").words(acts["final_norm"], 99, 99)[0])


# States of models ----------------------------------------------------------------------------------------


def test_states_are_those_that_predict_the_token():
    model = build("llama")
    texts = ["the dog sees a cat", "no bird", "two Cat on the house", "a dog likes the cat on the cat"]
    acts = token_states(model, texts, "resid_post.0", token="cat", progress=False)
    assert acts.rows.tolist() == [0, 3]
    ids = torch.tensor([model.tokenizer(texts[3])["input_ids"]])
    with torch.no_grad():
        hidden = model.net(ids, output_hidden_states=True).hidden_states[1]
    assert acts["resid_post.0"][1] == pytest.approx(hidden[0, 3].numpy(), abs=1e-5)
    with pytest.raises(InputError, match=r"'Paris' was never produced.*Paris.*most frequent words: the"):
        token_states(model, texts, token="Paris", progress=False)


def test_what_a_model_writes_is_searched():
    model = build("llama")
    rows = generate(model, ["the dog", "a cat"], max_new_tokens=6, progress=False)
    word = rows[0]["completion"].split()[2]
    acts = token_states(model, ["the dog", "a cat"], token=word, max_new_tokens=6, progress=False)
    assert 0 in acts.rows


def test_two_models_are_compared_on_the_rows_that_both_have():
    one, other = build("llama"), fresh("llama")
    for weight in other.model.layers[1].parameters():
        weight.data += 0.02 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(1))
    other = type(one)(other, tokenizer())
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(WORDS[9:30], 6)) for _ in range(60)]
    a = capture(one, texts[:50], "resid_post.all", progress=False)
    b = capture(other, texts, "resid_post.all", progress=False)
    shift = representation_shift(
        a, b, n_concepts=3, n_seeds=1, random_state=0, unembedding=Unembedding.of(one, "resid_post.2")
    )
    assert list(shift.cka) == ["resid_post.0", "resid_post.1", "resid_post.2"]
    assert shift.cka["resid_post.0"] == pytest.approx(1)
    assert shift.cka["resid_post.1"] < 0.9999
    assert shift.site == "resid_post.2"
    assert shift.shift.standardise
    assert len(shift.shift.ids_) == 50
    assert len(shift.shift.words_["after"]) == 3
    assert set(shift.to_dict()) >= {"cka", "site", "held_out", "concepts"}
    b.meta["tokenizer"] = "another"
    with pytest.raises(InputError, match="different tokenizers"):
        representation_shift(a, b, n_concepts=3)
    flat = capture(one, texts, "resid_post.0", "all", progress=False)
    with pytest.raises(InputError, match="one state per row"):
        representation_shift(flat, flat, n_concepts=3)


def test_images_with_text_are_captured_and_steered():
    model = build("llava")
    seen = [row for row in rows("llava") if isinstance(row, dict)]
    acts = token_states(model, seen, "resid_post.-1", token="the", progress=False)
    assert acts["resid_post.2"].shape == (2, 32)
    written = token_states(model, seen, "final_norm", positions="last", max_new_tokens=3, progress=False)
    assert written["final_norm"].shape == (2, 32)
    v = steering_vector(acts["resid_post.2"][:1], acts["resid_post.2"][1:], site="resid_post.2")
    answers = reprshift.steered_answers(model, v, seen, alpha=20.0, max_new_tokens=3, progress=False)
    assert answers["changed"].any()


# Steering ------------------------------------------------------------------------------------------------


def test_a_vector_is_saved_with_its_provenance(tmp_path):
    model = build("llama")
    v = reprshift.vector_from_rows(model, ["the dog", "a dog"], ["the cat"], "resid_post.1", progress=False)
    states = capture(model, ["the dog", "a dog", "the cat"], "resid_post.1", progress=False)["resid_post.1"]
    assert v.vector == pytest.approx(states[2] - states[:2].mean(0), abs=1e-5)
    again = SteeringVector.load(v.save(tmp_path / "v.safetensors"))
    assert again.site == "resid_post.1"
    assert (again.vector == v.vector).all()
    assert again.provenance["model"]["weights"] == model.fingerprint()["weights"]
    assert again.provenance["source"] == 2
    (tmp_path / "w.safetensors").write_text("no")
    with pytest.raises(InputError, match="no steering vector"):
        SteeringVector.load(tmp_path / "w.safetensors")
    with pytest.raises(InputError, match="no file"):
        SteeringVector.load(tmp_path / "x.safetensors")


def test_styles_of_captions_are_means_over_what_was_written():
    model = build("llama")
    written = [{"prompt": "the dog", "completion": text} for text in ("sees a cat", "runs")]
    style = [{"prompt": "the dog", "completion": "likes a house ."}]
    v = reprshift.vector_from_rows(model, written[:1], style, "resid_post.0", "generated", progress=False)
    states = capture(model, [*written[:1], *style], "resid_post.0", "all", progress=False)
    means = [
        states.row("resid_post.0", k)[2:-1].mean(0) for k in range(2)
    ]  # but the last, which predicts the end
    assert v.vector == pytest.approx(means[1] - means[0], abs=1e-5)


def test_a_vector_moves_the_states_of_chosen_rows_alone():
    model = build("llama")
    texts = ["the dog sees", "a cat"]
    v = SteeringVector("resid_post.1", np.ones(32, np.float32))
    plain = capture(model, texts, "resid_post.1", progress=False)["resid_post.1"]
    with v.applied(model, 0.5, rows=[False, True]):
        moved = capture(model, texts, "resid_post.1", progress=False)["resid_post.1"]
    assert moved - plain == pytest.approx(np.array([[0.0], [0.5]]) * np.ones(32), abs=1e-5)
    assert (capture(model, texts, "resid_post.1", progress=False)["resid_post.1"] == plain).all()


def test_sets_that_make_no_vector_are_refused():
    one = capture(build("llama"), ["the dog"], "resid_post.0", progress=False)
    other = capture(build("qwen2"), ["the dog"], "resid_post.0", progress=False)
    with pytest.raises(InputError, match="different models"):
        steering_vector(one, other)
    with pytest.raises(InputError, match="one width"):
        steering_vector(np.ones((2, 3)), np.ones((0, 3)))
    with pytest.raises(InputError, match="not finite"):
        steering_vector(np.ones((2, 3)), np.full((1, 3), np.nan))
    both = capture(build("llama"), ["the dog"], "resid_post.all", progress=False)
    with pytest.raises(InputError, match="name one"):
        steering_vector(both, both)


def test_the_rule_keeps_vectors_with_one_target():
    plain = ["red"] * 10 + ["blue"] * 10
    candidates = [
        ["blue"] * 20,  # one target
        ["green"] * 7 + ["black"] * 7 + ["blue"] * 6,  # two
        plain,  # nothing
        ["green"] * 15 + ["blue"] * 5,  # one, clearer
        ["blue"] * 18 + ["red"] * 2,  # the same target again
        ["white"] * 3 + ["grey"] + ["red"] * 10 + ["blue"] * 6,
    ]
    chosen = choose_vectors(plain, candidates)
    assert [(c.candidate, c.answers) for c in chosen] == [(3, ("green",)), (0, ("blue",)), (5, ("white",))]
    assert (chosen[0].gain, chosen[0].gap) == (15, 15)
    assert chosen[2].gap == 2
    assert [c.candidate for c in choose_vectors(plain, candidates, keep=1)] == [3]
    two = choose_vectors(plain, candidates, n_target_concepts=2)
    assert ("black", "green") in [c.answers for c in two]
    with pytest.raises(InputError, match="one for each"):
        choose_vectors(plain, [["red"]])


def test_fine_vectors_are_all_ordered_differences():
    U = np.random.default_rng(0).standard_normal((4, 3))
    pairs, vectors = fine_vectors(U)
    assert len(pairs) == 12
    assert vectors.sum(0) == pytest.approx(np.zeros(3))
    for (i, j), v in zip(pairs, vectors, strict=True):
        assert U[i] + v == pytest.approx(U[j])


def test_steering_by_hand_is_the_same():
    model = build("llama")
    v = SteeringVector("resid_post.2", np.linspace(-1, 1, 32).astype(np.float32))
    answers = reprshift.steered_answers(model, v, ["the dog"], alpha=5.0, max_new_tokens=4, progress=False)
    with steer(model, Steer("resid_post.2", v.vector, alpha=5.0)):
        by_hand = generate(model, ["the dog"], max_new_tokens=4, progress=False)
    assert answers["steered"][0] == by_hand[0]["completion"]
