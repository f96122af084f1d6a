"""The study of thirty tasks on hierarchies (arXiv:2503.00912).

Reference solvers with planted deficits answer from the prompt's text, right answers are spelt in harmless ways and
corrupted in named ones, and a tiny transformer learns the operations from edges: its trees, names and orders are drawn.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from groundshift.benchmarks.hibench import FORMS, TASKS, Tree, answer, build, extract, parse, render
from groundshift.benchmarks.hibench.building import INTRO
from groundshift.benchmarks.hibench.scoring import GRADES
from groundshift.benchmarks.hibench.tasks import written
from groundshift.lab.claims import Claim, Control
from groundshift.lab.study import Figure, Grid, Measure, Method, Sample, Study, World
from groundshift.models import tinylm
from groundshift.models.items import Item, grade_items
from groundshift.studies.drawing import Panel, chart
from groundshift.studies.keeping import kept
from groundshift.worlds import hierarchies
from groundshift.worlds import tinylm as worlds
from groundshift.worlds.hierarchies import from_json, read_node
from groundshift.worlds.hierarchies.formulas import NOTATIONS, read
from groundshift.worlds.hierarchies.lessons import (
    LEXICON,
    ROW,
    SPELLINGS,
    batch,
    question,
    small_tree,
    wrong_answers,
)

PLANTED: dict[str, tuple[str, Any]] = {
    "local": ("dimension", ("B", "C")), "no_modify": ("dimension", ("C",)), "shallow": ("levels", range(4, 10)),
    "unordered": ("answer_type", ("list",)), "form_blind": ("form", ("drawing",)),
}  # fmt: skip
"""Solver → where its profile must fall most: a column of the records, and the right levels of it."""
SOLVERS = ("perfect", *PLANTED, "guess")
ARMS, LEARNT = ("base", "tuned", "placebo"), ("root", "leaf", "node_depth", "common_ancestor", "all_ancestor")
PARTS = ("all", "shallow", "deep", "root", "root shallow", "root deep", "above majority")


@dataclass(frozen=True)
class Settings:
    """What the dial sets."""

    seeds: int = 10
    per_task: int = 24
    trees: int = 200
    """Of each corruption."""
    learners: int = 5
    first: int = 300
    then: int = 1200
    """Steps of the base on the first two tasks, and of each tune on all five."""
    preset: str = "62k"
    tests: int = 600


# Part 1: solvers with planted deficits, who read the prompt --------------------------------------------------


@cache
def _patterns() -> dict[str, re.Pattern[str]]:
    return {
        name: re.compile(re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>.*?)", re.escape(task.question)), re.S)
        for name, task in TASKS.items()
        if task.scenario not in ("code", "paper")
    }


def understand(prompt: str) -> tuple[Any, str, Any, dict[str, Any]]:
    """Structure, form, task and arguments, from the text alone."""
    intro, rest = prompt.split("\n", 1)
    text, asked = rest.rsplit("\n\n", 1)
    form, question = next(name for name, words in INTRO.items() if words == intro), asked.rsplit("\n", 1)[0]
    structure: Any = parse(text, form) if form in FORMS else read(text, form) if form in NOTATIONS else None
    structure = from_json(json.loads(text)) if structure is None else structure
    task, found = next((TASKS[n], m) for n, p in _patterns().items() if (m := p.fullmatch(question)))
    arguments = {
        k: read_node(v) if k in ("node", "first", "second", "new") else v
        for k, v in found.groupdict().items()
    }
    return structure, form, task, arguments | ({"form": form} if task.name == "isomorphic" else {})


def solve(solver: str, prompt: str, rng: np.random.Generator) -> str:
    """What a solver answers."""
    s, form, task, arguments = understand(prompt)
    options = list(task.guesses(s, arguments))
    guess = written(options[rng.integers(len(options))], task.kind, form) if options else "?"
    nodes = [v for k, v in arguments.items() if k in ("node", "first", "second")]
    tree = isinstance(s, Tree)
    if solver == "guess" or (solver == "form_blind" and form == "drawing"):
        return guess if solver == "guess" else "?"
    if solver == "local" and tree:
        if task.dimension != "A" or not nodes:
            return guess
        edges = [edge for edge in s.edges if set(edge) & set(nodes)]
        s = Tree.of(edges, nodes, forest=True, kind=s.kind, attributes=s.attributes)
    if solver == "shallow" and tree:
        edges = [edge for edge in s.edges if s.level[edge[1]] <= 3]
        s = Tree.of(edges, [s.root], side=s.side, kind=s.kind, attributes=s.attributes)
    if not set(nodes) <= (set(s.nodes) if tree else set()):
        return guess
    if solver == "no_modify" and task.dimension == "C":
        return render(s, form)
    try:
        result = answer(s, task.name, **arguments)
    except (StopIteration, ValueError, KeyError, IndexError):  # the part that it sees holds no answer
        return guess
    if solver == "unordered" and task.kind == "list":
        result = [result[k] for k in rng.permutation(len(result))]
    return guess if result is None else written(result, task.kind, arguments.get("notation", form))


def _said(text: str) -> str:
    return json.dumps({"answer": text})


@World.define()
def solvers(rng: np.random.Generator, severity: float, *, per_task: int) -> Sample:
    """Questions of the trees, documents and formulas, and what each solver answers."""
    items = build(
        scenarios=["multi_tree", "binary", "json", "formula"],
        per_task=per_task,
        n=1,
        seed=int(rng.integers(2**31)),
    )
    items = [item for item in items if item.facts["difficulty"] != "hard" or item.facts["scenario"] != "json"]
    answers = {s: [_said(solve(s, item.messages[1]["content"], rng)) for item in items] for s in SOLVERS}
    return Sample({"items": items, "answers": answers}, PLANTED)


# Part 2: right answers in harmless spellings, and wrong ones by name; published labels -----------------------


@World.define()
def corruptions(rng: np.random.Generator, severity: float, *, trees: int) -> Sample:
    """Right answers, spelt in one of twelve ways, and wrong ones."""
    items, said = [], []
    for k in range(trees):
        for name, task, form, right, wrong in wrong_answers(rng):
            own = {"answer_type": TASKS[task].kind, "answer_form": form, "scenario": TASKS[task].scenario}
            items += [Item(f"{k} {name}", right, own | {"what": what}) for what in ("right", name)]
            said += [SPELLINGS[rng.integers(12)](json.dumps(right)), SPELLINGS[0](json.dumps(wrong))]
    return Sample({"items": items, "answers": {"said": said}}, None)


@World.define()
def depths(rng: np.random.Generator, severity: float, *, trees: int) -> Sample:
    """Depths of nodes by the two kinds of labels, and the true ones as answers."""
    items, said = [], []
    for k in range(trees):
        tree = small_tree(rng, 15)
        node = tree.nodes[rng.integers(len(tree.nodes))]
        for what in ("true", "published"):
            right = str(answer(tree, "node_depth", what, node=node))
            items.append(Item(f"{k}", right, {"what": what, "answer_type": "integer"}))
            said.append(SPELLINGS[0](str(answer(tree, "node_depth", node=node))))
    return Sample({"items": items, "answers": {"perfect": said}}, None)


# Part 3: a learner ------------------------------------------------------------------------------------------


def _learn(seed: int, steps: tuple[int, int], preset: str, prompts: list[str], out: Path) -> None:
    """The answers of the three arms."""
    size: dict[str, Any] = {"positions": ROW + 8, "arch": "gpt2", "seed": seed}
    base = tinylm.build(preset, LEXICON, **size)
    for k, arm in enumerate(ARMS):
        net = base if arm == "base" else tinylm.build(preset, LEXICON, **size)
        net.load_state_dict(base.state_dict())
        data = partial(batch, tasks=LEARNT[:2] if arm == "base" else LEARNT, permuted=arm == "placebo")
        tinylm.fit(net, data, steps[arm != "base"], 3e-3, warmup=0.1, weight_decay=0.03, seed=seed + k)
        said = tinylm.generate(net, [LEXICON.encode(text) for text in prompts], 8, temperature=0.0)
        answers = [LEXICON.decode(row).replace("<eos>", "").strip() for row in said]
        (out / f"{arm}.json").write_text(json.dumps(answers))


@World.define()
def learner(
    rng: np.random.Generator, severity: float, *, first: int, then: int, preset: str, tests: int
) -> Sample:
    """Answers of tiny transformers to new trees: after the basics, after all five tasks, after permuted answers."""
    seed = int(rng.integers(2**31))
    drawn = [(task, *question(rng, task)) for task in LEARNT for _ in range(tests // len(LEARNT))]
    texts = [text for _, text, _, _ in drawn]
    recipe = [seed, first, then, preset, texts]
    folder = kept("hibench", recipe, partial(_learn, seed, (first, then), preset, texts), worlds, hierarchies)
    said = {arm: json.loads((folder / f"{arm}.json").read_text()) for arm in ARMS}
    items = [
        Item(f"{k} {text}", right, {"asked": task, "level": level, "answer_type": "text"})
        for k, (task, text, right, level) in enumerate(drawn)
    ]
    return Sample({"items": items, "answers": {arm: [_said(a) for a in said[arm]] for arm in ARMS}}, None)


# The method: answers are graded ------------------------------------------------------------------------------


def _graded(data: Any, grade: Callable[..., Any]) -> pd.DataFrame:
    tables = [
        grade_items(data["items"], answers, extract, grade, task="hibench", version="1", model=who)
        for who, answers in data["answers"].items()
    ]
    return pd.concat(tables, ignore_index=True)


@Method.define()
def hibench(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """The strict scorers."""
    return {"records": _graded(data, GRADES["strict"])}


def mutant(
    name: str, doc: str, change: Callable[[pd.DataFrame, np.random.Generator], Any], grade: str = "strict"
) -> Method:
    """A broken version: what it makes of the verdicts."""

    def run(data: Any, rng: np.random.Generator) -> dict[str, Any]:
        records = _graded(data, GRADES[grade])
        return {"records": records.assign(correct=change(records, rng))}

    run.__name__, run.__doc__ = name, doc
    return Method.define(role="mutant", of=hibench)(run)


published = mutant(
    "published", "The matchers of the paper's repository.", lambda r, rng: r["correct"], "published"
)
silent = mutant("silent", "Finds every answer wrong.", lambda r, rng: 0.0)
generous = mutant("generous", "Finds every answer right.", lambda r, rng: 1.0)
shuffled = mutant(
    "shuffled", "Mixes up whose verdicts are whose.", lambda r, rng: rng.permutation(r["correct"])
)


# Measures ----------------------------------------------------------------------------------------------------


def _shares(records: pd.DataFrame, column: str) -> pd.Series:
    return records.groupby(column)["correct"].mean()


@Measure.define(by={"solver": tuple(PLANTED)}, gives=("named",))
def deficits(output: Any, sample: Sample) -> list[dict[str, Any]]:
    """Whether the profile falls most, against the perfect solver's, where the deficit was planted."""
    records = dict(list(output["records"].groupby("model")))
    rows = []
    for solver, (column, right) in sample.truth.items():
        drop = _shares(records["perfect"], column) - _shares(records[solver], column)
        rows.append({"solver": solver, "named": float(drop.max() > 0 and drop.idxmax() in right)})
    return rows


