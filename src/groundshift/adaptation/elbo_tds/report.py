"""What a fitted classifier says of itself: how it and its rivals decay, and which features move."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from groundshift.adaptation.elbo_tds.evaluate import FEW, decay_slope
from groundshift.adaptation.elbo_tds.model import METHODS
from groundshift.pages import number
from groundshift.report import Report, Section
from groundshift.tables import some

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from groundshift.adaptation.elbo_tds.estimator import ELBOTDSClassifier

__all__ = ["classifier_report"]

FACTS = {
    "effective_rank": "effective rank of the code",
    "change": "mean relative change of the code under resampling",
    "loss_ratio": "weighted self-supervised loss over the loss of the label, last 100 steps",
}


def classifier_report(model: ELBOTDSClassifier) -> Report:
    """The report of a fitted classifier."""
    schema, table, days = model.schema_, model.evaluation_, model.prequential_
    sections = []
    if len(table):
        sections.append(Section("decay", "How does it decay?", tables={"Mean over periods": _summary(table)}, notes=(
            "slope is the change of the AUC a period. All methods had the same rows, network and rule for the epoch.",
            *_undefined(table))))  # fmt: skip
        sections.append(Section("periods", "Periods", tables={"By method and period": table}, folded=True, notes=(
            "unseen is the share of categories and ids that training has not seen; beyond that of moving numbers in "
            "buckets that neither training nor its resampling reached.",)))  # fmt: skip
    if len(days):
        sections.append(
            Section("days", "Days that it was updated with", tables={"Scored before training": days})
        )
    if len(schema.drift):
        sections.append(
            Section("features", "Which features move?", tables={"The largest movement first": schema.drift})
        )
    facts: dict[str, Any] = {"method": METHODS[model.method], "trained on": some(model.trained_, 4)}
    facts["AUC of the validation rows"] = model.validation_
    facts |= {words: model.code_[name] for name, words in FACTS.items() if name in model.code_}
    sections.append(Section("training", "Training", facts=facts, notes=(
        f"Resampled: {', '.join(schema.time_varying) or 'nothing'}.",)))  # fmt: skip
    figure = None
    if len(table):
        figure = "AUC of the periods after training", lambda ax: _draw(ax, table)
    elif len(days):
        figure = (
            "AUC of each day before it was trained on",
            lambda ax: _draw(ax, days.assign(method=model.method)),
        )
    elif len(schema.drift):
        figure = "Stability index of each feature between consecutive periods", schema._draw
    return Report(
        "elbo_tds", f"{len(schema.features)} features", _headline(model), lead=_lead(model), warnings=schema.notes,
        figure=figure, sections=tuple(sections),
        settings={name: value for name, value in model.get_params(deep=False).items() if name != "network"},
    )  # fmt: skip


def _headline(model: ELBOTDSClassifier) -> str:
    if len(model.prequential_):
        last = model.prequential_.iloc[-1]
        return f"{last['period']} had an AUC of {number(last['auc'])} before it was trained on."
    table = model.evaluation_
    if not len(table):
        return f"Trained on {some(model.trained_, 3)}; the validation rows have an AUC of {number(model.validation_)}."
    own = table.loc[table["method"] == model.method, "auc"].dropna()
    if not len(own):
        return f"No period after training has {FEW} rows of both labels, so that there is no AUC."
    return (
        f"The AUC after training is {number(own.mean())}, from {number(own.iloc[0])} in the first of {len(own)} "
        f"periods to {number(own.iloc[-1])} in the last."
    )


def _lead(model: ELBOTDSClassifier) -> str:
    """The method beside each of its rivals, whichever is better."""
    sentences = []
    for other, (gain, error) in model.gains_.items():
        low, high = gain - 1.96 * error, gain + 1.96 * error
        verdict = "better" if low > 0 else "worse" if high < 0 else "not told apart"
        sentences.append(f"{model.method} less {other}: {gain:+.4f} [{low:+.4f}, {high:+.4f}], {verdict}.")
    note = "Differences of the mean AUC on the same rows, with 95 % intervals for one training of each."
    return " ".join([*sentences, note]) if sentences else ""


def _summary(table: pd.DataFrame) -> pd.DataFrame:
    groups = table.groupby("method", sort=False)
    numbers = [
        c for c in ("auc", "log_loss", "gauc", "ndcg@5", "mrr", "left_out", "unseen", "beyond") if c in table
    ]
    slopes = groups["auc"].apply(lambda auc: decay_slope(list(auc)))
    return groups[numbers].mean().assign(slope=slopes).reset_index()


def _undefined(table: pd.DataFrame) -> tuple[str, ...]:
    alone = list(dict.fromkeys(table.loc[table["auc"].isna(), "period"]))
    return (f"No AUC, as a label has fewer than {FEW} rows, in {some(alone)}.",) if alone else ()


def _draw(ax: Axes, table: pd.DataFrame) -> None:
    for method, rows in table.groupby("method", sort=False):
        ax.plot(rows["period"].astype(str), rows["auc"], "o-", ms=4, label=str(method))
    ax.tick_params(axis="x", rotation=30)
    ax.set_ylabel("AUC")
    ax.legend(frameon=False)
