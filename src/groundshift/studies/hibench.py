"""The study of thirty tasks on hierarchies (arXiv:2503.00912).

Reference solvers with planted deficits answer from the prompt's text, right answers are spelt in harmless ways and
corrupted in named ones, and a tiny transformer learns the operations from edges: its trees, names and orders are drawn.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from groundshift.benchmarks.hibench import TASKS, answer, build, extract
from groundshift.benchmarks.hibench.scoring import GRADES
from groundshift.lab.claims import Claim, Control
from groundshift.lab.study import Figure, Grid, Measure, Method, Sample, Study, World
from groundshift.models import tinylm
from groundshift.models.items import Item, grade_items
from groundshift.studies.drawing import Panel, chart
from groundshift.studies.keeping import kept
from groundshift.studies.reference_solvers import PLANTED, SOLVERS, solve
from groundshift.worlds import hierarchies
from groundshift.worlds import tinylm as worlds
from groundshift.worlds.hierarchies import lessons

ARMS, LEARNT = ("base", "tuned", "placebo"), ("root", "leaf", "node_depth", "common_ancestor", "all_ancestor")
READERS = ("form_blind", "perfect", "no_modify")
PARTS = ("all", "shallow", "deep", "root", "root shallow", "root deep", "over")


@dataclass(frozen=True)
class Settings:
    """What the dial sets."""

    seeds: int = 10
    per_task: int = 24
    trees: int = 200
    learners: int = 5
    first: int = 600
    then: int = 1200
    """Steps of the base on the first two tasks, and of each tune on all five."""
    preset: str = "62k"
    tests: int = 600


# Part 1: solvers with planted deficits, who read the prompt --------------------------------------------------


def _said(text: str) -> str:
    return json.dumps({"answer": text})


@World.define()
def solvers(rng: np.random.Generator, severity: float, *, per_task: int) -> Sample:
    """Questions of the trees, documents and formulas, and what each solver answers."""
    scenarios, seed = ["multi_tree", "binary", "json", "formula"], int(rng.integers(2**31))
    items = build(scenarios=scenarios, per_task=per_task, n=1, seed=seed)
    items = [item for item in items if item.facts["difficulty"] != "hard" or item.facts["scenario"] != "json"]
    answers = {s: [_said(solve(s, item.messages[1]["content"], rng)) for item in items] for s in SOLVERS}
    return Sample({"items": items, "answers": answers}, seed)


# Part 2: right answers in harmless spellings, and wrong ones by name; published labels -----------------------


@World.define()
def corruptions(rng: np.random.Generator, severity: float, *, trees: int) -> Sample:
    """Right answers, spelt in one of twelve ways, and wrong ones."""
    items, said = [], []
    for k in range(trees):
        for name, task, form, right, wrong in lessons.wrong_answers(rng):
            own = {"answer_type": TASKS[task].kind, "answer_form": form, "scenario": TASKS[task].scenario}
            items += [Item(f"{k} {name}", right, own | {"what": what}) for what in ("right", name)]
            said += [lessons.SPELLINGS[rng.integers(12)](json.dumps(right)), _said(wrong)]
    return Sample({"items": items, "answers": {"said": said}}, None)


@World.define()
def depths(rng: np.random.Generator, severity: float, *, trees: int) -> Sample:
    """Depths of nodes by the two kinds of labels, and the true ones as answers."""
    items, said = [], []
    for k in range(trees):
        tree = lessons.small_tree(rng, 15)
        node = tree.nodes[rng.integers(len(tree.nodes))]
        for what in ("true", "published"):
            right = str(answer(tree, "node_depth", what, node=node))
            items.append(Item(f"{k}", right, {"what": what, "answer_type": "integer"}))
            said.append(_said(str(answer(tree, "node_depth", node=node))))
    return Sample({"items": items, "answers": {"perfect": said}}, None)


# Part 3: a learner ------------------------------------------------------------------------------------------


def _learn(seed: int, steps: tuple[int, int], preset: str, prompts: list[str], out: Path) -> None:
    """The answers of the three arms."""
    size: dict[str, Any] = {"positions": lessons.ROW + 8, "arch": "gpt2", "seed": seed}
    base = tinylm.build(preset, lessons.LEXICON, **size)
    for k, arm in enumerate(ARMS):
        net = base if arm == "base" else tinylm.build(preset, lessons.LEXICON, **size)
        net.load_state_dict(base.state_dict())
        data = partial(
            lessons.batch, tasks=LEARNT[:2] if arm == "base" else LEARNT, permuted=arm == "placebo"
        )
        tinylm.fit(net, data, steps[arm != "base"], 3e-3, warmup=0.1, weight_decay=0.03, seed=seed + k)
        said = tinylm.generate(net, [lessons.LEXICON.encode(text) for text in prompts], 8, temperature=0.0)
        answers = [lessons.LEXICON.decode(row).replace("<eos>", "").strip() for row in said]
        (out / f"{arm}.json").write_text(json.dumps(answers))


@World.define()
def learner(rng: np.random.Generator, severity: float, *, preset: str, tests: int, **steps: int) -> Sample:
    """Answers of tiny transformers to new trees: after the basics, after all five tasks, after permuted answers."""
    seed = int(rng.integers(2**31))
    drawn = [(task, *lessons.question(rng, task)) for task in LEARNT for _ in range(tests // len(LEARNT))]
    recipe = seed, (steps["first"], steps["then"]), preset, [text for _, text, _, _ in drawn]
    folder = kept("hibench", recipe, partial(_learn, *recipe), worlds, hierarchies)
    answers = {arm: [_said(a) for a in json.loads((folder / f"{arm}.json").read_text())] for arm in ARMS}
    facts = ({"asked": task, "level": level, "answer_type": "text"} for task, _, _, level in drawn)
    items = [Item(text, right, own) for (_, text, right, _), own in zip(drawn, facts, strict=True)]
    return Sample({"items": items, "answers": answers}, None)


# The method: answers are graded ------------------------------------------------------------------------------


def graded(
    name: str, does: str, change: Callable[[Any, np.random.Generator], Any] = lambda right, rng: right,
    matcher: str = "strict",
) -> Method:  # fmt: skip
    """The method, which grades answers by a matcher, or a mutant of it that changes the verdicts."""

    def run(data: Any, rng: np.random.Generator) -> dict[str, Any]:
        how: dict[str, Any] = {"task": "hibench", "version": "1"}
        grade = partial(grade_items, data["items"], parser=extract, grade=GRADES[matcher], **how)
        tables = [grade(answers=said, model=who) for who, said in data["answers"].items()]
        records = pd.concat(tables, ignore_index=True)
        return {"records": records.assign(correct=change(records["correct"], rng))}

    run.__name__, run.__doc__ = name, does
    return Method.define(**({} if name == "hibench" else {"role": "mutant", "of": hibench}))(run)  # type: ignore[arg-type]


hibench = graded("hibench", "Grades answers strictly.")
published = graded("published", "Grades as the published matchers do.", matcher="published")
silent = graded("silent", "Calls every answer wrong.", lambda right, rng: 0.0)
generous = graded("generous", "Calls every answer right.", lambda right, rng: 1.0)
shuffled = graded(
    "shuffled", "Gives each answer the verdict of another.", lambda right, rng: rng.permutation(right)
)


# Measures ----------------------------------------------------------------------------------------------------


def _shares(records: pd.DataFrame, column: str) -> pd.Series:
    return records.groupby(column)["correct"].mean()


@Measure.define(by={"columns": ("own", "permuted")}, gives=("named",))
def profiles(output: Any, sample: Sample) -> list[dict[str, Any]]:
    """Share of planted deficits that are where the share right falls most against the perfect solver's."""
    records, rows = dict(list(output["records"].groupby("model"))), []
    rng = np.random.default_rng(sample.truth)
    for columns in ("own", "permuted"):
        named = []
        for solver, (column, right) in PLANTED.items():
            levels = records[solver][column].to_numpy()
            levels = levels if columns == "own" else rng.permutation(levels)
            fall = records["perfect"]["correct"].to_numpy() - records[solver]["correct"].to_numpy()
            drop = pd.Series(fall).groupby(levels).mean()
            named.append(drop.max() > 0 and drop.idxmax() in right)
        rows.append({"columns": columns, "named": float(np.mean(named))})
    return rows


