"""The study of global arrangement: is resisting another style the same as seeing how parts are put together?
(arXiv:2310.07555)

Small networks learn pictures whose class is told by texture, parts and arrangement. Some are trained with free textures
(S), some to distinguish disrupted pictures (D), some with both; all are scored by the public benchmark.
"""

from __future__ import annotations

import inspect
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from groundshift.benchmarks import dist
from groundshift.lab.claims import Claim, Control
from groundshift.lab.study import Figure, Grid, Measure, Method, Sample, Study, World
from groundshift.models.training import Recipe
from groundshift.models.vision import ImageModel
from groundshift.studies import dist_networks as networks
from groundshift.studies.drawing import Panel, chart
from groundshift.studies.keeping import kept
from groundshift.worlds.parts import Parts

EPOCHS = {("cnn", "SD"): 2, ("vit", "D"): 2, ("vit_blind", "D"): 2}
"""Network and arm → how many times longer they are trained than others."""


@dataclass(frozen=True)
class Settings:
    """What the dial sets."""

    seeds: int = 5
    images: int = 1600
    epochs: int = 6
    tests: int = 300
    many: int = 20  # seeds of what needs no training


@World.define()
def parts(rng: np.random.Generator, severity: float, *, images: int, tests: int) -> Sample:
    """Pictures to learn from, whole and disrupted, with their own and with free textures; and what is asked of them."""
    world = Parts(int(rng.integers(2**31)))
    labels = rng.integers(0, world.classes, images)
    train = {}
    for style in ("own", "free"):
        for kind in ("whole", "again", "broken"):
            free = world.free_style(rng, images) if style == "free" else None
            train[style, kind] = world.draw(rng, labels, disrupted=kind == "broken", style=free)[0]
    triplets, codes, _ = world.triplets(rng, tests)
    conflict, shape, texture = world.conflict(rng, tests)
    data = {
        "classes": world.classes,
        "labels": labels,
        "train": train,
        "triplets": triplets,
        "conflict": conflict,
    }
    return Sample(data, {"codes": codes, "shape": shape, "texture": texture})


@World.define()
def cuts(rng: np.random.Generator, severity: float, *, pictures: int) -> Sample:
    """Pictures that are cut into blocks."""
    world = Parts(int(rng.integers(2**31)))
    drawn = world.draw(rng, rng.integers(0, world.classes, pictures))[0]
    return Sample({"pictures": list(drawn), "seed": int(rng.integers(2**31))}, None)


# Methods --------------------------------------------------------------------------------------------------


def _grey(pictures: Any) -> Tensor:
    """(n, 1, 30, 30) in -1 to 1, from arrays or PIL pictures."""
    stacked = np.stack([np.asarray(p if isinstance(p, np.ndarray) else p.convert("L")) for p in pictures])
    return torch.as_tensor(stacked)[:, None].float() / 127.5 - 1


