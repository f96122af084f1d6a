"""Rows of text, chat or image and text, as token ids; and batches of them."""

from __future__ import annotations

import reprlib
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from accelerate.utils import tqdm
from numpy.typing import NDArray
from torch import Tensor

from groundshift.errors import InputError
from groundshift.models.activations.loading import ProbeModel
from groundshift.models.records import plain, read_records
from groundshift.models.tokens import Chats, Tokens, Written, options_of, tokenise

__all__ = ["Batch", "Row", "behind", "collate", "continued", "encode", "in_batches", "listed", "read_rows"]

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
    """The rows of a file, see `groundshift.models.records.read_records`; paths of images are relative to the file.

    Raises
    ------
    InputError
        No such file, no rows, a line that is no JSON object.
    """
    rows = read_records(Path(path))
    for row in rows:
        for name in {"image", "images"} & set(row if isinstance(row, dict) else ()):
            images = _images({name: row[name]})  # type: ignore[index]
            if not all(isinstance(image, str) for image in images):
                raise InputError(f"{path}: {name} is {reprlib.repr(row[name])}; paths of images are needed.")  # type: ignore[index]
            row[name] = [str(Path(path).parent / image) for image in images]  # type: ignore[index]
    return rows


def encode(model: ProbeModel, rows: Sequence[str | Mapping[str, Any]]) -> list[Row]:
    """Token ids of rows.

    A row is a text, or a mapping with ``text`` (or ``prompt``), ``messages`` (a chat, through the tokenizer's
    template; also as ``prompt``) or ``input_ids``; and, if wanted, ``completion`` (a text, or the messages that answer
    a chat) or ``completion_ids``, ``image`` or ``images`` (paths or PIL images), and ``spans``: label → [start, end] in
    characters of prompt and completion put together, a list of such pairs, or a piece of the text, of which all
    occurrences count. Other keys are left alone. The ids of a prompt are those that it has by itself, so that the
    boundary of prompt and completion never moves; see `groundshift.models.tokens`. A chat that ends with the
    assistant's words is read as it stands if it is ``messages``, and continued if it is a ``prompt``.

    Raises
    ------
    InputError
        Rows of another form, a chat without template or one that it refuses, spans that are not there or without
        offsets, images that cannot be read, ids that the model does not have.

    Warns
    -----
    UserWarning
        Texts with a beginning-of-sequence token of their own, which stands once.
    """
    if isinstance(rows, str | Mapping) or not len(rows):
        raise InputError("Give a list of at least one row: texts, or mappings with 'text'.")
    checked = [_checked(i, row) for i, row in enumerate(listed(rows))]
    offsets = any(row.get("spans") for row in checked)
    if offsets and not getattr(model.tokenizer, "is_fast", False):
        raise InputError(
            f"Spans need a tokenizer with offsets, and {type(model.tokenizer).__name__} has none; save the fast one."
        )
    texts = _written(model, checked)
    encodings = tokenise(model.tokenizer, texts, spans=offsets)
    size = model.net.get_input_embeddings().weight.shape[0]
    encoded = []
    for i, (row, text, tokens) in enumerate(zip(checked, texts, encodings, strict=True)):
        images = _images(row)
        first, second, spots = tokens.prompt, tokens.answer, tokens.spans
        if row.get("input_ids") is not None:
            first, spots = _ids(i, "input_ids", row["input_ids"], size), []
        elif images:
            first, spots = _image_ids(model, i, text.prompt, images, tokens)
        if row.get("completion_ids") is not None:
            second = _ids(i, "completion_ids", row["completion_ids"], size)
        completed = row.get("completion") is not None or row.get("completion_ids") is not None
        ids = np.array([*first, *second], np.int32)
        if len(ids) and ids.max() >= size:
            raise InputError(f"Row {i} has ids outside the model's vocabulary of {size}.")
        encoded.append(Row(i, ids, len(first), completed, text=text.prompt if images else "", images=images))
        if row.get("spans"):
            for label, span in row["spans"].items():
                encoded[-1].spans[label] = _span(i, label, span, text.prompt + text.answer, spots)
    if repeated := [i for i, tokens in enumerate(encodings) if tokens.repeated]:
        warnings.warn(
            f"{len(repeated)} of {len(rows)} rows (first: {repeated[:5]}) held the beginning-of-sequence token that "
            "stands in front of them: it stands once.",
            stacklevel=2,
        )
    return encoded


