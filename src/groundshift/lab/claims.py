"""Claims and their verdicts.

A claim names its measure, direction and margin before it is run. What comes out is one of three words, and
the word is a pure function of the evidence: ``shown``, ``not shown`` or ``inconclusive``, with the reason.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from groundshift.errors import InputError
from groundshift.lab.estimands import measures_of, per_replicate, support_of

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "Claim",
    "Control",
    "ControlEvidence",
    "Evidence",
    "Verdict",
    "clears",
    "control_evidence",
    "gather",
    "judge",
    "judge_all",
    "p_value",
    "sensitivity",
]

Kind = Literal["effect", "equivalence", "identity", "bound", "trend", "boundary", "rate"]
Word = Literal["shown", "not shown", "inconclusive"]


@dataclass(frozen=True)
class Control:
    """What must happen where the claim's cause is absent: ``estimand`` stays within [low, high].

    ``rule`` says what must lie inside: the ``mean`` over replicates, its 95 % ``interval``, or ``every``
    replicate.
    """

    text: str
    estimand: str
    low: float = -math.inf
    high: float = math.inf
    rule: Literal["mean", "interval", "every"] = "interval"

    def __post_init__(self) -> None:
        where = f"The control {self.text!r}"
        if not self.low <= self.high:
            raise InputError(f"{where} must lie within [{self.low}, {self.high}]; it can never pass.")
        if self.low == -math.inf and self.high == math.inf:
            raise InputError(f"{where} has neither low nor high; it can never fail. Give one of them.")
        support = support_of(self.estimand)
        if not measures_of(self.estimand) or (support is not None and support[0] == support[1]):
            raise InputError(
                f"{where} has the estimand {self.estimand!r}, which is the same number whatever was measured; a "
                "control needs a measure that would show the effect if it were there."
            )


@dataclass(frozen=True)
class Claim:
    """One sentence of a paper made testable, fixed before any run.

    Attributes
    ----------
    estimand : expression over the results, see `groundshift.lab.estimands`; one value per replicate.
    kind : ``effect``, ``trend`` and ``boundary`` (a predicted failure) hold when the interval of the mean
        clears ``margin`` in ``direction``; ``equivalence`` when it lies inside ±margin; ``bound`` when every
        replicate clears the margin, within ``tolerance``; ``identity`` when every replicate equals it; ``rate`` when
        the upper 95 % bound of a rate lies below ``margin + slack``.
    margin : the smallest effect worth the name; of a rate, the level that it must stay below.
    slack : how far above its level a rate is still good enough; above 0, as no number of trials shows that a rate
        that lies at its level lies below it.
    trials : independent trials of which each replicate of a rate is the share: 1 where a replicate is 0 or 1.
    paired_by : the column whose values are the independent replicates.
    unit : ``seed`` (`mean_interval`) or ``group`` (bootstrap over groups of one fixed model or data set).
    paper, same : what the paper reports, and how ours relates: ``same quantity``, ``same direction only`` or
        ``analogue``.
    n : fewest valid replicates that allow a verdict.
    required : a run exits with status 4 when this claim is not shown.
    """

    id: str
    text: str
    estimand: str
    margin: float
    control: Control | None
    kind: Kind = "effect"
    direction: Literal[">", "<"] = ">"
    tolerance: float = 0.0
    slack: float = 0.0
    trials: int = 1
    paired_by: str = "seed"
    unit: Literal["seed", "group"] = "seed"
    paper: str = "figure could not be obtained"
    same: Literal["same quantity", "same direction only", "analogue"] = "analogue"
    n: int = 5
    required: bool = False
    version: int = 1

    def __post_init__(self) -> None:
        if not math.isfinite(self.margin) or (self.kind == "equivalence" and self.margin <= 0):
            raise InputError(
                f"Claim {self.id} has margin {self.margin}; a finite one is needed, > 0 for equivalence."
            )
        if self.kind == "rate":
            self._check_rate()
            object.__setattr__(self, "direction", "<")
        elif self.slack != 0 or self.trials != 1:
            raise InputError(
                f"Claim {self.id} is of kind {self.kind!r} and has slack={self.slack}, trials={self.trials}; each "
                "belongs to a rate. Write kind='rate', or leave them out."
            )

    def _check_rate(self) -> None:
        if not self.slack > 0:
            raise InputError(
                f"Claim {self.id} is a rate with slack {self.slack}; a slack above 0 is needed: a rate that lies at "
                "its level is never shown to lie below it."
            )
        if not (self.margin >= 0 and self.limit < 1):
            raise InputError(
                f"Claim {self.id} is a rate with level {self.margin} and slack {self.slack}; the level must be at "
                "least 0, and both together below 1."
            )
        if not isinstance(self.trials, int) or self.trials < 1:
            raise InputError(
                f"Claim {self.id} has trials={self.trials}; a whole number of trials in each replicate is needed."
            )

    @property
    def limit(self) -> float:
        """What the interval must clear: the margin, and of a rate its slack as well."""
        return self.margin + self.slack

    @property
    def reads(self) -> set[tuple[str, str | None]]:
        """Every (measure, method) that the claim and its control read."""
        return measures_of(self.estimand) | (measures_of(self.control.estimand) if self.control else set())

    @property
    def deterministic(self) -> bool:
        """Whether the claim is about every replicate rather than their mean."""
        return self.kind in ("identity", "bound")


@dataclass(frozen=True)
class ControlEvidence:
    """How a control came out: its mean with a 95 % interval, and whether it did what it must."""

    mean: float
    low: float
    high: float
    ok: bool


@dataclass(frozen=True)
class Evidence:
    """What was measured for a claim, before anything is concluded."""

    values: tuple[float, ...]
    """One for each planned replicate, NaN where it could not be measured."""
    mean: float = math.nan
    low: float = math.nan
    high: float = math.nan
    p: float | None = None
    control: ControlEvidence | None = None

    @property
    def planned(self) -> int:
        """Replicates that were to run."""
        return len(self.values)

    @property
    def valid(self) -> int:
        """Replicates with a finite value."""
        return int(np.isfinite(self.values).sum())


@dataclass(frozen=True)
class Verdict:
    """A claim, its evidence and the word that follows from it."""

    claim: Claim
    evidence: Evidence
    p_adjusted: float | None
    word: Word
    reason: str


def gather(claim: Claim, table: pd.DataFrame, alpha: float = 0.05) -> Evidence:
    """Measure a claim on the long table of planned results, NaN where a cell has failed or not run.

    The interval is two-sided at ``1 - alpha``, except for equivalences and rates, where it is at ``1 - 2 alpha``:
    "inside ±margin" is then the two one-sided tests at ``alpha``, and each end of a rate's interval is a bound at
    ``1 - alpha``.
    Replicates that are all 0 or 1 take exact binomial intervals and p values, others the outer ends of Student's t
    interval and of one that allows for skewness.

    Raises
    ------
    InputError
        A replicate of a rate that is no share of its trials.
    """
    x = _values(claim.estimand, table, claim.paired_by)
    evidence = Evidence(tuple(map(float, x)), control=_control(claim, table))
    hits = _hits(claim, x) if claim.kind == "rate" else 0
    if len(x) == 0 or not np.isfinite(x).all():
        return evidence
    evidence = replace(evidence, mean=float(x.mean()))
    if claim.deterministic:
        return replace(evidence, low=float(x.min()), high=float(x.max()))
    if claim.kind == "rate":
        return _rate(claim, evidence, hits, alpha)
    if len(x) < 2:
        return evidence
    level = 1 - (2 * alpha if claim.kind == "equivalence" else alpha)
    low, high = _interval(x, claim.estimand, claim.unit, level)
    return replace(evidence, low=low, high=high, p=p_value(claim, x))


def _values(expression: str, table: pd.DataFrame, paired_by: str) -> np.ndarray:
    return np.array(list(per_replicate(expression, table, paired_by).values()), dtype=float)


def _hits(claim: Claim, x: np.ndarray) -> int:
    """How many of all trials of a rate were hits."""
    x = x[np.isfinite(x)]
    hits = np.round(x * claim.trials)
    wrong = x[(np.abs(hits - x * claim.trials) > 1e-6) | (x < 0) | (x > 1)]
    if len(wrong):
        needed = (
            "must be 0 or 1. Where a replicate is the share of several independent trials, say of how many with trials="
            if claim.trials == 1
            else f"must be a share of its {claim.trials} trials (0/{claim.trials}, 1/{claim.trials}, …)"
        )
        raise InputError(
            f"Claim {claim.id} is a rate and its estimand {claim.estimand!r} gave {wrong[0]:g}; each replicate "
            f"{needed}."
        )
    return int(hits.sum())


def _rate(claim: Claim, evidence: Evidence, hits: int, alpha: float) -> Evidence:
    from groundshift.measures.rates import rate_interval, rate_p

    trials = evidence.planned * claim.trials
    low, high = rate_interval(hits, trials, 1 - 2 * alpha)
    return replace(evidence, low=low, high=high, p=rate_p(hits, trials, claim.limit, "<"))


def _interval(x: np.ndarray, estimand: str, unit: str, level: float) -> tuple[float, float]:
    from groundshift.measures.intervals import bootstrap_interval, mean_interval
    from groundshift.measures.rates import are_outcomes, outcome_interval

    support = support_of(estimand)
    if support is not None and are_outcomes(x, support):
        return outcome_interval(x, support, level)
    return mean_interval(x, level) if unit == "seed" else bootstrap_interval(x, level)


def p_value(claim: Claim, x: np.ndarray) -> float:
    """P value of a claim about a mean, from its replicates."""
    from groundshift.measures.intervals import equivalence_p, mean_p
    from groundshift.measures.rates import are_outcomes, outcome_p

    support, margin, equivalence = support_of(claim.estimand), claim.margin, claim.kind == "equivalence"
    if support is None or not are_outcomes(x, support):
        return equivalence_p(x, margin) if equivalence else mean_p(x, margin, claim.direction)
    if equivalence:
        return max(outcome_p(x, -margin, ">", support), outcome_p(x, margin, "<", support))
    return outcome_p(x, margin, claim.direction, support)


def _control(claim: Claim, table: pd.DataFrame) -> ControlEvidence | None:
    control = claim.control
    if control is None:
        return None
    return control_evidence(control, _values(control.estimand, table, claim.paired_by), claim.unit)


def control_evidence(control: Control, x: np.ndarray, unit: str = "seed") -> ControlEvidence:
    """What replicates of a control's estimand come to, and whether they lie where they must."""
    if not len(x) or not np.isfinite(x).all():
        return ControlEvidence(math.nan, math.nan, math.nan, False)
    if len(x) < 2:
        return ControlEvidence(float(x.mean()), math.nan, math.nan, False)
    low, high = _interval(x, control.estimand, unit, 0.95)
    lowest, highest = {"mean": (x.mean(), x.mean()), "interval": (low, high), "every": (x.min(), x.max())}[
        control.rule
    ]
    ok = bool(control.low <= lowest and highest <= control.high)
    return ControlEvidence(float(x.mean()), low, high, ok)


