"""Greedy is greedy and temperature 1 is 1, whatever generation_config.json holds."""

import json
import shutil

import pytest
import torch
from transformers import GenerationConfig

from groundshift.errors import InputError
from groundshift.models import tinylm
from groundshift.models.activations import ProbeModel, generate, load_model
from groundshift.models.decoding import filed, unlike
from tests.models.tiny_models import fresh, tokenizer

PROMPTS = ["the dog sees", "a cat", "is Riga in Latvia", "one two", "the red house on the tree ."]
FILES = {
    "penalty": {"repetition_penalty": 1.8},
    "beams": {"num_beams": 3, "num_return_sequences": 2, "length_penalty": 2.0, "early_stopping": True},
    "sequences": {"do_sample": True, "num_return_sequences": 2},
    "sampling": {"do_sample": True, "temperature": 0.3, "top_k": 2, "top_p": 0.5, "min_p": 0.2},
    "typical": {"do_sample": True, "typical_p": 0.3, "epsilon_cutoff": 0.01, "eta_cutoff": 0.01},
    "suppressed": {"suppress_tokens": list(range(9, 30)), "begin_suppress_tokens": [30, 31]},
    "bad words": {"bad_words_ids": [[i] for i in range(9, 30)]},
    "forced": {"forced_bos_token_id": 9, "forced_eos_token_id": 2},
    "ngrams": {"no_repeat_ngram_size": 1, "encoder_no_repeat_ngram_size": 1},
    "lengths": {"max_length": 3, "min_length": 30, "max_time": 1e-6},
    "new tokens": {"max_new_tokens": 1},
    "bias": {"sequence_bias": [[[9], 50.0]], "exponential_decay_length_penalty": [1, 5.0]},
    "guided": {"guidance_scale": 3.0},
    "stops": {"stop_strings": ["the", "a"]},
    "cache": {"use_cache": False, "cache_implementation": "static"},
    "outputs": {"return_dict_in_generate": True, "output_scores": True, "output_hidden_states": True},
    "lookup": {"prompt_lookup_num_tokens": 2},
    "unknown": {"something_of_their_own": 3},
}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("decoding") / "plain"
    fresh("llama").save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


def greedy(model, prompt, n):
    ids = model.tokenizer(prompt)["input_ids"]
    written = []
    while len(written) < n and 2 not in written:
        with torch.no_grad():
            written.append(int(model.net(torch.tensor([ids + written])).logits[0, -1].argmax()))
    return written


def ids(model, **options):
    return [
        r["completion_ids"] for r in generate(model, PROMPTS, max_new_tokens=12, progress=False, **options)
    ]


@pytest.mark.parametrize("name", FILES)
def test_nothing_is_inherited_from_the_files(place, tmp_path, name):
    shutil.copytree(place, tmp_path / "model")
    file = tmp_path / "model" / "generation_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | FILES[name]))
    plain, model = load_model(place), load_model(tmp_path / "model")
    held = model.net.generation_config
    assert ids(model) == [greedy(plain, prompt, 12) for prompt in PROMPTS]
    assert ids(model, seed=3) == ids(plain, seed=3)
    assert ids(model, seed=3, top_k=1) == ids(plain)
    assert model.net.generation_config is held
    prompts = [plain.tokenizer(p)["input_ids"] for p in PROMPTS]
    for temperature in (0.0, 1.0):
        one, other = (
            tinylm.generate(m.net, prompts, 6, temperature=temperature, seed=1) for m in (plain, model)
        )
        assert one.tolist() == other.tolist()
    silent = ("forced", "cache", "outputs", "lookup", "unknown")
    differences = unlike(filed(place, plain.net.config), filed(tmp_path / "model", plain.net.config))
    assert set(differences) >= (set() if name in silent else set(FILES[name]) - {"num_return_sequences"})


def test_files_that_transformers_refuses_are_named(place, tmp_path):
    shutil.copytree(place, tmp_path / "model")
    file = tmp_path / "model" / "generation_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"num_return_sequences": 2}))
    for read in (load_model, lambda folder: filed(folder, None)):
        with pytest.raises(InputError, match="num_return_sequences"):
            read(tmp_path / "model")


def test_temperature_one_draws_from_the_models_own_distribution():
    model = ProbeModel(fresh("llama"), tokenizer())
    model.net.generation_config.top_k, model.net.generation_config.temperature = 2, 0.1
    drawn = [
        r["completion_ids"][0]
        for r in generate(model, ["the"] * 4000, max_new_tokens=1, seed=0, progress=False)
    ]
    with torch.no_grad():
        p = model.net(torch.tensor([model.tokenizer("the")["input_ids"]])).logits[0, -1].softmax(-1)
    shares = torch.bincount(torch.tensor(drawn), minlength=len(p)) / len(drawn)
    assert float((shares - p).abs().max()) < 5 * (0.25 / len(drawn)) ** 0.5


@pytest.mark.parametrize("named", [[2, 9], 9, None])
def test_the_end_tokens_are_those_of_the_files_else_of_the_tokenizer(named):
    model = ProbeModel(fresh("llama"), tokenizer())
    model.net.generation_config.eos_token_id = named
    ends = {2} if named is None else {named} if isinstance(named, int) else set(named)
    model.net.get_output_embeddings().weight.data[sorted(ends)[-1]] *= 4  # said soon
    stopped = [row for row in ids(model, seed=0) if ends & set(row)]
    assert stopped
    assert all(ends & set(row) == {row[-1]} for row in stopped)


def test_a_difference_of_settings_is_one_that_changes_answers():
    plain = GenerationConfig()
    assert unlike(plain, GenerationConfig(top_k=50, pad_token_id=3, temperature=0.2)) == {}
    assert unlike(plain, GenerationConfig(do_sample=True, temperature=0.2)) == {
        "do_sample": (False, True),
        "temperature": (1.0, 0.2),
    }
    assert unlike(GenerationConfig(eos_token_id=2), GenerationConfig(eos_token_id=[2])) == {}
    assert unlike(plain, GenerationConfig(eos_token_id=[2]), ids=False) == {}
