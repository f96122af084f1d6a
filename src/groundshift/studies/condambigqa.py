"""The study of conditional ambiguous question answering: what naming the conditions recovers (arXiv:2502.01523).

A tiny language model looks values up in a knowledge base of known ambiguity: an asker wants the dominant condition of
an entity with probability p. Every answer goes through `condambigqa.ask`, as a user's would.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from groundshift.benchmarks.condambigqa import Fragment, Gold, Question, ask, score_tables
from groundshift.lab.claims import Claim, Control
from groundshift.lab.study import Figure, Grid, Measure, Method, Sample, Study, World
from groundshift.models import tinylm
from groundshift.models.records import read_json
from groundshift.studies.drawing import Panel, chart
from groundshift.studies.keeping import kept
from groundshift.worlds import ambiguous_kb as worlds
from groundshift.worlds.ambiguous_kb import PRIORS, AmbiguousKB

CYCLE = ("direct", "given", "condition_first", "direct", "given")
SHAPE = {"initializer_range": 0.1, "tie_word_embeddings": False, "arch": "gpt2"}
LENGTHS = {"direct": 4, "condition_first": 11, "given": 4, "absent": 4}
ASKED = (*LENGTHS, "moved")  # controls: a condition that no fragment has; tags that are moved afterwards
READERS = {
    "complete": 0.6,
    "cautious": 0.7,
}  # score of each right answer; the cautious one gives a single one


@dataclass(frozen=True)
class Settings:
    """What the dial sets."""

    seeds: int = 5
    steps: int = 2500
    asked: int = 400  # questions of each group of entities
    many: int = 60  # seeds of readers and tables


@World.define()
def knowledge(rng: np.random.Generator, severity: float, *, steps: int, asked: int) -> Sample:
    """A model of one knowledge base, and its answers to questions of every group under every protocol."""
    seed = int(rng.integers(10_000))
    folder = kept("condambigqa", [seed, steps, asked], lambda out: _answer(seed, steps, asked, out), worlds)
    return Sample({"part": "knowledge", **read_json(folder / "answers.json")}, None)


def _answer(seed: int, steps: int, asked: int, out: Path) -> None:
    kb, turns = AmbiguousKB(seed=seed), cycle(CYCLE)
    model = tinylm.build("62k", kb.lexicon, positions=32, seed=seed, **SHAPE)  # type: ignore[arg-type]
    how: dict[str, Any] = {"weight_decay": 0.05, "seed": seed}
    # The rate is high for long, as the look-up is learned in a sudden step.
    how["schedule"] = lambda share: min(1.0, share / 0.05, (1 - share) / 0.3)
    done = tinylm.fit(model, lambda rng: kb.batch(rng, 32, next(turns)), steps, 2e-3, **how)
    last = np.array(done.history[-100:]).reshape(-1, 5)[:, [1, 2, 4]]  # a direct answer is a guess
    rng, groups = np.random.default_rng(seed), []
    for group, p in enumerate(PRIORS):
        drawn, texts = kb.draw(rng, asked, group), {}
        free = (drawn["fragments"][:, :, 1, None] != np.arange(kb.conditions)).all(1)
        absent = (free * rng.random(free.shape)).argmax(1)
        for protocol, length in LENGTHS.items():
            given = ("given", absent) if protocol == "absent" else (protocol,)
            prompts = kb.written(drawn, *given)[0]
            texts[protocol] = [kb.read(row) for row in tinylm.generate(model, prompts, length, temperature=0)]
        words = kb.named(drawn["fragments"])
        moves = rng.permuted(np.tile(np.arange(3), (asked, 1)), axis=1)
        groups.append({"p": p, "fragments": words, "texts": texts, "moves": moves.tolist()})
        groups[-1] |= {name: drawn[name].tolist() for name in ("place", "asker")}
    (out / "answers.json").write_text(json.dumps({"loss": float(last.mean()), "groups": groups}))


@World.define()
def readers(rng: np.random.Generator, severity: float, *, questions: int, tables: int) -> Sample:
    """Numbers of gold pairs and scores of right answers of two readers; and random tables of scores, with an order."""
    skill = {name: np.clip(rng.normal(s, 0.05, (questions, 3)), 0, 1).tolist() for name, s in READERS.items()}
    sheets = [rng.random((3, *rng.integers(1, 5, 2))) for _ in range(tables)]
    orders = [rng.permutation(sheet.shape[1]) for sheet in sheets]
    data = {"part": "readers", "several": rng.integers(2, 4, questions).tolist(), "skill": skill}
    data |= {"sheets": sheets, "orders": orders}
    return Sample(data, None)


@Method.define()
def condambigqa(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """What the benchmark says of the model, or of the readers and the tables."""
    return _measured(data)


def _measured(data: Any, pair: Any = "optimal", read: Callable[[Any], Any] = lambda entries: entries) -> Any:
    return (_knowledge if data["part"] == "knowledge" else _readers)(data, pair, read)


def _ask(questions: list[Question], answers: dict[Any, Any], names: Any, pair: Any, judge: Any) -> Any:
    """Recorded entries through the front door: a prompt names its question and protocol, and the model looks it up."""

    def named(name: str) -> Callable[[Question], str]:
        def protocol(question: Question) -> str:
            return f"{question.id} {name}"

        protocol.__name__ = name
        return protocol

    def model(chat: Any) -> str:
        return json.dumps({"conditions": answers[tuple(chat[-1]["content"].split())]})

    return ask(model, questions, protocols=[named(n) for n in names], pair=pair, judge=judge, progress=False)


def _knowledge(data: Any, pair: Any, read: Any) -> dict[str, Any]:
    tables, effects = [], []
    for group in data["groups"]:
        questions, answers = [], {}
        for k, (three, place) in enumerate(zip(group["fragments"], group["place"], strict=True)):
            gold = tuple(Gold(three[i][1], three[i][2], frozenset({i + 1})) for i in place)
            fragments = tuple(Fragment(tag, f"{entity} {c} {value}") for entity, c, value, tag in three)
            prior = tuple(float(j == group["asker"][k]) for j in range(2))
            questions.append(Question(str(k), three[0][0], fragments, gold, prior))
            for name in ASKED:
                order = group["moves"][k] if name == "moved" else range(3)
                cited = {three[i][3]: [n + 1] for i, n in enumerate(order)}
                entries = group["texts"]["condition_first" if name == "moved" else name][k]
                answers[str(k), name] = read([{**e, "citations": cited.get(e["tag"], [])} for e in entries])
        result = _ask(questions, answers, ASKED, pair, "exact")
        tables.append(result.records.assign(p=group["p"]))
        effects.append(result.effects("hit").assign(p=group["p"]))
    return {"scores": pd.concat(tables), "effects": pd.concat(effects), "loss": data["loss"]}


def _readers(data: Any, pair: Any, read: Any) -> dict[str, Any]:
    """F1 and published mean with one gold pair and with several; share of tables that another order changes."""

    def planted(_: str, expected: str, actual: str) -> float:
        return float(actual.split()[1]) * (actual.split()[0] == expected)

    rows = []
    for kind, sizes in (("one", [1] * len(data["several"])), ("several", data["several"])):
        gold = [tuple(Gold("", f"right{j}", frozenset({1})) for j in range(e)) for e in sizes]
        questions = [Question(str(k), "?", (Fragment("", ""),), own) for k, own in enumerate(gold)]
        for reader, skill in data["skill"].items():
            answers = {}
            for k, e in enumerate(sizes):
                texts = [f"right{j} {skill[k][j]}" for j in range(e if reader == "complete" else 1)]
                answers[str(k), "direct"] = read([{"answer": text, "citations": [1]} for text in texts])
            result = _ask(questions, answers, ("direct",), pair, planted)
            mean, published = result.records["partial"].mean(), result.official()["answer"].iloc[0]
            rows.append({"gold": kind, "reader": reader, "f1": mean, "published": published})
    changed = {}
    pairings: dict[str, Any] = {"default": pair, "greedy": "greedy"}
    for name, how in pairings.items():
        both = [[score_tables(*sheet[:, r], pair=how).parts for r in (slice(None), order)]
                for sheet, order in zip(data["sheets"], data["orders"], strict=True)]  # fmt: skip
        differ = [any(abs(a[x] - b[x]) > 1e-9 for x in a if a[x] == a[x]) for a, b in both]
        changed[name] = float(np.mean(differ))
    return {"readers": pd.DataFrame(rows).fillna(0.0), "changed": changed}


@Method.define(role="mutant", of=condambigqa)
def as_published(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Pairs greedily, and takes the mean over pairs for the score."""
    result = dict(_measured(data, pair="greedy"))
    if "readers" in result:
        result["readers"]["f1"] = result["readers"]["published"]
    return result


