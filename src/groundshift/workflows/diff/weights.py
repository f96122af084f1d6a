"""What two model directories share, and which weights moved: read from their files, one tensor at a time."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import torch
from safetensors import safe_open
from torch import Tensor, nn

from groundshift.errors import InputError

__all__ = ["Compatibility", "Weights", "add_noise", "compatibility", "weight_map"]

AT_ONCE = 2**22
"""Entries of a weight that get their noise at once."""


class Weights:
    """The tensors of a model directory by name, read when they are asked for; a LoRA adapter on its base alike.

    Parameters
    ----------
    folder : directory with safetensors (or trusted pickles), or of a peft adapter
    base : directory of the model under the adapter
    """

    def __init__(self, folder: str | Path, base: str | Path | None = None) -> None:
        self.folder = Path(folder)
        self.adapter: dict[str, Any] | None = None
        self._lora: _Files | dict[str, Tensor] = {}
        described = self.folder / "adapter_config.json"
        if described.is_file():
            self.adapter = json.loads(described.read_text())
            under = Path(base or self.adapter.get("base_model_name_or_path") or "")
            self._files = _Files(under)
            self._lora = _Files(self.folder)
        else:
            self._files = _Files(self.folder)

    def names(self) -> list[str]:
        """All tensors, those of the base under an adapter."""
        return sorted(self._files)

    def __getitem__(self, name: str) -> Tensor:
        """A tensor in float32; of the base, under an adapter."""
        return self._files[name].float()

    @property
    def float32(self) -> bool:
        """Whether the weights are stored in single precision."""
        return self._files[next(iter(self._files))].dtype == torch.float32

    def touched(self, name: str) -> bool:
        """Whether an adapter changes the tensor."""
        return f"base_model.model.{name.removesuffix('.weight')}.lora_A.weight" in self._lora

    def delta(self, name: str) -> Tensor:
        """What the adapter adds: α/r · B A."""
        assert self.adapter is not None
        stem = f"base_model.model.{name.removesuffix('.weight')}"
        A, B = (self._lora[key].float() for key in (f"{stem}.lora_A.weight", f"{stem}.lora_B.weight"))
        r, alpha = self.adapter["r"], self.adapter["lora_alpha"]
        scale = alpha / (r**0.5 if self.adapter.get("use_rslora") else r)
        found = scale * (B @ A)
        return found.T if self.adapter.get("fan_in_fan_out") else found


@dataclass(frozen=True)
class Compatibility:
    """What can be compared.

    Attributes
    ----------
    architecture : whether blocks and states have the same sizes
    vocabulary : "same"; "added": the tuned model has all of the base's tokens under their ids, and more; or "other"
    rows : of the base's embeddings, of the tuned model's, and how many of them are the same tokens
    notes : what differs, in words
    """

    architecture: bool
    vocabulary: Literal["same", "added", "other"]
    rows: tuple[int, int, int]
    notes: tuple[str, ...]

    @property
    def weights(self) -> bool:
        """Whether there is a map of the weights, and noise of the tuning's size."""
        return self.architecture and self.vocabulary != "other"

    @property
    def tokens(self) -> bool:
        """Whether the models' tokens are the same; if not, words of text are compared."""
        return self.vocabulary == "same"


KEYS = ("model_type", "hidden_size", "num_hidden_layers", "num_attention_heads")


def compatibility(base: Any, tuned: Any) -> Compatibility:
    """Compare configuration, vocabulary, special tokens and chat template of two loaded models.

    Parameters
    ----------
    base, tuned : pairs (config, tokenizer)

    Raises
    ------
    InputError
        Different vocabularies, and a tokenizer that does not say which characters its tokens stand for.
    """
    (one, words), (other, new_words) = base, tuned
    own, new = words.get_vocab(), new_words.get_vocab()
    vocabulary: Literal["same", "added", "other"] = "added" if own.items() <= new.items() else "other"
    vocabulary = "same" if own == new else vocabulary
    slow = [type(tokenizer).__name__ for tokenizer in (words, new_words) if not tokenizer.is_fast]
    if vocabulary != "same" and slow:
        raise InputError(
            f"The two models have different vocabularies ({len(own):,} and {len(new):,} tokens), so their "
            f"answers are compared by words, and {slow[0]} does not say which characters its tokens stand for; save "
            "the fast tokenizer (use_fast=True) beside each model."
        )
    notes = []
    values = [[getattr(config.get_text_config(), k, None) for k in KEYS] for config in (one, other)]
    differ = [f"{k} ({a} and {b})" for k, a, b in zip(KEYS, *values, strict=True) if a != b]
    if differ:
        notes.append(f"The architectures differ in {', '.join(differ)}: weights and states are not compared.")
    rows = (one.get_text_config().vocab_size, other.get_text_config().vocab_size)
    shared = min(*rows, max(own.values()) + 1) if vocabulary == "added" else min(rows)
    if vocabulary == "same" and words.special_tokens_map != new_words.special_tokens_map:
        notes.append("The special tokens differ, the vocabularies do not.")
    if vocabulary != "same":
        notes += _of_vocabularies(own, new, vocabulary)
    if not differ and vocabulary != "other" and rows[0] != rows[1]:
        notes.append(
            f"The embeddings have {rows[0]:,} rows in the base and {rows[1]:,} in the tuned model; the first "
            f"{shared:,} are compared."
        )
    templates = [getattr(tokenizer, "chat_template", None) for tokenizer in (words, new_words)]
    if templates[0] != templates[1]:
        notes.append(_of_templates(*templates))
    return Compatibility(not differ, vocabulary, (*rows, shared), tuple(notes))


