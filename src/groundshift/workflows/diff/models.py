"""Everything that is read of one model; what a folder holds of it already is not read again."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

from transformers import GenerationConfig

from groundshift.errors import InputError
from groundshift.models.activations import Acts, ProbeModel, encode, generate, score
from groundshift.models.activations.loading import DAMAGED, gguf_of, refuse_no_model, without_weights
from groundshift.models.activations.pairs import is_adapter
from groundshift.models.decoding import unlike
from groundshift.models.tokens import text_of
from groundshift.workflows.diff import words
from groundshift.workflows.diff.probes import ALL, How
from groundshift.workflows.diff.probes.probe import kept_json

__all__ = [
    "Reading",
    "decode",
    "described",
    "folder_of",
    "prompt_text",
    "read",
    "read_again",
    "refuse_too_long",
    "seconds_of",
]


@dataclass
class Reading:
    """What one model gave: its answers, their scores, and what each probe read.

    Scores and states are memory maps of what ``work`` holds; scores of words are in memory.
    """

    answers: list[dict[str, Any]]
    own: Acts | words.Scored
    probes: dict[str, Any]


def read(
    model: ProbeModel, name: str, materials: Mapping[str, Any], how: How, max_tokens: int = 8192
) -> Reading:
    """Read a model; ``name`` is that of its folder, ``materials`` what each probe reads."""
    began = time.monotonic()
    how = replace(how, identity=model.fingerprint())
    folder = how.work / name
    folder.mkdir(parents=True, exist_ok=True)
    shown: dict[str, Any] = {"max_tokens": max_tokens, "progress": how.progress}
    answers = kept_json(
        folder / "answers.json",
        [how.identity, how.prompts, how.max_new_tokens, model.net.generation_config.eos_token_id],
        lambda: generate(model, how.prompts, max_new_tokens=how.max_new_tokens, **shown),
    )
    own: Acts | words.Scored
    if how.by_words:
        own = words.score_texts(model, answers, words.written(model, answers), out=folder / "own", **shown)
    else:
        own = _score(model, answers, folder / "own", how, max_tokens=max_tokens)
    probes: dict[str, Any] = {}
    how = replace(how, answers=answers)
    for key, material in materials.items():
        # The first model decides what the budget suffices for: all others are asked the same.
        if name == "tuned" and how.budget is not None and time.monotonic() - began > how.budget:
            break
        probes[key] = ALL[key].read(model, material, how, folder, shown)
    return Reading(answers, own, probes)


def seconds_of(budget: str | None) -> float | None:
    """A time such as "90s", "20m" or "1.5h" in seconds.

    >>> seconds_of("20m")
    1200.0
    """
    if budget is None:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh])", budget.strip())
    if match is None or not float(match[1]):
        raise InputError(f"budget={budget!r} was given; write a time such as 90s, 20m or 1h.")
    return float(match[1]) * {"s": 1, "m": 60, "h": 3600}[match[2]]


def read_again(model: ProbeModel, reading: Reading, out: Path, how: How) -> Acts | words.Scored:
    """Log-probabilities of another model's answers."""
    if isinstance(reading.own, Acts):
        return _score(model, reading.answers, out, how)
    return words.score_texts(model, reading.answers, reading.own.texts, out=out, progress=how.progress)


def _score(model: ProbeModel, answers: Any, out: Path, how: How, **options: Any) -> Acts:
    """Log-probabilities of answers, with the likeliest tokens at each place."""
    top = min(how.top_k, model.net.config.get_text_config().vocab_size)
    return score(model, answers, top_k=top, out=out, progress=how.progress, **options)


def refuse_too_long(
    model: ProbeModel, prompts: Sequence[Any], materials: Mapping[str, Any], max_new_tokens: int
) -> None:
    """Count the tokens of everything that a model, which may be without its weights, is going to read.

    Raises
    ------
    InputError
        The first row that does not fit the model's context, with its tokens and the limit.
    """
    limit = model.context
    if limit is None:
        return
    for i, row in enumerate(encode(model, prompts)):
        if len(row) + max_new_tokens > limit:
            _refuse(model, "Prompt", i, len(row), f", which leaves no room for {max_new_tokens} more")
    for key, material in materials.items():
        kind, lengths = ALL[key].lengths(model, material)
        for i, length in enumerate(lengths):
            if length > limit:
                _refuse(model, kind, i, length)


