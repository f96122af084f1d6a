"""``groundshift truth`` on files of a user's."""

import json

import pytest
from typer.testing import CliRunner

from groundshift.commands.truth import app
from groundshift.errors import InputError
from tests.models.tiny_models import fresh, tokenizer
from tests.probes.test_truth import sentences


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A tiny model's directory and a table."""
    folder = tmp_path_factory.mktemp("truth")
    fresh("llama").save_pretrained(folder / "model")
    tokenizer().save_pretrained(folder / "model")
    sentences().to_csv(folder / "said.csv", index=False)
    return folder


def call(*arguments):
    result = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


QUICK = ("--probe", "mean_difference", "--positions", "last")


def test_fit_prints_writes_and_scores(files, tmp_path):
    out, plot = tmp_path / "out", tmp_path / "flips.png"
    output = call("fit", files / "model", files / "said.csv", *QUICK, "--out", out, "--plot", plot)
    assert "odd" in output
    assert "abstain" in output
    assert {p.name for p in out.iterdir()} >= {"truth.json", "index.html", "statements.csv"}
    rows = json.loads(call("score", out, files / "model", "small dog, likes red", "--json"))["statements"]
    assert [row["statement"] for row in rows] == ["small dog, likes red"]
    assert rows[0]["true"] == (rows[0]["score"] > 0)
    assert "taken as" in call("score", out, files / "model", "small dog likes red", "--under", "odd")


def test_compare_a_model_with_itself(files, tmp_path):
    content = json.loads(
        call("compare", files / "model", files / "model", files / "said.csv", *QUICK, "--refits", 4, "--json")
    )
    assert content["changed"] == 0
    assert content["cosine"] == pytest.approx(1)
    out = tmp_path / "scores.csv"
    output = call(
        "compare", files / "model", files / "model", files / "said.csv", *QUICK, "--refits", 4, "--out", out
    )
    assert "changed" in output
    assert out.stat().st_size > 100


def test_wrong_input_is_told(files):
    with pytest.raises(InputError, match="layer='nine'"):
        call("fit", files / "model", files / "said.csv", "--layer", "nine")


def test_ask_prints_and_writes(files, tmp_path):
    words = (
        "--question",
        "is {statement} . a",
        "--preamble",
        "yes {statements} . ",
        "--answers",
        " yes",
        "--answers",
        " no",
    )
    out = tmp_path / "odds.csv"
    output = call(
        "ask", files / "model", files / "said.csv", "--context", 2, "--draws", 1, *words, "--out", out
    )
    assert "odd" in output
    assert "test statements" in output
    assert out.read_text().startswith("statement,entity,T0,odd,true")
    with pytest.raises(InputError, match=r"need \{statement\}"):
        call("ask", files / "model", files / "said.csv", "--question", "so?")
