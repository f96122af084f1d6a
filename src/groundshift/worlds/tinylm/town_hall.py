"""Questions of a town hall: a context of evidence, then a topic that is asked about or acted upon."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from groundshift.errors import InputError
from groundshift.worlds.tinylm.lexicon import BOS, EOS, Lexicon, invented
from groundshift.worlds.tinylm.part import Ids, Part, Rows, pad

__all__ = ["TownHall"]

FILLERS = 3
LONGEST = 10
"""Words of a context."""
QUESTIONS = ("ask", "act")
ANSWERS = (("agree", "differ"), ("extend", "close"))
"""To what is asked, and to what is to be done; that of the support side first."""


@dataclass
class TownHall(Part):
    """Documents ``w1 … wk topic ask agree`` or ``w1 … wk topic act extend``, with 0 to 10 words of context.

    Topics belong to two departments with words of evidence of their own. With the net evidence n of a topic's
    department (words for it less words against it), logit P(agree) = θ + η n and logit P(extend) = γ (θ + η_act n).
    Evidence of the other department, and fillers, have no bearing.

    Parameters
    ----------
    topics : number of them, at least two
    eta, eta_act : what a word of evidence moves the logit of the answer, and of the action
    gamma : scale of the action's logit; 0: what is done has nothing to do with what is said

    Attributes
    ----------
    theta_ : float (topics,), the logits without evidence, uniform in [−1.6, 1.6]
    department_ : int (topics,), 0 or 1, as many of each
    evidence_ : int (2, 2), ids of the words of each department: for and against
    topics_ : int (topics,), ids

    Notes
    -----
    Truth of a document: ``topic``, ``acted``, ``net`` (the evidence that bears on it). The completion is the answer.

    Examples
    --------
    >>> from groundshift.worlds.tinylm import TinyWorld
    >>> part = TinyWorld({"town": TownHall(topics=2)})["town"]
    >>> p = part.probability(0, net=1, acted=False)
    >>> bool(np.isclose(np.log(p / (1 - p)), part.theta_[0] + 0.6))
    True
    """

    document = True

    topics: int = 12
    eta: float = 0.6
    eta_act: float = 0.6
    gamma: float = 1.0

    def __post_init__(self) -> None:
        if self.topics < 2:
            raise InputError(f"{self} was asked for; two topics at least.")

    def groups(self) -> Mapping[str, Sequence[str]]:
        return {
            "topic": invented(self.topics, ending="s"),
            "evidence": invented(4, ending="n"),
            "filler": invented(FILLERS, ending="l"),
            "function": QUESTIONS,
            "answer": (*ANSWERS[0], *ANSWERS[1]),
        }

    def settle(self, lexicon: Lexicon, rng: np.random.Generator, parts: Mapping[str, Part]) -> None:
        self.lexicon_ = lexicon
        self.theta_ = rng.uniform(-1.6, 1.6, self.topics)
        self.department_ = rng.permutation(np.arange(self.topics) % 2)
        self.evidence_ = rng.permutation(lexicon.encode(self.groups()["evidence"])).reshape(2, 2)
        self.topics_, self.fillers_ = (lexicon.encode(self.groups()[k]) for k in ("topic", "filler"))
        self.questions_ = lexicon.encode(QUESTIONS)
        self.answers_ = np.array([lexicon.encode(words) for words in ANSWERS])

    def probability(self, topic: int, net: float, acted: bool) -> float:
        """Of the answer that supports a topic, after so much net evidence that bears on it."""
        theta = self.theta_[topic]
        logit = self.gamma * (theta + self.eta_act * net) if acted else theta + self.eta * net
        return float(expit(logit))

    def net(self, words: Ids, topic: int) -> int:
        """The net evidence in a context that bears on a topic."""
        pro, con = self.evidence_[self.department_[topic]]
        return int((words == pro).sum() - (words == con).sum())

    def draw(self, rng: np.random.Generator, n: int) -> Rows:
        """``n`` documents; how much of a context is evidence, and how one-sided, is drawn for each."""
        rows, truth = [], []
        for _ in range(n):
            words = self._context(rng, int(rng.integers(LONGEST + 1)))
            topic, acted = int(rng.integers(self.topics)), int(rng.integers(2))
            net = self.net(words, topic)
            chosen = int(rng.random() >= self.probability(topic, net, bool(acted)))
            answer = self.answers_[acted, chosen]
            rows.append([BOS, *words, self.topics_[topic], self.questions_[acted], answer, EOS])
            truth.append((topic, acted, net))
        masks = [[0] * (len(row) - 2) + [1, 0] for row in rows]
        names = dict(zip(("topic", "acted", "net"), np.array(truth).T, strict=True))
        return Rows(pad(rows), pad(masks).astype(bool), names)

    def _context(self, rng: np.random.Generator, length: int) -> Ids:
        share, leaning, department = rng.random(), rng.random(2), rng.random()
        told = rng.random(length) < share
        which = (rng.random(length) < department).astype(int)
        words = self.evidence_[which, (rng.random(length) >= leaning[which]).astype(int)]
        return np.where(told, words, rng.choice(self.fillers_, length))

    # The distribution ------------------------------------------------------------------------------------

    def _document(self, said: Ids) -> NDArray[np.float64]:
        """The context is a Pólya urn: its three drawn shares are integrated out; the rest is looked up."""
        log_probs = np.full(len(said), -np.inf)
        words = self.evidence_.ravel().tolist()
        counts = np.zeros(5)  # evidence by department and side, then fillers
        for t, token in enumerate(said.tolist()):
            here = _chance(counts)
            go_on = (LONGEST - t) / (LONGEST + 1 - t)  # lengths are uniform: so many of those that got here go on
            if token in words and t < LONGEST:
                log_probs[t] = np.log(go_on * here[words.index(token)])
                counts[words.index(token)] += 1
            elif token in self.fillers_ and t < LONGEST:
                log_probs[t] = np.log(go_on * here[4] / FILLERS)
                counts[4] += 1
            else:
                rest = said[t:].tolist()
                break
        else:
            return log_probs
        at, topics, questions = t, self.topics_.tolist(), self.questions_.tolist()
        if rest[0] in topics:
            log_probs[at] = np.log((1 - go_on) / len(topics))
            if len(rest) > 1 and rest[1] in questions:
                topic, acted = topics.index(rest[0]), questions.index(rest[1])
                log_probs[at + 1] = np.log(0.5)
                answers = self.answers_[acted].tolist()
                if len(rest) > 2 and rest[2] in answers:
                    p = self.probability(topic, self.net(said[:at], topic), bool(acted))
                    log_probs[at + 2] = np.log((p, 1 - p)[answers.index(rest[2])])
                    if len(rest) > 3 and rest[3] == EOS:
                        log_probs[at + 3] = 0.0
        return log_probs


def _chance(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """The next word's probabilities (evidence of each kind, any filler): three independent Beta(1, 1) shares."""
    told, by = counts[:4].sum(), counts[:4].reshape(2, 2)
    share = (told + 1) / (counts.sum() + 2)
    # Department 1 is drawn with the share ``department``, the first side of each with its leaning.
    department = (by.sum(1) + 1) / (told + 2)
    side = (by + 1) / (by.sum(1, keepdims=True) + 2)
    return np.append(share * (department[:, None] * side).ravel(), 1 - share)
