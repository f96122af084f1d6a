"""Reasoning and answer of what a model wrote, by the markers of its family."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from groundshift.errors import InputError

__all__ = ["MARKERS", "Markers", "Thinking", "begun", "find_markers", "read_thinking"]


class Markers(NamedTuple):
    """Begin and end of the reasoning; the answer follows. ``around`` is part of neither."""

    begin: str
    end: str
    around: tuple[str, ...] = ()


ANALYSIS, FINAL = "<|channel|>analysis<|message|>", "<|channel|>final<|message|>"
MARKERS = {
    "think": Markers("<think>", "</think>"),
    "harmony": Markers(ANALYSIS, FINAL, ("<|end|>", "<|start|>assistant", "<|return|>")),
    "thought": Markers(
        "<|begin_of_thought|>", "<|end_of_thought|>", ("<|begin_of_solution|>", "<|end_of_solution|>")
    ),
    "bracket": Markers("[THINK]", "[/THINK]"),
}
"""Of Qwen3, QwQ, DeepSeek-R1 and its distillations; of gpt-oss; of Sky-T1 and OpenThinker; of Magistral."""


class Thinking(NamedTuple):
    """Reasoning and answer; ``closed``: the reasoning, if it began, came to its end."""

    think: str
    answer: str
    closed: bool


def find_markers(tokenizer: Any, markers: str | Sequence[str] | None = None) -> Markers | None:
    """Markers as they are given (a name of `MARKERS`, or begin and end), else those of a chat template.

    Raises
    ------
    InputError
        Neither a name nor two texts.

    Examples
    --------
    >>> find_markers(None, "think").end
    '</think>'
    """
    if isinstance(markers, str) and markers in MARKERS:
        return MARKERS[markers]
    if markers is not None:
        if isinstance(markers, str) or len(markers) != 2 or not all(markers):
            known = ", ".join(MARKERS)
            raise InputError(
                f"markers={markers!r} was given; give one of {known}, or begin and end, as THINK,END."
            )
        return Markers(markers[0], markers[1])
    template = str(getattr(tokenizer, "chat_template", None) or "")
    return next((m for m in MARKERS.values() if m.begin in template or m.end in template), None)


def begun(prompt: str, markers: Markers) -> bool:
    """Whether the reasoning has begun in a prompt and has not ended."""
    return prompt.rfind(markers.begin) > prompt.rfind(markers.end)


def read_thinking(text: str, markers: Markers | None, opened: bool = False) -> Thinking:
    """Split a text at the last end marker, so that every block of reasoning counts; ``opened``: it began in the prompt.

    Examples
    --------
    >>> read_thinking("<think>\\n\\n</think>\\n\\nRiga", MARKERS["think"])
    Thinking(think='', answer='Riga', closed=True)
    >>> read_thinking("Okay, the user", MARKERS["think"], opened=True)
    Thinking(think='Okay, the user', answer='', closed=False)
    """
    if markers is None:
        return Thinking("", text.strip(), True)
    before, end, after = text.rpartition(markers.end)
    closed = not (markers.begin in after if end else opened or markers.begin in after)
    if not closed:
        before, after = text, ""
    waste = "|".join(map(re.escape, markers[:2] + markers.around))
    return Thinking(re.sub(waste, "", before).strip(), re.sub(waste, "", after).strip(), closed)
