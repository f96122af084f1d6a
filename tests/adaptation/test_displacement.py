"""Likelihood displacement on tiny models: scores, losses, training and reports against independent references."""

import copy
import json

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import AutoModelForCausalLM, Trainer, TrainingArguments

from groundshift.adaptation import displacement as dp
from groundshift.adaptation.displacement.ches import answer_states
from groundshift.adaptation.displacement.one_token import last_state, rates
from groundshift.adaptation.displacement.training import reference
from groundshift.errors import InputError
from groundshift.models.activations import ProbeModel, capture, load_model, scoring
from tests.models.tiny_models import build, fresh, tokenizer

DATA = [
    {"prompt": "the dog sees", "chosen": " a cat .", "rejected": " the red house ."},
    {"prompt": "a bird", "chosen": " runs", "rejected": " likes a small tree on the house"},
    {"prompt": "is Riga in Latvia", "chosen": " yes .", "rejected": " no ."},
    {"prompt": "one two three", "chosen": " four", "rejected": " five"},
    {"prompt": "the cat", "chosen": " runs .", "rejected": " runs ."},
]
DIFFERENT = DATA[:4]
END = 2


def by_hand(model, row):
    """Sums and last states of both answers by whole forwards, one by one, as the definition says."""
    scores = []
    for which in ("chosen", "rejected"):
        x = model.tokenizer(row["prompt"])["input_ids"]
        y = [*model.tokenizer(row[which], add_special_tokens=False)["input_ids"], END]
        with torch.no_grad():
            states = model.net(torch.tensor([x + y]), output_hidden_states=True).hidden_states[-1][0]
        predicting = states[len(x) - 1 : len(x) + len(y) - 1]
        scores.append((predicting.sum(0).numpy(), predicting[-1].numpy(), len(y)))
    return scores


@pytest.mark.parametrize("name", ["llama", "gpt2", "gpt_neox", "gemma2"])
def test_scores_are_those_of_the_definition(name):
    model = build(name)
    table = dp.score(model, DATA, max_tokens=40)
    for row, score in zip(DIFFERENT, table.itertuples(), strict=False):
        (s, a, n), (t, b, m) = by_hand(model, row)
        assert score.ches == pytest.approx(s @ t - s @ s, rel=1e-3, abs=1e-3)
        assert score.ln_ches == pytest.approx(s @ t / (n * m) - s @ s / n**2, rel=1e-3, abs=1e-3)
        assert score.last_inner == pytest.approx(a @ b, rel=1e-3, abs=1e-3)
        assert (score.chosen_tokens, score.rejected_tokens) == (n, m)
    assert table["identical"].tolist() == [False] * 4 + [True]
    assert table["ches"].iloc[4] == table["ln_ches"].iloc[4] == 0


def test_sums_are_those_of_capture_and_do_not_depend_on_the_batch():
    model = build("llama")
    pairs = dp.encode_pairs(model, DATA)
    total, _ = answer_states(model, pairs)
    for k, which in enumerate(("chosen", "rejected")):
        known = capture(model, pairs.answers(which), "final_norm", "predicts", reduce="sum")["final_norm"]
        np.testing.assert_allclose(total[:, k], known, atol=1e-4)
    np.testing.assert_allclose(answer_states(model, pairs, max_tokens=1)[0], total, atol=1e-4)


def test_no_end_token_summed_to_the_last_is_an_end_token_not_summed():
    """The two settings of the released code: the last state that is summed is that of the answer's last word."""
    model = build("llama")
    with_end = dp.encode_pairs(model, DIFFERENT)
    ids = [x + y[:-1] for x, y in zip(with_end.prompt, with_end.chosen, strict=True)]
    acts = capture(model, [{"input_ids": i} for i in ids], "final_norm", "all")
    for k, x in enumerate(with_end.prompt):
        whole = acts.row("final_norm", k)
        np.testing.assert_allclose(
            answer_states(model, with_end)[0][k, 0], whole[len(x) - 1 :].sum(0), atol=1e-4
        )


def test_ches_is_not_symmetric_and_edit_counts_tokens():
    model = build("llama")
    swapped = [{**row, "chosen": row["rejected"], "rejected": row["chosen"]} for row in DIFFERENT]
    one, other = dp.score(model, DIFFERENT), dp.score(model, swapped)
    assert not np.allclose(one["ches"], other["ches"])
    np.testing.assert_allclose(one["edit"], [-3 / 4, -1, -1 / 2, -1])
    np.testing.assert_allclose(one["edit"], other["edit"])


