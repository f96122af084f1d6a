"""The study of discrete contrastive diffusion: does the contrast make samples correspond? (arXiv:2206.07771)

Dance to music with a known score, and handwritten digits as codes of patches. A rival that costs nothing stands beside
the contrast throughout: the plain diffusion sampled at a lower temperature. Every network of a seed is trained once and
cached; all start from the same weights and see the same batches.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from groundshift.generation import cdcd as package
from groundshift.generation.cdcd import CDCD
from groundshift.generation.cdcd.modalities import codes_to_images, image_codes
from groundshift.lab.claims import Claim, Control
from groundshift.lab.study import Figure, Grid, Measure, Method, Sample, Study, World
from groundshift.measures.sets import frechet_distance
from groundshift.models.backbones import backbone
from groundshift.studies.drawing import Panel, chart
from groundshift.studies.keeping import kept
from groundshift.worlds import rhythm as music
from groundshift.worlds import tinyvision as tv

STEPS = 20
WEIGHT = 0.3
TEMPERATURES = ("0.7", "0.85")
CALIBRATION = 128
"""Further pairs, on which predictive entropies and ranks are measured."""
CANDIDATES = 32
BOUNDARY_AUX = 1.0
"""Beside it the bound's own weight, 1/s, hardly counts: λ is about weight/aux at every step but the first."""


@dataclass(frozen=True)
class Settings:
    """What the dial sets."""

    seeds: int = 5
    train: int = 1024
    test: int = 512
    iterations: int = 250
    width: int = 48
    batch: int = 32
    digits: int = 400
    """Test digits that are sampled."""
    weights: tuple[float, ...] = (0.3, 1.0, 3.0)
    """Of the sample-wise contrast, over the auxiliary weight."""


# Worlds --------------------------------------------------------------------------------------------------


@World.define(version=3)
def dance(
    rng: np.random.Generator, severity: float, *, train: int, test: int, timbre: str, conditions: str
) -> Sample:
    """Pairs of music and dance, genres under names that are drawn; severity adds noise to what is played to.

    Parameters
    ----------
    timbre : "any", or "one" throughout a piece
    conditions : "own", or "permuted": dances are trained on beside music that they do not belong to
    """
    shared = timbre == "one"
    known, more = (music.rhythm(rng, n, shared_timbre=shared) for n in (train, CALIBRATION))
    test_music = music.rhythm(rng, test, noise=1 + severity, shared_timbre=shared)
    heard = known.condition
    return Sample(
        {
            "tokens": known.tokens,
            "condition": rng.permutation(heard) if conditions == "permuted" else heard,
            "groups": rng.permutation(music.GENRES)[known.genre],
            "more": (more.tokens, more.condition),
            "asked": test_music.condition,
            "seed": int(rng.integers(2**31)),
        },
        test_music,
    )


@World.define(version=2)
def digits(rng: np.random.Generator, severity: float, *, asked: int) -> Sample:
    """Handwritten digits as sixteen codes of patches, with their class as the condition."""
    tokeniser = backbone("digits-vq").net
    images, labels = tv.digits("train")
    return Sample(
        {
            "tokens": image_codes(images, tokeniser),
            "condition": labels,
            "asked": tv.digits("test")[1][:asked],
            "seed": int(rng.integers(2**31)),
        },
        tokeniser,
    )


# Networks ------------------------------------------------------------------------------------------------


def _options(name: str, data: Any) -> dict[str, Any]:
    """What a network is trained with, by what its samples are contrasted with."""
    if name in ("nothing", "guided"):
        return {"contrast": None, "drop": 0.1 if name == "guided" else 0.0}
    if name.startswith("sample"):  # "sample published 0.3": sample-wise, its form and weight
        _, form, ratio = name.split()
        return {
            "contrast": "sample", "negatives": "inter", "form": form, "weight": float(ratio) * BOUNDARY_AUX,
            "aux": BOUNDARY_AUX, "guard": False,
        }  # fmt: skip
    tokens, genre = data["tokens"], data.get("groups")

    def same_genre(rng: np.random.Generator, rows: Any) -> Any:
        members = [np.flatnonzero(genre == g) for g in range(music.GENRES)]
        return np.stack([tokens[rng.choice(members[genre[row]], 10)] for row in rows])

    def random_codes(rng: np.random.Generator, rows: Any) -> Any:
        return rng.integers(0, music.CODES, (len(rows), 10, music.LENGTH))

    def itself(_: np.random.Generator, rows: Any) -> Any:
        return tokens[rows][:, None]

    negatives = {
        "other genres": "inter", "other orders": "intra", "same genre": same_genre, "random codes": random_codes,
        "itself": itself,
    }[name]  # fmt: skip
    return {"contrast": "step", "weight": WEIGHT, "negatives": negatives, "skip_equal": name != "itself"}


