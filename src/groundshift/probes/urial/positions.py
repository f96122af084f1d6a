"""The comparison of two models at every token of an answer that one of them gave: how would the base have gone on?

Exactly, over the whole vocabulary (`compare_logits`), and as the published code has it (``compat="aligntds"``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from groundshift.errors import InputError

__all__ = ["CATEGORIES", "categories", "compare_logits", "token_shift"]

CATEGORIES = ("unshifted", "marginal", "shifted")
FIRST, THIRD = 1, 3
"""A token is unshifted where it is the base's first choice, marginal up to the third, shifted beyond."""
STORED, RANKED = 50, 30
"""Tokens of the lists that the published code compares, and of those in which it looks for a rank."""


def categories(rank: ArrayLike) -> NDArray[np.str_]:
    """Unshifted, marginal or shifted, from ranks under the base (1 is the likeliest).

    >>> categories([1, 2, 3, 4]).tolist()
    ['unshifted', 'marginal', 'marginal', 'shifted']
    """
    rank = np.asarray(rank)
    return np.array(CATEGORIES)[(rank > FIRST).astype(int) + (rank > THIRD)]


def compare_logits(base: Tensor, tuned: Tensor, token: Tensor, alternatives: int = 0) -> dict[str, Tensor]:
    """Compare two next-token distributions at each of n places.

    Parameters
    ----------
    base, tuned : logits over one vocabulary, floating (n, V)
    token : the token that was said, int64 (n,)
    alternatives : how many of the base's likeliest tokens are also returned

    Returns
    -------
    dict of (n,)
        ``rank`` η of the token under the base and ``tuned_rank``: 1 + tokens with larger logits, so that ties count in
        its favour; ``ties``: other tokens with its logit under the base; ``logprob`` and ``base_logprob`` of it;
        ``kl`` KL(P_tuned‖P_base), ``kl_base`` KL(P_base‖P_tuned), ``jsd``, ``entropy`` and ``base_entropy`` in nats;
        ``tv``, total variation; with ``alternatives`` also ``top_id`` and ``top_logprob`` (n, alternatives).
    """
    p, q = tuned.log_softmax(-1), base.log_softmax(-1)
    P, Q = p.exp(), q.exp()
    half = torch.logaddexp(p, q) - np.log(2)
    at = token[:, None]
    own, own_tuned = base.gather(1, at), tuned.gather(1, at)
    compared = {
        "rank": (base > own).sum(1) + 1,
        "tuned_rank": (tuned > own_tuned).sum(1) + 1,
        "ties": (base == own).sum(1) - 1,
        "logprob": p.gather(1, at)[:, 0],
        "base_logprob": q.gather(1, at)[:, 0],
        "kl": _mean(P, p - q).clamp(min=0),
        "kl_base": _mean(Q, q - p).clamp(min=0),
        "jsd": ((_mean(P, p - half) + _mean(Q, q - half)) / 2).clamp(min=0),
        "tv": (P - Q).abs().sum(1) / 2,
        "entropy": -_mean(P, p),
        "base_entropy": -_mean(Q, q),
    }
    if alternatives:
        best = q.topk(min(alternatives, q.shape[1]), 1)
        compared |= {"top_id": best.indices, "top_logprob": best.values}
    return compared


def _mean(weights: Tensor, values: Tensor) -> Tensor:
    """Σ w v, where a value without weight counts nothing, infinite or not."""
    return torch.where(weights > 0, weights * values, 0.0).sum(1)


