"""The study of weighted conditional flow matching: short paths at what price to the marginals? (arXiv:2507.22270)

Two routes. "exact" takes the velocity that a perfect network would learn between two clouds, which isolates the
coupling; "trained" fits a small network to fresh rows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from groundshift.generation.wcfm import (
    WeightedConditionalFlowMatcher,
    choose_eps,
    cost_matrix,
    entropic_plan,
    gibbs_log_plan,
    train_velocity,
)
from groundshift.generation.wcfm.diagnosis import one_temperature
from groundshift.generation.wcfm.networks import VelocityMLP
from groundshift.lab.claims import Claim, Control
from groundshift.lab.study import Figure, Grid, Measure, Method, Sample, Study, World
from groundshift.measures.transport import mode_masses, path_energy, straightness, wasserstein2
from groundshift.models.mixture import CoupledClouds
from groundshift.studies import wcfm_figures as draw
from groundshift.worlds.point_clouds import CLOUDS, far_mass

ESS = 0.7
FEW = 4
LR = 5e-3
PILOT = 600
SIGMA = 0.1
"""Of the exact route's paths; without noise a finite cloud's velocity has jumps."""


@dataclass(frozen=True)
class Settings:
    """What the dial sets."""

    seeds: int = 5
    steps: int = 800
    """Of training, the learning rate going up and down once; published tutorials take 20,000 at a constant rate."""
    evaluated: int = 800
    """Points in every Wasserstein distance of the trained route."""
    cloud: int = 300
    batches: tuple[int, ...] = (16, 64, 256)
    """Of minibatch transport; below the cloud's size."""
    plans: int = 2000
    """Minibatch plans that are averaged."""
    network: int = 64
    pixels: int = 1000


# Worlds --------------------------------------------------------------------------------------------------


@World.define()
def fresh(rng: np.random.Generator, severity: float, *, pair: str, evaluated: int) -> Sample:
    """Two laws with 20,000 rows each to train on, and rows to evaluate on."""
    laws = [CLOUDS[name] for name in pair.split(" to ")]
    source, target = (law(rng, 20_000).points for law in laws)
    start = laws[0](rng, evaluated).points
    held, again = (laws[1](rng, evaluated) for _ in range(2))
    return Sample(
        {"source": source, "target": target, "start": start},
        {
            "target": held.points,
            "centres": held.centres,
            "squared": wasserstein2(start, held.points) ** 2,
            "floor": wasserstein2(held.points, again.points),
        },
    )


@World.define()
def clouds(rng: np.random.Generator, severity: float, *, pair: str, points: int) -> Sample:
    """Two finite clouds; paths start at the source's points with the noise of the path, and end so at the target's."""
    source, target = (CLOUDS[name](rng, points) for name in pair.split(" to "))
    x, y = source.points, target.points
    start, held, again = (v + SIGMA * rng.standard_normal(v.shape) for v in (x, y, y))
    return Sample(
        {"source": x, "target": y, "start": start},
        {
            "target": held,
            "centres": target.centres,
            "squared": wasserstein2(start, held) ** 2,
            "floor": wasserstein2(held, again),
        },
    )


@World.define()
def pixels(rng: np.random.Generator, severity: float, *, points: int, sphere: bool) -> Sample:
    """Normal noise and 64-pixel digits; ``sphere`` gives all rows of each the same norm."""
    source, target = rng.standard_normal((points, 64)), CLOUDS["digits8"](rng, points).points
    if sphere:
        source, target = (8 * v / np.linalg.norm(v, axis=1, keepdims=True) for v in (source, target))
    return Sample({"source": source, "target": target}, None)


# Methods -------------------------------------------------------------------------------------------------


@Method.define(role="baseline")
def icfm(data: Any, rng: np.random.Generator, *, route: str, **options: int) -> dict[str, Any]:
    """Plain conditional flow matching: independent pairs."""
    if route == "exact":
        n = len(data["source"])
        return _flow_exactly(data, torch.full((n, n), 1 / n**2))
    return _trained(data, rng, WeightedConditionalFlowMatcher(coupling="independent"), **options)