def _ids(number: int, name: str, value: Any, size: int) -> list[int]:
    """Token ids as whole numbers of the vocabulary."""
    try:
        ids = np.asarray(value)
    except (TypeError, ValueError):
        ids = np.array(None)
    if ids.ndim != 1 or (ids.size and ids.dtype.kind not in "iu"):
        raise InputError(f"Row {number}: {name} is {reprlib.repr(value)}; a list of whole numbers is needed.")
    if ids.size and not 0 <= ids.min() <= ids.max() < size:
        raise InputError(f"Row {number} has ids outside the model's vocabulary of {size}.")
    return [int(k) for k in ids]


def listed(rows: Any) -> Sequence[str | Mapping[str, Any]]:
    """The rows of a list or a table, one of which iterates over its columns."""
    return read_records(rows) if hasattr(rows, "columns") else rows


def continued(
    model: ProbeModel, rows: Sequence[str | Mapping[str, Any]], texts: Sequence[str]
) -> tuple[list[Row], list[NDArray[np.int64]]]:
    """Rows with a text of their own behind each prompt, and which characters of it every token stands for.

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
    spans = [
        np.array(tokens.spans, np.int64).reshape(-1, 2) for tokens in behind(model, rows, texts, spans=True)
    ]
    return encode(model, _with(rows, texts)), spans


def behind(
    model: ProbeModel, rows: Sequence[str | Mapping[str, Any]], texts: Sequence[str], *, spans: bool = False
) -> list[Tokens]:
    """Tokens of texts as they stand behind the prompts of rows, with ``spans`` in characters of the text."""
    written = _written(model, [_checked(i, row) for i, row in enumerate(_with(rows, texts))])
    encodings = tokenise(model.tokenizer, written, spans=spans)
    for tokens, text in zip(encodings, written, strict=True):
        cut = len(text.prompt)
        tokens.spans = [(s - cut, e - cut) for s, e in tokens.spans[len(tokens.prompt) :]]
    return encodings


def _with(rows: Sequence[str | Mapping[str, Any]], texts: Sequence[str]) -> list[dict[str, Any]]:
    return [
        {**({"text": row} if isinstance(row, str) else row), "completion": text}
        for row, text in zip(rows, texts, strict=True)
    ]


def _checked(number: int, row: Any) -> dict[str, Any]:
    row = {"text": row} if isinstance(row, str) else plain(number, row)
    keys = [name for name in ("text", "prompt", "messages", "input_ids") if row.get(name) is not None]
    if len(keys) != 1:
        raise InputError(
            f"Row {number} has {' and '.join(keys) or 'none of them'}; exactly one of text, prompt, messages and "
            f"input_ids is needed (its keys: {', '.join(map(str, row))})."
        )
    [name] = keys
    needed = {"text": str, "messages": list, "prompt": str | list}.get(name, object)
    if not isinstance(row[name], needed):
        kind = type(row[name]).__name__
        raise InputError(f"Row {number} has a {kind} as its {name}; a text is needed, or a list of messages.")
    completion, spans = row.get("completion"), row.get("spans")
    if not isinstance(completion, str | list | None) or not isinstance(spans, Mapping | None):
        raise InputError(
            f"Row {number}: its completion is a {type(completion).__name__} and its spans a {type(spans).__name__}; a "
            "completion is a text or a list of messages, and spans map labels to characters."
        )
    if isinstance(completion, list) and not isinstance(row[name], list):
        raise InputError(
            f"Row {number} has messages as its completion, and its {name} is no chat; give both alike."
        )
    return row


def _written(model: ProbeModel, rows: Sequence[Mapping[str, Any]]) -> list[Written]:
    """The text of each row; that of ids is a line before its completion."""
    chats = {False: Chats(model.tokenizer, model.source), True: Chats(model.processor, model.source)}
    texts = []
    for i, row in enumerate(rows):
        chat = row["messages"] if row.get("messages") is not None else row.get("prompt")
        answer = row.get("completion") if row.get("completion_ids") is None else None
        if row.get("input_ids") is not None:
            texts.append(Written("\n", answer or "", True))
        elif not isinstance(chat, list):
            texts.append(Written(row.get("text") or chat or "", answer or ""))
        else:
            write, options = chats[bool(_images(row)) and model.processor is not None], options_of(i, row)
            if isinstance(answer, list):
                texts += write.answered(i, chat, answer, **options)
                continue
            complete = (
                row.get("messages") is not None and row.get("completion", row.get("completion_ids")) is None
            )
            texts.append(write.prompt(i, chat, complete=complete, **options)._replace(answer=answer or ""))
    return texts


def _images(row: Mapping[str, Any]) -> list[Any]:
    images = row.get("images") or row.get("image") or []
    return list(images) if isinstance(images, list | tuple) else [images]


def _image_ids(
    model: ProbeModel, number: int, text: str, images: list[Any], tokens: Tokens
) -> tuple[list[int], list[tuple[int, int]]]:
    """Ids of a prompt with images, and the characters of its tokens and of its answer's where those are wanted."""
    ids = _image_inputs(model, number, text, images)["input_ids"][0].tolist()
    if not tokens.spans:
        return ids, []
    # The processor repeats the one image token of the text for every patch.
    at, plain = tokens.spans, tokens.prompt
    spread, k = [], 0
    for j, token in enumerate(ids):
        spread.append(at[k] if k < len(plain) and token == plain[k] else (0, 0))
        k += token not in model.image_ids or j + 1 == len(ids) or ids[j + 1] not in model.image_ids
    if k != len(plain):
        raise InputError(f"Row {number}: its spans cannot be found, since the processor rewrites the text.")
    return ids, [*spread, *at[len(plain) :]]


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
    # As transformers' own reading of chats: a text that has its beginning gets no other.
    bos = getattr(model.tokenizer, "bos_token", None)
    special = {"add_special_tokens": False} if bos and text.startswith(bos) else {}
    try:
        return model.processor(text=[text], images=opened, return_tensors="pt", **special)
    except (ValueError, IndexError, StopIteration) as error:
        raise InputError(f"Row {number}: text and images do not fit: {error}") from error


