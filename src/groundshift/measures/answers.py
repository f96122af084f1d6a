"""Statistics of graded answers: intervals that know which items belong together, paired comparisons, and judges.

Records are rows of a table, one for each item: see `groundshift.models.answers.records`. Unparsed answers count as
wrong and are a share of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from groundshift.errors import InputError
from groundshift.measures.intervals import clustered_means
from groundshift.measures.multiple import holm

__all__ = ["Calibration", "calibrate", "clustered_interval", "paired", "paired_within", "summarise"]


def clustered_interval(
    values: ArrayLike,
    groups: ArrayLike | None = None,
    level: float = 0.95,
    seed: int = 0,
    *,
    shares: bool = True,
) -> tuple[float, float]:
    """Percentile bootstrap interval of a mean, resampling whole groups; Wilson's for single yes-or-no items.

    Parameters
    ----------
    values : finite, shape (n,)
    groups : label of each item's group (a question asked in many ways, a picture, a tree); each item by itself if
        left out
    shares : whether values that are all 0 or 1 are answers to yes-or-no items, and not differences of such

    Returns
    -------
    low, high : nan with fewer than two groups

    Examples
    --------
    >>> alone = clustered_interval([1, 0] * 50)
    >>> together = clustered_interval([1, 0] * 50, np.repeat(np.arange(10), 10))
    >>> all_or_none = clustered_interval(np.repeat([1, 0], 50), np.repeat(np.arange(10), 10))
    >>> [round(high - low, 2) for low, high in (alone, together, all_or_none)]
    [0.19, 0.0, 0.6]
    """
    values = np.asarray(values, dtype=float)
    groups = np.arange(len(values)) if groups is None else np.asarray(groups)
    number = len(pd.unique(groups))
    if number < 2:
        return float("nan"), float("nan")
    if shares and number == len(values) and np.isin(values, (0, 1)).all():
        low, high = stats.binomtest(int(values.sum()), len(values)).proportion_ci(level, "wilson")
        return float(low), float(high)
    means = clustered_means(values, groups, np.random.default_rng(seed))
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def summarise(
    records: pd.DataFrame,
    by: str | Sequence[str] = (),
    value: str = "correct",
    *,
    min_n: int = 10,
) -> pd.DataFrame:
    """Mean of a score, overall or by strata, beside what guessing would give.

    Items without a score, as those that ended in an error, are counted apart and are in no mean. Epochs of an item are
    averaged first.

    Parameters
    ----------
    records : with the columns ``value``, "parsed", and, where there are any, "group", "chance" (probability of a random
        answer being right), "target" (for the majority baseline)
    by : columns to split by
    min_n : fewer items than this give a dash (nan) in place of a mean

    Returns
    -------
    DataFrame with a row for each stratum: n (items with a score), errors (records without one), groups, mean, low,
    high, unparsed, chance, majority

    Raises
    ------
    InputError
        A column that is not there, no records at all.
    """
    by = [by] if isinstance(by, str) else list(by)
    _refuse_missing(records, value, by)
    if not len(records):
        raise InputError("There are no records to summarise.")

    def one(part: pd.DataFrame) -> dict[str, Any]:
        every, part = part, _items(part, value, by)
        group = part.get("group")
        scores = part[value].to_numpy(float)
        enough = len(part) >= min_n
        low, high = clustered_interval(scores, group) if enough else (np.nan, np.nan)
        return {
            "n": len(part),
            "errors": int(every[value].isna().sum()),
            "groups": len(part) if group is None else group.nunique(),
            "mean": scores.mean() if enough else np.nan,
            "low": low,
            "high": high,
            "unparsed": 1 - part["parsed"].mean() if "parsed" in part else np.nan,
            "chance": part["chance"].mean() if "chance" in part else np.nan,
            "majority": part["target"].astype(str).value_counts(normalize=True).max() if "target" in part else np.nan,
        }  # fmt: skip

    if not by:
        return pd.DataFrame([one(records)])
    rows = []
    for names, part in records.groupby(by, sort=True, dropna=False):
        rows.append(dict(zip(by, names, strict=True)) | one(part))
    return pd.DataFrame(rows)


def paired(
    before: pd.DataFrame, after: pd.DataFrame, by: str | Sequence[str] = (), value: str = "correct"
) -> pd.DataFrame:
    """Difference of two sets of records on the items for which both have a score.

    Epochs of an item are averaged first. Items are the same if their ids are, and their tasks where both sets have
    some in common.

    Parameters
    ----------
    before, after : records with "id", and "group" if items belong together
    by : columns of ``before`` to split by

    Returns
    -------
    DataFrame with a row for each stratum: n, left_out (items of ``before`` without a score in both), before, after,
    difference, low, high, p, p_holm
        p by sign flips of the groups' summed differences; Holm's adjustment is over the rows.

    Raises
    ------
    InputError
        No item in common, an id that stands twice, a column that is not there, other documents under the same ids.
    """
    by = [by] if isinstance(by, str) else list(by)
    _refuse_missing(before, value, by)
    _refuse_missing(after, value, [])
    joined = "task" in before and "task" in after and bool(set(before["task"]) & set(after["task"]))
    key = ["task", "id"] if joined else ["id"]
    every = before
    before, after = _items(before, value, by), _items(after, value, [])
    for name, records in (("before", before), ("after", after)):
        if doubled := records["id"][records.duplicated(key)].unique()[:3].tolist():
            runs = records["model"].unique()[:3].tolist() if "model" in records else []
            raise InputError(
                f"{name} has more than one record of {doubled}{f' (models {runs})' if len(runs) > 1 else ''}; give the "
                "logs of one run, or average over repeats first."
            )
    hashed = [name for name in ("doc_hash",) if name in before and name in after]
    both = before.merge(after[[*key, value, *hashed]], on=key, suffixes=("", "_after"))
    for name in hashed:
        in_both = both[name].notna() & both[f"{name}_after"].notna()
        if other := both.loc[in_both & (both[name] != both[f"{name}_after"]), "id"].tolist():
            raise InputError(
                f"{len(other)} items (first: {other[:3]}) have the same ids in both runs, and are other "
                "documents; compare runs of one version of the data."
            )
    if not len(both):
        raise InputError("The two sets of records have no item in common; compare runs of the same items.")
    both["difference"] = both[f"{value}_after"].astype(float) - both[value].astype(float)
    both["group"] = both["group"] if "group" in both else both["id"]

    def one(part: pd.DataFrame) -> dict[str, Any]:
        low, high = clustered_interval(part["difference"], part["group"], shares=False)
        sums = part.groupby("group")["difference"].sum().to_numpy()
        return {
            "n": len(part),
            "left_out": 0,
            "before": part[value].astype(float).mean(),
            "after": part[f"{value}_after"].astype(float).mean(),
            "difference": part["difference"].mean(),
            "low": low,
            "high": high,
            "p": _sign_flips(sums),
        }

    parts = [((), both)] if not by else both.groupby(by, sort=True, dropna=False)
    table = pd.DataFrame([dict(zip(by, names, strict=True)) | one(part) for names, part in parts])
    items = every.drop_duplicates([*key, *by])
    counts = items.groupby(by, sort=True, dropna=False).size().reset_index(name="all") if by else None
    total = len(items) if counts is None else table[by].merge(counts, how="left", on=by)["all"]
    table["left_out"] = total - table["n"]
    table["p_holm"] = holm(table["p"])
    return table


def paired_within(
    records: pd.DataFrame, column: str, steps: Mapping[str, tuple[str, str]], key: str, value: str = "correct"
) -> pd.DataFrame:
    """Differences between levels of a column of one run, on what the levels have in common; see `paired`.

    Parameters
    ----------
    records : see `summarise`
    column : such as the protocol under which a question was asked
    steps : name → the levels before and after; a step of which a level is missing is left out
    key : what is the same at every level, such as the question

    Returns
    -------
    DataFrame with a row for each step, which is named in the column "effect"; Holm's adjustment is over the steps

    Examples
    --------
    >>> records = pd.DataFrame({"how": ["a", "b"] * 3, "question": [1, 1, 2, 2, 3, 3], "correct": [0, 1] * 3})
    >>> paired_within(records, "how", {"gain": ("a", "b")}, "question")[["effect", "difference"]].values.tolist()
    [['gain', 1.0]]
    """
    own = dict(list(records.groupby(column)))
    sides: tuple[list[pd.DataFrame], list[pd.DataFrame]] = [], []
    for name, levels in steps.items():
        for side, level in zip(sides, levels if set(levels) <= set(own) else (), strict=False):
            side.append(own[level].assign(effect=name, id=name + " " + own[level][key].astype(str)))
    if not sides[0]:
        return pd.DataFrame()
    table = paired(pd.concat(sides[0]), pd.concat(sides[1]), "effect", value)
    order = {name: k for k, name in enumerate(steps)}
    return table.sort_values("effect", key=lambda names: names.map(order), ignore_index=True)


def _refuse_missing(records: pd.DataFrame, value: str, by: Sequence[str]) -> None:
    if missing := {value, *by} - set(records):
        raise InputError(f"The records have no {sorted(missing)}; they have {', '.join(map(str, records))}.")


def _items(records: pd.DataFrame, value: str, by: Sequence[str]) -> pd.DataFrame:
    """Items with a score, a row each: the mean over their epochs."""
    scored = records[records[value].notna()]
    if not {"id", "epoch"} <= set(records) or scored["epoch"].nunique() < 2:
        return scored
    key = list(dict.fromkeys([*(c for c in ("task", "model", "scorer") if c in scored), "id", *by]))
    if not scored.duplicated(key).any() or scored.duplicated([*key, "epoch"]).any():
        return scored
    averaged = {value, "parsed", "chance"}
    how = {c: "mean" if c in averaged else "first" for c in scored if c not in key}
    return scored.groupby(key, sort=False, dropna=False, as_index=False).agg(how)


def _sign_flips(sums: NDArray[np.float64]) -> float:
    if not sums.any() or len(sums) < 2:
        return 1.0
    test = stats.permutation_test(
        (sums,), np.mean, permutation_type="samples", alternative="two-sided", n_resamples=9999,
        rng=np.random.default_rng(0),
    )  # fmt: skip
    return float(test.pvalue)


# Judges --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Calibration:
    """What a judge is worth.

    Attributes
    ----------
    agreement, low, high : share of items on which it says what the labels say, with a 95 % interval
    kappa : Cohen's, agreement beyond chance
    confusion : labels by verdicts
    retest : standard deviation, between repeats, of the mean score it gives the whole set; nan without repeats
    """

    agreement: float
    low: float
    high: float
    kappa: float
    confusion: pd.DataFrame
    retest: float

    def resolves(self, margin: float) -> bool:
        """Whether a difference of this size between two means is more than the judge's own wavering (1.96 √2 sd)."""
        return bool(abs(margin) > 1.96 * np.sqrt(2) * self.retest)


