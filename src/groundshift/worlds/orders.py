"""Orders among filler words, digits, and a response that follows the order more or less often."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from groundshift.errors import InputError
from groundshift.worlds.tinylm import BOS, EOS, Lexicon, Rows
from groundshift.worlds.tinylm.lexicon import invented

__all__ = ["DIGITS", "OPERATIONS", "PLACES", "SHOWN", "Orders"]

Ids = NDArray[np.int64]
DIGITS = 10
SHOWN = 3
"""Digits of an input, and of a response."""
PLACES = ("start", "middle", "end")
OPERATIONS = ("copy", "reverse", "repeat", "add")


@dataclass
class Orders:
    """``filler … please OP filler … Input d1 d2 d3 Output r1 r2 r3``; OP says what the response makes of the digits.

    OP copies the digits, reverses them, repeats the first, or adds one to each. For each of the four there are two
    words, an old and a new one, whose meanings are drawn. The order stands at the start, in the middle or at the end of
    the filler words.

    Parameters
    ----------
    seed : of the meanings of the words
    fillers : different filler words
    length : filler words of a row, at least 2

    Attributes
    ----------
    lexicon : of all words
    operators : int64 (4, 2), ids of the old and the new words for copy, reverse, repeat and add
    digits : int64 (10,), ids of the words for the digits

    Examples
    --------
    >>> orders = Orders(seed=0)
    >>> [orders.result(k, np.array([[4, 9, 2]])).tolist() for k in range(4)]
    [[[4, 9, 2]], [[2, 9, 4]], [[4, 4, 4]], [[5, 0, 3]]]
    """

    seed: int
    fillers: int = 20
    length: int = 8
    lexicon: Lexicon = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.fillers < 1 or self.length < 2:
            raise InputError(f"{self} was asked for; a filler word and two of them in a row at least.")
        rng = np.random.default_rng(self.seed)
        words = {
            "filler": invented(self.fillers), "operator": invented(2 * len(OPERATIONS), ending="r"),
            "digit": invented(DIGITS, ending="n"), "function": ("please", "Input", "Output"),
        }  # fmt: skip
        self.lexicon = Lexicon(words)
        self.operators = rng.permutation(self.lexicon["operator"]).reshape(-1, 2)
        self.digits = rng.permutation(self.lexicon["digit"])

    @property
    def prompt(self) -> int:
        """Tokens of a row in front of its response, with ``<bos>``."""
        return self.length + SHOWN + 5

    @staticmethod
    def result(operation: int, digits: Ids) -> Ids:
        """What an operation makes of digits, (n, 3)."""
        done = (digits, digits[:, ::-1], np.repeat(digits[:, :1], SHOWN, axis=1), (digits + 1) % DIGITS)
        return done[operation]

    def draw(
        self, rng: np.random.Generator, n: int, rho: float, *, old: float = 0.9, middle: float | None = None,
        new_words: float = 0.5,
    ) -> Rows:  # fmt: skip
        """``n`` rows.

        Parameters
        ----------
        rho : probability that a response follows an order in new words; else it is that of another operation, all
            alike. At 1/4 the order says nothing.
        old : that of orders in old words
        middle : that of orders in the middle, where it is another
        new_words : share of orders in new words

        Returns
        -------
        Rows
            The completion is the response; truth: ``order``, ``new`` (its word), ``place`` (0, 1, 2), ``at`` (column of
            ``please``) and ``digits`` (n, 3).
        """
        order, place = rng.integers(len(OPERATIONS), size=n), rng.integers(len(PLACES), size=n)
        digits, new = rng.integers(DIGITS, size=(n, SHOWN)), (rng.random(n) < new_words).astype(int)
        reliable = np.where(new, rho, old)
        if middle is not None:
            reliable = np.where(place == 1, middle, reliable)
        follows = rng.random(n) < reliable
        other = (order + rng.integers(1, len(OPERATIONS), size=n)) % len(OPERATIONS)
        each = np.stack([self.result(k, digits) for k in range(len(OPERATIONS))])
        said = each[np.where(follows, order, other), np.arange(n)]
        please, begin, end = self.lexicon.encode("please Input Output")
        words = self.lexicon["filler"][rng.integers(self.fillers, size=(n, self.length + 2))]
        at, row = np.array([0, self.length // 2, self.length])[place], np.arange(n)
        words[row, at], words[row, at + 1] = please, self.operators[order, new]
        bos, into, out, eos = (np.full((n, 1), token) for token in (BOS, begin, end, EOS))
        ids = np.hstack([bos, words, into, self.digits[digits], out, self.digits[said], eos])
        mask = np.zeros(ids.shape, bool)
        mask[:, self.prompt : self.prompt + SHOWN] = True
        truth = {"order": order, "place": place, "at": at + 1, "new": new, "digits": digits}
        return Rows(ids, mask, truth)

    def obeys(self, rows: Rows, responses: Ids) -> NDArray[np.bool_]:
        """Whether responses, token ids (n, 3), are what the orders of rows ask for."""
        each = np.stack([self.result(k, rows.truth["digits"]) for k in range(len(OPERATIONS))])
        right: NDArray[np.bool_] = (
            self.digits[each[rows.truth["order"], np.arange(len(rows))]] == responses
        ).all(1)
        return right
