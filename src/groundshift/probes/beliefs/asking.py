"""How items are asked: of a local model by the probabilities of options, of any other in writing and with tools."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from groundshift.models.chats import Tool, ask_with_tools
from groundshift.models.speaker import Chat, Speaker, appended, saying
from groundshift.probes.beliefs.items import Item, Task
from groundshift.probes.beliefs.prompts import REMINDER, Question, fill

__all__ = ["Asking"]

Array = NDArray[np.float64]
Reply = tuple[Any, float | None]
"""What was answered, and its value; None where the answer says nothing."""


@dataclass(frozen=True)
class Asking:
    """How items are asked.

    Attributes
    ----------
    questions : their kinds
    wording : see `WORDING`
    samples : answers to each question; 0: a local model's exact probabilities, mean over both orders of the options
    seed : of orders and samples
    """

    items: Sequence[Item]
    questions: tuple[str, ...]
    wording: Mapping[str, str]
    samples: int
    seed: int

    def ask(
        self, speaker: Speaker, histories: Sequence[Chat], stage: int, name: str
    ) -> tuple[dict[str, Array], list[dict[str, Any]]]:
        """All questions behind each item's history, which no question enters.

        Parameters
        ----------
        stage : its number; in stage 1 the options stand in the other order, and the orders alternate over samples
        name : of the stage

        Returns
        -------
        values : question → float (items,): mean value of the answers; NaN where none says anything
        records : every answer
        """
        n, rounds = len(self.items), max(1, self.samples)
        first = np.random.default_rng(self.seed).integers(2, size=n) + (stage == 1)
        values = {kind: np.full((n, rounds), np.nan) for kind in self.questions}
        asks = [(kind, k) for kind in values for k in range(n) if kind != "action" or self.items[k].task]
        records = []
        for sample in range(rounds):
            turned = (first + sample) % 2 == 1
            asked = [Question(kind, self.items[k], bool(turned[k]), self.wording[kind]) for kind, k in asks]
            seed = int(np.random.SeedSequence([self.seed, stage, sample]).generate_state(1)[0] >> 1)
            replies = self._replies(speaker, [histories[k] for _, k in asks], asked, seed)
            for (kind, k), q, (reply, value) in zip(asks, asked, replies, strict=True):
                values[kind][k, sample] = np.nan if value is None else value
                row = {"id": q.item.id, "stage": name, "question": kind, "sample": sample, "turned": q.turned}
                records.append(row | {"reply": reply, "value": value})
        count = {kind: np.isfinite(own).sum(1) for kind, own in values.items()}
        sums = {
            kind: np.where(count[kind] > 0, np.nansum(own, axis=1), np.nan) for kind, own in values.items()
        }
        return {kind: sums[kind] / np.maximum(count[kind], 1) for kind in values}, records

    def _replies(
        self, speaker: Speaker, histories: Sequence[Chat], asked: Sequence[Question], seed: int
    ) -> Sequence[Reply]:
        if speaker.local:
            return (_drawn if self.samples else _exact)(speaker, histories, asked, seed)
        acts = [speaker.endpoint and q.kind == "action" for q in asked]
        done, written = (
            ([h for h, act in zip(histories, acts, strict=True) if act is which],
             [q for q, act in zip(asked, acts, strict=True) if act is which])
            for which in (True, False)
        )  # fmt: skip
        deeds = iter(_acted(speaker, *done, seed, self.wording["tools"]) if done[0] else [])
        words = iter(_written(speaker, *written, seed) if written[0] else [])
        return [next(deeds if act else words) for act in acts]


def _shares(speaker: Speaker, histories: Sequence[Chat], asked: Sequence[Question]) -> list[Array]:
    chats = [appended(h, q.text(scored=True)) for h, q in zip(histories, asked, strict=True)]
    return speaker.probabilities(chats, [q.answers for q in asked]) if chats else []


def _exact(speaker: Speaker, histories: Sequence[Chat], asked: Sequence[Question], seed: int) -> list[Reply]:
    """Mean value over the options' probabilities, and over both orders where there are two."""
    turns = [(False,) if q.kind == "agreement" else (False, True) for q in asked]
    put = [
        Question(q.kind, q.item, turned, q.template)
        for q, own in zip(asked, turns, strict=True)
        for turned in own
    ]
    behind = [h for h, own in zip(histories, turns, strict=True) for _ in own]
    shares = zip(_shares(speaker, behind, put), put, strict=True)
    means = iter([round(float(p @ [v for _, v in q.choices]), 6) for p, q in shares])
    each = [[next(means) for _ in own] for own in turns]
    return [(own, float(np.mean(own))) for own in each]


