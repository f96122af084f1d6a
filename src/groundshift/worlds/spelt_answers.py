"""Answers in three lines about an image: right with a known probability, spelt in harmless ways, or malformed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

__all__ = ["NAMES", "PROSE", "SPELLINGS", "SpeltAnswers", "spelt_answers"]

NAMES = ("car", "carrot", "teddy-bear", "Trash_Can", "bus", "bush", "sea lion", "house")
SPELLINGS: tuple[Callable[[str], str], ...] = (
    lambda n: f"Answer Choice: [{n}]\nConfidence Score: [0.8]\nReasoning: [It looks so.]",
    lambda n: f"answer choice: '{n.upper()}'\nConfidence Score: 80%",
    lambda n: f'Answer Choice: "{n}"\nConfidence Score: 0,8',
    lambda n: f"**Answer Choice:** **{n}**\n**Confidence Score:** 0.8",
    lambda n: f"Answer Choice: {n.replace('_', ' ').replace('-', ' ')}.\nConfidence Score: .8",
    lambda n: (
        f"---BEGIN FORMAT TEMPLATE---\nAnswer Choice: {n}\nConfidence Score: 0.8\n---END FORMAT TEMPLATE---"
    ),
    lambda n: f"Answer Choice: {n.title()}, as far as I see\nConfidence Score: 0.80",
    lambda n: f"Answer Choice: [one of the choices]\nI see it.\nAnswer Choice: {n}\nConfidence Score: (0.8)",
    lambda n: f"Answer Choice:\t{n} \nConfidence Score: 8e-1".replace("8e-1", "0.8"),
)
PROSE = (
    "It looks like a {} to me.",
    "I am not sure, perhaps a {}?",
    "Answer Choice: none of them, though near {}",
)
"""Of which none names exactly one class behind "Answer Choice:"."""


@dataclass(frozen=True)
class SpeltAnswers:
    """Answers with what they say.

    Attributes
    ----------
    names : classes, in a random order
    right, said : the right class of each question, and the one that was meant
    spelt : the answers, each in one of `SPELLINGS`, with the confidence 0.8
    malformed : the same answers, of which those that are ``lost`` are prose
    lost : bool
    """

    names: list[str]
    right: list[str]
    said: list[str]
    spelt: list[str]
    malformed: list[str]
    lost: list[bool]


def spelt_answers(rng: np.random.Generator, n: int, accuracy: float = 0.8, lost: float = 0.1) -> SpeltAnswers:
    """Answers to n questions.

    Examples
    --------
    >>> drawn = spelt_answers(np.random.default_rng(0), 200)
    >>> bool(0.7 < np.mean(np.array(drawn.right) == drawn.said) < 0.9)
    True
    """
    names = rng.permutation(NAMES)
    right = rng.integers(len(names), size=n)
    said = np.where(rng.random(n) < accuracy, right, (right + rng.integers(1, len(names), n)) % len(names))
    form, gone = rng.integers(len(SPELLINGS), size=n), rng.random(n) < lost
    spelt = [SPELLINGS[f](str(names[k])) for f, k in zip(form, said, strict=True)]
    prose = [PROSE[f % len(PROSE)].format(names[k]) for f, k in zip(form, said, strict=True)]
    malformed = [b if bad else a for a, b, bad in zip(spelt, prose, gone, strict=True)]
    return SpeltAnswers(
        names.tolist(), names[right].tolist(), names[said].tolist(), spelt, malformed, gone.tolist()
    )
