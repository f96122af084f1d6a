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
from groundshift.workflows.audit.calibration import Temperature, folds, held_out, temperature
from groundshift.workflows.audit.models import Design
from groundshift.workflows.audit.result import Section, p_words
from groundshift.workflows.audit.table import AuditTable

__all__ = [
    "Shares",
    "Unlabelled",
    "adapted",
    "estimate",
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
    """

    before: Array
    share: Array
    low: Array
    high: Array
    draws: Array
    probabilities: Array

    def __repr__(self) -> str:
        told = ", ".join(
            f"{k}: {s:.3f} [{a:.3f}, {b:.3f}]"
            for k, (s, a, b) in enumerate(zip(self.share, self.low, self.high, strict=True))
        )
        return f"Shares({told})"

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
    shares = (old if start is None else np.maximum(start, 1e-12)) / 1.0
    for _ in range(steps):
        ratio = shares / old
        density = np.maximum(probabilities @ ratio, 1e-300)
        moved = ratio * (probabilities.T @ (count / density)) / count.sum()
        change, shares = np.abs(moved - shares).max(), moved
        if change < tolerance:
            break
    return shares / shares.sum()


def adapted(probabilities: Array, old: Array, new: Array) -> Array:
    """Class probabilities under other shares, by Bayes' rule.

    >>> adapted(np.array([[0.5, 0.5]]), np.array([0.5, 0.5]), np.array([0.2, 0.8])).tolist()
    [[0.2, 0.8]]
    """
    made = probabilities * (new / np.maximum(old, 1e-12))
    return made / np.maximum(made.sum(1, keepdims=True), 1e-300)


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
    scaling = temperature(reference, y)
    share, made, _, _ = _drawn(reference, y, current, scaling, draws, rng)
    low, high = np.quantile(made, [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
    old = scaling(reference).mean(0)
    told = np.mean([adapted(scaling(p), old, share) for p in current], 0)
    return Shares(np.bincount(y, minlength=len(share)) / len(y), share, low, high, made, told)


def _drawn(
    reference: Array, y: Codes, current: Array, scaling: Temperature, draws: int, rng: np.random.Generator
) -> tuple[Array, Array, Array, Array]:
    """Shares of the rows as they are and in bootstrap draws, with how often each draw has each row."""
    n, m = len(y), current.shape[1]
    stacked = current.reshape(-1, current.shape[2])
    share = maximum_likelihood_shares(scaling(stacked), scaling(reference).mean(0))
    of_reference = rng.multinomial(n, np.full(n, 1 / n), size=draws).astype(float)
    of_current = rng.multinomial(m, np.full(m, 1 / m), size=draws).astype(float)
    made = np.array(
        [
            maximum_likelihood_shares(
                again(stacked),
                counts @ again(reference) / n,
                start=share,
                counts=np.tile(others, len(current)),
                tolerance=1e-5,
            )
            for again, counts, others in zip(
                scaling.redrawn(reference, y, of_reference), of_reference, of_current, strict=True
            )
        ]
    )
    return share, made, of_reference, of_current


def _checked(reference: ArrayLike, y: ArrayLike, current: ArrayLike) -> tuple[Array, Codes, Array]:
    p, others, codes = np.asarray(reference, dtype=float), np.asarray(current, dtype=float), np.asarray(y)
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

    If every class k looks in a domain without labels as among the labelled rows, then the mean of any f over its rows
    is Σₖ qₖ E[f | k]. The columns, their squares and the probabilities have to obey this with the q that EM finds: the
    largest deviation is compared with that of bootstrap draws of both sets of rows.

    Parameters
    ----------
    first : not read; folds take the place of halves here

    Returns
    -------
    None where the target has no classes, or every domain has labels, or none.
    """
    if table.classes is None or len(table.labelled_domains) in (0, len(table.domains)):
        return None
    k = len(table.classes)
    y = np.asarray(table.target)
    labelled = ~np.isnan(y) & np.isin(table.domain, table.labelled_domains)
    codes = y[labelled].astype(np.int64)
    if np.bincount(codes, minlength=k).min() < LEAST_OF_CLASS:
        return None
    unlabelled = np.setdiff1d(np.arange(len(table.domains)), table.labelled_domains)
    new = np.flatnonzero(np.isin(table.domain, unlabelled))
    count = int(np.clip(MOST_PREDICTED // len(new), 2, FOLDS))
    model = held_out(X.take(labelled), codes, X.take(new), k, folds(codes, count, rng), rng)
    columns = np.hstack([X.linear, X.linear**2])
    indicator = np.eye(k)[codes]
    shares, fits = [], []
    for code in unlabelled:
        rows = table.domain[new] == code
        share, draws, of_reference, of_current = _drawn(
            model.raw, codes, model.raw_current[:, rows], model.scaling, DRAWS, rng
        )
        low, high = np.quantile(draws, [0.025, 0.975], axis=0)
        shares += [
            (table.domains[code], name, float((codes == c).mean()), share[c], low[c], high[c])
            for c, name in enumerate(table.classes)
        ]
        before = np.hstack([model.reference, columns[labelled]])
        after = np.hstack([model.current[:, rows].mean(0), columns[new[rows]]])
        away = np.array(
            [
                other @ after / other.sum()
                - q @ ((indicator * own[:, None]).T @ before / np.maximum(own @ indicator, 1)[:, None])
                for q, own, other in zip(
                    np.vstack([share, draws]),
                    np.vstack([np.ones(len(codes)), of_reference]),
                    np.vstack([np.ones(rows.sum()), of_current]),
                    strict=True,
                )
            ]
        )
        fits.append((table.domains[code], _largest_p(away)))
    return Unlabelled(
        pd.DataFrame(shares, columns=["domain", "class", "before", "share", "low", "high"]),
        pd.DataFrame(fits, columns=["domain", "p"]),
        model.learner,
    )


def _largest_p(away: Array) -> float:
    """P-value of the largest deviation of the first row from 0, among those of the others from the first."""
    error = away[1:].std(0)
    used = error > 1e-9
    largest = np.abs(away[0, used] / error[used]).max(initial=0.0)
    drawn = np.abs((away[1:, used] - away[0, used]) / error[used]).max(1, initial=0.0)
    return float((1 + (drawn >= largest).sum()) / len(away))


def with_unlabelled(section: Section, found: Unlabelled, target: str, level: float) -> Section:
    """The section on structure, with what is known of domains without labels."""
    notes = []
    for name, p in found.fits.itertuples(index=False):
        rows = found.shares[found.shares["domain"] == name]
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
            caption: found.shares,
            "Does a label shift explain the columns?": found.fits,
        },
    )
