"""How good a generator's rows are, against rows that it never saw."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.stats import wasserstein_distance
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import cross_val_predict

from groundshift.adaptation.codsa.regions import Rows
from groundshift.measures.two_sample import auc_interval

__all__ = ["quality"]

FEW = 20
"""Rows of a region that was held out below which it is not judged."""
MOST = 500
CLOSE = 0.01
"""A synthetic row is a copy if it lies nearer to a training row than this share of the held-out rows."""


def quality(
    unseen: Rows, trained: Rows, synthetic: pd.DataFrame, cells: NDArray[np.int64], seed: int = 0
) -> pd.DataFrame:
    """Synthetic rows of each region beside as many held-out ones.

    Parameters
    ----------
    unseen, trained : rows that the generator did not see, and those that trained it
    synthetic : generated rows
    cells : of the generated rows

    Returns
    -------
    DataFrame
        Per region: ``auc`` of a classifier that tells synthetic from held-out rows, with its 95 % interval (0.5: it
        cannot); the mean over columns of the Wasserstein distance in standard deviations; the largest difference of a
        correlation; ``copies``, the share of synthetic rows nearer to a training row than one in a hundred held-out
        rows is, which is 0.01 of a generator that copies nothing. Missing where fewer than 20 rows were held out.
    """
    domain = unseen.of_cells(cells)[0]
    rng, table, code = np.random.default_rng(seed), [], unseen.code
    for region, label in enumerate(unseen.domains):
        drawn = np.flatnonzero(domain == region)
        held = np.flatnonzero(unseen.domain == region)
        size = min(len(drawn), len(held), MOST)
        if size < FEW:
            table.append((label, size, *[np.nan] * 6))
            continue
        real = code.encode(unseen.frame.iloc[rng.choice(held, size, replace=False)])
        fake = code.encode(synthetic.iloc[rng.choice(drawn, size, replace=False)])
        own = code.encode(trained.frame[trained.domain == region])
        gap = [wasserstein_distance(a, b) for a, b in zip(real.T, fake.T, strict=True)]
        table.append(
            (
                label,
                size,
                *_auc(real, fake, seed),
                float(np.mean(gap)),
                _apart(real, fake),
                _copies(real, fake, own),
            )
        )
    names = ["region", "held_out", "auc", "low", "high", "wasserstein", "correlation", "copies"]
    return pd.DataFrame(table, columns=names)


def _auc(real: Any, fake: Any, seed: int) -> tuple[float, float, float]:
    rows, is_fake = np.vstack([real, fake]), np.repeat([0, 1], [len(real), len(fake)])
    trees = HistGradientBoostingClassifier(
        max_iter=40, max_leaf_nodes=7, min_samples_leaf=5, random_state=seed
    )
    scores = cross_val_predict(trees, rows, is_fake, cv=3, method="predict_proba")[:, 1]
    return auc_interval(scores, is_fake == 1)


def _apart(real: Any, fake: Any) -> float:
    """Largest difference of a correlation between two columns that vary in both."""
    varies = (real.std(0) > 0) & (fake.std(0) > 0)
    if varies.sum() < 2:
        return 0.0
    both = [np.corrcoef(rows[:, varies].T) for rows in (real, fake)]
    return float(np.abs(both[0] - both[1]).max())


def _copies(real: Any, fake: Any, trained: Any) -> float:
    near = cKDTree(trained)
    bound = np.quantile(near.query(real)[0], CLOSE)
    return float((near.query(fake)[0] < bound).mean())
