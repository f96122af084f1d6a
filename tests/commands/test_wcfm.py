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


def test_fit_writes_a_flow_samples_and_a_page_and_sample_draws_more(table, tmp_path):
    out = tmp_path / "flow"
    said = call(
        "fit", table, "--drop", "id", "--label", "side", "--steps", 150, "--samples", 300, "--out", out
    )
    assert "effective sample size 0.70" in said
    drawn = pd.read_parquet(out / "samples.parquet")
    assert drawn.columns.tolist() == ["<b>age</b>", "spend", "side"]
    assert len(drawn) == 300
    assert {"regions", "evaluation", "classes"} <= set(json.loads((out / "report.json").read_text()))
    page = (out / "report.html").read_text()
    assert page.count("<svg") == 3
    assert "&lt;b&gt;age" in page
    assert "<b>age" not in page
    assert "http://" not in page.replace("http://www.w3.org/", "")
    call("sample", out, "-n", 40, "--label", "far", "--out", tmp_path / "more.csv")
    assert pd.read_csv(tmp_path / "more.csv")["side"].unique().tolist() == ["far"]
    for again in (("fit", table, "--out", out), ("sample", out, "--out", tmp_path / "more.csv")):
        with pytest.raises(InputError, match="exists and is kept"):
            call(*again)


def test_diagnose_needs_no_training(table):
    found = json.loads(call("diagnose", table, "--drop", "id,side", "--eps", "0.5,auto,inf", "--json"))
    assert [row["ess"] for row in found] == sorted(row["ess"] for row in found)
    assert found[1]["ess"] == pytest.approx(0.7, abs=0.01)
    assert found[2]["eps"] == "inf"
    assert found[0]["tilt_target"] > found[2]["tilt_target"] == 0
    assert "tilt_target" in call("diagnose", table, "--drop", "id,side")
    by_class = json.loads(
        call("diagnose", table, "--drop", "id", "--label", "side", "--eps", "0.5,inf", "--json")
    )
    assert by_class[0]["share of far"] != by_class[0]["share of near"]
    assert by_class[1]["share of far"] == pytest.approx(1)
    with pytest.raises(InputError, match="no column 'sid'"):
        call("diagnose", table, "--label", "sid")


def test_arrays_are_read_and_wrong_input_is_told(table, tmp_path):
    np.save(tmp_path / "images.npy", np.random.default_rng(0).standard_normal((60, 1, 4, 4)))
    call(
        "fit",
        tmp_path / "images.npy",
        "--raw",
        "--steps",
        2,
        "--samples",
        5,
        "--out",
        tmp_path / "images",
        "-q",
    )
    assert np.load(tmp_path / "images" / "samples.npy").shape == (5, 1, 4, 4)
    with pytest.raises(InputError, match="hold no numbers: side, id"):
        call("fit", table, "--out", tmp_path / "new")
    with pytest.raises(InputError, match="no column 'town'"):
        call("fit", table, "--drop", "town", "--out", tmp_path / "new")
    with pytest.raises(InputError, match="--eps hot"):
        call("diagnose", table, "--eps", "hot", "--drop", "id,side")
    with pytest.raises(InputError, match="name one"):
        call("sample", tmp_path / "images", "--out", tmp_path / "rows.txt")
    assert not (tmp_path / "new").exists()