def _trained(data: Any, network: str, arm: str, epochs: int, partner: str) -> torch.nn.Module:
    """The network of an arm, from the cache or trained now."""
    from safetensors.torch import load_model, save_model

    form: Any = "doubled" if "D" in arm else "plain"
    style, labels = "free" if "S" in arm else "own", data["labels"]
    whole, broken = data["train"][style, "whole"], data["train"][style, partner]
    epochs *= EPOCHS.get((network, arm), 1)
    net = networks.build(network, dist.outputs_of(data["classes"], form), seed=0)

    def make(out: Path) -> None:
        recipe = Recipe(max(1, epochs * len(labels) // 64), 8e-3, warmup=0.3, clip=None, seed=0)
        dist.fit(net, lambda k: _grey(whole[k]), labels, recipe, disrupted=lambda k: _grey(broken[k]),
                 classes=data["classes"], form=form)  # fmt: skip
        save_model(net, str(out / "model.safetensors"))

    recipe = [
        network,
        form,
        epochs,
        whole,
        broken if form == "doubled" else None,
        labels,
        inspect.getsource(networks),
    ]
    load_model(net, str(kept("dist", recipe, make, dist) / "model.safetensors"))
    return net.eval()


@Method.define()
def distinguish(
    data: Any, rng: np.random.Generator, *, network: str, arm: str, epochs: int, partner: str = "broken"
) -> dict[str, Any]:
    """Trains a network and scores it: answers at the pooled layer, and before it, where features are laid out."""
    net = _trained(data, network, arm, epochs, data.get("partner", partner))
    model = ImageModel(net, _grey, name=network)
    triplets = dist.triplets_of(data["triplets"], measure=False)
    spatial = "encoder" if "vit" in network else "body"
    with dist.edited_positions(net, "permuted") if data.get("misplaced") else nullcontext():
        records = dist.score(model, triplets, layers=[spatial, "pool"], batch_size=300).records
    own = {layer: part.query("view == 'whole'") for layer, part in records.groupby("layer")}
    output = {"records": own["pool"], "answers": own["pool"]["answer"].to_numpy()}
    output["laid_out"] = own[spatial]["answer"].to_numpy()
    with torch.no_grad():
        logits = dist.plain_logits(
            net(_grey(data["conflict"])), data["classes"], "doubled" if "D" in arm else "plain"
        )
    return {**output, "decisions": logits.argmax(1).numpy()}


@distinguish.tampered()
def undisrupted(data: Any, rng: np.random.Generator) -> Any:
    """The second classes are given to pictures that are not disrupted."""
    return {**data, "partner": "again"}


@distinguish.tampered()
def misplaced(data: Any, rng: np.random.Generator) -> Any:
    """The rows of the trained table of positions are permuted."""
    return {**data, "misplaced": True}


@Method.define(role="baseline")
def pixels(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Takes the pixels for features."""
    flat = data["triplets"].reshape(len(data["triplets"]), 3, -1)
    return {"answers": dist.odd_one_out(dist.similarities(flat))[0]}


@Method.define(role="oracle", sees_truth=True, of=pixels)
def arrangement(sample: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Counts the parts that are in their own cells."""
    placed = (sample.truth["codes"] * sample.truth["codes"][:, :1]).sum(2)
    apart = [abs(placed[:, i] - placed[:, j]) for i, j in ((0, 1), (0, 2), (1, 2))]
    return {"answers": dist.odd_one_out(-np.stack(apart, 1))[0]}


def _told(triplets: Any, number: str) -> dict[str, Any]:
    row = triplets.give_aways().query("number == @number").iloc[0]
    return {"accuracy": float(row["accuracy"]), "flagged": bool(row["flagged"])}


@Method.define()
def seams(data: Any, rng: np.random.Generator, *, matched: bool) -> dict[str, Any]:
    """Permutes blocks, smooths the cuts, and asks the checks whether the seams tell the original."""
    made = dist.make_triplets(data["pictures"], "blocks", 3, seed=data["seed"], cuts="smooth", matched=matched,
                              check=False, measure=False)  # fmt: skip
    return _told(made, "seams")


# Mutants --------------------------------------------------------------------------------------------------


def _answered(data: Any, answers: np.ndarray, **options: Any) -> dict[str, Any]:
    """The same answers everywhere, and one class for every picture of a conflict."""
    decisions = np.zeros(len(data["conflict"]), dtype=int)
    return {"answers": answers, "laid_out": answers, "decisions": decisions}


@Method.define(role="mutant", of=(distinguish, pixels))
def first(data: Any, rng: np.random.Generator, **options: Any) -> dict[str, Any]:
    """Names the first picture of every triplet."""
    return _answered(data, np.zeros(len(data["triplets"]), dtype=int))


@Method.define(role="mutant", of=(distinguish, pixels))
def guesses(data: Any, rng: np.random.Generator, **options: Any) -> dict[str, Any]:
    """Names one of the three pictures at random."""
    return _answered(data, rng.integers(0, 3, len(data["triplets"])))


@Method.define(role="mutant", of=distinguish)
def most_alike(data: Any, rng: np.random.Generator, **options: Any) -> dict[str, Any]:
    """Names the picture that is most like the others."""
    output = dict(distinguish.run(data, rng, **options))
    cosines = output["records"][["original_first", "original_second", "twins"]].to_numpy()
    answers = dist.odd_one_out(-cosines)[0]
    return {**output, "answers": answers, "laid_out": answers}


@Method.define(role="mutant", of=seams)
def other_number(data: Any, rng: np.random.Generator, *, matched: bool) -> dict[str, Any]:
    """Looks at the brightness in place of the seams."""
    made = dist.make_triplets(data["pictures"], "blocks", 3, seed=data["seed"], check=False, measure=False)
    return _told(made, "brightness")


# Measures -------------------------------------------------------------------------------------------------


def _right(answers: Any) -> float:
    return float(np.mean(answers == 0) + np.mean(answers == -1) / 3)


@Measure.define()
def accuracy(output: Any, sample: Sample) -> float:
    """Odd-one-out accuracy of the pooled features."""
    return _right(output["answers"])


@Measure.define()
def laid_out(output: Any, sample: Sample) -> float:
    """The same of the last features that are laid out in space, before they are pooled."""
    return _right(output["laid_out"])


@Measure.define(gives=("share", "coverage"))
def shape_share(output: Any, sample: Sample) -> dict[str, float]:
    """Decisions for the shape over those for shape or texture, and the share of pictures with either."""
    counts = dist.count_decisions(sample.truth["shape"], sample.truth["texture"], output["decisions"])
    return {"share": counts["shape_bias"] if counts["coverage"] else 0.5, "coverage": counts["coverage"]}


@Measure.define(better="none", gives=("seen", "flagged"))
def told(output: Any, sample: Sample) -> dict[str, float]:
    """How often the seams tell the original, and whether the checks flag them."""
    return {"seen": output["accuracy"], "flagged": float(output["flagged"])}


# Claims ---------------------------------------------------------------------------------------------------


def _of(measure: str, arm: str, network: str = "cnn", method: str = "distinguish") -> str:
    return f"mean({measure}|{method}, network={network!r}, arm={arm!r})"


def _mean(text: str, estimand: str, low: float = -np.inf, high: float = np.inf) -> Control:
    return Control(text, estimand, low, high, "mean")


N, S, D, SD = (_of("accuracy", arm) for arm in ("N", "S", "D", "SD"))
BAG, VIT, BLIND = (_of("accuracy", "D", network) for network in ("bag", "vit", "vit_blind"))
SAME = _of("accuracy", "D", method="undisrupted")
MISPLACED = _of("accuracy", "D", "vit", "misplaced")
SHARE = {arm: _of("share", arm) for arm in ("N", "S", "D", "SD")}
AXES: dict[str, Any] = {
    "paper": "the two are orthogonal, and their trainings combine",
    "same": "same direction only",
}
VITS: dict[str, Any] = {"paper": "a supervised transformer loses global position", "same": "analogue"}
claims = (
    Claim("1a", "Training with other styles closes less than 0.6 of the gap that training on structure closes",
          f"({S} - {N}) - 0.6 * ({D} - {N})", 0.0,
          _mean("both together close 0.85 of it or more", f"({SD} - {N}) - 0.85 * ({D} - {N})", low=0.0),
          direction="<", **AXES),
    Claim("1b", "while it does turn decisions from texture to shape (gain in shape share)",
          f"{SHARE['S']} - {SHARE['N']}", 0.8,
          _mean("training on structure does not (within ±0.1)", f"{SHARE['D']} - {SHARE['N']}", -0.1, 0.1), **AXES),
    Claim("2a", "Training on structure raises the odd-one-out accuracy", f"{D} - {N}", 0.4,
          _mean("not where the second classes have whole pictures (accuracy at most 0.45)", SAME, high=0.45),
          **AXES),
    Claim("2b", "and decisions stay with the texture (shape share)", SHARE["D"], 0.1,
          _mean("with styles as well they are for the shape (0.8 or more)", SHARE["SD"], low=0.8), direction="<",
          **AXES),
    Claim("3a", "Trained with both, a network sees structure (accuracy)", SD, 0.8,
          _mean("trained with neither it does not (at most 0.45)", N, high=0.45), **AXES),
    Claim("3b", "and resists style (shape share)", SHARE["SD"], 0.8,
          _mean("trained on structure alone it does not (at most 0.1)", SHARE["D"], high=0.1), **AXES),
    Claim("4a", "A network with a view of 8 pixels cannot learn it (accuracy)", BAG, 0.55,
          _mean("one that sees all can (0.8 or more)", D, low=0.8), direction="<"),
    Claim("4b", "and stays behind one that sees all", f"{D} - {BAG}", 0.35,
          _mean("which without disrupted pictures is not ahead (at most 0.1)", f"{SAME} - {BAG}", high=0.1)),
    Claim("5", "A transformer needs its positions (accuracy with them less without)", f"{VIT} - {BLIND}", 0.3,
          _mean("with its positions permuted it fails, too (accuracy at most 0.55)", MISPLACED, high=0.55),
          **VITS),
    Claim("6a", "Boundary: pixels do not tell the original (accuracy)", "mean(accuracy|pixels)", 0.45,
          _mean("its arrangement does (0.95 or more)", "mean(accuracy|arrangement)", low=0.95), kind="boundary",
          direction="<"),
    Claim("6b", "but the seams of smoothed cuts do, where only the twins have them (accuracy)",
          "mean(seen|seams, matched=False)", 0.9,
          _mean("not with matched cuts (at most 0.5)", "mean(seen|seams, matched=True)", high=0.5), kind="boundary"),
    Claim("6c", "and the checks flag every such set (1 of 1)", "mean(flagged|seams, matched=False)", 0.5,
          _mean("and sets with matched cuts seldom (mean at most 0.1)", "mean(flagged|seams, matched=True)", high=0.1),
          kind="bound"),
)  # fmt: skip

ARMS = (("cnn", "N", 5.0), ("cnn", "S", 5.0), ("cnn", "D", 5.0), ("cnn", "SD", 9.0), ("bag", "D", 5.0),
        ("vit", "D", 11.0), ("vit_blind", "D", 11.0))  # fmt: skip


def grids(s: Settings) -> list[Grid]:
    """A cell for each network and arm, and what is cheap on many seeds."""
    drawn, result = {"images": s.images, "tests": s.tests}, []
    for network, arm, cost in ARMS:
        how: dict[str, Any] = {"network": network, "arm": arm, "epochs": s.epochs}
        control = {("cnn", "D"): ("undisrupted",), ("vit", "D"): ("misplaced",)}.get((network, arm), ())
        result.append(Grid(
            "parts", ("distinguish", *control), ("accuracy", "laid_out", "shape_share"), s.seeds, world_params=drawn,
            method_params=dict.fromkeys(("distinguish", *control), how), cost_s={"misplaced": 1.0, **dict.fromkeys(
                ("distinguish", "undisrupted"), cost)}, shares=("seed",) if "misplaced" in control else (),
        ))  # fmt: skip
    result.append(
        Grid(
            "parts",
            ("pixels", "arrangement"),
            ("accuracy",),
            s.many,
            world_params={**drawn, "images": 6},
            cost_s=0.2,
        )
    )
    for matched in (False, True):
        how = {"seams": {"matched": matched}}
        result.append(
            Grid("cuts", ("seams",), ("told",), s.many, world_params={"pictures": s.tests}, method_params=how)
        )
    return result


NAMES = {"N": "neither", "S": "styles", "D": "structure", "SD": "both"}
study = Study(
    slug="dist", module=__name__, version=1, grids=grids, claims=claims,
    scales={
        "quick": Settings(seeds=2, images=96, epochs=1, tests=30, many=3), "cpu": Settings(),
        "paper": Settings(seeds=20, images=20_000, epochs=30, tests=2400, many=100),
    },
    worlds=(parts, cuts),
    methods=(distinguish, undisrupted, misplaced, pixels, arrangement, seams, first, guesses, most_alike, other_number),
    measures=(accuracy, laid_out, shape_share, told),
    figures=(
        Figure("axes", "Odd-one-out accuracy and shape share of the convolutional network; a dot is a seed.",
               chart("Resisting style is not seeing structure",
                     Panel("", "arm", "measure", y_label="share", level=1 / 3, names={
                         **NAMES, "accuracy": "odd-one-out accuracy", "share": "shape share"}), width=6.0),
               "network == 'cnn' and method == 'distinguish' and measure in ['accuracy', 'share']"),
        Figure("views", "Odd-one-out accuracy before and after features are pooled over places; a dot is a seed.",
               chart("Small views and lost positions",
                     Panel("", "network", "measure", y_label="accuracy", level=1 / 3, names={
                         "accuracy": "pooled", "laid_out": "laid out in space", "vit_blind": "vit without positions"}),
                     width=7.0),
               "arm == 'D' and method == 'distinguish' and measure in ['accuracy', 'laid_out']"),
    ),
    root_seed=20261205, preload=("numpy", "torch"),
)  # fmt: skip
