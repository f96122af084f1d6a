"""The study of the topology of reasoning traces at quick scale: it runs, its claims read what is measured."""

from groundshift.studies.tdacot import study
from tests.studies.contract import (  # noqa: F401
    test_broken_versions_of_the_method_are_caught,
    test_every_cell_runs_and_every_claim_is_measured,
    test_figures_are_drawn_from_the_table,
)


def test_gaps_are_found_where_the_text_is_read(quick):
    measured = {v.claim.id: v.evidence for v in quick.verdicts()}
    assert measured["1a"].mean <= 0.03
    assert measured["1a"].control.mean > 0.2
    assert measured["5"].mean > 0.9
    assert measured["6b"].mean > 0.1


def test_the_cpu_scale_keeps_its_budget():
    cells = list(study.cells("cpu", study.scales["cpu"]))
    assert sum(cell.cost_s for cell in cells) / 2 < study.budget_s
