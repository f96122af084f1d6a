"""sAwMIL: a linear probe on bags of token states, trained by two support vector machines.

Savcisens and Eliassi-Rad, "The Trilemma of Truth in Large Language Models", arXiv:2506.23921; the first stage is the
sparse multiple-instance machine of Bunescu and Mooney (ICML 2007). Both machines are one convex problem,

    min over w, b of  1/2 ‖w‖² + Σᵢ cᵢ max(0, mᵢ − yᵢ (w·xᵢ + b)),

with a margin m and a cost c of its own for every row; `hinge` solves it exactly, in time linear in rows and columns.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, balanced_accuracy_score
from sklearn.model_selection import StratifiedGroupKFold

from groundshift.errors import InputError
from groundshift.probes.truth.bags import Bags, Probe

__all__ = [
    "COSTS",
    "Hinge",
    "SAwMIL",
    "Stages",
    "choose_cost",
    "chosen_instances",
    "grouped_folds",
    "hinge",
    "smil",
    "two_stages",
]

Array = NDArray[np.float64]
COSTS = (0.05, 0.1, 0.5, 1.0, 10.0)
TAIL = 2
"""Tokens at the end of a bag that are taken to carry its label."""


# The convex problem --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Hinge:
    """A solution with the proof of its quality.

    Attributes
    ----------
    w, b : the hyperplane, (D,) and a number
    a : dual variables, (n,), within [0, c] and with Σ a y = 0
    primal, dual : the values of both problems; the optimum lies between them
    epochs : passes over the rows; one over some of them counts as a part
    """

    w: Array
    b: float
    a: Array
    primal: float
    dual: float
    epochs: float


def hinge(
    X: Array,
    y: Array,
    m: Array | float,
    c: Array | float,
    *,
    gap: float = 1e-4,
    start: Array | None = None,
    most: int = 20_000,
) -> Hinge:
    """Solve min ½‖w‖² + Σ c max(0, m − y (w·x + b)) to a relative gap between primal and dual.

    Dual coordinate ascent (Hsieh et al., ICML 2008), where the free offset b is found by the proximal point method: a
    round works on the problem with (b − b̄)²/2ρ added, whose dual has only the box 0 ≤ a ≤ c, and moves b̄ to its b.

    Parameters
    ----------
    X : (n, D)
    y : (n,), −1 or 1, both present
    m, c : margin and cost of each row, or of all; costs above 0
    gap : stop once primal − dual is below this share of the primal
    start : dual variables to begin at, (n,), of a problem with other costs, say

    Raises
    ------
    InputError
        Labels of one sign; no proof within ``most`` passes.

    Examples
    --------
    >>> X = np.array([[-3.0], [-1.0], [1.0], [2.0]])
    >>> boundary = hinge(X, np.array([-1.0, -1, 1, 1]), 1.0, 10.0, gap=1e-9)
    >>> boundary.w.round(6).tolist(), abs(round(boundary.b, 6))  # the widest margin lies between -1 and 1
    ([1.0], 0.0)
    """
    X, y = np.ascontiguousarray(X, dtype=float), np.asarray(y, dtype=float)
    n = len(X)
    m, c = (np.broadcast_to(np.asarray(v, dtype=float), n).copy() for v in (m, c))
    if not {-1.0, 1.0} == set(np.unique(y)):
        raise InputError(
            f"Labels {np.unique(y).tolist()} were given; rows of both signs, -1 and 1, are needed."
        )
    squared = np.einsum("nd,nd->n", X, X)
    rho = max(float(squared.mean()), 1e-12)
    a = np.zeros(n) if start is None else np.clip(start, 0, c)
    w = X.T @ (a * y)
    b = best_offset(X @ w, y, m, c)
    rng = np.random.default_rng(0)  # the order of the rows: it changes the way, not the end
    epochs, passes = 0.0, 5
    while epochs < most:
        centre = b
        b = centre + rho * float(a @ y)
        before = a.copy()
        b = _ascend()(X, y, m, c, squared, rho, rng.permutation(n), a, w, b)
        # Most rows rest at 0 or c: the next passes are over those that moved.
        moved = np.flatnonzero(a != before)
        for _ in range(passes):
            b = _ascend()(X, y, m, c, squared, rho, rng.permutation(moved), a, w, b)
        epochs += 1 + passes * len(moved) / n
        solution = _certified(X, y, m, c, a, w, epochs)
        if solution.primal - solution.dual <= gap * max(abs(solution.primal), 1e-12):
            return solution
        passes = min(passes + 2, 50)
    raise InputError(
        f"A support vector machine on {n} rows was not solved to {gap:g} within {most:,} passes; lower C, or scale the "
        "columns."
    )


def best_offset(scores: Array, y: Array, m: Array, c: Array) -> float:
    """The b that minimises Σ c max(0, m − y (score + b)): a weighted quantile of its kinks."""
    kinks = y * m - scores
    order = np.argsort(kinks)
    # Left of all kinks only positive rows lose, so the slope is −Σ c of those; it rises by c at every kink.
    slope = -c[y > 0].sum() + np.cumsum(c[order])
    return float(kinks[order[min(int(np.searchsorted(slope, 0.0)), len(order) - 1)]])


def _certified(X: Array, y: Array, m: Array, c: Array, a: Array, w: Array, epochs: float) -> Hinge:
    """Primal value at w and its best b; dual value at an a with Σ a y = 0: the larger side is scaled down."""
    up, down = a[y > 0].sum(), a[y < 0].sum()
    factor = np.where(y > 0, min(1.0, down / up if up else 1.0), min(1.0, up / down if down else 1.0))
    kept = a * factor
    feasible = X.T @ (kept * y)
    dual = float(m @ kept - feasible @ feasible / 2)
    scores = X @ w
    b = best_offset(scores, y, m, c)
    primal = float(w @ w / 2 + c @ np.maximum(0.0, m - y * (scores + b)))
    return Hinge(w.copy(), b, kept, primal, dual, epochs)


def _pass(
    X: Array, y: Array, m: Array, c: Array, squared: Array, rho: float, order: NDArray[np.int64],
    a: Array, w: Array, b: float,
) -> float:  # fmt: skip
    """One pass of coordinate ascent over the rows in ``order``; changes a and w, and gives back b."""
    for i in order:
        slack = m[i] - y[i] * (np.dot(X[i], w) + b)
        before = a[i]
        a[i] = min(max(before + slack / (squared[i] + rho), 0.0), c[i])
        step = (a[i] - before) * y[i]
        if step != 0.0:
            w += step * X[i]
            b += rho * step
    return b


@cache
def _ascend() -> Callable[..., float]:
    """The pass, compiled where numba is there."""
    try:
        from numba import njit
    except ImportError:
        return _pass
    return njit(_pass)


# The two stages ------------------------------------------------------------------------------------------


def smil(bags: Bags, labels: NDArray[np.bool_], C: float, start: Array | None = None) -> Hinge:
    """Stage 1: every instance of the negative bags, and the mean of every positive bag.

    A positive bag of size |B| has the margin 2/|B| − 1: 1 for one instance, nearly −1 for many, as a bag need only hold
    a little that is positive.

    Parameters
    ----------
    bags : standardised states of N statements
    labels : (N,), which bags are positive
    C : total cost of the negative instances, and of the positive bags
    start : dual variables of the same bags at another C
    """
    negative, positive = bags[~labels], bags[labels]
    X = np.concatenate([negative.tokens, positive.means]).astype(float)
    S_n, B_p = len(negative.tokens), len(positive)
    y = np.repeat([-1.0, 1.0], [S_n, B_p])
    m = np.concatenate([np.ones(S_n), 2 / positive.sizes - 1])
    c = np.repeat([C / max(S_n, 1), C / max(B_p, 1)], [S_n, B_p])
    return hinge(X, y, m, c, start=start)


def chosen_instances(bags: Bags, scores: Array) -> NDArray[np.bool_]:
    """Which instances of positive bags stage 2 takes as positive: high scores of stage 1 at the end of the bag.

    The cutoff lets 2 B_p instances pass. Where fewer than 5 % of the instances are left, their place does not count.

    Parameters
    ----------
    bags : the positive ones, M instances in all
    scores : of their instances, (M,)
    """
    B_p, N_pos = len(bags), len(bags.tokens)
    eta = TAIL * B_p / N_pos
    n = max(B_p, min(N_pos, round(eta * N_pos)))
    passes = scores >= np.sort(scores)[N_pos - n]
    from_end = np.repeat(bags.offsets[1:], bags.sizes) - np.arange(N_pos)
    chosen = passes & (from_end <= TAIL)
    return chosen if chosen.sum() >= 0.05 * N_pos else passes


@dataclass(frozen=True)
class Stages:
    """Both machines at one C; ``probe`` is the second's hyperplane."""

    first: Hinge
    second: Hinge
    chosen: NDArray[np.bool_]
    C: float

    @property
    def probe(self) -> Probe:
        return Probe(self.second.w, self.second.b, "tokens", {"C": self.C})


