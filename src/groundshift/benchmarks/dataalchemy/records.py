"""The world of letters as text: prompts, chains of thought and answers, and the files that hold them."""

from __future__ import annotations

import difflib
import json
import string
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from groundshift.errors import InputError
from groundshift.tables import refuse_overwriting
from groundshift.worlds.letters import Rule, chain, draw, reverse, rotate, shift
from groundshift.worlds.tinylm import EOS, Lexicon

__all__ = ["ANSWER", "THINK", "World", "read_records", "record", "rule_list", "write_records"]

THINK, ANSWER = "<think>", "<answer>"
FIELDS = ("input", "output", "element", "transformation", "instruction", "reasoning", "answer")
Rules = Sequence[str] | str
Record = dict[str, Any]


def rule_list(rules: Rules) -> tuple[str, ...]:
    """Tokens of a list of rules, however it is written.

    >>> rule_list("F1F2"), rule_list(["F1", "[F2]"]), rule_list("[F1] [F2]")
    (('[F1]', '[F2]'), ('[F1]', '[F2]'), ('[F1]', '[F2]'))
    """
    if isinstance(rules, str):
        spaced = rules.replace("[", " ").replace("]", " ").split()
        rules = [f"F{n}" for part in spaced for n in part.split("F")[1:]] if _short(spaced) else spaced
    return tuple(rule if rule.startswith("[") else f"[{rule}]" for rule in rules)


def _short(parts: list[str]) -> bool:
    """Whether these are F1, or F1F2 written together."""
    return all(part[0] == "F" and all(n.isdigit() for n in part.split("F")[1:]) for part in parts)


