"""Rows of text, chat or image and text, as token ids; and batches of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from accelerate.utils import tqdm
from numpy.typing import NDArray
from torch import Tensor

from groundshift.errors import InputError
from groundshift.models.activations.loading import ProbeModel

__all__ = ["Batch", "Row", "collate", "continued", "encode", "in_batches", "read_rows"]

FIELDS = (
    "text",
    "prompt",
    "messages",
    "input_ids",
    "completion",
    "completion_ids",
    "image",
    "images",
    "spans",
)
TOGETHER = 1024  # texts that are tokenised at once
ALIKE, FEW = 0.75, 16  # rows of a batch are at least so long, against the longest, unless they are few


@dataclass
class Row:
    """One row as the model reads it, without padding.

    Attributes
    ----------
    index : its number in what the user gave
    ids : token ids, int32
    prompt : how many of them are the prompt; all, where there is no completion
    completed : a completion was given
    spans : positions of the tokens of every labelled span
    text, images : of an image row, whose tensors are made anew for each batch
    """

    index: int
    ids: NDArray[np.int32]
    prompt: int
    completed: bool = False
    spans: dict[str, list[int]] = field(default_factory=dict)
    text: str = ""
    images: list[Any] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.ids)


@dataclass
class Batch:
    """Rows padded to one length, on the model's device.

    Attributes
    ----------
    rows : in the order of the batch
    inputs : for the model: input_ids, attention_mask (B, T), position_ids, and the tensors of images
    start : column of each row's first real token, (B,)
    prompt : tokens in each row's prompt, (B,)
    """

    rows: list[Row]
    inputs: dict[str, Tensor]
    start: Tensor
    prompt: Tensor


def read_rows(path: str | Path) -> list[str | dict[str, Any]]:
    """The rows of a JSONL file; paths of images are relative to the file.

    Raises
    ------
    InputError
        No such file, no rows, a line that is no JSON object.
    """
    file = Path(path)
    if not file.is_file():
        raise InputError(f"{file} is no file. Give a JSONL file with one object per line.")
    rows: list[str | dict[str, Any]] = []
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise InputError(f"{file}, line {number}: no JSON ({error.msg}).") from error
        if not isinstance(row, str | dict):
            raise InputError(
                f"{file}, line {number}: a {type(row).__name__}; an object or a string is needed."
            )
        if isinstance(row, dict):
            for name in ("image", "images"):
                if name in row:
                    given = row[name] if isinstance(row[name], list) else [row[name]]
                    row[name] = [str(file.parent / image) for image in given]
        rows.append(row)
    if not rows:
        raise InputError(f"{file} holds no rows.")
    return rows


def encode(model: ProbeModel, rows: Sequence[str | Mapping[str, Any]]) -> list[Row]:
    """Token ids of rows.

    A row is a text, or a mapping with ``text`` (or ``prompt``), ``messages`` (a chat, through the tokenizer's
    template) or ``input_ids``; and, if wanted, ``completion`` or ``completion_ids``, ``image`` or ``images`` (paths or
    PIL images), and ``spans``: label → [start, end] in characters of prompt and completion put together, a list of such
    pairs, or a piece of the text, of which all occurrences count. Other keys are left alone. The ids of prompt and
    completion are put together as they are, so that the boundary between them never moves.

    Raises
    ------
    InputError
        Rows of another form, a chat without template, spans that are not there or without offsets, images that cannot
        be read, ids that the model does not have.
    """
    if isinstance(rows, str | Mapping) or not len(rows):
        raise InputError("Give a list of at least one row: texts, or mappings with 'text'.")
    asked = [_checked(i, row) for i, row in enumerate(rows)]
    offsets = any(row.get("spans") for row in asked)
    if offsets and not getattr(model.tokenizer, "is_fast", False):
        raise InputError(
            f"Spans need a tokenizer with offsets, and {type(model.tokenizer).__name__} has none; save the fast one."
        )
    prompts = [_prompt_text(model, i, row) for i, row in enumerate(asked)]
    plain = [i for i, row in enumerate(asked) if "input_ids" not in row and not _images(row)]
    heads = _tokens(
        model, [prompts[i] for i in plain], [not asked[i].get("messages") for i in plain], offsets
    )
    head = dict(zip(plain, heads, strict=True))
    written = [i for i, row in enumerate(asked) if row.get("completion") and "completion_ids" not in row]
    tails = _tokens(model, [asked[i]["completion"] for i in written], [False] * len(written), offsets)
    tail = dict(zip(written, tails, strict=True))
    size = model.net.get_input_embeddings().weight.shape[0]
    made = []
    for i, row in enumerate(asked):
        images = _images(row)
        if images:
            first, at = _image_ids(model, i, prompts[i], images, offsets)
        elif i in head:
            first, at = head[i]
        else:
            first, at = list(row["input_ids"]), []
        second, there = tail[i] if i in tail else (list(row.get("completion_ids") or []), [])
        completed = row.get("completion") is not None or row.get("completion_ids") is not None
        ids = np.array([*first, *second], np.int32)
        if len(ids) and not 0 <= ids.min() <= ids.max() < size:
            raise InputError(f"Row {i} has ids outside the model's vocabulary of {size}.")
        made.append(Row(i, ids, len(first), completed, text=prompts[i] if images else "", images=images))
        if row.get("spans"):
            moved = [(s + len(prompts[i]), e + len(prompts[i])) for s, e in there]
            whole = prompts[i] + (row.get("completion") or "")
            for label, span in row["spans"].items():
                made[-1].spans[label] = _span(i, label, span, whole, [*at, *moved])
    return made


def continued(
    model: ProbeModel, rows: Sequence[str | Mapping[str, Any]], texts: Sequence[str]
) -> tuple[list[Row], list[NDArray[np.int64]]]:
    """Rows with a text of their own behind each prompt, and which characters of it every token stands for.

    Prompt and text are tokenised as one, so that a blank between them goes where this tokenizer has it; apart, as
    `encode` does with a completion, where the prompt would then be other tokens than by itself. Special tokens behind
    the text are left out.

    Returns
    -------
    rows : completed; ``ids[prompt:]`` are the text's
    spans : int64 (tokens, 2), from and to which character of the text; a blank in front may belong to a token or not

    Raises
    ------
    InputError
        A tokenizer without offsets; see also `encode`.
    """
    if not getattr(model.tokenizer, "is_fast", False):
        raise InputError(
            f"The tokenizer of {model.source} ({type(model.tokenizer).__name__}) does not say which characters a "
            "token stands for; save the fast one (use_fast=True) beside the model."
        )
    alone = encode(model, rows)
    asked = [_checked(i, row) for i, row in enumerate(rows)]
    heads = [_prompt_text(model, i, row) for i, row in enumerate(asked)]
    special = [not row.get("messages") for row in asked]
    whole = _tokens(model, [h + t for h, t in zip(heads, texts, strict=True)], special, True)
    apart = _tokens(model, list(texts), [False] * len(texts), True)
    made, spans = [], []
    for row, head, one, two in zip(alone, heads, whole, apart, strict=True):
        ids, at = one[0][len(row) :], [(s - len(head), e - len(head)) for s, e in one[1][len(row) :]]
        if one[0][: len(row)] != row.ids.tolist():
            ids, at = two
        last = max((k + 1 for k, (_, end) in enumerate(at) if end > 0), default=0)
        made.append(replace(row, ids=np.array([*row.ids, *ids[:last]], np.int32), completed=True))
        spans.append(np.array(at[:last], np.int64).reshape(-1, 2))
    return made, spans


def _checked(number: int, row: Any) -> dict[str, Any]:
    row = {"text": row} if isinstance(row, str) else dict(row) if isinstance(row, Mapping) else None
    if row is None:
        raise InputError(f"Row {number} is neither a text nor a mapping.")
    if isinstance(row.get("prompt"), list):
        row["messages"] = row.pop("prompt")
    given = [name for name in ("text", "prompt", "messages", "input_ids") if row.get(name) is not None]
    if len(given) != 1:
        raise InputError(
            f"Row {number} has {' and '.join(given) or 'none of them'}; exactly one of text, prompt, messages and "
            f"input_ids is needed (its keys: {', '.join(map(str, row))})."
        )
    if given[0] in ("text", "prompt") and not isinstance(row[given[0]], str):
        raise InputError(
            f"Row {number} has a {type(row[given[0]]).__name__} as its {given[0]}; a text is needed."
        )
    return row


def _prompt_text(model: ProbeModel, number: int, row: Mapping[str, Any]) -> str:
    if row.get("messages") is None:
        return row.get("text") or row.get("prompt") or ""
    owner = model.processor if _images(row) and model.processor is not None else model.tokenizer
    if not getattr(owner, "chat_template", None):
        raise InputError(
            f"Row {number} is a chat, and {model.source} has no chat template; write the prompt as a text."
        )
    return owner.apply_chat_template(list(row["messages"]), tokenize=False, add_generation_prompt=True)


def _images(row: Mapping[str, Any]) -> list[Any]:
    given = row.get("images") or row.get("image") or []
    return list(given) if isinstance(given, list | tuple) else [given]


def _tokens(
    model: ProbeModel, texts: list[str], special: list[bool], offsets: bool
) -> list[tuple[list[int], list[tuple[int, int]]]]:
    """Ids and character offsets of texts; ``special`` says which get the tokenizer's special tokens."""
    made: list[Any] = [None] * len(texts)
    for wanted in (True, False):
        chosen = [i for i, s in enumerate(special) if s == wanted]
        for low in range(0, len(chosen), TOGETHER):
            part = chosen[low : low + TOGETHER]
            found = model.tokenizer(
                [texts[i] for i in part],
                add_special_tokens=wanted,
                return_offsets_mapping=offsets,
                return_attention_mask=False,
                verbose=False,
            )
            places = found["offset_mapping"] if offsets else [[]] * len(part)
            for i, ids, at in zip(part, found["input_ids"], places, strict=True):
                made[i] = (ids, at)
    return made


