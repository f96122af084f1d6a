"""The Steered Diffusion study at quick scale: it runs, its claims read what is measured."""

from groundshift.studies.steered import study
from tests.studies.contract import (  # noqa: F401
    test_broken_versions_of_the_method_are_caught,
    test_every_cell_runs_and_every_claim_is_measured,
    test_figures_are_drawn_from_the_table,
)


def test_what_needs_few_samples_already_holds(quick):
    evidence = {v.claim.id: v.evidence for v in quick.verdicts()}
    assert evidence["3"].high < 1e-4
    assert evidence["3"].control.ok
    assert evidence["5a"].high < 1e-4
    assert evidence["9"].high < 1e-4
    assert evidence["9"].control.ok


def test_the_cpu_scale_fits_its_budget():
    settings = study.scales["cpu"]
    assert settings.seeds >= 5
    assert sum(cell.cost_s for cell in study.cells("cpu", settings)) / 2 < study.budget_s
