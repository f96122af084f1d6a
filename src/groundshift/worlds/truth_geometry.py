"""True, false, synthetic and fictional statements as normal clouds whose boundaries and flips are known in closed form.

The world *geometry* of the study of *truth*: Fisher's discriminant for any label map follows from the means and the
pooled covariance of a mixture, and the share of true statements between two half-spaces from the bivariate normal law.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import multivariate_normal

from groundshift.errors import InputError

__all__ = ["Drawn", "Flips", "Geometry"]

Array = NDArray[np.float64]
FAR = 4.0
"""How far the statements that are neither lie from the facts."""


@dataclass(frozen=True)
class Drawn:
    """States with their statements.

    Attributes
    ----------
    x : (n, dimensions)
    table : ``statement`` (a name of its own), ``kind``
    """

    x: Array
    table: pd.DataFrame


@dataclass(frozen=True)
class Flips:
    """Expected shares of the true statements."""

    retraction: float
    expansion: float

    @property
    def flip(self) -> float:
        return self.retraction + self.expansion


@dataclass(frozen=True)
class Geometry:
    """x ~ N(μ of its kind, I); true at +s e₁, false at −s e₁, synthetic at (1 − o) 4 e₂ − o s/2 e₁, fictional at 4 e₃.

    Parameters
    ----------
    separation : s
    overlap : o, 0: synthetic statements lie apart from the facts; 1: between the middle and the false ones
    share : of the synthetic and of the fictional statements that may be promoted; the others are of the kinds
        "synthetic rest" and "fictional rest", with the same law
    facts, others : statements that are true, and that are false; that are synthetic, and fictional
    dimensions : at least 3

    Examples
    --------
    >>> world = Geometry(separation=1.2)
    >>> synthetic, fictional = world.flips("synthetic"), world.flips("fictional")
    >>> round(synthetic.flip, 6) == round(fictional.flip, 6), bool(world.flips([]).flip < 1e-6)
    (True, True)
    >>> Geometry(overlap=1.0).flips("synthetic").retraction < 0.01
    True
    """

    separation: float = 1.2
    overlap: float = 0.0
    share: float = 1.0
    facts: int = 800
    others: int = 600
    dimensions: int = 32

    def __post_init__(self) -> None:
        if (
            not (0 <= self.overlap <= 1 and 0 < self.share <= 1 and self.separation > 0)
            or self.dimensions < 3
            or min(self.facts, self.others) < 1
        ):
            raise InputError(
                f"{self} was asked for; an overlap in [0, 1], a share in (0, 1], a positive separation, three "
                "dimensions and a statement of each kind are needed."
            )

    @property
    def kinds(self) -> dict[str, tuple[Array, int]]:
        """Mean and number of the statements of each kind."""
        e1, e2, e3 = np.eye(3, self.dimensions)
        s, o = self.separation, self.overlap
        promoted = max(1, round(self.share * self.others))
        means = {"synthetic": (1 - o) * FAR * e2 - o * s / 2 * e1, "fictional": FAR * e3}
        kinds = {"true": (s * e1, self.facts), "false": (-s * e1, self.facts)}
        for kind, mean in means.items():
            kinds[kind] = mean, promoted
            if promoted < self.others:
                kinds[f"{kind} rest"] = mean, self.others - promoted
        return kinds

    def draw(self, rng: np.random.Generator) -> Drawn:
        """States of all statements."""
        kinds = self.kinds
        kind = np.repeat(list(kinds), [n for _, n in kinds.values()])
        centre = np.concatenate([np.tile(mean, (n, 1)) for mean, n in kinds.values()])
        x = centre + rng.standard_normal(centre.shape)
        return Drawn(x, pd.DataFrame({"statement": [f"s{k}" for k in range(len(kind))], "kind": kind}))

    def boundary(self, promoted: str | Sequence[str] = ()) -> tuple[Array, float]:
        """w (of length one) and b of the population's discriminant where the kinds ``promoted`` count as true, too.

        w = Σ⁻¹ (μ₁ − μ₀) with the pooled covariance within classes, and the boundary midway, as the probe has it.
        """
        one = {"true", promoted} if isinstance(promoted, str) else {"true", *promoted}
        classes = [sorted(one), sorted(set(self.kinds) - one)]
        total = sum(n for _, n in self.kinds.values())
        mu, sigma = [], np.eye(self.dimensions)
        for names in classes:
            means = np.array([self.kinds[k][0] for k in names])
            n = np.array([self.kinds[k][1] for k in names])
            mu.append(n @ means / n.sum())
            sigma += ((means - mu[-1]).T * n) @ (means - mu[-1]) / total
        w = np.linalg.solve(sigma, mu[0] - mu[1])
        w /= np.linalg.norm(w)
        return w, float(-w @ (mu[0] + mu[1]) / 2)

    def flips(self, promoted: str | Sequence[str]) -> Flips:
        """Expected shares of true statements that are retracted and added when kinds are ``promoted``."""
        lines = [self.boundary(), self.boundary(promoted)]
        mean = np.array([w @ self.kinds["true"][0] + b for w, b in lines])
        cosine = float(np.clip(lines[0][0] @ lines[1][0], -1, 1))
        both = multivariate_normal(mean, [[1, cosine], [cosine, 1]], allow_singular=True).cdf([0.0, 0.0])
        below = multivariate_normal.cdf(0.0, mean[0], 1), multivariate_normal.cdf(0.0, mean[1], 1)
        return Flips(float(below[1] - both), float(below[0] - both))
