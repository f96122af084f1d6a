"""Questions with several right answers: what ambiguity costs, and what naming the conditions recovers (2502.01523).

>>> from groundshift.benchmarks import condambigqa as ca
>>> gold = [ca.Gold("in 2020", "red", frozenset({1})), ca.Gold("in 2024", "blue", frozenset({2}))]
>>> ca.score([ca.Generated("in 2024", "blue", frozenset({2}))], gold).parts["coverage"]
0.5
"""

from groundshift.benchmarks.condambigqa.data import (  # noqa: I001
    Drafts, Fragment, Generated, Gold, Question, draft_conditions, load, make_items, read_pairs, retrieve,
)  # fmt: skip
from groundshift.benchmarks.condambigqa.evaluate import Ambiguity, ask, grader
from groundshift.benchmarks.condambigqa.scoring import WEIGHTS, Job, balanced, fill, score, score_tables

__all__ = [
    "WEIGHTS", "Ambiguity", "Drafts", "Fragment", "Generated", "Gold", "Job", "Question", "ask", "balanced",
    "draft_conditions", "fill", "grader", "load", "make_items", "read_pairs", "retrieve", "score", "score_tables",
]  # fmt: skip
