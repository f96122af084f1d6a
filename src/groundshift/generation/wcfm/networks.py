"""Velocity networks: the multilayer perceptron of the plane, and diffusers' models as they are."""

from __future__ import annotations

import itertools
from typing import Any

import torch
from torch import Tensor, nn

from groundshift.errors import InputError

__all__ = ["DiffusersVelocity", "VelocityMLP", "as_velocity"]


class VelocityMLP(nn.Module):
    """v(t, x[, condition]): linear layers with SELU on x, t and the condition, side by side.

    Parameters
    ----------
    d : numbers in a row of x
    width, layers : of the hidden layers
    classes : number of labels, given as codes of shape (B,) and passed one-hot
    covariates : numbers in a condition of shape (B, covariates)

    Examples
    --------
    >>> VelocityMLP(2, classes=3)(torch.rand(5), torch.randn(5, 2), torch.tensor([0, 1, 2, 0, 1])).shape
    torch.Size([5, 2])
    """

    def __init__(
        self, d: int, width: int = 64, layers: int = 3, classes: int = 0, covariates: int = 0
    ) -> None:
        super().__init__()
        self.classes = classes
        sizes = [d + 1 + classes + covariates, *[width] * layers]
        hidden = [part for a, b in itertools.pairwise(sizes) for part in (nn.Linear(a, b), nn.SELU())]
        self.net = nn.Sequential(*hidden, nn.Linear(width, d))

    def forward(self, t: Tensor, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """Velocities of the shape of x, (B, ...); t of shape (B,) or a single time."""
        flat = x.flatten(1)
        parts = [flat, t.reshape(-1, 1).expand(len(flat), 1).to(flat.dtype)]
        if condition is not None:
            coded = nn.functional.one_hot(condition, self.classes) if self.classes else condition
            parts.append(coded.to(flat.dtype))
        return self.net(torch.cat(parts, 1)).reshape(x.shape)


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
