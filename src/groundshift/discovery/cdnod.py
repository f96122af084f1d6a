"""Causal discovery from heterogeneous or nonstationary data (CD-NOD).

Huang, Zhang, Zhang, Ramsey, Sanchez-Romero, Glymour, Schölkopf: "Causal Discovery from Heterogeneous/Nonstationary
Data", JMLR 21(89), 2020, arXiv:1903.01672. Rows come from several domains or a long time; C is their domain or time.

1. Which mechanisms change, and what is adjacent to what: PC on the variables and C.
2. Arrows that the change itself orients: C comes first, colliders, Meek's rules.
3. Arrows between two changing variables: mechanisms change independently of each other in the causal direction only.
4. How a mechanism moved: kernel nonstationarity visualisation.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import networkx as nx
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import linalg
from scipy.signal import find_peaks
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state

from groundshift.discovery.independence import (
    IndependenceTest,
    ProductKernel,
    factor,
    independence_test,
    standardise,
)
from groundshift.errors import InputError
from groundshift.tables import split_domain

__all__ = [
    "CDNOD",
    "ChangeScore",
    "DrivingForce",
    "driving_force",
    "independent_change_score",
    "learn_time_width",
]

Array = NDArray[np.float64]
Kind = Literal["auto", "time", "domain"]

MIN_ROWS = 5
"""Fewest rows of a domain."""
MIN_DOMAINS = 5
"""Fewest domains for a verdict from independent changes."""
GRID = 100
"""Points of time at which a drifting mechanism is compared."""
DENSE_ROWS = 2000
"""Most rows whose kernel is held as a whole where its rank is high."""
FACTOR_WORK = 2 * 10**9
"""Rows × rank² of the largest factor of a kernel of more rows: rank 632 at 5,000 rows, 141 at 100,000."""
FACTOR_KEPT = 0.99
"""Share of a kernel that its factor should keep; the user is told of less."""
BLOCK = 2 * 10**7
"""Numbers in the largest intermediate array."""


# Phases 3 and 4: a mechanism as a function of C ---------------------------------------------------------


@dataclass(frozen=True)
class _Context:
    """C: the domain or time of each row, and the points at which mechanisms are compared.

    ``between`` is k_C between these points and all rows, shape (points, rows).
    """

    kind: str
    codes: NDArray[np.int64]
    times: Array
    points: Array
    labels: pd.Index[Any]
    width: float

    @classmethod
    def make(cls, domain: pd.Series[Any], kind: str, width: float) -> _Context:
        if kind == "domain":
            codes, labels = pd.factorize(domain, sort=True)
            points = np.arange(len(labels), dtype=float)
            return cls("domain", codes.astype(np.int64), codes.astype(float), points, pd.Index(labels), width)
        times = standardise(_as_numbers(domain)[:, None])[:, 0]
        chosen = np.unique(np.linspace(0, len(times) - 1, min(GRID, len(times))).round().astype(int))
        return cls(
            "time", np.arange(len(times)), times, times[chosen], pd.Index(domain.to_numpy()[chosen]), width
        )

    @property
    def between(self) -> Array:
        if self.kind == "domain":
            return (self.points[:, None] == self.times[None, :]).astype(float)
        return np.exp(-0.5 * ((self.points[:, None] - self.times[None, :]) / self.width) ** 2)

    def kernel(self, values: Array | None = None) -> ProductKernel:
        """k_C, or its product with a Gaussian kernel on values that are divided by their width."""
        values = np.zeros((len(self.times), 0)) if values is None else values
        if self.kind == "domain":
            return ProductKernel(values, self.codes)
        return ProductKernel(np.column_stack([values, self.times / self.width]), None)


def _ridge_solve(context: _Context, values: Array | None, ridge: float, right: Array) -> Array:
    """(K + ridge I)⁻¹ right, where K is k_C or its product with a Gaussian kernel; rows² at no point."""
    if context.kind == "time":
        return _solve(context.kernel(values), np.arange(len(right)), ridge, right)
    solved = np.empty_like(right)
    for code in range(len(context.points)):  # the kernel is zero between domains
        rows = np.flatnonzero(context.codes == code)
        solved[rows] = _solve(context.kernel(values), rows, ridge, right[rows])
    return solved


def _solve(kernel: ProductKernel, rows: NDArray[np.int64], ridge: float, right: Array) -> Array:
    part = ProductKernel(kernel.values[rows], None if kernel.labels is None else kernel.labels[rows])
    if len(rows) <= DENSE_ROWS:
        gram = part.gram()
        gram[np.diag_indices_from(gram)] += ridge
        return linalg.solve(gram, right, assume_a="pos", check_finite=False)
    left = factor(part.against, len(rows), _rank(len(rows)), 1e-6)
    inner = left.T @ left
    inner[np.diag_indices_from(inner)] += ridge
    return (right - left @ linalg.solve(inner, left.T @ right, assume_a="pos", check_finite=False)) / ridge


def module_gram(
    effect: Array, causes: Array | None, context: _Context, *, width: float, ridge: float
) -> Array:
    """Gram matrix of a changing mechanism between the points of C, shape (points, points).

    Without causes, of P(y | c): K_c (K_c + λI)⁻¹ K_y (K_c + λI)⁻¹ K_c. With causes, of P(y | x, c) embedded with the
    pooled x, so that only the mechanism moves: T⁻² K_c [K_x³ ∘ (A K_y A)] K_c with A = (K_x ∘ K_c + λI)⁻¹ and K_x³
    the matrix power. Both are computed from factors K_x ≈ L_x L_xᵀ, K_y ≈ L_y L_yᵀ, so that K_x³ = P Pᵀ with
    P = L_x L_xᵀL_x. Several causes need many columns of L_x: see `_factor`.
    """
    if causes is None:
        return _marginal(_factor(effect, width), context, ridge)
    return _mechanism(_factor(effect, width), _factor(causes, width), causes / width, context, ridge)


def _marginal(left: Array, context: _Context, ridge: float) -> Array:
    embedded = context.between @ _ridge_solve(context, None, ridge, left)
    return embedded @ embedded.T


def _mechanism(left_y: Array, left_x: Array, causes: Array, context: _Context, ridge: float) -> Array:
    power = left_x @ (left_x.T @ left_x)
    regressed = _ridge_solve(context, causes, ridge, left_y)
    return _mixed_gram(context.between, power, regressed) / len(causes) ** 2


def _mixed_gram(between: Array, a: Array, b: Array) -> Array:
    """k (A Aᵀ ∘ B Bᵀ) kᵀ for k = ``between`` (points, rows), A and B (rows, ranks), the cheaper of two ways."""
    points, rows = between.shape
    made = np.zeros((points, points))
    if points * a.shape[1] * b.shape[1] <= rows * (a.shape[1] + b.shape[1]):
        # ΨΨᵀ with Ψ(c) = Σ_i k(c, c_i) A_i ⊗ B_i
        for some in _blocks(a.shape[1], rows * b.shape[1]):
            features = np.einsum("ti,ij,ik->tjk", between, a[:, some], b, optimize=True).reshape(points, -1)
            made += features @ features.T
        return made
    for some in _blocks(rows, rows):
        made += between[:, some] @ ((a[some] @ a.T) * (b[some] @ b.T)) @ between.T
    return made


def _blocks(count: int, numbers_each: int) -> Iterator[slice]:
    size = max(1, BLOCK // numbers_each)
    return (slice(start, start + size) for start in range(0, count, size))


def _rank(rows: int) -> int:
    """Most columns of a factor."""
    return max(100, rows // 4 if rows <= DENSE_ROWS else int(np.sqrt(FACTOR_WORK / rows)))


def _factor(values: Array, width: float) -> Array:
    """L with K ≈ LLᵀ; of few columns where they are enough, else whole up to `DENSE_ROWS` rows."""
    kernel = ProductKernel(values / width, None)
    left = factor(kernel.against, len(values), _rank(len(values)), 1e-6)
    if len(values) > DENSE_ROWS or _kept(left) >= 1 - 2e-6:
        return left
    gram = kernel.gram()
    gram[np.diag_indices_from(gram)] += 1e-9
    return linalg.cholesky(gram, lower=True, overwrite_a=True, check_finite=False)


def _kept(left: Array) -> float:
    """Share of a kernel's trace that its factor keeps; 1 but for the last digits where nothing was left out."""
    return float((left**2).sum() / len(left))


