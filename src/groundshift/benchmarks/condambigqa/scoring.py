"""Pairs of generated and gold entries, and scores that count what is missing.

A job is one answer to one question; its tables have a row for each generated and a column for each gold entry. Answers
are judged first, and of the conditions only those that can still matter.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from groundshift.benchmarks.condambigqa.data import Generated, Gold
from groundshift.errors import InputError
from groundshift.measures.matching import could_match, could_match_greedily, match, match_greedily
from groundshift.models.items import Unparsed
from groundshift.models.judges import STEPS as ANSWER_STEPS
from groundshift.models.judges import Judge, judge_of, normalised

__all__ = [
    "CAP", "STEPS", "WEIGHTS", "Job", "QuestionScore", "balanced", "fill", "job_of", "score", "score_tables",
]  # fmt: skip

Array = NDArray[np.float64]
Pairing = Literal["optimal", "greedy"]
Weights = tuple[float, float, float]
FIRST = (0.3, 0.5, 0.2)
WEIGHTS = {"condition_first": FIRST, "direct": (0, 0.7, 0.3), "given": (0, 0.6, 0.4), "closed": (0, 1.0, 0)}
"""Of condition, answer and citation in the weight of a pair, as published; other protocols have those of the first."""
CAP = 3  # entries that the prompts ask for at most; more are scored all the same
TIE = 1e-9  # weight of the answer score among pairings of equal weight
CONDITION = """1. Both must restrict the question to the same case: the same time, place, version or meaning.
2. Take off much for every restriction that is left out, wrong or contradicted."""
STEPS = {**ANSWER_STEPS, "condition": CONDITION}
"""What a model as a judge is asked to look at; it never reads the fragments, so that it cannot score against them."""
ABSTAINS = {"unknown", "not stated", "not specified", "not known", "i dont know", "none"}


def balanced(s: float, expected: int, given: int) -> float:
    """The published count-balanced score, of a mean answer score and the numbers of gold and given entries.

    >>> [round(balanced(*case), 3) for case in [(0.5, 2, 1), (0.5, 3, 2), (0.5, 2, 3), (0.8, 2, 2), (0.2, 1, 3)]]
    [0.17, 0.31, 0.335, 0.704, 0.086]
    """
    e, f = max(expected, 1), float(np.clip(s / 0.5, 0.5, 1))
    ratio = (given - expected) / e
    if given == 1 and expected > 1:
        lost = 0.9
    elif ratio < 0:
        lost = min(0.6 * -ratio * (2 - f), 0.2)
    else:
        lost = (2 - f) * (min(0.3 * ratio, 0.15) if ratio > 1 else min(0.15 * ratio, 0.075))
    return float(np.clip(s * (0.6 * s + 0.4 * (1 - lost)), 0, 1))


@dataclass(frozen=True)
class QuestionScore:
    """What one answer is worth.

    Attributes
    ----------
    pairs : (generated, gold), from 0
    parts : precision, recall and F1 of answer, condition (nan where the protocol judges none) and citation (means over
        the pairs; nan where nothing is to be cited), as ``answer_f1``; ``coverage``: share of gold entries whose pair
        has an answer score of at least the threshold; ``hit``, ``first_hit``: expected answer score of what the asker
        had in mind, by any entry and by the first (nan if unknown); of a `Job` also counts of entries (``given``), of
        those that say they do not know (``abstained``), and of citations of no fragment (``stray``)
    """

    pairs: tuple[tuple[int, int], ...]
    parts: dict[str, float]


def _triple(precision: float, recall: float) -> tuple[float, float, float]:
    return precision, recall, 2 * precision * recall / max(precision + recall, 1e-300)


def score_tables(
    condition: ArrayLike, answer: ArrayLike, citation: ArrayLike, *, weights: Weights = FIRST, threshold: float = 0.5,
    pair: Pairing = "optimal", once: Sequence[int] | None = None, prior: Sequence[float] | None = None,
) -> QuestionScore:  # fmt: skip
    """Scores from the judge's tables.

    Parameters
    ----------
    condition, answer : in [0, 1], a row for each generated and a column for each gold entry
    citation : the same; or (rows, columns, 3) with precision (which counts in a pair), recall and F1
    weights, pair : see `WEIGHTS`; "optimal", or "greedy" as published, in the order of the rows
    once : rows that may be paired, all if left out; the others count in the precision, as repetitions do
    threshold : of an answer score that covers a gold entry
    prior : probability of each column to be what the asker had in mind

    Examples
    --------
    >>> c, a = [[0.9, 0.2], [0.3, 0.6], [0.1, 0.1]], [[0.8, 0.5], [0.6, 0.55], [0.2, 0.1]]
    >>> whole = score_tables(c, a, [[1, 0], [0.5, 0.5], [0, 0]])
    >>> whole.pairs, [round(whole.parts[f"{k}_f1"], 2) for k in ("answer", "condition")]
    (((0, 0), (1, 1)), [0.54, 0.6])
    """
    a, c, z = (np.asarray(table, dtype=float) for table in (answer, condition, citation))
    z = z if z.ndim == 3 else np.repeat(z[:, :, None], 3, 2)
    (g, e), total = a.shape, _weigh(c, a, z[:, :, 0], weights)
    kept = np.arange(g) if once is None else np.asarray(once, dtype=int)
    chosen = match(total[kept] + TIE * a[kept]) if pair == "optimal" else match_greedily(total[kept])
    pairs = tuple(sorted((int(kept[i]), j) for i, j in chosen))
    rows, columns = np.array(pairs, dtype=int).reshape(-1, 2).T
    cited = z[rows, columns][~np.isnan(z[rows, columns, 0])] if weights[2] else z[:0, 0]
    wanted = not g or not np.isnan(z[:, :, 0]).all()
    gained = {"answer": a[rows, columns].sum(), "condition": c[rows, columns].sum() if weights[0] else np.nan}
    triples: dict[str, Any] = {kind: _triple(x / max(g, 1), x / e) for kind, x in gained.items()}
    triples["citation"] = cited.mean(0) if len(cited) else [0.0 if weights[2] and wanted else np.nan] * 3
    names = [f"{kind}_{name}" for kind in triples for name in ("precision", "recall", "f1")]
    parts = dict(zip(names, np.concatenate(list(triples.values())).tolist(), strict=True))
    p = np.full(e, np.nan) if prior is None else np.asarray(prior, dtype=float)
    for name, score_ in (("hit", a.max(0) if g else np.zeros(e)), ("first_hit", a[0] if g else np.zeros(e))):
        parts[name] = float(p @ score_)
    return QuestionScore(pairs, parts | {"coverage": float((a[rows, columns] >= threshold).sum() / e)})


def _weigh(condition: Array, answer: Array, citation: Array, weights: Weights) -> Array:
    """What each pair weighs; what is not judged or not to be cited weighs nothing."""
    return np.asarray(np.nan_to_num(np.stack([condition, answer, citation], 2)) @ np.array(weights))


@dataclass
class Job:
    """An answer to be scored; `fill` judges its tables ``condition`` and ``answer``.

    ``citation`` holds precision, recall and F1 (nan where the gold entry cites nothing), and ``once`` the entries that
    are left when those that say the same are taken together; which one is left does not depend on their order.
    """

    question: str
    generated: Sequence[Generated]
    gold: Sequence[Gold]
    weights: Weights = FIRST
    fragments: int | None = None
    prior: Sequence[float] | None = None
    condition: Array = field(init=False)
    answer: Array = field(init=False)

    def __post_init__(self) -> None:
        size = len(self.generated), len(self.gold)
        self.condition, self.answer = np.full(size, np.nan), np.full(size, np.nan)
        self.citation = np.array([_cites(x, y) for x in self.generated for y in self.gold]).reshape(*size, 3)
        keys = [(normalised(f"{x.condition} | {x.answer}"), sorted(x.citations)) for x in self.generated]
        order = sorted(range(len(keys)), key=lambda i: keys[i])
        self.once = [i for n, i in enumerate(order) if n == 0 or keys[i][0] != keys[order[n - 1]][0]]
        cited = {number for one in self.generated for number in one.citations} if self.weights[2] else set()
        self.stray = sorted(n for n in cited if self.fragments is not None and not 1 <= n <= self.fragments)

    def scored(self, threshold: float = 0.5, pair: Pairing = "optimal") -> QuestionScore:
        """Its scores once its tables are filled, with counts; the published pairing knows no repetitions."""
        how: Any = {"weights": self.weights, "pair": pair, "threshold": threshold, "prior": self.prior}
        once = self.once if pair == "optimal" else None
        result = score_tables(self.condition, self.answer, self.citation, once=once, **how)
        abstained = sum(normalised(one.answer) in ABSTAINS for one in self.generated)
        counts = {"given": len(self.generated), "abstained": abstained, "stray": len(self.stray)}
        return QuestionScore(result.pairs, result.parts | {name: float(n) for name, n in counts.items()})

    def published(self) -> Array:
        """Condition, answer, citation and combined score of the published pairs: (pairs, 4), nan where not judged."""
        places = tuple(np.array(self.scored(pair="greedy").pairs, dtype=int).reshape(-1, 2).T)
        tables = np.stack([self.condition, self.answer, self.citation[:, :, 0]], 2)[places]
        whole = np.nan_to_num(tables) @ np.array(self.weights)
        return np.column_stack([np.where(np.array(self.weights) > 0, tables, np.nan), whole])

    def open(self) -> list[tuple[int, int]]:
        """Pairs whose condition has to be judged before both pairings are known."""
        unknown = np.isnan(self.condition)
        if not self.weights[0] or not unknown.any():
            return []
        low = _weigh(self.condition, self.answer, self.citation[:, :, 0], self.weights)
        high = low + self.weights[0] * unknown
        needed = could_match_greedily(low, high)
        needed[self.once] |= could_match(low[self.once], high[self.once])
        return [(int(i), int(j)) for i, j in np.argwhere(needed & unknown)]


def _cites(generated: Generated, gold: Gold) -> tuple[float, float, float]:
    if not gold.citations:
        return (np.nan,) * 3
    common = len(generated.citations & gold.citations)
    return _triple(common / max(len(generated.citations), 1), common / len(gold.citations))


def fill(jobs: Sequence[Job], judge: Judge, all_pairs: bool = False) -> None:
    """Judge what the jobs need, in few batches; pairs without a common word score 0 unasked, unless ``all_pairs``."""
    asked = [(job, i, j) for job in jobs for i in range(len(job.generated)) for j in range(len(job.gold))]
    kind = "answer"
    while asked:
        texts = [(getattr(job.gold[j], kind), getattr(job.generated[i], kind) or "") for job, i, j in asked]
        rows = [(job.question, *pair) for (job, _, _), pair in zip(asked, texts, strict=True)]
        for (job, i, j), value in zip(asked, judge(kind, rows, all_pairs), strict=True):
            getattr(job, kind)[i, j] = value
        kind, asked = "condition", [(job, i, j) for job in jobs for i, j in job.open()]


def job_of(generated: Sequence[Generated] | Unparsed, target: str, facts: Any) -> Job:
    """The job of an item of `make_items`."""
    generated = [] if isinstance(generated, Unparsed) else generated
    gold = [Gold(g["condition"], g["answer"], frozenset(g["citations"])) for g in json.loads(target)]
    weights = WEIGHTS.get(facts["protocol"], FIRST)
    return Job(facts["asked"], generated, gold, weights, facts["fragments"], facts["prior"])


def score(
    generated: Sequence[Generated], gold: Sequence[Gold], *, question: str = "", protocol: str = "condition_first",
    judge: Any = "f1", pair: Pairing = "optimal", threshold: float = 0.5, prior: Sequence[float] | None = None,
) -> QuestionScore:  # fmt: skip
    """The scores of one answer.

    Parameters
    ----------
    generated, gold : entries
    question, protocol : as asked, for judges that read it; whose weights pair the entries, see `WEIGHTS`
    judge, pair, threshold, prior : see `ask` and `score_tables`

    Examples
    --------
    >>> gold = [Gold("in 2020", "red", frozenset({1})), Gold("in 2024", "blue", frozenset({2}))]
    >>> one = score([Generated("in 2020", "red", frozenset({1}))], gold, judge="exact").parts
    >>> [round(one[name], 2) for name in ("answer_precision", "answer_recall", "answer_f1", "coverage", "citation_f1")]
    [1.0, 0.5, 0.67, 0.5, 1.0]
    """
    if not gold or (prior is not None and len(prior) != len(gold)):
        raise InputError(f"{len(gold)} gold entries and the prior {prior} were given; they must be as many.")
    job = Job(question, generated, gold, WEIGHTS.get(protocol, FIRST), prior=prior)
    fill([job], judge_of(judge, STEPS), all_pairs=True)
    return job.scored(threshold, pair)
