"""The study of CD-NOD: does it see which mechanisms change, and do changes orient arrows? (arXiv:1903.01672)

Worlds of the spec: a chain that drifts in time, pairs whose mechanisms change between domains in four ways, a driven
pair for the driving force, and random graphs for all phases at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from groundshift.discovery.cdnod import CDNOD, driving_force, independent_change_score
from groundshift.discovery.independence import independence_test
from groundshift.lab.claims import Claim, Control
from groundshift.lab.study import Figure, Grid, Measure, Method, Sample, Study, World
from groundshift.measures.graphs import directed_share, edge_f1, wrong_arrows
from groundshift.studies import cdnod_figures as draw
from groundshift.worlds import changing_mechanisms as worlds
from groundshift.worlds.changing_mechanisms import ChangingWorld


@dataclass(frozen=True)
class Settings:
    """What the dial sets."""

    seeds: int = 24
    """Seeds and graphs were set by pilots on other random draws, which left claims open with fewer."""
    pair_seeds: int = 24
    pairs: int = 12
    """Pairs whose share of right answers is one value."""
    graphs: int = 40
    rows: int = 300
    """Of the chain in time."""
    domain_rows: int = 30


# Worlds --------------------------------------------------------------------------------------------------


def _sample(world: ChangingWorld) -> Sample:
    return Sample((world.data, world.domain), world)


@World.define()
def chain(rng: np.random.Generator, severity: float, *, rows: int, changing: bool) -> Sample:
    """x1 → x2 → x3 → x4, where x2 and x4 drift with time, or nothing does."""
    return _sample(worlds.chain_in_time(rng, rows, changing=changing))


@World.define()
def pairs(
    rng: np.random.Generator, severity: float, *, kind: str, domains: int, rows: int, pairs: int
) -> Sample:
    """x → y in several domains, many times over."""
    drawn = [worlds.changing_pair(rng, domains, rows, kind) for _ in range(pairs)]  # type: ignore[arg-type]
    return Sample([(w.data, w.domain) for w in drawn], drawn)


@World.define()
def driven(rng: np.random.Generator, severity: float, *, draws: int) -> Sample:
    """x → y with a known force on the mechanism of y; 12 domains of 20 rows."""
    drawn = [worlds.driven_pair(rng) for _ in range(draws)]
    return Sample([(w.data, w.domain) for w in drawn], drawn)


@World.define()
def graph(rng: np.random.Generator, severity: float, *, domains: int, rows: int) -> Sample:
    """A random graph of five variables; each mechanism changes with probability one half."""
    return _sample(worlds.changing_graph(rng, 5, domains, rows))


# Methods -------------------------------------------------------------------------------------------------


def _found(model: CDNOD) -> dict[str, Any]:
    place = {name: k for k, name in enumerate(model.variables_)}
    rows = zip(*(model.edges_[column] for column in ("cause", "effect", "oriented")), strict=True)
    edges = [(place[cause], place[effect], bool(oriented)) for cause, effect, oriented in rows]
    return {"edges": edges, "changing": np.flatnonzero(model.changing_["changing"]).tolist()}


def _fit(
    data: Any, rng: np.random.Generator, phases: tuple[int, ...], *, shuffled: bool = False
) -> dict[str, Any]:
    X, domain = data
    kind = "time" if len(np.unique(domain)) == len(domain) else "domain"
    domain = rng.permutation(domain) if shuffled else domain
    order = np.argsort(domain, kind="stable")
    model = CDNOD(kind=kind, phases=phases, random_state=int(rng.integers(2**31)))  # type: ignore[arg-type]
    return _found(model.fit(X[order], domain=domain[order]))


@Method.define()
def cdnod(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Phases 1 to 3."""
    return _fit(data, rng, (1, 2, 3))