def gaussianised(gram: Array) -> Array:
    """Gaussian kernel of the distances that a Gram matrix holds, its width their median."""
    diagonal = np.diag(gram)
    distances = diagonal[:, None] + diagonal[None, :] - 2 * gram
    median = np.median(distances[np.tril_indices_from(distances, -1)])
    return np.exp(-distances / (2 * median)) if median > 0 else np.ones_like(gram)


def dependence(a: Array, b: Array, *, normalised: bool = True) -> float:
    """Dependence of two changing mechanisms, Δ = tr(A H B H) / (tr(HA) tr(HB)); smaller is more independent."""
    a = a - a.mean(0)
    a = a - a.mean(1)[:, None]
    b = b - b.mean(0)
    b = b - b.mean(1)[:, None]
    product = float((a * b).sum())
    if not normalised:
        return product / len(a) ** 2
    scale = float(np.trace(a) * np.trace(b))
    return product / scale if scale > 0 else 0.0


def overlap(left: Array, context: _Context) -> float:
    """How much of the pooled causes each domain covers, from 0 to 1: the lower quartile over domains.

    A domain's share is that of an effective sample: 1 / (1 + χ²) of its kernel density under the pooled rows; ``left``
    is the factor of the kernel of the causes.
    """
    weights = context.between / np.maximum(context.between.sum(1), 1e-12)[:, None]
    local = np.maximum((weights @ left) @ left.T, 0)
    ratio = local / np.maximum(left @ left.mean(0), 1e-12)
    share = ratio.mean(1) ** 2 / (ratio**2).mean(1)
    return float(np.quantile(share, 0.25))


class ChangeScore(NamedTuple):
    """Which of several hypotheses "this is the effect" lets the mechanisms change independently.

    Attributes
    ----------
    effect : name of the variable whose hypothesis has the smallest Δ
    decided : whether the data can tell
    reason : why not, or the figures
    delta : Δ of each hypothesis, by the name of its effect
    margin : (second - smallest) / (second + smallest)
    stability : share of random subsets of 70 % of the domains that choose the same effect
    p_value : permutation p-value of dependence in the chosen direction; small where no direction is independent
    overlap : see `overlap`; the smallest over the hypotheses
    kept : share of the kernel of the causes that its factor keeps, the smallest over the hypotheses; below 1 with many
        causes and many rows
    """

    effect: str
    decided: bool
    reason: str
    delta: dict[str, float]
    margin: float
    stability: float
    p_value: float
    overlap: float
    kept: float = 1.0


@dataclass(frozen=True)
class _Rule:
    """When an independent change may orient an edge."""

    margin: float = 0.1
    stability: float = 0.9
    p_value: float = 0.01
    overlap: float = 0.5
    subsets: int = 100
    permutations: int = 999


def _compare(
    hypotheses: Mapping[str, tuple[Array, Array]],
    context: _Context,
    width: float,
    ridge: float,
    normalised: bool,
    rng: np.random.RandomState,
    rule: _Rule,
) -> ChangeScore:
    """Score hypotheses {effect: (effect, causes)} by the dependence of P(causes) and P(effect | causes)."""
    left = {name: _factor(causes, width) for name, (_, causes) in hypotheses.items()}
    grams = {
        name: (
            _marginal(left[name], context, ridge),
            _mechanism(_factor(effect, width), left[name], causes / width, context, ridge),
        )
        for name, (effect, causes) in hypotheses.items()
    }
    points = len(context.points)

    def deltas(chosen: NDArray[np.int64]) -> dict[str, float]:
        at = np.ix_(chosen, chosen)
        return {
            name: dependence(gaussianised(a[at]), gaussianised(b[at]), normalised=normalised)
            for name, (a, b) in grams.items()
        }

    delta = deltas(np.arange(points))
    effect, second = sorted(delta, key=delta.__getitem__)[:2]
    margin = (delta[second] - delta[effect]) / max(delta[second] + delta[effect], 1e-300)
    kept = max(3, round(0.7 * points))
    subsets = (np.sort(rng.choice(points, kept, replace=False)) for _ in range(rule.subsets))
    stability = float(np.mean([min(d, key=d.__getitem__) == effect for d in map(deltas, subsets)]))
    a, b = (gaussianised(gram) for gram in grams[effect])
    shuffled = (_shuffle(points, context.kind, rng) for _ in range(rule.permutations))
    exceed = sum(
        dependence(a, b[np.ix_(s, s)], normalised=normalised) >= delta[effect] - 1e-12 for s in shuffled
    )
    p_value = (1 + exceed) / (1 + rule.permutations)
    cover = min(overlap(one, context) for one in left.values())
    reason = _why_undecided(context, rule, margin, stability, p_value, cover)
    words = (
        f"Δ {delta[effect]:.3g} against {delta[second]:.3g}, margin {margin:.2f}, stable in {stability:.0%}"
    )
    least = min(left, key=lambda name: _kept(left[name]))
    return ChangeScore(
        effect,
        not reason,
        reason or words,
        delta,
        float(margin),
        stability,
        float(p_value),
        cover,
        _kept(left[least]),
    )


def _shuffle(points: int, kind: str, rng: np.random.RandomState) -> NDArray[np.int64]:
    """Permute domains; of time, blocks of a tenth, which keep what is smooth in it."""
    if kind == "domain":
        return rng.permutation(points)
    blocks = np.array_split(np.roll(np.arange(points), rng.randint(points)), 10)
    return np.concatenate([blocks[b] for b in rng.permutation(10)])


def _why_undecided(
    context: _Context, rule: _Rule, margin: float, stability: float, p_value: float, cover: float
) -> str:
    points = len(context.points)
    if context.kind == "domain" and points < MIN_DOMAINS:
        return f"{points} domains are too few to see whether changes are independent (at least {MIN_DOMAINS})"
    if cover < rule.overlap:
        return f"domains hardly overlap (a quarter of them cover less than {cover:.0%} of the pooled values)"
    if p_value < rule.p_value:
        return f"the changes are dependent in every direction (p = {p_value:.3f})"
    if margin < rule.margin:
        return f"the margin is {margin:.2f}, below {rule.margin:g}"
    if stability < rule.stability:
        return f"only {stability:.0%} of random subsets of the domains agree"
    return ""


