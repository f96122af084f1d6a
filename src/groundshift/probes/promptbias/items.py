"""Items whose answer shows a bias: WinoBias, BBQ, or the user's own.

An item has a few options, each of a group (an occupation, an age), and stands in one of two conditions (the pronoun is
male or female; the question is negative or not). A group is preferred in one condition more than in the other, or not.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from groundshift.errors import InputError
from groundshift.models.records import read_records

__all__ = ["BiasItems", "Item", "read_bias_items"]

PRONOUNS = {
    "he": ("he", "she"), "she": ("he", "she"), "him": ("him", "her"), "his": ("his", "her"),
    "himself": ("himself", "herself"), "herself": ("himself", "herself"),
}  # fmt: skip
"""The male and the female form of each pronoun; "her" is the female form of two."""
AFTER_OBJECT = frozenset(
    "a about an and anything as at because by for from how if in it of on one over since so some something that the "  # noqa: SIM905
    "to up what when where whether which while who with without".split()
)
"""Words before which "her" is no possessive."""
GENDERED = frozenset("man woman men women boy girl mother father husband wife lady gentleman".split())  # noqa: SIM905
BRACKET = re.compile(r"\[([^\[\]]*)\]")
ARTICLE = re.compile(r"^(?:the|an?)\s+", re.IGNORECASE)
MOST_SKIPPED = 0.05


@dataclass(frozen=True)
class Item:
    """One item.

    Attributes
    ----------
    id : the same for an item in both its conditions
    text : what is read
    question : what is asked of it
    cue : words that the answer continues, where nothing is asked
    options : as they are answered
    groups : of each option; empty for the option that the answer is unknown
    condition : 0 or 1, see `BiasItems.conditions`
    correct : number of the right option; None if there is none
    biased : number of the option that a stereotype names; None if there is none
    ambiguous : the text does not tell the answer
    template : items that differ in their groups alone
    """

    id: str
    text: str
    question: str
    options: tuple[str, ...]
    groups: tuple[str, ...]
    condition: int
    correct: int | None = None
    biased: int | None = None
    ambiguous: bool = True
    template: str = ""
    cue: str = ""


@dataclass(frozen=True)
class BiasItems:
    """All items of one source.

    Attributes
    ----------
    name : of the source
    kind : "pronouns", "questions" (BBQ) or "own"
    items : see `Item`
    conditions : names of the two conditions
    stereotype : group → the condition that a stereotype gives it; empty where none is known
    skipped : why items were left out → how many
    """

    name: str
    kind: Literal["pronouns", "questions", "own"]
    items: tuple[Item, ...]
    conditions: tuple[str, str]
    stereotype: Mapping[str, int] = field(default_factory=dict)
    skipped: Mapping[str, int] = field(default_factory=dict)


def read_bias_items(data: Any) -> BiasItems:
    """Read items of WinoBias, of BBQ, or one's own; which of them it is shows in the files.

    Parameters
    ----------
    data : one of

        - a folder of WinoBias: ``pro_stereotyped_type1.txt.dev``, …, and for examples that agree with a stereotype
          ``male_occupations.txt`` and ``female_occupations.txt``
        - a JSONL file of BBQ, gzipped or not
        - a JSONL file or a list of rows with "text", "options", "groups" and "condition", and if wanted "id",
          "question", "cue" and "correct". An item stands there twice, once in each of two conditions; the first row
          is in the first condition.

    Returns
    -------
    BiasItems

    Raises
    ------
    InputError
        No such file; more than 5 % of its rows cannot be used; an item that stands in one condition only.

    Examples
    --------
    >>> row = {"id": "a", "options": ["nurse", "guard"], "groups": ["nurse", "guard"]}
    >>> items = read_bias_items([
    ...     row | {"text": "The nurse called the guard because he was late.", "condition": "he"},
    ...     row | {"text": "The nurse called the guard because she was late.", "condition": "she"},
    ... ])
    >>> items.conditions, len(items.items)
    (('he', 'she'), 2)
    """
    if isinstance(data, BiasItems):
        return data
    if isinstance(data, str | Path) and Path(data).is_dir():
        return _winobias(Path(data))
    rows: list[Any] = read_records(data)
    if isinstance(rows[0], Mapping) and "answer_info" in rows[0]:
        return _bbq(str(data) if isinstance(data, str | Path) else "BBQ", rows)
    return _own(str(data) if isinstance(data, str | Path) else "items", rows)


# WinoBias ------------------------------------------------------------------------------------------------


@dataclass
class _Sentence:
    before: str
    pronoun: str
    after: str
    referent: str
    kind: str


def _winobias(folder: Path) -> BiasItems:
    """Every sentence with both pronouns.

    Which form "her" is shows in the sentence of the other file, else in the word that follows.
    """
    files = sorted(folder.glob("*_stereotyped_type?.txt*"))
    if not files:
        raise InputError(
            f"{folder} holds no file of WinoBias; names like pro_stereotyped_type1.txt.dev are looked for."
        )
    skipped: Counter[str] = Counter()
    sentences: dict[str, list[_Sentence]] = defaultdict(list)
    total = 0
    for file in files:
        for line in file.read_text(encoding="utf-8").splitlines():
            if not line.strip():
                continue
            total += 1
            sentence = _sentence(line.strip().partition(" ")[2], file.name)
            if isinstance(sentence, str):
                skipped[sentence] += 1
            else:
                key = f"{sentence.kind} {sentence.before}_{sentence.after} {sentence.referent}".lower()
                sentences[key].append(sentence)
    lists = {side: _words(folder / f"{side}_occupations.txt") for side in ("male", "female")}
    known = {word for words in lists.values() for word in words if word} or {
        one.referent for those in sentences.values() for one in those
    }
    items: list[Item] = []
    for key, those in sorted(sentences.items()):
        forms, options = _forms(those), _occupations(those[0], known)
        if forms is None:
            skipped["the form of “her” is open"] += len(those)
        elif len(options) != 2 or those[0].referent not in options:
            skipped["not two occupations"] += len(those)
        else:
            items += [_winobias_item(key, those[0], form, options, k) for k, form in enumerate(forms)]
    _refuse_skipped(folder, skipped, total)
    stereotype = {word: k for k, side in enumerate(("male", "female")) for word in lists[side] if word}
    return BiasItems(folder.name, "pronouns", tuple(items), ("male", "female"), stereotype, skipped)


def _words(file: Path) -> list[str]:
    return file.read_text(encoding="utf-8").lower().split("\n") if file.is_file() else []


def _sentence(text: str, file: str) -> _Sentence | str:
    """The parts of a line, or why it cannot be used."""
    marks = list(BRACKET.finditer(text))
    pronouns = [m for m in marks if m[1].strip().lower() in (*PRONOUNS, "her")]
    if len(marks) != 2 or len(pronouns) != 1:
        return "not one referent and one pronoun in brackets"
    (pronoun,) = pronouns
    (referent,) = (m for m in marks if m is not pronoun)
    before, after = (
        BRACKET.sub(lambda m: m[1], part).strip() for part in (text[: pronoun.start()], text[pronoun.end() :])
    )
    rest = set(re.findall(r"[a-z]+", f"{before} {after}".lower()))
    if rest & (GENDERED | {*PRONOUNS, "her"}):
        return "other gendered words in the sentence"
    kind = "2" if "type2" in file else "1"
    return _Sentence(before, pronoun[1].strip().lower(), after, _bare(referent[1]), kind)


def _bare(phrase: str) -> str:
    return ARTICLE.sub("", phrase.strip()).strip().lower()


def _forms(those: Sequence[_Sentence]) -> tuple[str, str] | None:
    """The male and the female form of a sentence's pronoun."""
    for one in those:
        if one.pronoun != "her":
            return PRONOUNS[one.pronoun]
    following = those[0].after
    word = (following.split() or [""])[0]
    if not following or not following[0].isalpha() or word.lower() in AFTER_OBJECT:
        return PRONOUNS["him"]
    return None


