"""A causal model as a user writes it: a graph with hidden variables, its diagram, surgery and meaning."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import networkx as nx
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from groundshift.discovery.surgery.combs import Cut, Identification, identify_in
from groundshift.discovery.surgery.graphs import CausalGraph, read_graph
from groundshift.errors import InputError

if TYPE_CHECKING:
    from discopy import markov

__all__ = ["Interpretation", "Model", "Table", "counterfactual", "identify"]

Array = NDArray[np.float64]
Names = str | Sequence[str]


@dataclass(frozen=True)
class Table:
    """A channel as an array whose axes have names: P(outputs | inputs).

    Attributes
    ----------
    array : shape (*inputs, *outputs)
    inputs, outputs : names of the axes
    labels : name -> its values
    """

    array: Array
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    labels: Mapping[str, Sequence[Any]]

    @property
    def names(self) -> tuple[str, ...]:
        """Of all axes."""
        return (*self.inputs, *self.outputs)

    def to_frame(self) -> pd.DataFrame:
        """One row per cell: the values of each axis and ``p``."""
        index = pd.MultiIndex.from_product([self.labels[n] for n in self.names], names=list(self.names))
        return pd.DataFrame({"p": self.array.ravel()}, index=index).reset_index()


class Model:
    """A causal model: an acyclic graph, some of whose variables are hidden.

    Parameters
    ----------
    graph : edges as text (``"S->T; T->C; S<->C"``), DOT or GML text, the path of a .dot, .gml or .bif file, a
        networkx DiGraph or a pgmpy network
    hidden : names of variables without data

    Raises
    ------
    InputError
        See `groundshift.discovery.surgery.read_graph`.

    Examples
    --------
    >>> model = Model("H->S; H->C; S->T; T->C", hidden=["H"])
    >>> model.condition("S").possible
    True
    >>> model.condition("S").component
    ('S', 'C')
    """

    def __init__(self, graph: Any, hidden: Iterable[str] = ()) -> None:
        self.graph: CausalGraph = graph.graph if isinstance(graph, Model) else read_graph(graph, hidden)

    @property
    def observed(self) -> tuple[str, ...]:
        """Variables with data, in causal order."""
        return self.graph.observed

    @property
    def hidden(self) -> tuple[str, ...]:
        """Variables without data, in causal order."""
        return tuple(v for v in self.graph.parents if v in self.graph.hidden)

    def parents(self, variable: str) -> tuple[str, ...]:
        """In the order of the axes of its table."""
        return self.graph.parents[self._known(variable)]

    def to_networkx(self) -> nx.DiGraph:
        """The graph, with the node attribute ``hidden``."""
        graph = nx.DiGraph()
        graph.add_nodes_from((v, {"hidden": v in self.graph.hidden}) for v in self.graph.parents)
        graph.add_edges_from((p, v) for v, of in self.graph.parents.items() for p in of)
        return graph

    def __repr__(self) -> str:
        edges = "; ".join(f"{p}->{v}" for v, of in self.graph.parents.items() for p in of)
        return f"Model({edges!r}, hidden={list(self.hidden)})"

    # Syntax

    def diagram(self, observed: Sequence[str] | None = None) -> markov.Diagram:
        """The network diagram, a ``discopy.markov.Diagram``.

        Parameters
        ----------
        observed : outputs, in this order; all observed variables by default

        Raises
        ------
        InputError
            An unknown variable, or a hidden one among the outputs.

        Examples
        --------
        >>> [str(x) for x in Model("S->T; T->C; S<->C").diagram(["C", "S"]).cod]
        ['C', 'S']
        """
        from groundshift.discovery.surgery.diagrams import network_diagram

        return network_diagram(self.graph, None if observed is None else self._seen(observed, "an output"))

    def cut(
        self, variables: Names | Mapping[str, Any], labels: Mapping[str, Sequence[Any]] | None = None
    ) -> Any:
        """The surgery cut_A as a functor from diagrams to diagrams.

        Parameters
        ----------
        variables : names: each box becomes the uniform state; or variable -> value: it becomes that point
        labels : variable -> its values, in the order of the axes; 0, 1, ... by default

        Examples
        --------
        >>> model = Model("S->T; T->C; S<->C")
        >>> after = model.cut("S")(model.diagram())
        >>> [box.name for box in after.boxes if box.name.startswith("uniform")]
        ['uniform(S)']
        """
        from groundshift.discovery.surgery.diagrams import cut_functor

        return cut_functor(self.graph, self._states(variables, labels or {}))

    def _states(
        self, variables: Names | Mapping[str, Any], labels: Mapping[str, Sequence[Any]]
    ) -> dict[str, markov.Box]:
        from groundshift.discovery.surgery.diagrams import point_state, uniform_state

        if not isinstance(variables, Mapping):
            names = [variables] if isinstance(variables, str) else variables
            return {v: uniform_state(self._known(v)) for v in names}
        states = {}
        for v, value in variables.items():
            known = labels.get(self._known(v))
            states[v] = point_state(v, value, int(value) if known is None else place_of(value, known, v))
        return states

    def draw(self, out: str | Path, cut: Names | Mapping[str, Any] = (), target: Names | None = None) -> Path:
        """Draw the diagram; with ``cut``, before and after the surgery, and simplified by the affine law.

        Boxes of the comb are green, states that surgery puts in are red.

        Parameters
        ----------
        out : .png, .svg or .pdf file
        target : outputs of the simplified diagram; by default all observed variables

        Raises
        ------
        InputError
            Unknown variables, another kind of file.
        """
        from groundshift.discovery.surgery.diagrams import draw

        return draw(self.diagrams(cut, target), out)

    def diagrams(
        self, cut: Names | Mapping[str, Any] = (), target: Names | None = None
    ) -> list[tuple[str, markov.Diagram]]:
        """The network, the network after surgery, and what is left of it for the targets: (title, diagram)."""
        from groundshift.discovery.surgery.diagrams import titled_diagrams

        names = [cut] if isinstance(cut, str) else list(cut)
        for name in names:
            self._known(name)
        tied = [v for name in names if name in self.observed for v in self.condition(name).component]
        wanted = (
            None
            if target is None
            else self._seen([target] if isinstance(target, str) else target, "the target")
        )
        return titled_diagrams(self.graph, names, wanted, tied, self._states(cut, {}))

    # Condition

    def condition(self, variable: str) -> Cut:
        """Whether combs give the effect of ``variable`` on all others: its c-component, and a child inside, if any.

        Returns
        -------
        Cut : with ``possible``, ``component``, ``child`` and ``path``
        """
        (name,) = self._seen([variable], "an intervention")
        rest = [v for v in self.observed if v != name]
        return identify_in(self.graph, [name], rest).cuts[-1]

    # Meaning

    def interpret(
        self, tables: Mapping[str, Any] | None = None, labels: Mapping[str, Sequence[Any]] | None = None
    ) -> Interpretation:
        """The functor to stochastic matrices that these tables are.

        Parameters
        ----------
        tables : variable -> P(variable | parents): an array of shape (*parents, variable), or a frame whose
            columns are the values of the variable and whose index levels are its parents; None for those of a
            BIF file
        labels : variable -> its values; 0, 1, ... by default, or those of the frames

        Raises
        ------
        InputError
            A table that is missing, of a wrong shape, negative, or with a row that does not sum to one.

        Examples
        --------
        >>> F = Model("A->B").interpret({"A": [0.5, 0.5], "B": [[0.9, 0.1], [0.2, 0.8]]})
        >>> F(F.model.diagram(["B"])).array
        array([0.55, 0.45])
        """
        if tables is None:
            tables, labels = self.graph.tables, self.graph.labels
        if tables is None:
            raise InputError("No tables were given, and the graph came without any; give one per variable.")
        arrays, known = _arrays_of(self.graph, tables, dict(labels or {}))
        return Interpretation(self, arrays, known)

    def _known(self, variable: str) -> str:
        if variable not in self.graph.parents:
            raise InputError(
                f"There is no variable {variable!r}; the graph has {', '.join(self.graph.parents)}."
            )
        return variable

    def _seen(self, variables: Iterable[str], what: str) -> tuple[str, ...]:
        names = tuple(variables)
        for v in names:
            if self._known(v) in self.graph.hidden:
                raise InputError(
                    f"{v} is hidden, and cannot be {what}. Observed are {', '.join(self.observed)}."
                )
        if doubled := {v for v in names if names.count(v) > 1}:
            raise InputError(f"{sorted(doubled)[0]} is named twice; name it once.")
        return names


class Interpretation:
    """F: a Bayesian network as a functor from diagrams to stochastic matrices.

    Attributes
    ----------
    tables : variable -> array (*parents, variable)
    labels : variable -> its values
    """

    def __init__(
        self, model: Model, tables: Mapping[str, Array], labels: Mapping[str, Sequence[Any]]
    ) -> None:
        self.model, self.tables, self.labels = model, tables, labels

    @property
    def sizes(self) -> dict[str, int]:
        """Number of values of each variable."""
        return {v: len(values) for v, values in self.labels.items()}

    def __call__(self, diagram: markov.Diagram) -> Table:
        """The channel that a diagram stands for, by one compiled contraction."""
        from groundshift.discovery.surgery.diagrams import compiled

        return self._named(diagram, compiled(diagram, self.sizes)(self.tables))

    def by_functor(self, diagram: markov.Diagram) -> Table:
        """The same by DisCoPy's own functor, box by box."""
        from groundshift.discovery.surgery.diagrams import tensor_functor

        tensor = tensor_functor(self.tables, self.sizes)(diagram)
        return self._named(diagram, np.asarray(tensor.array, dtype=float))

    def intervened(self, do: Names | Mapping[str, Any], target: Names) -> Table:
        """P(target | do) with all tables known, hidden ones included: cut, then condition on what was set.

        Examples
        --------
        >>> F = Model("A->B").interpret({"A": [0.5, 0.5], "B": [[0.9, 0.1], [0.2, 0.8]]})
        >>> F.intervened("A", "B").array
        array([[0.9, 0.1],
               [0.2, 0.8]])
        """
        names, wanted = query_names(self.model, do, target)
        if isinstance(do, Mapping):
            after = self.model.cut(do, self.labels)(self.model.diagram(wanted))
            return self(after)
        after = self(self.model.cut(names)(self.model.diagram((*names, *wanted))))
        array = after.array / after.array.sum(tuple(range(len(names), after.array.ndim)), keepdims=True)
        return Table(array, names, wanted, self.labels)

    def _named(self, diagram: markov.Diagram, array: Array) -> Table:
        return Table(
            array, tuple(str(x) for x in diagram.dom), tuple(str(x) for x in diagram.cod), self.labels
        )


