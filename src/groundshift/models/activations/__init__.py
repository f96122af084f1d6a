"""Read and steer the user's own language model: load, capture, record, steer, score, differentiate."""

from groundshift.models.activations.cache import Acts, merge, open_acts
from groundshift.models.activations.forward import capture, record, score
from groundshift.models.activations.generation import Prefix, generate
from groundshift.models.activations.gradients import token_gradients
from groundshift.models.activations.loading import ProbeModel, load_model, load_tokenizer
from groundshift.models.activations.positions import rules
from groundshift.models.activations.rows import encode, read_rows
from groundshift.models.activations.scoring import option_logprobs
from groundshift.models.activations.sites import find_sites
from groundshift.models.activations.steering import Steer, steer

__all__ = [
    "Acts",
    "Prefix",
    "ProbeModel",
    "Steer",
    "capture",
    "encode",
    "find_sites",
    "generate",
    "load_model",
    "load_tokenizer",
    "merge",
    "open_acts",
    "option_logprobs",
    "read_rows",
    "record",
    "rules",
    "score",
    "steer",
    "token_gradients",
]
