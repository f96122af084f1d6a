"""The study of adaptively weighted consistency (arXiv:2210.01891).

Bags of pixels and small volumes, most samples of which hold nearly no foreground, and a convex problem for what the
paper proves. Plain training on two views is among the rivals: it decides whether the weighting is what helps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.stats import linregress
from sklearn.metrics import roc_auc_score

from groundshift.lab.claims import Claim, Control
from groundshift.lab.study import Figure, Grid, Measure, Method, Sample, Study, World
from groundshift.studies.adawac_runs import (
    LENGTHS,
    Gain,
    RuledLoss,
    convex_problem,
    descend,
    train_bags,
    train_volumes,
)
from groundshift.studies.drawing import Panel, chart
from groundshift.worlds import starved_masks as world


@dataclass(frozen=True)
class Settings:
    """What the dial sets."""

    seeds: int = 8
    few: int = 5  # where the augmentation is strong, and where labels are erased
    steps: int = 400  # of the networks on bags
    width: int = 128
    volume_steps: int = 120
    tests: int = 20  # volumes
    longest: int = 4  # lengths of the convex descent, of `LENGTHS`


# Three worlds ------------------------------------------------------------------------------------------------


@World.define()
def bags(
    rng: np.random.Generator, severity: float, *, amp: float, erased: float, steps: int, width: int
) -> Sample:
    """16 bags rich in foreground and 48 poor ones; of some rich ones the labels are erased."""
    draw = world.bags_domain(rng)
    train, test = draw(16, 48, erased), draw(150, 450)
    data = {"part": "bags", "train": train, "test": test.x, "amp": amp, "steps": steps, "width": width}
    return Sample(data, {"dense": train.dense, "erased": train.erased, "y": test.y})


@World.define()
def volumes(rng: np.random.Generator, severity: float, *, steps: int, tests: int) -> Sample:
    """Six volumes of 16 slices, a third of which show an organ."""
    train, test = world.volumes(rng, 6), world.volumes(rng, tests)
    return Sample(
        {"part": "volumes", "train": train, "test": test.x, "steps": steps},
        {"dense": train.dense, "y": test.y},
    )


@World.define()
def convex(rng: np.random.Generator, severity: float, *, longest: int) -> Sample:
    """A problem whose losses are convex, with the least value of its objective by SciPy."""
    problem = convex_problem(rng)
    return Sample({"part": "convex", "problem": problem, "lengths": LENGTHS[:longest]}, problem.direct())


# The method and its rivals -----------------------------------------------------------------------------------


def _published(ce: Any, ac: Any) -> Any:
    return ce - ac


def _run(
    data: Any,
    rng: np.random.Generator,
    mode: str = "adawac",
    rule: Gain = _published,
    strength: float = 1.0,
    eta: float = 1.0,
) -> dict[str, Any]:
    if data["part"] == "convex":
        return _descent(data, rng, rule, strength)
    train, seed = data["train"], int(rng.integers(2**31))
    loss = RuledLoss(len(train.x), rule, strength, mode=mode, eta=eta)
    if data["part"] == "bags":
        how = {name: data[name] for name in ("amp", "steps", "width")}
        predicted = train_bags(train, data["test"], loss, **how, seed=seed)
    else:
        predicted = train_volumes(train, data["test"], loss, steps=data["steps"], seed=seed)
    # Where no weights are learnt the cross-entropy at the last visit is what ranks samples.
    order = loss.log_odds if mode == "adawac" else loss.ce.nan_to_num(0.0)
    return {"predicted": predicted, "order": order.numpy(), "beta": loss.beta.numpy()}  # fmt: skip


def _descent(
    data: Any,
    rng: np.random.Generator,
    rule: Gain = _published,
    strength: float = 1.0,
    *,
    decay: bool = True,
    fixed: tuple[float, ...] = (),
) -> dict[str, Any]:
    """The duality gap by length for two steps of the weights, its slope, and the objective at the end."""
    problem, gaps, worst = data["problem"], [], []
    for length in data["lengths"]:
        over = np.sqrt(length) if decay else 1.0
        sizes = [(0.8 * 6 / over, 8 * c * np.sqrt(problem.n) / over) for c in (1, 4)]

        def ruled(ce: Any, ac: Any) -> Any:
            return rule(ce, strength * ac)

        w, beta = descend(problem, length, sizes, ruled, rng, np.array(fixed * 2) if fixed else None)
        worst = [problem.worst(v) for v in w]
        gaps.append([value - problem.best(b) for value, b in zip(worst, beta, strict=True)])
    slopes = [
        linregress(np.log(data["lengths"]), np.log(np.maximum(g, 1e-9))).slope if len(g) > 1 else np.nan
        for g in np.array(gaps).T
    ]
    return {"slope": float(np.mean(slopes)), "worst": float(np.mean(worst))}


@Method.define()
def adawac(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """The method, with λ chosen after the warm-up and η = 1."""
    return _run(data, rng)


@Method.define(role="baseline")
def erm(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Plain training on one augmented view."""
    return _run(data, rng, "erm")


