"""The study of the topology of reasoning traces: are gaps and loops found, and what do they say beyond length?
(arXiv:2512.19135)

A cell draws 450 traces over six knowledge bases, three strategies on the same problems, and embeds their steps with the
built-in encoder, to which noise or a vector common to all steps may be added.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from groundshift.lab.claims import Claim, Control
from groundshift.lab.study import Figure, Grid, Measure, Method, Sample, Study, World
from groundshift.models.sentences import hash_vectors
from groundshift.probes.tdacot.relation import auroc, length_and_shape, length_strata, matched_auroc
from groundshift.probes.tdacot.topology import TraceTopology
from groundshift.studies.drawing import Panel, chart
from groundshift.worlds.reasoning_traces import STRATEGIES, maze_of_facts

NOISE, LOUD = 0.05, 1.0
"""Lengths of the noise of a step's unit vector: in most cells, and as long as the vector."""
FIXED = 1.2
"""The scale that a fixed reading calls a gap."""
ABOUT = ("id", "problem", "strategy", "correct", "steps")
READ = ("gaps", "gap_step", "loops", "h1_count", "h1_total")
SHAPES = ("gaps", "gap_score", "h0_max")


@dataclass(frozen=True)
class Settings:
    """What the dial sets."""

    seeds: int = 10
    graphs: int = 6
    problems: int = 25
    common: tuple[float, ...] = (0.0, 0.5, 0.9)
    noise: tuple[float, ...] = (0.25, 0.5, 1.0)


# World ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Corpus:
    """Records of traces, and the encoder of their steps."""

    records: list[dict[str, Any]]
    encode: Callable[[list[str]], Any]


@World.define()
def maze(
    rng: np.random.Generator, severity: float, *, graphs: int, problems: int, gap_breaks: float, equal_budgets: bool,
    noise: float, common: float,
) -> Sample:  # fmt: skip
    """Walks over knowledge bases of facts, see `maze_of_facts`; the steps' unit vectors get noise of a given length and
    a vector that is common to all of a given weight."""
    size = {"graphs": graphs, "problems": problems}
    drawn = maze_of_facts(rng, **size, gap_breaks=gap_breaks, equal_budgets=equal_budgets)
    seed = int(rng.integers(2**32))

    def encode(texts: list[str]) -> Any:
        own = np.random.default_rng(seed)
        x = hash_vectors(texts)
        x /= np.linalg.norm(x, axis=1, keepdims=True)
        shared = own.standard_normal(x.shape[1])
        x = (1 - common) * x + common * shared / np.linalg.norm(shared)
        return x + noise / np.sqrt(x.shape[1]) * own.standard_normal(x.shape)

    return Sample(Corpus(drawn.records, encode), drawn)


# Methods -------------------------------------------------------------------------------------------------


@Method.define()
def tdacot(data: Corpus, rng: np.random.Generator, *, centre: str, gap: float) -> dict[str, Any]:
    """Gaps, loops and statistics of every trace, and the lift of the gaps over length; a gap of 0 is read from the
    corpus."""
    return _answer(_table(data, centre, gap))


def _table(data: Corpus, centre: str, gap: float) -> pd.DataFrame:
    model = TraceTopology(encoder=data.encode, centre=centre, gap=gap or None)  # type: ignore[arg-type]
    return model.fit(data.records).table


def _answer(table: pd.DataFrame) -> dict[str, Any]:
    right = table["correct"].to_numpy(dtype=bool)
    areas = auroc(length_and_shape(table, SHAPES, ["steps"], right, np.random.default_rng(0)), right)
    return {**{name: table[name].tolist() for name in (*ABOUT, *READ)}, "lift": float(areas[1] - areas[0])}


@tdacot.tampered()
def blind_encoder(data: Corpus, rng: np.random.Generator) -> Corpus:
    """Vectors of steps that do not depend on their texts."""
    return replace(data, encode=lambda texts: rng.standard_normal((len(texts), 384)))


def _with(data: Corpus, column: str, values: Any) -> Corpus:
    return replace(data, records=[{**r, column: v} for r, v in zip(data.records, values, strict=True)])


@tdacot.tampered()
def shuffled_order(data: Corpus, rng: np.random.Generator) -> Corpus:
    """The steps of every trace in random order."""
    return _with(data, "trace", [list(rng.permutation(r["trace"])) for r in data.records])


