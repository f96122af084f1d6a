"""Tiny language models: built, trained, sampled, scored and cached; transformers' classes throughout."""

from groundshift.models.tinylm.building import (
    PRESETS,
    build,
    byte_tokenizer,
    parameters,
    save,
    tokenizer,
)
from groundshift.models.tinylm.caching import BASES, Recipe, base, cached, card, load
from groundshift.models.tinylm.fitting import Freeze, Gate, LoRA, Prompt, fit, lm_loss
from groundshift.models.tinylm.inference import (
    Scores,
    accuracy,
    generate,
    hidden_states,
    option_logprobs,
    score,
)