def independent_change_score(
    x: Any,
    y: Any,
    domain: Any,
    *,
    kind: Kind = "auto",
    time_width: float | Literal["learned"] = "learned",
    width: float = 0.4,
    ridge: float = 0.1,
    normalised: bool = True,
    discrete: Sequence[str] = (),
    random_state: Any = None,
) -> ChangeScore:
    """Which of two adjacent variables with changing mechanisms is the effect? (phase 3)

    Parameters
    ----------
    x, y : numbers or labels, as `CDNOD.fit` takes them: arrays of shape (rows,) or (rows, d), series or frames
    domain : label or time of each row, shape (rows,)
    kind : "time", "domain" or "auto"
    time_width : kernel width of a time in its standard deviations, or "learned" from x and y
    width : of the Gaussian kernels, in standard deviations
    ridge : λ of the regressions on C
    normalised : divide by the traces, as in the papers; the authors' code does not
    discrete : names of numeric columns that hold labels ("x" and "y" for arrays)
    random_state : seeds subsets and permutations

    Returns
    -------
    ChangeScore
        ``effect`` is "x" or "y".

    Examples
    --------
    >>> from groundshift.worlds.changing_mechanisms import changing_pair
    >>> world = changing_pair(np.random.default_rng(1), domains=20)
    >>> x, y = world.data.T
    >>> score = independent_change_score(x, y, world.domain, random_state=0)
    >>> score.effect, score.decided
    ('y', True)
    """
    values, context = _read({"x": x, "y": y}, domain, kind, discrete, time_width)
    a, b = values["x"], values["y"]
    rng = check_random_state(random_state)
    score = _compare({"y": (b, a), "x": (a, b)}, context, width, ridge, normalised, rng, _Rule())
    _warn_of_kernels({"x and y": score.kept})
    return score


def _read(
    variables: Mapping[str, Any],
    domain: Any,
    kind: Kind,
    discrete: Sequence[str],
    time_width: float | Literal["learned"],
) -> tuple[dict[str, Array], _Context]:
    """Variables as numbers, shape (rows, d) each, and C, by the same rules as in `CDNOD.fit`."""
    parts: dict[str, pd.DataFrame] = {}
    for name, values in variables.items():
        part = _frame_of(values, name)
        taken = {column for other in parts.values() for column in other}
        parts[name] = part.rename(columns={c: f"{name}.{c}" for c in part if c in taken})
    if len({len(part) for part in parts.values()}) > 1:
        sizes = ", ".join(f"{name} has {len(part)}" for name, part in parts.items())
        raise InputError(f"All variables need the same rows; {sizes}.")
    frame, labels = split_domain(pd.concat(parts.values(), axis=1), domain)
    found = _kind_of(labels, kind)
    frame, labels = _in_order(frame, labels, found)
    table = _Variables.make(frame, {}, discrete, str(labels.name), fewest=1)
    context = _Context.make(labels, found, _context_width(table, labels, found, time_width))
    place = {name: k for k, name in enumerate(table.names)}
    numbers = {
        name: np.column_stack([table.numbers(place[str(column)]) for column in part])
        for name, part in parts.items()
    }
    return numbers, context


def _frame_of(values: Any, name: str) -> pd.DataFrame:
    values = values.to_pandas() if hasattr(values, "to_pandas") else values
    if isinstance(values, pd.Series):
        values = values.to_frame(name if values.name is None else str(values.name))
    if not isinstance(values, pd.DataFrame):
        array = np.asarray(values)
        if array.ndim not in (1, 2):
            raise InputError(f"{name} has shape {array.shape}; (rows,) or (rows, columns) is needed.")
        columns = [name] if array.ndim == 1 else [f"{name}{k + 1}" for k in range(array.shape[1])]
        values = pd.DataFrame(array.reshape(len(array), -1), columns=columns)
    return values.reset_index(drop=True).rename(columns=str)


def _warn_of_kernels(kept: Mapping[str, float]) -> list[str]:
    """Say which kernels were cut; returns the words."""
    told = [
        f"Of the kernel of {of} only {share:.0%} is kept: so many columns need more memory than is taken for so many "
        "rows. Phases 3 and 4 are rough there; take fewer causes or fewer rows."
        for of, share in kept.items()
        if share < FACTOR_KEPT
    ]
    for words in told:
        warnings.warn(words, stacklevel=4)
    return told


# Phase 4 -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class DrivingForce:
    """How a mechanism moved: kernel principal components of its Gram matrix over C.

    Attributes
    ----------
    components : one row per domain or point of time, columns "1", "2"; scale and sign mean nothing
    eigenvalues : all, largest first, for a scree plot; shares of their sum
    change_points : labels after which the first component makes its largest steps (time only)
    kept : share of the kernel of the parents that its factor keeps; below 1 with many parents and many rows
    """

    components: pd.DataFrame
    eigenvalues: Array
    change_points: list[Any] = field(default_factory=list)
    kept: float = 1.0


def driving_force(
    y: Any,
    parents: Any,
    domain: Any,
    *,
    kind: Kind = "auto",
    time_width: float | Literal["learned"] = "learned",
    width: float = 0.4,
    ridge: float = 1.0,
    linear: bool = False,
    discrete: Sequence[str] = (),
) -> DrivingForce:
    """The curve along which P(y | parents) moved (phase 4, kernel nonstationarity visualisation).

    Parameters
    ----------
    y : numbers or labels, as in `independent_change_score`
    parents : the same, or None for a variable without parents; a column each in an array or frame
    domain, kind, time_width, width, ridge : see `independent_change_score`
    linear : take the components of the Gram matrix itself and not of a Gaussian kernel on it
    discrete : names of numeric columns that hold labels ("y", "parents" or "parents1", "parents2", ... for arrays)

    Examples
    --------
    >>> from groundshift.worlds.changing_mechanisms import driven_pair
    >>> world = driven_pair(np.random.default_rng(0))
    >>> x, y = world.data.T
    >>> force = driving_force(y, x, world.domain)
    >>> bool(abs(np.corrcoef(force.components["1"], world.forces[1])[0, 1]) > 0.8)
    True
    """
    variables = {"y": y} if parents is None else {"y": y, "parents": parents}
    values, context = _read(variables, domain, kind, discrete, time_width)
    found = _driving_force(values["y"], values.get("parents"), context, width, ridge, linear)
    _warn_of_kernels({"the parents": found.kept})
    return found


def _driving_force(
    y: Array, causes: Array | None, context: _Context, width: float, ridge: float, linear: bool
) -> DrivingForce:
    kept = 1.0
    if causes is None:
        gram = _marginal(_factor(y, width), context, ridge)
    else:
        left = _factor(causes, width)
        gram, kept = _mechanism(_factor(y, width), left, causes / width, context, ridge), _kept(left)
    gram = gram if linear else gaussianised(gram)
    gram = gram - gram.mean(0)
    gram = gram - gram.mean(1)[:, None]
    values, vectors = linalg.eigh(gram / len(gram))
    values, vectors = np.maximum(values[::-1], 0), vectors[:, ::-1]
    curves = gram @ vectors[:, :2]
    curves = curves * np.where(
        curves[np.abs(curves).argmax(0), [0, 1]] < 0, -1, 1
    )  # a sign that is always alike
    frame = pd.DataFrame(curves, index=pd.Index(context.labels, name="domain"), columns=["1", "2"])
    steps: list[Any] = []
    if context.kind == "time":
        size = np.abs(np.diff(curves[:, 0]))
        peaks = find_peaks(size, height=3 * np.median(size), distance=5)[0]
        steps = [context.labels[i] for i in peaks[np.argsort(-size[peaks])[:3]]]
    return DrivingForce(frame, values / max(values.sum(), 1e-300), sorted(steps), kept)


# C ------------------------------------------------------------------------------------------------------


