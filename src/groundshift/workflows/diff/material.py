"""What the models read: the user's own prompts, statements and pairs, or the built-in neutral sets."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from groundshift.adaptation import displacement as preferences
from groundshift.errors import InputError
from groundshift.models.activations import ProbeModel, encode, read_rows
from groundshift.models.records import read_records
from groundshift.probes.truth import read_statements
from groundshift.probes.truth.statements import entities_of

__all__ = ["Material", "gather", "refuse_too_long"]

UNKNOWN = 0.3
"""Built-in texts are left out where more than this share of their tokens is unknown to a tokenizer."""


@dataclass
class Material:
    """What the models read."""

    prompts: list[Any]
    statements: pd.DataFrame | None
    pairs: list[dict[str, Any]] | None

    @property
    def plain(self) -> bool:
        """Whether the pairs are texts; they are read as they stand then, as plain prompts are."""
        return self.pairs is not None and isinstance(self.pairs[0]["chosen"], str)


def gather(
    tokenizers: Sequence[Any],
    prompts: Any,
    statements: Any,
    pairs: Any,
    probes: Sequence[str],
    chats: bool,
    notes: list[str],
) -> Material:
    """The user's own material, or the built-in sets where all tokenizers know their words, as chats or as plain texts;
    what is left out is noted.
    """
    rows: list[Any] | None = None
    if prompts is not None:
        rows = read_rows(prompts) if isinstance(prompts, str | Path) else read_records(prompts)
    if rows is None:
        rows = _neutral("prompts")
        if _unknown(tokenizers, [row["prompt"] for row in rows]):
            raise InputError(
                "The tokenizer does not know the words of the built-in prompts; give your own: prompts= or --prompts."
            )
        if chats:
            rows = [{"messages": [{"role": "user", "content": row["prompt"]}]} for row in rows]
    table = None
    if "truth" in probes:
        if statements is not None:
            table = read_statements(statements)
            table = table[table["kind"].isin(["true", "false"])].reset_index(drop=True)
            entities_of(table)  # too few are refused before any weight is read
        elif not _unknown(tokenizers, [row["statement"] for row in _neutral("statements")]):
            table = read_statements(pd.DataFrame(_neutral("statements")))
        else:
            notes.append("The tokenizer does not know the words of the built-in statements: no truth probe.")
    data = None
    if "displacement" in probes:
        data = preferences.read_pairs(pairs) if pairs is not None else _neutral("pairs")
        if pairs is None and _unknown(tokenizers, [row["chosen"] for row in data]):
            data = None
            notes.append(
                "The tokenizer does not know the words of the built-in pairs: no displacement probe."
            )
        elif pairs is None and chats:
            speakers = {"prompt": "user", "chosen": "assistant", "rejected": "assistant"}
            data = [{k: [{"role": speakers[k], "content": text}] for k, text in row.items()} for row in data]
    return Material(list(rows), table, data)


def _neutral(name: str) -> list[dict[str, Any]]:
    text = files("groundshift.workflows.diff").joinpath(f"neutral/{name}.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines() if line]


def _unknown(tokenizers: Sequence[Any], texts: list[str]) -> bool:
    for tokenizer in tokenizers:
        unk = tokenizer.unk_token_id
        ids = [i for those in tokenizer(texts, add_special_tokens=False)["input_ids"] for i in those]
        if unk is not None and float(np.mean([i == unk for i in ids])) > UNKNOWN:
            return True
    return False


def refuse_too_long(model: ProbeModel, material: Material, max_new_tokens: int) -> None:
    """Count the tokens of everything that a model, which may be without its weights, is going to read.

    Raises
    ------
    InputError
        The first row that does not fit the model's context, with its tokens and the limit.
    """
    limit = model.context
    if limit is None:
        return
    room = max_new_tokens
    lengths = {"Prompt": [len(row) + room for row in encode(model, material.prompts)]}
    if material.statements is not None:
        asked = material.statements["statement"].tolist()
        lengths["Statement"] = [len(row) for row in encode(model, asked)]
    if material.pairs is not None:
        with warnings.catch_warnings():  # they come when the pairs are read
            warnings.simplefilter("ignore")
            data = preferences.encode_pairs(
                model,
                material.pairs,
                template="none" if material.plain else "auto",
                end=not material.plain,
                long=True,
            )
        lengths["Pair"] = data.lengths.tolist()
    for kind, those in lengths.items():
        for i, length in enumerate(those):
            if length > limit:
                own, why = length, ""
                if kind == "Prompt":
                    own, why = length - room, f", which leaves no room for {room} more"
                raise InputError(
                    f"{kind} {i} (the first is 0) has {own} tokens{why}: {model.source} reads {limit}. Shorten it or "
                    "leave it out."
                )
