"""``groundshift cdnod`` on files of a user's."""

import json

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from groundshift.commands.cdnod import app
from groundshift.errors import InputError
from groundshift.worlds.changing_mechanisms import changing_pair


@pytest.fixture
def table(tmp_path):
    world = changing_pair(np.random.default_rng(1))
    path = tmp_path / "sites.parquet"
    frame = pd.DataFrame(world.data, columns=["dose", "response"])
    frame.assign(site=[f"s{k}" for k in world.domain], row=range(len(frame))).to_parquet(path)
    return path


def call(*arguments):
    result = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_fit_prints_and_writes(table, tmp_path):
    files = {name: tmp_path / name for name in ("graph.json", "graph.dot", "graph.png", "forces.png")}
    said = call(
        "fit", table, "--domain", "site", "--drop", "row", "--out", files["graph.json"], "--dot", files["graph.dot"],
        "--plot", files["graph.png"], "--plot-forces", files["forces.png"], "--bootstrap", 3,
    )  # fmt: skip
    assert "dose → response  (independent changes)" in said
    assert "in 3 draws" in said
    written = json.loads(files["graph.json"].read_text())
    assert written["edges"][0]["cause"] == "dose"
    assert len(written["bootstrap"]) >= 3
    assert all(f.stat().st_size > 20 for f in files.values())
    with pytest.raises(InputError, match="exists and is kept"):
        call("fit", table, "--domain", "site", "--out", files["graph.json"])


def test_direction_and_force(table, tmp_path):
    score = json.loads(
        call("direction", table, "--domain", "site", "--x", "response", "--y", "dose", "--json")
    )
    assert (score["effect"], score["decided"]) == ("response", True)
    out = tmp_path / "force.csv"
    said = call("force", table, "--domain", "site", "--of", "response", "--given", "dose", "--out", out)
    assert "component 1 holds" in said
    assert len(pd.read_csv(out)) == 20


def test_wrong_names_are_told(table):
    with pytest.raises(InputError, match="'shop'"):
        call("fit", table, "--domain", "shop")
    with pytest.raises(InputError, match="to drop"):
        call("fit", table, "--domain", "site", "--drop", "zz")
    with pytest.raises(InputError, match="'zz'"):
        call("direction", table, "--domain", "site", "--x", "zz", "--y", "dose")
