"""Questions with several right answers: what ambiguity costs, and what naming the conditions recovers (arXiv:2502.01523).

>>> from groundshift.benchmarks import condambigqa as ca
>>> gold = [ca.Gold("in 2020", "two years", frozenset({1})), ca.Gold("in 2024", "one year", frozenset({2}))]
>>> ca.score([ca.Generated("in 2024", "one year", frozenset({2}))], gold).coverage
0.5
"""

from groundshift.benchmarks.condambigqa.data import Fragment, Gold, Question, load, retrieve, rows
from groundshift.benchmarks.condambigqa.drafts import Drafts, draft_conditions
from groundshift.benchmarks.condambigqa.evaluate import Ambiguity, ask, grader, score_answers
from groundshift.benchmarks.condambigqa.judging import (
    Calibrated,
    Judge,
    ModelJudge,
    calibrate_judge,
    judge_of,
    token_f1,
)
from groundshift.benchmarks.condambigqa.protocols import (
    PROTOCOLS,
    Generated,
    make_items,
    read_citations,
    read_pairs,
)
from groundshift.benchmarks.condambigqa.scoring import (
    WEIGHTS,
    QuestionScore,
    balanced,
    match,
    match_greedily,
    score,
    score_tables,
)

__all__ = [
    "PROTOCOLS",
    "WEIGHTS",
    "Ambiguity",
    "Calibrated",
    "Drafts",
    "Fragment",
    "Generated",
    "Gold",
    "Judge",
    "ModelJudge",
    "Question",
    "QuestionScore",
    "ask",
    "balanced",
    "calibrate_judge",
    "draft_conditions",
    "grader",
    "judge_of",
    "load",
    "make_items",
    "match",
    "match_greedily",
    "read_citations",
    "read_pairs",
    "retrieve",
    "rows",
    "score",
    "score_answers",
    "score_tables",
    "token_f1",
]
