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
    out, plot = tmp_path / "result", tmp_path / "graph.png"
    arguments = ("fit", table, "--domain", "site", "--drop", "row", "--out", out)
    output = call(*arguments, "--plot", plot, "--bootstrap", 3)
    assert "dose → response  (independent changes)" in output
    assert "in 3 draws" in output
    written = json.loads((out / "cdnod.json").read_text())
    assert written["edges"][0]["cause"] == "dose"
    assert len(written["bootstrap"]) >= 3
    assert '"dose" -> "response"' in (out / "graph.dot").read_text()
    assert plot.stat().st_size > 1000
    with pytest.raises(InputError, match="exists and is kept"):
        call(*arguments)


@pytest.mark.parametrize("old", [("--kind", "domain"), ("--kind", "site=category", "--kind", "domain")])
def test_how_the_domain_is_taken_has_an_option_of_its_own(table, old):
    given = ("direction", table, "--domain", "site", "--x", "response", "--y", "dose", "--json")
    assert call(*given, *old) == call(*given, "--domain-kind", "domain")
    with pytest.raises(InputError, match="both domain and time"):
        call(*given, "--kind", "domain", "--kind", "time")
    with pytest.raises(InputError, match="--domain-kind domain"):
        call(*given, "--kind", "time")


def test_known_edges_are_given_in_words(table):
    known = ("--required", "response->dose")
    content = json.loads(call("fit", table, "--domain", "site", "--drop", "row", *known, "--json"))
    assert (content["edges"][0]["cause"], content["edges"][0]["reason"]) == ("response", "known beforehand")
    with pytest.raises(InputError, match="cause->effect"):
        call("fit", table, "--domain", "site", "--required", "response")


def test_direction_and_force(table, tmp_path):
    score = json.loads(
        call("direction", table, "--domain", "site", "--x", "response", "--y", "dose", "--json")
    )
    assert (score["effect"], score["decided"]) == ("response", True)
    out = tmp_path / "force.csv"
    output = call("force", table, "--domain", "site", "--of", "response", "--given", "dose", "--out", out)
    assert output.startswith("Component 1 holds")
    assert len(pd.read_csv(out)) == 20


@pytest.fixture
def doses(tmp_path):
    """A dose in words, a reading with gaps, a vector, and a code for the site."""
    rng = np.random.default_rng(0)
    site = np.repeat(np.arange(20), 30)
    high = rng.random(600) < rng.uniform(0.1, 0.9, 20)[site]
    response = np.where(high, rng.normal(0, 2, 20)[site], 0) + 0.5 * rng.standard_normal(600)
    frame = pd.DataFrame({"dose": np.where(high, "high", "low"), "response": response, "site": site})
    frame = frame.assign(
        level=high.astype(int), px=rng.standard_normal(600) + site % 3, py=rng.standard_normal(600)
    )
    frame.loc[5, "response"] = np.nan
    frame.assign(place=7 * site % 20).to_csv(tmp_path / "doses.csv", index=False)
    return tmp_path / "doses.csv"


def test_labels_groups_and_gaps_are_taken_by_every_verb(doses):
    shared = ("--domain", "site", "--kind", "domain", "--dropna", "--json")
    components = []
    for dose, more in (("dose", ()), ("level", ("--discrete", "level"))):
        content = json.loads(call("force", doses, "--of", "response", "--given", dose, *more, *shared))
        components.append([row["1"] for row in content["components"]])
    np.testing.assert_allclose(*components)
    score = json.loads(call("direction", doses, "--x", "dose", "--y", "response", *shared))
    assert set(score["delta"]) == {"dose", "response"}
    group = ("--group", "p=px,py")
    assert len(json.loads(call("force", doses, "--of", "p", *group, *shared))["components"]) == 20
    assert set(json.loads(call("direction", doses, "--x", "p", "--y", "dose", *group, *shared))["delta"]) == {
        "p", "dose",
    }  # fmt: skip
    model = json.loads(call("fit", doses, *group, "--discrete", "level", "--drop", "dose,place", *shared))
    assert {row["variable"] for row in model["changing"]} == {"p", "level", "response"}
    for verb in (
        ("force", doses, "--of", "response"),
        ("direction", doses, "--x", "dose", "--y", "response"),
    ):
        with pytest.raises(InputError, match="1 of 600 rows have missing values"):
            call(*verb, "--domain", "site", "--kind", "domain")
    with pytest.raises(InputError, match="--group name=value"):
        call("force", doses, "--of", "p", "--group", "p", *shared)
    with pytest.raises(InputError, match="takes site, which domain has"):
        call("force", doses, "--of", "site", *shared)


def test_functions_of_other_columns_are_told(doses):
    output = call(
        "fit", doses, "--domain", "site", "--kind", "domain", "--dropna", "--drop", "level,px,py",
        "--discrete", "place",
    )  # fmt: skip
    assert "Warning: place and site are functions of each other" in output
    assert output.count("functions of each other") == 1


def test_wrong_names_are_told(table):
    with pytest.raises(InputError, match="'shop'"):
        call("fit", table, "--domain", "shop")
    with pytest.raises(InputError, match="no column 'zz'"):
        call("fit", table, "--domain", "site", "--drop", "zz")
    with pytest.raises(InputError, match="'zz'"):
        call("direction", table, "--domain", "site", "--x", "zz", "--y", "dose")
