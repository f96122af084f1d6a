"""The same question to a model that talks: three pictures in an order of their own, which one is the odd one out?"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from groundshift.benchmarks.dist.oddity import CHANCE
from groundshift.benchmarks.dist.triplets import Triplets, open_triplets
from groundshift.graded import Graded
from groundshift.models.items import Item, Picture, Unparsed, Verdict, ask_items, grade_items
from groundshift.shifts.rearranging import How

__all__ = ["ask", "grade", "parse", "triplet_items"]

VERSION = "1"  # of the question and of the reading
QUESTION = (
    "Two of these three pictures show a scene that was taken apart and put together in another order. One shows a "
    "scene as it is. Which picture is it, the first, the second or the third? Reply with its number: 1, 2 or 3."
)
NUMBERS = {"1": "1", "2": "2", "3": "3", "first": "1", "second": "2", "third": "3"}
WORD = re.compile(rf"\b({'|'.join(NUMBERS)})(?:st|nd|rd)?\b", re.IGNORECASE)


def parse(text: str) -> str | Unparsed:
    """The number of the picture that an answer names, "1", "2" or "3"; of several sentences the last that names any.

    >>> parse("The second picture."), parse("**3**"), parse("Picture 1 or 2").reason
    ('2', '3', 'two pictures are named')
    """
    for sentence in reversed(re.split(r"(?<=[.!?\\n])\s+", text.strip())):
        named = {NUMBERS[word.lower()] for word in WORD.findall(sentence)}
        if len(named) == 1:
            return named.pop()
        if named:
            return Unparsed("two pictures are named")
    return Unparsed("no picture is named")


def grade(value: str, target: str, facts: Mapping[str, Any]) -> Verdict:
    """Whether the original was named."""
    return Verdict(value == target, reason="" if value == target else f"a twin, picture {value}, was named")


def triplet_items(triplets: Triplets, seed: int = 0) -> list[Item]:
    """An item for each triplet, whose pictures stand in an order that is drawn for it alone."""
    items = []
    for number, (three, name, label) in enumerate(
        zip(triplets.pictures, triplets.names, triplets.labels, strict=True)
    ):
        order = np.random.default_rng([seed, number]).permutation(3)
        pictures = [
            Picture(hashlib.sha256(three[k].tobytes()).hexdigest(), partial(Image.fromarray, three[k])) for k in order
        ]
        facts = {"triplet": number, "name": name, "class": label, "place": int(np.argmin(order)) + 1}
        items.append(Item(QUESTION, str(facts["place"]), {**facts, "group": name, "chance": CHANCE}, 64, pictures))
    return items


def ask(
    model: Any, images: Any, *, how: How = "blocks", strength: float | None = None, n: int | None = None,
    size: int = 224, check: bool = True, answers: str | Path | None = None, seed: int = 0, device: str = "auto",
    allow_missing: bool = False, progress: bool = True,
) -> Graded:  # fmt: skip
    """Ask an image-text model which of three pictures is whole; the other two have lost their global arrangement.

    Parameters
    ----------
    model : directory or id of an image-text model, "inspect:provider/model", or JSONL with "id" and "answer"; in Python
        also a function of messages
    images : folder of pictures, or of saved triplets; in Python also `Triplets`
    how, strength, n, size, check : of the twins, see `make_triplets`
    answers : JSONL file that keeps every answer as it comes; a run that was stopped goes on from there
    seed : of the twins and of the order of the pictures

    Raises
    ------
    InputError
        What `make_triplets` raises; a model that takes fewer than three pictures.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> noise = [rng.integers(0, 256, (64, 64, 3)).astype(np.uint8) for _ in range(12)]
    >>> result = ask(lambda messages: "1", noise, check=False, progress=False)
    >>> 0 < result.records["correct"].mean() < 1
    True
    """
    triplets = open_triplets(images, how, strength, n, size, seed, check=check)
    items = triplet_items(triplets, seed)
    name, texts = ask_items(
        items, model, answers=answers, seed=seed, device=device, allow_missing=allow_missing, progress=progress
    )
    records = grade_items(items, texts, parse, grade, task="dist", version=VERSION, model=name)
    strata = ("place", "class") if len(set(triplets.labels)) > 1 else ("place",)
    return Graded(records, "dist", strata, dict(triplets.settings))