@Measure.define(gives=("excess",))
def above_chance(output: Any, sample: Sample) -> float:
    """The largest z of a dimension's share over its chance, of the guessing solver."""
    own = output["records"].query("model == 'guess'")
    table = own.groupby("dimension").agg(
        right=("correct", "mean"), chance=("chance", "mean"), n=("id", "size")
    )
    error = np.sqrt((table["chance"] * (1 - table["chance"])).clip(1e-4) / table["n"])
    return float(((table["right"] - table["chance"]) / error).max())


@Measure.define(by={"solver": SOLVERS, "labels": ("own", "permuted")}, gives=("gap",))
def form_gap(output: Any, sample: Sample) -> list[dict[str, Any]]:
    """Share right on edges less that on drawings, and with the labels of the forms permuted."""
    rows, rng = [], np.random.default_rng(0)
    for solver, records in output["records"].groupby("model"):
        records = records[records["form"].isin(["edge", "drawing"])]
        for labels, form in (("own", records["form"]), ("permuted", rng.permutation(records["form"]))):
            share = _shares(records.assign(form=form), "form")
            rows.append({"solver": solver, "labels": labels, "gap": float(share["edge"] - share["drawing"])})
    return rows


@Measure.define(better="lower", gives=("false_accepts", "false_rejects", "sixth"))
def scorer(output: Any, sample: Sample) -> dict[str, float]:
    """Shares of wrong answers accepted and of right ones rejected; acceptance of the sixth most accepted corruption."""
    shares = _shares(output["records"], "what")
    wrong = shares.drop("right")
    return {
        "false_accepts": float(wrong.mean()),
        "false_rejects": float(1 - shares["right"]),
        "sixth": float(wrong.nlargest(6).min()),
    }


