"""``groundshift steered`` on files of a user's."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import ViTConfig, ViTForImageClassification
from typer.testing import CliRunner

from groundshift.commands.steered import app
from groundshift.errors import InputError


@pytest.fixture
def photo(tmp_path):
    """A green digit-like stroke, and a mask on its right half."""
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[1:7, 3:5] = (40, 230, 40)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    mask = np.zeros((8, 8), np.uint8)
    mask[:, 4:] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    return tmp_path / "photo.png"


@pytest.fixture
def classifiers(tmp_path):
    torch.manual_seed(0)
    config = ViTConfig(
        hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=8, patch_size=4,
        id2label={0: "cat", 1: "dog"},
    )  # fmt: skip
    for name in ("one", "two"):
        ViTForImageClassification(config).save_pretrained(tmp_path / name)
    return tmp_path / "one", tmp_path / "two"


def call(*arguments):
    result = CliRunner().invoke(app, ["sample", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_inpainting_keeps_the_colour(photo, tmp_path):
    out = tmp_path / "out"
    mask = photo.with_name("mask.png")
    said = call("exact:colour_digits", "--inpaint", photo, mask, "-n", 3, "--steps", 20, "--out", out)
    assert "3 samples by steered (network noise)" in said
    for i in range(3):
        made = np.array(Image.open(out / f"000{i}.png")).astype(int)
        assert np.abs(made[:, :4] - np.array(Image.open(photo))[:, :4]).max() <= 1
        assert made[..., 1].max() > made[..., 0].max() + 50  # still green
    assert (out / "index.html").stat().st_size > 3000
    with pytest.raises(InputError, match="not an empty folder"):
        call("exact:colour_digits", "--luma", photo, "--out", out)


def test_several_conditions_and_an_independent_judge(photo, classifiers, tmp_path):
    one, two = classifiers
    said = call(
        "exact:colour_digits", "--luma", photo, "--classifier", one, "--label", "dog", "--weight", "class=2",
        "--judge", two, "-n", 2, "--steps", 5, "--out", tmp_path / "out", "--json",
    )  # fmt: skip
    found = json.loads(said)
    assert found["conditions"] == ["class", "luma"]
    assert found["weights"] == {"class": 2.0}
    assert len(found["judge"]) == 2
    with pytest.raises(InputError, match="independent"):
        call(
            "exact:colour_digits", "--classifier", one, "--label", 1, "--judge", one, "--out", tmp_path / "b"
        )


def test_wrong_input_is_told(photo, classifiers, tmp_path):
    out = tmp_path / "never"
    with pytest.raises(InputError, match="--classifier was given without --label"):
        call("exact:colour_digits", "--classifier", classifiers[0], "--out", out)
    with pytest.raises(InputError, match="has no class 'owl'; it has cat, dog"):
        call("exact:colour_digits", "--classifier", classifiers[0], "--label", "owl", "--out", out)
    with pytest.raises(InputError, match="text=1500"):
        call("exact:colour_digits", "--luma", photo, "--weight", "text", "--out", out)
    with pytest.raises(InputError, match="method='ddrm'"):
        call("exact:colour_digits", "--luma", photo, "--method", "ddrm", "--out", out)
    assert not out.exists()
