"""Adaptively weighted consistency on folders of images and masks, volumes, and at the command line."""

import sys
import types

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import nn
from typer.testing import CliRunner

from groundshift.adaptation import adawac
from groundshift.adaptation.adawac.training import encoder_of, segmenter
from groundshift.commands.adawac import app
from groundshift.errors import InputError


def write(folder, pixels):
    folder.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(folder)


@pytest.fixture
def files(tmp_path):
    """Images (two sizes of grey and colour) with masks of 0 and 255, every second one blank."""
    rng = np.random.default_rng(0)
    for k in range(10):
        mask = np.zeros((16, 16), np.uint8)
        mask[3:9, 3:9] = 255 * (k % 2)
        image = np.clip(100 + 0.4 * mask + rng.normal(0, 8, mask.shape), 0, 255).astype(np.uint8)
        write(tmp_path / "images" / "a" / f"{k}.png", np.stack([image] * 3, -1) if k == 3 else image)
        write(tmp_path / "masks" / "a" / f"{k}_mask.png", mask)
    return tmp_path


def test_images_and_masks_are_paired_by_name(files):
    samples = adawac.read_samples(files / "images", files / "masks", values=[0, 255])
    assert samples.x.shape == (10, 3, 16, 16)  # one picture in colour makes all of them so
    assert samples.ids[:2] == ["a/0.png", "a/1.png"]
    assert samples.labelled().tolist() == pytest.approx([0, 36 / 256] * 5)
    assert (samples.x.min() >= 0, samples.x.max() <= 1) == (True, True)
    small = adawac.read_samples(files / "images", files / "masks", values=[0, 255], size=8)
    assert small.y.shape == (10, 8, 8)
    assert set(small.y.unique().tolist()) == {0, 1}


@pytest.mark.parametrize(
    ("how", "words"),
    [
        (
            {},
            "values 0, 255, which are no numbers of classes; say which values are the classes .*--values 0,255",
        ),
        ({"values": [0, 1]}, "are no classes 0, 1"),
        ({"values": [0], "ignore": 254}, "--ignore 255"),
    ],
)
def test_values_that_are_no_classes_are_refused(files, how, words):
    """milesial/Pytorch-UNet#291 and others: masks of 0 and 255 end in an index error of the loss."""
    with pytest.raises(InputError, match=words):
        adawac.read_samples(files / "images", files / "masks", **how)


def test_what_does_not_belong_together_is_refused(files):
    (files / "masks" / "a" / "4_mask.png").unlink()
    with pytest.raises(InputError, match=r"1 of 10 images have no mask .*4\.png.* blank masks"):
        adawac.read_samples(files / "images", files / "masks")
    write(files / "masks" / "a" / "4.png", np.zeros((16, 20), np.uint8))
    with pytest.raises(InputError, match=r"16 × 16 pixels .* 16 × 20"):
        adawac.read_samples(files / "images", files / "masks", values=[0, 255])
    with pytest.raises(InputError, match="without masks"):
        adawac.read_samples(files / "images")
    with pytest.raises(InputError, match="probabilities"):
        adawac.read_samples(np.zeros((2, 8, 8)), np.full((2, 8, 8), 0.3))
    write(files / "images" / "a" / "4.png", np.zeros((16, 20), np.uint8))
    with pytest.raises(InputError, match="--size 128"):
        adawac.read_samples(files / "images", files / "masks", values=[0, 255])


def test_volumes_are_sliced_and_pixels_left_out(tmp_path, monkeypatch):
    image, mask = np.random.default_rng(0).normal(0, 500, (8, 8, 5)), np.zeros((8, 8, 5), int)
    mask[2:4, 2:4, 3], mask[0, 0, 0] = 2, 255
    np.savez(tmp_path / "case1.npz", image=image, label=mask)
    samples = adawac.read_samples(tmp_path / "case1.npz", ignore=255, window=[-125, 275])
    assert samples.ids == [f"case1.npz#{k}" for k in range(5)]
    assert (samples.classes, samples.files[0], samples.y[0, 0, 0].item()) == (3, "case1.npz", -1)
    np.testing.assert_allclose(samples.x[3, 0], (image[..., 3].clip(-125, 275) + 125) / 400, atol=1e-6)
    # h5py and nibabel are optional; of each one call is used, which a double stands in for.
    held = {"image": image, "mask": mask}
    opened = type("File", (dict,), {"__enter__": lambda self: self, "__exit__": lambda self, *_: None})
    monkeypatch.setitem(sys.modules, "h5py", types.SimpleNamespace(File=lambda file, how: opened(held)))
    (tmp_path / "h" / "x.h5").parent.mkdir()
    (tmp_path / "h" / "x.h5").touch()
    assert torch.equal(
        adawac.read_samples(tmp_path / "h", ignore=255, axis=0).y[2, 2:4, 3], torch.tensor([2, 2])
    )
    volumes = {"scans": image, "segs": mask}
    double = types.SimpleNamespace(load=lambda f: types.SimpleNamespace(dataobj=volumes[f.parent.name]))
    monkeypatch.setitem(sys.modules, "nibabel", double)
    for name in volumes:
        (tmp_path / name).mkdir()
        (tmp_path / name / "p.nii.gz").touch()
    scans = adawac.read_samples(tmp_path / "scans", tmp_path / "segs", ignore=255)
    assert scans.ids[1] == "p.nii.gz#1"
    monkeypatch.setitem(sys.modules, "nibabel", None)
    with pytest.raises(InputError, match="pip install nibabel"):
        adawac.read_samples(tmp_path / "scans", tmp_path / "segs")