@dataclass(frozen=True)
class World:
    """An alphabet, rules, and the records that they make.

    Parameters
    ----------
    rules : tokens of the paper's rules, "[F1]" (rotate), "[F2]" (shift), "[F3]" (reverse); and `Rule`s of your own
    length : letters of an element, where nothing else is said
    alphabet : single characters
    rot_n, pos_n, direction : of [F1] and [F2]; the paper's figure draws a shift to the right, its code shifts to the
    left

    Raises
    ------
    InputError
        A token that names no rule, or two.

    Examples
    --------
    >>> world = World()
    >>> world.record("ABCD", ["[F1]", "[F2]"])["output"]
    'N O P Q [F2] <answer> O P Q N'
    >>> double = Rule("[MIRROR]", lambda e, size: np.minimum(e, e[:, ::-1]))
    >>> World(rules=["[F1]", double]).record("DCBA", ["[MIRROR]", "[F1]"])["answer"]
    'N O O N'
    """

    rules: Sequence[str | Rule] = ("[F1]", "[F2]", "[F3]")
    length: int = 4
    alphabet: str = string.ascii_uppercase
    rot_n: int = 13
    pos_n: int = 1
    direction: Literal["left", "right"] = "left"
    known: dict[str, Rule] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        built = {r.token: r for r in (rotate(self.rot_n), shift(self.pos_n, self.direction), reverse())}
        known: dict[str, Rule] = {}
        for rule in self.rules:
            if not isinstance(rule, Rule):
                (token,) = rule_list([rule])
                if token not in built:
                    raise InputError(
                        f"{rule!r} names no rule; there are {', '.join(built)}, or give a Rule of your own."
                    )
                rule = built[token]
            if rule.token in known:
                raise InputError(f"Two rules have the token {rule.token}; give each its own.")
            known[rule.token] = rule
        if len(set(self.alphabet)) != len(self.alphabet) or not self.alphabet or self.length < 1:
            raise InputError(
                f"An alphabet {self.alphabet!r} and length {self.length} were given; letters that all differ, and "
                "a length of 1 or more, are needed."
            )
        object.__setattr__(self, "known", known)

    @property
    def size(self) -> int:
        """Letters in the alphabet."""
        return len(self.alphabet)

    @cached_property
    def lexicon(self) -> Lexicon:
        """A token for each letter, rule and mark."""
        return Lexicon({"letter": list(self.alphabet), "rule": list(self.known), "mark": [THINK, ANSWER]})

    def find(self, rules: Rules) -> list[Rule]:
        """The rules of a list.

        Raises
        ------
        InputError
            An empty list, or a token that is not this world's.
        """
        tokens = rule_list(rules)
        if not tokens:
            raise InputError("An empty list of rules was given; at least one is needed.")
        for token in tokens:
            if token not in self.known:
                near = difflib.get_close_matches(token, self.known, 1)
                raise InputError(
                    f"{token} is no rule of this world; it has {', '.join(self.known)}"
                    + (f". Did you mean {near[0]}?" if near else ".")
                )
        return [self.known[token] for token in tokens]

    def numbers(self, element: str) -> NDArray[np.int64]:
        """Letters of an element as numbers, (l,).

        Raises
        ------
        InputError
            A character that is not in the alphabet, with its place; an empty element.
        """
        letters = element.split() if " " in element else list(element)
        for place, letter in enumerate(letters):
            if letter not in self.alphabet or len(letter) != 1:
                raise InputError(
                    f"{letter!r}, character {place + 1} of the element {element!r}, is not in the alphabet "
                    f"{self.alphabet}."
                )
        if not letters:
            raise InputError("An empty element was given; at least one letter is needed.")
        return np.array([self.alphabet.index(letter) for letter in letters])

    def letters(self, numbers: NDArray[np.int64]) -> str:
        """An element as text, set apart by blanks."""
        return " ".join(self.alphabet[i] for i in numbers)

    def record(self, element: str, rules: Rules, *, cot: bool = True) -> Record:
        """One record: what is asked, what is to be written, and its parts.

        With one rule, or without ``cot``, there is no reasoning.
        """
        return self.records([self.numbers(element)], rules, cot=cot)[0]

    def records(self, elements: Any, rules: Rules, *, cot: bool = True) -> list[Record]:
        """Records of elements given as numbers, (n, l)."""
        found, elements = self.find(rules), np.asarray(elements, dtype=np.int64)
        tokens = [rule.token for rule in found]
        made = []
        for element, steps in zip(elements, chain(elements, found, self.size), strict=True):
            written = [self.letters(h) for h in steps]
            thinks = cot and len(tokens) > 1
            reasoning = f" {THINK} ".join(
                " ".join([h, *tokens[j + 1 :]]) for j, h in enumerate(written[:-1] if thinks else [])
            )
            parts = {
                "element": self.letters(element),
                "transformation": " ".join(tokens),
                "instruction": THINK if thinks else ANSWER,
                "reasoning": reasoning,
                "answer": written[-1],
            }
            parts["input"] = f"{parts['element']} {parts['transformation']} {parts['instruction']}"
            parts["output"] = f"{reasoning} {ANSWER} {written[-1]}" if thinks else written[-1]
            made.append({name: parts[name] for name in FIELDS})
        return made

    def sample(
        self,
        rng: np.random.Generator,
        n: int,
        rules: Rules,
        *,
        length: int | None = None,
        atoms: str | None = None,
        cot: bool = True,
    ) -> list[Record]:
        """Records of ``n`` different elements; of all of them, in the order of the alphabet, where there are no more.

        >>> [r["element"] for r in World(alphabet="AB", length=2).sample(np.random.default_rng(0), 9, "F1")]
        ['A A', 'A B', 'B A', 'B B']
        """
        return self.records(self.elements(rng, n, length=length, atoms=atoms), rules, cot=cot)

    def elements(
        self, rng: np.random.Generator, n: int, *, length: int | None = None, atoms: str | None = None
    ) -> NDArray[np.int64]:
        """Different elements as numbers, see `sample`."""
        known = self.numbers(atoms or self.alphabet)
        length = length or self.length
        there = len(known) ** length
        chosen = rng.choice(there, n, replace=False) if n < there else np.arange(there)
        return known[chosen[:, None] // len(known) ** np.arange(length)[::-1] % len(known)]

    def encode(
        self, elements: NDArray[np.int64], rules: Rules, *, cot: bool = True
    ) -> tuple[NDArray[np.int64], int]:
        """Whole lines with their end token as ids of the lexicon, (n, T), and how many of them are the prompt.

        The same as encoding the texts of `records`, without making them.
        """
        found = self.find(rules)
        steps = chain(elements, found, self.size)
        lexicon = self.lexicon
        letter, mark = lexicon["letter"], dict(zip((THINK, ANSWER), lexicon["mark"], strict=True))
        tokens = lexicon.encode([rule.token for rule in found])
        n, length = elements.shape
        thinks = cot and len(found) > 1
        end = [np.full((n, 1), EOS)]

        def fixed(*ids: int) -> NDArray[np.int64]:
            return np.tile(np.array(ids, dtype=np.int64), (n, 1))

        parts = [letter[elements], fixed(*tokens, mark[THINK if thinks else ANSWER])]
        if thinks:
            for j in range(len(found) - 1):
                parts += [fixed(mark[THINK])] * (j > 0) + [letter[steps[:, j]], fixed(*tokens[j + 1 :])]
            parts.append(fixed(mark[ANSWER]))
        return np.concatenate([*parts, letter[steps[:, -1]], *end], axis=1), length + len(found) + 1

    def random_lines(
        self,
        rng: np.random.Generator,
        n: int,
        lists: Sequence[Rules],
        *,
        length: int | None = None,
        atoms: str | None = None,
        cot: bool = True,
    ) -> tuple[NDArray[np.int64], int]:
        """Lines of fresh elements, the lists of rules (all as long) mixed at random; see `encode`."""
        drawn = draw(rng, n, length or self.length, self.numbers(atoms or self.alphabet))  # type: ignore[arg-type]
        which = rng.integers(len(lists), size=n)
        lines, prompt = None, 0
        for i, rules in enumerate(lists):
            rows = np.flatnonzero(which == i)
            some, prompt = self.encode(drawn[rows], rules, cot=cot)
            if lines is None:
                lines = np.empty((n, some.shape[1]), dtype=np.int64)
            lines[rows] = some
        assert lines is not None
        return lines, prompt

    def asked(self, prompt: str) -> tuple[NDArray[np.int64], list[Rule]]:
        """Element and rules of a prompt.

        Raises
        ------
        InputError
            Something else stands there.
        """
        words = prompt.split()
        letters = [w for w in words if w in self.alphabet]
        tokens = [w for w in words if w in self.known]
        rest = [w for w in words[: len(letters) + len(tokens)] if w not in (*letters, *tokens)]
        if rest or not letters or not tokens or words[-1] not in (THINK, ANSWER):
            raise InputError(
                f"The prompt {prompt!r} cannot be read; letters, rules ({', '.join(self.known)}) and "
                f"{THINK} or {ANSWER} are needed, with blanks between them."
            )
        return self.numbers(" ".join(letters) if len(letters) > 1 else letters[0]), self.find(tokens)


def record(
    element: str, rules: Rules, *, rot_n: int = 13, pos_n: int = 1, cot: bool = True, **world: Any
) -> Record:
    """One record of the paper's world, see `World`.

    >>> record("ABCD", "F1F2")["input"]
    'A B C D [F1] [F2] <think>'
    """
    return World(rot_n=rot_n, pos_n=pos_n, **world).record(element, rules, cot=cot)


def read_records(path: str | Path, needed: Sequence[str] = FIELDS) -> list[Record]:
    """Records, or recorded predictions (``needed=("prompt", "predict", "label")``), one JSON object per line.

    Raises
    ------
    InputError
        No such file, a line that is no JSON object or lacks a field.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path} is no file; give a JSONL file with {', '.join(needed)} in each line.")

    def lines() -> Iterator[Record]:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                try:
                    row = json.loads(line)
                except json.JSONDecodeError as error:
                    raise InputError(f"Line {number} of {path} is no JSON: {error.msg}.") from error
                lacks = [name for name in needed if not isinstance(row, dict) or name not in row]
                if lacks:
                    raise InputError(
                        f"Line {number} of {path} lacks {', '.join(lacks)}; {', '.join(needed)} are needed."
                    )
                yield row

    if not (rows := list(lines())):
        raise InputError(f"{path} holds no line; at least one is needed.")
    return rows


def write_records(records: Sequence[Record], path: str | Path) -> Path:
    """Write records, one JSON object per line, to a file that does not exist."""
    path = Path(path)
    refuse_overwriting(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in records), encoding="utf-8")
    return path
