"""Comparisons over subjects as the benchmark makes them (arXiv:2505.14596, evaluation; arXiv:2507.16497)."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from sklearn.metrics import f1_score

from groundshift.benchmarks.csts.distances import distance as distance_called
from groundshift.errors import InputError
from groundshift.worlds.correlation_patterns import patterns

__all__ = ["compare_correlations", "compare_variants", "distance_criteria", "level_sets"]

SAME = 1e-8
"""Differences smaller than this count as zero."""


def compare_variants(
    first: ArrayLike,
    second: ArrayLike,
    *,
    comparisons: int = 1,
    alternative: Literal["two-sided", "greater", "less"] = "two-sided",
    alpha: float = 0.05,
) -> dict[str, float]:
    """Paired Wilcoxon signed-rank test over subjects, with Bonferroni, effect size and achieved power.

    Parameters
    ----------
    first, second : one number per subject, shape (subjects,)
    comparisons : how many such tests are made; p is multiplied by it
    alternative : "greater" asks whether ``first`` is the larger
    alpha : level after Bonferroni, for the power

    Returns
    -------
    dict with statistic, p, p_bonferroni, effect_size (r = ±|z|/√n over differences that are not zero), power
    (of a normal approximation at the measured effect), n

    Examples
    --------
    >>> result = compare_variants([0.8, 0.9, 0.7, 0.8, 0.9, 0.8], [0.5, 0.6, 0.3, 0.6, 0.4, 0.4], alternative="greater")
    >>> result["p"], result["n"]
    (0.015625, 6.0)
    """
    x, y = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    if x.shape != y.shape or x.ndim != 1:
        raise InputError(f"{x.shape} and {y.shape} numbers were given; give one of each for every subject.")
    difference = np.where(np.abs(x - y) < SAME, 0.0, x - y)
    nonzero = difference[difference != 0]
    n = len(nonzero)
    if n == 0:
        return {
            "statistic": 0.0,
            "p": 1.0,
            "p_bonferroni": 1.0,
            "effect_size": 0.0,
            "power": alpha / comparisons,
            "n": 0.0,
        }
    test = stats.wilcoxon(nonzero, alternative=alternative)
    two_sided = stats.wilcoxon(nonzero).pvalue
    z = stats.norm.isf(two_sided / 2)
    sign = np.sign(stats.rankdata(np.abs(nonzero)) @ np.sign(nonzero))
    level = alpha / comparisons
    critical = stats.norm.isf(level / 2 if alternative == "two-sided" else level)
    return {
        "statistic": float(test.statistic),
        "p": float(test.pvalue),
        "p_bonferroni": float(min(1.0, comparisons * test.pvalue)),
        "effect_size": float(sign * z / np.sqrt(n)),
        "power": float(stats.norm.sf(critical - z)),
        "n": float(n),
    }


def compare_correlations(first: ArrayLike, second: ArrayLike) -> dict[str, float]:
    """Paired t test between correlations, one per subject, on Fisher's z scale.

    For index against Jaccard: is one index better correlated with quality than another?

    >>> round(compare_correlations([0.9, 0.92, 0.88], [0.7, 0.75, 0.72])["mean difference in z"], 3)
    0.563
    """
    x, y = (np.asarray(r, dtype=float) for r in (first, second))
    if x.shape != y.shape or len(x) < 2:
        raise InputError(
            f"{len(x)} and {len(y)} correlations were given; give one of each for two subjects or more."
        )
    if max(np.abs(x).max(), np.abs(y).max()) >= 1:
        raise InputError("A correlation of ±1 or beyond was given; Fisher's z is infinite there.")
    z = np.arctanh(x) - np.arctanh(y)
    test = stats.ttest_1samp(z, 0.0)
    interval = test.confidence_interval(0.95)
    return {
        "mean difference in z": float(z.mean()),
        "low": float(interval.low),
        "high": float(interval.high),
        "t": float(test.statistic),
        "p": float(test.pvalue),
    }


def level_sets(n_variates: int = 3) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """How many steps lie between each two patterns: d = Σ |P_x - P_y|; ids (K,) and levels (K, K)."""
    known = patterns(n_variates)
    P = np.array([pattern.canonical for pattern in known.values()])
    return np.array(list(known)), np.abs(P[:, None] - P[None]).sum(axis=2).astype(np.int64)


def distance_criteria(
    achieved: ArrayLike, cluster: ArrayLike, distances: Iterable[str], *, bins: int = 50
) -> pd.DataFrame:
    """The six criteria of a distance measure, for segments of known patterns.

    Parameters
    ----------
    achieved : correlations of the segments, shape (N, q)
    cluster : their pattern ids, shape (N,)
    distances : names, see `groundshift.benchmarks.csts.distances`
    bins : of the entropies

    Returns
    -------
    DataFrame, one row per distance
        level_0: mean distance of segments to patterns of level set 0 (their own), relative to the mean over all;
        near 0 is good. ordered: whether the mean distance rises from each level set to the next, with a
        Bonferroni-adjusted interval above 0. rate: mean rise per level, relative likewise. entropy: Shannon
        entropy of all normalised distances, high is good. entropy_within: mean entropy inside level sets, low is
        good. f1: macro F1 of 1-nearest-neighbour to the relaxed patterns.
    """
    A, cluster = np.atleast_2d(np.asarray(achieved, dtype=float)), np.asarray(cluster)
    if A.shape[1] != 3:
        raise InputError(
            f"Vectors of {A.shape[1]} entries were given; the criteria are defined for three variates."
        )
    ids, levels = level_sets()
    unknown = sorted(set(cluster.tolist()) - set(ids.tolist()))
    if unknown:
        raise InputError(f"Cluster id {unknown[0]} is no pattern; the ids are {', '.join(map(str, ids))}.")
    relaxed = np.array([pattern.relaxed for pattern in patterns().values()])
    level = levels[np.searchsorted(ids, cluster)]
    rows = {}
    for name in distances:
        D = distance_called(name)(A, relaxed)
        rows[name] = {
            **_order(D, level),
            "entropy": _entropy(D / D.max(), bins),
            "entropy_within": float(
                np.mean([_entropy(D[level == k] / D.max(), bins) for k in np.unique(level)])
            ),
            "f1": float(f1_score(cluster, ids[D.argmin(axis=1)], average="macro")),
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def _order(D: NDArray[np.float64], level: NDArray[np.int64]) -> dict[str, float]:
    groups = [D[level == k] for k in np.unique(level)]
    means = np.array([group.mean() for group in groups])
    alpha = 0.05 / (len(groups) - 1)
    rises = [
        stats.ttest_ind(b, a, equal_var=False).confidence_interval(1 - alpha).low > 0
        for a, b in itertools.pairwise(groups)
    ]
    overall = D.mean()
    return {
        "level_0": float(means[0] / overall),
        "ordered": float(all(rises)),
        "rate": float(np.diff(means).mean() / overall),
    }


def _entropy(values: NDArray[np.float64], bins: int) -> float:
    counts, _ = np.histogram(values, bins=bins, range=(0.0, 1.0))
    return float(stats.entropy(counts, base=2))
