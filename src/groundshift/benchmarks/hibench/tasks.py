"""The thirty tasks in one table, each with its wording and a function for its exact answer."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from groundshift.benchmarks.hibench import arguments
from groundshift.worlds.hierarchies import CLASSES, operations, render
from groundshift.worlds.hierarchies.formulas import NOTATIONS, canonical, read, value, write

__all__ = ["DIMENSIONS", "FORMATS", "SCENARIOS", "TASKS", "Task", "answer", "written"]

DIMENSIONS = {
    "A": "local relationships", "B": "global structure", "C": "modification", "D": "analysis", "E": "text",
}  # fmt: skip
SCENARIOS = {
    "multi_tree": ("edge", "drawing"), "binary": ("edge", "drawing"), "json": ("own",), "formula": NOTATIONS,
    "code": ("python", "cpp"), "paper": ("paper",),
}  # fmt: skip
"""Scenario → the forms of its structures; those of trees can be chosen."""
FORMATS = {
    "node": "the node", "name": "the name", "integer": "the number", "number": "the number", "boolean": "yes or no",
    "set": "a list, or None", "list": "a list in order", "tree": "the tree as a string", "formula": "the formula",
    "order": "preorder, inorder or postorder", "class": "the class, as O(n)", "text": "the text",
}  # fmt: skip
"""Types of answers, and what stands in the place of one in the prompt."""


@dataclass(frozen=True)
class Task:
    """A question about a structure s, with its exact answer.

    Attributes
    ----------
    dimension, kind : of `DIMENSIONS`, and the type of its answer, of `FORMATS`
    question : wording, with the arguments in braces
    answer : (s, **arguments) → answer
    draw : (rng, s, form) → arguments, or None where the structure allows no such question
    options : (s, **arguments) → the answers that a guess chooses among; by default those of the type
    shown : (s, **arguments) → the structure as the question shows it
    """

    scenario: str
    name: str
    dimension: str
    kind: str
    question: str
    answer: Callable[..., Any]
    draw: Callable[..., dict[str, Any] | None] = lambda rng, s, f: {}
    options: Callable[..., Sequence[Any]] | None = None
    shown: Callable[..., Any] = lambda s, **arguments: s

    def guesses(self, s: Any, arguments: dict[str, Any]) -> Sequence[Any]:
        """The answers that a guess chooses among; none where a guess is never right."""
        if self.options is not None:
            return self.options(s, **arguments)
        fixed = {"boolean": (True, False), "order": operations.ORDERS, "class": CLASSES}
        return s.nodes if self.kind in ("node", "name") else fixed.get(self.kind, ())


WHOLE = "Write the whole new tree in the same form"
RULES = {"pre": "node, left subtree, right subtree", "in": "left subtree, node, right subtree",
         "post": "left subtree, right subtree, node"}  # fmt: skip
_levels, _level = (lambda s, node: range(1, s.levels + 1)), (lambda s, node: s.level[node])
TABLE = (
    Task("multi_tree", "root", "A", "node", "Which node is the root?", lambda s: s.root),
    Task("multi_tree", "leaf", "A", "boolean", "Is node {node} a leaf, that is, a node without children?",
         lambda s, node: not s.children[node], arguments.a_node),
    Task("multi_tree", "node_depth", "A", "integer", "On which level is node {node}? The root is on level 1.",
         _level, arguments.a_node, _levels),
    Task("multi_tree", "all_children", "A", "set", "Which nodes are descendants of node {node}: its children, their "
         "children, and so on?", lambda s, node: s.under(node).nodes[1:], arguments.a_node),
    Task("multi_tree", "all_ancestor", "A", "set", "Which nodes are ancestors of node {node}: its parent, its parent's "
         "parent, and so on?", lambda s, node: s.ancestors(node), arguments.a_node),
    Task("multi_tree", "common_ancestor", "A", "node", "Which node is the lowest common ancestor of the nodes {first} "
         "and {second}? A node counts as an ancestor of itself.", operations.lowest_common, arguments.two_nodes),
    Task("multi_tree", "isomorphic", "B", "boolean", "Is this structure the same if nodes are renamed and children may "
         "change places?\n  {other}", arguments.isomorphic, arguments.another_structure),
    Task("multi_tree", "add_node", "C", "tree", f"Add the node {{new}} as the last child of node {{node}}. {WHOLE}.",
         operations.added, arguments.a_new_node),
    Task("multi_tree", "remove_node", "C", "tree", "Remove node {node}. Its children move to its parent, behind the "
         "parent's other children. If it is the root, its first child becomes the root and takes the others behind "
         f"its own. {WHOLE}, or \"No edges\" where one node or none is left.", operations.removed, arguments.a_node),
    Task("binary", "balance", "B", "boolean", "Is this binary tree balanced: do the heights of the left and the right "
         "subtree of every node differ by at most 1?", operations.balanced),
    *(Task("binary", f"{name}fix_traversal", "B", "list", f"Which are the nodes in {name}order ({rule})?",
           lambda s, order=f"{name}order": operations.traversal(s, order)) for name, rule in RULES.items()),
    Task("binary", "traversal_order_verification", "B", "order", "Which traversal of the tree is this sequence: "
         "preorder, inorder or postorder?\n  {sequence}", arguments.order_of, arguments.a_traversal),
    Task("binary", "mirror_tree", "C", "tree", f"Let left and right change places at every node. {WHOLE}.",
         operations.mirrored),
    Task("json", "child_count", "A", "integer", "How many {kind} stand directly under {node}?",
         lambda s, kind, node: sum(s.kind.get(child) == kind for child in s.children[node]), arguments.a_kind_under,
         lambda s, kind, node: range(1, 1 + len(operations.of_kind(s, kind)))),
    Task("json", "json_node_depth", "A", "integer", "On which level is {node}? The outermost record is on level 1.",
         _level, arguments.a_node, _levels),
    Task("json", "level_count", "B", "integer", "How many {kind} are there in all?",
         lambda s, kind: len(operations.of_kind(s, kind)), arguments.a_kind, lambda s, kind: range(1, len(s.nodes))),
    Task("json", "level_nodes", "B", "set", "What are the names of all {kind}?", operations.of_kind, arguments.a_kind),
    Task("json", "node_attribute", "A", "text", "Among the {kind} directly under {node} there is one whose {key} is "
         "{given}. What is its {field}?", arguments.attribute, arguments.an_attribute,
         lambda s, field, **_: sorted({str(own[field]) for own in s.attributes.values() if field in own})),
    Task("json", "path_finding", "A", "list", "Which names are on the path from {first} to {second}, with both ends?",
         operations.path, arguments.path_ends),
    Task("json", "nearest_ancestor", "A", "name", "What is the lowest one that both {first} and {second} stand under? "
         "Neither of the two counts.", lambda s, **pair: operations.lowest_common(s, **pair, itself=False),
         arguments.two_below),
    Task("formula", "calculate", "D", "number", "What is its value, rounded to two decimals?", value),
    Task("formula", "convert", "D", "formula", "Write it in {notation} notation, with a blank between tokens.",
         write, lambda rng, s, f: {"notation": arguments.pick(rng, [n for n in NOTATIONS if n != f])}),
    Task("formula", "equivalent", "D", "boolean", "Is it the same formula as this one in {notation} notation? The two "
         "sides of + and of * may change places.\n  {other}",
         lambda s, notation, other: canonical(read(other, notation)) == canonical(s), arguments.another_formula),
    Task("code", "time_complexity", "D", "class", "What is its time complexity in terms of its argument n?",
         lambda s: s.time),
    Task("code", "space_complexity", "D", "class", "How much memory does it need beside its argument n, with its "
         "stack?", lambda s: s.space),
    Task("paper", "contextual_qa", "E", "text", "{question}", lambda s, question: arguments.facts(s)[question],
         lambda rng, s, f: {"question": arguments.pick(rng, sorted(arguments.facts(s)))},
         lambda s, question: sorted(set(arguments.facts(s).values()))),
    Task("paper", "disordered_section", "E", "set", "Two sections of the first level have changed places. Which two?",
         lambda s, first, second: [first, second], arguments.two_sections,
         lambda s, **_: list(combinations(s.children[s.root], 2)), operations.swapped),
    Task("paper", "outline_extraction", "E", "list", "What are the headings of all sections, in the order of the "
         "paper?", lambda s: s.nodes[1:]),
)  # fmt: skip
TASKS = {task.name: task for task in TABLE}


def answer(structure: Any, task: str, labels: str = "true", **arguments: Any) -> Any:
    """The exact answer to a question; with ``labels="published"`` what the published generator calls right.

    Published depths are heights of subtrees (1 of a leaf), and published descendants contain the node itself.

    Examples
    --------
    >>> tree = operations.Tree.of([(3, 1), (1, 0), (3, 4), (4, 2)])
    >>> answer(tree, "node_depth", node=0), answer(tree, "node_depth", node=0, labels="published")
    (3, 1)
    """
    node = arguments.get("node")
    if labels == "published" and task == "node_depth":
        return structure.under(node).levels
    if labels == "published" and task == "all_children" and structure.children[node]:
        return structure.under(node).nodes
    return TASKS[task].answer(structure, **arguments)


def written(result: Any, kind: str, form: str) -> str:
    """An answer as the text that is the target."""
    if kind in ("set", "list"):
        return json.dumps(list(result), ensure_ascii=False)
    if kind == "tree":
        return render(result, form)
    if kind == "number":
        return f"{float(round(result, 2)):.2f}"
    return ("no", "yes")[result] if kind == "boolean" else f"O({result})" if kind == "class" else str(result)
