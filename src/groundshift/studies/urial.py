"""The study of urial: does tuning on a style move style alone, and does a prompt do the same? (arXiv:2312.01552)

A tiny language model learns a knowledge base that is told in several styles. It is then tuned to answer in one of them,
or to state other facts; the labels of all tokens are known, so that "mostly stylistic" is a measurement.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from groundshift.lab.claims import Claim, Control
from groundshift.lab.study import Figure, Grid, Measure, Method, Sample, Study, World
from groundshift.models import tinylm
from groundshift.models.activations import load_model
from groundshift.models.records import read_json
from groundshift.probes.urial import Assistant, Flavour, Prompt, shift
from groundshift.studies.drawing import Panel, chart
from groundshift.studies.keeping import kept
from groundshift.worlds import tinylm as tiny_worlds
from groundshift.worlds.tinylm import BOS, IGNORED, Styles, TinyWorld, pad

WANTED = {"unseen": 0, "rarest": 1, "rare": 2}
"""Styles that no tune teaches: of none, .005 and .02 of the base's documents."""
TARGET = 3
"""The style that is tuned and prompted, of .03 of the documents; the others have .05, so that its opening comes after
theirs."""
WORDS = Flavour(" Q {text} A", " {text}", "", ("Q",))
STEPS = {"none": 0, "style15": 15, "style30": 30, "style": 60, "style120": 120, "facts": 120}
"""Tunes and their steps."""
LEARNING, TUNING = {"nano": 8e-3, "micro": 4e-3, "mid": 3e-3}, {"style": 5e-4, "facts": 1e-3}
"""Rates: by size of the base, and of the tunes."""


@dataclass(frozen=True)
class Settings:
    """What the dial sets."""

    seeds: int = 8
    preset: str = "nano"
    steps: int = 800
    """Of a base."""
    entities: int = 30
    known: float = 0.97
    """What a base has to reach on both exams, or its seed tells nothing."""
    tuning: float = 1.0
    """Share of the tunes' steps that are made."""


# The world -----------------------------------------------------------------------------------------------


@World.define()
def styled(
    rng: np.random.Generator,
    severity: float,
    *,
    preset: str,
    steps: int,
    entities: int,
    known: float,
    tuning: float,
) -> Sample:
    """A base, its tunes, prompts of examples in several styles, and questions about entities that no tune of style saw.

    Facts, the words of every style, the halves of the entities and the examples are drawn.
    """
    world = TinyWorld({"styles": Styles(entities)}, seed=int(rng.integers(2**31)))
    part = world["styles"]
    halves = np.array_split(rng.permutation(entities), 2)
    taught, tested = ([(int(e), r) for e in half for r in range(part.relations)] for half in halves)
    base = _base(world, preset, steps)
    wrong = {fact: int((part.table_[fact] + rng.integers(1, part.values)) % part.values) for fact in tested}
    shown = [taught[i] for i in rng.permutation(len(taught))[:3]]
    other = int(rng.integers(TARGET + 1, len(part.priors)))
    styles = {"K=3": TARGET, "other": other, "bare": -1, **WANTED}
    prompts = {
        arm: Prompt("<bos>", tuple(_pair(part, f, s) for f in shown), WORDS) for arm, s in styles.items()
    }
    pairs = [_pair(part, fact, TARGET, wrong[fact]) for fact in tested]
    data = {
        "base": base / "model",
        "tunes": {name: _tuned(world, base, name, taught, wrong, tuning) / "model" for name in STEPS},
        "prompts": {
            **prompts,
            **{arm: prompts["K=3"].head(k) for arm, k in {"K=0": 0, "K=1": 1, "false": 2}.items()},
        },
        "asked": [question for question, _ in pairs],
        "false": [[question, answer, question] for question, answer in pairs],
        "values": part.lexicon_["value"].tolist(),
    }
    learnt = min(read_json(base / "exams.json").values()) >= known
    return Sample(data, (part, tested, learnt))


def _pair(part: Styles, fact: tuple[int, int], style: int, value: int | None = None) -> tuple[str, str]:
    """What is asked of a fact, and its answer, as text."""
    decode = part.lexicon_.decode
    return decode(part.question(*fact)[1:-1]), decode(part.answer(*fact, style, value))


