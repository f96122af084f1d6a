"""The study of representation shift: which concepts did tuning move, and what may one conclude? (arXiv:2501.03012)

World ``captions``: scenes shown by visual tokens; a tiny language model names one of four attributes, any of them in
the base, one in tuned models. World ``gaussian``: clusters with known shifts, and changes that are no shifts at all.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sklearn.metrics import adjusted_mutual_info_score
from sklearn.metrics.pairwise import cosine_similarity

from groundshift.lab.claims import Claim, Control
from groundshift.lab.study import Figure, Grid, Measure, Method, Sample, Shift, Study, World
from groundshift.models import tinylm
from groundshift.models.activations import ProbeModel, capture, find_sites
from groundshift.probes.reprshift import (
    ReprShift,
    choose_vectors,
    decompose,
    fine_vectors,
    recovery,
    steering_vector,
)
from groundshift.studies import reprshift_figures as draw
from groundshift.worlds.gaussian_shift import gaussian_shift
from groundshift.worlds.tinylm import Captions, TinyWorld

SITE, STATE = "resid_post.-1", 12
"""The last block's output at the last token before the attribute's word: the twelfth."""
FAMILIES = ("colour", "place", "mood", "count")
TUNINGS: Mapping[str, Mapping[str, Any]] = {
    "colour": {"names": "colour"},
    "place": {"names": "place"},
    "same": {},
    "weak": {"names": "colour", "severity": 0.1},
    "mild": {"names": "colour", "severity": 0.3},
}
TUNED = ("colour", "place")
ALPHAS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0)
BUDGETS = (0.01, 0.02, 0.05, 0.1, 0.2)
"""Shares of other answers changed at which fine and coarse vectors are compared."""
RANDOM_VECTORS = 10
PERMUTED = 24
REPARTITION = (0.0, 0.2, 0.4, 0.6, 0.8)


@dataclass(frozen=True)
class Settings:
    """What the dial sets."""

    seeds: int = 5
    preset: str = "micro"
    steps: int = 600
    """Of the base, 96 captions each."""
    tuning: int = 120
    scenes: int = 1200
    concepts: int = 12
    samples: int = 1600
    """Of the Gaussian world."""


# Worlds --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Material:
    """What methods see: corpora of the base and of each tuning, and prompts of scenes with one object (n, 12)."""

    base: TinyWorld
    tunings: dict[str, TinyWorld]
    prompts: np.ndarray


@World.define()
def captions(rng: np.random.Generator, severity: float, *, scenes: int) -> Sample:
    """Captioned scenes; the truth is what each scene shows."""
    seed = int(rng.integers(2**31))
    base = TinyWorld({"captions": Captions()}, seed=seed)
    tunings = {name: TinyWorld({"captions": Captions(**how)}, seed=seed) for name, how in TUNINGS.items()}
    shown = base["captions"].draw(rng, scenes, given={"object": 0})
    return Sample(Material(base, tunings, shown.ids[:, :STATE]), shown.truth)


@World.define()
def gaussian(rng: np.random.Generator, severity: float, *, samples: int, rotate: bool) -> Sample:
    """Clusters that move by a shift each; a share ``severity`` of the samples changes cluster, or all are rotated."""
    world = gaussian_shift(rng, samples, rotate=rotate, repartition=severity)
    return Sample((world.before, world.after), world)


# Methods -------------------------------------------------------------------------------------------------


@Method.define()
def shifts(data: tuple[np.ndarray, np.ndarray], rng: np.random.Generator) -> dict[str, Any]:
    """Concepts and shifts of two sets of states."""
    return {"found": ReprShift(n_concepts=8, random_state=int(rng.integers(2**31))).fit(*data)}


@Method.define()
def tuned_models(
    data: Material, rng: np.random.Generator, *, preset: str, steps: int, tuning: int, concepts: int
) -> dict[str, Any]:
    """One base, its tunings from the same weights, and steering of the base."""
    seeds = [int(s) for s in rng.integers(2**31, size=4)]
    lexicon = data.base.lexicon
    net = tinylm.build(
        preset, lexicon, positions=16, seed=seeds[0], tie_word_embeddings=False, intermediate_size=128
    )
    tinylm.fit(net, data.base.items(96), steps=steps, lr=3e-3, seed=seeds[1])
    base = ProbeModel(net, tinylm.tokenizer(lexicon))
    A = states(base, data.prompts)
    after = {}
    for name, world in data.tunings.items():
        tuned = copy.deepcopy(net)
        tinylm.fit(tuned, world.items(96), steps=tuning, lr=1e-3, seed=seeds[2])
        after[name] = states(ProbeModel(tuned, base.tokenizer), data.prompts)
    # Dictionaries of AMI are found on one half of the scenes and read on the other.
    half = rng.permutation(len(A)) < len(A) // 2
    scale = A.std(0)
    groups = {}
    for name, Z in {"before": A, **after}.items():
        concept = decompose(Z[half] / scale, "kmeans", concepts, seeds[3])
        groups[name] = concept.activations(Z[~half] / scale).argmax(1)
    return {
        "shift": {
            name: ReprShift(n_concepts=concepts, standardise=True, n_seeds=2, random_state=seeds[3]).fit(A, B)
            for name, B in after.items()
        },
        "scale": scale,
        "read": np.flatnonzero(~half),
        "groups": groups,
        "shuffled": rng.permutation(int((~half).sum())),
        "steering": steer_base(base, lexicon, A, half, concepts, rng),
        "permutations": np.array([rng.permutation(concepts) for _ in range(PERMUTED)]),
    }  # fmt: skip


def states(model: ProbeModel, prompts: np.ndarray) -> np.ndarray:
    """States that predict the attribute's word, (n, D)."""
    rows = [{"input_ids": row} for row in prompts.tolist()]
    acts = capture(model, rows, SITE, "last", max_tokens=65536, progress=False)
    return next(iter(acts.values())).astype(float)


