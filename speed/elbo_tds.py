"""Training rows per second: the objective from what changed, against a pass of every copy, and against plain training.

Run: OMP_NUM_THREADS=1 python speed/elbo_tds.py
"""

import time
from itertools import pairwise

import numpy as np
import torch

from groundshift.adaptation.elbo_tds.objective import ELBOHead

ROWS, FEATURES, MOVING, WIDTH, LATENT, K = 512, 30, 6, 16, 256, 4


def rows_per_second(step, repeats=12):
    """Of the median step, after a warm-up."""
    taken = []
    for _ in range(repeats):
        began = time.process_time()
        step()
        taken.append(time.process_time() - began)
    return ROWS / float(np.median(taken[2:]))


def main() -> None:
    torch.manual_seed(0)
    dim, t = FEATURES * WIDTH, MOVING * WIDTH
    table, head = torch.nn.Embedding(24 * FEATURES, WIDTH), ELBOHead(dim, LATENT)

    def body(size):
        sizes = [size, 128, 64, 32]
        layers = [m for a, b in pairwise(sizes) for m in (torch.nn.Linear(a, b), torch.nn.LeakyReLU())]
        return torch.nn.Sequential(*layers, torch.nn.Linear(32, 1))

    on_code, on_table = body(LATENT), body(dim)
    parts = [table, head, on_code, on_table]
    adam = torch.optim.Adam([p for part in parts for p in part.parameters()], fused=True)
    codes, y = torch.randint(24 * FEATURES, (ROWS, FEATURES)), torch.rand(ROWS).round()

    def moved():
        return torch.randint(24 * FEATURES, (K, ROWS, MOVING))

    def learn(loss):
        adam.zero_grad()
        loss.backward()
        adam.step()

    def label(logits):
        return torch.nn.functional.binary_cross_entropy_with_logits(logits.squeeze(1), y)

    def erm():
        learn(label(on_table(table(codes).flatten(1))))

    def bottleneck():
        learn(label(on_code(head.encode(table(codes).flatten(1)))))

    def ours():
        e = table(codes).flatten(1)
        mu = head.encode(e)
        learn(label(on_code(mu)) + 0.01 * head(e, table(moved()).flatten(2), range(t), mu=mu))

    def loop():
        """One pass of embedding, encoder and decoder for each copy, with drawn noise, as the released code does."""
        zs, rebuilt = [], 0
        for k in range(K):
            at = codes.clone()
            at[:, :MOVING] = moved()[k]
            e = table(at).flatten(1)
            z = head.encoder(e)
            z = z + torch.randn_like(z)
            rebuilt = rebuilt + (head.decoder(z) - e).square().sum()
            zs.append(z)
        z = torch.stack(zs)
        loss = (rebuilt + (z - z.mean(0)).square().sum()) / (K * ROWS)
        learn(label(on_code(head.encode(table(codes).flatten(1)))) + 0.01 * loss)

    speed = {f.__name__: rows_per_second(f) for f in (erm, bottleneck, ours, loop)}
    print(", ".join(f"{name} {v:,.0f} rows/s" for name, v in speed.items()))
    print(
        f"ours/loop {speed['ours'] / speed['loop']:.1f}x; time over ERM {speed['erm'] / speed['ours']:.1f}x"
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