def _network(name: str, data: Any, size: dict[str, int]) -> CDCD:
    """A network that is trained on the data, or was."""
    iterations = size["iterations"] // (2 if name.startswith("sample") else 1)

    def make(folder: Path) -> None:
        series: dict[str, Any] = {} if "groups" in data else {"series": False}
        model = CDCD(
            steps=STEPS, codes=music.CODES, width=size["width"], iterations=iterations, batch_size=size["batch"],
            lr=4e-3, random_state=data["seed"], **series, **_options(name, data),
        )  # fmt: skip
        model.fit(data["tokens"], data["condition"], groups=data.get("groups")).save(folder / "model")

    recipe = [name, size, data["seed"], data["tokens"], data["condition"]]
    return CDCD.load(kept("cdcd", recipe, make, package) / "model")


def _cooled(model: CDCD, name: str, data: Any, size: dict[str, int]) -> float:
    """The temperature at which a model is as sure as the network of that name."""
    tokens, condition = data["more"]
    like = _network(name, data, size).predictive_entropy(tokens, condition)
    return model.matching_temperature(tokens, condition, like)


# Methods -------------------------------------------------------------------------------------------------


def _answer(
    name: str, data: Any, *, temperature: str = "1", steps: int = STEPS, task: str = "samples", **size: int
) -> dict[str, Any]:
    """What a network does.

    Parameters
    ----------
    temperature : a number, or "as NAME": at which it is as sure as the network of that name
    task : "samples"; "swapped", samples under the condition of the next item; or "ranks", of the true condition among
        those of 32 held-out pairs
    """
    model, conditions = _network(name, data, size), data["asked"]
    if task == "ranks":
        tokens, condition = data["more"]
        return {"rank": model.correspondence(tokens, condition, candidates=CANDIDATES)["rank"]}
    cooled = temperature.startswith("as ")
    t = _cooled(model, temperature[3:], data, size) if cooled else float(temperature)
    conditions = np.roll(conditions, -1, axis=0) if task == "swapped" else conditions
    return {"made": model.sample(conditions, steps=steps, temperature=t), "temperature": t}


@Method.define(role="baseline")
def plain(data: Any, rng: np.random.Generator, **options: Any) -> dict[str, Any]:
    """The plain diffusion."""
    return _answer("nothing", data, **options)


@Method.define(role="baseline", version=2)
def guided(data: Any, rng: np.random.Generator, **size: int) -> dict[str, Any]:
    """The plain diffusion with classifier-free guidance of weight 1."""
    return {"made": _network("guided", data, size).sample(data["asked"], guidance=1.0)}


@Method.define(version=3)
def contrast(data: Any, rng: np.random.Generator, *, negatives: str, **options: Any) -> dict[str, Any]:
    """Step-wise contrast with what is named."""
    return _answer(negatives, data, **options)


@Method.define(version=2)
def weighted(data: Any, rng: np.random.Generator, *, form: str, ratio: float, **size: int) -> dict[str, Any]:
    """Sample-wise contrast at a multiple of the auxiliary weight, without the guard."""
    return _unguarded(f"sample {form} {ratio}", data, size)


def _unguarded(name: str, data: Any, size: dict[str, int]) -> dict[str, Any]:
    model = _network(name, data, size)
    strength = float(np.max(model.strength_)) if name != "nothing" else 0.0
    return {
        "made": model.sample(data["asked"]),
        "entropy": model.predictive_entropy(*data["more"]),
        "strength": strength,
    }


@Method.define(role="baseline", version=2)
def plain_digits(data: Any, rng: np.random.Generator, **size: Any) -> dict[str, Any]:
    """The plain diffusion of digits."""
    return _answer("nothing", data, **size)


@Method.define(version=2)
def contrast_digits(data: Any, rng: np.random.Generator, **size: Any) -> dict[str, Any]:
    """The same with step-wise contrast to other classes."""
    return _answer("other genres", data, **size)


