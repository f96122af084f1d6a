"""CHES: how similar the two answers of a pair are to the model, and the filter on it (Definition 2 of the paper).

With h_k the state after the final norm that predicts token k of an answer, S = Σ_k h_k and |y| its number of tokens,

    CHES = <S+, S−> − ‖S+‖²          ln-CHES = <S+, S−> / (|y+| |y−|) − ‖S+‖² / |y+|².

Pairs close to or above 0 displace most. No logits are needed, so the unembedding is never run.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from groundshift.adaptation.displacement.pairs import Pairs, Template, encode_pairs
from groundshift.errors import InputError, MissingPart
from groundshift.models.activations import ProbeModel, find_sites, load_model
from groundshift.models.activations.abilities import continuation, shares_cache
from groundshift.models.activations.rows import Row, collate, in_batches
from groundshift.models.activations.sites import Site

__all__ = ["MEASURES", "Kept", "filter_pairs", "opened", "score"]

MEASURES = ("ches", "ln_ches", "edit", "last_inner")


def opened(model: str | Path | ProbeModel, allow_missing: bool = False) -> ProbeModel:
    """A model as it is, or loaded from its directory or id."""
    return model if isinstance(model, ProbeModel) else load_model(model, allow_missing=allow_missing)


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
    model = opened(model, allow_missing)
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
        found = {
            "ches": inner - own,
            "ln_ches": inner / (lengths["chosen"] * lengths["rejected"]) - own / lengths["chosen"] ** 2,
            "last_inner": (a * b).sum(1),
        }
        for name in ("ches", "ln_ches"):
            found[name] = np.where(table["identical"], 0.0, found[name])
        table = table.assign(**{name: found[name] for name in measures if name in found})
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
        total, last = (torch.cat(found) for found in zip(*parts, strict=True))
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


@dataclass(frozen=True)
class Kept:
    """What a filter keeps.

    Attributes
    ----------
    rows : numbers of the pairs kept, in the user's data, int64
    threshold : the largest score kept
    note : what was kept and lost: counts, lengths, and groups
    groups : share of each group before and after, where groups were given
    """

    rows: NDArray[np.int64]
    threshold: float
    note: str
    groups: pd.DataFrame | None = field(default=None, repr=False)


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
    return Kept(chosen["row"].to_numpy(np.int64), float(chosen[by].max()), note, shares)
