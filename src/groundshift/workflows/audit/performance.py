"""How well a model does on rows whose labels are not in yet, with an interval, or the reason why nobody can know.

The loss of row x is ℓ(x, y). Where P(y | x) is as in the reference, the mean loss over the new rows is

    mean over new rows of m(x)  +  Σ over reference rows of α(x) · (ℓ(x, y) - m(x)),

with m(x) the expected loss given the row and α(x) weights that make the reference look like the new rows. The first term
alone is confidence-based estimation (CBPE) where m comes from calibrated class probabilities, and direct loss estimation
(DLE) where a second model learns the loss of a row (the names are NannyML's). The second term takes out what m has wrong
on average; it is right if either m or α is (Robins, Rotnitzky and Zhao 1994), and its spread gives the interval. The
weights balance the means of columns and predictions between the two tables, with as little spread as that takes
(unconstrained least-squares importance fitting: Kanamori, Hido and Sugiyama 2009).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from sklearn.linear_model import Ridge
from sklearn.metrics import roc_auc_score

from groundshift.errors import InputError
from groundshift.workflows.audit.calibration import (
    LEARNERS,
    LEAST_PROBABILITY,
    HeldOut,
    calibrated,
    folds,
    held_out,
    isotonic,
    log_ratios,
    temperature,
)
from groundshift.workflows.audit.models import Design, fit

__all__ = ["ASSUMPTION", "Estimate", "Performance", "estimate_performance", "own_predictions"]

Array = NDArray[np.float64]
Codes = NDArray[np.int64]

ASSUMPTION = "This holds if P(y | x) is as in the reference; without labels that cannot be checked."
FOLDS = 5
LEAST_ROWS = 50
PENALTIES = (0.01, 0.03, 0.1, 0.3, 1.0)
"""Of the balancing weights; one is chosen by cross-validation."""


@dataclass(frozen=True)
class Estimate:
    metric: str
    reference: float
    estimate: float
    low: float
    high: float
    difference: float
    difference_low: float
    difference_high: float
    weighted: float


@dataclass(frozen=True)
class Performance:
    estimates: tuple[Estimate, ...]
    effective_rows: float
    outside: float
    second_model: str
    can_tell: bool
    reason: str
    assumption: str = ASSUMPTION

    def __getitem__(self, metric: str) -> Estimate:
        for estimate in self.estimates:
            if estimate.metric == metric:
                return estimate
        raise InputError(metric)


@dataclass(frozen=True)
class _Losses:
    """A metric as the mean of a loss over rows.

    observed : on reference; expected: m there, held out; current : m on current rows; noise : variance of y of the loss, on current rows or None
    """

    metric: str
    observed: Array
    expected: Array
    current: Array
    noise: Array | None
    reference: float
    influence: Array
    limit: float


def estimate_performance(
    y_reference, predicted_reference, predicted_current, X_reference, X_current, classes, rng, confidence=0.95
):
    y, p, q = np.asarray(y_reference), np.asarray(predicted_reference, dtype=float), np.asarray(predicted_current, dtype=float)
    weights, outside, learner = _overlap(X_reference, X_current, rng)
    effective = float(1 / (weights**2).sum())
    if classes:
        y = y.astype(np.int64)
        losses, name, basis = _of_classes(y, p, q, X_reference, X_current, classes, rng)
    else:
        losses, name, basis = _of_numbers(y, p, q, X_reference, X_current, rng)
    alpha = _balancing(*basis, rng)
    estimates = tuple(_estimate(l, alpha, weights, confidence) for l in losses)
    return Performance(estimates, effective, outside, name, True, learner)


def _overlap(reference: Design, current: Design, rng: np.random.Generator):
    both = _stacked(reference, current)
    n = len(reference.linear)
    side = np.repeat([0, 1], [n, len(current.linear)])
    fold = folds(side, 2, rng)
    told = held_out(both, side, both.take(np.arange(1)), 2, fold, rng)
    odds = told.reference[:, 1] / np.maximum(told.reference[:, 0], 1e-6)
    odds *= n / len(current.linear)
    w = odds[:n]
    return w / w.sum(), float((odds[n:] > 20).mean()), told.learner


def _stacked(a: Design, b: Design) -> Design:
    return Design(np.vstack([a.trees, b.trees]), np.vstack([a.linear, b.linear]), a.nominal, a.source)


def _of_classes(y, p, q, X, current, classes, rng):
    fold = folds(y, FOLDS, rng)
    second = _second_model(y, p, q, X, current, classes, fold, rng)
    c, new = second.reference, second.current.mean(0)
    rows = np.arange(len(y))
    losses = []
    for metric, of in {"log loss": _log_loss, "error": _error, "brier": _brier}.items():
        a, b = of(p), of(q)
        losses.append(_losses(metric, a, b, c, new, y))
    if classes == 2:
        losses.append(_auc(y, p, q, c, new))
    basis = (
        np.column_stack([X.linear, log_ratios(p), log_ratios(c), *[l.expected for l in losses]]),
        np.column_stack([current.linear, log_ratios(q), log_ratios(new), *[l.current for l in losses]]),
    )
    return losses, second.learner, basis


def _losses(metric, a, b, c, new, y, reference=None, influence=None, limit=None, shift=0.0):
    observed = a[np.arange(len(y)), y]
    expected = (c * a).sum(1)
    cur = (new * b).sum(1)
    noise = (new * b**2).sum(1) - cur**2
    return _Losses(
        metric, observed + shift, expected + shift, cur + shift, noise,
        float(observed.mean()) if reference is None else reference,
        observed - observed.mean() if influence is None else influence, np.inf,
    )


def _log_loss(p):
    return -np.log(np.clip(p, LEAST_PROBABILITY, 1.0))


def _error(p):
    return 1.0 - np.eye(p.shape[1])[p.argmax(1)]


def _brier(p):
    return (p**2).sum(1, keepdims=True) - 2 * p + 1


def _auc(y, p, q, c, new):
    s, t = p[:, 1], q[:, 1]
    value, at_ref, at_cur = _auc_parts(t, new[:, 1], s)
    ref_value, own, _ = _auc_parts(s, y.astype(float), s)
    return _losses("auc", at_ref, at_cur, c, new, y, ref_value, own[np.arange(len(y)), y], 1.0, value)


def _auc_parts(score, probability, others):
    """AUC if rows are positive with these probabilities, and the influence of a label at a score: shape (rows, 2)"""
    order = np.argsort(score, kind="stable")
    s = score[order]
    pos, neg = np.r_[0, np.cumsum(probability[order])], np.r_[0, np.cumsum(1 - probability[order])]

    def below(total, at):
        return (total[np.searchsorted(s, at, "left")] + total[np.searchsorted(s, at, "right")]) / 2 / total[-1]

    value = float(probability @ below(neg, score) / pos[-1])
    n = len(score)
    share = pos[-1] / n

    def influence(at):
        return np.column_stack([((1 - below(pos, at)) - value) / (1 - share), (below(neg, at) - value) / share])

    return value, influence(others), influence(score)


def _second_model(y, p, q, X, current, classes, fold, rng):
    options = []
    for name, method in {"temperature": temperature, "isotonic": isotonic}.items():
        raw, others = np.empty_like(p), []
        for k in range(int(fold.max()) + 1):
            scaling = method(p[fold != k], y[fold != k])
            raw[fold == k] = scaling(p[fold == k])
            others.append(scaling(q))
        options.append(calibrated(name, raw, y, np.array(others)))
    options.append(held_out(_beside(X, log_ratios(p)), y, _beside(current, log_ratios(q)), classes, fold, rng))
    return min(options, key=lambda o: o.loss)


def _beside(X, columns):
    for column in columns.T:
        X = X.beside(column)
    return X


def _of_numbers(y, p, q, X, current, rng):
    fold = folds(y, FOLDS, rng)
    Z, new = _beside(X, p), _beside(current, q)
    losses, names = [], []
    error = y - p[:, 0]
    for metric, observed in {"squared error": error**2, "absolute error": np.abs(error)}.items():
        name, expected, cur = _direct(observed, Z, new, fold, rng)
        names.append(name)
        losses.append(_Losses(metric, observed, expected, cur, None, float(observed.mean()), observed - observed.mean(), np.inf))
    basis = (
        np.column_stack([X.linear, p, p**2, *[l.expected for l in losses]]),
        np.column_stack([current.linear, q, q**2, *[l.current for l in losses]]),
    )
    return losses, names[0], basis


def _direct(observed, X, current, fold, rng):
    best = None
    for name in ("mean", "linear", "boosting"):
        expected, others = np.empty(len(observed)), []
        for k in range(int(fold.max()) + 1):
            train, held = fold != k, fold == k
            if name == "mean":
                predict = lambda D, v=observed[train].mean(): np.full(len(D.linear), v)
            elif name == "linear":
                mu, sd = X.linear[train].mean(0), X.linear[train].std(0) + 1e-9
                feat = lambda D: np.c_[(D.linear - mu) / sd, ((D.linear - mu) / sd) ** 2]
                m = Ridge(10.0).fit(feat(X.take(train)), observed[train])
                predict = lambda D: m.predict(feat(D))
            else:
                m = fit(X.take(train), observed[train], 0, rng)
                predict = lambda D: m.predict(D)[:, 0]
            expected[held] = predict(X.take(held))
            others.append(predict(current))
        loss = ((observed - expected) ** 2).mean()
        if best is None or loss < best[0]:
            best = (loss, name, expected, np.mean(others, 0))
    return best[1:]


def _balancing(reference, current, rng):
    """weights of reference rows, summing to 1"""
    mean, spread = reference.mean(0), reference.std(0)
    keep = spread > 1e-9
    A = np.column_stack([np.ones(len(reference)), ((reference - mean) / np.where(keep, spread, 1))[:, keep]])
    B = np.column_stack([np.ones(len(current)), ((current - mean) / np.where(keep, spread, 1))[:, keep]])
    ridge = np.eye(A.shape[1])
    ridge[0, 0] = 0
    fa, fb = rng.permutation(len(A)) % FOLDS, rng.permutation(len(B)) % FOLDS
    scores = np.zeros(len(PENALTIES))
    for k in range(FOLDS):
        T, h = A[fa != k], B[fb != k].mean(0)
        for j, penalty in enumerate(PENALTIES):
            w = np.linalg.solve(T.T @ T / len(T) + penalty * ridge, h)
            scores[j] += ((A[fa == k] @ w) ** 2).mean() / 2 - (B[fb == k] @ w).mean()
    penalty = PENALTIES[int(scores.argmin())]
    return A @ np.linalg.solve(A.T @ A / len(A) + penalty * ridge, B.mean(0)) / len(A)


def _estimate(l, alpha, weights, confidence):
    residual = l.observed - l.expected
    n = len(l.current)
    value = float(l.current.mean() + alpha @ residual)
    if l.noise is None:
        w = np.maximum(alpha, 0)
        noise = float(w @ residual**2 / w.sum() / n)
    else:
        noise = float(l.noise.mean() / n)
    df = max(1 / (alpha**2).sum() - 1, 2)
    t = stats.t.ppf((1 + confidence) / 2, df)
    half = t * np.sqrt((alpha**2) @ residual**2 + noise)
    own = l.influence / len(l.influence)
    dhalf = t * np.sqrt(((alpha * residual - own) ** 2).sum() + noise)
    d = value - l.reference
    return Estimate(l.metric, l.reference, value, value - half, value + half, d, d - dhalf, d + dhalf, float(weights @ l.observed))


def own_predictions(X, y, current, classes, rng):
    y = np.asarray(y)
    fold = folds(y, FOLDS, rng)
    best = None
    for name in ("linear", "boosting"):
        made = np.empty((len(y), max(classes, 1)))
        def model(Z, v):
            if classes:
                return LEARNERS["logistic" if name == "linear" else "boosting"](Z, v.astype(np.int64), classes, rng)
            if name == "linear":
                m = Ridge(1.0).fit(Z.linear, v)
                return lambda D: m.predict(D.linear)[:, None]
            return fit(Z, v, 0, rng).predict
        for k in range(FOLDS):
            made[fold == k] = model(X.take(fold != k), y[fold != k])(X.take(fold == k))
        if classes:
            loss = -np.log(np.maximum(made[np.arange(len(y)), y.astype(int)], 1e-6)).mean()
        else:
            loss = ((y - made[:, 0]) ** 2).mean()
        if best is None or loss < best[0]:
            best = (loss, made, model(X, y)(current), name)
    return best[1:]
