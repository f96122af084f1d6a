"""CHES: how similar the two answers of a pair are to the model, and the filter on it (Definition 2 of the paper).

With h_k the state after the final norm that predicts token k of an answer, S = Σ_k h_k and |y| its number of tokens,

    CHES = <S+, S−> − ‖S+‖²          ln-CHES = <S+, S−> / (|y+| |y−|) − ‖S+‖² / |y+|².

Pairs close to or above 0 displace most. No logits are needed, so the unembedding is never run.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from groundshift.adaptation.displacement.pairs import Pairs, Template, encode_pairs, read_pairs
from groundshift.errors import InputError, MissingPart
from groundshift.models.activations import ProbeModel, find_sites
from groundshift.models.activations.abilities import continuation, shares_cache
from groundshift.models.activations.pairs import open_model
from groundshift.models.activations.rows import Row, collate, in_batches
from groundshift.models.activations.sites import Site
from groundshift.report import Report, Section, value_text
from groundshift.result import Result
from groundshift.tables import read_table, write_table
from groundshift.writing import json_ready, new_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "MEASURES",
    "Kept",
    "PairScores",
    "filter_pairs",
    "filter_scores",
    "score",
    "score_pairs",
]

MEASURES = ("ches", "ln_ches", "edit", "last_inner")
MOST_ROWS = 12


def score(
    model: str | Path | ProbeModel,
    pairs: Any,
    measures: Sequence[str] = MEASURES,
    *,
    template: Template = "auto",
    max_tokens: int = 8192,
    allow_missing: bool = False,
    progress: bool = True,
) -> pd.DataFrame:
    """Score preference pairs by how much training on them will displace, before training.

    A prompt is read once and its cache serves both answers, where the architecture's cache allows that; of the states
    only the sum and the last are kept, in float32. Under ``torchrun`` each of W processes reads every W-th pair, and
    all return the whole table.

    Parameters
    ----------
    model : directory or id of a causal language model (or of an adapter), or a model in memory; the *initial* one
    pairs : see `encode_pairs`
    measures : "ches", "ln_ches"; and the rivals "edit" (minus the edit distance of the tokens over the longer length)
        and "last_inner" (inner product of the states that predict the two end tokens). Higher: more similar
    max_tokens : of a batch, with its padding
    allow_missing : see `groundshift.models.activations.load_model`

    Returns
    -------
    DataFrame
        A row per pair: ``row``, ``chosen_tokens``, ``rejected_tokens``, ``identical`` and the measures. What was done
        to the data is in ``attrs["notes"]``.

    Raises
    ------
    InputError
        Unknown measures, states that are not finite; see also `encode_pairs` and `load_model`.

    Examples
    --------
    >>> table = score("model", "pairs.jsonl")  # doctest: +SKIP
    >>> table.nlargest(3, "ln_ches")  # the pairs that will displace most  # doctest: +SKIP
    """
    if not measures or (unknown := set(measures) - set(MEASURES)):
        raise InputError(f"The measures {', '.join(sorted(unknown)) if measures else 'none'} were asked for; there are "
                         f"{', '.join(MEASURES)}.")  # fmt: skip
    model = open_model(model, allow_missing=allow_missing)
    data = encode_pairs(model, pairs, template=template)
    rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    mine = data.select(np.arange(rank, len(data), world))
    lengths = {k: np.array([len(y) for y in getattr(mine, k)], np.int64) for k in ("chosen", "rejected")}
    table = pd.DataFrame(
        {"row": mine.rows, **{f"{k}_tokens": n for k, n in lengths.items()}, "identical": mine.identical}
    )
    if set(measures) & {"ches", "ln_ches", "last_inner"} and len(mine):
        total, last = answer_states(model, mine, max_tokens=max_tokens, progress=progress)
        (s, t), (a, b) = total.transpose(1, 0, 2), last.transpose(1, 0, 2)
        inner, own = (s * t).sum(1), (s * s).sum(1)
        values = {
            "ches": inner - own,
            "ln_ches": inner / (lengths["chosen"] * lengths["rejected"]) - own / lengths["chosen"] ** 2,
            "last_inner": (a * b).sum(1),
        }
        for name in ("ches", "ln_ches"):
            values[name] = np.where(table["identical"], 0.0, values[name])
        table = table.assign(**{name: values[name] for name in measures if name in values})
    if "edit" in measures:
        table["edit"] = _edit(model, mine)
    if world > 1:
        from torch import distributed

        if not distributed.is_initialized():
            distributed.init_process_group("gloo")
        parts: list[Any] = [None] * world
        distributed.all_gather_object(parts, table)
        table = pd.concat([part for part in parts if len(part)]).sort_values("row", ignore_index=True)
    table.attrs["notes"] = data.notes
    return table


def answer_states(
    model: ProbeModel, pairs: Pairs, *, max_tokens: int = 8192, progress: bool = True
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The sum of the states that predict an answer's tokens, and the last of them, for both answers of each pair.

    Returns
    -------
    total, last : (n, 2, D)
        Summed in float32; chosen, then rejected.
    """
    (norm,) = find_sites(model, "final_norm")
    width = model.width
    total, last = np.empty((len(pairs), 2, width)), np.empty((len(pairs), 2, width))
    prompts = [Row(i, np.array(x, np.int32), len(x)) for i, x in enumerate(pairs.prompt)]

    def do(numbers: list[int]) -> None:
        answers = [ids for i in numbers for ids in (pairs.chosen[i], pairs.rejected[i])]
        sums, ends = _states(model, norm, [prompts[i] for i in numbers], answers)
        total[numbers] = sums.double().cpu().numpy().reshape(len(numbers), 2, -1)
        last[numbers] = ends.double().cpu().numpy().reshape(len(numbers), 2, -1)

    longest = [max(len(y), len(z)) for y, z in zip(pairs.chosen, pairs.rejected, strict=True)]
    cost = [len(x) + 2 * y for x, y in zip(pairs.prompt, longest, strict=True)]
    in_batches(
        cost, do, max_tokens=max_tokens, describe="scoring pairs", alone=model.stretched, progress=progress
    )
    if bad := pairs.rows[~np.isfinite(total).all((1, 2))].tolist():
        raise InputError(
            f"The states of {len(bad)} pairs are not finite (first: rows {bad[:5]}); load the model as float32 or "
            "bfloat16."
        )
    return total, last


