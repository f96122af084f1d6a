"""How a model decodes: the settings of this library, and what a model's own files say instead."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from transformers import GenerationConfig

from groundshift.errors import InputError

__all__ = ["decoding", "ends_of", "filed", "unlike"]

SAMPLING = {"temperature", "top_k", "top_p", "min_p", "top_h", "typical_p", "epsilon_cutoff", "eta_cutoff"}
"""Settings without effect where nothing is sampled."""
IDS = {"eos_token_id", "bad_words_ids", "suppress_tokens", "begin_suppress_tokens", "sequence_bias"} | {
    "forced_bos_token_id",
    "forced_eos_token_id",
}
"""Settings in ids, which mean something else to another tokenizer."""
SILENT = (
    "_",
    "transformers_version",
    "pad_",
    "bos_",
    "use_cache",
    "cache_",
    "max_cache",
    "output_",
    "return_dict",
)
"""What the names of settings begin with that change no answer."""


@contextlib.contextmanager
def decoding(net: Any, settings: GenerationConfig) -> Iterator[None]:
    """``net.generate`` decodes by these settings alone.

    Settings that are left open here would else be taken from the model's ``generation_config.json``, also where others
    are passed to ``generate``.
    """
    before = net.generation_config
    net.generation_config = settings
    try:
        yield
    finally:
        net.generation_config = before


def ends_of(settings: GenerationConfig, tokenizer: Any = None) -> list[int]:
    """The tokens that end an answer: those of generation settings, which know a chat's end of turn, else the
    tokenizer's end token.
    """
    ends = settings.eos_token_id
    if ends is None:
        ends = getattr(tokenizer, "eos_token_id", None)
    return [] if ends is None else [ends] if isinstance(ends, int) else list(ends)


def filed(source: str | Path, config: Any) -> GenerationConfig:
    """The settings that the files of a model decode by, as transformers reads them.

    Parameters
    ----------
    source : directory or id of the model
    config : its configuration, which speaks where there is no ``generation_config.json``

    Raises
    ------
    InputError
        Settings that transformers refuses.
    """
    try:
        return GenerationConfig.from_pretrained(str(source))
    except OSError:
        return GenerationConfig.from_model_config(config)
    except ValueError as error:
        raise InputError(
            f"The generation_config.json of {source} is refused: {str(error).splitlines()[0]}"
        ) from error


def unlike(
    first: GenerationConfig, second: GenerationConfig, *, ids: bool = True
) -> dict[str, tuple[Any, Any]]:
    """Settings by which two models decode differently, with the two values.

    Parameters
    ----------
    ids : compare settings in token ids, too: the models have the same tokens

    Examples
    --------
    >>> unlike(GenerationConfig(), GenerationConfig(repetition_penalty=1.5, temperature=0.7))
    {'repetition_penalty': (1.0, 1.5)}
    """
    usual = GenerationConfig()._get_default_generation_params()
    one, other = (
        {k: usual.get(k) if v is None else v for k, v in held.to_dict().items()} for held in (first, second)
    )
    sampled = bool(one.get("do_sample") or other.get("do_sample"))
    differences = {}
    for name in sorted(set(one) | set(other)):
        if name.startswith(SILENT) or (name in IDS and not ids) or (name in SAMPLING and not sampled):
            continue
        values = one.get(name), other.get(name)
        if name == "eos_token_id":
            values = tuple([v] if isinstance(v, int) else sorted(v or []) for v in values)  # type: ignore[assignment]
        if values[0] != values[1]:
            differences[name] = values
    return differences