@Measure.define(by={"solver": READERS, "columns": ("own", "permuted")}, gives=("gap",))
def gaps(output: Any, sample: Sample) -> list[dict[str, Any]]:
    """Share right on edges less that on drawings, with the labels of the forms and with permuted ones."""
    rows, rng = [], np.random.default_rng(sample.truth)
    for solver in READERS:
        own = output["records"].query("model == @solver and form in ('edge', 'drawing')")
        for columns, form in (("own", own["form"]), ("permuted", rng.permutation(own["form"]))):
            edge, drawing = _shares(own.assign(form=form), "form")[["edge", "drawing"]]
            rows.append({"solver": solver, "columns": columns, "gap": float(edge - drawing)})
    return rows


@Measure.define(by={"what": ("right", "wrong", "sixth")}, gives=("accepted",))
def acceptance(output: Any, sample: Sample) -> list[dict[str, Any]]:
    """Share accepted of right answers, of wrong ones, and of the sixth most accepted corruption."""
    shares = _shares(output["records"], "what")
    wrong = shares.drop("right")
    values = {"right": shares["right"], "wrong": wrong.mean(), "sixth": wrong.nlargest(6).min()}
    return [{"what": name, "accepted": float(value)} for name, value in values.items()]


@Measure.define(by={"what": ("true", "published")}, gives=("agreement",))
def labels(output: Any, sample: Sample) -> list[dict[str, Any]]:
    """Share of true depths that are right by each kind of labels."""
    return [{"what": what, "agreement": float(x)} for what, x in _shares(output["records"], "what").items()]


