"""The latent-label-shift study at quick scale: it runs, its claims read what is measured."""

from groundshift.studies.lls import study
from tests.studies.contract import (  # noqa: F401
    test_broken_versions_of_the_method_are_caught,
    test_every_cell_runs_and_every_claim_is_measured,
    test_figures_are_drawn_from_the_table,
)


def test_a_seed_is_fitted_once_so_that_differences_are_within_a_fit(quick):
    table = quick.table()
    where = ["world", "severity", "method", "seed", "domains", "style", "same_mix", "told", "measure"]
    assert not table.duplicated(where).any()


def test_words_with_anchors_are_factorised(quick):
    evidence = {v.claim.id: v.evidence for v in quick.verdicts()}
    assert evidence["5b"].mean < 0.3
    assert evidence["5a"].mean < 0.3


def test_the_cpu_scale_stays_within_its_budget():
    settings = study.scales["cpu"]
    assert settings.seeds >= 10
    assert sum(cell.cost_s for cell in study.cells("cpu", settings)) / 2 < study.budget_s