def _base(world: TinyWorld, preset: str, steps: int) -> Path:
    part = world["styles"]

    def make(folder: Path) -> None:
        net = tinylm.build(preset, world.lexicon, positions=64, seed=world.seed)
        tinylm.fit(net, world.packed(32, 58, "completion"), steps, LEARNING[preset], seed=world.seed)
        _save(net, world, folder)
        passed = {name: tinylm.accuracy(net, part.exam(name)) for name in part.exams}
        (folder / "exams.json").write_text(pd.Series(passed).to_json())

    return kept("urial", ["base", world.settings(), preset, steps], make, tinylm, tiny_worlds)


def _tuned(
    world: TinyWorld, base: Path, name: str, taught: list[Any], wrong: dict[Any, int], tuning: float
) -> Path:
    """The base after steps on single answers: in the target style, or bare with other values for the facts asked."""
    part, steps = world["styles"], int(tuning * STEPS[name])
    facts = [(f, -1, v) for f, v in wrong.items()] if name == "facts" else [(f, TARGET, None) for f in taught]

    def rows(rng: np.random.Generator) -> dict[str, Any]:
        drawn = [facts[i] for i in rng.integers(len(facts), size=64)]
        ids = pad([np.r_[BOS, part.item(*f, s, v)] for f, s, v in drawn])
        answered = (np.arange(ids.shape[1]) > 4) & (ids > 0)  # <bos> Q e r A
        return {"ids": ids, "labels": np.where(answered, ids, IGNORED)}

    def make(folder: Path) -> None:
        net = tinylm.load(base / "model")
        if steps:
            tinylm.fit(net, rows, steps, TUNING[name.rstrip("0123456789")], seed=world.seed + 1)
        _save(net, world, folder)

    return kept("urial", [base.name, name, steps, TUNING, facts], make, tinylm, tiny_worlds)


def _save(net: Any, world: TinyWorld, folder: Path) -> None:
    net.generation_config.eos_token_id = [2, int(world.lexicon.encode(".")[0])]  # an answer is a sentence
    tinylm.save(net, world.lexicon, folder / "model")


# The two instruments -------------------------------------------------------------------------------------

TEMPLATES = ("K=0", "K=3", "other")
"""How the base is asked: the bare question, behind examples in the tune's style, behind others."""
ARMS = ("K=0", "K=1", "K=3", "other", "bare", "unseen", "rarest", "rare", "false", "tuned", "mistaught")
Frame = pd.DataFrame


def _read(data: Any, *, swap: bool = False) -> dict[str, Any]:
    """Ranks of the tokens of every tune's answers, and answers of every arm."""
    base, prompts, questions = load_model(data["base"], device="cpu"), data["prompts"], data["asked"]
    tunes = {name: load_model(folder, device="cpu") for name, folder in data["tunes"].items()}
    ranks = {}
    for name, tune in tunes.items():
        under, speaker = (tune, base) if swap else (base, tune)
        for template in TEMPLATES if name == "style" else TEMPLATES[:1]:
            result = shift(under, speaker, questions, base_template=prompts[template], tuned_template=prompts["K=0"],
                           max_new_tokens=10, progress=False)  # fmt: skip
            ranks[name, template] = result.positions[["answer", "position", "token", "rank"]]
    answers = {
        arm: _say(base, prompt, data["false"] if arm == "false" else questions)
        for arm, prompt in prompts.items()
    }
    answers["tuned"] = _say(tunes["style"], prompts["K=0"], questions)
    answers["mistaught"] = _say(tunes["facts"], prompts["K=0"], questions)
    return {"ranks": ranks, "said": answers}


def _say(model: Any, prompt: Prompt, questions: Any) -> list[str]:
    return [str(row["answer"]) for row in Assistant(model, prompt, max_new_tokens=10).answer(questions)]


