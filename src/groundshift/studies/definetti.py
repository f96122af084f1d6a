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
from groundshift.studies.definetti_figures import conditions
from groundshift.studies.drawing import Panel, chart
from groundshift.worlds import exchangeable_groups as worlds


@dataclass(frozen=True)
class Settings:
    """What the dial sets."""

    seeds: int = 10
    repeats: int = 20
    """Pairs of binary variables in a cell, and trials of each replicate of a rate: 200 over all seeds."""
    environments: tuple[int, ...] = (200, 500, 1000, 4000)
    continuous_repeats: int = 12
    continuous_environments: tuple[int, ...] = (100, 300, 500)
    graph_seeds: int = 60
    """A pilot of twenty left the first claim about graphs open."""
    graph_environments: tuple[int, ...] = (2000, 6000)

    @property
    def most(self) -> int:
        """The largest number of environments of a pair."""
        return self.environments[-1]


# Worlds --------------------------------------------------------------------------------------------------


@World.define(version=2)
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
    """Cause and effect, both binary, in random order; θ and ψ vary between environments, or one of them, or none."""
    pairs, truth = [], []
    for _ in range(repeats):
        drawn = worlds.binary_pair(rng, environments, vary=vary, edge=edge, shared=shared)  # type: ignore[arg-type]
        swapped = rng.random() < 0.5
        pairs.append((drawn.y, drawn.x) if swapped else (drawn.x, drawn.y))
        truth.append(SWAPPED[drawn.direction] if swapped else drawn.direction)
    return Sample(pairs, truth)


@World.define(version=2)
def continuous(rng: np.random.Generator, severity: float, *, environments: int, repeats: int) -> Sample:
    """The authors' continuous pairs: x → y, y → x or no edge, one third each."""
    drawn = [worlds.continuous_pair(rng, environments) for _ in range(repeats)]
    return Sample([(w.x, w.y) for w in drawn], [w.direction for w in drawn])


@World.define()
def graph(rng: np.random.Generator, severity: float, *, environments: int, one_parameter: bool) -> Sample:
    """Three binary variables on a random graph, columns in random order."""
    samples, edges = worlds.binary_graph(rng, environments, shared=one_parameter)
    return Sample(samples, edges)


SWAPPED = {"x → y": "y → x", "y → x": "x → y", "none": "none", "undecided": "undecided"}


# Methods -------------------------------------------------------------------------------------------------


@Method.define()
def definetti(data: Any, rng: np.random.Generator, *, rule: str) -> dict[str, Any]:
    """Causal de Finetti on pairs."""
    return {"answers": [bivariate(x, y, rule=rule).decision for x, y in data]}  # type: ignore[arg-type]


@definetti.tampered()
def definetti_permuted(data: Any, rng: np.random.Generator) -> Any:
    """Second records permuted across groups: nothing is shared any more."""
    return [tuple(_permuted(rng, *pair)) for pair in data]


def _permuted(rng: np.random.Generator, *variables: Any) -> list[Any]:
    """Variables of shape (environments, two records), the second records of all in one other order."""
    other = rng.permutation(len(variables[0]))
    return [np.column_stack([v[:, 0], v[other, 1]]) for v in variables]


