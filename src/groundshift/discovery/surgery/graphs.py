"""Causal graphs with hidden variables: reading them, and what the hidden ones do to the observed ones."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import networkx as nx

from groundshift.errors import InputError

__all__ = ["CausalGraph", "Projection", "read_graph"]

ARROW = re.compile(r"\s*(<->|->|<-|↔|→|←)\s*")
FILES = (".dot", ".gv", ".gml", ".bif")


# Reading -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CausalGraph:
    """A directed acyclic graph, some of whose variables are hidden.

    Attributes
    ----------
    parents : variable -> its parents in the order in which they were given; variables in causal order
    hidden : variables without data; a hidden cause written ``S<->C`` is called ``S↔C``
    tables : variable -> P(variable | parents), shape (*parents, variable), where the source had them (BIF)
    labels : variable -> its values, where the source had them
    """

    parents: Mapping[str, tuple[str, ...]]
    hidden: frozenset[str]
    tables: Mapping[str, Any] | None = None
    labels: Mapping[str, tuple[str, ...]] | None = None

    @property
    def observed(self) -> tuple[str, ...]:
        """Variables with data, in causal order."""
        return tuple(v for v in self.parents if v not in self.hidden)

    @cached_property
    def projection(self) -> Projection:
        """The latent projection onto the observed variables."""
        parents: dict[str, set[str]] = {v: set() for v in self.observed}
        confounders: dict[frozenset[str], list[str]] = {}
        for v in self.parents:
            reached = self._reached(v)
            if v in self.hidden:
                for pair in itertools.combinations(reached, 2):
                    confounders.setdefault(frozenset(pair), []).append(v)
            else:
                for w in reached:
                    parents[w].add(v)
        ordered = {v: tuple(u for u in self.observed if u in parents[v]) for v in self.observed}
        return Projection(ordered, {pair: tuple(by) for pair, by in confounders.items()})

    def _reached(self, start: str) -> list[str]:
        """Observed variables reached by directed paths whose inner variables are all hidden."""
        reached, stack, seen = set(), [start], set()
        while stack:
            v = stack.pop()
            for w, parents in self.parents.items():
                if v in parents and w not in seen:
                    seen.add(w)
                    if w in self.hidden:
                        stack.append(w)
                    else:
                        reached.add(w)
        return [v for v in self.observed if v in reached]


def read_graph(source: Any, hidden: Iterable[str] = ()) -> CausalGraph:
    """A causal graph from whatever holds it.

    Parameters
    ----------
    source : edges as text (``"H->S; S->T"``, ``S<->C`` for a hidden common cause), DOT or GML text, the path of
        a .dot, .gv, .gml or .bif file, a networkx DiGraph (node attribute ``hidden=True``) or a pgmpy network
    hidden : names of variables without data

    Raises
    ------
    InputError
        A cycle (printed), an edge given twice or from a variable to itself, undirected edges, an unknown hidden
        variable, no observed variable, text that is no graph.
    """
    if isinstance(source, CausalGraph):
        return source
    if isinstance(hidden, str):
        hidden = [hidden]
    tables: dict[str, Any] = {}
    labels: dict[str, tuple[str, ...]] = {}
    if isinstance(source, nx.Graph):
        nodes, directed, bidirected, unseen = _from_networkx(source)
    elif isinstance(source, str | os.PathLike):
        text = _text_of(source)
        if text.endswith(".bif"):
            nodes, directed, tables, labels = _from_bif(text)
            bidirected, unseen = [], set()
        elif re.match(r"\s*(strict\s+)?(di)?graph\b[^\[]*\{", text, re.IGNORECASE):
            nodes, directed, bidirected, unseen = _from_dot(text)
        elif re.match(r"\s*(Creator.*\n\s*)?graph\s*\[", text):
            nodes, directed, bidirected, unseen = _from_networkx(_gml(text))
        else:
            nodes, directed, bidirected = _from_arrows(text)
            unseen = set()
    else:
        raise InputError(
            f"A {type(source).__name__} was given for the graph; give edges as text (S->T; T->C; S<->C), a networkx "
            "DiGraph or the path of a .dot, .gml or .bif file."
        )
    return _checked(nodes, directed, bidirected, {*unseen, *hidden}, tables, labels)


def _text_of(source: Any) -> str:
    """The text of a graph file (the path itself of a BIF file), or the text that was given."""
    text = os.fspath(source)
    if not text.endswith(FILES) or ARROW.search(text):
        return text
    if not Path(text).is_file():
        raise InputError(f"{text} is no file. Give the path of a .dot, .gml or .bif file, or edges as text.")
    return text if text.endswith(".bif") else Path(text).read_text(encoding="utf-8")


def _from_arrows(text: str) -> tuple[list[str], list[tuple[str, str]], list[tuple[str, str]]]:
    nodes: list[str] = []
    directed: list[tuple[str, str]] = []
    bidirected: list[tuple[str, str]] = []
    for statement in filter(None, (part.strip() for part in re.split(r"[;\n]", text))):
        names = ARROW.split(statement)
        if not all(names[::2]) or any(mark in name for name in names[::2] for mark in (",", "--")):
            raise InputError(
                f"{statement!r} is no edge. Write edges as S->T or S<->C with ; between them, chains as S->T->C."
            )
        nodes += names[::2]
        for left, arrow, right in zip(names[::2], names[1::2], names[2::2], strict=False):
            if arrow in ("<->", "↔"):
                bidirected.append((left, right))
            else:
                directed.append((left, right) if arrow in ("->", "→") else (right, left))
    return nodes, directed, bidirected


def _from_networkx(
    graph: nx.Graph,
) -> tuple[list[str], list[tuple[str, str]], list[tuple[str, str]], set[str]]:
    if not graph.is_directed():
        raise InputError(
            "The graph has undirected edges; a causal graph needs a direction on each (DiGraph)."
        )
    unseen = {str(v) for v, known in graph.nodes(data=True) if _marked_hidden(known)}
    unseen |= {str(v) for v in getattr(graph, "latents", None) or ()}
    return [str(v) for v in graph], [(str(u), str(v)) for u, v in graph.edges()], [], unseen


def _marked_hidden(attributes: Mapping[str, Any]) -> bool:
    for key, value in attributes.items():
        text = str(value).strip('"').lower()
        if key in ("hidden", "latent") and text not in ("false", "no", "0"):
            return True
        if key == "observed" and text in ("false", "no", "0"):
            return True
    return False


def _from_dot(text: str) -> tuple[list[str], list[tuple[str, str]], list[tuple[str, str]], set[str]]:
    import pydot

    graphs = pydot.graph_from_dot_data(text)
    if not graphs:
        raise InputError("The DOT text cannot be read; check its brackets and arrows.")
    (graph,) = graphs[:1]
    if graph.get_type() != "digraph":
        raise InputError("The DOT graph is undirected; a causal graph is a digraph with -> edges.")

    def plain(name: Any) -> str:
        return str(name).strip('"')

    listed = [
        node for node in graph.get_nodes() if plain(node.get_name()) not in ("node", "edge", "graph", "\\n")
    ]
    nodes = [plain(node.get_name()) for node in listed]
    unseen = {plain(node.get_name()) for node in listed if _marked_hidden(node.get_attributes())}
    directed: list[tuple[str, str]] = []
    bidirected: list[tuple[str, str]] = []
    for edge in graph.get_edges():
        pair = plain(edge.get_source()), plain(edge.get_destination())
        nodes += pair
        (bidirected if plain(edge.get("dir")) == "both" else directed).append(pair)
    return nodes, directed, bidirected, unseen


def _gml(text: str) -> nx.Graph:
    try:
        return nx.parse_gml(text)
    except nx.NetworkXError as error:
        raise InputError(f"The GML text cannot be read: {error}.") from error


def _from_bif(
    path: str,
) -> tuple[list[str], list[tuple[str, str]], dict[str, Any], dict[str, tuple[str, ...]]]:
    try:
        from pgmpy.readwrite import BIFReader
    except ImportError as error:
        raise InputError(
            "BIF files are read by pgmpy; `pip install pgmpy`, or give the edges as text."
        ) from error
    network = BIFReader(path).get_model()
    tables, labels = {}, {}
    for cpd in network.get_cpds():
        # pgmpy: (variable, *evidence); here (*parents, variable), parents as the edges list them.
        v, *evidence = cpd.variables
        parents = [u for u, w in network.edges() if w == v]
        tables[v] = cpd.values.transpose(*(1 + evidence.index(p) for p in parents), 0)
        labels[v] = tuple(cpd.state_names[v])
    return list(network.nodes()), list(network.edges()), tables, labels


def _checked(
    nodes: Sequence[str],
    directed: Sequence[tuple[str, str]],
    bidirected: Sequence[tuple[str, str]],
    hidden: set[str],
    tables: Mapping[str, Any],
    labels: Mapping[str, tuple[str, ...]],
) -> CausalGraph:
    nodes = list(dict.fromkeys(nodes))
    if marked := [v for v in nodes if v.endswith("′")]:
        raise InputError(f"The name {marked[0]} ends in ′, which marks summed copies; rename it.")
    if not nodes:
        raise InputError("The graph is empty; write edges as S->T; T->C; S<->C.")
    for edges, arrow in ((directed, "->"), (bidirected, "<->")):
        seen: set[Any] = set()
        for u, v in edges:
            if u == v:
                raise InputError(f"{u}{arrow}{u} joins a variable to itself; leave that edge out.")
            edge = (u, v) if arrow == "->" else frozenset((u, v))
            if edge in seen:
                raise InputError(f"The edge {u}{arrow}{v} is given twice; give it once.")
            seen.add(edge)
    if unknown := sorted(hidden - set(nodes)):
        raise InputError(f"Hidden variable {unknown[0]!r} is not in the graph, which has {', '.join(nodes)}.")
    # A hidden cause stands just before the first of its two effects.
    place: dict[str, float] = {v: float(k) for k, v in enumerate(nodes)}
    edges = list(directed)
    for u, v in bidirected:
        name = f"{u}↔{v}"
        place[name] = min(place[u], place[v]) - 0.5
        hidden = hidden | {name}
        edges = [(name, u), (name, v), *edges]
    graph = nx.DiGraph()
    graph.add_nodes_from(place)
    graph.add_edges_from(edges)
    if not nx.is_directed_acyclic_graph(graph):
        cycle = [u for u, _ in nx.find_cycle(graph)]
        raise InputError(
            f"The graph has a cycle: {' -> '.join([*cycle, cycle[0]])}. A cause cannot be its own effect; reverse or "
            "leave out one of these edges, or give variables of different times different names."
        )
    if not set(nodes) - hidden:
        raise InputError("Every variable of the graph is hidden; at least two must be observed.")
    order = nx.lexicographical_topological_sort(graph, key=place.__getitem__)
    parents = {v: tuple(u for u, w in edges if w == v) for v in order}
    return CausalGraph(parents, frozenset(hidden), tables or None, labels or None)


# Latent projection ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Projection:
    """Observed variables only: directed edges, and a bidirected edge for each pair that shares a hidden cause.

    Attributes
    ----------
    parents : variable -> parents; variables in causal order
    confounders : {pair} -> the hidden variables they share
    """

    parents: Mapping[str, tuple[str, ...]]
    confounders: Mapping[frozenset[str], tuple[str, ...]]

    @property
    def order(self) -> tuple[str, ...]:
        """The variables in causal order."""
        return tuple(self.parents)

    def children(self, variable: str) -> tuple[str, ...]:
        """Variables with an edge from ``variable``."""
        return tuple(v for v, parents in self.parents.items() if variable in parents)

    def ancestors(self, targets: Iterable[str]) -> tuple[str, ...]:
        """The targets and everything with a directed path to one, in causal order."""
        ancestors: set[str] = set()
        stack = list(targets)
        while stack:
            v = stack.pop()
            if v not in ancestors:
                ancestors.add(v)
                stack.extend(self.parents[v])
        return tuple(v for v in self.parents if v in ancestors)

    def restricted(self, keep: Iterable[str]) -> Projection:
        """The part on ``keep``: right for a set that holds all its ancestors, or after a cut of the rest."""
        kept = set(keep)
        return Projection(
            {v: tuple(u for u in of if u in kept) for v, of in self.parents.items() if v in kept},
            {pair: by for pair, by in self.confounders.items() if pair <= kept},
        )

    def component(self, variable: str) -> tuple[str, ...]:
        """The c-component: variables reached from ``variable`` by bidirected edges, it included, in causal order."""
        members = nx.node_connected_component(self._bidirected, variable)
        return tuple(v for v in self.parents if v in members)

    def confounded_path(self, start: str, end: str) -> list[tuple[str, str, tuple[str, ...]]]:
        """A shortest path of bidirected edges: (from, to, the hidden variables they share)."""
        path = nx.shortest_path(self._bidirected, start, end)
        return [(u, v, self.confounders[frozenset((u, v))]) for u, v in itertools.pairwise(path)]

    @cached_property
    def _bidirected(self) -> nx.Graph:
        graph = nx.Graph()
        graph.add_nodes_from(self.parents)
        graph.add_edges_from(tuple(pair) for pair in self.confounders)
        return graph
