"""Preference data in the forms that TRL takes, as token ids."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from groundshift.errors import InputError
from groundshift.models.activations import ProbeModel

__all__ = ["Pairs", "encode_pairs", "read_pairs"]

Template = Literal["auto", "chat", "none"]
ANSWERS = ("chosen", "rejected")


@dataclass(frozen=True)
class Pairs:
    """Preference pairs as the model reads them.

    Attributes
    ----------
    rows : numbers of the pairs in the user's data, int64 (n,)
    prompt, chosen, rejected : token ids; answers end with the end token, which is scored
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
    """The pairs of a JSONL, JSON or parquet file, a folder saved by ``datasets``, a data set, a table or a list.

    Raises
    ------
    InputError
        No such file, another format, no rows.

    Examples
    --------
    >>> read_pairs([{"prompt": "2 + 2 =", "chosen": " 4", "rejected": " 5"}])[0]["chosen"]
    ' 4'
    """
    if isinstance(source, str | Path):
        source = _from_file(Path(source))
    if hasattr(source, "to_dict") and hasattr(source, "columns"):
        source = source.to_dict("records")
    rows = [dict(row) for row in source if isinstance(row, Mapping)]
    if not rows or len(rows) != len(source):
        raise InputError(
            f"{len(rows)} of {len(source)} rows are mappings; give pairs with chosen and rejected, and a prompt."
        )
    return rows


def _from_file(path: Path) -> Any:
    if path.is_dir():
        from datasets import DatasetDict, load_from_disk

        try:
            found = load_from_disk(str(path))
        except FileNotFoundError as error:
            raise InputError(f"{path} is no data set saved by datasets.save_to_disk.") from error
        if isinstance(found, DatasetDict):
            if len(found) > 1:
                raise InputError(
                    f"{path} has the splits {', '.join(found)}; name one: {path}/{next(iter(found))}."
                )
            return next(iter(found.values()))
        return found
    if not path.is_file():
        raise InputError(
            f"{path} is no file; give preference pairs as JSONL or parquet, or a folder of datasets."
        )
    if path.suffix in (".parquet", ".pq"):
        import pyarrow.parquet as pq

        return pq.read_table(path).to_pylist()
    if path.suffix not in (".jsonl", ".json"):
        raise InputError(f"{path} is neither JSONL nor parquet; save the pairs in one of the two.")
    text = path.read_text(encoding="utf-8")
    try:
        if path.suffix == ".json":
            return json.loads(text)
        return [json.loads(line) for line in text.splitlines() if line.strip()]
    except json.JSONDecodeError as error:
        raise InputError(f"{path} cannot be read as {path.suffix[1:].upper()}: {error}.") from error


def encode_pairs(
    model: ProbeModel, source: Any, *, template: Template = "auto", end: bool = True, long: bool = False
) -> Pairs:
    """Token ids of preference pairs.

    A pair has ``prompt``, ``chosen`` and ``rejected``: texts, or lists of messages, which go through the tokenizer's
    chat template. Without ``prompt`` it is what the two answers begin with in common, in whole words. The ids of prompt
    and answer are put together as they are: the boundary between them is that of generation, and never moves.

    Parameters
    ----------
    source : anything `read_pairs` takes, or `Pairs`, which pass
    template : of plain texts. "chat": they are a user's message and its answers; "none": they are as the model reads
        them; "auto": refused where the tokenizer has a chat template, since both would be possible
    end : put the end token behind answers that have none
    long : keep pairs that are longer than the model reads

    Raises
    ------
    InputError
        Rows of another form, empty answers, plain texts for a chat model, no pair that fits the model's context.

    Warns
    -----
    UserWarning
        Pairs whose prompt and answer would be tokenised otherwise if they were one text.
    """
    if isinstance(source, Pairs):
        return source
    if template not in ("auto", "chat", "none"):
        raise InputError(f"template={template!r} was given; choose auto, chat or none.")
    texts = [_texts(model, i, row, template) for i, row in enumerate(read_pairs(source))]
    empty = [i for i, (_, chosen, rejected, _) in enumerate(texts) if not (chosen and rejected)]
    if empty:
        raise InputError(
            f"{len(empty)} pairs have an empty answer (first: rows {empty[:5]}); leave them out."
        )
    chats = [t[3] for t in texts]
    # The tokenizer's special tokens stand in front of plain prompts; a chat template writes its own.
    prompt = _ids(model, [t[0] for t in texts], [not chat for chat in chats])
    answers = {
        which: _ids(model, [str(t[1 + k]) for t in texts], [False] * len(texts))
        for k, which in enumerate(ANSWERS)
    }
    notes = _boundaries(model, texts, prompt, answers)
    bare = [i for i, ids in enumerate(prompt) if not ids]
    if bare:
        raise InputError(
            f"{len(bare)} prompts have no tokens (first: rows {bare[:5]}), so that nothing predicts their answers' "
            "first token; give a prompt, or a tokenizer with a first token of its own."
        )
    if end:
        notes += _ended(model, answers)
    made = Pairs(np.arange(len(texts)), prompt, answers["chosen"], answers["rejected"], notes)
    limit = model.context
    if limit is not None and not long:
        kept = np.flatnonzero(made.lengths <= limit)
        if len(kept) < len(texts):
            made.notes.append(
                f"{len(texts) - len(kept)} of {len(texts)} pairs are longer than the {limit} tokens the model reads: "
                "dropped"
            )
        if not len(kept):
            raise InputError(f"None of {len(texts)} pairs fits the {limit} tokens that the model reads.")
        made = made.select(kept)
    if same := int(made.identical.sum()):
        made.notes.append(
            f"{same} pairs have identical answers: their CHES is 0, and training leaves them out"
        )
    return made


