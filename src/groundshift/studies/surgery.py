"""The study of string diagram surgery: exact where it answers, and does it refuse elsewhere? (arXiv:1811.08338)

A cell draws a few networks, or tables from one network, and gives the largest, median and mean errors among them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from groundshift.discovery import surgery
from groundshift.errors import InputError
from groundshift.lab.claims import Claim, Control
from groundshift.lab.study import Figure, Grid, Measure, Method, Sample, Study, World
from groundshift.studies import surgery_figures as draw
from groundshift.worlds import causal_networks as worlds

Array = NDArray[np.float64]
FRONT_DOOR = "S->T; T->C; S<->C"
ONE_NETWORK = 11
"""Seed of the one network that the tables of finite data are drawn from."""


@dataclass(frozen=True)
class Settings:
    """What the dial sets."""

    seeds: int = 10
    networks: int = 5
    """In a cell: 50 over all seeds."""
    tables: int = 20
    """In a cell: 200 over all seeds."""
    log10_rows: tuple[float, ...] = (3.0, 4.0, 5.0, 6.0)
    draws: int = 500
    graphs: tuple[str, ...] = ("back door", "front door")
    values: tuple[int, ...] = (2, 3, 5)
    rows: tuple[int, ...] = (300, 1500, 10_000)
    """Of the sparse tables."""


# Worlds --------------------------------------------------------------------------------------------------


@World.define()
def networks(rng: np.random.Generator, severity: float, *, number: int) -> Sample:
    """Random networks of 6 variables, 2 hidden, a variable to cut, and what the truncated factorisation gives."""
    drawn, truth = [], []
    for _ in range(number):
        network = worlds.random_network(rng)
        cut, other = map(str, rng.choice(network.observed, 2, replace=False))
        drawn.append((network, cut, other))
        rest = [v for v in network.observed if v != cut]
        array = network.intervened(cut, rest) / network.tables[cut].shape[-1]
        truth.append(np.moveaxis(array, 0, network.observed.index(cut)))
    return Sample(drawn, truth)


@World.define()
def front_doors(rng: np.random.Generator, severity: float, *, number: int) -> Sample:
    """Front-door networks; seen is P(S, T, C), true is P(C | do(S))."""
    drawn = [worlds.front_door(rng) for _ in range(number)]
    return Sample([w.joint() for w in drawn], [w.intervened("S", ["C"]) for w in drawn])


@World.define()
def smoking(rng: np.random.Generator, severity: float) -> Sample:
    """The paper's table; true are its four probabilities as exact fractions of the table's entries."""
    table = worlds.smoking_table()
    w = {cell: Fraction(str(value)) for cell, value in np.ndenumerate(table)}

    def p(s: int | None = None, t: int | None = None, c: int | None = None) -> Fraction:
        cells = (k for k in w if all(want in (None, has) for want, has in zip((s, t, c), k, strict=True)))
        return sum((w[k] for k in cells), Fraction(0))

    naive = [p(s=s, c=1) / p(s=s) for s in (1, 0)]
    do = [
        sum(p(s, t) / p(s) * sum(p(r) * p(r, t, 1) / p(r, t) for r in (0, 1)) for t in (0, 1)) for s in (1, 0)
    ]
    return Sample(table, [float(x) for x in (*do, *naive)])


@World.define()
def confounded(rng: np.random.Generator, severity: float, *, number: int, computable: bool) -> Sample:
    """Random networks with two hidden causes in which combs give the effect of a variable on all others, or do not."""
    drawn = [worlds.confounded_network(rng, computable=computable) for _ in range(number)]
    seen = [(network.text, network.hidden, network.joint(), variable) for network, variable in drawn]
    return Sample(seen, [network.intervened(variable) for network, variable in drawn])


@World.define()
def tables(rng: np.random.Generator, severity: float, *, number: int, log10_rows: float) -> Sample:
    """Tables of counts from one front-door network of 3, 4 and 2 observed values."""
    network = worlds.front_door(np.random.default_rng(ONE_NETWORK))
    joint = network.joint()
    drawn = rng.multinomial(round(10**log10_rows), joint.ravel(), size=number)
    return Sample([x.reshape(joint.shape) for x in drawn], network.intervened("S", ["C"]))


@World.define()
def sparse_tables(
    rng: np.random.Generator, severity: float, *, number: int, graph: str, values: int, rows: int
) -> Sample:
    """Tables of few rows, each from a network of its own; all variables have the same number of values."""
    drawn, truth = [], []
    for _ in range(number):
        if graph == "front door":
            network, do, target = worlds.front_door(rng, (values,) * 4), "S", "C"
        else:
            sizes = dict.fromkeys("ZXY", values)
            network = worlds.with_tables(rng, {"Z": "", "X": "Z", "Y": "ZX"}, sizes, concentration=0.7)
            do, target = "X", "Y"
        joint = network.joint()
        counts = rng.multinomial(rows, joint.ravel() / joint.sum()).reshape(joint.shape)
        drawn.append((network.text, network.hidden, counts, do, target))
        truth.append(network.intervened(do, [target]))
    return Sample(drawn, truth)


@World.define()
def empty_cells(rng: np.random.Generator, severity: float, *, number: int) -> Sample:
    """Front-door networks in which P(T=t | S=s) is 0 for one (s, t)."""
    drawn, truth = [], []
    for _ in range(number):
        s, t = int(rng.integers(3)), int(rng.integers(4))
        network = worlds.front_door(rng, zero=(s, t))
        drawn.append(network.joint())
        truth.append((network.intervened("S", ["C"]), f"S={s}, T={t}"))
    return Sample(drawn, truth)


# Methods -------------------------------------------------------------------------------------------------


def _after_surgery(network: worlds.CausalNetwork, cut: str) -> Array:
    F = surgery.Model(network.text, network.hidden).interpret(network.tables)
    return F(F.model.cut(cut)(F.model.diagram(network.observed))).array


@Method.define()
def diagram_surgery(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """F(cut_A(d)): the diagram is cut, then evaluated."""
    return {"answers": [_after_surgery(network, cut) for network, cut, _ in data]}


@Method.define(role="control")
def other_box(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """The same with another observed variable's box cut."""
    return {"answers": [_after_surgery(network, other) for network, _, other in data]}


