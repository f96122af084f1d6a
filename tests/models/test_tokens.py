"""Texts, chats and preference pairs as tokens, against plain passes of transformers, one row at a time."""

import gzip
import json
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from groundshift.adaptation import displacement as dp
from groundshift.errors import InputError
from groundshift.models.activations import ProbeModel, encode, generate, option_logprobs, score
from groundshift.models.records import read_records

NAMES = ["<bos>", "<eos>", "<|im_start|>", "<|im_end|>"]
HEAD = "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + "
ASK = "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
CHATML = HEAD + "m['content'] + '<|im_end|>\n' }}{% endfor %}" + ASK
TEMPLATES = {  # the template, and how the answer "yes" ends
    "newline behind the end of turn": (CHATML, "yes<|im_end|>"),
    "no newline": (HEAD + "m['content'] + '<|im_end|>' }}{% endfor %}" + ASK, "yes<|im_end|>"),
    "its own end token": (HEAD + "m['content'] + eos_token }}{% endfor %}" + ASK, "yes<eos>"),
    "two ends": (CHATML + "{% if not add_generation_prompt %}{{ eos_token }}{% endif %}", "yes<|im_end|>"),
    "an end in ordinary words": (HEAD + "m['content'] + '[END]\n' }}{% endfor %}" + ASK, "yes[END]"),
    "no end at all": (HEAD + "m['content'] }}{% endfor %}" + ASK, "yes<eos>"),
    "a beginning": ("{{ bos_token }}" + CHATML, "yes<|im_end|>"),
    "trimmed": (CHATML.replace("m['content']", "m['content'] | trim"), "yes<|im_end|>"),
}


def byte_tokenizer(front=(), behind=(), template=None, **special):
    """Bytes as tokens, with what its post-processor puts around a text."""
    vocab = {w: i for i, w in enumerate([*NAMES, *sorted(pre_tokenizers.ByteLevel.alphabet())])}
    tokenizer = Tokenizer(models.BPE(vocab, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(NAMES)
    if front or behind:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=" ".join([*front, "$A", *behind]),
            special_tokens=[(w, vocab[w]) for w in (*front, *behind)],
        )
    tokenizer.enable_truncation(4)  # as some saved tokenizers do
    tokens = {"bos_token": "<bos>", "eos_token": "<eos>"} | special
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, chat_template=template, **tokens)


def metaspace_tokenizer():
    """Llama's kind: a blank is put in front of a text that is read by itself."""
    pieces = [
        *"▁:.?aehistycrPno",
        "▁Paris",
        "▁is",
        "▁the",
        "▁city",
        "▁of",
        "of",
        "▁yes",
        "yes",
        "▁no",
        "no",
    ]
    vocab = [
        *((w, 0.0) for w in ("<unk>", *NAMES)),
        *((w, -float(len(w) < 2) - 1) for w in dict.fromkeys(pieces)),
    ]
    tokenizer = Tokenizer(models.Unigram(vocab, unk_id=0))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="always")
    tokenizer.add_special_tokens(NAMES)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<bos>", eos_token="<eos>", unk_token="<unk>"
    )


def model_of(tokenizer):
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=256, initializer_range=0.3, bos_token_id=None, eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    return ProbeModel(LlamaForCausalLM(config).eval(), tokenizer, source="the model")


def logprob(model, prompt, answer):
    """By a plain pass of one row."""
    with torch.no_grad():
        z = model.net(torch.tensor([[*prompt, *answer]])).logits[0].log_softmax(-1)
    return float(sum(z[len(prompt) + k - 1, t] for k, t in enumerate(answer)))


def turns(role, *texts):
    return [{"role": role, "content": text} for text in texts]


YES, NO, ASKED = turns("assistant", "yes"), turns("assistant", "no, never"), turns("user", "hi")
CHAT = {"prompt": ASKED, "chosen": YES, "rejected": NO}


@pytest.mark.parametrize("behind", [(), ("<eos>",)])
@pytest.mark.parametrize("front", [(), ("<bos>",)])
@pytest.mark.parametrize("text", ["hi", "<bos>hi", "<bos><bos>hi", ""])
def test_a_text_begins_once_and_is_not_ended(text, front, behind):
    model = model_of(byte_tokenizer(front, behind))
    plain = model.tokenizer(text.replace("<bos>", "") if front else text, add_special_tokens=False)[
        "input_ids"
    ]
    expected = [0] * len(front) + plain
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert encode(model, [text])[0].ids.tolist() == expected
    assert bool(caught) == bool(front and "<bos>" in text)
    assert all("beginning-of-sequence" in str(w.message) for w in caught)
    if expected:
        [row] = generate(model, [text], max_new_tokens=3, progress=False)
        z = model.net(torch.tensor([expected])).logits[0, -1]
        assert row["completion_ids"][0] == int(z.argmax())
        got = score(model, [{"prompt": text, "completion": " yes"}], progress=False).totals("logprob")[0]
        answer = model.tokenizer(" yes", add_special_tokens=False)["input_ids"]
        assert got == pytest.approx(logprob(model, expected, answer), abs=1e-3)
        assert option_logprobs(model, [text], [" yes"], progress=False)[0, 0] == pytest.approx(got, abs=1e-3)


