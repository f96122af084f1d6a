"""Which statistics of traces go with right answers, and do they say more than the length does?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from groundshift.errors import InputError
from groundshift.probes.tdacot.topology import TraceTopology
from groundshift.report import Report, Section
from groundshift.result import Result
from groundshift.tables import find_column

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Relation", "auroc", "length_and_shape", "matched_auroc", "partial_spearman", "relate_traces"]

Array = NDArray[np.float64]
FEW_PROBLEMS = 30
"""Fewer problems than this: intervals, but no verdict."""
FOLDS = 5
BLUE, RUST, GREY = "#2f6f8f", "#c4622d", "#9a9a9a"


# Measures ------------------------------------------------------------------------------------------------


def auroc(values: Array, right: NDArray[np.bool_]) -> Array:
    """Probability that a right trace has the larger value, of every column of (N, m); NaN where all are alike."""
    ranks = stats.rankdata(values, axis=0)
    n, m = int(right.sum()), int((~right).sum())
    if not n * m:
        return np.full(values.shape[1], np.nan)
    return np.asarray((ranks[right].mean(axis=0) - (n + 1) / 2) / m)


def partial_spearman(values: ArrayLike, right: ArrayLike, given: ArrayLike) -> Array:
    """Rank correlation of every column with being right, ranks of what is given taken out of both, (m,).

    >>> rng = np.random.default_rng(0)
    >>> n = rng.integers(5, 40, 500)
    >>> T = n + rng.standard_normal(500)
    >>> right = rng.random(500) < n / 40
    >>> bool(abs(partial_spearman(T[:, None], right, n[:, None])[0]) < 0.1 < stats.spearmanr(T, right).statistic)
    True
    """
    ranks = stats.rankdata(np.column_stack([np.asarray(right, dtype=float), values]), axis=0)
    design = np.column_stack([np.ones(len(ranks)), stats.rankdata(np.asarray(given, dtype=float), axis=0)])
    rest = ranks - design @ np.linalg.lstsq(design, ranks, rcond=None)[0]
    size = np.linalg.norm(rest, axis=0)
    flat = size <= 1e-9 * np.linalg.norm(ranks, axis=0)
    correlation = rest[:, 0] @ rest[:, 1:] / np.where(flat[1:] | flat[0], 1.0, size[0] * size[1:])
    return np.where(flat[1:] | flat[0] | (np.abs(correlation) < 1e-12), 0.0, correlation)


def matched_auroc(
    values: ArrayLike, right: ArrayLike, strata: ArrayLike, permutations: int = 0, seed: Any = 0
) -> tuple[Array, Array]:
    """AUROC over pairs of one stratum alone (the same strategy, and a length within one step), and its two-sided p
    under permutations of being right within strata, (m,) each; NaN without pairs.

    >>> matched_auroc([[1.0], [2.0], [9.0], [8.0]], [False, True, False, True], ["short", "short", "long", "long"])[0]
    array([0.5])
    """
    codes, right = pd.factorize(np.asarray(strata))[0], np.asarray(right, dtype=bool)
    ranks = pd.DataFrame(np.asarray(values, dtype=float)).groupby(codes).rank().to_numpy()
    size, own = np.bincount(codes), np.bincount(codes, right)
    expected, pairs = (own * (size + 1) / 2).sum(), (own * (size - own)).sum()
    if not pairs:
        return np.full(ranks.shape[1], np.nan), np.full(ranks.shape[1], np.nan)
    rng, order = np.random.default_rng(seed), np.argsort(codes, kind="stable")
    excess, beyond = right @ ranks - expected, np.zeros(ranks.shape[1])
    for _ in range(permutations):
        shuffled = np.empty_like(right)
        shuffled[order] = right[np.lexsort((rng.random(len(right)), codes))]
        beyond += np.abs(shuffled @ ranks - expected) >= np.abs(excess) - 1e-9
    return 0.5 + excess / pairs, (1 + beyond) / (1 + permutations)


def length_strata(table: pd.DataFrame) -> NDArray[Any]:
    """Strategy, and length in bins of three."""
    return (table["strategy"].astype(str) + " " + ((table["steps"] + 1) // 3).astype(str)).to_numpy()


def _problem_draws(problems: ArrayLike, rng: np.random.Generator, draws: int) -> Iterator[NDArray[np.int64]]:
    """Rows of problems drawn with replacement, again and again."""
    codes = pd.factorize(np.asarray(problems, dtype=object))[0]
    rows = np.split(np.argsort(codes, kind="stable"), np.cumsum(np.bincount(codes))[:-1])
    for _ in range(draws):
        yield np.concatenate([rows[k] for k in rng.integers(len(rows), size=len(rows))])


def length_and_shape(
    table: pd.DataFrame,
    names: Sequence[str],
    held: Sequence[str],
    right: NDArray[np.bool_],
    rng: np.random.Generator,
) -> Array:
    """Scores of a logistic regression on what is held alone, and with the statistics beside it, (N, 2); of no problem
    are some traces learnt from and others scored."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    codes = pd.factorize(table["problem"])[0]
    fold = rng.permutation(codes.max() + 1)[codes] % FOLDS
    baseline = _baseline(table, held)
    both = np.column_stack([baseline, table[list(names)].to_numpy(dtype=float)])
    scores = np.zeros((len(right), 2))
    for k in range(FOLDS):
        train, test = fold != k, fold == k
        for column, x in enumerate((baseline, both)):
            if len(np.unique(right[train])) == 2 and test.any():
                model = make_pipeline(StandardScaler(), LogisticRegression(C=0.3, max_iter=2000))
                scores[test, column] = model.fit(x[train], right[train]).decision_function(x[test])
    return scores


