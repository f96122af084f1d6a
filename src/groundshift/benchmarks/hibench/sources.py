"""Trees of the user's own: JSON, Markdown, folders, nested dictionaries and graphs of networkx."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any

from groundshift.benchmarks.hibench.tasks import TASKS
from groundshift.errors import InputError
from groundshift.models.records import read_json, read_records
from groundshift.worlds.hierarchies import Node, Tree, from_json, read_node, refuse_doubled, render

__all__ = ["read_questions", "read_tree"]

MOST = 5000
"""Entries of the largest folder that is read."""


def read_tree(source: Any, unique: str = "name") -> Tree:
    """The tree of a JSON or Markdown file, a folder, a nested dictionary or a directed graph of networkx.

    Parameters
    ----------
    unique : what tells records apart: "name", or "path" where names stand several times

    Raises
    ------
    InputError
        No such file, another kind of file, names that stand twice, something that is no tree.
    """
    if unique not in ("name", "path"):
        raise InputError(f'unique={unique!r} was given; records are told apart by "name" or by "path".')
    if isinstance(source, Tree):
        return source
    if hasattr(source, "edges") and hasattr(source, "nodes"):
        return _graph(source)
    if isinstance(source, Mapping):
        return from_json(source, unique)
    path = Path(source)
    if path.is_dir():
        return _folder(path)
    if not path.is_file():
        raise InputError(
            f"{source} is no file or folder; give JSON, Markdown, a folder, a dictionary or a graph."
        )
    if path.suffix.lower() in (".md", ".markdown"):
        return _markdown(path.read_text(encoding="utf-8"), unique, path.stem)
    data = read_json(path)
    return from_json(data if isinstance(data, dict) else {"name": path.stem, "entries": data}, unique)


def _markdown(text: str, unique: str, title: str) -> Tree:
    """The headings; those in fenced code are none."""
    bare = re.sub(r"^(```|~~~).*?^\1", "", text, flags=re.S | re.M)
    rows = [(len(marks), name.strip(" #")) for marks, name in re.findall(r"^(#{1,6})\s+(.+)$", bare, re.M)]
    if not rows:
        raise InputError("The Markdown has no headings (# …), so that there is no hierarchy in it.")
    if [level for level, _ in rows].count(rows[0][0]) > 1 or min(rows)[0] < rows[0][0]:
        rows = [(0, title), *rows]
    path: list[tuple[int, Node]] = []
    edges, kind, names = [], {}, []
    for level, name in rows:
        path = [entry for entry in path if entry[0] < level]
        node: Node = f"{path[-1][1]}/{name}" if path and unique == "path" else name
        edges += [(path[-1][1], node)] if path else []
        path.append((level, node))
        names.append(str(node))
        kind[node] = f"headings of level {level}"
    refuse_doubled(names)
    return Tree.of(edges, names[:1], kind=kind, text=text)


def _folder(folder: Path) -> Tree:
    """Files and folders, named by their paths; hidden ones are left out."""
    names = {p: p.relative_to(folder) for p in sorted(folder.rglob("*"))}
    names = {p: name for p, name in names.items() if not any(part.startswith(".") for part in name.parts)}
    if not names or len(names) > MOST:
        raise InputError(f"{folder} holds {len(names):,} files and folders; between 1 and {MOST:,} are read.")
    top = folder.resolve().name
    edges = [
        (names[p.parent].as_posix() if p.parent in names else top, name.as_posix())
        for p, name in names.items()
    ]
    kind = {name.as_posix(): "folders" if p.is_dir() else "files" for p, name in names.items()}
    return _drawn(Tree.of(edges, kind={top: "folders", **kind}))


def _graph(graph: Any) -> Tree:
    """Edges go from parent to child; the "kind" of a node and its other fields are kept."""
    if not graph.is_directed() or not len(graph):
        raise InputError(
            "The graph is not directed, or empty; give a DiGraph whose edges go from parent to child."
        )
    fields = {read_node(str(node)): dict(own) for node, own in graph.nodes(data=True)}
    kind = {node: str(own.pop("kind")) for node, own in fields.items() if "kind" in own}
    edges = [(read_node(str(above)), read_node(str(below))) for above, below in graph.edges]
    return _drawn(Tree.of(edges, fields, kind=kind, attributes=fields))


def _drawn(tree: Tree) -> Tree:
    return Tree(tree.roots, tree.children, {}, tree.kind, tree.attributes, render(tree, "drawing"))


def read_questions(source: Any) -> list[tuple[str, str, str, str, str]]:
    """Task, form, structure, question and answer of every row; none where the source holds no questions.

    Rows of JSONL have "task", "question" and "answer" (and "structure" and "form"); those of the tree files of the
    paper's repository have "edge_presentation", "hierarchy_presentation", and <task>_Q and <task>_A.
    """
    path = Path(source) if isinstance(source, str | Path) else Path()
    if path.suffix not in (".json", ".jsonl") or not path.is_file():
        return []
    rows = read_json(path) if path.suffix == ".json" else read_records(path)
    published = isinstance(rows, list) and isinstance(rows[0], dict) and "edge_presentation" in rows[0]
    if path.suffix == ".json" and not published:
        return []
    questions = []
    for number, row in enumerate(rows):
        for task, (form, name) in product(
            TASKS if published else (), (("edge", "edge"), ("drawing", "hierarchy"))
        ):
            asked, right = (row.get(f"{task}_{p}", row.get(f"{task}_{p}_{name[0].upper()}")) for p in "QA")
            if asked is not None and right is not None:
                right = {"True": "yes", "False": "no"}.get(str(right), str(right))
                questions.append((task, form, row[f"{name}_presentation"], f"Now {asked}", right))
        if not published:
            if row.get("task") not in TASKS or "question" not in row or "answer" not in row:
                raise InputError(
                    f'{path}, row {number}: "task" (one of the thirty), "question" and "answer" are needed.'
                )
            right = row["answer"] if isinstance(row["answer"], str) else json.dumps(row["answer"])
            texts = (str(row.get(name, "")) for name in ("form", "structure", "question"))
            questions.append((row["task"], *texts, right))
    return questions
