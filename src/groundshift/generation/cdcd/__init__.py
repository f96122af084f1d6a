"""Discrete Contrastive Diffusion (arXiv:2206.07771): codes under a condition of another modality."""

from groundshift.generation.cdcd.diffusion import (
    ContrastiveLoss,
    Schedule,
    contrast_strength,
    negative_kl,
    posterior,
    predict,
    sample,
    step_sequence,
    truncated,
)
from groundshift.generation.cdcd.estimator import CDCD, sample_codes
from groundshift.generation.cdcd.negatives import inter, intra
from groundshift.generation.cdcd.networks import ConvDenoiser, TransformerDenoiser

__all__ = [
    "CDCD",
    "ContrastiveLoss",
    "ConvDenoiser",
    "Schedule",
    "TransformerDenoiser",
    "contrast_strength",
    "inter",
    "intra",
    "negative_kl",
    "posterior",
    "predict",
    "sample",
    "sample_codes",
    "step_sequence",
    "truncated",
]
