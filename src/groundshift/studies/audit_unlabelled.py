"""The study of what is said of unlabelled rows: do intervals hold the loss and the shares that labels would show?

Tables of customers shift in their columns (P(y | x) stays), in their labels (P(x | y) stays) or in what the columns
mean. The model whose loss is to be told is drawn for each table: one that uses half of the columns, one that is far too
sure of itself, or one that was learnt from the reference. No method sees a label of the current rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression, Ridge

from groundshift.lab.claims import Claim, Control
from groundshift.lab.study import Figure, Grid, Measure, Method, Sample, Shift, Study, World
from groundshift.studies.drawing import Panel, chart
from groundshift.workflows.audit.calibration import isotonic
from groundshift.workflows.audit.models import Design, design, fit
from groundshift.workflows.audit.performance import (
    estimate_performance,
    metric_values,
    own_predictions,
    row_losses,
)
from groundshift.workflows.audit.shares import estimate_shares, maximum_likelihood_shares
from groundshift.worlds.shifted_tables import REGIONS, Planted, ShiftedTable, Target, shifted_table

Array = NDArray[np.float64]
Z = 1.96
CLASSES: dict[str, int] = {"binary": 2, "classes": 3, "continuous": 0}
UNEVEN = {"binary": 0.5, "classes": 0.5, "continuous": 0.25}
"""How the noise grows with the age: a shift to older customers then makes a model worse, though P(y | x) stays."""
TRAINING = 300
PLANS = ("basic", "plus", "pro")


@dataclass(frozen=True)
class Settings:
    """What the dial sets."""

    seeds: int = 20
    tables: int = 3
    """Of each seed, severity and kind of target."""
    few: int = 1
    """The same where less can be told: a concept shift, no overlap."""
    shares: int = 4
    least: int = 300
    """Rows of a table are drawn between these, as many of the reference as of the current one."""
    most: int = 600


# Worlds --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rows:
    """What a method may see of a table: all but the labels of the current rows."""

    y: Array
    predicted: tuple[Array, Array]
    X: tuple[Design, Design]
    classes: int


@dataclass(frozen=True)
class Truth:
    """What the labels show: every metric of the current rows, and the first one's expectation given the rows."""

    values: Array
    expected: float


@World.define()
def tables(
    rng: np.random.Generator,
    severity: float,
    *,
    shift: str,
    target: Target,
    count: int,
    least: int,
    most: int,
) -> Sample:
    """Pairs of a reference with labels and a current table without, and a model; ``apart`` is a column that moves four
    standard deviations."""
    drawn = [_table(rng, severity, shift, target, least, most) for _ in range(count)]
    return Sample([rows for rows, _ in drawn], [truth for _, truth in drawn])


