"""The study of hierarchies at quick scale."""

from groundshift.studies.hibench import study
from tests.studies.contract import (  # noqa: F401
    test_broken_versions_of_the_method_are_caught,
    test_every_cell_runs_and_every_claim_is_measured,
    test_figures_are_drawn_from_the_table,
)


def test_the_cpu_scale_fits_its_budget():
    settings = study.scales["cpu"]
    assert settings.learners >= 5
    assert sum(cell.cost_s for cell in study.cells("cpu", settings)) / 2 <= study.budget_s
