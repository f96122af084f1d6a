"""``groundshift wcfm`` on a file of a user's."""

import json

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from groundshift.commands.wcfm import app
from groundshift.errors import InputError
from groundshift.generation.wcfm import estimator
from groundshift.worlds.point_clouds import near_far


@pytest.fixture
def table(tmp_path, monkeypatch):
    monkeypatch.setattr(estimator, "PILOT", 400)
    monkeypatch.setattr(estimator, "EVALUATED", 200)
    monkeypatch.setattr(estimator, "GENERATED", 400)
    cloud = near_far(np.random.default_rng(0), 1500)
    rows = pd.DataFrame(cloud.points * [1, 100], columns=["<b>age</b>", "spend"])
    rows["side"], rows["id"] = np.array(["near", "far"])[cloud.modes], "x"
    path = tmp_path / "rows.parquet"
    rows.to_parquet(path)
    return path


def call(*arguments):
    result = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_fit_writes_a_flow_and_a_page_and_sample_draws_rows(table, tmp_path):
    out = tmp_path / "flow"
    text = call("fit", table, "--drop", "id", "--label", "side", "--steps", 150, "--out", out)
    assert "effective sample size: 0.7" in text
    assert {"regions", "evaluation", "classes"} <= set(json.loads((out / "wcfm.json").read_text()))
    page = (out / "index.html").read_text()
    assert "&lt;b&gt;age" in page
    assert "<b>age" not in page
    call("sample", out, "--samples", 40, "--label", "far", "--out", tmp_path / "more.csv")
    drawn = pd.read_csv(tmp_path / "more.csv")
    assert drawn.columns.tolist() == ["<b>age</b>", "spend", "side"]
    assert drawn["side"].tolist() == ["far"] * 40


def test_diagnose_needs_no_training(table):
    few = ("--pilot", "300", "--json")
    rows = json.loads(call("diagnose", table, "--drop", "id,side", "--eps", "0.5,auto,inf", *few))[
        "temperatures"
    ]
    assert [row["ess"] for row in rows] == sorted(row["ess"] for row in rows)
    assert rows[1]["ess"] == pytest.approx(0.7, abs=0.01)
    assert rows[2]["eps"] == "inf"
    assert rows[0]["tilt_target"] > rows[2]["tilt_target"] == 0
    by_class = json.loads(
        call("diagnose", table, "--drop", "id", "--label", "side", "--eps", "0.5,inf", *few)
    )
    first, last = by_class["temperatures"]
    assert first["share of far"] != first["share of near"]
    assert last["share of far"] == pytest.approx(1)


def test_arrays_are_read_and_wrong_input_is_refused(table, tmp_path):
    np.save(tmp_path / "images.npy", np.random.default_rng(0).standard_normal((60, 1, 4, 4)))
    call("fit", tmp_path / "images.npy", "--steps", 2, "--out", tmp_path / "images", "-q")
    assert 'alt="sample 1"' in (tmp_path / "images" / "index.html").read_text()
    call("sample", tmp_path / "images", "--samples", 5, "--out", tmp_path / "more.npy")
    assert np.load(tmp_path / "more.npy").shape == (5, 1, 4, 4)
    for message, arguments in {
        "no column 'town'": ("fit", table, "--drop", "town", "--out", tmp_path / "new"),
        "no column 'sid'": ("diagnose", table, "--label", "sid"),
        "eps='hot'": ("diagnose", table, "--eps", "hot", "--drop", "id,side"),
        "--out is missing": ("fit", table),
    }.items():
        with pytest.raises(InputError, match=message):
            call(*arguments)
    assert not (tmp_path / "new").exists()
