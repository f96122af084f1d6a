"""Folders of activations: resumed, reused, refused, merged; and what is made of their arrays."""

import json

import numpy as np
import pytest
import torch

from groundshift.errors import InputError
from groundshift.models.activations import ProbeModel, Steer, capture, merge, open_acts, score, steer
from tests.models import tiny_models as tiny

ROWS = [" ".join(tiny.WORDS[9 + (3 * i + j) % 25] for j in range(2 + i % 5)) for i in range(23)]


def same(a, b):
    return set(a) == set(b) and all(np.array_equal(a.flat(site), b.flat(site)) for site in a)


def stop_after(model, passes, error=KeyboardInterrupt):
    """A hook that lets some passes through."""
    seen = iter(range(passes))

    def hook(*_):
        if next(seen, None) is None:
            raise error

    return model.layers[-1].register_forward_pre_hook(hook)


@pytest.mark.parametrize("positions", ["last", "all"])
def test_a_run_that_was_killed_goes_on(tmp_path, positions):
    model = tiny.build("llama")
    whole = capture(model, ROWS, ["resid_post.all"], positions, top_k=2, max_tokens=20)
    ask = {"top_k": 2, "max_tokens": 20, "out": tmp_path / "acts"}
    hook = stop_after(model, 4)
    with pytest.raises(KeyboardInterrupt):
        capture(model, ROWS, ["resid_post.all"], positions, **ask)
    hook.remove()
    done = json.loads((tmp_path / "acts" / "progress.json").read_text())["rows_done"]
    assert 0 < done < len(ROWS)
    with pytest.raises(InputError, match=f"{done} of 23 rows"):
        open_acts(tmp_path / "acts")
    passes = []
    count = model.layers[0].register_forward_hook(lambda *_: passes.append(1))
    acts = capture(model, ROWS, ["resid_post.all"], positions, **ask)
    resumed = len(passes)
    again = capture(model, ROWS, ["resid_post.all"], positions, **ask)
    count.remove()
    assert same(acts, whole)
    assert same(again, whole)
    assert len(passes) == resumed  # a finished folder is read, nothing is run
    assert isinstance(acts["resid_post.1"], np.memmap)


def test_a_folder_of_another_run_is_refused(tmp_path):
    model, out = tiny.build("llama"), tmp_path / "acts"
    capture(model, ROWS, "resid_post.1", out=out)
    tuned = ProbeModel(tiny.fresh("llama"), tiny.tokenizer())
    with torch.no_grad():
        tuned.layers[0].mlp.down_proj.weight.mul_(1.001)  # same names, shapes and headers
    cases = [
        ("positions", lambda: capture(model, ROWS, "resid_post.1", "mean", out=out)),
        ("arrays", lambda: capture(model, ROWS, "resid_post.2", out=out)),
        ("rows", lambda: capture(model, ROWS[1:], "resid_post.1", out=out)),
        ("dtype", lambda: capture(model, ROWS, "resid_post.1", out=out, dtype="float16")),
        ("weights", lambda: capture(tuned, ROWS, "resid_post.1", out=out)),
    ]
    for what, run in cases:
        with pytest.raises(InputError, match=f"another run .*{what}"):
            run()
    with steer(model, Steer("resid_post.0", np.ones(32))), pytest.raises(InputError, match="steered"):
        capture(model, ROWS, "resid_post.1", out=out)
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine.txt").write_text("kept")
    with pytest.raises(InputError, match="is no folder of activations"):
        capture(model, ROWS, "resid_post.1", out=tmp_path / "notes")


def test_shards_are_put_together(tmp_path):
    model = tiny.build("gpt2")
    rows = [*ROWS, ""]
    whole = capture(model, rows, ["resid_post.1", "embed"], "all")
    for r in range(3):
        capture(model, rows, ["resid_post.1", "embed"], "all", out=tmp_path, shard=(r, 3))
    merged = merge(tmp_path, 3)
    assert merged.rows.tolist() == whole.rows.tolist() == list(range(23))
    assert merged.dropped == whole.dropped == {23: "no tokens"}
    for site in whole:
        assert np.allclose(merged.flat(site), whole.flat(site), atol=1e-5)
    assert same(merge(tmp_path, 3), merged)
    assert same(open_acts(tmp_path), merged)


def test_memory_that_runs_out_halves_the_batch():
    model = tiny.build("llama")
    whole = capture(model, ROWS, "resid_post.1", "all")
    sizes = []

    def small(_module, args):
        sizes.append(len(args[0]))
        if len(args[0]) > 3:
            raise torch.OutOfMemoryError("no memory")

    hook = model.layers[0].register_forward_pre_hook(small)
    acts = capture(model, ROWS, "resid_post.1", "all")
    assert sizes[0] > 3
    assert np.allclose(acts["resid_post.1"], whole["resid_post.1"], atol=1e-5)
    hook.remove()
    hook = stop_after(model, 0, torch.OutOfMemoryError)
    with pytest.raises(InputError, match="does not fit into memory by itself"):
        capture(model, ROWS, "resid_post.2")
    hook.remove()


def test_states_that_do_not_fit_are_refused():
    big = ProbeModel(tiny.fresh("llama"), tiny.tokenizer())
    with torch.no_grad():
        big.layers[1].mlp.down_proj.weight.mul_(1e6)
    with pytest.raises(InputError, match=r"resid_post\.1 are too large for float16.*rows \[1, "):
        capture(big, ROWS, "resid_post.1", dtype="float16")
    assert capture(big, ROWS, "resid_post.0", dtype="float16")["resid_post.0"].dtype == np.float16
    with torch.no_grad():
        big.layers[1].mlp.down_proj.weight[0, 0] = torch.inf
    with pytest.raises(InputError, match=r"resid_post\.1 are not finite"):
        capture(big, ROWS, "resid_post.1")


def test_layout_and_statistics(tmp_path):
    model = tiny.build("llama")
    acts = capture(model, ROWS, "resid_post.1", "all", out=tmp_path / "a")
    x = acts["resid_post.1"]
    lengths = [len(row.split()) for row in ROWS]
    assert x.shape == (sum(lengths), 32)
    assert np.load(tmp_path / "a" / "offsets.npy").tolist() == [0, *np.cumsum(lengths)]
    assert acts.row("resid_post.1", 2).shape == (lengths[2], 32)
    values, where = acts.top("resid_post.1", np.ones(32), 5)
    assert where.tolist() == np.argsort(-x.sum(1, dtype=np.float64))[:5].tolist()
    assert np.allclose(values, x[where].sum(1), atol=1e-4)

    two = capture(model, ROWS, "resid_post.1", [0, -1])
    assert two["resid_post.1"].shape == (23, 2, 32)
    assert np.array_equal(two.row("resid_post.1", 3), two["resid_post.1"][3])
    assert capture(model, ROWS, "resid_post.1", 0)["resid_post.1"].shape == (23, 32)
    one = score(model, ["a dog", "the cat"], top_k=3)
    assert one["top_id"].shape == (2, 1, 3)
    assert one.row("top_id", 1).shape == (1, 3)
    with pytest.raises(InputError, match=r"no states of 'embed'; there are resid_post\.1"):
        _ = acts["embed"]
