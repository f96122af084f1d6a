"""The study of weighted conditional flow matching: short paths at what price to the marginals? (arXiv:2507.22270)

Three routes of one method. "trained" fits a small network to fresh rows; "exact" takes the velocity that a perfect
network would learn between two clouds, which isolates the weights; "weights" hands back the weights themselves.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from groundshift.generation.wcfm import (
    WeightedConditionalFlowMatcher,
    choose_eps,
    cost_matrix,
    train_velocity,
)
from groundshift.generation.wcfm.diagnosis import one_temperature
from groundshift.lab.claims import Claim, Control
from groundshift.lab.study import Figure, Grid, Measure, Method, Sample, Study, World
from groundshift.measures.transport import mode_masses, path_energy, straightness, wasserstein2
from groundshift.models.flows import VelocityMLP
from groundshift.models.mixture import CoupledClouds
from groundshift.studies.drawing import Panel, chart
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
    cloud: int = 200
    batches: tuple[int, ...] = (16, 64, 128)
    """Of minibatch transport; below the cloud's size."""
    plans: int = 2000
    """Minibatch plans that are averaged."""
    network: int = 64
    pixels: int = 1000
    batch: int = 512
    """Pairs of the batch that is timed."""


# Worlds --------------------------------------------------------------------------------------------------


@World.define(version=2)
def fresh(rng: np.random.Generator, severity: float, *, pair: str, evaluated: int) -> Sample:
    """Two distributions, turned at random, with 20,000 rows each to train on, and rows to evaluate on."""
    source, target = (CLOUDS[name] for name in pair.split(" to "))
    held = target(rng, evaluated)
    rows = source(rng, 20_000), target(rng, 20_000), source(rng, evaluated), target(rng, evaluated)
    x, y, start, again, known, centres = _turned(rng, *(v.points for v in rows), held.points, held.centres)
    return _sample({"source": x, "target": y, "start": start}, known, again, centres)


@World.define(version=2)
def clouds(rng: np.random.Generator, severity: float, *, pair: str, points: int) -> Sample:
    """Two finite clouds, turned at random; paths start and end at their points with the noise of the path."""
    source, target = (CLOUDS[name](rng, points) for name in pair.split(" to "))
    x, y, centres = _turned(rng, source.points, target.points, target.centres)
    start, held, again = (v + SIGMA * rng.standard_normal(v.shape) for v in (x, y, y))
    return _sample({"source": x, "target": y, "start": start}, held, again, centres)


def _turned(rng: np.random.Generator, *clouds: np.ndarray) -> list[np.ndarray]:
    """Points of the plane, all turned by one angle and perhaps mirrored."""
    turn = np.linalg.qr(rng.standard_normal((2, 2)))[0] * rng.choice([-1.0, 1.0], 2)
    return [points @ turn for points in clouds]


def _sample(data: dict[str, np.ndarray], held: np.ndarray, again: np.ndarray, centres: np.ndarray) -> Sample:
    truth = {
        "target": held,
        "centres": centres,
        "squared": wasserstein2(data["start"], held) ** 2,
        "floor": wasserstein2(held, again),
    }
    return Sample(data, truth)


@World.define()
def pixels(rng: np.random.Generator, severity: float, *, points: int, sphere: bool) -> Sample:
    """Normal noise and 64-pixel digits; ``sphere`` gives all rows of each the same norm."""
    source, target = rng.standard_normal((points, 64)), CLOUDS["digits8"](rng, points).points
    if sphere:
        source, target = (8 * v / np.linalg.norm(v, axis=1, keepdims=True) for v in (source, target))
    return Sample({"source": source, "target": target}, None)


@World.define()
def batch(rng: np.random.Generator, severity: float, *, pairs: int) -> Sample:
    """One batch of pairs, eight Gaussians to moons."""
    x, y = _turned(rng, *(CLOUDS[name](rng, pairs).points for name in ("8gaussians", "moons")))
    return Sample({"source": x, "target": y}, None)


