"""Point clouds: what they say about themselves is true."""

import numpy as np
import pytest

from groundshift.errors import InputError
from groundshift.measures.transport import mode_masses
from groundshift.worlds.point_clouds import CLOUDS, far_mass, gauss, moons, near_far


@pytest.mark.parametrize("name", ["8gaussians", "near_far"])
def test_modes_lie_around_their_centres_as_often_as_stated(name):
    cloud = CLOUDS[name](np.random.default_rng(0), 20_000)
    for k, centre in enumerate(cloud.centres):
        assert cloud.points[cloud.modes == k].mean(0) == pytest.approx(centre, abs=0.06)
    assert mode_masses(cloud.points, cloud.centres) == pytest.approx(cloud.masses, abs=0.015)
    spread = (cloud.points - cloud.centres[cloud.modes]).std()
    assert spread == pytest.approx({"8gaussians": 0.562, "near_far": 0.3}[name], rel=0.02)


def test_moons_are_arcs_with_noise_in_both_coordinates_or_in_one_number():
    for variant in ("clean", "torchcfm"):
        cloud = moons(np.random.default_rng(0), 20_000, variant)
        arc = (cloud.points + 1) / 3
        radius = np.linalg.norm(arc - np.where(cloud.modes[:, None] == 0, [0, 0], [1, 0.5]), axis=1)
        assert radius.mean() == pytest.approx(1, abs=0.1)
        means = np.stack([cloud.points[cloud.modes == k].mean(0) for k in (0, 1)])
        assert means == pytest.approx(cloud.centres + (0.3 if variant == "torchcfm" else 0), abs=0.05)
    with pytest.raises(InputError, match="variant='other'"):
        moons(np.random.default_rng(0), 5, "other")


def test_the_far_mass_is_that_of_a_simulation():
    rng = np.random.default_rng(0)
    x, y = gauss(rng, 400_000).points, near_far(rng, 400_000)
    w = np.exp(-np.linalg.norm(x - y.points, axis=1) / 3.0)
    assert w[y.modes == 1].sum() / w.sum() == pytest.approx(far_mass(3.0), abs=0.003)


def test_digits_are_pixels_between_minus_one_and_one():
    cloud = CLOUDS["digits8"](np.random.default_rng(0), 500)
    assert cloud.points.min() == -1
    assert cloud.points.max() == 1
    assert set(cloud.modes) == set(range(10))
    assert cloud.masses.sum() == pytest.approx(1)
