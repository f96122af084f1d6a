"""Held-out probabilities, and how sure they deserve to be: what is said of unlabelled rows rests on both.

A model's probabilities on the rows that it has learnt from say nothing of how often it is right on others. All that is
here is therefore fitted on predictions of rows that the predicting model has not seen.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from groundshift.errors import InputError
from groundshift.workflows.audit.models import Design, fit

__all__ = [
    "LEARNERS",
    "LEAST_PROBABILITY",
    "HeldOut",
    "Temperature",
    "as_numbers",
    "calibrated",
    "folds",
    "held_out",
    "isotonic",
    "log_ratios",
    "temperature",
]

Array = NDArray[np.float64]
Codes = NDArray[np.int64]
Predict = Callable[[Design], Array]
Learner = Callable[[Design, Codes, int, np.random.Generator], Predict]

LEAST_PROBABILITY = 1e-6
"""Smaller probabilities are counted as this, so that no row can make a loss infinite."""
RIDGE = 1e-2
"""Pull of a temperature towards 1 and of a bias towards 0, in rows: it decides only where classes are separable."""


# Calibration ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Temperature:
    """Bias-corrected temperature scaling: probabilities proportional to p_k^slope · exp(bias_k).

    Attributes
    ----------
    slope : one over the temperature
    bias : of each class, the first is 0; shape (classes,)
    """

    slope: float
    bias: Array

    def __call__(self, predicted: Array) -> Array:
        """Calibrated probabilities, shape (rows, classes)."""
        return softmax(self.slope * _logs(predicted) + self.bias, axis=1)

    def redrawn(self, predicted: Array, y: Codes, counts: Array) -> list[Temperature]:
        """What it would be had other rows been drawn: one Newton step from here for each draw.

        Parameters
        ----------
        predicted, y : what it was fitted on
        counts : how often each row is in each draw, shape (draws, rows)
        """
        start = np.r_[self.slope, self.bias[1:]]
        logs = _logs(predicted)
        temperatures = []
        for count in counts:
            _, slope, curvature = _objective(start, logs, y, count)
            step = start - np.linalg.solve(curvature, slope)
            temperatures.append(Temperature(float(step[0]), np.r_[0.0, step[1:]]))
        return temperatures


def temperature(predicted: Array, y: Codes) -> Temperature:
    """Fit by maximum likelihood (Alexandari, Kundaje and Shrikumar 2020).

    Parameters
    ----------
    predicted : probabilities of rows that the model has not learnt from, shape (rows, classes)
    y : class codes, shape (rows,)

    Examples
    --------
    A model that is right in 80 % of the rows, and claims 99.9 %:

    >>> y = np.repeat([0, 1, 1, 0], [80, 80, 20, 20])
    >>> claimed = np.repeat([[0.999, 0.001], [0.001, 0.999], [0.999, 0.001], [0.001, 0.999]], [80, 80, 20, 20], axis=0)
    >>> temperature(claimed, y)(claimed)[0].round(2).tolist()
    [0.8, 0.2]
    """
    logs, count = _logs(predicted), np.ones(len(y))
    start = np.r_[1.0, np.zeros(predicted.shape[1] - 1)]
    optimum = minimize(
        lambda t: _objective(t, logs, y, count)[:2],
        start,
        jac=True,
        hess=lambda t: _objective(t, logs, y, count)[2],
        method="trust-exact",
        options={"gtol": 1e-4},
    )
    return Temperature(float(optimum.x[0]), np.r_[0.0, optimum.x[1:]])


def _objective(at: Array, logs: Array, y: Codes, count: Array) -> tuple[float, Array, Array]:
    """Negative log likelihood of a temperature, its gradient and its Hessian; rows count as often as ``count`` says."""
    scaled = log_softmax(at[0] * logs + np.r_[0.0, at[1:]], axis=1)
    p = np.exp(scaled)
    rows = np.arange(len(y))
    away = at - np.r_[1.0, np.zeros(len(at) - 1)]
    value = -count @ scaled[rows, y] + RIDGE / 2 * away @ away
    mean = (p * logs).sum(1)
    shares = np.bincount(y, weights=count, minlength=logs.shape[1])
    gradient = np.r_[count @ (mean - logs[rows, y]), (count @ p - shares)[1:]] + RIDGE * away
    weighted = p * count[:, None]
    hessian = np.empty((len(at), len(at)))
    hessian[0, 0] = count @ ((p * logs**2).sum(1) - mean**2)
    hessian[0, 1:] = hessian[1:, 0] = (weighted * (logs - mean[:, None])).sum(0)[1:]
    hessian[1:, 1:] = (np.diag(weighted.sum(0)) - p.T @ weighted)[1:, 1:]
    return float(value), gradient, hessian + RIDGE * np.eye(len(at))


def isotonic(predicted: Array, y: Codes) -> Callable[[Array], Array]:
    """Isotonic regression of each class against the rest, scaled to sum 1 (Zadrozny and Elkan 2002)."""
    steps = [
        IsotonicRegression(y_min=1e-3, y_max=1 - 1e-3, out_of_bounds="clip").fit(p, y == k)
        for k, p in enumerate(predicted.T)
    ]

    def apply(others: Array) -> Array:
        columns = np.column_stack([step.predict(p) for step, p in zip(steps, others.T, strict=True)])
        return columns / columns.sum(1, keepdims=True)

    return apply


def as_numbers(values: ArrayLike, name: str) -> Array:
    """An array of numbers, or an `InputError` that says what was given in its place."""
    try:
        return np.asarray(values, dtype=float)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} holds something other than numbers ({error}); give numbers.") from error


def log_ratios(predicted: Array) -> Array:
    """log p_k / p_0 for all classes but the first, shape (rows, classes - 1)."""
    logs = _logs(predicted)
    return logs[:, 1:] - logs[:, :1]


def _logs(predicted: Array) -> Array:
    return np.log(np.clip(predicted, LEAST_PROBABILITY, 1.0))


# Held-out predictions ------------------------------------------------------------------------------------


def _linear(X: Design, y: Codes, classes: int, rng: np.random.Generator) -> Predict:
    """Logistic regression on the columns as the linear model takes them."""
    model = LogisticRegression(C=1.0, max_iter=500, tol=1e-3, random_state=int(rng.integers(2**31 - 1)))
    model.fit(X.linear, y)

    def predict(others: Design) -> Array:
        logits = np.zeros((len(others.linear), classes))
        logits[:, model.classes_] = model.predict_proba(others.linear)
        return logits

    return predict


def _boosting(X: Design, y: Codes, classes: int, rng: np.random.Generator) -> Predict:
    """Boosting on top of a linear model."""
    return fit(X, y.astype(float), classes, rng).predict


LEARNERS: dict[str, Learner] = {"logistic": _linear, "boosting": _boosting}


@dataclass(frozen=True)
class HeldOut:
    """Calibrated predictions of rows with labels, each by a model that has not seen it, and of rows without.

    Attributes
    ----------
    learner : the one whose calibrated predictions have the smallest log loss
    loss : that log loss
    raw : predictions of the rows with labels before calibration, shape (rows, classes)
    reference : the same calibrated
    raw_current : of the rows without labels by the model of each fold, shape (folds, rows, classes)
    current : the same calibrated
    scaling : the calibration
    """

    learner: str
    loss: float
    raw: Array
    reference: Array
    raw_current: Array
    current: Array
    scaling: Temperature


def folds(y: NDArray[np.generic], count: int, rng: np.random.Generator) -> Codes:
    """Fold of each row; rows that are alike in y are dealt out evenly.

    >>> fold = folds(np.repeat([0, 1], [6, 3]), 3, np.random.default_rng(0))
    >>> np.bincount(fold[:6]).tolist(), np.bincount(fold[6:]).tolist()
    ([2, 2, 2], [1, 1, 1])
    """
    order = rng.permutation(len(y))
    order = order[np.argsort(y[order], kind="stable")]
    fold = np.empty(len(y), dtype=np.int64)
    fold[order] = np.arange(len(y)) % count
    return fold


def held_out(
    X: Design,
    y: Codes,
    current: Design | None,
    classes: int,
    fold: Codes,
    rng: np.random.Generator,
    learners: dict[str, Learner] = LEARNERS,
) -> HeldOut:
    """Predict the rows with labels by models of the other folds, and the others by all of these; keep the best learner.

    A mean over the models of the folds, or a model of all rows, is surer than each of them, and calibration learnt on
    the rows with labels would not fit it; predictions of the single models obey the same calibration.

    Parameters
    ----------
    X, y : rows with labels, and their class codes
    current : rows without labels, if there are some
    fold : of each row with labels
    """
    options = []
    for name, learner in learners.items():
        raw = np.empty((len(y), classes))
        others = []
        for k in range(int(fold.max()) + 1):
            predict = learner(X.take(fold != k), y[fold != k], classes, rng)
            raw[fold == k] = predict(X.take(fold == k))
            others.append(np.empty((0, classes)) if current is None else predict(current))
        options.append(calibrated(name, raw, y, np.array(others)))
    return min(options, key=lambda option: option.loss)


def calibrated(name: str, raw: Array, y: Codes, raw_current: Array) -> HeldOut:
    """Held-out predictions of one learner, with their calibration."""
    scaling = temperature(raw, y)
    scaled = scaling(raw)
    loss = float(-np.log(np.maximum(scaled[np.arange(len(y)), y], LEAST_PROBABILITY)).mean())
    current = np.array([scaling(p) for p in raw_current])
    return HeldOut(name, loss, raw, scaled, raw_current, current, scaling)
