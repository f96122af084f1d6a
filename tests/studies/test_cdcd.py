"""The study of contrastive diffusion at quick scale: it runs, its claims read what is measured."""

import numpy as np

from groundshift.lab.study import Sample
from groundshift.studies import cdcd
from groundshift.studies.cdcd import study
from groundshift.worlds.rhythm import rhythm
from tests.studies.contract import (  # noqa: F401
    test_broken_versions_of_the_method_are_caught,
    test_every_cell_runs_and_every_claim_is_measured,
    test_figures_are_drawn_from_the_table,
)


def test_the_cpu_scale_fits_its_budget():
    settings = study.scales["cpu"]
    assert sum(cell.cost_s for cell in study.cells("cpu", settings)) / 2 < study.budget_s


def test_measures_tell_a_perfect_answer_from_a_wrong_one():
    world = rhythm(np.random.default_rng(0), 200)
    sample = Sample(None, world)
    assert cdcd.causal.score({"made": np.roll(world.tokens, -1, axis=0)}, sample)["follows"] == 1
    assert cdcd.causal.score({"made": world.tokens}, sample)["follows"] == 0
    right = cdcd.corresponds.score({"made": world.tokens}, sample)
    assert right["purity"] == 1
    assert right["one_timbre"] < 0.01
    whole = rhythm(np.random.default_rng(0), 200, shared_timbre=True)
    assert cdcd.corresponds.score({"made": whole.tokens}, Sample(None, whole))["one_timbre"] == 1
