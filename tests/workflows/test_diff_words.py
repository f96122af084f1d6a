"""`groundshift diff` of models with different vocabularies: words of text, added tokens, other tokenizers."""

import shutil
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from groundshift.errors import InputError
from groundshift.models import tinylm
from groundshift.models.activations import generate, load_model, load_tokenizer
from groundshift.workflows.diff import diff, words
from groundshift.workflows.diff.weights import Weights, compatibility, weight_map
from groundshift.worlds.tinylm import Lexicon, TunedFacts
from tests.workflows.conftest import statements, world

LEFT_OUT = {"shifted", "moved tokens", "divergence", "states moved", "states turned"}


def scored(text, *pieces):
    """What a model gives for a text: (from, to, log-probability) of its pieces; None is not read."""
    return words.Scored(
        [text],
        [np.array([p[:2] for p in pieces], np.int64).reshape(-1, 2)],
        [np.array([p[2] for p in pieces if p[2] is not None], float)],
        0.0,
    )


def values(own, base):
    answer_words, names = words.answer_words(own, base)
    return dict(zip((names[k] for k in answer_words.token), answer_words.gain.round(9).tolist(), strict=True))


def test_pieces_add_up_to_words():
    text = " of  the sky. \n"
    blanks_apart = scored(
        text, (0, 3, -1.0), (3, 5, -0.25), (5, 8, -0.5), (8, 10, -1.0), (10, 13, -2.0), (13, 15, -9.0)
    )
    trimmed = scored(text, (1, 3, 0.0), (5, 8, 0.0), (9, 12, -0.5), (12, 13, 0.0), (14, 14, -9.0))
    assert values(blanks_apart, trimmed) == {
        "of": -1,
        "the": -0.75,
        "sky.": -2.5,
    }  # the last blanks are no word's
    joined = scored(text, (0, 7, -0.125), (7, 8, 0.0), (8, 13, 0.0))
    assert values(blanks_apart, joined) == {"of the": -1.625, "sky.": -3}
    assert values(joined, blanks_apart) == {"of the": 1.625, "sky.": 3}


def test_words_that_were_not_read_to_their_end_are_left_out():
    whole = scored("of the sky", (0, 2, -1.0), (2, 6, -1.0), (6, 10, -1.0))
    cut = scored("of the sky", (0, 2, 0.0), (2, 6, 0.0), (6, 8, 0.0), (8, 10, None))
    silent = scored("of the sky", (0, 2, 0.0), (6, 10, 0.0))  # a tokenizer that leaves a word out
    assert values(whole, cut) == {"of": -1, "the": -1}
    assert values(whole, silent) == {"of": -1, "sky": -1}
    assert values(scored(""), scored("")) == {}


def test_words_of_the_base_are_not_new():
    answer_words, names = words.answer_words(
        scored("a b c", (0, 3, 0.0), (3, 5, 0.0)), scored("a b c", (0, 3, 0.0), (3, 5, 0.0))
    )
    assert names == ["a b", "c"]
    assert words.already(answer_words, names, ["b a  b"]) == [{0}]
    assert words.already(answer_words, names, ["b a cc"]) == [set()]


@pytest.fixture(scope="module")
def others(models, tmp_path_factory):
    """The base and the edited model with the same words under other ids; the tunes with two tokens more; and the edit
    with more rows of embeddings than tokens.
    """
    place, _ = models
    new = tmp_path_factory.mktemp("others")
    old = world().lexicon
    mixed = Lexicon({k: v[::-1] for k, v in reversed(old.groups.items()) if k != "special"})
    for name in ("base", "edit"):
        net = tinylm.load(place / name)
        with torch.no_grad():
            rows = net.get_input_embeddings().weight
            rows.copy_(rows[old.encode(mixed.words)])
        net.generation_config.eos_token_id = [2, int(mixed.encode(".")[0])]
        tinylm.save(net, mixed, new / f"mixed-{name}")
    for name in ("base", "edit", "style"):
        net, tokenizer = tinylm.load(place / name), load_tokenizer(place / name)
        tokenizer.add_tokens(["<|im_start|>", "<|im_end|>"], special_tokens=True)
        net.resize_token_embeddings(len(tokenizer), mean_resizing=False)
        net.save_pretrained(new / f"added-{name}")
        tokenizer.save_pretrained(new / f"added-{name}")
    net = tinylm.load(place / "edit")
    net.resize_token_embeddings(len(old) + 6, mean_resizing=False)
    net.save_pretrained(new / "padded-edit")
    load_tokenizer(place / "edit").save_pretrained(new / "padded-edit")
    return new


