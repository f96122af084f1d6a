"""How a model answers items: by the probabilities of the options, in writing, or in a record."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import softmax

from groundshift.errors import InputError
from groundshift.models.chats import ask, is_provider
from groundshift.models.records import read_records
from groundshift.probes.promptbias.items import Item
from groundshift.probes.promptbias.prompts import Adaptation, Wording, choice_of, follow_up, orders

if TYPE_CHECKING:
    from groundshift.models.activations import ProbeModel

__all__ = ["Answering", "Answers", "is_record", "option_probabilities"]

Array = NDArray[np.float64]
Placed = tuple[int, tuple[int, ...]]
"""The number of an item, and the order in which its options are listed."""
Write = Callable[[Sequence[Any]], list[str]]


@dataclass(frozen=True)
class Answers:
    """What a model answered under one adaptation.

    Attributes
    ----------
    probabilities : float (items, options), mean over orders; of written answers the share of each option; rows of NaN
        where no answer names an option
    invalid : share of answers that name no option, or that a record lacks
    written : each written answer with its item and order
    """

    probabilities: Array
    invalid: float = 0.0
    written: tuple[tuple[Placed, str], ...] = ()

    @property
    def picks(self) -> list[int | None]:
        """The likeliest option of each item."""
        return [None if np.isnan(p).all() else int(np.nanargmax(p)) for p in self.probabilities]

    @property
    def picked(self) -> Array:
        """1 for the likeliest option, 0 for the others."""
        hard = np.full_like(self.probabilities, np.nan)
        for row, pick in enumerate(self.picks):
            if pick is not None:
                hard[row] = np.arange(hard.shape[1]) == pick
        return hard

    def frame(self, adaptation: str, items: Sequence[Item]) -> pd.DataFrame:
        """A row for each written answer, or for each item with its likeliest option; can be read as a record."""
        chosen = [
            ((k, ()), "" if pick is None else items[k].options[pick]) for k, pick in enumerate(self.picks)
        ]
        rows = [
            (items[k].id, items[k].condition, adaptation, " ".join(map(str, order)), text)
            for (k, order), text in self.written or chosen
        ]
        return pd.DataFrame(rows, columns=["id", "condition", "adaptation", "order", "answer"])


@dataclass(frozen=True)
class Answering:
    """How items are put and answers are read; see `groundshift.probes.promptbias.prompt_bias`."""

    choice: Literal["logprob", "generate"]
    lettered: bool
    normalise: Literal["sum", "mean", "first"]
    orders: Literal["all", "cyclic"]
    wording: Wording
    chat: bool
    max_new_tokens: int
    progress: bool

    def answers(self, model: Any, items: Sequence[Item], ways: Sequence[Adaptation]) -> dict[str, Answers]:
        """The answers to all items under every adaptation, by its name.

        Raises
        ------
        InputError
            A function of log-probabilities that is to write; a record without answers to these items.
        """
        if is_record(model):
            return self._recorded(Path(model), items, ways)
        if is_provider(model):
            return {way.name: self._written(self._asking(model), items, way) for way in ways}
        if hasattr(model, "net"):
            if self.choice == "generate":
                return {way.name: self._written(self._generating(model), items, way) for way in ways}
            score = self._scoring(model)
            return {way.name: self._scored(score, items, way, self._generating(model)) for way in ways}
        if self.choice == "generate" or any(way.writes for way in ways):
            raise InputError(
                "A function that gives log-probabilities cannot write: choice='generate' and the strategies explain "
                "and reason need a model."
            )
        return {way.name: self._scored(model, items, way) for way in ways}

    # What a model reads ----------------------------------------------------------------------------------

    def _placed(self, items: Sequence[Item], way: Adaptation) -> list[Placed]:
        lettered = self.lettered and way.shots is not None
        return [(k, order) for k, item in enumerate(items) for order in orders(item, lettered, self.orders)]

    def _rows(
        self, items: Sequence[Item], placed: Sequence[Placed], way: Adaptation, write: Write | None
    ) -> list[Any]:
        """Prompts; where the model writes first, with what it wrote."""
        texts = [way.prompt(items[k], order, self.lettered, self.wording) for k, order in placed]
        chat = self.chat and way.shots is not None
        rows: list[Any] = (
            [{"messages": [{"role": "user", "content": text}]} for text in texts] if chat else texts
        )
        if way.writes:
            assert write is not None
            rows = [follow_up(chat, row, text) for row, text in zip(rows, write(rows), strict=True)]
        return rows

    # By probabilities ------------------------------------------------------------------------------------

    def _scoring(self, model: ProbeModel) -> Callable[..., Any]:
        from groundshift.models.activations import option_logprobs

        return lambda rows, options: option_logprobs(
            model, rows, options, self.normalise, progress=self.progress
        )

    def _scored(
        self, score: Callable[..., Any], items: Sequence[Item], way: Adaptation, write: Write | None = None
    ) -> Answers:
        """Probabilities of the options, among themselves; mean over the orders in which they are listed."""
        placed = self._placed(items, way)
        options = [way.options(items[k], order, self.lettered) for k, order in placed]
        if self.chat and way.shots is not None:  # an assistant's turn does not begin with a blank
            options = [[text.lstrip() for text in texts] for texts in options]
        shares = _shares(score(self._rows(items, placed, way, write), options))
        numbers = np.array([k for k, _ in placed])
        sums = np.zeros((len(items), shares.shape[1]))
        np.add.at(sums, numbers, shares)
        return Answers(sums / np.bincount(numbers)[:, None])

    # In writing ------------------------------------------------------------------------------------------

    def _generating(self, model: ProbeModel) -> Write:
        from groundshift.models.activations import generate

        def write(rows: Sequence[Any]) -> list[str]:
            completions = generate(model, rows, max_new_tokens=self.max_new_tokens, progress=self.progress)
            return [row["completion"] for row in completions]

        return write

    def _asking(self, model: Any) -> Write:
        def write(rows: Sequence[Any]) -> list[str]:
            chats = [
                r["messages"] if isinstance(r, Mapping) else [{"role": "user", "content": r}] for r in rows
            ]
            return ask(model, chats, max_new_tokens=self.max_new_tokens)

        return write

    def _written(self, write: Write, items: Sequence[Item], way: Adaptation) -> Answers:
        placed = self._placed(items, way)
        texts = write(self._rows(items, placed, way, write))
        return self._read(items, way, list(zip(placed, texts, strict=True)))

    def _read(
        self, items: Sequence[Item], way: Adaptation, written: Sequence[tuple[Placed, str]], missing: int = 0
    ) -> Answers:
        """The option that each answer names; answers that name none or several are counted."""
        lettered = self.lettered and way.shots is not None
        counts = np.zeros((len(items), max(len(item.options) for item in items)))
        for (k, order), text in written:
            choice = choice_of(text, items[k], order or range(len(items[k].options)), lettered)
            if choice is not None:
                counts[k, choice] += 1
        with np.errstate(invalid="ignore"):
            shares = counts / counts.sum(1, keepdims=True)
        return Answers(shares, 1 - counts.sum() / (len(written) + missing), tuple(written))

    def _recorded(self, file: Path, items: Sequence[Item], ways: Sequence[Adaptation]) -> dict[str, Answers]:
        place = {(item.id, item.condition): k for k, item in enumerate(items)}
        written: dict[str, list[tuple[Placed, str]]] = defaultdict(list)
        for number, row in enumerate(read_records(file)):
            try:
                assert isinstance(row, Mapping)
                key, order = (str(row["id"]), int(row["condition"])), str(row.get("order") or "").split()
                k, text, way = place.get(key), str(row["answer"]), str(row["adaptation"])
                numbers = tuple(map(int, order))
                assert k is None or not order or sorted(numbers) == list(range(len(items[k].options)))
            except (AssertionError, KeyError, TypeError, ValueError) as error:
                raise InputError(
                    f"{file}, row {number}: id, condition (0 or 1), adaptation and answer are needed, and order where "
                    "options were lettered, as in answers.jsonl of a saved result."
                ) from error
            if k is not None:
                written[way].append(((k, numbers), text))
        if absent := [way.name for way in ways if way.name not in written]:
            raise InputError(
                f"{file} holds no answers to {absent[0]!r} of these items; it has {', '.join(written) or 'none'}. Give "
                "the data, strategies, shots, most and random_state that its answers were collected with."
            )
        return {
            way.name: self._read(
                items, way, written[way.name], len(items) - len({k for (k, _), _ in written[way.name]})
            )
            for way in ways
        }


def is_record(model: Any) -> bool:
    """Whether this names a file of recorded answers."""
    return isinstance(model, str | Path) and Path(model).suffix in (".jsonl", ".json", ".parquet")


def option_probabilities(model: ProbeModel, items: Sequence[Item], **options: Any) -> Array:
    """Probabilities of the options of bare items, among themselves: (items, options).

    Parameters
    ----------
    model : in memory
    options : ``max_tokens`` and ``progress`` of `groundshift.models.activations.option_logprobs`
    """
    from groundshift.models.activations import option_logprobs

    rows = [f"{item.text} {item.cue}" for item in items]
    return _shares(
        option_logprobs(model, rows, [[f" {o}" for o in item.options] for item in items], **options)
    )


def _shares(logprobs: Any) -> Array:
    """Options' probabilities among themselves; NaN where there is no option."""
    logprobs = np.asarray(logprobs, float)
    absent = np.isnan(logprobs)
    shares: Array = np.where(absent, np.nan, softmax(np.where(absent, -np.inf, logprobs), axis=1))
    return shares
