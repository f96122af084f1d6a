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
KINDS = ("coupled", "lagging", "free")
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
    repeats: int = 3
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
    items = {kind: _items(world, k) for k, kind in enumerate(KINDS, 1)}
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
        contexts: Mapping[int, str], kind: str, *questions: str, samples: int | None = None
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
    silent: list[bool] = []

    def talker(messages: list[dict[str, str]]) -> str:
        """Answers by sigma(belief); one that said nothing will say nothing when it is asked again."""
        text = messages[-1]["content"]
        if text.startswith("Please end"):
            return "I said what I had to say."
        silent.append(bool(rng.random() < bad))
        if silent[-1]:
            return ("The answer is: the second", "A and B are both fine.", "")[int(rng.integers(3))]
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
    return {"silent": sum(silent), "counted": int(result.asked["silent"].sum()), "answers": len(silent)}


Tables = dict[str, Any]


def _changed(
    data: Any, rng: np.random.Generator, repeats: int, change: Callable[[pd.DataFrame], pd.DataFrame]
) -> Tables:
    """The method's answer with all tables changed."""
    answer = beliefs.run(data, rng, repeats=repeats)
    return {k: change(v.copy()) if isinstance(v, pd.DataFrame) else v for k, v in answer.items()}


def _set(table: pd.DataFrame, stage: str, values: Callable[[pd.DataFrame, str], Any]) -> pd.DataFrame:
    """A table with other values of one stage; ``values`` from the table and the question."""
    for kind in ("stated", "action"):
        if f"{kind} {stage}" in table:
            table[f"{kind} {stage}"] = values(table, kind)
    return table


@Method.define(role="mutant", of=beliefs)
def silent(data: Any, rng: np.random.Generator, *, repeats: int) -> Tables:
    """Puts the questions without the context, as if nothing had been read."""
    return _changed(data, rng, repeats, lambda t: _set(t, "after", lambda own, kind: own[f"{kind} again"]))


@Method.define(role="mutant", of=beliefs)
def chance(data: Any, rng: np.random.Generator, *, repeats: int) -> Tables:
    """Draws every value after a context."""
    return _changed(data, rng, repeats, lambda t: _set(t, "after", lambda own, kind: rng.random(len(own))))


@Method.define(role="mutant", of=beliefs)
def wrong_side(data: Any, rng: np.random.Generator, *, repeats: int) -> Tables:
    """Takes the first option for the opposing one after a context."""
    return _changed(
        data, rng, repeats, lambda t: _set(t, "after", lambda own, kind: 1 - own[f"{kind} after"])
    )


@Method.define(role="mutant", of=beliefs)
def deaf_to_deeds(data: Any, rng: np.random.Generator, *, repeats: int) -> Tables:
    """Takes words for deeds."""
    answer = dict(beliefs.run(data, rng, repeats=repeats))
    words = answer["on"].rename(columns={f"stated {s}": f"action {s}" for s in ("before", "again", "after")})
    answer["lagging"] = words.loc[:, ~words.columns.duplicated()]
    for kind in ("coupled", "free"):
        for stage in ("before", "again", "after"):
            answer[kind][f"action {stage}"] = answer[kind][f"stated {stage}"]
    return answer


@Method.define(role="mutant", of=beliefs)
def without_floor(data: Any, rng: np.random.Generator, *, repeats: int) -> Tables:
    """Takes every flip for an effect, as the published design without repeats does."""
    return _changed(data, rng, repeats, lambda t: _set(t, "before", lambda own, kind: own[f"{kind} again"]))