SETTINGS = {"max_new_tokens": 6, "noise": 2, "progress": False}


def test_added_tokens_leave_the_kind_the_weights_and_both_nulls_as_they_are(models, others, diffs):
    place, prompts = models
    for name in ("base", "edit", "style"):
        plain = diffs[name]
        more = diff(
            place / "base",
            others / f"added-{name}",
            prompts=prompts,
            probes=["tokens", "concepts"],
            **SETTINGS,
        )
        assert more.kind == plain.kind
        pd.testing.assert_frame_equal(more.weights, plain.weights)
        # A word is a token here, so that their numbers are the same, but for what the new tokens take.
        numbers = {n.name: n for n in plain.numbers if n.name not in LEFT_OUT}
        assert (
            {n.name for n in more.numbers} == set(numbers) >= {"overruled", "words lost", "firmest new word"}
        )
        for n in more.numbers:
            same = numbers[n.name]
            assert (n.value, n.again, n.noise) == pytest.approx(
                (same.value, same.again, same.noise), abs=0.05
            )
        one, other = (x.tokens.sort_values("token", ignore_index=True) for x in (more, plain))
        pd.testing.assert_frame_equal(one, other)
        assert more.layers is None
        assert any(
            "2 tokens that its base does not have ('<|im_end|>', '<|im_start|>')" in x for x in more.notes
        )
        assert any("the first" in note and "are compared" in note for note in more.notes)


def test_rows_of_the_embeddings_without_tokens_change_nothing(models, others, diffs):
    place, prompts = models
    pairs = [row | {"chosen": " is .", "rejected": " of ."} for row in prompts]
    padded = diff(
        place / "base",
        others / "padded-edit",
        prompts=prompts,
        pairs=pairs,
        probes=["tokens", "concepts", "displacement"],
        **SETTINGS,
    )
    assert padded.kind == diffs["edit"].kind
    pd.testing.assert_frame_equal(padded.weights, diffs["edit"].weights)
    numbers = {n.name: n.value for n in padded.numbers}
    assert {n.name: n.value for n in diffs["edit"].numbers} == pytest.approx(
        {k: v for k, v in numbers.items() if k not in ("chosen fell", "displaced")}, abs=0.05
    )
    assert padded.details["displacement"]["pairs"] == len(pairs)


def test_the_same_model_under_other_ids_is_unchanged(models, others):
    place, prompts = models
    facts = world()["facts"]
    pairs = [row | {"chosen": f" {facts.word('object', 0, 0)} .", "rejected": " is ."} for row in prompts]
    same = diff(
        place / "base",
        others / "mixed-base",
        prompts=prompts,
        statements=statements(),
        pairs=pairs,
        **SETTINGS,
    )
    assert same.kind == "unchanged"
    assert same.changed() == []
    assert max(n.value for n in same.numbers) < 1e-5
    assert same.details["displacement"]["pairs"] == len(pairs)
    assert abs(same.details["displacement"]["chosen"]) < 1e-4
    assert same.details["truth"]["accuracy"][0] == same.details["truth"]["accuracy"][1]
    assert same.weights is None
    assert any("one null only" in note for note in same.nulls)
    first, second = (load_model(folder) for folder in (place / "base", others / "mixed-base"))
    answers = generate(first, prompts, max_new_tokens=6, progress=False)
    texts = words.written(first, answers)
    one, two = (words.score_texts(model, answers, texts, progress=False) for model in (first, second))
    answer_words, _ = words.answer_words(one, two)
    assert len(answer_words.token) == sum(len(text.split()) for text in texts)
    assert np.abs(np.concatenate(one.logprobs)).max() > 1e-4
    assert np.abs(answer_words.gain).max() < 1e-4


