"""How good scores are in each period, and how they decay."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import log_loss

from groundshift.measures.ranking import gauc, group_auc, mrr, ndcg

__all__ = ["FEW", "by_period", "decay", "decay_slope"]

FEW = 10
"""Rows of a label below which a period has no AUC: it would be chance, and weigh as much as any other's."""


def by_period(
    y: NDArray[Any],
    proba: NDArray[Any],
    codes: NDArray[np.int64],
    names: Sequence[str],
    user: Any = None,
    least: int = 1,
) -> pd.DataFrame:
    """A row per period: rows, positives, AUC and log loss; with users also GAUC, NDCG@5, MRR and users left out.

    Parameters
    ----------
    y, proba, codes : shape (n,)
        Labels 0 and 1, probabilities of 1, and periods as positions in ``names``.
    user : shape (n,), optional
        Users without a positive row are left out of NDCG and MRR; their share is ``left_out``.
    least : rows of either label that a period needs for its AUC

    Examples
    --------
    >>> by_period(np.array([0, 1]), np.array([0.2, 0.8]), np.array([0, 0]), ["May"])["auc"].tolist()
    [1.0]
    """
    table = group_auc(y, proba, codes, least=least)
    rows = []
    for code, line in table.iterrows():
        here = codes == code
        row = {"period": names[int(str(code))], **line.to_dict()}
        row["log_loss"] = float(log_loss(y[here], np.clip(proba[here], 1e-7, 1 - 1e-7), labels=[0, 1]))
        if user is not None:
            own = y[here], proba[here], np.asarray(user)[here]
            row |= {"gauc": gauc(*own), "ndcg@5": ndcg(*own), "mrr": mrr(*own)}
            row["left_out"] = float((pd.Series(own[0]).groupby(own[2]).max() == 0).mean())
        rows.append(row)
    return pd.DataFrame(rows).astype({"rows": int, "positives": int})


def decay(auc: Sequence[float]) -> NDArray[np.float64]:
    """AUC of each period less that of the first one.

    >>> decay([0.75, 0.5]).tolist()
    [0.0, -0.25]
    """
    values = np.asarray(auc, dtype=float)
    return values - values[0]


def decay_slope(auc: Sequence[float]) -> float:
    """Change of the AUC a period, by least squares; NaN of fewer than two."""
    values = np.asarray(auc, dtype=float)
    known = np.isfinite(values)
    return float(np.polyfit(np.flatnonzero(known), values[known], 1)[0]) if known.sum() > 1 else float("nan")
