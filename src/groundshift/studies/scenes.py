"""What an entrant of the scenes leaderboard is given, and what it hands back.

An entrant is a `Method` in the tuple ``ENTRANTS`` of a module ``studies/<slug>_scenes.py``, or of a module that another
package names in the entry-point group ``groundshift.scenes``. It is given small pictures with three known factors,
learns, and draws what it is asked for; `Board` keeps the time. See `groundshift.studies.leaderboard_scenes`.
"""

from __future__ import annotations

import importlib
import pkgutil
import time
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any

import numpy as np
import torch
from diffusers import UNet2DModel
from numpy.typing import NDArray
from torch import Tensor, nn

from groundshift import studies
from groundshift.lab.study import Method
from groundshift.models.training import Recipe, train
from groundshift.worlds import tinyvision as tv

__all__ = [
    "FACTORS",
    "HELD_OUT",
    "LEVELS",
    "Board",
    "FactorVelocity",
    "entrants",
    "euler",
    "fit_velocity",
    "pictures",
]

SIDE, BATCH = 8, 32
FACTORS = ("colour", "place", "background")
"""What is asked for: the read-out judge reads all three without an error at this size."""
LEVELS = (6, 9, 3)
HELD_OUT = {("colour", "background"): [(0, 0), (5, 1), (4, 2)]}
"""Red on dark, purple on light and blue on grey are never seen in training; each of these levels is."""


def pictures(
    n: int, rng: np.random.Generator, codes: NDArray[np.int64] | None = None, **which: Any
) -> tuple[Tensor, Any]:
    """Pictures (n, 3, 8, 8) of one plain object, and their codes (n, 3) in the order of `FACTORS`.

    Parameters
    ----------
    codes : of the pictures; drawn if left out
    which : ``held_out``, see `groundshift.worlds.tinyvision.draw`
    """
    factors = None if codes is None else {
        name: values if name == "background" else values[:, None]
        for name, values in zip(FACTORS, codes.T, strict=True)
    }  # fmt: skip
    scene = tv.draw(n, rng, H=SIDE, palette="plain", factors=factors, **which)
    return scene.image, np.stack([np.asarray(scene.factors[name]).reshape(n) for name in FACTORS], 1)


class Board:
    """Keeps an entrant's time, from its making on.

    Parameters
    ----------
    data : the dict of the world: "images" (n, 3, 8, 8) in [-1, 1], "codes" (n, 3), "asked" (m, 3), "steps" (two
        numbers of sampling steps, the larger first) and "iterations" of training, a guide
    """

    def __init__(self, data: dict[str, Any]) -> None:
        self.data, self.start = data, time.perf_counter()

    def drawn(self, sample: Callable[[Any, int], Tensor], *networks: nn.Module) -> dict[str, Any]:
        """The end of training: draw what is asked for, in both numbers of steps.

        Parameters
        ----------
        sample : (codes (m, 3), steps) → images (m, 3, 8, 8)
        networks : that were trained, to count their weights
        """
        trained = time.perf_counter()
        many, few = self.data["steps"]
        images = sample(self.data["asked"], many)
        done = time.perf_counter()
        return {
            "images": images.clamp(-1, 1).cpu(),
            "few": sample(self.data["asked"], few).clamp(-1, 1).cpu(),
            "train_s": trained - self.start,
            "sample_s": (done - trained) * 1000 / len(images),
            "parameters": sum(weight.numel() for net in networks for weight in net.parameters()),
        }


class FactorVelocity(nn.Module):
    """v(t, x, codes): diffusers' UNet with embeddings of the factors added to that of the time; without codes, none."""

    def __init__(self) -> None:
        super().__init__()
        self.unet: Any = UNet2DModel(
            sample_size=SIDE, in_channels=3, out_channels=3, block_out_channels=(16, 32), layers_per_block=1,
            down_block_types=("DownBlock2D",) * 2, up_block_types=("UpBlock2D",) * 2, norm_num_groups=8,
            add_attention=False, class_embed_type="identity",
        )  # fmt: skip
        self.width = 4 * 16
        self.embeddings = nn.ModuleList(nn.Embedding(levels, self.width) for levels in LEVELS)

    def forward(self, t: Tensor, x: Tensor, codes: Tensor | None = None) -> Tensor:
        """Velocities of x (B, 3, 8, 8), for t (B,) or a single time, and codes (B, 3)."""
        known = x.new_zeros(len(x), self.width)
        if codes is not None:
            known = torch.stack([table(codes[:, i]) for i, table in enumerate(self.embeddings)]).sum(0)
        return self.unet(x, t.reshape(-1).expand(len(x)) * 1000, class_labels=known).sample


def fit_velocity(
    data: dict[str, Any],
    rng: np.random.Generator,
    loss: Callable[[nn.Module, Tensor, Tensor, torch.Generator], Tensor],
) -> FactorVelocity:
    """A `FactorVelocity` trained on ``loss(net, images, codes, generator)`` of batches of 32."""
    seed = int(rng.integers(2**31))
    images, codes = data["images"], torch.as_tensor(data["codes"])

    def batch(draw: np.random.Generator) -> tuple[Tensor, Tensor]:
        rows = torch.as_tensor(draw.integers(len(images), size=BATCH))
        return images[rows], codes[rows]

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = FactorVelocity()
    recipe = Recipe(steps=data["iterations"], lr=4e-3, seed=seed)
    train(net, batch, lambda n, b, g: loss(n, b[0], b[1], g), recipe, describe="velocity")
    return net


def euler(net: Callable[..., Tensor], codes: Any, steps: int, seed: int) -> Tensor:
    """Images along the flow from noise, in equal steps."""
    generator = torch.Generator().manual_seed(seed)
    x, conditions = torch.randn(len(codes), 3, SIDE, SIDE, generator=generator), torch.as_tensor(codes)
    with torch.no_grad():
        for i in range(steps):
            x = x + net(torch.tensor(i / steps), x, conditions) / steps
    return x


def entrants() -> tuple[Method, ...]:
    """All that are registered, in the order of their modules' names."""
    house = [
        f"{studies.__name__}.{m.name}"
        for m in pkgutil.iter_modules(studies.__path__)
        if m.name.endswith("_scenes")
    ]
    modules = [name for name in house if name != "groundshift.studies.leaderboard_scenes"]
    modules += [entry.value for entry in entry_points(group="groundshift.scenes")]
    return tuple(method for name in sorted(modules) for method in importlib.import_module(name).ENTRANTS)
