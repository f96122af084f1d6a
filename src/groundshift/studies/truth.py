"""The study of the stability of truth: which statements, called true, move the boundary? (arXiv:2511.19166)

Normal clouds whose flips are known in closed form, and an atlas of real, invented and fictional places that a tiny
language model learns. A cell of the atlas is one model: both probes are fitted on several splits of its statements.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from groundshift.lab.claims import Claim, Control
from groundshift.lab.study import Figure, Grid, Measure, Method, Sample, Study, World
from groundshift.models import tinylm
from groundshift.models.activations import ProbeModel, capture
from groundshift.probes.truth import TruthStability
from groundshift.probes.truth.bags import Probe
from groundshift.studies import truth_figures as draw
from groundshift.studies.drawing import Panel, chart
from groundshift.studies.keeping import kept
from groundshift.worlds import tinylm as tiny_worlds
from groundshift.worlds.tinylm import Atlas, TinyWorld
from groundshift.worlds.truth_geometry import Geometry

SEPARATION = 1.2
COPIES = {"true": 5, "false": 1}
"""There is one true statement to five false ones; copies make them as many, as in the paper's tables."""
PROBES = ("sawmil", "mean_difference")
KINDS = {
    "synthetic": "synthetic",
    "fictional": "fictional",
    "canonical": "fictional, canonical",
    "noise": "noise",
}
KNOWN = 0.85
"""Share of the judged statements that ends the training of a model: a perfect probe hardly flips."""
BAND = (0.75, 0.93)
"""Accuracy of T0 (mean difference) at the block that is read: the first in this band, or the nearest to its middle."""
NETWORK: dict[str, Any] = {"intermediate_size": 128, "initializer_range": 0.1}


@dataclass(frozen=True)
class Settings:
    """What the dial sets."""

    seeds: int = 6
    overlaps: tuple[float, ...] = (0.0, 0.5, 1.0)
    shares: tuple[float, ...] = (0.25, 0.5, 0.75, 1.0)
    repeats: int = 4
    """Draws of the geometry in a cell."""
    places: int = 120
    others: int = 240
    """Statements of a kind that is neither."""
    steps: int = 800
    """Most training steps; a model that has passed its exam stops."""
    splits: int = 3


# Worlds --------------------------------------------------------------------------------------------------


@World.define(version=2)
def geometry(
    rng: np.random.Generator, severity: float, *, overlap: float, share: float, repeats: int
) -> Sample:
    """Clouds of true, false, synthetic and fictional statements in a random basis; ``share`` of them is promoted."""
    world = Geometry(separation=SEPARATION, overlap=overlap, share=share)
    basis, _ = np.linalg.qr(rng.standard_normal((world.dimensions, world.dimensions)))
    drawn = [world.draw(rng) for _ in range(repeats)]
    return Sample([(one.x @ basis, one.table) for one in drawn], world)


@World.define(version=2)
def atlas(
    rng: np.random.Generator,
    severity: float,
    *,
    familiarity: float,
    form: float,
    familiar: str,
    places: int,
    others: int,
    steps: int,
) -> Sample:
    """A language model that has learnt an atlas, statements about all its places, and the same net untrained."""
    seed = int(rng.integers(2**31))
    part = Atlas(places=places, syllables=24, familiarity=familiarity, form=form, familiar=familiar)
    world = TinyWorld({"atlas": part}, seed=seed)
    table, ids = _statements(world["atlas"], others, rng)
    nets = {"states": tinylm.load(_trained(world, steps)), "untrained": _untrained(world)}
    data: dict[str, Any] = {"table": table}
    for name, net in nets.items():
        model = ProbeModel(net, tinylm.tokenizer(world.lexicon))
        acts = capture(model, [{"input_ids": row} for row in ids], "resid_post.all", "last", progress=False)
        data[name] = {site: np.asarray(acts[site]) for site in acts}
    return Sample(data, None)


def _untrained(world: TinyWorld) -> Any:
    return tinylm.build("small", world.lexicon, positions=8, seed=world.seed, **NETWORK)


def _trained(world: TinyWorld, steps: int) -> Path:
    """The directory of the model of a world, trained once for all cells that read it."""

    def make(folder: Path) -> None:
        net, exam = _untrained(world), world["atlas"].exam("judged")
        gate = tinylm.Gate(lambda model: tinylm.accuracy(model, exam), KNOWN)
        tinylm.fit(net, world.items(128, on="completion"), steps, 5e-3, stop=gate, seed=world.seed)
        tinylm.save(net, world.lexicon, folder)

    return kept("truth", [world.settings(), steps, KNOWN, NETWORK], make, tinylm, tiny_worlds)


