"""Scorers, one for each type of answer: an answer is read as its type, and compared exactly then."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any, Literal

from groundshift.benchmarks.hibench.tasks import TASKS
from groundshift.errors import InputError
from groundshift.models.items import Unparsed, Verdict
from groundshift.models.replies import read_field
from groundshift.worlds.hierarchies import parse, read_class
from groundshift.worlds.hierarchies.formulas import RANK, read, write

__all__ = ["GRADES", "extract", "score"]

NUMBERS = re.compile(r"""(?:\s|-?\b\d+\b|[\[\](){},;."'`]|->|→|\b(?:and|nodes?|the)\b)+""", re.I)


def extract(text: str) -> str | Unparsed:
    """What a completion gives as its "answer", see `groundshift.models.replies.read_field`."""
    found = read_field(text)
    if found is None:
        return Unparsed('There is no "answer" in it.')
    # A reply that was cut behind "The answer is:" names nothing, which is not an empty list.
    return found if found.strip() else Unparsed('Its "answer" is empty.')


# Readers: (text, form) → a value of the type, or InputError ---------------------------------------------------


def _whole(text: str, form: str) -> int:
    number = re.fullmatch(r"[^\w-]*(?:the )?(?:node|vertex|level|number)?[^\w-]*(-?\d+)\W*", text, re.I)
    if number is None:
        raise InputError(f"{text[:80]!r} is not one whole number.")
    return int(number[1])


def _name(text: str, form: str) -> str:
    try:
        return str(_whole(text, form))
    except InputError:
        return " ".join(text.casefold().strip("\"'`*. \n[]").split())


def _number(text: str, form: str) -> float:
    digits = r"[+-]?(?:\d+|\d{1,3}(?:,\d{3})+)?(?:\.\d+)?"
    number = re.fullmatch(rf"[^\w.+-]*({digits})[^\w.]*\.?[^\w.]*", text.replace("−", "-"))
    if number is None or not number[1].strip("+-"):
        raise InputError(f"{text[:80]!r} is not one number.")
    return float(number[1].replace(",", ""))


def _word(words: Mapping[str, str]) -> Callable[[str, str], str]:
    def reader(text: str, form: str) -> str:
        found = {meaning for word, meaning in words.items() if re.search(rf"\b{word}\b", text, re.I)}
        if len(found) != 1 or re.search(r"\b(?:not|neither|or)\b", text, re.I):
            raise InputError(f"{text[:80]!r} is not one of {', '.join(sorted(set(words.values())))}.")
        return found.pop()

    return reader


def _list(text: str, form: str) -> list[str]:
    """Entries of JSON, or between commas, semicolons, arrows and lines."""
    if text.strip(" .\n\"'`*").casefold() in ("none", "null", "[]", "{}", ""):
        return []
    if NUMBERS.fullmatch(text):
        return [str(int(number)) for number in re.findall(r"-?\d+", text)]
    try:
        entries = json.loads(text)
    except ValueError:
        entries = re.split(r"[,;\n]|->|→", text.strip(" .\n[](){}"))
    return [_name(str(entry), form) for entry in (entries if isinstance(entries, list) else [entries])]


def _tree(text: str, form: str) -> tuple[frozenset[Any], frozenset[Any]]:
    """Edges with their sides, and nodes; a single node is as good as none."""
    tree = parse("\n".join(line for line in text.split("\n") if not line.lstrip().startswith("```")), form)
    edges = frozenset((above, node, tree.side.get(node)) for above, node in tree.edges)
    return edges, frozenset(tree.nodes if edges else ())


def _formula(text: str, form: str) -> list[Any]:
    tokens = write(read(text.strip("\"'` "), form), "prefix").split()
    return [token if token in RANK else Fraction(token) for token in tokens]


def _text(text: str, form: str) -> list[str]:
    return re.findall(r"\w+(?:\.\d+)?", re.sub(r"\b(?:a|an|the)\b", " ", text.casefold()))


ORDERS = {rf"{name}[- ]?order": f"{name}order" for name in ("pre", "in", "post")}
READERS: dict[str, Callable[[str, str], Any]] = {
    "node": _name, "name": _name, "integer": _whole, "number": _number, "order": _word(ORDERS), "list": _list,
    "boolean": _word({"yes": "yes", "true": "yes", "no": "no", "false": "no"}), "tree": _tree, "formula": _formula,
    "set": lambda text, form: frozenset(_list(text, form)), "class": lambda text, form: read_class(text), "text": _text,
}  # fmt: skip


def _f1(given: Any, right: Any) -> float:
    shared = (Counter(given) & Counter(right)).total()
    return 2 * shared / (len(given) + len(right)) if shared else float(not given and not right)


def _edits(given: list[Any], right: list[Any]) -> float:
    """1 − Levenshtein's distance over the length of the longer list."""
    from rapidfuzz.distance import Levenshtein

    return float(Levenshtein.normalized_similarity(given, right))


PARTIAL: dict[str, Callable[[Any, Any], float]] = {
    "set": _f1, "text": _f1, "list": _edits, "formula": _edits, "tree": lambda given, right: _f1(given[0], right[0]),
}  # fmt: skip


def grade(value: str, target: str, facts: Mapping[str, Any]) -> Verdict | Unparsed:
    """Compare an extracted answer with the target as values of their type; `Unparsed` where it is none of the type."""
    kind, form = facts["answer_type"], facts.get("answer_form", "")
    first = value.strip("\n").split("\n")[0]
    whole = kind == "tree" or (kind in ("list", "set") and ("," not in first or first[:1] in "[{"))
    try:
        given, right = READERS[kind](value if whole else first, form), READERS[kind](target, form)
    except (InputError, RecursionError) as error:
        return Unparsed(str(error))
    correct = abs(given - right) <= 0.005 + 1e-9 if kind == "number" else given == right
    return Verdict(bool(correct), 1.0 if correct else PARTIAL[kind](given, right) if kind in PARTIAL else 0.0)


def grade_published(value: str, target: str, facts: Mapping[str, Any]) -> Verdict:
    """As the published matchers do: letters, digits, blanks and commas alone, no order, no sign and no shape."""
    given, right = (re.sub(r"[^a-z0-9 ,]", "", text.casefold()) for text in (value, target))
    kind = facts["answer_type"]
    if facts.get("scenario") == "paper":
        items = [item.strip() for item in right.split(",")]
        share = sum(item in given for item in items) / len(items)
        return Verdict(share == 1, share)
    if kind in ("tree", "formula"):
        return Verdict(re.findall(r"\d+", given) == re.findall(r"\d+", right))
    if kind in ("list", "set"):
        both = (sorted(part.strip() for part in text.split(",")) for text in (given, right))
        return Verdict(all(a == b for a, b in zip(*both, strict=False)))
    return Verdict(given == right if kind == "number" else right in given)


GRADES: dict[str, Callable[..., Verdict | Unparsed]] = {"strict": grade, "published": grade_published}


def score(
    task: str, response: str, target: str, form: str = "edge", matcher: Literal["strict", "published"] = "strict"
) -> Verdict:  # fmt: skip
    """Whether a completion is right.

    Parameters
    ----------
    task : one of `TASKS`; `InputError` for others
    response, target : the completion, and the right answer as text
    form : in which a tree or a formula has to be written
    matcher : "published" for the rules of the paper's repository

    Examples
    --------
    >>> both = [score("root", '{"answer": "not 3"}', "3", matcher=name) for name in ("strict", "published")]
    >>> [verdict.correct for verdict in both]
    [False, True]
    """
    if task not in TASKS or matcher not in GRADES:
        raise InputError(
            f"{task!r}, {matcher!r} were given; there are {', '.join(GRADES)}; {', '.join(TASKS)}."
        )
    facts = {"answer_type": TASKS[task].kind, "answer_form": form, "scenario": TASKS[task].scenario}
    value = extract(response)
    verdict = value if isinstance(value, Unparsed) else GRADES[matcher](value, target, facts)
    return Verdict(False, 0.0, reason=verdict.reason) if isinstance(verdict, Unparsed) else verdict
