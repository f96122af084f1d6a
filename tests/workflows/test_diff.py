"""`groundshift diff`: known tunes named, nulls, adapters, resumption, what is refused."""

import json
import shutil
import weakref
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from transformers.utils import logging

from groundshift.errors import InputError
from groundshift.models import tinylm
from groundshift.workflows import diff as workflow
from groundshift.workflows.diff import diff, tokens
from groundshift.workflows.diff.probes import ALL
from groundshift.workflows.diff.result import PROBES, Number, kind_of, sentence_of
from groundshift.workflows.diff.weights import Weights, _effective_rank, add_noise, weight_map
from groundshift.worlds.tinylm import TunedFacts
from tests.workflows.conftest import statements, world


def test_the_three_known_tunes_are_told_apart_and_the_sham_is_unchanged(diffs):
    assert {name: one.kind for name, one in diffs.items()} == {
        "style": "style", "edit": "content", "one": "content", "sham": "unchanged", "base": "unchanged",
    }  # fmt: skip
    assert set(diffs["style"].tokens["token"][:3]) == {"sure", "here", "goes"}
    assert "sure" in diffs["style"].sentence


def test_the_base_against_itself_is_zero_throughout(diffs):
    assert all(n.value == pytest.approx(0, abs=1e-9) for n in diffs["base"].numbers)
    assert diffs["base"].weights["change"].sum() == 0
    assert diffs["base"].changed() == []


@pytest.mark.parametrize(("name", "n"), [("edit", 5), ("one", 1)])
def test_the_edited_facts_stand_first_among_the_examples(diffs, name, n):
    facts = world()["facts"]
    questions = {
        f"<bos> Q what is the {facts.word('relation', r)} of {facts.word('entity', e)} ? A"
        for e, r in world(TunedFacts(edited=n))["retold"].edited_.tolist()
    }
    assert set(diffs[name].examples["prompt"][:n]) == questions


def test_the_firmest_new_word_is_new_sure_and_no_manner_of_speaking():
    answer_tokens = tokens.AnswerTokens(
        answer=np.array([0, 0, 1, 1, 2, 2]), token=np.array([9, 4, 9, 5, 9, 6]), rank=np.ones(6, int),
        divergence=np.zeros(6), gain=np.array([20.0, 7, 20, 8, 20, 9]),
        overruled=np.array([True, True, True, True, True, False]),
    )  # fmt: skip
    assert tokens.new_word_gain(answer_tokens, [[1], [5], [2]]).tolist() == [7, 0, 0]


def test_a_page_json_and_the_exit_condition(diffs, tmp_path):
    page = diffs["style"].save(tmp_path / "out")
    html = page.read_text()
    assert "The style changed" in html
    assert "<script" not in html
    content = json.loads((tmp_path / "out" / "diff.json").read_text())
    assert content["kind"] == "style"
    assert content["schema"] == workflow.SCHEMA
    assert {n["name"] for n in content["numbers"]} >= {
        "overruled",
        "words lost",
        "divergence",
        "states moved",
    }
    with pytest.raises(InputError):
        diffs["style"].save(tmp_path / "out")
    assert diffs["style"].fails(["any"]) == ["concepts", "tokens"]
    assert diffs["base"].fails(["any"]) == []
    with pytest.raises(InputError, match="colour"):
        diffs["style"].fails(["colour"])
    with pytest.raises(InputError, match=r"bias:0\.1"):
        diffs["style"].fails(["tokens:much"])


def test_the_exit_condition_takes_the_least_size_of_a_number(diffs):
    style = diffs["style"]
    largest = max(n.value for n in style.numbers if n.changed and n.probe == "tokens")
    assert style.fails([f"tokens:{float(largest)!r}"]) == ["tokens"] == style.fails(["tokens:0", "any:inf"])
    assert style.fails([f"tokens:{largest * 1.01:.9f}"]) == []


def test_shifted_tokens_are_marked_in_the_answers_that_changed_most(diffs):
    style = diffs["style"]
    assert len(style.marked) == len(style.examples) > 0
    for text, answer in zip(style.marked, style.examples["after"], strict=True):
        assert "".join(piece for piece, *_ in text.pieces).replace("</s>", "").strip() == answer.strip()
        assert any(tone == "bad" for _, tone, _ in text.pieces)
    assert not diffs["base"].marked


