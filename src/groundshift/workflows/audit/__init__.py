"""Which structure moved in my data, by which mechanism, and what to do about it.

`audit` compares the rows of a table between domains or windows of time, in six steps: what was looked at, whether
anything moved, which structure, which kind of shift, which remedy beats doing nothing, and whether these data could
have shown a shift at all.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from groundshift.errors import InputError
from groundshift.report import Section
from groundshift.tables import Reading, some
from groundshift.workflows.audit import decay as decay_step
from groundshift.workflows.audit import graph as graph_step
from groundshift.workflows.audit import history as history_step
from groundshift.workflows.audit import kind as kind_step
from groundshift.workflows.audit import losses as losses_step
from groundshift.workflows.audit import moved as moved_step
from groundshift.workflows.audit import power as power_step
from groundshift.workflows.audit import remedies as remedies_step
from groundshift.workflows.audit import shares as shares_step
from groundshift.workflows.audit import structure as structure_step
from groundshift.workflows.audit import timeline as timeline_step
from groundshift.workflows.audit import unlabelled as unlabelled_step
from groundshift.workflows.audit.findings import Findings
from groundshift.workflows.audit.graph import KnownMechanisms
from groundshift.workflows.audit.own_model import OwnLoss, OwnModel, Proba, feature_frame
from groundshift.workflows.audit.result import KINDS, SCHEMA, Audit, Kind, parse_limit
from groundshift.workflows.audit.table import LEAST_ROWS, AuditTable, Task, ingest, path_of, read

__all__ = ["KINDS", "SCHEMA", "Audit", "Kind", "Section", "audit", "parse_limit"]

NULL_ROWS = 2000
Progress = Callable[[str, float], None]


def audit(
    data: Any = None,
    *,
    domain: Any = None,
    time: str | None = None,
    window: str | None = None,
    target: str | None = None,
    task: Task = "auto",
    reference: Any = None,
    current: Any = None,
    columns: Sequence[str] | None = None,
    drop: Sequence[str] = (),
    kinds: Mapping[str, str] | None = None,
    na: Sequence[str] = (),
    date_format: str | None = None,
    day_first: bool | None = None,
    classes: int | None = None,
    prediction: str | None = None,
    proba: Proba | None = None,
    model: Any = None,
    trust: Sequence[str] = (),
    graph: Any = None,
    alpha: float = 0.05,
    alert: float = 0.0,
    max_rows: int = 20_000,
    null_runs: int = 10,
    remedies: bool = True,
    history: str | Path | None = None,
    period: str | None = None,
    random_state: int = 0,
    progress: Progress | None = None,
) -> Audit:
    """Compare the rows of a table between domains, windows of time, or two tables.

    Parameters
    ----------
    data : array (rows, n), frame (pandas, polars, Arrow, Hugging Face data set) or path of a CSV, Parquet, npy or npz
        file; left out with ``reference`` and ``current``
    domain : column of labels (shop, month), or one label per row; of an npz file the array's name
    time : column of dates, periods or numbers instead of a domain, cut into windows
    window : length of a window ("30d", "12h", a number, or day, week, month, quarter, year); by default windows have
        equally many rows
    target : column to be predicted, if there is one (of an npz file the array's name); some rows may have none, or all
        of ``current`` (labels that are not in yet)
    task : what the target asks for; "auto" decides by its values
    reference : the domain that others are compared with; or, with ``current``, a table
    current : a table to compare with ``reference``
    columns : columns to compare; all by default
    drop : columns to leave out
    kinds : column → number, category, date, period, id, text or constant, where the content would say otherwise
    na : words that mean "missing" beside an empty cell
    date_format : how dates are written, as of `datetime.strptime`
    day_first : whether 01/02/2024 is the first of February; without it such dates are refused as a domain or time
    classes : how many hidden classes the rows mix, to estimate their shares by domain (LLS); with no target only
    prediction : column of what your model predicted: classes, or numbers. Its loss is then what is explained
    proba : column of probabilities, of the last of two classes in their order; or class → column; or a column per class
    model : your model instead: a callable on a frame of the columns (without target, domain and time), a fitted
        scikit-learn estimator, or the path of one that skops saved. It gives classes, probabilities or numbers
    trust : types that a .skops file may hold beside those that skops knows
    graph : causal graph that you know (DOT text, path of a .dot file, edges as "a->b; b->y", networkx DiGraph): its
        mechanisms are tested, and what their changes did to the target is told
    alpha : level of the whole verdict: with nothing moved, a shift of any kind is found with at most this probability
    alert : size from which a kind counts as crossed in the timeline of three or more windows
    max_rows : models and pairs see at most so many rows, drawn alike from every domain; single columns see all
    null_runs : copies with permuted domains that are audited, to measure false alarms
    remedies : whether to try what could be done
    history : folder in which this audit is kept beside earlier ones, with a timeline and what is new; see
        `groundshift.workflows.audit.history`
    period : what this audit is called in the history, such as "2024-03"; by default the name of the file of the current
        table, or the last domain
    random_state : seed
    progress : called with the name of a step and the fraction done

    Returns
    -------
    Audit

    Raises
    ------
    InputError
        Columns that are not there, fewer than two domains with fifty rows, a target of one value, predictions that do
        not fit the target, a model that cannot be applied, a graph with a cycle, and the like.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> table = pd.DataFrame(rng.standard_normal((2000, 3)), columns=["age", "visits", "spend"])
    >>> table["month"] = np.repeat(["2024-01", "2024-02"], 1000)
    >>> table["churn"] = (rng.random(2000) < np.where(table["month"] == "2024-01", 0.3, 0.3)).astype(int)
    >>> audit(table, domain="month", target="churn", null_runs=0, remedies=False).found
    ()
    >>> table.loc[1000:, "churn"] = (table.loc[1000:, "spend"] > 0).astype(int)
    >>> audit(table, domain="month", target="churn", null_runs=0, remedies=False).found
    ('concept',)
    """
    _check(alpha, alert, max_rows, null_runs, classes, target)
    if history is not None:
        history_step.check_store(history)
    own = OwnModel.given(prediction, proba, model, trust, target)
    known = None if graph is None else graph_step.parents_of(graph)
    step = _Steps(progress, null_runs)
    step("reading")
    reading = Reading(dict(kinds or {}), tuple(na), date_format, day_first)  # type: ignore[arg-type]
    rows = read(
        data, domain=domain, time=time, window=window, reference=reference, current=current, target=target,
        reading=reading,
    )  # fmt: skip
    unused = () if own is None else own.columns
    table, ingested = ingest(rows, target=target, task=task, columns=columns, drop=(*drop, *unused))
    if known is not None:
        graph_step.check_graph(known, table, rows.table.frame.columns)
    lost: OwnLoss | None = None
    if own is not None:
        step("your model")
        features = feature_frame(data, reference, current, reading, str(target))
        apart = {*unused, domain if isinstance(domain, str) else None, time}
        lost = own.losses(rows.table.frame, table, features, [str(n) for n in features if n not in apart])
    rng = np.random.default_rng(np.random.SeedSequence(random_state))
    findings = Findings.of(
        table, alpha, max_rows, rng, step=step, localise=True, graph=known, seed=random_state
    )
    verdicts = kind_step.verdict(findings, alpha)
    names = tuple(k.name for k in verdicts if k.found)
    headline = _headline(verdicts, table)

    step("loss")
    loss, decay = None, []
    if lost is not None:
        decay = [decay_step.section(lost, findings, verdicts, rng)]
    elif findings.changed is not None and remedies:
        enough = findings.overlap is not None and findings.overlap.enough
        rows_lost = losses_step.losses(
            findings.labelled, findings.labelled_X, findings.labelled_scores, rng, overlapping=enough
        )
        loss = losses_step.section(rows_lost, findings.labelled, verdicts[0].found)
    step("remedies")
    tried, why_not = None, "Nothing was tried, as asked."
    if not names:
        why_not = "Nothing: nothing moved that a remedy could mend."
    elif findings.changed is None:
        why_not = remedies_step.without_labels(names, target)
    elif remedies:
        tried = remedies_step.try_remedies(
            findings.labelled, findings.labelled_X, findings.labelled_scores, alpha, rng
        )

    step("performance without labels")
    unseen = unlabelled_step.performances(findings.sample, findings.X, rng)
    series = timeline_step.timeline(table, alpha, rng, step)
    curves = power_step.planted(findings.whole, alpha, rng)
    alarms = 0
    small = table.sample(NULL_ROWS, rng)
    for run in range(null_runs):
        step(f"permuted copy {run + 1} of {null_runs}")
        alarms += _alarm(small.permuted(rng), alpha, rng)
    step("done")
    sizes = np.bincount(table.domain, minlength=len(table.domains))
    structure = structure_step.section(
        table, findings.related, findings.label, findings.changed, findings.local
    )
    if findings.unlabelled is not None:
        structure = shares_step.with_unlabelled(structure, findings.unlabelled, table.target_name, alpha)
    if classes is not None:
        structure = _with_shares(structure, findings, classes, random_state)
    result = Audit(
        headline=headline,
        found=names,
        kinds=verdicts,
        sections=(
            ingested,
            moved_step.section(findings.moved, table, alpha),
            structure,
            *([graph_step.section(findings.local)] if isinstance(findings.local, KnownMechanisms) else []),
            kind_step.section(verdicts, headline, loss),
            *decay,
            *([unlabelled_step.section(unseen, str(target), label_shift="label" in names)] if unseen else []),
            *([timeline_step.section(series, table, alert)] if len(series) else []),
            remedies_step.section(tried, why_not),
            power_step.section(curves, (alarms, null_runs), len(small), (int(sizes.min()), int(sizes.sum()))),
        ),
        recommended=None if tried is None else tried.recommended,
        settings={
            "data": path_of(data) if current is None else f"{path_of(reference)} and {path_of(current)}",
            "rows": len(table),
            "rows seen by models": len(findings.sample),
            "domains": table.domains,
            "reference": None if table.reference is None else table.domains[table.reference],
            "target": target,
            **({} if lost is None else {"your model": lost.how}),
            **(
                {}
                if known is None
                else {"graph": "; ".join(f"{p}->{n}" for n, given in known.items() for p in given)}
            ),
            "alpha": alpha,
            "seed": random_state,
        },
        untold=_untold(verdicts, table),
        weights=_weights(findings, len(rows.labels)) if tried is not None and tried.weights_help else None,
    )
    return (
        result if history is None else replace(result, history=history_step.record(result, history, period))
    )


# The steps -----------------------------------------------------------------------------------------------


class _Steps:
    """Tells how far the audit is."""

    def __init__(self, progress: Progress | None, null_runs: int) -> None:
        self.progress, self.done, self.total = progress, 0, 9 + null_runs

    def __call__(self, name: str) -> None:
        if self.progress is not None:
            self.progress(name, min(self.done / self.total, 1.0) if name != "done" else 1.0)
        self.done += 1


def _alarm(table: AuditTable, level: float, rng: np.random.Generator) -> bool:
    return any(k.found for k in kind_step.verdict(Findings.of(table, level, NULL_ROWS, rng), level))


def _headline(kinds: Sequence[Kind], table: AuditTable) -> str:
    shifts = [k for k in kinds if k.found]
    if not shifts:
        blind = " Whether the target's relation changed cannot be told." if kinds[0].found is None else ""
        return f"No shift was found between {len(table.domains)} domains.{blind}{_not_seen(table)}"
    names = {
        "concept": "concept shift", "label": "label shift", "mechanism": "a changed mechanism",
        "correlation": "correlation shift", "covariate": "covariate shift", "missingness": "a shift of missing values",
    }  # fmt: skip
    listed = " and ".join(names[k.name] for k in shifts)
    return f"{listed[:1].upper()}{listed[1:]}. {shifts[0].sentence}"


def _not_seen(table: AuditTable) -> str:
    """What a shift could be in that was not looked at; no headline speaks of it."""
    return f" Not compared: {some(table.unseen, 6)}." if table.unseen else ""


def _untold(kinds: Sequence[Kind], table: AuditTable) -> tuple[str, ...]:
    """What these data could not tell, the reader's first screen says it beside the verdict."""
    unknown = [k for k in kinds if k.found is None]
    sentences = [f"{' and '.join(k.name.capitalize() for k in unknown if k.sentence == s)}: {s}"
                 for s in dict.fromkeys(k.sentence for k in unknown)]  # fmt: skip
    if table.unseen:
        sentences.append(f"Columns that were not compared: {some(table.unseen, 12)}.")
    return tuple(sentences)


def _with_shares(section: Section, findings: Findings, classes: int, seed: int) -> Section:
    """The shares of hidden classes by domain, where there is no target (LLS)."""
    from groundshift.discovery.lls import LatentLabelShift

    names = np.array(findings.sample.domains)[findings.sample.domain]
    model = LatentLabelShift(classes, discriminator="mlp", random_state=seed)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", UserWarning)
            model.fit(findings.X.linear, domain=names)
    except InputError as error:
        return replace(
            section, notes=(*section.notes, f"Shares of {classes} hidden classes cannot be told: {error}")
        )
    shares = model.class_prior_.rename_axis("class").reset_index()
    words = tuple(
        f"Shares of hidden classes: {w.message}" for w in caught if issubclass(w.category, UserWarning)
    )
    return replace(
        section,
        notes=(*section.notes, *words),
        tables={**section.tables, "Shares of hidden classes by domain (LLS)": shares},
    )


def _weights(findings: Findings, rows: int) -> pd.Series[Any] | None:
    """Importance weights of the domains before towards the last contrast, for the user's rows."""
    table = findings.sample
    if len(table.domains) != 2 and table.reference is None and not table.ordered:
        return None
    last = len(table.domains) - 1
    before = table.domain != last if table.reference is None else table.domain == table.reference
    after = table.domain == last if table.reference is None else ~before
    codes = np.unique(table.domain[after])
    inside = findings.scores[before]
    ratio = inside[:, codes].sum(1) / np.maximum(1 - inside[:, codes].sum(1), 1e-6)
    ratio = np.minimum(ratio * before.sum() / max(after.sum(), 1), losses_step.MOST_WEIGHT)
    column = pd.Series(np.nan, index=range(rows), name="weight")
    column.iloc[table.row[before]] = ratio / max(ratio.mean(), 1e-12)
    return column


def _check(
    alpha: float, alert: float, max_rows: int, null_runs: int, classes: int | None, target: str | None
) -> None:
    if not 0 < alpha < 1:
        raise InputError(f"alpha is {alpha}; a level between 0 and 1 is needed, as 0.05.")
    if not 0 <= alert <= 1:
        raise InputError(f"alert is {alert}; a size between 0 and 1 is needed.")
    if max_rows < 4 * LEAST_ROWS:
        raise InputError(
            f"max_rows is {max_rows}; at least {4 * LEAST_ROWS} rows are needed to compare anything."
        )
    if null_runs < 0:
        raise InputError(f"null_runs is {null_runs}; give 0 or more.")
    if classes is not None and (classes < 2 or target is not None):
        raise InputError(
            f"classes is {classes}; it is the number of hidden classes (2 or more) of rows that have no target."
        )
