"""Questions whose right answers are known: put to a model of any kind or read from a file, and graded.

A benchmark makes `Item`s, and gives a parser and a grade. `ask_items` gets the answers, `grade_items` makes them the
table of records that `groundshift.measures.answers` summarises; `groundshift.models.answers` does the same on Inspect.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from groundshift import __version__
from groundshift.errors import InputError
from groundshift.models.records import read_lines

__all__ = [
    "Grade",
    "Item",
    "Parser",
    "Picture",
    "Unparsed",
    "Verdict",
    "ask_items",
    "check_spellings",
    "grade_items",
    "item_id",
    "judged",
    "read_answers",
]

CHUNK = 128
"""Items that are answered before their answers are written down."""
SEEN = 32
"""The same of items with pictures, which are all in memory by then."""


@dataclass(frozen=True)
class Unparsed:
    """What a parser, or a grade, returns in place of a value that it cannot find, and why."""

    reason: str


@dataclass(frozen=True)
class Verdict:
    """What a scorer says of a parsed value: right or not, partial credit in [0, 1], named parts, and why."""

    correct: bool
    partial: float | None = None
    parts: Mapping[str, float] | None = None
    reason: str = ""


Parser = Callable[[str], Any]
"""A completion → a value, or `Unparsed`."""
Grade = Callable[[Any, str, Mapping[str, Any]], Verdict | Unparsed]
"""Value, target and the item's facts → `Verdict`, or `Unparsed`."""
Lines = list[tuple[int, Any]]
"""Numbers and rows of a file."""


