"""URIAL's constant prompt: a system text and K examples of a query and its answer, and how it is written out."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Literal

from groundshift.errors import InputError

__all__ = ["BUILT_IN", "FLAVOURS", "Flavour", "Prompt", "read_prompt", "render"]

BUILT_IN = ("assistant", "unstyled")
"""Constant prompts that come with the library: eight styled examples, and the same queries with bare answers."""
FENCE = "```"
FENCE_AT_END = re.compile(r"```(\w*)[ \t]*(?:\n|\Z)")
"""Back-ticks that end a line, and the name of a language behind those that open a block of code."""


@dataclass(frozen=True)
class Flavour:
    """How a prompt is written out.

    Attributes
    ----------
    query, answer : a block, with ``{text}``
    opens : what the answer to the last query begins behind
    marks : texts by which blocks are told apart; with the first, a model that runs on begins the next query
    """

    query: str
    answer: str
    opens: str
    marks: tuple[str, ...]


FLAVOURS = {
    "backtick": Flavour("\n# Query:\n```\n{text}\n```\n", "\n# Answer:\n```\n{text}\n```\n", "\n# Answer:\n```\n",
                        ("# Query", "# Answer", FENCE)),
    "user": Flavour("\n# User:\n{text}\n", "\n# Assistant:\n{text}\n", "\n# Assistant:\n", ("# User", "# Assistant")),
}  # fmt: skip


@dataclass(frozen=True)
class Prompt:
    """A system text and examples of a query and its answer.

    Examples
    --------
    >>> Prompt("SYS", (("a", "b"),)).head(0).render(["What is 2+2?"]) == render("SYS", ["What is 2+2?"])
    True
    """

    system: str
    examples: tuple[tuple[str, str], ...] = ()
    flavour: Flavour = FLAVOURS["backtick"]
    name: str = "a prompt in memory"

    def head(self, k: int | None) -> Prompt:
        """The same with its first k examples; None: with all.

        Raises
        ------
        InputError
            It has fewer.
        """
        if k is not None and not 0 <= k <= len(self.examples):
            raise InputError(
                f"k={k} examples were asked for; the prompt {self.name} has {len(self.examples)}. Give a k from 0 to "
                f"{len(self.examples)}, or a prompt with more."
            )
        return replace(self, examples=self.examples[:k])

    def render(self, turns: Sequence[str]) -> str:
        """The prompt behind which the model answers the last of a dialogue's turns (query, answer, query, …).

        Marks of the prompt's own blocks within the turns are escaped, with a warning.
        """
        shown = [text for example in self.examples for text in example]
        return render(self.system, [*shown, *map(self._escaped, turns)], self.flavour)

    def end(self, text: str) -> int | None:
        """Where an answer ends in what was written behind the prompt, or None where it does not: where the next query
        begins, or at back-ticks that close no block of code which the answer has opened.
        """
        following = text.find(self.flavour.marks[0])
        ends = [following] if following >= 0 else []
        in_code = False
        for fence in FENCE_AT_END.finditer(text) if FENCE in self.flavour.marks else ():
            if not fence[1] and not in_code:
                ends.append(fence.start())
                break
            in_code = bool(fence[1])
        return min(ends, default=None)

    def cut(self, text: str) -> str:
        """The answer in what was written, without blanks around it."""
        return text[: self.end(text)].strip()

    def _escaped(self, text: str) -> str:
        plain = text
        for mark in self.flavour.marks:
            plain = plain.replace(mark, "'''" if mark == FENCE else f"\\{mark}")
        if plain != text:
            warnings.warn(
                f"A query holds the marks of the prompt's own blocks and was escaped: {text[:60]!r}.", stacklevel=3
            )  # fmt: skip
        return plain


def render(
    system: str, turns: Sequence[str], flavour: Flavour | Literal["backtick", "user"] = "backtick"
) -> str:
    """A system text and turns, which alternate between query and answer, as the text that a base model continues.

    Parameters
    ----------
    turns : the last one is a query
    flavour : "backtick", as recommended by the paper's authors, or "user" (`# User:`, `# Assistant:`, no back-ticks)

    Raises
    ------
    InputError
        An even number of turns: the last one would be an answer.

    Examples
    --------
    >>> print(render("SYS", ["What is 2+2?"]))
    SYS
    # Query:
    ```
    What is 2+2?
    ```
    <BLANKLINE>
    # Answer:
    ```
    <BLANKLINE>
    """
    if len(turns) % 2 == 0:
        raise InputError(
            f"{len(turns)} turns were given; they alternate between query and answer and end with a query."
        )
    how = FLAVOURS[flavour] if isinstance(flavour, str) else flavour
    blocks = [(how.answer if k % 2 else how.query).replace("{text}", text) for k, text in enumerate(turns)]
    return system + "".join(blocks) + how.opens


HEAD = re.compile(r"^# (Query|Answer|User|Assistant):[ \t]*\n", re.M)


def read_prompt(source: str | Path | Prompt) -> Prompt:
    """A constant prompt: one that comes with the library, or a file in the form of the published ones.

    Parameters
    ----------
    source : "assistant" (eight styled examples), "unstyled" (the same queries, bare answers), or the path of a text
        file: a system text, then blocks ``# Query:`` and ``# Answer:`` (with back-ticks) or ``# User:`` and
        ``# Assistant:``

    Raises
    ------
    InputError
        Neither; a file whose blocks do not alternate.

    Examples
    --------
    >>> len(read_prompt("assistant").examples)
    8
    """
    if isinstance(source, Prompt):
        return source
    shipped = files("groundshift.probes.urial") / "constant" / f"{source}.txt"
    file = shipped if source in BUILT_IN else Path(source)
    if not file.is_file():
        raise InputError(
            f"There is no prompt {source}; give {' or '.join(BUILT_IN)}, or the path of a prompt file. The published "
            "ones (inst_1k_v4, …) are the files of urial_prompts/ in the repository Re-Align/URIAL."
        )
    system, *blocks = HEAD.split(file.read_text(encoding="utf-8"))
    heads, bodies = blocks[::2], blocks[1::2]
    pair = ["User", "Assistant"] if "User" in heads else ["Query", "Answer"]
    if heads != pair * (len(heads) // 2):
        raise InputError(
            f"The blocks of the prompt {source} do not alternate between queries and answers; give every # Query: "
            "(or # User:) its # Answer: (# Assistant:)."
        )
    texts = [body.strip().removeprefix(FENCE).removesuffix(FENCE).strip("\n") for body in bodies]
    return Prompt(
        system.removesuffix("\n") if heads else system,
        tuple(zip(texts[::2], texts[1::2], strict=True)),
        FLAVOURS["user" if "User" in heads else "backtick"],
        str(source),
    )
