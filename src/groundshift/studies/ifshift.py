"""The study of what instruction tuning changes: densities of instruction words, pairs of heads, concepts
(arXiv:2310.00492).

Tiny language models read an order among filler words, and follow it more or less often: orders in old words nine times
in ten, those in new words as reliably as the texts of their tuning do. In a single block the pairs of every head and
the concepts of the hidden units are planted.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from sklearn.metrics import roc_auc_score

import groundshift.models.tinylm as recipes
import groundshift.worlds as worlds
from groundshift.lab.claims import Claim, Control
from groundshift.lab.study import Figure, Grid, Measure, Method, Sample, Study, World
from groundshift.models import tinylm
from groundshift.probes.ifshift import (
    attention_pairs,
    ffn_concepts,
    importance_density,
    instruction_density,
    instruction_score,
)
from groundshift.studies.drawing import Panel, chart
from groundshift.studies.keeping import kept
from groundshift.worlds.orders import PLACES, SHOWN, Orders
from groundshift.worlds.planted_heads import planted_heads
from groundshift.worlds.tinylm import Lexicon, Rows
from groundshift.worlds.tinylm.lexicon import invented

RHOS = {"sham": 0.25, "half": 0.5, "more": 0.7, "tuned": 0.9}
"""Reliability of orders in new words in the texts of each tuning; at 1/4 they say nothing."""
MODELS = ("base", *RHOS, "lost", "found", "shuffled")
MASKS = ("instruction", "filler")
TOP = 10
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Settings:
    """What the dial sets."""

    seeds: int = 8
    planted_seeds: int = 20
    """Of planted weights, which need no training."""
    preset: str = "micro"
    steps: int = 300
    """Of the base on orders in old words; 4/15 of them on all orders, and in each tuning."""
    prompts: int = 240


# The worlds ----------------------------------------------------------------------------------------------


@World.define()
def orders(rng: np.random.Generator, severity: float, *, preset: str, steps: int, prompts: int) -> Sample:
    """A base, four tunings of it, and two where orders in the middle were lost and found again; their prompts."""
    seed = int(rng.integers(2**31))
    world = Orders(seed, length=6)
    folder = kept("ifshift", [seed, preset, steps], partial(_train, world, preset, steps), recipes, worlds)
    rows = world.draw(rng, prompts, 1.0, old=1.0)
    texts = [world.lexicon.decode(ids[1 : world.prompt]) for ids in rows.ids]
    masks = _masks(world, rows, rng)
    data = {
        "models": {name: folder / name for name in MODELS},
        "texts": texts,
        "instruction": masks["instruction"],
    }
    followed = {name: _followed(world, rows, folder / name) for name in ("base", "sham")}
    truth = {"masks": masks, "followed": followed, "place": rows.truth["place"], "new": rows.truth["new"] > 0}
    return Sample(data, truth)


def _train(world: Orders, preset: str, steps: int, out: Path) -> None:
    def tune(net: Any, n: int, lr: float, rho: float, **dials: float) -> Any:
        def batch(rng: np.random.Generator) -> dict[str, Any]:
            rows = world.draw(rng, 64, rho, **dials)
            return {"ids": rows.ids, "labels": np.where(rows.mask, rows.ids, -100)}

        return tinylm.fit(copy.deepcopy(net), batch, n, lr, seed=world.seed).net

    new = tinylm.build(
        preset, world.lexicon, seed=world.seed, intermediate_size=128, tie_word_embeddings=False
    )
    some = steps * 4 // 15
    old = tune(new, steps, 6e-3, 0.25, new_words=0.0)
    nets = {"base": tune(old, some, 3e-3, 0.25)}
    nets |= {name: tune(nets["base"], some, 3e-3, rho) for name, rho in RHOS.items()}
    nets["lost"] = tune(nets["base"], 2 * some, 3e-3, 0.25, middle=0.25)
    nets["found"] = tune(nets["lost"], 2 * some, 3e-3, 0.25)
    nets["shuffled"] = copy.deepcopy(nets["tuned"])
    with torch.no_grad():
        for k, weight in enumerate(nets["shuffled"].parameters()):
            order = torch.randperm(weight.numel(), generator=torch.Generator().manual_seed(k))
            weight.copy_(weight.flatten()[order].view_as(weight))
    for name, net in nets.items():
        tinylm.save(net, world.lexicon, out / name)


def _masks(world: Orders, rows: Rows, rng: np.random.Generator) -> dict[str, NDArray[np.bool_]]:
    """Of each prompt: the tokens of its order, as many filler words, and what the response depends on."""
    n, width = len(rows), world.prompt - 1
    masks = {name: np.zeros((n, width), bool) for name in (*MASKS, "cause")}
    for i, (at, order) in enumerate(zip(rows.truth["at"] - 1, rows.truth["order"], strict=True)):
        masks["instruction"][i, at : at + 2] = True
        left = np.delete(np.arange(world.length + 2), [at, at + 1])
        masks["filler"][i, rng.choice(left, 2, replace=False)] = True
        digits = world.length + 3 + np.arange(1 if order == 2 else SHOWN)  # the first alone is repeated
        masks["cause"][i, [at, at + 1, *digits]] = True
    return masks


def _followed(world: Orders, rows: Rows, folder: Path) -> NDArray[np.bool_]:
    said = tinylm.generate(tinylm.load(folder), rows.ids[:, : world.prompt], SHOWN, temperature=0.0)
    return world.obeys(rows, np.asarray(said)[:, -SHOWN:])


@World.define()
def planted(rng: np.random.Generator, severity: float, *, strength: float) -> Sample:
    """A model of one block with planted pairs and concepts, or with noise alone; a base of noise; texts."""
    lexicon = Lexicon({"word": invented(240)})
    names = np.array(lexicon.groups["word"])
    block = planted_heads(rng, strength=strength)
    noise = planted_heads(rng, strength=0.0)
    weights = {
        "tuned": block,
        "base": replace(noise, embedding=block.embedding, unembedding=block.unembedding),
    }
    recipe = [vars(one) for one in weights.values()]
    folder = kept("ifshift-planted", recipe, partial(_write, lexicon, weights), recipes, worlds)
    data = {
        "base": folder / "base", "tuned": folder / "tuned", "texts": [" ".join(names[text]) for text in block.texts],
        "vocabulary": names.tolist(),
    }  # fmt: skip
    pairs = [{frozenset((a, b)) for a in names[one] for b in names[other]} for one, other in block.pairs]
    return Sample(data, {"pairs": pairs, "words": [set(names[own]) for own in block.concepts]})


def _write(lexicon: Lexicon, weights: Mapping[str, Any], out: Path) -> None:
    ids = lexicon["word"]
    for name, one in weights.items():
        net: Any = tinylm.build(
            "nano", lexicon, hidden_size=256, intermediate_size=len(one.values), tie_word_embeddings=False
        )
        block = net.get_decoder().layers[0]
        with torch.no_grad():
            net.get_input_embeddings().weight[ids] = torch.tensor(one.embedding, dtype=torch.float32)
            net.get_output_embeddings().weight[ids] = torch.tensor(one.unembedding, dtype=torch.float32)
            block.self_attn.q_proj.weight.copy_(torch.tensor(one.queries.T))
            block.self_attn.k_proj.weight.copy_(torch.tensor(one.keys.T))
            block.mlp.down_proj.weight.copy_(torch.tensor(one.values.T))
        tinylm.save(net, lexicon, out / name)


# The methods: densities ----------------------------------------------------------------------------------


@Method.define()
def density(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Densities of the prompts' tokens in every model, (prompts, tokens)."""
    return {name: _densities(folder, data) for name, folder in data["models"].items()}