class Own(nn.Module):
    def __init__(self, channels=1):
        super().__init__()
        self.down, self.up = nn.Conv2d(channels, 6, 3, padding=1), nn.Conv2d(6, 2, 1)

    def forward(self, x):
        return self.up(self.down(x).relu())


def test_layers_and_models_are_named():
    assert encoder_of(Own(), "down") == "down"
    with pytest.raises(InputError, match=r"no layer 'bottleneck'.* layers are .*down"):
        encoder_of(Own(), "bottleneck")
    with pytest.raises(InputError, match="unet-resnet34"):
        segmenter("vnet", 1, 2)
    with pytest.raises(InputError, match="pip install segmentation-models-pytorch"):
        segmenter("unet-resnet34", 1, 2)
    assert segmenter("unet", 2, 3, width=4)(torch.rand(1, 2, 15, 10)).shape == (1, 3, 15, 10)


def test_an_own_network_learns_and_its_images_are_ranked(files):
    samples = adawac.read_samples(files / "images", files / "masks", values=[0, 255])
    how = {"encoder": "down", "batch": 4, "lr": 0.02, "augment": "none-geometric"}
    run = adawac.fit(samples, model=Own(3), steps=120, **how)
    assert run.scores["dice"].mean() > 0.8
    assert list(run.weights) == ["id", "beta", "log_odds", "ce", "ac", "visits", "labelled"]
    assert run.weights["visits"].sum() == 4 * 120
    again = adawac.fit(samples.take(range(1, 10, 2)), model=Own(3), steps=3, **how)
    assert "separate no poor from rich" in again.notes[0]
    with pytest.raises(InputError, match="another held_out"):
        adawac.fit(samples.take([0, 1]), model=Own(3), steps=3, held_out=0.1, **how)
    flat = nn.Sequential(nn.Flatten(), nn.Linear(768, 512), nn.Unflatten(1, (2, 16, 16)))
    with pytest.raises(InputError, match="align=False"):
        adawac.fit(samples, model=flat, encoder="1", steps=20, batch=4)


def call(*words):
    done = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_the_command_line_trains_ranks_and_compares(files, tmp_path):
    data = (files / "images", files / "masks", "--values", "0,255", "--steps", "6", "--batch", "4")
    shown = call("fit", *data, "--width", "4", "--out", tmp_path / "run", "--plot", tmp_path / "w.png")
    assert "Which samples say least?" in shown
    assert (tmp_path / "run" / "model.safetensors").is_file()
    assert "a/" in call("rank", tmp_path / "run", "--top", "2")
    assert "No mode is shown" in call("compare", *data, "--modes", "erm,pair", "--repeats", "2")
    for words in (
        ["rank", tmp_path],
        ["compare", *data, "--modes", "pair"],
        ["fit", *data, "--out", tmp_path / "run"],
    ):
        with pytest.raises(InputError):
            call(*words)


def test_the_command_line_classifies_rows_of_a_table(tmp_path):
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.standard_normal((60, 4)), columns=list("abcd")).assign(site=["x", "y"] * 30)
    table["y"] = np.where(table["a"] > 0, "up", "down")
    table.loc[40:, "y"] = None
    table.to_parquet(tmp_path / "t.parquet")
    shown = call("classify", tmp_path / "t.parquet", "--target", "y", "--domain", "site", "--steps", "40", "--out",
                 tmp_path / "m")  # fmt: skip
    assert "Do the domains differ?" in shown
    assert adawac.AdaWACClassifier.load(tmp_path / "m").classes_.tolist() == ["down", "up"]
    with pytest.raises(InputError, match=r"did you mean 'y'|no column"):
        call("classify", tmp_path / "t.parquet", "--target", "z", "--out", tmp_path / "n")
