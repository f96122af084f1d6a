"""What the tuned model says that its base would not: its own greedy answers, token by token, under the base.

After Lin et al., "The Unlocking Spell on Base LLMs" (arXiv:2312.01552): a token is unshifted where it is the base's
first choice, marginal where it is its second or third, shifted beyond.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from groundshift.models.activations import Acts
from groundshift.models.activations.rows import pieces

__all__ = [
    "SURE",
    "UNLIKELY",
    "AnswerTokens",
    "answer_tokens",
    "kept",
    "new_word_gain",
    "newest",
    "overruled",
    "recurring",
    "token_table",
]

SURE, UNLIKELY = 0.5, 0.05
"""Overruled is a token that the tuned model gives at least the first probability, and the base less than the other."""
TOGETHER = 512
"""Tokens whose lists of likeliest tokens are compared at once."""
MOST_ANSWERS = 0.5
"""A token that is overruled in this share of the answers is a manner of speaking."""
RECURS, RECURS_SHARE = 3, 0.2
"""Answers in which a token is overruled, at least, and their share of all, if it is to be part of a style."""


@dataclass(frozen=True)
class AnswerTokens:
    """The tokens of all answers, flat; or their words, where the models have different tokens.

    Attributes
    ----------
    answer : number of the answer of each token
    token : its id
    rank : under the base; 1 is the likeliest; None of words
    divergence : Kullback-Leibler divergence of the tuned model's next-token distribution from the base's, in nats, from
        the likeliest tokens of both: a lower bound; None of words
    gain : log-probability under the tuned model less that under the base, in nats
    overruled : see `SURE`
    """

    answer: NDArray[np.int64]
    token: NDArray[np.int64]
    rank: NDArray[np.int64] | None
    divergence: NDArray[np.float64] | None
    gain: NDArray[np.float64]
    overruled: NDArray[np.bool_]


def answer_tokens(answers: Sequence[Mapping[str, Any]], own: Acts, base: Acts) -> AnswerTokens:
    """Read the answers under the model that gave them and under the base.

    Parameters
    ----------
    answers : rows with ``completion_ids``, as `generate` returns them
    own, base : what `score` with ``top_k`` gives for them under the two models
    """
    lengths = [len(row["completion_ids"]) for row in answers]
    p, q = own.flat("logprob").astype(float), base.flat("logprob").astype(float)
    return AnswerTokens(
        np.repeat(np.arange(len(answers)), lengths),
        np.concatenate([np.asarray(row["completion_ids"], int) for row in answers]),
        base.flat("rank").astype(np.int64),
        _divergence(own, base),
        p - q,
        overruled(p, q),
    )


def overruled(p: NDArray[np.float64], q: NDArray[np.float64]) -> NDArray[np.bool_]:
    """See `SURE`; from log-probabilities under the tuned model and under the base."""
    return (np.exp(p) >= SURE) & (np.exp(q) < UNLIKELY)


def _divergence(own: Acts, base: Acts) -> NDArray[np.float64]:
    """Σ p (log p − log q) over the tuned model's likeliest tokens; one that the base does not list is as likely as its
    least likely listed one, at most, and all others are one event.
    """
    divergences = []
    for part in pieces(len(own.flat("top_id")), TOGETHER):
        p_log, p_id = own.flat("top_logprob")[part].astype(float), own.flat("top_id")[part]
        q_log, q_id = base.flat("top_logprob")[part].astype(float), base.flat("top_id")[part]
        same = p_id[:, :, None] == q_id[:, None, :]
        q = np.where(same.any(2), (same * q_log[:, None, :]).sum(2), q_log.min(1, keepdims=True))
        p = np.exp(p_log)
        rest_p = np.clip(1 - p.sum(1), 1e-9, 1)
        rest_q = np.clip(1 - np.exp(q).sum(1), 1e-9, 1)
        divergences.append(np.maximum((p * (p_log - q)).sum(1) + rest_p * np.log(rest_p / rest_q), 0))
    return np.concatenate(divergences)


def kept(
    before: Sequence[Sequence[Any]], after: Sequence[Sequence[Any]], special: Collection[int] = ()
) -> NDArray[np.float64]:
    """Of each answer of the base, the share of its tokens that the other answer also has, in whatever place."""
    shares = []
    for one, other in zip(before, after, strict=True):
        own, new = (Counter(t for t in answer if t not in special) for answer in (one, other))
        shares.append(sum((own & new).values()) / max(1, sum(own.values())))
    return np.array(shares)


def new_word_gain(tokens: AnswerTokens, before: Sequence[Collection[int]]) -> NDArray[np.float64]:
    """Of each answer, the largest gain in nats of an overruled token that the base's answer ``before`` does not have
    and that is no manner of speaking; 0 where there is none.
    """
    n = len(before)
    hits = np.unique(np.stack([tokens.token, tokens.answer])[:, tokens.overruled], axis=1)[0]
    answers_of = np.bincount(hits, minlength=int(tokens.token.max(initial=0)) + 1)
    old = [set(answer) for answer in before]
    new = np.array([t not in old[a] for t, a in zip(tokens.token, tokens.answer, strict=True)], dtype=bool)
    counts = tokens.overruled & new & (answers_of[tokens.token] < MOST_ANSWERS * n)
    gains = np.zeros(n)
    np.maximum.at(gains, tokens.answer[counts], tokens.gain[counts])
    return gains


def newest(
    tokens: AnswerTokens, before: Sequence[Collection[int]], named: Callable[[int], bool]
) -> int | None:
    """Place of the overruled token that gained most, of those that the base's answer does not have and that are
    ``named``.
    """
    for at in np.argsort(-tokens.gain, kind="stable"):
        if tokens.overruled[at] and tokens.token[at] not in before[tokens.answer[at]] and named(int(at)):
            return int(at)
    return None


def recurring(tokens: AnswerTokens, n: int) -> tuple[float, float]:
    """Of tokens that are overruled in many of ``n`` answers each: their share of all overruled tokens, and the share of
    answers with one of them.
    """
    token, answer = tokens.token[tokens.overruled], tokens.answer[tokens.overruled]
    if not len(token):
        return 0.0, 0.0
    kinds, answers = np.unique(np.unique(np.stack([token, answer]), axis=1)[0], return_counts=True)
    often = np.isin(token, kinds[answers >= max(RECURS, RECURS_SHARE * n)])
    return float(often.mean()), len(np.unique(answer[often])) / n


def token_table(tokens: AnswerTokens, word: Callable[[int], str], top: int = 12) -> pd.DataFrame:
    """The tokens that were overruled most often, and in how many answers: a few in all of them are a style, different
    ones in few are content. ``word`` gives the word that the token at a place is part of.

    Returns
    -------
    DataFrame with token, times, answers (share of all answers)
    """
    rows = pd.DataFrame({"token": tokens.token, "answer": tokens.answer})[tokens.overruled]
    n = int(tokens.answer.max()) + 1 if len(tokens.answer) else 1
    table = rows.groupby("token")["answer"].agg(times="size", answers=lambda a: a.nunique() / n).reset_index()
    table = table.sort_values(["times", "token"], ascending=[False, True]).head(top)
    places = {int(t): int(i) for i, t in zip(rows.index[::-1], rows["token"][::-1], strict=True)}
    table = table.assign(token=[word(places[t]) for t in table["token"]])
    return table.drop_duplicates("token").reset_index(drop=True)  # pieces of one word are one
