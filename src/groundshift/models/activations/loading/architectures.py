"""Which network a configuration describes, and what reads texts and images for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoProcessor,
)

from groundshift.errors import InputError
from groundshift.models.activations.loading.directories import load_tokenizer

__all__ = ["class_for", "empty_network", "readers_of"]


def class_for(config: Any, source: str, trust_remote_code: bool) -> Any:
    sees = hasattr(config, "vision_config") and type(config) in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING
    if sees:
        return AutoModelForImageTextToText
    if type(config) in MODEL_FOR_CAUSAL_LM_MAPPING or (
        trust_remote_code and getattr(config, "auto_map", None)
    ):
        if _reads_both_sides(config):
            raise InputError(
                f"{source} is a {config.model_type} model whose words see those after them, so its probabilities are "
                "not those of a text. Give a causal language model; if this one was trained as a decoder, set "
                '"is_decoder": true in its config.json.'
            )
        return AutoModelForCausalLM
    raise InputError(
        f"{source} is a {config.model_type} model, which writes no text. Give a causal language model or an "
        "image-text model."
    )


def _reads_both_sides(config: Any) -> bool:
    """Encoders have a head for causal language modelling too, which transformers opens with attention to both sides."""
    encoder = hasattr(config, "add_cross_attention") and not getattr(config, "is_decoder", True)
    return encoder or config.model_type == "xlnet" or (config.model_type == "xlm" and not config.causal)


def empty_network(config: Any, source: str, trust_remote_code: bool) -> Any:
    """The network of a configuration, on torch's meta device."""
    network = class_for(config, source, trust_remote_code)
    with torch.device("meta"):
        return network.from_config(config, trust_remote_code=trust_remote_code).eval()


def readers_of(source: str, root: str, config: Any, hub: dict[str, Any]) -> tuple[Any, Any, str, str]:
    """Tokenizer, processor, source, and why there is no processor; those of an adapter where it has its own."""
    home = source if source == root or (Path(source) / "tokenizer_config.json").is_file() else root
    tokenizer = load_tokenizer(home, **hub)
    if not hasattr(config, "vision_config"):
        return tokenizer, None, source, ""
    # A model without a processor still reads text; rows with images are refused when they come.
    try:
        processor = AutoProcessor.from_pretrained(home, **hub)
    except (OSError, ValueError, ImportError, AttributeError) as error:
        return tokenizer, None, source, " ".join(str(error).split())
    if not hasattr(processor, "tokenizer"):
        return tokenizer, None, source, f"{home} has no processor_config.json."
    processor.tokenizer = tokenizer
    return tokenizer, processor, source, ""
