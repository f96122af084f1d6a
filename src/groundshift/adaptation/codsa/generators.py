"""Generators of rows of given cells: a conditional flow, and the two that every comparison needs."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from groundshift import saving
from groundshift.errors import InputError, MissingPart
from groundshift.models.flows import VelocityMLP, integrate
from groundshift.models.table_code import Missing, TableCode
from groundshift.models.training import Recipe, train

__all__ = ["FlowGenerator", "Generator", "Oversample", "Smote"]

Codes = NDArray[np.int64]
WEIGHTS = "generator.safetensors"
CALLS = 40
"""Calls of the velocity for a sample: twenty midpoint steps."""
CHUNK = 20_000
"""Rows drawn at once."""


class Generator(Protocol):
    """What `CoDSA` asks of a generator; give an object of your own with these two methods as ``generator``."""

    def fit(self, frame: pd.DataFrame, cells: Codes, seed: int) -> Generator:
        """Learn from rows; ``cells`` holds the code of each row's region and class. Returns the fitted generator."""
        ...

    def sample(self, cells: Codes, seed: int) -> pd.DataFrame:
        """One row for each of the cells, with the columns that were fitted."""
        ...


@dataclass(frozen=True, eq=False)
class FlowGenerator:
    """Q(x | cell) by conditional flow matching: the velocity of straight paths from noise to the rows of a cell.

    Parameters
    ----------
    n_cells : number of cells
    steps, tuning_steps : of Adam, from scratch and from a generator that is ``start``
    width : of three hidden layers
    lr, tuning_lr : peak learning rates
    batch_size : rows in a step
    missing : see `groundshift.models.table_code.TableCode.of`
    start : weights to begin with, of a flow of the same cells and code
    code : of the columns; made from the rows if left out

    Examples
    --------
    >>> rows = pd.DataFrame({"x": np.repeat([0.0, 9.0], 50) + np.linspace(0, 1, 100)})
    >>> flow = FlowGenerator(2, steps=200, width=16).fit(rows, np.repeat([0, 1], 50), seed=0)
    >>> flow.sample(np.array([1, 1, 0]), seed=0).x.round(-1).tolist()
    [10.0, 10.0, 0.0]
    """

    n_cells: int
    steps: int = 2500
    tuning_steps: int = 600
    width: int = 96
    lr: float = 2e-3
    tuning_lr: float = 5e-4
    batch_size: int = 256
    missing: Missing = "refuse"
    start: nn.Module | None = field(default=None, repr=False)
    code: TableCode | None = field(default=None, repr=False)
    net: nn.Module | None = field(default=None, repr=False)

    def fit(self, frame: pd.DataFrame, cells: Codes, seed: int) -> FlowGenerator:
        """Train the velocity on rows and their cells."""
        start = self.start
        code = self.code or TableCode.of(frame, self.missing, "normal")
        points = torch.as_tensor(code.encode(frame, np.random.default_rng(seed)), dtype=torch.float32)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            net = self._network(points.shape[1])
        if start is not None:
            net.load_state_dict(start.state_dict())
        conditions = torch.tensor(cells)

        def batch(rng: np.random.Generator) -> tuple[Tensor, Tensor]:
            at = torch.as_tensor(rng.integers(len(points), size=self.batch_size))
            return points[at], conditions[at]

        def loss(net: nn.Module, rows: tuple[Tensor, Tensor], generator: torch.Generator) -> Tensor:
            x1, condition = rows
            x0 = torch.randn(x1.shape, generator=generator).to(x1.device)
            t = torch.rand(len(x1), 1, generator=generator).to(x1.device)
            v = net(t[:, 0], (1 - t) * x0 + t * x1, condition)
            return ((v - (x1 - x0)) ** 2).mean()

        tuned = start is not None
        recipe = Recipe(
            self.tuning_steps if tuned else self.steps, self.tuning_lr if tuned else self.lr, weight_decay=0.0,
            seed=seed,
        )  # fmt: skip
        train(net, batch, loss, recipe, describe="generator")
        return replace(self, code=code, net=net)

    def _network(self, d: int) -> nn.Module:
        return VelocityMLP(d, self.width, 3, classes=self.n_cells, frequencies=8, activation=nn.SiLU)

    def sample(self, cells: Codes, seed: int) -> pd.DataFrame:
        """One row for each of the cells."""
        assert self.net is not None
        assert self.code is not None
        net, device = self.net, next(self.net.parameters()).device
        noise = torch.Generator().manual_seed(seed)
        z = torch.randn(len(cells), len(self.code.names), generator=noise)
        ends = [z[:0].numpy()]
        for at in range(0, len(cells), CHUNK):
            condition = torch.as_tensor(cells[at : at + CHUNK], device=device)
            velocity = partial(_velocity, net, condition)
            paths = integrate(velocity, z[at : at + CHUNK].to(device), CALLS // 2, "midpoint")
            ends.append(paths[-1].cpu().numpy())
        return self.code.decode(np.concatenate(ends))

    def save(self, folder: Path) -> None:
        """Write code and weights to a folder."""
        from safetensors.torch import save_file

        assert self.net is not None
        saving.dump({"generator": replace(self, net=None, start=None)}, folder)
        save_file({name: v.cpu().contiguous() for name, v in self.net.state_dict().items()}, folder / WEIGHTS)

    @classmethod
    def load(cls, folder: Path) -> FlowGenerator:
        """What `save` wrote."""
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        flow = saving.restore(folder).get("generator")
        if not isinstance(flow, cls) or flow.code is None:
            raise InputError(f"{folder} holds no generator; save the model again.")
        net = flow._network(len(flow.code.names))
        try:
            net.load_state_dict(load_file(folder / WEIGHTS))
        except (OSError, SafetensorError, RuntimeError) as error:
            raise InputError(
                f"{folder / WEIGHTS} cannot be read as the weights of this generator ({error})."
            ) from error
        return replace(flow, net=net.eval())


def _velocity(net: nn.Module, condition: Tensor, t: Tensor, x: Tensor) -> Tensor:
    v: Tensor = net(t, x, condition)
    return v


@dataclass(frozen=True, eq=False)
class Oversample:
    """Rows of the cell, drawn with replacement."""

    rows: pd.DataFrame | None = field(default=None, repr=False)
    cells: Codes | None = field(default=None, repr=False)

    def fit(self, frame: pd.DataFrame, cells: Codes, seed: int) -> Oversample:
        """Keep the rows."""
        return replace(self, rows=frame.reset_index(drop=True), cells=cells)

    def sample(self, cells: Codes, seed: int) -> pd.DataFrame:
        """One row for each of the cells."""
        assert self.rows is not None
        assert self.cells is not None
        rng, at = np.random.default_rng(seed), np.empty(len(cells), dtype=np.int64)
        for cell in np.unique(cells):
            at[cells == cell] = rng.choice(np.flatnonzero(self.cells == cell), int((cells == cell).sum()))
        return self.rows.iloc[at].reset_index(drop=True)


@dataclass(frozen=True, eq=False)
class Smote(Oversample):
    """Between a row of the cell and one of its nearest there, by imbalanced-learn's SMOTE.

    The rows are coded as points, and back: a category is then that of the nearer row. A cell of one row repeats it.
    """

    code: TableCode | None = field(default=None, repr=False)
    neighbours: int = 5

    def sample(self, cells: Codes, seed: int) -> pd.DataFrame:
        """One row for each of the cells."""
        try:
            from imblearn.over_sampling import SMOTE
        except ModuleNotFoundError as error:
            raise MissingPart(error, "SMOTE") from error
        assert self.rows is not None
        assert self.cells is not None
        code = self.code or TableCode.of(self.rows, "indicator")
        own, drawn = code.encode(self.rows), code.encode(super().sample(cells, seed))
        for cell in np.unique(cells):
            at = np.flatnonzero(self.cells == cell)
            if len(at) == 1:
                continue
            # SMOTE asks for a second class, whose rows it passes over.
            other = np.vstack([own[at], own[at[:2]]])
            smote = SMOTE(
                sampling_strategy={1: len(at) + int((cells == cell).sum())},
                k_neighbors=min(self.neighbours, len(at) - 1),
                random_state=seed,
            )
            drawn[cells == cell] = smote.fit_resample(other, np.repeat([1, 0], [len(at), 2]))[0][len(other) :]
        return code.decode(drawn)
