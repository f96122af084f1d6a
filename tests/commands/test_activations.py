"""``groundshift activations capture`` on files of a user's."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from groundshift.commands.activations import app
from groundshift.errors import InputError
from groundshift.models.activations import capture, open_acts
from tests.models import tiny_models as tiny


@pytest.fixture
def files(tmp_path):
    model = tiny.build("llava")
    model.net.save_pretrained(tmp_path / "model")
    model.processor.save_pretrained(tmp_path / "model")
    row = tiny.rows("llava")[3]
    row["image"].save(tmp_path / "dog.png")
    rows = [{**row, "image": "dog.png"}, {"text": "a cat runs"}, "the dog sees"]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return tmp_path


def call(*arguments):
    result = CliRunner().invoke(app, ["capture", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_capture_writes_what_the_function_finds(files):
    ask = (files / "model", files / "rows.jsonl", "--positions", "token:dog", "--out", files / "acts")
    output = call(*ask, "--site", "resid_post.-1", "--site", "embed", "--top-k", 2)
    assert "resid_post.2: 2 × 32 float32" in output
    assert "1 of 3 rows dropped (row 1: token:dog is not there)" in output
    acts = open_acts(files / "acts")
    rows = [tiny.rows("llava")[3], "the dog sees"]
    whole = capture(tiny.build("llava"), rows, "resid_post.2", "token:dog")
    assert np.allclose(acts["resid_post.2"], whole["resid_post.2"], atol=1e-5)
    again = json.loads(call(*ask, "--site", "resid_post.-1", "--site", "embed", "--top-k", 2, "--json"))
    assert again["arrays"]["top_id"][1] == 2
    assert again["rows"] == 2


def test_wrong_input_is_told(files):
    (files / "wrong.jsonl").write_text('{"text": "a"}\n{"text": \n')
    with pytest.raises(InputError, match=r"wrong\.jsonl, line 2: no JSON"):
        call(files / "model", files / "wrong.jsonl", "--site", "embed", "--out", files / "new")
    with pytest.raises(InputError, match="is no folder of activations"):
        call(files / "model", files / "rows.jsonl", "--site", "embed", "--out", files / "model")
