"""Shares of a target's classes in domains whose labels are not in yet, if label shift is all that happened."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import nnls

from groundshift.workflows.audit.models import Design, fit
from groundshift.workflows.audit.result import Section, p_words
from groundshift.workflows.audit.table import AuditTable

__all__ = ["Unlabelled", "estimate", "with_unlabelled"]

Array = NDArray[np.float64]

DRAWS = 500


@dataclass(frozen=True)
class Unlabelled:
    """What rows without labels say of the shares of the classes.

    Attributes
    ----------
    shares : domain, class, before (share among the labelled rows), share, low, high (95 %)
    fits : domain, p (of "every class looks as it did, and only the shares moved")
    """

    shares: pd.DataFrame
    fits: pd.DataFrame


def estimate(
    table: AuditTable, X: Design, first: NDArray[np.bool_], rng: np.random.Generator
) -> Unlabelled | None:
    """Black-box shift estimation (Lipton, Wang and Smola 2018) with probabilities in place of decisions.

    If every class k looks in a domain without labels as among the labelled rows, then the mean of any f over its rows
    is Σₖ qₖ E[f | k]. With f a classifier's probabilities this gives the shares q. The columns and their squares have
    to obey the same equation: the largest deviation is compared with that of bootstrap draws of both sets of rows.

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
    if np.bincount(codes, minlength=k).min() < 4:
        return None
    seen, half = X.take(labelled), first[labelled]
    models = [
        fit(seen.take(half == side), codes[half == side].astype(float), k, rng) for side in (True, False)
    ]
    probabilities = np.empty((len(codes), k))
    for side, model in zip((False, True), models, strict=True):
        probabilities[half == side] = model.predict(seen.take(half == side))
    columns = np.hstack([X.linear, X.linear**2])
    features = np.hstack([probabilities, columns[labelled]])
    indicator = np.eye(k)[codes]
    # bootstrap: E[f | k] of every draw, shape (1 + draws, k, features); the rows as they are come first
    of_class = np.array(
        [
            ((indicator * weight[:, None]).T @ features) / np.maximum(weight @ indicator, 1)[:, None]
            for weight in _weights(len(codes), rng)
        ]
    )
    shares, fits = [], []
    for code in np.setdiff1d(np.arange(len(table.domains)), table.labelled_domains):
        rows = np.flatnonzero(table.domain == code)
        new = np.hstack([np.mean([m.predict(X.take(rows)) for m in models], 0), columns[rows]])
        means = _weights(len(rows), rng) @ new / len(rows)
        q = np.array([_solve(f[:, :k], m[:k]) for f, m in zip(of_class, means, strict=True)])
        low, high = np.quantile(q[1:], [0.025, 0.975], axis=0)
        shares += [
            (table.domains[code], name, float((codes == c).mean()), q[0, c], low[c], high[c])
            for c, name in enumerate(table.classes)
        ]
        away = means - np.einsum("bk,bkf->bf", q, of_class)
        error = away[1:].std(0)
        used = error > 1e-9
        largest = np.abs(away[0, used] / error[used]).max(initial=0.0)
        drawn = np.abs((away[1:, used] - away[0, used]) / error[used]).max(1, initial=0.0)
        fits.append((table.domains[code], float((1 + (drawn >= largest).sum()) / (1 + DRAWS))))
    return Unlabelled(
        pd.DataFrame(shares, columns=["domain", "class", "before", "share", "low", "high"]),
        pd.DataFrame(fits, columns=["domain", "p"]),
    )


def _weights(n: int, rng: np.random.Generator) -> Array:
    """How often each row is drawn; shape (1 + draws, n), the first draw is the rows themselves."""
    return np.vstack([np.ones(n), rng.multinomial(n, np.full(n, 1 / n), size=DRAWS)])


def _solve(of_class: Array, mean: Array) -> Array:
    """Shares q ≥ 0 of sum 1 with q · E[p | k] = mean of p, by least squares."""
    strong = 1e3  # makes the sum an equation
    q = nnls(np.vstack([of_class.T, np.full(len(mean), strong)]), np.r_[mean, strong])[0]
    return q / max(q.sum(), 1e-12)


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