# One token -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cap", [None, 3.0])
def test_the_formula_is_a_gradient_step_with_h_and_W_free(cap):
    """Central differences along the gradient of DPO's loss, with and without capped logits."""
    g = torch.Generator().manual_seed(0)
    h, W = torch.randn(6, generator=g).double(), torch.randn(9, 6, generator=g).double()
    w, l, beta = 2, 5, 0.3  # noqa: E741

    def logits(h, W):
        z = W @ h
        return z if cap is None else cap * torch.tanh(z / cap)

    def loss(h, W):
        now = logits(h, W).log_softmax(-1)
        before = logits(*start).log_softmax(-1)
        return dp.preference_loss(
            (now[w, None], now[l, None]), (before[w, None], before[l, None]), beta=beta
        ).sum()

    start = (h, W)
    h1, W1 = h.clone().requires_grad_(), W.clone().requires_grad_()
    dh, dW = torch.autograd.grad(loss(h1, W1), (h1, W1))
    slope = 1.0 if cap is None else 1 - (logits(h, W) / cap) ** 2
    w_part, h_part, _, logprob = rates(h, W, logits(h, W), w, l, beta / 2, slope)
    eps = 1e-5

    def moved(a, b):
        up, down = (logits(h - s * a * dh, W - s * b * dW).log_softmax(-1) for s in (eps, -eps))
        return (up - down) / (2 * eps)

    assert float(moved(1, 0)[w]) == pytest.approx(h_part, rel=1e-6)
    assert float(moved(0, 1)[w]) == pytest.approx(w_part, rel=1e-6)
    np.testing.assert_allclose(moved(1, 1), logprob, rtol=1e-5, atol=1e-9)
    assert w_part > 0


@pytest.mark.parametrize("name", ["llama", "gemma2"])
def test_first_order_reads_the_models_own_h_and_W(name):
    model = build(name)
    explanation = dp.first_order(model, "the dog sees", "yes", "no", beta=0.2, top=5)
    h, logits = last_state(model, "the dog sees")
    p = logits.softmax(-1)
    yes, no = (model.tokenizer.convert_tokens_to_ids(t) for t in ("yes", "no"))
    assert (explanation.chosen, explanation.rejected) == pytest.approx((float(p[yes]), float(p[no])))
    if name == "llama":  # the formula as printed, term by term
        W = model.net.get_output_embeddings().weight.detach()
        assert explanation.w_part == pytest.approx(0.1 * float((1 - p[yes] + p[no]) * (h @ h)), rel=1e-4)
        assert explanation.h_part == pytest.approx(
            0.1 * float((W[yes] - p @ W) @ (W[yes] - W[no])), rel=1e-4, abs=1e-6
        )
    assert explanation.total == explanation.w_part + explanation.h_part
    assert explanation.tokens["mass"].is_monotonic_decreasing
    assert abs(explanation.tokens["mass"].iloc[0]) > 0


def test_first_order_refuses_what_it_cannot_say():
    model = build("llama")
    with pytest.raises(InputError, match="2 tokens"):
        dp.first_order(model, "a dog", "yes no", "no")
    with pytest.raises(InputError, match="the same token"):
        dp.first_order(model, "a dog", "no", "no")
    odd = ProbeModel(fresh("gemma2"), tokenizer())
    odd.net.config.final_logit_softcapping = None  # the network goes on capping, the configuration denies it
    own = odd.net.forward
    odd.net.forward = lambda **inputs: _tripled(own(**inputs))
    with pytest.raises(InputError, match="not W h"):
        dp.first_order(odd, "a dog", "yes", "no")


def _tripled(output):
    output.logits = 3 * output.logits + 1
    return output


