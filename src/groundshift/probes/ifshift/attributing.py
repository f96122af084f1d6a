"""Prompts with their instructions, answers, and the attributions of every output token to every prompt token."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from groundshift.errors import InputError, NoGradients
from groundshift.models.activations import ProbeModel, encode, generate, read_rows, token_gradients
from groundshift.models.records import read_records
from groundshift.models.tokens import Chats, Written, options_of, text_of, tokenise

__all__ = ["Attributed", "attributed", "read_prompts"]

Pair = tuple[int, int]


@dataclass(frozen=True)
class Attributed:
    """One prompt as a model read and answered it.

    Attributes
    ----------
    number, set, followed : of the row
    attributions : float (N, M), tokens of the prompt's own words by output tokens
    texts : of the N tokens
    instruction : bool (N,)
    """

    number: int
    set: str
    followed: float | None
    attributions: NDArray[np.float32]
    texts: list[str]
    instruction: NDArray[np.bool_]


def read_prompts(source: Any) -> list[dict[str, Any]]:
    """Rows with a prompt and an instruction; see `groundshift.probes.ifshift.density.instruction_density`."""
    rows = read_rows(source) if isinstance(source, str | Path) else read_records(source)
    checked = []
    for number, row in enumerate(rows):
        own = dict(row) if isinstance(row, Mapping) else {}
        prompt = next((own[k] for k in ("prompt", "messages", "text") if own.get(k) is not None), None)
        if not isinstance(prompt, str | list) or not prompt or not own.get("instruction"):
            raise InputError(
                f"Row {number} has {', '.join(own) or 'only a text'}; a prompt (a text or messages) and its "
                "instruction (a piece of it, or [start, end] in its characters) are needed."
            )
        for name in ("followed", "base_followed"):
            if own.get(name) not in (None, 0, 1):
                raise InputError(f"Row {number}: {name} is {own[name]!r}; 0 or 1 is needed.")
        checked.append({**own, "prompt": prompt})
    return checked


def attributed(
    model: ProbeModel, rows: Sequence[Mapping[str, Any]], own: str, chat: bool, of: Any, most: int, **how: Any
) -> Iterator[Attributed]:
    """Every prompt with its answer, given or written greedily, and its attributions.

    Parameters
    ----------
    own : what stands before ``response`` and ``followed`` in the rows: "" or "base_"
    most : output tokens
    """
    if not getattr(model.tokenizer, "is_fast", False):
        raise InputError(
            f"The tokenizer of {model.source} ({type(model.tokenizer).__name__}) does not say which characters a "
            "token stands for; save the fast one (use_fast=True) beside the model."
        )
    placed = [_placed(model, number, row, chat) for number, row in enumerate(rows)]
    if several := [number for number, one in enumerate(placed) if one.several]:
        warnings.warn(
            f"The instruction stands several times in {len(several)} prompts (first: {several[:5]}): all count.",
            stacklevel=3,
        )
    asked = [one.row for one in placed]
    tokens = tokenise(model.tokenizer, [one.written for one in placed], spans=True)
    _try_gradients(model, tokens[0].prompt[:1])
    given = [row.get(f"{own}response") for row in rows]
    write = [i for i, text in enumerate(given) if text is None]
    recorded = [i for i, text in enumerate(given) if text]
    answers: dict[int, list[int]] = {}
    if write:
        written = generate(model, [asked[i] for i in write], max_new_tokens=most, **how)
        answers |= {i: row["completion_ids"] for i, row in zip(write, written, strict=True)}
    if recorded:
        read = encode(model, [{**asked[i], "completion": given[i]} for i in recorded])
        answers |= {i: row.ids[row.prompt :].tolist() for i, row in zip(recorded, read, strict=True)}
    special = set(model.tokenizer.all_special_ids)
    for i, ids in answers.items():
        end = next((k for k in range(min(most, len(ids)), 0, -1) if ids[k - 1] not in special), 0)
        answers[i] = ids[:end]
    full = [i for i in range(len(rows)) if answers.get(i)]
    answered = [{**asked[i], "completion_ids": answers[i]} for i in full]
    gradients = dict(zip(full, token_gradients(model, answered, of=of, **how) if full else [], strict=True))
    for i, (one, read_as) in enumerate(zip(placed, tokens, strict=True)):
        at = [k for k, spot in enumerate(read_as.spans) if _touches(spot, one.words)]
        mine = np.array([_touches(read_as.spans[k], one.instruction) for k in at], bool)
        if not mine.any():
            raise InputError(f"Row {i}: no token of {model.source} stands for its instruction.")
        attributions = gradients[i][:, at].T if i in gradients else np.zeros((len(at), 0), np.float32)
        starts = [read_as.spans[k][0] for k in at] + [read_as.spans[at[-1]][1]]
        texts = [one.written.prompt[low:high] for low, high in pairwise(starts)]
        name, followed = str(rows[i].get("set") or "all"), rows[i].get(f"{own}followed")
        yield Attributed(i, name, followed, attributions, texts, mine)


def _touches(spot: Pair, those: Sequence[Pair]) -> bool:
    """Whether a token's characters are among those of some ranges."""
    return spot[0] < spot[1] and any(spot[0] < high and spot[1] > low for low, high in those)


