"""The study of diff at quick scale: it runs, and its claims read what is measured."""

import pytest

from groundshift.lab.study import Sample
from groundshift.studies.diff import KINDS, Truth, plainly, says, study
from tests.studies.contract import (  # noqa: F401
    test_every_cell_runs_and_every_claim_is_measured,
    test_figures_are_drawn_from_the_table,
)


def test_the_cpu_scale_fits_its_budget():
    settings = study.scales["cpu"]
    assert sum(cell.cost_s for cell in study.cells("cpu", settings)) / 2 < study.budget_s


@pytest.mark.parametrize("tune", list(KINDS))
def test_only_the_right_word_counts_as_named(tune):
    for kind in ("style", "content", "style and content", "unchanged", "degree"):
        output = {"kind": kind, "bare": kind, "tokens": []}
        assert says.score(output, Sample(None, Truth(tune, frozenset())))["named"] == (kind == KINDS[tune])


def test_new_words_are_counted_once_and_others_not():
    sample = Sample(None, Truth("edit", frozenset({"guton", "mira"})))
    output = {"kind": "content", "bare": "content", "tokens": ["guton", "guton", "of"]}
    assert says.score(output, sample)["right"] == 0.5
    found = plainly.score({name: (True, ["mira", "guton"]) for name in ("kl", "pca", "lens")}, sample)
    assert found["kl_right"] == found["lens_right"] == found["pca_ahead"] == 1.0
