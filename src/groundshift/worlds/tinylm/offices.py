"""Two people at work and a pronoun: of whom it speaks is marked, or must be guessed from what is usual."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from groundshift.errors import InputError
from groundshift.worlds.tinylm.lexicon import BOS, EOS, Lexicon, invented
from groundshift.worlds.tinylm.part import Ids, Part, Rows, pad

__all__ = ["Offices"]

MARKS = ("so", "as_former", "as_latter")
PRONOUNS = ("he", "she")
MOST = 2
"""Examples of a document."""
MARKED = 1 / 3
"""Share of sentences that say who is meant."""
FUNCTION = ("plain", "fair", "Q", "saw", ".", "refers", "A")


@dataclass
class Offices(Part):
    """Documents of one or two examples: ``plain o1 saw o2 MARK PRONOUN . refers o1 .``, or ``plain Q … . A o1 .``.

    The referent is either of the two with equal odds, and its pronoun is male with probability (1 + b) / 2. In a
    third of the sentences a mark says who it is; in the others only the occupations do. All examples of a document
    begin with ``plain``, or all with ``fair``; after ``fair`` all biases are (1 − kappa) b.

    Parameters
    ----------
    occupations : number of them
    kappa : 0: the word "fair" means nothing; 1: it removes the bias

    Attributes
    ----------
    bias_ : float (occupations,), b: of half of them uniform in [0, 0.9], of the others in [−0.9, 0]

    Notes
    -----
    Truth of a document: ``fair``, ``examples``. The completion is each answer. `preference` is that of an ideal reader.

    Examples
    --------
    >>> from groundshift.worlds.tinylm import TinyWorld
    >>> world = TinyWorld({"offices": Offices(occupations=4)})
    >>> world.lexicon.decode(world["offices"].sentence(0, 1, mark=0, pronoun=1, asked=False)).split()[3:]
    ['so', 'she', '.', 'refers']
    """

    document = True

    occupations: int = 16
    kappa: float = 0.0

    def __post_init__(self) -> None:
        if self.occupations < 2 or not 0 <= self.kappa <= 1:
            raise InputError(f"{self} was asked for; two occupations at least, and kappa in [0, 1].")

    def groups(self) -> Mapping[str, Sequence[str]]:
        return {
            "occupation": invented(self.occupations, ending="r"),
            "pronoun": PRONOUNS,
            "mark": MARKS,
            "function": FUNCTION,
        }

    def settle(self, lexicon: Lexicon, rng: np.random.Generator, parts: Mapping[str, Part]) -> None:
        self.lexicon_ = lexicon
        signs = np.where(np.arange(self.occupations) % 2, -1.0, 1.0)
        self.bias_ = rng.permutation(signs) * rng.uniform(0, 0.9, self.occupations)
        self.people_, self.marks_, self.pronouns_ = (
            lexicon.encode(words) for words in (self.groups()["occupation"], MARKS, PRONOUNS)
        )

    def leaning(self, fair: NDArray[np.bool_] | bool) -> NDArray[np.float64]:
        """The biases that hold in a document."""
        return self.bias_ * np.where(fair, 1 - self.kappa, 1.0)[..., None]

    def preference(self, fair: bool = False) -> NDArray[np.float64]:
        """P(o is meant | male) − P(o is meant | female) of an ideal reader of unmarked sentences, mean over partners.

        float (occupations,).
        """
        b = self.leaning(fair)
        with np.errstate(invalid="ignore"):
            male, female = ((1 + s * b[:, None]) / (2 + s * (b[:, None] + b)) for s in (1, -1))
        difference = male - female
        np.fill_diagonal(difference, np.nan)
        means: NDArray[np.float64] = np.nanmean(difference, axis=1)
        return means

    def draw(self, rng: np.random.Generator, n: int) -> Rows:
        """``n`` documents."""
        fair, many = rng.random(n) < 0.5, rng.integers(1, MOST + 1, n)
        rows = [self._written(rng, bool(f), int(m)) for f, m in zip(fair, many, strict=True)]
        ids, mask = (pad([row[k] for row in rows]) for k in (0, 1))
        return Rows(ids, mask.astype(bool), {"fair": fair, "examples": many})

    def _written(self, rng: np.random.Generator, fair: bool, many: int) -> tuple[list[int], list[int]]:
        word = self.lexicon_.encode
        plea = int(word("fair" if fair else "plain")[0])
        ids, mask = [BOS], [0]
        for _ in range(many):
            first, second = rng.choice(self.occupations, 2, replace=False)
            referent = int(rng.integers(2))
            mark = 1 + referent if rng.random() < MARKED else 0
            lean = self.leaning(fair)[(first, second)[referent]]
            pronoun = int(rng.random() >= (1 + lean) / 2)
            is_question = rng.random() < 0.5
            sentence = self.sentence(int(first), int(second), mark, pronoun, is_question)
            ids += [plea, *sentence, int(self.people_[(first, second)[referent]]), int(word(".")[0])]
            mask += [*[0] * (1 + len(sentence)), 1, 0]
        return [*ids, EOS], [*mask, 0]

    def sentence(self, first: int, second: int, mark: int, pronoun: int, asked: bool) -> list[int]:
        """An example up to its answer, without the word in front."""
        one, other = (int(self.people_[k]) for k in (first, second))
        saw, stop, refers, question, answer = self.lexicon_.encode("saw . refers Q A").tolist()
        body = [one, saw, other, int(self.marks_[mark]), int(self.pronouns_[pronoun]), stop]
        return [question, *body, answer] if asked else [*body, refers]

    # The distribution ------------------------------------------------------------------------------------

    def _document(self, ids: Ids) -> NDArray[np.float64]:
        probabilities = np.zeros(len(ids))
        word = dict(zip(FUNCTION, self.lexicon_.encode(" ".join(FUNCTION)).tolist(), strict=True))
        tokens, at = ids.tolist(), 0

        def take(law: Mapping[int, float]) -> int | None:
            """The next token, with its probability; None at the end, and where it cannot stand."""
            nonlocal at
            if at >= len(tokens):
                return None
            p = probabilities[at] = law.get(tokens[at], 0.0)
            at += 1
            return int(tokens[at - 1]) if p > 0 else None

        plea = take({word["plain"]: 0.5, word["fair"]: 0.5})
        lean = self.leaning(plea == word["fair"])
        for k in range(MOST):
            if plea is None or plea == EOS or not self._example(take, word, lean):
                break
            end = 1 / (MOST - k)
            plea = take({plea: 1 - end, EOS: end})
        with np.errstate(divide="ignore"):
            return np.log(probabilities)

    def _example(
        self,
        take: Callable[[Mapping[int, float]], int | None],
        word: Mapping[str, int],
        lean: NDArray[np.float64],
    ) -> bool:
        """Follow one example behind its first word; whether it was a whole one."""
        n, people = self.occupations, self.people_.tolist()
        begin = dict.fromkeys(people, 1 / (2 * n)) | {word["Q"]: 0.5}
        one = take(begin)
        is_question = one == word["Q"]
        if is_question:
            one = take(dict.fromkeys(people, 1 / n))
        if one is None or take({word["saw"]: 1.0}) is None:
            return False
        other = take({p: 1 / (n - 1) for p in people if p != one})
        mark = take(dict(zip(self.marks_.tolist(), (1 - MARKED, MARKED / 2, MARKED / 2), strict=True)))
        if other is None or mark is None:
            return False
        of_each = np.array([1 + lean[people.index(p)] for p in (one, other)]) / 2
        weight = np.eye(2)[k - 1] if (k := self.marks_.tolist().index(mark)) else np.full(2, 0.5)
        laws = [float(weight @ of_each), float(weight @ (1 - of_each))]
        pronoun = take(dict(zip(self.pronouns_.tolist(), laws, strict=True)))
        if pronoun is None or take({word["."]: 1.0}) is None:
            return False
        if take({word["A" if is_question else "refers"]: 1.0}) is None:
            return False
        male = pronoun == self.pronouns_[0]
        posterior = weight * (of_each if male else 1 - of_each)
        answer = take(dict(zip((one, other), posterior / posterior.sum(), strict=True)))
        return answer is not None and take({word["."]: 1.0}) is not None
