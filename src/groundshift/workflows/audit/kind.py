"""Step 4: which kind of shift is it, and how much of the loss does each explain?

A shift of the label share moves the columns as well, and a shift of the columns moves the label; what tells them apart
is which of the two conditionals stayed: x given y (label), y given x (covariate), or neither (concept).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from statsmodels.stats.multitest import multipletests

from groundshift.measures.two_sample import simes
from groundshift.workflows.audit.models import Design, cross_fitted, fit
from groundshift.workflows.audit.moved import Moved
from groundshift.workflows.audit.result import KINDS, Kind, Section
from groundshift.workflows.audit.structure import Concept, Correlations, Label, Mechanisms, row_loss
from groundshift.workflows.audit.table import AuditTable

__all__ = ["Contrast", "contrasts", "density_ratio", "judge", "losses", "section", "suspects", "verdict"]

Array = NDArray[np.float64]
MOST_CONTRASTS = 4
MOST_WEIGHT = 20.0


# The verdict ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Evidence:
    """P-values adjusted for the questions asked (Holm), None where a question cannot be asked."""

    features: float
    missing: float | None
    label: float | None
    concept: float | None

    @classmethod
    def of(
        cls, features: float, missing: float | None, label: float | None, concept: float | None
    ) -> Evidence:
        """Adjust the p-values that there are."""
        given = {"features": features, "missing": missing, "label": label, "concept": concept}
        asked = {name: p for name, p in given.items() if p is not None}
        adjusted = dict(
            zip(asked, multipletests(list(asked.values()), method="holm")[1].tolist(), strict=True)
        )
        return cls(
            adjusted["features"], adjusted.get("missing"), adjusted.get("label"), adjusted.get("concept")
        )


def suspects(found: Moved) -> list[str]:
    """Columns whose missingness moved: what is left of them is a selection, and is not held against the domain."""
    return found.missing.loc[found.missing["moved"].astype(bool), "column"].tolist()


def judge(
    found: Moved, related: Correlations, told: Label | None, changed: Concept | None, level: float
) -> tuple[Evidence, dict[str, bool]]:
    """What moved: features, marginals, dependence, label, concept, missingness."""
    out = suspects(found)
    columns = found.columns[~found.columns["column"].isin(out)]
    pairs = related.pairs[~related.pairs["first"].isin(out) & ~related.pairs["second"].isin(out)]
    by_column = simes(columns["p"])
    by_pair = related.p if not out else simes(pairs["p"]) if len(pairs) else 1.0
    features = min(1.0, 3 * min(found.p, by_column, by_pair))
    evidence = Evidence.of(
        features,
        found.missing_p if len(found.missing) else None,
        told.difference.p if told else None,
        changed.p if changed else None,
    )
    marginals = by_column <= level
    quiet = set(columns.loc[~columns["moved"].astype(bool), "column"])
    alone = pairs[pairs["moved"].astype(bool) & pairs["first"].isin(quiet) & pairs["second"].isin(quiet)]
    says = {
        "features": evidence.features <= level,
        "marginals": marginals,
        "dependence": by_pair <= level,
        "dependence alone": len(alone) > 0 and by_pair <= level,
        "missingness": evidence.missing is not None and evidence.missing <= level,
        "label": evidence.label is not None and evidence.label <= level,
        "concept": evidence.concept is not None and evidence.concept <= level,
    }
    return evidence, says


def explained_by_label(told: Label, says: dict[str, bool], level: float) -> bool:
    """Whether a moved label is all there is to it.

    Rows with the same label are then alike in all domains. Where y given x is alike as well, the one that says more
    about the domain comes first: it cannot be the consequence of the other.
    """
    if not says["label"] or told.p_rest <= level:
        return False
    by_features = says["features"] and not says["concept"]
    return not by_features or told.bits_y >= told.bits_x


def verdict(
    table: AuditTable,
    found: Moved,
    related: Correlations,
    told: Label | None,
    changed: Concept | None,
    local: Mechanisms | None,
    level: float,
) -> tuple[Kind, ...]:
    """Every kind with its size, whether found or not."""
    evidence, says = judge(found, related, told, changed, level)
    by_label = told is not None and explained_by_label(told, says, level)
    features = says["features"] and not by_label
    named = local.named if local is not None and features and says["marginals"] else ()
    is_found: dict[str, bool | None] = {
        "concept": None if changed is None else says["concept"] and not by_label,
        "label": None if told is None else by_label,
        "mechanism": bool(named),
        "correlation": features and (not says["marginals"] or says["dependence alone"]),
        "covariate": features and says["marginals"] and not named,
        "missingness": says["missingness"],
    }
    made = {
        "concept": _concept(table, changed, evidence, is_found["concept"], by_label),
        "label": _label(table, told, evidence, is_found["label"]),
        "mechanism": _mechanism(found, local, evidence, named, bool(is_found["mechanism"])),
        "correlation": _correlation(found, related, evidence, bool(is_found["correlation"])),
        "covariate": _covariate(found, evidence, says, bool(is_found["covariate"]), by_label),
        "missingness": _missingness(found, evidence, says["missingness"]),
    }
    return tuple(made[name] for name in KINDS)


def _concept(
    table: AuditTable, changed: Concept | None, evidence: Evidence, found: bool | None, by_label: bool
) -> Kind:
    unit = "share of the loss that knowing the domain takes away"
    if changed is None or evidence.concept is None:
        text = "Cannot be told: it takes a target with labels in at least two domains."
        return Kind("concept", None, np.nan, np.nan, np.nan, unit, np.nan, (), text)
    y = table.target_name
    if found:
        along = ", ".join(name for name in changed.where if not name.startswith("("))
        text = (
            f"The same columns no longer mean the same {y}: knowing the domain takes {changed.gain:.0%} of the loss "
            f"away{f'; it shows along {along}' if along else ''}."
        )
    elif by_label:
        text = f"{y} given the columns moved, but only as its overall share did."
    else:
        text = f"The columns say the same about {y} in every domain, as far as can be told."
    return Kind(
        "concept", found, changed.gain, changed.low, changed.high, unit, evidence.concept, changed.where, text
    )


def _label(table: AuditTable, told: Label | None, evidence: Evidence, found: bool | None) -> Kind:
    unit = "distance between the distributions of the target"
    if told is None or evidence.label is None:
        text = "Cannot be told: it takes a target with labels in at least two domains."
        return Kind("label", None, np.nan, np.nan, np.nan, unit, np.nan, (), text)
    d, y = told.difference, table.target_name
    where = table.domains[d.domain]
    if found:
        text = f"The share of {y} moved (most in {where}, by {d.effect:.2f}); rows with the same {y} look as before."
    elif evidence.label <= 0.05 and told.p_rest > 0.05:
        text = f"{y} moved (most in {where}, by {d.effect:.2f}), no more than the columns make it."
    elif evidence.label <= 0.05:
        text = f"{y} moved (most in {where}, by {d.effect:.2f}), but rows with the same {y} do not look as before."
    else:
        text = f"The distribution of {y} stayed, as far as can be told."
    return Kind("label", found, d.effect, d.low, d.high, unit, evidence.label, (where,), text)


def _mechanism(
    found: Moved, local: Mechanisms | None, evidence: Evidence, named: Sequence[str], is_found: bool
) -> Kind:
    unit = "distance between the distributions of the column"
    if is_found:
        row: Any = found.columns[found.columns["column"] == named[0]].iloc[0]
        text = (
            f"What determines {', '.join(named)} changed: {'they' if len(named) > 1 else 'it'} moved while columns "
            "next to it, which would have had to move along, stayed."
        )
        return Kind(
            "mechanism", True, float(row["effect"]), float(row["low"]), float(row["high"]), unit, evidence.features,
            tuple(named), text,
        )  # fmt: skip
    text = "No single column was found to have moved against its neighbours."
    if local is None:
        text = "Not looked for: no column moved by itself."
    return Kind("mechanism", False, 0.0, 0.0, 0.0, unit, evidence.features, (), text)


def _correlation(found: Moved, related: Correlations, evidence: Evidence, is_found: bool) -> Kind:
    unit = "largest change of a correlation, halved"
    pairs = related.pairs
    if not len(pairs):
        text = "There are not two numeric columns to be correlated."
        if is_found:
            text = "The columns moved together while each by itself stayed."
        return Kind("correlation", is_found, 0.0, 0.0, 0.0, unit, evidence.features, (), text)
    top = pairs.iloc[0]
    size = abs(float(top["change"])) / 2
    half = float(top["high"] - top["low"]) / 4
    where = tuple(
        f"{a} – {b}"
        for a, b in pairs.loc[pairs["moved"].astype(bool), ["first", "second"]].head(5).to_numpy()
    )
    if is_found:
        text = (
            f"Columns are tied to each other differently, while each by itself stayed: {top['first']} and "
            f"{top['second']} correlate {top['there']:.2f} in {top['domain']} and {top['elsewhere']:.2f} elsewhere."
            if where
            else "The columns moved together, though no column and no single correlation did."
        )
    elif where:
        text = "Correlations moved no more than the other kinds of shift explain."
    else:
        text = "Correlations stayed, as far as can be told."
    return Kind(
        "correlation",
        is_found,
        size,
        max(size - half, 0.0),
        min(size + half, 1.0),
        unit,
        evidence.features,
        where,
        text,
    )


def _covariate(
    found: Moved, evidence: Evidence, says: dict[str, bool], is_found: bool, by_label: bool
) -> Kind:
    size, low, high = (max(2 * v - 1, 0.0) for v in (found.auc, found.low, found.high))
    where = tuple(found.columns.loc[found.columns["moved"].astype(bool), "column"].head(5))
    if is_found:
        told = f": {', '.join(where)}" if where else ""
        text = f"The mix of rows moved{told}. A classifier tells the domains apart with AUC {found.auc:.2f}."
    elif by_label:
        text = "The columns moved no more than the share of the target makes them."
    elif says["features"]:
        text = "The columns moved, but in the way named above: a single mechanism, or how they are tied together."
    else:
        text = "The mix of rows stayed, as far as can be told."
    return Kind(
        "covariate",
        is_found,
        size,
        low,
        high,
        "2 AUC - 1 of telling the domains apart",
        evidence.features,
        where,
        text,
    )


def _missingness(found: Moved, evidence: Evidence, is_found: bool) -> Kind:
    unit = "largest change of a share of missing values"
    if evidence.missing is None:
        return Kind("missingness", False, 0.0, 0.0, 0.0, unit, 1.0, (), "No value is missing.")
    top = found.missing.iloc[0]
    where = tuple(found.missing.loc[found.missing["moved"].astype(bool), "column"].head(5))
    text = (
        f"Missing values moved: {', '.join(where)} (most in {top['domain']}, by {top['effect']:.0%} of the rows). What "
        "is left of these columns may be a selection, and is not judged."
        if is_found
        else "As much is missing in every domain, as far as can be told."
    )
    return Kind(
        "missingness", is_found, float(top["effect"]), float(top["low"]), float(top["high"]), unit, evidence.missing,
        where, text,
    )  # fmt: skip


# The loss ------------------------------------------------------------------------------------------------


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


def losses(table: AuditTable, X: Design, scores: Array, rng: np.random.Generator) -> pd.DataFrame:
    """How the loss of a model changes when it meets another domain, and what of it x or y alone explains.

    Cai, Namkoong, Yadlowsky (2023): weighting the loss before by the density ratio of x gives what it would be had only
    x moved; the rest is y given x. Weighting by the ratio of label shares does the same for y.

    Returns a row per contrast: domain, before, after, change with low and high, by columns, by label (of the change:
    what each alone would bring), rest (after, less what the columns bring) with its interval, effective rows.
    """
    classes = len(table.classes) if table.classes is not None else 0
    y = np.asarray(table.target, dtype=float)
    rows = []
    for c in contrasts(table):
        train, y_train, y_test = X.take(c.before), y[c.before], y[c.after]
        first = rng.permutation(len(y_train)) < len(y_train) // 2
        before = row_loss(y_train, cross_fitted(train, y_train, classes, first, rng), classes)
        after = row_loss(y_test, fit(train, y_train, classes, rng).predict(X.take(c.after)), classes)
        by_x = density_ratio(scores, table, c)
        moved_x, error_x = _weighted(before, by_x)
        share = _share_ratio(y_train, y_test, classes)
        error = np.hypot(after.std(ddof=1) / np.sqrt(len(after)), before.std(ddof=1) / np.sqrt(len(before)))
        rest_error = np.hypot(after.std(ddof=1) / np.sqrt(len(after)), error_x)
        change, rest = after.mean() - before.mean(), after.mean() - moved_x
        rows.append(
            {
                "domain": c.name, "before": before.mean(), "after": after.mean(),
                "change": change, "low": change - 1.96 * error, "high": change + 1.96 * error,
                "by columns": moved_x - before.mean(),
                "by label": _weighted(before, share)[0] - before.mean() if share is not None else np.nan,
                "by relation": rest, "relation low": rest - 1.96 * rest_error,
                "relation high": rest + 1.96 * rest_error,
                "effective rows": by_x.sum() ** 2 / (by_x**2).sum(),
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def _weighted(values: Array, weight: Array) -> tuple[float, float]:
    mean = float((weight * values).sum() / weight.sum())
    return mean, float(np.sqrt((weight**2 * (values - mean) ** 2).sum()) / weight.sum())


def _share_ratio(before: Array, after: Array, classes: int) -> Array | None:
    if classes == 0:
        return None
    old, new = (np.bincount(v.astype(int), minlength=classes) / len(v) for v in (before, after))
    return (new / np.maximum(old, 1e-12))[before.astype(int)]


def section(kinds: Sequence[Kind], loss: pd.DataFrame | None, table: AuditTable, headline: str) -> Section:
    """The section of the report."""
    report = pd.DataFrame(
        [(k.name, {True: "found", False: "not found", None: "cannot tell"}[k.found], k.size, k.low, k.high, k.p, k.unit)
         for k in kinds],
        columns=["kind", "verdict", "size", "low", "high", "p", "what the size is"],
    )  # fmt: skip
    tables, figures, notes = {"Kinds of shift": report}, {}, []
    if loss is not None and len(loss):
        unit = "log loss" if table.classes is not None else "squared error"
        tables[f"What a model of the domains before loses in each domain ({unit})"] = loss
        figures[f"Change of the {unit}, and what the columns alone would have changed"] = lambda ax: _draw(
            ax, loss, unit
        )
        worst = loss.iloc[int(loss["change"].to_numpy().argmax())]
        if worst["low"] > 0:
            notes.append(
                f"Met in {worst['domain']}, a model of {'the reference' if table.reference is not None else 'others'} "
                f"has a {unit} of {worst['after']:.3g} instead of {worst['before']:.3g}: {worst['by columns']:+.2g} of "
                f"the change goes with the columns, {worst['by relation']:+.2g} with what they say about "
                f"{table.target_name}."
            )
        else:
            notes.append("A model loses nothing that can be told from chance when it meets another domain.")
    return Section("kind", "Which kind of shift is it?", headline, tuple(notes), tables, figures)


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
