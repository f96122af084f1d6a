"""Structures of every scenario and difficulty, and how they are shown."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from itertools import product
from typing import Any

import numpy as np

from groundshift.worlds.hierarchies.documents import paper, university
from groundshift.worlds.hierarchies.formulas import canonical, formula, write
from groundshift.worlds.hierarchies.programs import FAMILIES, Program, program
from groundshift.worlds.hierarchies.reading import from_json
from groundshift.worlds.hierarchies.text import render
from groundshift.worlds.hierarchies.trees import Tree, grow, shape

__all__ = ["CELLS", "code", "show", "stream", "structures"]

CELLS: dict[str, dict[str, Any]] = {
    "multi_tree": {"easy": ((2, 3), (2, 3)), "medium-1": ((2, 3), (3, 4)), "medium-2": ((3, 4), (2, 3)),
                   "hard-1": ((2, 3), (5, 6)), "hard-2": ((5, 6), (2, 3))},
    "binary": {"easy": ((2, 3, 4), (2,)), "medium": ((5, 6, 7), (2,)), "hard": ((8, 9), (2,))},
    "json": {"easy": (4, (1, 2)), "medium": (5, (2, 3)), "hard": (6, (2, 4))},
    "formula": {"easy": 5, "medium": 10, "hard": 15},
    "code": {"easy": (False, False), "medium": (True, False), "hard": (True, True)},
    "paper": {"easy": (1, 4), "medium": (2, 4), "hard": (3, 4)},
}  # fmt: skip
"""Difficulty → of trees levels and most children (crossed; hard-1 is wide, hard-2 deep), else the world's settings."""
VALUES = ((1, 9), (-100, 99), (-1000, 999))


def stream(seed: int, *names: Any) -> np.random.Generator:
    """Random numbers of their own for whatever has a name, so that a new cell or task moves no other."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(zlib.crc32(repr(names).encode()),)))


def structures(scenario: str, n: int = 3, seed: int = 0) -> Iterator[tuple[str, Any]]:
    """Difficulty and structure, ``n`` of each cell (of trees: of each of ``n`` numbers of nodes)."""
    for difficulty, cell in CELLS[scenario].items():
        rng, binary = stream(seed, scenario, difficulty), scenario == "binary"
        if scenario in ("multi_tree", "binary"):
            for levels, degree, balanced in product(*cell, (False, True) if binary else (False,)):
                sizes = np.arange(levels, sum(degree**k for k in range(levels)) + 1)
                for size in np.repeat(rng.permutation(sizes)[:n], n):
                    yield difficulty, grow(rng, int(size), levels, degree, balanced, binary)
            continue
        for _ in range(n):
            drawn: Iterable[Any] = [from_json(paper(rng, *cell))] if scenario == "paper" else []
            if scenario == "json":
                drawn = (from_json(university(rng, cell[0], cell[1], nonsense)) for nonsense in (False, True))
            elif scenario == "code":
                drawn = (program(rng, family, *cell) for family in FAMILIES)
            elif scenario == "formula":
                cells = product(("basic", "parentheses", "power"), VALUES)
                drawn = (formula(rng, cell, *settings) for settings in cells)
            yield from ((difficulty, structure) for structure in drawn)


def code(structure: Any) -> str:
    """Equal for structures that are the same but for names: of trees their shape, of formulas their canonical tree."""
    if isinstance(structure, Tree):
        return shape(structure)
    return structure.text["python"] if hasattr(structure, "family") else canonical(structure)


def show(structure: Any, form: str) -> str:
    """A structure of any scenario as text."""
    if isinstance(structure, Program):
        return structure.text[form]
    if not isinstance(structure, Tree):
        return write(structure, form)
    return _sections(structure, structure.root) if form == "paper" else render(structure, form)


def _sections(tree: Tree, node: Any) -> str:
    parts = [
        tree.attributes[node].get("text", ""),
        *(_sections(tree, child) for child in tree.children[node]),
    ]
    return "\n".join(part for part in (f"<<<{node}>>>", *parts, f"<<</{node}>>>") if part)
