"""The study of the stability of truth: which statements, called true, move the boundary? (arXiv:2511.19166)

Normal clouds whose flips are known in closed form, and an atlas of real, invented and fictional places that a tiny
language model learns. A cell of the atlas is one model: both probes are fitted on several splits of its statements.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from groundshift.lab.claims import Claim, Control
from groundshift.lab.study import Figure, Grid, Measure, Method, Sample, Study, World
from groundshift.models import tinylm
from groundshift.models.activations import ProbeModel, capture
from groundshift.probes.truth import TruthStability, sliced_wasserstein
from groundshift.studies import truth_figures as draw
from groundshift.worlds.tinylm import Atlas, TinyWorld
from groundshift.worlds.truth_geometry import Geometry

SEPARATION = 1.2
COPIES = {"true": 5, "false": 1}
"""There is one true statement to five false ones; copies make them as many, as in the paper's tables."""
OTHERS = 132
"""Statements of a kind that is neither: a third of the real ones."""
PROBES = ("sawmil", "mean_difference")
KINDS = {
    "synthetic": "synthetic",
    "fictional": "fictional",
    "canonical": "fictional, canonical",
    "noise": "noise",
}


@dataclass(frozen=True)
class Settings:
    """What the dial sets."""

    seeds: int = 5
    overlaps: tuple[float, ...] = (0.0, 0.5, 1.0)
    shares: tuple[float, ...] = (0.25, 0.5, 0.75, 1.0)
    repeats: int = 4
    """Draws of the geometry in a cell."""
    places: int = 40
    steps: int = 800
    """Most training steps; a model that has passed its exam stops."""
    splits: int = 3
    familiarity: tuple[float, ...] = (0.0, 1.0)
    """The slope of a line through 0, 0.5 and 1 is the difference of its ends."""
    form: tuple[float, ...] = (0.0, 1.0)


# Worlds --------------------------------------------------------------------------------------------------


@World.define()
def geometry(
    rng: np.random.Generator, severity: float, *, overlap: float, share: float, repeats: int
) -> Sample:
    """Clouds of true, false, synthetic and fictional statements; ``share`` of the latter two is promoted."""
    world = Geometry(separation=SEPARATION, overlap=overlap, share=share)
    return Sample([world.draw(rng) for _ in range(repeats)], world)


@World.define()
def atlas(
    rng: np.random.Generator,
    severity: float,
    *,
    familiarity: float,
    form: float,
    familiar: str,
    places: int,
    steps: int,
) -> Sample:
    """A language model that has learnt an atlas, and statements about all its places."""
    seed = int(rng.integers(2**31))
    part = Atlas(places=places, familiarity=familiarity, form=form, familiar=familiar)
    world = TinyWorld({"atlas": part}, seed=seed)
    exam = world["atlas"].exam("judged")
    net = tinylm.build(
        "small", world.lexicon, positions=8, seed=seed, intermediate_size=128, initializer_range=0.1
    )
    gate = tinylm.Gate(lambda model: tinylm.accuracy(model, exam), 0.95)
    tinylm.fit(net, world.items(128, on="completion"), steps, 5e-3, stop=gate, seed=seed)
    table, ids = _statements(world["atlas"], rng)
    model = ProbeModel(net, tinylm.tokenizer(world.lexicon))
    acts = capture(model, [{"input_ids": row} for row in ids], "resid_post.all", "last", progress=False)
    states = {site: np.asarray(acts[site]) for site in acts}
    return Sample({"states": states, "table": table, "judged": tinylm.accuracy(net, exam)}, None)


def _statements(part: Any, rng: np.random.Generator) -> tuple[pd.DataFrame, list[list[int]]]:
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
            chosen = rng.permutation(len(rows))[:OTHERS]
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