@contrast_digits.tampered()
def permuted_digits(data: Any, rng: np.random.Generator) -> Any:
    """Trained on the classes of other digits."""
    return {**data, "condition": rng.permutation(data["condition"])}


# Mutants -------------------------------------------------------------------------------------------------


@Method.define(role="mutant", of=contrast)
def no_contrast(data: Any, rng: np.random.Generator, *, negatives: str, **options: Any) -> dict[str, Any]:
    """The contrast has no weight: the plain diffusion."""
    return _answer("nothing", data, **options)


@Method.define(role="mutant", of=contrast)
def against_itself(data: Any, rng: np.random.Generator, *, negatives: str, **options: Any) -> dict[str, Any]:
    """Every negative is the positive."""
    return _answer("itself", data, **options)


@Method.define(role="mutant", of=contrast)
def against_noise(data: Any, rng: np.random.Generator, *, negatives: str, **options: Any) -> dict[str, Any]:
    """Every negative is a row of random codes."""
    return _answer("random codes", data, **options)


@Method.define(role="mutant", of=contrast)
def against_own_kind(
    data: Any, rng: np.random.Generator, *, negatives: str, **options: Any
) -> dict[str, Any]:
    """Negatives are of the positive's own genre."""
    return _answer("same genre", data, **options)


@Method.define(role="mutant", of=contrast)
def plays_from_memory(
    data: Any, rng: np.random.Generator, *, task: str = "samples", **options: Any
) -> dict[str, Any]:
    """Plays pieces of the training set, whatever the music; its ranks are drawn."""
    if task == "ranks":
        return {"rank": float(rng.integers(1, CANDIDATES + 1))}
    return {"made": rng.choice(data["tokens"], len(data["asked"])), "temperature": 1.0}


@Method.define(role="mutant", of=contrast)
def one_note(data: Any, rng: np.random.Generator, *, task: str = "samples", **options: Any) -> dict[str, Any]:
    """Plays one code throughout, the first of the piece that is played from memory."""
    answer = plays_from_memory.run(data, rng, task=task)
    return (
        dict(answer)
        if task == "ranks"
        else {**answer, "made": np.zeros_like(answer["made"]) + answer["made"][:, :1]}
    )


@Method.define(role="mutant", of=weighted)
def weightless(
    data: Any, rng: np.random.Generator, *, form: str, ratio: float, **size: int
) -> dict[str, Any]:
    """Takes a weight of zero."""
    return _unguarded("nothing", data, size)


@Method.define(role="mutant", of=weighted)
def unbounded(data: Any, rng: np.random.Generator, *, form: str, ratio: float, **size: int) -> dict[str, Any]:
    """Takes the published form for the bounded one."""
    return dict(weighted.run(data, rng, form="published", ratio=ratio, **size))


@Method.define(role="mutant", of=contrast_digits)
def any_digits(data: Any, rng: np.random.Generator, **size: int) -> dict[str, Any]:
    """Draws training digits of any class."""
    return {"made": rng.choice(data["tokens"], len(data["asked"]))}


# Measures ------------------------------------------------------------------------------------------------

SCORES = ("hit", "precision", "f1", "genre", "purity", "code_entropy")


@Measure.define(version=2, gives=(*SCORES, "one_timbre"))
def corresponds(output: Any, sample: Sample) -> dict[str, float]:
    """Beats and genre of the samples against the score, the entropy of all codes, and the share of pieces of one timbre
    throughout.
    """
    codes, truth = output["made"], sample.truth
    scores = music.scores(codes, truth.beats, truth.genre)
    return {name: scores[name] for name in SCORES} | {"one_timbre": music.one_timbre(codes)}


@Measure.define(version=2, gives=("follows",))
def causal(output: Any, sample: Sample) -> dict[str, float]:
    """Share of samples whose genre is that of the swapped-in condition, where the two conditions differ in genre."""
    genre = sample.truth.genre
    new = np.roll(genre, -1)
    return {"follows": float((music.majority_genre(output["made"]) == new)[new != genre].mean())}


