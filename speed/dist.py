"""Quilting by FFT against a loop over patches, and synthesis by L-BFGS against Adam at equal loss.

The loop is the published one: for each place, the error of every patch of the source in turn.

Run: OMP_NUM_THREADS=1 python speed/dist.py
"""

import numpy as np
import torch
from sklearn.datasets import load_sample_images
from timing import timed

from groundshift.benchmarks import dist
from groundshift.benchmarks.dist import rearranging
from groundshift.shifts.textures import texture_loss

SIDE, STRENGTH, STEPS = 96, 1 / 4, 20
PHOTO = load_sample_images().images[0]


def looped(source, side):
    def errors(template, known):
        places = np.lib.stride_tricks.sliding_window_view(source, (side, side, 3))[:, :, 0]
        return np.array(
            [[(np.square(p - template) * known[:, :, None]).sum() for p in row] for row in places]
        )

    return errors


def by_adam(image, goal, filters):
    x = torch.as_tensor(image).permute(2, 0, 1)[None].float() / 255
    target = (x - x.mean((2, 3), keepdim=True)) / x.std((2, 3), keepdim=True)
    wanted = [dist.gram(f) for f in filters(target)]
    own = torch.randn(target.shape, generator=torch.Generator().manual_seed(0)).requires_grad_(True)
    adam = torch.optim.Adam([own], lr=0.02)
    while (loss := texture_loss(filters(own), wanted)) > goal:
        adam.zero_grad()
        loss.backward()
        adam.step()


def main():
    source = PHOTO[100 : 100 + SIDE, 100 : 100 + SIDE]
    fast, sewn = timed(lambda: dist.quilt(source, STRENGTH, 0), 3)
    rearranging._Errors = looped
    slow, same = timed(lambda: dist.quilt(source, STRENGTH, 0), 1)
    print(f"quilting: {slow / fast:.1f}x, same pixels: {(sewn == same).all()}")
    image, filters = PHOTO[100:132, 100:132], dist.RandomFilters(16)
    ours, done = timed(lambda: dist.synthesise(image, 0, features=filters, steps=STEPS, halves=False), 1)
    theirs, _ = timed(lambda: by_adam(image, done.history[-1], filters), 1)
    print(f"synthesis to a loss of {done.history[-1]:.4f}: {theirs / ours:.1f}x")


if __name__ == "__main__":
    main()
