"""Tiny language models: trained to the bit, read and written in ids, saved as others read them, cached once."""

import math

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, Trainer, TrainingArguments

from groundshift.errors import InputError
from groundshift.models import tinylm
from groundshift.models.training import train
from groundshift.worlds.tinylm import (
    BOS,
    EOS,
    PAD,
    Atlas,
    Captions,
    Facts,
    Requests,
    TinyWorld,
    TunedFacts,
)


@pytest.fixture(scope="module")
def world():
    return TinyWorld({"facts": Facts(8, 2, 4)})


@pytest.fixture(scope="module")
def corpus(world):
    return world.packed(rows=8, length=32)


@pytest.fixture(scope="module")
def trained(world, corpus):
    model = tinylm.build("nano", world.lexicon)
    tinylm.fit(model, corpus, steps=400, lr=1e-2)
    return model


@pytest.fixture
def fresh(world):
    return tinylm.build("nano", world.lexicon, positions=48)


def state(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


# Training ------------------------------------------------------------------------------------------------


def test_one_seed_gives_the_same_weights_to_the_bit(world, corpus):
    def run(init, order):
        model = tinylm.build("nano", world.lexicon, seed=init)
        tinylm.fit(model, corpus, steps=6, seed=order)
        return state(model)

    whole = run(0, 0)
    assert same(whole, run(0, 0))
    assert not same(whole, run(1, 0))
    assert not same(whole, run(0, 1))


def test_facts_are_learned_and_the_floor_is_not_beaten(world, trained):
    facts = world["facts"]
    assert tinylm.accuracy(trained, facts.exam("cloze")) >= 0.9
    rows = world.pack(np.random.default_rng(99), 300, 32)
    gap = np.nansum(world.log_probs(rows.ids) - tinylm.score(trained, rows.ids).logprob, 1)
    assert gap.mean() > -3 * gap.std() / math.sqrt(len(gap))  # a model below the floor has seen the answers
    assert gap.mean() / 31 < 0.25


@pytest.mark.parametrize(
    "parts",
    [
        {"facts": Facts(), "retold": TunedFacts(edited=4)},
        {"atlas": Atlas()},
        {"captions": Captions()},
        {"asks": Requests()},
    ],
    ids=lambda parts: list(parts)[-1],
)
def test_a_new_model_is_at_chance_everywhere(parts):
    w = TinyWorld(parts)
    model = tinylm.build("nano", w.lexicon, seed=3)
    for name, part in w.parts.items():
        rows = part.draw(np.random.default_rng(0), 50)
        loss = -np.nanmean(tinylm.score(model, rows.ids).logprob)
        assert loss == pytest.approx(math.log(len(w.lexicon)), rel=0.05)
        for exam_name in part.exams:
            exam = part.exam(exam_name)
            p = exam.chance
            error = math.sqrt(p * (1 - p) / len(exam.answer))
            assert abs(tinylm.accuracy(model, exam) - p) < 4 * error, (name, exam_name)


def test_masked_labels_teach_nothing_and_a_batch_without_labels_is_refused(fresh, corpus):
    batch = {name: torch.as_tensor(values) for name, values in corpus(np.random.default_rng(0)).items()}

    def gradient(labels):
        fresh.zero_grad()
        tinylm.lm_loss(fresh(input_ids=batch["ids"]).logits, labels).backward()
        return fresh.model.norm.weight.grad.clone()

    only = torch.full_like(batch["labels"], -100)
    only[:, 5] = batch["labels"][:, 5]
    changed = batch["ids"].clone()
    changed[:, 20] = 15  # a later token, without a label: no gradient comes from it
    before = gradient(only)
    batch["ids"] = changed
    assert torch.allclose(gradient(only), before, atol=1e-7)
    logits = torch.randn(2, 4, 9, requires_grad=True)
    labels = torch.tensor([[-100, 3, -100, 4], [-100, -100, 2, -100]])
    tinylm.lm_loss(logits, labels).backward()
    there = logits.grad.abs().sum(-1) > 0
    assert there.tolist() == [[True, False, True, False], [False, True, False, False]]

    def silent(rng):
        documents = corpus(rng)
        return documents | {"labels": np.full_like(documents["labels"], -100)}

    with pytest.raises(InputError, match="No token of a batch has a label"):
        tinylm.fit(fresh, silent, steps=1)


def test_the_loss_is_that_of_the_trainer_of_transformers(fresh, corpus, tmp_path):
    batch = {name: torch.as_tensor(values) for name, values in corpus(np.random.default_rng(0)).items()}
    arguments = TrainingArguments(output_dir=tmp_path, use_cpu=True, report_to=[])
    theirs = Trainer(fresh, arguments).compute_loss(
        fresh, {"input_ids": batch["ids"], "labels": batch["labels"]}
    )
    ours = tinylm.fit(fresh, lambda rng: corpus(np.random.default_rng(0)), steps=1).history[0]
    assert ours == pytest.approx(theirs.item(), abs=1e-6)


def test_a_prompt_changes_one_row_and_what_is_frozen_stays(fresh, world, corpus):
    token = int(world.lexicon["entity"][0])
    before = state(fresh)
    tinylm.fit(fresh, corpus, steps=3, trainable=tinylm.Prompt(token))
    after = state(fresh)
    rows = (after["model.embed_tokens.weight"] != before["model.embed_tokens.weight"]).any(1)
    assert rows.nonzero().flatten().tolist() == [token]
    tied = {"model.embed_tokens.weight", "lm_head.weight"}
    assert all(torch.equal(before[name], after[name]) for name in before.keys() - tied)
    tinylm.fit(fresh, corpus, steps=3, trainable=tinylm.Freeze(("embed", "mlp")))
    last = state(fresh)
    moved = {name for name in after if not torch.equal(after[name], last[name])}
    assert moved
    assert not any("embed" in name or "mlp" in name for name in moved)
    assert all(p.requires_grad for p in fresh.parameters())
    with pytest.raises(InputError, match="No weight has 'unembedding'"):
        tinylm.fit(fresh, corpus, steps=1, trainable=tinylm.Freeze(("unembedding",)))


@pytest.mark.parametrize(("arch", "targets"), [("llama", tinylm.LoRA().targets), ("gpt2", ("c_attn",))])
def test_a_merged_adapter_answers_as_it_did(world, corpus, tmp_path, arch, targets):
    pytest.importorskip("peft")
    model = tinylm.build("nano", world.lexicon, arch=arch)
    before = state(model)
    adapted = tinylm.fit(model, corpus, steps=4, lr=3e-2, trainable=tinylm.LoRA(targets=targets)).net
    ids = torch.as_tensor(corpus(np.random.default_rng(1))["ids"])
    with torch.no_grad():
        on = adapted(input_ids=ids).logits
        with adapted.disable_adapter():
            off = adapted(input_ids=ids).logits
    tinylm.save(adapted, world.lexicon, tmp_path / "merged")
    merged = tinylm.load(tmp_path / "merged")
    with torch.no_grad():
        assert torch.allclose(merged(input_ids=ids).logits, on, atol=1e-5)
    assert (on - off).abs().max() > 1e-3
    kept = state(adapted.unload())
    assert all(torch.equal(kept[name], before[name]) for name in before)
    with pytest.raises(InputError, match="LoRA found no layer"):
        tinylm.fit(model, corpus, steps=1, trainable=tinylm.LoRA(targets=("nothing",)))


def test_a_gate_ends_the_training_and_a_resumed_run_ends_there_too(world, corpus, tmp_path):
    exams = []

    def measure(model):
        exams.append(model.training)
        return len(exams) / 10

    model = tinylm.build("nano", world.lexicon)
    gate = tinylm.Gate(measure, reaches=0.2, every=3)
    done = tinylm.fit(model, corpus, steps=20, stop=gate, out=tmp_path)
    assert len(done.history) == 6
    assert exams == [False, False]
    again = tinylm.build("nano", world.lexicon, seed=1)
    more = tinylm.fit(again, corpus, steps=20, stop=gate, out=tmp_path, resume=True)
    assert len(more.history) == 6
    assert same(state(model), state(again))


def test_schedules_and_losses_of_ones_own(fresh, corpus):
    before = state(fresh)
    shapes = []

    def loss(logits, hidden, batch):
        shapes.append((logits.shape[:2] == batch["ids"].shape, hidden.shape[-1]))
        head = fresh.get_output_embeddings()(hidden)
        assert torch.allclose(head, logits, atol=1e-6)
        return tinylm.lm_loss(logits, batch["labels"])

    tinylm.fit(fresh, corpus, steps=2, loss=loss, schedule=lambda share: 0.0)
    assert shapes == [(True, 48)] * 2
    assert same(before, state(fresh))  # a learning rate of 0
    with pytest.raises(InputError, match="loss='lm2'"):
        tinylm.fit(fresh, corpus, steps=1, loss="lm2")


# Reading and writing -------------------------------------------------------------------------------------


@pytest.mark.parametrize("arch", ["llama", "gpt2"])
def test_greedy_text_with_a_cache_is_that_without(world, trained, arch):
    model = trained if arch == "llama" else tinylm.build("29k", world.lexicon, arch="gpt2", seed=1)
    facts = world["facts"]
    prompts = [
        [BOS, *world.lexicon.encode(text)]
        for text in (f"the {facts.word('relation', 0)} of", facts.word("entity", 3), "Q what is the")
    ]
    answers = tinylm.generate(model, prompts, 8, temperature=0.0)
    for prompt, line in zip(prompts, answers, strict=True):
        ids = list(prompt)
        for _ in range(8):
            with torch.no_grad():
                ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
        assert ids[len(prompt) :] == line.tolist()


def test_sampling_follows_the_model_and_its_seed(fresh):
    prompts = np.full((4000, 1), BOS)
    answers = tinylm.generate(fresh, prompts, 1, seed=4)
    assert np.array_equal(answers, tinylm.generate(fresh, prompts, 1, seed=4))
    assert not np.array_equal(answers, tinylm.generate(fresh, prompts, 1, seed=5))
    words = fresh.config.vocab_size
    p = np.exp(tinylm.option_logprobs(fresh, prompts[:1], [range(words)]))[0]
    seen = np.bincount(answers[:, 0], minlength=words)
    assert (np.abs(seen - 4000 * p) < 5 * np.sqrt(4000 * p)).all()


def test_what_is_banned_is_never_said_and_what_is_inserted_always_is(fresh, world):
    ban, is_, dot = world.lexicon["entity"], *world.lexicon.encode("is .")
    answers = tinylm.generate(fresh, np.full((200, 1), BOS), 20, ban=[*ban, EOS], insert={is_: ban[2]})
    follows = answers[:, 1:][answers[:, :-1] == is_]
    assert len(follows) > 20
    assert (follows == ban[2]).all()
    others = np.isin(answers, ban) & ~np.pad(answers[:, :-1] == is_, ((0, 0), (1, 0)))
    assert not others.any()
    stopped = tinylm.generate(fresh, np.full((50, 1), BOS), 20, stop=int(dot))
    ended = (stopped == dot).argmax(1)
    for line, end in zip(stopped, ended, strict=True):
        if dot in line:
            assert (line[end + 1 :] == PAD).all()
    with pytest.raises(InputError, match="reads 48"):
        tinylm.generate(fresh, [[BOS]], 48)


def test_scores_are_those_of_the_full_softmax(trained, world):
    rows = world.draw(np.random.default_rng(3), 300).ids
    scores = tinylm.score(trained, rows)
    with torch.no_grad():
        z = trained(torch.as_tensor(rows)).logits.double().log_softmax(-1)[:, :-1]
    target = torch.as_tensor(rows)[:, 1:, None]
    real = rows[:, 1:] != PAD
    own = z.gather(2, target)
    assert np.allclose(scores.logprob[:, 1:][real], own[..., 0].numpy()[real], atol=1e-5)
    assert np.array_equal(scores.rank[:, 1:][real], ((z > own).sum(-1) + 1).numpy()[real])
    assert np.allclose(scores.entropy[:, 1:][real], -(z.exp() * z).sum(-1).numpy()[real], atol=1e-5)
    assert np.isnan(scores.logprob[:, 0]).all()
    assert np.isnan(scores.logprob[:, 1:][~real]).all()
    left = np.stack([np.roll(row, (row == PAD).sum()) for row in rows])
    shifted = tinylm.score(trained, left).logprob
    assert np.allclose(np.nansum(shifted, 1), np.nansum(scores.logprob, 1), atol=1e-4)


def test_options_of_one_token_and_of_several_agree(trained, world):
    exam = world["facts"].exam("cloze")
    short = tinylm.option_logprobs(trained, exam.prompts, exam.options)
    long = tinylm.option_logprobs(trained, exam.prompts.tolist(), exam.options[..., None].tolist())
    assert np.allclose(short, long, atol=1e-5)
    two = tinylm.option_logprobs(trained, exam.prompts[:, :2].tolist(), exam.prompts[:, None, 2:].tolist())
    whole = tinylm.score(trained, exam.prompts).logprob[:, 2:].sum(1)
    assert np.allclose(two[:, 0], whole, atol=1e-5)


# Directories ---------------------------------------------------------------------------------------------


def test_a_directory_opens_anywhere(trained, world, tmp_path, capfd):
    tinylm.save(trained, world.lexicon, tmp_path / "model")
    assert capfd.readouterr().err == ""  # no bar where there is no terminal
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    words = AutoTokenizer.from_pretrained(tmp_path / "model")
    rows = world.draw(np.random.default_rng(0), 20).ids
    for row in rows:
        row = row[row != PAD]
        assert words(world.lexicon.decode(row))["input_ids"] == row.tolist()
        assert words.decode(row) == world.lexicon.decode(row)
    with torch.no_grad():
        assert torch.equal(model(torch.as_tensor(rows)).logits, trained(torch.as_tensor(rows)).logits)
    assert (model.config.bos_token_id, model.config.eos_token_id, model.config.pad_token_id) == (1, 2, 0)
    with pytest.raises(InputError, match="not empty"):
        tinylm.save(trained, world.lexicon, tmp_path / "model")


def test_bytes_come_back_as_they_were(tmp_path):
    tinylm.byte_tokenizer().save_pretrained(tmp_path)
    words = AutoTokenizer.from_pretrained(tmp_path)
    for text in ('{"naïve": [1, 2]}\n', " two  blanks ", "日本"):
        ids = words(text)["input_ids"]
        assert len(ids) == len(text.encode())
        assert words.decode(ids) == text


def test_a_model_is_trained_once_for_all_who_ask(world, tmp_path, monkeypatch):
    monkeypatch.setenv("GROUNDSHIFT_CACHE", str(tmp_path))
    recipe = tinylm.Recipe("nano", steps=3, rows=4, length=24, gate={"facts.cloze": 1.01})
    folder = tinylm.cached(world, recipe, seed=1)
    card = tinylm.card(folder)
    # The gate was missed, so it was trained on, once; that it was missed stays known.
    assert (card["steps"], card["passed"], card["seed"]) == (6, False, 1)
    monkeypatch.setattr("groundshift.models.tinylm.caching.fit", None)
    assert tinylm.cached(TinyWorld({"facts": Facts(8, 2, 4)}), recipe, seed=1) == folder
    monkeypatch.undo()
    monkeypatch.setenv("GROUNDSHIFT_CACHE", str(tmp_path))
    easy = tinylm.Recipe("nano", steps=3, rows=4, length=24, gate={"facts.cloze": 0.0})
    card = tinylm.card(tinylm.cached(world, easy, seed=1))
    assert (card["steps"], card["passed"]) == (3, True)
    assert len([f for f in (tmp_path / "tinylm").iterdir() if f.is_dir()]) == 2
    with pytest.raises(InputError, match="no exam"):
        tinylm.cached(world, tinylm.Recipe(gate={"facts.riddle": 1.0}))


def test_a_training_that_died_is_gone_on_from(world, tmp_path, monkeypatch):
    monkeypatch.setenv("GROUNDSHIFT_CACHE", str(tmp_path / "whole"))
    recipe = tinylm.Recipe("nano", steps=6, rows=4, length=24)
    whole = state(tinylm.load(tinylm.cached(world, recipe)))
    monkeypatch.setenv("GROUNDSHIFT_CACHE", str(tmp_path / "killed"))

    def dies(*args, **more):
        def until(net, done):
            if done == 5:
                raise KeyboardInterrupt
            return False

        return train(*args, **{**more, "save_every": 2, "until": until})

    monkeypatch.setattr("groundshift.models.tinylm.fitting.train", dies)
    with pytest.raises(KeyboardInterrupt):
        tinylm.cached(world, recipe)
    monkeypatch.setattr("groundshift.models.tinylm.fitting.train", train)
    assert same(state(tinylm.load(tinylm.cached(world, recipe))), whole)


def test_what_is_not_there_is_refused(world):
    for wrong in ({"preset": "huge"}, {"arch": "rnn", "preset": "nano"}):
        with pytest.raises(InputError, match="presets are nano"):
            tinylm.build(wrong.pop("preset"), world.lexicon, **wrong)
    with pytest.raises(InputError, match="facts, atlas"):
        tinylm.base("fact")
