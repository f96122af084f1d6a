"""The study of belief shift: does a context move what a model says and does, and by as much as is measured?
(arXiv:2511.01805)

Tiny language models of a town hall: what a word of evidence moves the log-odds of every answer and action by is known.
One kind of action goes with the answers, one lags behind, and one follows another matter. Scripted talkers, whose bad
answers are known, serve the bookkeeping.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from groundshift.lab.claims import Claim, Control
from groundshift.lab.study import Figure, Grid, Measure, Method, Sample, Study, World
from groundshift.measures.flips import flip_rates, half_effect, words_and_deeds
from groundshift.models import tinylm
from groundshift.models.activations import load_model
from groundshift.probes.beliefs import read_and_ask
from groundshift.studies.drawing import Panel, chart
from groundshift.worlds.tinylm import TinyWorld, TownHall

AMOUNTS = (1, 2, 4, 8)
"""Words of evidence in a context of ten."""
MANY = 4
TEMPLATE = "{% for message in messages %}{{ message['content'] }} {% endfor %}"
KINDS, STAGES = ("stated", "action"), ("before", "again", "after")
BAD = 0.2
"""Share of the talkers' answers that say nothing."""


@dataclass(frozen=True)
class Settings:
    """What the dial sets."""

    seeds: int = 5
    topics: int = 12
    preset: str = "62k"
    steps: int = 800
    """Of each model, 128 documents each."""
    repeats: int = 10
    """Of the sampled answers."""


# The world -----------------------------------------------------------------------------------------------


@World.define()
def town_hall(rng: np.random.Generator, severity: float, *, topics: int, steps: int, preset: str) -> Sample:
    """A model of one town, and the contexts that it reads."""
    world = TinyWorld({"town": TownHall(topics)}, seed=int(rng.integers(2**31)))
    recipe = tinylm.Recipe(preset, steps, 3e-3, rows=128, length=None, on="completion")
    part = world["town"]
    signed = [sign * n for n in AMOUNTS for sign in (1, -1)]
    contexts = {
        "on": {n: _context(world, rng, n, 0) for n in signed},
        "off": {n: _context(world, rng, 0, n) for n in signed},
        "both": {
            k: _context(world, rng, n, m) for k, (n, m) in enumerate(((4, 4), (4, -4), (-4, 4), (-4, -4)))
        },
        "placebo": {0: _context(world, rng, 0, 0)},
    }
    items = {kind: _items(world, k) for k, kind in enumerate(("coupled", "lagging", "free"), 1)}
    model = tinylm.cached(world, recipe, world.seed)
    return Sample(
        {"model": model, "items": items, "contexts": contexts, "beliefs": rng.uniform(-3, 3, 24)}, part
    )


def _context(world: TinyWorld, rng: np.random.Generator, net: int, other: int) -> str:
    """Ten words in any order, with so much evidence on each matter and fillers for the rest."""
    part = world["town"]
    words = [
        part.evidence_[matter, int(n < 0)] for matter, n in enumerate((net, other)) for _ in range(abs(n))
    ]
    words += rng.choice(part.fillers_, 10 - len(words)).tolist()
    return world.lexicon.decode(rng.permutation(words))


def _items(world: TinyWorld, kind: int) -> list[dict[str, Any]]:
    """Every topic, with an action of one kind."""
    part = world["town"]
    answers = [world.lexicon.decode(ids).split() for ids in part.answers_]
    options = [
        {"name": side, "label": answers[kind][k], "side": side}
        for k, side in enumerate(("support", "oppose"))
    ]
    return [
        {"id": name, "topic": name, "support": answers[0][0], "oppose": answers[0][1],
         "task": {"scene": f"act{kind}", "options": options}}
        for name in world.lexicon.decode(part.topics_).split()
    ]  # fmt: skip


# The methods ---------------------------------------------------------------------------------------------


@Method.define()
def beliefs(data: Any, rng: np.random.Generator, *, repeats: int) -> dict[str, Any]:
    """Items before and after every context: evidence on their matter, on another, on both, and none."""
    model = load_model(data["model"])
    model.tokenizer.chat_template = TEMPLATE
    wording = {"stated": "{topic} ask", "action": "{topic} {scene}", "reading": "{text}"}

    def read(
        contexts: Mapping[int, str], kind: str, *questions: Any, samples: int | None = None
    ) -> pd.DataFrame:
        tables = []
        for net, context in contexts.items():
            result = read_and_ask(
                model, context=[context], items=data["items"][kind], questions=questions, samples=samples,
                wording=wording, random_state=int(rng.integers(2**31)),
            )  # fmt: skip
            tables.append(result.items.assign(net=net))
        return pd.concat(tables, ignore_index=True)

    contexts = data["contexts"]
    return {
        "on": read(contexts["on"], "coupled", "stated", "action"),
        "off": read(contexts["off"], "coupled", "stated"),
        "lagging": read(contexts["on"], "lagging", "action"),
        "coupled": read(contexts["both"], "coupled", "stated", "action"),
        "free": read(contexts["both"], "free", "stated", "action"),
        "sampled": pd.concat(
            [read(contexts["placebo"], "coupled", "stated", samples=1) for _ in range(repeats)]
        ),
        "talkers": [_talked(data["beliefs"], bad, rng) for bad in (0.0, BAD)],
    }  # fmt: skip