def calibrate(
    judge: Callable[[Any], Any],
    items: Sequence[Any],
    labels: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    repeats: int = 3,
) -> Calibration:
    """Judge labelled items several times.

    Parameters
    ----------
    judge : item → verdict, comparable with the labels
    items, labels : n of each
    groups : see `clustered_interval`
    repeats : at least 2 to measure the spread between repeats; a deterministic judge has none

    Raises
    ------
    InputError
        Other numbers of items and labels, fewer than two.

    Examples
    --------
    >>> texts = ["good", "so good", "bad", "not good"]
    >>> calibration = calibrate(lambda text: "good" in text, texts, [True, True, False, False])
    >>> calibration.agreement, calibration.retest, calibration.resolves(0.01)
    (0.75, 0.0, True)
    """
    from sklearn.metrics import cohen_kappa_score

    truth = np.asarray(labels)
    if len(items) != len(truth) or len(truth) < 2:
        raise InputError(
            f"{len(items)} items and {len(truth)} labels were given; as many of both, at least two."
        )
    verdicts = np.array([[judge(item) for item in items] for _ in range(repeats)])
    hits = verdicts[0] == truth
    low, high = clustered_interval(hits, groups)
    numeric = (
        (verdicts == truth).mean(1) if verdicts.dtype.kind not in "fiub" else verdicts.astype(float).mean(1)
    )
    return Calibration(
        float(hits.mean()), low, high, float(cohen_kappa_score(truth, verdicts[0])),
        pd.crosstab(pd.Series(truth, name="label"), pd.Series(verdicts[0], name="verdict")),
        float(numeric.std(ddof=1)) if repeats > 1 else float("nan"),
    )  # fmt: skip