def two_stages(bags: Bags, labels: NDArray[np.bool_], C: float, before: Stages | None = None) -> Stages:
    """sAwMIL at a given C: stage 1, the instances it chooses, and an ordinary machine on all N instances, at C/N each.

    Parameters
    ----------
    bags, labels : as of `smil`
    before : the same bags at another C, to begin from
    """
    ratio = 1.0 if before is None else C / before.C
    first = smil(bags, labels, C, start=None if before is None else ratio * before.first.a)
    negative, positive = bags[~labels], bags[labels]
    chosen = chosen_instances(positive, positive.tokens @ first.w + first.b)
    X = np.concatenate([negative.tokens, positive.tokens]).astype(float)
    y = np.concatenate([np.full(len(negative.tokens), -1.0), np.where(chosen, 1.0, -1.0)])
    same = before is not None and np.array_equal(chosen, before.chosen)
    start = ratio * before.second.a if same and before is not None else None
    return Stages(first, hinge(X, y, 1.0, C / len(X), start=start), chosen, C)


class SAwMIL:
    """The probe with its C chosen by cross-validation.

    Parameters
    ----------
    C : a number, or the candidates
    bag : most instances of a bag in training: the last two, and a sample of the others
    search_bags : most bags in the search for C
    folds : of the search, by group

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> truth = np.arange(60) % 2 == 0
    >>> bags = Bags.of(rng.standard_normal((180, 8)) + 3 * np.repeat(truth, 3)[:, None], np.full(60, 3))
    >>> probe = SAwMIL().fit(bags, truth, np.arange(60), rng)
    >>> bool(((probe.score(bags) > 0) == truth).mean() > 0.9)
    True
    """

    def __init__(
        self,
        C: float | Sequence[float] = COSTS,
        *,
        bag: int = 10,
        search_bags: int = 600,
        folds: int = 3,
    ) -> None:
        self.C = C
        self.bag = bag
        self.search_bags = search_bags
        self.folds = folds

    def fit(
        self, bags: Bags, labels: NDArray[np.bool_], groups: NDArray[np.int64], rng: np.random.Generator
    ) -> Probe:
        """Choose C and fit.

        Parameters
        ----------
        bags : standardised states of N statements
        labels : (N,)
        groups : (N,), rows of one group stay in one fold
        """
        bags = bags.capped(self.bag, TAIL, rng)
        costs = [self.C] if isinstance(self.C, int | float) else self.C
        C = costs[0] if len(costs) == 1 else self._search(bags, labels, groups, rng)
        return two_stages(bags, labels, float(C)).probe

    def _search(
        self, bags: Bags, labels: NDArray[np.bool_], groups: NDArray[np.int64], rng: np.random.Generator
    ) -> float:
        rows = rng.permutation(len(labels))[: self.search_bags]
        bags, labels, groups = bags[rows], labels[rows], groups[rows]
        costs = sorted(float(c) for c in self.C)  # type: ignore[union-attr]
        folds = grouped_folds(labels, groups, self.folds, rng)
        precision, accuracy = np.zeros((2, len(folds), len(costs)))
        for fold, (train, test) in enumerate(folds):
            stages = None
            for k, C in enumerate(costs):
                stages = two_stages(bags[train], labels[train], C, stages)
                scores = stages.probe.score(bags[test])
                precision[fold, k] = average_precision_score(labels[test], scores)
                accuracy[fold, k] = balanced_accuracy_score(labels[test], scores > 0)
        return choose_cost(costs, precision, accuracy)