def token_shift(
    base_logits: ArrayLike,
    aligned_logits: ArrayLike,
    tokens: ArrayLike,
    top_k: Sequence[int] = (10, 50),
    compat: Literal["aligntds"] | None = None,
) -> pd.DataFrame:
    """Compare logits of a base and a tuned model at the tokens of an answer.

    Parameters
    ----------
    base_logits, aligned_logits : (T, V), both behind the same tokens of the answer, each behind its own prompt
    tokens : ids of the answer, (T,)
    top_k : lists of likeliest tokens whose overlap is told
    compat : "aligntds": the published definitions, on lists of 50 tokens that are normalised among themselves; then η
        is the rank of the *tuned model's likeliest* token among the base's first 30, and 30 beyond

    Returns
    -------
    DataFrame
        A row for each token: ``position`` (from 1), ``token``, ``category``, what `compare_logits` gives, and for each
        k ``jaccard@k`` of the two lists. With ``compat``: ``ranked`` (the token whose rank it is), ``rank``,
        ``category``, ``ndcg``, and for each k ``jaccard@k``, ``ws@k``, ``kl@k`` (over common tokens: may be negative),
        ``top_rank@k``, ``top_prob@k``, ``bi_top_prob@k``.

    Raises
    ------
    InputError
        Arrays of other shapes, logits that are not numbers, ids outside the vocabulary, lists longer than it.

    References
    ----------
    Lin et al. (arXiv:2312.01552), section 2.

    Examples
    --------
    >>> table = token_shift([[2.0, 1.0, 0.0]], [[0.0, 1.0, 2.0]], [2], top_k=(1,))
    >>> table[["token", "rank", "category", "jaccard@1"]].values.tolist()
    [[2, 3, 'marginal', 0.0]]
    """
    arrays = [np.asarray(x, dtype=float) for x in (base_logits, aligned_logits)]
    ids = np.asarray(tokens)
    shapes = [x.shape for x in arrays]
    if shapes[0] != shapes[1] or len(shapes[0]) != 2 or ids.shape != shapes[0][:1] or 0 in shapes[0]:
        raise InputError(
            f"Logits of the shapes {shapes[0]} and {shapes[1]} and tokens of {ids.shape} were given; (T, V) twice and "
            "(T,) are needed, of one vocabulary."
        )
    size = shapes[0][1]
    if ids.dtype.kind not in "iu" or ids.min() < 0 or ids.max() >= size:
        raise InputError(f"The tokens must be ids from 0 to {size - 1}, those of the logits' {size} columns.")
    if any((np.isnan(x) | np.isposinf(x)).any() for x in arrays):
        raise InputError("The logits hold NaN or +inf; compute them in float32.")
    if compat not in (None, "aligntds") or not all(isinstance(k, int) and 1 <= k <= size for k in top_k):
        raise InputError(
            f"compat={compat!r}, top_k={tuple(top_k)} was given; compat is 'aligntds' or None, and a list has 1 to "
            f"{size} tokens, as many as the vocabulary."
        )
    base, tuned = map(torch.from_numpy, arrays)
    table = pd.DataFrame({"position": np.arange(1, len(ids) + 1), "token": ids})
    if compat:
        rows = [_published(b, a, top_k) for b, a in zip(*arrays, strict=True)]
        table = table.join(pd.DataFrame(rows))
    else:
        compared = compare_logits(base, tuned, torch.from_numpy(ids.astype(np.int64)))
        table = table.assign(**{name: values.numpy() for name, values in compared.items()})
        for k in top_k:
            lists = zip(*(z.topk(k, 1).indices.tolist() for z in (base, tuned)), strict=True)
            table[f"jaccard@{k}"] = [len({*b} & {*a}) / len({*b} | {*a}) for b, a in lists]
    table.insert(2, "category", categories(table["rank"]))
    return table


def _published(base: NDArray[np.float64], tuned: NDArray[np.float64], top_k: Sequence[int]) -> dict[str, Any]:
    """The published distances at one place: lists L_b and L_a of the 50 largest logits, p̃ normalised over each."""
    L_b, L_a = (np.argsort(-z, kind="stable")[:STORED].tolist() for z in (base, tuned))
    p_b, p_a = (_normalised(z, names) for z, names in ((base, L_b), (tuned, L_a)))
    top = L_a[0]
    row: dict[str, Any] = {"ranked": top, "rank": L_b.index(top) + 1 if top in L_b[:RANKED] else RANKED}
    discount = 1 / np.log2(np.arange(STORED) + 2)
    relevance = dict(zip(L_a, discount, strict=False))  # of a token, from its place in L_a
    ideal = (discount[: len(L_a)] ** 2).sum()
    row["ndcg"] = sum(relevance.get(v, 0.0) * d for v, d in zip(L_b, discount, strict=False)) / ideal
    for k in top_k:
        S_b, S_a = L_b[:k], L_a[:k]
        common = set(S_b) & set(S_a)
        row[f"jaccard@{k}"] = len(common) / len(set(S_b) | set(S_a))
        row[f"ws@{k}"] = sum(p_b[v] * p_a[v] for v in common)
        row[f"kl@{k}"] = sum(p_b[v] * np.log(p_b[v] / p_a[v]) for v in common)
        row[f"top_rank@{k}"] = S_b.index(top) if top in S_b else k
        row[f"top_prob@{k}"] = p_b[top] if top in S_b else 0.0
        back = p_a[L_b[0]] if L_b[0] in S_a else 0.0
        row[f"bi_top_prob@{k}"] = (row[f"top_prob@{k}"] + back) / 2
    return row


def _normalised(logits: NDArray[np.float64], names: Sequence[int]) -> dict[int, float]:
    kept = np.exp(logits[names] - logits[names].max())
    return dict(zip(names, (kept / kept.sum()).tolist(), strict=True))