def _arrays_of(
    graph: CausalGraph, tables: Mapping[str, Any], labels: dict[str, Sequence[Any]]
) -> tuple[dict[str, Array], dict[str, Sequence[Any]]]:
    missing = [v for v in graph.parents if v not in tables]
    if missing:
        raise InputError(f"No table for {', '.join(missing)}; each variable, hidden or not, needs one.")
    if unknown := [v for v in tables if v not in graph.parents]:
        raise InputError(f"A table for {unknown[0]!r} was given, which is not in the graph.")
    for v in graph.parents:
        if isinstance(tables[v], pd.DataFrame):
            labels.setdefault(v, list(tables[v].columns))
        elif v not in labels:
            labels[v] = list(range(np.shape(tables[v])[-1]))
    arrays = {}
    for v, parents in graph.parents.items():
        table = tables[v]
        array = _from_frame(v, table, parents, labels) if isinstance(table, pd.DataFrame) else table
        arrays[v] = _stochastic(v, np.asarray(array, dtype=float), parents, labels)
    return arrays, labels


def _from_frame(
    v: str, frame: pd.DataFrame, parents: Sequence[str], labels: Mapping[str, Sequence[Any]]
) -> Array:
    if not parents:
        return frame[list(labels[v])].to_numpy(dtype=float).reshape(-1)
    if set(frame.index.names) != set(parents):
        raise InputError(
            f"The frame for {v} has index levels {list(frame.index.names)}; its parents are {', '.join(parents)}."
        )
    if len(parents) > 1:
        frame = frame.reorder_levels(list(parents))
        rows: pd.Index[Any] = pd.MultiIndex.from_product([labels[p] for p in parents])
    else:
        rows = pd.Index(labels[parents[0]])
    wanted = frame.reindex(rows)[list(labels[v])]
    if wanted.isna().any(axis=None):
        raise InputError(f"The frame for {v} lacks the row {wanted.index[wanted.isna().any(axis=1)][0]}.")
    return wanted.to_numpy(dtype=float).reshape([*(len(labels[p]) for p in parents), len(labels[v])])


