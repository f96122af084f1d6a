"""What a question that is asked of both models has to be able to do."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from groundshift.errors import InputError
from groundshift.models.activations import ProbeModel
from groundshift.report import Section

__all__ = ["How", "Probe", "Values", "kept_json"]

Values = Mapping[tuple[str, str], NDArray[np.float64]]
"""Name and meaning of a number → its value for each prompt, statement, pair, ...: the same items for every reading."""


@dataclass(frozen=True)
class How:
    """How models are read.

    Attributes
    ----------
    prompts : rows that both models answer
    work : folder in which readings are kept
    by_words : the models have different tokens, so that their answers are compared by words
    seed : of what a comparison draws
    budget : seconds for reading one model; None: as long as it takes
    identity : fingerprint of the model that is read, which is costly to take; part of the key of what is kept
    answers : of the model that is read to the prompts
    """

    prompts: Sequence[Any]
    max_new_tokens: int
    top_k: int
    progress: bool
    work: Path
    by_words: bool
    seed: int
    budget: float | None = None
    identity: Any = None
    answers: Sequence[Mapping[str, Any]] = ()


class Probe(ABC):
    """One question: what is read of a model for it, and how two readings differ.

    Attributes
    ----------
    name : as users ask for it
    needs : the material that a user can give for it, as a keyword of `diff`; empty if it reads the prompts alone
    same_network : whether both models need the same architecture and the same tokens
    """

    name: ClassVar[str]
    needs: ClassVar[str] = ""
    same_network: ClassVar[bool] = False

    def gather(self, given: Any, tokenizers: Sequence[Any], chats: bool, notes: list[str]) -> Any:
        """The user's material or the built-in one; None, with a note, where there is nothing to read."""
        return True

    def lengths(self, model: ProbeModel, material: Any) -> tuple[str, list[int]]:
        """What a row of the material is called, and the tokens of each."""
        return "", []

    @abstractmethod
    def read(
        self, model: ProbeModel, material: Any, how: How, folder: Path, options: Mapping[str, Any]
    ) -> Any:
        """Everything that is needed of one model; kept in ``folder``, and never read twice."""

    @abstractmethod
    def compare(self, base: Any, other: Any, material: Any, seed: int) -> Any:
        """How two readings differ."""

    @abstractmethod
    def values(self, comparison: Any) -> Values:
        """The numbers that follow; each is 0 where nothing differs."""

    def detail(
        self, base: Any, tuned: Any, comparison: Any, seed: int, notes: list[str]
    ) -> dict[str, Any] | None:
        """What the page says beside the numbers."""
        return None

    def what(self, detail: Mapping[str, Any]) -> str:
        """Where its numbers changed most, in a few words of the page's first sentence."""
        return ""

    def section(self, detail: Mapping[str, Any]) -> Section | None:
        """Its section of the page."""
        return None


def kept_json(file: Path, made_of: Any, make: Callable[[], Any]) -> Any:
    """What ``make`` gives, kept as JSON; a file that was made of something else is an error."""
    key = hashlib.sha256(json.dumps(made_of, sort_keys=True, default=str).encode()).hexdigest()
    if file.is_file():
        held = json.loads(file.read_text())
        if held["key"] != key:
            raise InputError(f"{file.parent} holds readings of another comparison; name another folder.")
        return held["made"]
    result = make()
    waiting = file.with_suffix(".new")
    waiting.write_text(json.dumps({"key": key, "made": result}))
    waiting.replace(file)
    return result
