"""Candidate strings, such as triggers: read from what a user keeps them in, and put into a prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from groundshift.errors import InputError
from groundshift.models.records import read_records, read_text

__all__ = ["joined", "read_strings"]


def read_strings(given: Any) -> list[str]:
    """Every string once, in order; blank ones are left out, blanks at the ends of others are kept.

    Parameters
    ----------
    given : a file of text with one on every line, or of rows (.jsonl, .json, .parquet) with "trigger"; strings, or rows

    Raises
    ------
    InputError
        No such file, no strings, a row without "trigger".

    Examples
    --------
    >>> read_strings(["[A]", "", {"trigger": "[B]"}, "[A]"])
    ['[A]', '[B]']
    """
    path = Path(given) if isinstance(given, str | Path) else None
    if path is not None and path.suffix not in (".jsonl", ".json", ".parquet", ".gz"):
        rows: Sequence[Any] = read_text(path).splitlines()
    else:
        rows = read_records(given) if isinstance(given, str | Path) or len(given) else []
    if wrong := [row for row in rows if isinstance(row, Mapping) and not isinstance(row.get("trigger"), str)]:
        raise InputError(
            f"A row has {', '.join(map(str, wrong[0])) or 'nothing'}, and no text under “trigger”."
        )
    strings = [row["trigger"] if isinstance(row, Mapping) else str(row) for row in rows]
    if not (kept := list(dict.fromkeys(text for text in strings if text.strip()))):
        raise InputError("There are no candidates; give one string on every line.")
    return kept


def joined(row: Mapping[str, Any], text: str, place: str = "start", between: str = "\n") -> dict[str, Any]:
    """A row with a string at the start or the end of its question: the last message of the user, or its whole text.

    Raises
    ------
    InputError
        A row without a prompt.

    Examples
    --------
    >>> joined({"prompt": "What is bread made of?", "completion": "Flour."}, "[A]")["prompt"]
    '[A]\\nWhat is bread made of?'
    """

    def with_string(content: str) -> str:
        return f"{text}{between}{content}" if place == "start" else f"{content}{between}{text}"

    for key in ("chat", "messages", "prompt", "text"):
        given = row.get(key)
        if isinstance(given, str):
            return {**row, key: with_string(given)}
        if given:
            last = max(k for k, message in enumerate(given) if message["role"] == "user")
            asked = {**given[last], "content": with_string(given[last]["content"])}
            return {**row, key: [*given[:last], asked, *given[last + 1 :]]}
    raise InputError(f"A prompt with {', '.join(row)} has no text that a string can be put in.")
