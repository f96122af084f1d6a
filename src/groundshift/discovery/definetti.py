"""Causal de Finetti: causal direction from many small groups.

Guo, Tóth, Schölkopf, Huszár: "Causal de Finetti: On the Identification of Invariant Causal Structure in Exchangeable
Data", NeurIPS 2023, arXiv:2203.15756. Records of a group (patient, shop, classroom) share parameters θ of the cause and
ψ of the mechanism. If mechanisms are independent, X → Y means X₁ ⟂ Y₂ | X₂ across two records of a group, while Y₁ and
X₂ given Y₂ depend, as soon as one of the two varies between groups. The unit is the group, never the record.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NoReturn

import networkx as nx
import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from groundshift.discovery.grouped import (
    MOST_LEVELS,
    combined_p,
    hardly_varies,
    pooled_g_test,
    share_within,
    within_records,
)
from groundshift.discovery.independence import independence_test
from groundshift.errors import InputError
from groundshift.estimator import Estimator
from groundshift.report import Report, Section
from groundshift.shifts.marginals import gaussianise
from groundshift.tables import split_domain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["CausalDeFinetti", "Multivariate", "Pair", "bivariate", "multivariate", "pooled_g_test"]

Test = str | Callable[..., float]
Rule = Literal["abstain", "argmax"]
FEW_GROUPS = 50


# Two variables -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Pair:
    """What two records per group say about two variables.

    Attributes
    ----------
    decision : "x → y", "y → x", "none" or "undecided"
    p_x_to_y : p-value of X₁ ⟂ Y₂ | X₂, true if x → y; combined over both orders of the records
    p_y_to_x : p-value of Y₁ ⟂ X₂ | Y₂, true if y → x
    p_none : p-value of X₁ ⟂ Y₁, true without an edge
    orders : the three p-values for each order of the records (and each draw of two), shape (2 · draws, 3)
    strength : log10 of the p-value of the chosen direction over that of the other; 0 if none is chosen
    groups : number of groups
    flat : "x" or "y" where it hardly varies within a group, so that no arrow is drawn
    """

    decision: str
    p_x_to_y: float
    p_y_to_x: float
    p_none: float
    orders: NDArray[np.float64]
    strength: float
    groups: int
    flat: tuple[str, ...] = ()


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
    rule : "abstain" says "undecided" unless exactly one structure fits and both variables vary within groups;
        "argmax" takes the largest p-value, as the authors do

    Raises
    ------
    InputError
        Arrays that are not (groups, 2), constant or equal variables, missing or infinite values.

    Examples
    --------
    >>> from groundshift.worlds.exchangeable_groups import binary_pair
    >>> world = binary_pair(np.random.default_rng(0), 4000)
    >>> bivariate(world.x, world.y).decision
    'x → y'
    """
    x, y = _checked_pair(x, y)
    name = _test_for([x, y], test)
    flat = [v for v, values in (("x", x), ("y", y)) if hardly_varies(share_within(values), len(x))]
    return _decide(_orders(x, y, name), alpha, rule, len(x), flat)


def _orders(x: NDArray[Any], y: NDArray[Any], name: Test) -> NDArray[np.float64]:
    """The three p-values for both orders of the records, shape (2, 3)."""
    X, Y = (_prepared(v, name) for v in (x, y))
    orders = []
    for first, second in ((0, 1), (1, 0)):
        columns = [X[:, first], Y[:, first], X[:, second], Y[:, second]]
        ask = independence_test(name, np.column_stack(columns))
        orders.append([ask(0, 3, [2]), ask(1, 2, [3]), ask(0, 1)])
    return np.array(orders)