def _kind_of(domain: pd.Series[Any], kind: Kind) -> Literal["time", "domain"]:
    """Time or domain, after checking that the column can be either."""
    if kind not in ("auto", "time", "domain"):
        raise InputError(f"kind may be 'auto', 'time' or 'domain'; {kind!r} was given.")
    counts = domain.value_counts()
    numeric = pd.api.types.is_numeric_dtype(domain) and not pd.api.types.is_bool_dtype(domain)
    ordered = numeric or pd.api.types.is_datetime64_any_dtype(domain)
    if len(counts) < 2:
        raise InputError(
            f"Every row has the domain {domain.iloc[0]!r}; rows from at least two domains, or a time for each row, are "
            "needed to see a change."
        )
    if kind == "auto":
        kind = "time" if ordered and len(counts) > len(domain) / MIN_ROWS else "domain"
    if kind == "time":
        if not ordered:
            raise InputError(
                f"A time of type {domain.dtype} was given (for example {domain.iloc[0]!r}); numbers or dates are "
                "needed. Use kind='domain' for labels."
            )
        return "time"
    small = counts[counts < MIN_ROWS]
    if len(small) == len(counts) and len(counts) == len(domain):
        raise InputError(
            f"Each of the {len(domain)} rows has a domain of its own; give a column with repeated labels, or a "
            "numeric or date column with kind='time'."
        )
    if len(small):
        raise InputError(
            f"{len(small)} of {len(counts)} domains have fewer than {MIN_ROWS} rows: "
            f"{', '.join(f'{name} ({n})' for name, n in small.head(6).items())}. Merge them, or leave them out."
        )
    return "domain"


def _as_numbers(times: pd.Series[Any]) -> Array:
    if pd.api.types.is_datetime64_any_dtype(times):
        return np.asarray(times.astype("int64"), dtype=float)
    return np.asarray(times, dtype=float)


def _context_width(
    table: _Variables, labels: pd.Series[Any], kind: str, given: float | Literal["learned"]
) -> float:
    """Kernel width of C: given, or learnt from the columns that hold numbers."""
    if kind == "domain":
        return 1.0
    if given != "learned":
        return float(given)
    continuous = [v for v, is_label in zip(table.values, table.labelled, strict=True) if not is_label]
    return learn_time_width(np.column_stack(continuous), _as_numbers(labels)) if continuous else 0.4


def learn_time_width(X: Array, times: Array) -> float:
    """Kernel width of time, in its standard deviations, by the marginal likelihood of Gaussian processes.

    Level and spread of every column are regressed on time, all with one width from a grid, each with its own noise;
    at most 1,000 evenly spaced rows are used. One width for all questions is wrong: too small, and the regression on
    time overfits; too large, and fast swings are missed.

    Parameters
    ----------
    X : shape (rows, n)
    times : shape (rows,)

    Examples
    --------
    >>> t = np.arange(400.0)
    >>> slow, fast = np.sin(t / 100)[:, None], np.sin(t / 8)[:, None]
    >>> noise = 0.3 * np.random.default_rng(0).standard_normal((400, 1))
    >>> learn_time_width(slow + noise, t) > learn_time_width(fast + noise, t)
    True
    """
    some = np.unique(np.linspace(0, len(times) - 1, min(1000, len(times))).round().astype(int))
    t = standardise(np.asarray(times, dtype=float)[some][:, None])
    level = standardise(np.asarray(X, dtype=float)[some])
    targets = np.column_stack([level, standardise(level**2)])
    likelihood: dict[float, float] = {}
    for width in (0.05, 0.07, 0.1, 0.14, 0.2, 0.28, 0.4, 0.56, 0.8, 1.1, 1.6):
        kernel = ProductKernel(t / width, None)
        left = factor(kernel.against, len(t), 200, 1e-8)
        basis, singular, _ = np.linalg.svd(left, full_matrices=False)
        energy = (basis.T @ targets) ** 2
        rest = (targets**2).sum(0) - energy.sum(0)
        likelihood[width] = sum(
            max(_log_likelihood(singular**2, energy[:, k], rest[k], len(t), noise) for noise in NOISES)
            for k in range(targets.shape[1])
        )
    best = max(likelihood.values())
    return max(width for width, value in likelihood.items() if value > best - 2)  # the widest that is as good


NOISES = np.array([0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.95, 0.999])


def _log_likelihood(eigenvalues: Array, energy: Array, rest: float, rows: int, noise: float) -> float:
    """Of y ~ N(0, (1 - noise) K + noise I), from the energy of y along the eigenvectors of K and outside them."""
    variance = (1 - noise) * eigenvalues + noise
    outside = rows - len(eigenvalues)
    return float(
        -0.5 * ((energy / variance).sum() + rest / noise + np.log(variance).sum() + outside * np.log(noise))
    )


# What no test can see ------------------------------------------------------------------------------------


class _Guarded:
    """A test whose "independent" counts only where the conditions determine neither side.

    Given a function of itself a column is independent of everything; PC would cut true edges on such answers.
    ``void`` holds them: (i, j, conditions) -> the side or sides that the conditions determine.
    """

    method = "guarded"

    def __init__(self, ask: IndependenceTest, alpha: float) -> None:
        self.ask, self.alpha = ask, alpha
        self.void: dict[tuple[int, int, tuple[int, ...]], tuple[int, ...]] = {}

    def __call__(self, i: int, j: int, given: Collection[int] | None = None) -> float:
        p = self.ask(i, j, given)
        if not given or p <= self.alpha:
            return p
        i, j = sorted((int(i), int(j)))
        key = (i, j, tuple(sorted(int(k) for k in given)))
        determined = tuple(side for side in (i, j) if self.ask.determined(side, key[2]))
        if determined:
            self.void[key] = determined
        return 0.0 if determined else p

    def links(self, i: int, j: int, given: tuple[int, ...]) -> list[set[frozenset[int]]]:
        """The edges from the conditions of a void answer that would explain why i and j depend on each other."""
        ends = [j if side == i else i for side in self.void[i, j, given]]
        return [{frozenset((k, end)) for k in given} for end in ends]

    def functions(self) -> dict[int, list[tuple[int, ...]]]:
        """Column -> the smallest sets of conditions that were seen to determine it."""
        found: dict[int, list[tuple[int, ...]]] = {}
        for given, side in sorted(
            {(key[2], side) for key, sides in self.void.items() for side in sides}, key=_by_size
        ):
            if not any(set(smaller) <= set(given) for smaller in found.get(side, [])):
                found.setdefault(side, []).append(given)
        return found


def _by_size(item: tuple[tuple[int, ...], int]) -> tuple[int, tuple[int, ...], int]:
    return len(item[0]), item[0], item[1]


# Phases 1 and 2, and the whole --------------------------------------------------------------------------


