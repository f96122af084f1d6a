"""The Steered Diffusion study at quick scale: it runs, its claims read what is measured."""

import math

import pytest

from groundshift.lab import run
from groundshift.studies.steered import study


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    return run(
        "steered", scale="quick", store=tmp_path_factory.mktemp("runs"), engine="local:2", progress="none"
    )


def test_every_cell_runs_and_every_claim_is_measured(quick):
    assert quick.failures() == {}
    verdicts = quick.verdicts()
    assert [v.claim.id for v in verdicts] == [c.id for c in study.claims]
    for verdict in verdicts:
        assert math.isfinite(verdict.evidence.mean), verdict.claim.id
        assert math.isfinite(verdict.evidence.control.mean), verdict.claim.id


def test_what_needs_few_samples_already_holds(quick):
    found = {v.claim.id: v.evidence for v in quick.verdicts()}
    assert found["3"].high < 1e-4
    assert found["3"].control.ok
    assert found["5a"].high < 1e-4


def test_figures_are_drawn_from_the_table(quick):
    table = quick.table()
    for figure in study.figures:
        assert len(table.query(figure.rows)), figure.name
        assert figure.draw(table.query(figure.rows)).axes, figure.name


def test_the_cpu_scale_fits_its_budget():
    settings = study.scales["cpu"]
    assert settings.seeds >= 5
    assert sum(cell.cost_s for cell in study.cells("cpu", settings)) / 2 < study.budget_s