def test_a_beginning_of_several_tokens_and_none():
    model = model_of(byte_tokenizer(("<|im_start|>", "<bos>")))
    with pytest.warns(UserWarning, match="stands once"):
        rows = encode(model, ["<|im_start|><bos>hi", "hi"])
    assert rows[0].ids.tolist() == rows[1].ids.tolist() == [2, 0, *rows[1].ids[2:]]
    bare = model_of(byte_tokenizer(bos_token=None, eos_token=None))
    pairs = dp.encode_pairs(bare, [{"prompt": "a", "chosen": " b", "rejected": " c"}])
    assert (len(pairs.prompt[0]), len(pairs.chosen[0])) == (1, 2)
    assert pairs.notes == ["the tokenizer has no end token: answers are scored up to their last token"]


@pytest.mark.parametrize(
    "answer", ["yes", "yes<eos>", "yes<eos><eos>", "yes<eos>\n", "yes<|im_end|>\n", "<bos>yes"]
)
@pytest.mark.parametrize("behind", [(), ("<eos>",)])
def test_an_answer_ends_once(answer, behind):
    model = model_of(byte_tokenizer(("<bos>",), behind))
    pairs = dp.encode_pairs(model, [{"prompt": "hi ", "chosen": answer, "rejected": "no"}])
    end = "<|im_end|>" if "im_end" in answer else "<eos>"
    assert model.tokenizer.decode(pairs.prompt[0] + pairs.chosen[0]) == f"<bos>hi yes{end}"
    assert any("beginning" in note for note in pairs.notes) == answer.startswith("<bos>")


@pytest.mark.parametrize("name", TEMPLATES)
def test_an_answer_of_a_chat_ends_as_its_template_says(name):
    template, end = TEMPLATES[name]
    model = model_of(byte_tokenizer(("<bos>",), ("<eos>",), template))
    pairs = dp.encode_pairs(
        model, [CHAT, {**CHAT, "chosen": turns("assistant", "e"), "rejected": turns("assistant", "x ")}]
    )
    write = model.tokenizer.apply_chat_template
    head = write(ASKED, add_generation_prompt=True, return_dict=False)
    assert pairs.prompt[0] == head
    assert model.tokenizer.decode(pairs.chosen[0]) == end
    assert model.tokenizer.decode(pairs.chosen[1]) == end.replace("yes", "e")
    if name != "no end at all":
        whole = write(ASKED + YES, return_dict=False)
        assert whole[: len(head) + len(pairs.chosen[0])] == head + pairs.chosen[0]
        assert not any("end token was put" in note for note in pairs.notes)
        row = {"prompt": ASKED, "completion": YES}
        assert encode(model, [row])[0].ids.tolist() == head + pairs.chosen[0]
    expected = logprob(model, head, pairs.chosen[0])
    assert dp.read(model, pairs, progress=False).logprobs[0, 0] == pytest.approx(expected, abs=1e-3)


def test_a_chat_is_read_whole_asked_or_continued():
    model = model_of(byte_tokenizer(template=CHATML))
    write = model.tokenizer.apply_chat_template
    read = encode(model, [{"messages": ASKED}, {"messages": ASKED + YES}, {"prompt": ASKED + YES}])
    expected = (
        write(ASKED, add_generation_prompt=True, return_dict=False),
        write(ASKED + YES, return_dict=False),
        write(ASKED + YES, continue_final_message=True, return_dict=False),
    )
    for row, ids in zip(read, expected, strict=True):
        assert row.ids.tolist() == ids
    [continued] = generate(model, [{"messages": ASKED + YES}], max_new_tokens=2, progress=False)
    z = model.net(torch.tensor([expected[2]])).logits[0, -1]
    assert continued["completion_ids"][0] == int(z.argmax())
    assert encode(model, [continued])[0].prompt == len(expected[2])