def _decide(
    orders: NDArray[np.float64], alpha: float, rule: Rule, groups: int, flat: Sequence[str] = ()
) -> Pair:
    p_xy, p_yx, p_0 = (float(p) for p in combined_p(orders))
    if rule == "argmax":
        flat = ()
    if p_0 <= alpha < p_xy and p_yx <= alpha and not flat:
        decision = "x → y"
    elif p_0 <= alpha < p_yx and p_xy <= alpha and not flat:
        decision = "y → x"
    elif min(p_xy, p_yx, p_0) > alpha:
        decision = "none"
    elif rule == "argmax":
        decision = ("x → y", "y → x", "none")[int(np.argmax([p_xy, p_yx, p_0]))]
    else:
        decision = "undecided"
    ratio = float(np.log10(max(p_xy, 1e-300)) - np.log10(max(p_yx, 1e-300)))
    strength = {"x → y": ratio, "y → x": -ratio}.get(decision, 0.0)
    return Pair(decision, p_xy, p_yx, p_0, orders, strength, groups, tuple(flat))


# More variables ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Multivariate:
    """What two records per group say about several variables.

    Attributes
    ----------
    edges : (cause, effect) by number
    layers : sinks first; variables of a layer have no edge between them
    open : variables that no sink could be found among
    unoriented : pairs that depend within a record: an edge whose direction the groups do not tell
    tests : (first, second, given, p-value) in words
    forced : layers taken although a test rejected each of their variables
    flat : variables that hardly vary within a group; no arrow leaves or enters them
    """

    edges: frozenset[tuple[int, int]]
    layers: list[list[int]]
    open: list[int]
    unoriented: list[tuple[int, int]]
    tests: list[tuple[str, str, str, float]]
    forced: list[int] = field(default_factory=list)
    flat: list[int] = field(default_factory=list)


