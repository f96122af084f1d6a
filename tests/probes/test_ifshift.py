"""What instruction tuning changed: densities by hand, gradients by a loop, pairs by a search, every kind of block."""

import itertools
import json

import numpy as np
import pandas as pd
import pytest
import torch
from peft import LoraConfig, get_peft_model
from scipy import stats

from groundshift.errors import InputError
from groundshift.models import smollm
from groundshift.models.activations import ProbeModel
from groundshift.models.activations.pairs import before_and_after
from groundshift.models.activations.weights import queries_and_keys, value_vectors
from groundshift.models.words import embedded, read_corpus, word_vectors
from groundshift.probes.ifshift import attention_pairs, ffn_concepts, importance_density, instruction_density
from groundshift.probes.ifshift.attention import head_pairs, thresholds
from groundshift.probes.ifshift.concepts import principal_directions
from groundshift.probes.ifshift.density import sparse_importance
from tests.models.tiny_models import SIZE, build, fresh, tokenizer

ROWS = [
    {"prompt": "the dog sees two of the red house", "instruction": "dog sees", "followed": 1},
    {"prompt": "a bird likes the small tree", "instruction": [2, 12], "followed": 0},
]
CORPUS = [
    "the dog sees a cat on two red house", "a bird likes blue tree", "photo of Riga in Latvia",
    "Paris is in France yes", "dog runs small city",
]  # fmt: skip
QUIET = {"max_new_tokens": 4, "fewest": 1, "progress": False}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A base, an adapter on it, and the same merged."""
    root = tmp_path_factory.mktemp("ifshift")
    fresh("llama").save_pretrained(root / "base")
    tokenizer().save_pretrained(root / "base")
    modules = ["q_proj", "k_proj", "down_proj"]
    tuned = get_peft_model(fresh("llama"), LoraConfig(r=4, target_modules=modules, init_lora_weights=False))
    tuned.peft_config["default"].base_model_name_or_path = str(root / "base")
    tuned.save_pretrained(root / "adapter")
    tuned.merge_and_unload().save_pretrained(root / "merged")
    tokenizer().save_pretrained(root / "merged")
    return root


# Densities -----------------------------------------------------------------------------------------------


def test_densities_by_hand():
    """Largest of each column: 10; 0.75 of it: ceil(7.5) = 8 > 7; 0.7: ceil(7 − ε) = 7, which does not count."""
    a = np.array([[2.0, 1.0, 1.0], [1.5, 0.7, -3.0]])
    assert sparse_importance(a).tolist() == [[10, 10, 10], [8, 0, 0]]
    assert sparse_importance(a, subtract=True).tolist() == [[3, 3, 3], [1, 0, 0]]
    assert importance_density(a) == pytest.approx([3**0.75, 1.0])
    assert importance_density(np.zeros((2, 3))).tolist() == [0, 0]


@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma2"])
def test_attributions_are_those_of_a_loop_over_tokens(name):
    """The gradient of each token's probability times the embedding, one backward pass each."""
    model = build(name) if name != "gemma2" else ProbeModel(fresh("gemma2"), tokenizer())
    rows = [{**row, "response": " a cat runs on"} for row in ROWS]
    result = instruction_density(model, rows, **QUIET)
    for number, row in enumerate(rows):
        ids = model.tokenizer(row["prompt"] + row["response"], return_tensors="pt")["input_ids"]
        N = len(row["prompt"].split())
        embeddings = model.net.get_input_embeddings()(ids).detach().requires_grad_(True)
        a = np.zeros((N, 4))
        for m in range(4):
            p = model.net(inputs_embeds=embeddings).logits[0, N + m - 1].softmax(-1)[ids[0, N + m]]
            (gradient,) = torch.autograd.grad(p, embeddings)
            a[:, m] = (gradient * embeddings).sum(-1)[0, :N].detach()
        expected = importance_density(a)
        own = result.tokens[result.tokens["prompt"] == number]
        assert own["density"].to_numpy() == pytest.approx(expected / expected.max(), abs=1e-4)
        mine = expected[own["instruction"]].sum() / expected.max() / np.log2(2 + own["instruction"].sum())
        assert result.scores["score"][number] == pytest.approx(mine, abs=1e-4)
    assert result.tokens[result.tokens["instruction"]]["text"].str.strip().tolist() == [
        "dog",
        "sees",
        "bird",
        "likes",
    ]