# Losses and training -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("ours", "theirs"), [("dpo", "sigmoid"), ("ipo", "ipo"), ("hinge", "hinge")])
def test_losses_are_those_of_trl(tmp_path, ours, theirs):
    trl = pytest.importorskip("trl")
    from datasets import Dataset

    base, tuned = (ProbeModel(fresh("llama"), tokenizer()) for _ in range(2))
    with torch.no_grad():
        for w in tuned.net.parameters():
            w += 0.02 * torch.randn_like(w)
    for name, model in (("base", base), ("tuned", tuned)):
        model.net.save_pretrained(tmp_path / name)
        model.tokenizer.save_pretrained(tmp_path / name)
    args = trl.DPOConfig(
        str(tmp_path / "out"), loss_type=[theirs], beta=0.1, per_device_train_batch_size=4, report_to="none",
        use_cpu=True, bf16=False, disable_tqdm=True,
        model_init_kwargs={"dtype": "float32"},
    )  # fmt: skip
    trainer = trl.DPOTrainer(
        str(tmp_path / "tuned"), ref_model=AutoModelForCausalLM.from_pretrained(tmp_path / "base"), args=args,
        processing_class=tokenizer(),
        train_dataset=Dataset.from_list(DIFFERENT),
    )  # fmt: skip
    trainer.model.eval()
    batch = trainer._prepare_inputs(trainer.data_collator(list(trainer.train_dataset)))
    with torch.no_grad():
        known = float(trainer.compute_loss(trainer.model, batch))
    pairs = dp.encode_pairs(base, DIFFERENT)
    now, before = (torch.tensor(reference(m, pairs)) for m in (tuned, base))
    if ours == "ipo":  # TRL's is per token
        sizes = torch.tensor([[len(y), len(z)] for y, z in zip(pairs.chosen, pairs.rejected, strict=True)])
        now, before = now / sizes, before / sizes
    value = dp.preference_loss(tuple(now.T), tuple(before.T), ours, beta=0.1).mean()
    assert float(value) == pytest.approx(known, abs=1e-5)


def test_losses_by_hand():
    now = torch.tensor([-3.0]), torch.tensor([-5.0])
    before = torch.tensor([-2.0]), torch.tensor([-2.0])
    sigmoid = -np.log(1 / (1 + np.exp(-0.5 * (2 - 4 * 1.0))))
    assert float(dp.preference_loss(now, before, "dpop", beta=0.5, penalty=4.0)) == pytest.approx(sigmoid)
    assert float(dp.preference_loss(now, before, "sft")) == 3
    plain = float(dp.preference_loss(now, before, "dpo"))
    assert float(dp.preference_loss(now, before, "dpo", sft=0.2)) == pytest.approx(plain + 0.6)


def test_training_raises_the_margin_and_leaves_the_model_given_alone():
    model = ProbeModel(fresh("llama"), tokenizer())
    kept = copy.deepcopy(model.net.state_dict())
    tuned = dp.train(model, DATA, steps=12, lr=1e-3, batch=4, frozen="unembedding", seed=3, progress=False)
    for name, weight in model.net.state_dict().items():
        assert torch.equal(weight, kept[name]), name
    assert tuned.history["margin"].iloc[0] == pytest.approx(0, abs=1e-4)
    assert tuned.history["margin"].iloc[-1] > 1
    assert tuned.ref.shape == (4, 2)  # the identical pair is left out
    assert any("1 pairs have identical answers" in note for note in tuned.notes)
    head = tuned.model.net.get_output_embeddings().weight
    assert torch.equal(head, kept["lm_head.weight"])
    again = dp.train(
        model, DATA, steps=12, lr=1e-3, batch=4, frozen="unembedding", seed=3, ref=tuned.ref, progress=False
    )
    assert again.history.equals(tuned.history)


def test_parts_of_a_step_add_up():
    """The same steps whether a batch goes through in one forward or pair by pair."""
    model = ProbeModel(fresh("llama"), tokenizer())
    one, many = (
        dp.train(model, DIFFERENT, steps=3, lr=1e-2, optimiser="sgd", clip=None, max_tokens=m, progress=False)
        for m in (8192, 1)
    )
    pd.testing.assert_frame_equal(one.history, many.history, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ["llama", "gemma2"])
def test_what_training_reports_is_what_scoring_finds(name):
    model = ProbeModel(fresh(name), tokenizer())
    tuned = dp.train(model, DIFFERENT, steps=4, lr=1e-3, batch=4, loss="ipo", per_token=True, progress=False)
    last = dp.train(model, DIFFERENT, steps=5, lr=1e-3, batch=4, loss="ipo", per_token=True, progress=False)
    pairs = dp.encode_pairs(model, DIFFERENT)
    sizes = np.array([[len(y), len(z)] for y, z in zip(pairs.chosen, pairs.rejected, strict=True)])
    change = (reference(tuned.model, pairs) - reference(model, pairs)) / sizes
    assert last.history["chosen"].iloc[4] == pytest.approx(change[:, 0].mean(), abs=1e-4)
    assert last.history["margin"].iloc[4] == pytest.approx((change[:, 0] - change[:, 1]).mean(), abs=1e-4)