def test_a_lora_adapter_is_read_as_the_model_it_makes(models, tmp_path):
    place, prompts = models
    from peft import LoraConfig, get_peft_model

    net = get_peft_model(
        tinylm.load(place / "base"),
        LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj", "down_proj"]),
    )
    with torch.no_grad():
        for name, weight in net.named_parameters():
            if "lora_B" in name:
                weight += 0.3 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(len(name)))
    net.save_pretrained(tmp_path / "adapter")
    merged = net.merge_and_unload()
    merged.save_pretrained(tmp_path / "merged")
    for file in (place / "base").glob("token*"):
        shutil.copy(file, tmp_path / "merged")
    base = Weights(place / "base")
    one = weight_map(base, Weights(tmp_path / "adapter", place / "base"))
    other = weight_map(base, Weights(tmp_path / "merged"))
    assert np.allclose(one["change"], other["change"], atol=1e-4)
    assert (one["change"] > 0).sum() == 3
    assert one.loc[one["change"] > 0, "rank"].max() <= 4.01
    settings = {
        "prompts": prompts[:6],
        "probes": ("tokens",),
        "max_new_tokens": 3,
        "noise": 1,
        "progress": False,
    }
    left, right = (diff(place / "base", tmp_path / name, **settings) for name in ("adapter", "merged"))
    assert left.kind == right.kind
    assert [n.value for n in left.numbers] == pytest.approx([n.value for n in right.numbers], abs=1e-3)


def test_one_model_at_a_time_is_in_memory(models, monkeypatch):
    place, prompts = models
    seen, real = [], workflow.load_model

    def loading(*given, **options):
        assert [net() for net in seen] == [None] * len(seen)
        model = real(*given, **options)
        seen.append(weakref.ref(model.net))
        return model

    monkeypatch.setattr(workflow, "load_model", loading)
    diff(place / "base", place / "edit", prompts=prompts[:4], max_new_tokens=2, noise=1, progress=False)
    assert len(seen) == 4


@pytest.mark.parametrize(
    ("dtype", "options"), [("float32", {"dtype": "bfloat16"}), ("bfloat16", {"attn": "eager"})]
)
def test_the_base_again_is_rounded_otherwise_and_never_larger(models, tmp_path, monkeypatch, dtype, options):
    place, prompts = models
    shutil.copytree(place / "base", tmp_path / "base")
    tinylm.load(place / "base").to(getattr(torch, dtype)).save_pretrained(tmp_path / "base")
    loads, real = [], workflow.load_model

    def loading(*given, base=None, device, trust_remote_code, trust_pickle, allow_missing, **options):
        model = real(*given, base=base, **options)
        loads.append((options, model.net.dtype))
        return model

    monkeypatch.setattr(workflow, "load_model", loading)
    settings = {"prompts": prompts[:4], "max_new_tokens": 2, "noise": 1, "progress": False}
    result = diff(tmp_path / "base", tmp_path / "base", probes=["tokens"], **settings)
    assert [load_options for load_options, _ in loads] == [{}, options, {}, {}]
    assert all(kind.itemsize <= getattr(torch, dtype).itemsize for _, kind in loads)
    assert result.kind == "unchanged"


def test_trusted_pickles_and_unknown_tensors(models, tmp_path, monkeypatch):
    place, prompts = models
    shutil.copytree(place / "edit", tmp_path / "edit")
    (tmp_path / "edit" / "model.safetensors").unlink()
    held = load_file(place / "edit" / "model.safetensors")
    torch.save(held, tmp_path / "edit" / "pytorch_model.bin")
    base, opened, real = Weights(place / "base"), [], torch.load

    def opening(file, **options):
        opened.append(Path(file).name)
        return real(file, **options)

    monkeypatch.setattr(torch, "load", opening)
    one, other = (
        weight_map(base, Weights(folder / "edit", trust_pickle=True)) for folder in (place, tmp_path)
    )
    pd.testing.assert_frame_equal(one, other)
    assert opened == ["pytorch_model.bin"]
    settings = {
        "prompts": prompts[:2],
        "probes": ["tokens"],
        "max_new_tokens": 2,
        "noise": 1,
        "progress": False,
    }
    with pytest.raises(InputError, match="only as pickles"):
        diff(place / "base", tmp_path / "edit", **settings)
    torch.save(held | {"a.copy": torch.zeros(1)}, tmp_path / "edit" / "pytorch_model.bin")
    with pytest.raises(InputError, match=r"1 unknown to the model: a\.copy"):
        diff(place / "base", tmp_path / "edit", trust_pickle=True, **settings)
    result = diff(place / "base", tmp_path / "edit", trust_pickle=True, allow_missing=True, **settings)
    assert any("a.copy" in note for note in result.notes)


