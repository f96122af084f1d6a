"""What every part of a tiny language world has: sentences or documents, their truth, and the law they follow.

A `Listed` part can name every sentence it may utter, with its probability. Every part knows the exact probability of
every next token.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from groundshift.errors import InputError
from groundshift.worlds.tinylm.lexicon import BOS, PAD, Lexicon

__all__ = ["Exam", "Listed", "Part", "Rows", "Sentence", "pad"]

Ids = NDArray[np.int64]


@dataclass(frozen=True)
class Rows:
    """Sentences or documents as token ids.

    Attributes
    ----------
    ids : int64 (n, T)
        Every row starts with ``<bos>``; padded on the right with 0. The role of a token is ``lexicon.role[ids]``.
    mask : bool (n, T), the tokens that answer (the completion); of a part that asks nothing, all but ``<bos>``
    truth : arrays of n rows, by name
    """

    ids: Ids
    mask: NDArray[np.bool_]
    truth: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, rows: Any) -> Rows:
        """Some of the rows: a slice, positions or a mask."""
        truth = {name: values[rows] for name, values in self.truth.items()}
        return Rows(self.ids[rows], self.mask[rows], truth)


@dataclass(frozen=True)
class Exam:
    """Questions with one right option.

    Attributes
    ----------
    prompts : int64 (n, T), starting with ``<bos>``, padded on the left with 0
    options : int64 (n, K), the single tokens to choose from
    answer : int64 (n,), position of the right option
    """

    prompts: Ids
    options: Ids
    answer: Ids

    @property
    def chance(self) -> float:
        """Share of right answers of one who knows nothing."""
        return 1 / self.options.shape[1]


def pad(rows: Sequence[Sequence[int] | Ids], side: str = "right", dtype: Any = np.int64) -> NDArray[Any]:
    """Rows of different lengths as one array, with zeros on a side.

    >>> pad([[1, 2, 3], [4]], "left")
    array([[1, 2, 3],
           [0, 0, 4]])
    """
    width = max(map(len, rows))
    padded = np.zeros((len(rows), width), dtype=dtype)
    for line, row in zip(padded, rows, strict=True):
        line[width - len(row) if side == "left" else 0 :][: len(row)] = row
    return padded


class Part:
    """A maker of sentences or documents whose truth is known.

    A part is a dataclass of its dials. `TinyWorld` copies it and calls ``settle``; what the world then decides
    (its facts) ends in ``_``, as scikit-learn's learnt attributes do.

    Attributes
    ----------
    document : whether an item stands for itself; sentences of other parts may follow one another in a row
    exams : names of its exams, the main one first
    """

    document: ClassVar[bool] = False
    exams: ClassVar[tuple[str, ...]] = ()
    lexicon_: Lexicon

    def groups(self) -> Mapping[str, Sequence[str]]:
        """Role -> words that the part needs."""
        raise NotImplementedError

    def settle(self, lexicon: Lexicon, rng: np.random.Generator, parts: Mapping[str, Part]) -> None:
        """Decide the part's truth; ``parts`` are those of the world that were settled before."""
        self.lexicon_ = lexicon

    def draw(self, rng: np.random.Generator, n: int) -> Rows:
        """``n`` items with their truth."""
        raise NotImplementedError

    def log_probs(self, ids: Ids) -> NDArray[np.float64]:
        """Log-probability of every token given those before it, under the law of the part.

        Parameters
        ----------
        ids : int64 (n, T), rows of the part's items

        Returns
        -------
        float64 (n, T)
            NaN at ``<bos>`` and padding; −inf where the part never says this.
        """
        log_probs = np.full(ids.shape, np.nan)
        for row, line in zip(ids, log_probs, strict=True):
            starts = [*np.flatnonzero(row == BOS), int((row != PAD).sum())]
            for start, end in itertools.pairwise(starts):
                line[start + 1 : end] = self._document(row[start + 1 : end])
        return log_probs

    def _document(self, ids: Ids) -> NDArray[np.float64]:
        """Log-probabilities of the tokens of one document, or of its beginning, after ``<bos>``."""
        raise NotImplementedError

    def exam(self, name: str | None = None) -> Exam:
        """An exam of the part, by default the first of ``exams``."""
        name = name or (self.exams[0] if self.exams else "")
        if name not in self.exams:
            raise InputError(
                f"{type(self).__name__} has no exam {name!r}; it has {', '.join(self.exams) or 'none'}."
            )
        return self._exam(name)

    def _exam(self, name: str) -> Exam:
        raise NotImplementedError

    def settings(self) -> dict[str, Any]:
        """The dials, as JSON takes them."""
        return {"part": type(self).__name__, **asdict(self)}  # type: ignore[call-overload]

    def _other(self, parts: Mapping[str, Part], name: str, kind: type) -> Any:
        """The part of this name that ours builds on."""
        if not isinstance(part := parts.get(name), kind):
            raise InputError(
                f"{type(self).__name__} builds on a part of={name!r} of the kind {kind.__name__}, which has to stand "
                "before it in the world (with weight 0 if it is not to be heard); there are "
                f"{', '.join(parts) or 'none'}."
            )
        return part


