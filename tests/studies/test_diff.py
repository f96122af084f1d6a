"""The study of diff at quick scale: it runs, and its claims read what is measured."""

import pytest

from groundshift.lab.study import Sample
from groundshift.studies.diff import WORDS, names, plainly, says, study
from tests.studies.contract import (  # noqa: F401
    test_broken_versions_of_the_method_are_caught,
    test_every_cell_runs_and_every_claim_is_measured,
    test_figures_are_drawn_from_the_table,
)


def test_the_cpu_scale_fits_its_budget():
    settings = study.scales["cpu"]
    assert sum(cell.cost_s for cell in study.cells("cpu", settings)) / 2 < study.budget_s


@pytest.mark.parametrize("kind", WORDS)
def test_a_tune_is_called_by_one_word(kind):
    rows = says.score({"kind": kind}, Sample(None, frozenset()))
    assert {row["word"]: row["called"] for row in rows} == {word: float(word == kind) for word in WORDS}


def test_new_words_are_counted_once_and_others_not():
    sample = Sample(None, frozenset({"guton", "mira"}))
    assert names.score({"tokens": ["guton", "guton", "of"], "weights": 0.0}, sample)["right"] == 0.5
    rows = plainly.score({name: (True, ["mira", "guton"]) for name in ("kl", "pca", "lens")}, sample)
    assert [(row["ahead"], row["right"]) for row in rows] == [(1.0, 1.0)] * 3
