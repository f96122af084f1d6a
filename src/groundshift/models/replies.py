"""What a written reply says: the last closing form, "The answer is: X", and nothing that only looks like one."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

__all__ = ["read_citations", "read_field", "read_letter", "read_number", "read_objects"]

LABEL = r"(?:(?:fragments?|sources?|documents?|passages?)\s*#?|\bF|\[|^|[,;&]|\band\b)\s*\[?"
NUMBERS = re.compile(rf"{LABEL}(\d+)(?:\s*(?:-|–|to)\s*(?:fragment\s*|F)?(\d+))?(?![\w%])", re.IGNORECASE)
WIDEST = 50  # a range of more fragments is none


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


def read_objects(reply: str) -> list[dict[str, Any]]:
    """The objects of JSON in a reply, in order, and not those inside others.

    Reasoning in <think>…</think>, fences and words around the JSON, and trailing commas are forgiven; of an object that
    is cut off, the whole ones inside it are read.

    >>> read_objects('Sure: {"a": [{"b": 1,}, {"b": 2}, {"b"')
    [{'b': 1}, {'b': 2}]
    """
    text = re.sub(r",(\s*[}\]])", r"\1", reply.rpartition("</think>")[2])
    decoder, start, objects = json.JSONDecoder(strict=False), 0, []
    while (start := text.find("{", start)) >= 0:
        try:
            value, start = decoder.raw_decode(text, start)
            objects.append(value)
        except (ValueError, RecursionError):  # no JSON begins here, or it is cut off
            start += 1
    return objects


def read_citations(value: Any) -> frozenset[int]:
    """Numbers of the sources that a citation names, in any of the ways that models and people write one.

    >>> sorted(read_citations(["Fragment 3 - The 1998 final", "[5]", "F7", 9, "1-2"]))
    [1, 2, 3, 5, 7, 9]
    """
    if isinstance(value, Mapping):
        value = value.get("fragment", value.get("number", value.get("title", "")))
    if isinstance(value, list | tuple):
        return frozenset(number for one in value for number in read_citations(one))
    cited = set()
    for match in NUMBERS.finditer("" if value is None else str(value).strip()):
        first, last = int(match[1]), int(match[2] or match[1])
        cited |= set(range(first, last + 1)) if first <= last < first + WIDEST else {first}
    return frozenset(cited)


def read_field(reply: str, name: str = "answer") -> str | None:
    """What a reply gives for a field, be it an object of JSON, something like it, or "answer: …"; the last one counts.

    >>> replies = 'I say {"answer": [3, 1]}.', "```{answer: 3", "The answer is: 3", "{'answer': 'node 3'}", "3"
    >>> [read_field(reply) for reply in replies]
    ['[3, 1]', '3', '3', 'node 3', None]
    """
    fields = list(re.finditer(rf"""["'`*]*\b{name}\b["'`*]*(?:\s+is)?\s*[:=][\s*]*""", reply, re.I))
    if not fields:
        return None
    rest, opened = reply[fields[-1].end() :], "{" in reply[: fields[-1].start()]
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
