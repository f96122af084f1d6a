"""``groundshift vlmshift`` on a user's files."""

import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from groundshift.commands.vlmshift import app
from groundshift.errors import InputError


def call(*arguments):
    result = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture
def files(tmp_path):
    """Images, and answers to them in the published format of two models."""
    rng, rows = np.random.default_rng(0), {"first": [], "other": []}
    for domain in ("photo", "sketch"):
        for name in ("dog", "house"):
            (tmp_path / "images" / domain / name).mkdir(parents=True)
            for k in range(12):
                image = f"{domain}/{name}/{k}.png"
                pixels = rng.integers(0, 255, (16, 16, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / "images" / image)
                row = {"image": image, "domain": domain, "true_class": name, "confidence_score": 0.9}
                for who, wrong in (("first", domain == "sketch" and k < 6), ("other", k == 0)):
                    rows[who].append({**row, "predicted_class": "dog" if wrong and name == "house" else name})
    for who, lines in rows.items():
        (tmp_path / f"{who}.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return tmp_path


def test_two_models_are_asked_compared_and_written(files):
    for who in ("first", "other"):
        how = ("--data", files / "images", "--source", "photo", "--embed-images", "--out", files / who)
        call("ask", files / f"{who}.jsonl", *how, "--plot", files / f"{who}.png")
    assert {p.name for p in (files / "first").iterdir()} == {"index.html", "records.jsonl", "vlmshift.json"}
    assert "data:image/png" in (files / "first" / "index.html").read_text()
    content = json.loads(call("compare", files / "first", files / "other", "--json"))
    assert content["table"][0]["failures"] == 6
    assert content["table"][0]["rate"] == pytest.approx(5 / 6)
    text = call("compare", files / "first", files / "other", "--twin", files / "first")
    assert "its twin on 0%" in text
    alone = json.loads(call("ask", files / "first.jsonl", "--json"))
    assert alone["all"][0]["mean"] == pytest.approx(42 / 48)


def test_a_prepared_table_is_asked_about(files):
    call("prepare", files / "images", "--out", files / "manifest.csv")
    with pytest.raises(InputError, match="no answer about"):
        call("ask", files / "first.jsonl", "--data", files / "manifest.csv")
    with pytest.raises(InputError, match="given without images"):
        call("ask", files / "manifest.csv")
