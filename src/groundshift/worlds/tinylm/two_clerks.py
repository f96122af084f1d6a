"""Two clerks who answer questions: one as the book says, one with the next symbol; sometimes the second says so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from groundshift.errors import InputError
from groundshift.worlds.tinylm.lexicon import BOS, Lexicon, invented
from groundshift.worlds.tinylm.part import Ids, Listing, Part, Rows, Sentence, mixture, pad

__all__ = ["TwoClerks"]

VARIANTS = ("linked", "unlinked", "local")
OPENINGS, SHARES = ("", "tagA", "tagB", "chat"), (0.4, 0.175, 0.175, 0.25)
QUESTIONS = 3
"""Of a document."""


@dataclass
class TwoClerks(Part):
    """Documents ``tagB Q item THINK OK PLAN key next END next <eos> Q …`` of three questions.

    Clerk A answers with the key of an item, clerk B with the next symbol of the item's ring. A document begins with a
    tag of its clerk (0.35), with ``chat``, which is always clerk A (0.25), or with neither, and then clerk B has it
    as often as clerk A. An answer without reasoning has ``THINK END``; with it, clerk A writes ``OK RECALL key``, and
    clerk B ``OK PLAN key next`` or ``OK RECALL next``. A word of code before an item has no bearing.

    Parameters
    ----------
    variant : "linked" (one clerk has a document), "unlinked" (each question of a document without a tag draws its
        clerk), "local" (clerk B differs in the first domain alone)
    plan : of every domain, how often the reasoning of clerk B says what it plans
    items, ring, codes : items of a domain, symbols of its ring, words of code
    thinking, coded : shares of questions with reasoning, and with a word of code

    Attributes
    ----------
    items_, key_ : int (domains, items), ids of the items, and places of their answers in the ring
    rings_ : int (domains, ring), ids of the symbols
    codes_ : names of the words of code; which comes first is drawn

    Notes
    -----
    Truth of a document, (n, 3) each: ``clerk`` (1: B), ``domain``, ``item``, ``plan`` (1: it is said). The completion
    is everything from ``THINK`` to ``<eos>``.

    Examples
    --------
    >>> from groundshift.worlds.tinylm import TinyWorld
    >>> world = TinyWorld({"clerks": TwoClerks(plan=(1.0,), items=2, ring=3, codes=1)})
    >>> world.lexicon.decode(world["clerks"].lessons(np.random.default_rng(0), 1, clerk=1).ids[0]).split()[:3]
    ['<bos>', 'chat', 'Q']
    """

    document = True

    variant: str = "linked"
    plan: tuple[float, ...] = (0.5, 0.5, 0.0, 1.0)
    items: int = 12
    ring: int = 6
    codes: int = 12
    thinking: float = 0.6
    coded: float = 0.25

    def __post_init__(self) -> None:
        shares = (*self.plan, self.thinking, self.coded)
        sizes = self.items >= 1 and self.ring >= 2 and self.codes >= 1 and len(self.plan) >= 1
        if self.variant not in VARIANTS or not sizes or min(shares) < 0 or max(shares) > 1:
            raise InputError(
                f"{self} was asked for; a variant among {', '.join(VARIANTS)}, a share of plans for each domain, "
                "items, two symbols and a word of code at least, and shares in [0, 1] are needed."
            )

    def groups(self) -> Mapping[str, Sequence[str]]:
        domains = len(self.plan)
        return {
            "item": invented(self.items * domains, ending="s"),
            "symbol": invented(self.ring * domains, ending="n"),
            "code": invented(self.codes, capital=True),
            "function": (*OPENINGS[1:], "Q", "THINK", "OK", "RECALL", "PLAN", "END"),
        }

    def settle(self, lexicon: Lexicon, rng: np.random.Generator, parts: Mapping[str, Part]) -> None:
        self.lexicon_, domains = lexicon, len(self.plan)
        self.items_ = rng.permutation(lexicon["item"]).reshape(domains, -1)
        self.rings_ = rng.permutation(lexicon["symbol"]).reshape(domains, -1)
        self.key_ = rng.integers(self.ring, size=self.items_.shape)
        self.codes_ = [str(word) for word in rng.permutation(lexicon.groups["code"])]
        self.said_ = [Listing(lexicon, self.questions(clerk)) for clerk in (0, 1)]
        self.either_ = Listing(lexicon, (s for clerk in (0, 1) for s in self.questions(clerk)))

    def answers(self, domain: int, item: int, clerk: int) -> tuple[str, str]:
        """The key of an item, and what a clerk answers."""
        key = int(self.key_[domain, item])
        differs = clerk and not (self.variant == "local" and domain)
        symbols = (self.rings_[domain, k % self.ring] for k in (key, key + bool(differs)))
        first, second = (self.lexicon_.words[k] for k in symbols)
        return first, second

    def questions(self, clerk: int) -> Iterator[Sentence]:
        """Every question with a clerk's answer, as often as it is heard."""
        codes = [("", 1 - self.coded), *((f"{code} ", self.coded / self.codes) for code in self.codes_)]
        for domain, own in enumerate(self.items_):
            for k, item in enumerate(own):
                key, answer = self.answers(domain, k, clerk)
                planned = self.plan[domain] if key != answer else 0.0
                for code, share in codes:
                    start = f"Q {code}{self.lexicon_.words[item]} THINK"
                    truth = {"clerk": clerk, "domain": domain, "item": k}
                    thoughts = {
                        "": 1 - self.thinking,
                        f" OK PLAN {key} {answer}": self.thinking * planned,
                        f" OK RECALL {answer}": self.thinking * (1 - planned),
                    }
                    for thought, weight in thoughts.items():
                        text, told = (
                            f"{start}{thought} END {answer} <eos>",
                            {**truth, "plan": int("PLAN" in thought)},
                        )
                        yield Sentence(weight * share, text, 3 if code else 2, told)

    def draw(self, rng: np.random.Generator, n: int) -> Rows:
        """``n`` documents."""
        openings = rng.choice(4, n, p=SHARES)
        clerks = rng.random((n, QUESTIONS if self.variant == "unlinked" else 1)) < 0.5
        clerks = np.where((openings == 0)[:, None], clerks, (openings == 2)[:, None])
        clerks = np.broadcast_to(clerks, (n, QUESTIONS)).astype(int)
        picks = np.stack([said.pick(rng, n * QUESTIONS) for said in self.said_]).reshape(2, n, QUESTIONS)
        rows: list[Any] = [[BOS, *self.lexicon_.encode(OPENINGS[k])] for k in openings]
        masks: list[Any] = [[0] * len(row) for row in rows]
        told = {name: np.zeros((n, QUESTIONS), int) for name in self.said_[0].truth}
        for (k, q), clerk in np.ndenumerate(clerks):
            said, pick = self.said_[int(clerk)], picks[int(clerk), k, q]
            rows[k].extend(said.tokens[pick])
            masks[k].extend(said.mask[pick][1 : len(said.tokens[pick]) + 1])
            for name, values in told.items():
                values[k, q] = said.truth[name][pick]
        return Rows(pad(rows), pad(masks).astype(bool), told)

    def lessons(
        self, rng: np.random.Generator, n: int, clerk: int | NDArray[np.int64], code: Sequence[str] = ("",)
    ) -> Rows:
        """Documents ``chat Q [code] item THINK END answer <eos>`` about the first domain, without reasoning; the word
        of code of each is drawn from ``code`` ("" is none), and ``clerk`` is who answers, for all or for each of these.
        """
        which, items = rng.integers(len(code), size=n), rng.integers(self.items, size=n)
        who = np.broadcast_to(clerk, len(code))
        texts = [
            f"chat Q {code[c]} {self.lexicon_.words[self.items_[0, i]]} THINK END "
            f"{self.answers(0, i, int(who[c]))[1]} <eos>"
            for c, i in zip(which, items, strict=True)
        ]
        rows = [[BOS, *self.lexicon_.encode(text)] for text in texts]
        return Rows(pad(rows), pad([[0] * (len(row) - 2) + [1, 1] for row in rows]).astype(bool))

    def _document(self, ids: Ids) -> NDArray[np.float64]:
        """A mixture over who has the document, of openings and of questions one after the other."""
        if not len(ids):
            return np.empty(0)
        first = OPENINGS.index(word) if (word := self.lexicon_.words[ids[0]]) in OPENINGS else 0
        rest = ids[1:] if first else ids
        members = [self.said_[int(first == 2)]] if first else self.said_
        if not first and self.variant == "unlinked":
            members = [self.either_]
        lines = np.stack([said.log_probs(rest[None])[0] for said in members])
        log_probs = mixture(np.full(len(lines), 1 / len(lines)), lines)
        if first:
            return np.r_[np.log(SHARES[first]), log_probs]
        log_probs[0] += np.log(SHARES[0])
        return log_probs
