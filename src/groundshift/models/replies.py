"""What a written reply says: the last closing form, "The answer is: X", and nothing that only looks like one."""

from __future__ import annotations

import re

__all__ = ["read_letter", "read_number"]


def read_letter(reply: str, letters: str) -> str | None:
    """The listed letter that a reply ends on: the last closing form counts, and a word that begins so does not.

    >>> read_letter("A is fine, but no. The answer is: B. (A is what most say.)", "AB")
    'B'
    >>> read_letter("The answer is: the second", "AB")
    """
    # No word follows that the letter may be the article of ("A bike lane").
    ends = r"(?![\w’'])(?! (?!(?:because|since|as|and|for|or)\b)[a-z])"
    closing = rf"(?i:\banswer(?:\s+is)?)\s*:?[\s*_(\[“\"'{{]*(?:\\boxed\{{)?([{letters}]){ends}"
    small = rf"(?i:\banswer(?:\s+is)?)\s*:?[\s*_(]*([{letters.lower()}])[\s*_).]*$"
    matches = (
        re.findall(closing, reply) or re.findall(rf"^\W*([{letters}])\W*$", reply) or re.findall(small, reply)
    )
    return matches[-1].upper() if matches else None


def read_number(reply: str) -> float | None:
    """The number from 0 to 100 that a reply ends on.

    >>> read_number("I gave 20 once. The answer is: 75/100"), read_number("The answer is: 750")
    (75.0, None)
    """
    number = r"(\d+(?:\.\d+)?)"
    matches = re.findall(rf"(?i:\banswer(?:\s+is)?)\s*:?[\s*_(]*{number}", reply)
    matches = matches or re.findall(rf"^[^\w-]*{number}(?:\s*/\s*100|\s*%)?\W*$", reply)
    return float(matches[-1]) if matches and float(matches[-1]) <= 100 else None
