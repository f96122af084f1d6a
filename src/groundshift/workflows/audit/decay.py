"""What did the user's own model lose, and where? By kind of shift, by column, and by segment.

DISDE (Cai, Namkoong, Yadlowsky 2023) compares rows of both domains on the distribution that they share, of density
s ∝ p q / (p + q), where p and q are those of the columns before and after. With R(x) the mean loss at x,

    E_q[R_after] - E_p[R_before] = (E_s - E_p)[R_before] + E_s[R_after - R_before] + (E_q - E_s)[R_after]

are the columns' way to what is shared, the target given the columns, and the columns' way from there. Each mean comes
from the losses and from a model of them, so that the errors of that model and of the density ratio multiply (influence
functions of overlap weights: Crump, Hotz, Imbens, Mitnik 2009).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats
from scipy.special import logit
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeRegressor

from groundshift.report import Section
from groundshift.tables import some
from groundshift.workflows.audit.findings import Findings
from groundshift.workflows.audit.losses import LEAST_EFFECTIVE, Contrast, contrasts
from groundshift.workflows.audit.models import Design, design, fit, halves
from groundshift.workflows.audit.overlap import LEAST_OVERLAP, overlap
from groundshift.workflows.audit.own_model import OwnLoss
from groundshift.workflows.audit.result import Kind
from groundshift.workflows.audit.table import AuditTable

__all__ = ["by_column", "draw_parts", "propensity", "section", "segments", "terms"]

Array = NDArray[np.float64]
Rows = NDArray[np.bool_]
MOST_ROWS, COLUMN_ROWS = 10_000, 4000
SPLITS, PAIRS = 12, 1000
LEAST_SEGMENT, MOST_SEGMENTS = 30, 6
"""Rows of a segment after, in each half; segments that a tree may have."""
COLUMNS, GIVEN = "columns", "target given the columns"
BEFORE, AFTER = "columns, from before to what is shared", "columns, from there to after"
QUESTION = "What did your model lose, and where?"


# By kind -------------------------------------------------------------------------------------------------


def propensity(X: Design, after: Rows, rng: np.random.Generator) -> Array:
    """Probability of "after" for each row if both sides had equally many, e = q / (p + q); shape (rows,).

    Of models that have not seen the row. How far the trees are believed beyond the linear model is learnt within the
    rows that these have seen: what trees find by chance would make the shared distribution narrower than it is.
    """
    half, chance = _halves(after, rng), np.empty(len(after))
    for held in (half, ~half):
        seen, side = X.take(~held), after[~held]
        inner, log_odds = _halves(side, rng), np.empty((len(side), 2))
        for part in (inner, ~inner):
            log_odds[part] = _log_odds(seen.take(~part), side[~part], seen.take(part), rng)
        weigh = LogisticRegression(C=100.0).fit(log_odds, side)
        chance[held] = weigh.predict_proba(_log_odds(seen, side, X.take(held), rng))[:, 1]
    return _balanced(chance, after)


def _log_odds(seen: Design, side: Rows, rows: Design, rng: np.random.Generator) -> Array:
    """What the linear model says, and what the trees on top of it say, shape (rows, 2)."""
    model = fit(seen, side.astype(float), 2, rng)
    return np.column_stack(
        [model.line.decision_function(rows.linear), logit(model.predict(rows)[:, 1].clip(1e-3, 1 - 1e-3))]
    )


def _halves(after: Rows, rng: np.random.Generator) -> Rows:
    return halves(after.astype(np.int64), rng)


def _balanced(chance: Array, after: Rows) -> Array:
    old, new = (1 - chance) / (~after).sum(), chance / after.sum()
    return new / (old + new)


def terms(loss: Array, X: Design, after: Rows, e: Array, rng: np.random.Generator) -> pd.DataFrame:
    """The change of the mean loss and the three terms that it is the sum of, with 95 % intervals.

    Parameters
    ----------
    loss : of each row of both sides, shape (rows,)
    X : their features
    after : which of them are after
    e : `propensity`

    Returns
    -------
    term, change, low, high; rows "change", `COLUMNS` (the first and last term together), `BEFORE`, `GIVEN`, `AFTER`.
    """
    half, expected = _halves(after, rng), np.empty((2, len(loss)))
    for held in (half, ~half):
        for k in (0, 1):
            seen = ~held & (after == k)
            expected[k, held] = fit(X.take(seen), loss[seen], 0, rng).predict(X.take(held))[:, 0]
    weight = np.where(after, 1 / after.sum(), 1 / (~after).sum())
    shared = (after - e) ** 2  # its mean is that of e (1 - e), and follows e where that is wrong
    means, influence = np.empty(4), np.empty((4, len(loss)))  # of before, shared before, shared after, after
    for k, side in ((0, ~after), (3, after)):
        means[k] = loss[side].mean()
        influence[k] = weight * side * (loss - means[k])
    for k, own in ((1, ~after * e), (2, after * (1 - e))):
        numerator = own * (loss - expected[k - 1]) + shared * expected[k - 1]
        means[k] = weight @ numerator / (weight @ shared)
        influence[k] = weight * (numerator - means[k] * shared) / (weight @ shared)
    signs = {"change": (-1, 0, 0, 1), COLUMNS: (-1, 1, -1, 1), BEFORE: (-1, 1, 0, 0), GIVEN: (0, -1, 1, 0),
             AFTER: (0, 0, -1, 1)}  # fmt: skip
    size, psi = np.array([*signs.values()]) @ means, np.array([*signs.values()]) @ influence
    half_width = 1.96 * np.sqrt(sum(s.sum() * psi[:, s].var(1, ddof=1) for s in (after, ~after)))
    return pd.DataFrame(
        {"term": [*signs], "change": size, "low": size - half_width, "high": size + half_width}
    )


# By column -----------------------------------------------------------------------------------------------


def by_column(
    loss: Array, X: Design, names: Sequence[str], after: Rows, rng: np.random.Generator
) -> pd.DataFrame:
    """Shapley values of the columns in what their shift does to the mean loss.

    What there is more of before than in the shared distribution is paired with what there is less of, and so is the
    shared distribution with after; a row becomes its partner column by column, in random order, and a model of the loss
    (before on the first way, after on the second) says what each step changes. The values add up to the columns' part
    of the change; a column that the loss does not depend on gets nothing, though others that it hangs together with
    have moved. Models are learnt on a half and asked about the other; the spread over `SPLITS` such splits is the
    standard error on all rows, as that of half-samples is (on the safe side: models of half the rows vary more).

    Returns
    -------
    column, change, low, high (adjusted for the number of columns); largest first.
    """
    kept = [rng.permutation(np.flatnonzero(side))[:COLUMN_ROWS] for side in (after, ~after)]
    rows = np.sort(np.concatenate(kept))
    loss, X, after = loss[rows], X.take(rows), after[rows]
    parts = np.zeros((SPLITS, len(names)))
    for r in range(SPLITS):
        half = _halves(after, rng)
        e = _balanced(fit(X.take(half), after[half].astype(float), 2, rng).predict(X)[:, 1], after)
        for side, weight, sign in ((~after, e, 1.0), (after, 1 - e, -1.0)):
            seen, rest = half & side, np.flatnonzero(~half & side)
            more = weight[rest] / weight[rest].sum() - 1 / len(rest)  # of the shared distribution than here
            mass = np.maximum(more, 0).sum()
            if mass > 0:
                start, end = (
                    X.take(rng.choice(rest, PAIRS, p=np.maximum(m, 0) / mass)) for m in (-more, more)
                )
                parts[r] += sign * mass * _walk(fit(X.take(seen), loss[seen], 0, rng), start, end, names, rng)
    error = stats.t.isf(0.025 / len(names), SPLITS - 1) * parts.std(0, ddof=1)
    report = pd.DataFrame({"column": names, "change": parts.mean(0)})
    report = report.assign(low=report["change"] - error, high=report["change"] + error)
    return report.sort_values("change", key=abs, ascending=False, kind="stable").reset_index(drop=True)


def _walk(model: Any, start: Design, end: Design, names: Sequence[str], rng: np.random.Generator) -> Array:
    """Mean change of a model's answer by column, as each row of ``start`` becomes its partner in a random order."""
    place = [list(names).index(source) for source in start.source]
    order = rng.permuted(np.tile(np.arange(len(names)), (PAIRS, 1)), axis=1)
    moved, parts = np.zeros((PAIRS, len(names)), dtype=bool), np.zeros(len(names))
    was = model.predict(start)[:, 0]
    for step in order.T:
        moved[np.arange(PAIRS), step] = True
        trees = np.where(moved, end.trees, start.trees)
        linear = np.where(moved[:, place], end.linear, start.linear)
        now = model.predict(replace(start, trees=trees, linear=linear))[:, 0]
        np.add.at(parts, step, (now - was) / PAIRS)
        was = now
    return parts


