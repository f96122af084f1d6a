"""What the weighting does before anything is trained: effective sample size, tilt of the marginals, what is sacrificed.

The weighted coupling has the marginals (h_ν/Z) μ and (h_μ/Z) ν with h_ν(x) = E_y exp(-c(x, y)/ε). All of it is read
from one matrix of costs between a pilot of source and target rows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_random_state
from torch import Tensor

from groundshift.errors import InputError
from groundshift.generation.wcfm.matcher import Repair, check_choices, cost_matrix
from groundshift.generation.wcfm.rows import drop_columns, pop_labels, read_labels, read_source, read_target
from groundshift.models.table_code import Missing
from groundshift.pages import number
from groundshift.report import Report, Section
from groundshift.result import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from sklearn.cluster import KMeans

__all__ = [
    "Diagnosis",
    "Temperatures",
    "choose_eps",
    "diagnose",
    "effective_sample_size",
    "marginals",
    "regions",
    "sacrificed",
]

SMALL_TILT = 0.02
"""Nats of the target below which next to nothing is sacrificed."""
PILOT = 2048
"""Rows of each side of the pilot: the tilt's own sampling error is then about (1/ESS - 1)/4096 nats."""
EMD_ROWS = 1024
"""Rows of the pilot for the exact transport cost; it grows as their cube."""


@dataclass(frozen=True)
class Diagnosis:
    """What weighting at one temperature does.

    Attributes
    ----------
    eps : the temperature
    ess : effective sample size of independent pairs, as a share: (Σ w)² / (M² Σ w²)
    tilt_source, tilt_target : KL divergence of the coupling's marginal from the true one, in nats
    mean_cost : of a pair under the weighted coupling
    ot_cost : of a pair under exact optimal transport; a smaller ``mean_cost`` is no success, as the marginals moved
    log_mean_weight : log E[w], for ``normalise="global"``
    note : in words, where something has to be said
    """

    eps: float
    ess: float
    tilt_source: float
    tilt_target: float
    mean_cost: float
    ot_cost: float
    log_mean_weight: float
    note: str = ""


@dataclass(frozen=True, repr=False)
class Temperatures(Result):
    """What the weighting does at several temperatures.

    Attributes
    ----------
    table : a row per temperature, with the fields of `Diagnosis`; with labels also a column "share of LABEL" for each
        class: the share of the weight that it receives over its frequency
    subject : what was weighted
    settings : of the call
    """

    table: pd.DataFrame
    subject: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    def report(self) -> Report:
        """Effective sample size and tilt of the marginals at each temperature."""
        worst = self.table.iloc[int(np.argmax(self.table["tilt_target"]))]
        notes = [
            f"At ε = {number(eps)}: {note}."
            for eps, note in zip(self.table["eps"], self.table["note"], strict=True)
            if note
        ]
        shares = [name for name in map(str, self.table) if name.startswith("share of ")]
        lost = f" {min(shares, key=lambda name: worst[name])[9:]} keeps the smallest share." if shares else ""
        return Report(
            "wcfm", self.subject,
            f"At ε = {number(worst['eps'])} the weighting tilts the target by {number(worst['tilt_target'])} nats and "
            f"leaves an effective sample size of {number(worst['ess'])}.{lost}",
            tone="good" if worst["tilt_target"] < SMALL_TILT else "open",
            figure=("Effective sample size, and tilt of the target, at each temperature", self._draw),
            sections=(
                Section(
                    "temperatures", "Temperatures",
                    notes=(*notes, "The effective sample size is the share of independent pairs that the weights "
                           "leave. A tilt is the divergence of the weighted marginal from the true one, in nats."),
                    tables={"By temperature": self.table.drop(columns=["log_mean_weight", "note"])},
                ),
            ),
            settings=self.settings,
        )  # fmt: skip

    def _content(self) -> dict[str, Any]:
        rows = [{**row, "eps": _eps_text(row["eps"])} for row in self.table.to_dict("records")]
        return {"subject": self.subject, "settings": self.settings, "temperatures": rows}

    def to_frame(self) -> pd.DataFrame:
        """A row per temperature."""
        return self.table

    def _draw(self, ax: Axes) -> None:
        places = np.arange(len(self.table))
        for shift, name, label in (
            (0.2, "ess", "effective sample size"),
            (-0.2, "tilt_target", "tilt (nats)"),
        ):
            ax.barh(places[::-1] + shift, self.table[name], 0.38, label=label)
        ax.set_yticks(places, [f"ε = {number(eps)}" for eps in self.table["eps"][::-1]])
        ax.legend()


