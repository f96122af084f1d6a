"""The trainer: resumed runs equal uninterrupted ones to the bit, and wrong runs stop with a reason."""

import math
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from groundshift.errors import InputError
from groundshift.models.training import Recipe, minibatches, train

RUN = """
import os, torch
from threadpoolctl import threadpool_limits
from torch import nn
from groundshift.models.training import Recipe, minibatches, train

class Noisy(nn.Module):
    # A loss with a state of its own that changes what follows, as importance sampling has.
    def __init__(self):
        super().__init__()
        self.register_buffer("running", torch.ones(()))
        self.steps = 0

    def forward(self, net, batch, generator):
        self.steps += 1
        if self.steps == self.die_after:
            os.kill(os.getpid(), 9)
        x, y = batch
        error = (net(x + 0.1 * torch.randn(x.shape, generator=generator)) - y).square().mean()
        self.running = 0.9 * self.running + 0.1 * error.detach()
        return error / (1 + self.running)

def main(out, die_after=0):
    loss = Noisy()
    loss.die_after = die_after
    torch.manual_seed(0)
    x = torch.randn(50, 3)
    net = nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.2), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 1))
    recipe = Recipe(steps=20, lr=0.01, ema=0.9, seed=3)
    # A library that another test has used may have set another number, and with it other last bits.
    with threadpool_limits(1):
        train(net, minibatches(x, x.sum(1, True), size=8), loss, recipe, out=out, resume=True, save_every=4)
"""


def test_a_killed_run_goes_on_to_the_same_bits(tmp_path, capsys):
    program = {}
    exec(RUN, program)
    program["main"](tmp_path / "whole")
    assert capsys.readouterr().err == ""  # no progress bar where there is no terminal
    command = f"{RUN}\nmain({str(tmp_path / 'killed')!r}, die_after=11)"
    assert subprocess.run([sys.executable, "-c", command], capture_output=True).returncode == -9
    assert [f.name for f in (tmp_path / "killed").iterdir()] == ["checkpoint.safetensors"]
    # A kill in the middle of writing leaves a part beside the last whole checkpoint.
    (tmp_path / "killed" / "checkpoint.safetensors.part").write_bytes(b"half")
    program["main"](tmp_path / "killed")
    for file in ("model.safetensors", "checkpoint.safetensors"):
        whole, resumed = (load_file(tmp_path / run / file) for run in ("whole", "killed"))
        assert whole.keys() == resumed.keys()
        assert all(torch.equal(whole[k], resumed[k]) for k in whole)
    histories = [(tmp_path / run / "history.json").read_text() for run in ("whole", "killed")]
    assert histories[0] == histories[1]


def line():
    x = torch.linspace(-1, 1, 64)[:, None]
    return minibatches(x, 3 * x, size=16)


def squared(net, batch, generator):
    return (net(batch[0]) - batch[1]).square().mean()


def linear():
    torch.manual_seed(0)
    return nn.Linear(1, 1)


def test_the_seed_decides_and_the_callers_randomness_is_left_alone():
    torch.manual_seed(7)
    expected = torch.randn(3)
    runs = []
    for seed in (1, 1, 2):
        net = linear()
        torch.manual_seed(7)
        runs.append(train(net, line(), squared, Recipe(steps=5, seed=seed)).history)
        assert torch.equal(torch.randn(3), expected)
    assert runs[0] == runs[1] != runs[2]


def test_learning_rates():
    cycle = Recipe(steps=100, lr=0.1, warmup=0.1)
    assert [cycle.lr_at(s) for s in (0, 4, 9, 54, 99)] == pytest.approx([0.01, 0.05, 0.1, 0.05, 0.0])
    flat = Recipe(steps=100, lr=0.1, schedule="constant", warmup=0.1)
    assert [flat.lr_at(s) for s in (0, 4, 9, 54, 99)] == pytest.approx([0.01, 0.05, 0.1, 0.1, 0.1])
    assert Recipe(steps=4, lr=0.1, schedule="constant", warmup=0.0).lr_at(0) == 0.1


def test_the_average_is_the_mean_of_recent_weights():
    net, seen = linear(), []

    def watched(net, batch, generator):
        seen.append(net.weight.item())
        return squared(net, batch, generator)

    done = train(net, line(), watched, Recipe(steps=30, lr=0.05, ema=0.5, weight_decay=0.0))
    alone = linear()
    train(alone, line(), squared, Recipe(steps=30, lr=0.05, weight_decay=0.0))
    weights = [*seen[1:], alone.weight.item()]
    expected = weights[0]
    for n, weight in enumerate(weights[1:], 1):
        decay = min(0.5, (1 + n) / (10 + n))
        expected = decay * expected + (1 - decay) * weight
    assert done.net.weight.item() == pytest.approx(expected, abs=1e-6)
    assert not done.net.training


def test_clipping_bounds_the_step():
    def step(clip):
        net = linear()
        before = net.weight.item()
        recipe = Recipe(steps=1, lr=1.0, schedule="constant", warmup=0.0, weight_decay=0.0, clip=clip)
        train(net, line(), lambda *a: 1e-6 * squared(*a), recipe)
        return abs(net.weight.item() - before)

    # Adam's step is lr · g / (|g| + 1e-8): far smaller where the gradient is clipped to far below 1e-8.
    assert step(None) > 0.5
    assert step(1e-10) < 0.02


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_stops_and_names_the_step(tmp_path, bad):
    count = iter(range(100))

    def breaks(net, batch, generator):
        return squared(net, batch, generator) * (bad if next(count) == 6 else 1.0)

    net = linear()
    with pytest.raises(InputError, match=r"loss is (nan|inf) at step 6 .*last loss \d"):
        train(net, line(), breaks, Recipe(steps=10), out=tmp_path / "run", save_every=5)
    assert all(p.isfinite().all() for p in net.parameters())
    done = train(linear(), line(), squared, Recipe(steps=10), out=tmp_path / "run", resume=True)
    assert done.resumed_at == 5


def test_a_gradient_that_is_not_finite_stops():
    def root(net, batch, generator):
        return (net(batch[0]) * 0).abs().sqrt().sum()

    with pytest.raises(InputError, match="gradient is nan at step 0"):
        train(linear(), line(), root, Recipe(steps=2))


def test_folders_are_kept_and_checkpoints_belong_to_their_recipe(tmp_path):
    recipe = Recipe(steps=4)
    train(linear(), line(), squared, recipe, out=tmp_path)
    with pytest.raises(InputError, match="not empty"):
        train(linear(), line(), squared, recipe, out=tmp_path)
    with pytest.raises(InputError, match=r"another recipe \(steps 4 → 6\)"):
        train(linear(), line(), squared, Recipe(steps=6), out=tmp_path, resume=True)
    again = train(linear(), line(), squared, recipe, out=tmp_path, resume=True)
    assert again.resumed_at == len(again.history) == 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 0}, "steps=0"),
        ({"lr": 0}, "lr=0"),
        ({"schedule": "cosine"}, "cosine"),
        ({"ema": 1.5}, "ema=1.5"),
    ],
)
def test_recipes_that_cannot_be(change, message):
    with pytest.raises(InputError, match=message):
        Recipe(**({"steps": 1} | change))
    with pytest.raises(InputError, match="one length"):
        minibatches(torch.zeros(3), torch.zeros(4), size=2)
