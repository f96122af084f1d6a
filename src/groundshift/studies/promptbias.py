"""The study of bias before and after prompts: is the bias that a bare model has the one that its prompt meets?
(arXiv:2509.08146)

Tiny language models that learnt which occupations go with which pronoun, each with biases of its own that are known.
The word ``fair`` in front of examples means nothing in one world, and takes most of every bias in the other.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from groundshift.lab.claims import Claim, Control
from groundshift.lab.study import Figure, Grid, Measure, Method, Sample, Study, World
from groundshift.models import tinylm
from groundshift.models.activations import load_model
from groundshift.probes.promptbias import BiasItems, Item, prompt_bias, transfer
from groundshift.studies.drawing import Panel, chart
from groundshift.worlds.tinylm import Offices, TinyWorld

NONE, MOST = KAPPAS = (0.0, 0.6)
"""How much the word ``fair`` takes of every bias: nothing, as the paper finds for such pleas, or most."""
WORDS: Mapping[str, str] = {
    "bare": "plain {text} {cue}", "template": "{examples}{item}", "block": "{plea} Q {text} A", "between": " . ",
}  # fmt: skip
PLEAS = {"none": "plain", "fair": "fair"}
SHARES = (0.0, 0.5, 1.0)
"""Of examples that agree with the stereotype."""


@dataclass(frozen=True)
class Settings:
    """What the dial sets."""

    seeds: int = 5
    occupations: int = 12
    preset: str = "micro"
    steps: int = 1000
    """Of each model, 64 documents each."""
    shots: tuple[int, ...] = (1, 2)


# The world -----------------------------------------------------------------------------------------------


@World.define()
def offices(
    rng: np.random.Generator, severity: float, *, occupations: int, steps: int, preset: str
) -> Sample:
    """Two models with biases of their own, one for each meaning of ``fair``; items about every pair of occupations."""
    data, parts = [], []
    for kappa in KAPPAS:
        world = TinyWorld({"offices": Offices(occupations, kappa)}, seed=int(rng.integers(2**31)))
        recipe = tinylm.Recipe(preset, steps, 8e-3, rows=64, length=None, on="completion")
        parts.append(world["offices"])
        data.append({"model": tinylm.cached(world, recipe, world.seed), **_items(world, rng)})
    return Sample(data, parts)


def _items(world: TinyWorld, rng: np.random.Generator) -> dict[str, BiasItems]:
    """Every ordered pair with both pronouns: ``open`` without a mark, ``told`` with one."""
    part, names = world["offices"], _names(world["offices"])
    stereotype = {name: int(b < 0) for name, b in zip(names, part.bias_, strict=True)}
    items: dict[str, list[Item]] = {"open": [], "told": []}
    for a, b in itertools.permutations(range(part.occupations), 2):
        right = int(rng.integers(2))
        for kind, mark in (("open", 0), ("told", 1 + right)):
            for condition in (0, 1):
                text = world.lexicon.decode(part.sentence(a, b, mark, condition, asked=False)[:-1])
                both = (names[a], names[b])
                items[kind].append(
                    Item(f"{a} {b}", text, "", both, both, condition, right, ambiguous=False, cue="refers")
                )
    return {k: BiasItems(k, "own", tuple(own), ("he", "she"), stereotype) for k, own in items.items()}


def _names(part: Any) -> list[str]:
    names: list[str] = part.lexicon_.decode(part.people_).split()
    return names


# The methods ---------------------------------------------------------------------------------------------


@Method.define()
def promptbias(data: Any, rng: np.random.Generator, *, shots: tuple[int, ...]) -> dict[str, Any]:
    """Bare items, zero and a few shots with and without the plea, examples of three compositions."""
    seed = int(rng.integers(2**31))
    return {"models": [_measured(one, shots, seed) for one in data]}


def _measured(one: Mapping[str, Any], shots: tuple[int, ...], seed: int) -> dict[str, Any]:
    """Biases by prompt, as shares; size of the bias and share of right answers where the text tells or does not."""
    model = load_model(one["model"])
    options: dict[str, Any] = {**WORDS, "random_state": seed, "progress": False}
    plain = {"none": "plain"}
    main = prompt_bias(model, one["open"], strategies=PLEAS, shots=(0, *shots), **options)
    composed = [
        prompt_bias(model, one["open"], strategies=plain, shots=shots, stereotyped=share, **options).groups
        for share in SHARES
    ]
    told_bias = prompt_bias(model, one["told"], strategies=plain, **options)
    return {
        "biases": main.groups.drop(columns="n") / 100,
        "composed": pd.concat(composed, axis=1, keys=SHARES).drop(columns=["n", "intrinsic"], level=1) / 100,
        "texts": {
            kind: {"size": float(table["size"].max()) / 100, "right": float(table["accuracy"].min())}
            for kind, table in (
                ("open", main.adaptations.loc[["intrinsic", "zero-shot"]]), ("told", told_bias.adaptations),
            )
        },
    }  # fmt: skip


Change = Callable[[pd.DataFrame], pd.DataFrame]


def _altered(data: Any, rng: np.random.Generator, shots: tuple[int, ...], change: Change) -> dict[str, Any]:
    """The method's answer, with all tables of biases changed, and what follows from them."""
    models = []
    for one in promptbias.run(data, rng, shots=shots)["models"]:
        biases, composed = change(one["biases"]), change(one["composed"])
        size = float(biases["intrinsic"].abs().mean())
        models.append(
            {
                "biases": biases,
                "composed": composed,
                "texts": {k: {"size": size, "right": 0.5} for k in one["texts"]},
            }
        )
    return {"models": models}