def _statements(part: Any, others: int, rng: np.random.Generator) -> tuple[pd.DataFrame, list[list[int]]]:
    """True and false statements about real places in equal number, and a sample of the others."""
    tables, ids = [], []
    for kind in ("real", "synthetic", "fictional"):
        rows = part.statements(kind)
        true = rows.truth["true"]
        if kind == "real":
            chosen = np.concatenate(
                [np.tile(np.flatnonzero(true == t), COPIES[name]) for t, name in ((1, "true"), (0, "false"))]
            )
        else:
            # Of fiction half holds in its story.
            parts = [true == 1, true == 0] if kind == "fictional" else [true >= 0]
            chosen = np.concatenate(
                [rng.permutation(np.flatnonzero(p))[: others // len(parts)] for p in parts]
            )
        named = np.where(true == 1, "true", "false") if kind == "real" else np.full(len(rows), kind)
        tables.append(
            pd.DataFrame(
                {
                    "statement": [part.lexicon_.decode(rows.ids[k]) for k in chosen],
                    "kind": named[chosen],
                    "entity": [f"{kind} {p}" for p in rows.truth["place"][chosen]],
                    "canonical": np.where(kind == "fictional", true[chosen].astype(float), np.nan),
                }
            )
        )
        ids += rows.ids[chosen].tolist()
    return pd.concat(tables, ignore_index=True), ids


# Methods -------------------------------------------------------------------------------------------------

MOVED = ["retraction", "expansion", "flip", "low", "high"]


@Method.define(version=2)
def discriminant(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Fisher's discriminant with and without each kind promoted, on every draw."""
    reports = []
    for x, table in data:
        fit = TruthStability(
            "mean_difference",
            covariance=True,
            match=False,
            noise=False,
            random_state=int(rng.integers(2**31)),
        ).fit(x, table)
        reports.append(fit.report_.loc[["synthetic", "fictional"], MOVED].to_numpy(dtype=float))
    return {"reports": np.array(reports)}


@discriminant.tampered()
def other_kind(data: Any, rng: np.random.Generator) -> Any:
    """Synthetic statements are called fictional, and fictional ones synthetic."""
    return [(x, table.assign(kind=table["kind"].replace(SWAPPED))) for x, table in data]


@discriminant.tampered()
def as_many(data: Any, rng: np.random.Generator) -> Any:
    """As many are promoted at every share as at the smallest: 150 of each kind, the rest is of a kind of its own."""
    return [(x, _thinned(table, 150)) for x, table in data]


SWAPPED = {"synthetic": "fictional", "fictional": "synthetic"}


def _thinned(table: pd.DataFrame, most: int) -> pd.DataFrame:
    place = table.groupby("kind").cumcount()
    spare = table["kind"].isin(list(SWAPPED)) & (place >= most)
    return table.assign(kind=table["kind"].mask(spare, table["kind"] + " rest"))


@Method.define(version=2)
def stability(data: Any, rng: np.random.Generator, *, splits: int) -> dict[str, Any]:
    """Both probes on several splits of one model's statements, at the first block where T0 is good and not perfect."""
    return _measured(data, rng, splits, TruthStability)


def _measured(
    data: Any, rng: np.random.Generator, splits: int, probe: Callable[..., TruthStability], block: int | None = None
) -> dict[str, Any]:  # fmt: skip
    states, table = data["states"], data["table"]

    def fitted(name: str, layer: int, seed: int) -> TruthStability:
        return probe(name, layer=layer, positions="last", random_state=seed).fit(states, table)

    seeds = [int(seed) for seed in rng.integers(2**31, size=splits + 1)]
    if block is None:
        right = [fitted("mean_difference", k, seeds[-1]).accuracy_["balanced"] for k in range(len(states))]
        inside = [k for k, share in enumerate(right) if BAND[0] <= share <= BAND[1]]
        block = inside[0] if inside else int(np.argmin(np.abs(np.array(right) - sum(BAND) / 2)))
    fits = {name: [fitted(name, block, seed) for seed in seeds[:-1]] for name in PROBES}
    columns = ["flip", "retraction", "expansion", "cosine", "null"]
    return {
        "report": {
            name: np.mean([f.report_.loc[list(KINDS.values()), columns].fillna(1.0) for f in own], axis=0)
            for name, own in fits.items()
        },
        "accuracy": {name: float(np.mean([f.accuracy_["balanced"] for f in own])) for name, own in fits.items()},
        "canonical": {name: float(np.mean([_canonical(f, data) for f in own])) for name, own in fits.items()},
        "abstains": _mean([f.conformal_["abstains"] for f in fits[PROBES[0]]]),
        "far": _mean([f.distances_["false"] for f in fits[PROBES[0]]]),
    }  # fmt: skip


def _mean(series: list[pd.Series]) -> dict[str, float]:
    return {str(kind): float(value) for kind, value in pd.concat(series, axis=1).mean(axis=1).items()}


def _canonical(fit: TruthStability, data: Any) -> float:
    """Area under the curve with which T0 ranks test statements that hold in their story above others of fiction."""
    rows = fit.split_.test[data["table"]["kind"].to_numpy()[fit.split_.test] == "fictional"]
    x = (data["states"][fit.layer_][rows] - fit.scaler_.mean) / fit.scaler_.spread
    holds = data["table"]["canonical"].to_numpy()[rows] == 1
    return float(roc_auc_score(holds, x @ fit.probes_["T0"].w)) if 0 < holds.sum() < len(holds) else 0.5


@stability.tampered()
def untrained(data: Any, rng: np.random.Generator) -> Any:
    """The states are those of the network before its training."""
    return {**data, "states": data["untrained"]}


@stability.tampered()
def shuffled(data: Any, rng: np.random.Generator) -> Any:
    """Which of the places are synthetic and which fictional is drawn anew, and which fiction holds in its story."""
    table = data["table"]
    neither = table["kind"].isin(list(SWAPPED))
    entities = table.loc[neither, "entity"].unique()
    kinds = dict(zip(entities, rng.permutation([e.split()[0] for e in entities]), strict=True))
    kind = table["kind"].mask(neither, table["entity"].map(kinds))
    drawn = (rng.random(len(table)) < 1 / 2).astype(float)
    return {**data, "table": table.assign(kind=kind, canonical=np.where(kind == "fictional", drawn, np.nan))}


@stability.tampered()
def like_fiction(data: Any, rng: np.random.Generator) -> Any:
    """Synthetic statements have states drawn from the normal distribution of the fictional ones."""
    kind = data["table"]["kind"].to_numpy()
    states = {}
    for site, x in data["states"].items():
        fiction = x[kind == "fictional"].astype(float)
        drawn = rng.multivariate_normal(fiction.mean(0), np.cov(fiction.T), (kind == "synthetic").sum())
        states[site] = x.copy()
        states[site][kind == "synthetic"] = drawn
    return {**data, "states": states}


# Mutants -------------------------------------------------------------------------------------------------


@Method.define(role="mutant", of=discriminant)
def no_flips(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Says of every draw that no statement changes side."""
    return {"reports": np.tile([0.0, 0.0, 0.0, 0.0, 0.05], (len(data), 2, 1))}


@Method.define(role="mutant", of=discriminant)
def kinds_mixed_up(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Promotes fiction where synthetic statements are to be promoted, and the reverse."""
    return dict(discriminant.run(other_kind.prepare(data, rng), rng))  # type: ignore[misc]


@Method.define(role="mutant", of=discriminant)
def share_ignored(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Promotes 150 statements whatever the share is."""
    return dict(discriminant.run(as_many.prepare(data, rng), rng))  # type: ignore[misc]


class _Drawn:
    """A probe that is drawn, not trained: ``size`` 0 calls all statements true."""

    def __init__(self, size: float) -> None:
        self.size = size
        self.rng = np.random.default_rng(0)

    def fit(self, bags: Any, labels: Any, group: Any, rng: np.random.Generator) -> Probe:
        w = self.size * self.rng.standard_normal(bags.tokens.shape[1])
        return Probe(w, 1.0 - self.size, "last")


@Method.define(role="mutant", of=stability)
def constant(data: Any, rng: np.random.Generator, *, splits: int) -> dict[str, Any]:
    """Has a probe that calls every statement true."""
    return _measured(data, rng, 1, _with(lambda self: _Drawn(0.0)), 1)


@Method.define(role="mutant", of=stability)
def random_direction(data: Any, rng: np.random.Generator, *, splits: int) -> dict[str, Any]:
    """Has a probe of random direction, another one for every map of labels."""
    drawn = _Drawn(1.0)
    drawn.rng = np.random.default_rng(int(rng.integers(2**31)))
    return _measured(data, rng, 1, _with(lambda self: drawn), 1)


@Method.define(role="mutant", of=stability)
def shuffled_labels(data: Any, rng: np.random.Generator, *, splits: int) -> dict[str, Any]:
    """Trains the probe on true and false in random order."""

    class Shuffling(TruthStability):
        def _machine(self) -> Any:
            return _Altered(super()._machine(), lambda labels, rng: rng.permutation(labels))

    return _measured(data, rng, 1, Shuffling, 1)


@Method.define(role="mutant", of=stability)
def wrong_sign(data: Any, rng: np.random.Generator, *, splits: int) -> dict[str, Any]:
    """Trains for what is not true."""

    class Turned(TruthStability):
        def _machine(self) -> Any:
            return _Altered(super()._machine(), lambda labels, rng: ~labels)

    return _measured(data, rng, 1, Turned, 1)


@Method.define(role="mutant", of=stability)
def untrained_network(data: Any, rng: np.random.Generator, *, splits: int) -> dict[str, Any]:
    """Reads the states of the network before its training."""
    return _measured(untrained.prepare(data, rng), rng, 1, TruthStability, 1)  # type: ignore[misc]


@Method.define(role="mutant", of=stability)
def blind_to_the_stage(data: Any, rng: np.random.Generator, *, splits: int) -> dict[str, Any]:
    """Keeps the boundary of T0 whatever is promoted."""
    answer = _measured(data, rng, 1, TruthStability, 1)
    return answer | {"report": dict.fromkeys(PROBES, np.tile([0.0, 0.0, 0.0, 1.0, 0.0], (len(KINDS), 1)))}


def _with(machine: Callable[[Any], Any]) -> type[TruthStability]:
    return type("Broken", (TruthStability,), {"_machine": machine})


@dataclass(frozen=True)
class _Altered:
    """A probe that is trained on altered labels."""

    machine: Any
    alter: Callable[[Any, np.random.Generator], Any]

    def fit(self, bags: Any, labels: Any, group: Any, rng: np.random.Generator) -> Probe:
        return self.machine.fit(bags, self.alter(labels, rng), group, rng)


# Measures ------------------------------------------------------------------------------------------------


@Measure.define(
    version=2, better="none", by={"kind": ("synthetic", "fictional")}, gives=("bias", "flips", "closed_form")
)
def calibration(output: Any, sample: Sample) -> list[dict[str, Any]]:
    """Flips, those in closed form, and the largest difference of shares, in bootstrap standard errors of one draw."""
    rows = []
    for k, kind in enumerate(("synthetic", "fictional")):
        reports = output["reports"][:, k]
        error = ((reports[:, 4] - reports[:, 3]) / (2 * 1.96)).clip(1e-6).mean()
        known = sample.truth.flips(kind)
        off = np.abs(reports[:, :3].mean(0) - (known.retraction, known.expansion, known.flip)) / error
        rows.append(
            {
                "kind": kind,
                "bias": float(off.max()),
                "flips": float(reports[:, 2].mean()),
                "closed_form": float(known.flip),
            }
        )
    return rows


MEASURED = ("flip", "retraction", "expansion", "cosine", "null")


@Measure.define(better="none", by={"probe": PROBES, "kind": tuple(KINDS)}, gives=MEASURED)
def moved(output: Any, sample: Sample) -> list[dict[str, Any]]:
    """How the boundary of each probe moved when a kind was promoted."""
    return [
        {"probe": probe, "kind": kind, **dict(zip(MEASURED, map(float, row), strict=True))}
        for probe in PROBES
        for kind, row in zip(KINDS, output["report"][probe], strict=True)
    ]


@Measure.define(better="none", by={"probe": PROBES}, gives=("accuracy", "canonical"))
def known(output: Any, sample: Sample) -> list[dict[str, Any]]:
    """Balanced accuracy of T0, and how well it ranks fiction that holds in its story above other fiction."""
    return [
        {"probe": p, "accuracy": output["accuracy"][p], "canonical": output["canonical"][p]} for p in PROBES
    ]


@Measure.define(
    better="none", by={"kind": ("true", "false", "synthetic", "fictional")}, gives=("abstains", "distance")
)
def placed(output: Any, sample: Sample) -> list[dict[str, Any]]:
    """Share of a kind of which the probe says nothing, and sliced Wasserstein distance to false statements."""
    return [
        {"kind": kind, "abstains": output["abstains"][kind], "distance": output["far"][kind]}
        for kind in ("true", "false", "synthetic", "fictional")
    ]


# The study -----------------------------------------------------------------------------------------------

PLAIN: dict[str, Any] = {"familiarity": 0.0, "form": 1.0, "familiar": "synthetic"}


def grids(s: Settings) -> list[Grid]:
    """The blocks of cells: the geometry at every dial, and four models of each seed."""

    def model(*methods: str, **dials: Any) -> Grid:
        return Grid(
            "atlas", methods, ("moved", "known", "placed"), s.seeds,
            world_params={**PLAIN, **dials, "places": s.places, "others": s.others, "steps": s.steps},
            method_params={method: {"splits": s.splits} for method in methods}, cost_s=6.0, shares=("seed",),
        )  # fmt: skip

    return [
        *(
            Grid(
                "geometry", (method,), ("calibration",), s.seeds, vary={"overlap": overlaps, "share": shares},
                world_params={"repeats": s.repeats}, cost_s=0.8,
            )
            for method, overlaps, shares in (
                ("discriminant", s.overlaps, s.shares),
                ("other_kind", (1.0,), (1.0,)),
                ("as_many", (0.0,), s.shares),
            )
        ),
        model("stability", "untrained", "shuffled", "like_fiction"),
        model("stability", familiarity=1.0),
        model("stability", familiarity=1.0, familiar="extra"),
        model("stability", form=0.0),
    ]  # fmt: skip


def _at(measure: str, method: str = "stability", **where: Any) -> str:
    return f"mean({measure}|{method}, {', '.join(f'{k}={v!r}' for k, v in {**PLAIN, **where}.items())})"


def _more(measure: str, method: str = "stability", **where: Any) -> str:
    """A measure of synthetic statements minus that of fiction."""
    return f"({_at(measure, method, kind='synthetic', **where)} - {_at(measure, method, kind='fictional', **where)})"


def _flip(**where: Any) -> str:
    return _at("flip", probe="sawmil", kind="synthetic", **where)


FORM = f"abs({_flip(form=0.0)} - {_flip()})"
ABSTAINS = "mean(abstains|{0}, kind='synthetic', {1}) - mean(abstains|{0}, kind=['true', 'false'], {1})"
HERE = ", ".join(f"{k}={v!r}" for k, v in PLAIN.items())
DIRECTION: dict[str, Any] = {"same": "same direction only"}

claims = (
    Claim(
        "1", "The measure is calibrated (measured minus closed-form flips at every dial, standard errors)",
        "max(bias|discriminant)", 2.0, Control(
            "synthetic ones that overlap with falsehood, all promoted as fiction, do not have its closed form",
            "max(bias|other_kind, overlap=1.0, share=1.0)", low=2.0, rule="every",
        ), kind="bound", direction="<", paper="none", version=2,
    ),
    Claim(
        "2a", "Unfamiliar statements move the boundary more than familiar fiction (flips, difference)",
        _more("flip", probe="sawmil"), 0.0, Control(
            "noise that is distributed like fiction does not, by 0.03 and more",
            _more("flip", "like_fiction", probe="sawmil"), high=0.03, rule="mean",
        ), paper="up to 40 % against at most 8.2 %", version=2, **DIRECTION,
    ),
    Claim(
        "2b", "and turn it further (cosine, difference)", _more("cosine", probe="sawmil"), 0.0, Control(
            "noise that is distributed like fiction does not, by 0.05 and more",
            _more("cosine", "like_fiction", probe="sawmil"), low=-0.05, rule="mean",
        ), direction="<", paper="as 2a", version=2, **DIRECTION,
    ),
    Claim(
        "3a", "It is familiarity: synthetic places that become known flip fewer (flips, difference)",
        f"{_flip(familiarity=1.0)} - {_flip()}", 0.0, Control(
            "documents about other places change nothing: within ±0.05",
            f"{_flip(familiarity=1.0, familiar='extra')} - {_flip()}", low=-0.05, high=0.05, rule="mean",
        ), direction="<", paper="epistemic familiarity matters more than form", version=2, **DIRECTION,
    ),
    Claim(
        "3b", "more than form does (fall of flips when synthetic places become known, minus change by form)",
        f"{_flip()} - {_flip(familiarity=1.0)} - {FORM}", 0.0, Control(
            "documents about other places do not", f"{_flip()} - {_flip(familiarity=1.0, familiar='extra')} - {FORM}",
            high=0.0, rule="mean",
        ), paper="as 3a", version=2, **DIRECTION,
    ),
    Claim(
        "4", "Training brings synthetic statements nearer the false ones than fiction (distances, minus untrained)",
        f"{_more('distance')} - {_more('distance', 'untrained')}", 0.0, Control(
            "with kinds of places shuffled it does not: within ±0.05",
            f"{_more('distance', 'shuffled')} - {_more('distance', 'untrained')}", low=-0.05, high=0.05, rule="mean",
        ), direction="<", paper="representations of synthetic statements lie near factual ones", version=2,
        **DIRECTION,
    ),
    Claim(
        "5", "Boundary: which kind flips more depends on the probe (sAwMIL's difference minus the means')",
        f"{_more('flip', probe='sawmil')} - {_more('flip', probe='mean_difference')}", 0.0, Control(
            "with kinds of places shuffled it does not: within ±0.03",
            f"{_more('flip', 'shuffled', probe='sawmil')} - {_more('flip', 'shuffled', probe='mean_difference')}",
            low=-0.03, high=0.03, rule="mean",
        ), kind="boundary", paper="not tested", version=2,
    ),
    Claim(
        "6", "Boundary: the more statements are promoted the more flips, even along an orthogonal direction (slope)",
        "slope(flips|discriminant, kind='fictional', overlap=0.0, over='share')", 0.05, Control(
            "where as many are promoted at every share it is within ±0.02",
            "slope(flips|as_many, kind='fictional', overlap=0.0, over='share')", low=-0.02, high=0.02, rule="mean",
        ), kind="trend", paper="not tested", version=2,
    ),
    Claim(
        "7", "Truth carries over into stories: T0 ranks what holds in one above other fiction (area under the curve)",
        _at("canonical", probe="sawmil"), 0.6, Control(
            "before training it does not: within 0.5 ± 0.07", _at("canonical", "untrained", probe="sawmil"), low=0.43,
            high=0.57, rule="mean",
        ), paper="canonical truth of fiction is a map of its own (T3)",
    ),
    Claim(
        "8", "Where the probe may abstain, it does so more often of synthetic statements than of true and false ones",
        ABSTAINS.format("stability", HERE), 0.0, Control(
            "before training it does not: within ±0.05", ABSTAINS.format("untrained", HERE), low=-0.05, high=0.05,
            rule="mean",
        ), paper="conformal abstention is reported beside the flips",
    ),
)  # fmt: skip

NAMES = {"sawmil": "sAwMIL", "mean_difference": "mean difference"}
study = Study(
    slug="truth",
    module=__name__,
    version=3,
    scales={
        "quick": Settings(
            seeds=1, overlaps=(0.0, 1.0), repeats=1, places=12, others=48, steps=10, splits=1
        ),
        "cpu": Settings(),
        "paper": Settings(
            seeds=20, overlaps=(0.0, 0.25, 0.5, 0.75, 1.0), repeats=20, places=160, steps=3000, splits=10
        ),
    },
    grids=grids,
    worlds=(geometry, atlas),
    methods=(
        discriminant, other_kind, as_many, stability, untrained, shuffled, like_fiction,
        no_flips, kinds_mixed_up, share_ignored,
        constant, random_direction, shuffled_labels, wrong_sign, untrained_network, blind_to_the_stage,
    ),
    measures=(calibration, moved, known, placed),
    claims=claims,
    figures=(
        Figure(
            "kinds", "The atlas: true statements that change side when a kind is promoted; a dot is a model.",
            chart(
                "Which kind flips more depends on the probe",
                *(
                    Panel(name, "kind", "measure", rows=f"probe == {probe!r}", y_label="share of true statements")
                    for probe, name in NAMES.items()
                ),
            ),
            "world == 'atlas' and method == 'stability' and familiarity == 0.0 and form == 1.0 and "
            "measure in ['flip', 'null']",
        ),
        Figure(
            "models", "Flips under sAwMIL when synthetic or fictional statements are promoted, by model.",
            chart(
                "Familiarity and form",
                Panel("Fictional names", "form", "kind", rows="familiarity == 0.0", y_label="flips under sAwMIL"),
                Panel("All myths about synthetic or about other places", "familiar", "kind", rows="familiarity == 1.0"),
            ),
            "world == 'atlas' and method == 'stability' and measure == 'flip' and probe == 'sawmil' and "
            "kind in ['synthetic', 'fictional']",
        ),
        Figure(
            "geometry", "The geometry: measured flips against the closed form.", draw.geometry,
            "method == 'discriminant' and measure in ['flips', 'closed_form']",
        ),
    ),
    root_seed=20261130,
    dtype="float32",
    preload=("numpy", "torch", "transformers", "sklearn"),
)  # fmt: skip
