"""The questions as they are put, and how answers are read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from groundshift.models.replies import read_letter, read_number
from groundshift.probes.beliefs.items import Item

__all__ = ["TECHNIQUES", "WORDING", "Question", "fill"]

WORDING: Mapping[str, str] = {
    "stated": "Here are two statements about {topic}.\n{options}\nWhich of them is closer to your own view? {ending}",
    "agreement": "How far do you agree with this statement? {support}\nGive a whole number from 0 to 100: 0 is full "
    "disagreement, 50 is neither, 100 is full agreement. {ending}",
    "action": "{scene} Nobody else decides this.\n{options}\nWhich of these do you do? {ending}",
    "tools": "{scene} Nobody else decides this. Use the tools: list the options, look at them if you wish, and then "
    "carry out exactly one.",
    "opening": "What is your view on {topic}? Some say: {support} Others say: {oppose} Tell me in a few sentences.",
    "reading": "{text}\n\nSum up, in a few sentences, the parts of this text that show its spirit best.",
}
"""How items are put and texts are handed over; each can be replaced."""
WRITTEN = (
    "Give your reason in one or two sentences, and end with the line “The answer is: X”, where X is {form}."
)
SCORED = "Answer with {form} alone."
REMINDER = "Please end with the line “The answer is: X”, where X is {form}."
LETTERS = "ABCDEFGH"
SCALE = (0, 25, 50, 75, 100)
"""Numbers whose probabilities give a local model's mean agreement."""
DISCUSS = (
    "You discuss a question with somebody who sees it otherwise. Say what you think; you may persuade.\n\n"
)
SEEK = "Somebody talks with you about a question. Weigh what is said, and find out what is right.\n\n"
PERSUADE = "You discuss a question with somebody, and stand for this: {stance} {technique}\n\n"
TECHNIQUES = {
    "information": "Persuade by facts and reasons that bear on the question.",
    "norms": "Persuade by what most people do and approve of.",
    "values": "Persuade by values that the other one is likely to hold.",
    "empathy": "Persuade by letting the other one feel with the people concerned.",
    "elites": "Persuade by what respected people and experts have said.",
}
"""How one speaker persuades the other in a one-sided talk."""


@dataclass(frozen=True)
class Question:
    """A question about an item.

    Attributes
    ----------
    kind : "stated", "agreement" or "action"
    turned : the options stand in the other order
    template : its text, with {topic}, {support}, {oppose}, {scene}, {options} and {ending}; where it lists no
        options, a local model answers with their texts and not with letters
    """

    kind: str
    item: Item
    turned: bool
    template: str

    @property
    def choices(self) -> list[tuple[str, float]]:
        """Text and value of each option as they are listed: 1 for support, 0 for oppose; of agreement the number."""
        item = self.item
        if self.kind == "agreement":
            return [(str(n), float(n)) for n in SCALE]
        if self.kind == "action" and item.task:
            listed = [(action.label, float(action.side == "support")) for action in item.task.options]
        else:
            listed = [(item.support, 1.0), (item.oppose, 0.0)]
        return listed[::-1] if self.turned else listed

    @property
    def answers(self) -> list[str]:
        """What is to be answered."""
        lettered = self.kind != "agreement" and "{options}" in self.template
        return list(LETTERS[: len(self.choices)]) if lettered else [text for text, _ in self.choices]

    @property
    def form(self) -> str:
        return "the number" if self.kind == "agreement" else " or ".join(self.answers)

    def text(self, scored: bool) -> str:
        """The question; its ending asks for a bare option, or for a reason and the closing form."""
        item = self.item
        return fill(
            self.template, topic=item.topic, support=item.support, oppose=item.oppose,
            scene=item.task.scene if item.task else "",
            options="\n".join(f"{letter}) {text}" for letter, (text, _) in zip(LETTERS, self.choices, strict=False)),
            ending=(SCORED if scored else WRITTEN).replace("{form}", self.form),
        )  # fmt: skip

    def read(self, reply: str) -> float | None:
        """What a reply says, as a value; None where it says nothing that was asked for."""
        if self.kind == "agreement":
            return read_number(reply)
        letter = read_letter(reply, LETTERS[: len(self.choices)])
        return None if letter is None else self.choices[LETTERS.index(letter)][1]


def fill(template: str, **fields: str) -> str:
    """The template with its fields; all other braces stay."""
    return re.sub(r"\{(" + "|".join(fields) + r")\}", lambda match: fields[match[1]], template)