def choose_cost(costs: Sequence[float], precision: Array, accuracy: Array) -> float:
    """The smallest cost that is within one standard error of the best, by both scores.

    Average precision, the paper's score, does not see the offset: alone it takes costs so low that nothing is called
    true. Balanced accuracy does. Where no cost passes both, the one with the best balanced accuracy is taken.

    Parameters
    ----------
    costs : ascending, K
    precision, accuracy : held-out scores, (folds, K)

    Examples
    --------
    >>> precision = np.array([[0.9, 0.90, 0.91], [0.9, 0.94, 0.95]])
    >>> choose_cost([0.1, 1.0, 10.0], precision, accuracy=np.array([[0.5, 0.88, 0.9], [0.5, 0.84, 0.8]]))
    1.0
    """

    def near_best(scores: Array) -> NDArray[np.bool_]:
        mean = scores.mean(0)
        best = int(mean.argmax())
        error = scores[:, best].std(ddof=1) / np.sqrt(len(scores)) if len(scores) > 1 else 0.0
        return mean >= mean[best] - error

    passed = np.flatnonzero(near_best(precision) & near_best(accuracy))
    return float(costs[passed[0] if len(passed) else int(accuracy.mean(0).argmax())])


def grouped_folds(
    labels: NDArray[np.bool_], groups: NDArray[np.int64], folds: int, rng: np.random.Generator
) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Folds that keep groups whole and have both labels on both sides.

    Raises
    ------
    InputError
        There are too few groups of a label.
    """
    split = StratifiedGroupKFold(folds, shuffle=True, random_state=int(rng.integers(2**31)))
    least = min(len(np.unique(groups[labels])), len(np.unique(groups[~labels])))
    if least < folds:
        raise InputError(
            f"The statements of one class are about {least} entities; {folds} are needed to choose by cross-validation."
            " Give more entities, or set C."
        )
    pairs = [(train, test) for train, test in split.split(labels, labels, groups)]
    return [f for f in pairs if all(0 < labels[part].sum() < len(part) for part in f)]
