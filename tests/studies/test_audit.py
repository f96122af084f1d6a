"""The study of the audit: it runs, its claims read what is planned, its detectors decide as the published ones do."""

import math
import warnings

import numpy as np
import pandas as pd
import pytest

from groundshift.lab.claims import gather
from groundshift.studies.audit import (
    _categories,
    _halves,
    alibi_flags,
    evidently_flags,
    read_flags,
    study,
)
from groundshift.worlds.shifted_tables import shifted_table
from tests.studies.contract import (  # noqa: F401
    test_broken_versions_of_the_method_are_caught,
    test_every_cell_runs_and_every_claim_is_measured,
)


def planned(scale="cpu"):
    """The long table of a run as planned, every value 0 or 1 at random."""
    rng = np.random.default_rng(0)
    rows = []
    for cell in study.cells(scale, study.scales[scale]):
        given = {
            "key": cell.key,
            "world": cell.world,
            "method": cell.method,
            "severity": cell.severity,
            "seed": cell.seed,
        }
        given |= {**cell.world_params, **cell.method_params}
        rows += [{**given, "measure": m, "value": float(rng.integers(2))} for m in study.measures[0].gives]
    return pd.DataFrame(rows)


def test_every_claim_and_control_reads_what_is_planned_with_enough_seeds():
    table = planned()
    for claim in study.claims:
        evidence = gather(claim, table)
        assert math.isfinite(evidence.mean), claim.id
        assert evidence.valid >= claim.n, claim.id
        assert math.isfinite(evidence.control.mean), claim.id


def test_figures_are_drawn_from_the_table():
    table = planned()
    for figure in study.figures:
        assert len(table.query(figure.rows)), figure.name
        assert figure.draw(table).axes, figure.name


def halves(seed, kind, severity, rows, target="binary"):
    shifts = {} if kind == "none" else {kind: severity}
    return _halves(shifted_table(np.random.default_rng(seed), shifts, rows, target=target).frame)


def test_flags_are_read_in_favour_of_the_detectors():
    quiet = dict.fromkeys(("a", "b", "y"), False)
    assert read_flags(quiet) == []
    assert read_flags(quiet | {"y": True}) == ["concept"]
    assert read_flags(quiet | {"y": True, "a": True}) == ["label"]
    assert read_flags(quiet | {"a": True}) == ["mechanism"]
    assert read_flags(quiet | {"a": True, "b": True}) == ["covariate"]


@pytest.mark.parametrize("rows", [400, 1500])
def test_both_rules_flag_the_column_whose_mechanism_moved(rows):
    parts = halves(1, "mechanism", 1.0, rows)
    assert evidently_flags(*parts)["spend"]
    flagged = alibi_flags(*parts)
    assert [name for name, flags in flagged.items() if flags] == ["spend"]


@pytest.mark.slow
def test_evidently_decides_as_its_rule_does():
    pytest.importorskip("evidently", reason="the extra `peers` is not installed")
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    cases = [
        (0, "none", 0.0, 400, "binary"), (1, "label", 0.5, 900, "classes"), (2, "covariate", 0.25, 400, "continuous"),
        (3, "mechanism", 0.25, 1500, "binary"), (4, "missingness", 1.0, 1500, "classes"),
    ]  # fmt: skip
    for case in cases:
        before, after = halves(*case)
        nominal = _categories(before)
        numbers = [c for c in before if c not in nominal]
        definition = DataDefinition(numerical_columns=numbers, categorical_columns=nominal)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            both = [Dataset.from_pandas(part, data_definition=definition) for part in (after, before)]
            drifts = Report([DataDriftPreset()]).run(*both).dict()["metrics"][1:]
        theirs = {}
        for drift in drifts:
            about = drift["config"]
            small = drift["value"] < about["threshold"]
            theirs[about["column"]] = bool(small if "p_value" in about["method"] else not small)
        assert evidently_flags(before, after) == theirs, case