def _talked(leanings: Any, bad: float, rng: np.random.Generator) -> dict[str, float]:
    """How many answers of a scripted talker said nothing, and how many are counted so."""
    bad_ones: list[str] = []
    asked = 0

    def talker(messages: list[dict[str, str]]) -> str:
        """Answers by sigma(belief); one that said nothing will say nothing when it is asked again."""
        nonlocal asked
        text = messages[-1]["content"]
        if text.startswith("Please end"):
            return "I said what I had to say."
        asked += 1
        if rng.random() < bad:
            bad_ones.append(("The answer is: the second", "A and B are both fine.", "")[int(rng.integers(3))])
            return bad_ones[-1]
        topic = int(text.split(" about matter ")[1].split(".")[0])
        supports = rng.random() < 1 / (1 + np.exp(-leanings[topic]))
        return f"B has its merits. The answer is: {'AB'[int(('A) yes' in text) != supports)]}"

    items = [
        {"id": k, "topic": f"matter {k}", "support": "yes", "oppose": "no"} for k in range(len(leanings))
    ]
    result = read_and_ask(
        talker, context=["no news"], items=items, questions=["stated"], samples=2, wording={"reading": "{text}"},
        random_state=int(rng.integers(2**31)),
    )  # fmt: skip
    counted = int(result.asked["silent"].sum())
    return {"silent": len(bad_ones), "empty": bad_ones.count(""), "counted": counted, "answers": asked}


def mutant(change: Callable[[dict[str, Any], np.random.Generator], dict[str, Any]]) -> Method:
    """A broken version: the method's answer with some tables changed."""

    def run(data: Any, rng: np.random.Generator, *, repeats: int) -> dict[str, Any]:
        answer = dict(beliefs.run(data, rng, repeats=repeats))
        return answer | change(answer, rng)

    run.__name__, run.__doc__ = change.__name__, change.__doc__
    return Method.define(role="mutant", of=beliefs)(run)


def _set(answer: dict[str, Any], stage: str, values: Callable[[pd.DataFrame, str], Any]) -> dict[str, Any]:
    """All tables with other values of a stage."""
    tables = {name: table for name, table in answer.items() if isinstance(table, pd.DataFrame)}
    return {
        name: table.assign(**{f"{k} {stage}": values(table, k) for k in KINDS if f"{k} {stage}" in table})
        for name, table in tables.items()
    }


