"""What holds of every study, for its test file to import."""

import json
import math
from dataclasses import replace
from pathlib import Path

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


def test_broken_versions_of_the_method_are_caught(quick, tmp_path):
    """Every claim that holds at quick scale loses to a mutant, and every control is one.

    A few mutants that caught every claim of the published run come first; all others answer where these do not suffice.
    """
    study = quick.study
    assert len(study.mutants) >= 3
    assert list(control_faults(study)) == []
    few, every = _cover(study.slug), {mutant.name for mutant in study.mutants}
    for names in [few, every] if few and few < every else [every]:
        rivals = {name for grid in study.grids(study.scales["quick"]) for name in grid.methods}
        methods = tuple(m for m in study.methods if m.role != "mutant" or m.name in names | rivals)
        part = replace(study, methods=methods)
        store = tmp_path / str(len(names))
        answers = run(part, scale="quick", store=store, engine="inline", progress="none", mutants=True)
        assert answers.failures() == {}
        tried = trials(part, quick.planned_table(), answers.planned_table(), scale="quick")
        empty = {claim: trial for claim, trial in tried.items() if not any(t.caught for t in trial)}
        if not empty:
            break
    assert empty == {}


def _cover(slug):
    """Mutants that together caught all claims that any caught in the published run, greedily."""
    path = Path(__file__).parents[2] / "results" / slug / "summary.json"
    caught = {}
    for claim in json.loads(path.read_text())["claims"] if path.exists() else ():
        for trial in claim.get("mutants", ()):
            if trial["caught"]:
                caught.setdefault(trial["mutant"].partition(" as ")[0], set()).add(claim["id"])
    chosen, left = set(), set().union(*caught.values())
    while left:
        best = max(caught, key=lambda name: len(caught[name] & left))
        chosen.add(best)
        left -= caught[best]
    return chosen


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
