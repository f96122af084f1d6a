"""Which tokens of a row are meant, in coordinates without padding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from groundshift.errors import InputError
from groundshift.models.activations.loading import ProbeModel
from groundshift.models.activations.rows import Row

__all__ = ["Follower", "Rule", "chosen", "rules", "where_mask"]

NAMES = ("last", "all", "mean", "generated", "predicts", "image", "text")
LABELLED = ("span", "token", "predicts")

Where = str | Tensor


@dataclass(frozen=True)
class Rule:
    """One way to choose positions.

    Attributes
    ----------
    name : as given
    one : every row has exactly one
    sequences : ids of the words that ``token:`` and ``predicts:`` look for
    """

    name: str
    one: bool
    sequences: tuple[tuple[int, ...], ...] = ()


def rules(model: ProbeModel, positions: str | int | Sequence[str | int]) -> list[Rule]:
    """Read what the user wrote.

    ``last``, ``all``, ``mean`` (over all), an integer (from the start, or negative from the end), ``span:<label>``,
    ``token:<word>`` (the first occurrence; its last piece), ``predicts:<word>`` (the state from which the first
    occurrence was predicted), ``predicts`` (the states that predict the completion, one per token), ``generated``
    (tokens of the completion but the last, which a cached generation never reads), ``image``, ``text``. Words may be
    several, ``predicts:yes|Yes``. Where a row has a completion, words are looked for in it, else in the text.

    Raises
    ------
    InputError
        None of these; a word that the tokenizer does not know.
    """
    given = [positions] if isinstance(positions, str | int) else list(positions)
    parsed = []
    for rule in given:
        text = str(rule)
        kind, colon, label = text.partition(":")
        if isinstance(rule, int) or text.lstrip("-").isdigit():
            parsed.append(Rule(text, True))
        elif colon and kind in LABELLED and label:
            sequences = () if kind == "span" else _encodings(model, label)
            parsed.append(Rule(text, kind != "span", sequences))
        elif not colon and kind in NAMES:
            parsed.append(Rule(text, kind in ("last", "mean")))
        else:
            raise InputError(
                f"There are no positions {rule!r}; choose {', '.join(NAMES)}, an integer, or "
                f"{', '.join(f'{k}:<word>' for k in LABELLED)}."
            )
    if not parsed or ("mean" in (r.name for r in parsed) and len(parsed) > 1):
        raise InputError(f"The positions {given!r} were given; give one rule at least, and mean by itself.")
    return parsed


def _encodings(model: ProbeModel, words: str) -> tuple[tuple[int, ...], ...]:
    tokenizer, encodings = model.tokenizer, []
    for word in words.split("|"):
        for form in (word, f" {word}"):
            ids = tuple(tokenizer(form, add_special_tokens=False)["input_ids"])
            if ids and tokenizer.unk_token_id not in ids and ids not in encodings:
                encodings.append(ids)
    if not encodings:
        raise InputError(f"The tokenizer of {model.source} does not know {words!r}.")
    return tuple(encodings)


def chosen(model: ProbeModel, row: Row, wanted: Sequence[Rule]) -> list[int] | str:
    """Positions in a row, or the reason why it has none."""
    places: list[int] = []
    for rule in wanted:
        positions = _of(model, row, rule)
        if isinstance(positions, str):
            return positions
        places.extend(positions)
    return places


def _of(model: ProbeModel, row: Row, rule: Rule) -> list[int] | str:
    n, kind = len(row), rule.name
    if n == 0:
        return "no tokens"
    if rule.sequences:
        first = row.prompt if row.completed else 0
        ids = row.ids.tolist()
        hits = [
            (k, k + len(s))
            for s in rule.sequences
            for k in range(first, n - len(s) + 1)
            if ids[k] == s[0] and tuple(ids[k : k + len(s)]) == s
        ]
        if not hits:
            return f"{kind} is not there"
        start, end = min(hits, key=lambda hit: (hit[0], -hit[1]))
        if kind.startswith("token"):
            return [end - 1]
        return [start - 1] if start else f"{kind} is the first token, which nothing predicts"
    if kind == "last":
        return [n - 1]
    if kind in ("all", "mean"):
        return list(range(n))
    if kind in ("generated", "predicts"):
        low, high = (row.prompt, n - 1) if kind == "generated" else (row.prompt - 1, n - 1)
        return list(range(max(low, 0), high)) or f"{kind}: no completion, or one that is too short"
    if kind in ("image", "text"):
        wanted = kind == "image"
        return [
            k for k, i in enumerate(row.ids.tolist()) if (i in model.image_ids) == wanted
        ] or f"no {kind} tokens"
    if kind.startswith("span:"):
        label = kind.partition(":")[2]
        return row.spans.get(label) or f"no span {label!r}"
    place = int(kind)
    return [place % n] if -n <= place < n else f"position {place}: the row has {n} tokens"


class Follower:
    """Where the tokens of the pass that is under way stand in their rows, by the attention mask.

    In a cached generation a pass holds one token per row; the counter lives here, outside the hooks.

    Attributes
    ----------
    place : coordinate of every token in its row without padding, -1 on padding, (B, T)
    prompt : tokens in each row's prompt, (B,): of the batch that is read, else of the first pass
    """

    def __init__(self, model: ProbeModel) -> None:
        self.model = model
        self.place: Tensor = torch.zeros(0, 0, dtype=torch.long)
        self.prompt: Tensor = torch.zeros(0, dtype=torch.long)

    def attach(self) -> RemovableHandle:
        return self.model.body.register_forward_pre_hook(self._follow, with_kwargs=True)

    def _follow(self, _module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if self.model.trying:
            return
        fed = kwargs.get("input_ids", args[0] if args else None)
        fed = kwargs.get("inputs_embeds") if fed is None else fed
        assert fed is not None, "a pass without ids and embeddings"
        size, length = fed.shape[:2]
        mask = kwargs.get("attention_mask")
        if mask is None:
            cache = kwargs.get("cache", kwargs.get("past_key_values"))
            past = 0 if cache is None else cache.get_seq_length()
            mask = torch.ones(size, past + length, dtype=torch.long, device=fed.device)
        if not isinstance(mask, Tensor) or mask.ndim != 2:
            raise InputError(
                "The attention mask of this pass is not of shape (rows, tokens), so its padding is not known; leave "
                "static caches and masks of your own out while states are read or steered."
            )
        real = mask.bool()
        self.place = torch.where(real, real.long().cumsum(1) - 1, -1)[:, -length:]
        if mask.shape[1] == length:
            batch = self.model.current
            self.prompt = real.sum(1) if batch is None else batch.prompt.to(real.device)
        if len(self.prompt) != size:  # several answers per row
            self.prompt = self.prompt.repeat_interleave(size // len(self.prompt))

    def row(self, b: int) -> Row | None:
        """The row behind line ``b`` of the pass, where it is known."""
        batch = self.model.current
        return None if batch is None else batch.rows[b * len(batch.rows) // len(self.place)]


def check_where(where: Where) -> Where:
    """Raise `InputError` unless `where_mask` takes it."""
    if isinstance(where, Tensor):
        if where.dtype != torch.bool or where.ndim not in (1, 2):
            raise InputError(
                f"A mask of {where.dtype}, shape {tuple(where.shape)}, was given; bool (T,) or (rows, T)."
            )
        return where
    kind, _, label = where.partition(":")
    if where in ("all", "generated", "last+generated") or (kind == "span" and label):
        return where
    if kind == "from" and label.isdigit():
        return where
    raise InputError(
        f"where={where!r} was given; choose all, generated, last+generated, from:<position>, span:<label> or a mask."
    )


def where_mask(where: Where, follower: Follower) -> Tensor:
    """Which tokens of the pass are meant, bool (B, T); never padding.

    ``last+generated`` holds the last token of the prompt, whose state predicts the first new one. A mask is in
    coordinates without padding, (T,) or (rows, T).
    """
    place, prompt = follower.place, follower.prompt[:, None]
    real = place >= 0
    if isinstance(where, Tensor):
        mask = where.to(place.device)
        if mask.ndim == 2:
            numbers = [b if (row := follower.row(b)) is None else row.index for b in range(len(place))]
            if max(numbers) >= len(mask):
                raise InputError(f"A mask for {len(mask)} rows was given, and row {max(numbers)} is read.")
            mask = mask[torch.tensor(numbers, device=place.device)]
        else:
            mask = mask.expand(len(place), -1)
        inside = real & (place < mask.shape[1])
        return inside & mask.gather(1, place.clamp(0, mask.shape[1] - 1))
    if where == "all":
        return real
    if where == "generated":
        return real & (place >= prompt)
    if where == "last+generated":
        return real & (place >= prompt - 1)
    kind, _, label = where.partition(":")
    if kind == "from":
        return real & (place >= int(label))
    mask = torch.zeros_like(real)
    for b in range(len(place)):
        row = follower.row(b)
        if row is None:
            raise InputError(
                f"where={where!r} needs rows with spans; read them through capture, generate or score."
            )
        if row.spans.get(label):
            mask[b] = torch.isin(place[b], torch.tensor(row.spans[label], device=place.device))
    return real & mask
