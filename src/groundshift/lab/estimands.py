"""The expression language of claims: numbers computed from the long table of results.

``mean(jaccard|ticc, stage="correlated") - mean(jaccard|ticc, stage="nonnormal")`` is evaluated once for
each replicate (each seed, unless the claim pairs by another column). Expressions are parsed with `ast` and
walked; nothing is ever passed to ``eval``.

- ``mean median min max std count`` of a measure; ``quantile(x|m, q=.9)``
- ``slope``, ``pearson`` and ``spearman`` of a measure ``over`` a column, ``spearman(x|m, over="severity")``, or
  over another measure of the same cells, ``pearson(swc|m, over="jaccard")``; a measure that never changes has
  correlation 0
- ``x|m`` keeps the rows of method ``m``; keywords keep the rows whose column has that value
- ``+ - * /``, ``abs``, ``log``, and ``lowest``/``highest`` of several expressions
"""

from __future__ import annotations

import ast
import copy
import math
import operator
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from groundshift.errors import InputError, did_you_mean

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["NoRows", "form_of", "measures_of", "per_replicate", "support_of"]

AGGREGATES: dict[str, Callable[..., Any]] = {
    "mean": np.mean,
    "median": np.median,
    "min": np.min,
    "max": np.max,
    "std": lambda x: np.std(x, ddof=1),
    "count": len,
}
TRENDS: dict[str, Callable[..., Any]] = {
    "slope": lambda stats, x, y: stats.linregress(x, y).slope,
    "pearson": lambda stats, x, y: stats.pearsonr(x, y).statistic,
    "spearman": lambda stats, x, y: stats.spearmanr(x, y).statistic,
}
FUNCTIONS: dict[str, Callable[..., float]] = {"abs": abs, "log": math.log, "lowest": min, "highest": max}
OPERATORS: dict[type[ast.AST], Callable[..., float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}


class NoRows(LookupError):
    """A replicate has no row that the expression asks for: no such cell was planned."""


def per_replicate(expression: str, table: pd.DataFrame, paired_by: str = "seed") -> dict[Any, float]:
    """The expression's value for each replicate for which the rows were planned.

    A row whose value is NaN (its cell failed, or has not run) makes the replicate NaN: an average is never
    silently one over fewer cells.

    >>> import pandas as pd
    >>> table = pd.DataFrame({"seed": [0, 0, 1, 1], "method": ["a", "b", "a", "b"], "measure": "f1",
    ...                       "value": [.9, .5, .8, .6]})
    >>> {seed: round(value, 3) for seed, value in per_replicate("mean(f1|a) - mean(f1|b)", table).items()}
    {0: 0.4, 1: 0.2}
    """
    tree, values = _parse(expression), {}
    # Without the cells that have such a parameter there is no such column, and no replicate.
    replicates = sorted(table[paired_by].dropna().unique().tolist()) if paired_by in table else []
    calls = [
        node for node in ast.walk(tree) if isinstance(node, ast.Call) and _name(node.func) not in FUNCTIONS
    ]
    # Every aggregate goes through the table once, not once for each replicate.
    aggregates = {call: _aggregates(call, table, paired_by) for call in calls} if replicates else {}
    for replicate in replicates:
        with suppress(NoRows):
            values[replicate] = _evaluate(tree, replicate, aggregates)
    return values


def measures_of(expression: str) -> set[tuple[str, str | None]]:
    """Every (measure, method) that an expression reads; checks its grammar on the way."""
    selections = set()
    for node in ast.walk(_parse(expression)):
        if isinstance(node, ast.Call) and _name(node.func) not in FUNCTIONS:
            selections.add(_selection(node))
    return selections


def form_of(expression: str) -> str:
    """An expression without the methods and rows that it reads: what kind of quantity it is.

    >>> form_of("mean(f1|a, stage='raw') - mean(f1|b)")
    'mean(f1) - mean(f1)'
    """

    bare = copy.deepcopy(_parse(expression))  # the parsed tree is kept and shared
    for node in ast.walk(bare):
        if isinstance(node, ast.Call) and _name(node.func) not in FUNCTIONS:
            node.args, node.keywords = [ast.Name(_selection(node)[0])], []
    return ast.unparse(bare)


def support_of(expression: str) -> tuple[float, float] | None:
    """Lowest and highest value of an expression whose measures lie within 0 and 1; None where it has no such limits.

    >>> support_of("mean(f1|a)"), support_of("mean(f1|a) - mean(f1|b)"), support_of("slope(f1|a)")
    ((0.0, 1.0), (-1.0, 1.0), None)
    """
    return _support(_parse(expression))


Range = tuple[float, float]


def _support(node: ast.AST) -> Range | None:
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        return float(node.value), float(node.value)
    if isinstance(node, ast.UnaryOp) and type(node.op) in OPERATORS:
        inner = _support(node.operand)
        negative = isinstance(node.op, ast.USub)
        return (-inner[1], -inner[0]) if inner and negative else inner
    if isinstance(node, ast.BinOp):
        return _support_of_operation(node)
    if isinstance(node, ast.Call):
        name = _name(node.func)
        if name in FUNCTIONS:
            return _support_of_function(name, [_support(argument) for argument in node.args])
        return (0.0, 1.0) if name in ("mean", "median", "min", "max", "quantile") else None
    return None


def _support_of_operation(node: ast.BinOp) -> Range | None:
    if isinstance(node.op, ast.Sub) and ast.dump(node.left) == ast.dump(node.right):
        return 0.0, 0.0
    left, right = _support(node.left), _support(node.right)
    if left is None or right is None or not isinstance(node.op, ast.Add | ast.Sub | ast.Mult):
        return None
    ends = [OPERATORS[type(node.op)](a, b) for a in left for b in right]
    return min(ends), max(ends)


def _support_of_function(name: str, inner: list[Range | None]) -> Range | None:
    known = [ends for ends in inner if ends is not None]
    if name == "log" or not known or len(known) < len(inner):
        return None
    if name == "abs":
        (low, high), *_ = known
        return max(0.0, low, -high), max(-low, high)
    return FUNCTIONS[name](low for low, _ in known), FUNCTIONS[name](high for _, high in known)


def _evaluate(node: ast.AST, replicate: Any, aggregates: Mapping[ast.Call, Mapping[Any, float]]) -> float:
    """Value of a parsed expression for one replicate, from the values of its aggregates."""
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        return float(node.value)
    if isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
        left, right = (_evaluate(side, replicate, aggregates) for side in (node.left, node.right))
        return OPERATORS[type(node.op)](left, right)
    if isinstance(node, ast.UnaryOp) and type(node.op) in OPERATORS:
        return OPERATORS[type(node.op)](_evaluate(node.operand, replicate, aggregates))
    if isinstance(node, ast.Call) and node not in aggregates:
        arguments = (_evaluate(argument, replicate, aggregates) for argument in node.args)
        return float(FUNCTIONS[_name(node.func)](*arguments))
    if isinstance(node, ast.Call):
        if replicate not in aggregates[node]:
            raise NoRows(ast.unparse(node))
        return aggregates[node][replicate]
    raise InputError(
        f"{ast.unparse(node)!r} is not part of the estimand language; see groundshift.lab.estimands."
    )


@lru_cache(maxsize=512)
def _parse(expression: str) -> ast.expr:
    try:
        return ast.parse(expression.strip(), mode="eval").body
    except SyntaxError as error:
        raise InputError(
            f"The estimand {expression!r} cannot be read: {error.msg} at column {error.offset}."
        ) from error


def _name(node: ast.AST) -> str:
    if isinstance(node, ast.Name):
        return node.id
    raise InputError(f"{ast.unparse(node)!r} stands where an estimand needs a plain name.")


def _selection(call: ast.Call) -> tuple[str, str | None]:
    """Measure and method of ``mean(measure|method, ...)``."""
    if len(call.args) != 1:
        raise InputError(f"{ast.unparse(call)!r} needs one measure, as in mean(jaccard|ticc).")
    (what,) = call.args
    if isinstance(what, ast.BinOp) and isinstance(what.op, ast.BitOr):
        return _name(what.left), _name(what.right)
    return _name(what), None


def _aggregates(call: ast.Call, table: pd.DataFrame, paired_by: str) -> dict[Any, float]:
    """An aggregate's value for each replicate that has rows for it."""
    rows, options = _chosen(call, table)
    name, values = _name(call.func), rows["value"].to_numpy(dtype=float)
    if name not in (*AGGREGATES, *TRENDS, "quantile"):
        raise InputError(
            f"The estimand language has no {name!r}; it has {', '.join([*AGGREGATES, *TRENDS, *FUNCTIONS])}."
        )
    x = _abscissa(table, rows, options.get("over", "severity")) if name in TRENDS else values
    places = rows.groupby(paired_by, sort=False).indices
    return {
        replicate: _aggregate(name, values[place], x[place], options) for replicate, place in places.items()
    }


def _chosen(call: ast.Call, table: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The rows that an aggregate reads, and its options."""
    measure, method = _selection(call)
    keep = table["measure"] == measure
    if method is not None:
        keep &= table["method"] == method
    options = {}
    for keyword in call.keywords:
        value = ast.literal_eval(keyword.value)
        if keyword.arg in ("q", "over"):
            options[keyword.arg] = value
        elif keyword.arg in table.columns:
            column = table[keyword.arg]
            keep &= column.isin(value) if isinstance(value, list | tuple) else column == value
        else:
            raise InputError(
                f"The results have no column {keyword.arg!r}{did_you_mean(keyword.arg, table.columns)} They have "
                f"{', '.join(map(str, table.columns))}."
            )
    return table[keep], options


def _aggregate(name: str, values: np.ndarray, x: np.ndarray, options: Mapping[str, Any]) -> float:
    if np.isnan(values).any():
        return math.nan
    if name == "quantile":
        return float(np.quantile(values, options["q"]))
    return _trend(name, x, values) if name in TRENDS else float(AGGREGATES[name](values))


def _abscissa(rows: pd.DataFrame, chosen: pd.DataFrame, over: str) -> np.ndarray:
    """What a trend runs over: a column of the chosen rows, or another measure of their cells."""
    if over in rows.columns:
        return chosen[over].to_numpy(dtype=float)
    other = rows[rows["measure"] == over].set_index("key")["value"]
    if other.empty:
        raise InputError(f"over={over!r} is neither a column nor a measure of the results.")
    return chosen["key"].map(other).to_numpy(dtype=float)


def _trend(name: str, x: np.ndarray, y: np.ndarray) -> float:
    if np.isnan(x).any():
        return math.nan
    if len(np.unique(x)) < 4:
        raise InputError(
            f"A {name} over {len(np.unique(x))} levels was asked for; a trend needs four or more."
        )
    if name != "slope" and np.ptp(y) == 0:
        return 0.0  # what never changes does not go with anything
    from scipy import stats

    return float(TRENDS[name](stats, x, y))
