"""What graded answers of one model, or of several on the same images, say about a shift of distribution."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from groundshift.errors import InputError
from groundshift.measures.answers import summarise
from groundshift.measures.errors import halfway

__all__ = ["by_domain", "severity"]


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


def severity(records: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Accuracy by severity of each change, and what the curve comes to.

    Parameters
    ----------
    records : with "shift" ("none" where the image is as it was) and "severity"

    Returns
    -------
    curves : shift, severity, and the columns of `groundshift.measures.answers.summarise`
    curve : shift, spearman (of accuracy with severity), halfway (see `groundshift.measures.errors.halfway`), drop (from
        0 to the largest severity)
    """
    from scipy.stats import spearmanr

    plain, changed = records[records["shift"] == "none"], records[records["shift"] != "none"]
    curves, rows = [], []
    for name, part in changed.groupby("shift", sort=False):
        own = summarise(pd.concat([plain, part]).assign(shift=name), ["shift", "severity"], min_n=1)
        s, acc = own["severity"].to_numpy(float), own["mean"].to_numpy(float)
        rho = 0.0 if np.ptp(acc) == 0 else float(spearmanr(s, acc).statistic) if len(s) > 2 else np.nan
        chance = float(own["chance"].iloc[0])
        # A model that is no better than chance has nothing to lose.
        half = halfway(s, acc, chance) if own["low"].iloc[0] > chance else np.nan
        rows.append({"shift": name, "spearman": rho, "halfway": half, "drop": acc[0] - acc[-1]})
        curves.append(own)
    if not curves:
        return pd.DataFrame(), pd.DataFrame()
    return pd.concat(curves, ignore_index=True), pd.DataFrame(rows)
