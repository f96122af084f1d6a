"""The study of discrete contrastive diffusion: does the contrast make samples correspond? (arXiv:2206.07771)

Dance to music with a known score, and handwritten digits as codes of patches. A rival that costs nothing stands beside
the contrast throughout: the plain diffusion sampled at a lower temperature.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from groundshift.generation.cdcd import CDCD
from groundshift.generation.cdcd.modalities import codes_to_images, image_codes
from groundshift.lab.claims import Claim, Control
from groundshift.lab.study import Figure, Grid, Measure, Method, Sample, Study, World
from groundshift.measures.sets import frechet_distance
from groundshift.models.backbones import backbone
from groundshift.studies import cdcd_figures as draw
from groundshift.worlds import rhythm as music
from groundshift.worlds import tinyvision as tv

STEPS = 20
WEIGHT = 0.3
CONTRAST: dict[str, Any] = {"contrast": "step", "negatives": "inter", "weight": WEIGHT}
FEWER = (13, 6)
TEMPERATURES = (0.85, 0.7)
CALIBRATION = 128
"""Further pairs, on which predictive entropies are measured."""
BOUNDARY_AUX = 1.0
"""Beside it the bound's own weight, 1/s, hardly counts: λ is about weight/aux at every step but the first."""


@dataclass(frozen=True)
class Settings:
    """What the dial sets."""

    seeds: int = 5
    train: int = 1024
    test: int = 384
    iterations: int = 350
    width: int = 48
    batch: int = 32
    draws: int = 2
    """Samples for each condition of what the claims compare."""
    digits: int = 400
    """Test digits that are sampled."""
    weights: tuple[float, ...] = (0.1, 0.3, 1.0, 3.0)
    """Of the sample-wise contrast, over the auxiliary weight."""


# Worlds --------------------------------------------------------------------------------------------------


@World.define(version=2)
def dance(
    rng: np.random.Generator, severity: float, *, train: int, test: int, shared_timbre: bool = False
) -> Sample:
    """Pairs of music and dance; severity adds to the noise of the dances that are played to."""
    known, more = (music.rhythm(rng, n, shared_timbre=shared_timbre) for n in (train, CALIBRATION))
    asked = music.rhythm(rng, test, noise=1 + severity, shared_timbre=shared_timbre)
    return Sample(
        {
            "tokens": known.tokens,
            "condition": known.condition,
            "groups": known.genre,
            "more": (more.tokens, more.condition),
            "asked": asked.condition,
        },
        asked,
    )


@World.define()
def digits(rng: np.random.Generator, severity: float, *, asked: int) -> Sample:
    """Handwritten digits as sixteen codes of patches, with their class as the condition."""
    tokeniser = backbone("digits-vq").net
    images, labels = tv.digits("train")
    return Sample(
        {
            "tokens": image_codes(images, tokeniser),
            "condition": labels,
            "asked": tv.digits("test")[1][:asked],
        },
        tokeniser,
    )


# Methods -------------------------------------------------------------------------------------------------