def test_groups_are_compared_as_scipy_does():
    rng = np.random.default_rng(0)
    words = tokenizer().convert_ids_to_tokens(range(10, 30))
    rows = [
        {"prompt": " ".join(rng.choice(words, 8)), "instruction": [[0, 3]], "response": " a cat", "followed": k % 2}
        for k in range(12)
    ]  # fmt: skip
    rows = [{**row, "instruction": [[0, len(row["prompt"].split()[0])]]} for row in rows]
    result = instruction_density(build("llama"), rows, base=build("qwen2"), **{**QUIET, "fewest": 1})
    both = result.scores.pivot(index="prompt", columns="model", values="score")
    test = stats.ttest_ind(both["model"], both["base"], equal_var=False, alternative="greater")
    assert result.tests.set_index("comparison").loc["tuned > base", "p"] == pytest.approx(test.pvalue)
    yes, no = both["model"][1::2], both["model"][::2]
    test = stats.ttest_ind(yes, no, equal_var=False, alternative="greater")
    assert result.tests.set_index("comparison").loc["followed > not", "p"] == pytest.approx(test.pvalue)


def test_what_a_template_writes_is_no_word_of_the_prompt():
    model = ProbeModel(fresh("llama"), tokenizer())
    turns = "{% for m in messages %}is {{ m['content'] }} .{% endfor %}"
    model.tokenizer.chat_template = (
        "{{ bos_token }}" + turns + "{% if add_generation_prompt %} yes{% endif %}"
    )
    chat = instruction_density(model, ROWS, chat=True, **QUIET).tokens
    plain = instruction_density(model, ROWS, **QUIET).tokens
    assert chat["text"].str.strip().tolist() == plain["text"].str.strip().tolist()
    assert chat["instruction"].tolist() == plain["instruction"].tolist()
    messages = [{"role": "user", "content": ROWS[0]["prompt"]}]
    said = instruction_density(model, [{**ROWS[0], "messages": messages, "prompt": None}], **QUIET).tokens
    assert said["density"].to_numpy() == pytest.approx(chat["density"][: len(said)].to_numpy())


def test_an_empty_answer_is_counted_apart_and_several_places_are_told():
    rows = [
        {**ROWS[0], "response": ""},
        {**ROWS[1], "instruction": "bird", "response": " a cat"},
        {**ROWS[0], "instruction": "the", "response": " a cat"},
    ]
    with pytest.warns(UserWarning, match="several times in 1 prompts"):
        result = instruction_density(build("llama"), rows, **QUIET)
    assert result.scores["score"][0] == 0
    assert any("1 answers of the model are empty" in note for note in result.notes)
    assert result.tokens[result.tokens["prompt"] == 2]["instruction"].sum() == 2


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"prompt": "the dog"}, "a prompt .* and its instruction"),
        ({**ROWS[0], "instruction": "dog seas"}, "nearest piece is 'dog sees'"),
        ({**ROWS[0], "instruction": [3, 400]}, r"\[start, end\]"),
        ({**ROWS[0], "followed": 2}, "0 or 1"),
        ({"prompt": "the dog " * 100, "instruction": "dog"}, "no room"),
    ],
)
@pytest.mark.filterwarnings("ignore:The instruction stands")
def test_prompts_that_cannot_be_used_are_told(row, message):
    with pytest.raises(InputError, match=message):
        instruction_density(build("llama"), [row], **QUIET)