@Method.define()
def urial(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Both instruments as they are."""
    return _read(data)


# Mutants -------------------------------------------------------------------------------------------------


def _ranked(output: dict[str, Any], change: Callable[[Frame], Any]) -> dict[str, Any]:
    """What was read, with other ranks."""
    return output | {"ranks": {at: frame.assign(rank=change(frame)) for at, frame in output["ranks"].items()}}


@Method.define(role="mutant", of=urial)
def swapped(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Ranks the base's answers under the tuned model."""
    return _read(data, swap=True)


@Method.define(role="mutant", of=urial)
def shuffled(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Mixes up which token of an answer has which rank."""
    return _ranked(_read(data), lambda f: f.groupby("answer")["rank"].transform(lambda r: rng.permutation(r)))


@Method.define(role="mutant", of=urial)
def alarmed(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Calls every token shifted."""
    return _ranked(_read(data), lambda frame: 99)


@Method.define(role="mutant", of=urial)
def unprompted(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Leaves the examples out of every prompt."""
    return _read(data | {"prompts": {arm: prompt.head(0) for arm, prompt in data["prompts"].items()}})


@Method.define(role="mutant", of=urial)
def parrot(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Repeats the last example."""
    output = _read(data)
    for arm in ("K=1", "K=3"):
        output["said"][arm] = [data["prompts"][arm].examples[-1][1]] * len(data["asked"])
    return output


@Method.define(role="mutant", of=urial)
def dresser(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Puts what the base says without a prompt into the words of the last example, whether it learnt them or not."""
    output = _read(data)
    plain = [answer.partition(" ")[0] for answer in output["said"]["K=0"]]
    for arm in ("K=1", "K=3", "other", *WANTED):
        first, second, *_, hedge, closing, stop = data["prompts"][arm].examples[-1][1].split()
        output["said"][arm] = [
            f"{first} {second} {question} is {value} {hedge} {closing} {stop}"
            for question, value in zip(data["asked"], plain, strict=True)
        ]
    return output


# Measures ------------------------------------------------------------------------------------------------

WHERE = ("all", "first", "rest", "knowledge")


def _valid(sample: Sample, value: Any) -> float:
    """NaN where the base has not learnt its world, so that its seed is not counted as an answer."""
    return float(value) if sample.truth[-1] else float("nan")


@Measure.define(
    better="none", gives=("unshifted", "marginal", "shifted", "moved"), by={"tune": tuple(STEPS), "where": WHERE}
)  # fmt: skip
def shares(output: Any, sample: Sample) -> Iterator[dict[str, Any]]:
    """Shares of unshifted, marginal and shifted tokens: of all, of the first, of the rest, and of values."""
    for tune in STEPS:
        frame = output["ranks"][tune, "K=0"]
        first, values = frame["position"] == 1, frame["token"].isin(sample.data["values"])
        for where, chosen in zip(WHERE, (first | True, first, ~first, values), strict=True):
            rank = frame["rank"][chosen]
            hits = {
                "unshifted": rank == 1,
                "marginal": rank.between(2, 3),
                "shifted": rank > 3,
                "moved": rank > 1,
            }
            share = {name: _valid(sample, hit.mean() if len(hit) else 0.0) for name, hit in hits.items()}
            yield {"tune": tune, "where": where} | share


@Measure.define(gives=("reached",), by={"template": TEMPLATES})
def prompted(output: Any, sample: Sample) -> Iterator[dict[str, Any]]:
    """Share of first tokens after the tune of style that are the base's first choice, by how the base is asked."""
    for template in TEMPLATES:
        frame = output["ranks"]["style", template]
        yield {
            "template": template,
            "reached": _valid(sample, (frame["rank"][frame["position"] == 1] == 1).mean()),
        }


@Measure.define(better="none", gives=("blamed",), by={"tune": ("style", "facts")})
def knowledge(output: Any, sample: Sample) -> Iterator[dict[str, Any]]:
    """Share of values among the tokens that are not unshifted."""
    for tune in ("style", "facts"):
        frame = output["ranks"][tune, "K=0"]
        moved = frame["token"][frame["rank"] > 1]
        share = moved.isin(sample.data["values"]).mean() if len(moved) else 0.0
        yield {"tune": tune, "blamed": _valid(sample, share)}


@Measure.define(better="none", gives=("fades", "slope"), by={"order": ("said", "permuted")})
def fading(output: Any, sample: Sample) -> Iterator[dict[str, Any]]:
    """Shifted share of the first token less that of the rest, and its slope on log₂ of the place; as said, and with the
    places permuted within answers (mean of 40)."""
    frame, rng = output["ranks"]["style", "K=0"], np.random.default_rng(0)
    shifted, answer = (frame["rank"] > 3).to_numpy(float), frame["answer"].to_numpy()
    place = frame["position"].to_numpy()
    mixed = [shifted[np.lexsort([rng.random(len(frame)), answer])] for _ in range(40)]
    for order, runs in (("said", [shifted]), ("permuted", mixed)):
        fades = np.mean([hit[place == 1].mean() - hit[place > 1].mean() for hit in runs])
        slope = np.mean([np.polyfit(np.log2(place), hit, 1)[0] for hit in runs])
        yield {"order": order, "fades": _valid(sample, fades), "slope": _valid(sample, slope)}


@Measure.define(gives=("exact", "missed", "right"), by={"arm": ARMS})
def answers(output: Any, sample: Sample) -> Iterator[dict[str, Any]]:
    """Answers that are word for word those of the style that was wanted and of the fact, those that are not, and those
    with the right value anywhere."""
    part, facts, _ = sample.truth
    values = [part.lexicon_.decode([part.lexicon_["value"][part.table_[fact]]]) for fact in facts]
    for arm, texts in output["said"].items():
        gold = [_pair(part, fact, WANTED.get(arm, TARGET))[1] for fact in facts]
        exact = _valid(sample, np.mean([text == answer for text, answer in zip(texts, gold, strict=True)]))
        right = _valid(sample, np.mean([v in text.split() for text, v in zip(texts, values, strict=True)]))
        yield {"arm": arm, "exact": exact, "missed": 1 - exact, "right": right}


# The claims ----------------------------------------------------------------------------------------------


def grids(s: Settings) -> list[Grid]:
    """One cell per seed: a base and its tunes serve all arms."""
    params = {name: value for name, value in vars(s).items() if name != "seeds"}
    measures = ("shares", "prompted", "knowledge", "fading", "answers")
    return [Grid("styled", ("urial",), measures, s.seeds, world_params=params, cost_s=34.0)]


def _share(name: str, tune: str = "style", where: str = "all") -> str:
    return f'mean({name}|urial, tune="{tune}", where="{where}")'


def _of_arm(name: str, arm: str) -> str:
    return f'mean({name}|urial, arm="{arm}")'


def _reached(template: str) -> str:
    return f'mean(reached|urial, template="{template}") - mean(reached|urial, template="K=0")'


def _mean(text: str, estimand: str, low: float = float("-inf"), high: float = float("inf")) -> Control:
    return Control(text, estimand, low=low, high=high, rule="mean")


ASKED = 60
"""Questions of a seed: half of the entities, with each relation."""
STYLISTIC = "shifted tokens are mostly stylistic; 5–8 % of all (Llama-2-7b 7.8 %, Mistral-7b 5.2 %)"
FADES = "the shift fades with the position (figure 3)"
SPELL = "K = 3 constant examples match tuned models on just-eval (4.63 against 4.44, Mistral-7b)"
KNOWS = "alignment is superficial: knowledge comes from the base"
BRIDGES = "URIAL bridges the gap between base and aligned models"
DIRECTION: dict[str, Any] = {"same": "same direction only"}
RATE: dict[str, Any] = {"kind": "rate", "slack": 0.02, "trials": ASKED}
RIGHT = ", ".join(_of_arm("right", arm) for arm in ("K=0", "K=1", "K=3", "tuned"))

claims = (
    Claim(
        "1a", "Tuning on style leaves knowledge alone: the share of values among the tokens that are not unshifted",
        'mean(blamed|urial, tune="style")', 0.05,
        _mean("after a tune that changes facts it is at least 0.9", 'mean(blamed|urial, tune="facts")', low=0.9),
        kind="bound", direction="<", paper=STYLISTIC, **DIRECTION,
    ),
    Claim(
        "1b", "and values that are not the base's first choice are rare (share of values)",
        _share("moved", where="knowledge"), 0.03,
        _mean("after a tune that changes facts they are at least 0.9", _share("moved", "facts", "knowledge"), low=0.9),
        paper=STYLISTIC, **RATE, **DIRECTION,
    ),
    Claim(
        "1c", "A tune of no steps moves nothing: share of unshifted tokens", _share("unshifted", "none"), 1.0,
        _mean("after the tune of style it is at most 0.95", _share("unshifted"), high=0.95),
        kind="identity",
    ),
    Claim(
        "2a", "The shift is concentrated at the start (shifted share of the first token − of the rest)",
        'mean(fades|urial, order="said")', 0.4,
        _mean("with the places permuted within answers there is none (mean within ±0.05)",
              'mean(fades|urial, order="permuted")', -0.05, 0.05),
        kind="bound", paper=FADES, **DIRECTION,
    ),
    Claim(
        "2b", "and fades: slope of the shifted share on log₂ of the place", 'mean(slope|urial, order="said")', -0.05,
        _mean("with the places permuted it is flat (mean within ±0.02)", 'mean(slope|urial, order="permuted")',
              -0.02, 0.02),
        kind="bound", direction="<", paper=FADES, **DIRECTION,
    ),
    Claim(
        "3a", "Three constant styled examples align the base: answers that are not word for word right (share)",
        _of_arm("missed", "K=3"), 0.15,
        _mean("behind three examples of another style at least 0.95 are not", _of_arm("missed", "other"), low=0.95),
        paper=SPELL, **RATE,
    ),
    Claim(
        "3b", "and examples are what does it (exact answers, the fewer of K = 1 and K = 3, − K = 0)",
        f"lowest({_of_arm('exact', 'K=1')}, {_of_arm('exact', 'K=3')}) - {_of_arm('exact', 'K=0')}", 0.7,
        _mean("three unstyled examples gain at most 0.05", f"{_of_arm('exact', 'bare')} - {_of_arm('exact', 'K=0')}",
              high=0.05),
        kind="bound", paper=SPELL,
    ),
    Claim(
        "4", "The prompt moves style only: largest difference of right values between K = 0, 1, 3 and the tuned model",
        f"highest({RIGHT}) - lowest({RIGHT})", 0.05,
        _mean("a tune of facts, asked as the base is, loses at least 0.9",
              f"{_of_arm('right', 'K=0')} - {_of_arm('right', 'mistaught')}", low=0.9),
        kind="bound", direction="<", paper=KNOWS, **DIRECTION,
    ),
    Claim(
        "5", "In-context alignment removes the shift that tuning made (first token unshifted, K = 3 − K = 0)",
        _reached("K=3"), 0.8, _mean("three examples of another style gain at most 0.1", _reached("other"), high=0.1),
        kind="bound", paper=BRIDGES, **DIRECTION,
    ),
    Claim(
        "6", "Boundary: a style that the base never saw cannot be prompted in (exact answers, K = 3)",
        _of_arm("exact", "unseen"), 0.1,
        _mean("one that 2 % of its documents have can: at least 0.7", _of_arm("exact", "rare"), low=0.7),
        **RATE,
    ),
    Claim(
        "7", "Boundary: shares count places, not effects: unshifted share after a tune that made every value wrong",
        _share("unshifted", "facts"), 0.45,
        _mean("of the values at most 0.1 are unshifted", _share("unshifted", "facts", "knowledge"), high=0.1),
        kind="bound",
    ),
)  # fmt: skip

LATENT = {"unseen": "0", "rarest": "0.005", "rare": "0.02", "K=3": "0.03"}
study = Study(
    slug="urial",
    module=__name__,
    version=1,
    scales={
        "quick": Settings(seeds=1, steps=120, entities=4, known=0.0, tuning=0.2),
        "cpu": Settings(),
        "paper": Settings(seeds=20, preset="mid", steps=2000, entities=60),
    },
    grids=grids,
    worlds=(styled,),
    methods=(urial, swapped, shuffled, alarmed, unprompted, parrot, dresser),
    measures=(shares, prompted, knowledge, fading, answers),
    claims=claims,
    figures=(
        Figure(
            "shift", "Tokens that are not the base's first choice, after tunes of style and facts.",
            chart(
                "What a tune moves",
                Panel("by place and kind of token", "where", "tune", rows="tune in ['style', 'facts']"),
                Panel("first token, by steps", "tune", "tune", rows="where == 'first' and tune != 'facts'"),
            ),
            "measure == 'moved'",
        ),
        Figure(
            "prompts", "Answers that are word for word right, by prompt.",
            chart(
                "What a prompt does",
                Panel("examples of the style that is wanted", "arm", "arm", rows=f"arm in {ARMS[:5]}"),
                Panel("by the style's share of documents", "arm", "arm", rows=f"arm in {list(LATENT)}", names=LATENT),
            ),
            "measure == 'exact'",
        ),
        Figure(
            "templates", "First tokens of the tuned answers that are the base's first choice, by its prompt.",
            chart("The base asked in three ways", Panel("", "template", "template"), width=5.0), "measure == 'reached'",
        ),
    ),
    root_seed=20271130,
    preload=("numpy", "torch", "transformers"),
)  # fmt: skip
