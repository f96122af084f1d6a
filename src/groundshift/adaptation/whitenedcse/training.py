"""Contrastive training of any encoder: whiten the views, pass the head, compare; and keep the best weights on the way.

h = encoder(views of a batch), z = tanh(W · SGW(h) + b), and the loss of `multiview_loss`. Whitening and head are
dropped in the end.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from groundshift.adaptation.whitenedcse.loss import Head, multiview_loss
from groundshift.models.training import Recipe, Trained, train

__all__ = ["Contrast", "Trainee", "contrast"]


class Trainee(nn.Module):
    """The encoder with what it is trained through.

    Parameters
    ----------
    encoder : a batch of rows, view after view -> vectors (views · rows, width)
    whitening : a layer on (views, rows, width) that takes a ``generator``; None leaves it out, which is SimCSE
    width : of the encoder's vectors
    """

    def __init__(self, encoder: nn.Module, whitening: nn.Module | None, width: int) -> None:
        super().__init__()
        self.encoder, self.whitening, self.head = encoder, whitening, Head(width)

    def forward(self, batch: Any, views: int, generator: torch.Generator | None = None) -> Tensor:
        """Vectors of the views after the head (views, rows, width)."""
        h = self.encoder(batch)
        h = h.view(views, len(h) // views, -1)
        return self.head(h if self.whitening is None else self.whitening(h, generator=generator))


class Contrast:
    """The loss of a step, and a look at the encoder every so many steps; its state goes into the checkpoint.

    Parameters
    ----------
    views, temperature : see `multiview_loss`
    score : trainee -> a number of which more is better, by which the best weights are chosen; None takes the last ones
    every : steps between two looks; another look is taken after the last step
    steps : of the training

    Attributes
    ----------
    scores : step → score
    smallest : smallest eigenvalue of any group at any step
    """

    def __init__(
        self, views: int, temperature: float, score: Callable[[Trainee], float] | None, every: int, steps: int
    ) -> None:
        self.views, self.temperature, self.score, self.every, self.steps = (
            views,
            temperature,
            score,
            every,
            steps,
        )
        self.scores: dict[int, float] = {}
        self.best: dict[str, Tensor] = {}
        self.smallest = math.inf

    def __call__(self, net: nn.Module, batch: Any, generator: torch.Generator) -> Tensor:
        z = net(batch, self.views, generator)
        whitening = getattr(net, "module", net).whitening
        smallest = float(getattr(whitening, "smallest", math.nan))
        self.smallest = min(self.smallest, smallest) if math.isfinite(smallest) else self.smallest
        return multiview_loss(z, self.temperature)

    def look(self, net: Any, step: int) -> bool:
        """For ``until`` of `groundshift.models.training.train`: never ends it."""
        if self.score is None or (step % self.every and step < self.steps) or step in self.scores:
            return False
        training = net.training
        net.eval()
        with torch.no_grad():
            score = self.score(net)
        net.train(training)
        if not self.scores or score > max(self.scores.values()):
            self.best = {k: v.detach().cpu().clone() for k, v in net.encoder.state_dict().items()}
        self.scores[step] = score
        return False

    def state_dict(self) -> dict[str, Tensor]:
        """Looks so far, and the best weights."""
        return {
            "scores": torch.tensor([[k, v] for k, v in self.scores.items()], dtype=torch.float64).reshape(
                -1, 2
            ),
            "smallest": torch.tensor(self.smallest, dtype=torch.float64),
            **{f"best.{k}": v for k, v in self.best.items()},
        }

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take up what `state_dict` gave."""
        self.scores = {int(k): v for k, v in state["scores"].tolist()}
        self.smallest = float(state["smallest"])
        self.best = {k.removeprefix("best."): v for k, v in state.items() if k.startswith("best.")}


def contrast(
    encoder: nn.Module,
    batches: Callable[[np.random.Generator], Any],
    *,
    width: int,
    whitening: nn.Module | None,
    views: int,
    temperature: float,
    recipe: Recipe,
    score: Callable[[Trainee], float] | None = None,
    every: int = 125,
    checkpoints: str | Path | None = None,
    resume: bool = False,
) -> tuple[Contrast, Trained]:
    """Train an encoder in place, and leave it with the weights of the best look, in evaluation mode.

    Parameters
    ----------
    encoder, whitening, width : see `Trainee`
    batches : rng -> batch, with the rows of all views, view after view
    views, temperature, score, every : see `Contrast`
    recipe, checkpoints, resume : see `groundshift.models.training.train`
    """
    with torch.random.fork_rng():
        torch.manual_seed(recipe.seed)
        net = Trainee(encoder, whitening, width)
    loss = Contrast(views, temperature, score, every, recipe.steps)
    trained = train(
        net, batches, loss, recipe, out=checkpoints, resume=resume, save_every=every,
        until=None if score is None else loss.look, describe="contrastive training",
    )  # fmt: skip
    if loss.best:
        encoder.load_state_dict(loss.best)
    return loss, trained
