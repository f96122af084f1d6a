"""``groundshift leaderboard-scenes draw``."""

import json

import pytest
from PIL import Image
from typer.testing import CliRunner

from groundshift.commands.leaderboard_scenes import app
from groundshift.errors import InputError


def call(*arguments):
    result = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_draw_writes_a_sheet_and_says_what_is_right(tmp_path):
    out = tmp_path / "sheet.png"
    text = call("draw", "truth", "copier", "--samples", 8, "--out", out, "--json")
    assert json.loads(text)["right"] == {"truth": 8, "copier": 6}
    assert Image.open(out).width > 300
    with pytest.raises(InputError, match=r"sheet\.png"):
        call("draw", "truth", "--out", out)
