"""Flows: velocity networks, and the paths that they draw.

What generators by flow matching share, whatever their pairs and conditions are.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torchdiffeq import odeint

from groundshift.errors import InputError

__all__ = ["DiffusersVelocity", "Solver", "VelocityMLP", "as_velocity", "integrate"]

Solver = Literal["euler", "midpoint", "rk4", "dopri5"]
FASTEST = 3.0
"""log of the fastest frequency of a time, the slowest being exp(-1), each times 2π."""


class VelocityMLP(nn.Module):
    """v(t, x[, condition]): linear layers on x, t and the condition, side by side.

    Parameters
    ----------
    d : numbers in a row of x
    width, layers : of the hidden layers
    classes : number of labels, given as codes of shape (B,) and passed one-hot
    covariates : numbers in a condition of shape (B, covariates)
    frequencies : of the sine and cosine of t that stand in its place; 0 gives t itself
    activation : between the layers

    Examples
    --------
    >>> VelocityMLP(2, classes=3)(torch.rand(5), torch.randn(5, 2), torch.tensor([0, 1, 2, 0, 1])).shape
    torch.Size([5, 2])
    """

    def __init__(
        self,
        d: int,
        width: int = 64,
        layers: int = 3,
        classes: int = 0,
        covariates: int = 0,
        frequencies: int = 0,
        activation: type[nn.Module] = nn.SELU,
    ) -> None:
        super().__init__()
        self.classes, self.frequencies = classes, frequencies
        sizes = [d + max(1, 2 * frequencies) + classes + covariates, *[width] * layers]
        hidden = [part for a, b in itertools.pairwise(sizes) for part in (nn.Linear(a, b), activation())]
        self.net = nn.Sequential(*hidden, nn.Linear(width, d))

    def forward(self, t: Tensor, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """Velocities of the shape of x, (B, ...); t of shape (B,) or a single time."""
        flat = x.flatten(1)
        time = t.reshape(-1, 1).expand(len(flat), 1).to(flat.dtype)
        parts = [flat, _waves(time, self.frequencies) if self.frequencies else time]
        if condition is not None:
            coded = nn.functional.one_hot(condition, self.classes) if self.classes else condition
            parts.append(coded.to(flat.dtype))
        return self.net(torch.cat(parts, 1)).reshape(x.shape)


def _waves(t: Tensor, frequencies: int) -> Tensor:
    """Sines and cosines of times (B, 1), (B, 2 frequencies)."""
    at = 2 * math.pi * torch.exp(torch.linspace(-1, FASTEST, frequencies, device=t.device, dtype=t.dtype)) * t
    return torch.cat([at.sin(), at.cos()], 1)


class DiffusersVelocity(nn.Module):
    """A diffusers model (``UNet2DModel``, ``DiTTransformer2DModel``) as v(t, x[, label]); its clock runs to 1000.

    Parameters
    ----------
    model : called as ``model(x, timestep, class_labels=label).sample``
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, t: Tensor, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """Velocities of the shape of x, (B, channels, height, width)."""
        label: dict[str, Any] = {} if condition is None else {"class_labels": condition}
        v = self.model(x, t.reshape(-1).expand(len(x)) * 1000, **label).sample
        if v.shape != x.shape:
            raise InputError(
                f"The network gives {tuple(v.shape)} for images {tuple(x.shape)}; a velocity has the shape of the "
                "image: set out_channels to in_channels."
            )
        return v


def as_velocity(network: nn.Module) -> nn.Module:
    """A module v(t, x[, condition]): the user's own as it is, a diffusers model behind `DiffusersVelocity`."""
    return DiffusersVelocity(network) if type(network).__module__.startswith("diffusers.") else network


@torch.no_grad()
def integrate(
    velocity: Callable[[Tensor, Tensor], Tensor], z: Tensor, steps: int, solver: Solver = "euler"
) -> Tensor:
    """Paths of dx/dt = v(t, x) from z at t = 0 to t = 1.

    Parameters
    ----------
    velocity : of a single time and places (n, ...)
    z : shape (n, ...)
    steps : of a fixed-step solver; "dopri5" chooses its own (tolerance 1e-5)

    Returns
    -------
    Tensor
        Shape (steps + 1, n, ...); (2, n, ...) for "dopri5".

    Raises
    ------
    InputError
        An unknown solver, steps below 1.

    Examples
    --------
    >>> integrate(lambda t, x: -x, torch.ones(1, 1), 2)[:, 0, 0].tolist()
    [1.0, 0.5, 0.25]
    """
    if solver not in get_args(Solver):
        raise InputError(f"solver={solver!r} was given; it may be {', '.join(get_args(Solver))}.")
    if steps < 1:
        raise InputError(f"steps={steps} was given; at least one step is needed.")
    times = torch.linspace(0, 1, 2 if solver == "dopri5" else steps + 1, device=z.device)
    tolerance = {"rtol": 1e-5, "atol": 1e-5} if solver == "dopri5" else {}
    return odeint(velocity, z, times, method=solver, **tolerance)