def multivariate(
    samples: ArrayLike,
    *,
    test: Test = "auto",
    alpha: float = 0.05,
    rule: Rule = "abstain",
    names: Sequence[str] | None = None,
) -> Multivariate:
    """The causal graph of several variables from two records of many groups.

    1. Layers of sinks: X_j is a sink of U if X_{j;1} ⟂ X_{k;2} | {X_{m;1}: m in U, m ≠ j} for every other k in U
       (Bonferroni over k, so that a sink is refused at the level ``alpha``). Of sinks that depend on each other given
       the rest of U one was none: those that depend on no other go first, else the one with the largest smallest
       p-value, and the others are tested again without it.
    2. Edges: j — k for j in a layer above that of k, unless X_{j;1} ⟂ X_{k;1} given all others above k. It is an arrow
       j → k only if every question of step 1 whether j is a sink beside k was answered by no.

    Where no variable passes as a sink, "abstain" leaves those variables open. "argmax" takes the one with the largest
    smallest p-value, flags it, and draws every edge as an arrow. Variables that hardly vary within a group are given
    everywhere and get no arrows, except with "argmax". Every p-value is combined over both orders of the records.

    Parameters
    ----------
    samples : shape (variables, 2, groups)
    test, alpha, rule : see `bivariate`
    names : for the tests in words

    Raises
    ------
    InputError
        Samples of another shape, missing or infinite values.

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
    names = list(names or [f"x{k + 1}" for k in range(len(samples))])
    for name, values in zip(names, samples, strict=True):
        _refuse_gaps(name, values)
    test, groups = _test_for([values.T for values in samples], test), samples.shape[2]
    flat = [v for v, values in enumerate(samples) if hardly_varies(share_within(values.T), groups)]
    return _structure([samples], test, alpha, rule, names, flat)


def _structure(
    draws: list[NDArray[Any]], test: Test, alpha: float, rule: Rule, names: list[str], flat: list[int]
) -> Multivariate:
    """`multivariate` from several draws of two records, each of shape (variables, 2, groups)."""
    ask = _Questions(draws, test, names)
    flat = flat if rule == "abstain" else []
    layers, left_open, forced, not_rejected = _layers(ask, flat, alpha, rule)
    stack = [*layers, left_open, flat]
    edges: set[tuple[int, int]] = set()
    unoriented: set[tuple[int, int]] = set()
    for n, layer in enumerate(stack):
        above = list(itertools.chain.from_iterable(stack[n + 1 :]))
        for j, k in itertools.product(above, layer):
            if ask.within(j, k, [m for m in above if m != j]) < alpha:
                is_directed = j not in flat and (rule == "argmax" or (j, k) not in not_rejected)
                (edges if is_directed else unoriented).add((j, k))
    for j, k in itertools.combinations(flat, 2):
        if ask.within(j, k, [m for m in flat if m not in (j, k)]) < alpha:
            unoriented.add((j, k))
    pairs = sorted((min(pair), max(pair)) for pair in unoriented)
    return Multivariate(frozenset(edges), layers, left_open, pairs, ask.tests, forced, flat)


def _layers(
    ask: _Questions, flat: list[int], alpha: float, rule: Rule
) -> tuple[list[list[int]], list[int], list[int], set[tuple[int, int]]]:
    """Layers of sinks, what stays open, forced layers, and (j, k) where j passed once as a sink beside k."""
    layers: list[list[int]] = []
    forced: list[int] = []
    not_rejected: set[tuple[int, int]] = set()
    U = [v for v in range(ask.d) if v not in flat]
    while len(U) > 1:
        others = {j: [m for m in U if m != j] for j in U}
        p = {(j, k): ask.across(j, k, others[j] + flat) for j in U for k in others[j]}
        not_rejected |= {pair for pair, value in p.items() if value >= alpha}
        weakest = {j: min(p[j, k] for k in others[j]) for j in U}
        passed = [j for j in U if weakest[j] * (len(U) - 1) >= alpha]
        if not passed and rule == "abstain":
            break
        if not passed:
            passed = [max(weakest, key=weakest.__getitem__)]
            forced.append(len(layers))
        rest = [m for m in U if m not in passed] + flat
        dependent = [pair for pair in itertools.combinations(passed, 2) if ask.within(*pair, rest) < alpha]
        doubtful = list(itertools.chain.from_iterable(dependent))
        layer = [j for j in passed if j not in doubtful] or [max(doubtful, key=weakest.__getitem__)]
        not_rejected |= {(k, j) for pair in dependent for j in pair for k in pair if j in layer}
        layers.append(layer)
        U = [j for j in U if j not in layer]
    if len(U) == 1:
        layers.append(U)
        U = []
    return layers, U, forced, not_rejected


class _Questions:
    """P-values of independence within a record and across the two of a group, combined over orders and draws."""

    def __init__(self, draws: list[NDArray[Any]], test: Test, names: list[str]) -> None:
        self.d, self.names = len(names), names
        self.tests: list[tuple[str, str, str, float]] = []
        self.asks = []
        for draw in draws:
            columns = [_prepared(draw[v].T, test)[:, record] for record in (0, 1) for v in range(self.d)]
            self.asks.append(independence_test(test, np.column_stack(columns)))
        if test == "gtest":
            _warn_of_thin_strata(np.stack(columns[: self.d]))

    def across(self, j: int, k: int, given: Sequence[int]) -> float:
        """X_{j;1} ⟂ X_{k;2} | given of record 1."""
        return self._p(j, k, given, ((0, self.d), (self.d, 0)), 2)

    def within(self, j: int, k: int, given: Sequence[int]) -> float:
        """X_{j;1} ⟂ X_{k;1} | given of the same record."""
        return self._p(j, k, given, ((0, 0), (self.d, self.d)), 1)

    def _p(
        self, j: int, k: int, given: Sequence[int], orders: tuple[tuple[int, int], ...], record: int
    ) -> float:
        p = float(
            combined_p([ask(a + j, b + k, [a + m for m in given]) for ask in self.asks for a, b in orders])
        )
        conditions = ", ".join(f"{self.names[m]}[1]" for m in given)
        self.tests.append((f"{self.names[j]}[1]", f"{self.names[k]}[{record}]", conditions, p))
        return p


# A table of records --------------------------------------------------------------------------------------


class CausalDeFinetti(Estimator):
    """Causal structure of the variables of a long table of records in many small groups.

    Parameters
    ----------
    alpha : float
        Level of every test; p-values are combined over orders and draws of the records so that it holds.
    test : "auto", "gtest", "kci", "kci-lowrank", "rcit", "fisherz" or a function ``(x, y, z) -> p``
        "auto" is "gtest" where every variable has at most ten values, else the kernel test on ranks made normal.
    rule : "abstain" or "argmax"
        Whether an answer is given only where exactly one structure fits, or always, as the authors do.
    records : 2 or "all"
        Two records of each group, drawn at random, or (for two discrete variables) all of them.
    draws : int
        Times two records are drawn from larger groups; p-values are combined over draws.
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
        By variable: p-value of X₁ ⟂ X₂, small where something of it varies between groups, and the share of its
        variance within groups, without which it tells no direction.
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
            No group with two records, constant or equal variables, infinite values, text with the kernel test.
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
        for column in frame:
            _refuse_infinite(str(column), frame[column])
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
                f"{group.nunique()} groups tell next to nothing (200 decide one binary pair in five).",
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
            p = float(combined_p([independence_test(test, _prepared(s[v].T, test))(0, 1) for s in samples]))
            within = float(np.mean([share_within(s[v].T) for s in samples]))
            rows[name] = {"p_value": p, "varies": p < self.alpha, "within": within}
        self.variation_ = pd.DataFrame.from_dict(rows, orient="index")
        self.variation_.index.name = "variable"
        flat = self._flat()
        if flat and self.rule == "argmax":
            warnings.warn(f"{_too_little_within(flat)}; rule='argmax' answers nevertheless.", stacklevel=3)

    def _flat(self) -> dict[str, float]:
        """The variables that hardly vary within a group, and how much."""
        within = self.variation_["within"]
        return {str(name): w for name, w in within.items() if hardly_varies(w, self.groups_)}

    def _fit_pair(
        self, frame: pd.DataFrame, group: pd.Series[Any], samples: list[NDArray[Any]], names: list[str]
    ) -> None:
        if self.records == "all":
            orders = self._all_records(frame, group, names)
        else:
            test = _test_for([s[v].T for s in samples for v in (0, 1)], self.test)
            orders = np.concatenate([_orders(s[0].T, s[1].T, test) for s in samples])
        a, b = names
        flat = ["xy"[names.index(name)] for name in self._flat()]
        self.pair_ = _decide(orders, self.alpha, self.rule, self.groups_, flat)
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
        p = [pooled_g_test(x, y), pooled_g_test(y, x), within_records(x, y)]
        return np.array([p, p])

    def _why_undecided(self) -> str:
        p = self.pair_
        if p.flat:
            return f"undecided: {_too_little_within(self._flat())}"
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
        noncentrality = (stats.norm.isf(self.alpha / 2) + stats.norm.isf(0.1)) ** 2
        needed = int(np.ceil(self.groups_ * noncentrality / effect))
        return (
            f"An effect as large as the one observed is seen nine times in ten with about {needed:,} groups."
        )

    def _fit_graph(self, samples: list[NDArray[Any]], names: list[str]) -> None:
        if self.records == "all":
            raise InputError("records='all' is for two variables; with more, use records=2.")
        flat = self._flat()
        places = [names.index(name) for name in flat]
        test = _test_for([values.T for draw in samples for values in draw], self.test)
        structure = _structure(samples, test, self.alpha, self.rule, names, places)
        self.structure_ = structure
        self.graph_ = nx.DiGraph()
        self.graph_.add_nodes_from(names)
        self.graph_.add_edges_from(((names[i], names[j]) for i, j in structure.edges), oriented=True)
        for i, j in structure.unoriented:
            self.graph_.add_edge(names[i], names[j], oriented=False)
            self.graph_.add_edge(names[j], names[i], oriented=False)
        self.layers_ = [[names[v] for v in layer] for layer in structure.layers]
        self.tests_ = pd.DataFrame(structure.tests, columns=["first", "second", "given", "p_value"])
        self.decision_ = _words(structure, names, flat)
        self.power_note_ = (
            f"{len(structure.unoriented)} edges stay without a direction; more groups may tell them."
            if structure.unoriented
            else "Every edge has a direction."
        )

    def _content(self) -> dict[str, Any]:
        return {
            "decision": self.decision_,
            "groups": self.groups_,
            "dropped": self.dropped_,
            "edges": [{"cause": a, "effect": b, **d} for a, b, d in self.graph_.edges(data=True)],
            "layers": self.layers_,
            "tests": self.tests_,
            "variation": self.variation_.reset_index(),
            "power_note": self.power_note_,
        }

    def to_frame(self) -> pd.DataFrame:
        """Every test in words, with its p-value."""
        check_is_fitted(self)
        return self.tests_

    def _report(self) -> Report:
        varies = ", ".join(self.variation_.index[self.variation_["varies"]]) or "nothing"
        tests = Section(
            "tests", "What was tested", f"{self.groups_:,} groups; what varies between groups: {varies}.",
            notes=(self.power_note_,), tables={"Tests of independence": self.tests_},
        )  # fmt: skip
        variation = Section(
            "variation", "What varies between groups, and how much of each variable lies within them",
            tables={"Variables": self.variation_.reset_index()}, folded=True,
        )  # fmt: skip
        return Report(
            "definetti", ", ".join(self.variables_), self.decision_, sections=(tests, variation),
            figure=("Strength of each test; right of the line the level is passed", self._draw_tests),
            settings={"groups": self.groups_, "groups left out": self.dropped_, **self.get_params()},
        )  # fmt: skip

    def _draw_tests(self, ax: Axes) -> None:
        shown = self.tests_.iloc[::-1]
        suffix = shown["given"].where(shown["given"] == "", " | " + shown["given"])
        labels = shown["first"] + " ⊥ " + shown["second"] + suffix
        p = shown["p_value"].clip(1e-12)
        ax.barh(range(len(shown)), -np.log10(p), color=np.where(p < self.alpha, "#c2502e", "#3a6ea5"))
        ax.set_yticks(range(len(shown)), labels)
        ax.axvline(-np.log10(self.alpha), color="black", lw=0.8, ls=":")
        ax.set_xlabel("−log10 p (right of the line: dependent)")


