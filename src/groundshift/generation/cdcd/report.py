"""What a fitted model of codes says of itself: how samples correspond to what was asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from groundshift.pages import number
from groundshift.report import Report, Section

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from groundshift.generation.cdcd.estimator import CDCD

__all__ = ["codes_report"]


def codes_report(model: CDCD) -> Report:
    """The report of a fitted model."""
    table, strength = model.comparison_, float(model.strength_.max())
    loss = ("Loss per token while training", lambda ax: _draw_loss(ax, model.history_))
    training = Section(
        "training", "Training", folded=len(table) > 0,
        facts={
            "codes in use": model.used_codes_, "largest weight λ of negatives": strength,
            "last loss": model.history_[-1],
        },
        figures=dict([loss]) if len(table) else {},
    )  # fmt: skip
    compared = () if table.empty else (_correspondence(model),)
    return Report(
        "cdcd", f"sequences of {model.length_} codes", _headline(table, strength), lead=_ranks(table),
        figure=loss if table.empty else ("Nats that codes share with their condition", lambda ax: _draw(ax, model)),
        advice=_advice(model), sections=(*compared, training),
        settings={name: value for name, value in model._parameters().items() if name != "random_state"},
    )  # fmt: skip


def _headline(table: pd.DataFrame, strength: float) -> str:
    if table.empty:
        return f"The diffusion was fitted; negatives weigh at most λ = {number(strength)} against positives."
    real, samples = table.loc["held out"], table.loc["samples"]
    return (
        f"Samples share {number(samples['information'])} nats with their condition, held-out rows "
        f"{number(real['information'])}."
    )


def _ranks(table: pd.DataFrame) -> str:
    if table.empty:
        return ""
    real, samples = table.loc["held out"], table.loc["samples"]
    return (
        f"Among {number(real['conditions'])} conditions, the own one ranks {number(samples['rank'])} for samples and "
        f"{number(real['rank'])} for held-out rows."
    )


def _advice(model: CDCD) -> tuple[Section, ...]:
    table = model.comparison_
    if "cooled" not in table.index:
        return ()
    shared = dict(zip(table.index, table["information"].astype(float), strict=True))
    gain = shared["samples"] - shared["cooled"]
    cheaper = f"The plain diffusion at temperature {number(model.temperature_)}, which costs nothing,"
    if gain > 0:
        answer = f"Keep the contrast: {cheaper[0].lower()}{cheaper[1:]} shares {number(gain)} nats less."
    else:
        answer = f"{cheaper} shares {number(-gain)} nats more than the contrast: consider it (contrast=None)."
    return (Section("advice", "Is the contrast worth it?", answer),)


def _correspondence(model: CDCD) -> Section:
    table = model.comparison_
    columns = {
        "rank": "own rank", "information": "nats shared", "code_entropy": "code entropy", "asked_class": "asked class",
    }  # fmt: skip
    shown = table[[name for name in columns if name in table]].rename(columns=columns)
    judge = "the plain diffusion" if "plain" in table.index else "the model itself"
    return Section(
        "correspondence", "How do codes correspond to their condition?",
        notes=(
            f"Ranks (1 is best, of {number(table['conditions'].iloc[0])} conditions) and nats (at most "
            f"{number(table['most_information'].iloc[0])}) are by {judge}, in {model.steps} steps without truncation.",
        ),
        tables={"Codes": shown.rename(index=lambda name: _name(str(name), model)).reset_index(names="codes")},
    )  # fmt: skip


def _name(name: str, model: CDCD) -> str:
    return {"plain": "plain diffusion", "cooled": f"plain at T = {number(model.temperature_)}"}.get(
        name, name
    )


def _draw(ax: Axes, model: CDCD) -> None:
    table = model.comparison_
    places = np.arange(len(table))[::-1]
    ax.barh(places, table["information"], 0.6)
    ax.axvline(table["most_information"].iloc[0], color="black", lw=0.8, ls=":")
    ax.set_yticks(places, [_name(str(name), model) for name in table.index])
    ax.set_xlabel("nats shared (dotted: the most there can be)")


def _draw_loss(ax: Axes, history: list[float]) -> None:
    ax.plot(np.arange(1, len(history) + 1), history, lw=0.8)
    ax.set_xlabel("iteration")
    ax.set_ylabel("loss per token")
