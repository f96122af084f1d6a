"""The mean-difference probe, plain or as Fisher's discriminant."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score

from groundshift.probes.truth.bags import Bags, Probe
from groundshift.probes.truth.sawmil import grouped_folds

__all__ = ["MeanDifference", "mean_difference"]


def mean_difference(
    x: NDArray[np.float64], labels: NDArray[np.bool_], *, covariance: bool = True, intercept: bool = True
) -> Probe:
    """w = Σ⁻¹ (μ₁ − μ₀) or μ₁ − μ₀, of length one; the boundary lies midway between the projected means.

    Parameters
    ----------
    x : (N, D), a state for each statement
    labels : (N,)
    covariance : divide by Σ, the pooled covariance within classes, with 1e-8 added to its diagonal
    intercept : without, the boundary goes through 0

    Examples
    --------
    >>> x = np.array([[1.0, 0.0], [3.0, 0.0], [-1.0, 0.0], [-3.0, 0.0]])
    >>> probe = mean_difference(x, np.array([True, True, False, False]), covariance=False)
    >>> probe.w.tolist(), abs(probe.b)
    ([1.0, 0.0], 0.0)
    """
    x = np.asarray(x, dtype=float)
    one, zero = x[labels], x[~labels]
    w = one.mean(0) - zero.mean(0)
    if covariance:
        rest = np.concatenate([one - one.mean(0), zero - zero.mean(0)])
        sigma = rest.T @ rest / len(x)
        sigma[np.diag_indices_from(sigma)] += 1e-8
        w = np.linalg.solve(sigma, w)
    w = w / max(float(np.linalg.norm(w)), 1e-300)
    b = -0.5 * float((one @ w).mean() + (zero @ w).mean()) if intercept else 0.0
    return Probe(w, b, "last", {"covariance": covariance, "intercept": intercept})


@dataclass(frozen=True)
class MeanDifference:
    """The probe with its variant chosen by cross-validation.

    Ranks do not depend on the intercept, so average precision cannot choose it: it is the user's.

    Attributes
    ----------
    covariance : True, False, or "search"
    intercept : see `mean_difference`
    folds : of the search, by group
    """

    covariance: bool | Literal["search"] = "search"
    intercept: bool = True
    folds: int = 3

    def fit(
        self, bags: Bags, labels: NDArray[np.bool_], groups: NDArray[np.int64], rng: np.random.Generator
    ) -> Probe:
        """Fit on the last token of each statement; see `SAwMIL.fit`."""
        x = bags.last
        covariance = self.covariance
        if covariance == "search":
            splits = grouped_folds(labels, groups, self.folds, rng)
            precision = []
            for option in (False, True):
                probes = [
                    (mean_difference(x[train], labels[train], covariance=option), test)
                    for train, test in splits
                ]
                precision.append(
                    np.mean([average_precision_score(labels[t], p.score(bags[t])) for p, t in probes])
                )
            covariance = bool(precision[1] > precision[0])
        return mean_difference(x, labels, covariance=covariance, intercept=self.intercept)
