"""What is loaded is what the files say, or it is refused by the names of its tensors."""

import json
import shutil

import peft
import pytest
import torch
import transformers as hf
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from groundshift.errors import InputError
from groundshift.lab.cli import app
from groundshift.models.activations import ProbeModel, load_model, score
from groundshift.workflows.diff.weights import Weights
from tests.models import tiny_models as tiny

UP = "model.layers.1.mlp.up_proj.weight"


def write(folder, net):
    net.save_pretrained(folder)
    tiny.tokenizer().save_pretrained(folder)


def edit(file, change):
    held = load_file(file)
    save_file(change(held), file, metadata={"format": "pt"})


@pytest.fixture
def base(tmp_path):
    write(tmp_path / "base", tiny.fresh("llama"))
    return tmp_path / "base"


def without(*names):
    return lambda held: {k: v for k, v in held.items() if k not in names}


def renamed(held):
    return {f"transformer.{k}": v for k, v in held.items()}


DAMAGES = {
    "one tensor": (without(UP), f"1 missing: {UP}"),
    "no head": (without("lm_head.weight"), r"1 missing: lm_head\.weight"),
    "a layer less": (
        lambda h: {k: v for k, v in h.items() if ".2." not in k},
        r"9 missing: model\.layers\.2\.input",
    ),
    "a layer more": (
        lambda h: h | {k.replace(".2.", ".3."): v.clone() for k, v in h.items() if ".2." in k},
        r"9 unknown to the model: model\.layers\.3\.input",
    ),
    "other names": (renamed, r"30 missing: .*; 30 unknown to the model: transformer\.lm_head\.weight"),
    "another shape": (
        lambda h: h | {UP: h[UP][:-1].contiguous()},
        rf"1 of another shape: {UP} \(\(47, 32\), .*48, 32",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_files_that_are_not_those_of_the_model_are_refused_by_name(base, damage):
    change, message = DAMAGES[damage]
    edit(base / "model.safetensors", change)
    for run in (load_model, Weights):
        with pytest.raises(InputError, match=message):
            run(base)
    with pytest.warns(UserWarning, match=message):
        model = load_model(base, allow_missing=True)
    assert len(model.notes) == 1


def test_a_shard_that_is_not_there_is_refused(tmp_path):
    net = tiny.fresh("llama")
    net.save_pretrained(tmp_path, max_shard_size="20KB")
    tiny.tokenizer().save_pretrained(tmp_path)
    first, *_ = sorted(tmp_path.glob("model-*.safetensors"))
    assert len(load_model(tmp_path).notes) == 0
    assert set(Weights(tmp_path).names()) == set(net.state_dict())
    first.unlink()
    for run in (load_model, Weights):
        with pytest.raises(InputError, match=f"names '{first.name}', which is not there"):
            run(tmp_path)


@pytest.mark.parametrize("name", [*tiny.TEXT, "gemma2", "llava"])
def test_tied_weights_and_buffers_that_are_not_saved_are_not_missed(tmp_path, name):
    net = tiny.fresh(name)
    net.config.get_text_config().tie_word_embeddings = True
    net.config.tie_word_embeddings = True
    net.tie_weights()
    write(tmp_path, net)
    model = load_model(tmp_path)
    assert model.notes == ()
    assert score(model, ["the dog"])["logprob"] == pytest.approx(
        score(ProbeModel(net.eval(), tiny.tokenizer()), ["the dog"])["logprob"], abs=1e-6
    )
    held = Weights(tmp_path)
    assert all(name in held for name in net.state_dict())


def adapter(base, folder, net=None, **more):
    torch.manual_seed(1)
    tuned = peft.get_peft_model(
        hf.AutoModelForCausalLM.from_pretrained(base) if net is None else net,
        peft.LoraConfig(
            **{"r": 2, "target_modules": ["q_proj", "v_proj"], "init_lora_weights": False, **more}
        ),
    )
    tuned.peft_config["default"].base_model_name_or_path = str(base)
    tuned.save_pretrained(folder)
    return folder


HELD = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"
FAULTS = {
    "another prefix": (
        lambda h: {k.removeprefix("base_model.model."): v for k, v in h.items()},
        r"12 missing: .*layers\.0.*; 12 unknown to the model: model\.layers\.0",
    ),
    "half its keys": (lambda h: {k: v for k, v in h.items() if "lora_B" in k}, r"6 missing: .*lora_A"),
    "one key": (without(HELD), r"1 missing: .*layers\.0\.self_attn\.q_proj\.lora_A"),
    "another rank": (
        lambda h: h | {HELD: torch.zeros(5, 32)},
        r"does not fit its base: size mismatch for .*q_proj",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_adapters_that_are_not_whole_are_refused_by_name(base, tmp_path, fault):
    change, message = FAULTS[fault]
    folder = adapter(base, tmp_path / "lora")
    load_model(folder)
    edit(folder / "adapter_model.safetensors", change)
    with pytest.raises(InputError, match=message):
        load_model(folder)
    with pytest.raises(InputError, match=message):
        Weights(folder, base)


def test_what_an_adapter_keeps_whole_is_not_missed_in_silence(base, tmp_path):
    for folder, more, key in (
        ("saved", {"modules_to_save": ["lm_head"]}, "base_model.model.lm_head.weight"),
        (
            "tokens",
            {"trainable_token_indices": [9]},
            "base_model.model.model.embed_tokens.token_adapter.trainable_tokens_delta",
        ),
    ):  # fmt: skip
        edit(adapter(base, tmp_path / folder, **more) / "adapter_model.safetensors", without(key))
        with pytest.raises(InputError, match=r"lacks .*(lm_head|embed_tokens)"):
            load_model(tmp_path / folder)


@pytest.mark.parametrize(
    ("size", "message"),
    [
        ({"num_hidden_layers": 4}, r"4 unknown to the model: .*layers\.3"),
        ({"num_hidden_layers": 2}, r"2 missing|4 missing: .*layers\.2"),
        ({"hidden_size": 64, "head_dim": 8}, "does not fit its base: size mismatch"),
    ],
)
def test_an_adapter_of_another_size_is_refused(base, tmp_path, size, message):
    other = hf.LlamaForCausalLM(hf.LlamaConfig(**tiny.SIZE | {"num_key_value_heads": 2} | size))
    with pytest.raises(InputError, match=message):
        load_model(adapter(base, tmp_path / "lora", other))


def test_an_adapter_without_its_target_modules_is_refused(base, tmp_path):
    write(tmp_path / "gpt2", tiny.fresh("gpt2"))
    folder = adapter(base, tmp_path / "lora")
    shutil.rmtree(base)
    with pytest.raises(InputError, match=r"does not fit its base: .*q_proj"):
        load_model(folder, base=tmp_path / "gpt2", allow_missing=True)


def test_another_base_is_refused_where_it_is_known_and_noted_where_it_is_not(base, tmp_path):
    folder = adapter(base, tmp_path / "lora")
    torch.manual_seed(5)
    other = hf.LlamaForCausalLM(tiny.config("llama"))
    write(tmp_path / "other", other)
    with pytest.raises(
        InputError, match=r"was trained on .*base, and is read on .*other, which has other weights"
    ):
        load_model(folder, base=tmp_path / "other")
    with pytest.warns(UserWarning, match="which has other weights"):
        load_model(folder, base=tmp_path / "other", allow_missing=True)
    rows = ["the dog runs"]
    plain = score(load_model(folder), rows)["logprob"]
    shutil.copytree(base, tmp_path / "copy")
    hf.AutoModelForCausalLM.from_pretrained(base).bfloat16().save_pretrained(tmp_path / "half")
    tiny.tokenizer().save_pretrained(tmp_path / "half")
    for same in ("copy", "half"):
        assert load_model(folder, base=tmp_path / same).notes == ()
    base.rename(tmp_path / "moved")
    with pytest.warns(UserWarning, match="whether they are the same model cannot be told"):
        moved = load_model(folder, base=tmp_path / "moved")
    assert score(moved, rows)["logprob"] == pytest.approx(plain)


def test_adapters_that_are_no_weights_are_refused(base, tmp_path):
    net = hf.AutoModelForCausalLM.from_pretrained(base)
    kinds = (
        peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3),
        peft.PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3),
    )
    for k, config in enumerate(kinds):
        tuned = peft.get_peft_model(net, config)
        tuned.save_pretrained(tmp_path / str(k))
        with pytest.raises(InputError, match=f"is of the kind {config.peft_type.value}"):
            load_model(tmp_path / str(k), base=base)
        with pytest.raises(InputError, match="is of the kind"):
            ProbeModel(tuned, tiny.tokenizer())


def test_a_kind_of_adapter_that_is_not_known_is_refused(base, tmp_path):
    folder = adapter(base, tmp_path / "lora")
    file = folder / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"peft_type": "MAGIC"}))
    with pytest.raises(InputError, match="MAGIC"):
        load_model(folder)


