"""Programs whose classes of time and space are known by construction."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from groundshift.errors import InputError

__all__ = ["CLASSES", "FAMILIES", "Program", "program", "read_class"]

CLASSES = ("1", "log n", "n", "n log n", "n^2", "n^3", "2^n", "n 2^n")
HALVE = "let i = n\nwhile i > 1\n set i = i // 2\n set s = s + i"
FAMILIES: Mapping[str, tuple[str, str, str]] = {
    "constant": ("1", "1", "let s = n * 7\nset s = s + 3\nreturn s"),
    "loop": ("n", "1", "let s = 0\nfor i n\n set s = s + i\nreturn s"),
    "two loops": ("n^2", "1", "let s = 0\nfor i n\n for j n\n  set s = s + j\nreturn s"),
    "three loops": ("n^3", "1", "let s = 0\nfor i n\n for j n\n  for k n\n   set s = s + k\nreturn s"),
    "triangle": ("n^2", "1", "let s = 0\nfor i n\n for j i\n  set s = s + j\nreturn s"),
    "halving": ("log n", "1", f"let s = 0\n{HALVE}\nreturn s"),
    "loop of halvings": ("n log n", "1", "let s = 0\nfor j n\n " + HALVE.replace("\n", "\n ") + "\nreturn s"),
    "merging halves": ("n log n", "n", "if n < 2\n return 1\nlist m n\nlet s = f(n // 2) + f(n - n // 2)\nfor i n\n "
                                       "set m[i] = s + i\nreturn m[n - 1]"),
    "double recursion": ("2^n", "n", "if n < 2\n return 1\nreturn f(n - 1) + f(n - 1)"),
    "filled table": ("n", "n", "list m n + 2\nset m[1] = 1\nlet i = 2\nwhile i < n + 1\n "
                               "set m[i] = m[i - 1] + m[i - 2]\n set i = i + 1\nreturn m[n]"),
    "subsets": ("n 2^n", "1", "let s = 0\nfor j 1 << n\n for i n\n  if (j >> i) & 1\n   set s = s + i\nreturn s"),
}  # fmt: skip
"""Family → time, space, and a program in lines that Python and C++ are written from."""
WORDS = ("a", "b", "c", "p", "q", "x", "y", "z", "acc", "cur", "num", "res", "val", "work", "total", "item")
RULES = (
    (r"let (\w+) = (.*)", r"\1 = \2", r"long \1 = \2;"),
    (r"set (.*)", r"\1", r"\1;"),
    (r"list (\w+) (.*)", r"\1 = [0] * (\2)", r"std::vector<long> \1(\2);"),
    (r"for (\w+) (.*)", r"for \1 in range(\2):", r"for (long \1 = 0; \1 < (\2); \1++) {"),
    (r"(if|while) (.*)", r"\1 \2:", r"\1 (\2) {"),
    (r"return (.*)", r"return \1", r"return \1;"),
    (r"def (\w+) (\w+)", r"def \1(\2):", r"long \1(long \2) {"),
    (r"def (\w+) (\w+), (\w+)", r"def \1(\2, \3):", r"long \1(long \2, long \3) {"),
)
"""A line of a program → Python and C++."""


@dataclass(frozen=True)
class Program:
    """A program: its family, its classes in its argument, and its text by language ("python", "cpp")."""

    family: str
    time: str
    space: str
    text: Mapping[str, str]


def program(rng: np.random.Generator, family: str, helper: bool = False, dead: bool = False) -> Program:
    """A program of a family with names of its own.

    Parameters
    ----------
    helper : sums go through a function of their own
    dead : a branch that is never taken stands in front

    Examples
    --------
    >>> print(program(np.random.default_rng(3), "double recursion").text["cpp"].splitlines()[0])
    long res(long n) {
    """
    time, space, text = FAMILIES[family]
    text = re.sub(r"= s \+ (\w)", r"= g(s, \1)", text) if helper else text
    text = ("if n < 0\n for k 0 - n\n  set n = n + k\n" if dead else "") + text
    whole = "def g s, i\n return s + i\n" * helper + "def f n\n " + text.replace("\n", "\n ")
    names = dict(zip("fgijkms", map(str, rng.permutation(WORDS)), strict=False))
    whole = re.sub(r"\b[fgijkms]\b", lambda match: names[match[0]], whole)
    return Program(family, time, space, {name: _text(whole, name == "python") for name in ("python", "cpp")})


def _text(text: str, python: bool) -> str:
    lines: list[str] = []
    opened: list[int] = []
    for row in [*text.split("\n"), ""]:
        depth = len(row) - len(row.lstrip())
        while opened and opened[-1] >= depth:
            lines.append("    " * opened.pop() + "}")
        for pattern, *written in RULES:
            if match := re.fullmatch(pattern, row.strip()):
                line = match.expand(written[not python])
                lines.append("    " * depth + (line if python else line.replace("//", "/")))
                opened += [depth] if line.endswith("{") else []
    return "\n".join(lines)


# Classes as people write them ------------------------------------------------------------------------------

SPELLINGS = (
    ("**", "^"), ("²", "^2"), ("³", "^3"), ("\\cdot", "*"), ("\\", ""), ("ln", "log"), ("lg", "log"), ("·", "*"),
    ("{", ""), ("}", ""),
)  # fmt: skip
FACTORS = re.compile(
    r"\s*(?:log_?\d*(?:\^(?P<l>\d+))?\s*(?:n|\(n\))(?:\^(?P<k>\d+))?|(?P<base>\d+)\^\(?n\)?|(?P<root>sqrt\s*\(?n\)?)|"
    r"(?P<n>n)(?:\^\(?(?P<p>\d+)\)?)?|\d+(?:\.\d+)?)(?![\w^!])"
)  # fmt: skip


def read_class(text: str) -> tuple[float, float, float]:
    """A class of growth as base of the exponential, power of n and power of log n; the largest of a sum.

    >>> read_class("O(3n + n log2 n)"), read_class("2^n * n"), read_class("O(n²)")
    ((1.0, 1.0, 1.0), (2.0, 1.0, 0.0), (1.0, 2.0, 0.0))
    """
    for written, plain in SPELLINGS:
        text = text.replace(written, plain)
    inner = re.fullmatch(r"\W*(?:o|θ|theta)\s*\((.*)\)\W*", text.casefold())
    classes = []
    for term in (inner[1] if inner else text.casefold().strip(" .$`")).split("+"):
        factors, base, power, logs = re.sub(r"[*×]|(?<=\d)(?=n)", " ", term).strip(), 1.0, 0.0, 0.0
        while factors or not term.strip():
            if (part := FACTORS.match(factors)) is None:
                raise InputError(f"{text!r} is no class of growth in n.")
            base *= float(part["base"] or 1)
            power += 0.5 if part["root"] else float(part["p"] or 1) if part["n"] else 0.0
            logs += float(part["l"] or part["k"] or 1) if "log" in part[0] else 0.0
            factors = factors[part.end() :].strip()
        classes.append((base, power, logs))
    return max(classes)