@Measure.define(by={"arm": ARMS, "part": PARTS}, gives=("accuracy",))
def learning(output: Any, sample: Sample) -> list[dict[str, Any]]:
    """Means of the tasks' shares: of all five, of the three hard ones near and far from the root, of the root."""
    rows = []
    for arm, records in output["records"].groupby("model"):
        hard, root = (records[records["asked"].isin(names)] for names in (LEARNT[2:], LEARNT[:1]))
        most = hard.groupby("asked")["target"].agg(lambda right: right.value_counts(normalize=True).max())
        shares = {"all": _shares(records, "asked"), "root": root["correct"]}
        shares["over"] = _shares(hard, "asked") - most
        for name, part in (("", hard), ("root ", root)):
            shares[f"{name}shallow"] = _shares(part[part["level"] <= 2], "asked")
            shares[f"{name}deep"] = _shares(part[part["level"] >= 4], "asked")
        rows += [{"arm": arm, "part": part, "accuracy": float(shares[part].mean())} for part in PARTS]
    return rows


# Claims ------------------------------------------------------------------------------------------------------


def _of(measure: str, method: str = "hibench", **where: Any) -> str:
    return f"mean({measure}|{method}" + "".join(f", {k}={v!r}" for k, v in where.items()) + ")"


def _part(part: str, arm: str = "tuned") -> str:
    return _of("accuracy", arm=arm, part=part)


def _mean(text: str, estimand: str, low: float = -np.inf, high: float = np.inf) -> Control:
    return Control(text, estimand, low, high, "mean")


WRONGLY = f"highest({_of('accepted', what='wrong')}, 1 - {_of('accepted', what='right')})"
BLIND, MIXED = (_of("gap", solver="form_blind", columns=name) for name in ("own", "permuted"))
OTHERS = ", ".join(f"abs({_of('gap', solver=name, columns='own')})" for name in ("perfect", "no_modify"))
BASICS: dict[str, Any] = {"paper": "basic tasks easy, complex structure hard", "same": "same direction only"}
TUNED: dict[str, Any] = {
    "paper": "+88.84 % (Llama-3.1-8B), +31.38 % (Qwen2.5-7B)",
    "same": "same direction only",
}
PLACEBO = _mean("permuted answers teach no more than the commonest answer (mean at most 0.05 above it)",
                _part("over", "placebo"), high=0.05)  # fmt: skip
