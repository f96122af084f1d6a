"""Trees: drawn at random with exact sizes, and compared by shape."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from groundshift.errors import InputError

__all__ = ["Node", "Tree", "grow", "shape"]

Node = int | str


@dataclass(frozen=True)
class Tree:
    """A rooted tree whose children have an order.

    Attributes
    ----------
    roots : one root; several of a forest, none of an empty tree
    children : node → its children in order; every node is a key
    side : node → "L" or "R", of the nodes of a binary tree but its root
    kind, attributes : node → what it is ("Departments"), and its fields, of documents
    text : how it is written where it comes from
    nodes, parent, level : all nodes in preorder; of each but the roots its parent; of each its level, of roots 1

    Examples
    --------
    >>> tree = Tree.of([(3, 1), (1, 0), (3, 4)])
    >>> tree.root, tree.nodes, tree.level[0], tree.ancestors(0), tree.under(1).nodes
    (3, (3, 1, 0, 4), 3, (1, 3), (1, 0))
    """

    roots: tuple[Node, ...]
    children: Mapping[Node, tuple[Node, ...]]
    side: Mapping[Node, str] = field(default_factory=dict)
    kind: Mapping[Node, str] = field(default_factory=dict)
    attributes: Mapping[Node, Mapping[str, Any]] = field(default_factory=dict)
    text: str = ""
    nodes: tuple[Node, ...] = field(init=False)
    parent: Mapping[Node, Node] = field(init=False)
    level: Mapping[Node, int] = field(init=False)

    def __post_init__(self) -> None:
        parent: dict[Node, Node] = {}
        level, stack = dict.fromkeys(self.roots, 1), list(reversed(self.roots))
        nodes = []
        while stack:
            nodes.append(node := stack.pop())
            stack += reversed(self.children[node])
            parent |= dict.fromkeys(self.children[node], node)
            level |= dict.fromkeys(self.children[node], level[node] + 1)
        for name, values in (("nodes", tuple(nodes)), ("parent", parent), ("level", level)):
            object.__setattr__(self, name, values)

    @classmethod
    def of(
        cls, edges: Iterable[tuple[Node, Node]], alone: Iterable[Node] = (), forest: bool = False, **more: Any
    ) -> Tree:
        """The tree of (parent, child) pairs, and of nodes that may stand alone.

        Raises
        ------
        InputError
            A child with two parents, a cycle, or several roots unless it may be a forest.
        """
        children: dict[Node, list[Node]] = {node: [] for node in alone}
        parent: dict[Node, Node] = {}
        for above, below in edges:
            if below in parent:
                raise InputError(
                    f"Node {below} stands under {parent[below]} and under {above}; a tree allows one parent."
                )
            parent[below] = above
            children.setdefault(above, []).append(below)
            children.setdefault(below, [])
        roots = tuple(node for node in children if node not in parent)
        tree = cls(roots, {node: tuple(below) for node, below in children.items()}, **more)
        if left := [str(node) for node in children if node not in tree.level]:
            raise InputError(
                f"The nodes {', '.join(left[:5])} stand on a cycle or below one; a tree has none."
            )
        if len(roots) > 1 and not forest:
            raise InputError(
                f"There are {len(roots)} roots ({', '.join(map(str, roots[:5]))}); a tree has one."
            )
        return tree

    @property
    def root(self) -> Node:
        """The only root."""
        return self.roots[0]

    @property
    def levels(self) -> int:
        """The deepest level."""
        return max(self.level.values(), default=0)

    @property
    def edges(self) -> list[tuple[Node, Node]]:
        """(parent, child) in depth-first order."""
        return [(self.parent[node], node) for node in self.nodes if node in self.parent]

    def ancestors(self, node: Node) -> tuple[Node, ...]:
        """Strict ancestors from the parent up to the root."""
        above: list[Node] = []
        while node in self.parent:
            above.append(node := self.parent[node])
        return tuple(above)

    def under(self, node: Node) -> Tree:
        """The subtree of a node."""
        return Tree((node,), self.children)


def shape(tree: Tree) -> str:
    """The canonical code of Aho, Hopcroft and Ullman: equal for isomorphic rooted trees and forests, and no others.

    >>> shape(Tree.of([(0, 1), (0, 2), (2, 3)])) == shape(Tree.of([(7, 5), (5, 2), (7, 1)]))
    True
    """
    code: dict[Node, str] = {}
    for node in reversed(tree.nodes):
        code[node] = f"({''.join(sorted(tree.side.get(c, '') + code[c] for c in tree.children[node]))})"
    return "".join(sorted(code[root] for root in tree.roots))


def grow(
    rng: np.random.Generator,
    nodes: int,
    levels: int,
    degree: int,
    balanced: bool = False,
    binary: bool = False,
) -> Tree:
    """A random tree with exactly so many nodes and levels; ids are a random permutation.

    Parameters
    ----------
    nodes, levels, degree : from ``levels`` nodes up to those of the full tree; most children of a node
    balanced : every level but the last is full, and ``nodes`` is raised to the least number for which that can be
    binary : children are left or right, a single one with probability ½ each

    Raises
    ------
    InputError
        Numbers for which there is no such tree.

    Examples
    --------
    >>> tree = grow(np.random.default_rng(0), 9, 4, 3)
    >>> len(tree.nodes), tree.levels, max(map(len, tree.children.values())) <= 3
    (9, 4, True)
    """
    full = [sum(degree**k for k in range(below)) for below in range(levels + 1)]
    nodes = max(nodes, full[levels - 1] + 1) if balanced else nodes
    if not 2 <= levels <= nodes <= full[levels]:
        raise InputError(
            f"There is no tree of {nodes} nodes on {levels} levels with at most {degree} children each; between "
            f"{levels} and {full[levels]} nodes on two levels or more are needed."
        )
    names = [int(name) for name in rng.permutation(nodes)]
    level: list[int] = [names[0]]
    edges: list[tuple[Node, Node]] = []
    for depth in range(1, levels):
        capacity, below = full[levels - depth], list[int]()
        slots = rng.permutation(np.repeat(np.arange(len(level)), degree))[: nodes - 1 - len(edges)]
        fixed = np.bincount(
            slots, minlength=len(level)
        )  # of a balanced tree: all slots but on the last level
        for k, node in enumerate(level):
            rest, after = nodes - 1 - len(edges), len(level) - k - 1
            # What is left must fit below this level, and every deeper level needs a node.
            least = max(0, -((-rest - len(below)) // capacity) - len(below) - after * degree)
            least = max(least, 1) if rest and not after and not below else least
            most = max(least, min(degree, rest - (levels - depth - 1)))
            count = int(fixed[k]) if balanced else int(rng.integers(least, most + 1))
            own = names[len(edges) + 1 : len(edges) + 1 + count]
            edges += [(node, name) for name in own]
            below += own
        level = below
    tree, side = Tree.of(edges), dict[Node, str]()
    for pair in tree.children.values() if binary else ():
        side |= dict(zip(pair, ("LR", "RL")[rng.integers(2)], strict=False))
    return Tree(tree.roots, tree.children, side)
