"""Loading from directories made here: models, adapters, and what must be refused."""

import json

import numpy as np
import pytest
import torch
import transformers as hf

from groundshift.errors import InputError
from groundshift.models.activations import ProbeModel, capture, load_model, score
from tests.models import tiny_models as tiny


def write(name, folder):
    model = tiny.build(name)
    model.net.save_pretrained(folder)
    (model.tokenizer if model.processor is None else model.processor).save_pretrained(folder)
    return model


@pytest.mark.parametrize("name", [*tiny.TEXT, "llava"])
def test_a_saved_model_is_read_as_it_was(tmp_path, name):
    model = write(name, tmp_path)
    loaded = load_model(tmp_path, device="cpu")
    assert type(loaded.net) is type(model.net)
    assert (loaded.processor is not None) == (name == "llava")
    rows = tiny.rows(name)
    for site, states in capture(loaded, rows, ["resid_post.all", "final_norm"], "all").items():
        assert np.allclose(states, capture(model, rows, site, "all")[site], atol=1e-5)
    assert loaded.fingerprint() == model.fingerprint()


def test_a_model_whose_processor_cannot_be_loaded_reads_text(tmp_path):
    model = tiny.build("qwen2_vl")
    model.net.save_pretrained(tmp_path)
    model.tokenizer.save_pretrained(tmp_path)
    loaded = load_model(tmp_path)
    assert np.allclose(score(loaded, ["the dog"])["logprob"], score(model, ["the dog"])["logprob"], atol=1e-5)
    with pytest.raises(InputError, match="has no processor that can be loaded: "):
        capture(loaded, tiny.rows("qwen2_vl"), "resid_post.0")


def test_dtype_and_attention(tmp_path):
    write("llama", tmp_path)
    model = load_model(tmp_path, dtype="bfloat16", attn="eager", device="cpu")
    assert model.net.dtype == torch.bfloat16
    assert model.net.config._attn_implementation == "eager"
    for wrong in ({"dtype": "float3"}, {"device": "gpu9"}, {"attn": "fast"}):
        with pytest.raises(InputError):
            load_model(tmp_path, **wrong)


def test_an_adapter_is_loaded_on_its_base(tmp_path):
    peft = pytest.importorskip("peft")
    write("llama", tmp_path / "base")
    torch.manual_seed(0)
    tuned = peft.get_peft_model(
        hf.AutoModelForCausalLM.from_pretrained(tmp_path / "base"),
        peft.LoraConfig(r=2, target_modules=["q_proj", "down_proj"], init_lora_weights=False),
    ).eval()
    tuned.save_pretrained(tmp_path / "lora")
    rows = tiny.rows("llama")
    expected = capture(ProbeModel(tuned, tiny.tokenizer()), rows, "resid_post.all", "all")
    plain = capture(load_model(tmp_path / "base"), rows, "resid_post.all", "all")
    for model in (load_model(tmp_path / "lora"), load_model(tmp_path / "lora", base=tmp_path / "base")):
        acts = capture(model, rows, "resid_post.all", "all")
        for site in expected:
            assert np.allclose(acts[site], expected[site], atol=1e-6)
        assert not np.allclose(acts["resid_post.2"], plain["resid_post.2"], atol=1e-2)

    config = tmp_path / "lora" / "adapter_config.json"
    content = json.loads(config.read_text())
    config.write_text(json.dumps({**content, "base_model_name_or_path": None}))
    with pytest.raises(InputError, match="names no base; give base="):
        load_model(tmp_path / "lora")
    (tmp_path / "lora" / "adapter_model.safetensors").rename(tmp_path / "lora" / "adapter_model.bin")
    with pytest.raises(InputError, match="only as pickles"):
        load_model(tmp_path / "lora", base=tmp_path / "base")


def test_pickled_weights_are_read_only_on_request(tmp_path):
    model = write("llama", tmp_path)
    (tmp_path / "model.safetensors").unlink()
    torch.save(model.net.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(InputError, match=r"only as pickles \(pytorch_model\.bin\).*trust_pickle=True"):
        load_model(tmp_path)
    trusted = load_model(tmp_path, trust_pickle=True)
    assert np.array_equal(score(trusted, ["the dog"])["logprob"], score(model, ["the dog"])["logprob"])


def test_code_that_comes_with_a_model_is_not_run(tmp_path):
    write("llama", tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config |= {
        "model_type": "mine",
        "auto_map": {"AutoConfig": "code.Mine", "AutoModelForCausalLM": "code.Model"},
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "code.py").write_text("raise SystemExit('run')")
    with pytest.raises(InputError, match="cannot be loaded"):
        load_model(tmp_path)


def test_directories_that_are_no_models(tmp_path):
    with pytest.raises(InputError, match="is no folder"):
        load_model(tmp_path / "none")
    (tmp_path / "notes.txt").write_text("a")
    with pytest.raises(InputError, match=r"no config\.json \(it holds notes\.txt\)"):
        load_model(tmp_path)
    encoder = tmp_path / "encoder"
    small = hf.T5Config(d_model=16, num_layers=1, num_heads=2, d_ff=16, d_kv=8, vocab_size=40)
    hf.T5EncoderModel(small).save_pretrained(encoder)
    with pytest.raises(InputError, match="a t5 model, which writes no text"):
        load_model(encoder)
    both = tmp_path / "both"
    hf.BertLMHeadModel(
        hf.BertConfig(
            hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, vocab_size=40
        )
    ).save_pretrained(both)
    with pytest.raises(InputError, match="words see those after them"):
        load_model(both)
    bare = tmp_path / "bare"
    tiny.build("llama").net.save_pretrained(bare)
    with pytest.raises(InputError, match="no tokenizer that can be loaded"):
        load_model(bare)
    with pytest.raises(InputError, match="is no adapter"):
        load_model(bare, base="other")
    (bare / "model.safetensors").unlink()
    with pytest.raises(InputError, match="holds no weights"):
        load_model(bare)