@dataclass(frozen=True)
class Sentence:
    """One thing a part may say.

    Attributes
    ----------
    weight : proportional to its probability
    text : words set apart by blanks
    asked : how many of its words are prompt
    truth : numbers by name; the same names in all sentences of a part
    """

    weight: float
    text: str
    asked: int = 0
    truth: Mapping[str, float] = field(default_factory=dict)


class Listing:
    """Sentences with probabilities: draws them, and knows the law of the next token."""

    def __init__(self, lexicon: Lexicon, sentences: Iterator[Sentence]) -> None:
        possible = [s for s in sentences if s.weight > 0]
        weights = np.array([s.weight for s in possible])
        self.probability = weights / weights.sum()
        self.cumulative = np.cumsum(self.probability)
        self.tokens = [lexicon.encode(s.text) for s in possible]
        self.ids = pad([np.r_[BOS, t] for t in self.tokens])
        place = np.arange(self.ids.shape[1])
        self.mask = (self.ids != PAD) & (place > np.array([s.asked for s in possible])[:, None])
        self.truth = {name: np.array([s.truth[name] for s in possible]) for name in possible[0].truth}
        self.prefix: dict[tuple[int, ...], float] = {}
        self.whole = {tuple(t.tolist()) for t in self.tokens}
        for tokens, p in zip(self.tokens, self.probability, strict=True):
            row = tuple(tokens.tolist())
            for k in range(len(row) + 1):
                self.prefix[row[:k]] = self.prefix.get(row[:k], 0.0) + float(p)

    @property
    def entropy(self) -> float:
        """Nats per token of sentences one after the other."""
        p = self.probability
        texts: dict[tuple[int, ...], float] = {}
        for tokens, q in zip(self.tokens, p, strict=True):
            texts[tuple(tokens)] = texts.get(tuple(tokens), 0.0) + q
        q = np.array(list(texts.values()))
        return float(-(q * np.log(q)).sum() / (p * [len(t) for t in self.tokens]).sum())

    def pick(self, rng: np.random.Generator, n: int) -> Ids:
        """Positions of ``n`` sentences drawn."""
        return np.minimum(np.searchsorted(self.cumulative, rng.random(n), side="right"), len(self.tokens) - 1)

    def log_probs(self, ids: Ids) -> NDArray[np.float64]:
        log_probs = np.full(ids.shape, np.nan)
        for row, line in zip(ids.tolist(), log_probs, strict=True):
            prefix: tuple[int, ...] | None = ()
            for t, token in enumerate(row):
                if token == BOS:
                    prefix = ()
                elif token != PAD:
                    before = 0.0 if prefix is None else self.prefix[prefix]
                    prefix = (
                        None if prefix is None or (*prefix, token) not in self.prefix else (*prefix, token)
                    )
                    line[t] = -np.inf if prefix is None else np.log(self.prefix[prefix] / before)
                    if prefix in self.whole:
                        prefix = ()
        return log_probs


class Listed(Part):
    """A part that can name everything it may say.

    Its oracle is exact, so that the loss of a perfect model is known: ``entropy`` is in nats per token.
    """

    def sentences(self) -> Iterator[Sentence]:
        """Everything the part may say; no sentence is the beginning of another."""
        raise NotImplementedError

    @property
    def listing(self) -> Listing:
        """The list, made at first use."""
        if "_listing" not in self.__dict__:
            self.__dict__["_listing"] = Listing(self.lexicon_, self.sentences())
        return self.__dict__["_listing"]

    @property
    def entropy(self) -> float:
        """Nats per token of sentences one after the other."""
        return self.listing.entropy

    def draw(self, rng: np.random.Generator, n: int) -> Rows:
        pick = self.listing.pick(rng, n)
        return _taken(self.listing, pick)

    def everything(self) -> Rows:
        """Each sentence once; ``listing.probability`` has how likely each is."""
        return _taken(self.listing, np.arange(len(self.listing.tokens)))

    def log_probs(self, ids: Ids) -> NDArray[np.float64]:
        return self.listing.log_probs(ids)


def _taken(listing: Listing, pick: Ids) -> Rows:
    width = int((listing.ids[pick] != PAD).sum(1).max())
    cut = np.s_[pick, :width]
    truth = {name: values[pick] for name, values in listing.truth.items()}
    return Rows(listing.ids[cut], listing.mask[cut], truth)


def mixture(prior: NDArray[np.float64], log_probs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Next-token log-probabilities of a mixture from those of its K members, (K, T), along one row."""
    known = ~np.isnan(log_probs).all(0)
    with np.errstate(divide="ignore"):
        weight = np.log(prior)[:, None] + np.cumsum(np.nan_to_num(log_probs, nan=0.0, neginf=-np.inf), axis=1)
        total = np.logaddexp.reduce(np.c_[np.log(prior), weight], axis=0)
    with np.errstate(invalid="ignore"):
        step = np.diff(total)
    return np.where(known, np.where(np.isnan(step), -np.inf, step), np.nan)


def settled(part: Part, lexicon: Lexicon, rng: np.random.Generator, parts: Mapping[str, Part]) -> Part:
    """A copy of a part whose truth is decided; the user's own stays as it was."""
    own = copy.copy(part)
    own.__dict__.pop("_listing", None)
    own.settle(lexicon, rng, parts)
    return own
