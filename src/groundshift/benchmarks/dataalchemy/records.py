"""The world of letters as text: prompts, chains of thought and answers, and the files that hold them."""

from __future__ import annotations

import json
import math
import string
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from groundshift.errors import InputError, did_you_mean
from groundshift.worlds.letters import Rule, chain, draw, reverse, rotate, shift
from groundshift.worlds.tinylm import EOS, Lexicon
from groundshift.writing import new_file

__all__ = [
    "ANSWER",
    "THINK",
    "World",
    "apart",
    "by_place",
    "read_records",
    "record",
    "rule_list",
    "write_records",
]

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
                raise InputError(
                    f"{token} is no rule of this world{did_you_mean(token, self.known)} It has {', '.join(self.known)}."
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
            if letter not in [*self.alphabet]:
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
        rules_found, elements = self.find(rules), np.asarray(elements, dtype=np.int64)
        tokens = [rule.token for rule in rules_found]
        records = []
        for element, steps in zip(elements, chain(elements, rules_found, self.size), strict=True):
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
            records.append({name: parts[name] for name in FIELDS})
        return records

    def sample(
        self,
        rng: np.random.Generator,
        n: int,
        rules: Rules,
        *,
        length: int | None = None,
        letters: Sequence[str] = (),
        cot: bool = True,
    ) -> list[Record]:
        """Records of ``n`` different elements; of all of them, in the order of the alphabet, where there are no more.

        ``letters``: that may stand in each place, see `places`.

        >>> [r["element"] for r in World(alphabet="AB", length=2).sample(np.random.default_rng(0), 9, "F1")]
        ['A A', 'A B', 'B A', 'B B']
        """
        return self.records(self.elements(rng, n, length=length, letters=letters), rules, cot=cot)

    def elements(
        self, rng: np.random.Generator, n: int, *, length: int | None = None, letters: Sequence[str] = ()
    ) -> NDArray[np.int64]:
        """Different elements as numbers, see `sample`."""
        length = self.length if length is None else length
        if n < 1:
            raise InputError(f"{n} records were asked for; at least one is needed.")
        known = self.places(letters, length)
        sizes = [len(place) for place in known]
        there = math.prod(sizes)
        if there >= 2**63:  # cannot be counted, and are too many to meet one twice
            return self.random_elements(rng, n, length, letters)
        chosen = rng.choice(there, n, replace=False) if n < there else np.arange(there)
        indices = np.unravel_index(chosen, sizes)
        return np.stack([place[i] for place, i in zip(known, indices, strict=True)], axis=1)

    def places(self, letters: Sequence[str], length: int) -> list[NDArray[np.int64]]:
        """The letters that may stand in each place, as numbers.

        Parameters
        ----------
        letters : one text for all places, or a list of one for each, which begins again where the element goes on;
            empty: the whole alphabet

        Raises
        ------
        InputError
            A length below 1; no letter, or one that is not in the alphabet or stands there twice.

        Examples
        --------
        >>> [place.tolist() for place in World().places(["AB", "C"], 3)]
        [[0, 1], [2], [0, 1]]
        """
        if length < 1:
            raise InputError(f"Elements of length {length} were asked for; a length of 1 or more is needed.")
        given = by_place(letters)
        known = [self.numbers(text) for text in given or (self.alphabet,)]
        for text, place in zip(given, known, strict=False):
            if len({*place.tolist()}) < len(place):
                raise InputError(f"The letters {text!r} name one twice; name each once.")
        return [known[i % len(known)] for i in range(length)]

    def encode(
        self, elements: NDArray[np.int64], rules: Rules, *, cot: bool = True
    ) -> tuple[NDArray[np.int64], int]:
        """Whole lines with their end token as ids of the lexicon, (n, T), and how many of them are the prompt.

        The same as encoding the texts of `records`, without making them.
        """
        return self.encode_mixed(elements, [rules], np.zeros(len(elements), dtype=np.int64), cot=cot)

    def encode_mixed(
        self,
        elements: NDArray[np.int64],
        lists: Sequence[Rules],
        which: NDArray[np.int64],
        *,
        cot: bool = True,
    ) -> tuple[NDArray[np.int64], int]:
        """Lines of elements, each of the list that ``which`` (n,) numbers; lists are as long as each other."""
        numbers = {token: i for i, token in enumerate(self.known)}
        rules = np.array([[numbers[rule.token] for rule in self.find(one)] for one in lists])[which]
        lexicon, (n, k) = self.lexicon, rules.shape
        letter, tokens = lexicon["letter"], lexicon["rule"][rules]
        mark = dict(zip((THINK, ANSWER), lexicon["mark"], strict=True))
        now, steps = elements, []
        for j in range(k):
            after = np.empty_like(elements)
            for i, rule in enumerate(self.known.values()):
                if len(rows := np.flatnonzero(rules[:, j] == i)):
                    after[rows] = chain(now[rows], [rule], self.size)[:, 0]
            now = after
            steps.append(letter[now])

        def fixed(token: int) -> NDArray[np.int64]:
            return np.full((n, 1), token, dtype=np.int64)

        thinks = cot and k > 1
        parts = [letter[elements], tokens, fixed(mark[THINK if thinks else ANSWER])]
        if thinks:
            for j in range(k - 1):
                parts += [fixed(mark[THINK])] * (j > 0) + [steps[j], tokens[:, j + 1 :]]
            parts.append(fixed(mark[ANSWER]))
        return np.concatenate([*parts, steps[-1], fixed(EOS)], axis=1), elements.shape[1] + k + 1

    def random_elements(
        self, rng: np.random.Generator, n: int, length: int, letters: Sequence[str] = ()
    ) -> NDArray[np.int64]:
        """Elements with repetition, (n, length), see `places`."""
        known = self.places(letters, length)
        if isinstance(letters, str) or len(letters) < 2:
            return draw(rng, n, length, known[0].tolist())
        return np.concatenate([draw(rng, n, 1, place.tolist()) for place in known], axis=1)

    def asked(self, prompt: str) -> tuple[NDArray[np.int64], list[Rule]]:
        """Element and rules of a prompt.

        Raises
        ------
        InputError
            Something else stands there.
        """
        words = prompt.split()
        letters = [w for w in words if w in [*self.alphabet]]
        tokens = [w for w in words if w in self.known]
        rest = [w for w in words[: len(letters) + len(tokens)] if w not in (*letters, *tokens)]
        if rest or not letters or not tokens or words[-1] not in (THINK, ANSWER):
            raise InputError(
                f"The prompt {prompt!r} cannot be read; letters, rules ({', '.join(self.known)}) and "
                f"{THINK} or {ANSWER} are needed, with blanks between them."
            )
        return self.numbers(" ".join(letters) if len(letters) > 1 else letters[0]), self.find(tokens)


def by_place(letters: Sequence[str]) -> tuple[str, ...]:
    """Letters as `World.places` takes them: one text is the same in all places."""
    return (letters,) if isinstance(letters, str) else tuple(letters)


def apart(world: World, letters: str | None = None) -> tuple[str, ...]:
    """Letters for each place, every one of them kept out of one place: what training needs for new places to be asked.

    ``letters``: by default the first half of the alphabet. Letter i may not stand in place i mod l.

    >>> apart(World(length=2), "ABCD")
    ('BD', 'AC')
    """
    some = world.alphabet[: world.size // 2] if letters is None else letters
    if not 2 <= world.length <= len(some):
        raise InputError(
            f"{len(some)} letters in {world.length} places were given; two places, and a letter for each, are needed "
            "to keep every letter out of one place."
        )
    return tuple(
        "".join(letter for i, letter in enumerate(some) if i % world.length != place)
        for place in range(world.length)
    )


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
        No such file, a line that is no JSON object, or lacks a field, or has one that is no text.
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
                lacks = [
                    name for name in needed if not isinstance(row, dict) or not isinstance(row.get(name), str)
                ]
                if lacks:
                    raise InputError(
                        f"Line {number} of {path} lacks {', '.join(lacks)}, or it is no text; {', '.join(needed)} "
                        "are needed."
                    )
                yield row

    if not (rows := list(lines())):
        raise InputError(f"{path} holds no line; at least one is needed.")
    return rows


def write_records(records: Sequence[Record], path: str | Path) -> Path:
    """Write records, one JSON object per line, to a file that does not exist."""
    path = Path(path)
    with new_file(path) as draft:
        draft.write_text(
            "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in records), encoding="utf-8"
        )
    return path