@Method.define()
def wcfm(data: Any, rng: np.random.Generator, *, route: str, **options: int) -> dict[str, Any]:
    """Weighted pairs, distance as cost, ε for an effective sample size of 0.7."""
    found = _diagnosis(data)
    if route == "exact":
        return _flow_exactly(data, gibbs_log_plan(_costs(data), found["eps"]).exp()) | found
    return _trained(data, rng, WeightedConditionalFlowMatcher(eps=found["eps"]), **options) | found


class _Permuted(WeightedConditionalFlowMatcher):
    """Weights that belong to other pairs of the batch."""

    def _gibbs_weights(self, x0: Tensor, x1: Tensor) -> Tensor | None:
        weights = super()._gibbs_weights(x0, x1)
        assert weights is not None
        return weights[torch.randperm(len(weights), generator=self.generator)]


@Method.define(role="control")
def permuted(data: Any, rng: np.random.Generator, *, route: str, **options: int) -> dict[str, Any]:
    """The same weights, permuted: as many effective pairs, but no information about which."""
    eps = _diagnosis(data)["eps"]
    if route == "exact":
        plan = gibbs_log_plan(_costs(data), eps).exp()
        order = torch.as_tensor(rng.permutation(plan.numel()))
        return _flow_exactly(data, plan.flatten()[order].reshape(plan.shape))
    return _trained(data, rng, _Permuted(eps=eps), **options)


@Method.define(role="control")
def sharp(data: Any, rng: np.random.Generator, **options: int) -> dict[str, Any]:
    """ε four times too small."""
    found = _diagnosis(data, 0.25)
    return _trained(data, rng, WeightedConditionalFlowMatcher(eps=found["eps"]), **options) | found


@Method.define()
def pooled(data: Any, rng: np.random.Generator, **options: int) -> dict[str, Any]:
    """The repair: pairs from the entropic plan of a pool, at the ε of the weighting."""
    eps = _diagnosis(data)["eps"]
    return _trained(data, rng, WeightedConditionalFlowMatcher(eps=eps, repair="pool"), **options)


@Method.define(role="baseline")
def minibatch_ot(data: Any, rng: np.random.Generator, *, batch: int, plans: int) -> dict[str, Any]:
    """Exact transport (squared distance) of minibatches, averaged: the coupling that OT-CFM trains on."""
    import ot

    x, y = data["source"], data["target"]
    total = np.zeros((len(x), len(y)))
    for _ in range(math.ceil(plans * 16 / batch)):  # as many pairs, whatever the batch
        i, j = (rng.choice(len(v), batch, replace=False) for v in (x, y))
        total[np.ix_(i, j)] += ot.emd([], [], ot.dist(x[i], y[j]))
    return _flow_exactly(data, torch.as_tensor(total / total.sum()))


