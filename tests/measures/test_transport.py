"""Transport: distances, energies and masses against closed forms."""

import numpy as np
import pytest
from scipy.stats import wasserstein_distance

from groundshift.errors import InputError
from groundshift.measures.transport import energy_excess, mode_masses, path_energy, straightness, wasserstein2


def test_the_distance_of_a_shifted_cloud_is_the_shift_and_matches_the_line():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((200, 3))
    assert wasserstein2(x, rng.permutation(x) + np.array([2.0, 0, 0])) == pytest.approx(2.0)
    a, b = rng.standard_normal(300), 3 * rng.standard_normal(300) + 1
    quantile = np.sqrt(((np.sort(a) - np.sort(b)) ** 2).mean())
    assert wasserstein2(a[:, None], b[:, None]) == pytest.approx(quantile)
    assert wasserstein2(a[:, None], b[:, None]) >= wasserstein_distance(a, b)


def test_straight_paths_have_the_energy_of_their_length_and_detours_more():
    straight = np.linspace(0, 1, 11)[:, None, None] * np.array([[3.0, 4.0]])
    assert path_energy(straight) == pytest.approx(25)
    assert energy_excess(straight, 25.0) == pytest.approx(0)
    assert straightness(straight) == pytest.approx(0)
    half = np.linspace(0, np.pi, 201)
    arc = np.stack([1 - np.cos(half), np.sin(half)], 1)[:, None]
    assert path_energy(arc) == pytest.approx(np.pi**2, rel=1e-3)
    assert energy_excess(arc, 4.0) == pytest.approx(np.pi**2 / 4 - 1, rel=1e-3)
    assert straightness(arc) == pytest.approx(np.pi**2 - 4, rel=1e-3)


def test_masses_count_nearest_centres():
    assert mode_masses([[0.0], [9.0], [11.0], [12.0]], [[0.0], [10.0], [100.0]]).tolist() == [0.25, 0.75, 0]


def test_wrong_input_is_told():
    with pytest.raises(InputError, match=r"\(2, 1\) and \(2, 2\)"):
        wasserstein2(np.zeros((2, 1)), np.zeros((2, 2)))
    with pytest.raises(InputError, match="must be positive"):
        energy_excess(np.zeros((2, 1, 1)), 0.0)
    with pytest.raises(InputError, match=r"\(steps \+ 1, n, d\)"):
        path_energy(np.zeros((3, 2)))
