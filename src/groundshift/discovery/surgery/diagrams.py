"""String diagrams of causal models: the network diagram, its surgery, and what it means in tables.

The free CDU category on a graph has one box per variable; copy, discard and the uniform state are given. A Bayesian
network is a functor from it to stochastic matrices; an intervention is a functor from it to itself that replaces a
box. Diagrams are DisCoPy's: so are their composition, drawing and equality (of hypergraphs: two drawings of one
morphism differ).
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import opt_einsum
from discopy import markov, tensor
from discopy.drawing.backend import Matplotlib
from numpy.typing import NDArray

from groundshift.discovery.surgery.graphs import CausalGraph
from groundshift.errors import InputError
from groundshift.writing import new_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "compiled",
    "cut_functor",
    "draw",
    "draw_on",
    "network_diagram",
    "point_state",
    "simplified",
    "tensor_functor",
    "titled_diagrams",
    "twin_diagram",
    "uniform_state",
]

Array = NDArray[np.float64]
Wired = tuple[Any, Sequence[str], Sequence[str]]
"""A box, the names of the wires it reads, and of those it makes."""


# Syntax --------------------------------------------------------------------------------------------------


def box_of(graph: CausalGraph, variable: str, colour: str = "white") -> markov.Box:
    """The box that makes ``variable`` from its parents."""
    parents = [markov.Ty(p) for p in graph.parents[variable]]
    box = markov.Box(
        variable, functools.reduce(lambda x, y: x @ y, parents, markov.Ty()), markov.Ty(variable)
    )
    box.color, box.drawing_name = colour, variable.replace("↔", "↔\n")
    return box


def uniform_state(variable: str) -> markov.Box:
    """The uniform state: every value possible, none preferred."""
    return _state(f"uniform({variable})", variable)


def point_state(variable: str, value: Any, index: int) -> markov.Box:
    """The state that is one value for certain; ``index`` is that value's place on the axis."""
    box = _state(f"{variable}={value}", variable)
    box.data = index
    return box


def _state(name: str, variable: str) -> markov.Box:
    box = markov.Box(name, markov.Ty(), markov.Ty(variable))
    box.color, box.drawing_name = "red", name.removesuffix(f"({variable})")
    return box


def assemble(boxes: Iterable[Wired], outputs: Sequence[str]) -> markov.Diagram:
    """The diagram of boxes that are joined by named wires: copies, discards and crossings where they are needed.

    Each wire is copied when it is made, once for each use. Wires are typed by their names up to primes.
    """
    boxes = list(boxes)
    uses = Counter(name for _, reads, _ in boxes for name in reads) + Counter(outputs)
    wires: list[str] = []
    diagram = markov.Id(markov.Ty())
    for box, reads, makes in boxes:
        diagram, wires, at = _gathered(diagram, wires, reads)
        output_wires = [name for name in makes for _ in range(uses[name])]
        copies = markov.Id(markov.Ty())
        for k, name in enumerate(makes):
            wire = box.cod[k : k + 1]
            copies = copies @ (markov.Id(wire) if uses[name] == 1 else markov.Copy(wire, uses[name]))
        end = at + len(reads)
        diagram = diagram >> diagram.cod[:at] @ (box >> copies) @ diagram.cod[end:]
        wires = [*wires[:at], *output_wires, *wires[end:]]
    return _gathered(diagram, wires, outputs)[0]


def _gathered(
    diagram: markov.Diagram, wires: list[str], names: Sequence[str]
) -> tuple[markov.Diagram, list[str], int]:
    """Bring one copy of each named wire side by side, in order, where the first of them is."""
    at = wires.index(names[0]) if names else len(wires)
    if len(names) == len(wires):
        at = 0
    for k, name in enumerate(names):
        free = [j for j, wire in enumerate(wires) if wire == name and not at <= j < at + k]
        j = min(free, key=lambda j: abs(j - at - k))
        cod = diagram.cod
        if j < at:  # comes from the left, past what is gathered already
            diagram = (
                diagram >> cod[:j] @ markov.Diagram.swap(cod[j : j + 1], cod[j + 1 : at + k]) @ cod[at + k :]
            )
            wires = [*wires[:j], *wires[j + 1 : at + k], wires[j], *wires[at + k :]]
            at -= 1
        elif j > at + k:
            diagram = (
                diagram >> cod[: at + k] @ markov.Diagram.swap(cod[at + k : j], cod[j : j + 1]) @ cod[j + 1 :]
            )
            wires = [*wires[: at + k], wires[j], *wires[at + k : j], *wires[j + 1 :]]
    return diagram, wires, at