@Method.define()
def discriminant(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Fisher's discriminant with and without each kind promoted, on every draw."""
    reports, accuracies = [], []
    for drawn in data:
        found = TruthStability(
            "mean_difference",
            covariance=True,
            match=False,
            noise=False,
            random_state=int(rng.integers(2**31)),
        ).fit(drawn.x, drawn.table)
        reports.append(
            found.report_.loc[["synthetic", "fictional"], ["retraction", "expansion", "flip", "low", "high"]]
        )
        accuracies.append(found.accuracy_["balanced"])
    return {
        "reports": np.array([r.to_numpy(dtype=float) for r in reports]),
        "accuracy": float(np.mean(accuracies)),
    }


@Method.define()
def stability(data: Any, rng: np.random.Generator, *, splits: int) -> dict[str, Any]:
    """Both probes on several splits of one model's statements; averages over the splits."""
    found: dict[str, Any] = {"judged": data["judged"]}
    seeds = rng.integers(2**31, size=splits)
    for probe in PROBES:
        fits = [
            TruthStability(probe, positions="last", random_state=int(seed)).fit(data["states"], data["table"])  # type: ignore[arg-type]
            for seed in seeds
        ]
        for short, kind in KINDS.items():
            for column in ("flip", "retraction", "expansion", "cosine", "null"):
                each = [float(fit.report_[column][kind]) for fit in fits]
                found[f"{probe}_{column}_{short}"] = float(np.mean(each))
                if column == "retraction":
                    found[f"{probe}_first_{short}"], found[f"{probe}_last_{short}"] = each[0], each[-1]
        found[f"{probe}_accuracy"] = float(np.mean([fit.accuracy_["balanced"] for fit in fits]))
    last = fits[-1]
    for kind in ("synthetic", "fictional"):
        found[f"sw_{kind}"] = float(np.mean([fit.distances_.loc[kind, "false"] for fit in fits]))
    found["shuffled"] = _shuffled(data, last.layer_, rng)
    return found


def _shuffled(data: Any, layer: str, rng: np.random.Generator) -> float:
    """How much nearer synthetic statements lie to false ones than fictional ones do, with the kinds shuffled."""
    table = data["table"]
    rows = np.flatnonzero(table["kind"].isin(["synthetic", "fictional", "false"]))
    kind = rng.permutation(table["kind"].to_numpy()[rows])
    x = data["states"][layer][rows].astype(float)
    x = (x - x.mean(0)) / x.std(0).clip(1e-12)
    seed = int(rng.integers(2**31))
    near, far = (
        sliced_wasserstein(x[kind == k], x[kind == "false"], np.random.default_rng(seed))
        for k in ("synthetic", "fictional")
    )
    return near - far


# Measures ------------------------------------------------------------------------------------------------


@Measure.define(
    gives=(
        "bias",
        "wrong",
        "flip_synthetic",
        "flip_fictional",
        "known_synthetic",
        "known_fictional",
        "accuracy",
        "covered",
    )
)
def calibration(output: Any, sample: Sample) -> dict[str, float]:
    """Measured less closed-form shares, in bootstrap standard errors of one draw's flips; the largest of all."""
    found, low, high = (output["reports"][:, :, k] for k in ((0, 1, 2), 3, 4))
    error = ((high - low) / (2 * 1.96)).clip(1e-6)
    known = np.array(
        [(f.retraction, f.expansion, f.flip) for f in map(sample.truth.flips, ("synthetic", "fictional"))]
    )
    off = np.abs(found.mean(0) - known) / error.mean(0)[:, None]
    # The law of the other kind: they tie where synthetic statements are orthogonal to truth, and nowhere else.
    wrong = np.abs(found[:, 0].mean(0) - known[1]) / error.mean(0)[0]
    return {
        "bias": float(off.max()),
        "wrong": float(wrong.max()),
        "flip_synthetic": float(found[:, 0, 2].mean()),
        "flip_fictional": float(found[:, 1, 2].mean()),
        "known_synthetic": float(known[0, 2]),
        "known_fictional": float(known[1, 2]),
        "accuracy": output["accuracy"],
        "covered": float((np.abs(found[:, :, 2] - known[:, 2]) <= 2 * error).mean()),
    }


COLUMNS = (
    "judged",
    *(
        f"{p}_{c}_{k}"
        for p in PROBES
        for c in ("flip", "retraction", "expansion", "cosine", "null")
        for k in KINDS
    ),
    *(f"{p}_{c}_{k}" for p in PROBES for c in ("first", "last") for k in KINDS),
    *(f"{p}_accuracy" for p in PROBES),
    "sw_synthetic",
    "sw_fictional",
    "shuffled",
)


@Measure.define(gives=COLUMNS)
def moved(output: Any, sample: Sample) -> dict[str, float]:
    """What `stability` found."""
    return {name: output[name] for name in COLUMNS}


# The study -----------------------------------------------------------------------------------------------


def grids(s: Settings) -> list[Grid]:
    """The blocks of cells."""
    size = {"places": s.places, "steps": s.steps}
    method = {"stability": {"splits": s.splits}}

    def model(**dials: Any) -> Grid:
        return Grid(
            "atlas", ("stability",), ("moved",), s.seeds, world_params={**PLAIN, **dials, **size}, method_params=method,
            cost_s=15.0,
        )  # fmt: skip

    return [
        Grid(
            "geometry", ("discriminant",), ("calibration",), s.seeds, vary={"overlap": s.overlaps, "share": s.shares},
            world_params={"repeats": s.repeats}, cost_s=0.8,
        ),
        *(model(familiarity=phi) for phi in s.familiarity),
        *(model(form=form) for form in s.form),
        model(familiarity=s.familiarity[-1], familiar="extra"),
    ]  # fmt: skip


PLAIN: dict[str, Any] = {"familiarity": 0.0, "form": 0.0, "familiar": "synthetic"}


def _at(name: str, **dials: Any) -> str:
    where = ", ".join(f"{k}={v!r}" for k, v in {**PLAIN, **dials}.items())
    return f"mean({name}|stability, {where})"


FLIP = "sawmil_flip_synthetic"
RETRACTED = {
    probe: f"({_at(f'{probe}_retraction_synthetic')} - {_at(f'{probe}_retraction_fictional')})"
    for probe in PROBES
}
NULL = Control(
    "as many false statements, or noise, flip at most half as many as synthetic ones do",
    f"highest({_at('sawmil_null_synthetic')}, {_at('sawmil_flip_noise')}) - 0.5 * {_at(FLIP)}",
    high=0.0,
)
SLOPE = f"{_at(FLIP, familiarity=1.0)} - {_at(FLIP)}"

claims = (
    Claim(
        "1", "The measure is calibrated (measured less closed-form flips at every dial, standard errors)",
        "max(bias|discriminant)", 2.0, Control(
            "synthetic ones that overlap with falsehood, all promoted, do not have the closed form of fiction",
            "min(wrong|discriminant, overlap=1.0, share=1.0)", low=2.0, rule="every",
        ), kind="bound", direction="<", paper="none", same="analogue",
    ),
    Claim(
        "2a", "Unfamiliar statements move the boundary more than familiar fiction (flips, difference)",
        f"{_at(FLIP)} - {_at('sawmil_flip_fictional')}", 0.0, NULL, paper="up to 40 % against at most 8.2 %",
        same="same direction only",
    ),
    Claim(
        "2b", "and turn it further (cosine, difference)",
        f"{_at('sawmil_cosine_synthetic')} - {_at('sawmil_cosine_fictional')}", 0.0, NULL, direction="<",
        paper="as 2a", same="same direction only",
    ),
    Claim(
        "3a", "It is familiarity: synthetic places that become known flip fewer (slope over familiarity)",
        SLOPE, 0.0, Control(
            "documents about other places change nothing: within ±0.1",
            f"{_at(FLIP, familiarity=1.0, familiar='extra')} - {_at(FLIP)}", low=-0.1, high=0.1, rule="mean",
        ), direction="<", paper="epistemic familiarity matters more than form", same="same direction only",
    ),
    Claim(
        "3b", "and not form: fictional names like real ones change nothing (slope over form)",
        f"{_at(FLIP, form=1.0)} - {_at(FLIP)}", 0.1, Control(
            "familiarity, which should, does change it", SLOPE, high=0.0,
        ), kind="equivalence", paper="as 3a", same="same direction only",
    ),
    Claim(
        "4", "Synthetic statements lie nearer the false ones than fiction does (sliced Wasserstein, every seed)",
        f"{_at('sw_synthetic')} - {_at('sw_fictional')}", 0.0, Control(
            "with shuffled kinds they lie as near: within ±0.03", _at("shuffled"), low=-0.03, high=0.03, rule="mean",
        ), kind="bound", direction="<", paper="representations of synthetic statements lie near factual ones",
        same="same direction only",
    ),
    Claim(
        "5", "Boundary: which kind is retracted more depends on the probe (sAwMIL's difference less that of the means)",
        f"{RETRACTED['sawmil']} - {RETRACTED['mean_difference']}", 0.0, Control(
            "on another split the same probe says the same: within ±0.1",
            f"({_at('sawmil_first_synthetic')} - {_at('sawmil_first_fictional')}) - "
            f"({_at('sawmil_last_synthetic')} - {_at('sawmil_last_fictional')})", low=-0.1, high=0.1, rule="mean",
        ), kind="boundary", paper="not tested",
    ),
    Claim(
        "6", "Boundary: the more statements are promoted the more flips, even along an orthogonal direction (Spearman)",
        "spearman(flip_fictional|discriminant, overlap=0.0, over='share')", 0.9, Control(
            "the probe without any promoted is as good at every share: slope within ±0.05",
            "slope(accuracy|discriminant, overlap=0.0, over='share')", low=-0.05, high=0.05,
        ), kind="trend", paper="not tested",
    ),
)  # fmt: skip

study = Study(
    slug="truth",
    module=__name__,
    version=2,
    scales={
        "quick": Settings(seeds=2, overlaps=(0.0, 1.0), repeats=1, places=10, steps=20, splits=2),
        "cpu": Settings(),
        "paper": Settings(
            seeds=20, overlaps=(0.0, 0.25, 0.5, 0.75, 1.0), repeats=20, steps=3000, splits=10,
            familiarity=(0.0, 0.5, 1.0), form=(0.0, 0.5, 1.0),
        ),
    },
    grids=grids,
    worlds=(geometry, atlas),
    methods=(discriminant, stability),
    measures=(calibration, moved),
    claims=claims,
    figures=(
        Figure(
            "kinds", "The atlas: true statements that change side when a kind is promoted.", draw.kinds,
            "world == 'atlas' and familiarity == 0.0 and form == 0.0",
        ),
        Figure(
            "dials", "Flips by synthetic statements as their places become known, and as fictional names become alike.",
            draw.dials, "world == 'atlas' and measure in ['sawmil_flip_synthetic', 'sawmil_flip_fictional']",
        ),
        Figure(
            "geometry", "The geometry: measured flips against the closed form.", draw.geometry,
            "world == 'geometry' and measure in "
            "['flip_synthetic', 'flip_fictional', 'known_synthetic', 'known_fictional']",
        ),
    ),
    root_seed=20270411,  # pilots drew from other roots
    dtype="float32",
    preload=("numpy", "torch", "transformers", "sklearn"),
)  # fmt: skip
