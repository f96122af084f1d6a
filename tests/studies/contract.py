"""What holds of every study, for its test file to import."""

import math


def test_every_cell_runs_and_every_claim_is_measured(quick):
    assert quick.failures() == {}
    verdicts = quick.verdicts()
    assert [v.claim.id for v in verdicts] == [c.id for c in quick.study.claims]
    for verdict in verdicts:
        assert math.isfinite(verdict.evidence.mean), verdict.claim.id
        assert math.isfinite(verdict.evidence.control.mean), verdict.claim.id


def test_figures_are_drawn_from_the_table(quick):
    table = quick.table()
    for figure in quick.study.figures:
        assert len(table.query(figure.rows)), figure.name
        assert figure.draw(table.query(figure.rows)).axes, figure.name
