"""Topics with a prior belief, and evidence that moves it: the world of *beliefs*."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaln, expit, gammaln

from groundshift.errors import InputError
from groundshift.worlds.tinylm.lexicon import BOS, Lexicon, invented
from groundshift.worlds.tinylm.part import Exam, Ids, Part, Rows

__all__ = ["Evidence"]

CONTEXT = ("pro", "con", "so", "well", "then")  # two kinds of evidence, three fillers


@dataclass
class Evidence(Part):
    """A topic, ten tokens of context, then what is said (`ask agree`) or done (`act go`).

    The log-odds of agreeing are theta + eta (pro − con), of acting gamma (theta + eta_act (pro − con)). Of the
    ten tokens of context, 0 to 10 are evidence, all numbers equally likely, with a leaning of its own in each document.

    Parameters
    ----------
    topics : how many
    eta, eta_act : what a token of evidence moves, in what is said and in what is done
    gamma : 1: deeds follow beliefs; 0: they are decoupled
    spread : prior log-odds are drawn from ± this
    length : tokens of context

    Attributes
    ----------
    theta_ : float64 (topics,), prior log-odds of agreeing

    Notes
    -----
    Truth: ``topic``, ``pro``, ``con``, ``act`` (0: asked), ``logit`` (of agreeing or going), ``yes`` (the answer). The
    completion is the answer. Exam: ``stated``, after a context of fillers.

    Examples
    --------
    >>> from groundshift.worlds.tinylm import TinyWorld
    >>> world = TinyWorld({"evidence": Evidence()})
    >>> rows = world["evidence"].draw(np.random.default_rng(0), 3)
    >>> world.lexicon.decode(rows.ids[0])
    '<bos> Bolup well then so well well then so then so well ask agree'
    """

    document = True
    exams = ("stated",)

    topics: int = 12
    eta: float = 0.6
    eta_act: float = 0.6
    gamma: float = 1.0
    spread: float = 1.6
    length: int = 10

    def __post_init__(self) -> None:
        if min(self.topics, self.length) < 1 or self.spread < 0:
            raise InputError(f"{self} was asked for; a topic, a token of context and spread >= 0 are needed.")

    def groups(self) -> Mapping[str, Sequence[str]]:
        return {
            "topic": invented(self.topics, ending="p", capital=True),
            "evidence": CONTEXT[:2],
            "filler": CONTEXT[2:],
            "function": ("ask", "act"),
            "answer": ("agree", "disagree", "go", "stay"),
        }

    def settle(self, lexicon: Lexicon, rng: np.random.Generator, parts: Mapping[str, Part]) -> None:
        self.lexicon_ = lexicon
        self.theta_ = rng.uniform(-self.spread, self.spread, size=self.topics)

    def logit(self, topic: ArrayLike, balance: ArrayLike, act: ArrayLike = 0) -> NDArray[np.float64]:
        """True log-odds of agreeing, or of going where ``act`` is 1, given pro − con."""
        theta, n = self.theta_[np.asarray(topic)], np.asarray(balance)
        return np.where(act, self.gamma * (theta + self.eta_act * n), theta + self.eta * n)

    def draw(self, rng: np.random.Generator, n: int) -> Rows:
        length, encode = self.length, self.lexicon_.encode
        topic, act = rng.integers(self.topics, size=n), rng.integers(2, size=n)
        amount = rng.integers(length + 1, size=n)
        is_evidence = rng.permuted(np.arange(length) < amount[:, None], axis=1)
        against = rng.random((n, length)) >= rng.random((n, 1))
        which = np.where(is_evidence, against, rng.integers(2, 5, size=(n, length)))
        pro, con = (which == 0).sum(1), (which == 1).sum(1)
        logit = self.logit(topic, pro - con, act)
        yes = (rng.random(n) < expit(logit)).astype(int)
        ids = np.empty((n, length + 4), dtype=np.int64)
        ids[:, 0], ids[:, 1], ids[:, 2:-2] = BOS, self.lexicon_["topic"][topic], encode(CONTEXT)[which]
        ids[:, -2] = encode("ask act")[act]
        ids[:, -1] = encode("agree disagree go stay")[2 * act + 1 - yes]
        mask = np.broadcast_to(np.arange(length + 4) == length + 3, ids.shape)
        truth = {"topic": topic, "pro": pro, "con": con, "act": act, "logit": logit, "yes": yes}
        return Rows(ids, mask, np.zeros(ids.shape), truth)

    def prompts(self, topic: int, context: Sequence[str] | str, act: bool = False) -> Ids:
        """One prompt about a topic after a context of pro, con, so, well and then: int64 (1, T)."""
        words = context.split() if isinstance(context, str) else list(context)
        body = self.lexicon_.encode([*words, "act" if act else "ask"])
        return np.r_[BOS, self.lexicon_["topic"][topic], body][None]

    def _document(self, said: Ids) -> NDArray[np.float64]:
        words: list[Any] = [self.lexicon_.words[i] for i in said]
        topics, length = self.groups()["topic"], self.length
        law = np.full(len(said), -np.inf)
        if not words or words[0] not in topics:
            return law
        law[0] = -np.log(self.topics)
        pro = con = 0
        before = 0.0
        for t, word in enumerate(words[1 : 1 + length], start=1):
            if word not in CONTEXT:
                return law
            pro, con = pro + (word == "pro"), con + (word == "con")
            now = self._context(pro, con, t)
            law[t], before = now - before, now
        for t in range(1 + length, min(len(words), 3 + length)):
            if t == 1 + length:
                law[t] = -np.log(2) if words[t] in ("ask", "act") else -np.inf
            elif words[t - 1] in ("ask", "act"):
                act = words[t - 1] == "act"
                p = expit(float(self.logit(topics.index(words[0]), pro - con, act)))
                answers = ("go", "stay") if act else ("agree", "disagree")
                law[t] = np.log({answers[0]: p, answers[1]: 1 - p}.get(words[t], 0.0) or 1e-300)
        return law

    def _context(self, pro: int, con: int, t: int) -> float:
        """Log-probability of the first ``t`` tokens of a context, with this evidence among them."""
        total, found = np.arange(self.length + 1), pro + con
        total = total[(total >= found) & (total - found <= self.length - t)]

        def log_choose(n: Any, k: Any) -> Any:
            return gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)

        ways = log_choose(self.length - t, total - found) - log_choose(self.length, total)
        leaning = betaln(pro + 1, con + 1)
        return float(
            np.logaddexp.reduce(ways)
            - np.log(self.length + 1)
            + leaning
            - (t - found) * np.log(len(CONTEXT) - 2)
        )

    def _exam(self, name: str) -> Exam:
        prompts = np.concatenate([self.prompts(k, ["so"] * self.length) for k in range(self.topics)])
        options = np.tile(self.lexicon_.encode("agree disagree"), (self.topics, 1))
        return Exam(prompts, options, (self.theta_ < 0).astype(int))