@Method.define()
def two_way(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """What is left of log(weighted plan / entropic plan) after row and column effects, at the same ε."""
    return {"residual": _two_way(data, 1.0)}


@Method.define(role="control")
def two_way_other(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """The same against the entropic plan at twice the ε."""
    return {"residual": _two_way(data, 2.0)}


@Method.define()
def norms(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """What a squared-distance weight looks at in 64 dimensions, with and without the gauge repair at equal ESS."""
    x, y = (torch.as_tensor(data[k]) for k in ("source", "target"))
    C, lengths = cost_matrix(x, y, "sq"), (x**2).sum(1)[:, None] + (y**2).sum(1)[None, :]
    plain, gauge = (one_temperature(D, "auto", ESS, 0.0) for D in (C, cost_matrix(x, y, "inner")))
    w = torch.exp((C.min() - C) / plain.eps)
    return {
        "inner_share": float((C - lengths).var() / C.var()),
        "norm_correlation": float(torch.corrcoef(torch.stack([w.flatten(), lengths.flatten()]))[0, 1]),
        "tilt_sq": plain.tilt_target,
        "tilt_gauge": gauge.tilt_target,
    }


def _costs(data: Any) -> Tensor:
    return cost_matrix(torch.as_tensor(data["source"]), torch.as_tensor(data["target"]))


def _diagnosis(data: Any, factor: float = 1.0) -> dict[str, Any]:
    """ε and the tilt that it costs, from a pilot."""
    C = _costs({k: data[k][:PILOT] for k in ("source", "target")})
    found = one_temperature(C, factor * choose_eps(C, ESS), ESS, 0.0)
    return {"eps": found.eps, "ess": found.ess, "tilt_target": found.tilt_target}


def _two_way(data: Any, factor: float) -> float:
    C = _costs(data)
    eps = choose_eps(C, ESS)
    plan = torch.as_tensor(entropic_plan(C.numpy(), factor * eps))
    ratio = gibbs_log_plan(C, eps) - torch.log(plan)
    effects = ratio.mean(1, keepdim=True) + ratio.mean(0, keepdim=True) - ratio.mean()
    return float((ratio - effects).abs().mean())


def _trained(
    data: Any, rng: np.random.Generator, matcher: WeightedConditionalFlowMatcher, *, steps: int, network: int
) -> dict[str, Any]:
    """Train a perceptron and run it from the evaluation's source points."""
    source, target, start = (
        torch.as_tensor(data[k], dtype=torch.float32) for k in ("source", "target", "start")
    )
    torch.manual_seed(int(rng.integers(2**63)))
    net = VelocityMLP(target.shape[1], network)
    train_velocity(net, matcher, target, source, steps=steps, lr=LR, seed=int(rng.integers(2**31)))
    with torch.no_grad():
        return _run(lambda t, z: net(torch.full((len(z),), t), z), start, 100)


def _flow_exactly(data: Any, plan: Tensor) -> dict[str, Any]:
    """The flow of the exact velocity of a coupling of the two clouds."""
    x, y, start = (torch.as_tensor(data[k], dtype=torch.float32) for k in ("source", "target", "start"))
    flow = CoupledClouds(x, y, plan, SIGMA)
    return _run(lambda t, z: flow.velocity(z, t), start, 25)


def _run(velocity: Any, start: Tensor, many: int) -> dict[str, Any]:
    """Ends of few and of many Euler steps, energy and straightness of the latter."""

    def paths(steps: int) -> np.ndarray:
        made = [start]
        for k in range(steps):
            made.append(made[-1] + velocity(k / steps, made[-1]) / steps)
        return torch.stack(made).numpy()

    long = paths(many)
    return {
        "few": paths(FEW)[-1],
        "many": long[-1],
        "energy": path_energy(long),
        "bend": straightness(long),
    }


# Measures ------------------------------------------------------------------------------------------------


@Measure.define(better="lower", gives=("w2_few", "w2_many", "excess", "bend", "floor"))
def transport(output: Any, sample: Sample) -> dict[str, float]:
    """Wasserstein distance at 4 and at many Euler steps beside its floor, relative path energy with its sign, bend."""
    truth = sample.truth
    return {
        "w2_few": wasserstein2(output["few"], truth["target"]),
        "w2_many": wasserstein2(output["many"], truth["target"]),
        "excess": output["energy"] / truth["squared"] - 1,
        "bend": output["bend"],
        "floor": truth["floor"],
    }


@Measure.define(better="none", gives=("ess", "tilt_target"))
def tilt(output: Any, sample: Sample) -> dict[str, float]:
    """Effective sample size and the target's tilt in nats."""
    return {"ess": output["ess"], "tilt_target": output["tilt_target"]}


@Measure.define(better="none", gives=("far", "far_predicted"))
def far(output: Any, sample: Sample) -> dict[str, float]:
    """Share of samples in the far mode, and the closed form for the weighted target (0.5 without weights)."""
    return {
        "far": float(mode_masses(output["many"], sample.truth["centres"])[1]),
        "far_predicted": far_mass(output["eps"]) if "eps" in output else 0.5,
    }


@Measure.define(better="lower")
def residual(output: Any, sample: Sample) -> float:
    """Mean absolute residual of the two-way fit."""
    return output["residual"]


@Measure.define(better="none", gives=("inner_share", "norm_correlation", "tilt_sq", "tilt_gauge"))
def dimension(output: Any, sample: Sample) -> dict[str, float]:
    """As measured."""
    return dict(output)


# The grid ------------------------------------------------------------------------------------------------

PLANE, RING, SPLIT = "8gaussians to moons", "gauss to 8gaussians", "gauss to near_far"


def grids(s: Settings) -> list[Grid]:
    """The cells of the claims."""
    training = {"steps": s.steps, "network": s.network}
    trained = {name: {"route": "trained", **training} for name in ("icfm", "wcfm", "permuted")}
    exact = {name: {"route": "exact"} for name in ("icfm", "wcfm", "permuted")}
    rows, points = {"evaluated": s.evaluated}, {"pair": PLANE, "points": s.cloud}
    return [
        Grid(
            "fresh", ("icfm", "wcfm", "permuted"), ("transport",), s.seeds, world_params={"pair": PLANE, **rows},
            method_params=trained, cost_s=5.0,
        ),
        Grid(
            "fresh", ("icfm",), ("transport",), s.seeds, world_params={"pair": RING, **rows},
            method_params=trained, cost_s=5.0,
        ),
        Grid(
            "fresh", ("wcfm", "sharp"), ("transport", "tilt"), s.seeds, world_params={"pair": RING, **rows},
            method_params={**trained, "sharp": training}, cost_s=5.0,
        ),
        Grid(
            "fresh", ("icfm", "wcfm", "pooled"), ("transport", "far"), s.seeds, world_params={"pair": SPLIT, **rows},
            method_params={**trained, "pooled": training}, cost_s=5.0,
        ),
        Grid(
            "clouds", ("icfm", "wcfm", "permuted"), ("transport",), s.seeds, world_params=points,
            method_params=exact, cost_s=5.0,
        ),
        *(
            Grid(
                "clouds", ("minibatch_ot",), ("transport",), s.seeds, world_params=points,
                method_params={"minibatch_ot": {"batch": batch, "plans": s.plans}}, cost_s=2.0,
            )
            for batch in s.batches
        ),
        Grid("clouds", ("two_way", "two_way_other"), ("residual",), s.seeds, world_params=points, cost_s=0.3),
        Grid(
            "pixels", ("norms",), ("dimension",), s.seeds, vary={"sphere": (False, True)},
            world_params={"points": s.pixels}, cost_s=1.0,
        ),
    ]  # fmt: skip


# The claims ----------------------------------------------------------------------------------------------


def _gain(name: str, method: str, pair: str, route: str) -> str:
    """A method's number less that of plain conditional flow matching, same data."""
    where = f"pair={pair!r}, route={route!r}"
    return f"mean({name}|{method}, {where}) - mean({name}|icfm, {where})"


def _both(name: str) -> str:
    """The larger difference of the two pairs of laws: below zero only where both are."""
    return f"highest({_gain(name, 'wcfm', PLANE, 'trained')}, {_gain(name, 'wcfm', RING, 'trained')})"


def _without_pairing(name: str, route: str, within: float) -> Control:
    return Control(
        f"permuted weights change nothing (within ±{within:g})",
        _gain(name, "permuted", PLANE, route),
        low=-within,
        high=within,
    )


def _sharper(estimand: str, text: str, low: float) -> Control:
    return Control(f"ε four times too small {text}", estimand, low=low)


RATIO = "mean(w2_many|{0}, pair='{1}') / mean(w2_many|icfm, pair='{1}')"
MINIBATCH = "mean(w2_few|{0}, world='clouds') - mean(w2_few|minibatch_ot, batch={1})"
PAPER = "comparable or superior (no figure)"
UNWEIGHTED = f"mean(far|icfm, pair={SPLIT!r})"

claims = (
    Claim(
        "1a", "Shorter paths than plain flow matching on both pairs (relative path energy, difference)",
        _both("excess"), 0.0, _without_pairing("excess", "trained", 0.2), direction="<", paper=PAPER,
        same="same direction only",
    ),
    Claim(
        "1b", "and nearer in 4 Euler steps (W2, difference)", _both("w2_few"), 0.0,
        _without_pairing("w2_few", "trained", 0.15), direction="<", paper=PAPER, same="same direction only",
    ),
    Claim(
        "1c", "With exact velocities too, 8gaussians to moons (relative path energy, difference)",
        _gain("excess", "wcfm", PLANE, "exact"), 0.0, _without_pairing("excess", "exact", 0.2), direction="<",
        paper=PAPER, same="same direction only",
    ),
    Claim(
        "2a", "Where the tilt is small, samples stay as good (W2 at 100 steps over plain, gauss to 8gaussians)",
        RATIO.format("wcfm", RING), 1.15, _sharper(RATIO.format("sharp", RING), "spoils them: at least 1.5", 1.5),
        direction="<", paper=PAPER, same="same direction only",
    ),
    Claim(
        "2b", "and the target's tilt there is small (nats)", f"mean(tilt_target|wcfm, pair={RING!r})", 0.05,
        _sharper(f"mean(tilt_target|sharp, pair={RING!r})", "tilts the target", 0.05), direction="<",
    ),
    Claim(
        "3", "The coupling is entropic transport up to the marginals (residual after row and column effects)",
        "mean(residual|two_way)", 1e-6, Control(
            "against the plan at twice the ε more than 0.1 is left", "mean(residual|two_way_other)", low=0.1
        ), kind="bound", direction="<", paper="recovers entropic transport up to a bias in the marginals",
        same="same quantity",
    ),
    Claim(
        "4", "It beats transport of minibatches of 16 in 4 Euler steps (W2, difference; exact velocities)",
        MINIBATCH.format("wcfm", 16), 0.0, Control(
            "permuted weights do not", MINIBATCH.format("permuted", 16), low=0.0
        ), direction="<", paper="comparable or superior to minibatch transport (no figure)",
        same="same direction only",
    ),
    Claim(
        "5a", "It loses a mode that is far from the source (mass of the far half)", f"mean(far|wcfm, pair={SPLIT!r})",
        0.25, Control("plain flow matching keeps it: 0.45 to 0.55", UNWEIGHTED, low=0.45, high=0.55), direction="<",
        kind="boundary", paper="a bias in the marginals",
    ),
    Claim(
        "5b", "as the closed form says (mass, difference)",
        f"mean(far|wcfm, pair={SPLIT!r}) - mean(far_predicted|wcfm, pair={SPLIT!r})", 0.1, Control(
            "plain flow matching does not follow that form",
            f"{UNWEIGHTED} - mean(far_predicted|wcfm, pair={SPLIT!r})",
            low=0.1,
        ), kind="equivalence",
    ),
    Claim(
        "5c", "and the pool, a repair that is not the paper's, keeps it (mass less one half)",
        f"mean(far|pooled, pair={SPLIT!r}) - 0.5", 0.05, Control(
            "the weights do not", f"mean(far|wcfm, pair={SPLIT!r}) - 0.5", high=-0.05
        ), kind="equivalence",
    ),
    Claim(
        "6", "In 64 dimensions a squared distance weighs norms; the inner product tilts the target less (nats)",
        "mean(tilt_gauge|norms, sphere=False) - mean(tilt_sq|norms, sphere=False)", 0.0, Control(
            "with all norms alike the two are one",
            "mean(tilt_gauge|norms, sphere=True) - mean(tilt_sq|norms, sphere=True)",
            low=-1e-6,
            high=1e-6,
        ), direction="<", kind="boundary",
    ),
)  # fmt: skip


study = Study(
    slug="wcfm",
    module=__name__,
    version=1,
    scales={
        "quick": Settings(seeds=2, steps=60, evaluated=200, cloud=80, batches=(16, 64), plans=100, pixels=300),
        "cpu": Settings(),
        "paper": Settings(seeds=20, steps=20_000, evaluated=4000, cloud=1000, plans=20_000, network=256),
    },
    grids=grids,
    worlds=(fresh, clouds, pixels),
    methods=(icfm, wcfm, permuted, sharp, pooled, minibatch_ot, two_way, two_way_other, norms),
    measures=(transport, tilt, far, residual, dimension),
    claims=claims,
    figures=(
        Figure(
            "quality", "W2 by Euler steps, trained networks; a dot is a seed, a line the floor of fresh samples.",
            draw.quality, "world == 'fresh' and measure in ['w2_few', 'w2_many', 'floor']",
        ),
        Figure(
            "coupling", "Exact velocities, 8gaussians to moons: weighting beside transport of minibatches.",
            draw.coupling, "world == 'clouds' and measure in ['w2_few', 'w2_many', 'excess', 'floor']",
        ),
        Figure(
            "far", "Mass of the far half of the target, true 0.5; a dot is a seed.", draw.far,
            "measure in ['far', 'far_predicted']",
        ),
        Figure(
            "dimension", "Digits of 64 pixels: tilt of the target at equal effective sample size.", draw.dimension,
            "measure in ['tilt_sq', 'tilt_gauge', 'inner_share', 'norm_correlation'] and sphere == False",
        ),
    ),
    root_seed=20261207,
    preload=("numpy", "torch", "ot", "torchdiffeq"),
)  # fmt: skip
