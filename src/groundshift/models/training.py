"""One trainer for all networks of the laboratory.

The randomness of a step depends only on the seed and the step's number. A run that was killed, even by kill −9, goes on
from its last checkpoint and ends in the same bits as one that was not, on the same number of threads.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import send_to_device, tqdm
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from groundshift.errors import InputError
from groundshift.models.records import parse_json

__all__ = ["Recipe", "Trained", "minibatches", "train"]

Batches = Callable[[np.random.Generator], Any]
Loss = Callable[[nn.Module, Any, torch.Generator], Tensor]
CHECKPOINT, WEIGHTS, HISTORY = "checkpoint.safetensors", "model.safetensors", "history.json"


@dataclass(frozen=True)
class Recipe:
    """How to train.

    Attributes
    ----------
    steps : optimiser steps, at least 1
    lr : peak learning rate of AdamW, above 0
    schedule : "one-cycle" (up over ``warmup``, then down along a cosine to 0) or "constant" (up, then flat)
    warmup : share of the steps before the peak, below 1
    betas, weight_decay : of AdamW
    clip : largest norm of the gradient; None: not clipped
    ema : decay in (0, 1) of the moving average of the weights, which is what is kept in the end; None: no average
    precision : "no" or "bf16"
    seed : of everything that is drawn
    """

    steps: int
    lr: float = 1e-3
    schedule: Literal["one-cycle", "constant"] = "one-cycle"
    warmup: float = 0.1
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.01
    clip: float | None = 1.0
    ema: float | None = None
    precision: Literal["no", "bf16"] = "no"
    seed: int = 0

    def __post_init__(self) -> None:
        right = {
            "steps": self.steps >= 1,
            "lr": self.lr > 0,
            "schedule": self.schedule in ("one-cycle", "constant"),
            "warmup": 0 <= self.warmup < 1,
            "ema": self.ema is None or 0 < self.ema < 1,
            "precision": self.precision in ("no", "bf16"),
        }
        if wrong := [f"{name}={getattr(self, name)!r}" for name, good in right.items() if not good]:
            raise InputError(
                f"A recipe with {', '.join(wrong)} was given; see the values that Recipe allows."
            )

    def lr_at(self, step: int) -> float:
        """The learning rate of a step."""
        done, rise = (step + 1) / self.steps, self.warmup
        if done <= rise:
            return self.lr * done / rise
        if self.schedule == "constant":
            return self.lr
        return self.lr * (1 + math.cos(math.pi * (done - rise) / (1 - rise))) / 2


@dataclass(frozen=True)
class Trained:
    """What training leaves.

    Attributes
    ----------
    net : the network given, trained, in evaluation mode, with the averaged weights if there is an average
    history : the loss of every step
    seconds : of this call
    resumed_at : the step this call began at; 0 for a new run
    """

    net: nn.Module
    history: list[float] = field(repr=False)
    seconds: float
    resumed_at: int


def train(
    net: nn.Module,
    batches: Batches,
    loss: Loss,
    recipe: Recipe,
    *,
    out: str | Path | None = None,
    resume: bool = False,
    save_every: int = 500,
    until: Callable[[nn.Module, int], bool] | None = None,
    describe: str = "training",
) -> Trained:
    """Train ``net`` in place: AdamW, with accelerate for devices, precision and several processes.

    Parameters
    ----------
    net : the network; goes to the device that accelerate chooses
    batches : rng -> batch
        A new batch, a tensor or a tuple or dict of tensors, from the generator of the step (see `minibatches`). Each of
        several processes has its own generator.
    loss : (net, batch, generator) -> scalar
        ``generator`` is a CPU generator for the noise of the step. A loss with ``state_dict`` and ``load_state_dict``
        (a module with buffers, say) has its state kept in the checkpoint.
    recipe : see `Recipe`
    out : folder for ``checkpoint.safetensors``, written every ``save_every`` steps, and, in the end,
        ``model.safetensors`` and ``history.json``
    resume : go on from the checkpoint in ``out`` if there is one
    until : (net, steps done) -> bool
        Asked after every step; True ends the training there. It has to depend on the weights and the step alone.

    Raises
    ------
    InputError
        A loss or gradient that is not finite, with the step; a folder that is not empty, without ``resume``; a
        checkpoint of another recipe.

    Examples
    --------
    >>> x = torch.linspace(-1, 1, 64)[:, None]
    >>> net = nn.Linear(1, 1)
    >>> def squared(net, batch, generator):
    ...     return (net(batch[0]) - batch[1]).square().mean()
    >>> done = train(net, minibatches(x, 3 * x, size=16), squared, Recipe(steps=300, lr=0.1))
    >>> round(net.weight.item(), 1)
    3.0
    """
    folder = None if out is None else Path(out)
    if folder is not None and not resume and folder.exists() and any(folder.iterdir()):
        raise InputError(f"{folder} is not empty and is kept; name another, or pass resume=True to go on.")
    began = time.monotonic()
    accelerator = Accelerator(mixed_precision=recipe.precision)
    optimiser = torch.optim.AdamW(
        net.parameters(), lr=recipe.lr, betas=recipe.betas, weight_decay=recipe.weight_decay
    )
    model, optimiser = accelerator.prepare(net, optimiser)
    average = None
    if (decay := recipe.ema) is not None:
        # The decay grows up to the one wanted, so that the average forgets its beginning.
        average = AveragedModel(
            net,
            multi_avg_fn=lambda old, new, n: get_ema_multi_avg_fn(min(decay, (1 + int(n)) / (10 + int(n))))(
                old, new, n
            ),
            use_buffers=True,
        )
    parts: dict[str, Any] = {"net": net, "optimiser": optimiser.optimizer, "average": average, "loss": loss}
    parts = {name: held for name, held in parts.items() if hasattr(held, "state_dict")}
    history = _load(folder / CHECKPOINT, parts, recipe) if folder is not None and resume else []
    start = len(history)
    over = until is not None and start > 0 and until(net, start)
    model.train()
    cpu = accelerator.device.type == "cpu"
    quiet = None if accelerator.is_main_process else True  # None: where stderr is no terminal
    # Dropout draws from torch's global generator; the caller's comes back unchanged.
    with torch.random.fork_rng():
        for step in tqdm(
            range(start, start if over else recipe.steps),
            main_process_only=False,
            desc=describe,
            disable=quiet,
            leave=False,
        ):
            rng = np.random.default_rng([recipe.seed, step, accelerator.process_index])
            seed = int(rng.integers(2**63))
            # `torch.manual_seed` visits every kind of device, which takes as long as a small network's step.
            (torch.default_generator.manual_seed if cpu else torch.manual_seed)(seed)
            generator = torch.Generator().manual_seed(int(rng.integers(2**63)))
            for group in optimiser.param_groups:
                group["lr"] = recipe.lr_at(step)
            batch = send_to_device(batches(rng), accelerator.device)
            with accelerator.autocast():
                value = loss(model, batch, generator)
            _finite(float(value.detach()), "loss", step, recipe, history)
            accelerator.backward(value)
            norm = accelerator.clip_grad_norm_(model.parameters(), recipe.clip or math.inf)
            _finite(float(norm), "gradient", step, recipe, history)
            optimiser.step()
            optimiser.zero_grad()
            if average is not None:
                average.update_parameters(net)
            history.append(float(value.detach()))
            over = until is not None and until(net, step + 1)
            due = (step + 1) % save_every == 0 or step + 1 == recipe.steps or over
            if folder is not None and due and accelerator.is_main_process:
                _save(folder / CHECKPOINT, parts, recipe, history)
            if over:
                break
    trained = accelerator.unwrap_model(model, keep_fp32_wrapper=False)
    if average is not None:
        trained.load_state_dict(average.module.state_dict())
    if folder is not None and accelerator.is_main_process:
        _write(folder / WEIGHTS, lambda path: save_file(_tensors(trained), path))
        _write(folder / HISTORY, lambda path: path.write_text(json.dumps(history)))
    accelerator.wait_for_everyone()
    return Trained(trained.eval(), history, time.monotonic() - began, start)


def minibatches(*arrays: Tensor, size: int) -> Batches:
    """Batches of ``size`` rows of arrays of one length, drawn without replacement within a batch.

    >>> minibatches(torch.arange(10), size=3)(np.random.default_rng(0))[0].shape
    torch.Size([3])
    """
    rows = {len(a) for a in arrays}
    if len(rows) != 1 or not 1 <= size <= min(rows):
        raise InputError(
            f"Arrays of {sorted(rows)} rows and size={size} were given; one length, at least size, is needed."
        )
    n = rows.pop()

    def draw(rng: np.random.Generator) -> tuple[Tensor, ...]:
        pick = torch.from_numpy(rng.choice(n, size, replace=False))
        return tuple(a[pick] for a in arrays)

    return draw


# A checkpoint: every tensor in one safetensors file, the rest as JSON in its header -----------------------


def _save(path: Path, parts: dict[str, Any], recipe: Recipe, history: list[float]) -> None:
    tensors = {f"{part}.{key}": v for part, held in parts.items() for key, v in _tensors(held).items()}
    header = {"recipe": json.dumps(asdict(recipe)), "history": json.dumps(history)}
    _write(path, lambda file: save_file(tensors, file, metadata=header))


def _load(path: Path, parts: dict[str, Any], recipe: Recipe) -> list[float]:
    """Take up a checkpoint, and return its history; an empty one if there is no checkpoint."""
    if not path.exists():
        return []
    try:
        with safe_open(path, "pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (OSError, SafetensorError) as error:
        raise InputError(
            f"{path} is no checkpoint that can be read ({error}); take it away to begin anew."
        ) from error
    theirs = parse_json(header.get("recipe", ""), f"The recipe in {path}")
    ours = json.loads(json.dumps(asdict(recipe)))
    if not isinstance(theirs, dict):
        raise InputError(f"{path} holds no recipe of a training; take it away to begin anew.")
    if theirs != ours:
        changed = ", ".join(f"{k} {theirs.get(k)} → {v}" for k, v in ours.items() if theirs.get(k) != v)
        raise InputError(f"{path} belongs to another recipe ({changed}); use that one, or another folder.")
    for part, held in parts.items():
        state = {name[len(part) + 1 :]: v for name, v in tensors.items() if name.startswith(f"{part}.")}
        if isinstance(held, torch.optim.Optimizer):
            slots: dict[int, dict[str, Tensor]] = {}
            for name, v in state.items():
                number, _, key = name.partition(".")
                slots.setdefault(int(number), {})[key] = v
            held.load_state_dict({**held.state_dict(), "state": slots})
        else:
            held.load_state_dict(state)
    return parse_json(header.get("history", "[]"), f"The history in {path}")


def _tensors(held: Any) -> dict[str, Tensor]:
    """The state of a module or an optimiser by flat names, as safetensors takes it: no views, nothing shared."""
    state = held.state_dict()
    if isinstance(held, torch.optim.Optimizer):
        state = {f"{number}.{key}": v for number, slots in state["state"].items() for key, v in slots.items()}
    return {key: v.detach().cpu().clone().contiguous() for key, v in state.items()}


def _write(path: Path, write: Callable[[Path], Any]) -> None:
    """Write beside ``path`` and rename, so that ``path`` is whole or is not there, whenever the process dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    write(part)
    with part.open("rb") as file:
        os.fsync(file.fileno())
    part.replace(path)


def _finite(value: float, what: str, step: int, recipe: Recipe, history: list[float]) -> None:
    if math.isfinite(value):
        return
    last = f"{history[-1]:.4g}" if history else "none yet"
    raise InputError(
        f"The {what} is {value} at step {step} (learning rate {recipe.lr_at(step):.3g}, last loss {last}). Lower lr, "
        "set clip, or look for infinite values in the data; the last checkpoint is whole."
    )
