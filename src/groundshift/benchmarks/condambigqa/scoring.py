"""Pairs of generated and gold entries, and what they are worth: the scores that count what is missing, and the published.

A job is one answer to one question. Its tables have a row for each generated and a column for each gold entry:
condition, answer and citation score. Answers are judged first, and of the conditions only those that can still matter.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linear_sum_assignment

from groundshift.benchmarks.condambigqa.data import Gold
from groundshift.benchmarks.condambigqa.judging import Judge, judge_of, normalised, overlap
from groundshift.benchmarks.condambigqa.protocols import Generated
from groundshift.errors import InputError

__all__ = ["CAP", "WEIGHTS", "Job", "QuestionScore", "balanced", "fill", "match", "match_greedily", "score", "score_tables"]

Array = NDArray[np.float64]
WEIGHTS = {
    "condition_first": (0.3, 0.5, 0.2), "direct": (0.0, 0.7, 0.3), "given": (0.0, 0.6, 0.4), "closed": (0.0, 1.0, 0.0),
}  # fmt: skip
"""Of condition, answer and citation in the weight of a pair, as published; other protocols have those of the first."""
CAP = 3
"""Entries that the prompts ask for at most; more are scored all the same."""
TIE = 1e-9
"""Weight of the answer score among pairings of equal weight."""
ABSTAINS = {"unknown", "not stated", "not specified", "not known", "i do not know", "i dont know", "na", "none"}


# Pairing ---------------------------------------------------------------------------------------------------


def match(weights: ArrayLike) -> list[tuple[int, int]]:
    """The one-to-one pairs (row, column) of the largest total weight.

    >>> match([[0.87, 0.31], [0.49, 0.555], [0.13, 0.08]])
    [(0, 0), (1, 1)]
    """
    table = np.asarray(weights, dtype=float)
    if not table.size:
        return []
    return [(int(i), int(j)) for i, j in zip(*linear_sum_assignment(table, maximize=True), strict=True)]


def match_greedily(weights: ArrayLike) -> list[tuple[int, int]]:
    """The published pairing: each row in its turn takes the unused column of the largest weight, as long as there is one.

    >>> match_greedily([[0.6, 0.5], [0.6, 0.1]])  # the best total is that of (0, 1), (1, 0)
    [(0, 0), (1, 1)]
    """
    table, pairs = np.array(weights, dtype=float), []
    for i in range(min(table.shape) if table.size else 0):
        j = int(table[i].argmax())
        pairs.append((i, j))
        table[:, j] = -np.inf
    return pairs


def balanced(s: float, expected: int, given: int) -> float:
    """The published count-balanced score of an answer without fragments.

    Parameters
    ----------
    s : mean answer score of the question's pairs
    expected, given : numbers of gold and of generated entries

    Examples
    --------
    >>> [round(balanced(*case), 3) for case in [(0.5, 2, 1), (0.5, 3, 2), (0.5, 2, 3), (0.8, 2, 2), (0.2, 1, 3)]]
    [0.17, 0.31, 0.335, 0.704, 0.086]
    """
    surplus, e, f = given - expected, max(expected, 1), float(np.clip(s / 0.5, 0.5, 1))
    ratio, q = surplus / e, 1.0
    if given == 1 and expected > 1:
        q = 0.1
    elif surplus < 0:
        q = 1 - min(0.6 * -ratio * (2 - f), 0.2)
    elif surplus > 0:
        q = 1 - (2 - f) * (min(0.3 * ratio, 0.15) if ratio > 1 else min(0.15 * ratio, 0.075))
    return float(np.clip(s * (0.6 * s + 0.4 * q), 0, 1))


# Scores of a question --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class QuestionScore:
    """What one answer is worth.

    Attributes
    ----------
    pairs : (generated, gold), from 0
    condition, answer : precision, recall and F1; nan of conditions that the protocol does not judge
    citation : the same, means over the pairs; nan where no gold entry has citations
    coverage : share of the gold entries whose pair has an answer score of at least the threshold
    hit, first_hit : expected answer score of what the asker had in mind, by any entry and by the first; nan if unknown
    abstained : entries such as "unknown"
    """

    pairs: tuple[tuple[int, int], ...]
    condition: tuple[float, float, float]
    answer: tuple[float, float, float]
    citation: tuple[float, float, float]
    coverage: float
    hit: float
    first_hit: float
    abstained: int = 0

    @property
    def parts(self) -> dict[str, float]:
        """Every number by its name in the records."""
        names = ("precision", "recall", "f1")
        whole = {"condition": self.condition, "answer": self.answer, "citation": self.citation}
        values = {f"{kind}_{name}": v for kind, triple in whole.items() for name, v in zip(names, triple, strict=True)}
        own = ("coverage", "hit", "first_hit", "abstained")
        return values | {name: float(getattr(self, name)) for name in own}


def _f1(precision: float, recall: float) -> tuple[float, float, float]:
    both = precision + recall
    return precision, recall, 2 * precision * recall / both if both > 0 else both * 0.0


def score_tables(
    condition: ArrayLike,
    answer: ArrayLike,
    citation: ArrayLike,
    *,
    weights: tuple[float, float, float] = WEIGHTS["condition_first"],
    pair: Literal["optimal", "greedy"] = "optimal",
    once: Sequence[int] | None = None,
    threshold: float = 0.5,
    prior: Sequence[float] | None = None,
) -> QuestionScore:
    """Scores from the judge's tables.

    Parameters
    ----------
    condition, answer : in [0, 1], a row for each generated and a column for each gold entry; nan: not judged
    citation : the same; or (rows, columns, 3) with precision, recall and F1; precision is what counts in a pair
    weights : of condition, answer and citation precision
    pair : "optimal" (largest total weight) or "greedy" (as published, in the order of the rows)
    once : rows that may be paired; all, if left out. The others count in the precision, as repetitions do
    threshold : of an answer score that covers a gold entry
    prior : probability of each column to be what the asker had in mind

    Examples
    --------
    >>> c, a = [[0.9, 0.2], [0.3, 0.6], [0.1, 0.1]], [[0.8, 0.5], [0.6, 0.55], [0.2, 0.1]]
    >>> whole = score_tables(c, a, [[1, 0], [0.5, 0.5], [0, 0]])
    >>> whole.pairs, [round(x, 3) for x in whole.answer], [round(x, 2) for x in whole.condition]
    (((0, 0), (1, 1)), [0.45, 0.675, 0.54], [0.5, 0.75, 0.6])
    """
    a, c, z = (np.asarray(table, dtype=float) for table in (answer, condition, citation))
    g, e = a.shape
    z = z if z.ndim == 3 else np.repeat(z[:, :, None], 3, 2)
    total = weigh(c, a, z[:, :, 0], weights)
    kept = np.arange(g) if once is None else np.asarray(once, dtype=int)
    chosen = match(total[kept] + TIE * a[kept]) if pair == "optimal" else match_greedily(total[kept])
    pairs = tuple(sorted((int(kept[i]), j) for i, j in chosen))
    rows, columns = np.array(pairs, dtype=int).reshape(-1, 2).T

    def whole(table: Array) -> tuple[float, float, float]:
        gained = float(table[rows, columns].sum())
        return _f1(gained / g if g else 0.0, gained / e)

    judged = np.isfinite(z).all(0)[:, 0] if g else np.ones(e, dtype=bool)
    cited = z[rows, columns][judged[columns]]
    none = (np.nan,) * 3
    citation_scores = tuple(map(float, cited.mean(0))) if len(cited) else (0.0,) * 3 if judged.any() else none
    p = None if prior is None else np.asarray(prior, dtype=float)
    return QuestionScore(
        pairs,
        whole(c) if weights[0] else none,
        whole(a),
        citation_scores if weights[2] else none,  # type: ignore[arg-type]
        float((a[rows, columns] >= threshold).sum() / e),
        np.nan if p is None else float(p @ a.max(0)) if g else 0.0,
        np.nan if p is None else float(p @ a[0]) if g else 0.0,
    )


def weigh(condition: Array, answer: Array, citation: Array, weights: tuple[float, float, float]) -> Array:
    """What each pair weighs; what is not judged or not cited weighs nothing."""
    tables = (condition, answer, citation)
    whole: Array = sum(w * np.nan_to_num(t) for w, t in zip(weights, tables, strict=True))  # type: ignore[assignment]
    return whole


# Jobs ------------------------------------------------------------------------------------------------------


@dataclass
class Job:
    """An answer to be scored; `fill` gives it its tables.

    Attributes
    ----------
    question : as asked
    generated, gold : entries in order
    weights : see `WEIGHTS`
    fragments : how many there are; a citation of another number supports nothing
    prior : see `QuestionScore`
    condition, answer, citation : (generated, gold); the last (generated, gold, 3) with precision, recall and F1
    once : rows that repeat none before them
    """

    question: str
    generated: Sequence[Generated]
    gold: Sequence[Gold]
    weights: tuple[float, float, float]
    fragments: int | None = None
    prior: Sequence[float] | None = None
    condition: Array = field(init=False)
    answer: Array = field(init=False)
    citation: Array = field(init=False)
    once: tuple[int, ...] = field(init=False)

    def __post_init__(self) -> None:
        size = len(self.generated), len(self.gold)
        self.condition, self.answer = np.full(size, np.nan), np.full(size, np.nan)
        self.citation = np.array([_cites(x, y) for x in self.generated for y in self.gold]).reshape(*size, 3)
        keys = [(normalised(x.condition or ""), normalised(x.answer), sorted(x.citations)) for x in self.generated]
        # Of entries that say the same one counts, which one does not depend on their order.
        order = sorted(range(len(keys)), key=lambda i: keys[i])
        self.once = tuple(i for n, i in enumerate(order) if n == 0 or keys[i][:2] != keys[order[n - 1]][:2])

    @property
    def stray(self) -> list[int]:
        """Numbers that are cited and that no fragment has."""
        if self.fragments is None or not self.weights[2]:
            return []
        return sorted({n for one in self.generated for n in one.citations if not 1 <= n <= self.fragments})

    def scored(self, threshold: float = 0.5, pair: Literal["optimal", "greedy"] = "optimal") -> QuestionScore:
        """Its scores, once its tables are filled; the published pairing knows no repetitions."""
        score_ = score_tables(
            self.condition, self.answer, self.citation, weights=self.weights, pair=pair, threshold=threshold,
            once=self.once if pair == "optimal" else None, prior=self.prior,
        )  # fmt: skip
        abstained = sum(normalised(one.answer) in ABSTAINS for one in self.generated)
        return QuestionScore(**{**vars(score_), "abstained": abstained})

    def open(self) -> set[tuple[int, int]]:
        """Pairs whose condition has to be judged before both pairings are known.

        A pair is out of the optimal pairing if the best total with it, every unknown condition taken for 1, is below the
        best total with every unknown taken for 0; of the greedy one if another of its row is better in that sense.
        """
        if not self.weights[0] or not self.answer.size:
            return set()
        unknown = np.isnan(self.condition)
        z = self.citation[:, :, 0]
        plain = weigh(self.condition, self.answer, z, self.weights)
        low = plain + TIE * self.answer
        high = low + self.weights[0] * unknown
        kept = list(self.once)
        least = sum(low[kept][pair] for pair in match(low[kept]))
        needed = set()
        for i, j in zip(*np.nonzero(unknown), strict=True):
            if i in self.once:
                forced = high[kept]
                forced[kept.index(i), j] += len(self.gold) + len(self.generated)
                best = sum(high[kept][pair] for pair in match(forced))
                if best >= least - TIE:
                    needed.add((int(i), int(j)))
        free, high = list(range(len(self.gold))), plain + self.weights[0] * unknown
        for i in range(min(self.answer.shape)):
            could = [j for j in free if high[i, j] >= plain[i, free].max()]
            needed |= {(i, j) for j in could if unknown[i, j]}
            if len(could) > 1 and any(unknown[i, j] for j in could):
                break
            free.remove(max(could, key=lambda j: plain[i, j]))
        return needed


def _cites(generated: Generated, gold: Gold) -> tuple[float, float, float]:
    """Citation precision (the published score), recall and F1; nan where the gold entry cites nothing."""
    if not gold.citations:
        return (np.nan,) * 3
    common = len(generated.citations & gold.citations)
    return _f1(common / len(generated.citations) if generated.citations else 0.0, common / len(gold.citations))


def fill(jobs: Sequence[Job], judge: Judge, all_pairs: bool = False) -> None:
    """Judge what the jobs need, in as few batches as their order allows.

    Parameters
    ----------
    all_pairs : judge also pairs without a word in common, which otherwise score 0 without being asked about
    """
    every = [(job, i, j) for job in jobs for i in range(len(job.generated)) for j in range(len(job.gold))]
    _judge(every, "answer", judge, all_pairs)
    while asked := [(job, i, j) for job in jobs for i, j in sorted(job.open())]:
        _judge(asked, "condition", judge, all_pairs)


def _judge(cells: Sequence[tuple[Job, int, int]], kind: str, judge: Judge, all_pairs: bool) -> None:
    rows = [
        (job.question, getattr(job.gold[j], kind), getattr(job.generated[i], kind) or "") for job, i, j in cells
    ]
    scores = np.zeros(len(rows))
    asked = [k for k, (_, a, b) in enumerate(rows) if b and (all_pairs or judge.cheap or overlap(a, b))]
    if asked:
        scores[asked] = judge(kind, [rows[k] for k in asked])
    for (job, i, j), value in zip(cells, scores, strict=True):
        getattr(job, kind)[i, j] = value


def score(
    generated: Sequence[Generated | dict[str, Any]],
    gold: Sequence[Gold | dict[str, Any]],
    *,
    question: str = "",
    protocol: str = "condition_first",
    judge: str | Judge | Callable[..., float] = "f1",
    pair: Literal["optimal", "greedy"] = "optimal",
    threshold: float = 0.5,
    prior: Sequence[float] | None = None,
) -> QuestionScore:
    """The scores of one answer.

    Parameters
    ----------
    generated, gold : entries, or dictionaries with "condition", "answer" and "citations" (numbers from 1)
    question : as asked, for judges that read it
    protocol : whose weights pair the entries, see `WEIGHTS`
    judge : see `ask`
    pair, threshold, prior : see `score_tables`

    Raises
    ------
    InputError
        No gold entry; a prior of another length.

    Examples
    --------
    >>> gold = [Gold("in 2020", "two years", frozenset({1})), Gold("in 2024", "three years", frozenset({2}))]
    >>> one = score([Generated("in 2020", "two years", frozenset({1}))], gold, judge="exact")
    >>> [round(x, 2) for x in one.answer], one.coverage, one.citation[2]
    ([1.0, 0.5, 0.67], 0.5, 1.0)
    """
    pairs, wanted = _entries(generated, Generated), _entries(gold, Gold)
    if not wanted or (prior is not None and len(prior) != len(wanted)):
        raise InputError(
            f"{len(wanted)} gold entries and a prior of {'none' if prior is None else len(prior)} were given; at least "
            "one entry is needed, and a probability for each."
        )
    job = Job(question, pairs, wanted, WEIGHTS.get(protocol, WEIGHTS["condition_first"]), prior=prior)
    fill([job], judge_of(judge), all_pairs=True)
    return job.scored(threshold, pair)


def _entries(given: Sequence[Any], kind: Any) -> list[Any]:
    return [
        kind(one.get("condition"), str(one["answer"]), frozenset(one.get("citations", ()))) if isinstance(one, dict)
        else one
        for one in given
    ]  # fmt: skip