# Steering ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Reader:
    """What the base says of each attribute, given states of its last block: its likeliest word of each family.

    A vector that is added to the last token's state of the last block reaches the answer through the final norm and the
    unembedding alone, so no pass through the model is needed.
    """

    norm: torch.nn.Module
    W: torch.Tensor
    families: tuple[np.ndarray, ...]

    def __call__(self, h: np.ndarray) -> np.ndarray:
        """Answers (n, 4), a position among the words of each family."""
        with torch.inference_mode():
            logits = self.norm(torch.as_tensor(h, dtype=torch.float32)) @ self.W.T
        return np.stack([logits[:, ids].argmax(1).numpy() for ids in self.families], 1)


def reader(model: ProbeModel, lexicon: Any) -> Reader:
    """The base's."""
    head = model.net.get_output_embeddings().weight.detach()
    return Reader(find_sites(model, "final_norm")[0].module, head, tuple(lexicon[name] for name in FAMILIES))


def steer_base(
    model: ProbeModel, lexicon: Any, A: np.ndarray, half: np.ndarray, concepts: int, rng: np.random.Generator
) -> dict[str, float]:
    """Coarse and fine vectors from the first colour to the second, found on half of the scenes, tried on the rest."""
    say = reader(model, lexicon)
    said = say(A)
    is_source, is_target = said[:, 0] == 0, said[:, 0] == 1
    fit_source, fit_target, test = half & is_source, half & is_target, ~half
    found: dict[str, float] = {"sources": float((test & is_source).sum())}

    def moved(v: np.ndarray, alpha: float = 1.0) -> tuple[float, float, float]:
        """Shares of sources at the target; of answers of other families changed; of other colours changed."""
        now, was = say(A[test] + alpha * v), said[test]
        others = (was[:, 0] != 0) & (was[:, 0] != 1)
        return (
            float((now[was[:, 0] == 0, 0] == 1).mean()),
            float((now[:, 1:] != was[:, 1:]).mean()),
            float((now[others, 0] != was[others, 0]).mean()),
        )

    coarse = steering_vector(A[fit_source], A[fit_target]).vector
    length = float(np.linalg.norm(coarse))
    random = rng.standard_normal((RANDOM_VECTORS, A.shape[1]))
    random *= length / np.linalg.norm(random, axis=1, keepdims=True)
    mixed = np.concatenate([A[fit_source], A[fit_target]])[
        rng.permutation(fit_source.sum() + fit_target.sum())
    ]
    shuffled = steering_vector(mixed[: fit_source.sum()], mixed[fit_source.sum() :]).vector
    found["moved"] = moved(coarse)[0]
    found["moved_random"] = float(np.mean([moved(v)[0] for v in random]))
    found["moved_shuffled"] = moved(shuffled)[0]
    found["others_random10"] = float(np.mean([moved(v, 10.0)[1] for v in random]))
    tried = {alpha: moved(coarse, alpha) for alpha in ALPHAS}
    enough = next((alpha for alpha in ALPHAS if tried[alpha][0] >= 0.8), ALPHAS[-1])
    found |= {
        "alpha": enough,
        "moved_there": tried[enough][0],
        "others": tried[enough][1],
        "within": tried[enough][2],
    }

    # Fine vectors for a sub-group of the sources: those at the place that most of them are at.
    family = half & (is_source | is_target)
    dictionary = decompose(A[family], "kmeans", concepts, int(rng.integers(2**31)))
    concept = dictionary.activations(A).argmax(1)
    at = np.bincount(said[fit_source, 1]).argmax()
    same_place = is_source & (said[:, 1] == at)
    drawn = is_source & (rng.permutation(len(A)) < same_place.sum() / is_source.sum() * len(A))
    for name, group in (("", same_place), ("_drawn", drawn)):
        fine = fine_directions(A, say, half & is_source, group, concept, dictionary.U)
        for kind, vectors in (("fine", fine), ("coarse", np.tile(coarse, (len(A), 1)))):
            found[kind + name] = at_equal_cost(A[test], vectors[test], say, group[test])
    return found