@Method.define(role="mutant", of=promptbias)
def no_bias(data: Any, rng: np.random.Generator, *, shots: tuple[int, ...]) -> dict[str, Any]:
    """Sees no bias anywhere, and gives either option of marked sentences."""
    return _altered(data, rng, shots, lambda biases: biases * 0)


@Method.define(role="mutant", of=promptbias)
def any_bias(data: Any, rng: np.random.Generator, *, shots: tuple[int, ...]) -> dict[str, Any]:
    """Draws every bias."""
    return _altered(data, rng, shots, lambda biases: biases * 0 + rng.uniform(-0.3, 0.3, biases.shape))


@Method.define(role="mutant", of=promptbias)
def wrong_sign(data: Any, rng: np.random.Generator, *, shots: tuple[int, ...]) -> dict[str, Any]:
    """Subtracts the first condition from the second in bare items."""
    answer = dict(promptbias.run(data, rng, shots=shots))
    turned = [one["biases"].assign(intrinsic=-one["biases"]["intrinsic"]) for one in answer["models"]]
    return {
        "models": [{**one, "biases": biases} for one, biases in zip(answer["models"], turned, strict=True)]
    }


@Method.define(role="mutant", of=promptbias)
def blind_to_prompts(data: Any, rng: np.random.Generator, *, shots: tuple[int, ...]) -> dict[str, Any]:
    """Gives the bare model's bias for that under every prompt."""
    answer = dict(promptbias.run(data, rng, shots=shots))
    for one in answer["models"]:
        bare = one["biases"]["intrinsic"]
        for table in (one["biases"], one["composed"]):
            table.loc[:, :] = np.repeat(bare.to_numpy()[:, None], table.shape[1], axis=1)
    return answer


@Method.define(role="mutant", of=promptbias)
def size_of_chance(data: Any, rng: np.random.Generator, *, shots: tuple[int, ...]) -> dict[str, Any]:
    """Scales the biases under every prompt to any size, as a measure that is not calibrated may."""
    answer = dict(promptbias.run(data, rng, shots=shots))
    for one in answer["models"]:
        one["biases"] *= rng.uniform(0.3, 3.0, one["biases"].shape[1])
    return answer


@Method.define(role="mutant", of=promptbias)
def blind_to_pronouns(data: Any, rng: np.random.Generator, *, shots: tuple[int, ...]) -> dict[str, Any]:
    """Reads the male sentence in both conditions, as a measure whose sentences are not paired may."""
    blind = []
    for one in data:
        tables = {}
        for kind in ("open", "told"):
            male = {item.id: item for item in one[kind].items if item.condition == 0}
            items = tuple(replace(male[item.id], condition=item.condition) for item in one[kind].items)
            tables[kind] = replace(one[kind], items=items)
        blind.append({**one, **tables})
    return dict(promptbias.run(blind, rng, shots=shots))


# The measures --------------------------------------------------------------------------------------------


