"""``groundshift surgery`` on a file of a user's."""

import json

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from groundshift.commands.surgery import app
from groundshift.errors import InputError
from groundshift.worlds.causal_networks import smoking_table

GRAPH = "smoking->tar; tar->cancer; smoking<->cancer"


@pytest.fixture
def study(tmp_path):
    cells = np.random.default_rng(0).choice(8, 5000, p=smoking_table().ravel())
    s, t, c = np.unravel_index(cells, (2, 2, 2))
    path = tmp_path / "study.csv"
    age = np.random.default_rng(1).normal(50, 12, 5000)
    table = {"smoking": np.where(s, "yes", "no"), "tar": t, "cancer": np.where(c, "yes", "no"), "age": age}
    pd.DataFrame(table).to_csv(path, index=False)
    return path


def call(*arguments):
    result = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_do_prints_plots_and_writes(study, tmp_path):
    out, plot = tmp_path / "effect.json", tmp_path / "effect.png"
    output = call(
        "do", study, "--graph", GRAPH, "--do", "smoking", "--target", "cancer", "--out", out, "--plot", plot,
    )  # fmt: skip
    assert "P(cancer | do(smoking)) = Σ_{smoking′, tar}" in output
    assert "5,000 rows; 95% intervals from 1,000 posterior draws" in output
    row = json.loads(out.read_text(encoding="utf-8"))["table"][-1]
    assert row["p"] == pytest.approx(0.747, abs=0.04)
    assert row["naive"] == pytest.approx(0.81, abs=0.03)
    assert plot.stat().st_size > 1000
    with pytest.raises(InputError, match="exists and is kept"):
        call("do", study, "--graph", GRAPH, "--do", "smoking", "--target", "cancer", "--out", out)


def test_one_setting_against_another(study):
    args = ("do", study, "--graph", GRAPH, "--do", "smoking=yes", "--target", "cancer", "--draws", 0)
    versus = json.loads(call(*args, "--versus", "smoking=no", "--json"))
    assert versus["effect"][1]["difference"] == pytest.approx(0.29, abs=0.06)
    assert "as observed" in call(*args)
    with_age = f"age->smoking; age->cancer; {GRAPH}"
    output = call(
        "do", study, "--graph", with_age, "--do", "smoking=yes", "--target", "cancer", "--bins", "age=0,50,120",
    )  # fmt: skip
    assert "P(age)" in output


@pytest.mark.parametrize(
    ("do", "versus"), [("smoking", ()), ("smoking=yes", ()), ("smoking=yes", ("--versus", "smoking=no"))]
)
def test_bounds_are_printed(study, tmp_path, do, versus):
    table = pd.read_csv(study)
    table[(table["smoking"] == "yes") | (table["tar"] == 0)].to_csv(tmp_path / "gap.csv", index=False)
    args = ("do", tmp_path / "gap.csv", "--graph", GRAPH, "--do", do, "--target", "cancer", *versus)
    with pytest.raises(InputError, match="--support bounds"):
        call(*args)
    output = call(*args, "--support", "bounds")
    assert any(line.split()[-2:] == ["lower", "upper"] for line in output.splitlines())
    row = json.loads(call(*args, "--support", "bounds", "--json"))["effect" if "=" in do else "table"][-1]
    assert row["low"] <= row["lower"] < row["upper"] <= row["high"]


def test_intervals_can_be_a_bootstrap(study):
    args = ("do", study, "--graph", GRAPH, "--do", "smoking", "--target", "cancer")
    assert "1,000 bootstrap draws" in call(*args, "--intervals", "bootstrap")
    refused = CliRunner().invoke(app, [*map(str, args), "--intervals", "normal"])
    assert refused.exit_code == 2


def test_identify_and_draw(tmp_path):
    assert "the comb exists" in call("identify", "--graph", GRAPH, "--do", "smoking", "--target", "cancer")
    bow = json.loads(call("identify", "--graph", "X->Y; X<->Y", "--do", "X", "--target", "Y", "--json"))
    assert bow["computable"] is False
    assert bow["child"] == "Y"
    napkin = "W->Z; Z->X; X->Y; W<->X; W<->Y"
    assert "Q(Y | Z, X)" in call("identify", "--graph", napkin, "--do", "X", "--target", "Y", "--complete")
    out = tmp_path / "cut.svg"
    call(
        "draw",
        "--graph",
        "H->S; H->C; S->T; T->C",
        "--hidden",
        "H",
        "--cut",
        "S",
        "--target",
        "C",
        "--out",
        out,
    )
    assert "<svg" in out.read_text()
    with pytest.raises(InputError, match="exists and is kept"):
        call("draw", "--graph", GRAPH, "--out", out)


def test_wrong_input_is_told(study):
    do = ("do", study, "--target", "cancer", "--graph")
    for arguments, words in (
        ((GRAPH, "--do", "smoking", "--do", "tar=1"), "mixes names and values"),
        ((GRAPH, "--do", "smoking", "--versus", "smoking=no"), "needs a value too"),
        ((GRAPH, "--do", "smoking=yes", "--versus", "smoking"), "names no value"),
        ((GRAPH, "--do", "smoking", "--bins", "tar=many"), "cannot be read"),
        ((f"{GRAPH}; age->smoking; age->cancer", "--do", "smoking"), "age=5"),
        (("smoking->cancer; smoking<->cancer", "--do", "smoking"), "not computable"),
    ):
        with pytest.raises(InputError, match=words):
            call(*do, *arguments)
