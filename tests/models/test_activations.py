"""States of every architecture: what the layer promises, against transformers' own answers."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from groundshift.errors import InputError
from groundshift.models.activations import (
    ProbeModel,
    Steer,
    capture,
    encode,
    find_sites,
    generate,
    record,
    steer,
)
from groundshift.models.activations.rows import collate
from tests.models import tiny_models as tiny

ALL = (*tiny.TEXT, *tiny.SIGHTED)
every = pytest.mark.parametrize("name", ALL)


def hooks(net):
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in net.modules())


@every
def test_states_are_those_of_transformers(name):
    model, rows = tiny.build(name), tiny.rows(name)
    batch = collate(model, encode(model, rows))
    with torch.inference_mode():
        own = model.net(**batch.inputs, output_hidden_states=True).hidden_states
    acts = capture(model, rows, ["resid_pre.0", "resid_post.all", "final_norm"], "all")
    states = {site: acts.flat(site) for site in acts}
    real = batch.inputs["attention_mask"].bool()
    for site, k in {"resid_pre.0": 0, "resid_post.0": 1, "resid_post.1": 2, "final_norm": 3}.items():
        # The place of an array in memory may change the last bits of a convolution.
        np.testing.assert_allclose(states[site], own[k][real].numpy(), rtol=1e-5, atol=1e-5, err_msg=site)
    # The last block's output is not among the hidden states: transformers gives it after the norm.
    norm = find_sites(model, "final_norm")[0].module
    with torch.no_grad():
        assert (norm(torch.tensor(states["resid_post.2"])) - own[3][real]).abs().max() <= 1e-5


@every
def test_parts_of_a_block_add_up(name):
    model = tiny.build(name)
    acts = capture(model, tiny.rows(name), ["resid_pre.1", "attn_out.1", "mlp_out.1", "resid_post.1"], "all")
    whole = acts["resid_pre.1"] + acts["attn_out.1"] + acts["mlp_out.1"]
    assert np.allclose(whole, acts["resid_post.1"], atol=1e-5)


@every
def test_steering_by_nothing_changes_no_bit(name):
    model = tiny.build(name)
    batch = collate(model, encode(model, tiny.rows(name)))
    v = np.random.default_rng(0).standard_normal(32)

    def logits(alpha):
        plans = [
            Steer("resid_post.1", v, alpha),
            Steer("resid_pre.0", v, alpha),
            Steer("attn_out.1", v, alpha),
        ]
        with torch.inference_mode(), steer(model, plans):
            return model.net(**batch.inputs).logits

    with torch.inference_mode():
        own = model.net(**batch.inputs).logits
    assert torch.equal(logits(0.0), own)
    assert not torch.allclose(logits(1.0), own, atol=0.1)


@every
def test_padding_and_company_do_not_matter(name):
    model, rows = tiny.build(name), tiny.rows(name)
    sites = ["resid_post.all", "final_norm", "mlp_out.1"]
    together, left = (capture(model, rows, sites, "all", padding=side) for side in ("right", "left"))
    few = capture(model, rows, sites, "all", max_tokens=14)
    for k, row in enumerate(rows):
        alone = capture(model, [row], sites, "all")
        for site in together:
            for other in (left, few):
                assert np.allclose(together.row(site, k), other.row(site, k), atol=1e-5)
            assert np.allclose(together.row(site, k), alone.row(site, 0), atol=1e-5), (site, k)


@every
def test_states_of_a_generation_are_those_of_a_second_reading(name):
    model, rows = tiny.build(name), tiny.rows(name)
    with record(model, ["resid_post.all", "final_norm"]) as live:
        written = generate(model, rows, max_new_tokens=5, max_tokens=40)
    again = capture(model, written, ["resid_post.all", "final_norm"], "predicts")
    assert max(len(row["completion_ids"]) for row in written) == 5
    for site in again:
        for k, row in enumerate(written):
            n = len(row["completion_ids"])
            assert again.row(site, k).shape == (n, 32)
            assert np.allclose(live[site][k][:n], again.row(site, k), atol=1e-4), (site, k)


@every
def test_steered_generation_is_the_steered_second_reading(name):
    model, rows = tiny.build(name), tiny.rows(name)
    v = np.random.default_rng(1).standard_normal(32)
    plans = [Steer("resid_post.0", v, 0.7, "last+generated")]
    with steer(model, plans), record(model, "resid_post.1") as live:
        written = generate(model, rows, max_new_tokens=4)
    with steer(model, plans):
        again = capture(model, written, "resid_post.1", "predicts")
    plain = capture(model, written, "resid_post.1", "predicts")
    for k, row in enumerate(written):
        n = len(row["completion_ids"])
        assert np.allclose(live["resid_post.1"][k][:n], again.row("resid_post.1", k), atol=1e-4)
        # The state that predicts the first new token is steered, too.
        assert not np.allclose(again.row("resid_post.1", k)[0], plain.row("resid_post.1", k)[0], atol=0.05)


@every
def test_only_own_hooks_are_removed(name):
    model = tiny.build(name)
    mine = model.layers[1].register_forward_hook(lambda *_: None)
    before = hooks(model.net)

    def fail():
        plans = [Steer("resid_post.all", np.ones(32)), Steer("final_norm", np.ones(32))]
        with record(model, "resid_post.0"), steer(model, plans):
            assert hooks(model.net) > before
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert hooks(model.net) == before
    assert model.steers == []

    broken = [{"input_ids": [9, 10]}, {"input_ids": [11]}]
    trip = model.layers[2].register_forward_pre_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        capture(model, broken, "resid_post.all")
    trip.remove()
    assert hooks(model.net) == before
    assert model.current is None
    mine.remove()


@pytest.mark.skipif(sys.platform != "linux", reason="the peak of memory is read from /proc")
def test_memory_does_not_grow_with_rows(tmp_path):
    model = tiny.build("llama")
    rng = np.random.default_rng(0)

    def peak(n):
        rows = [{"input_ids": rng.integers(9, 40, 128).tolist()} for _ in range(n)]
        Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
        before = resident("VmRSS")
        capture(
            model, rows, ["resid_post.all", "mlp_out.all"], "last", out=tmp_path / str(n), max_tokens=2048
        )
        return resident("VmHWM") - before

    peak(16)  # what torch loads at its first pass
    few, many = peak(32), peak(384)
    whole = 384 * 128 * 32 * 4 * 6  # bytes of every state at every site: 38 MB
    assert many - few < whole / 10


def resident(what):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(what))


def test_a_model_in_training_is_read_in_evaluation_and_goes_on_training():
    net = tiny.build("gpt2").net  # dropout 0.1
    model = ProbeModel(net, tiny.tokenizer())
    quiet = capture(model, ["the dog runs"], "resid_post.1")["resid_post.1"]
    net.train()
    assert np.array_equal(capture(model, ["the dog runs"], "resid_post.1")["resid_post.1"], quiet)
    assert net.training
    net.eval()


def test_blocks_after_the_deepest_site_are_not_run():
    model, run = tiny.build("llama"), []
    watch = [
        block.register_forward_hook(lambda *_, k=k: run.append(k)) for k, block in enumerate(model.layers)
    ]
    capture(model, ["the dog runs"], ["resid_post.0", "mlp_out.1"])
    first, run[:] = list(run), []
    capture(model, ["the dog runs"], ["resid_post.0", "mlp_out.1"], top_k=0)
    for hook in watch:
        hook.remove()
    assert first == [0]  # the second block is left within
    assert 2 in run


def test_sites():
    model = tiny.build("llama")
    assert [s.name for s in find_sites(model, ["resid_post.-1", "mlp_out.0:2", "embed"])] == [
        "resid_post.2", "mlp_out.0", "mlp_out.1", "embed",
    ]  # fmt: skip
    for wrong, message in {
        "resid_mid.3": "choose embed",
        "resid_post.3": "the model has 3, 0 to 2",
        "resid_post.x": "a number, a range or all",
        "resid_post": "choose embed",
    }.items():
        with pytest.raises(InputError, match=message):
            find_sites(model, wrong)


def test_blocks_that_cannot_be_told_are_listed():
    net = torch.nn.Module()
    net.config = tiny.config("llama")
    net.get_decoder = lambda: net
    net.one = torch.nn.ModuleList(torch.nn.Linear(2, 2) for _ in range(3))
    net.two = torch.nn.ModuleList(torch.nn.Linear(2, 2) for _ in range(3))
    with pytest.raises(InputError, match=r"2 lists of 3 blocks.*one \(3 × Linear\), two \(3 × Linear\)"):
        _ = ProbeModel(net, None).layers
