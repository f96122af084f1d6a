"""Answers of chat models behind any of Inspect's providers: hosted services, servers of one's own, recorded ones."""

from __future__ import annotations

import asyncio
import base64
import io
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import wraps
from typing import Any

from groundshift.errors import InputError

__all__ = ["Tool", "ask", "ask_with_tools", "inspect_message", "is_provider", "reasoning_of"]


def is_provider(model: Any) -> bool:
    """Whether this is a model of Inspect, or names one behind the prefix ``inspect:``."""
    return hasattr(model, "api") if not isinstance(model, str) else model.startswith("inspect:")


def ask(
    model: Any,
    chats: Sequence[Sequence[Mapping[str, Any]]],
    *,
    max_new_tokens: int,
    temperature: float = 0.0,
    seed: int | None = None,
    cache: bool = True,
    reasoning: bool = False,
) -> list[str]:
    """One answer to each chat; requests run side by side, as many as the provider allows.

    Parameters
    ----------
    model : "inspect:" and the name of a model of Inspect (``inspect:openai/gpt-5``, ``inspect:vllm/…``); its keys come
        from the environment. In Python also a model that `inspect_ai.model.get_model` gave.
    chats : messages with "role" (system, user or assistant) and "content", a text or parts with pictures
    temperature : of sampling; 0 is greedy
    cache : take answers to the same request from Inspect's cache, so that a run that was stopped goes on
    reasoning : put the reasoning that a provider hands back in front of the answer, between <think> and </think>

    Raises
    ------
    InputError
        A provider or a model that Inspect does not know, a missing key, a role that is none; a provider that does not
        answer, after Inspect's own attempts.

    Examples
    --------
    >>> ask("inspect:openai/gpt-5", [[{"role": "user", "content": "Hi"}]], max_new_tokens=8)  # doctest: +SKIP
    ['Hello! How can I help?']
    """
    chats_ = [[inspect_message(turn) for turn in chat] for chat in chats]

    async def answer(named: Any, messages: list[Any], config: Any) -> str:
        output = await named.generate(messages, config=config, cache=cache)
        thought = reasoning_of(output.message) if reasoning and output.choices else ""
        return f"<think>{thought}</think>{output.completion}" if thought else str(output.completion)

    return _all(model, chats_, answer, max_tokens=max_new_tokens, temperature=temperature, seed=seed)


@dataclass(frozen=True)
class Tool:
    """A function that a chat model may call.

    Attributes
    ----------
    function : keyword arguments with type hints → text; a `ValueError` is told to the model
    description : what it is for
    parameters : what each argument is
    ends : whether the chat is over once it was called without an error
    """

    function: Callable[..., str]
    description: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    ends: bool = False


def ask_with_tools(
    model: Any,
    chats: Sequence[Sequence[Mapping[str, str]]],
    tools: Sequence[Sequence[Tool]],
    *,
    max_new_tokens: int,
    steps: int = 8,
    temperature: float = 0.0,
    seed: int | None = None,
    cache: bool = True,
) -> list[list[dict[str, Any]]]:
    """What a model says and does in each chat while it may call tools, run side by side; see `ask`.

    Parameters
    ----------
    tools : of each chat
    steps : largest number of the model's turns; a turn without a call is the last one

    Returns
    -------
    list of messages for each chat
        With "role" (assistant or tool), "content" and, where tools were called, "tool_calls".
    """
    work = [([inspect_message(turn) for turn in chat], own) for chat, own in zip(chats, tools, strict=True)]

    async def run(named: Any, job: Any, config: Any) -> list[dict[str, Any]]:
        from inspect_ai.model import execute_tools

        (messages, own), transcript = job, []
        defined, ends = [_defined(tool) for tool in own], {t.function.__name__ for t in own if t.ends}
        for _ in range(steps):
            message = (await named.generate(messages, tools=defined, config=config, cache=cache)).message
            calls = [{"name": c.function, "arguments": c.arguments} for c in message.tool_calls or []]
            transcript.append({"role": "assistant", "content": message.text, "tool_calls": calls})
            if not calls:
                break
            answers: list[Any] = (await execute_tools([message], defined)).messages
            transcript += [
                {"role": "tool", "content": getattr(m.error, "message", None) or m.text} for m in answers
            ]
            messages = [*messages, message, *answers]
            if any(m.function in ends and m.error is None for m in answers):
                break
        return transcript

    config = {"max_tokens": max_new_tokens, "temperature": temperature, "seed": seed}
    return _all(model, work, run, **config, parallel_tool_calls=False)


def reasoning_of(message: Any) -> str:
    """The reasoning that stands apart in a message of Inspect; where a provider hides it, its summary."""
    parts = message.content if isinstance(message.content, list) else []
    shown = [(p.summary if p.redacted else p.reasoning) for p in parts if p.type == "reasoning"]
    return "\n".join(filter(None, shown))


def _defined(tool: Tool) -> Any:
    """The tool as Inspect knows it."""
    from inspect_ai.tool import ToolDef, ToolError

    @wraps(tool.function)
    async def call(**arguments: Any) -> str:
        try:
            return tool.function(**arguments)
        except ValueError as error:
            raise ToolError(str(error)) from error

    return ToolDef(call, tool.function.__name__, tool.description, dict(tool.parameters))


def _all(model: Any, jobs: Sequence[Any], work: Callable[..., Any], **config: Any) -> list[Any]:
    """Every job's result, run side by side; the answers to all others are in the cache where one fails."""
    if not is_provider(model):
        raise InputError(f"{model!r} names no model of Inspect; write inspect:provider/model.")

    async def run() -> list[Any]:
        from inspect_ai.model import GenerateConfig, get_model
        from rich.text import Text

        # Providers report a missing package or key, or that they cannot be reached, by exceptions of their own.
        try:
            named = get_model(model.removeprefix("inspect:")) if isinstance(model, str) else model
            async with named:
                settings = GenerateConfig(**config)
                results = await asyncio.gather(
                    *(work(named, job, settings) for job in jobs), return_exceptions=True
                )
            for result in results:
                if isinstance(result, BaseException):
                    raise result
        except Exception as error:
            why = " ".join(Text.from_markup(str(error)).plain.split())[:300]
            raise InputError(f"The model {model} gave no answer ({type(error).__name__}: {why}).") from error
        return results

    # In a thread of its own, since a notebook has a loop that runs already.
    with ThreadPoolExecutor(1) as apart:
        return apart.submit(asyncio.run, run()).result()


def inspect_message(turn: Mapping[str, Any]) -> Any:
    """A message with "role" and "content" as Inspect has it; see `groundshift.models.speaker.Chat` for pictures."""
    from inspect_ai.model import ChatMessageAssistant, ChatMessageSystem, ChatMessageUser

    kinds: dict[str, Any] = {
        "system": ChatMessageSystem, "user": ChatMessageUser, "assistant": ChatMessageAssistant,
    }  # fmt: skip
    if turn.get("role") not in kinds:
        raise InputError(f"A message has the role {turn.get('role')!r}; it is system, user or assistant.")
    content = turn["content"]
    return kinds[turn["role"]](
        content=list(map(_part, content)) if isinstance(content, list) else str(content)
    )


def _part(part: Mapping[str, Any]) -> Any:
    """A part of a content as Inspect has it: a picture travels inside the message, as PNG."""
    from inspect_ai.model import ContentImage, ContentText

    if part["type"] == "text":
        return ContentText(text=part["text"])
    file = io.BytesIO()
    part["image"].save(file, "PNG")
    return ContentImage(image="data:image/png;base64," + base64.b64encode(file.getvalue()).decode())