def test_an_adapter_is_trained_alone_and_saved(tmp_path):
    peft = pytest.importorskip("peft")
    model = ProbeModel(fresh("llama"), tokenizer())
    tuned = dp.train(model, DIFFERENT, steps=3, lr=1e-2, batch=4, lora=2, progress=False)
    tuned.save(tmp_path / "m")
    pairs = dp.encode_pairs(model, DIFFERENT)
    change = reference(tuned.model, pairs) - tuned.ref
    assert (change[:, 0] - change[:, 1]).mean() > 0.01
    base = fresh("llama")  # the weights under the adapter are the old ones
    again = ProbeModel(peft.PeftModel.from_pretrained(base, tmp_path / "m"), tokenizer())
    np.testing.assert_allclose(reference(again, pairs) - tuned.ref, change, atol=1e-4)


# What moved ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def moved(tmp_path_factory):
    """Directories of a base and of what strong training makes of it."""
    folder = tmp_path_factory.mktemp("moved")
    model = ProbeModel(fresh("llama"), tokenizer())
    model.net.save_pretrained(folder / "base")
    model.tokenizer.save_pretrained(folder / "base")
    dp.train(folder / "base", DIFFERENT, steps=20, lr=1e-3, batch=4, progress=False).save(folder / "tuned")
    return folder


def test_where_the_mass_went(moved):
    base, tuned = (dp.read(moved / name, DIFFERENT, progress=False) for name in ("base", "tuned"))
    displaced = dp.displaced(base, tuned, top=100)
    # By whole forwards, one by one: probabilities where the first token of the chosen answer stands.
    change = 0
    for name, sign in (("base", -1), ("tuned", 1)):
        model = load_model(moved / name)
        for row in DIFFERENT:
            change = change + sign * last_state(model, row["prompt"])[1].softmax(-1).numpy() / len(DIFFERENT)
    first = displaced.gaining[displaced.gaining["place"] == "1"].set_index("token")["gain"]
    known = {base.words[z]: change[z] for z in np.flatnonzero(change > 1e-6)}
    assert first[list(known)].to_numpy() == pytest.approx(list(known.values()), abs=1e-5)
    both = pd.concat([displaced.gaining, displaced.losing]).groupby("place")["gain"].sum()
    assert np.abs(both).max() < 1e-4  # what some gain, others lose
    table = displaced.table
    assert displaced.rate == ((table["chosen"] < 0) & (table["margin"] > 0)).mean()
    assert displaced.summary()["margin"] > 0


@pytest.mark.parametrize("name", ["llama", "gemma2"])
def test_reading_gives_what_whole_forwards_give_one_by_one(name, monkeypatch):
    """Also where memory runs out in the middle of a batch."""
    model = build(name)
    pairs = dp.encode_pairs(model, DATA)
    logprobs, first = np.empty((len(DATA), 2)), []
    for i, (x, *answers) in enumerate(zip(pairs.prompt, pairs.chosen, pairs.rejected, strict=True)):
        for k, y in enumerate(answers):
            with torch.no_grad():
                logp = model.net(torch.tensor([x + y])).logits[0].log_softmax(-1)
            logprobs[i, k] = sum(float(logp[len(x) - 1 + j, token]) for j, token in enumerate(y))
        first.append(logp[len(x) - 1].exp().numpy())  # of both answers: it stands before them
    scores = dp.read(model, DATA, progress=False)
    np.testing.assert_allclose(scores.logprobs, logprobs, atol=1e-4)
    np.testing.assert_allclose(scores.mass[0], np.mean(first, 0), atol=1e-6)

    failed = []

    def pieces(total, size):
        yield slice(0, 3)
        if not failed:
            failed.append(total)
            raise torch.OutOfMemoryError
        yield slice(3, total)

    monkeypatch.setattr(scoring, "pieces", pieces)
    again = dp.read(model, DATA, progress=False)
    assert failed
    np.testing.assert_allclose(again.logprobs, scores.logprobs, atol=1e-4)
    np.testing.assert_allclose(again.mass, scores.mass, atol=1e-6)


