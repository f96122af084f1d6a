"""Predictions that have not seen the rows they are made for: gradient boosting on top of a linear model.

The linear model's output is one more column for the trees, so that straight lines need not be cut into steps; what is
left over of a shift of straight lines would look like a change of concept.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri
from scipy.stats import rankdata
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression, Ridge

from groundshift.workflows.audit.table import AuditTable

__all__ = ["Design", "cross_fitted", "design", "equalised", "fit", "halves", "recalibrated"]

Array = NDArray[np.float64]
Codes = NDArray[np.int64]


@dataclass(frozen=True)
class Design:
    """Features in the two forms the models take.

    Attributes
    ----------
    trees : numbers by normal scores of their pooled ranks, labels as codes, NaN where missing
    linear : the same with labels as indicators and 0 where missing
    nominal : which columns of ``trees`` are labels
    source : name of the table's column behind each column of ``linear``
    """

    trees: Array
    linear: Array
    nominal: NDArray[np.bool_]
    source: tuple[str, ...]

    def take(self, rows: NDArray[Any]) -> Design:
        """Some rows of it."""
        return Design(self.trees[rows], self.linear[rows], self.nominal, self.source)

    def beside(self, extra: NDArray[Any], *, nominal: bool = False) -> Design:
        """With one more column; labels are codes 0 … k - 1."""
        column = extra.reshape(-1, 1).astype(float)
        indicators = np.eye(int(extra.max()) + 1)[extra.astype(int)] if nominal else column
        return Design(
            np.hstack([self.trees, column]),
            np.hstack([self.linear, indicators]),
            np.append(self.nominal, nominal),
            (*self.source, *("(extra)",) * indicators.shape[1]),
        )


def design(values: Array, nominal: NDArray[np.bool_], names: list[str]) -> Design:
    """Features as the models take them; no label or domain is looked at."""
    trees, linear, source = values.copy(), [], []
    for j, name in enumerate(names):
        there = ~np.isnan(values[:, j])
        if nominal[j]:
            codes = np.unique(values[there, j], return_inverse=True)[1]
            trees[there, j] = codes
            for code in range(1, int(codes.max(initial=0)) + 1):
                column = np.zeros(len(values))
                column[there] = codes == code
                linear.append(column - column.mean())
                source.append(name)
            continue
        trees[there, j] = ndtri((rankdata(values[there, j]) - 0.5) / max(there.sum(), 1))
        linear.append(np.where(there, trees[:, j], 0.0))
        source.append(name)
    stacked = np.column_stack(linear) if linear else np.zeros((len(values), 0))
    return Design(trees, stacked, nominal.copy(), tuple(source))


def equalised(table: AuditTable, rng: np.random.Generator) -> AuditTable:
    """Values taken out at random until every column misses the same share in all domains.

    A change of missingness is judged by itself; here it would tell domains apart and hide what else moved.
    """
    values = table.values.copy()
    sizes = np.bincount(table.domain, minlength=len(table.domains))
    for j in range(values.shape[1]):
        missing = np.isnan(values[:, j])
        if not missing.any():
            continue
        share = np.bincount(table.domain, weights=missing, minlength=len(sizes)) / np.maximum(sizes, 1)
        gone = (share.max() - share) / np.maximum(1 - share, 1e-12)
        values[~missing & (rng.random(len(values)) < gone[table.domain]), j] = np.nan
    return replace(table, values=values)


def halves(domain: Codes, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Half of the rows of every domain, at random."""
    first = np.zeros(len(domain), dtype=bool)
    for code in np.unique(domain):
        rows = rng.permutation(np.flatnonzero(domain == code))
        first[rows[: len(rows) // 2]] = True
    return first


@dataclass(frozen=True)
class Fitted:
    """A fitted model; ``predict`` gives probabilities (rows, classes), or numbers (rows, 1)."""

    line: Any
    trees: Any
    classes: int

    def predict(self, X: Design) -> Array:
        """Predict rows."""
        stacked = X.trees if self.line is None else np.hstack([X.trees, _line(self.line, X.linear)])
        if self.classes == 0:
            return self.trees.predict(stacked)[:, None]
        predictions = np.zeros((len(stacked), self.classes))
        predictions[:, self.trees.classes_.astype(int)] = self.trees.predict_proba(stacked)
        return predictions


def fit(X: Design, y: Array, classes: int, rng: np.random.Generator, weight: Array | None = None) -> Fitted:
    """Learn class codes (``classes`` of them) or, if ``classes`` is 0, numbers."""
    seed = int(rng.integers(2**31 - 1))
    if classes and len(np.unique(y)) < 2:  # a rare class that these rows lack
        return Fitted(None, DummyClassifier().fit(X.trees, y.astype(int)), classes)
    line: Any = (
        Ridge(1.0) if classes == 0 else LogisticRegression(C=1.0, max_iter=200, tol=1e-3, random_state=seed)
    )
    line.fit(X.linear, y if classes == 0 else y.astype(int), sample_weight=weight)
    stacked = np.hstack([X.trees, _line(line, X.linear)])
    options: dict[str, Any] = {
        "max_iter": _rounds(len(y), classes),
        "learning_rate": 0.1,
        "max_leaf_nodes": 15,
        "min_samples_leaf": 20,
        "l2_regularization": 1.0,
        "categorical_features": np.append(X.nominal, np.zeros(stacked.shape[1] - len(X.nominal), dtype=bool)),
        "early_stopping": False,
        "random_state": seed,
    }
    if classes == 0:
        model: Any = HistGradientBoostingRegressor(**options).fit(stacked, y, sample_weight=weight)
    else:
        model = HistGradientBoostingClassifier(**options).fit(stacked, y.astype(int), sample_weight=weight)
    return Fitted(line, model, classes)


def _rounds(rows: int, classes: int) -> int:
    """Rounds of boosting: few where there are few rows to overfit, or a tree for each of many classes in a round."""
    return min(60 if classes <= 3 else max(10, 150 // classes), max(20, rows // 10))


def _line(line: Any, linear: Array) -> Array:
    scores = line.decision_function(linear) if hasattr(line, "decision_function") else line.predict(linear)
    return scores.reshape(len(linear), -1)


def cross_fitted(
    X: Design, y: Array, classes: int, first: NDArray[np.bool_], rng: np.random.Generator
) -> Array:
    """Predictions for each half from a model of the other; shape (rows, classes), or (rows, 1) for numbers."""
    predictions = np.empty((len(y), max(classes, 1)))
    for held in (first, ~first):
        predictions[held] = fit(X.take(~held), y[~held], classes, rng).predict(X.take(held))
    return predictions


def recalibrated(predicted: Array, y: NDArray[Any], classes: int) -> Array:
    """Predictions made as sure as they deserve, by a regression of what happened on what was predicted.

    Flexible models are too sure of themselves where there is little to learn, and errors that two of them share look
    like a dependence.

    Parameters
    ----------
    predicted : cross-fitted, shape (rows, classes) or (rows, 1)
    y : codes or numbers, shape (rows,)
    """
    if classes == 0:
        line = Ridge(1e-6).fit(predicted, y)
        return line.predict(predicted)[:, None]
    if len(np.unique(y)) < 2:
        return predicted
    logs = np.log(np.clip(predicted, 1e-4, 1.0))
    logs = logs[:, 1:] - logs[:, :1]
    model = LogisticRegression(C=100.0, max_iter=200).fit(logs, y.astype(int))
    calibrated = np.zeros_like(predicted)
    calibrated[:, model.classes_] = model.predict_proba(logs)
    return calibrated
