"""``groundshift lls`` on a file of a user's."""

import json

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from groundshift.commands.lls import app
from groundshift.errors import InputError
from groundshift.worlds.label_shift import draw_priors, styled_blobs


@pytest.fixture
def table(tmp_path):
    rng = np.random.default_rng(0)
    world = styled_blobs(rng, draw_priors(rng, 3, 6), 300)
    path = tmp_path / "items.parquet"
    frame = pd.DataFrame(world.X, columns=list("abcde"))
    frame.assign(site=[f"s{d}" for d in world.domain]).to_parquet(path)
    return path


def call(*arguments):
    result = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_fit_prints_and_writes(table, tmp_path):
    out, plot = tmp_path / "labels.csv", tmp_path / "shares.png"
    written = call(
        "fit", table, "--classes", 3, "--domain", "site", "--out", out, "--plot", plot, "--json"
    )  # fmt: skip
    prior = pd.DataFrame(json.loads(written)["class_prior"])
    assert prior.shape == (3, 6)
    np.testing.assert_allclose(prior.sum(), 1)
    assert len(pd.read_csv(out)) == 1800
    assert plot.stat().st_size > 1000
    assert json.loads(written)["diagnostics"]["gain"] > 0.02
    with pytest.raises(InputError, match="exists and is kept"):
        call("fit", table, "--classes", 3, "--domain", "site", "--out", out)


def test_choose_and_wrong_input(table):
    assert "classes" in call("choose", table, "--domain", "site", "--at-most", 5)
    with pytest.raises(InputError, match="6 domains cannot tell 9"):
        call("fit", table, "--classes", 9, "--domain", "site")
    with pytest.raises(InputError, match="'shop'"):
        call("fit", table, "--classes", 3, "--domain", "shop")