@Method.define(version=2)
def contrast(data: Any, rng: np.random.Generator, *, draws: int, **size: int) -> dict[str, Any]:
    """Step-wise contrast with other genres beside the plain diffusion and its controls, from the same weights and
    batches; several samples for each condition.

    The plain one is also sampled at lower temperatures, and at the one that gives the contrast's predictive entropy
    ("matched"). A second plain diffusion, from other weights, goes the contrast's way through all of this: what it
    gains is no contrast. With random codes as negatives the two are compared at one entropy ("equal").
    """
    seed, asked = int(rng.integers(2**31)), data["asked"]
    many = np.tile(asked, (draws, *[1] * (asked.ndim - 1)))
    plain, model = (_fitted(data, seed, size, **options) for options in ({"contrast": None}, CONTRAST))
    second = _fitted(data, seed + 1, size, contrast=None)
    scrambled = _fitted(data, seed, size, **{**CONTRAST, "negatives": _random_codes})
    low, low_of_second = (_cooled(plain, data, m) for m in (model, second))
    made = {
        "vanilla": plain.sample(many),
        "contrast": model.sample(many),
        "positives": _fitted(data, seed, size, **_itself(data)).sample(many),
        "matched": plain.sample(many, temperature=low),
        "second": second.sample(many),
        "second_matched": plain.sample(many, temperature=low_of_second),
        "equal": model.sample(many, temperature=_cooled(model, data, scrambled)),
        "random_equal": scrambled.sample(many, temperature=_cooled(scrambled, data, model)),
    }
    for t in TEMPERATURES:
        made[f"cooled_{t}"] = plain.sample(many, temperature=t)
    for steps in FEWER:
        made[f"vanilla_{steps}"] = plain.sample(asked, steps=steps)
        made[f"contrast_{steps}"] = model.sample(asked, steps=steps)
        made[f"matched_{steps}"] = plain.sample(asked, steps=steps, temperature=low)
    return {
        "made": made,
        "temperature": low,
        "entropy_vanilla": plain.predictive_entropy(*data["more"]),
        "entropy_contrast": model.predictive_entropy(*data["more"]),
        "retrieval_vanilla": plain.correspondence(made["vanilla"][: len(asked)], asked, candidates=32),
        "retrieval_contrast": model.correspondence(made["contrast"][: len(asked)], asked, candidates=32),
        "swapped": _swapped(model, asked, seed),
    }


@Method.define()
def fewer_steps(data: Any, rng: np.random.Generator, *, draws: int, **size: int) -> dict[str, Any]:
    """The plain diffusion and the contrast, in all steps and in 13 of 20."""
    seed = int(rng.integers(2**31))
    many = np.tile(data["asked"], (draws, 1, 1))
    made: dict[str, Any] = {}
    for name, options in (("vanilla", {"contrast": None}), ("contrast", CONTRAST)):
        model = _fitted(data, seed, size, **options)
        made |= {name: model.sample(many), f"{name}_13": model.sample(many, steps=13)}
    return {"made": made}


@Method.define(role="control")
def same_genre(data: Any, rng: np.random.Generator, **size: int) -> dict[str, Any]:
    """Negatives of the same genre: they differ in beats and codes, and not in what purity measures."""
    tokens, genre = data["tokens"], data["groups"]
    members = [np.flatnonzero(genre == g) for g in range(music.GENRES)]

    def draw(rng: np.random.Generator, rows: Any) -> Any:
        return np.stack([tokens[rng.choice(members[genre[row]], 10)] for row in rows])

    return _alone(data, rng, size, negatives=draw)


@Method.define()
def other_order(data: Any, rng: np.random.Generator, **size: int) -> dict[str, Any]:
    """Step-wise contrast with other orders of the same piece."""
    return _alone(data, rng, size, negatives="intra")


@Method.define(role="baseline")
def guided(data: Any, rng: np.random.Generator, **size: int) -> dict[str, Any]:
    """The plain diffusion with classifier-free guidance of weight 1."""
    model = _fitted(data, int(rng.integers(2**31)), size, contrast=None, drop=0.1)
    return {"made": model.sample(data["asked"], guidance=1.0)}


@Method.define(role="control", version=2)
def permuted_conditions(data: Any, rng: np.random.Generator, **size: int) -> dict[str, Any]:
    """The contrast trained on dances that belong to other pieces."""
    seed = int(rng.integers(2**31))
    wrong = data | {"condition": rng.permutation(data["condition"])}
    model = _fitted(wrong, seed, size, **CONTRAST)
    return {"made": model.sample(data["asked"]), "swapped": _swapped(model, data["asked"], seed)}


@Method.define()
def weighted(data: Any, rng: np.random.Generator, *, form: str, ratio: float, **size: int) -> dict[str, Any]:
    """Sample-wise contrast at a multiple of the auxiliary weight, without the guard."""
    model = _fitted(
        data, int(rng.integers(2**31)), size, contrast="sample", negatives="inter", form=form,
        weight=ratio * BOUNDARY_AUX, aux=BOUNDARY_AUX, guard=False,
    )  # fmt: skip
    return {
        "made": model.sample(data["asked"]),
        "entropy": model.predictive_entropy(*data["more"]),
        "strength": float(model.strength_.max()),
    }


