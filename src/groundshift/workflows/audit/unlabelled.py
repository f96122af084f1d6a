"""What a model will turn out to lose in domains whose labels are not in yet, or why nobody can know."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from groundshift.report import Section
from groundshift.workflows.audit.models import Design
from groundshift.workflows.audit.performance import (
    ASSUMPTION,
    Performance,
    estimate_performance,
    own_predictions,
)
from groundshift.workflows.audit.table import AuditTable

__all__ = ["performances", "section"]

LEAST_LABELS = 100
"""Labelled rows below which no model of the reference is judged."""


def performances(table: AuditTable, X: Design, rng: np.random.Generator) -> dict[str, Performance]:
    """By domain without labels: the estimated performance there of a model of the rows with labels."""
    labelled, known = np.flatnonzero(~np.isnan(_target(table))), table.labelled_domains
    if table.target is None or not 0 < len(known) < len(table.domains):
        return {}
    labelled = labelled[np.isin(table.domain[labelled], known)]
    if len(labelled) < LEAST_LABELS or not table.names:
        return {}
    classes = len(table.classes) if table.classes is not None else 0
    y, before = _target(table)[labelled], X.take(labelled)
    estimates = {}
    for code in np.setdiff1d(np.arange(len(table.domains)), known):
        after = X.take(np.flatnonzero(table.domain == code))
        held, new, _ = own_predictions(before, y, after, classes, rng)
        estimates[table.domains[code]] = estimate_performance(y, held, new, before, after, classes, rng)
    return estimates


def _target(table: AuditTable) -> Any:
    return np.full(len(table), np.nan) if table.target is None else np.asarray(table.target, dtype=float)


def section(performances: dict[str, Performance], target: str, *, label_shift: bool) -> Section:
    """The section of the report; with a label shift P(y | x) moves, and what is estimated does not hold."""
    rows = pd.concat({name: p.to_frame() for name, p in performances.items()}, names=["domain"]).reset_index()
    rows = rows.drop(columns=[c for c in rows.columns if str(c).startswith("level_")])
    notes = [f"{name}: {p.reason}" for name, p in performances.items() if not p.can_tell]
    if label_shift:
        notes.append(
            f"The verdict is a label shift, and with the shares of {target} its relation to the columns moves too: "
            "these figures hold for a model whose probabilities were adapted to the new shares at best."
        )
    sentences = [_sentence(name, p) for name, p in performances.items() if p.can_tell]
    answer = " ".join(sentences) or "That cannot be told."
    return Section(
        "performance",
        f"How well does a model do where {target} is not in yet?",
        answer,
        (ASSUMPTION, *notes),
        {"Estimated performance where labels are not in yet": rows},
        {},
        {name: p.to_dict() for name, p in performances.items()},
    )


def _sentence(name: str, performance: Performance) -> str:
    main = performance.estimates[0]
    return (
        f"In {name} the {main.metric} of a model of the rows with labels is estimated at {main.estimate:.3g} "
        f"[{main.low:.3g}, {main.high:.3g}], against {main.reference:.3g} on the reference."
    )