def _stochastic(v: str, array: Array, parents: Sequence[str], labels: Mapping[str, Sequence[Any]]) -> Array:
    needed = tuple(len(labels[u]) for u in (*parents, v))
    if array.shape != needed:
        axes = ", ".join((*parents, v))
        raise InputError(f"The table of {v} has shape {array.shape}; {needed} is needed, for axes ({axes}).")
    sums = array.sum(-1)
    bad = np.argwhere(np.abs(sums - 1) > 1e-8)
    if len(bad):
        row = ", ".join(f"{p}={labels[p][k]}" for p, k in zip(parents, bad[0], strict=True)) or "only row"
        raise InputError(
            f"The table of {v} does not sum to 1 over {v}: {row} sums to {sums[tuple(bad[0])]:.6g}. Divide "
            f"the row by its sum, or check the order of axes: {', '.join((*parents, v))}."
        )
    if (array < 0).any():
        raise InputError(f"The table of {v} has a negative entry; probabilities are at least 0.")
    return array


def place_of(value: Any, known: Sequence[Any], variable: str) -> int:
    """Where a value stands among those of a variable; "1" finds 1, as on the command line."""
    exact = [k for k, label in enumerate(known) if label == value]
    places = exact or [k for k, label in enumerate(known) if str(label) == str(value)]
    if not places:
        shown = ", ".join(map(str, known[:10]))
        raise InputError(
            f"{variable} has no value {value!r}; it has {shown}{', …' if len(known) > 10 else ''}."
        )
    return places[0]


