"""The study of contrastive diffusion at quick scale: it runs, its claims read what is measured."""

import numpy as np
import pytest

from groundshift.lab.study import Sample
from groundshift.studies import cdcd
from groundshift.studies.cdcd import study
from groundshift.worlds.rhythm import rhythm
from tests.studies.contract import (  # noqa: F401
    test_every_cell_runs_and_every_claim_is_measured,
    test_figures_are_drawn_from_the_table,
)


def test_the_cpu_scale_fits_its_budget():
    settings = study.scales["cpu"]
    assert sum(cell.cost_s for cell in study.cells("cpu", settings)) / 2 < study.budget_s


def test_measures_tell_a_perfect_answer_from_a_wrong_one():
    world = rhythm(np.random.default_rng(0), 200)
    sample = Sample(None, world)
    assert cdcd.causal.score({"swapped": np.roll(world.tokens, -1, axis=0)}, sample)["follows"] == 1
    assert cdcd.causal.score({"swapped": world.tokens}, sample)["follows"] == 0
    assert cdcd.corresponds.score({"made": world.tokens}, sample)["purity"] == 1


def test_the_temperature_of_equal_entropy_is_found():
    class Plain:
        def predictive_entropy(self, tokens, condition, temperature=1.0):
            return 2 * temperature

    assert cdcd._matching_temperature(Plain(), (None, None), 1.2) == pytest.approx(0.6, abs=0.01)
    assert cdcd._matching_temperature(Plain(), (None, None), 2.5) == 1.0
    assert cdcd._matching_temperature(Plain(), (None, None), 0.1) == 0.2
