"""A monthly job: audits that are kept, a timeline that grows, alerts that are told once."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from groundshift.commands.audit import app
from groundshift.errors import InputError
from groundshift.workflows.audit import audit
from groundshift.workflows.audit.history import history, record

FAST = {"null_runs": 0, "max_rows": 1500}
MONTHS = {"2024-01": 0.0, "2024-02": 0.0, "2024-03": 1.5, "2024-04": 1.5}


def rows(seed, moved=0.0, n=700):
    """Rows whose relation of y to a turns where they moved."""
    rng = np.random.default_rng(seed)
    a, b = rng.standard_normal((2, n))
    y = rng.random(n) < 1 / (1 + np.exp(-(1.5 * a * (1 - moved) + b)))
    return pd.DataFrame({"a": a, "b": b, "y": np.where(y, "yes", "no")})


@pytest.fixture(scope="module")
def months(tmp_path_factory):
    """A store of four months, the third without labels at first, and what was fresh in each."""
    folder = tmp_path_factory.mktemp("months")
    fresh = {}
    for k, (month, moved) in enumerate(MONTHS.items()):
        now = rows(k + 1, moved)
        now = now.drop(columns="y") if month == "2024-03" else now
        result = audit(
            reference=rows(0), current=now, target="y", history=folder / "store", period=month, **FAST
        )
        fresh[month] = result.history.tell()
    return folder / "store", fresh


def test_the_timeline_grows_and_an_alert_is_told_once(months):
    store, fresh = months
    kept = history(store)
    assert kept.runs["period"].unique().tolist() == list(MONTHS)
    assert not len(fresh["2024-01"])
    assert not len(fresh["2024-02"])
    assert fresh["2024-04"]["kind"].tolist() == ["concept"]
    assert not len(kept.fresh)
    assert kept.report().headline == "New in 2024-04: concept."
    assert (store / "index.html").read_text().count("2024-04") > 1
    assert pd.read_parquet(store / "index.parquet")["period"].nunique() == 4


def test_late_labels_correct_what_was_estimated(months, tmp_path):
    store = shutil.copytree(months[0], tmp_path / "store")
    before = history(store).performance.set_index("period")
    assert np.isnan(before.loc["2024-03", "realised"])
    assert before.loc["2024-03", "low"] <= before.loc["2024-03", "estimated"] <= before.loc["2024-03", "high"]
    late = audit(reference=rows(0), current=rows(3, 1.5), target="y", history=store, period="2024-03", **FAST)
    after = late.history.performance.set_index("period")
    assert after.loc["2024-03", "estimated"] == before.loc["2024-03", "estimated"]
    assert after.loc["2024-03", "realised"] > 1.2 * after.loc["2024-03", "estimated"]
    assert late.history.fresh[["period", "kind"]].values.tolist() == [["2024-03", "concept"]]
    assert len(list((store / "records").glob("*.json"))) == 5
    at = late.history.runs.query("period == '2024-03' and kind == 'concept'")
    assert at["record"].tolist() == [2]


def test_the_same_audit_is_kept_once_and_asked_by_sql(months):
    store, _ = months
    again = audit(reference=rows(0), current=rows(1), target="y", history=store, period="2024-01", **FAST)
    assert len(list((store / "records").glob("*.json"))) == 4
    answer = again.history.query("select period from runs where kind = 'concept' and found order by period")
    assert answer["period"].tolist() == ["2024-04"]
    with pytest.raises(InputError, match="The tables are runs"):
        again.history.query("select nothing from nowhere")


def test_a_killed_job_loses_nothing(months, tmp_path):
    """Whenever it is killed, the store opens, and the same job again completes it."""
    code = (
        "import sys; from tests.workflows.test_audit_history import *\n"
        "from groundshift.workflows.audit import history as h\n"
        "result = audit(reference=rows(0), current=rows(9, 1.5), target='y', **FAST)\n"
        "print('ready', flush=True)\n"
        "while True:\n"
        "    kept = h.record(result, sys.argv[1], f'2025-{len(list(h.Path(sys.argv[1]).rglob(\"*\"))):02}')\n"
    )
    for moment in (0.0, 0.07):
        store = shutil.copytree(months[0], tmp_path / f"store{moment}")
        job = subprocess.Popen([sys.executable, "-c", code, store], stdout=subprocess.PIPE, text=True)
        assert job.stdout.readline() == "ready\n"
        time.sleep(moment)
        os.kill(job.pid, signal.SIGKILL)
        job.wait()
        kept = history(store)
        assert set(MONTHS) <= set(kept.runs["period"])
        assert len(kept.runs) == 6 * kept.runs["period"].nunique()
        again = record(audit(reference=rows(0), current=rows(9), target="y", **FAST), store, "2026-01")
        assert again.runs["period"].iloc[-1] == "2026-01"
        assert pd.read_parquet(store / "index.parquet")["period"].iloc[-1] == "2026-01"


def test_an_alert_that_was_not_passed_on_stays_fresh(months, tmp_path):
    store = shutil.copytree(months[0], tmp_path / "store")
    (store / "told.jsonl").write_text('["2024-04", "conc')
    assert history(store).fresh["kind"].tolist() == ["concept"]
    assert len(history(store).tell()) == 1
    assert not len(history(store).fresh)


def test_the_command_names_the_period_by_its_file_and_tells_once(tmp_path):
    rows(0).to_csv(tmp_path / "base.csv", index=False)
    said = []
    for k, moved in enumerate((0.0, 1.5, 1.5)):
        rows(k + 1, moved).to_csv(tmp_path / f"2024-0{k + 1}.csv", index=False)
        done = CliRunner().invoke(app, [
            "--reference", str(tmp_path / "base.csv"), "--current", str(tmp_path / f"2024-0{k + 1}.csv"),
            "--target", "y", "--history", str(tmp_path / "store"), "--null-runs", "0",
            "--no-remedies", "--max-rows", "1500", "--quiet",
        ])  # fmt: skip
        assert done.exit_code == 0, done.output
        said.append("new in" in done.output)
    assert said == [False, True, False]
    kept = history(tmp_path / "store")
    assert kept.runs["period"].unique().tolist() == ["2024-01", "2024-02", "2024-03"]
    assert kept.report().headline == "Nothing is new in 2024-03; concept goes on."


def test_wrong_folders_are_refused_before_work_begins(tmp_path):
    with pytest.raises(InputError, match="holds no record of an audit"):
        history(tmp_path / "none")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("mine")
    began = time.monotonic()
    with pytest.raises(InputError, match="holds other files and no audits"):
        audit(reference=rows(0), current=rows(1), history=tmp_path / "other")
    assert time.monotonic() - began < 2
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="is a file; a store of audits is a folder"):
        audit(reference=rows(0), current=rows(1), history=tmp_path / "file")
    (tmp_path / "store" / "records").mkdir(parents=True)
    (tmp_path / "store" / "records" / "a.1.json").write_text(json.dumps({"a": 1}))
    with pytest.raises(InputError, match="no record of an audit"):
        history(tmp_path / "store")