def test_every_command_that_loads_a_model_can_allow_missing(base, tmp_path):
    edit(base / "model.safetensors", without(UP))
    rows, pairs, table = tmp_path / "rows.jsonl", tmp_path / "pairs.jsonl", tmp_path / "table.csv"
    rows.write_text('{"text": "the dog runs"}\n')
    pairs.write_text('{"prompt": "the dog", "chosen": "runs", "rejected": "sees"}\n' * 2)
    kinds = ("true", "false", "synthetic")
    lines = [f"the {word} runs,{kinds[k % 3]},{word}\n" for k, word in enumerate(tiny.WORDS[9:])]
    table.write_text("".join(["statement,kind,entity\n", *lines]))
    model, new = str(base), str(tmp_path / "new")
    for line in (
        ["activations", "capture", model, rows, "--site", "embed", "--out", new],
        ["displacement", "score", model, pairs, "--out", f"{new}.csv"],
        ["displacement", "train", model, pairs, "--out", new, "--steps", "1"],
        ["displacement", "watch", model, model, pairs],
        ["displacement", "explain", model, "the", "dog", "cat"],
        ["reprshift", "fit", model, model, rows, "--out", new],
        ["reprshift", "steer", model, "--prompt", "the dog", "--from", rows, "--to", rows],
        ["truth", "fit", model, table],
        ["truth", "compare", model, model, table],
        ["dataalchemy", "evaluate", model],
        ["dataalchemy", "heal", model, "--rules", "F1F2"],
        ["dataalchemy", "train", "F1F1", "--model", model, "--out", new],
        ["diff", model, model, "--prompts", rows],
    ):
        result = CliRunner().invoke(app, [str(word) for word in line])
        assert isinstance(result.exception, InputError), (line, result.exception)
        assert f"1 missing: {UP}" in str(result.exception), line
        verb = line[:1] if line[0] == "diff" else line[:2]
        assert "--allow-missing" in CliRunner().invoke(app, [*verb, "--help"]).output


@pytest.mark.parametrize("held", ["half", b"version https://git-lfs.github.com/spec/v1", b""])
@pytest.mark.parametrize(
    "name", ["model.safetensors", "config.json", "adapter_model.safetensors", "adapter_config.json"]
)
def test_damaged_files_are_refused(base, tmp_path, held, name):
    folder = adapter(base, tmp_path / "lora") if name.startswith("adapter") else base
    whole = (folder / name).read_bytes()
    (folder / name).write_bytes(whole[: len(whole) // 2] if held == "half" else held)
    for run in (load_model, lambda source: Weights(source, base)):
        with pytest.raises(InputError, match=f"{folder}"):
            run(folder)


def test_a_configuration_that_contradicts_itself_is_refused(base):
    content = json.loads((base / "config.json").read_text()) | {"num_attention_heads": 5}
    (base / "config.json").write_text(json.dumps(content))
    for run in (load_model, Weights):
        with pytest.raises(InputError, match="not a multiple of the number of attention heads"):
            run(base)


@pytest.mark.parametrize(("written", "read"), [(-1, None), (0, None), (64, 64)])
def test_a_context_of_minus_one_is_no_limit(base, written, read):
    model = load_model(base)
    model.net.config.max_position_embeddings = written
    assert model.context == read
