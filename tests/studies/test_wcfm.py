"""The study of weighted flow matching at quick scale: it runs, its claims read what is measured."""

from groundshift.studies.wcfm import study
from tests.studies.contract import (  # noqa: F401
    control_passes,
    test_broken_versions_of_the_method_are_caught,
    test_every_cell_runs_and_every_claim_is_measured,
    test_figures_are_drawn_from_the_table,
)


def test_what_needs_no_training_already_holds(quick):
    verdicts = {v.claim.id: v for v in quick.verdicts()}
    evidence = {name: v.evidence for name, v in verdicts.items()}
    assert evidence["1c"].mean < 0
    assert abs(evidence["1c"].control.mean) < 0.1
    assert evidence["3"].high < 1e-6
    assert control_passes(verdicts["3"])
    assert control_passes(verdicts["6"])


def test_the_cpu_scale_fits_its_budget():
    settings = study.scales["cpu"]
    assert sum(cell.cost_s for cell in study.cells("cpu", settings)) / 2 < study.budget_s