def _texts(
    model: ProbeModel, number: int, row: Mapping[str, Any], template: Template
) -> tuple[str, str, str, bool]:
    """Prompt, the two answers, and whether a chat template wrote them."""
    prompt, chosen, rejected = (row.get(k) for k in ("prompt", *ANSWERS))
    kinds = {type(v) for v in (prompt, chosen, rejected) if v is not None}
    if chosen is None or rejected is None or kinds not in ({str}, {list}):
        given = ", ".join(f"{k} ({type(v).__name__})" for k, v in row.items())
        raise InputError(
            f"Row {number} has {given}; chosen and rejected (and prompt) are needed, all texts or all lists of "
            "messages."
        )
    if prompt is None:
        many = next((k for k, (a, b) in enumerate(zip(chosen, rejected, strict=False)) if a != b), None)
        shared = chosen[: min(len(chosen), len(rejected)) if many is None else many]
        if isinstance(shared, str) and (blanks := [k for k, c in enumerate(shared) if c.isspace()]):
            # Back to the last whole word; a blank belongs to the word behind it, a new line to what is before.
            shared = shared[: blanks[-1] + (shared[blanks[-1]] != " ")]
        prompt, chosen, rejected = shared, chosen[len(shared) :], rejected[len(shared) :]
    if isinstance(prompt, str):
        has = bool(getattr(model.tokenizer, "chat_template", None))
        if template == "none" or (template == "auto" and not has):
            return prompt, chosen, rejected, False
        if template == "auto":
            raise InputError(
                f"Row {number} holds plain texts, and {model.source} is a chat model; say template='chat' to make them "
                "a user's message and its answers, or 'none' to take them as they are."
            )
        prompt = [{"role": "user", "content": prompt}]
        chosen, rejected = ([{"role": "assistant", "content": y}] if y else [] for y in (chosen, rejected))
    return (*_chat(model, number, prompt, chosen, rejected), True)


def _chat(model: ProbeModel, number: int, prompt: Any, *answers: Any) -> tuple[str, str, str]:
    """Texts of a chat: what the template adds for an answer is that answer."""
    if not getattr(model.tokenizer, "chat_template", None):
        raise InputError(f"Row {number} is a chat, and {model.source} has no chat template; write texts.")
    write = model.tokenizer.apply_chat_template
    if not prompt:
        raise InputError(f"Row {number} has no message that both answers follow; give a prompt.")
    head = write(prompt, tokenize=False, add_generation_prompt=True)
    ends = getattr(model.tokenizer, "eos_token", None)
    made = []
    for answer in answers:
        whole = write([*prompt, *answer], tokenize=False) if answer else head
        if not whole.startswith(head):
            raise InputError(
                f"Row {number}: the chat template of {model.source} writes a prompt otherwise once it is answered, so "
                "that the answer's tokens cannot be told; give the texts, and template='none'."
            )
        text = whole[len(head) :]
        # What a template writes behind the end token is never generated.
        made.append(text.rstrip() if ends and text.rstrip().endswith(ends) else text)
    return head, made[0], made[1]


def _ids(model: ProbeModel, texts: list[str], special: list[bool]) -> list[list[int]]:
    made: list[list[int]] = [[]] * len(texts)
    for wanted in set(special):
        chosen = [i for i, s in enumerate(special) if s == wanted]
        found = model.tokenizer([texts[i] for i in chosen], add_special_tokens=wanted, verbose=False)[
            "input_ids"
        ]
        for i, ids in zip(chosen, found, strict=True):
            made[i] = list(ids)
    end = getattr(model.tokenizer, "eos_token_id", None)
    if True in special:  # some tokenizers put an end behind every text, too
        made = [
            ids[:-1] if wanted and ids[-1:] == [end] else ids
            for ids, wanted in zip(made, special, strict=True)
        ]
    return made


def _boundaries(
    model: ProbeModel, texts: Sequence[Any], prompt: list[list[int]], answers: Mapping[str, list[list[int]]]
) -> list[str]:
    """Where prompt and answer are other tokens when they are one text: a warning with counts."""
    moved = set()
    for k in range(len(ANSWERS)):
        whole = _ids(model, [t[0] + t[1 + k] for t in texts], [not t[3] for t in texts])
        moved |= {i for i, ids in enumerate(whole) if ids[: len(prompt[i])] != prompt[i]}
    if not moved:
        return []
    note = (
        f"{len(moved)} of {len(texts)} pairs (first: rows {sorted(moved)[:5]}) have a word across the boundary of "
        "prompt and answer; their ids are put together as in generation"
    )
    warnings.warn(note, stacklevel=4)
    return [note]


def _ended(model: ProbeModel, answers: Mapping[str, list[list[int]]]) -> list[str]:
    """Put the end token behind answers without one, in place."""
    end = getattr(model.tokenizer, "eos_token_id", None)
    if end is None:
        return ["the tokenizer has no end token: answers are scored up to their last token"]
    missing = [ids for those in answers.values() for ids in those if ids[-1] != end]
    for ids in missing:
        ids.append(end)
    total = sum(map(len, answers.values()))
    return [f"the end token was put behind {len(missing)} of {total} answers"] if missing else []
