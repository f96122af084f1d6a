"""What the tasks ask, drawn from a structure, and the exact answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from groundshift.worlds.hierarchies import Tree, parse, render, shape
from groundshift.worlds.hierarchies.formulas import NOTATIONS, changed, write

ORDERS = ("preorder", "inorder", "postorder")

# In all of these s is the structure and f the form in which it is shown.


def pick(rng: Any, items: Sequence[Any]) -> Any:
    return items[int(rng.integers(len(items)))] if len(items) else None


def a_node(rng: Any, s: Tree, f: str) -> dict[str, Any]:
    return {"node": pick(rng, s.nodes)}


def two_nodes(rng: Any, s: Tree, f: str) -> dict[str, Any] | None:
    if len(s.nodes) < 3:
        return None
    first, second = rng.choice(len(s.nodes), 2, replace=False)
    return {"first": s.nodes[first], "second": s.nodes[second]}


def two_below(rng: Any, s: Tree, f: str) -> dict[str, Any] | None:
    pair = two_nodes(rng, s, f)
    return None if pair is None or s.root in pair.values() else pair


def a_new_node(rng: Any, s: Tree, f: str) -> dict[str, Any]:
    return {"node": pick(rng, s.nodes), "new": max((n for n in s.nodes if isinstance(n, int)), default=0) + 1}


def path_ends(rng: Any, s: Tree, f: str) -> dict[str, Any] | None:
    """Two nodes of which the second is above the first, below it, or neither."""
    way, pair = pick(rng, ("up", "down", "between")), two_nodes(rng, s, f)
    if pair is None or way == "between" or not (above := s.ancestors(pair["first"])):
        return pair
    ends = [pair["first"], pick(rng, above)]
    return dict(zip(("first", "second"), ends if way == "up" else ends[::-1], strict=True))


def of_kind(s: Tree, kind: str) -> list[Any]:
    return [node for node in s.nodes if s.kind.get(node) == kind]


def a_kind(rng: Any, s: Tree, f: str) -> dict[str, Any] | None:
    kinds = sorted({s.kind[node] for node in s.nodes[1:] if node in s.kind})
    return {"kind": pick(rng, kinds)} if kinds else None


def a_kind_under(rng: Any, s: Tree, f: str) -> dict[str, Any] | None:
    node = pick(rng, [node for node in s.nodes if s.children[node] and s.children[node][0] in s.kind])
    return None if node is None else {"kind": s.kind[pick(rng, s.children[node])], "node": node}


def an_attribute(rng: Any, s: Tree, f: str) -> dict[str, Any] | None:
    """A leaf record with two fields, the first of which no other record under the same parent shares."""
    leaves = [n for n in s.nodes if not s.children[n] and n in s.parent and len(s.attributes.get(n, ())) > 1]
    for node in (leaves[k] for k in rng.permutation(len(leaves))):
        own, above = s.attributes[node], s.parent[node]
        key, field = map(str, rng.permutation(sorted(own))[:2])
        if [s.attributes.get(n, {}).get(key) for n in s.children[above]].count(own[key]) == 1:
            return {"kind": s.kind[node], "node": above, "key": key, "given": str(own[key]), "field": field}
    return None


def attribute(s: Tree, node: Any, key: str, given: str, field: str, kind: str) -> str:
    rows = (s.attributes[n] for n in s.children[node] if s.kind[n] == kind)
    return next(str(row[field]) for row in rows if str(row.get(key)) == given)


def lowest_common(s: Tree, first: Any, second: Any, itself: bool = True) -> Any:
    lines = [[*[node] * itself, *s.ancestors(node)] for node in (first, second)]
    return next((node for node in lines[0] if node in lines[1]), None)


def path(s: Tree, first: Any, second: Any) -> list[Any]:
    top = lowest_common(s, first, second)
    up, down = [first, *s.ancestors(first)], [second, *s.ancestors(second)]
    return [*up[: up.index(top) + 1], *reversed(down[: down.index(top)])]


def another_structure(rng: Any, s: Tree, f: str) -> dict[str, Any]:
    """A relabelled copy; of every second one 1 to 3 edges are cut, or a part is moved so that it stays a tree."""
    edges, other, moved = s.edges, s, rng.random() < 0.5
    while rng.random() < 0.5 if other is s else shape(other) == shape(s):
        kept = [edges[k] for k in sorted(rng.permutation(len(edges))[rng.integers(1, 4) :])]
        if moved and rng.random() < 0.9:  # not all trees have a part whose move changes their shape
            _, node = pick(rng, edges)
            outside = [n for n in s.nodes if n not in s.under(node).nodes]
            kept = [(pick(rng, outside) if child == node else above, child) for above, child in edges]
        other = Tree.of(kept, s.nodes, forest=True)
    new = dict(zip(s.nodes, map(int, rng.permutation(len(s.nodes))), strict=True))
    copy = Tree.of([(new[a], new[b]) for a, b in other.edges], map(new.get, other.roots), forest=True)
    return {"other": render(copy, f).replace("\n", "\n  "), "form": f}


def isomorphic(s: Tree, other: str, form: str) -> bool:
    return shape(parse(other.replace("\n  ", "\n"), form)) == shape(s)


def added(s: Tree, node: Any, new: Any) -> Tree:
    return Tree(s.roots, {**s.children, node: (*s.children[node], new), new: ()}, s.side)


def removed(s: Tree, node: Any) -> Tree:
    own, below = s.children[node], {n: c for n, c in s.children.items() if n != node}
    if node not in s.parent:
        return Tree(own[:1], below | {n: (*s.children[n], *own[1:]) for n in own[:1]})
    above = s.parent[node]
    return Tree(s.roots, below | {above: (*(c for c in s.children[above] if c != node), *own)})


def balanced(s: Tree) -> bool:
    height, even = {}, True
    for node in reversed(s.nodes):
        heights = [*(height[c] for c in s.children[node]), 0, 0][:2]
        height[node], even = 1 + max(heights), even and abs(heights[0] - heights[1]) <= 1
    return even


def traversal(s: Tree, order: str, node: Any = None) -> list[Any]:
    node = s.root if node is None else node
    below = {s.side[child]: traversal(s, order, child) for child in s.children[node]}
    left, right = below.get("L", []), below.get("R", [])
    return {"preorder": [node, *left, *right], "inorder": [*left, node, *right]}.get(
        order, [*left, *right, node]
    )


def order_of(s: Tree, sequence: str) -> str:
    return next(order for order in ORDERS if ", ".join(map(str, traversal(s, order))) == sequence)


def a_traversal(rng: Any, s: Tree, f: str) -> dict[str, Any] | None:
    """A traversal that differs from the other two."""
    drawn = [", ".join(map(str, traversal(s, order))) for order in ORDERS]
    drawn = [sequence for sequence in drawn if drawn.count(sequence) == 1]
    return {"sequence": pick(rng, drawn)} if drawn else None


def another_formula(rng: Any, s: Any, f: str) -> dict[str, Any]:
    notation = pick(rng, NOTATIONS)
    return {"notation": notation, "other": write(s if rng.random() < 0.5 else changed(rng, s), notation)}


def facts(s: Tree) -> dict[str, str]:
    return {own["question"]: own["answer"] for own in s.attributes.values() if "question" in own}


def two_sections(rng: Any, s: Tree, f: str) -> dict[str, Any]:
    first, second = rng.choice(len(s.children[s.root]), 2, replace=False)
    return {"first": s.children[s.root][first], "second": s.children[s.root][second]}


def swapped(s: Tree, first: Any, second: Any) -> Tree:
    places = {first: second, second: first}
    below = tuple(places.get(child, child) for child in s.children[s.root])
    return Tree(s.roots, {**s.children, s.root: below}, attributes=s.attributes)
