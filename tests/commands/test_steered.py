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
    text = call(
        "exact:colour_digits", "--inpaint", f"{photo},{mask}", "--samples", 3, "--steps", 20, "--out", out
    )
    assert "3 samples were drawn under inpaint." in text
    for i in range(3):
        sample = np.array(Image.open(out / f"000{i}.png")).astype(int)
        assert np.abs(sample[:, :4] - np.array(Image.open(photo))[:, :4]).max() <= 1
        assert sample[..., 1].max() > sample[..., 0].max() + 50  # still green


def test_several_conditions_and_an_independent_judge(photo, classifiers, tmp_path):
    one, two = classifiers
    text = call(
        "exact:colour_digits", "--luma", photo, "--classifier", one, "--label", "dog", "--weight", "class=2",
        "--judge", two, "--samples", 2, "--steps", 5, "--out", tmp_path / "out", "--json",
    )  # fmt: skip
    content = json.loads(text)
    assert content["conditions"] == ["class", "luma"]
    assert content["weights"] == {"class": 2.0}
    assert len(content["judge"]) == 2
    with pytest.raises(InputError, match="independent"):
        call(
            "exact:colour_digits", "--classifier", one, "--label", 1, "--judge", one, "--out", tmp_path / "b"
        )


def test_wrong_input_is_told(photo, classifiers, tmp_path):
    out = tmp_path / "never"
    with pytest.raises(InputError, match="classifier was given without label"):
        call("exact:colour_digits", "--classifier", classifiers[0], "--out", out)
    with pytest.raises(InputError, match="has no class 'owl'; it has cat, dog"):
        call("exact:colour_digits", "--classifier", classifiers[0], "--label", "owl", "--out", out)
    with pytest.raises(InputError, match="--weight name=value"):
        call("exact:colour_digits", "--luma", photo, "--weight", "text", "--out", out)
    with pytest.raises(InputError, match="a photo and a mask"):
        call("exact:colour_digits", "--inpaint", photo, "--out", out)
    with pytest.raises(InputError, match="clip was given without text"):
        call("exact:colour_digits", "--clip", photo, "--out", out)
    assert not out.exists()
