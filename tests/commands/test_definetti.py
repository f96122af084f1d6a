"""``groundshift definetti`` on a file of a user's."""

import json

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from groundshift.commands.definetti import app
from groundshift.errors import InputError
from groundshift.worlds.exchangeable_groups import binary_pair


@pytest.fixture
def visits(tmp_path):
    world = binary_pair(np.random.default_rng(0), 4000)
    path = tmp_path / "visits.csv"
    table = pd.DataFrame(
        {
            "patient": np.repeat(np.arange(4000), 2),
            "dose": world.x.ravel(),
            "pressure": world.y.ravel(),
            "note": "-",
        }
    )
    table.to_csv(path, index=False)
    return path


def call(*arguments):
    result = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_fit_prints_and_writes(visits, tmp_path):
    out, plot = tmp_path / "found.json", tmp_path / "tests.png"
    output = call(
        "fit", visits, "--domain", "patient", "--variables", "dose,pressure", "--out", out, "--plot", plot
    )
    assert output.startswith("dose → pressure")
    assert "dose[1]" in output
    assert json.loads(out.read_text())["edges"][0]["effect"] == "pressure"
    assert plot.stat().st_size > 1000
    every = call(
        "fit", visits, "--domain", "patient", "--variables", "dose,pressure", "--records", "all", "--json"
    )
    assert json.loads(every)["decision"] == "dose → pressure"


def test_wrong_input_is_told(visits, tmp_path):
    with pytest.raises(InputError, match="'shop'"):
        call("fit", visits, "--domain", "shop")
    with pytest.raises(InputError, match="note is constant"):
        call("fit", visits, "--domain", "patient")
