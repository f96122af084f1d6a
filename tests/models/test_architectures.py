"""Sixteen architectures, some without an ordinary cache of keys and values, against plain passes of one row."""

import copy

import numpy as np
import pytest
import torch
import transformers as hf

from groundshift.adaptation import displacement as dp
from groundshift.errors import InputError
from groundshift.models.activations import ProbeModel, abilities, capture, generate, option_logprobs, score
from tests.models import tiny_models as tiny

TOKENS = {k: tiny.SIZE[k] for k in ("vocab_size", "bos_token_id", "eos_token_id", "pad_token_id")}
KEYED = tiny.SIZE | {"num_key_value_heads": 2}
FOUR = KEYED | {"num_hidden_layers": 4}
STATE = {
    "mamba_n_heads": 8,
    "mamba_d_head": 8,
    "mamba_n_groups": 1,
    "mamba_d_state": 8,
    "mamba_chunk_size": 8,
}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
DELTA = {
    "linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_key_head_dim": 8, "linear_value_head_dim": 8
}  # fmt: skip
CONFIGS = {
    "llama": lambda: hf.LlamaConfig(**KEYED),
    "gpt2": lambda: tiny.config("gpt2"),
    "opt": lambda: hf.OPTConfig(**{k: v for k, v in tiny.SIZE.items() if k != "intermediate_size"}, ffn_dim=48,
                                word_embed_proj_dim=32),
    "bloom": lambda: hf.BloomConfig(hidden_size=32, n_layer=3, n_head=4, **TOKENS),
    "gemma2": lambda: hf.Gemma2Config(**KEYED, head_dim=8, sliding_window=4),
    "mixtral": lambda: hf.MixtralConfig(**KEYED, num_local_experts=4),
    "gpt_oss": lambda: hf.GptOssConfig(**KEYED, head_dim=8, num_local_experts=4, num_experts_per_tok=2,
                                       sliding_window=4),
    "llama4": lambda: hf.Llama4TextConfig(**FOUR, head_dim=8, num_local_experts=4, intermediate_size_mlp=48,
                                          attention_chunk_size=4, interleave_moe_layer_step=2),
    "deepseek_v3": lambda: hf.DeepseekV3Config(
        **KEYED | {"num_key_value_heads": 4}, n_routed_experts=4, num_experts_per_tok=2, n_group=1, topk_group=1,
        moe_intermediate_size=16, q_lora_rank=8, kv_lora_rank=8, qk_rope_head_dim=4, qk_nope_head_dim=4, v_head_dim=8,
        first_k_dense_replace=1),
    "mamba": lambda: hf.MambaConfig(hidden_size=32, num_hidden_layers=3, state_size=8, **TOKENS),
    "mamba2": lambda: hf.Mamba2Config(hidden_size=32, num_hidden_layers=3, state_size=8, num_heads=8, head_dim=8,
                                      n_groups=1, chunk_size=8, **TOKENS),
    "rwkv": lambda: hf.RwkvConfig(hidden_size=32, num_hidden_layers=3, attention_hidden_size=32, intermediate_size=48,
                                  context_length=160, **TOKENS),
    "qwen3_next": lambda: hf.Qwen3NextConfig(**FOUR, head_dim=8, **DELTA, **EXPERTS,
                                             shared_expert_intermediate_size=16),
    "lfm2": lambda: hf.Lfm2Config(**KEYED, layer_types=["conv", "full_attention", "conv"]),
    "jamba": lambda: hf.JambaConfig(**FOUR, num_experts=4, num_experts_per_tok=2, attn_layer_period=2,
                                    attn_layer_offset=1, expert_layer_period=2, mamba_d_state=8, mamba_dt_rank=8),
    "falcon_h1": lambda: hf.FalconH1Config(**KEYED, mamba_d_ssm=64, **STATE),
    "bamba": lambda: hf.BambaConfig(**KEYED, attn_layer_indices=[1], **STATE),
    "recurrent_gemma": lambda: hf.RecurrentGemmaConfig(
        **KEYED, lru_width=32, attention_window_size=4, block_types=["recurrent", "recurrent", "attention"]),
    "phi3": lambda: hf.Phi3Config(
        **KEYED, original_max_position_embeddings=12,
        rope_parameters={"rope_type": "longrope", "rope_theta": 1e4, "long_factor": [4.0] * 4,
                         "short_factor": [1.0] * 4, "original_max_position_embeddings": 12}),
    "xlstm": lambda: hf.xLSTMConfig(hidden_size=32, num_blocks=2, num_heads=4, **TOKENS),
}  # fmt: skip
PROMPTS = ["the dog sees", "a cat", "a cat likes the red house on the tree ."]
OPTIONS = ["yes the red dog", "no"]


