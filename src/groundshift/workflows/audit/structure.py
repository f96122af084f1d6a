"""Step 3: which structure moved? Label shares, correlations, y given x, x given y, and single mechanisms."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats
from scipy.special import ndtri
from sklearn.linear_model import Ridge
from sklearn.preprocessing import SplineTransformer

from groundshift.measures.multiple import benjamini_hochberg
from groundshift.measures.two_sample import ENOUGH, Difference, categories_differ, numbers_differ
from groundshift.report import Section
from groundshift.shifts.marginals import gaussianise
from groundshift.workflows.audit.models import Design, cross_fitted, fit, halves, recalibrated
from groundshift.workflows.audit.moved import Moved, permutations
from groundshift.workflows.audit.result import p_words
from groundshift.workflows.audit.table import AuditTable

if TYPE_CHECKING:
    from groundshift.workflows.audit.mechanisms import Mechanisms

__all__ = [
    "Concept",
    "Correlations",
    "Label",
    "concept",
    "correlations",
    "covariances",
    "label",
    "section",
    "unknown",
]

Array = NDArray[np.float64]
STRATA = 50
"""Most strata that a numeric target is cut into."""
MANY_TIES = 0.3
"""Share of rows with one value beyond which ranks have ties that matter."""
LEAST_VARIED = 30
"""Rows of each domain that have another value than the commonest, so that there is a correlation."""
MOST_PRODUCTS = 20
"""Columns up to which all products of two are looked at; beyond, the learnt weight has to find them."""
MOST_KNOTS = 20
"""Of the splines that say what a numeric target knows of a column."""


# Correlations --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Correlations:
    """How the dependence between columns moved, whatever their marginals did.

    Attributes
    ----------
    pairs : first, second, domain, there, elsewhere (normal-score correlations), change, low, high, p, q; largest first
    p : of "no correlation moved", by permutation
    matrices : one per domain, shape (domains, columns, columns)
    names : of the columns of the matrices
    """

    pairs: pd.DataFrame
    p: float
    matrices: Array
    names: list[str]


def correlations(table: AuditTable, moved: Moved, level: float, rng: np.random.Generator) -> Correlations:
    """Compare correlations of normal scores within domains.

    Ranks within a domain take every marginal away. Under the null of one dependence for all domains the scores are
    exchangeable between domains; the sum of squared changes and the largest change are both permuted. Ranks do not take
    ties away: a column with many of them is left out where it has moved by itself, and one that hardly varies within
    some domain has no correlation there.
    """
    by_itself = np.isin(table.names, moved.columns.loc[moved.columns["moved"].astype(bool), "column"])
    common = np.array(
        [_common(table.values[:, j], table.domain, len(table.domains)) for j in range(len(table.names))]
    )
    common = common.reshape(-1, 2)
    tied = table.discrete | (common[:, 0] > MANY_TIES)
    used = np.flatnonzero(~table.nominal & ~(tied & by_itself) & (common[:, 1] >= LEAST_VARIED))
    names = [table.names[j] for j in used]
    k = len(table.domains)
    empty = pd.DataFrame(
        columns=[
            "first",
            "second",
            "domain",
            "there",
            "elsewhere",
            "change",
            "low",
            "high",
            "p",
            "q",
            "moved",
        ]
    )
    if len(used) < 2:
        return Correlations(empty, 1.0, np.zeros((k, len(used), len(used))), names)
    scores = np.zeros((len(table), len(used)))
    there = ~np.isnan(table.values[:, used])
    for code in range(k):
        rows = table.domain == code
        for c in range(len(used)):
            present = rows & there[:, c]
            if present.sum() > 1:
                scores[present, c] = gaussianise(table.values[present, used[c]])
    upper = np.triu_indices(len(used), 1)
    # Rounding is far below the noise, and permuting takes most of the time.
    scores = scores.astype(np.float32)
    squares, seen = scores**2, there.astype(np.float32)

    def sums(rows: Any) -> Array:
        """Of products, squares on either side and rows of every pair; (4, pairs)."""
        s, q, m = scores[rows], squares[rows], seen[rows]
        across = q.T @ m
        return np.array([(s.T @ s)[upper], across[upper], across.T[upper], (m.T @ m)[upper]], dtype=float)

    whole = sums(slice(None))

    def changes(domain: NDArray[np.int64]) -> tuple[Array, Array, Array, Array]:
        """Correlations in each domain and in the others, and z-values of their difference; (domains, pairs)."""
        parts = np.array([sums(domain == code) for code in range(k - 1)])
        parts = np.concatenate([parts, [whole - parts.sum(0)]])
        norm = np.sqrt(np.maximum(parts[:, 1] * parts[:, 2], 1e-12))
        r, n = np.clip(parts[:, 0] / norm, -0.9999, 0.9999), np.maximum(parts[:, 3], 4.0)
        others = ((r * n).sum(0) - r * n) / np.maximum(n.sum(0) - n, 1.0)
        z = (np.arctanh(r) - np.arctanh(others)) / np.sqrt(1 / (n - 3) + 1 / np.maximum(n.sum(0) - n - 3, 1))
        return r, others, z, n

    r, others, z, n = changes(table.domain)
    p = _permuted(z, lambda: changes(rng.permutation(table.domain))[2], permutations(level))
    most = np.abs(z).argmax(0)
    at = (most, np.arange(len(most)))
    half = 1.96 * np.sqrt(
        (1 - r[at] ** 2) ** 2 / n[at] + (1 - others[at] ** 2) ** 2 / np.maximum(n.sum(0) - n[at], 1)
    )
    change = r[at] - others[at]
    pairs = pd.DataFrame(
        {
            "first": [names[i] for i in upper[0]],
            "second": [names[j] for j in upper[1]],
            "domain": [table.domains[d] for d in most],
            "there": r[at],
            "elsewhere": others[at],
            "change": change,
            "low": change - half,
            "high": change + half,
            "p": np.minimum(2 * stats.norm.sf(np.abs(z[at])) * (k if k > 2 else 1), 1.0),
        }
    )
    pairs["q"] = benjamini_hochberg(pairs["p"])
    pairs["moved"] = pairs["q"] <= level
    order = pairs["change"].abs().sort_values(ascending=False, kind="stable").index
    pairs = pairs.loc[order].sort_values("moved", ascending=False, kind="stable").reset_index(drop=True)
    matrices = np.tile(np.eye(len(used)), (k, 1, 1))
    for code in range(k):
        matrices[code][upper] = r[code]
        matrices[code].T[upper] = r[code]
    return Correlations(pairs, p, matrices, names)


def _common(values: Array, domain: NDArray[np.int64], domains: int) -> tuple[float, float]:
    """The largest share of rows, over domains, that have the domain's commonest value; the fewest that have another."""
    most, least = 0.0, float(len(values))
    for code in range(domains):
        there = values[(domain == code) & ~np.isnan(values)]
        if not len(there):
            return 1.0, 0.0
        top = int(np.unique(there, return_counts=True)[1].max())
        most, least = max(most, top / len(there)), min(least, float(len(there) - top))
    return most, least


