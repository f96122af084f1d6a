"""Every reader of tables gives a result or an `InputError`, whatever is handed in."""

import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from groundshift.benchmarks import csts
from groundshift.discovery import surgery
from groundshift.discovery.cdnod import CDNOD
from groundshift.discovery.definetti import CausalDeFinetti
from groundshift.discovery.lls import LatentLabelShift
from groundshift.errors import InputError
from groundshift.workflows.audit import audit
from tests.tables.odd import frames

FAST = {"null_runs": 0, "remedies": False}
READERS = {
    "audit": lambda f, d: audit(f, domain=d, **FAST),
    "audit with a target": lambda f, d: audit(f, domain=d, target=str(f.columns[-1]), **FAST),
    "audit over time": lambda f, d: audit(f, time=str(f.columns[0]), **FAST),
    "audit of two tables": lambda f, d: audit(reference=f, current=f, **FAST),
    "cdnod": lambda f, d: CDNOD(phases=(1, 2)).fit(f, domain=d),
    "definetti": lambda f, d: CausalDeFinetti().fit(f, domain=d),
    "lls": lambda f, d: LatentLabelShift(2, discriminator="logistic").fit(f, domain=d),
    "surgery": lambda f, d: surgery.interventional(surgery.Model("x->y"), f, ["x"], ["y"], intervals=None),
    "csts": lambda f, d: csts.describe(f, [0] * len(f)),
    "csts labels": lambda f, d: csts.as_segments(f),
}


def read_or_refuse(name, frame, domain):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            READERS[name](frame, domain)
        except InputError:
            return


@pytest.mark.parametrize("name", READERS)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(frame=frames(most_rows=2), named=st.booleans())
def test_a_few_odd_rows(name, frame, named):
    if frame.shape[1] == 0:
        frame = pd.DataFrame({"a": [None] * len(frame)})
    domain = str(frame.columns[0]) if named else np.arange(len(frame)) % 2
    read_or_refuse(name, frame, domain)


@pytest.mark.parametrize("name", READERS)
@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(frame=frames(most_rows=5), seed=st.integers(0, 99))
def test_odd_columns_beside_enough_rows(name, frame, seed):
    """The odd cells again and again, beside columns that are as they should be."""
    if len(frame) == 0 or frame.columns.astype(str).duplicated().any():
        return
    rng = np.random.default_rng(seed)
    many = frame.iloc[rng.integers(0, len(frame), 160)].reset_index(drop=True)
    plain = {"x": rng.integers(0, 2, 160), "y": rng.normal(size=160), "site": np.repeat(np.arange(80), 2)}
    table = pd.concat([pd.DataFrame(plain), many.drop(columns=[c for c in many if str(c) in plain])], axis=1)
    domain = "site" if name == "definetti" else np.arange(160) % 2
    read_or_refuse(name, table, domain)
