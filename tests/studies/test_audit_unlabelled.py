"""The study of unlabelled rows: it runs, and its claims read what is planned."""

import math

import numpy as np
import pandas as pd

from groundshift.lab.claims import gather
from groundshift.studies.audit_unlabelled import intervals, study, tables
from tests.studies.contract import (  # noqa: F401
    test_broken_versions_of_the_method_are_caught,
    test_every_cell_runs_and_every_claim_is_measured,
    test_figures_are_drawn_from_the_table,
)


def test_every_claim_and_control_reads_what_is_planned_with_enough_seeds():
    rng = np.random.default_rng(0)
    rows = []
    for cell in study.cells("cpu", study.scales["cpu"]):
        given = {"key": cell.key, "world": cell.world, "method": cell.method, "severity": cell.severity}
        given |= {"seed": cell.seed, **cell.world_params}
        gives = [name for measure in cell.measures for name in study.measure(measure).gives]
        rows += [{**given, "measure": name, "value": float(rng.integers(2))} for name in gives]
    table = pd.DataFrame(rows)
    for claim in study.claims:
        evidence = gather(claim, table)
        assert math.isfinite(evidence.mean), claim.id
        assert evidence.valid >= claim.n, claim.id
        assert math.isfinite(evidence.control.mean), claim.id


def test_the_truth_that_methods_are_held_against():
    """An interval that is the truth covers; the expected loss is that of labels drawn again."""
    rng = np.random.default_rng(1)
    world = {"shift": "covariate", "count": 3, "least": 4000, "most": 4000}
    for target in ("binary", "classes", "continuous"):
        sample = tables.sample(rng, 1.0, target=target, **world)
        true = np.array([t.values for t in sample.truth])
        assert intervals.score({"values": np.stack([true, true, true], axis=1)}, sample)["covered"] == 1
        assert (
            intervals.score({"values": np.stack([true, true + 1, true + 2], axis=1)}, sample)["covered"] == 0
        )
        for truth in sample.truth:
            assert abs(truth.values[0] / truth.expected - 1) < 0.15