def _refuse(model: ProbeModel, kind: str, row: int, length: int, why: str = "") -> NoReturn:
    raise InputError(
        f"{kind} {row} (the first is 0) has {length} tokens{why}: {model.source} reads {model.context}. Shorten it or "
        "leave it out."
    )


def decode(model: ProbeModel, how: How, files: Sequence[GenerationConfig]) -> dict[str, Any] | None:
    """What the settings that two models' files decode by change, with the weights of the first alone; None where they
    are alike.

    Returns
    -------
    dict
        ``settings`` (name → base's and tuned one's), ``answers`` (share of prompts that are answered otherwise; None if
        it was not measured), ``examples`` (prompt, before, after), ``sentence``
    """
    differences = unlike(*files, ids=not how.by_words)
    if not differences:
        return None
    listing = ", ".join(
        f"{name} {_value(after)} (base: {_value(before)})" for name, (before, after) in differences.items()
    )
    content: dict[str, Any] = {
        "settings": {name: {"base": before, "tuned": after} for name, (before, after) in differences.items()},
        "answers": None,
        "examples": [],
        "sentence": f"The files decode differently: {listing}",
    }
    if how.by_words:
        return content | {"sentence": content["sentence"] + "."}

    def both() -> list[list[str]]:
        return [
            [
                row["completion"]
                for row in generate(
                    model, how.prompts, max_new_tokens=how.max_new_tokens, seed=how.seed, config=config,
                    progress=how.progress,
                )
            ]
            for config in files
        ]  # fmt: skip

    folder = how.work / "base"
    key = [model.fingerprint(), how.prompts, how.max_new_tokens, how.seed, [c.to_dict() for c in files]]
    try:
        before, after = kept_json(folder / "decoding.json", key, both)
    except (ValueError, NotImplementedError, TypeError) as error:
        if isinstance(error, InputError):
            raise
        why = str(error).strip().splitlines()[0]
        return content | {"sentence": f"{content['sentence']}; the base cannot be decoded so here ({why})."}
    other = [i for i, (a, b) in enumerate(zip(before, after, strict=True)) if a != b]
    share = len(other) / len(before)
    return content | {
        "answers": share,
        "examples": [
            {"prompt": prompt_text(how.prompts[i]), "before": before[i], "after": after[i]} for i in other[:3]
        ],
        "sentence": f"{content['sentence']}; by that alone the base's weights answer {share:.0%} of the prompts "
        "otherwise.",
    }


def _value(value: Any) -> str:
    return "none" if value is None or value == [] else str(value)


def prompt_text(row: Any) -> str:
    """The text of a prompt, for a reader."""
    if isinstance(row, str):
        return row
    chat = row.get("messages") or row.get("prompt")
    return text_of(chat[-1]) if isinstance(chat, list) else str(row.get("text", chat))


def described(
    source: str | Path, trust_remote_code: bool, trust_pickle: bool, base: str | Path | None = None
) -> ProbeModel:
    """A model without its weights: its configuration and tokenizer, those of the base where an adapter has none."""
    from transformers import AutoConfig  # after groundshift.models, which decides on its bars

    refuse_no_model(str(source), trust_pickle)
    root = source
    if is_adapter(source):
        if base is None:
            raise InputError(
                f"{source} is an adapter; give the directory of its base, and the adapter second."
            )
        root = base
    hub: dict[str, Any] = {"trust_remote_code": trust_remote_code}
    place: Any = root
    if packed := gguf_of(str(root)):
        place, hub["gguf_file"] = packed
    try:
        config = AutoConfig.from_pretrained(place, **hub)
    except (*DAMAGED, ImportError) as error:
        what = "a model" if Path(root).is_dir() else "a folder here, nor a model of the hub"
        raise InputError(f"{root} is not {what} that can be read: {str(error).splitlines()[0]}") from error
    return without_weights(
        source, config, base=None if root is source else root, trust_remote_code=trust_remote_code
    )


def folder_of(source: str | Path) -> Path:
    """The files of a directory or a GGUF file, or of a model on the hub."""
    if Path(source).exists():
        return Path(source)
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(str(source), allow_patterns=["*.safetensors", "*.json"]))
