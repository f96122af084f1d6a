"""States of the user's models: at a token of interest or any other position, before and after tuning."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from groundshift.errors import InputError
from groundshift.measures.representations import layerwise_cka
from groundshift.models.activations import Acts, ProbeModel, capture, generate
from groundshift.probes.reprshift.shift import ReprShift
from groundshift.probes.reprshift.words import Unembedding

__all__ = ["RepresentationShift", "pair", "representation_shift", "token_rule", "token_states"]


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
        words = Counter(word for row in rows for word in _told(row).split())
        often = ", ".join(word for word, _ in words.most_common(5))
        raise InputError(
            f"The token {token!r} was never produced. {error} The most frequent words: {often}."
        ) from error


def _told(row: Any) -> str:
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
            f"States of shape {A.shape} at {site}; one state per row is needed (a token, positions='last', or reduce=)."
        )
    rows, first, second = np.intersect1d(before.rows, after.rows, return_indices=True)
    if not len(rows):
        raise InputError("No row is in both captures; before and after must hold the same samples.")
    return A[first], B[second], rows


@dataclass(frozen=True)
class RepresentationShift:
    """What tuning did to representations, in short.

    Attributes
    ----------
    cka : linear centred kernel alignment by site, 1: the same up to rotation and scale
    site : where the concepts are from
    shift : concepts, their shifts, and the held-out arms beside each other
    """

    cka: dict[str, float]
    site: str
    shift: ReprShift

    def to_dict(self) -> dict[str, Any]:
        """As JSON takes it."""
        return {"cka": self.cka, "site": self.site, **self.shift.to_dict()}


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
    >>> found = representation_shift({"a": world.before}, {"a": world.after}, n_concepts=4, random_state=0)
    >>> found.site, 0 < found.cka["a"] < 1, found.shift.held_out_["gain"].idxmax()
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
    return RepresentationShift(layerwise_cka(before, after), site, fitted)