def network_diagram(
    graph: CausalGraph, observed: Sequence[str] | None = None, comb: Iterable[str] = ()
) -> markov.Diagram:
    """Every box once in causal order, each wire copied to its children and, where observed, to an output.

    Parameters
    ----------
    observed : outputs, in this order; by default all observed variables
    comb : variables whose boxes are coloured
    """
    outputs = graph.observed if observed is None else tuple(observed)
    shaded = set(comb)
    boxes = [
        (box_of(graph, v, "green" if v in shaded else "white"), of, (v,)) for v, of in graph.parents.items()
    ]
    return assemble(boxes, outputs)


# Surgery -------------------------------------------------------------------------------------------------


def cut_functor(graph: CausalGraph, states: Mapping[str, markov.Box]) -> markov.Functor:
    """cut_A: the identity on objects and boxes, except that box a becomes: discard its inputs, then this state."""

    def replaced(box: markov.Box) -> markov.Diagram:
        state = states.get(box.name) if box.name in graph.parents else None
        return box if state is None else markov.Diagram.copy(box.dom, 0) >> state

    return markov.Functor(ob=lambda x: x, ar=replaced)


def simplified(diagram: markov.Diagram) -> markov.Diagram:
    """The affine law as a step of its own: boxes whose outputs are all discarded go, until none is left.

    The free CDU category does not know this law; stochastic matrices obey it.
    """
    graph = diagram.to_hypergraph()
    boxes = list(zip(graph.boxes, graph.box_wires, strict=True))
    while True:
        used = {w for _, (reads, _) in boxes for w in reads} | set(graph.cod_wires)
        needed = [(box, wires) for box, wires in boxes if used & set(wires[1])]
        if len(needed) == len(boxes):
            break
        boxes = needed
    wired = [(box, [str(w) for w in reads], [str(w) for w in makes]) for box, (reads, makes) in boxes]
    return assemble(wired, [str(w) for w in graph.cod_wires])


def twin_diagram(
    graph: CausalGraph,
    states: Mapping[str, markov.Box],
    factual: Sequence[str],
    counterfactual: Sequence[str],
) -> markov.Diagram:
    """Two copies of the diagram that share their exogenous states; the second one is cut.

    Outputs: ``factual`` of the first copy, then ``counterfactual`` of the second.
    """
    roots = {v for v, parents in graph.parents.items() if not parents}

    def second(v: str) -> str:
        return v if v in roots and v not in states else f"{v}*"

    boxes: list[Wired] = [(box_of(graph, v), of, (v,)) for v, of in graph.parents.items()]
    for v, of in graph.parents.items():
        if v in states:
            boxes.append((states[v], (), (second(v),)))
        elif v not in roots:
            boxes.append((box_of(graph, v), [second(p) for p in of], (second(v),)))
    return assemble(boxes, [*factual, *map(second, counterfactual)])


# Meaning -------------------------------------------------------------------------------------------------


def tensor_functor(tables: Mapping[str, Array], sizes: Mapping[str, int]) -> markov.Functor:
    """F: the functor to stochastic matrices, evaluated by DisCoPy; row-stochastic, inputs first."""

    def array(box: markov.Box) -> tensor.Tensor:
        dom, cod = (tensor.Dim(*(sizes[str(x)] for x in side)) for side in (box.dom, box.cod))
        return tensor.Tensor[float](_array_of(box, tables, sizes), dom, cod)

    return markov.Functor(
        ob=lambda x: tensor.Dim(sizes[str(x)]),
        ar=array,
        cod=markov.Category(tensor.Dim, tensor.Tensor[float]),
    )


def _array_of(box: markov.Box, tables: Mapping[str, Array], sizes: Mapping[str, int]) -> Array:
    if box.name in tables:
        return tables[box.name]
    size = sizes[str(box.cod[0])]
    if box.name.startswith("uniform("):
        return np.full(size, 1 / size)
    return np.eye(size)[box.data]


def compiled(diagram: markov.Diagram, sizes: Mapping[str, int]) -> Callable[[Mapping[str, Array]], Array]:
    """One einsum for a whole diagram: each wire is an index, copies share it, discards sum it.

    Parameters
    ----------
    diagram : of boxes, copies, discards and swaps
    sizes : number of values of each variable

    Returns
    -------
    tables -> array with an axis per input, then one per output; the contraction order is found once
    """
    operands: list[tuple[Any, tuple[int, ...]]] = []
    wires = list(range(len(diagram.dom)))
    count = len(wires)
    size_of = {k: sizes[str(x)] for k, x in enumerate(diagram.dom)}
    inputs = list(wires)
    for box, at in zip(diagram.boxes, diagram.offsets, strict=True):
        end = at + len(box.dom)
        reads = wires[at:end]
        if isinstance(box, markov.Swap):
            makes = reads[::-1]
        elif isinstance(box, markov.Copy):
            makes = reads * len(box.cod)
        else:
            makes = list(range(count, count + len(box.cod)))
            size_of |= {k: sizes[str(x)] for k, x in zip(makes, box.cod, strict=True)}
            count += len(makes)
            operands.append((box, (*reads, *makes)))
        wires = [*wires[:at], *makes, *wires[end:]]
    # An output that repeats an index, or is an input, gets an index of its own; an input that is discarded counts.
    out = list(inputs)
    for wire in wires:
        if wire in out:
            operands.append((np.eye(size_of[wire]), (wire, count)))
            size_of[count] = size_of[wire]
            wire, count = count, count + 1
        out.append(wire)
    seen = {k for _, indices in operands for k in indices}
    operands += [(np.ones(size_of[k]), (k,)) for k in inputs if k not in seen]
    symbols = {k: opt_einsum.get_symbol(k) for k in size_of}
    terms = ["".join(symbols[k] for k in indices) for _, indices in operands]
    shapes = [tuple(size_of[k] for k in indices) for _, indices in operands]
    expression = opt_einsum.contract_expression(
        f"{','.join(terms)}->{''.join(symbols[k] for k in out)}", *shapes
    )

    def evaluate(tables: Mapping[str, Array]) -> Array:
        arrays = [op if isinstance(op, np.ndarray) else _array_of(op, tables, sizes) for op, _ in operands]
        return np.asarray(expression(*arrays))

    return evaluate