def _table(
    rng: np.random.Generator, severity: float, shift: str, target: Target, least: int, most: int
) -> tuple[Rows, Truth]:
    size = int(np.exp(rng.uniform(np.log(least), np.log(most + 1))))
    planted: dict[Planted, float] = {shift: severity} if shift in get_args(Planted) else {}  # type: ignore[dict-item]
    train = shifted_table(rng, {}, (TRAINING + 1) // 2, target=target, uneven=UNEVEN[target])
    both = shifted_table(rng, planted, size, target=target, uneven=UNEVEN[target])
    parts = np.repeat([0, 1, 2], [len(train.frame), size, size])
    price = rng.normal(10, 0.5, len(parts)) + 2 * severity * (parts == 2) if shift == "apart" else None
    X, y = encoded([train, both], price)
    classes = CLASSES[target]
    learnt, before, after = (np.flatnonzero(parts == k) for k in range(3))
    kind = str(rng.choice(["half of the columns", "too sure", "of the reference"]))
    if kind == "of the reference":
        old, new, _ = own_predictions(
            X.take(before), y[before], X.take(after), classes, rng, learners=("linear",)
        )
    else:
        predict = _model(kind, X.take(learnt), y[learnt], classes, rng)
        old, new = predict(X.take(before)), predict(X.take(after))
    return (
        Rows(y[before], (old, new), (X.take(before), X.take(after)), classes),
        _truth(both, y[after], new, classes),
    )


def encoded(parts: list[ShiftedTable], price: Array | None = None) -> tuple[Design, Array]:
    """Features as the audit's models take them, made ready without a label, and the target."""
    frames = [part.frame for part in parts]
    numbers = ["age", "income", "tenure", "usage", "spend", "tickets", "other1"]
    values = np.vstack(
        [
            np.column_stack(
                [
                    f[numbers].to_numpy(dtype=float),
                    f["plan"].map({name: k for k, name in enumerate(PLANS)}),
                    f["region"].map({name: k for k, name in enumerate(REGIONS)}),
                ]
            )
            for f in frames
        ]
    )
    names = [*numbers, "plan", "region"]
    if price is not None:
        values, names = np.column_stack([values, price]), [*names, "price"]
    nominal = np.isin(names, ["plan", "region"])
    return design(values, nominal, names), np.concatenate([f["y"].to_numpy(dtype=float) for f in frames])


def _model(
    kind: str, X: Design, y: Array, classes: int, rng: np.random.Generator
) -> Callable[[Design], Array]:
    """The user's model: linear in half of the columns, or boosting that has learnt its rows by heart."""
    if kind == "too sure":
        options: dict[str, Any] = {"max_iter": 60, "learning_rate": 0.2, "min_samples_leaf": 10}
        options |= {"early_stopping": False, "random_state": 0}
        if classes:
            trees = HistGradientBoostingClassifier(**options).fit(X.trees, y.astype(int))
            return lambda rows: trees.predict_proba(rows.trees)
        numbers = HistGradientBoostingRegressor(**options).fit(X.trees, y)
        return lambda rows: numbers.predict(rows.trees)[:, None]
    used = np.sort(rng.permutation(X.linear.shape[1])[: X.linear.shape[1] // 2])
    if classes:
        line = LogisticRegression(max_iter=500).fit(X.linear[:, used], y.astype(int))
        return lambda rows: line.predict_proba(rows.linear[:, used])
    ridge = Ridge(1.0).fit(X.linear[:, used], y)
    return lambda rows: ridge.predict(rows.linear[:, used])[:, None]


def _truth(both: ShiftedTable, y: Array, predicted: Array, classes: int) -> Truth:
    location, scale = both.location[-len(y) :], both.scale[-len(y) :]
    values = np.array(list(metric_values(y, predicted, classes).values()))
    if both.probability is None:
        variance = scale**2 * np.pi**2 / 3  # of logistic noise
        return Truth(values, float(((location - predicted[:, 0]) ** 2 + variance).mean()))
    chances = both.probability[-len(y) :]
    return Truth(values, float((chances * row_losses(predicted)["log loss"]).sum(1).mean()))


@World.define()
def shared(
    rng: np.random.Generator,
    severity: float,
    *,
    shift: Planted,
    target: Target,
    count: int,
    least: int,
    most: int,
) -> Sample:
    """Tables whose current rows have no label, for the shares of their classes."""
    tables = []
    for _ in range(count):
        size = int(np.exp(rng.uniform(np.log(least), np.log(most + 1))))
        table = shifted_table(rng, {shift: severity}, size, target=target)
        X, y = encoded([table])
        tables.append((X, y, size))
    k = CLASSES[target]
    data = [(X, np.where(np.arange(2 * size) < size, y, np.nan), k) for X, y, size in tables]
    return Sample(data, [np.bincount(y[size:].astype(int), minlength=k) / size for _, y, size in tables])


# Methods: performance ------------------------------------------------------------------------------------

Answer = tuple[Array, Array, Array]
"""Estimate, low and high of every metric."""


def _answers(data: list[Rows], answer: Callable[[Rows], Answer]) -> dict[str, Any]:
    return {"values": np.array([answer(rows) for rows in data])}


@Method.define()
def estimated(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """The estimate; beside it what importance weights alone say, and whether it says anything."""
    estimates = [
        estimate_performance(t.y, t.predicted[0], t.predicted[1], t.X[0], t.X[1], t.classes, rng)
        for t in data
    ]
    values = np.array(
        [[[getattr(e, n) for e in p.estimates] for n in ("estimate", "low", "high")] for p in estimates]
    )
    weighted = np.array([p.estimates[0].weighted for p in estimates])
    return {"values": values, "weighted": weighted, "told": np.array([p.can_tell for p in estimates])}


@Method.define(role="baseline")
def confidence_alone(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """CBPE and DLE by themselves: isotonic calibration of the score, or boosting of the loss, and sampling noise."""

    def answer(t: Rows) -> Answer:
        old, new = t.predicted
        if t.classes:
            scaled = isotonic(old, t.y.astype(int))(new)
            return _plugged(new, scaled)
        error = t.y - old[:, 0]
        losses = np.array([np.square(error), np.abs(error)])
        before, after = t.X[0].beside(old[:, 0]), t.X[1].beside(new[:, 0])
        value = np.array([fit(before, loss, 0, rng).predict(after).mean() for loss in losses])
        half = Z * losses.std(1) / np.sqrt(len(new))
        return value, value - half, value + half

    return _answers(data, answer)


def _plugged(predicted: Array, chances: Array) -> Answer:
    """Expected metrics if labels are drawn with these chances, with the noise of the labels."""
    losses = np.array(list(row_losses(predicted).values()))
    value = (chances * losses).sum(2)
    noise = (chances * losses**2).sum(2) - value**2
    half = Z * np.sqrt(noise.mean(1) / len(predicted))
    mean = value.mean(1)
    return mean, mean - half, mean + half


@Method.define(role="baseline", version=2)
def reference_loss(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Answers what the model loses on the reference, with the sampling noise of both tables."""

    def answer(t: Rows) -> Answer:
        value, noise = _reference(t)
        half = Z * np.sqrt(noise * (1 / len(t.y) + 1 / len(t.predicted[1])))
        return value, value - half, value + half

    return _answers(data, answer)


def _reference(t: Rows) -> tuple[Array, Array]:
    """Means of the row losses on the reference and their variances; AUC is left out."""
    old = t.predicted[0]
    if t.classes:
        rows = np.array([loss[np.arange(len(t.y)), t.y.astype(int)] for loss in row_losses(old).values()])
    else:
        rows = np.array([np.square(t.y - old[:, 0]), np.abs(t.y - old[:, 0])])
    return rows.mean(1), rows.var(1)


def _for_every_table(output: Mapping[str, Any]) -> dict[str, Any]:
    """An answer that claims to tell something of every table."""
    values = np.asarray(output["values"])
    return {"values": values, "weighted": values[:, 0, 0], "told": np.ones(len(values), dtype=bool)}


@Method.define(role="mutant", of=estimated)
def silent(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Tells something of one table only, the first."""
    output = _for_every_table(reference_loss.run(data, rng))
    first = np.arange(len(data)) == 0
    return {"values": np.where(first[:, None, None], output["values"], np.nan), "weighted": output["weighted"],
            "told": first}  # fmt: skip


@Method.define(role="mutant", of=estimated)
def nothing_changes(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Takes the loss on the reference for that of the current rows."""
    return _for_every_table(reference_loss.run(data, rng))


@Method.define(role="mutant", of=estimated)
def a_tenth_aside(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Gives an interval of a tenth to either side of the loss on the reference."""

    def answer(t: Rows) -> Answer:
        value, _ = _reference(t)
        return value, 0.9 * value, 1.1 * value

    return _for_every_table(_answers(data, answer))


@Method.define(role="mutant", of=estimated)
def anything_is_possible(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Gives an interval that no loss lies outside of."""

    def answer(t: Rows) -> Answer:
        value, _ = _reference(t)
        return value, np.zeros_like(value), np.full_like(value, 1e6)

    return _for_every_table(_answers(data, answer))


@Method.define(role="mutant", of=estimated)
def uncalibrated(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Takes the model's own probabilities at their word; of numbers, its loss on the reference."""
    classes = _answers(data, lambda t: _plugged(t.predicted[1], t.predicted[1])) if data[0].classes else None
    return _for_every_table(classes or reference_loss.run(data, rng))


# Methods: shares -----------------------------------------------------------------------------------------


@Method.define()
def calibrated_em(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Calibrated EM with its intervals, and whether a label shift explains the columns."""
    estimates = [
        estimate_shares(y[known], X.take(known), X.take(~known), k, rng) for X, y, known, k in _split(data)
    ]
    values = np.array([[s.share, s.low, s.high] for s in estimates])
    return {"values": values, "p": np.array([s.p for s in estimates])}


def _split(data: Any) -> Iterator[tuple[Design, Array, NDArray[np.bool_], int]]:
    """Columns, labels, which rows have one, and the number of classes."""
    for X, y, k in data:
        yield X, y, ~np.isnan(y), k


@Method.define(role="baseline")
def confusion(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Black-box shift estimation (Lipton, Wang and Smola 2018) on cross-fitted probabilities of boosting."""
    return {"values": np.array([[_confusion(*table, rng)] for table in _split(data)])}


def _confusion(X: Design, y: Array, known: NDArray[np.bool_], k: int, rng: np.random.Generator) -> Array:
    seen, new, codes = X.take(known), X.take(~known), y[known]
    first = rng.permutation(len(codes)) < len(codes) // 2
    probabilities, means = np.empty((len(codes), k)), []
    for half in (first, ~first):
        model = fit(seen.take(half), codes[half], k, rng)
        probabilities[~half] = model.predict(seen.take(~half))
        means.append(model.predict(new).mean(0))
    of_class, mean = np.array([probabilities[codes == c].mean(0) for c in range(k)]), np.mean(means, axis=0)
    strong = 1e3  # makes "they sum to 1" an equation
    q = nnls(np.vstack([of_class.T, np.full(k, strong)]), np.r_[mean, strong])[0]
    return q / q.sum()


@Method.define(role="control", of=calibrated_em)
def uncalibrated_em(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Ablation: maximum likelihood on probabilities that are far too sure."""
    shares = []
    for X, y, known, k in _split(data):
        predict = _model("too sure", X.take(known), y[known], k, rng)
        shares.append([maximum_likelihood_shares(predict(X.take(~known)), _shares(y[known], k))])
    return {"values": np.array(shares)}


def _shares(y: Array, k: int) -> Array:
    return np.bincount(y.astype(int), minlength=k) / len(y)


@Method.define(role="mutant", of=calibrated_em)
def shares_stay(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Answers the shares of the reference, with their sampling noise, and never doubts a label shift."""
    shares = []
    for _, y, known, k in _split(data):
        share = _shares(y[known], k)
        half = Z * np.sqrt(2 * share * (1 - share) / known.sum())
        shares.append([share, share - half, share + half])
    return {"values": np.array(shares), "p": np.ones(len(shares))}


@Method.define(role="mutant", of=calibrated_em)
def black_box(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Answers by black-box shift estimation, with the noise of as many labels, and doubts every label shift."""
    shares = []
    for X, y, known, k in _split(data):
        share = _confusion(X, y, known, k, rng)
        half = Z * np.sqrt(share * (1 - share) / (~known).sum())
        shares.append([share, share - half, share + half])
    return {"values": np.array(shares), "p": np.zeros(len(shares))}


@Method.define(role="mutant", of=calibrated_em)
def any_share(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Answers equal shares, with intervals from 0 to 1, and p values drawn at random."""
    shares = [[np.full(k, 1 / k), np.zeros(k), np.ones(k)] for *_, k in _split(data)]
    return {"values": np.array(shares), "p": rng.random(len(shares))}


# Measures ------------------------------------------------------------------------------------------------


@Measure.define(better="none", gives=("covered", "width", "error"))
def intervals(output: Mapping[str, Any], sample: Sample) -> dict[str, float]:
    """Of the tables of which something is told: share of metrics whose interval holds what the labels show, and its
    width over that; error of the first metric against its expectation given the rows, over that expectation."""
    values = output["values"]
    with_estimate = np.isfinite(values[:, 0, 0])
    true = np.array([t.values[: values.shape[2]] for t in sample.truth])[with_estimate]
    estimate_, low, high = values[with_estimate].transpose(1, 0, 2)
    expected = np.array([t.expected for t in sample.truth])[with_estimate]
    return {
        "covered": float(((low <= true) & (true <= high)).mean()),
        "width": float(((high - low) / true).mean()),
        "error": float((np.abs(estimate_[:, 0] - expected) / expected).mean()),
    }


@Measure.define(better="none", gives=("told",))
def refusals(output: Mapping[str, Any], sample: Sample) -> dict[str, float]:
    """Share of tables of which something is told."""
    return {"told": float(output["told"].mean())}


@Measure.define(better="lower", gives=("weighted_error",))
def weights_alone(output: Mapping[str, Any], sample: Sample) -> dict[str, float]:
    """The error of importance weights alone, of the tables of which something is told."""
    with_estimate = output["told"]
    expected = np.array([t.expected for t in sample.truth])[with_estimate]
    return {"weighted_error": float((np.abs(output["weighted"][with_estimate] - expected) / expected).mean())}


@Measure.define(better="lower", gives=("l1",))
def distance(output: Mapping[str, Any], sample: Sample) -> dict[str, float]:
    """Sum over classes of the absolute errors of the shares, mean over tables."""
    return {"l1": float(np.abs(output["values"][:, 0] - np.array(sample.truth)).sum(1).mean())}


@Measure.define(better="none", gives=("shares_covered",))
def share_intervals(output: Mapping[str, Any], sample: Sample) -> dict[str, float]:
    """Share of classes whose interval holds their share."""
    _, low, high = output["values"].transpose(1, 0, 2)
    true = np.array(sample.truth)
    return {"shares_covered": float(((low <= true) & (true <= high)).mean())}


@Measure.define(better="none", gives=("rejected",))
def rejections(output: Mapping[str, Any], sample: Sample) -> dict[str, float]:
    """Share of tables in which the columns do not agree with a label shift, at level 0.05."""
    return {"rejected": float((output["p"] < 0.05).mean())}


# The grid ------------------------------------------------------------------------------------------------

TARGETS = ("binary", "classes", "continuous")
WITH_CLASSES = TARGETS[:2]
COST = {
    "estimated": 0.4,
    "confidence_alone": 0.2,
    "reference_loss": 0.12,
}
SHARE_COST = {"calibrated_em": 0.4, "confusion": 0.15, "uncalibrated_em": 0.15}


def grids(s: Settings) -> list[Grid]:
    """The cells of the claims."""
    table_measures = ("intervals", "refusals", "weights_alone")

    def of_tables(
        methods: tuple[str, ...],
        measures: tuple[str, ...],
        shift: str,
        levels: Shift,
        count: int,
        targets: tuple[str, ...] = TARGETS,
    ) -> Grid:
        fixed = {"shift": shift, "count": count, "least": s.least, "most": s.most}
        cost = {name: seconds * count for name, seconds in COST.items()}
        return Grid("tables", methods, measures, s.seeds, levels, {"target": targets}, fixed, cost_s=cost)

    def of_shares(
        methods: tuple[str, ...],
        measures: tuple[str, ...],
        shift: str,
        count: int,
        targets: tuple[str, ...] = WITH_CLASSES,
    ) -> Grid:
        fixed = {"shift": shift, "count": count, "least": s.least, "most": s.most}
        cost = {name: seconds * count for name, seconds in SHARE_COST.items()}
        level = Shift("severity", (1.0,))
        return Grid("shared", methods, measures, s.seeds, level, {"target": targets}, fixed, cost_s=cost)

    em = ("distance", "share_intervals", "rejections")
    some, all_levels = Shift("severity", (0.0, 2.0)), Shift("severity", (0.0, 1.0, 2.0))
    return [
        of_tables(("estimated",), table_measures, "covariate", all_levels, s.tables),
        of_tables(("confidence_alone", "reference_loss"), ("intervals",), "covariate", some, s.tables),
        of_tables(("estimated",), table_measures, "concept", Shift("severity", (1.0,)), s.few),
        of_tables(("estimated",), ("refusals",), "apart", Shift("severity", (1.0,)), s.few),
        of_shares(("calibrated_em",), em, "label", s.shares),
        of_shares(("confusion",), ("distance",), "label", s.shares),
        of_shares(("uncalibrated_em",), ("distance",), "label", s.few),
        of_shares(("calibrated_em",), em, "offset", s.few, WITH_CLASSES[:1]),
        of_shares(("calibrated_em",), ("rejections",), "covariate", s.few, WITH_CLASSES[:1]),
    ]


# The claims ----------------------------------------------------------------------------------------------

COVARIATE = "shift='covariate', severity=[0.0, 1.0, 2.0]"
STRONGEST = "shift='covariate', severity=2.0"
STILL = "shift='covariate', severity=0.0"
NO_CONCEPT = Control(
    "under a concept shift the intervals do not hold the loss: they cannot know it",
    "mean(covered|estimated, shift='concept')", high=0.5,
)  # fmt: skip
THE_ESTIMATE_HOLDS = Control(
    "the estimate's intervals hold it in nine cases of ten where the columns shift as strongly",
    f"mean(covered|estimated, {STRONGEST})", low=0.9, rule="mean",
)  # fmt: skip


def _ahead(of: str, where: str) -> str:
    return f"mean({of}, {where}) - mean(error|estimated, {where})"


def _even(of: str) -> Control:
    text = "where nothing shifted there is little to be gained"
    return Control(text, _ahead(of, STILL), high=0.03, rule="mean")


claims = (
    Claim(
        "1", "No to strong covariate shift: intervals hold what labels will show (share of metrics, minus 0.95)",
        f"mean(covered|estimated, {COVARIATE}) - 0.95", 0.03, Control(
            "under a concept shift they hold it far less often: they cannot know it",
            "mean(covered|estimated, shift='concept') - 0.95", high=-0.45,
        ), kind="equivalence", version=2, paper="none",
    ),
    *(
        Claim(
            f"1{letter}", f"and for {what} (share)", f"mean(covered|estimated, {COVARIATE}, target={target!r})", 0.9,
            NO_CONCEPT, paper="none",
        )
        for letter, target, what in zip("abc", TARGETS, ("two classes", "three classes", "numbers"), strict=True)
    ),
    Claim(
        "2", "Concept shift: intervals do not hold it, as without labels nobody can know (share)",
        "mean(covered|estimated, shift='concept')", 0.5, THE_ESTIMATE_HOLDS, kind="boundary", direction="<",
        paper="none",
    ),
    Claim(
        "3a", "Strong covariate shift: the estimate is nearer than the reference's loss (relative error, difference)",
        _ahead("error|reference_loss", STRONGEST), 0.03, _even("error|reference_loss"), paper="none",
    ),
    Claim(
        "3b", "and than importance weights (difference)", _ahead("weighted_error|estimated", STRONGEST), 0.05,
        _even("weighted_error|estimated"), paper="none",
    ),
    Claim(
        "3c", "and than a calibrated score, or a model of the loss, by itself (difference)",
        _ahead("error|confidence_alone", STRONGEST), 0.02, _even("error|confidence_alone"), paper="none",
    ),
    Claim(
        "4", "A column that moves by four standard deviations: nothing is told (share of tables of which something is)",
        "mean(told|estimated, shift='apart')", 0.05, Control(
            "of nine in ten that overlap something is", f"mean(told|estimated, {COVARIATE})", low=0.9, rule="mean",
        ), kind="rate", slack=0.05, trials=len(TARGETS), version=2, paper="none",
    ),
    Claim(
        "6", "Label shift: shares by calibrated EM are nearer than by black-box shift estimation (L1, difference)",
        "mean(l1|confusion, shift='label') - mean(l1|calibrated_em, shift='label')", 0.02, Control(
            "EM on probabilities that are too sure is not",
            "mean(l1|confusion, shift='label') - mean(l1|uncalibrated_em, shift='label')", high=0.02, rule="mean",
        ), paper="none",
    ),
    Claim(
        "7", "and their intervals hold the shares (share of classes, minus 0.95)",
        "mean(shares_covered|calibrated_em, shift='label') - 0.95", 0.05, Control(
            "where the target rose for all alike, and the columns stayed, they do not",
            "mean(shares_covered|calibrated_em, shift='offset') - 0.95", high=-0.45,
        ), kind="equivalence", version=2, paper="none",
    ),
    Claim(
        "8", "Covariate shift: the columns do not agree with a label shift (share of tables)",
        "mean(rejected|calibrated_em, shift='covariate')", 0.8, Control(
            "where only the shares moved they agree, in 85 tables of a hundred at least",
            "mean(rejected|calibrated_em, shift='label')", high=0.15, rule="mean",
        ), version=2, paper="none",
    ),
)  # fmt: skip


study = Study(
    slug="audit-unlabelled",
    module=__name__,
    version=2,
    scales={
        "quick": Settings(seeds=1, tables=2, few=1, shares=1, least=300, most=320),
        "cpu": Settings(),
        "paper": Settings(seeds=20, tables=10, few=10, shares=20, least=300, most=3000),
    },
    grids=grids,
    worlds=(tables, shared),
    methods=(
        estimated, confidence_alone, reference_loss, calibrated_em, confusion, uncalibrated_em, silent, nothing_changes,
        a_tenth_aside, anything_is_possible, uncalibrated, shares_stay, black_box, any_share,
    ),
    measures=(intervals, refusals, weights_alone, distance, share_intervals, rejections),
    claims=claims,
    figures=(
        Figure(
            "coverage", "Share of intervals that hold what the labels show; dashed: 0.95.",
            chart(
                "Intervals that hold what the labels show",
                Panel(
                    "of the performance, columns shift", "severity", kind="lines", x_label="severity", level=0.95,
                    rows="measure == 'covered' and shift == 'covariate'",
                ),
                Panel(
                    "of the performance, concept shifts", "shift", "method", level=0.95,
                    rows="measure == 'covered' and shift == 'concept'",
                ),
                Panel("of the shares of the classes", "shift", rows="measure == 'shares_covered'", level=0.95),
            ),
            "measure in ['covered', 'shares_covered']",
        ),
        Figure(
            "errors", "Error of the first metric over its expectation, and of the shares (L1); a dot is a seed.",
            chart(
                "Errors where the columns, or the shares, shift strongly",
                Panel(
                    "of the loss, over the loss", "method", "measure",
                    rows="measure in ['error', 'weighted_error'] and shift == 'covariate' and severity == 2",
                    names={"error": "of the answer", "weighted_error": "of importance weights alone"},
                ),
                Panel("of the shares, summed over classes", "method", rows="measure == 'l1' and shift == 'label'"),
            ),
            "measure in ['error', 'weighted_error', 'l1']",
        ),
    ),
    root_seed=20261130,  # a pilot drew from another root
    preload=("numpy", "scipy.stats", "pandas", "sklearn.ensemble"),
)  # fmt: skip