@Measure.define(better="lower")
def rank(output: Any, sample: Sample) -> float:
    """Mean rank of the true condition of held-out pairs by the model's own likelihood, 1 at best."""
    return output["rank"]


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
    (train, known), (test, classes) = tv.digits("train"), tv.digits("test")
    judge = SVC(gamma=0.02).fit(train.flatten(1).numpy(), known)

    def decoded(codes: Any) -> Any:
        return codes_to_images(codes, tokeniser).flatten(1).numpy()

    decoded_images = decoded(output["made"])
    test, classes = test[: len(decoded_images)], classes[: len(decoded_images)]
    real, other = (decoded(image_codes(images, tokeniser)) for images in (test, train[: len(test)]))
    return {
        "accuracy": float((judge.predict(decoded_images) == classes).mean()),
        "judge_on_real": float((judge.predict(real) == classes).mean()),
        "distance": frechet_distance(decoded_images, real),
        "distance_floor": frechet_distance(other, real),
    }


# The grid ------------------------------------------------------------------------------------------------


def grids(s: Settings) -> list[Grid]:
    """The cells of the claims."""
    size = {"iterations": s.iterations, "width": s.width, "batch": s.batch}
    usual = {"train": s.train, "test": s.test, "timbre": "any", "conditions": "own"}

    def cells(
        method: str, measures: tuple[str, ...] = ("corresponds",), world: dict[str, Any] = usual, cost: float = 1.0,
        **options: Any,
    ) -> Grid:  # fmt: skip
        if method in ("plain", "contrast"):
            options = {"temperature": "1", "steps": STEPS, "task": "samples", **options}
        return Grid(
            "dance", (method,), measures, s.seeds, world_params=world, method_params={method: {**size, **options}},
            cost_s=cost,
        )  # fmt: skip

    permuted, one_timbre = {**usual, "conditions": "permuted"}, {**usual, "timbre": "one"}
    return [
        cells("plain", cost=3.0),
        *(cells("plain", temperature=t) for t in (*TEMPERATURES, "as other genres", "as itself")),
        cells("plain", ("rank",), task="ranks"),
        *(cells("contrast", cost=3.0, negatives=name) for name in NEGATIVES),
        *(cells("contrast", negatives=name, temperature="as random codes") for name in ("other genres", "itself")),
        *(
            cells("contrast", negatives="random codes", temperature=f"as {name}")
            for name in ("other genres", "itself")
        ),
        *(cells("contrast", ("rank",), negatives=name, task="ranks") for name in ("other genres", "itself")),
        cells("contrast", ("causal",), negatives="other genres", task="swapped"),
        cells("contrast", world=permuted, negatives="other genres", cost=3.0),
        cells("contrast", ("causal",), permuted, negatives="other genres", task="swapped"),
        *(cells("plain", world=one_timbre, steps=n, cost=2.0) for n in (STEPS, 13)),
        *(cells("contrast", world=one_timbre, steps=n, cost=2.0, negatives="other genres") for n in (STEPS, 13)),
        cells("guided", cost=3.0),
        *(
            cells("weighted", ("corresponds", "certainty"), cost=2.0, form=form, ratio=ratio)
            for form, ratios in (("published", s.weights), ("bounded", s.weights[-2:]))
            for ratio in ratios
        ),
        Grid(
            "digits", DIGITS, ("digit_quality",), s.seeds, world_params={"asked": s.digits},
            method_params=dict.fromkeys(DIGITS, size), cost_s=3.5,
        ),
    ]  # fmt: skip


NEGATIVES = ("other genres", "other orders", "same genre", "random codes", "itself")
DIGITS = ("plain_digits", "contrast_digits", "permuted_digits")


# The claims ----------------------------------------------------------------------------------------------


def _of(name: str, method: str, **where: Any) -> str:
    where = {"temperature": "1", "steps": STEPS, "timbre": "any", "conditions": "own", **where}
    return f"mean({name}|{method}, " + ", ".join(f"{k}={v!r}" for k, v in where.items()) + ")"


def _by(name: str, negatives: str = "other genres", **where: Any) -> str:
    return _of(name, "contrast", negatives=negatives, **where)


PLAIN = _of("purity", "plain")
BEST = f"highest({PLAIN}, {_by('purity', 'same genre')})"
COOLED = "highest(" + ", ".join(
    _of("purity", "plain", temperature=t) for t in (*TEMPERATURES, "as other genres")
) + ")"  # fmt: skip
RANDOM = "random codes"
TIMBRE = _of("one_timbre", "plain", timbre="one")


def _entropy_at(form: str, ratio: float) -> str:
    return f"mean(entropy|weighted, form={form!r}, ratio={ratio!r})"


ITSELF = "negatives that are the positives, from the same weights,"
PAPER = "higher input-output correspondence (no figure at hand)"
NO_FIGURE: dict[str, Any] = {"paper": PAPER, "same": "same direction only"}

