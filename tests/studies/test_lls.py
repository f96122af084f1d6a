"""The latent-label-shift study at quick scale: it runs, its claims read what is measured."""

import math

import pytest

from groundshift.lab import run
from groundshift.studies.lls import study


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    return run("lls", scale="quick", store=tmp_path_factory.mktemp("runs"), engine="local:2", progress="none")


def test_every_cell_runs_and_every_claim_is_measured(quick):
    assert quick.failures() == {}
    verdicts = quick.verdicts()
    assert [v.claim.id for v in verdicts] == [c.id for c in study.claims]
    for verdict in verdicts:
        assert math.isfinite(verdict.evidence.mean), verdict.claim.id
        assert math.isfinite(verdict.evidence.control.mean), verdict.claim.id


def test_a_seed_is_fitted_once_so_that_differences_are_within_a_fit(quick):
    table = quick.table()
    where = ["world", "severity", "method", "seed", "domains", "style", "same_mix", "measure"]
    assert not table.duplicated(where).any()


def test_words_with_anchors_are_factorised(quick):
    found = {v.claim.id: v.evidence for v in quick.verdicts()}
    assert found["5b"].mean < 0.3
    assert found["4"].control.mean == 0


def test_figures_are_drawn_from_the_table(quick):
    table = quick.table()
    for figure in study.figures:
        rows = table.query(figure.rows)
        assert len(rows), figure.name
        assert figure.draw(rows).axes, figure.name


def test_the_cpu_scale_stays_within_its_budget():
    settings = study.scales["cpu"]
    assert settings.seeds >= 10
    assert sum(cell.cost_s for cell in study.cells("cpu", settings)) / 2 < study.budget_s