def _span(number: int, label: str, span: Any, text: str, offsets: list[tuple[int, int]]) -> list[int]:
    """Positions of the tokens that touch the characters of a span."""
    pairs: list[Any]
    if isinstance(span, str):
        starts = [k for k in range(len(text)) if span and text.startswith(span, k)]
        pairs = [(k, k + len(span)) for k in starts]
    else:
        try:
            numbers = np.asarray(span)
            pairs = numbers.reshape(-1, 2).tolist() if numbers.dtype.kind in "iuf" else []
        except (TypeError, ValueError):
            pairs = []
    if not pairs or any(not 0 <= low < high <= len(text) for low, high in pairs):
        raise InputError(
            f"Row {number}: the span {label!r} ({reprlib.repr(span)}) is not in its text of {len(text)} characters. "
            "A span is a piece of the text, [start, end], or a list of such pairs."
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
            inputs_of_images = _image_inputs(model, row.index, row.text, row.images)
            for name, tensor in inputs_of_images.items():
                if name in ("input_ids", "attention_mask"):
                    continue
                if tensor.shape == inputs_of_images["input_ids"].shape:  # one value per token of the prompt
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
        token = getattr(model.tokenizer, name, None)
        if token is not None and token < model.net.get_input_embeddings().weight.shape[0]:
            return token
    return 0


def in_batches(
    lengths: Sequence[int] | NDArray[Any],
    do: Callable[[list[int]], None],
    *,
    max_tokens: int,
    describe: str,
    done: int = 0,
    alone: int | None = None,
    progress: bool = True,
) -> None:
    """Call ``do`` with the numbers of rows that are read together, longest rows first.

    A batch holds at most ``max_tokens`` tokens with its padding, and at least one row. When memory runs out the budget
    is halved and the same rows are tried again. ``done`` rows, in this order, are left out. A row of more than
    ``alone`` tokens is read by itself.

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
            batch = batch[: 1 if alone is not None and longest > alone else max(alike, FEW)]
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
