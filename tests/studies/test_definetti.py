"""The Causal de Finetti study at quick scale: it runs, its claims read what is measured."""

from groundshift.studies.definetti import study
from tests.studies.contract import (  # noqa: F401
    test_broken_versions_of_the_method_are_caught,
    test_every_cell_runs_and_every_claim_is_measured,
    test_figures_are_drawn_from_the_table,
)


def test_groups_tell_and_shared_parameters_do_not(quick):
    evidence = {v.claim.id: v.evidence for v in quick.verdicts()}
    assert evidence["1a"].mean >= 0.75
    assert evidence["6a"].mean == 0
    assert evidence["6b"].mean == 1


def test_the_cpu_scale_has_two_hundred_pairs_within_its_budget():
    settings = study.scales["cpu"]
    assert settings.seeds * settings.repeats >= 200
    assert sum(cell.cost_s for cell in study.cells("cpu", settings)) / 2 < study.budget_s
