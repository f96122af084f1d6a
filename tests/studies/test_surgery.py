"""The surgery study at quick scale: it runs, its claims read what is measured."""

from groundshift.studies.surgery import study
from tests.studies.contract import (  # noqa: F401
    test_broken_versions_of_the_method_are_caught,
    test_every_cell_runs_and_every_claim_is_measured,
    test_figures_are_drawn_from_the_table,
)


def test_what_is_exact_is_exact_and_what_must_fail_fails(quick):
    evidence = {v.claim.id: v.evidence for v in quick.verdicts()}
    for claim in ("1", "2", "4a"):
        assert evidence[claim].high < 1e-12
    assert evidence["3"].high < 5e-4
    assert evidence["4c"].mean == evidence["6a"].mean == evidence["6b"].mean == 1


def test_the_cpu_scale_has_a_hundred_networks_within_its_budget():
    settings = study.scales["cpu"]
    assert settings.seeds * settings.networks == 100
    assert sum(cell.cost_s for cell in study.cells("cpu", settings)) / 2 < study.budget_s