def judge(
    claim: Claim, evidence: Evidence, p_adjusted: float | None, *, alpha: float = 0.05, scale: str = "cpu"
) -> tuple[Word, str]:
    """The verdict, a pure function of the evidence.

    ``shown``: the interval clears the margin, the adjusted p value is below ``alpha`` and the control did
    what it must. ``not shown``: the interval lies wholly on the other side, or a bound or identity is
    violated. ``inconclusive``: everything else. A failed control can never give ``shown``.
    """
    if scale == "quick":
        return "inconclusive", "quick scale only shows that the study runs"
    if not evidence.planned:
        return "inconclusive", "not measured: this run has none of the cells that it reads"
    if evidence.valid < evidence.planned:
        return "inconclusive", f"{evidence.valid} valid replicates of {evidence.planned} planned"
    if evidence.valid < claim.n:
        return "inconclusive", f"{evidence.valid} replicates; this claim needs {claim.n}"
    holds, fails = clears(claim, evidence)
    if not claim.deterministic:
        holds = holds and p_adjusted is not None and p_adjusted < alpha
    if fails:
        return (
            "not shown",
            "violated" if claim.deterministic else f"the interval lies on the other side of {_mark(claim)}",
        )
    if not holds:
        return "inconclusive", f"the interval straddles {_mark(claim)}, or does not survive Holm's adjustment"
    if evidence.control is not None and not evidence.control.ok:
        return "inconclusive", "the control did not do what it must"
    return "shown", "every replicate holds" if claim.deterministic else f"the interval clears {_mark(claim)}"