class CDNOD(BaseEstimator):
    """Which mechanisms change, what causes what, and how each mechanism moved.

    Parameters
    ----------
    test : "auto" or a name or function of `groundshift.discovery.independence`
        "auto" is the kernel test: exact up to 500 rows, with low-rank kernels beyond.
    alpha : float
        Edges stay while p ≤ alpha.
    max_cond : int
        Most variables in a conditioning set.
    kind : "auto", "time" or "domain"
        What C is. Dates, and numbers with fewer than five rows each, are a time; anything else is a domain.
    phases : tuple of int
        Of 1 to 4; (1, 2) leaves what independent changes would orient.
    time_width : float or "learned"
        Kernel width of a time in its standard deviations.
    width, ridge : float
        Kernel width and λ of phase 3.
    normalised : bool
        Divide the dependence of phase 3 by the traces, as in the papers; the authors' code does not.
    undecided : "abstain" or "smallest"
        Whether phase 3 leaves an edge undirected where the data cannot tell, or takes the smallest Δ regardless.
    groups : dict of str to list of str
        Columns that make up one vector-valued variable.
    discrete : sequence of str
        Numeric columns that hold labels; text columns do anyway.
    required, forbidden : sequences of (cause, effect)
        What is known beforehand.
    random_state : int, RandomState or None

    Attributes
    ----------
    graph_ : networkx.DiGraph
        Variables and C under the name of the domain. An undirected edge is a pair of arrows with ``oriented`` False.
    edges_ : DataFrame
        One row per edge: cause, effect, oriented, reason, margin, p_value (the largest over conditioning sets), and
        doubtful: whether it is undecided because columns are functions of each other.
    changing_ : DataFrame
        By variable: changing, p_value (the largest over conditioning sets), doubtful.
    driving_force_ : dict of str to DrivingForce
        For every changing variable.
    changes_ : list of ChangeScore
        Every decision of phase 3, made or not.
    tests_ : DataFrame
        Every question asked: x, y, given, p_value, and which of x and y is a function of what is given, so that the
        answer cuts no edge ("" for neither).
    functions_ : DataFrame
        Columns that are functions of others, as far as the rows tell: variable, of.
    unexplained_ : DataFrame
        Pairs that clearly depend on each other though no path joins them: x, y, p_value, separated_by.
    warnings_ : list of str
        What of this the user should know, and what to do; also given as warnings.
    kind_, time_width_, variables_
    assumptions_ : list of str
        Under which the arrows mean causes.

    Examples
    --------
    >>> from groundshift.worlds.changing_mechanisms import chain_in_time
    >>> world = chain_in_time(np.random.default_rng(0), rows=300)
    >>> table = pd.DataFrame(world.data, columns=["a", "b", "c", "d"]).assign(day=world.domain)
    >>> model = CDNOD(phases=(1, 2)).fit(table, domain="day")
    >>> model.changing_.query("changing").index.tolist()
    ['b', 'd']
    >>> print(model)
    day drives the mechanisms of b, d
    a → b  (collider)
    b → c  (Meek's rules)
    c → d  (collider)
    """

    def __init__(
        self,
        *,
        test: str | Callable[..., float] = "auto",
        alpha: float = 0.05,
        max_cond: int = 2,
        kind: Kind = "auto",
        phases: Sequence[int] = (1, 2, 3, 4),
        time_width: float | Literal["learned"] = "learned",
        width: float = 0.4,
        ridge: float = 0.1,
        normalised: bool = True,
        undecided: Literal["abstain", "smallest"] = "abstain",
        groups: Mapping[str, Sequence[str]] | None = None,
        discrete: Sequence[str] = (),
        required: Sequence[tuple[str, str]] = (),
        forbidden: Sequence[tuple[str, str]] = (),
        random_state: Any = None,
    ) -> None:
        self.test = test
        self.alpha = alpha
        self.max_cond = max_cond
        self.kind = kind
        self.phases = phases
        self.time_width = time_width
        self.width = width
        self.ridge = ridge
        self.normalised = normalised
        self.undecided = undecided
        self.groups = groups
        self.discrete = discrete
        self.required = required
        self.forbidden = forbidden
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None, *, domain: Any) -> CDNOD:
        """Discover the graph of a table whose rows come from several domains or times.

        Parameters
        ----------
        X : array (rows, n), frame (pandas, polars, Arrow) or path of a csv or parquet file
        domain : name of the column that holds it, or one label or time per row, shape (rows,)

        Raises
        ------
        InputError
            Missing values, constant or equal columns, domains that are too small or all distinct, unknown names.
        """
        self._check()
        frame, labels = split_domain(X, domain)
        kind = _kind_of(labels, self.kind)
        frame, labels = _in_order(frame, labels, kind)
        table = _Variables.make(frame, self.groups or {}, self.discrete, str(labels.name))
        context = _Context.make(labels, kind, _context_width(table, labels, kind, self.time_width))
        self.kind_, self.time_width_ = kind, context.width if kind == "time" else None
        self.variables_ = table.names
        self._names = [*table.names, str(labels.name)]
        self._table, self._context = table, context
        guarded = self._skeleton(table, context, len(frame))
        self._prune(guarded)
        self._doubts(guarded)
        self._orient()
        rng = check_random_state(self.random_state)
        if 3 in self.phases:
            self._orient_by_independent_changes(table, context, rng)
        self._describe(guarded)
        self.driving_force_ = self._forces(table, context) if 4 in self.phases else {}
        kept = {
            f"the causes of {' or '.join(score.delta)}": score.kept for score in getattr(self, "changes_", [])
        }
        kept |= {f"the causes of {name}": force.kept for name, force in self.driving_force_.items()}
        self.warnings_ += _warn_of_kernels(kept)
        return self

    def _check(self) -> None:
        if not 0 < self.alpha < 1:
            raise InputError(f"alpha is {self.alpha}; a level between 0 and 1 is needed, as 0.05.")
        if not {1, 2} <= set(self.phases) <= {1, 2, 3, 4}:
            raise InputError(f"phases are {tuple(self.phases)}; 1 and 2 are needed, 3 and 4 may follow.")
        if self.undecided not in ("abstain", "smallest"):
            raise InputError(f"undecided may be 'abstain' or 'smallest'; {self.undecided!r} was given.")

    # Phase 1

    def _skeleton(self, table: _Variables, context: _Context, rows: int) -> _Guarded:
        """PC-stable on the variables and C; what stays next to C is a changing mechanism."""
        from causallearn.utils.PCUtils.SkeletonDiscovery import skeleton_discovery

        test = ("kci" if rows <= 500 else "kci-lowrank") if self.test == "auto" else self.test
        if test == "kci" and rows > 3000:
            warnings.warn(
                f"The exact kernel test holds matrices of {rows}² numbers ({8e-9 * rows**2:.1f} GB each) and takes "
                f"about {1e-10 * rows**3:.0f} s a question; test='kci-lowrank' is linear in the rows.",
                stacklevel=3,
            )
        c = len(table.names)
        is_label = {k for k, labelled in enumerate(table.labelled) if labelled}
        ask = independence_test(
            test,
            [*table.values, context.times[:, None]],
            discrete=is_label | ({c} if context.kind == "domain" else set()),
            widths={c: context.width} if context.kind == "time" else None,
        )
        guarded = _Guarded(ask, self.alpha)
        self._knowledge = self._background()
        shape_only = np.zeros((rows, c + 1))
        self._causal_graph = skeleton_discovery(
            shape_only,
            self.alpha,
            guarded,
            stable=True,
            background_knowledge=self._knowledge,
            show_progress=False,
            node_names=self._names,
            max_k=self.max_cond,
        )
        self._causal_graph.test = None  # what follows copies the graph, and need not copy the kernels
        return guarded

    def _prune(self, guarded: _Guarded) -> None:
        """Take a void answer after all where it agrees with the rest: z and a function of x part, given x, if z is next
        to x.

        That edge must not itself hang on a void answer to a question as small. Where x and y are functions of each
        other, it does: both keep their edges, for no test can tell which of the two z depends on.
        """
        from causallearn.utils.PCUtils.Helper import append_value

        graph = self._causal_graph
        edges = {frozenset((i, j)) for i in range(len(self._names)) for j in map(int, graph.neighbors(i))}
        smallest: dict[frozenset[int], int] = {}
        for i, j, given in guarded.void:
            pair = frozenset((i, j))
            smallest[pair] = min(len(given), smallest.get(pair, len(given)))
        gone = set()
        for i, j, given in guarded.void:
            sound = {pair for pair in edges if smallest.get(pair, len(given) + 1) > len(given)}
            if any(links <= sound for links in guarded.links(i, j, given)):
                gone.add(frozenset((i, j)))
        for i, j in map(sorted, gone & edges):
            graph.G.remove_edge(graph.G.get_edge(graph.G.nodes[i], graph.G.nodes[j]))
        for i, j, given in guarded.void:
            if frozenset((i, j)) not in edges - gone:  # what parts them, for colliders
                append_value(graph.sepset, i, j, given)
                append_value(graph.sepset, j, i, given)
        self._doubtful = {
            frozenset((i, j))
            for i, j, given in guarded.void
            if any(links & (edges - gone) for links in guarded.links(i, j, given))
        } & (edges - gone)

    def _doubts(self, guarded: _Guarded) -> None:
        """What the skeleton leaves open: functions of other columns, and dependence without a path."""
        names, graph = self._names, self._causal_graph
        rows = [
            (names[side], ", ".join(names[k] for k in given))
            for side, sets in guarded.functions().items()
            for given in sets
        ]
        self.functions_ = pd.DataFrame(rows, columns=["variable", "of"])
        groups: dict[frozenset[int], list[int]] = {}
        for side, sets in guarded.functions().items():
            for given in sets:
                groups.setdefault(frozenset((side, *given)), []).append(side)
        self.warnings_ = [self._in_words(group, sides) for group, sides in groups.items()]
        joined = nx.Graph()
        joined.add_nodes_from(range(len(names)))
        joined.add_edges_from((i, int(j)) for i in range(len(names)) for j in graph.neighbors(i))
        part = {v: k for k, group in enumerate(nx.connected_components(joined)) for v in group}
        ends = list(itertools.combinations(range(len(names)), 2))
        found = []
        for i, j in ends:
            p = guarded.ask.asked.get((i, j, ()), 1.0)
            if part[i] != part[j] and p <= self.alpha / len(ends):
                parted = sorted({k for given in graph.sepset[i, j] or [] for k in given})
                found.append((names[i], names[j], p, ", ".join(names[k] for k in parted)))
        self.unexplained_ = pd.DataFrame(found, columns=["x", "y", "p_value", "separated_by"])
        if found:
            pairs = "; ".join(f"{x} – {y} (p = {p:.2g}, parted given {given})" for x, y, p, given in found)
            self.warnings_.append(
                f"These depend on each other, but no path joins them: {pairs}. An edge is missing, perhaps because a "
                "column is nearly a function of others; leave out columns that repeat others, or take more rows."
            )
        for words in self.warnings_:
            warnings.warn(words, stacklevel=3)

    def _in_words(self, group: frozenset[int], sides: Sequence[int]) -> str:
        """That ``sides`` are functions of the others of a group, and which edges this leaves undecided."""

        def named(some: Collection[int], last: str = "and") -> str:
            *first, end = (self._names[k] for k in sorted(some))
            return f"{', '.join(first)} {last} {end}" if first else end

        if len(sides) == 1:
            what, given = (
                f"{named(sides)} is a function of {named(group - set(sides))}",
                named(group - set(sides)),
            )
        elif len(group) == 2:
            what, given = f"{named(group)} are functions of each other", "one of them"
        else:
            what, given = f"Each of {named(sides)} is a function of the others of {named(group)}", "those"
        words = f"{what}, as far as the rows tell: given {given}, no test sees what else it depends on."
        edges = sorted(
            " – ".join(self._names[k] for k in sorted(pair))
            for pair in self._doubtful
            if len(pair & group) == 1
        )
        if not edges:
            return f"{words} No edge is left undecided by that."
        return f"{words} Undecided, and therefore kept: {'; '.join(edges)}. Leave out {named(group, 'or')}."

    def _background(self) -> Any:
        from causallearn.graph.GraphNode import GraphNode
        from causallearn.utils.PCUtils.BackgroundKnowledge import BackgroundKnowledge

        knowledge = BackgroundKnowledge()
        nodes = {name: GraphNode(name) for name in self._names}
        c = self._names[-1]
        for cause, effect in (*self.required, *self.forbidden):
            for name in (cause, effect):
                if name not in nodes:
                    raise InputError(f"{name!r} is no variable; there are {', '.join(self._names)}.")
        for name in self._names[:-1]:  # nothing causes the domain
            knowledge.add_forbidden_by_node(nodes[name], nodes[c])
        for cause, effect in self.required:
            knowledge.add_required_by_node(nodes[cause], nodes[effect])
        for cause, effect in self.forbidden:
            knowledge.add_forbidden_by_node(nodes[cause], nodes[effect])
        return knowledge

    # Phase 2

    def _orient(self) -> None:
        """C comes first; then colliders, with C as one end or none; then Meek's rules."""
        from causallearn.utils.PCUtils.UCSepset import uc_sepset

        self._reasons: dict[frozenset[int], tuple[str, float]] = {}
        graph = self._causal_graph
        c = len(self._names) - 1
        for i in graph.neighbors(c):
            _direct(graph, c, int(i))
        self._note(graph, "the domain comes first")
        for cause, effect in self.required:
            i, j = self._names.index(cause), self._names.index(effect)
            if graph.is_undirected(i, j):
                _direct(graph, i, j)
        self._note(graph, "known beforehand")
        graph = uc_sepset(graph, 2, background_knowledge=self._knowledge)
        self._note(graph, "collider")
        self._causal_graph = self._meek(graph)

    def _meek(self, graph: Any) -> Any:
        from causallearn.utils.PCUtils.Meek import meek

        graph = meek(graph, background_knowledge=self._knowledge)
        self._note(graph, "Meek's rules")
        return graph

    def _note(self, graph: Any, reason: str, margin: float = np.nan) -> None:
        """Remember why edges that are directed for the first time are."""
        for i, j in graph.find_fully_directed():
            self._reasons.setdefault(frozenset((int(i), int(j))), (reason, margin))

    # Phase 3

    def _orient_by_independent_changes(
        self, table: _Variables, context: _Context, rng: np.random.RandomState
    ) -> None:
        """Find sinks among changing variables: the effect is the one whose mechanism changes independently."""
        self.changes_: list[ChangeScore] = []
        self._undecided: dict[frozenset[int], str] = {}
        graph = self._causal_graph
        while group := self._next_group(graph):
            hypotheses = {}
            causes_of = {}
            for v in group:
                causes = [*self._open(graph, v), *self._parents(graph, v)]
                causes_of[v] = causes
                hypotheses[table.names[v]] = (
                    table.numbers(v),
                    np.column_stack([table.numbers(u) for u in causes]),
                )
            score = _compare(hypotheses, context, self.width, self.ridge, self.normalised, rng, _Rule())
            self.changes_.append(score)
            sink = table.names.index(score.effect)
            if not score.decided and self.undecided == "abstain":
                for v in group:
                    for u in self._open(graph, v):
                        self._undecided[frozenset((u, v))] = score.reason
                continue
            for u in causes_of[sink]:
                if graph.is_undirected(u, sink):
                    _direct(graph, u, sink)
            self._note(graph, "independent changes", score.margin)
            graph = self._meek(graph)
        self._causal_graph = graph

    def _next_group(self, graph: Any) -> list[int]:
        """Changing variables joined by edges that are open; the first such group, or none."""
        c = len(self._names) - 1
        changing = [int(v) for v in graph.neighbors(c)]
        joined = nx.Graph()
        joined.add_edges_from((v, u) for v in changing for u in self._open(graph, v) if u in changing)
        groups = sorted(sorted(part) for part in nx.connected_components(joined))
        return groups[0] if groups else []

    def _open(self, graph: Any, v: int) -> list[int]:
        """Neighbours of v over undirected edges that phase 3 has not given up."""
        return [
            int(u)
            for u in graph.neighbors(v)
            if graph.is_undirected(v, u) and frozenset((int(u), v)) not in self._undecided
        ]

    def _parents(self, graph: Any, v: int) -> list[int]:
        c = len(self._names) - 1
        return [int(u) for u in graph.neighbors(v) if u != c and graph.is_fully_directed(u, v)]

    # Phase 4

    def _forces(self, table: _Variables, context: _Context) -> dict[str, DrivingForce]:
        forces = {}
        for name in self.changing_.index[self.changing_["changing"]]:
            v = table.names.index(name)
            parents = self._parents(self._causal_graph, v)
            causes = np.column_stack([table.numbers(u) for u in parents]) if parents else None
            forces[name] = _driving_force(table.numbers(v), causes, context, self.width, 1.0, False)
        return forces

    # What came out

    def _describe(self, guarded: _Guarded) -> None:
        names, graph = self._names, self._causal_graph
        c = len(names) - 1
        strength: dict[frozenset[int], float] = {}
        questions = []
        for (i, j, z), p in guarded.ask.asked.items():
            void = guarded.void.get((i, j, z), ())
            if not void:
                strength[frozenset((i, j))] = max(p, strength.get(frozenset((i, j)), 0.0))
            given, determined = (", ".join(names[k] for k in some) for some in (z, void))
            questions.append((names[i], names[j], given, p, determined))
        self.tests_ = pd.DataFrame(questions, columns=["x", "y", "given", "p_value", "determined"])
        beside = {int(v) for v in graph.neighbors(c)}
        self.changing_ = pd.DataFrame(
            {
                "changing": [v in beside for v in range(c)],
                "p_value": [strength.get(frozenset((v, c)), np.nan) for v in range(c)],
                "doubtful": [frozenset((v, c)) in self._doubtful for v in range(c)],
            },
            index=pd.Index(names[:-1], name="variable"),
        )
        rows = []
        for i, j in itertools.combinations(range(c), 2):
            if j not in graph.neighbors(i):
                continue
            pair = frozenset((i, j))
            oriented = not graph.is_undirected(i, j)
            cause, effect = (j, i) if graph.is_fully_directed(j, i) else (i, j)
            reason, margin = self._reasons.get(pair, (self._why_open(pair), np.nan))
            p, doubtful = strength.get(pair, np.nan), pair in self._doubtful
            rows.append((names[cause], names[effect], oriented, reason, margin, p, doubtful))
        columns = ["cause", "effect", "oriented", "reason", "margin", "p_value", "doubtful"]
        self.edges_ = pd.DataFrame(rows, columns=columns)
        self.graph_ = nx.DiGraph()
        self.graph_.add_nodes_from(names)
        for row in self.edges_.itertuples():
            self.graph_.add_edge(row.cause, row.effect, oriented=row.oriented, reason=row.reason)
            if not row.oriented:
                self.graph_.add_edge(row.effect, row.cause, oriented=False, reason=row.reason)
        for v in beside:
            self.graph_.add_edge(names[c], names[v], oriented=True, reason="the domain comes first")
        self.assumptions_ = [
            f"Nothing in the table causes {names[c]}.",
            f"Hidden common causes are functions of {names[c]}; any other can draw or turn an arrow.",
            "The graph has no cycle, and no dependence cancels another.",
        ]

    def _why_open(self, pair: frozenset[int]) -> str:
        if 3 in self.phases and pair in self._undecided:
            return f"undecided: {self._undecided[pair]}"
        return "undecided: no change and no collider orients it"

    def to_causal_learn(self) -> NDArray[np.int64]:
        """causal-learn's matrix over the variables and C: i → j is [i, j] = -1 and [j, i] = 1, i - j twice -1."""
        return self._causal_graph.G.graph.astype(np.int64)

    def to_dot(self) -> str:
        """The graph in Graphviz's language."""
        drawn = [f'  "{_escaped(self._names[-1])}" [shape=box];']
        for cause, effect, data in self.graph_.edges(data=True):
            if data["oriented"] or cause < effect:
                arrow = "" if data["oriented"] else " [dir=none]"
                drawn.append(f'  "{_escaped(cause)}" -> "{_escaped(effect)}"{arrow};')
        return "\n".join(["digraph cdnod {", *drawn, "}"])

    def to_dict(self) -> dict[str, Any]:
        """Everything learnt, as plain values for JSON."""
        return {
            "domain": self._names[-1],
            "kind": self.kind_,
            "changing": self.changing_.reset_index().to_dict("records"),
            "edges": self.edges_.astype(object).where(self.edges_.notna(), None).to_dict("records"),
            "changes": [score._asdict() for score in getattr(self, "changes_", [])],
            "functions": self.functions_.to_dict("records"),
            "unexplained": self.unexplained_.to_dict("records"),
            "warnings": self.warnings_,
            "assumptions": self.assumptions_,
        }

    def bootstrap(self, X: Any, *, domain: Any, draws: int = 50, n_jobs: int = 1) -> pd.DataFrame:
        """How often edges and arrows come back when rows are drawn anew within each domain or block of time.

        Returns
        -------
        DataFrame
            cause, effect, adjacent (share of the draws with the edge), arrow (share with this direction), most frequent
            first; edges from C are among them.
        """
        from joblib import Parallel, delayed

        frame, labels = split_domain(X, domain)
        kind = _kind_of(labels, self.kind)
        frame, labels = _in_order(frame, labels, kind)
        rng = check_random_state(self.random_state)
        seeds = rng.randint(np.iinfo(np.int32).max, size=draws)
        found = Parallel(n_jobs=n_jobs)(delayed(_refit)(self, frame, labels, kind, seed) for seed in seeds)
        arrows: dict[tuple[str, str], int] = {}
        beside: dict[frozenset[str], int] = {}
        for edges in found:
            for cause, effect, oriented in edges:
                pair = frozenset((cause, effect))
                beside[pair] = beside.get(pair, 0) + 1
                arrows[cause, effect] = arrows.get((cause, effect), 0) + oriented
        rows = [
            (cause, effect, beside[frozenset((cause, effect))] / draws, count / draws)
            for (cause, effect), count in arrows.items()
        ]
        table = pd.DataFrame(rows, columns=["cause", "effect", "adjacent", "arrow"])
        return table.sort_values(["adjacent", "arrow"], ascending=False, ignore_index=True)

    def plot(self, ax: Any = None) -> Any:
        """Draw the graph: arrows, undirected edges dashed, what changes in colour; returns the axes."""
        import matplotlib.pyplot as plt

        if ax is None:
            _, ax = plt.subplots(figsize=(5.5, 4), layout="constrained")
        domain = self._names[-1]
        place = {**nx.circular_layout(self.variables_), domain: np.array([0.0, 2.0])}
        changing = set(self.changing_.index[self.changing_["changing"]])
        colours = [
            "#888888" if n == domain else "#c2502e" if n in changing else "#3a6ea5" for n in self.graph_
        ]
        style = {"ax": ax, "node_size": 900}
        nx.draw_networkx_nodes(self.graph_, place, node_color=colours, **style)
        nx.draw_networkx_labels(self.graph_, place, ax=ax, font_color="white", font_size=9)
        for cause, effect, data in self.graph_.edges(data=True):
            if data["oriented"]:
                colour = "#bbbbbb" if cause == domain else "#222222"
                nx.draw_networkx_edges(
                    self.graph_, place, [(cause, effect)], edge_color=colour, arrowsize=16, **style
                )
            elif cause < effect:
                nx.draw_networkx_edges(
                    self.graph_,
                    place,
                    [(cause, effect)],
                    arrowstyle="-",
                    style="dashed",
                    edge_color="#222222",
                    **style,
                )
        ax.margins(0.15)
        ax.set_axis_off()
        return ax

    def plot_driving_forces(self) -> Any:
        """Draw how each changing mechanism moved, with the share of each component; returns the figure."""
        import matplotlib.pyplot as plt

        forces = self.driving_force_
        if not forces:
            raise InputError(
                "No mechanism changes, so nothing drives one; fit with phases=(1, 2, 3, 4) on other data."
            )
        figure, axes = plt.subplots(
            len(forces),
            2,
            figsize=(8, 2 * len(forces)),
            squeeze=False,
            layout="constrained",
            width_ratios=(4, 1),
        )
        for (left, right), (name, force) in zip(axes, forces.items(), strict=True):
            at = force.components.index if self.kind_ == "time" else np.arange(len(force.components))
            marker = None if self.kind_ == "time" else "o"
            for component in ("1", "2"):
                left.plot(
                    at, force.components[component], marker=marker, ms=3, label=f"component {component}"
                )
            for label in force.change_points:
                left.axvline(label, color="#999999", lw=0.8, ls=":")
            left.set_ylabel(name)
            right.bar(range(1, 1 + len(force.eigenvalues[:6])), force.eigenvalues[:6])
            right.set_xticks(range(1, 7))
            right.set_ylim(0, 1)
        axes[0][0].legend(fontsize=8, frameon=False)
        axes[0][1].set_title("share", fontsize=9)
        axes[-1][0].set_xlabel(self._names[-1])
        return figure

    def __str__(self) -> str:
        if not hasattr(self, "edges_"):
            return repr(self)
        changing = self.changing_.index[self.changing_["changing"]].tolist()
        lines = [f"{self._names[-1]} drives the mechanisms of {', '.join(changing)}"]
        if not changing:
            lines = [f"no mechanism changes with {self._names[-1]}"]
        for row in self.edges_.itertuples():
            lines.append(f"{row.cause} {'→' if row.oriented else '—'} {row.effect}  ({row.reason})")
        return "\n".join([*lines, *(f"! {words}" for words in self.warnings_)])


