"""Shares of a target's classes in domains whose labels are not in yet, if label shift is all that happened.

Under label shift every class k looks in the new rows as it did in the reference, and only its share moved from π_k to
q_k. The q that makes the new rows most likely is found by EM on a classifier's probabilities (Saerens, Latinne and
Decaestecker 2002). That is maximum likelihood if the probabilities are calibrated, so they are calibrated first
(Alexandari, Kundaje and Shrikumar 2020).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from groundshift.errors import InputError
from groundshift.report import Section
from groundshift.workflows.audit.calibration import (
    HeldOut,
    Temperature,
    as_numbers,
    folds,
    held_out,
    temperature,
)
from groundshift.workflows.audit.models import Design
from groundshift.workflows.audit.result import p_words
from groundshift.workflows.audit.table import AuditTable

__all__ = [
    "Shares",
    "Unlabelled",
    "adapted",
    "estimate",
    "estimate_shares",
    "label_shares",
    "maximum_likelihood_shares",
    "with_unlabelled",
]

Array = NDArray[np.float64]
Codes = NDArray[np.int64]

DRAWS = 300
LEAST_OF_CLASS = 4
"""Fewest labels of a class with which it can be told from the others."""
FOLDS = 5
MOST_PREDICTED = 25_000
"""Of many rows fewer folds are made, so that new rows times folds stay below this."""


# On arrays -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Shares:
    """Shares of the classes among rows without labels.

    Attributes
    ----------
    before : shares in the reference, shape (classes,)
    share, low, high : among the rows without labels, with the interval, shape (classes,)
    draws : shares in bootstrap draws of both sets of rows, shape (draws, classes)
    probabilities : of the rows without labels, calibrated and adapted to the new shares, shape (rows, classes)
    p : p-value of "every class looks as it did, and only the shares moved"; NaN where no columns were given
    learner : of the probabilities, "logistic" or "boosting", chosen by cross-validation; "" where they were given
    """

    before: Array
    share: Array
    low: Array
    high: Array
    draws: Array
    probabilities: Array
    p: float = np.nan
    learner: str = ""

    def __repr__(self) -> str:
        listing = ", ".join(
            f"{k}: {s:.3f} [{a:.3f}, {b:.3f}]"
            for k, (s, a, b) in enumerate(zip(self.share, self.low, self.high, strict=True))
        )
        return f"Shares({listing})"

    def to_frame(self) -> pd.DataFrame:
        """A row for each class."""
        return pd.DataFrame(
            {"before": self.before, "share": self.share, "low": self.low, "high": self.high}
        ).rename_axis("class")


def maximum_likelihood_shares(
    probabilities: Array,
    old: Array,
    *,
    start: Array | None = None,
    counts: Array | None = None,
    steps: int = 1000,
    tolerance: float = 1e-6,
) -> Array:
    """Class shares that make unlabelled rows most likely, by EM (Saerens, Latinne and Decaestecker 2002).

    Parameters
    ----------
    probabilities : calibrated class probabilities under the old shares, shape (rows, classes)
    old : the old shares, shape (classes,)
    start : shares to start from; the old ones by default
    counts : how often each row counts, shape (rows,)
    steps : at most so many
    tolerance : largest change of a share at which it stops

    Examples
    --------
    >>> sure = np.eye(2)[[0] * 20 + [1] * 80] * 0.98 + 0.01
    >>> maximum_likelihood_shares(sure, np.array([0.5, 0.5])).round(2).tolist()
    [0.19, 0.81]
    """
    old = np.maximum(old, 1e-12)
    count = np.ones(len(probabilities)) if counts is None else counts
    shares = np.maximum(old if start is None else start, 1e-12)
    shares = _newton(probabilities / old, shares / shares.sum(), count)
    for _ in range(steps):
        ratio = shares / old
        density = np.maximum(probabilities @ ratio, 1e-300)
        moved = ratio * (probabilities.T @ (count / density)) / count.sum()
        change, shares = np.abs(moved - shares).max(), moved
        if change < tolerance:
            break
    return shares / shares.sum()


def _newton(likelihood: Array, shares: Array, count: Array, steps: int = 8) -> Array:
    """Steps towards the maximum while they lead upwards; EM alone is slow where classes are hard to tell apart.

    Parameters
    ----------
    likelihood : of each row under each class, up to a factor of the row, shape (rows, classes)
    """
    k = likelihood.shape[1]
    sum_stays = np.ones((1, k))
    density = np.maximum(likelihood @ shares, 1e-300)
    for _ in range(steps):
        ratio = likelihood / density[:, None]
        curvature = (ratio * count[:, None]).T @ ratio
        curvature += 1e-9 * np.trace(curvature) * np.eye(k)
        system = np.block([[curvature, sum_stays.T], [sum_stays, np.zeros((1, 1))]])
        moved = shares + np.linalg.solve(system, np.r_[count @ ratio, 0.0])[:k]
        moved = np.maximum(moved, 1e-9)
        moved /= moved.sum()
        new = np.maximum(likelihood @ moved, 1e-300)
        if count @ np.log(new / density) <= 1e-9:
            break
        shares, density = moved, new
    return shares


def adapted(probabilities: Array, old: Array, new: Array) -> Array:
    """Class probabilities under other shares, by Bayes' rule.

    >>> adapted(np.array([[0.5, 0.5]]), np.array([0.5, 0.5]), np.array([0.2, 0.8])).tolist()
    [[0.2, 0.8]]
    """
    weighted = probabilities * (new / np.maximum(old, 1e-12))
    return weighted / np.maximum(weighted.sum(1, keepdims=True), 1e-300)


def label_shares(
    probabilities_reference: ArrayLike,
    y_reference: ArrayLike,
    probabilities_current: ArrayLike,
    *,
    rng: np.random.Generator,
    confidence: float = 0.95,
    draws: int = DRAWS,
) -> Shares:
    """Shares of the classes among rows without labels, if only the shares moved.

    Parameters
    ----------
    probabilities_reference : class probabilities of rows with labels by a model that has not learnt from these rows
        (held-out, or cross-fitted), shape (rows, classes); they need not be calibrated
    y_reference : class codes 0 … classes - 1, shape (rows,)
    probabilities_current : of rows without labels by the same model, shape (rows, classes); by the models of several
        folds, shape (folds, rows, classes)
    rng : of the bootstrap
    confidence : of the intervals
    draws : bootstrap draws of both sets of rows; the calibration is fitted to each

    Raises
    ------
    InputError
        Shapes that do not fit, what is no probability, a class with fewer than four labels.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> def rows(n, share):
    ...     y = (rng.random(n) < share).astype(int)
    ...     p = 1 / (1 + np.exp(-4 * (2 * y + rng.standard_normal(n) - 1)))  # twice as sure as it should be
    ...     return np.column_stack([1 - p, p]), y
    >>> reference, y = rows(1000, 0.5)
    >>> label_shares(reference, y, rows(1000, 0.2)[0], rng=rng)
    Shares(0: 0.773 [0.726, 0.811], 1: 0.227 [0.189, 0.274])
    """
    reference, y, current = _checked(probabilities_reference, y_reference, probabilities_current)
    if not 0 < confidence < 1 or draws < 1:
        raise InputError(
            f"confidence={confidence} and draws={draws} were given; the first lies between 0 and 1, the second is at "
            "least 1."
        )
    return _shares(reference, y, current, temperature(reference, y), None, confidence, draws, rng)


def estimate_shares(
    y_reference: ArrayLike,
    X_reference: Design,
    X_current: Design,
    classes: int,
    rng: np.random.Generator,
    confidence: float = 0.95,
) -> Shares:
    """The same with a classifier of our own: a logistic model or boosting, whichever predicts better.

    If every class k looks in the current rows as in the reference, then the mean of any f over them is Σₖ qₖ E[f | k].
    The columns, their squares and the probabilities have to obey this with the q that EM finds: the largest deviation
    is compared with that of bootstrap draws of both sets of rows.

    Parameters
    ----------
    y_reference : class codes 0 … classes - 1, shape (rows,)
    X_reference, X_current : columns of both, made ready together by `models.design`

    Raises
    ------
    InputError
        As `label_shares`.
    """
    y, rows, columns = np.asarray(y_reference), len(X_reference.linear), X_reference.linear.shape[1]
    if classes < 2 or columns == 0 or columns != X_current.linear.shape[1] or not len(X_current.linear):
        raise InputError(
            f"{classes} classes and tables of {X_reference.linear.shape} and {X_current.linear.shape} rows and columns "
            "were given; two or more classes, and two tables with rows and the same columns, are needed."
        )
    _checked(np.full((rows, classes), 1 / classes), y, np.full((1, classes), 1 / classes))
    codes = y.astype(np.int64)
    model = _classifier(codes, X_reference, X_current, classes, rng)
    moments = _moments(X_reference), _moments(X_current)
    estimate = _shares(model.raw, codes, model.raw_current, model.scaling, moments, confidence, DRAWS, rng)
    return replace(estimate, learner=model.learner)


def _classifier(y: Codes, X: Design, current: Design, classes: int, rng: np.random.Generator) -> HeldOut:
    count = int(np.clip(MOST_PREDICTED // max(len(current.linear), 1), 2, FOLDS))
    return held_out(X, y, current, classes, folds(y, count, rng), rng)


def _moments(X: Design) -> Array:
    return np.hstack([X.linear, X.linear**2])


def _shares(
    reference: Array,
    y: Codes,
    current: Array,
    scaling: Temperature,
    columns: tuple[Array, Array] | None,
    confidence: float,
    draws: int,
    rng: np.random.Generator,
) -> Shares:
    """Shares of the rows as they are and in bootstrap draws of both sets, and whether the columns agree with them."""
    (n, k), m = reference.shape, current.shape[1]
    stacked = scaling(current.reshape(-1, k))
    calibrated = scaling(reference)
    old = calibrated.mean(0)
    share = maximum_likelihood_shares(stacked, old)
    of_reference, of_current = (
        rng.multinomial(r, np.full(r, 1 / r), size=draws).astype(float) for r in (n, m)
    )
    raw = current.reshape(-1, k)
    draws_of_shares = np.array(
        [
            maximum_likelihood_shares(
                again(raw), own @ again(reference) / n, start=share, counts=np.tile(other, len(current)),
                tolerance=1e-5,
            )
            for again, own, other in zip(
                scaling.redrawn(reference, y, of_reference), of_reference, of_current, strict=True
            )
        ]
    )  # fmt: skip
    low, high = np.quantile(draws_of_shares, [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
    now = stacked.reshape(len(current), m, k)
    p = np.nan
    if columns is not None:
        p = _agreement(
            np.hstack([calibrated, columns[0]]), np.hstack([now.mean(0), columns[1]]), y,
            np.vstack([share, draws_of_shares]),
            np.vstack([np.ones(n), of_reference]), np.vstack([np.ones(m), of_current]),
        )  # fmt: skip
    predicted = np.mean([adapted(one, old, share) for one in now], axis=0)
    return Shares(np.bincount(y, minlength=k) / n, share, low, high, draws_of_shares, predicted, p)


def _agreement(
    before: Array, after: Array, y: Codes, shares: Array, of_reference: Array, of_current: Array
) -> float:
    """P-value of "the means of the current rows are those of the classes, mixed by the shares".

    Parameters
    ----------
    before, after : what has to agree, shape (rows, features)
    shares, of_reference, of_current : of each draw, and how often it has each row; the rows as they are come first
    """
    indicator = np.eye(shares.shape[1])[y]
    away = np.array(
        [
            other @ after / other.sum()
            - q @ ((indicator * own[:, None]).T @ before / np.maximum(own @ indicator, 1)[:, None])
            for q, own, other in zip(shares, of_reference, of_current, strict=True)
        ]
    )
    error = away[1:].std(0)
    used = error > 1e-9
    largest = np.abs(away[0, used] / error[used]).max(initial=0.0)
    distances = np.abs((away[1:, used] - away[0, used]) / error[used]).max(1, initial=0.0)
    return float((1 + (distances >= largest).sum()) / len(away))


def _checked(reference: ArrayLike, y: ArrayLike, current: ArrayLike) -> tuple[Array, Codes, Array]:
    p, others = as_numbers(reference, "probabilities_reference"), as_numbers(current, "probabilities_current")
    codes = np.asarray(y)
    if others.ndim == 2:
        others = others[None]
    if p.ndim != 2 or others.ndim != 3 or p.shape[1] != others.shape[2] or p.shape[1] < 2:
        raise InputError(
            f"Probabilities of shapes {p.shape} and {np.shape(current)} were given; a column for each of two or more "
            "classes is needed in both."
        )
    if codes.shape != (len(p),):
        raise InputError(
            f"{np.size(codes)} labels were given for {len(p)} rows of the reference; one for each is needed."
        )
    for name, values in (("reference", p), ("current", others)):
        if not values.size or not np.isfinite(values).all() or values.min() < 0:
            raise InputError(
                f"The probabilities of the {name} rows are none, negative or not finite; give one row for each, >= 0."
            )
        if np.abs(values.sum(-1) - 1).max() > 1e-3:
            raise InputError(
                f"The probabilities of a {name} row sum to {values.sum(-1).ravel()[0]:.3g} or other than 1; give "
                "class probabilities, not scores."
            )
    if not np.isin(codes, np.arange(p.shape[1])).all():
        raise InputError(
            f"Labels must be class codes 0 … {p.shape[1] - 1}; {np.unique(codes)[:5]} were given."
        )
    sizes = np.bincount(codes.astype(np.int64), minlength=p.shape[1])
    if sizes.min() < LEAST_OF_CLASS:
        raise InputError(
            f"Class {int(sizes.argmin())} has {sizes.min()} labels in the reference; {LEAST_OF_CLASS} or more are "
            "needed. Pool rare classes."
        )
    return p, codes.astype(np.int64), others


# On a table ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Unlabelled:
    """What rows without labels say of the shares of the classes.

    Attributes
    ----------
    shares : domain, class, before (share among the labelled rows), share, low, high (95 %)
    fits : domain, p (of "every class looks as it did, and only the shares moved")
    learner : of the probabilities, chosen by cross-validation: "logistic" or "boosting"
    """

    shares: pd.DataFrame
    fits: pd.DataFrame
    learner: str


def estimate(
    table: AuditTable, X: Design, first: NDArray[np.bool_], rng: np.random.Generator
) -> Unlabelled | None:
    """Shares of the classes in every domain without labels, and whether a label shift explains its columns.

    Parameters
    ----------
    first : not read; folds take the place of halves here

    Returns
    -------
    None where the target has no classes, or every domain has labels, or none.
    """
    if (
        table.classes is None
        or len(table.labelled_domains) in (0, len(table.domains))
        or not X.linear.shape[1]
    ):
        return None
    k = len(table.classes)
    y = np.asarray(table.target)
    labelled = ~np.isnan(y) & np.isin(table.domain, table.labelled_domains)
    codes = y[labelled].astype(np.int64)
    if np.bincount(codes, minlength=k).min() < LEAST_OF_CLASS:
        return None
    unlabelled = np.setdiff1d(np.arange(len(table.domains)), table.labelled_domains)
    new = np.flatnonzero(np.isin(table.domain, unlabelled))
    known, current = X.take(labelled), X.take(new)
    model = _classifier(codes, known, current, k, rng)
    shares, fits = [], []
    for code in unlabelled:
        rows = table.domain[new] == code
        columns = _moments(known), _moments(current.take(rows))
        estimated = _shares(
            model.raw, codes, model.raw_current[:, rows], model.scaling, columns, 0.95, DRAWS, rng
        )
        shares += [
            (table.domains[code], name, *values)
            for name, *values in zip(
                table.classes, estimated.before, estimated.share, estimated.low, estimated.high, strict=True
            )
        ]
        fits.append((table.domains[code], estimated.p))
    return Unlabelled(
        pd.DataFrame(shares, columns=["domain", "class", "before", "share", "low", "high"]),
        pd.DataFrame(fits, columns=["domain", "p"]),
        model.learner,
    )


def with_unlabelled(section: Section, unlabelled: Unlabelled, target: str, level: float) -> Section:
    """The section on structure, with what is known of domains without labels."""
    notes = []
    for name, p in unlabelled.fits.itertuples(index=False):
        rows = unlabelled.shares[unlabelled.shares["domain"] == name]
        row = rows.loc[(rows["share"] - rows["before"]).abs().idxmax()]
        sized = (
            f"{target} = {row['class']} would be at {row['share']:.1%} (interval {row['low']:.1%} to "
            f"{row['high']:.1%}; {row['before']:.1%} among the rows with labels)"
        )
        notes.append(
            f"{name} has no labels yet. If only the shares of {target} moved, {sized}, "
            + (
                f"and the columns agree with that ({p_words(p)})."
                if p > level
                else f"but the columns do not agree with that ({p_words(p)}): more than the shares moved."
            )
        )
    caption = f"Shares of {target} where its labels are not in yet, if only the shares moved"
    return replace(
        section,
        notes=(*section.notes, *notes),
        tables={
            **section.tables,
            caption: unlabelled.shares,
            "Does a label shift explain the columns?": unlabelled.fits,
        },
    )