@Measure.define(by={"labels": ("true", "published")}, gives=("agreement",))
def agreement(output: Any, sample: Sample) -> list[dict[str, Any]]:
    """Share of true depths that are right by each kind of labels."""
    shares = _shares(output["records"], "what")
    return [{"labels": name, "agreement": float(shares[name])} for name in ("true", "published")]


@Measure.define(by={"arm": ARMS, "part": PARTS}, gives=("accuracy",))
def accuracy(output: Any, sample: Sample) -> list[dict[str, Any]]:
    """Means of the tasks' shares: of all, of the three hard tasks near and far from the root, of the root."""
    rows = []
    for arm, records in output["records"].groupby("model"):
        hard, root = (records[records["asked"].isin(names)] for names in (LEARNT[2:], LEARNT[:1]))
        majority = hard.groupby("asked")["target"].agg(
            lambda target: target.value_counts(normalize=True).max()
        )
        shares = {"all": _shares(records, "asked").mean(), "root": root["correct"].mean()}
        for name, part in (("", hard), ("root ", root)):
            shares[f"{name}shallow"] = _shares(part[part["level"] <= 2], "asked").mean()
            shares[f"{name}deep"] = _shares(part[part["level"] >= 4], "asked").mean()
        shares["above majority"] = (_shares(hard, "asked") - majority).mean()
        rows += [{"arm": arm, "part": part, "accuracy": float(shares[part])} for part in PARTS]
    return rows


