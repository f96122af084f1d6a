"""Real images, and the judge."""

import numpy as np
import pytest
import torch

from groundshift.worlds import tinyvision as tv

RNG = np.random.default_rng


def test_digits_split_by_content():
    train, labels = tv.digits()
    test, _ = tv.digits("test")
    assert (len(train), len(test), len(labels)) == (1397, 400, 1397)
    assert np.bincount(labels).min() > 100
    rows = [{image.numpy().tobytes() for image in images} for images in (train, test)]
    assert not rows[0] & rows[1]
    assert (train.min(), train.max()) == (-1, 1)
    hues = [(1, 0.2, 0.2), (0.2, 0.4, 1)]
    images, digit, hue = tv.coloured_digits(hues, "test", rng=RNG(0))
    assert images.shape == (400, 3, 8, 8)
    assert (digit == tv.digits("test")[1]).all()
    red = images[hue == 0]
    assert torch.allclose(red[:, 1] + 1, 0.2 * (red[:, 0] + 1))


def test_photos_tile_both_halves():
    from sklearn.datasets import load_sample_images

    train, test = tv.photos(61), tv.photos(61, "test")
    assert len(train) == len(tv.photos(61, stride=61)) == 2 * 7 * 7
    assert len(test) == 2 * 7 * 3
    china = load_sample_images().images[0] / 127.5 - 1
    row = torch.cat(list(train[:7]), 2).permute(1, 2, 0)  # the first row of crops, side by side
    assert np.allclose(row, china[:61, : 7 * 61], atol=1e-6)
    assert np.allclose(test[0].permute(1, 2, 0), china[:61, 448 : 448 + 61], atol=1e-6)
    assert len(tv.photos(16, stride=8)) > 3 * len(tv.photos(16))
    assert torch.allclose(
        tv.photos(16, box=2)[0], torch.nn.functional.avg_pool2d(tv.photos(32), 2)[0], atol=1e-6
    )


def test_photo_pairs_move_by_their_flow():
    pairs = tv.photo_pairs(40, RNG(0), size=24, pan=3)
    axis = torch.arange(24)
    x, y = (axis + pairs.flow[:, 0]).long(), (axis[:, None] + pairs.flow[:, 1]).long()
    there = pairs.second.permute(0, 2, 3, 1)[torch.arange(40)[:, None, None], y.clamp(0, 23), x.clamp(0, 23)]
    assert torch.equal(there[pairs.visible], pairs.first.permute(0, 2, 3, 1)[pairs.visible])
    assert (pairs.flow != 0).any()
    # With a zoom the second view, looked up at its targets, is the first one up to interpolation.
    pairs = tv.photo_pairs(40, RNG(0), size=24, pan=2, zoom=1.2)
    grid = (torch.stack([axis + pairs.flow[:, 0], axis[:, None] + pairs.flow[:, 1]], -1) + 0.5) * 2 / 24 - 1
    back = torch.nn.functional.grid_sample(pairs.second, grid, mode="bicubic", align_corners=False)
    error = (back - pairs.first).abs().mean(1)[pairs.visible].mean()
    still = (pairs.second - pairs.first).abs().mean(1)[pairs.visible].mean()
    assert error < 0.4 * still
    bright = tv.photo_pairs(40, RNG(0), pan=0, brightness=0.3)
    assert (bright.second - bright.first).mean((1, 2, 3)).abs().max() > 0.1


def test_degradations():
    images = tv.photos(32, "test")[:20]
    for kind in ("blur", "luma", "jpeg", "mask"):
        change = [(tv.degrade(images, kind, s, RNG(0)) - images).abs().mean() for s in (0, 0.3, 0.6, 0.9)]
        assert change[0] == 0
        assert (np.diff(change) > 0).all()
    grey = tv.degrade(images, "luma", 1.0)
    assert torch.allclose(grey[:, 0], grey[:, 2])
    assert torch.allclose(tv.degrade(images, "box", 4)[0, 0, 0, 0], images[0, 0, :4, :4].mean(), atol=1e-6)
    assert (tv.degrade(images, "mask", 0.5, RNG(0)) == 0).float().mean() == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize(("noise", "least"), [(0.0, 0.995), (0.1, 0.97)])
@pytest.mark.parametrize("palette", ["plain", "full"])
def test_the_judge_reads_scenes(palette, noise, least):
    rng = RNG(7)
    scene = tv.draw(5000, rng, palette=palette)
    grain = torch.as_tensor(rng.standard_normal(scene.image.shape), dtype=torch.float32)
    read = tv.judge(scene.image + noise * grain)
    for name, codes in read.factors().items():
        assert (codes == scene.factors[name].reshape(5000)).mean() >= least, name


def test_the_judge_says_when_it_sees_nothing():
    read = tv.judge(tv.flat(np.arange(4), 16))
    assert read.background.tolist() == [0, 1, 2, 3]
    for codes in (read.colour, read.place, read.size):
        assert (codes == -1).all()
    assert np.isnan(read.x).all()
    assert (read.area == 0).all()
    # A collapsed generator may return anything; the judge answers all the same.
    for image in (torch.full((1, 3, 16, 16), torch.nan), 5 * torch.randn(1, 3, 16, 16)):
        assert tv.judge(image).colour.shape == (1,)
    scene = tv.draw(200, RNG(0), palette="plain")
    pale = tv.judge(0.3 * scene.image)
    assert set(np.unique(pale.place)) <= {-1, *range(9)}
    assert (pale.colour == -1).any()


def test_the_judge_measures_area_and_centre():
    scene = tv.draw(500, RNG(0), H=24, factors={"shape": 0, "texture": 0, "place": 4})
    read = tv.judge(scene.image)
    assert read.area == pytest.approx(np.pi * scene.geometry["radius"][:, 0] ** 2, rel=0.03)
    assert read.x == pytest.approx(scene.geometry["x"][:, 0], abs=0.01)
    assert read.y == pytest.approx(scene.geometry["y"][:, 0], abs=0.01)


def test_the_judge_knows_noise_from_flat_grounds():
    scene = tv.draw(300, RNG(0), factors={"background": 5, "texture": 0})
    read = tv.judge(scene.image)
    assert (read.background == 5).mean() > 0.97
    assert (read.colour == scene.factors["colour"][:, 0]).all()