def test_the_report_has_classes_and_is_escaped(moved, tmp_path):
    def judge(answer):
        return "<b>even" if len(answer) % 2 else "odd"

    report = dp.watch(
        moved / "base",
        moved / "tuned",
        DIFFERENT,
        samples=2,
        classify=judge,
        max_new_tokens=4,
        progress=False,
    )
    assert report.classes[["base", "tuned"]].sum().tolist() == pytest.approx([1, 1])
    page = report.save(tmp_path / "report").read_text()
    assert "&lt;b&gt;even" in page
    assert "<b>even" not in page
    assert report.to_dict()["summary"]["pairs"] == 4
    assert len(pd.read_csv(tmp_path / "report" / "pairs.csv")) == 4


def test_models_of_other_words_are_refused(moved):
    base = dp.read(moved / "base", DIFFERENT, progress=False)
    other = dp.read(build("gpt2"), DIFFERENT, progress=False)
    assert dp.displaced(base, other).table.shape[0] == 4  # another network with the same words is fine
    padded = dp.Reading(
        base.rows, base.logprobs, base.tokens, np.pad(base.mass, ((0, 0), (0, 9))), base.words
    )
    assert len(dp.displaced(base, padded).gaining) == len(dp.displaced(padded, base).losing) == 0
    words = ["other", *base.words[1:]]
    with pytest.raises(InputError, match="one vocabulary"):
        dp.displaced(base, dp.Reading(base.rows, base.logprobs, base.tokens, base.mass, words))
    with pytest.raises(InputError, match="other pairs"):
        dp.displaced(base, dp.read(moved / "base", DIFFERENT[:3], progress=False))


def test_the_monitor_follows_and_stops():
    model = ProbeModel(fresh("llama"), tokenizer())
    monitor = dp.Monitor(DIFFERENT, every=2)
    tuned = dp.train(model, DIFFERENT, steps=6, lr=3e-3, batch=4, on_step=monitor, progress=False)
    assert [seen["step"] for seen in monitor.history] == [2, 4, 6]
    pairs = dp.encode_pairs(model, DIFFERENT)
    change = reference(tuned.model, pairs) - reference(model, pairs)
    assert monitor.history[-1]["chosen"] == pytest.approx(change[:, 0].mean(), abs=1e-4)
    assert monitor.max_decrease == max(0.0, *(-seen["chosen"] for seen in monitor.history))
    worst = [{**row, "chosen": row["rejected"], "rejected": row["chosen"]} for row in DIFFERENT]
    stopped = dp.train(
        model,
        worst,
        steps=40,
        lr=3e-3,
        batch=4,
        on_step=dp.Monitor(DIFFERENT, every=1, stop=-0.2),
        progress=False,
    )
    assert len(stopped.history) < 40


def test_the_callback_in_a_trainer(tmp_path):
    model = ProbeModel(fresh("llama"), tokenizer())
    rows = [{"input_ids": torch.tensor([1, 20, 21, 22]), "labels": torch.tensor([1, 20, 21, 22])}] * 64
    args = TrainingArguments(
        str(tmp_path), max_steps=30, learning_rate=1e-2, report_to="none", use_cpu=True, disable_tqdm=True,
        save_strategy="no", per_device_train_batch_size=4,
    )  # fmt: skip
    callback = dp.Callback(DIFFERENT, every=2, stop=-0.5)
    trainer = Trainer(
        model.net, args, train_dataset=rows, processing_class=model.tokenizer, callbacks=[callback]
    )
    trainer.train()
    logged = [row for row in trainer.state.log_history if "displacement/rate" in row]
    assert trainer.state.global_step < 30  # training on something else forgets the answers, and is stopped
    assert logged[-1]["displacement/chosen_per_token"] < -0.5 <= logged[-2]["displacement/chosen_per_token"]
    assert trainer.model.training