def _mark(claim: Claim) -> str:
    return "the level and its slack" if claim.kind == "rate" else "the margin"


def _deterministic(claim: Claim, evidence: Evidence) -> tuple[bool, bool]:
    if claim.kind == "identity":
        holds = max(abs(evidence.low - claim.margin), abs(evidence.high - claim.margin)) <= claim.tolerance
    elif claim.direction == ">":
        holds = evidence.low > claim.margin - claim.tolerance
    else:
        holds = evidence.high < claim.margin + claim.tolerance
    return holds, not holds


def clears(claim: Claim, evidence: Evidence) -> tuple[bool, bool]:
    """Whether the interval lies wholly on the claimed side, and whether wholly on the other."""
    if claim.deterministic:
        return _deterministic(claim, evidence)
    low, high, margin = evidence.low, evidence.high, claim.limit
    if claim.kind == "equivalence":
        return -margin < low and high < margin, low > margin or high < -margin
    if claim.direction == ">":
        return low > margin, high < margin
    return high < margin, low > margin


def judge_all(
    claims: Sequence[Claim], table: pd.DataFrame, *, alpha: float = 0.05, scale: str = "cpu"
) -> list[Verdict]:
    """Verdicts of a study's claims; p values are adjusted over the study by Holm's method.

    ``table`` is the long table of all planned results, NaN where a cell has failed or not run.
    """
    evidence = [gather(claim, table, alpha) for claim in claims]
    adjusted = _holm([item.p for item in evidence])
    return [
        Verdict(claim, item, p, *judge(claim, item, p, alpha=alpha, scale=scale))
        for claim, item, p in zip(claims, evidence, adjusted, strict=True)
    ]


def _holm(p_values: Sequence[float | None]) -> list[float | None]:
    from groundshift.measures.multiple import holm

    adjusted = iter(holm([p for p in p_values if p is not None]))
    return [None if p is None else float(next(adjusted)) for p in p_values]


def sensitivity(verdict: Verdict) -> dict[str, Any]:
    """Other ways to the same answer, for the reader; no verdict depends on them."""
    from groundshift.measures.intervals import bca_interval, sign_flip_p
    from groundshift.measures.rates import are_outcomes

    claim, x = verdict.claim, np.asarray(verdict.evidence.values)
    rows: dict[str, Any] = {}
    if claim.deterministic or len(x) < 2 or not np.isfinite(x).all():
        return rows
    if claim.kind == "rate" or are_outcomes(x, support_of(claim.estimand)):
        return rows  # both ways below speak of amounts
    if len(x) > 1000:
        return (
            rows  # they differ from a t test where replicates are few, and take minutes where they are many
        )
    if claim.kind != "equivalence":
        rows["sign-flip p"] = sign_flip_p(x, claim.margin, claim.direction)
    if len(x) >= 10:
        rows["BCa 95 % interval"] = bca_interval(x)
    return rows
