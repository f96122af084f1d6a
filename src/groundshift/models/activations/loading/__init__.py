"""A language model as its user has it: Hugging Face directories and ids, adapters of PEFT, image-text models."""

from groundshift.models.activations.loading.architectures import empty_network
from groundshift.models.activations.loading.directories import (
    DAMAGED,
    load_tokenizer,
    refuse_no_model,
)
from groundshift.models.activations.loading.model import ProbeModel
from groundshift.models.activations.loading.networks import load_model, load_network, without_weights
from groundshift.models.activations.loading.quantised import gguf_of

__all__ = [
    "DAMAGED",
    "ProbeModel",
    "empty_network",
    "gguf_of",
    "load_model",
    "load_network",
    "load_tokenizer",
    "refuse_no_model",
    "without_weights",
]
