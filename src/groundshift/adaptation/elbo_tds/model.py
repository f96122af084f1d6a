"""A scorer of impressions with one tower or two, and what each way of training asks of it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from groundshift.adaptation.elbo_tds.code import Codebook, Inputs
from groundshift.adaptation.elbo_tds.objective import (
    ELBOHead,
    Noise,
    Target,
    Terms,
    drop_elements,
    jitter,
    mask_embeddings,
)

__all__ = ["METHODS", "Method", "Objective", "Towers"]

Method = Literal["elbo", "bottleneck", "erm", "erm_aug", "group_dro", "irm"]
METHODS: dict[Method, str] = {
    "elbo": "the variational objective on resampled copies",
    "bottleneck": "its architecture without its objective",
    "erm": "empirical risk minimisation",
    "erm_aug": "empirical risk minimisation on resampled rows",
    "group_dro": "worst period first (group DRO)",
    "irm": "one classifier that is best in every period (IRMv1)",
}
STEP = 0.01
"""Step size of the weights of group DRO."""


class Tower(nn.Module):
    """One side: which features it sees, its code and its perceptron."""

    def __init__(
        self, book: Codebook, features: Sequence[str], varying: Sequence[str], width: int, latent: int | None,
        body: Any, head: dict[str, Any],
    ) -> None:  # fmt: skip
        super().__init__()
        moving = [name for name in features if name in varying]
        stable = [name for name in features if name not in varying]

        def places(names: Sequence[str], among: Sequence[str]) -> list[int]:
            return [among.index(name) for name in names if name in among]

        # In the embedding vector what is resampled comes first, so that it is a slice.
        self.moving = places(moving, book.columns), places(moving, book.lists)
        self.stable = places(stable, book.columns), places(stable, book.lists)
        ends = torch.tensor([len(book.scale[name][0]) for name in book.vectors]).cumsum(0).tolist()
        spans = zip(book.vectors, [0, *ends], ends, strict=False)
        self.vectors = [k for name, start, end in spans if name in features for k in range(start, end)]
        self.changes = range(width * sum(map(len, self.moving)))
        dim = len(self.changes) + width * sum(map(len, self.stable)) + len(self.vectors)
        self.head = None if latent is None else ELBOHead(dim, latent, **head)
        self.body = body(dim if latent is None else latent)


class Towers(nn.Module):
    """Embeddings of all features, and one tower whose output is the score, or two whose inner product is.

    Parameters
    ----------
    book : how features are coded
    varying : features that are resampled
    towers : features of each tower
    width : of an embedding
    latent : size of the code; None for towers on the embeddings themselves
    hidden : widths of the perceptron's layers
    scale : standard deviation of embeddings before training
    cosine : whether the inner product is of vectors of length 1
    network : takes codes (..., latent) to scores (..., 1) in the place of a single tower's perceptron
    """

    def __init__(
        self, book: Codebook, varying: Sequence[str], towers: Sequence[Sequence[str]], *, width: int = 16,
        latent: int | None = 256, hidden: Sequence[int] = (128, 64, 32), dropout: float = 0.0, cosine: bool = False,
        scale: float = 1.0, network: nn.Module | None = None,
        target: Target = "augmented", noise: Noise = "expected", terms: Terms = "both",
    ) -> None:  # fmt: skip
        super().__init__()
        self.first: Tensor
        self.buckets: Tensor
        self.cosine = cosine
        self.table = nn.Embedding(book.size, width, padding_idx=0)
        nn.init.normal_(self.table.weight, std=scale)
        with torch.no_grad():
            self.table.weight[0] = 0
        out = [1] if len(towers) == 1 else []

        def body(size: int) -> nn.Module:
            if network is not None:
                return network
            sizes: list[int] = [size, *hidden]
            layers: list[nn.Module] = []
            for a, b in itertools.pairwise(sizes):
                layers += [nn.Linear(a, b), nn.Dropout(dropout), nn.LeakyReLU()]
            return nn.Sequential(*layers, *(nn.Linear(sizes[-1], o) for o in out))

        head = {"target": target, "noise": noise, "terms": terms}
        self.towers = nn.ModuleList(Tower(book, t, varying, width, latent, body, head) for t in towers)
        first = [book.first[name] for name in book.columns]
        self.register_buffer("first", torch.tensor(first, dtype=torch.long), persistent=False)
        buckets = [book.buckets(name) for name in book.columns]
        self.register_buffer("buckets", torch.tensor(buckets, dtype=torch.long), persistent=False)

    def embed(self, inputs: Inputs) -> list[Tensor]:
        """Embedding vector of each tower, (B, dim)."""
        codes, lists, vectors = inputs
        return [
            torch.cat(
                [
                    part
                    for columns, bags in (t.moving, t.stable)
                    for part in (self.table(codes[:, columns]).flatten(1), self._bags(lists[:, bags]).flatten(1))
                ] + [vectors[:, t.vectors]], 1,
            )
            for t in self.sides
        ]  # fmt: skip

    def copies(self, inputs: Inputs, k: int, p: float, rng: torch.Generator) -> list[Tensor]:
        """What changes in each tower's embedding vector, in k resampled copies: (k, B, changes)."""
        codes, lists, _ = inputs
        every = []
        for columns, bags in (t.moving for t in self.sides):
            first, buckets = self.first[columns], self.buckets[columns]
            e = self.table(jitter(codes[:, columns], first, buckets, k, p, rng))
            if bool((buckets == 0).any()):
                e = torch.where((buckets == 0)[:, None], mask_embeddings(e, p, rng), e)
            lengths = self._bags(drop_elements(lists[:, bags], k, p, rng))
            every.append(torch.cat([e.flatten(2), lengths.flatten(2)], 2))
        return every

    @property
    def sides(self) -> list[Tower]:
        """The towers."""
        return list(self.towers)  # type: ignore[arg-type]

    def encode(self, e: Sequence[Tensor]) -> list[Tensor]:
        """Code of each tower, or its embedding vector where there is no code."""
        return [v if t.head is None else t.head.encode(v) for t, v in zip(self.sides, e, strict=True)]

    def score(self, codes: Sequence[Tensor]) -> Tensor:
        """Logit of each row, from what each tower's perceptron takes."""
        h = [t.body(c) for t, c in zip(self.sides, codes, strict=True)]
        if len(h) == 1:
            return h[0].squeeze(-1)
        h = [F.normalize(v, dim=-1) for v in h] if self.cosine else h
        return (h[0] * h[1]).sum(-1)

    def forward(self, codes: Tensor, lists: Tensor, vectors: Tensor) -> Tensor:
        """Logit of each row."""
        return self.score(self.encode(self.embed((codes, lists, vectors))))

    def _bags(self, lists: Tensor) -> Tensor:
        """Mean embedding of the elements of each list."""
        weight = (lists > 0).float()[..., None]
        return (self.table(lists) * weight).sum(-2) / weight.sum(-2).clamp(min=1)


