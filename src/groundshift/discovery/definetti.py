"""Causal de Finetti: causal direction from many small groups.

Guo, Tóth, Schölkopf, Huszár: "Causal de Finetti: On the Identification of Invariant Causal Structure in Exchangeable
Data", NeurIPS 2023, arXiv:2203.15756. Records of a group (patient, shop, classroom) share parameters θ of the cause and
ψ of the mechanism. If mechanisms are independent, X → Y means X₁ ⟂ Y₂ | X₂ across two records of a group, while Y₁ and
X₂ given Y₂ depend, as soon as one of the two varies between groups. The unit is the group, never the record.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NoReturn

import networkx as nx
import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state

from groundshift.discovery.independence import independence_test
from groundshift.errors import InputError
from groundshift.shifts.marginals import gaussianise
from groundshift.tables import split_domain

__all__ = ["CausalDeFinetti", "Multivariate", "Pair", "bivariate", "multivariate", "pooled_g_test"]

Test = str | Callable[..., float]
Rule = Literal["abstain", "argmax"]
FEW_GROUPS = 50
MOST_LEVELS = 10


# Two variables -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Pair:
    """What two records per group say about two variables.

    Attributes
    ----------
    decision : "x → y", "y → x", "none" or "undecided"
    p_x_to_y : p-value of X₁ ⟂ Y₂ | X₂, true if x → y; the mean over both orders of the records
    p_y_to_x : p-value of Y₁ ⟂ X₂ | Y₂, true if y → x
    p_none : p-value of X₁ ⟂ Y₁, true without an edge
    orders : the three p-values for each order of the records, shape (2, 3)
    strength : log10 of the p-value of the chosen direction over that of the other; 0 if none is chosen
    groups : number of groups
    """

    decision: str
    p_x_to_y: float
    p_y_to_x: float
    p_none: float
    orders: NDArray[np.float64]
    strength: float
    groups: int


def bivariate(
    x: ArrayLike, y: ArrayLike, *, test: Test = "auto", alpha: float = 0.05, rule: Rule = "abstain"
) -> Pair:
    """The causal direction between two variables from two records of many groups.

    Parameters
    ----------
    x, y : shape (groups, 2); numbers, or labels for the G test
    test : "auto", "gtest", or any test of `groundshift.discovery.independence`; "auto" is "gtest" for at most ten
        values and else the kernel test, on ranks made normal
    alpha : level of the three tests
    rule : "abstain" says "undecided" unless exactly one structure fits; "argmax" takes the largest p-value, as the
        authors do

    Raises
    ------
    InputError
        Arrays that are not (groups, 2), constant or equal variables, missing values.

    Examples
    --------
    >>> from groundshift.worlds.exchangeable_groups import binary_pair
    >>> world = binary_pair(np.random.default_rng(0), 4000)
    >>> bivariate(world.x, world.y).decision
    'x → y'
    """
    x, y = _checked_pair(x, y)
    name = _test_for([x, y], test)
    X, Y = (_prepared(v, name) for v in (x, y))
    orders = []
    for first, second in ((0, 1), (1, 0)):
        columns = [X[:, first], Y[:, first], X[:, second], Y[:, second]]
        ask = independence_test(name, np.column_stack(columns))
        orders.append([ask(0, 3, [2]), ask(1, 2, [3]), ask(0, 1)])
    return _decide(np.array(orders), alpha, rule, len(x))


def _decide(orders: NDArray[np.float64], alpha: float, rule: Rule, groups: int) -> Pair:
    p_xy, p_yx, p_0 = (float(p) for p in orders.mean(0))
    if p_0 <= alpha < p_xy and p_yx <= alpha:
        decision = "x → y"
    elif p_0 <= alpha < p_yx and p_xy <= alpha:
        decision = "y → x"
    elif min(p_xy, p_yx, p_0) > alpha:
        decision = "none"
    elif rule == "argmax":
        decision = ("x → y", "y → x", "none")[int(np.argmax([p_xy, p_yx, p_0]))]
    else:
        decision = "undecided"
    ratio = float(np.log10(max(p_xy, 1e-300)) - np.log10(max(p_yx, 1e-300)))
    strength = {"x → y": ratio, "y → x": -ratio}.get(decision, 0.0)
    return Pair(decision, p_xy, p_yx, p_0, orders, strength, groups)


# More variables ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Multivariate:
    """What two records per group say about several variables.

    Attributes
    ----------
    edges : (cause, effect) by number
    layers : sinks first; variables of a layer have no edge between them
    open : variables that no sink could be found among
    unoriented : pairs of one layer that depend within a record: an edge whose direction the groups do not tell
    tests : (first, second, given, p-value) in words
    forced : layers taken although every test rejected
    """

    edges: frozenset[tuple[int, int]]
    layers: list[list[int]]
    open: list[int]
    unoriented: list[tuple[int, int]]
    tests: list[tuple[str, str, str, float]]
    forced: list[int] = field(default_factory=list)


def multivariate(
    samples: ArrayLike,
    *,
    test: Test = "auto",
    alpha: float = 0.05,
    rule: Rule = "abstain",
    names: Sequence[str] | None = None,
) -> Multivariate:
    """The causal graph of several variables from two records of many groups.

    1. Layers of sinks: X_j is a sink of U if X_{j;1} ⟂ X_{k;2} | {X_{m;1}: m in U, m ≠ j} for every other k in U.
    2. Edges: j → k for j in a layer above that of k, unless X_{j;1} ⟂ X_{k;1} given all others above k.

    Where no variable passes as a sink, "abstain" leaves those variables open and "argmax" takes the one with the
    largest smallest p-value, and flags it. All p-values are means over both orders of the records.

    Parameters
    ----------
    samples : shape (variables, 2, groups)
    test, alpha, rule : see `bivariate`
    names : for the tests in words

    Examples
    --------
    >>> from groundshift.worlds.exchangeable_groups import binary_graph
    >>> samples, edges = binary_graph(np.random.default_rng(4), 6000)
    >>> multivariate(samples).edges == edges
    True
    """
    samples = np.asarray(samples)
    if samples.ndim != 3 or samples.shape[1] != 2 or samples.shape[0] < 2:
        raise InputError(
            f"Samples of shape {samples.shape} were given; (at least 2 variables, 2 records, groups) are needed."
        )
    d = len(samples)
    names = list(names or [f"x{k + 1}" for k in range(d)])
    name = _test_for([samples[v].T for v in range(d)], test)
    columns = [_prepared(samples[v].T, name)[:, r] for r in (0, 1) for v in range(d)]
    ask = independence_test(name, np.column_stack(columns))
    if name == "gtest":
        _warn_of_thin_strata(np.stack(columns[:d]))
    tests: list[tuple[str, str, str, float]] = []

    def p_across(j: int, k: int, given: Sequence[int]) -> float:
        """X_{j;1} ⟂ X_{k;2} | given of record 1; mean over both orders."""
        p = (ask(j, d + k, list(given)) + ask(d + j, k, [d + m for m in given])) / 2
        tests.append((f"{names[j]}[1]", f"{names[k]}[2]", ", ".join(f"{names[m]}[1]" for m in given), p))
        return p

    def p_within(j: int, k: int, given: Sequence[int]) -> float:
        """X_{j;1} ⟂ X_{k;1} | given of the same record; mean over both records."""
        p = (ask(j, k, list(given)) + ask(d + j, d + k, [d + m for m in given])) / 2
        tests.append((f"{names[j]}[1]", f"{names[k]}[1]", ", ".join(f"{names[m]}[1]" for m in given), p))
        return p

    layers: list[list[int]] = []
    forced: list[int] = []
    U = list(range(d))
    while len(U) > 1:
        weakest = {j: min(p_across(j, k, [m for m in U if m != j]) for k in U if k != j) for j in U}
        sinks = [j for j in U if weakest[j] >= alpha]
        if not sinks and rule == "abstain":
            break
        if not sinks:
            sinks = [max(weakest, key=weakest.__getitem__)]
            forced.append(len(layers))
        layers.append(sinks)
        U = [j for j in U if j not in sinks]
    left_open = U if len(U) > 1 else []
    if len(U) == 1:
        layers.append(U)
    stack = [*layers, left_open] if left_open else layers
    edges, unoriented = set(), []
    for n, layer in enumerate(stack):
        above = list(itertools.chain.from_iterable(stack[n + 1 :]))
        for k in layer:
            edges |= {(j, k) for j in above if p_within(j, k, [m for m in above if m != j]) < alpha}
        if layer is not left_open:
            pairs = itertools.combinations(layer, 2)
            unoriented += [(j, k) for j, k in pairs if p_within(j, k, above) < alpha]
    return Multivariate(frozenset(edges), layers, left_open, unoriented, tests, forced)


# More than two records -----------------------------------------------------------------------------------


def pooled_g_test(x: Sequence[NDArray[np.int64]], y: Sequence[NDArray[np.int64]]) -> float:
    """P-value of X_a ⟂ Y_b | X_b over all ordered pairs of records of all groups.

    Every group gives one vector: over its ordered pairs (a, b), the mean of the products of the residuals of X_a and
    Y_b given X_b, for each level of X_a, Y_b and X_b. Groups are independent, so the sum over groups has the covariance
    of its terms, and its quadratic form is χ². (The generalised covariance measure of Shah and Peters, 2020, with the
    group as unit.)

    Parameters
    ----------
    x, y : one array of codes (records,) per group; two or more records each

    Examples
    --------
    >>> from groundshift.worlds.exchangeable_groups import binary_pair
    >>> world = binary_pair(np.random.default_rng(0), 1500, records=6)
    >>> pooled_g_test(list(world.x), list(world.y)) > 0.05 > pooled_g_test(list(world.y), list(world.x))
    True
    """
    group = np.repeat(np.arange(len(x)), [len(v) for v in x])
    X, Y = np.concatenate(list(x)), np.concatenate(list(y))
    levels_x, levels_y = int(X.max()) + 1, int(Y.max()) + 1
    counts = np.array([len(v) for v in x])
    of_x = np.zeros((len(x), levels_x))
    np.add.at(of_x, (group, X), 1)
    # The other records of the group: for record b, the shares of the levels of X_a over a ≠ b.
    others = (of_x[group] - np.eye(levels_x)[X]) / (counts[group] - 1)[:, None]
    indicators_y = np.eye(levels_y)[Y]
    weight = 1.0 / counts[group]
    terms = []
    for z in range(levels_x):
        at = z == X
        share = weight * at
        total = share.sum()
        if total == 0:
            continue
        residual_x = others - (share @ others) / total
        residual_y = indicators_y - (share @ indicators_y) / total
        product = np.einsum("r,ri,rj->rij", share, residual_x[:, 1:], residual_y[:, 1:])
        summed = np.zeros((len(x), *product.shape[1:]))
        np.add.at(summed, group, product)
        terms.append(summed.reshape(len(x), -1))
    U = np.concatenate(terms, axis=1)
    covariance = U.T @ U
    freedom = int(np.linalg.matrix_rank(covariance, hermitian=True))
    if freedom == 0:
        return 1.0
    statistic = float(U.sum(0) @ np.linalg.pinv(covariance, hermitian=True) @ U.sum(0))
    return float(stats.chi2.sf(statistic, freedom))


# A table of records --------------------------------------------------------------------------------------


class CausalDeFinetti(BaseEstimator):
    """Causal structure of the variables of a long table of records in many small groups.

    Parameters
    ----------
    alpha : float
        Level of every test.
    test : "auto", "gtest", "kci", "kci-lowrank", "rcit", "fisherz" or a function ``(x, y, z) -> p``
        "auto" is "gtest" where every variable has at most ten values, else the kernel test on ranks made normal.
    rule : "abstain" or "argmax"
        Whether an answer is given only where exactly one structure fits, or always, as the authors do.
    records : 2 or "all"
        Two records of each group, drawn at random, or (for two discrete variables) all of them.
    draws : int
        Times two records are drawn from larger groups; p-values are medians over draws.
    variables : sequence of str, optional
        Columns to use; all but the group's by default.
    random_state : int, RandomState or None

    Attributes
    ----------
    graph_ : networkx.DiGraph
        What is decided. An edge whose direction stays open is there twice with ``oriented`` False.
    decision_ : str
        In words.
    layers_ : list of list of str
        Sinks first (more than two variables).
    tests_ : DataFrame
        Every test in words, with its p-value.
    variation_ : DataFrame
        By variable: p-value of X₁ ⟂ X₂ within groups; small where something of it varies between groups.
    power_note_ : str
        How many groups the observed effect would need.
    groups_ : int
    dropped_ : int
        Groups with one record, left out.

    Examples
    --------
    >>> from groundshift.worlds.exchangeable_groups import binary_pair
    >>> world = binary_pair(np.random.default_rng(0), 3000)
    >>> visits = pd.DataFrame({"patient": np.repeat(np.arange(3000), 2),
    ...                        "dose": world.x.ravel(), "pain": world.y.ravel()})
    >>> CausalDeFinetti(random_state=0).fit(visits, domain="patient").decision_
    'dose → pain'
    """

    def __init__(
        self,
        *,
        alpha: float = 0.05,
        test: Test = "auto",
        rule: Rule = "abstain",
        records: Literal[2, "all"] = 2,
        draws: int = 5,
        variables: Sequence[str] | None = None,
        random_state: Any = None,
    ) -> None:
        self.alpha = alpha
        self.test = test
        self.rule = rule
        self.records = records
        self.draws = draws
        self.variables = variables
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None, *, domain: Any) -> CausalDeFinetti:
        """Find the structure of a long table, one row per record.

        Parameters
        ----------
        X : array (rows, n), frame (pandas, polars, Arrow) or path of a csv or parquet file
        domain : name of the column with the group of each row, or one group per row

        Raises
        ------
        InputError
            No group with two records, constant or equal variables, text with the kernel test.
        """
        self._check()
        frame, group = split_domain(X, domain)
        frame, group = self._records(frame, group)
        names = [str(c) for c in frame.columns]
        self.variables_, self.groups_ = names, int(group.nunique())
        rng = check_random_state(self.random_state)
        sizes = group.value_counts()
        draws = 1 if (sizes == 2).all() or self.records == "all" else self.draws
        picks = [_two_of_each(group, rng) for _ in range(draws)]
        samples = [
            np.stack([frame.to_numpy()[pick] for pick in pick_pair], 1).transpose(2, 1, 0)
            for pick_pair in picks
        ]
        self._variation(samples, names)
        if len(names) == 2:
            self._fit_pair(frame, group, samples, names)
        else:
            self._fit_graph(samples, names)
        return self

    def _check(self) -> None:
        if not 0 < self.alpha < 1:
            raise InputError(f"alpha is {self.alpha}; a level between 0 and 1 is needed, as 0.05.")
        if self.rule not in ("abstain", "argmax"):
            raise InputError(f"rule may be 'abstain' or 'argmax'; {self.rule!r} was given.")
        if self.records not in (2, "all"):
            raise InputError(f"records may be 2 or 'all'; {self.records!r} was given.")

    def _records(self, frame: pd.DataFrame, group: pd.Series[Any]) -> tuple[pd.DataFrame, pd.Series[Any]]:
        """The chosen columns as numbers, without incomplete records and groups of one."""
        if self.variables is not None:
            unknown = [v for v in self.variables if v not in frame.columns]
            if unknown:
                raise InputError(
                    f"There is no column {unknown[0]!r}; the columns are {', '.join(map(str, frame))}."
                )
            frame = frame[list(self.variables)]
        if frame.shape[1] < 2:
            raise InputError(
                f"{frame.shape[1]} variable was given; at least two are needed besides the group."
            )
        whole = frame.notna().all(axis=1)
        if not whole.all():
            warnings.warn(f"{int((~whole).sum())} records with missing values are left out.", stacklevel=3)
        frame, group = frame[whole], group[whole]
        sizes = group.map(group.value_counts())
        self.dropped_ = int((sizes < 2).sum())
        if (sizes < 2).all():
            raise InputError(
                f"None of the {group.nunique()} groups has two records; two or more records per group are needed to "
                "see what its records share."
            )
        if self.dropped_:
            warnings.warn(f"{self.dropped_} groups of one record are left out.", stacklevel=3)
        frame, group = frame[sizes >= 2].reset_index(drop=True), group[sizes >= 2].reset_index(drop=True)
        if group.nunique() < FEW_GROUPS:
            warnings.warn(
                f"{group.nunique()} groups tell next to nothing (200 decide one binary pair in twenty-five).",
                stacklevel=3,
            )
        coded = frame.apply(
            lambda c: c if pd.api.types.is_numeric_dtype(c) else pd.factorize(c, sort=True)[0]
        )
        for name in coded:
            if coded[name].nunique() < 2:
                raise InputError(f"{name} is constant; leave it out.")
        self._refuse_labels_as_numbers(frame, coded)
        for a, b in itertools.combinations(coded, 2):
            if (coded[a].to_numpy() == coded[b].to_numpy()).all():
                raise InputError(f"{a} and {b} are the same in every record; leave one out.")
        return coded, group

    def _refuse_labels_as_numbers(self, frame: pd.DataFrame, coded: pd.DataFrame) -> None:
        """Two labels are as good as 0 and 1 for every test; the order of more would be made up."""
        if _test_for([coded[name].to_numpy() for name in coded], self.test) == "gtest":
            return
        for name in frame:
            if not pd.api.types.is_numeric_dtype(frame[name]) and coded[name].nunique() > 2:
                _refuse_text(str(name), coded[name].nunique())

    def _variation(self, samples: list[NDArray[Any]], names: list[str]) -> None:
        rows = {}
        for v, name in enumerate(names):
            test = _test_for([s[v].T for s in samples], self.test)
            p = [independence_test(test, _prepared(s[v].T, test))(0, 1) for s in samples]
            rows[name] = {"p_value": float(np.median(p)), "varies": bool(np.median(p) < self.alpha)}
        self.variation_ = pd.DataFrame.from_dict(rows, orient="index")
        self.variation_.index.name = "variable"

    def _fit_pair(
        self, frame: pd.DataFrame, group: pd.Series[Any], samples: list[NDArray[Any]], names: list[str]
    ) -> None:
        if self.records == "all":
            orders = self._all_records(frame, group, names)
        else:
            found = [
                bivariate(s[0].T, s[1].T, test=self.test, alpha=self.alpha, rule=self.rule).orders
                for s in samples
            ]
            orders = np.median(found, axis=0)
        self.pair_ = _decide(orders, self.alpha, self.rule, self.groups_)
        a, b = names
        words = {"x → y": f"{a} → {b}", "y → x": f"{b} → {a}", "none": f"no edge between {a} and {b}"}
        self.decision_ = words.get(self.pair_.decision, self._why_undecided())
        self.graph_ = nx.DiGraph()
        self.graph_.add_nodes_from(names)
        if self.pair_.decision in ("x → y", "y → x"):
            self.graph_.add_edge(*((a, b) if self.pair_.decision == "x → y" else (b, a)), oriented=True)
        p = self.pair_
        rows = [
            (f"{a}[1]", f"{b}[2]", f"{a}[2]", p.p_x_to_y, f"true if {a} → {b}"),
            (f"{b}[1]", f"{a}[2]", f"{b}[2]", p.p_y_to_x, f"true if {b} → {a}"),
            (f"{a}[1]", f"{b}[1]", "", p.p_none, "true without an edge"),
        ]
        self.tests_ = pd.DataFrame(rows, columns=["first", "second", "given", "p_value", "meaning"])
        self.layers_: list[list[str]] = []
        self.power_note_ = self._power_note()

    def _all_records(
        self, frame: pd.DataFrame, group: pd.Series[Any], names: list[str]
    ) -> NDArray[np.float64]:
        if _test_for([frame[n].to_numpy()[:, None] for n in names], self.test) != "gtest":
            raise InputError(
                "records='all' is for discrete variables; continuous ones use records=2, drawn at random several times."
            )
        order = np.argsort(pd.factorize(group)[0], kind="stable")
        ends = np.cumsum(group.iloc[order].value_counts(sort=False).to_numpy())[:-1]
        x, y = (np.split(pd.factorize(frame[n].iloc[order], sort=True)[0], ends) for n in names)
        p = [pooled_g_test(x, y), pooled_g_test(y, x), _within_records(x, y)]
        return np.array([p, p])

    def _why_undecided(self) -> str:
        p = self.pair_
        if max(p.p_x_to_y, p.p_y_to_x) <= self.alpha:
            return "undecided: both directions are rejected (the mechanisms may share what varies)"
        if p.p_none <= self.alpha:
            return "undecided: the variables depend, but no direction is rejected (too little varies or too few groups)"
        return "undecided: the tests fit no structure"

    def _power_note(self) -> str:
        """Groups that the observed effect would need for a power of 0.9, from the χ² that its p-value stands for."""
        rejected = min(self.pair_.p_x_to_y, self.pair_.p_y_to_x)
        effect = stats.chi2.isf(max(rejected, 1e-300), 1) - 1
        if effect <= 0:
            return f"{self.groups_} groups show no sign of a direction; more of them may not help."
        needed = int(np.ceil(self.groups_ * 10.5 / effect))
        return (
            f"An effect as large as the one observed is seen nine times in ten with about {needed:,} groups."
        )

    def _fit_graph(self, samples: list[NDArray[Any]], names: list[str]) -> None:
        if self.records == "all":
            raise InputError("records='all' is for two variables; with more, use records=2.")
        found = [
            multivariate(s, test=self.test, alpha=self.alpha, rule=self.rule, names=names) for s in samples
        ]
        # Draws of two records may differ; the structure that comes most often, with its own tests, is the answer.
        keys = [(f.edges, tuple(map(tuple, f.layers))) for f in found]
        chosen = found[max(range(len(found)), key=lambda i: keys.count(keys[i]))]
        self.structure_ = chosen
        self.graph_ = nx.DiGraph()
        self.graph_.add_nodes_from(names)
        self.graph_.add_edges_from(((names[i], names[j]) for i, j in chosen.edges), oriented=True)
        for i, j in chosen.unoriented:
            self.graph_.add_edge(names[i], names[j], oriented=False)
            self.graph_.add_edge(names[j], names[i], oriented=False)
        self.layers_ = [[names[v] for v in layer] for layer in chosen.layers]
        self.tests_ = pd.DataFrame(chosen.tests, columns=["first", "second", "given", "p_value"])
        self.decision_ = _words(chosen, names)
        share = keys.count((chosen.edges, tuple(map(tuple, chosen.layers)))) / len(keys)
        self.power_note_ = f"{share:.0%} of {len(keys)} draws of two records give this structure."

    def to_dict(self) -> dict[str, Any]:
        """Everything learnt, as plain values for JSON."""
        return {
            "decision": self.decision_,
            "groups": self.groups_,
            "dropped": self.dropped_,
            "edges": [{"cause": a, "effect": b, **d} for a, b, d in self.graph_.edges(data=True)],
            "layers": self.layers_,
            "tests": self.tests_.to_dict("records"),
            "variation": self.variation_.reset_index().to_dict("records"),
            "power_note": self.power_note_,
        }

    def plot(self, ax: Any = None) -> Any:
        """Draw every test's p-value against the level; returns the axes."""
        import matplotlib.pyplot as plt

        shown = self.tests_.iloc[::-1]
        if ax is None:
            _, ax = plt.subplots(figsize=(6.5, 0.6 + 0.4 * len(shown)), layout="constrained")
        given = shown["given"].where(shown["given"] == "", " | " + shown["given"])
        labels = shown["first"] + " ⊥ " + shown["second"] + given
        p = shown["p_value"].clip(1e-12)
        ax.barh(labels, -np.log10(p), color=np.where(p < self.alpha, "#c2502e", "#3a6ea5"))
        ax.axvline(-np.log10(self.alpha), color="black", lw=0.8, ls=":")
        ax.set_xlabel("-log10 p (right of the line: dependent)")
        ax.set_title(self.decision_, loc="left", fontsize=10)
        ax.spines[["top", "right"]].set_visible(False)
        return ax


