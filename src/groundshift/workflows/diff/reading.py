"""Everything that is read of one model; what a folder holds of it already is not read again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from transformers import GenerationConfig

from groundshift.adaptation import displacement as preferences
from groundshift.errors import InputError
from groundshift.models.activations import Acts, ProbeModel, capture, generate, score
from groundshift.models.activations.loading import DAMAGED, gguf_of, refuse_no_model, without_weights
from groundshift.models.decoding import unlike
from groundshift.models.tokens import text_of
from groundshift.workflows.diff import inside, words
from groundshift.workflows.diff.material import Material

__all__ = ["How", "Reading", "asked_of", "decode", "described", "folder_of", "is_adapter", "read"]


@dataclass
class Reading:
    """What one model gave: its answers and their scores, states of the same texts, and of statements, and pairs.

    Scores and states are memory maps of what ``work`` holds; scores of words are in memory.
    """

    answers: list[dict[str, Any]]
    own: Acts | words.Scored
    texts: Acts | None
    statements: Acts | None
    pairs: preferences.Reading | None


@dataclass(frozen=True)
class How:
    """How models are read; see `diff`.

    ``by_words`` says that their answers are compared by words, since they have different tokens.
    """

    probes: tuple[str, ...]
    max_new_tokens: int
    top_k: int
    progress: bool
    work: Path
    by_words: bool

    def score(self, model: ProbeModel, answers: Any, out: Path, **options: Any) -> Acts:
        """Log-probabilities of answers, with the likeliest tokens at each place."""
        top = min(self.top_k, model.net.config.get_text_config().vocab_size)
        return score(model, answers, top_k=top, out=out, progress=self.progress, **options)

    def score_again(self, model: ProbeModel, reading: Reading, out: Path) -> Acts | words.Scored:
        """Log-probabilities of another model's answers."""
        if isinstance(reading.own, Acts):
            return self.score(model, reading.answers, out)
        return words.score_texts(model, reading.answers, reading.own.texts, out=out, progress=self.progress)


def read(model: ProbeModel, name: str, material: Material, how: How, max_tokens: int = 8192) -> Reading:
    """Read a model; ``name`` is that of its folder."""
    folder, print_ = how.work / name, model.fingerprint()
    folder.mkdir(parents=True, exist_ok=True)
    shown: dict[str, Any] = {"max_tokens": max_tokens, "progress": how.progress}
    answers = _once(
        folder / "answers.json",
        [print_, material.prompts, how.max_new_tokens, model.net.generation_config.eos_token_id],
        lambda: generate(model, material.prompts, max_new_tokens=how.max_new_tokens, **shown),
    )  # fmt: skip
    own: Acts | words.Scored
    if how.by_words:
        own = words.score_texts(model, answers, words.written(model, answers), out=folder / "own", **shown)
    else:
        own = how.score(model, answers, folder / "own", max_tokens=max_tokens)
    sites = [f"resid_post.{k}" for k in inside.layers(len(model.layers))]
    texts = statements = None
    if "concepts" in how.probes:
        texts = capture(model, material.prompts, sites, "all", out=folder / "texts", **shown)
    if "truth" in how.probes and material.statements is not None:
        asked = material.statements["statement"].tolist()
        statements = capture(model, asked, sites, "last", out=folder / "statements", **shown)
    pairs = None
    if "displacement" in how.probes and (rows := material.pairs) is not None:
        if how.by_words:
            pairs = words.read_pairs(model, rows, out=folder / "pairs", **shown)
        else:
            kept = _once(
                folder / "pairs.json", [print_, rows], lambda: _pairs(model, rows, material.plain, shown)
            )
            found = kept.pop("words")
            pairs = preferences.Reading(**{k: np.array(v) for k, v in kept.items()}, words=found)
    return Reading(answers, own, texts, statements, pairs)


def decode(
    model: ProbeModel, material: Material, how: How, files: Sequence[GenerationConfig], seed: int
) -> dict[str, Any] | None:
    """What the settings that two models' files decode by change, with the weights of the first alone; None where they
    are alike.

    Returns
    -------
    dict
        ``settings`` (name → base's and tuned one's), ``answers`` (share of prompts that are answered otherwise; None if
        it was not measured), ``examples`` (prompt, before, after), ``sentence``
    """
    found = unlike(*files, ids=not how.by_words)
    if not found:
        return None
    told = ", ".join(
        f"{name} {_value(after)} (base: {_value(before)})" for name, (before, after) in found.items()
    )
    made: dict[str, Any] = {
        "settings": {name: {"base": before, "tuned": after} for name, (before, after) in found.items()},
        "answers": None,
        "examples": [],
        "sentence": f"The files decode differently: {told}",
    }
    if how.by_words:
        return made | {"sentence": made["sentence"] + "."}

    def both() -> list[list[str]]:
        return [
            [
                row["completion"]
                for row in generate(
                    model, material.prompts, max_new_tokens=how.max_new_tokens, seed=seed, config=config,
                    progress=how.progress,
                )
            ]
            for config in files
        ]  # fmt: skip

    folder = how.work / "base"
    key = [model.fingerprint(), material.prompts, how.max_new_tokens, seed, [c.to_dict() for c in files]]
    try:
        before, after = _once(folder / "decoding.json", key, both)
    except (ValueError, NotImplementedError, TypeError) as error:
        if isinstance(error, InputError):
            raise
        why = str(error).strip().splitlines()[0]
        return made | {"sentence": f"{made['sentence']}; the base cannot be decoded so here ({why})."}
    other = [i for i, (a, b) in enumerate(zip(before, after, strict=True)) if a != b]
    share = len(other) / len(before)
    return made | {
        "answers": share,
        "examples": [
            {"prompt": asked_of(material.prompts[i]), "before": before[i], "after": after[i]}
            for i in other[:3]
        ],
        "sentence": f"{made['sentence']}; by that alone the base's weights answer {share:.0%} of the prompts "
        "otherwise.",
    }


def _value(value: Any) -> str:
    return "none" if value is None or value == [] else str(value)


def asked_of(row: Any) -> str:
    """The text of a prompt, for a reader."""
    if isinstance(row, str):
        return row
    chat = row.get("messages") or row.get("prompt")
    return text_of(chat[-1]) if isinstance(chat, list) else str(row.get("text", chat))


def _pairs(model: ProbeModel, rows: Sequence[Any], plain: bool, shown: dict[str, Any]) -> dict[str, Any]:
    found = preferences.read(model, rows, template="none" if plain else "auto", end=not plain, **shown)
    arrays = {k: getattr(found, k).tolist() for k in ("rows", "logprobs", "tokens", "mass")}
    return arrays | {"words": found.words}


def _once(file: Path, made_of: Any, make: Callable[[], Any]) -> Any:
    """What ``make`` gives, kept as JSON; a file that was made of something else is an error."""
    key = hashlib.sha256(json.dumps(made_of, sort_keys=True, default=str).encode()).hexdigest()
    if file.is_file():
        held = json.loads(file.read_text())
        if held["key"] != key:
            raise InputError(f"{file.parent} holds readings of another comparison; name another folder.")
        return held["made"]
    made = make()
    waiting = file.with_suffix(".new")
    waiting.write_text(json.dumps({"key": key, "made": made}))
    waiting.replace(file)
    return made


def is_adapter(source: str | Path) -> bool:
    """Whether a directory holds an adapter and no model."""
    return (Path(source) / "adapter_config.json").is_file()


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
