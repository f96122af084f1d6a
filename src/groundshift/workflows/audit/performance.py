"""How well a model does on rows whose labels are not in yet, with an interval, or the reason why nobody can know.

A model loses ℓ(x, y) on a row. Where P(y | x) is as in the reference, its mean loss over the new rows is

    mean over new rows of m(x)  +  Σ over reference rows of α(x) · (ℓ(x, y) - m(x)),

with m(x) the expected loss given the row, and weights α(x) that make the reference look like the new rows. The first
term alone is confidence-based estimation (CBPE) where m comes from calibrated class probabilities, and direct loss
estimation (DLE) where a second model learns the loss of a row; both names are NannyML's. The second term takes out what
m has wrong on average: the sum is right if m is, or if α is (Robins, Rotnitzky and Zhao 1994), and the spread of its
summands gives the interval. The weights balance the means of the columns, of the predictions and of a classifier's
odds between the two tables, with as little spread as that takes (least-squares importance fitting: Kanamori, Hido and
Sugiyama 2009).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import GammaRegressor, Ridge
from sklearn.metrics import mean_gamma_deviance, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from groundshift.errors import InputError
from groundshift.report import Report, Section
from groundshift.result import Result
from groundshift.workflows.audit.calibration import (
    LEARNERS,
    LEAST_PROBABILITY,
    HeldOut,
    as_numbers,
    calibrated,
    folds,
    held_out,
    isotonic,
    log_ratios,
    temperature,
)
from groundshift.workflows.audit.models import Design, fit
from groundshift.workflows.audit.transfer import balancing_weights, overlap

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "ASSUMPTION",
    "Estimate",
    "Performance",
    "estimate_performance",
    "metric_values",
    "own_predictions",
    "row_losses",
]

Array = NDArray[np.float64]
Codes = NDArray[np.int64]
Predict = Callable[[Design], Array]

ASSUMPTION = "This holds if P(y | x) is as in the reference; without labels that cannot be checked."
LEAST_ROWS = 50
LEAST_OF_CLASS = 4
FOLDS = 5
LEAST_LOSS, MOST_LOSS = 0.02, 20.0
"""Bounds of an expected loss, over the mean loss."""


# The result ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Estimate:
    """One metric on the rows without labels; NaN where it cannot be told.

    Attributes
    ----------
    metric : "log loss", "error", "Brier score" or "AUC"; of numbers "squared error" or "absolute error"
    reference : its value on the reference
    estimate, low, high : on the rows without labels, with an interval for the value that their labels will give
    difference, difference_low, difference_high : estimate less reference; the interval holds the noise of both
    weighted : mean over the reference with importance weights of a classifier, to compare
    """

    metric: str
    reference: float
    estimate: float = np.nan
    low: float = np.nan
    high: float = np.nan
    difference: float = np.nan
    difference_low: float = np.nan
    difference_high: float = np.nan
    weighted: float = np.nan


@dataclass(frozen=True, repr=False)
class Performance(Result):
    """How well a model does on rows without labels.

    Attributes
    ----------
    estimates : of every metric, the log loss or the squared error first
    effective_rows : how many rows the reference is worth once it is weighted to look like the current rows
    outside : share of the current rows where the reference has next to none
    separating : columns whose current values the reference does not have, the most separating first
    second_model : what tells the expected loss of a row, chosen by cross-validation: "temperature" or "isotonic"
        (calibration alone), "logistic", "linear" or "boosting"
    can_tell, reason : whether anything can be told, and if not, why
    confidence : of the intervals
    assumption : what no method without labels can check
    """

    estimates: tuple[Estimate, ...]
    effective_rows: float
    outside: float
    separating: tuple[str, ...]
    second_model: str
    can_tell: bool
    reason: str
    confidence: float
    assumption: str = ASSUMPTION

    def __getitem__(self, metric: str) -> Estimate:
        """The estimate of one metric."""
        for estimate in self.estimates:
            if estimate.metric == metric:
                return estimate
        raise InputError(
            f"There is no metric {metric!r}; there are {', '.join(e.metric for e in self.estimates)}."
        )

    @property
    def sentence(self) -> str:
        """The estimate of the first metric in words."""
        first = self.estimates[0]
        if not self.can_tell:
            return f"The {first.metric} on the current rows cannot be told. {self.reason}"
        return (
            f"The {first.metric} on the current rows is estimated at {first.estimate:.3g} [{first.low:.3g}, "
            f"{first.high:.3g}], after {first.reference:.3g} on the reference. {self.assumption}"
        )

    def to_frame(self) -> pd.DataFrame:
        """A row for each metric."""
        return pd.DataFrame([asdict(e) for e in self.estimates]).set_index("metric")

    def _content(self) -> dict[str, Any]:
        return asdict(self)

    def report(self) -> Report:
        """The estimate, what it rests on, and every metric."""
        facts = {
            "rows that the reference is worth": self.effective_rows,
            "share of the current rows where the reference has next to none": self.outside,
            "columns whose current values the reference does not have": self.separating,
            "second model": self.second_model,
        }
        metrics = Section("metrics", "Every metric", tables={"Metrics": self._table()})
        basis = Section("basis", "What the estimate rests on", self.assumption, facts=facts)
        figures = ("Every metric over its value on the reference", self._draw) if self.can_tell else None
        return Report(
            "audit", "performance without labels", self.sentence, sections=(metrics, basis), figure=figures
        )

    def _table(self) -> pd.DataFrame:
        names = {"difference_low": "difference low", "difference_high": "difference high"}
        return self.to_frame().reset_index().rename(columns=names)

    def _draw(self, ax: Axes) -> None:
        table = self.to_frame()[::-1]
        scaled = table[["estimate", "low", "high"]].div(table["reference"], axis=0)
        y = np.arange(len(table))
        ax.axvline(1, color="#9aa5ad", linewidth=1)
        ax.hlines(y, scaled["low"], scaled["high"], color="#2f6f8f", linewidth=2)
        ax.scatter(scaled["estimate"], y, color="#2f6f8f", s=24, zorder=3)
        ax.set_yticks(y, list(table.index))
        ax.set_xlabel("on the current rows, over the value on the reference")


# The estimate --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Metric:
    """A metric as a mean of row losses, and what is expected of them.

    Attributes
    ----------
    reference : value on the reference
    observed, expected, variance : loss of each row of the reference, and its expectation and variance by a model that
        has not seen the row
    current, current_variance : expectation and variance of the loss of each current row
    influence : of each row of the reference on ``reference``
    most : the largest value there is
    positive : whether it is a loss, whose interval is made on the logarithmic scale
    """

    name: str
    reference: float
    observed: Array
    expected: Array
    variance: Array
    current: Array
    current_variance: Array
    influence: Array
    most: float = np.inf
    positive: bool = True

    @classmethod
    def of_classes(
        cls, name: str, before: Array, after: Array, y: Codes, held: Array, new: Array, **options: Any
    ) -> _Metric:
        """From the loss for each class that could be true, of the rows of both tables, and the class probabilities."""
        observed = before[np.arange(len(y)), y]
        expected, current = (held * before).sum(1), (new * after).sum(1)
        mean = float(observed.mean())
        given = {"reference": mean, "influence": observed - mean} | options
        return cls(
            name=name, observed=observed, expected=expected, variance=(held * before**2).sum(1) - expected**2,
            current=current, current_variance=(new * after**2).sum(1) - current**2, **given,
        )  # fmt: skip


def estimate_performance(
    y_reference: ArrayLike,
    predicted_reference: ArrayLike,
    predicted_current: ArrayLike,
    X_reference: Design,
    X_current: Design,
    classes: int,
    rng: np.random.Generator,
    confidence: float = 0.95,
) -> Performance:
    """Estimate what a model will turn out to lose on rows whose labels are not in yet.

    Parameters
    ----------
    y_reference : class codes 0 … classes - 1, or numbers, shape (rows,)
    predicted_reference : class probabilities (rows, classes), or numbers (rows, 1), by a model that has not learnt from
        these rows: the user's own, or `own_predictions`
    predicted_current : by the same model for the rows without labels
    X_reference, X_current : their columns, made ready together by `models.design`
    classes : number of classes; 0 where the target is a number
    confidence : of the intervals

    Raises
    ------
    InputError
        Shapes that do not fit, values that are missing or no probabilities, labels that are no class codes.

    Examples
    --------
    Current rows have larger x, and the larger x the more often the model is wrong:

    >>> from groundshift.workflows.audit.models import design
    >>> rng = np.random.default_rng(0)
    >>> x = np.r_[rng.normal(0, 1, 1500), rng.normal(0.7, 1, 1500)]
    >>> wrong = rng.random(3000) < 1 / (1 + np.exp(1.5 - x))
    >>> y, predicted = wrong.astype(int), np.tile([0.8, 0.2], (3000, 1))
    >>> X = design(x[:, None], np.array([False]), ["x"])
    >>> a, b = np.arange(1500), np.arange(1500, 3000)
    >>> performance = estimate_performance(y[a], predicted[a], predicted[b], X.take(a), X.take(b), 2, rng)
    >>> error = performance["error"]
    >>> [round(v, 2) for v in (error.reference, error.low, error.estimate, error.high, float(wrong[b].mean()))]
    [0.23, 0.31, 0.35, 0.39, 0.33]
    """
    y, p, q = _checked(y_reference, predicted_reference, predicted_current, X_reference, X_current, classes)
    if not 0 < confidence < 1:
        raise InputError(f"confidence={confidence} was given; it lies between 0 and 1, as 0.95.")
    few = _too_few(y, q, classes)
    sides = overlap(X_reference, X_current, rng) if not few else None
    reason = few or ("" if sides is None else sides.reason)
    if sides is None or reason:
        known = tuple(Estimate(name, value) for name, value in metric_values(y, p, classes).items())
        effective, outside, separating = (
            (np.nan, np.nan, ()) if sides is None else (sides.effective_rows, sides.outside, sides.separating)
        )
        return Performance(known, effective, outside, separating, "", False, reason, confidence)
    of = _of_classes if classes else _of_numbers
    metrics, second = of(y, p, q, X_reference, X_current, classes, rng)
    weights = balancing_weights(
        np.column_stack(
            [_features(X_reference, p, classes), sides.features(0), *[m.expected for m in metrics]]
        ),
        np.column_stack([_features(X_current, q, classes), sides.features(1), *[m.current for m in metrics]]),
    )
    weighted = metric_values(y, p, classes, sides.weights)
    estimates = tuple(_estimate(m, weights, weighted[m.name], confidence) for m in metrics)
    return Performance(
        estimates, sides.effective_rows, sides.outside, sides.separating, second, True, "", confidence
    )


def _estimate(metric: _Metric, weights: Array, weighted: float, confidence: float) -> Estimate:
    """The estimate of the module's docstring, and its interval.

    Its error has two parts: that of the weighted residuals, and that of the labels to come. The variance of each is the
    larger of what the residuals show and of what the second model expects; a few large losses that happened not to be
    drawn would otherwise make the interval too short.
    """
    residual = metric.observed - metric.expected
    value = float(metric.current.mean() + weights @ residual)
    squares, likeness = weights**2, np.maximum(weights, 0.0)
    error = max(float(squares @ residual**2), float(squares @ metric.variance))
    labels = max(float(likeness @ residual**2 / likeness.sum()), float(metric.current_variance.mean()))
    labels /= len(metric.current)
    t = float(stats.t.ppf((1 + confidence) / 2, max(1 / squares.sum() - 1, 2)))
    half = t * np.sqrt(error + labels)
    # Both values rest on the same rows of the reference, so their errors are summed row by row.
    own = metric.influence / len(residual)
    shared = float(((weights * residual - own) ** 2).sum()) + error - float(squares @ residual**2)
    between = t * np.sqrt(shared + labels)
    low, high = _log_interval(value, half) if metric.positive else (value - half, value + half)
    value = float(np.clip(value, 0.0, metric.most))
    difference = value - metric.reference
    return Estimate(
        metric.name, metric.reference, value, float(max(low, 0.0)), float(min(high, metric.most)), difference,
        float(difference - between), float(difference + between), weighted,
    )  # fmt: skip


def _log_interval(value: float, half: float) -> tuple[float, float]:
    """An interval of a loss on the logarithmic scale; one that might be nothing begins at 0.

    >>> [round(float(bound), 3) for value in (1.0, 0.1) for bound in _log_interval(value, 0.15)]
    [0.861, 1.162, 0.0, 0.358]
    """
    if value > half:
        return value * np.exp(-half / value), value * np.exp(half / value)
    return 0.0, max(value, 0.0) + float(np.expm1(1.0)) * half


def _features(X: Design, predicted: Array, classes: int) -> Array:
    """What the weights balance: columns and predictions."""
    return np.column_stack(
        [X.linear, log_ratios(predicted) if classes else np.hstack([predicted, predicted**2])]
    )


# Expected losses: classes --------------------------------------------------------------------------------


def row_losses(predicted: Array) -> dict[str, Array]:
    """Loss of each row for each class that could be true, shape (rows, classes), by metric.

    >>> {name: loss.round(2).tolist() for name, loss in row_losses(np.array([[0.8, 0.2]])).items()}
    {'log loss': [[0.22, 1.61]], 'error': [[0.0, 1.0]], 'Brier score': [[0.08, 1.28]]}
    """
    return {
        "log loss": -np.log(np.clip(predicted, LEAST_PROBABILITY, 1.0)),
        "error": 1.0 - np.eye(predicted.shape[1])[predicted.argmax(1)],
        "Brier score": (predicted**2).sum(1, keepdims=True) - 2 * predicted + 1,
    }


def _of_classes(
    y: Array, p: Array, q: Array, X: Design, current: Design, classes: int, rng: np.random.Generator
) -> tuple[list[_Metric], str]:
    codes = y.astype(np.int64)
    second = _second_model(codes, p, q, X, current, classes, rng)
    held, new = second.reference, second.current.mean(0)
    metrics = [
        _Metric.of_classes(name, before, after, codes, held, new, most=most)
        for (name, before), after, most in zip(
            row_losses(p).items(), row_losses(q).values(), (np.inf, 1.0, 2.0), strict=True
        )
    ]
    if classes == 2:
        metrics.append(_auc(codes, p[:, 1], q[:, 1], held, new))
    return metrics, second.learner


def _second_model(
    y: Codes, p: Array, q: Array, X: Design, current: Design, classes: int, rng: np.random.Generator
) -> HeldOut:
    """P(y | x) from the predictions alone, or from these and the columns: whatever has the smallest held-out loss."""
    fold = folds(y, FOLDS, rng)
    options = []
    methods: dict[str, Callable[[Array, Codes], Callable[[Array], Array]]] = {
        "temperature": temperature,
        "isotonic": isotonic,
    }
    for name, method in methods.items():
        raw, others = np.empty_like(p), []
        for k in range(FOLDS):
            scaling = method(p[fold != k], y[fold != k])
            raw[fold == k] = scaling(p[fold == k])
            others.append(scaling(q))
        options.append(calibrated(name, raw, y, np.array(others)))
    beside = _beside(X, log_ratios(p)), _beside(current, log_ratios(q))
    options.append(held_out(beside[0], y, beside[1], classes, fold, rng))
    return min(options, key=lambda option: option.loss)


def _beside(X: Design, columns: Array) -> Design:
    for column in columns.T:
        X = X.beside(column)
    return X


def _auc(y: Codes, score: Array, current: Array, held: Array, new: Array) -> _Metric:
    """The area under the ROC curve, made a mean of row losses by its influence function.

    A row's "loss" is the area plus the influence of its label; the mean over rows is the area, to first order.
    """
    value, influence = _area(current, new[:, 1])
    own, own_influence = _area(score, y.astype(float))
    return _Metric.of_classes(
        "AUC", influence(score) + value, influence(current) + value, y, held, new, reference=own,
        influence=own_influence(score)[np.arange(len(y)), y], most=1.0, positive=False,
    )  # fmt: skip


def _area(score: Array, probability: Array) -> tuple[float, Callable[[Array], Array]]:
    """AUC of scores whose rows are positive with these probabilities, and what a label at a score adds to it.

    >>> value, influence = _area(np.array([0.1, 0.4, 0.35, 0.8]), np.array([0.0, 0.0, 1.0, 1.0]))
    >>> value, influence(np.array([0.35])).tolist()
    (0.75, [[0.0, -0.5]])
    """
    order = np.argsort(score, kind="stable")
    ordered = score[order]
    positive, negative = (np.r_[0.0, np.cumsum(mass[order])] for mass in (probability, 1 - probability))

    def below(mass: Array, at: Array) -> Array:
        """Share of the mass with smaller scores; equal ones count half."""
        left, right = (np.searchsorted(ordered, at, side) for side in ("left", "right"))
        return (mass[left] + mass[right]) / 2 / max(mass[-1], 1e-12)

    value = float(probability @ below(negative, score) / max(positive[-1], 1e-12))
    share = positive[-1] / len(score)

    def influence(at: Array) -> Array:
        """For a negative and for a positive label, shape (rows, 2)."""
        return np.column_stack(
            [
                (1 - below(positive, at) - value) / max(1 - share, 1e-12),
                (below(negative, at) - value) / max(share, 1e-12),
            ]
        )

    return value, influence


# Expected losses: numbers --------------------------------------------------------------------------------


def _of_numbers(
    y: Array, p: Array, q: Array, X: Design, current: Design, classes: int, rng: np.random.Generator
) -> tuple[list[_Metric], str]:
    error = y - p[:, 0]
    fold = folds(np.abs(error), FOLDS, rng)
    beside = X.beside(p[:, 0]), current.beside(q[:, 0])
    metrics, names = [], []
    for name, observed in {"squared error": error**2, "absolute error": np.abs(error)}.items():
        learner, expected, new = _direct(observed, *beside, fold, rng)
        names.append(learner)
        dispersion = float(((observed - expected) ** 2).sum() / (expected**2).sum())
        mean = float(observed.mean())
        metrics.append(
            _Metric(
                name, mean, observed, expected, dispersion * expected**2, new, dispersion * new**2,
                observed - mean,
            )
        )  # fmt: skip
    return metrics, names[0]


def _direct(
    loss: Array, X: Design, current: Design, fold: Codes, rng: np.random.Generator
) -> tuple[str, Array, Array]:
    """A second model of the loss of a row, and what it expects: the learner with the smaller held-out deviance.

    Losses are positive, and the larger the more spread; gamma regression is made for that.
    """
    loss = np.maximum(loss, max(1e-6 * float(loss.mean()), 1e-12))
    options = []
    for name in ("linear", "boosting"):
        expected, others = np.empty(len(loss)), []
        for k in range(FOLDS):
            predict = _loss_model(name, X.take(fold != k), loss[fold != k], rng)
            expected[fold == k] = predict(X.take(fold == k))
            others.append(predict(current))
        options.append((mean_gamma_deviance(loss, expected), name, expected, np.mean(others, axis=0)))
    return min(options, key=lambda option: option[0])[1:]


def _loss_model(name: str, X: Design, loss: Array, rng: np.random.Generator) -> Predict:
    """The expected loss on a logarithmic scale: linear in the columns, or boosting on top of that."""
    mean = float(loss.mean())
    line = make_pipeline(StandardScaler(), GammaRegressor(alpha=0.1, max_iter=500)).fit(X.linear, loss)

    def within(expected: Array) -> Array:
        return np.clip(expected, LEAST_LOSS * mean, MOST_LOSS * mean)

    def linear(others: Design) -> Array:
        return within(line.predict(others.linear))

    if name == "linear":
        return linear

    def stacked(others: Design) -> Array:
        return np.column_stack([others.trees, np.log(linear(others))])

    trees = HistGradientBoostingRegressor(
        loss="gamma", max_iter=int(np.clip(len(loss) // 10, 20, 60)), max_leaf_nodes=15, l2_regularization=1.0,
        early_stopping=False, random_state=int(rng.integers(2**31 - 1)),
    ).fit(stacked(X), loss)  # fmt: skip
    return lambda others: within(trees.predict(stacked(others)))


# The audit's own model -----------------------------------------------------------------------------------


def own_predictions(
    X: Design,
    y: ArrayLike,
    current: Design,
    classes: int,
    rng: np.random.Generator,
    learners: Sequence[str] = ("linear", "boosting"),
) -> tuple[Array, Array, str]:
    """Predictions for `estimate_performance` where the user has no model: a linear model or boosting.

    Parameters
    ----------
    learners : "linear", "boosting" or both; cross-validation chooses

    Returns
    -------
    Held-out predictions of the reference, predictions of the current rows by a model of the whole reference, and the
    learner.
    """
    target = np.asarray(y, dtype=float)
    fold = folds(target, FOLDS, rng)
    best: tuple[float, Array, str] | None = None
    for name in learners:
        predictions = np.empty((len(target), max(classes, 1)))
        for k in range(FOLDS):
            predictions[fold == k] = _own_model(name, X.take(fold != k), target[fold != k], classes, rng)(
                X.take(fold == k)
            )
        loss = next(iter(metric_values(target, predictions, classes).values()))
        if best is None or loss < best[0]:
            best = loss, predictions, name
    assert best is not None
    return best[1], _own_model(best[2], X, target, classes, rng)(current), best[2]


def _own_model(name: str, X: Design, y: Array, classes: int, rng: np.random.Generator) -> Predict:
    if classes:
        return LEARNERS["logistic" if name == "linear" else name](X, y.astype(np.int64), classes, rng)
    if name == "linear":
        model = Ridge(1.0).fit(X.linear, y)
        return lambda others: model.predict(others.linear)[:, None]
    return fit(X, y, 0, rng).predict


# The door ------------------------------------------------------------------------------------------------


def metric_values(y: Array, predicted: Array, classes: int, weights: Array | None = None) -> dict[str, float]:
    """Every metric of rows with labels, the rows weighted."""
    if not classes:
        error = y - predicted[:, 0]
        return {
            "squared error": float(np.average(error**2, weights=weights)),
            "absolute error": float(np.average(np.abs(error), weights=weights)),
        }
    codes = y.astype(np.int64)
    values = {
        name: float(np.average(loss[np.arange(len(y)), codes], weights=weights))
        for name, loss in row_losses(predicted).items()
    }
    if classes == 2:
        both = len(np.unique(codes)) == 2
        values["AUC"] = (
            float(roc_auc_score(codes, predicted[:, 1], sample_weight=weights)) if both else np.nan
        )
    return values


def _too_few(y: Array, current: Array, classes: int) -> str:
    if min(len(y), len(current)) < LEAST_ROWS:
        return f"{len(y)} rows with labels and {len(current)} without are too few; {LEAST_ROWS} of each are needed."
    if classes:
        sizes = np.bincount(y.astype(np.int64), minlength=classes)
        if sizes.min() < LEAST_OF_CLASS:
            least = int(sizes.argmin())
            return f"Class {least} has {sizes[least]} labels in the reference; {LEAST_OF_CLASS} are needed."
    return ""


def _checked(
    y_reference: ArrayLike,
    predicted_reference: ArrayLike,
    predicted_current: ArrayLike,
    X_reference: Design,
    X_current: Design,
    classes: int,
) -> tuple[Array, Array, Array]:
    y, p, q = (
        as_numbers(values, name)
        for values, name in (
            (y_reference, "y_reference"),
            (predicted_reference, "predicted_reference"),
            (predicted_current, "predicted_current"),
        )
    )
    if classes < 0 or classes == 1:
        raise InputError(f"classes={classes} was given; it is 0 for a number, and 2 or more for classes.")
    width = max(classes, 1)
    for name, values, X in (("reference", p, X_reference), ("current", q, X_current)):
        if values.shape != (len(X.linear), width):
            raise InputError(
                f"predicted_{name} has shape {values.shape}; ({len(X.linear)}, {width}) is needed: a row for each row "
                f"of X_{name}, with {'a probability for each class' if classes else 'one number'}."
            )
        if not np.isfinite(values).all():
            raise InputError(
                f"predicted_{name} has values that are missing or infinite; leave out these rows."
            )
        if classes and (values.min(initial=0.0) < 0 or np.abs(values.sum(1) - 1).max(initial=0.0) > 1e-3):
            raise InputError(
                f"predicted_{name} holds rows that are negative or do not sum to 1; give class probabilities, as "
                "predict_proba does."
            )
    if y.shape != (len(p),) or not np.isfinite(y).all():
        raise InputError(
            f"y_reference has shape {y.shape}; one label, not missing, is needed for each of {len(p)} rows."
        )
    if classes and not np.isin(y, np.arange(classes)).all():
        raise InputError(
            f"y_reference must hold class codes 0 … {classes - 1}; {np.unique(y)[:5]} were given."
        )
    if not X_reference.linear.shape[1]:
        raise InputError("X_reference has no column that varies; at least one is needed.")
    if X_reference.linear.shape[1] != X_current.linear.shape[1] or X_reference.source != X_current.source:
        raise InputError(
            "X_reference and X_current have different columns; make both tables ready by one call of design, and take "
            "their rows apart afterwards."
        )
    return y, p, q
