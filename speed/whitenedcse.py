"""Shuffled group whitening against a loop over the groups; a step against SimCSE with three views; whitening of rows.

Run: OMP_NUM_THREADS=1 python speed/whitenedcse.py
"""

import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from timing import timed
from transformers import BertConfig, BertModel

from groundshift.adaptation import ShuffledGroupWhitening, Whitening
from groundshift.adaptation.whitenedcse.loss import multiview_loss
from groundshift.adaptation.whitenedcse.training import Trainee

VIEWS, ROWS, WIDTH, GROUPS = 3, 128, 768, 128


def by_loop(h):
    """One eigendecomposition after another, as one writes it first."""
    out = torch.empty_like(h)
    for view, x in enumerate(h):
        for own in torch.randperm(WIDTH).split(WIDTH // GROUPS):
            c = x[:, own] - x[:, own].mean(0)
            values, vectors = torch.linalg.eigh(c.T @ c / ROWS + 1e-5 * torch.eye(len(own)))
            out[view][:, own] = c @ (vectors / values.sqrt()) @ vectors.T
    return out


class Encoder(torch.nn.Module):
    def __init__(self):
        super().__init__()
        sizes = {
            "hidden_size": 384,
            "num_hidden_layers": 3,
            "num_attention_heads": 6,
            "intermediate_size": 768,
        }
        self.bert = BertModel(BertConfig(vocab_size=1000, **sizes), add_pooling_layer=False)

    def forward(self, ids):
        return self.bert(input_ids=ids).last_hidden_state[:, 0]


def main() -> None:
    clock = time.process_time  # of one processor, where other work goes on beside
    h, layer = torch.randn(VIEWS, ROWS, WIDTH), ShuffledGroupWhitening(WIDTH, GROUPS)
    loop = timed(lambda: by_loop(h), 3, clock)[0]
    ours = timed(lambda: layer(h), 20, clock)[0]
    print(
        f"whitening of {VIEWS} x {ROWS} x {WIDTH} in {GROUPS} groups: {ours * 1e3:.1f} ms; a loop {loop / ours:.0f}x"
    )
    ids = torch.randint(1000, (VIEWS * 64, 16))
    taken = {}
    for name, whitening in (("SimCSE, 3 views", None), ("WhitenedCSE", ShuffledGroupWhitening(384, 64))):
        net = Trainee(Encoder(), whitening, 384)

        def step(net=net):
            multiview_loss(net(ids, VIEWS)).backward()

        taken[name] = timed(step, 4, clock)[0]
        print(f"{name}: {1 / taken[name]:.2f} steps/s of 192 rows (BERT, 3 layers of 384)")
    print(f"overhead of the whitening: {taken['WhitenedCSE'] / taken['SimCSE, 3 views'] - 1:+.1%}")
    with tempfile.TemporaryDirectory() as folder:
        rows = np.lib.format.open_memmap(Path(folder) / "x.npy", "w+", np.float32, (100_000, WIDTH))
        rows[:] = np.random.default_rng(0).standard_normal((1000, WIDTH), np.float32).repeat(100, 0)
        whole = np.load(Path(folder) / "x.npy", mmap_mode="r")
        read = timed(whole.sum, 1, clock)[0]
        fitted = timed(lambda: Whitening().fit(whole), 1, clock)[0]
        plain = timed(lambda: np.cov(np.asarray(whole, float), rowvar=False), 1, clock)[0]
    print(
        f"whitening fitted on 100,000 x {WIDTH} in a file: {fitted:.1f} s; reading {read:.1f} s; np.cov {plain:.1f} s"
    )


if __name__ == "__main__":
    main()