@pytest.fixture(scope="module", params=CONFIGS)
def model(request):
    torch.manual_seed(0)
    net = hf.AutoModelForCausalLM.from_config(CONFIGS[request.param]()).eval()
    for name, weight in net.named_parameters():  # livelier than at initialisation
        if weight.ndim > 1 and "A_log" not in name and "conv1d" not in name:
            torch.nn.init.normal_(weight, std=0.15)
    return ProbeModel(net, tiny.tokenizer(), source=request.param)


def ids(text):
    return [tiny.WORDS.index(word) for word in text.split()]


def logits(model, row):
    with torch.no_grad():
        return model.net(input_ids=torch.tensor([row]), use_cache=False).logits[0]


def logprob(model, prompt, answer):
    z = logits(model, prompt + answer).float().log_softmax(-1)
    return float(sum(z[len(prompt) + k - 1, t] for k, t in enumerate(answer)))


def test_scores_are_those_of_plain_passes(model):
    rows = [{"prompt": p, "completion": o} for p in PROMPTS for o in OPTIONS]
    plain = [logprob(model, ids(row["prompt"]), ids(row["completion"])) for row in rows]
    assert score(model, rows, progress=False).totals("logprob") == pytest.approx(plain, abs=1e-4)
    plain = np.reshape(plain, (len(PROMPTS), len(OPTIONS)))
    assert np.allclose(option_logprobs(model, PROMPTS, OPTIONS, progress=False), plain, atol=1e-4)
    firsts = [[logprob(model, ids(p), ids(o)[:1]) for o in OPTIONS] for p in PROMPTS]
    assert np.allclose(option_logprobs(model, PROMPTS, OPTIONS, "first", progress=False), firsts, atol=1e-4)


def test_half_precision_is_read_as_in_plain_passes(model):
    half = ProbeModel(copy.deepcopy(model.net).bfloat16(), model.tokenizer, source=model.source)
    plain = [logprob(half, ids(p), ids(o)) for p in PROMPTS for o in OPTIONS]
    rows = [{"prompt": p, "completion": o} for p in PROMPTS for o in OPTIONS]
    assert score(half, rows, progress=False).totals("logprob") == pytest.approx(plain, abs=0.15)
    assert option_logprobs(half, PROMPTS, OPTIONS, progress=False).ravel() == pytest.approx(plain, abs=0.15)
    for trial in (abilities.pads_left, abilities.shares_cache):
        assert trial(half) == trial(model)


def test_preference_pairs_are_read_as_in_plain_passes(model):
    pairs = [{"prompt": p, "chosen": OPTIONS[0], "rejected": OPTIONS[1]} for p in PROMPTS]
    data = dp.encode_pairs(model, pairs)
    read = dp.read(model, data, progress=False).logprobs
    scores = dp.score(model, data, ["ches", "last_inner"], progress=False)
    for k in range(len(pairs)):
        seen = []
        hook = model.net.get_output_embeddings().register_forward_pre_hook(
            lambda _, x, s=seen: s.append(x[0][0])
        )
        for which, answer in enumerate((data.chosen[k], data.rejected[k])):
            assert read[k, which] == pytest.approx(logprob(model, data.prompt[k], answer), abs=1e-4)
        hook.remove()
        s, t = (states[len(data.prompt[k]) - 1 : -1].double() for states in (seen[0], seen[1]))
        plain = float(s.sum(0) @ t.sum(0) - s.sum(0) @ s.sum(0))
        assert scores["ches"][k] == pytest.approx(plain, rel=1e-4, abs=1e-4)
        assert scores["last_inner"][k] == pytest.approx(float(s[-1] @ t[-1]), rel=1e-4, abs=1e-4)


def test_greedy_answers_are_those_of_plain_passes(model):
    written = generate(model, PROMPTS, max_new_tokens=4, progress=False)
    for prompt, row in zip(PROMPTS, written, strict=True):
        plain = ids(prompt)
        for token in row["completion_ids"]:
            assert int(logits(model, plain)[-1].argmax()) == token
            plain.append(token)


def test_padding_in_front_is_refused_where_it_is_read_as_text(model):
    if model.source in ("rwkv", "recurrent_gemma", "xlstm"):
        with pytest.raises(
            InputError, match=f"{type(model.net).__name__}.*reads padding in front of a row as text"
        ):
            capture(model, PROMPTS, "embed", padding="left")
    else:
        assert abilities.pads_left(model)
