"""Answers of chat models behind any of Inspect's providers: hosted services, servers of one's own, recorded ones."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from groundshift.errors import InputError

__all__ = ["ask", "is_provider"]


def is_provider(model: Any) -> bool:
    """Whether this is a model of Inspect, or names one behind the prefix ``inspect:``."""
    return hasattr(model, "api") if not isinstance(model, str) else model.startswith("inspect:")


def ask(
    model: Any,
    chats: Sequence[Sequence[Mapping[str, str]]],
    *,
    max_new_tokens: int,
    temperature: float = 0.0,
    seed: int | None = None,
    cache: bool = True,
) -> list[str]:
    """One answer to each chat; requests run side by side, as many as the provider allows.

    Parameters
    ----------
    model : "inspect:" and the name of a model of Inspect (``inspect:openai/gpt-5``, ``inspect:vllm/…``); its keys come
        from the environment. In Python also a model that `inspect_ai.model.get_model` gave.
    chats : messages with "role" (system, user or assistant) and "content"
    temperature : of sampling; 0 is greedy
    cache : take answers to the same request from Inspect's cache, so that a run that was stopped goes on

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
    if not is_provider(model):
        raise InputError(f"{model!r} names no model of Inspect; write inspect:provider/model.")
    # In a thread of its own, since a notebook has a loop that runs already.
    with ThreadPoolExecutor(1) as apart:
        work = _all(model, chats, max_new_tokens, temperature, seed, cache)
        return apart.submit(asyncio.run, work).result()


async def _all(
    named: Any,
    chats: Sequence[Sequence[Mapping[str, str]]],
    max_new_tokens: int,
    temperature: float,
    seed: int | None,
    cache: bool,
) -> list[str]:
    from inspect_ai.model import GenerateConfig, get_model
    from rich.text import Text

    messages = [[_message(turn) for turn in chat] for chat in chats]
    config = GenerateConfig(max_tokens=max_new_tokens, temperature=temperature, seed=seed)
    # Providers report a missing package or key, or that they cannot be reached, by exceptions of their own.
    try:
        model = get_model(named.removeprefix("inspect:")) if isinstance(named, str) else named
        async with model:
            outputs = await asyncio.gather(*(model.generate(m, config=config, cache=cache) for m in messages))
    except Exception as error:
        why = " ".join(Text.from_markup(str(error)).plain.split())[:300]
        raise InputError(f"The model {named} gave no answer ({type(error).__name__}: {why}).") from error
    return [output.completion for output in outputs]


def _message(turn: Mapping[str, str]) -> Any:
    from inspect_ai.model import ChatMessageAssistant, ChatMessageSystem, ChatMessageUser

    kinds: dict[str, Any] = {
        "system": ChatMessageSystem, "user": ChatMessageUser, "assistant": ChatMessageAssistant,
    }  # fmt: skip
    if turn.get("role") not in kinds:
        raise InputError(f"A message has the role {turn.get('role')!r}; it is system, user or assistant.")
    return kinds[turn["role"]](content=str(turn["content"]))