OF = ("own", "other")
"""Whose bias it is compared with: that of the same world or model, or that of the other one."""


@Measure.define(by={"bias_of": OF}, gives=("planted",))
def recovery(output: Any, sample: Sample) -> list[dict[str, Any]]:
    """Correlation of the bare model's bias with that of an ideal reader of a world."""
    bare = output["models"][0]["biases"]["intrinsic"]
    planted = [pd.Series(part.preference(), _names(part)) for part in sample.truth]
    return [{"bias_of": of, "planted": _rho(bare, one)} for of, one in zip(OF, planted, strict=True)]


@Measure.define(by={"bias_of": OF}, gives=("carried", "composed"))
def transfers(output: Any, sample: Sample) -> list[dict[str, Any]]:
    """Correlation of prompted with bare biases: the smallest over prompts; with the other model's bare ones, the mean.

    All prompts are without ``fair``, and those of the model to which it means nothing.
    """
    first = output["models"][0]
    prompted = first["biases"].drop(columns=[c for c in first["biases"] if c == "intrinsic" or "fair" in c])
    rows = []
    of_each: tuple[Callable[[list[float]], Any], ...] = (np.min, np.mean)
    for of, one, over in zip(OF, output["models"], of_each, strict=True):
        bare = one["biases"]["intrinsic"]
        carried, composed = (
            float(over([_rho(bare, table[c]) for c in table])) for table in (prompted, first["composed"])
        )
        rows.append({"bias_of": of, "carried": carried, "composed": composed})
    return rows


@Measure.define(by={"kappa": KAPPAS}, gives=("ratio",))
def sizes(output: Any, sample: Sample) -> list[dict[str, float]]:
    """What ``fair`` leaves of the biases' size, without examples."""
    ratios = [
        transfer(m["biases"]["zero-shot"], m["biases"]["zero-shot, fair"])["ratio"] for m in output["models"]
    ]
    return [{"kappa": k, "ratio": 1.0 if np.isnan(r) else r} for k, r in zip(KAPPAS, ratios, strict=True)]


@Measure.define(by={"bias_of": OF}, gives=("direction",))
def directions(output: Any, sample: Sample) -> list[dict[str, Any]]:
    """Correlation of biases with ``fair``, where it takes most of them, with those without it."""
    other, own = (one["biases"]["zero-shot"] for one in output["models"])
    fair = output["models"][1]["biases"]["zero-shot, fair"]
    return [{"bias_of": of, "direction": _rho(one, fair)} for of, one in zip(OF, (own, other), strict=True)]


@Measure.define(by={"text": ("open", "told")}, gives=("size", "right"))
def texts(output: Any, sample: Sample) -> list[dict[str, Any]]:
    """Size of the bias, and share of right answers, where the text does not tell who is meant and where it does."""
    return [{"text": kind, **values} for kind, values in output["models"][0]["texts"].items()]


def _rho(one: pd.Series, other: pd.Series) -> float:
    """Correlation of two biases by group; 0 where one is the same for every group and agrees with nothing."""
    both = pd.concat([one, other], axis=1, join="inner").to_numpy().T
    return float(np.nan_to_num(transfer(*both)["rho"]))


def grids(s: Settings) -> list[Grid]:
    """One cell a seed: both models serve all claims."""
    return [
        Grid(
            "offices", ("promptbias",), ("recovery", "transfers", "sizes", "directions", "texts"), s.seeds,
            world_params={"occupations": s.occupations, "steps": s.steps, "preset": s.preset},
            method_params={"promptbias": {"shots": s.shots}}, cost_s=70.0,
        )
    ]  # fmt: skip


# The claims ----------------------------------------------------------------------------------------------


def _at(measure: str, **where: Any) -> str:
    return f"mean({measure}|promptbias" + "".join(f", {k}={v!r}" for k, v in where.items()) + ")"


def _own(measure: str) -> str:
    return _at(measure, bias_of="own")


def _foreign(measure: str) -> Control:
    text = "with the bias of another model it does not agree (mean within ±0.35)"
    return Control(text, _at(measure, bias_of="other"), low=-0.35, high=0.35, rule="mean")