@tdacot.tampered()
def swapped_steps(data: Corpus, rng: np.random.Generator) -> Corpus:
    """Every step replaced by one of any trace."""
    pool = [step for r in data.records for step in r["trace"]]
    return _with(data, "trace", [list(rng.choice(pool, len(r["trace"]))) for r in data.records])


@tdacot.tampered()
def permuted_strategies(data: Corpus, rng: np.random.Generator) -> Corpus:
    """The strategies of all traces permuted."""
    return _with(data, "strategy", rng.permutation([r["strategy"] for r in data.records]).tolist())


# Mutants -------------------------------------------------------------------------------------------------


@Method.define(role="mutant", of=tdacot)
def length_only(data: Corpus, rng: np.random.Generator, *, centre: str, gap: float) -> dict[str, Any]:
    """Gives the number of steps as every statistic, and the middle of the trace as the place of its gap."""
    table = _table(data, centre, gap)
    n = table["steps"]
    return _answer(table.assign(**{**dict.fromkeys((*READ, *SHAPES), n), "gap_step": n // 2}))


@Method.define(role="mutant", of=tdacot)
def random_statistics(data: Corpus, rng: np.random.Generator, *, centre: str, gap: float) -> dict[str, Any]:
    """Permutes all statistics among the traces."""
    table = _table(data, centre, gap)
    names = list(dict.fromkeys((*READ, *SHAPES)))
    other = table[names].iloc[rng.permutation(len(table))].reset_index(drop=True)
    return _answer(table.assign(**other))


@Method.define(role="mutant", of=tdacot)
def without_settings(data: Corpus, rng: np.random.Generator, *, centre: str, gap: float) -> dict[str, Any]:
    """Always takes the mean away and reads the scale of gaps from the corpus, whatever is asked for."""
    return dict(tdacot.run(data, rng, centre="yes", gap=0.0))


# Measures ------------------------------------------------------------------------------------------------


@Measure.define(gives=("agreement", "miscounted", "beyond_constant", "loop_rank", "located"))
def against_truth(output: Any, sample: Sample) -> dict[str, float]:
    """Share of traces with the right number of gaps, with a wrong one, how much the first is above the best constant
    answer; rank correlation of loops with the truth; share of traces with gaps whose widest is entered at the step of a
    true one."""
    gaps, loops = np.array(sample.truth.gaps), np.array(sample.truth.loops)
    agreement = float((np.array(output["gaps"]) == gaps).mean())
    flat = np.ptp(output["loops"]) == 0 or np.ptp(loops) == 0
    return {
        "agreement": agreement,
        "miscounted": 1 - agreement,
        "beyond_constant": agreement - float(np.bincount(gaps).max() / len(gaps)),
        "loop_rank": 0.0 if flat else float(stats.spearmanr(output["loops"], loops).statistic),
        "located": float(
            np.mean([output["gap_step"][k] in sample.truth.starts[k] for k in np.flatnonzero(gaps > 0)])
        ),
    }


@Measure.define(gives=("rise_count", "rise_total", "together"))
def across(output: Any, sample: Sample) -> dict[str, float]:
    """Smallest rise of the mean number and persistence of loops from CoT to ToT to GoT; rank correlation of mean
    persistence with accuracy over graphs and strategies."""
    table = pd.DataFrame(output)
    means = table.groupby("strategy")[["h1_count", "h1_total"]].mean()
    rises = {name: min(b - a for a, b in pairwise(means[name].loc[list(STRATEGIES)])) for name in means}
    graph = table["problem"].str.split(".").str[0]
    cells = table.assign(correct=table["correct"].astype(float)).groupby([graph, "strategy"])
    pairs = cells[["h1_total", "correct"]].mean()
    together = 0.0 if np.ptp(pairs["h1_total"]) == 0 else stats.spearmanr(pairs).statistic
    return {"rise_count": rises["h1_count"], "rise_total": rises["h1_total"], "together": float(together)}


@Measure.define(
    gives=("simpler_count", "simpler_total"),
    by={"given": ("nothing", "length"), "strategy": tuple(STRATEGIES)},
)
def within(output: Any, sample: Sample) -> list[dict[str, Any]]:
    """Probability that a right trace has fewer loops than a wrong one of its strategy; given length, among traces of
    one strategy and length, all strategies together (the same number for each)."""
    table = pd.DataFrame(output)
    right = table["correct"].to_numpy(dtype=bool)
    values = -table[["h1_count", "h1_total"]].to_numpy(dtype=float)
    matched = matched_auroc(values, right, length_strata(table))[0]
    rows = []
    for name in STRATEGIES:
        own = (table["strategy"] == name).to_numpy()
        for given, areas in (("nothing", auroc(values[own], right[own])), ("length", matched)):
            about = {"given": given, "strategy": name}
            rows.append({**about, "simpler_count": float(areas[0]), "simpler_total": float(areas[1])})
    return rows


@Measure.define()
def lift(output: Any, sample: Sample) -> float:
    """Gain in out-of-fold AUROC by the statistics of gaps over length and strategy alone."""
    return float(output["lift"])


# The grid ------------------------------------------------------------------------------------------------


PLAIN = {"gap_breaks": 0.0, "equal_budgets": False, "noise": NOISE, "common": 0.0}
TAMPERED = ("blind_encoder", "shuffled_order", "swapped_steps", "permuted_strategies")


def grids(s: Settings) -> list[Grid]:
    """The cells of the claims."""
    every = ("against_truth", "across", "within", "lift")

    def grid(
        methods: tuple[str, ...] = ("tdacot",), measures: tuple[str, ...] = ("against_truth",), centre: str = "no",
        gap: float = FIXED, vary: dict[str, Any] | None = None, **world: Any,
    ) -> Grid:  # fmt: skip
        params = {"graphs": s.graphs, "problems": s.problems, **PLAIN, **world}
        return Grid(
            "maze", methods, measures, s.seeds, vary=vary or {}, cost_s=1.4,
            world_params={name: value for name, value in params.items() if name not in (vary or {})},
            method_params={name: {"centre": centre, "gap": gap} for name in methods},
        )  # fmt: skip

    return [
        grid(("tdacot", *TAMPERED), every, gap=0.0),
        grid(measures=("lift",), gap=0.0, gap_breaks=1.0),
        grid(measures=("across",), gap=0.0, equal_budgets=True),
        grid(vary={"common": s.common}),
        grid(vary={"common": s.common}, centre="yes"),
        grid(vary={"noise": s.noise}),
        grid(vary={"noise": s.noise}, gap=0.0),
        grid(noise=LOUD, centre="yes"),
    ]


# The claims ----------------------------------------------------------------------------------------------


def _mean(measure: str, method: str = "tdacot", **where: Any) -> str:
    held = {**PLAIN, "gap": 0.0, "centre": "no", **where}
    return f"mean({measure}|{method}, " + ", ".join(f"{k}={v!r}" for k, v in held.items()) + ")"


def _rise(method: str) -> str:
    return f"lowest({_mean('rise_count', method)}, {_mean('rise_total', method)})"


def _regained(**where: Any) -> str:
    centred, plain = (_mean("agreement", gap=FIXED, centre=centre, **where) for centre in ("yes", "no"))
    return f"{centred} - {plain}"


TRACES = Settings().graphs * Settings().problems * len(STRATEGIES)
SIMPLER = [
    _mean(measure, given="nothing", strategy=name)
    for measure in ("simpler_count", "simpler_total") for name in STRATEGIES
]  # fmt: skip

claims = (
    Claim(
        "1a", "Persistent homology finds the planted gaps (share of traces with a wrong number)",
        _mean("miscounted"), 0.02,
        Control(
            "with vectors that do not depend on the text it does not: wrong in at least 0.2",
            _mean("miscounted", "blind_encoder"), low=0.2, rule="mean",
        ), kind="rate", slack=0.01, trials=TRACES, paper="late deaths of pieces are read as logical gaps",
    ),
    Claim(
        "1b", "and the planted loops (rank correlation with the first Betti number)", _mean("loop_rank"), 0.8,
        Control(
            "with the steps of other traces it does not: at most 0.5", _mean("loop_rank", "swapped_steps"), high=0.5,
            rule="mean",
        ), paper="bars of degree 1 are read as revisiting", same="analogue",
    ),
    Claim(
        "2a", "Strategies differ in complexity: loops rise from CoT to ToT to GoT, in number and persistence",
        _rise("tdacot"), 0.0,
        Control(
            "with the strategies permuted they do not: the smallest rise is at most 0",
            _rise("permuted_strategies"), high=0.0, rule="mean",
        ), kind="bound", paper="more complex chains are right more often", same="same direction only",
    ),
    Claim(
        "2b", "and complexity and accuracy rise together across strategies (rank correlation over graphs and them)",
        _mean("together"), 0.4,
        Control(
            "with equal budgets they do not: at most 0.3", _mean("together", equal_budgets=True), high=0.3, rule="mean"
        ), paper="positive correlation of complexity and accuracy", same="same direction only",
    ),
    Claim(
        "3", "Within a strategy, right traces are simpler (lowest AUROC of three strategies and two statistics)",
        f"lowest({', '.join(SIMPLER)})", 0.6,
        Control(
            "with the steps swapped, among traces of one strategy and length, they do not: 0.5 within 0.08",
            _mean("simpler_total", "swapped_steps", given="length"), low=0.42, high=0.58, rule="mean",
        ), paper="successful reasoning has simpler topology", same="same direction only",
    ),
    Claim(
        "4", "Where gaps make answers wrong, the statistics of gaps say more than length (lift of out-of-fold AUROC)",
        _mean("lift", gap_breaks=1.0), 0.03,
        Control(
            "where gaps do no harm they hardly do: at most 0.02", _mean("lift", gap_breaks=0.0), high=0.02, rule="mean"
        ),
    ),
    Claim(
        "5", "The widest gap is entered at a planted slip (share of traces with gaps, in every seed)",
        _mean("located"), 0.9,
        Control(
            "with the steps in random order it is not: at most 0.5", _mean("located", "shuffled_order"), high=0.5
        ), kind="bound",
    ),
    Claim(
        "6a", "On a fixed scale, a vector common to all steps hides the gaps (agreement above the best constant "
        "answer, weight 0.9, in every seed)", _mean("beyond_constant", common=0.9, gap=FIXED), 0.05,
        Control(
            "without it they are found: at least 0.15", _mean("beyond_constant", gap=FIXED), low=0.15, rule="mean"
        ), kind="bound", direction="<",
    ),
    Claim(
        "6b", "and centring brings them back (agreement, difference, weight 0.9)",
        _regained(common=0.9), 0.15,
        Control(
            "gaps that are hidden by noise as long as the vectors it does not: a difference of at most 0.05",
            _regained(noise=LOUD), high=0.05, rule="mean",
        ),
    ),
    Claim(
        "6c", "On a fixed scale, noise as long as the vectors hides the gaps (agreement above the best constant)",
        _mean("beyond_constant", noise=LOUD, gap=FIXED), 0.05,
        Control(
            "with little noise they are found: at least 0.15", _mean("beyond_constant", gap=FIXED), low=0.15,
            rule="mean",
        ), kind="boundary", direction="<",
    ),
)  # fmt: skip


study = Study(
    slug="tdacot",
    module=__name__,
    version=1,
    scales={
        "quick": Settings(seeds=1, graphs=3, problems=5, common=(0.0, 0.9), noise=(1.0,)),
        "cpu": Settings(),
        "paper": Settings(seeds=50, problems=100),
    },
    grids=grids,
    worlds=(maze,),
    methods=(
        tdacot, blind_encoder, shuffled_order, swapped_steps, permuted_strategies, length_only, random_statistics,
        without_settings,
    ),
    measures=(against_truth, across, within, lift),
    claims=claims,
    figures=(
        Figure(
            "within", "Probability that a right trace has less persistence of degree 1 than a wrong one.",
            chart(
                "Within a strategy, right traces are simpler, and mostly because they are shorter",
                Panel("", "strategy", "given", y_label="AUROC", level=0.5,
                      names={"nothing": "as they are", "length": "among traces of one length (all strategies)"}),
            ),
            "method == 'tdacot' and measure == 'simpler_total' and gap_breaks == 0.0 and equal_budgets == False",
        ),
        Figure(
            "hidden", "Share of traces with the right number of gaps.",
            chart(
                "A common vector hides the gaps, and so does noise; centring undoes the first",
                Panel("fixed scale", "common", "centre", "lines", rows="gap == 1.2 and noise == 0.05",
                      x_label="weight of the common vector", y_label="agreement",
                      names={"no": "as it is", "yes": "centred"}),
                Panel("without a common vector", "noise", "gap", "lines", rows="common == 0.0 and centre == 'no'",
                      x_label="length of the noise", names={0.0: "scale read from the corpus", 1.2: "fixed at 1.2"}),
            ),
            "method == 'tdacot' and measure == 'agreement'",
        ),
    ),
    root_seed=20270406,
    preload=("numpy", "scipy.stats", "pandas", "sklearn.linear_model", "gudhi"),
)  # fmt: skip
