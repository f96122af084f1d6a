"""``groundshift hibench`` on a user's files."""

import json

import pytest
from typer.testing import CliRunner

from groundshift.benchmarks import hibench
from groundshift.commands.hibench import app
from groundshift.errors import InputError


def call(*arguments):
    result = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_recorded_answers_are_graded_printed_and_written(tmp_path):
    how = ("--tasks", "leaf,root", "--per-task", "12", "--seed", "3")
    items = hibench.build(tasks=["leaf", "root"], per_task=12, seed=3)
    rows = [{"id": item.id, "answer": json.dumps({"answer": item.target})} for item in items]
    (tmp_path / "answers.jsonl").write_text("\n".join(map(json.dumps, rows)))
    text = call(
        "ask", tmp_path / "answers.jsonl", *how, "--out", tmp_path / "out", "--plot", tmp_path / "p.png"
    )
    assert f"answers 100% of {len(items)} items right" in text
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"hibench.json", "index.html", "records.jsonl"}
    with pytest.raises(InputError, match="has no answer to"):
        call("ask", tmp_path / "answers.jsonl", "--tasks", "leaf", "--seed", "4")


def test_a_file_of_ones_own_and_a_tuning_set(tmp_path):
    (tmp_path / "org.json").write_text(json.dumps({"name": "A", "teams": [{"name": "B"}, {"name": "C"}]}))
    items = hibench.questions_from(tmp_path / "org.json")
    (tmp_path / "a.jsonl").write_text(
        "\n".join(json.dumps({"id": i.id, "answer": "answer: 2"}) for i in items)
    )
    assert "By operation" in call("ask", tmp_path / "a.jsonl", "--source", tmp_path / "org.json")
    call("tuning-set", "--tasks", "root", "--per-task", "4", "--n", "4", "--out", tmp_path / "set", "--quiet")
    rows = [json.loads(line) for line in (tmp_path / "set" / "tuning.jsonl").read_text().splitlines()]
    assert len(rows) == 4
    assert rows[0]["completion"][0]["role"] == "assistant"
