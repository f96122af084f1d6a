"""Comb disintegration: what an intervention does, from the observed distribution alone, and when that is possible.

A comb is a box with a gap: one tooth makes A, the other takes B and makes C, and a hidden wire joins them. Whatever
makes A and shares hidden causes with it goes into the comb; the rest is plugged into the gap. To cut A is then to
discard the output of the first tooth.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from groundshift.discovery.surgery.graphs import CausalGraph, Projection
from groundshift.errors import InputError
from groundshift.report import Report, Section
from groundshift.result import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "Cut",
    "Identification",
    "Term",
    "comb_disintegrate",
    "cut_joint",
    "disintegrate",
    "identify_in",
    "plug",
]

PRIME = "′"
Array = NDArray[np.float64]


# Disintegration of arrays --------------------------------------------------------------------------------


def disintegrate(omega: ArrayLike, inputs: int) -> Array:
    """The channel c with ω(x, y) = ω(x) c(y | x).

    Parameters
    ----------
    omega : joint distribution; its first ``inputs`` axes are x

    Raises
    ------
    InputError
        Some x has probability zero, so that c is not unique.

    Examples
    --------
    >>> disintegrate([[0.1, 0.3], [0.3, 0.3]], 1)
    array([[0.25, 0.75],
           [0.5 , 0.5 ]])
    """
    omega = np.asarray(omega, dtype=float)
    marginal = omega.sum(tuple(range(inputs, omega.ndim)), keepdims=True)
    if (marginal <= 0).any():
        cell = tuple(int(k) for k in np.argwhere(marginal <= 0)[0][:inputs])
        raise InputError(
            f"The cell {cell} of the first {inputs} axes has probability 0, so nothing can be conditioned on it. Merge "
            "values, or collect rows there."
        )
    return omega / marginal


def comb_disintegrate(omega: ArrayLike) -> tuple[Array, Array]:
    """The unique 2-comb f and channel g that a state on A ⊗ B ⊗ C is made of (Jacobs, Kissinger, Zanasi, section 5).

    g(b | a) = ω(a, b) / ω(a) and f(a, c | b) = ω(a) ω(c | a, b), so that ω(a, b, c) = f(a, c | b) g(b | a).

    Parameters
    ----------
    omega : shape (A, B, C), positive on (A, B)

    Returns
    -------
    f : shape (B, A, C), input first
    g : shape (A, B)

    Examples
    --------
    >>> from groundshift.worlds.causal_networks import smoking_table
    >>> f, g = comb_disintegrate(smoking_table())
    >>> bool(np.allclose(np.einsum("bac,ab->abc", f, g), smoking_table()))
    True
    """
    omega = np.asarray(omega, dtype=float)
    if omega.ndim != 3:
        raise InputError(f"An array of {omega.ndim} axes was given; a comb has three: A, B and C.")
    f = omega.sum((1, 2))[:, None, None] * disintegrate(omega, 2)
    return f.transpose(1, 0, 2), disintegrate(omega.sum(2), 1)


def plug(f: Array, g: Array) -> Array:
    """P(c | do(a)): the channel g plugged into the comb f whose first tooth is discarded, shape (A, C).

    Examples
    --------
    >>> from groundshift.worlds.causal_networks import smoking_table
    >>> plug(*comb_disintegrate(smoking_table()))[:, 1].round(3)
    array([0.458, 0.747])
    """
    return g @ f.sum(1)


def cut_joint(omega: ArrayLike, variable: int, component: Sequence[int]) -> Array:
    """P(others | do(variable)) of a joint array by the general formula, whatever the graph says.

    Q is the product of P(v_i | v_1 … v_{i-1}) over the component, R that of the others, and the answer is
    R(a, rest) Σ_a' Q(a', rest) (Tian and Pearl, 2002, theorem 3). It is right where no child of the variable
    lies in the component; `identify` asks that first, this function does not.

    Parameters
    ----------
    omega : shape one axis per observed variable, in causal order
    variable : axis that is set
    component : axes of its c-component

    Returns
    -------
    array of the shape of ``omega``; it sums to one over all axes but ``variable``

    Examples
    --------
    >>> from groundshift.worlds.causal_networks import smoking_table
    >>> cut_joint(smoking_table(), 0, [0, 2])[1].sum(0).round(3)
    array([0.253, 0.747])
    """
    omega = np.asarray(omega, dtype=float)
    Q, R = np.ones_like(omega), np.ones_like(omega)
    for i in range(omega.ndim):
        before = omega.sum(tuple(range(i + 1, omega.ndim)), keepdims=True)
        factor = before / before.sum(i, keepdims=True)
        if i in component:
            Q = Q * factor
        else:
            R = R * factor
    return Q.sum(variable, keepdims=True) * R


# Formulas ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Term:
    """P(variable | given): a conditional table of the observed distribution, or one derived from other terms.

    Indices are names of variables; a primed name is a copy of that variable that is summed over.

    Attributes
    ----------
    variable, given : indices
    of : where not empty, the table is the product of these terms, summed over every index that is not in
        (given, variable) and divided by its sum over ``variable``
    """

    variable: str
    given: tuple[str, ...]
    of: tuple[Term, ...] = ()

    @property
    def indices(self) -> tuple[str, ...]:
        """``given``, then ``variable``."""
        return (*self.given, self.variable)

    def renamed(self, old: str, new: str) -> Term:
        """The term with one index called otherwise."""
        return Term(
            new if self.variable == old else self.variable,
            tuple(new if name == old else name for name in self.given),
            tuple(term.renamed(old, new) for term in self.of),
        )

    def __str__(self) -> str:
        letter = "Q" if self.of else "P"
        return f"{letter}({self.variable}{' | ' * bool(self.given)}{', '.join(self.given)})"


def column(index: str) -> str:
    """The variable that an index runs over."""
    return index.rstrip(PRIME)


def indices_of(terms: Iterable[Term]) -> list[str]:
    """Every index of some terms once, in order."""
    return list(dict.fromkeys(name for term in terms for name in term.indices))


def without_barren(terms: Sequence[Term], keep: Iterable[str]) -> tuple[Term, ...]:
    """The affine law: a box whose outputs are all discarded goes, again and again."""
    left, kept = list(terms), set(keep)
    while True:
        used = kept.union(*(term.given for term in left))
        barren = next((term for term in reversed(left) if term.variable not in used), None)
        if barren is None:
            return tuple(left)
        left.remove(barren)


def in_words(terms: Sequence[Term], free: Iterable[str]) -> str:
    """``Σ_{T, S′} P(T | S) P(S′) P(C | S′, T)``."""
    summed = [name for name in indices_of(terms) if name not in set(free)]
    sign = f"Σ_{{{', '.join(summed)}}} " if summed else ""
    return sign + " ".join(map(str, terms))


def derived_terms(terms: Iterable[Term]) -> list[Term]:
    """The derived terms among some, those they are made of first."""
    derived: list[Term] = []
    for term in terms:
        for inner in (*derived_terms(term.of), *([term] if term.of else [])):
            if inner not in derived:
                derived.append(inner)
    return derived


# The condition -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cut:
    """One surgery, and whether the observed distribution tells its outcome.

    Attributes
    ----------
    variable : what is cut
    kept : the variables that matter for the targets, in causal order; the others were dropped as barren boxes
    component : the c-component of ``variable`` among them
    child : a child of ``variable`` inside its component (then the comb does not exist), or None
    path : a path of hidden causes from ``variable`` to that child: (from, to, hidden variables)
    """

    variable: str
    kept: tuple[str, ...]
    component: tuple[str, ...]
    child: str | None = None
    path: tuple[tuple[str, str, tuple[str, ...]], ...] = ()

    @property
    def possible(self) -> bool:
        """Whether no child lies in the component."""
        return self.child is None


@dataclass(frozen=True, repr=False)
class Identification(Result):
    """Whether P(target | do) can be computed from the observed distribution, and how.

    Attributes
    ----------
    computable : bool
    do, target : variables
    cuts : the surgeries in the order in which they were made; the last one failed if not computable
    terms : the formula, a product that is summed over all indices but ``do`` and ``target``
    comb : the terms that make up the comb f of the first cut; the others are g, plugged into it
    columns : the observed variables that the formula reads
    complete : whether the formula is from the complete algorithm rather than from one comb per cut
    help : what to measure if it is not computable
    graph : what was asked
    """

    computable: bool
    do: tuple[str, ...]
    target: tuple[str, ...]
    cuts: tuple[Cut, ...]
    terms: tuple[Term, ...] = ()
    comb: tuple[Term, ...] = ()
    complete: bool = False
    help: str = ""
    graph: CausalGraph | None = field(default=None, compare=False)

    @property
    def order(self) -> tuple[str, ...]:
        """The variables that matter, in causal order."""
        return (*(v for v in self.do if v not in self.cuts[0].kept), *self.cuts[0].kept)

    @property
    def columns(self) -> tuple[str, ...]:
        """Observed variables that the formula reads, those that are set and the targets."""
        return tuple(dict.fromkeys((*self.do, *map(column, _all_indices(self.terms)), *self.target)))

    @property
    def formula(self) -> str:
        """The formula in words, with the definitions of its derived terms."""
        left = f"P({', '.join(self.target)} | do({', '.join(self.do)}))"
        if not self.computable:
            return f"{left}: not computable by comb disintegration"
        lines = [f"{left} = {in_words(self.terms, (*self.do, *self.target))}"]
        for term in derived_terms(self.terms):
            total = in_words(term.of, term.indices)
            lines.append(f"  where {term} is {total}, normalised over {term.variable}")
        return "\n".join(lines)

    @property
    def derivation(self) -> str:
        """Every step in words."""
        lines: list[str] = []
        for cut in self.cuts:
            lines += _cut_in_words(cut, self.target)
        if not self.computable:
            return "\n".join([*lines, self.help])
        if self.complete:
            lines.append(
                "The complete algorithm (Tian and Pearl, 2002) goes on from there, comb within comb."
            )
        elif self.comb:
            lines += [
                f"Comb f (what shares hidden causes with {self.cuts[0].variable}): "
                + " ".join(map(str, self.comb)),
                "Plugged into it, g: "
                + (" ".join(str(t) for t in self.terms if t not in self.comb) or "nothing"),
                f"Cutting {self.cuts[0].variable} discards what the first tooth makes: sum over "
                f"{self.cuts[0].variable}{PRIME}. Boxes that nothing reads any more are dropped.",
            ]
        return "\n".join([*lines, self.formula])

    def _content(self) -> dict[str, Any]:
        last = self.cuts[-1]
        return {
            "computable": self.computable,
            "do": list(self.do),
            "target": list(self.target),
            "formula": self.formula,
            "derivation": self.derivation.split("\n"),
            "component": list(last.component),
            "child": last.child,
            "complete": self.complete,
        }

    def report(self) -> Report:
        """The answer and its derivation, for page, notebook and terminal."""
        query = f"P({', '.join(self.target)} | do({', '.join(self.do)}))"
        headline = (
            f"{query} can be computed from the observed variables."
            if self.computable
            else f"{query} cannot be computed {'' if self.complete else 'by a comb '}from the observed variables."
        )
        drawings = self.drawings()
        return Report(
            "surgery", query, headline, tone="good" if self.computable else "bad",
            figure=next(iter(drawings.items()), None), sections=(self.steps(), self.surgery()),
        )  # fmt: skip

    def steps(self) -> Section:
        """The derivation as a section of a report."""
        return Section("derivation", "How does it follow?", notes=tuple(self.derivation.split("\n")))

    def surgery(self) -> Section:
        """The diagrams before and after the cut as a section of a report."""
        return Section(
            "diagrams", "What does the surgery do?",
            "Boxes of the comb are green; the red state takes the place of what is set.",
            figures=dict(list(self.drawings().items())[1:]), folded=True,
        )  # fmt: skip

    def drawings(self) -> dict[str, Callable[[Axes], object]]:
        """Caption and drawing of each diagram: the network, after the surgery, and what is left of it."""
        from groundshift.discovery.surgery.diagrams import draw_on, titled_diagrams

        if self.graph is None:
            return {}
        tied = [v for cut in self.cuts for v in cut.component]
        diagrams = titled_diagrams(self.graph, self.do, self.target, tied)
        return {title: partial(draw_on, diagram) for title, diagram in diagrams}


def _all_indices(terms: Iterable[Term]) -> list[str]:
    return [name for term in terms for name in (*term.indices, *_all_indices(term.of))]


def _cut_in_words(cut: Cut, target: Sequence[str]) -> list[str]:
    targets = ", ".join(target)
    if cut.variable not in cut.kept:
        return [f"Cut {cut.variable}: it is no cause of {targets}, so setting it changes nothing there."]
    lines = [
        f"Cut {cut.variable}: boxes that matter for {targets}: {', '.join(cut.kept)}.",
        f"Hidden causes tie {cut.variable} to {{{', '.join(cut.component)}}}, its c-component.",
    ]
    if cut.possible:
        lines.append(f"No child of {cut.variable} lies in it: the comb exists.")
    else:
        lines.append(f"Its child {cut.child} lies in it: there is no comb.")
    return lines


def identify_in(
    graph: CausalGraph, do: Sequence[str], target: Sequence[str], *, complete: bool = False
) -> Identification:
    """Decide, on the latent projection, whether combs give P(target | do), and write the formula.

    For each variable that is cut: drop what is no cause of the targets; find its c-component; if a child of it lies
    inside, there is no comb. Several variables are cut one after the other, each on the graph that the surgery before
    has left, in an order that works if there is one: a cut only ever makes components smaller.

    Parameters
    ----------
    complete : go on to the complete algorithm where there is no comb
    """
    return replace(_identified(graph, do, target, complete), graph=graph)


def _identified(
    graph: CausalGraph, do: Sequence[str], target: Sequence[str], complete: bool
) -> Identification:
    observed = graph.projection
    relevant = observed.restricted(observed.ancestors(target))
    terms = {v: Term(v, context_of(relevant, v)) for v in relevant.order}
    groups = [frozenset(group) for group in _components(relevant)]
    left, at = list(do), relevant
    cuts: list[Cut] = []
    nested = False
    while left:
        at = at.restricted(at.ancestors(target))
        tried = [_try(at, v) for v in left]
        cut = next((c for c in tried if c.possible), None)
        if cut is None:
            return _without_comb(relevant, do, target, (*cuts, tried[0]), complete)
        cuts.append(cut)
        left.remove(cut.variable)
        if cut.variable not in at.order:
            # Summed like any other variable; its index must not be taken for the value that is set.
            terms = {v: t.renamed(cut.variable, cut.variable + PRIME) for v, t in terms.items()}
            continue
        group = next(g for g in groups if cut.variable in g)
        # A component that has come apart needs its own tables: the terms of the whole are not enough.
        nested |= any(child in group for child in at.children(cut.variable))
        for v in group:
            terms[v] = terms[v].renamed(cut.variable, cut.variable + PRIME)
        at = at.restricted(v for v in at.order if v != cut.variable)
    if nested:
        return _complete(relevant, do, target, tuple(cuts))
    first = cuts[0]
    comb = tuple(terms[v] for v in first.component) if first.variable in first.kept else ()
    kept = without_barren(list(terms.values()), (*do, *target))
    return Identification(True, tuple(do), tuple(target), tuple(cuts), kept, comb)


def _try(at: Projection, variable: str) -> Cut:
    if variable not in at.order:
        return Cut(variable, at.order, (variable,))
    component = at.component(variable)
    child = next((v for v in at.children(variable) if v in component), None)
    path = tuple(at.confounded_path(variable, child)) if child else ()
    return Cut(variable, at.order, component, child, path)


def _components(graph: Projection) -> list[tuple[str, ...]]:
    return list(dict.fromkeys(graph.component(v) for v in graph.order))


def context_of(graph: Projection, variable: str) -> tuple[str, ...]:
    """What P(v_i | v_1 … v_{i-1}) depends on: the c-component of v_i among v_1 … v_i, and its parents."""
    upto = graph.order[: graph.order.index(variable) + 1]
    part = graph.restricted(upto)
    component = part.component(variable)
    needed = {u for v in component for u in (v, *part.parents[v])} - {variable}
    return tuple(v for v in upto if v in needed)


# Where there is no comb ----------------------------------------------------------------------------------


def _without_comb(
    relevant: Projection,
    do: Sequence[str],
    target: Sequence[str],
    cuts: tuple[Cut, ...],
    complete: bool,
) -> Identification:
    if complete:
        identification = _complete(relevant, do, target, cuts)
        if identification.computable:
            return identification
    words = _help(cuts[-1])
    if complete:
        words += " No other formula exists either: the complete algorithm refuses too."
    else:
        words += " This is no proof that no formula exists; `complete=True` (--complete) asks the complete algorithm."
    return Identification(False, tuple(do), tuple(target), cuts, complete=complete, help=words)


def _help(cut: Cut) -> str:
    hidden = list(dict.fromkeys(_cause_in_words(h) for _, _, causes in cut.path for h in causes))
    path = ", ".join(
        f"{u} and {v} share {' and '.join(map(_cause_in_words, causes))}" for u, v, causes in cut.path
    )
    return (
        f"P(… | do({cut.variable})) is not computable by comb disintegration: the c-component of {cut.variable} is "
        f"{{{', '.join(cut.component)}}}, and its child {cut.child} lies in it ({path}). What would help: measuring "
        f"{' or '.join(hidden)}, or a variable through which all of the effect of {cut.variable} on "
        f"{cut.child} goes and that shares no hidden cause with either."
    )


def _cause_in_words(name: str) -> str:
    return f"a hidden cause ({name})" if "↔" in name else f"the hidden {name}"


class _Hedge(Exception):
    """The complete algorithm has found that no formula exists."""


def _complete(
    graph: Projection, do: Sequence[str], target: Sequence[str], cuts: tuple[Cut, ...]
) -> Identification:
    """Tian and Pearl's complete algorithm in its c-component form (Tian, 2002; Huang and Valtorta, 2006)."""
    after = graph.restricted(v for v in graph.order if v not in do)
    after = after.restricted(after.ancestors(target))
    fresh: Counter[str] = Counter()
    terms: list[Term] = []
    try:
        for component in _components(after):
            whole = graph.component(component[0])
            of = [Term(v, context_of(graph, v)) for v in whole]
            terms += _solve(graph, component, whole, of, fresh)
    except _Hedge:
        return Identification(False, tuple(do), tuple(target), cuts, complete=True)
    # An index that is neither summed nor wanted may take any value: averaged with its own distribution.
    inside = {*after.order, *do}
    loose = [
        n
        for n in indices_of(terms)
        if n not in inside and PRIME not in n and n not in {t.variable for t in terms}
    ]
    terms = [*(Term(name, ()) for name in loose), *terms]
    relevant = without_barren(terms, (*do, *target))
    return Identification(True, tuple(do), tuple(target), cuts, relevant, complete=True)


