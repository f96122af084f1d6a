"""What happens between the two askings: texts are read, or a partner talks with the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from groundshift.models.speaker import Chat, Speaker, appended, saying
from groundshift.probes.beliefs.items import Item
from groundshift.probes.beliefs.prompts import DISCUSS, PERSUADE, SEEK, TECHNIQUES, fill

__all__ = ["reading", "talking"]


def reading(speaker: Speaker, contexts: Sequence[str | Chat], template: str, seed: int) -> list[Chat]:
    """The history after each of the contexts, the ones before it included; the model replies to texts, unless they
    are put as they are ("{text}").
    """
    history: Chat = []
    histories = []
    for context in contexts:
        replies = isinstance(context, str) and template.strip() != "{text}"
        text = fill(template, text=context) if isinstance(context, str) else ""
        history = [*history, *context] if isinstance(context, list) else appended(history, text)
        speaker.refuse_long(history, replies=replies)
        if replies:
            history = saying(history, speaker.write([history], seed)[0])
        histories.append(history)
    return histories


def talking(
    speaker: Speaker, partner: Speaker, items: Sequence[Item], stances: Sequence[str], technique: str, rounds: int,
    wording: Mapping[str, str], seed: int,
) -> list[list[Chat]]:  # fmt: skip
    """Talk about every item; the partner speaks first in each round.

    Parameters
    ----------
    stances : the statements that the partner stands for; used with a technique, which makes the talk one-sided

    Returns
    -------
    The speaker's histories of each item after 0, 1, … rounds, 2 r + 2 messages; fewer where one of both had nothing
    more to say.
    """
    questions = [fill(wording["opening"], topic=i.topic, support=i.support, oppose=i.oppose) for i in items]
    own = [appended([], (SEEK if technique else DISCUSS) + question) for question in questions]
    histories = [
        [saying(chat, view or "…")] for chat, view in zip(own, speaker.write(own, seed), strict=True)
    ]
    theirs = []
    for question, stance, (history,) in zip(questions, stances, histories, strict=True):
        role = fill(PERSUADE, stance=stance, technique=TECHNIQUES[technique]) if technique else DISCUSS
        theirs.append(appended([], f"{role}{question}\n\nThe other one says: {history[-1]['content']}"))
    for r in range(rounds):
        going = [k for k, held in enumerate(histories) if len(held) == r + 1]
        replies = partner.write([theirs[k] for k in going], seed + 2 * r + 1)
        talks = [
            (k, text, appended(histories[k][-1], text))
            for k, text in zip(going, replies, strict=True)
            if text.strip()
        ]
        replies = speaker.write([chat for _, _, chat in talks], seed + 2 * r + 2)
        for (k, text, chat), reply in zip(talks, replies, strict=True):
            if reply.strip():
                histories[k].append(saying(chat, reply))
                theirs[k] = appended(saying(theirs[k], text), reply)
    return histories