def test_the_callback_in_trl(tmp_path):
    trl = pytest.importorskip("trl")
    from datasets import Dataset

    fresh("llama").save_pretrained(tmp_path / "base")
    args = trl.DPOConfig(
        str(tmp_path / "out"), max_steps=4, learning_rate=1e-3, per_device_train_batch_size=4, report_to="none",
        use_cpu=True, bf16=False, disable_tqdm=True, save_strategy="no", model_init_kwargs={"dtype": "float32"},
    )  # fmt: skip
    callback = dp.Callback(DIFFERENT, every=2)
    trainer = trl.DPOTrainer(
        str(tmp_path / "base"), args=args, processing_class=tokenizer(), train_dataset=Dataset.from_list(DIFFERENT),
        callbacks=[callback],
    )  # fmt: skip
    trainer.train()
    assert [seen["step"] for seen in callback.monitor.history] == [2, 4]
    assert callback.monitor.history[-1]["margin"] > 0
    assert sum("displacement/margin" in row for row in trainer.state.log_history) == 2


# Data ----------------------------------------------------------------------------------------------------

CHAT = (
    "{% for m in messages %}{{ m['role'] == 'user' and 'two' or 'three' }} {{ m['content'] }} <eos>\n{% endfor %}"
    "{% if add_generation_prompt %}three {% endif %}"
)


def chatty():
    words = tokenizer()
    words.chat_template = CHAT
    return ProbeModel(build("llama").net, words, source="a chat model")


def test_all_forms_of_preference_data_are_one(tmp_path):
    from datasets import Dataset

    model = build("llama")
    known = dp.encode_pairs(model, DIFFERENT)
    assert known.notes == ["the end token was put behind 8 of 8 answers"]
    (tmp_path / "p.jsonl").write_text("\n".join(json.dumps(row) for row in DIFFERENT))
    pd.DataFrame(DIFFERENT).to_parquet(tmp_path / "p.parquet")
    Dataset.from_list(DIFFERENT).save_to_disk(tmp_path / "folder")
    implicit = [{k: row["prompt"] + row[k] for k in ("chosen", "rejected")} for row in DIFFERENT]
    for source in (
        tmp_path / "p.jsonl", str(tmp_path / "p.parquet"), tmp_path / "folder", Dataset.from_list(DIFFERENT),
        pd.DataFrame(DIFFERENT), implicit,
    ):  # fmt: skip
        encoded = dp.encode_pairs(model, source)
        assert (encoded.prompt, encoded.chosen, encoded.rejected) == (
            known.prompt,
            known.chosen,
            known.rejected,
        )


def test_chats_end_with_what_the_template_writes(tmp_path):
    model = chatty()
    user = [{"role": "user", "content": "is Riga in Latvia"}]
    yes, no = ([{"role": "assistant", "content": w}] for w in ("yes .", "no ."))
    explicit = {"prompt": user, "chosen": yes, "rejected": no}
    implicit = {"chosen": user + yes, "rejected": user + no}
    plain = {"prompt": "is Riga in Latvia", "chosen": "yes .", "rejected": "no ."}
    encoded = [
        dp.encode_pairs(model, [explicit]),
        dp.encode_pairs(model, [implicit]),
        dp.encode_pairs(model, [plain], template="chat"),
    ]
    for pairs in encoded:
        assert model.tokenizer.decode(pairs.prompt[0]) == "two is Riga in Latvia <eos> three"
        assert model.tokenizer.decode(pairs.chosen[0]) == "yes . <eos>"
        assert pairs.notes == []  # the template ends answers itself
    assert pd.DataFrame([explicit]).to_parquet(tmp_path / "chat.parquet") is None
    assert dp.encode_pairs(model, tmp_path / "chat.parquet").chosen == encoded[0].chosen
    with pytest.raises(InputError, match="template='chat'"):
        dp.encode_pairs(model, [plain])
    assert (
        dp.encode_pairs(model, [plain], template="none").prompt
        == dp.encode_pairs(build("llama"), [plain]).prompt
    )


def test_a_word_across_the_boundary_is_told():
    with pytest.warns(UserWarning, match="1 of 2 pairs"):
        pairs = dp.encode_pairs(
            build("llama"), [{"prompt": "the do", "chosen": "g runs", "rejected": "g sees"}, DATA[0]]
        )
    assert "across the boundary" in pairs.notes[0]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"prompt": "a", "chosen": "b"}], "Row 0 has prompt"),
        (
            [{"prompt": "a", "chosen": "b", "rejected": [{"role": "user", "content": "c"}]}],
            "all texts or all lists",
        ),
        ([DATA[0], {"prompt": "a dog", "chosen": "", "rejected": "runs"}], r"rows \[1\]"),
        ([{"prompt": "", "chosen": "runs", "rejected": "sees"}], "no tokens"),
        ([], "no rows"),
        ([{"prompt": "a", "chosen": "dog " * 200, "rejected": "runs"}], "None of 1 pairs fits"),
    ],
)
def test_bad_pairs_are_told(rows, message):
    with pytest.raises(InputError, match=message):
        dp.encode_pairs(build("llama"), rows)