# Helpers -------------------------------------------------------------------------------------------------


def _words(order: Multivariate, names: list[str], flat: Mapping[str, float]) -> str:
    parts = [f"{names[i]} → {names[j]}" for i, j in sorted(order.edges)]
    parts += [f"{names[i]} — {names[j]} (direction open)" for i, j in order.unoriented]
    if order.open:
        parts.append(f"undecided among {', '.join(names[v] for v in order.open)}: no sink at this level")
    if order.forced:
        parts.append(f"layers taken although rejected: {', '.join(str(n + 1) for n in order.forced)}")
    if order.flat:
        parts.append(_too_little_within(flat))
    return "; ".join(parts) or "no edge"


def _too_little_within(flat: Mapping[str, float]) -> str:
    listed = " and ".join(f"{name} ({share:.1%} of its variance)" for name, share in flat.items())
    return f"{listed} hardly varies within a group, and what its records share tells no direction"


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
        test = "gtest" if discrete else "kci" if max(len(c) for c in columns) <= 500 else "kci-lowrank"
    if test == "gtest" and levels > MOST_LEVELS:
        raise InputError(f"A variable with {levels} values was given to the G test; use test='kci-lowrank'.")
    text = [c for c in columns if not (np.issubdtype(c.dtype, np.number) or c.dtype == bool)]
    if text and test != "gtest":
        _refuse_text("A variable", len(np.unique(text[0])))
    return test


def _prepared(column: NDArray[Any], test: Test) -> NDArray[Any]:
    """Codes for the G test; else ranks made normal, which keeps every independence and tames heavy tails."""
    if test == "gtest":
        return np.unique(column, return_inverse=True)[1].reshape(column.shape)
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
        _refuse_gaps(name, v)
        if len(np.unique(v)) < 2:
            raise InputError(f"{name} is constant; nothing depends on it.")
    if (x == y).all():
        raise InputError("x and y are the same in every record; one of them is enough.")
    return x, y


def _refuse_gaps(name: str, values: NDArray[Any]) -> None:
    if pd.isna(values).any():
        raise InputError(f"{name} has missing values; leave those groups out.")
    _refuse_infinite(name, pd.Series(values.ravel()))


def _refuse_infinite(name: str, column: pd.Series[Any]) -> None:
    column = column.dropna().infer_objects()
    if not pd.api.types.is_numeric_dtype(column):
        return
    infinite = int(np.isinf(column.to_numpy(dtype=float)).sum())
    if infinite:
        raise InputError(
            f"{name} holds {infinite} infinite values; leave those records out, or give them a finite value."
        )
