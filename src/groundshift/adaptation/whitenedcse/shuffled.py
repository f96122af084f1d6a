"""Shuffled group whitening, a layer for training (Zhuo et al., ACL 2023, arXiv:2305.17746, section 3.2).

Each view of a batch has its channels permuted and cut into groups; every group is centred and whitened with its own
covariance, and the permutation is undone. Other permutations whiten the same sentence in another way, which is where
the diversity of the positives comes from.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from groundshift.errors import InputError

__all__ = ["ROWS_PER_CHANNEL", "ShuffledGroupWhitening", "group_count"]

ROWS_PER_CHANNEL = 20
"""Rows for each channel of a group where the number of groups is chosen: the paper's 128 rows for 6 channels."""
ITERATIONS = 30


def group_count(width: int, rows: int) -> int:
    """The fewest groups of equal width that leave 20 rows for each channel of a group, and two channels in each.

    >>> group_count(768, 128), group_count(96, 64)
    (128, 32)
    """
    sizes = [size for size in range(2, width + 1) if width % size == 0]
    fits = [size for size in sizes if size * ROWS_PER_CHANNEL <= rows]
    return width // (fits[-1] if fits else sizes[0])


class ShuffledGroupWhitening(nn.Module):
    """Whitens each view of a batch in groups of channels that are drawn anew at every step.

    It has no weights. It works on the statistics of the batch alone, so it refuses to run in evaluation mode: an answer
    would depend on the sentences beside it.

    Parameters
    ----------
    width : channels D
    groups : G, a divisor of the width; by default the fewest that leave 20 rows for each channel of a group
    engine : "eigh" or "newton-schulz" (both give ZCA), or "cholesky" (another rotation of the same whitening, and the
        fastest for groups of more than 32 channels)
    grad : "constant" takes the whitening matrix as a constant in the gradient, as the published code does; "full"
        goes through it, which is unstable where eigenvalues meet
    eps : added to the diagonal of each covariance; 0 is the published code, which explodes on near-duplicates
    shuffle : whether channels are permuted; without, the same neighbours are decorrelated at every step
    order : "views" whitens each view with its own permutation; "released" is the order of the rows in the published
        code, where a permutation is shared by all views of one part of the sentences

    Attributes
    ----------
    smallest : smallest eigenvalue of any group at the last call, before ``eps``; NaN with an engine that has none

    Raises
    ------
    InputError
        A width that the groups do not divide (the divisors nearest to it are named); rows that are no more than the
        channels of a group; evaluation mode.

    Examples
    --------
    >>> layer = ShuffledGroupWhitening(6, groups=3, eps=0.0)
    >>> z = layer(torch.randn(2, 50, 6, dtype=torch.float64))  # (views, sentences, channels)
    >>> z.shape, bool((z.mean(1).abs() < 1e-12).all()), bool((z.var(1, correction=0) - 1).abs().max() < 1e-9)
    (torch.Size([2, 50, 6]), True, True)
    """

    def __init__(
        self,
        width: int,
        groups: int | None = None,
        *,
        engine: Literal["eigh", "cholesky", "newton-schulz"] = "eigh",
        grad: Literal["constant", "full"] = "constant",
        eps: float = 1e-5,
        shuffle: bool = True,
        order: Literal["views", "released"] = "views",
    ) -> None:
        super().__init__()
        known = {"engine": ENGINES, "grad": ("constant", "full"), "order": ("views", "released")}
        for name, value in (("engine", engine), ("grad", grad), ("order", order)):
            if value not in known[name]:
                raise InputError(f"{name}={value!r} was given; choose {', '.join(known[name])}.")
        if eps < 0:
            raise InputError(f"eps={eps} was given; 0 or more is needed.")
        if groups is not None and (groups < 1 or width % groups):
            divisors = [g for g in range(1, width + 1) if width % g == 0]
            near = sorted(sorted(divisors, key=lambda g: abs(math.log(g / max(groups, 1))))[:4])
            raise InputError(
                f"{groups} groups were asked for, which do not divide the width {width}; the nearest divisors are "
                f"{', '.join(map(str, near))}."
            )
        self.width, self.groups, self.engine, self.grad = width, groups, engine, grad
        self.eps, self.shuffle, self.order = eps, shuffle, order
        self.smallest = torch.tensor(math.nan)

    def forward(
        self, h: Tensor, permutation: Tensor | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """Whitened vectors, of the shape given.

        Parameters
        ----------
        h : (views, rows, width), or (rows, width) for one view
        permutation : of the channels, (width,) for all views or (views, width); drawn if left out
        generator : on the CPU, draws the permutation
        """
        if not self.training:
            raise InputError(
                "Shuffled group whitening is for training: by the statistics of a batch, a vector would depend on its "
                "neighbours. Leave it out at inference, or fit a Whitening on a sample."
            )
        if h.ndim == 2:
            return self.forward(h[None], permutation, generator)[0]
        views, rows, width = h.shape
        groups = self.groups or group_count(width, rows)
        if width != self.width or rows <= width // groups:
            raise InputError(
                f"A batch of {rows} rows and {width} channels was given; {self.width} channels, and more rows than the "
                f"{self.width // groups} channels of a group are needed. Use larger batches or more groups, and drop "
                "the last short batch."
            )
        if permutation is None:
            permutation = self.draw(views, generator)
        permutation = permutation.to(h.device).expand(views, width)
        with torch.autocast(
            h.device.type, enabled=False
        ):  # half precision has no eigh, and covariances overflow
            x = h if h.dtype == torch.float64 else h.float()
            if (
                self.order == "released"
            ):  # rows sentence by sentence, cut into as many parts as there are views
                x = x.transpose(0, 1).reshape(views, rows, width)
            each = torch.arange(views, device=h.device)[:, None]
            x = x.transpose(1, 2)[each, permutation]  # channels first: groups lie one after another in memory
            x = x.view(views, groups, width // groups, rows)
            x = x - x.mean(3, keepdim=True)
            covariance = x @ x.mT / rows
            covariance = covariance if self.grad == "full" else covariance.detach()
            y = (self._matrix(covariance).mT @ x).view(views, width, rows)
            y = y[each, permutation.argsort(1)].transpose(1, 2)
            if self.order == "released":
                y = y.reshape(rows, views, width).transpose(0, 1)
        return y

    def draw(self, views: int, generator: torch.Generator | None = None) -> Tensor:
        """Permutations of the channels, one for each view; the identity where nothing is shuffled."""
        if not self.shuffle:
            return torch.arange(self.width).expand(views, -1)
        return torch.rand(views, self.width, generator=generator).argsort(1)

    def _matrix(self, covariance: Tensor) -> Tensor:
        """W of each group with Wᵀ Σ W = I."""
        size = covariance.shape[-1]
        whole = covariance + self.eps * torch.eye(size, dtype=covariance.dtype, device=covariance.device)
        self.smallest = torch.tensor(math.nan)
        if self.engine == "cholesky":
            factor = torch.linalg.cholesky(whole)  # L Lᵀ = Σ, W = L^{−ᵀ}
            unit = torch.eye(size, dtype=whole.dtype, device=whole.device).expand_as(whole)
            return torch.linalg.solve_triangular(factor, unit, upper=False).mT
        if self.engine == "newton-schulz":
            return _inverse_root(whole)
        values, vectors = torch.linalg.eigh(whole)
        self.smallest = values.detach().min() - self.eps
        return (vectors * values.clamp(min=torch.finfo(values.dtype).tiny).rsqrt()[..., None, :]) @ vectors.mT


ENGINES = ("eigh", "cholesky", "newton-schulz")


def _inverse_root(matrix: Tensor) -> Tensor:
    """Σ^{−1/2} by the coupled iteration of Newton and Schulz, which needs products of matrices alone."""
    norm = torch.linalg.matrix_norm(matrix, keepdim=True)
    unit = torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
    y, z = matrix / norm, unit.expand_as(matrix)
    for _ in range(ITERATIONS):
        step = (3 * unit - z @ y) / 2
        y, z = y @ step, step @ z
    return z / norm.sqrt()
