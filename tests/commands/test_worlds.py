"""``groundshift worlds tinyvision``: pictures for people, data sets for tools."""

import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from groundshift.errors import InputError
from groundshift.lab.cli import app
from groundshift.worlds import tinyvision as tv


def call(*arguments):
    words = ["worlds", "tinyvision", *(str(a) for a in arguments)]
    result = CliRunner().invoke(app, words, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_worlds_is_on_the_list():
    assert "worlds" in CliRunner().invoke(app, ["--help"]).output


def test_show_draws_a_sheet(tmp_path):
    out = tmp_path / "grid.png"
    output = call("show", "--n", 6, "--size", 12, "--zoom", 2, "--out", out, "--json")
    assert Image.open(out).size == (6 * 26 + 2, 28)
    plain = json.loads(output)["captions"]
    assert len(plain) == 6
    call("show", "--n", 6, "--size", 12, "--zoom", 2, "--shift", "hue", "--out", tmp_path / "hue.png")
    assert (np.asarray(Image.open(out)) != np.asarray(Image.open(tmp_path / "hue.png"))).any()
    call("show", "--n", 6, "--shift", "composition", "--severity", 1, "--out", tmp_path / "new.png")


def test_imagefolder_and_parquet_are_loaded_by_datasets(tmp_path):
    import datasets

    call("export", "--n", 20, "--k", 2, "--out", tmp_path / "folder")
    call("export", "--n", 20, "--k", 2, "--format", "parquet", "--out", tmp_path / "table")
    both = [
        datasets.load_dataset(
            kind, data_dir=str(tmp_path / where), cache_dir=str(tmp_path / "cache"), split="train"
        )
        for kind, where in (("imagefolder", "folder"), ("parquet", "table"))
    ]
    world, _ = np.random.SeedSequence(0).spawn(2)
    scene = tv.draw(20, np.random.default_rng(world), k=2)
    for data in both:
        assert data["caption"] == scene.caption
        assert np.array(data["colour"]).tolist() == scene.factors["colour"].tolist()
        assert (np.asarray(data[7]["image"]) == tv.to_bytes(scene.image)[7]).all()


def test_nothing_is_overwritten_and_wrong_words_are_told(tmp_path):
    (tmp_path / "kept.png").write_text("mine")
    with pytest.raises(InputError, match="exists and is kept"):
        call("show", "--out", tmp_path / "kept.png")
    with pytest.raises(InputError, match="folder is not empty"):
        call("export", "--n", 2, "--out", tmp_path)
    with pytest.raises(InputError, match="imagefolder or parquet"):
        call("export", "--n", 2, "--format", "zip", "--out", tmp_path / "zip")
    with pytest.raises(InputError, match="the shifts are hue"):
        call("show", "--shift", "fog", "--out", tmp_path / "x.png")
    with pytest.raises(InputError, match=r"write a \.png"):
        call("show", "--out", tmp_path / "x.jpg")
    assert (tmp_path / "kept.png").read_text() == "mine"
