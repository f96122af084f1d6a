"""Scores of a found graph against the true one."""

from __future__ import annotations

from collections.abc import Collection, Iterable

__all__ = ["directed_share", "edge_f1", "wrong_arrows"]


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
