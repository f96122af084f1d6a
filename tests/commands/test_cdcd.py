"""``groundshift cdcd`` on files of a user's."""

import json

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from groundshift.commands.cdcd import app
from groundshift.errors import InputError
from groundshift.worlds.rhythm import rhythm

SHORT = ("--steps", "10", "--iterations", "30", "--width", "16", "--held-out", "16", "--weight", "0.1")


@pytest.fixture
def files(tmp_path):
    world = rhythm(np.random.default_rng(0), 200)
    np.save(tmp_path / "tokens.npy", world.tokens)
    np.save(tmp_path / "dance.npy", world.condition)
    pd.DataFrame({"genre": np.array(["krump", "lock", "pop", "waack"])[world.genre]}).to_csv(
        tmp_path / "genre.csv", index=False
    )
    return tmp_path


def call(*arguments):
    result = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_fit_and_sample(files):
    m, made = files / "m", files / "made.npy"
    inter = ("--negatives", "inter", "--groups", files / "genre.csv")
    said = call("fit", files / "tokens.npy", "--condition", files / "dance.npy", *inter, "--out", m, *SHORT)
    assert "184 sequences of 24" in said
    assert "own rank of 16" in said
    report = json.loads((m / "report.json").read_text())
    assert list(report["found"]) == ["held out", "samples", "plain", "cooled"]
    assert 0.2 <= report["temperature"] <= 1
    for row in report["found"].values():
        assert 1 <= row["rank"] <= 16
        assert 0 <= row["asked_class"] <= 1
    assert report["found"]["held out"]["asked_class"] > 0.4
    assert "plain diffusion" in said
    said = call("sample", m, "--condition", files / "dance.npy", "--steps", "5", "--out", made)
    assert "200 sequences of 24 codes" in said
    codes = np.load(made)
    assert codes.shape == (200, 24)
    assert codes.min() >= 0
    assert codes.max() < 32
    with pytest.raises(InputError, match="is kept"):
        call("sample", m, "--condition", files / "dance.npy", "--out", made)
    with pytest.raises(InputError, match="is kept"):
        call("fit", files / "tokens.npy", "--condition", files / "dance.npy", "--out", m, *SHORT)


def test_labels_of_a_table_are_a_condition(files):
    genre = files / "genre.csv"
    said = call(
        "fit", files / "tokens.npy", "--condition", genre, "--contrast", "none", "--out", files / "m", "--json", *SHORT
    )  # fmt: skip
    report = json.loads(said)
    assert report["strength"] == 0
    assert list(report["found"]) == ["held out", "samples"]
    for row in report["found"].values():  # sixteen rows, four classes
        assert row["conditions"] == 4
        assert 1 <= row["rank"] <= 4
        assert 0 < row["most_information"] <= np.log(4)
    pd.DataFrame({"genre": ["pop", "waltz"]}).to_csv(files / "other.csv", index=False)
    with pytest.raises(InputError, match="'waltz'"):
        call("sample", files / "m", "--condition", files / "other.csv", "--out", files / "x.npy")


def test_wrong_input_is_told(files):
    tokens, dance = files / "tokens.npy", files / "dance.npy"
    with pytest.raises(InputError, match=r"no \.npy file"):
        call("fit", files / "genre.csv", "--condition", dance, "--out", files / "m")
    np.save(files / "short.npy", np.load(dance)[:5])
    with pytest.raises(InputError, match="5 conditions were given for 200"):
        call("fit", tokens, "--condition", files / "short.npy", "--out", files / "m")
    pd.DataFrame({"genre": ["pop"] * 184 + ["lock"] * 16}).to_csv(files / "sorted.csv", index=False)
    with pytest.raises(InputError, match="one condition only; shuffle"):
        call("fit", tokens, "--condition", files / "sorted.csv", "--out", files / "m", *SHORT)
    with pytest.raises(InputError, match="--held-out 200"):
        call("fit", tokens, "--condition", dance, "--held-out", "200", "--out", files / "m")
    with pytest.raises(InputError, match=r"holds no cdcd\.json"):
        call("sample", files, "--condition", dance, "--out", files / "x.npy")
    assert not (files / "m").exists()
