"""Step 4: which kind of shift is it, and how much of the loss does each explain?

A shift of the label share moves the columns as well, and a shift of the columns moves the label; what tells them apart
is which of the two conditionals stayed: x given y (label), y given x (covariate), or neither (concept).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from groundshift.measures.multiple import holm
from groundshift.measures.two_sample import simes
from groundshift.report import Section
from groundshift.tables import some
from groundshift.workflows.audit.graph import KnownMechanisms
from groundshift.workflows.audit.moved import Moved
from groundshift.workflows.audit.result import KINDS, Kind, p_words
from groundshift.workflows.audit.structure import Concept, Correlations, Label

if TYPE_CHECKING:
    from groundshift.workflows.audit.findings import Findings

__all__ = ["judge", "section", "suspects", "verdict"]


LEAST_SELECTION = 0.01


# The verdict ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Evidence:
    """P-values adjusted for the questions asked (Holm), None where a question cannot be asked.

    ``dependence`` is the part of ``features`` that correlations alone say.
    """

    features: float
    dependence: float
    missing: float | None
    label: float | None
    concept: float | None

    @classmethod
    def of(
        cls,
        features: float,
        dependence: float,
        missing: float | None,
        label: float | None,
        concept: float | None,
    ) -> Evidence:
        """Adjust the p-values that there are."""
        given = {"features": features, "missing": missing, "label": label, "concept": concept}
        p_values = {name: p for name, p in given.items() if p is not None}
        adjusted = dict(zip(p_values, holm(list(p_values.values())).tolist(), strict=True))
        factor = adjusted["features"] / features if features > 0 else len(p_values)
        return cls(
            adjusted["features"], min(1.0, dependence * factor), adjusted.get("missing"), adjusted.get("label"),
            adjusted.get("concept"),
        )  # fmt: skip


def suspects(features: Moved) -> list[str]:
    """Columns whose missingness moved: what is left of them is a selection, and is not held against the domain.

    A share that moved by less than `LEAST_SELECTION` cannot select enough rows to matter.
    """
    moved = features.missing["moved"].astype(bool) & (features.missing["effect"] >= LEAST_SELECTION)
    return features.missing.loc[moved, "column"].tolist()


def judge(
    moved: Moved, related: Correlations, label: Label | None, changed: Concept | None, level: float
) -> tuple[Evidence, dict[str, bool]]:
    """What moved: features, marginals, dependence, label, concept, missingness."""
    out = suspects(moved)
    columns = moved.columns[~moved.columns["column"].isin(out)]
    pairs = related.pairs[~related.pairs["first"].isin(out) & ~related.pairs["second"].isin(out)]
    by_column = simes(columns["p"])
    by_pair = related.p if not out else simes(pairs["p"]) if len(pairs) else 1.0
    evidence = Evidence.of(
        min(1.0, 3 * min(moved.p, by_column, by_pair)),
        min(1.0, 3 * by_pair),
        moved.missing_p if len(moved.missing) else None,
        label.difference.p if label else None,
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


def explained_by_label(label: Label, says: dict[str, bool], level: float) -> bool:
    """Whether a moved label is all there is to it.

    Rows with the same label are then alike in all domains. Where y given x is alike as well, the one that says more
    about the domain comes first: it cannot be the consequence of the other.
    """
    if not says["label"] or label.p_rest <= level:
        return False
    by_features = says["features"] and not says["concept"]
    return not by_features or label.bits_y >= label.bits_x


def verdict(f: Findings, level: float) -> tuple[Kind, ...]:
    """Every kind with its size and its status.

    A kind whose own question is answered with yes, though another kind accounts for it, is "not separately": beside
    "not found" stands no small p-value.
    """
    evidence, says = judge(f.moved, f.related, f.label, f.changed, level)
    new_shares = _shares_alone(f, says, level)
    by_label = new_shares is not None or (f.label is not None and explained_by_label(f.label, says, level))
    overlap = f.overlap is None or f.overlap.enough
    features = says["features"] and not by_label
    known = f.local if isinstance(f.local, KnownMechanisms) else None
    named = f.local.named if f.local is not None and (known or (features and says["marginals"])) else ()
    decided: dict[str, bool | None] = {
        "concept": None if f.changed is None or not overlap else says["concept"] and not by_label,
        "label": (True if by_label else None) if f.label is None else by_label,
        "mechanism": bool(named) or (None if known and known.untold else False),
        "correlation": features
        and not (known and named)
        and (not says["marginals"] or says["dependence alone"]),
        "covariate": features and says["marginals"] and (not named or bool(known and known.roots)),
        "missingness": says["missingness"],
    }
    if says["label"] and not any(decided.values()):
        decided["label"] = True  # something moved the target, and nothing else is there to have done it
    causes = [name for name in KINDS if decided[name]]
    doubtful = decided["concept"] is None and f.changed is not None and says["concept"]

    def by(*names: str) -> str:
        return " and ".join(name for name in causes if name in names)

    explained = {
        "concept": by("label") if says["concept"] and overlap else "",
        "label": (by("concept", "covariate", "mechanism", "correlation", "missingness") or "another kind")
        if says["label"] and not decided["label"] else "",
        "mechanism": "",
        "correlation": by("label", "mechanism", "covariate", "concept") if evidence.dependence <= level else "",
        "covariate": by("label", "mechanism", "correlation") if says["features"] else "",
        "missingness": "",
    }  # fmt: skip
    parts = {
        "concept": lambda: _concept(f, evidence, doubtful),
        "label": lambda: _label(f, evidence, new_shares),
        "mechanism": lambda: _mechanism(f, evidence, named),
        "correlation": lambda: _correlation(f, evidence, bool(decided["correlation"])),
        "covariate": lambda: _covariate(f, evidence),
        "missingness": lambda: _missingness(f, evidence),
    }
    kinds = []
    for name in KINDS:
        measured = parts[name]()
        reason = "" if decided[name] or decided[name] is None else explained[name]
        p = measured.p
        if decided[name] is False and not reason and p <= level:
            p = float("nan")  # the p-value belongs to a question that another kind has answered
        kinds.append(
            Kind(
                name, decided[name], measured.size, measured.low, measured.high, measured.unit, p, measured.where,
                measured.sentences[_status(decided[name], reason)], reason,
            )
        )  # fmt: skip
    return tuple(kinds)


def _status(found: bool | None, reason: str) -> str:
    return "unknown" if found is None else "found" if found else "explained" if reason else "none"


def _shares_alone(f: Findings, says: dict[str, bool], level: float) -> pd.DataFrame | None:
    """Estimated shares of the classes, where labels are not in yet and a moved share accounts for all that moved.

    Every domain without labels has to agree that only the shares moved, and one share has to have moved.
    """
    u = f.unlabelled
    if u is None or f.label is not None or not says["features"] or (u.fits["p"] <= level).any():
        return None
    moved = (u.shares["low"] > u.shares["before"]) | (u.shares["high"] < u.shares["before"])
    return u.shares if moved.any() else None


@dataclass(frozen=True)
class _Measured:
    """What is known of a kind, and the sentence of each status it may have."""

    unit: str
    p: float
    sentences: Mapping[str, str]
    size: float = np.nan
    low: float = np.nan
    high: float = np.nan
    where: tuple[str, ...] = ()


CONCEPT_UNIT = "share of the loss that knowing the domain saves"
LABEL_UNIT = "distance between the distributions of the target (0 alike, 1 nothing in common)"
NO_LABELS = "It takes a target with labels in at least two domains."


def _concept(f: Findings, evidence: Evidence, doubtful: bool) -> _Measured:
    changed, y = f.changed, f.whole.target_name
    if changed is None or evidence.concept is None:
        return _Measured(CONCEPT_UNIT, np.nan, dict.fromkeys(("unknown", "none"), NO_LABELS))
    along = ", ".join(name for name in changed.where if not name.startswith("("))
    shown = f"; it shows along {along}" if along else ""
    if changed.spread == changed.spread:
        how = f"what they leave open of {y} spreads {changed.spread:.1f} times as much in one domain as in another"
    else:
        how = f"adding {f.axis} as a feature cuts the loss by {changed.gain:.0%}"
    same = f"The columns say the same about {y} in every domain, as far as can be told."
    if f.overlap is not None and not f.overlap.enough:
        return _Measured(CONCEPT_UNIT, np.nan, {"unknown": _no_overlap(f, doubtful, how + shown)})
    return _Measured(
        CONCEPT_UNIT,
        evidence.concept,
        {
            "found": f"The same columns no longer mean the same {y}: {how}{shown}.",
            "explained": f"{y} given the columns moved only as far as its overall share did.",
            "none": same,
        },
        changed.gain, changed.low, changed.high, changed.where,
    )  # fmt: skip


def _no_overlap(f: Findings, doubtful: bool, how: str) -> str:
    """What cannot be told with the separating columns, and what holds without them."""
    if f.overlap is None or f.changed is None:
        return ""
    y, without = f.whole.target_name, f.overlap.without
    named = some(without, 4)
    with_them = (
        f"With {named} in the table the domains do not overlap: whether rows of the same values mean the same {y} "
        "cannot be told."
    )
    if not f.overlap.usable:
        return f"{with_them} No few columns are responsible for that."
    rest = (
        f"the relation of the other columns to {y} changed ({how})"
        if doubtful
        else f"the other columns say the same about {y} in every domain, as far as can be told"
    )
    return f"{with_them} Without {'it' if len(without) == 1 else 'them'} {rest}."


def _label(f: Findings, evidence: Evidence, new_shares: pd.DataFrame | None) -> _Measured:
    label, y = f.label, f.whole.target_name
    if label is None and new_shares is not None:
        return _of_shares(f, new_shares)
    if label is None or evidence.label is None:
        return _Measured(LABEL_UNIT, np.nan, dict.fromkeys(("unknown", "none"), NO_LABELS))
    d = label.difference
    where = f.labelled.domains[d.domain]
    moved = f"The distribution of {y} moved (most in {where}, by {d.effect:.2f})"
    rest = (
        "no more than the columns make it"
        if label.p_rest > 0.05
        else "but rows with the same value look different"
    )
    alike = (
        "rows with the same value look as before"
        if label.p_rest > 0.05
        else "no other kind accounts for that"
    )
    return _Measured(
        LABEL_UNIT, evidence.label,
        {
            "found": f"{moved}; {alike}.",
            "explained": f"{moved}, {rest}.",
            "none": f"The distribution of {y} stayed, as far as can be told.",
        },
        d.effect, d.low, d.high, (where,),
    )  # fmt: skip


def _of_shares(f: Findings, shares: pd.DataFrame) -> _Measured:
    """A label shift in a domain whose labels are not in yet."""
    y = f.whole.target_name
    away = (shares["share"] - shares["before"]).abs()
    by_domain = away.groupby(shares["domain"]).sum() / 2
    where = str(by_domain.idxmax())
    rows = shares[shares["domain"] == where]
    row: Any = rows.iloc[int((rows["share"] - rows["before"]).abs().to_numpy().argmax())]
    half = float(row["high"] - row["low"]) / 2
    size = float(by_domain.max())
    fits = float(f.unlabelled.fits["p"].min()) if f.unlabelled is not None else np.nan
    text = (
        f"The columns moved just as another share of {y} would move them ({p_words(fits)} for that): {y} = "
        f"{row['class']} is estimated at {row['share']:.1%} [{row['low']:.1%}, {row['high']:.1%}] in {where}, where "
        f"labels are not in yet, against {row['before']:.1%} before. A classifier weighted to the new shares mends it."
    )
    return _Measured(
        LABEL_UNIT, np.nan, {"found": text}, size, max(size - half, 0.0), min(size + half, 1.0), (where,)
    )


def _mechanism(f: Findings, evidence: Evidence, named: Sequence[str]) -> _Measured:
    if isinstance(f.local, KnownMechanisms):
        return _Measured(**f.local.measured())
    unit = "distance between the distributions of the column (0 alike, 1 nothing in common)"
    if named:
        row: Any = f.moved.columns[f.moved.columns["column"] == named[0]].iloc[0]
        text = (
            f"What determines {', '.join(named)} changed: {'they' if len(named) > 1 else 'it'} moved while columns "
            "next to it, which would have had to move along, stayed."
        )
        return _Measured(
            unit, evidence.features, {"found": text}, float(row["effect"]), float(row["low"]), float(row["high"]),
            tuple(named),
        )  # fmt: skip
    text = "No single column was found to have moved against its neighbours."
    if f.local is None:
        text = "Not looked for: no column moved by itself."
    return _Measured(unit, np.nan, {"none": text}, 0.0, 0.0, 0.0)


def _correlation(f: Findings, evidence: Evidence, is_found: bool) -> _Measured:
    unit = "largest change of a correlation, halved"
    pairs = f.related.pairs
    p = evidence.features if is_found else evidence.dependence
    if not len(pairs):
        return _Measured(
            unit, p,
            {
                "found": "The columns moved together while each by itself stayed.",
                "explained": "The columns moved together as the other kinds make them.",
                "none": "There are not two numeric columns to be correlated.",
            },
            0.0, 0.0, 0.0,
        )  # fmt: skip
    top = pairs.iloc[0]
    size, half = abs(float(top["change"])) / 2, float(top["high"] - top["low"]) / 4
    where = tuple(
        f"{a} – {b}"
        for a, b in pairs.loc[pairs["moved"].astype(bool), ["first", "second"]].head(5).to_numpy()
    )
    return _Measured(
        unit, p,
        {
            "found": (
                f"Columns are tied to each other differently, while each by itself stayed: {top['first']} and "
                f"{top['second']} correlate {top['there']:.2f} in {top['domain']} and {top['elsewhere']:.2f} elsewhere."
                if where
                else "The columns moved together, though no column and no single correlation did."
            ),
            "explained": "Correlations moved no more than the other kinds of shift explain.",
            "none": "Correlations stayed, as far as can be told.",
        },
        size, max(size - half, 0.0), min(size + half, 1.0), where,
    )  # fmt: skip


def _covariate(f: Findings, evidence: Evidence) -> _Measured:
    size, low, high = (max(2 * v - 1, 0.0) for v in (f.moved.auc, f.moved.low, f.moved.high))
    where = tuple(f.moved.columns.loc[f.moved.columns["moved"].astype(bool), "column"].head(5))
    listed = f": {', '.join(where)}" if where else ""
    return _Measured(
        "2 AUC - 1 of telling the domains apart (0 alike, 1 nothing in common)", evidence.features,
        {
            "found": f"The mix of rows moved{listed}. A classifier tells the domains apart with AUC {f.moved.auc:.2f}.",
            "explained": "The columns moved no more than the kinds named above move them.",
            "none": "The mix of rows stayed, as far as can be told.",
        },
        size, low, high, where,
    )  # fmt: skip


def _missingness(f: Findings, evidence: Evidence) -> _Measured:
    unit = "largest change of a share of missing values"
    if evidence.missing is None:
        return _Measured(unit, 1.0, {"none": "No value is missing."}, 0.0, 0.0, 0.0)
    top = f.moved.missing.iloc[0]
    where = tuple(f.moved.missing.loc[f.moved.missing["moved"].astype(bool), "column"].head(5))
    return _Measured(
        unit, evidence.missing,
        {
            "found": (
                f"Missing values moved: {', '.join(where)} (most in {top['domain']}, by {top['effect']:.1%} of rows). "
                "What is left of these columns may be a selection, and is not judged."
            ),
            "none": "As much is missing in every domain, as far as can be told.",
        },
        float(top["effect"]), float(top["low"]), float(top["high"]), where,
    )  # fmt: skip


def section(kinds: Sequence[Kind], headline: str, losses: Section | None) -> Section:
    """The section of the report; ``losses`` holds what a model loses, where there is one."""
    report = pd.DataFrame(
        [(k.name, k.status, k.size, k.low, k.high, k.p, k.unit) for k in kinds],
        columns=["kind", "verdict", "size", "low", "high", "p", "what the size is"],
    )
    more = losses or Section("losses", "", "")
    return Section(
        "kind", "Which kind of shift is it?", headline, more.notes, {"Kinds of shift": report, **more.tables},
        more.figures,
    )  # fmt: skip
