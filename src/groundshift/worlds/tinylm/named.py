"""Worlds by name, as the bases of several studies know them."""

from __future__ import annotations

from groundshift.errors import InputError
from groundshift.worlds.tinylm.atlas import Atlas
from groundshift.worlds.tinylm.captions import Captions
from groundshift.worlds.tinylm.facts import Facts
from groundshift.worlds.tinylm.part import Part
from groundshift.worlds.tinylm.world import TinyWorld

__all__ = ["WORLDS", "world"]

WORLDS: dict[str, dict[str, Part]] = {
    "facts": {"facts": Facts()},
    "atlas": {"atlas": Atlas()},
    "captions": {"captions": Captions()},
}
"""The parts of each."""


def world(name: str, seed: int = 0) -> TinyWorld:
    """A world of `WORLDS`.

    Raises
    ------
    InputError
        No such world.

    Examples
    --------
    >>> len(world("atlas").lexicon)
    43
    """
    if name not in WORLDS:
        raise InputError(f"There is no world {name!r}; there are {', '.join(WORLDS)}.")
    return TinyWorld(WORLDS[name], seed=seed)
