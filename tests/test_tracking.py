"""A result in MLflow, and as a check of a pipeline."""

import numpy as np
import pandas as pd
import pytest

from groundshift import audit
from groundshift.errors import CheckFailed, InputError
from groundshift.tracking import log_to_mlflow


@pytest.fixture(scope="module")
def moved():
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.standard_normal((600, 2)), columns=["age", "spend"])
    table["month"] = np.repeat(["may", "june"], 300)
    table.loc[300:, "age"] += 2.0
    return audit(table, domain="month", null_runs=0, remedies=False)


def test_a_run_of_mlflow_holds_numbers_and_page(moved, tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    mlflow.set_tracking_uri((tmp_path / "runs").as_uri())
    with mlflow.start_run() as run:
        log_to_mlflow(moved)
    kept = mlflow.get_run(run.info.run_id).data
    assert kept.metrics["audit.kinds.covariate.size"] == pytest.approx(moved.kind("covariate").size)
    assert kept.tags["audit.headline"].startswith("Covariate shift")
    files = {item.path for item in mlflow.MlflowClient().list_artifacts(run.info.run_id, "audit")}
    assert {"audit/index.html", "audit/audit.json"} <= files
    with pytest.raises(InputError, match="dict"):
        log_to_mlflow({})


def test_a_check_fails_as_an_assertion(moved):
    with pytest.raises(CheckFailed, match="covariate"):
        moved.check(["covariate:0.1"])
    with pytest.raises(AssertionError):
        moved.check()
    moved.check(["missingness"])
    with pytest.raises(CheckFailed, match="cannot tell"):
        moved.check(["concept"])
    with pytest.warns(UserWarning, match="cannot tell"):
        moved.check(["concept"], on_unknown="warn")
    moved.check(["concept"], on_unknown="ignore")
    with pytest.raises(InputError, match="weather"):
        moved.check(["weather"])
