"""A model of any kind as something that can be talked to."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from groundshift.errors import InputError
from groundshift.models.chats import ask, is_provider
from groundshift.models.records import read_records, read_text

__all__ = ["NAMES", "Chat", "Speaker", "appended", "read_contexts", "saying"]

Chat = list[dict[str, Any]]
"""Messages; a content is a text, or parts, of which ``{"type": "image", "image": PIL image}`` is a picture."""
SHARED = 16
"""Tokens that prompts have in common from which they are read from one cache."""
NAMES = {"user": "User", "assistant": "Assistant", "system": "System"}
"""Who speaks, in a plain transcript."""


def appended(history: Chat, text: str) -> Chat:
    """A history with a message of the user; two of the user's in a row become one, as most templates ask for."""
    if history and history[-1]["role"] == "user":
        return [*history[:-1], {"role": "user", "content": f"{history[-1]['content']}\n\n{text}"}]
    return [*history, {"role": "user", "content": text}]


def saying(history: Chat, text: str) -> Chat:
    """A history with a message of the assistant."""
    return [*history, {"role": "assistant", "content": text}]


class Speaker:
    """A model that can be talked to: a local one, one behind Inspect, or a function.

    Parameters
    ----------
    model : a directory or id of a language model or an adapter, a `ProbeModel`, "inspect:provider/model" or a model of
        Inspect, or a function of a list of messages that returns a text
    max_new_tokens, temperature : of what it writes; temperature 0 is greedy
    device, allow_missing : see `groundshift.models.activations.load_model`

    Attributes
    ----------
    local, endpoint : whether its probabilities can be read; whether it is behind Inspect, and can call tools
    templated : whether it has a chat template; a local model without one reads a plain transcript

    Raises
    ------
    InputError
        Something that is no model, fewer than one token, a negative temperature.

    Examples
    --------
    >>> echo = Speaker(lambda messages: messages[-1]["content"].upper())
    >>> echo.write([appended([], "hi")], seed=0)
    ['HI']
    """

    def __init__(
        self,
        model: Any,
        max_new_tokens: int = 256,
        temperature: float = 0.0,
        device: str = "auto",
        allow_missing: bool = False,
    ) -> None:
        if max_new_tokens < 1 or temperature < 0:
            raise InputError(
                f"max_new_tokens={max_new_tokens}, temperature={temperature} was given; at least 1 and 0 are needed."
            )
        self.settings = {"max_new_tokens": max_new_tokens, "temperature": temperature}
        self.endpoint = is_provider(model)
        if isinstance(model, str | os.PathLike) and not self.endpoint:
            from groundshift.models.activations import load_model

            model = load_model(os.fspath(model), device=device, allow_missing=allow_missing)
        self.model, self.local = model, hasattr(model, "net")
        if not (self.local or self.endpoint) and (hasattr(model, "generate") or not callable(model)):
            raise InputError(
                f"A {type(model).__name__} was given as the model; give a directory, an id, inspect:provider/model, "
                "ProbeModel(net, tokenizer), or a function of messages that returns a text."
            )
        self.name = str(getattr(model, "source", getattr(model, "__name__", model)))
        self.templated = bool(getattr(getattr(model, "tokenizer", None), "chat_template", None))

    def write(self, chats: Sequence[Chat], seed: int) -> list[str]:
        """One reply to each chat."""
        if not chats:
            return []
        if self.endpoint:
            return ask(self.model, chats, seed=seed, **self.settings)  # type: ignore[arg-type]
        if not self.local:
            return [str(self.model([dict(message) for message in chat])) for chat in chats]
        from groundshift.models.activations import generate

        options: dict[str, Any] = {"max_new_tokens": self.settings["max_new_tokens"], "progress": False}
        if self.settings["temperature"]:
            options |= {"temperature": self.settings["temperature"], "seed": seed}
        if not self.templated:
            options["until"] = lambda text: "\n\nUser:" in text
        written = generate(self.model, self.rows(chats), **options)
        return [row["completion"].split("\n\nUser:")[0].strip() for row in written]

    def probabilities(
        self, chats: Sequence[Chat], options: Sequence[Sequence[str]]
    ) -> list[NDArray[np.float64]]:
        """Of the options of each chat, among themselves; chats with one history are read from one cache."""
        from groundshift.models.activations import Prefix, encode, option_logprobs

        groups = defaultdict(list)
        for k, chat in enumerate(chats):
            groups[tuple(message["content"] for message in chat[:-1])].append(k)
        shares: list[NDArray[np.float64]] = [np.empty(0)] * len(chats)
        blank = "" if self.templated else " "
        for numbers in groups.values():
            rows = self.rows([chats[k] for k in numbers])
            some = [rows[k] for k in sorted({0, len(rows) // 3, len(rows) // 2, len(rows) - 1})]
            columns = zip(*(row.ids.tolist() for row in encode(self.model, some)), strict=False)
            shared = [column[0] for column in takewhile(lambda column: len(set(column)) == 1, columns)]
            prefix = Prefix(self.model, shared) if len(some) > 1 and len(shared) >= SHARED else None
            own = [[blank + option for option in options[k]] for k in numbers]
            logprobs = option_logprobs(self.model, rows, own, prefix=prefix, progress=False)
            for k, line in zip(numbers, logprobs, strict=True):
                shares[k] = softmax(line[: len(options[k])])
        return shares

    def refuse_long(self, chat: Chat, *, replies: bool) -> None:
        """Refuse a chat that a local model cannot read, or that leaves no room for its reply; nothing is ever cut."""
        if not self.local or self.model.context is None:
            return
        from groundshift.models.activations import encode

        room = int(self.settings["max_new_tokens"]) if replies else 1
        if (needed := len(encode(self.model, self.rows([chat]))[0]) + room) > self.model.context:
            raise InputError(
                f"The history needs {needed:,} tokens{' with a reply' * replies}, and {self.name} reads "
                f"{self.model.context:,}; give a shorter context{', or a smaller max_new_tokens' * replies}."
            )

    def refuse_pictures(self, chat: Chat) -> None:
        """Refuse a chat with pictures that a local model cannot take: it has no processor, or takes fewer of them.

        Raises
        ------
        InputError
            What the processor says.
        """
        if self.local:
            from groundshift.models.activations import encode

            encode(self.model, self.rows([chat]))

    def rows(self, chats: Sequence[Chat]) -> list[Any]:
        """Chats for the model's template, or as a plain transcript where it has none."""
        return [self._row(chat) for chat in chats]

    def _row(self, chat: Chat) -> Any:
        pictures = [part["image"] for m in chat if isinstance(m["content"], list) for part in m["content"]
                    if part["type"] == "image"]  # fmt: skip
        processor = getattr(self.model, "processor", None)
        if getattr(processor, "chat_template", None) if pictures and processor else self.templated:
            places = [{**m, "content": _places(m["content"], {"type": "image"})} for m in chat]
            return {"messages": places, **({"images": pictures} if pictures else {})}
        mark = getattr(processor, "image_token", "<image>")
        turns = [(NAMES[m["role"]], _places(m["content"], mark)) for m in chat]
        said = [f"{name}: {c if isinstance(c, str) else ' '.join(c)}" for name, c in turns]
        text = "\n\n".join([*said, "Assistant:"])
        return {"text": text, "images": pictures} if pictures else text


def _places(content: Any, place: Any) -> Any:
    """Content with every picture replaced by what stands for it; of a transcript texts instead of parts."""
    if isinstance(content, str):
        return content
    plain = isinstance(place, str)
    return [place if part["type"] == "image" else part["text"] if plain else part for part in content]


def read_contexts(given: Any) -> list[str | Chat]:
    """Texts and message histories: of files (.jsonl with "messages" or "text", any other as a text) or in Python.

    Raises
    ------
    InputError
        No such file, an empty text, a row without text and messages.
    """
    if isinstance(given, str | os.PathLike) or (given and isinstance(given[0], dict)):
        given = [given]
    contexts: list[Any] = []
    for one in given or [[]]:
        words = isinstance(one, str) and len(one.split()) > 1 and not os.path.isfile(one[:1000])
        if isinstance(one, list) or words:
            contexts.append(one)
        elif not Path(one).is_file():
            raise InputError(
                f"The context {one} is no file; give a file of text, one of messages (.jsonl), or a text."
            )
        elif Path(one).suffix in (".jsonl", ".json"):
            rows = [{"text": row} if isinstance(row, str) else row for row in read_records(one)]
            contexts += [row.get("messages") or row.get("text") for row in rows]
        else:
            contexts.append(read_text(Path(one)))
    for context in contexts:
        chat = isinstance(context, list) and all(m.get("role") in NAMES and m.get("content") for m in context)
        if not context or not (chat or (isinstance(context, str) and context.strip())):
            raise InputError(
                "A context is empty or of another form; give texts, or messages with role (user, assistant or system) "
                "and content."
            )
    return contexts