@Method.define(role="mutant", of=beliefs)
def first_match(data: Any, rng: np.random.Generator, *, repeats: int) -> Tables:
    """Takes the first letter that stands anywhere for the answer, and so finds one in most replies."""
    answer = dict(beliefs.run(data, rng, repeats=repeats))
    answer["talkers"] = [{**one, "counted": one["counted"] // 3} for one in answer["talkers"]]
    return answer


@Method.define(role="mutant", of=beliefs)
def any_matter(data: Any, rng: np.random.Generator, *, repeats: int) -> Tables:
    """Reads evidence on another matter as if it were on this one."""
    answer = dict(beliefs.run(data, rng, repeats=repeats))
    return answer | {"off": answer["on"]}


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
    for kind in ("coupled", "free"):
        own = output[kind]
        pairs = [
            own[[f"{question} again", f"{question} after"]].to_numpy().T for question in ("stated", "action")
        ]
        rows.append({"action": kind, "correlation": float(np.nan_to_num(words_and_deeds(*pairs)["r"]))})
    return rows


@Measure.define(by={"action": ("coupled", "lagging")}, gives=("delay",))
def delays(output: Any, sample: Sample) -> list[dict[str, Any]]:
    """Words of evidence to half of the effect on actions, less those to half of the effect on stated beliefs."""

    def half(table: pd.DataFrame, kind: str) -> float:
        rate = half_effect(AMOUNTS, [_rates(table, n, kind)["excess"] for n in AMOUNTS])
        return float(np.nan_to_num(rate, nan=AMOUNTS[-1]))

    said, done = half(output["on"], "stated"), {"coupled": "on", "lagging": "lagging"}
    return [{"action": kind, "delay": half(output[name], "action") - said} for kind, name in done.items()]


@Measure.define(gives=("raw", "beyond"))
def noise(output: Any, sample: Sample) -> dict[str, float]:
    """Flips of sampled answers after a context without evidence: as they are, and beyond those of asking again."""
    table = output["sampled"]
    rates = flip_rates(*(table[f"stated {stage}"] for stage in ("again", "before", "after")))
    return {"raw": rates["F"], "beyond": rates["excess"]}


@Measure.define(by={"bad": (0.0, BAD)}, gives=("counted", "share"))
def silences(output: Any, sample: Sample) -> list[dict[str, float]]:
    """How many of the answers that say nothing are counted so, and which share of all answers that is."""
    return [
        {"bad": bad, "counted": one["counted"] / one["silent"] if one["silent"] else 1.0,
         "share": one["counted"] / one["answers"]}
        for bad, one in zip((0.0, BAD), output["talkers"], strict=True)
    ]  # fmt: skip


def grids(s: Settings) -> list[Grid]:
    """One cell a seed: one town and the talkers serve all claims."""
    measures = ("slopes", "saturation", "flips", "deeds", "delays", "noise", "silences")
    return [
        Grid(
            "town", ("beliefs",), measures, s.seeds,
            world_params={"topics": s.topics, "steps": s.steps, "preset": s.preset},
            method_params={"beliefs": {"repeats": s.repeats}}, cost_s=65.0,
        )
    ]  # fmt: skip


# The claims ----------------------------------------------------------------------------------------------


def _at(measure: str, **where: Any) -> str:
    return f"mean({measure}|beliefs" + "".join(f", {k}={v!r}" for k, v in where.items()) + ")"


OURS: dict[str, Any] = {"same": "analogue"}
TALKS = "54.7 % of stated beliefs after 10 rounds (GPT-5); 27.2 % after reading (Grok 4)"
ELSEWHERE = Control(
    "as much evidence on another matter moves nothing (mean within ±0.05)",
    _at("excess", matter="off", words=MANY), low=-0.05, high=0.05, rule="mean",
)  # fmt: skip

claims = (
    Claim(
        "1", "The log-odds of stated beliefs move by what the evidence is worth (slope over the planted one, less 1)",
        f"{_at('slope', matter='on')} - 1", 0.1, Control(
            "evidence on another matter moves nothing (mean within ±0.1)", _at("slope", matter="off"), low=-0.1,
            high=0.1, rule="mean",
        ), kind="equivalence", paper="not measured: what a text is worth is not known", **OURS,
    ),
    Claim(
        "2a", "Two words against a belief flip more of them than asking again does (F − F_0)",
        _at("excess", matter="on", words=2), 0.0, ELSEWHERE, paper=TALKS, same="same direction only",
    ),
    Claim(
        "2b", "and more words flip more (F − F_0 of 8 words less that of 1)",
        f"{_at('excess', matter='on', words=8)} - {_at('excess', matter='on', words=1)}", 0.1, ELSEWHERE,
        paper=f"{TALKS}; longer reading shifts more", same="same direction only",
    ),
    Claim(
        "3", "Deeds follow words where they hang on the same evidence (correlation of their shifts)",
        _at("correlation", action="coupled"), 0.9, Control(
            "where they hang on another matter they do not (mean within ±0.35)", _at("correlation", action="free"),
            low=-0.35, high=0.35, rule="mean",
        ), paper="changes of behaviour align with stated ones", same="same direction only",
    ),
    Claim(
        "4", "Words move before deeds that evidence moves less (words of evidence to half of the effect, difference)",
        _at("delay", action="lagging"), 0.0, Control(
            "deeds that it moves as much come as early (mean within ±0.4)", _at("delay", action="coupled"), low=-0.4,
            high=0.4, rule="mean",
        ), paper="stated beliefs move in 2 to 4 rounds, behaviour in up to 10", same="same direction only",
    ),
    Claim(
        "5", "A context without evidence flips sampled answers (F of one answer at temperature 1)", _at("raw"), 0.1,
        Control(
            "as many as asking again flips (F − F_0, mean within ±0.15)", _at("beyond"), low=-0.15, high=0.15,
            rule="mean",
        ), paper="one answer to each question, and no floor", **OURS,
    ),
    Claim(
        "6a", "Boundary: a belief near certainty hides what it is moved by (shift of 8 words over the planted one)",
        _at("recovered", words=8), 0.9, Control(
            "two words are seen in full (at least 0.9)", _at("recovered", words=2), low=0.9, rule="mean",
        ), direction="<", kind="boundary", paper="not reported", **OURS,
    ),
    Claim(
        "6b", "Boundary: every answer that says nothing is counted (counted of those of the talkers)",
        _at("counted", bad=BAD), 1.0, Control(
            "and none where all say something (at most 0.001 of the answers)", _at("share", bad=0.0), high=0.001,
            rule="every",
        ), kind="identity", paper="the first match of a letter is taken", **OURS,
    ),
)  # fmt: skip


NAMES = {"on": "on the matter", "off": "on another", "coupled": "same evidence", "free": "another matter"}
study = Study(
    slug="beliefs",
    module=__name__,
    version=1,
    scales={
        "quick": Settings(seeds=2, topics=6, steps=150, preset="nano", repeats=1),
        "cpu": Settings(),
        "paper": Settings(seeds=20, topics=39, steps=4000, preset="micro", repeats=10),
    },
    grids=grids,
    worlds=(town_hall,),
    methods=(
        beliefs, silent, chance, wrong_side, deaf_to_deeds, without_floor, first_match, any_matter,
    ),
    measures=(slopes, saturation, flips, deeds, delays, noise, silences),
    claims=claims,
    figures=(
        Figure(
            "flips", "Flips of stated beliefs by words of evidence against them; mean with 95 % interval over seeds.",
            chart(
                "Evidence on the matter flips beliefs",
                Panel("", "words", "matter", kind="lines", y_label="F − F_0", x_label="words against", names=NAMES, level=0.0),
                width=5.4,
            ), "measure == 'excess'",
        ),
        Figure(
            "deeds", "Correlation of the shifts in words and in deeds; a dot is a seed.",
            chart(
                "Deeds follow words where they hang on the same evidence",
                Panel("", "action", "action", y_label="correlation", names=NAMES, level=0.9), width=5.4,
            ), "measure == 'correlation'",
        ),
    ),
    root_seed=20261130,
    preload=("numpy", "torch", "transformers"),
)  # fmt: skip