def fine_directions(
    A: np.ndarray, say: Reader, sources: np.ndarray, group: np.ndarray, concept: np.ndarray, U: np.ndarray
) -> np.ndarray:
    """A fine vector for the scenes of each concept whose sources are mostly of the group, zero for others, (n, D).

    It is the one that the rule chooses for the target colour; where the rule chooses none for it, the one that turns
    most of the concept's sources into the target.
    """
    pairs, all_vectors = fine_vectors(U)
    made = np.zeros_like(A)
    for k in range(len(U)):
        own = sources & (concept == k)
        if not own.any() or group[own].mean() <= 0.5:
            continue
        vectors = all_vectors[pairs[:, 0] == k]
        answers = [say(A[own] + v)[:, 0].astype(str).tolist() for v in vectors]
        chosen = choose_vectors(say(A[own])[:, 0].astype(str).tolist(), answers, keep=len(vectors))
        best = next((c.candidate for c in chosen if c.answers == ("1",)), None)
        if best is None:
            best = int(np.argmax([row.count("1") for row in answers]))
        made[concept == k] = vectors[best]
    return made


def at_equal_cost(h: np.ndarray, vectors: np.ndarray, say: Reader, group: np.ndarray) -> float:
    """Share of the group at the target for a given share of all other answers changed, mean over `BUDGETS`."""
    was = say(h)
    tried = [(0.0, 0.0)]
    for alpha in ALPHAS:
        now = say(h + alpha * vectors)
        changed = now != was
        changed[group, 0] = False
        cost = changed.sum() / (changed.size - group.sum())
        tried.append((float(cost), float((now[group, 0] == 1).mean())))
    return float(np.mean([max(share for cost, share in tried if cost <= budget) for budget in BUDGETS]))


# Measures ------------------------------------------------------------------------------------------------

ARMS = ("concept", "global", "random")


