"""A knowledge base that is told in several styles: the world of the study *urial*."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from groundshift.errors import InputError
from groundshift.worlds.tinylm.lexicon import BOS, EOS, Lexicon, invented
from groundshift.worlds.tinylm.part import Exam, Ids, Part, Rows, mixture, pad

__all__ = ["PRIORS", "Styles"]

PRIORS = (0.0, 0.005, 0.02, 0.03, *[0.05] * 6)
SLOTS, ASKED = 4, 4
"""Words of a style's own, and tokens of a question."""


@dataclass
class Styles(Part):
    """``Q e r A v .`` in the bare style; in any other ``Q e r A first second e r is v hedge closing .``

    A document has one style, drawn once, and one to four items, each about a fact drawn anew; it ends with ``<eos>``.
    So a model can infer the style of the next answer from those before it, and the value from the question alone.

    Parameters
    ----------
    entities, relations, values : how many; each pair of entity and relation has one of the values
    priors : share of the documents in each style but the bare one, which takes the rest; 0: the words of the style are
        known to the lexicon and never said
    longest : most items of a document

    Attributes
    ----------
    table_ : int64 (entities, relations), the value of each fact
    words_ : int64 (styles, 4), ids of the styles' own words: first, second, hedge, closing

    Notes
    -----
    Style −1 is the bare one. Exams: ``bare`` (a value after `Q e r A`, among all values) and ``kept`` (the first word
    of the last answer of the longest document, among those of all styles with the largest prior).

    Examples
    --------
    >>> from groundshift.worlds.tinylm import TinyWorld
    >>> world = TinyWorld({"styles": Styles(entities=3, relations=2, values=4)})
    >>> styles = world["styles"]
    >>> world.lexicon.decode(styles.item(0, 1, -1)), world.lexicon.decode(styles.answer(0, 1, 0))
    ('Q Kami dumis A guton .', 'givi sima Kami dumis is guton kogu soru .')
    """

    document: ClassVar[bool] = True
    exams = ("bare", "kept")

    entities: int = 30
    relations: int = 4
    values: int = 40
    priors: tuple[float, ...] = PRIORS
    longest: int = 4

    def __post_init__(self) -> None:
        sizes = self.entities, self.relations, self.values - 1, self.longest, len(self.priors)
        if min(sizes) < 1 or min(self.priors) < 0 or not sum(self.priors) < 1:
            raise InputError(
                f"{self} was asked for; at least one entity, relation, style and item, two values, and priors of at "
                "least 0 that leave some documents to the bare style are needed."
            )

    def groups(self) -> Mapping[str, Sequence[str]]:
        return {
            "entity": invented(self.entities, capital=True),
            "relation": invented(self.relations, ending="s"),
            "value": invented(self.values, ending="n"),
            "style": invented(len(self.priors) * SLOTS),
            "function": ("is", ".", "Q", "A"),
        }

    def settle(self, lexicon: Lexicon, rng: np.random.Generator, parts: Mapping[str, Part]) -> None:
        self.lexicon_ = lexicon
        self.table_ = rng.integers(self.values, size=(self.entities, self.relations))
        self.words_ = rng.permutation(lexicon["style"]).reshape(len(self.priors), SLOTS)

    @property
    def shares(self) -> NDArray[np.float64]:
        """Share of the documents in each style, the bare one last, so that −1 is its place."""
        return np.array([*self.priors, 1 - sum(self.priors)])

    def answer(self, entity: int, relation: int, style: int, value: int | None = None) -> Ids:
        """The tokens of an answer, with the fact's own value or another."""
        lexicon = self.lexicon_
        value_id = lexicon["value"][self.table_[entity, relation] if value is None else value]
        verb, stop = lexicon.encode("is .")
        if style < 0:
            return np.array([value_id, stop])
        first, second, hedge, closing = self.words_[style]
        e, r = lexicon["entity"][entity], lexicon["relation"][relation]
        return np.array([first, second, e, r, verb, value_id, hedge, closing, stop])

    def question(self, entity: int, relation: int) -> Ids:
        """``Q e r A``."""
        ask, reply = self.lexicon_.encode("Q A")
        return np.array([ask, self.lexicon_["entity"][entity], self.lexicon_["relation"][relation], reply])

    def item(self, entity: int, relation: int, style: int, value: int | None = None) -> Ids:
        """A question and its answer."""
        return np.concatenate([self.question(entity, relation), self.answer(entity, relation, style, value)])

    def _fact(self, rng: np.random.Generator) -> tuple[int, int]:
        return int(rng.integers(self.entities)), int(rng.integers(self.relations))

    def draw(self, rng: np.random.Generator, n: int) -> Rows:
        """``n`` documents; truth: ``style`` and ``items``."""
        styles = rng.choice(len(self.shares), n, p=self.shares)
        styles[styles == len(self.priors)] = -1
        items = rng.integers(1, self.longest + 1, n)
        rows, masks = [], []
        for style, many in zip(styles.tolist(), items.tolist(), strict=True):
            items_of_row = [self.item(*self._fact(rng), style) for _ in range(many)]
            rows.append([BOS, *np.concatenate(items_of_row), EOS])
            masks.append([False, *(k >= ASKED for item in items_of_row for k in range(len(item))), False])
        return Rows(pad(rows), pad(masks, dtype=bool), {"style": styles, "items": items})

    def _document(self, ids: Ids) -> NDArray[np.float64]:
        styles = [k for k, share in enumerate(self.shares) if share > 0]
        each = np.stack([self._styled(ids, -1 if k == len(self.priors) else k) for k in styles])
        return mixture(self.shares[styles], each)

    def _styled(self, ids: Ids, style: int) -> NDArray[np.float64]:
        """Log-probabilities of a document, or of its beginning, in one style."""
        length = ASKED + len(self.answer(0, 0, style))
        done, place = np.divmod(np.arange(len(ids)), length)
        # Documents of 1 to ``longest`` items are equally likely: so many of those that got here go on.
        left = (self.longest - done).clip(0)
        further = np.where(done == 0, 1.0, left / (left + 1))
        right = np.ones(len(ids), bool)
        for start in range(0, len(ids), length):
            item = ids[start : start + length]
            entity = int(np.isin(self.lexicon_["entity"], item[1:2]).argmax())
            relation = int(np.isin(self.lexicon_["relation"], item[2:3]).argmax())
            right[start : start + length] = item == self.item(entity, relation, style)[: len(item)]
        ends = (place == 0) & (ids == EOS)
        shares = np.choose(place.clip(max=3), [further, 1 / self.entities, 1 / self.relations, 1.0])
        with np.errstate(divide="ignore"):
            return np.log(np.where(ends, 1 - further, shares) * (right | ends).cumprod())

    def _exam(self, name: str) -> Exam:
        """Every question: by itself, or behind answered ones of each style that has the largest prior."""
        styles = [-1] if name == "bare" else [k for k, p in enumerate(self.priors) if p == max(self.priors)]
        prompts = []
        for style in styles:
            rng = np.random.default_rng(max(style, 0))
            for fact in np.ndindex(*self.table_.shape):
                before = 0 if name == "bare" else self.longest - 1
                shown = [self.item(*self._fact(rng), style) for _ in range(before)]
                prompts.append(np.concatenate([[BOS], *shown, self.question(*fact)]))
        answers = self.lexicon_["value"] if name == "bare" else self.words_[styles, 0]
        right = self.table_.ravel() if name == "bare" else np.repeat(np.arange(len(styles)), self.table_.size)
        return Exam(pad(prompts, "left"), np.tile(answers, (len(prompts), 1)), right)
