"""Steered Diffusion (arXiv:2310.00224): the sampler and its rivals, conditions, generators, inverse models."""

from groundshift.generation.steered.conditions import (
    ClassOf,
    Condition,
    Down,
    FeatureOf,
    Linear,
    Loss,
    Luma,
    MapOf,
    Mask,
    Measurement,
    Physics,
    TextOf,
)
from groundshift.generation.steered.generators import Denoiser, denoiser
from groundshift.generation.steered.inverse import Clip, class_names, classifier, clip, encoder, segmenter
from groundshift.generation.steered.pipeline import Samples, Steered, steer
from groundshift.generation.steered.sampler import Sampler, SteeringWarning
