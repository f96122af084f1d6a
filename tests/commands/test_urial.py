"""``groundshift urial`` on files of a user's."""

import json

import pytest
import torch
from typer.testing import CliRunner

from groundshift.commands.urial import app
from groundshift.errors import InputError
from tests.models.tiny_models import fresh, tokenizer


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Directories of a tiny model and of one like it, queries, and a prompt."""
    folder = tmp_path_factory.mktemp("urial")
    for name in ("base", "tuned"):
        net, words = fresh("llama"), tokenizer()
        if name == "tuned":
            torch.manual_seed(1)
            with torch.no_grad():
                for weight in net.parameters():
                    weight.add_(0.3 * weight.std() * torch.randn_like(weight))
            words.chat_template = "{% for m in messages %}{{ m['content'] }} {% endfor %}"
        net.save_pretrained(folder / name)
        words.save_pretrained(folder / name)
    rows = [{"query": "the dog"}, {"instruction": "is Riga in Latvia"}, {"prompt": "two"}]
    (folder / "queries.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (folder / "prompt.txt").write_text("no yes\n# User:\nthe dog\n\n# Assistant:\nsees a cat\n")
    return folder


def call(*arguments):
    result = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_shift_prints_and_writes(files, tmp_path):
    out = tmp_path / "out"
    how = ("--max-new-tokens", 5, "--base-template", f"urial:{files / 'prompt.txt'}", "--out", out)
    output = call("shift", files / "base", files / "tuned", files / "queries.jsonl", *how)
    assert "tokens are shifted" in output
    assert json.loads((out / "urial.json").read_text())["settings"]["queries"] == 3
    with pytest.raises(InputError, match="kept"):
        call("shift", files / "base", files / "tuned", files / "queries.jsonl", "--out", out)


def test_ask_and_compare(files):
    how = ("--prompt", files / "prompt.txt", "--max-new-tokens", 4)
    content = json.loads(call("ask", files / "base", "a bird", *how, "--json"))
    assert content["answers"][0]["query"] == "a bird"
    output = call("compare", files / "base", files / "tuned", files / "queries.jsonl", *how, "--k", "0,1")
    assert "features of style" in output
    with pytest.raises(InputError, match="no prompt"):
        call("ask", files / "base", "a bird", "--prompt", "nowhere.txt")


def test_judged_files_are_compared(tmp_path):
    rows = [
        {"id": i, "generator": who, "parsed_result": {"depth": {"score": score}}}
        for i in (0, 1)
        for who, score in (("a", 4), ("b", 2))
    ]
    (tmp_path / "judged.json").write_text(json.dumps(rows))
    assert "mean score of 4.00" in call("judged", "--file", tmp_path / "judged.json")
