"""What two models share, and which weights moved: by the names of the network, one tensor at a time."""

from __future__ import annotations

import re
import warnings
from collections import defaultdict
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import torch
from safetensors import safe_open
from torch import Tensor, nn
from transformers import AutoConfig
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import (
    WeightConverter,
    WeightRenaming,
    dot_natural_key,
    rename_source_key,
)
from transformers.utils.loading_report import LoadStateDictInfo

from groundshift.errors import InputError
from groundshift.models.activations.loading import (
    DAMAGED,
    empty_network,
    gguf_of,
    load_network,
)
from groundshift.models.activations.pairs import is_adapter
from groundshift.models.files import damaged, shards_of, unlike

__all__ = ["Compatibility", "Packed", "Weights", "add_noise", "compatibility", "unpacked", "weight_map"]

AT_ONCE = 2**22
"""Entries of a weight that get their noise at once."""
SAMPLED = 2**16
"""Entries of a weight on which the effect of noise after rounding is measured."""


class Weights:
    """The tensors of a model under the names that its network has for them, whatever those of its files.

    Experts that are kept one by one are one tensor, tied weights have both their names. Those of a model directory are
    read when they are asked for; an adapter is merged into its base by PEFT, and a quantised model is unpacked by
    transformers, in memory.

    Parameters
    ----------
    folder : directory with safetensors (or trusted pickles), or of a PEFT adapter; a GGUF file
    base : directory of the model under the adapter
    trust_remote_code, trust_pickle, allow_missing : see `groundshift.models.activations.load_model`

    Raises
    ------
    InputError
        Tensors that are missing, unexpected or of another shape; see also `load_model`.
    """

    def __init__(
        self,
        folder: str | Path,
        base: str | Path | None = None,
        *,
        trust_remote_code: bool = False,
        trust_pickle: bool = False,
        allow_missing: bool = False,
    ) -> None:
        self.folder = Path(folder)
        self._held: _Files | dict[str, Tensor]
        try:
            self._open(base, trust_remote_code, trust_pickle, allow_missing)
        except DAMAGED as error:
            raise damaged(str(folder), error) from error

    def _open(
        self, base: str | Path | None, trust_remote_code: bool, trust_pickle: bool, allow_missing: bool
    ) -> None:
        folder = self.folder
        adapter = is_adapter(folder)
        config = (
            None
            if adapter or gguf_of(str(folder))
            else AutoConfig.from_pretrained(folder, trust_remote_code=trust_remote_code)
        )
        self.quantised = (config is None and not adapter) or bool(
            getattr(config, "quantization_config", None)
        )
        if adapter or self.quantised:
            net, *_ = load_network(
                str(folder), base=base if adapter else None, device="cpu", trust_remote_code=trust_remote_code,
                trust_pickle=trust_pickle, allow_missing=allow_missing,
            )  # fmt: skip
            net = _merged(net) if adapter else unpacked(net)
            self._held = net.state_dict()
            self._tied = {
                name: other
                for name, other in net.all_tied_weights_keys.items()
                if torch.equal(self._held[name], self._held[other])
            }
        else:
            assert config is not None
            net = empty_network(config, str(folder), trust_remote_code)
            self._held = _Files(self.folder, net, allow_missing)
            self._tied = {
                name: other for name, other in net.all_tied_weights_keys.items() if name not in self._held
            }

    def names(self) -> list[str]:
        """All tensors, those with two names once."""
        return sorted(name for name in self._held if name not in self._tied)

    def __contains__(self, name: str) -> bool:
        return self._tied.get(name, name) in self._held

    def __getitem__(self, name: str) -> Tensor:
        """A tensor in float32."""
        return self._held[self._tied.get(name, name)].float()

    @property
    def float32(self) -> bool:
        """Whether the weights are stored in single precision."""
        return self._held[self.names()[0]].dtype == torch.float32


class Packed(InputError):
    """Quantised weights that cannot be compared with others, though the model can be read."""


def unpacked(net: Any) -> Any:
    """A network whose quantised weights are ordinary ones again.

    Raises
    ------
    Packed
        transformers and the weights themselves do not know how.
    """
    if not getattr(net, "is_quantized", False):
        return net
    try:
        return net.dequantize()
    except NotImplementedError as error:
        packed = [(name, w) for name, w in net.named_parameters() if type(w) is not nn.Parameter]
        if not packed:
            raise Packed(
                f"The weights of {net.name_or_path} are quantised in a way that cannot be undone."
            ) from error
        for name, weight in packed:  # classes of torchao
            parent, _, leaf = name.rpartition(".")
            setattr(net.get_submodule(parent), leaf, nn.Parameter(weight.dequantize(), requires_grad=False))
        return net


