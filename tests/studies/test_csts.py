"""The CSTS study at quick scale: it runs, its controls work, its claims read what is measured."""

import math

from groundshift.studies.csts import study


def test_every_cell_runs_and_gives_finite_numbers(quick):
    assert quick.failures() == {}
    assert all(record["finite"] for record in quick.store.records())


def test_every_claim_is_measured_and_none_is_judged(quick):
    verdicts = quick.verdicts()
    assert [v.claim.id for v in verdicts] == [c.id for c in study.claims]
    assert {v.word for v in verdicts} == {"inconclusive"}
    for verdict in verdicts:
        assert math.isfinite(verdict.evidence.mean), verdict.claim.id
        assert verdict.evidence.valid == verdict.evidence.planned == 2


def test_the_structure_is_there_and_its_controls_are_without(quick):
    found = {v.claim.id: v.evidence for v in quick.verdicts()}
    assert abs(found["1a"].mean) < 0.03
    assert found["1a"].control.mean < 0
    assert found["4a"].mean > 0.7
    assert found["5c"].mean > 0.2
    assert found["6a"].mean > 0.8


def test_claims_name_controls_and_sources():
    for claim in study.claims:
        assert claim.control is not None, claim.id
        assert claim.paper


def test_figures_are_drawn_from_the_table(quick):
    table = quick.table()
    for figure in study.figures:
        assert len(table.query(figure.rows)), figure.name
        assert figure.draw(table).axes, figure.name


def test_the_cpu_scale_plans_at_least_five_subjects_within_its_budget():
    cells = list(study.cells("cpu", study.scales["cpu"]))
    assert study.scales["cpu"].seeds >= 6
    assert sum(cell.cost_s for cell in cells) / 2 < study.budget_s * 2
