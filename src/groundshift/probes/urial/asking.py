"""What models are asked: queries and dialogues as people keep them, and the prompt that a template makes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from groundshift.errors import InputError
from groundshift.models.activations import ProbeModel, read_rows
from groundshift.models.records import read_records
from groundshift.models.tokens import text_of
from groundshift.probes.urial.prompts import Prompt, read_prompt

__all__ = ["prompt_row", "read_queries"]

FENCED = "# Query: \n ```{query}``` \n\n \n# Answer: \n ``` "
"""The base's template of the published code."""
QUERY = ("messages", "query", "instruction", "question", "prompt", "text", "input")
ANSWER = ("completion_ids", "answer", "output", "completion", "response")


def read_queries(source: Any) -> tuple[list[list[str]], list[Any]]:
    """Queries, each a list of turns that ends with one; and their recorded answers (text, ids or None).

    Raises
    ------
    InputError
        Rows without a query, or a dialogue with other speakers than user and assistant.
    """
    queries, recorded = [], []
    for number, row in enumerate(
        read_rows(source) if isinstance(source, str | Path) else read_records(source)
    ):
        row = {"query": row} if isinstance(row, str) else row
        query, answer = (
            next((row[name] for name in names if row.get(name) is not None), None)
            for names in (QUERY, ANSWER)
        )
        if not query:
            raise InputError(
                f"Row {number} has no query (its keys: {', '.join(map(str, row))}); give one of {', '.join(QUERY)}."
            )
        messages = [{"role": "user", "content": query}] if isinstance(query, str) else query
        roles = [message.get("role") for message in messages]
        if len(roles) % 2 == 0 or roles != [
            "assistant" if turn % 2 else "user" for turn in range(len(roles))
        ]:
            raise InputError(
                f"Row {number} has a dialogue of {', '.join(map(str, roles))}; user and assistant must alternate and "
                "the user speak last. A system text belongs into a prompt file (urial:FILE)."
            )
        queries.append([text_of(message) for message in messages])
        recorded.append(answer)
    return queries, recorded


def prompt_row(
    model: ProbeModel, template: str | Prompt, k: int | None, turns: list[str], whose: str
) -> dict[str, Any]:
    """The prompt of a query, or of a dialogue, for a model; ``whose`` template it is: base or tuned."""
    if template == "chat":
        if not getattr(model.tokenizer, "chat_template", None):
            raise InputError(
                f"{model.source} has no chat template; say how it is asked: {whose}_template= (--{whose}-template) as "
                "a text with {query}, 'fenced' or 'urial:NAME'."
            )
        roles = ("user", "assistant")
        return {"messages": [{"role": roles[turn % 2], "content": text} for turn, text in enumerate(turns)]}
    if isinstance(template, Prompt) or template.startswith("urial:"):
        prompt = read_prompt(template if isinstance(template, Prompt) else template.removeprefix("urial:"))
        return {"text": prompt.head(k).render(turns)}
    text = {"fenced": FENCED, "query": "{query}"}.get(template, template)
    if "{query}" not in text:
        raise InputError(
            f"{whose}_template={template!r} was given; it is 'fenced', 'query', 'chat', 'urial:NAME', for the base "
            "also 'tuned', or a text with {query}."
        )
    if len(turns) > 1:
        raise InputError(
            f"A dialogue of {len(turns)} turns cannot be put into {template!r}; use chat or urial:NAME."
        )
    return {"text": text.replace("{query}", turns[0])}