def _of_vocabularies(own: Mapping[str, int], new: Mapping[str, int], vocabulary: str) -> list[str]:
    unlike = sorted({token for token, _ in own.items() ^ new.items()})
    some = ", ".join(repr(token) for token in unlike[:4]) + (", …" if len(unlike) > 4 else "")
    if vocabulary == "added":
        told = f"The tuned model has {len(unlike):,} tokens that its base does not have ({some})"
    else:
        told = f"The vocabularies differ ({len(own):,} and {len(new):,} tokens; not the same: {some})"
    noted = [
        f"{told}: answers are compared by the words of their text, which each model reads with its own tokenizer. "
        "Shifted and moved tokens and the divergence need the same tokens, concepts the same positions: left out."
    ]
    if vocabulary == "other":
        noted.append("The rows of the embeddings are other tokens: weights are not compared.")
    return noted


def _of_templates(base: str | None, tuned: str | None) -> str:
    if base and tuned:
        return "The chat templates differ: each model is asked through its own."
    has, lacks = ("base", "tuned model") if base else ("tuned model", "base")
    return f"The {lacks} has no chat template: it reads chats through that of the {has}."


def weight_map(base: Weights, tuned: Weights, rows: tuple[int, int, int] | None = None) -> pd.DataFrame:
    """The change of every tensor that both hold: a row each.

    Parameters
    ----------
    rows : see `Compatibility`; of embeddings of other lengths the shared rows are compared

    Returns
    -------
    DataFrame with tensor, layer (-1 outside the blocks), entries, change (Frobenius norm), relative (over the base's),
    rank (effective rank of the change: (Σ σ²)² / Σ σ⁴ of its singular values, which is the rank where they are equal;
    nan for vectors and for what did not move)

    Raises
    ------
    InputError
        No tensor in common, or one of another shape.
    """
    names = sorted(set(base.names()) & set(tuned.names()))
    if not names:
        raise InputError(f"{base.folder} and {tuned.folder} have no tensor of the same name.")
    return pd.DataFrame(list(_changes(base, tuned, names, rows)))


def _changes(
    base: Weights, tuned: Weights, names: list[str], rows: tuple[int, int, int] | None
) -> Iterator[dict[str, Any]]:
    for name in names:
        before = base[name]
        if tuned.adapter is not None:
            change = tuned.delta(name) if tuned.touched(name) else torch.zeros(1)
        else:
            after = tuned[name]
            if before.shape != after.shape and rows and (*before.shape[:1], *after.shape[:1]) == rows[:2]:
                before, after = before[: rows[2]], after[: rows[2]]
            if after.shape != before.shape:
                raise InputError(f"{name} has the shapes {tuple(before.shape)} and {tuple(after.shape)}.")
            change = after - before
        norm = float(change.norm())
        layer = re.search(r"\.(?:layers|h|blocks)\.(\d+)\.", f".{name}")
        yield {
            "tensor": name,
            "layer": int(layer[1]) if layer else -1,
            "entries": before.numel(),
            "change": norm,
            "relative": norm / max(float(before.norm()), 1e-12),
            "rank": _effective_rank(change) if norm else float("nan"),
        }


def _effective_rank(change: Tensor) -> float:
    if change.ndim != 2 or min(change.shape) < 2:
        return float("nan")
    # From one product, not from the singular values, which take ten times as long. Squares also keep out the roundoff
    # of a change stored in half precision: it has full rank, and is small in every direction.
    unit = change / change.norm()
    gram = unit @ unit.T if unit.shape[0] < unit.shape[1] else unit.T @ unit
    return float(1 / gram.norm() ** 2)


def add_noise(net: nn.Module, changes: Mapping[str, tuple[float, int]], seed: int) -> list[str]:
    """Add to each weight Gaussian noise as long as the tuning's own change of it, in place.

    Parameters
    ----------
    changes : norm of the change and number of entries by name of the tensor

    Returns
    -------
    list of str
        Names that the network does not have; they got no noise.
    """
    generator = torch.Generator().manual_seed(seed)
    weights = dict(net.state_dict(keep_vars=True))
    unknown = []
    with torch.no_grad():
        for name, (norm, entries) in changes.items():
            weight = weights.get(name)
            if weight is None:
                unknown.append(name)
            elif norm:
                # Of embeddings with rows that are not shared, those come last.
                for part in weight.view(-1)[:entries].split(AT_ONCE):
                    noise = torch.randn(len(part), generator=generator) * (norm / entries**0.5)
                    part += noise.to(weight.device, weight.dtype)
    return unknown


class _Files:
    """The tensors of a directory by name, as they are stored: mapped, not copied.

    Pickles are opened once, for good; safetensors for each tensor, so that what was read does not stay in memory.
    """

    def __init__(self, folder: Path) -> None:
        files = sorted(folder.glob("*.safetensors")) or sorted(folder.glob("*_model*.bin"))
        if not files:
            raise InputError(f"{folder} holds no safetensors; save the model there with save_pretrained.")
        self._where: dict[str, Path | dict[str, Tensor]] = {}
        for file in files:
            if file.suffix == ".bin":
                held = torch.load(file, map_location="cpu", mmap=True, weights_only=True)
                self._where |= dict.fromkeys(held, held)
            else:
                with safe_open(file, "pt") as opened:
                    self._where |= dict.fromkeys(opened.keys(), file)

    def __iter__(self) -> Iterator[str]:
        return iter(self._where)

    def __contains__(self, name: str) -> bool:
        return name in self._where

    def __getitem__(self, name: str) -> Tensor:
        place = self._where[name]
        if isinstance(place, dict):
            return place[name]
        with safe_open(place, "pt") as opened:
            return opened.get_tensor(name)
