"""P(target | do) from data: by the comb's formula, with its support, its bounds and its intervals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils import check_random_state

from groundshift.discovery.surgery.combs import (
    Identification,
    Term,
    column,
    context_of,
    identify_in,
    indices_of,
)
from groundshift.discovery.surgery.counts import Counts, Tables, read_counts
from groundshift.discovery.surgery.model import (
    Model,
    Names,
    Table,
    model_of,
    place_of,
    query_names,
    settings_of,
)
from groundshift.errors import InputError
from groundshift.report import Report, Section
from groundshift.result import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Effect", "Interventional", "effect", "estimate", "interventional"]

Array = NDArray[np.float64]
Support = Literal["error", "bounds"]
Intervals = Literal["posterior", "bootstrap"]
CELLS_AT_ONCE = 8_000_000
MOST_CELLS = 1000
TINY = 1e-12


@dataclass(frozen=True, repr=False)
class Interventional(Result):
    """P(target | do) and how it came about.

    Attributes
    ----------
    table : one row per value of what is set and of the target. ``p`` is P(target | do), ``low`` and ``high``
        its interval, ``naive`` the conditional P(target | given) without surgery. With a pseudo-count also
        ``unsmoothed``; with ``support="bounds"`` also ``lower`` and ``upper``, between which it lies whatever
        the cells without rows hold
    support : one row per conditional table: cells of its condition, how many are empty, the fewest rows in one
        that is not
    missing : what lacks support: the cell, the table, and the share of P(· | do) that goes through it; of each table
        the thousand heaviest cells
    identification : the derivation
    rows : number of rows; None for probabilities
    intervals, confidence, draws : how the intervals were made; draws is 0 where there are none
    point, lower, upper : P(target | do) and its bounds, shape (*do, *target)
    drawn : P(target | do) in each draw, shape (draws, *do, *target)
    drawn_gap : share of P(· | do) that goes through cells without rows in each draw, shape (draws, *do)
    observed_drawn : P(target) in the same draws, shape (draws, *target)
    """

    table: pd.DataFrame
    support: pd.DataFrame
    missing: pd.DataFrame
    identification: Identification
    model: Model
    rows: int | None
    intervals: Intervals | None
    confidence: float
    draws: int
    point: Array = field(repr=False)
    lower: Array = field(repr=False)
    upper: Array = field(repr=False)
    drawn: Array | None = field(repr=False)
    drawn_gap: Array | None = field(repr=False)
    observed_drawn: Array | None = field(repr=False)
    _tables: Tables = field(repr=False)

    @property
    def derivation(self) -> str:
        """Every step in words."""
        return self.identification.derivation

    @property
    def labels(self) -> Mapping[str, Sequence[Any]]:
        """Variable -> its values."""
        return self._tables.counts.labels

    def comb(self) -> tuple[Table, Table]:
        """The comb f and the channel g plugged into it, for one cut: arrays with named axes.

        Multiplied they are the observed distribution of the variables that matter; summed over what the first
        tooth makes they are P(· | do).

        Raises
        ------
        InputError
            Several cuts, no effect at all, or a formula of the complete algorithm.
        """
        identification = self.identification
        if len(identification.cuts) != 1 or not identification.comb:
            raise InputError("There is one comb for one cut of a cause; this formula is not of that form.")
        inside = identification.cuts[0].component
        relevant = self.model.graph.projection.restricted(identification.cuts[0].kept)
        outside = [v for v in relevant.order if v not in inside]
        f = [term.renamed(f"{identification.do[0]}′", identification.do[0]) for term in identification.comb]
        # Nothing barren is dropped here: f and g hold every variable that matters.
        g = [Term(v, context_of(relevant, v)) for v in outside]
        return self._channel(f, inside), self._channel(g, outside)

    def _channel(self, terms: Sequence[Term], outputs: Sequence[str]) -> Table:
        inputs = tuple(name for name in indices_of(terms) if name not in outputs)
        array = self._tables.product(terms, (*inputs, *outputs)) if terms else np.array(1.0)
        return Table(array, inputs, tuple(outputs), self.labels)

    def draw(self, out: str | Path) -> Path:
        """Draw the network, the surgery and what is left for the target to a .png, .svg or .pdf file."""
        return self.model.draw(out, cut=self.identification.do, target=self.identification.target)

    def _content(self) -> dict[str, Any]:
        return {
            "do": list(self.identification.do),
            "target": list(self.identification.target),
            "rows": self.rows,
            "ci": self.intervals,
            "level": self.confidence if self.draws else None,
            "formula": self.identification.formula,
            "derivation": self.derivation.split("\n"),
            "table": self.table,
            "support": self.support,
            "missing": self.missing,
        }

    def to_frame(self) -> pd.DataFrame:
        """One row per value of what is set and of the target."""
        return self.table

    def report(self) -> Report:
        """What the target does under each setting, for page, notebook and terminal."""
        query = f"P({', '.join(self.identification.target)} | do({', '.join(self.identification.do)}))"
        answer = Section("answer", f"What is {query}?", _size_in_words(self), tables={query: self.table})
        return Report(
            "surgery", query, self._headline(query), warnings=_missing_in_words(self),
            figure=("With surgery, and the naive conditional without it", self._draw),
            sections=(answer, *_background(self)),
        )  # fmt: skip

    def _headline(self, query: str) -> str:
        rows = self._drawn_rows()
        least, most = rows.iloc[int(rows["p"].argmin())], rows.iloc[int(rows["p"].argmax())]
        target, do = self.identification.target, self.identification.do
        if len(rows) < 2:
            return f"{query} is computed from the observed variables."
        if set(rows[list(target)].drop_duplicates().index) == {rows.index[0]}:
            query = f"P({', '.join(f'{v} = {least[v]}' for v in target)})"
        ends = (f"{row['p']:.3f} ({', '.join(f'{v} = {row[v]}' for v in do)})" for row in (least, most))
        return f"{query} ranges from {' to '.join(ends)}."

    def _drawn_rows(self) -> pd.DataFrame:
        """The rows of the table; of a target of two values those of the second, which say everything."""
        target = self.identification.target
        if len(target) == 1 and len(self.labels[target[0]]) == 2:
            return self.table[self.table[target[0]] == self.labels[target[0]][1]]
        return self.table

    def _draw(self, ax: Axes) -> None:
        rows, names = self._drawn_rows(), [*self.identification.do, *self.identification.target]
        _draw_estimates(ax, rows, "p", names, "do", "naive conditional")
        ax.set_ylabel(f"P({', '.join(self.identification.target)} | do({', '.join(self.identification.do)}))")


def _draw_estimates(
    ax: Axes, rows: pd.DataFrame, column: str, names: Sequence[str], label: str, naive: str
) -> None:
    """A point with its interval for each row, beside the naive one."""
    at = np.arange(len(rows))
    error = None
    if "low" in rows:
        error = np.abs(rows[["low", "high"]].to_numpy().T - rows[column].to_numpy())
    ax.errorbar(at, rows[column], error, fmt="o", capsize=3, label=label)
    ax.plot(at, rows["naive"], "x", label=naive)
    ticks = [
        "\n".join(f"{n}={v}" for n, v in zip(names, row, strict=True)) for row in rows[list(names)].to_numpy()
    ]
    ax.set_xticks(at, ticks)
    ax.set_xlim(-0.5, len(rows) - 0.5)
    ax.legend()


def _background(result: Interventional) -> tuple[Section, ...]:
    """Derivation, diagrams and support, alike for every query."""
    thin = result.support[(result.support["empty"] > 0) | (result.support["fewest rows"] < 5)]
    is_thin = result.rows is not None and len(thin) > 0
    support = Section(
        "support", "Do the rows cover what the formula reads?",
        f"{len(thin)} of {len(result.support)} tables have empty or thin cells." if is_thin else "Yes.",
        tables={
            "Cells of each conditional table": thin if is_thin else result.support,
            "Cells without rows, and the share of P(· | do) that goes through each": result.missing,
        }, folded=not is_thin,
    )  # fmt: skip
    return result.identification.steps(), support, result.identification.surgery()


def _size_in_words(result: Interventional) -> str:
    if result.rows is None:
        return "Exact, from a table of probabilities."
    if not result.draws:
        return f"From {result.rows:,} rows."
    draws_text = f"{result.confidence:.0%} intervals from {result.draws:,} {result.intervals} draws"
    return f"From {result.rows:,} rows; {draws_text}."


def _missing_in_words(result: Interventional) -> tuple[str, ...]:
    if not len(result.missing):
        return ()
    first = result.missing.iloc[0]
    more = f" and {len(result.missing) - 1:,} more" if len(result.missing) > 1 else ""
    cells = f"The formula reads cells without rows ({first['cell']}{more})"
    if "unsmoothed" in result.table:
        return (f"{cells}, so pseudo-counts stand in for them.",)
    return (
        f"{cells}: the answer lies between lower and upper whatever they hold, and p spreads their share evenly.",
    )


def interventional(
    model: Any,
    data: Any,
    do: Names | Mapping[str, Any],
    target: Names,
    *,
    pseudo_count: float = 0.0,
    intervals: Intervals | None = "posterior",
    draws: int = 1000,
    confidence: float = 0.95,
    bins: Mapping[str, Any] | None = None,
    support: Support = "error",
    complete: bool = False,
    random_state: Any = None,
) -> Interventional:
    """P(target | do) for every value of what is set, from observed data alone.

    Parameters
    ----------
    model : a `Model`, or anything it takes
    data : a frame or path with a row per unit and discrete columns; counts (dictionary, Series with named index
        levels, array of whole numbers); or a joint array of probabilities, shape one axis per observed variable
        in causal order
    do : variables that are set, by name; with values, only these rows are in the table
    target : one or more variables
    pseudo_count : added to every cell of every conditional table. It keeps support, and biases the effect
    intervals, draws, confidence : how the intervals are made, from how many draws (0 for none), and their confidence
        level. "posterior" draws the cells of every conditional table from their Dirichlet posterior, whose prior is one
        row per condition, spread evenly over the values (or the pseudo-count in every cell). "bootstrap" draws the rows
        of the table anew; it takes values that were not seen for impossible, and covers too little on sparse tables.
        None makes no intervals
    bins : column -> number of bins of equal share, or their edges
    support : what to do where the formula reads a cell without rows: "error" names it, "bounds" says between
        which numbers the answer lies (``p`` spreads the missing share evenly, and the interval spans the bounds)
    complete : where no comb exists, go on to the complete algorithm
    random_state : int, RandomState or None

    Raises
    ------
    InputError
        Not computable (with the c-component, the child inside it, and what to measure); no support; bad data or names.

    References
    ----------
    Jacobs, Kissinger, Zanasi (2019), section 6; Tian and Pearl (2002), theorem 3.

    Examples
    --------
    >>> from groundshift.worlds.causal_networks import smoking_table
    >>> distribution = interventional("S->T; T->C; S<->C", smoking_table(), "S", "C")
    >>> distribution.table[distribution.table["C"] == 1].round(3)
       S  C      p  naive
    1  0  1  0.458  0.324
    3  1  1  0.747  0.810
    """
    names = [do] if isinstance(do, str) else list(do)
    options = _Options(pseudo_count, intervals, draws, confidence, bins, support, complete, random_state)
    return _estimate(model, data, names, target, [do] if isinstance(do, Mapping) else [], options)


@dataclass(frozen=True)
class _Options:
    """Those of `interventional`."""

    pseudo_count: float = 0.0
    intervals: Intervals | None = "posterior"
    draws: int = 1000
    confidence: float = 0.95
    bins: Mapping[str, Any] | None = None
    support: Support = "error"
    complete: bool = False
    random_state: Any = None

    def __post_init__(self) -> None:
        if self.pseudo_count < 0:
            raise InputError(f"The pseudo-count is {self.pseudo_count}; it is at least 0.")
        if self.intervals not in ("posterior", "bootstrap", None):
            raise InputError(f"intervals is {self.intervals!r}; it may be 'posterior', 'bootstrap' or None.")
        if self.wants_intervals and self.draws < 20:
            raise InputError(f"{self.draws} draws were asked for; take 20 or more, or 0 for no intervals.")
        if not 0 < self.confidence < 1:
            raise InputError(f"The confidence level is {self.confidence}; it lies between 0 and 1, as 0.95.")
        if self.support not in ("error", "bounds"):
            raise InputError(f"support is {self.support!r}; it may be 'error' or 'bounds'.")

    @property
    def wants_intervals(self) -> bool:
        """Whether intervals are made."""
        return self.intervals is not None and self.draws != 0


def _estimate(
    model: Any,
    data: Any,
    do: Sequence[str],
    target: Names,
    settings: Sequence[Mapping[str, Any]],
    options: _Options,
) -> Interventional:
    """`interventional` for some settings of what is set, or for all if none are given."""
    model = model_of(model)
    names, wanted = query_names(model, do, target)
    identification = identify_in(model.graph, names, wanted, complete=options.complete)
    if not identification.computable:
        raise InputError(identification.help)
    counts = read_counts(data, identification.columns, model.observed, options.bins)
    is_asked = np.full(counts.shape(names), not settings)
    for setting in settings:
        is_asked[tuple(place_of(setting[v], counts.labels[v], v) for v in names)] = True
    inputs, over = len(names), (1,) * len(wanted)
    plain = Tables(counts)
    tables = Tables(counts, options.pseudo_count) if options.pseudo_count else plain
    out = (*names, *wanted)
    unsmoothed = plain.product(identification.terms, out)
    lacking = _missing_share(unsmoothed, inputs)
    missing = _missing_frame([])
    if (lacking[is_asked] > TINY).any():
        missing = _missing(plain, identification, is_asked)
        if not options.pseudo_count and options.support == "error":
            raise InputError(_without_support(missing, float(lacking[is_asked].max()), names))
    cells = int(np.prod(counts.shape(wanted)))
    lacking = lacking.reshape(lacking.shape + over)
    lower, upper = unsmoothed, unsmoothed + lacking
    columns = {
        "p": tables.product(identification.terms, out) if options.pseudo_count else lower + lacking / cells
    }
    drawn = drawn_gap = observed_drawn = None
    if options.wants_intervals and counts.rows is not None:
        low, drawn_gap, observed_drawn = _drawn(tables, identification, options)
        gap = drawn_gap.reshape(drawn_gap.shape + over)
        tail = (1 - options.confidence) / 2
        # A prior draws towards the middle; the interval still holds the estimate, and what the bounds leave open.
        least, most = (columns["p"], columns["p"]) if options.pseudo_count else (lower, upper)
        columns["low"] = np.minimum(np.quantile(low, tail, axis=0), least)
        columns["high"] = np.maximum(np.quantile(low + gap, 1 - tail, axis=0), most)
        drawn = low + gap / cells
    columns["naive"] = _naive(counts, names, wanted)
    if options.pseudo_count:
        columns["unsmoothed"] = np.where(lacking > TINY, np.nan, unsmoothed)
    if options.support == "bounds":
        columns |= {"lower": lower, "upper": upper}
    table = _frame(columns, out, counts.labels)
    if settings:
        table = table[np.repeat(is_asked.ravel(), cells)].reset_index(drop=True)
    return Interventional(
        table,
        _support_frame(counts, identification.terms),
        missing,
        identification,
        model,
        counts.rows,
        None if drawn is None else options.intervals,
        options.confidence,
        0 if drawn is None else options.draws,
        columns["p"],
        lower,
        upper,
        drawn,
        drawn_gap,
        observed_drawn,
        tables,
    )


def _drawn(tables: Tables, identification: Identification, options: _Options) -> tuple[Array, Array, Array]:
    """Of each draw: the least P(target | do), shape (draws, *do, *target), what goes through cells without rows,
    shape (draws, *do), and P(target), shape (draws, *target).

    The posterior is that of a Bayesian bootstrap, Gamma(n) weights of the cells, with draws of the prior added to
    every conditional table: each of its rows is then a draw from Dirichlet(n + prior), independent of the others. In a
    bootstrap, a condition that a draw has lost keeps its estimate. Either way a condition without rows stays open.
    """
    counts, low, observed = tables.counts, [], []
    rng = np.random.default_rng(check_random_state(options.random_state).randint(2**31))
    for weights in _weights_of_draws(counts, identification.terms, options, rng):
        if options.intervals == "posterior":
            drawn = Tables(counts, options.pseudo_count, weights, prior=rng)
        else:
            drawn = Tables(
                counts, options.pseudo_count, weights, instead=None if options.pseudo_count else tables
            )
        low.append(drawn.product(identification.terms, (*identification.do, *identification.target)))
        total = weights.sum(1).reshape(-1, *(1 for _ in identification.target))
        observed.append(counts.marginal(identification.target, weights) / total)
    lower = np.concatenate(low)
    return lower, _missing_share(lower, len(identification.do), batch=1), np.concatenate(observed)


def _missing_share(table: Array, inputs: int, batch: int = 0) -> Array:
    """One minus the sum over the target: what goes through cells without support."""
    total = table.sum(tuple(range(batch + inputs, table.ndim)))
    return np.where(total > 1 - TINY, 0.0, 1 - total)


def _naive(counts: Counts, names: Sequence[str], wanted: Sequence[str]) -> Array:
    joint = counts.marginal((*names, *wanted))
    total = joint.sum(tuple(range(len(names), joint.ndim)), keepdims=True)
    return np.divide(joint, total, out=np.full_like(joint, np.nan), where=total > 0)


def _weights_of_draws(
    counts: Counts, terms: Sequence[Term], options: _Options, rng: np.random.Generator
) -> Iterator[Array]:
    """Weights of the cells, Gamma(n) or multinomial, a few draws at a time."""
    share = counts.weights / counts.weights.sum()
    tables = (int(np.prod(counts.shape(list(map(column, term.indices))))) for term in _leaves(terms))
    at_once = max(1, CELLS_AT_ONCE // max(len(share), *tables))
    for start in range(0, options.draws, at_once):
        number = min(at_once, options.draws - start)
        if options.intervals == "posterior":
            yield rng.standard_gamma(counts.weights, size=(number, len(share)))
        else:
            yield rng.multinomial(int(counts.weights.sum()), share, size=number).astype(float)


def _frame(
    columns: Mapping[str, Array], names: Sequence[str], labels: Mapping[str, Sequence[Any]]
) -> pd.DataFrame:
    index = pd.MultiIndex.from_product([labels[n] for n in names], names=list(names))
    return pd.DataFrame({name: array.ravel() for name, array in columns.items()}, index=index).reset_index()


# Support -------------------------------------------------------------------------------------------------


def _leaves(terms: Sequence[Term]) -> list[Term]:
    """The terms that are read from the data, each once."""
    leaves: dict[tuple[str, tuple[str, ...]], Term] = {}
    for term in terms:
        for leaf in _leaves(term.of) if term.of else [term]:
            leaves.setdefault((column(leaf.variable), tuple(map(column, leaf.given))), leaf)
    return list(leaves.values())


def _support_frame(counts: Counts, terms: Sequence[Term]) -> pd.DataFrame:
    rows = []
    for term in _leaves(terms):
        condition = tuple(map(column, term.given))
        weights = counts.marginal(condition)
        fewest = weights[weights > 0].min() if counts.rows is not None else np.nan
        rows.append((str(term), weights.size, int((weights == 0).sum()), fewest))
    return pd.DataFrame(rows, columns=["table", "cells", "empty", "fewest rows"])


def _missing(tables: Tables, identification: Identification, needed: NDArray[np.bool_]) -> pd.DataFrame:
    """Cells without rows that the formula reads, with the share of P(· | do) that goes through each.

    In causal order: what reaches a cell is made by the tables before it; after it everything sums to one.
    """
    rows = []
    labels, order = tables.counts.labels, list(identification.order)
    ordered = sorted(identification.terms, key=lambda term: order.index(column(term.variable)))
    for k, term in enumerate(ordered):
        empty = tables.conditional(term).sum(-1) == 0
        if not empty.any():
            continue
        out = [*identification.do, *(n for n in term.given if n not in identification.do)]
        weight = tables.product(ordered[:k], out) if k else np.ones(tables.counts.shape(out))
        weight = weight * needed.reshape(needed.shape + (1,) * (len(out) - len(identification.do)))
        order_of_axes = sorted(range(len(term.given)), key=lambda axis: out.index(term.given[axis]))
        shape = [weight.shape[axis] if name in term.given else 1 for axis, name in enumerate(out)]
        weight = weight * empty.transpose(order_of_axes).reshape(shape)
        heaviest = np.argsort(weight, axis=None)[::-1][:MOST_CELLS]
        for cell in zip(*np.unravel_index(heaviest, weight.shape), strict=True):
            if weight[cell] > TINY:
                at = dict(zip(out, cell, strict=True))
                what = ", ".join(f"{column(n)}={labels[column(n)][at[n]]}" for n in term.given)
                under = ", ".join(f"{n}={labels[n][at[n]]}" for n in identification.do)
                rows.append((what, str(term), under, float(weight[cell])))
    return _missing_frame(rows).sort_values("share", ascending=False, ignore_index=True)


def _missing_frame(rows: list[tuple[str, str, str, float]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["cell", "needed for", "do", "share"])


def _without_support(missing: pd.DataFrame, largest: float, names: Sequence[str]) -> str:
    cells = missing.drop_duplicates(["cell", "needed for"])
    shown = "; ".join(
        f"{row['cell']} (for {row['needed for']}, under do({row['do']}), share {row['share']:.3g})"
        for _, row in cells.head(5).iterrows()
    )
    more = f", and {len(cells) - 5} more" if len(cells) > 5 else ""
    return (
        f"No rows with {shown}{more}; up to {largest:.1%} of P(· | do({', '.join(names)})) goes through "
        "cells without rows. Merge values or collect rows there; or ask for bounds (support='bounds', "
        "--support bounds), or for pseudo-counts (pseudo_count=1, --pseudo-count 1), which bias the effect."
    )


# Effects -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, repr=False)
class Effect(Result):
    """What setting variables does to the target, compared with another setting or with things as they are.

    Attributes
    ----------
    table : one row per value of the target: ``do``, ``versus``, ``difference`` with ``low`` and ``high``, and
        the ``naive`` difference of conditionals. With ``support="bounds"`` also ``lower`` and ``upper``, between which
        the difference lies whatever the cells without rows hold
    do, versus : in words
    interventional : everything behind it
    """

    table: pd.DataFrame
    do: str
    versus: str
    interventional: Interventional

    def _content(self) -> dict[str, Any]:
        inside = self.interventional._content()
        return inside | {"effect": self.table, "setting": self.do, "versus": self.versus}

    def to_frame(self) -> pd.DataFrame:
        """One row per value of the target."""
        return self.table

    def report(self) -> Report:
        """The difference between the two settings, for page, notebook and terminal."""
        inside = self.interventional
        target = inside.identification.target
        answer = Section(
            "answer", f"{', '.join(target)} under do({self.do}), versus {self.versus}", _size_in_words(inside),
            tables={"Difference": self.table},
        )  # fmt: skip
        return Report(
            "surgery", f"do({self.do})", self._headline(), warnings=_missing_in_words(inside),
            figure=("Difference with surgery, and the naive one without it", self._draw),
            sections=(answer, *_background(inside)),
        )  # fmt: skip

    def _headline(self) -> str:
        # Of a target of two values the second says everything.
        largest = self.table.iloc[1 if len(self.table) == 2 else int(self.table["difference"].abs().argmax())]
        what = f"P({', '.join(f'{v} = {largest[v]}' for v in self.interventional.identification.target)})"
        size, low, high = (largest.get(name, np.nan) for name in ("difference", "low", "high"))
        within = f" ({low:+.3f} to {high:+.3f})" if np.isfinite(low) else ""
        if low <= 0 <= high:
            return f"Whether do({self.do}) changes {what} cannot be told: {size:+.3f}{within} versus {self.versus}."
        verb = "raises" if size > 0 else "lowers"
        return f"do({self.do}) {verb} {what} by {abs(size):.3f}{within} versus {self.versus}."

    def _draw(self, ax: Axes) -> None:
        target = self.interventional.identification.target
        _draw_estimates(ax, self.table, "difference", target, "with surgery", "naive difference")
        ax.axhline(0, color="black", lw=0.8, ls=":")
        ax.set_ylabel("difference in probability")


def estimate(
    data: Any,
    *,
    graph: Any,
    do: Names,
    target: Names,
    versus: Names | None = None,
    hidden: Sequence[str] = (),
    bins: Mapping[str, Any] | None = None,
    pseudo_count: float = 0.0,
    support: Support = "error",
    complete: bool = False,
    intervals: Intervals = "posterior",
    draws: int = 1000,
    confidence: float = 0.95,
    random_state: Any = None,
) -> Interventional | Effect:
    """Compute P(target | do) from observed data, with every step.

    Without values (S) the answer has a row for every value of what is set: `interventional`. With values (S=1) it is
    the difference to another setting, or to things as they are: `effect`.

    Parameters
    ----------
    data : table with a row per unit, a csv or parquet file
    graph : edges as 'S->T; T->C; S<->C' (<-> is a hidden common cause), or a .dot, .gml or .bif file
    do : what is set: S for every value, S=1 for one; several variables as A,B
    target : what is asked for, as C or C,D
    versus : the setting to compare with, as S=0, where S=1 is set
    hidden : variables of the graph without data, as U,V
    bins : of a continuous column the number of bins of equal share, age=5, or their edges, age=0,30,60,99
    pseudo_count : added to every cell of every conditional table; it keeps support and biases the effect
    support : what to do where the formula reads cells without rows: name them, or give bounds for the answer
    complete : continue with the complete algorithm where no comb exists
    intervals : how intervals are made: from a Dirichlet posterior, or a bootstrap of the rows
    draws : number of draws behind the intervals; 0 for no intervals
    confidence : confidence level of the intervals
    random_state : int, RandomState or None

    Raises
    ------
    InputError
        As `interventional`; values for some variables only; ``versus`` without a value to compare with.
    """
    model, settings = model_of(graph, hidden), settings_of(do)
    options: dict[str, Any] = {
        "pseudo_count": pseudo_count,
        "support": support,
        "complete": complete,
        "intervals": intervals,
        "draws": draws,
        "confidence": confidence,
        "bins": _bins(bins or {}),
        "random_state": random_state,
    }
    if not isinstance(settings, Mapping):
        if versus:
            raise InputError("versus compares with a setting, so what is set needs a value too, as S=1.")
        return interventional(model, data, settings, target, **options)
    other = settings_of(versus) if versus else None
    if other is not None and not isinstance(other, Mapping):
        raise InputError(f"versus {' '.join(other)} names no value; write it as S=0.")
    return effect(model, data, settings, target, versus=other, **options)


def _bins(bins: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers of bins and edges, also from text: 5, or 0,30,60,99."""
    return {name: _edges(name, edges) if isinstance(edges, str) else edges for name, edges in bins.items()}


