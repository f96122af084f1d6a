"""Answers of models with different vocabularies, compared by the words of their text.

Each model reads a text with its own tokenizer. The log-probabilities of a word's pieces add up to that of its
characters, which is the same event for both.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from groundshift.adaptation import displacement as preferences
from groundshift.models.activations import ProbeModel, encode, score
from groundshift.models.activations.rows import continued
from groundshift.models.tokens import preferences as preferences_of
from groundshift.models.tokens import text_of
from groundshift.workflows.diff.tokens import AnswerTokens, overruled

__all__ = ["Scored", "already", "answer_words", "read_pairs", "score_texts", "written"]


@dataclass(frozen=True)
class Scored:
    """Texts as one model reads them behind their prompts.

    Attributes
    ----------
    texts : as they are
    spans : the characters of a text that each of its pieces stands for, int64 (pieces, 2)
    logprobs : of its pieces, float64; fewer than there are where the text is too long for the model
    unknown : share of pieces that the tokenizer does not know
    """

    texts: list[str]
    spans: list[NDArray[np.int64]]
    logprobs: list[NDArray[np.float64]]
    unknown: float


def written(model: ProbeModel, answers: Sequence[Mapping[str, Any]]) -> list[str]:
    """The text of each answer as it stands behind its prompt, without special tokens.

    A tokenizer that drops the blank in front of a text it decodes shows it once the prompt is decoded too.
    """
    rows = encode(model, answers)
    whole, prompts = (
        model.tokenizer.batch_decode(
            [row.ids[:end].tolist() for row, end in zip(rows, ends, strict=True)],
            skip_special_tokens=True,
            clean_up_tokenization_spaces=False,
        )
        for ends in (map(len, rows), (row.prompt for row in rows))
    )
    return [
        text.removeprefix(prompt) if text.startswith(prompt) else row["completion"]
        for text, prompt, row in zip(whole, prompts, answers, strict=True)
    ]


def score_texts(
    model: ProbeModel,
    rows: Sequence[str | Mapping[str, Any]],
    texts: Sequence[str],
    *,
    out: str | Path | None = None,
    max_tokens: int = 8192,
    progress: bool = True,
) -> Scored:
    """Read texts behind the prompts of rows, whose own completions are left alone."""
    prompts = [_prompt(row) for row in rows]
    read, spans = continued(model, prompts, texts)
    fit = [row.ids[row.prompt : model.context].tolist() for row in read]
    some = [i for i, ids in enumerate(fit) if ids]
    logprobs = [np.zeros(0)] * len(fit)
    if some:
        scores = score(
            model, [{**prompts[i], "completion_ids": fit[i]} for i in some], out=out, max_tokens=max_tokens,
            progress=progress,
        )  # fmt: skip
        for k, row in enumerate(scores.rows):
            logprobs[some[row]] = scores.row("logprob", k).astype(float)
    strange = [i == model.tokenizer.unk_token_id for ids in fit for i in ids]
    return Scored(list(texts), spans, logprobs, float(np.mean(strange or [0])))


def _prompt(row: str | Mapping[str, Any]) -> dict[str, Any]:
    row = {"text": row} if isinstance(row, str) else row
    return {k: v for k, v in row.items() if k not in ("completion", "completion_ids")}


def answer_words(own: Scored, base: Scored) -> tuple[AnswerTokens, list[str]]:
    """The words of all answers under the model that gave them and under the base, and the list of different words.

    Words are what blanks set apart; those that one piece of either tokenizer covers together are one. Words that a
    model has not read to their end are left out.
    """
    ids: dict[str, int] = {}
    columns = [
        (a, ids.setdefault(word, len(ids)), p, q)
        for a, text in enumerate(own.texts)
        for word, p, q in _words(text, *((s.spans[a], s.logprobs[a]) for s in (own, base)))
    ]
    answer, word, p, q = np.array(columns, float).reshape(-1, 4).T
    result = AnswerTokens(answer.astype(int), word.astype(int), None, None, p - q, overruled(p, q))
    return result, list(ids)


Pieces = tuple[NDArray[np.int64], NDArray[np.float64]]


def _words(text: str, *read: Pieces) -> list[tuple[str, float, float]]:
    """Words of a text, each with its log-probability in every reading."""
    bounds = np.array([match.span() for match in re.finditer(r"\S+", text)]).reshape(-1, 2)
    n = len(bounds)
    # The first and the last word that each piece touches; one of blanks alone belongs to the word that follows, and
    # behind the last word (number n) to none.
    touched = [
        (np.searchsorted(bounds[:, 1], spans[:, 0], "right"), np.searchsorted(bounds[:, 0], spans[:, 1]) - 1)
        for spans, _ in read
    ]
    linked = np.zeros(n, bool)
    for first, last in touched:
        for i, j in zip(first, last, strict=True):
            linked[i + 1 : j + 1] = True
    number = np.append(np.cumsum(~linked) - 1, n)
    many = int((~linked).sum())
    sums, whole = [], np.ones(many, bool)
    for (first, _), (_, logprobs) in zip(touched, read, strict=True):
        of = number[first]
        pieces, scored = (np.bincount(x, minlength=n + 1)[:many] for x in (of, of[: len(logprobs)]))
        whole &= (pieces > 0) & (pieces == scored)
        sums.append(np.bincount(of[: len(logprobs)], logprobs, n + 1)[:many])
    words = [" ".join(text[low:high] for low, high in bounds[number[:n] == k]) for k in range(many)]
    return [(words[k], *(float(s[k]) for s in sums)) for k in np.flatnonzero(whole)]


def already(tokens: AnswerTokens, words: Sequence[str], before: Sequence[str]) -> list[set[int]]:
    """Of each answer, those of its words that the text ``before`` has too."""
    whole = [f" {' '.join(text.split())} " for text in before]
    seen_before: list[set[int]] = [set() for _ in before]
    for word, answer in zip(tokens.token.tolist(), tokens.answer.tolist(), strict=True):
        if f" {words[word]} " in whole[answer]:
            seen_before[answer].add(word)
    return seen_before


def read_pairs(model: ProbeModel, pairs: Sequence[Mapping[str, Any]], **options: Any) -> preferences.Reading:
    """Log-probabilities of the two answers of pairs, of their text alone: what a template puts behind an answer is
    another text for another tokenizer. Tokens are the model's own; nothing is read of other tokens.
    """
    questions, *answers = zip(*preferences_of(pairs)[0], strict=True)
    prompts = [{"prompt": prompt} for prompt in questions]
    read = score_texts(
        model, prompts * 2, [_text(answer) for those in answers for answer in those], **options
    )
    total, pieces = (
        np.array([f(x) for x in those]).reshape(2, -1).T
        for f, those in ((np.sum, read.logprobs), (len, read.spans))
    )
    return preferences.Reading(np.arange(len(pairs)), total, pieces, np.zeros((0, 0)), [])


def _text(answer: Any) -> str:
    return answer if isinstance(answer, str) else "".join(map(text_of, answer))
