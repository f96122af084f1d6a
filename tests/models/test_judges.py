"""Judges of texts: their order on pairs of known verdict, and what is done where one gives no number."""

import numpy as np
import pytest

from groundshift.errors import InputError
from groundshift.models.judges import Judge, calibrate_judge, judge_of
from groundshift.worlds.ambiguous_kb import judged_pairs


def test_judges_are_ordered_as_the_kinds_of_pairs():
    for judge in ("exact", "f1", "embed"):
        kinds = calibrate_judge(judge_of(judge), judged_pairs(np.random.default_rng(0), 60)).kinds.set_index(
            "kind"
        )["score"]
        assert kinds["same"] == kinds.max()
        assert kinds["contradiction"] <= kinds["reworded"]


def test_a_judge_without_numbers_is_asked_twice_and_refused():
    attempts = []

    def broken(kind, rows, attempt):
        attempts.append(attempt)
        return ["good"] * len(rows)

    with pytest.raises(InputError, match="gave no number"):
        Judge("broken", broken)("answer", [("", "a", "b")])
    assert attempts == [0, 1]


def test_the_same_pair_is_judged_once():
    """Equal answers got unequal scores from a judge (memgraph/ai-toolkit#324)."""
    rng = np.random.default_rng(0)
    judge = Judge("wavering", lambda kind, rows, attempt: rng.random(len(rows)))
    rows = [("?", "a", "b")] * 3
    assert len({*judge("answer", rows), *judge("answer", rows)}) == judge.asked == 1
