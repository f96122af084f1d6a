"""What graded answers of one model, or of several on the same images, say about a shift of distribution."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from groundshift.errors import InputError
from groundshift.measures.answers import clustered_interval, summarise

__all__ = ["by_domain", "confidence", "error_consistency", "failures", "halfway", "severity"]


def by_domain(records: pd.DataFrame, source: Iterable[str] = ()) -> pd.DataFrame:
    """Accuracy of each domain, and ``drop``: how much lower it is than on the source domains together.

    Parameters
    ----------
    records : see `groundshift.models.items.grade_items`, with "domain"
    source : domains that a model is taken to know; none gives no drop

    Returns
    -------
    DataFrame of `groundshift.measures.answers.summarise`, with drop, drop_low and drop_high (95 %, bootstrap by image)

    Examples
    --------
    >>> rows = pd.DataFrame({"domain": ["photo"] * 20 + ["sketch"] * 20, "correct": [1.0] * 30 + [0.0] * 10})
    >>> by_domain(rows, ["photo"])[["domain", "mean", "drop"]].values.tolist()
    [['photo', 1.0, nan], ['sketch', 0.5, 0.5]]
    """
    table, source = summarise(records, "domain"), list(source)
    if missing := set(source) - set(table["domain"]):
        raise InputError(
            f"There is no domain {sorted(missing)[0]!r}; there are {', '.join(table['domain'])}."
        )
    if not source:
        return table
    scored = records[records["correct"].notna()]
    known = scored[scored["domain"].isin(source)]["correct"].to_numpy()
    drops = []
    for name, mean in zip(table["domain"], table["mean"], strict=True):
        other = scored[scored["domain"] == name]["correct"].to_numpy()
        if name in source or np.isnan(mean):
            drops.append((np.nan,) * 3)
            continue
        rng = np.random.default_rng(0)
        draws = [rng.binomial(len(x), x.mean(), 1000) / len(x) for x in (known, other)]
        drops.append((known.mean() - other.mean(), *np.quantile(draws[0] - draws[1], [0.025, 0.975])))
    table[["drop", "drop_low", "drop_high"]] = drops
    return table


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


def severity(records: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Accuracy by severity of each change, and what the curve comes to.

    Parameters
    ----------
    records : with "shift" ("none" where the image is as it was) and "severity"

    Returns
    -------
    curves : shift, severity, and the columns of `groundshift.measures.answers.summarise`
    curve : shift, spearman (of accuracy with severity), halfway (see `halfway`), drop (from 0 to the largest severity)
    """
    from scipy.stats import spearmanr

    plain, changed = records[records["shift"] == "none"], records[records["shift"] != "none"]
    curves, rows = [], []
    for name, part in changed.groupby("shift", sort=False):
        own = summarise(pd.concat([plain, part]).assign(shift=name), ["shift", "severity"], min_n=1)
        s, acc = own["severity"].to_numpy(float), own["mean"].to_numpy(float)
        rho = 0.0 if np.ptp(acc) == 0 else float(spearmanr(s, acc).statistic) if len(s) > 2 else np.nan
        chance = float(own["chance"].iloc[0])
        rows.append(
            {"shift": name, "spearman": rho, "halfway": halfway(s, acc, chance), "drop": acc[0] - acc[-1]}
        )
        curves.append(own)
    return (
        (pd.concat(curves, ignore_index=True), pd.DataFrame(rows))
        if curves
        else (pd.DataFrame(), pd.DataFrame())
    )


def confidence(records: pd.DataFrame, bins: int = 10) -> dict[str, float]:
    """What the stated confidence is worth.

    Returns
    -------
    dict
        missing (share of answers without one), ece (expected calibration error over bins of equal mass), auroc (of
        confidence for being right; NaN where all or none are right)

    Examples
    --------
    >>> rows = pd.DataFrame({"correct": [1.0, 0.0, 1.0, 0.0], "confidence": [0.9, 0.4, 0.8, None]})
    >>> {name: round(value, 2) for name, value in confidence(rows, bins=1).items()}
    {'missing': 0.25, 'ece': 0.03, 'auroc': 1.0}
    """
    from sklearn.metrics import roc_auc_score

    rows = records[records["correct"].notna()]
    stated = (
        rows[rows["confidence"].notna()].sort_values("confidence", kind="stable")
        if "confidence" in rows
        else rows[:0]
    )
    result = {"missing": 1 - len(stated) / max(1, len(rows)), "ece": np.nan, "auroc": np.nan}
    if len(stated):
        sure, right = stated["confidence"].to_numpy(float), stated["correct"].to_numpy(float)
        parts = np.array_split(np.arange(len(stated)), min(bins, len(stated)))
        result["ece"] = float(sum(len(p) * abs(sure[p].mean() - right[p].mean()) for p in parts)) / len(
            stated
        )
        if 0 < right.mean() < 1:
            result["auroc"] = float(roc_auc_score(right, sure))
    return result


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
