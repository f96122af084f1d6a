"""The same or other facts in another tongue: what a model is trained on next."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from groundshift.errors import InputError
from groundshift.worlds.tinylm.facts import Facts
from groundshift.worlds.tinylm.lexicon import Lexicon
from groundshift.worlds.tinylm.part import Part, Sentence

__all__ = ["SHIFTS", "Tongue"]

SHIFTS = ("same", "weak", "half", "strong", "conflict")


@dataclass
class Tongue(Facts):
    """A second tongue beside another part's facts; words that are new in it end in its name.

    Parameters
    ----------
    of : name of the `Facts` that this shifts, with the same numbers of entities, relations and objects
    shift : "same": fresh sentences of the same; "weak": new entities and facts; "half": the same facts with half of the
        function words and of the objects replaced; "strong": every word new, and other facts; "conflict": the
        same words, and every fact has another object
    name : what new words end in

    Notes
    -----
    Truth and exams are those of `Facts`; ``entropy`` is exact for both tongues.

    Examples
    --------
    >>> from groundshift.worlds.tinylm import TinyWorld
    >>> world = TinyWorld({"facts": Facts(4, 2, 3), "tongue": Tongue(4, 2, 3, shift="strong")})
    >>> world.lexicon.decode(world["tongue"].everything().ids[0])
    '<bos> Kami-b gitas-b is-b bisin-b .-b'
    """

    of: str = "facts"
    shift: str = "weak"
    name: str = "b"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.shift not in SHIFTS:
            raise InputError(f"shift={self.shift!r} was given; the shifts are {', '.join(SHIFTS)}.")

    def groups(self) -> Mapping[str, Sequence[str]]:
        new = self._new()
        return {
            role: tuple(new.get(word, word) for word in words) for role, words in super().groups().items()
        }

    def _new(self) -> dict[str, str]:
        """Words of the first tongue that this one replaces."""
        groups = Facts.groups(self)
        replaced: dict[str, Sequence[str]] = {
            "weak": groups["entity"],
            "half": (*groups["function"][::2], *groups["object"][::2]),
            "strong": [word for words in groups.values() for word in words],
        }
        return {word: f"{word}-{self.name}" for word in replaced.get(self.shift, ())}

    def settle(self, lexicon: Lexicon, rng: np.random.Generator, parts: Mapping[str, Part]) -> None:
        first: Facts = self._other(parts, self.of, Facts)
        if first.table_.shape != (self.entities, self.relations) or first.objects != self.objects:
            raise InputError(
                f"The tongue has {self.entities} entities, {self.relations} relations and {self.objects} objects, and "
                f"{self.of!r} has {first.entities}, {first.relations} and {first.objects}; give it the same."
            )
        super().settle(lexicon, rng, parts)
        if self.shift in ("same", "half"):
            self.table_ = first.table_.copy()
        elif self.shift == "conflict":
            self.table_ = (
                first.table_ + rng.integers(1, self.objects, size=first.table_.shape)
            ) % self.objects

    def say(self, text: str) -> str:
        new = self._new()
        return " ".join(new.get(word, word) for word in text.split())

    def sentences(self) -> Iterator[Sentence]:
        return (replace(s, text=self.say(s.text)) for s in super().sentences())
