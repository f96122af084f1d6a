"""The study of the stability of truth at quick scale: it runs, its claims read what is measured."""

import numpy as np
import pytest

from groundshift.lab.study import Sample
from groundshift.studies import truth
from groundshift.studies.truth import study
from groundshift.worlds.truth_geometry import Geometry
from tests.studies.contract import (  # noqa: F401
    test_broken_versions_of_the_method_are_caught,
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

    def bias(reports):
        return [
            row["bias"] for row in truth.calibration.score({"reports": reports[None]}, Sample(None, world))
        ]

    assert bias(rows) == pytest.approx([0, 0], abs=1e-3)
    assert min(bias(rows[::-1])) > 2
    assert min(bias(rows + 0.1)) > 3


def test_tampering_leaves_entities_whole_and_the_data_as_they_were():
    rng = np.random.default_rng(0)
    sample = truth.atlas.sample(rng, 0.0, **truth.PLAIN, places=20, others=80, steps=1)
    before = sample.data["table"].copy()
    table = truth.shuffled.prepare(sample.data, rng)["table"]
    assert before.equals(sample.data["table"])
    assert (table["kind"] != before["kind"]).any()
    assert (table.groupby("entity")["kind"].nunique()[lambda n: n > 1].index.str.startswith("real")).all()
    assert table["canonical"].notna().equals(table["kind"] == "fictional")
    moved = truth.like_fiction.prepare(sample.data, rng)["states"]
    synthetic = (before["kind"] == "synthetic").to_numpy()
    for site, x in sample.data["states"].items():
        assert np.array_equal(moved[site][~synthetic], x[~synthetic])
        assert not np.array_equal(moved[site][synthetic], x[synthetic])