def _densities(folder: Path, data: Any) -> Array:
    rows = []
    for text, mask in zip(data["texts"], data["instruction"], strict=True):
        words, (at, _) = text.split(), np.flatnonzero(mask)
        start = len(" ".join([*words[:at], ""]))
        rows.append({"prompt": text, "instruction": [start, start + len(" ".join(words[at : at + 2]))]})
    result = instruction_density(folder, rows, max_new_tokens=SHOWN, fewest=1, progress=False)
    return result.tokens["density"].to_numpy().reshape(len(rows), -1)


@Method.define(role="mutant", of=density)
def silent(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Finds that no token matters."""
    return {name: np.zeros(data["instruction"].shape) for name in data["models"]}


@Method.define(role="mutant", of=density)
def any_token(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Draws every density."""
    return {name: rng.random(data["instruction"].shape) for name in data["models"]}


@Method.define(role="mutant", of=density)
def every_token(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Gives all tokens the same density."""
    return {name: np.ones(data["instruction"].shape) for name in data["models"]}


@Method.define(role="mutant", of=density)
def blind_to_tuning(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Reads the base in the place of every model."""
    base = _densities(data["models"]["base"], data)
    return dict.fromkeys(data["models"], base)


@Method.define(role="mutant", of=density)
def wrong_sign(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Takes the tokens against which the answer speaks."""
    from groundshift.models.activations import load_model, token_gradients
    from groundshift.models.activations.generation import generate

    answer = {}
    for name, folder in data["models"].items():
        model = load_model(folder)
        rows = generate(model, data["texts"], max_new_tokens=SHOWN, progress=False)
        width = data["instruction"].shape[1]
        gradients = token_gradients(model, rows, progress=False)
        answer[name] = np.stack([importance_density(-g[:, -len(g) - width : -len(g)].T) for g in gradients])
    return answer


# The methods: explainers of weights ----------------------------------------------------------------------


@Method.define()
def explainers(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """The first pairs of every head and the first words of the leading directions."""
    pairs = attention_pairs(data["base"], data["tuned"], data["texts"], top=TOP).pairs
    pairs = pairs[pairs["model"] == "tuned"]
    heads = [pairs.loc[pairs["head"] == head, ["word", "other"]].head(TOP).to_numpy() for head in range(4)]
    found = ffn_concepts(
        data["base"], data["tuned"], [*data["texts"], " ".join(data["vocabulary"])], directions=4
    )
    words = found.directions[found.directions["model"] == "tuned"].sort_values("direction")["words"]
    return {"pairs": [[tuple(p) for p in own] for own in heads], "words": [own[:TOP] for own in words]}


@Method.define(role="mutant", of=explainers)
def first_words(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Names the same words for every head and direction."""
    words = data["vocabulary"][:TOP]
    return {"pairs": [[(words[0], w) for w in words[1:]]] * 4, "words": [words] * 4}


@Method.define(role="mutant", of=explainers)
def any_words(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Draws words of the texts."""
    drawn = [
        [tuple(rng.choice(text.split(), 2, replace=False)) for text in rng.choice(data["texts"], TOP)]
        for _ in range(4)
    ]
    return {"pairs": drawn, "words": [rng.choice(data["vocabulary"], TOP).tolist() for _ in range(4)]}


@Method.define(role="mutant", of=explainers)
def other_place(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Gives each head and direction the answer of the next one."""
    return {name: [*own[1:], own[0]] for name, own in explainers.run(data, rng).items()}


# The measures --------------------------------------------------------------------------------------------


def _scores(output: Any, sample: Sample, model: str, mask: str) -> Array:
    masks = sample.truth["masks"][mask]
    return np.array([instruction_score(d, own) for d, own in zip(output[model], masks, strict=True)])


@Measure.define(by={"model": ("base", *RHOS), "mask": MASKS}, gives=("score",))
def score(output: Any, sample: Sample) -> list[dict[str, Any]]:
    """Mean instruction score of orders in new words; with the mask moved to filler words."""
    new = sample.truth["new"]
    return [
        {"model": name, "mask": mask, "score": float(_scores(output, sample, name, mask)[new].mean())}
        for name in ("base", *RHOS) for mask in MASKS
    ]  # fmt: skip


@Measure.define(by={"mask": MASKS}, gives=("auroc", "dose"))
def told(output: Any, sample: Sample) -> list[dict[str, Any]]:
    """How well the score tells followed orders from others (mean of base and sham), and how it ranks the tunings."""
    rows = []
    for mask in MASKS:
        aurocs = [
            roc_auc_score(own, _scores(output, sample, name, mask)) if 0 < own.mean() < 1 else 0.5
            for name, own in sample.truth["followed"].items()
        ]
        means = [float(_scores(output, sample, name, mask)[sample.truth["new"]].mean()) for name in RHOS]
        dose = float(stats.spearmanr(list(RHOS.values()), means).statistic) if np.ptp(means) > 0 else 0.0
        rows.append({"mask": mask, "auroc": float(np.mean(aurocs)), "dose": dose})
    return rows


@Measure.define(by={"model": ("tuned", "shuffled")}, gives=("cause",))
def causes(output: Any, sample: Sample) -> list[dict[str, Any]]:
    """Share of prompts where the largest density is that of the order or of a digit that the response needs."""
    cause = sample.truth["masks"]["cause"]
    rows = []
    for name in ("tuned", "shuffled"):
        top = output[name] == output[name].max(1, keepdims=True)  # a tie counts by its share
        rows.append({"model": name, "cause": float(((top & cause).sum(1) / top.sum(1)).mean())})
    return rows


PAIRS = {"kept": ("base", "tuned"), "lost": ("lost", "found")}


@Measure.define(by={"middle": tuple(PAIRS), "place": PLACES}, gives=("gain",))
def places(output: Any, sample: Sample) -> list[dict[str, Any]]:
    """What a tuning adds to the score, by the place of the order: where the base had not lost the middle, and where."""
    rows = []
    for name, (before, after) in PAIRS.items():
        gain = _scores(output, sample, after, "instruction") - _scores(output, sample, before, "instruction")
        rows += [
            {"middle": name, "place": place, "gain": float(gain[sample.truth["place"] == k].mean())}
            for k, place in enumerate(PLACES)
        ]
    return rows


@Measure.define(gives=("pairs", "words"))
def planted_found(output: Any, sample: Sample) -> dict[str, float]:
    """Precision at 10 of the pairs of each head and of the words of each direction; what is missing is wrong."""
    pairs = [
        len({*map(frozenset, own)} & true)
        for own, true in zip(output["pairs"], sample.truth["pairs"], strict=True)
    ]
    words = [len({*own} & true) for own, true in zip(output["words"], sample.truth["words"], strict=True)]
    return {"pairs": float(np.mean(pairs)) / TOP, "words": float(np.mean(words)) / TOP}


def grids(s: Settings) -> list[Grid]:
    """One cell a seed for all densities; planted weights and noise alone."""
    dials = {"preset": s.preset, "steps": s.steps, "prompts": s.prompts}
    return [
        Grid(
            "orders",
            ("density",),
            ("score", "told", "causes", "places"),
            s.seeds,
            world_params=dials,
            cost_s=40.0,
        ),
        Grid(
            "planted",
            ("explainers",),
            ("planted_found",),
            s.planted_seeds,
            vary={"strength": (1.0, 0.0)},
            cost_s=0.5,
        ),
    ]


# The claims ----------------------------------------------------------------------------------------------


def _at(measure: str, method: str = "density", **where: Any) -> str:
    return f"mean({measure}|{method}" + "".join(f", {k}={v!r}" for k, v in where.items()) + ")"


def _rise(model: str) -> str:
    return (
        f"{_at('score', model=model, mask='instruction')} - {_at('score', model='base', mask='instruction')}"
    )


def _middle(middle: str) -> str:
    start, centre, end = (_at("gain", middle=middle, place=place) for place in PLACES)
    return f"{centre} - 0.5 * {start} - 0.5 * {end}"


def _noise(measure: str) -> Control:
    return Control("in noise alone there are none (at most 0.3)", _at(measure, "explainers", strength=0.0), high=0.3,
                   rule="mean")  # fmt: skip


SAME: dict[str, Any] = {"same": "same direction only"}
OURS: dict[str, Any] = {"same": "analogue", "paper": "not measured: what the weights hold is not known"}

claims = (
    Claim(
        "1", "Tuning raises the instruction score of new orders (tuned less base)", _rise("tuned"), 0.0,
        Control("a tuning whose texts do not follow new orders raises it by at most 0.02", _rise("sham"), high=0.02,
                rule="mean"),
        paper="+0.19 to +0.30 on three sets of prompts (figures of the published attributions)", **SAME,
    ),
    Claim(
        "2", "The score tells followed orders from others (AUROC, base and sham)", _at("auroc", mask="instruction"),
        0.6, Control("that of filler words does not (mean within 0.5 ± 0.1)", _at("auroc", mask="filler"), low=0.4,
                     high=0.6, rule="mean"),
        paper="followed 1.25 to 1.63, not followed 0.89 to 1.28 (p < 0.001 on three sets)", **SAME,
    ),
    Claim(
        "3", "The more reliable the orders of a tuning, the higher the score (rank correlation over four tunings)",
        _at("dose", mask="instruction"), 0.6,
        Control("that of filler words does not rise so (mean at most 0.6)", _at("dose", mask="filler"), high=0.6,
                rule="mean"),
        kind="trend", paper="not measured: two models of each family", **SAME,
    ),
    Claim(
        "4", "The largest density is that of a true cause: the order or a digit that the response needs (share, tuned)",
        _at("cause", model="tuned"), 0.7,
        Control("in a model of shuffled weights it is not (at most 0.55)", _at("cause", model="shuffled"), high=0.55,
                rule="mean"),
        **OURS,
    ),
    Claim("5a", "The pairs of attention heads are the planted ones (precision at 10)",
          _at("pairs", "explainers", strength=1.0), 0.9, _noise("pairs"), **OURS),
    Claim("5b", "and the words of feed-forward directions are the planted ones (precision at 10, in every seed)",
          _at("words", "explainers", strength=1.0), 0.9, _noise("words"), kind="bound", version=2, **OURS),
    Claim(
        "6", "Boundary: where the base has not lost the middle of a prompt, tuning does not raise its middle more than "
        "its ends (difference of what it adds)", _middle("kept"), 0.02,
        Control("where the base has lost it, it does (at least 0.02)", _middle("lost"), low=0.02, rule="mean"),
        direction="<", kind="boundary", paper="tuning helps with instructions in the middle", **SAME,
    ),
)  # fmt: skip

NAMES = {"instruction": "order", "filler": "filler words", "kept": "middle kept", "lost": "middle lost"}
study = Study(
    slug="ifshift",
    module=__name__,
    version=2,
    scales={
        "quick": Settings(seeds=1, planted_seeds=1, preset="nano", steps=60, prompts=40),
        "cpu": Settings(),
        "paper": Settings(seeds=20, planted_seeds=50, preset="mid", steps=1500, prompts=632),
    },
    grids=grids,
    worlds=(orders, planted),
    methods=(
        density, silent, any_token, every_token, blind_to_tuning, wrong_sign, explainers, first_words, any_words,
        other_place,
    ),
    measures=(score, told, causes, places, planted_found),
    claims=claims,
    figures=(
        Figure(
            "score", "Instruction score of a base and of tunings on more and more reliable orders; a dot is a seed.",
            chart(
                "Tuning on reliable orders raises their density",
                Panel("", "model", "mask", y_label="instruction score", names=NAMES), width=6.6,
            ), "measure == 'score'",
        ),
        Figure(
            "places", "What tuning adds to the score by place of the order; the base had kept or lost the middle.",
            chart("The middle is rescued where it was lost", Panel("", "place", "middle", y_label="gain", names=NAMES,
                                                                  level=0.0), width=5.6),
            "measure == 'gain'",
        ),
    ),
    root_seed=20271209,
    preload=("numpy", "torch", "transformers"),
)  # fmt: skip