@Method.define(role="mutant", of=condambigqa)
def blind(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Takes every fragment for cited."""
    return dict(_measured(data, read=lambda entries: [{**one, "citations": [1, 2, 3]} for one in entries]))


@Method.define(role="mutant", of=condambigqa)
def silent(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Reads no answer."""
    return dict(_measured(data, read=lambda entries: []))


@Measure.define(by={"p": PRIORS, "protocol": ASKED}, gives=("hit", "first_hit", "citation_f1"))
def scores(output: Any, sample: Sample) -> list[dict[str, Any]]:
    """Mean scores of each group of entities under each protocol."""
    means = output["scores"].groupby(["p", "protocol"])[["hit", "first_hit", "citation_f1"]].mean()
    return list(means.reset_index().to_dict("records"))


@Measure.define(by={"p": PRIORS}, gives=("gain", "gain_low"))
def gains(output: Any, sample: Sample) -> list[dict[str, Any]]:
    """Gain in hits by naming the conditions first, with the lower end of its interval."""
    table = output["effects"].query("effect == 'gain_first'")[["p", "difference", "low"]]
    return list(table.set_axis(["p", "gain", "gain_low"], axis=1).to_dict("records"))


@Measure.define()
def learned(output: Any, sample: Sample) -> float:
    """Whether the model has learned to look up: its last loss, direct answers apart, is below 0.05."""
    return float(output["loss"] < 0.05)


@Measure.define(by={"gold": ("one", "several"), "reader": tuple(READERS)}, gives=("f1", "published"))
def skills(output: Any, sample: Sample) -> list[dict[str, Any]]:
    """F1 and published mean of each reader."""
    return list(output["readers"].to_dict("records"))


@Measure.define(by={"pairing": ("default", "greedy")}, gives=("changed",))
def order(output: Any, sample: Sample) -> list[dict[str, Any]]:
    """Share of the tables whose scores depend on the order of the entries."""
    return [{"pairing": name, "changed": share} for name, share in output["changed"].items()]


def _of(measure: str, **where: Any) -> str:
    return f"mean({measure}|condambigqa" + "".join(f", {k}={v!r}" for k, v in where.items()) + ")"


def _mean(text: str, estimand: str, low: float = -np.inf, high: float = np.inf) -> Control:
    return Control(text, estimand, low, high, "mean")


def _ahead(measure: str, gold: str) -> str:
    return f"({_of(measure, gold=gold, reader='cautious')} - {_of(measure, gold=gold, reader='complete')})"


NOTHING = _mean("where nothing is ambiguous nothing is gained (±0.05)", _of("gain", p=1.0), -0.05, 0.05)
BELOW = _mean(
    "where nothing is ambiguous its end is not above 0 (at most 0.02)", _of("gain_low", p=1.0), high=0.02
)
DIRECT = [_of("hit", p=p, protocol="direct") for p in PRIORS]
DISTANCE = " + ".join(f"abs({hits} - {p})" for hits, p in zip(DIRECT, np.roll(PRIORS, 2), strict=True))
OTHER = _mean("hits are not the p of another group (distance at least 0.15)", f"({DISTANCE}) / 4", low=0.15)
CITED = _of("citation_f1", protocol="given")
MISLED = _of("first_hit", protocol="absent")
ABSENT = _mean("a condition that no fragment has does not help (mean at most 0.65)", MISLED, high=0.65)
PLAIN = f"{_ahead('published', 'one')} - {_ahead('f1', 'one')}"
AGREE = _mean("with one gold pair both scores agree on the readers (within ±0.02)", PLAIN, -0.02, 0.02)
FIRST: dict[str, Any] = {"paper": "considering conditions first adds 20 %", "same": "same direction only"}
GIVEN: dict[str, Any] = {"paper": "giving the conditions adds 5 %", "same": "same direction only"}
claims = (
    Claim("1a", "Naming the conditions first helps where askers differ, p = 0.7 (gain in hits)",
          _of("gain", p=0.7), 0.15, NOTHING, **FIRST),
    Claim("1b", "and more where they differ most, p = 0.5", _of("gain", p=0.5), 0.3, NOTHING, **FIRST),
    Claim("1c", "in every seed (lower end of the interval, the smaller of both)",
          f"lowest({_of('gain_low', p=0.7)}, {_of('gain_low', p=0.5)})", 0.0, BELOW, kind="bound", **FIRST),
    Claim("1d", "The gain grows with the ambiguity (Spearman with 1 - p, in every seed)",
          "-spearman(gain|condambigqa, over='p')", 0.9, NOTHING, kind="bound", **FIRST),
    Claim("2a", "A direct answer hits as often as its condition is meant, p = 1.0 (distance, in every seed)",
          f"abs({DIRECT[0]} - 1.0)", 0.1, OTHER, kind="bound", direction="<"),
    *(Claim(f"2{letter}", f"and p = {p} (hits less p)", f"{hits} - {p}", 0.1, OTHER, kind="equivalence")
      for letter, p, hits in zip("bcd", PRIORS[1:], DIRECT[1:], strict=True)),
    Claim("3a", "A given condition suffices in every seed (hits by the first entry)",
          _of("first_hit", protocol="given"), 0.85, ABSENT, kind="bound", **GIVEN),
    Claim("3b", "and more than having named them (gain in hits by the first entry)",
          f"{_of('first_hit', protocol='given')} - {_of('first_hit', protocol='condition_first')}", 0.0, ABSENT),
    Claim("3c", "Where the given condition is in no fragment the citations are worse (citation F1)",
          f"{CITED} - {_of('citation_f1', protocol='absent')}", 0.1,
          _mean("and not where it is (at most 0.05 below those of conditions first)",
                f"{_of('citation_f1', protocol='condition_first')} - {CITED}", high=0.05)),
    Claim("4", "Citations are earned, in every seed (F1)", _of("citation_f1", protocol="condition_first"), 0.8,
          _mean("not when the fragments' tags are moved afterwards (mean at most 0.45)",
                _of("citation_f1", protocol="moved"), high=0.45), kind="bound", paper="scores of .22 to .88"),
    Claim("5a", "Boundary: the published mean prefers the reader that leaves answers out (mean answer score)",
          _ahead("published", "several"), 0.05, AGREE, kind="boundary",
          paper="direct .541 of 2,255 pairs, conditions first .534 of 2,992"),
    Claim("5b", "where the F1 prefers the one that gives all", f"-{_ahead('f1', 'several')}", 0.15, AGREE),
    Claim("6", "The order of entries changes no score (share of tables)", _of("changed", pairing="default"), 0.0,
          _mean("greedy pairing depends on it (mean at least 0.2)", _of("changed", pairing="greedy"), low=0.2),
          kind="bound", direction="<", tolerance=1e-9, paper="greedy pairs"),
)  # fmt: skip


def grids(s: Settings) -> list[Grid]:
    """The model, and what is cheap on many seeds."""
    own, model = ("condambigqa",), {"steps": s.steps, "asked": s.asked}
    return [
        Grid("knowledge", own, ("scores", "gains", "learned"), s.seeds, world_params=model, cost_s=50.0),
        Grid("readers", own, ("skills", "order"), s.many, world_params={"questions": 40, "tables": 25}),
    ]


TITLE = "Naming the conditions recovers what ambiguity costs"
CAPTION = "How often an asker's answer is among those given, by how often the dominant condition is meant."
study = Study(
    slug="condambigqa", module=__name__, version=1, grids=grids, claims=claims,
    scales={
        "quick": Settings(2, steps=20, asked=12, many=3), "cpu": Settings(),
        "paper": Settings(seeds=20, steps=6000, asked=1000, many=200),
    },
    worlds=(knowledge, readers),
    methods=(condambigqa, as_published, blind, silent),
    measures=(scores, gains, learned, skills, order),
    figures=(Figure("hits", CAPTION, chart(TITLE, Panel("", "p", "protocol", y_label="hits")), "measure == 'hit'"),),
    root_seed=20261204, preload=("numpy", "torch", "transformers"),
)  # fmt: skip
