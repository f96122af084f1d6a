"""``groundshift worlds tinyvision train``."""

import json

import pytest
from typer.testing import CliRunner

from groundshift.commands.worlds import app
from groundshift.errors import InputError


def test_train_once(tmp_path, monkeypatch):
    monkeypatch.setenv("GROUNDSHIFT_CACHE", str(tmp_path))
    first = CliRunner().invoke(app, ["tinyvision", "train", "digits-vq", "--json"], catch_exceptions=False)
    card = json.loads(first.stdout)
    assert card["came_from"] == "training"
    assert card["folder"].startswith(str(tmp_path))
    again = CliRunner().invoke(app, ["tinyvision", "train", "digits-vq"], catch_exceptions=False)
    assert f"reconstruction {card['score']:.4g}, was in the cache" in again.stdout
    with pytest.raises(InputError, match="there are unet16-flow"):
        CliRunner().invoke(app, ["tinyvision", "train", "unet"], catch_exceptions=False)
