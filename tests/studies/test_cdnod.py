"""The CD-NOD study at quick scale: it runs, its claims read what is measured."""

from groundshift.studies.cdnod import study
from tests.studies.contract import (  # noqa: F401
    test_broken_versions_of_the_method_are_caught,
    test_every_cell_runs_and_every_claim_is_measured,
    test_figures_are_drawn_from_the_table,
)


def test_changes_are_seen_and_dependent_ones_are_not_decided(quick):
    evidence = {v.claim.id: v.evidence for v in quick.verdicts()}
    assert evidence["1a"].mean > 0.7
    assert evidence["3a"].mean >= 0.75
    assert evidence["3b"].mean == 0


def test_the_cpu_scale_stays_within_its_budget():
    cells = list(study.cells("cpu", study.scales["cpu"]))
    assert study.scales["cpu"].seeds >= 8
    assert sum(cell.cost_s for cell in cells) / 2 < study.budget_s
