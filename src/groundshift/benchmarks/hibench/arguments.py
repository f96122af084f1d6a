"""What the tasks ask about, drawn from a structure s that is shown in a form f."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from groundshift.worlds.hierarchies import Tree, parse, render, shape
from groundshift.worlds.hierarchies.formulas import NOTATIONS, changed, write
from groundshift.worlds.hierarchies.operations import ORDERS, traversal


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
    copy = Tree.of(
        [(new[a], new[b]) for a, b in other.edges], [new[root] for root in other.roots], forest=True
    )
    return {"other": render(copy, f).replace("\n", "\n  "), "form": f}


def isomorphic(s: Tree, other: str, form: str) -> bool:
    return shape(parse(other.replace("\n  ", "\n"), form)) == shape(s)


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