def query_names(
    model: Model, do: Names | Mapping[str, Any], target: Names
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What is set and what is asked for, checked."""
    names = model._seen([do] if isinstance(do, str) else do, "an intervention")
    wanted = model._seen([target] if isinstance(target, str) else target, "the target")
    if not names or not wanted:
        raise InputError("Name at least one variable to set and one target.")
    if both := [v for v in wanted if v in names]:
        raise InputError(f"{both[0]} is both set and the target; what is set has no effect to be asked for.")
    return names, wanted


# Queries -------------------------------------------------------------------------------------------------


def identify(
    model: Any,
    do: Names | Mapping[str, Any],
    target: Names,
    *,
    hidden: Sequence[str] = (),
    complete: bool = False,
) -> Identification:
    """Can P(target | do) be computed from the observed variables alone?

    Parameters
    ----------
    model : a graph
        Edges as 'S->T; T->C; S<->C' (<-> is a hidden common cause), or a .dot, .gml or .bif file. In Python a `Model`,
        or anything it takes.
    do : what is set; several variables as A,B
    target : what is asked for, as C or C,D
    hidden : variables of the graph without data, as U,V
    complete : continue with the complete algorithm, which decides every case, where no comb exists

    Returns
    -------
    Identification : ``computable``, ``formula``, ``derivation``, ``cuts`` with the c-component and the offending child

    Examples
    --------
    >>> print(identify("S->T; T->C; S<->C", "S", "C").formula)
    P(C | do(S)) = Σ_{S′, T} P(S′) P(T | S) P(C | S′, T)
    >>> identify("X->Y; X<->Y", "X", "Y").cuts[0].child
    'Y'
    """
    model = model_of(model, hidden)
    return identify_in(model.graph, *query_names(model, settings_of(do), target), complete=complete)


def model_of(model: Any, hidden: Sequence[str] = ()) -> Model:
    """A `Model` of whatever it takes."""
    if not isinstance(model, Model):
        return Model(model, hidden)
    if hidden:
        raise InputError("The model says itself which variables are hidden; give their names to Model(...).")
    return model


def settings_of(do: Names | Mapping[str, Any]) -> Names | Mapping[str, Any]:
    """Variables that are set; a list of "S=1" is read as a mapping of values.

    Raises
    ------
    InputError
        Some have a value and others have none.
    """
    if isinstance(do, Mapping):
        return do
    parts = [part.partition("=") for part in ([do] if isinstance(do, str) else do)]
    valued = [bool(sign) for _, sign, _ in parts]
    if any(valued) and not all(valued):
        words = " ".join("".join(part) for part in parts)
        raise InputError(f"{words} mixes names and values; give a value to each (S=1), or to none.")
    if any(valued):
        return {name.strip(): value.strip() for name, _, value in parts}
    return [name.strip() for name, _, _ in parts]


def counterfactual(
    model: Any,
    tables: Mapping[str, Any] | None,
    *,
    given: Mapping[str, Any],
    do: Mapping[str, Any],
    target: Names,
    labels: Mapping[str, Sequence[Any]] | None = None,
) -> Table:
    """P(target would have been … had ``do`` been set | ``given`` was seen), by the twinned network.

    The diagram is drawn twice with shared exogenous states; the second copy is cut, the first is conditioned
    on what was seen (Jacobs, Kissinger and Zanasi, journal version, 2021).

    Parameters
    ----------
    tables : as in `Model.interpret`; each variable with parents must be a function of them (entries 0 and 1),
        all randomness in roots, hidden ones included: otherwise the tables do not tell what two worlds share
    given, do : variable -> value

    Returns
    -------
    Table : inputs (), outputs ``target``

    Raises
    ------
    InputError
        A variable with parents that is not a function of them; ``given`` of probability zero.

    Examples
    --------
    >>> xor = [[[1, 0], [0, 1]], [[0, 1], [1, 0]]]
    >>> tables = {"X": [0.5, 0.5], "U": [0.7, 0.3], "Y": xor}
    >>> counterfactual("X->Y; U->Y", tables, given={"X": 1, "Y": 1}, do={"X": 0}, target="Y").array
    array([1., 0.])
    """
    from groundshift.discovery.surgery.diagrams import twin_diagram

    model = model_of(model)
    F = model.interpret(tables, labels)
    names, wanted = query_names(model, do, target)
    for v, parents in model.graph.parents.items():
        if parents and not np.isin(F.tables[v], (0.0, 1.0)).all():
            raise InputError(
                f"{v} is not a function of its parents (its table has entries between 0 and 1), so what two worlds "
                f"share is not told. Give {v} a hidden parent that holds its randomness, and a table of zeros and ones."
            )
    seen = model._seen(given, "seen")
    states = model._states({v: do[v] for v in names}, F.labels)
    joint = F(twin_diagram(model.graph, states, seen, wanted)).array
    places = tuple(place_of(given[v], F.labels[v], v) for v in seen)
    left = joint[places]
    if left.sum() <= 0:
        raise InputError(
            f"What is given, {', '.join(f'{v}={x}' for v, x in given.items())}, has probability 0 in this model."
        )
    return Table(left / left.sum(), (), wanted, F.labels)