def _within_records(x: Sequence[NDArray[np.int64]], y: Sequence[NDArray[np.int64]]) -> float:
    """P-value of X ⟂ Y within a record, over all records, with the group as unit."""
    levels_x, levels_y = (int(np.concatenate(list(v)).max()) + 1 for v in (x, y))
    shares = [np.eye(levels_x)[a].T @ np.eye(levels_y)[b] / len(a) for a, b in zip(x, y, strict=True)]
    joint = np.array(shares)
    p_x, p_y = joint.mean(0).sum(1), joint.mean(0).sum(0)
    # Residual products about the pooled margins; one vector per group.
    U = joint - joint.sum(2)[:, :, None] * p_y[None, None, :] - p_x[None, :, None] * joint.sum(1)[:, None, :]
    U = (U + p_x[:, None] * p_y[None, :])[:, 1:, 1:].reshape(len(joint), -1)
    covariance = U.T @ U
    freedom = int(np.linalg.matrix_rank(covariance, hermitian=True))
    if freedom == 0:
        return 1.0
    return float(stats.chi2.sf(U.sum(0) @ np.linalg.pinv(covariance, hermitian=True) @ U.sum(0), freedom))


# Helpers -------------------------------------------------------------------------------------------------


def _words(found: Multivariate, names: list[str]) -> str:
    parts = [f"{names[i]} → {names[j]}" for i, j in sorted(found.edges)]
    parts += [f"{names[i]} — {names[j]} (direction open)" for i, j in found.unoriented]
    if found.open:
        parts.append(f"undecided among {', '.join(names[v] for v in found.open)}: no sink at this level")
    if found.forced:
        parts.append(f"layers taken although rejected: {', '.join(str(n + 1) for n in found.forced)}")
    return "; ".join(parts) or "no edge"


