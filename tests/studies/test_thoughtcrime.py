"""The study of off-policy behaviour at quick scale, and the worlds it takes."""

import pytest

from groundshift.studies.keeping import drawn_until
from groundshift.studies.thoughtcrime import study  # noqa: F401
from groundshift.studies.thoughtcrime_tunes import Drawn, Training
from groundshift.worlds.tinylm import TinyWorld, TwoClerks
from tests.studies.contract import (  # noqa: F401
    test_broken_versions_of_the_method_are_caught,
    test_every_cell_runs_and_every_claim_is_measured,
    test_figures_are_drawn_from_the_table,
    test_the_cpu_scale_fits_its_budget,
)


def test_a_world_is_drawn_until_it_holds_or_the_cell_fails():
    tried = []

    def draw(seed):
        tried.append(seed)
        return len(tried)

    assert drawn_until(lambda drawn: drawn == 3, draw, 7, 5) == (3, 3)
    assert len(set(tried)) == 3
    with pytest.raises(RuntimeError, match="None of 2 draws from seed 7"):
        drawn_until(lambda drawn: False, draw, 7, 2)


def test_a_base_that_has_learnt_nothing_is_no_world_of_the_study():
    world = TinyWorld({"clerks": TwoClerks("linked", (0.5, 0.5), 4, codes=2)}, seed=3)
    untrained = Drawn(world, Training("nano", 1, 2, 0.1), 0)
    assert not untrained.learnt()
    assert not untrained.planted()