@Method.define(role="baseline")
def plain_digits(data: Any, rng: np.random.Generator, **size: int) -> dict[str, Any]:
    """The plain diffusion of digits."""
    return _digits(data, rng, size, contrast=None)


@Method.define()
def contrast_digits(data: Any, rng: np.random.Generator, **size: int) -> dict[str, Any]:
    """The same with step-wise contrast to other classes."""
    return _digits(data, rng, size, **CONTRAST)


def _fitted(data: Any, seed: int, size: dict[str, int], **options: Any) -> CDCD:
    model = CDCD(
        steps=STEPS, codes=music.CODES, width=size["width"], iterations=size["iterations"], batch_size=size["batch"],
        lr=4e-3, random_state=seed, **options,
    )  # fmt: skip
    return model.fit(data["tokens"], data["condition"], groups=data.get("groups"))


def _random_codes(rng: np.random.Generator, rows: Any) -> Any:
    return rng.integers(0, music.CODES, (len(rows), 10, music.LENGTH))


def _itself(data: Any) -> dict[str, Any]:
    """A contrast whose negatives are the positive."""
    tokens = data["tokens"]
    return {**CONTRAST, "negatives": lambda _, rows: tokens[rows][:, None], "skip_equal": False}


def _cooled(model: CDCD, data: Any, like: CDCD) -> float:
    """The temperature at which a model is as sure as another."""
    tokens, condition = data["more"]
    return model.matching_temperature(tokens, condition, like.predictive_entropy(tokens, condition))


def _alone(data: Any, rng: np.random.Generator, size: dict[str, int], **options: Any) -> dict[str, Any]:
    """Step-wise contrast with negatives of one's own, sampled once."""
    model = _fitted(data, int(rng.integers(2**31)), size, contrast="step", weight=WEIGHT, **options)
    return {"made": model.sample(data["asked"])}


def _digits(data: Any, rng: np.random.Generator, size: dict[str, int], **options: Any) -> dict[str, Any]:
    model = _fitted(data, int(rng.integers(2**31)), size, series=False, **options)
    return {"made": model.sample(data["asked"])}


def _swapped(model: CDCD, asked: Any, seed: int) -> Any:
    """Samples under the condition of the next item, with the random numbers of the item itself."""
    return model.sample(np.roll(asked, -1, axis=0), random_state=seed)


# Measures ------------------------------------------------------------------------------------------------

SCORES = ("hit", "precision", "f1", "genre", "purity", "code_entropy")
VARIANTS = (
    *("vanilla", "contrast", "positives", "matched", "cooled"),
    *("second", "second_matched", "second_cooled", "equal", "random_equal"),
    *(f"{name}_{steps}" for name in ("vanilla", "contrast", "matched") for steps in FEWER),
)
RETRIEVAL = ("rank", "information", "swap_gap")


@Measure.define(gives=SCORES)
def corresponds(output: Any, sample: Sample) -> dict[str, float]:
    """Beats and genre of the samples against the score, and the entropy of all codes."""
    return _score(output["made"], sample.truth)


@Measure.define(
    version=2,
    gives=(
        *(f"{score}_{variant}" for score in SCORES for variant in VARIANTS),
        *(f"{name}_{kind}" for name in RETRIEVAL for kind in ("vanilla", "contrast")),
        "entropy_vanilla", "entropy_contrast", "temperature",
    )
)  # fmt: skip
def compared(output: Any, sample: Sample) -> dict[str, float]:
    """The same for the pair of models; "cooled" is the purest temperature that keeps as high a code entropy."""
    found = {name: _score(tokens, sample.truth) for name, tokens in output["made"].items()}
    for name, of in (("cooled", "contrast"), ("second_cooled", "second")):
        varied = [
            score
            for variant, score in found.items()
            if variant in ("vanilla", "matched", "second_matched", *(f"cooled_{t}" for t in TEMPERATURES))
            if score["code_entropy"] >= found[of]["code_entropy"] - 0.01
        ]
        found[name] = max(varied, key=lambda score: score["purity"], default=found["vanilla"])
    numbers = {f"{score}_{name}": found[name][score] for score in SCORES for name in VARIANTS}
    for kind in ("vanilla", "contrast"):
        numbers |= {f"{name}_{kind}": output[f"retrieval_{kind}"][name] for name in RETRIEVAL}
    return numbers | {k: output[k] for k in ("entropy_vanilla", "entropy_contrast", "temperature")}


