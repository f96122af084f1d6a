"""The study of representation shift: which concepts did tuning move, and what may one conclude? (arXiv:2501.03012)

World ``captions``: scenes shown by visual tokens; a tiny language model names one of four attributes, any of them in
the base, one in tuned models. World ``gaussian``: clusters with known shifts, and changes that are no shifts at all.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.base import clone
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
from groundshift.studies.drawing import Panel, chart
from groundshift.studies.keeping import kept
from groundshift.worlds import tinylm as tiny_worlds
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
FITS = 8
"""Dictionaries that mutual information is a mean over: k-means may cut the base by one attribute or another."""
REPARTITION = (0.0, 0.2, 0.4, 0.6, 0.8)


@dataclass(frozen=True)
class Settings:
    """What the dial sets."""

    seeds: int = 7
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
    """What methods see.

    Attributes
    ----------
    before : hidden states of the base that predict the attribute's word, (n, D)
    after : those of each tuning
    say : what the base answers to hidden states
    """

    before: np.ndarray
    after: dict[str, np.ndarray]
    say: Callable[[np.ndarray], np.ndarray]


@World.define(version=2)
def captions(
    rng: np.random.Generator, severity: float, *, scenes: int, preset: str, steps: int, tuning: int
) -> Sample:
    """One base, its tunings from the same weights, and captioned scenes; the truth is what each scene shows."""
    seed = int(rng.integers(2**31))
    base = TinyWorld({"captions": Captions()}, seed=seed)
    shown = base["captions"].draw(rng, scenes, given={"object": 0})
    prompts = shown.ids[:, :STATE]
    folder = kept(
        "reprshift", [base.settings(), prompts.tolist(), TUNINGS, preset, steps, tuning],
        partial(_tuned, base, prompts, preset, steps, tuning), tinylm, tiny_worlds,
    )  # fmt: skip
    with np.load(folder / "states.npz") as stored:
        after = {name: stored[name] for name in TUNINGS}
        before = stored["before"]
    model = ProbeModel(tinylm.load(folder / "base"), tinylm.tokenizer(base.lexicon))
    return Sample(Material(before, after, reader(model, base.lexicon)), shown.truth)


def _tuned(base: TinyWorld, prompts: np.ndarray, preset: str, steps: int, tuning: int, folder: Path) -> None:
    """Train the base and its tunings; keep the base, and the hidden states of all."""
    seeds = np.random.SeedSequence(base.seed).generate_state(3).tolist()
    net = tinylm.build(
        preset, base.lexicon, positions=16, seed=seeds[0], tie_word_embeddings=False, intermediate_size=128
    )
    tinylm.fit(net, base.items(96), steps=steps, lr=3e-3, seed=seeds[1])
    tokens = tinylm.tokenizer(base.lexicon)
    all_states = {"before": states(ProbeModel(net, tokens), prompts)}
    for name, how in TUNINGS.items():
        tuned = copy.deepcopy(net)
        corpus = TinyWorld({"captions": Captions(**how)}, seed=base.seed).items(96)
        tinylm.fit(tuned, corpus, steps=tuning, lr=1e-3, seed=seeds[2])
        all_states[name] = states(ProbeModel(tuned, tokens), prompts)
    tinylm.save(net, base.lexicon, folder / "base")
    np.savez(folder / "states.npz", **all_states)  # type: ignore[arg-type]


def states(model: ProbeModel, prompts: np.ndarray) -> np.ndarray:
    """Hidden states that predict the attribute's word, (n, D)."""
    rows = [{"input_ids": row} for row in prompts.tolist()]
    acts = capture(model, rows, SITE, "last", max_tokens=65536, progress=False)
    return next(iter(acts.values())).astype(float)