def _baseline(table: pd.DataFrame, held: Sequence[str]) -> Array:
    """What is held, as a flexible baseline: splines of length for each strategy, other numbers as they are."""
    from sklearn.preprocessing import SplineTransformer

    strategies = pd.get_dummies(table["strategy"].astype(str)).to_numpy(dtype=float)
    columns = [strategies[:, 1:]]
    for name in held:
        values = table[name].to_numpy(dtype=float)[:, None]
        if name == "steps" and len(np.unique(values)) > 4:
            curves = SplineTransformer(n_knots=4, degree=3, knots="quantile", include_bias=False)
            values = np.column_stack([values, curves.fit_transform(values)])
            values = np.concatenate([values * s[:, None] for s in strategies.T], axis=1)
        columns.append(values)
    return np.concatenate(columns, axis=1)


# Being right -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, repr=False)
class Relation(Result):
    """How the statistics of traces go with being right.

    Attributes
    ----------
    target, given : what is related, and what is held
    rows : DataFrame: a row per statistic: ``auroc`` and ``spearman`` as they are; ``partial`` (rank correlation given
        what is held) with ``low`` and ``high`` (bootstrap over problems); ``matched`` (AUROC among traces of one
        strategy and length) with its permutation ``p`` and ``p_holm``; ``null``: the partial correlation of the same
        statistic when steps are swapped (of those of the order: shuffled)
    baseline, full : out-of-fold AUROC of what is given alone, and with all statistics
    lift, lift_interval : their difference, bootstrap over problems
    traces, problems, unknown : numbers used, and of traces of which it is not known whether they are right
    alpha : level of the tests; intervals have a confidence of 1 - alpha
    """

    target: str
    given: tuple[str, ...]
    rows: pd.DataFrame
    baseline: float
    full: float
    lift: float
    lift_interval: tuple[float, float]
    traces: int
    problems: int
    unknown: int
    alpha: float

    @property
    def verdict(self) -> str:
        """In a sentence."""
        if self.problems < FEW_PROBLEMS:
            return f"No verdict: {self.problems} problems are too few ({FEW_PROBLEMS} are needed)."
        low, high = self.lift_interval
        word = "improves" if low > 0 else "worsens" if high < 0 else "does not surely improve"
        return f"The shape of a trace {word} the prediction beyond {' and '.join(self.given)}."

    def report(self) -> Report:
        """The baseline of length first, then every statistic given it."""
        low, high = self.lift_interval
        held = " and ".join(self.given)
        significant = self.rows[self.rows["p_holm"] < self.alpha]["statistic"].tolist()
        return Report(
            "tdacot", f"{self.traces} traces of {self.problems} problems",
            f"{held.capitalize()} alone predicts {self.target} with an AUROC of {self.baseline:.2f}; with the shape "
            f"{self.full:.2f} (difference {self.lift:+.3f} [{low:+.3f}, {high:+.3f}]).",
            self.verdict,
            warnings=(f"{self.unknown} traces without {self.target} were left out.",) if self.unknown else (),
            figure=(f"Rank correlation with {self.target}, given {held}", self._draw),
            sections=(
                Section(
                    "statistics", f"Which statistics go with {self.target}?",
                    f"Among traces of one strategy and length: {', '.join(significant) if significant else 'none'} "
                    f"(Holm, level {self.alpha:g}).",
                    notes=(f"AUROC and Spearman are as they are, and mostly those of length; partial is given {held}; "
                           "null is partial with the steps swapped or shuffled.",),
                    tables={"": self.rows},
                ),
            ),
        )  # fmt: skip

    def to_frame(self) -> pd.DataFrame:
        """A row per statistic."""
        return self.rows

    def _content(self) -> dict[str, Any]:
        return {**vars(self), "verdict": self.verdict}

    def _draw(self, ax: Axes) -> None:
        rows, places = self.rows.iloc[::-1], np.arange(len(self.rows))
        colours = np.where((rows["low"] > 0) | (rows["high"] < 0), RUST, BLUE)
        ax.hlines(places, rows["low"], rows["high"], color=colours, lw=1.5)
        ax.scatter(rows["partial"], places, s=14, color=colours)
        ax.plot(rows["null"], places, "o", ms=4, mfc="none", color=GREY, label="steps swapped or shuffled")
        ax.axvline(0, color=GREY, lw=0.8)
        ax.set_yticks(places, list(rows["statistic"]), fontsize=7)
        ax.set_xlabel("partial Spearman correlation")
        ax.set_ylim(-0.6, len(rows) - 0.1)  # the legend stands above the first row
        ax.legend(frameon=False, fontsize=7, loc="upper left")


