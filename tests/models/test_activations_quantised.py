"""GGUF files and quantised directories: read, compared with their base, or refused with what is missing."""

import json
import shutil

import gguf
import numpy as np
import pytest
import torch
import transformers as hf
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from groundshift.errors import InputError
from groundshift.models.activations import capture, load_model, record, score
from groundshift.workflows.diff import diff
from tests.models import tiny_models as tiny

ROWS = ["the dog runs", "hello"]
NAMES = {
    "model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output", "q_proj": "attn_q",
    "k_proj": "attn_k", "v_proj": "attn_v", "o_proj": "attn_output", "gate_proj": "ffn_gate", "up_proj": "ffn_up",
    "down_proj": "ffn_down", "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
}  # fmt: skip


def tokenizer():
    """Bytes, and two merges, since a GGUF file holds at least one."""
    special = ["<pad>", "<bos>", "<eos>", "<|endoftext|>"]
    words = [*special, *sorted(pre_tokenizers.ByteLevel.alphabet()), "th", "the"]
    bpe = Tokenizer(models.BPE({w: i for i, w in enumerate(words)}, [("t", "h"), ("th", "e")]))
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    bpe.add_special_tokens(special)
    return hf.PreTrainedTokenizerFast(
        tokenizer_object=bpe, bos_token="<bos>", eos_token="<eos>", pad_token="<pad>"
    )


