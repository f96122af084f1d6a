"""What the weighting does before anything is trained: effective sample size, tilt of the marginals, what is sacrificed.

The weighted coupling has the marginals (h_ν/Z) μ and (h_μ/Z) ν with h_ν(x) = E_y exp(-c(x, y)/ε). All of it is read
from one matrix of costs between a pilot of source and target rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_random_state
from torch import Tensor

from groundshift.errors import InputError
from groundshift.generation.wcfm.matcher import Repair, check_choices, cost_matrix
from groundshift.tables import plain_array

__all__ = [
    "Diagnosis",
    "choose_eps",
    "diagnose",
    "effective_sample_size",
    "marginals",
    "regions",
    "sacrificed",
]

Array = NDArray[np.float64]
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

    def to_dict(self) -> dict[str, Any]:
        """As plain numbers; an infinite eps becomes text."""
        return {k: str(v) if v == math.inf else v for k, v in asdict(self).items()}


def diagnose(
    X: Any,
    source: Any = None,
    *,
    cost: str = "l2",
    eps: float | str | Sequence[float | str] = "auto",
    ess: float = 0.7,
    repair: Repair | None = None,
    labels: Any = None,
    pilot: int = PILOT,
    random_state: Any = None,
) -> pd.DataFrame:
    """Effective sample size and tilt of the marginals at several temperatures, without training.

    Parameters
    ----------
    X : target, shape (n, ...)
    source : shape (m, ...); standard normal if left out
    cost : "l2" or "sq"
    eps : temperatures; "auto" is the one with effective sample size ``ess``
    repair : "gauge" diagnoses the inner-product cost
    labels : a class per row of X
    pilot : rows drawn from each side

    Returns
    -------
    DataFrame
        A row per temperature, with the fields of `Diagnosis`; with labels also a column "share of LABEL" for each
        class: the share of the weight that it receives over its frequency.

    Raises
    ------
    InputError
        A temperature that is not positive, source and target of different shape, missing values.

    Examples
    --------
    >>> ring = np.random.default_rng(0).standard_normal((500, 2))
    >>> ring /= np.linalg.norm(ring, axis=1, keepdims=True)
    >>> found = diagnose(ring, eps=[1.0, math.inf], random_state=0)
    >>> found["ess"].round(1).tolist(), bool(found["tilt_target"].max() < 0.01)
    ([0.7, 1.0], True)
    """
    check_choices("weighted", cost, "batch", repair)
    x, y, chosen_rows = pilots(X, source, pilot, check_random_state(random_state))
    if labels is not None:
        labels = read_labels(labels, len(X))[chosen_rows]
    C = cost_matrix(x, y, "inner" if repair == "gauge" else cost)  # type: ignore[arg-type]
    chosen = [eps] if isinstance(eps, float | int | str) else list(eps)
    plain = transport_cost(C)
    found = [one_temperature(C, e, ess, plain) for e in chosen]
    table = pd.DataFrame([row.to_dict() for row in found])
    if labels is not None:
        kept = pd.DataFrame([class_shares(labels, marginals(C, row.eps)[1])["ratio"] for row in found])
        table = table.join(kept.reset_index(drop=True).add_prefix("share of "))
    return table


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


def read_labels(labels: Any, n: int) -> NDArray[Any]:
    """A class for each of n rows, none of them missing."""
    if len(labels) != n:
        raise InputError(f"{len(labels)} labels were given for {n} rows; give one per row.")
    if pd.isna(pd.Series(plain_array(labels))).any():
        raise InputError("Some labels are missing; leave those rows out.")
    return plain_array(labels)


def pilots(
    X: Any, source: Any, rows: int, rng: np.random.RandomState
) -> tuple[Tensor, Tensor, NDArray[np.int64]]:
    """A pilot of source and target rows, float64, and the numbers of the latter, drawn without replacement."""
    y = as_rows(X, "target")
    chosen = rng.permutation(len(y))[:rows]
    y = y[chosen]
    if source is None:
        return torch.as_tensor(rng.standard_normal((rows, *y.shape[1:]))), torch.as_tensor(y), chosen
    x = as_rows(source, "source")
    if x.shape[1:] != y.shape[1:]:
        raise InputError(
            f"The source has rows of shape {x.shape[1:]} and the target of {y.shape[1:]}; a flow needs equal ones."
        )
    return torch.as_tensor(x[rng.permutation(len(x))[:rows]]), torch.as_tensor(y), chosen


def as_rows(values: Any, name: str) -> Array:
    """An array (n, ...) of finite float64, from numpy or torch."""
    array = plain_array(values)
    if array.ndim < 2 or len(array) < 2 or array.dtype.kind not in "biuf":
        raise InputError(
            f"The {name} is of type {array.dtype} and shape {array.shape}; numbers (rows, ...) are needed, 2 rows or "
            "more."
        )
    array = array.astype(float)
    bad = np.flatnonzero(~np.isfinite(array.reshape(len(array), -1)).all(1))
    if len(bad):
        shown = ", ".join(map(str, bad[:8])) + (", ..." if len(bad) > 8 else "")
        raise InputError(
            f"{len(bad)} of {len(array)} rows of the {name} hold missing or infinite values: {shown}. Fill them, or "
            "leave those rows out."
        )
    return array


# One temperature -----------------------------------------------------------------------------------------


def one_temperature(C: Tensor, eps: float | str, ess: float, ot_cost: float) -> Diagnosis:
    """Everything that the matrix of costs says at a temperature, or at the one chosen for ``ess``."""
    note = ""
    if isinstance(eps, str):
        if eps != "auto":
            raise InputError(f"eps={eps!r} was given; it may be a positive number or 'auto'.")
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


def marginals(C: Tensor, eps: float) -> tuple[Array, Array]:
    """Density of the coupling's source and target marginal relative to the true one, at the pilot's rows; means are 1.

    >>> marginals(torch.zeros(2, 3), 1.0)[1].tolist()
    [1.0, 1.0, 1.0]
    """
    logits = -C / eps
    source, target = torch.logsumexp(logits, 1), torch.logsumexp(logits, 0)
    return tuple((torch.softmax(v, 0) * len(v)).numpy() for v in (source, target))  # type: ignore[return-value]


def _divergence(density: Array) -> float:
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


def regions(
    rows: ArrayLike,
    density: ArrayLike,
    names: Sequence[str] | None = None,
    cells: int = 20,
    random_state: Any = None,
) -> tuple[pd.DataFrame, Any]:
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
        where = ", ".join(
            f"{names[k]} {'high' if away[k] > 0 else 'low'} ({away[k]:+.1f} sd)"
            for k in most
            if abs(away[k]) > 0.5
        )
        before, after = inside.mean(), density[inside].sum() / density.sum()
        table.append((cell, where or "the middle", inside.sum(), before, after, after / before))
    columns = ["cell", "where", "rows", "before", "after", "ratio"]
    found = pd.DataFrame(table, columns=columns).set_index("cell")
    return found.sort_values("ratio"), kmeans
