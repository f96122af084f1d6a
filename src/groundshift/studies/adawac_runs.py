"""What the study of AdaWAC trains: networks on bags of pixels and on volumes, and the convex problem in numpy."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit
from torch import Tensor, nn

from groundshift.adaptation.adawac import AdaWACLoss, rot_flip, train_views
from groundshift.worlds.starved_masks import CLASSES, Bags, Volumes, bags_domain

__all__ = [
    "LENGTHS",
    "Convex",
    "Gain",
    "RuledLoss",
    "convex_problem",
    "descend",
    "train_bags",
    "train_volumes",
]

Array = NDArray[np.float64]
Gain = Callable[[Any, Any], Any]
"""(CE, AC) → by how much the log-odds rise, in units of η."""
WARMUP = 0.12
"""Share of the steps."""


class _BagNet(nn.Module):
    def __init__(self, world: Bags, width: int) -> None:
        super().__init__()
        self.register_buffer("mix", torch.as_tensor(world.mix, dtype=torch.float32))
        sizes = [world.x.shape[2], width, width, 32]
        layers = [part for a, b in itertools.pairwise(sizes) for part in (nn.Linear(a, b), nn.ReLU())]
        self.encoder, self.head = nn.Sequential(*layers[:-1]), nn.Linear(32, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.encoder(torch.tanh(x @ self.get_buffer("mix")))).movedim(-1, 1)


def _single(values: Any) -> Tensor:
    return torch.as_tensor(values, dtype=torch.float32)


def _seeded(seed: int, make: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return make()


class RuledLoss(AdaWACLoss):
    """The loss with another rule for its weights, and λ times a strength, for broken versions of the method."""

    def __init__(self, n: int, rule: Gain, strength: float, **settings: Any) -> None:
        super().__init__(n, **settings)
        self.rule, self.strength = rule, strength

    def gain(self, ce: Tensor, ac: Tensor) -> Tensor:
        return self.eta * torch.as_tensor(self.rule(ce, ac))

    def choose_scale(self) -> None:
        super().choose_scale()
        self.scale *= self.strength


def train_bags(
    train: Bags, test: Array, loss: AdaWACLoss, *, amp: float, steps: int, width: int, seed: int
) -> NDArray[np.int64]:
    """Train on bags whose nuisance features get noise of standard deviation ``amp``; classes of the bags ``test``."""
    net = _seeded(seed, lambda: _BagNet(train, width))
    loss.warmup = round(WARMUP * steps)

    def augment(x: Tensor, y: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        noise = amp * torch.randn(x.shape, generator=generator)
        noise[..., : train.core] = 0
        return x + noise, y

    how: dict[str, Any] = {"batch": 32, "lr": 2e-3, "weight_decay": 0.0, "seed": seed}
    train_views(net, _single(train.x), torch.as_tensor(train.y), loss, features="encoder", augment=augment,
                steps=steps, **how)  # fmt: skip
    with torch.no_grad():
        return np.asarray(net(_single(test)).argmax(1))


def _small_net() -> nn.Module:
    """Convolutions at half the resolution, whose last map is the feature, and back by a shuffle of channels."""
    encoder = [nn.Conv2d(1, 12, 3, 2, 1), nn.GroupNorm(3, 12), nn.ReLU(), nn.Conv2d(12, 24, 3, 1, 2, 2),
               nn.GroupNorm(3, 24), nn.ReLU(), nn.Conv2d(24, 24, 3, 1, 4, 4)]  # fmt: skip
    head = [nn.ReLU(), nn.Conv2d(24, 4 * CLASSES, 1), nn.PixelShuffle(2)]
    return nn.Sequential(nn.Sequential(*encoder), nn.Sequential(*head))


def train_volumes(
    train: Volumes, test: Array, loss: AdaWACLoss, *, steps: int, seed: int
) -> NDArray[np.int64]:
    """Train a small convolutional network on slices of volumes; classes of the slices ``test``."""
    net = _seeded(seed, _small_net)
    loss.warmup = round(WARMUP * steps)
    how: dict[str, Any] = {"batch": 16, "lr": 4e-3, "weight_decay": 0.0, "seed": seed}
    train_views(net, _single(train.x), torch.as_tensor(train.y), loss, features="0", augment=rot_flip,
                steps=steps, **how)  # fmt: skip
    with torch.no_grad():
        return np.asarray(net(_single(test)).argmax(1))


# The convex problem ----------------------------------------------------------------------------------------

RADIUS = 6.0
LENGTHS = (2**8, 2**10, 2**12, 2**14)


class Convex:
    """One linear map W (13, 3), ‖W‖ ≤ 6, whose outputs are logits and features: CE and AC are convex in W.

    Parameters
    ----------
    x : two views of every sample, (n, 2, pixels, 13)
    y : classes (n, pixels)
    """

    def __init__(self, x: Array, y: NDArray[np.int64]) -> None:
        n, _, pixels, width = x.shape
        self.n, self.both, self.apart = n, x.reshape(n, 2 * pixels, width), x[:, 0] - x[:, 1]
        self.hot = np.eye(CLASSES)[np.concatenate([y, y], 1)]
        self.shape = (width, CLASSES)

    def losses(self, w: Array) -> tuple[Array, Array]:
        """CE and AC of every sample, (n,) each."""
        ce = -(log_softmax(self.both @ w) * self.hot).sum(-1).mean(-1)
        return ce, ((self.apart @ w) ** 2).mean((-1, -2))

    def gradient(self, w: Array, weight: Array) -> Array:
        """Of the mean of weight · CE + (1 − weight) · AC."""
        n, points, width = self.both.shape
        off = (np.exp(log_softmax(self.both @ w)) - self.hot) * (weight / points)[:, None, None]
        slope = self.both.reshape(-1, width).T @ off.reshape(-1, CLASSES)
        apart = (self.apart @ w) * ((1 - weight) * 2 / (self.apart.shape[1] * CLASSES))[:, None, None]
        slope += self.apart.reshape(-1, width).T @ apart.reshape(-1, CLASSES)
        return np.asarray(slope / n)

    def worst(self, w: Array) -> float:
        """The mean of max(CE, AC): the objective at the best weights against w."""
        return float(np.maximum(*self.losses(w)).mean())

    def best(self, weight: Array) -> float:
        """The least mean of weight · CE + (1 − weight) · AC over all W."""

        def value(w: Array) -> tuple[float, Array]:
            ce, ac = self.losses(w)
            return float((weight * ce + (1 - weight) * ac).mean()), self.gradient(w, weight)

        return value(self._least(value, np.zeros(self.shape)))[0]

    def direct(self) -> float:
        """The least mean of max(CE, AC) without any weights, the maximum smoothed less and less, for comparison."""
        w = np.zeros(self.shape)
        for blunt in (0.1, 0.01, 0.001):

            def value(w: Array, blunt: float = blunt) -> tuple[float, Array]:
                ce, ac = self.losses(w)
                smooth = blunt * np.logaddexp(ce / blunt, ac / blunt)
                return float(smooth.mean()), self.gradient(w, expit((ce - ac) / blunt))

            w = self._least(value, w)
        return self.worst(w)

    def _least(self, value: Callable[[Array], tuple[float, Array]], start: Array) -> Array:
        """W that minimises a smooth function of it with ‖W‖ ≤ 6, by SciPy."""

        def flat(w: Array) -> tuple[float, Array]:
            height, slope = value(w.reshape(self.shape))
            return height, slope.ravel()

        ball = {"type": "ineq", "fun": lambda w: RADIUS**2 - w @ w, "jac": lambda w: -2 * w}
        done = minimize(flat, start.ravel(), jac=True, method="SLSQP", constraints=[ball],
                        options={"maxiter": 500, "ftol": 1e-9})  # fmt: skip
        return project(done.x.reshape(self.shape))


def log_softmax(logits: Array) -> Array:
    """Over the last axis; logits of maps with ‖W‖ ≤ 6 do not overflow."""
    return np.asarray(logits - np.log(np.exp(logits).sum(-1, keepdims=True)))


def project(w: Array) -> Array:
    """The nearest matrices of norm 6 at most; of several, (V, d, k), each."""
    size = np.sqrt((w**2).sum((-1, -2), keepdims=True))
    return np.asarray(w * np.minimum(1.0, RADIUS / np.maximum(size, 1e-12)))


def convex_problem(rng: np.random.Generator) -> Convex:
    """16 dense and 48 sparse bags of 8 pixels with 12 features, two views drawn once, and a column of ones."""
    world = bags_domain(rng, pixels=8, width=12, core=4, mixed=False)(16, 48)
    x = np.repeat(world.x[:, None], 2, 1)
    x[..., world.core :] += 0.7 * rng.standard_normal((*x.shape[:3], x.shape[3] - world.core))
    return Convex(np.concatenate([x, np.ones((*x.shape[:3], 1))], -1), world.y)


def descend(
    problem: Convex,
    length: int,
    steps: list[tuple[float, float]],
    gain: Gain,
    rng: np.random.Generator,
    fixed: Array | None = None,
) -> tuple[Array, Array]:
    """Algorithm 1 with one sample in a step; averages of W (V, 13, 3) and of β (V, n), for V pairs of step sizes.

    Parameters
    ----------
    steps : step sizes of W and of the log-odds
    gain : see `Gain`
    fixed : weights (V,) that are held where no weight is learnt
    """  # fmt: skip
    pace, eta = (np.array([pair[k] for pair in steps]) for k in (0, 1))
    w = np.zeros((len(steps), problem.both.shape[-1], CLASSES))
    odds = np.zeros((len(steps), problem.n))
    beta = expit(odds) if fixed is None else np.repeat(fixed[:, None], problem.n, 1)
    w_sum, beta_sum, since = np.zeros_like(w), np.zeros_like(beta), np.zeros(problem.n)
    for t, i in enumerate(rng.integers(problem.n, size=length)):
        x, d, hot = problem.both[i], problem.apart[i], problem.hot[i]
        logits, difference = x @ w, d @ w
        logp = log_softmax(logits)
        ce = -(logp * hot).sum((1, 2)) / len(x)
        ac = (difference**2).mean((1, 2))
        if fixed is None:
            beta_sum[:, i] += beta[:, i] * (t - since[i])  # as it was until now
            since[i] = t
            odds[:, i] += eta * gain(ce, ac)
            beta[:, i] = expit(odds[:, i])
        b = beta[:, i, None, None]
        slope = b * (x.T @ (np.exp(logp) - hot)) / len(x)
        slope += (1 - b) * (d.T @ difference) * (2 / (len(d) * CLASSES))
        w = project(w - pace[:, None, None] * slope)
        w_sum += w
    return w_sum / length, (beta_sum + beta * (length - since)) / length
