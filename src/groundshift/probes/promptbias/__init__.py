"""Bias before and after a prompt (arXiv:2509.08146)."""

from groundshift.probes.promptbias.answering import option_probabilities
from groundshift.probes.promptbias.bias import BiasTransfer, bbq_scores, bias_by_group, prompt_bias, transfer
from groundshift.probes.promptbias.items import BiasItems, Item, read_bias_items

__all__ = [
    "BiasItems",
    "BiasTransfer",
    "Item",
    "bbq_scores",
    "bias_by_group",
    "option_probabilities",
    "prompt_bias",
    "read_bias_items",
    "transfer",
]
