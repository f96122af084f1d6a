"""Flow matching on the scenes leaderboard: independent pairs, and pairs weighted by what they cost."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from groundshift.generation.wcfm import WeightedConditionalFlowMatcher, choose_eps
from groundshift.generation.wcfm.matcher import cost_matrix
from groundshift.lab.study import Method
from groundshift.studies.scenes import Board, euler, fit_velocity

PILOT = 500


@Method.define(role="baseline")
def icfm(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Conditional flow matching with independent pairs."""
    return _flow(data, rng, lambda: WeightedConditionalFlowMatcher(coupling="independent"))


@Method.define()
def wcfm(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Weighted flow matching, at the temperature that keeps 0.7 of the pairs."""
    rows = rng.integers(len(data["images"]), size=PILOT)
    source = torch.as_tensor(rng.standard_normal((PILOT, *data["images"].shape[1:])), dtype=torch.float32)
    eps = choose_eps(cost_matrix(source, data["images"][rows]), 0.7)
    return _flow(data, rng, lambda: WeightedConditionalFlowMatcher(eps=eps))


def _flow(data: Any, rng: np.random.Generator, matcher: Any) -> dict[str, Any]:
    board, match = Board(data), matcher()

    def loss(net: nn.Module, images: Tensor, codes: Tensor, generator: torch.Generator) -> Tensor:
        match.generator = generator
        t, xt, ut = match.sample_location_and_conditional_flow(
            torch.randn(images.shape, generator=generator), images
        )
        return match.loss(net(t, xt, codes), ut)

    net = fit_velocity(data, rng, loss)
    return board.drawn(partial(euler, net, seed=int(rng.integers(2**31))), net)


ENTRANTS = (icfm, wcfm)
