"""Mechanisms of a causal graph that the user knows: which changed, by how much, and what that did to the target.

A node's mechanism is its distribution given its parents, a root's its own distribution. What the change of each does to
the target is a Shapley value (Budhathoki, Janzing, Blöbaum, Ng 2021): of the target's mean with some mechanisms as they
are after and the rest as before, over the orders in which they can change. Those means come from a regression for each
mechanism and the noise that it leaves, drawn along the graph with the same noise throughout. It is linear beyond the
data and takes a moment to fit, so that rows can be drawn anew for an interval.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import qmc
from sklearn.linear_model import LogisticRegression, Ridge

from groundshift.errors import InputError
from groundshift.measures.multiple import holm
from groundshift.measures.two_sample import categories_differ, numbers_differ
from groundshift.report import Section
from groundshift.tables import find_column, some
from groundshift.workflows.audit.losses import contrasts
from groundshift.workflows.audit.mechanisms import Mechanisms
from groundshift.workflows.audit.models import cross_fitted, design, halves, recalibrated
from groundshift.workflows.audit.overlap import LEAST_OVERLAP, overlap
from groundshift.workflows.audit.result import p_words
from groundshift.workflows.audit.structure import concept
from groundshift.workflows.audit.table import LEAST_ROWS, AuditTable

__all__ = [
    "KnownMechanisms",
    "Node",
    "attribution",
    "check_graph",
    "known_mechanisms",
    "parents_of",
    "section",
]

Array = NDArray[np.float64]
Parents = Mapping[str, tuple[str, ...]]
MOST_ROWS, MOST_EXACT, ORDERS, DRAWS, RESAMPLED = 4000, 4, 24, 512, 40
KNOTS, MOST_LINES = (0.1, 0.3, 0.5, 0.7, 0.9), 40
"""Where a regression may bend; indicators and numbers up to which it has the products of two."""
GAIN, DISTANCE = "share of the loss that knowing the domain saves", "distance between the distributions"
CHANGE, REST = "(change)", "(left over)"


@dataclass(frozen=True)
class Node:
    """Values of a node, shape (rows,): codes of ``classes`` words, 0 or 1 (``classes`` 2, no words), or numbers."""

    values: Array
    classes: int = 0
    words: bool = False

    @classmethod
    def of(cls, name: str, table: AuditTable) -> Node:
        """A column or the target."""
        if name == table.target_name and table.target is not None:
            return cls(table.target, len(table.classes or ()), table.classes is not None)
        j = table.names.index(name)
        codes, levels = pd.factorize(table.values[:, j], sort=True)
        if not table.nominal[j] and len(levels) != 2:
            return cls(table.values[:, j])
        return cls(np.where(codes < 0, np.nan, codes), len(levels), bool(table.nominal[j]))


@dataclass(frozen=True)
class KnownMechanisms(Mechanisms):
    """Which mechanisms of a known graph changed; ``named`` are those of columns with parents.

    Attributes
    ----------
    parents : node → its parents, in causal order
    tests : node, parents, changed (None where it cannot be told), p (adjusted), size, low, high, what the size is
    roots : roots that changed
    parts : node, change (of the target's mean), low, high; empty without a target that has labels in two domains
    target : domain, mean of the target before and after, and what that mean is
    """

    parents: Parents = field(default_factory=dict)
    tests: pd.DataFrame = field(default_factory=pd.DataFrame)
    roots: tuple[str, ...] = ()
    parts: pd.DataFrame = field(default_factory=pd.DataFrame)
    target: tuple[str, float, float, str] | None = None

    @property
    def untold(self) -> list[str]:
        """Nodes with parents of which it cannot be told."""
        return [
            n
            for n, c in zip(self.tests["node"], self.tests["changed"], strict=True)
            if c is None and self.parents[n]
        ]

    def measured(self) -> dict[str, Any]:
        """What the verdict on the kind "mechanism" needs: unit, p, sentences, size, low, high, where."""
        named, untold = ", ".join(self.named), some(self.untold, 4)
        given = "; ".join(f"{name} given {', '.join(self.parents[name])}" for name in self.named)
        sentences = {
            "found": f"What determines {named} changed, by your graph: {given}.",
            "unknown": f"Whether what determines {untold} changed cannot be told: parents tell the domains apart, or "
            "missing values moved.",
            "none": "Every column follows its parents in your graph as before, as far as can be told.",
        }
        blank = (np.nan, *(np.nan if self.untold else 0.0,) * 3)
        row = self.tests.set_index("node")[["p", "size", "low", "high"]]
        p, size, low, high = row.loc[self.named[0]] if self.named else blank
        return {
            "unit": GAIN,
            "p": p,
            "sentences": sentences,
            "size": size,
            "low": low,
            "high": high,
            "where": self.named,
        }


def parents_of(source: Any) -> Parents:
    """Node → parents, in causal order, from DOT text, the path of a .dot file, edges as text or a networkx DiGraph.

    Raises
    ------
    InputError
        A cycle, hidden variables, text that is no graph.
    """
    from groundshift.discovery.surgery import read_graph

    graph = read_graph(source)
    if graph.hidden:
        raise InputError(
            f"The graph has hidden variables ({some(sorted(graph.hidden), 6)}); mechanisms are compared along a graph "
            "whose variables are all columns."
        )
    return dict(graph.parents)


def check_graph(parents: Parents, table: AuditTable, columns: Iterable[Any]) -> None:
    """Refuse a graph that does not fit the table.

    Raises
    ------
    InputError
        A node that is no column, or one that is not compared; a target that is no node.
    """
    for node in parents:
        find_column(node, columns, "the table, though it is a node of the graph")
        if node not in (*table.names, table.target_name):
            raise InputError(
                f"The graph has the node {node}, a column that is not compared (see --kind, --columns and --drop). "
                "Take it out of the graph, or say what it is with --kind."
            )
    if table.target is not None and table.target_name not in parents:
        raise InputError(
            f"The target {table.target_name} is no node of the graph ({some(list(parents))}); add it."
        )


# Tests ---------------------------------------------------------------------------------------------------


def known_mechanisms(
    parents: Parents, whole: AuditTable, table: AuditTable, suspects: Sequence[str], level: float,
    rng: np.random.Generator,
) -> KnownMechanisms:  # fmt: skip
    """Test every mechanism of the graph, and attribute the change of the target's mean to them.

    p-values are adjusted for the number of nodes (Holm), and doubled, since the audit asks its own questions beside.

    Parameters
    ----------
    whole : every row; the roots are compared on them
    table : the rows that models see
    suspects : columns whose missing values moved; what is left of them may be a selection
    """
    table = table.sample(MOST_ROWS, rng)
    rows = []
    for node, given in parents.items():
        measured: tuple[float, ...] = (np.nan, np.nan, np.nan, np.nan)
        if node not in suspects:
            measured = _test(node, given, table if given else whole, rng)
        rows.append((node, ", ".join(given), *measured, GAIN if given else DISTANCE))
    tests = pd.DataFrame(rows, columns=["node", "parents", "p", "size", "low", "high", "what the size is"])
    tested = tests["p"].notna()
    if tested.any():
        tests.loc[tested, "p"] = np.minimum(2 * holm(tests.loc[tested, "p"]), 1.0)
    verdicts = pd.Series([bool(p <= level) if p == p else None for p in tests["p"]], dtype=object)
    tests.insert(2, "changed", verdicts)
    changed = tests[tested & (tests["p"] <= level) & (tests["node"] != table.target_name)]
    inner = changed[changed["parents"] != ""].sort_values("size", ascending=False)
    target, parts = _of_target(parents, table, rng)
    roots = tuple(changed.loc[changed["parents"] == "", "node"])
    return KnownMechanisms(pd.DataFrame(), [], tuple(inner["node"]), [], parents, tests, roots, parts, target)


def _test(node: str, given: Sequence[str], table: AuditTable, rng: np.random.Generator) -> tuple[float, ...]:
    """p, size, low and high of the change of one mechanism; NaN where it cannot be told."""
    there, classes = ~np.isnan(Node.of(node, table).values), Node.of(node, table).classes
    there &= (np.bincount(table.domain[there], minlength=len(table.domains)) >= LEAST_ROWS)[table.domain]
    rows = table.take(np.flatnonzero(there)).renumbered()
    y, k = Node.of(node, table).values[there], len(rows.domains)
    if k < 2 or len(np.unique(y)) < 2:
        return (np.nan,) * 4
    if not given:
        root = (categories_differ if classes else numbers_differ)(y, rows.domain)
        return root.p, root.effect, root.low, root.high
    nodes = [Node.of(name, rows) for name in given]
    X = design(np.column_stack([n.values for n in nodes]), np.array([n.words for n in nodes]), list(given))
    first = halves(rows.domain, rng)
    scores = recalibrated(cross_fitted(X, rows.domain.astype(float), k, first, rng), rows.domain, k)
    if overlap(scores, rows.domain) < LEAST_OVERLAP:
        return (np.nan,) * 4
    rows = replace(rows, target=y, classes=[str(c) for c in range(classes)] or None)
    test = concept(rows, X, scores, first, rng)
    return test.p, test.gain, test.low, test.high


# Attribution ---------------------------------------------------------------------------------------------


def _of_target(
    parents: Parents, table: AuditTable, rng: np.random.Generator
) -> tuple[tuple[str, float, float, str] | None, pd.DataFrame]:
    """The attribution in the domain where the target's mean (or the share of a class) moved most."""
    if table.target is None or len(table.labelled_domains) < 2:
        return None, pd.DataFrame()
    name, classes = table.target_name, table.classes
    nodes = {n: Node.of(n, table) for n in _lineage(name, parents)}
    whole = ~np.isnan([n.values for n in nodes.values()]).any(0)
    best: tuple[Any, ...] = (-1.0,)
    for c in contrasts(table):
        before, after = c.before & whole, c.after & whole
        for k in range(1 if classes and len(classes) == 2 else 0, len(classes) if classes else 1):
            y = (table.target == k).astype(float) if classes else table.target
            if min(before.sum(), after.sum()) >= LEAST_ROWS:
                means = y[before].mean(), y[after].mean()
                best = max(
                    best,
                    (abs(means[1] - means[0]), c.code, k, before, after, c.name, means),
                    key=lambda b: b[0],
                )
    if len(best) == 1:
        return None, pd.DataFrame()
    _, _, k, before, after, where, means = best
    rows = before | after
    parts = attribution(
        parents, {n: replace(v, values=v.values[rows]) for n, v in nodes.items()}, after[rows], name, k, rng
    )
    return (where, *means, f"share of {name} = {classes[k]}" if classes else f"mean of {name}"), parts


def _lineage(node: str, parents: Parents) -> list[str]:
    """A node and its ancestors, in causal order."""
    wanted = {node}
    for name in reversed(list(parents)):
        wanted |= set(parents[name]) if name in wanted else set()
    return [name for name in parents if name in wanted]


def attribution(
    parents: Parents,
    nodes: Mapping[str, Node],
    after: NDArray[np.bool_],
    target: str,
    k: int,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """What the change of each mechanism did to the target's mean, or to the share of its class ``k``.

    Parameters
    ----------
    nodes : the target and its ancestors
    after : which rows are after

    Returns
    -------
    node, change, low, high; the first row is the whole `CHANGE`, the last, `REST`, what the graph and its models do not
    account for. Intervals are those of `RESAMPLED` draws of the rows.
    """
    names = _lineage(target, parents)
    above = {name: frozenset(_lineage(name, parents)) for name in names}
    noise = dict(zip(names, qmc.Sobol(len(names), rng=rng).random(DRAWS).T, strict=True))
    if len(names) <= MOST_EXACT:
        orders = [list(order) for order in itertools.permutations(names)]
    else:
        orders = [rng.permutation(names).tolist() for _ in range(ORDERS // 2)]
        orders += [order[::-1] for order in orders]

    def parts(sides: Sequence[NDArray[np.int64]]) -> Array:
        models = {
            n: [_Mechanism.fit(nodes[n], [nodes[p] for p in parents[n]], rows) for rows in sides]
            for n in names
        }
        draws: dict[tuple[str, frozenset[str]], Array] = {}

        def given(node: str, changed: frozenset[str]) -> Array:
            return np.array([draw(parent, changed) for parent in parents[node]]).T

        def draw(node: str, changed: frozenset[str]) -> Array:
            key = node, changed & above[node]
            if key not in draws:
                draws[key] = models[node][node in changed].draw(given(node, changed), noise[node])
            return draws[key]

        means: dict[frozenset[str], float] = {}
        shares = dict.fromkeys(names, 0.0)
        for order in orders:
            for n in range(len(order) + 1):
                changed = frozenset(order[:n])
                if changed not in means:
                    means[changed] = models[target][target in changed].mean(given(target, changed), k)
                if n:
                    shares[order[n - 1]] += (means[changed] - means[frozenset(order[: n - 1])]) / len(orders)
        y = nodes[target].values == k if nodes[target].classes else nodes[target].values
        total = y[sides[1]].mean() - y[sides[0]].mean()
        return np.array([total, *shares.values(), total - sum(shares.values())])

    sides = np.flatnonzero(~after), np.flatnonzero(after)
    size = parts(sides)
    error = np.std([parts([rng.choice(s, len(s)) for s in sides]) for _ in range(RESAMPLED)], axis=0, ddof=1)
    return pd.DataFrame(
        {
            "node": [CHANGE, *names, REST],
            "change": size,
            "low": size - 1.96 * error,
            "high": size + 1.96 * error,
        }
    )


@dataclass(frozen=True)
class _Mechanism:
    """A node given its parents on one side: a ridge or logistic regression with its residuals, or a root's values."""

    classes: int
    noise: Array
    basis: Callable[[Array], Array] | None = None
    model: Any = None

    @classmethod
    def fit(cls, node: Node, given: Sequence[Node], rows: NDArray[np.int64]) -> _Mechanism:
        """Learn it from some rows."""
        y = node.values[rows]
        if not given or len(np.unique(y)) < 2:
            return cls(node.classes, np.sort(y))
        X = np.column_stack([n.values[rows] for n in given])
        basis = _basis(X, [n.classes if n.words else 0 for n in given])
        if node.classes:
            return cls(
                node.classes,
                y,
                basis,
                LogisticRegression(max_iter=300, tol=1e-3).fit(basis(X), y.astype(int)),
            )
        model = Ridge(1.0).fit(basis(X), y)
        return cls(0, np.sort(y - model.predict(basis(X))), basis, model)

    def draw(self, given: Array, u: Array) -> Array:
        """Draws at the parents ``given``, shape (draws, parents), from uniform noise, shape (draws,)."""
        if self.basis is not None and self.classes:
            chances = self.model.predict_proba(self.basis(given)).cumsum(1)
            return self.model.classes_[(chances[:, :-1] < u[:, None]).sum(1)].astype(float)
        quantiles = self.noise[(u * len(self.noise)).astype(int)]
        return quantiles if self.basis is None else self.model.predict(self.basis(given)) + quantiles

    def mean(self, given: Array, k: int) -> float:
        """The mean over the parents, or the share of class k."""
        if self.basis is None:
            return float((self.noise == k).mean() if self.classes else self.noise.mean())
        if self.classes:
            return float(
                self.model.predict_proba(self.basis(given))[:, self.model.classes_ == k].sum(1).mean()
            )
        return float(self.model.predict(self.basis(given)).mean())


def _basis(X: Array, classes: Sequence[int]) -> Callable[[Array], Array]:
    """Columns as a regression takes them: lines with bends, indicators of words (``classes`` > 0), products of two."""
    number = [not n for n in classes]
    center, scale = X[:, number].mean(0), np.maximum(X[:, number].std(0), 1e-12)
    knots = np.quantile((X[:, number] - center) / scale, KNOTS, axis=0)

    def expanded(Z: Array) -> Array:
        numbers = (Z[:, number] - center) / scale
        lines = np.hstack([numbers, *(np.eye(n)[Z[:, j].astype(int)] for j, n in enumerate(classes) if n)])
        bends = np.maximum(numbers[:, None, :] - knots, 0).reshape(len(Z), -1)
        left, right = np.triu_indices(lines.shape[1] if lines.shape[1] <= MOST_LINES else 0, 1)
        return np.hstack([lines, bends, lines[:, left] * lines[:, right]])

    return expanded


# The section ---------------------------------------------------------------------------------------------


def section(known: KnownMechanisms) -> Section:
    """The section of the report."""
    from groundshift.workflows.audit.decay import draw_parts

    tests, parts, figures = known.tests, known.parts, {}
    changed = [
        f"{n} ({p_words(p)})"
        for n, c, p in zip(tests["node"], tests["changed"], tests["p"], strict=True)
        if c
    ]
    answer = f"Changed: {', '.join(changed)}." if changed else "None, as far as can be told."
    notes = []
    tests = tests.assign(
        changed=[{True: "changed", False: "stayed"}.get(c, "cannot tell") for c in tests["changed"]]
    )
    tables = {"Mechanisms of your graph": tests}
    if known.target is not None:
        where, before, after, unit = known.target
        clear = parts[(parts["low"] > 0) | (parts["high"] < 0)].sort_values(
            "change", key=abs, ascending=False
        )
        moved = CHANGE in set(clear["node"])
        listed = ", ".join(
            f"{r['node']} {r['change']:+.2g} ({r['low']:+.2g} to {r['high']:+.2g})"
            for r in clear[~clear["node"].isin((CHANGE, REST))].to_dict("records")
        )
        answer += f" The {unit} went from {before:.3g} to {after:.3g} in {where}"
        answer += (
            ", which may be chance."
            if not moved
            else f": {listed or 'no single part can be told from chance'}."
        )
        notes.append(
            "Parts are Shapley values of the mechanisms, in a model of your graph whose noise does not depend on the "
            f"parents; {REST} is what it does not account for."
        )
        parts = parts.assign(
            **{"share of the change": parts["change"] / parts["change"].iloc[0] if moved else np.nan}
        )
        caption = f"What each mechanism did to the {unit}"
        tables[caption] = parts
        figures[caption] = lambda ax: draw_parts(
            ax, parts["node"], parts, f"part of the change of the {unit}"
        )
    edges = [[parent, node] for node, given in known.parents.items() for parent in given]
    return Section(
        "graph",
        "Which mechanisms of your graph changed?",
        answer,
        tuple(notes),
        tables,
        figures,
        {"edges": edges},
    )