@Method.define(role="baseline")
def cdnod_without_phase_3(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Phases 1 and 2: what other implementations stop at."""
    return _fit(data, rng, (1, 2))


@Method.define(role="control")
def cdnod_shuffled(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """With the domains or times of the rows shuffled."""
    return _fit(data, rng, (1, 2, 3), shuffled=True)


@Method.define(role="baseline")
def pooled_pc(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """PC on the pooled rows, blind to the domain, with the same test."""
    from causallearn.utils.PCUtils.Meek import meek
    from causallearn.utils.PCUtils.SkeletonDiscovery import skeleton_discovery
    from causallearn.utils.PCUtils.UCSepset import uc_sepset

    X = data[0]
    ask = independence_test("kci" if len(X) <= 500 else "kci-lowrank", X)
    drawn = skeleton_discovery(np.zeros(X.shape), 0.05, ask, stable=True, show_progress=False, max_k=2)
    drawn.test = None
    drawn = meek(uc_sepset(drawn, 2))
    arrows = [(int(i), int(j), True) for i, j in drawn.find_fully_directed()]
    lines = [(int(i), int(j), False) for i, j in drawn.find_undirected() if i < j]
    return {"edges": arrows + lines, "changing": []}


def _scores(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    scores = [
        independent_change_score(X[:, 0], X[:, 1], c, kind="domain", random_state=int(rng.integers(2**31)))
        for X, c in data
    ]
    return {"right": [s.effect == "y" for s in scores], "decided": [s.decided for s in scores]}


@Method.define()
def changes(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """The direction with the smaller Δ, and whether the data can tell."""
    return _scores(data, rng)


@Method.define(role="control")
def cdnod_pairs_shuffled(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """All phases on each pair with shuffled domains."""
    found = [_fit(pair, rng, (1, 2, 3), shuffled=True)["edges"] for pair in data]
    return {
        "right": [(0, 1, True) in edges for edges in found],
        "decided": [any(e[2] for e in es) for es in found],
    }


@Method.define()
def force(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """First component of the driving force of y given x."""
    found = [driving_force(X[:, 1], X[:, 0], c, kind="domain") for X, c in data]
    return {"force": [f.components["1"].to_numpy() for f in found]}


@Method.define(role="control")
def force_shuffled(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """The same, its values permuted over the domains."""
    found = [driving_force(X[:, 1], X[:, 0], c, kind="domain") for X, c in data]
    return {"force": [rng.permutation(f.components["1"].to_numpy()) for f in found]}


# Measures ------------------------------------------------------------------------------------------------


@Measure.define(gives=("changing_f1", "skeleton_f1", "directed", "wrong", "arrows", "changing_found"))
def structure(output: Any, sample: Sample) -> dict[str, float]:
    """Changing mechanisms and adjacencies (F1), true edges directed right (share), wrong arrows, arrows in all."""
    truth: ChangingWorld = sample.truth
    arrows = {(i, j) for i, j, oriented in output["edges"] if oriented}
    return {
        "changing_f1": edge_f1(output["changing"], truth.changing),
        "skeleton_f1": edge_f1({frozenset((i, j)) for i, j, _ in output["edges"]}, truth.skeleton),
        "directed": directed_share(arrows, truth.edges) if truth.edges else 1.0,
        "wrong": float(wrong_arrows(arrows, truth.edges)),
        "arrows": float(len(arrows)),
        "changing_found": float(len(output["changing"])),
    }


@Measure.define(gives=("accuracy", "decided", "decided_wrong"))
def direction(output: Any, sample: Sample) -> dict[str, float]:
    """Shares of pairs directed right by the smaller Δ, decided, and decided wrongly."""
    right, decided = np.array(output["right"]), np.array(output["decided"])
    return {
        "accuracy": float(right.mean()),
        "decided": float(decided.mean()),
        "decided_wrong": float((decided & ~right).mean()),
    }


@Measure.define()
def recovery(output: Any, sample: Sample) -> float:
    """Mean |Spearman| of the first component with the true force."""
    return float(
        np.mean(
            [abs(spearmanr(f, w.forces[1])[0]) for f, w in zip(output["force"], sample.truth, strict=True)]
        )
    )


# The grid ------------------------------------------------------------------------------------------------


def grids(s: Settings) -> list[Grid]:
    """The cells of the claims."""
    many = {"rows": s.domain_rows, "pairs": s.pairs}
    return [
        Grid(
            "chain", ("cdnod", "cdnod_shuffled", "pooled_pc"), ("structure",), s.seeds,
            vary={"changing": (True, False)}, world_params={"rows": s.rows}, cost_s=0.4,
        ),
        Grid(
            "pairs", ("changes",), ("direction",), s.pair_seeds,
            vary={"kind": ("independent",), "domains": (3, 5, 10, 20)}, world_params=many, cost_s=0.5,
        ),
        Grid(
            "pairs", ("cdnod_pairs_shuffled",), ("direction",), s.pair_seeds,
            vary={"kind": ("independent",), "domains": (20,)}, world_params=many, cost_s=0.6,
        ),
        Grid(
            "pairs", ("changes",), ("direction",), s.pair_seeds,
            vary={"kind": ("dependent", "far apart", "overlapping"), "domains": (20,)}, world_params=many, cost_s=0.6,
        ),
        Grid("driven", ("force", "force_shuffled"), ("recovery",), s.seeds, world_params={"draws": 5}, cost_s=0.3),
        Grid(
            "graph", ("cdnod", "cdnod_without_phase_3", "cdnod_shuffled", "pooled_pc"), ("structure",), s.graphs,
            world_params={"domains": 20, "rows": s.domain_rows}, cost_s=0.8,
        ),
    ]  # fmt: skip


# The claims ----------------------------------------------------------------------------------------------

SHUFFLED_TIME = Control(
    "with shuffled times no mechanism changes, in seven of eight seeds at least",
    "mean(changing_found|cdnod_shuffled, world='chain', changing=True)",
    high=0.125,
    rule="mean",
)
STATIONARY = Control(
    "a stationary chain has no arrow to find, and none is guessed (at most one in four seeds)",
    "mean(arrows|cdnod, world='chain', changing=False)",
    high=0.25,
    rule="mean",
)
DEPENDENT = Control(
    "where the mechanisms change together the smaller Δ misleads: accuracy at most 2/12",
    "mean(accuracy|changes, kind='dependent')",
    high=2 / 12,
)
OVERLAPPING = Control(
    "where domains overlap it is right, in more than nine pairs of ten",
    "mean(accuracy|changes, kind='overlapping')",
    low=0.9,
)
SHUFFLED_DOMAINS = Control(
    "with shuffled domains the whole method directs hardly a pair: fewer than one in ten",
    "mean(decided|cdnod_pairs_shuffled)",
    high=0.1,
)
SHUFFLED_GRAPH = Control(
    "with shuffled domains its advantage is gone: within 0.1",
    "mean(directed|cdnod_shuffled, world='graph') - mean(directed|pooled_pc, world='graph')",
    low=-0.1,
    high=0.1,
    rule="mean",
)


def _drifting(measure: str, method: str = "cdnod") -> str:
    return f"mean({measure}|{method}, world='chain', changing=True)"


claims = (
    Claim(
        "1a", "It finds which mechanisms drift in the chain (F1)", _drifting("changing_f1"), 0.9, SHUFFLED_TIME,
        paper="nonstationarity detected in simulations; figures not to hand", same="same direction only",
    ),
    Claim(
        "1b", "and the skeleton (F1)", _drifting("skeleton_f1"), 0.9, SHUFFLED_TIME, paper="as 1a",
        same="same direction only",
    ),
    Claim(
        "1c", "better than PC on the pooled rows (skeleton F1, difference)",
        f"{_drifting('skeleton_f1')} - {_drifting('skeleton_f1', 'pooled_pc')}", 0.1, SHUFFLED_TIME,
        paper="above PC; figures not to hand", same="same direction only",
    ),
    Claim(
        "2a", "Change orients arrows: share of true edges directed right after phase 2", _drifting("directed"), 0.9,
        STATIONARY, paper="more edges oriented than by methods that ignore it", same="same direction only",
    ),
    Claim(
        "2b", "without a wrong arrow, in every seed", _drifting("wrong"), 0.5, STATIONARY, kind="bound", direction="<",
        paper="as 2a", same="same direction only",
    ),
    Claim(
        "2c", "where PC on the pooled rows directs at most 0.4 of them right", _drifting("directed", "pooled_pc"), 0.4,
        STATIONARY, direction="<", paper="as 2a", same="same direction only",
    ),
    Claim(
        "3a", "Independent changes orient pairs whose mechanisms both change (accuracy, 20 domains)",
        "mean(accuracy|changes, kind='independent', domains=20)", 0.9, DEPENDENT,
        paper="orientation accuracy above competitors; figures not to hand", same="same direction only",
    ),
    Claim(
        "3b", "and where changes are dependent it abstains (share decided)", "mean(decided|changes, kind='dependent')",
        0.1, Control(
            "independent changes are decided, in more than seven of ten",
            "mean(decided|changes, kind='independent', domains=20)", low=0.7,
        ), direction="<", paper="not in the paper",
    ),
    Claim(
        "4", "The driving force is recovered (|Spearman| of component 1 with the true force)",
        "mean(recovery|force)", 0.8,
        Control("permuted over domains it is not", "mean(recovery|force_shuffled)", high=0.5),
        paper="shown in figures", same="same direction only",
    ),
    Claim(
        "5a", "More domains, more truth: accuracy rises from 3 to 20 domains (Spearman)",
        "spearman(accuracy|changes, kind='independent', over='domains')", 0.5, SHUFFLED_DOMAINS, kind="trend",
        version=2, paper="not in the paper",
    ),
    Claim(
        "5b", "with ten domains it is right in nine of ten",
        "mean(accuracy|changes, kind='independent', domains=10)", 0.9, SHUFFLED_DOMAINS, version=2,
        paper="not in the paper",
    ),
    Claim(
        "5c", "with three it says that it cannot tell (share decided)",
        "mean(decided|changes, kind='independent', domains=3)", 0.0, SHUFFLED_DOMAINS, kind="identity", version=2,
        paper="not in the paper",
    ),
    Claim(
        "6a", "Where domains hardly overlap independent changes do not orient: accuracy near chance, below 0.75",
        "mean(accuracy|changes, kind='far apart')", 0.75, OVERLAPPING, kind="boundary", direction="<",
        paper="not in the paper",
    ),
    Claim(
        "6b", "and the method says so (share decided)", "mean(decided|changes, kind='far apart')", 0.1, Control(
            "where they overlap it decides, in more than seven of ten", "mean(decided|changes, kind='overlapping')",
            low=0.7,
        ), direction="<", paper="not in the paper",
    ),
    Claim(
        "7a", "On random graphs it directs more edges right than PC on the pooled rows (share, difference)",
        "mean(directed|cdnod, world='graph') - mean(directed|pooled_pc, world='graph')", 0.1, SHUFFLED_GRAPH,
        paper="as 3a", same="same direction only",
    ),
    Claim(
        "7b", "and phase 3 has a part in it (share, phases 1-3 less phases 1-2)",
        "mean(directed|cdnod, world='graph') - mean(directed|cdnod_without_phase_3, world='graph')", 0.0,
        SHUFFLED_GRAPH, paper="not to hand", same="same direction only",
    ),
)  # fmt: skip


study = Study(
    slug="cdnod",
    module=__name__,
    version=1,
    scales={
        "quick": Settings(seeds=2, pair_seeds=2, pairs=4, graphs=2, rows=200),
        "cpu": Settings(),
        "paper": Settings(seeds=50, pair_seeds=50, graphs=100, rows=2000, domain_rows=100),
    },
    grids=grids,
    worlds=(chain, pairs, driven, graph),
    methods=(
        cdnod, cdnod_without_phase_3, cdnod_shuffled, pooled_pc, changes, cdnod_pairs_shuffled, force, force_shuffled,
    ),
    measures=(structure, direction, recovery),
    claims=claims,
    figures=(
        Figure(
            "structure", "What is found in the drifting chain and in random graphs; a dot is a seed.",
            draw.structure, "measure in ['changing_f1', 'skeleton_f1', 'directed', 'wrong']",
        ),
        Figure(
            "domains", "Accuracy of independent changes and share decided, by the number of domains.",
            draw.domains, "measure in ['accuracy', 'decided', 'decided_wrong'] and kind == 'independent'",
        ),
        Figure(
            "pairs", "The four kinds of pairs with 20 domains: right, decided, decided wrongly.",
            draw.kinds, "measure in ['accuracy', 'decided', 'decided_wrong'] and domains == 20",
        ),
    ),
    root_seed=20261125,  # pilots drew from other roots
    preload=("numpy", "scipy.stats", "sklearn", "pandas", "networkx"),
)  # fmt: skip
