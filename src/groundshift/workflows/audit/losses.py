"""How the loss of a model changes when it meets another domain, and what of it each kind of shift explains.

Cai, Namkoong, Yadlowsky (2023): weighting the loss before by the density ratio of the columns gives what it would be
had only the columns moved; the rest is their relation to the target. That takes domains which overlap.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from groundshift.report import Section
from groundshift.workflows.audit.models import Design, cross_fitted, fit
from groundshift.workflows.audit.structure import row_loss
from groundshift.workflows.audit.table import AuditTable

__all__ = ["MOST_WEIGHT", "Contrast", "contrasts", "density_ratio", "losses", "section"]

Array = NDArray[np.float64]
MOST_CONTRASTS = 4
MOST_WEIGHT = 20.0
LEAST_EFFECTIVE = 30
"""Weighted rows below which the split of a loss is not told."""


@dataclass(frozen=True)
class Contrast:
    """A model of some domains meets another one.

    Attributes
    ----------
    before, after : rows of the two sides, bool, shape (rows,)
    name : of the domain that is met
    code : its code
    """

    before: NDArray[np.bool_]
    after: NDArray[np.bool_]
    name: str
    code: int


def contrasts(table: AuditTable) -> list[Contrast]:
    """The reference and each other domain; in time, all that came before and each window; else all others and each.

    Of many, the last `MOST_CONTRASTS` are taken.
    """
    present = [int(c) for c in table.labelled_domains]
    if table.reference is not None and table.reference in present:
        sides = [([table.reference], c) for c in present if c != table.reference]
    elif table.ordered:
        sides = [(present[:n], present[n]) for n in range(1, len(present))]
    elif len(present) == 2:
        sides = [(present[:1], present[1])]
    else:
        sides = [([o for o in present if o != c], c) for c in present]
    return [
        Contrast(np.isin(table.domain, before), table.domain == code, table.domains[code], code)
        for before, code in sides[-MOST_CONTRASTS:]
    ]


def density_ratio(scores: Array, table: AuditTable, contrast: Contrast) -> Array:
    """Importance weights p(x | after) / p(x | before) of the rows before, of mean 1, cut off at `MOST_WEIGHT`."""
    codes = np.unique(table.domain[contrast.before])
    inside = scores[contrast.before]
    ratio = inside[:, contrast.code] / np.maximum(inside[:, codes].sum(1), 1e-6)
    ratio = ratio * contrast.before.sum() / contrast.after.sum()
    ratio = np.minimum(ratio, MOST_WEIGHT)
    return ratio / max(ratio.mean(), 1e-12)


def losses(
    table: AuditTable, X: Design, scores: Array, rng: np.random.Generator, *, overlapping: bool
) -> pd.DataFrame:
    """What a model of the domains before loses in each domain after, and how the change splits.

    Weighting by the ratio of label shares does for the target what the density ratio does for the columns.

    Parameters
    ----------
    overlapping : whether the domains overlap; the split is left open (NaN) where they do not

    Returns
    -------
    A row per contrast: domain, before, after, change with low and high, by columns, by label (of the change: what each
    alone would bring), by relation (after, less what the columns bring) with its interval, effective rows.
    """
    classes = len(table.classes) if table.classes is not None else 0
    y = np.asarray(table.target, dtype=float)
    rows = []
    for c in contrasts(table):
        train, y_train, y_test = X.take(c.before), y[c.before], y[c.after]
        first = rng.permutation(len(y_train)) < len(y_train) // 2
        before = row_loss(y_train, cross_fitted(train, y_train, classes, first, rng), classes)
        after = row_loss(y_test, fit(train, y_train, classes, rng).predict(X.take(c.after)), classes)
        rows.append(
            _split(c, before, after, y_train, y_test, classes, density_ratio(scores, table, c), overlapping)
        )
    return pd.DataFrame(rows)


def _split(
    c: Contrast,
    before: Array,
    after: Array,
    y_before: Array,
    y_after: Array,
    classes: int,
    by_x: Array,
    overlapping: bool,
) -> dict[str, Any]:
    """One row of `losses`."""
    noise = after.std(ddof=1) / np.sqrt(len(after))
    error = np.hypot(noise, before.std(ddof=1) / np.sqrt(len(before)))
    change = after.mean() - before.mean()
    effective = by_x.sum() ** 2 / (by_x**2).sum()
    moved_x, error_x = _weighted(before, by_x)
    if not overlapping or effective < LEAST_EFFECTIVE:
        moved_x = error_x = np.nan
    share = _share_ratio(y_before, y_after, classes)
    rest, half = after.mean() - moved_x, 1.96 * np.hypot(noise, error_x)
    return {
        "domain": c.name, "before": before.mean(), "after": after.mean(),
        "change": change, "low": change - 1.96 * error, "high": change + 1.96 * error,
        "by columns": moved_x - before.mean(),
        "by label": _weighted(before, share)[0] - before.mean() if share is not None else np.nan,
        "by relation": rest, "relation low": rest - half, "relation high": rest + half,
        "effective rows": effective,
    }  # fmt: skip


def _weighted(values: Array, weight: Array) -> tuple[float, float]:
    mean = float((weight * values).sum() / weight.sum())
    return mean, float(np.sqrt((weight**2 * (values - mean) ** 2).sum()) / weight.sum())


def _share_ratio(before: Array, after: Array, classes: int) -> Array | None:
    if classes == 0:
        return None
    old, new = (np.bincount(v.astype(int), minlength=classes) / len(v) for v in (before, after))
    return (new / np.maximum(old, 1e-12))[before.astype(int)]


def section(loss: pd.DataFrame, table: AuditTable, changed: bool | None) -> Section:
    """The part of the report on losses; ``changed`` is the verdict on the relation, which it does not contradict."""
    unit = "log loss" if table.classes is not None else "squared error"
    caption = f"What a model of the domains before loses in each domain ({unit})"
    figures = {
        f"Change of the {unit}, and what the columns alone would have changed": lambda ax: _draw(
            ax, loss, unit
        )
    }
    worst = loss.iloc[int(loss["change"].to_numpy().argmax())]
    if worst["low"] <= 0:
        sentence = "A model loses nothing that can be told from chance when it meets another domain."
    else:
        whose = "the reference" if table.reference is not None else "the domains before"
        sentence = (
            f"Met in {worst['domain']}, a model of {whose} has a {unit} of {worst['after']:.3g} instead of "
            f"{worst['before']:.3g}{_accounted(worst, table.target_name, changed)}."
        )
    return Section("losses", "What does a model lose?", sentence, (sentence,), {caption: loss}, figures)


def _accounted(row: pd.Series[Any], target: str, changed: bool | None) -> str:
    if not np.isfinite(row["by columns"]):
        return "; the domains overlap too little to say how much of that goes with the columns"
    start = f": {row['by columns']:+.2g} of the change goes with the columns, {row['by relation']:+.2g} "
    if changed or not row["relation low"] > 0:
        return f"{start}with what they say about {target}"
    return (
        f"{start}is left over, which is not put down to a changed relation: the test of it found none, and weighted "
        "rows stand for others only roughly"
    )


def _draw(ax: Any, loss: pd.DataFrame, unit: str) -> None:
    y = np.arange(len(loss))[::-1]
    ax.axvline(0, color="#9aa5ad", linewidth=1)
    ax.barh(y + 0.18, loss["by columns"], height=0.3, color="#2f6f8f", label="with the columns")
    ax.barh(
        y - 0.18, loss["by relation"], height=0.3, color="#c4622d", label="with their relation to the target"
    )
    ax.hlines(y - 0.18, loss["relation low"], loss["relation high"], color="#333333", linewidth=1)
    ax.set_yticks(y, [str(d)[:28] for d in loss["domain"]])
    ax.set_xlabel(f"change of the {unit}")
    ax.legend(frameon=False, fontsize=8)