@mutant
def silent(answer: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    """Puts the questions without the context."""
    return _set(answer, "after", lambda table, k: table[f"{k} again"])


@mutant
def chance(answer: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    """Draws every value after a context."""
    return _set(answer, "after", lambda table, k: rng.random(len(table)))


@mutant
def wrong_side(answer: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    """Takes the first option for the second one after a context."""
    return _set(answer, "after", lambda table, k: 1 - table[f"{k} after"])


@mutant
def words_for_deeds(answer: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    """Takes what is said for what is done."""
    said = {**answer, "lagging": answer["on"]}
    return {
        name: table.assign(**{f"action {s}": table[f"stated {s}"] for s in STAGES})
        for name, table in said.items() if name in ("lagging", "coupled", "free")
    }  # fmt: skip


@mutant
def without_floor(answer: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    """Takes every flip for an effect, as the published design without repeats does."""
    return _set(answer, "before", lambda table, k: table[f"{k} again"])


@mutant
def first_match(answer: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    """Takes the first letter in a reply for the answer, so that only empty ones say nothing."""
    return {"talkers": [{**one, "counted": one["empty"]} for one in answer["talkers"]]}


# The measures --------------------------------------------------------------------------------------------


MATTERS = ("on", "off")


def _log_odds(p: Any) -> Any:
    p = np.clip(p, 0.01, 0.99)
    return np.log(p / (1 - p))


def _shifts(table: pd.DataFrame) -> pd.Series:
    """Mean log-odds shift of stated beliefs by net evidence."""
    shift = _log_odds(table["stated after"]) - _log_odds(table["stated again"])
    return shift.groupby(table["net"]).mean()


def _rates(table: pd.DataFrame, n: int, kind: str = "stated") -> dict[str, float]:
    """Flips of those items that n words of evidence speak against."""
    against = (table["net"].abs() == n) & ((table[f"{kind} again"] > 0.5) == (table["net"] < 0))
    own = table[against]
    return flip_rates(*(own[f"{kind} {stage}"] for stage in ("again", "before", "after")))


@Measure.define(by={"matter": MATTERS}, gives=("slope",))
def slopes(output: Any, sample: Sample) -> list[dict[str, Any]]:
    """Slope of the log-odds shift on the net evidence up to 4 words, over the planted one."""
    rows = []
    for matter in MATTERS:
        shifts = _shifts(output[matter])
        few = shifts[np.abs(shifts.index) <= MANY]
        rows.append({"matter": matter, "slope": float(np.polyfit(few.index, few, 1)[0]) / sample.truth.eta})
    return rows


@Measure.define(by={"words": AMOUNTS}, gives=("recovered",))
def saturation(output: Any, sample: Sample) -> list[dict[str, float]]:
    """Log-odds shift over the planted one."""
    shifts = _shifts(output["on"])
    return [
        {"words": n, "recovered": float(shifts[n] - shifts[-n]) / (2 * n * sample.truth.eta)} for n in AMOUNTS
    ]


@Measure.define(by={"matter": MATTERS, "words": AMOUNTS}, gives=("excess",))
def flips(output: Any, sample: Sample) -> list[dict[str, Any]]:
    """Flips beyond those of asking again, among the items that the evidence speaks against."""
    return [
        {"matter": matter, "words": n, "excess": _rates(output[matter], n)["excess"]}
        for matter in MATTERS for n in AMOUNTS
    ]  # fmt: skip


@Measure.define(by={"action": ("coupled", "free")}, gives=("correlation",))
def deeds(output: Any, sample: Sample) -> list[dict[str, Any]]:
    """Correlation of the shifts in words and in deeds, over topics and contexts."""
    rows = []
    for action in ("coupled", "free"):
        words, deeds_ = (output[action][[f"{k} again", f"{k} after"]].to_numpy().T for k in KINDS)
        rows.append(
            {"action": action, "correlation": float(np.nan_to_num(words_and_deeds(words, deeds_)["r"]))}
        )
    return rows


@Measure.define(by={"action": ("coupled", "lagging")}, gives=("delay",))
def delays(output: Any, sample: Sample) -> list[dict[str, Any]]:
    """Words of evidence to half of the effect on actions, less those to half of the effect on stated beliefs."""

    def half(table: pd.DataFrame, kind: str) -> float:
        rate = half_effect(AMOUNTS, [_rates(table, n, kind)["excess"] for n in AMOUNTS])
        return float(np.nan_to_num(rate, nan=AMOUNTS[-1]))

    said, done = half(output["on"], "stated"), {"coupled": "on", "lagging": "lagging"}
    return [{"action": kind, "delay": half(output[name], "action") - said} for kind, name in done.items()]


@Measure.define(gives=("raw", "floor"))
def noise(output: Any, sample: Sample) -> dict[str, float]:
    """Flips of sampled answers after a context without evidence: as they are, and those of asking again."""
    table = output["sampled"]
    rates = flip_rates(*(table[f"stated {stage}"] for stage in ("again", "before", "after")))
    return {"raw": rates["F"], "floor": rates["F_0"]}


@Measure.define(by={"bad": (0.0, BAD)}, gives=("counted", "planted"))
def silences(output: Any, sample: Sample) -> list[dict[str, float]]:
    """Share of the talkers' answers that is counted as saying nothing, and that really did."""
    return [
        {"bad": bad, "counted": one["counted"] / one["answers"], "planted": one["silent"] / one["answers"]}
        for bad, one in zip((0.0, BAD), output["talkers"], strict=True)
    ]


def grids(s: Settings) -> list[Grid]:
    """One cell a seed: one town and the talkers serve all claims."""
    measures = ("slopes", "saturation", "flips", "deeds", "delays", "noise", "silences")
    return [
        Grid(
            "town_hall", ("beliefs",), measures, s.seeds,
            world_params={"topics": s.topics, "steps": s.steps, "preset": s.preset},
            method_params={"beliefs": {"repeats": s.repeats}}, cost_s=60.0,
        )
    ]  # fmt: skip


# The claims ----------------------------------------------------------------------------------------------


def _at(measure: str, **where: Any) -> str:
    return f"mean({measure}|beliefs" + "".join(f", {k}={v!r}" for k, v in where.items()) + ")"


TALKS = "54.7 % of stated beliefs after 10 rounds (GPT-5); 27.2 % after reading (Grok 4)"
OTHER_MATTER = Control(
    "as much evidence on another matter moves nothing (mean within ±0.05)",
    _at("excess", matter="off", words=MANY), low=-0.05, high=0.05, rule="mean",
)  # fmt: skip
DIRECTION: dict[str, Any] = {"same": "same direction only"}

claims = (
    Claim(
        "1", "The log-odds of stated beliefs move by what the evidence is worth (slope over the planted one, less 1)",
        f"{_at('slope', matter='on')} - 1", 0.1, Control(
            "evidence on another matter moves nothing (mean within ±0.1)", _at("slope", matter="off"), low=-0.1,
            high=0.1, rule="mean",
        ), kind="equivalence", paper="not measured: what a text is worth is not known",
    ),
    Claim(
        "2a", "Two words against a belief flip more of them than asking again does (F − F_0)",
        _at("excess", matter="on", words=2), 0.0, OTHER_MATTER, paper=TALKS, **DIRECTION,
    ),
    Claim(
        "2b", "and more words flip more (F − F_0 of 8 words less that of 1)",
        f"{_at('excess', matter='on', words=8)} - {_at('excess', matter='on', words=1)}", 0.0, OTHER_MATTER,
        paper=f"{TALKS}; longer reading shifts more", **DIRECTION,
    ),
    Claim(
        "3", "Deeds follow words where they hang on the same evidence (correlation of their shifts)",
        _at("correlation", action="coupled"), 0.9, Control(
            "where they hang on another matter they do not (mean within ±0.35)", _at("correlation", action="free"),
            low=-0.35, high=0.35, rule="mean",
        ), paper="changes of behaviour align with stated ones", **DIRECTION,
    ),
    Claim(
        "4", "Words move before deeds that evidence moves less (words of evidence to half of the effect, difference)",
        _at("delay", action="lagging"), 0.0, Control(
            "deeds that it moves as much come as early (mean within ±0.5)", _at("delay", action="coupled"), low=-0.5,
            high=0.5, rule="mean",
        ), paper="stated beliefs move in 2 to 4 rounds, behaviour in up to 10", **DIRECTION,
    ),
    Claim(
        "5", "A context without evidence flips sampled answers (F of one answer at temperature 1)", _at("raw"), 0.1,
        Control(
            "as many as asking again flips (F − F_0, mean within ±0.15)", f"{_at('raw')} - {_at('floor')}", low=-0.15,
            high=0.15,
            rule="mean",
        ), paper="one answer to each question, and no floor",
    ),
    Claim(
        "6a", "Boundary: a belief near certainty hides what it is moved by (shift of 8 words over the planted one)",
        _at("recovered", words=8), 0.9, Control(
            "two words are seen in full (at least 0.9)", _at("recovered", words=2), low=0.9, rule="mean",
        ), direction="<", kind="boundary", paper="not reported",
    ),
    Claim(
        "6b", "Boundary: every answer that says nothing is counted (share counted less share of the talkers)",
        f"{_at('counted', bad=BAD)} - {_at('planted', bad=BAD)}", 0.0, Control(
            "and none where all say something (at most 0.001 of the answers)", _at("counted", bad=0.0), high=0.001,
            rule="every",
        ), kind="identity", paper="the first match of a letter is taken",
    ),
)  # fmt: skip

FLIPS = Panel(
    "", "words", "matter", "lines", y_label="F − F_0", x_label="words against the belief",
    names={"on": "on the matter", "off": "on another"}, level=0.0,
)  # fmt: skip
study = Study(
    slug="beliefs",
    module=__name__,
    version=1,
    scales={
        "quick": Settings(seeds=1, topics=6, steps=120, preset="nano", repeats=2),
        "cpu": Settings(),
        "paper": Settings(seeds=20, topics=39, steps=4000, preset="micro", repeats=10),
    },
    grids=grids,
    worlds=(town_hall,),
    methods=(beliefs, silent, chance, wrong_side, words_for_deeds, without_floor, first_match),
    measures=(slopes, saturation, flips, deeds, delays, noise, silences),
    claims=claims,
    figures=(
        Figure(
            "flips", "Flips of stated beliefs by words of evidence against them; mean with 95 % interval over seeds.",
            chart("Evidence on the matter flips beliefs", FLIPS, width=5.4), "measure == 'excess'",
        ),
    ),
    root_seed=20261130,
    preload=("numpy", "torch", "transformers"),
)  # fmt: skip
