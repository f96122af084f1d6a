"""Questions of a town hall: a context of evidence, then a topic that is asked about or acted upon."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from groundshift.errors import InputError
from groundshift.worlds.tinylm.lexicon import BOS, EOS, Lexicon, invented
from groundshift.worlds.tinylm.part import Ids, Part, Rows, pad

__all__ = ["TownHall"]

FILLERS = 3
LENGTH = 10
"""Words of a context."""
BARE = 1 / 4
"""Share of documents without a context."""
COUPLED, LAGGING, FREE = (0.6, 0.0), (0.2, 0.0), (0.0, 0.6)
"""Actions by what moves them, see ``actions``."""


@dataclass
class TownHall(Part):
    """Documents ``w1 … w10 topic ask yes0`` or ``w1 … w10 topic act1 no1``; a quarter of them have no context.

    Evidence is words for and against a matter, and words for and against another one; n and m are their nets. The
    logit of the answer that supports a topic is θ + η n; that of an action θ + η_n n + η_m m. Fillers have no bearing.

    Parameters
    ----------
    topics : number of them
    eta : what a word of evidence moves the logit of the answer
    actions : η_n and η_m of every kind of action; by default one that goes with the answers, one that evidence moves
        less, and one that the other matter alone moves

    Attributes
    ----------
    theta_ : float (topics,), the logits without evidence, uniform in [−1.6, 1.6]
    topics_ : int (topics,), ids
    evidence_ : int (2, 2), ids of the words for and against each of the two matters
    fillers_ : ids
    questions_ : ids of ``ask`` and of every action
    answers_ : int (questions, 2), ids of what supports a topic and what does not

    Notes
    -----
    Truth of a document: ``topic``, ``question`` (0: asked), ``net`` (n), ``other`` (m). The completion is the answer.

    Examples
    --------
    >>> from groundshift.worlds.tinylm import TinyWorld
    >>> part = TinyWorld({"town": TownHall(topics=2)})["town"]
    >>> p = part.probability(0, nets=(1, 5), question=0)
    >>> bool(np.isclose(np.log(p / (1 - p)), part.theta_[0] + 0.6))
    True
    """

    document = True

    topics: int = 12
    eta: float = 0.6
    actions: tuple[tuple[float, float], ...] = (COUPLED, LAGGING, FREE)

    def __post_init__(self) -> None:
        if self.topics < 1 or not self.actions:
            raise InputError(f"{self} was asked for; one topic and one kind of action at least.")

    def groups(self) -> Mapping[str, Sequence[str]]:
        kinds = range(len(self.actions) + 1)
        return {
            "topic": invented(self.topics, ending="s"),
            "context": invented(4 + FILLERS, ending="n"),
            "function": ("ask", *(f"act{k}" for k in kinds[1:])),
            "answer": tuple(f"{word}{k}" for k in kinds for word in ("yes", "no")),
        }

    def settle(self, lexicon: Lexicon, rng: np.random.Generator, parts: Mapping[str, Part]) -> None:
        self.lexicon_, names = lexicon, self.groups()
        self.theta_ = rng.uniform(-1.6, 1.6, self.topics)
        words = rng.permutation(lexicon.encode(names["context"]))
        self.evidence_, self.fillers_ = words[:4].reshape(2, 2), words[4:]
        self.topics_, self.questions_ = (lexicon.encode(names[role]) for role in ("topic", "function"))
        self.answers_ = rng.permuted(lexicon.encode(names["answer"]).reshape(-1, 2), axis=1)

    def probability(self, topic: Any, nets: Any, question: Any) -> Any:
        """Of the answer that supports a topic, after the net evidence on both matters; broadcasts."""
        etas = np.array([(self.eta, 0.0), *self.actions])[question]
        return expit(self.theta_[topic] + (etas * np.asarray(nets)).sum(-1))

    def nets(self, words: Ids) -> Ids:
        """Words for less words against, of each matter: (…, 2)."""
        counts = (words[..., None, None] == self.evidence_).sum(-3)
        return counts[..., 0] - counts[..., 1]

    def draw(self, rng: np.random.Generator, n: int) -> Rows:
        """``n`` documents; how much of a context is evidence on each matter, and how one-sided, is drawn for each."""
        shares, leanings = rng.dirichlet(np.ones(3), n), rng.random((n, 2))
        kinds = (rng.random((n, LENGTH, 1)) > np.cumsum(shares, 1)[:, None, :2]).sum(2)
        sides = rng.random((n, LENGTH)) >= np.c_[leanings, np.ones(n)][np.arange(n)[:, None], kinds]
        words = self.evidence_[kinds.clip(max=1), sides.astype(int)]
        words = np.where(kinds == 2, rng.choice(self.fillers_, words.shape), words)
        words[rng.random(n) < BARE] = 0
        topics, questions = rng.integers(self.topics, size=n), rng.integers(len(self.questions_), size=n)
        nets = self.nets(words)
        answers = self.answers_[
            questions, (rng.random(n) >= self.probability(topics, nets, questions)).astype(int)
        ]
        tails = np.c_[self.topics_[topics], self.questions_[questions], answers, np.full(n, EOS)]
        rows = [[BOS, *own[own > 0], *tail] for own, tail in zip(words, tails, strict=True)]
        masks = [[0] * (len(row) - 2) + [1, 0] for row in rows]
        truth = {"topic": topics, "question": questions, "net": nets[:, 0], "other": nets[:, 1]}
        return Rows(pad(rows), pad(masks).astype(bool), truth)

    def _document(self, said: Ids) -> NDArray[np.float64]:
        """The context is a Pólya urn: its drawn shares are integrated out; the rest is looked up."""
        p = np.zeros(len(said))
        length = int(np.isin(said, self.topics_).argmax()) if np.isin(said, self.topics_).any() else len(said)
        words, told, fillers = said[:length], np.zeros((2, 2)), 0
        for t, token in enumerate(words[:LENGTH].tolist()):
            if token in self.evidence_:
                matter, side = (int(k[0]) for k in np.nonzero(self.evidence_ == token))
                here = told[matter].sum()
                p[t] = (here + 1) / (t + 3) * (told[matter, side] + 1) / (here + 2)
                told[matter, side] += 1
            elif token in self.fillers_:
                p[t] = (fillers + 1) / (t + 3) / FILLERS
                fillers += 1
        if length:
            p[0] *= 1 - BARE
        tail = said[length:].tolist()
        if tail:
            p[length] = {0: BARE, LENGTH: 1.0}.get(length, 0.0) / self.topics
        if len(tail) > 1 and tail[1] in self.questions_:
            p[length + 1] = 1 / len(self.questions_)
            topic, question = (
                ids.tolist().index(i) for ids, i in zip((self.topics_, self.questions_), tail, strict=False)
            )
            if len(tail) > 2 and tail[2] in self.answers_[question]:
                supports = self.probability(topic, self.nets(words), question)
                p[length + 2] = supports if tail[2] == self.answers_[question, 0] else 1 - supports
                p[length + 3 : length + 4] = float(tail[3:4] == [EOS])
        with np.errstate(divide="ignore"):
            return np.log(p)
