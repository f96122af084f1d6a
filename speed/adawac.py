"""AdaWAC beside separate forwards and scipy's rotation of every image, as in the released code, and beside plain
training on two views; and the drawing of the views alone.

Run: OMP_NUM_THREADS=1 python speed/adawac.py
"""

import time

import numpy as np
import torch
from scipy.ndimage import rotate
from timing import timed
from torch import nn

from groundshift.adaptation.adawac import AdaWACLoss, rot_flip, train_views

SIDE, BATCH, STEPS = 128, 12, 40
X = torch.rand(48, 1, SIDE, SIDE)
Y = (X[:, 0] > 0.8).long()


def network():
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Conv2d(1, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1))
    return nn.Sequential(encoder, nn.ReLU(), nn.Conv2d(16, 32, 1), nn.PixelShuffle(4))


def ours(mode):
    loss = AdaWACLoss(len(X), mode=mode, lambda_ac=1.0, warmup=0)
    how = {"features": "0", "augment": rot_flip, "align": False, "batch": BATCH, "lr": 1e-3}
    return train_views(network(), X, Y, loss, steps=STEPS, **how)


def one_by_one(rng, x, y):
    """A view of every image by scipy, as published."""
    views = []
    for image, mask in zip(x[:, 0].numpy(), y.numpy(), strict=True):
        if rng.random() > 0.5:
            k, axis = rng.integers(4), rng.integers(2)
            views.append([np.flip(np.rot90(part, k), axis).copy() for part in (image, mask)])
        else:
            angle = rng.integers(-20, 20)
            views.append([rotate(part, angle, order=0, reshape=False) for part in (image, mask)])
    return (torch.tensor(np.stack(parts)) for parts in zip(*views, strict=True))


def published():
    net, rng = network(), np.random.default_rng(0)
    loss = AdaWACLoss(len(X), lambda_ac=1.0, warmup=0)
    optimiser = torch.optim.AdamW(net.parameters(), 1e-3)
    for _ in range(STEPS):
        rows = torch.as_tensor(rng.choice(len(X), BATCH, replace=False))
        outputs, masks, maps = [], [], []
        for _ in range(2):
            x, y = one_by_one(rng, X[rows], Y[rows])
            maps.append(net[0](x[:, None]))
            outputs.append(net[1:](maps[-1]))
            masks.append(y)
        loss(*outputs, *masks, *maps, rows).backward()
        optimiser.step()
        optimiser.zero_grad()


def main():
    rng, generator = np.random.default_rng(0), torch.Generator().manual_seed(0)
    calls = (
        published, lambda: ours("adawac"), lambda: ours("pair"),
        lambda: [list(one_by_one(rng, X[:12], Y[:12])) for _ in range(20)],
        lambda: [rot_flip(X[:12], Y[:12], generator) for _ in range(20)],
    )  # fmt: skip
    slow, fast, pair, scipy, tensors = (timed(call, 2, time.process_time)[0] for call in calls)
    print(
        f"{BATCH * STEPS / fast:.0f} samples/s, {slow / fast:.2f}x the published loop; {fast / pair:.2f} of two views"
    )
    print(f"drawing a view of a batch: {scipy / tensors:.1f}x scipy's rotation of every image")


if __name__ == "__main__":
    main()
