"""A language model with what is needed to read and steer it."""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from groundshift.errors import InputError
from groundshift.models.activations.loading.adapters import refuse_prompts

if TYPE_CHECKING:
    from groundshift.models.activations.rows import Batch


__all__ = ["ProbeModel"]

SAMPLED = 1024  # entries of each weight that go into the fingerprint


@dataclass
class ProbeModel:
    """A causal language model, or an image-text model, with what is needed to read and steer it.

    The network runs unchanged: nothing is converted, so its logits are those of transformers. A model in memory is
    made ready by ``ProbeModel(net, tokenizer)``.

    Attributes
    ----------
    net : transformers model with a language head
    tokenizer : its tokenizer
    processor : of an image-text model; None otherwise
    source : where it came from, for messages
    no_processor : why an image-text model has none
    notes : what was let pass when it was loaded
    """

    net: Any
    tokenizer: Any
    processor: Any = None
    source: str = "a model in memory"
    no_processor: str = ""
    notes: tuple[str, ...] = ()
    current: Batch | None = field(default=None, init=False, repr=False)
    """The batch that is being read, for hooks that ask where a token stands."""
    recording: bool = field(default=False, init=False, repr=False)
    """`record` is under way."""
    steers: list[dict[str, Any]] = field(default_factory=list, init=False, repr=False)
    """What steers the model now; part of the identity of a cache."""
    trying: bool = field(default=False, init=False, repr=False)
    """The pass that runs now only tries what the network can do; it is neither recorded nor steered."""

    def __post_init__(self) -> None:
        if hasattr(self.net, "get_base_model"):  # PEFT's wrapper; the adapter is in the model that it wraps
            refuse_prompts(self.net.active_peft_config, self.source)
            self.net = self.net.get_base_model()

    @property
    def body(self) -> Any:
        """The network without its language head (for image-text models: with the images)."""
        body = self.net.base_model
        if body is self.net:  # the prefix of some classes names no part of theirs (Llama 4's text model)
            parts = [part for part in self.net.children() if isinstance(part, PreTrainedModel)]
            return parts[0] if len(parts) == 1 else body
        return body

    @property
    def decoder(self) -> Any:
        """The language stack."""
        decoder = self.net.get_decoder()
        return self.body if decoder is self.net and isinstance(decoder, PreTrainedModel) else decoder

    @cached_property
    def layers(self) -> list[nn.Module]:
        """The decoder blocks of the language stack, block 0 first.

        Raises
        ------
        InputError
            No list of blocks, or several that could be it.
        """
        depth = self.net.config.get_text_config().num_hidden_layers
        named = getattr(self.decoder, "layers", None)
        if isinstance(named, nn.ModuleList) and len(named) == depth:
            return list(named)
        lists = {n: m for n, m in self.decoder.named_modules() if isinstance(m, nn.ModuleList)}
        fit = [m for m in lists.values() if len(m) == depth and len({type(block) for block in m}) == 1]
        if len(fit) != 1:
            seen = ", ".join(f"{n} ({len(m)} × {type(m[0]).__name__})" for n, m in lists.items() if len(m))
            raise InputError(
                f"{len(fit)} lists of {depth} blocks were found in {type(self.net).__name__}; one is needed. "
                f"Lists of modules: {seen or 'none'}."
            )
        return list(fit[0])

    @property
    def device(self) -> torch.device:
        """Where the input ids go."""
        return self.net.get_input_embeddings().weight.device

    @property
    def width(self) -> int:
        """Size of the hidden states; embeddings can be narrower."""
        return self.net.config.get_text_config().hidden_size

    @property
    def unembedding(self) -> Tensor:
        """What the language head multiplies states by, (V, D), with what an adapter of the head adds."""
        head = self.net.get_output_embeddings()
        if not hasattr(head, "base_layer"):  # PEFT's
            return head.weight.detach()
        with torch.inference_mode():
            units = torch.eye(self.width, dtype=head.weight.dtype, device=head.weight.device)
            return (head(units) - head(torch.zeros_like(units[:1]))).T

    @property
    def image_ids(self) -> set[int]:
        """Ids of the tokens that stand for parts of an image."""
        names = ("image_token_id", "image_token_index")
        return {v for name in names if (v := getattr(self.net.config, name, None)) is not None}

    @property
    def context(self) -> int | None:
        """The most tokens of a row, where the model has a limit; some configurations write -1 for none."""
        most = getattr(self.net.config.get_text_config(), "max_position_embeddings", None)
        return most if most is not None and most > 0 else None

    @property
    def stretched(self) -> int | None:
        """Tokens of a pass beyond which the rotary embeddings of all its rows are others ("longrope"): a longer row is
        read by itself, and without a cache.
        """
        rope = getattr(self.net.config.get_text_config(), "rope_parameters", None) or {}
        # Some have one for each kind of block.
        kinds = [rope, *(part for part in rope.values() if isinstance(part, dict))]
        lengths = [k["original_max_position_embeddings"] for k in kinds if k.get("rope_type") == "longrope"]
        return min(lengths, default=None)

    @cached_property
    def arguments(self) -> set[str]:
        """Names that the body's forward takes."""
        return set(inspect.signature(self.body.forward).parameters)

    @contextlib.contextmanager
    def reading(self, batch: Batch) -> Iterator[None]:
        """The batch is what the model reads now, in evaluation mode."""
        training = self.net.training
        before, self.current = self.current, batch
        self.net.eval()
        try:
            yield
        finally:
            self.current = before
            if training:
                self.net.train()

    def fingerprint(self) -> dict[str, Any]:
        """Hashes of configuration, weights and tokenizer, and what steers the model now.

        The weights' hash reads up to 1024 entries of every tensor: headers do not tell fine-tunes of one model apart.
        """
        weights = hashlib.sha256()
        for name, weight in self.net.state_dict().items():
            if weight.is_meta:  # offloaded
                continue
            if type(weight) not in (torch.Tensor, nn.Parameter):  # quantised by a class of its own
                weight = weight.dequantize()
            flat = weight.detach().reshape(-1)
            some = flat[:: max(1, flat.numel() // SAMPLED)][:SAMPLED].contiguous().cpu()
            weights.update(f"{name} {tuple(weight.shape)} {weight.dtype}".encode())
            weights.update(some.view(torch.uint8).numpy().tobytes())
        backend = getattr(self.tokenizer, "backend_tokenizer", None)
        words = (
            backend.to_str()
            if backend is not None
            else json.dumps(self.tokenizer.get_vocab(), sort_keys=True)
        )
        return {
            "config": _sha(json.dumps(_architecture(self.net.config.to_dict()), sort_keys=True, default=str)),
            "weights": weights.hexdigest(),
            "tokenizer": _sha(words),
            "steered": list(self.steers),
        }


def _architecture(config: Any) -> Any:
    """A configuration without what differs between a model in memory and the same one loaded."""
    if not isinstance(config, dict):
        return config
    return {
        k: _architecture(v) for k, v in config.items() if k not in ("_name_or_path", "dtype", "torch_dtype")
    }


def _sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
