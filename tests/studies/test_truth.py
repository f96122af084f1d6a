"""The study of the stability of truth at quick scale: it runs, its claims read what is measured."""

import numpy as np
import pytest

from groundshift.lab.study import Sample
from groundshift.studies import truth
from groundshift.studies.truth import study
from groundshift.worlds.truth_geometry import Geometry
from tests.studies.contract import (  # noqa: F401
    test_every_cell_runs_and_every_claim_is_measured,
    test_figures_are_drawn_from_the_table,
)


def test_the_cpu_scale_fits_its_budget():
    settings = study.scales["cpu"]
    assert sum(cell.cost_s for cell in study.cells("cpu", settings)) / 2 < study.budget_s


def test_calibration_tells_the_right_law_from_another():
    world = Geometry(separation=truth.SEPARATION, overlap=1.0)
    laws = [world.flips(kind) for kind in ("synthetic", "fictional")]
    rows = np.array([[f.retraction, f.expansion, f.flip, f.flip - 0.02, f.flip + 0.02] for f in laws])
    right = truth.calibration.score({"reports": rows[None], "accuracy": 0.9}, Sample(None, world))
    assert right["bias"] == pytest.approx(0, abs=1e-3)
    assert right["wrong"] > 2
    off = truth.calibration.score({"reports": rows[None] + 0.1, "accuracy": 0.9}, Sample(None, world))
    assert off["bias"] > 3
