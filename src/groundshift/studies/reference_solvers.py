"""Solvers of questions about hierarchies who read nothing but the prompt, each with a deficit that is known."""

from __future__ import annotations

import json
import re
from functools import cache
from typing import Any

import numpy as np

from groundshift.benchmarks.hibench import FORMS, TASKS, Tree, answer, parse, render
from groundshift.benchmarks.hibench.building import INTRO
from groundshift.benchmarks.hibench.tasks import written
from groundshift.worlds.hierarchies import from_json, read_node
from groundshift.worlds.hierarchies.formulas import NOTATIONS, read

__all__ = ["PLANTED", "SOLVERS", "solve", "understand"]

PLANTED: dict[str, tuple[str, Any]] = {
    "local": ("dimension", ("B", "C")), "no_modify": ("dimension", ("C",)), "shallow": ("levels", range(4, 10)),
    "unordered": ("answer_type", ("list",)), "form_blind": ("form", ("drawing",)),
}  # fmt: skip
"""Solver → where its profile must fall most: a column of the records, and the right levels of it."""
SOLVERS = ("perfect", *PLANTED, "guess")


@cache
def _patterns() -> dict[str, re.Pattern[str]]:
    asked = {
        n: re.escape(task.question) for n, task in TASKS.items() if task.scenario not in ("code", "paper")
    }
    return {
        n: re.compile(re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>.*?)", words), re.S) for n, words in asked.items()
    }


def understand(prompt: str) -> tuple[Any, str, Any, dict[str, Any]]:
    """Structure, form, task and arguments, from the text alone."""
    intro, rest = prompt.split("\n", 1)
    text, asked = rest.rsplit("\n\n", 1)
    form, words = next(name for name, line in INTRO.items() if line == intro), asked.rsplit("\n", 1)[0]
    own = form in FORMS or form in NOTATIONS
    s: Any = (parse if form in FORMS else read)(text, form) if own else from_json(json.loads(text))
    task, found = next((TASKS[n], m) for n, p in _patterns().items() if (m := p.fullmatch(words)))
    given = {
        k: read_node(v) if k in ("node", "first", "second", "new") else v
        for k, v in found.groupdict().items()
    }
    return s, form, task, given | ({"form": form} if task.name == "isomorphic" else {})


def solve(solver: str, prompt: str, rng: np.random.Generator) -> str:
    """What a solver answers."""
    s, form, task, given = understand(prompt)
    options, tree = list(task.guesses(s, given)), isinstance(s, Tree)
    guess = written(options[rng.integers(len(options))], task.kind, form) if options else "?"
    nodes = [node for name, node in given.items() if name in ("node", "first", "second")]
    if solver == "guess" or (solver == "form_blind" and form == "drawing"):
        return guess if solver == "guess" else "?"
    if solver == "no_modify" and task.dimension == "C":
        return render(s, form)
    if solver in ("local", "shallow") and tree:
        if solver == "local" and (task.dimension != "A" or not nodes):
            return guess
        near = [e for e in s.edges if (set(e) & set(nodes) if solver == "local" else s.level[e[1]] <= 3)]
        alone = nodes if solver == "local" else [s.root]
        s = Tree.of(near, alone, forest=True, side=s.side, kind=s.kind, attributes=s.attributes)
    try:
        right = answer(s, task.name, **given)
    except (StopIteration, ValueError, KeyError):  # the part that it sees holds no answer
        return guess
    if solver == "unordered" and task.kind == "list":
        right = [right[k] for k in rng.permutation(len(right))]
    return guess if right is None else written(right, task.kind, given.get("notation", form))
