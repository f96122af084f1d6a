"""Whether synthetic rows are needed, and whether they are better than what is simpler."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedKFold
from sklearn.utils import check_random_state
from tqdm import tqdm

from groundshift.adaptation.codsa.estimator import CoDSA
from groundshift.adaptation.codsa.regions import Rows, Task, read_rows
from groundshift.drawn import Drawn
from groundshift.errors import InputError
from groundshift.measures.intervals import mean_interval
from groundshift.models.learners import LearnerName
from groundshift.models.table_code import Missing
from groundshift.pages import number
from groundshift.report import Report, Section
from groundshift.result import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Compared", "Diagnosed", "compare", "diagnose", "sample_rows"]

Array = NDArray[np.float64]
ARMS: dict[str, dict[str, Any]] = {
    "oversample": {"generator": "oversample", "tilts": (1.0,)},
    "smote": {"generator": "smote", "tilts": (1.0,)},
    "proportional": {"generator": "flow", "tilts": (0.0,)},
    "codsa": {"generator": "flow"},
}
"""What is compared with plain rows: random oversampling, SMOTE, a flow without allocation, and all of CoDSA."""


@dataclass(frozen=True, repr=False)
class _Tabled(Result):
    """A result that is one table."""

    table: pd.DataFrame
    subject: str

    def _content(self) -> dict[str, Any]:
        return {"table": self.table}

    def to_frame(self) -> pd.DataFrame:
        """The table."""
        return self.table


@dataclass(frozen=True, repr=False)
class Compared(_Tabled):
    """Held-out losses of ways to augment a table.

    Attributes
    ----------
    table : one row per method and region ("all": the regions weighed alike): loss, and its difference from plain rows
        with a 95 % interval
    subject : target and regions
    """

    def report(self) -> Report:
        """Which way is best, and by how much."""
        overall = self.table[self.table.region == "all"].sort_values("loss")
        best = overall.iloc[0]
        clear = best.method != "plain" and best.high < 0
        headline = f"{best.method} has the smallest held-out loss, {number(best.loss)}" + (
            "." if clear else ", and none is better than plain rows beyond chance."
        )
        return Report(
            "codsa", self.subject, headline, tone="good" if clear else "open",
            figure=("Held-out loss over all regions", self._draw),
            sections=(
                Section("methods", "All methods", tables={"Over all regions": overall.drop(columns="region")}),
                Section("regions", "Region by region",
                        tables={"Regions": self.table[self.table.region != "all"]}),
            ),
        )  # fmt: skip

    def _draw(self, ax: Axes) -> None:
        rows = self.table[self.table.region == "all"].iloc[::-1]
        ax.barh(rows.method, rows.loss, color="#2f7fa8")
        ax.set_xlabel("held-out loss")


def compare(
    X: Any,
    y: Any = None,
    *,
    domain: Any = None,
    learner: LearnerName | Any = "trees",
    source: Any = None,
    methods: Sequence[str] = tuple(ARMS),
    ratios: Sequence[float] = (1, 4),
    folds: int = 3,
    missing: Missing = "refuse",
    task: Task = "auto",
    steps: int = 2500,
    random_state: Any = None,
) -> Compared:
    """Plain rows, oversampling, SMOTE, a flow without allocation and CoDSA, on rows that none of them saw.

    Each method chooses its number of synthetic rows inside the training folds.

    Parameters
    ----------
    X : table, path or array (n, d)
        Features, and whichever of target and region is given as a column's name.
    y : column or array
        Target of each row, or its column.
    domain : column, rule or array
        Region of each row; the classes of the target if left out.
    learner : "trees", "linear", "mlp", or a scikit-learn model
        What is fitted on the rows.
    source : table or path
        Rows of a larger related table, for the flows.
    methods : names
        What is compared with plain rows: oversample, smote, proportional, codsa.
    ratios : numbers
        Synthetic rows over rows that are tried.
    folds : int
        Folds that are held out in turn.
    missing : "refuse" or "indicator"
        What missing values are: an error, or something that is generated, too.
    task : "auto", "classification" or "regression"
        What the target is.
    steps : int
        Training steps of a flow from scratch.
    random_state : int, RandomState or None

    Raises
    ------
    InputError
        As `CoDSA.fit`, or an unknown method.
    """
    unknown = [name for name in methods if name not in ARMS]
    if unknown:
        raise InputError(f"There is no method {unknown[0]!r}; there are {', '.join(ARMS)}.")
    seed = int(check_random_state(random_state).randint(2**31 - 1))
    rows = read_rows(X, y, domain, task=task, missing=missing, seed=seed)
    if rows.target is None:
        raise InputError("A comparison needs a target; name its column.")
    losses = {name: np.full(len(rows), np.nan) for name in ("plain", *methods)}
    splits = _folds(rows, folds, seed)
    for train, test in tqdm(splits, desc="folds", disable=None, leave=False):
        own, unseen = rows.take(train), rows.take(test)
        label, other = (np.array(rows.domains, dtype=object)[part.domain] for part in (own, unseen))
        truth = np.array(rows.classes)[own.target] if rows.classes else own.target
        for name in losses:
            options: dict[str, Any] = {"ratios": (), **ARMS.get(name, {"generator": "oversample"})}
            options["ratios"] = () if name == "plain" else ratios
            model = CoDSA(
                learner, missing=missing, task=task, steps=steps, min_rows=1, random_state=seed, **options
            )
            names = [column.name for column in rows.code.columns]
            features, asked = own.frame[names], unseen.frame[names]
            where: Any = label
            if rows.feature:
                features, asked = features.assign(**{domain: label}), asked.assign(**{domain: other})
                where = domain
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                flows = model.generator == "flow"
                model.fit(features, truth, domain=where, source=_source(source, y, domain) if flows else None)
            predicted = model.predict(asked)
            actual = np.array(rows.classes)[unseen.target] if rows.classes else unseen.target
            wrong = predicted != actual if rows.classes else (predicted - actual) ** 2 / np.var(rows.target)
            losses[name][test] = wrong
    return Compared(_by_region(losses, rows), f"{rows.target_name} by {rows.domain_name}")


def _source(source: Any, y: Any, domain: Any) -> Any:
    return None if source is None else source if isinstance(source, tuple) else (source, y, domain)


def _folds(rows: Rows, folds: int, seed: int) -> list[tuple[Any, Any]]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class")
        split = StratifiedKFold(folds, shuffle=True, random_state=seed).split(rows.domain, rows.domain)
        return list(split)


def _by_region(losses: dict[str, Array], rows: Rows) -> pd.DataFrame:
    share = len(rows) / len(rows.domains) / rows.counts[rows.domain]
    table = []
    for region, label in [(None, "all"), *enumerate(rows.domains)]:
        own = slice(None) if region is None else rows.domain == region
        weight = share if region is None else np.ones(len(rows))
        for name, values in losses.items():
            apart = ((values - losses["plain"]) * weight)[own]
            low, high = mean_interval(apart) if apart.any() else (0.0, 0.0)
            table.append((label, name, (values * weight)[own].mean(), apart.mean(), low, high))
    return pd.DataFrame(table, columns=["region", "method", "loss", "difference", "low", "high"])


@dataclass(frozen=True, repr=False)
class Diagnosed(_Tabled):
    """Which regions are starved.

    Attributes
    ----------
    table : per region its rows, held-out loss with a quarter, half and all of its rows, and how much the last doubling
        changed it, with a 95 % interval; ``starved`` where that interval is below 0
    subject : target and regions
    """

    def report(self) -> Report:
        """Which regions would gain from more rows."""
        starved = self.table[self.table.starved]
        headline = (
            f"More rows would help in {', '.join(map(str, starved.region))}."
            if len(starved)
            else "In no region did the last doubling of its rows lower the loss beyond chance."
        )
        return Report(
            "codsa", self.subject, headline, tone="bad" if len(starved) else "good",
            figure=("Held-out loss over the share of a region's rows", self._draw),
            sections=(
                Section("regions", "Learning curves of the regions", tables={"Regions": self.table},
                        notes=("The rows of one region are thinned, all others stay.",)),
            ),
        )  # fmt: skip

    def _draw(self, ax: Axes) -> None:
        curves = self.table.set_index("region")[["quarter", "half", "all_rows"]]
        for region, losses in curves.iterrows():
            ax.plot([0.25, 0.5, 1], losses.to_numpy(), marker="o", label=str(region))
        ax.set_xlabel("share of the region's rows")
        ax.set_ylabel("held-out loss")
        ax.legend()


def diagnose(
    X: Any,
    y: Any,
    *,
    domain: Any = None,
    learner: LearnerName | Any = "trees",
    folds: int = 5,
    task: Task = "auto",
    random_state: Any = None,
) -> Diagnosed:
    """Is there a starved region: would more rows of it lower the loss there?

    Parameters
    ----------
    X : table, path or array (n, d)
        Features, and whichever of target and region is given as a column's name.
    y : column or array
        Target of each row, or its column.
    domain : column, rule or array
        Region of each row; the classes of the target if left out.
    learner : "trees", "linear", "mlp", or a scikit-learn model
        What is fitted on the rows.
    folds : int
        Folds that are held out in turn.
    task : "auto", "classification" or "regression"
        What the target is.
    random_state : int, RandomState or None

    Raises
    ------
    InputError
        As `CoDSA.fit`.
    """
    seed = int(check_random_state(random_state).randint(2**31 - 1))
    rows = read_rows(X, y, domain, task=task, missing="indicator", learner=learner, seed=seed)
    helper = CoDSA(learner, task=task)
    loss = helper._row_loss(rows)
    shares = (0.25, 0.5, 1.0)
    losses = np.full((len(rows), len(shares)), np.nan)
    rng = np.random.default_rng(seed)
    for train, test in tqdm(_folds(rows, folds, seed), desc="folds", disable=None, leave=False):
        whole = helper._fitted(rows.take(train), seed)
        losses[test, -1] = loss(whole, rows.take(test))[0]
        for region in range(len(rows.domains)):
            own, asked = (
                rng.permutation(train[rows.domain[train] == region]),
                test[rows.domain[test] == region],
            )
            for k, share in enumerate(shares[:-1]):
                left_out = own[max(2, round(share * len(own))) :]
                model = helper._fitted(rows.take(np.setdiff1d(train, left_out)), seed)
                losses[asked, k] = loss(model, rows.take(asked))[0]
    table = []
    for region, label in enumerate(rows.domains):
        own = losses[rows.domain == region]
        apart = own[:, -1] - own[:, -2]
        low, high = mean_interval(apart) if apart.any() else (0.0, 0.0)
        table.append((label, len(own), *own.mean(0), apart.mean(), low, high, high < 0))
    names = ["region", "rows", "quarter", "half", "all_rows", "difference", "low", "high", "starved"]
    return Diagnosed(pd.DataFrame(table, columns=names), f"{rows.target_name} by {rows.domain_name}")


def sample_rows(
    run: str | Path,
    *,
    samples: int = 1000,
    domain: str | None = None,
    label: str | None = None,
    trust: Sequence[str] = (),
    random_state: Any = None,
) -> Drawn:
    """Synthetic rows of an augmentation that was fitted and saved.

    Parameters
    ----------
    run : folder
        Folder that fit wrote.
    samples : int
        Rows to draw.
    domain : text
        Their region; as frequent as in the data if left out.
    label : text
        Their class; as frequent as in the region if left out.
    trust : names of types
        Types of the saved learner that scikit-learn does not know.
    random_state : int
        Random seed; the estimator's own if left out.

    Raises
    ------
    InputError
        No such folder, or no such region or class.
    """
    model = CoDSA.load(run, trust)
    if not hasattr(model, "generator_"):
        raise InputError(f"The generator of {run} was not saved: of all generators, a flow is.")
    rows = model.sample(samples, domain=domain, label=label, random_state=random_state)
    return Drawn(rows, "codsa", {"domain": domain, "label": label})