def _permuted(z: Array, draw: Callable[[], Array], most: int) -> float:
    """P-value of the sum of squares and of the largest value together, from at most so many permuted z-values."""
    beyond = np.zeros(2)
    for n in range(1, most + 1):
        shuffled = draw()
        beyond += [(shuffled**2).sum() >= (z**2).sum(), np.abs(shuffled).max() >= np.abs(z).max()]
        if beyond.min() >= ENOUGH:  # neither can become small any more
            return float(min(1.0, 2 * (beyond / n).min()))
    return float(min(1.0, 2 * ((1 + beyond) / (1 + most)).min()))


# Conditional tests ---------------------------------------------------------------------------------------


def covariances(left: Array, right: Array, weights: Array) -> tuple[Array, float]:
    """z-values of E[left · right · weight] = 0 for every combination, and the p-value of "all are 0".

    The generalised covariance measure with weights (Shah and Peters 2020; Scheidegger, Hörrmann, Bühlmann 2022):
    both factors are residuals, so errors of the two regressions multiply. The largest |z| is judged with Bonferroni's
    adjustment; combinations that rest on fewer than twenty rows are left out.

    Returns z of shape (left columns, right columns, weights).
    """
    product = (left[:, :, None] * right[:, None, :]).reshape(len(left), -1)
    mean = product.T @ weights / len(left)
    second = (product**2).T @ (weights**2) / len(left)
    absolute = np.abs(product).T @ np.abs(weights) / len(left)
    rests_on = len(left) * absolute**2 / np.maximum(second, 1e-300)
    z = np.sqrt(len(left)) * mean / np.sqrt(np.maximum(second - mean**2, 1e-300))
    z = np.where((rests_on >= 20) & (second > 1e-20), z, 0.0)
    tested = max(int((z != 0).sum()), 1)
    p = float(min(1.0, tested * 2 * stats.norm.sf(np.abs(z).max(initial=0.0))))
    return z.reshape(left.shape[1], right.shape[1], weights.shape[1]), p