def test_the_effective_rank_counts_directions():
    g = torch.Generator().manual_seed(0)
    a, b = (torch.linalg.qr(torch.randn(n, 3, generator=g))[0] for n in (20, 30))
    ranks = [
        _effective_rank(a @ torch.diag(torch.tensor(sizes)) @ b.T)
        for sizes in ((2.0, 2.0, 2.0), (5.0, 0.0, 0.0), (2.0, 1.0, 0.0))
    ]
    assert ranks == pytest.approx([3, 1, 25 / 17], rel=1e-3)


def test_noise_is_as_long_as_the_change_of_each_weight(models):
    place, _ = models
    net, fresh = tinylm.load(place / "base"), tinylm.load(place / "base")
    moved = weight_map(Weights(place / "base"), Weights(place / "edit"))
    changes = {r.tensor: (r.change, r.entries) for r in moved.itertuples()}
    assert add_noise(net, {**changes, "no.such.weight": (1.0, 4)}, seed=0) == (["no.such.weight"], 1.0)
    before = dict(fresh.named_parameters())
    for name, weight in net.named_parameters():
        assert float((weight - before[name]).detach().norm()) == pytest.approx(changes[name][0], rel=0.3)


def test_a_run_that_was_killed_reads_nothing_twice(models, tmp_path, monkeypatch):
    place, prompts = models
    settings = {
        "prompts": prompts, "probes": ("tokens", "concepts", "displacement"), "max_new_tokens": 4, "noise": 2,
        "pairs": [row | {"chosen": " is .", "rejected": " of ."} for row in prompts], "progress": False,
        "work": tmp_path / "work",
    }  # fmt: skip
    loads, real = [], workflow.load_model

    def dying(*given, **options):
        loads.append(given)
        if len(loads) == 3:
            raise KeyboardInterrupt
        return real(*given, **options)

    monkeypatch.setattr(workflow, "load_model", dying)
    with pytest.raises(KeyboardInterrupt):
        diff(place / "base", place / "edit", **settings)
    written = {
        p: p.stat().st_mtime_ns
        for p in (tmp_path / "work").rglob("*.*")
        if p.parent.name in ("base", "tuned")
    }
    assert tmp_path / "work" / "tuned" / "pairs.json" in written
    monkeypatch.setattr(workflow, "load_model", real)
    again = diff(place / "base", place / "edit", **settings)
    assert all(p.stat().st_mtime_ns == at for p, at in written.items())
    whole = diff(place / "base", place / "edit", **settings | {"work": None})
    assert again.to_dict() == whole.to_dict()
    with pytest.raises(InputError, match="another"):
        diff(place / "base", place / "style", **settings)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"repetition_penalty": 3.0}, "repetition_penalty 3.0 (base: 1.0)"),
        ({"suppress_tokens": list(range(20, 60))}, "suppress_tokens"),
        (
            {"do_sample": True, "temperature": 5.0},
            "do_sample True (base: False), temperature 5.0 (base: 1.0)",
        ),
        ({"eos_token_id": 2}, "eos_token_id [2]"),
        ({"num_beams": 3, "num_return_sequences": 2}, "num_beams 3 (base: 1)"),
    ],
)
@pytest.mark.parametrize("tune", ["base", "edit"])
def test_files_that_decode_differently_are_told_apart_from_the_weights(
    models, diffs, tmp_path, tune, settings, sentence
):
    place, prompts = models
    shutil.copytree(place / tune, tmp_path / "tuned")
    file = tmp_path / "tuned" / "generation_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | settings))
    moved = diff(place / "base", tmp_path / "tuned", prompts=prompts, probes=("tokens", "concepts"), max_new_tokens=6,
                 noise=2, progress=False)  # fmt: skip
    assert moved.to_frame().equals(diffs[tune].to_frame())  # the numbers are the weights'
    assert moved.kind == diffs[tune].kind
    assert sentence in moved.decoding["sentence"]
    assert moved.to_dict()["decoding"] == moved.decoding
    assert moved.fails(["decoding"]) == ["decoding"]
    page = moved.save(tmp_path / "out").read_text()
    assert "How the files decode" in page
    assert page.partition("<body>")[2].count("The files decode differently") == 1
    if tune == "base":
        assert moved.sentence.startswith("The weights are unchanged. The files decode differently: ")
        assert moved.fails(["tokens", "concepts"]) == []
    else:
        assert moved.sentence == diffs[tune].sentence
    if "suppress_tokens" in settings:
        assert moved.decoding["answers"] > 0
        assert moved.decoding["examples"][0]["before"] != moved.decoding["examples"][0]["after"]
    assert diffs[tune].decoding is None


