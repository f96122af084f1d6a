"""What two model directories share, and which weights moved: read from their files, one tensor at a time."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
        described = self.folder / "adapter_config.json"
        if described.is_file():
            self.adapter = json.loads(described.read_text())
            under = Path(base or self.adapter.get("base_model_name_or_path") or "")
            self._files = _index(under)
            self._lora = _index(self.folder)
        else:
            self._files, self._lora = _index(self.folder), {}

    def names(self) -> list[str]:
        """All tensors, those of the base under an adapter."""
        return sorted(self._files)

    def __getitem__(self, name: str) -> Tensor:
        """A tensor in float32; of the base, under an adapter."""
        return _stored(self._files[name], name).float()

    @property
    def float32(self) -> bool:
        """Whether the weights are stored in single precision."""
        name, file = next(iter(self._files.items()))
        return _stored(file, name).dtype == torch.float32

    def touched(self, name: str) -> bool:
        """Whether an adapter changes the tensor."""
        return f"base_model.model.{name.removesuffix('.weight')}.lora_A.weight" in self._lora

    def delta(self, name: str) -> Tensor:
        """What the adapter adds: α/r · B A."""
        assert self.adapter is not None
        stem = f"base_model.model.{name.removesuffix('.weight')}"
        A, B = (
            _stored(self._lora[key], key).float()
            for key in (f"{stem}.lora_A.weight", f"{stem}.lora_B.weight")
        )
        r, alpha = self.adapter["r"], self.adapter["lora_alpha"]
        scale = alpha / (r**0.5 if self.adapter.get("use_rslora") else r)
        found = scale * (B @ A)
        return found.T if self.adapter.get("fan_in_fan_out") else found


@dataclass(frozen=True)
class Compatibility:
    """What can be compared.

    Attributes
    ----------
    architecture : whether weights and states can be
    notes : what differs, in words
    """

    architecture: bool
    notes: tuple[str, ...]


def compatibility(base: Any, tuned: Any) -> Compatibility:
    """Compare configuration, vocabulary, special tokens and chat template of two loaded models.

    Parameters
    ----------
    base, tuned : pairs (config, tokenizer)

    Raises
    ------
    InputError
        Other vocabularies.
    """
    (one, words), (other, new_words) = base, tuned
    if unlike := words.get_vocab().items() ^ new_words.get_vocab().items():
        some = ", ".join(repr(token) for token in sorted({token for token, _ in unlike})[:4])
        raise InputError(
            f"The two models have other vocabularies ({len(words):,} and {len(new_words):,} tokens; not the same: "
            f"{some}), so their tokens and states cannot be compared. Compare their answers with `inspect eval` and "
            "`groundshift answers compare`."
        )
    notes = []
    keys = ("model_type", "hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size")
    values = [[getattr(config.get_text_config(), k, None) for k in keys] for config in (one, other)]
    differ = [f"{k} ({a} and {b})" for k, a, b in zip(keys, *values, strict=True) if a != b]
    if differ:
        notes.append(f"The architectures differ in {', '.join(differ)}: weights and states are not compared.")
    if words.special_tokens_map != new_words.special_tokens_map:
        notes.append("The special tokens differ, the vocabularies do not.")
    if getattr(words, "chat_template", None) != getattr(new_words, "chat_template", None):
        notes.append("The chat templates differ: each model is asked through its own.")
    return Compatibility(not differ, tuple(notes))


def weight_map(base: Weights, tuned: Weights) -> pd.DataFrame:
    """The change of every tensor that both hold: a row each.

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
    return pd.DataFrame(list(_changes(base, tuned, names)))


def _changes(base: Weights, tuned: Weights, names: list[str]) -> Iterator[dict[str, Any]]:
    for name in names:
        before = base[name]
        if tuned.adapter is not None:
            change = tuned.delta(name) if tuned.touched(name) else torch.zeros(1)
        else:
            after = tuned[name]
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
                for part in weight.view(-1).split(AT_ONCE):
                    noise = torch.randn(len(part), generator=generator) * (norm / entries**0.5)
                    part += noise.to(weight.device, weight.dtype)
    return unknown


def _index(folder: Path) -> dict[str, Path]:
    files = sorted(folder.glob("*.safetensors")) or sorted(folder.glob("*_model*.bin"))
    if not files:
        raise InputError(f"{folder} holds no safetensors; save the model there with save_pretrained.")
    found: dict[str, Path] = {}
    for file in files:
        if file.suffix == ".bin":
            found.update(dict.fromkeys(_pickled(file), file))
        else:
            with safe_open(file, "pt") as held:
                found.update(dict.fromkeys(held.keys(), file))
    return found


def _stored(file: Path, name: str) -> Tensor:
    """A tensor as it is stored, mapped and not copied."""
    if file.suffix == ".bin":
        return _pickled(file)[name]
    with safe_open(file, "pt") as held:
        return held.get_tensor(name)


def _pickled(file: Path) -> dict[str, Tensor]:
    return torch.load(file, map_location="cpu", mmap=True, weights_only=True)
