"""Phases 3 and 4: which of several variables is the effect, and along which curve a mechanism moved."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import linalg
from scipy.signal import find_peaks
from sklearn.utils import check_random_state

from groundshift.discovery.cdnod.mechanisms import (
    dependence,
    gaussianised,
    kept_share,
    kernel_factor,
    marginal_gram,
    mechanism_gram,
    overlap,
)
from groundshift.discovery.cdnod.table import Context, DomainKind, Variables, context_width, in_order, kind_of
from groundshift.errors import InputError
from groundshift.report import Report, Section
from groundshift.result import Result
from groundshift.tables import find_column, read_table, split_domain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "ChangeScore",
    "DrivingForce",
    "Rule",
    "compare",
    "direction",
    "driving_force",
    "force",
    "force_of",
    "independent_change_score",
    "warn_of_kernels",
]

Array = NDArray[np.float64]
MIN_DOMAINS = 5
"""Fewest domains for a verdict from independent changes."""
FACTOR_KEPT = 0.99
"""Share of a kernel that its factor should keep; the user is told of less."""


# Phase 3 -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, repr=False)
class ChangeScore(Result):
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

    def _content(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @property
    def in_words(self) -> str:
        """The direction, or that it is open."""
        names = list(self.delta)
        arrows = [f"{' and '.join(n for n in names if n != effect)} → {effect}" for effect in names]
        return (
            arrows[names.index(self.effect)] if self.decided else f"undecided between {' and '.join(arrows)}"
        )

    def report(self) -> Report:
        """The direction and what it rests on, for page, notebook and terminal."""
        evidence = Section(
            "evidence", "What does this rest on?",
            "The mechanisms of cause and effect change independently of each other in the causal direction only.",
            facts={
                "margin between the hypotheses": self.margin,
                "share of random subsets of the domains that agree": self.stability,
                "p-value of dependence in this direction": self.p_value,
                "share of the pooled values that domains cover": self.overlap,
            }, folded=True,
        )  # fmt: skip
        return Report(
            "cdnod", ", ".join(self.delta), self.in_words, lead=self.reason[:1].upper() + self.reason[1:] + ".",
            sections=(evidence,),
            figure=("Dependence Δ of the two mechanisms, by which variable is the effect; less is better", self._draw),
        )  # fmt: skip

    def _draw(self, ax: Axes) -> None:
        ax.barh(range(len(self.delta)), list(self.delta.values()))
        ax.set_yticks(range(len(self.delta)), [f"{name} is the effect" for name in self.delta])
        ax.set_xlabel("dependence Δ")


@dataclass(frozen=True)
class Rule:
    """When an independent change may orient an edge."""

    margin: float = 0.1
    stability: float = 0.9
    p_value: float = 0.01
    overlap: float = 0.5
    subsets: int = 100
    permutations: int = 999


def compare(
    hypotheses: Mapping[str, tuple[Array, Array]],
    context: Context,
    width: float,
    ridge: float,
    normalised: bool,
    rng: np.random.RandomState,
    rule: Rule,
) -> ChangeScore:
    """Score hypotheses {effect: (effect, causes)} by the dependence of P(causes) and P(effect | causes)."""
    left = {name: kernel_factor(causes, width) for name, (_, causes) in hypotheses.items()}
    grams = {
        name: (
            marginal_gram(left[name], context, ridge),
            mechanism_gram(kernel_factor(effect, width), left[name], causes / width, context, ridge),
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
    points_kept = max(3, round(0.7 * points))
    subsets = (np.sort(rng.choice(points, points_kept, replace=False)) for _ in range(rule.subsets))
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
    least = min(left, key=lambda name: kept_share(left[name]))
    return ChangeScore(
        effect,
        not reason,
        reason or words,
        delta,
        float(margin),
        stability,
        float(p_value),
        cover,
        kept_share(left[least]),
    )


def _shuffle(points: int, kind: str, rng: np.random.RandomState) -> NDArray[np.int64]:
    """Permute domains; of time, blocks of a tenth, which keep what is smooth in it."""
    if kind == "domain":
        return rng.permutation(points)
    blocks = np.array_split(np.roll(np.arange(points), rng.randint(points)), 10)
    return np.concatenate([blocks[b] for b in rng.permutation(10)])


def _why_undecided(
    context: Context, rule: Rule, margin: float, stability: float, p_value: float, cover: float
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
    domain_kind: DomainKind = "auto",
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
    domain_kind : how the domain is taken: a time, a label, or whichever its values look like
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
    values, context = _read({"x": x, "y": y}, domain, domain_kind, discrete, time_width)
    a, b = values["x"], values["y"]
    rng = check_random_state(random_state)
    score = compare({"y": (b, a), "x": (a, b)}, context, width, ridge, normalised, rng, Rule())
    warn_of_kernels({"x and y": score.kept})
    return score


def _read(
    variables: Mapping[str, Any],
    domain: Any,
    kind: DomainKind,
    discrete: Sequence[str],
    time_width: float | Literal["learned"],
) -> tuple[dict[str, Array], Context]:
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
    kind = kind_of(labels, kind)
    frame, labels = in_order(frame, labels, kind)
    table = Variables.make(frame, {}, discrete, str(labels.name), fewest=1)
    context = Context.make(labels, kind, context_width(table, labels, kind, time_width))
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


def warn_of_kernels(kept: Mapping[str, float]) -> list[str]:
    """Say which kernels were cut; returns the words."""
    sentences = [
        f"Of the kernel of {of} only {share:.0%} is kept: so many columns need more memory than is taken for so many "
        "rows. Phases 3 and 4 are rough there; take fewer causes or fewer rows."
        for of, share in kept.items()
        if share < FACTOR_KEPT
    ]
    for words in sentences:
        warnings.warn(words, stacklevel=4)
    return sentences


# Phase 4 -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, repr=False)
class DrivingForce(Result):
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

    def _content(self) -> dict[str, Any]:
        return {
            "components": self.components.reset_index(),
            "shares": self.eigenvalues[:6],
            "change_points": self.change_points,
        }

    def to_frame(self) -> pd.DataFrame:
        """One row per domain or point of time."""
        return self.components.reset_index()

    def report(self) -> Report:
        """The curve, for page, notebook and terminal."""
        points = (
            f" Its largest steps come after {', '.join(map(str, self.change_points))}."
            if self.change_points
            else ""
        )
        curve = Section("curve", "Along which curve?", points.strip(), tables={"Components": self.to_frame()})
        return Report(
            "cdnod", f"{len(self.components)} domains or times",
            f"Component 1 holds {self.eigenvalues[0]:.0%} of the change, component 2 {self.eigenvalues[1]:.0%}.",
            figure=("How the mechanism moved; scale and sign mean nothing", self.draw), sections=(curve,),
        )  # fmt: skip

    def draw(self, ax: Axes) -> None:
        """Draw the first two components over domains or time."""
        index = self.components.index
        ordered = pd.api.types.is_numeric_dtype(index) or isinstance(index, pd.DatetimeIndex)
        at = index if ordered else np.arange(len(index))
        for component in ("1", "2"):
            share = self.eigenvalues[int(component) - 1]
            ax.plot(
                at, self.components[component], marker=None if ordered else "o", ms=3,
                label=f"component {component} ({share:.0%})",
            )  # fmt: skip
        for label in self.change_points:
            ax.axvline(label, color="#55606e", lw=0.8, ls=":")
        if not ordered:
            step = max(1, len(index) // 12)
            ax.set_xticks(at[::step], [str(name) for name in index[::step]])
        ax.legend()


def driving_force(
    y: Any,
    parents: Any,
    domain: Any,
    *,
    domain_kind: DomainKind = "auto",
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
    domain, domain_kind, time_width, width, ridge : see `independent_change_score`
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
    values, context = _read(variables, domain, domain_kind, discrete, time_width)
    force = force_of(values["y"], values.get("parents"), context, width, ridge, linear)
    warn_of_kernels({"the parents": force.kept})
    return force


def force_of(
    y: Array, causes: Array | None, context: Context, width: float, ridge: float, linear: bool
) -> DrivingForce:
    share = 1.0
    if causes is None:
        gram = marginal_gram(kernel_factor(y, width), context, ridge)
    else:
        left = kernel_factor(causes, width)
        gram, share = (
            mechanism_gram(kernel_factor(y, width), left, causes / width, context, ridge),
            kept_share(left),
        )
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
    return DrivingForce(frame, values / max(values.sum(), 1e-300), sorted(steps), share)


# Columns of a table by name ------------------------------------------------------------------------------


def direction(
    table: Any,
    *,
    domain: str,
    x: str,
    y: str,
    domain_kind: DomainKind = "auto",
    time_width: float | Literal["learned"] = "learned",
    width: float = 0.4,
    ridge: float = 0.1,
    normalised: bool = True,
    groups: Mapping[str, Sequence[str] | str] | None = None,
    discrete: Sequence[str] = (),
    dropna: bool = False,
    random_state: Any = None,
) -> ChangeScore:
    """Which of two variables is the effect? Mechanisms change independently in the causal direction only.

    Parameters
    ----------
    table : frame, or a csv or parquet file
    domain : column with the domain or time of each row
    x : one of two adjacent variables whose mechanisms change
    y : the other one
    domain_kind : how the domain is taken: a time, a label, or whichever its values look like
    time_width : kernel width of a time in its standard deviations, or "learned"
    width : width of the Gaussian kernels, in standard deviations
    ridge : penalty λ of the regressions on the domain
    normalised : divide by the traces, as in the papers; the authors' code does not
    groups : columns of one vector-valued variable, as hip=hip_x,hip_y; can be repeated
    discrete : numeric columns that hold labels, as site,code; text does anyway
    dropna : leave out rows with missing values
    random_state : int, RandomState or None

    Returns
    -------
    ChangeScore
        ``effect`` is the name of x or of y.
    """
    members = split_groups(groups)
    frame = _chosen(table, domain, {"x": [x], "y": [y]}, members, dropna)
    score = independent_change_score(
        frame[members.get(x, [x])], frame[members.get(y, [y])], frame[domain],
        domain_kind=domain_kind, time_width=time_width, width=width, ridge=ridge, normalised=normalised,
        discrete=[name for name in discrete if name in frame], random_state=random_state,
    )  # fmt: skip
    names = {"x": x, "y": y}
    return replace(
        score, effect=names[score.effect], delta={names[side]: d for side, d in score.delta.items()}
    )


def force(
    table: Any,
    *,
    domain: str,
    of: str,
    given: Sequence[str] = (),
    domain_kind: DomainKind = "auto",
    time_width: float | Literal["learned"] = "learned",
    width: float = 0.4,
    ridge: float = 1.0,
    linear: bool = False,
    groups: Mapping[str, Sequence[str] | str] | None = None,
    discrete: Sequence[str] = (),
    dropna: bool = False,
) -> DrivingForce:
    """The curve along which a mechanism moved over domains or time.

    Parameters
    ----------
    table : frame, or a csv or parquet file
    domain : column with the domain or time of each row
    of : variable whose mechanism changes
    given : its causes, as a,b; none if left out
    domain_kind : how the domain is taken: a time, a label, or whichever its values look like
    time_width : kernel width of a time in its standard deviations, or "learned"
    width : width of the Gaussian kernels, in standard deviations
    ridge : penalty λ of the regressions on the domain
    linear : take the components of the Gram matrix itself and not of a Gaussian kernel on it
    groups : columns of one vector-valued variable, as hip=hip_x,hip_y; can be repeated
    discrete : numeric columns that hold labels, as site,code; text does anyway
    dropna : leave out rows with missing values
    """
    members = split_groups(groups)
    frame = _chosen(table, domain, {"of": [of], "given": given}, members, dropna)
    parents = [column for name in given for column in members.get(name, [name])]
    return driving_force(
        frame[members.get(of, [of])], frame[parents] if parents else None, frame[domain],
        domain_kind=domain_kind, time_width=time_width, width=width, ridge=ridge, linear=linear,
        discrete=[name for name in discrete if name in frame],
    )  # fmt: skip


def split_groups(groups: Mapping[str, Sequence[str] | str] | None) -> dict[str, list[str]]:
    """Columns of each vector-valued variable; text as ``hip_x,hip_y`` is taken apart."""
    return {
        name: [part.strip() for part in (members.split(",") if isinstance(members, str) else members)]
        for name, members in (groups or {}).items()
    }


def without_columns(frame: pd.DataFrame, drop: Sequence[str]) -> pd.DataFrame:
    """A frame without some columns, whose names must be right."""
    return frame.drop(columns=[find_column(name, frame.columns) for name in drop])


def _chosen(
    table: Any,
    domain: str,
    columns_by_parameter: Mapping[str, Sequence[str]],
    members: Mapping[str, list[str]],
    dropna: bool,
) -> pd.DataFrame:
    """The columns of some variables, groups among them, and the domain; each is in one variable only."""
    frame = read_table(table)
    chosen: dict[str, str] = {find_column(domain, frame.columns): "domain"}
    for parameter, names in columns_by_parameter.items():
        for name in names:
            for column in members.get(name, [name]):
                find_column(column, frame.columns)
                if column in chosen:
                    raise InputError(
                        f"{parameter} {name} takes {column}, which {chosen[column]} has; name another."
                    )
                chosen[column] = f"{parameter} {name}"
    frame = frame[list(chosen)]
    return frame.dropna() if dropna else frame
