"""Do samples from several domains differ, and by how much? Tests and effect sizes, one number per question.

Domains are codes 0 … k - 1, one per row. Effects lie between 0 (alike) and 1 (nothing in common).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from scipy.spatial.distance import pdist

__all__ = [
    "Difference",
    "auc_interval",
    "categories_differ",
    "categories_p",
    "mmd",
    "numbers_differ",
    "permutation_p",
    "permuted_auc_p",
    "simes",
]

Array = NDArray[np.float64]
Codes = NDArray[np.int64]
ENOUGH = 20
"""Permuted values beyond the observed one after which the p-value is clear."""
LEAST_EXPECTED = 5
"""Rows expected of a label in a domain below which χ² is not its distribution."""
KOLMOGOROV = 1.358
"""95 % quantile of the Kolmogorov distribution: half the width of a band around a distribution function."""


@dataclass(frozen=True)
class Difference:
    """How a domain differs from the others in one variable.

    Attributes
    ----------
    effect, low, high : distance of the domain that differs most from all the others, with its 95 % interval
    p : of "all domains are alike"
    domain : code of that domain
    """

    effect: float
    low: float
    high: float
    p: float
    domain: int


def numbers_differ(values: ArrayLike, domain: ArrayLike) -> Difference:
    """Kolmogorov-Smirnov distance of each domain from the others; p-values are adjusted for the number of domains.

    Parameters
    ----------
    values : shape (rows,); missing values are left out
    domain : codes, shape (rows,)

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> test = numbers_differ(np.r_[rng.normal(0, 1, 500), rng.normal(1, 1, 500)], np.repeat([0, 1], 500))
    >>> round(test.effect, 1), test.p < 1e-6
    (0.4, True)
    """
    values, domain = _present(values, domain)
    codes = np.unique(domain)
    if len(codes) < 2:
        return Difference(0.0, 0.0, 1.0, 1.0, int(codes[0]) if len(codes) else 0)
    order = np.argsort(values, kind="stable")
    values, domain = values[order], domain[order]
    last = np.r_[np.flatnonzero(np.diff(values)), len(values) - 1]  # ties move together
    best = Difference(-1.0, 0.0, 0.0, 1.0, 0)
    tested = codes[:1] if len(codes) == 2 else codes
    for code in tested:
        inside = domain == code
        n, m = int(inside.sum()), int((~inside).sum())
        gap = np.abs(np.cumsum(inside) / n - np.cumsum(~inside) / m)[last].max()
        p = float(stats.kstwobign.sf(gap * np.sqrt(n * m / (n + m))))
        if gap > best.effect:
            half = KOLMOGOROV * np.sqrt(1 / n + 1 / m)
            most = code if len(codes) > 2 else codes[1]
            best = Difference(
                float(gap), max(float(gap - half), 0.0), min(float(gap + half), 1.0), best.p, int(most)
            )
        best = Difference(best.effect, best.low, best.high, min(best.p, p * len(tested)), best.domain)
    return best


def categories_differ(codes: ArrayLike, domain: ArrayLike) -> Difference:
    """χ² test of labels by domain; the effect is the total variation distance of a domain from the others.

    Parameters
    ----------
    codes : labels as numbers, shape (rows,); missing values are left out
    domain : codes, shape (rows,)

    Examples
    --------
    >>> test = categories_differ([0, 0, 0, 1] * 50 + [0, 1, 1, 1] * 50, [0] * 200 + [1] * 200)
    >>> test.effect, test.p < 1e-6
    (0.5, True)
    """
    table, kept = _counts(codes, domain)
    if min(table.shape) < 2:
        return Difference(0.0, 0.0, 1.0, 1.0, int(kept[0]) if len(kept) else 0)
    p = categories_p(codes, domain)
    total = table.sum(0)
    shares, others = table / total, (table.sum(1, keepdims=True) - table) / (total.sum() - total)
    distance = np.abs(shares - others).sum(0) / 2
    most = len(kept) - 1 - int(np.argmax(distance[::-1]))  # of two domains, which are equally far, the later
    low, high = _distance_interval(shares[:, most], others[:, most], total[most], total.sum() - total[most])
    return Difference(float(distance[most]), low, high, p, int(kept[most]))


def categories_p(codes: ArrayLike, domain: ArrayLike) -> float:
    """The p-value of `categories_differ` alone.

    Labels that are too rare for the χ² distribution (expected in some domain fewer than `LEAST_EXPECTED` times) are
    pooled; of two labels in two domains that stay too rare the test is Fisher's exact one.
    """
    table = _pooled(_counts(codes, domain)[0])
    if min(table.shape) < 2:
        return 1.0
    expected = table.sum(1, keepdims=True) * table.sum(0) / table.sum()
    if table.shape == (2, 2) and expected.min() < LEAST_EXPECTED:
        return float(stats.fisher_exact(table.astype(int)).pvalue)
    freedom = (table.shape[0] - 1) * (table.shape[1] - 1)
    return float(stats.chi2.sf(((table - expected) ** 2 / expected).sum(), freedom))


def _pooled(table: Array) -> Array:
    """Rows of a table of counts that are too rare become one."""
    if min(table.shape) < 2:
        return table
    rare = table.sum(1) * table.sum(0).min() / table.sum() < LEAST_EXPECTED
    if rare.sum() < 2:
        return table
    return np.vstack([table[~rare], table[rare].sum(0)])


def _counts(codes: ArrayLike, domain: ArrayLike) -> tuple[Array, Codes]:
    """Rows of each label in each domain, and the codes of the domains."""
    values, where = _present(codes, domain)
    rows = np.unique(values, return_inverse=True)[1]
    kept, columns = np.unique(where, return_inverse=True)
    shape = (int(rows.max(initial=0)) + 1, len(kept))
    counts = np.bincount(rows * len(kept) + columns, minlength=shape[0] * shape[1])
    return counts.reshape(shape).astype(float), kept


def _distance_interval(p: Array, q: Array, n: float, m: float) -> tuple[float, float]:
    """Parametric bootstrap of a total variation distance, less the bias that it has."""
    rng = np.random.default_rng(0)
    drawn = np.abs(rng.multinomial(int(n), p, 400) / n - rng.multinomial(int(m), q, 400) / m).sum(1) / 2
    distance = np.abs(p - q).sum() / 2
    low, high = np.quantile(2 * distance - drawn, [0.025, 0.975])
    return float(np.clip(low, 0, 1)), float(np.clip(high, 0, 1))


def auc_interval(scores: ArrayLike, positive: ArrayLike, level: float = 0.95) -> tuple[float, float, float]:
    """Area under the ROC curve with its interval (DeLong, DeLong, Clarke-Pearson 1988).

    Parameters
    ----------
    scores : shape (rows,)
    positive : shape (rows,), bool; both kinds must be there

    Examples
    --------
    >>> area, low, high = auc_interval(np.arange(100.0), np.arange(100) >= 50)
    >>> area, low, high
    (1.0, 1.0, 1.0)
    """
    scores, positive = np.asarray(scores, dtype=float), np.asarray(positive, dtype=bool)
    n, m = int(positive.sum()), int((~positive).sum())
    ranks = stats.rankdata(scores)
    # Placements: for each positive the share of negatives below it, for each negative that of positives above it.
    above = (ranks[positive] - stats.rankdata(scores[positive])) / m
    below = 1 - (ranks[~positive] - stats.rankdata(scores[~positive])) / n
    area = float(above.mean())
    spread = np.sqrt((above.var(ddof=1) if n > 1 else 0.25) / n + (below.var(ddof=1) if m > 1 else 0.25) / m)
    half = float(stats.norm.ppf((1 + level) / 2) * spread)
    return area, max(area - half, 0.0), min(area + half, 1.0)


def permuted_auc_p(
    scores: ArrayLike, domain: ArrayLike, rng: np.random.Generator, permutations: int = 999
) -> tuple[float, float]:
    """Mean one-against-rest AUC over domains, and its p-value when labels are permuted against fixed scores.

    The scores must come from a classifier that has not seen these rows. Permuting stops after `ENOUGH` values beyond
    the observed one, which leaves the p-value valid (Besag and Clifford 1991).

    Parameters
    ----------
    scores : one column per domain, shape (rows, domains)
    domain : codes, shape (rows,)

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> labels = np.repeat([0, 1], 100)
    >>> area, p = permuted_auc_p(rng.random((200, 2)), labels, rng)
    >>> 0.4 < area < 0.6 and p > 0.05
    True
    """
    scores, domain = np.asarray(scores, dtype=float), np.asarray(domain)
    present = np.flatnonzero(np.bincount(domain, minlength=scores.shape[1]))
    ranks = stats.rankdata(scores[:, present], axis=0)
    counts = np.bincount(domain, minlength=scores.shape[1])[present].astype(float)
    column = np.searchsorted(present, domain)
    rows = np.arange(len(domain))

    def area(columns: NDArray[np.int64]) -> float:
        sums = np.bincount(columns, weights=ranks[rows, columns], minlength=len(present))
        return float(((sums - counts * (counts + 1) / 2) / (counts * (len(domain) - counts))).mean())

    auc = area(column)
    return auc, permutation_p(lambda: area(rng.permutation(column)) >= auc - 1e-12, permutations)


def permutation_p(beyond: Callable[[], bool], permutations: int) -> float:
    """P-value from draws that say whether a permuted statistic is as large as the observed one; stops when clear.

    >>> permutation_p(lambda: True, 999), permutation_p(lambda: False, 999)
    (1.0, 0.001)
    """
    count = 0
    for n in range(1, permutations + 1):
        count += beyond()
        if count == ENOUGH:
            return count / n
    return (1 + count) / (1 + permutations)


def mmd(
    values: ArrayLike,
    domain: ArrayLike,
    rng: np.random.Generator,
    *,
    features: int = 256,
    permutations: int = 199,
) -> tuple[float, float]:
    """Maximum mean discrepancy of several domains from their mean, and its permutation p-value.

    A Gaussian kernel as wide as the median distance, by random Fourier features (Gretton et al. 2012; Rahimi and
    Recht 2007); linear in the rows.

    Parameters
    ----------
    values : shape (rows, d)
    domain : codes, shape (rows,)

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> rows = rng.standard_normal((400, 8))
    >>> rows[200:] += 0.5
    >>> mmd(rows, np.repeat([0, 1], 200), rng)[1] < 0.05
    True
    """
    values, domain = np.asarray(values, dtype=float), np.asarray(domain)
    some = values[rng.choice(len(values), min(len(values), 500), replace=False)]
    width = float(np.median(pdist(some))) or 1.0
    phases = values @ rng.standard_normal((values.shape[1], features)) / width + rng.uniform(
        0, 2 * np.pi, features
    )
    embedded = np.cos(phases) * np.sqrt(2 / features)
    embedded -= embedded.mean(0)
    counts = np.bincount(domain).astype(float)

    def discrepancy(codes: Codes) -> float:
        indicator = np.eye(len(counts))[codes]
        means = (indicator.T @ embedded) / np.maximum(counts, 1)[:, None]
        return float((counts[:, None] * means**2).sum() / len(codes))

    statistic = discrepancy(domain)
    p = permutation_p(lambda: discrepancy(rng.permutation(domain)) >= statistic, permutations)
    return float(np.sqrt(statistic)), p


def simes(p_values: ArrayLike) -> float:
    """One p-value for "none of these nulls is false" (Simes 1986); rejects when Benjamini-Hochberg rejects any.

    >>> round(simes([0.01, 0.2, 0.9]), 3)
    0.03
    """
    p = np.sort(np.asarray(p_values, dtype=float))
    return float(min((p * len(p) / np.arange(1, len(p) + 1)).min(initial=1.0), 1.0))


def _present(values: Any, domain: Any) -> tuple[Array, Codes]:
    values, domain = np.asarray(values, dtype=float), np.asarray(domain, dtype=np.int64)
    there = ~np.isnan(values)
    return values[there], domain[there]