# Blocks --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["llama", "gpt2", "gpt_neox", "qwen2", "phi3"])
def test_queries_and_keys_are_those_that_the_block_computes(name):
    """At position 0 no rotation is left: what the attention is handed there, less its biases."""
    from transformers import Phi3Config, Phi3ForCausalLM

    torch.manual_seed(0)
    sizes = SIZE | {"num_key_value_heads": 2}
    net = Phi3ForCausalLM(Phi3Config(**sizes)).eval() if name == "phi3" else fresh(name)
    for part, weight in net.named_parameters():
        if part.endswith("bias"):
            torch.nn.init.zeros_(weight)
        elif "norm" in part or "ln_" in part:
            torch.nn.init.uniform_(weight, 0.5, 1.5)
    handed = {}
    interface = net.config._attn_implementation

    def watch(module, query, key, value, *rest, **more):
        handed[module.layer_idx] = (query.detach(), key.detach())
        return torch.zeros_like(query).transpose(1, 2), None

    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    ALL_ATTENTION_FUNCTIONS["watch"] = watch
    net.config._attn_implementation = "watch"
    x = np.random.default_rng(0).standard_normal((5, 32)).astype(np.float32)
    x -= x.mean(1, keepdims=True)
    x /= np.sqrt((x**2).mean(1, keepdims=True))  # so that a norm only multiplies by its gain
    found = {layer: (q, k) for layer, q, k in queries_and_keys(ProbeModel(net, tokenizer()), x)}
    for layer, block in enumerate(ProbeModel(net, tokenizer()).layers):
        norm = next(m for n, m in block.named_children() if n in ("input_layernorm", "ln_1"))
        attention = next(m for n, m in block.named_children() if n in ("self_attn", "attn", "attention"))
        inputs = norm(torch.tensor(x)[:, None])
        turn = (torch.ones(5, 1, 8), torch.zeros(5, 1, 8))
        kwargs = {} if name == "gpt2" else {"position_embeddings": turn, "attention_mask": None}
        with torch.no_grad():
            attention(inputs, **kwargs)
        q, k = (part[:, :, 0].numpy() for part in handed[layer])
        k = np.repeat(k, q.shape[1] // k.shape[1], axis=1)
        assert found[layer][0] == pytest.approx(q, abs=1e-4)
        assert found[layer][1] == pytest.approx(k, abs=1e-4)
    net.config._attn_implementation = interface


@pytest.mark.parametrize("kind", ["mixtral", "qwen3_moe"])
def test_values_are_what_hidden_units_write_of_all_experts(kind):
    import transformers as hf

    size = {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": 44,
    }
    if kind == "mixtral":
        net = hf.MixtralForCausalLM(hf.MixtralConfig(**size, intermediate_size=24, num_local_experts=3))
    else:
        net = hf.Qwen3MoeForCausalLM(hf.Qwen3MoeConfig(**size, moe_intermediate_size=24, num_experts=3, head_dim=8,
                                                       mlp_only_layers=[0], intermediate_size=48))  # fmt: skip
    found = dict(value_vectors(ProbeModel(net, tokenizer())))
    assert found[0].shape == ((72, 32) if kind == "mixtral" else (48, 32))
    experts = net.model.layers[1].mlp.experts.down_proj
    assert found[1] == pytest.approx(experts.detach().mT.reshape(72, 32).numpy())


@pytest.mark.parametrize("name", ["llama", "gpt2", "gpt_neox"])
def test_values_of_dense_blocks(name):
    model = build(name)
    block = model.layers[1].mlp
    down = {"llama": "down_proj", "gpt2": "c_proj", "gpt_neox": "dense_4h_to_h"}[name]
    weight = getattr(block, down).weight.detach().numpy()
    expected = weight if name == "gpt2" else weight.T
    assert dict(value_vectors(model))[1] == pytest.approx(expected, abs=1e-5)


def test_an_adapter_counts_as_the_same_model_merged(folders):
    """All three parts, from directories; the adapter finds its base by itself."""
    how = {"top": 15, "verbs": ["sees", "likes"]}
    by = {}
    for name in ("adapter", "merged"):
        density = instruction_density(str(folders / name), ROWS, base=str(folders / "base"), **QUIET)
        pairs = attention_pairs(folders / "base", folders / name, CORPUS, **how)
        concepts = ffn_concepts(folders / "base", folders / name, CORPUS, top=5, leading=3)
        by[name] = density, pairs, concepts
    (a, b, c), (d, e, f) = by["adapter"], by["merged"]
    pd.testing.assert_frame_equal(a.scores, d.scores, atol=1e-4)
    assert len(e.pairs)
    pd.testing.assert_frame_equal(b.groups, e.groups)
    assert c.layers["angle"].to_numpy() == pytest.approx(f.layers["angle"].to_numpy(), abs=0.05)
    assert c.layers["angle"].min() > 1
    assert ffn_concepts(folders / "base", folders / "base", CORPUS).layers["angle"].max() < 0.1


# Pairs and concepts --------------------------------------------------------------------------------------


def test_pairs_are_those_of_a_plain_search():
    rng = np.random.default_rng(0)
    q, k, g = (rng.standard_normal(shape) for shape in ((30, 6), (30, 6), (30, 4)))
    g /= np.linalg.norm(g, axis=1, keepdims=True)
    cosine = g @ g.T
    limit = cosine.mean(1) + 0.5 * cosine.std(1)
    found = head_pairs(q, k, g, limit, 8)
    times = {}
    for r in range(6):
        tops = [np.argsort(-np.abs(x[:, r]))[:8] for x in (q, k)]
        own = {
            frozenset((int(a), int(b)))
            for a, b in itertools.product(*tops)
            if a != b and q[a, r] * k[b, r] > 0 and cosine[a, b] > max(limit[a], limit[b])
        }
        for pair in own:
            times[pair] = times.get(pair, 0) + 1
    expected = {pair: n for pair, n in times.items() if n > 1}
    assert expected
    assert {frozenset((a, b)): n for a, b, n in found[["word", "other", "neurons"]].to_numpy(int)} == expected
    assert found["cosine"].is_monotonic_decreasing
    assert thresholds(g)[3] == pytest.approx(cosine[3].mean() + 1.96 * cosine[3].std())


def test_directions_from_the_gram_matrix_are_those_of_the_svd():
    W = np.random.default_rng(0).standard_normal((200, 12)) * np.arange(1, 13)
    v, share = principal_directions(W, 5)
    _, s, rows = np.linalg.svd(W - W.mean(0), full_matrices=False)
    assert np.abs((v * rows[:5]).sum(1)) == pytest.approx(np.ones(5), abs=1e-6)
    assert share == pytest.approx(s[:5] ** 2 / (s**2).sum())
    assert principal_directions(W[:8], 5)[1] == pytest.approx(np.linalg.svd(W[:8] - W[:8].mean(0))[1][:5] ** 2
                                                              / ((W[:8] - W[:8].mean(0)) ** 2).sum())  # fmt: skip


def test_words_of_a_corpus_and_their_vectors(tmp_path):
    rows = [
        {"prompt": "Riga in Latvia"},
        {"messages": [{"role": "user", "content": "riga is in Latvia , Riga"}]},
    ]
    vocabulary = read_corpus(rows)
    assert (vocabulary.words[:2], vocabulary.forms[:2]) == (("riga", "in"), ("Riga", "in"))
    vectors = word_vectors(vocabulary, size=3)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(4))
    known = embedded(build("llama"), vocabulary.forms)
    assert not np.isnan(known).any()
    file = tmp_path / "vectors.txt"
    file.write_text("riga 3 4\nin 0 1\nother 1 1\n")
    assert word_vectors(vocabulary, file)[:2].tolist() == [[0.6, 0.8], [0, 1]]
    file.write_text("riga 3 4\nin 0\n")
    assert word_vectors(vocabulary, file).shape == (4, 2)
    file.write_text("nothing 3 4\n")
    with pytest.raises(InputError, match="vectors of 0 of the 4 words"):
        word_vectors(vocabulary, file)


