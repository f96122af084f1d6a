"""What the cells of a study train once and share, kept in the cache; and worlds drawn until they are what they say."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import numpy as np

from groundshift.models.backbones import cache_folder, make_once

__all__ = ["drawn_until", "kept"]

T = TypeVar("T")


def drawn_until(holds: Callable[[T], bool], draw: Callable[[int], T], seed: int, most: int) -> tuple[T, int]:
    """The first draw that holds, and how many were drawn.

    A world in which training planted something has it only if the training succeeded. ``holds`` is checked before any
    method runs and uses none of them, so that a study is about worlds that have what its claims speak of.

    Parameters
    ----------
    holds : whether a draw is what the world says
    draw : seed -> a draw; its seeds are children of ``seed``
    most : draws that are tried

    Raises
    ------
    RuntimeError
        None holds: the cell fails, and its claims have a replicate too few.

    Examples
    --------
    >>> drawn_until(lambda x: x % 2 == 0, lambda seed: seed, seed=0, most=9)
    (2968811710, 1)
    """
    for count, child in enumerate(np.random.SeedSequence(seed).generate_state(most).tolist(), 1):
        if holds(drawn := draw(int(child))):
            return drawn, count
    raise RuntimeError(f"None of {most} draws from seed {seed} is what the world says it is.")


def kept(study: str, recipe: Any, make: Callable[[Path], Any], *code: ModuleType) -> Path:
    """The folder that ``make`` fills, made once for every cell that asks for the same recipe of the same code.

    Parameters
    ----------
    study : its slug
    recipe : everything that the content depends on: numbers, texts, arrays, lists and dictionaries of them
    make : fills the empty folder that it is handed
    code : packages that make the content; where their source changes, it is made anew
    """
    whole = json.dumps([recipe, [_source(package) for package in code]], sort_keys=True, default=_plain)

    def filled(work: Path) -> Path:
        ready = work / "ready"
        ready.mkdir(parents=True, exist_ok=True)
        make(ready)
        return ready

    folder = cache_folder() / "studies" / f"{study}-{hashlib.sha256(whole.encode()).hexdigest()[:16]}"
    make_once(folder, filled)
    return folder


def _plain(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()
    return str(value)


@cache
def _source(package: ModuleType) -> str:
    files = sorted(Path(str(package.__file__)).parent.glob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