# By segment ----------------------------------------------------------------------------------------------


def segments(
    loss: Array, table: AuditTable, after: Rows, rng: np.random.Generator, level: float = 0.05
) -> pd.DataFrame:
    """Weak segments: rows that lose more than others do, and account for more of the change than their number does.

    Of a segment with shares π and losses L before and after, π_after (L_after - L̄) - π_before (L_before - L̄) is its
    part of the change, L̄ being the mean before; over all segments these add up to the change. A shallow tree finds
    segments on one half of the rows: its target is L - L̄ of rows after, and its negative of rows before. The other half
    tells whether the part is larger than the segment's share of the rows would have it, adjusted for the number of
    segments.

    Returns
    -------
    segment, rows before, rows after (shares), loss before, loss after, change (the part), low, high; largest first.
    """
    values, words = _readable(table)
    half = _halves(after, rng)
    excess = np.where(after, 1, -1) * (loss - loss[half & ~after].mean())
    balance = np.where(after, 1 / after.sum(), 1 / (~after).sum()) * len(loss)
    tree = DecisionTreeRegressor(
        max_depth=3,
        max_leaf_nodes=MOST_SEGMENTS,
        min_samples_leaf=max(LEAST_SEGMENT, half.sum() // 20),
        random_state=0,
    ).fit(values[half], excess[half], sample_weight=balance[half])
    member = tree.decision_path(values[~half]).toarray().astype(bool)
    nodes = [k for k in range(1, member.shape[1]) if (after[~half] & member[:, k]).sum() >= LEAST_SEGMENT]
    z = stats.norm.isf(level / 2 / max(len(nodes), 1))
    measured = {k: _measured(loss[~half], member[:, k], after[~half], z) for k in nodes}
    taken: list[int] = []
    for k in sorted((k for k in nodes if measured[k]), key=lambda k: -measured[k][0]):
        if not (
            member[:, taken] & member[:, [k]]
        ).any():  # of segments within each other, what stands out most
            taken.append(k)
    report = pd.DataFrame(
        [(_path(tree.tree_, k, words, values), *measured[k][1:]) for k in taken],
        columns=[
            "segment",
            "rows before",
            "rows after",
            "loss before",
            "loss after",
            "change",
            "low",
            "high",
        ],
    )
    return report.sort_values("change", ascending=False, kind="stable").reset_index(drop=True)


def _measured(loss: Array, inside: Rows, after: Rows, z: float) -> tuple[float, ...]:
    """How far it stands out, shares of rows, losses, the part and its interval; empty if the segment is not weak."""
    old, new = inside[~after].mean(), inside[after].mean()
    base, total = loss[~after].mean(), loss[after].mean() - loss[~after].mean()
    sign = np.where(after, 1, -1)
    # By row, what its side's mean of is the part, and the part beyond the segment's share of the change.
    part = sign * (inside + np.where(after, 0.0, new - old)) * (loss - base)
    beyond = part - (old + new) / 2 * sign * loss - total * inside / 2
    error, width = (
        z * np.hypot(*(v[s].std(ddof=1) / np.sqrt(s.sum()) for s in (after, ~after))) for v in (beyond, part)
    )
    change, now = part[after].mean() + part[~after].mean(), loss[after & inside].mean()
    more = change - (old + new) / 2 * total
    if now <= loss[after].mean() or change <= width or more <= error:
        return ()
    was = loss[~after & inside].mean() if old else np.nan
    return more / error, old, new, was, now, change, change - width, change + width


def _readable(table: AuditTable) -> tuple[Array, list[tuple[str, str]]]:
    """Numbers as they are and an indicator for each word of a category; of each its column and its word, or ""."""
    pieces: list[tuple[Array, tuple[str, str]]] = []
    for name, column, nominal in zip(table.names, table.values.T, table.nominal, strict=True):
        if nominal:
            pieces += [
                ((column == code).astype(float), (name, word)) for code, word in enumerate(table.levels[name])
            ]
        else:
            pieces.append((np.clip(column, -1e38, 1e38), (name, "")))
    return np.column_stack([values for values, _ in pieces]), [words for _, words in pieces]


def _path(tree: Any, node: int, words: list[tuple[str, str]], values: Array) -> str:
    """The conditions that lead to a node; of each column and side the last one."""
    words_of: dict[tuple[str, str], str] = {}
    missing: dict[str, bool] = {}  # whether rows without a value come along
    while node:
        right = node in tree.children_right
        parent = int(np.flatnonzero((tree.children_right if right else tree.children_left) == node)[0])
        j, cut = int(tree.feature[parent]), float(tree.threshold[parent])
        (name, word), there = words[j], values[~np.isnan(values[:, j]), j]
        if word:
            words_of.setdefault((name, word), f"{name} {'=' if right else '≠'} {word}")
        else:
            shown = f"{np.floor(cut):.0f}" if (there == np.floor(there)).all() else f"{cut:.4g}"
            words_of.setdefault((name, "<>"[right]), f"{name} {'>' if right else '≤'} {shown}")
            follows = len(there) < len(values) and bool(tree.missing_go_to_left[parent]) is not right
            missing[name] = missing.get(name, True) and follows
        node = parent
    equal = {name for (name, word), text in words_of.items() if text == f"{name} = {word}"}
    kept = [
        (name, text) for (name, _), text in reversed(words_of.items()) if not (name in equal and "≠" in text)
    ]
    last = {name: n for n, (name, _) in enumerate(kept) if missing.get(name)}
    return " and ".join(text + " (or missing)" * (last.get(name) == n) for n, (name, text) in enumerate(kept))


# The section ---------------------------------------------------------------------------------------------


def section(own: OwnLoss, f: Findings, verdicts: Sequence[Kind], rng: np.random.Generator) -> Section:
    """The section of the report; ``verdicts`` on the kinds are what its sentences do not contradict."""
    if f.changed is None:
        answer = f"That takes labels of {f.whole.target_name} in at least two domains."
        return Section("decay", QUESTION, answer, (f"The loss would be the {own.name} of {own.how}.",))
    kept = np.sort(rng.permutation(len(f.labelled))[:MOST_ROWS])
    table, X = f.labelled.take(kept), f.labelled_X.take(kept)
    values = f.whole.values[np.searchsorted(f.whole.row, table.row)]
    if np.isnan(values).any():  # the model saw what is missing, as it is in each domain
        table, X = replace(table, values=values), design(values, table.nominal, table.names)
    split = [_split(c, own.values[table.row], X, f, rng) for c in contrasts(table)]
    loss = pd.DataFrame([row for row, *_ in split])
    row, parts, c = split[int(loss["change"].to_numpy().argmax())]
    rows = c.before | c.after
    columns, here, after = pd.DataFrame(), own.values[table.row[rows]], c.after[rows]
    if np.isfinite(row["by columns"]):
        columns = by_column(here, X.take(rows), table.names, after, rng)
    weak = segments(here, table.take(rows), after, rng)
    for frame in (parts, columns, weak):
        if len(frame):
            frame["share of the change"] = frame["change"] / row["change"] if _clear(row) else np.nan
    tables = {
        f"Loss of your model ({own.name}), and what its change goes with": loss,
        f"The change in {c.name}, part by part ({own.name})": parts,
        f"The columns' part in {c.name}, by column": columns,
        f"Weak segments in {c.name}": weak,
    }
    shown = pd.concat([parts, columns.head(6).rename(columns={"column": "term"})])
    return Section(
        "decay", QUESTION, _answer(row, own, table.target_name, verdicts, weak), _notes(own, f, columns, weak),
        {caption: frame for caption, frame in tables.items() if len(frame)},
        {f"What the change of the {own.name} in {c.name} goes with":
         lambda ax: draw_parts(ax, shown.iloc[:, 0], shown, f"change of the {own.name}")},
        {"loss": own.name, "of": own.how, "domain": c.name},
    )  # fmt: skip


def _split(
    c: Contrast, loss: Array, X: Design, f: Findings, rng: np.random.Generator
) -> tuple[dict[str, Any], pd.DataFrame, Contrast]:
    """What one domain after comes to: its row of the table, and the terms, which are open without overlap."""
    rows = c.before | c.after
    after = c.after[rows]
    e = propensity(X.take(rows), after, rng)
    parts = terms(loss[rows], X.take(rows), after, e, rng)
    effective = min(w.sum() ** 2 / (w**2).sum() for w in (e[~after], 1 - e[after]))
    shared = overlap(np.column_stack([1 - e, e]), after.astype(np.int64))
    if not (f.overlap and f.overlap.enough) or effective < LEAST_EFFECTIVE or shared < LEAST_OVERLAP:
        parts.loc[1:, ["change", "low", "high"]] = np.nan
    row: dict[str, Any] = {"domain": c.name, "before": loss[c.before].mean(), "after": loss[c.after].mean()}
    for name, term in (("", "change"), ("by columns", COLUMNS), ("by relation", GIVEN)):
        size, low, high = parts.loc[parts["term"] == term, ["change", "low", "high"]].to_numpy()[0]
        row |= {name or term: size, f"{name} low".strip(): low, f"{name} high".strip(): high}
    return row, parts, c


def _clear(row: dict[str, Any], name: str = "") -> bool:
    """Whether an interval leaves out 0."""
    return bool(row[f"{name} low".strip()] > 0 or row[f"{name} high".strip()] < 0)


def _answer(row: dict[str, Any], own: OwnLoss, y: str, verdicts: Sequence[Kind], weak: pd.DataFrame) -> str:
    start = (
        f"In {row['domain']} your model has a {own.name} of {row['after']:.3g} instead of {row['before']:.3g} "
        f"({row['change']:+.2g}, interval {row['low']:+.2g} to {row['high']:+.2g})"
    )
    end = f". Most is lost where {weak['segment'].iloc[0]}." if len(weak) else "."
    if not _clear(row):
        return f"{start}, which may be chance{end}"
    if not np.isfinite(row["by columns"]):
        return f"{start}; the domains overlap too little to say how much of that goes with the columns{end}"
    concept, *others = verdicts
    columns = f"{row['by columns']:+.2g} goes with the columns"
    if _clear(row, "by columns") and not any(kind.found for kind in others):
        columns += " (of which no shift was found)"
    given = f"{row['by relation']:+.2g} with what the same columns say about {y}"
    if concept.explained_by:
        given += f" (as far as {concept.explained_by} shift moves it)"
    elif concept.found and not _clear(row, "by relation"):
        given += " (it changed, which costs this model nothing that can be told)"
    elif not concept.found and _clear(row, "by relation"):
        given = (
            f"{row['by relation']:+.2g} is left over, which is not put down to a changed relation: the test of it "
            "found none, and a model that answers otherwise than it did, or uses columns that were not compared, "
            "leaves the same trace"
        )
    return f"{start}: {columns}, {given}{end}"


def _notes(own: OwnLoss, f: Findings, columns: pd.DataFrame, weak: pd.DataFrame) -> tuple[str, ...]:
    notes = [
        f"The loss is the {own.name} of {own.how}. Rows that both domains have are compared with each other; the rest "
        "of the change goes with the columns (DISDE)."
    ]
    if len(columns):
        clear = columns[(columns["low"] > 0) | (columns["high"] < 0)].head(5).to_dict("records")
        named = "; ".join(
            f"{r['column']} {r['change']:+.2g} ({r['low']:+.2g} to {r['high']:+.2g})" for r in clear
        )
        notes.append(f"Of the columns' part: {named or 'no single column can be told from chance'}.")
    notes += [
        f"Where {name}: {now:.3g} instead of {was:.3g} ({new:.0%} of rows, {old:.0%} before), {part:+.2g} of it all."
        for name, old, new, was, now, part, *_ in weak.itertuples(index=False)
    ]
    if f.whole.unseen:
        notes.append(f"Not compared, so that nothing is put down to them: {some(f.whole.unseen, 8)}.")
    return tuple(notes)


def draw_parts(ax: Any, names: Sequence[Any] | pd.Series[Any], parts: pd.DataFrame, label: str) -> None:
    """Parts of a change with their intervals, one below the other."""
    y = np.arange(len(parts))[::-1]
    ax.axvline(0, color="#9aa5ad", linewidth=1)
    ax.hlines(y, parts["low"], parts["high"], color="#2f6f8f", linewidth=2)
    ax.scatter(parts["change"], y, color="#2f6f8f", s=24, zorder=3)
    ax.set_yticks(y, [str(name)[:40] for name in names])
    ax.set_xlabel(label)