@dataclass(frozen=True)
class Concept:
    """Whether y given x is the same in every domain.

    Attributes
    ----------
    p : of "y does not depend on the domain once x is known"
    gain, low, high : share of the loss of predicting y from x that knowing the domain takes away
    where : columns along which the relation changed; "(level)" for a change at all x alike
    gaps : domain, gap (mean residual of y in that domain, in its standard deviations or in probability), low, high
    spread : ratio of the largest to the smallest standard deviation that x leaves open, among domains, where it is what
        changed; NaN otherwise
    """

    p: float
    gain: float
    low: float
    high: float
    where: tuple[str, ...]
    gaps: pd.DataFrame
    spread: float = np.nan


def concept(
    table: AuditTable,
    X: Design,
    scores: Array,
    first: NDArray[np.bool_],
    rng: np.random.Generator,
    *,
    sized: bool = True,
) -> Concept:
    """Test y ⟂ domain | x by the covariance of two residuals, of y given x and of the domain given x.

    Of a number the size of its residual is tested, too: its mean given x may stay while its spread moves.

    Parameters
    ----------
    table : rows with a label only
    X : their features
    scores : probability of each domain given x, cross-fitted and recalibrated, shape (rows, domains)
    first : which half a row belongs to
    sized : whether to measure the gain, too
    """
    classes = len(table.classes) if table.classes is not None else 0
    y = np.asarray(table.target, dtype=float)
    k = len(table.domains)
    predicted = recalibrated(cross_fitted(X, y, classes, first, rng), y, classes)
    residual = _outcome(y, classes) - predicted
    if classes == 2:
        residual = residual[:, 1:]
    spread = residual.std(0)
    residual = residual[:, spread > 1e-12] / (1.0 if classes else spread[spread > 1e-12])
    away = np.eye(k)[table.domain] - scores
    if k == 2:
        away = away[:, 1:]
    level = predicted[:, 1:] if classes > 1 else predicted
    level = (level - level.mean(0)) / np.maximum(level.std(0), 1e-12)
    weights = np.column_stack([np.ones(len(y)), level, X.linear])
    sources = ["(level)", *["(level of the prediction)"] * level.shape[1], *X.source]
    products = np.zeros((len(y), 0))
    if 1 < X.linear.shape[1] <= MOST_PRODUCTS:
        left, right = np.triu_indices(X.linear.shape[1], 1)
        products = X.linear[:, left] * X.linear[:, right]
    residual = _beyond(residual, weights, products, X.linear**2)
    z, p = covariances(residual, away, weights)
    p_values = [p, _learnt(X, y, classes, table.domain, residual, away, first, rng)]
    if products.shape[1]:
        p_values.append(covariances(residual, away, products)[1])
    p = min(1.0, len(p_values) * min(p_values))
    spread = np.nan
    if classes == 0 and residual.shape[1]:
        size = np.abs(residual[:, 0])
        wide = (size - recalibrated(cross_fitted(X, size, 0, first, rng), size, 0)[:, 0])[:, None]
        p_wide = covariances(_beyond(wide, weights, products, X.linear**2), away, weights[:, :2])[1]
        if p_wide < p:
            by_domain = [residual[table.domain == d, 0].std() for d in range(k)]
            spread = float(max(by_domain) / max(min(by_domain), 1e-12))
        p = min(1.0, 2 * min(p, p_wide))
    by_source = (
        pd.Series(np.abs(z).max((0, 1)), index=sources).groupby(level=0).max().sort_values(ascending=False)
    )
    threshold = stats.norm.isf(0.025 / max(z.size, 1))
    where = tuple(str(name) for name in by_source[by_source > threshold].index[:5])
    gain, low, high = _gain(table, X, y, classes, predicted, first, rng) if sized else (np.nan,) * 3
    return Concept(p, gain, low, high, where, _gaps(table, residual), spread)


