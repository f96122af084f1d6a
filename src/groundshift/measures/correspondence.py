"""Do generated samples correspond to their condition? Measures for any conditional generator, from a matrix of scores.

Row i of the matrix scores sample i under the conditions of all samples (a log-likelihood, a similarity of a judge); the
true condition is on the diagonal.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import logsumexp

from groundshift.errors import InputError

__all__ = ["correspondence"]


def correspondence(scores: ArrayLike, conditions: ArrayLike | None = None) -> dict[str, float]:
    """Retrieval of the true condition, the gap to swapped ones, and a bound on the mutual information.

    Samples of one condition do not compete: with three classes a sample has two rivals, however many samples there are.

    Parameters
    ----------
    scores : shape (n, n), score of sample i under condition j
    conditions : shape (n,), which conditions are equal; all differ if left out

    Returns
    -------
    "conditions" (k, how many differ), "rank" (mean rank of the true condition among them, 1 is best; (k + 1)/2 by
    chance, also where all scores are equal), "recall" (share with rank 1), "swap_gap" (score under the own condition
    less the mean under differing ones), "information" (log n less InfoNCE, a lower bound of the mutual information in
    nats; van den Oord et al., 2018), "most_information" (what it is where conditions are told for certain: log n where
    all differ)

    Raises
    ------
    InputError
        Scores that are not finite or not square, conditions that are all equal.

    Examples
    --------
    >>> {name: round(v, 2) for name, v in correspondence([[5.0, 0.0], [0.0, 5.0]]).items()}
    {'conditions': 2, 'rank': 1.0, 'recall': 1.0, 'swap_gap': 5.0, 'information': 0.69, 'most_information': 0.69}
    """
    S = np.asarray(scores, dtype=float)
    n = len(S)
    if S.shape != (n, n) or n < 2 or not np.isfinite(S).all():
        raise InputError(
            f"Scores of shape {S.shape} were given; finite ones of shape (n, n) with n ≥ 2 are needed."
        )
    condition_of = np.arange(n) if conditions is None else np.asarray(conditions)
    if condition_of.shape != (n,):
        raise InputError(
            f"Conditions of shape {condition_of.shape} were given for {n} samples; ({n},) is needed."
        )
    _, first, which = np.unique(condition_of, return_index=True, return_inverse=True)
    if len(first) < 2:
        raise InputError(f"All {n} conditions are equal, so there is nothing to be told apart.")
    own = np.diag(S)
    rivals = S[:, first]
    rivals[np.arange(n), which] = own  # not its copy under an equal condition, which rounding may have moved
    rank = 1 + (own[:, None] < rivals).sum(1) + ((own[:, None] == rivals).sum(1) - 1) / 2
    equal = which[:, None] == which
    return {
        "conditions": len(first),
        "rank": float(rank.mean()),
        "recall": float((rank == 1).mean()),
        "swap_gap": float(own.mean() - (np.where(equal, 0, S).sum(1) / (~equal).sum(1)).mean()),
        "information": max(0.0, float(np.log(n) + (own - logsumexp(S, axis=1)).mean())),
        "most_information": float(np.log(n / equal.sum(1)).mean()),
    }
