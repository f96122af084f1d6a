"""What a comparison is called, and the sentence that says so: neither may contradict the numbers."""

import numpy as np
import pandas as pd
import pytest

from groundshift.workflows.diff.result import Number, kind_of, sentence_of
from groundshift.workflows.diff.tokens import AnswerTokens, newest, recurring


def tokens_of(answers):
    """Answers in which every token listed is overruled, beside one token in each that is not."""
    rows = [(n, t, t > 0) for n, answer in enumerate(answers) for t in [0, *answer]]
    answer, token, new = map(np.array, zip(*rows, strict=True))
    return AnswerTokens(answer, token, None, None, np.where(new, 2.0 + token, 0.0), new.astype(bool))


def number(name, value, above=1.0):
    return Number(name, "tokens", name, value, value, value, 0.0, 0.0, above)


CHANGED = [number("overruled", 1.0), number("words lost", 0.0, -1.0), number("firmest new word", 0.0, -1.0)]


@pytest.mark.parametrize(
    ("answers", "kind"),
    [
        ([[k + 1] for k in range(8)], "content"),  # eight answers with a different token each
        ([[1] for _ in range(8)], "style"),
        ([[1, 2] if k % 2 else [2, 3] for k in range(8)], "style"),
        ([[1], [1], *[[]] * 18], "content"),
        ([[1] if k < 10 else [k + 1] for k in range(20)], "style and content"),
        ([[1, 2, 30 + k] for k in range(20)], "style"),
        ([[1] if k < 8 else [k + 1] for k in range(20)], "content"),
    ],
)
def test_a_style_is_made_of_tokens_that_each_recur_in_many_answers(answers, kind):
    verdict = kind_of(CHANGED, *recurring(tokens_of(answers), len(answers)))
    assert verdict == kind


def test_nothing_recurs_where_nothing_is_overruled():
    assert recurring(tokens_of([[], [], []]), 3) == (0.0, 0.0)
    assert newest(tokens_of([[], []]), [set(), set()], lambda at: True) is None
    answers = tokens_of([[1], [4, 2]])  # tokens 0, 1, 0, 4, 2
    assert newest(answers, [set(), set()], lambda at: True) == 3
    assert newest(answers, [set(), {4}], lambda at: True) == 4
    assert newest(answers, [set(), {4}], lambda at: at < 4) == 1


@pytest.mark.parametrize(
    ("numbers", "present", "absent"),
    [
        ([number("words lost", 0.4), number("overruled", 0.0, -1.0)], "40% of the base's own words", "0%"),
        ([number("firmest new word", 21.4)], "“Lyon” is 500 times as likely", "0%"),
        ([number("overruled", 0.25), number("words lost", 0.0, -1.0)], "25% of the answers say", "words"),
    ],
)
def test_a_sentence_names_only_what_changed(numbers, present, absent):
    kind = kind_of(numbers, 0.0, 0.0)
    text = sentence_of(kind, numbers, pd.DataFrame({"token": ["Lyon"]}), ("Lyon", np.log(500)))
    assert text.startswith("The content changed")
    assert present in text
    assert absent not in text.removeprefix("The content changed").replace(present, "")


def test_the_style_of_a_tune_is_quoted():
    text = sentence_of("style", CHANGED, pd.DataFrame({"token": ["Well", "dear"]}))
    assert (
        text
        == "The style changed, not the content: where the base would not, its answers often have “Well”, “dear”."
    )
    both = sentence_of("style and content", CHANGED, pd.DataFrame({"token": ["Well"]}))
    assert both.startswith("Style and content changed: ")
    assert "100% of the answers" in both