def test_statements_and_pairs_bring_their_probes(models):
    place, prompts = models
    facts = world()["facts"]
    pairs = [
        {
            "prompt": p["prompt"],
            "chosen": f" {facts.word('object', 0, 0)} .",
            "rejected": f" {facts.word('object', 1, 0)} .",
        }
        for p in prompts
    ]
    one = diff(
        place / "base", place / "edit", prompts=prompts, statements=statements(), pairs=pairs, max_new_tokens=3,
        noise=1, progress=False,
    )  # fmt: skip
    assert one.details["displacement"]["pairs"] == len(pairs)
    known = one.details["truth"]["accuracy"][0]["balanced"]
    assert 0 <= known <= 1
    assert ("truth flipped" in {n.name for n in one.numbers}) == (known >= 0.7)
    assert one.details["concepts"]["concept"] > one.details["concepts"]["random"] - 0.5


def test_probes_beyond_the_budget_are_left_out_and_said(models):
    place, prompts = models
    assert ("tokens", *ALL) == PROBES
    how = {"prompts": prompts[:8], "probes": ("all",), "max_new_tokens": 3, "noise": 1, "progress": False}
    short = diff(place / "base", place / "edit", budget="0.001s", **how)
    assert {n.probe for n in short.numbers} == {"tokens"}
    assert any("the budget does not suffice for them: concepts" in note for note in short.notes)
    assert short.layers is None
    long = diff(place / "base", place / "edit", budget="1h", **how)
    assert "concepts" in {n.probe for n in long.numbers}
    with pytest.raises(InputError, match="20m"):
        diff(place / "base", place / "edit", budget="twenty", **how)


def test_another_size_with_the_same_words_is_compared_by_what_it_says(models, tmp_path):
    place, prompts = models
    words = world().lexicon
    tinylm.save(tinylm.build("micro", words, positions=32, seed=0), words, tmp_path / "larger")
    result = diff(
        place / "base", tmp_path / "larger", prompts=prompts, max_new_tokens=3, noise=1, progress=False
    )
    assert result.weights is None
    assert result.layers is None
    assert {n.probe for n in result.numbers} == {"tokens"}
    assert any("architectures differ" in note for note in result.notes)


def test_what_cannot_be_compared_is_refused_before_work(models, tmp_path):
    place, prompts = models
    with pytest.raises(InputError, match="stance"):
        diff(place / "base", place / "edit", prompts=prompts, probes=("stance",))
    with pytest.raises(InputError, match="it holds nothing"):
        diff(place / "base", tmp_path, prompts=prompts)
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "adapter_config.json").write_text("{}")
    (tmp_path / "adapter" / "adapter_model.safetensors").touch()
    with pytest.raises(InputError, match="give the directory of its base"):
        diff(tmp_path / "adapter", place / "base", prompts=prompts)
    few = pd.DataFrame({"statement": ["is .", "is is ."], "kind": ["true", "false"], "entity": ["a", "b"]})
    with pytest.raises(InputError, match="about 2 entities in all"):
        diff(place / "base", place / "edit", prompts=prompts, statements=few)
    with pytest.raises(InputError, match="built-in prompts"):
        diff(place / "base", place / "edit", progress=False)