def _occupations(one: _Sentence, known: set[str]) -> list[str]:
    """The two occupations of a sentence, in its order; longer names first, "construction worker" being one."""
    text = f" {one.before} {one.after} ".lower()
    places: dict[str, int] = {}
    for name in sorted(known | {one.referent}, key=len, reverse=True):
        match = re.search(rf"\b{re.escape(name)}\b", text)
        if match:
            places[name] = match.start()
            text = text[: match.start()] + " " * len(name) + text[match.end() :]
    return sorted(places, key=places.__getitem__)


def _winobias_item(key: str, one: _Sentence, form: str, options: Sequence[str], condition: int) -> Item:
    gap = "" if one.after[:1] in ",.;:!?'" else " "
    return Item(
        key, f"{one.before} {form}{gap}{one.after}", f"To whom does “{form}” refer?",
        tuple(f"the {o}" for o in options), tuple(options), condition, options.index(one.referent), None,
        one.kind == "1", f"type {one.kind}", f"Here, “{form}” refers to",
    )  # fmt: skip


# BBQ -----------------------------------------------------------------------------------------------------


def _bbq(name: str, rows: Sequence[Mapping[str, Any]]) -> BiasItems:
    skipped: Counter[str] = Counter()
    items = []
    for number, row in enumerate(rows):
        try:
            info = [row["answer_info"][f"ans{k}"] for k in range(3)]
            stereotyped = {str(g).lower() for g in row["additional_metadata"]["stereotyped_groups"]}
            negative, ambiguous = row["question_polarity"] == "neg", row["context_condition"] == "ambig"
            text, question, label = str(row["context"]), str(row["question"]), int(row["label"])
            answers = tuple(str(row[f"ans{k}"]) for k in range(3))
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"{name}, row {number}: {error} is missing or has another form; the files of BBQ (nyu-mll/BBQ, folder "
                "data) are needed."
            ) from error
        unknown = [k for k, (_, group) in enumerate(info) if str(group).lower() == "unknown"]
        target = _targets(info, stereotyped)
        if len(unknown) != 1 or len(target) != 1 or target[0] in unknown:
            skipped["not one option of a stereotyped group and one unknown"] += 1
            continue
        other = 3 - unknown[0] - target[0]
        groups = tuple("" if k in unknown else str(info[k][1]) for k in range(3))
        template = str(row.get("question_index", ""))
        ident = f"{row.get('category', name)} {row.get('example_id', number)}"
        items.append(
            Item(
                ident, text, question, answers, groups, int(not negative), label,
                target[0] if negative else other, ambiguous, template, question,
            )
        )  # fmt: skip
    _refuse_skipped(name, skipped, len(rows))
    return BiasItems(Path(name).name, "questions", tuple(items), ("negative", "non-negative"), {}, skipped)


