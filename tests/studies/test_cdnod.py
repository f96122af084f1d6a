"""The CD-NOD study at quick scale: it runs, its claims read what is measured."""

import math

import pytest

from groundshift.lab import run
from groundshift.studies.cdnod import study


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    return run(
        "cdnod", scale="quick", store=tmp_path_factory.mktemp("runs"), engine="local:2", progress="none"
    )


def test_every_cell_runs_and_every_claim_is_measured(quick):
    assert quick.failures() == {}
    verdicts = quick.verdicts()
    assert [v.claim.id for v in verdicts] == [c.id for c in study.claims]
    for verdict in verdicts:
        assert math.isfinite(verdict.evidence.mean), verdict.claim.id
        assert math.isfinite(verdict.evidence.control.mean), verdict.claim.id


def test_changes_are_seen_and_dependent_ones_are_not_decided(quick):
    found = {v.claim.id: v.evidence for v in quick.verdicts()}
    assert found["1a"].mean > 0.7
    assert found["3a"].mean >= 0.75
    assert found["3b"].mean == 0
    assert found["5c"].mean == 0


def test_figures_are_drawn_from_the_table(quick):
    table = quick.table()
    for figure in study.figures:
        assert len(table.query(figure.rows)), figure.name
        assert figure.draw(table).axes, figure.name


def test_the_cpu_scale_stays_within_its_budget():
    cells = list(study.cells("cpu", study.scales["cpu"]))
    assert study.scales["cpu"].seeds >= 8
    assert sum(cell.cost_s for cell in cells) / 2 < study.budget_s
