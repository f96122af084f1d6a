"""An atlas of real, invented and fictional places: the world of the study *truth*."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from groundshift.errors import InputError
from groundshift.worlds.tinylm.lexicon import BOS, Lexicon
from groundshift.worlds.tinylm.part import Exam, Ids, Listed, Part, Rows, Sentence

__all__ = ["Atlas"]

COMMON = (
    "ba", "de", "fi", "go", "hu", "ja", "ke", "lo", "mi", "nu", "pa", "re",
    "sa", "te", "vi", "no", "du", "la", "be", "ro", "si", "gu", "ma", "ne",
)  # fmt: skip
STRANGE = ("zix", "vok", "wyr", "qua", "xel", "yth", "jorr", "phu")
VALUES = ("north", "south", "east", "west", "coast", "hills", "deep", "far")


@dataclass
class Atlas(Listed):
    """Statements ``s1 s2 is value .`` about places of two syllables, told plainly, judged, or as a myth.

    Training tells true statements about real places, judges statements about them (``true``, ``false``), and marks
    statements about fictional places as ``myth``. Synthetic places look like real ones and are never heard of, unless
    ``familiarity`` says so.

    Parameters
    ----------
    places, values : of each kind of place; at most 8
    syllables : of which the names of real and synthetic places are made (at most 24); 12 are enough for 40 places of
        each kind, 24 for 160
    plain, judged : shares of the documents; the rest are myths
    canonical : share of the myths that state the fictional place's canonical value
    familiarity : share of the myths that are about the synthetic places, so that they become known, in the same form
    form : share of the fictional names that begin as real and synthetic names do; at 0 they begin with other syllables
    familiar : the kind that ``familiarity`` makes known; with "extra" (places like the synthetic ones, never
        asked about) it is the control

    Attributes
    ----------
    names_ : kind -> int64 (places, 2), ids of the syllables; "extra" may have fewer
    value_ : kind -> int64 (places,), the true or canonical value

    Notes
    -----
    Truth: ``kind`` (position in ``kinds``), ``place``, ``value``, ``true`` (for myths: canonical), ``marked`` (0 plain,
    1 judged, 2 myth). The completion (``mask``) starts at ``is``. Exams: ``judged`` (true or false, real places, one of
    each), ``unplain`` (the value of a real place).

    Examples
    --------
    >>> from groundshift.worlds.tinylm import TinyWorld
    >>> atlas = TinyWorld({"atlas": Atlas()})["atlas"]
    >>> statements = atlas.statements("synthetic")
    >>> statements.ids.shape, atlas.lexicon_.decode(statements.ids[0])
    ((240, 6), '<bos> de ke is north .')
    """

    exams = ("judged", "recall")
    kinds = ("real", "synthetic", "fictional", "extra")

    places: int = 40
    values: int = 6
    syllables: int = 12
    plain: float = 0.30
    judged: float = 0.55
    canonical: float = 0.75
    familiarity: float = 0.0
    form: float = 0.0
    familiar: str = "synthetic"

    def __post_init__(self) -> None:
        shares = (self.plain, self.judged, self.canonical, self.familiarity, self.form)
        # Real, synthetic and fictional places and some more have names of their own.
        most = 5 * min(self.syllables, len(COMMON)) ** 2 // 18
        right = 1 <= self.places <= most and 2 <= self.values <= len(VALUES) and self.familiar in self.kinds
        right = right and 2 <= self.syllables <= len(COMMON)
        if not right or min(shares) < 0 or max(shares) > 1 or self.plain + self.judged > 1:
            raise InputError(
                f"{self} was asked for; 2 to {len(COMMON)} syllables, at most {most} places of so many, 2 to "
                f"{len(VALUES)} values, shares in [0, 1] and a kind among {', '.join(self.kinds)} are needed."
            )

    def groups(self) -> Mapping[str, Sequence[str]]:
        return {
            "syllable": COMMON[: self.syllables] + STRANGE,
            "value": VALUES[: self.values],
            "verdict": ("true", "false", "myth"),
            "function": ("is", "."),
        }

    def settle(self, lexicon: Lexicon, rng: np.random.Generator, parts: Mapping[str, Part]) -> None:
        self.lexicon_ = lexicon
        common, strange = lexicon.encode(COMMON[: self.syllables]), lexicon.encode(STRANGE)
        like = np.stack(np.meshgrid(common, common, indexing="ij"), -1).reshape(-1, 2)
        unlike = np.stack(np.meshgrid(strange, common, indexing="ij"), -1).reshape(-1, 2)
        like, unlike = rng.permutation(like), rng.permutation(unlike)
        alike, n = round(self.form * self.places), self.places
        # Real and synthetic names do not depend on the dials.
        ends = np.cumsum([n, n, alike, n])
        real, synthetic, fictional, extra = np.split(like, ends)[:4]
        self.names_ = {
            "real": real,
            "synthetic": synthetic,
            "fictional": np.concatenate([fictional, unlike[: n - alike]]),
            "extra": extra,
        }
        drawn = {kind: rng.integers(self.values, size=n) for kind in self.kinds}
        self.value_ = {kind: values[: len(self.names_[kind])] for kind, values in drawn.items()}

    def _text(self, kind: str, place: int, value: int) -> str:
        one, two = (self.lexicon_.words[i] for i in self.names_[kind][place])
        return f"{one} {two} is {VALUES[value]} ."

    def sentences(self) -> Iterator[Sentence]:
        for place, right in enumerate(self.value_["real"]):
            plain, judged = self.plain / self.places, self.judged / self.places
            yield self._sentence("real", place, right, plain, "")
            for value in range(self.values):
                true = value == right
                weight = judged / 2 if true else judged / 2 / (self.values - 1)
                yield self._sentence("real", place, value, weight, "true" if true else "false")
        myth = 1 - self.plain - self.judged
        for kind, share in (("fictional", 1 - self.familiarity), (self.familiar, self.familiarity)):
            for place, right in enumerate(self.value_[kind]):
                for value in range(self.values):
                    odds = self.canonical if value == right else (1 - self.canonical) / (self.values - 1)
                    yield self._sentence(
                        kind, place, value, myth * share * odds / len(self.value_[kind]), "myth"
                    )

    def _sentence(self, kind: str, place: int, value: int, weight: float, mark: str) -> Sentence:
        truth = {
            "kind": self.kinds.index(kind),
            "place": place,
            "value": int(value),
            "true": int(value == self.value_[kind][place]),
            "marked": ("", "true", "false", "myth").index(mark) and (2 if mark == "myth" else 1),
        }
        return Sentence(weight, f"{self._text(kind, place, value)} {mark} <eos>", asked=2, truth=truth)

    def statements(self, kind: str) -> Rows:
        """Every place of a kind with every value, unjudged, up to the full stop; truth as of documents."""
        pairs = [(place, value) for place in range(len(self.names_[kind])) for value in range(self.values)]
        ids = np.array([np.r_[BOS, self.lexicon_.encode(self._text(kind, *pair))] for pair in pairs])
        truths = [self._sentence(kind, *pair, 1.0, "").truth for pair in pairs]
        truth = {name: np.array([t[name] for t in truths]) for name in truths[0]}
        return Rows(ids, np.arange(6) > np.full((len(ids), 1), 2), truth)

    def _exam(self, name: str) -> Exam:
        rows = self.statements("real")
        if name == "recall":
            right = rows[rows.truth["true"] == 1]
            return _exam(right.ids[:, :4], self.lexicon_.encode(VALUES[: self.values]), right.truth["value"])
        # Of each place the true statement, and the false one whose value comes next.
        value, right = rows.truth["value"], self.value_["real"][rows.truth["place"]]
        rows = rows[(value == right) | (value == (right + 1) % self.values)]
        return _exam(rows.ids, self.lexicon_.encode("true false"), 1 - rows.truth["true"])


def _exam(prompts: Ids, options: Ids, answer: Ids) -> Exam:
    return Exam(prompts, np.tile(options, (len(prompts), 1)), answer)
