"""Items: the questions that are asked of structures of every difficulty, and of the user's own."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any, Literal

import numpy as np

from groundshift.benchmarks.hibench.questions import read_questions
from groundshift.benchmarks.hibench.tasks import FORMATS, SCENARIOS, TASKS, Task, answer, written
from groundshift.errors import InputError
from groundshift.models.items import Item, item_id
from groundshift.worlds.hierarchies import FORMS, Tree, code, read_tree, show, stream, structures
from groundshift.worlds.hierarchies.formulas import NOTATIONS, read, value

__all__ = ["VERSION", "build", "questions_from", "reply"]

VERSION = "1"
"""Of wording and scorers; it stands in every record."""
SYSTEM = "You answer questions about hierarchical structures. Every answer follows from the structure that is shown."
INTRO = {
    "edge": "The edges of a tree, each from parent to child:", "drawing": "A drawing of a tree:",
    "json": "A tree as JSON:", "indent": "A tree, two blanks for each level:", "own": "A hierarchy:",
    "nested": "A tree, each node in parentheses with its children:",
    "parent": "The nodes of a tree, each with its parent:", "python": "A program:", "cpp": "A program:",
    "paper": "A paper, whose sections stand between their marks:",
    **{notation: f"A formula in {notation} notation:" for notation in NOTATIONS},
}  # fmt: skip
SHAPED = ("isomorphic", "add_node", "remove_node", "mirror_tree")
"""Tasks that need one of the forms of trees."""


def _item(
    task: Task, structure: Any, form: str, rng: np.random.Generator, thinking: bool, labels: str = "true", **facts: Any
) -> Item | None:  # fmt: skip
    """A question of a task about a structure; None where it allows none."""
    drawn = task.draw(rng, structure, form)
    if drawn is None:
        return None
    target = written(answer(structure, task.name, labels, **drawn), task.kind, form)
    text, guesses, same = (
        show(task.shown(structure, **drawn), form),
        task.guesses(structure, drawn),
        code(structure),
    )
    own = {
        "levels": structure.levels if isinstance(structure, Tree) else None, **facts,
        "answer_form": drawn.get("notation", form), "shape": item_id({"code": same}),
        "group": item_id({"code": same, "text": show(structure, form)}), "chance": 1 / len(guesses) if guesses else 0.0,
    }  # fmt: skip
    return _asked(task, form, text, task.question.format(**drawn), target, thinking, own)


def _asked(
    task: Task, form: str, text: str, question: str, target: str, thinking: bool, facts: Mapping[str, Any]
) -> Item:  # fmt: skip
    ask = "Think step by step, and end with" if thinking else "Reply, without your working, with"
    ask += f' one JSON object: {{"answer": <{FORMATS[task.kind]}>}}'
    own = {
        "task": task.name, "dimension": task.dimension, "scenario": task.scenario, "form": form,
        "answer_type": task.kind, "answer_form": form, **facts, "structure": text, "question": question,
    }  # fmt: skip
    prompt = f"{INTRO.get(form, INTRO['own'])}\n{text}\n\n{question}\n{ask}"
    messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": prompt}]
    return Item(messages, target, own, 64 * (1 + len(target) // 64) + 512 * thinking)


def reply(item: Item) -> dict[str, str]:
    """The right answer as a message of the assistant."""
    return {"role": "assistant", "content": json.dumps({"answer": item.target}, ensure_ascii=False)}


def _chosen(names: Sequence[str], known: Iterable[str], what: str) -> list[str]:
    """The names that were asked for; all where none was."""
    known = list(known)
    for name in names:
        if name not in known:
            near = "".join(f"; {other} is near" for other in difflib.get_close_matches(name, known, 1))
            raise InputError(f"There is no {what} {name!r}{near}. There are {', '.join(known)}.")
    return list(names) or known


def build(
    *, scenarios: Sequence[str] = (), tasks: Sequence[str] = (),
    difficulty: Literal["all", "easy", "medium", "hard"] = "all", forms: Sequence[str] = ("edge", "drawing"),
    shots: int = 0, thinking: bool = False, per_task: int = 20, n: int = 3,
    labels: Literal["true", "published"] = "true", seed: int = 0,
) -> list[Item]:  # fmt: skip
    """Questions of the thirty tasks with exact answers; those about one structure stand together.

    Parameters
    ----------
    scenarios, tasks, difficulty, forms, shots, thinking, per_task, n, labels, seed : see `ask`

    Raises
    ------
    InputError
        A name that is not known, numbers below their least.

    Examples
    --------
    >>> [item] = build(tasks=["leaf"], forms=["edge"], difficulty="easy", per_task=1)
    >>> item.facts["structure"], item.facts["question"][:13], item.target
    ('0 -> 1', 'Is node 0 a l', 'no')
    """
    forms, wanted = _chosen(forms, FORMS, "form"), _chosen(tasks, TASKS, "task")
    if shots < 0 or per_task < 0 or n < 1:
        raise InputError(
            f"shots={shots}, per_task={per_task}, n={n} was given; at least 0, 0 and 1 are needed."
        )
    items: dict[str, Item] = {}
    for scenario in _chosen(scenarios, SCENARIOS, "scenario"):
        own = [TASKS[name] for name in wanted if TASKS[name].scenario == scenario]
        drawn = [one for one in structures(scenario, n, seed) if difficulty in ("all", one[0].split("-")[0])]
        used = forms if scenario in ("multi_tree", "binary") else SCENARIOS[scenario]
        some = np.sort(stream(seed, scenario).permutation(len(drawn))[: -(-per_task // len(used)) or None])
        times = range(max(1, -(-per_task // (len(some) * len(used)))))
        for k, form, task, time in product(some, used, own, times):
            rng, (level, structure) = stream(seed, task.name, form, int(k), time), drawn[k]
            item = _item(task, structure, form, rng, thinking, labels, difficulty=level)
            others = [int(j) for j in rng.permutation(len(drawn)) if j != k][:shots]
            shown = [_item(task, drawn[j][1], form, rng, thinking, labels) for j in others]
            if item is not None:
                turns = [turn for one in shown if one for turn in (one.messages[1], reply(one))]
                messages = [item.messages[0], *turns, item.messages[1]]
                item = Item(messages, item.target, item.facts, item.max_new_tokens)
                items[item.id] = item
    return list(items.values())


def questions_from(
    source: Any, *, tasks: Sequence[str] = (), per_task: int = 20, form: str = "own",
    unique: Literal["name", "path"] = "name", thinking: bool = False, seed: int = 0,
) -> list[Item]:  # fmt: skip
    """Questions with exact answers about a hierarchy of one's own.

    Parameters
    ----------
    source : a JSON or Markdown file, a folder, a nested dictionary, a directed graph of networkx, a formula such as
        "2 * (3 - 4)"; or questions: JSONL with "task", "question" and "answer", a tree file of the paper's repository
    tasks, per_task : of `TASKS`, all that the source allows if left out; fewer questions where there are no others
    form : how a tree is shown: own (as the source writes it), edge, drawing, json, indent, nested, parent
    unique : what tells records apart: their names, or their paths where names stand several times
    thinking : ask for the working, too

    Raises
    ------
    InputError
        A source that cannot be read or is no tree, names that stand twice, a task that the source does not allow.

    Examples
    --------
    >>> items = questions_from({"name": "A", "teams": [{"name": "B"}, {"name": "C"}]}, tasks=["level_count"])
    >>> items[0].facts["question"], items[0].target
    ('How many teams are there in all?', '2')
    """
    _chosen([form], ["own", *FORMS], "form")
    wanted = [TASKS[name] for name in _chosen(tasks, TASKS, "task")]
    if rows := read_questions(source):
        rows = [row for row in rows if TASKS[row[0]] in wanted and form in ("own", row[1])]
        return [
            _asked(TASKS[t], f, *more, thinking, {"group": item_id({"text": more[0]})})
            for t, f, *more in rows
        ]
    structure: Any = None
    if isinstance(source, str) and re.search(r"\d\s*[-+*/^]", source) and not Path(source).exists():
        structure, form, possible = read(source, "infix"), "infix", {"formula"}
        value(structure)  # a division by zero is refused before the first question
    else:
        structure = read_tree(source, unique)
        possible = {"json", "multi_tree", *(["binary"] if structure.side else [])}
    kept = [
        task for task in wanted if task.scenario in possible and not (form == "own" and task.name in SHAPED)
    ]
    if tasks and (left := [task.name for task in wanted if task not in kept]):
        why = (
            "a tree with left and right"
            if "binary" not in possible
            else "a tree in one of its forms (--form edge)"
        )
        raise InputError(
            f"{', '.join(left)} cannot be asked of this source; a formula, or {why}, may be needed."
        )
    items: dict[str, Item] = {}
    for task in kept:
        rng = stream(seed, task.name, form)
        drawn = (_item(task, structure, form, rng, thinking) for _ in range(5 * per_task))
        items |= dict(list({item.id: item for item in drawn if item is not None}.items())[:per_task])
    if not items:
        raise InputError(
            "The source is too small for any of the questions; a tree needs three nodes or more."
        )
    return list(items.values())