def test_models_of_other_words_are_refused(folders, tmp_path):
    other = tokenizer()
    other.add_tokens(["new"])
    fresh("llama").save_pretrained(tmp_path / "other")
    words = json.loads(other.backend_tokenizer.to_str())
    words["model"]["vocab"] = {
        w: len(words["model"]["vocab"]) - 1 - k for w, k in words["model"]["vocab"].items()
    }
    other.save_pretrained(tmp_path / "other")
    (tmp_path / "other" / "tokenizer.json").write_text(json.dumps(words))
    with pytest.raises(InputError, match=r"tokenizers of .* differ"):
        list(before_and_after(str(folders / "base"), str(tmp_path / "other")))
    with pytest.raises(InputError, match="class 'x' of the lexicon"):
        ffn_concepts(folders / "base", folders / "base", CORPUS, lexicon={"x": ["nowhere"]})


@pytest.mark.skipif(smollm.carried() is None, reason="the package with SmolLM2 is not installed")
def test_a_true_model_depends_on_its_instruction():
    rows = [{"prompt": "Translate the word cat to French.", "instruction": "Translate", "set": "words"},
            {"prompt": "Name a colour of the sky.", "instruction": "Name a colour"}]  # fmt: skip
    result = instruction_density(smollm.directory(), rows, chat=True, max_new_tokens=6, progress=False)
    assert result.tokens.groupby("prompt")["text"].agg("".join).tolist() == [row["prompt"] for row in rows]
    assert (result.scores["score"] > 0).all()