def _image_ids(
    model: ProbeModel, number: int, text: str, images: list[Any], offsets: bool
) -> tuple[list[int], list[tuple[int, int]]]:
    inputs = _image_inputs(model, number, text, images)
    ids = inputs["input_ids"][0].tolist()
    if not offsets:
        return ids, []
    # The processor repeats the one image token of the text for every patch.
    [(plain, at)] = _tokens(model, [text], [True], True)
    spread, k = [], 0
    for j, token in enumerate(ids):
        spread.append(at[k] if k < len(at) and token == plain[k] else (0, 0))
        k += token not in model.image_ids or j + 1 == len(ids) or ids[j + 1] not in model.image_ids
    if k != len(plain):
        raise InputError(f"Row {number}: its spans cannot be found, since the processor rewrites the text.")
    return ids, spread


def _image_inputs(model: ProbeModel, number: int, text: str, images: list[Any]) -> Mapping[str, Tensor]:
    if model.processor is None:
        raise InputError(
            f"Row {number} has an image, and {model.source} has no processor"
            + (f" that can be loaded: {model.no_processor}" if model.no_processor else ".")
        )
    from PIL.Image import Image

    from groundshift.pictures import read_picture

    try:
        opened = [read_picture(i) if isinstance(i, str | Path | Image) else i for i in images]
    except InputError as error:
        raise InputError(f"Row {number}: {error}") from error
    try:
        return model.processor(text=[text], images=opened, return_tensors="pt")
    except (ValueError, IndexError, StopIteration) as error:
        raise InputError(f"Row {number}: text and images do not fit: {error}") from error


