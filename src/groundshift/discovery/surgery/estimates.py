"""P(target | do) from data: by the comb's formula, with its support, its bounds and its intervals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

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
from groundshift.discovery.surgery.model import Model, Names, Table, place_of, query_names
from groundshift.errors import InputError

__all__ = ["Effect", "Interventional", "effect", "interventional"]

Array = NDArray[np.float64]
Support = Literal["error", "bounds"]
Intervals = Literal["posterior", "bootstrap"]
CELLS_AT_ONCE = 8_000_000
MOST_CELLS = 1000
TINY = 1e-12


@dataclass(frozen=True)
class Interventional:
    """P(target | do) and how it came about.

    Attributes
    ----------
    table : one row per value of what is set and of the target. ``p`` is P(target | do), ``low`` and ``high``
        its interval, ``naive`` the conditional P(target | given) without surgery. With ``alpha`` also
        ``unsmoothed``; with ``support="bounds"`` also ``lower`` and ``upper``, between which it lies whatever
        the cells without rows hold
    support : one row per conditional table: cells of its condition, how many are empty, the fewest rows in one
        that is not
    missing : what lacks support: the cell, the table, and the share of P(· | do) that goes through it; of each table
        the thousand heaviest cells
    identification : the derivation
    rows : number of rows; None for probabilities
    ci, level, draws : how the intervals were made; draws is 0 where there are none
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
    ci: Intervals | None
    level: float
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
        found = self.identification
        if len(found.cuts) != 1 or not found.comb:
            raise InputError("There is one comb for one cut of a cause; this formula is not of that form.")
        inside = found.cuts[0].component
        relevant = self.model.graph.projection.restricted(found.cuts[0].kept)
        outside = [v for v in relevant.order if v not in inside]
        f = [term.renamed(f"{found.do[0]}′", found.do[0]) for term in found.comb]
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

    def plot(self, ax: Any = None) -> Any:
        """P(target | do) with its interval beside the naive conditional; returns the matplotlib axes."""
        found = self.identification
        rows = self.table
        if len(found.target) == 1 and len(self.labels[found.target[0]]) == 2:
            rows = rows[rows[found.target[0]] == self.labels[found.target[0]][1]]
        if ax is None:
            from matplotlib.figure import Figure

            ax = Figure(figsize=(max(4.0, 0.7 * len(rows) + 2), 3.6), layout="constrained").subplots()
        at = np.arange(len(rows))
        error = None
        if self.draws:
            error = np.abs(rows[["low", "high"]].to_numpy().T - rows["p"].to_numpy())
        ax.errorbar(at, rows["p"], error, fmt="o", capsize=3, color="#2f6f8f", label="do")
        ax.plot(at, rows["naive"], "x", color="#c4622d", label="naive conditional")
        names = [*found.do, *found.target]
        ticks = [
            "\n".join(f"{n}={v}" for n, v in zip(names, row, strict=True)) for row in rows[names].to_numpy()
        ]
        ax.set_xticks(at, ticks)
        ax.set_xlim(-0.5, len(rows) - 0.5)
        ax.set_ylabel(f"P({', '.join(found.target)} | do({', '.join(found.do)}))")
        ax.spines[["top", "right"]].set_visible(False)
        ax.legend(frameon=False)
        return ax

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "do": list(self.identification.do),
            "target": list(self.identification.target),
            "rows": self.rows,
            "ci": self.ci,
            "level": self.level if self.draws else None,
            "formula": self.identification.formula,
            "derivation": self.derivation.split("\n"),
            "table": self.table.to_dict("records"),
            "support": self.support.to_dict("records"),
            "missing": self.missing.to_dict("records"),
        }

    def __str__(self) -> str:
        parts = [self.derivation, self.table.to_string(index=False, float_format="{:.3f}".format)]
        parts.append(f"({_size_in_words(self)})")
        thin = self.support[(self.support["empty"] > 0) | (self.support["fewest rows"] < 5)]
        if self.rows is not None and len(thin):
            parts.append(f"Thin support:\n{thin.to_string(index=False)}")
        if len(self.missing):
            parts.append(_missing_in_words(self))
        return "\n\n".join(parts)


