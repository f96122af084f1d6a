"""Discrete diffusion on the scenes leaderboard: pictures as codes of patches, with and without the contrast."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from sklearn.cluster import MiniBatchKMeans
from torch import Tensor

from groundshift.generation.cdcd import CDCD
from groundshift.generation.cdcd.modalities import codes_to_images, image_codes
from groundshift.lab.study import Method
from groundshift.models.tinyvision_recipes import PatchTokens
from groundshift.studies.scenes import LEVELS, Board

CODES, PATCH = 128, 2


@Method.define(role="baseline")
def vqdiffusion(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Discrete diffusion of codes without a contrast."""
    return _discrete(data, rng, contrast=None)


@Method.define()
def cdcd(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """The same with the step-wise contrast, to pictures with other factors."""
    return _discrete(data, rng, contrast="step", negatives="inter", weight=0.3)


def _discrete(data: Any, rng: np.random.Generator, **options: Any) -> dict[str, Any]:
    board, seed = Board(data), int(rng.integers(2**31))
    tokeniser = PatchTokens(3, PATCH, CODES)
    patches = tokeniser._patches(data["images"]).flatten(0, 1).numpy()
    means = MiniBatchKMeans(CODES, random_state=seed, n_init=1, batch_size=4096).fit(patches)
    tokeniser.codebook.copy_(torch.as_tensor(means.cluster_centers_))
    model = CDCD(
        steps=data["steps"][0], codes=CODES, series=False, iterations=2 * data["iterations"], batch_size=64, lr=4e-3,
        width=64, random_state=seed, **options,
    )  # fmt: skip
    model.fit(
        image_codes(data["images"], tokeniser), _one_hot(data["codes"]), groups=_combination(data["codes"])
    )

    def sample(codes: Any, steps: int) -> Tensor:
        return codes_to_images(model.sample(_one_hot(codes), steps=steps), tokeniser)

    return board.drawn(sample, model.net_)


def _one_hot(codes: Any) -> Any:
    return np.concatenate([np.eye(levels)[column] for levels, column in zip(LEVELS, codes.T, strict=True)], 1)


def _combination(codes: Any) -> Any:
    return np.ravel_multi_index(codes.T, LEVELS)


ENTRANTS = (vqdiffusion, cdcd)