@Method.define()
def definetti_graph(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Causal de Finetti on three variables."""
    answer = multivariate(data)
    return {"edges": answer.edges, "open": bool(answer.open)}


@definetti_graph.tampered()
def graph_permuted(data: Any, rng: np.random.Generator) -> Any:
    """Second records permuted across groups."""
    return np.stack([v.T for v in _permuted(rng, *(v.T for v in data))])


@Method.define(role="baseline")
def direct_lingam(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """DirectLiNGAM (causal-learn) on both records of every group."""
    from causallearn.search.FCMBased.lingam import DirectLiNGAM

    answers = []
    for x, y in data:
        model = DirectLiNGAM(random_state=0)
        model.fit(np.column_stack([x.ravel(), y.ravel()]))
        B = model.adjacency_matrix_
        answers.append("x → y" if B[1, 0] != 0 else "y → x" if B[0, 1] != 0 else "none")
    return {"answers": answers}


@Method.define(role="baseline")
def cd_nod(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """CD-NOD (causal-learn) with the group as the domain index, Fisher's z test on both records."""
    from causallearn.search.ConstraintBased.CDNOD import cdnod

    answers = []
    for x, y in data:
        group = np.repeat(np.arange(len(x)), x.shape[1])[:, None].astype(float)
        pair = np.column_stack([x.ravel(), y.ravel()])
        answers.append(_direction(cdnod(pair, group, show_progress=False).G.graph))
    return {"answers": answers}


@Method.define(role="baseline")
def fci(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """FCI (causal-learn) with Fisher's z test on both records: of two variables it can tell only whether an edge is."""
    from causallearn.search.ConstraintBased.FCI import fci as search

    pairs = [np.column_stack([x.ravel(), y.ravel()]) for x, y in data]
    return {"answers": [_direction(search(pair, show_progress=False)[0].graph) for pair in pairs]}


@Method.define(role="baseline")
def ges(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """GES (causal-learn) with the BIC score on both records; like FCI it cannot direct a pair."""
    from causallearn.search.ScoreBased.GES import ges as search

    pairs = [np.column_stack([x.ravel(), y.ravel()]) for x, y in data]
    return {"answers": [_direction(search(pair)["G"].graph) for pair in pairs]}


def _direction(graph: Any) -> str:
    """The answer of causal-learn's matrix of end marks for the first two variables: -1 a tail, 1 an arrow head."""
    ends = int(graph[0, 1]), int(graph[1, 0])  # the mark at x, the mark at y
    return {(0, 0): "none", (-1, 1): "x → y", (1, -1): "y → x"}.get(ends, "undecided")


@Method.define(role="baseline")
def pooled_pc(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """PC (causal-learn) with the G² test on all records pooled; an undirected edge counts half in each direction."""
    from causallearn.search.ConstraintBased.PC import pc

    d = len(data)
    answer = pc(data.reshape(d, -1).T.astype(float), 0.05, "gsq", show_progress=False)
    edges = {(int(i), int(j)): 1.0 for i, j in answer.find_fully_directed()}
    edges |= {(int(i), int(j)): 0.5 for i, j in answer.find_undirected()}
    return {"edges": edges, "open": False}


# Mutants -------------------------------------------------------------------------------------------------


@Method.define(role="mutant", of=definetti)
def silent(data: Any, rng: np.random.Generator, *, rule: str) -> dict[str, Any]:
    """Never decides a pair."""
    return {"answers": ["undecided" for _ in data]}


@Method.define(role="mutant", of=definetti)
def never_backwards(data: Any, rng: np.random.Generator, *, rule: str) -> dict[str, Any]:
    """Says x → y of every pair."""
    return {"answers": ["x → y" for _ in data]}


@Method.define(role="mutant", of=definetti)
def coin(data: Any, rng: np.random.Generator, *, rule: str) -> dict[str, Any]:
    """Draws one of the two directions for every pair."""
    return {"answers": list(rng.choice(["x → y", "y → x"], len(data)))}


@Method.define(role="mutant", of=definetti)
def blind_to_groups(data: Any, rng: np.random.Generator, *, rule: str) -> dict[str, Any]:
    """Pairs every record with one of another group."""
    return dict(definetti.run([tuple(_permuted(rng, *pair)) for pair in data], rng, rule=rule))


@Method.define(role="mutant", of=definetti)
def wrong_sign(data: Any, rng: np.random.Generator, *, rule: str) -> dict[str, Any]:
    """Turns every arrow round."""
    return {"answers": [SWAPPED[answer] for answer in definetti.run(data, rng, rule=rule)["answers"]]}


@Method.define(role="mutant", of=definetti)
def never_open(data: Any, rng: np.random.Generator, *, rule: str) -> dict[str, Any]:
    """Takes the largest of the three p-values where the tests do not agree, as the authors' code does."""
    return dict(definetti.run(data, rng, rule="argmax"))


@Method.define(role="mutant", of=definetti_graph)
def no_graph(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Draws no arrow, and says that nothing is open."""
    return {"edges": [], "open": False}


@Method.define(role="mutant", of=definetti_graph)
def any_graph(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Draws arrows at random."""
    _, edges = worlds.binary_graph(rng, 1)
    return {"edges": sorted(edges), "open": False}


@Method.define(role="mutant", of=definetti_graph)
def reversed_graph(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Turns every arrow round."""
    answer = definetti_graph.run(data, rng)
    return {**answer, "edges": [(j, i) for i, j in answer["edges"]]}


@Method.define(role="mutant", of=definetti_graph)
def empty_where_no_sink(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Gives an empty graph as its answer where no variable is a sink, as the authors' code does."""
    answer = definetti_graph.run(data, rng)
    return {"edges": [] if answer["open"] else answer["edges"], "open": False}


# Measures ------------------------------------------------------------------------------------------------


@Measure.define(version=2, gives=("right", "wrong", "open", "arrows"))
def answers(output: Any, sample: Sample) -> dict[str, float]:
    """Shares of right, wrong and undecided answers, and of arrows drawn."""
    given, truth = np.array(output["answers"]), np.array(sample.truth)
    is_open = given == "undecided"
    return {
        "right": float((given == truth).mean()),
        "wrong": float(((given != truth) & ~is_open).mean()),
        "open": float(is_open.mean()),
        "arrows": float(np.isin(given, ["x → y", "y → x"]).mean()),
    }


@Measure.define(better="lower", version=2, gives=("shd", "left_open"))
def structure(output: Any, sample: Sample) -> dict[str, float]:
    """Normalised structural Hamming distance, and whether variables were left open."""
    return {"shd": normalised_shd(output["edges"], sample.truth), "left_open": float(output["open"])}


# The grid ------------------------------------------------------------------------------------------------


def grids(s: Settings) -> list[Grid]:
    """The cells of the claims."""
    pair = {"edge": True, "shared": 0.0, "repeats": s.repeats, "vary": "both"}
    both = ("definetti", "definetti_permuted")
    rivals = ("direct_lingam", "cd_nod", "fci", "ges")
    most = {**pair, "environments": s.most}

    def under(rule: str) -> dict[str, dict[str, str]]:
        return {name: {"rule": rule} for name in both}

    def only(*names: str) -> dict[str, Any]:
        return {name: value for name, value in most.items() if name not in names}

    return [
        Grid(
            "binary", both, ("answers",), s.seeds, vary={"environments": s.environments}, world_params=pair,
            method_params=under("abstain"), cost_s=0.3,
        ),
        Grid(
            "binary", ("definetti",), ("answers",), s.seeds, vary={"vary": ("cause", "mechanism", "neither")},
            world_params=only("vary"), method_params=under("abstain"), cost_s=0.3,
        ),
        Grid(
            "binary", ("definetti",), ("answers",), s.seeds, world_params={**most, "edge": False},
            method_params=under("abstain"), cost_s=0.3,
        ),
        Grid(  # the mechanisms share their parameter, in some environments or in all
            "binary", ("definetti",), ("answers",), s.seeds, vary={"shared": (0.3, 0.6, 0.9, 1.0)},
            world_params=only("shared"), method_params=under("abstain"), cost_s=0.3,
        ),
        *(
            Grid(  # the authors' rule never abstains
                "binary", ("definetti",), ("answers",), s.seeds, world_params={**most, **without},
                method_params=under("argmax"), cost_s=0.3,
            )
            for without in ({"shared": 1.0}, {"vary": "neither"})
        ),
        Grid(
            "continuous", (*both, *rivals), ("answers",), s.seeds, vary={"environments": s.continuous_environments},
            world_params={"repeats": s.continuous_repeats}, method_params=under("argmax"),
            cost_s={**dict.fromkeys(both, 0.8), **dict.fromkeys(rivals, 0.2)},
        ),
        Grid(
            "graph", ("definetti_graph", "graph_permuted", "pooled_pc"), ("structure",), s.graph_seeds,
            vary={"environments": s.graph_environments, "one_parameter": (False, True)}, cost_s=0.1,
        ),
    ]  # fmt: skip


# The claims ----------------------------------------------------------------------------------------------


def _share(name: str, **where: Any) -> str:
    where = {
        "world": "binary", "rule": "abstain", "environments": MOST, "vary": "both", "edge": True, "shared": 0.0, **where
    }  # fmt: skip
    return f"mean({name}|definetti, " + ", ".join(f"{k}={v!r}" for k, v in where.items()) + ")"


MOST, REPEATS = Settings().most, Settings().repeats
NEITHER = Control(
    "where nothing varies it is not told: right in at most one of ten",
    _share("right", vary="neither"),
    high=0.1,
)
RIVALS = (
    "highest("
    + ", ".join(f"mean(right|{name}, environments=300)" for name in ("direct_lingam", "cd_nod", "fci", "ges"))
    + ")"
)
OURS = "mean(right|{}, world='continuous', environments={})"
GRAPH = "mean(shd|{}, environments=6000, one_parameter=False)"

claims = (
    Claim(
        "1a", "Groups tell the direction of a binary pair (4,000 groups of two, share right)", _share("right"), 0.85,
        NEITHER, paper="identified as the number of environments grows", same="same direction only", version=2,
    ),
    Claim(
        "1b", "and mislead hardly ever (share wrong)", _share("wrong"), 0.01,
        Control(
            "the authors' rule, which never abstains, misleads where nothing varies in at least three of ten",
            _share("wrong", vary="neither", rule="argmax"), low=0.3,
        ), kind="rate", slack=0.02, trials=REPEATS, paper="as 1a", same="same direction only", version=2,
    ),
    Claim(
        "2a", "It is enough that the cause varies (share right)", _share("right", vary="cause"), 0.8, NEITHER,
        paper="theorem: one varying mechanism suffices", same="same direction only", version=2,
    ),
    Claim(
        "2b", "or that the mechanism varies (share right)", _share("right", vary="mechanism"), 0.8, NEITHER,
        paper="as 2a", same="same direction only", version=2,
    ),
    Claim(
        "3", "More groups, more truth: the share right rises from 200 to 4,000 groups (Spearman)",
        "spearman(right|definetti, world='binary', rule='abstain', vary='both', edge=True, shared=0.0, "
        "over='environments')", 0.9,
        Control(
            "with second records permuted across groups 4,000 groups do not tell it: right in at most one of ten",
            f"mean(right|definetti_permuted, world='binary', environments={MOST})", high=0.1, rule="mean",
        ), kind="trend", paper="0.70 at 100 to 0.91 at 500 environments (continuous)", same="same direction only",
        version=2,
    ),
    Claim(
        "4a", "Continuous pairs of the authors' generator, 300 groups, largest p-value (accuracy of three answers)",
        OURS.format("definetti", 300), 0.78,
        Control(
            "with permuted second records edges point either way: about two thirds, at most 0.78",
            OURS.format("definetti_permuted", 300), high=0.78, rule="mean",
        ), paper="0.87 (300 environments)", same="same quantity", version=2,
    ),
    Claim(
        "4b", "better than the best of DirectLiNGAM, CD-NOD, FCI and GES on the same records (accuracy, difference)",
        f"{OURS.format('definetti', 300)} - {RIVALS}", 0.2,
        Control(
            "with permuted second records, where edges are still found and point either way, by at most 0.3",
            f"{OURS.format('definetti_permuted', 300)} - {RIVALS}", high=0.3, rule="mean",
        ), paper="0.87 − 0.45", same="same quantity", version=2,
    ),
    Claim(
        "4c", "and more groups tell more: 500 groups minus 100 (accuracy, difference)",
        f"{OURS.format('definetti', 500)} - {OURS.format('definetti', 100)}", 0.05,
        Control(
            "with permuted second records they do not",
            f"{OURS.format('definetti_permuted', 500)} - {OURS.format('definetti_permuted', 100)}", high=0.06,
            rule="mean",
        ), paper="0.91 − 0.70", same="same quantity",
    ),
    Claim(
        "5a", "Graphs over three binary variables, 6,000 groups (normalised SHD)",
        GRAPH.format("definetti_graph"), 0.15,
        Control(
            "with permuted second records the graph is not told: at least 0.3", GRAPH.format("graph_permuted"), low=0.3
        ), direction="<", paper="0.18 (6,000 environments)", same="same quantity", version=2,
    ),
    Claim(
        "5b", "better than PC on the pooled records (normalised SHD, difference)",
        f"{GRAPH.format('definetti_graph')} - {GRAPH.format('pooled_pc')}", 0.0,
        Control(
            "with permuted second records it is worse by 0.1 and more",
            f"{GRAPH.format('graph_permuted')} - {GRAPH.format('pooled_pc')}", low=0.1, rule="mean",
        ), direction="<", paper="0.18 − 0.25", same="same quantity", version=2,
    ),
    Claim(
        "6a", "Where the mechanisms share their parameter it abstains (share of arrows drawn)",
        _share("arrows", shared=1.0), 0.03,
        Control("with parameters of their own it draws one in at least eight of ten", _share("arrows"), low=0.8),
        kind="rate", slack=0.02, trials=REPEATS, paper="assumption of the theorem", version=2,
    ),
    Claim(
        "6b", "and on three variables it finds no sink and says so (share left open)",
        "mean(left_open|definetti_graph, environments=6000, one_parameter=True)", 0.9, Control(
            "with parameters of their own it does in four of ten at most",
            "mean(left_open|definetti_graph, environments=6000, one_parameter=False)", high=0.4, rule="mean",
        ), paper="assumption of the theorem",
    ),
)  # fmt: skip


study = Study(
    slug="definetti",
    module=__name__,
    version=3,
    scales={
        "quick": Settings(seeds=1, repeats=4, continuous_repeats=2, graph_seeds=1),
        "cpu": Settings(),
        "paper": Settings(
            seeds=100, continuous_repeats=20, continuous_environments=(100, 200, 300, 400, 500),
            graph_seeds=100, graph_environments=(2000, 6000, 10000),
        ),
    },
    grids=grids,
    worlds=(binary, continuous, graph),
    methods=(
        definetti, definetti_permuted, direct_lingam, cd_nod, fci, ges, definetti_graph, graph_permuted, pooled_pc,
        silent, never_backwards, coin, blind_to_groups, wrong_sign, never_open,
        no_graph, any_graph, reversed_graph, empty_where_no_sink,
    ),
    measures=(answers, structure),
    claims=claims,
    figures=(
        Figure(
            "groups", "Binary pairs: share right, wrong and open by the number of groups.",
            chart(
                "More groups, more truth; without, it abstains",
                Panel(
                    "4,000 groups of two tell nine of ten pairs", "environments", "measure", "lines",
                    x_label="groups of two records", y_label="share of pairs", log=True,
                ),
                width=6.6,
            ),
            "world == 'binary' and method == 'definetti' and shared == 0.0 and edge == True and vary == 'both' and "
            "measure in ['right', 'wrong', 'open']",
        ),
        Figure(
            "conditions", "Binary pairs with 4,000 groups: what varies, what is shared.", conditions,
            "world == 'binary' and environments == 4000 and method == 'definetti' and "
            "measure in ['right', 'wrong', 'open']",
        ),
        Figure(
            "rivals", "Continuous pairs: accuracy of three answers by the number of groups; chance is a third.",
            chart(
                "Two records per group tell what pooled records cannot",
                Panel(
                    "", "environments", kind="lines", x_label="groups of two records", y_label="accuracy", level=1 / 3,
                ),
                width=6.6,
            ),
            "world == 'continuous' and measure == 'right'",
        ),
        Figure(
            "graphs", "Three binary variables: normalised structural Hamming distance; a dot is a seed.",
            chart(
                "Graphs over three binary variables",
                Panel("", "environments", y_label="normalised SHD (lower is better)", x_label="groups"), width=6.6,
            ),
            "world == 'graph' and measure == 'shd' and one_parameter == False",
        ),
    ),
    root_seed=20261201,
    preload=("numpy", "scipy.stats", "pandas", "networkx"),
)  # fmt: skip
