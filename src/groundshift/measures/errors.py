"""What is wrong with a classifier's answers: on which items, beside another classifier, and how sure it is of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from groundshift.measures.answers import clustered_interval

__all__ = ["error_consistency", "failures", "halfway", "stated_confidence"]


def error_consistency(first: ArrayLike, second: ArrayLike) -> dict[str, float]:
    """Whether two models are right and wrong on the same images: Cohen's kappa of their errors (Geirhos and others
    2020, 2006.16736).

    Parameters
    ----------
    first, second : whether each is right, shape (n,), on the same images

    Returns
    -------
    dict
        observed (share on which both are right or both wrong), expected (by chance), kappa ((observed - expected) /
        (1 - expected); NaN where both are always right or always wrong)

    Examples
    --------
    >>> error_consistency([1, 1, 0, 0], [1, 1, 0, 0])["kappa"]
    1.0
    """
    a, b = np.asarray(first, float), np.asarray(second, float)
    observed, p, q = float((a == b).mean()), float(a.mean()), float(b.mean())
    expected = p * q + (1 - p) * (1 - q)
    kappa = (observed - expected) / (1 - expected) if expected < 1 else float("nan")
    return {"observed": observed, "expected": expected, "kappa": kappa}


def failures(first: ArrayLike, other: ArrayLike, twin: ArrayLike | None = None) -> dict[str, float]:
    """What another model is right on where the first one is wrong, beside what the first one's twin is right on there.

    A model is never right on its own failures, so that any other looks better on them: a copy of it that was trained
    or asked in another way, its twin, says by how much. ``rescue`` is what the other model has beyond it.

    Parameters
    ----------
    first, other, twin : whether each is right, shape (n,), on the same images

    Returns
    -------
    dict
        failures (images that the first one gets wrong), rate, rate_low, rate_high (of the other one there; Wilson),
        twin (the twin's rate), rescue, rescue_low, rescue_high (95 %, paired bootstrap)

    Examples
    --------
    >>> rates = failures([1, 1, 0, 0, 0, 0], other=[1, 1, 1, 1, 1, 0], twin=[0, 1, 1, 1, 0, 0])
    >>> rates["rate"], rates["twin"], rates["rescue"]
    (0.75, 0.5, 0.25)
    """
    wrong = np.asarray(first, float) == 0
    there = np.asarray(other, float)[wrong]
    rate = float(there.mean()) if len(there) else np.nan
    row: dict[str, float] = {"failures": int(wrong.sum()), "rate": rate}
    row["rate_low"], row["rate_high"] = clustered_interval(there) if len(there) > 1 else (np.nan, np.nan)
    if twin is not None and len(there):
        copy = np.asarray(twin, float)[wrong]
        row |= {"twin": float(copy.mean()), "rescue": rate - float(copy.mean())}
        row["rescue_low"], row["rescue_high"] = clustered_interval(there - copy, shares=False)
    return row


def stated_confidence(correct: ArrayLike, confidence: ArrayLike, bins: int = 10) -> dict[str, float]:
    """What the confidence that a model states is worth.

    Parameters
    ----------
    correct : 0 or 1, shape (n,)
    confidence : 0 to 1; NaN where none is stated, shape (n,)
    bins : of equal mass, for the calibration error

    Returns
    -------
    dict
        missing (share without one), ece (expected calibration error), auroc (of confidence for being right; NaN where
        all or none are right)

    Examples
    --------
    >>> {name: round(value, 2) for name, value in stated_confidence([1, 0, 1, 0], [0.9, 0.4, 0.8, np.nan], 1).items()}
    {'missing': 0.25, 'ece': 0.03, 'auroc': 1.0}
    """
    from sklearn.metrics import roc_auc_score

    right, sure = np.asarray(correct, float), np.asarray(confidence, float)
    stated = np.isfinite(sure)
    result = {"missing": float(1 - stated.mean()) if len(sure) else np.nan, "ece": np.nan, "auroc": np.nan}
    if stated.any():
        order = np.argsort(sure[stated], kind="stable")
        right, sure = right[stated][order], sure[stated][order]
        parts = np.array_split(np.arange(len(sure)), min(bins, len(sure)))
        gaps = [len(part) * abs(sure[part].mean() - right[part].mean()) for part in parts]
        result["ece"] = float(sum(gaps) / len(sure))
        if 0 < right.mean() < 1:
            result["auroc"] = float(roc_auc_score(right, sure))
    return result


def halfway(severities: ArrayLike, accuracies: ArrayLike, chance: float) -> float:
    """The severity at which accuracy has fallen half of the way from severity 0 to chance, by linear interpolation.

    Returns
    -------
    float
        NaN where it is never reached.

    Examples
    --------
    >>> halfway([0, 1, 2], [1.0, 0.8, 0.4], chance=0.2), halfway([0, 1], [1.0, 0.8], chance=0.2)
    (1.5, nan)
    """
    s, acc = np.asarray(severities, float), np.asarray(accuracies, float)
    level = (acc[0] + chance) / 2
    for k in range(1, len(s)):
        if acc[k] <= level < acc[k - 1]:
            return float(s[k - 1] + (acc[k - 1] - level) / (acc[k - 1] - acc[k]) * (s[k] - s[k - 1]))
    return float("nan")