@Method.define()
def comb(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Comb disintegration of P(S, T, C), with the first tooth discarded."""
    return {"answers": [surgery.plug(*surgery.comb_disintegrate(joint)) for joint in data]}


@Method.define(role="baseline")
def naive(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """The conditional P(C | S), without surgery."""
    return {"answers": [_conditional(np.asarray(joint, dtype=float)) for joint in data]}


def _conditional(joint: Array) -> Array:
    return surgery.disintegrate(joint.sum(1), 1)


@Method.define()
def paper_example(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """P(C=1 | do S=1), P(C=1 | do S=0), P(C=1 | S=1), P(C=1 | S=0)."""
    found = surgery.interventional(FRONT_DOOR, data, "S", "C").table.query("C == 1")
    return {"answers": [found["p"].tolist()[::-1] + found["naive"].tolist()[::-1]]}


@Method.define(role="control")
def swapped_comb(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """The comb with T and C swapped, as if S → C → T: its last output is taken for C."""
    answer = surgery.plug(*surgery.comb_disintegrate(data.transpose(0, 2, 1)))
    return {"answers": [[*answer[::-1, 1], *_conditional(data)[::-1, 1]]]}


@Method.define()
def general(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """P(all others | do(A)) where the condition holds; refusals counted."""
    answers: list[Array | None] = []
    for text, hidden, joint, variable in data:
        model = surgery.Model(text, hidden)
        rest = [v for v in model.observed if v != variable]
        try:
            answers.append(surgery.interventional(model, joint, variable, rest).point)
        except InputError:
            answers.append(None)
    return {"answers": answers}


@Method.define(role="control")
def forced(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """The general formula without asking for its condition."""
    answers = []
    for text, hidden, joint, variable in data:
        model = surgery.Model(text, hidden)
        component = [model.observed.index(v) for v in model.condition(variable).component]
        axis = model.observed.index(variable)
        answers.append(np.moveaxis(surgery.cut_joint(joint, axis, component), axis, 0))
    return {"answers": answers}


@Method.define(version=2)
def estimate(data: Any, rng: np.random.Generator, *, draws: int) -> dict[str, Any]:
    """The comb's estimate with posterior intervals; bounds where a cell is empty."""
    answers, low, high = [], [], []
    for counts in data:
        found = surgery.interventional(
            FRONT_DOOR, counts, "S", "C", support="bounds", draws=draws, random_state=int(rng.integers(2**31))
        )
        answers.append(found.point)
        low.append(found.table["low"].to_numpy().reshape(found.point.shape))
        high.append(found.table["high"].to_numpy().reshape(found.point.shape))
    return {"answers": answers, "low": low, "high": high}


@Method.define()
def posterior(data: Any, rng: np.random.Generator, *, draws: int) -> dict[str, Any]:
    """Intervals from draws of the Dirichlet posterior; they span the bounds where a cell is empty."""
    return _intervals_of(data, rng, "posterior", draws)


@Method.define(role="baseline")
def bootstrap(data: Any, rng: np.random.Generator, *, draws: int) -> dict[str, Any]:
    """Percentile intervals of a bootstrap of the rows, which this library gave before."""
    return _intervals_of(data, rng, "bootstrap", draws)


def _intervals_of(
    data: Any, rng: np.random.Generator, ci: Literal["posterior", "bootstrap"], draws: int
) -> dict[str, Any]:
    low, high = [], []
    for text, hidden, counts, do, target in data:
        found = surgery.interventional(
            surgery.Model(text, hidden), counts, do, target, ci=ci, support="bounds", draws=draws,
            random_state=int(rng.integers(2**31)),
        )  # fmt: skip
        low.append(found.table["low"].to_numpy().reshape(found.point.shape))
        high.append(found.table["high"].to_numpy().reshape(found.point.shape))
    return {"low": low, "high": high}


@Method.define(role="control")
def smoothed(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """The comb's estimate with a pseudo-count of one in every cell."""
    return {
        "answers": [surgery.interventional(FRONT_DOOR, x, "S", "C", alpha=1, ci=None).point for x in data]
    }


@Method.define()
def guarded(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """The error's words, and the bounds."""
    words, low, high = [], [], []
    for joint in data:
        try:
            surgery.interventional(FRONT_DOOR, joint, "S", "C")
            words.append("")
        except InputError as error:
            words.append(str(error))
        table = surgery.interventional(FRONT_DOOR, joint, "S", "C", support="bounds").table
        low.append(table["lower" if "lower" in table else "p"].to_numpy().reshape(3, 2))
        high.append(table["upper" if "upper" in table else "p"].to_numpy().reshape(3, 2))
    return {"words": words, "low": low, "high": high}


# Measures ------------------------------------------------------------------------------------------------


def _errors(answers: Sequence[Any], truth: Sequence[Any]) -> Array:
    return np.array([np.abs(np.asarray(a) - t).max() for a, t in zip(answers, truth, strict=True)])


@Measure.define(better="lower", gives=("largest", "median_error", "off_01", "off_005"))
def exactness(output: Any, sample: Sample) -> dict[str, float]:
    """Over the networks: largest and median error, and shares with an error above 0.01 and 0.005."""
    errors = _errors(output["answers"], sample.truth)
    return {
        "largest": float(errors.max()),
        "median_error": float(np.median(errors)),
        "off_01": float((errors > 0.01).mean()),
        "off_005": float((errors > 0.005).mean()),
    }


@Measure.define(better="lower", gives=("deviation",))
def paper_figures(output: Any, sample: Sample) -> dict[str, float]:
    """Largest deviation from the four probabilities."""
    return {"deviation": float(_errors(output["answers"], [sample.truth])[0])}


@Measure.define(better="lower", gives=("refused", "worst"))
def refusals(output: Any, sample: Sample) -> dict[str, float]:
    """Share refused, and the largest error among the answers (0 without any)."""
    given = [(a, t) for a, t in zip(output["answers"], sample.truth, strict=True) if a is not None]
    worst = max((float(np.abs(a - t).max()) for a, t in given), default=0.0)
    return {"refused": 1 - len(given) / len(sample.truth), "worst": worst}


@Measure.define(better="lower", gives=("log10_error", "variation", "bias"))
def accuracy(output: Any, sample: Sample) -> dict[str, float]:
    """Total variation from the truth, mean over tables and values of S; and that of the mean estimate."""
    answers = np.array(output["answers"])
    variation = float(np.abs(answers - sample.truth).sum(-1).mean() / 2)
    bias = float(np.abs(answers.mean(0) - sample.truth).sum(-1).mean() / 2)
    return {"log10_error": float(np.log10(variation)), "variation": variation, "bias": bias}


@Measure.define(better="none", gives=("coverage",))
def intervals(output: Any, sample: Sample) -> dict[str, float]:
    """Share of intervals of P(C=0 | do(S=s)) that hold the truth; those of C=1 mirror them."""
    low, high = np.array(output["low"])[..., 0], np.array(output["high"])[..., 0]
    true = sample.truth[:, 0]
    return {"coverage": float(((low <= true) & (true <= high)).mean())}


@Measure.define(better="none", gives=("held", "width"))
def sparse_intervals(output: Any, sample: Sample) -> dict[str, float]:
    """Share of intervals, over every value of what is set and of the target, that hold the truth; their mean width."""
    low, high, true = np.array(output["low"]), np.array(output["high"]), np.array(sample.truth)
    return {"held": float(((low <= true) & (true <= high)).mean()), "width": float((high - low).mean())}


@Measure.define(gives=("named", "bracketed"))
def guards(output: Any, sample: Sample) -> dict[str, float]:
    """Shares of networks whose empty cell is named, and whose truth lies in the bounds."""
    named = [cell in words for words, (_, cell) in zip(output["words"], sample.truth, strict=True)]
    inside = [
        bool(((low - 1e-9 <= true) & (true <= high + 1e-9)).all())
        for low, high, (true, _) in zip(output["low"], output["high"], sample.truth, strict=True)
    ]
    return {"named": float(np.mean(named)), "bracketed": float(np.mean(inside))}


# The grid ------------------------------------------------------------------------------------------------


def grids(s: Settings) -> list[Grid]:
    """The cells of the claims."""
    number, tables_each = {"number": s.networks}, {"number": s.tables}
    return [
        Grid("networks", ("diagram_surgery", "other_box"), ("exactness",), s.seeds, world_params=number, cost_s=0.3),
        Grid("front_doors", ("comb", "naive"), ("exactness",), s.seeds, world_params=number, cost_s=0.01),
        Grid("smoking", ("paper_example", "swapped_comb"), ("paper_figures",), s.seeds, cost_s=0.02),
        Grid(
            "confounded", ("general",), ("refusals",), s.seeds, vary={"computable": (True, False)}, world_params=number,
            cost_s=0.1,
        ),
        Grid(
            "confounded", ("forced",), ("exactness",), s.seeds, world_params={**number, "computable": False},
            cost_s=0.1,
        ),
        Grid(
            "tables", ("estimate",), ("accuracy", "intervals"), s.seeds, vary={"log10_rows": s.log10_rows},
            world_params=tables_each, method_params={"estimate": {"draws": s.draws}}, cost_s=0.5,
        ),
        Grid(
            "tables", ("naive",), ("accuracy",), s.seeds, vary={"log10_rows": s.log10_rows}, world_params=tables_each,
            cost_s=0.05,
        ),
        Grid(
            "tables", ("smoothed",), ("accuracy",), s.seeds, world_params={**tables_each, "log10_rows": 2.0},
            cost_s=0.1,
        ),
        Grid(
            "sparse_tables", ("posterior", "bootstrap"), ("sparse_intervals",), s.seeds,
            vary={"graph": s.graphs, "values": s.values, "rows": s.rows}, world_params=tables_each,
            method_params={"posterior": {"draws": s.draws}, "bootstrap": {"draws": s.draws}}, cost_s=0.15,
        ),
        Grid("empty_cells", ("guarded",), ("guards",), s.seeds, world_params=number, cost_s=0.1),
    ]  # fmt: skip


# The claims ----------------------------------------------------------------------------------------------

OTHER_BOX = Control(
    "cutting a different box is off by more than 0.01 in at least 45 of 50",
    "mean(off_01|other_box)",
    low=0.9,
    rule="mean",
)
NAIVE = Control(
    "the naive conditional is off by a median above 0.04",
    "median(median_error|naive, world='front_doors')",
    low=0.04,
    rule="mean",
)
SWAPPED = Control("with T and C swapped it is off by more than 0.01", "min(deviation|swapped_comb)", low=0.01)
FORCED = Control(
    "forcing the formula on graphs that violate the condition is off by more than 0.005 in at least 45 of 50",
    "mean(off_005|forced)", low=0.9, rule="mean",
)  # fmt: skip
BIASED = Control(
    "the naive estimate does not converge: slope above -0.1",
    "slope(log10_error|naive, world='tables', over='log10_rows')",
    low=-0.1,
)
SMOOTHED = Control(
    "smoothing with alpha = 1 at 100 rows is biased by more than 0.01 in total variation",
    "mean(bias|smoothed)",
    low=0.01,
)
BOOTSTRAP = Control(
    "percentile intervals of a bootstrap of the rows cover less than 93 %", "mean(held|bootstrap)", high=0.93
)
BOOTSTRAP_OF_FIVE = Control(
    "percentile intervals of a bootstrap of the rows cover less than 93 % there", "mean(held|bootstrap, values=5)",
    high=0.93,
)  # fmt: skip

claims = (
    Claim(
        "1", "Surgery is a functor and means intervention: F(cut(d)) is the truncated factorisation (largest error, 50 "
        "networks)", "max(largest|diagram_surgery)", 1e-12, OTHER_BOX, kind="bound", direction="<",
        paper="proposition", same="same quantity",
    ),
    Claim(
        "2", "Comb disintegration predicts the intervention from observation alone (largest error, 50 "
        "front-door networks)",
        "max(largest|comb)", 1e-10, NAIVE, kind="bound", direction="<", paper="theorem", same="same quantity",
    ),
    Claim(
        "3", "The paper's example: .747 and .458 after surgery, .810 and .324 before (largest deviation)",
        "max(deviation|paper_example)", 1e-9, SWAPPED, kind="bound", direction="<", paper=".747, .458, .810, .324",
        same="same quantity",
    ),
    Claim(
        "4a", "The general condition is right: exact on 50 graphs that satisfy it (largest error)",
        "max(worst|general, computable=True)", 1e-10, FORCED, kind="bound", direction="<", paper="theorem",
        same="same quantity",
    ),
    Claim(
        "4b", "and none of them is refused (share)", "mean(refused|general, computable=True)", 0.0, FORCED,
        kind="identity", tolerance=1e-12, paper="theorem",
    ),
    Claim(
        "4c", "50 graphs that violate it are refused (share)", "mean(refused|general, computable=False)", 1.0, FORCED,
        kind="identity", tolerance=1e-12, paper="not reported",
    ),
    Claim(
        "5a", "Estimates converge: log-log slope of the error over 10³ to 10⁶ rows, plus one half",
        "slope(log10_error|estimate, over='log10_rows') + 0.5", 0.1, BIASED, kind="equivalence", paper="not reported",
    ),
    Claim(
        "5b", "95 % intervals cover 90 to 98 % (share of intervals that hold the truth, minus 0.94)",
        "mean(coverage|estimate) - 0.94", 0.04, BIASED, kind="equivalence", paper="not reported",
    ),
    Claim(
        "5c", "On sparse tables they cover 93 to 97 % (back and front door; 2, 3 and 5 values; 300, 1,500 and "
        "10,000 rows; share minus 0.95)", "mean(held|posterior) - 0.95", 0.02, BOOTSTRAP, kind="equivalence",
        paper="not reported",
    ),
    Claim(
        "5d", "and so with five values of each variable (share minus 0.95)", "mean(held|posterior, values=5) - 0.95",
        0.02, BOOTSTRAP_OF_FIVE, kind="equivalence", paper="not reported",
    ),
    Claim(
        "6a", "Without support the error names the cell (share of 50 networks with P(t | s) = 0)",
        "mean(named|guarded)", 1.0, SMOOTHED, kind="identity", tolerance=1e-12, paper="full support is assumed",
    ),
    Claim(
        "6b", "and the bounds hold the truth (share)", "mean(bracketed|guarded)", 1.0, SMOOTHED, kind="identity",
        tolerance=1e-12, paper="full support is assumed",
    ),
)  # fmt: skip


study = Study(
    slug="surgery",
    module=__name__,
    version=1,
    scales={
        "quick": Settings(seeds=2, networks=2, tables=4, draws=100),
        "cpu": Settings(),
        "paper": Settings(seeds=20, networks=50, tables=100, draws=2000),
    },
    grids=grids,
    worlds=(networks, front_doors, smoking, confounded, tables, sparse_tables, empty_cells),
    methods=(
        diagram_surgery, other_box, comb, naive, paper_example, swapped_comb, general, forced, estimate, posterior,
        bootstrap, smoothed, guarded,
    ),
    measures=(exactness, paper_figures, refusals, accuracy, intervals, sparse_intervals, guards),
    claims=claims,
    figures=(
        Figure(
            "convergence", "Total variation from the truth against rows; the comb converges, the conditional does not.",
            draw.convergence, "world == 'tables' and measure == 'variation' and log10_rows >= 3",
        ),
        Figure(
            "coverage", "Share of 95 % intervals that hold the truth; a dot is a seed.", draw.coverage,
            "world == 'tables' and measure == 'coverage'",
        ),
        Figure(
            "sparse-coverage", "Coverage of 95 % intervals on sparse tables: from the posterior, and by a bootstrap of "
            "the rows, which takes what was not seen for impossible. A mark is the mean over all seeds; the band is 93 "
            "to 97 %.",
            draw.sparse_coverage, "world == 'sparse_tables' and measure == 'held'",
        ),
        Figure(
            "exactness", "Largest error of a cell's networks: exact where the condition holds, wrong where "
            "it is forced.",
            draw.exactness, "measure in ['largest', 'worst'] and not (method == 'general' and computable == False)",
        ),
    ),
    root_seed=20261127,
    preload=("numpy", "pandas", "networkx", "opt_einsum"),
)  # fmt: skip
