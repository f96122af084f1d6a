"""``groundshift dataalchemy`` on files of a user's."""

import json

import pytest
from typer.testing import CliRunner

from groundshift.commands.answers import app as answers
from groundshift.commands.dataalchemy import app
from groundshift.errors import InputError


def call(*arguments):
    result = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_generate_writes_records(tmp_path):
    output = call(
        "generate", "F1F2,F2F1", "--n", 5, "--noise", 0.5, "--mode", "modify", "--out", tmp_path / "a.jsonl"
    )
    assert "10 records" in output
    rows = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert any("<unk>" in row["input"] for row in rows)
    assert not any("<unk>" in row["output"] for row in rows)


def test_train_evaluate_and_heal(tmp_path):
    m = tmp_path / "m"
    assert "2 steps" in call("train", "F1F1,F1F2", "--apart", "--steps", 2, "--out", m)
    files = ("--out", tmp_path / "r", "--plot", tmp_path / "p.png")
    content = json.loads(call("evaluate", m, "--test", "F2F2", "--n", 4, *files, "--json"))
    assert "never learned" in content["note"]
    assert [row["cell"] for row in content["cells"]] == ["F1F1", "F1F2", "F2F2"]
    card = CliRunner().invoke(answers, ["card", str(tmp_path / "r"), "--json"])
    assert json.loads(card.output)["benchmarks"][0]["task"] == "dataalchemy"
    output = call("evaluate", m, "--axis", "element", "--n", 2)
    for words in ("letters in new places", "new letters", "For instance", "never learned", "inconclusive"):
        assert words in output
    rows = json.loads(call("evaluate", m, "--axis", "element", "--letters", "XYZ", "--n", 2, "--json"))[
        "cells"
    ]
    assert [row["cell"] for row in rows] == ["trained letters", "new letters"]
    output = call("evaluate", f"a={m}", f"b={m}", "--axis", "size", "--test", "F2F2", "--n", 2)
    assert "a ID" in output
    assert "b CMP" in output
    rows = json.loads(
        call("heal", m, "--rules", "F2F2", "--n", "4", "--steps", 2, "--out", tmp_path / "h", "--json")
    )["rows"]
    assert [row["records"] for row in rows] == [0, 4]
    assert (tmp_path / "h" / "4" / "model.safetensors").is_file()


def test_score_reads_recorded_predictions(tmp_path):
    path = tmp_path / "p.jsonl"
    row = {"prompt": "A B C D [F1] [F2] <think>", "predict": "N O P Q [F2] <answer> O P Q N"}
    path.write_text(json.dumps({**row, "label": row["predict"]}) + "\n")
    content = json.loads(call("score", path, "--train", "F1F2", "--json"))
    assert content["cells"][0]["em_full"] == 1
    assert content["cells"][0]["distance"] == "ID"


def test_wrong_input_is_told(tmp_path):
    with pytest.raises(InputError, match="is no file"):
        call("score", tmp_path / "none.jsonl")
    with pytest.raises(InputError, match="is no folder"):
        call("evaluate", tmp_path / "none")
    with pytest.raises(InputError, match="it takes numbers"):
        call("train", "F1", "--lengths", "four", "--out", tmp_path / "m")
    path = tmp_path / "p.jsonl"
    path.write_text(json.dumps({"prompt": "A [F1] <answer>", "predict": 3, "label": None}) + "\n")
    with pytest.raises(InputError, match="lacks predict, label, or it is no text"):
        call("score", path)
    with pytest.raises(InputError, match=r"\[F9\] is no rule"):
        call("train", "F1F9", "--out", tmp_path / "m")