@pytest.mark.parametrize(
    ("row", "prompt", "chosen", "note"),
    [
        ({"prompt": "Q: 2+2? A:", "chosen": "Q: 2+2? A: four", "rejected": "Q: 2+2? A: five"}, "Q: 2+2? A:", " four",
         "repeat"),
        ({"prompt": "a", "chosen": "apple", "rejected": "as"}, "a", "apple", None),
        ({"prompt": "Why?", "chosen": "Why? So.", "rejected": "No."}, "Why?", "Why? So.", "another that does not"),
        ({"prompt": ASKED, "chosen": ASKED + YES, "rejected": ASKED + NO}, "hi", "yes", "repeat"),
        ({"prompt": turns("system", "s") + ASKED, "chosen": ASKED + YES, "rejected": NO}, "hi", "yes", "repeat"),
        ({"prompt": "hi", "chosen": ASKED + YES, "rejected": ASKED + NO}, "hi", "yes", "text and chats"),
        ({"prompt": "hi", "chosen": YES, "rejected": NO}, "hi", "yes", "text and chats"),
        ({"prompt": ASKED, "chosen": "yes", "rejected": "no"}, "hi", "yes", "text and chats"),
        ({"chosen": ASKED + YES, "rejected": ASKED + NO}, "hi", "yes", None),
    ],
)  # fmt: skip
def test_a_prompt_stands_once(row, prompt, chosen, note):
    model = model_of(byte_tokenizer(template=CHATML))
    pairs = dp.encode_pairs(model, [row], template="none")
    head, answer = (model.tokenizer.decode(ids[0]) for ids in (pairs.prompt, pairs.chosen))
    assert head.removesuffix("<|im_end|>\n<|im_start|>assistant\n").endswith(prompt)
    assert (head + answer).count(prompt) == 1 + chosen.count(prompt)
    assert answer.removesuffix("<|im_end|>").removesuffix("<eos>") == chosen
    notes = [n for n in pairs.notes if "end token" not in n]
    assert (note is None and not notes) or (len(notes) == 1 and note in notes[0])


@pytest.mark.parametrize(
    ("row", "said_of_it"),
    [
        ({"prompt": ASKED, "chosen": turns("user", "other") + YES, "rejected": NO}, "a message of the user"),
        ({"prompt": ASKED, "chosen": turns("assistant", ""), "rejected": NO}, r"empty answer \(first: rows \[1\]"),
        ({"prompt": turns("system", "s") + ASKED, "chosen": YES, "rejected": NO},
         r"Row 1.*\(system, user\): must alternate"),
        ({"prompt": [{"content": "hi"}], "chosen": YES, "rejected": NO}, "Row 1: message 0 of its chat"),
        ({"prompt": [], "chosen": YES, "rejected": NO}, "Row 1 has no message"),
    ],
)  # fmt: skip
def test_chats_that_cannot_be_read_are_named(row, said_of_it):
    strict = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('must alternate') }}{% endif %}"
    model = model_of(byte_tokenizer(template=strict + CHATML))
    with pytest.raises(InputError, match=said_of_it):
        dp.encode_pairs(model, [CHAT, row])
    with pytest.raises(InputError, match=r"Row 1.*must alternate"):
        encode(model, ["hi", {"messages": turns("system", "s") + ASKED}])


LAST = "{% set last = messages | selectattr('role', 'eq', 'assistant') | list | last %}"
THINKING = LAST + CHATML.replace(
    "m['content']", "(m['content'] if m == last else m['content'].split('</think>') | last)"
)
SYSTEM = (  # the system's words stand before the last message, as long as that is the user's
    "{% for m in messages %}{% if m['role'] == 'user' %}{{ '[INST]' }}"
    "{% if loop.last and messages[0]['role'] == 'system' %}{{ messages[0]['content'] + '\n' }}{% endif %}"
    "{{ m['content'] + '[/INST]' }}{% elif m['role'] == 'assistant' %}{{ ' ' + m['content'] + eos_token }}"
    "{% endif %}{% endfor %}"
)
OPENING = CHATML.replace("assistant\n", "assistant\n<think>\n")


@pytest.mark.parametrize(
    ("template", "prompt", "head", "answer"),
    [
        (THINKING, ASKED + turns("assistant", "<think>x</think>ok") + turns("user", "so?"),
         "<think>x</think>ok<|im_end|>\n<|im_start|>user\nso?<|im_end|>\n<|im_start|>assistant\n", "yes<|im_end|>"),
        (SYSTEM, turns("system", "be brief") + ASKED, "[INST]be brief\nhi[/INST]", " yes<eos>"),
        (OPENING, ASKED, "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n", "yes<|im_end|>"),
    ],
)  # fmt: skip
def test_prompts_that_a_template_rewrites_once_they_are_answered(template, prompt, head, answer):
    model = model_of(byte_tokenizer(template=template))
    pairs = dp.encode_pairs(model, [{"prompt": prompt, "chosen": YES, "rejected": NO}])
    assert model.tokenizer.decode(pairs.prompt[0]).endswith(head)
    assert model.tokenizer.decode(pairs.chosen[0]) == answer
    assert any("writes otherwise once it is answered" in note for note in pairs.notes)


