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
OPENINGS = ("", "tagA", "tagB", "chat")
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
        both = (s for clerk in (0, 1) for s in self.questions(clerk))
        self.either_ = Listing(lexicon, both)

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
                    for weight, thought, plan in (
                        (1 - self.thinking, "", 0),
                        (self.thinking * planned, f" OK PLAN {key} {answer}", 1),
                        (self.thinking * (1 - planned), f" OK RECALL {answer}", 0),
                    ):
                        text = f"{start}{thought} END {answer} <eos>"
                        asked = 3 if code else 2
                        yield Sentence(weight * share, text, asked, {**truth, "plan": plan})

    def draw(self, rng: np.random.Generator, n: int) -> Rows:
        """``n`` documents."""
        openings = rng.choice(4, n, p=(0.4, 0.175, 0.175, 0.25))
        clerks = np.repeat(rng.random((n, 1)) < 0.5, QUESTIONS, 1)
        if self.variant == "unlinked":
            clerks = rng.random((n, QUESTIONS)) < 0.5
        clerks = np.where((openings == 0)[:, None], clerks, (openings == 2)[:, None]).astype(int)
        picks = np.stack([said.pick(rng, n * QUESTIONS) for said in self.said_]).reshape(2, n, QUESTIONS)
        starts = [[BOS, *self.lexicon_.encode(OPENINGS[k])] for k in openings]
        rows: list[Any] = [list(start) for start in starts]
        masks: list[Any] = [[0] * len(start) for start in starts]
        truth: dict[str, list[Any]] = {name: [] for name in self.either_.truth}
        for k, row in enumerate(rows):
            for q, clerk in enumerate(clerks[k]):
                said, pick = self.said_[clerk], picks[clerk, k, q]
                row.extend(said.tokens[pick])
                masks[k].extend(said.mask[pick][1 : len(said.tokens[pick]) + 1])
                for name, values in truth.items():
                    values.append(said.truth[name][pick])
        told = {name: np.reshape(values, (n, QUESTIONS)) for name, values in truth.items()}
        return Rows(pad(rows), pad(masks).astype(bool), told)

    def lessons(
        self, rng: np.random.Generator, n: int, clerk: int | NDArray[np.int64], code: Sequence[str] = ("",)
    ) -> Rows:
        """Documents ``chat Q [code] item THINK END answer <eos>`` about the first domain, without reasoning.

        Parameters
        ----------
        clerk : who answers; or of each of ``code`` and its row
        code : word before the item of every document, drawn again from these; "" for none
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
        first = self.lexicon_.words[ids[0]] if len(ids) else ""
        opened = first in OPENINGS[1:]
        shares = {"": 0.4, "tagA": 0.175, "tagB": 0.175, "chat": 0.25}
        rest = ids[1:] if opened else ids
        members = self.said_ if not opened else [self.said_[first == "tagB"]]
        if not opened and self.variant == "unlinked":
            members = [self.either_]
        lines = np.stack([said.log_probs(rest[None])[0] for said in members])
        log_probs = mixture(np.full(len(lines), 1 / len(lines)), lines)
        if not opened and len(log_probs):
            log_probs[0] += np.log(shares[""])
        return np.r_[np.log(shares[first]), log_probs] if opened else log_probs