@World.define(version=2)
def gaussian(
    rng: np.random.Generator, severity: float, *, samples: int, rotate: bool, within: bool
) -> Sample:
    """Clusters that move by a shift each.

    A share ``severity`` of the samples changes cluster, or, ``within``, changes places with others of its own cluster;
    or all samples are rotated.
    """
    world = gaussian_shift(rng, samples, rotate=rotate, repartition=0.0 if within else severity)
    after = world.after.copy()
    if within:
        chosen = rng.random(samples) < severity
        for k in np.unique(world.cluster):
            own = np.flatnonzero(chosen & (world.cluster == k))
            after[own] = after[rng.permutation(own)]
    return Sample((world.before, after), world)


# Methods -------------------------------------------------------------------------------------------------

Vectors = Callable[[np.ndarray], np.ndarray]


@Method.define(version=2)
def shifts(data: tuple[np.ndarray, np.ndarray], rng: np.random.Generator) -> dict[str, Any]:
    """Concepts and shifts of two sets of hidden states."""
    return {"found": ReprShift(n_concepts=8, random_state=int(rng.integers(2**31))).fit(*data)}


@shifts.tampered()
def unpaired(data: Any, rng: np.random.Generator) -> Any:
    """Samples after the change stand beside others before it."""
    return data[0], rng.permutation(data[1])


@Method.define(version=2)
def tuned_models(data: Material, rng: np.random.Generator, *, concepts: int) -> dict[str, Any]:
    """Concepts and shifts of each tuning, and steering of the base."""
    return _analysed(data, rng, concepts)


def _analysed(
    data: Material, rng: np.random.Generator, concepts: int, alpha: float = 1.0, steer: Vectors = np.asarray
) -> dict[str, Any]:
    """``alpha`` scales the shifts, ``steer`` alters the vectors of steering."""
    A, seed = data.before, int(rng.integers(2**31))
    # Dictionaries of AMI are found on one half of the scenes and read on the other.
    half = rng.permutation(len(A)) < len(A) // 2
    scale = A.std(0)
    groups = {}
    for name, Z in {"before": A, **data.after}.items():
        fits = [decompose(Z[half] / scale, "kmeans", concepts, seed + k) for k in range(FITS)]
        groups[name] = np.array([fit.activations(Z[~half] / scale).argmax(1) for fit in fits])
    fit = ReprShift(n_concepts=concepts, standardise=True, n_seeds=2, alpha=alpha, random_state=seed)
    return {
        "shift": {name: clone(fit).fit(A, B) for name, B in data.after.items()},
        "scale": scale,
        "read": np.flatnonzero(~half),
        "groups": groups,
        "steering": steer_base(data.say, A, half, concepts, rng, steer),
        "permutations": np.array([rng.permutation(concepts) for _ in range(PERMUTED)]),
    }  # fmt: skip


# Mutants -------------------------------------------------------------------------------------------------


@Method.define(role="mutant", of=tuned_models)
def blind_to_the_tune(data: Material, rng: np.random.Generator, *, concepts: int) -> dict[str, Any]:
    """Reads the sham, tuned on the base's own captions, for every tune."""
    return _analysed(replace(data, after=dict.fromkeys(data.after, data.after["same"])), rng, concepts)


@Method.define(role="mutant", of=tuned_models)
def blind_to_pairs(data: Material, rng: np.random.Generator, *, concepts: int) -> dict[str, Any]:
    """Takes scenes of the tuned model in another order than those of the base, and random answers for its own."""
    after = {name: rng.permutation(B) for name, B in data.after.items()}

    def say(h: np.ndarray) -> np.ndarray:
        return rng.permutation(data.say(h))

    return _analysed(replace(data, after=after, say=say), rng, concepts)


@Method.define(role="mutant", of=tuned_models)
def wrong_sign(data: Material, rng: np.random.Generator, *, concepts: int) -> dict[str, Any]:
    """Subtracts every shift and every vector."""
    return _analysed(data, rng, concepts, -1.0, np.negative)


@Method.define(role="mutant", of=tuned_models)
def shifts_nothing(data: Material, rng: np.random.Generator, *, concepts: int) -> dict[str, Any]:
    """Leaves every concept and every hidden state where it is."""
    return _analysed(data, rng, concepts, 0.0, np.zeros_like)