def _states(
    model: ProbeModel, norm: Site, prompts: list[Row], answers: list[list[int]]
) -> tuple[Tensor, Tensor]:
    """Sum and last of the predicting states of two answers for each prompt, (2B, D) each, float32."""
    longest = max(map(len, prompts)) + max(map(len, answers))
    beyond = model.stretched is not None and longest > model.stretched
    if beyond or not shares_cache(model):
        rows = [
            replace(prompts[k // 2], ids=np.array([*prompts[k // 2].ids, *ids], np.int32))
            for k, ids in enumerate(answers)
        ]
        parts = [
            _states_of_whole(model, norm, part) for part in ([[row] for row in rows] if beyond else [rows])
        ]
        total, last = (torch.cat(states) for states in zip(*parts, strict=True))
        return total, last
    seen: list[Tensor] = []
    with torch.inference_mode(), ExitStack() as hooks:
        hooks.callback(norm.hook(lambda state: seen.append(state.float())).remove)
        batch = collate(model, prompts, "left")
        hooks.enter_context(model.reading(batch))
        read = model.body(**batch.inputs, use_cache=True)
        # The prompt's last state predicts the first token; the others are predicted by the tokens before them.
        first = seen.pop()[:, -1].repeat_interleave(2, 0)
        if max(map(len, answers)) == 1:
            return first, first
        inputs, real = continuation(model, batch, read, list(zip(answers[::2], answers[1::2], strict=True)))
        model.body(**inputs)
        later = seen.pop()
    real = real.to(later.device)
    total = first + (later * real[..., None]).sum(1)
    ends = real.sum(1)
    last = later[torch.arange(len(later), device=later.device), (ends - 1).clamp(min=0)]
    return total, torch.where((ends > 0)[:, None], last, first)


def _states_of_whole(model: ProbeModel, norm: Site, rows: list[Row]) -> tuple[Tensor, Tensor]:
    """The same of rows that hold an answer each, without a cache."""
    seen: list[Tensor] = []
    with torch.inference_mode(), ExitStack() as hooks:
        hooks.callback(norm.hook(lambda state: seen.append(state.float())).remove)
        batch = collate(model, rows)
        hooks.enter_context(model.reading(batch))
        model.body(**batch.inputs, use_cache=False)
    states = [state[row.prompt - 1 : len(row) - 1] for state, row in zip(seen[0], rows, strict=True)]
    return torch.stack([s.sum(0) for s in states]), torch.stack([s[-1] for s in states])


def _edit(model: ProbeModel, pairs: Pairs) -> NDArray[np.float64]:
    try:
        from rapidfuzz.distance.Levenshtein import normalized_distance
    except ModuleNotFoundError as error:
        raise MissingPart(error, "The measure edit") from error
    end = getattr(model.tokenizer, "eos_token_id", None)
    both = zip(pairs.chosen, pairs.rejected, strict=True)
    bare = ([ids[:-1] if ids[-1] == end else ids for ids in pair] for pair in both)
    return np.array([-normalized_distance(a, b) for a, b in bare])


@dataclass(frozen=True, repr=False)
class PairScores(Result):
    """How much training on each pair will displace, before any training.

    Attributes
    ----------
    table : of `score`
    notes : what was done to the data
    """

    table: pd.DataFrame
    notes: list[str]

    @property
    def by(self) -> str:
        """The measure that pairs are ranked by: ln_ches where it is there."""
        return "ln_ches" if "ln_ches" in self.table else str(self.table.columns[4])

    def report(self) -> Report:
        """The pairs that will displace most, and how the scores are spread."""
        worst = self.table[~self.table["identical"]].nlargest(MOST_ROWS, self.by)
        most = ""
        if len(worst):
            row, value = int(worst.iloc[0]["row"]), value_text(float(worst.iloc[0][self.by]))
            most = f"; the answers of row {row} are the most alike ({self.by} {value})"
        return Report(
            "displacement", f"{len(self.table):,} pairs", f"{len(self.table):,} pairs are scored{most}.",
            "The higher the score, the more training will make the chosen answer less likely.",
            warnings=self.notes,
            figure=(f"{self.by} of all pairs with two different answers", self._draw),
            sections=(Section("worst", "Which pairs will displace most?", tables={"": worst}),),
        )  # fmt: skip

    def to_frame(self) -> pd.DataFrame:
        """A row per pair, see `score`."""
        return self.table

    def save(self, out: str | Path) -> Path:
        """Write the scores, see `Result.save`; under ``torchrun`` the first process does so alone."""
        return Path(out) if int(os.environ.get("RANK", 0)) else super().save(out)

    def _content(self) -> dict[str, Any]:
        identical = int(self.table["identical"].sum())
        return {"pairs": len(self.table), "identical": identical, "notes": self.notes, "scores": self.table}

    def _write_more(self, folder: Path) -> None:
        write_table(self.table, folder / "scores.parquet")

    def _draw(self, ax: Axes) -> None:
        values = self.table.loc[~self.table["identical"], self.by].dropna()
        ax.hist(values, bins=30, color="#2f7fa8")
        ax.set_xlabel(self.by)
        ax.set_ylabel("pairs")


def score_pairs(
    model: str | Path | ProbeModel,
    pairs: Any,
    *,
    measures: Sequence[str] = MEASURES,
    template: Template = "auto",
    max_tokens: int = 8192,
    allow_missing: bool = False,
    progress: bool = True,
) -> PairScores:
    """Score preference pairs before training: the higher (ln-)CHES, the more they will displace.

    Parameters
    ----------
    model : directory or id of the causal language model before training
    pairs : JSONL, JSON, Parquet or a folder of datasets with prompt, chosen, rejected (texts or messages); see
        `encode_pairs`
    measures : which of ches, ln_ches, edit and last_inner are computed
    template : "auto", "chat" or "none"
        Whether plain texts go through the model's chat template.
    max_tokens : largest number of tokens of a batch, with its padding
    allow_missing : load a model whose files lack tensors, or an adapter on another base than its own

    Raises
    ------
    InputError
        See `score`.
    """
    table = score(
        model, pairs, measures, template=template, max_tokens=max_tokens, allow_missing=allow_missing, progress=progress
    )  # fmt: skip
    return PairScores(table, table.attrs.pop("notes"))


@dataclass(frozen=True, repr=False)
class Kept(Result):
    """What a filter keeps.

    Attributes
    ----------
    rows : numbers of the pairs kept, in the user's data, int64
    threshold : the largest score kept
    note : what was kept and lost: counts, lengths, and groups
    groups : share of each group before and after, where groups were given
    table : every pair's ``row``, ``score`` and whether it is ``kept``
    pairs : the pairs kept, as they were given, where they are known
    """

    rows: NDArray[np.int64]
    threshold: float
    note: str
    groups: pd.DataFrame | None
    table: pd.DataFrame
    pairs: Sequence[Any] | None = None

    def report(self) -> Report:
        """What was kept and what was lost."""
        sections = []
        if self.groups is not None:
            shares = self.groups.rename_axis("group").reset_index()
            sections.append(Section("groups", "What becomes of the groups?", tables={"": shares}))
        return Report(
            "displacement", f"{len(self.table):,} pairs", f"{self.note}.", sections=sections,
            figure=("Scores of the pairs kept and dropped", self._draw),
        )  # fmt: skip

    def to_frame(self) -> pd.DataFrame:
        """A row per pair: its score, and whether it is kept."""
        return self.table

    def save(self, out: str | Path) -> Path:
        """Write the pairs kept to a new .jsonl file, or see `Result.save`."""
        if Path(out).suffix != ".jsonl":
            return super().save(out)
        with new_file(out) as draft:
            self._write_pairs(draft)
        return Path(out)

    def _content(self) -> dict[str, Any]:
        groups = {} if self.groups is None else {"groups": self.groups.to_dict("index")}
        return {"kept": self.rows, "threshold": self.threshold, "note": self.note, **groups}

    def _write_more(self, folder: Path) -> None:
        if self.pairs is not None:
            self._write_pairs(folder / "pairs.jsonl")

    def _write_pairs(self, file: Path) -> None:
        if self.pairs is None:
            raise InputError("The pairs themselves are not known; filter them by filter_scores, or use rows.")
        lines = (json.dumps(json_ready(pair), ensure_ascii=False) for pair in self.pairs)
        file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")

    def _draw(self, ax: Axes) -> None:
        kept, scores = self.table["kept"], self.table["score"]
        parts = [scores[mask].dropna() for mask in (kept, ~kept)]
        ax.hist(parts, bins=30, stacked=True, color=["#2f7fa8", "#9a9a9a"], label=["kept", "dropped"])
        ax.set_xlabel("score")
        ax.set_ylabel("pairs")
        ax.legend()


def filter_scores(
    scores: str | Path,
    pairs: str | Path,
    *,
    by: str = "ln_ches",
    keep: float | None = None,
    drop: float | None = None,
    groups: str | None = None,
) -> Kept:
    """Keep the pairs with the lowest scores; they are written as they were given.

    Parameters
    ----------
    scores : table of scores that was written for these pairs
    pairs : the pairs that were scored, JSONL, JSON, Parquet or a folder of datasets
    by : column of the scores
    keep : share of the pairs to keep, the lowest scores
    drop : share to drop instead, the highest scores
    groups : key of the pairs, such as topic or source, whose shares are told before and after

    Raises
    ------
    InputError
        Scores of other pairs, pairs without the key; see also `filter_pairs`.
    """
    rows, table = read_pairs(pairs), read_table(scores)
    if "row" not in table or "identical" not in table or table["row"].max() >= len(rows):
        raise InputError(
            f"{scores} was not written by `groundshift displacement score` for the pairs in {pairs}."
        )
    if groups and (missing := [i for i in table["row"] if groups not in rows[i]]):
        raise InputError(f"{len(missing)} pairs have no {groups!r} (first: row {missing[0]}).")
    labels = [str(rows[i][groups]) for i in table["row"]] if groups else None
    kept_rows = filter_pairs(table, by, keep=keep, drop=drop, groups=labels)
    return replace(kept_rows, pairs=[rows[i] for i in kept_rows.rows])


def filter_pairs(
    table: pd.DataFrame,
    by: str = "ln_ches",
    *,
    keep: float | None = None,
    drop: float | None = None,
    groups: ArrayLike | None = None,
) -> Kept:
    """Keep the pairs with the lowest scores; identical pairs go first.

    Parameters
    ----------
    table : of `score`
    by : column; compare plain CHES only between answers of one length
    keep, drop : share of all pairs that is kept or dropped; one of the two, above 0 and below 1. The paper keeps 0.05
    groups : a label for each row of the table (topic, source): what becomes of each is told

    Raises
    ------
    InputError
        No such column, no share or two, labels that do not fit, nothing left.

    Examples
    --------
    >>> table = pd.DataFrame({"row": range(4), "ln_ches": [-3.0, 0.1, -1.0, -2.0], "identical": False,
    ...                       "chosen_tokens": [5, 9, 8, 6], "rejected_tokens": [5, 9, 7, 6]})
    >>> kept = filter_pairs(table, keep=0.5)
    >>> kept.rows
    array([0, 3])
    >>> kept.note
    '2 of 4 pairs kept, ln_ches at most -2; median tokens of chosen answers 5.5 (of all: 7)'
    """
    if by not in table:
        raise InputError(f"There is no column {by!r}; the columns are {', '.join(map(str, table.columns))}.")
    share = keep if drop is None else None if keep is not None else 1 - drop
    if share is None or not 0 < share < 1:
        raise InputError(
            f"keep={keep} and drop={drop} were given; one of them, above 0 and below 1, is needed."
        )
    usable = table.index[~table["identical"] & table[by].notna()]
    many = min(max(1, round(share * len(table))), len(usable))
    if not many:
        raise InputError(f"None of {len(table)} pairs has two different answers and a score.")
    chosen = table.loc[usable].nsmallest(many, by).sort_values("row")
    lengths = [f"{part['chosen_tokens'].median():g}" for part in (chosen, table)]
    note = (
        f"{many} of {len(table)} pairs kept, {by} at most {chosen[by].max():.4g}; median tokens of chosen answers "
        f"{lengths[0]} (of all: {lengths[1]})"
    )
    shares = None
    if groups is not None:
        labels = pd.Series(np.asarray(groups), name="group")
        if len(labels) != len(table):
            raise InputError(
                f"{len(labels)} groups were given for {len(table)} pairs; give one per row of the table."
            )
        labels.index = table.index
        before, after = (v.value_counts(normalize=True) for v in (labels, labels[chosen.index]))
        shares = (
            pd.DataFrame({"before": before, "after": after})
            .fillna(0.0)
            .sort_values("before", ascending=False)
        )
        lost = [str(g) for g in shares.index[shares["after"] == 0]]
        note += f"; groups lost altogether: {', '.join(lost[:8]) or 'none'}"
    marked = pd.DataFrame({"row": table["row"], "score": table[by], "kept": table.index.isin(chosen.index)})
    return Kept(chosen["row"].to_numpy(np.int64), float(chosen[by].max()), note, shares, marked)
