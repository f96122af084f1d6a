"""Which single mechanisms changed, where no causal graph is known: CD-NOD on the columns that moved most."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from groundshift.workflows.audit.models import Design, cross_fitted, design, halves, recalibrated
from groundshift.workflows.audit.moved import Moved
from groundshift.workflows.audit.structure import Correlations, covariances
from groundshift.workflows.audit.table import AuditTable

__all__ = ["Mechanisms", "mechanisms"]

LOCALISE_COLUMNS = 10
LOCALISE_ROWS = 1000


@dataclass(frozen=True)
class Mechanisms:
    """Which columns' mechanisms changed, by CD-NOD on a few columns and rows.

    Attributes
    ----------
    columns : column, changes, p (largest over conditioning sets), against (a neighbour that stayed; see `_against`)
    graph : the edges in words
    named : changed columns that have such a neighbour
    notes : what to know about the search, such as columns that are functions of others
    """

    columns: pd.DataFrame
    graph: list[str]
    named: tuple[str, ...]
    notes: list[str] = field(default_factory=list)


def mechanisms(
    table: AuditTable, X: Design, moved: Moved, related: Correlations, level: float, seed: int
) -> Mechanisms:
    """Find the smallest set of columns whose mechanisms changed (CD-NOD, phases 1 and 2).

    A column that changed is named when it changed against a column next to it that stayed. Otherwise the change may
    as well have come from upstream, or from a selection of rows.
    """
    from groundshift.discovery.cdnod import CDNOD

    rng = np.random.default_rng(seed)
    chosen = _chosen(moved, related)
    two = _against_the_others(table, moved)
    rows = [rng.permutation(np.flatnonzero(two.domain == code))[: LOCALISE_ROWS // 2] for code in (0, 1)]
    some = two.take(np.sort(np.concatenate(rows)))
    columns = [table.names.index(name) for name in chosen]
    values = some.values[:, columns]
    whole = ~np.isnan(values).any(1)
    frame = pd.DataFrame(values[whole], columns=chosen)
    domain = np.array(["others", "(domain)"])[some.domain[whole]]
    frame, repeats = _without_repeats(frame.loc[:, frame.nunique() > 1])
    if frame.shape[1] < 2 or min((domain == name).sum() for name in ("others", "(domain)")) < 20:
        return Mechanisms(pd.DataFrame(columns=["column", "changes", "p", "against"]), [], ())
    used = [str(name) for name in frame]
    labelled = [name for name in used if table.nominal[table.names.index(name)]]
    model = CDNOD(phases=(1, 2), alpha=level, discrete=labelled, domain_kind="domain", random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        model.fit(frame, domain=pd.Series(domain, name="(domain)"))
    changing = model.changing_
    report_rows: list[tuple[str, bool, float, str]] = []
    named: list[str] = []
    for name in used:
        changes = bool(changing["changing"][name])
        still = _against(name, model, two, X, moved, level, rng) if changes else ""
        report_rows.append((name, changes, float(changing["p_value"][name]), still))
        if still:
            named.append(str(name))
    report = pd.DataFrame(report_rows, columns=["column", "changes", "p", "against"])
    order = moved.columns.set_index("column")["effect"]
    report = report.assign(effect=order.reindex(report["column"]).to_numpy())
    report = report.sort_values(["changes", "effect"], ascending=False, kind="stable").drop(columns="effect")
    words = model.edges_in_words()
    ordered = tuple(n for n in report["column"] if n in named)
    return Mechanisms(report.reset_index(drop=True), words, ordered, repeats + list(model.warnings_))


def _without_repeats(frame: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Without columns that are another one in other units, with a note for each."""
    if frame.shape[1] < 2:
        return frame, []
    alike = np.triu(np.abs(np.corrcoef(frame.to_numpy(), rowvar=False)) > 1 - 1e-9, 1)
    notes, out = [], []
    for first, second in zip(*np.nonzero(alike), strict=True):
        if first not in out and second not in out:
            out.append(second)
            one, other = frame.columns[first], frame.columns[second]
            notes.append(f"{other} repeats {one} in other units; what is said of {one} holds for both.")
    return frame.drop(columns=frame.columns[out]), notes


def _against_the_others(table: AuditTable, moved: Moved) -> AuditTable:
    """Two domains: the one that most columns moved in, and the others."""
    names = moved.columns.loc[moved.columns["moved"], "domain"]
    code = table.domains.index(names.mode().iloc[0] if len(names) else moved.columns["domain"].iloc[0])
    inside = (table.domain == code).astype(np.int64)
    return replace(table, domain=inside, domains=["the others", table.domains[code]], reference=None)


def _chosen(moved: Moved, related: Correlations) -> list[str]:
    """The columns that moved most, and for each the one most correlated with it."""
    order = moved.columns["column"].tolist()
    if len(order) <= LOCALISE_COLUMNS:
        return order
    strength = pd.DataFrame(
        np.abs(related.matrices).mean(0) - np.eye(len(related.names)), related.names, related.names
    )
    chosen: list[str] = []
    for name in order:
        near = strength[name].sort_values(ascending=False).index[:2].tolist() if name in strength else []
        chosen += [c for c in (name, *near) if c not in chosen]
        if len(chosen) >= LOCALISE_COLUMNS:
            break
    return chosen[:LOCALISE_COLUMNS]


def _against(
    name: str, model: Any, table: AuditTable, X: Design, moved: Moved, level: float, rng: np.random.Generator
) -> str:
    """A neighbour of a changed column that stayed, and differs between domains once the changed columns are known.

    It is then no effect of theirs, nor do both follow a selection of rows: it is a cause of a column whose mechanism
    changed (the domain and the neighbour meet in a collider).
    """
    columns = moved.columns.set_index("column")
    edges = model.edges_
    near = {*edges.loc[edges["effect"] == name, "cause"], *edges.loc[edges["cause"] == name, "effect"]}
    quiet = [
        n
        for n in near
        if n in columns.index and columns.loc[n, "p"] > 0.05 and not table.discrete[table.names.index(n)]
    ]
    changing = [n for n in model.variables_ if model.changing_.loc[n, "changing"]]
    at = [table.names.index(n) for n in changing]
    given = design(table.values[:, at], table.nominal[at], changing)
    first = halves(table.domain, rng)
    k = len(table.domains)
    scores = recalibrated(cross_fitted(given, table.domain.astype(float), k, first, rng), table.domain, k)
    away = (np.eye(k)[table.domain] - scores)[:, 1 if k == 2 else 0 :]
    weights = np.column_stack([np.ones(len(table)), given.linear])
    for other in sorted(quiet):
        values = X.linear[:, X.source.index(other)]
        residual = values[:, None] - recalibrated(cross_fitted(given, values, 0, first, rng), values, 0)
        if covariances(residual, away, weights)[1] <= level / len(quiet):
            return other
    return ""