claims = (
    Claim(
        "1a", "Step-wise contrast with other genres makes samples purer (genre purity, difference)",
        f"{_by('purity')} - {PLAIN}", 0.03, Control(
            f"{ITSELF} change nothing (within ±0.02)", f"{_by('purity', 'itself')} - {PLAIN}", low=-0.02, high=0.02,
            rule="mean",
        ), version=3, **NO_FIGURE,
    ),
    Claim(
        "1b", "more than negatives of the same genre do (genre purity, minus the better of theirs and of the plain "
        "diffusion's)", f"{_by('purity')} - {BEST}", 0.03, Control(
            f"{ITSELF} do not (at most 0.02)", f"{_by('purity', 'itself')} - {BEST}", high=0.02, rule="mean"
        ), version=2, **NO_FIGURE,
    ),
    Claim(
        "1c", "and no piece pays for it: the genre is right as often (accuracy, difference)",
        f"{_by('genre')} - {_of('genre', 'plain')}", -0.02, Control(
            "trained on permuted conditions it is right less often, by 0.3 or more",
            f"{_by('genre', conditions='permuted')} - {_of('genre', 'plain')}", high=-0.3,
        ), version=2, **NO_FIGURE,
    ),
    Claim(
        "2a", "The gain is more than a temperature: at equal predictive entropy (genre purity, difference)",
        f"{_by('purity')} - {_of('purity', 'plain', temperature='as other genres')}", 0.0, Control(
            f"{ITSELF} gain at most 0.015 in this way",
            f"{_by('purity', 'itself')} - {_of('purity', 'plain', temperature='as itself')}", high=0.015, rule="mean",
        ), version=3, **NO_FIGURE,
    ),
    Claim(
        "2b", "and against the purest of three temperatures (genre purity, difference)", f"{_by('purity')} - {COOLED}",
        0.0, Control(
            f"{ITSELF} are not purer", f"{_by('purity', 'itself')} - {COOLED}", high=0.0, rule="mean"
        ), version=3, **NO_FIGURE,
    ),
    Claim(
        "3", "Where a piece has one timbre, which needs steps, 13 of the contrast are as good as 20 of the plain "
        "diffusion (share of pieces of one timbre, difference)",
        f"{_by('one_timbre', timbre='one', steps=13)} - {TIMBRE}", -0.03, Control(
            "13 of the plain diffusion are worse than 20, by 0.03 or more",
            f"{_of('one_timbre', 'plain', timbre='one', steps=13)} - {TIMBRE}", high=-0.03, rule="mean",
        ), paper="over 35 % fewer steps on two benchmarks", same="same direction only", version=2,
    ),
    Claim(
        "4a", "Other genres as negatives gain more purity than random codes do, at equal predictive entropy "
        "(difference)",
        f"{_by('purity', temperature='as random codes')} - {_by('purity', RANDOM, temperature='as other genres')}", 0.0,
        Control(
            f"{ITSELF} do not gain more than random codes (at most 0.01)",
            f"{_by('purity', 'itself', temperature='as random codes')} - "
            f"{_by('purity', RANDOM, temperature='as itself')}", high=0.01, rule="mean",
        ), version=3, **NO_FIGURE,
    ),
    Claim(
        "4b", "and other orders gain more on the beats than other genres do (F1, difference)",
        f"{_by('f1', 'other orders')} - {_by('f1')}", 0.0, Control(
            f"{ITSELF} change nothing (within ±0.015)", f"{_by('f1', 'itself')} - {_of('f1', 'plain')}", low=-0.015,
            high=0.015, rule="mean",
        ), version=2, **NO_FIGURE,
    ),
    Claim(
        "5", "Swap the condition and the genre follows (share)", _by("follows"), 0.8, Control(
            "trained on permuted conditions it is chance, 0.15 to 0.30 (a piece may have no majority)",
            _by("follows", conditions="permuted"), low=0.15, high=0.3, rule="mean",
        ), version=3, **NO_FIGURE,
    ),
    Claim(
        "6a", "Boundary: with λ ≥ 1 predictions collapse (predictive entropy at three times the auxiliary weight)",
        _entropy_at("published", 3.0), 0.05, Control(
            "at 0.3 of it they do not: above 0.3 nats", _entropy_at("published", 0.3), low=0.3
        ), direction="<", kind="boundary",
    ),
    Claim(
        "6b", "and the bounded form, which is not the paper's, never does (predictive entropy)",
        f"lowest({_entropy_at('bounded', 1.0)}, {_entropy_at('bounded', 3.0)})", 0.05, Control(
            "where the published one does", _entropy_at("published", 3.0), high=0.05
        ),
    ),
    Claim(
        "7", "The music of a held-out dance is found nearer to the top of 32 by the model's likelihood (rank, "
        "difference)", f"{_by('rank')} - {_of('rank', 'plain')}", 0.0, Control(
            f"{ITSELF} change little (within ±0.3)", f"{_by('rank', 'itself')} - {_of('rank', 'plain')}", low=-0.3,
            high=0.3, rule="mean",
        ), direction="<", **NO_FIGURE,
    ),
    Claim(
        "8", "Contrast with other classes makes digits that a judge of real ones reads more often (accuracy, "
        "difference)", "mean(accuracy|contrast_digits) - mean(accuracy|plain_digits)", 0.0, Control(
            "trained on permuted classes it reads less, by 0.2 or more",
            "mean(accuracy|permuted_digits) - mean(accuracy|plain_digits)", high=-0.2, rule="mean",
        ), **NO_FIGURE,
    ),
)  # fmt: skip


