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
    m, sampled = files / "m", files / "sampled.npy"
    inter = ("--negatives", "inter", "--groups", files / "genre.csv")
    text = call("fit", files / "tokens.npy", files / "dance.npy", *inter, "--out", m, *SHORT)
    assert "plain diffusion" in text
    content = json.loads((m / "cdcd.json").read_text())
    assert list(content["found"]) == ["held out", "samples", "plain", "cooled"]
    assert 0.2 <= content["temperature"] <= 1
    for row in content["found"].values():
        assert 1 <= row["rank"] <= 16
        assert 0 <= row["asked_class"] <= 1
    assert content["found"]["held out"]["asked_class"] > 0.4
    text = call("sample", m, files / "dance.npy", "--steps", "5", "--out", sampled)
    assert "200 rows" in text
    codes = np.load(sampled)
    assert codes.shape == (200, 24)
    assert codes.min() >= 0
    assert codes.max() < 32


def test_labels_of_a_table_are_a_condition(files):
    genre = files / "genre.csv"
    text = call(
        "fit", files / "tokens.npy", genre, "--contrast", "none", "--out", files / "m", "--json", *SHORT
    )  # fmt: skip
    content = json.loads(text)
    assert content["strength"] == 0
    assert list(content["found"]) == ["held out", "samples"]
    for row in content["found"].values():  # sixteen rows, four classes
        assert row["conditions"] == 4
        assert 1 <= row["rank"] <= 4
        assert 0 < row["most_information"] <= np.log(4)
    pd.DataFrame({"genre": ["pop", "waltz"]}).to_csv(files / "other.csv", index=False)
    with pytest.raises(InputError, match="'waltz'"):
        call("sample", files / "m", files / "other.csv", "--out", files / "x.npy")


def test_wrong_input_is_refused(files):
    tokens, dance, m = files / "tokens.npy", files / "dance.npy", files / "m"
    np.save(files / "short.npy", np.load(dance)[:5])
    pd.DataFrame({"genre": ["pop"] * 184 + ["lock"] * 16}).to_csv(files / "sorted.csv", index=False)
    for message, arguments in {
        r"no \.npy file": ("fit", files / "genre.csv", dance, "--out", m),
        "5 conditions were given for 200": ("fit", tokens, files / "short.npy", "--out", m),
        "one condition only; shuffle": ("fit", tokens, files / "sorted.csv", "--out", m, *SHORT),
        "held_out=200": ("fit", tokens, dance, "--held-out", "200", "--out", m),
        "state.json": ("sample", files, dance, "--out", files / "x.npy"),
    }.items():
        with pytest.raises(InputError, match=message):
            call(*arguments)
    assert not m.exists()