def test_an_answer_has_the_tokens_that_it_has_behind_its_prompt():
    """Also where a tokenizer puts a blank in front of what it reads by itself."""
    model = model_of(metaspace_tokenizer())
    words = model.tokenizer
    for prompt, answer in (("the city is", " Paris ."), ("is the city :", "yes"), ("the city is", "")):
        head, whole = (words(t, add_special_tokens=False)["input_ids"] for t in (prompt, prompt + answer))
        assert whole[: len(head)] == head
        row = encode(model, [{"prompt": prompt, "completion": answer}])[0]
        assert (row.ids.tolist(), row.prompt) == (whole, len(head))
        if answer:
            expected = logprob(model, head, whole[len(head) :])
            assert option_logprobs(model, [prompt], [answer])[0, 0] == pytest.approx(expected, abs=1e-3)
    with pytest.warns(UserWarning, match="across the boundary"):
        pairs = dp.encode_pairs(
            model, [{"prompt": "is the city o", "chosen": "f Paris", "rejected": "no"}], end=False
        )
    assert words.convert_ids_to_tokens(pairs.rejected[0])[0] == "no"  # no blank is read into it


@pytest.mark.parametrize(
    "kind", ["list", "arrays", "json", "from and value", "path", "arrow", "polars", "tuples"]
)
def test_chats_of_every_storage_are_one(kind, tmp_path):
    model = model_of(byte_tokenizer(template=CHATML))
    rows = [{**CHAT, "prompt": turns("system", "s") + ASKED}] * 3
    pd.DataFrame(rows).to_parquet(tmp_path / "p.parquet")
    source = {
        "list": lambda: rows,
        "arrays": lambda: pd.read_parquet(tmp_path / "p.parquet"),
        "json": lambda: pd.DataFrame([{k: json.dumps(v) for k, v in row.items()} for row in rows]),
        "from and value": lambda: [
            {k: [{"from": "human" if m["role"] == "user" else "gpt" if m["role"] == "assistant" else "system",
                  "value": m["content"]} for m in v] for k, v in row.items()} for row in rows
        ],
        "path": lambda: tmp_path / "p.parquet",
        "arrow": lambda: __import__("pyarrow.parquet").parquet.read_table(tmp_path / "p.parquet"),
        "polars": lambda: pytest.importorskip("polars").read_parquet(tmp_path / "p.parquet"),
        "tuples": lambda: [{k: tuple(v) for k, v in row.items()} for row in rows],
    }[kind]()  # fmt: skip
    pairs, known = dp.encode_pairs(model, source), dp.encode_pairs(model, rows)
    assert (pairs.prompt, pairs.chosen, pairs.rejected) == (known.prompt, known.chosen, known.rejected)
    chats = [{"messages": row["prompt"]} for row in read_records(source)]
    assert encode(model, chats)[0].ids.tolist() == known.prompt[0]
    assert (
        encode(model, [{"messages": np.array(rows[0]["prompt"], object)}])[0].ids.tolist() == known.prompt[0]
    )


def test_a_table_is_read_by_its_rows():
    model = model_of(byte_tokenizer(template=CHATML))
    table = pd.DataFrame({"prompt": ["hi", "you"], "other": [1, 2]})
    dicts = table.to_dict("records")
    assert [r.ids.tolist() for r in encode(model, table)] == [r.ids.tolist() for r in encode(model, dicts)]
    one, other = (generate(model, rows, max_new_tokens=2, progress=False) for rows in (table, dicts))
    assert one == other
    assert np.array_equal(
        option_logprobs(model, table, ["a", "b"]), option_logprobs(model, dicts, ["a", "b"])
    )


def test_what_a_template_leaves_out_is_told():
    model = model_of(
        byte_tokenizer(template=CHATML.replace("m['content']", "m['content'].split('</think>')[-1]"))
    )
    pairs = dp.encode_pairs(model, [CHAT, {**CHAT, "chosen": turns("assistant", "<think>so</think>yes")}])
    assert pairs.chosen[1] == pairs.chosen[0]
    assert any("1 of 2 pairs (first: rows [1])" in n and "as it was given" in n for n in pairs.notes)


def test_lines_are_ended_by_new_lines_alone(tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"text": "a\u2028b"}\n\n"c"\n', encoding="utf-8-sig")
    assert read_records(tmp_path / "rows.jsonl") == [{"text": "a\u2028b"}, "c"]
    packed = tmp_path / "rows.jsonl.gz"
    packed.write_bytes(gzip.compress((tmp_path / "rows.jsonl").read_bytes()))
    assert read_records(packed) == [{"text": "a\u2028b"}, "c"]
    packed.write_bytes(packed.read_bytes()[:-9])
    with pytest.raises(InputError, match="damaged"):
        read_records(packed)
    frame = pd.DataFrame({"prompt": ["a", None], "completion": ["b", "c"]})
    assert read_records(frame)[1]["prompt"] is None