def _beyond(residual: Array, *families: Array) -> Array:
    """What functions of x leave of a residual, family by family as long as there are ten rows for each function.

    Trees leave out a little where rows are few, and the domain's model errs in the same places: along these functions,
    which the test is about to ask for, the two errors would add up to a dependence.
    """
    functions = np.zeros((len(residual), 0))
    for family in families:
        if 10 * (functions.shape[1] + family.shape[1]) <= len(residual):
            functions = np.hstack([functions, family])
    return residual - functions @ np.linalg.lstsq(functions, residual, rcond=None)[0]


def unknown() -> Concept:
    """Where the domains overlap in no columns, nothing can be told of y given x."""
    gaps = pd.DataFrame(columns=["domain", "gap", "low", "high"])
    return Concept(1.0, np.nan, np.nan, np.nan, (), gaps)


def _learnt(
    X: Design,
    y: Array,
    classes: int,
    domain: NDArray[np.int64],
    residual: Array,
    away: Array,
    first: NDArray[np.bool_],
    rng: np.random.Generator,
) -> float:
    """The same test with a learnt weight: sees what no single column shows.

    Each quarter is weighted as its sibling says. The residuals come from the other half, and the weight must know
    nothing of it: it would find where the errors of the two regressions agree. So it is learnt from y less a straight
    line and the domain less its share, both within the quarter.
    """
    pairs = [(a, b) for a in range(residual.shape[1]) for b in range(away.shape[1])][:3]
    indicator = np.eye(int(domain.max()) + 1)[domain][:, -away.shape[1] :]
    outcome = _outcome(y, classes)[:, -residual.shape[1] :]
    quarter = 2 * first + _halves_within(domain, first, rng)
    sign = np.empty((len(y), len(pairs)))
    sides = (quarter % 2 == 0, quarter % 2 == 1)
    for sibling, tested in ((0, 1), (1, 0), (2, 3), (3, 2)):
        rows, seen = quarter == tested, X.take(quarter == sibling)
        outcomes, there = outcome[quarter == sibling], indicator[quarter == sibling]
        rest = outcomes - Ridge(1.0).fit(seen.linear, outcomes).predict(seen.linear).reshape(outcomes.shape)
        for at, (a, b) in enumerate(pairs):
            learnt = fit(seen, rest[:, a] * (there[:, b] - there[:, b].mean()), 0, rng)
            sign[rows, at] = np.sign(learnt.predict(X.take(rows))[:, 0])
    # What a quarter says of its sibling is what that says of it: added up, the two would vary twice as much.
    p_values = [
        2
        * min(
            covariances(residual[rows][:, [a]], away[rows][:, [b]], sign[rows][:, [at]])[1] for rows in sides
        )
        for at, (a, b) in enumerate(pairs)
    ]
    return min(1.0, len(p_values) * min(p_values, default=1.0))


