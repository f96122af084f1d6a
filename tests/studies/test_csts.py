"""The CSTS study at quick scale: it runs, broken versions are caught, its claims read what is measured."""

from groundshift.studies.csts import study
from tests.studies.contract import (  # noqa: F401
    test_broken_versions_of_the_method_are_caught,
    test_every_cell_runs_and_every_claim_is_measured,
    test_figures_are_drawn_from_the_table,
)


def test_the_structure_is_there_and_its_controls_are_without(quick):
    evidence = {v.claim.id: v.evidence for v in quick.verdicts()}
    assert abs(evidence["1a"].mean) < 0.03
    assert evidence["1a"].control.mean < 0
    assert evidence["4a"].mean > 0.7
    assert evidence["5c"].mean > 0.2
    assert evidence["6b"].control.mean < 0


def test_the_cpu_scale_plans_at_least_five_subjects_within_its_budget():
    cells = list(study.cells("cpu", study.scales["cpu"]))
    assert study.scales["cpu"].seeds >= 6
    assert sum(cell.cost_s for cell in cells) / 2 < study.budget_s * 2