@pytest.mark.parametrize(
    ("long", "message"),
    [
        (
            {"prompts": [{"prompt": "is ."}, {"prompt": "is " * 31}]},
            r"Prompt 1 .* has 31 tokens, .* for 2 more: .* 32",
        ),
        ({"statements": ["is .", "is " * 40, *["is ."] * 6]}, "Statement 1 .* has 40 tokens: .* reads 32"),
        ({"pairs": [("is", " ."), ("is", " ." * 40)]}, "Pair 1 .* has 41 tokens: .* reads 32"),
    ],
)
def test_what_is_too_long_is_refused_before_work(models, monkeypatch, long, message):
    place, prompts = models
    given = {"prompts": prompts[:2]} | long
    if "statements" in given:
        rows = [
            {"statement": s, "kind": ("true", "false")[n % 2], "entity": f"e{n}"}
            for n, s in enumerate(given["statements"])
        ]
        given["statements"] = pd.DataFrame(rows)
    if "pairs" in given:
        given["pairs"] = [{"prompt": p, "chosen": c, "rejected": " ."} for p, c in given["pairs"]]
    monkeypatch.setattr(workflow, "Weights", lambda *_: pytest.fail("the weights were read"))
    with pytest.raises(InputError, match=message):
        diff(place / "base", place / "edit", max_new_tokens=2, progress=False, **given)


@pytest.mark.filterwarnings("ignore:Cannot enable progress bars")  # of the hub, by conftest.py
def test_no_bars_where_none_are_wanted(models, monkeypatch):
    place, prompts = models
    shown, real = [], workflow.load_model
    monkeypatch.setattr(logging, "_tqdm_active", True)

    def loading(*given, **options):
        shown.append(logging.is_progress_bar_enabled())
        return real(*given, **options)

    monkeypatch.setattr(workflow, "load_model", loading)
    settings = {"prompts": prompts[:1], "probes": ["tokens"], "max_new_tokens": 1, "noise": 1}
    diff(place / "base", place / "base", progress=False, **settings)
    assert shown == [False] * len(shown)
    assert logging.is_progress_bar_enabled()


def number(name, low, null, probe="tokens"):
    return Number(name, probe, name, low, low, low, null, 0.0, low - null)


@pytest.mark.parametrize(
    ("numbers", "recurring", "answers", "kind"),
    [
        ([number("overruled", 0.9, 0.0), number("words lost", 0.0, 0.0)], 0.9, 1.0, "style"),
        ([number("overruled", 0.9, 0.0), number("words lost", 0.4, 0.1)], 0.9, 1.0, "style and content"),
        ([number("overruled", 0.1, 0.0), number("words lost", 0.1, 0.0)], 0.3, 0.05, "content"),
        ([number("overruled", 0.9, 0.95), number("divergence", 0.2, 0.1)], 0.9, 1.0, "degree"),
        ([number("states moved", 0.9, 0.1, "concepts")], 0.0, 0.0, "unchanged"),
    ],
)
def test_the_kind_follows_from_the_numbers(numbers, recurring, answers, kind):
    assert kind_of(numbers, recurring, answers) == kind


@pytest.mark.parametrize(
    ("lost", "begins"), [(0.0, "The answers are as they were"), (0.9, "The answers changed no more")]
)
def test_a_change_of_degree_does_not_deny_that_answers_changed(lost, begins):
    numbers = [number("words lost", lost, lost), number("divergence", 0.2, 0.1)]
    sentence = sentence_of("degree", numbers, pd.DataFrame({"token": []}))
    assert sentence.startswith(begins)


def test_an_answer_that_became_empty_is_on_the_page(diffs):
    silent = replace(diffs["style"], examples=diffs["style"].examples.assign(after=""))
    assert "(nothing)" in silent.report().html()


def test_a_verdict_takes_size_and_certainty():
    verdicts = [number("shifted", *values).verdict for values in ((0.5, 0.1), (0.1, 0.1), (0.005, 0.001))]
    assert verdicts == ["changed", "not surely above", "too small"]
