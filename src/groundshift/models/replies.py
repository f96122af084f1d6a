"""What a written reply says: the last closing form, "The answer is: X", and nothing that only looks like one."""

from __future__ import annotations

import json
import re

__all__ = ["read_field", "read_letter", "read_number"]


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
    found = (
        re.findall(closing, reply) or re.findall(rf"^\W*([{letters}])\W*$", reply) or re.findall(small, reply)
    )
    return found[-1].upper() if found else None


def read_number(reply: str) -> float | None:
    """The number from 0 to 100 that a reply ends on.

    >>> read_number("I gave 20 once. The answer is: 75/100"), read_number("The answer is: 750")
    (75.0, None)
    """
    number = r"(\d+(?:\.\d+)?)"
    found = re.findall(rf"(?i:\banswer(?:\s+is)?)\s*:?[\s*_(]*{number}", reply)
    found = found or re.findall(rf"^[^\w-]*{number}(?:\s*/\s*100|\s*%)?\W*$", reply)
    return float(found[-1]) if found and float(found[-1]) <= 100 else None


def read_field(reply: str, name: str = "answer") -> str | None:
    """What a reply gives for a field, be it an object of JSON, something like it, or "answer: …"; the last one counts.

    >>> replies = 'I say {"answer": [3, 1]}.', "```{answer: 3", "answer = 3", "{'answer': 'node 3'}", "3"
    >>> [read_field(reply) for reply in replies]
    ['[3, 1]', '3', '3', 'node 3', None]
    """
    found = list(re.finditer(rf"""["'`*]*\b{name}\b["'`*]*\s*[:=][\s*]*""", reply, re.I))
    if not found:
        return None
    rest, opened = reply[found[-1].end() :], "{" in reply[: found[-1].start()]
    ends = r"\s*(?:[},`\n]|$)"  # what follows a value that is whole
    if quoted := re.match(rf"""(["'])((?:\\.|(?!\1).)*)(?:\1{ends}|$)""", rest, re.S):
        try:
            return str(json.loads(f'"{quoted[2]}"', strict=False))
        except ValueError:
            return quoted[2].replace("\\n", "\n")
    depth = 0
    for k, sign in enumerate(rest if rest[:1] in ("[", "{") else ""):
        depth += (sign in "[{") - (sign in "]}")
        if depth <= 0:
            return rest[: k + 1] if re.match(ends, rest[k + 1 :]) else rest
    return rest.split("}")[0].strip() if opened and depth == 0 else rest.strip()