claims = (
    Claim("1a", "Deeper is harder: three tasks near the root less the same far from it (share right)",
          f"{_part('shallow')} - {_part('deep')}", 0.2, _mean("the root is as easy in deep trees (mean within ±0.05)",
          f"{_part('root shallow')} - {_part('root deep')}", -0.05, 0.05), **BASICS),
    Claim("1b", "Basic operations are easy: the root, in every seed (share right)", _part("root"), 0.95,
          _mean("not after permuted answers (mean at most 0.5)", _part("root", "placebo"), high=0.5), "bound",
          **BASICS),
    Claim("2a", "A small instruction set lifts the score of a model that knows the basics (tuned less base)",
          f"{_part('all')} - {_part('all', 'base')}", 0.15, PLACEBO, **TUNED),
    Claim("2b", "and not by the form of the answers alone (tuned less permuted answers)",
          f"{_part('all')} - {_part('all', 'placebo')}", 0.15, PLACEBO, **TUNED),
    Claim("3", "The profile names five planted deficits of five, in every seed (share)", _of("named", columns="own"),
          0.9, _mean("not with permuted labels of its cells (mean at most 0.8)", _of("named", columns="permuted"),
          high=0.8), "bound", paper="not measured"),
    Claim("4a", "Drawings are harder for a model that cannot read them (edges less drawings)", BLIND, 0.5,
          _mean("not with permuted forms (mean within ±0.1)", MIXED, -0.1, 0.1), "bound", paper="implicit is harder"),
    Claim("4b", "and for no solver that reads both (largest gap of two)", f"highest({OTHERS})", 0.02,
          _mean("one solver has a gap (mean at least 0.5)", BLIND, low=0.5), "bound", "<", paper="not measured"),
    Claim("5", "The scorers accept no wrong answer and reject no right one in twelve spellings (larger share)",
          WRONGLY, 0.0005, _mean("the published matchers accept six corruptions (mean at least 0.95)",
          _of("accepted", "published", what="sixth"), low=0.95), "bound", "<", paper="string containment"),
    Claim("6", "Boundary: few published depths are true, so that a perfect model scores low (share)",
          _of("agreement", what="published"), 0.25, _mean("by true labels it is perfect (mean at least 0.999)",
          _of("agreement", what="true"), low=0.999), "boundary", "<", paper="17 % mean on that task"),
)  # fmt: skip


def grids(s: Settings) -> list[Grid]:
    """A grid for each part."""
    own, steps = ("hibench",), {"first": s.first, "then": s.then}
    return [
        Grid("solvers", own, ("profiles", "gaps"), s.seeds, world_params={"per_task": s.per_task}, cost_s=2.5),
        Grid("corruptions", (*own, "published"), ("acceptance",), s.seeds, world_params={"trees": s.trees}, cost_s=0.7),
        Grid("depths", own, ("labels",), s.seeds, world_params={"trees": s.trees}, cost_s=0.3),
        Grid("learner", own, ("learning",), s.learners, cost_s=55.0,
             world_params={"preset": s.preset, "tests": s.tests, **steps}),
    ]  # fmt: skip


study = Study(
    slug="hibench", module=__name__, version=1, grids=grids, claims=claims,
    scales={
        "quick": Settings(1, 6, 20, 1, 30, 40, "nano", 100), "cpu": Settings(),
        "paper": Settings(20, 100, 2000, 20, 2000, 8000, "600k", 5000),
    },
    worlds=(solvers, corruptions, depths, learner),
    methods=(hibench, published, silent, generous, shuffled),
    measures=(profiles, gaps, acceptance, labels, learning),
    figures=(Figure("parts", "Share right of a tiny transformer after the basics, after five tasks, and after these "
                    "with answers of other trees; over is what is above the commonest answer.",
                    chart("A small instruction set lifts; depth stays hard", Panel("", "part", "arm"), width=11.0),
                    "measure == 'accuracy'"),),
    root_seed=20261205, preload=("numpy", "torch", "transformers"),
)  # fmt: skip
