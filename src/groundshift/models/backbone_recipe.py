"""How a small network is made, and what it has to reach."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np

__all__ = ["LIBRARIES", "BackboneRecipe"]

LIBRARIES = ("torch", "diffusers", "transformers", "scikit-learn")
SLACK = 0.2


@dataclass(frozen=True)
class BackboneRecipe:
    """How a backbone is made and what it has to reach.

    Attributes
    ----------
    settings : everything that decides the result, as JSON; its hash names the folder
    make : (settings, seed, work) -> network
        Trains; ``work`` is a folder for checkpoints. The network has ``save_pretrained``.
    score : (network, rng) -> float, on scenes that training has not seen
    measure : what the score is
    reaches : the published score; 20 % worse is an error
    better : "lower" or "higher"
    """

    settings: Mapping[str, Any]
    make: Callable[[Mapping[str, Any], int, Path], Any]
    score: Callable[[Any, np.random.Generator], float]
    measure: str
    reaches: float
    better: Literal["lower", "higher"] = "lower"

    def key(self, seed: int) -> str:
        """Hash of the settings, the seed and the major versions of the libraries."""
        majors = {name: version(name).split(".")[0] for name in LIBRARIES}
        text = json.dumps([dict(self.settings), seed, majors], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def bound(self) -> float:
        """The worst score that is accepted."""
        return self.reaches * (1 + SLACK if self.better == "lower" else 1 - SLACK)

    def accepts(self, score: float) -> bool:
        """Whether a score is within the bound; nan is not."""
        return score <= self.bound() if self.better == "lower" else score >= self.bound()
