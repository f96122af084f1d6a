"""Statements as bags of token states: rows of one array, cut up by offsets."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from groundshift.errors import InputError

__all__ = ["Bags", "Probe", "Scaler"]

Array = NDArray[Any]
LONGEST = 50
"""Most tokens of a statement that a score looks at: its last ones."""


@dataclass(frozen=True)
class Bags:
    """Token states of statements, one after the other.

    Attributes
    ----------
    tokens : (M, D)
    offsets : int64 (N + 1,); statement k has the rows offsets[k] to offsets[k + 1], at least one

    Examples
    --------
    >>> bags = Bags(np.arange(10.0).reshape(5, 2), np.array([0, 2, 5]))
    >>> len(bags), bags.sizes.tolist(), bags[1:].tokens[0].tolist(), bags.last[:, 0].tolist()
    (2, [2, 3], [4.0, 5.0], [2.0, 8.0])
    """

    tokens: Array
    offsets: NDArray[np.int64]

    def __post_init__(self) -> None:
        if self.tokens.ndim != 2 or self.offsets[-1] != len(self.tokens) or (np.diff(self.offsets) < 1).any():
            raise InputError(
                f"States of shape {self.tokens.shape} were given for {len(self.offsets) - 1} statements; one or more "
                "rows for each statement are needed, one after the other."
            )

    @classmethod
    def of(cls, states: ArrayLike, sizes: ArrayLike | None = None) -> Bags:
        """Bags of ``sizes`` rows each, in order; of one row by default."""
        states = np.asarray(states)
        sizes = np.ones(len(states), dtype=np.int64) if sizes is None else np.asarray(sizes, dtype=np.int64)
        return cls(states, np.concatenate([[0], np.cumsum(sizes)]))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, rows: slice | NDArray[np.int64] | NDArray[np.bool_]) -> Bags:
        """Some of the statements: a slice, positions or a mask."""
        chosen = np.arange(len(self))[rows]
        sizes = self.sizes[chosen]
        return Bags.of(self.tokens[_spans(self.offsets[chosen], sizes)], sizes)

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Tokens of each statement, (N,)."""
        return np.diff(self.offsets)

    @property
    def last(self) -> Array:
        """State of each statement's last token, (N, D)."""
        return self.tokens[self.offsets[1:] - 1]

    @property
    def means(self) -> Array:
        """Mean state of each statement, (N, D)."""
        return np.add.reduceat(self.tokens, self.offsets[:-1]) / self.sizes[:, None]

    def tail(self, most: int) -> Bags:
        """The last ``most`` tokens of each statement."""
        sizes = np.minimum(self.sizes, most)
        return Bags.of(self.tokens[_spans(self.offsets[1:] - sizes, sizes)], sizes)

    def capped(self, most: int, keep: int, rng: np.random.Generator) -> Bags:
        """At most ``most`` tokens of each statement, in order: the last ``keep``, and a sample of the others."""
        if (self.sizes <= most).all():
            return self
        picks = []
        for low, high in zip(self.offsets[:-1], self.offsets[1:], strict=True):
            span = np.arange(low, high)
            if len(span) > most:
                others = np.sort(rng.choice(span[:-keep], most - keep, replace=False))
                span = np.concatenate([others, span[-keep:]])
            picks.append(span)
        return Bags.of(self.tokens[np.concatenate(picks)], [len(p) for p in picks])


@dataclass(frozen=True)
class Scaler:
    """Mean and spread of every coordinate over training tokens; two probes can be compared only where they share it.

    >>> scaler = Scaler.of(Bags.of(np.array([[0.0, 1.0], [2.0, 1.0]])))
    >>> scaler(Bags.of(np.array([[4.0, 1.0]]))).tokens.tolist()
    [[3.0, 0.0]]
    """

    mean: Array
    spread: Array

    @classmethod
    def of(cls, bags: Bags) -> Scaler:
        spread = bags.tokens.std(0, dtype=float)
        return cls(bags.tokens.mean(0, dtype=float), np.where(spread > 0, spread, 1.0))

    def __call__(self, bags: Bags) -> Bags:
        """Standardised states, in the precision they came in."""
        kind = bags.tokens.dtype
        return Bags((bags.tokens - self.mean.astype(kind)) / self.spread.astype(kind), bags.offsets)


@dataclass(frozen=True)
class Probe:
    """A hyperplane in the standardised space of states.

    Attributes
    ----------
    w, b : (D,) and a number, as the machine that was trained has them, not rescaled
    reads : "tokens": a statement scores as its highest token among the last 50; "last": as its last token
    chosen : what was chosen in training, by name
    """

    w: NDArray[np.float64]
    b: float
    reads: Literal["tokens", "last"]
    chosen: dict[str, Any] = field(default_factory=dict)

    def score(self, bags: Bags, most: int = LONGEST) -> NDArray[np.float64]:
        """Score of each statement, (N,), above 0: taken as true.

        Parameters
        ----------
        bags : standardised states
        most : tokens that are looked at
        """
        if self.reads == "last":
            return bags.last @ self.w + self.b
        bags = bags.tail(most) if bags.sizes.max(initial=0) > most else bags
        return np.maximum.reduceat(bags.tokens @ self.w, bags.offsets[:-1]) + self.b

    def distance(self, bags: Bags) -> NDArray[np.float64]:
        """Score over the length of w: how far from the boundary, with its sign."""
        return self.score(bags) / max(float(np.linalg.norm(self.w)), 1e-12)


def _spans(starts: NDArray[np.int64], sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """start, start + 1, … for each start, one after the other."""
    ends = np.cumsum(sizes)
    return np.arange(ends[-1] if len(ends) else 0) + np.repeat(starts - (ends - sizes), sizes)
