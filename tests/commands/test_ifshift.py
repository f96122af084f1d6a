"""``groundshift ifshift`` on a user's files."""

import json

import pytest
from typer.testing import CliRunner

from groundshift.commands.ifshift import app
from groundshift.errors import InputError
from tests.models.tiny_models import fresh, tokenizer


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A tiny model's directory, prompts, and a lexicon."""
    folder = tmp_path_factory.mktemp("ifshift")
    fresh("llama").save_pretrained(folder / "model")
    tokenizer().save_pretrained(folder / "model")
    rows = [
        {"prompt": f"the {a} sees two of the <b>red</b> house", "instruction": f"{a} sees"}
        for a in ("dog", "cat")
    ]
    (folder / "prompts.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (folder / "lexicon.json").write_text(json.dumps({"animal": ["dog", "cat"]}))
    return folder


def call(*arguments):
    result = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_density_prints_and_writes(files, tmp_path):
    out, plot = tmp_path / "out", tmp_path / "score.png"
    how = ("--base", files / "model", "--max-new-tokens", 3, "--out", out, "--plot", plot)
    text = call("density", files / "model", files / "prompts.jsonl", *how)
    assert "third of the prompt" in text
    assert {p.name for p in out.iterdir()} >= {"ifshift.json", "index.html"}
    assert "<b>red" not in (out / "index.html").read_text()
    assert plot.stat().st_size > 1000


def test_attention_and_concepts_print(files):
    both = (files / "model", files / "model", files / "prompts.jsonl")
    assert "Which layers?" in call("attention", *both, "--verbs", "sees", "--top", 8)
    text = call("concepts", *both, "--lexicon", files / "lexicon.json", "--leading", 3, "--top", 5)
    assert "Which concepts came and went?" in text


def test_wrong_input_is_told(files):
    with pytest.raises(InputError, match="alpha between 0 and 1"):
        call("concepts", files / "model", files / "model", files / "prompts.jsonl", "--alpha", 2)