def _eps_text(eps: float) -> float | str:
    return "inf" if eps == math.inf else eps


def diagnose(
    X: Any,
    source: Any = None,
    *,
    cost: Literal["l2", "sq"] = "l2",
    eps: float | str | Sequence[float | str] = "auto",
    ess: float = 0.7,
    repair: Repair | None = None,
    labels: Any = None,
    drop: Sequence[str] = (),
    standardise: bool | None = None,
    missing: Missing = "refuse",
    pilot: int = PILOT,
    random_state: Any = None,
) -> Temperatures:
    """What weighting would do to the marginals at several temperatures, without training.

    Parameters
    ----------
    X : target rows
        Array or tensor (n, ...), table, or path of a csv, parquet, npy or npz file.
    source : rows
        Rows to start from, as a table or file like the target's; standard normal noise if left out.
    cost : "l2" or "sq"
        Cost of a pair: its distance or its squared distance.
    eps : temperatures
        Temperatures, as 0.5,1,2; auto is the one that leaves the effective sample size ess.
    ess : float
        Effective sample size, as a share of the pairs, that eps=auto leaves.
    repair : "pool", "gibbs" or "gauge", optional
        A repair that is not the paper's; gauge diagnoses the inner-product cost.
    labels : a class per row
        Class of each row, or the name of its column; the share of the weight that each class receives is added.
    drop : names
        Columns to leave out.
    standardise : bool, optional
        Whether columns are given mean 0 and standard deviation 1; by default those of tables are.
    missing : "refuse" or "indicator"
        What missing values of a table are: an error, or something that is coded, too.
    pilot : int
        Rows drawn from each side.

    Raises
    ------
    InputError
        A temperature that is not positive, source and target of different shape, missing values.

    Examples
    --------
    >>> ring = np.random.default_rng(0).standard_normal((500, 2))
    >>> ring /= np.linalg.norm(ring, axis=1, keepdims=True)
    >>> table = diagnose(ring, eps=[1.0, math.inf], random_state=0).table
    >>> table["ess"].round(1).tolist(), bool(table["tilt_target"].max() < 0.01)
    ([0.7, 1.0], True)
    """
    check_choices("weighted", cost, "batch", repair)
    X = drop_columns(X, drop)
    if isinstance(labels, str):
        X, labels = pop_labels(X, labels)
    rng = check_random_state(random_state)
    rows, names, _, code = read_target(X, missing, rng)
    start = None if source is None else read_source(drop_columns(source, drop), code, rng)
    if names is not None and code is None if standardise is None else standardise:
        centre, scale = rows.mean(0), rows.std(0)
        scale[scale == 0] = 1.0
        rows, start = (rows - centre) / scale, None if start is None else (start - centre) / scale
    x, y, chosen_rows = pilots(rows, start, pilot, rng)
    C = cost_matrix(x, y, "inner" if repair == "gauge" else cost)
    plain = transport_cost(C)
    results = [
        one_temperature(C, e, ess, plain) for e in ([eps] if isinstance(eps, float | int | str) else eps)
    ]
    table = pd.DataFrame([asdict(result) for result in results])
    if labels is not None:
        of_pilot = read_labels(labels, len(rows))[chosen_rows]
        shares = [class_shares(of_pilot, marginals(C, result.eps)[1])["ratio"] for result in results]
        table = table.join(pd.DataFrame(shares).reset_index(drop=True).add_prefix("share of "))
    subject = f"rows of shape {rows.shape[1:]}" if names is None else ", ".join(names)
    settings = {"rows": len(rows), "cost": cost, "repair": repair, "pilot": pilot}
    return Temperatures(table, subject, settings)