# Claims ------------------------------------------------------------------------------------------------------


def _of(measure: str, method: str = "hibench", **where: Any) -> str:
    return f"mean({measure}|{method}" + "".join(f", {k}={v!r}" for k, v in where.items()) + ")"


def _part(part: str, arm: str = "tuned") -> str:
    return _of("accuracy", arm=arm, part=part)


def _mean(text: str, estimand: str, low: float = -np.inf, high: float = np.inf) -> Control:
    return Control(text, estimand, low, high, "mean")


NAMED = f"lowest({', '.join(_of('named', solver=name) for name in PLANTED)})"
OTHERS = ", ".join(f"abs({_of('gap', solver=s, labels='own')})" for s in ("perfect", "local", "no_modify"))
BASICS: dict[str, Any] = {
    "paper": "basic tasks are easy, complex structure is hard",
    "same": "same direction only",
}
TUNED: dict[str, Any] = {
    "paper": "+88.84 % (Llama-3.1-8B), +31.38 % (Qwen2.5-7B)",
    "same": "same direction only",
}
PLACEBO = _mean("permuted answers teach no more than the commonest answer (mean at most 0.05 above it)",
                _part("above majority", "placebo"), high=0.05)  # fmt: skip
claims = (
    Claim("1a", "Deeper is harder: depth, ancestors and common ancestors near the root less those far from it (share right)",
          f"{_part('shallow')} - {_part('deep')}", 0.2,
          _mean("the root itself is as easy in deep trees (mean within ±0.05)",
                f"{_part('root shallow')} - {_part('root deep')}", -0.05, 0.05), **BASICS),
    Claim("1b", "Basic operations are easy: the root is right in every seed (share)", _part("root"), 0.95,
          _mean("not after permuted answers (mean at most 0.5)", _part("root", "placebo"), high=0.5), kind="bound", **BASICS),
    Claim("2a", "A small instruction set lifts the score of a model that knows the basics (tuned less base)",
          f"{_part('all')} - {_part('all', 'base')}", 0.15, PLACEBO, **TUNED),
    Claim("2b", "and not by the form of the answers alone (tuned less permuted answers)",
          f"{_part('all')} - {_part('all', 'placebo')}", 0.15, PLACEBO, **TUNED),
    Claim("3", "The profile names each of five planted deficits, in every seed", NAMED, 0.5,
          _mean("guesses are above chance in no dimension (mean of the largest z at most 2)", _of("excess"), high=2.0),
          kind="bound", paper="not measured"),
    Claim("4", "A drawing is harder only for a model that cannot read it (edges less drawings)",
          _of("gap", solver="form_blind", labels="own"), 0.5,
          _mean("with permuted labels of forms the gap is none (mean within ±0.05)",
                _of("gap", solver="form_blind", labels="permuted"), -0.05, 0.05), kind="bound", paper="implicit forms are harder"),
    Claim("4b", "and not for solvers that read both (largest gap of three)", f"highest({OTHERS})", 0.02,
          _mean("the solver that cannot read drawings has one (mean at least 0.5)",
                _of("gap", solver="form_blind", labels="own"), low=0.5), kind="bound", direction="<", paper="not measured"),
    Claim("5", "The scorers accept no wrong answer and reject no right one in twelve spellings, in any seed (share)",
          f"highest({_of('false_accepts')}, {_of('false_rejects')})", 0.0005,
          _mean("the published matchers accept six corruptions (sixth largest share at least 0.95)",
                _of("sixth", "published"), low=0.95), kind="bound", direction="<", paper="string containment"),
    Claim("6", "Boundary: few published depths are true, so that a perfect model scores low (share)",
          _of("agreement", labels="published"), 0.25,
          _mean("by true labels it is perfect (mean at least 0.999)", _of("agreement", labels="true"), low=0.999),
          kind="boundary", direction="<", paper="17 % mean on that task", same="same direction only"),
)  # fmt: skip


