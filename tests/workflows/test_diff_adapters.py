"""Every kind of adapter is read as the model that PEFT makes of it: the same numbers, nulls and verdicts."""

import numpy as np
import peft
import pytest
import torch
import transformers as hf

from groundshift.models.activations import load_model, score
from groundshift.workflows.diff import diff
from groundshift.workflows.diff.weights import Weights, weight_map
from tests.models import tiny_models as tiny

Q, V = "layers.0.self_attn.q_proj", "layers.1.self_attn.v_proj"
LORA = {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj"]}
KINDS = {
    "lora": lambda: peft.LoraConfig(**LORA),
    "rank_pattern": lambda: peft.LoraConfig(**LORA, rank_pattern={Q: 8}),
    "alpha_pattern": lambda: peft.LoraConfig(**LORA, alpha_pattern={V: 32}),
    "rslora": lambda: peft.LoraConfig(**LORA, use_rslora=True),
    "dora": lambda: peft.LoraConfig(**LORA, use_dora=True),
    "ia3": lambda: peft.IA3Config(
        target_modules=["k_proj", "down_proj"], feedforward_modules=["down_proj"], init_ia3_weights=False
    ),
    "modules_to_save": lambda: peft.LoraConfig(**LORA, modules_to_save=["lm_head", "post_attention_layernorm"]),
    "trainable_tokens": lambda: peft.LoraConfig(**LORA, trainable_token_indices=[9, 11, 15]),
    "embeddings": lambda: peft.LoraConfig(**LORA | {"target_modules": ["embed_tokens", "q_proj"]}),
    "head": lambda: peft.LoraConfig(**LORA | {"target_modules": ["lm_head", "q_proj"]}),
    "experts": lambda: peft.LoraConfig(
        **LORA, target_parameters=["mlp.experts.gate_up_proj", "mlp.experts.down_proj"]
    ),
    "biases": lambda: peft.LoraConfig(**LORA, bias="all"),
}  # fmt: skip
ARCHITECTURES = {"experts": "mixtral", "biases": "qwen2"}
PROMPTS = [{"prompt": text} for text in ("the dog", "a cat sees the", "the red house", "no dog is")]


@pytest.fixture(params=KINDS)
def folders(request, tmp_path):
    """A base, an adapter on it, and what PEFT's own merge makes of the two."""
    kind, name = request.param, ARCHITECTURES.get(request.param, "llama")
    config = (
        hf.MixtralConfig(**tiny.SIZE, num_key_value_heads=2, num_local_experts=4)
        if name == "mixtral"
        else tiny.config(name)
    )
    torch.manual_seed(0)
    net = hf.AutoModelForCausalLM.from_config(config)
    for weight in net.parameters():
        torch.nn.init.normal_(weight, std=0.15)
    net.save_pretrained(tmp_path / "base")
    tuned = peft.get_peft_model(hf.AutoModelForCausalLM.from_pretrained(tmp_path / "base"), KINDS[kind]())
    with torch.no_grad():
        for weight in tuned.parameters():
            if weight.requires_grad:
                weight.add_(0.2 * torch.randn_like(weight))
    tuned.save_pretrained(tmp_path / "adapter")
    tuned.merge_and_unload().save_pretrained(tmp_path / "merged")
    for part in ("base", "merged"):
        tiny.tokenizer().save_pretrained(tmp_path / part)
    return tmp_path


def test_an_adapter_is_read_as_its_merged_model(folders):
    rows = [row | {"completion": "yes the red dog"} for row in PROMPTS]
    base, adapter, merged = (
        score(load_model(folders / name), rows, progress=False)["logprob"]
        for name in ("base", "adapter", "merged")
    )
    assert np.allclose(adapter, merged, atol=1e-4)
    assert not np.allclose(adapter, base, atol=1e-2)
    one, other = (load_model(folders / name).unembedding for name in ("adapter", "merged"))
    assert torch.allclose(one, other, atol=1e-5)
    held = Weights(folders / "base")
    one, other = (
        weight_map(held, Weights(folders / "adapter", folders / "base")),
        weight_map(held, Weights(folders / "merged")),
    )
    assert one["tensor"].tolist() == other["tensor"].tolist()
    assert np.allclose(one["change"], other["change"], rtol=1e-4, atol=1e-5)
    assert (other["change"] > 0).any()
    settings = {"prompts": PROMPTS, "probes": ("tokens",), "max_new_tokens": 2, "noise": 1, "progress": False}
    left, right = (diff(folders / "base", folders / name, **settings) for name in ("adapter", "merged"))
    assert left.kind == right.kind
    for a, b in zip(left.numbers, right.numbers, strict=True):
        assert (a.value, a.again, a.noise, a.verdict) == pytest.approx(
            (b.value, b.again, b.noise, b.verdict), abs=1e-3
        )
    assert [note for note in left.notes if "no noise" in note] == []
