"""The study of Causal de Finetti: do two records per group tell the causal direction? (arXiv:2203.15756)

A cell draws many repetitions of a world and gives the share of right, wrong and open answers among them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from groundshift.discovery.definetti import bivariate, multivariate
from groundshift.lab.claims import Claim, Control
from groundshift.lab.study import Figure, Grid, Measure, Method, Sample, Study, World
from groundshift.measures.graphs import normalised_shd
from groundshift.studies import definetti_figures as draw
from groundshift.worlds import exchangeable_groups as worlds


@dataclass(frozen=True)
class Settings:
    """What the dial sets."""

    seeds: int = 10
    repeats: int = 20
    """Pairs of binary variables in a cell: 200 over all seeds."""
    environments: tuple[int, ...] = (200, 500, 1000, 4000)
    continuous_repeats: int = 12
    continuous_environments: int = 300
    graph_seeds: int = 60
    """A pilot of twenty left the first claim about graphs open."""
    graph_environments: tuple[int, ...] = (2000, 6000)

    @property
    def most(self) -> int:
        """The largest number of environments of a pair."""
        return self.environments[-1]


# Worlds --------------------------------------------------------------------------------------------------


@World.define()
def binary(
    rng: np.random.Generator,
    severity: float,
    *,
    environments: int,
    vary: str,
    edge: bool,
    shared: float,
    repeats: int,
) -> Sample:
    """x → y, both binary; θ and ψ vary between environments, or one of them, or none, or as one."""
    options: dict[str, Any] = {"vary": vary, "edge": edge, "shared": shared}
    drawn = [worlds.binary_pair(rng, environments, **options) for _ in range(repeats)]
    return Sample([(w.x, w.y) for w in drawn], [w.direction for w in drawn])


@World.define()
def continuous(rng: np.random.Generator, severity: float, *, environments: int, repeats: int) -> Sample:
    """The authors' continuous pairs: x → y, y → x or no edge, one third each."""
    drawn = [worlds.continuous_pair(rng, environments) for _ in range(repeats)]
    return Sample([(w.x, w.y) for w in drawn], [w.direction for w in drawn])


@World.define()
def graph(rng: np.random.Generator, severity: float, *, environments: int, one_parameter: bool) -> Sample:
    """Three binary variables on a random graph."""
    samples, edges = worlds.binary_graph(rng, environments, shared=one_parameter)
    return Sample(samples, edges)


# Methods -------------------------------------------------------------------------------------------------


@Method.define()
def definetti(data: Any, rng: np.random.Generator, *, rule: str) -> dict[str, Any]:
    """Causal de Finetti on pairs."""
    return {"answers": [bivariate(x, y, rule=rule).decision for x, y in data]}  # type: ignore[arg-type]


@Method.define(role="control")
def definetti_permuted(data: Any, rng: np.random.Generator, *, rule: str) -> dict[str, Any]:
    """The same with the second records permuted across groups: nothing is shared any more."""
    made = []
    for x, y in data:
        other = rng.permutation(len(x))
        X, Y = (np.column_stack([v[:, 0], v[other, 1]]) for v in (x, y))
        made.append(bivariate(X, Y, rule=rule).decision)  # type: ignore[arg-type]
    return {"answers": made}


