"""``groundshift condambigqa`` on a user's files."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from groundshift.commands.condambigqa import app
from groundshift.errors import InputError
from groundshift.worlds.ambiguous_kb import english_questions


def call(*arguments):
    result = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture
def files(tmp_path):
    """Questions, and recorded answers to them."""
    rows, answers = english_questions(np.random.default_rng(1), 12), []
    for row in rows:
        pairs = [{"answer": p["groundtruth"], "citations": p["citations"]} for p in row["properties"]]
        for protocol, most in (("direct", 1), ("given", 9)):
            answers.append({"question": row["id"], "protocol": protocol, "answer": {"answers": pairs[:most]}})
    for name, lines in (("faq", rows), ("answers", answers)):
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return tmp_path


def test_recorded_answers_are_scored_and_written(files):
    how = ("--data", files / "faq.jsonl", "--protocols", "direct,given", "--judge", "exact")
    call("ask", files / "answers.jsonl", *how, "--out", files / "out", "--plot", files / "plot.png")
    assert {p.name for p in (files / "out").iterdir()} >= {"index.html", "records.jsonl", "questions"}
    assert len(list((files / "out" / "questions").iterdir())) == 12
    content = json.loads(call("ask", files / "answers.jsonl", *how, "--json"))
    assert [row["answer"] for row in content["official"]] == [1.0, 1.0]
    with pytest.raises(InputError, match="name some of"):
        call("ask", files / "answers.jsonl", "--data", files / "faq.jsonl", "--protocols", "oracle")
    with pytest.raises(InputError, match="without gold pairs"):
        call("draft", files / "answers.jsonl", "--data", files / "faq.jsonl")
