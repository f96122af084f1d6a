"""Train a language model: any loss on its logits and states, all of its weights or some."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from groundshift.errors import InputError, MissingPart
from groundshift.models import training
from groundshift.models.training import Trained, train
from groundshift.worlds.tinylm import IGNORED

__all__ = ["Freeze", "Gate", "LoRA", "Prompt", "fit", "lm_loss"]

Loss = Callable[[Tensor, Tensor, dict[str, Tensor]], Tensor]


@dataclass(frozen=True)
class LoRA:
    """Tune low-rank updates of linear layers, through peft; ``Trained.net`` is then a ``PeftModel``.

    Attributes
    ----------
    r, alpha : rank, and the scale of the update times ``r``
    targets : ends of the names of the layers; attention alone keeps facts, all layers rewrite them
    """

    r: int = 4
    alpha: float = 8.0
    targets: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj")


@dataclass(frozen=True)
class Prompt:
    """Tune one row of the embedding alone: that of ``token``."""

    token: int


@dataclass(frozen=True)
class Freeze:
    """Tune all weights but those whose names contain one of ``names``."""

    names: tuple[str, ...]


@dataclass(frozen=True)
class Gate:
    """End the training once a measure of the model reaches a value.

    Attributes
    ----------
    measure : model -> float, without randomness
    reaches : at least
    every : steps between two measurements
    """

    measure: Callable[[Any], float]
    reaches: float
    every: int = 50


def lm_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean negative log-likelihood of the labelled tokens, (n, T, V) and (n, T); −100 labels nothing.

    Raises
    ------
    InputError
        A batch without a label, of which other trainers report a loss of 0 or nan.
    """
    target = labels[:, 1:]
    if not (target != IGNORED).any():
        raise InputError(
            "No token of a batch has a label, so there is nothing to learn; look at the mask, and whether rows "
            "are cut off before their answers."
        )
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), target.flatten(), ignore_index=IGNORED)


def fit(
    model: Any,
    batches: Callable[[np.random.Generator], dict[str, Any]],
    steps: int = 500,
    lr: float = 8e-3,
    *,
    loss: Loss | str = "lm",
    schedule: str | Callable[[float], float] = "one-cycle",
    warmup: float = 0.05,
    betas: tuple[float, float] = (0.9, 0.98),
    weight_decay: float = 0.01,
    clip: float | None = 1.0,
    trainable: str | LoRA | Prompt | Freeze = "all",
    stop: Gate | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    resume: bool = False,
    save_every: int = 500,
    describe: str = "training a language model",
) -> Trained:
    """Train a model in place by `groundshift.models.training.train`.

    Parameters
    ----------
    model : a causal language model of transformers, or of peft
    batches : rng -> dict of arrays
        ``ids`` and ``labels`` (n, T), as `TinyWorld.packed` and `TinyWorld.items` make them, and what ``loss``
        asks for.
    steps, lr : of AdamW; a ``stop`` may end it before
    loss : "lm", or (logits (n, T, V), hidden (n, T, d), batch) -> scalar
        Logits at position t predict token t + 1; hidden are the states that the unembedding reads.
    schedule : "one-cycle" (up over ``warmup``, down a cosine to 0), "constant" (up, then flat), or share of the
        steps done
        -> factor of ``lr``
    warmup, betas, weight_decay, clip : see `groundshift.models.training.Recipe`
    trainable : "all", or what is tuned: `LoRA`, `Prompt`, `Freeze`
    stop : ends the training early
    seed : of the corpus and of all that is drawn; not of the initial weights
    out, resume, save_every : checkpoints, see `groundshift.models.training.train`

    Returns
    -------
    Trained
        ``net`` in evaluation mode, ``history`` (the loss of each step), ``seconds``.

    Raises
    ------
    InputError
        A batch without labels; names that no weight has; a loss that is not finite.

    Examples
    --------
    >>> from groundshift.models.tinylm import build
    >>> from groundshift.worlds.tinylm import Facts, TinyWorld
    >>> world = TinyWorld({"facts": Facts(4, 2, 3)})
    >>> model = build("nano", world.lexicon, positions=32)
    >>> done = fit(model, world.packed(rows=4, length=32), steps=3, lr=1e-2)
    >>> len(done.history)
    3
    """
    recipe: Any = training.Recipe(
        steps=steps,
        lr=lr,
        schedule="constant" if callable(schedule) else schedule,  # type: ignore[arg-type]
        warmup=warmup,
        betas=betas,
        weight_decay=0.0 if isinstance(trainable, Prompt) else weight_decay,
        clip=clip,
        seed=seed,
    )
    if callable(schedule):
        recipe = _Scheduled.of(recipe, schedule)
    if isinstance(trainable, LoRA):
        model = _adapted(model, trainable, seed)

    def measured(net: nn.Module, batch: dict[str, Tensor], generator: torch.Generator) -> Tensor:
        read = net(input_ids=batch["ids"], output_hidden_states=callable(loss), use_cache=False)
        if callable(loss):
            return loss(read.logits, read.hidden_states[-1], batch)
        return lm_loss(read.logits, batch["labels"])

    def tensors(rng: np.random.Generator) -> dict[str, Tensor]:
        return {name: torch.as_tensor(values) for name, values in batches(rng).items()}

    def until(net: nn.Module, done: int) -> bool:
        if stop is None or done % stop.every:
            return False
        reached = stop.measure(net.eval()) >= stop.reaches
        net.train()
        return reached

    if not callable(loss) and loss != "lm":
        raise InputError(
            f'loss={loss!r} was given; "lm" or a function (logits, hidden, batch) -> scalar is needed.'
        )
    with _tuned(model, trainable):
        return train(
            model,
            tensors,
            measured,
            recipe,
            out=out,
            resume=resume,
            save_every=save_every,
            until=until,
            describe=describe,
        )