def _size_in_words(result: Interventional) -> str:
    if result.rows is None:
        return "exact: a table of probabilities"
    if not result.draws:
        return f"{result.rows:,} rows"
    return f"{result.rows:,} rows; {result.level:.0%} intervals from {result.draws:,} {result.ci} draws"


def _missing_in_words(result: Interventional) -> str:
    shown = result.missing.head(5).to_string(index=False, float_format="{:.3g}".format)
    if "unsmoothed" in result.table:
        return f"These cells have no rows, so pseudo-counts stand in for them:\n{shown}"
    return (
        "These cells have no rows: the answer lies between lower and upper whatever they hold, and p spreads their "
        f"share evenly:\n{shown}"
    )


def interventional(
    model: Any,
    data: Any,
    do: Names | Mapping[str, Any],
    target: Names,
    *,
    alpha: float = 0.0,
    ci: Intervals | None = "posterior",
    draws: int = 1000,
    level: float = 0.95,
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
    alpha : pseudo-count in every cell of every conditional table. It keeps support, and biases the effect
    ci, draws, level : how the intervals are made, from how many draws, and their level. "posterior" draws the
        cells of every conditional table from their Dirichlet posterior, whose prior is one row per condition,
        spread evenly over the values (or ``alpha`` in every cell). "bootstrap" draws the rows of the table anew; it
        takes values that were not seen for impossible, and covers too little on sparse tables. None makes no intervals
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
    >>> found = interventional("S->T; T->C; S<->C", smoking_table(), "S", "C")
    >>> found.table[found.table["C"] == 1].round(3)
       S  C      p  naive
    1  0  1  0.458  0.324
    3  1  1  0.747  0.810
    """
    names = [do] if isinstance(do, str) else list(do)
    options = _Options(alpha, ci, draws, level, bins, support, complete, random_state)
    return _estimate(model, data, names, target, [do] if isinstance(do, Mapping) else [], options)


@dataclass(frozen=True)
class _Options:
    """Those of `interventional`."""

    alpha: float = 0.0
    ci: Intervals | None = "posterior"
    draws: int = 1000
    level: float = 0.95
    bins: Mapping[str, Any] | None = None
    support: Support = "error"
    complete: bool = False
    random_state: Any = None

    def __post_init__(self) -> None:
        if self.alpha < 0:
            raise InputError(f"alpha is {self.alpha}; a pseudo-count is at least 0.")
        if self.ci not in ("posterior", "bootstrap", None):
            raise InputError(f"ci is {self.ci!r}; it may be 'posterior', 'bootstrap' or None.")
        if self.ci is not None and self.draws < 20:
            raise InputError(f"{self.draws} draws were asked for; take 20 or more, or ci=None (--draws 0).")
        if not 0 < self.level < 1:
            raise InputError(f"level is {self.level}; it lies between 0 and 1.")
        if self.support not in ("error", "bounds"):
            raise InputError(f"support is {self.support!r}; it may be 'error' or 'bounds'.")


def _estimate(
    model: Any,
    data: Any,
    do: Sequence[str],
    target: Names,
    settings: Sequence[Mapping[str, Any]],
    options: _Options,
) -> Interventional:
    """`interventional` for some settings of what is set, or for all if none are given."""
    model = model if isinstance(model, Model) else Model(model)
    names, wanted = query_names(model, do, target)
    found = identify_in(model.graph, names, wanted, complete=options.complete)
    if not found.computable:
        raise InputError(found.help)
    counts = read_counts(data, found.columns, model.observed, options.bins)
    asked = np.full(counts.shape(names), not settings)
    for setting in settings:
        asked[tuple(place_of(setting[v], counts.labels[v], v) for v in names)] = True
    inputs, over = len(names), (1,) * len(wanted)
    plain = Tables(counts)
    tables = Tables(counts, options.alpha) if options.alpha else plain
    out = (*names, *wanted)
    unsmoothed = plain.product(found.terms, out)
    lacking = _missing_share(unsmoothed, inputs)
    missing = _missing_frame([])
    if (lacking[asked] > TINY).any():
        missing = _missing(plain, found, asked)
        if not options.alpha and options.support == "error":
            raise InputError(_without_support(missing, float(lacking[asked].max()), names))
    cells = int(np.prod(counts.shape(wanted)))
    lacking = lacking.reshape(lacking.shape + over)
    lower, upper = unsmoothed, unsmoothed + lacking
    columns = {"p": tables.product(found.terms, out) if options.alpha else lower + lacking / cells}
    drawn = drawn_gap = observed_drawn = None
    if options.ci is not None and counts.rows is not None:
        low, drawn_gap, observed_drawn = _drawn(tables, found, options)
        gap = drawn_gap.reshape(drawn_gap.shape + over)
        tail = (1 - options.level) / 2
        # A prior draws towards the middle; the interval still holds the estimate, and what the bounds leave open.
        least, most = (columns["p"], columns["p"]) if options.alpha else (lower, upper)
        columns["low"] = np.minimum(np.quantile(low, tail, axis=0), least)
        columns["high"] = np.maximum(np.quantile(low + gap, 1 - tail, axis=0), most)
        drawn = low + gap / cells
    columns["naive"] = _naive(counts, names, wanted)
    if options.alpha:
        columns["unsmoothed"] = np.where(lacking > TINY, np.nan, unsmoothed)
    if options.support == "bounds":
        columns |= {"lower": lower, "upper": upper}
    table = _frame(columns, out, counts.labels)
    if settings:
        table = table[np.repeat(asked.ravel(), cells)].reset_index(drop=True)
    return Interventional(
        table,
        _support_frame(counts, found.terms),
        missing,
        found,
        model,
        counts.rows,
        None if drawn is None else options.ci,
        options.level,
        0 if drawn is None else options.draws,
        columns["p"],
        lower,
        upper,
        drawn,
        drawn_gap,
        observed_drawn,
        tables,
    )


def _drawn(tables: Tables, found: Identification, options: _Options) -> tuple[Array, Array, Array]:
    """Of each draw: the least P(target | do), shape (draws, *do, *target), what goes through cells without rows,
    shape (draws, *do), and P(target), shape (draws, *target).

    The posterior is that of a Bayesian bootstrap, Gamma(n) weights of the cells, with draws of the prior added to
    every conditional table: each of its rows is then a draw from Dirichlet(n + prior), independent of the others. In a
    bootstrap, a condition that a draw has lost keeps its estimate. Either way a condition without rows stays open.
    """
    counts, low, observed = tables.counts, [], []
    rng = np.random.default_rng(check_random_state(options.random_state).randint(2**31))
    for weights in _weights_of_draws(counts, found.terms, options, rng):
        if options.ci == "posterior":
            drawn = Tables(counts, options.alpha, weights, prior=rng)
        else:
            drawn = Tables(counts, options.alpha, weights, instead=None if options.alpha else tables)
        low.append(drawn.product(found.terms, (*found.do, *found.target)))
        total = weights.sum(1).reshape(-1, *(1 for _ in found.target))
        observed.append(counts.marginal(found.target, weights) / total)
    lower = np.concatenate(low)
    return lower, _missing_share(lower, len(found.do), batch=1), np.concatenate(observed)


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
        if options.ci == "posterior":
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
    found: dict[tuple[str, tuple[str, ...]], Term] = {}
    for term in terms:
        for leaf in _leaves(term.of) if term.of else [term]:
            found.setdefault((column(leaf.variable), tuple(map(column, leaf.given))), leaf)
    return list(found.values())


def _support_frame(counts: Counts, terms: Sequence[Term]) -> pd.DataFrame:
    rows = []
    for term in _leaves(terms):
        given = tuple(map(column, term.given))
        weights = counts.marginal(given)
        fewest = weights[weights > 0].min() if counts.rows is not None else np.nan
        rows.append((str(term), weights.size, int((weights == 0).sum()), fewest))
    return pd.DataFrame(rows, columns=["table", "cells", "empty", "fewest rows"])


def _missing(tables: Tables, found: Identification, asked: NDArray[np.bool_]) -> pd.DataFrame:
    """Cells without rows that the formula reads, with the share of P(· | do) that goes through each.

    In causal order: what reaches a cell is made by the tables before it; after it everything sums to one.
    """
    rows = []
    labels, order = tables.counts.labels, list(found.order)
    ordered = sorted(found.terms, key=lambda term: order.index(column(term.variable)))
    for k, term in enumerate(ordered):
        empty = tables.conditional(term).sum(-1) == 0
        if not empty.any():
            continue
        out = [*found.do, *(n for n in term.given if n not in found.do)]
        weight = tables.product(ordered[:k], out) if k else np.ones(tables.counts.shape(out))
        weight = weight * asked.reshape(asked.shape + (1,) * (len(out) - len(found.do)))
        order_of_axes = sorted(range(len(term.given)), key=lambda axis: out.index(term.given[axis]))
        shape = [weight.shape[axis] if name in term.given else 1 for axis, name in enumerate(out)]
        weight = weight * empty.transpose(order_of_axes).reshape(shape)
        heaviest = np.argsort(weight, axis=None)[::-1][:MOST_CELLS]
        for cell in zip(*np.unravel_index(heaviest, weight.shape), strict=True):
            if weight[cell] > TINY:
                at = dict(zip(out, cell, strict=True))
                what = ", ".join(f"{column(n)}={labels[column(n)][at[n]]}" for n in term.given)
                under = ", ".join(f"{n}={labels[n][at[n]]}" for n in found.do)
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
        "--support bounds), or for pseudo-counts (alpha=1), which bias the effect."
    )


# Effects -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Effect:
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

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        result = self.interventional.to_dict()
        return result | {"effect": self.table.to_dict("records"), "setting": self.do, "versus": self.versus}

    def __str__(self) -> str:
        table = self.table.to_string(index=False, float_format="{:.3f}".format)
        inside = self.interventional
        target = ", ".join(inside.identification.target)
        heading = f"{target} under do({self.do}), versus {self.versus} ({_size_in_words(inside)}):"
        parts = [inside.derivation, f"{heading}\n{table}"]
        if len(inside.missing):
            parts.append(_missing_in_words(inside))
        return "\n\n".join(parts)


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
    >>> found = effect("S->T; T->C; S<->C", smoking_table(), {"S": 1}, "C", versus={"S": 0})
    >>> found.table.round(3)
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
    labels, found = inside.labels, inside.identification
    at = tuple(place_of(do[v], labels[v], v) for v in found.do)
    counts = inside._tables.counts
    naive = _naive(counts, found.do, found.target)
    if versus is None:
        rest = counts.marginal(found.target)
        other = least = most = naive_other = rest / rest.sum()
        words = f"P({', '.join(found.target)}) as observed"
    else:
        place = tuple(place_of(versus[v], labels[v], v) for v in found.do)
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
        tail = (1 - inside.level) / 2
        columns["low"] = np.minimum(np.quantile(low - other_high, tail, axis=-1), least_held)
        columns["high"] = np.maximum(np.quantile(high - other_low, 1 - tail, axis=-1), most_held)
    columns["naive"] = naive[at] - naive_other
    if "lower" in inside.table:
        columns |= {"lower": lower, "upper": upper}
    table = _frame(columns, found.target, labels)
    return Effect(table, ", ".join(f"{v}={x}" for v, x in do.items()), words, inside)


def _drawn_bounds(inside: Interventional, setting: tuple[int, ...]) -> tuple[Array, Array]:
    """Least and most P(target | do) of one setting in every draw, each of shape (*target, draws)."""
    assert inside.drawn is not None
    assert inside.drawn_gap is not None
    # Draws last, so that a setting picks its distribution as it does from the point estimate.
    drawn, gap = (np.moveaxis(array, 0, -1)[setting] for array in (inside.drawn, inside.drawn_gap))
    low = drawn - gap / np.prod(drawn.shape[:-1])
    return low, low + gap
