"""The study of CD-NOD: does it see which mechanisms change, and do changes orient arrows? (arXiv:1903.01672)

Worlds of the spec: a chain that drifts in time, pairs whose mechanisms change between domains in four ways, a driven
pair for the driving force, and random graphs for all phases at once. Columns stand in random order everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from groundshift.discovery.cdnod import CDNOD, driving_force, independent_change_score
from groundshift.discovery.cdnod.changes import Rule, compare
from groundshift.discovery.cdnod.table import Context
from groundshift.discovery.independence import independence_test, standardise
from groundshift.lab.claims import Claim, Control
from groundshift.lab.study import Figure, Grid, Measure, Method, Sample, Study, World
from groundshift.measures.graphs import directed_share, edge_f1, wrong_arrows
from groundshift.studies.drawing import Panel, chart
from groundshift.worlds import changing_mechanisms as worlds
from groundshift.worlds.changing_mechanisms import ChangingWorld


@dataclass(frozen=True)
class Settings:
    """What the dial sets."""

    seeds: int = 36
    """Seeds and graphs were set by pilots on other random draws; 36 seeds that are all 1 show a mean above .9."""
    shuffled_seeds: int = 18
    """Of pairs with shuffled domains."""
    pairs: int = 8
    """Pairs whose share of right answers is one value."""
    few_pairs: int = 24
    """The same with five domains, of which about a third are decided."""
    graphs: int = 40
    rows: int = 300
    """Of the chain in time."""
    domain_rows: int = 30


# Worlds --------------------------------------------------------------------------------------------------


@World.define(version=2)
def chain(rng: np.random.Generator, severity: float, *, rows: int, changing: bool) -> Sample:
    """x1 → x2 → x3 → x4, where x2 and x4 drift with time, or nothing does."""
    return _sample(worlds.chain_in_time(rng, rows, changing=changing).with_columns_in_random_order(rng))


@World.define(version=2)
def pairs(
    rng: np.random.Generator, severity: float, *, kind: str, domains: int, rows: int, pairs: int
) -> Sample:
    """x → y in several domains, many times over."""
    drawn = [worlds.changing_pair(rng, domains, rows, kind) for _ in range(pairs)]  # type: ignore[arg-type]
    return _samples([world.with_columns_in_random_order(rng) for world in drawn])


@World.define()
def five_domains(rng: np.random.Generator, severity: float, *, rows: int, pairs: int) -> Sample:
    """Pairs with independent changes in five domains, the fewest of which any pair is decided."""
    drawn = [worlds.changing_pair(rng, 5, rows) for _ in range(pairs)]
    return _samples([world.with_columns_in_random_order(rng) for world in drawn])


@World.define(version=2)
def driven(rng: np.random.Generator, severity: float, *, draws: int) -> Sample:
    """Cause and effect with a known force on the mechanism of each; 12 domains of 20 rows; which is which is told."""
    drawn = [worlds.driven_pair(rng).with_columns_in_random_order(rng) for _ in range(draws)]
    return Sample([(w.data[:, _cause(w)], w.data[:, 1 - _cause(w)], w.domain) for w in drawn], drawn)


@World.define(version=2)
def graph(
    rng: np.random.Generator, severity: float, *, domains: int, rows: int, share_changing: float
) -> Sample:
    """A random graph of five variables; each mechanism changes with a probability."""
    return _sample(worlds.changing_graph(rng, 5, domains, rows, share_changing=share_changing))


def _sample(world: ChangingWorld) -> Sample:
    return Sample((world.data, world.domain), world)


def _samples(drawn: list[ChangingWorld]) -> Sample:
    return Sample([(w.data, w.domain) for w in drawn], drawn)


def _cause(pair: ChangingWorld) -> int:
    ((cause, _),) = pair.edges
    return cause


# Methods -------------------------------------------------------------------------------------------------


def _fit(data: Any, rng: np.random.Generator, phases: tuple[int, ...] = (1, 2, 3)) -> dict[str, Any]:
    """Edges as (cause, effect, oriented, reason), and the changing columns."""
    X, domain = data
    kind = "time" if len(np.unique(domain)) == len(domain) else "domain"
    order = np.argsort(domain, kind="stable")
    model = CDNOD(domain_kind=kind, phases=phases, random_state=int(rng.integers(2**31)))  # type: ignore[arg-type]
    model.fit(X[order], domain=domain[order])
    place = {name: k for k, name in enumerate(model.variables_)}
    rows = zip(*(model.edges_[column] for column in ("cause", "effect", "oriented", "reason")), strict=True)
    edges = [
        (place[cause], place[effect], bool(oriented), reason) for cause, effect, oriented, reason in rows
    ]
    return {"edges": edges, "changing": np.flatnonzero(model.changing_["changing"]).tolist()}


@Method.define(version=2)
def cdnod(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Phases 1 to 3."""
    return _fit(data, rng)


