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


def test_recorded_answers_a_file_of_ones_own_and_a_tuning_set(tmp_path):
    (tmp_path / "org.json").write_text(json.dumps({"name": "A", "teams": [{"name": "B"}, {"name": "C"}]}))
    items = hibench.build(tasks=["leaf", "root"], per_task=12, seed=3) + hibench.questions_from(
        tmp_path / "org.json"
    )
    rows = (json.dumps({"id": i.id, "answer": json.dumps({"answer": i.target})}) for i in items)
    (tmp_path / "answers.jsonl").write_text("\n".join(rows))
    how = ("--tasks", "leaf,root", "--per-task", "12")
    text = call("ask", tmp_path / "answers.jsonl", *how, "--seed", "3", "--out", tmp_path / "out")
    assert "answers 100% of" in text
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"hibench.json", "index.html", "records.jsonl"}
    with pytest.raises(InputError, match="has no answer to"):
        call("ask", tmp_path / "answers.jsonl", *how, "--seed", "4")
    assert "By operation" in call("ask", tmp_path / "answers.jsonl", "--source", tmp_path / "org.json")
    call("tuning-set", "--tasks", "root", "--per-task", "4", "--n", "4", "--out", tmp_path / "set", "--quiet")
    rows = [json.loads(line) for line in (tmp_path / "set" / "tuning.jsonl").read_text().splitlines()]
    assert [row["completion"][0]["role"] for row in rows] == ["assistant"] * 4