def _two_of_each(group: pd.Series[Any], rng: np.random.RandomState) -> tuple[NDArray[Any], NDArray[Any]]:
    """Row numbers of two random records of each group."""
    shuffled = rng.permutation(len(group))
    codes = pd.factorize(group)[0][shuffled]
    order = shuffled[np.argsort(codes, kind="stable")]
    starts = np.flatnonzero(np.diff(np.sort(codes), prepend=-1))
    return order[starts], order[starts + 1]


def _test_for(columns: Sequence[NDArray[Any]], test: Test) -> Test:
    levels = max(len(np.unique(c)) for c in columns)
    if test == "auto":
        discrete = levels <= MOST_LEVELS
        return "gtest" if discrete else "kci" if max(len(c) for c in columns) <= 500 else "kci-lowrank"
    if test == "gtest" and levels > MOST_LEVELS:
        raise InputError(f"A variable with {levels} values was given to the G test; use test='kci-lowrank'.")
    return test


def _prepared(column: NDArray[Any], test: Test) -> NDArray[Any]:
    """Codes for the G test; else ranks made normal, which keeps every independence and tames heavy tails."""
    if test == "gtest":
        return np.unique(column, return_inverse=True)[1].reshape(column.shape)
    if not (np.issubdtype(column.dtype, np.number) or column.dtype == bool):
        _refuse_text("A variable", len(np.unique(column)))
    return gaussianise(np.asarray(column, dtype=float).reshape(-1, 1)).reshape(column.shape)