@Measure.define(
    gives=tuple(f"timbre_{name}" for name in ("vanilla", "vanilla_13", "contrast", "contrast_13"))
)
def one_timbre(output: Any, sample: Sample) -> dict[str, float]:
    """Share of pieces of one timbre throughout, as all real ones are."""
    return {f"timbre_{name}": music.one_timbre(tokens) for name, tokens in output["made"].items()}


@Measure.define(gives=("follows",))
def causal(output: Any, sample: Sample) -> dict[str, float]:
    """Share of samples whose genre is that of the swapped-in condition, where the two conditions differ in genre."""
    genre = sample.truth.genre
    new = np.roll(genre, -1)
    return {"follows": float((music.majority_genre(output["swapped"]) == new)[new != genre].mean())}


@Measure.define(better="none", gives=("entropy", "strength"))
def certainty(output: Any, sample: Sample) -> dict[str, float]:
    """Predictive entropy in nats, and the largest λ of the loss."""
    return {"entropy": output["entropy"], "strength": output["strength"]}


@Measure.define(gives=("accuracy", "judge_on_real", "distance", "distance_floor"))
def digit_quality(output: Any, sample: Sample) -> dict[str, float]:
    """A classifier of real digits on decoded samples, and the Fréchet distance of their pixels from real ones.

    The classifier's own accuracy on real digits that went through the tokeniser, and the distance between real train
    and test digits through the tokeniser, are the best there is to reach.
    """
    from sklearn.svm import SVC

    tokeniser = sample.truth
    (train, known), (test, asked) = tv.digits("train"), tv.digits("test")
    judge = SVC(gamma=0.02).fit(train.flatten(1).numpy(), known)

    def decoded(codes: Any) -> Any:
        return codes_to_images(codes, tokeniser).flatten(1).numpy()

    made = decoded(output["made"])
    test, asked = test[: len(made)], asked[: len(made)]
    real, other = (decoded(image_codes(images, tokeniser)) for images in (test, train[: len(test)]))
    return {
        "accuracy": float((judge.predict(made) == asked).mean()),
        "judge_on_real": float((judge.predict(real) == asked).mean()),
        "distance": frechet_distance(made, real),
        "distance_floor": frechet_distance(other, real),
    }


def _score(tokens: Any, asked: music.Rhythm) -> dict[str, float]:
    """Scores of one or several samples for each condition."""
    draws = len(tokens) // len(asked.genre)
    found = music.scores(tokens, np.tile(asked.beats, (draws, 1)), np.tile(asked.genre, draws))
    return {name: found[name] for name in SCORES}


# The grid ------------------------------------------------------------------------------------------------