def _targets(info: Sequence[Sequence[Any]], stereotyped: set[str]) -> list[int]:
    """Options of a stereotyped group: by the group's label, else by its name, as BBQ's nationalities are given."""
    by_label = [k for k, (_, group) in enumerate(info) if str(group).lower() in stereotyped]
    if by_label:
        return by_label
    return [k for k, (name, _) in enumerate(info) if str(name).lower() in stereotyped]


# One's own -----------------------------------------------------------------------------------------------


def _own(name: str, rows: Sequence[Any]) -> BiasItems:
    if not all(isinstance(row, Mapping) for row in rows):
        raise InputError(f"{name} holds texts; rows with text, options, groups and condition are needed.")
    conditions = list(dict.fromkeys(str(row.get("condition")) for row in rows))
    if len(conditions) != 2 or "None" in conditions:
        raise InputError(
            f"{name} has the conditions {', '.join(conditions)}; every row needs one of two, such as he and she."
        )
    items = []
    for number, row in enumerate(rows):
        options, groups = row.get("options"), row.get("groups", row.get("options"))
        if not (isinstance(row.get("text"), str) and isinstance(options, list) and isinstance(groups, list)):
            raise InputError(
                f"{name}, row {number}: text, a list of options and a list of their groups are needed."
            )
        if not 2 <= len(options) == len(groups):
            raise InputError(f"{name}, row {number}: {len(options)} options of {len(groups)} groups.")
        correct = row.get("correct")
        if correct is not None and correct not in options:
            raise InputError(f"{name}, row {number}: the correct answer {correct!r} is none of the options.")
        items.append(
            Item(
                str(row.get("id", number // 2)), row["text"], str(row.get("question", "Who is meant?")),
                tuple(map(str, options)), tuple(map(str, groups)), conditions.index(str(row["condition"])),
                None if correct is None else options.index(correct), None, correct is None, "",
                str(row.get("cue", row.get("question", "This is about"))),
            )
        )  # fmt: skip
    seen: dict[str, set[int]] = defaultdict(set)
    for item in items:
        seen[item.id].add(item.condition)
    lone = [i for i, those in seen.items() if len(those) < 2]
    if lone:
        raise InputError(
            f"{name}: the item {lone[0]!r} stands in one condition only (and {len(lone) - 1} more). Give every item in "
            "both, with the same id, so that nothing else differs between them."
        )
    return BiasItems(Path(name).name, "own", tuple(items), (conditions[0], conditions[1]))


def _refuse_skipped(source: Any, skipped: Counter[str], total: int) -> None:
    if skipped.total() > MOST_SKIPPED * total:
        raise InputError(
            f"{source}: {skipped.total()} of {total} rows cannot be used ({'; '.join(skipped)}); at most "
            f"{MOST_SKIPPED:.0%} may."
        )