@dataclass(frozen=True)
class _Variables:
    """The variables of a table: values (rows, d) each, labels as codes; ``labelled`` says which are labels."""

    names: list[str]
    values: list[Array]
    labelled: list[bool]

    @classmethod
    def make(
        cls,
        frame: pd.DataFrame,
        groups: Mapping[str, Sequence[str]],
        discrete: Sequence[str],
        domain: str,
        fewest: int = 2,
    ) -> _Variables:
        known = [str(c) for c in frame.columns]
        frame = frame.set_axis(known, axis=1)
        for name in [*discrete, *itertools.chain.from_iterable(groups.values())]:
            if name not in known:
                raise InputError(f"There is no column {name!r}; the columns are {', '.join(known)}.")
        if domain in known:
            raise InputError(
                f"{domain!r} is among the variables and the domain as well; rename one of the two."
            )
        _refuse_holes(frame)
        grouped = set(itertools.chain.from_iterable(groups.values()))
        names, values, labelled = [], [], []
        for name in known:
            if name in grouped:
                continue
            is_label = name in discrete or not pd.api.types.is_numeric_dtype(frame[name])
            column = (
                pd.factorize(frame[name], sort=True)[0] if is_label else frame[name].to_numpy(dtype=float)
            )
            names.append(name)
            values.append(column[:, None].astype(float))
            labelled.append(is_label)
        for name, members in groups.items():
            names.append(name)
            values.append(frame[list(members)].to_numpy(dtype=float))
            labelled.append(False)
        if len(names) < fewest:
            raise InputError(f"{len(names)} variable was given; at least two are needed besides the domain.")
        return cls(names, values, labelled)

    def numbers(self, v: int) -> Array:
        """Standardised values; of labels, indicators so far apart that a Gaussian kernel is 1[a = b]."""
        if not self.labelled[v]:
            return standardise(self.values[v])
        codes = self.values[v][:, 0].astype(int)
        return np.eye(codes.max() + 1)[codes] * 10