@Method.define(role="baseline")
def pair(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Plain training on two augmented views."""
    return _run(data, rng, "pair")


@Method.define(role="baseline")
def acr_only(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Supervised loss and consistency with equal weights everywhere."""
    return _run(data, rng, "acr_only")


@Method.define(role="control", of=adawac)
def frozen(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """The method with η = 0."""
    return _run(data, rng, eta=0.0)


@adawac.tampered()
def permuted(data: Any, rng: np.random.Generator) -> Any:
    """Masks are exchanged between the samples of the training set."""
    train = data["train"]
    return {**data, "train": replace(train, y=train.y[rng.permutation(len(train.y))])}


@Method.define(role="control", of=adawac)
def constant_steps(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Step sizes that do not fall with the number of steps."""
    return _descent(data, rng, decay=False)


@Method.define(role="control", of=adawac)
def all_supervised(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """The descent with every weight held at 1."""
    return _descent({**data, "lengths": data["lengths"][-1:]}, rng, fixed=(1.0,))


@Method.define(role="control", of=adawac)
def all_half(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """The descent with every weight held at ½."""
    return _descent({**data, "lengths": data["lengths"][-1:]}, rng, fixed=(0.5,))


@Method.define(role="mutant", of=adawac)
def wrong_sign(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Lowers the weight where the supervised loss is the larger one."""
    return _run(data, rng, rule=lambda ce, ac: ac - ce)


@Method.define(role="mutant", of=adawac)
def always_up(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Raises every weight at every visit, whatever the losses."""
    return _run(data, rng, rule=lambda ce, ac: 0 * ce + 1.0)


@Method.define(role="mutant", of=adawac)
def indifferent(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Leaves every weight at ½."""
    return _run(data, rng, rule=lambda ce, ac: 0 * ce)


@Method.define(role="mutant", of=adawac)
def too_strong(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Takes ten times the automatic strength of the consistency."""
    return _run(data, rng, strength=10.0)


# Measures ------------------------------------------------------------------------------------------------------


@Measure.define()
def dice(output: Mapping[str, Any], sample: Sample) -> float:
    """Dice of all test samples together, mean over the two foreground classes."""
    p, y = output["predicted"], sample.truth["y"]
    return float(
        np.mean([2 * ((p == c) & (y == c)).sum() / max((p == c).sum() + (y == c).sum(), 1) for c in (1, 2)])
    )


@Measure.define()
def auroc(output: Mapping[str, Any], sample: Sample) -> float:
    """How well the weights tell dense samples from sparse ones."""
    return float(roc_auc_score(sample.truth["dense"], output["order"]))


@Measure.define(by={"group": ("dense", "sparse")})
def beta(output: Mapping[str, Any], sample: Sample) -> list[dict[str, Any]]:
    """Mean weight of dense and of sparse samples."""
    dense = sample.truth["dense"]
    return [{"group": group, "beta": float(output["beta"][rows].mean())}
            for group, rows in (("dense", dense), ("sparse", ~dense))]  # fmt: skip


@Measure.define(by={"group": ("erased", "sparse")})
def beta_erased(output: Mapping[str, Any], sample: Sample) -> list[dict[str, Any]]:
    """Mean weight of dense samples whose labels were erased, and of sparse ones."""
    groups = (("erased", sample.truth["erased"]), ("sparse", ~sample.truth["dense"]))
    return [{"group": group, "beta_erased": float(output["beta"][rows].mean())} for group, rows in groups]


@Measure.define(better="lower")
def excess(output: Mapping[str, Any], sample: Sample) -> float:
    """By what share the objective lies above its least value."""
    return float(output["worst"] / sample.truth - 1)


@Measure.define(better="lower")
def slope(output: Mapping[str, Any], sample: Sample) -> float:
    """Slope of the logarithm of the duality gap over that of the length."""
    return float(output["slope"])


# Claims --------------------------------------------------------------------------------------------------------


def _bags(
    measure: str, method: str = "adawac", amp: float = 0.7, erased: float = 0.0, group: str = ""
) -> str:
    of = f", group={group!r}" if group else ""
    return f"mean({measure}|{method}, world='bags', amp={amp}, erased={erased}{of})"


def _volumes(measure: str, method: str = "adawac") -> str:
    return f"mean({measure}|{method}, world='volumes')"


def _mean(text: str, estimand: str, low: float = -np.inf, high: float = np.inf) -> Control:
    return Control(text, estimand, low, high, "mean")


def _ranks(of: Any, high: float) -> Control:
    words = f"not with masks exchanged between samples (0.35 to {high})"
    return _mean(words, of("auroc", "permuted"), 0.35, high)


def _gains(of: Any, rival: str) -> Control:
    return _mean("nothing is gained with masks exchanged between samples (at most 0)",
                 f"{of('dice', 'permuted')} - {of('dice', rival)}", high=0.0)  # fmt: skip


CONVERGES: dict[str, Any] = {"paper": "O(1/√T) for convex losses", "same": "same quantity"}
BETTER: dict[str, Any] = {
    "paper": "better Dice than plain training with TransUNet and UNet",
    "same": "same direction only",
}
claims = (
    Claim("1a", "Weights tell samples rich in foreground from poor ones (AUROC of the log-odds, bags)", _bags("auroc"),
          0.8, _ranks(_bags, 0.65), paper="separated at the saddle point", same="same direction only"),
    Claim("1b", "and those of rich samples are near 1 (mean)", _bags("beta", group="dense"), 0.95,
          _mean("those of poor samples are not (at most 0.95)", _bags("beta", group="sparse"), high=0.95),
          paper="1 at the saddle point", same="same direction only"),
    Claim("1c", "They tell them apart in volumes (AUROC)", _volumes("auroc"), 0.8, _ranks(_volumes, 0.75),
          paper="separated at the saddle point", same="same direction only"),
    Claim("1d", "and better than the cross-entropy of plain training does (bags, difference of AUROC)",
          f"{_bags('auroc')} - {_bags('auroc', 'pair')}", 0.0,
          _mean("with masks exchanged they rank worse than it (at most 0)",
                f"{_bags('auroc', 'permuted')} - {_bags('auroc', 'pair')}", high=0.0)),
    Claim("2", "It minimises the mean of max(CE, AC) (share above the least value, convex, 2¹⁴ steps)",
          "mean(excess|adawac)", 0.05,
          _mean("not with every weight at 1 (at least 0.15)", "mean(excess|all_supervised)", low=0.15), direction="<",
          **CONVERGES),
    Claim("3", "The duality gap falls like T^-½ (slope of its logarithm plus 0.6, within ±0.2)",
          "mean(slope|adawac) + 0.6", 0.2,
          _mean("not with step sizes that do not fall (slope at least -0.2)", "mean(slope|constant_steps)", low=-0.2),
          kind="equivalence", **CONVERGES),
    Claim("4a", "It is better than plain training on one view (Dice, bags)",
          f"{_bags('dice')} - {_bags('dice', 'erm')}", 0.0, _gains(_bags, "erm"), **BETTER),
    Claim("4b", "and than plain training on two views (bags)", f"{_bags('dice')} - {_bags('dice', 'pair')}", 0.0,
          _gains(_bags, "pair")),
    Claim("4c", "It is better than plain training on one view (Dice, volumes)",
          f"{_volumes('dice')} - {_volumes('dice', 'erm')}", 0.0, _gains(_volumes, "erm"), **BETTER),
    Claim("4d", "and than plain training on two views (volumes)", f"{_volumes('dice')} - {_volumes('dice', 'pair')}",
          0.0, _gains(_volumes, "pair")),
    Claim("5", "Weights matter: better than equal weights where augmentation is strong (Dice, bags)",
          f"{_bags('dice', amp=1.5)} - {_bags('dice', 'acr_only', amp=1.5)}", 0.05,
          _mean("without steps of the weights there is no difference (within ±0.001)",
                f"{_bags('dice', 'frozen', 1.5)} - {_bags('dice', 'acr_only', 1.5)}", -0.001, 0.001),
          paper="ablation without reweighting is worse", same="same direction only"),
    Claim("6a", "Boundary: rich samples without annotation keep their weight (mean, labels of 30 % erased)",
          _bags("beta_erased", erased=0.3, group="erased"), 0.9,
          _mean("poor ones do not (at most 0.9)", _bags("beta_erased", erased=0.3, group="sparse"), high=0.9)),
    Claim("6b", "so that it is no better than two views there (Dice)",
          f"{_bags('dice', erased=0.3)} - {_bags('dice', 'pair', erased=0.3)}", 0.02,
          _mean("all labels are better by at least 0.02",
                f"{_bags('dice', 'pair')} - {_bags('dice', 'pair', erased=0.3)}", low=0.02), direction="<"),
)  # fmt: skip


def grids(s: Settings) -> list[Grid]:
    """Bags as they are, under strong augmentation and with erased labels; volumes; the convex problem."""
    scored, size = ("dice", "auroc", "beta"), {"steps": s.steps, "width": s.width}
    plain, strong, erased = ({"amp": a, "erased": e, **size} for a, e in ((0.7, 0.0), (1.5, 0.0), (0.7, 0.3)))
    cost = {"adawac": 3.6, "erm": 2.2, "pair": 3.6, "permuted": 3.6}
    volume_cost = {"adawac": 3.0, "erm": 1.6, "pair": 2.6, "permuted": 3.0}
    slices, lengths = {"steps": s.volume_steps, "tests": s.tests}, {"longest": s.longest}
    return [
        Grid("bags", tuple(cost), scored, s.seeds, world_params=plain, cost_s=cost),
        Grid("bags", ("adawac", "acr_only", "frozen"), scored, s.few, world_params=strong, cost_s=3.6),
        Grid("bags", ("adawac", "pair"), (*scored, "beta_erased"), s.few, world_params=erased, cost_s=3.6),
        Grid("volumes", tuple(cost), scored, s.seeds, world_params=slices, cost_s=volume_cost),
        Grid(
            "convex",
            ("adawac", "constant_steps"),
            ("excess", "slope"),
            s.seeds,
            world_params=lengths,
            cost_s=2.3,
        ),
        Grid(
            "convex", ("all_supervised", "all_half"), ("excess",), s.seeds, world_params=lengths, cost_s=1.3
        ),
    ]


NAMES = {"adawac": "AdaWAC", "pair": "two views", "erm": "one view"}
study = Study(
    slug="adawac", module=__name__, version=1, grids=grids, claims=claims,
    scales={
        "quick": Settings(2, 2, steps=16, width=16, volume_steps=10, tests=2, longest=2), "cpu": Settings(),
        "paper": Settings(seeds=20, few=20, steps=2000, volume_steps=2000, tests=100),
    },
    worlds=(bags, volumes, convex),
    methods=(adawac, erm, pair, acr_only, frozen, permuted, constant_steps, all_supervised, all_half,
             wrong_sign, always_up, indifferent, too_strong),
    measures=(dice, auroc, beta, beta_erased, excess, slope),
    figures=(Figure("dice", "Dice on test samples by training, for each seed.", chart(
        "What the weighting adds to plain training",
        Panel("bags of pixels", "method", rows="world == 'bags'", names=NAMES, y_label="Dice"),
        Panel("volumes", "method", rows="world == 'volumes'", names=NAMES),
    ), "measure == 'dice' and method in ('adawac', 'pair', 'erm') and erased != 0.3 and amp != 1.5"),),
    root_seed=20261219, preload=("numpy", "torch", "scipy"),
)  # fmt: skip
