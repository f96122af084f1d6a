"""Step 5: what to do? Every candidate is tried on domains it has not seen, and has to beat doing nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from groundshift.report import Section
from groundshift.workflows.audit.losses import Contrast, contrasts, density_ratio
from groundshift.workflows.audit.models import Design, fit
from groundshift.workflows.audit.shares import adapted, maximum_likelihood_shares
from groundshift.workflows.audit.structure import row_loss
from groundshift.workflows.audit.table import AuditTable

__all__ = ["NOTHING", "Tried", "section", "try_remedies"]

Array = NDArray[np.float64]

MOST_ROWS = 10_000
NOTHING = "do nothing"
WEIGHTS = "importance weights"
SHARES = "label-shift correction"
RECENT = "train on the latest window only"
LABELS = "labels from the new domain"
COSTS = {
    WEIGHTS: "unlabelled rows of the new domain",
    SHARES: "unlabelled rows of the new domain",
    RECENT: "nothing",
    LABELS: "labels of half of the new domain's rows",
}


@dataclass(frozen=True)
class Tried:
    """What each remedy came to.

    Attributes
    ----------
    remedies : remedy, needs, loss, difference (to doing nothing), low, high, better; best first
    by_domain : domain, and the loss of each remedy
    recommended : the one with the smallest loss among those whose interval beats doing nothing, or None
    """

    remedies: pd.DataFrame
    by_domain: pd.DataFrame
    recommended: str | None

    @property
    def weights_help(self) -> bool:
        """Whether importance weights beat doing nothing; only then are they written."""
        return WEIGHTS in set(self.remedies.loc[self.remedies["better"].astype(bool), "remedy"])


def try_remedies(
    table: AuditTable, X: Design, scores: Array, level: float, rng: np.random.Generator
) -> Tried:
    """Train before, apply after, for every contrast and every candidate; losses are compared row by row."""
    if len(table) > MOST_ROWS:
        kept = np.sort(rng.choice(len(table), MOST_ROWS, replace=False))
        table, X, scores = table.take(kept), X.take(kept), scores[kept]
    sides = contrasts(table)
    results = [_losses(table, X, scores, c, rng) for c in sides]
    shared = [name for name in results[0] if all(name in r for r in results)]
    rows = []
    z = stats.norm.isf(level / 2 / max(len(shared) - 1, 1))
    for name in shared:
        differences = [r[name] - r[NOTHING] for r in results]
        means = np.array([d.mean() for d in differences])
        error = float(np.sqrt(sum(d.var(ddof=1) / len(d) for d in differences))) / len(differences)
        if len(means) >= 4:  # domains differ too; with fewer their spread cannot be estimated
            error = max(error, float(stats.sem(means)))
        mean, half = float(means.mean()), z * error
        rows.append(
            {
                "remedy": name, "needs": COSTS.get(name, "nothing"),
                "loss": float(np.mean([r[name].mean() for r in results])),
                "difference": mean, "low": mean - half, "high": mean + half,
                "better": name != NOTHING and mean + half < 0,
            }
        )  # fmt: skip
    report = pd.DataFrame(rows).sort_values("loss", kind="stable").reset_index(drop=True)
    better = report[report["better"]]
    by_domain = pd.DataFrame(
        [{"domain": c.name, **{n: r[n].mean() for n in shared}} for c, r in zip(sides, results, strict=True)]
    )
    return Tried(report, by_domain, str(better["remedy"].iloc[0]) if len(better) else None)


def _losses(
    table: AuditTable, X: Design, scores: Array, c: Contrast, rng: np.random.Generator
) -> dict[str, Array]:
    """Loss of each row after, by remedy."""
    classes = len(table.classes) if table.classes is not None else 0
    y = np.asarray(table.target, dtype=float)
    train, test, y_train, y_test = X.take(c.before), X.take(c.after), y[c.before], y[c.after]
    plain = fit(train, y_train, classes, rng).predict(test)
    losses = {NOTHING: plain}
    weight = density_ratio(scores, table, c)
    losses[WEIGHTS] = fit(train, y_train, classes, rng, weight).predict(test)
    if classes:
        old = np.maximum(np.bincount(y_train.astype(int), minlength=classes) / len(y_train), 1e-6)
        losses[SHARES] = adapted(plain, old, maximum_likelihood_shares(plain, old))
    windows = np.unique(table.domain[c.before])
    if table.ordered and len(windows) > 1:
        latest = table.domain[c.before] == windows.max()
        losses[RECENT] = fit(train.take(latest), y_train[latest], classes, rng).predict(test)
    losses[LABELS] = _with_labels(train, test, y_train, y_test, classes, rng)
    return {name: row_loss(y_test, predicted, classes) for name, predicted in losses.items()}


def _with_labels(
    train: Design, test: Design, y_train: Array, y_test: Array, classes: int, rng: np.random.Generator
) -> Array:
    """Each half of the new rows is predicted by a model of the old ones and the other half; the new ones weigh as much
    as all the old ones."""
    first = rng.permutation(len(y_test)) < len(y_test) // 2
    predictions = np.empty((len(y_test), max(classes, 1)))
    for held in (first, ~first):
        both = Design(
            np.vstack([train.trees, test.trees[~held]]),
            np.vstack([train.linear, test.linear[~held]]),
            train.nominal,
            train.source,
        )
        weight = np.r_[np.ones(len(y_train)), np.full((~held).sum(), len(y_train) / max((~held).sum(), 1))]
        model = fit(both, np.r_[y_train, y_test[~held]], classes, rng, weight)
        predictions[held] = model.predict(test.take(held))
    return predictions


def without_labels(kinds: Sequence[str], target: str | None) -> str:
    """What can be said where no remedy can be tried for want of labels."""
    if "label" in kinds:
        return (
            f"Label-shift correction: multiply the probability that your classifier gives each value of {target} by "
            "its new share over its old one (both in the table of shares), and let them add up to one. It needs no "
            "labels; whether it helps can be tried when some are in."
        )
    return "Nothing can be tried without a target that has labels in at least two domains."


def section(tried: Tried | None, why_not: str) -> Section:
    """The section of the report; ``why_not`` says why nothing was tried."""
    question = "What to do?"
    if tried is None:
        return Section("remedies", question, why_not)
    remedies = tried.remedies
    at = remedies.set_index("remedy")
    if tried.recommended is None:
        answer = "Do nothing: no remedy beats it by more than chance on domains it has not seen."
    else:
        best = at.loc[tried.recommended]
        answer = (
            f"{tried.recommended[:1].upper()}{tried.recommended[1:]}: the loss falls from "
            f"{float(at['loss'][NOTHING]):.3g} to {best['loss']:.3g} (difference {best['difference']:.3g}, interval "
            f"{best['low']:.3g} to {best['high']:.3g}). It needs {best['needs']}."
        )
    return Section(
        "remedies", question, answer,
        (
            "Each was trained on the domains before and applied to one it had not seen; intervals are adjusted for the "
            "number of candidates.",
        ),
        {"Remedies tried": remedies, "Loss by domain": tried.by_domain},
        {"Difference of the loss to doing nothing": lambda ax: _draw(ax, remedies)},
    )  # fmt: skip


def _draw(ax: Any, remedies: pd.DataFrame) -> None:
    shown = remedies[remedies["remedy"] != NOTHING][::-1]
    y = np.arange(len(shown))
    colours = np.where(shown["better"], "#2f6f8f", "#9aa5ad")
    ax.axvline(0, color="#333333", linewidth=1)
    ax.hlines(y, shown["low"], shown["high"], color=colours, linewidth=2)
    ax.scatter(shown["difference"], y, color=colours, s=24, zorder=3)
    ax.set_yticks(y, shown["remedy"])
    ax.set_xlabel("difference of the loss (left is better)")