@cdnod.tampered(version=2)
def cdnod_shuffled(data: Any, rng: np.random.Generator) -> Any:
    """With the domains or times of the rows shuffled."""
    return data[0], rng.permutation(data[1])


@cdnod.tampered()
def columns_apart(data: Any, rng: np.random.Generator) -> Any:
    """With the rows of each column shuffled on their own, so that nothing is adjacent to anything."""
    return rng.permuted(data[0], axis=0), data[1]


@Method.define(role="baseline", version=2)
def cdnod_without_phase_3(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Phases 1 and 2: what other implementations stop at."""
    return _fit(data, rng, (1, 2))


@Method.define(role="control", of=cdnod)
def coin_for_phase_3(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Phases 1 and 2, and a coin is tossed for each arrow that phase 3 draws."""
    return _with_coin(data, rng)


def _with_coin(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    answer = _fit(data, rng)
    edges = [
        (j, i, oriented, why)
        if why == "independent changes" and rng.random() < 0.5
        else (i, j, oriented, why)
        for i, j, oriented, why in answer["edges"]
    ]
    return {**answer, "edges": edges}


@Method.define(role="baseline")
def pooled_pc(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """PC on the pooled rows, blind to the domain, with the same test."""
    return _pooled(data)


def _pooled(data: Any) -> dict[str, Any]:
    from causallearn.utils.PCUtils.Meek import meek
    from causallearn.utils.PCUtils.SkeletonDiscovery import skeleton_discovery
    from causallearn.utils.PCUtils.UCSepset import uc_sepset

    X = data[0]
    ask = independence_test("kci" if len(X) <= 500 else "kci-lowrank", X)
    drawn = skeleton_discovery(np.zeros(X.shape), 0.05, ask, stable=True, show_progress=False, max_k=2)
    drawn.test = None
    drawn = meek(uc_sepset(drawn, 2))
    arrows = [(int(i), int(j), True, "") for i, j in drawn.find_fully_directed()]
    lines = [(int(i), int(j), False, "") for i, j in drawn.find_undirected() if i < j]
    return {"edges": arrows + lines, "changing": []}


@Method.define(version=2)
def changes(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """The direction with the smaller Δ, and whether the data can tell."""
    scores = [
        independent_change_score(
            X[:, 0], X[:, 1], c, domain_kind="domain", random_state=int(rng.integers(2**31))
        )
        for X, c in data
    ]
    return {"effect": ["xy".index(s.effect) for s in scores], "decided": [s.decided for s in scores]}


@changes.tampered()
def changes_shuffled(data: Any, rng: np.random.Generator) -> Any:
    """With the domains of the rows shuffled: no mechanism changes between them any more."""
    return [(X, rng.permutation(c)) for X, c in data]


@Method.define(version=2)
def force(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """First component of the driving force of the effect given the cause."""
    return {"force": [_force(y, x, c) for x, y, c in data]}


@force.tampered()
def force_shuffled(data: Any, rng: np.random.Generator) -> Any:
    """With the domains of the rows shuffled."""
    return [(x, y, rng.permutation(c)) for x, y, c in data]


@Method.define(role="baseline")
def force_of_effect_alone(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """First component of the driving force of the effect's own distribution, which the cause moves as well."""
    return {"force": [_force(y, None, c) for _, y, c in data]}


def _force(y: np.ndarray, parents: np.ndarray | None, domain: np.ndarray) -> np.ndarray:
    return driving_force(y, parents, domain, domain_kind="domain").components["1"].to_numpy()


# Mutants -------------------------------------------------------------------------------------------------


@Method.define(role="mutant", of=cdnod)
def nothing(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Finds no change and draws no edge."""
    return {"edges": [], "changing": []}


@Method.define(role="mutant", of=cdnod)
def column_order(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Draws an arrow from every column to the next, and says that all of them change."""
    n = data[0].shape[1]
    return {"edges": [(k, k + 1, True, "") for k in range(n - 1)], "changing": list(range(n))}


@Method.define(role="mutant", of=cdnod)
def any_graph(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Draws half of all edges, their directions and the changing columns at random."""
    n = data[0].shape[1]
    order = rng.permutation(n).tolist()
    edges = [(i, j, True, "") for k, i in enumerate(order) for j in order[k + 1 :] if rng.random() < 0.5]
    return {"edges": edges, "changing": np.flatnonzero(rng.random(n) < 0.5).tolist()}


@Method.define(role="mutant", of=cdnod)
def blind_to_domain(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Leaves the domain out: PC on the pooled rows."""
    return _pooled(data)


@Method.define(role="mutant", of=cdnod)
def reversed_arrows(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Turns every arrow round."""
    answer = _fit(data, rng)
    return {**answer, "edges": [(j, i, oriented, why) for i, j, oriented, why in answer["edges"]]}


@Method.define(role="mutant", of=cdnod)
def coin_toss(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Tosses a coin for every arrow of phase 3."""
    return _with_coin(data, rng)


@Method.define(role="mutant", of=changes)
def second_column(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Names the second column as the effect of every pair."""
    return {"effect": [1 for _ in data], "decided": [True for _ in data]}


@Method.define(role="mutant", of=changes)
def coin_pair(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Draws the effect of every pair, and whether it is decided."""
    return {
        "effect": rng.integers(0, 2, len(data)).tolist(),
        "decided": rng.integers(0, 2, len(data)).tolist(),
    }


@Method.define(role="mutant", of=changes)
def undecided(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Decides no pair, and draws its effect."""
    return {"effect": rng.integers(0, 2, len(data)).tolist(), "decided": [False for _ in data]}


@Method.define(role="mutant", of=changes)
def sign_alone(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Takes the smaller Δ, not normalised, whatever the margin is, as the authors' code does."""
    return {"effect": [_smaller(*pair) for pair in data], "decided": [True for _ in data]}


@Method.define(role="mutant", of=changes)
def wrong_sign(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Takes the larger Δ of every pair."""
    return {"effect": [1 - _smaller(*pair) for pair in data], "decided": [True for _ in data]}


def _smaller(X: np.ndarray, domain: np.ndarray) -> int:
    """The column whose hypothesis "this is the effect" has the smaller Δ of the authors' code."""
    x, y = standardise(X[:, :1]), standardise(X[:, 1:])
    context, rule = Context.make(pd.Series(domain), "domain", 1.0), Rule(subsets=1, permutations=0)
    state = np.random.RandomState(0)  # of subsets, which nothing here depends on
    return int(compare({"0": (x, y), "1": (y, x)}, context, 0.4, 0.1, False, state, rule).effect)


@Method.define(role="mutant", of=force)
def ramp(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Rises from the first domain to the last, whatever it is handed."""
    return {"force": [np.arange(len(np.unique(c)), dtype=float) for *_, c in data]}


@Method.define(role="mutant", of=force)
def noise(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Draws a force."""
    return {"force": [rng.standard_normal(len(np.unique(c))) for *_, c in data]}


@Method.define(role="mutant", of=force)
def blind_to_cause(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Leaves the cause out."""
    return {"force": [_force(y, None, c) for _, y, c in data]}


@Method.define(role="mutant", of=force)
def wrong_variable(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Gives the force of the cause given the effect."""
    return {"force": [_force(x, y, c) for x, y, c in data]}


# Measures ------------------------------------------------------------------------------------------------


@Measure.define(version=2, gives=("changing_f1", "skeleton_f1", "directed", "wrong", "net"))
def structure(output: Any, sample: Sample) -> dict[str, float]:
    """F1 of changing mechanisms and adjacencies; true edges directed right (share), wrong arrows, right less wrong."""
    truth: ChangingWorld = sample.truth
    arrows = {(i, j) for i, j, oriented, _ in output["edges"] if oriented}
    directed = directed_share(arrows, truth.edges) if truth.edges else 1.0
    wrong = wrong_arrows(arrows, truth.edges)
    return {
        "changing_f1": edge_f1(output["changing"], truth.changing),
        "skeleton_f1": edge_f1({frozenset((i, j)) for i, j, *_ in output["edges"]}, truth.skeleton),
        "directed": directed,
        "wrong": float(wrong),
        "net": directed - wrong / max(1, len(truth.edges)),
    }


@Measure.define(version=2, gives=("accuracy", "decided", "decided_wrong", "decided_right"))
def direction(output: Any, sample: Sample) -> dict[str, float]:
    """Shares of pairs directed right by the smaller Δ, decided, decided wrongly; and right among those decided.

    Where no pair is decided the last one is a half, as a coin gives.
    """
    right = np.array(output["effect"]) == [1 - _cause(pair) for pair in sample.truth]
    decided = np.array(output["decided"], dtype=bool)
    return {
        "accuracy": float(right.mean()),
        "decided": float(decided.mean()),
        "decided_wrong": float((decided & ~right).mean()),
        "decided_right": float(right[decided].mean()) if decided.any() else 0.5,
    }


@Measure.define(version=2, by={"of": ("effect", "cause")}, gives=("recovery",))
def recovery(output: Any, sample: Sample) -> list[dict[str, Any]]:
    """Mean |Spearman| of the first component with the true force on the effect's mechanism, and on the cause's."""

    def mean(of: str) -> float:
        column = [_cause(pair) if of == "cause" else 1 - _cause(pair) for pair in sample.truth]
        given = zip(output["force"], sample.truth, column, strict=True)
        return float(np.mean([abs(spearmanr(f, pair.forces[v])[0]) for f, pair, v in given]))

    return [{"of": of, "recovery": mean(of)} for of in ("effect", "cause")]


# The grid ------------------------------------------------------------------------------------------------


def grids(s: Settings) -> list[Grid]:
    """The cells of the claims."""
    many = {"rows": s.domain_rows, "pairs": s.pairs}
    five = {"rows": s.domain_rows, "pairs": s.few_pairs}
    graphs = {"domains": 20, "rows": s.domain_rows}
    return [
        Grid(
            "chain", ("cdnod", "cdnod_shuffled", "pooled_pc"), ("structure",), s.seeds, vary={"changing": (True,)},
            world_params={"rows": s.rows}, cost_s=0.3,
        ),
        Grid(
            "chain", ("columns_apart",), ("structure",), s.seeds, vary={"changing": (True,)},
            world_params={"rows": s.rows}, cost_s=0.3,
        ),
        Grid(
            "chain", ("cdnod", "pooled_pc"), ("structure",), s.seeds, vary={"changing": (False,)},
            world_params={"rows": s.rows}, cost_s=0.3,
        ),
        *(
            grid
            for name, seeds in (("changes", s.seeds), ("changes_shuffled", s.shuffled_seeds))
            for grid in (
                Grid(
                    "pairs", (name,), ("direction",), seeds,
                    vary={"kind": ("independent",), "domains": (3, 5, 10, 20)}, world_params=many, cost_s=0.3,
                ),
                Grid("five_domains", (name,), ("direction",), seeds, world_params=five, cost_s=0.9),
            )
        ),
        Grid(
            "pairs", ("changes",), ("direction",), s.seeds,
            vary={"kind": ("dependent", "far apart", "overlapping"), "domains": (20,)}, world_params=many, cost_s=0.4,
        ),
        Grid(
            "driven", ("force", "force_shuffled", "force_of_effect_alone"), ("recovery",), s.seeds,
            world_params={"draws": 5}, cost_s=0.1,
        ),
        Grid(
            "graph", ("cdnod", "cdnod_shuffled", "pooled_pc"), ("structure",), s.graphs,
            world_params={**graphs, "share_changing": 0.5}, cost_s=0.4,
        ),
        Grid(
            "graph", ("cdnod", "cdnod_without_phase_3", "coin_for_phase_3"), ("structure",), s.graphs,
            world_params={**graphs, "share_changing": 1.0}, cost_s=0.6,
        ),
    ]  # fmt: skip


# The claims ----------------------------------------------------------------------------------------------


def _drifting(measure: str, method: str = "cdnod", changing: bool = True) -> str:
    return f"mean({measure}|{method}, world='chain', changing={changing})"


def _above_pc(measure: str, changing: bool = True) -> str:
    return f"{_drifting(measure, changing=changing)} - {_drifting(measure, 'pooled_pc', changing)}"


def _pairs(measure: str, method: str = "changes", kind: str = "independent", domains: int = 20) -> str:
    return f"mean({measure}|{method}, world='pairs', kind={kind!r}, domains={domains})"


def _graphs(method: str, other: str, share: float) -> str:
    where = f"world='graph', share_changing={share}"
    return f"mean(net|{method}, {where}) - mean(net|{other}, {where})"


RISE = "spearman(accuracy|{}, world='pairs', kind='independent', over='domains')"
DECIDED = "independent changes are decided, in more than seven of ten"
SIMULATIONS = "nonstationarity detected in simulations; figures could not be obtained"
DIRECTION: Literal["same direction only"] = "same direction only"

claims = (
    Claim(
        "1a", "It finds which mechanisms drift in the chain (F1)", _drifting("changing_f1"), 0.9, Control(
            "with shuffled times it finds hardly any: F1 at most 0.3", _drifting("changing_f1", "cdnod_shuffled"),
            high=0.3, rule="mean",
        ), paper=SIMULATIONS, same=DIRECTION, version=2,
    ),
    Claim(
        "1b", "and the skeleton (F1)", _drifting("skeleton_f1"), 0.9, Control(
            "where nothing is adjacent, each column shuffled on its own, it is not there: F1 at most 0.3",
            _drifting("skeleton_f1", "columns_apart"), high=0.3, rule="mean",
        ), paper="as 1a", same=DIRECTION, version=2,
    ),
    Claim(
        "1c", "better than PC on the pooled rows (skeleton F1, difference)", _above_pc("skeleton_f1"), 0.1, Control(
            "in a stationary chain it is better by at most 0.1", _above_pc("skeleton_f1", changing=False), high=0.1,
            rule="mean",
        ), paper="above PC; figures could not be obtained", same=DIRECTION, version=2,
    ),
    Claim(
        "2a", "Change orients arrows: share of true edges directed right after phase 2", _drifting("directed"), 0.9,
        Control(
            "in a stationary chain, which has no arrow to find, at most one in four is",
            _drifting("directed", changing=False), high=0.25, rule="mean",
        ), paper="more edges oriented than by methods that ignore it", same=DIRECTION, version=2,
    ),
    Claim(
        "2b", "without a wrong arrow, in every seed", _drifting("wrong"), 0.5, Control(
            "with shuffled times, where drift is a hidden common cause, there is one in each seed on average and more",
            _drifting("wrong", "cdnod_shuffled"), low=1.0, rule="mean",
        ), kind="bound", direction="<", paper="as 2a", same=DIRECTION, version=2,
    ),
    Claim(
        "2c", "more of them than PC on the pooled rows directs right (share, difference)", _above_pc("directed"), 0.5,
        Control(
            "in a stationary chain more by at most 0.15", _above_pc("directed", changing=False), high=0.15, rule="mean",
        ), paper="as 2a", same=DIRECTION, version=2,
    ),
    Claim(
        "3a", "Independent changes orient pairs whose mechanisms both change (accuracy, 20 domains)",
        _pairs("accuracy"), 0.9, Control(
            "where the mechanisms change together the smaller Δ misleads: accuracy at most 2/12",
            _pairs("accuracy", kind="dependent"), high=2 / 12,
        ), paper="orientation accuracy above competitors; figures could not be obtained", same=DIRECTION, version=2,
    ),
    Claim(
        "3b", "and where changes are dependent it abstains (share decided, below .05 + .05)",
        _pairs("decided", kind="dependent"), 0.05, Control(DECIDED, _pairs("decided"), low=0.7), kind="rate",
        slack=0.05, trials=Settings().pairs, paper="not in the paper", version=2,
    ),
    Claim(
        "4a", "The driving force is recovered (|Spearman| of component 1 with the true force)",
        "mean(recovery|force, of='effect')", 0.8, Control(
            "it does not follow the force on the cause's mechanism: below 0.5", "mean(recovery|force, of='cause')",
            high=0.5,
        ), paper="shown in figures", same=DIRECTION,
    ),
    Claim(
        "4b", "better than without the cause, from the effect's own distribution (difference)",
        "mean(recovery|force, of='effect') - mean(recovery|force_of_effect_alone, of='effect')", 0.1, Control(
            "with shuffled domains it is not",
            "mean(recovery|force_shuffled, of='effect') - mean(recovery|force_of_effect_alone, of='effect')",
            high=0.0, rule="mean",
        ), paper="not in the paper",
    ),
    Claim(
        "5a", "More domains, more truth: accuracy rises from 3 to 20 domains (Spearman)", RISE.format("changes"), 0.5,
        Control(
            "with shuffled domains it does not: at most 0.35", RISE.format("changes_shuffled"), high=0.35, rule="mean"
        ), kind="trend", paper="not in the paper", version=3,
    ),
    Claim(
        "5b", "with ten domains it is right in nine of ten", _pairs("accuracy", domains=10), 0.9, Control(
            "with shuffled domains it is at chance, 0.4 to 0.6", _pairs("accuracy", "changes_shuffled", domains=10),
            low=0.4, high=0.6, rule="mean",
        ), paper="not in the paper", version=3,
    ),
    Claim(
        "5c", "and with five it is right wherever it decides (share right among pairs decided)",
        "mean(decided_right|changes, world='five_domains')", 0.95, Control(
            "with shuffled domains the few that are decided are right by chance: at most 0.75",
            "mean(decided_right|changes_shuffled, world='five_domains')", high=0.75, rule="mean",
        ), paper="not in the paper", version=3,
    ),
    Claim(
        "6a", "Where domains hardly overlap independent changes do not orient: accuracy near chance, below 0.75",
        _pairs("accuracy", kind="far apart"), 0.75, Control(
            "where domains overlap it is right, in more than nine pairs of ten",
            _pairs("accuracy", kind="overlapping"), low=0.9, rule="mean",
        ), kind="boundary", direction="<", paper="not in the paper", version=2,
    ),
    Claim(
        "6b", "and the method says so (share decided, below .05 + .05)", _pairs("decided", kind="far apart"), 0.05,
        Control(
            "where they overlap it decides, in more than seven of ten", _pairs("decided", kind="overlapping"), low=0.7
        ), kind="rate", slack=0.05, trials=Settings().pairs, paper="not in the paper", version=2,
    ),
    Claim(
        "7a", "On random graphs it draws more right arrows, less wrong ones, than PC on the pooled rows (per true "
        "edge, difference)", _graphs("cdnod", "pooled_pc", 0.5), 0.1, Control(
            "with shuffled domains its advantage is gone: at most 0.1", _graphs("cdnod_shuffled", "pooled_pc", 0.5),
            high=0.1, rule="mean",
        ), paper="as 3a", same=DIRECTION, version=2,
    ),
    Claim(
        "7b", "and where every mechanism changes phase 3 has a part in it (right less wrong arrows per true edge, "
        "phases 1-3 minus phases 1-2)", _graphs("cdnod", "cdnod_without_phase_3", 1.0), 0.0, Control(
            "a coin in its place has none: at most 0.05", _graphs("coin_for_phase_3", "cdnod_without_phase_3", 1.0),
            high=0.05, rule="mean",
        ), paper="figure could not be obtained", same=DIRECTION, version=2,
    ),
)  # fmt: skip


METHODS = {
    "cdnod": "CD-NOD", "cdnod_without_phase_3": "phases 1 and 2", "pooled_pc": "PC on pooled rows",
    "cdnod_shuffled": "shuffled domains",
}  # fmt: skip
STRUCTURE = {"changing_f1": "changes (F1)", "skeleton_f1": "skeleton (F1)", "directed": "directed right"}
PAIR = {"accuracy": "right (smaller Δ)", "decided": "decided", "decided_wrong": "decided, and wrong"}

study = Study(
    slug="cdnod",
    module=__name__,
    version=2,
    scales={
        "quick": Settings(seeds=1, shuffled_seeds=1, pairs=4, few_pairs=6, graphs=2, rows=200),
        "cpu": Settings(),
        "paper": Settings(seeds=50, shuffled_seeds=50, graphs=100, rows=2000, domain_rows=100),
    },
    grids=grids,
    worlds=(chain, pairs, five_domains, driven, graph),
    methods=(
        cdnod, cdnod_shuffled, columns_apart, cdnod_without_phase_3, coin_for_phase_3, pooled_pc, changes,
        changes_shuffled, force, force_shuffled, force_of_effect_alone,
        nothing, column_order, any_graph, blind_to_domain, reversed_arrows, coin_toss,
        second_column, coin_pair, undecided, sign_alone, wrong_sign, ramp, noise, blind_to_cause, wrong_variable,
    ),
    measures=(structure, direction, recovery),
    claims=claims,
    figures=(
        Figure(
            "structure", "What is found in the drifting chain and in random graphs; a dot is a seed.",
            chart(
                "Changes, skeleton and arrows",
                Panel(
                    "A chain that drifts in time", "measure", rows="world == 'chain'", names=STRUCTURE | METHODS,
                ),
                Panel(
                    "Random graphs in which all mechanisms change", "measure", rows="world == 'graph'",
                    names=STRUCTURE | METHODS,
                ),
            ),
            "measure in ['changing_f1', 'skeleton_f1', 'directed'] and (changing == True or share_changing == 1.0) and "
            "method in ['cdnod', 'cdnod_without_phase_3', 'pooled_pc', 'cdnod_shuffled']",
        ),
        Figure(
            "domains", "Accuracy of independent changes and share decided, by the number of domains.",
            chart(
                "Few domains cannot tell, and are not made to",
                Panel(
                    "", "domains", "measure", "lines", names=PAIR, x_label="domains", y_label="share of pairs",
                    level=0.5,
                ), width=6.8,
            ),
            "world == 'pairs' and method == 'changes' and measure in ['accuracy', 'decided', 'decided_wrong'] and "
            "kind == 'independent'",
        ),
        Figure(
            "pairs", "The four kinds of pairs with 20 domains: right, decided, decided wrongly.",
            chart(
                "Dependent changes and missing overlap mislead; the rule abstains",
                Panel("", "kind", "measure", names=PAIR, y_label="share of pairs", level=0.5), width=6.8,
            ),
            "world == 'pairs' and method == 'changes' and measure in ['accuracy', 'decided', 'decided_wrong'] and "
            "domains == 20",
        ),
    ),
    root_seed=20261130,  # pilots drew from other roots
    preload=("numpy", "scipy.stats", "sklearn", "pandas", "networkx"),
)  # fmt: skip
