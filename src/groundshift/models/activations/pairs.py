"""Two models of one training: the base, and the model that was tuned from it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from groundshift.errors import InputError
from groundshift.models.activations.loading import ProbeModel, load_model, load_tokenizer

__all__ = ["before_and_after", "is_adapter", "open_model"]


def is_adapter(source: str | Path) -> bool:
    """Whether a directory holds an adapter and no model."""
    return (Path(source) / "adapter_config.json").is_file()


def open_model(source: Any, base: Any = None, **loading: Any) -> ProbeModel:
    """A model in memory as it is; a directory or id loaded, an adapter on its base."""
    if isinstance(source, ProbeModel):
        return source
    adapter = is_adapter(source) and isinstance(base, str | Path)
    return load_model(source, base=base if adapter else None, **loading)


def before_and_after(base: Any, tuned: Any, **loading: Any) -> Iterator[tuple[str, ProbeModel]]:
    """The base, then the tuned model (an adapter on the base), one of them in memory at a time.

    Raises
    ------
    InputError
        Tokenizers that differ; a model that cannot be loaded.
    """
    homes = [
        m
        for m in (base, tuned)
        if isinstance(m, str | Path) and (Path(m) / "tokenizer_config.json").is_file()
    ]
    if len(homes) == 2:  # told before any weight is read
        _one_vocabulary(*((str(home), load_tokenizer(home).get_vocab()) for home in homes))
    model = open_model(base, **loading)
    own = model.source, model.tokenizer.get_vocab()
    yield "base", model
    del model
    model = open_model(tuned, base, **loading)
    _one_vocabulary(own, (model.source, model.tokenizer.get_vocab()))
    yield "tuned", model


def _one_vocabulary(base: tuple[str, dict[str, int]], tuned: tuple[str, dict[str, int]]) -> None:
    (one, a), (other, b) = base, tuned
    different = [token for token, k in a.items() if b.get(token, -1) != k]
    if different:
        raise InputError(
            f"The tokenizers of {one} ({len(a):,} tokens) and {other} ({len(b):,}) differ (first: {different[0]!r}): "
            "their words are not the same. The densities of such models can still be compared."
        )
