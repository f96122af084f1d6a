"""Seconds per training step with weights, against torchcfm's matchers, and sampling cost at equal quality.

1. A training step (draw the pairs, network forward and backward, Adam) for batches of 64 to 4,096.
2. Quality at equal steps after equal training, and the fewest Euler steps that reach the same distance.

Run: OMP_NUM_THREADS=1 python speed/wcfm.py
"""

import time

import numpy as np
import torch

from groundshift.generation.wcfm import WeightedConditionalFlowMatcher, train_velocity
from groundshift.measures.transport import energy_excess, straightness, wasserstein2
from groundshift.models.flows import VelocityMLP
from groundshift.worlds.point_clouds import eight_gaussians, moons

BATCHES = (64, 256, 1024, 4096)
STEPS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 100)


def milliseconds(matcher, loss, batch):
    """The median step, after a warm-up."""
    torch.manual_seed(0)
    net = VelocityMLP(2)
    adam = torch.optim.Adam(net.parameters(), fused=True)
    x0, x1 = torch.randn(batch, 2), torch.randn(batch, 2) + 3
    taken = []
    for _ in range(3 if batch > 2000 else 40):
        began = time.perf_counter()
        t, xt, ut = matcher.sample_location_and_conditional_flow(x0, x1)
        adam.zero_grad()
        loss(net(t, xt), ut).backward()
        adam.step()
        taken.append(time.perf_counter() - began)
    return 1000 * float(np.median(taken[1:]))


def mean_square(vt, ut):
    return ((vt - ut) ** 2).mean()


def steps() -> None:
    weighted = WeightedConditionalFlowMatcher(eps=3.0)
    rows = {"weighted": (weighted, weighted.loss)}
    try:
        import torchcfm

        rows["torchcfm exact OT"] = (torchcfm.ExactOptimalTransportConditionalFlowMatcher(), mean_square)
        rows["torchcfm plain"] = (torchcfm.ConditionalFlowMatcher(), mean_square)
    except ImportError:
        print("torchcfm is not installed; its place is taken by the same couplings of ours")
        for name, coupling in (("exact OT", "ot"), ("plain", "independent")):
            rows[name] = (WeightedConditionalFlowMatcher(coupling=coupling), mean_square)
    names = list(rows)
    print("milliseconds per training step, one thread")
    for batch in BATCHES:
        taken = [milliseconds(*rows[name], batch) for name in names]
        words = ", ".join(f"{name} {ms:.2f}" for name, ms in zip(names, taken, strict=True))
        print(
            f"B={batch}: {words}; OT/weighted {taken[1] / taken[0]:.1f}x, weighted/plain {taken[0] / taken[2]:.2f}x"
        )


def quality() -> None:
    rng = np.random.default_rng(0)
    source, target = eight_gaussians(rng, 20_000).points, moons(rng, 20_000).points
    x, y = (torch.as_tensor(v, dtype=torch.float32) for v in (source, target))
    start = torch.as_tensor(eight_gaussians(rng, 800).points, dtype=torch.float32)
    held = moons(rng, 800).points
    apart = wasserstein2(start, held) ** 2
    print(
        f"8gaussians to moons, 1,000 steps of training; floor {wasserstein2(held, moons(rng, 800).points):.2f}"
    )
    reached = {}
    for name, matcher in (
        ("plain", WeightedConditionalFlowMatcher(coupling="independent")),
        ("weighted", WeightedConditionalFlowMatcher(eps=3.4)),
        ("exact OT", WeightedConditionalFlowMatcher(coupling="ot")),
    ):
        torch.manual_seed(0)
        net = VelocityMLP(2)
        train_velocity(net, matcher, y, x, steps=1000, lr=5e-3)
        away = {}
        for n in STEPS:
            paths = [start]
            with torch.no_grad():
                for k in range(n):
                    paths.append(paths[-1] + net(torch.tensor(k / n), paths[-1]) / n)
            away[n] = wasserstein2(paths[-1], held)
        points = torch.stack(paths).numpy()
        reached[name] = away
        print(
            f"{name}: W2 at 4 steps {away[4]:.2f}, 8 steps {away[8]:.2f}, 100 steps {away[100]:.2f}; "
            f"path energy {energy_excess(points, apart):+.2f}, straightness {straightness(points):.2f}"
        )
    aim = 1.1 * max(min(away.values()) for away in reached.values())
    fewest = {name: next(n for n in STEPS if away[n] <= aim) for name, away in reached.items()}
    words = ", ".join(f"{name} {n}" for name, n in fewest.items())
    print(f"Euler steps to W2 {aim:.2f}: {words}; plain/weighted {fewest['plain'] / fewest['weighted']:.1f}x")


if __name__ == "__main__":
    torch.set_num_threads(1)
    steps()
    quality()
