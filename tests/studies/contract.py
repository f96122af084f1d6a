"""What holds of every study, for its test file to import."""

import math

from groundshift.lab import run
from groundshift.lab.mutation import trials
from groundshift.lab.planning import control_faults


def control_passes(verdict):
    """Whether a control's mean lies where it must; with one seed it has no interval."""
    bounds = verdict.claim.control
    return bounds.low <= verdict.evidence.control.mean <= bounds.high


def test_every_cell_runs_and_every_claim_is_measured(quick):
    assert quick.failures() == {}
    verdicts = quick.verdicts()
    assert [v.claim.id for v in verdicts] == [c.id for c in quick.study.claims]
    for verdict in verdicts:
        assert math.isfinite(verdict.evidence.mean), verdict.claim.id
        assert math.isfinite(verdict.evidence.control.mean), verdict.claim.id


def test_broken_versions_of_the_method_are_caught(quick):
    """Every claim that holds at quick scale loses to a mutant, and every control is one."""
    assert len(quick.study.mutants) >= 3
    assert list(control_faults(quick.study)) == []
    store = quick.store.folder.parents[2]
    answers = run(quick.study, scale="quick", store=store, engine="inline", progress="none", mutants=True)
    assert answers.failures() == {}
    tried = trials(quick.study, quick.planned_table(), answers.planned_table(), scale="quick")
    assert {claim: trial for claim, trial in tried.items() if not any(t.caught for t in trial)} == {}


def test_figures_are_drawn_from_the_table(quick):
    table = quick.table()
    for figure in quick.study.figures:
        assert len(table.query(figure.rows)), figure.name
        assert figure.draw(table.query(figure.rows)).axes, figure.name


def test_the_cpu_scale_fits_its_budget(request):
    study = request.module.study
    settings = study.scales["cpu"]
    assert min(grid.seeds for grid in study.grids(settings)) >= 5
    assert sum(cell.cost_s for cell in study.cells("cpu", settings)) / 2 <= study.budget_s