@Measure.define(
    gives=(
        *(f"{what}_{arm}_{name}" for what in ("gain", "distance") for arm in ARMS for name in TUNINGS),
        *(f"consistency_{name}" for name in TUNINGS),
        "gain", "over_random", "over_global", "distance_saved", "distance_saved_weak",
    )
)  # fmt: skip
def held_out(output: Any, sample: Sample) -> dict[str, float]:
    """Held-out gains and distances of each tuning; means over the two tunings at full severity."""
    made: dict[str, Any] = {}
    for name, found in output["shift"].items():
        spread = found.spread_.mean()
        made |= {
            f"{what}_{arm}_{name}": spread[f"{what}_{arm}"] for what in ("gain", "distance") for arm in ARMS
        }
        made[f"consistency_{name}"] = spread["consistency"]

    def tuned(what: str) -> float:
        return float(np.mean([made[f"{what}_{name}"] for name in TUNED]))

    made |= {
        "gain": tuned("gain_concept"),
        "over_random": tuned("gain_concept") - tuned("gain_random"),
        "over_global": tuned("gain_concept") - tuned("gain_global"),
        "distance_saved": tuned("distance_global") - tuned("distance_concept"),
        "distance_saved_weak": made["distance_global_weak"] - made["distance_concept_weak"],
    }
    return {name: float(value) for name, value in made.items()}


@Measure.define(
    version=2,
    gives=(
        *(f"ami_{family}_{name}" for family in FAMILIES for name in ("before", *TUNINGS)),
        "rise_place", "change_shuffled",
    )
)  # fmt: skip
def sees(output: Any, sample: Sample) -> dict[str, float]:
    """Adjusted mutual information of concepts with the scenes' attributes, and how it changed."""
    groups, read = output["groups"], output["read"]
    made = {
        f"ami_{family}_{name}": float(adjusted_mutual_info_score(sample.truth[family][read], group))
        for family in FAMILIES
        for name, group in groups.items()
    }
    mixed = sample.truth["place"][read][output["shuffled"]]
    by = [float(adjusted_mutual_info_score(mixed, groups[name])) for name in ("place", "before")]
    return made | {
        "rise_place": made["ami_place_place"] - made["ami_place_before"],
        "change_shuffled": by[0] - by[1],
    }


@Measure.define(gives=("predicts", "predicts_held_out", "predicts_permuted"))
def predictability(output: Any, sample: Sample) -> dict[str, float]:
    """Pearson r of consistency with recovery over the concepts of two tunings; also with Δ of other concepts."""
    parts: dict[str, list[np.ndarray]] = {"consistency": [], "cosine": [], "held_out": []}
    permuted = [[] for _ in output["permutations"]]  # type: ignore[var-annotated]
    for name in TUNED:
        found, scale = output["shift"][name], output["scale"]
        table, kept = found.table_, found.table_["scored"].to_numpy()
        parts["consistency"].append(table["consistency"].to_numpy()[kept])
        parts["cosine"].append(table["cosine_normalised"].to_numpy()[kept])
        parts["held_out"].append(table["held_out"].to_numpy()[kept])
        u, b, delta = (v / scale for v in (found.concepts_before_, found.concepts_after_, found.shifts_))
        for rows, order in zip(permuted, output["permutations"], strict=True):
            rows.append(recovery(b, u, u + delta[order])["cosine_normalised"][kept])
    x = np.concatenate(parts["consistency"])
    return {
        "predicts": _pearson(x, np.concatenate(parts["cosine"])),
        "predicts_held_out": _pearson(x, np.concatenate(parts["held_out"])),
        "predicts_permuted": float(np.mean([_pearson(x, np.concatenate(rows)) for rows in permuted])),
    }


def _pearson(x: np.ndarray, y: np.ndarray) -> float:
    return float(np.corrcoef(x, y)[0, 1])


STEERED = (
    "sources", "moved", "moved_random", "moved_shuffled", "others_random10", "alpha", "moved_there", "others", "within",
    "fine", "coarse", "fine_drawn", "coarse_drawn",
)  # fmt: skip


@Measure.define(gives=STEERED)
def steering(output: Any, sample: Sample) -> dict[str, float]:
    """Shares of answers moved and changed by vectors."""
    return {name: float(output["steering"][name]) for name in STEERED}