def test_a_tune_under_other_ids_is_named_and_its_page_stands_without_weights(models, others, tmp_path):
    place, prompts = models
    edit = diff(place / "base", others / "mixed-edit", prompts=prompts, probes=["tokens"], **SETTINGS)
    assert edit.kind == "content"
    questions = {
        f"<bos> Q what is the {world()['facts'].word('relation', r)} of {world()['facts'].word('entity', e)} ? A"
        for e, r in world(TunedFacts(edited=5))["retold"].edited_.tolist()
    }
    assert set(edit.examples["prompt"][:5]) == questions
    html = edit.save(tmp_path / "out").read_text()
    assert "The content changed" in html
    assert "Weights that moved" not in html


def test_bytes_are_compared_with_words(models, tmp_path):
    place, prompts = models
    letters = tinylm.byte_tokenizer()
    net = tinylm.build("nano", len(letters), positions=100, seed=0)
    net.save_pretrained(tmp_path / "bytes")
    letters.save_pretrained(tmp_path / "bytes")
    result = diff(place / "base", tmp_path / "bytes", prompts=prompts[:3], probes=["tokens"], **SETTINGS)
    assert next(n for n in result.numbers if n.name == "words lost").value == 1
    base, other = (load_model(folder) for folder in (place / "base", tmp_path / "bytes"))
    answers = generate(base, prompts, max_new_tokens=6, progress=False)
    texts = words.written(base, answers)
    read = words.score_texts(other, answers, texts, progress=False)
    assert [len(spans) for spans in read.spans] == [len(text.encode()) for text in texts]
    # An untrained model gives every byte about the same probability.
    total = sum(logprobs.sum() for logprobs in read.logprobs)
    assert total / sum(map(len, texts)) == pytest.approx(-np.log(len(letters)), rel=0.05)


def test_a_model_without_a_chat_template_reads_chats_through_the_others(models, others, tmp_path):
    place, prompts = models
    for name, source in (("base", place / "base"), ("tuned", others / "added-base")):
        shutil.copytree(source, tmp_path / name)
    (tmp_path / "base" / "chat_template.jinja").unlink()
    assert load_tokenizer(tmp_path / "base").chat_template is None
    rows = [
        {"messages": [{"role": "user", "content": row["prompt"].removeprefix("<bos> ")}]} for row in prompts
    ]
    same = diff(tmp_path / "base", tmp_path / "tuned", prompts=rows, probes=["tokens"], **SETTINGS)
    assert max(n.value for n in same.numbers) < 0.05
    assert any(note.startswith("The base has no chat template") for note in same.notes)


def test_what_cannot_be_compared_by_words_is_refused(models, others, tmp_path):
    place, prompts = models
    one, other = (load_model(folder) for folder in (place / "base", others / "mixed-base"))
    slow = SimpleNamespace(get_vocab=one.tokenizer.get_vocab, is_fast=False)
    with pytest.raises(InputError, match="which characters"):
        compatibility((one.net.config, slow), (other.net.config, other.tokenizer))
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "adapter_config.json").write_text("{}")
    (tmp_path / "adapter" / "adapter_model.safetensors").touch()
    for file in (others / "added-base").glob("token*"):
        shutil.copy(file, tmp_path / "adapter")
    with pytest.raises(InputError, match="adds tokens"):
        diff(place / "base", tmp_path / "adapter", prompts=prompts, **SETTINGS)
    with pytest.raises(InputError, match="has the shapes"):
        weight_map(Weights(place / "base"), Weights(others / "added-base"))
