"""Log-probabilities against a plain log-softmax over teacher-forced logits, one row at a time."""

import numpy as np
import pytest
import torch

from groundshift.errors import InputError
from groundshift.models.activations import Prefix, capture, encode, option_logprobs, score, scoring
from groundshift.models.activations.rows import collate
from tests.models import tiny_models as tiny

ALL = (*tiny.TEXT, *tiny.SIGHTED)
OPTIONS = ["yes", "no the dog", "runs in"]


def prompts(name):
    return [row if isinstance(row, dict) else {"prompt": row} for row in tiny.rows(name)]


def plain(model, row):
    """Log-probabilities (n, V) at the scored tokens of one row, and the tokens."""
    (encoded,) = encode(model, [row])
    with torch.inference_mode():
        logits = model.net(**collate(model, [encoded]).inputs).logits[0].float().log_softmax(-1).numpy()
    first = encoded.prompt if encoded.completed else 1
    at = [k for k in range(first, len(encoded)) if encoded.ids[k] not in model.image_ids]
    return logits[[k - 1 for k in at]], encoded.ids[at]


@pytest.mark.parametrize("name", [*ALL, "gemma2"])  # gemma2 changes its logits after the unembedding
def test_scores_are_those_of_a_plain_loop(name, monkeypatch):
    monkeypatch.setattr(scoring, "LOGITS", 3 * len(tiny.WORDS))  # blocks of three tokens
    model = tiny.build(name)
    rows = [{**row, "completion": "yes the dog ."} for row in prompts(name)] + ["a dog sees a cat"]
    scores = score(model, rows, top_k=4, max_tokens=30)
    for k, row in enumerate(rows):
        expected, ids = plain(model, row)
        own = expected[np.arange(len(ids)), ids]
        assert np.allclose(scores.row("logprob", k), own, atol=1e-5)
        assert scores.row("rank", k).tolist() == (1 + (expected > own[:, None]).sum(1)).tolist()
        assert np.allclose(scores.row("top_logprob", k), -np.sort(-expected)[:, :4], atol=1e-5)
        best = np.take_along_axis(expected, scores.row("top_id", k), 1)
        assert np.allclose(best, scores.row("top_logprob", k), atol=1e-5)
        assert scores.totals("logprob")[k] == pytest.approx(own.sum(), abs=1e-5)


def test_logits_of_a_capped_model_do_need_its_own_pass():
    assert scoring.head_is_plain(tiny.build("llama"))
    assert not scoring.head_is_plain(tiny.build("gemma2"))


def test_one_pass_gives_states_and_scores():
    model, rows = tiny.build("qwen2"), prompts("qwen2")
    both = capture(model, rows, ["resid_post.1"], "last", top_k=2)
    assert np.array_equal(both["resid_post.1"], capture(model, rows, "resid_post.1")["resid_post.1"])
    assert np.array_equal(both["logprob"], score(model, rows)["logprob"])


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("normalise", ["sum", "mean", "first"])
def test_options_are_scored_as_completions(name, normalise):
    model, network = tiny.build(name), prompts(name)
    logprobs = option_logprobs(model, network, OPTIONS, normalise, max_tokens=60)
    whole = score(model, [{**row, "completion": option} for row in network for option in OPTIONS])
    take = {"sum": np.sum, "mean": np.mean, "first": lambda v: v[0]}[normalise]
    expected = [take(whole.row("logprob", k)) for k in range(len(whole.rows))]
    assert np.allclose(logprobs.ravel(), expected, atol=1e-4)


def test_options_of_each_prompt():
    model = tiny.build("llama")
    logprobs = option_logprobs(model, ["a dog", "the cat sees"], [["yes", "no"], ["the red bird"]])
    assert np.isnan(logprobs).tolist() == [[False, False], [False, True]]
    alone = option_logprobs(model, ["the cat sees"], ["the red bird"])
    assert logprobs[1, 0] == pytest.approx(alone[0, 0], abs=1e-5)


@pytest.mark.parametrize("options", [OPTIONS, ["yes", "no"]])
@pytest.mark.parametrize("name", ["llama", "gpt2", "qwen2"])
def test_options_behind_a_shared_beginning(name, options):
    """One prefill that all prompts continue from, by other lengths, gives what whole prompts give."""
    model = tiny.build(name)
    beginning = "the dog sees a cat . " * 4
    rows = [f"{beginning}{rest}" for rest in ("a bird", "the red house is small in", "two")] + ["a dog"]
    shared = Prefix(model, encode(model, [beginning])[0].ids)
    assert [shared.begins(row) for row in encode(model, rows)] == [True, True, True, False]
    plain = option_logprobs(model, rows, options, progress=False)
    assert np.allclose(option_logprobs(model, rows, options, prefix=shared, progress=False), plain, atol=1e-5)


def test_wrong_options_and_rows():
    model = tiny.build("llama")
    for wrong, how, message in (
        (["yes", ""], "sum", "'' has no tokens"),
        (["the dog", "the cat"], "first", "'the dog' and 'the cat' of prompt 0"),
        ([["yes"], ["no"], ["of"]], "sum", "3 lists of options for 2 prompts"),
        (["yes " * 160], "sum", "at most 160"),
        (["yes"], "median", "choose sum, mean or first"),
    ):
        with pytest.raises(InputError, match=message):
            option_logprobs(model, ["a dog", "a cat"], wrong, how)
    with pytest.raises(InputError, match=r"2 rows have no token to score \(first: \[0, 2\]\)"):
        score(model, [{"prompt": "a", "completion": ""}, "a dog", "a"])
