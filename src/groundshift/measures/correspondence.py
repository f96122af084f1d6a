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


def correspondence(scores: ArrayLike) -> dict[str, float]:
    """Retrieval of the true condition, the gap to swapped ones, and a bound on the mutual information.

    Parameters
    ----------
    scores : shape (n, n), score of sample i under condition j

    Returns
    -------
    "rank" (mean rank of the true condition, 1 is best; (n + 1)/2 by chance, also where all scores are equal), "recall"
    (share with rank 1), "swap_gap" (score under the own condition less the mean under others), "information" (log n
    less InfoNCE, a lower bound of the mutual information in nats: 0 … log n; van den Oord et al., 2018)

    Examples
    --------
    >>> {name: round(v, 2) for name, v in correspondence([[5.0, 0.0], [0.0, 5.0]]).items()}
    {'rank': 1.0, 'recall': 1.0, 'swap_gap': 5.0, 'information': 0.69}
    """
    S = np.asarray(scores, dtype=float)
    n = len(S)
    if S.shape != (n, n) or n < 2 or not np.isfinite(S).all():
        raise InputError(
            f"Scores of shape {S.shape} were given; finite ones of shape (n, n) with n ≥ 2 are needed."
        )
    own = np.diag(S)
    rank = 1 + (own[:, None] < S).sum(1) + ((own[:, None] == S).sum(1) - 1) / 2
    return {
        "rank": float(rank.mean()),
        "recall": float((rank == 1).mean()),
        "swap_gap": float(own.mean() - (S.sum() - own.sum()) / (n * (n - 1))),
        "information": max(0.0, float(np.log(n) + (own - logsumexp(S, axis=1)).mean())),
    }
