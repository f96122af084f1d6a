"""States of the user's models: at a token of interest or any other position, before and after tuning."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from groundshift.errors import InputError
from groundshift.measures.representations import layerwise_cka
from groundshift.models.activations import Acts, ProbeModel, capture, generate, load_model, read_rows
from groundshift.models.activations.pairs import is_adapter
from groundshift.probes.reprshift.concepts import Kind
from groundshift.probes.reprshift.shift import Average, ReprShift
from groundshift.probes.reprshift.words import Unembedding
from groundshift.report import Report, Section
from groundshift.result import Result

__all__ = [
    "RepresentationShift",
    "compare_models",
    "pair",
    "representation_shift",
    "token_rule",
    "token_states",
]


def token_rule(token: str) -> str:
    """The position rule of the state from which ``token`` was predicted, at its first occurrence, in any of its forms.

    >>> token_rule("Dog")
    'predicts:Dog|dog'
    """
    return "predicts:" + "|".join(dict.fromkeys((token, token.capitalize(), token.lower())))


def token_states(
    model: ProbeModel,
    rows: Sequence[Any],
    sites: str | Sequence[str] = "final_norm",
    *,
    token: str | None = None,
    positions: str | int = "last",
    max_new_tokens: int = 0,
    progress: bool = True,
    **options: Any,
) -> Acts:
    """States of a model for rows of text, or image and text.

    Parameters
    ----------
    rows, sites : see `groundshift.models.activations.capture`
    token : a word; the states are those that predicted its first occurrence, and rows without it are left out. Its
        capitalised and lower-case forms count, all pieces of a word must be there.
    positions : any rule of one position per row, where no token is given
    max_new_tokens : let the model continue each row first, greedily, and look for the token in what it wrote
    options : of `capture`

    Raises
    ------
    InputError
        The token is in no row: its encodings, and the most frequent words.
    """
    if max_new_tokens:
        rows = generate(model, rows, max_new_tokens=max_new_tokens, progress=progress)
    rule = positions if token is None else token_rule(token)
    try:
        return capture(model, rows, sites, rule, progress=progress, **options)
    except InputError as error:
        if token is None or "has the positions wanted" not in str(error):
            raise
        words = Counter(word for row in rows for word in _text(row).split())
        often = ", ".join(word for word, _ in words.most_common(5))
        raise InputError(
            f"The token {token!r} was never produced. {error} The most frequent words: {often}."
        ) from error


def _text(row: Any) -> str:
    if isinstance(row, str):
        return row
    return str(row.get("completion") or row.get("text") or row.get("prompt") or "")


def pair(before: Acts, after: Acts, site: str) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.int64]]:
    """States of the rows that both captures hold, one state each: A and B (M, D), and the numbers of the rows.

    Raises
    ------
    InputError
        Other tokenizers, several states per row, or no row in common.
    """
    if before.meta["tokenizer"] != after.meta["tokenizer"]:
        raise InputError(
            "The two models have different tokenizers, so a shift between their states is not defined; compare a model "
            "with its own fine-tune."
        )
    A, B = before[site], after[site]
    if A.ndim != 2 or not all(len(states) == len(acts.rows) for states, acts in ((A, before), (B, after))):
        raise InputError(
            f"Hidden states of shape {A.shape} at {site}; one state per row is needed (a token, "
            "positions='last', or reduce=)."
        )
    rows, first, second = np.intersect1d(before.rows, after.rows, return_indices=True)
    if not len(rows):
        raise InputError("No row is in both captures; before and after must hold the same samples.")
    return A[first], B[second], rows


@dataclass(frozen=True, repr=False)
class RepresentationShift(Result):
    """What tuning did to the hidden states of a model.

    Attributes
    ----------
    cka : linear centred kernel alignment by site, 1: the same up to rotation and scale
    site : where the concepts are from
    shift : concepts, their shifts, and the held-out arms beside each other
    rows : how many rows were read; `shift` holds those that both models have
    """

    cka: dict[str, float]
    site: str
    shift: ReprShift
    rows: int

    def report(self) -> Report:
        """The report of the shift, with the alignment of the sites."""
        report = self.shift.report()
        cka = pd.DataFrame({"site": list(self.cka), "linear CKA": list(self.cka.values())})
        sites = Section(
            "sites", "How alike are the hidden states?",
            f"{len(self.shift.ids_):,} of {self.rows:,} rows in both at {self.site}; linear CKA is 1 where they are "
            "the same up to rotation and scale.", tables={"": cka},
        )  # fmt: skip
        return replace(report, subject=self.site, sections=(sites, *report.sections))

    def to_frame(self) -> pd.DataFrame:
        """A row per concept, see `ReprShift.to_frame`."""
        return self.shift.to_frame()

    def _content(self) -> dict[str, Any]:
        return {"cka": self.cka, "site": self.site, "rows": self.rows, **self.shift.to_dict()}

    def _write_more(self, folder: Path) -> None:
        """The concepts as `ReprShift.load` reads them."""
        self.shift._write_more(folder)


def representation_shift(
    before: Mapping[str, ArrayLike],
    after: Mapping[str, ArrayLike],
    *,
    site: str | None = None,
    unembedding: Unembedding | tuple[Any, Any] | None = None,
    **settings: Any,
) -> RepresentationShift:
    """Two captures of the same samples compared: layer-wise CKA, and concepts and shifts at one site.

    Parameters
    ----------
    before, after : site → states (M, D) of the same samples, or what `capture` gave (rows are then matched)
    site : of the concepts; the last one by default
    settings : of `ReprShift`; ``standardise`` is on by default but at ``final_norm``

    Raises
    ------
    InputError
        No site in common; see also `pair` and `ReprShift.fit`.

    Examples
    --------
    >>> from groundshift.worlds.gaussian_shift import gaussian_shift
    >>> world = gaussian_shift(np.random.default_rng(0), 400, clusters=4)
    >>> result = representation_shift({"a": world.before}, {"a": world.after}, n_concepts=4, random_state=0)
    >>> result.site, 0 < result.cka["a"] < 1, result.shift.held_out_["gain"].idxmax()
    ('a', True, 'concept')
    """
    sites = [name for name in before if name in after]
    if not sites or (site is not None and not (site in before and site in after)):
        raise InputError(
            f"The site {site or 'of the concepts'} is not in both: {', '.join(before)}; {', '.join(after)}."
        )
    if site is not None:  # by its own name, where a block was counted from the end
        site = next(name for name in sites if before[name] is before[site])
    ids = None
    if isinstance(before, Acts) and isinstance(after, Acts):
        pairs = {name: pair(before, after, name) for name in sites}
        ids = (pairs[sites[0]][2],) * 2
        before = {name: a for name, (a, _, _) in pairs.items()}
        after = {name: b for name, (_, b, _) in pairs.items()}
    site = site or sites[-1]
    settings = {"standardise": site != "final_norm", **settings}
    fitted = ReprShift(**settings).fit(before[site], after[site], ids=ids, unembedding=unembedding)
    return RepresentationShift(layerwise_cka(before, after), site, fitted, len(fitted.ids_))


def compare_models(
    base: str | Path,
    tuned: str | Path,
    data: str | Path,
    *,
    token: str | None = None,
    positions: str = "last",
    site: str = "final_norm",
    method: Kind = "kmeans",
    n_concepts: int = 20,
    average: Average = "mean",
    max_new_tokens: int = 0,
    device: str = "auto",
    allow_missing: bool = False,
    random_state: int = 0,
    progress: bool = True,
) -> RepresentationShift:
    """Compare a model's concepts before and after tuning.

    One model is in memory at a time; of the first only its hidden states are kept.

    Parameters
    ----------
    base : directory or id of the model before tuning
    tuned : the model after tuning, or a LoRA adapter on the base
    data : a JSONL file of rows with text, messages, or image and text
    token : the word whose predicting hidden states are compared; rows without it are left out
    positions : which token of a row is compared where no word is given, such as last or first
    site : where the hidden states are read: final_norm, or resid_post.L of block L
    method : "kmeans", "snmf", "pca", "svd" or "simple"
        How concepts are found.
    n_concepts : number of concepts
    average : "mean", "median" or "trimmed"
        How the shift of a concept is made of those of its samples.
    max_new_tokens : let each model continue the rows first, by so many tokens
    device, allow_missing : see `groundshift.models.activations.load_model`

    Raises
    ------
    InputError
        Files or models that cannot be read; the word is in no row; too few rows for the concepts.
    """
    rows = read_rows(data)

    def read(name: str | Path, under: str | Path | None = None) -> tuple[Acts, Unembedding]:
        model = load_model(name, base=under, device=device, allow_missing=allow_missing)
        acts = token_states(
            model, rows, site, token=token, positions=positions, max_new_tokens=max_new_tokens, progress=progress
        )  # fmt: skip
        return acts, Unembedding.of(model, next(iter(acts)))

    before, _ = read(base)
    after, unembedding = read(tuned, base if is_adapter(tuned) else None)
    result = representation_shift(
        before, after, unembedding=unembedding, method=method, n_concepts=n_concepts, average=average,
        random_state=random_state,
    )  # fmt: skip
    return replace(result, rows=len(rows))
