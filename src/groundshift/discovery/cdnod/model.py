"""Phases 1 and 2, and the whole: PC on the variables and C, the arrows that change orients, and the estimator."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import networkx as nx
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from groundshift.discovery.cdnod.changes import (
    ChangeScore,
    DrivingForce,
    Rule,
    compare,
    force_of,
    split_groups,
    warn_of_kernels,
    without_columns,
)
from groundshift.discovery.cdnod.guard import Guarded
from groundshift.discovery.cdnod.table import Context, DomainKind, Variables, context_width, in_order, kind_of
from groundshift.discovery.independence import independence_test
from groundshift.errors import InputError
from groundshift.estimator import Estimator
from groundshift.report import Report, Section
from groundshift.tables import split_domain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["CDNOD"]


class CDNOD(Estimator):
    """Which mechanisms change, what causes what, and how each mechanism moved.

    Parameters
    ----------
    test : str or function
        Independence test: auto, kci, kci-lowrank, rcit, fisherz, gtest, or a function. auto is the kernel test: exact
        up to 500 rows, with low-rank kernels beyond.
    alpha : float
        Level of the tests: edges stay while p is at most this.
    max_cond : int
        Most variables in a conditioning set.
    domain_kind : "auto", "time" or "domain"
        How the domain is taken. Dates, and numbers with fewer than five rows each, are a time; all else is a label.
    phases : tuple of int
        Phases of 1 to 4; 1,2 leaves what independent changes would orient.
    time_width : float or "learned"
        Kernel width of a time in its standard deviations.
    width : float
        Kernel width of phase 3, in standard deviations.
    ridge : float
        Ridge λ of the regressions of phase 3.
    normalised : bool
        Divide the dependence of phase 3 by the traces, as in the papers; the authors' code does not.
    undecided : "abstain" or "smallest"
        Whether phase 3 leaves an edge undirected where the data cannot tell, or takes the smallest Δ regardless.
    groups : dict of str to list of str
        Columns of one vector-valued variable, as hip=hip_x,hip_y; can be repeated.
    discrete : sequence of str
        Numeric columns that hold labels, as site,code; text columns do anyway.
    required : sequence of (cause, effect)
        Edges known beforehand, as cause->effect.
    forbidden : sequence of (cause, effect)
        Edges that cannot be, as cause->effect.
    drop : sequence of str
        Columns to leave out, as id,name.
    dropna : bool
        Leave out rows with missing values.
    draws : int
        Number of times that rows are drawn anew, to count how often edges come back; see `bootstrap`.
    random_state : int, RandomState or None

    Attributes
    ----------
    graph_ : networkx.DiGraph
        Variables and C under the name of the domain. An undirected edge is a pair of arrows with ``oriented`` False.
    edges_ : DataFrame
        One row per edge: cause, effect, oriented, reason, margin, p_value (the largest over conditioning sets), and
        doubtful: whether it is undecided because columns are functions of each other.
    changing_ : DataFrame
        By variable: changing, p_value (the largest over conditioning sets), doubtful.
    driving_force_ : dict of str to DrivingForce
        For every changing variable.
    changes_ : list of ChangeScore
        Every decision of phase 3, made or not.
    tests_ : DataFrame
        Every question asked: x, y, given, p_value, and which of x and y is a function of what is given, so that the
        answer cuts no edge ("" for neither).
    functions_ : DataFrame
        Columns that are functions of others, as far as the rows tell: variable, of.
    unexplained_ : DataFrame
        Pairs that clearly depend on each other though no path joins them: x, y, p_value, separated_by.
    warnings_ : list of str
        What of this the user should know, and what to do; also given as warnings.
    returns_ : DataFrame
        How often edges and arrows came back in the draws, as `bootstrap` says.
    domain_kind_, time_width_, variables_
    assumptions_ : list of str
        Under which the arrows mean causes.

    Examples
    --------
    >>> from groundshift.worlds.changing_mechanisms import chain_in_time
    >>> world = chain_in_time(np.random.default_rng(0), rows=300)
    >>> table = pd.DataFrame(world.data, columns=["a", "b", "c", "d"]).assign(day=world.domain)
    >>> model = CDNOD(phases=(1, 2)).fit(table, domain="day")
    >>> model.changing_.query("changing").index.tolist()
    ['b', 'd']
    >>> print("\\n".join(model.edges_in_words()))
    a → b  (collider)
    b → c  (Meek's rules)
    c → d  (collider)
    """

    def __init__(
        self,
        *,
        test: str | Callable[..., float] = "auto",
        alpha: float = 0.05,
        max_cond: int = 2,
        domain_kind: DomainKind = "auto",
        phases: Sequence[int] = (1, 2, 3, 4),
        time_width: float | Literal["learned"] = "learned",
        width: float = 0.4,
        ridge: float = 0.1,
        normalised: bool = True,
        undecided: Literal["abstain", "smallest"] = "abstain",
        groups: Mapping[str, Sequence[str] | str] | None = None,
        discrete: Sequence[str] = (),
        required: Sequence[tuple[str, str] | str] = (),
        forbidden: Sequence[tuple[str, str] | str] = (),
        drop: Sequence[str] = (),
        dropna: bool = False,
        draws: int = 0,
        random_state: Any = None,
    ) -> None:
        self.test = test
        self.alpha = alpha
        self.max_cond = max_cond
        self.domain_kind = domain_kind
        self.phases = phases
        self.time_width = time_width
        self.width = width
        self.ridge = ridge
        self.normalised = normalised
        self.undecided = undecided
        self.groups = groups
        self.discrete = discrete
        self.required = required
        self.forbidden = forbidden
        self.drop = drop
        self.dropna = dropna
        self.draws = draws
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None, *, domain: Any) -> CDNOD:
        """Discover the graph of a table whose rows come from several domains or times.

        Parameters
        ----------
        X : array (rows, n), frame (pandas, polars, Arrow) or path of a csv or parquet file
        domain : column with the domain or time of each row, or one label or time per row, shape (rows,)

        Raises
        ------
        InputError
            Missing values, constant or equal columns, domains that are too small or all distinct, unknown names.
        """
        self._check()
        frame, labels, kind = self._rows(X, domain)
        table = Variables.make(frame, split_groups(self.groups), self.discrete, str(labels.name))
        context = Context.make(labels, kind, context_width(table, labels, kind, self.time_width))
        self.domain_kind_, self.time_width_ = kind, context.width if kind == "time" else None
        self.variables_ = table.names
        self.domain_name_ = str(labels.name)
        guarded = self._skeleton(table, context, len(frame))
        self._prune(guarded)
        self._doubts(guarded)
        self._orient()
        rng = check_random_state(self.random_state)
        if 3 in self.phases:
            self._orient_by_independent_changes(table, context, rng)
        self._describe(guarded)
        self.driving_force_ = self._forces(table, context) if 4 in self.phases else {}
        kept = {
            f"the causes of {' or '.join(score.delta)}": score.kept for score in getattr(self, "changes_", [])
        }
        kept |= {f"the causes of {name}": force.kept for name, force in self.driving_force_.items()}
        self.warnings_ += warn_of_kernels(kept)
        for working in ("_causal_graph", "_knowledge", "_doubtful", "_reasons", "_undecided"):
            if hasattr(self, working):
                delattr(self, working)
        if self.draws:
            self.returns_ = self._returns(frame, labels, kind, self.draws, n_jobs=1)
        return self

    @property
    def _names(self) -> list[str]:
        """The variables, and C last."""
        return [*self.variables_, self.domain_name_]

    def _rows(self, X: Any, domain: Any) -> tuple[pd.DataFrame, pd.Series[Any], Literal["time", "domain"]]:
        """The rows and columns that are used, in order, and what the domain is."""
        frame, labels = split_domain(X, domain)
        frame = without_columns(frame, self.drop)
        if self.dropna:
            whole = frame.notna().all(axis=1) & labels.notna()
            frame, labels = frame[whole].reset_index(drop=True), labels[whole].reset_index(drop=True)
        kind = kind_of(labels, self.domain_kind)
        return *in_order(frame, labels, kind), kind

    def _check(self) -> None:
        if not 0 < self.alpha < 1:
            raise InputError(f"alpha is {self.alpha}; a level between 0 and 1 is needed, as 0.05.")
        if not {1, 2} <= set(self.phases) <= {1, 2, 3, 4}:
            raise InputError(f"phases are {tuple(self.phases)}; 1 and 2 are needed, 3 and 4 may follow.")
        if self.undecided not in ("abstain", "smallest"):
            raise InputError(f"undecided may be 'abstain' or 'smallest'; {self.undecided!r} was given.")

    # Phase 1

    def _skeleton(self, table: Variables, context: Context, rows: int) -> Guarded:
        """PC-stable on the variables and C; what stays next to C is a changing mechanism."""
        from causallearn.utils.PCUtils.SkeletonDiscovery import skeleton_discovery

        test = ("kci" if rows <= 500 else "kci-lowrank") if self.test == "auto" else self.test
        if test == "kci" and rows > 3000:
            warnings.warn(
                f"The exact kernel test holds matrices of {rows}² numbers ({8e-9 * rows**2:.1f} GB each) and takes "
                f"about {1e-10 * rows**3:.0f} s a question; test='kci-lowrank' is linear in the rows.",
                stacklevel=3,
            )
        c = len(table.names)
        is_label = {k for k, labelled in enumerate(table.labelled) if labelled}
        ask = independence_test(
            test,
            [*table.values, context.times[:, None]],
            discrete=is_label | ({c} if context.kind == "domain" else set()),
            widths={c: context.width} if context.kind == "time" else None,
        )
        guarded = Guarded(ask, self.alpha)
        self._knowledge = self._background()
        shape_only = np.zeros((rows, c + 1))
        self._causal_graph = skeleton_discovery(
            shape_only,
            self.alpha,
            guarded,
            stable=True,
            background_knowledge=self._knowledge,
            show_progress=False,
            node_names=self._names,
            max_k=self.max_cond,
        )
        self._causal_graph.test = None  # what follows copies the graph, and need not copy the kernels
        return guarded

    def _prune(self, guarded: Guarded) -> None:
        """Take a void answer after all where it agrees with the rest: z and a function of x part, given x, if z is next
        to x.

        That edge must not itself hang on a void answer to a question as small. Where x and y are functions of each
        other, it does: both keep their edges, for no test can tell which of the two z depends on.
        """
        from causallearn.utils.PCUtils.Helper import append_value

        graph = self._causal_graph
        edges = {frozenset((i, j)) for i in range(len(self._names)) for j in map(int, graph.neighbors(i))}
        smallest: dict[frozenset[int], int] = {}
        for i, j, given in guarded.void:
            pair = frozenset((i, j))
            smallest[pair] = min(len(given), smallest.get(pair, len(given)))
        gone = set()
        for i, j, given in guarded.void:
            sound = {pair for pair in edges if smallest.get(pair, len(given) + 1) > len(given)}
            if any(links <= sound for links in guarded.links(i, j, given)):
                gone.add(frozenset((i, j)))
        for i, j in map(sorted, gone & edges):
            graph.G.remove_edge(graph.G.get_edge(graph.G.nodes[i], graph.G.nodes[j]))
        for i, j, given in guarded.void:
            if frozenset((i, j)) not in edges - gone:  # what parts them, for colliders
                append_value(graph.sepset, i, j, given)
                append_value(graph.sepset, j, i, given)
        self._doubtful = {
            frozenset((i, j))
            for i, j, given in guarded.void
            if any(links & (edges - gone) for links in guarded.links(i, j, given))
        } & (edges - gone)

    def _doubts(self, guarded: Guarded) -> None:
        """What the skeleton leaves open: functions of other columns, and dependence without a path."""
        names, graph = self._names, self._causal_graph
        rows = [
            (names[side], ", ".join(names[k] for k in given))
            for side, sets in guarded.functions().items()
            for given in sets
        ]
        self.functions_ = pd.DataFrame(rows, columns=["variable", "of"])
        groups: dict[frozenset[int], list[int]] = {}
        for side, sets in guarded.functions().items():
            for given in sets:
                groups.setdefault(frozenset((side, *given)), []).append(side)
        self.warnings_ = [self._in_words(group, sides) for group, sides in groups.items()]
        joined = nx.Graph()
        joined.add_nodes_from(range(len(names)))
        joined.add_edges_from((i, int(j)) for i in range(len(names)) for j in graph.neighbors(i))
        part = {v: k for k, group in enumerate(nx.connected_components(joined)) for v in group}
        ends = list(itertools.combinations(range(len(names)), 2))
        doubts = []
        for i, j in ends:
            p = guarded.ask.p_values.get((i, j, ()), 1.0)
            if part[i] != part[j] and p <= self.alpha / len(ends):
                parted = sorted({k for given in graph.sepset[i, j] or [] for k in given})
                doubts.append((names[i], names[j], p, ", ".join(names[k] for k in parted)))
        self.unexplained_ = pd.DataFrame(doubts, columns=["x", "y", "p_value", "separated_by"])
        if doubts:
            pairs = "; ".join(f"{x} – {y} (p = {p:.2g}, parted given {given})" for x, y, p, given in doubts)
            self.warnings_.append(
                f"These depend on each other, but no path joins them: {pairs}. An edge is missing, perhaps because a "
                "column is nearly a function of others; leave out columns that repeat others, or take more rows."
            )
        for words in self.warnings_:
            warnings.warn(words, stacklevel=3)

    def _in_words(self, group: frozenset[int], sides: Sequence[int]) -> str:
        """That ``sides`` are functions of the others of a group, and which edges this leaves undecided."""

        def named(some: Collection[int], last: str = "and") -> str:
            *first, end = (self._names[k] for k in sorted(some))
            return f"{', '.join(first)} {last} {end}" if first else end

        if len(sides) == 1:
            what, given = (
                f"{named(sides)} is a function of {named(group - set(sides))}",
                named(group - set(sides)),
            )
        elif len(group) == 2:
            what, given = f"{named(group)} are functions of each other", "one of them"
        else:
            what, given = f"Each of {named(sides)} is a function of the others of {named(group)}", "those"
        words = f"{what}, as far as the rows tell: given {given}, no test sees what else it depends on."
        edges = sorted(
            " – ".join(self._names[k] for k in sorted(pair))
            for pair in self._doubtful
            if len(pair & group) == 1
        )
        if not edges:
            return f"{words} No edge is left undecided by that."
        return f"{words} Undecided, and therefore kept: {'; '.join(edges)}. Leave out {named(group, 'or')}."

    def _background(self) -> Any:
        from causallearn.graph.GraphNode import GraphNode
        from causallearn.utils.PCUtils.BackgroundKnowledge import BackgroundKnowledge

        knowledge = BackgroundKnowledge()
        nodes = {name: GraphNode(name) for name in self._names}
        c = self._names[-1]
        required, forbidden = _pairs(self.required), _pairs(self.forbidden)
        for cause, effect in (*required, *forbidden):
            for name in (cause, effect):
                if name not in nodes:
                    raise InputError(f"{name!r} is no variable; there are {', '.join(self._names)}.")
        for name in self._names[:-1]:  # nothing causes the domain
            knowledge.add_forbidden_by_node(nodes[name], nodes[c])
        for cause, effect in required:
            knowledge.add_required_by_node(nodes[cause], nodes[effect])
        for cause, effect in forbidden:
            knowledge.add_forbidden_by_node(nodes[cause], nodes[effect])
        return knowledge

    # Phase 2

    def _orient(self) -> None:
        """C comes first; then colliders, with C as one end or none; then Meek's rules."""
        from causallearn.utils.PCUtils.UCSepset import uc_sepset

        self._reasons: dict[frozenset[int], tuple[str, float]] = {}
        graph = self._causal_graph
        c = len(self._names) - 1
        for i in graph.neighbors(c):
            _direct(graph, c, int(i))
        self._note(graph, "the domain comes first")
        for cause, effect in _pairs(self.required):
            i, j = self._names.index(cause), self._names.index(effect)
            if graph.is_undirected(i, j):
                _direct(graph, i, j)
        self._note(graph, "known beforehand")
        graph = uc_sepset(graph, 2, background_knowledge=self._knowledge)
        self._note(graph, "collider")
        self._causal_graph = self._meek(graph)

    def _meek(self, graph: Any) -> Any:
        from causallearn.utils.PCUtils.Meek import meek

        graph = meek(graph, background_knowledge=self._knowledge)
        self._note(graph, "Meek's rules")
        return graph

    def _note(self, graph: Any, reason: str, margin: float = np.nan) -> None:
        """Remember why edges that are directed for the first time are."""
        for i, j in graph.find_fully_directed():
            self._reasons.setdefault(frozenset((int(i), int(j))), (reason, margin))

    # Phase 3

    def _orient_by_independent_changes(
        self, table: Variables, context: Context, rng: np.random.RandomState
    ) -> None:
        """Find sinks among changing variables: the effect is the one whose mechanism changes independently."""
        self.changes_: list[ChangeScore] = []
        self._undecided: dict[frozenset[int], str] = {}
        graph = self._causal_graph
        while group := self._next_group(graph):
            hypotheses = {}
            causes_of = {}
            for v in group:
                causes = [*self._open(graph, v), *self._parents(graph, v)]
                causes_of[v] = causes
                hypotheses[table.names[v]] = (
                    table.numbers(v),
                    np.column_stack([table.numbers(u) for u in causes]),
                )
            score = compare(hypotheses, context, self.width, self.ridge, self.normalised, rng, Rule())
            self.changes_.append(score)
            sink = table.names.index(score.effect)
            if not score.decided and self.undecided == "abstain":
                for v in group:
                    for u in self._open(graph, v):
                        self._undecided[frozenset((u, v))] = score.reason
                continue
            for u in causes_of[sink]:
                if graph.is_undirected(u, sink):
                    _direct(graph, u, sink)
            self._note(graph, "independent changes", score.margin)
            graph = self._meek(graph)
        self._causal_graph = graph

    def _next_group(self, graph: Any) -> list[int]:
        """Changing variables joined by edges that are open; the first such group, or none."""
        c = len(self._names) - 1
        changing = [int(v) for v in graph.neighbors(c)]
        joined = nx.Graph()
        joined.add_edges_from((v, u) for v in changing for u in self._open(graph, v) if u in changing)
        groups = sorted(sorted(part) for part in nx.connected_components(joined))
        return groups[0] if groups else []

    def _open(self, graph: Any, v: int) -> list[int]:
        """Neighbours of v over undirected edges that phase 3 has not given up."""
        return [
            int(u)
            for u in graph.neighbors(v)
            if graph.is_undirected(v, u) and frozenset((int(u), v)) not in self._undecided
        ]

    def _parents(self, graph: Any, v: int) -> list[int]:
        c = len(self._names) - 1
        return [int(u) for u in graph.neighbors(v) if u != c and graph.is_fully_directed(u, v)]

    # Phase 4

    def _forces(self, table: Variables, context: Context) -> dict[str, DrivingForce]:
        forces = {}
        for name in self.changing_.index[self.changing_["changing"]]:
            v = table.names.index(name)
            parents = self._parents(self._causal_graph, v)
            causes = np.column_stack([table.numbers(u) for u in parents]) if parents else None
            forces[name] = force_of(table.numbers(v), causes, context, self.width, 1.0, False)
        return forces

    # What came out

    def _describe(self, guarded: Guarded) -> None:
        names, graph = self._names, self._causal_graph
        c = len(names) - 1
        strength: dict[frozenset[int], float] = {}
        questions = []
        for (i, j, z), p in guarded.ask.p_values.items():
            void = guarded.void.get((i, j, z), ())
            if not void:
                strength[frozenset((i, j))] = max(p, strength.get(frozenset((i, j)), 0.0))
            given, determined = (", ".join(names[k] for k in some) for some in (z, void))
            questions.append((names[i], names[j], given, p, determined))
        self.tests_ = pd.DataFrame(questions, columns=["x", "y", "given", "p_value", "determined"])
        beside = {int(v) for v in graph.neighbors(c)}
        self.changing_ = pd.DataFrame(
            {
                "changing": [v in beside for v in range(c)],
                "p_value": [strength.get(frozenset((v, c)), np.nan) for v in range(c)],
                "doubtful": [frozenset((v, c)) in self._doubtful for v in range(c)],
            },
            index=pd.Index(names[:-1], name="variable"),
        )
        rows = []
        for i, j in itertools.combinations(range(c), 2):
            if j not in graph.neighbors(i):
                continue
            pair = frozenset((i, j))
            oriented = not graph.is_undirected(i, j)
            cause, effect = (j, i) if graph.is_fully_directed(j, i) else (i, j)
            reason, margin = self._reasons.get(pair, (self._why_open(pair), np.nan))
            p, doubtful = strength.get(pair, np.nan), pair in self._doubtful
            rows.append((names[cause], names[effect], oriented, reason, margin, p, doubtful))
        columns = ["cause", "effect", "oriented", "reason", "margin", "p_value", "doubtful"]
        self.edges_ = pd.DataFrame(rows, columns=columns)
        self.graph_ = nx.DiGraph()
        self.graph_.add_nodes_from(names)
        for row in self.edges_.itertuples():
            self.graph_.add_edge(row.cause, row.effect, oriented=row.oriented, reason=row.reason)
            if not row.oriented:
                self.graph_.add_edge(row.effect, row.cause, oriented=False, reason=row.reason)
        for v in beside:
            self.graph_.add_edge(names[c], names[v], oriented=True, reason="the domain comes first")
        self.matrix_ = graph.G.graph.astype(np.int64)
        self.assumptions_ = [
            f"Nothing in the table causes {names[c]}.",
            f"Hidden common causes are functions of {names[c]}; any other can draw or turn an arrow.",
            "The graph has no cycle, and no dependence cancels another.",
        ]

    def _why_open(self, pair: frozenset[int]) -> str:
        if 3 in self.phases and pair in self._undecided:
            return f"undecided: {self._undecided[pair]}"
        return "undecided: no change and no collider orients it"

    def to_causal_learn(self) -> NDArray[np.int64]:
        """causal-learn's matrix over the variables and C: i → j is [i, j] = -1 and [j, i] = 1, i - j twice -1."""
        check_is_fitted(self)
        return self.matrix_

    def to_dot(self) -> str:
        """The graph in Graphviz's language."""
        check_is_fitted(self)
        lines = [f'  "{_escaped(self._names[-1])}" [shape=box];']
        for cause, effect, data in self.graph_.edges(data=True):
            if data["oriented"] or cause < effect:
                arrow = "" if data["oriented"] else " [dir=none]"
                lines.append(f'  "{_escaped(cause)}" -> "{_escaped(effect)}"{arrow};')
        return "\n".join(["digraph cdnod {", *lines, "}"])

    def edges_in_words(self) -> list[str]:
        """Each edge with its arrow and its reason."""
        check_is_fitted(self)
        return [
            f"{row.cause} {'→' if row.oriented else '—'} {row.effect}  ({row.reason})"
            for row in self.edges_.itertuples()
        ]

    # As a result

    def _content(self) -> dict[str, Any]:
        content = {
            "domain": self.domain_name_,
            "kind": self.domain_kind_,
            "changing": self.changing_.reset_index(),
            "edges": self.edges_,
            "changes": getattr(self, "changes_", []),
            "functions": self.functions_,
            "unexplained": self.unexplained_,
            "warnings": self.warnings_,
            "assumptions": self.assumptions_,
        }
        return content | ({"bootstrap": self.returns_} if self.draws else {})

    def to_frame(self) -> pd.DataFrame:
        """One row per edge between variables."""
        check_is_fitted(self)
        return self.edges_

    def _write_more(self, folder: Path) -> None:
        super()._write_more(folder)
        (folder / "graph.dot").write_text(self.to_dot() + "\n", encoding="utf-8")

    def _report(self) -> Report:
        names = self.changing_.index[self.changing_["changing"]].tolist()
        headline = f"{self.domain_name_} drives the mechanisms of {', '.join(names)}."
        words = self.edges_in_words()
        edges = Section(
            "edges",
            "What causes what?",
            "" if words else "No two variables are adjacent.",
            notes=tuple(words),
        )
        draws = Section(
            "draws", f"How often do edges come back in {self.draws} draws of the rows?",
            tables={"Share of the draws": self.returns_} if self.draws else {},
        )  # fmt: skip
        forces = Section(
            "forces", "How did each mechanism move?", "By kernel principal components; scale and sign mean nothing.",
            figures={name: force.draw for name, force in self.driving_force_.items()}, folded=True,
        )  # fmt: skip
        numbers = Section(
            "numbers", "On which tests does this rest?", "On the largest p-value over all conditioning sets.",
            tables={"Mechanisms": self.changing_.reset_index(), "Edges": self.edges_.drop(columns="reason"),
                    "Columns that are functions of others": self.functions_,
                    "Dependence that no path explains": self.unexplained_}, folded=True,
        )  # fmt: skip
        assumptions = Section(
            "assumptions", "When do arrows mean causes?", notes=tuple(self.assumptions_), folded=True
        )
        sections = (edges, *([draws] if self.draws else []), *([forces] if self.driving_force_ else []))
        return Report(
            "cdnod", f"{len(self.variables_)} variables by {self.domain_name_}",
            headline if names else f"With {self.domain_name_} no mechanism changes.", warnings=self.warnings_,
            figure=("What causes what; orange mechanisms change, dashed edges have no direction", self._draw_graph),
            sections=(*sections, numbers, assumptions),
            settings={**self.get_params(deep=False), "domain taken for a": self.domain_kind_},
        )  # fmt: skip

    def bootstrap(self, X: Any, *, domain: Any, draws: int = 50, n_jobs: int = 1) -> pd.DataFrame:
        """How often edges and arrows come back when rows are drawn anew within each domain or block of time.

        Returns
        -------
        DataFrame
            cause, effect, adjacent (share of the draws with the edge), arrow (share with this direction), most frequent
            first; edges from C are among them.
        """
        return self._returns(*self._rows(X, domain), draws, n_jobs)

    def _returns(
        self, frame: pd.DataFrame, labels: pd.Series[Any], kind: str, draws: int, n_jobs: int
    ) -> pd.DataFrame:
        from joblib import Parallel, delayed

        rng = check_random_state(self.random_state)
        seeds = rng.randint(np.iinfo(np.int32).max, size=draws)
        fits = Parallel(n_jobs=n_jobs)(delayed(_refit)(self, frame, labels, kind, seed) for seed in seeds)
        arrows: dict[tuple[str, str], int] = {}
        beside: dict[frozenset[str], int] = {}
        for edges in fits:
            for cause, effect, oriented in edges:
                pair = frozenset((cause, effect))
                beside[pair] = beside.get(pair, 0) + 1
                arrows[cause, effect] = arrows.get((cause, effect), 0) + oriented
        rows = [
            (cause, effect, beside[frozenset((cause, effect))] / draws, count / draws)
            for (cause, effect), count in arrows.items()
        ]
        table = pd.DataFrame(rows, columns=["cause", "effect", "adjacent", "arrow"])
        return table.sort_values(["adjacent", "arrow"], ascending=False, ignore_index=True)

    def _draw_graph(self, ax: Axes) -> None:
        """Arrows, undirected edges dashed, what changes in colour; names stand above or below their nodes."""
        place = {**nx.circular_layout(self.variables_), self.domain_name_: np.array([0.0, 1.9])}
        changing = set(self.changing_.index[self.changing_["changing"]])
        colours = {True: "#c4622d", False: "#2f7fa8"}
        nx.draw_networkx_nodes(
            self.graph_, place, ax=ax, node_size=220,
            node_color=["#7a8791" if n == self.domain_name_ else colours[n in changing] for n in self.graph_],
        )  # fmt: skip
        beside = {name: at + np.array([0.0, 0.24 if at[1] > 0.01 else -0.24]) for name, at in place.items()}
        nx.draw_networkx_labels(self.graph_, beside, ax=ax, font_color="#1c2430", font_size=9)
        for cause, effect, data in self.graph_.edges(data=True):
            style: dict[str, Any] = {"edge_color": "#55606e" if cause == self.domain_name_ else "#1c2430"}
            if not data["oriented"]:
                style |= {"arrowstyle": "-", "style": "dashed"}
            if data["oriented"] or cause < effect:
                nx.draw_networkx_edges(
                    self.graph_, place, [(cause, effect)], ax=ax, arrowsize=14, node_size=260, **style
                )
        ax.margins(0.2)
        ax.set_axis_off()


def _pairs(edges: Sequence[tuple[str, str] | str]) -> list[tuple[str, str]]:
    """(cause, effect) of each edge; text is written cause->effect."""
    pairs = []
    for edge in edges:
        cause, effect = (edge.partition("->")[::2]) if isinstance(edge, str) else edge
        if not effect:
            raise InputError(f"The edge {edge!r} was given; write it as cause->effect.")
        pairs.append((cause.strip(), effect.strip()))
    return pairs


def _direct(graph: Any, i: int, j: int) -> None:
    """Make i → j of an edge between them."""
    from causallearn.graph.Edge import Edge
    from causallearn.graph.Endpoint import Endpoint

    nodes = graph.G.nodes
    edge = graph.G.get_edge(nodes[i], nodes[j])
    if edge is not None:
        graph.G.remove_edge(edge)
    graph.G.add_edge(Edge(nodes[i], nodes[j], Endpoint.TAIL, Endpoint.ARROW))


def _refit(
    model: CDNOD, frame: pd.DataFrame, labels: pd.Series[Any], kind: str, seed: int
) -> list[tuple[str, str, bool]]:
    """Edges found on rows drawn with replacement within domains, or within fiftieths of the time."""
    from sklearn.base import clone

    rng = np.random.default_rng(seed)
    blocks = pd.factorize(labels)[0] if kind == "domain" else np.arange(len(labels)) * 50 // len(labels)
    rows = np.concatenate(
        [np.sort(rng.choice(np.flatnonzero(blocks == b), (blocks == b).sum())) for b in np.unique(blocks)]
    )
    phases = tuple(p for p in model.phases if p != 4)
    again = clone(model).set_params(
        phases=phases, domain_kind=kind, drop=(), dropna=False, draws=0, random_state=int(seed % 2**31)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        again.fit(frame.iloc[rows], domain=labels.iloc[rows])
    domain = str(labels.name)
    edges = [(row.cause, row.effect, bool(row.oriented)) for row in again.edges_.itertuples()]
    return edges + [(domain, name, True) for name in again.changing_.index[again.changing_["changing"]]]


def _escaped(name: str) -> str:
    return name.replace("\\", "\\\\").replace('"', '\\"')
