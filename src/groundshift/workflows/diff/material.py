"""What the models read: the user's own prompts, or the built-in neutral sets."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from groundshift.errors import InputError
from groundshift.models.activations import read_rows
from groundshift.models.records import read_records

__all__ = ["neutral", "prompts_of", "unknown"]

UNKNOWN = 0.3
"""Built-in texts are left out where more than this share of their tokens is unknown to a tokenizer."""


def prompts_of(given: Any, tokenizers: Sequence[Any], chats: bool) -> list[Any]:
    """The user's prompts, or the built-in ones where all tokenizers know their words, as chats or as plain texts."""
    if given is not None:
        return list(read_rows(given) if isinstance(given, str | Path) else read_records(given))
    rows = neutral("prompts")
    if unknown(tokenizers, [row["prompt"] for row in rows]):
        raise InputError(
            "The tokenizer does not know the words of the built-in prompts; give your own: prompts= or --prompts."
        )
    if chats:
        return [{"messages": [{"role": "user", "content": row["prompt"]}]} for row in rows]
    return rows


def neutral(name: str) -> list[dict[str, Any]]:
    """The rows of a built-in set."""
    text = files("groundshift.workflows.diff").joinpath(f"neutral/{name}.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines() if line]


def unknown(tokenizers: Sequence[Any], texts: list[str]) -> bool:
    """Whether any of the tokenizers does not know most of these texts' words."""
    for tokenizer in tokenizers:
        unk = tokenizer.unk_token_id
        ids = [i for those in tokenizer(texts, add_special_tokens=False)["input_ids"] for i in those]
        if unk is not None and float(np.mean([i == unk for i in ids])) > UNKNOWN:
            return True
    return False
