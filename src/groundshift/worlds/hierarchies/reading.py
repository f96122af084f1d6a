"""Trees of JSON, Markdown, folders, nested dictionaries and graphs of networkx."""

from __future__ import annotations

import json
import re
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from groundshift.errors import InputError
from groundshift.models.records import parse_json, read_text
from groundshift.worlds.hierarchies.text import read_node, render
from groundshift.worlds.hierarchies.trees import Node, Tree

__all__ = ["from_json", "read_tree"]

NAMED = ("name", "title", "label", "id", "key")
"""Fields that name a record: the first of these that one of its fields ends with."""
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
        return _markdown(read_text(path), unique, path.stem)
    data = parse_json(read_text(path), str(path))
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
    edges, kind, names = [], {}, list[str]()
    for level, name in rows:
        path = [entry for entry in path if entry[0] < level]
        node: Node = _path(f"{path[-1][1]}/{name}", names) if path and unique == "path" else name
        edges += [(path[-1][1], node)] if path else []
        path.append((level, node))
        names.append(str(node))
        kind[node] = f"headings of level {level}"
    _refuse_doubled(names)
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


def _path(path: str, names: Sequence[str]) -> str:
    """A path; of the second one that is the same, with its number."""
    again = sum(name.rsplit(" (", 1)[0] == path for name in names)
    return f"{path} ({again + 1})" if again else path


def _refuse_doubled(names: Iterable[str]) -> None:
    if doubled := [name for name, count in Counter(names).items() if count > 1]:
        raise InputError(
            f"{len(doubled)} names stand several times ({', '.join(doubled[:5])}), so that a question could mean "
            'any of them; give unique="path" (--unique path).'
        )


def from_json(data: Mapping[str, Any], unique: str = "name") -> Tree:
    """A nested dictionary as a tree: objects and entries of lists are nodes, other fields are attributes.

    >>> tree = from_json({"name": "A", "teams": [{"name": "B", "size": 3}], "sites": ["C"]})
    >>> tree.children["A"], tree.kind["B"], tree.attributes["B"]["size"]
    (('B', 'C'), 'teams', 3)
    """
    edges: list[tuple[Node, Node]] = []
    names: list[str] = []
    kind: dict[Node, str] = {}
    attributes: dict[Node, dict[str, Any]] = {}
    queue: deque[tuple[Any, str, str, Node | None]] = deque([(data, "document", "document", None)])
    while queue:
        entry, of, default, above = queue.popleft()
        fields = entry if isinstance(entry, Mapping) else {"name": entry}
        plain = {str(k): v for k, v in fields.items() if not isinstance(v, list | Mapping)}
        key = next(
            (k for n in NAMED for k in plain if k.casefold().endswith(n) and plain[k] is not None), None
        )
        name = default if key is None else str(plain.pop(key))
        name = _path(f"{above}/{name}", names) if unique == "path" and above is not None else name
        node = read_node(name)
        names.append(name)
        edges += [] if above is None else [(above, node)]
        kind[node], attributes[node] = of, plain
        for field, item in fields.items():
            if isinstance(item, Mapping):
                queue.append((item, str(field), str(field), node))
            elif isinstance(item, list):
                queue.extend((child, str(field), f"{field}[{k}]", node) for k, child in enumerate(item))
    _refuse_doubled(names)
    text = json.dumps(data, ensure_ascii=False)
    return Tree.of(edges, [read_node(names[0])], kind=kind, attributes=attributes, text=text)
