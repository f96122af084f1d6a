"""Preference data in the forms that TRL takes, as token ids."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from groundshift.errors import InputError
from groundshift.models.activations import ProbeModel
from groundshift.models.records import read_records
from groundshift.models.tokens import (
    Chats,
    Preference,
    Tokens,
    Written,
    closed,
    options_of,
    preferences,
    tokenise,
)

__all__ = ["Pairs", "encode_pairs", "read_pairs"]

Template = Literal["auto", "chat", "none"]
ANSWERS = ("chosen", "rejected")


@dataclass(frozen=True)
class Pairs:
    """Preference pairs as the model reads them.

    Attributes
    ----------
    rows : numbers of the pairs in the user's data, int64 (n,)
    prompt, chosen, rejected : token ids; answers end with what the chat template ends a turn with, or the end token,
        which is scored
    identical : whether the two answers are the same, bool (n,)
    lengths : tokens of each prompt with its longer answer, int64 (n,)
    notes : what was done to the data
    """

    rows: NDArray[np.int64]
    prompt: list[list[int]]
    chosen: list[list[int]]
    rejected: list[list[int]]
    notes: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def identical(self) -> NDArray[np.bool_]:
        return np.array([a == b for a, b in zip(self.chosen, self.rejected, strict=True)], bool)

    @property
    def lengths(self) -> NDArray[np.int64]:
        parts = zip(self.prompt, self.chosen, self.rejected, strict=True)
        return np.array([len(x) + max(len(y), len(z)) for x, y, z in parts], np.int64)

    def select(self, places: ArrayLike) -> Pairs:
        """Some of the pairs: positions or a mask."""
        picked = np.arange(len(self))[np.asarray(places)]
        parts = {k: [getattr(self, k)[i] for i in picked] for k in ("prompt", *ANSWERS)}
        return replace(self, rows=self.rows[picked], **parts)

    def answers(self, which: str) -> list[dict[str, Any]]:
        """Prompts with an answer, "chosen" or "rejected", as rows of `groundshift.models.activations`."""
        return [
            {"input_ids": x, "completion_ids": y}
            for x, y in zip(self.prompt, getattr(self, which), strict=True)
        ]


def read_pairs(source: Any) -> list[dict[str, Any]]:
    """The pairs of a JSONL, JSON or Parquet file, a folder saved by ``datasets``, a data set, a table or a list.

    Raises
    ------
    InputError
        No such file, another format, no rows.

    Examples
    --------
    >>> read_pairs([{"prompt": "2 + 2 =", "chosen": " 4", "rejected": " 5"}])[0]["chosen"]
    ' 4'
    """
    rows = read_records(source)
    pairs = [row for row in rows if isinstance(row, dict)]
    if len(pairs) != len(rows):
        raise InputError(
            f"{len(pairs)} of {len(rows)} rows are mappings; give pairs with chosen and rejected, and a prompt."
        )
    return pairs


def encode_pairs(
    model: ProbeModel, source: Any, *, template: Template = "auto", end: bool = True, long: bool = False
) -> Pairs:
    """Token ids of preference pairs.

    A pair has ``prompt``, ``chosen`` and ``rejected``: texts, or lists of messages, which go through the tokenizer's
    chat template (with ``tools`` and ``chat_template_kwargs`` of the row). Without ``prompt`` it is what the two
    answers begin with in common, in whole words; a prompt that the answers repeat is taken off them. The ids of a
    prompt are those that it has by itself: the boundary is that of generation, and never moves.

    Parameters
    ----------
    source : anything `read_pairs` takes, or `Pairs`, which pass
    template : of plain texts. "chat": they are a user's message and its answers; "none": they are as the model reads
        them; "auto": refused where the tokenizer has a chat template, since both would be possible
    end : put the end token behind answers that do not end with a special token or with their template's end of turn
    long : keep pairs that are longer than the model reads

    Raises
    ------
    InputError
        Rows of another form, empty answers, plain texts for a chat model, a chat that the template refuses, no pair
        that fits the model's context.

    Warns
    -----
    UserWarning
        Pairs whose prompt and answer would be tokenised otherwise if they were one text.
    """
    if isinstance(source, Pairs):
        return source
    if template not in ("auto", "chat", "none"):
        raise InputError(f"template={template!r} was given; choose auto, chat or none.")
    rows = read_pairs(source)
    pairs, notes = preferences(rows)
    chats = Chats(model.tokenizer, model.source)
    written = [
        text
        for i, (row, pair) in enumerate(zip(rows, pairs, strict=True))
        for text in _written(model, chats, i, row, pair, template, end)
    ]
    tokens = tokenise(model.tokenizer, written)
    prompt = [answer.prompt for answer in tokens[::2]]
    bare = [i for i, ids in enumerate(prompt) if not ids]
    if bare:
        raise InputError(
            f"{len(bare)} prompts have no tokens (first: rows {bare[:5]}), so that nothing predicts their answers' "
            "first token; give a prompt, or a tokenizer with a first token of its own."
        )
    answers = [answer.answer for answer in tokens]
    notes += _notes(tokens, chats)
    if end:
        notes += _ended(model, answers, [text.closed for text in written])
    if silent := sorted({k // 2 for k, ids in enumerate(answers) if not ids}):
        raise InputError(f"{len(silent)} pairs have an answer without tokens (first: rows {silent[:5]}).")
    encoded = Pairs(np.arange(len(rows)), prompt, answers[::2], answers[1::2], notes)
    limit = model.context
    if limit is not None and not long:
        fitting = np.flatnonzero(encoded.lengths <= limit)
        if len(fitting) < len(rows):
            encoded.notes.append(
                f"{len(rows) - len(fitting)} of {len(rows)} pairs are longer than the {limit} tokens the model reads: "
                "dropped"
            )
        if not len(fitting):
            raise InputError(f"None of {len(rows)} pairs fits the {limit} tokens that the model reads.")
        encoded = encoded.select(fitting)
    if same := int(encoded.identical.sum()):
        encoded.notes.append(
            f"{same} pairs have identical answers: their CHES is 0, and training leaves them out"
        )
    return encoded


def _written(
    model: ProbeModel,
    chats: Chats,
    number: int,
    row: Mapping[str, Any],
    pair: Preference,
    template: Template,
    end: bool,
) -> tuple[Written, ...]:
    """The prompt with each of the two answers."""
    prompt, *answers = pair
    if isinstance(prompt, str):
        has = bool(getattr(model.tokenizer, "chat_template", None))
        if template == "none" or (template == "auto" and not has):
            ends = [closed(model.tokenizer, answer) if end else (answer, False) for answer in answers]
            return tuple(Written(prompt, answer, closed=ended) for answer, ended in ends)
        if template == "auto":
            raise InputError(
                f"Row {number} holds plain texts, and {model.source} is a chat model; say template='chat' to make them "
                "a user's message and its answers, or 'none' to take them as they are."
            )
        prompt = [{"role": "user", "content": prompt}]
        answers = [[{"role": "assistant", "content": answer}] for answer in answers]
    if not prompt:
        raise InputError(f"Row {number} has no message that both answers follow; give a prompt.")
    return chats.answered(number, prompt, *answers, **options_of(number, row))


def _notes(tokens: Sequence[Tokens], chats: Chats) -> list[str]:
    """What had to be done to put prompts and answers together; of words across the boundary a warning, too."""
    sentences = [
        (
            {k // 2 for k, t in enumerate(tokens) if t.repeated},
            "held a beginning-of-sequence token of their own: it stands once",
        ),
        (
            chats.rewritten,
            "have a prompt that the chat template writes otherwise once it is answered; it is read as for generation",
        ),
        (
            chats.altered,
            "have a message that the chat template does not write as it was given (it may leave out its thinking)",
        ),
        (
            {k // 2 for k, t in enumerate(tokens) if t.merged},
            "have a word across the boundary of prompt and answer; their ids are put together as in generation",
        ),
    ]
    notes = [
        f"{len(rows)} of {len(tokens) // 2} pairs (first: rows {sorted(rows)[:5]}) {what}"
        for rows, what in sentences
        if rows
    ]
    if any(t.merged for t in tokens):
        warnings.warn(notes[-1], stacklevel=4)
    return notes


def _ended(model: ProbeModel, answers: list[list[int]], closed: Sequence[bool]) -> list[str]:
    """Put the end token behind answers without an end, in place."""
    end = getattr(model.tokenizer, "eos_token_id", None)
    open_ = [ids for ids, done in zip(answers, closed, strict=True) if not done and ids[-1:] != [end]]
    if end is None:
        return ["the tokenizer has no end token: answers are scored up to their last token"] if open_ else []
    for ids in open_:
        ids.append(end)
    return [f"the end token was put behind {len(open_)} of {len(answers)} answers"] if open_ else []
