"""Phase 1, what no test can see: answers "independent" that follow from one column being a function of others."""

from __future__ import annotations

from collections.abc import Collection

from groundshift.discovery.independence import IndependenceTest

__all__ = ["Guarded"]


class Guarded:
    """A test whose "independent" counts only where the conditions determine neither side.

    Given a function of itself a column is independent of everything; PC would cut true edges on such answers.
    ``void`` holds them: (i, j, conditions) -> the side or sides that the conditions determine.
    """

    method = "guarded"

    def __init__(self, ask: IndependenceTest, alpha: float) -> None:
        self.ask, self.alpha = ask, alpha
        self.void: dict[tuple[int, int, tuple[int, ...]], tuple[int, ...]] = {}

    def __call__(self, i: int, j: int, given: Collection[int] | None = None) -> float:
        p = self.ask(i, j, given)
        if not given or p <= self.alpha:
            return p
        i, j = sorted((int(i), int(j)))
        key = (i, j, tuple(sorted(int(k) for k in given)))
        determined = tuple(side for side in (i, j) if self.ask.determined(side, key[2]))
        if determined:
            self.void[key] = determined
        return 0.0 if determined else p

    def links(self, i: int, j: int, given: tuple[int, ...]) -> list[set[frozenset[int]]]:
        """The edges from the conditions of a void answer that would explain why i and j depend on each other."""
        ends = [j if side == i else i for side in self.void[i, j, given]]
        return [{frozenset((k, end)) for k in given} for end in ends]

    def functions(self) -> dict[int, list[tuple[int, ...]]]:
        """Column -> the smallest sets of conditions that were seen to determine it."""
        sets: dict[int, list[tuple[int, ...]]] = {}
        for given, side in sorted(
            {(key[2], side) for key, sides in self.void.items() for side in sides}, key=_by_size
        ):
            if not any(set(smaller) <= set(given) for smaller in sets.get(side, [])):
                sets.setdefault(side, []).append(given)
        return sets


def _by_size(item: tuple[tuple[int, ...], int]) -> tuple[int, tuple[int, ...], int]:
    return len(item[0]), item[0], item[1]
