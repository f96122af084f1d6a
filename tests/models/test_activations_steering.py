"""Steering: which states change, and how, against the formula written out."""

import numpy as np
import pytest
import torch

from groundshift.errors import InputError
from groundshift.models.activations import Steer, capture, generate, score, steer
from tests.models import tiny_models as tiny

V = np.random.default_rng(3).standard_normal(32)
ROWS = [
    {"prompt": "the dog", "completion": "sees a cat", "spans": {"who": "dog"}},
    {"prompt": "a bird on the tree", "completion": "runs", "spans": {"who": "bird"}},
]


def states(plans, rows=ROWS, name="llama", site="resid_post.1"):
    model = tiny.build(name)
    with steer(model, plans):
        acts = capture(model, rows, site, "all")
    return [acts.row(site, k) for k in range(len(rows))]


@pytest.mark.parametrize(
    ("where", "changed"),
    [
        ("all", [[0, 1, 2, 3, 4], [0, 1, 2, 3, 4, 5]]),
        ("generated", [[2, 3, 4], [5]]),
        ("last+generated", [[1, 2, 3, 4], [4, 5]]),
        ("from:3", [[3, 4], [3, 4, 5]]),
        ("span:who", [[1], [1]]),
        (torch.tensor([True, False, True]), [[0, 2], [0, 2]]),
        (torch.tensor([[True, False], [False, True]]), [[0], [1]]),
    ],
)
def test_where(where, changed):
    before, after = states([]), states([Steer("resid_post.1", V, 2.0, where)])
    for old, new, places in zip(before, after, changed, strict=True):
        moved = np.abs(new - old).max(1) > 1e-6
        assert np.flatnonzero(moved).tolist() == places
        assert np.allclose(new[places], old[places] + 2.0 * V, atol=1e-5)


def test_modes():
    unit = V / np.linalg.norm(V)
    expected = {
        "add": lambda h: h + 3.0 * V,
        "project_out": lambda h: h - np.outer(h @ V, V) / (V @ V),
        "replace": lambda h: np.broadcast_to(3.0 * V, h.shape),
        "clamp": lambda h: h + np.outer(3.0 - h @ unit, unit),
    }
    before = states([])
    for mode, formula in expected.items():
        after = states([Steer("resid_post.1", V, 3.0, mode=mode)])
        assert np.allclose(after[1], formula(before[1]), atol=1e-5), mode


def test_plans_compose_in_order():
    first, then = Steer("resid_post.1", V, mode="replace"), Steer("resid_post.1", np.ones(32), 0.5)
    before = states([])[0]
    assert np.allclose(states([first, then])[0], V + 0.5, atol=1e-5)
    assert np.allclose(states([then, first])[0], np.broadcast_to(V, before.shape), atol=1e-5)


def test_a_direction_for_each_row():
    each = np.stack([V, -2 * V])
    before, after = states([]), states([Steer("resid_pre.1", each)], site="resid_pre.1")
    plain = states([], site="resid_pre.1")
    assert len(before) == 2
    for k in range(2):
        assert np.allclose(after[k] - plain[k], each[k], atol=1e-5)
    with pytest.raises(InputError, match="2 directions were given, and row 2 is read"):
        states([Steer("resid_pre.1", each)], rows=["a", "b", "the dog runs"])


@pytest.mark.parametrize("name", ["gpt2", "qwen2_vl"])
def test_padding_and_batches_do_not_matter_to_what_is_written(name):
    model, rows = tiny.build(name), tiny.rows(name)
    plan = Steer("resid_post.1", V, 1.0, "last+generated")
    with steer(model, plan):
        together = generate(model, rows, max_new_tokens=6)
        alone = [generate(model, [row], max_new_tokens=6)[0] for row in rows]
    assert [r["completion_ids"] for r in together] == [r["completion_ids"] for r in alone]


def test_the_first_new_token_is_steered_only_with_the_last_of_the_prompt():
    model, rows = tiny.build("llama"), [{"prompt": "the dog", "completion": "sees a"}]

    def logprobs(where):
        with steer(model, Steer("final_norm", V, 1.0, where)):
            return score(model, rows).row("logprob", 0)

    plain = score(model, rows).row("logprob", 0)
    late, early = logprobs("generated"), logprobs("last+generated")
    assert late[0] == plain[0]
    assert abs(early[0] - plain[0]) > 1e-3
    assert late[1] == early[1] != plain[1]
    labelled = [{**rows[0], "spans": {"end": "dog"}}]
    with steer(model, Steer("final_norm", V, 1.0, "span:end")):
        spanned = score(model, labelled).row("logprob", 0)
    assert spanned[0] == early[0]
    assert spanned[1:].tolist() == plain[1:].tolist()


def test_a_users_own_passes_are_steered_without_their_padding():
    model = tiny.build("llama")
    ids = torch.tensor([[0, 0, 9, 11], [9, 11, 12, 13]])
    mask = torch.tensor([[0, 0, 1, 1], [1, 1, 1, 1]])
    seen = []
    with torch.inference_mode(), steer(model, Steer("resid_post.0", V, where="from:1")):
        hook = model.layers[1].register_forward_pre_hook(lambda _m, args: seen.append(args[0]))
        model.net(ids, attention_mask=mask)
        hook.remove()
        plain = model.layers[1].register_forward_pre_hook(lambda _m, args: seen.append(args[0]))
    with torch.inference_mode():
        model.net(ids, attention_mask=mask)
    plain.remove()
    moved = (seen[0] - seen[1]).abs().amax(-1) > 1e-6
    assert moved.tolist() == [[False, False, False, True], [False, True, True, True]]


def test_warnings():
    with pytest.warns(UserWarning, match="changed nothing"):
        states([Steer("resid_post.1", V, where="from:50")])
    with pytest.warns(UserWarning, match="more than 10 times as long"):
        states([Steer("resid_post.1", V, 1e4)])


def test_wrong_plans():
    model = tiny.build("llama")
    for plan, message in (
        (Steer("resid_post.1", np.ones(31)), r"\(31,\) was given; finite numbers, \(32,\)"),
        (Steer("resid_post.1", np.full(32, np.nan)), "finite numbers"),
        (Steer("resid_post.1", np.zeros(32), mode="clamp"), "it is zero"),
        (Steer("resid_post.1", V, mode="times"), "choose add, project_out"),
        (Steer("resid_post.1", V, where="prompt"), "choose all, generated"),
        (Steer("resid_post.9", V), "the model has 3"),
    ):
        with pytest.raises(InputError, match=message), steer(model, plan):
            pass
    ids = torch.tensor([[9, 11]])
    with (
        pytest.raises(InputError, match="needs rows with spans"),
        steer(model, Steer("resid_post.1", V, where="span:who")),
    ):
        model.net(ids)