class _Scheduled(training.Recipe):
    """A recipe whose learning rate follows a function of the share of the steps done."""

    factor: Callable[[float], float]

    @classmethod
    def of(cls, recipe: training.Recipe, factor: Callable[[float], float]) -> _Scheduled:
        scheduled = cls(**vars(recipe))
        object.__setattr__(scheduled, "factor", factor)
        return scheduled

    def lr_at(self, step: int) -> float:
        return self.lr * self.factor((step + 1) / self.steps)


def _adapted(model: Any, wanted: LoRA, seed: int) -> Any:
    try:
        from peft import LoraConfig, get_peft_model
    except ModuleNotFoundError as error:
        raise MissingPart(error, "Tuning by LoRA") from error
    settings = LoraConfig(
        r=wanted.r,
        lora_alpha=wanted.alpha,  # type: ignore[arg-type]
        target_modules=list(wanted.targets),
        lora_dropout=0.0,
        task_type="CAUSAL_LM",
        fan_in_fan_out="gpt2" in model.config.model_type,
    )
    with torch.random.fork_rng():
        torch.manual_seed(int(np.random.SeedSequence(seed, spawn_key=(1,)).generate_state(1)[0]))
        try:
            return get_peft_model(model, settings)
        except ValueError as error:
            raise InputError(
                f"LoRA found no layer among {', '.join(wanted.targets)}: {str(error).splitlines()[0]}"
            ) from error


@contextmanager
def _tuned(model: Any, trainable: str | LoRA | Prompt | Freeze) -> Iterator[None]:
    """Only what is tuned gets a gradient, for as long as it is trained."""
    held: list[Tensor] = []
    hook = None
    if isinstance(trainable, Prompt):
        rows = model.get_input_embeddings().weight
        held = [p for p in model.parameters() if p is not rows and p.requires_grad]
        own = torch.zeros(len(rows), 1, device=rows.device)
        own[trainable.token] = 1
        hook = rows.register_hook(lambda gradient: gradient * own)
    elif isinstance(trainable, Freeze):
        held = [p for name, p in model.named_parameters() if _has(name, trainable.names) and p.requires_grad]
        for wanted in trainable.names:
            if not any(_has(name, [wanted]) for name, _ in model.named_parameters()):
                names = ", ".join(name for name, _ in model.named_parameters())
                raise InputError(
                    f"No weight has {wanted!r} in its name; a tied unembedding is that of the embedding. There "
                    f"are {names}."
                )
    elif not isinstance(trainable, LoRA) and trainable != "all":
        raise InputError(f'trainable={trainable!r} was given; "all", LoRA, Prompt or Freeze is needed.')
    for weight in held:
        weight.requires_grad_(False)
    try:
        yield
    finally:
        for weight in held:
            weight.requires_grad_(True)
        if hook is not None:
            hook.remove()


def _has(name: str, parts: Iterable[str] | Sequence[str]) -> bool:
    return any(part in name for part in parts)
