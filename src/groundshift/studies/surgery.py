"""The study of string diagram surgery: exact where it answers, and does it refuse elsewhere? (arXiv:1811.08338)

A cell draws a few networks, or tables from one network, and gives the largest, median and mean errors among them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from groundshift.discovery import surgery
from groundshift.errors import InputError
from groundshift.lab.claims import Claim, Control
from groundshift.lab.study import Figure, Grid, Measure, Method, Sample, Study, World
from groundshift.studies.drawing import Panel, chart
from groundshift.worlds import causal_networks as worlds

Array = NDArray[np.float64]
FRONT_DOOR = "S->T; T->C; S<->C"
PRINTED = np.array([[0.458, 0.747], [0.324, 0.810]])
"""P(C=1 | do S) and P(C=1 | S) of the paper's example, for S = 0 and 1."""


@dataclass(frozen=True)
class Settings:
    """What the dial sets."""

    seeds: int = 20
    """A pilot of six left the claims about finite data open."""
    networks: int = 5
    """In a cell: 100 over all seeds."""
    tables: int = 20
    """In a cell, all from one network."""
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


@World.define(version=2)
def front_doors(rng: np.random.Generator, severity: float, *, number: int, tied: bool) -> Sample:
    """Front-door networks, or such whose hidden cause reaches T too; seen is P(S, T, C), true is P(C | do(S))."""
    drawn = [worlds.front_door(rng, tied=tied) for _ in range(number)]
    return Sample([w.joint() for w in drawn], [w.intervened("S", ["C"]) for w in drawn])


@World.define(version=2)
def smoking(rng: np.random.Generator, severity: float) -> Sample:
    """The paper's table and the figures that it prints; which value of a variable is called 1 is drawn."""
    turned = rng.random(3) < 0.5
    table = np.flip(worlds.smoking_table(), np.flatnonzero(turned))
    figures = PRINTED[:, ::-1] if turned[0] else PRINTED
    return Sample(table, 1 - figures if turned[2] else figures)


@World.define()
def confounded(rng: np.random.Generator, severity: float, *, number: int, computable: bool) -> Sample:
    """Random networks with two hidden causes in which combs give the effect of a variable on all others, or do not."""
    drawn = [worlds.confounded_network(rng, computable=computable) for _ in range(number)]
    seen = [(network.text, network.hidden, network.joint(), variable) for network, variable in drawn]
    return Sample(seen, [network.intervened(variable) for network, variable in drawn])


@World.define(version=2)
def tables(
    rng: np.random.Generator, severity: float, *, number: int, log10_rows: float, tied: bool
) -> Sample:
    """Tables of counts from a front-door network of 3, 4 and 2 observed values, or one whose hidden cause reaches T."""
    network = worlds.front_door(rng, tied=tied)
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


@World.define(version=2)
def empty_cells(rng: np.random.Generator, severity: float, *, number: int, empty: bool) -> Sample:
    """Front-door networks in which P(T=t | S=s) is 0 for one (s, t), or for none.

    True are P(C | do(S)), the cell, and the share of P(C | do(S=s)) that goes through it.
    """
    drawn, truth = [], []
    for _ in range(number):
        s, t = int(rng.integers(3)), int(rng.integers(4))
        network = worlds.front_door(rng, zero=(s, t) if empty else None)
        missing = network.tables["T"][:, t] * network.joint(["S"])[s] * empty
        drawn.append(network.joint())
        truth.append((network.intervened("S", ["C"]), f"S={s}, T={t}", missing))
    return Sample(drawn, truth)


# Methods -------------------------------------------------------------------------------------------------


def _after_surgery(network: worlds.CausalNetwork, cut: str) -> Array:
    F = surgery.Model(network.text, network.hidden).interpret(network.tables)
    return F(F.model.cut(cut)(F.model.diagram(network.observed))).array


