"""What is asked of trees, and answered exactly."""

from __future__ import annotations

from typing import Any

from groundshift.worlds.hierarchies.trees import Tree

__all__ = [
    "ORDERS",
    "added",
    "balanced",
    "lowest_common",
    "mirrored",
    "of_kind",
    "path",
    "removed",
    "swapped",
    "traversal",
]

ORDERS = ("preorder", "inorder", "postorder")


def of_kind(s: Tree, kind: str) -> list[Any]:
    """Nodes of a kind, in preorder."""
    return [node for node in s.nodes if s.kind.get(node) == kind]


def lowest_common(s: Tree, first: Any, second: Any, itself: bool = True) -> Any:
    """The lowest common ancestor; a node counts as one of its own unless ``itself`` is false."""
    lines = [[*[node] * itself, *s.ancestors(node)] for node in (first, second)]
    return next((node for node in lines[0] if node in lines[1]), None)


def path(s: Tree, first: Any, second: Any) -> list[Any]:
    """Nodes from one to another through their lowest common ancestor, with both ends."""
    top = lowest_common(s, first, second)
    up, down = [first, *s.ancestors(first)], [second, *s.ancestors(second)]
    return [*up[: up.index(top) + 1], *reversed(down[: down.index(top)])]


def added(s: Tree, node: Any, new: Any) -> Tree:
    """The tree with a new last child of a node."""
    return Tree(s.roots, {**s.children, node: (*s.children[node], new), new: ()}, s.side)


def removed(s: Tree, node: Any) -> Tree:
    """The tree without a node, whose children move to its parent; a root's first child takes its place."""
    own, below = s.children[node], {n: c for n, c in s.children.items() if n != node}
    if node not in s.parent:
        return Tree(own[:1], below | {n: (*s.children[n], *own[1:]) for n in own[:1]})
    above = s.parent[node]
    return Tree(s.roots, below | {above: (*(c for c in s.children[above] if c != node), *own)})


def balanced(s: Tree) -> bool:
    """Whether the heights of the left and the right subtree of every node differ by at most 1."""
    height, even = dict[Any, int](), True
    for node in reversed(s.nodes):
        heights = [*(height[c] for c in s.children[node]), 0, 0][:2]
        height[node], even = 1 + max(heights), even and abs(heights[0] - heights[1]) <= 1
    return even


def traversal(s: Tree, order: str, node: Any = None) -> list[Any]:
    """Nodes of a binary tree in "preorder", "inorder" or "postorder"."""
    node = s.root if node is None else node
    below = {s.side[child]: traversal(s, order, child) for child in s.children[node]}
    left, right = below.get("L", []), below.get("R", [])
    return {"preorder": [node, *left, *right], "inorder": [*left, node, *right]}.get(
        order, [*left, *right, node]
    )


def swapped(s: Tree, first: Any, second: Any) -> Tree:
    """The tree in which two children of the root have changed places."""
    places = {first: second, second: first}
    below = tuple(places.get(child, child) for child in s.children[s.root])
    return Tree(s.roots, {**s.children, s.root: below}, attributes=s.attributes)


def mirrored(s: Tree) -> Tree:
    """The binary tree with left and right changed at every node."""
    return Tree(s.roots, s.children, {node: "LR"[side == "L"] for node, side in s.side.items()})
