"""Items: the questions that are asked of structures of every difficulty, and of the user's own."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any, Literal

import numpy as np

from groundshift.benchmarks.hibench.qasper import questions_of
from groundshift.benchmarks.hibench.tasks import FORMATS, SCENARIOS, TASKS, Task, answer, written
from groundshift.errors import InputError, did_you_mean
from groundshift.models.items import Item, item_id
from groundshift.models.records import HUB, parse_json, read_records, read_text
from groundshift.worlds.hierarchies import FORMS, Tree, code, read_tree, show, stream, structures
from groundshift.worlds.hierarchies.formulas import NOTATIONS, read, value

__all__ = ["VERSION", "build", "questions_from", "reply"]

VERSION = "1"  # of wording and scorers; it stands in every record
SYSTEM = "You answer questions about hierarchical structures. Every answer follows from the structure that is shown."
INTRO = {
    "edge": "The edges of a tree, each from parent to child:", "drawing": "A drawing of a tree:",
    "json": "A tree as JSON:", "indent": "A tree, two blanks for each level:", "own": "A hierarchy:",
    "nested": "A tree, each node in parentheses with its children:",
    "parent": "The nodes of a tree, each with its parent:", "python": "A program:", "cpp": "A program:",
    "paper": "A paper, whose sections stand between their marks:",
    **{notation: f"A formula in {notation} notation:" for notation in NOTATIONS},
}  # fmt: skip
SHAPED = ("isomorphic", "add_node", "remove_node", "mirror_tree")  # they need one of the forms of trees


def shape_of(structure: Any) -> str:
    """A name that structures share which differ by the names in them alone."""
    return item_id({"code": code(structure)})


def _item(
    task: Task, structure: Any, form: str, rng: np.random.Generator, thinking: bool, labels: str = "true", **facts: Any
) -> Item | None:  # fmt: skip
    """A question of a task about a structure; None where it allows none."""
    drawn = task.draw(rng, structure, form)
    if drawn is None:
        return None
    target = written(answer(structure, task.name, labels, **drawn), task.kind, form)
    text, guesses = show(task.shown(structure, **drawn), form), task.guesses(structure, drawn)
    own = {
        "levels": structure.levels if isinstance(structure, Tree) else None, **facts,
        "answer_form": drawn.get("notation", form), "shape": shape_of(structure),
        "group": item_id({"structure": repr(structure)}), "chance": 1 / len(guesses) if guesses else 0.0,
    }  # fmt: skip
    return _asked(task, form, (text, task.question.format(**drawn), target), thinking, own)


def _asked(task: Task, form: str, texts: Sequence[str], thinking: bool, facts: Mapping[str, Any]) -> Item:
    """An item of a structure, a question and its answer as texts."""
    text, question, target = texts
    ask = "Think step by step, and end with" if thinking else "Reply, without your working, with"
    ask += f' one JSON object: {{"answer": <{FORMATS[task.kind]}>}}'
    own = {
        "operation": task.name, "dimension": task.dimension, "scenario": task.scenario, "form": form,
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
            raise InputError(
                f"There is no {what} {name!r}{did_you_mean(name, known)} There are {', '.join(known)}."
            )
    return list(names) or known


def build(
    *, scenarios: Sequence[str] = (), tasks: Sequence[str] = (),
    difficulty: Literal["all", "easy", "medium", "hard"] = "all", forms: Sequence[str] = ("edge", "drawing"),
    shots: int = 0, thinking: bool = False, per_task: int = 20, n: int = 3,
    labels: Literal["true", "published"] = "true", without: Collection[str] = (), seed: int = 0,
) -> list[Item]:  # fmt: skip
    """Questions of the thirty tasks with exact answers; those about one structure stand together.

    Its parameters, and what it refuses, are those of `ask`; structures of the shapes (a fact of items) in ``without``
    are left out.

    Examples
    --------
    >>> [item] = build(tasks=["root"], forms=["edge"], difficulty="easy", per_task=1)
    >>> item.facts["structure"], item.target
    ('3 -> 1, 1 -> 0, 3 -> 2, 2 -> 5, 2 -> 4', '3')
    """
    forms, wanted = _chosen(forms, FORMS, "form"), _chosen(tasks, TASKS, "task")
    if shots < 0 or per_task < 0 or n < 1:
        raise InputError(f"shots={shots}, per_task={per_task}, n={n} was given; the least are 0, 0 and 1.")
    items: dict[str, Item] = {}
    for scenario in _chosen(scenarios, SCENARIOS, "scenario"):
        if not (own := [TASKS[name] for name in wanted if TASKS[name].scenario == scenario]):
            continue
        drawn = [one for one in structures(scenario, n, seed) if difficulty in ("all", one[0].split("-")[0])]
        drawn = [one for one in drawn if shape_of(one[1]) not in without] if without else drawn
        used = forms if scenario in ("multi_tree", "binary") else SCENARIOS[scenario]
        some = np.sort(stream(seed, scenario).permutation(len(drawn))[: -(-per_task // len(used)) or None])
        times = range(max(1, -(-per_task // max(1, len(some) * len(used)))))
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
        "2 * (3 - 4)"; or questions: JSONL with "task", "question" and "answer", a tree file of the paper's repository,
        QASPER (its files, or "hub:allenai/qasper/test")
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
    if rows := _read_questions(source):
        chosen = [(TASKS[t], f, more) for t, f, *more in rows if TASKS[t] in wanted and form in ("own", f)]
        return [
            _asked(task, f, more, thinking, {"group": item_id({"text": more[0]})}) for task, f, more in chosen
        ]
    structure: Any = None
    if isinstance(source, str) and re.search(r"\d\s*[-+*/^]", source) and not Path(source).exists():
        structure, form, possible = read(source, "infix"), "infix", {"formula"}
        value(structure)  # a division by zero is refused before the first question
    else:
        structure = read_tree(source, unique)
        possible = {"json", "multi_tree", *(["binary"] if structure.side else [])}
    without = SHAPED if form == "own" else ()
    kept = [task for task in wanted if task.scenario in possible and task.name not in without]
    if tasks and (left := [task.name for task in wanted if task not in kept]):
        needs = (
            "a tree in a form of its own (--forms edge)" if set(left) & set(without) else "another scenario"
        )
        raise InputError(
            f"This source, of {', '.join(possible)}, does not allow {', '.join(left)}: {needs} is needed."
        )
    items: dict[str, Item] = {}
    for task in kept:
        rng = stream(seed, task.name, form)
        drawn = (_item(task, structure, form, rng, thinking) for _ in range(5 * per_task))
        items |= dict(list({item.id: item for item in drawn if item is not None}.items())[:per_task])
    if not items:
        raise InputError("The source is too small for these questions; a tree needs three nodes or more.")
    return list(items.values())


def _read_questions(source: Any) -> list[tuple[str, str, str, str, str]]:
    """Task, form, structure, question and answer of every row; none where the source holds no questions.

    Rows of JSONL have "task", "question" and "answer" (and "structure" and "form"); those of the tree files of the
    paper's repository have "edge_presentation", "hierarchy_presentation", and <task>_Q and <task>_A; those of QASPER
    "full_text" and "qas", under the papers' ids in the authors' files.
    """
    path = Path(source) if isinstance(source, str | Path) else Path()
    hub = isinstance(source, str) and source.startswith(HUB)
    if not hub and (path.suffix not in (".json", ".jsonl", ".parquet") or not path.is_file()):
        return []
    rows: Any = parse_json(read_text(path), str(path)) if path.suffix == ".json" else read_records(source)
    if isinstance(rows, dict) and rows and all(_is_paper(row) for row in rows.values()):
        rows = list(rows.values())
    if isinstance(rows, list) and rows and _is_paper(rows[0]):
        return [("contextual_qa", "paper", *asked) for row in rows for asked in questions_of(row)]
    published = isinstance(rows, list) and len(rows) > 0 and "edge_presentation" in rows[0]
    if path.suffix == ".json" and not published:
        return []
    questions, named = [], (("edge", "edge"), ("drawing", "hierarchy"))
    for number, row in enumerate(rows):
        for task, (form, name) in product(TASKS if published else (), named):
            asked, right = (row.get(f"{task}_{p}", row.get(f"{task}_{p}_{name[0].upper()}")) for p in "QA")
            if asked is not None and right is not None:
                right = {"True": "yes", "False": "no"}.get(str(right), str(right))
                questions.append((task, form, row[f"{name}_presentation"], str(asked), right))
        if not published:
            if row.get("task") not in TASKS or "question" not in row or "answer" not in row:
                raise InputError(f'{path}, row {number}: a known "task", "question" and "answer" are needed.')
            right = row["answer"] if isinstance(row["answer"], str) else json.dumps(row["answer"])
            form, text = str(row.get("form", "")), str(row.get("structure", ""))
            questions.append((row["task"], form, text, str(row["question"]), right))
    return questions


def _is_paper(row: Any) -> bool:
    return isinstance(row, Mapping) and {"full_text", "qas"} <= set(row)