@Measure.define(gives=("recovered", "beyond_random", "reached", "residual", "known_consistency"))
def exact(output: Any, sample: Sample) -> dict[str, float]:
    """Held-out gain, also beyond a random partition; cosine of shifted and nearest tuned concepts; distance left.

    ``known_consistency`` is the measured consistency less the one in closed form (0 where there is none).
    """
    found = output["found"]
    spread = found.spread_.mean()
    truth = sample.truth.consistency
    nearest = cosine_similarity(found.concepts_shifted_, found.concepts_after_).max(1)
    return {
        "recovered": float(spread["gain_concept"]),
        "beyond_random": float(spread["gain_concept"] - spread["gain_random"]),
        "reached": float(np.median(nearest)),
        "residual": float(spread["distance_concept"]),
        "known_consistency": 0.0 if np.isnan(truth) else float(spread["consistency"] - truth),
    }


# The grid ------------------------------------------------------------------------------------------------


def grids(s: Settings) -> list[Grid]:
    """One cell per seed for all tunings, whose base is shared; the Gaussian world by share repartitioned."""
    return [
        Grid(
            "captions", ("tuned_models",), ("held_out", "sees", "predictability", "steering"), s.seeds,
            world_params={"scenes": s.scenes},
            method_params={
                "tuned_models": {
                    "preset": s.preset, "steps": s.steps, "tuning": s.tuning, "concepts": s.concepts
                }
            }, cost_s=62.0,
        ),
        Grid(
            "gaussian", ("shifts",), ("exact",), s.seeds, shift=Shift("repartition", REPARTITION),
            world_params={"samples": s.samples, "rotate": False}, cost_s=1.0,
        ),
        Grid(
            "gaussian", ("shifts",), ("exact",), s.seeds, world_params={"samples": s.samples, "rotate": True},
            cost_s=1.0,
        ),
    ]  # fmt: skip


# The claims ----------------------------------------------------------------------------------------------


def _of(measure: str) -> str:
    return f"mean({measure}|tuned_models)"


def _exact(measure: str, rotate: bool = False, severity: float = 0.0) -> str:
    return f"mean({measure}|shifts, rotate={rotate}, severity={severity})"


SAME = Control("tuning on the base's own captions gains less than 0.03", _of("gain_concept_same"), high=0.03)
WORDS = "shifted concepts share more words with the tuned ones, for nearly all of 20 concepts (LLaVA-1.5)"
DIRECTION: dict[str, Any] = {"same": "same direction only"}

