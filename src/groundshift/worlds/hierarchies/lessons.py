"""Questions as rows of a tiny language, and right answers with wrong ones beside them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from groundshift.worlds.hierarchies.formulas import formula, write
from groundshift.worlds.hierarchies.operations import lowest_common, mirrored, traversal
from groundshift.worlds.hierarchies.text import render
from groundshift.worlds.hierarchies.trees import Tree, grow
from groundshift.worlds.tinylm import EOS, IGNORED, Lexicon

__all__ = ["LEXICON", "ROW", "SPELLINGS", "batch", "question", "small_tree", "wrong_answers"]

QUESTIONS: Mapping[str, Callable[..., Any]] = {
    "root": lambda tree: [tree.root],
    "leaf": lambda tree, node: not tree.children[node],
    "node_depth": lambda tree, node: str(tree.level[node]),
    "common_ancestor": lambda tree, a, b: [lowest_common(tree, a, b)],
    "all_ancestor": lambda tree, node: tree.ancestors(node),
}
LEXICON = Lexicon(
    {
        "node": [f"n{k}" for k in range(12)],
        "level": list("123456"),
        "word": ["yes", "no", *QUESTIONS, "?", ":"],
    }
)
ROW = 32
"""Tokens of the longest row."""


def small_tree(rng: np.random.Generator, most: int) -> Tree:
    """Of 3 to ``most`` nodes, any number of levels that they allow up to 6, and at most three children each."""
    n = int(rng.integers(3, most + 1))
    levels = [k for k in range(2, min(n, 6) + 1) if n <= sum(3**j for j in range(k))]
    return grow(rng, n, levels[rng.integers(len(levels))], 3)


def question(rng: np.random.Generator, task: str) -> tuple[str, str, int]:
    """Edges and a question as words, the answer as words, and the level of what is asked about (else the deepest)."""
    tree = small_tree(rng, 9)
    names = dict(zip(tree.nodes, (f"n{k}" for k in rng.permutation(12)), strict=False))
    count = {"root": 0, "common_ancestor": 2}.get(task, 1)
    nodes = [tree.nodes[k] for k in rng.choice(len(tree.nodes), count, replace=False)]
    right = QUESTIONS[task](tree, *nodes)
    right = ("no", "yes")[right] if isinstance(right, bool) else right
    said = right if isinstance(right, str) else " ".join(names[node] for node in right) or "no"
    edges = " ".join(f"{names[above]} {names[node]}" for above, node in tree.edges)
    level = max((tree.level[node] for node in nodes), default=tree.levels)
    return f"{edges} ? {' '.join([task, *(names[node] for node in nodes)])} :", said, level


def batch(
    rng: np.random.Generator, tasks: Sequence[str], permuted: bool = False, rows: int = 40
) -> dict[str, Any]:
    """Rows of questions with labels on their answers; ``permuted``: each has another tree's."""
    drawn = np.sort(rng.choice(np.asarray(tasks), rows))
    asked, said = zip(*(question(rng, str(task))[:2] for task in drawn), strict=True)
    order = np.arange(rows)
    for task in tasks if permuted else ():
        order[drawn == task] = np.roll(order[drawn == task], 1)
    ids, labels = np.zeros((rows, ROW), int), np.full((rows, ROW), IGNORED)
    for k, text in enumerate(asked):
        before, after = LEXICON.encode(text), [*LEXICON.encode(said[order[k]]), EOS]
        ids[k, : len(before) + len(after)] = [*before, *after]
        labels[k, len(before) : len(before) + len(after)] = after
    return {"ids": ids, "labels": labels}


# Wrong answers by name, and ways to spell a right one -------------------------------------------------------

SPELLINGS: tuple[Callable[[str], str], ...] = (
    lambda q: f'{{"answer": {q}}}', lambda q: "{'answer': " + repr(json.loads(q)) + "}", lambda q: f"{{answer: {q}}}",
    lambda q: f'{{"Answer" : {q} }}', lambda q: f"answer = {q}", lambda q: f'```json\n{{"answer": {q}}}\n```',
    lambda q: f'It follows that {{"answer": {q}}}', lambda q: f'{{"answer": {q}}} That is all.',
    lambda q: f'{{"answer": {q}', lambda q: f"**Answer:** {q}", lambda q: f'{{"note": "first", "answer": {q}}}',
    lambda q: f'{{"answer": "?"}} No: {{"answer": {q}}}',
)  # fmt: skip
"""Harmless ways in which a model writes an answer q, given as JSON."""


def wrong_answers(rng: np.random.Generator) -> list[tuple[str, str, str, str, str]]:
    """Name of what is wrong, task, form, right answer and wrong answer, of new trees and a new formula."""
    tree, pair = (
        grow(rng, int(rng.integers(5, 16)), 4, 3 - binary, binary=binary) for binary in (False, True)
    )
    pre, post = traversal(pair, "preorder"), traversal(pair, "postorder")
    gone, mixed = pre[rng.integers(len(pre))], [pre[k] for k in rng.permutation(len(pre))]
    right, *lists = (json.dumps(nodes) for nodes in (pre, mixed if mixed != pre else pre[::-1], post,
                                                     [node for node in pre if node != gone]))  # fmt: skip
    expr: Any = formula(rng, int(rng.integers(3, 8)), "parentheses", (1, 9))
    prefix, other = write(expr, "prefix"), "+-*/".replace(expr[0], "")[rng.integers(3)]
    number = f"{'-' * int(rng.integers(2))}{rng.uniform(1, 99):.2f}"
    last, before = tree.nodes[-1], tree.nodes[-2]
    parents = [node for node in (before, *tree.ancestors(before)) if node != tree.parent[last]]
    moved = Tree.of([*tree.edges[:-1], (parents[rng.integers(len(parents))], last)])
    node, second = (str(tree.nodes[k]) for k in rng.permutation(len(tree.nodes))[:2])
    mirror, same, whole, other_tree = (render(one, "drawing") for one in (mirrored(pair), pair, tree, moved))
    return [
        ("shuffled", "prefix_traversal", "", right, lists[0]),
        ("postorder for preorder", "prefix_traversal", "", right, lists[1]),
        ("one lost", "prefix_traversal", "", right, lists[2]),
        ("infix for prefix", "convert", "prefix", prefix, write(expr, "infix")),
        ("operator", "convert", "prefix", prefix, other + prefix[1:]),
        ("sign", "calculate", "", number, number[1:] if number[0] == "-" else f"-{number}"),
        ("point", "calculate", "", number, number.replace(".", "")),
        ("marks", "mirror_tree", "drawing", mirror, same),
        ("last leaf", "add_node", "drawing", whole, other_tree),
        ("class", "time_complexity", "", "O(n)", f"O({('n log n', 'n^2', 'n^3')[rng.integers(3)]})"),
        ("two nodes", "root", "", node, f"{node}, {second}"),
    ]  # fmt: skip
