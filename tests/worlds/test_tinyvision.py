"""Drawn scenes: what is drawn is what the factors say."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from groundshift.errors import InputError
from groundshift.worlds import tinyvision as tv

RNG = np.random.default_rng
GOLDEN = Path(__file__).parent / "data"
AREAS = {
    "circle": np.pi,
    "square": 1.76**2,
    "triangle": (0.6 + 0.375) / 0.866 * 1.95,
    "cross": 2 * 2 * 0.66 - 0.66**2,
    "ring": 0.75 * np.pi,
    "limb": 0.09 * np.pi + 0.6 * 1.4,
}


@pytest.mark.parametrize("palette", ["plain", "full"])
def test_golden_grid(palette):
    drawn = np.asarray(tv.contact_sheet(tv.draw(32, RNG(0), palette=palette).image, zoom=1))
    kept = np.asarray(Image.open(GOLDEN / f"tinyvision-{palette}.png"))
    assert drawn.shape == kept.shape
    assert np.abs(drawn.astype(int) - kept).max() <= 1  # another machine may round the last bit otherwise


def test_captions_are_reversible_and_closed():
    assert len(tv.VOCABULARY) == 33
    scene = tv.draw(300, RNG(1), k=3, factors={"count": RNG(2).integers(1, 4, 300)})
    for i, caption in enumerate(scene.caption):
        assert set(caption.split()) <= set(tv.VOCABULARY)
        factors = tv.parse(caption)
        count = scene.factors["count"][i]
        assert (factors["count"], factors["background"]) == (count, scene.factors["background"][i])
        for name in ("shape", "colour", "texture", "size", "place"):
            assert factors[name].tolist() == scene.factors[name][i, :count].tolist()


def test_a_parsed_caption_draws_itself():
    caption = "a small blue striped ring at the top left on noise"
    assert tv.draw(2, RNG(0), factors=tv.parse(caption)).caption == [caption] * 2


@pytest.mark.parametrize("shape", tv.SHAPES)
def test_areas_are_analytic(shape):
    scene = tv.draw(40, RNG(0), H=64, factors={"shape": tv.SHAPES.index(shape), "place": 4, "texture": 0})
    area = (scene.instance == 1).sum((1, 2)).numpy() * (2 / 64) ** 2
    true = AREAS[shape] * scene.geometry["radius"][:, 0] ** 2
    assert area.sum() == pytest.approx(true.sum(), rel=0.02)
    assert np.abs(area / true - 1).mean() < 0.05
    assert ((scene.semantic == tv.SHAPES.index(shape) + 1) == (scene.instance == 1)).all()


def test_nearer_objects_hide_farther_ones():
    scene = tv.draw(50, RNG(0), H=24, k=3, factors={"texture": 0})
    scene = scene.redrawn(geometry={"x": scene.geometry["x"] * 0.3, "y": scene.geometry["y"] * 0.3})
    alone = []
    for j in range(3):
        shape = np.where(np.arange(3) == j, scene.factors["shape"], -1)
        alone.append(scene.redrawn(factors={"shape": shape}).instance > 0)
    alone = torch.stack(alone, 1)
    depth = torch.as_tensor(scene.geometry["depth"])[:, :, None, None].expand(alone.shape)
    nearest = torch.where(alone, depth, torch.inf).min(1)
    assert (alone.sum(1) > 1).float().mean() > 0.03
    assert (scene.instance == torch.where(alone.any(1), nearest.indices + 1, 0)).all()
    assert torch.equal(scene.depth, nearest.values.float())
    # Without edges and textures the image shows exactly the colour of the nearest.
    rgb = torch.as_tensor(2 * scene.geometry["rgb"] - 1, dtype=torch.float32)
    colour = rgb[torch.arange(50)[:, None, None], (scene.instance - 1).clamp(0)].permute(0, 3, 1, 2)
    sharp = (~scene.edge & (scene.instance > 0))[:, None].expand_as(colour)
    assert torch.allclose(colour[sharp], scene.image[sharp])
    bare = (scene.instance == 0) & ~scene.edge
    assert torch.allclose(scene.image[:, 0][bare], scene.backdrop[:, 0][bare], atol=1e-6)


def test_places_and_palettes():
    scene = tv.draw(2000, RNG(0), k=2)
    x, y = tv.place_centre(scene.factors["place"])
    assert np.abs(scene.geometry["x"] - x).max() <= 0.08 >= np.abs(scene.geometry["y"] - y).max()
    assert (scene.factors["place"][:, 0] != scene.factors["place"][:, 1]).all()
    assert [len(np.unique(scene.factors[name])) for name in tv.FACTORS] == [4, 6, 3, 2, 9, 4]
    plain = tv.draw(2000, RNG(0), palette="plain")
    assert [len(np.unique(plain.factors[name])) for name in tv.FACTORS] == [4, 6, 1, 1, 9, 3]
    assert (plain.factors["size"] == 1).all()
    assert scene.image.dtype == torch.float32
    assert scene.image.abs().max() <= 1


def test_held_out_pairs_are_never_drawn():
    pairs = tv.held_out_pairs("colour", "background", offset=2)
    scene = tv.draw(1000, RNG(0), k=2, held_out=pairs)
    drawn = set(zip(scene.factors["colour"].ravel(), scene.factors["background"].repeat(2), strict=True))
    assert drawn.isdisjoint(*pairs.values())
    assert len(drawn) == 6 * 4 - len(pairs["colour", "background"])


def test_hue_gain_and_camera():
    scene = tv.draw(20, RNG(0), k=2, geometry={"hue": [0.5, 0.0], "gain": 0.5}, factors={"texture": 0})
    assert scene.geometry["rgb"][0, 0] == pytest.approx([0.135, 0.9, 0.9])
    bright = scene.redrawn(geometry={"gain": np.ones(20)})
    assert torch.allclose(scene.image + 1, (bright.image + 1) / 2, atol=1e-6)
    moved = bright.redrawn(geometry={"camera": np.tile([0.25, 0.0], (20, 1))})
    near = bright.geometry["depth"] == 1
    by_hand = bright.geometry["x"] + np.where(near, 0.25, 0.125)
    assert torch.allclose(moved.image, bright.redrawn(geometry={"x": by_hand}).image, atol=1e-5)
    assert not torch.allclose(moved.image, bright.image, atol=0.1)


def test_fast_repeatable_and_light():
    code = (
        "import sys, numpy as np; from groundshift.worlds import tinyvision as tv;"
        "assert not {'diffusers', 'transformers'} & set(sys.modules);"
        "s = tv.draw(50, np.random.default_rng(3), k=2, factors={'background': 5});"
        "sys.stdout.buffer.write(s.image.numpy().tobytes() + ''.join(s.caption).encode())"
    )
    here = tv.draw(50, RNG(3), k=2, factors={"background": 5})
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
    assert there == here.image.numpy().tobytes() + "".join(here.caption).encode()
    seconds = []
    for _ in range(3):
        start = time.process_time()
        tv.draw(2000, RNG(0))
        seconds.append(time.process_time() - start)
    assert min(seconds) < 1


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        (lambda: tv.draw(2, RNG(0), k=4), "1 to 3 objects"),
        (lambda: tv.draw(2, RNG(0), palette="pale"), "plain, full"),
        (lambda: tv.draw(2, RNG(0), factors={"shade": 1}), "no factor 'shade'"),
        (lambda: tv.draw(2, RNG(0), factors={"colour": 6}), "from 0 to 5"),
        (lambda: tv.draw(2, RNG(0), factors={"colour": 0.5}), "whole numbers"),
        (lambda: tv.draw(2, RNG(0), factors={"colour": [0, 1, 2]}), r"broadcast to \(2, 1\)"),
        (lambda: tv.draw(2, RNG(0), factors={"count": 2}), "raise k"),
        (lambda: tv.draw(2, RNG(0), geometry={"z": 1}), "no geometry 'z'"),
        (lambda: tv.draw(9, RNG(0), held_out={("size", "texture"): [(i, j) for i in (0, 1) for j in (0, 1, 2)]}),
         "leave some object nothing"),
        (lambda: tv.draw(2, RNG(0), factors={"size": 0, "texture": 0}, held_out={("size", "texture"): [(0, 0)]}),
         "fixing both"),
        (lambda: tv.parse("a large red dot at the top on dark"), "not a caption"),
        (lambda: tv.held_out_pairs("size", "count"), "no factor 'count'"),
        (lambda: tv.clip(2, RNG(0), motion="zoom"), "motion='zoom'"),
        (lambda: tv.clip(2, RNG(0), T=1), "at least 2 frames"),
        (lambda: tv.judge(torch.zeros(3, 16, 16)), r"\(n, 3, H, H\)"),
        (lambda: tv.digits("dev"), "train or test"),
    ],
)  # fmt: skip
def test_bad_input_is_refused(mistake, message):
    with pytest.raises(InputError, match=message):
        mistake()
