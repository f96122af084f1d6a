"""A tiny language world: parts, mixed into a corpus, with the law of every next token."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from groundshift.errors import InputError
from groundshift.worlds.tinylm.lexicon import BOS, PAD, Lexicon
from groundshift.worlds.tinylm.part import Ids, Part, Rows, mixture, settled

__all__ = ["IGNORED", "TinyWorld"]

IGNORED = -100
"""The label of a token without loss, as in PyTorch and transformers."""
Batch = dict[str, NDArray[Any]]
On = Literal["all", "completion"]


class TinyWorld:
    """Parts that share a lexicon, and what is true in them.

    Parameters
    ----------
    parts : name -> part
        In order: a part that builds on another stands after it.
    weights : name -> share of the rows; 1 for parts that are not named. 0: the part's truth is there and nothing
        is said.
    seed : of the facts alone; how they are told is drawn from the generators given to ``draw`` and the corpora

    Attributes
    ----------
    parts : the parts, settled: what this world decided ends in ``_``
    weights : share of the rows, by name; they add to 1
    lexicon : the words of all parts

    Raises
    ------
    InputError
        No part, weights that are negative or of no part, a part that misses the one it builds on.

    Examples
    --------
    >>> from groundshift.worlds.tinylm import Facts
    >>> world = TinyWorld({"facts": Facts(entities=4, relations=2, objects=3)}, seed=0)
    >>> rows = world.draw(np.random.default_rng(0), 2)
    >>> world.lexicon.decode(rows.ids[0])
    '<bos> the gitas of Kami is guton .'
    >>> world["facts"].table_[1, 1]  # which of the three objects of the second relation
    np.int64(0)
    """

    def __init__(
        self, parts: Mapping[str, Part], weights: Mapping[str, float] | None = None, seed: int = 0
    ) -> None:
        weights = weights or {}
        shares = {name: float(weights.get(name, 1.0)) for name in parts}
        if set(weights) - set(parts) or any(w < 0 for w in shares.values()) or not sum(shares.values()) > 0:
            raise InputError(
                f"The weights {dict(weights)} were given for the parts {', '.join(parts) or 'none'}; weights of parts "
                "that are there, at least 0 and not all 0, are needed."
            )
        self.seed = seed
        self.weights = {name: w / sum(shares.values()) for name, w in shares.items()}
        groups: dict[str, dict[str, None]] = {}
        for part in parts.values():
            for role, words in part.groups().items():
                groups.setdefault(role, {}).update(dict.fromkeys(words))
        self.lexicon = Lexicon({role: tuple(words) for role, words in groups.items()})
        self.parts: dict[str, Part] = {}
        for name, part in parts.items():
            # A stream for each name: a part that is added leaves the facts of the others as they were.
            rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
            self.parts[name] = settled(part, self.lexicon, rng, self.parts)

    def __getitem__(self, name: str) -> Any:
        """A part by its name."""
        if name not in self.parts:
            raise InputError(f"There is no part {name!r} in this world; there are {', '.join(self.parts)}.")
        return self.parts[name]

    def settings(self) -> dict[str, Any]:
        """Everything that decides this world, as JSON takes it."""
        parts = {name: part.settings() for name, part in self.parts.items()}
        return {"parts": parts, "weights": self.weights, "seed": self.seed}

    def draw(self, rng: np.random.Generator, n: int) -> Rows:
        """``n`` items, one in a row; ``truth["part"]`` has the position of each one's part.

        Further truth is kept where all rows are of one part.
        """
        part = self._parts(rng, n)
        rows_of = {k: list(self.parts.values())[k].draw(rng, int((part == k).sum())) for k in np.unique(part)}
        if len(rows_of) == 1:
            rows = next(iter(rows_of.values()))
            return Rows(rows.ids, rows.mask, {**rows.truth, "part": part})
        width = max(rows.ids.shape[1] for rows in rows_of.values())
        ids = np.full((n, width), PAD)
        mask = np.zeros((n, width), dtype=bool)
        for k, rows in rows_of.items():
            place = np.flatnonzero(part == k)[:, None], np.arange(rows.ids.shape[1])
            ids[place], mask[place] = rows.ids, rows.mask
        return Rows(ids, mask, {"part": part})

    def items(self, rows: int, on: On = "completion") -> Callable[[np.random.Generator], Batch]:
        """A corpus of one item in a row: a function that makes a batch from the generator of a step.

        Parameters
        ----------
        rows : in a batch
        on : the loss is on "all" tokens after ``<bos>``, or on the "completion" (``Rows.mask``)

        Returns
        -------
        rng -> dict
            ``ids``, ``labels`` (−100: no loss), each (rows, T), and ``part`` (rows,).
        """
        _known(on)
        return lambda rng: _batch(self.draw(rng, rows), on)

    def packed(self, rows: int, length: int, on: On = "all") -> Callable[[np.random.Generator], Batch]:
        """A corpus of full rows: items of one part, one after the other, cut off at ``length``.

        A row starts with ``<bos>``, as prompts do; documents begin with it wherever they stand. See `items`.
        """
        _known(on)
        return lambda rng: _batch(self.pack(rng, rows, length), on)

    def pack(self, rng: np.random.Generator, n: int, length: int) -> Rows:
        """``n`` full rows of ``length`` tokens, see `packed`."""
        part = self._parts(rng, n)
        ids = np.full((n, length), PAD)
        mask = np.zeros((n, length), dtype=bool)
        for k in np.unique(part):
            lines = np.flatnonzero(part == k)
            part_k = list(self.parts.values())[k]
            ids[lines], mask[lines] = _filled(part_k, rng, len(lines), length)
        return Rows(ids, mask, {"part": part})

    def log_probs(self, ids: Ids) -> NDArray[np.float64]:
        """The oracle: exact log-probability of every token given those before it in its row.

        Its negative mean over held-out text is the loss that no model can beat but by chance.

        Parameters
        ----------
        ids : int64 (n, T), from ``draw`` or ``pack``; which part made a row is not given away

        Returns
        -------
        float64 (n, T)
            NaN at ``<bos>`` and padding.
        """
        weights = {name: w for name, w in self.weights.items() if w > 0}
        each = np.stack([self.parts[name].log_probs(ids) for name in weights])
        prior = np.array(list(weights.values()))
        return np.stack([mixture(prior, each[:, row]) for row in range(len(ids))])

    def _parts(self, rng: np.random.Generator, n: int) -> Ids:
        return rng.choice(len(self.parts), n, p=list(self.weights.values()))


def _filled(part: Part, rng: np.random.Generator, n: int, length: int) -> tuple[Ids, NDArray[np.bool_]]:
    """``n`` rows full of a part's items: ids and mask."""
    batches: list[Rows] = []
    filled = np.zeros(n, dtype=int)
    while (filled < length).any():
        for _ in range(4):
            rows = part.draw(rng, n)
            batches.append(rows)
            filled += (rows.ids != PAD).sum(1) - (not part.document)
    ids = np.concatenate([rows.ids for rows in batches], axis=1)
    keep = ids != PAD
    if not part.document:
        keep[:, 1:] &= ids[:, 1:] != BOS
    place = np.argsort(~keep, axis=1, kind="stable")[:, :length]
    mask = np.concatenate([rows.mask for rows in batches], axis=1)
    return np.take_along_axis(ids, place, 1), np.take_along_axis(mask, place, 1)


def _known(on: str) -> None:
    if on not in ("all", "completion"):
        raise InputError(f'on={on!r} was given; the loss is on "all" tokens or on the "completion".')


def _batch(rows: Rows, on: On) -> Batch:
    with_loss = rows.mask if on == "completion" else rows.ids > BOS
    labels = np.where(with_loss, rows.ids, IGNORED)
    return {"ids": rows.ids, "labels": labels, "part": rows.truth["part"]}
