"""The map of the weights and the null of noise: experts, tied weights, weights of half precision."""

import pytest
import torch
import transformers as hf

from groundshift.models.activations import load_model
from groundshift.workflows.diff import diff
from groundshift.workflows.diff.weights import Weights, add_noise, weight_map
from tests.models import tiny_models as tiny

KEYED = tiny.SIZE | {"num_key_value_heads": 2}
EXPERTS = {
    "mixtral": lambda: hf.MixtralConfig(**KEYED, num_local_experts=4),
    "qwen3_moe": lambda: hf.Qwen3MoeConfig(
        **KEYED, head_dim=8, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=16
    ),
    "gpt_oss": lambda: hf.GptOssConfig(**KEYED, head_dim=8, num_local_experts=4, num_experts_per_tok=2),
    "jamba": lambda: hf.JambaConfig(
        **KEYED, num_experts=4, num_experts_per_tok=2, attn_layer_period=2, attn_layer_offset=1,
        expert_layer_period=2, mamba_d_state=8, mamba_dt_rank=8,
    ),
}  # fmt: skip
PROMPTS = [{"prompt": text} for text in ("the dog", "a cat sees the", "the red house", "no dog is", "a bird")]


def network(config, seed=0):
    torch.manual_seed(seed)
    net = hf.AutoModelForCausalLM.from_config(config).eval()
    for name, weight in net.named_parameters():
        if weight.ndim > 1 and "A_log" not in name:
            torch.nn.init.normal_(weight, std=0.15)
    return net


def write(net, folder, **how):
    net.save_pretrained(folder, **how)
    tiny.tokenizer().save_pretrained(folder)
    return folder


def changes(moved):
    return {r.tensor: (r.change, r.entries) for r in moved.itertuples()}


@pytest.mark.parametrize("name", EXPERTS)
def test_experts_are_matched_however_they_are_kept_and_get_noise(tmp_path, name):
    net = network(EXPERTS[name]())
    apart, fused = (
        Weights(write(net, tmp_path / str(kept), save_original_format=kept)) for kept in (True, False)
    )
    assert (
        apart.names() == fused.names() == sorted(net.state_dict().keys() - net.all_tied_weights_keys.keys())
    )
    assert weight_map(apart, fused)["change"].max() == 0
    with torch.no_grad():
        for key, weight in net.named_parameters():
            if "experts" in key:
                weight.add_(0.02 * torch.randn_like(weight))
    moved = weight_map(apart, Weights(write(net, tmp_path / "tuned")))
    hit = moved.set_index("tensor")["change"].loc[lambda x: x > 0]
    assert {key for key in hit.index if "experts" in key} == set(hit.index)
    model = load_model(tmp_path / "True")
    before = {key: weight.clone() for key, weight in model.net.state_dict().items()}
    assert add_noise(model.net, changes(moved), 0) == ([], 1.0)
    for key, weight in model.net.state_dict().items():
        assert float((weight - before[key]).norm()) == pytest.approx(hit.get(key, 0.0), rel=0.2)


def test_noise_in_experts_is_no_change_of_content(tmp_path):
    base = write(network(EXPERTS["mixtral"]()), tmp_path / "base")
    net = network(EXPERTS["mixtral"]())
    with torch.no_grad():
        for key, weight in net.named_parameters():
            if "experts" in key:
                weight.add_(0.03 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(3)))
    settings = {"prompts": PROMPTS, "probes": ("tokens",), "max_new_tokens": 4, "noise": 3, "progress": False}
    result = diff(base, write(net, tmp_path / "tuned"), **settings)
    assert result.kind in ("unchanged", "degree")
    assert any(number.noise > 0 for number in result.numbers)


@pytest.mark.parametrize("tied", ["base", "tuned", "both", "neither"])
def test_tied_and_untied_weights_are_compared_and_get_noise_apart(tmp_path, tied):
    parts = {}
    for name in ("base", "tuned"):
        config = tiny.config("llama")
        config.tie_word_embeddings = tied in (name, "both")
        net = network(config)
        if not config.tie_word_embeddings:
            with torch.no_grad():
                net.lm_head.weight.copy_(net.model.embed_tokens.weight)
                if name == "tuned":
                    net.lm_head.weight.add_(0.1)
        parts[name] = write(net, tmp_path / name)
    moved = weight_map(Weights(parts["base"]), Weights(parts["tuned"]))
    hit = moved.set_index("tensor")["change"].loc[lambda x: x > 0]
    apart = tied in ("base", "neither")
    assert list(hit.index) == (["lm_head.weight"] if apart else [])
    assert ("lm_head.weight" in set(moved["tensor"])) == (tied != "both")
    net = load_model(parts["base"]).net
    old = net.model.embed_tokens.weight.clone()
    assert add_noise(net, changes(moved), 0) == ([], 1.0)
    assert torch.equal(net.model.embed_tokens.weight, old)
    size = float((net.lm_head.weight - old).norm())
    assert size == pytest.approx(0.1 * old.numel() ** 0.5 if apart else 0, rel=0.1)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("size", [1e-4, 1e-3, 1e-2])
@pytest.mark.parametrize("rows", [3, 4000])
def test_noise_is_as_long_as_the_change_after_rounding(tmp_path, dtype, size, rows):
    config = hf.LlamaConfig(**KEYED | {"vocab_size": 4000, "num_hidden_layers": 1})
    base = network(config)
    tuned = network(config)
    with torch.no_grad():
        for weight in tuned.parameters():
            weight[:rows].add_(size * torch.randn_like(weight[:rows]))
    for name, net in (("base", base), ("tuned", tuned)):
        write(net.to(dtype), tmp_path / name)
    moved = weight_map(Weights(tmp_path / "base"), Weights(tmp_path / "tuned"))
    net = load_model(tmp_path / "base").net
    old = {key: weight.float().clone() for key, weight in net.state_dict().items()}
    unknown, scale = add_noise(net, changes(moved), 0)
    assert unknown == []
    assert (
        scale > 1.5 or rows > 3 or size > 1e-4
    )  # a change of few rows, spread over all, would be rounded away
    now = net.state_dict()
    for key in ("model.embed_tokens.weight", "lm_head.weight"):
        assert float((now[key].float() - old[key]).norm()) == pytest.approx(changes(moved)[key][0], rel=0.1)
