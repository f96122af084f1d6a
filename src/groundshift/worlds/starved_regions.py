"""Two regions whose rules conflict, one of them with few rows, and a larger table that is almost of the same kind.

A row of region 0 or 1 has x₁, x₂ ~ N(centre of its region, 1), x₃ = sin(1.5 x₁), x₄ = x₁x₂/3, both with noise, and two
columns of noise. In region 0 the log odds of y = 1 are 3 (x₁ + x₂/2); in region 1, whose centre is (2.2, 1.5), they are
3 (-(x₁ - 2.2) + (x₂ - 1.5)² - 1 + x₅/2), so that rows of one region mislead about the other; with ``rule="equal"`` they
are those of region 0 in both. The probability of every row is known, and so is what any answer loses beside the best.

The order of the columns, the labels of the classes and the names of the regions are drawn.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit

__all__ = ["Layout", "Region", "draw_layout", "draw_rows"]

Array = NDArray[np.float64]
Rule = Literal["conflict", "equal"]
CENTRES = np.array([[0.0, 0.0], [2.2, 1.5]])
SIDE = 6


@dataclass(frozen=True)
class Layout:
    """What is drawn once for all rows of a world.

    Attributes
    ----------
    order : of the columns
    turned : whether the labels of the classes are swapped
    names : of the regions; the second is the one with few rows
    """

    order: tuple[int, ...]
    turned: bool
    names: tuple[str, str]


@dataclass(frozen=True, eq=False)
class Region:
    """Rows of both regions.

    Attributes
    ----------
    table : columns x1 to x6, ``y`` ("no" or "yes") and ``region``
    p : probability of "yes" of each row
    starved : whether a row is of the region with few rows
    """

    table: pd.DataFrame
    p: Array
    starved: NDArray[np.bool_]

    def regret(self, yes: NDArray[np.bool_]) -> Array:
        """What an answer to each row loses, in probability of error, beside the best one."""
        return np.where(yes, 1 - self.p, self.p) - np.minimum(self.p, 1 - self.p)


def draw_layout(rng: np.random.Generator) -> Layout:
    """Order, labels and names.

    >>> sorted(draw_layout(np.random.default_rng(0)).order)
    [0, 1, 2, 3, 4, 5]
    """
    north, south = rng.permutation(["north", "south"])
    return Layout(tuple(rng.permutation(SIDE).tolist()), bool(rng.integers(2)), (str(north), str(south)))


def draw_rows(
    rng: np.random.Generator, rows: int, share: float, layout: Layout, *, rule: Rule = "conflict", moved: float = 0.0
) -> Region:
    """Rows of a world.

    Parameters
    ----------
    rows : of both regions
    share : of the second
    moved : by how much both coordinates of all centres are moved, as in a table of another place
    """
    starved = np.arange(rows) < round(share * rows)
    u = rng.standard_normal((rows, 2))
    x = u + CENTRES[starved.astype(int)] + moved
    noise = rng.standard_normal((rows, 4))
    more = [np.sin(1.5 * x[:, 0]) + 0.1 * noise[:, 0], x[:, 0] * x[:, 1] / 3 + 0.1 * noise[:, 1]]
    X = np.column_stack([x, *more, 0.7 * noise[:, 2:]])
    # The rule goes with the place: where centres are moved, so is it.
    a, b = (x - moved).T
    first = 3 * (a + 0.5 * b)
    second = 3 * (-(a - 2.2) + (b - 1.5) ** 2 - 1 + 0.5 * X[:, 4])
    p = expit(np.where(starved & (rule == "conflict"), second, first))
    yes = rng.random(rows) < p
    p, yes = (1 - p, ~yes) if layout.turned else (p, yes)
    table = pd.DataFrame(X[:, list(layout.order)], columns=[f"x{k + 1}" for k in range(SIDE)])
    table["y"] = np.where(yes, "yes", "no")
    table["region"] = np.where(starved, layout.names[1], layout.names[0])
    at = rng.permutation(rows)
    return Region(table.iloc[at].reset_index(drop=True), p[at], starved[at])
