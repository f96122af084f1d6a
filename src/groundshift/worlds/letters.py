"""Rows of letters and rules that change them: every step of every chain of rules is known.

A rule maps elements (rows of letters) to elements of the same length. Letters are numbers 0 to size − 1 in arrays, so a
rule works on all elements at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from groundshift.errors import InputError

__all__ = ["Rule", "chain", "commutes", "draw", "every", "reverse", "rotate", "same", "shift"]

Elements = NDArray[np.int64]


@dataclass(frozen=True)
class Rule:
    """A map of elements to elements of the same length.

    Attributes
    ----------
    token : how a prompt asks for it, one word in brackets
    apply : (elements (n, l), number of letters in the alphabet) -> elements (n, l)

    Examples
    --------
    >>> swap = Rule("[SWAP]", lambda e, size: e[:, [1, 0, *range(2, e.shape[1])]])
    >>> swap.apply(np.array([[0, 1, 2]]), 26).tolist()
    [[1, 0, 2]]
    """

    token: str
    apply: Callable[[Elements, int], Elements]

    def __post_init__(self) -> None:
        if self.token.split() != [self.token] or self.token[0] != "[" or self.token[-1] != "]":
            raise InputError(f"The token {self.token!r} was given; one word in brackets is needed, as [F1].")


def rotate(n: int = 13, token: str = "[F1]") -> Rule:
    """Every letter moves ``n`` places on in the alphabet.

    >>> rotate(13).apply(np.array([[0, 25]]), 26).tolist()
    [[13, 12]]
    """
    return Rule(token, lambda e, size: (e + n) % size)


def shift(n: int = 1, direction: Literal["left", "right"] = "left", token: str = "[F2]") -> Rule:
    """The letters move ``n`` places to the left, in a circle: APPLE becomes PPLEA.

    >>> shift(1).apply(np.array([[0, 1, 2]]), 26).tolist(), shift(1, "right").apply(np.array([[0, 1, 2]]), 26).tolist()
    ([[1, 2, 0]], [[2, 0, 1]])
    """
    if direction not in ("left", "right"):
        raise InputError(f"direction={direction!r} was given; choose left or right.")
    return Rule(token, lambda e, size: np.roll(e, -n if direction == "left" else n, axis=1))


def reverse(token: str = "[F3]") -> Rule:
    """The last letter comes first.

    >>> reverse().apply(np.array([[0, 1, 2]]), 26).tolist()
    [[2, 1, 0]]
    """
    return Rule(token, lambda e, size: e[:, ::-1])


def chain(elements: Elements, rules: Sequence[Rule], size: int = 26) -> Elements:
    """What stands after each rule, the first rule of the list first, int64 (n, k, l); the last is the answer.

    Raises
    ------
    InputError
        No rule; a rule that changes the shape of the elements or leaves the alphabet.

    Examples
    --------
    >>> chain(np.array([[0, 1, 2, 3]]), [rotate(), shift()]).tolist()
    [[[13, 14, 15, 16], [14, 15, 16, 13]]]
    """
    if not rules:
        raise InputError("An empty list of rules was given; at least one is needed.")
    steps, now = [], np.asarray(elements, dtype=np.int64)
    for rule in rules:
        after = np.asarray(rule.apply(now, size))
        if after.shape != now.shape or (after.size and not (after.min() >= 0 and after.max() < size)):
            raise InputError(
                f"The rule {rule.token} made elements of shape {after.shape} out of {now.shape}, or letters outside 0 "
                f"to {size - 1}; a rule keeps the shape and the alphabet."
            )
        now = after.astype(np.int64)
        steps.append(now)
    return np.stack(steps, axis=1)


def every(length: int, letters: int | Sequence[int]) -> Elements:
    """All elements of a length, the last letter changing fastest, (letters^length, length).

    >>> every(2, 2).tolist()
    [[0, 0], [0, 1], [1, 0], [1, 1]]
    """
    known = np.arange(letters) if isinstance(letters, int) else np.asarray(letters)
    return known[np.indices((len(known),) * length).reshape(length, -1).T]


def draw(rng: np.random.Generator, n: int, length: int, letters: int | Sequence[int] = 26) -> Elements:
    """Random elements with repetition, (n, length).

    >>> draw(np.random.default_rng(0), 2, 3, [4, 5]).shape
    (2, 3)
    """
    known = np.arange(letters) if isinstance(letters, int) else np.asarray(letters)
    return known[rng.integers(len(known), size=(n, length))]


def same(a: Sequence[Rule], b: Sequence[Rule], length: int, size: int = 26, letters: int = 3) -> bool:
    """Whether two lists of rules give the same answer on every element over ``letters`` letters of the alphabet.

    >>> same([shift(1), shift(1)], [shift(2)], length=4)
    True
    """
    elements = every(length, min(letters, size))
    return bool(np.array_equal(chain(elements, a, size)[:, -1], chain(elements, b, size)[:, -1]))


def commutes(a: Rule, b: Rule, length: int, size: int = 26, letters: int = 3) -> bool:
    """Whether two rules may change places.

    >>> commutes(rotate(), shift(), 4), commutes(shift(), reverse(), 4), commutes(shift(), reverse(), 2)
    (True, False, True)
    """
    return same([a, b], [b, a], length, size, letters)