def _halves_within(
    domain: NDArray[np.int64], first: NDArray[np.bool_], rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Half of each half."""
    inner = np.zeros(len(domain), dtype=bool)
    for half in (first, ~first):
        inner[half] = halves(domain[half], rng)
    return inner


def _outcome(y: Array, classes: int) -> Array:
    """Indicators of the classes, or the numbers themselves as a column."""
    return np.eye(classes)[y.astype(int)] if classes else y[:, None]


def _gain(
    table: AuditTable,
    X: Design,
    y: Array,
    classes: int,
    predicted: Array,
    first: NDArray[np.bool_],
    rng: np.random.Generator,
) -> tuple[float, float, float]:
    """How much of the loss goes away when the model may know the domain, with an interval over rows."""
    informed = recalibrated(
        cross_fitted(X.beside(table.domain, nominal=True), y, classes, first, rng), y, classes
    )
    without, within = row_loss(y, predicted, classes), row_loss(y, informed, classes)
    saved = without - within
    base = max(float(without.mean()), 1e-12)
    half = 1.96 * float(saved.std(ddof=1)) / np.sqrt(len(saved))
    low, mean, high = ((float(saved.mean()) + sign * half) / base for sign in (-1, 0, 1))
    return max(mean, 0.0), max(low, 0.0), min(max(high, 0.0), 1.0)


def row_loss(y: Array, predicted: Array, classes: int) -> Array:
    """Log loss of class probabilities, or squared error, of each row."""
    if classes == 0:
        return (y - predicted[:, 0]) ** 2
    return -np.log(np.clip(predicted[np.arange(len(y)), y.astype(int)], 1e-6, 1.0))


def _gaps(table: AuditTable, residual: Array) -> pd.DataFrame:
    """Mean residual of y by domain, for the class (or number) where it is largest."""
    rows = []
    for code, name in enumerate(table.domains):
        inside = table.domain == code
        if inside.sum() < 2:
            continue
        mean = residual[inside].mean(0)
        error = residual[inside].std(0, ddof=1) / np.sqrt(inside.sum())
        most = int(np.abs(mean / np.maximum(error, 1e-12)).argmax())
        half = 1.96 * error[most]
        rows.append((name, mean[most], mean[most] - half, mean[most] + half))
    return pd.DataFrame(rows, columns=["domain", "gap", "low", "high"])


@dataclass(frozen=True)
class Label:
    """Whether the distribution of y moved, and whether that explains what moved in x.

    Attributes
    ----------
    difference : of y between domains
    p_rest : of "x does not depend on the domain once y is known"
    shares : class by domain (classification), or domain, mean, sd
    bits_y, bits_x : information about the domain in y, and in x, in bits per row
    """

    difference: Difference
    p_rest: float
    shares: pd.DataFrame
    bits_y: float
    bits_x: float


def label(
    whole: AuditTable,
    table: AuditTable,
    X: Design,
    scores: Array,
    first: NDArray[np.bool_],
    level: float,
    rng: np.random.Generator,
) -> Label:
    """Compare y between domains, and x between domains among rows with the same y.

    Parameters
    ----------
    whole : every row with a label; shares and distances are of all of them
    table : those that models see
    X, scores, first : as for `concept`
    level : at which x given y is asked once more, with a learnt weight
    """
    y = np.asarray(table.target, dtype=float)
    every = np.asarray(whole.target, dtype=float)
    k, classes = len(table.domains), len(table.classes) if table.classes is not None else 0
    if table.classes is not None:
        difference = categories_differ(every, whole.domain)
        strata = y.astype(np.int64)
        counts = np.zeros((classes, k))
        np.add.at(counts, (every.astype(np.int64), whole.domain), 1)
        shares = pd.DataFrame(counts / np.maximum(counts.sum(0), 1), columns=table.domains)
        shares.insert(0, "class", table.classes)
    else:
        difference = numbers_differ(every, whole.domain)
        cut = int(np.clip(len(y) // 100, 5, STRATA))
        strata = pd.qcut(y, cut, labels=False, duplicates="drop").astype(np.int64)
        grouped = pd.Series(every).groupby(whole.domain)
        shares = pd.DataFrame({"domain": table.domains, "mean": grouped.mean(), "sd": grouped.std()})
    given = _Given.of(y, classes, first)
    away = given.residual(np.eye(k)[table.domain])[:, 1 if k == 2 else 0 :]
    logs = np.log(np.clip(scores, 1e-3, 1))
    weights = given.residual(np.column_stack([X.linear, X.linear**2, logs]))
    p_rest = covariances(away, given.within, weights)[1]
    if difference.p <= level < p_rest:  # what is about to be called a label shift is asked once more
        both = X.beside(y, nominal=classes > 0)
        domain_probability = recalibrated(
            cross_fitted(both, table.domain.astype(float), k, first, rng), table.domain, k
        )
        learnt = given.residual(np.log(np.clip(domain_probability, 1e-3, 1)))
        # What half A says of B is what B says of A: their sum has twice the variance of each, so each has its own test.
        halved = [covariances(away[h], np.ones((h.sum(), 1)), learnt[h])[1] for h in (first, ~first)]
        p_rest = min(1.0, 2 * min(p_rest, 2 * min(halved)))
    bits_x = _bits(scores, table.domain)
    bits_y = _bits(_domain_by_label(table, y, strata, first), table.domain)
    return Label(difference, p_rest, shares, bits_y, bits_x)


@dataclass(frozen=True)
class _Given:
    """Columns less what y says of them, and functions of y along which a difference may change its sign.

    A slope of y that changes moves x one way where y is large and the other way where it is small; pooled over y that
    averages out.

    What a model of one half says of the other leans against chance there: a class with many rows of a domain in one
    half has few in the other. So each half has its own functions of y.

    Attributes
    ----------
    basis : orthonormal functions of y: its classes, or splines of a number, in each half; shape (rows, functions)
    within : classes, or 1, the normal score of a number and its square
    """

    basis: Array
    within: Array

    @classmethod
    def of(cls, y: Array, classes: int, first: NDArray[np.bool_]) -> _Given:
        """The functions of class codes (``classes`` of them) or, if ``classes`` is 0, of numbers."""
        if classes:
            functions = within = np.eye(classes)[y.astype(int)]
        else:
            score = ndtri((stats.rankdata(y) - 0.5) / len(y))
            knots = int(np.clip(len(y) // 200, 5, MOST_KNOTS))
            functions = SplineTransformer(knots, knots="quantile").fit_transform(score[:, None])
            within = np.column_stack([np.ones(len(y)), score, score**2 - 1])
        both = np.hstack([functions * half[:, None] for half in (first, ~first)])
        left, size, _ = np.linalg.svd(both, full_matrices=False)
        return cls(left[:, size > 1e-8 * size[0]], within)

    def residual(self, columns: Array) -> Array:
        """The columns less what y says of them."""
        return columns - self.basis @ (self.basis.T @ columns)


def _domain_by_label(
    table: AuditTable, y: Array, strata: NDArray[np.int64], first: NDArray[np.bool_]
) -> Array:
    """Probability of each domain given y, from the other half."""
    k = len(table.domains)
    shares = np.empty((len(y), k))
    for held in (first, ~first):
        counts = np.full((strata.max() + 1, k), 0.5)
        np.add.at(counts, (strata[~held], table.domain[~held]), 1)
        shares[held] = (counts / counts.sum(1, keepdims=True))[strata[held]]
    return shares


def _bits(scores: Array, domain: NDArray[np.int64]) -> float:
    share = np.bincount(domain, minlength=scores.shape[1]) / len(domain)
    at = (np.arange(len(domain)), domain)
    return float(np.mean(np.log2(np.clip(scores[at], 1e-3, 1)) - np.log2(share[domain])))


# The section ---------------------------------------------------------------------------------------------


def section(
    table: AuditTable,
    related: Correlations,
    label: Label | None,
    changed: Concept | None,
    local: Mechanisms | None,
) -> Section:
    """The section of the report."""
    tables: dict[str, pd.DataFrame] = {}
    figures: dict[str, Any] = {}
    parts = []
    if label is not None:
        moved_y = label.difference.p <= 0.05
        parts.append(
            f"The target {table.target_name} {'moved' if moved_y else 'did not move'} (distance "
            f"{label.difference.effect:.2f}, {p_words(label.difference.p)})"
        )
        by = "classes" if table.classes is not None else "values"
        tables[f"{table.target_name} by domain"] = label.shares
        parts.append(
            f"rows with the same {by} of it {'still ' if label.p_rest <= 0.05 else 'no longer '}differ in the columns"
        )
    if changed is not None:
        parts.append(
            f"what the columns say about {table.target_name} {'changed' if changed.p <= 0.05 else 'did not change'} "
            f"({p_words(changed.p)})"
        )
        if len(changed.gaps):
            tables[f"{table.target_name} beyond what the columns predict, by domain"] = changed.gaps
            unit = "probability" if table.classes is not None else "standard deviations"
            figures[f"{table.target_name} beyond what the columns predict ({unit})"] = (
                lambda ax, gaps=changed.gaps, unit=unit: _draw_gaps(ax, gaps, unit)
            )
    if len(related.pairs):
        count = int(related.pairs["moved"].sum())
        parts.append(
            f"{count} of {len(related.pairs)} correlations moved ({p_words(related.p)} for all together)"
        )
        tables["Correlations that moved most (normal scores within domains)"] = related.pairs.head(20)
        if count:
            figures["Correlations there and elsewhere"] = lambda ax: _draw_pairs(ax, related.pairs)
    notes = []
    if local is not None and len(local.columns):
        tables["Mechanisms (CD-NOD)"] = local.columns
        if local.named:
            notes.append(
                f"The mechanism of {', '.join(local.named)} changed while its neighbours stayed put."
            )
        if local.graph:
            notes.append("The graph among them: " + "; ".join(local.graph) + ".")
        notes += local.notes
    answer = "; ".join(parts)
    answer = f"{answer}." if parts else "There are too few columns to have structure."
    return Section("structure", "Which structure moved?", answer, tuple(notes), tables, figures)


def _draw_gaps(ax: Any, gaps: pd.DataFrame, unit: str) -> None:
    y = np.arange(len(gaps))[::-1]
    ax.axvline(0, color="#9aa5ad", linewidth=1)
    ax.hlines(y, gaps["low"], gaps["high"], color="#2f6f8f", linewidth=2)
    ax.scatter(gaps["gap"], y, color="#2f6f8f", s=24, zorder=3)
    ax.set_yticks(y, [str(d)[:28] for d in gaps["domain"]])
    ax.set_xlabel(unit)


def _draw_pairs(ax: Any, pairs: pd.DataFrame) -> None:
    top = pairs[pairs["moved"]].head(12)[::-1]
    y = np.arange(len(top))
    ax.hlines(y, top["elsewhere"], top["there"], color="#c4622d", linewidth=2)
    ax.scatter(top["elsewhere"], y, color="#9aa5ad", s=24, zorder=3, label="elsewhere")
    ax.scatter(top["there"], y, color="#c4622d", s=24, zorder=3, label="in the domain that differs")
    ax.set_yticks(y, [f"{a} – {b}"[:40] for a, b in zip(top["first"], top["second"], strict=True)])
    ax.set_xlim(-1, 1)
    ax.set_xlabel("correlation")
    ax.legend(frameon=False, fontsize=8)