def pack(net, words, file, kind):
    """Write a Llama as llama.cpp does, its matrices in blocks of a kind."""
    c, kind = net.config, gguf.GGMLQuantizationType[kind]
    out = gguf.GGUFWriter(file, "llama")
    out.add_context_length(c.max_position_embeddings)
    out.add_embedding_length(c.hidden_size)
    out.add_block_count(c.num_hidden_layers)
    out.add_feed_forward_length(c.intermediate_size)
    out.add_head_count(c.num_attention_heads)
    out.add_head_count_kv(c.num_key_value_heads)
    out.add_layer_norm_rms_eps(c.rms_norm_eps)
    out.add_rope_freq_base(10000.0)
    out.add_vocab_size(c.vocab_size)
    vocabulary = sorted(words.get_vocab(), key=words.get_vocab().get)
    out.add_tokenizer_model("gpt2")
    out.add_token_list(vocabulary)
    out.add_token_types([3 if word.startswith("<") and len(word) > 1 else 1 for word in vocabulary])
    out.add_token_merges(["t h", "th e"])
    out.add_bos_token_id(1)
    out.add_eos_token_id(2)
    for key, weight in net.state_dict().items():
        stem = key.removesuffix(".weight")
        name = NAMES.get(stem) or f"blk.{stem.split('.')[2]}.{NAMES[stem.rpartition('.')[2]]}"
        x = weight.float().numpy()
        heads = {"q_proj": c.num_attention_heads, "k_proj": c.num_key_value_heads}.get(
            stem.rpartition(".")[2]
        )
        if heads:
            x = x.reshape(heads, 2, len(x) // heads // 2, -1).swapaxes(1, 2).reshape(x.shape)
        if x.ndim > 1:
            out.add_tensor(f"{name}.weight", gguf.quantize(np.ascontiguousarray(x), kind), raw_dtype=kind)
        else:
            out.add_tensor(f"{name}.weight", x)
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder, words = tmp_path_factory.mktemp("packed"), tokenizer()
    size = tiny.SIZE | {"vocab_size": len(words), "num_key_value_heads": 2, "intermediate_size": 64}
    torch.manual_seed(0)
    net = hf.LlamaForCausalLM(hf.LlamaConfig(**size, initializer_range=0.2)).eval()
    net.save_pretrained(folder / "base")
    words.save_pretrained(folder / "base")
    for kind in ("F32", "Q8_0", "Q4_0"):
        (folder / kind).mkdir()
        pack(net, words, folder / kind / "model.gguf", kind)
    return folder


def test_a_gguf_file_is_read_by_itself_or_in_its_folder(place):
    base, *packed = (
        score(load_model(place / name), ROWS, progress=False).totals("logprob")
        for name in ("base", "F32/model.gguf", "F32", "Q8_0", "Q4_0")
    )
    assert packed[0] == pytest.approx(base, abs=1e-4)
    assert packed[1] == pytest.approx(base, abs=1e-4)
    assert 1e-3 < abs(packed[2] - base).max() < abs(packed[3] - base).max()


def test_several_files_in_a_folder_are_named(place, tmp_path):
    for k in range(2):
        shutil.copy(place / "Q4_0" / "model.gguf", tmp_path / f"{k}.gguf")
    with pytest.raises(InputError, match=r"holds 2 GGUF files \(0\.gguf, 1\.gguf\); name one"):
        load_model(tmp_path)


def test_what_quantisation_cost_is_told(place):
    settings = {
        "prompts": ["the dog", "a cat sees", "hello"], "probes": ["tokens"], "max_new_tokens": 3, "noise": 1,
        "progress": False,
    }  # fmt: skip
    eight, four = (diff(place / "base", place / kind / "model.gguf", **settings) for kind in ("Q8_0", "Q4_0"))
    for cost in (eight, four):
        assert "is a quantised copy. What that cost" in cost.notes[0]
    divergence = [{n.name: n.value for n in cost.numbers}["divergence"] for cost in (eight, four)]
    assert divergence[0] < divergence[1] / 10
    moved = [cost.weights["relative"].max() for cost in (eight, four)]
    assert moved[0] < 0.02 < moved[1] < 0.2
    other_way = diff(place / "Q8_0", place / "base", **settings)
    assert not any("quantised" in note for note in other_way.notes)


QUANTISED = {
    "bitsandbytes": ({"load_in_4bit": True}, r"pip install .*bitsandbytes"),
    "gptq": ({"bits": 4, "group_size": 128}, r"pip install optimum"),
    "awq": ({"bits": 4, "group_size": 128, "zero_point": True}, r"pip install gptqmodel"),
    "torchao": ({"quant_type": {"default": {"_type": "Int8WeightOnlyConfig", "_version": 2, "_data": {}}}},
                r"pip install torchao"),
    "compressed-tensors": ({}, r"pip install compressed-tensors"),
}  # fmt: skip


@pytest.mark.parametrize("method", QUANTISED)
def test_a_quantised_model_without_its_package_is_refused_with_its_name(tmp_path, method):
    tiny.build("llama").net.save_pretrained(tmp_path / "packed")
    tiny.tokenizer().save_pretrained(tmp_path / "packed")
    shutil.copytree(tmp_path / "packed", tmp_path / "base")
    settings, message = QUANTISED[method]
    file = tmp_path / "packed" / "config.json"
    config = json.loads(file.read_text()) | {"quantization_config": {"quant_method": method, **settings}}
    file.write_text(json.dumps(config))
    for run in (
        lambda: load_model(tmp_path / "packed"),
        lambda: diff(tmp_path / "base", tmp_path / "packed", prompts=["the dog"], probes=["tokens"]),
    ):
        with pytest.raises(InputError, match=rf"quantised model \({method}\), and the package .*{message}"):
            run()


def test_blocks_counted_from_the_end_are_found_again(tmp_path):
    model = tiny.build("llama")
    acts = capture(
        model, ["the dog runs", "a cat"], ["resid_post.-1", "mlp_out.-2"], "all", out=tmp_path / "a"
    )
    assert list(acts) == ["resid_post.2", "mlp_out.1"]
    assert "resid_post.-1" in acts
    assert "resid_post.-2" not in acts
    assert np.array_equal(acts["resid_post.-1"], acts["resid_post.2"])
    assert np.array_equal(acts.row("mlp_out.-2", 1), acts.row("mlp_out.1", 1))
    with pytest.raises(InputError, match=r"no states of 'resid_post\.-4'"):
        _ = acts["resid_post.-4"]
    with record(model, "resid_post.-1", "all") as states:
        model.net(torch.tensor([[9, 10]]))
    assert states["resid_post.-1"][0].shape == (2, 32)