def _refuse_holes(frame: pd.DataFrame) -> None:
    missing = frame.columns[frame.isna().any()]
    if len(missing):
        raise InputError(
            f"{int(frame.isna().any(axis=1).sum())} of {len(frame)} rows have missing values (columns "
            f"{', '.join(missing[:6])}). Fill them, or leave those rows out (table.dropna())."
        )
    constant = [str(c) for c in frame if frame[c].nunique() < 2]
    if constant:
        raise InputError(
            f"Constant columns: {', '.join(constant[:6])}. Leave them out; they can depend on nothing."
        )
    values = frame.apply(lambda c: pd.factorize(c)[0] if not pd.api.types.is_numeric_dtype(c) else c)
    infinite = [str(c) for c in values if not np.isfinite(values[c].to_numpy(dtype=float)).all()]
    if infinite:
        raise InputError(f"Infinite values in {', '.join(infinite[:6])}. Fill them, or leave those rows out.")
    repeated = values.columns[values.apply(standardise).round(12).T.duplicated()]
    if len(repeated):
        raise InputError(
            f"{', '.join(repeated[:6])} repeats another column up to scale; given one, the other says nothing. "
            "Leave it out."
        )


def _in_order(frame: pd.DataFrame, labels: pd.Series[Any], kind: str) -> tuple[pd.DataFrame, pd.Series[Any]]:
    """Rows by time; a domain has no order."""
    if kind == "domain" or labels.is_monotonic_increasing:
        return frame, labels
    warnings.warn(f"{labels.name} does not increase; rows are sorted by it.", stacklevel=3)
    order = labels.argsort(kind="stable")
    return frame.iloc[order].reset_index(drop=True), labels.iloc[order].reset_index(drop=True)


