"""The surgery study at quick scale: it runs, its claims read what is measured."""

import math

import pytest

from groundshift.lab import run
from groundshift.studies.surgery import study


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    return run(
        "surgery", scale="quick", store=tmp_path_factory.mktemp("runs"), engine="local:2", progress="none"
    )


def test_every_cell_runs_and_every_claim_is_measured(quick):
    assert quick.failures() == {}
    verdicts = quick.verdicts()
    assert [v.claim.id for v in verdicts] == [c.id for c in study.claims]
    for verdict in verdicts:
        assert math.isfinite(verdict.evidence.mean), verdict.claim.id
        assert math.isfinite(verdict.evidence.control.mean), verdict.claim.id


def test_what_is_exact_is_exact_and_what_must_fail_fails(quick):
    found = {v.claim.id: v.evidence for v in quick.verdicts()}
    for claim in ("1", "2", "3", "4a"):
        assert found[claim].high < 1e-12
        assert found[claim].control.ok
    assert found["4c"].mean == found["6a"].mean == found["6b"].mean == 1


def test_figures_are_drawn_from_the_table(quick):
    table = quick.table()
    for figure in study.figures:
        assert len(table.query(figure.rows)), figure.name
        assert figure.draw(table.query(figure.rows)).axes, figure.name


def test_the_cpu_scale_has_fifty_networks_and_two_hundred_tables_within_its_budget():
    settings = study.scales["cpu"]
    assert settings.seeds * settings.networks == 50
    assert settings.seeds * settings.tables == 200
    assert sum(cell.cost_s for cell in study.cells("cpu", settings)) / 2 < study.budget_s
