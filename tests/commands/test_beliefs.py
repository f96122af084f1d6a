"""``groundshift beliefs`` on a user's files."""

import json

import pytest
from typer.testing import CliRunner

from groundshift.commands.beliefs import app
from groundshift.errors import InputError
from tests.models.tiny_models import fresh, tokenizer


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A tiny model's directory, items, and a text."""
    folder = tmp_path_factory.mktemp("beliefs")
    fresh("llama").save_pretrained(folder / "model")
    tokenizer().save_pretrained(folder / "model")
    options = [{"name": n, "label": n, "side": s} for n, s in (("runs", "support"), ("sees", "oppose"))]
    rows = [
        {"id": a, "topic": a, "support": f"the {a} runs", "oppose": f"the {a} sees",
         "task": {"scene": a, "options": options}}
        for a in ("dog", "cat", "bird")
    ]  # fmt: skip
    (folder / "items.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (folder / "essay.txt").write_text("the dog runs and the cat runs .")
    return folder


def call(*arguments):
    result = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


WORDS = ("stated={topic} is", "action={scene} and", "reading={text}", "opening=the {topic}")
HOW = (
    "--questions",
    "stated,action",
    *(w for text in WORDS for w in ("--wording", text)),
    "--max-new-tokens",
    "3",
)


def test_read_prints_and_writes(files, tmp_path):
    out, plot = tmp_path / "out", tmp_path / "shift.png"
    where = ("--context", files / "essay.txt", "--items", files / "items.jsonl", "--side", "support")
    text = call("read", files / "model", *where, *HOW, "--out", out, "--plot", plot)
    assert "3 stated beliefs flipped" in text
    assert {p.name for p in out.iterdir()} >= {
        "beliefs.json",
        "index.html",
        "answers.jsonl",
        "transcript.jsonl",
    }
    assert json.loads((out / "beliefs.json").read_text())["doses"][0]["question"] == "stated"
    assert plot.stat().st_size > 1000


def test_talk_prints(files):
    where = (files / "model", files / "model", "--items", files / "items.jsonl", "--rounds", "1,2")
    text = call("talk", *where, *HOW, "--mode", "one-sided", "--technique", "values")
    assert "rounds of one-sided talk" in text
    assert "Half of the effect" in text


def test_a_missing_text_is_told(files):
    with pytest.raises(InputError, match=r"esay\.txt is no file"):
        call("read", files / "model", "--context", files / "esay.txt")