def grids(s: Settings) -> list[Grid]:
    """The cells of the claims."""
    size = {"iterations": s.iterations, "width": s.width, "batch": s.batch}
    pairs = {"train": s.train, "test": s.test}
    alone = ("same_genre", "other_order", "guided")
    return [
        Grid(
            "dance", ("contrast",), ("compared", "causal"), s.seeds, world_params=pairs,
            method_params={"contrast": {**size, "draws": s.draws}}, cost_s=50.0,
        ),
        Grid(
            "dance", ("fewer_steps",), ("one_timbre",), s.seeds, world_params={**pairs, "shared_timbre": True},
            method_params={"fewer_steps": {**size, "draws": s.draws}}, cost_s=20.0,
        ),
        Grid(
            "dance", alone, ("corresponds",), s.seeds, world_params=pairs, method_params=dict.fromkeys(alone, size),
            cost_s=4.0,
        ),
        Grid(
            "dance", ("permuted_conditions",), ("corresponds", "causal"), s.seeds, world_params=pairs,
            method_params={"permuted_conditions": size}, cost_s=4.0,
        ),
        *(
            Grid(
                "dance", ("weighted",), ("corresponds", "certainty"), s.seeds, world_params=pairs,
                method_params={"weighted": {
                    "form": form, "ratio": ratio, **size, "iterations": s.iterations // 2
                }}, cost_s=2.5,
            )
            for form, ratios in (("published", s.weights), ("bounded", s.weights[-2:]))
            for ratio in ratios
        ),
        Grid(
            "digits", ("plain_digits", "contrast_digits"), ("digit_quality",), s.seeds,
            world_params={"asked": s.digits},
            method_params=dict.fromkeys(("plain_digits", "contrast_digits"), size), cost_s=4.0,
        ),
    ]  # fmt: skip


# The claims ----------------------------------------------------------------------------------------------


def _gain(name: str) -> str:
    """Purity of a variant of the pair less that of the plain diffusion in all steps."""
    return f"mean(purity_{name}|contrast) - mean(purity_vanilla|contrast)"


def _between(one: str, other: str) -> str:
    """Purity of a variant less that of another."""
    return f"mean(purity_{one}|contrast) - mean(purity_{other}|contrast)"


def _timbre(name: str) -> str:
    """Share of pieces of one timbre, less that of the plain diffusion in all steps."""
    return f"mean(timbre_{name}|fewer_steps) - mean(timbre_vanilla|fewer_steps)"


def _over_plain(measure: str, method: str) -> str:
    return f"mean({measure}|{method}) - mean({measure}_vanilla|contrast)"


def _at(name: str, form: str, ratio: float) -> str:
    return f"mean({name}|weighted, form={form!r}, ratio={ratio!r})"


SECOND = "a second plain diffusion, matched in the same way, gains less than 0.01"
PAPER = "higher input-output correspondence (no figure at hand)"
NO_FIGURE: dict[str, Any] = {"paper": PAPER, "same": "same direction only"}