def _refuse_text(name: str, values: int) -> NoReturn:
    raise InputError(
        f"{name} holds text of {values} values, and only the G test knows labels. Give every variable at most "
        f"{MOST_LEVELS} values (bin the numbers) and use test='gtest', or leave the text out."
    )


def _warn_of_thin_strata(samples: NDArray[np.int64]) -> None:
    """Tell when conditioning on all other variables leaves few records in a stratum; samples (variables, groups)."""
    levels = samples.max(1) + 1
    counts = np.unique(samples.T, axis=0, return_counts=True)[1]
    thin = 1 - (counts >= 5).sum() / np.prod(levels)
    if thin > 0.2:
        warnings.warn(
            f"{thin:.0%} of the {np.prod(levels)} combinations of values have fewer than five groups; use fewer "
            "variables or more groups.",
            stacklevel=3,
        )


def _checked_pair(x: ArrayLike, y: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
    x, y = np.asarray(x), np.asarray(y)
    if x.ndim != 2 or x.shape != y.shape or x.shape[1] != 2:
        raise InputError(f"Arrays of shapes {x.shape} and {y.shape} were given; both must be (groups, 2).")
    for name, v in (("x", x), ("y", y)):
        if pd.isna(v).any():
            raise InputError(f"{name} has missing values; leave those groups out.")
        if len(np.unique(v)) < 2:
            raise InputError(f"{name} is constant; nothing depends on it.")
    if (x == y).all():
        raise InputError("x and y are the same in every record; one of them is enough.")
    return x, y