@Method.define()
def diagram_surgery(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """F(cut_A(d)): the diagram is cut, then evaluated."""
    return {"answers": [_after_surgery(network, cut) for network, cut, _ in data]}


@diagram_surgery.tampered(version=2)
def other_box(data: Any, rng: np.random.Generator) -> Any:
    """The same with another observed variable's box cut."""
    return [(network, other, cut) for network, cut, other in data]


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


@Method.define(version=2)
def paper_example(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """P(C=1 | do S) and P(C=1 | S), for S = 0 and 1."""
    table = surgery.interventional(FRONT_DOOR, data, "S", "C").table.query("C == 1")
    return {"answers": [table[["p", "naive"]].to_numpy().T]}


@paper_example.tampered()
def exchanged(data: Any, rng: np.random.Generator) -> Any:
    """With T and C exchanged in the table."""
    return data.transpose(0, 2, 1)


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


@Method.define(role="control", of=general)
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
        effect = surgery.interventional(
            FRONT_DOOR, counts, "S", "C", support="bounds", draws=draws, random_state=int(rng.integers(2**31))
        )
        answers.append(effect.point)
        low.append(effect.table["low"].to_numpy().reshape(effect.point.shape))
        high.append(effect.table["high"].to_numpy().reshape(effect.point.shape))
    return {"answers": answers, "low": low, "high": high}


@Method.define()
def posterior(data: Any, rng: np.random.Generator, *, draws: int) -> dict[str, Any]:
    """Intervals from draws of the Dirichlet posterior; they span the bounds where a cell is empty."""
    return _intervals_of(data, rng, "posterior", draws)


@Method.define(role="control", of=posterior)
def bootstrap(data: Any, rng: np.random.Generator, *, draws: int) -> dict[str, Any]:
    """Percentile intervals of a bootstrap of the rows, which takes what was not seen for impossible."""
    return _intervals_of(data, rng, "bootstrap", draws)


def _intervals_of(
    data: Any, rng: np.random.Generator, ci: Literal["posterior", "bootstrap"], draws: int
) -> dict[str, Any]:
    low, high = [], []
    for text, hidden, counts, do, target in data:
        effect = surgery.interventional(
            surgery.Model(text, hidden), counts, do, target, intervals=ci, support="bounds", draws=draws,
            random_state=int(rng.integers(2**31)),
        )  # fmt: skip
        low.append(effect.table["low"].to_numpy().reshape(effect.point.shape))
        high.append(effect.table["high"].to_numpy().reshape(effect.point.shape))
    return {"low": low, "high": high}


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


@guarded.tampered()
def guarded_elsewhere(data: Any, rng: np.random.Generator) -> Any:
    """With the values of S renamed in the table: its bounds are those of another value."""
    return [np.roll(joint, 1, axis=0) for joint in data]


# Mutants -------------------------------------------------------------------------------------------------


@Method.define(role="mutant", of=diagram_surgery)
def uncut(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Evaluates the diagram without cutting it."""
    return {"answers": [network.joint() for network, *_ in data]}


@Method.define(role="mutant", of=diagram_surgery)
def wrong_box(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Cuts another box than the one that it is told."""
    return {"answers": [_after_surgery(network, other) for network, _, other in data]}


@Method.define(role="mutant", of=diagram_surgery)
def even(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Finds every outcome equally likely."""
    return {"answers": [np.full_like(network.joint(), 1 / network.joint().size) for network, *_ in data]}


@Method.define(role="mutant", of=comb)
def conditional(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Answers the conditional P(C | S), without surgery."""
    return {"answers": [_conditional(joint) for joint in data]}


@Method.define(role="mutant", of=comb)
def marginal(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Answers P(C), whatever S is set to."""
    return {"answers": [np.tile(joint.sum((0, 1)), (len(joint), 1)) for joint in data]}


@Method.define(role="mutant", of=comb)
def even_first_tooth(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Discards the first tooth as if all values of S were equally frequent."""
    return {
        "answers": [surgery.plug(*surgery.comb_disintegrate(x / x.sum((1, 2), keepdims=True))) for x in data]
    }


@Method.define(role="mutant", of=paper_example)
def printed(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Prints the paper's figures, whatever the table is."""
    return {"answers": [PRINTED]}


@Method.define(role="mutant", of=paper_example)
def conditional_twice(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Answers the conditional also where an intervention is asked for."""
    return {"answers": [np.tile(_conditional(data)[:, 1], (2, 1))]}


@Method.define(role="mutant", of=paper_example)
def backwards(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Takes T for the outcome and C for what lies between."""
    return dict(paper_example.run(data.transpose(0, 2, 1), rng))


@Method.define(role="mutant", of=general)
def refuses_all(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Refuses every graph."""
    return {"answers": [None for _ in data]}


@Method.define(role="mutant", of=general)
def refuses_none(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Applies the formula to every graph."""
    return dict(forced.run(data, rng))


@Method.define(role="mutant", of=general)
def direct_causes_only(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Asks only for hidden causes that a child shares with the variable directly, not through others."""
    answers = forced.run(data, rng)["answers"]
    projections = [
        (surgery.Model(text, hidden).graph.projection, variable) for text, hidden, _, variable in data
    ]
    shared = [any(frozenset((v, c)) in p.confounders for c in p.children(v)) for p, v in projections]
    return {"answers": [None if refused else answer for refused, answer in zip(shared, answers, strict=True)]}


@Method.define(role="mutant", of=general)
def conditional_of_all(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Refuses as it should, and answers with the conditional."""
    given = general.run(data, rng)["answers"]
    return {"answers": [None if g is None else _given(*d) for g, d in zip(given, data, strict=True)]}


def _given(text: str, hidden: Any, joint: Array, variable: str) -> Array:
    first = np.moveaxis(joint, surgery.Model(text, hidden).observed.index(variable), 0)
    return surgery.disintegrate(first, 1)


@Method.define(role="mutant", of=estimate)
def estimate_without_surgery(data: Any, rng: np.random.Generator, *, draws: int) -> dict[str, Any]:
    """Estimates the conditional, with the intervals of the intervention."""
    return {**estimate.run(data, rng, draws=draws), **naive.run(data, rng)}


@Method.define(role="mutant", of=estimate)
def anything(data: Any, rng: np.random.Generator, *, draws: int) -> dict[str, Any]:
    """Estimates even probabilities, with intervals from 0 to 1."""
    shape = (len(data), 3, 2)
    return {"answers": list(np.full(shape, 0.5)), "low": np.zeros(shape), "high": np.ones(shape)}


@Method.define(role="mutant", of=estimate)
def without_intervals(data: Any, rng: np.random.Generator, *, draws: int) -> dict[str, Any]:
    """Gives the estimate for both ends of the interval."""
    answers = [
        surgery.interventional(FRONT_DOOR, x, "S", "C", support="bounds", intervals=None).point for x in data
    ]
    return {"answers": answers, "low": answers, "high": answers}


@Method.define(role="mutant", of=posterior)
def all_probabilities(data: Any, rng: np.random.Generator, *, draws: int) -> dict[str, Any]:
    """Gives intervals from 0 to 1."""
    sizes = [(counts.shape[0 if do == "S" else 1], counts.shape[-1]) for *_, counts, do, _ in data]
    return {"low": [np.zeros(size) for size in sizes], "high": [np.ones(size) for size in sizes]}


@Method.define(role="mutant", of=posterior)
def half_as_wide(data: Any, rng: np.random.Generator, *, draws: int) -> dict[str, Any]:
    """Gives intervals that are half as wide."""
    ends = _intervals_of(data, rng, "posterior", draws)
    low, high = np.array(ends["low"]), np.array(ends["high"])
    return {"low": low + (high - low) / 4, "high": high - (high - low) / 4}


@Method.define(role="mutant", of=guarded)
def unconcerned(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Names no cell, and gives bounds from 0 to 1."""
    ends = {"low": [np.zeros((3, 2)) for _ in data], "high": [np.ones((3, 2)) for _ in data]}
    return {"words": ["" for _ in data], **ends}


@Method.define(role="mutant", of=guarded)
def names_all(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Names every cell, and gives the bounds of P(C) for every value of S."""
    words = " ".join(f"S={s}, T={t}" for s in range(3) for t in range(4))
    same = [np.tile(joint.sum((0, 1)), (3, 1)) for joint in data]
    return {"words": [words for _ in data], "low": same, "high": same}


@Method.define(role="mutant", of=guarded)
def one_cell(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Names the first cell, and gives the middle of the bounds for both of them."""
    bounds = guarded.run(data, rng)
    middle = [(low + high) / 2 for low, high in zip(bounds["low"], bounds["high"], strict=True)]
    return {"words": ["S=0, T=0" for _ in data], "low": middle, "high": middle}


# Measures ------------------------------------------------------------------------------------------------


def _errors(answers: Sequence[Any], truth: Sequence[Any]) -> Array:
    return np.array([np.abs(np.asarray(a) - t).max() for a, t in zip(answers, truth, strict=True)])


@Measure.define(better="lower", version=2, gives=("largest",))
def exactness(output: Any, sample: Sample) -> dict[str, float]:
    """Largest error over the networks."""
    return {"largest": float(_errors(output["answers"], sample.truth).max())}


@Measure.define(better="lower", version=2, gives=("deviation",))
def paper_figures(output: Any, sample: Sample) -> dict[str, float]:
    """Largest deviation from the four figures."""
    return {"deviation": float(_errors(output["answers"], [sample.truth])[0])}


@Measure.define(better="lower", version=2, gives=("refused", "worst"))
def refusals(output: Any, sample: Sample) -> dict[str, float]:
    """Share refused, and the largest error among the answers (1, the largest there is, without any)."""
    given = [(a, t) for a, t in zip(output["answers"], sample.truth, strict=True) if a is not None]
    worst = max((float(np.abs(a - t).max()) for a, t in given), default=1.0)
    return {"refused": 1 - len(given) / len(sample.truth), "worst": worst}


@Measure.define(better="lower", version=2)
def log10_error(output: Any, sample: Sample) -> float:
    """Total variation from the truth, mean over tables and values of S; its logarithm."""
    return float(np.log10(np.abs(np.array(output["answers"]) - sample.truth).sum(-1).mean() / 2))


@Measure.define(better="none", version=2)
def coverage(output: Any, sample: Sample) -> float:
    """Share of intervals of P(C=0 | do(S=s)) that hold the truth; those of C=1 mirror them."""
    low, high = np.array(output["low"])[..., 0], np.array(output["high"])[..., 0]
    true = sample.truth[:, 0]
    return float(((low <= true) & (true <= high)).mean())


@Measure.define(better="none", version=2)
def held(output: Any, sample: Sample) -> float:
    """Share of intervals, over every value of what is set and of the target, that hold the truth."""
    low, high, true = np.array(output["low"]), np.array(output["high"]), np.array(sample.truth)
    return float(((low <= true) & (true <= high)).mean())


@Measure.define(version=2, gives=("named", "sound"))
def guards(output: Any, sample: Sample) -> dict[str, float]:
    """Share of networks whose empty cell is named; whose bounds hold the truth and are as narrow as what is missing."""
    named = [cell in words for words, (_, cell, _) in zip(output["words"], sample.truth, strict=True)]
    sound = [
        bool(
            ((low - 1e-9 <= true) & (true <= high + 1e-9)).all()
            and (high - low).mean() <= missing.mean() + 1e-9
        )
        for low, high, (true, _, missing) in zip(output["low"], output["high"], sample.truth, strict=True)
    ]
    return {"named": float(np.mean(named)), "sound": float(np.mean(sound))}


# The grid ------------------------------------------------------------------------------------------------


def grids(s: Settings) -> list[Grid]:
    """The cells of the claims."""
    number, tables_each = {"number": s.networks}, {"number": s.tables}
    draws = {name: {"draws": s.draws} for name in ("estimate", "posterior", "bootstrap")}
    either = {"tied": (False, True)}
    return [
        Grid("networks", ("diagram_surgery", "other_box"), ("exactness",), s.seeds, world_params=number, cost_s=0.3),
        Grid(
            "front_doors", ("comb", "naive"), ("exactness",), s.seeds, vary=either, world_params=number, cost_s=0.01
        ),
        Grid("smoking", ("paper_example", "exchanged"), ("paper_figures",), s.seeds, cost_s=0.02),
        Grid(
            "confounded", ("general", "forced"), ("refusals",), s.seeds, vary={"computable": (True, False)},
            world_params=number, cost_s=0.1,
        ),
        Grid(
            "tables", ("estimate",), ("log10_error", "coverage"), s.seeds, vary={"log10_rows": s.log10_rows, **either},
            world_params=tables_each, method_params=draws, cost_s=0.5,
        ),
        Grid(
            "tables", ("naive",), ("log10_error",), s.seeds, vary={"log10_rows": s.log10_rows, "tied": (False,)},
            world_params=tables_each, cost_s=0.05,
        ),
        Grid(
            "sparse_tables", ("posterior", "bootstrap"), ("held",), s.seeds,
            vary={"graph": s.graphs, "values": s.values, "rows": s.rows}, world_params=tables_each,
            method_params=draws, cost_s=0.15,
        ),
        Grid("empty_cells", ("guarded",), ("guards",), s.seeds, vary={"empty": (True, False)}, world_params=number,
             cost_s=0.1),
        Grid(
            "empty_cells", ("guarded_elsewhere",), ("guards",), s.seeds, vary={"empty": (True,)}, world_params=number,
            cost_s=0.1,
        ),
    ]  # fmt: skip


# The claims ----------------------------------------------------------------------------------------------

BOOTSTRAP = "percentile intervals of a bootstrap of the rows, without the prior, cover less than 93 %"
SLOPE = "slope(log10_error|estimate, tied={}, over='log10_rows') + 0.5"

claims = (
    Claim(
        "1", "Surgery is a functor and means intervention: F(cut(d)) is the truncated factorisation (largest error, "
        "100 networks)", "max(largest|diagram_surgery)", 1e-12, Control(
            "cutting a different box is off by more than 0.01", "max(largest|other_box)", low=0.01, rule="mean"
        ), kind="bound", direction="<", paper="proposition", same="same quantity", version=2,
    ),
    Claim(
        "2", "Comb disintegration predicts the intervention from observation alone (largest error, 100 "
        "front-door networks)", "max(largest|comb, tied=False)", 1e-10, Control(
            "where the hidden cause reaches T, so that there is no comb, it is off by more than 0.04",
            "max(largest|comb, tied=True)", low=0.04, rule="mean",
        ), kind="bound", direction="<", paper="theorem", same="same quantity", version=2,
    ),
    Claim(
        "3", "The paper's example: .747 and .458 after surgery, .810 and .324 before (largest deviation from the "
        "printed figures)", "max(deviation|paper_example)", 5e-4, Control(
            "with T and C exchanged it is off by more than 0.01", "max(deviation|exchanged)", low=0.01, rule="mean"
        ), kind="bound", direction="<", paper=".747, .458, .810, .324", same="same quantity", version=2,
    ),
    Claim(
        "4a", "The general condition is right: exact on 100 graphs that satisfy it (largest error)",
        "max(worst|general, computable=True)", 1e-10, Control(
            "forcing the formula on graphs that violate it is off by more than 0.05 on average",
            "max(worst|forced, computable=False)", low=0.05,
        ), kind="bound", direction="<", paper="theorem", same="same quantity", version=2,
    ),
    Claim(
        "4b", "and none of them is refused (share)", "mean(refused|general, computable=True)", 0.0, Control(
            "graphs that violate it are, nine of ten and more", "mean(refused|general, computable=False)", low=0.9,
            rule="mean",
        ), kind="identity", tolerance=1e-12, paper="theorem", version=2,
    ),
    Claim(
        "4c", "100 graphs that violate it are refused (share)", "mean(refused|general, computable=False)", 1.0, Control(
            "graphs that satisfy it are not, one of ten at most", "mean(refused|general, computable=True)", high=0.1,
            rule="mean",
        ), kind="identity", tolerance=1e-12, paper="not reported", version=2,
    ),
    Claim(
        "5a", "Estimates converge: log-log slope of the error over 10³ to 10⁶ rows, plus one half",
        SLOPE.format(False), 0.1, Control(
            "where the hidden cause reaches T they do not: the slope is above -0.2", SLOPE.format(True), low=0.3,
            rule="mean",
        ), kind="equivalence", paper="not reported", version=2,
    ),
    Claim(
        "5b", "95 % intervals cover 90 to 98 % (share of intervals that hold the truth, minus 0.94)",
        "mean(coverage|estimate, tied=False) - 0.94", 0.04, Control(
            "where the hidden cause reaches T they cover less than 80 %", "mean(coverage|estimate, tied=True) - 0.94",
            high=-0.14, rule="mean",
        ), kind="equivalence", paper="not reported", version=2,
    ),
    Claim(
        "5c", "On sparse tables they cover 93 to 97 % (back and front door; 2, 3 and 5 values; 300, 1,500 and "
        "10,000 rows; share minus 0.95)", "mean(held|posterior) - 0.95", 0.02,
        Control(BOOTSTRAP, "mean(held|bootstrap) - 0.95", high=-0.02), kind="equivalence", paper="not reported",
        version=2,
    ),
    Claim(
        "5d", "and so with five values of each variable (share minus 0.95)", "mean(held|posterior, values=5) - 0.95",
        0.02, Control(f"{BOOTSTRAP} there", "mean(held|bootstrap, values=5) - 0.95", high=-0.02), kind="equivalence",
        paper="not reported", version=2,
    ),
    Claim(
        "6a", "Without support the error names the cell (share of 100 networks with P(t | s) = 0)",
        "mean(named|guarded, empty=True)", 1.0, Control(
            "where no cell is empty none is named", "mean(named|guarded, empty=False)", high=0.0, rule="every"
        ), kind="identity", tolerance=1e-12, paper="full support is assumed", version=2,
    ),
    Claim(
        "6b", "and the bounds hold the truth, no wider than the share that is missing (share of networks)",
        "mean(sound|guarded, empty=True)", 1.0, Control(
            "with the values of S renamed they do not: at most one of ten", "mean(sound|guarded_elsewhere, empty=True)",
            high=0.1, rule="mean",
        ), kind="identity", tolerance=1e-12, paper="full support is assumed", version=2,
    ),
)  # fmt: skip


study = Study(
    slug="surgery",
    module=__name__,
    version=2,
    scales={
        "quick": Settings(seeds=1, networks=2, tables=4, draws=100),
        "cpu": Settings(),
        "paper": Settings(seeds=20, networks=50, tables=100, draws=2000),
    },
    grids=grids,
    worlds=(networks, front_doors, smoking, confounded, tables, sparse_tables, empty_cells),
    methods=(
        diagram_surgery, other_box, comb, naive, paper_example, exchanged, general, forced, estimate, posterior,
        bootstrap, guarded, guarded_elsewhere,
        uncut, wrong_box, even, conditional, marginal, even_first_tooth, printed, conditional_twice, backwards,
        refuses_all, refuses_none, direct_causes_only, conditional_of_all, estimate_without_surgery, anything,
        without_intervals, all_probabilities, half_as_wide, unconcerned, names_all, one_cell,
    ),
    measures=(exactness, paper_figures, refusals, log10_error, coverage, held, guards),
    claims=claims,
    figures=(
        Figure(
            "convergence", "Total variation from the truth against rows; the comb converges, the conditional does not.",
            chart(
                "The comb converges to the intervention",
                Panel(
                    "", "log10_rows", kind="lines", names={"estimate": "comb", "naive": "naive conditional"},
                    x_label="log10 of the rows", y_label="log10 of the total variation from the truth",
                ), width=6.6,
            ),
            "world == 'tables' and measure == 'log10_error' and tied == False",
        ),
        Figure(
            "coverage", "Share of 95 % intervals that hold the truth, on tables of a front-door network.",
            chart(
                "Intervals hold the truth as often as they say",
                Panel("", "log10_rows", kind="lines", x_label="log10 of the rows", y_label="coverage", level=0.95),
                width=6.6,
            ),
            "world == 'tables' and measure == 'coverage' and tied == False",
        ),
        Figure(
            "sparse-coverage", "Coverage of 95 % intervals on sparse tables: from the posterior, and by a bootstrap of "
            "the rows, which takes what was not seen for impossible.",
            chart(
                "Coverage on sparse tables",
                *(
                    Panel(
                        f"{values} values", "rows", kind="lines", rows=f"values == {values}", x_label="rows",
                        y_label="coverage of 95 % intervals", level=0.95, log=True,
                    )
                    for values in (2, 3, 5)
                ),
            ),
            "world == 'sparse_tables' and measure == 'held'",
        ),
    ),
    root_seed=20261130,
    preload=("numpy", "pandas", "networkx", "opt_einsum"),
)  # fmt: skip
