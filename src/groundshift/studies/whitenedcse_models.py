"""The encoders of the study of WhitenedCSE: a tiny BERT that learnt masked words, and its contrastive training."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import BertConfig, BertForMaskedLM, BertModel

from groundshift.adaptation.whitenedcse import ShuffledGroupWhitening, contrast, sts
from groundshift.models.training import Recipe, minibatches, train
from groundshift.worlds.paraphrases import Grammar

PAD, FIRST, LAST, MASK = range(4)
WIDTH, LAYERS, BATCH = 96, 2, 64
TEMPERATURES = (0.05, 0.15)
"""Of which each arm takes the one that is best on the dev pairs."""
MASKED = 0.2
NETWORK: dict[str, Any] = {
    "hidden_size": WIDTH, "num_hidden_layers": LAYERS, "num_attention_heads": 4, "intermediate_size": 2 * WIDTH,
    "max_position_embeddings": 20, "pad_token_id": PAD,
}  # fmt: skip


def token_ids(grammar: Grammar, texts: list[str]) -> Tensor:
    """Texts as numbers of words between a first and a last token, padded to one length (n, L)."""
    number = {word: k + MASK + 1 for k, word in enumerate(grammar.words)}
    rows = [[FIRST, *(number[word] for word in text.split()), LAST] for text in texts]
    ids = np.full((len(rows), max(map(len, rows))), PAD)
    for k, row in enumerate(rows):
        ids[k, : len(row)] = row
    return torch.from_numpy(ids)


def learn_masked_words(grammar: Grammar, corpus: Tensor, steps: int, seed: int, folder: Path) -> None:
    """Train a tiny BERT to fill in masked words, and save it."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = BertForMaskedLM(BertConfig(vocab_size=len(grammar.words) + MASK + 1, **NETWORK))

    def loss(net: nn.Module, batch: tuple[Tensor], generator: torch.Generator) -> Tensor:
        (ids,) = batch
        hidden = (torch.rand(ids.shape, generator=generator) < MASKED) & (ids > MASK)
        logits = net(input_ids=ids.masked_fill(hidden, MASK), attention_mask=(ids != PAD).long()).logits
        return nn.functional.cross_entropy(logits[hidden], ids[hidden])

    train(net, minibatches(corpus, size=96), loss, Recipe(steps, lr=2e-3, seed=seed))
    net.bert.save_pretrained(folder)


class Encoder(nn.Module):
    """Vectors of rows of tokens: the mean of the last hidden states, or that of the first token."""

    def __init__(self, folder: Path, pool: str) -> None:
        super().__init__()
        self.bert = BertModel.from_pretrained(folder, add_pooling_layer=False, local_files_only=True)
        self.pool = pool

    def forward(self, ids: Tensor) -> Tensor:
        read = ids != PAD
        states = self.bert(input_ids=ids, attention_mask=read.long()).last_hidden_state
        if self.pool == "cls":
            return states[:, 0]
        return (states * read[..., None]).sum(1) / read.sum(1, keepdim=True)


def vectors(encoder: nn.Module, ids: Tensor) -> NDArray[np.float64]:
    """Vectors of rows of tokens, without dropout."""
    encoder.eval()
    with torch.no_grad():
        return np.concatenate([encoder(part).double().numpy() for part in ids.split(512)])


class OneView(ShuffledGroupWhitening):
    """Whitens the first view alone."""

    def forward(self, h: Tensor, permutation: Tensor | None = None, generator: Any = None) -> Tensor:
        return torch.cat([super().forward(h[:1], permutation, generator), h[1:]])


def tuned(
    data: dict[str, Any], steps: int, seed: int, *, views: int, channels: int = 0, kind: Any = ShuffledGroupWhitening,
    **how: Any,
) -> nn.Module:  # fmt: skip
    """The encoder after contrastive training, at the temperature that is best on the dev pairs; 0 channels: SimCSE."""
    best: tuple[float, nn.Module] | None = None
    start = Encoder(Path(data["folder"]), data["pool"])
    corpus: Tensor = data["corpus"]

    def batches(rng: np.random.Generator) -> Tensor:
        return corpus[torch.from_numpy(rng.choice(len(corpus), BATCH, replace=False))].repeat(views, 1)

    for temperature in TEMPERATURES:
        encoder = copy.deepcopy(start)
        whitening = kind(WIDTH, WIDTH // channels, **how) if channels else None
        contrast(
            encoder, batches, width=WIDTH, whitening=whitening, views=views, temperature=temperature,
            recipe=Recipe(steps, lr=1e-3, seed=seed),
        )  # fmt: skip
        first, second, score = data["dev"]
        value = sts(vectors(encoder, first), vectors(encoder, second), score)
        if best is None or value > best[0]:
            best = value, encoder
    assert best is not None
    return best[1]