claims = (
    Claim(
        "1a", "Shift vectors recover tuned concepts (held-out gain in cosine, colour and place)", _of("gain"), 0.0,
        SAME, paper=WORDS, **DIRECTION,
    ),
    Claim(
        "1b", "more than shifts of a random partition do (gain, difference)", _of("over_random"), 0.03, SAME,
        paper=WORDS, **DIRECTION,
    ),
    Claim(
        "2a", "The dictionary sees that colour is named (AMI of concepts with colour, after minus before; every seed)",
        f"{_of('ami_colour_colour')} - {_of('ami_colour_before')}", 0.2, Control(
            "tuning on the base's own captions changes it by less (within ±0.2 on average)",
            f"{_of('ami_colour_same')} - {_of('ami_colour_before')}",
            low=-0.2,
            high=0.2,
            rule="mean",
        ), kind="bound", paper="concepts of the tuning's subject emerge (figures)", version=2,
    ),
    Claim(
        "2b", "and that the place is (AMI with place; every seed)", _of("rise_place"), 0.1, Control(
            "with the scenes' places shuffled nothing changes (within ±0.02)",
            _of("change_shuffled"),
            low=-0.02,
            high=0.02,
            rule="mean",
        ), kind="bound", paper="as 2a",
    ),
    Claim(
        "3", "A shift for each concept beats one global shift (held-out distance, global − by concept)",
        _of("distance_saved"), 0.0, Control(
            "where a tenth of the captions are tuned there is no difference (within ±0.2)",
            _of("distance_saved_weak"),
            low=-0.2,
            high=0.2,
            rule="mean",
        ),
    ),
    Claim(
        "4", "Consistent shifts recover better (Pearson r of consistency with normalised recovery over concepts)",
        _of("predicts"), 0.0, Control(
            "with the shifts of other concepts r is within ±0.2",
            _of("predicts_permuted"),
            low=-0.2,
            high=0.2,
            rule="mean",
        ), paper="r = 0.40 over 60 concepts (0.28 to 0.59 by tuning)", same="same quantity",
    ),
    Claim(
        "5", "Steering moves the named answers (share of the first colour's at the second, less a random vector's)",
        f"{_of('moved')} - {_of('moved_random')}", 0.3, Control(
            "a vector from shuffled labels does not (30 points)",
            f"{_of('moved_shuffled')} - {_of('moved_random')}",
            high=0.3,
        ), paper="828 answers moved from yes to no (LLaVA-1.5, VQAv2)", **DIRECTION,
    ),
    Claim(
        "6", "and spares other families (share of place, mood and count changed where 80 % of the sources move)",
        _of("others"), 0.1, Control(
            "a random vector of ten times the length changes more than that",
            _of("others_random10"),
            low=0.1,
        ), direction="<", paper="number and other answers within 2.2 points (yes to no)", **DIRECTION,
    ),
    Claim(
        "7", "Fine vectors beat coarse ones for a sub-group (its share moved at equal cost, fine − coarse)",
        f"{_of('fine')} - {_of('coarse')}", 0.0, Control(
            "for sources drawn at random they do not",
            f"{_of('fine_drawn')} - {_of('coarse_drawn')}",
            high=0.0,
            rule="mean",
        ), paper="gender-neutral captions 232 by coarse, 632 by fine of 794 (LLaVA-1.5)", **DIRECTION,
    ),
    Claim(
        "8a", "Boundary: recovery falls with the share of samples that change cluster (Spearman)",
        "spearman(recovered|shifts, rotate=False, over='severity')", -0.9, Control(
            "where none does the measured consistency is that in closed form (within ±0.05)",
            _exact("known_consistency"),
            low=-0.05,
            high=0.05,
            rule="every",
        ), kind="trend", direction="<",
    ),
    Claim(
        "8b", "and at 80 % it is no better than a random partition's (gain, difference)",
        _exact("beyond_random", severity=0.8), 0.03, Control(
            "where none does it is better by 0.03 or more", _exact("beyond_random"), low=0.03
        ), kind="boundary", direction="<",
    ),
    Claim(
        "8c", "A rotation, which adds nothing, is recovered all the same (median cosine with nearest tuned concepts)",
        _exact("reached", rotate=True), 0.99, Control(
            "held out, its shifts leave more than those of an additive change (distance, at least 1 more)",
            f"{_exact('residual', rotate=True)} - {_exact('residual')}",
            low=1.0,
        ), kind="boundary",
    ),
)  # fmt: skip


study = Study(
    slug="reprshift",
    module=__name__,
    version=2,
    scales={
        "quick": Settings(seeds=2, preset="nano", steps=60, tuning=8, scenes=300, concepts=4, samples=400),
        "cpu": Settings(),
        "paper": Settings(seeds=20, steps=3000, tuning=400, scenes=6000, concepts=20, samples=20_000),
    },
    grids=grids,
    worlds=(captions, gaussian),
    methods=(tuned_models, shifts),
    measures=(held_out, sees, predictability, steering, exact),
    claims=claims,
    figures=(
        Figure(
            "arms", "Held-out gain by tuning: each concept's shift, one global shift, a random partition.", draw.arms,
            "measure.str.startswith('gain_')",
        ),
        Figure(
            "concepts", "What the concepts are: mutual information with each attribute.", draw.concepts,
            "measure.str.startswith('ami_')",
        ),
        Figure(
            "steering", "Steering the base from one colour to another.", draw.steering,
            "measure in ['moved', 'moved_random', 'moved_shuffled', 'others', 'within', 'others_random10', 'fine', "
            "'coarse', 'fine_drawn', 'coarse_drawn']",
        ),
        Figure(
            "boundary", "The exact world: recovery where samples change cluster.", draw.boundary,
            "measure in ['recovered', 'beyond_random'] and world == 'gaussian' and rotate == False",
        ),
    ),
    root_seed=20270909,
    preload=("numpy", "torch", "transformers", "sklearn.cluster"),
)  # fmt: skip
