"""Scores of a found graph against the true one."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

__all__ = ["directed_share", "edge_f1", "normalised_shd", "wrong_arrows"]


def edge_f1(found: Iterable[object], true: Iterable[object]) -> float:
    """F1 of a set of edges; 1 where both are empty.

    >>> edge_f1({1, 2}, {2, 3})
    0.5
    """
    found, true = set(found), set(true)
    if not found and not true:
        return 1.0
    return 2 * len(found & true) / (len(found) + len(true))


def directed_share(arrows: Collection[tuple[int, int]], true: Collection[tuple[int, int]]) -> float:
    """Share of the true edges that were drawn as arrows in the true direction.

    >>> directed_share({(0, 1), (2, 1)}, {(0, 1), (1, 2)})
    0.5
    """
    return len(set(arrows) & set(true)) / len(true)


def wrong_arrows(arrows: Collection[tuple[int, int]], true: Collection[tuple[int, int]]) -> int:
    """Number of arrows drawn that are not in the true graph.

    >>> wrong_arrows({(0, 1), (2, 1)}, {(0, 1), (1, 2)})
    1
    """
    return len(set(arrows) - set(true))


def normalised_shd(
    found: Mapping[tuple[int, int], float] | Collection[tuple[int, int]], true: Collection[tuple[int, int]]
) -> float:
    """(|found less true| + |true less found|) / (|found| + |true|); 0 where both are empty.

    ``found`` may weigh its edges: an undirected edge is one half in each direction.

    >>> normalised_shd({(0, 1)}, {(0, 1), (1, 2)})
    0.3333333333333333
    >>> normalised_shd({(0, 1): 0.5, (1, 0): 0.5}, {(0, 1)})
    0.5
    """
    weights = dict(found) if isinstance(found, Mapping) else dict.fromkeys(found, 1.0)
    total = sum(weights.values()) + len(true)
    if total == 0:
        return 0.0
    extra = sum(w for edge, w in weights.items() if edge not in true)
    missed = sum(1 - weights.get(edge, 0.0) for edge in true)
    return (extra + missed) / total