def _merged(tuned: Any) -> Any:
    """The network that PEFT makes of a base and its adapter; tied weights are merged apart, since an adapter of one of
    them leaves the other alone.
    """
    _untie(tuned, list(tuned.state_dict()))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Input and output embeddings are no longer tied")
        return tuned.merge_and_unload()


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

    @property
    def states(self) -> bool:
        """Whether hidden states of the same tokens are compared."""
        return self.architecture and self.tokens


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
    rows = (one.get_text_config().vocab_size, other.get_text_config().vocab_size)
    # A token of a tokenizer for which the model has no embedding is never read nor written.
    own, new = (
        {token: i for token, i in tokenizer.get_vocab().items() if i < size}
        for tokenizer, size in zip((words, new_words), rows, strict=True)
    )
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
        sentence = f"The tuned model has {len(unlike):,} tokens that its base does not have ({some})"
    else:
        sentence = f"The vocabularies differ ({len(own):,} and {len(new):,} tokens; not the same: {some})"
    noted = [
        f"{sentence}: answers are compared by the words of their text, which each model reads with its own tokenizer. "
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
    """The change of every tensor that both have: a row each. A weight that is tied in one model only is compared with
    what stands in its place in the other.

    Parameters
    ----------
    rows : see `Compatibility`; of embeddings of other lengths the shared rows are compared

    Returns
    -------
    DataFrame with tensor, layer (-1 outside the blocks), entries, change (Frobenius norm), relative (over the base's),
    rank (effective rank of the change: (Σ σ²)² / Σ σ⁴ of its singular values, which is the rank where they are equal;
    nan for vectors, for experts' stacked matrices and for what did not move)

    Raises
    ------
    InputError
        No tensor in common, or one of another shape.
    """
    names = [name for name in sorted({*base.names(), *tuned.names()}) if name in base and name in tuned]
    if not names:
        raise InputError(f"{base.folder} and {tuned.folder} have no tensor of the same name.")
    return pd.DataFrame(list(_changes(base, tuned, names, rows)))


def _changes(
    base: Weights, tuned: Weights, names: list[str], rows: tuple[int, int, int] | None
) -> Iterator[dict[str, Any]]:
    for name in names:
        before, after = base[name], tuned[name]
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


def add_noise(net: nn.Module, changes: Mapping[str, tuple[float, int]], seed: int) -> tuple[list[str], float]:
    """Add to each weight Gaussian noise as long as the tuning's own change of it, in place.

    Noise is added in float32. In a weight of a smaller dtype most of a small noise would be rounded away: there it is
    scaled so that what is left of it after rounding is as long as the change.

    Parameters
    ----------
    changes : norm of the change and number of entries by name of the tensor

    Returns
    -------
    unknown : names that the network does not have; they got no noise
    scale : the largest factor by which noise was scaled; 1 in float32
    """
    generator = torch.Generator().manual_seed(seed)
    _untie(net, list(changes))
    weights = dict(net.state_dict(keep_vars=True))
    unknown, largest = [], 1.0
    with torch.no_grad():
        for name, (norm, entries) in changes.items():
            weight = weights.get(name)
            if weight is None:
                unknown.append(name)
            elif norm and weight.is_floating_point():
                weight.data = weight.data.contiguous()
                flat = weight.view(-1)[
                    :entries
                ]  # of embeddings with rows that are not shared, those come last
                sigma = norm / entries**0.5
                if weight.dtype.itemsize < 4:
                    scale = _scale(flat, sigma, generator)
                    sigma, largest = sigma * scale, max(largest, scale)
                for part in flat.split(AT_ONCE):
                    noise = torch.randn(len(part), generator=generator) * sigma
                    part.copy_(part.float() + noise.to(part.device))
    return unknown, largest


def _scale(flat: Tensor, sigma: float, generator: torch.Generator) -> float:
    """By what noise has to be multiplied so that after rounding it is as long as it was before, on some entries."""
    some = flat[:: max(1, len(flat) // SAMPLED)][:SAMPLED].cpu()
    noise = torch.randn(len(some), generator=generator) * sigma
    wanted = float(noise.norm())
    low, high = -4.0, 24.0  # logarithms to the base of two
    for _ in range(20):
        middle = (low + high) / 2
        rounded = (some.float() + 2**middle * noise).to(some.dtype)
        short = float((rounded.float() - some.float()).norm()) < wanted
        low, high = (middle, high) if short else (low, middle)
    return float(2**high)


def _untie(net: nn.Module, names: list[str]) -> None:
    """Weights that are one here and change apart become two."""
    seen: set[int] = set()
    weights = dict(net.state_dict(keep_vars=True))
    for name in names:
        if (weight := weights.get(name)) is None:
            continue
        if id(weight) in seen:
            parent, _, leaf = name.rpartition(".")
            own = nn.Parameter(weight.detach().clone(), requires_grad=False)
            setattr(net.get_submodule(parent), leaf, own)
        seen.add(id(weight))


class _Files:
    """The tensors of a directory under the names of the network that transformers makes of them, as they are stored:
    mapped, not copied.

    Pickles are opened once, for good; safetensors for each tensor, so that what was read does not stay in memory.
    """

    def __init__(self, folder: Path, net: Any, allow_missing: bool) -> None:
        self._net = net
        self._where: dict[str, Path | dict[str, Tensor]] = {}
        for file in _weight_files(folder):
            if file.suffix == ".bin":
                held = torch.load(file, map_location="cpu", mmap=True, weights_only=True)
                self._where |= dict.fromkeys(held, held)
            else:
                with safe_open(file, "pt") as opened:
                    self._where |= dict.fromkeys(opened.keys(), file)
        transforms = get_model_conversion_mapping(net)
        renamings = [t for t in transforms if isinstance(t, WeightRenaming)]
        converters = [t for t in transforms if isinstance(t, WeightConverter)]
        by_pattern = {pattern: c for c in converters for pattern in c.source_patterns}
        expected = net.state_dict()
        self._converters: dict[str, WeightConverter] = {}
        self._parts: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for key in sorted(self._where, key=dot_natural_key):
            name, pattern = rename_source_key(key, renamings, converters, net.base_model_prefix, expected)
            if name not in expected and key in expected:
                name, pattern = key, None
            if pattern is not None:
                self._converters[name] = by_pattern[pattern]
            self._parts[name].append((key, pattern or key))
        self._groups: dict[str, str] = {}  # name of a tensor → name of the group of parts that it is made of
        mismatched = []
        for group, parts in self._parts.items():
            converted = (
                self._convert(group, "meta")
                if group in self._converters
                else {group: self._read(parts[0][0], "meta")}
            )
            self._groups |= dict.fromkeys(converted, group)
            mismatched += [
                (name, tensor.shape, expected[name].shape)
                for name, tensor in converted.items()
                if name in expected and tensor.shape != expected[name].shape
            ]
        tied = net.all_tied_weights_keys
        loading_info = LoadStateDictInfo(
            missing_keys={n for n in expected if tied.get(n, n) not in self._groups and n not in self._groups},
            unexpected_keys=self._groups.keys() - expected.keys(),
            mismatched_keys=set(), error_msgs=[], conversion_errors={}, skipped_pp_keys=set(),
        )  # fmt: skip
        net._adjust_missing_and_unexpected_keys(loading_info)
        unlike(
            str(folder), loading_info.missing_keys, loading_info.unexpected_keys, mismatched, allow_missing
        )
        self._groups = {name: group for name, group in self._groups.items() if name in expected}

    def __iter__(self) -> Iterator[str]:
        return iter(self._groups)

    def __contains__(self, name: str) -> bool:
        return name in self._groups

    def __getitem__(self, name: str) -> Tensor:
        group = self._groups[name]
        return (
            self._convert(group)[name] if group in self._converters else self._read(self._parts[group][0][0])
        )

    def _convert(self, group: str, device: str = "cpu") -> dict[str, Tensor]:
        """Tensors that transformers makes of a group of parts, such as the experts of a block."""
        converter = deepcopy(self._converters[group])
        for key, pattern in self._parts[group]:
            converter.add_tensor(group, key, pattern, self._read(key, device))  # type: ignore[arg-type]
        tensors = converter.convert(group, model=self._net, config=self._net.config)
        return {name: part[0] if isinstance(part, list) else part for name, part in tensors.items()}

    def _read(self, key: str, device: str = "cpu") -> Tensor:
        place = self._where[key]
        if isinstance(place, dict):
            return place[key].to(device)
        with safe_open(place, "pt") as opened:
            if device == "meta":
                return torch.empty(opened.get_slice(key).get_shape(), device=device)
            return opened.get_tensor(key)


def _weight_files(folder: Path) -> list[Path]:
    """The files that transformers reads: one of its own name, or those of its index; safetensors before pickles."""
    for whole in ("model.safetensors", "pytorch_model.bin"):
        if (folder / whole).is_file():
            return [folder / whole]
        index = folder / f"{whole}.index.json"
        if index.is_file():
            return shards_of(index, trust_pickle=whole.endswith(".bin"))
    raise InputError(f"{folder} holds no safetensors; save the model there with save_pretrained.")