def _direct(graph: Any, i: int, j: int) -> None:
    """Make i → j of an edge between them."""
    from causallearn.graph.Edge import Edge
    from causallearn.graph.Endpoint import Endpoint

    nodes = graph.G.nodes
    edge = graph.G.get_edge(nodes[i], nodes[j])
    if edge is not None:
        graph.G.remove_edge(edge)
    graph.G.add_edge(Edge(nodes[i], nodes[j], Endpoint.TAIL, Endpoint.ARROW))


def _refit(
    model: CDNOD, frame: pd.DataFrame, labels: pd.Series[Any], kind: str, seed: int
) -> list[tuple[str, str, bool]]:
    """Edges found on rows drawn with replacement within domains, or within fiftieths of the time."""
    from sklearn.base import clone

    rng = np.random.default_rng(seed)
    blocks = pd.factorize(labels)[0] if kind == "domain" else np.arange(len(labels)) * 50 // len(labels)
    rows = np.concatenate(
        [np.sort(rng.choice(np.flatnonzero(blocks == b), (blocks == b).sum())) for b in np.unique(blocks)]
    )
    phases = tuple(p for p in model.phases if p != 4)
    again = clone(model).set_params(phases=phases, kind=kind, random_state=int(seed % 2**31))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        again.fit(frame.iloc[rows], domain=labels.iloc[rows])
    domain = str(labels.name)
    edges = [(row.cause, row.effect, bool(row.oriented)) for row in again.edges_.itertuples()]
    return edges + [(domain, name, True) for name in again.changing_.index[again.changing_["changing"]]]


def _escaped(name: str) -> str:
    return name.replace("\\", "\\\\").replace('"', '\\"')