@Method.define(role="mutant", of=tuned_models)
def random_vectors(data: Material, rng: np.random.Generator, *, concepts: int) -> dict[str, Any]:
    """Has random concepts of half the scenes, and random vectors of the same length."""

    def drawn(v: np.ndarray) -> np.ndarray:
        w = rng.standard_normal(v.shape)
        return w * np.linalg.norm(v, axis=-1, keepdims=True) / np.linalg.norm(w, axis=-1, keepdims=True)

    answer = _analysed(data, rng, concepts, 1.0, drawn)
    return answer | {
        "groups": {name: rng.permutation(groups.T).T for name, groups in answer["groups"].items()}
    }


@Method.define(role="mutant", of=shifts)
def no_shift(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Leaves the concepts of the Gaussian world where they are."""
    fit = ReprShift(n_concepts=8, alpha=0.0, random_state=int(rng.integers(2**31)))
    return {"found": fit.fit(*data)}


@Method.define(role="mutant", of=shifts)
def subtracted_shift(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Subtracts the shifts of the Gaussian world."""
    fit = ReprShift(n_concepts=8, alpha=-1.0, random_state=int(rng.integers(2**31)))
    return {"found": fit.fit(*data)}


@Method.define(role="mutant", of=shifts)
def other_partners(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Pairs every sample of the Gaussian world with another one."""
    return dict(shifts.run(unpaired.prepare(data, rng), rng))  # type: ignore[misc]


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
    say: Callable[[np.ndarray], np.ndarray],
    A: np.ndarray,
    half: np.ndarray,
    concepts: int,
    rng: np.random.Generator,
    steer: Vectors,
) -> dict[str, dict[str, float]]:
    """Coarse and fine vectors from one colour to another, drawn, found on half of the scenes, tried on the rest."""
    answers = say(A)
    shares = np.bincount(answers[half, 0], minlength=2)
    source, target = rng.permutation(np.argsort(-shares, kind="stable")[:4])[:2].tolist()
    is_source, is_target = answers[:, 0] == source, answers[:, 0] == target
    fit_source, fit_target, test = half & is_source, half & is_target, ~half
    shares_by_vector: dict[str, dict[str, float]] = {"moved": {}, "others": {}, "at_equal_cost": {}}

    def tried(v: np.ndarray, alpha: float = 1.0) -> tuple[float, float]:
        """Shares of sources at the target; of answers of other families changed."""
        now, was = say(A[test] + alpha * v), answers[test]
        return (
            float((now[was[:, 0] == source, 0] == target).mean()),
            float((now[:, 1:] != was[:, 1:]).mean()),
        )

    coarse = steer(steering_vector(A[fit_source], A[fit_target]).vector)
    length = float(np.linalg.norm(steering_vector(A[fit_source], A[fit_target]).vector))
    random = rng.standard_normal((RANDOM_VECTORS, A.shape[1]))
    random *= length / np.linalg.norm(random, axis=1, keepdims=True)
    mixed = rng.permutation(np.concatenate([A[fit_source], A[fit_target]]))
    shuffled = steer(steering_vector(mixed[: fit_source.sum()], mixed[fit_source.sum() :]).vector)
    along = {alpha: tried(coarse, alpha) for alpha in ALPHAS}
    enough = next((alpha for alpha in ALPHAS if along[alpha][0] >= 0.8), ALPHAS[-1])
    for name, outcomes in {
        "coarse": [tried(coarse)],
        "random": [tried(v) for v in random],
        "shuffled": [tried(shuffled)],
        "enough": [along[enough]],
        "random_long": [tried(v, 10.0) for v in random],
    }.items():
        shares_by_vector["moved"][name], shares_by_vector["others"][name] = np.mean(outcomes, axis=0).tolist()

    # Fine vectors for a sub-group of the sources: those at the place that most of them are at.
    family = half & (is_source | is_target)
    dictionary = decompose(A[family], "kmeans", concepts, int(rng.integers(2**31)))
    concept = dictionary.activations(A).argmax(1)
    group = is_source & (answers[:, 1] == np.bincount(answers[fit_source, 1]).argmax())
    fine = steer(fine_directions(A, say, half & is_source, group, concept, dictionary.U, target))
    other = rng.permutation(len(A))
    for name, vectors in {
        "fine": fine,
        "coarse": np.tile(coarse, (len(A), 1)),
        "fine_of_others": fine[other],
    }.items():
        shares_by_vector["at_equal_cost"][name] = at_equal_cost(
            A[test], vectors[test], say, group[test], target
        )
    return shares_by_vector


def fine_directions(
    A: np.ndarray, say: Callable[[np.ndarray], np.ndarray], sources: np.ndarray, group: np.ndarray,
    concept: np.ndarray, U: np.ndarray, target: int,
) -> np.ndarray:  # fmt: skip
    """A fine vector for the scenes of each concept whose sources are mostly of the group, zero for others, (n, D).

    It is the one that the rule chooses for the target colour; where the rule chooses none for it, the one that turns
    most of the concept's sources into the target.
    """
    pairs, all_vectors = fine_vectors(U)
    directions = np.zeros_like(A)
    for k in range(len(U)):
        own = sources & (concept == k)
        if not own.any() or group[own].mean() <= 0.5:
            continue
        vectors = all_vectors[pairs[:, 0] == k]
        answers = [say(A[own] + v)[:, 0].astype(str).tolist() for v in vectors]
        chosen = choose_vectors(say(A[own])[:, 0].astype(str).tolist(), answers, keep=len(vectors))
        best = next((c.candidate for c in chosen if c.answers == (str(target),)), None)
        if best is None:
            best = int(np.argmax([row.count(str(target)) for row in answers]))
        directions[concept == k] = vectors[best]
    return directions


def at_equal_cost(
    h: np.ndarray,
    vectors: np.ndarray,
    say: Callable[[np.ndarray], np.ndarray],
    group: np.ndarray,
    target: int,
) -> float:
    """Share of the group at the target for a given share of all other answers changed, mean over `BUDGETS`."""
    was = say(h)
    tried = [(0.0, 0.0)]
    for alpha in ALPHAS:
        now = say(h + alpha * vectors)
        changed = now != was
        changed[group, 0] = False
        cost = changed.sum() / (changed.size - group.sum())
        tried.append((float(cost), float((now[group, 0] == target).mean())))
    return float(np.mean([max(share for cost, share in tried if cost <= budget) for budget in BUDGETS]))


# Measures ------------------------------------------------------------------------------------------------

ARMS = ("concept", "global", "random")


@Measure.define(version=2, by={"tune": tuple(TUNINGS), "arm": ARMS}, gives=("gain", "distance"))
def held_out(output: Any, sample: Sample) -> list[dict[str, Any]]:
    """Held-out gain in cosine and distance left, of each concept's shift, one for all, and a random partition's."""
    rows = []
    for name, fit in output["shift"].items():
        spread = fit.spread_.mean()
        rows += [
            {"tune": name, "arm": arm, "gain": spread[f"gain_{arm}"], "distance": spread[f"distance_{arm}"]}
            for arm in ARMS
        ]
    return rows


@Measure.define(version=3, by={"tune": ("before", *TUNINGS), "family": FAMILIES}, gives=("ami",))
def sees(output: Any, sample: Sample) -> list[dict[str, Any]]:
    """Adjusted mutual information of concepts with the scenes' attributes."""

    def ami(family: str, groups: np.ndarray) -> float:
        shown = sample.truth[family][output["read"]]
        return float(np.mean([adjusted_mutual_info_score(shown, group) for group in groups]))

    return [
        {"tune": name, "family": family, "ami": ami(family, groups)}
        for name, groups in output["groups"].items()
        for family in FAMILIES
    ]


@Measure.define(version=2, by={"shifts_of": ("own", "others")}, gives=("predicts",))
def predictability(output: Any, sample: Sample) -> list[dict[str, Any]]:
    """Pearson r of consistency with recovery over the concepts of two tunings, by own and by others' shifts."""
    consistency, own = [], []
    permuted: list[list[np.ndarray]] = [[] for _ in output["permutations"]]
    for name in TUNED:
        fit, scale = output["shift"][name], output["scale"]
        table, kept = fit.table_, fit.table_["scored"].to_numpy()
        consistency.append(table["consistency"].to_numpy()[kept])
        own.append(table["cosine_normalised"].to_numpy()[kept])
        u, b, delta = (v / scale for v in (fit.concepts_before_, fit.concepts_after_, fit.shifts_))
        for rows, order in zip(permuted, output["permutations"], strict=True):
            rows.append(recovery(b, u, u + delta[order])["cosine_normalised"][kept])
    x = np.concatenate(consistency)
    return [
        {"shifts_of": "own", "predicts": _pearson(x, np.concatenate(own))},
        {
            "shifts_of": "others",
            "predicts": float(np.mean([_pearson(x, np.concatenate(rows)) for rows in permuted])),
        },
    ]


def _pearson(x: np.ndarray, y: np.ndarray) -> float:
    """0 where either does not vary."""
    return float(np.corrcoef(x, y)[0, 1]) if min(np.ptp(x), np.ptp(y)) > 0 else 0.0


VECTORS = ("coarse", "random", "shuffled", "enough", "random_long")


@Measure.define(version=2, by={"vector": VECTORS}, gives=("moved", "others"))
def steering(output: Any, sample: Sample) -> list[dict[str, Any]]:
    """Share of the sources at the target, and of answers of other families changed, by vector.

    ``enough`` is the coarse vector as long as moves 80 % of the sources, ``random_long`` ten times as long as coarse.
    """
    return [
        {"vector": name, **{what: output["steering"][what][name] for what in ("moved", "others")}}
        for name in VECTORS
    ]


@Measure.define(by={"vector": ("fine", "coarse", "fine_of_others")}, gives=("at_cost",))
def sub_group(output: Any, sample: Sample) -> list[dict[str, Any]]:
    """Share of a sub-group at the target at equal cost; also with fine vectors of other scenes."""
    return [{"vector": name, "at_cost": value} for name, value in output["steering"]["at_equal_cost"].items()]


@Measure.define(version=2, gives=("recovered", "beyond_random", "reached"))
def exact(output: Any, sample: Sample) -> dict[str, float]:
    """Held-out gain, also beyond a random partition; cosine of shifted and nearest tuned concepts."""
    fit = output["found"]
    spread = fit.spread_.mean()
    nearest = cosine_similarity(fit.concepts_shifted_, fit.concepts_after_).max(1)
    return {
        "recovered": float(spread["gain_concept"]),
        "beyond_random": float(spread["gain_concept"] - spread["gain_random"]),
        "reached": float(np.median(nearest)),
    }


# The grid ------------------------------------------------------------------------------------------------


def grids(s: Settings) -> list[Grid]:
    """One cell per seed for all tunings, whose base is shared; the Gaussian world by share repartitioned."""
    plain = {"samples": s.samples, "rotate": False}
    return [
        Grid(
            "captions", ("tuned_models",), ("held_out", "sees", "predictability", "steering", "sub_group"), s.seeds,
            world_params={"scenes": s.scenes, "preset": s.preset, "steps": s.steps, "tuning": s.tuning},
            method_params={"tuned_models": {"concepts": s.concepts}}, cost_s=30.0,
        ),
        Grid(
            "gaussian", ("shifts",), ("exact",), s.seeds, shift=Shift("repartition", REPARTITION),
            vary={"within": (False, True)}, world_params=plain, cost_s=1.0,
        ),
        Grid(
            "gaussian", ("shifts", "unpaired"), ("exact",), s.seeds,
            world_params={**plain, "rotate": True, "within": False}, cost_s=1.0,
        ),
    ]  # fmt: skip


# The claims ----------------------------------------------------------------------------------------------


def _of(measure: str, tuning: Any = TUNED, method: str = "tuned_models", **where: Any) -> str:
    text = "".join(f", {name}={value!r}" for name, value in where.items())
    return f"mean({measure}|{method}, tune={list(tuning) if isinstance(tuning, tuple) else tuning!r}{text})"


def _saved(tuning: Any) -> str:
    """Distance that a shift for each concept saves over one shift for all."""
    return f"({_of('distance', tuning, arm='global')} - {_of('distance', tuning, arm='concept')})"


def _beyond(tuning: Any) -> str:
    return f"{_of('gain', tuning, arm='concept')} - {_of('gain', tuning, arm='random')}"


def _rise(tuning: str, family: str) -> str:
    return f"{_of('ami', tuning, family=family)} - {_of('ami', 'before', family=family)}"


def _by(measure: str, vector: str) -> str:
    return f"mean({measure}|tuned_models, vector={vector!r})"


def _exact(measure: str, method: str = "shifts", **where: Any) -> str:
    text = "".join(
        f", {k}={v!r}" for k, v in {"rotate": False, "within": False, "severity": 0.0, **where}.items()
    )
    return f"mean({measure}|{method}{text})"


SHAM = "tuning on the base's own captions does not"
WORDS = "shifted concepts share more words with the tuned ones, for nearly all of 20 concepts (LLaVA-1.5)"
DIRECTION: dict[str, Any] = {"same": "same direction only"}

claims = (
    Claim(
        "1a", "Shift vectors recover tuned concepts (held-out gain in cosine, colour and place)",
        _of("gain", arm="concept"), 0.0,
        Control(f"{SHAM}, by 0.03 and more", _of("gain", "same", arm="concept"), high=0.03), paper=WORDS, **DIRECTION,
    ),
    Claim(
        "1b", "more than shifts of a random partition do (gain, difference)", _beyond(TUNED), 0.03,
        Control(f"{SHAM}, by 0.03 and more", _beyond("same"), high=0.03, rule="mean"), paper=WORDS, version=2,
        **DIRECTION,
    ),
    *(
        Claim(
            f"2{letter}", f"{text}; every seed)", _rise(name, name), margin, Control(
                f"tuning on the base's own captions changes it by less (within ±{margin} on average)",
                _rise("same", name), low=-margin, high=margin, rule="mean",
            ), kind="bound", paper="concepts of the tuning's subject emerge (figures)", version=2,
        )
        for letter, name, margin, text in (
            ("a", "colour", 0.2, "The dictionary sees that colour is named (AMI with colour, after minus before"),
            ("b", "place", 0.2, "and that the place is (AMI with place, after minus before"),
        )
    ),
    Claim(
        "3", "A shift for each concept saves distance over one for all (held out; minus what it saves in a sham)",
        f"{_saved(TUNED)} - {_saved('same')}", 0.0, Control(
            "where a tenth of the captions are tuned it saves as much as in the sham (within ±0.2)",
            f"{_saved('weak')} - {_saved('same')}", low=-0.2, high=0.2, rule="mean",
        ), version=2,
    ),
    Claim(
        "4", "Consistent shifts recover better (Pearson r of consistency with normalised recovery over concepts)",
        "mean(predicts|tuned_models, shifts_of='own')", 0.0, Control(
            "with the shifts of other concepts r is within ±0.35", "mean(predicts|tuned_models, shifts_of='others')",
            low=-0.35, high=0.35, rule="mean",
        ), paper="r = 0.40 over 60 concepts (0.28 to 0.59 by tuning)", same="same quantity",
    ),
    Claim(
        "5", "Steering moves the named answers (share of one colour's at another, minus a random vector's)",
        f"{_by('moved', 'coarse')} - {_by('moved', 'random')}", 0.3, Control(
            "a vector from shuffled labels does not (30 points)",
            f"{_by('moved', 'shuffled')} - {_by('moved', 'random')}", high=0.3,
        ), paper="828 answers moved from yes to no (LLaVA-1.5, VQAv2)", version=2, **DIRECTION,
    ),
    Claim(
        "6", "and spares other families (share of place, mood and count changed where 80 % of the sources move)",
        _by("others", "enough"), 0.1, Control(
            "a random vector of ten times the length changes more than that", _by("others", "random_long"), low=0.1,
        ), direction="<", paper="number and other answers within 2.2 points (yes to no)", version=2, **DIRECTION,
    ),
    Claim(
        "7", "Fine vectors beat coarse ones for a sub-group (its share moved at equal cost, fine − coarse)",
        f"{_by('at_cost', 'fine')} - {_by('at_cost', 'coarse')}", 0.0, Control(
            "fine vectors of other scenes do not", f"{_by('at_cost', 'fine_of_others')} - {_by('at_cost', 'coarse')}",
            high=0.0, rule="mean",
        ), paper="gender-neutral captions 232 by coarse, 632 by fine of 794 (LLaVA-1.5)", version=2, **DIRECTION,
    ),
    Claim(
        "8a", "Boundary: recovery falls with the share of samples that change cluster (gain in cosine, slope)",
        "slope(recovered|shifts, rotate=False, within=False, over='severity')", -0.2, Control(
            "where they change places within their cluster it does not (within ±0.1)",
            "slope(recovered|shifts, rotate=False, within=True, over='severity')", low=-0.1, high=0.1, rule="mean",
        ), kind="trend", direction="<", version=2,
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
            "with samples paired with others it is not (below 0.9)", _exact("reached", "unpaired", rotate=True),
            high=0.9, rule="mean",
        ), kind="bound", version=2,
    ),
)  # fmt: skip


LABELS = {"same": "sham", "weak": "colour, 10 %", "mild": "colour, 30 %"}
study = Study(
    slug="reprshift",
    module=__name__,
    version=3,
    scales={
        "quick": Settings(seeds=1, preset="nano", steps=60, tuning=8, scenes=300, concepts=4, samples=400),
        "cpu": Settings(),
        "paper": Settings(seeds=20, steps=3000, tuning=400, scenes=6000, concepts=20, samples=20_000),
    },
    grids=grids,
    worlds=(captions, gaussian),
    methods=(
        tuned_models, shifts, unpaired,
        blind_to_the_tune, blind_to_pairs, wrong_sign, shifts_nothing, random_vectors,
        no_shift, subtracted_shift, other_partners,
    ),
    measures=(held_out, sees, predictability, steering, sub_group, exact),
    claims=claims,
    figures=(
        Figure(
            "arms", "Held-out gain by tuning: each concept's shift, one global shift, a random partition.",
            chart(
                "A shift for each concept recovers more than one for all",
                Panel("", "tune", "arm", y_label="held-out gain in cosine", names=LABELS, level=0.03),
            ), "measure == 'gain'",
        ),
        Figure(
            "concepts", "What the concepts are: mutual information with each attribute.",
            chart(
                "After tuning, concepts are values of the attribute that is named",
                Panel("", "tune", "family", y_label="adjusted mutual information", names=LABELS),
            ), "measure == 'ami'",
        ),
        Figure(
            "steering", "Steering the base from one colour to another.",
            chart(
                "From one colour to another, in the base",
                Panel("Share of answers", "vector", "measure", rows="measure != 'at_cost'"),
                Panel("A sub-group, at equal cost", "vector", "vector", rows="measure == 'at_cost'"),
            ), "measure in ['moved', 'others', 'at_cost']",
        ),
        Figure(
            "boundary", "The exact world: recovery where samples change cluster, or places within their cluster.",
            chart(
                "Where samples change cluster, shifts recover nothing",
                *(
                    Panel(title, "severity", "measure", "lines", f"within == {inside}", "held out", "share of samples",
                          level=0.0)
                    for title, inside in (("to another cluster", False), ("within their cluster", True))
                ),
            ), "measure in ['recovered', 'beyond_random'] and world == 'gaussian' and rotate == False",
        ),
    ),
    root_seed=20261130,
    preload=("numpy", "torch", "transformers", "sklearn.cluster"),
)  # fmt: skip