def class_shares(labels: NDArray[Any], density: ArrayLike) -> pd.DataFrame:
    """Share of each class before and after the weighting, and the ratio.

    >>> class_shares(np.array(["a", "a", "b"]), [1.2, 1.2, 0.6])["ratio"].round(3).tolist()
    [1.2, 0.6]
    """
    classes, codes = np.unique(labels, return_inverse=True)
    before = np.bincount(codes) / len(codes)
    after = np.bincount(codes, density) / np.sum(density)
    return pd.DataFrame(
        {"before": before, "after": after, "ratio": after / before}, index=pd.Index(classes, name="label")
    )


def pilots(
    y: NDArray[np.float64], x: NDArray[np.float64] | None, rows: int, rng: np.random.RandomState
) -> tuple[Tensor, Tensor, NDArray[np.int64]]:
    """A pilot of source and target rows, float64, and the numbers of the latter, drawn without replacement."""
    rows_drawn = rng.permutation(len(y))[:rows]
    y = y[rows_drawn]
    if x is None:
        return torch.as_tensor(rng.standard_normal((rows, *y.shape[1:]))), torch.as_tensor(y), rows_drawn
    if x.shape[1:] != y.shape[1:]:
        raise InputError(
            f"The source has rows of shape {x.shape[1:]} and the target of {y.shape[1:]}; a flow needs equal ones."
        )
    return torch.as_tensor(x[rng.permutation(len(x))[:rows]]), torch.as_tensor(y), rows_drawn


# One temperature -----------------------------------------------------------------------------------------


def one_temperature(C: Tensor, eps: float | str, ess: float, ot_cost: float) -> Diagnosis:
    """Everything that the matrix of costs says at a temperature, or at the one chosen for ``ess``."""
    note = ""
    if eps != "auto":
        try:
            eps = float(eps)
        except ValueError:
            raise InputError(f"eps={eps!r} was given; it may be a positive number or 'auto'.") from None
    else:
        eps = choose_eps(C, ess)
        if eps == math.inf:
            note = "an effective sample size of 1 leaves all weights equal: this is plain conditional flow matching"
    if not eps > 0:
        raise InputError(f"eps={eps} was given; it must be positive, in units of the cost.")
    source, target = marginals(C, eps)
    logits = -C / eps
    log_mean = float(torch.logsumexp(logits.flatten(), 0)) - math.log(C.numel())
    mean_cost = float((torch.exp(logits - log_mean) * C).mean())
    if not note and mean_cost < ot_cost:
        note = "pairs cost less than optimal transport's, which is possible only because the marginals moved"
    return Diagnosis(
        float(eps),
        effective_sample_size(C, eps),
        _divergence(source),
        _divergence(target),
        mean_cost,
        ot_cost,
        log_mean,
        note,
    )


def effective_sample_size(C: Tensor, eps: float) -> float:
    """(Σ w)² / (number of pairs × Σ w²) with w = exp(-C/ε); between 1/number of pairs and 1.

    >>> effective_sample_size(torch.tensor([[0.0, 1e9]]), 1.0)
    0.5
    """
    w = torch.exp((C.min() - C) / eps)
    return float(w.sum() ** 2 / (w**2).sum() / C.numel())


def choose_eps(C: Tensor, ess: float = 0.7) -> float:
    """The temperature at which independent pairs keep the share ``ess`` of their number.

    The share grows with ε, so a root finder on log ε meets it; for costs that are about normal with standard deviation
    s it is s / √(-ln ess): what counts is the spread of the cost, not its mean.

    Parameters
    ----------
    C : costs of a pilot, any shape
    ess : above 0; 1 gives ``inf``

    Raises
    ------
    InputError
        ``ess`` outside (0, 1], or below what the few nearest pairs of the pilot can give.

    Examples
    --------
    >>> C = cost_matrix(torch.randn(200, 2), torch.randn(200, 2))
    >>> round(effective_sample_size(C, choose_eps(C, 0.5)), 6)
    0.5
    """
    from scipy.optimize import brentq

    if not 0 < ess <= 1:
        raise InputError(f"ess={ess} was given; it is a share of pairs, above 0 and at most 1.")
    spread = float(C.std())
    if ess == 1 or spread == 0:
        return math.inf

    def beyond(log_eps: float) -> float:
        return effective_sample_size(C, spread * 10**log_eps) - ess

    if beyond(-4) > 0:
        raise InputError(f"ess={ess} is less than the nearest pairs of the pilot keep; ask for more.")
    return spread * 10 ** float(brentq(beyond, -4, 4, xtol=1e-9))