def relate_traces(
    traces: Any,
    target: str = "correct",
    *,
    given: Sequence[str] = ("length",),
    statistics: Sequence[str] | None = None,
    draws: int = 1000,
    alpha: float = 0.05,
    random_state: int = 0,
) -> Relation:
    """Which statistics of traces go with right answers, and does the shape say more than the length does?

    A trace of n different steps has n - 1 bars of degree 0, and nearly every statistic grows with n: a correlation with
    being right is first of all one of length. Everything is therefore given length, too.

    Parameters
    ----------
    traces : path
        A fitted `TraceTopology`, the folder it was saved to, or traces as its `fit` takes them.
    target : column of true and false, or of 1 and 0
    given : what is held: length, and other numbers of the records, such as a confidence score
    statistics : the statistics that are related, gaps and loops among them; all but these two if left out
    draws : number of bootstrap draws over problems, and of permutations of being right among traces of one strategy and
        length
    alpha : level of the tests, over all statistics together; intervals have a confidence of 1 - alpha
    random_state : random seed

    Raises
    ------
    InputError
        A target that is constant, or neither true nor false. See also `TraceTopology.fit`.

    Examples
    --------
    >>> from groundshift.worlds.reasoning_traces import maze_of_facts
    >>> world = maze_of_facts(np.random.default_rng(0), graphs=2, gap_breaks=1.0)
    >>> relate_traces(world.records, statistics=["gaps", "gap_score"], draws=200).lift > 0.03
    True
    """
    from groundshift.measures.multiple import holm

    topology = TraceTopology.open(traces)
    table, null = topology.table_, topology.null_
    where = "the table of traces"
    every = ["gaps", "loops", *topology.statistic_names]
    names = [find_column(name, every, "the statistics") for name in statistics or every[2:]]
    held = ["steps" if name == "length" else find_column(name, table.columns, where) for name in given]
    values = pd.to_numeric(table[find_column(target, table.columns, where)], errors="coerce")
    known = values.notna().to_numpy()
    table, null = (rows[known].reset_index(drop=True) for rows in (table, null))
    right = _checked(values[known].to_numpy(dtype=float), target)
    if not 0 < alpha < 1 or draws + 1 < max(len(names) / alpha, 100):
        raise InputError(
            f"draws={draws}, alpha={alpha} was given; a level between 0 and 1 is needed, and enough draws to reach it "
            f"over {len(names)} statistics: give at least {int(np.ceil(max(len(names) / max(alpha, 1e-6), 100)))}."
        )
    if table[held].isna().to_numpy().any():
        raise InputError(f"Some traces have no {' or '.join(given)}; give it to all of them.")
    S, Z = table[names].to_numpy(dtype=float), table[held].to_numpy(dtype=float)
    permuting, drawing, folding = map(np.random.default_rng, np.random.SeedSequence(random_state).spawn(3))
    matched, p = matched_auroc(S, right, length_strata(table), draws, permuting)
    scores = length_and_shape(table, names, held, right, folding)
    areas = auroc(scores, right)
    partials, lifts = [], []
    for rows in _problem_draws(table["problem"].astype(str), drawing, draws):
        if right[rows].any() and not right[rows].all():
            partials.append(partial_spearman(S[rows], right[rows], Z[rows]))
            lifts.append(np.diff(auroc(scores[rows], right[rows]))[0])
    ends = [alpha / 2, 1 - alpha / 2]
    low, high = np.quantile(partials, ends, axis=0)
    swapped = null.reindex(columns=names).to_numpy(dtype=float)
    of_null = partial_spearman(np.nan_to_num(swapped), right, Z)
    by_statistic = {
        "statistic": names, "auroc": auroc(S, right), "spearman": partial_spearman(S, right, np.zeros((len(S), 0))),
        "partial": partial_spearman(S, right, Z), "low": low, "high": high, "matched": matched, "p": p,
        "p_holm": holm(p),
        "null": np.where(np.isfinite(swapped).all(axis=0), of_null, np.nan),
    }  # fmt: skip
    return Relation(
        target, tuple(given), pd.DataFrame(by_statistic), float(areas[0]), float(areas[1]),
        float(areas[1] - areas[0]), tuple(np.quantile(lifts, ends).tolist()), len(table),
        int(table["problem"].nunique()), int((~known).sum()), alpha,
    )  # fmt: skip


def _checked(values: Array, target: str) -> NDArray[np.bool_]:
    """Which traces are right, if some are and some are not."""
    if not np.isin(values, (0, 1)).all():
        raise InputError(
            f"{target} holds other values than true and false (or 1 and 0); name another target."
        )
    if len(np.unique(values)) < 2:
        what = f"is {bool(values[0])} for every trace" if len(values) else "is not there for any trace"
        raise InputError(f"{target} {what}; traces with right and with wrong answers are needed.")
    return values == 1