@dataclass(frozen=True)
class _Placed:
    """A prompt as a row for `encode` and in characters, and of these its own words and its instruction."""

    row: dict[str, Any]
    written: Written
    words: list[Pair]
    instruction: list[Pair]
    several: bool


def _placed(model: ProbeModel, number: int, row: Mapping[str, Any], chat: bool) -> _Placed:
    given = prompt = row["prompt"]
    if isinstance(prompt, str) and chat and getattr(model.tokenizer, "chat_template", None):
        prompt = [{"role": "user", "content": prompt}]
    options = {k: row[k] for k in ("tools", "chat_template_kwargs") if row.get(k) is not None}
    written, parts = Written(given), [given]
    if isinstance(prompt, list):
        chats = Chats(model.tokenizer, model.source)
        written = chats.prompt(number, prompt, **options_of(number, options))
        parts = [text_of(message) for message in prompt]
    text = written.prompt
    words, after = [], 0
    for part in filter(None, map(str.strip, parts)):
        if (start := text.find(part, after)) >= 0:
            after = start + len(part)
            words.append((start, after))
    words = words or [(0, len(text))]
    wanted, several = row["instruction"], False
    pieces, pairs = [wanted] if isinstance(wanted, str) else list(wanted), []
    for piece in pieces if all(isinstance(p, str) and p for p in pieces) else []:
        starts = [k for low, high in words for k in range(low, high) if text.startswith(piece, k, high)]
        if not starts:
            from rapidfuzz import fuzz

            near = fuzz.partial_ratio_alignment(piece, text)
            nearest = text[near.dest_start : near.dest_end] if near else ""
            raise InputError(
                f"Row {number}: the instruction {piece!r} is not in its prompt; the nearest piece is {nearest!r}."
            )
        several |= len(starts) > 1
        pairs += [(k, k + len(piece)) for k in starts]
    if not pairs:
        pairs = _ranges(number, pieces, given)
        shift = words[0][0] - (len(given) - len(given.lstrip()))
        pairs = [(low + shift, high + shift) for low, high in pairs]
    return _Placed({"prompt": prompt, **options}, written, words, pairs, several)


def _ranges(number: int, pieces: Sequence[Any], prompt: Any) -> list[Pair]:
    try:
        ranges = np.asarray(pieces).reshape(-1, 2)
        fits = ranges.dtype.kind in "iu" and isinstance(prompt, str)
    except (TypeError, ValueError):
        fits = False
    if not fits or not all(0 <= low < high <= len(prompt) for low, high in ranges):
        raise InputError(
            f"Row {number}: its instruction is {pieces!r}; a piece of the prompt, a list of such, or [start, end] "
            "within the characters of a text are needed (a chat takes pieces)."
        )
    return [(int(low), int(high)) for low, high in ranges]


def _try_gradients(model: ProbeModel, ids: list[int]) -> None:
    """One token's gradient, so that weights which give none are told at once."""
    try:
        token_gradients(model, [{"input_ids": ids, "completion_ids": ids}], progress=False)
    except (RuntimeError, NotImplementedError) as error:
        raise NoGradients(
            f"{model.source} gives no gradients with respect to its embeddings ({str(error).splitlines()[0]}); load "
            "weights that are not quantised."
        ) from error