def marginals(C: Tensor, eps: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Density of the coupling's source and target marginal relative to the true one, at the pilot's rows; means are 1.

    >>> marginals(torch.zeros(2, 3), 1.0)[1].tolist()
    [1.0, 1.0, 1.0]
    """
    logits = -C / eps
    source, target = torch.logsumexp(logits, 1), torch.logsumexp(logits, 0)
    return tuple((torch.softmax(v, 0) * len(v)).numpy() for v in (source, target))  # type: ignore[return-value]


def _divergence(density: NDArray[np.float64]) -> float:
    """Σ r log(M r) with r = density/M, in nats."""
    return float(np.mean(density * np.log(np.maximum(density, 1e-300))))


def transport_cost(C: Tensor) -> float:
    """Mean cost of exact optimal transport between the first rows of the pilot."""
    import ot

    return float(ot.emd2([], [], C[:EMD_ROWS, :EMD_ROWS].numpy().copy(), numItermax=1_000_000))


# What is sacrificed --------------------------------------------------------------------------------------


def sacrificed(density: ArrayLike, share: float = 0.05) -> NDArray[np.int64]:
    """Numbers of the rows that the weighting takes most mass from, the worst first.

    >>> sacrificed([1.0, 0.2, 1.8, 0.5], share=0.5).tolist()
    [1, 3]
    """
    density = np.asarray(density, dtype=float)
    return np.argsort(density, kind="stable")[: max(1, round(share * len(density)))]


def _apart(name: str, away: float) -> str:
    """How a cell differs in a column: in standard deviations, or in having a category."""
    if "=" in name or name.endswith(" is missing"):
        return name if away > 0 else f"not {name}"
    return f"{name} {'high' if away > 0 else 'low'} ({away:+.1f} sd)"


def regions(
    rows: ArrayLike,
    density: ArrayLike,
    names: Sequence[str] | None = None,
    cells: int = 20,
    random_state: Any = None,
) -> tuple[pd.DataFrame, KMeans]:
    """Cells of the target (k-means) with their mass before and after the weighting, the largest loss first.

    Parameters
    ----------
    rows : shape (M, d)
    density : relative density after the weighting, shape (M,), see `marginals`
    names : of the d columns

    Returns
    -------
    table, cells
        Columns "where" (what sets the cell apart, in standard deviations), "rows", "before", "after", "ratio", indexed
        by cell; and the fitted ``sklearn.cluster.KMeans``.

    Examples
    --------
    >>> table, _ = regions([[0.0], [0.1], [5.0], [5.1]], [1.9, 1.9, 0.1, 0.1], ["age"], cells=2, random_state=0)
    >>> table["ratio"].round(1).tolist(), table["where"].iloc[0]
    ([0.1, 1.9], 'age high (+1.0 sd)')
    """
    from sklearn.cluster import KMeans

    rows, density = np.asarray(rows, dtype=float), np.asarray(density, dtype=float)
    names = list(names) if names is not None else [f"x{k + 1}" for k in range(rows.shape[1])]
    kmeans = KMeans(min(cells, len(np.unique(rows, axis=0))), n_init=1, random_state=random_state).fit(rows)
    centre, spread = rows.mean(0), np.where(rows.std(0) > 0, rows.std(0), 1.0)
    table = []
    for cell, at in enumerate(kmeans.cluster_centers_):
        inside = kmeans.labels_ == cell
        away = (at - centre) / spread
        most = np.argsort(-np.abs(away))[:3]
        where = ", ".join(_apart(names[k], away[k]) for k in most if abs(away[k]) > 0.5)
        before, after = inside.mean(), density[inside].sum() / density.sum()
        table.append((cell, where or "the middle", inside.sum(), before, after, after / before))
    columns = ["cell", "where", "rows", "before", "after", "ratio"]
    return pd.DataFrame(table, columns=columns).set_index("cell").sort_values("ratio"), kmeans
