"""Which tokens are meant, in rows with and without completions, images and spans."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import transformers as hf
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers

from groundshift.errors import InputError
from groundshift.models.activations import ProbeModel, capture, encode, rules
from groundshift.models.activations.positions import chosen
from groundshift.models.activations.rows import continued
from tests.models import tiny_models as tiny

ROW = {"prompt": "the dog sees the cat", "completion": "yes the cat runs ."}


def places(rule, row=ROW, name="llama"):
    model = tiny.build(name)
    return chosen(model, encode(model, [row])[0], rules(model, rule))


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("last", [9]),
        ("all", list(range(10))),
        (0, [0]),
        (-2, [8]),
        ("-2", [8]),
        ("token:cat", [7]),  # in the completion, where there is one
        ("predicts:cat", [6]),
        ("predicts:runs|yes", [4]),
        ("token:sees", "token:sees is not there"),
        ("predicts", [4, 5, 6, 7, 8]),
        ("generated", [5, 6, 7, 8]),
        (["last", 0], [9, 0]),
        (10, "position 10: the row has 10 tokens"),
        ("image", "no image tokens"),
    ],
)
def test_rules(rule, expected):
    assert places(rule) == expected


def test_words_without_completion_and_of_several_tokens():
    assert places("token:the cat", "a dog sees the cat") == [4]
    assert places("predicts:the cat", "a dog sees the cat") == [2]
    assert "nothing predicts" in places("predicts:a", "a dog")


@pytest.mark.parametrize("name", tiny.SIGHTED)
def test_images_and_text(name):
    row = tiny.rows(name)[3]
    image, text = places("image", row, name), places("text", row, name)
    ids = encode(tiny.build(name), [row])[0].ids
    assert len(image) > 1
    assert sorted(image + text) == list(range(len(ids)))
    assert [tiny.WORDS[ids[k]] for k in text][-2:] == ["the", "dog"]
    spanned = dict(row, spans={"animal": "dog", "mark": "<image>" if name == "llava" else "<|image_pad|>"})
    assert places("span:animal", spanned, name) == [len(ids) - 1]
    assert places("span:mark", spanned, name) == image


def test_spans():
    row = {**ROW, "spans": {"who": [4, 7], "both": "the cat", "across": [17, 23]}}
    assert places("span:who", row) == [1]
    assert places("span:both", row) == [3, 4, 6, 7]
    assert places("span:across", row) == [4, 5]
    assert places("span:other", row) == "no span 'other'"
    with pytest.raises(InputError, match="not in its text of 38 characters"):
        places("all", {**ROW, "spans": {"who": "bird"}})


def test_mean_and_sum_are_those_of_all_positions():
    model, rows = tiny.build("gpt2"), tiny.rows("gpt2")
    every = capture(model, rows, "resid_post.1", "all")
    mean = capture(model, rows, "resid_post.1", "mean")["resid_post.1"]
    total = capture(model, rows, "resid_post.1", [0, -1], reduce="sum")["resid_post.1"]
    for k in range(len(rows)):
        states = every.row("resid_post.1", k)
        assert np.allclose(mean[k], states.mean(0), atol=1e-6)
        assert np.allclose(total[k], states[0] + states[-1], atol=1e-6)


def test_rows_without_the_position_are_dropped_and_said():
    model = tiny.build("llama")
    rows = ["a dog runs", "a cat runs", "the red dog", "", "dog " * 161]
    acts = capture(model, rows, ["resid_post.0", "resid_post.1"], "token:dog")
    assert acts.rows.tolist() == [0, 2]
    assert acts.dropped == {
        1: "token:dog is not there",
        3: "no tokens",
        4: "161 tokens, and the model reads 160",
    }
    assert acts["resid_post.1"].shape == (2, 32)
    whole = capture(model, ["the red dog"], "resid_post.1", "all")
    assert np.allclose(acts["resid_post.1"][1], whole["resid_post.1"][0, 2], atol=1e-5)
    with pytest.raises(InputError, match=r"None of 5 rows.*\['bird'\]"):
        capture(model, rows, "resid_post.0", "token:bird")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "at least one row"),
        ("a text", "at least one row"),
        ([3], "Row 0 is neither"),
        (["a", {"completion": "b"}], "Row 1 has none of them; exactly one of text"),
        ([{"text": "a", "prompt": "b"}], "Row 0 has text and prompt"),
        ([{"messages": [{"role": "user", "content": "a"}]}], "no chat template"),
        ([{"input_ids": [1, 99]}], "outside the model's vocabulary of 40"),
        ([{"text": "a", "image": "none.png"}], "has no processor"),
    ],
)
def test_wrong_rows(rows, message):
    with pytest.raises(InputError, match=message):
        encode(tiny.build("llama"), rows)


def test_wrong_images_and_positions():
    with pytest.raises(InputError, match=r"none\.png is no image"):
        encode(tiny.build("llava"), [{"text": "<image> a", "image": "none.png"}])
    with pytest.raises(InputError, match="text and images do not fit"):
        encode(tiny.build("llava"), [{"text": "a", "image": tiny.rows("llava")[3]["image"]}])
    for wrong in ("first", "span:", "mean:x", ["mean", "last"], []):
        with pytest.raises(InputError):
            rules(tiny.build("llama"), wrong)
    with pytest.raises(InputError, match="does not know 'zebra'"):
        rules(tiny.build("llama"), "token:zebra")


def test_chats_use_the_template_and_no_other_special_tokens():
    model = tiny.build("llama")
    model.tokenizer.chat_template = "<bos> {% for m in messages %}{{ m.content }} {% endfor %}yes"
    try:
        row = encode(model, [{"messages": [{"role": "user", "content": "a dog"}], "spans": {"what": "dog"}}])[
            0
        ]
    finally:
        model.tokenizer.chat_template = None
    assert [tiny.WORDS[i] for i in row.ids] == ["<bos>", "a", "dog", "yes"]
    assert row.spans == {"what": [2]}


@pytest.mark.parametrize("kind", ["bytes", "trimmed", "metaspace"])
def test_a_text_is_tokenised_as_one_with_its_prompt_where_that_leaves_the_prompt_alone(kind):
    words = Tokenizer(models.BPE())
    if kind == "metaspace":
        words.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    else:
        words.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        words.post_processor = processors.ByteLevel(trim_offsets=kind == "trimmed")
    words.train_from_iterator(
        ["the dog runs and the cat sees a house "] * 4, trainers.BpeTrainer(show_progress=False)
    )
    fast = hf.PreTrainedTokenizerFast(tokenizer_object=words)
    net = SimpleNamespace(get_input_embeddings=lambda: torch.nn.Embedding(len(fast), 1))
    prompts, texts = ["the dog", "the dog ", "the ho"], [" runs and  sees", "runs", "use and the dog"]
    tokenised, spans = continued(ProbeModel(net, fast), prompts, texts)
    for k, (row, prompt, text, at) in enumerate(zip(tokenised, prompts, texts, spans, strict=True)):
        first, second, whole = (fast(x)["input_ids"] for x in (prompt, text, prompt + text))
        assert row.completed
        assert row.ids[: row.prompt].tolist() == first
        if kind == "metaspace":  # no blank is put in front of the text
            pieces = "".join(fast.convert_ids_to_tokens(row.ids.tolist()))
            assert pieces.replace("▁", " ") == f" {prompt}{text}"
        else:
            assert row.ids.tolist() == (whole if k == 0 else [*first, *second])
        assert whole != [*first, *second] or k == 0
        assert len(at) == len(row) - row.prompt
        covered = {i for low, high in at for i in range(low, high)}
        assert covered >= {i for i, c in enumerate(text) if c != " "}


def test_a_tokenizer_that_does_not_say_which_characters_its_tokens_stand_for():
    with pytest.raises(InputError, match="does not say which characters"):
        continued(ProbeModel(None, SimpleNamespace(is_fast=False)), ["a"], ["b"])