# Methods -------------------------------------------------------------------------------------------------


@Method.define(role="baseline")
def icfm(data: Any, rng: np.random.Generator, *, route: str, **training: int) -> dict[str, Any]:
    """Plain conditional flow matching: independent pairs."""
    return _answer(data, rng, WeightedConditionalFlowMatcher(coupling="independent"), route, **training)


@Method.define(version=2)
def wcfm(
    data: Any,
    rng: np.random.Generator,
    *,
    route: str,
    repair: str = "none",
    factor: float = 1.0,
    **training: int,
) -> dict[str, Any]:
    """Weighted pairs, distance as cost, ε for an effective sample size of 0.7 times a factor."""
    diagnosis = _diagnosis(data, factor)
    chosen: Any = None if repair == "none" else repair
    matcher = WeightedConditionalFlowMatcher(eps=diagnosis["eps"], repair=chosen)
    return _answer(data, rng, matcher, route, **training) | diagnosis


class _Permuted(WeightedConditionalFlowMatcher):
    """Weights that belong to other pairs of the batch."""

    def _gibbs_weights(self, x0: Tensor, x1: Tensor) -> Tensor | None:
        weights = super()._gibbs_weights(x0, x1)
        assert weights is not None
        return weights[torch.randperm(len(weights), generator=self.generator)]


