"""The question that goes with an image, and the reading of the three-line answer."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from groundshift.errors import InputError
from groundshift.models.items import Unparsed, Verdict

__all__ = ["Reply", "check_classes", "grade", "parse", "parser_of", "published_parse", "question"]

VERSION = "1"  # of the question and the reading
QUESTION = """Given the image, answer the following question in the format below.
Question: What is in this image? Choices: {choices}.
Answer Choice: [one of the choices]
Confidence Score: [a number from 0 to 1]
Reasoning: [the reason in a sentence]"""
MARKS = "[]()<>{}'\"`*_ .,;:!\t“”‘’"
FIELD = r"[*_\"'`\s]*"  # what models set around the name of a field
CHOICE = re.compile(rf"answer\s+choice{FIELD}:{FIELD}([^\n]*)", re.IGNORECASE)
SCORE = re.compile(rf"confidence\s+score{FIELD}:[\s\[('\"*`]*(\d+(?:[.,]\d+)?|[.,]\d+)\s*(%?)", re.IGNORECASE)
REASON = re.compile(rf"reasoning{FIELD}:\s*(.*)", re.IGNORECASE | re.DOTALL)


class Reply(NamedTuple):
    """What an answer says: the class, how sure the model is (None where it does not say), and why."""

    choice: str
    confidence: float | None = None
    reasoning: str = ""

    def __str__(self) -> str:
        return self.choice


def question(classes: Sequence[str]) -> str:
    """The question about one image, with the choices in order.

    >>> question(["dog", "house"]).splitlines()[1]
    'Question: What is in this image? Choices: dog, house.'
    """
    return QUESTION.format(choices=", ".join(classes))


def check_classes(classes: Sequence[str]) -> list[str]:
    """Refuse names that no reader can tell apart, and list what the published parser would mistake.

    Raises
    ------
    InputError
        No two classes, or two that differ by case, blanks, underscores or hyphens only.

    Examples
    --------
    >>> check_classes(["car", "carrot"])
    ["'car' begins 'carrot': the published parser reads one for the other, and this library does not."]
    """
    plain: dict[str, str] = {}
    for name in classes:
        if (other := plain.setdefault(_plain(name), name)) != name or not _plain(name):
            raise InputError(
                f"The classes {other!r} and {name!r} differ by case or underscores only; rename one."
            )
    if len(plain) < 2:
        raise InputError(f"{len(plain)} class was given ({', '.join(classes)}); at least two are needed.")
    names = sorted(classes)
    return [f"{a!r} begins {b!r}: the published parser reads one for the other, and this library does not."
            for a in names for b in names if a != b and b.lower().startswith(a.lower())]  # fmt: skip


def parse(text: str, classes: Sequence[str]) -> Reply | Unparsed:
    """The reply in an answer: what stands behind the last "Answer Choice:" must be one class, and nothing else.

    Case, brackets, quotes, underscores, hyphens and a sentence that follows the name are forgiven; of classes that
    begin alike the longest counts. The order of the classes changes nothing.

    Examples
    --------
    >>> parse("Answer Choice: [carrot]\\nConfidence Score: [0.8]\\nReasoning: [orange]", ["car", "carrot"])
    Reply(choice='carrot', confidence=0.8, reasoning='orange')
    >>> parse("Answer Choice: car or carrot", ["car", "carrot"])
    Unparsed(reason='two classes are named')
    """
    text = text.rpartition("</think>")[2]
    lines = [line for line in CHOICE.findall(text) if line.strip(MARKS)]
    if not lines:
        return Unparsed('no "Answer Choice:"')
    names = {_plain(name): name for name in classes}
    chosen = _plain(re.split(r"confidence\s+score", lines[-1], flags=re.IGNORECASE)[0])
    if chosen not in names:
        named = _named(chosen, names)
        if len(named) > 1:
            return Unparsed("two classes are named")
        if not named or not chosen.startswith(named[0]):
            return Unparsed("no class is named")
        chosen = named[0]
    reason = REASON.findall(text)
    return Reply(
        names[chosen], _confidence(text), reason[-1].split("---END")[0].strip(" \n[]") if reason else ""
    )


def _named(text: str, names: Iterable[str]) -> list[str]:
    """The classes in a text as whole words, in order, each once; one inside a longer one does not count."""
    longest = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    return list(dict.fromkeys(re.findall(rf"(?<!\w)(?:{longest})(?!\w)", text)))


def _confidence(text: str) -> float | None:
    scores = SCORE.findall(text)
    if not scores:
        return None
    number = float(scores[-1][0].replace(",", "."))
    number = number / 100 if scores[-1][1] else number
    return number if number <= 1 else None


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", " ", name.strip(MARKS).lower()).strip(MARKS)


def published_parse(text: str, classes: Sequence[str]) -> Reply | Unparsed:
    """The parser of the paper's repository: the first class in list order right behind "Answer Choice:", even where it
    is the beginning of another word; and a confidence without brackets.

    >>> published_parse("Answer Choice: [carrot]\\nConfidence Score: [0.8]", ["car", "carrot"])
    Reply(choice='car', confidence=None, reasoning='')
    """
    for name in classes:
        if re.search(rf"Answer Choice:\s*\[?'?\"?{re.escape(name)}", text, re.IGNORECASE):
            score = re.search(r"Confidence Score:\s*([\d.]+)", text)
            return Reply(name, float(score[1].rstrip(".") or 0) if score else None)
    return Unparsed("no class behind Answer Choice:")


PARSERS: dict[str, Callable[[str, Sequence[str]], Reply | Unparsed]] = {
    "strict": parse, "published": published_parse,
}  # fmt: skip


def parser_of(classes: Sequence[str], name: str = "strict") -> Callable[[str], Reply | Unparsed]:
    """A parser of answers about these classes: "strict", or "published"."""
    if name not in PARSERS:
        raise InputError(f"parser={name!r} was given; there are {', '.join(PARSERS)}.")
    return lambda text: PARSERS[name](text, classes)


def grade(value: Reply, target: str, facts: Any) -> Verdict:
    """Whether the class is right; the confidence is a part of the verdict."""
    parts = {} if value.confidence is None else {"confidence": value.confidence}
    return Verdict(value.choice == target, None, parts, value.reasoning)