# Drawing -------------------------------------------------------------------------------------------------


def titled_diagrams(
    graph: CausalGraph,
    names: Sequence[str],
    target: Sequence[str] | None,
    comb: Iterable[str],
    states: Mapping[str, markov.Box] | None = None,
) -> list[tuple[str, markov.Diagram]]:
    """The network, the network after surgery, and what is left of it for the targets: (title, diagram).

    Parameters
    ----------
    names : variables that are cut
    target : outputs of the last diagram, which is left out for None
    comb : variables whose boxes are coloured
    states : what takes the place of each cut box; by default the uniform state
    """
    comb = list(comb)
    before = network_diagram(graph, comb=comb)
    if not names:
        return [("The network", before)]
    surgery = cut_functor(graph, states or {v: uniform_state(v) for v in names})
    titled = [("The network", before), (f"After cutting {', '.join(names)}", surgery(before))]
    if target is not None:
        outputs = [*(n for n in names if n not in target), *target]
        left = surgery(network_diagram(graph, outputs, comb=comb))
        titled.append((f"What is left for {', '.join(target)}", simplified(left)))
    return titled


def draw(diagrams: Sequence[tuple[str, markov.Diagram]], out: str | Path) -> Path:
    """Draw titled diagrams side by side to a new .png, .svg or .pdf file.

    Raises
    ------
    InputError
        Another kind of file, or one that is there already.
    """
    from matplotlib.figure import Figure

    out = Path(out)
    if out.suffix not in (".png", ".svg", ".pdf"):
        raise InputError(f"{out} is no .png, .svg or .pdf file; name one of these.")
    drawings = [diagram.to_drawing() for _, diagram in diagrams]
    inch, fontsize = _scale([diagram for _, diagram in diagrams])
    widths = [max(2.0, float(drawing.width)) for drawing in drawings]
    height = max(2.0, float(max(drawing.height for drawing in drawings)))
    figure = Figure(figsize=(inch * sum(widths), 0.7 * height), layout="constrained")
    axes = figure.subplots(1, len(drawings), squeeze=False, width_ratios=widths)[0]
    for ax, (title, diagram) in zip(axes, diagrams, strict=True):
        draw_on(diagram, ax, fontsize)
        ax.set_title(title, fontsize=12)
    with new_file(out) as draft:
        figure.savefig(draft, dpi=120)
    return out


def draw_on(diagram: markov.Diagram, ax: Axes, fontsize: float = 8) -> None:
    """Draw a diagram on the axes of a figure."""
    from matplotlib.colors import to_rgba

    drawing = diagram.to_drawing()
    backend = Matplotlib(axis=ax)
    drawing.add_box_corners()
    backend.draw_wires(drawing, fontsize=0.8 * fontsize)
    backend.draw_boxes(drawing, fontsize=fontsize)
    # Labels of copies are empty, and would be drawn on whatever figure is current.
    backend.draw_spiders(drawing, draw_box_labels=False, nodesize=0.12)
    for patch in ax.patches:  # names are legible on a light and on a dark page
        red, green, blue, _ = to_rgba(patch.get_facecolor())
        patch.set_facecolor((red, green, blue, 0.0 if red == green == blue else 0.4))
    ax.set_axis_off()
    ax.autoscale_view()


def _scale(diagrams: Sequence[markov.Diagram]) -> tuple[float, float]:
    """Inches for one wire, of which the narrowest box takes half, and the size of type that fits its longest name."""
    names = {str(x) for diagram in diagrams for box in diagram.boxes for x in box.cod} | {"uniform"}
    longest = max(len(part) for name in names for part in name.split("↔"))
    inch = min(2.0, 0.2 * longest)
    return inch, 12 * inch / (0.2 * longest)