def item_id(content: Mapping[str, Any]) -> str:
    """A name of an item that depends on its content alone, so that two runs can be joined: 16 hexadecimal digits.

    >>> item_id({"question": "2+2", "domain": "sums"}) == item_id({"domain": "sums", "question": "2+2"})
    True
    """
    text = json.dumps(content, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


@dataclass(frozen=True)
class Picture:
    """A picture of a question, which is read only when the question is asked.

    Attributes
    ----------
    digest : hash of its content, so that an item's id depends on what is seen and not on where it lies
    read : returns the PIL image
    """

    digest: str
    read: Callable[[], Any] = field(compare=False)


@dataclass(frozen=True)
class Item:
    """A question with its right answer.

    Attributes
    ----------
    prompt : text for the user, or messages with "role" and "content"; content may be a list of parts, of which
        ``{"type": "text", "text": …}`` is text and ``{"type": "image"}`` stands for the next picture
    target : the right answer as text; of a structured one, JSON
    facts : what it is tabulated by, and "group" (the unit that is resampled), "chance" (of a random answer to be right)
    max_new_tokens : room for the answer
    images : the pictures of the prompt, in order; of a text they stand in front

    Examples
    --------
    >>> Item("2 + 2 =", "4", {"group": "sums"}).messages
    [{'role': 'user', 'content': '2 + 2 ='}]
    """

    prompt: str | Sequence[Mapping[str, Any]]
    target: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    max_new_tokens: int = 64
    images: Sequence[Picture] = ()

    def __post_init__(self) -> None:
        places = sum(part["type"] == "image" for message in self.messages for part in parts_of(message))
        if places != len(self.images):
            raise InputError(
                f"A prompt has places for {places} pictures and {len(self.images)} were given; give one for each."
            )

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The prompt as messages, with places for its pictures."""
        if not isinstance(self.prompt, str):
            return [dict(message) for message in self.prompt]
        if not self.images:
            return [{"role": "user", "content": self.prompt}]
        places = [{"type": "image"} for _ in self.images]
        return [{"role": "user", "content": [*places, {"type": "text", "text": self.prompt}]}]

    def shown(self) -> list[dict[str, Any]]:
        """The messages with their pictures, which are read now: ``{"type": "image", "image": PIL image}``."""
        pictures, chat = iter(self.images), self.messages
        for message in chat if self.images else ():
            if isinstance(message["content"], list):
                message["content"] = [
                    {**part, "image": next(pictures).read()} if part["type"] == "image" else part
                    for part in message["content"]
                ]
        return chat

    @cached_property
    def id(self) -> str:
        """Of its prompt, its pictures and its target."""
        seen = {"images": [picture.digest for picture in self.images]} if self.images else {}
        return item_id({"prompt": self.messages, "target": self.target, **seen})


def parts_of(message: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The parts of a message's content, each with a "type"; none of a text."""
    content = message["content"]
    return list(content) if isinstance(content, list) else []


def ask_items(
    items: Sequence[Item],
    model: Any,
    *,
    answers: str | Path | None = None,
    temperature: float = 0.0,
    seed: int = 0,
    device: str = "auto",
    allow_missing: bool = False,
    progress: bool = True,
) -> tuple[str, list[str | None]]:
    """The model's name and its answer to each item; None where the item leaves no room in what the model reads.

    Parameters
    ----------
    model : see `groundshift.models.speaker.Speaker`; or a JSONL file with "id" and "answer" in each line, which has
        what was answered elsewhere; in place of "id", facts that name one item, such as "question" and "protocol"
    answers : JSONL file to which every answer is added as it comes; what stands there is not asked again, so that a run
        that was stopped goes on

    Raises
    ------
    InputError
        No items, two items that are the same; what `Speaker` and `read_answers` raise; a file of answers of another
        model.
    """
    ids = [item.id for item in items]
    if not items:
        raise InputError("There are no items to ask.")
    if len(set(ids)) < len(ids):
        twice = next(item for k, item in enumerate(items) if item.id in ids[:k])
        raise InputError(f"An item stands twice: {twice.messages[-1]['content'][:200]!r}; ask each once.")
    if isinstance(model, str | os.PathLike) and str(model).endswith((".jsonl", ".jsonl.gz")):
        lines = _lines(Path(model))
        known = _by_facts(Path(model), lines, items) or _by_id(Path(model), lines)
        if missing := [id_ for id_ in ids if id_ not in known]:
            raise InputError(
                f"{model} has no answer to {len(missing)} of {len(ids)} items ({', '.join(missing[:3])}, …); make the "
                "items with the options with which these were answered."
            )
        return str(model), [known[id_] for id_ in ids]

    from accelerate.utils import tqdm

    from groundshift.models.speaker import Speaker

    speaker = Speaker(model, temperature=temperature, device=device, allow_missing=allow_missing)
    if seeing := [item for item in items if item.images]:
        speaker.refuse_pictures(max(seeing, key=lambda item: len(item.images)).shown())
    done = {} if answers is None else _begun(Path(answers), speaker.name)
    lengths = defaultdict(list)
    for id_, item in zip(ids, items, strict=True):
        if id_ not in done:
            lengths[item.max_new_tokens].append((id_, item))
    left = sum(map(len, lengths.values()))
    with tqdm(main_process_only=False, total=left, desc="asking", disable=None if progress else True) as bar:
        for room, group in lengths.items():
            speaker.settings["max_new_tokens"] = room
            size = SEEN if seeing else CHUNK
            for start in range(0, len(group), size):
                part = group[start : start + size]
                chats = [(id_, item.shown()) for id_, item in part]
                fitting = [(id_, chat) for id_, chat in chats if _fits(speaker, chat)]
                texts = speaker.write([chat for _, chat in fitting], seed)
                new = dict(zip([id_ for id_, _ in fitting], texts, strict=True))
                done |= new
                if answers is not None:
                    with Path(answers).open("a", encoding="utf-8") as file:
                        for id_, text in new.items():
                            row = {"id": id_, "answer": text, "model": speaker.name}
                            file.write(json.dumps(row, ensure_ascii=False) + "\n")
                bar.update(len(part))
    return speaker.name, [done.get(id_) for id_ in ids]


def _by_facts(file: Path, lines: Lines, items: Sequence[Item]) -> dict[str, str]:
    """Recorded answers whose lines have no id, by the one item that has the facts of each line; empty if they have ids.

    Answers that are no text are taken as JSON, and lines about other items are left out.
    """
    rows = [row for _, row in lines if isinstance(row, dict)]
    if not rows or any("answer" not in row or "id" in row for row in rows):
        return {}
    names = sorted({name for row in rows for name in row} & set(items[0].facts))
    ids = defaultdict(list)
    for item in items:
        ids[tuple(str(item.facts[name]) for name in names)].append(item.id)
    known: dict[str, str] = {}
    for row in rows:
        own = ids.get(key := tuple(str(row.get(name)) for name in names), [])
        if len(own) > 1 or (own and own[0] in known):
            raise InputError(
                f"{file}: {key} ({', '.join(names)}) names {len(own)} items, or stands twice; name one, once."
            )
        known |= {
            id_: row["answer"] if isinstance(row["answer"], str) else json.dumps(row["answer"]) for id_ in own
        }
    if not known:
        raise InputError(
            f"{file} answers none of the items; each line needs an id, or facts ({', '.join(items[0].facts)})."
        )
    return known


def _fits(speaker: Any, chat: list[dict[str, Any]]) -> bool:
    try:
        speaker.refuse_long(chat, replies=True)
    except InputError:
        return False
    return True


def _begun(file: Path, model: str) -> dict[str, str]:
    """Answers of a run that was stopped; its last line may be cut."""
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        return {}
    data = file.read_bytes()
    if not data.endswith(b"\n"):
        with file.open("r+b") as whole:
            whole.truncate(data.rfind(b"\n") + 1)
    if not file.stat().st_size:
        return {}
    lines = _lines(file)
    if others := {str(row.get("model")) for _, row in lines if isinstance(row, dict)} - {model}:
        raise InputError(
            f"{file} holds answers of {sorted(others)[0]}, and {model} is asked; name another file of answers."
        )
    return _by_id(file, lines)


def read_answers(file: str | Path) -> dict[str, str]:
    """Recorded answers by the id of their item.

    Parameters
    ----------
    file : JSONL with "id" and "answer" (or "completion") on every line; of an id that stands twice the last counts

    Raises
    ------
    InputError
        No such file, no lines, a line without them.
    """
    return _by_id(Path(file), _lines(Path(file)))


def _lines(file: Path) -> Lines:
    lines = list(read_lines(file)) if file.is_file() else []
    if not lines:
        what = "is empty" if file.is_file() else "is no file"
        raise InputError(f"{file} {what}; give JSONL with an id and an answer on every line.")
    return lines


def _by_id(file: Path, lines: Lines) -> dict[str, str]:
    answers = {}
    for number, row in lines:
        answer = row.get("answer", row.get("completion")) if isinstance(row, dict) else None
        if answer is None or "id" not in row or not isinstance(answer, str):
            raise InputError(f'{file}, line {number}: "id" and "answer" are needed, the answer as text.')
        answers[str(row["id"])] = answer
    return answers


def judged(
    parser: Parser, grade: Grade, completion: str, target: str, facts: Mapping[str, Any]
) -> tuple[Any, Verdict | Unparsed]:
    """The value that a completion holds, and what is said of it."""
    value = parser(completion)
    return (None, value) if isinstance(value, Unparsed) else (value, grade(value, target, facts))


def grade_items(
    items: Sequence[Item],
    answers: Sequence[str | None],
    parser: Parser,
    grade: Grade,
    *,
    task: str,
    version: str,
    model: str,
) -> pd.DataFrame:
    """A row for each item, with the columns of `groundshift.models.answers.records`.

    Parameters
    ----------
    answers : of each item; None for one that could not be asked
    task, version : the benchmark and the version of its wording and its scorer

    Examples
    --------
    >>> exact = lambda value, target, facts: Verdict(value == target)
    >>> records = grade_items([Item("2 + 2 =", "4")], ["4"], str.strip, exact, task="sums", version="1", model="m")
    >>> records[["answer", "correct"]].values.tolist()
    [['4', 1.0]]
    """
    none = float("nan")
    rows = []
    for item, answer in zip(items, answers, strict=True):
        facts = dict(item.facts)
        messages = [(message["role"], message["content"]) for message in item.messages]
        seen = {"images": [picture.digest for picture in item.images]} if item.images else {}
        row: dict[str, Any] = {
            "id": item.id, "epoch": 1, "group": str(facts.pop("group", item.id)), "target": item.target,
            "answer": answer, "parsed_value": None, "correct": none, "partial": none, "parsed": none,
            "reason": None, "error": None, "prompt": item_id({"prompt": messages, **seen}), "model": model,
            "task": task, "task_version": version, "groundshift": __version__,
        }  # fmt: skip
        if answer is None:
            row["error"] = "The item leaves no room in what the model reads."
        else:
            value, verdict = judged(parser, grade, answer, item.target, item.facts)
            row["reason"] = verdict.reason
            if isinstance(verdict, Unparsed):
                row |= {"correct": 0.0, "partial": 0.0, "parsed": 0.0}
            else:
                partial = float(verdict.correct if verdict.partial is None else verdict.partial)
                row |= {"correct": float(verdict.correct), "partial": partial, "parsed": 1.0}
                row |= {"parsed_value": str(value), **(verdict.parts or {})}
        rows.append({**{f"item_{k}" if k in row else k: v for k, v in facts.items()}, **row})
    table = pd.DataFrame(rows)
    first = ["id", "model", "task", *(name for name in items[0].facts if name in table)]
    return table[[*dict.fromkeys([*first, *table.columns])]]


def check_spellings(
    parser: Parser,
    grade: Grade,
    accept: Iterable[tuple[str, str]],
    reject: Iterable[tuple[str, str]],
    metadata: Mapping[str, Any] | None = None,
) -> list[str]:
    """What a scorer gets wrong of its own table of harmless spellings and near misses; an empty list is as it must be.

    Parameters
    ----------
    accept, reject : pairs (completion, target) that must come out right, or wrong

    Examples
    --------
    >>> def word(text):
    ...     return text.strip(" .").lower() or Unparsed("empty")
    >>> same = lambda value, target, _: Verdict(value == target.lower())
    >>> check_spellings(word, same, [("Riga.", "Riga")], [("Rigas", "Riga"), ("", "Riga")])
    []
    """
    wrong = []
    for pairs, right in ((accept, True), (reject, False)):
        for completion, target in pairs:
            verdict = judged(parser, grade, completion, target, metadata or {})[1]
            if (isinstance(verdict, Verdict) and verdict.correct) != right:
                wrong.append(f"{completion!r} for {target!r} is {'accepted' if not right else 'rejected'}")
    return wrong