study = Study(
    slug="cdcd",
    module=__name__,
    version=3,
    scales={
        "quick": Settings(seeds=1, train=192, test=48, iterations=12, width=16, batch=32, digits=40),
        "cpu": Settings(),
        "paper": Settings(seeds=20, train=100_000, test=4000, iterations=20_000, width=256, batch=256),
    },
    grids=grids,
    worlds=(dance, digits),
    methods=(
        contrast, plain, guided, weighted, plain_digits, contrast_digits, permuted_digits, no_contrast, against_itself,
        against_noise, against_own_kind, plays_from_memory, one_note, weightless, unbounded, any_digits,
    ),
    measures=(corresponds, causal, rank, certainty, digit_quality),
    claims=claims,
    figures=(
        Figure(
            "purity", "Genre purity and F1 of the beats by what is contrasted; a dot is a seed, the rest is plain.",
            chart(
                "What is contrasted decides what improves",
                *(
                    Panel("", "negatives", "negatives", rows=f"measure == {name!r}", y_label=label)
                    for name, label in (("purity", "genre purity"), ("f1", "F1 of the beats"))
                ), width=11.0,
            ), "method == 'contrast' and temperature == '1' and timbre == 'any' and conditions == 'own' and "
            "measure in ['purity', 'f1']",
        ),
        Figure(
            "temperatures", "The plain diffusion by its temperature; a dot is a seed.",
            chart(
                "The rival that costs nothing",
                *(
                    Panel("", "temperature", "temperature", rows=f"measure == {name!r}", y_label=label)
                    for name, label in (("purity", "genre purity"), ("f1", "F1 of the beats"))
                ), width=11.0,
            ), "method == 'plain' and timbre == 'any' and measure in ['purity', 'f1']",
        ),
        Figure(
            "steps", "Pieces of one timbre by sampling steps; a dot is a seed.",
            chart(
                "How many sampling steps are needed",
                Panel("", "steps", y_label="share of pieces of one timbre", x_label="steps"), width=5.0,
            ), "timbre == 'one' and measure == 'one_timbre'",
        ),
        Figure(
            "boundary", "Sample-wise contrast: entropies and purity by its weight over the auxiliary one.",
            chart(
                "The published contrast has no lower bound",
                *(
                    Panel("", "ratio", "form", "lines", f"measure == {name!r}", label, "weight / auxiliary", log=True)
                    for name, label in (
                        ("entropy", "predictive entropy (nats)"), ("code_entropy", "code entropy (nats)"),
                        ("purity", "purity"),
                    )
                ), width=11.0,
            ), "method == 'weighted' and measure in ['entropy', 'code_entropy', 'purity']",
        ),
        Figure(
            "digits", "Digits as codes: the judge's accuracy and the distance from real digits, beside the best there "
            "is.",
            chart(
                "Digits as codes of patches",
                Panel("", "measure", rows="measure in ['accuracy', 'judge_on_real']"),
                Panel("", "measure", rows="measure in ['distance', 'distance_floor']"),
            ), "world == 'digits'",
        ),
    ),
    root_seed=20261130,
    preload=("numpy", "torch", "accelerate"),
)  # fmt: skip