def _span(number: int, label: str, span: Any, text: str, offsets: list[tuple[int, int]]) -> list[int]:
    """Positions of the tokens that touch the characters of a span."""
    if isinstance(span, str):
        starts = [k for k in range(len(text)) if span and text.startswith(span, k)]
        pairs = [(k, k + len(span)) for k in starts]
    else:
        pairs = (
            [tuple(span)] if len(span) and not isinstance(span[0], list | tuple) else [tuple(p) for p in span]
        )
    if not pairs or any(not 0 <= low < high <= len(text) for low, high in pairs):
        raise InputError(
            f"Row {number}: the span {label!r} ({span!r}) is not in its text of {len(text)} characters."
        )
    return [
        k for k, (s, e) in enumerate(offsets) if s < e and any(s < high and e > low for low, high in pairs)
    ]


def collate(model: ProbeModel, rows: Sequence[Row], side: Literal["left", "right"] = "right") -> Batch:
    """Pad rows to the longest of them."""
    length = max(len(row) for row in rows)
    ids = torch.full((len(rows), length), _pad_id(model), dtype=torch.long)
    mask = torch.zeros_like(ids)
    start = torch.tensor([length - len(row) if side == "left" else 0 for row in rows])
    extra: dict[str, list[Tensor]] = {}
    along: dict[str, Tensor] = {}
    for b, row in enumerate(rows):
        real = slice(int(start[b]), int(start[b]) + len(row))
        ids[b, real] = torch.from_numpy(row.ids.astype(np.int64))
        mask[b, real] = 1
        if row.images:
            found = _image_inputs(model, row.index, row.text, row.images)
            for name, tensor in found.items():
                if name in ("input_ids", "attention_mask"):
                    continue
                if tensor.shape == found["input_ids"].shape:  # one value per token of the prompt
                    line = along.setdefault(name, torch.zeros_like(ids))
                    line[b, real.start : real.start + tensor.shape[1]] = tensor[0]
                else:
                    extra.setdefault(name, []).append(tensor)
    inputs = {
        "input_ids": ids,
        "attention_mask": mask,
        **along,
        **{n: torch.cat(t) for n, t in extra.items()},
    }
    # Models with positions in three dimensions work them out from the grid of their images.
    if "position_ids" in model.arguments and "image_grid_thw" not in inputs:
        inputs["position_ids"] = (mask.cumsum(1) - 1).clamp(min=0)
    prompt = torch.tensor([row.prompt for row in rows])
    device = model.device
    return Batch(
        list(rows), {n: t.to(device) for n, t in inputs.items()}, start.to(device), prompt.to(device)
    )


