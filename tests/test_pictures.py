"""Pictures of every mode that a user may have: one ramp from black to white reads the same from all of them."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from groundshift.errors import InputError
from groundshift.models.images import read_images
from groundshift.pictures import class_numbers, open_picture, read_picture

RAMP = np.linspace(0, 1, 64).reshape(8, 8)
EIGHT = np.round(RAMP * 255).astype(np.uint8)
SIXTEEN = np.round(RAMP * 65535).astype(np.uint16)


def palette():
    """Entry k is the grey 255 - k, so that reading entries for greys turns the picture round."""
    image = Image.fromarray(255 - EIGHT, "P")
    image.putpalette([255 - k for k in range(256) for _ in range(3)])
    return image


def transparent(mode):
    """Opaque, but for what is white: that is black under full transparency."""
    alpha = np.where(EIGHT == 255, 0, 255).astype(np.uint8)
    grey = np.where(EIGHT == 255, 0, EIGHT).astype(np.uint8)
    channels = [grey, alpha] if mode == "LA" else [grey, grey, grey, alpha]
    return Image.merge(mode, [Image.fromarray(c) for c in channels])


def lying():
    """Turned to the left, with the note of a camera that says so."""
    image = Image.fromarray(np.rot90(EIGHT).copy())
    image.getexif()[0x0112] = 6
    return image


RAMPS = {
    "L.png": lambda: Image.fromarray(EIGHT),
    "RGB.png": lambda: Image.fromarray(EIGHT).convert("RGB"),
    "P.png": palette,
    "P.gif": palette,
    "LA.png": lambda: transparent("LA"),
    "RGBA.png": lambda: transparent("RGBA"),
    "I16.png": lambda: Image.fromarray(SIXTEEN),
    "I16.tif": lambda: Image.fromarray(SIXTEEN),
    "I16B.tif": lambda: Image.fromarray(SIXTEEN.astype(">u2")),
    "I.tif": lambda: Image.fromarray(SIXTEEN.astype(np.int32)),
    "I8.tif": lambda: Image.fromarray(EIGHT.astype(np.int32)),
    "F.tif": lambda: Image.fromarray(RAMP.astype(np.float32)),
    "F255.tif": lambda: Image.fromarray(EIGHT.astype(np.float32)),
    "CMYK.tif": lambda: Image.fromarray(EIGHT).convert("RGB").convert("CMYK"),
    "YCbCr.tif": lambda: Image.fromarray(EIGHT).convert("RGB").convert("YCbCr"),
    "lying.png": lying,
}


@pytest.mark.parametrize("name", RAMPS)
def test_one_ramp_from_every_mode(name, tmp_path):
    image = RAMPS[name]()
    options = {"exif": image.getexif()} if name.startswith("lying") else {}
    image.save(tmp_path / name, **options)
    for source in (tmp_path / name, image):
        for mode in ("L", "RGB"):
            picture = read_picture(source, mode)
            assert picture.mode == mode
            assert np.abs(np.asarray(picture).reshape(8, 8, -1).mean(2) - EIGHT).max() <= 1.5
    grey = name.startswith(("L", "I", "F", "lying"))
    assert read_picture(tmp_path / name, "auto").mode == ("L" if grey else "RGB")


def test_black_and_white_and_dark_deep_pictures():
    assert set(np.asarray(read_picture(Image.fromarray(RAMP > 0.5), "L")).ravel().tolist()) == {0, 255}
    dark = Image.fromarray(np.full((2, 2), 255, np.uint16))
    assert np.asarray(read_picture(dark, "L")).max() == 1


def test_every_door_reads_alike(tmp_path):
    from groundshift.generation.steered.pipeline import read_image, read_mask

    values = []
    for name in ("L.png", "I16.png", "P.png"):
        folder = tmp_path / name.split(".")[0]
        folder.mkdir()
        RAMPS[name]().save(folder / name)
        values.append(read_image(folder / name, (1, 8, 8), [])[0, 0].numpy())
        assert read_mask(folder / name, (1, 8, 8)).mean() == pytest.approx(0.5, abs=0.02)
    for other in values[1:]:
        np.testing.assert_allclose(other, values[0], atol=0.01)
    rows, domain = read_images(tmp_path, size=8)
    assert sorted(set(domain)) == ["I16", "L", "P"]
    assert pd.DataFrame(rows).std().max() < 0.01


def test_columns_of_pictures_in_a_flow(tmp_path):
    datasets = pytest.importorskip("datasets")
    from groundshift.generation.wcfm.rows import read_rows

    for name in ("L.png", "I16.png"):
        RAMPS[name]().save(tmp_path / name)
    files = [str(tmp_path / name) for name in ("L.png", "I16.png")]
    data = datasets.Dataset.from_dict({"image": files}).cast_column("image", datasets.Image())
    one, two = read_rows(data, "target")[0]
    np.testing.assert_allclose(one, two, atol=0.01)
    assert one.min() == -1


def test_classes_are_entries_and_stored_values():
    classes = np.arange(16).reshape(4, 4)
    for image in (
        Image.fromarray(classes.astype(np.uint8)),
        Image.fromarray((classes * 40).astype(np.uint16)),
        Image.fromarray(classes.astype(np.uint8), "P"),
        Image.merge("LA", [Image.fromarray(classes.astype(np.uint8))] * 2),
    ):
        scale = 40 if image.mode.startswith("I;16") else 1
        np.testing.assert_array_equal(class_numbers(image), classes * scale)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (Image.fromarray(np.full((2, 2), 70000, np.int32)), "70000; 0 to 65535"),
        (Image.fromarray(np.full((2, 2), -1, np.int32)), "from -1 to -1"),
        (Image.fromarray(np.full((2, 2), -0.5, np.float32)), "from -0.5"),
        (Image.fromarray(np.full((2, 2), np.nan, np.float32)), "nan"),
        (Image.fromarray(np.full((2, 2), 300, np.float32)), "0 to 255"),
    ],
)
def test_values_that_cannot_be_placed_are_refused(image, message):
    with pytest.raises(InputError, match=message):
        read_picture(image)


def test_files_that_are_no_pictures(tmp_path):
    (tmp_path / "text.png").write_text("no picture")
    Image.fromarray(EIGHT).save(tmp_path / "whole.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:60])
    for name in ("text.png", "cut.png", "none.png"):
        with pytest.raises(InputError, match="no image that can be read"):
            open_picture(tmp_path / name)
