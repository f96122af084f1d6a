"""A market in which popularity and activity keep moving after training ends, and what decides a click does not.

Tastes of users and items are fixed. The popularity of an item and the activity of a user are level + severity · growth
· (day − 3.5) with growth rates of their own, so that the ranges of both widen with every day; popularity is observed
twice, activity once, each with noise.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

__all__ = ["DRIFTING", "STABLE", "Market", "drifting_market"]

Array = NDArray[np.float64]
TASTES = 4
MIDDLE = 3.5
"""The day on which levels are what they were drawn as: the middle of eight days of training."""
DRIFTING = ("activity", "popularity", "recent_sales")
STABLE = tuple(f"{side}_taste_{k + 1}" for side in ("user", "item") for k in range(TASTES))


@dataclass(frozen=True)
class Market:
    """Users and items of one market.

    Attributes
    ----------
    user_taste, item_taste : shape (users, 4) and (items, 4)
    activity, quality : levels on day 3.5, shape (users,) and (items,)
    user_growth, item_growth : change of activity and popularity a day, before the severity
    severity : how fast both move; 0 is a market without drift
    """

    user_taste: Array
    item_taste: Array
    activity: Array
    quality: Array
    user_growth: Array
    item_growth: Array
    severity: float

    def day(self, rng: np.random.Generator, day: float, rows: int, flipped: bool = False) -> pd.DataFrame:
        """Impressions of one day.

        Parameters
        ----------
        rng : source of users, items, noise and clicks
        day : 0, 1, ...
        rows : how many
        flipped : whether popularity lessens the clicks that it raises on all other days

        Returns
        -------
        DataFrame
            ``user_id``, ``item_id``, eight noisy tastes (`STABLE`), the three columns of `DRIFTING`, ``day`` and
            ``click`` (0 or 1).

        Examples
        --------
        >>> market = drifting_market(np.random.default_rng(0), severity=1.0)
        >>> market.day(np.random.default_rng(1), 0, 5).shape
        (5, 15)
        """
        u, i = rng.integers(len(self.activity), size=rows), rng.integers(len(self.quality), size=rows)
        moved = self.severity * (day - MIDDLE)
        act = self.activity[u] + moved * self.user_growth[u]
        pop = self.quality[i] + moved * self.item_growth[i]
        tu, ti = self.user_taste[u], self.item_taste[i]
        logit = 0.5 * (tu * ti).sum(1) + (-0.9 if flipped else 0.9) * pop + 0.5 * act * np.sign(ti[:, 0])
        noisy = np.column_stack([tu, ti]) + 0.5 * rng.standard_normal((rows, 2 * TASTES))
        e = rng.standard_normal((3, rows))
        return pd.DataFrame(
            {
                "user_id": u, "item_id": i, **dict(zip(STABLE, noisy.T, strict=True)),
                "activity": act + 0.2 * e[0], "popularity": pop + 0.2 * e[1],
                "recent_sales": 0.5 * pop + 0.5 * e[2], "day": day,
                "click": (rng.random(rows) < 1 / (1 + np.exp(-logit))).astype(int),
            }
        )  # fmt: skip


def drifting_market(
    rng: np.random.Generator, severity: float, users: int = 150, items: int = 120, growth: float = 0.3
) -> Market:
    """Draw a market.

    Parameters
    ----------
    rng : source of tastes, levels and growth rates, all normal
    severity : 0 for no drift, 1 for growth rates of standard deviation ``growth`` a day
    """
    return Market(
        rng.standard_normal((users, TASTES)),
        rng.standard_normal((items, TASTES)),
        rng.standard_normal(users),
        rng.standard_normal(items),
        growth * rng.standard_normal(users),
        growth * rng.standard_normal(items),
        severity,
    )
