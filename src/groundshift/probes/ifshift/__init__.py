"""How instruction tuning changed a model: densities, attention word pairs, feed-forward concepts (arXiv:2310.00492)."""

from groundshift.probes.ifshift.attention import AttentionPairs, attention_pairs
from groundshift.probes.ifshift.concepts import FeedForwardConcepts, ffn_concepts
from groundshift.probes.ifshift.density import (
    InstructionDensity,
    importance_density,
    instruction_density,
    instruction_score,
)

__all__ = [
    "AttentionPairs",
    "FeedForwardConcepts",
    "InstructionDensity",
    "attention_pairs",
    "ffn_concepts",
    "importance_density",
    "instruction_density",
    "instruction_score",
]