@Method.define(role="baseline")
def direct_lingam(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """DirectLiNGAM (causal-learn) on the first record of every group."""
    from causallearn.search.FCMBased.lingam import DirectLiNGAM

    answers = []
    for x, y in data:
        model = DirectLiNGAM(random_state=0)
        model.fit(np.column_stack([x[:, 0], y[:, 0]]))
        B = model.adjacency_matrix_
        answers.append("x → y" if B[1, 0] != 0 else "y → x" if B[0, 1] != 0 else "none")
    return {"answers": answers}


@Method.define()
def definetti_graph(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Causal de Finetti on three variables."""
    found = multivariate(data)
    return {"edges": found.edges, "open": bool(found.open)}


@Method.define(role="baseline")
def pooled_pc(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """PC (causal-learn) with the G² test on all records pooled; an undirected edge counts half in each direction."""
    from causallearn.search.ConstraintBased.PC import pc

    d = len(data)
    drawn = pc(data.reshape(d, -1).T.astype(float), 0.05, "gsq", show_progress=False)
    edges = {(int(i), int(j)): 1.0 for i, j in drawn.find_fully_directed()}
    edges |= {(int(i), int(j)): 0.5 for i, j in drawn.find_undirected()}
    return {"edges": edges, "open": False}


# Measures ------------------------------------------------------------------------------------------------


@Measure.define(gives=("right", "wrong", "open", "arrows", "right_edge"))
def answers(output: Any, sample: Sample) -> dict[str, float]:
    """Shares of right, wrong and undecided answers, of arrows drawn, and of right ones among pairs with an edge."""
    given, truth = np.array(output["answers"]), np.array(sample.truth)
    is_open, edge = given == "undecided", truth != "none"
    return {
        "right": float((given == truth).mean()),
        "wrong": float(((given != truth) & ~is_open).mean()),
        "open": float(is_open.mean()),
        "arrows": float(np.isin(given, ["x → y", "y → x"]).mean()),
        "right_edge": float((given == truth)[edge].mean()) if edge.any() else 0.5,
    }


@Measure.define(better="lower", gives=("shd", "drawn", "left_open"))
def structure(output: Any, sample: Sample) -> dict[str, float]:
    """Normalised structural Hamming distance, arrows drawn, and whether variables were left open."""
    edges = output["edges"]
    return {
        "shd": normalised_shd(edges, sample.truth),
        "drawn": float(len(edges)),
        "left_open": float(output["open"]),
    }


# The grid ------------------------------------------------------------------------------------------------


def grids(s: Settings) -> list[Grid]:
    """The cells of the claims."""
    pair = {"edge": True, "shared": 0.0, "repeats": s.repeats}
    abstain = {"definetti": {"rule": "abstain"}, "definetti_permuted": {"rule": "abstain"}}
    most = {"environments": s.most}
    return [
        Grid(
            "binary", ("definetti", "definetti_permuted"), ("answers",), s.seeds,
            vary={"environments": s.environments}, world_params={**pair, "vary": "both"}, method_params=abstain,
            cost_s=0.3,
        ),
        Grid(
            "binary", ("definetti",), ("answers",), s.seeds, vary={"vary": ("cause", "mechanism", "neither")},
            world_params={**pair, **most}, method_params=abstain, cost_s=0.3,
        ),
        Grid(
            "binary", ("definetti",), ("answers",), s.seeds,
            world_params={**pair, **most, "edge": False, "vary": "both"}, method_params=abstain, cost_s=0.3,
        ),
        Grid(  # the mechanisms share their parameter, in some environments or in all
            "binary", ("definetti",), ("answers",), s.seeds, vary={"shared": (0.3, 0.6, 0.9, 1.0)},
            world_params={**most, "edge": True, "vary": "both", "repeats": s.repeats}, method_params=abstain,
            cost_s=0.3,
        ),
        Grid(
            "binary", ("definetti",), ("answers",), s.seeds,
            world_params={**most, "edge": True, "vary": "both", "shared": 1.0, "repeats": s.repeats},
            method_params={"definetti": {"rule": "argmax"}}, cost_s=0.3,
        ),
        Grid(
            "continuous", ("definetti", "definetti_permuted", "direct_lingam"), ("answers",), s.seeds,
            world_params={"environments": s.continuous_environments, "repeats": s.continuous_repeats},
            method_params={"definetti": {"rule": "argmax"}, "definetti_permuted": {"rule": "argmax"}},
            cost_s={"definetti": 0.8, "definetti_permuted": 0.8, "direct_lingam": 0.2},
        ),
        Grid(
            "continuous", ("definetti",), ("answers",), s.seeds,
            world_params={"environments": s.continuous_environments, "repeats": s.continuous_repeats},
            method_params=abstain, cost_s=0.8,
        ),
        Grid(
            "graph", ("definetti_graph", "pooled_pc"), ("structure",), s.graph_seeds,
            vary={"environments": s.graph_environments, "one_parameter": (False, True)}, cost_s=0.1,
        ),
    ]  # fmt: skip


# The claims ----------------------------------------------------------------------------------------------


def _share(name: str, **where: Any) -> str:
    where = {"world": "binary", "environments": MOST, "vary": "both", "edge": True, "shared": 0.0} | where
    return (
        f"mean({name}|definetti, rule='abstain', " + ", ".join(f"{k}={v!r}" for k, v in where.items()) + ")"
    )


MOST = Settings().most
NEITHER = Control(
    "where nothing varies it is not told: right in at most one of ten",
    _share("right", vary="neither"),
    high=0.1,
)
PERMUTED = Control(
    "with second records permuted across groups it is not told, with however many groups: at most one of ten",
    "max(right|definetti_permuted, world='binary')", high=0.1,
)  # fmt: skip
PERMUTED_PAIRS = Control(
    "with permuted second records pairs that have an edge are right no more often than by chance, below 0.65",
    "mean(right_edge|definetti_permuted, world='continuous')",
    high=0.65,
)
SHARED_GRAPH = Control(
    "where all variables share one parameter no arrow is drawn",
    "mean(drawn|definetti_graph, environments=6000, one_parameter=True)",
    high=0.1,
)
ARGMAX = Control(
    "the authors' rule answers there in more than nine of ten",
    "mean(open|definetti, world='binary', rule='argmax', shared=1.0)",
    high=0.1,
)

claims = (
    Claim(
        "1a", "Groups tell the direction of a binary pair (4,000 groups of two, share right)", _share("right"), 0.85,
        NEITHER, paper="identified as the number of environments grows", same="same direction only",
    ),
    Claim(
        "1b", "and mislead hardly ever (share wrong)", _share("wrong"), 0.03, NEITHER, direction="<", paper="as 1a",
        same="same direction only",
    ),
    Claim(
        "2a", "It is enough that the cause varies (share right)", _share("right", vary="cause"), 0.8, NEITHER,
        paper="theorem: one varying mechanism suffices", same="same direction only",
    ),
    Claim(
        "2b", "or that the mechanism varies (share right)", _share("right", vary="mechanism"), 0.8, NEITHER,
        paper="as 2a", same="same direction only",
    ),
    Claim(
        "3", "More groups, more truth: the share right rises from 200 to 4,000 groups (Spearman)",
        "spearman(right|definetti, world='binary', rule='abstain', vary='both', edge=True, shared=0.0, "
        "over='environments')", 0.9, PERMUTED, kind="trend",
        paper="0.70 at 100 to 0.91 at 500 environments (continuous)", same="same direction only",
    ),
    Claim(
        "4a", "Continuous pairs of the authors' generator, 300 groups, largest p-value (accuracy of three answers)",
        "mean(right|definetti, world='continuous', rule='argmax')", 0.78, PERMUTED_PAIRS,
        paper="0.87 (300 environments)", same="same quantity",
    ),
    Claim(
        "4b", "better than DirectLiNGAM on the same data (accuracy, difference)",
        "mean(right|definetti, world='continuous', rule='argmax') - mean(right|direct_lingam)", 0.2, PERMUTED_PAIRS,
        paper="0.87 − 0.45", same="same quantity",
    ),
    Claim(
        "5a", "Graphs over three binary variables, 6,000 groups (normalised SHD)",
        "mean(shd|definetti_graph, environments=6000, one_parameter=False)", 0.15, SHARED_GRAPH, direction="<",
        paper="0.18 (6,000 environments)", same="same quantity",
    ),
    Claim(
        "5b", "better than PC on the pooled records (normalised SHD, difference)",
        "mean(shd|definetti_graph, environments=6000, one_parameter=False)"
        " - mean(shd|pooled_pc, environments=6000, one_parameter=False)",
        0.0, SHARED_GRAPH, direction="<", paper="0.18 − 0.25", same="same quantity",
    ),
    Claim(
        "6a", "Where the mechanisms share their parameter it abstains (share of arrows drawn)",
        _share("arrows", shared=1.0), 0.05, ARGMAX, direction="<", paper="assumption of the theorem",
    ),
    Claim(
        "6b", "and on three variables it finds no sink and says so (share left open)",
        "mean(left_open|definetti_graph, environments=6000, one_parameter=True)", 0.9, Control(
            "with parameters of their own it rarely does",
            "mean(left_open|definetti_graph, environments=6000, one_parameter=False)",
            high=0.3,
        ), paper="assumption of the theorem",
    ),
)  # fmt: skip


study = Study(
    slug="definetti",
    module=__name__,
    version=2,
    scales={
        "quick": Settings(seeds=2, repeats=4, continuous_repeats=2, continuous_environments=100, graph_seeds=2),
        "cpu": Settings(),
        "paper": Settings(
            seeds=20, repeats=100, continuous_repeats=20, continuous_environments=500, graph_seeds=100,
            graph_environments=(2000, 6000, 10000),
        ),
    },
    grids=grids,
    worlds=(binary, continuous, graph),
    methods=(definetti, definetti_permuted, direct_lingam, definetti_graph, pooled_pc),
    measures=(answers, structure),
    claims=claims,
    figures=(
        Figure(
            "groups", "Binary pairs: share right, wrong and open by the number of groups.", draw.groups,
            "world == 'binary' and shared == 0.0 and edge == True and vary == 'both' and "
            "measure in ['right', 'wrong', 'open']",
        ),
        Figure(
            "conditions", "Binary pairs with 4,000 groups: what varies, what is shared.", draw.conditions,
            "world == 'binary' and environments == 4000 and method == 'definetti' and "
            "measure in ['right', 'wrong', 'open']",
        ),
        Figure(
            "graphs", "Three binary variables: normalised structural Hamming distance; a dot is a seed.", draw.graphs,
            "world == 'graph' and measure == 'shd' and one_parameter == False",
        ),
    ),
    root_seed=20261126,  # a pilot drew from another root
    preload=("numpy", "scipy.stats", "pandas", "networkx"),
)  # fmt: skip