def _pad_id(model: ProbeModel) -> int:
    for name in ("pad_token_id", "eos_token_id"):
        found = getattr(model.tokenizer, name, None)
        if found is not None and found < model.net.get_input_embeddings().weight.shape[0]:
            return found
    return 0


def in_batches(
    lengths: Sequence[int] | NDArray[Any],
    do: Callable[[list[int]], None],
    *,
    max_tokens: int,
    describe: str,
    done: int = 0,
    progress: bool = True,
) -> None:
    """Call ``do`` with the numbers of rows that are read together, longest rows first.

    A batch holds at most ``max_tokens`` tokens with its padding, and at least one row. When memory runs out the budget
    is halved and the same rows are tried again. ``done`` rows, in this order, are left out.

    Raises
    ------
    InputError
        Memory runs out with one row.
    """
    if max_tokens < 1:
        raise InputError(f"max_tokens={max_tokens} was given; at least 1 is needed.")
    order = np.argsort(-np.asarray(lengths), kind="stable")
    budget = max_tokens
    with tqdm(
        total=len(order), initial=done, desc=describe, unit="row", leave=False, main_process_only=False,
        disable=None if progress else True,
    ) as bar:  # fmt: skip
        while done < len(order):
            longest = max(1, int(lengths[order[done]]))
            batch = [int(i) for i in order[done : done + max(1, budget // longest)]]
            alike = sum(lengths[i] >= ALIKE * longest for i in batch)
            batch = batch[: max(alike, FEW)]
            try:
                do(batch)
            except (torch.OutOfMemoryError, RuntimeError) as error:
                if not _out_of_memory(error):
                    raise
                if len(batch) == 1:
                    raise InputError(
                        f"Row {batch[0]} with {longest} tokens does not fit into memory by itself; shorten it, or use "
                        "a larger device or a smaller dtype."
                    ) from error
                budget = len(batch) * longest // 2
            else:
                done += len(batch)
                bar.update(len(batch))
                continue
            if torch.cuda.is_available():  # here the failed pass has been let go, with its exception
                torch.cuda.empty_cache()


def _out_of_memory(error: BaseException) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def pieces(total: int, size: int) -> Iterator[slice]:
    """Slices of at most ``size`` that cover ``total``."""
    for low in range(0, total, size):
        yield slice(low, min(low + size, total))
