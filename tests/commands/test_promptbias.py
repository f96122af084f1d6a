"""``groundshift promptbias`` on a user's files."""

import json

import pytest
from typer.testing import CliRunner

from groundshift.commands.promptbias import app
from groundshift.errors import InputError
from tests.models.tiny_models import fresh, tokenizer


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A tiny model's directory, items, and a prompt."""
    folder = tmp_path_factory.mktemp("promptbias")
    fresh("llama").save_pretrained(folder / "model")
    tokenizer().save_pretrained(folder / "model")
    rows = [
        {"text": f"the {a} sees {n} of the {b} on {c}", "options": [a, b], "condition": c, "cue": "is", "correct": a}
        for a in ("dog", "cat") for b in ("bird", "house", "tree") for n in ("two", "three") for c in ("red", "blue")
    ]  # fmt: skip
    (folder / "items.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (folder / "prompt.txt").write_text("is {plea} {examples} {item}")
    return folder


def call(*arguments):
    result = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_fit_prints_and_writes(files, tmp_path):
    out, plot = tmp_path / "out", tmp_path / "bias.png"
    how = ("--strategies", "none,fair,kind=two", "--shots", "0,1", "--template", files / "prompt.txt")
    text = call("fit", files / "model", files / "items.jsonl", *how, "--out", out, "--plot", plot)
    assert "mean bias" in text
    assert "1-shot, kind" in text
    assert {p.name for p in out.iterdir()} >= {"promptbias.json", "index.html", "answers.jsonl"}
    assert plot.stat().st_size > 1000


def test_wrong_input_is_told(files):
    with pytest.raises(InputError, match="'fairr'"):
        call("fit", files / "model", files / "items.jsonl", "--strategies", "fairr")