def grids(s: Settings) -> list[Grid]:
    """A grid for each part."""
    own = ("hibench",)
    return [
        Grid("solvers", own, ("deficits", "above_chance", "form_gap"), s.seeds, world_params={"per_task": s.per_task}, cost_s=6.0),
        Grid("corruptions", (*own, "published"), ("scorer",), s.seeds, world_params={"trees": s.trees}, cost_s=3.0),
        Grid("depths", own, ("agreement",), s.seeds, world_params={"trees": s.trees}, cost_s=1.0),
        Grid("learner", own, ("accuracy",), s.learners, cost_s=45.0,
             world_params={"first": s.first, "then": s.then, "preset": s.preset, "tests": s.tests}),
    ]  # fmt: skip


study = Study(
    slug="hibench",
    module=__name__,
    version=1,
    scales={
        "quick": Settings(1, 6, 20, 1, 30, 40, "nano", 100),
        "cpu": Settings(),
        "paper": Settings(20, 100, 2000, 20, 2000, 8000, "600k", 5000),
    },
    grids=grids,
    worlds=(solvers, corruptions, depths, learner),
    methods=(hibench, published, silent, generous, shuffled),
    measures=(deficits, above_chance, form_gap, scorer, agreement, accuracy),
    claims=claims,
    figures=(
        Figure(
            "parts",
            "Share right of a tiny transformer after the basics, after a small instruction set, and after the same with "
            "permuted answers; a dot for each seed.",
            chart(
                "A small instruction set lifts, and depth stays hard",
                Panel("", "part", "arm", y_label="share right"),
                width=11.0,
            ),
            "measure == 'accuracy'",
        ),
    ),
    root_seed=20261202,
    preload=("numpy", "torch", "transformers"),
)
