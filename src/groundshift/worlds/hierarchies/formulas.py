"""Arithmetic expressions: drawn as trees, written in infix, prefix and postfix, and read back."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from groundshift.errors import InputError

__all__ = ["NOTATIONS", "Expr", "canonical", "changed", "formula", "read", "value", "write"]

Expr = str | tuple[str, Any, Any]
"""A number as it is written, or (operator, left, right)."""
NOTATIONS = ("infix", "prefix", "postfix")
RANK = {"+": 1, "-": 1, "*": 2, "/": 2, "^": 3}
LARGEST = 10**6
SPELLINGS = str.maketrans({"×": "*", "·": "*", "÷": "/", "−": "-", "–": "-"})


def value(expr: Expr) -> Fraction:
    """The exact value; `InputError` where it divides by zero, or has an exponent that is no whole number up to 64.

    >>> value(("+", "1", ("*", "2", "3")))
    Fraction(7, 1)
    """
    if isinstance(expr, str):
        return Fraction(expr)
    sign, left, right = expr[0], value(expr[1]), value(expr[2])
    if right == 0 and sign == "/":
        place = len(write(expr[1], "infix").split()) + 1
        raise InputError(f"{write(expr, 'infix')} divides by zero at its token {place}.")
    if sign == "^" and (right.denominator != 1 or abs(right) > 64 or left == 0 > right):
        raise InputError(f"{write(expr, 'infix')}: {left} to the power of {right} is not computed.")
    if sign in "/^":
        return left / right if sign == "/" else left ** int(right)
    return {"+": left + right, "-": left - right, "*": left * right}[sign]


def write(expr: Expr, notation: str) -> str:
    """An expression with a blank between tokens; infix has the parentheses that it needs, and no others.

    >>> [write(("-", "1", ("-", "-2", "3")), notation) for notation in NOTATIONS]
    ['1 - ((-2) - 3)', '- 1 - -2 3', '1 -2 3 - -']
    """
    if isinstance(expr, str):
        return f"({expr})" if notation == "infix" and expr.startswith("-") else expr
    sign, left, right = expr[0], write(expr[1], notation), write(expr[2], notation)
    if notation != "infix":
        return f"{sign} {left} {right}" if notation == "prefix" else f"{left} {right} {sign}"
    first, second = (4 if isinstance(part, str) else RANK[part[0]] for part in expr[1:])
    # ^ binds to the right, the others to the left.
    left = f"({left})" if first < RANK[sign] + (sign == "^") else left
    right = f"({right})" if second < RANK[sign] + (sign != "^") else right
    return f"{left} {sign} {right}"


def read(text: str, notation: str) -> Expr:
    """The tree of an expression in a notation.

    Raises
    ------
    InputError
        Another notation, parentheses that are not balanced, a token that is neither number nor operator.

    Examples
    --------
    >>> read("+ 1 * 2 3", "prefix") == read("1 + 2 * 3", "infix") == read("1 2 3 * +", "postfix")
    True
    """
    if notation not in NOTATIONS:
        raise InputError(f"notation={notation!r} was given; there are {', '.join(NOTATIONS)}.")
    text = text.translate(SPELLINGS).replace("**", "^").strip().rstrip(".")
    if notation == "infix":
        tokens = re.findall(r"\d+(?:\.\d+)?|\S", text)
        expr, end = _infix(tokens, 0, 1)
        if end < len(tokens):
            raise InputError(
                f"Token {end + 1} of {text!r}, {tokens[end]!r}, stands where an operator should."
            )
        return expr
    tokens, stack = re.sub(r"[,;\[\]\"']", " ", text).split(), list[Any]()
    step = -1 if notation == "prefix" else 1
    for token in tokens[::step]:
        if re.fullmatch(r"-?\d+(?:\.\d+)?", token):
            stack.append(token)
        elif token in RANK and len(stack) > 1:
            stack.append((token, *(stack.pop(), stack.pop())[::-step]))
        else:
            raise InputError(f"The token {token!r} of {text!r} does not fit the notation {notation}.")
    if len(stack) != 1:
        raise InputError(f"{text!r} is no expression in the notation {notation}.")
    return stack[0]


def _infix(tokens: Sequence[str], at: int, rank: int) -> tuple[Expr, int]:
    """Precedence climbing: the expression of operators of at least this rank, and where it ends."""
    token, rest = "".join(tokens[at : at + 1]), tokens[at + 1 : at + 3]
    left: Expr = token
    if token == "(":
        left, at = _infix(tokens, at + 1, 1)
        if tokens[at : at + 1] != [")"]:
            raise InputError(f"A parenthesis of {' '.join(tokens)!r} is not closed at its token {at + 1}.")
    elif token == "-" and rest and rest[0][0].isdigit() and rest[1:] != ["^"]:
        left, at = f"-{rest[0]}", at + 1
    elif not token[:1].isdigit():
        raise InputError(f"Token {at + 1} of {' '.join(tokens)!r}, {token!r}, stands where a number should.")
    at += 1
    while at < len(tokens) and RANK.get(tokens[at], 0) >= rank:
        sign = tokens[at]
        right, at = _infix(tokens, at + 1, RANK[sign] + (sign != "^"))
        left = (sign, left, right)
    return left, at


def canonical(expr: Expr) -> str:
    """Equal for trees that differ by the order of the two sides of + and × alone."""
    if isinstance(expr, str):
        return str(Fraction(expr))
    parts = [canonical(expr[1]), canonical(expr[2])]
    return f"({expr[0]} {' '.join(sorted(parts) if expr[0] in '+*' else parts)})"


def formula(
    rng: np.random.Generator, operands: int, operators: str, values: tuple[int, int], scale: int = 1
) -> Expr:
    """A random expression whose value is below 10⁶ in size, and that divides by zero nowhere.

    Parameters
    ----------
    operators : "basic" (+ − × ÷, grouped by precedence), "parentheses" (grouped at random) or "power" (also ^)
    values : least and largest operand, in units of 1/``scale``
    """

    def number() -> str:
        drawn = int(rng.integers(values[0], values[1] + 1))
        return str(drawn) if scale == 1 else f"{drawn / scale:.2f}"

    def grouped(count: int, power: bool) -> Expr:
        if count == 1:
            return number()
        if power and rng.random() < 0.2:
            return "^", grouped(count - 1, False), str(rng.integers(1, 3))
        split, power = int(rng.integers(1, count)), operators == "power"
        return "+-*/"[rng.integers(4)], grouped(split, power), grouped(count - split, power)

    while True:
        if operators == "basic":
            rest = [f"{'+-*/'[rng.integers(4)]} {write(number(), 'infix')}" for _ in range(operands - 1)]
            expr = read(" ".join([write(number(), "infix"), *rest]), "infix")
        else:
            expr = grouped(operands, operators == "power")
        if _size(expr) < LARGEST:
            return expr


def _size(expr: Expr) -> Fraction:
    try:
        return abs(value(expr))
    except InputError:
        return Fraction(LARGEST)


def changed(rng: np.random.Generator, expr: Expr) -> Expr:
    """The expression with one operand or operator replaced, so that its value and its canonical tree differ."""
    tokens = write(expr, "prefix").split()
    numbers = sorted({token for token in tokens if token not in RANK} | {"1", "2", "3"})
    while True:
        at, new = int(rng.integers(len(tokens))), list(tokens)
        new[at] = "+-*/"[rng.integers(4)] if new[at] in RANK else numbers[rng.integers(len(numbers))]
        other = read(" ".join(new), "prefix")
        if _size(other) < LARGEST and value(other) != value(expr) and canonical(other) != canonical(expr):
            return other