claims = (
    Claim(
        "1a", "Step-wise contrast with other genres makes samples purer (genre purity, difference)",
        _gain("contrast"), 0.03, Control(
            "negatives that are the positives, from the same weights, change nothing (within ±0.02)",
            _gain("positives"), low=-0.02, high=0.02, rule="mean",
        ), version=2, **NO_FIGURE,
    ),
    Claim(
        "1c", "and no piece pays for it: the genre is right as often (accuracy, difference)",
        "mean(genre_contrast|contrast) - mean(genre_vanilla|contrast)", -0.02, Control(
            "trained on permuted conditions it is right less often, by 0.3 or more",
            _over_plain("genre", "permuted_conditions"), high=-0.3,
        ), **NO_FIGURE,
    ),
    Claim(
        "1b", "more than negatives of the same genre do (genre purity, difference)",
        "mean(purity_contrast|contrast) - mean(purity|same_genre)", 0.03, Control(
            "which gain nothing over the plain diffusion (at most 0.01)",
            _over_plain("purity", "same_genre"),
            high=0.01,
            rule="mean",
        ), **NO_FIGURE,
    ),
    Claim(
        "2a", "The gain is more than a temperature: at equal predictive entropy (genre purity, difference)",
        _between("contrast", "matched"), 0.0, Control(
            SECOND, _between("second", "second_matched"), high=0.01, rule="mean"
        ), version=2, **NO_FIGURE,
    ),
    Claim(
        "2b", "and against the purest temperature of as high a code entropy (genre purity, difference)",
        _between("contrast", "cooled"), 0.0, Control(
            SECOND, _between("second", "second_cooled"), high=0.01, rule="mean"
        ), version=2, **NO_FIGURE,
    ),
    Claim(
        "3", "Where a piece has one timbre, which needs steps, 13 of the contrast are as good as 20 of the plain "
        "diffusion (share of pieces of one timbre, difference)", _timbre("contrast_13"), -0.03, Control(
            "13 of the plain diffusion are worse than 20, by 0.03 or more", _timbre("vanilla_13"), high=-0.03,
            rule="mean",
        ), paper="over 35 % fewer steps on two benchmarks", same="same direction only",
    ),
    Claim(
        "4a", "Other genres as negatives gain more purity than random codes do, at equal predictive entropy "
        "(difference)", _between("equal", "random_equal"), 0.0, Control(
            SECOND, _between("second", "second_matched"), high=0.01, rule="mean"
        ), version=2, **NO_FIGURE,
    ),
    Claim(
        "4b", "and other orders gain more on the beats than other genres do (F1, difference)",
        "mean(f1|other_order) - mean(f1_contrast|contrast)", 0.0, Control(
            "negatives that are the positives change nothing (within ±0.01)",
            "mean(f1_positives|contrast) - mean(f1_vanilla|contrast)",
            low=-0.01,
            high=0.01,
            rule="mean",
        ), **NO_FIGURE,
    ),
    Claim(
        "5", "Swap the condition and the genre follows (share)", "mean(follows|contrast)", 0.8, Control(
            "trained on permuted conditions it is chance, 0.15 to 0.30 (a piece may have no majority)",
            "mean(follows|permuted_conditions)",
            low=0.15,
            high=0.3,
            rule="mean",
        ), version=2, **NO_FIGURE,
    ),
    Claim(
        "6a", "Boundary: with λ ≥ 1 predictions collapse (predictive entropy at three times the auxiliary weight)",
        _at("entropy", "published", 3.0), 0.05, Control(
            "at 0.3 of it they do not: above 0.3 nats", _at("entropy", "published", 0.3), low=0.3
        ), direction="<", kind="boundary",
    ),
    Claim(
        "6b", "and the bounded form, which is not the paper's, never does (predictive entropy)",
        f"lowest({_at('entropy', 'bounded', 1.0)}, {_at('entropy', 'bounded', 3.0)})", 0.05, Control(
            "where the published one does", _at("entropy", "published", 3.0), high=0.05
        ),
    ),
)  # fmt: skip


study = Study(
    slug="cdcd",
    module=__name__,
    version=2,
    scales={
        "quick": Settings(seeds=2, train=256, test=64, iterations=20, width=16, batch=32, draws=1, digits=60),
        "cpu": Settings(),
        "paper": Settings(seeds=20, train=100_000, test=4000, iterations=20_000, width=256, batch=256),
    },
    grids=grids,
    worlds=(dance, digits),
    methods=(
        contrast, fewer_steps, same_genre, other_order, guided, permuted_conditions, weighted, plain_digits,
        contrast_digits,
    ),
    measures=(corresponds, compared, one_timbre, causal, certainty, digit_quality),
    claims=claims,
    figures=(
        Figure(
            "purity", "Genre purity by what is contrasted; a dot is a seed, the line the plain diffusion.", draw.purity,
            "world == 'dance' and measure in ['purity', 'purity_vanilla', 'purity_contrast', 'purity_matched', "
            "'purity_cooled', 'purity_random_equal', 'purity_positives'] and method != 'weighted'",
        ),
        Figure(
            "steps", "Genre purity and F1 of the beats by sampling steps.", draw.steps,
            "method == 'contrast' and (measure.str.startswith('purity_') or measure.str.startswith('f1_'))",
        ),
        Figure(
            "boundary", "Sample-wise contrast: entropies and purity by its weight over the auxiliary one.",
            draw.boundary, "method == 'weighted' and measure in ['entropy', 'code_entropy', 'purity', 'strength']",
        ),
        Figure(
            "digits", "Digits as codes: the judge's accuracy and the distance from real digits.", draw.digits,
            "world == 'digits'",
        ),
    ),
    root_seed=20270911,
    budget_s=300.0,  # five networks in a cell
    preload=("numpy", "torch", "accelerate"),
)  # fmt: skip