def test_long_pairs_are_dropped_and_counted():
    pairs = dp.encode_pairs(
        build("llama"), [*DIFFERENT, {"prompt": "a", "chosen": "dog " * 200, "rejected": "runs"}]
    )
    assert pairs.rows.tolist() == [0, 1, 2, 3]
    assert any("1 of 5 pairs are longer than the 160 tokens" in note for note in pairs.notes)


def test_bad_files_and_options_are_told(tmp_path, moved):
    with pytest.raises(InputError, match="no file"):
        dp.read_pairs(tmp_path / "none.jsonl")
    (tmp_path / "x.jsonl").write_text("{")
    with pytest.raises(InputError, match="line 1: no JSON"):
        dp.read_pairs(tmp_path / "x.jsonl")
    (tmp_path / "x.txt").write_text("x")
    with pytest.raises(InputError, match="neither JSONL nor Parquet"):
        dp.read_pairs(tmp_path / "x.txt")
    model = build("llama")
    with pytest.raises(InputError, match="The measures cosine"):
        dp.score(model, DATA, ("cosine",))
    with pytest.raises(InputError, match="loss='kto'"):
        dp.train(model, DATA, loss="kto")
    with pytest.raises(InputError, match="nothing to learn"):
        dp.train(model, DATA[4:])
    with pytest.raises(InputError, match="ref has shape"):
        dp.train(model, DATA, ref=np.zeros((2, 2)))
    with pytest.raises(InputError, match="not finite at step"):
        dp.train(
            ProbeModel(fresh("llama"), tokenizer()),
            DIFFERENT,
            steps=9,
            lr=1e30,
            optimiser="sgd",
            progress=False,
        )


def test_the_filter_keeps_the_lowest_and_says_what_is_lost():
    table = dp.score(build("llama"), DATA)
    kept = dp.filter_pairs(table, keep=0.4, groups=["a", "a", "b", "b", "c"])
    lowest = table[~table["identical"]].nsmallest(2, "ln_ches")
    assert kept.rows.tolist() == sorted(lowest["row"])
    assert kept.threshold == lowest["ln_ches"].max()
    assert kept.groups.loc["c", "after"] == 0
    assert "lost altogether" in kept.note
    assert dp.filter_pairs(table, drop=0.6).rows.tolist() == kept.rows.tolist()
    assert 4 not in dp.filter_pairs(table, keep=0.99).rows
    for wrong in ({}, {"keep": 0.5, "drop": 0.5}, {"keep": 1.5}):
        with pytest.raises(InputError, match="one of them"):
            dp.filter_pairs(table, **wrong)
    with pytest.raises(InputError, match="no column"):
        dp.filter_pairs(table, "cosine", keep=0.5)


@pytest.mark.parametrize("padded", ["base", "tuned"])
def test_padded_embeddings_add_no_tokens(tmp_path, padded):
    plain, longer = fresh("llama"), fresh("llama")
    longer.resize_token_embeddings(pad_to_multiple_of=64, mean_resizing=False)
    for name in ("base", "tuned"):
        (longer if name == padded else plain).save_pretrained(tmp_path / name)
        tokenizer().save_pretrained(tmp_path / name)
    base, tuned = (dp.read(tmp_path / name, DIFFERENT, progress=False) for name in ("base", "tuned"))
    moved = dp.watch(tmp_path / "base", tmp_path / "tuned", DIFFERENT, progress=False).moved
    assert np.allclose(moved.table[["chosen", "rejected"]], tuned.logprobs - base.logprobs)
    assert set(moved.gaining["token"]) | set(moved.losing["token"]) <= set(base.words)


def test_a_model_with_an_adapter_is_not_trained_on(tmp_path):
    peft = pytest.importorskip("peft")
    net = peft.get_peft_model(fresh("llama"), peft.LoraConfig(target_modules=["q_proj"]))
    with pytest.raises(InputError, match=r"has an adapter already.*merge it"):
        dp.train(ProbeModel(net, tokenizer()), DIFFERENT, steps=1, progress=False)
