"""Small networks for the study of global arrangement: with a view of all, with a small one, and a transformer."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["NETWORKS", "build"]


def _block(inputs: int, outputs: int, size: int = 3, padding: int = 1) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, size, padding=padding), nn.BatchNorm2d(outputs), nn.ReLU()]


class Convolutional(nn.Module):
    """Five convolutions whose view covers the picture, or two of them and a view of 8 pixels (``bag``).

    The bag pads nothing, as zeros at the border would tell it where it is.
    """

    def __init__(self, outputs: int, bag: bool) -> None:
        super().__init__()
        body = (
            [*_block(1, 16, padding=0), nn.MaxPool2d(2), *_block(16, 32, padding=0), *_block(32, 32, 1, 0),
             *_block(32, 32, 1, 0)]
            if bag
            else [*_block(1, 12), nn.MaxPool2d(2), *_block(12, 24), nn.MaxPool2d(2), *_block(24, 32), *_block(32, 32),
                  nn.MaxPool2d(2), *_block(32, 32)]
        )  # fmt: skip
        self.body, self.pool, self.head = (
            nn.Sequential(*body),
            nn.AdaptiveAvgPool2d(1),
            nn.Linear(32, outputs),
        )

    def forward(self, pixels: Tensor) -> Tensor:
        logits: Tensor = self.head(self.pool(self.body(pixels)).flatten(1))
        return logits


class Transformer(nn.Module):
    """36 patches of 5 × 5 pixels, width 48, two layers; with a learned table of positions, or blind to them."""

    def __init__(self, outputs: int, positions: bool) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, 48, 5, 5)
        self.position_embeddings = nn.Parameter(0.02 * torch.randn(1, 36, 48), requires_grad=positions)
        if not positions:
            nn.init.zeros_(self.position_embeddings)
        layer = nn.TransformerEncoderLayer(48, 4, 96, 0.0, "gelu", batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, nn.LayerNorm(48), enable_nested_tensor=False)
        self.pool, self.head = nn.AdaptiveAvgPool1d(1), nn.Linear(48, outputs)

    def forward(self, pixels: Tensor) -> Tensor:
        tokens = self.patches(pixels).flatten(2).transpose(1, 2) + self.position_embeddings
        logits: Tensor = self.head(self.pool(self.encoder(tokens).transpose(1, 2)).flatten(1))
        return logits


NETWORKS = ("cnn", "bag", "vit", "vit_blind")


@torch.random.fork_rng()
def build(name: str, outputs: int, seed: int) -> nn.Module:
    """An untrained network of `NETWORKS`, in float32."""
    torch.manual_seed(seed)
    net = (
        Convolutional(outputs, name == "bag") if name in NETWORKS[:2] else Transformer(outputs, name == "vit")
    )
    return net.float()
