"""Denoisers (z_s, c, s) → logits of z_0: dilated convolutions for the laboratory, a transformer as the paper has it."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["ConvDenoiser", "TransformerDenoiser"]

Kind = Literal["labels", "numbers"]
DILATIONS = (1, 2, 4, 6)


class _Inputs(nn.Module):
    """Embeddings of codes (with [MASK]) and positions, and the condition as tokens of the network's width.

    Labels (B,) are codes 0 … size - 1, and ``size`` for no condition; numbers are (B, size) or (B, Lc, size).
    """

    def __init__(self, K: int, L: int, width: int, kind: Kind, size: int) -> None:
        super().__init__()
        self.codes = nn.Embedding(K + 1, width)
        self.position = nn.Parameter(torch.zeros(L, width))
        self.condition = nn.Embedding(size + 1, width) if kind == "labels" else nn.Linear(size, width)

    def forward(self, z_s: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        tokens = self.condition(c)
        return self.codes(z_s) + self.position, tokens if tokens.dim() == 3 else tokens[:, None]


class ConvDenoiser(nn.Module):
    """Convolutions along the sequence; the condition is stretched to the length of the codes and added.

    Parameters
    ----------
    K, L, T : codes, length, diffusion steps
    kind, size : "labels" and their number, or "numbers" and how many there are in a vector
    width, layers : of the convolutions, dilated 1, 2, 4, 6 and again

    Examples
    --------
    >>> net = ConvDenoiser(32, 24, 20, "numbers", 3)
    >>> net(torch.full((2, 24), 32), torch.randn(2, 48, 3), torch.tensor([20, 20])).shape
    torch.Size([2, 24, 32])
    """

    def __init__(
        self, K: int, L: int, T: int, kind: Kind, size: int, width: int = 64, layers: int = 4
    ) -> None:
        super().__init__()
        self.inputs = _Inputs(K, L, width, kind, size)
        self.step = nn.Embedding(T + 1, width)
        self.whole = nn.Linear(width, width)
        self.dilations = [DILATIONS[k % len(DILATIONS)] for k in range(layers)]
        self.convolutions = nn.ModuleList(nn.Linear(3 * width, width) for _ in self.dilations)
        self.means = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in self.dilations)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in self.dilations)
        self.head = nn.Linear(width, K)

    def forward(self, z_s: Tensor, c: Tensor, s: Tensor) -> Tensor:
        """Logits (B, L, K) of z_s (B, L), a condition, and s (B,)."""
        h, tokens = self.inputs(z_s, c)
        aligned = F.interpolate(tokens.mT, h.shape[1], mode="linear").mT
        h = h + aligned + (self.step(s) + self.whole(tokens.mean(1)))[:, None]
        for d, convolution, mean, norm in zip(
            self.dilations, self.convolutions, self.means, self.norms, strict=True
        ):
            # A dilated convolution of three taps; as one linear map it is several times faster on a CPU.
            padded, L = F.pad(h, (0, 0, d, d)), h.shape[1]
            taps = torch.cat([padded[:, k * d : k * d + L] for k in range(3)], -1)
            h = h + F.gelu(norm(convolution(taps) + mean(h.mean(1, keepdim=True))))
        return self.head(h)


class TransformerDenoiser(nn.Module):
    """VQ-Diffusion's kind of network: layer norms shifted and scaled by the step, cross-attention to the condition.

    The paper has 18 to 24 layers of width 192 to 1024 and 16 heads. Parameters as for `ConvDenoiser`.

    Examples
    --------
    >>> net = TransformerDenoiser(32, 16, 20, "labels", 10, width=32, layers=2, heads=4)
    >>> net(torch.full((2, 16), 32), torch.tensor([3, 10]), torch.tensor([20, 20])).shape
    torch.Size([2, 16, 32])
    """

    def __init__(
        self, K: int, L: int, T: int, kind: Kind, size: int, width: int = 64, layers: int = 4, heads: int = 4
    ) -> None:
        super().__init__()
        self.inputs = _Inputs(K, L, width, kind, size)
        nn.init.normal_(self.inputs.position, std=0.02)
        self.blocks = nn.ModuleList(_Block(T, width, heads) for _ in range(layers))
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, K))

    def forward(self, z_s: Tensor, c: Tensor, s: Tensor) -> Tensor:
        """Logits (B, L, K) of z_s (B, L), a condition, and s (B,)."""
        h, tokens = self.inputs(z_s, c)
        for block in self.blocks:
            h = block(h, tokens, s)
        return self.head(h)


class _Block(nn.Module):
    """Attention within the codes, attention to the condition, perceptron."""

    def __init__(self, T: int, width: int, heads: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(width, elementwise_affine=False) for _ in range(3))
        self.steps = nn.ModuleList(
            nn.Sequential(nn.Embedding(T + 1, width), nn.SiLU(), nn.Linear(width, 2 * width))
            for _ in range(3)
        )
        self.within, self.across = (nn.MultiheadAttention(width, heads, batch_first=True) for _ in range(2))
        self.perceptron = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, h: Tensor, tokens: Tensor, s: Tensor) -> Tensor:
        def normed(k: int) -> Tensor:
            scale, shift = self.steps[k](s)[:, None].chunk(2, -1)
            return self.norms[k](h) * (1 + scale) + shift

        x = normed(0)
        h = h + self.within(x, x, x, need_weights=False)[0]
        h = h + self.across(normed(1), tokens, tokens, need_weights=False)[0]
        return h + self.perceptron(normed(2))
