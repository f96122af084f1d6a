"""Steps 2 and 3 of an audit: everything that is asked of the rows before it gets a name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from groundshift.workflows.audit import graph as graph_step
from groundshift.workflows.audit import kind as kind_step
from groundshift.workflows.audit import mechanisms as mechanisms_step
from groundshift.workflows.audit import moved as moved_step
from groundshift.workflows.audit import shares as shares_step
from groundshift.workflows.audit import structure as structure_step
from groundshift.workflows.audit.models import Design, design, equalised, halves, recalibrated
from groundshift.workflows.audit.overlap import Overlapping, overlapping
from groundshift.workflows.audit.table import AuditTable

__all__ = ["Findings"]


@dataclass(frozen=True)
class Findings:
    """What steps 2 and 3 found.

    Attributes
    ----------
    whole : all rows
    sample, X : those that models see, with equal missingness, and their features; ``scores`` are their probabilities of
        the domains
    labelled, labelled_X, labelled_scores : those of them with a label of the target
    moved, related : the columns one by one and together; their dependence
    label, changed : the target's distribution, and the target given the columns; None without labels in two domains
    overlap : the columns in which the labelled domains overlap
    local : single mechanisms, where they were looked for
    unlabelled : shares of the classes in domains whose labels are not in yet
    """

    whole: AuditTable
    sample: AuditTable
    X: Design
    scores: NDArray[np.float64]
    labelled: AuditTable
    labelled_X: Design
    labelled_scores: NDArray[np.float64]
    moved: moved_step.Moved
    related: structure_step.Correlations
    label: structure_step.Label | None
    changed: structure_step.Concept | None
    overlap: Overlapping | None
    local: mechanisms_step.Mechanisms | None
    unlabelled: shares_step.Unlabelled | None

    @property
    def axis(self) -> str:
        """What the domains are called."""
        return self.whole.axis

    @classmethod
    def of(
        cls,
        table: AuditTable,
        level: float,
        max_rows: int,
        rng: np.random.Generator,
        *,
        step: Callable[[str], None] = lambda name: None,
        sized: bool = False,
        localise: bool = False,
        graph: graph_step.Parents | None = None,
        seed: int = 0,
    ) -> Findings:
        """Go through the steps; a permuted copy needs no ``sized`` concept, and neither it nor a window mechanisms.

        With a known ``graph`` its mechanisms are tested; without one they are looked for.
        """
        sample = equalised(table.sample(max_rows, rng), rng)
        first = halves(sample.domain, rng)
        X = design(sample.values, sample.nominal, sample.names)
        step("telling domains apart")
        moved = moved_step.moved(table, sample, X, first, level, rng)
        moved = _without_suspects(moved, sample, first, level, rng)
        step("correlations")
        related = structure_step.correlations(sample, moved, level, rng)
        labelled, labelled_X, scores = sample, X, moved.scores
        label, changed, overlap = None, None, None
        if len(table.labelled_domains) >= 2:
            rows = np.flatnonzero(
                ~np.isnan(np.asarray(sample.target)) & np.isin(sample.domain, table.labelled_domains)
            )
            labelled, labelled_X, halved = sample.take(rows), X.take(rows), first[rows]
            scores = moved.scores[rows]
            if len(rows) < len(sample) or len(table.labelled_domains) < len(table.domains):
                labelled = labelled.renumbered()
                scores = moved_step.tell_apart(labelled, labelled_X, halved, level, rng)[0]
            scores = recalibrated(scores, labelled.domain, len(labelled.domains))
            step("the target given the columns")
            overlap = overlapping(labelled, labelled_X, scores, halved, rng)
            if overlap.usable:
                changed = structure_step.concept(
                    labelled, overlap.X, overlap.scores, halved, rng, sized=sized or localise
                )
            else:
                changed = structure_step.unknown()
            step("the columns given the target")
            whole = table.labelled().within(table.labelled_domains).renumbered()
            label = structure_step.label(whole, labelled, labelled_X, scores, halved, level, rng)
        local: mechanisms_step.Mechanisms | None = None
        _, says = kind_step.judge(moved, related, label, changed, level)
        by_label = label is not None and kind_step.explained_by_label(label, says, level)
        unlabelled = shares_step.estimate(sample, X, first, rng) if localise else None
        if localise and graph is not None:
            step("mechanisms of the graph")
            suspects = kind_step.suspects(moved)
            local = graph_step.known_mechanisms(graph, table, sample, suspects, level, rng)
        elif localise and says["features"] and says["marginals"] and not by_label and len(table.names) > 1:
            step("mechanisms")
            local = mechanisms_step.mechanisms(sample, X, moved, related, level, seed)
        return cls(
            table, sample, X, moved.scores, labelled, labelled_X, scores, moved, related, label, changed, overlap,
            local, unlabelled,
        )  # fmt: skip


def _without_suspects(
    moved: moved_step.Moved,
    table: AuditTable,
    first: NDArray[np.bool_],
    level: float,
    rng: np.random.Generator,
) -> moved_step.Moved:
    """Tell the domains apart without the columns whose missingness moved: their values may be a selection."""
    out = kind_step.suspects(moved)
    if not out:
        return moved
    kept = np.array([name not in out for name in table.names])
    rest = design(table.values[:, kept], table.nominal[kept], [n for n in table.names if n not in out])
    _, auc, low, high, p, by_domain = moved_step.tell_apart(table, rest, first, level, rng)
    return replace(moved, auc=auc, low=low, high=high, p=p, by_domain=by_domain)
