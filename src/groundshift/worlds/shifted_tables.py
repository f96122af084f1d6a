"""Tables of customers in which one thing, or two, shifts between domains, and the rest provably does not.

Seven latent variables are standard normal and follow a structural model:

    age → income, tenure;  income, tenure → usage;  income, usage → spend;  usage → tickets;  income → plan

A column is a monotone transform of its latent variable (normal, log-normal, gamma, counts) or a cut of it (plan);
region and the irrelevant columns are independent of everything. The target is a cut of score = w · (age, tenure, usage)
+ effect of the region + logistic noise; no, one or two thresholds make it continuous, binary or three classes. Income,
spend, tickets and plan do not enter it. Of income and of usage 3 % of the values are missing completely at random.
With ``uneven`` the noise grows with the age, so that some rows are harder to predict than others.

What a planted shift of severity s does to a domain, and what stays exactly as it is:

- concept: w turns by s quarter turns among directions of equal variance. P(x) and P(y) stay.
- offset: the score rises by 1.5 s for all, also a shift of P(y|x). P(x) stays, P(y) moves.
- label: rows are selected by y alone: classes from first to last by exp(0) … exp(1.5 s). P(x|y) stays, P(y) and P(x)
  move.
- covariate: rows are selected by age and spend alone. P(y|x) stays; the marginals of all that hangs together with the
  two move, that of y among them.
- mechanism: spend rises by s and follows usage less (0.5 becomes 0.5 - 0.4 s). The joint of all other columns, the
  target included, stays, and so does P(y|x).
- correlation: the correlation of the latent usage and tickets falls from 0.7 to 0.7 - 0.7 s. Every marginal stays, as
  does the joint of all columns without tickets, the target included.
- missingness: a share of 0.27 s is missing beyond, of income completely at random, of usage three times as often above
  the mean age as below. The values behind, and P(y|x) of what is seen, stay.

Several at once are planted in the order of their causes: mechanism and correlation, covariate, concept and offset,
label, missingness.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats
from scipy.special import expit, ndtr

from groundshift.errors import InputError

__all__ = ["Change", "Planted", "ShiftedTable", "cascade", "shifted_table"]

Planted = Literal["concept", "offset", "label", "mechanism", "correlation", "covariate", "missingness"]
Target = Literal["binary", "classes", "continuous"]
Array = NDArray[np.float64]

WHERE: dict[str, tuple[str, ...]] = {
    "mechanism": ("spend",),
    "correlation": ("usage", "tickets"),
    "missingness": ("income", "usage"),
}
"""Columns that a planted shift shows in, where it is a matter of a few columns."""
CUTS: dict[str, tuple[float, ...]] = {"binary": (1.0,), "classes": (-0.5, 1.5), "continuous": ()}
SCORE = ("age", "tenure", "usage")
COVARIANCE = np.array([[1.0, 0.5, 0.27], [0.5, 1.0, 0.36], [0.27, 0.36, 1.0]])
"""Of the latent age, tenure and usage, as the structural model has it."""
REGIONS = {"north": 0.8, "south": 0.0, "east": -0.4, "west": 0.4}
"""What a region adds to the score."""
MOST = 2.0
LOCATION, SCALE, CHANCE = "(location)", "(scale)", "(probability)"
"""Columns of a draft that are the truth, taken out before anybody sees it."""


@dataclass(frozen=True)
class ShiftedTable:
    """A table and what was planted in it.

    Attributes
    ----------
    frame : features, the target "y" and the label "domain", rows in the order of the domains
    kinds : the kinds of shift in it, "offset" counted as "concept"; empty where every severity is 0
    where : kind → columns that it shows in, for the kinds that concern a few columns
    names : of a cascade, what a, b, c and d are called in the frame
    location, scale : of the score's logistic distribution given the row with no value missing, shape (rows,); of a
        continuous target before rows are selected by it
    probability : of each class given the row with no value missing, in its domain, shape (rows, classes); None for a
        continuous target
    """

    frame: pd.DataFrame
    kinds: tuple[str, ...]
    where: Mapping[str, tuple[str, ...]]
    location: Array = field(default_factory=lambda: np.empty(0))
    scale: Array = field(default_factory=lambda: np.empty(0))
    probability: Array | None = None
    names: Mapping[str, str] = field(default_factory=dict)


def shifted_table(
    rng: np.random.Generator,
    shifts: Mapping[Planted, float],
    rows: int = 1000,
    domains: int = 2,
    *,
    target: Target = "binary",
    irrelevant: int = 1,
    uneven: float = 0.0,
) -> ShiftedTable:
    """Draw the domains; the first has no shift, the last all of it, those between their part on the way.

    Parameters
    ----------
    shifts : what is planted → severity from 0 (none) to 2; 1 is a large one
    rows : of each domain
    irrelevant : heavy-tailed columns that nothing depends on
    uneven : how the noise of the score grows with the age: its scale is exp(uneven · latent age)

    Raises
    ------
    InputError
        An unknown shift or target, a severity out of range, fewer than two domains.

    Examples
    --------
    >>> table = shifted_table(np.random.default_rng(0), {"label": 1.0}, rows=500)
    >>> table.frame.shape, table.kinds
    ((1000, 11), ('label',))
    >>> table.frame.groupby("domain")["y"].mean().round(1).to_dict()
    {'d1': 0.4, 'd2': 0.8}
    """
    _check(shifts, rows, domains, target)
    width = len(str(domains))
    parts = []
    for d in range(domains):
        severity = {str(name): s * d / (domains - 1) for name, s in shifts.items()}
        part = _domain(rng, severity, rows, target, irrelevant, uneven)
        parts.append(part.assign(domain=f"d{d + 1:0{width}d}"))
    planted = [name for name, s in shifts.items() if s > 0]
    kinds = tuple(dict.fromkeys("concept" if name == "offset" else name for name in planted))
    frame = pd.concat(parts, ignore_index=True)
    location, scale = frame.pop(LOCATION).to_numpy(), frame.pop(SCALE).to_numpy()
    chances = [] if target == "continuous" else [f"{CHANCE}{k}" for k in range(len(CUTS[target]) + 1)]
    probability = np.column_stack([frame.pop(name) for name in chances]) if chances else None
    where = {str(name): WHERE[name] for name in planted if name in WHERE}
    return ShiftedTable(frame, kinds, where, location, scale, probability)


def _check(shifts: Mapping[Planted, float], rows: int, domains: int, target: Target) -> None:
    if unknown := [name for name in shifts if name not in get_args(Planted)]:
        raise InputError(
            f"{unknown[0]!r} cannot be planted; what can is {', '.join(map(str, get_args(Planted)))}."
        )
    if out := [f"{name}={s:g}" for name, s in shifts.items() if not 0 <= s <= MOST]:
        raise InputError(f"Severity {out[0]} was given; it lies between 0 and {MOST:g}.")
    if target not in CUTS:
        raise InputError(f"The target is one of {', '.join(CUTS)}; {target!r} was given.")
    if domains < 2 or rows < 1:
        raise InputError(
            f"{domains} domains of {rows} rows were asked for; a shift needs two domains, with rows."
        )


def _domain(
    rng: np.random.Generator,
    severity: Mapping[str, float],
    rows: int,
    target: Target,
    irrelevant: int,
    uneven: float,
) -> pd.DataFrame:
    """Rows of one domain: drawn in batches, selected, cut to length."""
    kept: list[pd.DataFrame] = []
    while sum(map(len, kept)) < rows:
        kept.append(_batch(rng, severity, 2 * rows + 100, target, irrelevant, uneven))
    frame = pd.concat(kept, ignore_index=True).iloc[:rows]
    return _with_missing(rng, frame, 0.27 * severity.get("missingness", 0.0))


def _batch(
    rng: np.random.Generator,
    severity: Mapping[str, float],
    draws: int,
    target: Target,
    irrelevant: int,
    uneven: float,
) -> pd.DataFrame:
    z = _latent(rng, draws, severity.get("mechanism", 0.0), 0.7 - 0.7 * severity.get("correlation", 0.0))
    region = rng.choice(list(REGIONS), draws, p=[0.4, 0.3, 0.2, 0.1])
    w = _weights(severity.get("concept", 0.0) * np.pi / 2)
    score = w @ np.array([z[name] for name in SCORE]) + pd.Series(region).map(REGIONS).to_numpy(dtype=float)
    offset, scale = 1.5 * severity.get("offset", 0.0), np.exp(uneven * z["age"])
    truth = {LOCATION: score + offset, SCALE: scale}
    y, scaled = _target(score + (offset + scale * rng.logistic(size=draws)), target)
    by_label = 1.5 * severity.get("label", 0.0)
    if target != "continuous":
        chances = _probability(truth[LOCATION], scale, target, by_label)
        truth |= {f"{CHANCE}{k}": p for k, p in enumerate(chances.T)}
    kept = _selected(rng, 2 * severity.get("covariate", 0.0), np.tanh((z["age"] + z["spend"]) / 2))
    kept &= _selected(rng, by_label, scaled)
    columns: dict[str, Any] = {
        "age": 42 + 13 * z["age"],
        "income": np.exp(10.4 + 0.5 * z["income"]),
        "tenure": stats.gamma.ppf(ndtr(z["tenure"]), 2, scale=12),
        "usage": 30 + 10 * z["usage"],
        "spend": 50 * np.exp(0.8 * z["spend"]),
        "tickets": stats.poisson.ppf(ndtr(z["tickets"]), 3).astype(int),
        "plan": np.array(["basic", "plus", "pro"])[np.digitize(z["plan"], (0.0, 1.0))],
        "region": region,
    }
    for k in range(irrelevant):
        columns[f"other{k + 1}"] = rng.standard_t(3, draws)
    return pd.DataFrame({**columns, "y": y, **truth})[kept]


def _latent(rng: np.random.Generator, draws: int, mechanism: float, correlation: float) -> dict[str, Array]:
    """The structural model; noise makes up every variance to 1, but for a spend whose mechanism has shifted."""
    e = iter(rng.standard_normal((7, draws)))
    age = next(e)
    income = 0.4 * age + np.sqrt(1 - 0.4**2) * next(e)
    tenure = 0.5 * age + np.sqrt(1 - 0.5**2) * next(e)
    usage = 0.3 * income + 0.3 * tenure + np.sqrt(1 - 2 * 0.3**2 * (1 + 0.4 * 0.5)) * next(e)
    covariance = 0.3 + 0.3 * 0.4 * 0.5  # of income and usage
    left = np.sqrt(1 - 0.2**2 - 0.5**2 - 2 * 0.2 * 0.5 * covariance)
    spend = mechanism + 0.2 * income + (0.5 - 0.4 * mechanism) * usage + left * next(e)
    tickets = correlation * usage + np.sqrt(1 - correlation**2) * next(e)
    plan = 0.5 * income + np.sqrt(1 - 0.5**2) * next(e)
    return {
        "age": age, "income": income, "tenure": tenure, "usage": usage, "spend": spend, "tickets": tickets,
        "plan": plan,
    }  # fmt: skip


def _weights(angle: float) -> Array:
    """Weights of the score, turned by an angle; its variance is 4 whatever the angle, and so P(y) stays."""

    def of_unit_variance(w: Array) -> Array:
        return w / np.sqrt(w @ COVARIANCE @ w)

    first = of_unit_variance(np.array([-0.5, -1.0, 1.0]))
    other = np.array([1.0, 0.5, 1.0])
    other = of_unit_variance(other - (other @ COVARIANCE @ first) * first)
    return 2 * (np.cos(angle) * first + np.sin(angle) * other)


def _target(score: Array, target: Target) -> tuple[NDArray[Any], Array]:
    """The target, and the same between -1 and 1 for its selection."""
    cuts = CUTS[target]
    if not cuts:
        return score, np.tanh(score / 2)
    y = np.digitize(score, cuts)
    return y, y / len(cuts)


def _probability(location: Array, scale: Array, target: Target, by_label: float) -> Array:
    """P(y | x) of the classes among the rows that a selection by y keeps, shape (rows, classes)."""
    cuts = np.r_[-np.inf, CUTS[target], np.inf]
    probability = np.diff(expit((cuts - location[:, None]) / scale[:, None]), axis=1)
    probability *= np.exp(by_label * (np.arange(len(cuts) - 1) / len(CUTS[target]) - 1))
    return probability / probability.sum(1, keepdims=True)


def _selected(rng: np.random.Generator, strength: float, by: Array) -> NDArray[np.bool_]:
    """Keep a row with probability exp(strength · (by - 1)), where ``by`` is at most 1."""
    return rng.random(len(by)) < np.exp(strength * (by - 1))


def _with_missing(rng: np.random.Generator, frame: pd.DataFrame, more: float) -> pd.DataFrame:
    older = np.where(frame["age"] > 42, 1.5, 0.5)
    return frame.assign(
        income=frame["income"].mask(rng.random(len(frame)) < 0.03 + more),
        usage=frame["usage"].mask(rng.random(len(frame)) < 0.03 + more * older),
    )


# A cascade with one changed mechanism --------------------------------------------------------------------

Change = Literal["slope", "sign", "spread", "product", "offset", "upstream slope", "upstream offset", "none"]
CascadeTarget = Literal["continuous", "count", "seven classes"]


def cascade(
    rng: np.random.Generator,
    change: Change,
    rows: int = 500,
    *,
    target: CascadeTarget = "continuous",
    noise: float = 1.0,
) -> ShiftedTable:
    """Two domains of a → b → c → y, a → d → y in which one mechanism changed; names and order of columns are drawn.

    slope, sign : y follows c less (0.9 becomes 0.1), or the other way; offset : y rises by 0.8; spread : the noise of
    y grows by six tenths; product : half of c · d is added. upstream slope, upstream offset : c follows b less, or
    rises by 0.6, while y given the columns stays.

    Parameters
    ----------
    rows : of each domain
    target : y itself, counts drawn around exp(y / 2), or its sevenths over both domains together
    noise : standard deviation of the noise of y

    Examples
    --------
    >>> table = cascade(np.random.default_rng(0), "slope", rows=100)
    >>> table.kinds, table.frame.shape
    (('concept',), (200, 6))
    """
    if change not in get_args(Change) or target not in get_args(CascadeTarget):
        raise InputError(
            f"{change!r} of a {target!r} target was asked for; changes are {', '.join(get_args(Change))}, targets "
            f"{', '.join(get_args(CascadeTarget))}."
        )
    parts = [
        _cascade(rng, which, rows, noise).assign(domain=d) for which, d in (("none", "d1"), (change, "d2"))
    ]
    frame = pd.concat(parts, ignore_index=True)
    if target == "count":
        frame["y"] = rng.poisson(np.exp(np.clip(frame["y"] / 2, -4, 3)))
    elif target == "seven classes":
        frame["y"] = "level " + pd.qcut(frame["y"], 7, labels=False).astype(str)
    names = dict(zip("abcd", rng.permutation(["alpha", "beta", "gamma", "delta"]), strict=True))
    frame = frame.rename(columns=names)[[*rng.permutation(list(names.values())), "y", "domain"]]
    upstream = change.startswith("upstream")
    kinds = () if change == "none" else ("mechanism",) if upstream else ("concept",)
    return ShiftedTable(frame, kinds, {"mechanism": (names["c"],)} if upstream else {}, names=names)


def _cascade(rng: np.random.Generator, change: str, rows: int, noise: float) -> pd.DataFrame:
    a, e = rng.normal(size=rows), rng.normal(size=(4, rows))
    b = 0.8 * a + 0.6 * e[0]
    c = (0.3 if change == "upstream slope" else 0.8) * b + 0.6 * e[1] + 0.6 * (change == "upstream offset")
    d = 0.7 * a + 0.7 * e[2]
    along = {"slope": 0.1, "sign": -0.9}.get(change, 0.9)
    y = along * c - 0.6 * d + 0.5 * c * d * (change == "product") + 0.8 * (change == "offset")
    return pd.DataFrame(
        {"a": a, "b": b, "c": c, "d": d, "y": y + noise * (1.6 if change == "spread" else 1) * e[3]}
    )