@Method.define(role="control", of=wcfm, version=2)
def permuted(data: Any, rng: np.random.Generator, *, route: str, **training: int) -> dict[str, Any]:
    """The same weights, permuted: as many effective pairs, but no information about which."""
    diagnosis = _diagnosis(data)
    return _answer(data, rng, _Permuted(eps=diagnosis["eps"]), route, **training) | diagnosis


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
def norms(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """What a squared-distance weight looks at in 64 dimensions, with and without the gauge repair at equal ESS."""
    x, y = (torch.as_tensor(data[k]) for k in ("source", "target"))
    C, lengths = cost_matrix(x, y, "sq"), (x**2).sum(1)[:, None] + (y**2).sum(1)[None, :]
    plain = one_temperature(C, "auto", ESS, 0.0)
    w = torch.exp((C.min() - C) / plain.eps)
    return {
        "inner_share": float((C - lengths).var() / C.var()),
        "norm_correlation": float(torch.corrcoef(torch.stack([w.flatten(), lengths.flatten()]))[0, 1]),
        "tilt_sq": plain.tilt_target,
        "tilt_gauge": _gauge_tilt(data, 1.0, ESS),
    }


def _gauge_tilt(data: Any, sign: float, ess: float) -> float:
    x, y = (torch.as_tensor(data[k]) for k in ("source", "target"))
    return one_temperature(sign * cost_matrix(x, y, "inner"), "auto", ess, 0.0).tilt_target


@Method.define()
def drawing_time(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Whether a weighted batch is drawn in a tenth of the time that exact transport of the batch takes."""
    return _tenfold(data, WeightedConditionalFlowMatcher(eps=1.0))


def _tenfold(data: Any, matcher: WeightedConditionalFlowMatcher) -> dict[str, Any]:
    # Seconds would differ from run to run, and the digests of the cells with them; the answer does not.
    x, y = (torch.as_tensor(data[k]) for k in ("source", "target"))

    def seconds(drawn_by: WeightedConditionalFlowMatcher) -> float:
        taken = []
        for _ in range(3):
            start = time.perf_counter()
            drawn_by.sample_location_and_conditional_flow(x, y)
            drawn_by.weights  # noqa: B018 (read, or the matcher warns)
            taken.append(time.perf_counter() - start)
        return min(taken)

    return {"tenfold": seconds(matcher) < 0.1 * seconds(WeightedConditionalFlowMatcher(coupling="ot"))}


def _diagnosis(data: Any, factor: float = 1.0) -> dict[str, Any]:
    """ε and the tilt that it costs, from a pilot."""
    x, y = (torch.as_tensor(data[k][:PILOT]) for k in ("source", "target"))
    C = cost_matrix(x, y)
    temperature = one_temperature(C, factor * choose_eps(C, ESS), ESS, 0.0)
    return {"eps": temperature.eps, "ess": temperature.ess, "tilt_target": temperature.tilt_target}


def _answer(
    data: Any, rng: np.random.Generator, matcher: WeightedConditionalFlowMatcher, route: str, **training: int
) -> dict[str, Any]:
    """The weights of all pairs, the flow of these pairs, or that of a network trained on the batches of a matcher."""
    matcher.generator = torch.Generator().manual_seed(int(rng.integers(2**63)))
    if route == "trained":
        return _trained(data, rng, matcher, **training)
    x, y = (torch.as_tensor(data[k]) for k in ("source", "target"))
    i, j = torch.cartesian_prod(torch.arange(len(x)), torch.arange(len(y))).T
    matcher.sample_location_and_conditional_flow(x[i], y[j])
    plan = (matcher.weights / matcher.weights.sum()).reshape(len(x), len(y))
    return {"weights": plan.numpy()} if route == "weights" else _flow_exactly(data, plan)


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
        points = [start]
        for k in range(steps):
            points.append(points[-1] + velocity(k / steps, points[-1]) / steps)
        return torch.stack(points).numpy()

    long = paths(many)
    return {
        "few": paths(FEW)[-1],
        "many": long[-1],
        "energy": path_energy(long),
        "bend": straightness(long),
    }


# Mutants -------------------------------------------------------------------------------------------------


@Method.define(role="mutant", of=wcfm)
def never_moves(data: Any, rng: np.random.Generator, *, route: str, **options: Any) -> dict[str, Any]:
    """A velocity of zero: every path is as short as can be, and none arrives."""
    if route == "weights":
        return {"weights": np.ones((len(data["source"]), len(data["target"])))}
    start = torch.as_tensor(data["start"], dtype=torch.float32)
    return _run(lambda t, z: torch.zeros_like(z), start, 25) | _diagnosis(data)


@Method.define(role="mutant", of=wcfm)
def uniform_weights(data: Any, rng: np.random.Generator, *, route: str, **options: Any) -> dict[str, Any]:
    """All pairs weigh the same: plain flow matching."""
    return {
        **icfm.run(data, rng, route=route, **_training(options)),
        "eps": math.inf,
        "ess": 1.0,
        "tilt_target": 0.0,
    }


@Method.define(role="mutant", of=wcfm)
def random_costs(data: Any, rng: np.random.Generator, *, route: str, **options: Any) -> dict[str, Any]:
    """The costs are those of other pairs."""
    return dict(permuted.run(data, rng, route=route, **_training(options)))


class _Wrong(WeightedConditionalFlowMatcher):
    """exp(+c/ε)."""

    def _gibbs_weights(self, x0: Tensor, x1: Tensor) -> Tensor | None:
        weights = super()._gibbs_weights(x0, x1)
        assert weights is not None
        return weights.reciprocal() / weights.reciprocal().mean()


@Method.define(role="mutant", of=wcfm)
def wrong_sign(data: Any, rng: np.random.Generator, *, route: str, **options: Any) -> dict[str, Any]:
    """Dear pairs weigh more than cheap ones."""
    diagnosis = _diagnosis(data)
    return _answer(data, rng, _Wrong(eps=diagnosis["eps"]), route, **_training(options)) | diagnosis


@Method.define(role="mutant", of=wcfm)
def too_sharp(data: Any, rng: np.random.Generator, *, route: str, **options: Any) -> dict[str, Any]:
    """ε is four times too small."""
    return dict(wcfm.run(data, rng, route=route, factor=0.25 * options["factor"], **_training(options)))


def _training(options: dict[str, Any]) -> dict[str, int]:
    """What a mutant takes of the options: none of them knows a repair."""
    return {name: options[name] for name in ("steps", "network") if name in options}


@Method.define(role="mutant", of=norms)
def no_gauge(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """The repair leaves the cost as it is."""
    answer = norms.run(data, rng)
    return {**answer, "tilt_gauge": answer["tilt_sq"]}


@Method.define(role="mutant", of=norms)
def gauge_of_wrong_sign(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """The repair takes +2⟨x, y⟩ for the cost."""
    return {**norms.run(data, rng), "tilt_gauge": _gauge_tilt(data, -1.0, ESS)}


@Method.define(role="mutant", of=norms)
def gauge_at_other_size(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """The repair is given a larger effective sample size than what it is compared with."""
    return {**norms.run(data, rng), "tilt_gauge": _gauge_tilt(data, 1.0, 0.9)}


@Method.define(role="mutant", of=drawing_time)
def solves_transport(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Solves the transport that the weights are to replace."""
    return _tenfold(data, WeightedConditionalFlowMatcher(coupling="ot"))


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
        "far_predicted": far_mass(output["eps"]) if math.isfinite(output.get("eps", math.inf)) else 0.5,
    }


@Measure.define(better="lower", version=2)
def residual(output: Any, sample: Sample) -> float:
    """Mean |log(weights / entropic plan)| after row and column effects; cost, ε and plan are SciPy's and POT's."""
    import ot
    from scipy.optimize import brentq
    from scipy.spatial.distance import cdist

    C = cdist(sample.data["source"], sample.data["target"])

    def beyond(log_eps: float) -> float:
        w = np.exp((C.min() - C) / np.exp(log_eps))
        return w.mean() ** 2 / (w**2).mean() - ESS

    eps = np.exp(brentq(beyond, np.log(C.std()) - 3, np.log(C.std()) + 6))
    plan = ot.sinkhorn([], [], C, eps, warn=False)
    ratio = np.log(output["weights"]) - np.log(plan)
    effects = ratio.mean(1, keepdims=True) + ratio.mean(0, keepdims=True) - ratio.mean()
    return float(np.abs(ratio - effects).mean())


@Measure.define(better="none", gives=("inner_share", "norm_correlation", "tilt_sq", "tilt_gauge"))
def dimension(output: Any, sample: Sample) -> dict[str, float]:
    """As measured."""
    return dict(output)


@Measure.define()
def tenfold(output: Any, sample: Sample) -> float:
    """Whether the batch was drawn in less than a tenth of the time of exact transport."""
    return float(output["tenfold"])


# The grid ------------------------------------------------------------------------------------------------

PLANE, RING, SPLIT = "8gaussians to moons", "gauss to 8gaussians", "gauss to near_far"
TRIO = ("icfm", "wcfm", "permuted")
SHARP = 0.25


def grids(s: Settings) -> list[Grid]:
    """The cells of the claims."""
    rows, points = {"evaluated": s.evaluated}, {"points": s.cloud}

    def on(world: str, methods: tuple[str, ...], measures: tuple[str, ...], pairs: tuple[str, ...], route: str,
           cost: float, **options: Any) -> Grid:  # fmt: skip
        training = {"steps": s.steps, "network": s.network} if route == "trained" else {}
        own = {"repair": "none", "factor": 1.0, **options}
        params = {name: {"route": route, **training, **(own if name == "wcfm" else {})} for name in methods}
        return Grid(
            world, methods, measures, s.seeds, vary={"pair": pairs},
            world_params=rows if world == "fresh" else points, method_params=params, cost_s=cost,
        )  # fmt: skip

    flat = (PLANE, RING)
    return [
        on("fresh", ("icfm", "permuted"), ("transport",), flat, "trained", 2.5),
        on("fresh", ("wcfm",), ("transport", "tilt"), flat, "trained", 2.5),
        on("fresh", ("wcfm",), ("transport", "tilt"), (RING,), "trained", 2.5, factor=SHARP),
        on("fresh", TRIO, ("transport", "far"), (SPLIT,), "trained", 2.5),
        on("fresh", ("wcfm",), ("transport", "far"), (SPLIT,), "trained", 3.0, repair="pool"),
        on("clouds", TRIO, ("transport",), flat, "exact", 1.2),
        on("clouds", ("wcfm",), ("transport",), (RING,), "exact", 1.2, factor=SHARP),
        *(
            Grid(
                "clouds", ("minibatch_ot",), ("transport",), s.seeds, world_params={**points, "pair": PLANE},
                method_params={"minibatch_ot": {"batch": batch, "plans": s.plans}}, cost_s=1.0,
            )
            for batch in s.batches
        ),
        *(on("clouds", ("wcfm",), ("residual",), (PLANE,), "weights", 0.3, factor=f) for f in (1.0, 2.0)),
        Grid(
            "pixels", ("norms",), ("dimension",), s.seeds, vary={"sphere": (False, True)},
            world_params={"points": s.pixels}, cost_s=1.0,
        ),
        Grid("batch", ("drawing_time",), ("tenfold",), s.seeds, vary={"pairs": (8, s.batch)}, cost_s=1.0),
    ]  # fmt: skip


# The claims ----------------------------------------------------------------------------------------------


def _of(name: str, method: str, pair: str, route: str = "trained", **where: Any) -> str:
    """A number of a method on one pair; of the weighted one as the paper has it, if nothing else is said."""
    usual = {"repair": "none", "factor": 1.0} if method == "wcfm" else {}
    where = {"pair": pair, "route": route, **usual, **where}
    return f"mean({name}|{method}, " + ", ".join(f"{k}={v!r}" for k, v in where.items()) + ")"


def _detour(method: str, route: str) -> str:
    """How much farther its path energy lies from transport's than that of plain flow, the larger of both pairs."""
    pairs = (
        f"abs({_of('excess', method, p, route)}) - abs({_of('excess', 'icfm', p, route)})"
        for p in (PLANE, RING)
    )
    return f"highest({', '.join(pairs)})"


def _farther(method: str) -> str:
    """W2 in 4 steps minus that of plain flow, the larger of both pairs."""
    pairs = (f"{_of('w2_few', method, p)} - {_of('w2_few', 'icfm', p)}" for p in (PLANE, RING))
    return f"highest({', '.join(pairs)})"


def _ratio(pair: str, route: str, **where: Any) -> str:
    """W2 at many steps over that of plain flow."""
    return f"{_of('w2_many', 'wcfm', pair, route, **where)} / {_of('w2_many', 'icfm', pair, route)}"


def _both(route: str) -> str:
    return f"highest({_ratio(PLANE, route)}, {_ratio(RING, route)})"


def _spoilt(route: str, low: float) -> Control:
    return Control(
        f"ε four times too small spoils them: at least {low:g} (gauss to 8gaussians)",
        _ratio(RING, route, factor=SHARP), low=low, rule="mean",
    )  # fmt: skip


def _residual(factor: float) -> str:
    return f"mean(residual|wcfm, route='weights', factor={factor})"


def _over_minibatch(method: str) -> str:
    """W2 in 4 steps minus that of transport of minibatches of 16."""
    return f"{_of('w2_few', method, PLANE, 'exact')} - mean(w2_few|minibatch_ot, batch=16)"


BATCH = Settings().batch
PAPER = "comparable or superior (no figure)"
PERMUTED_FAR = _of("far", "permuted", SPLIT)
FAR = _of("far", "wcfm", SPLIT)


def _shorter(route: str, band: float) -> Control:
    return Control(
        f"permuted weights do not shorten them: -{band:g} or more",
        _detour("permuted", route),
        low=-band,
        rule="mean",
    )


claims = (
    Claim(
        "1a", "Paths nearer to transport's than plain flow matching's on both pairs (distance of the path energy from "
        "transport's, relative, difference, the larger)", _detour("wcfm", "trained"), 0.0, _shorter("trained", 0.05),
        direction="<", paper=PAPER, same="same direction only", version=2,
    ),
    Claim(
        "1b", "and nearer in 4 Euler steps (W2, difference, the larger of both pairs)", _farther("wcfm"), 0.0, Control(
            "permuted weights are not: -0.05 or more", _farther("permuted"), low=-0.05, rule="mean"
        ), direction="<", paper=PAPER, same="same direction only", version=2,
    ),
    Claim(
        "1c", "With exact velocities too (as 1a)", _detour("wcfm", "exact"), 0.0, _shorter("exact", 0.05),
        direction="<", paper=PAPER, same="same direction only", version=2,
    ),
    Claim(
        "2a", "Where the target's tilt is small, samples stay as good (W2 at 100 steps over plain's, the larger of the "
        "two pairs)", _both("trained"), 1.1, _spoilt("trained", 1.5), direction="<", paper=PAPER,
        same="same direction only", version=2,
    ),
    Claim(
        "2b", "and that tilt is small (nats, the larger of both pairs)",
        f"highest({_of('tilt_target', 'wcfm', PLANE)}, {_of('tilt_target', 'wcfm', RING)})", 0.05, Control(
            "ε four times too small tilts the target", _of("tilt_target", "wcfm", RING, factor=SHARP), low=0.05
        ), direction="<", version=2,
    ),
    Claim(
        "2c", "With exact velocities too (as 2a, at 25 steps)", _both("exact"), 1.1, _spoilt("exact", 2.0),
        direction="<", paper=PAPER, same="same direction only",
    ),
    Claim(
        "3", "The weights are entropic transport up to the marginals (mean residual in the logarithm after row and "
        "column effects)", _residual(1.0), 1e-6, Control(
            "at twice the ε more than 0.1 is left", _residual(2.0), low=0.1
        ), kind="bound", direction="<", paper="recovers entropic transport up to a bias in the marginals",
        same="same quantity", version=2,
    ),
    Claim(
        "4", "It beats transport of minibatches of 16 in 4 Euler steps (W2, difference; exact velocities)",
        _over_minibatch("wcfm"), 0.0, Control("permuted weights do not", _over_minibatch("permuted"), low=0.0),
        direction="<", paper="comparable or superior to minibatch transport (no figure)", same="same direction only",
        version=2,
    ),
    Claim(
        "4b", "and takes less than a tenth of the time to draw a batch of 512 pairs (in every seed)",
        f"mean(tenfold|drawing_time, pairs={BATCH})", 0.5, Control(
            "of 8 pairs it does not", "mean(tenfold|drawing_time, pairs=8)", high=0.5, rule="every"
        ), kind="bound", paper="at the cost of plain flow matching",
    ),
    Claim(
        "5a", "It loses a mode that is far from the source (mass of the far half)", FAR, 0.25, Control(
            "with permuted weights it is kept: 0.4 to 0.6", PERMUTED_FAR, low=0.4, high=0.6, rule="mean"
        ), direction="<", kind="boundary", paper="a bias in the marginals", version=2,
    ),
    Claim(
        "5b", "as the closed form says (mass, difference)", f"{FAR} - {_of('far_predicted', 'wcfm', SPLIT)}", 0.1,
        Control(
            "with permuted weights it does not follow that form",
            f"{PERMUTED_FAR} - {_of('far_predicted', 'permuted', SPLIT)}", low=0.1,
        ), kind="equivalence", version=2,
    ),
    Claim(
        "5c", "and the pool, a repair that is not the paper's, keeps it (mass minus one half)",
        f"{_of('far', 'wcfm', SPLIT, repair='pool')} - 0.5", 0.05, Control(
            "without it the mode is lost", f"{FAR} - 0.5", high=-0.05
        ), kind="equivalence", version=2,
    ),
    Claim(
        "6", "In 64 dimensions a squared distance weighs norms; the inner product tilts the target less (nats)",
        "mean(tilt_gauge|norms, sphere=False) - mean(tilt_sq|norms, sphere=False)", 0.0, Control(
            "with all norms alike the two are one",
            "mean(tilt_gauge|norms, sphere=True) - mean(tilt_sq|norms, sphere=True)", low=-1e-6, high=1e-6,
        ), direction="<", kind="boundary",
    ),
)  # fmt: skip


METHODS = {
    "icfm": "plain",
    "wcfm": "weighted",
    "permuted": "permuted weights",
    "minibatch_ot": "minibatch transport",
}


def _quality(pair: str, y_label: str = "") -> Panel:
    return Panel(
        pair.replace(" to ", " → "), "measure", y_label=y_label, rows=f"pair == {pair!r}", names=METHODS
        | {"w2_few": "4 steps", "w2_many": "100 steps", "floor": "floor"},
    )  # fmt: skip


study = Study(
    slug="wcfm",
    module=__name__,
    version=2,
    scales={
        "quick": Settings(
            seeds=1, steps=40, evaluated=120, cloud=48, batches=(16, 32), plans=100, pixels=300
        ),
        "cpu": Settings(),
        "paper": Settings(seeds=20, steps=20_000, evaluated=4000, cloud=1000, plans=20_000, network=256),
    },
    grids=grids,
    worlds=(fresh, clouds, pixels, batch),
    methods=(
        icfm, wcfm, permuted, minibatch_ot, norms, drawing_time, never_moves, uniform_weights, random_costs, wrong_sign,
        too_sharp, no_gauge, gauge_of_wrong_sign, gauge_at_other_size, solves_transport,
    ),
    measures=(transport, tilt, far, residual, dimension, tenfold),
    claims=claims,
    figures=(
        Figure(
            "quality", "W2 by Euler steps, trained networks, beside the floor of fresh samples; a dot is a seed.",
            chart(
                "Fewer steps are enough; a far mode is not reached", _quality(PLANE, "W2"), _quality(RING),
                _quality(SPLIT), width=11.0,
            ),
            "world == 'fresh' and measure in ['w2_few', 'w2_many', 'floor'] and "
            "(method != 'wcfm' or (repair == 'none' and factor == 1))",
        ),
        Figure(
            "coupling", "Exact velocities, 8gaussians to moons: weighting beside transport of minibatches of 16.",
            chart(
                "Weighting beside transport of minibatches, without a network",
                Panel("", "measure", rows="measure != 'excess'", y_label="W2", names=_quality(PLANE).names),
                Panel(
                    "", "method", rows="measure == 'excess'", y_label="path energy over transport's, less 1",
                    names=METHODS, level=0,
                ),
            ),
            f"world == 'clouds' and pair == {PLANE!r} and measure in ['w2_few', 'w2_many', 'excess'] and "
            "(method != 'minibatch_ot' or batch == 16)",
        ),
        Figure(
            "far", "Mass of the far half of the target, true 0.5; a dot is a seed.",
            chart(
                "What the weighting sacrifices: the half that is far from the source",
                Panel(
                    "", "measure", "repair", y_label="share of samples in the far mode", level=0.5,
                    names={"none": "weighted", "pool": "pool (repair)", "far": "samples", "far_predicted":
                           "closed form, weighted"},
                ), width=6.0,
            ), "measure in ['far', 'far_predicted'] and method == 'wcfm'",
        ),
        Figure(
            "dimension", "Digits of 64 pixels: tilt of the target at equal effective sample size.",
            chart(
                "In 64 dimensions a squared distance weighs norms",
                Panel(
                    "", "measure", "measure", rows="measure in ['tilt_sq', 'tilt_gauge']",
                    y_label="tilt of the target, nats",
                    names={"tilt_sq": "squared distance", "tilt_gauge": "inner product (repair)"},
                ),
                Panel(
                    "", "measure", "measure", rows="measure in ['inner_share', 'norm_correlation']", level=0,
                    names={"inner_share": "share of the cost's_variance from ⟨x, y⟩",
                           "norm_correlation": "correlation of_weight and norms"},
                ),
            ), "measure in ['tilt_sq', 'tilt_gauge', 'inner_share', 'norm_correlation'] and sphere == False",
        ),
    ),
    root_seed=20261130,
    preload=("numpy", "torch", "ot", "torchdiffeq"),
)  # fmt: skip
