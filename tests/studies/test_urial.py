"""The study of the unlocking spell at quick scale: it runs, its claims read what is measured, mutants are caught."""

import numpy as np
import pytest

from groundshift.studies import urial
from groundshift.studies.urial import study
from groundshift.worlds.tinylm import Styles, TinyWorld
from tests.studies.contract import (  # noqa: F401
    test_broken_versions_of_the_method_are_caught,
    test_every_cell_runs_and_every_claim_is_measured,
    test_figures_are_drawn_from_the_table,
)


def test_the_cpu_scale_fits_its_budget():
    settings = study.scales["cpu"]
    assert sum(cell.cost_s for cell in study.cells("cpu", settings)) / 2 < study.budget_s
    assert settings.entities // 2 * Styles().relations == urial.ASKED


def test_prompts_and_tunes_are_told_in_one_form():
    part = TinyWorld({"styles": Styles(4, 2, 5)}, seed=1)["styles"]
    question, answer = urial._pair(part, (1, 0), urial.TARGET)
    prompt = urial.Prompt("<bos>", ((question, answer),), urial.WORDS)
    assert prompt.render([question]) == f"<bos> Q {question} A {answer} Q {question} A"
    assert prompt.head(0).render([question]) == f"<bos> Q {question} A"
    assert part.lexicon_.decode([1, *part.item(1, 0, urial.TARGET)]) == f"<bos> Q {question} A {answer}"


def test_a_seed_whose_base_learnt_nothing_tells_nothing():
    assert np.isnan(urial._valid(urial.Sample({}, (None, None, False)), 1.0))
    assert urial._valid(urial.Sample({}, (None, None, True)), 0.5) == pytest.approx(0.5)