def _edges(name: str, text: str) -> int | list[float]:
    try:
        edges = [float(edge) for edge in text.split(",")]
    except ValueError as error:
        raise InputError(
            f"The bins {name}={text} cannot be read; write {name}=5, or edges as {name}=0,30,60,99."
        ) from error
    return int(edges[0]) if len(edges) == 1 else edges


def effect(
    model: Any,
    data: Any,
    do: Mapping[str, Any],
    target: Names,
    *,
    versus: Mapping[str, Any] | None = None,
    **options: Any,
) -> Effect:
    """P(target | do) against another setting, or against things as they are.

    Parameters
    ----------
    do : variable -> value
    versus : another value of each of these variables; None compares with the observed P(target)
    **options : of `interventional`

    Raises
    ------
    InputError
        As `interventional`; ``versus`` that sets other variables than ``do``.

    Examples
    --------
    >>> from groundshift.worlds.causal_networks import smoking_table
    >>> difference = effect("S->T; T->C; S<->C", smoking_table(), {"S": 1}, "C", versus={"S": 0})
    >>> difference.table.round(3)
       C     do  versus  difference  naive
    0  0  0.253   0.542      -0.289 -0.485
    1  1  0.747   0.458       0.289  0.485
    """
    if not isinstance(do, Mapping):
        raise InputError(
            f"effect needs values, as do={{'S': 1}}; {do!r} was given. For all values use interventional."
        )
    if versus is not None and set(versus) != set(do):
        raise InputError(
            f"versus sets {', '.join(map(str, versus))}, do sets {', '.join(map(str, do))}; both must set "
            f"the same variables."
        )
    settings = [do] if versus is None else [do, versus]
    inside = _estimate(model, data, list(do), target, settings, _Options(**options))
    labels, identification = inside.labels, inside.identification
    at = tuple(place_of(do[v], labels[v], v) for v in identification.do)
    counts = inside._tables.counts
    naive = _naive(counts, identification.do, identification.target)
    if versus is None:
        rest = counts.marginal(identification.target)
        other = least = most = naive_other = rest / rest.sum()
        words = f"P({', '.join(identification.target)}) as observed"
    else:
        place = tuple(place_of(versus[v], labels[v], v) for v in identification.do)
        other, least, most = inside.point[place], inside.lower[place], inside.upper[place]
        naive_other = naive[place]
        words = f"do({', '.join(f'{v}={x}' for v, x in versus.items())})"
    columns = {"do": inside.point[at], "versus": other, "difference": inside.point[at] - other}
    lower, upper = inside.lower[at] - most, inside.upper[at] - least
    smoothed = "unsmoothed" in inside.table
    least_held, most_held = (columns["difference"],) * 2 if smoothed else (lower, upper)
    if inside.drawn is not None and inside.observed_drawn is not None:
        low, high = _drawn_bounds(inside, at)
        other_low = other_high = np.moveaxis(inside.observed_drawn, 0, -1)
        if versus is not None:
            other_low, other_high = _drawn_bounds(inside, place)
        tail = (1 - inside.confidence) / 2
        columns["low"] = np.minimum(np.quantile(low - other_high, tail, axis=-1), least_held)
        columns["high"] = np.maximum(np.quantile(high - other_low, 1 - tail, axis=-1), most_held)
    columns["naive"] = naive[at] - naive_other
    if "lower" in inside.table:
        columns |= {"lower": lower, "upper": upper}
    table = _frame(columns, identification.target, labels)
    return Effect(table, ", ".join(f"{v}={x}" for v, x in do.items()), words, inside)


def _drawn_bounds(inside: Interventional, setting: tuple[int, ...]) -> tuple[Array, Array]:
    """Least and most P(target | do) of one setting in every draw, each of shape (*target, draws)."""
    assert inside.drawn is not None
    assert inside.drawn_gap is not None
    # Draws last, so that a setting picks its distribution as it does from the point estimate.
    drawn, gap = (np.moveaxis(array, 0, -1)[setting] for array in (inside.drawn, inside.drawn_gap))
    low = drawn - gap / np.prod(drawn.shape[:-1])
    return low, low + gap
