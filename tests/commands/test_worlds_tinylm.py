"""`groundshift worlds tinylm`: sentences on the screen, and models in the cache."""

import json

import pytest
from typer.testing import CliRunner

from groundshift.errors import InputError
from groundshift.lab.cli import app
from groundshift.models.tinylm import BASES, Recipe

run = CliRunner().invoke


def test_what_a_world_says_is_shown_with_its_information():
    done = run(app, ["worlds", "tinylm", "show", "atlas", "--n", "3", "--json"])
    assert done.exit_code == 0, done.output
    items = json.loads(done.output)["items"]
    assert len(items) == 3
    assert all(item["text"].startswith("<bos> ") and item["nats"] > 0 for item in items)
    wrong = run(app, ["worlds", "tinylm", "show", "atlantis"])
    assert wrong.exit_code != 0
    assert isinstance(wrong.exception, InputError)


def test_a_model_is_trained_and_then_found(tmp_path, monkeypatch):
    monkeypatch.setenv("GROUNDSHIFT_CACHE", str(tmp_path))
    monkeypatch.setitem(
        BASES, "facts", Recipe("nano", steps=2, rows=2, length=16, gate={"facts.cloze": 0.99})
    )
    first = run(app, ["worlds", "tinylm", "train", "facts"])
    assert first.exit_code == 0, first.output
    assert "gate missed" in first.output
    card = json.loads(run(app, ["worlds", "tinylm", "train", "facts", "--json"]).output)
    assert (card["steps"], card["passed"]) == (4, False)
    with pytest.raises(InputError, match="There is no world"):
        raise run(app, ["worlds", "tinylm", "train", "fact"]).exception