def _solve(
    graph: Projection,
    wanted: tuple[str, ...],
    whole: tuple[str, ...],
    terms: list[Term],
    fresh: Counter[str],
) -> list[Term]:
    """Terms whose product, summed over primed indices, is Q[wanted], from terms whose product is Q[whole]."""
    part = graph.restricted(whole)
    needed = part.ancestors(wanted)
    if set(needed) == set(wanted):
        return _bound(terms, [v for v in whole if v not in wanted], fresh)
    if set(needed) == set(whole):
        raise _Hedge
    inner = _bound(terms, [v for v in whole if v not in needed], fresh)
    smaller = part.restricted(needed).component(wanted[0])
    solved = []
    for v in smaller:
        later = needed[needed.index(v) + 1 :]
        of = _linked(without_barren(inner, needed[: needed.index(v) + 1]), v, later)
        free = [n for n in indices_of(of) if PRIME not in n and n != v and n not in later]
        solved.append(Term(v, tuple(free), of))
    return _solve(graph, wanted, smaller, solved, fresh)


def _linked(terms: Sequence[Term], variable: str, later: Sequence[str]) -> tuple[Term, ...]:
    """The terms that hold ``variable`` or share summed indices with those; the others cancel in the ratio."""
    reached, used = {variable}, set[int]()
    while True:
        new = {k for k, term in enumerate(terms) if k not in used and reached & set(term.indices)}
        if not new:
            return tuple(terms[k] for k in sorted(used))
        used |= new
        reached |= {n for k in new for n in terms[k].indices if PRIME in n or n in later}


def _bound(terms: Sequence[Term], names: Sequence[str], fresh: Counter[str]) -> list[Term]:
    """The terms with some indices primed, to be summed over; each gets a mark of its own."""
    bound = list(terms)
    for name in names:
        fresh[name] += 1
        new = name + PRIME * fresh[name]
        bound = [term.renamed(name, new) for term in bound]
    return list(without_barren(bound, [v.variable for v in bound if PRIME not in v.variable]))
