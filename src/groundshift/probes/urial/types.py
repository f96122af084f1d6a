"""What kind of word a token belongs to: a manner of speaking, a mark of the format, or content."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from groundshift.errors import InputError

__all__ = ["TYPES", "token_types"]

TYPES: dict[str, tuple[str, ...]] = {
    "refusal": ("I cannot", "I can't", "I can not", "cannot assist", "can't assist", "cannot help", "can't help",
                "unable to", "I won't", "not able to", "decline"),
    "disclaimer": ("as an AI", "language model", "AI assistant", "I do not have personal", "I don't have personal",
                   "it is important to note", "it's important to note", "important to remember", "please note",
                   "consult", "professional advice", "knowledge cutoff", "not a substitute"),
    "greeting": ("hello", "hi", "hey", "thank you", "thanks", "welcome", "sure", "certainly", "absolutely",
                 "of course", "great question", "good question", "I hope this helps", "hope that helps",
                 "let me know", "feel free", "happy to help", "glad", "sorry"),
    "discourse": ("however", "therefore", "moreover", "furthermore", "additionally", "overall", "first", "second",
                  "third", "finally", "next", "then", "also", "in addition", "in conclusion", "for example",
                  "for instance", "such as", "in summary", "so", "thus", "but", "because", "while", "although",
                  "here are", "here is", "here's", "there are", "remember", "ultimately", "step"),
    "hedge": ("may", "might", "could", "perhaps", "possibly", "probably", "generally", "typically", "usually",
              "often", "sometimes", "likely", "seems", "about", "around", "depends", "depending"),
    "first person": ("I", "I'm", "I'd", "I'll", "I've", "me", "my", "we", "us", "our"),
}  # fmt: skip
"""Words and phrases of each manner of speaking, whatever their case; what stands first wins. The paper sorts shifted
tokens by hand and by frequency, and gives no list."""
FORM = {
    "format": r"\n+|(?m:^[ \t]*(?:#{1,6}|[-*•+]|\d{1,3}[.)])(?=[ \t]))|\*\*|__|```+|\|",
    "name": r"(?<![.!?]\s)(?<!^)(?<!\n)\b[A-Z][\w'’]*",
    "number": r"\b\d[\d.,:]*\b",
    "punctuation": r"[^\w\s]",
}
"""The other types, as regular expressions; a capital at the beginning of a sentence tells nothing."""
REST = "word"


def token_types(pieces: Sequence[str], more: Mapping[str, Sequence[str]] | None = None) -> list[str]:
    """The type of each piece of a text, the pieces put together being the text.

    A word's type is that of all its pieces; what belongs to none is a "word".

    Parameters
    ----------
    pieces : texts of the tokens, with their blanks
    more : type → further words or phrases; a type of one's own goes before all others

    Raises
    ------
    InputError
        A type without words, or words that are no texts.

    Examples
    --------
    >>> token_types(["Cer", "tainly", "!", " In", " Ri", "ga", " it", " may", " be", " 3", "."])
    ['greeting', 'greeting', 'punctuation', 'word', 'name', 'name', 'word', 'hedge', 'word', 'number', 'punctuation']
    """
    text = "".join(pieces)
    kind = [REST] * len(text)
    rules = {name: _phrases(words) for name, words in TYPES.items()}
    for name, words in (more or {}).items():
        if isinstance(words, str) or not words or not all(isinstance(w, str) and w.strip() for w in words):
            raise InputError(f"The type {name!r} has {words!r}; a list of words or phrases is needed.")
        both = [*TYPES.get(name, ()), *words]
        rules = {name: _phrases(both)} | {k: v for k, v in rules.items() if k != name}
    for name, rule in reversed([*rules.items(), *((n, re.compile(r)) for n, r in FORM.items())]):
        for match in rule.finditer(text):
            kind[match.start() : match.end()] = [name] * (match.end() - match.start())
    types: list[str] = []
    at = 0
    for piece in pieces:
        shown = next((k for k, c in enumerate(piece) if not c.isspace()), 0)
        types.append(kind[at + shown] if piece else types[-1] if types else REST)
        at += len(piece)
    return types


def _phrases(words: Sequence[str]) -> re.Pattern[str]:
    listing = "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))
    return re.compile(rf"(?<![\w'’])(?:{listing})(?![\w'’])", re.IGNORECASE)