def _drawn(speaker: Speaker, histories: Sequence[Chat], asked: Sequence[Question], seed: int) -> list[Reply]:
    """An option drawn by the probabilities: what sampling at temperature 1 would give, among the options."""
    rng = np.random.default_rng(seed)
    picks = [int(rng.choice(len(p), p=p / p.sum())) for p in _shares(speaker, histories, asked)]
    return [(q.answers[pick], q.choices[pick][1]) for q, pick in zip(asked, picks, strict=True)]


def _written(
    speaker: Speaker, histories: Sequence[Chat], asked: Sequence[Question], seed: int
) -> list[Reply]:
    """Written answers; those that say nothing are asked for once more."""
    chats = [appended(h, q.text(scored=False)) for h, q in zip(histories, asked, strict=True)]
    replies = speaker.write(chats, seed)
    values = [q.read(reply) for q, reply in zip(asked, replies, strict=True)]
    silent = [k for k, value in enumerate(values) if value is None]
    reminders = [REMINDER.replace("{form}", asked[k].form) for k in silent]
    again = [
        appended(saying(chats[k], replies[k] or "…"), text) for k, text in zip(silent, reminders, strict=True)
    ]
    for k, reply in zip(silent, speaker.write(again, seed), strict=True):
        replies[k], values[k] = f"{replies[k]}\n[asked again] {reply}", asked[k].read(reply)
    return list(zip(replies, values, strict=True))


def _acted(
    speaker: Speaker, histories: Sequence[Chat], asked: Sequence[Question], seed: int, wording: str
) -> list[Reply]:
    """What was said and called, and the side of the action that was carried out; None where there was none."""
    taken: list[list[float]] = [[] for _ in asked]
    tasks = [q.item.task for q in asked if q.item.task]
    tools = [_office(t, q.turned, own) for t, q, own in zip(tasks, asked, taken, strict=True)]
    chats = [appended(h, fill(wording, scene=t.scene)) for h, t in zip(histories, tasks, strict=True)]
    transcripts = ask_with_tools(speaker.model, chats, tools, seed=seed, **speaker.settings)  # type: ignore[arg-type]
    return [(messages, own[0] if own else None) for messages, own in zip(transcripts, taken, strict=True)]


def _office(task: Task, turned: bool, taken: list[float]) -> list[Tool]:
    """List what can be done, look at it, carry it out; what was carried out is put into ``taken``."""
    actions = {a.name: a for a in (task.options[::-1] if turned else task.options)}

    def known(name: str) -> Any:
        if name not in actions:
            raise ValueError(f"There is no option {name!r}; there are {', '.join(actions)}.")
        return actions[name]

    def list_options() -> str:
        return "\n".join(f"{a.name}: {a.label}" for a in actions.values())

    def look_at_option(name: str) -> str:
        return f"{known(name).label}. {known(name).details}"

    def carry_out_option(name: str) -> str:
        taken.append(float(known(name).side == "support"))
        return "Done."

    about = {"name": "Name of the option, as the list has it."}
    return [
        Tool(list_options, "List the options."),
        Tool(look_at_option, "Look at an option.", about),
        Tool(carry_out_option, "Carry out an option. This ends the work.", about, ends=True),
    ]
