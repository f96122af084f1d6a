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
