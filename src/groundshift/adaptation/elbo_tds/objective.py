"""The objective: resampled copies of a row share one latent mean, from which every copy is rebuilt.

For copies x_1..x_K of a row with embeddings e_k, q(z_k | x_k) = N(μ(e_k), I), a linear decoder with unit precision
and a prior under which codes scatter around their own mean, the negative bound is, up to constants and per row,

    Σ_k ‖decoder(z_k) − e_k‖²  (reconstruction)  +  Σ_k ‖z_k − z̄‖²  (prior),      z_k = μ(e_k) + ε_k,

sums over dimensions. The encoder is linear too, so that the mean over ε is known, and everything about the copies
follows from what changed in them: neither needs a pass of K · B rows through encoder and decoder.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from groundshift.errors import InputError, did_you_mean

__all__ = ["ELBOHead", "Noise", "Target", "check_choice", "drop_elements", "jitter", "mask_embeddings"]

Target = Literal["augmented", "original"]
Noise = Literal["expected", "drawn", "none"]
Terms = Literal["both", "prior", "reconstruction"]
REACH = 2
"""Buckets that a number moves at most."""


# Resampling ----------------------------------------------------------------------------------------------


def jitter(
    codes: Tensor, first: Tensor, buckets: Tensor, copies: int, p: float, rng: torch.Generator
) -> Tensor:
    """Copies of bucket numbers, each moved with probability p by −2..2 buckets and kept within the feature's own.

    Parameters
    ----------
    codes : shape (B, F), rows of the embedding table
    first, buckets : shape (F,), first row and number of buckets of each feature; any other row is a missing number,
        which stays, as do features with 0 buckets

    Returns
    -------
    tensor
        Shape (copies, B, F). With probability p/5 a move is one of none.

    Examples
    --------
    >>> codes = torch.full((1000, 1), 3)
    >>> moved = jitter(codes, torch.tensor([1]), torch.tensor([4]), 2, 1.0, torch.Generator().manual_seed(0))
    >>> moved.unique().tolist()
    [1, 2, 3, 4]
    """
    shape = (copies, *codes.shape)
    move = torch.randint(-REACH, REACH + 1, shape, generator=rng).to(codes.device)
    chosen = torch.rand(shape, generator=rng).to(codes.device) < p
    inside = codes < first + buckets
    moved = torch.minimum(torch.maximum(codes + move, first), first + buckets - 1)
    return torch.where(chosen & inside, moved, codes)


def drop_elements(lists: Tensor, copies: int, p: float, rng: torch.Generator) -> Tensor:
    """Copies of lists (B, lists, L) in which every element is dropped with probability p; 0 is no element."""
    shape = (copies, *lists.shape)
    return torch.where(torch.rand(shape, generator=rng).to(lists.device) < p, 0, lists)


def mask_embeddings(e: Tensor, p: float, rng: torch.Generator) -> Tensor:
    """Embeddings (..., E), each sent with probability p through dropout of rate p of its elements."""
    keep = torch.rand(e.shape, generator=rng) >= p
    chosen = torch.rand(e.shape[:-1], generator=rng)[..., None] < p
    return torch.where(chosen.to(e.device), e * keep.to(e.device) / (1 - p), e)


# The bound -----------------------------------------------------------------------------------------------


class ELBOHead(nn.Module):
    """Encoder, decoder and self-supervised loss over an embedding vector that a model already builds.

    Add ``alpha * head(e, copies, columns)`` to the loss of your own training loop and predict from ``head.encode(e)``.

    Parameters
    ----------
    dim : int
        Size of the embedding vector.
    latent : int
        Size of the code z.
    target : "augmented" or "original"
        What a copy is rebuilt to: itself (the released code), or the row before resampling (the paper's figure).
    noise : "expected", "drawn" or "none"
        Whether the loss is the mean over the code's noise in closed form, that of one draw (the released code), or of
        codes without noise, which lets them collapse.
    terms : "both", "prior" or "reconstruction"
        Terms of the loss, for ablations.

    References
    ----------
    Zhu, Fu, Ni, Zeng, Fang, 2025, arXiv:2511.21032.

    Examples
    --------
    A model's embeddings of 32 rows, of which the last two numbers were resampled three times:

    >>> _ = torch.manual_seed(0)
    >>> e, copies = torch.randn(32, 6), torch.randn(3, 32, 2)
    >>> head = ELBOHead(dim=6, latent=4)
    >>> head(e, copies, columns=[4, 5]).shape, head.encode(e).shape
    (torch.Size([]), torch.Size([32, 4]))
    """

    def __init__(
        self,
        dim: int,
        latent: int = 256,
        *,
        target: Target = "augmented",
        noise: Noise = "expected",
        terms: Terms = "both",
    ) -> None:
        super().__init__()
        check_choice("target", target, ("augmented", "original"))
        check_choice("noise", noise, ("expected", "drawn", "none"))
        check_choice("terms", terms, ("both", "prior", "reconstruction"))
        self.encoder, self.decoder = nn.Linear(dim, latent), nn.Linear(latent, dim)
        self.target, self.noise, self.terms = target, noise, terms

    def encode(self, e: Tensor) -> Tensor:
        """μ(e), shape (..., latent)."""
        out: Tensor = self.encoder(e)
        return out

    def codes(self, e: Tensor, copies: Tensor, columns: Sequence[int] | None = None) -> Tensor:
        """μ of every copy, shape (K, B, latent): only what changed passes through the encoder."""
        change, at = self._change(e, copies, columns)
        return self.encode(e) + change @ self.encoder.weight[:, at].T

    def forward(
        self,
        e: Tensor,
        copies: Tensor,
        columns: Sequence[int] | None = None,
        generator: torch.Generator | None = None,
        mu: Tensor | None = None,
    ) -> Tensor:
        """The self-supervised loss, the mean over rows and copies of its sums over dimensions.

        Parameters
        ----------
        e : shape (B, dim)
            Embeddings of the rows.
        copies : shape (K, B, t)
            The numbers ``columns`` of the embeddings of each resampled copy; the others are those of ``e``.
        columns : t positions
            All of them, in order, if left out.
        generator : of the noise, with noise="drawn"
        mu : ``encode(e)``, where it is known already
        """
        change, at = self._change(e, copies, columns)
        if self.noise == "drawn":
            return self._drawn(e, change, at, generator)
        W, V = self.encoder.weight[:, at], self.decoder.weight
        K, loss = len(change), e.new_zeros(())
        noisy = self.noise == "expected"
        # The copies enter by second moments alone: of all changes, and of their sums over the copies of a row.
        flat, total = change.flatten(0, 1), change.sum(0)
        moment = flat.T @ flat
        if self.terms != "prior":
            # Residual of copy k: r + A c_k, with c_k what changed, so that Σ_k ‖·‖² needs only AᵀA and their moment.
            A = V @ W
            if self.target == "augmented":
                A = A - torch.eye(e.shape[1], device=e.device, dtype=e.dtype)[:, at]
            r = self.decoder(self.encode(e) if mu is None else mu) - e
            loss = K * r.square().sum() + 2 * (A * (r.T @ total)).sum() + ((A.T @ A) * moment).sum()
            if noisy:
                loss = loss + K * len(e) * V.square().sum()
        if self.terms != "reconstruction":
            loss = loss + ((W.T @ W) * (moment - total.T @ total / K)).sum()
            if noisy:
                loss = loss + (K - 1) * len(W) * len(e)  # the floor of the prior's term
        return loss / (K * len(e))

    def _change(self, e: Tensor, copies: Tensor, columns: Sequence[int] | None) -> tuple[Tensor, Any]:
        chosen: Sequence[int] = range(e.shape[1]) if columns is None else columns
        # Columns that follow each other are a view, whose gradient is much cheaper than that of an index.
        at = (
            slice(chosen.start, chosen.stop)
            if isinstance(chosen, range) and chosen.step == 1
            else list(chosen)
        )
        if copies.dim() != 3 or copies.shape[1:] != (len(e), len(chosen)):
            raise InputError(
                f"Copies of shape {tuple(copies.shape)} were given for embeddings {tuple(e.shape)} of which "
                f"{len(chosen)} columns are resampled; (copies, {len(e)}, {len(chosen)}) is needed."
            )
        return copies - e[:, at], at

    def _drawn(self, e: Tensor, change: Tensor, at: Any, generator: torch.Generator | None) -> Tensor:
        """The same with one draw of the noise, by a pass of all copies."""
        full = torch.zeros(len(change), *e.shape, device=e.device, dtype=e.dtype)
        full[:, :, at] = change
        mu = self.encode(e + full)
        z = mu + torch.randn(mu.shape, generator=generator, dtype=mu.dtype).to(mu.device)
        loss = e.new_zeros(())
        if self.terms != "prior":
            loss = loss + (self.decoder(z) - (e + full if self.target == "augmented" else e)).square().sum()
        if self.terms != "reconstruction":
            loss = loss + (z - z.mean(0)).square().sum()
        return loss / (len(change) * len(e))


def check_choice(name: str, given: Any, known: Sequence[str]) -> None:
    """Raise `InputError` if a word is none of those known."""
    if given not in known:
        raise InputError(
            f"{name}={given!r} was given{did_you_mean(given, known)} It may be {', '.join(known)}."
        )