SURVIVES = "rho at least 0.94 for gender, 0.98 for age, 0.69 for religion (abstract)"
EARLIER = "earlier version: 27.7 % to 9.47 % with rho of at least 0.92"
OURS: dict[str, Any] = {"same": "ours, not the paper's"}
DIRECTION: dict[str, Any] = {"same": "same direction only"}

claims = (
    Claim(
        "1", "The bias of bare items is the planted one (correlation over occupations with an ideal reader's)",
        _own("planted"), 0.95, _foreign("planted"), paper="not measured: no model's bias is known", **OURS,
    ),
    Claim(
        "2", "Bias survives a prompt (smallest correlation of prompted with bare biases, zero to two shots)",
        _own("carried"), 0.9, _foreign("carried"), paper=SURVIVES, **DIRECTION,
    ),
    Claim(
        "3", "whatever its examples are (the same over one and two shots with none, half or all stereotyped)",
        _own("composed"), 0.9, _foreign("composed"), paper="rho at least 0.90 over compositions (abstract)",
        **DIRECTION,
    ),
    Claim(
        "4", "A plea for fairness that means nothing to the model changes nothing (ratio of sizes of bias − 1)",
        f"{_at('ratio', kappa=NONE)} - 1", 0.1, Control(
            "where it takes most of every bias, the ratio shows it (at most 0.75)", _at("ratio", kappa=MOST), high=0.75,
            rule="mean",
        ), kind="equivalence", paper="no plea lowers transfer consistently (abstract)", **DIRECTION,
    ),
    Claim(
        "5a", "Boundary: a plea that takes most of every bias is not seen by the correlation (without and with it)",
        _own("direction"), 0.9, _foreign("direction"), kind="boundary", paper=EARLIER,
        **OURS,
    ),
    Claim(
        "5b", "and is seen by the ratio of the sizes", _at("ratio", kappa=MOST), 0.75, Control(
            "which stays where the plea means nothing (at least 0.9)", _at("ratio", kappa=NONE), low=0.9, rule="mean",
        ), direction="<", kind="boundary", paper=EARLIER, **OURS,
    ),
    Claim(
        "6a", "Boundary: where the text tells who is meant there is next to no bias to carry (mean absolute bias)",
        _at("size", text="told"), 0.05, Control(
            "where it does not tell there is (at least 0.1)", _at("size", text="open"), low=0.1, rule="mean",
        ), direction="<", kind="boundary", paper="type 2 sentences of WinoBias", **DIRECTION,
    ),
    Claim(
        "6b", "and the answers are right (share, in every seed)", _at("right", text="told"), 0.95, Control(
            "which they cannot be where the text does not tell (at most 0.7)", _at("right", text="open"), high=0.7,
            rule="mean",
        ), kind="bound", version=2, paper="type 2 sentences of WinoBias", **DIRECTION,
    ),
)  # fmt: skip


NAMES = {
    "planted": "bare, planted", "carried": "prompted, bare", "composed": "any examples, bare", "own": "same model",
    "other": "another one",
}  # fmt: skip
study = Study(
    slug="promptbias",
    module=__name__,
    version=2,
    scales={
        "quick": Settings(seeds=1, occupations=6, steps=150, preset="nano", shots=(1,)),
        "cpu": Settings(),
        "paper": Settings(seeds=20, occupations=40, steps=6000, preset="small"),
    },
    grids=grids,
    worlds=(offices,),
    methods=(
        promptbias, no_bias, any_bias, wrong_sign, blind_to_prompts, size_of_chance, blind_to_pronouns,
    ),
    measures=(recovery, transfers, sizes, directions, texts),
    claims=claims,
    figures=(
        Figure(
            "transfer", "Correlation of biases over occupations; a dot is a seed.",
            chart(
                "Bare bias is the planted one, and survives prompts",
                Panel("", "measure", "bias_of", y_label="correlation", names=NAMES, level=0.9), width=6.6,
            ), "measure in ['planted', 'carried', 'composed']",
        ),
        Figure(
            "fair", "What the word “fair” leaves of the biases, by how much of them it takes in the training texts.",
            chart(
                "The ratio sees what a plea takes",
                Panel("", "kappa", y_label="ratio of sizes", x_label="taken by “fair”", level=1.0), width=5.0,
            ), "measure == 'ratio'",
        ),
    ),
    root_seed=20271204,
    preload=("numpy", "torch", "transformers"),
)  # fmt: skip