class Objective:
    """Loss of a batch by any of the methods, and the best weights seen so far.

    Its state goes into the trainer's checkpoint, so that a fit that was killed also remembers its best epoch.
    """

    def __init__(
        self,
        method: Method,
        *,
        alpha: float,
        copies: int,
        p: float,
        predict_on: str,
        penalty: float,
        periods: int,
    ):
        self.method, self.alpha, self.k, self.p = method, alpha, copies, p
        self.predict_on, self.penalty = predict_on, penalty
        self.weight = torch.full((max(periods, 1),), 1 / max(periods, 1))
        self.best: dict[str, Tensor] = {}
        self.score = float("-inf")
        self.parts: list[tuple[float, float]] = []

    def __call__(self, net: Any, batch: tuple[Tensor, ...], generator: torch.Generator) -> Tensor:
        """Loss of a batch (codes, lists, vectors, label, period)."""
        *x, y, period = batch
        inputs: Inputs = (x[0], x[1], x[2])
        e = net.embed(inputs)
        if self.method == "erm_aug":
            drawn = net.copies(inputs, 1, self.p, generator)
            e = [torch.cat([c[0], v[:, c.shape[2] :]], 1) for v, c in zip(e, drawn, strict=True)]
        if self.method != "elbo":
            logits = net.score(net.encode(e))
            each = F.binary_cross_entropy_with_logits(logits, y, reduction="none")
            return (
                each.mean()
                if self.method not in ("group_dro", "irm")
                else self._over_periods(each, logits, y, period)
            )
        copies = net.copies(inputs, self.k, self.p, generator)
        codes = net.encode(e)
        sides = list(zip(net.sides, e, copies, strict=True))
        losses = [t.head(v, c, t.changes, generator, mu) for (t, v, c), mu in zip(sides, codes, strict=True)]
        ssl = sum(losses) / len(losses)
        if self.predict_on == "augmented":
            codes = [t.head.codes(v, c, t.changes) for t, v, c in sides]
            codes = [mu + torch.randn(mu.shape, generator=generator).to(mu.device) for mu in codes]
            y = y.expand(self.k, -1)
        bce = F.binary_cross_entropy_with_logits(net.score(codes), y)
        self.parts.append((float(bce.detach()), float(ssl.detach())))
        return bce + self.alpha * ssl

    def _over_periods(self, each: Tensor, logits: Tensor, y: Tensor, period: Tensor) -> Tensor:
        rows = torch.zeros_like(self.weight, device=each.device).index_add(0, period, torch.ones_like(each))
        mean = torch.zeros_like(rows).index_add(0, period, each) / rows.clamp(min=1)
        if self.method == "group_dro":  # Sagawa et al., 2020, algorithm 1
            self.weight = self.weight.to(each.device) * torch.exp(STEP * mean.detach())
            self.weight = self.weight / self.weight.sum()
            return (self.weight * mean).sum()
        # IRMv1 (Arjovsky et al., 2019): the gradient by a factor of the logits at 1 is mean((σ(s) − y) s).
        slope = torch.zeros_like(rows).index_add(
            0, period, (torch.sigmoid(logits) - y) * logits
        ) / rows.clamp(min=1)
        return each.mean() + self.penalty * slope.square().mean()

    def keep_best(self, net: nn.Module, score: float) -> None:
        """Remember the weights if no earlier ones scored as high."""
        if score > self.score:
            self.score = score
            self.best = {name: v.detach().clone() for name, v in net.state_dict().items()}

    def state_dict(self) -> dict[str, Tensor]:
        """The best weights and their score, and the weights of periods."""
        kept = {f"best.{name}": v for name, v in self.best.items()}
        return {**kept, "score": torch.tensor(self.score, dtype=torch.float64), "weight": self.weight}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take up what `state_dict` gave."""
        self.score, self.weight = float(state["score"]), state["weight"]
        self.best = {name[5:]: v for name, v in state.items() if name.startswith("best.")}
