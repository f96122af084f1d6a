"""Trees as text, in six forms, and back."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from groundshift.errors import InputError
from groundshift.models.records import parse_json
from groundshift.worlds.hierarchies.trees import Node, Tree

__all__ = ["FORMS", "parse", "read_node", "render"]

EMPTY = "No edges"
"""How a tree without an edge is written, in every form."""
FORMS = {
    "edge": (
        r"[,;\n]+",
        r"(?P<above>.+?)\s*-(?:\((?P<side>[LR])\)-)?>\s*(?P<node>(?:(?!->).)+?)\.?",
        r"[,;\n]|->",
    ),
    "drawing": (
        r"\n",
        r"(?P<lead>[ |]*[|`]-)(?:\((?P<side>[LR])\)-|- ?)\s*(?P<node>.+)|(?P<root>[^|`]+)",
        r"\n|[|`]",
    ),
    "json": (r"\n", "", r"\n"),
    "indent": (r"\n", r"(?P<lead>(?:  )*)(?:\((?P<side>[LR])\) )?(?P<node>\S.*)", r"\n|^\s"),
    "nested": (r"\n", "", r"[\s()]"),
    "parent": (
        r"[,;\n]+",
        r"(?P<node>[^:]+):\s*(?P<above>.+?)(?:(?<=\d)(?P<side>[LR]))?",
        r"[,;:\n]|\d[LR]$",
    ),
}
"""Form → where its parts are parted, the pattern of a part, and what no name may have in it."""


def read_node(text: str) -> Node:
    """A node as it is written: a whole number, or a name."""
    text = text.strip()
    return int(text) if re.fullmatch(r"-?(0|[1-9]\d*)", text) else text


def render(tree: Tree, form: str) -> str:
    """A tree as text in one of `FORMS`; "own" is how the user wrote it.

    Raises
    ------
    InputError
        An unknown form, a name that has the form's own marks in it.

    Examples
    --------
    >>> tree = Tree.of([(3, 1), (1, 0), (3, 4)])
    >>> render(tree, "edge"), render(tree, "nested"), render(tree, "parent")
    ('3 -> 1, 1 -> 0, 3 -> 4', '(3 (1 (0)) (4))', '3: root, 1: 3, 0: 1, 4: 3')
    """
    if form == "own":
        return tree.text
    _known(form)
    if not tree.edges:
        return EMPTY
    names = (node for node in tree.nodes if isinstance(node, str))
    if bad := next((name for name in names if re.search(FORMS[form][2], name)), None):
        raise InputError(f"The name {bad!r} cannot be written in the form {form}; take drawing or json.")
    side, above = tree.side, tree.parent
    if form == "edge":
        arrows = {node: f"-({mark})->" for node, mark in side.items()}
        return ", ".join(f"{top} {arrows.get(node, '->')} {node}" for top, node in tree.edges)
    if form == "parent":
        return ", ".join(f"{node}: {above.get(node, 'root')}{side.get(node, '')}" for node in tree.nodes)
    if form == "indent":
        marks = {node: f"({mark}) " for node, mark in side.items()}
        return "\n".join(f"{'  ' * (tree.level[n] - 1)}{marks.get(n, '')}{n}" for n in tree.nodes)
    if form == "json":
        entries = [_entry(tree, root) for root in tree.roots]
        return json.dumps(
            entries if len(entries) > 1 else entries[0], separators=(",", ":"), ensure_ascii=False
        )
    return _drawn(tree) if form == "drawing" else " ".join(_nested(tree, root) for root in tree.roots)


def _known(form: str) -> None:
    if form not in FORMS:
        raise InputError(f"form={form!r} was given; the forms of trees are {', '.join(FORMS)}.")


def _entry(tree: Tree, node: Node) -> dict[str, Any]:
    below = [_entry(tree, child) for child in tree.children[node]]
    side = {"side": tree.side[node]} if node in tree.side else {}
    return {"id": node, **side, **({"children": below} if below else {})}


def _nested(tree: Tree, node: Node) -> str:
    own = f"{tree.side[node]} {node}" if node in tree.side else str(node)
    return f"({' '.join([own, *(_nested(tree, child) for child in tree.children[node])])})"


def _drawn(tree: Tree) -> str:
    lines, stack = [], [(root, "", "") for root in reversed(tree.roots)]
    while stack:
        node, before, own = stack.pop()
        lines.append(f"{before}{own}{node}")
        below = before + ("    " if own.startswith("`") else "|   " if own else "")
        for k, child in reversed(list(enumerate(tree.children[node], 1))):
            mark, side = "`" if k == len(tree.children[node]) else "|", tree.side.get(child)
            stack.append((child, below, f"{mark}-({side})-" if side else f"{mark}-- "))
    return "\n".join(lines)


def parse(text: str, form: str) -> Tree:
    """The tree, or the forest, of a text; the inverse of `render`.

    Raises
    ------
    InputError
        An unknown form, a text in another form, no tree.

    Examples
    --------
    >>> parse("3 -(L)-> 1, 1 -(R)-> 0", "edge").side
    {1: 'L', 0: 'R'}
    """
    _known(form)
    if text.strip().rstrip(".").casefold() == EMPTY.casefold():
        return Tree((), {})
    if form in ("json", "nested"):
        text, form = "\n".join(_from_json(text) if form == "json" else _from_nested(text)), "indent"
    levels, step = form in ("drawing", "indent"), 4 if form == "drawing" else 2
    text = text.translate(str.maketrans("├└│─", "|`|-")) if form == "drawing" else text
    side: dict[Node, str] = {}
    edges, path, alone, first = [], list[Node](), list[Node](), 0
    for part in re.split(FORMS[form][0], text.strip("\n")):
        row = re.fullmatch(FORMS[form][1], part.rstrip() if levels else part.strip())
        if row is None:
            raise InputError(f"{part.strip()[:80]!r} is no part of a tree in the form {form}.")
        given = row.groupdict()
        node = read_node(given["node"] or given["root"])
        if levels:
            depth = len(given["lead"] or "")
            first = first or depth  # where the branches below the root stand
            place, rest = divmod(depth - first + step if depth else 0, step)
            if rest or not 0 <= place <= len(path):
                raise InputError(f"Node {node} stands on no level below the one before it.")
            path = [*path[:place], node]
            above = path[-2] if place else None
        else:
            above = None if form == "parent" and given["above"] == "root" else read_node(given["above"])
        side |= {node: given["side"]} if given["side"] else {}
        alone += [node] if above is None else []
        edges += [] if above is None else [(above, node)]
    if not edges:
        raise InputError(f"{text[:80]!r} is no tree in the form {form}.")
    return Tree.of(edges, alone, forest=True, side=side)


def _from_json(text: str) -> Iterator[str]:
    data = parse_json(text, "The answer")
    stack = [(0, entry) for entry in reversed(data if isinstance(data, list) else [data])]
    while stack:
        depth, entry = stack.pop()
        below = (entry.get("children") or []) if isinstance(entry, dict) else None
        if not isinstance(entry, dict) or "id" not in entry or not isinstance(below, list):
            raise InputError(
                'Every node is an object with "id" and, where it has some, a list of "children".'
            )
        yield "  " * depth + (f"({entry['side']}) " if entry.get("side") else "") + str(entry["id"])
        stack += [(depth + 1, child) for child in reversed(below)]


def _from_nested(text: str) -> Iterator[str]:
    depth = 0
    for part in re.finditer(r"\(\s*(?:([LR])\s+)?([^\s()]+)|\)|\S", text):
        if part[2] is None and part[0] != ")":
            raise InputError(f"{part[0]!r} has no parenthesis of its own, as in (3 (1) (4)).")
        if part[2] is not None:
            yield "  " * depth + (f"({part[1]}) " if part[1] else "") + part[2]
        depth += 1 if part[2] is not None else -1
    if depth:
        raise InputError("The parentheses are not balanced.")
